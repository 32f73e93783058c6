//! The way forward: regions become healthy and bake, holds begin and end, waves pass, batches are promoted.

use std::time::Duration;

use super::failure::{
    is_isolated, is_unreachable, isolated_give_backs, last_evidence, slowest_gate,
};
use super::holds::{begin_holds, end_holds, is_held_for, is_stopped, is_wave_stopped};
use super::promotion::{leave_drafts, next_batch};
use super::state::{
    Failure, FailureReason, FleetState, HoldReason, LastGood, LeftOut, RegionRun, RegionState,
    RolloutState, Sealing, Settled, WaveState,
};
use super::turn::{Turn, Writing};
use crate::fleet::{Gate, OnFailure, OnUnreachable};
use crate::gate::{GateFold, Reading};
use crate::log::{EntryKind, MoveKind};
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
    // A hold never blocks a revert.
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
    if is_stopped(&turn.next) {
        return None;
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
        let gates: Vec<&Gate> = plan.gates_in(planned, &region).collect();
        if state == RegionState::Applying
            && let Some(gate) = first_to_answer(turn, &region, &gates)
        {
            state = RegionState::Verifying;
            let evidence = format!("{} {}", gate.name, last_evidence(turn, &region, gate));
            turn.move_region(&region, state, Some(evidence));
        }
        let was_healthy = turn
            .rollout()
            .and_then(|rollout| rollout.region(&region))
            .is_some_and(|(_, run)| run.was_healthy);
        // Whoever did not stay healthy for a bake is let on by a person alone.
        if is_held_for(&turn.next, &region, HoldReason::Unstable) {
            continue;
        }
        if state != RegionState::Baking
            && (turn.watch.all_healthy(&region, &gates)
                || (was_healthy && state != RegionState::Held))
        {
            let proves = |gate: &Gate| {
                turn.watch
                    .gate(&region, &gate.name)
                    .is_some_and(GateFold::is_proven)
            };
            let proven = (!gates.is_empty()).then(|| gates.iter().copied().any(proves));
            let evidence = gates.first().map(|gate| {
                let words = last_evidence(turn, &region, gate);
                let unproven = if proven == Some(false) {
                    ", revision not proven"
                } else {
                    ""
                };
                format!("{} {words}{unproven}", gate.name)
            });
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

/// A gate to which the region has just answered something, were it of an older tree; that it could not be asked, or that
/// nothing could be learnt, is no answer.
fn first_to_answer<'a>(turn: &Turn<'_>, region: &str, gates: &[&'a Gate]) -> Option<&'a Gate> {
    gates.iter().copied().find(|gate| {
        turn.watch
            .gate(region, &gate.name)
            .and_then(GateFold::last)
            .is_some_and(|(_, sample)| match sample.reading {
                Reading::Healthy { .. }
                | Reading::Bad
                | Reading::Sick
                | Reading::Progressing
                | Reading::Stale => true,
                Reading::Unknown | Reading::Unreachable | Reading::EgressDenied => false,
            })
    })
}

/// Brings what is shown of the rollout and its waves up to date with its holds and regions.
pub(super) fn show(state: &mut FleetState, wall: i64) {
    let Some(rollout) = state.active() else {
        return;
    };
    let current = rollout
        .waves
        .iter()
        .position(|wave| !wave.state.is_passed());
    let held = is_stopped(state)
        || current
            .and_then(|current| rollout.waves.get(current))
            .is_some_and(|wave| is_wave_stopped(state, &wave.name));
    let Some(rollout) = state
        .rollout
        .as_mut()
        .filter(|rollout| matches!(rollout.state, RolloutState::Running | RolloutState::Held))
    else {
        return;
    };
    rollout.state = if held {
        RolloutState::Held
    } else {
        RolloutState::Running
    };
    for (index, wave) in rollout.waves.iter_mut().enumerate() {
        if wave.state.is_passed() {
            continue;
        }
        let all_settle = wave
            .regions
            .values()
            .all(|run| run.state == RegionState::Baking || run.state.is_settled());
        let bakes = wave
            .regions
            .values()
            .any(|run| run.state == RegionState::Baking);
        let state = if Some(index) != current {
            WaveState::NotStarted
        } else if held {
            WaveState::Blocked
        } else if bakes && all_settle {
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
    // Where the branch holds all the trees already, nothing moves: that rides on the next entry.
    (!batch.drafts.is_empty()).then(|| {
        Writing::new(
            EntryKind::Intent,
            format!("promote {} to {}", batch.regions.join(", "), name),
        )
        .wave(&name)
        .drafts(batch.drafts)
    })
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
        .filter(|(region, run)| !is_left_out(turn, region, run))
        .count();
    let failed = wave
        .regions
        .values()
        .filter(|run| matches!(run.state, RegionState::Failed | RegionState::TimedOut))
        .count();
    if healthy < planned.policy.min_healthy_of(counted) {
        let message = format!("only {healthy} of {counted} regions of {name} are healthy");
        return act_on_too_few(turn, &planned, &message);
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

/// A wave in which too few regions are healthy ends the rollout, or holds it where the policy says so, or
/// where nothing but unreachable regions is missing.
fn act_on_too_few(turn: &mut Turn<'_>, planned: &PlannedWave, message: &str) -> Option<Writing> {
    let rollout = turn.rollout()?;
    let run = rollout.waves.iter().find(|run| run.name == planned.name)?;
    let failed = planned.regions.iter().find_map(|region| {
        let state = run.regions.get(region)?;
        let counts = matches!(state.state, RegionState::Failed | RegionState::TimedOut)
            && !is_left_out(turn, region, state);
        counts.then_some((region, state))
    });
    let Some((region, run)) = failed else {
        return hold_unreachable_again(turn, planned, message);
    };
    let gates: Vec<&Gate> = rollout.plan.gates_in(planned, region).collect();
    let gate = slowest_gate(turn, region, &gates);
    let reason = if run.state == RegionState::Failed {
        FailureReason::Harm
    } else if planned.policy.on_unreachable == OnUnreachable::Fail
        && is_unreachable(turn, region, run.before, &gates)
    {
        FailureReason::Unreachable
    } else {
        FailureReason::TimedOut
    };
    let failure = Failure {
        reason,
        wave: planned.name.clone(),
        region: region.clone(),
        gate: gate.map(|gate| gate.name.clone()).unwrap_or_default(),
        tree: rollout.plan.regions.get(region).map(|planned| planned.tree),
        evidence: match &run.reason {
            Some(why) => format!("{message}: {why}"),
            None => message.to_owned(),
        },
    };
    let reason = if rollout.first {
        HoldReason::FirstRolloutFailed
    } else if planned.policy.on_failure == OnFailure::Hold {
        HoldReason::OnFailureHold
    } else {
        return super::failure::end_with(turn, Sealing::Failed { failure });
    };
    let mut hold = turn.hold(reason, failure.evidence.clone());
    hold.wave = Some(failure.wave.clone());
    turn.add_hold(hold).then(|| {
        Writing::new(
            EntryKind::Held,
            format!("held: {reason:?}: {}", failure.evidence),
        )
        .wave(&failure.wave)
    })
}

/// Nothing failed, too much was skipped because nothing could be learnt of it: that is no harm. These regions
/// are watched again, and the wave goes on once they are healthy or a person says so.
fn hold_unreachable_again(
    turn: &mut Turn<'_>,
    planned: &PlannedWave,
    message: &str,
) -> Option<Writing> {
    let rollout = turn.rollout_mut()?;
    let mut regions = Vec::new();
    for region in &planned.regions {
        if let Some(run) = rollout
            .region_mut(region)
            .filter(|run| run.left_out == Some(LeftOut::Unreachable))
        {
            run.left_out = None;
            regions.push(region.clone());
        }
    }
    if regions.is_empty() {
        return None;
    }
    for region in &regions {
        turn.move_region(region, RegionState::Held, Some(message.to_owned()));
    }
    let reason = HoldReason::Unreachable;
    let mut hold = turn.hold(reason, message);
    hold.wave = Some(planned.name.clone());
    hold.regions = regions;
    turn.add_hold(hold);
    Some(Writing::new(EntryKind::Held, format!("held: {reason:?}: {message}")).wave(&planned.name))
}

/// Whether a region counts in no number: skipped by a person, isolated, moved away by somebody.
fn is_left_out(turn: &Turn<'_>, region: &str, run: &RegionRun) -> bool {
    match run.state {
        RegionState::Reverting
        | RegionState::Reverted
        | RegionState::Removed
        | RegionState::Kept
        | RegionState::Preempted => true,
        RegionState::Skipped => run.left_out != Some(LeftOut::Unreachable),
        RegionState::Failed | RegionState::TimedOut => turn
            .rollout()
            .is_some_and(|rollout| is_isolated(turn, rollout, region)),
        _ => false,
    }
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
        // It is a `Progress`, and of these there is at most one in a gate interval.
        if !turn.progress_is_due() {
            return None;
        }
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
    let waived = rollout.waived_quarantine.clone();
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
    for region in plan.regions.keys() {
        // A last good tree is never quarantined.
        let good = turn.next.last_good.get(region).map(|good| good.tree);
        turn.next.quarantine.retain(|item| {
            !(item.isolated && item.digests.get(region).copied() == good && good.is_some())
        });
    }
    turn.next
        .quarantine
        .retain(|item| item.isolated || !waived.contains(&item.source));
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
