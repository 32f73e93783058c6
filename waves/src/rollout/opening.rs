//! The config branch's head: compared with what is settled, held, or opened as a rollout.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decision::Append;
use super::failure::end_with;
use super::holds::{Reach, reach, stops_opening};
use super::observation::{Candidate, CandidateOutcome, ValidCandidate};
use super::quarantine::{quarantined, waived};
use super::state::{
    EarlierTree, FleetIdentity, FleetState, Hold, HoldReason, Inherited, LeftOut, RegionRun,
    RegionState, Rollout, RolloutState, Sealing, Settled, SourceRevert, Waiver, WaveRun, WaveState,
};
use super::turn::{Turn, Writing};
use crate::log::{DraftIntent, Entry, EntryKind, MoveKind, SCHEMA};
use crate::oid::Oid;
use crate::plan::Wanted;

/// So many trees of superseded rollouts are known as older ones of a region; whoever is further behind is not slow.
const MOST_EARLIER_TREES: usize = 4;

/// Entry 0: the log begins, with the first valid head.
///
/// It is to be pushed to a log that does not exist; the head itself is opened by the next decision.
#[must_use]
pub fn create(fleet: FleetIdentity, first: Oid, me: &str) -> Append {
    let mut entry = Entry::new(
        EntryKind::Created,
        format!("the log of fleet {} begins", fleet.name),
    );
    entry.source = Some(first);
    entry.lines.push(format!(
        "fleet {}, config branch {}, path {:?}, prefix {}",
        fleet.name, fleet.branch, fleet.path, fleet.prefix
    ));
    let next = FleetState {
        schema: SCHEMA,
        fleet,
        seq: 0,
        moved: 0,
        epoch: 0,
        holder: me.to_owned(),
        settled: None,
        proven: false,
        last_good: BTreeMap::new(),
        branches: BTreeMap::new(),
        placements: BTreeMap::new(),
        intents: Vec::new(),
        rollout: None,
        holds: Vec::new(),
        quarantine: Vec::new(),
        kept: BTreeSet::new(),
        set_aside: BTreeMap::new(),
        invalid: None,
        not_again: None,
        asked_for_next: Vec::new(),
        waived: BTreeMap::new(),
        requests: None,
        hotfix: None,
        owed: BTreeMap::new(),
    };
    Append {
        entry,
        drafts: Vec::new(),
        next,
    }
}

/// Looks at the config branch's head: nothing, an entry that says why not, or a new rollout.
pub(super) fn look(turn: &mut Turn<'_>) -> Option<Writing> {
    if let Some(writing) = config_branch_gone(turn) {
        return Some(writing);
    }
    let settled = turn.next.settled.as_ref().map(|settled| settled.source);
    if settled.is_some()
        && settled == turn.seen.config.head
        && (turn.next.invalid.is_some() || turn.next.holds.iter().any(Hold::is_of_a_commit))
    {
        turn.next.invalid = None;
        turn.next.holds.retain(|hold| !hold.is_of_a_commit());
        return Some(Writing::new(
            EntryKind::Resumed,
            "the config branch is back at the settled commit",
        ));
    }
    if let Some(writing) = replaced(turn).or_else(|| open_again(turn)) {
        return Some(writing);
    }
    let candidate = turn.seen.config.candidate.as_ref()?;
    if candidate.settled != settled || Some(candidate.source) == settled {
        return None;
    }
    match turn.rollout() {
        // Neither it nor an earlier commit of its range is newer.
        Some(rollout)
            if rollout.source == candidate.source
                || rollout
                    .commits
                    .iter()
                    .any(|commit| commit.id == candidate.source) =>
        {
            None
        }
        Some(_) => say_invalid(turn, candidate)
            .or_else(|| say_rewritten(turn, candidate))
            .or_else(|| supersede(turn, candidate)),
        None => open_or_say_why_not(turn, candidate),
    }
}

