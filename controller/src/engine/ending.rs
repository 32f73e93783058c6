//! `--settle`: when there is nothing more to wait for, and how it ended.

use tidegate_waves::rollout::{FleetState, RolloutState};

/// How a run with `--settle` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every rollout that ended during this run succeeded, and nothing is held.
    Done,
    /// A rollout that ended during this run did not succeed.
    Failed,
    /// Something needs a person, or a commit.
    Held,
    /// The config branch's head is not valid, or there is none.
    Invalid,
    /// The run was told to stop.
    Cancelled,
}

/// Which rollouts ended while this process watched.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// The rollout that had ended before this run began, and how; a person may have it reverted after all.
    before: Option<(String, RolloutState)>,
    failed: bool,
}

impl Tracker {
    /// The first look at the log.
    pub(crate) fn start(&mut self, state: &FleetState) {
        self.before = state
            .rollout
            .as_ref()
            .filter(|rollout| rollout.state.is_terminal())
            .map(|rollout| (rollout.id.clone(), rollout.state));
    }

    /// The log's tip changed, by whomever.
    pub(crate) fn saw(&mut self, state: &FleetState) {
        let Some(rollout) = state
            .rollout
            .as_ref()
            .filter(|rollout| self.before != Some((rollout.id.clone(), rollout.state)))
        else {
            return;
        };
        // A superseded rollout did not fail: the one that took its place tells how it went.
        if matches!(
            rollout.state,
            RolloutState::RolledBack | RolloutState::RollbackIncomplete | RolloutState::Aborted
        ) {
            self.failed = true;
        }
    }

    /// How it ended, given that only a person or a commit can change anything.
    pub(crate) fn of(&self, state: &FleetState) -> Ending {
        if self.failed {
            Ending::Failed
        } else if !state.holds.is_empty() {
            Ending::Held
        } else if state.invalid.is_some() {
            Ending::Invalid
        } else {
            Ending::Done
        }
    }
}
