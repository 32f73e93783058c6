//! A real Argo CD on a real Kubernetes: the application controller, the repo server, the application set controller and
//! a Redis; its API server where a test asks for it.

mod account;

pub use account::Access;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{fs, thread};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kubernetes::{ADMIN, Client, Cluster};
use crate::stack::{DEADLINE, Server, answers_ok, free_port, installed, stack_file};
use crate::wait::{wait_for, wait_until};

/// The namespace of Argo CD and its Applications.
pub const NAMESPACE: &str = "argocd";

const APPLICATIONS: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications";
const APPLICATION_SETS: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applicationsets";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The configuration that Argo CD reads from its cluster.
const CONFIGURATION: &str = include_str!("argocd/configuration.yaml");

/// A process of Argo CD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The cache.
    Redis,
    /// What reads git.
    RepoServer,
    /// What compares and syncs.
    ApplicationController,
    /// What makes Applications of application sets.
    ApplicationSetController,
    /// The API for people and programs.
    ApiServer,
}

/// An Argo CD. All its processes end when it is dropped: before its cluster, please.
#[derive(Debug)]
pub struct ArgoCd {
    client: Client,
    parts: BTreeMap<Part, Server>,
    ports: Ports,
    folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Ports {
    redis: u16,
    repo_server: u16,
    repo_server_metrics: u16,
    controller_metrics: u16,
    sets_metrics: u16,
    sets_probe: u16,
    sets_hook: u16,
    api: u16,
    api_metrics: u16,
}

/// An Application to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewApplication<'a> {
    /// Its name.
    pub name: &'a str,
    /// The repo, by HTTP or `file://`.
    pub repo_url: &'a str,
    /// The branch, or whatever else git calls a revision.
    pub revision: &'a str,
    /// The folder in the repo, with all folders below it.
    pub folder: &'a str,
    /// Where its objects go, which must be known by [`ArgoCd::add_cluster`].
    pub destination: &'a Cluster,
    /// The namespace that its objects go to, which is made.
    pub namespace: &'a str,
    /// Whether and how it syncs by itself.
    pub automated: Option<Automated>,
}

/// How an Application syncs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Automated {
    /// Whether it deletes what git no longer has.
    pub prune: bool,
    /// Whether it undoes what others change.
    pub self_heal: bool,
}

impl ArgoCd {
    /// Starts all parts; `None` where there is no Argo CD or no `redis-server`.
    pub fn start(cluster: &Cluster) -> Option<Self> {
        Self::start_with(cluster, true)
    }

    /// Starts it with or without application sets (their definition costs the API server seconds), and lets it know its own cluster by that name; `None`
    /// where there is no Argo CD or no `redis-server`.
    pub fn start_with(cluster: &Cluster, application_sets: bool) -> Option<Self> {
        stack_file("argocd/argocd")?;
        installed("redis-server")?;
        let folder = tempfile::tempdir().unwrap();
        cluster.write_kubeconfig(&folder.path().join("kubeconfig"), ADMIN);
        let mut this = Self {
            client: cluster.client().clone(),
            parts: BTreeMap::new(),
            ports: Ports {
                redis: free_port(),
                repo_server: free_port(),
                repo_server_metrics: free_port(),
                controller_metrics: free_port(),
                sets_metrics: free_port(),
                sets_probe: free_port(),
                sets_hook: free_port(),
                api: free_port(),
                api_metrics: free_port(),
            },
            folder,
        };
        let mut kinds = vec!["application", "appproject"];
        let mut parts = vec![Part::Redis, Part::RepoServer, Part::ApplicationController];
        if application_sets {
            kinds.push("applicationset");
            parts.push(Part::ApplicationSetController);
        }
        this.install(&kinds);
        this.add_cluster(cluster.name(), cluster);
        for part in &parts {
            let server = this.launch(*part);
            this.parts.insert(*part, server);
        }
        for part in parts {
            this.wait_until_ready(part);
        }
        Some(this)
    }

    fn install(&self, kinds: &[&str]) {
        let folder = stack_file("argocd/crds").expect("the definitions of Argo CD's kinds");
        let client = &self.client;
        thread::scope(|scope| {
            for kind in kinds {
                let text = fs::read_to_string(folder.join(format!("{kind}-crd.yaml"))).unwrap();
                scope.spawn(move || {
                    let path = format!("{DEFINITIONS}/{kind}s.argoproj.io");
                    client.apply_text(&path, &without_nested_generators(&text));
                    wait_until(&format!("{kind} is Established"), DEADLINE, || {
                        let definition = client.get(&path).unwrap_or_default();
                        condition(&definition, "Established").as_deref() == Some("True")
                    });
                });
            }
        });
        self.client.apply_manifest(CONFIGURATION);
    }