/// A person wants regions to be tried again that the settled commit left out.
fn open_again(turn: &mut Turn<'_>) -> Option<Writing> {
    let settled = turn.next.settled.clone()?;
    let waiver = turn.next.waived.get(&settled.source)?;
    if !waiver.retry || turn.rollout().is_some() || stops_opening(&turn.next) {
        return None;
    }
    let newest = turn.next.rollout.as_ref()?;
    if newest.plan.trees() != settled.wanted.trees() {
        return None;
    }
    let valid = ValidCandidate {
        wanted: settled.wanted.clone(),
        plan_commit: newest.plan_commit,
        revert_trees: BTreeMap::new(),
        findings: Vec::new(),
        quarantine: Vec::new(),
    };
    let candidate = Candidate {
        source: settled.source,
        settled: Some(settled.source),
        commits: Vec::new(),
        descends: true,
        outcome: CandidateOutcome::Valid(Box::new(valid.clone())),
    };
    Some(open(turn, &candidate, &valid))
}

fn config_branch_gone(turn: &mut Turn<'_>) -> Option<Writing> {
    let is_ours = |hold: &Hold| hold.reason == HoldReason::BranchDeleted && hold.wave.is_none();
    let held = turn.next.holds.iter().any(is_ours);
    let gone = turn.seen.config.head.is_none();
    if gone && !held {
        let message = format!(
            "the config branch {} does not exist; nothing is rolled out until it is back",
            turn.next.fleet.branch
        );
        let hold = Hold {
            rollout: None,
            ..turn.hold(HoldReason::BranchDeleted, message.clone())
        };
        turn.next.holds.push(hold);
        return Some(Writing::new(
            EntryKind::Held,
            format!("held: BranchDeleted: {message}"),
        ));
    }
    if !gone && held {
        turn.next.holds.retain(|hold| !is_ours(hold));
        return Some(Writing::new(
            EntryKind::Resumed,
            "the config branch is back",
        ));
    }
    None
}

/// What a rollout carries was taken off the config branch by rewriting it: somebody may have meant to stop it, or
/// not have meant it at all. Nothing more is promoted until a person says so or the branch contains it again.
pub(super) fn taken_off(turn: &mut Turn<'_>) -> Option<Writing> {
    let rollout = turn.rollout()?;
    if rollout.state == RolloutState::RollingBack || rollout.sealing.is_some() {
        return None;
    }
    let (id, source) = (rollout.id.clone(), rollout.source);
    let is_ours = |hold: &Hold| {
        hold.reason == HoldReason::HistoryRewritten
            && hold.source == Some(source)
            && hold.rollout.as_deref() == Some(id.as_str())
    };
    let held = turn.next.holds.iter().any(is_ours);
    let lacks = turn.seen.config.lacks_rollout;
    if lacks && !held && !accepts_rewriting(&turn.next, source) {
        let message = format!(
            "the config branch was rewritten: it no longer contains {}, which this rollout carries",
            source.short(8)
        );
        let hold = Hold {
            source: Some(source),
            ..turn.hold(HoldReason::HistoryRewritten, message.clone())
        };
        turn.next.holds.push(hold);
        return Some(Writing::new(
            EntryKind::Held,
            format!("held: HistoryRewritten: {message}"),
        ));
    }
    if !lacks && held && turn.seen.config.head.is_some() {
        turn.next.holds.retain(|hold| !is_ours(hold));
        return Some(Writing::new(
            EntryKind::Resumed,
            format!("the config branch contains {} again", source.short(8)),
        ));
    }
    None
}

/// Whether a person has said that this commit is wanted although the config branch was rewritten.
fn accepts_rewriting(state: &FleetState, source: Oid) -> bool {
    state
        .waived
        .get(&source)
        .is_some_and(|waiver| waiver.approved.contains(&HoldReason::HistoryRewritten))
}

/// Beside a rollout, a commit's holds end when another takes its place in the queue, or none waits any more.
fn replaced(turn: &mut Turn<'_>) -> Option<Writing> {
    let carried = turn.rollout()?.source;
    let settled = turn.next.settled.as_ref().map(|settled| settled.source);
    let config = &turn.seen.config;
    let waiting = match &config.candidate {
        Some(candidate) if candidate.settled == settled => Some(candidate.source),
        None if config.head == Some(carried) || config.head == settled => None,
        // It was looked at before the last entry, or could not be looked at.
        _ => return None,
    };
    let is_replaced = |hold: &Hold| hold.is_of_a_commit() && hold.source != waiting;
    let source = turn
        .next
        .holds
        .iter()
        .find(|hold| is_replaced(hold))?
        .source?;
    turn.next.holds.retain(|hold| !is_replaced(hold));
    Some(Writing::new(
        EntryKind::Resumed,
        format!("{} does not wait any more", source.short(8)),
    ))
}

