//! The revert of the config branch: as a commit, or as a branch for a pull request.

use crate::log::{DraftIntent, EntryKind, MoveKind};
use crate::rollout::observation::RevertResult;
use crate::rollout::state::{HoldReason, SourceRevert};
use crate::rollout::turn::{Turn, Writing};

pub(in crate::rollout) enum SourceStep {
    Write(Box<Writing>),
    Wait,
    Settled,
}

/// Reverts the config branch, by a commit or by a branch for a pull request.
pub(in crate::rollout) fn revert_source(turn: &mut Turn<'_>) -> SourceStep {
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
