//! The control log, people's requests, and the cache beside them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_controller::alerts::event::events;
use tidegate_controller::audit::record::{Branch, Commit, Entry, Record};
use tidegate_controller::audit::{Scope, audit};
use tidegate_controller::explain::{Seen, explain};
use tidegate_controller::fuzzing;
use tidegate_controller::git::history::{CommitView, Person};
use tidegate_controller::git::trailers::{Message, compose};
use tidegate_controller::reporting::LogEntry;
use tidegate_controller::status::status;
use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{
    FleetIdentity, FleetState, Now, Observations, Request, Watch, create, decide, from_files,
    to_files,
};

use super::checks::{is_plain, panic_with};
use super::parts::{part, parts};

const NOW: i64 = 1_790_000_000;

fn view(number: u8, message: &str) -> CommitView {
    CommitView {
        id: Oid::from_bytes([number; 20]),
        parents: number
            .checked_sub(1)
            .map(|before| Oid::from_bytes([before; 20]))
            .into_iter()
            .collect(),
        tree: Oid::ZERO,
        message: message.to_owned(),
        author: Person {
            name: "Tidegate".to_owned(),
            email: "tidegate@localhost".to_owned(),
        },
        is_by_its_author: true,
        seconds: NOW,
    }
}

/// Each part is a file of an entry's tree. A state that is read is written and read back the same; it can be shown,
/// explained and told of, and decided on, whatever it says.
pub(super) fn state(input: &[u8]) {
    let files: BTreeMap<String, Vec<u8>> = parts(input)
        .into_iter()
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let state = match from_files(&files) {
        Ok(state) => state,
        Err(error) => {
            // Whoever shows it makes it one line; it need only be bounded.
            assert!(error.to_string().len() <= 4096 + 2 * input.len());
            return;
        }
    };
    returns(&state);
    let shown = status(&state, NOW, None, Vec::new(), true, NOW);
    assert_eq!(shown.fleet, state.fleet.name);
    let seen = Seen {
        as_of: NOW,
        head: None,
        queued: &[],
        changes: &[],
        now: NOW,
    };
    let _ = explain(&state, &seen, None);
    let entry = LogEntry {
        commit: Oid::from_bytes([1; 20]),
        seconds: NOW,
        kind: EntryKind::Progress,
        subject: String::new(),
        before: None,
        after: Arc::new(state.clone()),
    };
    let _ = events(&entry);
    decided(&state, Vec::new());
}

fn returns(state: &FleetState) {
    match from_files(&to_files(state)) {
        Ok(again) => assert_eq!(&again, state),
        Err(error) => panic_with(&format!("what we wrote cannot be read: {error}")),
    }
}

/// A decision on a state gives one that can be written, and the same a second time.
fn decided(state: &FleetState, requests: Vec<Request>) {
    let seen = Observations {
        me: "somebody".to_owned(),
        takeover_after: Duration::ZERO,
        push_deadline: Duration::from_secs(60),
        requests,
        ..Observations::default()
    };
    let mut watch = Watch::default();
    for second in [0, 20, 4000] {
        let now = Now {
            monotonic: Duration::from_secs(second),
            wall: NOW,
        };
        let step = decide(state, &watch, &seen, now);
        assert_eq!(step, decide(state, &watch, &seen, now));
        if let Some(append) = &step.append {
            returns(&append.next);
            let trailers = append
                .entry
                .trailers(append.next.seq, append.next.epoch, &[]);
            reads_back(&append.entry.subject, &append.entry.lines, &trailers);
        }
        watch = step.watch;
    }
}

