//! What values mean: what the server leaves out, quantities, and text that is only text.

use serde_json::Value;

use super::super::quantity::Quantity;
use super::Step;

/// Whether two values that are not both objects or both lists mean the same.
pub(super) fn is_equal(wanted: &Value, live: &Value, path: &[Step]) -> bool {
    let verbatim = is_verbatim(path);
    match (wanted, live) {
        // The server leaves out what is empty, and fills in defaults for some of it, but not where text is text.
        (Value::String(text), _) if text.is_empty() && !verbatim => true,
        (Value::String(text), Value::Null) => text.is_empty(),
        (Value::Bool(truth), Value::Null) => !truth,
        (Value::Number(number), Value::Null) => number.as_f64() == Some(0.0),
        (Value::Number(left), Value::Number(right)) if equal_numbers(left, right) => true,
        (Value::String(_) | Value::Number(_), Value::String(_) | Value::Number(_)) => {
            let (left, right) = (scalar(wanted), scalar(live));
            left == right || (!verbatim && is_quantity(path) && equal_quantities(&left, &right))
        }
        _ => wanted == live,
    }
}

/// Whether nothing is said by this value.
pub(super) fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.values().all(is_unset),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether text stands here that nobody reads as anything else.
fn is_verbatim(path: &[Step]) -> bool {
    const HOLDERS: [&str; 9] = [
        "labels",
        "annotations",
        "data",
        "binaryData",
        "matchLabels",
        "nodeSelector",
        "args",
        "command",
        "env",
    ];
    path.iter()
        .any(|step| !step.element && HOLDERS.contains(&step.name.as_str()))
}

/// Whether a resource quantity stands here.
fn is_quantity(path: &[Step]) -> bool {
    const HOLDERS: [&str; 10] = [
        "limits",
        "requests",
        "hard",
        "capacity",
        "podFixed",
        "default",
        "defaultRequest",
        "min",
        "max",
        "maxLimitRequestRatio",
    ];
    const NAMES: [&str; 5] = ["sizeLimit", "storage", "averageValue", "cpu", "memory"];
    let holds = |step: &Step| !step.element && HOLDERS.contains(&step.name.as_str());
    match path.split_last() {
        Some((last, rest)) => {
            NAMES.contains(&last.name.as_str())
                || rest.iter().any(holds)
                || (last.name == "value" && rest.iter().any(|step| step.name == "metrics"))
        }
        None => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn equal_numbers(left: &serde_json::Number, right: &serde_json::Number) -> bool {
    left == right || ((left.is_f64() || right.is_f64()) && left.as_f64() == right.as_f64())
}

fn equal_quantities(left: &str, right: &str) -> bool {
    let left = Quantity::parse(left);
    left.is_some() && left == Quantity::parse(right)
}
