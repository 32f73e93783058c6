//! What people ask for: each request gets exactly one answer in the log.

use std::collections::BTreeSet;

use super::failure::isolate_by_request;
use super::observation::{CandidateOutcome, Request, RequestOption, Verb};
use super::state::{
    Asked, Failure, FailureReason, Hold, HoldReason, LeftOut, RegionState, RolloutState, Sealing,
    Settled,
};
use super::turn::{Turn, Writing};
use crate::log::{DraftIntent, EntryKind, FolderChange, MoveKind, RequestAnswer};
use crate::oid::Oid;

/// Most requests that are kept for the rollout that opens next; older ones stand in the log's entries.
const MOST_ASKED: usize = 20;

/// Answers the oldest request that has no answer yet.
pub(super) fn answer(turn: &mut Turn<'_>) -> Option<Writing> {
    let request = turn.seen.requests.first()?.clone();
    let saved = (turn.next.clone(), turn.lines.len());
    let outcome = match &request.refused {
        Some(why) => Err(why.clone()),
        None => carry_out(turn, &request),
    };
    let (refused, drafts) = match outcome {
        Ok(drafts) => (None, drafts),
        Err(why) => {
            turn.next = saved.0;
            turn.lines.truncate(saved.1);
            (Some(why), Vec::new())
        }
    };
    turn.next.requests = Some(request.commit);
    if refused.is_none() {
        remember(turn, &request);
    }
    let verdict = if refused.is_none() {
        "accepted"
    } else {
        "refused"
    };
    let mut writing = Writing::new(
        EntryKind::Requested,
        format!("{} by {}: {verdict}", request.verb.name(), request.author),
    )
    .drafts(drafts);
    writing.entry.lines.push(match &request.verified {
        Some(principal) => format!(
            "asked by {} (signature verified: {principal})",
            request.author
        ),
        None => format!("asked by {} (signature not verified)", request.author),
    });
    if !request.reason.is_empty() {
        writing
            .entry
            .lines
            .push(format!("reason: {}", request.reason));
    }
    if let Some(why) = &refused {
        writing.entry.lines.push(format!("refused: {why}"));
    }
    writing.entry.wave.clone_from(&request.wave);
    writing.entry.request = Some(RequestAnswer {
        commit: request.commit,
        refused,
    });
    Some(writing)
}

/// Keeps what was asked for and by whom with the rollout that it concerns: the newest one, or the one that opens next.
fn remember(turn: &mut Turn<'_>, request: &Request) {
    let asked = Asked {
        verb: request.verb,
        by: request.author.clone(),
        verified: request.verified.clone(),
        reason: request.reason.clone(),
        at: turn.now.wall,
        commit: request.commit,
    };
    let opens_another = match request.verb {
        Verb::Approve | Verb::Retry | Verb::Hotfix => true,
        Verb::Hold | Verb::Resume => turn.rollout().is_none(),
        Verb::Skip | Verb::Abort | Verb::Revert => false,
    };
    match &mut turn.next.rollout {
        Some(rollout) if !opens_another => rollout.asked.push(asked),
        _ => {
            let next = &mut turn.next.asked_for_next;
            if next.len() >= MOST_ASKED {
                next.remove(0);
            }
            next.push(asked);
        }
    }
}

fn carry_out(turn: &mut Turn<'_>, request: &Request) -> Result<Vec<DraftIntent>, String> {
    if let Some(wanted) = &request.rollout
        && turn.next.rollout.as_ref().map(|rollout| &rollout.id) != Some(wanted)
    {
        return Err(format!("rollout {wanted} is not the newest one"));
    }
    match request.verb {
        Verb::Hold => {
            // It would end in the same moment, and whoever asked would believe that the fleet stands still.
            if request.until.is_some_and(|until| until <= turn.now.wall) {
                return Err(
                    "the time until which it should hold is over; ask again with a later --until, or without one"
                        .to_owned(),
                );
            }
            hold(turn, request);
            Ok(Vec::new())
        }
        Verb::Approve => approve(turn, request),
        Verb::Resume => resume(turn, request),
        Verb::Skip => skip(turn, request),
        Verb::Abort => abort(turn, request),
        Verb::Retry => retry(turn, request),
        Verb::Revert => revert(turn, request),
        Verb::Hotfix => hotfix(turn, request),
    }
}

