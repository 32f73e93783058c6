//! What each function computes, on plain values.

#![expect(
    clippy::unnecessary_wraps,
    reason = "the table of functions holds one type"
)]

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};

use crate::worker::MAX_FILE_BYTES;

type Computed = Result<Value, String>;

/// Sprig's emptiness: null, false, zero, and a text, list or map without content.
pub(in crate::template) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// What a value is, with an article.
pub(in crate::template) fn described(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn at<'a>(values: &[&'a Value], index: usize) -> &'a Value {
    values.get(index).copied().unwrap_or(&Value::Null)
}

/// A value as it is written into text; null, lists and maps are not.
fn written(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        other => Err(format!(
            "{} is no text; write (toJson …) around it",
            described(other)
        )),
    }
}

fn text<'a>(values: &[&'a Value], index: usize) -> Result<&'a str, String> {
    let value = at(values, index);
    value.as_str().ok_or_else(|| {
        format!(
            "argument {} must be a text, not {}",
            index + 1,
            described(value)
        )
    })
}

fn bounded(length: usize) -> Result<(), String> {
    if length > MAX_FILE_BYTES {
        return Err(format!(
            "the result has {length} bytes, more than {MAX_FILE_BYTES}"
        ));
    }
    Ok(())
}

/// A whole number: Sprig's conversion, but for text that is none.
fn whole(value: &Value) -> Result<i64, String> {
    let failed = || format!("{value} is no whole number");
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().and_then(truncated))
            .ok_or_else(failed),
        Value::String(text) => text
            .trim()
            .parse::<i64>()
            .ok()
            .or_else(|| text.trim().parse::<f64>().ok().and_then(truncated))
            .ok_or_else(failed),
        Value::Bool(truth) => Ok(i64::from(*truth)),
        other => Err(format!("{} is no number", described(other))),
    }
}

fn truncated(number: f64) -> Option<i64> {
    // The bound is the first power of two that no i64 reaches.
    (number.is_finite() && number.abs() < 9_223_372_036_854_775_808.0)
        .then(|| format!("{:.0}", number.trunc()).parse().ok())
        .flatten()
}

pub(super) fn to_yaml(values: &[&Value]) -> Computed {
    let yaml = crate::manifest::yaml_of(at(values, 0));
    bounded(yaml.len())?;
    Ok(Value::String(yaml.trim_end_matches('\n').to_owned()))
}

pub(super) fn to_json(values: &[&Value]) -> Computed {
    Ok(Value::String(at(values, 0).to_string()))
}

fn indented(values: &[&Value]) -> Result<String, String> {
    let spaces = usize::try_from(whole(at(values, 0))?)
        .ok()
        .filter(|spaces| *spaces <= 1000)
        .ok_or("the indentation must be 0 to 1000")?;
    let text = written(at(values, 1))?;
    let lines = text.matches('\n').count() + 1;
    bounded(text.len().saturating_add(lines.saturating_mul(spaces)))?;
    let margin = " ".repeat(spaces);
    Ok(format!(
        "{margin}{}",
        text.replace('\n', &format!("\n{margin}"))
    ))
}

pub(super) fn indent(values: &[&Value]) -> Computed {
    indented(values).map(Value::String)
}

pub(super) fn nindent(values: &[&Value]) -> Computed {
    Ok(Value::String(format!("\n{}", indented(values)?)))
}

pub(super) fn quote(values: &[&Value]) -> Computed {
    let mut quoted = Vec::new();
    for value in values.iter().filter(|value| !value.is_null()) {
        quoted.push(crate::manifest::double_quoted(&written(value)?));
    }
    Ok(Value::String(quoted.join(" ")))
}

pub(super) fn squote(values: &[&Value]) -> Computed {
    let mut quoted = Vec::new();
    for value in values.iter().filter(|value| !value.is_null()) {
        // A quote inside is doubled: what comes out is meant to be read as YAML.
        quoted.push(format!("'{}'", written(value)?.replace('\'', "''")));
    }
    Ok(Value::String(quoted.join(" ")))
}

pub(super) fn default(values: &[&Value]) -> Computed {
    let given = at(values, 1);
    Ok(if is_empty(given) {
        at(values, 0)
    } else {
        given
    }
    .clone())
}

