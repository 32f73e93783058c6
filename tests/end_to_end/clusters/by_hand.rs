//! What people do to a real Argo CD, or did before, while a wave is judged by the `argocd` gate.

use serde_json::{Value, json};
use tidegate_testkit::argocd::is_synced_at;
use tidegate_testkit::kubelet::{Behaviour, by_image};
use tidegate_testkit::tidegate::Running;
use tidegate_testkit::wait::wait_for;

use super::fixture::{LONG, Stage};
use super::fleet::{Fleet, Gates, TEMPLATE};

/// A hook that every sync of the canary waits for.
const HOOK: &str = "{{#if (eq name \"west\")}}
apiVersion: batch/v1
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
      containers: [{ name: migrate, image: \"migrate:1\" }]
{{/if}}
";

/// Lets an Application be synced to a commit, as Argo CD's own page and command line do it, and waits until that runs or
/// is done.
fn sync_by_hand(stage: &Stage, region: &str, commit: &str) {
    let name = format!("shop-{region}");
    let path = format!("/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/{name}");
    let asked = json!({
        "initiatedBy": { "username": "jo" },
        "sync": { "revision": commit, "prune": true, "syncStrategy": { "hook": {} } },
    });
    let argocd = stage.argocd.as_ref().unwrap();
    argocd.wait_for_application(&name, "that is begun", |application| {
        let (who, what, _) = operation(application);
        let is_begun = who == "jo" && what == commit;
        if !is_begun && application["operation"].is_null() {
            // What Argo CD does of itself at the same moment may come before it.
            let client = stage.cluster.client();
            client.merge_patch(&path, &json!({ "operation": asked }));
        }
        is_begun
    });
}

/// Of an Application's newest operation: who asked for it, to which commit, and how far it is.
fn operation(application: &Value) -> (&str, &str, &str) {
    let state = &application["status"]["operationState"];
    let text = |value: &'static str| state.pointer(value).and_then(Value::as_str);
    (
        text("/operation/initiatedBy/username").unwrap_or("itself"),
        text("/syncResult/revision").unwrap_or_default(),
        text("/phase").unwrap_or_default(),
    )
}

/// What the gate says of a region, once it says these words.
fn says(stage: &Stage, region: &str, words: &str) -> Value {
    // Half a second for the first question of a process is not always enough on a busy machine.
    wait_for(words, LONG, || {
        let all = stage.gates();
        let mut all = all.as_array().unwrap().iter();
        let said = all.find(|one| one["region"] == region).unwrap();
        let evidence = said["evidence"].as_str().unwrap_or_default();
        evidence.contains(words).then(|| said.clone())
    })
}

/// Publishes a commit, and waits until Argo CD has synced the canary to it by itself.
fn synced_canary(stage: &Stage, controller: &mut Running, image: &str) -> (String, String) {
    let commit = stage.publish_values(image, "hello");
    controller.wait_until("the canary's branch has it", LONG, || {
        ["Applying", "Verifying"].contains(&stage.region_of(&commit, 0).as_str())
    });
    let promoted = stage.tip("canary");
    let argocd = stage.argocd.as_ref().unwrap();
    argocd.wait_for_application("shop-west", "it is synced", |application| {
        operation(application) == ("itself", &promoted, "Succeeded")
            && is_synced_at(application, &promoted)
    });
    (commit, promoted)
}

#[test]
fn a_sync_by_hand_never_passes_the_wrong_revision_and_what_was_degraded_before_is_not_held_against_it()
 {
    let Some(mut stage) = Stage::set_up_with(Fleet {
        regions: 3,
        stable_for: "3s",
        deadlines: ["60s", "30s", "30s"],
        ..Fleet::of(Gates::Argocd)
    }) else {
        return;
    };
    stage.work.write("templates/hook.yaml.hbs", HOOK);
    stage.publish("the first");
    stage.settle(0);
    assert_eq!(stage.images(), vec!["web:1"; 3]);
    let mut controller = stage.controller();

    stage.say("somebody syncs the promoted revision by hand");
    let (commit, promoted) = synced_canary(&stage, &mut controller, "web:2");
    sync_by_hand(&stage, "west", &promoted);
    let argocd = stage.argocd.as_ref().unwrap();
    argocd.wait_for_application("shop-west", "that is done", |application| {
        operation(application) == ("jo", &promoted, "Succeeded")
    });
    assert_ne!(stage.region_of(&commit, 0), "Done", "{}", stage.state());
    controller.wait_until("all regions have it", LONG, || {
        stage.state_of(&commit) == "Succeeded"
    });
    assert_eq!(stage.images(), vec!["web:2"; 3]);

    stage.say("somebody syncs the revision from before by hand, and that takes its time");
    let older = promoted;
    let (commit, promoted) = synced_canary(&stage, &mut controller, "web:3");
    stage.player.set_rule(|pod| match by_image(pod) {
        Behaviour::Succeeded if pod["status"]["phase"] != "Succeeded" => Behaviour::NotReady,
        other => other,
    });
    sync_by_hand(&stage, "west", &older);
    let argocd = stage.argocd.as_ref().unwrap();
    argocd.wait_for_application("shop-west", "that runs", |application| {
        operation(application) == ("jo", &older, "Running")
    });
    let words = format!("a sync of {} is running, not of ours", &older[..7]);
    let said = says(&stage, "west", &words);
    stage.say(&said.to_string());
    assert_eq!(said["says"], "unknown", "{said}");
    stage.player.set_rule(by_image);
    controller.wait_until("the older one is applied", LONG, || {
        stage.image("west").as_deref() == Some("web:2")
    });
    assert_ne!(stage.region_of(&commit, 0), "Done", "{}", stage.state());
    controller.wait_until("the canary is through", LONG, || {
        stage.region_of(&commit, 0) == "Done"
    });
    assert_eq!(stage.image("west").as_deref(), Some("web:3"));
    let argocd = stage.argocd.as_ref().unwrap();
    let application = argocd.application("shop-west").unwrap();
    assert_eq!(operation(&application), ("itself", &*promoted, "Succeeded"));
    controller.wait_until("all regions have it", LONG, || {
        stage.state_of(&commit) == "Succeeded"
    });
    assert_eq!(stage.images(), vec!["web:3"; 3]);
    controller.terminate();
    assert_eq!(controller.wait(LONG).code, Some(0));

    degraded_before(&mut stage);
}

/// Somebody has restarted a Deployment, and its new pod does not start: no fault of the commit that comes then.
fn degraded_before(stage: &mut Stage) {
    stage.say("a region that was degraded before");
    stage.player.set_rule(|pod| {
        let restarted = &pod["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"];
        if pod["metadata"]["namespace"] == "east" && restarted.is_string() {
            return Behaviour::CrashLoop { restarts: 4 };
        }
        by_image(pod)
    });
    let restart = json!({ "spec": { "template": { "metadata": { "annotations": {
        "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z",
    } } } } });
    let client = stage.cluster.client();
    client.merge_patch("/apis/apps/v1/namespaces/east/deployments/web", &restart);
    stage.argocd().wait_until_health("shop-east", "Degraded");
    let commit = stage.publish_values("web:3", "good day");
    stage.settle(5);
    let rollout = stage.rollout();
    assert_eq!(rollout["state"], "Held", "{}", stage.state());
    let hold = stage.status()["holds"][0].clone();
    stage.say(hold["message"].as_str().unwrap_or_default());
    assert_eq!(hold["reason"], "AlreadySick", "{hold}");
    assert_eq!(hold["regions"], json!(["east"]), "{hold}");
    let words = "is degraded, as it was before the promotion";
    assert!(hold["message"].as_str().unwrap().contains(words), "{hold}");
    let pilots = rollout["waves"][1]["regions"].as_array().unwrap();
    let north = pilots
        .iter()
        .find(|region| region["name"] == "north")
        .unwrap();
    assert_eq!(north["state"], "Done", "{rollout}");

    stage.say("it is healed");
    stage.player.set_rule(by_image);
    stage.argocd().wait_until_health("shop-east", "Healthy");
    stage.request("resume", &[]);
    stage.settle(0);
    assert_eq!(stage.state_of(&commit), "Succeeded", "{}", stage.state());
}

#[test]
fn what_comes_to_nothing_in_argo_cd_never_passes() {
    let Some(stage) = Stage::set_up_with(Fleet {
        regions: 2,
        deadlines: ["30s", "60s", "60s"],
        ..Fleet::of(Gates::Argocd)
    }) else {
        return;
    };
    stage.publish("the first");
    stage.settle(0);

    stage.say("every object is one that Argo CD is told to leave out");
    let skipped = TEMPLATE.replace(
        "metadata: { name: ",
        "metadata: { annotations: { argocd.argoproj.io/hook: Skip }, name: ",
    );
    stage.work.write("templates/app.yaml.hbs", &skipped);
    let commit = stage.publish_values("web:2", "hello");
    let mut controller = stage.controller();
    let words = "Argo CD is told to leave out all that was rendered, 2 objects";
    stage.held(&mut controller, &commit, "west", ("Unreachable", words));
    assert_eq!(stage.images(), vec!["web:1"; 2]);

    stage.say("a commit that is right takes its place");
    stage.work.write("templates/app.yaml.hbs", TEMPLATE);
    let commit = stage.publish("leave out nothing");
    controller.wait_until("all regions have it", LONG, || {
        stage.state_of(&commit) == "Succeeded"
    });
    assert_eq!(stage.images(), vec!["web:2"; 2]);

    stage.say("no object at all for the canary");
    let template = format!("{{{{#if values.present}}}}\n{TEMPLATE}{{{{/if}}}}\n");
    stage.work.write("templates/app.yaml.hbs", template);
    let values = "{ image: \"web:3\", replicas: 2, greeting: hello, present: true }\n";
    stage.work.write("values/fleet.yaml", values);
    stage.work.write("values/west.yaml", "present: false\n");
    let commit = stage.publish("nothing for west");
    controller.wait_until("it is refused", LONG, || {
        stage.call(&["explain"]).stdout.contains("is not valid")
    });
    let refused = stage.status();
    assert_eq!(refused["rollouts"][0]["state"], "Succeeded", "{refused}");
    let said = stage.validate();
    assert!(
        said.stderr
            .contains("the region renders to nothing (region west)"),
        "{said:?}"
    );
    assert_ne!(stage.state_of(&commit), "Succeeded");
    stage.work.remove("values/west.yaml");

    stage.say("Argo CD is told by its own settings to leave out what is rendered");
    let exclusions =
        "- apiGroups: ['', apps]\n  kinds: [ConfigMap, Deployment]\n  clusters: ['*']\n";
    let settings = "/api/v1/namespaces/argocd/configmaps/argocd-cm";
    let client = stage.cluster.client();
    client.merge_patch(
        settings,
        &json!({ "data": { "resource.exclusions": exclusions } }),
    );
    let commit = stage.publish("something for west");
    let words = "Argo CD leaves out what was rendered (an excluded kind, or its project?)";
    stage.held(&mut controller, &commit, "west", ("Unreachable", words));
    assert_eq!(stage.images(), vec!["web:2"; 2]);
    client.merge_patch(
        settings,
        &json!({ "data": { "resource.exclusions": null } }),
    );
    // Somebody presses the button; by itself Argo CD compares again within two minutes.
    let argocd = stage.argocd.as_ref().unwrap();
    argocd.wait_for_application("shop-west", "it is compared again", |application| {
        if application["metadata"]["annotations"]["argocd.argoproj.io/refresh"].is_null() {
            argocd.refresh("shop-west");
        }
        let resources = application["status"]["resources"].as_array();
        resources.is_some_and(|resources| !resources.is_empty())
    });
    controller.wait_until("all regions have it", LONG, || {
        stage.state_of(&commit) == "Succeeded"
    });
    assert_eq!(stage.images(), vec!["web:3"; 2]);
}
