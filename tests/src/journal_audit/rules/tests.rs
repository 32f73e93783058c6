use super::super::{Closed, Commits, Entry};
use super::*;

const CANARY: &str = "refs/heads/tidegate/canary";
const ZERO: &str = "0000000000000000000000000000000000000000";

/// A small history: what the server's journal and its log say, and the commits.
#[derive(Default)]
struct History {
    journal: Vec<Update>,
    entries: Vec<Entry>,
    /// By id: the parent, what it is for, and whose it is.
    commits: BTreeMap<String, (Option<String>, &'static str, &'static str)>,
}

impl Commits for History {
    fn is_ancestor(&self, commit: &str, of: &str) -> bool {
        let mut at = Some(of.to_owned());
        while let Some(id) = at {
            if id == commit {
                return true;
            }
            at = self
                .commits
                .get(&id)
                .and_then(|(parent, ..)| parent.clone());
        }
        false
    }

    fn author(&self, commit: &str) -> String {
        let found = self.commits.get(commit);
        found.map_or_else(String::new, |(.., author)| (*author).to_owned())
    }

    fn kind(&self, commit: &str) -> String {
        let found = self.commits.get(commit);
        found.map_or_else(String::new, |(_, kind, _)| (*kind).to_owned())
    }

    fn rollout(&self, commit: &str) -> String {
        if self.kind(commit).is_empty() {
            String::new()
        } else {
            "r1".to_owned()
        }
    }
}

impl History {
    fn commit(&mut self, id: &str, parent: &str, kind: &'static str) {
        let parent = (parent != ZERO).then(|| parent.to_owned());
        let author = if kind.is_empty() {
            "Jo Engineer"
        } else {
            "Tidegate"
        };
        self.commits.insert(id.to_owned(), (parent, kind, author));
    }

    fn moves(&mut self, name: &str, old: &str, new: &str) {
        self.journal.push(Update {
            sequence: self.journal.len(),
            name: name.to_owned(),
            old: old.to_owned(),
            new: new.to_owned(),
        });
    }

    /// The next entry, pushed at once, with moves of the canary's branch that it allows and closes.
    fn entry(&mut self, kind: &str, intents: &[(&str, &str)], closed: &[(&str, &str)]) {
        let parent = self.entries.last().map(|entry| entry.id.clone());
        let id = format!("log{}", self.entries.len());
        let old = parent.clone().unwrap_or_else(|| ZERO.to_owned());
        self.commit(&id, &old, "entry");
        self.moves(LOG, &old, &id);
        self.entries.push(Entry {
            id,
            parent,
            kind: kind.to_owned(),
            rollout: "r1".to_owned(),
            wave: "canary".to_owned(),
            intents: intents
                .iter()
                .map(|(old, new)| (CANARY.to_owned(), (*old).to_owned(), (*new).to_owned()))
                .collect(),
            closed: closed
                .iter()
                .map(|(new, outcome)| Closed {
                    reference: CANARY.to_owned(),
                    new: (*new).to_owned(),
                    outcome: (*outcome).to_owned(),
                })
                .collect(),
            open: Vec::new(),
            drift: Vec::new(),
        });
    }

    fn judged(&self) -> Result<(), String> {
        judge(&self.journal, &self.entries, self, &BTreeSet::new())
    }
}

/// A promotion and a second one, each intent, branch, outcome.
fn honest() -> History {
    let mut history = History::default();
    history.commit("c1", ZERO, "promote");
    history.commit("c2", "c1", "promote");
    history.entry("RolloutOpened", &[(ZERO, "c1")], &[]);
    history.moves(CANARY, ZERO, "c1");
    history.entry("WavePassed", &[("c1", "c2")], &[("c1", "applied")]);
    history.moves(CANARY, "c1", "c2");
    history.entry("Succeeded", &[], &[("c2", "applied")]);
    history
}

/// A promotion that a seal comes before, or a foreign commit.
fn lost(winner: &'static str, outcome: &str) -> History {
    let mut history = History::default();
    history.commit("c1", ZERO, "create");
    history.commit("c2", "c1", "promote");
    history.commit("c3", "c1", winner);
    history.entry("RolloutOpened", &[(ZERO, "c1")], &[]);
    history.moves(CANARY, ZERO, "c1");
    history.entry("Promote", &[("c1", "c2")], &[("c1", "applied")]);
    if winner == "seal" {
        history.entry("Sealing", &[("c1", "c3")], &[]);
    }
    history.moves(CANARY, "c1", "c3");
    let closed = [("c2", outcome), ("c3", "applied")];
    let closed = &closed[..if winner == "seal" { 2 } else { 1 }];
    history.entry("Failed", &[], closed);
    if winner.is_empty() {
        let entry = history.entries.last_mut().unwrap();
        entry.drift.push((CANARY.to_owned(), "c3".to_owned()));
    }
    history
}

