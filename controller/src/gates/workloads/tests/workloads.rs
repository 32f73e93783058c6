//! P2 to P11: objects and their controllers.

use serde_json::{Value, json};

use super::super::verdict::{Kind, Rule};
use super::fixtures::*;

pub(super) fn stateful_region() -> Region {
    let manifest = object(
        "apps/v1",
        "StatefulSet",
        "db",
        &json!({"spec": {
            "replicas": 3, "serviceName": "db",
            "template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}},
        }}),
    );
    let live = lives(
        &manifest,
        json!({
            "observedGeneration": 4, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3, "availableReplicas": 3,
            "currentRevision": "db-new", "updateRevision": "db-new",
        }),
    );
    let mut region = Region::of([(manifest, live)]);
    region.pods = ["db-0", "db-1", "db-2"]
        .map(|name| hashed(name, "uid-db", "db-new"))
        .to_vec();
    region
}

fn hashed(name: &str, owner: &str, hash: &str) -> Value {
    with(
        pod(name, owner),
        "/metadata/labels/controller-revision-hash",
        json!(hash),
    )
}

pub(super) fn daemon_region() -> Region {
    let manifest = object(
        "apps/v1",
        "DaemonSet",
        "agent",
        &json!({"spec": {
            "template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}},
        }}),
    );
    let live = lives(
        &manifest,
        json!({
            "observedGeneration": 4, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
            "updatedNumberScheduled": 2, "numberAvailable": 2, "numberReady": 2, "numberMisscheduled": 0,
        }),
    );
    let mut region = Region::of([(manifest, live)]);
    region.revisions = [(1, "aaa"), (2, "bbb")]
        .map(|(revision, hash)| json!({"revision": revision, "metadata": {
            "name": format!("agent-{hash}"), "uid": hash,
            "labels": {"controller-revision-hash": hash}, "ownerReferences": [{"uid": "uid-agent"}],
        }}))
        .to_vec();
    region.pods = vec![
        hashed("agent-x", "uid-agent", "bbb"),
        hashed("agent-y", "uid-agent", "bbb"),
    ];
    region
}

pub(super) fn job_region(state: &Value) -> Region {
    let manifest = object(
        "batch/v1",
        "Job",
        "migrate",
        &json!({"spec": {"backoffLimit": 2}}),
    );
    let live = lives(&manifest, json!({"conditions": [state]}));
    let mut region = Region::of([(manifest, live)]);
    region.pods = vec![pod("migrate-1", "uid-migrate")];
    region
}

#[test]
fn p02_what_is_being_deleted_is_not_there_yet() {
    let mut region = Region::with_deployment();
    region.edit("/metadata/deletionTimestamp", json!("2026-03-01T10:00:00Z"));
    let verdict = region.watch(0);
    assert_verdict(
        &verdict,
        Kind::Progressing,
        Rule::P2,
        "Deployment shop/api: is being deleted",
    );
}

#[test]
fn p03_a_status_of_an_older_generation_says_nothing() {
    let mut region = Region::with_deployment();
    region.edit("/metadata/generation", json!(5));
    region.edit(
        "/status/conditions/1",
        condition("Progressing", "False", "ProgressDeadlineExceeded"),
    );
    let verdict = region.watch(0);
    let evidence = "Deployment shop/api: status is of generation 4, wanted 5";
    assert_verdict(&verdict, Kind::Progressing, Rule::P3, evidence);
    region.edit("/status", json!({}));
    let verdict = region.look(70);
    assert_verdict(
        &verdict,
        Kind::Progressing,
        Rule::P3,
        "Deployment shop/api: has no status yet",
    );
}

#[test]
fn p04_a_deadline_that_was_exceeded_is_harm() {
    let mut region = Region::with_deployment();
    region.edit(
        "/status/conditions/1",
        condition("Progressing", "False", "ProgressDeadlineExceeded"),
    );
    let verdict = region.look(0);
    assert_verdict(
        &verdict,
        Kind::Fail,
        Rule::P4,
        "Deployment shop/api: ProgressDeadlineExceeded",
    );
    region.edit("/status/conditions/1/status", json!("Unknown"));
    assert_ne!(region.look(10).kind, Kind::Fail);
}

#[test]
fn p05_pods_that_cannot_be_created_are_harm_after_a_while() {
    let mut region = Region::with_deployment();
    region.edit("/status/updatedReplicas", json!(1));
    let mut failure = condition("ReplicaFailure", "True", "FailedCreate");
    failure["message"] = json!("exceeded quota: mem\nbadly");
    region.edit("/status/conditions/1", failure);
    assert_eq!(region.look(50).kind, Kind::Progressing);
    let verdict = region.watch(51);
    let evidence =
        "Deployment shop/api: cannot create pods for 61 s: FailedCreate: exceeded quota: mem badly";
    assert_verdict(&verdict, Kind::Fail, Rule::P5, evidence);
}

