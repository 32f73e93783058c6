//! What is judged when the world has come to rest: by the audit that reads git alone, and by what is left open.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

use git2::ObjectType;
use tidegate_controller::audit::reader::{self, Place};
use tidegate_controller::audit::{Promise, Scope, audit as audit_of};
use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetState, HoldReason, RolloutState, from_files};

use super::people::{LOG, MAIN, REQUESTS, wave_ref};
use super::server::Server;

/// The state that an entry of the log holds.
pub(super) fn state_at(server: &Server, entry: Oid) -> Result<FleetState, Box<dyn Error>> {
    let (tree, _) = server.commit(entry).ok_or("an entry has no tree")?;
    let mut files = BTreeMap::new();
    let mut next = vec![(String::new(), tree)];
    while let Some((folder, tree)) = next.pop() {
        for (name, id) in server.tree(tree) {
            let path = if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            };
            match server.read(id) {
                Some((ObjectType::Tree, _)) => next.push((path, id)),
                Some((_, bytes)) => {
                    files.insert(path, bytes.to_vec());
                }
                None => return Err(format!("{path} of entry {entry} is lost").into()),
            }
        }
    }
    Ok(from_files(&files)?)
}

/// What kind an entry says it is.
pub(super) fn kind_of(server: &Server, entry: Oid) -> Option<EntryKind> {
    let (_, bytes) = server.read(entry)?;
    let text = String::from_utf8_lossy(bytes);
    let kind = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("Tidegate-Entry: "))?;
    EntryKind::ALL
        .into_iter()
        .find(|known| known.to_string() == kind)
}

/// How it stands at rest, without ids that depend on the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What each wave branch and the config branch hold.
    branches: BTreeMap<String, BTreeMap<String, Oid>>,
    rollout: Option<(String, RolloutState)>,
    last_good: BTreeMap<String, Oid>,
    set_aside: BTreeMap<String, Oid>,
    quarantine: Vec<(String, bool, BTreeMap<String, Oid>)>,
    holds: Vec<HoldReason>,
    settled: Option<String>,
}

impl Outcome {
    pub(super) fn of(server: &Server, state: &FleetState) -> Result<Self, Box<dyn Error>> {
        let tree = |source: Oid| -> Result<String, Box<dyn Error>> {
            let (tree, _) = server.commit(source).ok_or("a source commit is lost")?;
            Ok(tree.to_string())
        };
        let mut quarantine = Vec::new();
        for item in &state.quarantine {
            quarantine.push((tree(item.source)?, item.isolated, item.digests.clone()));
        }
        // Which of a wave's regions fails first says nothing.
        quarantine.sort();
        let rollout = match &state.rollout {
            Some(rollout) => Some((tree(rollout.source)?, rollout.state)),
            None => None,
        };
        let settled = match &state.settled {
            Some(settled) => Some(tree(settled.source)?),
            None => None,
        };
        let branches = state
            .branches
            .keys()
            .map(|wave| wave_ref(wave))
            .chain([MAIN.to_owned()])
            .map(|reference| {
                let folders = server.folders(&reference);
                (reference, folders)
            })
            .collect();
        let mut holds: Vec<HoldReason> = state.holds.iter().map(|hold| hold.reason).collect();
        holds.sort_by_key(|reason| format!("{reason:?}"));
        Ok(Self {
            branches,
            rollout,
            last_good: state
                .last_good
                .iter()
                .map(|(region, good)| (region.clone(), good.tree))
                .collect(),
            set_aside: state.set_aside.clone(),
            quarantine,
            holds,
            settled,
        })
    }

    /// What differs, if anything does.
    pub(super) fn difference(&self, should: &Self) -> Option<String> {
        let (is, should) = (format!("{self:#?}"), format!("{should:#?}"));
        if is == should {
            return None;
        }
        let lines: Vec<String> = is
            .lines()
            .zip(should.lines())
            .filter(|(is, should)| is != should)
            .take(6)
            .map(|(is, should)| format!("{} instead of {}", is.trim(), should.trim()))
            .collect();
        Some(lines.join(", "))
    }
}

