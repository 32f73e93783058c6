//! The way forward: regions become healthy and bake, holds begin and end, waves pass, batches are promoted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::failure::{
    deadline_passed, is_strict, is_unreachable, isolated_give_backs, last_evidence, slowest_gate,
};
use super::state::{
    Baseline, Failure, FailureReason, HoldReason, LastGood, RegionState, Rollout, RolloutState,
    Sealing, Settled, WaveState,
};
use super::turn::{Turn, Writing};
use crate::fleet::{Gate, OnUnreachable, SlotUntil};
use crate::gate::{GateFold, Reading};
use crate::log::{DraftIntent, EntryKind, FolderChange, MoveKind};
use crate::oid::Oid;
use crate::plan::PlannedWave;

/// Goes on with the rollout under way, if nothing is being given back.
pub(super) fn go_on(turn: &mut Turn<'_>) -> Option<Writing> {
    let rollout = turn.rollout()?;
    if rollout.state == RolloutState::RollingBack || rollout.sealing.is_some() {
        return None;
    }
    advance_regions(turn);
    if let Some(writing) = begin_holds(turn).or_else(|| end_holds(turn)) {
        return Some(writing);
    }
    let held = turn
        .next
        .holds
        .iter()
        .any(|hold| hold.reason.stops_advancing() && !hold.reason.is_before_opening());
    let wall = turn.now.wall;
    let rollout = turn.rollout_mut()?;
    rollout.state = if held {
        RolloutState::Held
    } else {
        RolloutState::Running
    };
    refresh_waves(rollout, held, wall);
    if held {
        return None;
    }
    let drafts = isolated_give_backs(turn);
    if !drafts.is_empty() {
        return Some(
            Writing::new(
                EntryKind::Intent,
                "give isolated regions their last good tree back",
            )
            .drafts(drafts),
        );
    }
    advance_waves(turn)
}

/// What regions came to, and intents that were closed, at most once a gate interval.
pub(super) fn report(turn: &mut Turn<'_>) -> Option<Writing> {
    if !turn.progress_is_due() {
        return None;
    }
    if !turn.lines.is_empty() {
        return Some(Writing::new(EntryKind::Progress, summary(turn)));
    }
    (!turn.closed.is_empty()).then(|| Writing::new(EntryKind::Applied, "intents were closed"))
}

fn summary(turn: &Turn<'_>) -> String {
    match turn.lines.as_slice() {
        [line] => line.clone(),
        lines => format!("{} changes", lines.len()),
    }
}

