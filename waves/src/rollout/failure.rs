//! Harm, and what it leads to: sealing, giving back, reverting the config branch.

use std::collections::{BTreeMap, BTreeSet};

use super::branches::open_promotes;
use super::observation::RevertResult;
use super::state::{
    Baseline, Failure, FailureReason, HoldReason, Quarantined, RegionState, Rollout, RolloutState,
    Sealing, SourceRevert, WaveState,
};
use super::turn::{Turn, Writing};
use crate::fleet::{Gate, OnFailure, OnUnreachable, RevertSource};
use crate::gate::{GateFold, GateState};
use crate::log::{DraftIntent, EntryKind, FolderChange, MoveKind};
use crate::plan::PlannedWave;

/// After so many refusals a push is no longer waited for; it is still retried.
const REFUSALS_UNTIL_STUCK: u32 = 3;

/// Goes on with a give-back or a sealing that is under way, or begins one if there is harm.
pub(super) fn go_on(turn: &mut Turn<'_>) -> Option<Writing> {
    let rollout = turn.rollout()?;
    if rollout.state == RolloutState::RollingBack {
        return roll_back(turn);
    }
    if let Some(sealing) = rollout.sealing.clone() {
        return end_with(turn, sealing);
    }
    judge(turn)
}

/// Ends the rollout in this way: now, or once its open promote intents are sealed and closed.
pub(super) fn end_with(turn: &mut Turn<'_>, sealing: Sealing) -> Option<Writing> {
    let latched = turn.rollout()?.sealing.is_some();
    let has_seal = |reference: &str, old| {
        turn.next.intents.iter().any(|intent| {
            intent.draft.kind == MoveKind::Seal
                && intent.draft.reference == reference
                && intent.draft.old == old
        })
    };
    let open = open_promotes(&turn.next);
    let seals: Vec<DraftIntent> = open
        .iter()
        .filter(|intent| !has_seal(&intent.draft.reference, intent.draft.old))
        .map(|intent| DraftIntent {
            kind: MoveKind::Seal,
            folders: Vec::new(),
            ..intent.draft.clone()
        })
        .collect();
    if !seals.is_empty() || (!open.is_empty() && !latched) {
        let subject = format!(
            "sealing {} promotion(s), to end as {}",
            seals.len(),
            ending_name(&sealing)
        );
        turn.rollout_mut()?.sealing = Some(sealing);
        return Some(Writing::new(EntryKind::Sealing, subject).drafts(seals));
    }
    if !open.is_empty() {
        let stuck = turn.watch.sealing_since.is_some_and(|since| {
            turn.now.monotonic.saturating_sub(since) > turn.seen.push_deadline
        });
        return match sealing {
            Sealing::Failed { failure } if stuck => {
                let still_open: Vec<_> = open
                    .iter()
                    .map(|intent| (intent.draft.reference.clone(), intent.new))
                    .collect();
                let mut writing = fail(turn, &failure)?;
                writing.entry.open = still_open;
                Some(writing)
            }
            _ => None,
        };
    }
    match sealing {
        Sealing::Failed { failure } => fail(turn, &failure),
        Sealing::Superseded { by } => {
            if has_open_wave_intents(turn) {
                return latch(turn, latched, Sealing::Superseded { by });
            }
            finish(turn, RolloutState::Superseded);
            Some(Writing::new(
                EntryKind::Superseded,
                format!("superseded by {}", by.short(8)),
            ))
        }
        Sealing::Aborted { reason, keep } => {
            if has_open_wave_intents(turn) {
                return latch(turn, latched, Sealing::Aborted { reason, keep });
            }
            if !keep {
                let (drafts, _) = give_backs(turn);
                if !drafts.is_empty() {
                    turn.rollout_mut()?.sealing = Some(Sealing::Aborted { reason, keep });
                    return Some(
                        Writing::new(EntryKind::Intent, "give back what was touched")
                            .drafts(drafts),
                    );
                }
            }
            turn.next.not_again = turn.rollout().map(|rollout| rollout.source);
            finish(turn, RolloutState::Aborted);
            Some(Writing::new(
                EntryKind::Aborted,
                format!("aborted: {reason}"),
            ))
        }
    }
}

