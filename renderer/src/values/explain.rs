//! Who set a value, and what that overrode.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::Layer;
use crate::yaml::{Node, Spanned, to_json};

/// One layer's say on one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The value's path, such as `values.a.b[0]`.
    pub path: String,
    /// The file that says it, relative to the repo's root.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1 in characters.
    pub column: u32,
    /// What it says: a scalar as it is typed, anything else as JSON on one line.
    pub value: String,
    /// Whether a higher layer says something else.
    pub overridden: bool,
}

/// What one layer has at a path.
#[derive(Clone, Copy)]
struct Says<'layers> {
    file: &'layers str,
    node: &'layers Spanned<Node>,
}

/// What all layers have at a path.
#[derive(Default)]
struct Place<'layers> {
    /// What counts, lowest first: mappings that merge, or one other value.
    live: Vec<Says<'layers>>,
    /// What something above replaced, lowest first.
    dead: Vec<Says<'layers>>,
}

impl<'layers> Place<'layers> {
    /// Splits what layers say, lowest first, into what counts and what is replaced.
    fn of(says: Vec<Says<'layers>>, mut dead: Vec<Says<'layers>>) -> Self {
        let is_mapping = |says: &Says<'_>| says.node.value.as_mapping().is_some();
        let merging = says
            .iter()
            .rev()
            .take_while(|says| is_mapping(says))
            .count();
        let counting = merging.max(1).min(says.len());
        let mut live = says;
        let replaced = live.len() - counting;
        dead.extend(live.drain(..replaced));
        Self { live, dead }
    }

    fn is_mapping(&self) -> bool {
        self.live
            .last()
            .is_some_and(|says| says.node.value.as_mapping().is_some())
    }

    fn below(&self, segment: &Segment) -> Self {
        let step = |says: &Says<'layers>| {
            let node = match segment {
                Segment::Key(key) => says.node.value.get(key),
                Segment::Index(index) => says.node.value.as_sequence().and_then(|s| s.get(*index)),
            };
            node.map(|node| Says {
                file: says.file,
                node,
            })
        };
        Self::of(
            self.live.iter().filter_map(step).collect(),
            self.dead.iter().filter_map(step).collect(),
        )
    }

    fn origins(&self, path: &str, into: &mut Vec<Origin>) {
        if let Some(winner) = self.live.last() {
            into.push(winner.origin(path, false));
        }
        self.replaced(path, into);
    }

    fn replaced(&self, path: &str, into: &mut Vec<Origin>) {
        into.extend(self.dead.iter().rev().map(|says| says.origin(path, true)));
    }

    /// All leaves below a mapping.
    fn leaves(&self, path: &str, into: &mut Vec<Origin>) {
        if !self.is_mapping() {
            if self
                .live
                .last()
                .is_some_and(|says| !says.node.value.is_null())
            {
                self.origins(path, into);
            }
            return;
        }
        let mut keys = BTreeSet::new();
        for says in &self.live {
            for pair in says.node.value.as_mapping().unwrap_or_default() {
                keys.insert(Arc::clone(&pair.key.value));
            }
        }
        for key in keys {
            let segment = Segment::Key(key.to_string());
            self.below(&segment).leaves(&segment.after(path), into);
        }
        // Mappings that were replaced are told leaf by leaf; other values that were, here.
        let others = Self {
            live: Vec::new(),
            dead: self
                .dead
                .iter()
                .filter(|says| says.node.value.as_mapping().is_none())
                .copied()
                .collect(),
        };
        others.replaced(path, into);
    }
}

impl Says<'_> {
    fn origin(&self, path: &str, overridden: bool) -> Origin {
        let value = match &self.node.value {
            Node::Scalar(_) if self.node.value.is_null() => "null".to_owned(),
            Node::Scalar(scalar) => scalar.text.to_string(),
            _ => to_json(self.node, &mut Vec::new()).to_string(),
        };
        Origin {
            path: path.to_owned(),
            file: self.file.to_owned(),
            line: self.node.span.line,
            column: self.node.span.column,
            value,
            overridden,
        }
    }
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

impl Segment {
    /// The path that leads one step further.
    fn after(&self, path: &str) -> String {
        match self {
            Self::Index(index) => format!("{path}[{index}]"),
            Self::Key(key) if key.contains(['.', '[', ']', ' ']) || key.is_empty() => {
                format!("{path}.[{key}]")
            }
            Self::Key(key) => format!("{path}.{key}"),
        }
    }
}

/// The steps behind `values` of a path; `None` if it is no path into the values.
fn segments(path: &str) -> Option<Vec<Segment>> {
    let mut rest = path.strip_prefix("values")?;
    let mut segments = Vec::new();
    while !rest.is_empty() {
        let after_dot = rest.strip_prefix('.');
        let step = after_dot.unwrap_or(rest);
        if let Some(bracket) = step.strip_prefix('[') {
            let (inner, tail) = bracket.split_once(']')?;
            // `a[0]` and Handlebars' `a.[0]` are places in a list; `.[a.b]` is a key.
            segments.push(match inner.parse() {
                Ok(index) => Segment::Index(index),
                Err(_) => Segment::Key(inner.trim_matches('"').to_owned()),
            });
            rest = tail;
        } else {
            after_dot?;
            let end = step.find(['.', '[']).unwrap_or(step.len());
            let (key, tail) = step.split_at(end);
            if key.is_empty() {
                return None;
            }
            segments.push(Segment::Key(key.to_owned()));
            rest = tail;
        }
    }
    Some(segments)
}

/// See [`super::Layered::explain`].
pub(super) fn explain(layers: &[Arc<Layer>], path: &str) -> Option<Vec<Origin>> {
    let says = layers
        .iter()
        .filter(|layer| layer.root.value.as_mapping().is_some())
        .map(|layer| Says {
            file: &layer.file,
            node: &layer.root,
        })
        .collect();
    let mut place = Place::of(says, Vec::new());
    let mut path_here = "values".to_owned();
    let mut removal: Option<Origin> = None;
    for segment in segments(path)? {
        let below = place.below(&segment);
        if removal.is_none()
            && below.live.is_empty()
            && let Some(top) = place.live.last()
            && top.node.value.is_null()
        {
            removal = Some(top.origin(&path_here, false));
        }
        path_here = segment.after(&path_here);
        place = below;
    }
    let mut origins: Vec<Origin> = removal.into_iter().collect();
    if place.live.is_empty() {
        // Below a removed mapping only what was removed is left to tell.
        if place.dead.is_empty() || origins.is_empty() {
            return None;
        }
        place.replaced(&path_here, &mut origins);
    } else if place.is_mapping() {
        place.leaves(&path_here, &mut origins);
    } else {
        place.origins(&path_here, &mut origins);
    }
    (!origins.is_empty()).then_some(origins)
}
