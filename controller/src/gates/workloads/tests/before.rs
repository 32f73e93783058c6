//! What was wrong before the promotion, and what a complaint outlasts.

use serde_json::json;

use super::super::verdict::{Kind, Rule};
use super::fixtures::*;
use super::pods::{CRASHES, waiting};

#[test]
fn what_was_so_before_is_not_blamed_on_the_commit() {
    let mut region = waiting(CRASHES);
    region.limits.max_restarts = 100;
    let before = region.look_before(0);
    assert_eq!(
        before.kind,
        Kind::Progressing,
        "it is known before it is harm"
    );
    let verdict = region.watch(0);
    let evidence = "Deployment shop/api: was already so before the promotion: \
        pod api-1: container web CrashLoopBackOff for 60 s, last exit 1";
    assert_verdict(&verdict, Kind::Sick, Rule::P12, evidence);

    region.pods[0] = waits(pod("api-1", "rs-new"), "CreateContainerError");
    assert_eq!(region.watch(70).kind, Kind::Fail, "another cause is new");
}

#[test]
fn memory_that_ran_out_before_is_not_blamed_on_the_commit() {
    let mut region = Region::with_deployment();
    region.pods[0] = restarted(pod("api-1", "rs-new"), 7, "OOMKilled", 137);
    region.look_before(0);
    region.pods[0] = restarted(pod("api-9", "rs-new"), 1, "OOMKilled", 137);
    let verdict = region.look(0);
    assert_eq!((verdict.kind, verdict.rule), (Kind::Sick, Rule::P13));
}

#[test]
fn a_region_that_drifted_before_is_still_looked_at() {
    let mut region = waiting(CRASHES);
    region.edit("/spec/template/spec/containers/0/image", json!("web:debug"));
    region.look_before(0);
    region.edit("/spec/template/spec/containers/0/image", json!("web:2"));
    assert_eq!(region.kind(), Kind::Sick);
}

#[test]
fn complaints_outlast_short_gaps_and_no_long_ones() {
    for (gap, kind) in [(100, Kind::Fail), (121, Kind::Progressing)] {
        let mut region = waiting(CRASHES);
        region.limits.max_restarts = 100;
        region.look(0);
        region.pods_unread = Some("timeout");
        region.look(10);
        region.pods_unread = None;
        assert_eq!(region.look(gap).kind, kind, "{gap}");
    }
}
