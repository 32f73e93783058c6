//! Last good advances by what is proven alone.

use std::collections::BTreeMap;

use super::Audit;
use crate::log::EntryKind;
use crate::oid::Oid;
use crate::rollout::RegionState;

impl Audit<'_> {
    pub(super) fn last_good_is_proven(&mut self) {
        let world = self.world;
        for (seq, logged) in self.entries().into_iter().skip(1) {
            let before = &world.log[seq - 1].state;
            let trees = |state: &crate::rollout::FleetState| -> BTreeMap<String, Oid> {
                state
                    .last_good
                    .iter()
                    .map(|(region, good)| (region.clone(), good.tree))
                    .collect()
            };
            if trees(before) != trees(&logged.state)
                && !matches!(
                    logged.entry.kind,
                    EntryKind::Succeeded | EntryKind::Requested
                )
            {
                self.say(seq, "last good changed without a success");
            }
            if logged.entry.kind == EntryKind::Succeeded {
                let rollout = logged.state.rollout.as_ref();
                for (region, good) in &logged.state.last_good {
                    let is_proven = rollout.is_some_and(|rollout| {
                        let planned = rollout.plan.regions.get(region);
                        planned.is_some_and(|planned| planned.tree == good.tree)
                            && rollout.region(region).is_some_and(|(_, run)| {
                                matches!(run.state, RegionState::Done | RegionState::NoChange)
                            })
                    });
                    if trees(before).get(region) != Some(&good.tree) && !is_proven {
                        self.say(seq, format!("last good of {region} advanced unproven"));
                    }
                }
            }
        }
    }
}
