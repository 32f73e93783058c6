//! A small client of the API of Kubernetes, by path. It checks the server's certificate.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server says so: the status and the answer.
    Refused(u16, String),
    /// There was no answer.
    NoAnswer(String),
}

impl Failure {
    /// The status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(status, _) => Some(*status),
            Self::NoAnswer(_) => None,
        }
    }
}

/// Talks to one API server as one user. Calls block; those that have no `Result` must succeed.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    token: String,
    patience: Duration,
}

#[derive(Debug)]
struct Shared {
    server: String,
    client: reqwest::Client,
    // With a thread of its own, so that the end of a connection is noticed at once.
    runtime: tokio::runtime::Runtime,
}

/// Asks servers whose certificate is by one of these authorities (PEM).
pub(crate) fn http_client(authority: &str) -> reqwest::Client {
    let authorities = reqwest::Certificate::from_pem_bundle(authority.as_bytes());
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(authorities.expect("certificates"))
        .build()
        .unwrap()
}

impl Client {
    /// A client of a server whose certificate is by one of these authorities (PEM).
    pub(crate) fn new(server: &str, authority: &str, token: &str) -> Self {
        let client = http_client(authority);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            shared: Arc::new(Shared {
                server: server.to_owned(),
                client,
                runtime,
            }),
            token: token.to_owned(),
            patience: PATIENCE,
        }
    }

    /// The same server as another user.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// The same client, which waits so long for an answer.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self {
            patience,
            ..self.clone()
        }
    }

    /// An object; `None` if there is none.
    pub fn get(&self, path: &str) -> Option<Value> {
        match self.call(Method::GET, path, None) {
            Ok(object) => Some(object),
            Err(Failure::Refused(404, _)) => None,
            Err(failure) => panic!("{path}: {failure:?}"),
        }
    }

    /// The objects of a collection.
    pub fn list(&self, path: &str) -> Vec<Value> {
        items(self.must(Method::GET, path, None))
    }

    /// The objects of a collection, if the server gives them.
    pub fn try_list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        self.call(Method::GET, path, None).map(items)
    }

    /// Makes an object in a collection.
    pub fn create(&self, path: &str, object: &Value) -> Value {
        self.must(Method::POST, path, Some((JSON, &object.to_string())))
    }

    /// Makes an object in a collection, if the server does it.
    pub fn try_create(&self, path: &str, object: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some((JSON, &object.to_string())))
    }

    /// Replaces an object.
    pub fn replace(&self, path: &str, object: &Value) -> Value {
        self.must(Method::PUT, path, Some((JSON, &object.to_string())))
    }

    /// Applies an object server-side, whoever manages its fields so far.
    pub fn apply(&self, path: &str, object: &Value) -> Value {
        self.apply_text(path, &object.to_string())
    }

    /// Applies an object server-side that is written in YAML or JSON.
    pub fn apply_text(&self, path: &str, object: &str) -> Value {
        let path = format!("{path}?fieldManager=tidegate-testkit&force=true");
        self.must(Method::PATCH, &path, Some((APPLY, object)))
    }

    /// Changes fields of an object, or of its subresource if the path ends with that (`…/status`, `…/scale`).
    pub fn merge_patch(&self, path: &str, patch: &Value) -> Value {
        self.try_merge_patch(path, patch)
            .unwrap_or_else(|failure| panic!("{path}: {failure:?}"))
    }

    /// Changes fields of an object, if the server does it.
    pub fn try_merge_patch(&self, path: &str, patch: &Value) -> Result<Value, Failure> {
        let patch = patch.to_string();
        self.call(Method::PATCH, path, Some((MERGE_PATCH, &patch)))
    }

    /// Deletes an object, if it is there.
    pub fn delete(&self, path: &str) {
        match self.call(Method::DELETE, path, None) {
            Ok(_) | Err(Failure::Refused(404, _)) => {}
            Err(failure) => panic!("{path}: {failure:?}"),
        }
    }

    /// Makes a namespace, if it is not there.
    pub fn create_namespace(&self, name: &str) {
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
        });
        self.apply(&format!("/api/v1/namespaces/{name}"), &object);
    }

    /// Applies all documents of a manifest in YAML or JSON server-side, in their order; gives what became of them.
    pub fn apply_manifest(&self, manifest: &str) -> Vec<Value> {
        let documents: Vec<Value> = serde_yaml::from_multiple(manifest).expect("a manifest");
        documents
            .iter()
            .map(|object| self.apply(&self.path_of(object), object))
            .collect()
    }

    /// The path of an object, as the server tells it for the kind.
    pub fn path_of(&self, object: &Value) -> String {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (Some(version), Some(kind), Some(name)) = (
            text(&object["apiVersion"]),
            text(&object["kind"]),
            text(&object["metadata"]["name"]),
        ) else {
            panic!("this is no object: {object}");
        };
        let root = if version.contains('/') {
            format!("/apis/{version}")
        } else {
            format!("/api/{version}")
        };
        let known = self.must(Method::GET, &root, None);
        let resource = known["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|resource| {
                resource["kind"] == kind.as_str()
                    && !resource["name"].as_str().unwrap_or_default().contains('/')
            })
            .unwrap_or_else(|| panic!("the server knows no {kind} in {version}"));
        let plural = text(&resource["name"]).unwrap();
        if resource["namespaced"] == true {
            let namespace = text(&object["metadata"]["namespace"]);
            let namespace = namespace.as_deref().unwrap_or("default");
            format!("{root}/namespaces/{namespace}/{plural}/{name}")
        } else {
            format!("{root}/{plural}/{name}")
        }
    }

    /// A token of a service account, made by the server, good for an hour.
    pub fn service_account_token(&self, namespace: &str, name: &str) -> String {
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": { "expirationSeconds": 3600 },
        });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let answer = self.create(&path, &request);
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    fn must(&self, method: Method, path: &str, body: Option<(&str, &str)>) -> Value {
        self.call(method, path, body)
            .unwrap_or_else(|failure| panic!("{path}: {failure:?}"))
    }

    /// Calls the API with a body of some type of content; `null` is what an answer that is not JSON gives.
    pub fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &str)>,
    ) -> Result<Value, Failure> {
        let mut request = self
            .shared
            .client
            .request(method, format!("{}{path}", self.shared.server))
            .timeout(self.patience)
            .bearer_auth(&self.token);
        if let Some((kind, body)) = body {
            request = request.header(CONTENT_TYPE, kind).body(body.to_owned());
        }
        let none = |error: reqwest::Error| Failure::NoAnswer(format!("{error:?}"));
        self.shared.runtime.block_on(async {
            let answer = request.send().await.map_err(none)?;
            let status = answer.status();
            let text = answer.text().await.map_err(none)?;
            if status.is_success() {
                Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
            } else {
                Err(Failure::Refused(status.as_u16(), text))
            }
        })
    }
}

fn items(mut list: Value) -> Vec<Value> {
    match list["items"].take() {
        Value::Array(items) => items,
        other => panic!("this is no list: {other}"),
    }
}
