//! Sign-ins at a service that answers as Entra ID's documentation says, and clusters that look at the token.

mod faults;
mod renewal;

use std::future::Future;
use std::path::Path;

use serde_json::json;
use tidegate_testkit::canaries::Canaries;
use tidegate_testkit::certificates::Certificates;
use tidegate_testkit::fake_entra::{FakeEntra, Fault, SERVER, TENANT, TOKEN_PREFIX};
use tidegate_testkit::http::{HttpServer, Response, Wait};
use tokio::sync::watch;

use super::*;
use crate::gates::egress::EgressRules;
use crate::regions::client::{Credentials, Version};
use crate::regions::request;
use crate::regions::{ClusterError, Clusters};
use crate::settings::ClusterSource;

/// How long anything may take on a slow machine.
const LONG: Duration = Duration::from_secs(60);
/// The identity of the pod.
const CLIENT: &str = "2f7b1a6e-5d3c-4e8f-9a0b-1c2d3e4f5a6b";
/// Another one.
const OTHER: &str = "9e8d7c6b-5a4f-4e3d-8c2b-1a0f9e8d7c6b";
/// Tokens of the pod.
const ASSERTIONS: [&str; 2] = [
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJoZXJlIn0.pod-token-one-hunter2-Qk3v9XzL",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJoZXJlIn0.pod-token-two-hunter2-Zw7c1RtP",
];

/// In no hurry, and yet soon there: what a test does not wait for may last.
const LIMITS: Limits = Limits {
    signed_in_within: LONG,
    failed_for: Duration::ZERO,
    not_renewed_for: Duration::ZERO,
    too_young_to_renew: Duration::ZERO,
};

/// A pod with kubeconfigs, Entra ID, and an API server for them all.
struct Stage {
    entra: Arc<FakeEntra>,
    clusters: Arc<Clusters>,
    folder: tempfile::TempDir,
    /// The tokens that the API server saw, and whether it took them.
    seen: Arc<Mutex<Vec<(String, bool)>>>,
    server: HttpServer,
    certificates: Certificates,
}

impl Stage {
    /// `None`, loudly, without openssl.
    fn set_up(limits: Limits) -> Option<Self> {
        let Some(certificates) = Certificates::generate() else {
            eprintln!("SKIPPED: signing in at Entra ID; install openssl");
            return None;
        };
        let entra = Arc::new(FakeEntra::start(&certificates));
        entra.trust(CLIENT, ASSERTIONS[0]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = HttpServer::start({
            let (entra, seen) = (Arc::clone(&entra), Arc::clone(&seen));
            move |request| {
                let token = request.header("authorization").unwrap_or_default();
                let token = token.strip_prefix("Bearer ").unwrap_or_default();
                let is_good = entra.is_good(token);
                lock(&seen).push((token.to_owned(), is_good));
                Some(if is_good {
                    Response::json(200, r#"{"gitVersion":"v1.36.0"}"#)
                } else {
                    Response::json(401, r#"{"kind":"Status","message":"Unauthorized"}"#)
                })
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Self {
            clusters: Arc::new(Clusters::new(Vec::new(), EgressRules::default())),
            entra,
            folder,
            seen,
            server,
            certificates,
        };
        stage.write_token(ASSERTIONS[0]);
        for (name, client) in [("aks-a", CLIENT), ("aks-b", CLIENT), ("aks-other", OTHER)] {
            stage.write_kubeconfig(name, client);
        }
        stage.clusters = stage.clusters(limits, &stage.token_file());
        Some(stage)
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("azure-identity-token")
    }

    fn write_token(&self, text: &str) {
        std::fs::write(self.token_file(), text).unwrap();
    }

    fn user(client: &str) -> serde_json::Value {
        json!({ "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            // There is none.
            "command": "/nowhere/kubelogin",
            "args": ["get-token", "--login", "workloadidentity", "--server-id", SERVER],
            "env": [{ "name": "AZURE_CLIENT_ID", "value": client }],
            "interactiveMode": "Never",
        } })
    }

    fn kubeconfig(&self, user: &serde_json::Value) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
            "clusters": [{ "name": "c", "cluster": { "server": self.server.url("") } }],
            "users": [{ "name": "u", "user": user }],
        })
        .to_string()
    }

    fn file_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.yaml"))
    }

    fn write_kubeconfig(&self, name: &str, client: &str) {
        std::fs::write(self.file_of(name), self.kubeconfig(&Self::user(client))).unwrap();
    }

    /// The program's own, but for the certificates that are trusted and the environment.
    fn sign_ins(&self, limits: Limits, token_file: &Path) -> SignIns {
        let authority = std::fs::read(self.certificates.authority()).unwrap();
        let authority = reqwest::Certificate::from_pem(&authority).unwrap();
        let http = transport::builder()
            .no_proxy()
            .tls_certs_only([authority])
            .build()
            .unwrap();
        let (host, token_file) = (self.entra.authority(), token_file.display().to_string());
        SignIns {
            environment: Box::new(move |name| match name {
                "AZURE_AUTHORITY_HOST" => Some(host.clone()),
                "AZURE_TENANT_ID" => Some(TENANT.to_owned()),
                "AZURE_FEDERATED_TOKEN_FILE" => Some(token_file.clone()),
                _ => None,
            }),
            limits,
            http: OnceLock::from(http),
            known: Mutex::default(),
        }
    }

    fn clusters(&self, limits: Limits, token_file: &Path) -> Arc<Clusters> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let sources = vec![ClusterSource::Kubeconfigs(self.folder.path().to_owned())];
        Arc::new(Clusters {
            sign_ins: Arc::new(self.sign_ins(limits, token_file)),
            ..Clusters::new(sources, EgressRules::ANY)
        })
    }