pub(super) fn required(values: &[&Value]) -> Computed {
    let given = at(values, 1);
    if given.is_null() || given.as_str() == Some("") {
        return Err(written(at(values, 0))?);
    }
    Ok(given.clone())
}

/// An item of a list by number or by Sprig's `_0`.
fn item<'a>(list: &'a [Value], key: &Value) -> Option<&'a Value> {
    let index = match key {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.strip_prefix('_').unwrap_or(text).parse().ok(),
        _ => None,
    }?;
    list.get(usize::try_from(index).ok()?)
}

fn found<'a>(collection: &'a Value, key: &Value) -> Option<&'a Value> {
    match collection {
        Value::Array(list) => item(list, key),
        Value::Object(map) => match key {
            Value::String(text) => map.get(text),
            Value::Number(_) | Value::Bool(_) => map.get(&key.to_string()),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn lookup(values: &[&Value]) -> Computed {
    Ok(found(at(values, 0), at(values, 1))
        .cloned()
        .unwrap_or(Value::Null))
}

pub(super) fn has_key(values: &[&Value]) -> Computed {
    Ok(Value::Bool(found(at(values, 0), at(values, 1)).is_some()))
}

/// Go compares only what is of one kind; null equals nothing but null.
fn equal(left: &Value, right: &Value) -> Result<bool, String> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            Ok(compare_numbers(left, right) == Some(Ordering::Equal))
        }
        (Value::Null, _) | (_, Value::Null) => Ok(left.is_null() && right.is_null()),
        _ if std::mem::discriminant(left) == std::mem::discriminant(right) => Ok(left == right),
        _ => Err(incomparable(left, right)),
    }
}

fn incomparable(left: &Value, right: &Value) -> String {
    format!(
        "{} and {} cannot be compared; convert one of them with int or quotes",
        described(left),
        described(right)
    )
}

fn compare_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        return Some(left.cmp(&right));
    }
    if let (Some(left), Some(right)) = (left.as_u64(), right.as_u64()) {
        return Some(left.cmp(&right));
    }
    left.as_f64()?.partial_cmp(&right.as_f64()?)
}

fn compare(values: &[&Value]) -> Result<Ordering, String> {
    let (left, right) = (at(values, 0), at(values, 1));
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right)
            .ok_or_else(|| "these numbers cannot be compared".to_owned()),
        (Value::String(left), Value::String(right)) => Ok(left.cmp(right)),
        _ => Err(incomparable(left, right)),
    }
}

pub(super) fn eq(values: &[&Value]) -> Computed {
    let first = at(values, 0);
    let mut any = false;
    for other in values.iter().skip(1) {
        any |= equal(first, other)?;
    }
    Ok(Value::Bool(any))
}

pub(super) fn ne(values: &[&Value]) -> Computed {
    equal(at(values, 0), at(values, 1)).map(|same| Value::Bool(!same))
}

pub(super) fn gt(values: &[&Value]) -> Computed {
    compare(values).map(|order| Value::Bool(order.is_gt()))
}

pub(super) fn gte(values: &[&Value]) -> Computed {
    compare(values).map(|order| Value::Bool(order.is_ge()))
}

pub(super) fn lt(values: &[&Value]) -> Computed {
    compare(values).map(|order| Value::Bool(order.is_lt()))
}

pub(super) fn lte(values: &[&Value]) -> Computed {
    compare(values).map(|order| Value::Bool(order.is_le()))
}

fn first_or_last(values: &[&Value], wanted_empty: bool) -> Value {
    values
        .iter()
        .find(|value| is_empty(value) == wanted_empty)
        .or(values.last())
        .map_or(Value::Null, |value| (*value).clone())
}

/// The first empty argument, else the last.
pub(super) fn and(values: &[&Value]) -> Computed {
    Ok(first_or_last(values, true))
}

/// The first argument that is not empty, else the last.
pub(super) fn or(values: &[&Value]) -> Computed {
    Ok(first_or_last(values, false))
}

pub(super) fn not(values: &[&Value]) -> Computed {
    Ok(Value::Bool(is_empty(at(values, 0))))
}

pub(super) fn ternary(values: &[&Value]) -> Computed {
    Ok(if is_empty(at(values, 2)) {
        at(values, 1)
    } else {
        at(values, 0)
    }
    .clone())
}

