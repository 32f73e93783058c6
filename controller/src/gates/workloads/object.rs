//! Objects: what a tree wants, and what the rules need of what a cluster has.

mod fields;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use self::fields::{fields, narrow};
use super::k0rdent::{self, Own};
use super::pods::Pod;
use crate::gates::object_key::ObjectKey;
use crate::gates::shown::{line, word};

/// More conditions than this are not kept.
const MOST_CONDITIONS: usize = 64;
/// More owners or selectors than this are not kept.
const MOST_ENTRIES: usize = 64;

/// Why a manifest names no object that could be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoObject {
    /// It has no `kind` or no `metadata.name`.
    #[error("the manifest has no kind or no metadata.name, so that nothing can be looked for")]
    Unnamed,
    /// It is a list of objects.
    #[error("the manifest is a list; read its items one by one")]
    List,
}

/// An object as a tree wants it.
#[derive(Clone, PartialEq)]
pub struct Wanted {
    pub(super) key: ObjectKey,
    pub(super) fields: Value,
    /// Whether it is there during a deployment only, and may be gone after it.
    pub(super) hook: bool,
    /// Whether the cluster takes it away once it has finished.
    pub(super) fleeting: bool,
    /// What it scales, if it is an autoscaler: kind and name.
    pub(super) scales: Option<(String, String)>,
}

impl Wanted {
    /// Reads a rendered manifest.
    pub fn read(manifest: &Value) -> Result<Self, NoObject> {
        if manifest.get("items").is_some_and(Value::is_array)
            && kind_of(manifest).is_some_and(|kind| kind.ends_with("List"))
        {
            return Err(NoObject::List);
        }
        let key = ObjectKey::read(manifest).ok_or(NoObject::Unnamed)?;
        let has_annotation = |name: &str| {
            let annotations = manifest.pointer("/metadata/annotations");
            annotations.is_some_and(|annotations| annotations.get(name).is_some())
        };
        let target = |field: &str| {
            let text = manifest.pointer(&format!("/spec/scaleTargetRef/{field}"));
            text.and_then(Value::as_str).map(str::to_owned)
        };
        let scales = matches!(
            key.kind.as_str(),
            "HorizontalPodAutoscaler" | "ScaledObject"
        )
        .then(|| {
            let kind = target("kind").unwrap_or_else(|| "Deployment".to_owned());
            Some((kind, target("name")?))
        })
        .flatten();
        Ok(Self {
            fields: fields(&key, manifest),
            hook: has_annotation("argocd.argoproj.io/hook") || has_annotation("helm.sh/hook"),
            fleeting: manifest.pointer("/spec/ttlSecondsAfterFinished").is_some(),
            scales,
            key,
        })
    }

    /// The same object in this namespace, if its manifest names none: for those that a deployment puts into its own.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        if self.key.namespace.is_none() {
            self.key.namespace = Some(namespace.to_owned());
        }
        self
    }

    /// The same object outside all namespaces, for kinds that have none: servers take what a manifest names for nothing.
    #[must_use]
    pub fn without_namespace(mut self) -> Self {
        self.key.namespace = None;
        self
    }

    /// What names it.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }
}

impl fmt::Debug for Wanted {
    /// Without what it says: that may be secret.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Wanted({})", self.key)
    }
}

/// A condition of an object's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) name: String,
    /// `None` is `Unknown`.
    pub(super) truth: Option<bool>,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) observed: Option<i64>,
}

/// What the rules read of an object's spec, and of its status, with the server's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    pub(super) replicas: u64,
    pub(super) paused: bool,
    pub(super) suspended: bool,
    pub(super) no_parallelism: bool,
    pub(super) on_delete: bool,
    pub(super) partition: u64,
    pub(super) min_ready_seconds: u64,
    pub(super) selector: BTreeMap<String, String>,
    pub(super) has_status: bool,
    pub(super) observed: Option<i64>,
    pub(super) phase: String,
    pub(super) current_revision: String,
    pub(super) update_revision: String,
    counts: BTreeMap<&'static str, u64>,
}

impl Facts {
    /// A count of the status; what is not there is zero, as the API server leaves zeros out.
    pub(super) fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }
}

/// The counts that the rules read.
const COUNTS: [&str; 11] = [
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "desiredNumberScheduled",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberMisscheduled",
    "currentHealthy",
    "desiredHealthy",
    "failed",
];

/// What the rules need of one object that a cluster has.
#[derive(Clone, PartialEq)]
pub struct Snapshot {
    pub(super) key: ObjectKey,
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    pub(super) deleting: bool,
    /// The annotation `deployment.kubernetes.io/revision`.
    pub(super) revision: Option<i64>,
    pub(super) facts: Facts,
    pub(super) conditions: Vec<Condition>,
    pub(super) own: Option<Own>,
    pub(super) pod: Option<Pod>,
    pub(super) fields: Value,
}

