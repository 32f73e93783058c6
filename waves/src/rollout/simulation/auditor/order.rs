//! Promise 1: waves go in order.

use super::Audit;
use crate::log::EntryKind;

impl Audit<'_> {
    /// Promise 1.
    pub(super) fn waves_go_in_order(&mut self) {
        let world = self.world;
        for (seq, logged) in self.entries() {
            if logged.entry.kind == EntryKind::WavePassed {
                let waves = logged.state.rollout.iter().flat_map(|run| &run.waves);
                let mut regions = waves
                    .filter(|wave| logged.entry.wave.as_ref() == Some(&wave.name))
                    .flat_map(|wave| &wave.regions);
                if let Some((region, _)) = regions.find(|(_, run)| !run.state.is_settled()) {
                    self.say(seq, format!("promise 1: {region} is still judged"));
                }
            }
            for intent in Self::promotes(logged) {
                let Some(rollout) = logged.state.rollout.clone() else {
                    self.say(seq, "a promotion without a rollout");
                    continue;
                };
                if intent.draft.rollout.as_ref() != Some(&rollout.id) {
                    self.say(seq, "a promotion of another rollout");
                }
                if intent.draft.old.is_zero() {
                    self.say(seq, "a promotion that starts from nothing");
                }
                let order: Vec<&str> = rollout
                    .plan
                    .waves
                    .iter()
                    .map(|wave| wave.name.as_str())
                    .collect();
                let at = order.iter().position(|wave| *wave == intent.draft.wave);
                for before in order.iter().take(at.unwrap_or(0)) {
                    let passed = world.log.iter().take(seq + 1).any(|known| {
                        known.entry.kind == EntryKind::WavePassed
                            && known.entry.rollout.as_ref() == Some(&rollout.id)
                            && known.entry.wave.as_deref() == Some(before)
                    });
                    if !passed {
                        self.say(
                            seq,
                            format!("promise 1: {} before {before} passed", intent.draft.wave),
                        );
                    }
                }
            }
        }
    }
}
