//! Giving last good trees back, by new commits, whoever else has been there.

use std::collections::BTreeSet;

use super::ending::finish;
use super::source_revert::{SourceStep, revert_source};
use crate::log::{DraftIntent, EntryKind, FolderChange, Intent, MoveKind};
use crate::oid::Oid;
use crate::rollout::state::{HoldReason, RegionState, RolloutState, SourceRevert};
use crate::rollout::turn::{Turn, Writing};

/// After so many refusals a push is no longer waited for; it is still retried.
const REFUSALS_UNTIL_STUCK: u32 = 3;

/// What the server said, if it has refused this move too often for it to be waited for.
pub(in crate::rollout) fn is_stuck(turn: &Turn<'_>, intent: &Intent) -> Option<String> {
    turn.watch
        .refused
        .get(&(intent.draft.reference.clone(), intent.new))
        .filter(|refusal| refusal.count >= REFUSALS_UNTIL_STUCK)
        .map(|refusal| refusal.message.clone())
}

/// Why a move need not be waited for: the server refuses it, or its branch is not what the log knows.
pub(in crate::rollout) fn cannot_move(turn: &Turn<'_>, intent: &Intent) -> Option<String> {
    let damaged = turn
        .next
        .holds
        .iter()
        .find(|hold| {
            matches!(
                hold.reason,
                HoldReason::BranchDeleted | HoldReason::HistoryRewritten
            ) && hold.wave.as_ref() == Some(&intent.draft.wave)
        })
        .map(|hold| hold.message.clone());
    is_stuck(turn, intent).or(damaged)
}

/// Goes on with a give-back: branches first, then the config branch, then the end.
pub(in crate::rollout) fn roll_back(turn: &mut Turn<'_>) -> Option<Writing> {
    let (drafts, preempted) = give_backs(turn);
    if !drafts.is_empty() {
        mark_reverting(turn, &drafts);
        return Some(
            Writing::new(EntryKind::Intent, "give back what came to be touched").drafts(drafts),
        );
    }
    // A promotion that `Failed` named as open, and its seal, are not waited for.
    let awaited: Vec<&Intent> = turn
        .next
        .intents
        .iter()
        .filter(|intent| {
            !matches!(
                intent.draft.kind,
                MoveKind::SourceRevert | MoveKind::Promote | MoveKind::Seal
            )
        })
        .collect();
    if awaited
        .iter()
        .any(|intent| cannot_move(turn, intent).is_none())
    {
        return None;
    }
    let mut open: Vec<(String, String, Vec<String>)> = Vec::new();
    for intent in turn
        .next
        .intents
        .iter()
        .filter(|intent| !matches!(intent.draft.kind, MoveKind::SourceRevert | MoveKind::Seal))
    {
        let said = cannot_move(turn, intent).unwrap_or_else(|| "it does not answer".to_owned());
        let regions = intent
            .draft
            .folders
            .iter()
            .map(|change| change.region.clone())
            .collect();
        open.push((
            intent.draft.wave.clone(),
            format!("{} could not be given back: {said}", intent.draft.reference),
            regions,
        ));
    }
    match revert_source(turn) {
        SourceStep::Write(writing) => return Some(*writing),
        SourceStep::Wait => return None,
        SourceStep::Settled => {}
    }
    let incomplete = !open.is_empty()
        || !preempted.is_empty()
        || turn.rollout()?.waves.iter().any(|wave| {
            wave.regions
                .values()
                .any(|run| run.state == RegionState::Preempted)
        });
    for (wave, message, regions) in open {
        for region in &regions {
            turn.move_region(region, RegionState::RevertPending, Some(message.clone()));
        }
        let mut hold = turn.hold(HoldReason::PushRefused, message);
        hold.wave = Some(wave);
        hold.regions = regions;
        turn.add_hold(hold);
    }
    forget_preempted(turn, &preempted);
    owe_what_stays(turn);
    let rollout = turn.rollout()?;
    let subject = match &rollout.source_revert {
        SourceRevert::Pushed { commit } => format!("reverted by {}", commit.short(8)),
        SourceRevert::Proposed { commit } => format!(
            "given back; the revert {} waits for a pull request",
            commit.short(8)
        ),
        SourceRevert::NotNeeded => {
            "given back; the config branch no longer holds the change".to_owned()
        }
        SourceRevert::Impossible => {
            "given back; the config branch needs a person to revert it".to_owned()
        }
        SourceRevert::None
        | SourceRevert::NotWanted
        | SourceRevert::Wanted
        | SourceRevert::Proposing => "given back".to_owned(),
    };
    finish(
        turn,
        if incomplete {
            RolloutState::RollbackIncomplete
        } else {
            RolloutState::RolledBack
        },
    );
    Some(Writing::new(EntryKind::Reverted, subject))
}

