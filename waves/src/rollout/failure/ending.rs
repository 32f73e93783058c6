//! How a rollout ends other than well: sealing what is open, and the entries that end it.

use std::collections::BTreeMap;

use super::give_back::{forget_preempted, give_backs, mark_reverting, return_moved_regions};
use super::judge::region_failed;
use crate::fleet::RevertSource;
use crate::log::{DraftIntent, EntryKind, MoveKind};
use crate::rollout::branches::open_promotes;
use crate::rollout::state::{
    Failure, HoldReason, Quarantined, RegionState, RolloutState, Sealing, SourceRevert, WaveState,
};
use crate::rollout::turn::{Turn, Writing};

/// Ends the rollout in this way: now, or once its open promote intents are sealed and closed.
pub(in crate::rollout) fn end_with(turn: &mut Turn<'_>, sealing: Sealing) -> Option<Writing> {
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
                let (drafts, preempted) = give_backs(turn);
                if !drafts.is_empty() {
                    turn.rollout_mut()?.sealing = Some(Sealing::Aborted { reason, keep });
                    return Some(
                        Writing::new(EntryKind::Intent, "give back what was touched")
                            .drafts(drafts),
                    );
                }
                forget_preempted(turn, &preempted);
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
pub(in crate::rollout) fn finish(turn: &mut Turn<'_>, state: RolloutState) {
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
    let incomplete = state == RolloutState::RollbackIncomplete;
    turn.next.holds.retain(|hold| {
        hold.rollout.as_deref() != Some(id.as_str())
            || matches!(
                hold.reason,
                HoldReason::RevertPullRequest | HoldReason::RevertImpossible
            )
            || (incomplete && hold.reason == HoldReason::PushRefused)
    });
    if !incomplete {
        return;
    }
    // What is left behind holds its own branches alone: other commits may open.
    for hold in &mut turn.next.holds {
        if hold.wave.is_some()
            && matches!(
                hold.reason,
                HoldReason::Drift | HoldReason::BranchDeleted | HoldReason::HistoryRewritten
            )
        {
            hold.rollout = Some(id.clone());
        }
    }
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
        // A region that was tried again with the settled source: there is no range to take back.
        _ if rollout.base == Some(rollout.source) => SourceRevert::NotWanted,
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
        // The settled source itself stands: only its trees are kept from these regions.
        isolated: rollout.base == Some(rollout.source),
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
    if let Some(tree) = failure.tree {
        turn.lines.push(format!(
            "judged: tree {tree} in {}{}",
            failure.region,
            if failure.gate.is_empty() {
                String::new()
            } else {
                format!(" by gate {}", failure.gate)
            }
        ));
    }
    let writing =
        Writing::new(EntryKind::Failed, format!("failed: {}", failure.evidence)).drafts(drafts);
    Some(if failure.wave.is_empty() {
        writing
    } else {
        writing.wave(&failure.wave)
    })
}
