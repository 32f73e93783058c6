//! The list of the Secrets by which an Argo CD knows its clusters, shared by all who look for one of them: with a thousand
//! clusters, a list for each would hold the Secrets of all a thousand times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use serde_json::Value;
use tokio::sync::Mutex;

use super::SECRETS_ARE_READ_AGAIN_AFTER;
use super::argocd_secret::{self, SELECTOR};
use super::client::Credentials;
use super::request::{self, RequestError};

/// How long a list may take.
const LISTS_WITHIN: Duration = Duration::from_secs(30);
/// How old a list may be for a cluster that is not in it, or whose Secret is of no use.
const LACKS_FOR: Duration = Duration::from_secs(5);

/// What a look for a cluster comes to: its credentials, if there are any, or what is wrong with them.
type Found = Result<Option<Credentials>, String>;

/// The newest list of one Argo CD.
#[derive(Default)]
pub(super) struct ArgocdList(Arc<Mutex<Option<Listed>>>);

struct Listed {
    secrets: Vec<Value>,
    /// When it was asked for.
    asked: Instant,
}

impl ArgocdList {
    /// What the Secret of a cluster says, by a list that was asked for within a minute, and behind the moment at which that
    /// cluster refused its credentials.
    ///
    /// Whoever gives up waiting does not end the list: others wait for it too.
    pub(super) async fn find(
        &self,
        client: Client,
        namespace: &str,
        cluster: &str,
        refused: Option<Instant>,
    ) -> Result<Found, RequestError> {
        let listed = Arc::clone(&self.0);
        let path = format!("/api/v1/namespaces/{}/secrets", request::escaped(namespace));
        let cluster = cluster.to_owned();
        let looking = tokio::spawn(async move {
            let mut listed = listed.lock().await;
            if let Some(listed) = &*listed {
                let found = argocd_secret::find(&listed.secrets, &cluster);
                let is_there = matches!(found, Ok(Some(_)));
                let serves_for = if is_there {
                    SECRETS_ARE_READ_AGAIN_AFTER
                } else {
                    LACKS_FOR
                };
                let is_behind = refused.is_none_or(|refused| refused < listed.asked);
                if is_behind && listed.asked.elapsed() < serves_for {
                    return Ok(found);
                }
            }
            let asked = Instant::now();
            let query = format!("labelSelector={}", request::escaped(SELECTOR));
            let list = request::list(&client, &path, &query);
            let no_answer = || RequestError::Unreachable("no answer".to_owned());
            let secrets = tokio::time::timeout(LISTS_WITHIN, list)
                .await
                .unwrap_or_else(|_| Err(no_answer()))?;
            let found = argocd_secret::find(&secrets, &cluster);
            *listed = Some(Listed { secrets, asked });
            Ok(found)
        });
        let given_up = |_| {
            Err(RequestError::Unreachable(
                "the list was given up".to_owned(),
            ))
        };
        looking.await.unwrap_or_else(given_up)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;
    use tidegate_testkit::http::{HttpServer, Response};

    use super::super::tests::kubeconfig_of;
    use super::super::{ClusterError, Clusters};
    use super::*;
    use crate::gates::egress::EgressRules;
    use crate::settings::{ArgocdSecrets, ClusterSource};

    /// An Argo CD with the Secrets of these clusters, which counts how often it is asked for all of them.
    fn argocd(clusters: &[&str], asked: Arc<AtomicUsize>) -> HttpServer {
        let text = |text: &str| STANDARD.encode(text);
        let config = json!({ "bearerToken": "t", "tlsClientConfig": { "insecure": true } });
        let secret = |name: &&str| {
            let fields: BTreeMap<&str, String> = BTreeMap::from([
                ("name", text(name)),
                ("server", text("https://127.0.0.1:1")),
                ("config", text(&config.to_string())),
            ]);
            json!({ "metadata": { "name": format!("cluster-{name}") }, "data": fields })
        };
        let items: Vec<Value> = clusters.iter().map(secret).collect();
        let list = json!({ "kind": "SecretList", "items": items }).to_string();
        HttpServer::start(move |request| {
            assert!(request.path.ends_with("/namespaces/argocd/secrets"));
            asked.fetch_add(1, Ordering::SeqCst);
            Some(Response::json(200, list.clone()))
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_list_serves_all_clusters_until_one_is_refused_or_lacks() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let asked = Arc::new(AtomicUsize::new(0));
        let names: Vec<String> = (0..50).map(|number| format!("aks-{number}")).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let server = argocd(&known, Arc::clone(&asked));
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = kubeconfig_of(
            &json!({ "server": server.url("") }),
            &json!({ "token": "t" }),
        );
        std::fs::write(folder.path().join("management"), kubeconfig).unwrap();
        let secrets = ArgocdSecrets {
            cluster: "management".to_owned(),
            namespace: "argocd".to_owned(),
        };
        let sources = vec![
            ClusterSource::Kubeconfigs(folder.path().to_owned()),
            ClusterSource::ArgocdSecrets(secrets),
        ];
        let clusters = Arc::new(Clusters::new(sources, EgressRules::ANY));
        let mut looking = tokio::task::JoinSet::new();
        for name in names.clone() {
            let clusters = Arc::clone(&clusters);
            looking.spawn(async move { clusters.client(&name).await.map(|_| ()) });
        }
        for found in looking.join_all().await {
            found.unwrap();
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // Whoever was refused needs a Secret that was read behind that, and all others may have it too.
        for name in &names {
            clusters.failed(name, &RequestError::Unauthorized);
        }
        for name in &names {
            clusters.client(name).await.map(|_| ()).unwrap();
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // A list of a moment ago tells what it lacks.
        for _ in 0..3 {
            let Err(ClusterError::Unknown { .. }) = clusters.client("aks-new").await else {
                panic!("there is no such cluster");
            };
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
