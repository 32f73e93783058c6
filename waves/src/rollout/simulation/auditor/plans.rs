//! Promise 9: the plan is frozen, it is its commit's, and what is promoted is the plan's.

use std::collections::BTreeMap;

use super::super::fleet::region_tree;
use super::super::world::{Files, Logged, id};
use super::Audit;
use crate::log::EntryKind;
use crate::plan::PlannedWave;
use crate::rollout::Rollout;

impl<'a> Audit<'a> {
    /// Promise 9.
    pub(super) fn plans_stay_frozen(&mut self) {
        let mut opened: BTreeMap<&str, &Rollout> = BTreeMap::new();
        let mut newest: Option<&str> = None;
        for (seq, logged) in self.entries() {
            let Some(rollout) = &logged.state.rollout else {
                continue;
            };
            if logged.entry.kind == EntryKind::RolloutOpened {
                if rollout.id != format!("{}-{seq}", rollout.source.short(8)) {
                    self.say(seq, "promise 9: the rollout's id does not name its entry");
                }
                self.plan_is_its_commits(seq, rollout);
                opened.insert(&rollout.id, rollout);
                newest = Some(&rollout.id);
            }
            let Some(first) = opened.get(rollout.id.as_str()) else {
                self.say(seq, "promise 9: a rollout that was never opened");
                continue;
            };
            if newest != Some(rollout.id.as_str()) {
                self.say(seq, "promise 9: a rollout that another one followed");
            }
            let frozen = |rollout: &'a Rollout| {
                (
                    (&rollout.plan, rollout.plan_commit),
                    (rollout.source, rollout.base, &rollout.base_last_good),
                    (&rollout.base_wanted, &rollout.revert_trees),
                )
            };
            if frozen(first) != frozen(rollout) {
                self.say(seq, "promise 9: the plan changed");
            }
            self.promotions_are_the_plans(seq, logged, first);
        }
    }

    fn promotions_are_the_plans(&mut self, seq: usize, logged: &'a Logged, first: &Rollout) {
        for intent in Self::promotes(logged) {
            for change in &intent.draft.folders {
                let planned = first.plan.regions.get(&change.region);
                if change.tree.is_none() || planned.map(|planned| planned.tree) != change.tree {
                    self.say(seq, "promise 9: a promoted tree is not the plan's");
                }
                let is_in = |wave: &PlannedWave| {
                    wave.name == intent.draft.wave && wave.regions.contains(&change.region)
                };
                if !first.plan.waves.iter().any(is_in) {
                    let what = "promise 9: a region is promoted in another wave than its own";
                    self.say(seq, what);
                }
            }
        }
    }

    /// What the plan has for each region is what the source renders to there, and what the plan commit holds.
    fn plan_is_its_commits(&mut self, seq: usize, rollout: &Rollout) {
        let world = self.world;
        let renders = |files: &Files| {
            let mut regions = rollout.plan.regions.iter();
            regions.all(|(region, planned)| planned.tree == region_tree(files, region))
        };
        if !renders(&world.files(Some(rollout.source))) {
            self.say(seq, "promise 9: the plan is not what the source renders to");
        }
        // A source that is opened again has the plan commit of whatever had the same trees.
        let mut sources = world.sources.values().map(|source| &source.files);
        if !sources.any(|files| id(&("plan", files)) == rollout.plan_commit && renders(files)) {
            self.say(seq, "promise 9: the plan commit holds other trees");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::world::{World, id};
    use super::super::tests::{broken, failed, good, newest};
    use crate::fleet::OnFailure;
    use crate::log::{EntryKind, MoveKind};

    #[test]
    fn plans_that_change_are_named() {
        let passed = |world: &World| world.position(EntryKind::WavePassed);
        broken("policy", good(), &[9], "the plan changed", |world| {
            let at = passed(world);
            Arc::make_mut(&mut world.rollout_at(at).plan)
                .policy
                .on_failure = OnFailure::Hold;
        });
        broken("plan commit", good(), &[9], "the plan changed", |world| {
            let at = passed(world);
            world.rollout_at(at).plan_commit = id(&"other");
        });
        broken("last good", good(), &[9], "the plan changed", |world| {
            let at = passed(world);
            Arc::make_mut(&mut world.rollout_at(at).base_last_good).clear();
        });
        broken(
            "an older rollout",
            good(),
            &[9],
            "another one followed",
            |world| {
                let first = world
                    .kinds()
                    .iter()
                    .position(|kind| *kind == EntryKind::Succeeded);
                let older = world.log[first.unwrap()].state.rollout.clone();
                let end = world.end();
                world.logged(end).state.rollout = older;
            },
        );
        broken("never opened", good(), &[9], "was never opened", |world| {
            let opened = world.position(EntryKind::RolloutOpened);
            world.logged(opened).entry.kind = EntryKind::Applied;
        });
        broken(
            "another entry",
            failed(),
            &[9],
            "does not name its entry",
            |world| {
                let opened = world.position(EntryKind::RolloutOpened);
                world.rollout_at(opened).id = "99999999-9".to_owned();
            },
        );
    }

    #[test]
    fn plans_that_are_not_their_commits_are_named() {
        broken(
            "rendered",
            good(),
            &[9],
            "not what the source renders to",
            |world| {
                let head = world.head().unwrap();
                let source = world.sources.get_mut(&head).unwrap();
                source.files.insert("all".to_owned(), "v9".to_owned());
            },
        );
        broken(
            "another's commit",
            good(),
            &[9],
            "the plan commit holds other",
            |world| {
                let opened = world.kinds();
                let first = opened
                    .iter()
                    .position(|kind| *kind == EntryKind::RolloutOpened);
                let older = world.rollout_at(first.unwrap()).plan_commit;
                let newest = world.state().rollout.clone().unwrap().id;
                for seq in 0..world.log.len() {
                    if let Some(rollout) = &mut world.logged(seq).state.rollout
                        && rollout.id == newest
                    {
                        rollout.plan_commit = older;
                    }
                }
            },
        );
    }

    #[test]
    fn promotions_of_other_trees_than_the_plans_are_named() {
        broken("another tree", good(), &[9], "is not the plan's", |world| {
            let (seq, which) = newest(world, MoveKind::Promote, "canary");
            let tip = world.tip("canary");
            world.logged(seq).intents[which].draft.folders[0].tree = Some(id(&"other"));
            world
                .commit_at(tip)
                .folders
                .insert("r0".to_owned(), id(&"other"));
        });
    }
}
