//! HTTP to an Argo CD's own API: the token, the certificates, and the limits.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Method, Response, Url, redirect};
use serde_json::Value;

use super::error::{ServerError, pause};
use crate::git::trailers::one_line;
use crate::http_answer::{self, BodyError, root_cause};
use crate::regions::request::{LARGEST_ANSWER, read_answer};
use crate::secret::{Mask, Secret, SecretSource};
use crate::settings::ArgocdServer;

/// The longest that connecting may take.
const CONNECTS_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection is kept that nobody uses.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// The most bytes of a refusal that are read.
const LARGEST_REFUSAL: usize = 64 << 10;
/// The largest file with certificates that is read.
const LARGEST_FILE: u64 = 1 << 20;

/// What talks to one Argo CD. Its address is the operator's, so that the egress rules for gates do not apply to it.
pub(super) struct ServerClient {
    url: Url,
    token: SecretSource,
    ca_file: Option<std::path::PathBuf>,
    made: Mutex<Option<Made>>,
    /// It asked for patience until then.
    patient_until: Mutex<Option<Instant>>,
}

/// A client, and the certificates that it was made from.
#[derive(Clone)]
struct Made {
    ca: Option<Vec<u8>>,
    client: Client,
}

impl ServerClient {
    pub(super) fn new(settings: &ArgocdServer) -> Self {
        Self {
            url: settings.url.clone(),
            token: SecretSource::File(settings.token_file.clone()),
            ca_file: settings.ca_file.clone(),
            made: Mutex::new(None),
            patient_until: Mutex::new(None),
        }
    }

    /// Asks, and gives the JSON of the answer. Parts of the path stand below `/api/v1`; each is escaped. Whoever calls sets a
    /// deadline.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, ServerError> {
        let until = *lock(&self.patient_until);
        if until.is_some_and(|until| Instant::now() < until) {
            return Err(ServerError::TooManyRequests);
        }
        // Both files are read anew each time: what rotates is taken up without a restart.
        let token = self.token()?;
        let client = self.client()?;
        let mut request = client
            .request(method, self.endpoint(path, query))
            .header(AUTHORIZATION, authorization(&token)?)
            // Argo CD refuses whatever changes something without it, body or none: so no web page of others' can ask (415).
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.map_err(|error| unreached(&error))?;
        let status = response.status();
        let mask = Mask::of([token.reveal().trim()]);
        if status.is_success() {
            let answer = read(response, LARGEST_ANSWER).await?;
            return read_answer(&answer, &mask).ok_or(ServerError::Unreadable);
        }
        if status.as_u16() == 429 {
            let pause = pause(response.headers());
            *lock(&self.patient_until) = Some(Instant::now() + pause);
        }
        // What it says helps, but is not needed to know what its status means.
        let said = read(response, LARGEST_REFUSAL).await.unwrap_or_default();
        Err(ServerError::refusal(status, &said, &mask))
    }

    fn endpoint(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        // Settings allow http and https alone, which always have a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Evidence is public: it says which setting, not which path.
    fn token(&self) -> Result<Secret, ServerError> {
        self.token.read().map_err(|error| {
            tracing::warn!(%error, "the token for an Argo CD cannot be read");
            let reason = one_line(&error.reason);
            ServerError::Settings(format!("its `tokenFile` cannot be read: {reason}"))
        })
    }

    /// The client, made anew if the certificates changed.
    fn client(&self) -> Result<Client, ServerError> {
        let ca = match &self.ca_file {
            None => None,
            Some(file) => Some(read_file(file)?),
        };
        let mut made = lock(&self.made);
        if let Some(made) = made.as_ref().filter(|made| made.ca == ca) {
            return Ok(made.client.clone());
        }
        match (build(ca.as_deref()), made.as_ref()) {
            (Ok(client), _) => {
                let client = made.insert(Made { ca, client }).client.clone();
                Ok(client)
            }
            // A file that is just being replaced can be read half-written.
            (Err(error), Some(before)) => {
                tracing::warn!(%error, "new certificates for an Argo CD cannot be used, going on with the ones before");
                Ok(before.client.clone())
            }
            (Err(error), None) => Err(error),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn authorization(token: &Secret) -> Result<HeaderValue, ServerError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal().trim()))
        .map_err(|_| ServerError::Settings("its `tokenFile` holds no token".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read_file(file: &Path) -> Result<Vec<u8>, ServerError> {
    let read = || {
        if std::fs::metadata(file)?.len() > LARGEST_FILE {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        std::fs::read(file)
    };
    read().map_err(|error| {
        tracing::warn!(file = %file.display(), %error, "the certificates for an Argo CD cannot be read");
        ServerError::Settings(format!("its `caFile` cannot be read: {}", one_line(&error.to_string())))
    })
}

/// No redirect is followed: it could lead the token elsewhere. No proxy is used, as for clusters. Argo CD serves HTTP/2 to gRPC
/// alone.
fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECTS_WITHIN)
        .pool_idle_timeout(KEPT_FOR)
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
}

fn build(ca: Option<&[u8]>) -> Result<Client, ServerError> {
    let failed = |why: &str| ServerError::Settings(why.to_owned());
    let no_client = |error: reqwest::Error| {
        failed(&format!(
            "no HTTP client can be made: {}",
            one_line(&root_cause(&error).to_string())
        ))
    };
    let Some(ca) = ca else {
        return builder()
            .build()
            .or_else(|error| {
                tracing::warn!(
                    error = %root_cause(&error),
                    "no certificates of this system can be read, an Argo CD over https will not be reached; install ca-certificates, or write a caFile"
                );
                builder().tls_certs_only([]).build()
            })
            .map_err(no_client);
    };
    match Certificate::from_pem_bundle(ca) {
        Ok(certificates) if !certificates.is_empty() => {
            let builder = builder().tls_certs_only(certificates);
            builder.build().map_err(no_client)
        }
        _ => Err(failed("its `caFile` holds no certificates in PEM form")),
    }
}

/// The answer's body, up to a limit.
async fn read(response: Response, limit: usize) -> Result<Vec<u8>, ServerError> {
    let body = http_answer::body(response, limit).await;
    body.map_err(|error| match error {
        BodyError::TooLarge => ServerError::TooLarge(limit >> 20),
        BodyError::Broken(error) => unreached(&error),
    })
}

fn unreached(error: &reqwest::Error) -> ServerError {
    ServerError::Unreachable(one_line(&root_cause(error).to_string()))
}
