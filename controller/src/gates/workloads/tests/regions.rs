//! P1, P18, P19 and P21: what counts, for how long, and which of several verdicts.

use serde_json::json;

use super::super::Limits;
use super::super::verdict::{Kind, Rule, Verdict};
use super::fixtures::*;
use super::workloads::job_region;

#[test]
fn p01_nothing_to_judge_is_never_healthy() {
    let mut region = Region::default();
    for second in [0, 60, 120, 100_000] {
        let verdict = region.look(second);
        assert_verdict(
            &verdict,
            Kind::Unknown,
            Rule::P1,
            "there is nothing to judge",
        );
    }
    let widget = object("example.com/v1", "Widget", "w", &json!({"spec": {}}));
    let mut region = Region::of([(widget.clone(), lives(&widget, json!({"phase": "Fine"})))]);
    let verdict = region.watch(0);
    assert_eq!((verdict.kind, verdict.ignored), (Kind::Unknown, 1));
    assert_eq!(
        verdict.evidence,
        "there is nothing to judge, beside 1 object of unknown health"
    );
}

#[test]
fn p01_an_object_that_is_not_there_is_unknown() {
    let mut region = Region::with_deployment();
    region.has.clear();
    let verdict = region.watch(0);
    assert_verdict(
        &verdict,
        Kind::Unknown,
        Rule::P1,
        "Deployment shop/api: is not there",
    );
    assert_eq!(verdict.object, Some(key(&deployment())));
}

#[test]
fn p01_hooks_and_finished_jobs_may_be_gone() {
    let mut region = Region::with_deployment();
    let hook = object("batch/v1", "Job", "hook", &json!({}));
    region.wanted.push(with(
        hook,
        "/metadata/annotations",
        json!({"argocd.argoproj.io/hook": "PreSync"}),
    ));
    assert_eq!(region.watch(0).ignored, 1);
    assert_eq!(region.watch(0).kind, Kind::Healthy);

    let mut region = job_region(&condition("Complete", "True", ""));
    set(
        &mut region.wanted[0],
        "/spec/ttlSecondsAfterFinished",
        json!(60),
    );
    region.edit("/spec/ttlSecondsAfterFinished", json!(60));
    let mut unseen = region.clone();
    unseen.has.clear();
    assert_eq!(unseen.kind(), Kind::Unknown, "nobody saw it complete");
    region.look(0);
    region.has.clear();
    assert_eq!(region.watch(10).kind, Kind::Healthy);
}

#[test]
fn p18_an_older_revision_is_stale() {
    let mut region = Region::with_deployment();
    let older = with(
        deployment(),
        "/spec/template/spec/containers/0/image",
        json!("web:1"),
    );
    region.older = vec![vec![older]];
    region.edit("/spec/template/spec/containers/0/image", json!("web:1"));
    region.edit(
        "/status/conditions/1",
        condition("Progressing", "False", "ProgressDeadlineExceeded"),
    );
    let verdict = region.watch(0);
    let evidence = "Deployment shop/api: still as an older tree has it at \
        spec.template.spec.containers[web].image: is \"web:1\", wanted \"web:2\"";
    assert_verdict(&verdict, Kind::Stale, Rule::P18, evidence);

    region.has = vec![live_deployment()];
    region.sets = vec![replica_set("rs-old", 1)];
    let verdict = region.look(70);
    let evidence = "Deployment shop/api: the ReplicaSet of its revision 2 is not there yet";
    assert_verdict(&verdict, Kind::Stale, Rule::P18, evidence);
}

#[test]
fn p18_what_nobody_rendered_is_unknown() {
    let mut region = Region::with_deployment();
    region.older = vec![vec![with(deployment(), "/spec/replicas", json!(9))]];
    region.edit("/spec/template/spec/containers/0/image", json!("web:debug"));
    region.edit(
        "/status/conditions/1",
        condition("Progressing", "False", "ProgressDeadlineExceeded"),
    );
    let verdict = region.watch(0);
    assert_eq!((verdict.kind, verdict.rule), (Kind::Unknown, Rule::P18));
    assert!(!verdict.proven);
    assert!(
        verdict
            .evidence
            .contains("differs from what was rendered at"),
        "{}",
        verdict.evidence
    );
}

#[test]
fn p19_healthy_is_what_stays_so() {
    let mut region = Region::with_deployment();
    let verdict = region.look(0);
    assert_verdict(
        &verdict,
        Kind::Progressing,
        Rule::P19,
        "1 object healthy for 0 s of 60 s",
    );
    assert_eq!(region.look(59).kind, Kind::Progressing);
    region.unread = vec![("Deployment", "timeout")];
    assert_eq!(region.look(60).kind, Kind::Unknown);
    region.unread.clear();
    assert_eq!(
        region.look(70).kind,
        Kind::Progressing,
        "a break begins anew"
    );
    let verdict = region.look(130);
    assert_verdict(
        &verdict,
        Kind::Healthy,
        Rule::P19,
        "1 object healthy for 60 s",
    );
    assert_eq!(
        region.look(1000).kind,
        Kind::Progressing,
        "nobody looked for long"
    );
}

/// A look at a region that is well, and one ten seconds later at which a pod is not ready; gives the second verdict.
fn flap(region: &mut Region, second: u64, before: bool) -> Verdict {
    let well = region.clone();
    let look = |region: &mut Region, second| {
        if before {
            region.go_on_before(second)
        } else {
            region.look(second)
        }
    };
    look(region, second);
    region.edit("/status/availableReplicas", json!(1));
    region.edit_pod("/status/conditions/1/status", json!("False"));
    region.edit_pod("/status/containerStatuses/0/ready", json!(false));
    let verdict = look(region, second + 10);
    (region.has, region.pods) = (well.has, well.pods);
    verdict
}

