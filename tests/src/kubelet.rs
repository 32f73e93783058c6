//! Plays the kubelet: says of pods what one would, by their status. The real controllers react to it.
//!
//! Nothing is bound to a node: a pod without a node goes at once when it is deleted, as nobody has to end it first.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kubernetes::{Client, Failure};

/// Between two looks of a [`Player`].
const INTERVAL: Duration = Duration::from_millis(200);
/// How long a [`Player`] waits for an answer: it has to end soon also while the API server is held up.
const PATIENCE: Duration = Duration::from_secs(3);

/// What becomes of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Nothing is said of it: a new pod stays Pending.
    Untouched,
    /// It runs and is ready.
    Ready,
    /// It runs and is not ready: its probe fails.
    NotReady,
    /// Its containers end with an error again and again (`CrashLoopBackOff`).
    CrashLoop {
        /// How often they were restarted.
        restarts: u32,
    },
    /// Its containers had too little memory again and again (`OOMKilled`, then `CrashLoopBackOff`).
    OomKilled {
        /// How often they were restarted.
        restarts: u32,
    },
    /// Its images cannot be pulled (`ImagePullBackOff`).
    ImagePullBackOff,
    /// No node has room for it.
    Unschedulable,
    /// It has ended well, as a job's does.
    Succeeded,
    /// It has ended with an error, for good.
    Failed,
}

/// What the tag of a pod's images asks for: `:broken…` cannot be pulled, `:crash…` crashes, `:oom…` takes too much
/// memory, `:unready…` never becomes ready, `:huge…` fits nowhere. Pods of jobs end well, all others are ready.
pub fn by_image(pod: &Value) -> Behaviour {
    let asks = |tag: &str| {
        containers(pod, "containers").any(|container| {
            let image = container["image"].as_str().unwrap_or_default();
            image.contains(tag)
        })
    };
    let of_job = pod["metadata"]["ownerReferences"][0]["kind"] == "Job";
    if asks(":broken") {
        Behaviour::ImagePullBackOff
    } else if asks(":crash") {
        Behaviour::CrashLoop { restarts: 4 }
    } else if asks(":oom") {
        Behaviour::OomKilled { restarts: 2 }
    } else if asks(":unready") {
        Behaviour::NotReady
    } else if asks(":huge") {
        Behaviour::Unschedulable
    } else if of_job {
        Behaviour::Succeeded
    } else {
        Behaviour::Ready
    }
}

/// The kubelet of all pods of a cluster, for as long as a test calls it.
#[derive(Debug, Clone)]
pub struct Kubelet {
    client: Client,
}

