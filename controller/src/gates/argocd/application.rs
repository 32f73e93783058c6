//! An Application of Argo CD, cut down to what the rows read.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use super::operation::{Operation, OperationState, Phase, RevisionList};
use crate::gates::object_key::ObjectKey;

/// What was read of an Application; what is missing there is empty here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Application {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The project whose rules hold for it; Argo CD takes none for `default`.
    pub project: String,
    /// Its identity: another one of the same name has another.
    pub uid: String,
    /// The version of the object.
    pub resource_version: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What the annotation that asks for a refresh holds, as long as none has answered it.
    pub refresh: Option<String>,
    /// Whether an annotation tells Argo CD to leave it alone.
    pub skip_reconcile: bool,
    /// Where its manifests come from, in the order of the spec.
    pub sources: Vec<Source>,
    /// Where they go.
    pub destination: Destination,
    /// The automated sync, where the spec has one.
    pub automated: Option<Automated>,
    /// How often a failed sync is tried again.
    pub retry_limit: Option<i64>,
    /// How the spec says that each sync shall be done, such as `CreateNamespace=true`.
    pub sync_options: Vec<String>,
    /// How the spec says that a failed sync is tried again, as it stands there.
    pub retry: Option<Value>,
    /// An operation that was asked for and is not over.
    pub operation: Option<Operation>,
    /// How the cluster compares with the manifests.
    pub sync: SyncState,
    /// How the objects are.
    pub health: HealthState,
    /// The newest operation that was begun.
    pub operation_state: Option<OperationState>,
    /// What is wrong with it.
    pub conditions: Vec<Condition>,
    /// Its objects.
    pub resources: Vec<Resource>,
    /// When the newest full comparison began, by the clock of Argo CD.
    pub reconciled_at: Option<Timestamp>,
}

impl Application {
    /// Whether the automated sync of its spec deletes what is no longer wanted, switched on or not.
    pub(super) fn prunes(&self) -> bool {
        self.automated.is_some_and(|automated| automated.prune)
    }

    /// Whether this was written after the other, which is of the same cluster.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        let version = |of: &Self| of.resource_version.parse::<u128>().ok();
        version(self)
            .zip(version(other))
            .is_some_and(|(own, other)| own > other)
    }

    /// Whether the operation that the other shows, running or only asked for, goes on here.
    pub(super) fn has_operation_of(&self, other: &Self) -> bool {
        let runs_since = |of: &Self| {
            let state = of.operation_state.as_ref();
            let running = state.filter(|state| state.phase == Phase::Running);
            running.map(|state| state.started_at)
        };
        let begun = runs_since(other);
        self.uid == other.uid
            && self.operation.is_some()
            && self.operation == other.operation
            && (begun.is_none() || runs_since(self) == begun)
    }
}

/// One source of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// The repository.
    pub repo_url: String,
    /// The branch, tag or commit.
    pub target_revision: String,
    /// The folder.
    pub path: String,
}

/// Where an Application's objects go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destination {
    /// The address of the cluster.
    pub server: String,
    /// The name of the cluster.
    pub name: String,
    /// The namespace of objects that name none.
    pub namespace: String,
}

impl Destination {
    /// Whether both may be the same: a cluster that one gives by name and the other by address cannot be told apart.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let agree = |left: &str, right: &str| left.is_empty() || right.is_empty() || left == right;
        self.namespace == other.namespace
            && agree(&self.server, &other.server)
            && agree(&self.name, &other.name)
    }
}

/// The automated sync of a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Automated {
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it deletes what is no longer wanted.
    pub prune: bool,
    /// Whether it syncs again when the cluster drifts.
    pub self_heal: bool,
}

/// The outcome of the newest comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncState {
    /// Whether cluster and manifests are the same.
    pub status: SyncStatus,
    /// The commits that were compared; the name of the branch where it could not be read.
    pub revisions: RevisionList,
    /// The spec that was compared.
    pub compared: Option<Compared>,
}

/// The parts of the spec for which a comparison holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compared {
    /// Its sources.
    pub sources: Vec<Source>,
    /// Its destination.
    pub destination: Destination,
}

/// Whether cluster and manifests are the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SyncStatus {
    /// They are.
    Synced,
    /// They are not.
    OutOfSync,
    /// Argo CD does not know, or has not said.
    #[default]
    Unknown,
    /// A word that is not known here.
    Other(String),
}

impl From<&str> for SyncStatus {
    fn from(word: &str) -> Self {
        match word {
            "Synced" => Self::Synced,
            "OutOfSync" => Self::OutOfSync,
            "" | "Unknown" => Self::Unknown,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for SyncStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Synced => "Synced",
            Self::OutOfSync => "OutOfSync",
            Self::Unknown => "Unknown",
            Self::Other(word) => word,
        })
    }
}

/// How the objects of an Application are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthState {
    /// The worst of them.
    pub status: Health,
    /// Why, in newer versions of Argo CD.
    pub message: String,
    /// Since when, by the clock of Argo CD.
    pub last_transition: Option<Timestamp>,
}

/// The health of an Application.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// All is well.
    Healthy,
    /// Something was paused.
    Suspended,
    /// Something is on its way.
    Progressing,
    /// No object is there.
    Missing,
    /// Something is broken.
    Degraded,
    /// Argo CD does not know, or has not said.
    #[default]
    Unknown,
    /// A word that is not known here.
    Other(String),
}

impl From<&str> for Health {
    fn from(word: &str) -> Self {
        match word {
            "Healthy" => Self::Healthy,
            "Suspended" => Self::Suspended,
            "Progressing" => Self::Progressing,
            "Missing" => Self::Missing,
            "Degraded" => Self::Degraded,
            "" | "Unknown" => Self::Unknown,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Missing => "Missing",
            Self::Degraded => "Degraded",
            Self::Unknown => "Unknown",
            Self::Other(word) => word,
        })
    }
}

/// Something that is wrong with an Application.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// Its kind, such as `ComparisonError`.
    pub kind: String,
    /// What it says.
    pub message: String,
}

/// An object of an Application.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resource {
    /// Its API group; empty for the core group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it is as its manifest wants.
    pub status: SyncStatus,
    /// Whether it is no longer wanted and still there.
    pub requires_pruning: bool,
    /// Whether it is a hook.
    pub hook: bool,
}

impl Resource {
    /// Whether this is that object, in an Application that goes there.
    pub(super) fn is(&self, key: &ObjectKey, destination: &Destination) -> bool {
        // One without a namespace goes to that of the Application; one of the whole cluster loses what it names.
        let namespace = key.namespace.as_deref().filter(|name| !name.is_empty());
        self.group == key.group
            && self.kind == key.kind
            && self.name == key.name
            && (self.namespace.is_empty()
                || self.namespace == namespace.unwrap_or(&destination.namespace))
    }
}
