//! Rows 2 to 10: what it is, whether its status counts, and whose operation runs.

use serde_json::json;

use super::super::super::{Action, Kind, Verdict};
use super::super::fixture::{FOREIGN, LATER_OURS, LATER_THEIRS, NOT_FETCHED, OLDER, OURS, Watch};
use super::is;

pub(super) fn case_02(without: Option<u8>) -> Verdict {
    let mut watch = Watch::new(without);
    watch.app = None;
    watch.look_for(295)
}

#[test]
fn row_02_not_there() {
    is(&case_02(None), 2, Kind::Wait, None, "was not found");
    let mut watch = Watch::new(None);
    watch.app = None;
    is(
        &watch.look_for(300),
        2,
        Kind::Blocked,
        None,
        "was not found, for 300 s",
    );
    let mut watch = Watch::fresh(None);
    watch.set("/metadata/deletionTimestamp", "2026-03-01T10:00:00Z");
    is(&watch.look(), 2, Kind::Wait, None, "is being deleted");
    let mut watch = Watch::fresh(None);
    assert_eq!(watch.look().row, 30);
    watch.set("/metadata/uid", "another");
    is(
        &watch.look(),
        2,
        Kind::Wait,
        None,
        "was deleted and created again",
    );
    // Nothing that was seen of the one before holds for it.
    assert_eq!(watch.look().row, 26);
}

pub(super) fn case_03(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set(
        "/metadata/annotations",
        json!({ "argocd.argoproj.io/skip-reconcile": "true" }),
    );
    watch.look()
}

#[test]
fn row_03_left_alone() {
    let evidence = "is left alone by Argo CD: its annotation skip-reconcile is true";
    is(&case_03(None), 3, Kind::Blocked, None, evidence);
}

pub(super) fn case_04(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/spec/source/targetRevision", "main");
    watch.look()
}

#[test]
fn row_04_other_source() {
    let follows = "follows main, not tidegate/canary";
    is(&case_04(None), 4, Kind::Blocked, None, follows);
    let mut watch = Watch::fresh(None);
    watch.expected.move_open = true;
    watch.set("/spec/source/targetRevision", "tidegate/wave-2");
    let moving =
        "follows tidegate/wave-2, not tidegate/canary; the region's move to another wave is open";
    is(&watch.look(), 4, Kind::Wait, None, moving);
    watch.set("/spec/source/targetRevision", NOT_FETCHED);
    assert_eq!(watch.look().kind, Kind::Wait);
    watch.expected.move_open = false;
    watch.set("/spec/source/targetRevision", OLDER);
    is(
        &watch.look(),
        4,
        Kind::Blocked,
        None,
        "is pinned to 1a2b3c4",
    );
}

pub(super) fn case_05(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.unset("/spec/syncPolicy/automated");
    watch.set("/status/sync/revision", OLDER);
    watch.set("/status/operationState/syncResult/revision", OLDER);
    watch.look()
}

#[test]
fn row_05_needs_manual_sync() {
    let evidence = "needs a manual sync: its automated sync is off, and we may not sync it";
    is(&case_05(None), 5, Kind::Blocked, None, evidence);
    let mut watch = Watch::fresh(None);
    watch.set("/spec/syncPolicy/automated/enabled", false);
    watch.set("/status/sync/status", "OutOfSync");
    watch.set("/status/operationState/syncResult/revision", OLDER);
    is(&watch.look(), 5, Kind::Blocked, None, evidence);
    // Somebody does it.
    watch.runs(OURS, false);
    assert_eq!(watch.look().row, 20);
}

pub(super) fn case_06(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.condition(
        "InvalidSpecError",
        "app is not allowed in project \"payments\"",
    );
    watch.look_for(60)
}

#[test]
fn row_06_rejected() {
    let evidence = "InvalidSpecError: app is not allowed in project \"payments\"";
    is(&case_06(None), 6, Kind::Blocked, None, evidence);
    for kind in ["InvalidSpecError", "UnknownError", "DeletionError"] {
        let mut watch = Watch::fresh(None);
        watch.condition(kind, "no");
        is(
            &watch.look_for(55),
            6,
            Kind::Wait,
            None,
            &format!("{kind}: no"),
        );
    }
}