/// Says beside a rollout that what waits behind it comes from a rewritten config branch.
fn say_rewritten(turn: &mut Turn<'_>, candidate: &Candidate) -> Option<Writing> {
    if candidate.descends || accepts_rewriting(&turn.next, candidate.source) {
        return None;
    }
    hold_commit(turn, candidate.source, vec![not_descending(candidate)])
}

fn not_descending(candidate: &Candidate) -> Against {
    let message = format!(
        "the config branch was rewritten: {} does not descend from the settled source",
        candidate.source.short(8)
    );
    (HoldReason::HistoryRewritten, message, Vec::new())
}

/// Says once that the head is not valid.
fn say_invalid(turn: &mut Turn<'_>, candidate: &Candidate) -> Option<Writing> {
    let source = candidate.source;
    let CandidateOutcome::Invalid { message } = &candidate.outcome else {
        return None;
    };
    if turn.next.invalid == Some(source) {
        return None;
    }
    turn.next.invalid = Some(source);
    let mut writing = Writing::new(
        EntryKind::Invalid,
        format!("{} is not valid: {message}", source.short(8)),
    );
    writing.entry.source = Some(source);
    Some(writing)
}

/// A newer commit takes a held rollout's place, or a running one's if a person asked for it as a hotfix.
fn supersede(turn: &mut Turn<'_>, candidate: &Candidate) -> Option<Writing> {
    let rollout = turn.rollout()?;
    if rollout.state == RolloutState::RollingBack
        || rollout.sealing.is_some()
        || !(candidate.descends || accepts_rewriting(&turn.next, candidate.source))
    {
        return None;
    }
    let CandidateOutcome::Valid(valid) = &candidate.outcome else {
        return None;
    };
    let hotfix = turn
        .next
        .carries_hotfix(candidate.source, &candidate.commits);
    let stopping: Vec<&Hold> = turn
        .next
        .holds
        .iter()
        .filter(|hold| !matches!(reach(hold, &turn.next), Reach::Nothing))
        .collect();
    // A hotfix is a person's word about the config branch as it is now.
    let is_answered = |hold: &Hold| {
        hotfix && hold.reason == HoldReason::HistoryRewritten && hold.source.is_some()
    };
    let by_a_person = stopping
        .iter()
        .any(|hold| !hold.reason.yields_to_a_commit() && !is_answered(hold));
    let yields = hotfix || !stopping.is_empty();
    if !yields || by_a_person {
        return None;
    }
    // Said as it is where nothing is under way: else nobody could approve it, or know what it waits for.
    let against = reasons_against(&turn.next, candidate, valid);
    if !against.is_empty() {
        drop_holds_of_other_commits(turn, candidate.source);
        return hold_commit(turn, candidate.source, against);
    }
    end_with(
        turn,
        Sealing::Superseded {
            by: candidate.source,
        },
    )
}

fn open_or_say_why_not(turn: &mut Turn<'_>, candidate: &Candidate) -> Option<Writing> {
    let source = candidate.source;
    let waiver = turn.next.waived.get(&source).cloned().unwrap_or_default();
    if stops_opening(&turn.next) || (turn.next.not_again == Some(source) && !waiver.retry) {
        return None;
    }
    drop_holds_of_other_commits(turn, source);
    let CandidateOutcome::Valid(valid) = &candidate.outcome else {
        return say_invalid(turn, candidate);
    };
    if !candidate.descends && !waiver.approved.contains(&HoldReason::HistoryRewritten) {
        return hold_commit(turn, source, vec![not_descending(candidate)]);
    }
    let unfinished = turn
        .next
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state == RolloutState::Superseded);
    if let Some(settled) = &turn.next.settled
        && valid.wanted.same_as(&settled.wanted)
        && !(unfinished && branches_differ(&turn.next, valid))
    {
        turn.next.settled = Some(Settled {
            source,
            wanted: valid.wanted.clone(),
        });
        turn.next.invalid = None;
        if turn.next.carries_hotfix(source, &candidate.commits) {
            turn.next.hotfix = None;
        }
        turn.next.asked_for_next.clear();
        end_reverts(turn);
        describe(turn, valid);
        let mut writing = Writing::new(
            EntryKind::NoChange,
            format!("{} changes nothing", source.short(8)),
        );
        writing.entry.source = Some(source);
        return Some(writing);
    }
    let against = reasons_against(&turn.next, candidate, valid);
    if !against.is_empty() {
        return hold_commit(turn, source, against);
    }
    Some(open(turn, candidate, valid))
}

