//! Rows 11 to 21: which commit it shows, and what speaks against ours.

use serde_json::json;

use tidegate_waves::fleet::BaselineDegraded;

use super::super::super::{Action, Before, Health, Kind, Verdict};
use super::super::fixture::{
    FOREIGN, LATER_OURS, LATER_THEIRS, NOT_FETCHED, OLDER, OURS, SAME_TREE, Watch,
};
use super::is;

pub(super) fn case_11(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/status/sync/revision", OLDER);
    watch.set("/status/operationState/syncResult/revision", OLDER);
    watch.look()
}

#[test]
fn row_11_not_seen_yet() {
    let evidence = "still shows 1a2b3c4, a commit before ours";
    is(&case_11(None), 11, Kind::Wait, None, evidence);
    let mut watch = Watch::new(None);
    watch.set("/status/sync/revision", OLDER);
    is(
        &watch.look(),
        11,
        Kind::Wait,
        Some(Action::Refresh),
        evidence,
    );
    let mut watch = Watch::new(None);
    watch.set("/status/sync/revision", NOT_FETCHED);
    let unknown = "shows 5e2b3c4, a commit that is not fetched here yet";
    is(
        &watch.look_for(3_000),
        11,
        Kind::Wait,
        Some(Action::Refresh),
        unknown,
    );
}

pub(super) fn case_12(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/status/sync/revision", LATER_OURS);
    watch.look()
}

#[test]
fn row_12_newer() {
    let ours = "shows 2b2b3c4, a later commit of ours";
    is(&case_12(None), 12, Kind::Superseded, None, ours);
    let mut watch = Watch::fresh(None);
    watch.set("/status/sync/revision", LATER_THEIRS);
    let theirs = "shows 3c2b3c4, a commit that somebody put on top of ours";
    is(&watch.look(), 12, Kind::Hold, None, theirs);
}

pub(super) fn case_13(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/status/sync/revision", FOREIGN);
    watch.look()
}

#[test]
fn row_13_foreign() {
    let evidence =
        "shows 4d2b3c4, which is neither before nor after ours: the branch was rewritten";
    is(&case_13(None), 13, Kind::Hold, None, evidence);
}

const NOT_APPLIED: &str = "one or more objects failed to apply, reason: Service \"api\" is invalid: spec.ports: Required value";

pub(super) fn case_14(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.failed(OURS, "Failed", NOT_APPLIED);
    watch.look()
}

#[test]
fn row_14_sync_failed() {
    let evidence = format!("sync of 9f8e7d6 failed: {NOT_APPLIED}");
    is(&case_14(None), 14, Kind::Fail, None, &evidence);
    // Only the condition is left of it.
    let mut watch = Watch::fresh(None);
    watch.out_of_sync().unset("/status/operationState");
    let condition =
        format!("Failed last sync attempt to [{OURS}]: {NOT_APPLIED} (retried 5 times).");
    watch.condition("SyncError", &condition);
    assert_eq!((watch.look().row, watch.look().kind), (14, Kind::Fail));
    watch.condition("SyncError", &condition.replace(OURS, OLDER));
    assert_eq!(watch.look().row, 22);
}

#[test]
fn row_14_what_argo_cd_could_not_even_try_is_no_failure() {
    for (phase, message, kind) in [
        (
            "Error",
            "ComparisonError: Failed to load target state: rpc error: code = Unavailable desc = connection refused",
            Kind::Hold,
        ),
        (
            "Error",
            "failed to get cluster info: Get \"https://10.0.0.1/version\": dial tcp 10.0.0.1:443: i/o timeout",
            Kind::Hold,
        ),
        ("Error", "one or more objects could not be read", Kind::Fail),
        ("Failed", NOT_APPLIED, Kind::Fail),
        (
            "Error",
            "ComparisonError: Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = FailedPrecondition desc = Failed to unmarshal \"a.yaml\": yaml: line 3",
            Kind::Fail,
        ),
    ] {
        let mut watch = Watch::fresh(None);
        watch.failed(OURS, phase, message);
        assert_eq!(
            (watch.look().row, watch.look().kind),
            (14, kind),
            "{message}"
        );
    }
}

pub(super) fn case_15(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.failed(OLDER, "Failed", NOT_APPLIED);
    watch.look()
}

