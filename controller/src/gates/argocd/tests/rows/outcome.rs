//! Rows 22 to 31: what is still to come, and what passes.

use serde_json::json;

use tidegate_waves::fleet::{OnDrift, OnSuspended, PrunePending};

use super::super::super::{Action, Kind, Verdict};
use super::super::fixture::{OLDER, OURS, Watch};
use super::is;

fn not_begun(without: Option<u8>) -> Watch {
    let mut watch = Watch::fresh(without);
    watch.out_of_sync();
    watch.set("/status/operationState/syncResult/revision", OLDER);
    watch
}

pub(super) fn case_22(without: Option<u8>) -> Verdict {
    let mut watch = not_begun(without);
    watch.expected.may_sync = true;
    watch.look_for(75)
}

#[test]
fn row_22_sync_not_begun() {
    let waits = "is out of sync, and no sync has begun";
    let syncing = format!("{waits}; syncing it");
    is(&case_22(None), 22, Kind::Wait, Some(Action::Sync), &syncing);
    let mut watch = not_begun(None);
    is(&watch.look_for(55), 22, Kind::Wait, None, waits);
    is(
        &watch.look_for(15),
        22,
        Kind::Wait,
        Some(Action::Refresh),
        waits,
    );
    let blocked = format!("{waits} for 75 s; we may not sync it");
    is(&watch.look_for(5), 22, Kind::Blocked, None, &blocked);
    // Where the automated sync is off, nobody else begins.
    let mut watch = not_begun(None);
    watch.expected.may_sync = true;
    watch.unset("/spec/syncPolicy/automated");
    is(&watch.look(), 22, Kind::Wait, Some(Action::Sync), &syncing);
    watch.memory.sync_requested(watch.now);
    is(&watch.look(), 22, Kind::Wait, None, &syncing);
}

fn awaits_pruning(watch: &mut Watch) {
    watch.set("/spec/syncPolicy/automated/prune", false);
    watch.set("/status/sync/status", "OutOfSync");
    // The automated sync does not even begin for that.
    watch.set("/status/operationState/syncResult/revision", OLDER);
    let resources = watch.app.as_mut().unwrap().pointer_mut("/status/resources");
    resources.unwrap().as_array_mut().unwrap().push(json!({
        "kind": "ConfigMap", "namespace": "payments", "name": "old",
        "status": "OutOfSync", "requiresPruning": true,
    }));
}

pub(super) fn case_23(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.limits.prune_pending = PrunePending::Hold;
    awaits_pruning(&mut watch);
    watch.look()
}

#[test]
fn row_23_awaits_pruning() {
    let evidence =
        "pruning is off, and what is no longer wanted is still there: ConfigMap payments/old";
    is(&case_23(None), 23, Kind::Hold, None, evidence);
    let mut watch = Watch::fresh(None);
    awaits_pruning(&mut watch);
    let accepted = "at 9f8e7d6 and healthy, while this differs and is accepted: ConfigMap payments/old; for 0 s of 60 s";
    is(&watch.look(), 30, Kind::Soak, None, accepted);
    watch.set("/status/resources/0/status", "OutOfSync");
    assert_eq!(watch.look().row, 22);
}

pub(super) fn case_24(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.out_of_sync();
    watch.look_for(60)
}

#[test]
fn row_24_drifted() {
    let evidence = "differs again since it was synced: Deployment payments/api";
    is(&case_24(None), 24, Kind::Hold, None, evidence);
    let mut watch = Watch::fresh(None);
    watch.out_of_sync();
    is(&watch.look_for(55), 24, Kind::Wait, None, evidence);
    // Self-heal that only fights with somebody does not begin the time anew.
    watch.runs(OURS, true);
    assert_eq!(watch.look().row, 20);
    watch.app = None;
    let mut healed = Watch::fresh(None);
    healed.out_of_sync();
    watch.app = healed.app;
    is(&watch.look_for(5), 24, Kind::Hold, None, evidence);
    watch.limits.on_drift = OnDrift::Fail;
    let verdict = watch.look_alive_for(65);
    assert_eq!((verdict.row, verdict.kind), (24, Kind::Fail));
}

pub(super) fn case_25(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/status/resources/1/name", "other");
    watch.look()
}

