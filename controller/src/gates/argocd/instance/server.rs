//! The way to an Argo CD through its own API, with a token: what its web page and command line use.
//!
//! What it does with a question was read in its own source (3.5.7, `server/application/application.go`):
//!
//! * A list comes from what a watch showed the server, and leaves out what the token may not `get`, without a word. `fields=`
//!   would make it smaller, and knows neither conditions, nor what was compared, nor versions: rules read those.
//! * One Application is read from the cluster. What is not there is 403, and 404 where the question names the right project.
//! * `refresh=normal` writes the annotation first and answers when it is gone. Whoever stops waiting ends nothing.
//! * Ending an operation ends whichever there is; a sync is refused where there is one.

mod client;
mod error;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use self::client::ServerClient;
pub use self::error::ServerError;
use super::super::application::Application;
use super::{InstanceError, Listed, Refreshed, Refreshing, readable};
use crate::settings::ArgocdServer;

/// What the syncs that are started from here are marked with, as name and value of an `info` of the operation. Argo CD takes
/// them for a person's else: it is asked by an account.
pub(crate) const STARTED_BY_US: (&str, &str) = ("tidegate.dev/started-by", "gate");

/// How long Argo CD may take to compare an Application.
const REFRESHES_WITHIN: Duration = Duration::from_secs(60);

/// An Argo CD by its own API.
#[derive(Clone)]
pub(crate) struct Server(Arc<Inner>);

struct Inner {
    /// Its name in the settings.
    name: String,
    /// The namespace of its Applications.
    namespace: String,
    client: ServerClient,
}

impl Server {
    /// The Argo CD of this name, and the namespace of its Applications. Nothing is read or asked yet.
    pub(crate) fn new(name: &str, namespace: &str, settings: &ArgocdServer) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            client: ServerClient::new(settings),
        }))
    }

    /// All Applications that the token may get, as the server last saw them.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, InstanceError> {
        let listed = self.applications().await;
        let listed = listed.map_err(|error| self.failed(error))?;
        let all = listed.iter();
        Ok(all
            .filter_map(|object| readable(&self.0.name, object))
            .collect())
    }

    /// All Applications that the token may get, as the server last saw them.
    pub(crate) async fn applications(&self) -> Result<Vec<Value>, ServerError> {
        let query = [("appNamespace", self.0.namespace.as_str())];
        self.items("applications", &query).await
    }

    /// All `ApplicationSet`s that the token may get, as the server last saw them.
    pub(crate) async fn application_sets(&self) -> Result<Vec<Value>, ServerError> {
        let query = [("appsetNamespace", self.0.namespace.as_str())];
        self.items("applicationsets", &query).await
    }

    async fn items(&self, plural: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, ServerError> {
        let client = &self.0.client;
        let mut list = client.ask(Method::GET, &[plural], query, None).await?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            Some(Value::Null) => Ok(Vec::new()),
            _ => Err(ServerError::Unreadable),
        }
    }

    /// Whether the token may do this with an Application, which is named as rules of Argo CD name it.
    pub(crate) async fn may(
        &self,
        action: &str,
        application: &Application,
    ) -> Result<bool, ServerError> {
        let path = [
            "account",
            "can-i",
            "applications",
            action,
            project(application),
            &self.0.namespace,
            &application.name,
        ];
        let answer = self.0.client.ask(Method::GET, &path, &[], None).await?;
        match answer.get("value").and_then(Value::as_str) {
            Some("yes") => Ok(true),
            Some("no") => Ok(false),
            _ => Err(ServerError::Unreadable),
        }
    }

    /// An Application as it is now, whatever a list shows.
    pub(super) async fn current(&self, application: &Application) -> Result<Listed, InstanceError> {
        let current = self.get(application, None).await;
        current.map_err(|error| self.failed(error))
    }

    async fn get(
        &self,
        application: &Application,
        refresh: Option<&str>,
    ) -> Result<Listed, ServerError> {
        let mut query = self.place(application).to_vec();
        query.extend(refresh.map(|kind| ("refresh", kind)));
        let path = ["applications", application.name.as_str()];
        let answer = self.0.client.ask(Method::GET, &path, &query, None).await?;
        Listed::read(&answer)
            .ok()
            .filter(|read| read.application.name == application.name)
            .ok_or(ServerError::Unreadable)
    }

    /// Lets an Application be compared anew; the answer comes when that is done.
    pub(super) async fn refresh(
        &self,
        application: &Application,
    ) -> Result<Refreshing, InstanceError> {
        // Whether somebody else has asked already, and the newest comparison before ours, are only known from the object itself.
        let before = self.current(application).await?;
        let (tell, answer) = oneshot::channel();
        let server = self.clone();
        tokio::spawn(async move {
            let asked = server.get(&before.application, Some("normal"));
            let after = match tokio::time::timeout(REFRESHES_WITHIN, asked).await {
                Ok(after) => after.map_err(|error| server.failed(error)),
                Err(_) => Err(InstanceError::Silent {
                    name: server.0.name.clone(),
                }),
            };
            // Nobody waits any more where the region is judged anew.
            let _ = tell.send(after.map(|after| Refreshed { before, after }));
        });
        Ok(Refreshing::new(&self.0.name, answer))
    }

    /// Ends the operation that this Application shows. Another one is left alone, unless it begins within the moment between
    /// looking and ending.
    pub(super) async fn terminate(&self, application: &Application) -> Result<(), InstanceError> {
        let now = self.current(application).await?.application;
        if !now.has_operation_of(application) {
            return Ok(());
        }
        let path = ["applications", application.name.as_str(), "operation"];
        let query = self.place(application);
        let ended = self.0.client.ask(Method::DELETE, &path, &query, None).await;
        match ended {
            // It has ended, or its asking cannot be taken back before it runs.
            Ok(_) | Err(ServerError::Answered { code: 400, .. }) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Starts a sync of what the Application follows, unless something runs or it follows something else by now. Argo CD
    /// itself refuses where something runs.
    pub(super) async fn sync(&self, application: &Application) -> Result<(), InstanceError> {
        let now = self.current(application).await?.application;
        let is_same = now.uid == application.uid && now.sources == application.sources;
        if !is_same || now.operation.is_some() {
            return Ok(());
        }
        let (name, value) = STARTED_BY_US;
        let body = json!({
            "name": application.name,
            "appNamespace": self.0.namespace,
            "project": project(application),
            "prune": application.prunes(),
            "infos": [{ "name": name, "value": value }],
        });
        let path = ["applications", application.name.as_str(), "sync"];
        let begun = self
            .0
            .client
            .ask(Method::POST, &path, &[], Some(&body))
            .await;
        begun.map(drop).map_err(|error| self.failed(error))
    }

    /// Where an Application is. Without the project, Argo CD does not tell one that is gone from one that is forbidden.
    fn place<'a>(&'a self, application: &'a Application) -> [(&'a str, &'a str); 2] {
        [
            ("appNamespace", self.0.namespace.as_str()),
            ("project", project(application)),
        ]
    }

    fn failed(&self, source: ServerError) -> InstanceError {
        InstanceError::Server {
            name: self.0.name.clone(),
            source,
        }
    }
}

/// The project of an Application, as Argo CD takes it.
fn project(application: &Application) -> &str {
    match application.project.as_str() {
        "" => "default",
        project => project,
    }
}
