//! A fleet with a canary in every credential, servers that repeat what they are sent, and the look at everything.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use tidegate_testkit::branch_health::version_of;
use tidegate_testkit::canaries::{Canaries, Leak};
use tidegate_testkit::certificates::Certificates;
use tidegate_testkit::fake_github::{self, FakeGithub};
use tidegate_testkit::git_server::{GitServer, PASSWORD, USERNAME};
use tidegate_testkit::http::{HttpServer, Request, Response};
use tidegate_testkit::process_sampler::ProcessSampler;
use tidegate_testkit::tidegate::{Running, Tidegate};
use tidegate_testkit::work::Work;

use super::annex::{self, Annex};
use crate::small_fleet::REPO;

/// A password that the git server does not accept.
pub(super) const WRONG_PASSWORD: &str = "Jr5wQ&x8Vt\"2+mLz/K0pGy%4eBd=9c";
/// In the environment, though the settings name a file.
const UNUSED_PASSWORD: &str = "hY6nS/o3Ru+1%WqTf9=Ck7vZi4aXj8";
/// A password in an address, which is refused.
const PASSWORD_IN_URL: &str = "Mb2gX7eUw9Pz4RtKs6Ld1Qy8NvHc3j";
/// The forge's token.
const FORGE_TOKEN: &str = "ghp_8vYcR3sLx6ZqTn1WbKe5JmUo9Hd2Fa";
/// What the regions want to see.
const REGION_TOKEN: &str = "eyJr4Tz7Wc9.Qx2Vb5Nm8Lk1Jh3Gf6.Ds0Pa-ZoUi";
/// What signs alerts; behind `whsec_` stands base64.
const HOOK_SECRET: &str = "whsec_TWpLOXI4R0tZcXJUd2pVUEQ4SUxQWklvMkxhTGFTdw==";
/// The end of the chat's address.
const CHAT_SECRET: &str = "T5RwX2kQz8/B9LmVd4nYc/7uJh1GtSe6PoKa3FbNi0WxZv";
/// What somebody else may go by, who is refused.
const WRONG_USER: &str = "oauth2-Kq8Zt4Vn7Xb2Rm9Wd5Yc1Lh6Pf";
/// In the query of the webhook's address.
const HOOK_KEY: &str = "Zw4Nf8Tk2Vq6Xy1Bm9Rc5Ld7Hj3GsPoA";
/// Values of a Secret that is rendered: at first, and from the second commit on.
const PLAIN: [&str; 2] = [
    "Kw9s\"Vq4+Zt7/Rb1%Xm8=Lf3Yc6Hd",
    "Gn2p&Ju5+Oe8/Ti0%Wa7=Sk4Dr1Bv",
];
/// The same, in base64 in the manifest.
const ENCODED: &str = "Cz3x'Nf6+Ul9/Pj2%Eo5=Yh8Tg0Qm";

const FLEET: &str = r#"apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: vault
values: [values/fleet.yaml]
waves:
  - { name: canary, regions: [west], bake: 300ms }
  - { name: pilot, regions: [east], bake: 300ms }
gates:
  - name: healthz
    http:
      endpoint: regions
      url: "/{{name}}/healthz"
      expect: { status: 200, json: { /version: "{{values.version}}" } }
    settle: 0s
    every: 500ms
    timeout: 500ms
    successes: 1
    failures: 2
"#;
const APP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: app }\ndata:\n  version: {{quote values.version}}\n";
const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: { name: app }\nstringData:\n  plain: {{quote values.plain}}\ndata:\n  encoded: {{b64enc values.encoded}}\n";
/// No valid manifest: a key stands twice.
const INVALID: &str = "apiVersion: v1\nkind: Secret\nmetadata: { name: app }\nstringData:\n  plain: {{quote values.plain}}\n  plain: {{quote values.plain}}\n";

/// What the operator gave: nowhere.
static GIVEN: [(&str, &str); 10] = [
    ("the git password", PASSWORD),
    ("a wrong git password", WRONG_PASSWORD),
    ("an unused git password", UNUSED_PASSWORD),
    ("a password in a URL", PASSWORD_IN_URL),
    ("the forge's token", FORGE_TOKEN),
    ("the regions' token", REGION_TOKEN),
    ("the hook's secret", HOOK_SECRET),
    ("the chat's address", CHAT_SECRET),
    ("a wrong git user", WRONG_USER),
    ("the key in the hook's address", HOOK_KEY),
];

