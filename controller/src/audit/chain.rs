//! The log is one chain: numbers without gaps, epochs that only takeovers raise, trees that agree with the messages.

use tidegate_waves::log::EntryKind;

use super::story::Story;
use super::{Finding, Promise, Verdict, What};

const LOST: &str = "the log was rewound or rewritten: bring the missing entries back from a clone that has them, and see who may push the log";
const WRITTEN_BY_HAND: &str = "no controller writes that: see who pushed this entry, and put the log back to the entry before";

pub(super) fn check(story: &Story<'_>, expected: Option<&str>) -> Verdict {
    let mut verdict = Verdict::of(Promise::Log);
    if let Some(why) = &story.record.cut_off {
        verdict.find(Finding::new(
            format!("the log cannot be followed to its first entry: {why}"),
            LOST,
        ));
    }
    if let Some(expected) = expected {
        verdict.count(What::ExpectedEntries);
        let is_there = story
            .record
            .entries
            .iter()
            .any(|entry| entry.id.to_string().starts_with(expected));
        if !is_there {
            verdict.find(Finding::new(
                format!(
                    "the log no longer contains entry {expected}, which it is known to have had"
                ),
                LOST,
            ));
        }
    }
    numbers(story, &mut verdict);
    epochs(story, &mut verdict);
    for (place, entry) in story.judged() {
        verdict.count(What::Entries);
        let created = entry.kind == Some(EntryKind::Created);
        if created != (place == 0) {
            verdict.find(
                Finding::new(
                    "only the first entry is Created, and the first entry is nothing else",
                    LOST,
                )
                .at(story, place),
            );
        }
        if entry.kind.is_none() {
            verdict.find(
                Finding::new(
                    "its Tidegate-Entry is missing, stands twice, or names a kind that this version does not know",
                    "if a newer Tidegate writes this log, audit with that version; else see who pushed this entry",
                )
                .at(story, place),
            );
        }
        match &entry.state {
            Err(why) => verdict.find(
                Finding::new(
                    format!("its tree holds no state: {why}"),
                    "if a newer Tidegate writes this log, audit with that version; else see who pushed this entry",
                )
                .at(story, place),
            ),
            Ok(state) if Some(state.seq) != entry.seq || Some(state.epoch) != entry.epoch => {
                verdict.find(
                    Finding::new(
                        format!(
                            "its message says number {} and epoch {}, its state says {} and {}",
                            said(entry.seq),
                            said(entry.epoch),
                            state.seq,
                            state.epoch
                        ),
                        WRITTEN_BY_HAND,
                    )
                    .at(story, place),
                );
            }
            Ok(state) if story.record.fleet.as_ref().is_some_and(|fleet| *fleet != state.fleet) => {
                verdict.find(
                    Finding::new(
                        format!(
                            "its state is of the fleet {} on {}, and the newest entry's is of another",
                            state.fleet.name, state.fleet.branch
                        ),
                        WRITTEN_BY_HAND,
                    )
                    .at(story, place),
                );
            }
            Ok(_) => {}
        }
    }
    verdict
}

/// Each number is the one before and one; the first is 0.
fn numbers(story: &Story<'_>, verdict: &mut Verdict) {
    let mut next = Some(0);
    for (place, entry) in story.record.entries.iter().enumerate() {
        if entry.seq != next && story.judges(place) {
            verdict.find(
                Finding::new(
                    format!(
                        "it says Tidegate-Seq {}, where {} follows from the entry before",
                        said(entry.seq),
                        said(next)
                    ),
                    LOST,
                )
                .at(story, place),
            );
        }
        // Counted on from what it says, so that one gap is one finding.
        next = entry.seq.or(next).and_then(|seq| seq.checked_add(1));
    }
}

/// Each epoch is the one before, and one more with a takeover.
fn epochs(story: &Story<'_>, verdict: &mut Verdict) {
    let mut before: Option<u64> = None;
    for (place, entry) in story.record.entries.iter().enumerate() {
        let took_over = u64::from(entry.kind == Some(EntryKind::TakeOver));
        let wanted = before.map_or(Some(0), |before| before.checked_add(took_over));
        if entry.epoch != wanted && story.judges(place) {
            verdict.find(
                Finding::new(
                    format!(
                        "it says Tidegate-Epoch {}, where {} follows from the entry before: only TakeOver raises it, by one",
                        said(entry.epoch),
                        said(wanted)
                    ),
                    WRITTEN_BY_HAND,
                )
                .at(story, place),
            );
        }
        before = entry.epoch.or(wanted);
    }
}

fn said(number: Option<u64>) -> String {
    number.map_or_else(|| "nothing".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use tidegate_waves::log::EntryKind;

    use crate::audit::tests::world::clean;
    use crate::audit::tests::{broken, findings};
    use crate::audit::{Promise, Scope};

    #[test]
    fn a_log_that_is_no_chain_is_found() {
        let log = &[Promise::Log][..];
        broken("an entry is missing", log, "where 20 follows", |record| {
            record.entries.remove(20);
        });
        broken("the first is missing", log, "where 0 follows", |record| {
            record.entries.remove(0);
        });
        broken(
            "the epoch falls",
            log,
            "Tidegate-Epoch 0, where 1",
            |record| {
                record.entries[20].epoch = Some(0);
                record.state(20).epoch = 0;
            },
        );
        broken(
            "the epoch rises by itself",
            log,
            "Tidegate-Epoch 2, where 1",
            |record| {
                record.entries[20].epoch = Some(2);
                record.state(20).epoch = 2;
            },
        );
        broken(
            "a takeover does not raise it",
            log,
            "Tidegate-Epoch 1, where 2",
            |record| {
                record.entries[20].kind = Some(EntryKind::TakeOver);
            },
        );
        broken("no number", log, "Tidegate-Seq nothing", |record| {
            record.entries[20].seq = None;
        });
        broken("no kind", log, "Tidegate-Entry is missing", |record| {
            record.entries[20].kind = None;
        });
        broken(
            "created again",
            log,
            "only the first entry is Created",
            |record| {
                record.entries[20].kind = Some(EntryKind::Created);
            },
        );
        broken("no state", log, "holds no state: it is gone", |record| {
            record.entries[20].state = Err("it is gone".to_owned());
        });
        broken("another state", log, "its state says 77", |record| {
            record.state(20).seq = 77;
        });
        broken("another fleet", log, "of the fleet other", |record| {
            record.state(20).fleet.name = "other".to_owned();
        });
        broken("cut off", log, "cannot be followed", |record| {
            record.cut_off = Some("an object is missing".to_owned());
        });
    }

    #[test]
    fn an_expected_entry_that_is_gone_is_found() {
        let record = clean();
        let entry = record.entries[5].id.to_string();
        let scope = |expected: &str| Scope {
            expected: Some(expected.to_owned()),
            ..Scope::default()
        };
        assert_eq!(findings(&record, &scope(&entry)), []);
        assert_eq!(findings(&record, &scope(&entry[..12])), []);
        let found = findings(&record, &scope("0123456789"));
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .message
                .contains("no longer contains entry 0123456789")
        );
    }
}
