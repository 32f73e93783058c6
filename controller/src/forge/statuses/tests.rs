//! The table of moments, row by row, on a state as the log holds it.

use std::sync::Arc;

use proptest::prelude::*;
use tidegate_waves::rollout::{
    Failure, FailureReason, Hold, HoldReason, RegionState, RolloutState, SourceCommit,
    SourceRevert, ValidCandidate, WaveState,
};

use super::*;
use crate::git::trailers::is_treacherous;

const RENDER: &str = "tidegate/render";
const ROLLOUT: &str = "tidegate/rollout";
const CANARY: &str = "tidegate/wave/canary";
const PILOT: &str = "tidegate/wave/pilot";
const BROAD: &str = "tidegate/wave/broad";

/// 14:05 UTC on some day.
const BAKED_AT: i64 = 1_764_079_500;

fn oid(byte: u8) -> Oid {
    Oid::from_bytes([byte; 20])
}

fn report(state: &FleetState) -> Report {
    Report {
        tip: Some(LogTip {
            commit: oid(1),
            seconds: 1400,
            state: Arc::new(state.clone()),
        }),
        head: state.rollout.as_ref().map(|rollout| rollout.source),
        candidate: None,
        trouble: None,
    }
}

/// The statuses of one commit: context, state, description.
fn on(commit: Oid, statuses: &[DesiredStatus]) -> BTreeMap<String, (StatusState, String)> {
    let mut found = BTreeMap::new();
    for wish in statuses.iter().filter(|wish| wish.commit == commit) {
        let status = &wish.status;
        let twice = found.insert(
            status.context.clone(),
            (status.state, status.description.clone()),
        );
        assert!(twice.is_none(), "{} is wanted twice", status.context);
    }
    found
}

/// The statuses of the rollout's tip in a state.
fn of_tip(state: &FleetState) -> BTreeMap<String, (StatusState, String)> {
    on(
        state.rollout.as_ref().unwrap().source,
        &desired("tidegate", &report(state)),
    )
}

fn is(state: StatusState, text: &str) -> (StatusState, String) {
    (state, text.to_owned())
}

fn rollout(state: &mut FleetState) -> &mut Rollout {
    state.rollout.as_mut().unwrap()
}

fn source_commit(id: Oid) -> SourceCommit {
    SourceCommit {
        id,
        author: "Ann".to_owned(),
        subject: "change".to_owned(),
        fixes: Vec::new(),
    }
}

fn candidate(state: &FleetState, source: Oid, commits: &[Oid], differs: bool) -> Candidate {
    let mut wanted = state.settled.as_ref().unwrap().wanted.as_ref().clone();
    if differs {
        wanted.regions.get_mut("r0").unwrap().tree = oid(200);
    }
    Candidate {
        source,
        settled: None,
        commits: commits.iter().copied().map(source_commit).collect(),
        descends: true,
        outcome: CandidateOutcome::Valid(Box::new(ValidCandidate {
            wanted: Arc::new(wanted),
            plan_commit: oid(201),
            revert_trees: BTreeMap::new(),
            findings: Vec::new(),
            quarantine: Vec::new(),
        })),
    }
}

fn hold(reason: HoldReason, message: &str) -> Hold {
    Hold {
        reason,
        since: 0,
        message: message.to_owned(),
        source: None,
        rollout: None,
        wave: None,
        regions: Vec::new(),
        until: None,
    }
}

/// The rollout failed in its canary after it had begun the pilot.
fn failing() -> FleetState {
    let mut state = fixture();
    let rollout = rollout(&mut state);
    rollout.state = RolloutState::RollingBack;
    rollout.source_revert = SourceRevert::Wanted;
    rollout.failure = Some(Failure {
        reason: FailureReason::Harm,
        wave: "pilot".to_owned(),
        region: "westus3".to_owned(),
        gate: "healthz".to_owned(),
        tree: None,
        evidence: "westus3 healthz answered 500, 3 times in a row".to_owned(),
    });
    rollout.waves[1].state = WaveState::Failed;
    rollout.waves[2].state = WaveState::Cancelled;
    state
}

#[test]
fn a_head_that_was_seen_is_pending() {
    let seen = |report: &Report| on(oid(5), &desired("tidegate", report));
    let pending = is(StatusState::Pending, "seen, not rendered yet");
    let expected = BTreeMap::from([
        (RENDER.to_owned(), pending.clone()),
        (ROLLOUT.to_owned(), pending),
    ]);
    let mut known = report(&fixture());
    known.head = Some(oid(5));
    assert_eq!(seen(&known), expected);
    // So it is before there is a log.
    known.tip = None;
    assert_eq!(seen(&known), expected);
}

