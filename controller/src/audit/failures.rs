//! Promise 7, of failures: they name what they judged, and that was there and not yet good.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidegate_waves::log::{EntryKind, MoveKind};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{Failure, FailureReason, Sealing};

use super::brought::Brought;
use super::record::{Entry, RolloutRecord};
use super::story::{Story, rollout_in};
use super::{Finding, Verdict, What};

const NOT_OURS: &str = "a controller does not do that: see who pushed this entry, and report it to Tidegate with the log if a controller did";

/// Judges every `Failed`, and gives the place of each rollout's first.
pub(super) fn check<'a>(
    story: &Story<'a>,
    brought: &Brought<'_>,
    verdict: &mut Verdict,
) -> HashMap<&'a str, usize> {
    let mut failed: HashMap<&str, usize> = HashMap::new();
    let mut asked: HashSet<&str> = HashSet::new();
    for (place, entry) in story.record.entries.iter().enumerate() {
        asked.extend(
            entry
                .rollout
                .as_deref()
                .filter(|rollout| asks_for_it(entry, rollout)),
        );
        if entry.kind != Some(EntryKind::Failed) {
            continue;
        }
        let judged = story.judges(place);
        if judged {
            verdict.count(What::Failures);
        }
        let mut wrong = Vec::new();
        match entry.rollout.as_deref() {
            Some(rollout) => {
                if failed.insert(rollout, place).is_some() {
                    wrong.push(format!("rollout {rollout} failed before"));
                }
                let was_asked = asked.contains(rollout);
                wrong.extend(names_too_little(
                    story, place, entry, rollout, was_asked, brought,
                ));
            }
            None => wrong.push("it names no rollout".to_owned()),
        }
        for message in wrong.into_iter().filter(|_| judged) {
            verdict.find(Finding::new(message, NOT_OURS).at(story, place));
        }
    }
    failed
}

/// Whether an entry accepts that a person wants the rollout taken back.
fn asks_for_it(entry: &Entry, rollout: &str) -> bool {
    let is_prepared = rollout_in(entry).is_some_and(|record| {
        record.id == rollout
            && matches!(&record.sealing, Some(Sealing::Failed { failure }) if failure.reason == FailureReason::Requested)
    });
    entry.kind == Some(EntryKind::Requested) && entry.accepted && is_prepared
}

/// What a `Failed` does not say of what it judged, or says wrongly.
fn names_too_little(
    story: &Story<'_>,
    place: usize,
    entry: &Entry,
    rollout: &str,
    was_asked: bool,
    brought: &Brought<'_>,
) -> Option<String> {
    // A state that cannot be read is found where the log is judged.
    let state = entry.state.as_ref().ok()?;
    let Some(record) = state.rollout.as_ref().filter(|record| record.id == rollout) else {
        return Some(format!("its state says nothing of rollout {rollout}"));
    };
    let Some(failure) = &record.failure else {
        return Some("it names no region, gate and tree".to_owned());
    };
    let Some(good) = last_good(story, record) else {
        return Some("the last good trees that its rollout started from cannot be read".to_owned());
    };
    // A rollout that never opened is found where plans are judged.
    let opened = story.opening(rollout).and_then(|opening| opening.rollout);
    if opened.is_some_and(|opened| last_good(story, opened) != Some(good)) {
        return Some(
            "the last good trees that its rollout started from are not those that its opening recorded"
                .to_owned(),
        );
    }
    if failure.reason == FailureReason::Requested {
        return (!was_asked).then(|| {
            format!("it says that a person asked to take rollout {rollout} back, and no entry accepts such a request")
        });
    }
    let Some(tree) = failure.tree.filter(|_| !failure.region.is_empty()) else {
        return Some("it does not name the region and the tree that it judged".to_owned());
    };
    if failure.gate.is_empty() && failure.reason == FailureReason::Harm {
        return Some(format!(
            "it names no gate for the harm that it found in {}",
            failure.region
        ));
    }
    if !brought.before(place, &failure.region, tree) {
        return Some(format!(
            "it judged a tree of {} that nothing had brought there",
            failure.region
        ));
    }
    if good.get(&failure.region) == Some(&tree)
        && !was_put_there(story, place, rollout, failure, tree)
    {
        return Some(format!(
            "it judged a tree of {} that is last good there, and that the rollout did not bring",
            failure.region
        ));
    }
    let plan = story.plan(rollout)?;
    let is_planned = plan
        .waves
        .iter()
        .any(|wave| wave.name == failure.wave && wave.regions.contains(&failure.region));
    if !is_planned {
        return Some(format!(
            "it judged {} in wave {:?}, where the plan does not have it",
            failure.region, failure.wave
        ));
    }
    let brings_nothing = plan
        .regions
        .iter()
        .all(|(region, planned)| good.get(region) == Some(&planned.tree));
    brings_nothing.then(|| format!("every tree of rollout {rollout} is last good"))
}

/// The last good trees that a rollout started from, as an entry has them.
fn last_good<'a>(story: &Story<'a>, record: &RolloutRecord) -> Option<&'a BTreeMap<String, Oid>> {
    story.record.last_good.get(&record.base_last_good?)
}

