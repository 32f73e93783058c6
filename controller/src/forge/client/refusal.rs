//! What a forge's refusals mean: whether it may be asked again, when, and what an operator has to do.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{StatusCode, Url};

use crate::forge::ForgeError;
use crate::git::trailers::one_line;
use crate::http_answer;
use crate::secret::{Mask, Secret};

/// The longest that a forge is believed when it asks to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// How long GitHub wants to be left alone when it names no time.
const UNNAMED_PAUSE: Duration = Duration::from_secs(60);

/// Most characters of a forge's own words that a message repeats.
const LONGEST_QUOTE: usize = 200;

/// What a status that is no success means.
pub(crate) fn refused(
    what: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    token: Option<&Secret>,
) -> ForgeError {
    let said = said(body, token);
    let quoted = if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    };
    let code = status.as_u16();
    let message = format!("{what} answered {code}{quoted}");
    let now = Timestamp::now();
    let named = pause(headers, now);
    // GitHub says 403 both for what is forbidden and for what was asked too often, and one of its limits is
    // told by its words alone.
    let is_worded = said.to_ascii_lowercase().contains("rate limit");
    let limited = match code {
        429 => true,
        403 => named.is_some() || is_exhausted(headers) || is_worded,
        _ => false,
    };
    if limited {
        let after = named.or_else(|| is_worded.then_some(UNNAMED_PAUSE));
        return ForgeError::Retryable { message, after };
    }
    if code == 408 || status.is_server_error() {
        return ForgeError::Retryable {
            message,
            after: retry_after(headers, now),
        };
    }
    let advice = match code {
        401 if token.is_none() => "it wants a token: set forge.tokenFile in the settings",
        401 => {
            "it does not accept the token: put a valid one into forge.tokenFile, which is read anew"
        }
        403 => {
            "the token may not do this: it needs to write commit statuses and pull requests, and to read the repository"
        }
        404 => {
            "no such thing there, or the token may not see it: check forge.api, forge.repository and the token's rights"
        }
        409 | 422 => "the forge finds the request at fault",
        300..=399 => {
            let location = headers
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| Url::parse(value).ok())
                .map(|url| format!(" to {}", without_secrets(url, token)))
                .unwrap_or_default();
            return ForgeError::Permanent {
                status: code,
                message: format!(
                    "{message}; it redirects{location}: set forge.api and forge.repository to where the repository is now"
                ),
            };
        }
        _ => "check forge.api and forge.repository in the settings",
    };
    ForgeError::Permanent {
        status: code,
        message: format!("{message}; {advice}"),
    }
}

/// Where a forge redirects to, as one line without what may be secret.
fn without_secrets(mut url: Url, token: Option<&Secret>) -> String {
    url.set_query(None);
    url.set_fragment(None);
    // Fails for addresses that have no user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    without_token(&one_line(url.as_str()), token)
}

fn without_token(words: &str, token: Option<&Secret>) -> String {
    Mask::of(token.map(|token| token.reveal().trim())).hide(words)
}

/// The forge's own words, as one short line without the token.
fn said(body: &[u8], token: Option<&Secret>) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
        // Gitea says `null`.
        errors: Option<Vec<serde_json::Value>>,
    }
    let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else {
        return String::new();
    };
    let details: Vec<&str> = refusal
        .errors
        .iter()
        .flatten()
        .filter_map(|error| {
            error
                .as_str()
                .or_else(|| error.get("message").and_then(serde_json::Value::as_str))
        })
        .collect();
    let mut words = refusal.message;
    if !details.is_empty() {
        words = format!("{words} ({})", details.join("; "));
    }
    // First made plain: what is taken out of the words then could have hidden the token.
    let words = without_token(&one_line(&words), token);
    words.chars().take(LONGEST_QUOTE).collect()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Whether GitHub says that nothing more may be asked for now.
fn is_exhausted(headers: &HeaderMap) -> bool {
    text(headers, "x-ratelimit-remaining") == Some("0")
}

