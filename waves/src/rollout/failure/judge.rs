//! Harm, and what the policy makes of it.

use std::collections::{BTreeMap, BTreeSet};

use super::ending::end_with;
use super::give_back::isolated_give_backs;
use crate::fleet::{Gate, OnFailure, OnUnreachable};
use crate::gate::{GateFold, GateState};
use crate::log::EntryKind;
use crate::plan::PlannedWave;
use crate::rollout::holds::is_held_for;
use crate::rollout::state::{
    Baseline, Failure, FailureReason, HoldReason, Quarantined, RegionState, Rollout, Sealing,
};
use crate::rollout::turn::{Turn, Writing};

/// Looks for harm among everything that is watched.
pub(in crate::rollout) fn judge(turn: &mut Turn<'_>) -> Option<Writing> {
    let failure = find_failure(turn)?;
    let rollout = turn.rollout()?;
    if !failure.gate.is_empty() {
        let known = is_held_for(&turn.next, &failure.region, HoldReason::SharedCause);
        let elsewhere =
            turn.watch
                .turned_ill_elsewhere(rollout, &failure.gate, &failure.region, known);
        if !elsewhere.is_empty() {
            return hold_for_shared_cause(turn, &failure, elsewhere);
        }
        if known {
            return Some(judge_anew(turn, &failure.region));
        }
    }
    act_on(turn, failure)
}

/// Does what the policy says about a failure.
fn act_on(turn: &mut Turn<'_>, failure: Failure) -> Option<Writing> {
    let rollout = turn.rollout()?;
    let wave = rollout.plan.wave(&failure.wave)?.clone();
    if rollout.first {
        return hold_for_failure(
            turn,
            &failure,
            HoldReason::FirstRolloutFailed,
            "nothing has ever succeeded here, so there is nothing to give back",
        );
    }
    let good = turn
        .next
        .last_good
        .get(&failure.region)
        .map(|good| good.tree);
    if failure.tree.is_some() && failure.tree == good {
        return hold_for_failure(
            turn,
            &failure,
            HoldReason::OnFailureHold,
            "the tree that it judged is the region's last good one",
        );
    }
    let waits = rollout
        .region(&failure.region)
        .is_some_and(|(_, run)| run.state == RegionState::Pending);
    if wave.policy.on_failure == OnFailure::Isolate && !failure.region.is_empty() {
        return if waits {
            // What it waits for may well mend it, and replaces the tree in any case.
            Some(tolerate(turn, &failure, "it waits for the next tree"))
        } else {
            isolate(turn, &failure)
        };
    }
    let tolerated = !is_strict(rollout, &failure.wave)
        && failures_of(turn, rollout, &wave) < wave.policy.max_failures.of(wave.regions.len())
        && !failure.region.is_empty();
    if tolerated {
        return Some(tolerate(turn, &failure, "tolerated by maxFailures"));
    }
    match wave.policy.on_failure {
        OnFailure::Hold => hold_for_failure(
            turn,
            &failure,
            HoldReason::OnFailureHold,
            "onFailure is hold",
        ),
        OnFailure::Isolate | OnFailure::Revert => end_with(turn, Sealing::Failed { failure }),
    }
}

fn hold_for_shared_cause(
    turn: &mut Turn<'_>,
    failure: &Failure,
    elsewhere: BTreeSet<String>,
) -> Option<Writing> {
    let message = format!(
        "{} fails on gate {} ({}), and so do regions that do not have the change: {}",
        failure.region,
        failure.gate,
        failure.evidence,
        elsewhere.into_iter().take(5).collect::<Vec<_>>().join(", ")
    );
    let mut hold = turn.hold(HoldReason::SharedCause, message.clone());
    hold.wave = Some(failure.wave.clone());
    hold.regions = vec![failure.region.clone()];
    turn.add_hold(hold).then(|| {
        Writing::new(EntryKind::Held, format!("held: SharedCause: {message}")).wave(&failure.wave)
    })
}

/// The others recovered: what this region showed meanwhile is forgotten, and it is judged by what it shows now.
fn judge_anew(turn: &mut Turn<'_>, region: &str) -> Writing {
    if let Some(watch) = turn.watch.regions.get_mut(region) {
        watch.after.values_mut().for_each(GateFold::forget_harm);
        watch.deadline_used = std::time::Duration::ZERO;
    }
    turn.next.holds.retain(|hold| {
        !(hold.reason == HoldReason::SharedCause && hold.regions.iter().any(|held| held == region))
    });
    Writing::new(
        EntryKind::Resumed,
        format!("resumed: SharedCause is over; {region} is judged anew"),
    )
}

