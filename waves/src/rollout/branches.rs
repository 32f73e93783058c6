//! Intents against facts: which are closed, what on a branch is not ours, what is gone.

use std::collections::BTreeSet;

use super::observation::BranchView;
use super::state::{Branch, FleetState, HoldReason, Placement, RegionState, SourceRevert};
use super::turn::{Turn, Writing};
use crate::log::{Closing, EntryKind, Intent, MoveKind, Outcome};
use crate::oid::Oid;

/// Closes every open intent that an irreversible fact closes, and takes over what that means for branches,
/// placements and regions.
pub(super) fn close_intents(turn: &mut Turn<'_>) {
    let intents = std::mem::take(&mut turn.next.intents);
    let mut open = Vec::new();
    let mut closed = Vec::new();
    for intent in intents {
        match outcome(
            &intent,
            turn.seen.branches.get(&intent.draft.reference),
            &turn.before.intents,
        ) {
            Some(outcome) => closed.push((intent, outcome)),
            None => open.push(intent),
        }
    }
    turn.next.intents = open;
    for (intent, outcome) in closed {
        turn.closed.push(Closing {
            reference: intent.draft.reference.clone(),
            new: intent.new,
            outcome,
        });
        match outcome {
            Outcome::Applied => applied(turn, &intent),
            Outcome::Sealed | Outcome::Overtaken => not_applied(turn, &intent),
        }
    }
}

/// How facts close an intent; `None` while nothing irreversible is known.
fn outcome(intent: &Intent, view: Option<&BranchView>, all: &[Intent]) -> Option<Outcome> {
    let view = view?;
    if view.contains.contains(&intent.new) {
        return Some(Outcome::Applied);
    }
    let same_old = |other: &&Intent| {
        other.draft.reference == intent.draft.reference
            && other.draft.old == intent.draft.old
            && other.new != intent.new
    };
    let winner = all
        .iter()
        .filter(same_old)
        .find(|other| view.contains.contains(&other.new));
    if intent.draft.kind != MoveKind::Seal
        && winner.is_some_and(|winner| winner.draft.kind == MoveKind::Seal)
    {
        return Some(Outcome::Sealed);
    }
    let old_passed = intent.draft.old.is_zero()
        || (view.tip != intent.draft.old && view.contains.contains(&intent.draft.old));
    old_passed.then_some(Outcome::Overtaken)
}

fn applied(turn: &mut Turn<'_>, intent: &Intent) {
    let draft = &intent.draft;
    if draft.kind == MoveKind::SourceRevert {
        source_revert_applied(turn, intent);
        return;
    }
    let branch = turn.next.branches.entry(draft.wave.clone()).or_default();
    // A deleted branch comes back to a tip that was known, or, by now, is behind the one that is.
    let comes_back = draft.kind == MoveKind::Restore && draft.old.is_zero();
    if !comes_back || branch.tip.is_none() {
        branch.tip = Some(intent.new);
    }
    for change in &draft.folders {
        if let Some(tree) = change.tree {
            branch.folders.insert(change.region.clone(), tree);
            branch.ours.insert(change.region.clone(), tree);
        } else {
            branch.folders.remove(&change.region);
            branch.ours.remove(&change.region);
        }
    }
    if draft.kind == MoveKind::Adopt {
        branch.ours = branch.folders.clone();
        adopted(turn, &draft.wave);
    }
    // Only a promotion decides where a region is to be found; all else touches folders that are placed already.
    for change in draft.folders.iter().filter(|change| change.tree.is_some()) {
        if draft.kind == MoveKind::Promote || !turn.next.placements.contains_key(&change.region) {
            place(turn, &change.region, &draft.wave);
        }
    }
    match draft.kind {
        MoveKind::Promote
            if turn.rollout().map(|rollout| rollout.id.as_str()) != draft.rollout.as_deref() =>
        {
            let owed = turn.next.owed.entry(draft.wave.clone()).or_default();
            owed.rollout.clone_from(&draft.rollout);
            owed.source = draft.source;
            owed.regions
                .extend(draft.folders.iter().map(|change| change.region.clone()));
        }
        MoveKind::Promote => {
            for change in &draft.folders {
                turn.arrive(&change.region);
            }
            // The next batch can only be asked for once this one is known to have arrived.
            turn.urgent |= turn.rollout().is_some_and(|rollout| {
                rollout.waves.iter().any(|wave| {
                    wave.name == draft.wave
                        && wave
                            .regions
                            .values()
                            .any(|run| run.state == RegionState::Pending)
                })
            });
        }
        MoveKind::Revert
            if turn
                .next
                .rollout
                .as_ref()
                .is_some_and(|rollout| Some(&rollout.id) == draft.rollout.as_ref()) =>
        {
            for change in &draft.folders {
                turn.move_region(&change.region, RegionState::Reverted, None);
            }
        }
        MoveKind::Leave => {
            turn.urgent = true;
            for change in &draft.folders {
                find_again(turn, &change.region, &draft.wave);
            }
        }
        MoveKind::Revert
        | MoveKind::Create
        | MoveKind::Seal
        | MoveKind::Restore
        | MoveKind::Adopt
        | MoveKind::SourceRevert => {}
    }
}

