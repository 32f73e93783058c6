//! One Argo CD, through the API of the cluster in which it runs or through its own.
//!
//! A list of all its Applications tells which are a region's. It serves all regions for a while, and at most one is under way
//! whatever their number. What is judged of an Application is read by itself, at each sample ([`Instance::current`]): no
//! verdict stands on anything older, and hundreds of regions cost hundreds of small answers, not of large ones. A watch would
//! find as much with less, and could show an old state for minutes when its connection dies silently: an Application that
//! seems to go on, and does not get healthy in time, is a failure.

mod kubernetes;
mod refresh;
mod server;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_waves::gate::Reading;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::application::Application;
use crate::regions::request::RequestError;
use crate::regions::{ClusterError, Clusters};
use crate::settings::{Argocd, ArgocdWay};

use self::kubernetes::Kubernetes;
pub(crate) use self::kubernetes::objects_path;
pub use self::refresh::{Refresh, Refreshed, Refreshing};
pub use self::server::ServerError;
pub(crate) use self::server::{STARTED_BY_US, Server};

/// How long a list serves that shows which Applications are a region's. It counts from when it was asked for.
pub(super) const LIST_SERVES_FOR: Duration = Duration::from_secs(15);
/// How long one serves that does not show them: they may have been made since.
pub(super) const LIST_IS_NEW_FOR: Duration = Duration::from_secs(1);
/// How long a list may take.
const LISTS_WITHIN: Duration = Duration::from_secs(30);
/// The least time between two requests to generate `ApplicationSet`s anew.
const SETS_ARE_REFRESHED_EVERY: Duration = Duration::from_secs(10);
/// So many Applications are read by themselves at once.
const READ_AT_ONCE: usize = 32;

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
    /// Its own API did not answer.
    #[error("Argo CD {name}: {source}")]
    Server {
        /// Its name in the settings.
        name: String,
        /// Why.
        source: ServerError,
    },
    /// It took too long, or its task ended by itself.
    #[error("Argo CD {name}: no answer")]
    Silent {
        /// Its name in the settings.
        name: String,
    },
}

impl InstanceError {
    /// What it says of a region.
    #[must_use]
    pub fn reading(&self) -> Reading {
        match self {
            Self::Cluster { source, .. } => source.reading(),
            Self::Request { source, .. } => source.reading(),
            Self::Server { .. } | Self::Silent { .. } => Reading::Unreachable,
        }
    }

