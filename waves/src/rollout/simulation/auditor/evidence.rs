//! Promise 8: what passes or fails has positive evidence.

use std::sync::Arc;
use std::time::Duration;

use super::super::world::Logged;
use super::Audit;
use crate::fleet::{OnUnreachable, Sampling};
use crate::log::EntryKind;
use crate::oid::Oid;
use crate::rollout::{Baseline, FailureReason, RegionState, Rollout};

impl<'a> Audit<'a> {
    /// Promise 8, and the bake.
    pub(super) fn evidence_is_positive(&mut self) {
        let world = self.world;
        for (seq, logged) in self.entries() {
            let Some(rollout) = &logged.state.rollout else {
                continue;
            };
            if logged.entry.kind == EntryKind::Failed {
                self.failure_is_positive(seq, logged, rollout);
            }
            let before = world.log[seq.saturating_sub(1)].state.rollout.as_ref();
            for wave in &rollout.waves {
                for (region, run) in &wave.regions {
                    let was = before
                        .filter(|before| before.id == rollout.id)
                        .and_then(|before| before.region(region))
                        .map(|(_, run)| run.state);
                    if was == Some(run.state) {
                        continue;
                    }
                    let by_request = logged.entry.kind == EntryKind::Requested;
                    let is_failure = logged.entry.kind == EntryKind::RegionFailed;
                    let tree = rollout.plan.regions.get(region).map(|planned| planned.tree);
                    match run.state {
                        RegionState::Done => {
                            self.done_is_proven(seq, logged, rollout, &wave.name, region);
                        }
                        RegionState::NoChange => self.nothing_changes(seq, logged, region, tree),
                        RegionState::Failed if !by_request => {
                            self.tell(seq, self.unproven_harm(logged, rollout, region, tree));
                        }
                        RegionState::TimedOut => {
                            self.tell(seq, self.too_early(seq, logged, rollout, region));
                        }
                        // It failed, and is given back by the same entry.
                        RegionState::Reverting if is_failure => {
                            let harm = self.unproven_harm(logged, rollout, region, tree);
                            let late = self.too_early(seq, logged, rollout, region);
                            self.tell(seq, late.and(harm));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn tell(&mut self, seq: usize, wrong: Option<String>) {
        if let Some(wrong) = wrong {
            self.say(seq, format!("promise 8: {wrong}"));
        }
    }

    fn failure_is_positive(&mut self, seq: usize, logged: &'a Logged, rollout: &Rollout) {
        let Some(failure) = &rollout.failure else {
            return;
        };
        let region = failure.region.as_str();
        let wave = rollout.plan.wave(&failure.wave);
        let wrong = match failure.reason {
            FailureReason::Harm => self.unproven_harm(logged, rollout, region, failure.tree),
            FailureReason::Unreachable
                if wave.is_none_or(|wave| wave.policy.on_unreachable != OnUnreachable::Fail) =>
            {
                Some(format!(
                    "the silence of {region} fails it against its policy"
                ))
            }
            FailureReason::TimedOut | FailureReason::Unreachable => {
                self.too_early(seq, logged, rollout, region)
            }
            FailureReason::Requested => None,
        };
        self.tell(seq, wrong);
    }

    /// What is wrong with a failure by harm: too few bad answers.
    fn unproven_harm(
        &self,
        logged: &Logged,
        rollout: &Rollout,
        region: &str,
        tree: Option<Oid>,
    ) -> Option<String> {
        let bad = self
            .world
            .answers
            .iter()
            .filter(|answer| {
                answer.at <= logged.at
                    && answer.region == region
                    && answer.tree == tree
                    && answer.is_bad
            })
            .count();
        let needed = fewest(rollout, region, |sampling| sampling.failures);
        (bad < needed.unwrap_or(1)).then(|| format!("{region} failed on {bad} bad answers"))
    }

    /// What is wrong with a failure by a deadline: it is not over, or the region was not healthy before and the policy
    /// does not say that this is a failure.
    fn too_early(
        &self,
        seq: usize,
        logged: &Logged,
        rollout: &Rollout,
        region: &str,
    ) -> Option<String> {
        // A tree that its branch has of the rollout before needs no promotion.
        let is_on_its_way = |known: &&Arc<Logged>| {
            let known = known.state.rollout.as_ref();
            known
                .filter(|known| known.id == rollout.id)
                .and_then(|known| known.region(region))
                .is_some_and(|(_, run)| run.state != RegionState::Pending)
        };
        let brought = self
            .world
            .log
            .iter()
            .take(seq)
            .rev()
            .take_while(is_on_its_way)
            .last();
        let mut waves = rollout.plan.waves.iter();
        let wave = waves.find(|wave| wave.regions.iter().any(|member| member == region));
        let (Some(wave), Some(brought)) = (wave, brought) else {
            return Some(format!("{region} is late and nothing was brought to it"));
        };
        if logged.at.saturating_sub(brought.at) < wave.policy.progress_deadline {
            return Some(format!("{region} is late before its deadline"));
        }
        let was_healthy = rollout
            .region(region)
            .is_some_and(|(_, run)| run.before == Some(Baseline::Healthy));
        (wave.policy.on_unreachable != OnUnreachable::Fail && !was_healthy)
            .then(|| format!("{region} is late, and was not healthy before"))
    }

    fn nothing_changes(&mut self, seq: usize, logged: &'a Logged, region: &str, tree: Option<Oid>) {
        let good = logged.state.last_good.get(region).map(|good| good.tree);
        if tree.is_none() || good != tree {
            self.say(
                seq,
                format!("promise 8: {region} changes and is not judged"),
            );
        }
    }

    fn done_is_proven(
        &mut self,
        seq: usize,
        logged: &'a Logged,
        rollout: &Rollout,
        wave: &str,
        region: &str,
    ) {
        let Some(planned) = rollout.plan.regions.get(region) else {
            return;
        };
        let Some(needed) = fewest(rollout, region, |sampling| sampling.successes) else {
            return;
        };
        let healthy: Vec<Duration> = self
            .world
            .answers
            .iter()
            .filter(|answer| {
                answer.at <= logged.at
                    && answer.region == region
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
            .wave(wave)
            .map(|wave| wave.policy.bake)
            .unwrap_or_default();
        let since = healthy.first().copied().unwrap_or_default();
        if !rollout.hotfix && logged.at.saturating_sub(since) < bake {
            self.say(seq, format!("promise 8: {region} is done before its bake"));
        }
    }
}

/// How many answers of a kind the gate wants that wants the fewest; `None` where a region has no gates.
fn fewest(rollout: &Rollout, region: &str, of: impl Fn(&Sampling) -> u32) -> Option<usize> {
    let gates = rollout.plan.gates_of(region);
    gates.iter().map(|gate| of(&gate.sampling) as usize).min()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::super::world::{Spec, World};
    use super::super::tests::{broken, failed, good, isolated};
    use crate::log::EntryKind;
    use crate::rollout::{FailureReason, RegionState};

    #[test]
    fn success_without_evidence_is_named() {
        broken("no answers", good(), &[8], "r0 is done unproven", |world| {
            world.answers.clear();
        });
        broken(
            "none of this tree",
            good(),
            &[8],
            "r4 is done unproven",
            |world| {
                let tree = world.running("r4");
                world.answers.retain(|answer| answer.tree != tree);
            },
        );
        broken(
            "none healthy",
            good(),
            &[8],
            "r4 is done unproven",
            |world| {
                let tree = world.running("r4");
                for answer in &mut world.answers {
                    if answer.tree == tree {
                        Arc::make_mut(answer).is_healthy = false;
                    }
                }
            },
        );
        broken("too late", good(), &[8], "r4 is done unproven", |world| {
            let tree = world.running("r4");
            for answer in &mut world.answers {
                if answer.tree == tree {
                    Arc::make_mut(answer).at += Duration::from_secs(3_600);
                }
            }
        });
        broken("no bake", good(), &[8], "done before its bake", |world| {
            let seq = (0..world.log.len()).rfind(|seq| {
                let before = world.log[seq - 1].state.rollout.as_ref();
                let r4 = before.and_then(|rollout| rollout.region("r4"));
                r4.is_some_and(|(_, run)| run.state == RegionState::Baking)
            });
            let (at, tree) = (world.log[seq.unwrap()].at, world.running("r4"));
            for answer in &mut world.answers {
                if answer.tree == tree {
                    Arc::make_mut(answer).at = at;
                }
            }
        });
    }

    #[test]
    fn a_change_that_counts_as_none_is_named() {
        broken(
            "unchanged",
            good(),
            &[8],
            "r4 changes and is not judged",
            |world| {
                let opened = world.position(EntryKind::RolloutOpened);
                let broad = &mut world.rollout_at(opened).waves[2];
                broad.regions.get_mut("r4").unwrap().state = RegionState::NoChange;
            },
        );
    }

    #[test]
    fn failures_without_evidence_are_named() {
        let forget_harm = |world: &mut World| world.answers.retain(|answer| !answer.is_bad);
        broken(
            "no harm",
            failed(),
            &[8],
            "r0 failed on 0 bad answers",
            forget_harm,
        );
        broken(
            "no harm there",
            isolated(),
            &[8],
            "r3 failed on 0 bad",
            forget_harm,
        );
        let fail_by = |reason: FailureReason| {
            move |world: &mut World| {
                let at = world.position(EntryKind::Failed);
                world.rollout_at(at).failure.as_mut().unwrap().reason = reason;
            }
        };
        let (late, silent) = (FailureReason::TimedOut, FailureReason::Unreachable);
        broken(
            "too early",
            failed(),
            &[8],
            "late before its deadline",
            fail_by(late),
        );
        broken(
            "silence",
            failed(),
            &[8],
            "against its policy",
            fail_by(silent),
        );
    }

    #[test]
    fn a_region_that_was_not_healthy_before_fails_by_no_deadline() {
        let mut world = World::settled(Spec::small());
        world.commit(&[("all", "v2")]);
        // Healthy and bad by turns from its promotion on: never three of either.
        for round in 0_u32..200 {
            world.round();
            let is_there = world.state().rollout.as_ref().is_some_and(|rollout| {
                let r0 = rollout.region("r0");
                r0.is_some_and(|(_, run)| run.state != RegionState::Pending)
            });
            world.outage.clear();
            if is_there && round % 4 < 2 {
                world.outage.insert("r0".to_owned());
            }
            if world.count(EntryKind::Failed) > 0 {
                break;
            }
        }
        broken(
            "sick before",
            world,
            &[8],
            "was not healthy before",
            |world| {
                let at = world.position(EntryKind::Failed);
                let canary = &mut world.rollout_at(at).waves[0];
                canary.regions.get_mut("r0").unwrap().before = None;
            },
        );
    }
}
