//! The way to an Argo CD through the API of the cluster in which it runs.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::application::Application;
use super::super::messages::is_commit;
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

/// How often Argo CD tries a failed sync again where the spec does not say.
const RETRIES: u32 = 5;

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

    /// Starts a sync of the commit that the Application shows, as its automated sync would.
    pub(super) async fn sync(&self, application: &Application) -> Result<(), InstanceError> {
        let operation = operation(application);
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

/// The operation that Argo CD's automated sync would ask for (3.5.7, `controller/appcontroller.go`). Its controller reads the
/// options and retries of the operation alone, and not those of the spec.
fn operation(application: &Application) -> Value {
    let revisions = &application.sync.revisions;
    let mut sync = json!({
        "prune": application.prunes(),
        "syncOptions": application.sync_options,
    });
    // What it has just been judged by, and not what the branch may have become since.
    if revisions.several.is_empty() {
        if is_commit(&revisions.single) {
            set(&mut sync, "revision", json!(revisions.single));
        }
    } else if revisions.several.len() == application.sources.len() {
        set(&mut sync, "revisions", json!(revisions.several));
    }
    let retry = application.retry.clone();
    json!({
        "initiatedBy": { "username": "tidegate", "automated": true },
        "sync": sync,
        "retry": retry.unwrap_or_else(|| json!({ "limit": RETRIES })),
    })
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432";

    fn asked(spec: &Value, status: &Value) -> Value {
        let object =
            json!({ "metadata": { "name": "shop" }, "spec": spec, "status": { "sync": status } });
        operation(&Application::read(&object).unwrap())
    }

    #[test]
    fn a_sync_is_the_one_that_the_automated_sync_would_ask_for() {
        let retry = json!({ "limit": 2, "backoff": { "duration": "10s", "factor": 3, "maxDuration": "1m" } });
        let spec = json!({
            "source": { "repoURL": "https://git.example.com/shop.git" },
            "syncPolicy": {
                "automated": { "prune": true },
                "syncOptions": ["CreateNamespace=true", "ServerSideApply=true"],
                "retry": retry,
            },
        });
        assert_eq!(
            asked(&spec, &json!({ "revision": SHOWN })),
            json!({
                "initiatedBy": { "username": "tidegate", "automated": true },
                "sync": {
                    "prune": true,
                    "syncOptions": ["CreateNamespace=true", "ServerSideApply=true"],
                    "revision": SHOWN,
                },
                "retry": retry,
            })
        );
    }

    #[test]
    fn a_failed_sync_is_tried_as_often_as_argo_cd_itself_would_and_only_a_commit_is_named() {
        let spec = json!({ "source": { "repoURL": "https://git.example.com/shop.git" } });
        let operation = asked(&spec, &json!({ "revision": "tidegate/canary" }));
        assert_eq!(operation["retry"], json!({ "limit": 5 }));
        assert_eq!(
            operation["sync"],
            json!({ "prune": false, "syncOptions": [] })
        );
        // Of several sources each has its revision, or none is named.
        let spec = json!({ "sources": [{ "repoURL": "a" }, { "repoURL": "b" }] });
        let operation = asked(&spec, &json!({ "revisions": [SHOWN, "1.2.3"] }));
        assert_eq!(operation["sync"]["revisions"], json!([SHOWN, "1.2.3"]));
        let operation = asked(&spec, &json!({ "revisions": [SHOWN] }));
        assert_eq!(operation["sync"].get("revisions"), None);
    }
}
