//! How many regions go at once, and how often `Progress` is written.

use std::time::Duration;

use super::Audit;
use crate::amount::Amount;
use crate::fleet::SlotUntil;
use crate::log::EntryKind;
use crate::rollout::{RegionState, RolloutState};

/// How many regions of so many may go at once: at least one, and no part of one.
fn most(amount: Amount, total: usize) -> usize {
    let limit = match amount {
        Amount::Count(count) => count as usize,
        Amount::Percent(percent) => (0..=total)
            .rev()
            .find(|number| number * 100 <= total * usize::from(percent))
            .unwrap_or(0),
    };
    limit.max(1)
}

impl Audit<'_> {
    /// `maxConcurrent`, and one region alone in the first wave that changes.
    pub(super) fn limits_are_kept(&mut self) {
        for (seq, logged) in self.entries() {
            let Some(rollout) = &logged.state.rollout else {
                continue;
            };
            // What ended, or gives back, promotes nobody.
            if matches!(
                rollout.state,
                RolloutState::RollingBack
                    | RolloutState::Succeeded
                    | RolloutState::RolledBack
                    | RolloutState::RollbackIncomplete
                    | RolloutState::Superseded
                    | RolloutState::Aborted
            ) {
                continue;
            }
            for (index, wave) in rollout.waves.iter().enumerate() {
                let Some(planned) = rollout.plan.wave(&wave.name) else {
                    continue;
                };
                let slots = wave
                    .regions
                    .values()
                    .filter(|run| {
                        !run.was_healthy
                            && matches!(
                                run.state,
                                RegionState::Promoted
                                    | RegionState::Applying
                                    | RegionState::Verifying
                            )
                            || planned.policy.slot_until == SlotUntil::Baked
                                && run.state == RegionState::Baking
                    })
                    .count();
                let limit = most(planned.policy.max_concurrent, planned.regions.len());
                if slots > limit {
                    self.say(seq, format!("{slots} regions of {} at once", wave.name));
                }
                let earlier = rollout
                    .waves
                    .iter()
                    .take(index)
                    .flat_map(|wave| wave.regions.values())
                    .any(|run| run.before.is_some());
                let promoted = wave
                    .regions
                    .values()
                    .filter(|run| run.before.is_some())
                    .count();
                let settled = wave.regions.values().any(|run| {
                    run.before.is_some()
                        && matches!(
                            run.state,
                            RegionState::Done
                                | RegionState::Skipped
                                | RegionState::Preempted
                                | RegionState::Reverted
                                | RegionState::Reverting
                                | RegionState::Failed
                                | RegionState::TimedOut
                                | RegionState::Kept
                        )
                });
                if index > 0 && !earlier && promoted > 1 && !settled {
                    self.say(seq, format!("{} did not begin with one region", wave.name));
                }
            }
        }
    }

    pub(super) fn progress_is_rare(&mut self) {
        let mut last: Option<Duration> = None;
        for (seq, logged) in self.entries() {
            if logged.entry.kind != EntryKind::Progress {
                continue;
            }
            let interval = logged
                .state
                .rollout
                .as_ref()
                .and_then(|rollout| {
                    rollout
                        .plan
                        .policy
                        .gates
                        .iter()
                        .map(|gate| gate.sampling.every)
                        .min()
                })
                .unwrap_or(Duration::from_secs(10));
            if last.is_some_and(|last| logged.at.saturating_sub(last) < interval) {
                self.say(seq, "two Progress entries in one gate interval");
            }
            last = Some(logged.at);
        }
    }
}
