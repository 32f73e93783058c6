//! Promise 2: nothing is promoted behind an ending, and no ending overtakes a promotion.

use std::collections::{HashMap, HashSet};

use tidegate_waves::log::{EntryKind, MoveKind, Outcome};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{RolloutState, Sealing};

use super::record::Entry;
use super::story::{Move, Story, rollout_in};
use super::{Finding, Promise, Verdict, What};

const NOT_OURS: &str = "a controller does not do that: hold the fleet (tidegate hold), see who pushed this entry, and compare what the branch holds with tidegate status";

/// What the entries so far say.
#[derive(Default)]
struct Seen<'a> {
    /// How a rollout ended, the first time.
    ended: HashMap<&'a str, EntryKind>,
    /// The ending that a `Sealing` prepared.
    sealing: HashMap<&'a str, Option<EntryKind>>,
    /// Moves that an entry named as open behind its `Failed`.
    excused: HashSet<(&'a str, Oid)>,
    opened: HashSet<&'a str>,
}

pub(super) fn check(story: &Story<'_>) -> Verdict {
    let mut verdict = Verdict::of(Promise::Endings);
    let mut seen = Seen::default();
    story.replay(|place, entry, open| {
        let wrong = look(story, place, entry, open, &mut seen);
        if !story.judges(place) {
            return;
        }
        if entry.kind.is_some_and(is_ending) {
            verdict.count(What::Endings);
        }
        for promotion in story.moves_of(place) {
            if promotion.is(MoveKind::Promote) {
                verdict.count(What::Promotions);
            }
        }
        for finding in wrong {
            verdict.find(finding.at(story, place));
        }
    });
    sealed(story, &mut verdict);
    verdict
}

fn is_ending(kind: EntryKind) -> bool {
    matches!(
        kind,
        EntryKind::Failed | EntryKind::Succeeded | EntryKind::Superseded | EntryKind::Aborted
    )
}

/// Takes an entry in, and gives what is wrong with it.
fn look<'a>(
    story: &Story<'a>,
    place: usize,
    entry: &'a Entry,
    open: &[&Move<'a>],
    seen: &mut Seen<'a>,
) -> Vec<Finding> {
    let mut wrong = Vec::new();
    let rollout = entry.rollout.as_deref();
    let mut named: HashSet<(&str, Oid)> = HashSet::new();
    for (reference, new) in &entry.open {
        let is_open = entry.kind == Some(EntryKind::Failed)
            && open.iter().any(|known| {
                known.is(MoveKind::Promote)
                    && known.line.reference == *reference
                    && known.line.new == *new
            });
        if is_open {
            named.insert((reference, *new));
        } else {
            wrong.push(
                Finding::new(
                    "it names a move as open, and is no Failed behind which that promotion stays open",
                    NOT_OURS,
                )
                .on(reference)
                .about(*new),
            );
        }
    }
    seen.excused.extend(&named);
    wrong.extend(
        another_goes_on(story, place, entry)
            .into_iter()
            .map(|says| Finding::new(says, NOT_OURS)),
    );
    if entry.kind == Some(EntryKind::RolloutOpened)
        && let Some(rollout) = rollout
        && !seen.opened.insert(rollout)
    {
        wrong.push(Finding::new(
            format!("rollout {rollout} opened before: a retry is a new rollout"),
            NOT_OURS,
        ));
    }
    if let (Some(kind), Some(rollout)) = (entry.kind, rollout) {
        if let Some(prepared) = seen.sealing.get(rollout) {
            let other_ending = is_ending(kind) && prepared.is_some_and(|prepared| prepared != kind);
            if other_ending || matches!(kind, EntryKind::WavePassed | EntryKind::Succeeded) {
                wrong.push(Finding::new(
                    format!(
                        "{kind} follows a Sealing of rollout {rollout} that prepared another ending"
                    ),
                    NOT_OURS,
                ));
            }
        }
        if kind == EntryKind::WavePassed
            && let Some(ended) = seen.ended.get(rollout)
        {
            wrong.push(Finding::new(
                format!("a wave of rollout {rollout} passes behind that rollout's {ended}"),
                NOT_OURS,
            ));
        }
        if let Some(says) = is_otherwise(entry, kind, rollout) {
            wrong.push(Finding::new(says, NOT_OURS));
        }
        if is_ending(kind) {
            seen.sealing.remove(rollout);
            seen.ended.entry(rollout).or_insert(kind);
        }
        if kind == EntryKind::Sealing {
            let prepared = rollout_in(entry)
                .filter(|state| state.id == rollout)
                .and_then(|state| state.sealing.as_ref());
            // A state that cannot be read is found where the log is judged.
            if prepared.is_none() && entry.state.is_ok() {
                wrong.push(Finding::new(
                    format!("its state does not say which ending of rollout {rollout} it prepares"),
                    NOT_OURS,
                ));
            }
            seen.sealing.insert(rollout, prepared.map(ending));
        }
    }
    for promotion in story.moves_of(place) {
        let Some(rollout) = promotion
            .rollout
            .filter(|_| promotion.is(MoveKind::Promote))
        else {
            continue;
        };
        let behind = match (seen.ended.get(rollout), seen.sealing.contains_key(rollout)) {
            (Some(kind), _) => kind.to_string(),
            (None, true) => EntryKind::Sealing.to_string(),
            (None, false) => continue,
        };
        wrong.push(
            Finding::new(
                format!("it promotes for rollout {rollout}, behind that rollout's {behind}"),
                NOT_OURS,
            )
            .on(&promotion.line.reference)
            .about(promotion.line.new),
        );
    }
    if let Some(kind) = entry.kind {
        for left in open {
            if stays_open_wrongly(kind, rollout, left, &named, &seen.excused) {
                wrong.push(
                    Finding::new(
                        format!(
                            "{kind} of rollout {} was written while this move, allowed by entry {}, was open",
                            rollout.unwrap_or("(none)"),
                            story.number(left.place)
                        ),
                        NOT_OURS,
                    )
                    .on(&left.line.reference)
                    .about(left.line.new),
                );
            }
        }
    }
    wrong
}