/// Writes once that an ending waits for open moves, so that nothing else begins meanwhile.
fn latch(turn: &mut Turn<'_>, latched: bool, sealing: Sealing) -> Option<Writing> {
    if latched {
        return None;
    }
    let subject = format!(
        "waiting for open moves, to end as {}",
        ending_name(&sealing)
    );
    turn.rollout_mut()?.sealing = Some(sealing);
    Some(Writing::new(EntryKind::Sealing, subject))
}

fn ending_name(sealing: &Sealing) -> &'static str {
    match sealing {
        Sealing::Failed { .. } => "failed",
        Sealing::Superseded { .. } => "superseded",
        Sealing::Aborted { .. } => "aborted",
    }
}

fn has_open_wave_intents(turn: &Turn<'_>) -> bool {
    turn.next
        .intents
        .iter()
        .any(|intent| intent.draft.kind != MoveKind::SourceRevert)
}

/// Makes the rollout terminal and drops the holds that were its own.
fn finish(turn: &mut Turn<'_>, state: RolloutState) {
    let wall = turn.now.wall;
    let Some(rollout) = turn.next.rollout.as_mut() else {
        return;
    };
    rollout.state = state;
    rollout.ended = Some(wall);
    rollout.sealing = None;
    for wave in rollout
        .waves
        .iter_mut()
        .filter(|wave| !wave.state.is_passed())
    {
        wave.state = if state == RolloutState::Succeeded || wave.state == WaveState::Failed {
            wave.state
        } else {
            WaveState::Cancelled
        };
    }
    let id = rollout.id.clone();
    turn.next.holds.retain(|hold| {
        hold.rollout.as_deref() != Some(id.as_str())
            || matches!(
                hold.reason,
                HoldReason::RevertPullRequest
                    | HoldReason::RevertImpossible
                    | HoldReason::PushRefused
            )
    });
}

