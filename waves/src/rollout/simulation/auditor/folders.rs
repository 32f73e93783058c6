//! Promise 5: a commit of an intent changes its batch's folders alone, to what the intent says; refs are the table's.

use std::collections::{BTreeMap, BTreeSet};

use super::super::world::{MAIN, wave_ref};
use super::{Audit, brings_back};
use crate::log::{Intent, MoveKind};
use crate::oid::Oid;

impl Audit<'_> {
    /// Promise 5, for every commit that the log ever allowed, whether a branch holds it or not.
    pub(super) fn commits_change_their_batch_alone(&mut self) {
        for (seq, logged) in self.entries() {
            for intent in &logged.intents {
                let draft = &intent.draft;
                if !self.is_of_the_table(seq, intent) {
                    let (reference, kind) = (&draft.reference, draft.kind);
                    self.say(seq, format!("promise 5: {reference} is no ref for {kind}"));
                }
                if draft.kind == MoveKind::SourceRevert || brings_back(intent) {
                    continue;
                }
                let is_empty = matches!(
                    draft.kind,
                    MoveKind::Create | MoveKind::Seal | MoveKind::Adopt
                );
                if is_empty && !draft.folders.is_empty() {
                    self.say(seq, format!("promise 5: a {} changes folders", draft.kind));
                }
                self.commit_is_what_its_intent_says(seq, intent);
            }
        }
    }

    /// Whether the table of refs has this one, for this kind of move.
    fn is_of_the_table(&self, seq: usize, intent: &Intent) -> bool {
        let draft = &intent.draft;
        if draft.kind == MoveKind::SourceRevert {
            let proposal = draft
                .rollout
                .as_ref()
                .map(|rollout| format!("refs/heads/tidegate-revert/{rollout}"));
            return draft.reference == MAIN || Some(&draft.reference) == proposal.as_ref();
        }
        let is_known = self.world.log.iter().take(seq + 1).any(|logged| {
            let rollout = logged.state.rollout.as_ref();
            rollout.is_some_and(|rollout| rollout.plan.wave(&draft.wave).is_some())
        });
        is_known && draft.reference == wave_ref(&draft.wave)
    }

    fn commit_is_what_its_intent_says(&mut self, seq: usize, intent: &Intent) {
        let world = self.world;
        let draft = &intent.draft;
        let Some(commit) = world.commits.get(&intent.new) else {
            self.say(seq, "promise 5: its commit does not exist");
            return;
        };
        if commit.parent != (!draft.old.is_zero()).then_some(draft.old) {
            self.say(seq, "promise 5: its commit stands on another than it says");
        }
        let nothing = BTreeMap::new();
        let before = commit
            .parent
            .and_then(|parent| world.commits.get(&parent))
            .map_or(&nothing, |parent| &parent.folders);
        let batch: BTreeMap<&String, Option<&Oid>> = draft
            .folders
            .iter()
            .map(|change| (&change.region, change.tree.as_ref()))
            .collect();
        let regions: BTreeSet<&String> = before
            .keys()
            .chain(commit.folders.keys())
            .chain(batch.keys().copied())
            .collect();
        for region in regions {
            let now = commit.folders.get(region);
            match batch.get(region) {
                None if before.get(region) != now => {
                    self.say(seq, format!("promise 5: {region} is not of the batch"));
                }
                Some(wanted) if *wanted != now => {
                    let what = format!("promise 5: {region} gets another tree than it says");
                    self.say(seq, what);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::world::{id, wave_ref};
    use super::super::tests::{broken, good, newest, sealed};
    use crate::log::MoveKind;

    #[test]
    fn commits_that_change_more_than_their_batch_are_named() {
        broken(
            "another region",
            good(),
            &[5],
            "r2 is not of the batch",
            |world| {
                // The first of two on this branch.
                let second = world.tip("pilot");
                let first = world.commits[&second].parent.unwrap();
                world
                    .commit_at(first)
                    .folders
                    .insert("r2".to_owned(), id(&"other"));
            },
        );
        broken(
            "one region less",
            good(),
            &[5],
            "r1 is not of the batch",
            |world| {
                let tip = world.tip("pilot");
                world.commit_at(tip).folders.remove("r1");
            },
        );
        broken(
            "another tree",
            good(),
            &[5],
            "another tree than it says",
            |world| {
                let tip = world.tip("canary");
                world
                    .commit_at(tip)
                    .folders
                    .insert("r0".to_owned(), id(&"other"));
            },
        );
        broken(
            "on no branch",
            sealed(),
            &[5],
            "r2 is not of the batch",
            |world| {
                let (seq, which) = newest(world, MoveKind::Promote, "pilot");
                let new = world.log[seq].intents[which].new;
                world
                    .commit_at(new)
                    .folders
                    .insert("r2".to_owned(), id(&"other"));
            },
        );
        broken(
            "a seal",
            sealed(),
            &[5],
            "a seal changes folders",
            |world| {
                let (promoted, which) = newest(world, MoveKind::Promote, "pilot");
                let folders = world.log[promoted].intents[which].draft.folders.clone();
                let (seq, which) = newest(world, MoveKind::Seal, "pilot");
                world.logged(seq).intents[which].draft.folders = folders;
            },
        );
        broken(
            "another parent",
            good(),
            &[4, 5],
            "stands on another",
            |world| {
                let tip = world.tip("canary");
                let parent = world.commits[&tip].parent.unwrap();
                world.commit_at(tip).parent = world.commits[&parent].parent;
            },
        );
    }

    #[test]
    fn refs_that_are_not_of_the_table_are_named() {
        for (reference, wave) in [
            ("refs/heads/main", "canary"),
            ("refs/heads/tidegate/pilot", "canary"),
            ("refs/heads/tidegate/log", "log"),
        ] {
            broken(reference, good(), &[5], "is no ref for adopt", |world| {
                let mut draft = world.draft(MoveKind::Adopt);
                reference.clone_into(&mut draft.reference);
                wave.clone_into(&mut draft.wave);
                world.allow(draft);
            });
        }
        broken(
            "a revert",
            good(),
            &[5, 7],
            "is no ref for source-revert",
            |world| {
                let source = newest(world, MoveKind::Create, "canary");
                let intent = &mut world.logged(source.0).intents[source.1];
                assert_eq!(intent.draft.reference, wave_ref("canary"));
                intent.draft.kind = MoveKind::SourceRevert;
            },
        );
    }
}
