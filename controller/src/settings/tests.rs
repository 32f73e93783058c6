use super::*;

/// The contract's example, whole.
const FULL: &str = "
dataDir: data
poll: 1m
takeoverAfter: 20s
egress: { loopback: true, linkLocal: false }
fleets:
  - name: payments
    repo: https://git.example.com/acme/payments-config.git
    branch: main
    path: apps/payments/
    prefix: teams/payments
    credentials: { usernameFile: user, passwordFile: /run/secrets/password }
    author: { name: Bot, email: bot@example.com }
    requests: { allowedSigners: signers, unsigned: refuse }
    endpoints:
      - { name: payments-api, url: 'https://api.example.com/v1', caFile: ca.pem, tokenFile: token, clientCertFile: c.pem, clientKeyFile: k.pem }
    argocd:
      - { server: { url: 'https://argocd.example.com/argo', tokenFile: argocd, caFile: /etc/argocd.pem } }
    forge: { kind: azureDevOps, api: 'https://git.example.com/api/v1', repository: acme/payments-config, tokenFile: forge, caFile: forge-ca.pem }
    alerts:
      - { name: oncall, slack: { webhookUrlFile: slack }, on: [reverted, failed, held] }
      - { name: hook, webhook: { url: 'https://hooks.example.com/x', secretFile: key } }
  - name: orders
    repo: git@git.example.com:acme/orders.git
    credentials: { sshKeyFile: id, knownHostsFile: hosts }
";

fn load(text: &str) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.yaml");
    std::fs::write(&file, text).unwrap();
    Settings::load(&file)
}

#[test]
fn every_documented_field_is_read_and_paths_stand_on_the_settings_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.yaml");
    std::fs::write(&file, FULL).unwrap();
    let settings = Settings::load(&file).unwrap();
    let here = |name: &str| folder.path().join(name);
    assert_eq!(settings.data_dir, here("data"));
    assert_eq!(settings.poll, Duration::from_secs(60));
    assert!(settings.egress.loopback && !settings.egress.link_local);
    let [payments, orders] = settings.fleets.as_slice() else {
        panic!("two fleets")
    };
    assert_eq!(payments.path, "apps/payments");
    assert_eq!(payments.prefix, "teams/payments");
    assert_eq!(
        payments.credentials,
        Credentials::Basic {
            username_file: Some(here("user")),
            password_file: "/run/secrets/password".into()
        }
    );
    assert_eq!(payments.requests.unsigned, Unsigned::Refuse);
    assert_eq!(payments.endpoints[0].ca_file, Some(here("ca.pem")));
    let [argocd] = payments.argocd.as_slice() else {
        panic!("one Argo CD")
    };
    assert_eq!(
        argocd.way,
        ArgocdWay::Server(ArgocdServer {
            url: Url::parse("https://argocd.example.com/argo").unwrap(),
            token_file: here("argocd"),
            ca_file: Some("/etc/argocd.pem".into()),
        })
    );
    assert_eq!(
        (argocd.name.as_str(), argocd.namespace.as_str()),
        ("argocd", "argocd")
    );
    assert_eq!(
        payments.forge.as_ref().unwrap().kind,
        ForgeKind::AzureDevOps
    );
    assert_eq!(
        payments.forge.as_ref().unwrap().token_file,
        Some(here("forge"))
    );
    assert_eq!(
        payments.forge.as_ref().unwrap().ca_file,
        Some(here("forge-ca.pem"))
    );
    assert_eq!(payments.alerts[1].on, default_alerts());
    assert_eq!(
        payments.alerts[1].webhook.as_ref().unwrap().secret_file,
        Some(here("key"))
    );
    assert_eq!(orders.repo, "git@git.example.com:acme/orders.git");
    assert_eq!(
        orders.credentials,
        Credentials::Ssh {
            key_file: here("id"),
            known_hosts_file: here("hosts")
        }
    );
}

