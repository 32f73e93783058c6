//! Promise 9: the plan is frozen, and what is promoted is the plan's.

use std::collections::BTreeMap;

use super::Audit;
use crate::log::EntryKind;
use crate::rollout::Rollout;

impl Audit<'_> {
    /// Promise 9.
    pub(super) fn plans_stay_frozen(&mut self) {
        let mut opened: BTreeMap<String, Rollout> = BTreeMap::new();
        for (seq, logged) in self.entries() {
            let Some(rollout) = &logged.state.rollout else {
                continue;
            };
            if logged.entry.kind == EntryKind::RolloutOpened {
                if rollout.id != format!("{}-{seq}", rollout.source.short(8)) {
                    self.say(seq, "the rollout's id does not name its entry");
                }
                opened.insert(rollout.id.clone(), rollout.clone());
            }
            let Some(first) = opened.get(&rollout.id) else {
                self.say(seq, "a rollout that was never opened");
                continue;
            };
            if first.plan != rollout.plan || first.plan_commit != rollout.plan_commit {
                self.say(seq, "promise 9: the plan changed");
            }
            for intent in Self::promotes(logged) {
                for change in &intent.draft.folders {
                    let planned = first.plan.regions.get(&change.region);
                    if planned.map(|planned| planned.tree) != change.tree {
                        self.say(seq, "promise 9: a promoted tree is not the plan's");
                    }
                    if first.plan.wave_of(&change.region) != Some(intent.draft.wave.as_str()) {
                        self.say(seq, "a region is promoted in another wave than its own");
                    }
                }
            }
        }
    }
}
