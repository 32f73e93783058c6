//! Stands between a client and the API server of a cluster, under a certificate of its own, and does to its answers what
//! a test asks for: a server that is overloaded, a network that drops connections, a cluster whose clock is wrong.
//!
//! Whatever is not spoiled is what the real API server answers.

use std::fs;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use serde_json::Value;

use crate::certificates::Certificates;
use crate::http::{HttpServer, Request, Response, Sending};
use crate::kubernetes::{Cluster, http_client, kubeconfig_of};

/// What becomes of an answer; `None` closes the connection without one.
type Spoil = dyn Fn(&Request, Response) -> Option<Response> + Send + Sync;
/// What becomes of a question before the API server sees it.
type Bend = dyn Fn(&mut Request) + Send + Sync;

/// What a relay does now, and what it was asked.
struct Rules {
    bend: Arc<Bend>,
    spoil: Arc<Spoil>,
    asked: Vec<String>,
}

/// A relay; it ends when dropped.
pub struct Relay {
    rules: Arc<Mutex<Rules>>,
    http: HttpServer,
    certificates: Certificates,
    cluster: String,
}

impl Relay {
    /// One that passes everything on as it is; `None` where there is no `openssl`.
    pub fn start(cluster: &Cluster) -> Option<Self> {
        let certificates = Certificates::generate()?;
        let rules = Arc::new(Mutex::new(Rules {
            bend: Arc::new(|_| {}),
            spoil: Arc::new(|_, answer| Some(answer)),
            asked: Vec::new(),
        }));
        let server = Behind::new(cluster);
        let http = HttpServer::over_tls(&certificates, {
            let rules = Arc::clone(&rules);
            move |mut request| {
                let (bend, spoil) = {
                    let mut rules = rules.lock().unwrap();
                    rules.asked.push(request.path.clone());
                    (Arc::clone(&rules.bend), Arc::clone(&rules.spoil))
                };
                bend(&mut request);
                let answer = server.answer(&request)?;
                spoil(&request, answer)
            }
        });
        Some(Self {
            rules,
            http,
            certificates,
            cluster: cluster.name().to_owned(),
        })
    }

    /// The kubeconfig of whoever has this token, which leads here; its only and current context has the name of the
    /// cluster.
    pub fn kubeconfig(&self, token: &str) -> String {
        let authority = fs::read_to_string(self.certificates.authority()).unwrap();
        let url = format!("https://{}", self.http.address());
        kubeconfig_of(&self.cluster, &url, &authority, token)
    }

    /// From now on does this to answers, and no longer what it did before.
    pub fn spoil(
        &self,
        spoil: impl Fn(&Request, Response) -> Option<Response> + Send + Sync + 'static,
    ) {
        self.rules.lock().unwrap().spoil = Arc::new(spoil);
    }

    /// From now on does this to questions, before the API server sees them.
    pub fn bend(&self, bend: impl Fn(&mut Request) + Send + Sync + 'static) {
        self.rules.lock().unwrap().bend = Arc::new(bend);
    }

    /// Passes everything on as it is.
    pub fn heal(&self) {
        self.bend(|_| {});
        self.spoil(|_, answer| Some(answer));
    }

    /// The paths that were asked for since this was called last.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.rules.lock().unwrap().asked)
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Relay")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// The API server behind a relay.
struct Behind {
    url: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Behind {
    fn new(cluster: &Cluster) -> Self {
        Self {
            url: cluster.url().to_owned(),
            client: http_client(cluster.authority()),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    /// What the API server answers; nothing if it does not.
    fn answer(&self, request: &Request) -> Option<Response> {
        let method = request.method.parse().ok()?;
        let query = if request.query.is_empty() { "" } else { "?" };
        let url = format!("{}{}{query}{}", self.url, request.path, request.query);
        let mut asking = self.client.request(method, url).body(request.body.clone());
        for (name, value) in &request.headers {
            let of_the_connection = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING]
                .iter()
                .any(|header| header.as_str() == name);
            if !of_the_connection {
                asking = asking.header(name, value);
            }
        }
        self.runtime.block_on(async {
            let answer = asking.send().await.ok()?;
            let status = answer.status().as_u16();
            let headers = answer
                .headers()
                .iter()
                .filter(|(name, _)| **name != CONTENT_LENGTH && **name != TRANSFER_ENCODING)
                .filter_map(|(name, value)| {
                    Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
                })
                .collect();
            Some(Response {
                status,
                headers,
                body: answer.bytes().await.ok()?.to_vec(),
                sending: Sending::Whole,
            })
        })
    }
}

/// An answer whose body ends in the middle, with the connection.
#[must_use]
pub fn cut(mut answer: Response) -> Response {
    answer.sending = Sending::Cut(answer.body.len() / 2);
    answer
}

/// An answer of a cluster whose clock is wrong by so much: every moment in it is another.
#[must_use]
pub fn shifted(mut answer: Response, by: SignedDuration) -> Response {
    if let Ok(mut body) = serde_json::from_slice(&answer.body) {
        shift(&mut body, by);
        answer.body = body.to_string().into_bytes();
    }
    answer
}

fn shift(value: &mut Value, by: SignedDuration) {
    match value {
        Value::String(text) => {
            if let Ok(moment) = text.parse::<Timestamp>() {
                *text = (moment + by).to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shift(field, by)),
        _ => {}
    }
}
