//! The strings of gates: taken out, resolved for each region, and put back.

use serde_json::Value;
use tidegate_waves::duration;
use tidegate_waves::fleet::{Gate, GateCheck};

use crate::config::{GatePlaces, check_resolved};
use crate::worker::{Expression, TemplateProblem};

/// Calls `visit` with the path and place of every string of a gate that may be a template, always in
/// the same order. Where a value may have any type, the whole value is visited.
fn visit(gate: &mut Gate, visit: &mut dyn FnMut(&[&str], Place<'_>)) {
    match &mut gate.check {
        GateCheck::Http(check) => {
            if let Some(endpoint) = &mut check.endpoint {
                visit(&["http", "endpoint"], Place::Text(endpoint));
            }
            visit(&["http", "url"], Place::Text(&mut check.url));
            visit(&["http", "method"], Place::Text(&mut check.method));
            for (name, value) in &mut check.headers {
                visit(&["http", "headers", name], Place::Text(value));
            }
            for (pointer, value) in &mut check.expect.json {
                visit_value(&["http", "expect", "json", pointer], value, visit);
            }
        }
        GateCheck::Argocd(check) => {
            if let Some(instance) = &mut check.instance {
                visit(&["argocd", "instance"], Place::Text(instance));
            }
            let Some(selector) = &mut check.selector else {
                return;
            };
            for (label, value) in &mut selector.match_labels {
                let path = ["argocd", "selector", "matchLabels", label];
                visit(&path, Place::Text(value));
            }
            for requirement in &mut selector.match_expressions {
                for value in &mut requirement.values {
                    visit(
                        &["argocd", "selector", "matchExpressions"],
                        Place::Text(value),
                    );
                }
            }
        }
        GateCheck::Workloads(check) => {
            visit(
                &["workloads", "namespace"],
                Place::Text(&mut check.namespace),
            );
            for path in &mut check.ignore {
                visit(&["workloads", "ignore"], Place::Text(path));
            }
        }
    }
}

fn visit_value(path: &[&str], value: &mut Value, visit: &mut dyn FnMut(&[&str], Place<'_>)) {
    match value {
        Value::String(_) => visit(path, Place::Value(value)),
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                visit_value(&[path, &[&format!("[{index}]")]].concat(), item, visit);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                visit_value(&[path, &[key.as_str()]].concat(), item, visit);
            }
        }
        _ => {}
    }
}

/// Where a string of a gate stands.
enum Place<'a> {
    /// Only text fits here.
    Text(&'a mut String),
    /// Any value fits here; this one is a string.
    Value(&'a mut Value),
}

impl Place<'_> {
    fn text(&self) -> &str {
        match self {
            Place::Text(text) => text,
            Place::Value(value) => value.as_str().unwrap_or_default(),
        }
    }

    /// Whether there is anything to resolve.
    fn is_template(&self) -> bool {
        self.text().contains("{{")
    }
}

/// Fields that are no text: what they say is read once they are resolved.
const TYPED: [&[&str]; 19] = [
    &["settle"],
    &["every"],
    &["timeout"],
    &["successes"],
    &["failures"],
    &["http", "expect", "status"],
    &["argocd", "applications"],
    &["argocd", "stableFor"],
    &["argocd", "degradedFor"],
    &["argocd", "syncDeadline"],
    &["argocd", "missingFor"],
    &["argocd", "driftGrace"],
    &["workloads", "stableFor"],
    &["workloads", "imagePullFor"],
    &["workloads", "waitingFor"],
    &["workloads", "replicaFailureFor"],
    &["workloads", "unschedulableFor"],
    &["workloads", "maxRestarts"],
    &["workloads", "maxFlaps"],
];