#[test]
fn an_invalid_commit_fails_with_its_first_problem_and_takes_nobody_with_it() {
    let mut report = report(&fixture());
    report.head = Some(oid(5));
    report.candidate = Some(Arc::new(Candidate {
        outcome: CandidateOutcome::Invalid {
            message: "tidegate.yaml:3:5: unknown field \"wave\" (and 2 more)".to_owned(),
        },
        ..candidate(&fixture(), oid(5), &[oid(5), oid(6)], true)
    }));
    let statuses = desired("tidegate", &report);
    let failure = is(
        StatusState::Failure,
        "tidegate.yaml:3:5: unknown field \"wave\" (and 2 more)",
    );
    assert_eq!(
        on(oid(5), &statuses),
        BTreeMap::from([
            (RENDER.to_owned(), failure.clone()),
            (ROLLOUT.to_owned(), failure),
        ])
    );
    assert_eq!(
        on(oid(6), &statuses),
        BTreeMap::from([(
            ROLLOUT.to_owned(),
            is(
                StatusState::Pending,
                "waits for 05050505, which is not valid"
            )
        )])
    );
}

#[test]
fn a_commit_that_changes_nothing_succeeds() {
    let mut state = fixture();
    rollout(&mut state).state = RolloutState::RolledBack;
    let wanted = state.settled.as_ref().unwrap().wanted.clone();
    state.settled = Some(tidegate_waves::rollout::Settled {
        source: oid(5),
        wanted,
    });
    let expected = BTreeMap::from([
        (
            RENDER.to_owned(),
            is(StatusState::Success, "rendered for 5 regions"),
        ),
        (
            ROLLOUT.to_owned(),
            is(StatusState::Success, "no region changes"),
        ),
    ]);
    assert_eq!(on(oid(5), &desired("tidegate", &report(&state))), expected);
    // And so it is said already while the entry is about to be written, of the whole range.
    let mut before = fixture();
    rollout(&mut before).state = RolloutState::RolledBack;
    let mut report = report(&before);
    report.head = Some(oid(5));
    report.candidate = Some(Arc::new(candidate(
        &before,
        oid(5),
        &[oid(5), oid(6)],
        false,
    )));
    let statuses = desired("tidegate", &report);
    assert_eq!(on(oid(5), &statuses), expected);
    assert_eq!(
        on(oid(6), &statuses)[ROLLOUT],
        is(
            StatusState::Success,
            "carried by 05050505: no region changes"
        )
    );
}

#[test]
fn a_settled_source_that_a_rollout_brought_is_not_said_to_change_nothing() {
    let state = fixture();
    let settled = state.settled.as_ref().unwrap().source;
    assert_eq!(rollout(&mut state.clone()).base, Some(settled));
    assert!(on(settled, &desired("tidegate", &report(&state))).is_empty());
}

#[test]
fn a_queued_commit_names_what_it_waits_for() {
    let state = fixture();
    let running = state.rollout.as_ref().unwrap().source;
    let mut report = report(&state);
    report.head = Some(oid(5));
    // The range reaches back to the settled source and so over what is carried already.
    report.candidate = Some(Arc::new(candidate(
        &state,
        oid(5),
        &[oid(5), oid(6), running],
        true,
    )));
    let statuses = desired("tidegate", &report);
    assert_eq!(
        on(oid(5), &statuses),
        BTreeMap::from([
            (
                RENDER.to_owned(),
                is(StatusState::Success, "rendered for 5 regions")
            ),
            (
                ROLLOUT.to_owned(),
                is(
                    StatusState::Pending,
                    &format!("queued behind {}", running.short(8))
                )
            ),
        ])
    );
    assert_eq!(
        on(oid(6), &statuses)[ROLLOUT],
        is(StatusState::Pending, "waits for 05050505, which is queued")
    );
    assert_eq!(on(running, &statuses).len(), 5);
    // A head behind a cut of the range waits for the cut.
    report.head = Some(oid(7));
    assert_eq!(
        on(oid(7), &desired("tidegate", &report))[ROLLOUT],
        is(StatusState::Pending, "queued behind 05050505")
    );
}

