//! Reaching regions' clusters: from the name that a region's document gives to a client of its API server.
//!
//! The operator's settings say where names lead. What they name is read anew whenever a client is asked for, and a
//! client is kept for as long as that did not change, so that rotated credentials are taken up at the next question.
//! Nothing is reached through one lock: a cluster that does not answer delays nobody else's.

mod argocd_list;
mod argocd_secret;
mod azure;
mod client;
mod kubeconfig;
mod named_files;
pub mod request;
pub mod rights;
mod sent;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate_waves::gate::Reading;
use tokio::sync::Notify;

use crate::gates::egress::{EgressRefused, EgressRules};
use crate::settings::{ArgocdSecrets, ClusterSource, KubeconfigSecrets};

use self::argocd_list::ArgocdList;
use self::azure::{SignIns, SignedIn};
use self::client::{Credentials, build};
use self::kubeconfig::KubeconfigFiles;
use self::request::RequestError;
use self::rights::Right;

/// How long a Secret that was read is taken for unchanged, unless its credentials are refused.
const SECRETS_ARE_READ_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The longest that a cluster is left alone because it asks for patience.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no client for a cluster.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClusterError {
    /// No place of the settings knows the name.
    #[error(
        "the operator's settings lead to no cluster {cluster}: {}",
        if .looked.is_empty() { "no entry of the fleet's `clusters` can lead there".to_owned() } else { format!("looked in {}", .looked.join(", ")) }
    )]
    Unknown {
        /// The name.
        cluster: String,
        /// Where it was looked for, and what was found there.
        looked: Vec<String>,
    },
    /// What was found is not usable.
    #[error("{place}: {message}")]
    Unusable {
        /// Where it stands.
        place: String,
        /// What is wrong with it; never what it says.
        message: String,
    },
    /// A Secret names a server that may not be reached.
    #[error("{place}: {refused}")]
    EgressDenied {
        /// Where it stands.
        place: String,
        /// Why.
        refused: EgressRefused,
    },
    /// Its API server has asked for patience, which is not over.
    #[error("the API server asks for patience (429), for {seconds} s more")]
    Patience {
        /// For how long, rounded up.
        seconds: u64,
    },
    /// The cluster that has the Secrets cannot be asked.
    #[error("{place}: {message}")]
    Unreachable {
        /// What was asked for.
        place: String,
        /// Why there was no answer.
        message: String,
    },
}

impl ClusterError {
    /// What it says of a region's cluster.
    #[must_use]
    pub fn reading(&self) -> Reading {
        match self {
            Self::EgressDenied { .. } => Reading::EgressDenied,
            _ => Reading::Unreachable,
        }
    }
}

/// Finds clusters by name.
pub struct Clusters {
    sources: Vec<ClusterSource>,
    files: KubeconfigFiles,
    known: Arc<Mutex<BTreeMap<String, Known>>>,
    /// The Secrets of Argo CDs, by where they are.
    lists: Mutex<BTreeMap<String, Arc<ArgocdList>>>,
    /// When clusters refused their credentials last.
    refused: Mutex<BTreeMap<String, Instant>>,
    /// Until when API servers want to be left alone.
    patience: Mutex<BTreeMap<String, Instant>>,
    /// Those whose client is being made: a plugin that hangs is not run once more for every question.
    making: Arc<Mutex<BTreeSet<String>>>,
    /// One of them was made, or could not be.
    made: Arc<Notify>,
    sign_ins: Arc<SignIns>,
    /// What binds the servers that Secrets name.
    egress: EgressRules,
}

