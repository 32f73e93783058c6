//! Questions to an API server, and what can go wrong with one.
//!
//! Answers are read here and not by the client, which logs what it cannot read: that may be a Secret.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tidegate_waves::gate::Reading;

use super::sent;
use crate::gates::egress::EgressRefused;
use crate::git::trailers::one_line;
use crate::http_answer::{retry_after, root_cause};
use crate::secret::Mask;

/// So many objects are asked for at once: an Application may have tens of kilobytes, and a read page takes several times that.
const PAGE: usize = 100;
/// The most bytes of one answer.
pub(crate) const LARGEST_ANSWER: usize = 64 << 20;
/// The most bytes of a refusal that are read.
const LARGEST_REFUSAL: usize = 64 << 10;
/// How often a list is begun that grows too old between two of its pages; whoever asks comes again later.
const MOST_BEGINNINGS: u32 = 3;
/// The most objects of one list: beyond that something is wrong with the question.
const MOST_OBJECTS: usize = 100_000;

/// Why there is no answer of use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The credentials are not accepted (401).
    #[error("the API server does not accept our credentials (401)")]
    Unauthorized,
    /// We may not ask this (403).
    #[error("we may not {0}")]
    Forbidden(String),
    /// We ask too much (429).
    #[error("the API server asks for patience (429)")]
    TooManyRequests {
        /// For how long, by its `Retry-After`; zero where it does not say.
        after: Duration,
    },
    /// Somebody else changed the object at the same time (409), or a test within a patch failed (422).
    #[error("the object was changed by somebody else meanwhile")]
    Conflict,
    /// The answer is an error of another kind.
    #[error("the API server answered {code}: {message}")]
    Answered {
        /// The HTTP status.
        code: u16,
        /// The server's words, on one line.
        message: String,
    },
    /// The server's name leads to addresses that may not be reached.
    #[error(transparent)]
    EgressDenied(EgressRefused),
    /// No answer came.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// An answer that is larger than anything that is asked for.
    #[error("the answer is larger than {} MiB", LARGEST_ANSWER >> 20)]
    TooLarge,
    /// An answer that is no JSON, or not what was asked for.
    #[error("the answer cannot be read")]
    Unreadable,
}

impl RequestError {
    /// What it says of a region's cluster.
    #[must_use]
    pub fn reading(&self) -> Reading {
        match self {
            Self::EgressDenied(_) => Reading::EgressDenied,
            _ => Reading::Unreachable,
        }
    }

    fn of(error: kube::Error) -> Self {
        if let Some(refused) = root_cause(&error).downcast_ref::<EgressRefused>() {
            return Self::EgressDenied(*refused);
        }
        match error {
            kube::Error::Auth(_) => Self::Unreachable(
                "the credentials cannot be got; see the kubeconfig's plugin".to_owned(),
            ),
            other => Self::Unreachable(one_line(&why(&other))),
        }
    }

    /// What a status that is no success means; of its body only the message of a `Status` of Kubernetes is shown.
    fn refusal(code: u16, after: Duration, body: &[u8], mask: &Mask) -> Self {
        let message = serde_json::from_slice::<Value>(body)
            .ok()
            .filter(|status| status.get("kind").and_then(Value::as_str) == Some("Status"))
            .and_then(|status| Some(one_line(&mask.hide(status.get("message")?.as_str()?))))
            .unwrap_or_default();
        match code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden(without_user(&message)),
            429 => Self::TooManyRequests { after },
            409 | 422 => Self::Conflict,
            code => Self::Answered { code, message },
        }
    }
}

/// The message of a refusal begins with the object and tells who we are; what we may not do stands behind.
fn without_user(message: &str) -> String {
    match message.split_once(" cannot ") {
        Some((_, rest)) => rest.to_owned(),
        None => "ask that".to_owned(),
    }
}

/// Why there was no answer, or not all of it.
fn why(error: &(dyn std::error::Error + 'static)) -> String {
    let cause = root_cause(error);
    let is_cut = cause
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof);
    if is_cut {
        // The library's own words are about TLS, and lead to its manual.
        return "the connection ended before the whole answer was there".to_owned();
    }
    cause.to_string()
}

async fn ask(
    client: &Client,
    method: Method,
    path: &str,
    content_type: Option<&str>,
    body: Vec<u8>,
) -> Result<Value, RequestError> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    let request = request
        .body(body)
        .map_err(|error| RequestError::Unreachable(error.to_string()))?;
    let response = client
        .send(request.map(Body::from))
        .await
        .map_err(RequestError::of)?;
    let status = response.status();
    let mask = sent::mask(&response);
    let after = retry_after(response.headers(), Timestamp::now()).unwrap_or_default();
    let limit = if status.is_success() {
        LARGEST_ANSWER
    } else {
        LARGEST_REFUSAL
    };
    let body = Limited::new(response.into_body(), limit);
    let bytes = body
        .collect()
        .await
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                RequestError::TooLarge
            } else {
                RequestError::Unreachable(one_line(&why(error.as_ref())))
            }
        })?
        .to_bytes();
    if !status.is_success() {
        return Err(RequestError::refusal(status.as_u16(), after, &bytes, &mask));
    }
    read_answer(&bytes, &mask).ok_or(RequestError::Unreadable)
}

