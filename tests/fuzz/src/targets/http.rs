//! What regions, forges and receivers of alerts answer.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tidegate_controller::alerts::event::Event;
use tidegate_controller::fuzzing;
use tidegate_controller::gates::egress::EgressRules;
use tidegate_controller::secret::Secret;
use tidegate_waves::fleet::{HttpCheck, HttpExpect};
use tidegate_waves::gate::Reading;

use super::checks::is_plain;
use super::parts::{part, parts};

/// A token that nothing may show.
const TOKEN: &str = "hunter2-token";

/// The longest that anybody may ask to be left alone.
const HOUR: Duration = Duration::from_secs(3600);

fn number(bytes: &[u8]) -> Option<u16> {
    String::from_utf8_lossy(bytes).trim().parse().ok()
}

fn check(expect: &[u8]) -> Option<HttpCheck> {
    let expect: HttpExpect = serde_json::from_slice(expect).ok()?;
    Some(HttpCheck {
        endpoint: None,
        url: "https://west.example.com/healthz".to_owned(),
        method: "GET".to_owned(),
        headers: std::collections::BTreeMap::new(),
        expect,
    })
}

/// Only an answer that has all that is expected is healthy; evidence is one short plain line.
pub(super) fn gate_answers(input: &[u8]) {
    let parts = parts(input);
    let Some(now) = check(part(&parts, "expect")) else {
        return;
    };
    let older: Vec<_> = ["lastGood", "superseded"]
        .into_iter()
        .filter_map(|name| check(part(&parts, name)))
        .collect();
    let status = number(part(&parts, "status")).unwrap_or(200);
    let body = part(&parts, "body");
    let sample = fuzzing::gate_answer(&now, &older, status, body);
    is_plain(&sample.evidence);
    assert!(sample.evidence.chars().count() <= 200);
    let json: Option<Value> = serde_json::from_slice(body).ok();
    match sample.reading {
        Reading::Healthy { proven } => {
            assert!(now.expect.status.contains(&status));
            for pointer in now.expect.json.keys() {
                let found = json.as_ref().and_then(|json| json.pointer(pointer));
                assert!(found.is_some(), "{pointer} is not in the answer");
            }
            assert!(!proven || !older.is_empty());
        }
        Reading::Stale => assert!(!older.is_empty() && json.is_some()),
        Reading::Bad => {}
        Reading::Sick
        | Reading::Unreachable
        | Reading::EgressDenied
        | Reading::Progressing
        | Reading::Unknown => super::checks::panic_with("an answer that came is good, old or bad"),
    }
}

/// What a forge tells is read, and its addresses are plain.
pub(super) fn forge_answers(input: &[u8]) {
    for pull in fuzzing::forge_answers(input) {
        is_plain(&pull.url);
    }
}

/// Refusals: `Name: value` lines in the part `headers`. Nothing shows the token, nobody is left alone for more than an hour.
pub(super) fn forge_refusals(input: &[u8]) {
    let parts = parts(input);
    let mut headers = HeaderMap::new();
    for line in part(&parts, "headers").split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        if let Ok(name) = HeaderName::from_bytes(name)
            && let Ok(value) = HeaderValue::from_bytes(value.get(1..).unwrap_or_default())
        {
            headers.insert(name, value);
        }
    }
    let status = number(part(&parts, "status"))
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::FORBIDDEN);
    let token = Secret::new(TOKEN);
    let error = fuzzing::forge_refusal(status, &headers, part(&parts, "body"), Some(&token));
    let said = error.to_string();
    is_plain(&said);
    assert!(!said.contains(TOKEN), "{said}");
    assert!(error.retry_after().is_none_or(|after| after <= HOUR));
    assert!(fuzzing::receiver_pause(&headers).is_none_or(|after| after <= HOUR));
}

/// Whatever a gate writes, it stays below the endpoint that it names; and an address that is written as one is judged.
pub(super) fn endpoint_urls(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(base) = Url::parse("https://west.example.com/health/") {
        match fuzzing::endpoint_url(&base, text) {
            Ok(url) => {
                assert_eq!(url.origin(), base.origin(), "{url}");
                assert!(url.username().is_empty() && url.password().is_none());
                assert!(
                    url.path() == "/health" || url.path().starts_with("/health/"),
                    "{url}"
                );
                let decoded = url
                    .path()
                    .to_ascii_lowercase()
                    .replace("%2e", ".")
                    .replace("%2f", "/")
                    .replace("%5c", "/");
                assert!(decoded.split('/').all(|part| part != ".."), "{url}");
            }
            Err(sample) => is_plain(&sample.evidence),
        }
    }
    // However an address is written, the one that is checked is the one that a client connects to.
    if let Ok(url) = Url::parse(text) {
        let literal = fuzzing::literal_address(&url);
        assert_eq!(
            literal.is_some(),
            matches!(url.host_str(), Some(host) if host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()),
            "{url}"
        );
        if let Some(address) = literal {
            let canonical = address.to_canonical();
            if canonical.is_loopback() || canonical.is_unspecified() {
                assert!(EgressRules::default().check(address).is_err(), "{url}");
            }
        }
    }
}

/// An event from the outbox becomes messages within their receivers' limits, in which nothing from outside is markup.
pub(super) fn alerts(input: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Event>(input) else {
        return;
    };
    let message = fuzzing::slack_message(&event);
    let blocks = message.get("blocks").and_then(Value::as_array);
    assert!(blocks.is_some_and(|blocks| !blocks.is_empty() && blocks.len() <= 50));
    let link = event.links.commit.as_deref().unwrap_or_default();
    texts(&message, &mut |kind, text| {
        let longest = if kind == "plain_text" { 150 } else { 3000 };
        assert!(text.chars().count() <= longest, "{text}");
        if kind == "mrkdwn" {
            for (at, _) in text.match_indices('<') {
                let opens = text.get(at + 1..).unwrap_or_default();
                assert!(
                    !link.is_empty() && !opens.starts_with(['!', '@', '#']),
                    "{text}"
                );
            }
        }
    });
    let body = fuzzing::webhook_body(&event);
    let read: Option<Value> = serde_json::from_str(&body).ok();
    assert_eq!(
        read.as_ref()
            .and_then(|body| body.get("id"))
            .and_then(Value::as_str),
        Some(event.id.as_str())
    );
}

/// Every text object of a message: its type and its text.
fn texts(value: &Value, found: &mut impl FnMut(&str, &str)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(map) => {
            if let (Some(Value::String(kind)), Some(Value::String(text))) =
                (map.get("type"), map.get("text"))
            {
                found(kind, text);
            }
            map.values().for_each(|value| texts(value, found));
        }
        _ => {}
    }
}