/// Somebody else's trees are accepted: what regions of the rollout under way have is not what it judges.
fn adopted(turn: &mut Turn<'_>, wave: &str) {
    let theirs: Vec<String> = turn
        .rollout()
        .map(|rollout| {
            rollout
                .waves
                .iter()
                .filter(|run| run.name == wave)
                .flat_map(|run| &run.regions)
                .filter(|(region, run)| {
                    run.before.is_some()
                        && turn.next.folder(wave, region)
                            != rollout
                                .plan
                                .regions
                                .get(*region)
                                .map(|planned| planned.tree)
                })
                .map(|(region, _)| region.clone())
                .collect()
        })
        .unwrap_or_default();
    for region in theirs {
        turn.move_region(
            &region,
            RegionState::Preempted,
            Some("somebody else's tree was adopted".to_owned()),
        );
    }
    let gone: Vec<String> = turn
        .next
        .placements
        .iter()
        .filter(|(region, placement)| {
            placement.wave == wave && turn.next.folder(wave, region).is_none()
        })
        .map(|(region, _)| region.clone())
        .collect();
    for region in gone {
        find_again(turn, &region, wave);
    }
}

/// A folder left this branch: its region is to be found on another that holds it, or nowhere.
fn find_again(turn: &mut Turn<'_>, region: &str, left: &str) {
    if turn
        .next
        .placements
        .get(region)
        .is_none_or(|placement| placement.wave != left)
    {
        return;
    }
    turn.urgent = true;
    let other = turn
        .next
        .branches
        .iter()
        .find(|(_, branch)| branch.folders.contains_key(region))
        .map(|(wave, _)| wave.clone());
    match other {
        Some(wave) => {
            if let Some(placement) = turn.next.placements.get_mut(region) {
                placement.wave = wave;
            }
        }
        None => {
            turn.next.placements.remove(region);
        }
    }
}

/// From now on this branch is where the region is to be found.
fn place(turn: &mut Turn<'_>, region: &str, wave: &str) {
    let planned = turn
        .next
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.plan.regions.get(region));
    let known = turn.next.placements.get(region);
    let placement = match (planned, known) {
        (Some(planned), _) => Placement {
            cluster: planned.cluster.clone(),
            location: planned.location.clone(),
            labels: planned.labels.clone(),
            wave: wave.to_owned(),
        },
        (None, Some(known)) => Placement {
            wave: wave.to_owned(),
            ..known.clone()
        },
        (None, None) => return,
    };
    if known.map(|known| known.wave.as_str()) != Some(placement.wave.as_str()) {
        turn.urgent = true;
    }
    turn.next.placements.insert(region.to_owned(), placement);
}

fn source_revert_applied(turn: &mut Turn<'_>, intent: &Intent) {
    let Some(rollout) = turn
        .next
        .rollout
        .as_mut()
        .filter(|rollout| Some(&rollout.id) == intent.draft.rollout.as_ref())
    else {
        return;
    };
    let to_config = intent.draft.onto.is_none();
    rollout.source_revert = if to_config {
        SourceRevert::Pushed { commit: intent.new }
    } else {
        SourceRevert::Proposed { commit: intent.new }
    };
}

fn not_applied(turn: &mut Turn<'_>, intent: &Intent) {
    if intent.draft.kind == MoveKind::Create {
        // Somebody else made the branch: what stands on it is drift, to be found by the next look.
        turn.next
            .branches
            .entry(intent.draft.wave.clone())
            .or_default();
        turn.urgent = true;
    }
    let current = turn.rollout().map(|rollout| rollout.id.as_str());
    if intent.draft.kind == MoveKind::Promote && current == intent.draft.rollout.as_deref() {
        for change in &intent.draft.folders {
            turn.move_region(
                &change.region,
                RegionState::Pending,
                Some("its promotion did not reach the branch".to_owned()),
            );
        }
    }
}

