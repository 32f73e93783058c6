//! `workloads` of a gate.

use tidegate_waves::fleet::{WorkloadsCheck, is_dns_label};

use super::super::reader::Reader;
use super::{Wrong, is_template, known_duration, known_number};
use crate::yaml::{Node, Spanned, shortened};

const FIELDS: &[&str] = &[
    "namespace",
    "stableFor",
    "imagePullFor",
    "waitingFor",
    "replicaFailureFor",
    "unschedulableFor",
    "maxRestarts",
    "allowZero",
    "maxFlaps",
    "ignore",
];

const NAMESPACE_HINT: &str =
    "use up to 63 lower-case letters, digits and dashes, no dash at either end";

pub(super) fn check(reader: &Reader, node: &Spanned<Node>, gate: &str) -> Option<WorkloadsCheck> {
    let fields = reader.fields(node, format!("`workloads` of {gate}"), FIELDS)?;
    let default = WorkloadsCheck::default();
    let namespace = fields.text("namespace").unwrap_or(&default.namespace);
    if let Some(node) = fields.get("namespace")
        && !is_template(namespace)
        && !is_dns_label(namespace)
    {
        reader.error_with_hint(
            node.span,
            format!(
                "{} is no name of a namespace: {:?}",
                fields.called("namespace"),
                shortened(namespace)
            ),
            NAMESPACE_HINT,
        );
    }
    let called = fields.called("ignore");
    let mut ignore = Vec::new();
    for item in fields
        .get("ignore")
        .and_then(|node| reader.list(node, &called))
        .unwrap_or_default()
    {
        let Some(text) = reader.text(item, &format!("an item of {called}")) else {
            continue;
        };
        if !is_template(text) && !is_ignored_path(text) {
            reader.error_with_hint(
                item.span,
                format!("{:?} is no path of a field", shortened(text)),
                "write a JSON pointer such as /spec/replicas, or Deployment:/spec/replicas for one kind alone",
            );
        }
        ignore.push(text.to_owned());
    }
    Some(WorkloadsCheck {
        namespace: namespace.to_owned(),
        stable_for: known_duration(&fields, "stableFor", default.stable_for),
        image_pull_for: known_duration(&fields, "imagePullFor", default.image_pull_for),
        waiting_for: known_duration(&fields, "waitingFor", default.waiting_for),
        replica_failure_for: known_duration(
            &fields,
            "replicaFailureFor",
            default.replica_failure_for,
        ),
        unschedulable_for: known_duration(&fields, "unschedulableFor", default.unschedulable_for),
        max_restarts: known_number(&fields, "maxRestarts", 0, default.max_restarts),
        allow_zero: fields
            .word("allowZero", &[("true", true), ("false", false)])
            .unwrap_or(default.allow_zero),
        max_flaps: known_number(&fields, "maxFlaps", 0, default.max_flaps),
        ignore,
    })
}

/// `/spec/replicas`, or `Deployment:/spec/replicas`.
fn is_ignored_path(text: &str) -> bool {
    let (kind, path) = text.split_once(':').unwrap_or(("Any", text));
    path.starts_with('/')
        && path.len() > 1
        && !kind.is_empty()
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What is wrong with it once its strings are resolved.
pub(super) fn check_resolved(check: &WorkloadsCheck, wrong: Wrong<'_>) {
    if !is_dns_label(&check.namespace) {
        wrong(
            &["workloads", "namespace"],
            "this is no name of a namespace",
            NAMESPACE_HINT,
        );
    }
    if check.ignore.iter().any(|path| !is_ignored_path(path)) {
        wrong(
            &["workloads", "ignore"],
            "one of these is no path of a field",
            "write JSON pointers such as /spec/replicas, or Deployment:/spec/replicas for one kind alone",
        );
    }
}
