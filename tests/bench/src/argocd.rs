//! An Argo CD, as far as a gate asks: one server that answers as the API server that has its Applications, one for each
//! region, each of which is synced to what its wave's branch holds at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};
use tidegate_testkit::http::{HttpServer, Request, Response};

use crate::generator::Shape;
use crate::site::loose_ref;

/// One Argo CD with an Application for each region.
pub(crate) struct ArgoCd {
    server: HttpServer,
}

struct Behind {
    repo: PathBuf,
    /// The branch of each region.
    branches: BTreeMap<String, String>,
    /// Every answer is of a newer version than the one before.
    version: AtomicU64,
}

impl ArgoCd {
    /// The Argo CD of a fleet whose wave branches stand in a bare repo.
    pub(crate) fn start(shape: &Shape, repo: &Path) -> Self {
        let behind = Arc::new(Behind {
            repo: repo.to_owned(),
            branches: shape.branches(),
            version: AtomicU64::new(1),
        });
        let server = HttpServer::keeping_alive(move |request| Some(behind.answer(&request)));
        Self { server }
    }

    /// A kubeconfig with the one context `home`.
    pub(crate) fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "contexts": [{ "name": "home", "context": { "cluster": "home", "user": "bench" } }],
            "clusters": [{ "name": "home", "cluster": { "server": self.server.url("/") } }],
            "users": [{ "name": "bench", "user": { "token": "of-the-bench" } }],
        })
        .to_string()
    }
}

impl Behind {
    fn answer(&self, request: &Request) -> Response {
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        match parts.as_slice() {
            [.., "applications"] => Response::json(200, self.page(&request.query).to_string()),
            [.., "applications", name] => match self.application(name) {
                Some(application) => Response::json(200, application.to_string()),
                None => Response::json(404, r#"{"kind":"Status","code":404}"#),
            },
            [.., "applicationsets"] => Response::json(200, r#"{"items":[]}"#),
            _ => Response::json(404, r#"{"kind":"Status","code":404}"#),
        }
    }

    /// A page of the list; its token is how many come before it.
    fn page(&self, query: &str) -> Value {
        let number = |name: &str| {
            let mut fields = query.split('&');
            fields.find_map(|field| field.strip_prefix(name)?.parse::<usize>().ok())
        };
        let (limit, begin) = (number("limit=").unwrap(), number("continue=").unwrap_or(0));
        let items: Vec<Value> = self
            .branches
            .keys()
            .skip(begin)
            .take(limit)
            .filter_map(|region| self.application(region))
            .collect();
        let next = begin + items.len();
        let token = if next < self.branches.len() {
            next.to_string()
        } else {
            String::new()
        };
        json!({ "kind": "ApplicationList", "metadata": { "continue": token }, "items": items })
    }

    /// The Application of a region, which has the region's name.
    fn application(&self, region: &str) -> Option<Value> {
        let branch = self.branches.get(region)?;
        let tip = loose_ref(&self.repo, branch);
        let version = self.version.fetch_add(1, Ordering::SeqCst);
        let now = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap();
        let source = json!({
            "repoURL": self.repo, "targetRevision": branch, "path": region, "directory": { "recurse": true },
        });
        let destination = json!({ "name": region, "namespace": "platform" });
        let status = if tip.is_some() { "Synced" } else { "OutOfSync" };
        let resource = |(group, kind, name): &(&str, &str, &str)| {
            json!({
                "group": group, "version": "v1", "kind": kind, "namespace": "platform", "name": name,
                "status": status, "health": { "status": "Healthy" },
            })
        };
        let history: Vec<Value> = (0..10)
            .map(|id| json!({ "id": id, "revision": tip, "deployedAt": now, "source": source }))
            .collect();
        Some(json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {
                "name": region, "namespace": "argocd", "uid": region, "resourceVersion": version.to_string(),
                "managedFields": [{ "manager": "argocd-application-controller", "operation": "Update", "fieldsV1": managed() }],
            },
            "spec": {
                "project": "default", "source": source, "destination": destination,
                "syncPolicy": { "automated": { "prune": true, "selfHeal": true } },
            },
            "status": {
                "sync": { "status": status, "revision": tip, "comparedTo": { "source": source, "destination": destination } },
                "health": { "status": "Healthy" },
                "resources": OBJECTS.iter().map(resource).collect::<Vec<_>>(),
                "reconciledAt": now,
                "history": history,
            },
        }))
    }
}

/// What the generator's four manifests are, as group, kind and name.
const OBJECTS: [(&str, &str, &str); 4] = [
    ("apps", "Deployment", "app-00"),
    ("apps", "Deployment", "app-01"),
    ("", "ConfigMap", "app-02"),
    ("", "Service", "app-03"),
];

/// What an API server keeps of who set which field: the larger part of many objects.
fn managed() -> Value {
    let field = |number: usize| {
        let key = format!(
            "k:{{\"kind\":\"Deployment\",\"name\":\"app-{number:02}\",\"namespace\":\"platform\"}}"
        );
        (
            key,
            json!({ ".": {}, "f:health": { "f:status": {} }, "f:status": {}, "f:version": {} }),
        )
    };
    Value::Object((0..80).map(field).collect::<Map<String, Value>>())
}
