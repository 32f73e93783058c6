//! The `argocd` gate with a real Argo CD.

use tidegate_testkit::wait::wait_until;

use super::fixture::{Gates, LONG, Stage};

#[test]
fn good_commits_go_through_all_waves_and_bad_ones_come_back() {
    let Some(mut stage) = Stage::set_up(Gates::Argocd) else {
        return;
    };
    stage.publish("the first");
    stage.settle(0);
    assert_eq!(stage.images(), vec!["web:1"; 6]);
    assert_eq!(stage.rollout()["state"], "Succeeded");

    stage.say("a good commit");
    stage.publish_values("web:2", "hello");
    stage.settle(0);
    assert_eq!(stage.images(), vec!["web:2"; 6]);
    assert_eq!(stage.rollout()["state"], "Succeeded");

    stage.say("an image that cannot be pulled");
    stage.publish_values("web:broken", "hello");
    stage.settle(4);
    let rollout = stage.rollout();
    assert_eq!(rollout["state"], "RolledBack", "{}", stage.state());
    stage.say(rollout["reason"].as_str().unwrap_or_default());
    wait_until("the canary runs the last good image", LONG, || {
        stage.image("west").as_deref() == Some("web:2")
    });
    assert_eq!(
        stage.images(),
        vec!["web:2"; 6],
        "no other region was touched"
    );

    stage.say("Argo CD's controller is down during a wave");
    stage.work.git(&["pull", "-q", "origin", "main"]);
    stage.stop_argocd_controller();
    stage.publish_values("web:3", "hello");
    let mut controller = stage.controller();
    wait_until("the canary is promoted", LONG, || {
        stage.rollout()["state"] == "Running" && stage.state().contains("west")
    });
    stage.start_argocd_controller();
    controller.wait_until("all regions run it", LONG, || {
        stage.rollout()["state"] == "Succeeded"
    });
    assert_eq!(stage.images(), vec!["web:3"; 6]);
}