/// Regions on branches that are still busy are owed their last good trees: they get them once those are free.
/// So are those that an open promotion may still reach.
fn owe_what_stays(turn: &mut Turn<'_>) {
    let Some(rollout) = turn.next.rollout.as_ref() else {
        return;
    };
    let (id, source, plan) = (rollout.id.clone(), rollout.source, rollout.plan.clone());
    let trees = rollout.revert_trees.clone();
    for (wave, branch) in turn.next.branches.clone() {
        let reference = turn.next.fleet.wave_ref(&wave);
        let open: Vec<&Intent> = turn
            .next
            .intents
            .iter()
            .filter(|intent| intent.draft.reference == reference)
            .collect();
        let mut regions: BTreeSet<String> = branch
            .ours
            .iter()
            .filter(|(region, ours)| {
                !open.is_empty()
                    && !plan.excluded.contains_key(*region)
                    && target_of(turn, region).is_some_and(|target| target != **ours)
            })
            .map(|(region, _)| region.clone())
            .collect();
        regions.extend(
            open.iter()
                .filter(|intent| {
                    intent.draft.kind == MoveKind::Promote
                        && intent.draft.rollout.as_ref() == Some(&id)
                })
                .flat_map(|intent| &intent.draft.folders)
                .map(|change| change.region.clone()),
        );
        if !regions.is_empty() {
            let owed = turn.next.owed.entry(wave).or_default();
            owed.rollout = Some(id.clone());
            owed.source = Some(source);
            owed.trees.extend(
                trees
                    .iter()
                    .filter(|(region, _)| regions.contains(*region))
                    .map(|(region, tree)| (region.clone(), *tree)),
            );
            owed.regions.extend(regions);
        }
    }
}

/// What `resume --restore` is to put back on a preempted region's branch is its last good tree, not the one
/// that failed or was aborted.
pub(in crate::rollout) fn forget_preempted(turn: &mut Turn<'_>, preempted: &[String]) {
    for region in preempted {
        let Some(target) = target_of(turn, region) else {
            continue;
        };
        for branch in turn.next.branches.values_mut() {
            if let Some(ours) = branch.ours.get_mut(region) {
                *ours = target;
            }
        }
    }
}

/// What a region is given back: its last good tree, plus protected objects that the commit added.
fn target_of(turn: &Turn<'_>, region: &str) -> Option<Oid> {
    let good = turn.next.last_good.get(region)?.tree;
    let target = turn
        .next
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.revert_trees.get(region).copied());
    Some(target.unwrap_or(good))
}

/// A region that this rollout moved to another wave is found again on the branch that still holds its last
/// good, unless its folder is about to leave that one.
pub(in crate::rollout) fn return_moved_regions(turn: &mut Turn<'_>) {
    let Some(settled) = turn.next.settled.clone() else {
        return;
    };
    let moved: Vec<(String, String)> = turn
        .next
        .placements
        .iter()
        .filter_map(|(region, placement)| {
            let home = settled.wanted.wave_of(region)?;
            let good = turn.next.last_good.get(region)?.tree;
            let leaves = turn.next.intents.iter().any(|intent| {
                intent.draft.kind == MoveKind::Leave
                    && intent.draft.wave == home
                    && intent
                        .draft
                        .folders
                        .iter()
                        .any(|change| change.region == *region)
            });
            (home != placement.wave && !leaves && turn.next.folder(home, region) == Some(good))
                .then(|| (region.clone(), home.to_owned()))
        })
        .collect();
    for (region, home) in moved {
        if let Some(placement) = turn.next.placements.get_mut(&region) {
            placement.wave = home;
        }
    }
}

pub(in crate::rollout) fn mark_reverting(turn: &mut Turn<'_>, drafts: &[DraftIntent]) {
    for change in drafts.iter().flat_map(|draft| &draft.folders) {
        turn.move_region(&change.region, RegionState::Reverting, None);
    }
}

/// What it takes to give every region its last good tree back, one move a branch, and the regions that
/// cannot be because somebody else's tree is there.
pub(in crate::rollout) fn give_backs(turn: &mut Turn<'_>) -> (Vec<DraftIntent>, Vec<String>) {
    give_backs_of(turn, |_| true)
}

