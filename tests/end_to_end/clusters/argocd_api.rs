//! The `argocd` gate with a real Argo CD whose cluster it cannot reach: by its own API alone.

use std::fs;

use serde_json::json;
use tidegate_testkit::argocd::{Access, Part};
use tidegate_testkit::canaries::Canaries;
use tidegate_testkit::certificates::Certificates;
use tidegate_testkit::tidegate::Answer;
use tidegate_testkit::wait::wait_until;

use super::argocd::ENDLESS_HOOK;
use super::fixture::{CANARYS_APPLICATION, LONG, Stage};
use super::fleet::Gates;

const ACCOUNT: &str = "tidegate";
const TOKEN_FILE: &str = "argocd-token";

/// Reaches Argo CD by its own API from here on, and no cluster at all.
fn leave_the_cluster(stage: &mut Stage) -> Access {
    let certificates = Certificates::generate().unwrap();
    let access = stage.argocd().give_access(ACCOUNT, "", &certificates);
    stage.write_file(TOKEN_FILE, &access.token);
    stage.write_file("argocd-ca.pem", &access.authority);
    fs::remove_file(stage.file("kubeconfig")).unwrap();
    stage.write_ways(&format!(
        "argocd: [{{ server: {{ url: {:?}, tokenFile: {TOKEN_FILE}, caFile: argocd-ca.pem }}, sync: true, repoUrls: [{:?}] }}]",
        access.url,
        stage.repo_url(),
    ));
    access
}

/// The lines of `policy.csv` that the doctor prints.
fn printed_policy(stage: &Stage) -> String {
    let printed = stage.doctor(&["--roles"], 0);
    let lines = printed.lines().filter_map(|line| line.strip_prefix("#   "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn good_commits_pass_and_bad_ones_come_back_with_a_token_and_no_cluster() {
    let Some(mut stage) = Stage::set_up(Gates::Argocd) else {
        return;
    };
    stage.publish("the first");
    stage.settle(0);

    stage.say("from here on by Argo CD's own API, at first with a token that may do nothing");
    let access = leave_the_cluster(&mut stage);
    let canaries = Canaries::new([("the token of Argo CD", access.token.as_str())]);
    let is_clean = |stage: &Stage, answer: &Answer| {
        canaries.assert_absent("standard output", answer.stdout.as_bytes());
        canaries.assert_absent("standard error", answer.stderr.as_bytes());
        assert_eq!(stage.leaks(&canaries, TOKEN_FILE), []);
    };
    let found = stage.doctor(&[], 1);
    assert!(
        found.contains("shows the token no Application in argocd"),
        "{found}"
    );
    let policy = printed_policy(&stage);
    assert!(policy.contains("applications, get, */*, allow"), "{policy}");
    let reading = "p, role:tidegate, applications, get, */*, allow\ng, tidegate, role:tidegate\n";
    stage.argocd().set_policy(reading);
    wait_until("the token may read", LONG, || {
        stage.doctor(&[], 1).contains("does not let the token sync")
    });
    let policy = printed_policy(&stage);
    assert!(
        policy.contains("applications, sync, default/*, allow"),
        "{policy}"
    );
    stage.argocd().set_policy(&policy);
    wait_until("the token may sync", LONG, || {
        let found = stage.found_by_doctor();
        found.contains("lets the token get and sync")
    });
    stage.say("what the doctor says now, also of a token that is none");
    let found = stage.doctor(&[], 0);
    assert!(
        found.contains("shows the token 6 Applications in argocd"),
        "{found}"
    );
    assert!(!found.contains("lets the token delete"), "{found}");
    stage.write_file(TOKEN_FILE, "no-token");
    let found = stage.doctor(&[], 1);
    assert!(found.contains("does not accept the token (401)"), "{found}");
    stage.write_file(TOKEN_FILE, &access.token);

    stage.say("a good commit, where the canary does not sync by itself");
    stage.argocd().stop_part(Part::ApplicationSetController);
    let by_hand = json!({ "spec": { "syncPolicy": { "automated": null } } });
    stage
        .cluster
        .client()
        .merge_patch(CANARYS_APPLICATION, &by_hand);
    stage.publish_values("web:2", "hello");
    let answer = stage.settle(0);
    is_clean(&stage, &answer);
    assert_eq!(stage.rollout()["state"], "Succeeded");
    assert_eq!(stage.images(), vec!["web:2"; 6]);

    let answer = stage.give_back("web:broken", "web:2");
    is_clean(&stage, &answer);

    stage.say("a sync hook that never ends");
    stage
        .work
        .git(&["pull", "-q", "--no-rebase", "origin", "main"]);
    stage.work.write("templates/hook.yaml.hbs", ENDLESS_HOOK);
    stage.publish_values("web:3", "hello");
    let answer = stage.settle(4);
    is_clean(&stage, &answer);
    stage.say(stage.rollout()["reason"].as_str().unwrap_or_default());
    assert_eq!(stage.rollout()["state"], "RolledBack", "{}", stage.state());
    let application = stage.argocd().application("shop-west").unwrap();
    let phase = application["status"]["operationState"]["phase"].clone();
    assert_ne!(phase, "Running", "the operation for the bad commit goes on");
    assert_eq!(stage.images(), vec!["web:2"; 6]);

    stage.say("Argo CD's API is away during a wave");
    stage
        .work
        .git(&["pull", "-q", "--no-rebase", "origin", "main"]);
    stage.argocd().stop_part(Part::ApiServer);
    let commit = stage.publish_values("web:4", "hello");
    let mut controller = stage.controller();
    controller.wait_until("the canary waits for it", LONG, || {
        let canary = stage.region_of(&commit, 0);
        canary == "Applying" || canary == "Promoted"
    });
    stage.argocd().start_part(Part::ApiServer);
    controller.wait_until("all regions run it", LONG, || {
        stage.state_of(&commit) == "Succeeded"
    });
    assert_eq!(stage.images(), vec!["web:4"; 6]);
    controller.terminate();
    is_clean(&stage, &controller.wait(LONG));

    stage.say("Argo CD's API is away from the failure on");
    let trees = |stage: &Stage| ["canary", "pilot", "broad"].map(|wave| stage.tree(wave));
    let before = trees(&stage);
    // The tree that failed before is known to be bad.
    stage.publish_values("web:broken", "good evening");
    stage.die_at("after-failed:1");
    assert_ne!(
        trees(&stage),
        before,
        "the canary's branch has the bad commit"
    );
    stage.argocd().stop_part(Part::ApiServer);
    let mut controller = stage.controller();
    controller.wait_until("every branch is given back", LONG, || {
        trees(&stage) == before
    });
    let state = stage.rollout()["state"].clone();
    stage.say(&format!(
        "the branches are back, and the rollout is {state}"
    ));
    stage.argocd().start_part(Part::ApiServer);
    controller.wait_until("the canary runs the last good image", LONG, || {
        stage.image("west").as_deref() == Some("web:4")
    });
    controller.terminate();
    is_clean(&stage, &controller.wait(LONG));
}