#[test]
fn row_15_failure_of_an_earlier_commit() {
    let evidence = "is out of sync, and no sync has begun";
    is(&case_15(None), 22, Kind::Wait, None, evidence);
    assert_eq!(case_15(Some(15)).row, 14);
    // One of the same tree, from before the promotion.
    let mut watch = Watch::fresh(None);
    watch.failed(SAME_TREE, "Failed", NOT_APPLIED);
    assert_eq!(watch.look().row, 14);
    let started = "2026-03-01T10:01:00Z".parse().ok();
    watch.expected.before.as_mut().unwrap().operation_started_at = started;
    assert_eq!(watch.look().row, 22);
    // Nobody knows what was before: only one of the very commit that is shown counts.
    watch.expected.before = None;
    assert_eq!(watch.look().row, 22);
    watch.failed(OURS, "Failed", NOT_APPLIED);
    assert_eq!(watch.look().row, 14);
}

pub(super) fn case_16(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/status/resources", json!([]));
    watch.look()
}

#[test]
fn row_16_nothing_rendered() {
    let evidence = "Argo CD finds nothing to apply; 3 objects were rendered";
    is(&case_16(None), 16, Kind::Fail, None, evidence);
    // What Argo CD's own settings leave out is no commit's doing.
    let mut watch = Watch::fresh(None);
    watch.set("/status/resources", json!([]));
    let excluded = "Resource apps/Deployment web is excluded in the settings";
    watch.condition("ExcludedResourceWarning", excluded);
    let verdict = watch.look();
    assert_eq!((verdict.row, verdict.kind), (25, Kind::Blocked));
    // What was there before the promotion is no evidence against it.
    let mut watch = Watch::new(None);
    watch.set("/status/resources", json!([]));
    assert_ne!(watch.look_for(60).kind, Kind::Fail);
    let mut watch = Watch::fresh(None);
    watch.out_of_sync();
    let skipped =
        format!("Skipping sync attempt to [{OURS}]: auto-sync will wipe out all resources");
    watch.condition("SyncError", &skipped);
    let refuses = "Argo CD finds nothing to apply and refuses to delete all that is there";
    is(&watch.look(), 16, Kind::Fail, None, refuses);
    watch.condition("SyncError", &skipped.replace(OURS, OLDER));
    assert_ne!(watch.look().kind, Kind::Fail);
}

fn degraded_before(watch: &mut Watch, message: &str) {
    watch.expected.before = Some(Before {
        health: Health::Degraded,
        health_message: message.to_owned(),
        operation_started_at: None,
    });
}

pub(super) fn case_17(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    degraded_before(&mut watch, "no cause");
    watch.set(
        "/status/health",
        json!({ "status": "Degraded", "message": "no cause" }),
    );
    watch.look_alive_for(35)
}

#[test]
fn row_17_degraded_before() {
    let evidence = "is degraded, as it was before the promotion: no cause";
    is(&case_17(None), 17, Kind::Hold, None, evidence);
    let mut watch = Watch::fresh(None);
    degraded_before(&mut watch, "no cause");
    watch.set(
        "/status/health",
        json!({ "status": "Degraded", "message": "no cause" }),
    );
    assert_eq!(watch.look().kind, Kind::Wait);
    watch.limits.baseline_degraded = BaselineDegraded::Ignore;
    assert_eq!(
        (watch.look_for(60).row, watch.look().kind),
        (17, Kind::Wait)
    );
    watch.set("/status/health/message", "another cause");
    let verdict = watch.look_alive_for(5);
    assert_eq!((verdict.row, verdict.kind), (19, Kind::Fail));
    // Healthy for a while since: now it is the commit's.
    let mut watch = Watch::fresh(None);
    degraded_before(&mut watch, "no cause");
    assert_eq!(watch.look_for(30).row, 30);
    watch.set(
        "/status/health",
        json!({ "status": "Degraded", "message": "no cause" }),
    );
    let verdict = watch.look_alive_for(35);
    assert_eq!((verdict.row, verdict.kind), (19, Kind::Fail));
}

pub(super) fn case_18(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/status/health/status", "Degraded");
    watch.look_for(25)
}

