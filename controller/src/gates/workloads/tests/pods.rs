//! P12 to P17: the pods of the new revision.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_waves::fleet::WorkloadsCheck;

use super::super::Limits;
use super::super::verdict::{Kind, Rule};
use super::fixtures::*;
use super::workloads::{daemon_region, job_region, stateful_region};

pub(super) const CRASHES: &str = "CrashLoopBackOff";

/// A Deployment of which one pod is not there yet.
fn short_of_one() -> Region {
    let mut region = Region::with_deployment();
    region.edit("/status/availableReplicas", json!(1));
    region
}

/// It, with the first pod waiting for this reason.
pub(super) fn waiting(reason: &str) -> Region {
    let mut region = short_of_one();
    region.pods[0] = waits(restarted(pod("api-1", "rs-new"), 1, "Error", 1), reason);
    region
}

/// The pod with an init container in this state.
fn with_init(pod: Value, policy: Option<&str>, state: &Value) -> Value {
    let init = json!({"name": "setup", "image": "setup:2", "restartPolicy": policy});
    let pod = with(pod, "/spec/initContainers", json!([init]));
    let status = json!({"name": "setup", "ready": false, "restartCount": 4, "state": state, "lastState": {}});
    with(pod, "/status/initContainerStatuses", json!([status]))
}

#[test]
fn p12_a_container_that_cannot_start_is_harm_after_a_while() {
    let mut region = waiting(CRASHES);
    region.limits.max_restarts = 100;
    assert_eq!(region.look(0).kind, Kind::Progressing);
    assert_eq!(region.look(50).kind, Kind::Progressing);
    let verdict = region.look(75);
    let evidence =
        "Deployment shop/api: pod api-1: container web CrashLoopBackOff for 75 s, last exit 1";
    assert_verdict(&verdict, Kind::Fail, Rule::P12, evidence);
    for reason in [
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    ] {
        let verdict = waiting(reason).watch(0);
        assert_eq!(
            (verdict.kind, verdict.rule),
            (Kind::Fail, Rule::P12),
            "{reason}"
        );
    }
    for reason in ["ContainerCreating", "PodInitializing", ""] {
        assert_eq!(waiting(reason).kind(), Kind::Progressing, "{reason}");
    }
}

#[test]
fn p12_images_have_more_time_over_all_their_reasons() {
    let mut region = waiting("ErrImagePull");
    assert_eq!(region.watch(0).kind, Kind::Progressing);
    region.pods[0] = waits(pod("api-1", "rs-new"), "ImagePullBackOff");
    assert_eq!(region.look(110).kind, Kind::Progressing);
    let verdict = region.look(120);
    let evidence =
        "Deployment shop/api: pod api-1: container web ImagePullBackOff of web:2 for 120 s";
    assert_verdict(&verdict, Kind::Fail, Rule::P12, evidence);
}

#[test]
fn p12_a_crash_loop_goes_on_while_it_runs_for_a_moment() {
    let mut region = waiting(CRASHES);
    region.limits.max_restarts = 100;
    let waits = region.pods[0].clone();
    region.look(0);
    region.edit_pod("/status/containerStatuses/0/state", json!({"running": {}}));
    region.look(30);
    region.pods[0] = waits;
    assert_eq!(region.look(61).kind, Kind::Fail);

    let mut region = waiting(CRASHES);
    region.look(0);
    let crashing = region.pods[0].clone();
    region.pods[0] = pod("api-1", "rs-new");
    region.look(30);
    region.pods[0] = crashing;
    assert_eq!(
        region.look(61).kind,
        Kind::Progressing,
        "it was well in between"
    );
}

#[test]
fn p12_init_containers_and_sidecars_count() {
    let state = json!({"waiting": {"reason": CRASHES}});
    for (policy, word) in [(None, "init container"), (Some("Always"), "sidecar")] {
        let mut region = short_of_one();
        let pod = waits(pod("api-1", "rs-new"), "PodInitializing");
        region.pods[0] = with_init(pod, policy, &state);
        let verdict = region.watch(0);
        let evidence =
            format!("Deployment shop/api: pod api-1: {word} setup CrashLoopBackOff for 60 s");
        assert_verdict(&verdict, Kind::Fail, Rule::P12, &evidence);
    }
}

