//! One sample of an `http` gate: ask, and judge the answer.

pub(crate) mod endpoint;
mod failure;
pub(crate) mod judge;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, Url, redirect};
use tidegate_waves::duration;
use tidegate_waves::fleet::HttpCheck;
use tidegate_waves::gate::{Reading, Sample};

use self::endpoint::ReadyEndpoint;
use self::judge::Answer;
use super::egress::{CheckedResolver, EgressRules, literal_address};
use crate::http_answer::{self, BodyError};
use crate::secret::Mask;
use crate::settings::Endpoint;

/// The largest body that is read.
pub const LARGEST_BODY: usize = 1024 * 1024;

/// The methods that a gate may use; whoever commits config may ask, not change things.
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "OPTIONS"];

/// What an answer says that is no redirect and was read to its end; `older` is the same gate with the values of each
/// tree that the region may still run. What the mask hides was sent along and is not shown.
#[must_use]
pub fn read_answer(
    check: &HttpCheck,
    older: &[HttpCheck],
    status: u16,
    body: &[u8],
    mask: &Mask,
) -> Sample {
    judge::judge(check, older, &Answer { status, body, mask })
}

/// Why no prober could be made.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client can be made: {0}")]
pub struct ProberError(#[source] reqwest::Error);

/// Asks over HTTP, within the operator's egress rules.
#[derive(Debug)]
pub struct HttpProber {
    rules: EgressRules,
    client: Client,
    endpoints: BTreeMap<String, ReadyEndpoint>,
}

impl HttpProber {
    /// A prober that reaches what the rules allow, and these named endpoints.
    pub fn new(rules: EgressRules, endpoints: &[Endpoint]) -> Result<Self, ProberError> {
        let client = match guarded_client(rules).build() {
            Ok(client) => client,
            Err(error) => {
                // Gates that ask over plain HTTP, or through endpoints with a CA of their own, still work.
                tracing::warn!(
                    error = %failure::root_cause(&error),
                    "no certificates of this system can be read, gates over https will not reach anything; install ca-certificates"
                );
                guarded_client(rules)
                    .tls_certs_only([])
                    .build()
                    .map_err(ProberError)?
            }
        };
        let endpoints = endpoints
            .iter()
            .map(|endpoint| (endpoint.name.clone(), ReadyEndpoint::new(endpoint.clone())))
            .collect();
        Ok(Self {
            rules,
            client,
            endpoints,
        })
    }

    async fn ask(&self, check: &HttpCheck, older: &[HttpCheck]) -> Sample {
        let (request, mask) = match self.request(check).await {
            Ok(ready) => ready,
            Err(sample) => return sample,
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return failure::classify(&error),
        };
        let status = response.status().as_u16();
        if judge::is_redirect(status) {
            return judge::redirected(status);
        }
        match http_answer::body(response, LARGEST_BODY).await {
            Ok(body) => read_answer(check, older, status, &body, &mask),
            Err(BodyError::TooLarge) => judge::oversize(status),
            Err(BodyError::Broken(error)) => failure::classify(&error),
        }
    }

    /// The request and what of it must not be shown, or why none may or can be made.
    async fn request(&self, check: &HttpCheck) -> Result<(reqwest::RequestBuilder, Mask), Sample> {
        let (client, url, token) = match &check.endpoint {
            None => {
                let url = Url::parse(&check.url)
                    .ok()
                    .filter(|url| matches!(url.scheme(), "http" | "https"))
                    .ok_or_else(|| unreachable("the gate's url is no http or https URL"))?;
                (self.client.clone(), url, None)
            }
            Some(name) => {
                let Some(endpoint) = self.endpoints.get(name) else {
                    return Err(denied(&format!(
                        "the operator's settings name no endpoint {name}"
                    )));
                };
                let url = endpoint.url(&check.url)?;
                let (client, token) = endpoint.ready(self.rules).await?;
                (client, url, token)
            }
        };
        // Names are checked when they are resolved; addresses never get there.
        if let Some(address) = url.host_str().and_then(literal_address) {
            self.rules
                .check(address)
                .map_err(|reason| denied(&reason.to_string()))?;
        }
        let method = METHODS
            .contains(&check.method.as_str())
            .then(|| Method::from_bytes(check.method.as_bytes()).ok())
            .flatten()
            .ok_or_else(|| {
                denied(&format!(
                    "gates may not use the method {}; use one of {}",
                    check.method,
                    METHODS.join(", ")
                ))
            })?;
        let mut headers = HeaderMap::new();
        for (name, value) in &check.headers {
            let name: HeaderName = name
                .parse()
                .map_err(|_| unreachable(&format!("{name:?} is no header name")))?;
            if check.endpoint.is_some() && name == HOST {
                return Err(denied(
                    "a gate with an endpoint may not set the header host",
                ));
            }
            let value = HeaderValue::from_str(value)
                .map_err(|_| unreachable(&format!("the header {name} has no valid value")))?;
            headers.insert(name, value);
        }
        let mut mask = Mask::default();
        if let Some(token) = token {
            let text = token.to_str().unwrap_or_default();
            mask = Mask::of(text.strip_prefix("Bearer "));
            headers.insert(AUTHORIZATION, token);
        }
        Ok((client.request(method, url).headers(headers), mask))
    }
}

impl HttpProber {
    /// Asks once, and gives up after `timeout`. `older` is the same gate with the values of trees that the region may still
    /// run.
    pub async fn sample(
        &self,
        check: &HttpCheck,
        older: &[HttpCheck],
        timeout: Duration,
    ) -> Sample {
        tokio::time::timeout(timeout, self.ask(check, older))
            .await
            .unwrap_or_else(|_| {
                unreachable(&format!("no answer within {}", duration::format(timeout)))
            })
    }
}

/// How every client of a gate, or of a receiver of alerts, is made: no redirects, no proxy, and names resolved under the rules.
///
/// Connections are not kept: a new one each time is what a user of the region would need too, it
/// follows changes of DNS, it is checked against the egress rules, and a server that closes an idle
/// connection is not mistaken for a sick one.
pub(crate) fn guarded_client(rules: EgressRules) -> ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .pool_max_idle_per_host(0)
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(CheckedResolver { rules }))
}

fn unreachable(why: &str) -> Sample {
    judge::sample(Reading::Unreachable, why)
}

fn denied(why: &str) -> Sample {
    judge::sample(Reading::EgressDenied, why)
}

#[cfg(test)]
mod tests;