/// The JSON of an answer, in which what it repeats of what we sent is hidden; `None` if it is none.
pub(crate) fn read_answer(bytes: &[u8], mask: &Mask) -> Option<Value> {
    let mut answer = serde_json::from_slice(bytes).ok()?;
    if std::str::from_utf8(bytes).is_ok_and(|text| mask.is_needed_in(text)) {
        hide(mask, &mut answer);
    }
    Some(answer)
}

/// Hides in all texts of an answer what we were authorised with. What Secrets hold is never shown, and may well be that.
fn hide(mask: &Mask, value: &mut Value) {
    match value {
        Value::String(text) if mask.is_needed_in(text) => *text = mask.hide(text),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(mask, item)),
        Value::Object(fields) => {
            let kind = fields.get("kind").and_then(Value::as_str);
            if !matches!(kind, Some("Secret" | "SecretList")) {
                fields.values_mut().for_each(|field| hide(mask, field));
            }
        }
        _ => {}
    }
}

/// One object; `None` if there is none. `path` is that of the API, with all its parts escaped.
pub async fn get(client: &Client, path: &str) -> Result<Option<Value>, RequestError> {
    match ask(client, Method::GET, path, None, Vec::new()).await {
        Ok(object) => Ok(Some(object)),
        Err(RequestError::Answered { code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All objects of a list, as the API server has them now (not as some cache of it has). An unknown kind has none.
///
/// `query` holds selectors and the like, escaped, or nothing.
pub async fn list(client: &Client, path: &str, query: &str) -> Result<Vec<Value>, RequestError> {
    list_of(client, path, query, Some).await
}

/// The same, but of each object only what `read` makes of it is kept; what that gives nothing for is left out.
pub async fn list_of<T>(
    client: &Client,
    path: &str,
    query: &str,
    mut read: impl FnMut(Value) -> Option<T>,
) -> Result<Vec<T>, RequestError> {
    let mut objects = Vec::new();
    let mut seen = 0;
    let mut next = String::new();
    let mut beginnings = 1;
    loop {
        let mut uri = format!("{path}?limit={PAGE}");
        for part in [query, next.as_str()] {
            if !part.is_empty() {
                uri.push('&');
                uri.push_str(part);
            }
        }
        let mut page = match ask(client, Method::GET, &uri, None, Vec::new()).await {
            Err(RequestError::Answered { code: 404, .. }) => return Ok(Vec::new()),
            // The list grew too old between two of its pages: what was read does not belong together.
            Err(RequestError::Answered { code: 410, .. }) if beginnings < MOST_BEGINNINGS => {
                beginnings += 1;
                objects.clear();
                next.clear();
                continue;
            }
            page => page?,
        };
        let token = page
            .pointer("/metadata/continue")
            .and_then(Value::as_str)
            .unwrap_or_default();
        next = if token.is_empty() {
            String::new()
        } else {
            format!("continue={}", escaped(token))
        };
        match page.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => {
                seen += items.len();
                objects.extend(items.into_iter().filter_map(&mut read));
            }
            Some(Value::Null) => {}
            _ => return Err(RequestError::Unreadable),
        }
        if next.is_empty() {
            return Ok(objects);
        }
        if seen > MOST_OBJECTS {
            return Err(RequestError::Unreadable);
        }
    }
}

/// Hands an object in and gives what became of it.
pub async fn create(client: &Client, path: &str, object: &Value) -> Result<Value, RequestError> {
    let body = object.to_string().into_bytes();
    ask(client, Method::POST, path, Some("application/json"), body).await
}

/// Changes an object by a merge patch (RFC 7386) and gives it as it is then.
pub async fn merge_patch(
    client: &Client,
    path: &str,
    patch: &Value,
) -> Result<Value, RequestError> {
    let body = patch.to_string().into_bytes();
    let kind = "application/merge-patch+json";
    ask(client, Method::PATCH, path, Some(kind), body).await
}

/// Changes an object by a JSON patch (RFC 6902), whose tests all have to hold, and gives it as it is then.
pub async fn json_patch(client: &Client, path: &str, patch: &Value) -> Result<Value, RequestError> {
    let body = patch.to_string().into_bytes();
    let kind = "application/json-patch+json";
    ask(client, Method::PATCH, path, Some(kind), body).await
}

/// What is escaped in a part of a path or query: all that is not *unreserved* (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A text as a part of a path or query.
#[must_use]
pub fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}