    /// Whether we lack the right for what was asked, and will lack it the next time.
    ///
    /// Argo CD's own API says 403 also of what is gone, so that this is never known of it.
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

/// One Application as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// What rules read of it.
    pub application: Application,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Listed {
    /// What is read of an Application as an API answers it.
    pub(super) fn read(value: &Value) -> Result<Self, super::ReadError> {
        Ok(Self {
            application: Application::read(value)?,
            labels: labels(value),
        })
    }
}

/// What is read of an Application in a list of the Argo CD of this name; what cannot be read as one is left out.
fn readable(argocd: &str, object: &Value) -> Option<Listed> {
    match Listed::read(object) {
        Ok(listed) => Some(listed),
        Err(error) => {
            tracing::debug!(argocd, %error, "an Application cannot be read");
            None
        }
    }
}

/// What came of a list.
type Outcome = Result<Arc<Vec<Listed>>, InstanceError>;

/// The newest list: when it was asked for, and where its outcome is, or is to be.
type Newest = (Instant, watch::Receiver<Option<Outcome>>);

/// One Argo CD.
pub struct Instance {
    settings: Argocd,
    way: Arc<Way>,
    newest: Mutex<Option<Newest>>,
    reads: Arc<Semaphore>,
    sets_refreshed: Mutex<Option<Instant>>,
}

/// The way to an Argo CD.
enum Way {
    Kubernetes(Kubernetes),
    Server(Server),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Instance {
    /// The Argo CD of these settings.
    #[must_use]
    pub fn new(settings: Argocd, clusters: Arc<Clusters>) -> Self {
        let way = match &settings.way {
            ArgocdWay::Cluster(cluster) => Way::Kubernetes(Kubernetes {
                name: settings.name.clone(),
                cluster: cluster.clone(),
                namespace: settings.namespace.clone(),
                clusters,
            }),
            ArgocdWay::Server(server) => {
                Way::Server(Server::new(&settings.name, &settings.namespace, server))
            }
        };
        Self {
            settings,
            way: Arc::new(way),
            newest: Mutex::new(None),
            reads: Arc::new(Semaphore::new(READ_AT_ONCE)),
            sets_refreshed: Mutex::new(None),
        }
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Argocd {
        &self.settings
    }

    /// All its Applications, by a list that was asked for at most so long before this. What cannot be read as one is left
    /// out.
    ///
    /// Whoever gives up waiting does not end the list: others wait for it too.
    pub async fn applications(&self, age: Duration) -> Outcome {
        let before = |age| Instant::now().checked_sub(age);
        let mut oldest = before(age).unwrap_or_else(Instant::now);
        if lock(&self.newest).as_ref().is_some_and(has_failed) {
            // What hindered it may be over.
            oldest = oldest.max(before(LIST_IS_NEW_FOR).unwrap_or(oldest));
        }
        loop {
            let (asked_at, mut outcome) = self.newest(oldest);
            // It ends in any case; where its task died, nothing was learnt.
            let ended = outcome.wait_for(Option::is_some).await;
            let Some(ended) = ended.ok().and_then(|outcome| outcome.clone()) else {
                return Err(self.silent());
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
        let (way, silent) = (Arc::clone(&self.way), self.silent());
        tokio::spawn(async move {
            let listed = tokio::time::timeout(LISTS_WITHIN, way.list()).await;
            tell.send_replace(Some(listed.unwrap_or(Err(silent))));
        });
        newest.insert((Instant::now(), outcome)).clone()
    }

    /// Whether a list leaves out what we may not read, instead of saying so.
    #[must_use]
    pub fn hides_what_is_forbidden(&self) -> bool {
        matches!(*self.way, Way::Server(_))
    }

    /// These Applications as they are now, in any order; those that are gone are left out.
    ///
    /// Argo CD's own API does not always tell what is gone from what is forbidden: there, both are errors.
    pub async fn current(
        &self,
        applications: &[Application],
    ) -> Result<Vec<Listed>, InstanceError> {
        let mut asked = JoinSet::new();
        for application in applications {
            let (way, application) = (Arc::clone(&self.way), application.clone());
            let reads = Arc::clone(&self.reads);
            asked.spawn(async move {
                // It is never closed: this does not fail.
                let _turn = reads.acquire().await;
                way.current(&application).await
            });
        }
        let mut current = Vec::new();
        while let Some(ended) = asked.join_next().await {
            current.extend(ended.map_err(|_| self.silent())??);
        }
        Ok(current)
    }

    /// Asks for a refresh of one Application, and does not wait for it.
    pub async fn refresh(&self, application: &Application) -> Result<Refresh, InstanceError> {
        match &*self.way {
            Way::Kubernetes(kubernetes) => kubernetes
                .refresh(&application.name)
                .await
                .map(Refresh::Asked),
            Way::Server(server) => server.refresh(application).await.map(Refresh::UnderWay),
        }
    }

    /// Lets `ApplicationSet`s be generated anew that read one of these repositories; gives their names. Where that was asked
    /// for a moment ago, nothing is done.
    ///
    /// Nor is it through Argo CD's own API, which has no such question: there an ApplicationSet is changed by whoever may
    /// write all of it. What Argo CD generates by itself, every few minutes or by a webhook, is waited for.
    pub async fn refresh_sets(
        &self,
        reads: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, InstanceError> {
        let Way::Kubernetes(kubernetes) = &*self.way else {
            return Ok(Vec::new());
        };
        {
            let mut refreshed = lock(&self.sets_refreshed);
            if refreshed.is_some_and(|asked| asked.elapsed() < SETS_ARE_REFRESHED_EVERY) {
                return Ok(Vec::new());
            }
            *refreshed = Some(Instant::now());
        }
        kubernetes.refresh_sets(reads).await
    }

    /// Ends the operation that this Application shows, unless something else is so by now.
    pub async fn terminate(&self, application: &Application) -> Result<(), InstanceError> {
        match &*self.way {
            Way::Kubernetes(kubernetes) => kubernetes.terminate(application).await,
            Way::Server(server) => server.terminate(application).await,
        }
    }

    /// Starts a sync of what the Application follows, unless something else is so by now.
    pub async fn sync(&self, application: &Application) -> Result<(), InstanceError> {
        match &*self.way {
            Way::Kubernetes(kubernetes) => kubernetes.sync(application).await,
            Way::Server(server) => server.sync(application).await,
        }
    }

    fn silent(&self) -> InstanceError {
        InstanceError::Silent {
            name: self.settings.name.clone(),
        }
    }
}

impl Way {
    /// All Applications there are.
    async fn list(&self) -> Outcome {
        let listed = match self {
            Self::Kubernetes(kubernetes) => kubernetes.list().await?,
            Self::Server(server) => server.list().await?,
        };
        Ok(Arc::new(listed))
    }

    /// An Application as it is now, if it is there.
    async fn current(&self, application: &Application) -> Result<Option<Listed>, InstanceError> {
        match self {
            Self::Kubernetes(kubernetes) => kubernetes.current(&application.name).await,
            Self::Server(server) => server.current(application).await.map(Some),
        }
    }
}

/// Whether a list came to nothing.
fn has_failed((_, outcome): &Newest) -> bool {
    outcome.borrow().as_ref().is_some_and(Result::is_err)
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