/// Sets one of the [`TYPED`] fields.
fn set(gate: &mut Gate, path: &[&str], value: &Value) -> Result<(), &'static str> {
    const DURATION: &str = "is no duration; write whole numbers with the units ms, s, m or h";
    const COUNT: &str = "is no whole number, at least 1";
    const STATUS: &str = "is no HTTP status, or list of them, from 100 to 599";
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let duration = || duration::parse(&text).map_err(|_| DURATION);
    let positive = || match duration() {
        Ok(duration) if duration.is_zero() => Err("must be more than 0"),
        other => other,
    };
    let count = || text.parse().ok().filter(|count| *count > 0).ok_or(COUNT);
    let status = |value: &Value| {
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            other => other.to_string(),
        };
        let status = text.parse::<u16>().ok();
        status
            .filter(|status| (100..=599).contains(status))
            .ok_or(STATUS)
    };
    let from_zero = || text.parse().map_err(|_| "is no whole number");
    let sampling = &mut gate.sampling;
    match (path, &mut gate.check) {
        (["settle"], _) => sampling.settle = Some(duration()?),
        (["every"], _) => sampling.every = positive()?,
        (["timeout"], _) => sampling.timeout = positive()?,
        (["successes"], _) => sampling.successes = count()?,
        (["failures"], _) => sampling.failures = count()?,
        ([_, "status"] | [_, _, "status"], GateCheck::Http(check)) => {
            check.expect.status = match value {
                Value::Array(items) if items.is_empty() => return Err(STATUS),
                Value::Array(items) => items.iter().map(status).collect::<Result<_, _>>()?,
                one => vec![status(one)?],
            };
        }
        ([_, "applications"], GateCheck::Argocd(check)) => check.applications = count()?,
        ([_, "stableFor"], GateCheck::Argocd(check)) => check.stable_for = duration()?,
        ([_, "degradedFor"], GateCheck::Argocd(check)) => check.degraded_for = duration()?,
        ([_, "syncDeadline"], GateCheck::Argocd(check)) => check.sync_deadline = duration()?,
        ([_, "missingFor"], GateCheck::Argocd(check)) => check.missing_for = duration()?,
        ([_, "driftGrace"], GateCheck::Argocd(check)) => check.drift_grace = duration()?,
        ([_, "stableFor"], GateCheck::Workloads(check)) => check.stable_for = duration()?,
        ([_, "imagePullFor"], GateCheck::Workloads(check)) => check.image_pull_for = duration()?,
        ([_, "waitingFor"], GateCheck::Workloads(check)) => check.waiting_for = duration()?,
        ([_, "replicaFailureFor"], GateCheck::Workloads(check)) => {
            check.replica_failure_for = duration()?;
        }
        ([_, "unschedulableFor"], GateCheck::Workloads(check)) => {
            check.unschedulable_for = duration()?;
        }
        ([_, "maxRestarts"], GateCheck::Workloads(check)) => check.max_restarts = from_zero()?,
        ([_, "maxFlaps"], GateCheck::Workloads(check)) => check.max_flaps = from_zero()?,
        _ => return Err("belongs to another type of gate"),
    }
    Ok(())
}

/// All strings of the gates that have something to resolve.
pub(super) fn expressions(
    gates: &[Gate],
    places: &GatePlaces,
    fleet_file: &str,
) -> Vec<Expression> {
    let mut expressions = Vec::new();
    for gate in gates {
        let mut gate = gate.clone();
        let name = gate.name.clone();
        visit(&mut gate, &mut |path, place| {
            if place.is_template() {
                let (line, column) = places.position(&name, path);
                expressions.push(Expression {
                    file: fleet_file.to_owned(),
                    line,
                    column,
                    label: format!("gate {name}, {}", path.join(".")),
                    text: place.text().to_owned(),
                });
            }
        });
        for path in TYPED {
            if let Some(text) = places.template(&name, path) {
                let (line, column) = places.position(&name, path);
                expressions.push(Expression {
                    file: fleet_file.to_owned(),
                    line,
                    column,
                    label: format!("gate {name}, {}", path.join(".")),
                    text: text.to_owned(),
                });
            }
        }
    }
    expressions
}

/// The gates with the values of their expressions in them, in the order of [`expressions`].
pub(super) fn resolve(
    gates: &[Gate],
    places: &GatePlaces,
    values: Vec<Result<Value, TemplateProblem>>,
    fleet_file: &str,
    is_valid: bool,
) -> Result<Vec<Gate>, Vec<TemplateProblem>> {
    let mut values = values.into_iter();
    let mut problems = Vec::new();
    let mut resolved = Vec::new();
    for gate in gates {
        let mut gate = gate.clone();
        let name = gate.name.clone();
        let at = |path: &[&str], message: &str, hint: Option<String>| {
            let (line, column) = places.position(&name, path);
            TemplateProblem {
                file: fleet_file.to_owned(),
                line,
                column,
                message: format!("gate {name}, {}: {message}", path.join(".")),
                hint,
            }
        };
        visit(&mut gate, &mut |path, place| {
            if !place.is_template() {
                return;
            }
            match (values.next(), place) {
                (Some(Ok(value)), Place::Value(target)) => *target = value,
                (Some(Ok(Value::String(text))), Place::Text(target)) => *target = text,
                (Some(Ok(value @ (Value::Number(_) | Value::Bool(_)))), Place::Text(target)) => {
                    *target = value.to_string();
                }
                (Some(Ok(_)), Place::Text(_)) => problems.push(at(
                    path,
                    "the value is a list, map or null, where a text is needed",
                    None,
                )),
                (Some(Err(found)), _) => problems.push(found),
                (None, _) => {
                    problems.push(at(path, "there is no value", None));
                }
            }
        });
        for path in TYPED {
            if places.template(&name, path).is_none() {
                continue;
            }
            match values.next() {
                Some(Ok(value)) => {
                    if let Err(message) = set(&mut gate, path, &value) {
                        problems.push(at(path, &format!("the value {message}"), None));
                    }
                }
                Some(Err(found)) => problems.push(found),
                None => problems.push(at(path, "there is no value", None)),
            }
        }
        // What was invalid before it was resolved is said already.
        if problems.is_empty() && is_valid {
            for (path, message, hint) in check_resolved(&gate) {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                problems.push(at(&path, &message, Some(hint.to_owned())));
            }
        }
        resolved.push(gate);
    }
    if problems.is_empty() {
        Ok(resolved)
    } else {
        Err(problems)
    }
}
