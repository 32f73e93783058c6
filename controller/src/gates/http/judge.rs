//! What an answer says, in the contract's order.

use serde_json::Value;
use tidegate_renderer::text::harmless;
use tidegate_waves::fleet::HttpCheck;
use tidegate_waves::gate::{Reading, Sample};

use crate::gates::shown::line;
use crate::secret::Mask;

/// The longest evidence, in characters.
const LONGEST_EVIDENCE: usize = 200;
/// The longest that one value may stand in it, in characters.
const LONGEST_VALUE: usize = 60;

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// Its status.
    pub(crate) status: u16,
    /// Its body.
    pub(crate) body: &'a [u8],
    /// What was sent along and must not be shown, though the answer may repeat it.
    pub(crate) mask: &'a Mask,
}

/// Whether a status sends the asker elsewhere.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 300..=303 | 305..=308)
}

/// Judges an answer that is no redirect and not too large.
pub(crate) fn judge(check: &HttpCheck, older: &[HttpCheck], answer: &Answer) -> Sample {
    let body: Option<Value> = if check.expect.json.is_empty() {
        None
    } else {
        serde_json::from_slice(answer.body).ok()
    };
    let show = |value: &Value| show(value, answer.mask);
    let found = |pointer: &str| body.as_ref().and_then(|body| body.pointer(pointer));

    // Only a pointer that both gates, this one and an older, compare tells revisions apart: of one that is new nobody knows
    // what the old revision answers.
    let telling: Vec<Vec<(&str, &Value, &Value)>> = older
        .iter()
        .map(|before| {
            let pointers = check.expect.json.iter();
            pointers
                .filter_map(|(pointer, new)| {
                    let old = before.expect.json.get(pointer)?;
                    (!equal(new, old)).then_some((pointer.as_str(), new, old))
                })
                .collect()
        })
        .collect();
    for (pointer, new, old) in telling.iter().flatten() {
        if let Some(value) = found(pointer)
            && equal(value, old)
        {
            return sample(
                Reading::Stale,
                &format!("{pointer} is {}, expected {}", show(value), show(new)),
            );
        }
    }

    if !check.expect.status.contains(&answer.status) {
        return sample(Reading::Bad, &format!("answered {}", answer.status));
    }
    if !check.expect.json.is_empty() && body.is_none() {
        return sample(
            Reading::Bad,
            &format!("answered {}, but not with JSON", answer.status),
        );
    }
    for (pointer, expected) in &check.expect.json {
        let Some(value) = found(pointer) else {
            return sample(
                Reading::Bad,
                &format!("{pointer} is missing, expected {}", show(expected)),
            );
        };
        if !equal(value, expected) {
            return sample(
                Reading::Bad,
                &format!("{pointer} is {}, expected {}", show(value), show(expected)),
            );
        }
    }
    // Proven is what none of them would answer.
    let proven = !telling.is_empty() && telling.iter().all(|telling| !telling.is_empty());
    let evidence = match telling.iter().flatten().next().filter(|_| proven) {
        Some((pointer, new, _)) => {
            format!("answered {}, {pointer} is {}", answer.status, show(new))
        }
        None => format!("answered {}", answer.status),
    };
    sample(Reading::Healthy { proven }, &evidence)
}

/// The sample of an answer that sends elsewhere.
pub(super) fn redirected(status: u16) -> Sample {
    sample(
        Reading::Unreachable,
        &format!("answered {status}, a redirect; gates follow none"),
    )
}

/// The sample of an answer that is too large.
pub(super) fn oversize(status: u16) -> Sample {
    sample(
        Reading::Unreachable,
        &format!("answered {status} with more than 1 MiB"),
    )
}

/// A sample whose evidence is one plain line.
pub(super) fn sample(reading: Reading, evidence: &str) -> Sample {
    Sample {
        reading,
        evidence: line(evidence, LONGEST_EVIDENCE),
    }
}

/// Equality of JSON values, in which a string also equals a number or boolean with the same text.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::String(text), Value::Number(number))
        | (Value::Number(number), Value::String(text)) => *text == number.to_string(),
        (Value::String(text), Value::Bool(truth)) | (Value::Bool(truth), Value::String(text)) => {
            *text == truth.to_string()
        }
        // 1 and 1.0 are the same number.
        (Value::Number(left), Value::Number(right)) => {
            left == right || ((left.is_f64() || right.is_f64()) && left.as_f64() == right.as_f64())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => left == right,
    }
}