/// Moves every watched region on as far as its samples and its bake carry it.
fn advance_regions(turn: &mut Turn<'_>) {
    let Some(rollout) = turn.rollout() else {
        return;
    };
    let (plan, hotfix) = (rollout.plan.clone(), rollout.hotfix);
    let watched: Vec<(String, String, RegionState)> = rollout
        .waves
        .iter()
        .flat_map(|wave| {
            wave.regions
                .iter()
                .map(move |(region, run)| (wave.name.clone(), region.clone(), run.state))
        })
        .filter(|(_, _, state)| state.is_watched() && *state != RegionState::Done)
        .collect();
    for (wave, region, mut state) in watched {
        let Some(planned) = plan.wave(&wave) else {
            continue;
        };
        let gates = plan.gates_of(&region);
        let answered = gates.iter().any(|gate| {
            turn.watch
                .gate(&region, &gate.name)
                .and_then(GateFold::last)
                .is_some()
        });
        if state == RegionState::Applying && answered {
            state = RegionState::Verifying;
            turn.move_region(&region, state, None);
        }
        let was_healthy = turn
            .rollout()
            .and_then(|rollout| rollout.region(&region))
            .is_some_and(|(_, run)| run.was_healthy);
        if state != RegionState::Baking
            && (turn.watch.all_healthy(&region, &gates)
                || (was_healthy && state != RegionState::Held))
        {
            let proves = |gate: &Gate| {
                turn.watch
                    .gate(&region, &gate.name)
                    .is_some_and(GateFold::is_proven)
            };
            let proven = (!gates.is_empty()).then(|| gates.iter().any(proves));
            let evidence = gates.first().map(|gate| {
                let words = last_evidence(turn, &region, gate);
                let unproven = if proven == Some(false) {
                    ", revision not proven"
                } else {
                    ""
                };
                format!("{} {words}{unproven}", gate.name)
            });
            if let Some(watch) = turn.watch.regions.get_mut(&region) {
                watch.after.values_mut().for_each(GateFold::start_bake);
                watch.plain_bake = Duration::ZERO;
            }
            turn.move_region(&region, RegionState::Baking, evidence);
            if let Some(run) = turn
                .next
                .rollout
                .as_mut()
                .and_then(|rollout| rollout.region_mut(&region))
            {
                run.was_healthy = true;
                run.proven = proven;
            }
            state = RegionState::Baking;
        }
        let bake = if hotfix {
            Duration::ZERO
        } else {
            planned.policy.bake
        };
        if state == RegionState::Baking
            && turn.watch.all_healthy(&region, &gates)
            && turn.watch.baked(&region, &gates) >= bake
        {
            turn.move_region(
                &region,
                RegionState::Done,
                Some(format!("baked {}", crate::duration::format(bake))),
            );
        }
    }
}

/// Regions that cannot be judged, or do not stay healthy: skipped as far as the wave allows, else held.
fn begin_holds(turn: &mut Turn<'_>) -> Option<Writing> {
    let rollout = turn.rollout()?;
    let plan = rollout.plan.clone();
    for planned in &plan.waves {
        for region in &planned.regions {
            let Some((_, run)) = turn.rollout()?.region(region).filter(|(_, run)| {
                run.state.is_watched()
                    && !matches!(run.state, RegionState::Done | RegionState::Held)
            }) else {
                continue;
            };
            let (before, state, was_healthy) = (run.before, run.state, run.was_healthy);
            let gates = plan.gates_of(region);
            if state == RegionState::Baking {
                let limit = planned
                    .policy
                    .progress_deadline
                    .saturating_add(planned.policy.bake.saturating_mul(3));
                let used = turn
                    .watch
                    .regions
                    .get(region)
                    .map_or(Duration::ZERO, |watch| watch.baking_used);
                if used >= limit && !gates.is_empty() {
                    return Some(hold_region(
                        turn,
                        planned,
                        region,
                        HoldReason::Unstable,
                        "it does not stay healthy for its bake",
                    ));
                }
                continue;
            }
            if was_healthy
                || !deadline_passed(turn, region, planned)
                || !is_unreachable(turn, region, before, &gates)
            {
                continue;
            }
            if planned.policy.on_unreachable == OnUnreachable::Fail {
                continue;
            }
            let gate = slowest_gate(turn, region, &gates);
            let evidence = gate
                .map(|gate| format!("{} {}", gate.name, last_evidence(turn, region, gate)))
                .unwrap_or_default();
            let message = format!(
                "not healthy within {}: {evidence}",
                crate::duration::format(planned.policy.progress_deadline)
            );
            let skipped = turn.rollout()?.region(region).map_or(0, |(wave, _)| {
                wave.regions
                    .values()
                    .filter(|run| {
                        run.state == RegionState::Skipped
                            && run
                                .reason
                                .as_deref()
                                .is_some_and(|reason| reason.starts_with("not healthy within"))
                    })
                    .count()
            });
            if skipped < planned.policy.max_unreachable.of(planned.regions.len()) {
                turn.move_region(region, RegionState::Skipped, Some(message));
                continue;
            }
            let readings: BTreeSet<Reading> = gates
                .iter()
                .filter_map(|gate| turn.watch.gate(region, &gate.name).and_then(GateFold::last))
                .map(|(_, sample)| sample.reading)
                .collect();
            let sick = gates.iter().any(|gate| {
                turn.watch
                    .gate(region, &gate.name)
                    .is_some_and(GateFold::is_sick)
            });
            let reason = if readings.contains(&Reading::EgressDenied) {
                HoldReason::EgressDenied
            } else if sick {
                HoldReason::AlreadySick
            } else {
                HoldReason::Unreachable
            };
            return Some(hold_region(turn, planned, region, reason, &message));
        }
    }
    None
}