#[test]
fn p12_pods_of_old_revisions_do_not_count() {
    let crashing = |owner: &str| waits(pod("old", owner), CRASHES);
    let hashed = |owner: &str| {
        with(
            crashing(owner),
            "/metadata/labels/controller-revision-hash",
            json!("old"),
        )
    };
    for (mut region, pod) in [
        (Region::with_deployment(), crashing("rs-old")),
        (stateful_region(), hashed("uid-db")),
        (daemon_region(), hashed("uid-agent")),
        (Region::with_deployment(), crashing("somebody-else")),
    ] {
        region.pods.push(pod);
        assert_eq!(region.kind(), Kind::Healthy);
    }
    let mut region = Region::with_deployment();
    let foreign = replica_set("foreign", 2);
    region.sets.insert(
        0,
        with(foreign, "/metadata/ownerReferences/0/uid", json!("other")),
    );
    region.pods.push(crashing("foreign"));
    region.edit("/status/availableReplicas", json!(2));
    assert_eq!(region.watch(0).kind, Kind::Healthy);
    region.pods[0] = waits(pod("api-1", "rs-new"), CRASHES);
    assert_eq!(
        region.watch(70).kind,
        Kind::Fail,
        "another's ReplicaSet hides none of ours"
    );
    let newest = [
        (stateful_region(), "uid-db", "db-new"),
        (daemon_region(), "uid-agent", "bbb"),
    ];
    for (mut region, owner, hash) in newest {
        let pod = waits(pod("new", owner), CRASHES);
        region.pods.push(with(
            pod,
            "/metadata/labels/controller-revision-hash",
            json!(hash),
        ));
        assert_eq!(region.kind(), Kind::Fail, "{owner}");
    }
}

#[test]
fn p12_a_jobs_pods_may_crash_but_need_their_image() {
    for (reason, kind) in [
        (CRASHES, Kind::Progressing),
        ("InvalidImageName", Kind::Fail),
    ] {
        let mut region = job_region(&json!({}));
        region.pods[0] = waits(pod("migrate-1", "uid-migrate"), reason);
        assert_eq!(region.kind(), kind, "{reason}");
    }
}

#[test]
fn p12_a_bare_pod_is_its_own_workload() {
    let manifest = object(
        "v1",
        "Pod",
        "tool",
        &json!({
            "spec": {"containers": [{"name": "web", "image": "web:2"}]}
        }),
    );
    let mut region = Region::of([(manifest, pod("tool", "nobody"))]);
    assert_eq!(region.clone().kind(), Kind::Healthy);
    region.has[0] = waits(pod("tool", "nobody"), CRASHES);
    let verdict = region.watch(0);
    let evidence = "Pod shop/tool: container web CrashLoopBackOff for 60 s";
    assert_verdict(&verdict, Kind::Fail, Rule::P12, evidence);
}

#[test]
fn p13_out_of_memory_is_harm() {
    let mut region = Region::with_deployment();
    region.look(0);
    region.pods[0] = restarted(pod("api-1", "rs-new"), 1, "OOMKilled", 137);
    let verdict = region.look(10);
    let evidence =
        "Deployment shop/api: pod api-1: container web OOMKilled, 1 restart since the promotion";
    assert_verdict(&verdict, Kind::Fail, Rule::P13, evidence);

    let mut region = Region::with_deployment();
    region.pods[0] = restarted(pod("api-1", "rs-new"), 7, "OOMKilled", 137);
    assert_eq!(
        region.kind(),
        Kind::Healthy,
        "that was before anybody looked"
    );
}

#[test]
fn p13_a_new_pod_may_be_killed_at_once() {
    let mut region = Region::with_deployment();
    region.look_before(0);
    let killed = json!({"terminated": {"reason": "OOMKilled", "exitCode": 137}});
    region.pods.insert(0, pod("api-9", "rs-new"));
    region.edit_pod("/status/containerStatuses/0/state", killed);
    assert_eq!(region.look(0).kind, Kind::Fail);
}

#[test]
fn p14_restart_after_restart_is_harm() {
    let mut region = Region::with_deployment();
    region.pods[0] = restarted(pod("api-1", "rs-new"), 10, "Error", 1);
    region.look(0);
    region.pods[0] = restarted(pod("api-1", "rs-new"), 12, "Error", 1);
    assert_ne!(region.look(10).kind, Kind::Fail);
    region.pods[0] = restarted(pod("api-1", "rs-new"), 13, "Error", 2);
    let verdict = region.look(20);
    let evidence = "Deployment shop/api: pod api-1: restarted 3 times within 60 min, \
        most often container web, last exit 2";
    assert_verdict(&verdict, Kind::Fail, Rule::P14, evidence);
}