    /// Asks a cluster as gates do.
    async fn ask(&self, cluster: &str) -> Result<(), String> {
        let client = self
            .clusters
            .client(cluster)
            .await
            .map_err(|error| error.to_string())?;
        match request::get(&client, "/version").await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.clusters.failed(cluster, &error);
                Err(error.to_string())
            }
        }
    }

    fn tokens_taken(&self) -> Vec<String> {
        let seen = lock(&self.seen);
        let mut tokens: Vec<String> = seen.iter().map(|(token, _)| token.clone()).collect();
        tokens.dedup();
        tokens
    }
}

/// Asks again and again until it is so.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < LONG, "{what}: not within {LONG:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One that lasts until the sender is dropped.
fn open_end() -> (watch::Sender<()>, Wait) {
    let (sender, receiver) = watch::channel(());
    let wait = Wait::until(move || {
        while receiver.has_changed().is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    (sender, wait)
}

#[tokio::test]
async fn a_pod_signs_in_without_the_plugin_as_microsoft_documents_it() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    stage.ask("aks-a").await.unwrap();
    let sign_ins = stage.entra.sign_ins();
    assert_eq!(sign_ins.len(), 1);
    assert_eq!(
        sign_ins[0].request,
        format!("POST /{TENANT}/oauth2/v2.0/token")
    );
    let expected = [
        ("client_assertion", ASSERTIONS[0]),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_id", CLIENT),
        ("grant_type", "client_credentials"),
        ("scope", &format!("{SERVER}/.default")),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(sign_ins[0].form, BTreeMap::from(expected));
    assert_eq!(stage.tokens_taken(), [sign_ins[0].token.clone().unwrap()]);
}

#[tokio::test]
async fn one_token_serves_all_clusters_of_an_identity_and_all_who_ask_at_once() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    stage.entra.trust(OTHER, ASSERTIONS[0]);
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..60 {
        let clusters = Arc::clone(&stage.clusters);
        let cluster = ["aks-a", "aks-b", "aks-other"][number % 3];
        asked.spawn(async move { clusters.client(cluster).await.map(|_| ()) });
    }
    for found in asked.join_all().await {
        found.unwrap();
    }
    let mut clients: Vec<_> = stage
        .entra
        .sign_ins()
        .into_iter()
        .map(|sign_in| sign_in.form["client_id"].clone())
        .collect();
    clients.sort();
    assert_eq!(clients, [CLIENT, OTHER]);
}

/// What is logged, by whomever.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_library_logs_a_token_however_much_it_says() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    let logged = Logged::default();
    let writer = logged.clone();
    let records = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // As long as there is one subscriber alone, a place of the log that another test's thread comes to first is asked for that
    // thread, which has none, and is silent for everybody from then on.
    let _another = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let guard = tracing::subscriber::set_default(records);
    stage.ask("aks-a").await.unwrap();
    stage.entra.revoke();
    stage.ask("aks-a").await.unwrap_err();
    stage.entra.set_fault(CLIENT, Some(Fault::Repeats));
    stage.ask("aks-a").await.unwrap_err();
    drop(guard);
    let logged = String::from_utf8(lock(&logged.0).clone()).unwrap();
    assert!(
        logged.contains("/oauth2/v2.0/token"),
        "the sign-in is there"
    );
    assert!(logged.contains("Failed response"), "the refusal is there");
    let canaries = Canaries::new([
        ("the pod's token", ASSERTIONS[0]),
        ("tokens of Entra ID", TOKEN_PREFIX),
    ]);
    canaries.assert_absent("the log", logged.as_bytes());
}

#[tokio::test]
async fn nobody_signs_in_for_a_kubeconfig_of_a_secret() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    let text = stage.kubeconfig(&Stage::user(CLIENT));
    let place = "Secret kcm-system/aks-a-kubeconfig";
    assert!(crate::regions::kubeconfig::of_secret(&text, place).is_err());
    // Not even if it came so far.
    let credentials = Credentials::Kubeconfig {
        place: place.to_owned(),
        version: Version::Text(text.clone()),
        context: None,
        kubeconfig: Arc::new(kube::config::Kubeconfig::from_yaml(&text).unwrap()),
    };
    let built =
        crate::regions::client::build(&credentials, &stage.clusters.sign_ins, EgressRules::ANY)
            .await;
    assert!(built.is_err(), "there is no plugin");
    assert!(stage.entra.sign_ins().is_empty());
}