fn hold_region(
    turn: &mut Turn<'_>,
    wave: &PlannedWave,
    region: &str,
    reason: HoldReason,
    message: &str,
) -> Writing {
    turn.move_region(region, RegionState::Held, Some(message.to_owned()));
    let mut hold = turn.hold(reason, format!("{region}: {message}"));
    hold.wave = Some(wave.name.clone());
    hold.regions = vec![region.to_owned()];
    turn.add_hold(hold);
    Writing::new(
        EntryKind::Held,
        format!("held: {reason:?}: {region}: {message}"),
    )
    .wave(&wave.name)
}

/// Holds that ended by themselves: the region became healthy, the others recovered, the time is over.
fn end_holds(turn: &mut Turn<'_>) -> Option<Writing> {
    let rollout = turn.rollout()?;
    let over: Vec<usize> = turn
        .next
        .holds
        .iter()
        .enumerate()
        .filter(|(_, hold)| match hold.reason {
            HoldReason::Requested => hold.until.is_some_and(|until| until <= turn.now.wall),
            HoldReason::Unreachable => hold.regions.iter().all(|region| {
                rollout
                    .region(region)
                    .is_none_or(|(_, run)| run.state != RegionState::Held)
            }),
            HoldReason::SharedCause => hold.regions.iter().all(|region| {
                turn.watch
                    .regions
                    .get(region)
                    .is_none_or(|watch| !watch.after.values().any(GateFold::is_suspect))
            }),
            _ => false,
        })
        .map(|(index, _)| index)
        .collect();
    if over.is_empty() {
        return None;
    }
    let mut reasons = Vec::new();
    let mut index = 0;
    turn.next.holds.retain(|hold| {
        let ends = over.contains(&index);
        index += 1;
        if ends {
            reasons.push(format!("{:?}", hold.reason));
        }
        !ends
    });
    Some(Writing::new(
        EntryKind::Resumed,
        format!("resumed: {} is over", reasons.join(", ")),
    ))
}

/// Brings the states of the waves up to date with those of their regions.
fn refresh_waves(rollout: &mut Rollout, held: bool, wall: i64) {
    let current = rollout
        .waves
        .iter()
        .position(|wave| !wave.state.is_passed());
    for (index, wave) in rollout.waves.iter_mut().enumerate() {
        if wave.state.is_passed() {
            continue;
        }
        let state = if Some(index) != current {
            WaveState::NotStarted
        } else if held {
            WaveState::Blocked
        } else if wave
            .regions
            .values()
            .any(|run| run.state == RegionState::Baking)
            && wave
                .regions
                .values()
                .all(|run| run.state == RegionState::Baking || run.state.is_settled())
        {
            WaveState::Baking
        } else {
            WaveState::Progressing
        };
        if wave.state != state {
            wave.state = state;
            wave.since = wall;
        }
    }
}