/// Stops advancing, also when idle; never blocks a revert.
fn hold(turn: &mut Turn<'_>, request: &Request) {
    let why = if request.reason.is_empty() {
        "no reason given"
    } else {
        request.reason.as_str()
    };
    let hold = Hold {
        rollout: None,
        wave: request.wave.clone(),
        regions: request.regions.clone(),
        until: request.until,
        ..turn.hold(
            HoldReason::Requested,
            format!("{} asked for it: {why}", request.author),
        )
    };
    // A narrower hold lifts no wider one: only one that reaches exactly as far is replaced.
    turn.next.holds.retain(|known| {
        known.reason != HoldReason::Requested
            || known.wave != hold.wave
            || known.regions != hold.regions
    });
    turn.next.holds.push(hold);
}

/// Lets one source commit through what waits for approval; holds for that commit and its trees only.
fn approve(turn: &mut Turn<'_>, request: &Request) -> Result<Vec<DraftIntent>, String> {
    let waiting: Vec<(Oid, HoldReason)> = turn
        .next
        .holds
        .iter()
        .filter(|hold| {
            hold.reason.asks_for_approval()
                || (hold.reason == HoldReason::HistoryRewritten && hold.source.is_some())
        })
        .filter_map(|hold| hold.source.map(|source| (source, hold.reason)))
        .filter(|(source, _)| request.to.is_none_or(|to| to == *source))
        .collect();
    if waiting.is_empty() {
        return Err("nothing waits for approval".to_owned());
    }
    for (source, reason) in waiting {
        waive(turn, source, reason);
    }
    Ok(Vec::new())
}

/// Lets a commit pass what it is held for, for this reason.
fn waive(turn: &mut Turn<'_>, source: Oid, reason: HoldReason) {
    let waiver = turn.next.waived.entry(source).or_default();
    waiver.approved.insert(reason);
    turn.next
        .holds
        .retain(|hold| !(hold.reason == reason && hold.source == Some(source)));
}

/// Goes on: ends holds by request and those of the rollout; for drift and deleted branches only as the option says.
fn resume(turn: &mut Turn<'_>, request: &Request) -> Result<Vec<DraftIntent>, String> {
    match request.option {
        Some(RequestOption::Adopt) => return settle_drift(turn, request, true),
        Some(RequestOption::Restore) => return settle_drift(turn, request, false),
        Some(RequestOption::Keep) => {
            return Err("resume knows adopt and restore, not keep".to_owned());
        }
        None => {}
    }
    let meant = |hold: &Hold| request.wave.is_none() || request.wave == hold.wave;
    let ends = |hold: &Hold| match hold.reason {
        _ if !meant(hold) => false,
        HoldReason::HistoryRewritten => hold.source.is_some(),
        HoldReason::Drift | HoldReason::BranchDeleted | HoldReason::LogDamaged => false,
        reason => !reason.is_before_opening(),
    };
    let ended: Vec<Hold> = turn
        .next
        .holds
        .iter()
        .filter(|hold| ends(hold))
        .cloned()
        .collect();
    if ended.is_empty() {
        return Err("nothing that resume ends is held; drift and deleted branches need --adopt or --restore".to_owned());
    }
    turn.next.holds.retain(|hold| !ends(hold));
    for hold in ended {
        // A rewritten config branch is taken as it is from now on.
        if let (HoldReason::HistoryRewritten, Some(source)) = (hold.reason, hold.source) {
            let waiver = turn.next.waived.entry(source).or_default();
            waiver.approved.insert(HoldReason::HistoryRewritten);
        }
        // What was held because of a region is tried again from the start of its deadline.
        for region in &hold.regions {
            let state = turn
                .rollout()
                .and_then(|rollout| rollout.region(region))
                .map(|(_, run)| run.state);
            if matches!(
                state,
                Some(RegionState::Held | RegionState::Failed | RegionState::TimedOut)
            ) {
                turn.move_region(
                    region,
                    RegionState::Applying,
                    Some(format!("resumed by {}", request.author)),
                );
            }
        }
    }
    Ok(Vec::new())
}

