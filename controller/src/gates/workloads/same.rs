//! Whether what was rendered is what a cluster has.
//!
//! A cluster's object says more than its manifest: defaults, and what controllers add. So every field that was rendered
//! must be there and mean the same, and nothing else is looked at. What a commit takes away is seen by the manifests of
//! older trees: what they had, this one has no more, and the cluster has still, was not taken away yet.

mod defaults;
mod lists;
mod values;

use serde_json::Value;

use self::defaults::is_usual;
use self::lists::labels_of;
use self::values::{is_equal, is_unset};
use super::object::{Snapshot, Wanted};
use crate::gates::shown::{line, word};

/// Deeper fields are not compared.
const DEEPEST: usize = 120;

/// A place whose differences do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredPath {
    kind: Option<String>,
    steps: Vec<String>,
}

impl IgnoredPath {
    /// The place at a JSON pointer, in objects of this kind or of all.
    ///
    /// A step `*` stands for any one; an element of a list is named by its `name`, port or mount path, or else by its
    /// position: `/spec/template/spec/containers/web/image`.
    #[must_use]
    pub fn new(kind: Option<&str>, pointer: &str) -> Self {
        let steps = pointer.trim_start_matches('/').split('/');
        Self {
            kind: kind.map(str::to_owned),
            steps: steps
                .map(|step| step.replace("~1", "/").replace("~0", "~"))
                .collect(),
        }
    }

    fn covers(&self, kind: &str, path: &[Step]) -> bool {
        self.kind.as_deref().is_none_or(|only| only == kind)
            && self.steps.len() == path.len()
            && self
                .steps
                .iter()
                .zip(path)
                .all(|(ignored, step)| ignored == "*" || *ignored == step.name)
    }
}

/// Whether an object is as its manifest wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sameness {
    /// All that was rendered is there.
    Same,
    /// Something is not.
    Different(Difference),
}

/// The first place at which an object is not as its manifest wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where, such as `spec.template.spec.containers[web].image`.
    pub path: String,
    /// What was rendered, kept short; `hidden` in a Secret.
    pub wanted: String,
    /// What is there, kept short; `hidden` in a Secret.
    pub live: String,
}

/// Compares a manifest with what a cluster has.
#[must_use]
pub fn same(wanted: &Wanted, live: &Snapshot, ignored: &[IgnoredPath]) -> Sameness {
    let comparison = Comparison::new(wanted, ignored, false);
    let mut path = Vec::new();
    match comparison.differ(&wanted.fields, Some(&live.fields), &mut path) {
        None => Sameness::Same,
        Some(difference) => Sameness::Different(difference),
    }
}

/// What an older manifest has, the wanted one has no more, and the cluster has still: where.
pub(super) fn leftover(
    older: &Wanted,
    wanted: &Wanted,
    live: &Snapshot,
    ignored: &[IgnoredPath],
) -> Option<String> {
    let comparison = Comparison::new(wanted, ignored, false);
    comparison.leftover(&older.fields, &wanted.fields, &live.fields, &mut Vec::new())
}

/// Whether an object that is as `wanted` says cannot be as `older` said.
pub(super) fn tells_apart(wanted: &Wanted, older: &Wanted, ignored: &[IgnoredPath]) -> bool {
    let comparison = Comparison::new(wanted, ignored, true);
    let path = &mut Vec::new();
    let (new, old) = (&wanted.fields, &older.fields);
    comparison.differ(new, Some(old), path).is_some()
        || comparison.leftover(old, new, old, path).is_some()
        || comparison.leftover(new, old, new, path).is_some()
}

/// One step into a document.
#[derive(Debug)]
struct Step {
    name: String,
    /// Whether it leads into a list.
    element: bool,
}

#[derive(Debug)]
struct Comparison<'a> {
    kind: &'a str,
    secret: bool,
    ignored: &'a [IgnoredPath],
    /// Whether a field that only one of both has may have any value in the other.
    absent_is_same: bool,
}

impl<'a> Comparison<'a> {
    fn new(wanted: &'a Wanted, ignored: &'a [IgnoredPath], absent_is_same: bool) -> Self {
        Self {
            kind: &wanted.key.kind,
            secret: wanted.key.is("", "Secret"),
            ignored,
            absent_is_same,
        }
    }

    fn is_ignored(&self, path: &[Step]) -> bool {
        is_rewritten(path)
            || self
                .ignored
                .iter()
                .any(|ignored| ignored.covers(self.kind, path))
    }

    fn differ(
        &self,
        wanted: &Value,
        live: Option<&Value>,
        path: &mut Vec<Step>,
    ) -> Option<Difference> {
        if self.is_ignored(path) || (live.is_none() && self.absent_is_same) {
            return None;
        }
        if path.len() > DEEPEST {
            return Some(self.difference(path, &Value::Null, None));
        }
        match (wanted, live) {
            (Value::Null, _) => None,
            (Value::Object(entries), None | Some(Value::Object(_) | Value::Null)) => {
                entries.iter().find_map(|(name, value)| {
                    let inner = live.and_then(|live| live.get(name));
                    within(path, name, false, |path| self.differ(value, inner, path))
                })
            }
            (Value::Array(items), _) if items.is_empty() => None,
            (Value::Array(items), Some(Value::Array(others))) => {
                self.differ_in_list(wanted, items, others, path)
            }
            _ if is_equal(wanted, live.unwrap_or(&Value::Null), path) => None,
            _ => Some(self.difference(path, wanted, live)),
        }
    }