/// The verdicts on a pod that restarts once in so many minutes, looked at every minute for so many hours.
fn restarts_every(minutes: u64, hours: u64) -> Vec<Kind> {
    let mut region = Region::with_deployment();
    let verdicts = (0..hours * 60).map(|minute| {
        region.pods[0] = restarted(pod("api-1", "rs-new"), minute / minutes, "Error", 1);
        region.look(minute * 60).kind
    });
    verdicts.collect()
}

#[test]
fn p14_a_restart_now_and_then_is_no_harm_however_long_it_is_watched() {
    assert!(!restarts_every(60 * 5, 120).contains(&Kind::Fail));
    assert!(restarts_every(25, 2).contains(&Kind::Fail));
}

#[test]
fn p14_restarts_that_nobody_saw_come_are_not_counted_as_if_they_were_of_now() {
    let mut region = Region::with_deployment();
    region.look_before(0);
    region.look(0);
    region.pods[0] = restarted(pod("api-1", "rs-new"), 2, "Error", 1);
    region.look(10);
    region.pods[0] = restarted(pod("api-1", "rs-new"), 9, "Error", 1);
    assert_ne!(
        region.look(1000).kind,
        Kind::Fail,
        "over a quarter of an hour"
    );
    region.pods[0] = restarted(pod("api-1", "rs-new"), 12, "Error", 1);
    assert_eq!(region.look(1010).kind, Kind::Fail);
}

#[test]
fn p14_a_pod_that_was_not_there_before_has_all_its_restarts_since() {
    let mut region = Region::with_deployment();
    region.pods.remove(0);
    region.look_before(0);
    region
        .pods
        .insert(0, restarted(pod("api-1", "rs-new"), 3, "Error", 1));
    assert_eq!(region.look(0).kind, Kind::Fail);
}

#[test]
fn p15_a_pod_without_a_node_is_unknown() {
    let mut region = short_of_one();
    let mut unscheduled = condition("PodScheduled", "False", "Unschedulable");
    unscheduled["message"] = json!("0/3 nodes are available: 3 Insufficient cpu.");
    region.edit_pod(
        "/status",
        json!({"phase": "Pending", "conditions": [unscheduled]}),
    );
    for second in 0..30 {
        assert_eq!(region.look(second * 10).kind, Kind::Progressing, "{second}");
    }
    let verdict = region.look(300);
    let evidence = "Deployment shop/api: pod api-1: no node takes it for 5 min: \
        0/3 nodes are available: 3 Insufficient cpu.";
    assert_verdict(&verdict, Kind::Unknown, Rule::P15, evidence);
}

#[test]
fn p16_a_pod_that_failed_by_itself_is_harm() {
    for (reason, message, kind) in [
        ("", "", Kind::Fail),
        ("DeadlineExceeded", "", Kind::Fail),
        (
            "Evicted",
            "The node was low on resource: memory.",
            Kind::Unknown,
        ),
        (
            "Evicted",
            "Pod ephemeral local storage usage exceeds the total limit",
            Kind::Fail,
        ),
        (
            "Evicted",
            "The node was low on resource: ephemeral-storage. Container web was using 9Gi, which exceeds its request of 0.",
            Kind::Unknown,
        ),
        ("NodeLost", "", Kind::Unknown),
        ("Preempting", "", Kind::Unknown),
        ("NodeShutdown", "", Kind::Unknown),
        ("OutOfcpu", "", Kind::Unknown),
    ] {
        let mut region = short_of_one();
        let status = json!({"phase": "Failed", "reason": reason, "message": message});
        region.edit_pod("/status", status);
        let verdict = region.watch(0);
        assert_eq!(
            (verdict.kind, verdict.rule),
            (kind, Rule::P16),
            "{reason}: {message}"
        );
    }
}

#[test]
fn p16_a_pod_that_was_disrupted_did_not_fail_by_itself() {
    let mut region = short_of_one();
    let disrupted = condition("DisruptionTarget", "True", "DeletionByTaintManager");
    region.edit_pod(
        "/status",
        json!({"phase": "Failed", "conditions": [disrupted]}),
    );
    assert_eq!(region.kind(), Kind::Unknown);
}

