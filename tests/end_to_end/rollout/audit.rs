//! What must hold of every story, checked with git alone: the log, the branches, and the journal of every update.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::fleet::{Fleet, LOG, MAIN};
use super::log::Entry;

const ZEROS: &str = "0000000000000000000000000000000000000000";

impl Fleet {
    /// Checks the promises that git alone can show.
    pub(super) fn audit(&self) {
        self.audit_but_for(&[]);
    }

    /// The same, when people pushed these commits to wave branches (or deleted one: zeros).
    pub(super) fn audit_but_for(&self, foreign: &[&str]) {
        let log = self.log();
        let journal = self.journal();
        assert!(!log.is_empty());
        for (place, entry) in log.iter().enumerate() {
            assert_eq!(entry.seq, place, "numbers without gaps");
        }
        // Where in the order of all updates an entry became visible.
        let visible: BTreeMap<&str, usize> = journal
            .iter()
            .filter(|update| update.name == LOG)
            .map(|update| (update.new.as_str(), update.sequence))
            .collect();
        for entry in &log {
            assert!(
                visible.contains_key(entry.id.as_str()),
                "one push for each entry; none for {}",
                entry.message
            );
        }
        let commits = self.commits();
        self.every_move_is_an_intents(&log, &visible, foreign);
        self.waves_come_in_order(&log, &commits);
        every_intent_is_closed_once(&log);
        self.regions_are_named_where_they_are(&log, &visible);
        moves_say_what_they_are(&log, &commits);
        self.moves_are_dated_by_what_they_are_built_on(&log);
        let said = self.people("audit", &[]);
        assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    }

    fn every_move_is_an_intents(
        &self,
        log: &[Entry],
        visible: &BTreeMap<&str, usize>,
        foreign: &[&str],
    ) {
        for update in self.journal() {
            let ours = update
                .name
                .strip_prefix("refs/heads/tidegate/")
                .is_some_and(|name| name != "requests");
            if !ours || foreign.contains(&update.new.as_str()) {
                continue;
            }
            assert_ne!(update.new, ZEROS, "{} was deleted", update.name);
            if update.name == LOG {
                // The log is read by first parents: one update is one entry.
                let place = log.iter().position(|entry| entry.id == update.new).unwrap();
                let before = place.checked_sub(1).map_or(ZEROS, |place| &log[place].id);
                assert_eq!(update.old, before, "the log moved by more than one entry");
                continue;
            }
            let intent = log.iter().find(|entry| {
                entry.intents().iter().any(|intent| {
                    intent.reference == update.name
                        && intent.old == update.old
                        && intent.new == update.new
                })
            });
            let intent = intent.unwrap_or_else(|| panic!("no intent for {update:?}"));
            assert!(
                visible[intent.id.as_str()] < update.sequence,
                "pushed before its intent: {update:?}"
            );
        }
    }

    /// Every commit that has trailers of ours on its last lines, by its id.
    fn commits(&self) -> BTreeMap<String, Commit> {
        let ids: Vec<String> = self
            .log()
            .iter()
            .flat_map(Entry::intents)
            .map(|intent| intent.new)
            .collect();
        if ids.is_empty() {
            return BTreeMap::new();
        }
        let mut arguments = vec![
            "log",
            "--no-walk=unsorted",
            "--format=%H%x01%P%x01%(trailers:only,unfold)%x02",
        ];
        arguments.extend(ids.iter().map(String::as_str));
        self.git(&arguments)
            .split('\u{2}')
            .map(str::trim_start)
            .filter(|record| !record.is_empty())
            .map(|record| {
                let fields: Vec<&str> = record.split('\u{1}').collect();
                let commit = Commit {
                    parents: fields[1].to_owned(),
                    trailers: fields[2]
                        .lines()
                        .filter_map(|line| line.split_once(": "))
                        .map(|(name, value)| (name.to_owned(), value.to_owned()))
                        .collect(),
                };
                (fields[0].to_owned(), commit)
            })
            .collect()
    }