/// Why an entry is about another rollout than the one that goes on.
fn another_goes_on(story: &Story<'_>, place: usize, entry: &Entry) -> Option<String> {
    let before = rollout_in(story.entry(place.checked_sub(1)?)?)?;
    // A state that cannot be read is found where the log is judged.
    let now = entry.state.as_ref().ok()?.rollout.as_ref();
    if entry.kind != Some(EntryKind::RolloutOpened) {
        let is_another =
            now.is_none_or(|now| now.id != before.id && story.opening(&now.id).is_some());
        return (is_another && story.opening(&before.id).is_some()).then(|| {
            format!(
                "its state no longer has rollout {}, and no other opened",
                before.id
            )
        });
    }
    let is_over = matches!(
        before.state,
        RolloutState::Succeeded
            | RolloutState::RolledBack
            | RolloutState::RollbackIncomplete
            | RolloutState::Superseded
            | RolloutState::Aborted
    );
    (!is_over).then(|| {
        format!(
            "it opens a rollout while {} is {:?}",
            before.id, before.state
        )
    })
}

/// How the state of an entry that ends a rollout, or its give-back, disagrees with that.
fn is_otherwise(entry: &Entry, kind: EntryKind, rollout: &str) -> Option<String> {
    let expected: &[RolloutState] = match kind {
        EntryKind::Succeeded => &[RolloutState::Succeeded],
        EntryKind::Superseded => &[RolloutState::Superseded],
        EntryKind::Aborted => &[RolloutState::Aborted],
        EntryKind::Failed => &[RolloutState::RollingBack],
        EntryKind::Reverted => &[RolloutState::RolledBack, RolloutState::RollbackIncomplete],
        _ => return None,
    };
    // A state that cannot be read is found where the log is judged.
    entry.state.as_ref().ok()?;
    match rollout_in(entry).filter(|record| record.id == rollout) {
        Some(record) => (!expected.contains(&record.state)).then(|| {
            format!(
                "it says {kind} of rollout {rollout}, which is {:?} in its state",
                record.state
            )
        }),
        // Of a failure that is found with its reason.
        None => (kind != EntryKind::Failed)
            .then(|| format!("it says {kind} of rollout {rollout}, and its state is of another")),
    }
}

/// Whether a move may not be open when an entry of this kind is written.
fn stays_open_wrongly(
    kind: EntryKind,
    rollout: Option<&str>,
    left: &Move<'_>,
    named: &HashSet<(&str, Oid)>,
    excused: &HashSet<(&str, Oid)>,
) -> bool {
    let key = (left.line.reference.as_str(), left.line.new);
    let promotes = left.is(MoveKind::Promote);
    match kind {
        EntryKind::Failed if left.rollout == rollout => promotes && !named.contains(&key),
        EntryKind::Failed | EntryKind::Reverted => promotes && !excused.contains(&key),
        EntryKind::Succeeded | EntryKind::Superseded | EntryKind::Aborted => {
            !left.is(MoveKind::SourceRevert)
        }
        _ => false,
    }
}

fn ending(sealing: &Sealing) -> EntryKind {
    match sealing {
        Sealing::Failed { .. } => EntryKind::Failed,
        Sealing::Superseded { .. } => EntryKind::Superseded,
        Sealing::Aborted { .. } => EntryKind::Aborted,
    }
}

