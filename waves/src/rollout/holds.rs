//! What stops a rollout from advancing: how far each hold reaches, how holds begin and end by themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use super::failure::{
    deadline_passed, is_stuck, is_unreachable, last_evidence, said_by_others, slowest_gate,
};
use super::state::{FleetState, Hold, HoldReason, LeftOut, RegionState};
use super::turn::{Turn, Writing};
use crate::fleet::{Gate, OnUnreachable};
use crate::gate::{GateFold, Reading};
use crate::log::{EntryKind, MoveKind};
use crate::plan::PlannedWave;

/// How far a hold reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach<'a> {
    /// Nothing advances, and nothing opens.
    Everything,
    /// What is promoted to this wave's branch waits.
    Wave(&'a str),
    /// These regions are not promoted.
    Regions(&'a [String]),
    /// It is only shown.
    Nothing,
}

/// How far a hold reaches while a rollout is under way.
pub(super) fn reach<'a>(hold: &'a Hold, state: &FleetState) -> Reach<'a> {
    // What waits behind a rollout does not stop it.
    let waits = hold.reason.is_before_opening()
        || (hold.reason == HoldReason::HistoryRewritten && hold.is_of_a_commit());
    if waits || !hold.reason.stops_advancing() {
        return Reach::Nothing;
    }
    let active = state.active().map(|rollout| rollout.id.as_str());
    let left_behind = hold.rollout.is_some() && hold.rollout.as_deref() != active;
    match (hold.reason, hold.wave.as_deref()) {
        // An open move keeps its branch busy; there is no need to stop more than that.
        (HoldReason::PushRefused, Some(_)) if left_behind => Reach::Nothing,
        (_, Some(wave)) if left_behind => Reach::Wave(wave),
        (HoldReason::Requested, _) if !hold.regions.is_empty() => Reach::Regions(&hold.regions),
        (HoldReason::Requested, Some(wave)) => Reach::Wave(wave),
        _ => Reach::Everything,
    }
}

/// Whether nothing at all may advance.
pub(super) fn is_stopped(state: &FleetState) -> bool {
    state
        .holds
        .iter()
        .any(|hold| reach(hold, state) == Reach::Everything)
}

/// Whether nothing may be promoted in this wave.
pub(super) fn is_wave_stopped(state: &FleetState, wave: &str) -> bool {
    state
        .holds
        .iter()
        .any(|hold| reach(hold, state) == Reach::Wave(wave))
}

/// Whether this region may not be promoted.
pub(super) fn is_region_stopped(state: &FleetState, region: &str) -> bool {
    state.holds.iter().any(|hold| {
        matches!(reach(hold, state), Reach::Regions(regions) if regions.iter().any(|held| held == region))
    })
}

/// Whether a hold keeps commits from being opened (holds of the commit itself aside).
pub(super) fn stops_opening(state: &FleetState) -> bool {
    state.holds.iter().any(|hold| {
        hold.source.is_none()
            && (reach(hold, state) == Reach::Everything || hold.reason == HoldReason::Requested)
    })
}

/// Holds by request whose time is over.
pub(super) fn end_requested(turn: &mut Turn<'_>) -> Option<Writing> {
    let wall = turn.now.wall;
    let is_over = |hold: &Hold| {
        hold.reason == HoldReason::Requested && hold.until.is_some_and(|until| until <= wall)
    };
    if !turn.next.holds.iter().any(is_over) {
        return None;
    }
    turn.next.holds.retain(|hold| !is_over(hold));
    Some(Writing::new(
        EntryKind::Resumed,
        "resumed: the requested hold is over",
    ))
}

/// What an ended rollout left behind on a branch that the server refused, once that has resolved.
pub(super) fn end_left_behind(turn: &mut Turn<'_>) -> Option<Writing> {
    let active = turn.rollout().map(|rollout| rollout.id.clone());
    let over: Vec<String> = turn
        .next
        .holds
        .iter()
        .filter(|hold| {
            hold.reason == HoldReason::PushRefused
                && hold.rollout.is_some()
                && hold.rollout != active
        })
        .filter_map(|hold| hold.wave.clone())
        .filter(|wave| {
            let reference = turn.next.fleet.wave_ref(wave);
            !turn.next.owed.contains_key(wave)
                && !turn
                    .next
                    .intents
                    .iter()
                    .any(|intent| intent.draft.reference == reference)
        })
        .collect();
    let wave = over.first()?;
    turn.next.holds.retain(|hold| {
        !(hold.reason == HoldReason::PushRefused
            && hold.rollout != active
            && hold.wave.as_ref() == Some(wave))
    });
    Some(
        Writing::new(
            EntryKind::Resumed,
            format!("the branch of {wave} took what it had refused"),
        )
        .wave(wave),
    )
}