/// Somebody else's commits are kept (`adopt`), or ours come back on top of them (`restore`).
fn settle_drift(
    turn: &mut Turn<'_>,
    request: &Request,
    adopt: bool,
) -> Result<Vec<DraftIntent>, String> {
    let concerned: Vec<(String, HoldReason)> = turn
        .next
        .holds
        .iter()
        .filter(|hold| matches!(hold.reason, HoldReason::Drift | HoldReason::BranchDeleted))
        .filter_map(|hold| hold.wave.clone().map(|wave| (wave, hold.reason)))
        .filter(|(wave, _)| request.wave.as_ref().is_none_or(|wanted| wanted == wave))
        .collect();
    if concerned.is_empty() {
        return Err("no wave branch is held for drift or deletion".to_owned());
    }
    let deleted: BTreeSet<String> = concerned
        .iter()
        .filter(|(_, reason)| *reason == HoldReason::BranchDeleted)
        .map(|(wave, _)| wave.clone())
        .collect();
    let mut drafts = Vec::new();
    for (wave, reason) in concerned {
        let reference = turn.next.fleet.wave_ref(&wave);
        let is_open = turn.next.open_intent(&reference).is_some();
        // What is open on a deleted branch cannot come to an end before the branch is back.
        if reason != HoldReason::BranchDeleted && is_open {
            if deleted.contains(&wave) {
                turn.lines.push(format!(
                    "{reference} comes back first, and takes the move that is open there; what is not Tidegate's on it is still held: ask again then"
                ));
                continue;
            }
            return Err(format!(
                "a move of {reference} is still open; ask again when it is closed"
            ));
        }
        let branch = turn.next.branches.get(&wave).cloned().unwrap_or_default();
        let Some(tip) = branch.tip else { continue };
        let draft = DraftIntent {
            reference,
            old: tip,
            kind: if adopt {
                MoveKind::Adopt
            } else {
                MoveKind::Restore
            },
            wave: wave.clone(),
            folders: Vec::new(),
            given: None,
            onto: None,
            rollout: None,
            source: None,
        };
        match (reason, adopt) {
            (HoldReason::BranchDeleted, true) => {
                return Err("a deleted branch has nothing to adopt; use --restore".to_owned());
            }
            (HoldReason::BranchDeleted, false) => drafts.push(DraftIntent {
                old: Oid::ZERO,
                given: Some(tip),
                ..draft
            }),
            (_, true) => drafts.push(draft),
            (_, false) => {
                let regions: BTreeSet<&String> =
                    branch.folders.keys().chain(branch.ours.keys()).collect();
                let folders = regions
                    .into_iter()
                    .filter(|region| branch.folders.get(*region) != branch.ours.get(*region))
                    .map(|region| FolderChange {
                        region: region.clone(),
                        tree: branch.ours.get(region).copied(),
                    })
                    .collect();
                drafts.push(DraftIntent { folders, ..draft });
            }
        }
        turn.next
            .holds
            .retain(|hold| !(hold.reason == reason && hold.wave.as_deref() == Some(wave.as_str())));
    }
    Ok(drafts)
}

/// Stops waiting for regions: they still get the trees, count in no number, and keep their last good.
fn skip(turn: &mut Turn<'_>, request: &Request) -> Result<Vec<DraftIntent>, String> {
    if request.regions.is_empty() {
        return Err("skip needs the regions to skip".to_owned());
    }
    match turn.rollout() {
        None => return skip_left_behind(turn, request),
        Some(rollout)
            if rollout.state == RolloutState::RollingBack || rollout.sealing.is_some() =>
        {
            return Err("the rollout is ending already; nothing waits for its regions".to_owned());
        }
        Some(_) => {}
    }
    for region in &request.regions {
        let state = turn
            .rollout()
            .and_then(|rollout| rollout.region(region))
            .map(|(_, run)| run.state)
            .ok_or_else(|| format!("region {region} is in no rollout that is under way"))?;
        if matches!(
            state,
            RegionState::NoChange | RegionState::Done | RegionState::Skipped
        ) {
            return Err(format!(
                "region {region} is {state:?} and is not waited for"
            ));
        }
        if let Some(run) = turn
            .rollout_mut()
            .and_then(|rollout| rollout.region_mut(region))
        {
            run.left_out = Some(LeftOut::Requested);
        }
        // One that has not got its tree yet still gets it; nobody waits for what it makes of it.
        if !matches!(state, RegionState::Promoted | RegionState::Pending) {
            turn.move_region(
                region,
                RegionState::Skipped,
                Some(format!("skipped by {}", request.author)),
            );
        }
        turn.next.holds.retain(|hold| {
            !(hold.regions.len() == 1
                && hold.regions.first() == Some(region)
                && hold.rollout.is_some())
        });
    }
    Ok(Vec::new())
}

