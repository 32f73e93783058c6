//! `http` of a gate.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_waves::fleet::{HttpCheck, HttpExpect};

use super::super::reader::Reader;
use super::{Wrong, has_expression, is_template};
use crate::yaml::{Node, Spanned, shortened, to_json};

const HTTP_FIELDS: &[&str] = &["url", "endpoint", "method", "headers", "expect"];

pub(super) fn check(reader: &Reader, node: &Spanned<Node>, gate: &str) -> Option<HttpCheck> {
    let fields = reader.fields(node, format!("`http` of {gate}"), HTTP_FIELDS)?;
    let endpoint = fields.text("endpoint").map(str::to_owned);
    let url = fields.required_text("url").map(|(node, url)| {
        if has_credentials(url) {
            // Not quoted: messages travel further than the repo.
            reader.error_with_hint(
                node.span,
                format!("{} contains credentials", fields.called("url")),
                "secrets do not belong into the config repo: let the operator define an `endpoint`",
            );
        } else if let Err((message, hint)) = check_url(url, fields.get("endpoint").is_some()) {
            reader.error_with_hint(
                node.span,
                format!("{} {message}: {:?}", fields.called("url"), shortened(url)),
                hint,
            );
        }
        url.to_owned()
    });
    let method = fields.text("method").unwrap_or("GET").to_owned();
    if !is_template(&method)
        && !is_token(&method)
        && let Some(node) = fields.get("method")
    {
        reader.error_with_hint(
            node.span,
            format!(
                "{} is no HTTP method: {:?}",
                fields.called("method"),
                shortened(&method)
            ),
            "write GET, HEAD or POST",
        );
    }
    let headers = fields
        .get("headers")
        .map(|node| headers(reader, node, &fields.called("headers")))
        .unwrap_or_default();
    let expect = fields
        .get("expect")
        .map_or_else(HttpExpect::default, |node| expect(reader, node, gate));
    Some(HttpCheck {
        endpoint,
        url: url?,
        method,
        headers,
        expect,
    })
}

/// RFC 9110's `token`: what methods and header names are made of.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether a user or password stands before the host.
fn has_credentials(url: &str) -> bool {
    url.split_once("://").is_some_and(|(_, rest)| {
        rest.split(['/', '?', '#'])
            .next()
            .is_some_and(|authority| authority.contains('@'))
    })
}

/// Checks as much of a URL as stands before its first expression.
fn check_url(url: &str, has_endpoint: bool) -> Result<(), (&'static str, &'static str)> {
    let (known, whole) = match url.split_once("{{") {
        Some((known, _)) => (known, false),
        None => (url, true),
    };
    if known.chars().any(char::is_whitespace) {
        return Err(("contains a blank", "write %20 for a blank"));
    }
    if has_endpoint {
        if known.contains("://") || known.starts_with("//") {
            return Err((
                "must be relative, because there is an `endpoint`",
                "write the path only, such as /healthz, or remove `endpoint`",
            ));
        }
        return Ok(());
    }
    let scheme_hint = "write https://HOST/PATH, or name an `endpoint` of the operator's settings";
    let lower = known.to_ascii_lowercase();
    let after_scheme = ["https://", "http://"]
        .iter()
        .find_map(|scheme| lower.strip_prefix(scheme));
    let Some(rest) = after_scheme else {
        // `{{values.url}}` or `http{{…}}`: nothing can be said yet.
        let may_become_one = !whole
            && ["https://", "http://"]
                .iter()
                .any(|scheme| scheme.starts_with(&lower));
        if may_become_one {
            return Ok(());
        }
        return Err(("must be an absolute http or https URL", scheme_hint));
    };
    let authority_ends = rest.find(['/', '?', '#']);
    let authority = rest
        .get(..authority_ends.unwrap_or(rest.len()))
        .unwrap_or_default();
    if (whole || authority_ends.is_some()) && authority.split(':').next().is_none_or(str::is_empty)
    {
        return Err(("has no host", scheme_hint));
    }
    Ok(())
}

