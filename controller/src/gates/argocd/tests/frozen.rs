//! What a status says that nobody writes any more, and what one says that is written anew again and again.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use tidegate_waves::fleet::OnDrift;

use super::super::{Action, Kind, Verdict};
use super::fixture::{OLDER, OURS, Watch};

const PARSE: &str = "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = FailedPrecondition desc = Failed to unmarshal \"api.yaml\": yaml: line 7";

/// A harm that must last, and after how many seconds it is one.
type Lasting = (&'static str, u64, fn(&mut Watch));

const LASTING: [Lasting; 6] = [
    ("degraded", 30, |watch| {
        watch.set("/status/health/status", "Degraded");
    }),
    ("missing", 60, |watch| {
        watch.set("/status/health/status", "Missing");
    }),
    ("running", 600, |watch| {
        watch.runs(OURS, true);
    }),
    ("retrying", 0, |watch| {
        watch.runs(OURS, true);
        watch.set("/status/operationState/finishedAt", "2026-03-01T10:01:05Z");
        watch.set("/status/operationState/retryCount", 2);
        watch.set(
            "/status/operationState/message",
            "one or more objects failed to apply",
        );
    }),
    ("drifted", 60, |watch| {
        watch.limits.on_drift = OnDrift::Fail;
        watch.out_of_sync();
    }),
    ("unparsable", 30, |watch| {
        watch.set("/status/sync/status", "Unknown");
        watch.set("/status/sync/revision", "tidegate/canary");
        watch.condition("ComparisonError", PARSE);
    }),
];

#[test]
fn harm_that_argo_cd_goes_on_to_say_is_a_failure_one_answer_after_its_time() {
    for (name, seconds, harm) in LASTING {
        let mut watch = Watch::fresh(None);
        harm(&mut watch);
        let before = watch.look_alive_for(seconds);
        assert_ne!(before.kind, Kind::Fail, "{name}: {before:?}");
        let verdict = watch.look_alive_for(5);
        assert_eq!(verdict.kind, Kind::Fail, "{name}: {verdict:?}");
    }
}

#[test]
fn harm_that_argo_cd_says_by_itself_is_a_failure_where_we_may_not_ask() {
    for (name, seconds, harm) in LASTING {
        let mut watch = Watch::fresh(None);
        watch.memory.refresh_refused();
        harm(&mut watch);
        let verdict = watch.look_for(seconds + 30);
        assert_ne!(verdict.kind, Kind::Fail, "{name}: {verdict:?}");
        watch.next_version();
        watch.reconcile(180);
        let verdict = watch.look_for(5);
        assert_eq!(verdict.kind, Kind::Fail, "{name}: {verdict:?}");
    }
}

#[test]
fn harm_of_which_nothing_new_is_said_is_held() {
    for (name, seconds, harm) in LASTING {
        let mut watch = Watch::fresh(None);
        // It was compared once more just as it began, and then nobody writes any more.
        harm(&mut watch);
        watch.look();
        if seconds > 0 {
            watch.reconcile(5);
        }
        let verdict = watch.look_for(seconds + 30);
        assert_eq!(verdict.kind, Kind::Hold, "{name}: {verdict:?}");
        assert_eq!(verdict.act, Some(Action::Refresh), "{name}");
        // What others write is not Argo CD's word.
        watch.next_version();
        assert_ne!(watch.look_for(3_600).kind, Kind::Fail, "{name}");
    }
}

#[test]
fn a_question_of_a_moment_ago_does_not_delay_the_one_that_confirms() {
    let mut watch = Watch::fresh(None);
    watch.set("/status/health/status", "Degraded");
    assert_eq!(watch.look_for(25).kind, Kind::Wait);
    watch.refreshed();
    assert_eq!(watch.look_for(4).act, Some(Action::Refresh));
    assert_eq!(watch.refreshed().kind, Kind::Fail);
}

#[test]
fn what_goes_on_is_asked_for_now_and_then_and_held_where_nobody_answers() {
    for row in [20, 27] {
        let mut watch = Watch::fresh(None);
        if row == 20 {
            watch.runs(OURS, true);
        } else {
            watch.set("/status/health/status", "Progressing");
        }
        assert_eq!(watch.look_for(55).act, None, "{row}");
        let verdict = watch.look_for(5);
        assert_eq!(
            (verdict.row, verdict.kind, verdict.act),
            (row, Kind::Wait, Some(Action::Refresh))
        );
        watch.ask();
        assert_eq!(watch.look_for(60).kind, Kind::Wait, "{row}");
        let verdict = watch.look_for(5);
        assert_eq!((verdict.row, verdict.kind), (row, Kind::Hold));
        assert_eq!(watch.refreshed().kind, Kind::Wait, "{row}");
        // Where we may not ask, its own comparisons have their time.
        watch.memory.refresh_refused();
        assert_eq!(watch.look_for(355).kind, Kind::Wait, "{row}");
        let verdict = watch.look_for(10);
        assert!(
            verdict.kind == Kind::Hold || verdict.row == 26,
            "{verdict:?}"
        );
    }
}

#[test]
fn a_soak_goes_on_while_its_comparison_is_late_and_says_nothing_meanwhile() {
    let mut watch = Watch::fresh(None);
    assert_eq!(watch.look_for(55).act, Some(Action::Refresh));
    watch.ask();
    assert_eq!(watch.look_for(60).kind, Kind::Soak);
    let verdict = watch.look_for(5);
    assert_eq!((verdict.row, verdict.kind), (30, Kind::Hold));
    watch.now += std::time::Duration::from_secs(5);
    watch.answer(60);
    let verdict = watch.look();
    assert_eq!((verdict.row, verdict.kind), (31, Kind::Pass), "{verdict:?}");
}

/// What an Application shows at last.
#[derive(Debug, Clone)]
struct Last {
    health: &'static str,
    sync: &'static str,
    phase: &'static str,
    revision: &'static str,
    retries: i64,
    is_over: bool,
    condition: Option<&'static str>,
}

fn last() -> impl Strategy<Value = Last> {
    (
        select(vec![
            "Healthy",
            "Degraded",
            "Degraded",
            "Missing",
            "Progressing",
        ]),
        select(vec!["Synced", "Synced", "OutOfSync"]),
        select(vec![
            "Succeeded",
            "Running",
            "Running",
            "Terminating",
            "Failed",
            "Error",
        ]),
        select(vec![OURS, OURS, OURS, OLDER]),
        0_i64..4,
        any::<bool>(),
        prop_oneof![4 => Just(None), 1 => Just(Some(PARSE))],
    )
        .prop_map(
            |(health, sync, phase, revision, retries, is_over, condition)| Last {
                health,
                sync,
                phase,
                revision,
                retries,
                is_over,
                condition,
            },
        )
}

fn show(watch: &mut Watch, last: &Last) {
    watch.limits.on_drift = OnDrift::Fail;
    watch.set("/status/health/status", last.health);
    watch.set("/status/sync/status", last.sync);
    if last.sync == "OutOfSync" {
        watch.out_of_sync();
    }
    watch.set(
        "/status/operationState",
        json!({
            "phase": last.phase,
            "message": "one or more objects failed to apply",
            "startedAt": "2026-03-01T10:00:00Z",
            "retryCount": last.retries,
            "syncResult": { "revision": last.revision },
        }),
    );
    if last.is_over {
        watch.set("/status/operationState/finishedAt", "2026-03-01T10:00:10Z");
    }
    if let Some(message) = last.condition {
        watch.set("/status/sync/status", "Unknown");
        watch.set("/status/sync/revision", "tidegate/canary");
        watch.condition("ComparisonError", message);
    }
}

proptest! {
    /// A controller that died: the Application stays as it is, but for what we write.
    #[test]
    fn time_alone_makes_no_failure(
        last in last(),
        is_answered in any::<bool>(),
        gaps in proptest::collection::vec(1_u64..45, 1..60),
    ) {
        let mut watch = if is_answered { Watch::fresh(None) } else { Watch::new(None) };
        show(&mut watch, &last);
        watch.next_version();
        watch.reconcile(5);
        let first = watch.look();
        let asks = |watch: &mut Watch, verdict: &Verdict| {
            if verdict.act == Some(Action::Refresh) {
                watch.ask();
            }
        };
        asks(&mut watch, &first);
        for gap in gaps {
            watch.now += std::time::Duration::from_secs(gap);
            let verdict = watch.look();
            prop_assert!(verdict.kind != Kind::Fail || first.kind == Kind::Fail, "{first:?}, then {verdict:?}");
            asks(&mut watch, &verdict);
        }
    }
}
