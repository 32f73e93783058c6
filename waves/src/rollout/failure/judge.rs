//! Harm, and what the policy makes of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::ending::end_with;
use super::isolation::{is_isolated, isolate};
use crate::fleet::{Gate, OnFailure, OnUnreachable};
use crate::gate::{GateFold, GateState};
use crate::log::EntryKind;
use crate::plan::PlannedWave;
use crate::rollout::holds::is_held_for;
use crate::rollout::state::{
    Baseline, Failure, FailureReason, HoldReason, RegionRun, RegionState, Rollout, Sealing,
};
use crate::rollout::turn::{Turn, Writing};
use crate::rollout::watch::Elsewhere;

/// Looks for harm among everything that is watched.
///
/// A region that is held for a shared cause is passed over: what others show is judged all the same.
pub(in crate::rollout) fn judge(turn: &mut Turn<'_>) -> Option<Writing> {
    find_failures(turn)
        .into_iter()
        .find_map(|failures| judge_region(turn, failures))
}

/// Judges one region by everything that it fails on.
fn judge_region(turn: &mut Turn<'_>, failures: Vec<Failure>) -> Option<Writing> {
    let region = failures.first()?.region.clone();
    let known = is_held_for(&turn.next, &region, HoldReason::SharedCause);
    let mut own = Vec::new();
    let mut shared = None;
    let mut undecided = false;
    for failure in failures {
        match cause_of(turn, &failure, known)? {
            Elsewhere::Well => own.push(failure),
            Elsewhere::Ill(regions) => {
                shared.get_or_insert((failure, regions));
            }
            Elsewhere::Undecided => undecided = true,
        }
    }
    match (own.into_iter().next(), shared) {
        // One gate has a shared cause, another one has not: that is the commit's own harm.
        (Some(failure), Some(_)) => act_on(turn, failure),
        (None, Some((failure, elsewhere))) if !known => {
            hold_for_shared_cause(turn, &failure, elsewhere)
        }
        (Some(failure), None) if !undecided => {
            if known {
                Some(judge_anew(turn, &region))
            } else {
                act_on(turn, failure)
            }
        }
        _ => None,
    }
}

