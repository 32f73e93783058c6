//! Regions' clusters, as far as a gate asks: one server that answers as all their API servers, and applies what the wave
//! branches hold at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_testkit::certificates::Certificates;
use tidegate_testkit::http::{HttpServer, Request, Response};

use crate::generator::Shape;

/// The namespace of all that is generated.
const NAMESPACE: &str = "platform";

/// Which revision of a Deployment something is.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// One server for the clusters of all regions.
pub(crate) struct Clusters {
    server: HttpServer,
    behind: Arc<Behind>,
}

/// What the clusters are.
struct Behind {
    repo: PathBuf,
    /// The branch of each region.
    branches: BTreeMap<String, String>,
    applied: Mutex<BTreeMap<String, Applied>>,
    sick: Mutex<Option<Sick>>,
}

/// A region whose rollouts of Deployments have failed from now on.
struct Sick {
    region: String,
    seen: Option<Instant>,
}

/// What a cluster has: the manifests of a commit, by plural and name.
#[derive(Clone)]
struct Applied {
    commit: String,
    objects: Arc<BTreeMap<(String, String), Value>>,
}

impl Clusters {
    /// The clusters of a fleet whose wave branches stand in a bare repo.
    pub(crate) fn start(shape: &Shape, repo: &Path) -> Self {
        let behind = Arc::new(Behind {
            repo: repo.to_owned(),
            branches: shape.branches(),
            applied: Mutex::default(),
            sick: Mutex::default(),
        });
        let server = HttpServer::keeping_alive({
            let behind = Arc::clone(&behind);
            move |request| Some(behind.answer(&request))
        });
        Self { server, behind }
    }

    /// A kubeconfig with a context for each region, and an authority for each, as clusters have their own.
    pub(crate) fn kubeconfig(&self) -> String {
        let certificates = Certificates::generate().expect("openssl");
        let authority = STANDARD.encode(std::fs::read(certificates.authority()).unwrap());
        let regions = || self.behind.branches.keys();
        let contexts: Vec<Value> = regions()
            .map(|name| json!({ "name": name, "context": { "cluster": name, "user": "bench" } }))
            .collect();
        let clusters: Vec<Value> = regions()
            .map(|name| {
                let server = self.server.url(&format!("/{name}"));
                json!({ "name": name, "cluster": { "server": server, "certificate-authority-data": authority } })
            })
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "contexts": contexts,
            "clusters": clusters,
            "users": [{ "name": "bench", "user": { "token": "of-the-bench" } }],
        })
        .to_string()
    }

    /// From now on every Deployment of this region has failed to roll out (`None`: of none).
    pub(crate) fn make_sick(&self, region: Option<&str>) {
        *self.behind.sick.lock().unwrap() = region.map(|region| Sick {
            region: region.to_owned(),
            seen: None,
        });
    }

    /// When a Deployment of the sick region was first handed out.
    pub(crate) fn first_sick_answer(&self) -> Option<Instant> {
        let sick = self.behind.sick.lock().unwrap();
        sick.as_ref().and_then(|sick| sick.seen)
    }
}

impl Behind {
    fn answer(&self, request: &Request) -> Response {
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        let found = match parts.as_slice() {
            [_, "api", "v1"] => Some(kinds(&[
                ("configmaps", "ConfigMap"),
                ("services", "Service"),
            ])),
            [_, "apis", "apps", "v1"] => Some(kinds(&[("deployments", "Deployment")])),
            [region, .., "namespaces", NAMESPACE, plural, name] => {
                self.object(region, plural, name)
            }
            [region, .., "namespaces", NAMESPACE, plural] => Some(self.list(region, plural)),
            _ => None,
        };
        match found {
            Some(found) => Response::json(200, found.to_string()),
            None => Response::json(404, r#"{"kind":"Status","code":404}"#),
        }
    }

    fn object(&self, region: &str, plural: &str, name: &str) -> Option<Value> {
        let applied = self.applied(region)?;
        let key = (plural.to_owned(), name.to_owned());
        let manifest = applied.objects.get(&key)?.clone();
        Some(self.live(region, plural, manifest))
    }

    fn list(&self, region: &str, plural: &str) -> Value {
        let applied = self.applied(region);
        let objects = applied.iter().flat_map(|applied| applied.objects.iter());
        let of_kind = |wanted: &'static str| {
            let objects = objects.clone();
            objects.filter(move |((kind, _), _)| kind == wanted)
        };
        let items: Vec<Value> = match plural {
            "replicasets" => of_kind("deployments")
                .map(|((_, name), _)| replica_set(name))
                .collect(),
            "pods" => of_kind("deployments")
                .flat_map(|((_, name), manifest)| pods(name, manifest))
                .collect(),
            _ => objects
                .filter(|((kind, _), _)| kind == plural)
                .map(|(_, manifest)| self.live(region, plural, manifest.clone()))
                .collect(),
        };
        json!({ "kind": "List", "metadata": {}, "items": items })
    }