impl Snapshot {
    /// Reads what an API server answered; nothing if that is no named object.
    #[must_use]
    pub fn read(answer: &Value) -> Option<Self> {
        let key = ObjectKey::read(answer)?;
        let generation = number(answer, "/metadata/generation");
        Some(Self {
            uid: text(answer, "/metadata/uid"),
            generation,
            deleting: is_deleting(answer),
            revision: text(
                answer,
                "/metadata/annotations/deployment.kubernetes.io~1revision",
            )
            .parse()
            .ok(),
            facts: facts(answer),
            conditions: conditions(answer),
            own: k0rdent::own(&key, answer),
            pod: key.is("", "Pod").then(|| Pod::read(answer)).flatten(),
            fields: fields(&key, answer),
            key,
        })
    }

    /// Drops the fields that none of these manifests of it has: no rule reads them.
    #[must_use]
    pub fn narrowed(mut self, manifests: &[&Wanted]) -> Self {
        let manifests: Vec<&Value> = manifests.iter().map(|wanted| &wanted.fields).collect();
        narrow(&mut self.fields, &manifests);
        self
    }

    /// What names it.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// Its `metadata.uid`, by which what belongs to it names it.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The condition of this name.
    pub(super) fn condition(&self, name: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.name == name)
    }
}

impl fmt::Debug for Snapshot {
    /// Without what it says: that may be secret.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Snapshot({} {})", self.key, word(&self.uid))
    }
}

fn facts(answer: &Value) -> Facts {
    let spec = |pointer: &str| number(answer, &format!("/spec/{pointer}"));
    let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let is = |pointer: &str| answer.pointer(pointer) == Some(&Value::Bool(true));
    let selector = answer.pointer("/spec/selector").and_then(Value::as_object);
    Facts {
        replicas: count(spec("replicas")).unwrap_or(1),
        paused: is("/spec/paused"),
        suspended: is("/spec/suspend"),
        no_parallelism: spec("parallelism") == Some(0),
        on_delete: text(answer, "/spec/updateStrategy/type") == "OnDelete",
        partition: count(spec("updateStrategy/rollingUpdate/partition")).unwrap_or(0),
        min_ready_seconds: count(spec("minReadySeconds")).unwrap_or(0),
        selector: selector.map(texts).unwrap_or_default(),
        has_status: answer
            .get("status")
            .and_then(Value::as_object)
            .is_some_and(|status| !status.is_empty()),
        observed: number(answer, "/status/observedGeneration"),
        phase: text(answer, "/status/phase"),
        current_revision: text(answer, "/status/currentRevision"),
        update_revision: text(answer, "/status/updateRevision"),
        counts: COUNTS
            .into_iter()
            .filter_map(|name| Some((name, count(number(answer, &format!("/status/{name}")))?)))
            .collect(),
    }
}

pub(super) fn conditions(answer: &Value) -> Vec<Condition> {
    let listed = answer
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    listed
        .into_iter()
        .flatten()
        .take(MOST_CONDITIONS)
        .map(|condition| Condition {
            name: text(condition, "/type"),
            truth: match condition.get("status").and_then(Value::as_str) {
                Some("True") => Some(true),
                Some("False") => Some(false),
                _ => None,
            },
            reason: text(condition, "/reason"),
            message: text(condition, "/message"),
            observed: number(condition, "/observedGeneration"),
        })
        .collect()
}

pub(super) fn is_deleting(object: &Value) -> bool {
    let stamp = object.pointer("/metadata/deletionTimestamp");
    stamp.is_some_and(|stamp| !stamp.is_null())
}

/// The uids of those that it belongs to.
pub(super) fn owners(object: &Value) -> Vec<String> {
    let listed = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    listed
        .into_iter()
        .flatten()
        .take(MOST_ENTRIES)
        .filter_map(|owner| owner.get("uid")?.as_str().map(long_word))
        .collect()
}

/// The entries that are texts, kept short.
pub(super) fn texts(entries: &Map<String, Value>) -> BTreeMap<String, String> {
    entries
        .iter()
        .take(MOST_ENTRIES)
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The text there as one short line, or nothing.
pub(super) fn text(object: &Value, pointer: &str) -> String {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.map(long_word).unwrap_or_default()
}

/// Long enough for any name, label and uid of the API, so that comparing what is kept compares what was there.
fn long_word(text: &str) -> String {
    line(text, 253)
}

pub(super) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer)?.as_i64()
}

fn kind_of(object: &Value) -> Option<&str> {
    object.get("kind")?.as_str()
}