pub(in crate::rollout) fn give_backs_of(
    turn: &mut Turn<'_>,
    wanted: impl Fn(&str) -> bool,
) -> (Vec<DraftIntent>, Vec<String>) {
    let Some(rollout) = turn.next.rollout.as_ref() else {
        return (Vec::new(), Vec::new());
    };
    let mut drafts = Vec::new();
    let mut preempted = Vec::new();
    let mut kept = Vec::new();
    // Last promoted wave first: what the server takes one by one begins where the harm is.
    let order = rollout.waves.iter().rev().map(|wave| wave.name.as_str());
    let others = turn
        .next
        .branches
        .keys()
        .map(String::as_str)
        .filter(|wave| !rollout.waves.iter().any(|run| run.name == *wave));
    for wave in order.chain(others) {
        let Some(branch) = turn.next.branches.get(wave) else {
            continue;
        };
        let Some(tip) = branch.tip else { continue };
        let mut folders = Vec::new();
        for (region, ours) in branch.ours.iter().filter(|(region, _)| wanted(region)) {
            if rollout.plan.excluded.contains_key(region) {
                continue;
            }
            let Some(good) = turn.next.last_good.get(region) else {
                kept.push(region.clone());
                continue;
            };
            let target = rollout
                .revert_trees
                .get(region)
                .copied()
                .unwrap_or(good.tree);
            if *ours == good.tree || *ours == target {
                continue;
            }
            match branch.folders.get(region) {
                Some(actual) if *actual == good.tree || *actual == target => {}
                Some(actual) if actual == ours => folders.push(FolderChange {
                    region: region.clone(),
                    tree: Some(target),
                }),
                _ => preempted.push(region.clone()),
            }
        }
        let reference = turn.next.fleet.wave_ref(wave);
        if !folders.is_empty() && turn.next.open_intent(&reference).is_none() {
            drafts.push(DraftIntent {
                reference,
                old: tip,
                kind: MoveKind::Revert,
                wave: wave.to_owned(),
                folders,
                given: None,
                onto: None,
                rollout: Some(rollout.id.clone()),
                source: Some(rollout.source),
            });
        }
    }
    for region in kept {
        if turn.next.rollout.as_ref().is_some_and(|rollout| {
            rollout
                .region(&region)
                .is_some_and(|(_, run)| run.state != RegionState::Pending)
        }) {
            turn.move_region(&region, RegionState::Kept, None);
        }
        turn.next.kept.insert(region);
    }
    for region in &preempted {
        turn.move_region(
            region,
            RegionState::Preempted,
            Some("somebody else's tree is on its branch".to_owned()),
        );
    }
    (drafts, preempted)
}

/// A promotion of a failed rollout that reached its branch late: the regions get their last good trees back
/// before anything else happens there.
pub(in crate::rollout) fn pay_owed(turn: &mut Turn<'_>) -> Option<Writing> {
    let mut drafts = Vec::new();
    for (wave, owed) in turn.next.owed.clone() {
        let reference = turn.next.fleet.wave_ref(&wave);
        let busy = turn
            .next
            .intents
            .iter()
            .any(|intent| intent.draft.reference == reference);
        let Some(branch) = turn.next.branches.get(&wave).filter(|_| !busy) else {
            continue;
        };
        let Some(tip) = branch.tip else { continue };
        let folders: Vec<FolderChange> =
            owed.regions
                .iter()
                .filter_map(|region| {
                    let good = turn.next.last_good.get(region)?.tree;
                    let newest = turn.next.rollout.as_ref().map(|rollout| &rollout.id);
                    let target = match owed.trees.get(region) {
                        Some(tree) => *tree,
                        None if newest == owed.rollout.as_ref() => target_of(turn, region)?,
                        None => good,
                    };
                    let ours = *branch.ours.get(region)?;
                    // Somebody else's tree is drift, and drift is a person's to settle.
                    (ours != good && ours != target && branch.folders.get(region) == Some(&ours))
                        .then(|| FolderChange {
                            region: region.clone(),
                            tree: Some(target),
                        })
                })
                .collect();
        turn.next.owed.remove(&wave);
        if !folders.is_empty() {
            drafts.push(DraftIntent {
                reference,
                old: tip,
                kind: MoveKind::Revert,
                wave,
                folders,
                given: None,
                onto: None,
                rollout: owed.rollout,
                source: owed.source,
            });
        }
    }
    (!drafts.is_empty()).then(|| {
        Writing::new(
            EntryKind::Intent,
            "a promotion of a failed rollout arrived late; it is given back",
        )
        .drafts(drafts)
    })
}
