//! How long, how often and how much until something counts.

use std::time::Duration;

use tidegate_waves::fleet::WorkloadsCheck;

use super::same::IgnoredPath;

/// How long, how often and how much until something counts.
///
/// Durations are counted from the caller's first sight, by the caller's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a Deployment may be unable to create pods: 60 s.
    pub replica_failure_for: Duration,
    /// How long an image may not be pullable: 120 s.
    pub image_pull_for: Duration,
    /// How long a container may wait for any other reason, or a custom resource say that it is stalled: 60 s.
    pub waiting_for: Duration,
    /// How long a pod may find no node before that is called unknown, so that an autoscaler can add one: 5 min.
    pub unschedulable_for: Duration,
    /// How many restarts one pod may have within `counted_within`: 2.
    pub max_restarts: u64,
    /// Whether a workload without replicas may be healthy: no.
    pub allow_zero: bool,
    /// The least share of a workload's pods, in percent, that must have been ready at some look during `unready_for`,
    /// of those that were ready before: 100.
    pub min_ready_percent: u8,
    /// How long pods that were ready may not be: as long as `stable_for`, and at least 60 s.
    pub unready_for: Duration,
    /// How often an object may stop being healthy of itself within `counted_within`: 3 times.
    pub max_flaps: u32,
    /// Within what time restarts and breaks are counted: an hour, or longer where looks are so far apart that they could not show
    /// enough of them. What was wrong before a promotion and not seen for so long, at an object that was healthy all the time, is
    /// over.
    pub counted_within: Duration,
    /// How long all must be healthy without a break: 60 s.
    pub stable_for: Duration,
    /// How long a Job may take since it was first seen: no limit.
    pub job_deadline: Option<Duration>,
    /// The longest gap between two looks over which something counts as having gone on: 2 min. It must be longer than
    /// the time between two looks, or nothing is ever healthy.
    pub longest_gap: Duration,
    /// Places whose differences from what was rendered do not count: none.
    pub ignored: Vec<IgnoredPath>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            replica_failure_for: Duration::from_secs(60),
            image_pull_for: Duration::from_secs(120),
            waiting_for: Duration::from_secs(60),
            unschedulable_for: Duration::from_secs(5 * 60),
            max_restarts: 2,
            allow_zero: false,
            min_ready_percent: 100,
            unready_for: Duration::from_secs(60),
            max_flaps: 3,
            counted_within: Duration::from_secs(60 * 60),
            stable_for: Duration::from_secs(60),
            job_deadline: None,
            longest_gap: Duration::from_secs(2 * 60),
            ignored: Vec::new(),
        }
    }
}

impl Limits {
    /// What a gate says, for looks so far apart.
    pub(super) fn of(check: &WorkloadsCheck, every: Duration) -> Self {
        let default = Self::default();
        // A break and what comes between two take a look each.
        let looks = check.max_flaps.saturating_add(1).saturating_mul(4);
        Self {
            replica_failure_for: check.replica_failure_for,
            image_pull_for: check.image_pull_for,
            waiting_for: check.waiting_for,
            unschedulable_for: check.unschedulable_for,
            max_restarts: u64::from(check.max_restarts),
            allow_zero: check.allow_zero,
            max_flaps: check.max_flaps,
            stable_for: check.stable_for,
            unready_for: default.unready_for.max(check.stable_for),
            counted_within: default.counted_within.max(every.saturating_mul(looks)),
            longest_gap: default.longest_gap.max(every.saturating_mul(3)),
            ignored: check
                .ignore
                .iter()
                .map(|path| match path.split_once(':') {
                    Some((kind, path)) => IgnoredPath::new(Some(kind), path),
                    None => IgnoredPath::new(None, path),
                })
                .collect(),
            ..default
        }
    }
}