/// What waited for a revert of the config branch is settled by the commit that is settled or opened now.
fn end_reverts(turn: &mut Turn<'_>) {
    turn.next.holds.retain(|hold| {
        !matches!(
            hold.reason,
            HoldReason::RevertPullRequest | HoldReason::RevertImpossible
        )
    });
}

/// Takes over what a commit says about regions beside their trees: where they are found, how they are judged.
fn describe(turn: &mut Turn<'_>, valid: &ValidCandidate) {
    for (region, planned) in &valid.wanted.regions {
        if let Some(placement) = turn.next.placements.get_mut(region) {
            placement.cluster.clone_from(&planned.cluster);
            placement.location.clone_from(&planned.location);
            placement.labels.clone_from(&planned.labels);
        }
        if let Some(good) = turn
            .next
            .last_good
            .get_mut(region)
            .filter(|good| good.tree == planned.tree)
        {
            good.gates = valid.wanted.gates_of(region);
        }
    }
}

fn drop_holds_of_other_commits(turn: &mut Turn<'_>, source: Oid) {
    turn.next
        .holds
        .retain(|hold| !hold.is_of_a_commit() || hold.source == Some(source));
    // What a person said of the commit that is being carried holds for as long as it is.
    let carried = turn.rollout().map(|rollout| rollout.source);
    turn.next
        .waived
        .retain(|commit, _| *commit == source || Some(*commit) == carried);
}

fn branches_differ(state: &FleetState, valid: &ValidCandidate) -> bool {
    valid.wanted.waves.iter().any(|wave| {
        wave.regions.iter().any(|region| {
            state.folder(&wave.name, region).is_some_and(|folder| {
                Some(folder) != valid.wanted.regions.get(region).map(|planned| planned.tree)
            })
        })
    })
}

/// Whether a commit would be held instead of opened. A cut in the middle of a range that would be is
/// passed over: a hold yields to newer commits, and the newest may have put right what it is held for.
#[must_use]
pub fn would_be_held(state: &FleetState, candidate: &Candidate) -> bool {
    match &candidate.outcome {
        CandidateOutcome::Valid(valid) => !reasons_against(state, candidate, valid).is_empty(),
        CandidateOutcome::Invalid { .. } => false,
    }
}

pub(super) type Against = (HoldReason, String, Vec<String>);

/// Everything that keeps a valid commit from being opened, approvals and `retry` considered.
fn reasons_against(
    state: &FleetState,
    candidate: &Candidate,
    valid: &ValidCandidate,
) -> Vec<Against> {
    let waiver = state
        .waived
        .get(&candidate.source)
        .cloned()
        .unwrap_or_default();
    let mut against: Vec<Against> = Vec::new();
    if !waiver.retry
        && let Some(found) = quarantined(state, candidate, valid)
    {
        against.push(found);
    }
    if let Some(settled) = &state.settled {
        let guards = settled
            .wanted
            .policy
            .guards
            .stricter(&valid.wanted.policy.guards);
        if guards.policy_with_content == crate::fleet::PolicyWithContent::Hold
            && valid.wanted.policy_differs(&settled.wanted)
            && valid.wanted.content_differs(&settled.wanted)
        {
            let message = "it changes policy and a region's content at once; split it into two commits, or approve it".to_owned();
            against.push((HoldReason::PolicyWithContent, message, Vec::new()));
        }
    }
    for reason in [HoldReason::DeletionGuard, HoldReason::ProtectedKind] {
        let found: Vec<_> = valid
            .findings
            .iter()
            .filter(|finding| finding.reason == reason)
            .collect();
        if let Some(first) = found.first() {
            let more = if found.len() > 1 {
                format!(" (and {} more)", found.len() - 1)
            } else {
                String::new()
            };
            against.push((
                reason,
                format!("{}{more}", first.message),
                found.iter().map(|finding| finding.region.clone()).collect(),
            ));
        }
    }
    let removed = removals(state, valid);
    if !removed.is_empty() {
        let message = format!(
            "it removes {} from the fleet",
            removed.iter().cloned().collect::<Vec<_>>().join(", ")
        );
        against.push((
            HoldReason::RegionRemoval,
            message,
            removed.into_iter().collect(),
        ));
    }
    against.retain(|(reason, _, _)| !waiver.approved.contains(reason));
    against
}

