//! Handing an alert to whoever receives it: what may come of it, and the HTTP that all receivers share.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode, Url};

use super::event::Event;
use crate::gates::egress::{EgressRules, literal_address};
use crate::gates::http::guarded_client;
use crate::http_answer;

/// The longest that a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The longest answer that is read.
const LONGEST_ANSWER: usize = 4096;

/// The longest wait that a receiver can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// An alert on its way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Delivery> + Send + 'a>>;

/// A receiver of alerts.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Hands over one event. The same event may come again: receivers tell it by its id.
    fn send<'a>(&'a self, event: &'a Event) -> Sending<'a>;
}

/// What came of handing an alert over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has it.
    Done,
    /// Not now; it may have it all the same.
    Later {
        /// What happened.
        why: String,
        /// How long the receiver wants to be left alone, if it says so.
        after: Option<Duration>,
    },
    /// Not this one, ever.
    Refused {
        /// What happened.
        why: String,
    },
}

/// What a receiver answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) after: Option<Duration>,
    pub(super) body: String,
}

/// The HTTP that receivers are reached by: no redirects, no proxy, names resolved under the egress rules.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    rules: EgressRules,
}

impl Http {
    pub(super) fn new(rules: EgressRules) -> Result<Self, reqwest::Error> {
        let client = guarded_client(rules).timeout(TIMEOUT).build()?;
        Ok(Self { client, rules })
    }

    /// A POST to an address, if the egress rules let it.
    pub(super) fn post(&self, url: &Url) -> Result<RequestBuilder, Delivery> {
        if let Some(address) = url.host_str().and_then(literal_address) {
            self.rules
                .check(address)
                .map_err(|denied| Delivery::Refused {
                    why: denied.to_string(),
                })?;
        }
        Ok(self.client.post(url.clone()))
    }

    /// Sends it and reads the beginning of what comes back. The address is never part of an error: it may be secret.
    pub(super) async fn ask(&self, request: RequestBuilder) -> Result<Answer, Delivery> {
        let later = |error: reqwest::Error| Delivery::Later {
            why: causes(&error.without_url()),
            after: None,
        };
        let mut response = request.send().await.map_err(later)?;
        let (status, after) = (response.status(), retry_after(response.headers()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(later)? {
            let room = LONGEST_ANSWER.saturating_sub(body.len());
            body.extend(chunk.iter().take(room));
            if body.len() >= LONGEST_ANSWER {
                break;
            }
        }
        Ok(Answer {
            status,
            after,
            body: crate::git::trailers::one_line(&String::from_utf8_lossy(&body)),
        })
    }
}

/// An error with what it comes from: the outermost alone says little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// When a receiver wants to be asked again, as far as it is believed.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let wait = http_answer::retry_after(headers, Timestamp::now())?;
    Some(wait.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use reqwest::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn a_receiver_may_say_when_to_come_again() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("999999"), Some(LONGEST_PAUSE));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }
}
