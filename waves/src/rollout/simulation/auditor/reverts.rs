//! Promise 7: one revert a rollout, for a reason that is named.

use std::collections::{BTreeMap, BTreeSet};

use super::super::world::{Logged, MAIN};
use super::Audit;
use crate::log::{EntryKind, Intent, MoveKind};
use crate::oid::Oid;
use crate::rollout::{FailureReason, Rollout, Sealing, Verb};

impl<'a> Audit<'a> {
    /// Promise 7, of the config branch.
    pub(super) fn one_revert_a_rollout(&mut self) {
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
    }

    /// Promise 7, of failures.
    pub(super) fn failures_name_what_they_judged(&mut self) {
        let mut failed: BTreeSet<&str> = BTreeSet::new();
        for (seq, logged) in self.entries() {
            if logged.entry.kind == EntryKind::Failed {
                match &logged.state.rollout {
                    Some(rollout) if logged.entry.rollout.as_ref() == Some(&rollout.id) => {
                        if !failed.insert(&rollout.id) {
                            self.say(seq, "promise 7: it failed before");
                        }
                        let wrong = self.misnamed(seq, rollout);
                        self.wrong
                            .extend(wrong.map(|wrong| format!("entry {seq}: promise 7: {wrong}")));
                    }
                    _ => self.say(seq, "promise 7: a failure of no rollout"),
                }
            }
            for intent in &logged.intents {
                let has_failed = intent
                    .draft
                    .rollout
                    .as_deref()
                    .is_some_and(|rollout| failed.contains(rollout));
                match intent.draft.kind {
                    MoveKind::SourceRevert if !has_failed => {
                        self.say(seq, "promise 7: a revert of what has not failed");
                    }
                    MoveKind::Revert => {
                        self.give_back_has_a_reason(seq, logged, intent, has_failed);
                    }
                    _ => {}
                }
            }
        }
    }