/// Regions that a branch holds for us and the plan does not know any more.
fn removals(state: &FleetState, valid: &ValidCandidate) -> BTreeSet<String> {
    state
        .placements
        .keys()
        .filter(|region| {
            !valid.wanted.regions.contains_key(*region)
                && !valid.wanted.excluded.contains_key(*region)
                && !state.kept.contains(*region)
        })
        .cloned()
        .collect()
}

fn hold_commit(turn: &mut Turn<'_>, source: Oid, against: Vec<Against>) -> Option<Writing> {
    let mut new = Vec::new();
    for (reason, message, regions) in against {
        let hold = Hold {
            source: Some(source),
            regions,
            rollout: None,
            ..turn.hold(reason, format!("{} is held: {message}", source.short(8)))
        };
        if turn.add_hold(hold) {
            new.push(format!("{reason:?}: {message}"));
        }
    }
    let first = new.first()?;
    let mut writing = Writing::new(EntryKind::Held, format!("held: {first}"));
    writing.entry.lines = new.iter().skip(1).cloned().collect();
    writing.entry.source = Some(source);
    Some(writing)
}

/// Opens a rollout: everything that later decisions need is frozen here.
fn open(turn: &mut Turn<'_>, candidate: &Candidate, valid: &ValidCandidate) -> Writing {
    let source = candidate.source;
    let seq = turn.before.seq.saturating_add(1);
    let id = format!("{}-{seq}", source.short(8));
    let wall = turn.now.wall;
    let state = &turn.next;
    let waiver = state.waived.get(&source).cloned().unwrap_or_default();
    let superseded = state
        .rollout
        .as_ref()
        .filter(|rollout| rollout.state == RolloutState::Superseded)
        .map(|rollout| rollout.id.clone());
    let mut waves = Vec::new();
    let mut changed = 0_usize;
    for wave in &valid.wanted.waves {
        let mut regions = BTreeMap::new();
        for region in &wave.regions {
            let Some(planned) = valid.wanted.regions.get(region) else {
                continue;
            };
            let run = opening_state(
                state,
                &waiver,
                superseded.is_some(),
                &wave.name,
                region,
                planned.tree,
            );
            if run.0 != RegionState::NoChange {
                changed += 1;
            }
            regions.insert(
                region.clone(),
                RegionRun {
                    state: run.0,
                    since: wall,
                    before: None,
                    reason: run.1,
                    proven: None,
                    was_healthy: false,
                    left_out: (run.0 == RegionState::Skipped).then_some(LeftOut::Earlier),
                },
            );
        }
        waves.push(WaveRun {
            name: wave.name.clone(),
            state: WaveState::NotStarted,
            since: wall,
            regions,
        });
    }
    let rollout = Rollout {
        id: id.clone(),
        source,
        commits: candidate.commits.clone(),
        base: state.settled.as_ref().map(|settled| settled.source),
        opened: wall,
        ended: None,
        plan: valid.wanted.clone(),
        plan_commit: valid.plan_commit,
        base_wanted: state.settled.as_ref().map(|settled| settled.wanted.clone()),
        base_last_good: Arc::new(state.last_good.clone()),
        revert_trees: valid.revert_trees.clone(),
        removals: removals(state, valid),
        first: !state.proven,
        hotfix: state.carries_hotfix(source, &candidate.commits),
        supersedes: superseded,
        state: RolloutState::Running,
        waves,
        sealing: None,
        failure: None,
        source_revert: SourceRevert::None,
        revert_obstacle: None,
        waived_quarantine: waived(state, candidate, valid, waiver.retry),
        inherited: inherited(state, &valid.wanted),
        asked: state.asked_for_next.clone(),
    };
    let missing: Vec<DraftIntent> = valid
        .wanted
        .waves
        .iter()
        .filter(|wave| {
            state
                .branches
                .get(&wave.name)
                .and_then(|branch| branch.tip)
                .is_none()
        })
        .filter(|wave| {
            state
                .open_intent(&state.fleet.wave_ref(&wave.name))
                .is_none()
        })
        .map(|wave| DraftIntent {
            reference: state.fleet.wave_ref(&wave.name),
            old: Oid::ZERO,
            kind: MoveKind::Create,
            wave: wave.name.clone(),
            folders: Vec::new(),
            given: None,
            onto: None,
            rollout: Some(id.clone()),
            source: Some(source),
        })
        .collect();
    let subject = format!(
        "open {id}: {changed} of {} regions in {} waves change",
        valid.wanted.regions.len(),
        valid.wanted.waves.len()
    );
    turn.next.rollout = Some(rollout);
    turn.next.holds.retain(|hold| !hold.is_of_a_commit());
    end_reverts(turn);
    turn.next.invalid = None;
    turn.next.not_again = None;
    turn.next.waived.clear();
    turn.next.asked_for_next.clear();
    if turn.next.carries_hotfix(source, &candidate.commits) {
        turn.next.hotfix = None;
    }
    let mut writing = Writing::new(EntryKind::RolloutOpened, subject).drafts(missing);
    writing.entry.rollout = Some(id);
    writing.entry.source = Some(source);
    writing.entry.lines = candidate
        .commits
        .iter()
        .take(20)
        .map(|commit| {
            format!(
                "{} {} ({})",
                commit.id.short(8),
                commit.subject,
                commit.author
            )
        })
        .collect();
    writing
}