/// Whether regions without the change show the same.
fn cause_of(turn: &Turn<'_>, failure: &Failure, known: bool) -> Option<Elsewhere> {
    if failure.gate.is_empty() {
        return Some(Elsewhere::Well);
    }
    let rollout = turn.rollout()?;
    let elsewhere =
        turn.watch
            .turned_ill_elsewhere(&turn.next, rollout, &failure.gate, &failure.region, known);
    // Others are asked less often and may come to it a little later; but they are not waited for for long.
    let patient = failure.reason == FailureReason::Harm
        && rollout
            .gates_of(&failure.region)
            .find(|gate| gate.name == failure.gate)
            .zip(turn.watch.gate(&failure.region, &failure.gate))
            .is_some_and(|(gate, fold)| fold.failures() < gate.sampling.failures.saturating_mul(2));
    Some(match elsewhere {
        Elsewhere::Undecided if !patient => Elsewhere::Well,
        elsewhere => elsewhere,
    })
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
        watch.deadline_used = Duration::ZERO;
        watch.silent_used = Duration::ZERO;
        watch.anew = watch.anew.saturating_add(1);
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

pub(in crate::rollout) fn region_failed_entry(failure: &Failure, what: &str) -> Writing {
    Writing::new(
        EntryKind::RegionFailed,
        format!("{} failed: {} ({what})", failure.region, failure.evidence),
    )
    .wave(&failure.wave)
}

/// Whether no failure is tolerated in this wave: it is the canary, or the first wave that the rollout changes.
pub(in crate::rollout) fn is_strict(rollout: &Rollout, wave: &str) -> bool {
    let first_changed = rollout
        .waves
        .iter()
        .find(|run| run.regions.values().any(RegionRun::receives));
    rollout
        .waves
        .first()
        .is_some_and(|canary| canary.name == wave)
        || first_changed.is_some_and(|run| run.name == wave)
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

/// What shows harm or was not healthy by its deadline: by region, in the plan's order.
fn find_failures(turn: &Turn<'_>) -> Vec<Vec<Failure>> {
    let Some(rollout) = turn.rollout() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for wave in &rollout.waves {
        let Some(planned) = rollout.plan.wave(&wave.name) else {
            continue;
        };
        for region in &planned.regions {
            let Some(run) = wave.regions.get(region) else {
                continue;
            };
            let failures = failures_in(turn, rollout, planned, region, run);
            if !failures.is_empty() {
                found.push(failures);
            }
        }
    }
    found
}

/// What a region fails on: each gate that shows harm, or its deadline.
fn failures_in(
    turn: &Turn<'_>,
    rollout: &Rollout,
    planned: &PlannedWave,
    region: &str,
    run: &RegionRun,
) -> Vec<Failure> {
    // What stands there must be what is judged: this rollout's tree, or one that it took over.
    let actual = turn.next.folder(&planned.name, region);
    let inherited = rollout.inherited.get(region).filter(|inherited| {
        run.state == RegionState::Pending && inherited.judged && actual == Some(inherited.tree)
    });
    let (tree, gates): (_, Vec<&Gate>) = match inherited {
        Some(inherited) => (inherited.tree, inherited.gates.iter().collect()),
        None => match rollout.plan.regions.get(region) {
            Some(wanted) if run.state.is_watched() && actual == Some(wanted.tree) => (
                wanted.tree,
                rollout.plan.gates_in(planned, region).collect(),
            ),
            _ => return Vec::new(),
        },
    };
    let failure = |reason, gate: &str, evidence: String| Failure {
        reason,
        wave: planned.name.clone(),
        region: region.to_owned(),
        gate: gate.to_owned(),
        tree: Some(tree),
        evidence,
    };
    let harm: Vec<Failure> = gates
        .iter()
        .filter(|gate| {
            turn.watch
                .gate(region, &gate.name)
                .is_some_and(|fold| fold.state(&gate.sampling) == GateState::Harm)
        })
        .map(|gate| {
            let evidence = format!(
                "{region} {} {}, {} times in a row",
                gate.name,
                last_evidence(turn, region, gate),
                gate.sampling.failures
            );
            failure(FailureReason::Harm, &gate.name, evidence)
        })
        .collect();
    if !harm.is_empty()
        || inherited.is_some()
        || run.was_healthy
        || (!gates.is_empty() && turn.watch.all_healthy(region, &gates))
        || run.state == RegionState::Held
        || !deadline_passed(turn, region, planned)
    {
        return harm;
    }
    let gate = slowest_gate(turn, region, &gates);
    let name = gate.map(|gate| gate.name.clone()).unwrap_or_default();
    let last = gate
        .map(|gate| last_evidence(turn, region, gate))
        .unwrap_or_default();
    let others = said_by_others(turn, region, &gates, gate);
    let deadline = crate::duration::format(planned.policy.progress_deadline);
    if !is_unreachable(turn, region, run.before, &gates) {
        let (heard, silent) = turn.watch.waited_for(region).unwrap_or_default();
        // It gets all of its time while somebody can tell.
        if heard < planned.policy.progress_deadline {
            return Vec::new();
        }
        return vec![failure(
            FailureReason::TimedOut,
            &name,
            format!(
                "{region} {name} not healthy within {deadline}{}: {last}{others}",
                not_counted(silent)
            ),
        )];
    }
    if planned.policy.on_unreachable != OnUnreachable::Fail {
        return Vec::new();
    }
    vec![failure(
        FailureReason::Unreachable,
        &name,
        format!(
            "{region} {name} not judged within {deadline} (onUnreachable: fail): {last}{others}"
        ),
    )]
}

/// Whether the deadline is over, counting the time in which nothing could be learnt.
pub(in crate::rollout) fn deadline_passed(
    turn: &Turn<'_>,
    region: &str,
    wave: &PlannedWave,
) -> bool {
    turn.watch
        .waited_for(region)
        .is_some_and(|(heard, silent)| {
            heard.saturating_add(silent) >= wave.policy.progress_deadline
        })
}

/// The time that the deadline was not counted in, for people who look at a clock.
fn not_counted(silent: Duration) -> String {
    if silent.is_zero() {
        return String::new();
    }
    let seconds = Duration::from_secs(silent.as_secs().max(1));
    format!(
        " (not counting {} in which nothing could be learnt)",
        crate::duration::format(seconds)
    )
}

/// At the deadline: not healthy before and not since, or no answer of a gate that is not healthy; that another gate is
/// healthy is no evidence against the commit.
pub(in crate::rollout) fn is_unreachable(
    turn: &Turn<'_>,
    region: &str,
    before: Option<Baseline>,
    gates: &[&Gate],
) -> bool {
    before != Some(Baseline::Healthy)
        || !unhealthy(turn, region, gates)
            .into_iter()
            .any(|gate| has_answered(turn, region, gate))
}

/// The gate that a region waits for: the first that answered and is not healthy, else the first that is not healthy.
pub(in crate::rollout) fn slowest_gate<'a>(
    turn: &Turn<'_>,
    region: &str,
    gates: &[&'a Gate],
) -> Option<&'a Gate> {
    let unhealthy = unhealthy(turn, region, gates);
    unhealthy
        .iter()
        .copied()
        .find(|gate| has_answered(turn, region, gate))
        .or_else(|| unhealthy.first().copied())
        .or_else(|| gates.first().copied())
}

/// Whether a gate has learnt something that still counts. What became of a region is unknown while its cluster or its Argo
/// CD tells nothing of the revision, whatever was seen before; a region that answers no HTTP gate any more may well be
/// silent by its own doing.
fn has_answered(turn: &Turn<'_>, region: &str, gate: &Gate) -> bool {
    turn.watch
        .gate(region, &gate.name)
        .is_some_and(|fold| fold.answered() && !(gate.check.reads_cluster() && fold.is_silent()))
}

/// Those of a region's gates that are not healthy now.
fn unhealthy<'a>(turn: &Turn<'_>, region: &str, gates: &[&'a Gate]) -> Vec<&'a Gate> {
    let is_unhealthy = |gate: &&Gate| {
        turn.watch
            .gate(region, &gate.name)
            .is_none_or(|fold| fold.state(&gate.sampling) != GateState::Healthy)
    };
    gates.iter().copied().filter(is_unhealthy).collect()
}

/// What the gates beside `told` said last that are not healthy either, each after a semicolon: whoever mends what one
/// gate says should not learn of the next an hour later.
pub(in crate::rollout) fn said_by_others(
    turn: &Turn<'_>,
    region: &str,
    gates: &[&Gate],
    told: Option<&Gate>,
) -> String {
    const MOST: usize = 3;
    let mut others = unhealthy(turn, region, gates);
    others.retain(|gate| told.is_none_or(|told| told.name != gate.name));
    let mut text = String::new();
    for gate in others.iter().take(MOST) {
        let _ = write!(
            text,
            "; {} {}",
            gate.name,
            last_evidence(turn, region, gate)
        );
    }
    if others.len() > MOST {
        let _ = write!(text, "; and {} gates more", others.len() - MOST);
    }
    text
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
