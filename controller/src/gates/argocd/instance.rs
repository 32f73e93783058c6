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

use super::application::Application;
use crate::regions::request::{self, RequestError};
use crate::regions::{ClusterError, Clusters};
use crate::settings::Argocd;

/// How long a list serves other regions. It counts from when it was asked for.
const LIST_SERVES_FOR: Duration = Duration::from_millis(700);
/// How long a list may take.
const LISTS_WITHIN: Duration = Duration::from_secs(30);
/// Where Applications are.
const API: &str = "/apis/argoproj.io/v1alpha1";
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

/// One Application as it was listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// What rules read of it.
    pub application: Application,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What was listed, and when that was asked for.
struct Recent {
    asked_at: Instant,
    applications: Arc<Vec<Listed>>,
}

/// What came of a list.
type Outcome = Result<Arc<Vec<Listed>>, InstanceError>;

/// A list that is under way: when it was asked for, and where its outcome is to be.
type Running = (Instant, watch::Receiver<Option<Outcome>>);

/// One Argo CD.
pub struct Instance {
    settings: Argocd,
    clusters: Arc<Clusters>,
    recent: Arc<Mutex<Option<Recent>>>,
    running: Mutex<Option<Running>>,
    sets_refreshed: Mutex<Option<Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Instance {
    /// The Argo CD of these settings.
    #[must_use]
    pub fn new(settings: Argocd, clusters: Arc<Clusters>) -> Self {
        Self {
            settings,
            clusters,
            recent: Arc::default(),
            running: Mutex::new(None),
            sets_refreshed: Mutex::new(None),
        }
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Argocd {
        &self.settings
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
            if let Some(recent) = lock(&self.recent)
                .as_ref()
                .filter(|recent| recent.asked_at >= oldest)
            {
                return Ok(Arc::clone(&recent.applications));
            }
            let (asked_at, mut outcome) = self.running();
            // It ends in any case; where its task died, nothing was learnt.
            let ended = outcome.wait_for(Option::is_some).await;
            let ended = ended.ok().and_then(|outcome| outcome.clone());
            match ended {
                Some(outcome) if asked_at >= oldest => return outcome,
                Some(_) => {}
                None => {
                    return Err(self.failed(RequestError::Unreachable(
                        "the list was given up".to_owned(),
                    )));
                }
            }
        }
    }

    /// The list that is under way, or a new one.
    fn running(&self) -> Running {
        let mut running = lock(&self.running);
        if let Some((asked_at, outcome)) = running.as_ref()
            && outcome.borrow().is_none()
            && outcome.has_changed().is_ok()
        {
            return (*asked_at, outcome.clone());
        }
        let asked_at = Instant::now();
        let (tell, outcome) = watch::channel(None);
        *running = Some((asked_at, outcome.clone()));
        let (settings, clusters) = (self.settings.clone(), Arc::clone(&self.clusters));
        let recent = Arc::clone(&self.recent);
        tokio::spawn(async move {
            let listing = list(&settings, &clusters);
            let listed = tokio::time::timeout(LISTS_WITHIN, listing)
                .await
                .unwrap_or_else(|_| {
                    Err(InstanceError::Request {
                        name: settings.name.clone(),
                        source: RequestError::Unreachable("no answer".to_owned()),
                    })
                });
            if let Ok(applications) = &listed {
                *lock(&recent) = Some(Recent {
                    asked_at,
                    applications: Arc::clone(applications),
                });
            }
            tell.send_replace(Some(listed));
        });
        (asked_at, outcome)
    }

    /// Asks for a refresh of one Application; gives the version that the object has then.
    pub async fn refresh(&self, name: &str) -> Result<String, InstanceError> {
        let now = jiff::Timestamp::now();
        let patch = json!({ "metadata": { "annotations": {
            REFRESH: "normal",
            REFRESH_TIMESTAMP: format!("{now:.9}"),
        } } });
        let client = self.client().await?;
        let object = request::merge_patch(&client, &self.path(name), &patch)
            .await
            .map_err(|error| self.failed(error))?;
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
        let client = self.client().await?;
        let path = format!(
            "{API}/namespaces/{}/applicationsets",
            request::escaped(&self.settings.namespace)
        );
        let sets = request::list(&client, &path, "")
            .await
            .map_err(|error| self.failed(error))?;
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
                    .map_err(|error| self.failed(error))?;
                asked.push(name.to_owned());
            }
        }
        Ok(asked)
    }

    /// Ends the operation that runs, as Argo CD's own API does: the phase `Terminating` is for the controller to act on.
    /// Where an operation is asked for and none runs yet, the asking is taken back.
    pub async fn terminate(&self, application: &Application) -> Result<(), InstanceError> {
        let client = self.client().await?;
        let path = self.path(&application.name);
        let is_running = application
            .operation_state
            .as_ref()
            .is_some_and(|state| matches!(state.phase, super::application::Phase::Running));
        let version = json!({ "op": "test", "path": "/metadata/resourceVersion", "value": application.resource_version });
        let patch = if is_running {
            json!([version, { "op": "replace", "path": "/status/operationState/phase", "value": "Terminating" }])
        } else {
            json!([version, { "op": "remove", "path": "/operation" }])
        };
        match request::json_patch(&client, &path, &patch).await {
            // It changed since it was listed: what is so now is judged anew.
            Ok(_) | Err(RequestError::Conflict) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Starts a sync of what the Application follows.
    pub async fn sync(&self, application: &Application) -> Result<(), InstanceError> {
        let client = self.client().await?;
        let prune = application
            .automated
            .is_some_and(|automated| automated.prune);
        let patch = json!([
            { "op": "test", "path": "/metadata/resourceVersion", "value": application.resource_version },
            { "op": "add", "path": "/operation", "value": {
                "initiatedBy": { "username": "tidegate", "automated": true },
                "sync": { "prune": prune },
            } },
        ]);
        match request::json_patch(&client, &self.path(&application.name), &patch).await {
            Ok(_) | Err(RequestError::Conflict) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn client(&self) -> Result<kube::Client, InstanceError> {
        client(&self.settings, &self.clusters).await
    }

    fn path(&self, name: &str) -> String {
        path(&self.settings, name)
    }

    fn failed(&self, source: RequestError) -> InstanceError {
        failed(&self.settings, &self.clusters, source)
    }
}

async fn client(settings: &Argocd, clusters: &Clusters) -> Result<kube::Client, InstanceError> {
    let client = clusters.client(&settings.cluster).await;
    client.map_err(|source| InstanceError::Cluster {
        name: settings.name.clone(),
        source,
    })
}

fn path(settings: &Argocd, name: &str) -> String {
    let list = format!(
        "{API}/namespaces/{}/applications",
        request::escaped(&settings.namespace)
    );
    if name.is_empty() {
        list
    } else {
        format!("{list}/{}", request::escaped(name))
    }
}

fn failed(settings: &Argocd, clusters: &Clusters, source: RequestError) -> InstanceError {
    if source == RequestError::Unauthorized {
        clusters.refused(&settings.cluster);
    }
    InstanceError::Request {
        name: settings.name.clone(),
        source,
    }
}

/// All Applications there are.
async fn list(settings: &Argocd, clusters: &Clusters) -> Outcome {
    let client = client(settings, clusters).await?;
    let listed = request::list(&client, &path(settings, ""), "")
        .await
        .map_err(|error| failed(settings, clusters, error))?;
    let applications = listed
        .iter()
        .filter_map(|value| match Application::read(value) {
            Ok(application) => Some(Listed {
                application,
                labels: labels(value),
            }),
            Err(error) => {
                tracing::debug!(argocd = settings.name, %error, "an Application cannot be read");
                None
            }
        })
        .collect();
    Ok(Arc::new(applications))
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