    /// What an entry names has the date of the entry before it, so that whoever builds on that makes the same commit.
    fn moves_are_dated_by_what_they_are_built_on(&self, log: &[Entry]) {
        let named: Vec<(&str, String)> = log
            .windows(2)
            .flat_map(|pair| {
                let before = pair[0].id.as_str();
                let made = pair[1].intents().into_iter().filter(|intent| {
                    // A deleted branch comes back to a commit that was made before.
                    let known =
                        |entry: &Entry| entry.intents().iter().any(|old| old.new == intent.new);
                    !log[..pair[1].seq].iter().any(known)
                });
                made.map(move |intent| (before, intent.new))
                    .collect::<Vec<_>>()
            })
            .collect();
        let mut arguments = vec!["log", "--no-walk=unsorted", "--format=%H %ct", LOG];
        arguments.extend(named.iter().flat_map(|(before, new)| [*before, new]));
        let said = self.git(&arguments);
        let dates: BTreeMap<&str, &str> = said
            .lines()
            .filter_map(|line| line.split_once(' '))
            .collect();
        for (before, new) in &named {
            assert_eq!(
                dates[new.as_str()],
                dates[before],
                "{new} is built on {before}"
            );
        }
    }

    fn waves_come_in_order(&self, log: &[Entry], commits: &BTreeMap<String, Commit>) {
        let mut passed: BTreeSet<(String, String)> = BTreeSet::new();
        let mut failed: BTreeSet<String> = BTreeSet::new();
        let mut documents: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in log {
            if entry.kind == "WavePassed" {
                passed.insert((
                    entry.rollout().unwrap().to_owned(),
                    entry.wave().unwrap().to_owned(),
                ));
            }
            if entry.kind == "Failed" {
                failed.insert(entry.rollout().unwrap().to_owned());
            }
            for intent in entry.intents() {
                let commit = &commits[&intent.new];
                if commit.all("Tidegate-Kind") != ["promote"] {
                    continue;
                }
                let rollout = commit.all("Tidegate-Rollout")[0].to_owned();
                assert!(
                    !failed.contains(&rollout),
                    "promoted after Failed: {}",
                    entry.message
                );
                let source = commit.all("Tidegate-Source")[0];
                let waves = documents
                    .entry(source.to_owned())
                    .or_insert_with(|| self.waves_of(source));
                let wave = intent.reference.trim_start_matches("refs/heads/tidegate/");
                for before in waves.iter().take_while(|before| *before != wave) {
                    assert!(
                        passed.contains(&(rollout.clone(), before.clone())),
                        "{wave} is promoted before {before} passed: {}",
                        entry.message
                    );
                }
            }
        }
    }

    /// The waves in the order of a commit's document.
    fn waves_of(&self, source: &str) -> Vec<String> {
        self.git(&["show", &format!("{source}:tidegate.yaml")])
            .lines()
            .take_while(|line| *line != "gates:")
            .filter_map(|line| line.strip_prefix("  - name: "))
            .map(str::to_owned)
            .collect()
    }

    fn regions_are_named_where_they_are(&self, log: &[Entry], visible: &BTreeMap<&str, usize>) {
        let journal = self.journal();
        let names: Vec<String> = log
            .iter()
            .map(|entry| format!("{}:regions.json", entry.id))
            .collect();
        let mut folders = BTreeMap::new();
        for (entry, text) in log.iter().zip(self.objects(&names)) {
            let listed: Vec<Value> = serde_json::from_slice(&text.unwrap()).unwrap();
            let names: Vec<&str> = listed
                .iter()
                .map(|region| region["name"].as_str().unwrap())
                .collect();
            assert!(names.is_sorted(), "{names:?}");
            for region in &listed {
                let branch = format!("refs/heads/{}", region["branch"].as_str().unwrap());
                let tip = journal
                    .iter()
                    .filter(|update| update.sequence < visible[entry.id.as_str()])
                    .rfind(|update| update.name == branch)
                    .map_or_else(
                        || panic!("{branch} is named before it exists"),
                        |update| update.new.clone(),
                    );
                if tip != ZEROS {
                    let folder = format!("{tip}:{}", region["folder"].as_str().unwrap());
                    folders.entry(folder).or_insert(entry.seq);
                }
            }
        }
        let names: Vec<String> = folders.keys().cloned().collect();
        for (folder, found) in names.iter().zip(self.objects(&names)) {
            assert!(
                found.is_some(),
                "entry {} names {folder}, which is not there",
                folders[folder]
            );
        }
    }