#[test]
fn p19_flapping_is_harm() {
    let mut region = Region::with_deployment();
    for time in 0..3 {
        assert_ne!(
            flap(&mut region, time * 20, false).kind,
            Kind::Fail,
            "{time}"
        );
    }
    assert_eq!(flap(&mut region, 60, false).kind, Kind::Fail);
    let verdict = region.look(80);
    let evidence = "Deployment shop/api: flapping: stopped being healthy 4 times within 60 min";
    assert_verdict(&verdict, Kind::Fail, Rule::P19, evidence);
    region.memory.forget_flaps();
    assert_ne!(region.look(90).kind, Kind::Fail);
}

#[test]
fn p19_a_break_now_and_then_is_no_harm_however_long_it_is_watched() {
    for (minutes, kind) in [
        (19, Kind::Fail),
        (21, Kind::Progressing),
        (24 * 60, Kind::Progressing),
    ] {
        let mut region = Region::with_deployment();
        let last = (1..=12)
            .map(|time| flap(&mut region, time * minutes * 60, false))
            .last();
        assert_eq!(last.unwrap().kind, kind, "every {minutes} minutes");
    }
}

#[test]
fn p19_what_flapped_before_is_not_blamed_on_the_commit() {
    // How often before, how often since, and whose fault that is.
    for (before, since, kind) in [
        (0, 4, Kind::Fail),
        (2, 5, Kind::Sick),
        (2, 6, Kind::Fail),
        (4, 9, Kind::Sick),
    ] {
        let mut region = Region::with_deployment();
        (0..before).for_each(|time| drop(flap(&mut region, time * 20, true)));
        let verdicts = (10..10 + since).map(|time| flap(&mut region, time * 20, false).kind);
        let verdicts: Vec<Kind> = verdicts.collect();
        assert_eq!(
            verdicts.last(),
            Some(&kind),
            "{before}, then {since}: {verdicts:?}"
        );
        let fails = verdicts.iter().filter(|kind| **kind == Kind::Fail).count();
        assert_eq!(fails, usize::from(kind == Kind::Fail), "{verdicts:?}");
    }
}

#[test]
fn p19_scaling_and_lost_nodes_are_no_flaps() {
    let mut region = Region::with_deployment();
    for flap in 0..9 {
        region.look(flap * 20);
        let well = region.clone();
        region.edit("/status/availableReplicas", json!(1));
        // The pod went with its node, and the one in its place is not ready yet.
        region.pods[0] = waits(
            pod(&format!("api-{flap}-new"), "rs-new"),
            "ContainerCreating",
        );
        assert_eq!(region.look(flap * 20 + 10).kind, Kind::Progressing);
        (region.has, region.pods) = (well.has, well.pods);
    }
    assert_eq!(region.look(200).kind, Kind::Progressing);
}

#[test]
fn p21_what_the_api_server_does_not_say_is_unknown() {
    for why in [
        "401 Unauthorized",
        "403 Forbidden",
        "503 Service Unavailable",
        "no answer within 10 s",
    ] {
        let mut region = Region::with_deployment();
        region.unread = vec![("Deployment", why)];
        let evidence = format!("Deployment shop/api: could not be read: {why}");
        assert_verdict(&region.watch(0), Kind::Unknown, Rule::P21, &evidence);

        let mut region = Region::with_deployment();
        region.pods_unread = Some(why);
        let evidence = format!("Deployment shop/api: its pods could not be read: {why}");
        assert_verdict(&region.watch(0), Kind::Unknown, Rule::P21, &evidence);
    }
}

#[test]
fn harm_wins_over_all_and_the_others_are_counted() {
    let mut region = Region::with_deployment();
    for name in ["b", "a", "c"] {
        let job = object("batch/v1", "Job", name, &json!({}));
        region.has.push(lives(
            &job,
            json!({"conditions": [condition("Failed", "True", "X")]}),
        ));
        region.wanted.push(job);
    }
    region.edit("/spec/paused", json!(true));
    let verdict = region.watch(0);
    assert_verdict(
        &verdict,
        Kind::Fail,
        Rule::P11,
        "Job shop/a: failed: X (and 2 more objects)",
    );
}

#[test]
fn limits_have_their_documented_defaults() {
    let seconds = |duration: std::time::Duration| duration.as_secs();
    let limits = Limits::default();
    assert_eq!(seconds(limits.replica_failure_for), 60);
    assert_eq!(seconds(limits.image_pull_for), 120);
    assert_eq!(seconds(limits.waiting_for), 60);
    assert_eq!(seconds(limits.unschedulable_for), 300);
    assert_eq!(seconds(limits.stable_for), 60);
    assert_eq!(
        (
            limits.max_restarts,
            limits.max_flaps,
            limits.min_ready_percent
        ),
        (2, 3, 100)
    );
    assert_eq!((limits.allow_zero, limits.job_deadline), (false, None));
    assert_eq!(seconds(limits.unready_for), 60);
    assert_eq!(seconds(limits.counted_within), 60 * 60);
}

#[test]
fn harm_is_proven_where_no_older_tree_wants_the_same() {
    let mut region = job_region(&condition("Failed", "True", "X"));
    region.older = vec![region.wanted.clone()];
    assert!(!region.look(0).proven);
    set(&mut region.older[0][0], "/spec/backoffLimit", json!(9));
    assert!(region.look(0).proven);
}
