//! One Argo CD, through the API of the cluster in which it runs.
//!
//! All its Applications are read at once, and what was read serves all regions for a moment: at most one list is under way
//! whatever the number of regions, and no verdict stands on anything older than that. A watch would cost less, and could
//! show an old state for minutes when its connection dies silently.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::application::Application;
use crate::regions::request::{self, RequestError};
use crate::regions::{ClusterError, Clusters};
use crate::settings::Argocd;

/// How long a list serves other regions. It counts from when it was asked for.
const LIST_SERVES_FOR: Duration = Duration::from_millis(700);
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

/// One Argo CD.
pub struct Instance {
    settings: Argocd,
    clusters: Arc<Clusters>,
    recent: Mutex<Option<Recent>>,
    sets_refreshed: Mutex<Option<Instant>>,
}

impl Instance {
    /// The Argo CD of these settings.
    #[must_use]
    pub fn new(settings: Argocd, clusters: Arc<Clusters>) -> Self {
        Self {
            settings,
            clusters,
            recent: Mutex::new(None),
            sets_refreshed: Mutex::new(None),
        }
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Argocd {
        &self.settings
    }

    /// All its Applications, as they were a moment ago at most. What cannot be read as one is left out.
    pub async fn applications(&self) -> Result<Arc<Vec<Listed>>, InstanceError> {
        let mut recent = self.recent.lock().await;
        if let Some(recent) = recent
            .as_ref()
            .filter(|recent| recent.asked_at.elapsed() < LIST_SERVES_FOR)
        {
            return Ok(Arc::clone(&recent.applications));
        }
        let asked_at = Instant::now();
        let client = self.client().await?;
        let path = self.path("");
        let listed = request::list(&client, &path, "")
            .await
            .map_err(|error| self.failed(error))?;
        let applications: Vec<Listed> = listed
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
        let applications = Arc::new(applications);
        *recent = Some(Recent {
            asked_at,
            applications: Arc::clone(&applications),
        });
        Ok(applications)
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
        let mut refreshed = self.sets_refreshed.lock().await;
        if refreshed.is_some_and(|asked| asked.elapsed() < SETS_ARE_REFRESHED_EVERY) {
            return Ok(Vec::new());
        }
        *refreshed = Some(Instant::now());
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
        self.clusters
            .client(&self.settings.cluster)
            .await
            .map_err(|source| InstanceError::Cluster {
                name: self.settings.name.clone(),
                source,
            })
    }

    fn path(&self, name: &str) -> String {
        let list = format!(
            "{API}/namespaces/{}/applications",
            request::escaped(&self.settings.namespace)
        );
        if name.is_empty() {
            list
        } else {
            format!("{list}/{}", request::escaped(name))
        }
    }

    fn failed(&self, source: RequestError) -> InstanceError {
        if source == RequestError::Unauthorized {
            self.clusters.refused(&self.settings.cluster);
        }
        InstanceError::Request {
            name: self.settings.name.clone(),
            source,
        }
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
