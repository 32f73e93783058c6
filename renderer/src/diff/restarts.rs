//! A ConfigMap or Secret that changes while no workload that mounts it does: nothing restarts, so
//! gates judge processes that still run on the old content.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_waves::oid::Oid;

use super::objects::{Objects, Reader};
use super::{Change, Raw};
use crate::manifest::{Node, ObjectId};
use crate::problem::Problem;
use crate::tree::StoreError;

/// The kinds whose pods restart when their template changes.
const WORKLOADS: [&str; 8] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "Rollout",
    "CronJob",
    "Job",
    "Pod",
];

/// Warnings over all regions.
#[derive(Default)]
pub(super) struct Warnings {
    found: BTreeMap<(String, String), Vec<String>>,
}

impl Warnings {
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.found
            .into_iter()
            .map(|((path, message), regions)| {
                let message = match regions.len() {
                    1 => message,
                    count => format!("{message} (in {count} regions)"),
                };
                let problem = Problem::warning(path, message).hint(
                    "put a checksum of its content into the pod template: checksum/config: {{sha256 \
                     (include \"_config\")}}",
                );
                match regions.as_slice() {
                    [only] => problem.for_region(only),
                    _ => problem,
                }
            })
            .collect()
    }
}

/// Looks at the changes of one region.
pub(super) fn check(
    reader: &mut Reader<'_>,
    region: &str,
    after: Oid,
    changes: &[Raw],
    warnings: &mut Warnings,
) -> Result<(), StoreError> {
    let sources: Vec<&Raw> = changes
        .iter()
        .filter(|raw| {
            raw.change == Change::Changed
                && raw.key.id.group.is_empty()
                && matches!(raw.key.id.kind.as_str(), "ConfigMap" | "Secret")
                && content_differs(raw)
        })
        .collect();
    if sources.is_empty() {
        return Ok(());
    }
    let all = reader.all(after)?;
    let changed: BTreeSet<&ObjectId> = changes.iter().map(|raw| &raw.key.id).collect();
    for source in sources {
        let mounting = mounting(&all, &source.key.id);
        if mounting.is_empty() || mounting.iter().any(|workload| changed.contains(workload)) {
            continue;
        }
        let path = source
            .new
            .as_ref()
            .map(|seen| seen.path.clone())
            .unwrap_or_default();
        let message = format!(
            "{} changes, but {} that uses it does not: nothing would restart",
            source.key.id,
            mounting
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        );
        warnings
            .found
            .entry((path, message))
            .or_default()
            .push(region.to_owned());
    }
    Ok(())
}

fn content_differs(raw: &Raw) -> bool {
    let (Some(old), Some(new)) = (&raw.old, &raw.new) else {
        return false;
    };
    ["data", "binaryData", "stringData"]
        .iter()
        .any(|field| old.node.get(field) != new.node.get(field))
}

/// The workloads that use a ConfigMap or Secret.
fn mounting<'a>(all: &'a Objects, source: &ObjectId) -> Vec<&'a ObjectId> {
    all.iter()
        .filter(|(key, seen)| {
            WORKLOADS.contains(&key.id.kind.as_str())
                && key.id.namespace == source.namespace
                && uses(&seen.node, source)
        })
        .map(|(key, _)| &key.id)
        .collect()
}

/// Whether a pod's template, wherever it is below, names a ConfigMap or Secret.
fn uses(node: &Node, source: &ObjectId) -> bool {
    let names = |holder: &Node, field: &str| {
        holder.get(field).and_then(Node::as_text) == Some(source.name.as_str())
    };
    let references: &[(&str, &str)] = if source.kind == "Secret" {
        &[
            ("secretRef", "name"),
            ("secretKeyRef", "name"),
            ("secret", "secretName"),
            ("secret", "name"),
        ]
    } else {
        &[
            ("configMapRef", "name"),
            ("configMapKeyRef", "name"),
            ("configMap", "name"),
        ]
    };
    match node {
        Node::Map(pairs) => pairs.iter().any(|(key, value)| {
            references
                .iter()
                .any(|(holder, field)| key == holder && names(value, field))
                || uses(value, source)
        }),
        Node::List(items) => items.iter().any(|item| uses(item, source)),
        _ => false,
    }
}
