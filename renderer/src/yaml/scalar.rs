//! What a scalar means: YAML 1.2's core schema, without any silent loss.

use serde_json::Value;

use super::{Finding, Node, Scalar, Span, Spanned, Style, shortened};

/// What a scalar is in YAML 1.2's core schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarKind {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer,
    /// Another number.
    Float,
    /// Anything else, and everything in quotes.
    Text,
}

impl Scalar {
    /// What this scalar is in YAML 1.2's core schema.
    #[must_use]
    pub fn kind(&self) -> ScalarKind {
        if self.style != Style::Plain || self.tag.as_deref() == Some("str") {
            return ScalarKind::Text;
        }
        match &*self.text {
            "" | "~" | "null" | "Null" | "NULL" => return ScalarKind::Null,
            "true" | "True" | "TRUE" => return ScalarKind::Boolean(true),
            "false" | "False" | "FALSE" => return ScalarKind::Boolean(false),
            _ => {}
        }
        if is_integer(&self.text) {
            ScalarKind::Integer
        } else if is_float(&self.text) {
            ScalarKind::Float
        } else {
            ScalarKind::Text
        }
    }

    /// The text, if this scalar is one in YAML 1.2's core schema.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        (self.kind() == ScalarKind::Text).then_some(&*self.text)
    }
}

fn is_integer(text: &str) -> bool {
    let all = |digits: &str, test: fn(&u8) -> bool| {
        !digits.is_empty() && digits.as_bytes().iter().all(test)
    };
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |byte| (b'0'..=b'7').contains(byte));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, u8::is_ascii_hexdigit);
    }
    all(
        text.strip_prefix(['+', '-']).unwrap_or(text),
        u8::is_ascii_digit,
    )
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_is_number = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => digits(mantissa) && !mantissa.is_empty(),
    };
    let exponent_is_number = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        digits(exponent) && !exponent.is_empty()
    });
    mantissa_is_number && exponent_is_number
}

/// Reads a tree as YAML 1.2's core schema does; what cannot be kept exactly is found, and what
/// another reader would understand otherwise is warned about.
///
/// A number keeps its value or is an error: whole ones within 64 bits, others finite.
pub fn to_json(node: &Spanned<Node>, findings: &mut Vec<Finding>) -> Value {
    match &node.value {
        Node::Scalar(scalar) => scalar_to_json(scalar, node.span, findings),
        Node::Sequence(items) => items.iter().map(|item| to_json(item, findings)).collect(),
        Node::Mapping(pairs) => Value::Object(
            pairs
                .iter()
                .map(|pair| (pair.key.value.to_string(), to_json(&pair.value, findings)))
                .collect(),
        ),
    }
}

fn scalar_to_json(scalar: &Scalar, span: Span, findings: &mut Vec<Finding>) -> Value {
    let text = &*scalar.text;
    let value = match scalar.kind() {
        ScalarKind::Null => Value::Null,
        ScalarKind::Boolean(value) => Value::Bool(value),
        ScalarKind::Integer => match integer(text) {
            Ok(value) => value,
            Err(message) => {
                findings.push(Finding::error(span, message).hint(format!(
                    "quote it to keep it as text: \"{}\"",
                    shortened(text)
                )));
                Value::Null
            }
        },
        ScalarKind::Float => float(text, span, findings),
        ScalarKind::Text => {
            if scalar.style == Style::Plain && scalar.tag.is_none() {
                warn_of_other_readings(text, span, findings);
            }
            Value::String(text.to_owned())
        }
    };
    let fits = match scalar.tag.as_deref() {
        None | Some("str") => true,
        Some("null") => value.is_null(),
        Some("bool") => value.is_boolean(),
        Some("int") => value.is_i64() || value.is_u64(),
        Some(_) => value.is_number(),
    };
    if !fits {
        findings.push(Finding::error(
            span,
            format!(
                "{:?} is not what its tag `!!{}` says",
                shortened(text),
                scalar.tag.as_deref().unwrap_or_default()
            ),
        ));
    }
    value
}

fn integer(text: &str) -> Result<Value, String> {
    let too_large = || {
        format!(
            "the number {} is too large to be kept exactly",
            shortened(text)
        )
    };
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8)
            .map(Value::from)
            .map_err(|_| too_large());
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16)
            .map(Value::from)
            .map_err(|_| too_large());
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.len() > 1 && unsigned.starts_with('0') {
        return Err(format!(
            "the number {} starts with a zero: some readers take it as octal, others do not",
            shortened(text)
        ));
    }
    text.parse::<i64>()
        .map(Value::from)
        .or_else(|_| text.parse::<u64>().map(Value::from))
        .map_err(|_| too_large())
}

/// A float without a fraction as an integer, as far as floats tell integers apart.
fn whole(number: serde_json::Number) -> serde_json::Number {
    const MOST: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(value) if value.fract() == 0.0 && value.abs() <= MOST => format!("{value:.0}")
            .parse::<i64>()
            .map_or(number, serde_json::Number::from),
        _ => number,
    }
}

fn float(text: &str, span: Span, findings: &mut Vec<Finding>) -> Value {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
    let Some(number) = value.and_then(serde_json::Number::from_f64) else {
        findings.push(
            Finding::error(
                span,
                format!("{} is not a number that can be passed on", shortened(text)),
            )
            .hint(format!(
                "quote it to keep it as text: \"{}\"",
                shortened(text)
            )),
        );
        return Value::Null;
    };
    // As Helm has it: a number without a fraction is written without one.
    let number = whole(number);
    let written = number.to_string();
    if written != text {
        findings.push(
            Finding::warning(
                span,
                format!("the number {} is rendered as {written}", shortened(text)),
            )
            .hint(format!(
                "quote it if it is a text such as a version: \"{}\"",
                shortened(text)
            )),
        );
    }
    Value::Number(number)
}