    /// What starts a part.
    fn launch(&self, part: Part) -> Server {
        let ports = &self.ports;
        let at = |port: u16| format!("127.0.0.1:{port}");
        let mut command = match part {
            Part::Redis => Command::new("redis-server"),
            other => Command::new(stack_file(&format!("argocd/{}", name_of(other))).unwrap()),
        };
        match part {
            Part::Redis => {
                command
                    .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                    .args(["--port", &ports.redis.to_string()]);
            }
            Part::RepoServer => {
                command
                    .args(["--address", "127.0.0.1", "--disable-tls"])
                    .args(["--client-ca-path", ""])
                    .args(["--port", &ports.repo_server.to_string()])
                    .args(["--metrics-port", &ports.repo_server_metrics.to_string()])
                    .args(["--redis", &at(ports.redis)])
                    .env("ARGOCD_GPG_ENABLED", "false")
                    .env("PATH", path_with_wrappers())
                    // Whose repo it is matters to nobody here.
                    .env("GIT_CONFIG_COUNT", "1")
                    .env("GIT_CONFIG_KEY_0", "safe.directory")
                    .env("GIT_CONFIG_VALUE_0", "*");
            }
            Part::ApplicationController => {
                command
                    .args(["--kubeconfig", "kubeconfig", "--namespace", NAMESPACE])
                    .args(["--repo-server", &at(ports.repo_server)])
                    .args(["--repo-server-plaintext", "--redis", &at(ports.redis)])
                    .args(["--metrics-port", &ports.controller_metrics.to_string()])
                    .args(["--app-resync", "120"]);
            }
            Part::ApplicationSetController => {
                command
                    .args(["--kubeconfig", "kubeconfig", "--namespace", NAMESPACE])
                    // One of its two clients knows only the variable.
                    .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
                    .args(["--argocd-repo-server", &at(ports.repo_server)])
                    .args(["--repo-server-plaintext"])
                    .args(["--metrics-addr", &at(ports.sets_metrics)])
                    .args(["--probe-addr", &at(ports.sets_probe)])
                    .args(["--webhook-addr", &at(ports.sets_hook)]);
            }
            Part::ApiServer => {
                command
                    .args(["--kubeconfig", "kubeconfig", "--namespace", NAMESPACE])
                    .args(["--address", "127.0.0.1", "--port", &ports.api.to_string()])
                    .args(["--metrics-port", &ports.api_metrics.to_string()])
                    .args(["--repo-server", &at(ports.repo_server)])
                    .args(["--repo-server-plaintext", "--redis", &at(ports.redis)]);
            }
        }
        Server::start(name_of(part), command, self.folder.path())
    }

    fn wait_until_ready(&mut self, part: Part) {
        let ports = &self.ports;
        let (port, path) = match part {
            Part::Redis => (ports.redis, None),
            Part::RepoServer => (ports.repo_server_metrics, Some("/healthz?full=true")),
            Part::ApplicationController => (ports.controller_metrics, Some("/healthz")),
            Part::ApplicationSetController => (ports.sets_metrics, Some("/metrics")),
            Part::ApiServer => (ports.api_metrics, Some("/metrics")),
        };
        let server = self.parts.get_mut(&part).expect("a part that was started");
        server.wait_until_ready(|| match path {
            Some(path) => answers_ok(port, path),
            None => TcpStream::connect(("127.0.0.1", port)).is_ok(),
        });
    }

    /// The process of a part that was started, to hold it up or to see what it said.
    pub fn part(&mut self, part: Part) -> &mut Server {
        self.parts.get_mut(&part).expect("a part that was started")
    }

    /// Ends a part at once, as a crash would.
    pub fn stop_part(&mut self, part: Part) {
        self.part(part).stop();
    }

    /// Starts a part again and waits until it is ready.
    pub fn start_part(&mut self, part: Part) {
        self.part(part).start_again();
        self.wait_until_ready(part);
    }