#[test]
fn credentials_that_the_transport_cannot_use_are_refused() {
    for (repo, credentials, part) in [
        (
            "https://git.example.com/x",
            "{ sshKeyFile: id, knownHostsFile: hosts }",
            "reached by https",
        ),
        (
            "git@git.example.com:x",
            "{ passwordFile: p }",
            "reached by ssh",
        ),
    ] {
        let text =
            format!("fleets: [{{ name: payments, repo: '{repo}', credentials: {credentials} }}]");
        let error = load(&text).unwrap_err().to_string();
        assert!(
            error.contains(part) && error.contains("payments"),
            "{error}"
        );
    }
}

#[test]
fn name_and_repo_are_enough() {
    let settings = load("fleets: [{ name: payments, repo: /srv/git/payments.git }]").unwrap();
    assert_eq!(settings.data_dir, Path::new("/var/lib/tidegate"));
    assert_eq!(settings.poll, Duration::from_secs(30));
    assert_eq!(settings.takeover_after, Duration::from_secs(15));
    assert_eq!(settings.egress, EgressRules::default());
    let fleet = &settings.fleets[0];
    assert_eq!(
        (
            fleet.branch.as_deref(),
            fleet.path.as_str(),
            fleet.prefix.as_str()
        ),
        (None, "", "tidegate")
    );
    assert_eq!(fleet.repo, "/srv/git/payments.git");
    assert_eq!(fleet.credentials, Credentials::None);
}

#[test]
fn errors_have_a_place_and_say_what_would_be_right() {
    for (text, line, words) in [
        ("fleets:\n  - name: a\n    repo: x\n    pol: 1s\n", 4, "pol"),
        ("poll: 5\nfleets: [{ name: a, repo: x }]\n", 1, "duration"),
        ("poll: 1ms\nfleets: [{ name: a, repo: x }]\n", 1, "100ms"),
        ("poll: 1s\nfleets:\n- name: A_B\n  repo: x\n", 3, "a-z"),
        ("fleets:\n- name: a\n", 2, "repo"),
        ("fleets: []\n", 1, "at least one"),
        (
            "fleets:\n- { name: a, repo: x }\n- { name: a, repo: y }\n",
            1,
            "two fleets",
        ),
        (
            "fleets:\n- { name: a, repo: x }\n- { name: b, repo: x }\n",
            1,
            "prefix",
        ),
        (
            "fleets:\n- name: a\n  repo: x\n  path: ../b\n",
            4,
            "folder inside",
        ),
        ("fleets:\n- name: a\n  repo: x\n  prefix: -x\n", 4, "prefix"),
        (
            "fleets:\n- name: a\n  repo: x\n  prefix: a..b\n",
            4,
            "prefix",
        ),
        (
            "fleets:\n- name: a\n  repo: x\n  credentials: { usernameFile: u }\n",
            4,
            "passwordFile",
        ),
        ("fleets:\n- name: a\n  repo: x\n  name: b\n", 4, "name"),
        ("fleets: [\n", 1, ""),
        (
            "fleets:\n- name: a\n  repo: x\n  endpoints: [{ name: e, url: 'ftp://x' }]\n",
            4,
            "https://",
        ),
        (
            "fleets:\n- name: a\n  repo: x\n  alerts: [{ name: e }]\n",
            1,
            "slack",
        ),
        (
            "fleets:\n- name: a\n  repo: x\n  clusters: [{ secrets: { cluster: m, namespace: n, name: all } }]\n",
            4,
            "all clusters would be one",
        ),
        (
            "fleets:\n- name: a\n  repo: x\n  clusters: [{ argocdSecrets: { cluster: m, namespace: 'a/b' } }]\n",
            4,
            "no name of a namespace",
        ),
        (
            "fleets:\n- name: a\n  repo: x\n  argocd: [{ cluster: m }, { cluster: n }]\n",
            4,
            "two Argo CDs",
        ),
        (
            "fleets:\n- name: a\n  repo: x\n  argocd: [{ name: far }]\n",
            4,
            "the Argo CD \"far\" needs one of cluster",
        ),
        (
            "fleets:\n- name: a\n  repo: x\n  argocd: [{ cluster: m, server: { url: 'https://d', tokenFile: t } }]\n",
            4,
            "needs one of cluster",
        ),
        (
            "fleets:\n- name: a\n  repo: x\n  argocd: [{ server: { url: 'https://d' } }]\n",
            4,
            "tokenFile",
        ),
        (
            "fleets:\n- name: a\n  repo: x\n  argocd: [{ server: { url: 'd:443', tokenFile: t } }]\n",
            4,
            "https://",
        ),
        (
            "fleets:\n- name: a\n  repo: x\n  requests: { unsigned: maybe }\n",
            4,
            "refuse",
        ),
    ] {
        let error = load(text).expect_err(text);
        let SettingsError::Invalid {
            line: found,
            ref message,
            ..
        } = error
        else {
            panic!("{text}: {error}")
        };
        assert!(message.contains(words), "{text}: {message}");
        assert!(found >= line, "{text}: {found}: {message}");
        assert!(!message.contains('\n'));
    }
}