#[test]
fn row_18_degraded_briefly() {
    let evidence = "is degraded for 25 s of 30 s";
    is(&case_18(None), 18, Kind::Wait, None, evidence);
    let mut watch = Watch::new(None);
    watch.set("/status/health/status", "Degraded");
    let unanswered = "is degraded, and not compared since the promotion";
    is(
        &watch.look_for(60),
        18,
        Kind::Hold,
        Some(Action::Refresh),
        unanswered,
    );
    // A comparison that was not asked for since may have begun before.
    watch.reconcile(60);
    is(
        &watch.look(),
        18,
        Kind::Hold,
        Some(Action::Refresh),
        unanswered,
    );
    // Before our operation begins, it is the commit before that is degraded.
    let mut watch = Watch::fresh(None);
    watch.set("/status/health/status", "Degraded");
    watch.out_of_sync();
    watch.set("/status/operationState/syncResult/revision", OLDER);
    assert_eq!(watch.look_for(50).row, 22);
}

pub(super) fn case_19(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.runs(OURS, true);
    watch.set("/status/health/status", "Degraded");
    watch.set(
        "/status/health/message",
        "back-off restarting failed container",
    );
    watch.look_alive_for(35)
}

#[test]
fn row_19_degraded() {
    let evidence = "is degraded for 35 s: back-off restarting failed container";
    is(
        &case_19(None),
        19,
        Kind::Fail,
        Some(Action::Terminate),
        evidence,
    );
    let mut watch = Watch::fresh(None);
    for (status, row) in [("Degraded", 18), ("Healthy", 30), ("Degraded", 19)] {
        watch.set("/status/health/status", status);
        assert_eq!(watch.look_for(10).row, row);
    }
    let flapping = "turned degraded again, 3 changes";
    is(&watch.look(), 19, Kind::Fail, None, flapping);
}

pub(super) fn case_20(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.runs(OURS, true);
    watch.look_alive_for(605)
}

#[test]
fn row_20_operation_runs() {
    let evidence =
        "sync of 9f8e7d6 is running for 605 s: waiting for completion of hook batch/Job/migrate";
    is(
        &case_20(None),
        20,
        Kind::Fail,
        Some(Action::Terminate),
        evidence,
    );
    let mut watch = Watch::fresh(None);
    watch.runs(OURS, true);
    let running = "sync of 9f8e7d6 is running: waiting for completion of hook batch/Job/migrate";
    is(&watch.look_alive_for(595), 20, Kind::Wait, None, running);
    // Another one has its own time.
    watch.set("/status/operationState/startedAt", "2026-03-01T10:11:00Z");
    is(&watch.look_alive_for(595), 20, Kind::Wait, None, running);
}

fn retries(watch: &mut Watch, count: i64) {
    watch.runs(OURS, true);
    watch.set("/status/operationState/finishedAt", "2026-03-01T10:01:05Z");
    watch.set("/status/operationState/retryCount", count);
    watch.set("/status/operationState/message", NOT_APPLIED);
}

pub(super) fn case_21(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    retries(&mut watch, 2);
    watch.look_alive_for(5)
}

#[test]
fn row_21_retry_pending() {
    let evidence = format!("sync failed, retry 2 of 5: {NOT_APPLIED}");
    is(&case_21(None), 21, Kind::Fail, None, &evidence);
    let mut watch = Watch::fresh(None);
    retries(&mut watch, 1);
    let evidence = format!("sync failed, retry 1 of 5: {NOT_APPLIED}");
    is(&watch.look(), 21, Kind::Wait, None, &evidence);
}

const UNREACHED: &str = "one or more objects failed to apply, reason: Get \"https://10.0.0.1:443/openapi/v2?timeout=32s\": dial tcp 10.0.0.1:443: connect: connection refused";

#[test]
fn row_21_a_cluster_that_cannot_be_reached_while_it_is_synced_is_no_failure() {
    for count in [1, 2, 5] {
        let mut watch = Watch::fresh(None);
        retries(&mut watch, count);
        watch.set("/status/operationState/message", UNREACHED);
        let verdict = watch.look_alive_for(60);
        assert_eq!((verdict.row, verdict.kind), (21, Kind::Hold));
        let evidence = format!(
            "payments-westus3: sync could not be carried out, retry {count} of 5: {UNREACHED}"
        );
        assert!(
            evidence.starts_with(&verdict.evidence.replace('…', "")),
            "{}",
            verdict.evidence
        );
        // It is there again, and refuses an object.
        watch.set("/status/operationState/message", NOT_APPLIED);
        let kind = watch.look_alive_for(5).kind;
        assert_eq!(kind == Kind::Fail, count >= 2, "retry {count}: {kind:?}");
    }
}

