//! The `argocd` gate with a real Argo CD.

use serde_json::json;
use tidegate_testkit::argocd::Part;

use super::fixture::{LONG, Stage};
use super::fleet::Gates;

#[test]
fn good_commits_go_through_all_waves_and_bad_ones_come_back() {
    let Some(mut stage) = Stage::set_up(Gates::Argocd) else {
        return;
    };
    stage.publish("the first");
    stage.settle(0);
    assert_eq!(stage.images(), vec!["web:1"; 6]);
    assert_eq!(stage.rollout()["state"], "Succeeded");

    stage.say("what the doctor says, and from here on with the roles that it prints");
    let found =
        stage.go_on_by_least_rights(&["does not let us get applications.argoproj.io in argocd; list applications.argoproj.io in argocd"]);
    assert!(found.contains("it has 6 Applications in argocd"), "{found}");
    assert!(found.contains("a sync whose hook never ends"), "{found}");

    stage.say("a good commit");
    stage.publish_values("web:2", "hello");
    stage.settle(0);
    assert_eq!(stage.images(), vec!["web:2"; 6]);
    assert_eq!(stage.rollout()["state"], "Succeeded");

    // It cannot be pulled; it is pulled, and crashes again and again.
    for image in ["web:broken", "web:crash"] {
        stage.give_back(image, "web:2");
        stage.work.git(&["pull", "-q", "origin", "main"]);
    }

    stage.say("Argo CD's controller is down during a wave");
    stage.argocd().stop_part(Part::ApplicationController);
    let commit = stage.publish_values("web:3", "hello");
    let mut controller = stage.controller();
    controller.wait_until("the canary waits for it", LONG, || {
        let canary = stage.region_of(&commit, 0);
        canary == "Applying" || canary == "Promoted"
    });
    stage.argocd().start_part(Part::ApplicationController);
    controller.wait_until("all regions run it", LONG, || {
        stage.state_of(&commit) == "Succeeded"
    });
    assert_eq!(stage.images(), vec!["web:3"; 6]);
}

/// A hook whose pod runs and never ends.
pub(super) const ENDLESS_HOOK: &str = "apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  namespace: \"{{name}}\"
  annotations:
    argocd.argoproj.io/hook: PreSync
    argocd.argoproj.io/hook-delete-policy: BeforeHookCreation
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: migrate, image: \"migrate:unready\" }]
";

#[test]
fn what_argo_cd_does_late_or_never_is_waited_for_ended_or_followed() {
    let Some(mut stage) = Stage::set_up(Gates::Argocd) else {
        return;
    };
    stage.publish("the first");
    stage.settle(0);

    stage.say("a sync hook that never ends");
    stage.work.write("templates/hook.yaml.hbs", ENDLESS_HOOK);
    stage.publish_values("web:2", "hello");
    stage.settle(4);
    let reason = stage.rollout()["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    stage.say(&reason);
    assert_eq!(stage.rollout()["state"], "RolledBack", "{}", stage.state());
    let application = stage.argocd().application("shop-west").unwrap();
    let phase = application["status"]["operationState"]["phase"].clone();
    assert_ne!(phase, "Running", "the operation for the bad commit goes on");
    assert_eq!(stage.images(), vec!["web:1"; 6]);
    stage
        .work
        .git(&["pull", "-q", "--no-rebase", "origin", "main"]);

    stage.say("files that are renamed, and no object that changes");
    stage
        .work
        .git(&["mv", "templates/app.yaml.hbs", "templates/web.yaml.hbs"]);
    stage.publish("rename a file");
    stage.settle(0);
    assert_eq!(stage.rollout()["state"], "Succeeded");

    stage.say("Argo CD cannot read git for a while");
    stage.argocd().stop_part(Part::RepoServer);
    let commit = stage.publish_values("web:3", "hello");
    let mut controller = stage.controller();
    controller.wait_until("the canary waits for it", LONG, || {
        let canary = stage.region_of(&commit, 0);
        canary == "Applying" || canary == "Promoted"
    });
    stage.argocd().start_part(Part::RepoServer);
    controller.wait_until("all regions run it", LONG, || {
        stage.state_of(&commit) == "Succeeded"
    });
    controller.terminate();
    assert!(controller.wait(LONG).code.is_some());
    assert_eq!(stage.images(), vec!["web:3"; 6]);

    stage.say("a region that moves to another wave");
    let before = stage.uids();
    stage.write_region("down", "pilot");
    stage.publish("down is a pilot now");
    stage.settle(0);
    assert_eq!(stage.rollout()["state"], "Succeeded", "{}", stage.state());
    let moved = stage.argocd().application("shop-down").unwrap();
    assert_eq!(moved["spec"]["source"]["targetRevision"], "tidegate/pilot");
    assert_eq!(stage.uids(), before, "something was made anew");

    stage.say(
        "the doctor, when an ApplicationSet may delete and an Application follows what it likes",
    );
    let sets = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applicationsets/shop";
    let may_delete = json!({ "spec": { "syncPolicy": { "applicationsSync": "sync" } } });
    stage.argocd().stop_part(Part::ApplicationSetController);
    stage.cluster.client().merge_patch(sets, &may_delete);
    let application = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/shop-down";
    let elsewhere = json!({ "spec": { "source": { "targetRevision": "main" } } });
    stage.cluster.client().merge_patch(application, &elsewhere);
    let found = stage.doctor(&[], 1);
    assert!(found.contains("it may delete Applications"), "{found}");
    assert!(found.contains("Application shop-down"), "{found}");
    assert!(found.contains("it follows \"main\""), "{found}");
}