    /// What a failure does not say of what it judged, or says wrongly.
    fn misnamed(&self, seq: usize, rollout: &Rollout) -> Option<&'static str> {
        let Some(failure) = &rollout.failure else {
            return Some("a failure without a reason");
        };
        if failure.reason == FailureReason::Requested {
            let asked = rollout.asked.iter().any(|asked| asked.verb == Verb::Revert);
            return (!asked).then_some("a revert that nobody asked for");
        }
        let before = &self.world.log[seq - 1].state;
        let Some(tree) = failure.tree.filter(|_| !failure.region.is_empty()) else {
            return Some("it names no region or tree");
        };
        if failure.reason == FailureReason::Harm && failure.gate.is_empty() {
            return Some("it names no gate");
        }
        let put =
            self.world.log.iter().take(seq).any(|known| {
                Self::promotes(known).iter().any(|intent| {
                    intent.draft.rollout.as_ref() == Some(&rollout.id)
                        && intent.draft.folders.iter().any(|change| {
                            change.region == failure.region && change.tree == Some(tree)
                        })
                })
            });
        let good = before.last_good.get(&failure.region).map(|good| good.tree);
        if !put && good == Some(tree) {
            return Some("it judged a tree that is last good");
        }
        let held = before
            .branches
            .get(&failure.wave)
            .and_then(|branch| branch.folders.get(&failure.region));
        if held != Some(&tree) {
            return Some("the tree that it judged is not there");
        }
        let all_good = rollout.plan.regions.iter().all(|(region, planned)| {
            before.last_good.get(region).map(|good| good.tree) == Some(planned.tree)
        });
        if all_good {
            return Some("every tree of it is last good");
        }
        (!before.proven).then_some("it failed before anything ever succeeded")
    }

    /// Trees are given back where something failed or a person ended it, and never those that are last good.
    fn give_back_has_a_reason(
        &mut self,
        seq: usize,
        logged: &'a Logged,
        intent: &Intent,
        has_failed: bool,
    ) {
        let world = self.world;
        let state = &logged.state;
        let is_aborted = state.rollout.as_ref().is_some_and(|rollout| {
            Some(&rollout.id) == intent.draft.rollout.as_ref()
                && matches!(rollout.sealing, Some(Sealing::Aborted { .. }))
        });
        let stands = world.commits.get(&intent.draft.old);
        for change in &intent.draft.folders {
            let region = &change.region;
            let is_isolated = state
                .quarantine
                .iter()
                .any(|item| item.isolated && item.digests.contains_key(region));
            if !has_failed && !is_aborted && !is_isolated {
                self.say(
                    seq,
                    format!("promise 7: {region} is given back for no reason"),
                );
            }
            let good = state.last_good.get(region).map(|good| good.tree);
            let stood = stands.and_then(|commit| commit.folders.get(region).copied());
            if good.is_some() && good == stood {
                self.say(
                    seq,
                    format!("promise 7: {region} has its last good tree already"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::world::{Source, World, id};
    use super::super::tests::{broken, failed, good, isolated, reverted_by_request};
    use crate::log::{EntryKind, FolderChange, MoveKind};
    use crate::rollout::{Failure, FailureReason};

    fn failure(world: &mut World) -> &mut Failure {
        let at = world.position(EntryKind::Failed);
        world.rollout_at(at).failure.as_mut().unwrap()
    }

    /// The canary gets some older tree.
    fn give_back(world: &mut World) {
        let mut draft = world.draft(MoveKind::Revert);
        draft.folders.push(FolderChange {
            region: "r0".to_owned(),
            tree: Some(id(&"older")),
        });
        world.allow(draft);
    }

    #[test]
    fn a_second_revert_is_named() {
        broken(
            "reverted twice",
            failed(),
            &[7],
            "was reverted 2 times",
            |world| {
                let rollout = world.state().rollout.clone().unwrap();
                world.add_source(Source {
                    parent: world.head(),
                    files: world.files(world.head()),
                    fixes: Vec::new(),
                    reverts: Some(rollout.id),
                });
            },
        );
        broken(
            "failed twice",
            failed(),
            &[7],
            "it failed before",
            |world| {
                let (end, at) = (world.end(), world.position(EntryKind::Failed));
                let rollout = world.log[at].entry.rollout.clone();
                let entry = &mut world.logged(end).entry;
                (entry.kind, entry.rollout) = (EntryKind::Failed, rollout);
            },
        );
        broken(
            "not failed",
            failed(),
            &[7],
            "a revert of what has not failed",
            |world| {
                let at = world.position(EntryKind::Failed);
                world.logged(at).entry.kind = EntryKind::Applied;
            },
        );
    }

    #[test]
    fn failures_that_do_not_name_what_they_judged_are_named() {
        broken("no reason", failed(), &[7], "without a reason", |world| {
            let at = world.position(EntryKind::Failed);
            world.rollout_at(at).failure = None;
        });
        broken(
            "no rollout",
            failed(),
            &[7],
            "a failure of no rollout",
            |world| {
                let at = world.position(EntryKind::Failed);
                world.logged(at).entry.rollout = None;
            },
        );
        broken(
            "no region",
            failed(),
            &[7, 8],
            "no region or tree",
            |world| {
                failure(world).region.clear();
            },
        );
        broken("no tree", failed(), &[7, 8], "no region or tree", |world| {
            failure(world).tree = None;
        });
        broken("no gate", failed(), &[7], "it names no gate", |world| {
            failure(world).gate.clear();
        });
        broken("another tree", failed(), &[7, 8], "is not there", |world| {
            failure(world).tree = Some(id(&"other"));
        });
        broken(
            "nobody asked",
            failed(),
            &[7],
            "nobody asked for",
            |world| {
                failure(world).reason = FailureReason::Requested;
            },
        );
        broken(
            "no request",
            reverted_by_request(),
            &[7],
            "nobody asked for",
            |world| {
                let at = world.position(EntryKind::Failed);
                world.rollout_at(at).asked.clear();
            },
        );
    }

    #[test]
    fn a_failure_where_every_tree_is_last_good_is_named() {
        broken(
            "all good",
            failed(),
            &[7],
            "every tree of it is last good",
            |world| {
                let proven = world.kinds();
                let first = proven.iter().position(|kind| *kind == EntryKind::Succeeded);
                let at = world.position(EntryKind::Failed);
                let plan = world.rollout_at(at).plan.clone();
                for seq in first.unwrap()..=at {
                    for (region, good) in &mut world.logged(seq).state.last_good {
                        good.tree = plan.regions[region].tree;
                    }
                }
            },
        );
    }

    #[test]
    fn give_backs_without_a_reason_are_named() {
        broken(
            "unasked",
            good(),
            &[7],
            "is given back for no reason",
            give_back,
        );
        broken(
            "not isolated",
            isolated(),
            &[7],
            "r3 is given back for no reason",
            |world| {
                for seq in 0..world.log.len() {
                    world.logged(seq).state.quarantine.clear();
                }
            },
        );
        broken(
            "good already",
            failed(),
            &[7],
            "has its last good tree already",
            give_back,
        );
    }
}
