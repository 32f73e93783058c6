//! Promise 7, of wave branches: beside promotions a branch gets only what was good there, and for a reason.
//!
//! What a commit says that it is for decides which rules judge it, so whatever is no promotion must not bring a tree
//! that only a promotion may bring.

use std::collections::HashSet;

use tidegate_waves::log::{EntryKind, MoveKind, Outcome};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::Sealing;

use super::brought::Brought;
use super::record::Entry;
use super::story::{Move, Story, rollout_in};
use super::{Finding, NOT_OURS, Verdict};

/// What the entries so far say.
#[derive(Default)]
struct Seen<'a> {
    /// Rollouts that failed.
    failed: HashSet<&'a str>,
    /// Rollouts in which a region failed by itself, or a person asked for something.
    told: HashSet<&'a str>,
    /// What a region may get back beside its last good tree, as openings recorded it.
    recorded: HashSet<(&'a str, Oid)>,
    /// Commits that were on a wave branch, as far as the log knew.
    known: HashSet<(&'a str, Oid)>,
}

pub(super) fn check(story: &Story<'_>, brought: &Brought<'_>, verdict: &mut Verdict) {
    let mut seen = Seen::default();
    for (place, entry) in story.record.entries.iter().enumerate() {
        seen.take(entry);
        for known in story.moves_of(place) {
            if story.record.wave_of(&known.line.reference).is_none() {
                continue;
            }
            if story.judges(place)
                && let Some(wrong) = is_not_for_what_it_says(story, entry, known, &seen, brought)
            {
                verdict.find(
                    Finding::new(wrong, NOT_OURS)
                        .at(story, place)
                        .on(&known.line.reference)
                        .about(known.line.new),
                );
            }
        }
    }
}

impl<'a> Seen<'a> {
    fn take(&mut self, entry: &'a Entry) {
        for closing in &entry.closed {
            if closing.outcome == Outcome::Applied {
                self.known.insert((&closing.reference, closing.new));
            }
        }
        for (reference, id) in &entry.drift {
            self.known.insert((reference, *id));
        }
        let rollout = entry.rollout.as_deref();
        match entry.kind {
            Some(EntryKind::Failed) => self.failed.extend(rollout),
            Some(EntryKind::RegionFailed) => self.told.extend(rollout),
            Some(EntryKind::Requested) if entry.accepted => self.told.extend(rollout),
            Some(EntryKind::RolloutOpened) => {
                let trees = rollout_in(entry)
                    .into_iter()
                    .flat_map(|known| &known.revert_trees);
                self.recorded
                    .extend(trees.map(|(region, tree)| (region.as_str(), *tree)));
            }
            _ => {}
        }
    }
}

/// Why a move is not what its kind is for.
fn is_not_for_what_it_says(
    story: &Story<'_>,
    entry: &Entry,
    known: &Move<'_>,
    seen: &Seen<'_>,
    brought: &Brought<'_>,
) -> Option<String> {
    let was_asked = entry.kind == Some(EntryKind::Requested) && entry.accepted;
    let Some(kind) = known.kind else {
        // A commit that is not there is found where intents are judged.
        return known
            .commit
            .map(|_| "neither its commit nor the entry's state says what it is for".to_owned());
    };
    match kind {
        MoveKind::Adopt | MoveKind::Restore if !was_asked => Some(format!(
            "it is to {kind}, which only a person asks for, and the entry accepts no request"
        )),
        MoveKind::Create | MoveKind::Promote | MoveKind::Seal | MoveKind::Adopt => None,
        MoveKind::SourceRevert => Some("it reverts the source on a wave's branch".to_owned()),
        MoveKind::Revert => gives_back_wrongly(story, entry, known, seen),
        MoveKind::Leave => known
            .changes()
            .find(|change| change.now.is_some())
            .map(|change| {
                format!(
                    "it is to let folders go, and brings a tree to {}",
                    change.name
                )
            }),
        MoveKind::Restore if known.line.old.is_zero() => {
            let was_there = seen
                .known
                .contains(&(known.line.reference.as_str(), known.line.new));
            (!was_there).then(|| {
                "it brings the branch back to a commit that the log never knew there".to_owned()
            })
        }
        MoveKind::Restore => known
            .changes()
            .find(|change| {
                change.now.is_some_and(|tree| {
                    !brought.before(known.place, &change.name, tree)
                        && !was_good(story, entry, seen, (&change.name, tree))
                })
            })
            .map(|change| {
                format!(
                    "it puts a tree back to {} that was never there",
                    change.name
                )
            }),
    }
}

/// Why a give-back has no reason, or gives something else than what was good.
fn gives_back_wrongly(
    story: &Story<'_>,
    entry: &Entry,
    known: &Move<'_>,
    seen: &Seen<'_>,
) -> Option<String> {
    let Some(rollout) = known.rollout else {
        return Some("it gives trees back for no rollout".to_owned());
    };
    // A state that cannot be read is found where the log is judged.
    let state = entry.state.as_ref().ok()?;
    let is_aborted = rollout_in(entry).is_some_and(|record| {
        record.id == rollout && matches!(record.sealing, Some(Sealing::Aborted { keep: false, .. }))
    });
    if !seen.failed.contains(rollout) && !is_aborted {
        let alone = known.changes().find(|change| {
            let isolated = (rollout.to_owned(), change.name.clone());
            !seen.told.contains(rollout) || !state.isolated.contains(&isolated)
        });
        if let Some(change) = alone {
            return Some(format!(
                "it gives {} back for rollout {rollout}, which neither failed nor was aborted, and that region did not fail alone",
                change.name
            ));
        }
    }
    known
        .changes()
        .find(|change| {
            change
                .now
                .is_none_or(|tree| !was_good(story, entry, seen, (change.name.as_str(), tree)))
        })
        .map(|change| {
            format!(
                "it gives {} a tree back that is not its last good one",
                change.name
            )
        })
}

/// Whether a tree is a region's last good one, or what an opening recorded to be given back instead.
fn was_good(
    story: &Story<'_>,
    entry: &Entry,
    seen: &Seen<'_>,
    (region, tree): (&str, Oid),
) -> bool {
    let last_good = entry
        .state
        .as_ref()
        .ok()
        .and_then(|state| story.record.last_good.get(&state.last_good?));
    seen.recorded.contains(&(region, tree))
        || last_good.is_some_and(|good| good.get(region) == Some(&tree))
}

#[cfg(test)]
mod tests {
    use tidegate_waves::log::{DraftIntent, EntryKind, FolderChange, MoveKind, Outcome};
    use tidegate_waves::oid::Oid;
    use tidegate_waves::rollout::Sealing;

    use crate::audit::record::{Commit, Record, RootChange};
    use crate::audit::tests::world::{BROAD, CANARY, THREE, TWO, clean, id};
    use crate::audit::tests::{broken, change, findings};
    use crate::audit::{Promise, Scope};

    const REVERTS: &[Promise] = &[Promise::Reverts];

    impl Record {
        /// The newest promotion says that it is something else.
        fn disguise(&mut self, kind: MoveKind) {
            self.commit("c4").kind = Some(kind);
            self.state(21).intents[0].draft.kind = kind;
        }

        /// An entry allows a move of the second wave for the rollout that is under way, with this tree for its region.
        fn bring(&mut self, place: usize, kind: MoveKind, tree: Option<&str>) {
            let rollout = Some(THREE.to_owned());
            let tree = tree.map(id);
            self.commits.insert(
                id("b4"),
                Commit {
                    parents: vec![id("b3")],
                    kind: Some(kind),
                    rollout: rollout.clone(),
                    changes: Some(vec![RootChange {
                        now: tree,
                        ..change("east", "", true)
                    }]),
                    ..Commit::default()
                },
            );
            let draft = DraftIntent {
                reference: BROAD.to_owned(),
                old: id("b3"),
                kind,
                wave: "broad".to_owned(),
                folders: vec![FolderChange {
                    region: "east".to_owned(),
                    tree,
                }],
                given: None,
                onto: None,
                rollout,
                source: None,
            };
            self.allow(place, &draft, id("b4"));
        }

        fn comes_back(&mut self, place: usize, to: &str) {
            let draft = DraftIntent {
                reference: CANARY.to_owned(),
                old: Oid::ZERO,
                kind: MoveKind::Restore,
                wave: "canary".to_owned(),
                folders: Vec::new(),
                given: Some(id(to)),
                onto: None,
                rollout: None,
                source: None,
            };
            self.allow(place, &draft, id(to));
            self.close(place + 1, CANARY, to, Outcome::Applied);
        }
    }

    fn is_clean(change: impl FnOnce(&mut Record)) {
        let mut record = clean();
        change(&mut record);
        assert_eq!(findings(&record, &Scope::default()), []);
    }

    #[test]
    fn promotions_that_say_that_they_are_something_else_are_found() {
        for (kind, says) in [
            (MoveKind::Revert, "neither failed nor was aborted"),
            (MoveKind::Restore, "which only a person asks for"),
            (MoveKind::Leave, "brings a tree to west"),
            (
                MoveKind::SourceRevert,
                "reverts the source on a wave's branch",
            ),
        ] {
            broken(&kind.to_string(), REVERTS, says, |record| {
                record.disguise(kind);
            });
        }
        broken(
            "nothing",
            &[Promise::Intents, Promise::Reverts],
            "says what it is for",
            |record| {
                record.commit("c4").kind = None;
                record.state(21).intents.clear();
            },
        );
    }

    #[test]
    fn give_backs_have_a_reason() {
        broken("no reason", REVERTS, "east back for rollout", |record| {
            record.bring(20, MoveKind::Revert, Some("east1"));
        });
        broken("for nothing", REVERTS, "for no rollout", |record| {
            record.bring(20, MoveKind::Revert, Some("east1"));
            record.commit("b4").rollout = None;
            record.state(20).intents[0].draft.rollout = None;
        });
        let isolate = |record: &mut Record, region: &str| {
            record.entries[20].kind = Some(EntryKind::RegionFailed);
            record.bring(20, MoveKind::Revert, Some("east1"));
            let isolated = (THREE.to_owned(), region.to_owned());
            record.state(20).isolated.insert(isolated);
        };
        is_clean(|record| isolate(record, "east"));
        broken("another failed", REVERTS, "did not fail alone", |record| {
            isolate(record, "west");
        });
        broken("nobody said so", REVERTS, "did not fail alone", |record| {
            isolate(record, "east");
            record.entries[20].kind = Some(EntryKind::Progress);
        });
        let abort = |record: &mut Record, keep: bool| {
            record.bring(20, MoveKind::Revert, Some("east1"));
            let reason = "asked".to_owned();
            record.rollout(20).sealing = Some(Sealing::Aborted { reason, keep });
        };
        is_clean(|record| abort(record, false));
        broken("kept", REVERTS, "neither failed nor", |record| {
            abort(record, true);
        });
    }

    #[test]
    fn only_what_was_good_is_given_back() {
        // A promotion of what failed reached its branch late.
        is_clean(|record| {
            record.bring(20, MoveKind::Revert, Some("east1"));
            record.commit("b4").rollout = Some(TWO.to_owned());
            record.state(20).intents[0].draft.rollout = Some(TWO.to_owned());
            record.close(21, BROAD, "b4", Outcome::Applied);
            let commit = record.commit("b4").clone();
            record.push(BROAD, "b4", commit);
        });
        broken("another tree", REVERTS, "not its last good one", |record| {
            record.entries[20].kind = Some(EntryKind::RegionFailed);
            record.bring(20, MoveKind::Revert, Some("other"));
            let isolated = (THREE.to_owned(), "east".to_owned());
            record.state(20).isolated.insert(isolated);
        });
        broken("no tree", REVERTS, "not its last good one", |record| {
            record.entries[20].kind = Some(EntryKind::RegionFailed);
            record.bring(20, MoveKind::Revert, None);
            let isolated = (THREE.to_owned(), "east".to_owned());
            record.state(20).isolated.insert(isolated);
        });
        is_clean(|record| {
            record.entries[20].kind = Some(EntryKind::RegionFailed);
            record.bring(20, MoveKind::Revert, Some("kept"));
            let isolated = (THREE.to_owned(), "east".to_owned());
            record.state(20).isolated.insert(isolated);
            let kept = ("east".to_owned(), id("kept"));
            record.rollout(19).revert_trees.extend([kept]);
        });
    }

    #[test]
    fn what_people_ask_for_is_theirs() {
        let asked = |record: &mut Record| {
            record.entries[20].kind = Some(EntryKind::Requested);
            record.entries[20].accepted = true;
        };
        is_clean(|record| {
            asked(record);
            record.bring(20, MoveKind::Restore, Some("east2"));
        });
        broken("never there", REVERTS, "was never there", |record| {
            asked(record);
            record.bring(20, MoveKind::Restore, Some("other"));
        });
        broken("refused", REVERTS, "accepts no request", |record| {
            record.entries[17].accepted = false;
        });
        is_clean(|record| {
            asked(record);
            record.comes_back(20, "c3");
        });
        broken(
            "another commit",
            &[Promise::Forward, Promise::Reverts],
            "never knew there",
            |record| {
                asked(record);
                record.comes_back(20, "b3");
            },
        );
    }
}
