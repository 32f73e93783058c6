//! A clean history is clean. The rules' own tests change it, each so that one rule is broken.

pub(super) mod world;

use tidegate_waves::log::{Closing, DraftIntent, EntryKind, Intent, MoveKind, Outcome};
use tidegate_waves::oid::Oid;

use self::world::{CANARY, clean, id};
use super::record::{
    Branch, Commit, Permission, Record, RolloutRecord, RootChange, State, WaveRecord,
};
use super::{Finding, Promise, Scope, audit};

pub(super) fn findings(record: &Record, scope: &Scope) -> Vec<Finding> {
    audit(record, scope)
        .into_iter()
        .flat_map(|verdict| verdict.findings)
        .collect()
}

/// Changes the clean history, and expects findings about these promises and no other, one of which says this.
#[track_caller]
pub(super) fn broken(
    name: &str,
    promises: &[Promise],
    says: &str,
    change: impl FnOnce(&mut Record),
) {
    let mut record = clean();
    change(&mut record);
    let found = findings(&record, &Scope::default());
    let mut about: Vec<Promise> = found.iter().map(|finding| finding.promise).collect();
    about.dedup();
    assert_eq!(about, promises, "{name}: {found:#?}");
    assert!(
        found.iter().any(|finding| finding.message.contains(says)),
        "{name}: {found:#?}"
    );
}

impl Record {
    pub(super) fn state(&mut self, place: usize) -> &mut State {
        self.entries[place].state.as_mut().unwrap()
    }

    pub(super) fn rollout(&mut self, place: usize) -> &mut RolloutRecord {
        self.state(place).rollout.as_mut().unwrap()
    }

    pub(super) fn passed(&mut self, place: usize) -> &mut WaveRecord {
        self.state(place).passed.as_mut().unwrap()
    }

    pub(super) fn commit(&mut self, name: &str) -> &mut Commit {
        self.commits.get_mut(&id(name)).unwrap()
    }

    pub(super) fn branch(&mut self, reference: &str) -> &mut Branch {
        self.refs.get_mut(reference).unwrap()
    }

    /// Somebody pushes a commit to a branch.
    pub(super) fn push(&mut self, reference: &str, name: &str, commit: Commit) {
        let branch = self.branch(reference);
        branch.tip = Some(id(name));
        branch.chain.insert(0, id(name));
        branch.contains.insert(id(name));
        self.commits.insert(id(name), commit);
    }

    /// An entry allows a move for a rollout's revert; it is open from there on.
    pub(super) fn propose(
        &mut self,
        place: usize,
        reference: &str,
        old: Oid,
        new: &str,
        rollout: &str,
    ) {
        let onto = if old.is_zero() { id("m2") } else { old };
        self.commits.insert(
            id(new),
            Commit {
                parents: vec![onto],
                rollout: Some(rollout.to_owned()),
                by_log_author: true,
                is_by_its_author: true,
                ..Commit::default()
            },
        );
        let draft = DraftIntent {
            reference: reference.to_owned(),
            old,
            kind: MoveKind::SourceRevert,
            wave: String::new(),
            folders: Vec::new(),
            given: None,
            onto: Some(onto),
            rollout: Some(rollout.to_owned()),
            source: None,
        };
        self.allow(place, &draft, id(new));
    }

    /// An entry allows a move; it is open from there on.
    pub(super) fn allow(&mut self, place: usize, draft: &DraftIntent, new: Oid) {
        let entry = &mut self.entries[place];
        entry.parents.push(new);
        entry.intents.push(Permission {
            reference: draft.reference.clone(),
            old: draft.old,
            new,
        });
        for place in place..self.entries.len() {
            let draft = draft.clone();
            self.state(place).intents.push(Intent { draft, new });
        }
    }

    /// An entry closes a move.
    pub(super) fn close(&mut self, place: usize, reference: &str, new: &str, outcome: Outcome) {
        self.entries[place].closed.push(Closing {
            reference: reference.to_owned(),
            new: id(new),
            outcome,
        });
        for place in place..self.entries.len() {
            self.state(place)
                .intents
                .retain(|open| open.draft.reference != reference || open.new != id(new));
        }
    }

    /// Moves the closing of a commit from one entry to a later one; the states between list it as open.
    pub(super) fn close_later(&mut self, name: &str, from: usize, to: usize) {
        let entry = &mut self.entries[from];
        let at = entry
            .closed
            .iter()
            .position(|one| one.new == id(name))
            .unwrap();
        let closing = entry.closed.remove(at);
        let intent = self
            .state(from - 1)
            .intents
            .iter()
            .find(|one| one.new == id(name))
            .cloned();
        for place in from..to.min(self.entries.len()) {
            self.state(place).intents.extend(intent.clone());
        }
        if let Some(entry) = self.entries.get_mut(to) {
            entry.closed.push(closing);
        }
    }
}

pub(super) fn change(name: &str, now: &str, is_folder: bool) -> RootChange {
    RootChange {
        name: name.to_owned(),
        now: Some(id(now)),
        is_folder,
    }
}

#[test]
fn a_clean_history_is_clean_and_something_was_looked_at_for_each_promise() {
    let record = clean();
    let verdicts = audit(&record, &Scope::default());
    for verdict in &verdicts {
        assert_eq!(verdict.findings, [], "{}", verdict.promise);
        assert!(verdict.checked() > 0, "{}", verdict.promise);
    }
    let numbers: Vec<u8> = verdicts
        .iter()
        .map(|verdict| verdict.promise.number())
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 7, 9]);
}

#[test]
fn what_lies_before_the_first_judged_entry_is_read_and_not_reported() {
    let mut record = clean();
    record.entries[11].kind = Some(EntryKind::Progress);
    record.entries[4].epoch = Some(7);
    record.branch(CANARY).chain.insert(3, id("old"));
    let scope = |since| Scope {
        since,
        expected: None,
    };
    assert!(findings(&record, &scope(0)).len() >= 3);
    assert_eq!(findings(&record, &scope(19)), []);
    let verdicts = audit(&record, &scope(19));
    let entries = verdicts[0].checked();
    assert_eq!(entries, 3);
    // What is on a branch above what is judged is still found.
    record.push(CANARY, "foreign", Commit::default());
    assert_eq!(findings(&record, &scope(19)).len(), 1);
}

#[test]
fn a_long_history_of_nonsense_is_judged_without_a_crash() {
    let mut record = clean();
    let entries = record.entries.clone();
    for _ in 0..20 {
        record.entries.extend(entries.iter().rev().cloned());
    }
    record.commits.clear();
    record.plans.clear();
    assert!(!findings(&record, &Scope::default()).is_empty());
    assert!(
        !findings(
            &Record::default(),
            &Scope {
                since: 9,
                expected: Some("ab".to_owned())
            }
        )
        .is_empty()
    );
}