/// A value as evidence shows it.
fn show(value: &Value, mask: &Mask) -> String {
    // Made plain first: what hides a secret from the mask must not be taken out behind it.
    line(&mask.hide(&plain(&value.to_string())), LONGEST_VALUE)
}

/// The text without control characters, and without marks that deceive.
fn plain(text: &str) -> String {
    text.chars().filter_map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;
    use tidegate_waves::fleet::HttpExpect;

    use super::*;

    fn check(json: &[(&str, Value)]) -> HttpCheck {
        HttpCheck {
            endpoint: None,
            url: "http://region/healthz".to_owned(),
            method: "GET".to_owned(),
            headers: BTreeMap::new(),
            expect: HttpExpect {
                status: vec![200, 204],
                json: json
                    .iter()
                    .map(|(pointer, value)| ((*pointer).to_owned(), value.clone()))
                    .collect(),
            },
        }
    }

    fn read(
        new: &HttpCheck,
        old: Option<&HttpCheck>,
        status: u16,
        body: &str,
    ) -> (Reading, String) {
        let answer = Answer {
            status,
            body: body.as_bytes(),
            mask: &Mask::of(["token-of-the-operator"]),
        };
        let older: Vec<HttpCheck> = old.into_iter().cloned().collect();
        let sample = judge(new, &older, &answer);
        (sample.reading, sample.evidence)
    }

    const UNPROVEN: Reading = Reading::Healthy { proven: false };
    const PROVEN: Reading = Reading::Healthy { proven: true };

    #[test]
    fn statuses_alone() {
        let plain = check(&[]);
        assert_eq!(
            read(&plain, None, 204, ""),
            (UNPROVEN, "answered 204".into())
        );
        assert_eq!(
            read(&plain, None, 500, "secret"),
            (Reading::Bad, "answered 500".into())
        );
        assert_eq!(read(&plain, Some(&plain), 200, "x").0, UNPROVEN);
    }

    #[test]
    fn what_an_answer_repeats_of_our_token_is_not_shown() {
        let new = check(&[("/version", json!("2"))]);
        let old = check(&[("/version", json!("token-of-the-operator"))]);
        let body = r#"{"version":"token-of-the-operator"}"#;
        for last_good in [None, Some(&old)] {
            let (_, evidence) = read(&new, last_good, 200, body);
            assert_eq!(evidence, r#"/version is "***", expected "2""#);
        }
        let hidden = r#"{"version":"token-of\u200b-the-operator"}"#;
        let (_, evidence) = read(&new, None, 200, hidden);
        assert_eq!(evidence, r#"/version is "***", expected "2""#);
        let (_, evidence) = read(&check(&[("/version/token", json!(1))]), None, 200, body);
        assert!(evidence.contains("is missing"), "{evidence}");
    }

    #[test]
    fn each_tree_that_a_region_may_still_run_is_an_older_revision() {
        let of = |version: &str| check(&[("/version", json!(version))]);
        let judged = |new: &str, body: &str| {
            let answer = Answer {
                status: 200,
                body: body.as_bytes(),
                mask: &Mask::default(),
            };
            judge(&of(new), &[of("v1"), of("v2")], &answer).reading
        };
        assert_eq!(judged("v3", r#"{"version":"v1"}"#), Reading::Stale);
        assert_eq!(judged("v3", r#"{"version":"v2"}"#), Reading::Stale);
        assert_eq!(judged("v3", r#"{"version":"v3"}"#), PROVEN);
        assert_eq!(judged("v3", r#"{"version":"v4"}"#), Reading::Bad);
        // Back to the last good: its own answer is the right one, and shows nothing.
        assert_eq!(judged("v1", r#"{"version":"v1"}"#), UNPROVEN);
        assert_eq!(judged("v1", r#"{"version":"v2"}"#), Reading::Stale);
    }

    #[test]
    fn a_revision_that_can_be_read_is_stale_or_proven() {
        let (old, new) = (
            check(&[("/version", json!("v1"))]),
            check(&[("/version", json!("v2"))]),
        );
        assert_eq!(
            read(&new, Some(&old), 200, r#"{"version":"v1"}"#),
            (Reading::Stale, r#"/version is "v1", expected "v2""#.into())
        );
        assert_eq!(
            read(&new, Some(&old), 503, r#"{"version":"v1"}"#).0,
            Reading::Stale
        );
        assert_eq!(
            read(&new, Some(&old), 200, r#"{"version":"v2"}"#),
            (PROVEN, r#"answered 200, /version is "v2""#.into())
        );
        assert_eq!(
            read(&new, Some(&old), 200, r#"{"version":"v3"}"#),
            (Reading::Bad, r#"/version is "v3", expected "v2""#.into())
        );
        assert_eq!(
            read(&new, Some(&old), 503, r#"{"version":"v2"}"#).0,
            Reading::Bad
        );
        assert_eq!(
            read(&new, Some(&old), 200, "{}"),
            (Reading::Bad, r#"/version is missing, expected "v2""#.into())
        );
        // Without a last good, or with one that compares nothing there, nothing tells them apart.
        assert_eq!(read(&new, None, 200, r#"{"version":"v2"}"#).0, UNPROVEN);
        assert_eq!(
            read(&new, Some(&check(&[])), 200, r#"{"version":"v2"}"#).0,
            UNPROVEN
        );
        assert_eq!(read(&new, None, 200, r#"{"version":"v1"}"#).0, Reading::Bad);
    }

    #[test]
    fn values_that_only_look_different_tell_nothing_apart() {
        let (old, new) = (check(&[("/n", json!(1))]), check(&[("/n", json!("1"))]));
        assert_eq!(read(&new, Some(&old), 200, r#"{"n":1}"#).0, UNPROVEN);
    }

    #[test]
    fn one_old_value_of_several_is_stale() {
        let old = check(&[("/a", json!(1)), ("/b", json!(1))]);
        let new = check(&[("/a", json!(2)), ("/b", json!(2))]);
        assert_eq!(
            read(&new, Some(&old), 200, r#"{"a":2,"b":1}"#).0,
            Reading::Stale
        );
        assert_eq!(read(&new, Some(&old), 200, r#"{"a":2,"b":2}"#).0, PROVEN);
    }

    #[test]
    fn html_with_status_200_is_bad() {
        let json = check(&[("/version", json!("v2"))]);
        for body in [
            "",
            "<html>secret</html>",
            "NaN",
            "{\"version\": 1e999}",
            "\u{feff}{}",
        ] {
            let (reading, evidence) = read(&json, None, 200, body);
            assert_eq!(reading, Reading::Bad);
            assert!(!evidence.contains("secret"));
        }
        let deep = "[".repeat(100_000);
        assert_eq!(read(&json, None, 200, &deep).0, Reading::Bad);
    }

    #[test]
    fn strings_equal_numbers_and_booleans_of_the_same_text() {
        for (left, right) in [
            (json!("1"), json!(1)),
            (json!("true"), json!(true)),
            (json!("1.5"), json!(1.5)),
            (json!(1), json!(1.0)),
            (json!({"a": ["1"]}), json!({"a": [1]})),
            (json!(null), json!(null)),
        ] {
            assert!(
                equal(&left, &right) && equal(&right, &left),
                "{left} {right}"
            );
        }
        for (left, right) in [
            (json!("01"), json!(1)),
            (json!("null"), json!(null)),
            (json!(0), json!(false)),
            (json!(""), json!(null)),
            (json!({"a": 1}), json!({"a": 1, "b": 1})),
            (
                json!(9_007_199_254_740_993_u64),
                json!(9_007_199_254_740_992_u64),
            ),
            (json!("True"), json!(true)),
        ] {
            assert!(
                !equal(&left, &right) && !equal(&right, &left),
                "{left} {right}"
            );
        }
    }

    proptest! {
        #[test]
        fn evidence_is_one_short_plain_line(text in any::<String>(), status in 200_u16..600) {
            let new = check(&[("/v", json!("wanted"))]);
            let body = json!({ "v": text }).to_string();
            let (_, evidence) = read(&new, None, status, &body);
            prop_assert!(evidence.chars().count() <= LONGEST_EVIDENCE);
            prop_assert!(!evidence.chars().any(char::is_control));
        }

        #[test]
        fn no_body_panics(body in any::<Vec<u8>>()) {
            let new = check(&[("/v", json!("wanted"))]);
            let _ = judge(&new, std::slice::from_ref(&new), &Answer { status: 200, body: &body, mask: &Mask::default() });
        }
    }
}
