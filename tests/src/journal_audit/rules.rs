//! What must be so of a journal and its log.

use std::collections::{BTreeMap, BTreeSet};

use super::{Closed, Commits, Entry};
use crate::journal::Update;
use crate::requests::REQUESTS;
use crate::small_fleet::{LOG, MAIN};

/// What is wrong, in words; the first thing alone. Of refs in `unseen` outcomes are not
/// judged.
pub(super) fn judge(
    journal: &[Update],
    entries: &[Entry],
    commits: &impl Commits,
    unseen: &BTreeSet<String>,
) -> Result<(), String> {
    check_moves(journal, entries, commits, unseen)?;
    check_closings(entries)?;
    check_failures(entries, commits)
}

fn must(is_so: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(wrong()) }
}

fn is_zero(id: &str) -> bool {
    id.bytes().all(|byte| byte == b'0')
}

/// The moves in the order in which they happened.
fn check_moves(
    journal: &[Update],
    entries: &[Entry],
    commits: &impl Commits,
    unseen: &BTreeSet<String>,
) -> Result<(), String> {
    let place: BTreeMap<&str, usize> = entries
        .iter()
        .enumerate()
        .map(|(place, entry)| (entry.id.as_str(), place))
        .collect();
    let mut written = None;
    let mut moved = BTreeMap::new();
    let mut tips: BTreeMap<&str, &str> = BTreeMap::new();
    for update in journal {
        must(!is_zero(&update.new), || format!("deleted: {update:?}"))?;
        must(
            is_zero(&update.old) || commits.is_ancestor(&update.old, &update.new),
            || format!("no fast-forward: {update:?}"),
        )?;
        tips.insert(&update.name, &update.new);
        if update.name == LOG {
            let at = *place.get(update.new.as_str()).ok_or_else(|| {
                format!("the log no longer has what was pushed to it: {update:?}")
            })?;
            let parent = entries[at].parent.clone().unwrap_or_else(|| "0".repeat(40));
            must(parent == update.old, || {
                format!("more than one entry in one push: {update:?}")
            })?;
            let seen = |closed: &&Closed| !unseen.contains(&closed.reference);
            for closed in entries[at].closed.iter().filter(seen) {
                check_outcome(closed, &entries[..at], &tips, commits)
                    .map_err(|wrong| format!("{} {wrong}", update.new))?;
            }
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
            must(commits.author(&update.new) == "Jo Engineer", || {
                format!("no intent allows {update:?}")
            })?;
            continue;
        }
        let drift = entries.iter().any(|entry| {
            entry
                .drift
                .contains(&(update.name.clone(), update.new.clone()))
        });
        must(allowed || drift, || format!("no intent allows {update:?}"))?;
        let before = moved.insert((&update.name, &update.new), update);
        must(before.is_none(), || format!("moved twice: {update:?}"))?;
    }
    // Who saw too little can judge nothing.
    let newest = entries.len().checked_sub(1);
    must(written == newest || unseen.contains(LOG), || {
        format!("the journal ends with the entry {written:?} of {newest:?}")
    })
}

/// Whether the branches stood so, when the closing was pushed, that it is true and stays true.
fn check_outcome(
    closed: &Closed,
    before: &[Entry],
    tips: &BTreeMap<&str, &str>,
    commits: &impl Commits,
) -> Result<(), String> {
    let Closed {
        reference,
        new,
        outcome,
    } = closed;
    let intents = || before.iter().flat_map(|entry| &entry.intents);
    let (_, old, _) = intents()
        .rfind(|(on, _, to)| on == reference && to == new)
        .ok_or_else(|| format!("closes what no entry before it allows: {reference} {new}"))?;
    let tip = tips.get(reference.as_str()).copied();
    let holds = |commit: &str| tip.is_some_and(|tip| commits.is_ancestor(commit, tip));
    let says = |what: &str| format!("closes {new} as {outcome}, but {what} {reference} ({tip:?})");
    let has_passed = tip.is_some_and(|tip| tip != old) && (is_zero(old) || holds(old));
    let is_sealed = || {
        intents().any(|(on, from, seal)| {
            on == reference
                && from == old
                && seal != new
                && commits.kind(seal) == "seal"
                && holds(seal)
        })
    };
    match outcome.as_str() {
        "applied" => must(holds(new), || says("it does not stand yet on")),
        "sealed" => {
            must(!holds(new), || says("it stands on"))?;
            must(is_sealed(), || says("no seal stands on"))
        }
        "overtaken" => {
            must(!holds(new), || says("it stands on"))?;
            must(has_passed, || says("nothing else stands on"))
        }
        _ => Err(says("that is no outcome, on")),
    }
}

fn check_closings(entries: &[Entry]) -> Result<(), String> {
    let mut open = BTreeMap::new();
    let mut named = Vec::new();
    for entry in entries {
        for closed in &entry.closed {
            let key = (closed.reference.clone(), closed.new.clone());
            must(open.remove(&key).is_some(), || {
                format!("{} closes what is not open: {key:?}", entry.id)
            })?;
        }
        for (reference, old, new) in &entry.intents {
            let before = open.insert((reference.clone(), new.clone()), old.clone());
            must(before.is_none(), || {
                format!("{} allows again: {reference} {new}", entry.id)
            })?;
        }
        named.extend(entry.open.iter().cloned());
    }
    open.retain(|intent, _| intent.0 != MAIN && !named.contains(intent));
    must(open.is_empty(), || format!("still open: {open:?}"))
}

fn check_failures(entries: &[Entry], commits: &impl Commits) -> Result<(), String> {
    let mut failed: Vec<&str> = Vec::new();
    let mut passed: Vec<(&str, &str)> = Vec::new();
    for entry in entries {
        for (reference, _, new) in &entry.intents {
            let rollout = commits.rollout(new);
            must(
                commits.kind(new) != "promote" || !failed.contains(&rollout.as_str()),
                || {
                    format!(
                        "{} promotes to {reference} for {rollout}, which has failed",
                        entry.id
                    )
                },
            )?;
        }
        match entry.kind.as_str() {
            "Failed" => failed.push(&entry.rollout),
            "WavePassed" => {
                let pass = (entry.rollout.as_str(), entry.wave.as_str());
                must(!passed.contains(&pass), || {
                    format!("passed twice: {pass:?}")
                })?;
                passed.push(pass);
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
