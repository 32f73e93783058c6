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

/// The pod that crashed is well.
fn heal(region: &mut Region) {
    region.pods[0] = pod("api-1", "rs-new");
    region.edit("/status/availableReplicas", json!(2));
}

/// A new pod crashes in its place.
fn crash_again(region: &mut Region) {
    let crashed = restarted(pod("api-9", "rs-new"), 1, "Error", 1);
    region.pods[0] = waits(crashed, CRASHES);
    region.edit("/status/availableReplicas", json!(1));
}

/// The region looked at every 30 seconds before its promotion, up to this second; what it has is put right at another.
fn wait(region: &mut Region, healed_at: u64, until: u64) {
    for look in 0..=until / 30 {
        if look * 30 == healed_at {
            heal(region);
        }
        region.go_on_before(look * 30);
    }
}

#[test]
fn what_healed_before_the_promotion_is_forgotten_after_an_hour() {
    let hour = 60 * 60;
    for (healed_at, until, kind) in [
        (30, 30 + hour, Kind::Fail),
        (600, 600 + hour, Kind::Fail),
        (30, hour, Kind::Sick),
        (600, 1200, Kind::Sick),
    ] {
        let mut region = waiting(CRASHES);
        wait(&mut region, healed_at, until);
        crash_again(&mut region);
        let verdict = region.watch(until + 30);
        assert_eq!(
            verdict.kind, kind,
            "healed at {healed_at}, looked until {until}"
        );
    }
}

#[test]
fn what_nobody_saw_healthy_is_not_forgotten() {
    // What may be done to a region whose pod crashed, so that nothing shows that it heals.
    let paused: fn(&mut Region) = |region| region.edit("/spec/paused", json!(true));
    let gone: fn(&mut Region) = |region| region.has.clear();
    let unread: fn(&mut Region) = |region| region.pods_unread = Some("timeout");
    let behind: fn(&mut Region) = |region| region.edit("/metadata/generation", json!(9));
    for (number, edit) in [paused, gone, unread, behind].into_iter().enumerate() {
        let mut region = waiting(CRASHES);
        region.go_on_before(0);
        let crashing = region.clone();
        edit(&mut region);
        (1..300).for_each(|look| drop(region.go_on_before(look * 30)));
        (region.has, region.pods_unread) = (crashing.has, None);
        assert_eq!(region.watch(9000).kind, Kind::Sick, "{number}");
    }
    // Nor is an hour with a look in it from which nothing could be learnt.
    let mut region = waiting(CRASHES);
    region.go_on_before(0);
    heal(&mut region);
    for look in 1..=121 {
        region.pods_unread = (look == 60).then_some("timeout");
        region.go_on_before(look * 30);
    }
    crash_again(&mut region);
    assert_eq!(region.watch(3660).kind, Kind::Sick);
    // Two healthy looks with hours between them show nothing either.
    let mut region = waiting(CRASHES);
    region.go_on_before(0);
    heal(&mut region);
    region.go_on_before(30);
    region.go_on_before(9000);
    crash_again(&mut region);
    assert_eq!(region.watch(9030).kind, Kind::Sick);
}

#[test]
fn what_healed_since_the_promotion_and_breaks_again_is_blamed_on_the_commit() {
    for (healthy_for, kind) in [(3590, Kind::Sick), (3600, Kind::Fail)] {
        let mut region = waiting(CRASHES);
        region.look_before(0);
        heal(&mut region);
        (0..=healthy_for / 10).for_each(|look| drop(region.look(look * 10)));
        crash_again(&mut region);
        assert_eq!(region.watch(healthy_for + 10).kind, kind, "{healthy_for}");
    }
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