    fn differ_in_list(
        &self,
        wanted: &Value,
        items: &[Value],
        others: &[Value],
        path: &mut Vec<Step>,
    ) -> Option<Difference> {
        let field = field(path);
        if let (Some(labels), Some(theirs)) = (labels_of(&field, items), labels_of(&field, others))
        {
            return labels.iter().zip(items).find_map(|(label, item)| {
                let place = theirs.iter().position(|other| other == label);
                let other = place.and_then(|place| others.get(place));
                within(path, label, true, |path| {
                    if other.is_none() && !self.absent_is_same && !self.is_ignored(path) {
                        return Some(self.difference(path, item, None));
                    }
                    self.differ(item, other, path)
                })
            });
        }
        if items.len() != others.len() {
            return Some(self.difference(path, wanted, Some(&Value::Array(others.to_vec()))));
        }
        items
            .iter()
            .zip(others)
            .enumerate()
            .find_map(|(place, (item, other))| {
                within(path, &place.to_string(), true, |path| {
                    self.differ(item, Some(other), path)
                })
            })
    }

    fn leftover(
        &self,
        older: &Value,
        wanted: &Value,
        live: &Value,
        path: &mut Vec<Step>,
    ) -> Option<String> {
        if self.is_ignored(path) || path.len() > DEEPEST || path.last().is_some_and(is_derived) {
            return None;
        }
        let is_element = path.last().is_some_and(|step| step.element);
        match (older, wanted, live) {
            // An element of a list goes as a whole; of anything else, what is left of it tells.
            (Value::Object(before), _, Value::Object(now)) if !(is_element && is_unset(wanted)) => {
                before.iter().find_map(|(name, value)| {
                    let found = now.get(name)?;
                    let inner = wanted.get(name).unwrap_or(&Value::Null);
                    within(path, name, false, |path| {
                        self.leftover(value, inner, found, path)
                    })
                })
            }
            (Value::Array(before), Value::Array(items), Value::Array(now)) if !items.is_empty() => {
                let field = field(path);
                let labels = |list: &[Value]| labels_of(&field, list);
                let (labels, ours, theirs) = (labels(before)?, labels(items)?, labels(now)?);
                let at = |labels: &[String], list: &'_ [Value], label: &String| {
                    let place = labels.iter().position(|other| other == label)?;
                    list.get(place).cloned()
                };
                labels.iter().zip(before).find_map(|(label, value)| {
                    let found = at(&theirs, now, label)?;
                    let inner = at(&ours, items, label).unwrap_or(Value::Null);
                    within(path, label, true, |path| {
                        self.leftover(value, &inner, &found, path)
                    })
                })
            }
            _ if is_unset(wanted) && !is_unset(older) && !is_unset(live) => {
                let strict = Self {
                    absent_is_same: false,
                    ..*self
                };
                // What the server would say by itself proves nothing by staying.
                let usual = path
                    .last()
                    .is_some_and(|step| !is_element && is_usual(&step.name, older));
                (!usual && strict.differ(older, Some(live), path).is_none())
                    .then(|| show_path(path))
            }
            _ => None,
        }
    }

    fn difference(&self, path: &[Step], wanted: &Value, live: Option<&Value>) -> Difference {
        let show = |value: &Value| {
            if self.secret {
                "hidden".to_owned()
            } else {
                word(&value.to_string())
            }
        };
        Difference {
            path: show_path(path),
            wanted: show(wanted),
            live: live.map_or_else(|| "nothing".to_owned(), show),
        }
    }
}

fn within<T>(
    path: &mut Vec<Step>,
    name: &str,
    element: bool,
    inner: impl FnOnce(&mut Vec<Step>) -> T,
) -> T {
    path.push(Step {
        name: name.to_owned(),
        element,
    });
    let result = inner(path);
    path.pop();
    result
}

/// The name of the field that the path leads to.
fn field(path: &[Step]) -> String {
    path.last()
        .map(|step| step.name.clone())
        .unwrap_or_default()
}

/// What deployers write over: the label by which Argo CD tracks, and the copy that kubectl keeps.
fn is_rewritten(path: &[Step]) -> bool {
    let mut names = path.iter().map(|step| step.name.as_str());
    match [names.next(), names.next(), names.next(), names.next()] {
        [Some("metadata"), Some("labels"), Some(name), None] => {
            name == "app.kubernetes.io/instance"
        }
        [Some("metadata"), Some("annotations"), Some(name), None] => {
            name == "kubectl.kubernetes.io/last-applied-configuration"
                || name == "argocd.argoproj.io/tracking-id"
        }
        _ => false,
    }
}

/// Where the server makes something from what is beside it, so that it stays when it is taken away.
fn is_derived(step: &Step) -> bool {
    !step.element && step.name == "requests"
}

fn show_path(path: &[Step]) -> String {
    let mut shown = String::new();
    for step in path {
        let name = word(&step.name);
        if step.element || name.contains(['.', '/']) {
            shown.extend(["[", &name, "]"]);
        } else if shown.is_empty() {
            shown.push_str(&name);
        } else {
            shown.push('.');
            shown.push_str(&name);
        }
    }
    line(&shown, 120)
}