pub(super) fn case_07(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/status/sync/status", "Unknown");
    watch.set("/status/sync/revision", "tidegate/canary");
    let text = "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = Unavailable desc = connection error: dial tcp 10.0.0.7:8081: connect: connection refused";
    watch.condition("ComparisonError", text);
    watch.look_for(300)
}

#[test]
fn row_07_nothing_known() {
    let verdict = case_07(None);
    assert_eq!((verdict.row, verdict.kind), (7, Kind::Hold));
    assert!(
        verdict.evidence.starts_with(
            "payments-westus3: nothing known for 300 s: ComparisonError: Failed to load"
        )
    );
    for (place, text, evidence) in [
        ("/status/sync/status", "Unknown", "sync status is Unknown"),
        ("/status/sync/status", "Sideways", "sync status is Sideways"),
        ("/status/health/status", "Unknown", "health is Unknown"),
        ("/status/health/status", "", "health is Unknown"),
        (
            "/status/sync/revision",
            "tidegate/canary",
            "shows tidegate/canary, which is no commit",
        ),
        (
            "/status/sync/revision",
            "",
            "shows nothing, which is no commit",
        ),
    ] {
        let mut watch = Watch::new(None);
        watch.set(place, text);
        is(
            &watch.look(),
            7,
            Kind::Wait,
            Some(Action::Refresh),
            evidence,
        );
    }
}

#[test]
fn row_07_manifests_that_cannot_be_parsed_are_a_failure() {
    let parse = "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = Unknown desc = Manifest generation error (cached): rpc error: code = FailedPrecondition desc = Failed to unmarshal \"api.yaml\": error converting YAML to JSON: yaml: line 7: mapping values are not allowed in this context";
    let object = "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = Unknown desc = failed to unmarshal manifest: error unmarshaling JSON: while decoding JSON: Object 'Kind' is missing in '{}'";
    let judged = |message: &str, edit: fn(&mut Watch)| {
        let mut watch = Watch::fresh(None);
        watch.set("/status/sync/status", "Unknown");
        watch.set("/status/sync/revision", "tidegate/canary");
        watch.condition("ComparisonError", message);
        edit(&mut watch);
        assert_eq!(watch.look_alive_for(25).kind, Kind::Wait);
        watch.look_alive_for(30).kind
    };
    assert_eq!(judged(parse, |_| {}), Kind::Fail);
    assert_eq!(judged(object, |_| {}), Kind::Fail);
    // Not known to be of our commit, of another source, or not known to be about manifests.
    assert_eq!(
        judged(parse, |watch| watch.expected.tip_is_ours = false),
        Kind::Wait
    );
    assert_eq!(
        judged(parse, |watch| {
            watch.set("/status/sync/revision", OLDER);
        }),
        Kind::Wait
    );
    assert_eq!(
        judged(&parse.replace("source 1 of 1", "source 2 of 2"), |_| {}),
        Kind::Wait
    );
    for unsure in [
        "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = FailedPrecondition desc = Failed to unmarshal \"api.yaml\": <nil>",
        "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = Unknown desc = Manifest generation error (cached): westus3/payments: app path does not exist",
        "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = Unknown desc = failed to list refs: authentication required",
        "Failed to compare desired state to live state: failed to calculate diff: error calculating structured merge diff: error building typed value from live resource: .spec.podReplacementPolicy: field not declared in schema",
    ] {
        assert_eq!(judged(unsure, |_| {}), Kind::Wait, "{unsure}");
    }
    // Whose they are is only known once the branch was listed again: a listing that had begun before may not show a push.
    let mut watch = Watch::fresh(None);
    watch.set("/status/sync/status", "Unknown");
    watch.set("/status/sync/revision", "tidegate/canary");
    watch.condition("ComparisonError", parse);
    (watch.expected.listed, watch.expected.listings_begun) = (3, 4);
    assert_eq!(watch.look_alive_for(60).kind, Kind::Hold);
    watch.expected.listed = 4;
    assert_eq!(watch.look_alive_for(60).kind, Kind::Hold);
    (watch.expected.listed, watch.expected.listings_begun) = (5, 5);
    watch.expected.tip_is_ours = false;
    assert_ne!(watch.look_alive_for(60).kind, Kind::Fail);
    (watch.expected.tip_is_ours, watch.expected.listed) = (true, 6);
    assert_eq!(watch.look_alive_for(60).kind, Kind::Fail);
    // Not before a comparison since the promotion.
    let mut watch = Watch::new(None);
    watch.set("/status/sync/status", "Unknown");
    watch.set("/status/sync/revision", "tidegate/canary");
    watch.condition("ComparisonError", parse);
    assert_eq!(watch.look_for(60).kind, Kind::Wait);
}

