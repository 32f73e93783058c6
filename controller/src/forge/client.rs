//! HTTP to a forge's API: the token, the limits, and what its refusals mean.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method, Response, StatusCode, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ForgeError, ForgeSettingsError};
use crate::git::trailers::one_line;
use crate::secret::{Secret, SecretSource};
use crate::settings;

/// The longest that one request may take, its answer included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer that is read.
const LARGEST_BODY: usize = 1024 * 1024;

/// The longest that a forge is believed when it asks to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// How long GitHub wants to be left alone when it names no time.
const UNNAMED_PAUSE: Duration = Duration::from_secs(60);

/// Most characters of a forge's own words that a message repeats.
const LONGEST_QUOTE: usize = 200;

/// How the token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenScheme {
    /// `Authorization: token …`, Gitea's.
    Token,
    /// `Authorization: Bearer …`.
    Bearer,
}

/// What talks to one forge.
#[derive(Debug)]
pub(super) struct ForgeClient {
    http: Client,
    api: Url,
    token: Option<SecretSource>,
    scheme: TokenScheme,
    headers: HeaderMap,
}

/// One question: where, and with which parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoint<'a> {
    /// Below the root of the API, part by part; each is escaped.
    pub(super) path: &'a [&'a str],
    /// Names and values behind `?`.
    pub(super) query: &'a [(&'a str, &'a str)],
}

impl<'a> Endpoint<'a> {
    /// One without parameters.
    pub(super) fn of(path: &'a [&'a str]) -> Self {
        Self { path, query: &[] }
    }
}

impl ForgeClient {
    /// A client of the forge that the settings name. Its address is the operator's, so that the egress rules
    /// for gates do not apply to it, and a proxy of the environment is used.
    pub(super) fn new(
        forge: &settings::Forge,
        scheme: TokenScheme,
        headers: HeaderMap,
    ) -> Result<Self, ForgeSettingsError> {
        let http = match builder().build() {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "no certificates of this system can be read, a forge over https will not be reached; install ca-certificates"
                );
                builder()
                    .tls_certs_only([])
                    .build()
                    .map_err(ForgeSettingsError::Client)?
            }
        };
        Ok(Self {
            http,
            api: forge.api.clone(),
            token: forge.token_file.clone().map(SecretSource::File),
            scheme,
            headers,
        })
    }

    /// Asks for something.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint<'_>,
    ) -> Result<T, ForgeError> {
        self.ask(Method::GET, endpoint, None::<&()>).await
    }

    /// Makes something.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ForgeError> {
        self.ask(Method::POST, Endpoint::of(path), Some(body)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        endpoint: Endpoint<'_>,
        body: Option<&impl Serialize>,
    ) -> Result<T, ForgeError> {
        let url = self.url(endpoint);
        // Parameters are left out of messages: they are long and say little.
        let mut shown = url.clone();
        shown.set_query(None);
        let what = format!("{method} {shown}");
        // Read anew each time: a token that was rotated is taken up without a restart.
        let token = match &self.token {
            Some(source) => Some(source.read().map_err(|error| ForgeError::Retryable {
                message: format!("{what}: {error}"),
                after: None,
            })?),
            None => None,
        };
        let mut request = self.http.request(method, url).headers(self.headers.clone());
        if let Some(token) = &token {
            request = request.header(AUTHORIZATION, self.authorization(token, &what)?);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request
            .send()
            .await
            .map_err(|error| unreached(&what, &error))?;
        let status = response.status();
        let headers = response.headers().clone();
        let answer = read(response, &what).await;
        if !status.is_success() {
            // What the forge says helps, but is not needed to know what its status means.
            let answer = answer.unwrap_or_default();
            return Err(refused(&what, status, &headers, &answer, token.as_ref()));
        }
        serde_json::from_slice(&answer?).map_err(|error| ForgeError::Garbage {
            message: format!(
                "{what} answered {status}, but not as the forge's documentation says ({}); check forge.api in the settings",
                if error.is_data() { "other fields" } else { "no JSON" }
            ),
        })
    }

    fn url(&self, endpoint: Endpoint<'_>) -> Url {
        let mut url = self.api.clone();
        url.set_query(None);
        url.set_fragment(None);
        // Settings allow http and https alone, which always have a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(endpoint.path);
        }
        if !endpoint.query.is_empty() {
            url.query_pairs_mut().extend_pairs(endpoint.query);
        }
        url
    }

    fn authorization(&self, token: &Secret, what: &str) -> Result<HeaderValue, ForgeError> {
        let scheme = match self.scheme {
            TokenScheme::Token => "token",
            TokenScheme::Bearer => "Bearer",
        };
        let mut value = HeaderValue::from_str(&format!("{scheme} {}", token.reveal().trim()))
            .map_err(|_| ForgeError::Retryable {
                message: format!("{what}: forge.tokenFile holds no token"),
                after: None,
            })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
}

/// The answer's body, up to a limit.
async fn read(mut response: Response, what: &str) -> Result<Vec<u8>, ForgeError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len().saturating_add(chunk.len()) > LARGEST_BODY => {
                return Err(ForgeError::Garbage {
                    message: format!("{what} answered with more than 1 MiB"),
                });
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(unreached(what, &error)),
        }
    }
}

/// No answer came, or not all of it.
fn unreached(what: &str, error: &reqwest::Error) -> ForgeError {
    let why = if error.is_timeout() {
        format!("no answer within {} s", TIMEOUT.as_secs())
    } else {
        // The outer errors repeat the URL.
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        one_line(&cause.to_string())
    };
    ForgeError::Retryable {
        message: format!("{what}: {why}"),
        after: None,
    }
}

/// What a status that is no success means.
fn refused(
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
    let limited = match code {
        429 => true,
        // GitHub says 403 both for what is forbidden and for what was asked too often; one of its two limits
        // is told by its words alone.
        403 => {
            named.is_some()
                || is_exhausted(headers)
                || said.to_ascii_lowercase().contains("rate limit")
        }
        _ => false,
    };
    if limited {
        let after = named.or_else(|| (code == 403).then_some(UNNAMED_PAUSE));
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
                .map(|mut url| {
                    url.set_query(None);
                    format!(" to {}", one_line(url.as_str()))
                })
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

/// The forge's own words, as one short line without the token.
fn said(body: &[u8], token: Option<&Secret>) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
        #[serde(default)]
        errors: Vec<serde_json::Value>,
    }
    let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else {
        return String::new();
    };
    let details: Vec<&str> = refusal
        .errors
        .iter()
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
    if let Some(token) = token {
        words = words.replace(token.reveal(), "***");
    }
    one_line(&words).chars().take(LONGEST_QUOTE).collect()
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

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds).min(LONGEST_PAUSE));
    }
    let date = rfc2822::parse(value).ok()?.timestamp();
    Some(until(date, now))
}

fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now))
        .unwrap_or_default()
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn parts_of_a_path_stay_parts() {
        let client = ForgeClient::new(
            &settings::Forge {
                kind: settings::ForgeKind::Gitea,
                api: Url::parse("https://git.example.com/api/v1/").unwrap(),
                repository: "acme/config".to_owned(),
                token_file: None,
            },
            TokenScheme::Token,
            HeaderMap::new(),
        )
        .unwrap();
        let url = client.url(Endpoint {
            path: &["repos", "a/../b", "c?d"],
            query: &[("head", "acme:x/y&z")],
        });
        assert_eq!(
            url.as_str(),
            "https://git.example.com/api/v1/repos/a%2F..%2Fb/c%3Fd?head=acme%3Ax%2Fy%26z"
        );
    }
}
