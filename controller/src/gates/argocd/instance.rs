//! One Argo CD, through the API of the cluster in which it runs.
//!
//! All its Applications are read at once, and what was read serves all regions for a moment: at most one list is under way
//! whatever the number of regions, and no verdict stands on anything older than that. A watch would cost less, and could
//! show an old state for minutes when its connection dies silently.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::application::{Application, Phase};
use crate::regions::request::{self, RequestError};
use crate::regions::{ClusterError, Clusters};
use crate::settings::Argocd;

/// How long a list serves other regions. It counts from when it was asked for.
const LIST_SERVES_FOR: Duration = Duration::from_millis(700);
/// How long a list may take.
const LISTS_WITHIN: Duration = Duration::from_secs(30);
/// Where Applications are.
const API: &str = "/apis/argoproj.io/v1alpha1";
const APPLICATIONS: &str = "applications";
/// Annotated with it, Argo CD compares an Application anew at once; it takes the annotation away.
const REFRESH: &str = "argocd.argoproj.io/refresh";
/// Tells two requests for a refresh apart.
const REFRESH_TIMESTAMP: &str = "argocd.argoproj.io/refresh-timestamp";
/// Annotated with it, an ApplicationSet is generated anew at once; Argo CD takes the annotation away.
const REFRESH_SET: &str = "argocd.argoproj.io/application-set-refresh";
/// The least time between two requests of that kind.
const SETS_ARE_REFRESHED_EVERY: Duration = Duration::from_secs(10);

/// Why an Argo CD did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InstanceError {
    /// There is no way to its cluster.
    #[error("Argo CD {name}: {source}")]
    Cluster {
        /// Its name in the settings.
        name: String,
        /// Why.
        source: ClusterError,
    },
    /// Its cluster did not answer.
    #[error("Argo CD {name}: {source}")]
    Request {
        /// Its name in the settings.
        name: String,
        /// Why.
        source: RequestError,
    },
}

impl InstanceError {
    /// Whether we lack the right for what was asked.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(
            self,
            Self::Request {
                source: RequestError::Forbidden(_),
                ..
            }
        )
    }
}

/// One Application as it was listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// What rules read of it.
    pub application: Application,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What came of a list.
type Outcome = Result<Arc<Vec<Listed>>, InstanceError>;

/// The newest list: when it was asked for, and where its outcome is, or is to be.
type Newest = (Instant, watch::Receiver<Option<Outcome>>);

/// One Argo CD.
pub struct Instance {
    reached: Arc<Reached>,
    newest: Mutex<Option<Newest>>,
    sets_refreshed: Mutex<Option<Instant>>,
}

/// The path of all objects of one of Argo CD's kinds in a namespace.
pub(crate) fn objects_path(namespace: &str, plural: &str) -> String {
    let namespace = request::escaped(namespace);
    format!("{API}/namespaces/{namespace}/{plural}")
}