/// What is wrong with it once its strings are resolved.
pub(super) fn check_resolved(check: &HttpCheck, wrong: Wrong<'_>) {
    if has_credentials(&check.url) {
        wrong(
            &["http", "url"],
            "the URL contains credentials",
            "secrets do not belong into the config repo: let the operator define an `endpoint`",
        );
    } else if let Err((message, hint)) = check_url(&check.url, check.endpoint.is_some()) {
        wrong(
            &["http", "url"],
            &format!("the URL {message}: {:?}", shortened(&check.url)),
            hint,
        );
    }
    if !is_token(&check.method) {
        wrong(
            &["http", "method"],
            "this is no HTTP method",
            "write GET, HEAD or POST",
        );
    }
    for (name, value) in &check.headers {
        if value.chars().any(char::is_control) {
            wrong(
                &["http", "headers", name],
                "the header contains a line break or another control character",
                "write one line of text",
            );
        }
    }
}

fn headers(reader: &Reader, node: &Spanned<Node>, what: &str) -> BTreeMap<String, String> {
    for pair in node.value.as_mapping().unwrap_or_default() {
        if !is_token(&pair.key.value) {
            reader.error(
                pair.key.span,
                format!(
                    "{:?} is no name of an HTTP header",
                    shortened(&pair.key.value)
                ),
            );
        }
    }
    let headers = reader.text_map(node, what).unwrap_or_default();
    for pair in node.value.as_mapping().unwrap_or_default() {
        if headers
            .get(&*pair.key.value)
            .is_some_and(|value| value.chars().any(char::is_control))
        {
            reader.error(
                pair.value.span,
                format!(
                    "header {} contains a line break or another control character",
                    shortened(&pair.key.value)
                ),
            );
        }
    }
    headers
}

const EXPECT_FIELDS: &[&str] = &["status", "json"];

fn expect(reader: &Reader, node: &Spanned<Node>, gate: &str) -> HttpExpect {
    let mut expect = HttpExpect::default();
    let Some(fields) = reader.fields(node, format!("`expect` of {gate}"), EXPECT_FIELDS) else {
        return expect;
    };
    if let Some(node) = fields.get("status")
        && !has_expression(node)
    {
        expect.status = statuses(reader, node, &fields.called("status"));
    }
    if let Some(node) = fields.get("json") {
        expect.json = pointers(reader, node, &fields.called("json"));
    }
    expect
}

fn statuses(reader: &Reader, node: &Spanned<Node>, what: &str) -> Vec<u16> {
    let one = |node| {
        let number = reader.number(node, what, 100, 599)?;
        u16::try_from(number).ok()
    };
    match node.value.as_sequence() {
        Some([]) => {
            reader.error_with_hint(
                node.span,
                format!("{what} is an empty list: no answer could be healthy"),
                "write 200, or a list such as [200, 204]",
            );
            Vec::new()
        }
        Some(items) => items.iter().filter_map(one).collect(),
        None => one(node).into_iter().collect(),
    }
}

fn pointers(reader: &Reader, node: &Spanned<Node>, what: &str) -> BTreeMap<String, Value> {
    let Some(pairs) = node.value.as_mapping() else {
        reader.error_with_hint(
            node.span,
            format!("{what} must be a mapping, found {}", node.value.described()),
            "write { /path/to/field: value }",
        );
        return BTreeMap::new();
    };
    let mut pointers = BTreeMap::new();
    for pair in pairs {
        let pointer = &*pair.key.value;
        // RFC 6901: `~` only as `~0` or `~1`.
        let escapes_are_good = pointer
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with(['0', '1']));
        if !pointer.starts_with('/') {
            reader.error_with_hint(
                pair.key.span,
                format!("{:?} is no JSON pointer", shortened(pointer)),
                format!(
                    "a pointer starts with a slash: /{}",
                    shortened(&pointer.replace('.', "/"))
                ),
            );
        } else if !escapes_are_good {
            reader.error_with_hint(
                pair.key.span,
                format!("{:?} is no JSON pointer", shortened(pointer)),
                "write ~0 for a tilde and ~1 for a slash within a name",
            );
        }
        let mut findings = Vec::new();
        let value = to_json(&pair.value, &mut findings);
        reader.findings(findings);
        pointers.insert(pointer.to_owned(), value);
    }
    pointers
}