/// Leaves regions alone that an ended rollout could not give back: their branch is held no longer.
fn skip_left_behind(turn: &mut Turn<'_>, request: &Request) -> Result<Vec<DraftIntent>, String> {
    let is_left_behind = |hold: &Hold| {
        hold.rollout.is_some()
            && matches!(hold.reason, HoldReason::PushRefused | HoldReason::Drift)
            && hold
                .regions
                .iter()
                .any(|region| request.regions.contains(region))
    };
    if !turn.next.holds.iter().any(is_left_behind) {
        return Err("no rollout is under way, and no branch is held for these regions".to_owned());
    }
    for hold in turn
        .next
        .holds
        .iter_mut()
        .filter(|hold| is_left_behind(hold))
    {
        hold.regions
            .retain(|region| !request.regions.contains(region));
    }
    turn.next.holds.retain(|hold| {
        !(hold.rollout.is_some()
            && matches!(hold.reason, HoldReason::PushRefused | HoldReason::Drift)
            && hold.regions.is_empty())
    });
    Ok(Vec::new())
}

/// Ends the rollout now and gives back what was touched (or keeps it).
fn abort(turn: &mut Turn<'_>, request: &Request) -> Result<Vec<DraftIntent>, String> {
    let keep = request.option == Some(RequestOption::Keep);
    let reason = format!("{}: {}", request.author, request.reason);
    let rollout = turn.rollout_mut().ok_or("no rollout is under way")?;
    if rollout.state == RolloutState::RollingBack || rollout.sealing.is_some() {
        return Err("the rollout is ending already".to_owned());
    }
    rollout.sealing = Some(Sealing::Aborted { reason, keep });
    Ok(Vec::new())
}

/// Tries again what failed, was quarantined or aborted.
fn retry(turn: &mut Turn<'_>, request: &Request) -> Result<Vec<DraftIntent>, String> {
    let candidate = turn
        .seen
        .config
        .candidate
        .as_ref()
        .filter(|candidate| matches!(candidate.outcome, CandidateOutcome::Valid(_)));
    let Some(candidate) = candidate else {
        return retry_settled(turn, request);
    };
    if request.to.is_some_and(|to| to != candidate.source) {
        return Err(format!("the commit that waits is {}", candidate.source));
    }
    let source = candidate.source;
    // Granted ahead, it would open the commit again after a failure that nobody has seen yet.
    if turn.rollout().is_some_and(|rollout| {
        rollout.source == source
            && rollout.state != RolloutState::RollingBack
            && rollout.sealing.is_none()
    }) {
        return Err(format!(
            "{} is being rolled out, so there is nothing to try again; where it is held, ask for resume",
            source.short(8)
        ));
    }
    let waiver = turn.next.waived.entry(source).or_default();
    waiver.retry = true;
    waiver.regions = request.regions.iter().cloned().collect();
    turn.next
        .holds
        .retain(|hold| !(hold.reason == HoldReason::Quarantined && hold.source == Some(source)));
    Ok(Vec::new())
}

/// Tries regions again that the settled commit left out: skipped, isolated, or failed and tolerated.
fn retry_settled(turn: &mut Turn<'_>, request: &Request) -> Result<Vec<DraftIntent>, String> {
    let nothing = "there is no valid commit that waits to be tried again";
    let settled = turn.next.settled.as_ref().ok_or(nothing)?;
    if turn.rollout().is_some() || request.regions.is_empty() {
        return Err(nothing.to_owned());
    }
    for region in &request.regions {
        let planned = settled
            .wanted
            .regions
            .get(region)
            .ok_or_else(|| format!("region {region} is not in the fleet"))?;
        if turn.next.last_good.get(region).map(|good| good.tree) == Some(planned.tree) {
            return Err(format!("region {region} has its tree and is well"));
        }
    }
    let waiver = turn.next.waived.entry(settled.source).or_default();
    waiver.retry = true;
    waiver.regions = request.regions.iter().cloned().collect();
    Ok(Vec::new())
}

