//! A region whose answers are made of a few realistic ones by small edits.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::judge::{Question, judge_by};
use super::super::object::{Snapshot, Wanted};
use super::super::pods::{Owned, Pod};
use super::super::rules::{Entry, RULES};
use super::super::verdict::{Kind, Rule, Verdict};
use super::super::{Baseline, Limits, Listing, Live, Memory, Reading, Related};
use crate::gates::object_key::ObjectKey;

/// A region: what its tree wants, what its API server has, and what was seen of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Region {
    pub(super) wanted: Vec<Value>,
    pub(super) older: Vec<Vec<Value>>,
    pub(super) has: Vec<Value>,
    pub(super) pods: Vec<Value>,
    pub(super) sets: Vec<Value>,
    pub(super) revisions: Vec<Value>,
    /// Kinds that cannot be read, and why.
    pub(super) unread: Vec<(&'static str, &'static str)>,
    /// Kinds that are not to be read.
    pub(super) pods_unread: Option<&'static str>,
    pub(super) limits: Limits,
    pub(super) memory: Memory,
    pub(super) baseline: Baseline,
    /// Of the watch before the promotion.
    pub(super) memory_before: Memory,
    /// The rule that is left out.
    pub(super) without: Option<Rule>,
}

impl Region {
    /// One with these objects, each as it was rendered.
    pub(super) fn of(objects: impl IntoIterator<Item = (Value, Value)>) -> Self {
        let (wanted, has) = objects.into_iter().unzip();
        Self {
            wanted,
            has,
            ..Self::default()
        }
    }

    /// One with a healthy Deployment.
    pub(super) fn with_deployment() -> Self {
        let mut region = Self::of([(deployment(), live_deployment())]);
        region.sets = vec![replica_set("rs-new", 2), replica_set("rs-old", 1)];
        region.pods = vec![pod("api-1", "rs-new"), pod("api-2", "rs-new")];
        region
    }

    /// The same without a rule.
    pub(super) fn without(mut self, rule: Option<Rule>) -> Self {
        self.without = rule;
        self
    }

    /// Changes the first object that the API server has.
    pub(super) fn edit(&mut self, pointer: &str, value: Value) {
        set(&mut self.has[0], pointer, value);
    }

    /// Changes the first pod.
    pub(super) fn edit_pod(&mut self, pointer: &str, value: Value) {
        set(&mut self.pods[0], pointer, value);
    }

    pub(super) fn live(&self) -> Live {
        let mut live = Live::default();
        let all: Vec<Snapshot> = self.has.iter().filter_map(Snapshot::read).collect();
        for wanted in self.read_wanted() {
            let key = wanted.key.clone();
            let why = self.unread.iter().find(|(kind, _)| *kind == key.kind);
            let found = all.iter().find(|found| found.key == key).cloned();
            let reading = match (why, found) {
                (Some((_, why)), _) => Reading::Unread((*why).to_owned()),
                (None, Some(found)) => Reading::Found(Box::new(found)),
                (None, None) => Reading::Absent,
            };
            live.objects.insert(key, reading);
        }
        let owned = |list: &[Value]| Listing::Read(list.iter().filter_map(Owned::read).collect());
        let pods = match self.pods_unread {
            Some(why) => Listing::Failed(why.to_owned()),
            None => Listing::Read(self.pods.iter().filter_map(Pod::read).collect()),
        };
        let related = Related {
            pods,
            replica_sets: owned(&self.sets),
            revisions: owned(&self.revisions),
        };
        live.related.insert("shop".to_owned(), related);
        live
    }

    pub(super) fn read_wanted(&self) -> Vec<Wanted> {
        self.wanted
            .iter()
            .map(|value| Wanted::read(value).unwrap())
            .collect()
    }

    /// A look, at this second.
    pub(super) fn look(&mut self, second: u64) -> Verdict {
        let wanted = self.read_wanted();
        let older: Vec<Vec<Wanted>> = self
            .older
            .iter()
            .map(|tree| {
                tree.iter()
                    .map(|value| Wanted::read(value).unwrap())
                    .collect()
            })
            .collect();
        let rules: Vec<Entry> = RULES
            .iter()
            .copied()
            .filter(|entry| Some(entry.rule) != self.without)
            .collect();
        let question = Question {
            wanted: &wanted,
            older: &older,
            live: &self.live(),
            limits: &self.limits,
            baseline: &self.baseline,
            now: Duration::from_secs(second),
            before: false,
        };
        judge_by(&rules, question, &mut self.memory).verdict
    }

    /// The only look before the promotion, at this second.
    pub(super) fn look_before(&mut self, second: u64) -> Verdict {
        self.memory_before = Memory::default();
        self.go_on_before(second)
    }

    /// One more look before the promotion, at this second.
    pub(super) fn go_on_before(&mut self, second: u64) -> Verdict {
        let (wanted, live) = (self.read_wanted(), self.live());
        self.baseline.look(
            &wanted,
            &live,
            &self.limits,
            &mut self.memory_before,
            Duration::from_secs(second),
        )
    }

    /// Looks for a minute, every ten seconds; gives the last verdict.
    pub(super) fn watch(&mut self, from: u64) -> Verdict {
        (0..6).for_each(|step| drop(self.look(from + step * 10)));
        self.look(from + 60)
    }

