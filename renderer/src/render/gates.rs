//! The strings of gates: taken out, resolved for each region, and put back.

use serde_json::Value;
use tidegate_waves::fleet::{Gate, GateCheck};

use crate::config::GatePlaces;
use crate::worker::{Expression, TemplateProblem};

/// Calls `visit` with the path and place of every string of a gate that may be a template, always in
/// the same order. Where a value may have any type, the whole value is visited.
fn visit(gate: &mut Gate, visit: &mut dyn FnMut(&[&str], Place<'_>)) {
    let GateCheck::Http(check) = &mut gate.check;
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
    }
    expressions
}

/// The gates with the values of their expressions in them, in the order of [`expressions`].
pub(super) fn resolve(
    gates: &[Gate],
    values: Vec<Result<Value, TemplateProblem>>,
    fleet_file: &str,
) -> Result<Vec<Gate>, Vec<TemplateProblem>> {
    let mut values = values.into_iter();
    let mut problems = Vec::new();
    let mut resolved = Vec::new();
    for gate in gates {
        let mut gate = gate.clone();
        let name = gate.name.clone();
        visit(&mut gate, &mut |path, place| {
            let label = path.join(".");
            if !place.is_template() {
                return;
            }
            match (values.next(), place) {
                (Some(Ok(value)), Place::Value(target)) => *target = value,
                (Some(Ok(Value::String(text))), Place::Text(target)) => *target = text,
                (Some(Ok(value @ (Value::Number(_) | Value::Bool(_)))), Place::Text(target)) => {
                    *target = value.to_string();
                }
                (Some(Ok(_)), Place::Text(_)) => problems.push(problem(fleet_file, format!(
                    "gate {name}, {label}: the value is a list, map or null, where a text is needed"
                ))),
                (Some(Err(found)), _) => problems.push(found),
                (None, _) => {
                    problems.push(problem(fleet_file, format!("gate {name}, {label}: there is no value")));
                }
            }
        });
        resolved.push(gate);
    }
    if problems.is_empty() {
        Ok(resolved)
    } else {
        Err(problems)
    }
}

fn problem(fleet_file: &str, message: String) -> TemplateProblem {
    TemplateProblem {
        file: fleet_file.to_owned(),
        line: 0,
        column: 0,
        message,
        hint: None,
    }
}