/// Commits on wave branches that no intent names: logged, held, never fought.
pub(super) fn find_drift(turn: &mut Turn<'_>) -> Option<Writing> {
    let mut writing = Writing::new(
        EntryKind::Drift,
        "commits that are not ours stand on a wave branch",
    );
    let waves: Vec<String> = turn.before.branches.keys().cloned().collect();
    for wave in waves {
        let reference = turn.before.fleet.wave_ref(&wave);
        let Some(view) = turn.seen.branches.get(&reference) else {
            continue;
        };
        let ours: BTreeSet<Oid> = turn
            .before
            .intents
            .iter()
            .filter(|intent| intent.draft.reference == reference)
            .map(|intent| intent.new)
            .collect();
        let foreign: Vec<Oid> = view
            .chain
            .iter()
            .map(|commit| commit.id)
            .filter(|id| !ours.contains(id))
            .collect();
        let Some(top) = view.chain.last().filter(|_| !foreign.is_empty()) else {
            continue;
        };
        for id in foreign {
            writing.entry.drift.push((reference.clone(), id));
        }
        let branch = turn.next.branches.entry(wave.clone()).or_default();
        branch.tip = Some(top.id);
        branch.folders = top.folders.clone();
        let disturbed: Vec<String> = regions_that_differ(branch);
        let hold = super::state::Hold {
            wave: Some(wave.clone()),
            regions: disturbed.clone(),
            rollout: None,
            ..turn.hold(
                HoldReason::Drift,
                format!("{reference} holds commits that are not Tidegate's, up to {}; `tidegate resume --adopt` keeps them, `--restore` puts ours back", top.id),
            )
        };
        turn.next.holds.retain(|known| {
            !(known.reason == HoldReason::Drift && known.wave.as_deref() == Some(wave.as_str()))
        });
        turn.next.holds.push(hold);
        writing.entry.wave = Some(wave);
    }
    (!writing.entry.drift.is_empty()).then_some(writing)
}

fn regions_that_differ(branch: &Branch) -> Vec<String> {
    branch
        .folders
        .keys()
        .chain(branch.ours.keys())
        .filter(|region| branch.folders.get(*region) != branch.ours.get(*region))
        .cloned()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// A wave branch that is gone, or no longer contains what the log calls applied.
pub(super) fn find_damage(turn: &mut Turn<'_>) -> Option<Writing> {
    let damaged: Vec<(String, HoldReason, String)> = turn
        .before
        .branches
        .iter()
        .filter_map(|(wave, branch)| {
            let tip = branch.tip?;
            let reference = turn.before.fleet.wave_ref(wave);
            let comes_back = turn.next.intents.iter().any(|intent| {
                intent.draft.reference == reference && intent.draft.old.is_zero()
            });
            if comes_back {
                return None;
            }
            match turn.seen.branches.get(&reference) {
                None => Some((
                    wave.clone(),
                    HoldReason::BranchDeleted,
                    format!("{reference} was deleted; `tidegate resume --restore` brings it back at {}", tip.short(8)),
                )),
                Some(view) if !view.contains.contains(&tip) => Some((
                    wave.clone(),
                    HoldReason::HistoryRewritten,
                    format!("{reference} was rewritten: it no longer contains {}, which the log calls applied", tip.short(8)),
                )),
                Some(_) => None,
            }
        })
        .collect();
    let concerns_branch = |reason| {
        matches!(
            reason,
            HoldReason::BranchDeleted | HoldReason::HistoryRewritten
        )
    };
    let healed: Vec<String> = turn
        .next
        .holds
        .iter()
        .filter(|hold| concerns_branch(hold.reason) && hold.wave.is_some())
        .filter(|hold| {
            !damaged
                .iter()
                .any(|(wave, reason, _)| hold.wave.as_ref() == Some(wave) && hold.reason == *reason)
        })
        .filter_map(|hold| hold.wave.clone())
        .collect();
    for (wave, reason, message) in damaged {
        let hold = super::state::Hold {
            wave: Some(wave.clone()),
            rollout: None,
            ..turn.hold(reason, message.clone())
        };
        let known = turn
            .next
            .holds
            .iter()
            .any(|known| known.reason == reason && known.wave.as_ref() == Some(&wave));
        if !known && turn.add_hold(hold) {
            return Some(
                Writing::new(EntryKind::Held, format!("held: {reason:?}: {message}")).wave(&wave),
            );
        }
    }
    if let Some(wave) = healed.first() {
        turn.next
            .holds
            .retain(|hold| !(concerns_branch(hold.reason) && hold.wave.as_ref() == Some(wave)));
        return Some(
            Writing::new(
                EntryKind::Resumed,
                format!("the branch of {wave} is whole again"),
            )
            .wave(wave),
        );
    }
    None
}

/// Promote intents that are open, by the state after this turn's closings.
pub(super) fn open_promotes(state: &FleetState) -> Vec<&Intent> {
    state
        .intents
        .iter()
        .filter(|intent| intent.draft.kind == MoveKind::Promote)
        .collect()
}