/// A cluster that was found before.
struct Known {
    /// What its client was made from.
    credentials: Credentials,
    /// The same, where it is we who signed in.
    signed_in: Option<SignedIn>,
    client: kube::Client,
    read_at: Instant,
    /// Whether reading it again means asking another cluster.
    is_remote: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Finding<'a, T> = Pin<Box<dyn Future<Output = Result<T, ClusterError>> + Send + 'a>>;

impl Clusters {
    /// Clusters that are looked up in these places, in this order. What Secrets name has to keep to the rules.
    #[must_use]
    pub fn new(sources: Vec<ClusterSource>, egress: EgressRules) -> Self {
        Self {
            sources,
            files: KubeconfigFiles::default(),
            known: Arc::default(),
            lists: Mutex::default(),
            refused: Mutex::default(),
            patience: Mutex::default(),
            making: Arc::default(),
            made: Arc::default(),
            sign_ins: Arc::new(SignIns::new()),
            egress,
        }
    }

    /// The rights to read the Secrets that lead to other clusters, each with the cluster that has them.
    pub fn secrets_read(&self) -> impl Iterator<Item = (String, Right)> {
        self.sources.iter().filter_map(|source| {
            let (verb, holder, namespace) = match source {
                ClusterSource::Secrets(secrets) => ("get", &secrets.cluster, &secrets.namespace),
                ClusterSource::ArgocdSecrets(secrets) => {
                    ("list", &secrets.cluster, &secrets.namespace)
                }
                _ => return None,
            };
            let right = Right::new(verb, "", "secrets", Some(namespace));
            Some((holder.clone(), right))
        })
    }

    /// A client for a cluster. Its calls have no deadline of their own: whoever calls sets one.
    pub async fn client(&self, cluster: &str) -> Result<kube::Client, ClusterError> {
        self.find(cluster, &BTreeSet::new()).await
    }

    /// Takes notice of why a question to a cluster came to nothing. Credentials that were refused are read anew at the next
    /// question, files that its kubeconfig names among them; who asks for patience is left alone for so long.
    pub fn failed(&self, cluster: &str, error: &RequestError) {
        match error {
            RequestError::Unauthorized => {
                lock(&self.refused).insert(cluster.to_owned(), Instant::now());
                let known = lock(&self.known).remove(cluster);
                if let Some(signed_in) = known.and_then(|known| known.signed_in) {
                    self.sign_ins.refused(&signed_in);
                }
            }
            RequestError::TooManyRequests { after } if !after.is_zero() => {
                let until = Instant::now() + (*after).min(LONGEST_PATIENCE);
                lock(&self.patience).insert(cluster.to_owned(), until);
            }
            _ => {}
        }
    }

    /// Fails while a cluster wants to be left alone.
    fn be_patient(&self, cluster: &str) -> Result<(), ClusterError> {
        let mut patience = lock(&self.patience);
        let Some(until) = patience.get(cluster) else {
            return Ok(());
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            patience.remove(cluster);
            return Ok(());
        }
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Err(ClusterError::Patience { seconds })
    }