#[track_caller]
fn names(mut history: History, what: &str, tamper: impl FnOnce(&mut History)) {
    assert_eq!(history.judged(), Ok(()), "before");
    tamper(&mut history);
    let wrong = history.judged().expect_err(what);
    assert!(wrong.contains(what), "{wrong}");
}

#[test]
fn honest_histories_pass() {
    for history in [honest(), lost("seal", "sealed"), lost("", "overtaken")] {
        assert_eq!(history.judged(), Ok(()));
    }
}

#[test]
fn a_branch_that_moves_before_its_intent_is_written_is_named() {
    for at in [0, 2] {
        names(honest(), "no intent allows", |history| {
            history.journal.swap(at, at + 1);
        });
    }
    names(honest(), "no intent allows", |history| {
        history.entries[1].intents.clear();
        history.entries[2].closed.clear();
    });
}

#[test]
fn an_outcome_that_is_written_before_its_branch_moves_is_named() {
    // The end of the log and of the branches is the honest one: the order alone tells.
    names(honest(), "it does not stand yet on", |history| {
        history.journal.swap(3, 4);
    });
    names(honest(), "it does not stand yet on", |history| {
        history.journal.remove(3);
    });
}

#[test]
fn an_outcome_that_the_branch_contradicts_is_named() {
    let close_as = |outcome: &'static str| {
        move |history: &mut History| {
            let entry = history.entries.last_mut().unwrap();
            entry.closed[0].outcome = outcome.to_owned();
        }
    };
    names(honest(), "it stands on", close_as("overtaken"));
    names(honest(), "it stands on", close_as("sealed"));
    names(honest(), "no outcome", close_as("done"));
    let foreign = || lost("", "overtaken");
    names(foreign(), "no seal stands on", close_as("sealed"));
    names(foreign(), "it does not stand yet on", close_as("applied"));
    // Closed while the branch still showed the old commit: the push may yet arrive.
    names(foreign(), "nothing else stands on", |history| {
        let last = history.journal.len() - 1;
        history.journal.swap(last, last - 1);
    });
    names(lost("seal", "sealed"), "no seal stands on", |history| {
        history.commits.get_mut("c3").unwrap().1 = "restore";
    });
}

#[test]
fn moves_that_repeat_or_leave_the_way_are_named() {
    names(honest(), "moved twice", |history| {
        history.moves(CANARY, "c2", "c2");
        history.entries[1]
            .intents
            .push((CANARY.to_owned(), "c2".to_owned(), "c2".to_owned()));
    });
    names(honest(), "deleted", |history| {
        history.moves(CANARY, "c2", ZERO);
    });
    names(honest(), "no fast-forward", |history| {
        history.moves(CANARY, "c2", "c1");
    });
    names(honest(), "more than one entry", |history| {
        history.journal.drain(2..4);
        history.journal[2].old = "log0".to_owned();
    });
    names(honest(), "no intent allows", |history| {
        history.commit("m1", ZERO, "source-revert");
        history.moves(MAIN, ZERO, "m1");
    });
}

#[test]
fn a_journal_that_stopped_before_the_log_did_is_named() {
    for moves in 0..honest().journal.len() {
        names(honest(), "the journal ends with", |history| {
            history.journal.truncate(moves);
        });
    }
}

#[test]
fn intents_that_are_closed_twice_or_never_are_named() {
    names(honest(), "closes what is not open", |history| {
        history.entry("Progress", &[], &[("c2", "applied")]);
    });
    names(honest(), "allows again", |history| {
        history.entry("Progress", &[("c1", "c2")], &[]);
        history.entry("Progress", &[("c1", "c2")], &[]);
    });
    names(honest(), "still open", |history| {
        history.entries[2].closed.clear();
    });
}

#[test]
fn promotions_behind_a_failure_and_second_passes_are_named() {
    names(honest(), "which has failed", |history| {
        history.entry("Failed", &[], &[]);
        history.commit("c3", "c2", "promote");
        history.entry("Progress", &[("c2", "c3")], &[]);
        history.moves(CANARY, "c2", "c3");
        history.entry("Progress", &[], &[("c3", "applied")]);
    });
    names(honest(), "passed twice", |history| {
        history.entry("WavePassed", &[], &[]);
    });
}
