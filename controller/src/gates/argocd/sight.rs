//! What is seen of one Application at one instant.

use jiff::Timestamp;

use super::application::{Application, Health, Resource, SyncStatus};
use super::expected::{Expected, Following, Revisions, Standing};
use super::limits::Limits;
use super::messages::{commits_in, is_commit, is_failed_sync, is_unparsable, is_wipe_out};
use super::operation::{Failure, Phase};
use crate::gates::shown::{line, word};

/// The longest evidence, in characters.
const LONGEST_EVIDENCE: usize = 300;

/// What is seen of an Application at one instant.
pub(super) struct Sight<'a> {
    pub(super) application: &'a Application,
    /// Whether there is one.
    pub(super) found: bool,
    pub(super) expected: &'a Expected,
    pub(super) limits: &'a Limits,
    pub(super) following: Following,
    /// The revision that its newest comparison shows for our source.
    pub(super) revision: Option<&'a str>,
    pub(super) standing: Standing,
    pub(super) operation: Option<SeenOperation<'a>>,
    /// What Argo CD says it could not sync automatically, and will not try again.
    pub(super) failed_sync: Option<&'a str>,
    /// Whether that names the promoted commit.
    pub(super) is_failed_sync_ours: bool,
    /// Whether Argo CD leaves out a sync of the promoted commit because nothing would remain.
    pub(super) is_wipe_out: bool,
}

/// The newest operation: one that was asked for, one that runs, or one that is over.
pub(super) struct SeenOperation<'a> {
    /// Whether it was asked for or runs.
    pub(super) active: bool,
    /// How far it is; none before it is begun.
    pub(super) phase: Option<&'a Phase>,
    pub(super) message: &'a str,
    pub(super) revision: Option<&'a str>,
    pub(super) standing: Standing,
    pub(super) automated: bool,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) retry_count: i64,
    /// What of it failed.
    pub(super) failures: &'a [Failure],
}

impl<'a> Sight<'a> {
    pub(super) fn new(
        application: &'a Application,
        found: bool,
        expected: &'a Expected,
        revisions: &dyn Revisions,
        limits: &'a Limits,
    ) -> Self {
        let following = expected.follow(&application.sources, revisions);
        let index = match following {
            Following::Ours(index) => index,
            _ => 0,
        };
        let revision = application.sync.revisions.at(index);
        let failed_sync = failed_sync(application);
        Self {
            application,
            found,
            expected,
            limits,
            following,
            revision,
            standing: standing(revision, revisions),
            operation: SeenOperation::new(application, index, revisions),
            failed_sync,
            is_wipe_out: is_wipe_out_of_ours(application, revisions),
            is_failed_sync_ours: failed_sync.is_some_and(|message| {
                commits_in(message).any(|commit| revisions.standing(commit) == Standing::Wanted)
            }),
        }
    }

    /// The place of our source.
    pub(super) fn index(&self) -> Option<usize> {
        match self.following {
            Following::Ours(index) => Some(index),
            _ => None,
        }
    }