impl Kubelet {
    /// One that talks to the cluster of this client.
    pub fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
        }
    }

    /// Makes a node, for daemon sets: they have a pod for each. It is ready, and nothing is bound to it either.
    pub fn create_node(&self, name: &str) {
        let path = format!("/api/v1/nodes/{name}");
        let node =
            json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name }, "spec": {} });
        self.client.apply(&path, &node);
        // Every node begins as one that is not ready.
        self.client
            .merge_patch(&path, &json!({ "spec": { "taints": null } }));
        let now = now();
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": now,
            "lastHeartbeatTime": now,
        });
        let status = json!({ "status": { "conditions": [condition] } });
        self.client.merge_patch(&format!("{path}/status"), &status);
    }

    /// Lets all pods of a namespace run and be ready; gives how many there are.
    pub fn run_all(&self, namespace: &str) -> usize {
        self.run_labelled(namespace, "")
    }

    /// Lets the pods with these labels (`app=web,track=canary`) run and be ready; gives how many there are.
    pub fn run_labelled(&self, namespace: &str, labels: &str) -> usize {
        self.set_labelled(namespace, labels, Behaviour::Ready)
    }

    /// Lets something become of the pods with these labels; gives how many there are.
    pub fn set_labelled(&self, namespace: &str, labels: &str, behaviour: Behaviour) -> usize {
        let labels = labels.replace('=', "%3D");
        let pods = self.client.list(&format!(
            "/api/v1/namespaces/{namespace}/pods?labelSelector={labels}"
        ));
        for pod in &pods {
            self.set(pod, behaviour);
        }
        pods.len()
    }

    /// Lets the containers of a pod crash again and again.
    pub fn crash_loop(&self, namespace: &str, pod: &str) {
        self.set_named(namespace, pod, Behaviour::CrashLoop { restarts: 4 });
    }

    /// Lets the images of a pod be nowhere.
    pub fn image_pull_back_off(&self, namespace: &str, pod: &str) {
        self.set_named(namespace, pod, Behaviour::ImagePullBackOff);
    }

    /// Lets the containers of a pod end for lack of memory.
    pub fn oom_killed(&self, namespace: &str, pod: &str) {
        self.set_named(namespace, pod, Behaviour::OomKilled { restarts: 2 });
    }

    /// Lets no node have room for a pod.
    pub fn unschedulable(&self, namespace: &str, pod: &str) {
        self.set_named(namespace, pod, Behaviour::Unschedulable);
    }

    /// Lets something become of a pod, which must exist.
    pub fn set_named(&self, namespace: &str, pod: &str, behaviour: Behaviour) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}");
        let found = self.client.get(&path);
        self.set(&found.unwrap_or_else(|| panic!("no {path}")), behaviour);
    }

    /// Lets something become of a pod, if it is still there.
    pub fn set(&self, pod: &Value, behaviour: Behaviour) {
        match self.try_set(pod, behaviour) {
            Ok(()) | Err(Failure::Refused(404, _)) => {}
            Err(failure) => panic!("{behaviour:?} of {}: {failure:?}", pod["metadata"]["name"]),
        }
    }

    fn try_set(&self, pod: &Value, behaviour: Behaviour) -> Result<(), Failure> {
        let Some(status) = status_of(pod, behaviour) else {
            return Ok(());
        };
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/status",
            text("namespace"),
            text("name")
        );
        // A pod of the same name that came later (of a stateful set) is another.
        let patch = json!({ "metadata": { "uid": text("uid") }, "status": status });
        self.client.try_merge_patch(&path, &patch).map(|_| ())
    }
}

type Rule = dyn FnMut(&Value) -> Behaviour + Send;