/// Looks for harm among everything that is watched.
fn judge(turn: &mut Turn<'_>) -> Option<Writing> {
    let failure = find_failure(turn)?;
    let rollout = turn.rollout()?;
    let wave = rollout.plan.wave(&failure.wave)?.clone();
    if !failure.gate.is_empty() {
        let elsewhere = turn.watch.turned_ill_elsewhere(rollout, &failure.gate);
        if !elsewhere.is_empty() {
            return hold_for_shared_cause(turn, &failure, elsewhere);
        }
    }
    let harmless = rollout
        .plan
        .regions
        .get(&failure.region)
        .map(|region| region.tree)
        == turn
            .next
            .last_good
            .get(&failure.region)
            .map(|good| good.tree);
    let first = rollout.first;
    let tolerated = !is_strict(rollout, &failure.wave)
        && failures_of(rollout, &wave) < wave.policy.max_failures.of(wave.regions.len());
    turn.next
        .holds
        .retain(|hold| hold.reason != HoldReason::SharedCause);
    if tolerated && !first {
        region_failed(turn, &failure);
        return Some(region_failed_entry(&failure, "tolerated by maxFailures"));
    }
    if first {
        return Some(hold_for_failure(
            turn,
            &failure,
            HoldReason::FirstRolloutFailed,
            "nothing has ever succeeded here, so there is nothing to give back",
        ));
    }
    if harmless {
        return Some(hold_for_failure(
            turn,
            &failure,
            HoldReason::OnFailureHold,
            "the tree that it judged is the region's last good one",
        ));
    }
    match wave.policy.on_failure {
        OnFailure::Hold => Some(hold_for_failure(
            turn,
            &failure,
            HoldReason::OnFailureHold,
            "onFailure is hold",
        )),
        OnFailure::Isolate => isolate(turn, &failure),
        OnFailure::Revert => end_with(turn, Sealing::Failed { failure }),
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

fn hold_for_failure(
    turn: &mut Turn<'_>,
    failure: &Failure,
    reason: HoldReason,
    why: &str,
) -> Writing {
    region_failed(turn, failure);
    let message = format!("{}: {} ({why})", failure.region, failure.evidence);
    let mut hold = turn.hold(reason, message.clone());
    hold.wave = Some(failure.wave.clone());
    hold.regions = vec![failure.region.clone()];
    turn.add_hold(hold);
    if let Some(rollout) = turn.rollout_mut() {
        rollout.failure = Some(failure.clone());
    }
    Writing::new(EntryKind::Held, format!("held: {reason:?}: {message}")).wave(&failure.wave)
}

fn region_failed(turn: &mut Turn<'_>, failure: &Failure) {
    let state = if failure.reason == FailureReason::Harm {
        RegionState::Failed
    } else {
        RegionState::TimedOut
    };
    turn.move_region(&failure.region, state, Some(failure.evidence.clone()));
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

/// Give-backs of isolated regions whose branch is free for one.
pub(super) fn isolated_give_backs(turn: &mut Turn<'_>) -> Vec<DraftIntent> {
    let Some(rollout) = turn.rollout() else {
        return Vec::new();
    };
    let isolated: BTreeSet<String> = rollout
        .waves
        .iter()
        .filter(|wave| {
            rollout
                .plan
                .wave(&wave.name)
                .is_some_and(|planned| planned.policy.on_failure == OnFailure::Isolate)
        })
        .flat_map(|wave| &wave.regions)
        .filter(|(_, run)| matches!(run.state, RegionState::Failed | RegionState::TimedOut))
        .map(|(region, _)| region.clone())
        .filter(|region| {
            turn.next.quarantine.iter().any(|item| {
                item.isolated && item.rollout == rollout.id && item.digests.contains_key(region)
            })
        })
        .collect();
    if isolated.is_empty() {
        return Vec::new();
    }
    let (drafts, _) = give_backs_of(turn, |region| isolated.contains(region));
    for draft in &drafts {
        for change in &draft.folders {
            turn.move_region(&change.region, RegionState::Reverting, None);
        }
    }
    drafts
}

/// Whether no failure is tolerated in this wave: it is the canary, or the first wave that the rollout changes.
pub(super) fn is_strict(rollout: &Rollout, wave: &str) -> bool {
    let first_changed = rollout.waves.iter().find(|run| {
        run.regions
            .values()
            .any(|region| region.state != RegionState::NoChange)
    });
    rollout
        .waves
        .first()
        .is_some_and(|canary| canary.name == wave)
        || first_changed.is_some_and(|run| run.name == wave)
}

fn failures_of(rollout: &Rollout, wave: &PlannedWave) -> usize {
    rollout
        .waves
        .iter()
        .filter(|run| run.name == wave.name)
        .flat_map(|run| run.regions.values())
        .filter(|run| matches!(run.state, RegionState::Failed | RegionState::TimedOut))
        .count()
}

/// The first region, in the plan's order, that shows harm or was not healthy by its deadline.
fn find_failure(turn: &Turn<'_>) -> Option<Failure> {
    let rollout = turn.rollout()?;
    for wave in &rollout.waves {
        let planned = rollout.plan.wave(&wave.name)?;
        for region in &planned.regions {
            let Some(run) = wave
                .regions
                .get(region)
                .filter(|run| run.state.is_watched())
            else {
                continue;
            };
            let gates = rollout.plan.gates_of(region);
            let failure = |reason, gate: &str, evidence: String| Failure {
                reason,
                wave: wave.name.clone(),
                region: region.clone(),
                gate: gate.to_owned(),
                tree: rollout.plan.regions.get(region).map(|planned| planned.tree),
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
            if run.was_healthy
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
                        format!("{region} {name} not judged within {deadline}: {last}"),
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

pub(super) fn deadline_passed(turn: &Turn<'_>, region: &str, wave: &PlannedWave) -> bool {
    turn.watch
        .regions
        .get(region)
        .is_some_and(|watch| watch.deadline_used >= wave.policy.progress_deadline)
}

/// At the deadline: not healthy before and not since, or no answer at all.
pub(super) fn is_unreachable(
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

pub(super) fn slowest_gate<'a>(
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

pub(super) fn last_evidence(turn: &Turn<'_>, region: &str, gate: &Gate) -> String {
    turn.watch
        .gate(region, &gate.name)
        .and_then(GateFold::last)
        .map_or_else(
            || "gave no answer".to_owned(),
            |(_, sample)| sample.evidence.clone(),
        )
}

/// Writes `Failed`: no promote intent is open but those named in the entry.
fn fail(turn: &mut Turn<'_>, failure: &Failure) -> Option<Writing> {
    let last_good = turn.next.last_good.clone();
    if !failure.region.is_empty() {
        region_failed(turn, failure);
    }
    let rollout = turn.rollout_mut()?;
    let digests: BTreeMap<_, _> = rollout
        .plan
        .regions
        .iter()
        .filter(|(region, planned)| {
            last_good.get(*region).map(|good| good.tree) != Some(planned.tree)
        })
        .map(|(region, planned)| (region.clone(), planned.tree))
        .collect();
    rollout.state = RolloutState::RollingBack;
    rollout.sealing = None;
    rollout.failure = Some(failure.clone());
    rollout.source_revert = match rollout.plan.policy.revert.source {
        RevertSource::Commit => SourceRevert::Wanted,
        RevertSource::PullRequest => SourceRevert::Proposing,
        RevertSource::Never => SourceRevert::NotWanted,
    };
    for wave in &mut rollout.waves {
        let touched = wave.regions.values().any(|run| {
            !matches!(
                run.state,
                RegionState::Pending | RegionState::NoChange | RegionState::Skipped
            )
        });
        if touched && (wave.name == failure.wave || !wave.state.is_passed()) {
            wave.state = WaveState::Failed;
        } else if !wave.state.is_passed() {
            wave.state = WaveState::Cancelled;
        }
    }
    let quarantined = Quarantined {
        source: rollout.source,
        base: rollout.base,
        rollout: rollout.id.clone(),
        digests,
        isolated: false,
        reason: failure.evidence.clone(),
    };
    let id = rollout.id.clone();
    turn.next
        .quarantine
        .retain(|known| known.source != quarantined.source || known.isolated);
    turn.next.quarantine.push(quarantined);
    turn.next.holds.retain(|hold| {
        hold.rollout.as_deref() != Some(id.as_str()) || hold.reason == HoldReason::Requested
    });
    return_moved_regions(turn);
    let (drafts, _) = give_backs(turn);
    mark_reverting(turn, &drafts);
    Some(
        Writing::new(EntryKind::Failed, format!("failed: {}", failure.evidence))
            .wave(&failure.wave)
            .drafts(drafts),
    )
}

/// A region that this rollout moved to another wave is found again on the branch that still holds its last good.
fn return_moved_regions(turn: &mut Turn<'_>) {
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
            (home != placement.wave && turn.next.folder(home, region) == Some(good))
                .then(|| (region.clone(), home.to_owned()))
        })
        .collect();
    for (region, home) in moved {
        if let Some(placement) = turn.next.placements.get_mut(&region) {
            placement.wave = home;
        }
    }
}

fn mark_reverting(turn: &mut Turn<'_>, drafts: &[DraftIntent]) {
    for change in drafts.iter().flat_map(|draft| &draft.folders) {
        turn.move_region(&change.region, RegionState::Reverting, None);
    }
}

/// What it takes to give every region its last good tree back, one move a branch, and the regions that
/// cannot be because somebody else's tree is there.
fn give_backs(turn: &mut Turn<'_>) -> (Vec<DraftIntent>, Vec<String>) {
    give_backs_of(turn, |_| true)
}

fn give_backs_of(
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

/// Goes on with a give-back: branches first, then the config branch, then the end.
fn roll_back(turn: &mut Turn<'_>) -> Option<Writing> {
    let (drafts, preempted) = give_backs(turn);
    if !drafts.is_empty() {
        mark_reverting(turn, &drafts);
        return Some(
            Writing::new(EntryKind::Intent, "give back what came to be touched").drafts(drafts),
        );
    }
    let stuck: Vec<(String, String, String)> = turn
        .next
        .intents
        .iter()
        .filter(|intent| intent.draft.kind != MoveKind::SourceRevert)
        .filter_map(|intent| {
            let refusal = turn
                .watch
                .refused
                .get(&(intent.draft.reference.clone(), intent.new))?;
            (refusal.count >= REFUSALS_UNTIL_STUCK).then(|| {
                (
                    intent.draft.wave.clone(),
                    intent.draft.reference.clone(),
                    refusal.message.clone(),
                )
            })
        })
        .collect();
    let open = turn
        .next
        .intents
        .iter()
        .filter(|intent| intent.draft.kind != MoveKind::SourceRevert)
        .count();
    if open > stuck.len() {
        return None;
    }
    match revert_source(turn) {
        SourceStep::Write(writing) => return Some(*writing),
        SourceStep::Wait => return None,
        SourceStep::Settled => {}
    }
    let incomplete = !stuck.is_empty()
        || !preempted.is_empty()
        || turn.rollout()?.waves.iter().any(|wave| {
            wave.regions
                .values()
                .any(|run| run.state == RegionState::Preempted)
        });
    for (wave, reference, message) in stuck {
        let mut hold = turn.hold(
            HoldReason::PushRefused,
            format!("the server refuses to give {reference} back: {message}"),
        );
        hold.wave = Some(wave);
        turn.add_hold(hold);
    }
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

enum SourceStep {
    Write(Box<Writing>),
    Wait,
    Settled,
}

/// Reverts the config branch, by a commit or by a branch for a pull request.
fn revert_source(turn: &mut Turn<'_>) -> SourceStep {
    let Some(rollout) = turn.rollout() else {
        return SourceStep::Settled;
    };
    let proposing = match rollout.source_revert {
        SourceRevert::Wanted => false,
        SourceRevert::Proposing => true,
        SourceRevert::Proposed { commit } => {
            let reference = turn.next.fleet.revert_ref(&rollout.id);
            let message = format!(
                "the revert {} waits on {reference}; merge it into {}",
                commit.short(8),
                turn.next.fleet.branch
            );
            let hold = turn.hold(HoldReason::RevertPullRequest, message.clone());
            return if turn.add_hold(hold) {
                SourceStep::Write(Box::new(Writing::new(
                    EntryKind::Held,
                    format!("held: RevertPullRequest: {message}"),
                )))
            } else {
                SourceStep::Settled
            };
        }
        _ => return SourceStep::Settled,
    };
    let id = rollout.id.clone();
    let (source, config) = (rollout.source, turn.next.fleet.config_ref());
    let target = if proposing {
        turn.next.fleet.revert_ref(&id)
    } else {
        config.clone()
    };
    if let Some(intent) = turn.next.open_intent(&target) {
        let refused = turn
            .watch
            .refused
            .get(&(target.clone(), intent.new))
            .map(|refusal| refusal.message.clone());
        return match (refused, proposing) {
            (None, _) => SourceStep::Wait,
            (Some(message), false) => {
                if let Some(rollout) = turn.rollout_mut() {
                    rollout.source_revert = SourceRevert::Proposing;
                }
                turn.lines
                    .push(format!("{config} refuses the revert: {message}"));
                revert_source(turn)
            }
            (Some(message), true) => {
                impossible(turn, &format!("the server refuses {target} too: {message}"))
            }
        };
    }
    if proposing && turn.seen.branches.contains_key(&target) {
        return impossible(turn, &format!("{target} exists and is not Tidegate's"));
    }
    let facts = turn.seen.config.revert.as_ref().filter(|facts| {
        facts.rollout == id
            && turn
                .seen
                .branches
                .get(&config)
                .is_some_and(|view| view.tip == facts.tip)
    });
    let Some(facts) = facts else {
        return if turn.seen.branches.contains_key(&config) {
            SourceStep::Wait
        } else {
            impossible(turn, &format!("{config} does not exist"))
        };
    };
    match &facts.result {
        RevertResult::Nothing => {
            if let Some(rollout) = turn.rollout_mut() {
                rollout.source_revert = SourceRevert::NotNeeded;
            }
            SourceStep::Settled
        }
        RevertResult::Clean { tree } => {
            let draft = DraftIntent {
                reference: target.clone(),
                old: if proposing {
                    crate::oid::Oid::ZERO
                } else {
                    facts.tip
                },
                kind: MoveKind::SourceRevert,
                wave: String::new(),
                folders: Vec::new(),
                given: Some(*tree),
                onto: proposing.then_some(facts.tip),
                rollout: Some(id),
                source: Some(source),
            };
            SourceStep::Write(Box::new(
                Writing::new(EntryKind::Intent, format!("revert the source on {target}"))
                    .drafts(vec![draft]),
            ))
        }
        RevertResult::Conflict { paths } => {
            let message = format!(
                "reverting {} on {config} conflicts in {}",
                source.short(8),
                paths.join(", ")
            );
            impossible(turn, &message)
        }
        RevertResult::NotOnChain => {
            let message = format!(
                "the settled source is not on the first-parent chain of {}",
                source.short(8)
            );
            impossible(turn, &message)
        }
    }
}

fn impossible(turn: &mut Turn<'_>, message: &str) -> SourceStep {
    if let Some(rollout) = turn.rollout_mut() {
        rollout.source_revert = SourceRevert::Impossible;
    }
    let hold = turn.hold(
        HoldReason::RevertImpossible,
        format!("{message}; revert it by hand"),
    );
    turn.add_hold(hold);
    SourceStep::Write(Box::new(Writing::new(
        EntryKind::Held,
        format!("held: RevertImpossible: {message}"),
    )))
}