pub(super) fn case_08(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/status/sync/comparedTo/source/targetRevision", "main");
    watch.look()
}

#[test]
fn row_08_other_spec() {
    let evidence = "its status is from before its spec was changed";
    is(&case_08(None), 8, Kind::Wait, None, evidence);
    let mut watch = Watch::new(None);
    watch.set("/status/sync/comparedTo/destination/namespace", "default");
    is(
        &watch.look(),
        8,
        Kind::Wait,
        Some(Action::Refresh),
        evidence,
    );
    watch.unset("/status/sync/comparedTo");
    is(
        &watch.look(),
        8,
        Kind::Wait,
        Some(Action::Refresh),
        evidence,
    );
}

pub(super) fn case_09(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.runs(OURS, true);
    watch.set(
        "/status/operationState/message",
        "Sync operation blocked by sync window",
    );
    watch.look()
}

#[test]
fn row_09_sync_window() {
    is(
        &case_09(None),
        9,
        Kind::Hold,
        None,
        "its sync is blocked by a sync window",
    );
}

pub(super) fn case_10(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.runs(OLDER, true);
    watch.look_for(60)
}

#[test]
fn row_10_operation_for_another_commit() {
    let running = "a sync of 1a2b3c4 is running, not of ours";
    let ending = format!("{running}; ending it");
    is(
        &case_10(None),
        10,
        Kind::Wait,
        Some(Action::Terminate),
        &ending,
    );
    let mut watch = Watch::fresh(None);
    watch.runs(OLDER, true);
    is(&watch.look_for(55), 10, Kind::Wait, None, running);
    watch.expected.is_rollback = true;
    is(
        &watch.look(),
        10,
        Kind::Wait,
        Some(Action::Terminate),
        &ending,
    );
    watch.memory.terminate_requested(watch.now);
    is(&watch.look(), 10, Kind::Wait, None, &ending);
    watch.set("/status/operationState/phase", "Terminating");
    is(
        &watch.look(),
        10,
        Kind::Wait,
        None,
        &format!("{running}; it is being ended"),
    );
    watch.expected.may_terminate = false;
    is(
        &watch.look(),
        10,
        Kind::Hold,
        None,
        &format!("{running}; we may not end it"),
    );
    watch.runs(OLDER, false);
    let by_hand = format!("{running}; somebody asked for it by hand");
    is(&watch.look(), 10, Kind::Hold, None, &by_hand);
    for (revision, kind) in [
        (LATER_OURS, Kind::Wait),
        (LATER_THEIRS, Kind::Hold),
        (FOREIGN, Kind::Hold),
        (NOT_FETCHED, Kind::Wait),
        ("tidegate/canary", Kind::Wait),
        ("", Kind::Wait),
    ] {
        watch.runs(revision, true);
        let verdict = watch.look();
        assert_eq!((verdict.row, verdict.kind), (10, kind), "{revision}");
        assert_ne!(verdict.act, Some(Action::Terminate), "{revision}");
    }
    // Asked for, and not begun: the state is still that of the one before.
    let mut watch = Watch::fresh(None);
    watch.set("/status/operationState/syncResult/revision", OLDER);
    watch.set("/operation", json!({ "sync": { "revision": OURS } }));
    assert_eq!(watch.look().row, 20);
}
