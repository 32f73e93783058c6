//! How Azure's library talks to Entra ID.
//!
//! Answers are read here and not by the library alone: it cannot read what Entra ID says where that has an escaped line
//! break, as Entra ID's refusals have, and takes whatever it can read for a token.

use std::time::Duration;

use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::{Client, ClientBuilder, Response, redirect};
use serde::Deserialize;

use super::Identity;
use super::error::SignInError;
use crate::git::trailers::one_line;
use crate::http_answer::{self, BodyError, retry_after, root_cause};
use crate::secret::{Mask, Secret};

/// How long it may take until a connection stands.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const LARGEST_ANSWER: usize = 256 << 10;
/// The longest time for which a token is taken to be given.
const LONGEST_LIFETIME: i64 = 7 * 24 * 60 * 60;
/// Where Entra ID does not say for how long it wants to be left alone, and the most that it may say.
const PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How the client is made. As for a forge, a proxy of the environment is used: Entra ID is on the internet.
pub(super) fn builder() -> ClientBuilder {
    Client::builder()
        .https_only(true)
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_WITHIN)
}

/// What carries one identity's sign-in.
#[derive(Debug)]
pub(super) struct EntraTransport {
    http: Client,
    identity: Identity,
    /// Entra ID may repeat what it was sent.
    assertion: Mask,
}

/// A token is given. The library reads the same once more.
#[derive(Deserialize)]
struct Issued {
    access_token: String,
    /// Seconds.
    expires_in: i64,
}

/// It is not.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
}

#[async_trait::async_trait]
impl HttpClient for EntraTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        self.ask(request)
            .await
            .map_err(|error| azure_core::Error::new(ErrorKind::Credential, error))
    }
}

impl EntraTransport {
    pub(super) fn new(http: Client, identity: Identity, assertion: &Secret) -> Self {
        Self {
            http,
            identity,
            assertion: Mask::of([assertion.reveal()]),
        }
    }

    async fn ask(&self, request: &Request) -> Result<AsyncRawResponse, SignInError> {
        let Body::Bytes(body) = request.body() else {
            return Err(SignInError::Library("a stream".to_owned()));
        };
        let mut asked = self.http.post(request.url().clone()).body(body.clone());
        for (name, value) in request.headers().iter() {
            asked = asked.header(name.as_str(), value.as_str());
        }
        let response = asked.send().await.map_err(|error| self.unreached(&error))?;
        let code = response.status().as_u16();
        let pause = pause(response.headers());
        let body = self.read(response).await?;
        if code == 200 {
            if !is_token(&body) {
                return Err(SignInError::Unreadable {
                    host: self.identity.host(),
                });
            }
            return Ok(AsyncRawResponse::from_bytes(
                code.into(),
                Headers::new(),
                body,
            ));
        }
        let said = self.said(&body);
        Err(match code {
            429 => SignInError::Busy { pause },
            400..=499 if !said.is_empty() => SignInError::Refused {
                client: one_line(&self.identity.client),
                tenant: self.identity.tenant.clone(),
                said,
            },
            code => SignInError::Answered {
                host: self.identity.host(),
                code,
                said,
            },
        })
    }

    async fn read(&self, response: Response) -> Result<Vec<u8>, SignInError> {
        let body = http_answer::body(response, LARGEST_ANSWER).await;
        body.map_err(|error| match error {
            BodyError::TooLarge => SignInError::Unreadable {
                host: self.identity.host(),
            },
            BodyError::Broken(error) => self.unreached(&error),
        })
    }

    /// The first line of a refusal, which begins with its code (`AADSTS…`); what stands behind it is for Azure's support.
    fn said(&self, body: &[u8]) -> String {
        let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
        let text = self
            .assertion
            .hide(if refusal.error_description.is_empty() {
                &refusal.error
            } else {
                &refusal.error_description
            });
        let line = text.trim_start().lines().next().unwrap_or_default();
        let end = line.find(" Trace ID: ").unwrap_or(line.len());
        one_line(line.get(..end).unwrap_or_default())
    }

    fn unreached(&self, error: &reqwest::Error) -> SignInError {
        let why = if error.is_timeout() {
            format!("no connection within {} s", CONNECT_WITHIN.as_secs())
        } else {
            one_line(&root_cause(error).to_string())
        };
        SignInError::Unreachable {
            host: self.identity.host(),
            why,
        }
    }
}

/// Whether an answer gives a token that can be used as one.
fn is_token(body: &[u8]) -> bool {
    serde_json::from_slice::<Issued>(body).is_ok_and(|issued| {
        !issued.access_token.is_empty()
            && issued
                .access_token
                .bytes()
                .all(|byte| byte.is_ascii_graphic())
            && (1..=LONGEST_LIFETIME).contains(&issued.expires_in)
    })
}

/// For how long Entra ID wants to be left alone.
fn pause(headers: &HeaderMap) -> Duration {
    let pause = retry_after(headers, Timestamp::now());
    pause.unwrap_or(PAUSE).min(LONGEST_PAUSE)
}
