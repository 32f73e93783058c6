//! Promise 8: what passes or fails has positive evidence.

use std::time::Duration;

use super::Audit;
use crate::log::EntryKind;
use crate::rollout::{FailureReason, RegionState};

impl Audit<'_> {
    /// Promise 8, and the bake.
    pub(super) fn evidence_is_positive(&mut self) {
        let world = self.world;
        for (seq, logged) in self.entries() {
            let Some(rollout) = &logged.state.rollout else {
                continue;
            };
            if logged.entry.kind == EntryKind::Failed
                && let Some(failure) = &rollout.failure
                && failure.reason == FailureReason::Harm
                && !failure.gate.is_empty()
            {
                let bad = world
                    .answers
                    .iter()
                    .filter(|answer| {
                        answer.at <= logged.at
                            && answer.region == failure.region
                            && answer.tree == failure.tree
                            && answer.is_bad
                    })
                    .count();
                let needed = rollout
                    .plan
                    .gates_of(&failure.region)
                    .iter()
                    .map(|gate| gate.sampling.failures as usize)
                    .min();
                if bad < needed.unwrap_or(1) {
                    self.say(seq, format!("promise 8: failed on {bad} bad answers"));
                }
            }
            let before = world.log[seq.saturating_sub(1)].state.rollout.as_ref();
            for wave in &rollout.waves {
                for (region, run) in &wave.regions {
                    let was = before
                        .filter(|before| before.id == rollout.id)
                        .and_then(|before| before.region(region))
                        .map(|(_, run)| run.state);
                    if run.state != RegionState::Done || was == Some(RegionState::Done) {
                        continue;
                    }
                    let Some(planned) = rollout.plan.regions.get(region) else {
                        continue;
                    };
                    let needed = rollout
                        .plan
                        .gates_of(region)
                        .iter()
                        .map(|gate| gate.sampling.successes as usize)
                        .min();
                    let Some(needed) = needed else {
                        continue;
                    };
                    let healthy: Vec<Duration> = world
                        .answers
                        .iter()
                        .filter(|answer| {
                            answer.at <= logged.at
                                && answer.region == *region
                                && answer.tree == Some(planned.tree)
                                && answer.is_healthy
                        })
                        .map(|answer| answer.at)
                        .collect();
                    if healthy.len() < needed {
                        self.say(seq, format!("promise 8: {region} is done unproven"));
                    }
                    let bake = rollout
                        .plan
                        .wave(&wave.name)
                        .map(|wave| wave.policy.bake)
                        .unwrap_or_default();
                    let since = healthy.first().copied().unwrap_or_default();
                    if !rollout.hotfix && logged.at.saturating_sub(since) < bake {
                        self.say(seq, format!("{region} is done before its bake"));
                    }
                }
            }
        }
    }
}
