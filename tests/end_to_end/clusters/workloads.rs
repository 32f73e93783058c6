//! The `workloads` gate with a real API server and real controllers, and no Argo CD.

use serde_json::{Value, json};
use tidegate_testkit::wait::{wait_for, wait_until};

use super::fixture::{LONG, Stage};
use super::fleet::{Gates, TEMPLATE};

#[test]
fn good_commits_go_through_and_bad_ones_come_back_without_argo_cd() {
    let Some(stage) = Stage::set_up(Gates::Workloads) else {
        return;
    };
    let follower = stage.follower();
    stage.publish("the first");
    stage.settle(0);
    assert_eq!(stage.images(), vec!["web:1"; 6]);

    stage.say("a good commit");
    stage.publish_values("web:2", "hello");
    stage.settle(0);
    assert_eq!(stage.images(), vec!["web:2"; 6]);

    stage.say("a commit that changes nothing that runs");
    stage.publish_values("web:2", "good day");
    stage.settle(0);
    assert_eq!(stage.rollout()["state"], "Succeeded");

    stage.say("a key that is taken away, which nobody applies at first");
    drop(follower);
    stage.work.write(
        "templates/app.yaml.hbs",
        TEMPLATE.replace(", farewell: bye", ""),
    );
    stage.publish("no farewell");
    // Far longer than it takes to be healthy for long enough and to bake.
    stage.settle_within("15s", 6);
    assert_eq!(
        stage.rollout()["waves"][0]["state"],
        "Progressing",
        "{}",
        stage.state()
    );
    let _follower = stage.follower();
    stage.settle(0);
    assert_eq!(stage.rollout()["state"], "Succeeded");

    stage.say("what every gate says now");
    // Half a second for the first question of a process is not always enough on a busy machine.
    let said = wait_for("every gate says healthy", LONG, || {
        let said = stage.gates();
        let healthy = |said: &Value| said["says"] == "healthy";
        let all = said.as_array().unwrap();
        all.iter().all(healthy).then_some(said)
    });
    assert_eq!(said.as_array().unwrap().len(), 6);

    stage.say("what the doctor says, and from here on with the roles that it prints");
    stage.go_on_by_least_rights(&["list pods in west", "get deployments.apps in down"]);

    // Which of several true causes is seen first depends on when one looks.
    for (image, causes) in [
        (
            "web:broken",
            ["ImagePullBackOff", "ProgressDeadlineExceeded"].as_slice(),
        ),
        (
            "web:crash",
            ["restarted", "CrashLoopBackOff", "ProgressDeadlineExceeded"].as_slice(),
        ),
        (
            "web:oom",
            [
                "OOMKilled",
                "restarted",
                "CrashLoopBackOff",
                "ProgressDeadlineExceeded",
            ]
            .as_slice(),
        ),
    ] {
        stage.say(image);
        stage.publish_values(image, "good day");
        stage.settle(4);
        let rollout = stage.rollout();
        let reason = rollout["reason"].as_str().unwrap_or_default().to_owned();
        stage.say(&reason);
        assert_eq!(rollout["state"], "RolledBack", "{}", stage.state());
        assert!(
            causes.iter().any(|cause| reason.contains(cause)),
            "{reason}"
        );
        wait_until("the canary has the last good image", LONG, || {
            stage.image("west").as_deref() == Some("web:2")
        });
        assert_eq!(stage.images(), vec!["web:2"; 6]);
        stage
            .work
            .git(&["pull", "-q", "--no-rebase", "origin", "main"]);
    }
}

#[test]
fn what_was_sick_before_is_not_held_against_a_commit() {
    let Some(stage) = Stage::set_up(Gates::Workloads) else {
        return;
    };
    let _follower = stage.follower();
    stage.publish("the first");
    stage.settle(0);

    stage.say("the canary's pods lose their readiness, which is nobody's doing");
    let pods = stage.cluster.client().list("/api/v1/namespaces/west/pods");
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().unwrap();
        stage.kubelet().crash_loop("west", name);
    }
    wait_until("the Deployment is not available", LONG, || {
        let path = "/apis/apps/v1/namespaces/west/deployments/web";
        let deployment = stage.cluster.client().get(path).unwrap();
        deployment["status"]["availableReplicas"].is_null()
    });
    // The pods stay the same, and as ill as they are.
    stage.publish_values("web:1", "good day");
    stage.settle(5);
    let rollout = stage.rollout();
    assert_eq!(rollout["state"], "Held", "{}", stage.state());
    let holds = stage.status()["holds"].clone();
    assert_eq!(holds[0]["reason"], json!("AlreadySick"), "{holds}");
    assert_eq!(stage.images(), vec!["web:1"; 6]);
}