fn warn_of_other_readings(text: &str, span: Span, findings: &mut Vec<Finding>) {
    let lower = text.to_ascii_lowercase();
    let meaning = match lower.as_str() {
        "y" | "yes" | "on" => Some("true"),
        "n" | "no" | "off" => Some("false"),
        _ => None,
    };
    if let Some(meaning) = meaning {
        findings.push(
            Finding::warning(
                span,
                format!("{text} is text here, but a boolean for readers of YAML 1.1"),
            )
            .hint(format!("write {meaning}, or quote it: \"{text}\"")),
        );
    } else if text.contains('_') && is_integer(&text.replace('_', "")) {
        findings.push(
            Finding::warning(
                span,
                format!(
                    "{} is text here, but a number for readers of YAML 1.1",
                    shortened(text)
                ),
            )
            .hint("leave out the underscores, or quote it"),
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml::{Rules, parse};

    fn json(text: &str) -> (Value, Vec<String>) {
        let parsed = parse(text, &Rules::OWN);
        assert_eq!(parsed.findings, []);
        let mut findings = Vec::new();
        let value = to_json(&parsed.documents[0], &mut findings);
        (value, findings.iter().map(|f| f.message.clone()).collect())
    }

    #[test]
    fn scalars_follow_yaml_1_2() {
        for (text, value) in [
            ("true", Value::Bool(true)),
            ("False", Value::Bool(false)),
            ("~", Value::Null),
            ("12", 12.into()),
            ("-7", (-7).into()),
            ("+7", 7.into()),
            ("0", 0.into()),
            ("0x1F", 31.into()),
            ("0o17", 15.into()),
            ("9223372036854775807", i64::MAX.into()),
            ("18446744073709551615", u64::MAX.into()),
            ("1.5", 1.5.into()),
            ("'12'", "12".into()),
            ("!!str 12", "12".into()),
            ("! 12", "12".into()),
            ("12:30:45", "12:30:45".into()),
            ("2001-01-01", "2001-01-01".into()),
            ("1.2.3", "1.2.3".into()),
            (".", ".".into()),
        ] {
            assert_eq!(json(text), (value, vec![]), "{text}");
        }
    }

    #[test]
    fn what_would_change_silently_is_said() {
        for (text, message) in [
            (
                "no",
                "no is text here, but a boolean for readers of YAML 1.1",
            ),
            (
                "On",
                "On is text here, but a boolean for readers of YAML 1.1",
            ),
            (
                "1_000",
                "1_000 is text here, but a number for readers of YAML 1.1",
            ),
            ("1.10", "the number 1.10 is rendered as 1.1"),
            ("1e3", "the number 1e3 is rendered as 1000"),
            (
                "0.12345678901234567890123",
                "the number 0.12345678901234567890123 is rendered as 0.12345678901234568",
            ),
            (
                "010",
                "the number 010 starts with a zero: some readers take it as octal, others do not",
            ),
            (
                "18446744073709551616",
                "the number 18446744073709551616 is too large to be kept exactly",
            ),
            ("1e999", "1e999 is not a number that can be passed on"),
            (".nan", ".nan is not a number that can be passed on"),
            ("-.inf", "-.inf is not a number that can be passed on"),
            ("!!int x", "\"x\" is not what its tag `!!int` says"),
        ] {
            assert_eq!(json(text).1, [message], "{text}");
        }
    }

    /// Any JSON, with texts that YAML has other ideas about.
    fn any_json() -> impl Strategy<Value = Value> {
        let tricky = prop::sample::select(vec![
            "no",
            "yes",
            "on",
            "~",
            "null",
            "",
            " ",
            "true",
            "1.10",
            "010",
            "1_000",
            "12:30",
            "2001-01-01",
            "{{values.x}}",
            "<<",
            "- a",
            "a: b",
            "# x",
            "*x",
            "&x",
            "!x",
            "|",
            ">",
            "@",
            "`",
            "'",
            "\"",
            "\\",
            "a\nb",
            "\n",
            "\ttab",
            "trailing ",
            "\u{2028}",
            "\u{e9}",
            "---",
            "...",
            "%x",
            "a\r\nb",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            tricky.prop_map(Value::from),
            "[ -~]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z.~-]{1,6}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_json()) {
            let text = serde_yaml::to_string(&value).unwrap();
            let parsed = parse(&text, &Rules { merge_keys: true, ..Rules::OWN });
            prop_assert_eq!(&parsed.findings, &[], "{}", text);
            let read = to_json(&parsed.documents[0], &mut Vec::new());
            prop_assert_eq!(read, value, "{}", text);
        }

        #[test]
        fn json_is_yaml(value in any_json()) {
            let text = serde_json::to_string_pretty(&value).unwrap();
            let parsed = parse(&text, &Rules::OWN);
            prop_assert_eq!(&parsed.findings, &[], "{}", text);
            let read = to_json(&parsed.documents[0], &mut Vec::new());
            prop_assert_eq!(read, value, "{}", text);
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_survive(number in any::<i64>()) {
            let (value, findings) = json(&number.to_string());
            prop_assert_eq!(value, Value::from(number));
            prop_assert_eq!(findings, Vec::<String>::new());
        }
    }
}