/// An entry's message is read by the audit as what it says.
fn reads_back(subject: &str, lines: &[String], trailers: &[(String, String)]) {
    let composed = compose(&Message {
        subject: subject.to_owned(),
        body: Vec::new(),
        outside: lines.to_vec(),
        trailers: trailers.to_vec(),
    });
    let Ok(message) = composed else {
        panic_with("an entry has a trailer that cannot be written");
    };
    let entry = Entry::read(&view(1, &message), Err("not looked at".to_owned()));
    let said = |name: &str| {
        trailers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    assert_eq!(entry.seq.map(|seq| seq.to_string()), said("Tidegate-Seq"));
    assert_eq!(
        entry.kind.map(|kind| kind.to_string()),
        said("Tidegate-Entry")
    );
}

/// Parts `message` are entries, oldest first; a part `state` behind one is its `state.json`; a part `ref NAME` is a branch,
/// an entry number a line for each commit of it.
pub(super) fn audited(input: &[u8]) -> Record {
    let mut record = Record {
        prefix: "tidegate".to_owned(),
        config: Some("refs/heads/main".to_owned()),
        ..Record::default()
    };
    let planned = BTreeMap::from([("west".to_owned(), Oid::from_bytes([0xaa; 20]))]);
    let mut messages: Vec<(String, Option<Vec<u8>>)> = Vec::new();
    for (name, bytes) in parts(input) {
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        if name == "message" {
            messages.push((text(), None));
        } else if name == "state" {
            if let Some((_, state)) = messages.last_mut() {
                *state = Some(bytes);
            }
        } else if let Some(name) = name.strip_prefix("ref ") {
            let mut branch = Branch::default();
            for line in text().lines() {
                let (id, message) = line.split_once(' ').unwrap_or((line, ""));
                let Ok(id) = id.parse::<Oid>() else { continue };
                branch.chain.push(id);
                branch.contains.insert(id);
                let message = format!("subject\n\n{}", message.replace(';', "\n"));
                let mut commit = Commit::read(&view(9, &message), None);
                commit.parents = Vec::new();
                record.commits.insert(id, commit);
            }
            record.refs.insert(name.to_owned(), branch);
        }
    }
    for (number, (message, state)) in (0_u8..).zip(messages) {
        let state = match state {
            Some(bytes) => fuzzing::audited_state(&bytes, &planned, &planned),
            None => Err("there is no state.json".to_owned()),
        };
        if record.fleet.is_none() {
            record.fleet = state.as_ref().ok().map(|state| state.fleet.clone());
        }
        record
            .entries
            .push(Entry::read(&view(number, &message), state));
    }
    record
}

/// The audit judges whatever it reads, the same each time.
pub(super) fn audit_of(input: &[u8]) {
    let record = audited(input);
    let verdicts = audit(&record, &Scope::default());
    assert_eq!(verdicts.len(), 8);
    let found = |verdicts: &[tidegate_controller::audit::Verdict]| -> Vec<String> {
        verdicts
            .iter()
            .flat_map(|verdict| &verdict.findings)
            .map(|finding| finding.message.clone())
            .collect()
    };
    assert_eq!(found(&audit(&record, &Scope::default())), found(&verdicts));
}

/// A request is answered, whatever it says; its words are plain, and only git's own word makes it signed.
pub(super) fn requests(input: &[u8]) {
    let parts = parts(input);
    let message = String::from_utf8_lossy(part(&parts, "message")).into_owned();
    let request = fuzzing::request(&view(3, &message));
    is_plain(&request.author);
    is_plain(&request.reason);
    if let Some(refused) = &request.refused {
        is_plain(refused);
    }
    assert_eq!(request.verified, None);
    let begun = FleetIdentity {
        name: "shop".to_owned(),
        branch: "main".to_owned(),
        path: String::new(),
        prefix: "tidegate".to_owned(),
    };
    let begun = create(begun, Oid::from_bytes([2; 20]), "somebody").next;
    decided(&begun, vec![request]);
    let text = |name: &str| String::from_utf8_lossy(part(&parts, name)).into_owned();
    let (verdict, principal, said) = (text("verdict"), text("principal"), text("said"));
    if let Some(by) = fuzzing::signature(verdict.trim(), principal.trim(), &said) {
        assert_eq!(verdict.trim(), "G");
        assert!(!by.is_empty());
    }
}

/// The cache's file: read and written, it stays as it is.
pub(super) fn sums(input: &[u8]) {
    if let Ok(once) = fuzzing::sums(input) {
        match fuzzing::sums(&once) {
            Ok(twice) => assert_eq!(once, twice),
            Err(error) => panic_with(&format!("what we wrote cannot be read: {error}")),
        }
    }
}