fn hold_for_failure(
    turn: &mut Turn<'_>,
    failure: &Failure,
    reason: HoldReason,
    why: &str,
) -> Option<Writing> {
    region_failed(turn, failure);
    let message = format!("{}: {} ({why})", failure.region, failure.evidence);
    let mut hold = turn.hold(reason, message.clone());
    hold.wave = Some(failure.wave.clone());
    hold.regions = vec![failure.region.clone()];
    if !turn.add_hold(hold) {
        return None;
    }
    if let Some(rollout) = turn.rollout_mut() {
        rollout.failure = Some(failure.clone());
    }
    Some(Writing::new(EntryKind::Held, format!("held: {reason:?}: {message}")).wave(&failure.wave))
}

/// Records that a region failed; one that still waits for its tree stays where it is, and is not judged again.
pub(in crate::rollout) fn region_failed(turn: &mut Turn<'_>, failure: &Failure) {
    let Some(rollout) = turn.rollout_mut() else {
        return;
    };
    let waits = rollout
        .region(&failure.region)
        .is_some_and(|(_, run)| run.state == RegionState::Pending);
    if waits {
        if let Some(inherited) = rollout.inherited.get_mut(&failure.region) {
            inherited.judged = false;
        }
        return;
    }
    let state = if failure.reason == FailureReason::Harm {
        RegionState::Failed
    } else {
        RegionState::TimedOut
    };
    turn.move_region(&failure.region, state, Some(failure.evidence.clone()));
}

fn tolerate(turn: &mut Turn<'_>, failure: &Failure, why: &str) -> Writing {
    region_failed(turn, failure);
    region_failed_entry(failure, why)
}

fn region_failed_entry(failure: &Failure, what: &str) -> Writing {
    Writing::new(
        EntryKind::RegionFailed,
        format!("{} failed: {} ({what})", failure.region, failure.evidence),
    )
    .wave(&failure.wave)
}

/// The failed region alone gets its last good tree back; the rest go on.
fn isolate(turn: &mut Turn<'_>, failure: &Failure) -> Option<Writing> {
    region_failed(turn, failure);
    let rollout = turn.rollout()?;
    let (source, base, id) = (rollout.source, rollout.base, rollout.id.clone());
    let tree = rollout.plan.regions.get(&failure.region)?.tree;
    turn.next.quarantine.push(Quarantined {
        source,
        base,
        rollout: id,
        digests: BTreeMap::from([(failure.region.clone(), tree)]),
        isolated: true,
        reason: failure.evidence.clone(),
    });
    let drafts = isolated_give_backs(turn);
    Some(
        region_failed_entry(failure, "isolated: it alone gets its last good tree back")
            .drafts(drafts),
    )
}

/// Whether no failure is tolerated in this wave: it is the canary, or the first wave that the rollout changes.
pub(in crate::rollout) fn is_strict(rollout: &Rollout, wave: &str) -> bool {
    let first_changed = rollout.waves.iter().find(|run| {
        run.regions
            .values()
            .any(crate::rollout::state::RegionRun::receives)
    });
    rollout
        .waves
        .first()
        .is_some_and(|canary| canary.name == wave)
        || first_changed.is_some_and(|run| run.name == wave)
}

/// Whether this rollout isolated the region.
pub(in crate::rollout) fn is_isolated(turn: &Turn<'_>, rollout: &Rollout, region: &str) -> bool {
    turn.next.quarantine.iter().any(|item| {
        item.isolated && item.rollout == rollout.id && item.digests.contains_key(region)
    })
}

fn failures_of(turn: &Turn<'_>, rollout: &Rollout, wave: &PlannedWave) -> usize {
    rollout
        .waves
        .iter()
        .filter(|run| run.name == wave.name)
        .flat_map(|run| &run.regions)
        .filter(|(region, run)| {
            matches!(run.state, RegionState::Failed | RegionState::TimedOut)
                && !is_isolated(turn, rollout, region)
        })
        .count()
}