/// How long a forge that limits how often it is asked wants to be left alone.
fn pause(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    retry_after(headers, now).or_else(|| {
        let reset = is_exhausted(headers)
            .then(|| text(headers, "x-ratelimit-reset"))
            .flatten()?;
        let reset = Timestamp::from_second(reset.parse().ok()?).ok()?;
        Some(until(reset, now))
    })
}

/// `Retry-After`, as far as the forge is believed.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    Some(http_answer::retry_after(headers, now)?.min(LONGEST_PAUSE))
}

/// The time from now until then.
fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now))
        .unwrap_or_default()
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    reqwest::header::HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn refusal(code: u16, pairs: &[(&'static str, &str)], body: &str) -> ForgeError {
        refused(
            "GET https://api.example.com/x",
            StatusCode::from_u16(code).unwrap(),
            &headers(pairs),
            body.as_bytes(),
            Some(&Secret::new("hunter2")),
        )
    }

    #[test]
    fn retry_after_is_read_in_both_of_its_forms() {
        let now: Timestamp = "2015-10-21T07:27:00Z".parse().unwrap();
        for (value, expected) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:26:00 GMT", Some(0)),
            ("999999999", Some(3600)),
            ("Wed, 21 Oct 2099 07:26:00 GMT", Some(3600)),
            ("soon", None),
            ("-5", None),
        ] {
            assert_eq!(
                retry_after(&headers(&[("retry-after", value)]), now),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[test]
    fn githubs_limits_are_told_from_its_refusals() {
        let reset = (Timestamp::now().as_second() + 1000).to_string();
        let ForgeError::Retryable {
            after: Some(after), ..
        } = refusal(
            403,
            &[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", &reset),
            ],
            "{}",
        )
        else {
            panic!("the primary limit");
        };
        assert!((990..=1000).contains(&after.as_secs()), "{after:?}");
        assert_eq!(
            refusal(
                403,
                &[("x-ratelimit-remaining", "4999")],
                r#"{"message":"You have exceeded a secondary rate limit."}"#
            )
            .retry_after(),
            Some(UNNAMED_PAUSE)
        );
        assert_eq!(
            refusal(403, &[("retry-after", "7")], "{}").retry_after(),
            Some(Duration::from_secs(7))
        );
        let forbidden = refusal(
            403,
            &[("x-ratelimit-remaining", "4999")],
            r#"{"message":"Resource not accessible by personal access token"}"#,
        );
        assert!(!forbidden.is_retryable() && forbidden.refuses_the_token());
    }

    #[test]
    fn what_a_status_means() {
        for (code, retryable) in [
            (301, false),
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (408, true),
            (409, false),
            (422, false),
            (429, true),
            (500, true),
            (502, true),
            (503, true),
        ] {
            let error = refusal(code, &[], "<html>");
            assert_eq!(error.is_retryable(), retryable, "{code}");
            assert!(
                error
                    .to_string()
                    .contains(&format!("GET https://api.example.com/x answered {code}")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_forges_words_are_one_line_without_the_token() {
        let error = refusal(
            422,
            &[],
            r#"{"message":"Validation\nFailed for hunter2","errors":[{"message":"A pull request already exists"},"no"]}"#,
        );
        assert_eq!(
            error.to_string(),
            "GET https://api.example.com/x answered 422: Validation Failed for *** (A pull request already exists; no); the forge finds the request at fault"
        );
        let moved = "https://me:other@b.example.com/hunter2/x?token=hunter2#hunter2";
        let error = refusal(301, &[("location", moved)], "");
        assert!(
            error
                .to_string()
                .contains("it redirects to https://b.example.com/***/x: set forge.api"),
            "{error}"
        );
        // A forge that says the token with something invisible in it would have shown it.
        let error = refusal(422, &[], r#"{"message":"not hun\u200bter2"}"#);
        assert!(error.to_string().contains("422: not ***;"), "{error}");
        let error = refusal(404, &[], r#"{"errors":null,"message":"not found"}"#);
        assert!(
            error.to_string().contains("answered 404: not found; "),
            "{error}"
        );
    }
}