#[test]
fn a_commit_that_is_held_before_it_opens_says_why() {
    let mut state = fixture();
    rollout(&mut state).state = RolloutState::Succeeded;
    state.holds = vec![
        hold(HoldReason::RevertPullRequest, "waits for a merge"),
        Hold {
            source: Some(oid(5)),
            ..hold(
                HoldReason::DeletionGuard,
                "r1 would lose 40 % of its objects",
            )
        },
    ];
    let mut report = report(&state);
    report.head = Some(oid(5));
    report.candidate = Some(Arc::new(candidate(&state, oid(5), &[oid(5)], true)));
    let found = on(oid(5), &desired("tidegate", &report));
    assert_eq!(found[RENDER].0, StatusState::Success);
    assert_eq!(
        found[ROLLOUT],
        is(
            StatusState::Pending,
            "held: DeletionGuard: r1 would lose 40 % of its objects"
        )
    );
}

#[test]
fn an_opened_rollout_has_all_waves_pending() {
    let mut state = fixture();
    for wave in &mut rollout(&mut state).waves {
        wave.state = WaveState::NotStarted;
        for run in wave.regions.values_mut() {
            run.state = RegionState::Pending;
            run.before = None;
        }
    }
    assert_eq!(
        of_tip(&state),
        BTreeMap::from([
            (
                RENDER.to_owned(),
                is(StatusState::Success, "rendered for 5 regions")
            ),
            (
                ROLLOUT.to_owned(),
                is(StatusState::Pending, "wave 1 of 3: canary")
            ),
            (
                CANARY.to_owned(),
                is(StatusState::Pending, "canary: about to start")
            ),
            (
                PILOT.to_owned(),
                is(StatusState::Pending, "pilot: waits for canary")
            ),
            (
                BROAD.to_owned(),
                is(StatusState::Pending, "broad: waits for pilot")
            ),
        ])
    );
}

#[test]
fn a_wave_that_passed_succeeds_and_the_next_tells_how_far_it_is() {
    let found = of_tip(&fixture());
    assert_eq!(
        found[CANARY],
        is(StatusState::Success, "canary: passed, 1/1 regions healthy")
    );
    assert_eq!(
        found[PILOT],
        is(
            StatusState::Pending,
            "pilot: under way, 0/2 regions healthy"
        )
    );
    assert_eq!(
        found[ROLLOUT],
        is(StatusState::Pending, "wave 2 of 3: pilot")
    );
}

#[test]
fn a_baking_wave_says_until_when() {
    let mut state = fixture();
    let rollout = rollout(&mut state);
    let bake = rollout.plan.wave("canary").unwrap().policy.bake.as_secs();
    let since = BAKED_AT - i64::try_from(bake).unwrap();
    let canary = &mut rollout.waves[0];
    canary.state = WaveState::Baking;
    let run = canary.regions.get_mut("r0").unwrap();
    run.state = RegionState::Baking;
    run.since = since;
    assert_eq!(
        of_tip(&state)[CANARY],
        is(
            StatusState::Pending,
            "canary: baking until 14:05 UTC, 1/1 regions healthy"
        )
    );
    // What no answer proved is said, and a day more needs its date.
    let run = self::rollout(&mut state).waves[0]
        .regions
        .get_mut("r0")
        .unwrap();
    run.proven = Some(false);
    run.since = 1_764_115_199;
    assert_eq!(
        of_tip(&state)[CANARY].1,
        "canary: baking until 2025-11-26 00:00 UTC, 1/1 regions healthy, revision not proven"
    );
}

#[test]
fn a_held_rollout_says_so_on_the_wave_that_waits() {
    let mut state = fixture();
    let rollout = rollout(&mut state);
    rollout.state = RolloutState::Held;
    rollout.waves[1].state = WaveState::Blocked;
    let mut first = hold(HoldReason::AlreadySick, "r1 was ill before");
    first.rollout = Some(rollout.id.clone());
    first.wave = Some("pilot".to_owned());
    // A hold that stays behind from an earlier rollout is not this one's.
    let mut other = hold(HoldReason::PushRefused, "refused");
    other.rollout = Some("0000-1".to_owned());
    state.holds = vec![other, first];
    let held = is(
        StatusState::Pending,
        "pilot: held: AlreadySick: r1 was ill before",
    );
    let found = of_tip(&state);
    assert_eq!(found[PILOT], held);
    assert_eq!(
        found[ROLLOUT],
        is(StatusState::Pending, "held: AlreadySick: r1 was ill before")
    );
    assert_eq!(found[CANARY].0, StatusState::Success);
    assert_eq!(
        found[BROAD],
        is(StatusState::Pending, "broad: waits for pilot")
    );
    // A hold that names no wave is shown by the first that waits.
    state.holds = vec![hold(HoldReason::Requested, "lunch")];
    assert_eq!(of_tip(&state)[PILOT].1, "pilot: held: Requested: lunch");
}

