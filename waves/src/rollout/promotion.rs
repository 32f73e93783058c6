//! Who is promoted next, and which folders leave the branches that their regions moved away from.

use super::failure::is_strict;
use super::holds::{is_region_stopped, is_wave_stopped};
use super::state::{Baseline, RegionState};
use super::turn::Turn;
use crate::fleet::SlotUntil;
use crate::log::{DraftIntent, FolderChange, MoveKind};

/// What one step promotes.
pub(super) struct Batch {
    /// The regions, in their order.
    pub(super) regions: Vec<String>,
    /// The move of the wave's branch; none where it holds all the trees already.
    pub(super) drafts: Vec<DraftIntent>,
}

/// The regions of a wave that may be promoted now, in one move of its branch.
pub(super) fn next_batch(turn: &mut Turn<'_>, index: usize) -> Option<Batch> {
    let rollout = turn.rollout()?;
    let run = rollout.waves.get(index)?;
    let planned = rollout.plan.wave(&run.name)?.clone();
    let name = run.name.clone();
    if is_wave_stopped(&turn.next, &name) {
        return None;
    }
    let reference = turn.next.fleet.wave_ref(&name);
    // A branch that is not known to exist is not promoted to: a delayed create could undo a deletion.
    let tip = turn.next.branches.get(&name)?.tip?;
    let strict_alone = index > 0
        && is_strict(rollout, &name)
        && !run
            .regions
            .values()
            .any(|run| run.state == RegionState::Done);
    let holds_slot = |state: RegionState| {
        state.is_in_flight()
            || (state == RegionState::Baking
                && (strict_alone || planned.policy.slot_until == SlotUntil::Baked))
    };
    let in_flight = run
        .regions
        .values()
        .filter(|run| holds_slot(run.state))
        .count();
    let limit = if strict_alone {
        1
    } else {
        planned
            .policy
            .max_concurrent
            .at_least_one_of(planned.regions.len())
    };
    let free = limit.saturating_sub(in_flight);
    let mut pending: Vec<String> = planned
        .regions
        .iter()
        .filter(|region| {
            run.regions
                .get(*region)
                .is_some_and(|run| run.state == RegionState::Pending)
                && !is_region_stopped(&turn.next, region)
        })
        .cloned()
        .collect();
    if free == 0 || pending.is_empty() {
        turn.watch.slots_free_since = None;
        return None;
    }
    // Regions on the tree of a superseded rollout come first: they are the most exposed.
    let on_superseded = |region: &String| {
        let folder = turn.next.folder(&name, region);
        folder.is_some() && folder != turn.next.last_good.get(region).map(|good| good.tree)
    };
    pending.sort_by_key(|region| !on_superseded(region));
    if turn.is_busy(&reference)
        || (in_flight > 0 && free < pending.len() && free < limit && !turn.slots_are_gathered())
    {
        return None;
    }
    // All of them are asked at once, so that regions which do not answer are waited for together.
    let known: Vec<Option<(String, Baseline)>> = pending
        .into_iter()
        .take(free)
        .map(|region| {
            let baseline = turn.watch.baseline(turn.before, &region, turn.now)?;
            Some((region, baseline))
        })
        .collect();
    let chosen: Vec<(String, Baseline)> = known.into_iter().map_while(|known| known).collect();
    if chosen.is_empty() {
        return None;
    }
    let rollout = turn.rollout()?;
    let (id, source, plan) = (rollout.id.clone(), rollout.source, rollout.plan.clone());
    let mut folders = Vec::new();
    let mut regions = Vec::new();
    for (region, baseline) in chosen {
        let tree = plan.regions.get(&region)?.tree;
        let already_there = turn.next.folder(&name, &region) == Some(tree);
        if already_there {
            turn.arrive(&region);
        } else {
            turn.move_region(&region, RegionState::Promoted, None);
        }
        if let Some(run) = turn
            .next
            .rollout
            .as_mut()
            .and_then(|rollout| rollout.region_mut(&region))
        {
            run.before = Some(baseline);
        }
        if !already_there {
            folders.push(FolderChange {
                region: region.clone(),
                tree: Some(tree),
            });
        }
        regions.push(region);
    }
    // The log says a batch by its regions' names alone where they are in order.
    folders.sort_by(|one, other| one.region.cmp(&other.region));
    let drafts = if folders.is_empty() {
        Vec::new()
    } else {
        vec![DraftIntent {
            reference,
            old: tip,
            kind: MoveKind::Promote,
            wave: name,
            folders,
            given: None,
            onto: None,
            rollout: Some(id),
            source: Some(source),
        }]
    };
    Some(Batch { regions, drafts })
}

/// Folders whose region is healthy on another branch by now, or was removed: they leave, one move a branch.
pub(super) fn leave_drafts(turn: &mut Turn<'_>) -> Vec<DraftIntent> {
    let Some(rollout) = turn.rollout() else {
        return Vec::new();
    };
    let mut drafts = Vec::new();
    for (wave, branch) in &turn.next.branches {
        let Some(tip) = branch.tip else { continue };
        let leaving: Vec<FolderChange> = branch
            .ours
            .iter()
            .filter(|(region, ours)| branch.folders.get(*region) == Some(ours))
            .filter(|(region, _)| match turn.next.placements.get(*region) {
                Some(placement) => {
                    placement.wave != *wave
                        && rollout.plan.wave_of(region) == Some(placement.wave.as_str())
                        && turn.next.folder(&placement.wave, region).is_some()
                        && rollout.region(region).is_some_and(|(_, run)| {
                            matches!(
                                run.state,
                                RegionState::Baking | RegionState::Done | RegionState::NoChange
                            )
                        })
                }
                None => rollout.removals.contains(*region),
            })
            .map(|(region, _)| FolderChange {
                region: region.clone(),
                tree: None,
            })
            .collect();
        let reference = turn.next.fleet.wave_ref(wave);
        if !leaving.is_empty() && turn.next.open_intent(&reference).is_none() {
            drafts.push(DraftIntent {
                reference,
                old: tip,
                kind: MoveKind::Leave,
                wave: wave.clone(),
                folders: leaving,
                given: None,
                onto: None,
                rollout: Some(rollout.id.clone()),
                source: Some(rollout.source),
            });
        }
    }
    drafts
}
