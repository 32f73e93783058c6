//! Syncs of an Application: what was asked for, and how far it is.

use jiff::Timestamp;

/// A sync that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operation {
    /// Whether it was Argo CD's automated sync that asked, or a gate, and no person.
    pub automated: bool,
    /// What shall be synced, as it was asked for.
    pub revisions: RevisionList,
}

/// A revision for each source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevisionList {
    /// The revision of an Application with one source.
    pub single: String,
    /// The revisions of an Application with several.
    pub several: Vec<String>,
}

impl RevisionList {
    /// The revision of the source at this place.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<&str> {
        let revision = if self.several.is_empty() {
            Some(&self.single)
        } else {
            self.several.get(index)
        };
        revision
            .map(String::as_str)
            .filter(|revision| !revision.is_empty())
    }
}

/// The newest operation that was begun, running or over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OperationState {
    /// How far it is.
    pub phase: Phase,
    /// What it says about that.
    pub message: String,
    /// When it began, by the clock of Argo CD; retries keep it.
    pub started_at: Option<Timestamp>,
    /// When it, or its newest try, ended.
    pub finished_at: Option<Timestamp>,
    /// How often it was tried again.
    pub retry_count: i64,
    /// The commits that it synced; empty at the beginning of each try.
    pub result: RevisionList,
    /// What was asked for.
    pub operation: Operation,
    /// What of it failed, in its newest try; empty where Argo CD came to no object.
    pub failures: Vec<Failure>,
}

/// An object or a hook that failed in a sync.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// Why.
    pub message: String,
    /// Whether it was applied and failed by what it did itself, such as a hook that ended badly.
    pub has_run: bool,
}

/// How far an operation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It runs, or waits for a retry.
    Running,
    /// Somebody ended it, and it winds up.
    Terminating,
    /// It is over, and all went well.
    Succeeded,
    /// It is over: an object could not be applied, a hook failed, or somebody ended it.
    Failed,
    /// It is over: Argo CD could not carry it out.
    Error,
    /// A word that is not known here.
    Other(String),
}

impl Default for Phase {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl From<&str> for Phase {
    fn from(word: &str) -> Self {
        match word {
            "Running" => Self::Running,
            "Terminating" => Self::Terminating,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            "Error" => Self::Error,
            other => Self::Other(other.to_owned()),
        }
    }
}
