//! Checks a server's journal of ref moves against the log's trailers, without any code of the controller.

mod rules;

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::Update;
use crate::small_fleet::{BRANCHES, LOG, REPO, SmallFleet};
use crate::tidegate::{Tidegate, built};
use crate::work::try_git;

/// What one log entry allows and closes.
struct Entry {
    id: String,
    parent: Option<String>,
    kind: String,
    rollout: String,
    wave: String,
    /// Ref, old and new.
    intents: Vec<(String, String, String)>,
    closed: Vec<Closed>,
    open: Vec<(String, String)>,
    drift: Vec<(String, String)>,
}

/// An intent that an entry closes.
struct Closed {
    reference: String,
    new: String,
    outcome: String,
}

/// What the rules ask about commits.
trait Commits {
    /// Whether a commit is another one or among its ancestors.
    fn is_ancestor(&self, commit: &str, of: &str) -> bool;
    fn author(&self, commit: &str) -> String;
    /// Its `Tidegate-Kind`; empty without one.
    fn kind(&self, commit: &str) -> String;
    /// Its `Tidegate-Rollout`; empty without one.
    fn rollout(&self, commit: &str) -> String;
}

impl Commits for SmallFleet {
    fn is_ancestor(&self, commit: &str, of: &str) -> bool {
        let forward = ["merge-base", "--is-ancestor", commit, of];
        try_git(&self.server.path(REPO), &forward).status.success()
    }

    fn author(&self, commit: &str) -> String {
        self.git(&["log", "-1", "--format=%an", commit])
    }

    fn kind(&self, commit: &str) -> String {
        trailer(self, commit, "Tidegate-Kind")
    }

    fn rollout(&self, commit: &str) -> String {
        trailer(self, commit, "Tidegate-Rollout")
    }
}

fn trailer(fleet: &SmallFleet, commit: &str, key: &str) -> String {
    let format = format!("--format=%(trailers:key={key},valueonly)");
    fleet.git(&["log", "-1", &format, commit]).trim().to_owned()
}

/// Panics unless:
/// every ref only ever moved forward and none was deleted; the log moved by one entry at a time; every move of a wave
/// branch, and every move of the config branch that is not by an engineer, is that of an intent which stood in the log
/// before it, and happened once; every intent is closed at most once, behind the moves that make its outcome true, and
/// none is open but on the config branch or named by `Tidegate-Open`; no promotion of a rollout stands behind its
/// `Failed`.
#[track_caller]
pub fn check(fleet: &SmallFleet) {
    let entries = entries(fleet);
    let journal = fleet.server.journal(REPO);
    let unseen = unseen(fleet, &journal);
    if let Err(wrong) = rules::judge(&journal, &entries, fleet, &unseen) {
        panic!("{wrong}");
    }
    check_by_the_program(fleet);
}

/// The same, where nobody moved a ref within the server but the config branch, as a forge merges: so the journal must have the newest
/// move of every branch. A hook that no longer wrote would have nothing judged.
#[track_caller]
pub fn check_whole(fleet: &SmallFleet) {
    let journal = fleet.server.journal(REPO);
    for name in BRANCHES.into_iter().chain([LOG]) {
        let tip = fleet.server.tip(REPO, name);
        let last = journal.iter().rfind(|update| update.name == name);
        let last = last.map(|update| update.new.clone());
        assert_eq!(last, tip, "the journal does not end where {name} is");
    }
    check(fleet);
}

/// The refs that are not where the journal left them: a test moved them within the server, where no hook runs.
fn unseen(fleet: &SmallFleet, journal: &[Update]) -> BTreeSet<String> {
    let last: BTreeMap<&String, &String> = journal
        .iter()
        .map(|update| (&update.name, &update.new))
        .collect();
    last.into_iter()
        .filter(|(name, new)| fleet.server.tip(REPO, name).as_ref() != Some(*new))
        .map(|(name, _)| name.clone())
        .collect()
}

/// What the program itself says of its history, with code of its own.
fn check_by_the_program(fleet: &SmallFleet) {
    let home = tempfile::tempdir().unwrap();
    let repo = fleet.server.path(REPO);
    let said =
        Tidegate::new(built(), home.path()).call(&["audit", "--repo", repo.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
}

/// The log's entries, oldest first.
fn entries(fleet: &SmallFleet) -> Vec<Entry> {
    let text = fleet.git(&[
        "log",
        "--first-parent",
        "--reverse",
        "--format=%x01%H%n%P%n%(trailers:only,unfold)",
        LOG,
    ]);
    let mut expected = 0;
    text.split('\u{1}')
        .filter(|block| !block.is_empty())
        .map(|block| {
            let mut lines = block.lines();
            let id = lines.next().unwrap().to_owned();
            let parent = lines
                .next()
                .unwrap()
                .split(' ')
                .next()
                .filter(|parent| expected > 0 && !parent.is_empty())
                .map(str::to_owned);
            let trailers: Vec<(&str, &str)> =
                lines.filter_map(|line| line.split_once(": ")).collect();
            let values = |key: &str| -> Vec<Vec<String>> {
                trailers
                    .iter()
                    .filter(|(found, _)| *found == key)
                    .map(|(_, value)| value.split(' ').map(str::to_owned).collect())
                    .collect()
            };
            let one = |key: &str| {
                values(key)
                    .first()
                    .map(|words| words.join(" "))
                    .unwrap_or_default()
            };
            let pairs = |key: &str| {
                values(key)
                    .into_iter()
                    .map(|words| (words[0].clone(), words[1].clone()))
                    .collect()
            };
            assert_eq!(one("Tidegate-Seq"), expected.to_string(), "{id}");
            expected += 1;
            Entry {
                parent,
                kind: one("Tidegate-Entry"),
                rollout: one("Tidegate-Rollout"),
                wave: one("Tidegate-Wave"),
                intents: values("Tidegate-Intent")
                    .into_iter()
                    .map(|words| (words[0].clone(), words[1].clone(), words[2].clone()))
                    .collect(),
                closed: values("Tidegate-Closed")
                    .into_iter()
                    .map(|words| Closed {
                        reference: words[0].clone(),
                        new: words[1].clone(),
                        outcome: words[2].clone(),
                    })
                    .collect(),
                open: pairs("Tidegate-Open"),
                drift: pairs("Tidegate-Drift"),
                id,
            }
        })
        .collect()
}
