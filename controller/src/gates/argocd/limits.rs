//! How long a state of an Application must last before it counts, and what policy makes of it.

use std::time::Duration;

use tidegate_waves::fleet::{ArgocdCheck, BaselineDegraded, OnDrift, OnSuspended, PrunePending};
use tidegate_waves::rollout::Phase;

/// How long things may take. All run in watched time: gaps longer than `longest_gap` are not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long an Application is degraded before that is a failure. 30 s.
    pub degraded_for: Duration,
    /// How many changes between healthy and degraded are a failure while it is degraded. 3.
    pub flips: u32,
    /// The time within which they are counted. 10 min.
    pub flip_window: Duration,
    /// How long all must be as wanted before it passes. 60 s.
    pub stable_for: Duration,
    /// How long an operation for another commit may go on. 60 s; never for a rollback.
    pub op_steal_after: Duration,
    /// How long our operation may run. 10 min.
    pub sync_deadline: Duration,
    /// How long an automated sync may take to begin. 60 s.
    pub start_deadline: Duration,
    /// How long self-heal may take. 60 s.
    pub drift_grace: Duration,
    /// How long all objects may be missing. 60 s.
    pub missing_for: Duration,
    /// How long Argo CD may reject the spec. 60 s.
    pub invalid_spec_for: Duration,
    /// How long nothing may be known. 5 min.
    pub unknown_for: Duration,
    /// How long an Application may not be there. 5 min.
    pub create_deadline: Duration,
    /// How many retries of our operation are a failure. 2.
    pub max_retries: i64,
    /// The least time between two refreshes, and between two attempts at anything else. 15 s.
    pub refresh_every: Duration,
    /// How long a comparison counts without a newer one: twice the longest usual interval of Argo CD. 6 min.
    pub stale_after: Duration,
    /// How long Argo CD may take to answer a refresh before what it said counts no more as going on. 60 s.
    pub answers_within: Duration,
    /// The longest time between two looks that counts as watched. 45 s.
    pub longest_gap: Duration,
    /// See [`BaselineDegraded`].
    pub baseline_degraded: BaselineDegraded,
    /// See [`PrunePending`].
    pub prune_pending: PrunePending,
    /// See [`OnDrift`].
    pub on_drift: OnDrift,
    /// See [`OnSuspended`].
    pub on_suspended: OnSuspended,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            degraded_for: Duration::from_secs(30),
            flips: 3,
            flip_window: Duration::from_secs(600),
            stable_for: Duration::from_secs(60),
            op_steal_after: Duration::from_secs(60),
            sync_deadline: Duration::from_secs(600),
            start_deadline: Duration::from_secs(60),
            drift_grace: Duration::from_secs(60),
            missing_for: Duration::from_secs(60),
            invalid_spec_for: Duration::from_secs(60),
            unknown_for: Duration::from_secs(300),
            create_deadline: Duration::from_secs(300),
            max_retries: 2,
            refresh_every: Duration::from_secs(15),
            stale_after: Duration::from_secs(360),
            answers_within: Duration::from_secs(60),
            longest_gap: Duration::from_secs(45),
            baseline_degraded: BaselineDegraded::Hold,
            prune_pending: PrunePending::Accept,
            on_drift: OnDrift::Hold,
            on_suspended: OnSuspended::Hold,
        }
    }
}

impl Limits {
    /// What a gate says, for looks of this phase so far apart.
    pub(super) fn of(check: &ArgocdCheck, phase: Phase, every: Duration) -> Self {
        let default = Self::default();
        // Before a promotion one look has to do.
        let lasting = |written: Duration| match phase {
            Phase::Before => Duration::ZERO,
            Phase::After | Phase::GivenBack => written,
        };
        Self {
            stable_for: lasting(check.stable_for),
            degraded_for: lasting(check.degraded_for),
            sync_deadline: check.sync_deadline,
            missing_for: check.missing_for,
            drift_grace: check.drift_grace,
            op_steal_after: match phase {
                Phase::GivenBack => Duration::ZERO,
                Phase::Before | Phase::After => default.op_steal_after,
            },
            // Three samples that were missed are a gap, as everywhere.
            longest_gap: default.longest_gap.max(every.saturating_mul(3)),
            // Nobody waits long for a comparison within a short `stableFor`.
            refresh_every: default
                .refresh_every
                .min((check.stable_for / 2).max(Duration::from_secs(1))),
            baseline_degraded: check.baseline_degraded,
            prune_pending: check.prune_pending,
            on_drift: check.on_drift,
            on_suspended: check.on_suspended,
            ..default
        }
    }
}
