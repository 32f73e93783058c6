//! What holds for all sequences of what may be seen.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use tidegate_waves::fleet::PrunePending;

use super::super::{Action, Kind, Verdict};
use super::fixture::{
    FOREIGN, LATER_OURS, LATER_THEIRS, NOT_FETCHED, OLDER, OURS, SAME_TREE, Watch,
};

/// One look, and what was seen then.
#[derive(Debug, Clone)]
struct Step {
    gap: u64,
    revision: &'static str,
    sync: &'static str,
    health: &'static str,
    operation: Operation,
    condition: Option<(&'static str, &'static str)>,
    /// How much later it was compared; none if it was not.
    reconciled: Option<i64>,
    /// When health changed, in seconds.
    transition: i64,
    /// Whether a refresh that is asked for is requested, and whether one is answered.
    asks: bool,
    answers: bool,
}

#[derive(Debug, Clone)]
enum Operation {
    None,
    Asked(&'static str),
    Phase(&'static str, &'static str, i64),
}

const ALL: [&str; 9] = [
    OURS,
    SAME_TREE,
    OLDER,
    LATER_OURS,
    LATER_THEIRS,
    FOREIGN,
    NOT_FETCHED,
    "tidegate/canary",
    "",
];

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => Just(Operation::Phase("Succeeded", OURS, 10)),
        1 => Just(Operation::None),
        1 => select(ALL.to_vec()).prop_map(Operation::Asked),
        2 => (
            select(vec!["Running", "Terminating", "Succeeded", "Failed", "Error", "Odd"]),
            select(ALL.to_vec()),
            0_i64..900,
        ).prop_map(|(phase, revision, finished)| Operation::Phase(phase, revision, finished)),
    ]
}

fn condition() -> impl Strategy<Value = Option<(&'static str, &'static str)>> {
    prop_oneof![
        12 => Just(None),
        1 => select(vec![
            ("ComparisonError", "Failed to load target state: rpc error: code = Unavailable"),
            ("InvalidSpecError", "no"),
            ("SyncError", "Failed last sync attempt to [9f8e7d6c5b4a39281706f5e4d3c2b1a098765432]: no"),
            ("SyncError", "Skipping sync attempt to [9f8e7d6c5b4a39281706f5e4d3c2b1a098765432]: auto-sync will wipe out all resources"),
            ("OrphanedResourceWarning", "3"),
        ]).prop_map(Some),
    ]
}

/// Mostly good, so that there is something to spoil.
fn step() -> impl Strategy<Value = Step> {
    (
        prop_oneof![20 => 1_u64..40, 1 => 40_u64..4_000],
        prop_oneof![12 => Just(OURS), 1 => select(ALL.to_vec())],
        prop_oneof![12 => Just("Synced"), 1 => select(vec!["OutOfSync", "Unknown", "Odd", ""])],
        prop_oneof![12 => Just("Healthy"), 1 => select(vec!["Degraded", "Progressing", "Missing", "Suspended", "Unknown", "Odd"])],
        prop_oneof![8 => Just(Operation::Phase("Succeeded", OURS, 10)), 1 => operation()],
        condition(),
        proptest::option::of(0_i64..30),
        prop_oneof![20 => Just(0_i64), 1 => 0_i64..100],
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(gap, revision, sync, health, operation, condition, reconciled, transition, asks, answers)| Step {
                gap, revision, sync, health, operation, condition, reconciled, transition, asks, answers,
            },
        )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..40)
}

fn time(seconds: i64) -> String {
    let begin: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    (begin + SignedDuration::from_secs(seconds)).to_string()
}

/// Puts what is seen into the Application.
fn show(watch: &mut Watch, step: &Step) {
    watch.set("/status/sync/revision", step.revision);
    watch.set("/status/sync/status", step.sync);
    watch.set("/status/health/status", step.health);
    watch.set("/status/health/lastTransitionTime", time(step.transition));
    watch.unset("/operation").unset("/status/operationState");
    match step.operation {
        Operation::None => {}
        Operation::Asked(revision) => {
            watch.set("/operation", json!({ "sync": { "revision": revision } }));
        }
        Operation::Phase(phase, revision, finished) => {
            watch.set(
                "/status/operationState",
                json!({
                    "phase": phase,
                    "startedAt": time(0),
                    "finishedAt": time(finished),
                    "syncResult": { "revision": revision },
                }),
            );
        }
    }
    match step.condition {
        Some((kind, message)) => watch.condition(kind, message),
        None => watch.unset("/status/conditions"),
    };
}

/// What a sequence of looks came to.
fn run(steps: &[Step], mut each: impl FnMut(&mut Watch, &Step, bool)) -> Vec<Verdict> {
    let mut watch = Watch::new(None);
    let mut asked = false;
    let mut verdicts = Vec::new();
    for step in steps {
        watch.now += Duration::from_secs(step.gap);
        show(&mut watch, step);
        let mut answered = false;
        if asked && step.answers {
            watch.answer(step.reconciled.unwrap_or(0));
            asked = false;
            answered = step.reconciled.unwrap_or(0) > 0;
        } else if let Some(seconds) = step.reconciled {
            watch.next_version();
            watch.reconcile(seconds);
        }
        each(&mut watch, step, answered);
        let verdict = watch.look();
        if verdict.act == Some(Action::Refresh) && step.asks {
            watch.ask();
            asked = true;
        }
        verdicts.push(verdict);
    }
    verdicts
}