/// Passes the current wave, promotes its next batch, or ends the rollout.
fn advance_waves(turn: &mut Turn<'_>) -> Option<Writing> {
    let leaves = leave_drafts(turn);
    if !leaves.is_empty() {
        return Some(
            Writing::new(
                EntryKind::Intent,
                "folders leave the branches that their regions moved away from",
            )
            .drafts(leaves),
        );
    }
    let rollout = turn.rollout()?;
    let Some(index) = rollout
        .waves
        .iter()
        .position(|wave| !wave.state.is_passed())
    else {
        return succeed(turn);
    };
    let name = rollout.waves.get(index)?.name.clone();
    if let Some(writing) = pass(turn, index, &name) {
        return Some(writing);
    }
    let batch = next_batch(turn, index)?;
    turn.watch.slots_free_since = None;
    let kind = if batch.drafts.is_empty() {
        EntryKind::Progress
    } else {
        EntryKind::Intent
    };
    Some(
        Writing::new(
            kind,
            format!("promote {} to {}", batch.regions.join(", "), name),
        )
        .wave(&name)
        .drafts(batch.drafts),
    )
}

/// Passes a wave whose regions are all settled, or fails it where too few of them are healthy.
fn pass(turn: &mut Turn<'_>, index: usize, name: &str) -> Option<Writing> {
    let rollout = turn.rollout()?;
    let wave = rollout.waves.get(index)?;
    let planned = rollout.plan.wave(name)?.clone();
    // A region that is being given back alone is settled; one whose promotion is unknown is not.
    if !wave.regions.values().all(|run| run.state.is_settled()) {
        return None;
    }
    let healthy = wave
        .regions
        .values()
        .filter(|run| matches!(run.state, RegionState::Done | RegionState::NoChange))
        .count();
    let counted = wave
        .regions
        .iter()
        .filter(|(region, run)| !is_left_out(turn, region, run.state))
        .count();
    let failed = wave
        .regions
        .values()
        .filter(|run| matches!(run.state, RegionState::Failed | RegionState::TimedOut))
        .count();
    if healthy < planned.policy.min_healthy_of(counted) {
        let region = wave.regions.iter().find(|(_, run)| {
            matches!(
                run.state,
                RegionState::Failed | RegionState::TimedOut | RegionState::Skipped
            )
        });
        let failure = Failure {
            reason: FailureReason::Harm,
            wave: name.to_owned(),
            region: region.map(|(region, _)| region.clone()).unwrap_or_default(),
            gate: String::new(),
            tree: region
                .and_then(|(region, _)| rollout.plan.regions.get(region))
                .map(|planned| planned.tree),
            evidence: format!("only {healthy} of {counted} regions of {name} are healthy"),
        };
        if rollout.first {
            let hold = turn.hold(HoldReason::FirstRolloutFailed, failure.evidence.clone());
            return turn.add_hold(hold).then(|| {
                Writing::new(
                    EntryKind::Held,
                    format!("held: FirstRolloutFailed: {}", failure.evidence),
                )
                .wave(name)
            });
        }
        return super::failure::end_with(turn, Sealing::Failed { failure });
    }
    let wall = turn.now.wall;
    let state = if failed > 0 {
        WaveState::PassedWithFailures
    } else {
        WaveState::Passed
    };
    let run = turn.rollout_mut()?.waves.get_mut(index)?;
    run.state = state;
    run.since = wall;
    let subject = format!("{name} passed: {healthy}/{counted} regions healthy");
    let mut writing = Writing::new(EntryKind::WavePassed, subject).wave(name);
    turn.watch.slots_free_since = None;
    if let Some(batch) = next_batch(turn, index.saturating_add(1)) {
        writing.drafts = batch.drafts;
    }
    Some(writing)
}

/// Whether a region counts in no number: skipped by a person, isolated, moved away by somebody.
fn is_left_out(turn: &Turn<'_>, region: &str, state: RegionState) -> bool {
    match state {
        RegionState::Reverting
        | RegionState::Reverted
        | RegionState::Removed
        | RegionState::Kept
        | RegionState::Preempted
        | RegionState::Skipped => true,
        RegionState::Failed | RegionState::TimedOut => turn.rollout().is_some_and(|rollout| {
            turn.next.quarantine.iter().any(|item| {
                item.isolated && item.rollout == rollout.id && item.digests.contains_key(region)
            })
        }),
        _ => false,
    }
}

