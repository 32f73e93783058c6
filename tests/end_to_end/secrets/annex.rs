//! A second fleet, by SSH, with a forge and an Argo CD of its own, and with a region for every way to a cluster. There is a
//! canary in each credential, and all servers repeat who asks, in refusals and in objects.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_testkit::certificates::Certificates;
use tidegate_testkit::fake_entra::{FakeEntra, Fault, SERVER, TENANT, TOKEN_PREFIX};
use tidegate_testkit::git_server::GitServer;
use tidegate_testkit::http::{HttpServer, Request, Response};
use tidegate_testkit::ssh_server::{SshKey, SshServer};
use tidegate_testkit::work::Work;

use super::site::{Received, echo};

/// The repo.
pub(super) const REPO: &str = "annex.git";

/// Regions, whose clusters have the same names, by what the way to each needs: a Secret of an Argo CD, a password, a plugin, a
/// kubeconfig in a Secret, Entra ID, a key.
const REGIONS: [&str; 6] = ["far", "pass", "plugin", "boxed", "entra", "keyed"];

const FLEET: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: annex
waves:
  - { name: canary, regions: [far, pass, plugin, boxed, entra, keyed], bake: 300ms, maxConcurrent: 6 }
gates:
  - name: workloads
    workloads: { namespace: app }
    every: 500ms
    timeout: 500ms
  - name: argocd
    argocd: { selector: { matchLabels: { region: far } } }
    every: 500ms
    timeout: 500ms
";
const APP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: app }\n";

/// In the kubeconfig of the cluster that has the Secrets of others.
const NEAR_TOKEN: &str = "eyKb3Wv8Hn5Tq.1Yx6Zc9Lp2Rd4Mf-7Gs0JuAeOi";
/// In the Secret by which an Argo CD knows another cluster.
const FAR_TOKEN: &str = "k8sQ4nZt7Xw1Pe9.Vb3Ru6Ly2Cm5Hj8Df0-KgSaTo";
/// For an Argo CD's own API.
const ARGOCD_TOKEN: &str = "eyArg0Lp7Zw.Xk3Ty9Bn5Rc1Vd8Mh-Q6Gf2JsWoUe";
/// Of another forge.
const GITEA_TOKEN: &str = "6f2c9b1e8d7a4053b6e1f09c2d8a7b4e5f3c1d09";
/// What a cluster knows a user by (RFC 7617).
const CLUSTER_PASSWORD: &str = "Vt3\"Lq8+Xn1/Wz6%Rb9=Kd4Mf7Hy";
/// What a plugin says.
const PLUGIN_TOKEN: &str = "k8s-aws-v1.Zq7Xn3Vb9Lm5Td1.Rw8Ky2Hc6-PfJgSe";
/// What a kubeconfig gives its plugin in a variable.
const PLUGIN_VARIABLE: &str = "Yd5Bq9Wk2Xf7Nv3Tz8Hm1Lc6Rp4GsJe";
/// In the kubeconfig that a Secret holds.
const BOXED_TOKEN: &str = "eyBox5Rt9Qn.2Wz7Vk4Ym8Xc3Lb-6Hd1FpUgAsOe";
/// The pod's own, which Entra ID trusts.
const ASSERTION: &str =
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ0aWRlZ2F0ZS1hbm5leCJ9.c2lnbmVkLWZvci10aGUtYW5uZXg";
const CLIENT: &str = "2f7b1a6e-5d3c-4e8f-9a0b-1c2d3e4f5a6b";

/// What is planted here, but for keys.
pub(super) const GIVEN: [(&str, &str); 10] = [
    ("a kubeconfig's token", NEAR_TOKEN),
    ("the token of an Argo CD's Secret", FAR_TOKEN),
    ("the token for an Argo CD's API", ARGOCD_TOKEN),
    ("the other forge's token", GITEA_TOKEN),
    ("a cluster's password", CLUSTER_PASSWORD),
    ("a plugin's token", PLUGIN_TOKEN),
    ("a plugin's variable", PLUGIN_VARIABLE),
    ("the token of a kubeconfig in a Secret", BOXED_TOKEN),
    ("the pod's token", ASSERTION),
    ("tokens of Entra ID", TOKEN_PREFIX),
];