/// What was sealed is on no branch.
fn sealed(story: &Story<'_>, verdict: &mut Verdict) {
    for known in &story.moves {
        let Some((place, Outcome::Sealed)) = known.closed else {
            continue;
        };
        if !story.judges(place) {
            continue;
        }
        verdict.count(What::SealedCommits);
        let holders = story
            .record
            .refs
            .iter()
            .filter(|(_, branch)| branch.contains.contains(&known.line.new));
        for (reference, _) in holders {
            verdict.find(
                Finding::new(
                    "a commit that was sealed is on this branch",
                    "somebody pushed it there by hand: give the branch its last good trees back (tidegate resume --restore)",
                )
                .at(story, place)
                .on(reference)
                .about(known.line.new),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_waves::log::EntryKind;
    use tidegate_waves::rollout::{RolloutState, Sealing};

    use crate::audit::tests::world::{BROAD, TWO, clean, id};
    use crate::audit::tests::{broken, findings};
    use crate::audit::{Promise, Scope};

    #[test]
    fn promotions_behind_an_ending_are_found() {
        let endings = &[Promise::Endings][..];
        broken(
            "behind Failed",
            &[Promise::Endings, Promise::Intents, Promise::Plan],
            "behind that rollout's Failed",
            |record| {
                record.commit("c4").rollout = Some(TWO.to_owned());
            },
        );
        broken(
            "behind Sealing",
            endings,
            "behind that rollout's Sealing",
            |record| {
                let entry = &mut record.entries[10];
                (entry.kind, entry.rollout) = (Some(EntryKind::Sealing), Some(TWO.to_owned()));
            },
        );
        broken(
            "open at Failed",
            endings,
            "Failed of rollout 22222222-7 was written while",
            |record| {
                record.close_later("b2", 13, 14);
            },
        );
        broken(
            "open at Succeeded",
            endings,
            "Succeeded of rollout 11111111-1",
            |record| {
                record.close_later("b1", 5, 7);
            },
        );
        broken(
            "open at Reverted",
            endings,
            "Reverted of rollout 22222222-7",
            |record| {
                record.close_later("b2", 13, 16);
            },
        );
        broken(
            "another ending than was prepared",
            endings,
            "prepared another ending",
            |record| {
                record.rollout(12).sealing = Some(Sealing::Aborted {
                    reason: "asked".to_owned(),
                    keep: false,
                });
            },
        );
        broken(
            "a wave passes behind Sealing",
            endings,
            "WavePassed follows a Sealing",
            |record| {
                record.entries[10].kind = Some(EntryKind::Sealing);
                record.entries[11].intents.clear();
                record.entries[12].intents.clear();
                record.entries[13].closed.clear();
                for place in 11..13 {
                    record.state(place).intents.clear();
                }
                record
                    .branch(BROAD)
                    .chain
                    .retain(|commit| *commit != id("seal"));
            },
        );
        for (place, kind) in [(6, "Succeeded"), (13, "Failed"), (15, "Reverted")] {
            let says = format!("it says {kind} of rollout");
            broken(kind, endings, &says, |record| {
                record.rollout(place).state = RolloutState::Running;
            });
        }
        broken("of another", endings, "its state is of another", |record| {
            record.entries[20].kind = Some(EntryKind::Reverted);
            record.entries[20].rollout = Some(TWO.to_owned());
        });
        broken(
            "a sealed commit on a branch",
            endings,
            "was sealed is on this branch",
            |record| {
                record.branch(BROAD).contains.insert(id("b2"));
            },
        );
        broken("sealing nothing", endings, "which ending", |record| {
            record.rollout(12).sealing = None;
        });
        broken(
            "open at Sealing",
            endings,
            "is no Failed behind which",
            |record| {
                record.entries[12].open.push((BROAD.to_owned(), id("b2")));
            },
        );
        broken("not open", endings, "is no Failed behind which", |record| {
            record.entries[13].open.push((BROAD.to_owned(), id("b2")));
        });
        broken(
            "no promotion",
            endings,
            "is no Failed behind which",
            |record| {
                record.close_later("seal", 13, 16);
                record.entries[13].open.push((BROAD.to_owned(), id("seal")));
            },
        );
        broken(
            "opened beside another",
            endings,
            "it opens a rollout while 22222222-7 is Running",
            |record| {
                record.rollout(18).state = RolloutState::Running;
            },
        );
        broken(
            "gone on with an older one",
            endings,
            "no longer has",
            |record| {
                let earlier = record.rollout(15).clone();
                *record.rollout(20) = earlier;
            },
        );
        broken("without any", endings, "no longer has", |record| {
            record.state(20).rollout = None;
        });
        broken(
            "opened again",
            &[Promise::Endings, Promise::Plan],
            "a retry is a new rollout",
            |record| {
                record.entries[20].kind = Some(EntryKind::RolloutOpened);
            },
        );
    }

    #[test]
    fn what_failed_names_as_open_may_stay_open() {
        let mut record = clean();
        record.close_later("b2", 13, 17);
        record.entries[13].open.push((BROAD.to_owned(), id("b2")));
        assert_eq!(findings(&record, &Scope::default()), []);
    }
}