struct Batch {
    regions: Vec<String>,
    drafts: Vec<DraftIntent>,
}

/// The regions of a wave that may be promoted now, in one move of its branch.
fn next_batch(turn: &mut Turn<'_>, index: usize) -> Option<Batch> {
    let rollout = turn.rollout()?;
    let run = rollout.waves.get(index)?;
    let planned = rollout.plan.wave(&run.name)?.clone();
    let name = run.name.clone();
    let reference = turn.next.fleet.wave_ref(&name);
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
    let tip = turn.next.branches.get(&name).and_then(|branch| branch.tip);
    let mut chosen: Vec<(String, Baseline)> = Vec::new();
    for region in pending.into_iter().take(free) {
        let Some(baseline) = turn.watch.baseline(&turn.next, &region, turn.now) else {
            break;
        };
        chosen.push((region, baseline));
    }
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
        let state = if already_there {
            RegionState::Applying
        } else {
            RegionState::Promoted
        };
        turn.move_region(&region, state, None);
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
    let drafts = if folders.is_empty() {
        Vec::new()
    } else {
        vec![DraftIntent {
            reference,
            old: tip?,
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
fn leave_drafts(turn: &mut Turn<'_>) -> Vec<DraftIntent> {
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

/// All waves passed: removed regions go, open moves are waited for, and last good advances.
fn succeed(turn: &mut Turn<'_>) -> Option<Writing> {
    let rollout = turn.rollout()?;
    let removed: Vec<String> = rollout
        .removals
        .iter()
        .filter(|region| turn.next.placements.contains_key(*region))
        .cloned()
        .collect();
    if !removed.is_empty() {
        for region in &removed {
            turn.next.placements.remove(region);
        }
        return Some(Writing::new(
            EntryKind::Progress,
            format!(
                "{} left regions.json, before their folders leave",
                removed.join(", ")
            ),
        ));
    }
    if turn
        .next
        .intents
        .iter()
        .any(|intent| intent.draft.kind != MoveKind::SourceRevert)
    {
        return None;
    }
    let wall = turn.now.wall;
    let rollout = turn.rollout_mut()?;
    rollout.state = RolloutState::Succeeded;
    rollout.ended = Some(wall);
    let (plan, source, id) = (rollout.plan.clone(), rollout.source, rollout.id.clone());
    let runs: Vec<(String, RegionState)> = rollout
        .waves
        .iter()
        .flat_map(|wave| &wave.regions)
        .map(|(region, run)| (region.clone(), run.state))
        .collect();
    let removals = rollout.removals.clone();
    for (region, state) in runs {
        let Some(planned) = plan.regions.get(&region) else {
            continue;
        };
        match state {
            RegionState::Done | RegionState::NoChange => {
                let gates = plan.gates_of(&region);
                turn.next.last_good.insert(
                    region.clone(),
                    LastGood {
                        source,
                        tree: planned.tree,
                        gates,
                    },
                );
                turn.next.set_aside.remove(&region);
                turn.next.kept.remove(&region);
            }
            RegionState::Skipped | RegionState::Failed | RegionState::TimedOut => {
                let tree: Oid = planned.tree;
                turn.next.set_aside.insert(region.clone(), tree);
            }
            _ => {}
        }
        if let Some(placement) = turn.next.placements.get_mut(&region) {
            placement.cluster.clone_from(&planned.cluster);
            placement.location.clone_from(&planned.location);
            placement.labels.clone_from(&planned.labels);
        }
    }
    for region in removals {
        turn.next.last_good.remove(&region);
        turn.next.set_aside.remove(&region);
    }
    turn.next.proven = true;
    turn.next.settled = Some(Settled {
        source,
        wanted: plan,
    });
    turn.next
        .holds
        .retain(|hold| hold.rollout.as_deref() != Some(id.as_str()));
    Some(Writing::new(EntryKind::Succeeded, "every wave passed"))
}