#[test]
fn p16_a_pod_that_fails_before_our_eyes_is_harm_even_beside_enough_others() {
    let mut region = Region::with_deployment();
    region.pods.insert(0, pod("api-0", "rs-new"));
    region.look(0);
    region.edit_pod(
        "/status",
        json!({"phase": "Failed", "reason": "DeadlineExceeded"}),
    );
    assert_eq!(region.look(10).kind, Kind::Fail);
    region.edit_pod("/metadata/deletionTimestamp", json!("2026-03-01T10:00:00Z"));
    let verdict = region.look(20);
    assert_eq!(verdict.kind, Kind::Progressing, "it is being taken away");
    assert!(verdict.warnings.is_empty());
}

#[test]
fn p16_failed_pods_that_others_took_the_place_of_are_a_warning() {
    let mut region = Region::with_deployment();
    let failed = json!({"phase": "Failed", "reason": "NodeLost"});
    region
        .pods
        .push(with(pod("api-0", "rs-new"), "/status", failed));
    let verdict = region.watch(0);
    assert_eq!(verdict.kind, Kind::Healthy);
    assert_eq!(
        verdict.warnings,
        ["Deployment shop/api: pod api-0: failed: NodeLost"]
    );
}

#[test]
fn p17_pods_that_stay_unready_are_harm() {
    let unready = |region: &mut Region| {
        region.edit("/status/availableReplicas", json!(1));
        region.edit_pod("/status/conditions/1/status", json!("False"));
        region.edit_pod("/status/containerStatuses/0/ready", json!(false));
    };
    let mut region = Region::with_deployment();
    region.watch(0);
    unready(&mut region);
    assert_eq!(region.look(70).kind, Kind::Progressing);
    assert_eq!(region.look(129).kind, Kind::Progressing);
    let mut lenient = region.clone();
    lenient.limits.min_ready_percent = 50;
    let verdict = region.look(130);
    let evidence = "Deployment shop/api: 1 of 2 pods were ready, and are not for 60 s: api-1";
    assert_verdict(&verdict, Kind::Fail, Rule::P17, evidence);
    assert_eq!(lenient.look(130).kind, Kind::Progressing);

    let mut never_ready = Region::with_deployment();
    unready(&mut never_ready);
    never_ready.watch(0);
    assert_eq!(never_ready.watch(60).kind, Kind::Progressing);

    let mut lost_node = Region::with_deployment();
    lost_node.watch(0);
    lost_node.edit("/status/availableReplicas", json!(1));
    lost_node.edit_pod("/status/conditions/1/status", json!("False"));
    assert_eq!(lost_node.watch(70).kind, Kind::Progressing);
    assert_eq!(lost_node.watch(130).kind, Kind::Progressing);
}

#[test]
fn p17_a_moment_is_no_harm_however_short_the_time_is_for_which_all_must_be_healthy() {
    let check = WorkloadsCheck {
        stable_for: Duration::from_secs(2),
        ..WorkloadsCheck::default()
    };
    let every = Duration::from_secs(1);
    let mut region = Region::with_deployment();
    region.limits = Limits::of(&check, every);
    region.watch(0);
    region.edit("/status/availableReplicas", json!(1));
    region.edit_pod("/status/conditions/1/status", json!("False"));
    region.edit_pod("/status/containerStatuses/0/ready", json!(false));
    for second in [61, 64, 90, 120] {
        assert_eq!(region.look(second).kind, Kind::Progressing, "{second}");
    }
    assert_eq!(region.look(121).kind, Kind::Fail);
    let longer = WorkloadsCheck {
        stable_for: Duration::from_secs(300),
        ..check
    };
    assert_eq!(Limits::of(&longer, every).unready_for, longer.stable_for);
}

#[test]
fn p17_a_pod_without_a_node_is_no_ready_one() {
    let mut region = Region::with_deployment();
    region.limits.min_ready_percent = 60;
    region.watch(0);
    region.edit("/status/availableReplicas", json!(1));
    region.edit_pod("/status/conditions/1/status", json!("False"));
    region.edit_pod("/status/containerStatuses/0/ready", json!(false));
    let mut unplaced = pod("api-3", "rs-new");
    let unscheduled = condition("PodScheduled", "False", "Unschedulable");
    set(
        &mut unplaced,
        "/status",
        json!({"phase": "Pending", "conditions": [unscheduled]}),
    );
    region.pods.push(unplaced);
    assert_eq!(region.watch(70).kind, Kind::Fail);
}
