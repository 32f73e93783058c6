//! One Application at one instant and what was seen of it before, as the rows look at them.

use std::ops::Deref;
use std::time::Duration;

use tidegate_waves::fleet::{OnSuspended, PrunePending};

use super::application::{Health, SyncStatus};
use super::clocks::{Clock, Tick};
use super::expected::Standing;
use super::memory::{Memory, finished_at};
use super::rows::Finding;
use super::sight::{SeenOperation, Sight};
use super::verdict::Action;

/// The conditions that reject a spec or say that the status is stale.
pub(super) const INVALID: [&str; 3] = ["InvalidSpecError", "UnknownError", "DeletionError"];

/// What is said of a state that no newer comparison has shown again.
const UNCONFIRMED: &str = "no newer comparison says so yet";

/// A sight, and what was seen before.
pub(super) struct Case<'a> {
    pub(super) sight: &'a Sight<'a>,
    pub(super) memory: &'a Memory,
}

impl<'a> Deref for Case<'a> {
    type Target = Sight<'a>;

    fn deref(&self) -> &Self::Target {
        self.sight
    }
}

impl Case<'_> {
    /// Whether a status that was computed after the promotion, and after the newest operation, is shown.
    pub(super) fn is_fresh(&self) -> bool {
        let reconciled = self.application.reconciled_at;
        self.memory.is_answered()
            && reconciled.is_some()
            && reconciled > finished_at(self.application)
            && self.memory.since_reconciled() <= self.limits.stale_after
    }

    /// Whether the newest operation was begun before the promotion, though for the same tree.
    fn is_operation_older(&self) -> bool {
        let Some(operation) = &self.operation else {
            return false;
        };
        match &self.expected.before {
            Some(before) => {
                operation.started_at.is_some()
                    && operation.started_at == before.operation_started_at
            }
            // Not known: then it must be for the very commit that a comparison since the promotion shows.
            None => !self.memory.is_answered() || operation.revision != self.revision,
        }
    }

    /// Whether the newest operation is for the promoted commit, and was begun since.
    pub(super) fn is_operation_ours(&self) -> bool {
        let operation = self.operation.as_ref();
        operation.is_some_and(|operation| operation.standing == Standing::Wanted)
            && !self.is_operation_older()
    }

    /// Whether a failed sync is one of the promoted commit.
    pub(super) fn is_failure_ours(&self) -> bool {
        let failed = self
            .operation
            .as_ref()
            .is_some_and(SeenOperation::has_failed);
        // What is said of it is of the newest comparison: one from before its newest operation says nothing of that.
        let said =
            self.is_failed_sync_ours && !self.is_operation_older() && !self.is_ours_applied();
        (failed && self.is_operation_ours()) || (said && self.is_fresh())
    }

    /// Whether what is degraded can come from the promoted commit.
    pub(super) fn is_degraded_at_ours(&self) -> bool {
        self.is_at_ours()
            && self.application.health.status == Health::Degraded
            && (self.is_synced() || self.is_operation_ours())
    }

    /// Whether it is out of sync and no operation has seen to that.
    pub(super) fn is_not_begun(&self) -> bool {
        self.is_at_ours()
            && self.application.sync.status == SyncStatus::OutOfSync
            && !self.awaits_pruning_only()
            && self.active().is_none()
            && !self.is_ours_applied()
    }

    /// Whether it differs again since it was synced.
    pub(super) fn is_drifted(&self) -> bool {
        self.is_at_ours()
            && self.application.sync.status == SyncStatus::OutOfSync
            && !self.awaits_pruning_only()
            && self.is_ours_applied()
            && self.is_fresh()
    }

    /// Whether it counts as synced.
    pub(super) fn is_synced_enough(&self) -> bool {
        self.is_synced()
            || (self.awaits_pruning_only() && self.limits.prune_pending == PrunePending::Accept)
    }

    /// Whether all is as wanted at this instant.
    pub(super) fn is_as_wanted(&self) -> bool {
        let healthy = match self.application.health.status {
            Health::Healthy => true,
            Health::Suspended => self.limits.on_suspended == OnSuspended::Pass,
            _ => false,
        };
        healthy
            && self.is_at_ours()
            && self.is_synced_enough()
            && self.active().is_none()
            && self.is_fresh()
            && !self.application.deleting
    }

    /// What each clock does now.
    pub(super) fn ticks(&self) -> [(Clock, Tick); 11] {
        let run = |holds: bool| if holds { Tick::Run(None) } else { Tick::Stop };
        let other = self
            .active()
            .is_some_and(|operation| operation.standing != Standing::Wanted);
        let drifted = if self.is_drifted() {
            Tick::Run(None)
        } else if self.is_at_ours() && !self.is_synced() {
            // Self-heal is at it; if it only fights with somebody, that counts.
            Tick::Keep
        } else {
            Tick::Stop
        };
        [
            (Clock::Absent, run(self.is_gone())),
            (Clock::Invalid, run(self.condition(&INVALID).is_some())),
            (Clock::Unreadable, run(self.unreadable().is_some())),
            (Clock::Unparsable, run(self.unparsable().is_some())),
            (Clock::OtherOperation, run(other)),
            (
                Clock::OurOperation,
                self.ours_active()
                    .map_or(Tick::Stop, |operation| Tick::Run(operation.started_at)),
            ),
            (
                Clock::Retried,
                self.ours_active()
                    .filter(|operation| operation.retry_count >= self.limits.max_retries)
                    .map_or(Tick::Stop, |operation| Tick::Run(operation.started_at)),
            ),
            (Clock::Degraded, run(self.is_degraded_at_ours())),
            (Clock::NotBegun, run(self.is_not_begun() && self.is_fresh())),
            (Clock::Drifted, drifted),
            (
                Clock::Missing,
                run(self.is_at_ours() && self.application.health.status == Health::Missing),
            ),
        ]
    }

    /// Whether it is not there, or not for long, or another one.
    pub(super) fn is_gone(&self) -> bool {
        !self.found || self.application.deleting || self.memory.is_recreated()
    }

    /// How long a clock has run.
    pub(super) fn held(&self, clock: Clock) -> Duration {
        self.memory.held(clock)
    }

    /// A refresh, if it is time for one.
    pub(super) fn refresh(&self) -> Option<Action> {
        self.memory
            .may_refresh(self.limits)
            .then_some(Action::Refresh)
    }

    /// What it comes to that this has lasted for so long: what it is given, once a comparison newer than that shows it still.
    /// Until then nobody knows, for a status that nobody writes any more shows it for ever.
    pub(super) fn once_confirmed(&self, clock: Clock, least: Duration, harm: Finding) -> Finding {
        if self.memory.is_confirmed(clock, least) {
            return harm;
        }
        let may = self.memory.may_confirm(clock, least, self.limits);
        Finding::hold(format!("{}; {UNCONFIRMED}", harm.evidence))
            .with(may.then_some(Action::Refresh))
    }

    /// What it comes to that something goes on: it is waited for, unless Argo CD says nothing any more.
    pub(super) fn going_on(&self, evidence: String) -> Finding {
        let age = self.memory.since_reconciled();
        if age > self.limits.stale_after || self.memory.is_unanswered(self.limits) {
            Finding::hold(format!("{evidence}; {UNCONFIRMED}")).with(self.refresh())
        } else if age >= self.limits.answers_within {
            Finding::wait(evidence).with(self.refresh())
        } else {
            Finding::wait(evidence)
        }
    }

    /// The end of the operation, if we may and it is time.
    pub(super) fn terminate(&self) -> Option<Action> {
        let may = self.expected.may_terminate && self.memory.may_terminate(self.limits);
        may.then_some(Action::Terminate)
    }
}