#[test]
fn a_failure_is_told_by_every_wave_that_was_touched() {
    let mut state = failing();
    let evidence = "westus3 healthz answered 500, 3 times in a row";
    let found = of_tip(&state);
    assert_eq!(
        found[CANARY],
        is(StatusState::Failure, "canary: given back, pilot failed")
    );
    assert_eq!(
        found[PILOT],
        is(StatusState::Failure, &format!("pilot: {evidence}"))
    );
    assert_eq!(found[BROAD], is(StatusState::Error, "broad: not started"));
    assert_eq!(
        found[ROLLOUT],
        is(
            StatusState::Failure,
            &format!("being given back: {evidence}")
        )
    );
    let mut told = |end: RolloutState, revert: SourceRevert| {
        let rollout = rollout(&mut state);
        rollout.state = end;
        rollout.source_revert = revert;
        of_tip(&state)[ROLLOUT].clone()
    };
    let commit = "9f3c2e1a00000000000000000000000000000000".parse().unwrap();
    for (end, revert, text) in [
        (
            RolloutState::RollingBack,
            SourceRevert::Pushed { commit },
            "reverted by 9f3c2e1",
        ),
        (
            RolloutState::RolledBack,
            SourceRevert::Pushed { commit },
            "reverted by 9f3c2e1",
        ),
        (
            RolloutState::RolledBack,
            SourceRevert::Proposed { commit },
            "given back, revert 9f3c2e1 waits to be merged",
        ),
        (
            RolloutState::RolledBack,
            SourceRevert::NotWanted,
            "given back",
        ),
        (
            RolloutState::RollbackIncomplete,
            SourceRevert::Pushed { commit },
            "reverted by 9f3c2e1, but not everywhere",
        ),
        (
            RolloutState::RolledBack,
            SourceRevert::Impossible,
            "given back, a person has to revert it",
        ),
    ] {
        assert_eq!(
            told(end, revert),
            is(StatusState::Failure, &format!("{text}: {evidence}"))
        );
    }
}

#[test]
fn a_success_counts_what_it_brought() {
    let mut state = fixture();
    let rollout = rollout(&mut state);
    rollout.state = RolloutState::Succeeded;
    for wave in &mut rollout.waves {
        wave.state = WaveState::Passed;
        for run in wave.regions.values_mut() {
            run.state = RegionState::Done;
            run.proven = Some(true);
        }
    }
    rollout.waves[1].state = WaveState::PassedWithFailures;
    rollout.waves[1].regions.get_mut("r1").unwrap().state = RegionState::Failed;
    for run in rollout.waves[2].regions.values_mut() {
        run.state = RegionState::NoChange;
    }
    let found = of_tip(&state);
    assert_eq!(
        found[ROLLOUT],
        is(StatusState::Success, "3 waves passed, 4/5 regions healthy")
    );
    assert_eq!(
        found[PILOT],
        is(
            StatusState::Success,
            "pilot: passed, 1/2 regions healthy, 1 failed"
        )
    );
    assert_eq!(
        found[BROAD],
        is(StatusState::Success, "broad: no region changes")
    );
}

#[test]
fn what_is_superseded_or_aborted_ends_in_an_error() {
    let mut state = fixture();
    rollout(&mut state).state = RolloutState::Aborted;
    let found = of_tip(&state);
    assert_eq!(found[ROLLOUT], is(StatusState::Error, "aborted"));
    assert_eq!(found[CANARY].0, StatusState::Success);
    assert_eq!(found[PILOT], is(StatusState::Error, "pilot: aborted"));
    assert_eq!(found[BROAD], is(StatusState::Error, "broad: not started"));

    rollout(&mut state).state = RolloutState::Superseded;
    let mut report = report(&state);
    let old = state.rollout.as_ref().unwrap().source;
    report.candidate = Some(Arc::new(candidate(&state, oid(5), &[oid(5), old], true)));
    let statuses = desired("tidegate", &report);
    assert_eq!(
        on(old, &statuses)[ROLLOUT],
        is(StatusState::Error, "superseded by 05050505")
    );
    assert_eq!(on(oid(5), &statuses)[ROLLOUT].0, StatusState::Pending);
}

