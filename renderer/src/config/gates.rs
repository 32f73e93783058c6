//! The gates of a fleet's document. Their strings are templates, resolved for each region later;
//! what can be checked before that is checked here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use tidegate_waves::fleet::{Gate, GateCheck, HttpCheck, HttpExpect, Sampling};

use super::reader::{Fields, Reader, SourceFile};
use crate::problem::{Problem, Severity};
use crate::yaml::{Node, Span, Spanned, shortened, to_json};

const GATE_FIELDS: &[&str] = &[
    "name",
    "http",
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
const LATER_TYPES: [&str; 8] = [
    "approval",
    "argocd",
    "argoCd",
    "azureMonitor",
    "metrics",
    "prometheus",
    "window",
    "workloads",
];

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
                "the only type of gate in this version is `http`",
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
        let check = if let Some(http) = fields.get("http") {
            http_check(reader, http, fields.what())
        } else {
            if fields.is_missing("http") {
                reader.error_with_hint(
                    fields.span,
                    format!("{} does not say what it checks", fields.what()),
                    "add `http: { url: … }`",
                );
            }
            None
        };
        let sampling = sampling(reader, &fields);
        if let (Some(name), Some(check)) = (name, check) {
            gates.push(Gate {
                name,
                check: GateCheck::Http(check),
                sampling,
            });
        }
    }
    (gates, names)
}

fn sampling(reader: &Reader, fields: &Fields<'_>) -> Sampling {
    let default = Sampling::default();
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

const HTTP_FIELDS: &[&str] = &["url", "endpoint", "method", "headers", "expect"];

fn http_check(reader: &Reader, node: &Spanned<Node>, gate: &str) -> Option<HttpCheck> {
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

fn has_expression(node: &Spanned<Node>) -> bool {
    let scalar = node.value.as_scalar();
    scalar.is_some_and(|scalar| is_template(&scalar.text))
}

/// Whether a text contains an expression, so that only its region's text can be judged.
fn is_template(text: &str) -> bool {
    text.contains("{{")
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

/// What is wrong with a gate whose strings are resolved: the path of the field, the message, and what
/// would be right. The values are not quoted: they may be secrets of the region's values.
pub(crate) fn check_resolved(gate: &Gate) -> Vec<(Vec<String>, String, &'static str)> {
    let mut found = Vec::new();
    let mut wrong = |path: &[&str], message: &str, hint| {
        let path = path.iter().map(|step| (*step).to_owned()).collect();
        found.push((path, message.to_owned(), hint));
    };
    let GateCheck::Http(check) = &gate.check;
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
    if gate.sampling.timeout > gate.sampling.every {
        wrong(
            &["timeout"],
            "the timeout is longer than `every`",
            "`timeout` (default 5s) may be at most `every` (default 10s)",
        );
    }
    found
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