    /// What the kind of the verdict is after a minute.
    pub(super) fn kind(mut self) -> Kind {
        self.watch(0).kind
    }
}

/// Asserts what a verdict is, by which rule, and how its evidence reads.
#[track_caller]
pub(super) fn assert_verdict(verdict: &Verdict, kind: Kind, rule: Rule, evidence: &str) {
    assert_eq!(
        (verdict.kind, verdict.rule, verdict.evidence.as_str()),
        (kind, rule, evidence)
    );
}

/// Sets what is at a pointer, and makes the objects on the way.
pub(super) fn set(value: &mut Value, pointer: &str, new: Value) {
    let mut place = value;
    for step in pointer.trim_start_matches('/').split('/') {
        let step = step.replace("~1", "/");
        place = match place {
            Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
            _ => &mut place[step],
        };
    }
    *place = new;
}

/// The value with this at the pointer.
pub(super) fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    set(&mut value, pointer, new);
    value
}

/// The key of a manifest.
pub(super) fn key(manifest: &Value) -> ObjectKey {
    Wanted::read(manifest).unwrap().key
}

pub(super) fn object(version: &str, kind: &str, name: &str, rest: &Value) -> Value {
    let mut object = json!({
        "apiVersion": version, "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
    });
    for (name, value) in rest.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

/// What an API server makes of a manifest.
pub(super) fn lives(manifest: &Value, status: Value) -> Value {
    let mut live = manifest.clone();
    let name = manifest["metadata"]["name"].as_str().unwrap();
    set(&mut live, "/metadata/uid", json!(format!("uid-{name}")));
    set(&mut live, "/metadata/generation", json!(4));
    set(&mut live, "/metadata/resourceVersion", json!("81723"));
    set(
        &mut live,
        "/metadata/creationTimestamp",
        json!("2026-03-01T10:00:00Z"),
    );
    if !status.is_null() {
        set(&mut live, "/status", status);
    }
    live
}

pub(super) fn condition(name: &str, status: &str, reason: &str) -> Value {
    json!({"type": name, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-03-01T10:00:00Z"})
}

pub(super) fn deployment() -> Value {
    object(
        "apps/v1",
        "Deployment",
        "api",
        &json!({
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "api"}},
                "template": {
                    "metadata": {"labels": {"app": "api"}},
                    "spec": {"containers": [{
                        "name": "web", "image": "web:2",
                        "ports": [{"containerPort": 8080}],
                        "env": [{"name": "MODE", "value": "fast"}],
                        "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}},
                    }]},
                },
            },
        }),
    )
}

pub(super) fn live_deployment() -> Value {
    let mut live = lives(
        &deployment(),
        json!({
            "observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
            "conditions": [
                condition("Available", "True", "MinimumReplicasAvailable"),
                condition("Progressing", "True", "NewReplicaSetAvailable"),
            ],
        }),
    );
    set(
        &mut live,
        "/metadata/annotations",
        json!({"deployment.kubernetes.io/revision": "2"}),
    );
    set(&mut live, "/spec/progressDeadlineSeconds", json!(600));
    set(
        &mut live,
        "/spec/strategy",
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}),
    );
    let web = "/spec/template/spec/containers/0";
    set(
        &mut live,
        &format!("{web}/imagePullPolicy"),
        json!("IfNotPresent"),
    );
    set(&mut live, &format!("{web}/ports/0/protocol"), json!("TCP"));
    set(
        &mut live,
        &format!("{web}/resources/limits"),
        json!({"cpu": "500m", "memory": "1Gi"}),
    );
    live
}

pub(super) fn replica_set(uid: &str, revision: i64) -> Value {
    json!({"metadata": {
        "name": format!("api-{uid}"), "uid": uid,
        "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
        "ownerReferences": [{"kind": "Deployment", "name": "api", "uid": "uid-api", "controller": true}],
    }})
}

/// A pod that runs, with one ready container.
pub(super) fn pod(name: &str, owner: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": {"app": "api"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": owner, "uid": owner}],
        },
        "spec": {"restartPolicy": "Always", "containers": [{"name": "web", "image": "web:2"}]},
        "status": {
            "phase": "Running",
            "conditions": [condition("PodScheduled", "True", ""), condition("Ready", "True", "")],
            "containerStatuses": [{
                "name": "web", "ready": true, "restartCount": 0, "state": {"running": {}}, "lastState": {},
            }],
        },
    })
}

/// The pod, not ready, with its container waiting for this reason.
pub(super) fn waits(pod: Value, reason: &str) -> Value {
    let pod = with(pod, "/status/conditions/1/status", json!("False"));
    let pod = with(pod, "/status/containerStatuses/0/ready", json!(false));
    with(
        pod,
        "/status/containerStatuses/0/state",
        json!({"waiting": {"reason": reason}}),
    )
}

/// The pod after its container ended this way and was restarted so often.
pub(super) fn restarted(pod: Value, times: u64, reason: &str, exit: i64) -> Value {
    let pod = with(
        pod,
        "/status/containerStatuses/0/restartCount",
        json!(times),
    );
    with(
        pod,
        "/status/containerStatuses/0/lastState",
        json!({"terminated": {"reason": reason, "exitCode": exit}}),
    )
}