#[test]
fn p06_a_deployment_is_healthy_by_all_its_counts() {
    assert_eq!(Region::with_deployment().kind(), Kind::Healthy);
    for (count, value, evidence) in [
        (
            "updatedReplicas",
            1,
            "1 of 2 updated, 2 available, 1 old still there",
        ),
        (
            "replicas",
            3,
            "2 of 2 updated, 2 available, 1 old still there",
        ),
        ("availableReplicas", 1, "2 of 2 updated, 1 available"),
    ] {
        let mut region = Region::with_deployment();
        region.edit(&format!("/status/{count}"), json!(value));
        let evidence = format!("Deployment shop/api: {evidence}");
        assert_verdict(&region.watch(0), Kind::Progressing, Rule::P6, &evidence);
    }
    let mut region = Region::with_deployment();
    region.edit("/status/conditions/0/status", json!("False"));
    assert_eq!(region.kind(), Kind::Progressing);
}

#[test]
fn p07_what_is_paused_says_nothing() {
    let mut region = Region::with_deployment();
    region.edit("/spec/paused", json!(true));
    region.pods[0] = waits(pod("api-1", "rs-new"), "CrashLoopBackOff");
    let verdict = region.watch(0);
    assert_verdict(
        &verdict,
        Kind::Unknown,
        Rule::P7,
        "Deployment shop/api: is paused",
    );
}

#[test]
fn p08_no_replicas_prove_nothing_unless_allowed() {
    let mut region = daemon_region();
    for count in [
        "desiredNumberScheduled",
        "updatedNumberScheduled",
        "numberAvailable",
    ] {
        region.edit(&format!("/status/{count}"), json!(0));
    }
    region.pods.clear();
    let verdict = region.watch(0);
    let evidence = "DaemonSet shop/agent: wants no pods, so that nothing proves it";
    assert_verdict(&verdict, Kind::Unknown, Rule::P8, evidence);
    region.limits.allow_zero = true;
    assert_eq!(region.watch(70).kind, Kind::Healthy);
}

#[test]
fn p09_a_stateful_set_is_healthy_at_its_update_revision() {
    assert_eq!(stateful_region().kind(), Kind::Healthy);
    let mut region = stateful_region();
    region.edit("/status/currentRevision", json!("db-old"));
    assert_eq!(region.clone().kind(), Kind::Progressing);
    region.edit("/status/updatedReplicas", json!(1));
    let verdict = region.watch(0);
    let evidence = "StatefulSet shop/db: 1 of 3 updated, 3 of 3 ready";
    assert_verdict(&verdict, Kind::Progressing, Rule::P9, evidence);

    region.edit(
        "/spec/updateStrategy",
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}),
    );
    let verdict = region.watch(70);
    assert_eq!(verdict.kind, Kind::Healthy, "{}", verdict.evidence);
    assert_eq!(
        verdict.warnings,
        ["StatefulSet shop/db: its partition keeps 2 pods at the old revision"]
    );
}

#[test]
fn p09_ready_is_what_was_so_for_as_long_as_it_says() {
    let mut region = stateful_region();
    region.edit("/status/availableReplicas", json!(2));
    assert_eq!(region.clone().kind(), Kind::Healthy);
    region.edit("/spec/minReadySeconds", json!(10));
    assert_eq!(region.kind(), Kind::Progressing);
}

#[test]
fn p09_on_delete_is_known_by_the_pods_revisions() {
    let mut region = stateful_region();
    region.edit("/spec/updateStrategy", json!({"type": "OnDelete"}));
    region.edit("/status/currentRevision", json!("db-old"));
    region.pods[2] = hashed("db-2", "uid-db", "db-old");
    let verdict = region.watch(0);
    assert_eq!((verdict.kind, verdict.rule), (Kind::Unknown, Rule::P9));
    assert!(
        verdict.evidence.contains("2 of 3 pods"),
        "{}",
        verdict.evidence
    );
    region.pods[2] = hashed("db-2", "uid-db", "db-new");
    assert_eq!(region.watch(70).kind, Kind::Healthy);
}

#[test]
fn p10_a_daemon_set_is_healthy_on_all_its_nodes() {
    let mut region = daemon_region();
    region.edit("/status/numberMisscheduled", json!(1));
    let verdict = region.watch(0);
    assert_eq!(verdict.kind, Kind::Healthy);
    assert_eq!(
        verdict.warnings,
        ["DaemonSet shop/agent: 1 pod on nodes that should have none"]
    );
    for count in ["updatedNumberScheduled", "numberAvailable"] {
        let mut region = daemon_region();
        region.edit(&format!("/status/{count}"), json!(1));
        assert_eq!(region.kind(), Kind::Progressing, "{count}");
    }
}

#[test]
fn p11_a_job_completes_or_fails() {
    for (state, kind) in [
        (condition("Complete", "True", ""), Kind::Healthy),
        (condition("Complete", "False", ""), Kind::Progressing),
        (condition("Failed", "False", ""), Kind::Progressing),
        (
            condition("Failed", "True", "BackoffLimitExceeded"),
            Kind::Fail,
        ),
    ] {
        assert_eq!(job_region(&state).kind(), kind, "{state}");
    }
    let mut region = job_region(&json!({}));
    region.edit("/spec/suspend", json!(true));
    assert_eq!(region.kind(), Kind::Unknown);
    let mut region = job_region(&json!({}));
    region.limits.job_deadline = Some(std::time::Duration::from_secs(50));
    let verdict = region.watch(0);
    let evidence = "Job shop/migrate: has not completed, watched for 60 s";
    assert_verdict(&verdict, Kind::Fail, Rule::P11, evidence);
}