/// An Argo CD and the way to it.
struct Reached {
    settings: Argocd,
    clusters: Arc<Clusters>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Instance {
    /// The Argo CD of these settings.
    #[must_use]
    pub fn new(settings: Argocd, clusters: Arc<Clusters>) -> Self {
        Self {
            reached: Arc::new(Reached { settings, clusters }),
            newest: Mutex::new(None),
            sets_refreshed: Mutex::new(None),
        }
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Argocd {
        &self.reached.settings
    }

    /// All its Applications, by a list that was asked for at most a moment before this. What cannot be read as one is left
    /// out.
    ///
    /// Whoever gives up waiting does not end the list: others wait for it too.
    pub async fn applications(&self) -> Outcome {
        let oldest = Instant::now()
            .checked_sub(LIST_SERVES_FOR)
            .unwrap_or_else(Instant::now);
        loop {
            let (asked_at, mut outcome) = self.newest(oldest);
            // It ends in any case; where its task died, nothing was learnt.
            let ended = outcome.wait_for(Option::is_some).await;
            let Some(ended) = ended.ok().and_then(|outcome| outcome.clone()) else {
                let given_up = RequestError::Unreachable("the list was given up".to_owned());
                return Err(self.reached.failed(given_up));
            };
            if asked_at >= oldest {
                return ended;
            }
        }
    }

    /// The newest list if it is under way or was asked for no earlier than this, else a new one: never two at once.
    fn newest(&self, oldest: Instant) -> Newest {
        let mut newest = lock(&self.newest);
        if let Some((asked_at, outcome)) = newest.as_ref() {
            let is_under_way = outcome.borrow().is_none() && outcome.has_changed().is_ok();
            if is_under_way || *asked_at >= oldest {
                return (*asked_at, outcome.clone());
            }
        }
        let (tell, outcome) = watch::channel(None);
        let reached = Arc::clone(&self.reached);
        tokio::spawn(async move {
            let listed = tokio::time::timeout(LISTS_WITHIN, reached.list()).await;
            let no_answer = || RequestError::Unreachable("no answer".to_owned());
            let outcome = listed.unwrap_or_else(|_| Err(reached.failed(no_answer())));
            tell.send_replace(Some(outcome));
        });
        newest.insert((Instant::now(), outcome)).clone()
    }

    /// Asks for a refresh of one Application; gives the version that the object has then.
    pub async fn refresh(&self, name: &str) -> Result<String, InstanceError> {
        let now = jiff::Timestamp::now();
        let patch = json!({ "metadata": { "annotations": {
            REFRESH: "normal",
            REFRESH_TIMESTAMP: format!("{now:.9}"),
        } } });
        let client = self.reached.client().await?;
        let object = request::merge_patch(&client, &self.reached.application(name), &patch)
            .await
            .map_err(|error| self.reached.failed(error))?;
        Ok(object
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned())
    }

    /// Lets `ApplicationSet`s be generated anew that read one of these repositories; gives their names. Where that was asked
    /// for a moment ago, nothing is done.
    pub async fn refresh_sets(
        &self,
        reads: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, InstanceError> {
        {
            let mut refreshed = lock(&self.sets_refreshed);
            if refreshed.is_some_and(|asked| asked.elapsed() < SETS_ARE_REFRESHED_EVERY) {
                return Ok(Vec::new());
            }
            *refreshed = Some(Instant::now());
        }
        let client = self.reached.client().await?;
        let path = self.reached.path("applicationsets");
        let sets = request::list(&client, &path, "")
            .await
            .map_err(|error| self.reached.failed(error))?;
        let mut asked = Vec::new();
        for set in &sets {
            let name = set.pointer("/metadata/name").and_then(Value::as_str);
            let generators = set.pointer("/spec/generators").and_then(Value::as_array);
            let is_ours = generators.into_iter().flatten().any(|generator| {
                let url = generator.pointer("/git/repoURL").and_then(Value::as_str);
                url.is_some_and(&reads)
            });
            if let (Some(name), true) = (name, is_ours) {
                let patch = json!({ "metadata": { "annotations": { REFRESH_SET: "true" } } });
                let path = format!("{path}/{}", request::escaped(name));
                request::merge_patch(&client, &path, &patch)
                    .await
                    .map_err(|error| self.reached.failed(error))?;
                asked.push(name.to_owned());
            }
        }
        Ok(asked)
    }

    /// Ends the operation that runs, as Argo CD's own API does: the phase `Terminating` is for the controller to act on.
    /// Where an operation is asked for and none runs yet, the asking is taken back.
    pub async fn terminate(&self, application: &Application) -> Result<(), InstanceError> {
        let operation = application.operation_state.as_ref();
        let is_running = operation.is_some_and(|state| state.phase == Phase::Running);
        let change = if is_running {
            json!({ "op": "replace", "path": "/status/operationState/phase", "value": "Terminating" })
        } else {
            json!({ "op": "remove", "path": "/operation" })
        };
        self.reached.change(application, change).await
    }

    /// Starts a sync of what the Application follows.
    pub async fn sync(&self, application: &Application) -> Result<(), InstanceError> {
        let automated = application.automated;
        let prune = automated.is_some_and(|automated| automated.prune);
        let operation = json!({
            "initiatedBy": { "username": "tidegate", "automated": true },
            "sync": { "prune": prune },
        });
        let change = json!({ "op": "add", "path": "/operation", "value": operation });
        self.reached.change(application, change).await
    }
}

impl Reached {
    async fn client(&self) -> Result<kube::Client, InstanceError> {
        let client = self.clusters.client(&self.settings.cluster).await;
        client.map_err(|source| InstanceError::Cluster {
            name: self.settings.name.clone(),
            source,
        })
    }

    /// The path of all objects of this kind in the namespace of the Applications.
    fn path(&self, plural: &str) -> String {
        objects_path(&self.settings.namespace, plural)
    }

    /// The path of one Application.
    fn application(&self, name: &str) -> String {
        format!("{}/{}", self.path(APPLICATIONS), request::escaped(name))
    }

    fn failed(&self, source: RequestError) -> InstanceError {
        self.clusters.failed(&self.settings.cluster, &source);
        InstanceError::Request {
            name: self.settings.name.clone(),
            source,
        }
    }

    /// Changes an Application, unless it changed since it was listed: then what is so now is judged anew.
    async fn change(&self, application: &Application, change: Value) -> Result<(), InstanceError> {
        let client = self.client().await?;
        let path = self.application(&application.name);
        let version = &application.resource_version;
        let unchanged =
            json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version });
        match request::json_patch(&client, &path, &json!([unchanged, change])).await {
            Ok(_) | Err(RequestError::Conflict) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// All Applications there are.
    async fn list(&self) -> Outcome {
        let client = self.client().await?;
        let listed = request::list(&client, &self.path(APPLICATIONS), "")
            .await
            .map_err(|error| self.failed(error))?;
        let applications = listed
            .iter()
            .filter_map(|value| match Application::read(value) {
                Ok(application) => Some(Listed {
                    application,
                    labels: labels(value),
                }),
                Err(error) => {
                    tracing::debug!(argocd = self.settings.name, %error, "an Application cannot be read");
                    None
                }
            })
            .collect();
        Ok(Arc::new(applications))
    }
}

fn labels(value: &Value) -> BTreeMap<String, String> {
    value
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
