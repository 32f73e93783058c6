//! The gates of a fleet's document. Their strings are templates, resolved for each region later;
//! what can be checked before that is checked here.

mod argocd;
mod http;
mod workloads;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_waves::fleet::{Gate, GateCheck, Sampling};

use super::reader::{Fields, Reader, SourceFile};
use crate::problem::{Problem, Severity};
use crate::yaml::{Node, Span, Spanned, shortened};

const GATE_FIELDS: &[&str] = &[
    "name",
    "http",
    "argocd",
    "workloads",
    "settle",
    "every",
    "timeout",
    "successes",
    "failures",
];

/// The most gates of a fleet: each is asked for every region.
const MOST_GATES: usize = 100;

/// Where the gates of a fleet are written: their strings are templates, and what is wrong with one
/// shows only when it is resolved for a region.
#[derive(Debug, Clone)]
pub struct GatePlaces {
    source: SourceFile,
    gates: Spanned<Node>,
}

impl GatePlaces {
    pub(super) fn new(source: SourceFile, gates: Spanned<Node>) -> Self {
        Self { source, gates }
    }

    /// Of a fleet without a document.
    pub(super) fn none() -> Self {
        Self {
            source: SourceFile {
                file: Arc::from(""),
                text: Arc::from(""),
            },
            gates: Spanned {
                value: Node::Sequence(Vec::new()),
                span: Span::START,
            },
        }
    }

    /// The line and column, both counted from 1, of the value that stands under `path` in a gate,
    /// such as `["http", "url"]` or `["http", "expect", "json", "/version"]`; of the last step that
    /// is written, if not all are.
    #[must_use]
    pub fn position(&self, gate: &str, path: &[&str]) -> (u32, u32) {
        let span = self.span(gate, path);
        (span.line, span.column)
    }

    /// An error at a [`GatePlaces::position`].
    #[must_use]
    pub fn error(&self, gate: &str, path: &[&str], message: impl Into<String>) -> Problem {
        self.source
            .problem(Severity::Error, self.span(gate, path), message.into())
    }

    /// The text that is written under `path` in a gate, if it is one with an expression in it.
    #[must_use]
    pub(crate) fn template(&self, gate: &str, path: &[&str]) -> Option<&str> {
        let gates = self.gates.value.as_sequence()?;
        let named = |node: &&Spanned<Node>| {
            let name = node.value.get("name");
            name.and_then(|name| name.value.as_scalar())
                .is_some_and(|name| &*name.text == gate)
        };
        let mut place = gates.iter().find(named)?;
        for step in path {
            place = place.value.get(step)?;
        }
        let text = &*place.value.as_scalar()?.text;
        is_template(text).then_some(text)
    }

    fn span(&self, gate: &str, path: &[&str]) -> Span {
        let is_meant = |node: &&Spanned<Node>| {
            let name = node
                .value
                .get("name")
                .and_then(|name| name.value.as_scalar());
            name.is_some_and(|name| &*name.text == gate)
        };
        let gates = self.gates.value.as_sequence().unwrap_or_default();
        let mut place = gates.iter().find(is_meant).unwrap_or(&self.gates);
        for step in path {
            match place.value.get(step) {
                Some(below) => place = below,
                None => break,
            }
        }
        place.span
    }
}

/// Types of gates that are planned, so that a reader learns that the word is right and the time is not.
const LATER_TYPES: [&str; 5] = [
    "approval",
    "azureMonitor",
    "metrics",
    "prometheus",
    "window",
];

/// The types of gates: exactly one is written in each.
const TYPES: [&str; 3] = ["http", "argocd", "workloads"];

/// Reads the list of gates; those that cannot be read are left out, their names kept in the second result.
pub(super) fn read(reader: &Reader, node: &Spanned<Node>) -> (Vec<Gate>, Vec<String>) {
    let mut gates = Vec::new();
    let mut names = Vec::new();
    let mut places: HashMap<String, Span> = HashMap::new();
    for (index, item) in reader
        .short_list(node, "`gates` of the fleet", MOST_GATES)
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        let what = match item
            .value
            .get("name")
            .and_then(|name| name.value.as_scalar())
        {
            Some(name) => format!("gate {:?}", shortened(&name.text)),
            None => format!("gate {}", index + 1),
        };
        let Some(pairs) = item.value.as_mapping() else {
            reader.error(
                item.span,
                format!("{what} must be a mapping, found {}", item.value.described()),
            );
            continue;
        };
        let later = pairs.iter().find(|pair| {
            LATER_TYPES.contains(&&*pair.key.value) && pair.value.value.as_scalar().is_none()
        });
        if let Some(pair) = later {
            reader.error_with_hint(
                pair.key.span,
                format!("{what} is of the unknown type `{}`", pair.key.value),
                "the types of gates in this version are `http`, `argocd` and `workloads`",
            );
            if let Some(name) = item
                .value
                .get("name")
                .and_then(|name| name.value.as_scalar())
            {
                names.push(name.text.to_string());
            }
            continue;
        }
        let Some(fields) = reader.fields(item, what, GATE_FIELDS) else {
            continue;
        };
        let name = fields.required_text("name").map(|(node, name)| {
            if let Some(first) = places.get(name) {
                reader.error_with_hint(
                    node.span,
                    format!("two gates are called {:?}", shortened(name)),
                    format!(
                        "the first one is in line {}; rename one of them",
                        first.line
                    ),
                );
            }
            places.insert(name.to_owned(), node.span);
            names.push(name.to_owned());
            name.to_owned()
        });
        let check = check(reader, &fields);
        let default = check
            .as_ref()
            .map_or_else(Sampling::default, GateCheck::default_sampling);
        let sampling = sampling(reader, &fields, default);
        if let (Some(name), Some(check)) = (name, check) {
            gates.push(Gate {
                name,
                check,
                sampling,
            });
        }
    }
    (gates, names)
}