    /// An object as its cluster has it.
    fn live(&self, region: &str, plural: &str, mut object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        object["metadata"]["uid"] = format!("{plural}-{name}").into();
        object["metadata"]["generation"] = 1.into();
        if plural == "deployments" {
            object["metadata"]["annotations"][REVISION] = "1".into();
            let replicas = object["spec"]["replicas"].clone();
            let failed = self.is_sick(region);
            let condition = if failed {
                json!({ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" })
            } else {
                json!({ "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" })
            };
            object["status"] = json!({
                "observedGeneration": 1,
                "replicas": replicas,
                "updatedReplicas": replicas,
                "readyReplicas": replicas,
                "availableReplicas": replicas,
                "conditions": [{ "type": "Available", "status": "True" }, condition],
            });
        }
        object
    }

    fn is_sick(&self, region: &str) -> bool {
        let mut sick = self.sick.lock().unwrap();
        let Some(sick) = sick.as_mut().filter(|sick| sick.region == region) else {
            return false;
        };
        sick.seen.get_or_insert_with(Instant::now);
        true
    }

    /// What the region's branch holds now; `None` before there is such a branch.
    fn applied(&self, region: &str) -> Option<Applied> {
        let branch = self.branches.get(region)?;
        let commit = std::fs::read_to_string(self.repo.join("refs/heads").join(branch)).ok()?;
        let mut all = self.applied.lock().unwrap();
        if let Some(applied) = all.get(region).filter(|applied| applied.commit == commit) {
            return Some(applied.clone());
        }
        let applied = Applied {
            objects: Arc::new(read(&self.repo, commit.trim(), region)?),
            commit,
        };
        all.insert(region.to_owned(), applied.clone());
        Some(applied)
    }
}

/// The manifests of a region in a commit, by plural and name; `None` where it has no such folder.
fn read(repo: &Path, commit: &str, region: &str) -> Option<BTreeMap<(String, String), Value>> {
    let repository = git2::Repository::open_bare(repo).unwrap();
    let commit = repository.find_commit(git2::Oid::from_str(commit).unwrap());
    let tree = commit.unwrap().tree().unwrap();
    let folder = tree.get_name(region)?.to_object(&repository).unwrap();
    let mut objects = BTreeMap::new();
    let folder = folder.into_tree().unwrap();
    folder
        .walk(git2::TreeWalkMode::PreOrder, |_, entry| {
            if let Ok(blob) = repository.find_blob(entry.id()) {
                let text = String::from_utf8(blob.content().to_owned()).unwrap();
                let manifest: Value = serde_yaml::from_str(&text).unwrap();
                let plural = format!("{}s", manifest["kind"].as_str().unwrap().to_lowercase());
                let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
                objects.insert((plural, name), manifest);
            }
            git2::TreeWalkResult::Ok
        })
        .unwrap();
    Some(objects)
}

/// What a Deployment's controller makes of it.
fn replica_set(deployment: &str) -> Value {
    json!({ "metadata": {
        "name": format!("{deployment}-5d4f8c7b9"),
        "namespace": NAMESPACE,
        "uid": format!("replicasets-{deployment}"),
        "annotations": { REVISION: "1" },
        "ownerReferences": [owner("Deployment", deployment, &format!("deployments-{deployment}"))],
    } })
}

/// The pods of a Deployment, all of them ready.
fn pods(deployment: &str, manifest: &Value) -> Vec<Value> {
    let replicas = manifest["spec"]["replicas"].as_u64().unwrap();
    let set = format!("{deployment}-5d4f8c7b9");
    let pod = |number: u64| {
        json!({
            "metadata": {
                "name": format!("{set}-{number}"),
                "namespace": NAMESPACE,
                "uid": format!("pods-{deployment}-{number}"),
                "ownerReferences": [owner("ReplicaSet", &set, &format!("replicasets-{deployment}"))],
            },
            "spec": { "nodeName": "node", "containers": [{ "name": deployment }] },
            "status": {
                "phase": "Running",
                "conditions": [{ "type": "Ready", "status": "True" }],
                "containerStatuses": [{
                    "name": deployment, "ready": true, "restartCount": 0, "state": { "running": {} },
                }],
            },
        })
    };
    (0..replicas).map(pod).collect()
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true })
}

/// An `APIResourceList`.
fn kinds(kinds: &[(&str, &str)]) -> Value {
    let resources: Vec<Value> = kinds
        .iter()
        .map(|(plural, kind)| json!({ "name": plural, "kind": kind, "namespaced": true }))
        .collect();
    json!({ "kind": "APIResourceList", "resources": resources })
}