fn pointer<'a>(watch: &'a Watch, place: &str) -> &'a str {
    let found = watch.app.as_ref().unwrap().pointer(place);
    found.and_then(Value::as_str).unwrap_or_default()
}

/// Whether an Application is as wanted, without any of the code that is tested.
fn is_good(watch: &Watch) -> bool {
    let is_ours = |revision: &str| revision == OURS || revision == SAME_TREE;
    pointer(watch, "/status/sync/status") == "Synced"
        && pointer(watch, "/status/health/status") == "Healthy"
        && is_ours(pointer(watch, "/status/sync/revision"))
        && watch.app.as_ref().unwrap().get("operation").is_none()
        && !["Running", "Terminating"].contains(&pointer(watch, "/status/operationState/phase"))
        && pointer(watch, "/status/reconciledAt")
            > pointer(watch, "/status/operationState/finishedAt")
}

/// Moves all timestamps of an Application.
fn shift(value: &mut Value, seconds: i64) {
    match value {
        Value::String(text) => {
            if let Ok(time) = text.parse::<Timestamp>() {
                *text = (time + SignedDuration::from_secs(seconds)).to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, seconds)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shift(field, seconds)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn without_ours_or_without_knowing_nothing_passes_or_fails(
        mut steps in steps(),
        how in proptest::collection::vec((0_usize..10, 0_usize..4), 40),
    ) {
        for (step, (how, unknown)) in steps.iter_mut().zip(how) {
            match how {
                0..7 => step.revision = ALL[how + 2],
                _ if unknown % 2 == 0 => step.sync = ["Unknown", ""][unknown / 2],
                _ => step.health = ["Unknown", "Odd"][unknown / 2],
            }
        }
        for verdict in run(&steps, |_, _, _| {}) {
            prop_assert!(!matches!(verdict.kind, Kind::Pass | Kind::Fail), "{verdict:?}");
        }
    }

    #[test]
    fn nothing_passes_but_what_was_good_long_enough(steps in steps()) {
        // Of each look: when, whether it was good, and whether a comparison since the promotion was seen.
        let mut looks: Vec<(Duration, bool, bool)> = Vec::new();
        let mut compared = false;
        let verdicts = run(&steps, |watch, _, answered| {
            compared |= answered;
            watch.limits.prune_pending = PrunePending::Hold;
            looks.push((watch.now, is_good(watch), compared));
        });
        for (index, verdict) in verdicts.iter().enumerate().filter(|(_, verdict)| verdict.kind == Kind::Pass) {
            let (now, _, _) = looks[index];
            let run: Vec<_> = looks[..=index].iter().rev().take_while(|(_, good, compared)| *good && *compared).collect();
            prop_assert!(!run.is_empty(), "{verdict:?}");
            let closely = 1 + run.windows(2).take_while(|pair| pair[0].0 <= pair[1].0 + Duration::from_secs(45)).count();
            let since = run[closely - 1].0;
            prop_assert!(now >= since + Duration::from_secs(60), "{verdict:?} good since {since:?}, now {now:?}");
        }
    }

    #[test]
    fn clocks_of_the_cluster_make_nothing_pass(
        steps in steps(),
        shifts in proptest::collection::vec(-100_000_i64..100_000, 40),
        asks in any::<bool>(),
    ) {
        let mut watch = Watch::new(None);
        for (step, seconds) in steps.iter().zip(shifts) {
            watch.now += Duration::from_secs(step.gap);
            // No comparison: what there is only looks newer or older.
            shift(watch.app.as_mut().unwrap(), seconds);
            watch.next_version();
            let verdict = watch.look();
            prop_assert!(verdict.kind != Kind::Pass && verdict.kind != Kind::Soak, "{verdict:?}");
            if asks && verdict.act == Some(Action::Refresh) {
                watch.ask();
            }
        }
    }

    #[test]
    fn it_does_not_matter_how_late_it_is_for_the_cluster(steps in steps(), seconds in -1_000_000_000_i64..1_000_000_000) {
        let here = run(&steps, |_, _, _| {});
        // The Application stays as it is between two looks: it is moved for the look alone.
        let mut watch = Watch::new(None);
        let mut asked = false;
        for (step, expected) in steps.iter().zip(here) {
            watch.now += Duration::from_secs(step.gap);
            show(&mut watch, step);
            if asked && step.answers {
                watch.answer(step.reconciled.unwrap_or(0));
                asked = false;
            } else if let Some(seconds) = step.reconciled {
                watch.next_version();
                watch.reconcile(seconds);
            }
            watch.expected.before.as_mut().unwrap().operation_started_at = Some("2026-02-20T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds));
            let app = watch.app.clone();
            shift(watch.app.as_mut().unwrap(), seconds);
            let verdict = watch.look();
            watch.app = app;
            if verdict.act == Some(Action::Refresh) && step.asks {
                watch.ask();
                asked = true;
            }
            prop_assert_eq!(verdict, expected);
        }
    }

    #[test]
    fn the_same_is_judged_alike(steps in steps()) {
        prop_assert_eq!(run(&steps, |_, _, _| {}), run(&steps, |_, _, _| {}));
    }
}

#[test]
fn these_sequences_do_pass_now_and_then() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let passes = (0..100)
        .filter(|_| {
            let steps = steps().new_tree(&mut runner).unwrap().current();
            let verdicts = run(&steps, |_, _, _| {});
            verdicts.iter().any(|verdict| verdict.kind == Kind::Pass)
        })
        .count();
    assert!(passes > 3, "only {passes} of 100 pass");
}