/// Plays the kubelet in the background: lets become of each pod what a rule says, once for each pod and whenever the
/// rule says something else. It ends when dropped.
pub struct Player {
    rule: Arc<Mutex<Box<Rule>>>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Player {
    /// Begins, for the pods of these namespaces.
    pub fn start(
        client: &Client,
        namespaces: &[&str],
        rule: impl FnMut(&Value) -> Behaviour + Send + 'static,
    ) -> Self {
        let paths = namespaces
            .iter()
            .map(|namespace| format!("/api/v1/namespaces/{namespace}/pods?resourceVersion=0"))
            .collect();
        Self::begin(client, paths, Box::new(rule))
    }

    /// Begins, for the pods of all namespaces.
    pub fn everywhere(
        client: &Client,
        rule: impl FnMut(&Value) -> Behaviour + Send + 'static,
    ) -> Self {
        let paths = vec!["/api/v1/pods?resourceVersion=0".to_owned()];
        Self::begin(client, paths, Box::new(rule))
    }

    fn begin(client: &Client, paths: Vec<String>, rule: Box<Rule>) -> Self {
        let kubelet = Kubelet::new(&client.with_patience(PATIENCE));
        let rule = Arc::new(Mutex::new(rule));
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn({
            let rule = Arc::clone(&rule);
            move || {
                let mut done = BTreeMap::new();
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    look(&kubelet, &paths, &rule, &mut done);
                }
            }
        });
        Self {
            rule,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Goes by another rule from now on.
    pub fn set_rule(&self, rule: impl FnMut(&Value) -> Behaviour + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }
}

impl std::fmt::Debug for Player {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Player").finish_non_exhaustive()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What was said last of each pod, by path of the list and uid.
type Done = BTreeMap<String, BTreeMap<String, Behaviour>>;

fn look(kubelet: &Kubelet, paths: &[String], rule: &Mutex<Box<Rule>>, done: &mut Done) {
    for path in paths {
        // The server may be down or held up, by a test.
        let Ok(pods) = kubelet.client.try_list(path) else {
            continue;
        };
        let before = done.remove(path).unwrap_or_default();
        let mut now = BTreeMap::new();
        for pod in &pods {
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
            let behaviour = (rule.lock().unwrap())(pod);
            let said = before.get(uid).copied();
            if said == Some(behaviour) {
                now.insert(uid.to_owned(), behaviour);
                continue;
            }
            match kubelet.try_set(pod, behaviour) {
                Ok(()) => {
                    now.insert(uid.to_owned(), behaviour);
                }
                // It went, or the server did; the rest can be said later.
                Err(Failure::Refused(404 | 409 | 429 | 500.., _) | Failure::NoAnswer(_)) => {
                    now.extend(said.map(|said| (uid.to_owned(), said)));
                }
                Err(failure) => {
                    panic!("{behaviour:?} of {}: {failure:?}", pod["metadata"]["name"])
                }
            }
        }
        done.insert(path.clone(), now);
    }
}

fn containers<'a>(pod: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    pod["spec"][field].as_array().into_iter().flatten()
}

/// The status that a kubelet, or the scheduler, would write.
fn status_of(pod: &Value, behaviour: Behaviour) -> Option<Value> {
    let now = now();
    let ended = |code: i32, reason: &str| {
        json!({ "terminated": {
            "exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now,
        }})
    };
    let waiting = |reason: &str, message: &str| json!({ "waiting": { "reason": reason, "message": message } });
    let running = json!({ "running": { "startedAt": now } });
    let back_off = "back-off 40s restarting failed container";
    let none = json!({});
    // The phase, and of each container: its state, its last state, how often it was restarted.
    let (phase, state, last, restarts) = match behaviour {
        Behaviour::Untouched => return None,
        Behaviour::Unschedulable => return Some(unschedulable(&now)),
        Behaviour::Ready | Behaviour::NotReady => ("Running", running.clone(), none, 0),
        Behaviour::CrashLoop { restarts } => (
            "Running",
            waiting("CrashLoopBackOff", back_off),
            ended(1, "Error"),
            restarts,
        ),
        Behaviour::OomKilled { restarts } => (
            "Running",
            waiting("CrashLoopBackOff", back_off),
            ended(137, "OOMKilled"),
            restarts,
        ),
        Behaviour::ImagePullBackOff => (
            "Pending",
            waiting("ImagePullBackOff", "Back-off pulling image"),
            none,
            0,
        ),
        Behaviour::Succeeded => ("Succeeded", ended(0, "Completed"), none, 0),
        Behaviour::Failed => ("Failed", ended(1, "Error"), none, 0),
    };
    let ready = behaviour == Behaviour::Ready;
    let of = |container: &Value, ready: bool, state: &Value, last: &Value, restarts: u32| {
        let image = &container["image"];
        json!({
            "name": container["name"], "image": image,
            "imageID": format!("{}@sha256:{}", image.as_str().unwrap_or_default(), "0".repeat(64)),
            "ready": ready, "started": ready, "restartCount": restarts, "state": state, "lastState": last,
        })
    };
    let main: Vec<Value> = containers(pod, "containers")
        .map(|container| of(container, ready, &state, &last, restarts))
        .collect();
    let first: Vec<Value> = containers(pod, "initContainers")
        .map(|container| {
            // A sidecar goes on running.
            let state = if container["restartPolicy"] == "Always" {
                running.clone()
            } else {
                ended(0, "Completed")
            };
            of(container, true, &state, &json!({}), 0)
        })
        .collect();
    let reason = match behaviour {
        Behaviour::Ready => None,
        Behaviour::Succeeded => Some("PodCompleted"),
        _ => Some("ContainersNotReady"),
    };
    let condition = |kind: &str, holds: bool, reason: Option<&str>| {
        let status = if holds { "True" } else { "False" };
        json!({ "type": kind, "status": status, "reason": reason, "lastTransitionTime": now })
    };
    Some(json!({
        "phase": phase,
        "startTime": now,
        "conditions": [
            condition("PodScheduled", true, None),
            condition("Initialized", true, None),
            condition("ContainersReady", ready, reason),
            condition("Ready", ready, reason),
        ],
        "initContainerStatuses": first,
        "containerStatuses": main,
    }))
}

fn unschedulable(now: &str) -> Value {
    json!({
        "phase": "Pending",
        "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": now,
            "message": "0/3 nodes are available: 3 Insufficient memory.",
        }],
        "initContainerStatuses": null,
        "containerStatuses": null,
    })
}

/// In the form that Kubernetes writes.
fn now() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