/// Regions that cannot be judged, or do not stay healthy: skipped as far as the wave allows, else held.
pub(super) fn begin_holds(turn: &mut Turn<'_>) -> Option<Writing> {
    if let Some(writing) = hold_for_refusal(turn) {
        return Some(writing);
    }
    let rollout = turn.rollout()?;
    let (plan, first) = (rollout.plan.clone(), rollout.first);
    for planned in &plan.waves {
        for region in &planned.regions {
            let Some((_, run)) = turn.rollout()?.region(region).filter(|(_, run)| {
                run.state.is_watched()
                    && !matches!(run.state, RegionState::Done | RegionState::Held)
            }) else {
                continue;
            };
            let (before, state, was_healthy) = (run.before, run.state, run.was_healthy);
            let gates: Vec<&Gate> = plan.gates_in(planned, region).collect();
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
                || planned.policy.on_unreachable == OnUnreachable::Fail
            {
                continue;
            }
            let gate = slowest_gate(turn, region, &gates);
            let evidence = gate
                .map(|gate| format!("{} {}", gate.name, last_evidence(turn, region, gate)))
                .unwrap_or_default();
            let message = format!(
                "not healthy within {}: {evidence}{}",
                crate::duration::format(planned.policy.progress_deadline),
                said_by_others(turn, region, &gates, gate)
            );
            let skipped = turn.rollout()?.region(region).map_or(0, |(wave, _)| {
                wave.regions
                    .values()
                    .filter(|run| run.left_out == Some(LeftOut::Unreachable))
                    .count()
            });
            if skipped < planned.policy.max_unreachable.of(planned.regions.len()) {
                turn.move_region(region, RegionState::Skipped, Some(message));
                if let Some(run) = turn
                    .rollout_mut()
                    .and_then(|rollout| rollout.region_mut(region))
                {
                    run.left_out = Some(LeftOut::Unreachable);
                }
                continue;
            }
            let folds = |gate: &&Gate| turn.watch.gate(region, &gate.name);
            let denied = gates.iter().filter_map(folds).any(|fold| {
                fold.last()
                    .is_some_and(|(_, sample)| sample.reading == Reading::EgressDenied)
            });
            let reason = if denied {
                HoldReason::EgressDenied
            } else if !gates.iter().filter_map(folds).any(GateFold::is_sick) {
                HoldReason::Unreachable
            } else if first {
                HoldReason::FirstRolloutFailed
            } else {
                HoldReason::AlreadySick
            };
            return Some(hold_region(turn, planned, region, reason, &message));
        }
    }
    None
}

/// A move of the rollout under way that the server refuses again and again: only a person can help.
fn hold_for_refusal(turn: &mut Turn<'_>) -> Option<Writing> {
    let rollout = turn.rollout()?.id.clone();
    let refused: Vec<(String, String, String)> = turn
        .next
        .intents
        .iter()
        .filter(|intent| {
            intent.draft.kind != MoveKind::SourceRevert
                && intent.draft.rollout.as_ref() == Some(&rollout)
        })
        .filter_map(|intent| {
            is_stuck(turn, intent).map(|message| {
                (
                    intent.draft.wave.clone(),
                    intent.draft.reference.clone(),
                    message,
                )
            })
        })
        .collect();
    for (wave, reference, said) in refused {
        let message = format!("the server refuses to move {reference}: {said}");
        let mut hold = turn.hold(HoldReason::PushRefused, message.clone());
        hold.wave = Some(wave.clone());
        if turn.add_hold(hold) {
            return Some(
                Writing::new(EntryKind::Held, format!("held: PushRefused: {message}")).wave(&wave),
            );
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

/// Whether a hold for this reason stands on this region.
pub(super) fn is_held_for(state: &FleetState, region: &str, reason: HoldReason) -> bool {
    state
        .holds
        .iter()
        .any(|hold| hold.reason == reason && hold.regions.iter().any(|held| held == region))
}

/// Holds that ended by themselves: the region became healthy, the server takes the push again.
pub(super) fn end_holds(turn: &mut Turn<'_>) -> Option<Writing> {
    let rollout = turn.rollout()?;
    let is_over = |hold: &Hold| match hold.reason {
        HoldReason::Unreachable => hold.regions.iter().all(|region| {
            rollout
                .region(region)
                .is_none_or(|(_, run)| run.state != RegionState::Held)
        }),
        HoldReason::SharedCause => hold.regions.iter().all(|region| {
            rollout.region(region).is_none_or(|(_, run)| {
                !run.state.is_watched()
                    || turn
                        .watch
                        .all_healthy(region, &rollout.gates_of(region).collect::<Vec<_>>())
            })
        }),
        HoldReason::PushRefused => {
            hold.rollout.as_deref() == Some(rollout.id.as_str())
                && hold.wave.as_ref().is_some_and(|wave| {
                    !turn
                        .next
                        .intents
                        .iter()
                        .any(|intent| intent.draft.wave == *wave)
                })
        }
        _ => false,
    };
    let over: BTreeSet<usize> = turn
        .next
        .holds
        .iter()
        .enumerate()
        .filter(|(_, hold)| is_over(hold))
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