    /// Lets it know a cluster by a name, with that cluster's administrator.
    pub fn add_cluster(&self, name: &str, cluster: &Cluster) {
        let access = json!({
            "bearerToken": cluster.token(ADMIN),
            "tlsClientConfig": { "caData": STANDARD.encode(cluster.authority()) },
        });
        self.client.apply_manifest(
            &json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {
                    "name": format!("cluster-{name}"), "namespace": NAMESPACE,
                    "labels": { "argocd.argoproj.io/secret-type": "cluster" },
                },
                "stringData": { "name": name, "server": cluster.url(), "config": access.to_string() },
            })
            .to_string(),
        );
    }

    /// Makes an Application.
    pub fn create_application(&self, new: &NewApplication) -> Value {
        let mut policy = json!({ "syncOptions": ["CreateNamespace=true"] });
        if let Some(Automated { prune, self_heal }) = new.automated {
            policy["automated"] = json!({ "prune": prune, "selfHeal": self_heal });
        }
        let object = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": { "name": new.name, "namespace": NAMESPACE },
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": new.repo_url, "targetRevision": new.revision, "path": new.folder,
                    "directory": { "recurse": true },
                },
                "destination": { "server": new.destination.url(), "namespace": new.namespace },
                "syncPolicy": policy,
            },
        });
        self.client.create(APPLICATIONS, &object)
    }

    /// All Applications, by name.
    pub fn applications(&self) -> BTreeMap<String, Value> {
        let named = |object: Value| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            (name.to_owned(), object)
        };
        let all = self.client.list(APPLICATIONS);
        all.into_iter().map(named).collect()
    }

    /// An Application, if it is there.
    pub fn application(&self, name: &str) -> Option<Value> {
        self.client.get(&format!("{APPLICATIONS}/{name}"))
    }

    /// Waits until an Application is there of which a condition holds, and gives it; fails with its state.
    pub fn wait_for_application(
        &self,
        name: &str,
        what: &str,
        mut holds: impl FnMut(&Value) -> bool,
    ) -> Value {
        let end = Instant::now() + DEADLINE;
        wait_for(what, 2 * DEADLINE, || {
            let found = self.application(name);
            if let Some(application) = found.as_ref().filter(|_| Instant::now() > end) {
                panic!("{what}: not within {DEADLINE:?}: {}", application["status"]);
            }
            found.filter(&mut holds)
        })
    }

    /// Waits until an Application is Synced at a commit, and gives it.
    pub fn wait_until_synced(&self, name: &str, commit: &str) -> Value {
        let what = format!("{name} is Synced at {commit}");
        self.wait_for_application(name, &what, |application| is_synced_at(application, commit))
    }

    /// Waits until an Application has a health (`Healthy`, `Degraded`, …), and gives it.
    pub fn wait_until_health(&self, name: &str, health: &str) -> Value {
        let what = format!("{name} is {health}");
        self.wait_for_application(name, &what, |application| {
            application["status"]["health"]["status"] == health
        })
    }

    /// Lets an Application be compared with git now.
    pub fn refresh(&self, name: &str) {
        self.annotate(APPLICATIONS, name, "argocd.argoproj.io/refresh", "normal");
    }

    /// Lets an application set read git now.
    pub fn refresh_set(&self, name: &str) {
        let annotation = "argocd.argoproj.io/application-set-refresh";
        self.annotate(APPLICATION_SETS, name, annotation, "true");
    }

    fn annotate(&self, collection: &str, name: &str, annotation: &str, value: &str) {
        let patch = json!({ "metadata": { "annotations": { annotation: value } } });
        self.client
            .merge_patch(&format!("{collection}/{name}"), &patch);
    }
}

/// Whether an Application is Synced, and at this commit.
pub fn is_synced_at(application: &Value, commit: &str) -> bool {
    let sync = &application["status"]["sync"];
    sync["status"] == "Synced" && sync["revision"] == commit
}

fn name_of(part: Part) -> &'static str {
    match part {
        Part::Redis => "redis-server",
        Part::RepoServer => "argocd-repo-server",
        Part::ApplicationController => "argocd-application-controller",
        Part::ApplicationSetController => "argocd-applicationset-controller",
        Part::ApiServer => "argocd-server",
    }
}

/// Of a condition in an object's status: whether it holds.
fn condition(object: &Value, kind: &str) -> Option<String> {
    let all = object["status"]["conditions"].as_array()?;
    let found = all.iter().find(|condition| condition["type"] == kind)?;
    found["status"].as_str().map(str::to_owned)
}

/// The repo server calls git through wrappers that lie beside it.
fn path_with_wrappers() -> std::ffi::OsString {
    let wrappers = stack_file("argocd").unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(wrappers).chain(std::env::split_paths(&path));
    std::env::join_paths(folders.filter(|folder| folder != Path::new(""))).unwrap()
}

/// The definition of application sets without what generators within generators look like, which says all about
/// generators many times: with it the API server is busy for more than twice as long. What such generators hold is not
/// checked, then.
fn without_nested_generators(definition: &str) -> String {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut kept = String::new();
    let mut left_out = usize::MAX;
    for line in definition.lines() {
        if indentation(line) > left_out {
            continue;
        }
        left_out = usize::MAX;
        kept.push_str(line);
        if let "matrix:" | "merge:" = line.trim_start() {
            left_out = indentation(line);
            kept.push_str(" {type: object, x-kubernetes-preserve-unknown-fields: true}");
        }
        kept.push('\n');
    }
    kept
}
