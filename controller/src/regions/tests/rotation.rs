//! Files that a kubeconfig names, and that rotate.

use std::path::Path;

use super::*;
use crate::regions::client::{Credentials, Version};
use crate::regions::named_files::NamedFiles;

/// What is asked of a server by the cluster's client; the words of the failure.
async fn ask(clusters: &Clusters) -> Result<(), String> {
    let client = clusters.client("aks-a").await;
    let client = client.map_err(|error| error.to_string())?;
    let answer = request::get(&client, "/version").await;
    // As gates do.
    if let Err(error) = &answer {
        clusters.failed("aks-a", error);
    }
    answer.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_authority_in_a_file_that_a_kubeconfig_names_is_taken_up_when_it_rotates() {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.crt");
    let certificates = Certificates::generate().expect("openssl");
    let strangers = Certificates::generate().expect("openssl");
    let server = HttpServer::over_tls(&certificates, |_| {
        Some(Response::json(200, json!({ "major": "1" }).to_string()))
    });
    std::fs::copy(strangers.authority(), &authority).unwrap();
    // Relative to the kubeconfig's folder.
    let cluster = json!({
        "server": format!("https://{}", server.address()),
        "certificate-authority": "ca.crt",
    });
    let text = kubeconfig_of(&cluster, &json!({ "token": "hunter2-token" }));
    std::fs::write(folder.path().join("aks-a"), text).unwrap();
    let clusters = clusters(vec![ClusterSource::Kubeconfigs(folder.path().to_owned())]);
    ask(&clusters).await.unwrap_err();

    std::fs::copy(certificates.authority(), &authority).unwrap();
    ask(&clusters).await.unwrap();
}

/// What is found for a cluster in this kubeconfig.
fn found(file: &Path, context: &str) -> Credentials {
    let files = KubeconfigFiles::default();
    files.context(file, context).unwrap().unwrap()
}

#[test]
fn what_a_context_names_counts_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let names = ["a.crt", "a.key", "a-ca.crt", "b-ca.crt", "a-token"];
    for name in names {
        std::fs::write(folder.path().join(name), "1").unwrap();
    }
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [
            { "name": "a", "context": { "cluster": "a", "user": "a" } },
            { "name": "b", "context": { "cluster": "b", "user": "b" } },
        ],
        "clusters": [
            { "name": "a", "cluster": { "server": "https://127.0.0.1:1", "certificate-authority": "a-ca.crt" } },
            { "name": "b", "cluster": { "server": "https://127.0.0.1:1", "certificate-authority": "b-ca.crt" } },
        ],
        "users": [
            { "name": "a", "user": { "client-certificate": "a.crt", "client-key": "a.key", "tokenFile": "a-token" } },
            { "name": "b", "user": {} },
        ],
    });
    std::fs::write(&file, text.to_string()).unwrap();
    for name in names {
        let (first, of_b) = (found(&file, "a"), found(&file, "b"));
        assert!(first == found(&file, "a"), "nothing changed");
        std::fs::write(folder.path().join(name), "another one").unwrap();
        let counts = name != "b-ca.crt" && name != "a-token";
        assert_eq!(first != found(&file, "a"), counts, "{name}");
        assert_eq!(of_b != found(&file, "b"), name == "b-ca.crt", "{name}");
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    let Credentials::Kubeconfig { version, .. } = found(&file, "a") else {
        panic!("a file is a kubeconfig")
    };
    assert!(matches!(version, Version::File { .. }));
}

#[test]
fn a_pod_with_other_authorities_has_other_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    let credentials = || Credentials::InCluster(NamedFiles::now([file.as_path()]));
    let absent = credentials();
    std::fs::write(&file, "1").unwrap();
    let first = credentials();
    assert!(first == credentials(), "nothing changed");
    assert!(absent != first);
    std::fs::write(&file, "another one").unwrap();
    assert!(first != credentials());
}

/// A cluster that accepts one token alone, and a Secret that names one for it.
struct Rotating {
    accepted: Arc<Mutex<&'static str>>,
    in_secret: Arc<Mutex<&'static str>>,
    clusters: Clusters,
    _servers: [HttpServer; 2],
    _folder: tempfile::TempDir,
}

impl Rotating {
    /// `secret` makes the holder's answer of the cluster's address and the token.
    fn reached_by(
        source: ClusterSource,
        secret: impl Fn(&str, &str) -> serde_json::Value + Send + Sync + 'static,
    ) -> Self {
        let accepted = Arc::new(Mutex::new("the-first-token"));
        let in_secret = Arc::new(Mutex::new("the-first-token"));
        let cluster = HttpServer::start({
            let accepted = Arc::clone(&accepted);
            move |request| {
                let wanted = format!("Bearer {}", accepted.lock().unwrap());
                let is_known = request.header("authorization") == Some(wanted.as_str());
                Some(Response::json(if is_known { 200 } else { 401 }, "{}"))
            }
        });
        let holder = HttpServer::start({
            let (in_secret, url) = (Arc::clone(&in_secret), cluster.url(""));
            move |_| {
                let answer = secret(&url, *in_secret.lock().unwrap());
                Some(Response::json(200, answer.to_string()))
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        let to_holder = kubeconfig_of(&json!({ "server": holder.url("") }), &json!({}));
        std::fs::write(&file, to_holder).unwrap();
        Self {
            accepted,
            in_secret,
            clusters: Clusters::new(
                vec![source, ClusterSource::Kubeconfig(file)],
                EgressRules::ANY,
            ),
            _servers: [cluster, holder],
            _folder: folder,
        }
    }

    /// The token rotates, in the cluster first: the old one is refused once, and the new one is taken up at the next question.
    async fn assert_taken_up(&self) {
        ask(&self.clusters).await.unwrap();
        *self.in_secret.lock().unwrap() = "the-second-token";
        ask(&self.clusters).await.unwrap();
        *self.accepted.lock().unwrap() = "the-second-token";
        let refused = ask(&self.clusters).await.unwrap_err();
        assert!(refused.contains("(401)"), "{refused}");
        ask(&self.clusters).await.unwrap();
    }
}

#[tokio::test]
async fn the_next_token_of_a_kubeconfig_in_a_secret_is_taken_up_once_the_old_one_is_refused() {
    let rotating = Rotating::reached_by(secrets_of("x"), |server, token| {
        let inner = kubeconfig_of(&json!({ "server": server }), &json!({ "token": token }));
        json!({ "kind": "Secret", "data": { "value": STANDARD.encode(inner) } })
    });
    rotating.assert_taken_up().await;
}

#[tokio::test]
async fn the_next_token_of_an_argo_cds_secret_is_taken_up_once_the_old_one_is_refused() {
    let rotating = Rotating::reached_by(argocd_secrets_of("x"), |server, token| {
        let config = json!({ "bearerToken": token }).to_string();
        let mut secret = secret("aks-a", &config);
        secret["data"]["server"] = STANDARD.encode(server).into();
        json!({ "kind": "SecretList", "items": [secret] })
    });
    rotating.assert_taken_up().await;
}