/// The failure path by hand, also after a rollout succeeded; during one, for single regions too.
fn revert(turn: &mut Turn<'_>, request: &Request) -> Result<Vec<DraftIntent>, String> {
    if !request.regions.is_empty() {
        if request.to.is_some() {
            return Err(
                "regions go back to their last good trees, to no commit of one's choice; ask without --to"
                    .to_owned(),
            );
        }
        return isolate_by_request(turn, request);
    }
    if let Some(to) = request.to {
        goes_back_to(turn, to)?;
    }
    let failure = Failure {
        reason: FailureReason::Requested,
        wave: String::new(),
        region: String::new(),
        gate: String::new(),
        tree: None,
        evidence: format!("revert asked for by {}: {}", request.author, request.reason),
    };
    if let Some(rollout) = turn.rollout_mut() {
        if rollout.state == RolloutState::RollingBack || rollout.sealing.is_some() {
            return Err("the rollout is ending already".to_owned());
        }
        if rollout.first {
            return Err(
                "nothing has ever succeeded here, so there is nothing to give back; abort instead"
                    .to_owned(),
            );
        }
        rollout.sealing = Some(Sealing::Failed { failure });
        return Ok(Vec::new());
    }
    let rollout = turn
        .next
        .rollout
        .as_mut()
        .filter(|rollout| rollout.state == RolloutState::Succeeded)
        .ok_or("no rollout that could be reverted")?;
    let (Some(base), false) = (rollout.base, rollout.base_last_good.is_empty()) else {
        return Err("there is nothing before it that could be given back".to_owned());
    };
    // Its regions' last good goes back to what its opening recorded; then it is an ordinary failure.
    rollout.state = RolloutState::Running;
    rollout.ended = None;
    rollout.sealing = Some(Sealing::Failed { failure });
    let rollout_base = rollout.base_wanted.clone();
    let (recorded, regions) = (
        rollout.base_last_good.clone(),
        rollout
            .plan
            .regions
            .keys()
            .chain(&rollout.removals)
            .cloned()
            .collect::<Vec<_>>(),
    );
    for region in regions {
        match recorded.get(&region) {
            Some(good) => turn.next.last_good.insert(region, good.clone()),
            None => turn.next.last_good.remove(&region),
        };
    }
    turn.next.settled = rollout_base.map(|wanted| Settled {
        source: base,
        wanted,
    });
    Ok(Vec::new())
}

/// Whether the newest rollout started from this commit, so that taking it back ends there.
fn goes_back_to(turn: &Turn<'_>, to: Oid) -> Result<(), String> {
    let rollout = turn
        .next
        .rollout
        .as_ref()
        .ok_or("no rollout that could be reverted")?;
    if rollout.base == Some(to) {
        return Ok(());
    }
    if rollout.source == to {
        return Err(format!(
            "{} is what the newest rollout carries, so there is nothing to take back; to take that rollout itself back, ask for revert without --to",
            to.short(8)
        ));
    }
    // The trees of older rollouts are in no state that is judged here; a commit brings them canary first.
    Err(format!(
        "{} is not the commit that the newest rollout started from; run `git revert {}..{}` on the config branch and let it roll out, canary first",
        to.short(8),
        to.short(8),
        rollout.source.short(8)
    ))
}

/// Lets a commit take the running rollout's place at once, with no bake.
fn hotfix(turn: &mut Turn<'_>, request: &Request) -> Result<Vec<DraftIntent>, String> {
    let to = request.to.ok_or("hotfix needs the commit")?;
    let candidate = turn
        .seen
        .config
        .candidate
        .as_ref()
        .ok_or("there is no commit that waits")?;
    let waits = candidate.source == to || candidate.commits.iter().any(|commit| commit.id == to);
    let under_way = turn.rollout().is_some_and(|rollout| {
        rollout.source == to || rollout.commits.iter().any(|commit| commit.id == to)
    });
    if under_way {
        return Err(format!(
            "{} is in the newest rollout already; what waits can be a hotfix",
            to.short(8)
        ));
    }
    if !waits {
        return Err(format!(
            "{} is not the commit that waits ({} is)",
            to.short(8),
            candidate.source.short(8)
        ));
    }
    if let CandidateOutcome::Invalid { message } = &candidate.outcome {
        return Err(format!(
            "{} is not valid and cannot be rolled out: {message}; mend it first",
            candidate.source.short(8)
        ));
    }
    turn.next.hotfix = Some(to);
    // It is a person's word about the config branch as it is now, too.
    if !candidate.descends {
        waive(turn, candidate.source, HoldReason::HistoryRewritten);
    }
    Ok(Vec::new())
}
