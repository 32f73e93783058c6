//! Syncs that are started from here, through the cluster of a real Argo CD.

use serde_json::json;
use tidegate_testkit::argocd::Part;

use super::fixture::{CANARYS_APPLICATION, Stage};
use super::fleet::Gates;

#[test]
fn a_sync_that_is_started_from_here_has_the_options_and_retries_of_its_application() {
    let Some(mut stage) = Stage::set_up(Gates::Argocd) else {
        return;
    };
    stage.publish("the first");
    stage.settle(0);

    stage.say("a canary that does not sync by itself, and whose namespace is missing");
    stage.write_ways(&format!(
        "clusters: [{{ kubeconfig: kubeconfig }}]\n    argocd: [{{ cluster: home, sync: true, repoUrls: [{:?}] }}]",
        stage.repo_url(),
    ));
    stage.argocd().stop_part(Part::ApplicationSetController);
    let change = json!({ "spec": {
        "destination": { "namespace": "not-there-yet" },
        "syncPolicy": {
            "automated": null,
            "syncOptions": ["CreateNamespace=true"],
            "retry": { "limit": 2 },
        },
    } });
    stage
        .cluster
        .client()
        .merge_patch(CANARYS_APPLICATION, &change);
    stage.publish_values("web:2", "hello");
    stage.settle(0);
    assert_eq!(stage.rollout()["state"], "Succeeded");
    assert_eq!(stage.images(), vec!["web:2"; 6]);

    let namespace = "/api/v1/namespaces/not-there-yet";
    assert!(stage.cluster.client().get(namespace).is_some());
    let application = stage.argocd().application("shop-west").unwrap();
    let operation = application.pointer("/status/operationState/operation");
    let operation = operation.unwrap();
    assert_eq!(
        operation["sync"]["syncOptions"],
        json!(["CreateNamespace=true"])
    );
    assert_eq!(operation["retry"]["limit"], 2);
    assert_eq!(
        operation["sync"]["revision"], application["status"]["sync"]["revision"],
        "{operation}"
    );
}
