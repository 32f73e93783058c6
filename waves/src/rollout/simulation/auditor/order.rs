//! Promise 1: waves go in order.

use std::collections::BTreeSet;

use super::super::world::Logged;
use super::Audit;
use crate::log::{EntryKind, Intent};
use crate::rollout::RegionState;

/// Whether a verdict on a region is still to come: a list of our own, not the one that the rules go by.
fn is_still_judged(state: RegionState) -> bool {
    matches!(
        state,
        RegionState::Pending
            | RegionState::Promoted
            | RegionState::Applying
            | RegionState::Verifying
            | RegionState::Baking
            | RegionState::Held
    )
}

impl<'a> Audit<'a> {
    /// Promise 1.
    pub(super) fn waves_go_in_order(&mut self) {
        let mut passed: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (seq, logged) in self.entries() {
            if logged.entry.kind == EntryKind::WavePassed {
                self.wave_is_judged(seq, logged);
                match (&logged.entry.rollout, &logged.entry.wave) {
                    (Some(rollout), Some(wave)) => {
                        if !passed.insert((rollout, wave)) {
                            self.say(seq, format!("promise 1: {wave} passed before"));
                        }
                    }
                    _ => self.say(seq, "promise 1: it does not say which wave passed"),
                }
            }
            for intent in Self::promotes(logged) {
                self.promotion_has_its_turn(seq, logged, intent, &passed);
            }
        }
    }

    fn wave_is_judged(&mut self, seq: usize, logged: &'a Logged) {
        let wave = logged
            .state
            .rollout
            .iter()
            .flat_map(|run| &run.waves)
            .find(|wave| logged.entry.wave.as_ref() == Some(&wave.name));
        let Some(wave) = wave else {
            self.say(seq, "promise 1: no wave of the rollout passed");
            return;
        };
        let mut regions = wave.regions.iter();
        if let Some((region, _)) = regions.find(|(_, run)| is_still_judged(run.state)) {
            self.say(seq, format!("promise 1: {region} is still judged"));
        }
    }

    fn promotion_has_its_turn(
        &mut self,
        seq: usize,
        logged: &'a Logged,
        intent: &Intent,
        passed: &BTreeSet<(&str, &str)>,
    ) {
        let wave = &intent.draft.wave;
        let Some(rollout) = &logged.state.rollout else {
            self.say(seq, "promise 1: a promotion without a rollout");
            return;
        };
        if intent.draft.rollout.as_ref() != Some(&rollout.id) {
            self.say(seq, "promise 1: a promotion of another rollout");
        }
        if intent.draft.old.is_zero() {
            self.say(seq, "a promotion that starts from nothing");
        }
        let order = &rollout.plan.waves;
        let Some(at) = order.iter().position(|planned| planned.name == *wave) else {
            self.say(seq, format!("promise 1: {wave} is no wave of the rollout"));
            return;
        };
        for before in order.iter().take(at) {
            let before = before.name.as_str();
            if !passed.contains(&(rollout.id.as_str(), before)) {
                self.say(seq, format!("promise 1: {wave} before {before} passed"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{broken, good, newest};
    use crate::log::{EntryKind, MoveKind};
    use crate::rollout::RegionState;

    #[test]
    fn waves_out_of_order_are_named() {
        let passed = |wave: &'static str| {
            move |world: &super::super::World| {
                let mut log = world.log.iter();
                log.rposition(|logged| {
                    logged.entry.kind == EntryKind::WavePassed
                        && logged.entry.wave.as_deref() == Some(wave)
                })
                .unwrap()
            }
        };
        let canary = passed("canary");
        broken(
            "no WavePassed",
            good(),
            &[1],
            "before canary passed",
            |world| {
                let at = canary(world);
                world.logged(at).entry.kind = EntryKind::Applied;
            },
        );
        broken(
            "of another rollout",
            good(),
            &[1],
            "before canary passed",
            |world| {
                let at = canary(world);
                world.logged(at).entry.rollout = Some("99999999-9".to_owned());
            },
        );
        broken(
            "passed twice",
            good(),
            &[1],
            "canary passed before",
            |world| {
                let entry = &mut world.logged(passed("broad")(world)).entry;
                entry.wave = Some("canary".to_owned());
            },
        );
        broken("no wave at all", good(), &[1], "which wave", |world| {
            let at = passed("broad")(world);
            world.logged(at).entry.wave = None;
        });
        for judged in [
            RegionState::Pending,
            RegionState::Promoted,
            RegionState::Applying,
            RegionState::Verifying,
            RegionState::Baking,
            RegionState::Held,
        ] {
            broken(
                "still judged",
                good(),
                &[1],
                "r0 is still judged",
                |world| {
                    let at = canary(world);
                    let run = world.rollout_at(at).waves[0].regions.get_mut("r0");
                    run.unwrap().state = judged;
                },
            );
        }
        broken(
            "for another rollout",
            good(),
            &[1],
            "of another rollout",
            |world| {
                let (seq, which) = newest(world, MoveKind::Promote, "broad");
                world.logged(seq).intents[which].draft.rollout = Some("99999999-9".to_owned());
            },
        );
    }
}
