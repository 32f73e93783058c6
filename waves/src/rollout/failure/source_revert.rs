//! The revert of the config branch: as a commit, or as a branch for a pull request.

use crate::log::{DraftIntent, EntryKind, MoveKind};
use crate::oid::Oid;
use crate::rollout::observation::{RevertFacts, RevertResult};
use crate::rollout::state::{HoldReason, RevertObstacle, SourceRevert};
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
            let branch = &turn.next.fleet.branch;
            let message = match &rollout.revert_obstacle {
                None => format!(
                    "the revert {} waits on {reference}; merge it into {branch}",
                    commit.short(8)
                ),
                Some(obstacle) => format!(
                    "the revert {} waits on {reference}, because {obstacle}; resolve that in the pull request and merge it into {branch}",
                    commit.short(8)
                ),
            };
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
    let facts = facts.clone();
    propose_or_push(turn, facts, &target, source, proposing)
}

/// Writes the intent of the revert: onto the config branch, or as a branch where that cannot be.
fn propose_or_push(
    turn: &mut Turn<'_>,
    facts: RevertFacts,
    target: &str,
    source: Oid,
    proposing: bool,
) -> SourceStep {
    let (tree, onto, obstacle) = match facts.result {
        RevertResult::Nothing => {
            if let Some(rollout) = turn.rollout_mut() {
                rollout.source_revert = SourceRevert::NotNeeded;
            }
            return SourceStep::Settled;
        }
        RevertResult::Clean { tree } => (tree, facts.tip, None),
        // Directly on the failed commit no revert conflicts: what is in the way shows where it is merged.
        RevertResult::Conflict { paths, count, tree } => (
            tree,
            source,
            Some(RevertObstacle::Conflict { paths, count }),
        ),
        RevertResult::NotOnChain { tree: Some(tree) } => {
            (tree, source, Some(RevertObstacle::NotOnChain))
        }
        RevertResult::NotOnChain { tree: None } => {
            let message = format!("nothing was rolled out before {}", source.short(8));
            return impossible(turn, &message);
        }
        RevertResult::Gone => {
            let message = format!(
                "{}, or the commit that it was rolled out on, is on no branch any more",
                source.short(8)
            );
            return impossible(turn, &message);
        }
    };
    if let Some(found) = &obstacle
        && !proposing
    {
        turn.lines.push(format!(
            "{} cannot be reverted on {}: {found}",
            source.short(8),
            turn.next.fleet.config_ref()
        ));
        if let Some(rollout) = turn.rollout_mut() {
            rollout.source_revert = SourceRevert::Proposing;
        }
        return revert_source(turn);
    }
    if let Some(rollout) = turn.rollout_mut() {
        rollout.revert_obstacle = obstacle;
    }
    let draft = DraftIntent {
        reference: target.to_owned(),
        old: if proposing { Oid::ZERO } else { facts.tip },
        kind: MoveKind::SourceRevert,
        wave: String::new(),
        folders: Vec::new(),
        given: Some(tree),
        onto: proposing.then_some(onto),
        rollout: Some(facts.rollout),
        source: Some(source),
    };
    SourceStep::Write(Box::new(
        Writing::new(EntryKind::Intent, format!("revert the source on {target}"))
            .drafts(vec![draft]),
    ))
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