pub(super) fn coalesce(values: &[&Value]) -> Computed {
    Ok(values
        .iter()
        .find(|value| !is_empty(value))
        .map_or(Value::Null, |value| (*value).clone()))
}

pub(super) fn upper(values: &[&Value]) -> Computed {
    Ok(Value::String(text(values, 0)?.to_uppercase()))
}

pub(super) fn lower(values: &[&Value]) -> Computed {
    Ok(Value::String(text(values, 0)?.to_lowercase()))
}

pub(super) fn trim(values: &[&Value]) -> Computed {
    Ok(Value::String(text(values, 0)?.trim().to_owned()))
}

pub(super) fn replace(values: &[&Value]) -> Computed {
    let (old, new, text) = (text(values, 0)?, text(values, 1)?, text(values, 2)?);
    let count = text.matches(old).count();
    bounded(text.len().saturating_add(count.saturating_mul(new.len())))?;
    Ok(Value::String(text.replace(old, new)))
}

pub(super) fn contains(values: &[&Value]) -> Computed {
    Ok(Value::Bool(text(values, 1)?.contains(text(values, 0)?)))
}

pub(super) fn starts_with(values: &[&Value]) -> Computed {
    Ok(Value::Bool(text(values, 1)?.starts_with(text(values, 0)?)))
}

pub(super) fn join(values: &[&Value]) -> Computed {
    let separator = text(values, 0)?;
    let items: Vec<&Value> = match at(values, 1) {
        Value::Array(items) => items.iter().filter(|item| !item.is_null()).collect(),
        Value::Object(_) => return Err("argument 2 must be a list, not a map".to_owned()),
        single => vec![single],
    };
    let mut joined = String::new();
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&written(item)?);
        bounded(joined.len())?;
    }
    Ok(Value::String(joined))
}

pub(super) fn split(values: &[&Value]) -> Computed {
    let (separator, text) = (text(values, 0)?, text(values, 1)?);
    let parts: Vec<Value> = if separator.is_empty() {
        text.chars().map(|part| part.to_string().into()).collect()
    } else {
        text.split(separator).map(Value::from).collect()
    };
    Ok(Value::Array(parts))
}

pub(super) fn b64enc(values: &[&Value]) -> Computed {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = written(at(values, 0))?;
    bounded(text.len().saturating_mul(4) / 3)?;
    let mut encoded = String::with_capacity(text.len().div_ceil(3) * 4);
    for chunk in text.as_bytes().chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place <= chunk.len() {
                let index = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0);
                encoded.push(ALPHABET.get(index).copied().map_or('=', char::from));
            } else {
                encoded.push('=');
            }
        }
    }
    Ok(Value::String(encoded))
}

pub(super) fn sha256(values: &[&Value]) -> Computed {
    let digest = Sha256::digest(written(at(values, 0))?.as_bytes());
    let mut hexadecimal = String::with_capacity(64);
    for byte in digest {
        // Writing to a String cannot fail.
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    Ok(Value::String(hexadecimal))
}

fn folded(values: &[&Value], step: fn(i64, i64) -> Option<i64>) -> Computed {
    let mut numbers = values.iter().map(|value| whole(value));
    let mut total = numbers.next().unwrap_or(Ok(0))?;
    for number in numbers {
        total = step(total, number?).ok_or("the result is too large")?;
    }
    Ok(total.into())
}

pub(super) fn add(values: &[&Value]) -> Computed {
    folded(values, i64::checked_add)
}

pub(super) fn sub(values: &[&Value]) -> Computed {
    folded(values, i64::checked_sub)
}

pub(super) fn mul(values: &[&Value]) -> Computed {
    folded(values, i64::checked_mul)
}

pub(super) fn div(values: &[&Value]) -> Computed {
    divided(values, i64::checked_div)
}

pub(super) fn modulo(values: &[&Value]) -> Computed {
    divided(values, i64::checked_rem)
}

fn divided(values: &[&Value], step: fn(i64, i64) -> Option<i64>) -> Computed {
    if whole(at(values, 1))? == 0 {
        return Err("division by zero".to_owned());
    }
    folded(values, step)
}

pub(super) fn int(values: &[&Value]) -> Computed {
    whole(at(values, 0)).map(Value::from)
}

/// The place of `include` in the table; it is computed where the templates are.
pub(super) fn not_computed(_: &[&Value]) -> Computed {
    Ok(Value::Null)
}