/// Whether a rollout brought a tree to the region that it failed in.
fn was_put_there(
    story: &Story<'_>,
    place: usize,
    rollout: &str,
    failure: &Failure,
    tree: Oid,
) -> bool {
    story.moves_for(rollout).any(|known| {
        known.place < place
            && known.is(MoveKind::Promote)
            && known
                .changes()
                .any(|change| change.name == failure.region && change.now == Some(tree))
    })
}

#[cfg(test)]
mod tests {
    use tidegate_waves::log::EntryKind;
    use tidegate_waves::rollout::{Failure, FailureReason, Sealing};

    use crate::audit::record::Record;
    use crate::audit::tests::world::{TWO, clean, id};
    use crate::audit::tests::{broken, findings};
    use crate::audit::{Promise, Scope};

    fn failure(record: &mut Record) -> &mut Failure {
        record.rollout(13).failure.as_mut().unwrap()
    }

    #[test]
    fn failures_that_do_not_name_what_they_judged_are_found() {
        let reverts = &[Promise::Reverts][..];
        broken(
            "no failure",
            reverts,
            "names no region, gate and tree",
            |record| {
                record.rollout(13).failure = None;
            },
        );
        broken("no gate", reverts, "names no gate", |record| {
            failure(record).gate.clear();
        });
        broken("no tree", reverts, "region and the tree", |record| {
            failure(record).tree = None;
        });
        broken("another tree", reverts, "nothing had brought", |record| {
            failure(record).tree = Some(id("other"));
        });
        broken(
            "a tree of later",
            reverts,
            "nothing had brought",
            |record| {
                failure(record).tree = Some(id("west3"));
            },
        );
        broken("another region", reverts, "nothing had brought", |record| {
            failure(record).region = "north".to_owned();
        });
        broken("another wave", reverts, "in wave \"broad\"", |record| {
            failure(record).wave = "broad".to_owned();
        });
        broken(
            "a tree that is last good",
            reverts,
            "that is last good there",
            |record| {
                let failure = failure(record);
                (failure.region, failure.tree) = ("east".to_owned(), Some(id("east1")));
            },
        );
        broken(
            "every tree is last good",
            reverts,
            "every tree of rollout",
            |record| {
                let good = record.last_good.get_mut(&id("good1")).unwrap();
                let other = good.clone();
                good.insert("west".to_owned(), id("west2"));
                good.insert("east".to_owned(), id("east2"));
                // What is given back is what was good.
                record.last_good.insert(id("good0"), other);
                record.state(13).last_good = Some(id("good0"));
            },
        );
        broken("failed twice", reverts, "failed before", |record| {
            let entry = &mut record.entries[20];
            (entry.kind, entry.rollout) = (Some(EntryKind::Failed), Some(TWO.to_owned()));
        });
    }

    #[test]
    fn failures_count_from_what_their_opening_recorded() {
        let reverts = &[Promise::Reverts][..];
        broken("no file", reverts, "cannot be read", |record| {
            record.rollout(13).base_last_good = None;
        });
        broken("an unreadable file", reverts, "cannot be read", |record| {
            record.rollout(13).base_last_good = Some(id("good9"));
        });
        broken(
            "another file",
            reverts,
            "not those that its opening",
            |record| {
                let mut other = record.last_good[&id("good1")].clone();
                other.insert("east".to_owned(), id("east9"));
                record.last_good.insert(id("good9"), other);
                record.rollout(13).base_last_good = Some(id("good9"));
            },
        );
        // The same trees, as another version wrote them.
        let mut record = clean();
        let same = record.last_good[&id("good1")].clone();
        record.last_good.insert(id("good9"), same);
        record.rollout(13).base_last_good = Some(id("good9"));
        assert_eq!(findings(&record, &Scope::default()), []);
    }

    #[test]
    fn a_revert_that_a_person_wants_is_asked_for() {
        let reverts = &[Promise::Reverts][..];
        let asked = |record: &mut Record, reason: FailureReason| {
            let failure = Failure {
                reason,
                ..record.rollout(13).failure.clone().unwrap()
            };
            let entry = &mut record.entries[10];
            (entry.kind, entry.accepted) = (Some(EntryKind::Requested), true);
            record.rollout(10).sealing = Some(Sealing::Failed { failure });
        };
        let requested = |record: &mut Record| {
            let failure = failure(record);
            failure.reason = FailureReason::Requested;
            failure.region.clear();
            failure.tree = None;
        };
        broken("nobody asked", reverts, "no entry accepts such", requested);
        broken("refused", reverts, "no entry accepts such", |record| {
            asked(record, FailureReason::Requested);
            requested(record);
            record.entries[10].accepted = false;
        });
        broken(
            "something else",
            reverts,
            "no entry accepts such",
            |record| {
                asked(record, FailureReason::Harm);
                requested(record);
            },
        );
        let mut record = clean();
        asked(&mut record, FailureReason::Requested);
        requested(&mut record);
        assert_eq!(findings(&record, &Scope::default()), []);
    }
}
