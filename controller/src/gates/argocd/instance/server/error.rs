//! What can go wrong with a question to an Argo CD's own API.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::gates::shown::line;
use crate::http_answer::retry_after;
use crate::secret::Mask;

/// Most characters of a server's own words that a message repeats.
const LONGEST_QUOTE: usize = 200;

/// Why Argo CD's own API gave no answer of use. What it says is shown without the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// There is no token, or no client can be made.
    #[error("{0}")]
    Settings(String),
    /// The token is not accepted (401).
    #[error(
        "its API does not accept the token (401): put a valid one into the `tokenFile`, which is read anew"
    )]
    Unauthorized,
    /// The token may not do it, or there is nothing of that name (403).
    #[error("its API lets the token not do that, or has no such Application (403)")]
    Forbidden,
    /// There is nothing of that name (404).
    #[error("its API has no such thing (404): is the Application gone, or `server.url` wrong?")]
    NotFound,
    /// We ask too much (429).
    #[error("its API asks for patience (429)")]
    TooManyRequests,
    /// The answer leads elsewhere, and the token does not follow.
    #[error(
        "its API answered {0}, a redirect, which is not followed: write the address to which it leads as `server.url`"
    )]
    Redirected(u16),
    /// The answer is an error of another kind.
    #[error("its API answered {code}{}", said(.message))]
    Answered {
        /// The HTTP status.
        code: u16,
        /// The server's words, on one line; may be empty.
        message: String,
    },
    /// No answer came.
    #[error("its API cannot be reached: {0}")]
    Unreachable(String),
    /// An answer that is larger than anything that is asked for.
    #[error("the answer of its API is larger than {0} MiB")]
    TooLarge(usize),
    /// An answer that is no JSON, or not what was asked for.
    #[error("its API answered, but not as Argo CD does: check `server.url`")]
    Unreadable,
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

impl ServerError {
    /// What a status that is no success means; of the body only the message of an error of Argo CD is shown.
    pub(super) fn refusal(status: StatusCode, body: &[u8], mask: &Mask) -> Self {
        match status.as_u16() {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            429 => Self::TooManyRequests,
            code @ 300..=399 => Self::Redirected(code),
            code => {
                let error: Value = serde_json::from_slice(body).unwrap_or_default();
                let message = error.get("message").and_then(Value::as_str);
                let message = line(&mask.hide(message.unwrap_or_default()), LONGEST_QUOTE);
                Self::Answered { code, message }
            }
        }
    }
}

/// How long a server asks to be left alone: a second at least, and at most a minute, as nobody is told meanwhile how a region is.
pub(super) fn pause(headers: &HeaderMap) -> Duration {
    const LONGEST: Duration = Duration::from_secs(60);
    const SHORTEST: Duration = Duration::from_secs(1);
    let pause = retry_after(headers, Timestamp::now());
    pause.unwrap_or_default().clamp(SHORTEST, LONGEST)
}