#[test]
fn commits_that_are_carried_along_name_the_one_that_carries_them() {
    let mut state = failing();
    let source = rollout(&mut state).source;
    rollout(&mut state).commits.push(source_commit(oid(6)));
    let statuses = desired("tidegate", &report(&state));
    assert_eq!(
        on(oid(6), &statuses),
        BTreeMap::from([(
            ROLLOUT.to_owned(),
            is(
                StatusState::Failure,
                &format!(
                    "carried by {}: being given back: westus3 healthz answered 500, 3 times in a row",
                    source.short(8)
                )
            )
        )])
    );
    // One that had a rollout of its own, which this one superseded, ended there.
    rollout(&mut state).supersedes = Some("06060606-7".to_owned());
    let statuses = desired("tidegate", &report(&state));
    assert_eq!(
        on(oid(6), &statuses)[ROLLOUT],
        is(
            StatusState::Error,
            &format!("superseded by {}", source.short(8))
        )
    );
}

#[test]
fn the_prefix_stands_before_every_context() {
    let statuses = desired("teams/payments", &report(&fixture()));
    assert_eq!(statuses.len(), 5);
    for wish in &statuses {
        assert!(wish.status.context.starts_with("teams/payments/"));
    }
}

fn wish(commit: Oid, context: &str, state: StatusState, text: &str) -> DesiredStatus {
    DesiredStatus {
        commit,
        status: CommitStatus {
            context: context.to_owned(),
            state,
            description: text.to_owned(),
            target_url: None,
        },
        carried: None,
    }
}

fn carried(commit: Oid, by: Oid, state: StatusState, text: &str) -> DesiredStatus {
    DesiredStatus {
        carried: Some(Carried {
            by,
            yields_to: "tidegate/wave/".to_owned(),
        }),
        ..wish(commit, ROLLOUT, state, text)
    }
}

#[test]
fn newer_wishes_keep_what_they_do_not_speak_of() {
    let mut older = vec![
        wish(oid(1), ROLLOUT, StatusState::Pending, "wave 1"),
        wish(oid(1), CANARY, StatusState::Pending, "baking"),
    ];
    merge(
        &mut older,
        vec![
            wish(oid(2), ROLLOUT, StatusState::Pending, "queued"),
            wish(oid(1), ROLLOUT, StatusState::Success, "passed"),
        ],
    );
    assert_eq!(on(oid(1), &older)[ROLLOUT].0, StatusState::Success);
    assert_eq!(on(oid(1), &older)[CANARY].1, "baking");
    assert_eq!(on(oid(2), &older).len(), 1);
}

#[test]
fn a_commit_with_a_rollout_of_its_own_keeps_its_end() {
    let mut older = vec![
        wish(oid(1), ROLLOUT, StatusState::Failure, "reverted"),
        wish(oid(1), CANARY, StatusState::Failure, "answered 500"),
    ];
    let newer = carried(oid(1), oid(2), StatusState::Success, "carried");
    merge(&mut older, vec![newer]);
    assert_eq!(on(oid(1), &older)[ROLLOUT].1, "reverted");
}

#[test]
fn what_waited_to_be_carried_follows_what_settles_its_carrier() {
    let mut older = vec![
        wish(oid(2), ROLLOUT, StatusState::Pending, "queued"),
        carried(oid(1), oid(2), StatusState::Pending, "waits"),
    ];
    let settled = wish(oid(2), ROLLOUT, StatusState::Success, "no region changes");
    merge(&mut older, vec![settled]);
    assert_eq!(
        on(oid(1), &older)[ROLLOUT],
        is(
            StatusState::Success,
            "carried by 02020202: no region changes"
        )
    );
}

proptest! {
    #[test]
    fn a_description_is_one_short_plain_line(text in any::<String>()) {
        let line = description(&text);
        prop_assert!(line.chars().count() <= LONGEST_DESCRIPTION);
        prop_assert!(!line.chars().any(is_treacherous));
        prop_assert_eq!(description(&line), line);
    }
}

#[test]
fn a_long_description_is_cut_between_characters() {
    let line = description(&"ü".repeat(200));
    assert_eq!(line.chars().count(), LONGEST_DESCRIPTION);
    assert!(line.ends_with("ü…"));
    let fits = "ü".repeat(LONGEST_DESCRIPTION);
    assert_eq!(description(&fits), fits);
}
