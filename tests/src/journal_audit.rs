//! Checks a server's journal of ref moves against the log's trailers, without any code of the controller.

use std::collections::BTreeMap;

use crate::tidegate::{Tidegate, built};

use crate::requests::REQUESTS;
use crate::small_fleet::{LOG, MAIN, REPO, SmallFleet};

/// What one log entry allows and closes.
struct Entry {
    id: String,
    parent: Option<String>,
    kind: String,
    rollout: String,
    intents: Vec<(String, String, String)>,
    closed: Vec<(String, String)>,
    open: Vec<(String, String)>,
    drift: Vec<(String, String)>,
}

/// Panics unless:
/// every ref only ever moved forward and none was deleted; the log moved by one entry at a time; every move of a wave
/// branch, and every move of the config branch that is not by an engineer, is that of an intent which stood in the log
/// before it, and happened once; every intent is closed at most once, and none is open but on the config branch or
/// named by `Tidegate-Open`; no promotion of a rollout stands behind its `Failed`.
#[track_caller]
pub fn check(fleet: &SmallFleet) {
    let entries = entries(fleet);
    let place: BTreeMap<&str, usize> = entries
        .iter()
        .enumerate()
        .map(|(place, entry)| (entry.id.as_str(), place))
        .collect();
    let mut written = None;
    let mut moved = BTreeMap::new();
    for update in fleet.server.journal(REPO) {
        let zeros = |id: &str| id.bytes().all(|byte| byte == b'0');
        assert!(!zeros(&update.new), "deleted: {update:?}");
        if !zeros(&update.old) {
            let forward = crate::work::try_git(
                &fleet.server.path(REPO),
                &["merge-base", "--is-ancestor", &update.old, &update.new],
            );
            assert!(forward.status.success(), "no fast-forward: {update:?}");
        }
        if update.name == LOG {
            let at = *place.get(update.new.as_str()).unwrap_or_else(|| {
                panic!("the log no longer has what was pushed to it: {update:?}")
            });
            let parent = entries[at].parent.clone().unwrap_or_else(|| "0".repeat(40));
            assert_eq!(parent, update.old, "more than one entry in one push");
            written = Some(at);
            continue;
        }
        if update.name == REQUESTS {
            continue;
        }
        let intent = (update.name.clone(), update.old.clone(), update.new.clone());
        let allowed = written.is_some_and(|written| {
            entries[..=written]
                .iter()
                .any(|entry| entry.intents.contains(&intent))
        });
        if update.name == MAIN && !allowed {
            let author = fleet.git(&["log", "-1", "--format=%an", &update.new]);
            assert_eq!(author, "Jo Engineer", "no intent allows {update:?}");
            continue;
        }
        let drift = entries.iter().any(|entry| {
            entry
                .drift
                .contains(&(update.name.clone(), update.new.clone()))
        });
        assert!(allowed || drift, "no intent allows {update:?}");
        let before = moved.insert((update.name.clone(), update.new.clone()), update.clone());
        assert_eq!(before, None, "moved twice: {update:?}");
    }
    check_closings(&entries);
    check_failures(fleet, &entries);
    check_by_the_program(fleet);
}

/// What the program itself says of its history, with code of its own.
fn check_by_the_program(fleet: &SmallFleet) {
    let home = tempfile::tempdir().unwrap();
    let repo = fleet.server.path(REPO);
    let said =
        Tidegate::new(built(), home.path()).call(&["audit", "--repo", repo.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
}

fn check_closings(entries: &[Entry]) {
    let mut open = BTreeMap::new();
    let mut named = Vec::new();
    for entry in entries {
        for closed in &entry.closed {
            assert!(
                open.remove(closed).is_some(),
                "{} closes what is not open: {closed:?}",
                entry.id
            );
        }
        for (reference, old, new) in &entry.intents {
            let before = open.insert((reference.clone(), new.clone()), old.clone());
            assert_eq!(before, None, "{} allows again: {reference} {new}", entry.id);
        }
        named.extend(entry.open.iter().cloned());
    }
    open.retain(|intent, _| intent.0 != MAIN && !named.contains(intent));
    assert!(open.is_empty(), "still open: {open:?}");
}

fn check_failures(fleet: &SmallFleet, entries: &[Entry]) {
    let mut failed: Vec<&str> = Vec::new();
    let mut passed: Vec<(String, String)> = Vec::new();
    for entry in entries {
        for (reference, _, new) in &entry.intents {
            let format = "--format=%(trailers:key=Tidegate-Kind,valueonly)|%(trailers:key=Tidegate-Rollout,valueonly)";
            let text = fleet.git(&["log", "-1", format, new]).replace('\n', "");
            let (kind, rollout) = text.split_once('|').unwrap();
            assert!(
                kind != "promote" || !failed.contains(&rollout),
                "{} promotes to {reference} for {rollout}, which has failed",
                entry.id
            );
        }
        match entry.kind.as_str() {
            "Failed" => failed.push(&entry.rollout),
            "WavePassed" => {
                let wave = fleet.git(&[
                    "log",
                    "-1",
                    "--format=%(trailers:key=Tidegate-Wave,valueonly)",
                    &entry.id,
                ]);
                let pass = (entry.rollout.clone(), wave.trim().to_owned());
                assert!(!passed.contains(&pass), "passed twice: {pass:?}");
                passed.push(pass);
            }
            _ => {}
        }
    }
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
                intents: values("Tidegate-Intent")
                    .into_iter()
                    .map(|words| (words[0].clone(), words[1].clone(), words[2].clone()))
                    .collect(),
                closed: pairs("Tidegate-Closed"),
                open: pairs("Tidegate-Open"),
                drift: pairs("Tidegate-Drift"),
                id,
            }
        })
        .collect()
}