/// What a gate checks: the one type that it has.
fn check(reader: &Reader, fields: &Fields<'_>) -> Option<GateCheck> {
    let written: Vec<_> = TYPES.iter().filter_map(|name| fields.pair(name)).collect();
    if let [first, second, ..] = written.as_slice() {
        reader.error_with_hint(
            second.key.span,
            format!(
                "{} checks two things, `{}` and `{}`",
                fields.what(),
                first.key.value,
                second.key.value
            ),
            "write two gates; a region must pass all of them",
        );
    }
    let what = fields.what();
    if let Some(node) = fields.get("http") {
        http::check(reader, node, what).map(GateCheck::Http)
    } else if let Some(node) = fields.get("argocd") {
        argocd::check(reader, node, what).map(GateCheck::Argocd)
    } else if let Some(node) = fields.get("workloads") {
        workloads::check(reader, node, what).map(GateCheck::Workloads)
    } else {
        if TYPES.iter().all(|name| fields.is_missing(name)) {
            reader.error_with_hint(
                fields.span,
                format!("{} does not say what it checks", fields.what()),
                "add `http: { url: … }`, `argocd: {}` or `workloads: {}`",
            );
        }
        None
    }
}

/// A duration of a gate's check that may be an expression; then it is read once it is resolved for a region.
fn known_duration(fields: &Fields<'_>, name: &str, default: Duration) -> Duration {
    let is_known = fields.get(name).is_none_or(|node| !has_expression(node));
    is_known
        .then(|| fields.duration(name))
        .flatten()
        .unwrap_or(default)
}

/// A whole number of a gate's check that may be an expression.
fn known_number(fields: &Fields<'_>, name: &str, least: u32, default: u32) -> u32 {
    let is_known = fields.get(name).is_none_or(|node| !has_expression(node));
    is_known
        .then(|| fields.number(name, least, u32::MAX))
        .flatten()
        .unwrap_or(default)
}

fn sampling(reader: &Reader, fields: &Fields<'_>, default: Sampling) -> Sampling {
    // What has an expression in it is read once it is resolved for a region.
    let known = |name: &str| fields.get(name).is_none_or(|node| !has_expression(node));
    let positive = |name| {
        known(name)
            .then(|| fields.positive_duration(name))
            .flatten()
    };
    let count = |name| {
        known(name)
            .then(|| fields.number(name, 1, u32::MAX))
            .flatten()
    };
    let every = positive("every");
    let timeout = positive("timeout");
    let sampling = Sampling {
        settle: known("settle").then(|| fields.duration("settle")).flatten(),
        every: every.unwrap_or(default.every),
        timeout: timeout.unwrap_or(default.timeout),
        successes: count("successes").unwrap_or(default.successes),
        failures: count("failures").unwrap_or(default.failures),
    };
    let readable = |name: &str, value: Option<_>| value.is_some() || fields.get(name).is_none();
    if readable("every", every) && readable("timeout", timeout) && sampling.timeout > sampling.every
    {
        let span = fields
            .get("timeout")
            .or_else(|| fields.get("every"))
            .map_or(fields.span, |node| node.span);
        let text = tidegate_waves::duration::format;
        reader.error_with_hint(
            span,
            format!(
                "{} has a timeout of {} but is asked every {}",
                fields.what(),
                text(sampling.timeout),
                text(sampling.every)
            ),
            "`timeout` (default 5s) may be at most `every` (default 10s)",
        );
    }
    sampling
}

fn has_expression(node: &Spanned<Node>) -> bool {
    let scalar = node.value.as_scalar();
    scalar.is_some_and(|scalar| is_template(&scalar.text))
}

/// Whether a text contains an expression, so that only its region's text can be judged.
fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// Takes one thing that is wrong with a resolved gate: the path of the field, the message, and what would be right.
type Wrong<'a> = &'a mut dyn FnMut(&[&str], &str, &'static str);

/// What is wrong with a gate whose strings are resolved: the path of the field, the message, and what
/// would be right. The values are not quoted: they may be secrets of the region's values.
pub(crate) fn check_resolved(gate: &Gate) -> Vec<(Vec<String>, String, &'static str)> {
    let mut found = Vec::new();
    let mut wrong = |path: &[&str], message: &str, hint: &'static str| {
        let path = path.iter().map(|step| (*step).to_owned()).collect();
        found.push((path, message.to_owned(), hint));
    };
    match &gate.check {
        GateCheck::Http(check) => http::check_resolved(check, &mut wrong),
        GateCheck::Argocd(check) => argocd::check_resolved(check, &mut wrong),
        GateCheck::Workloads(check) => workloads::check_resolved(check, &mut wrong),
    }
    if gate.sampling.timeout > gate.sampling.every {
        wrong(
            &["timeout"],
            "the timeout is longer than `every`",
            "`timeout` (default 5s) may be at most `every` (default 10s)",
        );
    }
    found
}