    /// What `regions.json` says at a revision of the log.
    pub(super) fn regions_json(&self, revision: &str) -> Vec<Value> {
        let text = self.git(&["show", &format!("{revision}:regions.json")]);
        serde_json::from_str(&text).unwrap()
    }
}

/// A commit of ours outside the log.
struct Commit {
    parents: String,
    trailers: Vec<(String, String)>,
}

impl Commit {
    fn all(&self, name: &str) -> Vec<&str> {
        self.trailers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// Commits on wave branches and on the config branch have the contract's trailers, and the one parent.
fn moves_say_what_they_are(log: &[Entry], commits: &BTreeMap<String, Commit>) {
    for intent in log.iter().flat_map(Entry::intents) {
        let commit = &commits[&intent.new];
        let is_one = |name: &str| assert_eq!(commit.all(name).len(), 1, "{name}: {intent:?}");
        if intent.reference == MAIN || intent.reference.contains("tidegate-revert/") {
            is_one("Tidegate-Rollout");
            is_one("Tidegate-Reason");
            continue;
        }
        // A deleted branch that is put back comes back to the commit that it had.
        if intent.old != ZEROS {
            assert_eq!(commit.parents, intent.old, "{intent:?}");
        }
        is_one("Tidegate-Kind");
        let kind = commit.all("Tidegate-Kind")[0];
        assert!(
            [
                "create", "promote", "revert", "seal", "leave", "restore", "adopt"
            ]
            .contains(&kind),
            "{kind}"
        );
        let wave = intent.reference.trim_start_matches("refs/heads/tidegate/");
        assert_eq!(commit.all("Tidegate-Wave"), [wave]);
        if ["promote", "create", "revert", "seal", "leave"].contains(&kind) {
            is_one("Tidegate-Rollout");
            is_one("Tidegate-Source");
            assert_eq!(commit.all("Tidegate-Source")[0].len(), 40);
        }
    }
}

fn every_intent_is_closed_once(log: &[Entry]) {
    let mut open: BTreeSet<(String, String)> = BTreeSet::new();
    let mut ended: BTreeSet<(String, String)> = BTreeSet::new();
    for entry in log {
        for (reference, new, outcome) in entry.closed() {
            assert!(["applied", "sealed", "overtaken"].contains(&outcome.as_str()));
            let one = (reference, new);
            assert!(
                open.remove(&one),
                "closed without being open: {}",
                entry.message
            );
            ended.insert(one);
        }
        for intent in entry.intents() {
            assert!(
                intent.reference == MAIN
                    || !open
                        .iter()
                        .any(|(reference, _)| *reference == intent.reference)
                    || entry.kind == "Sealing",
                "two open intents on {}: {}",
                intent.reference,
                entry.message
            );
            let one = (intent.reference, intent.new);
            // A deleted branch comes back to a commit that was applied before.
            assert!(intent.old == ZEROS || !ended.contains(&one));
            open.insert(one);
        }
        if ["Succeeded", "Superseded", "Aborted"].contains(&entry.kind.as_str()) {
            assert!(
                open.iter().all(|(reference, _)| reference == MAIN),
                "{open:?} is open at {}",
                entry.message
            );
        }
    }
}
