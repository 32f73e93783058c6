//! HTTP to a forge's API: the token, the limits, and what its refusals mean.

pub(crate) mod refusal;

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Method, Response, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::refusal::refused;
use super::{ForgeError, ForgeSettingsError};
use crate::git::trailers::one_line;
use crate::http_answer::{self, BodyError, root_cause};
use crate::secret::{Secret, SecretSource};
use crate::settings;

/// The longest that one request may take, its answer included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer that is read.
const LARGEST_BODY: usize = 1024 * 1024;

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

/// The only authorities that may vouch for the forge, where the settings name some.
fn certificates(forge: &settings::Forge) -> Result<Option<Vec<Certificate>>, ForgeSettingsError> {
    let Some(file) = &forge.ca_file else {
        return Ok(None);
    };
    let unusable = |reason: String| ForgeSettingsError::Authority {
        file: file.clone(),
        reason,
    };
    let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(Some(certificates)),
        _ => Err(unusable("it holds no certificates in PEM form".to_owned())),
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
        let http = match (certificates(forge)?, builder().build()) {
            (Some(only), _) => builder()
                .tls_certs_only(only)
                .build()
                .map_err(ForgeSettingsError::Client)?,
            (None, Ok(client)) => client,
            (None, Err(error)) => {
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
async fn read(response: Response, what: &str) -> Result<Vec<u8>, ForgeError> {
    let body = http_answer::body(response, LARGEST_BODY).await;
    body.map_err(|error| match error {
        BodyError::TooLarge => ForgeError::Garbage {
            message: format!("{what} answered with more than 1 MiB"),
        },
        BodyError::Broken(error) => unreached(what, &error),
    })
}

/// No answer came, or not all of it.
fn unreached(what: &str, error: &reqwest::Error) -> ForgeError {
    let why = if error.is_timeout() {
        format!("no answer within {} s", TIMEOUT.as_secs())
    } else {
        one_line(&root_cause(error).to_string())
    };
    ForgeError::Retryable {
        message: format!("{what}: {why}"),
        after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path_stay_parts() {
        let client = ForgeClient::new(
            &settings::Forge {
                kind: settings::ForgeKind::Gitea,
                api: Url::parse("https://git.example.com/api/v1/").unwrap(),
                repository: "acme/config".to_owned(),
                token_file: None,
                ca_file: None,
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