/// The first region, in the plan's order, that shows harm or was not healthy by its deadline.
fn find_failure(turn: &Turn<'_>) -> Option<Failure> {
    let rollout = turn.rollout()?;
    for wave in &rollout.waves {
        let planned = rollout.plan.wave(&wave.name)?;
        for region in &planned.regions {
            let Some(run) = wave.regions.get(region) else {
                continue;
            };
            // What stands there must be what is judged: this rollout's tree, or one that it took over.
            let actual = turn.next.folder(&wave.name, region);
            let inherited = rollout.inherited.get(region).filter(|inherited| {
                run.state == RegionState::Pending
                    && inherited.judged
                    && actual == Some(inherited.tree)
            });
            let (tree, gates) = match inherited {
                Some(inherited) => (inherited.tree, inherited.gates.clone()),
                None => match rollout.plan.regions.get(region) {
                    Some(planned) if run.state.is_watched() && actual == Some(planned.tree) => {
                        (planned.tree, rollout.plan.gates_of(region))
                    }
                    _ => continue,
                },
            };
            let failure = |reason, gate: &str, evidence: String| Failure {
                reason,
                wave: wave.name.clone(),
                region: region.clone(),
                gate: gate.to_owned(),
                tree: Some(tree),
                evidence,
            };
            if let Some(gate) = gates.iter().find(|gate| {
                turn.watch
                    .gate(region, &gate.name)
                    .is_some_and(|fold| fold.state(&gate.sampling) == GateState::Harm)
            }) {
                let evidence = format!(
                    "{region} {} {}, {} times in a row",
                    gate.name,
                    last_evidence(turn, region, gate),
                    gate.sampling.failures
                );
                return Some(failure(FailureReason::Harm, &gate.name, evidence));
            }
            if inherited.is_some()
                || run.was_healthy
                || run.state == RegionState::Held
                || !deadline_passed(turn, region, planned)
            {
                continue;
            }
            let gate = slowest_gate(turn, region, &gates);
            let name = gate.map(|gate| gate.name.clone()).unwrap_or_default();
            let last = gate
                .map(|gate| last_evidence(turn, region, gate))
                .unwrap_or_default();
            let deadline = crate::duration::format(planned.policy.progress_deadline);
            if is_unreachable(turn, region, run.before, &gates) {
                if planned.policy.on_unreachable == OnUnreachable::Fail {
                    return Some(failure(
                        FailureReason::Unreachable,
                        &name,
                        format!(
                            "{region} {name} not judged within {deadline} (onUnreachable: fail): {last}"
                        ),
                    ));
                }
            } else {
                return Some(failure(
                    FailureReason::TimedOut,
                    &name,
                    format!("{region} {name} not healthy within {deadline}: {last}"),
                ));
            }
        }
    }
    None
}

pub(in crate::rollout) fn deadline_passed(
    turn: &Turn<'_>,
    region: &str,
    wave: &PlannedWave,
) -> bool {
    turn.watch
        .regions
        .get(region)
        .is_some_and(|watch| watch.deadline_used >= wave.policy.progress_deadline)
}

/// At the deadline: not healthy before and not since, or no answer at all.
pub(in crate::rollout) fn is_unreachable(
    turn: &Turn<'_>,
    region: &str,
    before: Option<Baseline>,
    gates: &[Gate],
) -> bool {
    before != Some(Baseline::Healthy)
        || !gates.iter().any(|gate| {
            turn.watch
                .gate(region, &gate.name)
                .is_some_and(GateFold::answered)
        })
}

pub(in crate::rollout) fn slowest_gate<'a>(
    turn: &Turn<'_>,
    region: &str,
    gates: &'a [Gate],
) -> Option<&'a Gate> {
    gates
        .iter()
        .find(|gate| {
            turn.watch
                .gate(region, &gate.name)
                .is_none_or(|fold| fold.state(&gate.sampling) != GateState::Healthy)
        })
        .or_else(|| gates.first())
}

pub(in crate::rollout) fn last_evidence(turn: &Turn<'_>, region: &str, gate: &Gate) -> String {
    turn.watch
        .gate(region, &gate.name)
        .and_then(GateFold::last)
        .map_or_else(
            || "gave no answer".to_owned(),
            |(_, sample)| sample.evidence.clone(),
        )
}
