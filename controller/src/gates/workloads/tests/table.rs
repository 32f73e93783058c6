//! Every rule decides something: its story ends otherwise without it.

use serde_json::json;

use super::super::rules::RULES;
use super::super::verdict::{Kind, Rule, Verdict};
use super::fixtures::*;

/// What happens, to the last look; the rule is left out or not.
type Story = fn(Option<Rule>) -> Verdict;

/// A story for every rule, how it ends, and how it ends without the rule.
const STORIES: &[(Rule, Story, Kind, Kind)] = &[
    (Rule::P1, nothing_wanted, Kind::Unknown, Kind::Healthy),
    (Rule::P2, deleting, Kind::Progressing, Kind::Healthy),
    (Rule::P3, old_status, Kind::Progressing, Kind::Healthy),
    (Rule::P4, deadline, Kind::Fail, Kind::Progressing),
    (Rule::P5, quota, Kind::Fail, Kind::Progressing),
    (Rule::P6, healthy_deployment, Kind::Healthy, Kind::Unknown),
    (Rule::P7, paused, Kind::Unknown, Kind::Healthy),
    (Rule::P8, no_replicas, Kind::Unknown, Kind::Healthy),
    (Rule::P9, healthy_stateful_set, Kind::Healthy, Kind::Unknown),
    (Rule::P10, healthy_daemon_set, Kind::Healthy, Kind::Unknown),
    (Rule::P11, failed_job, Kind::Fail, Kind::Unknown),
    (Rule::P12, no_image, Kind::Fail, Kind::Progressing),
    (Rule::P13, out_of_memory, Kind::Fail, Kind::Healthy),
    (Rule::P14, restarts, Kind::Fail, Kind::Healthy),
    (Rule::P15, no_node, Kind::Unknown, Kind::Progressing),
    (Rule::P16, failed_pod, Kind::Fail, Kind::Progressing),
    (Rule::P17, lost_pod, Kind::Fail, Kind::Progressing),
    (Rule::P18, drifted, Kind::Unknown, Kind::Healthy),
    (Rule::P19, just_healthy, Kind::Progressing, Kind::Healthy),
    (Rule::P21, forbidden_pods, Kind::Unknown, Kind::Healthy),
    (Rule::P22, lost_claim, Kind::Fail, Kind::Unknown),
];

#[test]
fn every_rule_decides_something() {
    for (rule, story, with, without) in STORIES {
        let verdict = story(None);
        assert_eq!(verdict.kind, *with, "{rule}: {}", verdict.evidence);
        assert!(
            verdict.rule == *rule || verdict.kind == Kind::Healthy,
            "{rule} decides its story, not {}: {}",
            verdict.rule,
            verdict.evidence
        );
        let verdict = story(Some(*rule));
        assert_eq!(
            verdict.kind, *without,
            "without {rule}: {}",
            verdict.evidence
        );
    }
    for entry in RULES {
        assert!(
            STORIES.iter().any(|(rule, ..)| *rule == entry.rule),
            "{} has a story",
            entry.rule
        );
    }
}

fn nothing_wanted(left_out: Option<Rule>) -> Verdict {
    Region::default().without(left_out).watch(0)
}

fn deleting(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.edit("/metadata/deletionTimestamp", json!("2026-03-01T10:00:00Z"));
    region.watch(0)
}

fn old_status(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.edit("/metadata/generation", json!(5));
    region.watch(0)
}

fn deadline(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.edit("/status/availableReplicas", json!(1));
    let exceeded = condition("Progressing", "False", "ProgressDeadlineExceeded");
    region.edit("/status/conditions/1", exceeded);
    region.watch(0)
}

fn quota(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.edit("/status/availableReplicas", json!(1));
    let failure = condition("ReplicaFailure", "True", "FailedCreate");
    region.edit("/status/conditions/1", failure);
    region.watch(0)
}

fn healthy_deployment(left_out: Option<Rule>) -> Verdict {
    Region::with_deployment().without(left_out).watch(0)
}

fn paused(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.edit("/spec/paused", json!(true));
    region.watch(0)
}

fn no_replicas(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    set(&mut region.wanted[0], "/spec/replicas", json!(0));
    region.edit("/spec/replicas", json!(0));
    for count in [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
    ] {
        region.edit(&format!("/status/{count}"), json!(0));
    }
    region.watch(0)
}

fn healthy_stateful_set(left_out: Option<Rule>) -> Verdict {
    super::workloads::stateful_region()
        .without(left_out)
        .watch(0)
}

fn healthy_daemon_set(left_out: Option<Rule>) -> Verdict {
    super::workloads::daemon_region().without(left_out).watch(0)
}

fn failed_job(left_out: Option<Rule>) -> Verdict {
    let failed = condition("Failed", "True", "BackoffLimitExceeded");
    super::workloads::job_region(&failed)
        .without(left_out)
        .watch(0)
}

fn no_image(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.edit("/status/availableReplicas", json!(1));
    region.pods[0] = waits(pod("api-1", "rs-new"), "ErrImagePull");
    region.watch(0);
    region.pods[0] = waits(pod("api-1", "rs-new"), "ImagePullBackOff");
    region.watch(60)
}

fn out_of_memory(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.watch(0);
    region.pods[0] = restarted(pod("api-1", "rs-new"), 1, "OOMKilled", 137);
    region.watch(60)
}

fn restarts(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.watch(0);
    region.pods[0] = restarted(pod("api-1", "rs-new"), 3, "Error", 1);
    region.watch(60)
}

fn no_node(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.edit("/status/availableReplicas", json!(1));
    region.edit_pod("/status/phase", json!("Pending"));
    region.edit_pod(
        "/status/conditions",
        json!([condition("PodScheduled", "False", "Unschedulable")]),
    );
    region.edit_pod("/status/containerStatuses", json!([]));
    (0..=30).for_each(|step| drop(region.look(step * 10)));
    region.look(310)
}

fn failed_pod(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.edit("/status/availableReplicas", json!(1));
    region.edit_pod("/status/phase", json!("Failed"));
    region.edit_pod("/status/conditions", json!([]));
    region.watch(0)
}

fn lost_pod(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.watch(0);
    region.edit("/status/availableReplicas", json!(1));
    region.edit_pod("/status/conditions/1/status", json!("False"));
    region.edit_pod("/status/containerStatuses/0/ready", json!(false));
    region.watch(70)
}

fn drifted(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.edit("/spec/template/spec/containers/0/image", json!("web:debug"));
    region.watch(0)
}

fn just_healthy(left_out: Option<Rule>) -> Verdict {
    Region::with_deployment().without(left_out).look(0)
}

fn forbidden_pods(left_out: Option<Rule>) -> Verdict {
    let mut region = Region::with_deployment().without(left_out);
    region.pods_unread = Some("403 Forbidden");
    region.watch(0)
}

fn lost_claim(left_out: Option<Rule>) -> Verdict {
    super::others::claim_region("Lost")
        .without(left_out)
        .watch(0)
}