/// What each server is shown in `authorization`, and nobody else.
pub(super) const SHOWN: [(&str, &str); 8] = [
    ("near", "a kubeconfig's token"),
    ("far", "the token of an Argo CD's Secret"),
    ("argo", "the token for an Argo CD's API"),
    ("gitea", "the other forge's token"),
    ("pass", "a cluster's password"),
    ("plugin", "a plugin's token"),
    ("boxed", "the token of a kubeconfig in a Secret"),
    ("entra", "tokens of Entra ID"),
];

/// Everyone who is asked over HTTP.
pub(super) const ASKED: [&str; 9] = [
    "near", "far", "argo", "gitea", "pass", "plugin", "boxed", "entra", "keyed",
];

/// The kubeconfig's plugin: it says what it has got in four ways, of which two are right.
const PLUGIN: &str = r#"#!/bin/sh
read -r token < "$0.token"
calls=0
[ -e "$0.calls" ] && read -r calls < "$0.calls"
echo $((calls + 1)) > "$0.calls"
echo "the token is $token, the variable $ANNEX_VARIABLE" >&2
case $((calls % 4)) in
  0) echo "no credentials but $token" ;;
  1) echo "{ \"kind\": \"$token\""; exit 1 ;;
  *) echo "{ \"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": { \"token\": \"$token\" } }" ;;
esac
"#;

/// The fleet's servers.
pub(super) struct Annex {
    servers: HttpServer,
    pub(super) entra: FakeEntra,
    /// `None` where this machine has no `sshd`.
    ssh: Option<(SshServer, SshKey)>,
    /// By HTTP.
    url: String,
}

impl Annex {
    /// Starts them, publishes the fleet's one commit, and plants the credentials in a folder.
    pub(super) fn start(
        server: &GitServer,
        planted: &Path,
        certificates: &Certificates,
        received: Received,
    ) -> Self {
        let repo = server.create(REPO);
        let work = Work::new(&server.url_with_password(REPO));
        for region in REGIONS {
            let document =
                format!("apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: {region}\n");
            work.write(&format!("regions/{region}.yaml"), document);
        }
        let files = [("tidegate.yaml", FLEET), ("templates/app.yaml.hbs", APP)];
        work.publish(&files, "many ways");

        let ssh = SshServer::start(repo.parent().unwrap()).map(|server| {
            let key = SshKey::generate(&planted.join("id"));
            server.authorize(&[&key]);
            fs::write(planted.join("known_hosts"), server.known_hosts()).unwrap();
            (server, key)
        });
        if ssh.is_none() {
            crate::crash::say("SKIPPED: an SSH key among the canaries; install openssh-server");
        }
        let entra = FakeEntra::start(certificates);
        entra.trust(CLIENT, ASSERTION);
        // At first it repeats what it is told.
        entra.set_fault(CLIENT, Some(Fault::Repeats));
        let this = Self {
            servers: servers(received),
            entra,
            ssh,
            url: server.url(REPO),
        };
        let plant = |name: &str, text: &str| fs::write(planted.join(name), text).unwrap();
        plant("argocd", ARGOCD_TOKEN);
        plant("gitea", GITEA_TOKEN);
        plant("assertion", ASSERTION);
        plant("plugin.token", &format!("{PLUGIN_TOKEN}\n"));
        plant("plugin", PLUGIN);
        fs::set_permissions(planted.join("plugin"), fs::Permissions::from_mode(0o755)).unwrap();
        plant(
            "clusters.yaml",
            &this.kubeconfig(planted, certificates).to_string(),
        );
        this
    }

    /// A context for every cluster that files lead to.
    fn kubeconfig(&self, planted: &Path, certificates: &Certificates) -> Value {
        let encoded = |file: &Path| STANDARD.encode(fs::read(file).unwrap());
        let plugin = |command: &str, arguments: &[&str]| {
            json!({ "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": command,
                "args": arguments,
                "env": [{ "name": "ANNEX_VARIABLE", "value": PLUGIN_VARIABLE }],
                "interactiveMode": "Never",
            } })
        };
        let own = planted.join("plugin").display().to_string();
        let sign_in = [
            "get-token",
            "--login",
            "workloadidentity",
            "--server-id",
            SERVER,
        ];
        let users = [
            ("near", json!({ "token": NEAR_TOKEN })),
            (
                "pass",
                json!({ "username": "ada", "password": CLUSTER_PASSWORD }),
            ),
            ("plugin", plugin(&own, &[])),
            ("entra", plugin("kubelogin", &sign_in)),
            (
                "keyed",
                json!({
                    "client-certificate-data": encoded(&certificates.certificate()),
                    "client-key-data": encoded(&certificates.key()),
                }),
            ),
        ];
        let all = |make: &dyn Fn(&str, &Value) -> Value| -> Vec<Value> {
            users.iter().map(|(name, user)| make(name, user)).collect()
        };
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "contexts": all(&|name, _| json!({ "name": name, "context": { "cluster": name, "user": name } })),
            "clusters": all(&|name, _| json!({ "name": name, "cluster": { "server": self.servers.url(&format!("/{name}")) } })),
            "users": all(&|name, user| json!({ "name": name, "user": user })),
        })
    }

    /// The fleet in the settings.
    pub(super) fn settings(&self) -> String {
        let (repo, credentials) = match &self.ssh {
            Some((server, _)) => (
                server.url(REPO),
                "sshKeyFile: planted/id, knownHostsFile: planted/known_hosts",
            ),
            None => (
                self.url.clone(),
                "usernameFile: planted/user, passwordFile: planted/password",
            ),
        };
        format!(
            "  - name: annex
    repo: {repo}
    credentials: {{ {credentials} }}
    clusters:
      - kubeconfig: planted/clusters.yaml
      - secrets: {{ cluster: near, namespace: boxes }}
      - argocdSecrets: {{ cluster: near }}
    argocd: [{{ server: {{ url: \"{}\", tokenFile: planted/argocd }} }}]
    forge: {{ kind: gitea, api: \"{}\", repository: acme/annex, tokenFile: planted/gitea }}
",
            self.servers.url("/argo"),
            self.servers.url("/gitea/api/v1"),
        )
    }

    /// What Azure's webhook sets for the controller.
    pub(super) fn variables(&self, planted: &Path) -> [(&'static str, String); 4] {
        [
            ("AZURE_AUTHORITY_HOST", self.entra.authority()),
            ("AZURE_TENANT_ID", TENANT.to_owned()),
            ("AZURE_CLIENT_ID", CLIENT.to_owned()),
            (
                "AZURE_FEDERATED_TOKEN_FILE",
                planted.join("assertion").display().to_string(),
            ),
        ]
    }

    /// A line of the SSH key, if there is one.
    pub(super) fn ssh_key(&self) -> Option<String> {
        let (_, key) = self.ssh.as_ref()?;
        // The first lines of all keys of a kind are alike.
        key.private().lines().nth(3).map(str::to_owned)
    }

    /// Entra ID works from now on.
    pub(super) fn let_sign_in(&self) {
        self.entra.set_fault(CLIENT, None);
    }
}

/// Clusters, of which one has the Secrets that lead to two others, the API of an Argo CD, and a forge.
fn servers(received: Received) -> HttpServer {
    HttpServer::start(move |request| {
        let first = request.path.split('/').nth(1).unwrap_or_default();
        let to = ASKED.into_iter().find(|known| *known == first)?;
        let (before, before_there) = {
            let mut received = received.lock().unwrap();
            let known = || received.iter().filter(|(known, _)| *known == to);
            let there = known().filter(|(_, known)| known.path == request.path);
            let counts = (known().count(), there.count());
            received.push((to, request.clone()));
            counts
        };
        let asks = who_asks(&request);
        let answer = match to {
            "near" => secrets(&request, before_there),
            "argo" if before % 2 == 1 => Some(applications(&request, &asks)),
            "gitea" if before % 3 > 0 => {
                let status = json!({ "id": before, "status": "pending", "context": asks, "description": asks });
                Some(Response::json(201, status.to_string()))
            }
            _ => None,
        };
        Some(answer.unwrap_or_else(|| refusal(&request, &asks, before)))
    })
}

/// What a request was authorised with, decoded as well where that is a name and a password.
fn who_asks(request: &Request) -> String {
    let asks = request.header("authorization").unwrap_or_default();
    let basic = asks.strip_prefix("Basic ");
    let decoded = basic.and_then(|basic| String::from_utf8(STANDARD.decode(basic).ok()?).ok());
    format!("{asks} {}", decoded.unwrap_or_default())
}

/// A cluster's Secrets that lead to others; the first answers are none.
fn secrets(request: &Request, before: usize) -> Option<Response> {
    let host = request.header("host").unwrap_or_default();
    let server = |name: &str| format!("http://{host}/{name}");
    if request
        .path
        .ends_with("/namespaces/boxes/secrets/boxed-kubeconfig")
    {
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "it" } }],
            "clusters": [{ "name": "it", "cluster": { "server": server("boxed") } }],
            "users": [{ "name": "it", "user": { "token": BOXED_TOKEN } }],
        });
        let text = match before % 3 {
            0 => return None,
            // The last line is cut.
            1 => format!("apiVersion: v1\nusers: [{{ user: {{ token: {BOXED_TOKEN}"),
            _ => kubeconfig.to_string(),
        };
        let data = json!({ "value": STANDARD.encode(text) });
        let secret = json!({ "metadata": { "name": "boxed-kubeconfig" }, "data": data });
        return Some(Response::json(200, secret.to_string()));
    }
    if request.path.contains("/namespaces/boxes/secrets/") {
        let status = json!({ "kind": "Status", "reason": "NotFound", "code": 404 });
        return Some(Response::json(404, status.to_string()));
    }
    if request.path.ends_with("/namespaces/argocd/secrets") {
        let config = json!({ "bearerToken": FAR_TOKEN }).to_string();
        let config = match before % 3 {
            0 => return None,
            1 => &config[..config.len() - 2],
            _ => &config,
        };
        let data = json!({
            "name": STANDARD.encode("far"),
            "server": STANDARD.encode(server("far")),
            "config": STANDARD.encode(config),
        });
        let secret = json!({ "metadata": { "name": "cluster-far" }, "data": data });
        let list = json!({ "kind": "SecretList", "items": [secret] });
        return Some(Response::json(200, list.to_string()));
    }
    None
}

/// An Argo CD's answer, with who asks in every field that a gate could show.
fn applications(request: &Request, asks: &str) -> Response {
    let application = json!({
        "metadata": { "name": "far", "uid": asks, "labels": { "region": "far" } },
        "spec": { "project": asks, "source": { "repoURL": asks, "path": asks } },
        "status": {
            "health": { "status": "Degraded", "message": asks },
            "conditions": [{ "type": "ComparisonError", "message": asks }],
        },
    });
    let answer = if request.path.ends_with("/applications") {
        json!({ "items": [application] })
    } else {
        application
    };
    Response::json(200, answer.to_string())
}

/// No answer of use, in six ways.
fn refusal(request: &Request, asks: &str, before: usize) -> Response {
    let message = format!("{asks} may not ask, and cannot get what {asks} wants");
    let status = json!({ "kind": "Status", "message": message }).to_string();
    match before % 6 {
        0 => Response::json(500, status),
        1 => Response::json(403, status),
        2 => Response::json(200, format!("{{ \"kind\": \"{asks}")),
        3 => Response::json(
            200,
            json!({
                "kind": asks, "metadata": { "name": asks, "generation": 1 },
                "data": { asks: asks },
                "items": [{ "metadata": { "name": asks }, "status": { "message": asks, "reason": asks, "phase": "Failed" } }],
            })
            .to_string(),
        ),
        4 => echo(503, request),
        _ => Response::json(401, status),
    }
}