#[test]
fn a_password_in_a_url_is_refused_and_not_repeated() {
    let error =
        load("fleets: [{ name: a, repo: 'https://u:hunter2@git.example.com/x' }]").unwrap_err();
    assert!(error.to_string().contains("password") && !error.to_string().contains("hunter2"));
    let run = RepoRun {
        repo: "https://u:hunter2@git.example.com/x".to_owned(),
        ..RepoRun::default()
    };
    let error = Settings::for_repo(run, |_| None).unwrap_err();
    assert!(error.to_string().contains("password") && !error.to_string().contains("hunter2"));
}

#[test]
fn what_would_be_dropped_behind_a_url_is_refused_and_not_repeated() {
    let with = |fields: &str| load(&format!("fleets: [{{ name: a, repo: x, {fields} }}]"));
    for end in ["?key=hunter2", "#hunter2"] {
        for fields in [
            "endpoints: [{ name: b, url: 'https://api.example.com/vEND' }]",
            "forge: { kind: gitea, api: 'https://git.example.com/api/v1END', repository: c/d }",
            "argocd: [{ server: { url: 'https://argocd.example.com/END', tokenFile: t } }]",
        ] {
            with(&fields.replace("END", "")).unwrap();
            let error = with(&fields.replace("END", end)).unwrap_err().to_string();
            assert!(error.contains("would not be sent"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
    // Nothing is added to it.
    with("alerts: [{ name: b, webhook: { url: 'https://hooks.example.com/x?key=hunter2' } }]")
        .unwrap();
}

#[test]
fn a_missing_file_is_named() {
    let error = Settings::load(Path::new("/nonexistent/settings.yaml")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/settings.yaml"));
}

#[test]
fn one_repo_needs_no_settings_file() {
    let run = |path: &str| RepoRun {
        repo: "https://git.example.com/x".to_owned(),
        path: Some(path.to_owned()),
        ..RepoRun::default()
    };
    let home = |name: &str| (name == "HOME").then(|| "/home/ada".to_owned());
    let one = Settings::for_repo(run("a"), home).unwrap();
    let other = Settings::for_repo(run("b"), home).unwrap();
    assert!(one.data_dir.starts_with("/home/ada/.local/state/tidegate"));
    assert_ne!(one.data_dir, other.data_dir);
    assert_eq!(
        one.data_dir,
        Settings::for_repo(run("/a/"), home).unwrap().data_dir
    );
    assert_eq!(one.fleets[0].name, None);
    assert_eq!(one.fleets[0].credentials, Credentials::Environment);

    let state = |name: &str| (name == "XDG_STATE_HOME").then(|| "/state".to_owned());
    assert!(
        Settings::for_repo(run("a"), state)
            .unwrap()
            .data_dir
            .starts_with("/state/tidegate")
    );
    assert!(Settings::for_repo(run("a"), |_| None).is_err());
    assert!(Settings::for_repo(run("../a"), home).is_err());
}

#[test]
fn what_is_wrong_is_told_in_one_line_without_what_would_move_a_cursor() {
    let error = load("fleets:\n  - { \"\\e[2J\\u202e\": 1 }\n").unwrap_err();
    let message = error.to_string();
    assert!(message.contains("unknown field"), "{message}");
    assert!(
        !message.chars().any(tidegate_renderer::text::is_treacherous),
        "{message:?}"
    );
}