/// Regions that still have the tree of the superseded rollout: harm there is the new rollout's to answer for.
fn inherited(state: &FleetState, wanted: &Wanted) -> BTreeMap<String, Inherited> {
    let Some(old) = state
        .rollout
        .as_ref()
        .filter(|rollout| rollout.state == RolloutState::Superseded)
    else {
        return BTreeMap::new();
    };
    let mut taken = BTreeMap::new();
    for region in wanted.regions.keys() {
        let Some(actual) = state
            .placements
            .get(region)
            .and_then(|placement| state.folder(&placement.wave, region))
            .filter(|actual| Some(*actual) != state.last_good.get(region).map(|good| good.tree))
        else {
            continue;
        };
        let run = old.region(region).map(|(_, run)| run);
        let planned = old.plan.regions.get(region).map(|planned| planned.tree);
        if let Some(run) = run.filter(|run| run.before.is_some() && planned == Some(actual)) {
            taken.insert(
                region.clone(),
                Inherited {
                    tree: actual,
                    gates: old.plan.gates_of(region),
                    before: run.before,
                    was_healthy: run.was_healthy,
                    judged: run.state.is_watched() && run.state != RegionState::Held,
                    earlier: earlier(old, region, actual),
                },
            );
        } else if let Some(known) = old
            .inherited
            .get(region)
            .filter(|known| known.tree == actual)
        {
            taken.insert(region.clone(), known.clone());
        }
    }
    taken
}

/// The trees that a region may still run though its branch went from them to this one within rollouts that were superseded.
fn earlier(old: &Rollout, region: &str, actual: Oid) -> Vec<EarlierTree> {
    let Some(known) = old.inherited.get(region) else {
        return Vec::new();
    };
    let before = EarlierTree {
        tree: known.tree,
        gates: known.gates.clone(),
    };
    std::iter::once(before)
        .chain(known.earlier.iter().cloned())
        .filter(|earlier| earlier.tree != actual)
        .take(MOST_EARLIER_TREES)
        .collect()
}

/// Where a region begins: unchanged, left out because of what it failed with alone, or waiting.
fn opening_state(
    state: &FleetState,
    waiver: &Waiver,
    superseding: bool,
    wave: &str,
    region: &str,
    wanted: Oid,
) -> (RegionState, Option<String>) {
    let folder = state.folder(wave, region);
    let good = state.last_good.get(region).map(|good| good.tree);
    if folder == Some(wanted) && good == Some(wanted) {
        return (RegionState::NoChange, None);
    }
    let retried = waiver.retry && (waiver.regions.is_empty() || waiver.regions.contains(region));
    let isolated = state
        .quarantine
        .iter()
        .any(|item| item.isolated && item.digests.get(region) == Some(&wanted));
    if isolated && !retried && good != Some(wanted) {
        return (
            RegionState::Skipped,
            Some(
                "this content failed here before, alone; `tidegate retry --region` tries it again"
                    .to_owned(),
            ),
        );
    }
    if state.set_aside.get(region) == Some(&wanted)
        && folder == Some(wanted)
        && !superseding
        && !retried
    {
        return (RegionState::Skipped, Some("it was skipped or failed with this tree before; its state is no evidence against this commit".to_owned()));
    }
    (RegionState::Pending, None)
}