/// Whether the head of the config branch is settled, or known not to be for opening.
pub(super) fn is_dealt_with(server: &Server, state: &FleetState) -> bool {
    let head = server.refs.get(MAIN).copied();
    let settled = state.settled.as_ref().map(|settled| settled.source);
    head == settled || head == state.invalid || head == state.not_again
}

/// What should have come to an end and has not.
pub(super) fn left_open(server: &Server, state: &FleetState) -> Vec<String> {
    let mut wrong: Vec<String> = state
        .intents
        .iter()
        .filter(|intent| {
            intent.draft.reference != MAIN && !server.damaged.contains(&intent.draft.reference)
        })
        .map(|intent| format!("a move of {} stays open", intent.draft.reference))
        .collect();
    if !state.holds.is_empty() {
        return wrong;
    }
    if let Some(rollout) = state.active() {
        wrong.push(format!(
            "rollout {} stays {:?} although nothing holds it",
            rollout.id, rollout.state
        ));
        return wrong;
    }
    if !is_dealt_with(server, state) {
        wrong.push("the config branch's head is left alone although nothing holds it".to_owned());
    }
    // What failed is on no branch any more.
    if let Some(rollout) = state
        .rollout
        .as_ref()
        .filter(|rollout| rollout.state == RolloutState::RolledBack)
    {
        for (region, planned) in &rollout.plan.regions {
            let good = state.last_good.get(region).map(|good| good.tree);
            let had_one = rollout
                .region(region)
                .is_some_and(|(_, run)| run.before.is_some());
            let on_branch = server
                .folders(&super::people::wave_of(region))
                .get(region)
                .copied();
            if had_one
                && good.is_some_and(|good| good != planned.tree)
                && on_branch == Some(planned.tree)
            {
                wrong.push(format!("{region} keeps what failed"));
            }
        }
    }
    wrong
}

/// Whether a finding is of what people did to a branch: commits there that are nobody's, and that it moved back.
/// Whatever else is wrong on a branch is not made right by that.
fn is_of_damage(promise: Promise, reference: Option<&String>, damaged: &BTreeSet<String>) -> bool {
    matches!(promise, Promise::Intents | Promise::Forward)
        && reference.is_some_and(|reference| damaged.contains(reference))
}

/// What the audit finds on a clone, but for what people damaged.
pub(super) fn audit(server: &Server, clone: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let Some(log) = server.refs.get(LOG).copied() else {
        return Ok(Vec::new());
    };
    let mut refs = server.refs.clone();
    refs.remove(LOG);
    refs.remove(REQUESTS);
    let place = Place {
        repo: clone,
        log,
        prefix: "tidegate",
    };
    let record = reader::read(place, &refs, Some(MAIN.to_owned()))?;
    let mut wrong = Vec::new();
    for verdict in audit_of(&record, &Scope::default()) {
        for finding in verdict.findings {
            let reference = finding.reference.as_ref();
            let by_people = is_of_damage(verdict.promise, reference, &server.damaged);
            if !by_people {
                wrong.push(format!(
                    "audit, promise {}: {}",
                    verdict.promise.number(),
                    finding.message
                ));
            }
        }
        // Whatever happened, there was something to look at.
        if verdict.promise == Promise::Log && verdict.counts.is_empty() {
            wrong.push("the audit has looked at nothing".to_owned());
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_branch_excuses_only_what_damage_does() {
        let damaged = BTreeSet::from([wave_ref("canary")]);
        let excused = |wave: Option<&str>| -> Vec<Promise> {
            let reference = wave.map(wave_ref);
            let is = |promise: &Promise| is_of_damage(*promise, reference.as_ref(), &damaged);
            Promise::ALL.into_iter().filter(is).collect()
        };
        assert_eq!(
            excused(Some("canary")),
            [Promise::Intents, Promise::Forward]
        );
        assert_eq!(excused(Some("pilot")), []);
        assert_eq!(excused(None), []);
    }
}
