//! Pods, and what else belongs to workloads, as far as the rules read it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::{Condition, conditions, is_deleting, number, owners, text, texts};

/// More containers than this in one pod are not kept.
const MOST_CONTAINERS: usize = 100;

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// It runs before the others, and ends.
    Init,
    /// It starts before the others, and goes on beside them.
    Sidecar,
    /// What the pod is for.
    Main,
}

impl Role {
    /// What people call it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Init => "init container",
            Self::Sidecar => "sidecar",
            Self::Main => "container",
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) reason: String,
    pub(super) exit: i64,
}

/// What a container does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It waits, for this reason.
    Waiting(String),
    /// It runs.
    Running,
    /// It ended.
    Ended(Ended),
    /// Nothing is known of it.
    Unknown,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) image: String,
    pub(super) ready: bool,
    pub(super) restarts: u64,
    pub(super) state: State,
    pub(super) last: Option<Ended>,
}

/// What the rules need of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) owners: Vec<String>,
    /// The label `controller-revision-hash`.
    pub(super) hash: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) deleting: bool,
    pub(super) phase: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) restarts_always: bool,
    pub(super) containers: Vec<Container>,
    conditions: Vec<Condition>,
}

impl Pod {
    /// Reads a pod; nothing if it has no name or uid.
    #[must_use]
    pub fn read(answer: &Value) -> Option<Self> {
        let (name, uid) = (
            text(answer, "/metadata/name"),
            text(answer, "/metadata/uid"),
        );
        if name.is_empty() || uid.is_empty() {
            return None;
        }
        let labels = answer
            .pointer("/metadata/labels")
            .and_then(Value::as_object);
        let policy = text(answer, "/spec/restartPolicy");
        Some(Self {
            name,
            uid,
            owners: owners(answer),
            hash: text(answer, "/metadata/labels/controller-revision-hash"),
            labels: labels.map(texts).unwrap_or_default(),
            deleting: is_deleting(answer),
            phase: text(answer, "/status/phase"),
            reason: text(answer, "/status/reason"),
            message: text(answer, "/status/message"),
            restarts_always: policy.is_empty() || policy == "Always",
            containers: containers(answer),
            conditions: conditions(answer),
        })
    }

    fn condition(&self, name: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.name == name)
    }

    fn is(&self, name: &str) -> bool {
        self.condition(name)
            .is_some_and(|condition| condition.truth == Some(true))
    }

    /// Whether it is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.is("Ready")
    }

    /// Why no node takes it, if none does.
    pub(super) fn unschedulable(&self) -> Option<&str> {
        self.condition("PodScheduled")
            .filter(|condition| {
                condition.truth == Some(false) && condition.reason == "Unschedulable"
            })
            .map(|condition| condition.message.as_str())
    }

    /// Whether it failed by itself, and not by its node or because room was made.
    pub(super) fn failed_by_itself(&self) -> bool {
        if self.phase != "Failed" {
            return false;
        }
        match self.reason.as_str() {
            // A pod is evicted too for using more than it said that it would.
            "Evicted" => {
                !self.message.contains("low on resource") && self.message.contains("exceed")
            }
            "NodeLost"
            | "NodeShutdown"
            | "NodeAffinity"
            | "Shutdown"
            | "Terminated"
            | "Preempting"
            | "UnexpectedAdmissionError" => false,
            reason if reason.starts_with("OutOf") => false,
            _ => !self.is("DisruptionTarget"),
        }
    }

    /// Whether that it is not ready is no fault of what runs in it: it goes, nothing takes it, its node is lost, or
    /// someone outside says so while all its containers are ready.
    pub(super) fn is_excused(&self) -> bool {
        self.deleting
            || self.is("DisruptionTarget")
            || self.unschedulable().is_some()
            || (self.phase == "Failed" && !self.failed_by_itself())
            || self.reason == "NodeLost"
            || self
                .containers
                .iter()
                .filter(|container| container.role == Role::Main)
                .all(|container| container.ready)
    }
}

fn containers(answer: &Value) -> Vec<Container> {
    let list = |pointer: &str| answer.pointer(pointer).and_then(Value::as_array);
    let inits = list("/spec/initContainers").into_iter().flatten();
    let mains = list("/spec/containers").into_iter().flatten();
    let inits = inits.map(|spec| {
        let role = if text(spec, "/restartPolicy") == "Always" {
            Role::Sidecar
        } else {
            Role::Init
        };
        (spec, role, "/status/initContainerStatuses")
    });
    let mains = mains.map(|spec| (spec, Role::Main, "/status/containerStatuses"));
    inits
        .chain(mains)
        .take(MOST_CONTAINERS)
        .map(|(spec, role, statuses)| {
            let name = text(spec, "/name");
            let status = list(statuses)
                .into_iter()
                .flatten()
                .find(|status| text(status, "/name") == name);
            let part = |name: &str| status.and_then(|status| status.get(name));
            Container {
                role,
                image: text(spec, "/image"),
                ready: part("ready") == Some(&Value::Bool(true)),
                restarts: part("restartCount").and_then(Value::as_u64).unwrap_or(0),
                state: part("state").map_or(State::Unknown, state),
                last: part("lastState").and_then(ended),
                name,
            }
        })
        .collect()
}

fn state(state: &Value) -> State {
    if let Some(ended) = ended(state) {
        State::Ended(ended)
    } else if state.get("waiting").is_some() {
        State::Waiting(text(state, "/waiting/reason"))
    } else if state.get("running").is_some() {
        State::Running
    } else {
        State::Unknown
    }
}

fn ended(state: &Value) -> Option<Ended> {
    state.get("terminated")?;
    Some(Ended {
        reason: text(state, "/terminated/reason"),
        exit: number(state, "/terminated/exitCode").unwrap_or(0),
    })
}

/// What the rules need of one `ReplicaSet` or `ControllerRevision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    pub(super) uid: String,
    pub(super) owners: Vec<String>,
    /// A `ReplicaSet`'s annotation `deployment.kubernetes.io/revision`, a `ControllerRevision`'s number.
    pub(super) revision: Option<i64>,
    /// A `ControllerRevision`'s label `controller-revision-hash`, or the end of its name.
    pub(super) hash: String,
}

impl Owned {
    /// Reads a `ReplicaSet` or a `ControllerRevision`; nothing if it has no uid.
    #[must_use]
    pub fn read(answer: &Value) -> Option<Self> {
        let uid = text(answer, "/metadata/uid");
        if uid.is_empty() {
            return None;
        }
        let annotation = text(
            answer,
            "/metadata/annotations/deployment.kubernetes.io~1revision",
        );
        let label = text(answer, "/metadata/labels/controller-revision-hash");
        let name = text(answer, "/metadata/name");
        Some(Self {
            uid,
            owners: owners(answer),
            revision: number(answer, "/revision").or_else(|| annotation.parse().ok()),
            hash: if label.is_empty() {
                name.rsplit('-').next().unwrap_or_default().to_owned()
            } else {
                label
            },
        })
    }
}