    /// The operation, if it was asked for or runs.
    pub(super) fn active(&self) -> Option<&SeenOperation<'a>> {
        self.operation.as_ref().filter(|operation| operation.active)
    }

    /// Our operation, if it was asked for or runs.
    pub(super) fn ours_active(&self) -> Option<&SeenOperation<'a>> {
        self.active()
            .filter(|operation| operation.standing == Standing::Wanted)
    }

    /// The message of the first condition of one of these kinds, with the kind.
    pub(super) fn condition(&self, kinds: &[&str]) -> Option<(&'a str, &'a str)> {
        self.application
            .conditions
            .iter()
            .find(|condition| kinds.contains(&condition.kind.as_str()))
            .map(|condition| (condition.kind.as_str(), condition.message.as_str()))
    }

    /// Why the status says nothing about any commit.
    pub(super) fn unreadable(&self) -> Option<String> {
        if let Some((kind, message)) = self.condition(&["ComparisonError"]) {
            return Some(format!("{kind}: {message}"));
        }
        if !matches!(
            self.application.sync.status,
            SyncStatus::Synced | SyncStatus::OutOfSync
        ) {
            return Some(format!("sync status is {}", self.application.sync.status));
        }
        if matches!(
            self.application.health.status,
            Health::Unknown | Health::Other(_)
        ) {
            return Some(format!("health is {}", self.application.health.status));
        }
        if self.standing == Standing::NotACommit {
            let shown = self.revision.unwrap_or("nothing");
            return Some(format!("shows {}, which is no commit", word(shown)));
        }
        None
    }

    /// Whether the newest comparison was one with the spec as it is now.
    pub(super) fn is_compared_with_spec(&self) -> bool {
        let compared = self.application.sync.compared.as_ref();
        compared.is_some_and(|compared| {
            compared.sources == self.application.sources
                && compared
                    .destination
                    .agrees_with(&self.application.destination)
        })
    }

    /// Whether the status is about the promoted commit.
    pub(super) fn is_at_ours(&self) -> bool {
        self.found
            && self.index().is_some()
            && self.standing == Standing::Wanted
            && self.unreadable().is_none()
            && self.is_compared_with_spec()
    }

    pub(super) fn is_synced(&self) -> bool {
        self.application.sync.status == SyncStatus::Synced
    }

    /// The objects that are not as their manifests want.
    pub(super) fn differing(&self) -> impl Iterator<Item = &'a Resource> {
        let resources = self.application.resources.iter();
        resources.filter(|resource| !resource.hook && resource.status != SyncStatus::Synced)
    }

    pub(super) fn prunes(&self) -> bool {
        let automated = self.application.automated;
        automated.is_some_and(|automated| automated.enabled && automated.prune)
    }

    /// Whether nothing differs but what awaits pruning, and nobody prunes.
    pub(super) fn awaits_pruning_only(&self) -> bool {
        self.application.sync.status == SyncStatus::OutOfSync
            && !self.prunes()
            && self.differing().next().is_some()
            && self.differing().all(|resource| resource.requires_pruning)
    }

    /// Whether the automated sync is on.
    pub(super) fn is_automated(&self) -> bool {
        let automated = self.application.automated;
        automated.is_some_and(|automated| automated.enabled)
    }

    /// Whether the newest operation synced the promoted commit and is over.
    pub(super) fn is_ours_applied(&self) -> bool {
        self.operation.as_ref().is_some_and(|operation| {
            !operation.active
                && operation.standing == Standing::Wanted
                && operation.phase == Some(&Phase::Succeeded)
        })
    }

    /// Whether Argo CD says that our manifests cannot be parsed.
    ///
    /// It does not say at which commit: it is ours if the newest one of the branch is.
    pub(super) fn unparsable(&self) -> Option<&'a str> {
        let names_ours = self.standing == Standing::Wanted
            || self
                .revision
                .is_some_and(|revision| self.expected.is_our_branch(revision));
        let (_, message) = self.condition(&["ComparisonError"])?;
        let index = self.index()?;
        (names_ours && self.expected.tip_is_ours && is_unparsable(message, index))
            .then_some(message)
    }

    /// One plain line about this Application.
    pub(super) fn say(&self, text: &str) -> String {
        let name = if self.found {
            &self.application.name
        } else {
            &self.expected.application
        };
        line(&format!("{name}: {text}"), LONGEST_EVIDENCE)
    }
}

impl<'a> SeenOperation<'a> {
    fn new(application: &'a Application, index: usize, revisions: &dyn Revisions) -> Option<Self> {
        let asked = application.operation.as_ref();
        let state = application.operation_state.as_ref();
        let runs = |phase: &Phase| matches!(phase, Phase::Running | Phase::Terminating);
        // While one is asked for and none runs, the state is still that of the one before.
        let state = match asked {
            Some(_) => state.filter(|state| runs(&state.phase)),
            None => state,
        };
        if asked.is_none() && state.is_none() {
            return None;
        }
        let revision = state
            .and_then(|state| {
                let result = state.result.at(index);
                result.or_else(|| state.operation.revisions.at(index))
            })
            .or_else(|| asked?.revisions.at(index));
        Some(Self {
            active: asked.is_some() || state.is_some_and(|state| runs(&state.phase)),
            phase: state.map(|state| &state.phase),
            message: state.map_or("", |state| &state.message),
            revision,
            standing: standing(revision, revisions),
            automated: asked
                .or(state.map(|state| &state.operation))
                .is_some_and(|operation| operation.automated),
            started_at: state.and_then(|state| state.started_at),
            finished_at: state.and_then(|state| state.finished_at),
            retry_count: state.map_or(0, |state| state.retry_count),
            failures: state.map_or(&[], |state| &state.failures),
        })
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.active && matches!(self.phase, Some(Phase::Failed | Phase::Error))
    }
}

fn standing(revision: Option<&str>, revisions: &dyn Revisions) -> Standing {
    match revision {
        Some(revision) if is_commit(revision) => revisions.standing(revision),
        _ => Standing::NotACommit,
    }
}

fn failed_sync(application: &Application) -> Option<&str> {
    sync_errors(application).find(|message| is_failed_sync(message))
}

fn is_wipe_out_of_ours(application: &Application, revisions: &dyn Revisions) -> bool {
    sync_errors(application)
        .filter(|message| is_wipe_out(message))
        .any(|message| {
            commits_in(message).any(|commit| revisions.standing(commit) == Standing::Wanted)
        })
}

fn sync_errors(application: &Application) -> impl Iterator<Item = &str> {
    application
        .conditions
        .iter()
        .filter(|condition| condition.kind == "SyncError")
        .map(|condition| condition.message.as_str())
}
