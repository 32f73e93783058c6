//! What one look asks of an API server, and what may go wrong with parts of it.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_testkit::http::{HttpServer, Request, Response};

use super::super::asking::{Asking, Looked, Rendered};
use super::super::resources::Resources;
use super::super::{Reading, Wanted};
use super::fixtures::*;
use crate::gates::egress::EgressRules;
use crate::regions::Clusters;
use crate::regions::request::RequestError;
use crate::settings::ClusterSource;

/// Objects of a tree, as they are looked for; none names its namespace.
fn tree(manifests: impl IntoIterator<Item = Value>) -> Arc<Vec<Rendered>> {
    let rendered = manifests.into_iter().map(|mut manifest| {
        let metadata = manifest["metadata"].as_object_mut().unwrap();
        metadata.remove("namespace");
        Rendered {
            api_version: manifest["apiVersion"].as_str().unwrap().to_owned(),
            kind: manifest["kind"].as_str().unwrap().to_owned(),
            wanted: Wanted::read(&manifest).unwrap(),
        }
    });
    Arc::new(rendered.collect())
}

fn budget(version: &str) -> Value {
    object(
        version,
        "PodDisruptionBudget",
        "api",
        &json!({"spec": {"minAvailable": 1}}),
    )
}

/// An API server with a Deployment and a budget, which answers so to questions for the versions that only older trees have.
fn answer(request: &Request, older: &Response) -> Response {
    let kinds = |plural: &str, kind: &str| {
        let resource = json!({"name": plural, "kind": kind, "namespaced": true});
        json!({"kind": "APIResourceList", "resources": [resource]})
    };
    let found = match request.path.trim_start_matches('/') {
        "apis/policy/v1beta1" | "apis/example.com/v1" => return older.clone(),
        "apis/apps/v1" => kinds("deployments", "Deployment"),
        "apis/policy/v1" => kinds("poddisruptionbudgets", "PodDisruptionBudget"),
        "apis/apps/v1/namespaces/shop/deployments/api" => live_deployment(),
        "apis/policy/v1/namespaces/shop/poddisruptionbudgets/api" => {
            lives(&budget("policy/v1"), json!({}))
        }
        _ => json!({"kind": "List", "metadata": {}, "items": []}),
    };
    Response::json(200, found.to_string())
}

/// A look at it, with these trees.
async fn look(
    older: Response,
    newest: Vec<Value>,
    before: Vec<Value>,
) -> Result<Looked, RequestError> {
    let server = HttpServer::start(move |request| Some(answer(&request, &older)));
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "west",
        "contexts": [{"name": "west", "context": {"cluster": "west", "user": "u"}}],
        "clusters": [{"name": "west", "cluster": {"server": server.url("")}}],
        "users": [{"name": "u", "user": {"token": "hunter2-token"}}],
    });
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    // The library's own client asks again by itself.
    let clusters = Clusters::new(vec![ClusterSource::Kubeconfig(file)], EgressRules::ANY);
    let client = clusters.client("west").await;
    let client = client.map_err(|error| error.to_string()).unwrap();
    let asking = Asking {
        client: &client,
        namespace: "shop",
        resources: &mut Resources::default(),
    };
    asking.look(&tree(newest), &[tree(before)]).await
}

#[tokio::test]
async fn what_cannot_be_asked_of_an_older_tree_alone_spoils_no_look() {
    let widget = object("example.com/v1", "Widget", "w", &json!({}));
    for code in [403, 404, 500, 503] {
        let newest = vec![deployment(), budget("policy/v1")];
        let before = vec![deployment(), budget("policy/v1beta1"), widget.clone()];
        let found = look(Response::text(code, ""), newest, before).await;
        let (wanted, older, live) = found.unwrap();
        for wanted in &wanted {
            let reading = live.objects.get(wanted.key());
            assert!(
                matches!(reading, Some(Reading::Found(_))),
                "{code}: {reading:?}"
            );
        }
        // What both have is compared by the same key: else it looked as if only the newest had it.
        let keys = |wanted: &[Wanted]| -> Vec<_> {
            wanted.iter().map(|wanted| wanted.key().clone()).collect()
        };
        assert_eq!(keys(&older[0][..2]), keys(&wanted), "{code}");
    }
}

#[tokio::test]
async fn what_goes_wrong_with_the_whole_cluster_spoils_the_look() {
    for code in [401, 429] {
        let before = vec![budget("policy/v1beta1")];
        let found = look(Response::text(code, ""), vec![deployment()], before).await;
        assert!(found.is_err(), "{code}");
    }
}