/// Values of rendered Secrets: in the config's files and in rendered trees alone.
static RENDERED: LazyLock<Canaries> = LazyLock::new(|| {
    Canaries::new([
        ("a Secret's first value", PLAIN[0]),
        ("a Secret's second value", PLAIN[1]),
        ("a Secret's encoded value", ENCODED),
    ])
});

/// Who was sent what.
pub(super) type Received = Arc<Mutex<Vec<(&'static str, Request)>>>;

/// A fleet, its servers, and what they saw.
pub(super) struct Site {
    pub(super) server: GitServer,
    pub(super) forge: FakeGithub,
    work: Work,
    regions: HttpServer,
    receivers: HttpServer,
    pub(super) annex: Annex,
    received: Received,
    home: tempfile::TempDir,
    credentials: Arc<Canaries>,
    sampler: ProcessSampler,
    certificates: Certificates,
    /// What commands said, by their arguments.
    said: Mutex<Vec<(String, Vec<u8>)>>,
}

/// An answer with all of a request in it.
pub(super) fn echo(status: u16, request: &Request) -> Response {
    let body = String::from_utf8_lossy(&request.body);
    Response::text(
        status,
        format!(
            "{} {}?{} {:?} {body}",
            request.method, request.path, request.query, request.headers
        ),
    )
}

/// The regions: what they run they read from their branch, and a bad version repeats who asks.
fn regions(repo: PathBuf, received: Received) -> HttpServer {
    HttpServer::start(move |request| {
        received.lock().unwrap().push(("regions", request.clone()));
        let asks = request.header("authorization").unwrap_or_default();
        if asks != format!("Bearer {REGION_TOKEN}") {
            return Some(echo(401, &request));
        }
        let region = request.path.split('/').nth(1).unwrap_or_default();
        let version = version_of(&repo, region).unwrap_or_default();
        let shown = if version.ends_with("-bad") && region == "east" {
            asks.to_owned()
        } else {
            version
        };
        let body = serde_json::json!({ "version": shown }).to_string();
        Some(Response::json(200, body))
    })
}

/// A chat and a webhook: each refuses in many ways before it listens, and repeats what it was sent.
fn receivers(received: Received) -> HttpServer {
    let refusals = [404, 500, 400, 200];
    HttpServer::start(move |request| {
        let is_chat = request.path.starts_with("/services/");
        let name = if is_chat { "chat" } else { "hook" };
        let before = {
            let mut received = received.lock().unwrap();
            let before = received.iter().filter(|(to, _)| *to == name).count();
            received.push((name, request.clone()));
            before
        };
        Some(match refusals.get(before) {
            Some(status) => echo(*status, &request).with("Retry-After", "0"),
            None => Response::text(200, "ok"),
        })
    })
}

impl Site {
    /// Everything but the controller; `None` without `openssl`.
    pub(super) fn new() -> Option<Self> {
        let certificates = Certificates::generate()?;
        let server = GitServer::start();
        let repo = server.create(REPO);
        let work = Work::new(&server.url_with_password(REPO));
        let received = Received::default();
        let home = tempfile::tempdir().unwrap();
        for folder in ["planted", "tmp"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        let annex = Annex::start(
            &server,
            &home.path().join("planted"),
            &certificates,
            Arc::clone(&received),
        );
        let key = fs::read_to_string(certificates.key()).unwrap();
        let line = key.lines().nth(1).unwrap();
        let ssh_key = annex.ssh_key();
        let keys = [
            ("the client's key", Some(line)),
            ("the SSH key", ssh_key.as_deref()),
        ];
        let keys = keys
            .into_iter()
            .filter_map(|(name, key)| Some((name, key?)));
        let given = GIVEN.into_iter().chain(annex::GIVEN).chain(keys);
        let credentials = Arc::new(Canaries::new(given));
        let this = Self {
            regions: regions(repo, Arc::clone(&received)),
            receivers: receivers(Arc::clone(&received)),
            annex,
            forge: FakeGithub::start("acme/vault", FORGE_TOKEN),
            sampler: ProcessSampler::start(home.path().to_owned(), Arc::clone(&credentials)),
            said: Mutex::default(),
            certificates,
            server,
            work,
            received,
            home,
            credentials,
        };
        this.plant("key.pem", &key);
        this.plant(
            "certificate.pem",
            &fs::read_to_string(this.certificates.certificate()).unwrap(),
        );
        this.plant("user", WRONG_USER);
        this.plant("password", PASSWORD);
        this.plant("forge", FORGE_TOKEN);
        this.plant("regions", REGION_TOKEN);
        this.plant("hook", HOOK_SECRET);
        this.plant(
            "chat",
            &this.receivers.url(&format!("/services/{CHAT_SECRET}")),
        );
        fs::write(this.home.path().join("settings.yaml"), this.settings()).unwrap();
        Some(this)
    }

    /// The forge answers the next requests with these statuses, and repeats them.
    pub(super) fn refuse_statuses(&self, statuses: impl IntoIterator<Item = u16>) {
        self.forge
            .fail_next(statuses.into_iter().map(fake_github::Fault::Echo));
    }

    fn plant(&self, name: &str, content: &str) {
        fs::write(self.home.path().join("planted").join(name), content).unwrap();
    }

    fn settings(&self) -> String {
        let all = "[opened, succeeded, held, failed, reverted, drift, stalled]";
        format!(
            "dataDir: data
poll: 300ms
egress: {{ loopback: true }}
fleets:
  - name: vault
    repo: {}
    credentials: {{ usernameFile: planted/user, passwordFile: planted/password }}
    endpoints:
      - name: regions
        url: \"{}\"
        tokenFile: planted/regions
        clientCertFile: planted/certificate.pem
        clientKeyFile: planted/key.pem
    forge: {{ kind: github, api: \"{}\", repository: acme/vault, tokenFile: planted/forge }}
    alerts:
      - {{ name: chat, slack: {{ webhookUrlFile: planted/chat }}, on: {all} }}
      - {{ name: hook, webhook: {{ url: \"{}\", secretFile: planted/hook }}, on: {all} }}
{}",
            self.server.url(REPO),
            self.regions.url("/"),
            self.forge.api(),
            self.receivers.url(&format!("/hook?key={HOOK_KEY}")),
            self.annex.settings(),
        )
    }

    fn program(&self) -> Tidegate {
        let home = self.home.path();
        let tidegate = Tidegate::new(env!("CARGO_BIN_EXE_tidegate"), home)
            .env("TMPDIR", home.join("tmp"))
            // Entra ID's.
            .env("SSL_CERT_FILE", self.certificates.authority());
        let variables = self.annex.variables(&home.join("planted")).into_iter();
        variables.fold(tidegate, |tidegate, (name, value)| {
            tidegate.env(name, value)
        })
    }

    /// The controller, which says everything that it can say.
    pub(super) fn start(&self) -> Running {
        self.program()
            .env("TIDEGATE_LOG", "trace")
            .env("TIDEGATE_GIT_DEADLINE", "10s")
            .env("TIDEGATE_GIT_USERNAME", USERNAME)
            .env("TIDEGATE_GIT_PASSWORD", UNUSED_PASSWORD)
            .start(&["run", "--settings", "settings.yaml"])
    }

    pub(super) fn set_password(&self, password: &str) {
        self.plant("password", password);
    }

    pub(super) fn set_right_credentials(&self) {
        self.plant("user", USERNAME);
        self.plant("password", PASSWORD);
    }

    /// Publishes a version, with the Secret's values.
    pub(super) fn publish(&self, version: &str, subject: &str) {
        let plain = PLAIN[usize::from(version != "1")];
        let mut values = String::new();
        for (name, value) in [("version", version), ("plain", plain), ("encoded", ENCODED)] {
            let value = serde_json::to_string(value).unwrap();
            writeln!(values, "{name}: {value}").unwrap();
        }
        let region =
            |name: &str| format!("apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: {name}\n");
        self.work.publish(
            &[
                ("tidegate.yaml", FLEET),
                ("templates/app.yaml.hbs", APP),
                ("templates/secret.yaml.hbs", SECRET),
                ("values/fleet.yaml", &values),
                ("regions/west.yaml", &region("west")),
                ("regions/east.yaml", &region("east")),
            ],
            subject,
        );
        self.forge.add_commit(&self.work.head(), Some("jo"));
    }

    /// Publishes a Secret that cannot be rendered.
    pub(super) fn publish_invalid(&self) {
        self.work
            .publish(&[("templates/secret.yaml.hbs", INVALID)], "invalid");
        self.forge.add_commit(&self.work.head(), Some("jo"));
    }

    /// Takes up what the controller pushed to the config branch.
    pub(super) fn pull(&self) {
        self.work.git(&["pull", "-q", "--rebase", "origin", "main"]);
    }

    fn git(&self, arguments: &[&str]) -> String {
        tidegate_testkit::work::git_command(&self.server.path(REPO), arguments)
    }

    /// Whether the newest rollout, of this commit, has come to a state.
    pub(super) fn rollout_is(&self, wanted: &str) -> bool {
        let log = crate::small_fleet::LOG;
        if self.server.tip(REPO, log).is_none() {
            return false;
        }
        let state: serde_json::Value =
            serde_json::from_str(&self.git(&["show", &format!("{log}:state.json")])).unwrap();
        state["rollout"]["state"] == wanted && state["rollout"]["source"] == self.work.head()
    }

    /// Whether every server of the annex was asked often enough to have answered in all its ways.
    pub(super) fn all_of_annex_were_asked(&self) -> bool {
        let received = self.received.lock().unwrap();
        let count = |name| received.iter().filter(|(to, _)| *to == name).count();
        let mut names = annex::ASKED.into_iter();
        names.all(|name| {
            count(name)
                > match name {
                    // Of its statuses there are few.
                    "gitea" => 2,
                    "far" | "argo" => 12,
                    _ => 6,
                }
        })
    }

    /// Whether the hook was told an event of a type.
    pub(super) fn told(&self, kind: &str) -> bool {
        let received = self.received.lock().unwrap();
        received.iter().any(|(to, request)| {
            *to == "hook" && String::from_utf8_lossy(&request.body).contains(kind)
        })
    }

    /// Whether any status of the newest commit is in a state.
    pub(super) fn has_status(&self, wanted: &str) -> bool {
        let standing = self.forge.standing(&self.work.head());
        standing.values().any(|(state, _)| state == wanted)
    }

    /// Calls everything that reads, for people and for programs; with passwords that are right, wrong, and in the URL.
    pub(super) fn call_every_command(&self) {
        let url = self.server.url(REPO);
        let source = format!("{url}@main");
        let of_annex = ["--settings", "settings.yaml", "--fleet", "annex"];
        let gates = [&["gates", "test"][..], &of_annex].concat();
        let doctor = [&["doctor"][..], &of_annex].concat();
        let explain = [&["explain"][..], &of_annex].concat();
        let calls: [&[&str]; 12] = [
            &explain,
            &gates,
            &doctor,
            &["status", "--repo", &url],
            &["history", "--repo", &url],
            &["explain", "--repo", &url],
            &["audit", "--repo", &url],
            &["validate", &source],
            &["plan", &source, "--base", "main~3"],
            &["plan", &source],
            &["status", "--repo", "URL-WITH-PASSWORD"],
            &["plan", "URL-WITH-PASSWORD"],
        ];
        let with_password = url.replacen("://", &format!("://{USERNAME}:{PASSWORD_IN_URL}@"), 1);
        for call in calls {
            for format in [None, Some("json")] {
                for password in [PASSWORD, WRONG_PASSWORD] {
                    let mut arguments: Vec<&str> = call
                        .iter()
                        .map(|argument| match *argument {
                            "URL-WITH-PASSWORD" => with_password.as_str(),
                            other => other,
                        })
                        .collect();
                    if let Some(format) = format {
                        arguments.extend(["-o", format]);
                    }
                    let person = self
                        .program()
                        .env("TIDEGATE_LOG", "trace")
                        .env("TIDEGATE_GIT_USERNAME", USERNAME)
                        .env("TIDEGATE_GIT_PASSWORD", password);
                    let answer = person.call(&arguments);
                    assert!(
                        answer
                            .code
                            .is_some_and(|code| code != 2 || call.contains(&"URL-WITH-PASSWORD")),
                        "{arguments:?}: {answer:?}"
                    );
                    let mut said = self.said.lock().unwrap();
                    let what = format!("{call:?} {format:?}");
                    said.push((format!("output of {what}"), answer.stdout.into_bytes()));
                    said.push((format!("words of {what}"), answer.stderr.into_bytes()));
                }
            }
        }
    }

    /// All secrets that are where they may not be.
    pub(super) fn leaks(&self, running: &Running) -> Vec<Leak> {
        let mut leaks = Vec::new();
        let mut look = |place: &str, bytes: &[u8]| {
            leaks.extend(self.credentials.find(place, bytes));
            leaks.extend(RENDERED.find(place, bytes));
        };
        look("output of run", running.stdout().as_bytes());
        look("words of run", running.stderr().as_bytes());
        for (place, bytes) in self.said.lock().unwrap().iter() {
            look(place, bytes);
        }
        for (place, text) in self.rows() {
            look(&place, text.as_bytes());
        }
        for (to, request) in self.received.lock().unwrap().iter() {
            look(&format!("body to {to}"), &request.body);
            look(&format!("query to {to}"), request.query.as_bytes());
            for (name, value) in &request.headers {
                look(&format!("header {name} to {to}"), value.as_bytes());
            }
            if *to != "chat" {
                look(&format!("path to {to}"), request.path.as_bytes());
            }
        }
        for asked in self.forge.asked() {
            look("body to the forge", asked.body.to_string().as_bytes());
            look("path to the forge", asked.path.as_bytes());
            for (name, value) in &asked.headers {
                look(&format!("header {name} to the forge"), value.as_bytes());
            }
        }
        for sign_in in self.annex.entra.sign_ins() {
            look("path to Entra ID", sign_in.request.as_bytes());
            for (field, value) in &sign_in.form {
                if field != "client_assertion" {
                    look(&format!("field {field} to Entra ID"), value.as_bytes());
                }
            }
        }
        leaks.retain(|leak| !is_shown_to_whom_it_is_for(leak));
        leaks.extend(self.leaks_in_files());
        leaks.extend(self.leaks_in_processes());
        leaks
    }

    fn leaks_in_files(&self) -> Vec<Leak> {
        let mut leaks = Vec::new();
        let planted = self.home.path().join("planted");
        let settings = self.home.path().join("settings.yaml");
        let is_planted = |path: &Path| path.starts_with(&planted) || path == settings;
        for canaries in [&*self.credentials, &*RENDERED] {
            leaks.extend(canaries.find_in_folder(self.home.path(), &is_planted));
        }
        // Objects are compressed, so that files alone do not tell.
        let rendered = self.files_of_config_and_rendered_trees();
        for repo in [self.server.path(REPO), self.mirror("vault")] {
            leaks.extend(self.credentials.find_in_objects(&repo, &BTreeSet::new()));
            leaks.extend(RENDERED.find_in_objects(&repo, &rendered));
        }
        for repo in [self.server.path(annex::REPO), self.mirror("annex")] {
            leaks.extend(self.credentials.find_in_objects(&repo, &BTreeSet::new()));
        }
        leaks
    }

    fn mirror(&self, fleet: &str) -> PathBuf {
        self.home
            .path()
            .join(format!("data/fleets/{fleet}/mirror.git"))
    }

    /// Files of the config branch, of wave branches' commits, and of plan commits, which have no parent.
    fn files_of_config_and_rendered_trees(&self) -> BTreeSet<String> {
        let commits = self.git(&["rev-list", "--parents", "--all"]);
        let log = self.git(&["rev-list", "--first-parent", crate::small_fleet::LOG]);
        let log: BTreeSet<&str> = log.lines().collect();
        let mut files = BTreeSet::new();
        for line in commits.lines() {
            let commit = line.split(' ').next().unwrap_or_default();
            if log.contains(commit) {
                continue;
            }
            for entry in self.git(&["ls-tree", "-r", commit]).lines() {
                let id = entry.split(['\t', ' ']).nth(2).unwrap_or_default();
                files.insert(id.to_owned());
            }
        }
        files
    }

    /// Every field of the outbox: a long one is in pieces in the file.
    fn rows(&self) -> Vec<(String, String)> {
        let file = self.home.path().join("data/fleets/vault/outbox.db");
        let database = rusqlite::Connection::open(file).unwrap();
        rows_of(&database)
    }

    fn leaks_in_processes(&self) -> Vec<Leak> {
        let seen = self.sampler.seen();
        let mut leaks = Vec::new();
        for leak in seen.in_arguments {
            // What a person writes there themselves.
            if (leak.place.as_str(), leak.secret.as_str()) != ("tidegate", "a password in a URL") {
                leaks.push(leak);
            }
        }
        for leak in seen.in_variables {
            let (program, variable) = leak.place.split_once(' ').unwrap_or((&leak.place, ""));
            let is_of_git = [
                "the git password",
                "a wrong git password",
                "a wrong git user",
            ]
            .contains(&leak.secret.as_str());
            // What the program was given itself, and how git learns whom it goes for. The git of a person's command has
            // that person's environment; the controller's git has not got the controller's.
            let is_meant = match variable {
                "TIDEGATE_GIT_PASSWORD" => program == "tidegate" || is_of_git,
                "GIT_CONFIG_VALUE_0" => program.starts_with("git") && is_of_git,
                // A plugin is given what its kubeconfig says.
                "ANNEX_VARIABLE" => leak.secret == "a plugin's variable" && program != "tidegate",
                _ => false,
            };
            if !is_meant {
                leaks.push(leak);
            }
        }
        leaks
    }

    /// A look that finds nothing because there was nothing says nothing.
    pub(super) fn assert_that_everything_was_there_to_be_looked_at(&self, running: &Running) {
        let seen = self.sampler.seen();
        let of_ssh = self.annex.ssh_key().map(|_| "ssh");
        // The plugin is a script of `sh`.
        let names = ["tidegate", "git", "git-remote-http", "sh"].into_iter();
        for name in names.chain(of_ssh) {
            assert!(seen.processes.contains_key(name), "no {name}: {seen:?}");
        }
        let asked = self.received.lock().unwrap();
        for to in ["regions", "chat", "hook"].into_iter().chain(annex::ASKED) {
            let count = asked.iter().filter(|(known, _)| *known == to).count();
            let least = if to == "gitea" { 2 } else { 4 };
            assert!(count > least, "{to} was sent {count} requests");
        }
        // Everyone was shown what it is for: so nothing was left untried.
        for (to, secret) in annex::SHOWN {
            let mut requests = asked.iter().filter(|(known, _)| *known == to);
            let is_shown = requests.any(|(_, request)| {
                let asks = request.header("authorization").unwrap_or_default();
                let found = self.credentials.find(to, asks.as_bytes());
                found.iter().any(|leak| leak.secret == secret)
            });
            assert!(is_shown, "{to} was never shown {secret}");
        }
        drop(asked);
        let mut sign_ins = self.annex.entra.sign_ins().into_iter();
        assert!(sign_ins.any(|sign_in| sign_in.token.is_some()));
        assert_eq!(self.forge.faults_left(), 0);
        let said = running.stderr();
        // And what was repeated to it, it has read.
        for part in ["\"TRACE\"", "Basic ***", "Bearer ***", "not Slack's"] {
            assert!(said.contains(part), "nothing says {part}");
        }
        assert!(!self.rows().is_empty());
        // What may be in rendered trees is in them, so that it would be found elsewhere too.
        for repo in [self.server.path(REPO), self.mirror("vault")] {
            let leaks = RENDERED.find_in_objects(&repo, &BTreeSet::new());
            let secrets: BTreeSet<&str> = leaks.iter().map(|leak| leak.secret.as_str()).collect();
            assert_eq!(secrets.len(), 3, "{secrets:?}");
        }
    }
}

/// Whether a secret stands where it is meant to: in what its own server is sent to know us by.
fn is_shown_to_whom_it_is_for(leak: &Leak) -> bool {
    let shown = [
        ("regions", "the regions' token"),
        ("the forge", "the forge's token"),
    ];
    let in_headers = shown.into_iter().chain(annex::SHOWN).any(|(to, secret)| {
        leak.secret == secret && leak.place == format!("header authorization to {to}")
    });
    in_headers
        || (leak.secret.as_str(), leak.place.as_str())
            == ("the key in the hook's address", "query to hook")
}

fn rows_of(database: &rusqlite::Connection) -> Vec<(String, String)> {
    let mut names = database
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .unwrap();
    let names: Vec<String> = names
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut rows = Vec::new();
    for name in names {
        let mut all = database
            .prepare(&format!("SELECT * FROM \"{name}\""))
            .unwrap();
        let columns = all.column_count();
        let mut found = all.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            for column in 0..columns {
                let value: rusqlite::types::Value = row.get(column).unwrap();
                rows.push((format!("column {column} of {name}"), format!("{value:?}")));
            }
        }
    }
    rows
}

/// Whoever finds nothing has to be able to find something.
#[test]
fn a_canary_in_a_database_is_found() {
    let database = rusqlite::Connection::open_in_memory().unwrap();
    database
        .execute_batch(&format!(
            "CREATE TABLE a (b TEXT); INSERT INTO a VALUES ('{}{FORGE_TOKEN}')",
            "x".repeat(5000)
        ))
        .unwrap();
    let found: Vec<Leak> = rows_of(&database)
        .iter()
        .flat_map(|(place, text)| Canaries::new(GIVEN).find(place, text.as_bytes()))
        .collect();
    assert!(
        found.iter().any(|leak| leak.place == "column 0 of a"),
        "{found:?}"
    );
}
