//! The way to an Argo CD through the API of the cluster in which it runs.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::application::Application;
use super::super::operation::Phase;
use super::{InstanceError, Listed, readable};
use crate::regions::request::{self, RequestError};
use crate::regions::{ClusterError, Clusters};

/// Where Applications are.
const API: &str = "/apis/argoproj.io/v1alpha1";
const APPLICATIONS: &str = "applications";
/// Annotated with it, Argo CD compares an Application anew at once; it takes the annotation away.
const REFRESH: &str = "argocd.argoproj.io/refresh";
/// Tells two requests for a refresh apart.
const REFRESH_TIMESTAMP: &str = "argocd.argoproj.io/refresh-timestamp";
/// Annotated with it, an ApplicationSet is generated anew at once; Argo CD takes the annotation away.
const REFRESH_SET: &str = "argocd.argoproj.io/application-set-refresh";

/// The path of all objects of one of Argo CD's kinds in a namespace.
pub(crate) fn objects_path(namespace: &str, plural: &str) -> String {
    let namespace = request::escaped(namespace);
    format!("{API}/namespaces/{namespace}/{plural}")
}

/// An Argo CD as its cluster has it.
pub(super) struct Kubernetes {
    /// Its name in the settings.
    pub(super) name: String,
    /// The name of its cluster.
    pub(super) cluster: String,
    /// The namespace of its Applications.
    pub(super) namespace: String,
    pub(super) clusters: Arc<Clusters>,
}

impl Kubernetes {
    /// All Applications there are, as they are now.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, InstanceError> {
        let client = self.client().await?;
        let path = self.path(APPLICATIONS);
        let listed = request::list_of(&client, &path, "", |object| readable(&self.name, &object));
        listed.await.map_err(|error| self.failed(error))
    }

    /// An Application as it is now; `None` if there is none of that name.
    pub(super) async fn current(&self, name: &str) -> Result<Option<Listed>, InstanceError> {
        let client = self.client().await?;
        let read = request::get(&client, &self.application(name)).await;
        let Some(object) = read.map_err(|error| self.failed(error))? else {
            return Ok(None);
        };
        let listed = Listed::read(&object).map_err(|_| self.failed(RequestError::Unreadable))?;
        Ok(Some(listed))
    }

    /// Asks for a refresh of one Application; gives the version that the object has then.
    pub(super) async fn refresh(&self, name: &str) -> Result<String, InstanceError> {
        let now = jiff::Timestamp::now();
        let patch = json!({ "metadata": { "annotations": {
            REFRESH: "normal",
            REFRESH_TIMESTAMP: format!("{now:.9}"),
        } } });
        let client = self.client().await?;
        let object = request::merge_patch(&client, &self.application(name), &patch)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(object
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned())
    }

    /// Lets `ApplicationSet`s be generated anew that read one of these repositories; gives their names.
    pub(super) async fn refresh_sets(
        &self,
        reads: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, InstanceError> {
        let client = self.client().await?;
        let path = self.path("applicationsets");
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
    pub(super) async fn terminate(&self, application: &Application) -> Result<(), InstanceError> {
        let operation = application.operation_state.as_ref();
        let is_running = operation.is_some_and(|state| state.phase == Phase::Running);
        let change = if is_running {
            json!({ "op": "replace", "path": "/status/operationState/phase", "value": "Terminating" })
        } else {
            json!({ "op": "remove", "path": "/operation" })
        };
        self.change(application, change).await
    }

    /// Starts a sync of what the Application follows.
    pub(super) async fn sync(&self, application: &Application) -> Result<(), InstanceError> {
        let operation = json!({
            "initiatedBy": { "username": "tidegate", "automated": true },
            "sync": { "prune": application.prunes() },
        });
        let change = json!({ "op": "add", "path": "/operation", "value": operation });
        self.change(application, change).await
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

    async fn client(&self) -> Result<kube::Client, InstanceError> {
        let client = self.clusters.client(&self.cluster).await;
        client.map_err(|source: ClusterError| InstanceError::Cluster {
            name: self.name.clone(),
            source,
        })
    }

    /// The path of all objects of this kind in the namespace of the Applications.
    fn path(&self, plural: &str) -> String {
        objects_path(&self.namespace, plural)
    }

    /// The path of one Application.
    fn application(&self, name: &str) -> String {
        format!("{}/{}", self.path(APPLICATIONS), request::escaped(name))
    }

    fn failed(&self, source: RequestError) -> InstanceError {
        self.clusters.failed(&self.cluster, &source);
        InstanceError::Request {
            name: self.name.clone(),
            source,
        }
    }
}