    /// `asking` are the clusters whose Secrets led here, so that two that point at each other end in an error.
    fn find<'a>(
        &'a self,
        cluster: &'a str,
        asking: &'a BTreeSet<&'a str>,
    ) -> Finding<'a, kube::Client> {
        Box::pin(async move {
            self.be_patient(cluster)?;
            if let Some(client) = self.recent(cluster) {
                return Ok(client);
            }
            let (credentials, is_remote) = match self.credentials(cluster, asking).await {
                Ok(found) => found,
                // Whoever has the Secret does not answer; what it said before may well be true.
                Err(error @ ClusterError::Unreachable { .. }) => {
                    let known = lock(&self.known);
                    return known
                        .get(cluster)
                        .map(|known| known.client.clone())
                        .ok_or(error);
                }
                Err(error) => return Err(error),
            };
            if let Some(client) = self.unchanged(cluster, &credentials) {
                return Ok(client);
            }
            self.make(cluster, credentials, is_remote).await
        })
    }

    /// The client that was made from these very credentials, which were just read again, and from a token that is still
    /// the one to use.
    fn unchanged(&self, cluster: &str, credentials: &Credentials) -> Option<kube::Client> {
        let mut known = lock(&self.known);
        let known = known
            .get_mut(cluster)
            .filter(|known| known.credentials == *credentials)
            .filter(|known| {
                let signed_in = known.signed_in.as_ref();
                signed_in.is_none_or(|signed_in| self.sign_ins.is_current(signed_in))
            })?;
        known.read_at = Instant::now();
        Some(known.client.clone())
    }

    /// Makes a client; where somebody else does so already, that one is waited for.
    async fn make(
        &self,
        cluster: &str,
        credentials: Credentials,
        is_remote: bool,
    ) -> Result<kube::Client, ClusterError> {
        loop {
            let mut made = pin!(self.made.notified());
            made.as_mut().enable();
            if lock(&self.making).insert(cluster.to_owned()) {
                break;
            }
            made.await;
            if let Some(client) = self.unchanged(cluster, &credentials) {
                return Ok(client);
            }
        }
        // Whoever asks may give up before a plugin ends; only its end lets another one begin.
        let name = cluster.to_owned();
        let (known, making) = (Arc::clone(&self.known), Arc::clone(&self.making));
        let (made, sign_ins) = (Arc::clone(&self.made), Arc::clone(&self.sign_ins));
        let egress = self.egress;
        let task = tokio::spawn(async move {
            let built = build(&credentials, &sign_ins, egress).await;
            let client = built.map(|(client, signed_in)| {
                let found = Known {
                    credentials,
                    signed_in,
                    client: client.clone(),
                    read_at: Instant::now(),
                    is_remote,
                };
                lock(&known).insert(name.clone(), found);
                client
            });
            lock(&making).remove(&name);
            made.notify_waiters();
            client
        });
        task.await.unwrap_or_else(|error| {
            Err(ClusterError::Unusable {
                place: format!("the cluster {cluster}"),
                message: format!("its client could not be made: {error}; this is a bug"),
            })
        })
    }

    /// The client of a cluster whose Secret was read a moment ago.
    fn recent(&self, cluster: &str) -> Option<kube::Client> {
        let known = lock(&self.known);
        known
            .get(cluster)
            .filter(|known| {
                known.is_remote && known.read_at.elapsed() < SECRETS_ARE_READ_AGAIN_AFTER
            })
            .map(|known| known.client.clone())
    }

    /// What the first place says that knows the cluster, and whether another cluster was asked for it.
    async fn credentials(
        &self,
        cluster: &str,
        asking: &BTreeSet<&str>,
    ) -> Result<(Credentials, bool), ClusterError> {
        let mut looked = Vec::new();
        // Whoever commits config chooses the name: it must lead to no other object or file than one of that name.
        let is_plain = is_plain_name(cluster);
        for source in &self.sources {
            let holder = match source {
                ClusterSource::Secrets(secrets) => Some(&secrets.cluster),
                ClusterSource::ArgocdSecrets(secrets) => Some(&secrets.cluster),
                _ => None,
            };
            let takes_any = matches!(
                source,
                ClusterSource::Kubeconfig(_) | ClusterSource::InCluster(_)
            );
            if !(is_plain || takes_any) || holder.is_some_and(|holder| holder == cluster) {
                continue;
            }
            let found = match source {
                ClusterSource::Kubeconfigs(folder) => self.files.in_folder(folder, cluster)?,
                ClusterSource::Kubeconfig(file) => self.files.context(file, cluster)?,
                ClusterSource::InCluster(name) => (name == cluster).then(Credentials::of_pod),
                ClusterSource::Secrets(secrets) => {
                    self.kubeconfig_secret(secrets, cluster, asking).await?
                }
                ClusterSource::ArgocdSecrets(secrets) => {
                    self.argocd_secret(secrets, cluster, asking).await?
                }
            };
            if let Some(credentials) = found {
                return Ok((credentials, holder.is_some()));
            }
            looked.push(source.to_string());
        }
        Err(ClusterError::Unknown {
            cluster: cluster.to_owned(),
            looked,
        })
    }

    /// The kubeconfig in a Secret of another cluster.
    async fn kubeconfig_secret(
        &self,
        secrets: &KubeconfigSecrets,
        cluster: &str,
        asking: &BTreeSet<&str>,
    ) -> Result<Option<Credentials>, ClusterError> {
        let name = secrets.name.replace("{cluster}", cluster);
        let place = format!(
            "Secret {}/{name} of the cluster {}",
            secrets.namespace, secrets.cluster
        );
        let client = self.holder(&secrets.cluster, asking, &place).await?;
        let path = format!(
            "/api/v1/namespaces/{}/secrets/{}",
            request::escaped(&secrets.namespace),
            request::escaped(&name)
        );
        let answer = request::get(&client, &path).await;
        let answer = answer.map_err(|error| self.holder_failed(&secrets.cluster, &place, &error));
        let Some(secret) = answer? else {
            return Ok(None);
        };
        let unusable = |message: String| ClusterError::Unusable {
            place: place.clone(),
            message,
        };
        let text = argocd_secret::data(&secret, &secrets.key)
            .map_err(|why| unusable(why.to_owned()))?
            .ok_or_else(|| unusable(format!("it has no key {:?}", secrets.key)))?;
        kubeconfig::of_secret(&text, &place).map(Some)
    }

    /// What an Argo CD knows of a cluster.
    async fn argocd_secret(
        &self,
        secrets: &ArgocdSecrets,
        cluster: &str,
        asking: &BTreeSet<&str>,
    ) -> Result<Option<Credentials>, ClusterError> {
        let place = secrets.to_string();
        let client = self.holder(&secrets.cluster, asking, &place).await?;
        let list = Arc::clone(lock(&self.lists).entry(place.clone()).or_default());
        let refused = lock(&self.refused).get(cluster).copied();
        match list
            .find(client, &secrets.namespace, cluster, refused)
            .await
        {
            Ok(found) => found.map_err(|message| ClusterError::Unusable { place, message }),
            Err(error) => Err(self.holder_failed(&secrets.cluster, &place, &error)),
        }
    }

    /// A cluster that has Secrets does not give them: it is treated as any cluster that answers so.
    fn holder_failed(&self, holder: &str, place: &str, error: &RequestError) -> ClusterError {
        self.failed(holder, error);
        ClusterError::Unreachable {
            place: place.to_owned(),
            message: error.to_string(),
        }
    }

    /// The client of a cluster that has Secrets which are asked for on the way to another one.
    async fn holder(
        &self,
        holder: &str,
        asking: &BTreeSet<&str>,
        place: &str,
    ) -> Result<kube::Client, ClusterError> {
        if asking.contains(holder) {
            return Err(ClusterError::Unusable {
                place: place.to_owned(),
                message: format!("the way to the cluster {holder} leads back to itself"),
            });
        }
        let mut asking = asking.clone();
        asking.insert(holder);
        let found = self.find(holder, &asking).await;
        found.map_err(|error| match error {
            // It is not the cluster itself that asks for it.
            ClusterError::Patience { .. } => ClusterError::Unreachable {
                place: place.to_owned(),
                message: error.to_string(),
            },
            other => other,
        })
    }
}

impl std::fmt::Debug for Clusters {
    /// Where is looked, never what was found.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clusters")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

/// Whether a name can be that of an object or a file, and of nothing else.
fn is_plain_name(name: &str) -> bool {
    !name.starts_with('.')
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// What is wrong with a text as a kubeconfig in a Secret, and as a list of Argo CD's Secrets.
#[cfg(feature = "fuzzing")]
pub(crate) fn complaints(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if let Err(error) = kubeconfig::of_secret(text, "a Secret") {
        complaints.push(error.to_string());
    }
    let secrets: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    if let Err(error) = argocd_secret::find(&secrets, "westus3") {
        complaints.push(error);
    }
    complaints
}

#[cfg(test)]
mod tests;