/// What an object or a hook of a sync came to.
fn result(status: &str, phase: &str, message: &str) -> serde_json::Value {
    json!({ "kind": "Service", "name": "api", "status": status, "hookPhase": phase, "message": message })
}

#[test]
fn row_14_what_each_object_came_to_tells_an_outage_from_a_failure() {
    let refused = result(
        "SyncFailed",
        "Failed",
        "Service \"api\" is invalid: spec.ports: Required value",
    );
    let unreached = result("SyncFailed", "Failed", UNREACHED);
    let webhook = result(
        "SyncFailed",
        "Failed",
        "Internal error occurred: failed calling webhook \"policy.example.com\": failed to call webhook: Post \"https://policy.example.com\": EOF",
    );
    let busy = result(
        "SyncFailed",
        "Failed",
        "the server is currently unable to handle the request",
    );
    let applied = result("Synced", "Running", "service/api configured");
    // What a hook says of itself is its own word: it ran.
    let hook = result(
        "",
        "Failed",
        "dial tcp 10.0.0.9:5432: connect: connection refused",
    );
    let dry_run = "one or more objects failed to apply (dry run)";
    let unsuccessful = "one or more synchronization tasks completed unsuccessfully, reason: dial tcp 10.0.0.9:5432: connect: connection refused";
    for (message, results, kind) in [
        (dry_run, vec![&unreached], Kind::Hold),
        (dry_run, vec![&applied, &webhook, &busy], Kind::Hold),
        (dry_run, vec![&unreached, &refused], Kind::Fail),
        (UNREACHED, vec![&refused, &unreached], Kind::Fail),
        (UNREACHED, vec![&applied], Kind::Hold),
        (unsuccessful, vec![&applied, &hook], Kind::Fail),
        (dry_run, Vec::new(), Kind::Fail),
    ] {
        let mut watch = Watch::fresh(None);
        watch.failed(OURS, "Failed", message);
        watch.set(
            "/status/operationState/syncResult/resources",
            json!(results),
        );
        let verdict = watch.look();
        assert_eq!(
            (verdict.row, verdict.kind),
            (14, kind),
            "{message}: {results:?}"
        );
    }
}

#[test]
fn row_14_what_could_not_be_tried_is_synced_again_once_it_can_be_compared() {
    let mut watch = Watch::fresh(None);
    watch.failed(OURS, "Failed", UNREACHED);
    assert_eq!(watch.look().act, None, "we may not sync");
    watch.expected.may_sync = true;
    // Not compared since it failed.
    watch.set("/status/reconciledAt", "2026-03-01T10:01:05Z");
    let verdict = watch.look_for(20);
    assert_eq!(
        (verdict.kind, verdict.act),
        (Kind::Hold, Some(Action::Refresh))
    );
    let verdict = watch.refreshed();
    assert_eq!(
        (verdict.row, verdict.kind, verdict.act),
        (14, Kind::Hold, Some(Action::Sync))
    );
    watch.memory.sync_requested(watch.now);
    assert_ne!(watch.look().act, Some(Action::Sync));
    // Nor is it while its cluster cannot be compared.
    watch.condition(
        "ComparisonError",
        "failed to get cluster info: dial tcp: i/o timeout",
    );
    let verdict = watch.look_for(20);
    assert_eq!((verdict.row, verdict.act), (7, Some(Action::Refresh)));
}

#[test]
fn row_14_what_a_comparison_from_before_the_newest_sync_says_is_no_failure() {
    let condition = format!("Failed last sync attempt to [{OURS}]: {NOT_APPLIED}");
    // It has succeeded since.
    let mut watch = Watch::fresh(None);
    watch.condition("SyncError", &condition);
    assert_ne!(watch.look_alive_for(60).kind, Kind::Fail);
    // A newer one of another commit is over, and nothing was compared since.
    let mut watch = Watch::fresh(None);
    watch.failed(OLDER, "Succeeded", "successfully synced");
    watch.condition("SyncError", &condition);
    watch.set("/status/reconciledAt", "2026-03-01T10:01:05Z");
    assert_ne!(watch.look().kind, Kind::Fail);
    watch.reconcile(5);
    assert_eq!((watch.look().row, watch.look().kind), (14, Kind::Fail));
    // Nor is anything compared since the promotion.
    let mut watch = Watch::new(None);
    watch.out_of_sync().unset("/status/operationState");
    watch.condition("SyncError", &condition);
    assert_ne!(watch.look().kind, Kind::Fail);
}
