//! Two versions of an object, field by field.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{FieldChange, MASKED};
use crate::manifest::Node;

/// One field that differs, nothing masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    path: String,
    old: Option<Node>,
    new: Option<Node>,
}

impl Difference {
    /// The difference as it may be shown; of a Secret's own content only that it differs.
    pub(super) fn shown(self, is_secret: bool) -> FieldChange {
        let hide = is_secret && !is_open_field(&self.path);
        let show = |node: Option<Node>| {
            node.map(|node| {
                if hide {
                    Value::from(MASKED)
                } else {
                    node.to_json()
                }
            })
        };
        FieldChange {
            old: show(self.old),
            new: show(self.new),
            path: self.path,
        }
    }
}

/// The fields of a Secret that hold no secret. Annotations may: some tools keep a copy there.
fn is_open_field(path: &str) -> bool {
    let below = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    below("type") || below("apiVersion") || below("immutable") || below("metadata.labels")
}

/// The fields in which two values differ, in the order of the old one; the order of keys is no
/// difference.
pub(super) fn differences(old: &Node, new: &Node) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(old), Some(new), &mut found);
    found
}

fn compare(path: &str, old: Option<&Node>, new: Option<&Node>, found: &mut Vec<Difference>) {
    match (old, new) {
        (Some(old), Some(new)) if old == new => {}
        (Some(Node::Map(left)), Some(Node::Map(right))) => {
            for (key, value) in left {
                let other = right.iter().find(|(name, _)| name == key);
                let below = field(path, key);
                compare(&below, Some(value), other.map(|(_, value)| value), found);
            }
            for (key, value) in right {
                if !left.iter().any(|(name, _)| name == key) {
                    compare(&field(path, key), None, Some(value), found);
                }
            }
        }
        (Some(Node::List(left)), Some(Node::List(right))) => match (names(left), names(right)) {
            (Some(left_names), Some(right_names)) => {
                compare_named(path, (left, &left_names), (right, &right_names), found);
            }
            _ => {
                for index in 0..left.len().max(right.len()) {
                    let below = format!("{path}[{index}]");
                    compare(&below, left.get(index), right.get(index), found);
                }
            }
        },
        (old, new) => found.push(Difference {
            path: path.to_owned(),
            old: old.cloned(),
            new: new.cloned(),
        }),
    }
}

fn compare_named(
    path: &str,
    (left, left_names): (&[Node], &[&str]),
    (right, right_names): (&[Node], &[&str]),
    found: &mut Vec<Difference>,
) {
    let before = found.len();
    for (name, value) in left_names.iter().zip(left) {
        let other = right_names
            .iter()
            .zip(right)
            .find(|(other, _)| other == &name)
            .map(|(_, value)| value);
        compare(&format!("{path}[name={name}]"), Some(value), other, found);
    }
    for (name, value) in right_names.iter().zip(right) {
        if !left_names.contains(name) {
            compare(&format!("{path}[name={name}]"), None, Some(value), found);
        }
    }
    if found.len() == before {
        // The same items in another order, which may matter.
        let order = |names: &[&str]| {
            Some(Node::List(
                names
                    .iter()
                    .map(|name| Node::Text((*name).to_owned()))
                    .collect(),
            ))
        };
        found.push(Difference {
            path: format!("{path} (order)"),
            old: order(left_names),
            new: order(right_names),
        });
    }
}

/// The `name` of each item, if all have one and no two the same.
fn names(items: &[Node]) -> Option<Vec<&str>> {
    let names: Vec<&str> = items
        .iter()
        .map(|item| item.get("name").and_then(Node::as_text))
        .collect::<Option<_>>()?;
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    (distinct.len() == names.len()).then_some(names)
}

fn field(path: &str, key: &str) -> String {
    let simple = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match (path.is_empty(), simple) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", Value::from(key)),
    }
}
