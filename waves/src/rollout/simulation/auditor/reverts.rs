//! Promise 7: one revert a rollout, for a reason that is named.

use std::collections::{BTreeMap, BTreeSet};

use super::super::world::MAIN;
use super::Audit;
use crate::log::EntryKind;
use crate::oid::Oid;
use crate::rollout::FailureReason;

impl Audit<'_> {
    /// Promise 7.
    pub(super) fn failures_name_what_they_judged(&mut self) {
        let world = self.world;
        let mut reverts: BTreeMap<String, BTreeSet<Oid>> = BTreeMap::new();
        for (source, commit) in &world.sources {
            if let Some(rollout) = &commit.reverts
                && world
                    .refs
                    .get(MAIN)
                    .is_some_and(|tip| self.on_chain(*tip, *source))
            {
                reverts.entry(rollout.clone()).or_default().insert(*source);
            }
        }
        for (rollout, commits) in reverts {
            if commits.len() > 1 {
                self.wrong.push(format!(
                    "promise 7: {rollout} was reverted {} times",
                    commits.len()
                ));
            }
        }
        for (seq, logged) in self.entries() {
            if logged.entry.kind != EntryKind::Failed {
                continue;
            }
            let rollout = logged.state.rollout.clone().unwrap();
            let Some(failure) = rollout.failure.clone() else {
                self.say(seq, "promise 7: a failure without a reason");
                continue;
            };
            if failure.reason == FailureReason::Requested {
                continue;
            }
            let before = &world.log[seq - 1].state;
            let Some(tree) = failure.tree.filter(|_| !failure.region.is_empty()) else {
                self.say(seq, "promise 7: it names no region or tree");
                continue;
            };
            let put = world.log.iter().take(seq).any(|known| {
                Self::promotes(known).iter().any(|intent| {
                    intent.draft.rollout.as_ref() == Some(&rollout.id)
                        && intent.draft.folders.iter().any(|change| {
                            change.region == failure.region && change.tree == Some(tree)
                        })
                })
            });
            let good = before.last_good.get(&failure.region).map(|good| good.tree);
            if !put && good == Some(tree) {
                self.say(seq, "promise 7: it judged a tree that is last good");
            }
            let held = before
                .branches
                .get(&failure.wave)
                .and_then(|branch| branch.folders.get(&failure.region));
            if held != Some(&tree) {
                self.say(seq, "promise 7: the tree that it judged is not there");
            }
            let all_good = rollout.plan.regions.iter().all(|(region, planned)| {
                before.last_good.get(region).map(|good| good.tree) == Some(planned.tree)
            });
            if all_good {
                self.say(seq, "promise 7: every tree of it is last good");
            }
            if !before.proven {
                self.say(seq, "a failure before anything ever succeeded");
            }
        }
    }
}