#[test]
fn row_25_lacks_objects() {
    let evidence = "Argo CD leaves out what was rendered (an excluded kind, or its project?): ConfigMap payments/settings";
    is(&case_25(None), 25, Kind::Blocked, None, evidence);
}

#[test]
fn row_25_what_is_left_out_on_purpose_blocks_where_nothing_else_is_there() {
    let mut watch = Watch::fresh(None);
    watch.expected.skipped = 2;
    assert_eq!(watch.look().row, 30, "there is more to judge by");
    watch.expected.objects.clear();
    let evidence = "Argo CD is told to leave out all that was rendered, 2 objects (argocd.argoproj.io/hook: Skip), so that nothing shows what runs";
    is(&watch.look(), 25, Kind::Blocked, None, evidence);
}

pub(super) fn case_26(without: Option<u8>) -> Verdict {
    Watch::new(without).look()
}

#[test]
fn row_26_not_fresh() {
    let first = "waiting for the first comparison since the promotion";
    is(&case_26(None), 26, Kind::Wait, Some(Action::Refresh), first);
    // Equal seconds: it asks at once, though it has just asked.
    let mut watch = Watch::fresh(None);
    watch.set("/status/operationState/finishedAt", "2026-03-01T10:00:13Z");
    let newer = "waiting for a newer comparison";
    is(&watch.look(), 26, Kind::Wait, Some(Action::Refresh), newer);
    assert_eq!(watch.refreshed().row, 30);
}

pub(super) fn case_27(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/status/health/status", "Progressing");
    // It is not asked about: that it goes on is known.
    watch.look_for(20)
}

#[test]
fn row_27_progressing() {
    is(&case_27(None), 27, Kind::Wait, None, "is progressing");
}

pub(super) fn case_28(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/status/health/status", "Missing");
    watch.look_alive_for(65)
}

#[test]
fn row_28_missing() {
    is(
        &case_28(None),
        28,
        Kind::Fail,
        None,
        "all its objects are missing for 65 s",
    );
    let mut watch = Watch::fresh(None);
    watch.set("/status/health/status", "Missing");
    is(
        &watch.look_for(55),
        28,
        Kind::Wait,
        None,
        "all its objects are missing",
    );
}

pub(super) fn case_29(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.set("/status/health/status", "Suspended");
    watch.look()
}

#[test]
fn row_29_suspended() {
    is(&case_29(None), 29, Kind::Hold, None, "is suspended");
    let mut watch = Watch::fresh(None);
    watch.set("/status/health/status", "Suspended");
    watch.limits.on_suspended = OnSuspended::Pass;
    let evidence = "synced at 9f8e7d6 and suspended, as is accepted for 0 s of 60 s";
    is(&watch.look(), 30, Kind::Soak, None, evidence);
}

pub(super) fn case_30(without: Option<u8>) -> Verdict {
    Watch::fresh(without).look_for(40)
}

#[test]
fn row_30_soaking() {
    let evidence = "synced at 9f8e7d6 and healthy for 40 s of 60 s";
    is(&case_30(None), 30, Kind::Soak, None, evidence);
    let mut watch = Watch::fresh(None);
    let due = "synced at 9f8e7d6 and healthy for 90 s, one more comparison is due";
    is(
        &watch.look_for(90),
        30,
        Kind::Soak,
        Some(Action::Refresh),
        due,
    );
}

pub(super) fn case_31(without: Option<u8>) -> Verdict {
    let mut watch = Watch::fresh(without);
    watch.look_for(30);
    watch.reconcile(30);
    watch.look_for(30)
}

#[test]
fn row_31_passed() {
    let evidence = "synced at 9f8e7d6 and healthy for 60 s";
    is(&case_31(None), 31, Kind::Pass, None, evidence);
}

#[test]
fn a_commit_without_a_difference_passes_without_any_operation() {
    let mut watch = Watch::new(None);
    watch.unset("/status/operationState");
    watch.set("/status/sync/revision", OLDER);
    assert_eq!(watch.look().row, 11);
    watch.set("/status/sync/revision", OURS);
    assert_eq!(watch.refreshed().row, 30);
    watch.look_for(50);
    assert_eq!(watch.refreshed().row, 30);
    assert_eq!(watch.look_for(60).row, 31);
}
