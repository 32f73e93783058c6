//! Any receiver of alerts: events of `CloudEvents` 1.0 in JSON, signed as Standard Webhooks says.
//!
//! Sources: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>,
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{StatusCode, Url};
use serde_json::json;
use sha2::Sha256;

use super::event::Event;
use super::sink::{Delivery, Http, Sending, Sink};
use crate::secret::{Secret, SecretSource};
use crate::settings::AlertKind;

/// The largest body: what does not fit loses its lists.
const LARGEST_BODY: usize = 20_000;

/// Most regions, or commits, of a body that had to be made smaller.
const FEW: usize = 20;

/// A receiver that is told by a signed POST.
#[derive(Debug)]
pub(super) struct Webhook {
    http: Http,
    url: Url,
    secret: Option<SecretSource>,
}

impl Webhook {
    pub(super) fn new(http: Http, url: Url, secret: Option<PathBuf>) -> Self {
        Self {
            http,
            url,
            secret: secret.map(SecretSource::File),
        }
    }

    async fn deliver(&self, event: &Event) -> Delivery {
        let body = body(event);
        let mut request = match self.http.post(&self.url) {
            Ok(request) => request,
            Err(delivery) => return delivery,
        };
        let seconds = Timestamp::now().as_second();
        request = request
            .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", seconds);
        if let Some(source) = &self.secret {
            // Read anew each time: a key that was rotated is taken up without a restart.
            let signed = source
                .read()
                .map_err(|error| error.to_string())
                .and_then(|secret| signature(&secret, &event.id, seconds, &body));
            match signed {
                Ok(signature) => request = request.header("webhook-signature", signature),
                Err(why) => return Delivery::Later { why, after: None },
            }
        }
        match self.http.ask(request.body(body)).await {
            Ok(answer) if answer.status.is_success() => Delivery::Done,
            Ok(answer) if answer.status == StatusCode::GONE => Delivery::Refused {
                why:
                    "the receiver answers 410: it wants no more alerts; take it out of the settings"
                        .to_owned(),
            },
            Ok(answer) => {
                let why = format!("the receiver answers {}", answer.status);
                let may_pass = answer.status.is_server_error()
                    || matches!(
                        answer.status,
                        StatusCode::TOO_MANY_REQUESTS
                            | StatusCode::REQUEST_TIMEOUT
                            | StatusCode::UNAUTHORIZED
                            | StatusCode::FORBIDDEN
                            | StatusCode::NOT_FOUND
                    );
                if may_pass {
                    Delivery::Later {
                        why,
                        after: answer.after,
                    }
                } else {
                    Delivery::Refused { why }
                }
            }
            Err(delivery) => delivery,
        }
    }
}

impl Sink for Webhook {
    fn send<'a>(&'a self, event: &'a Event) -> Sending<'a> {
        Box::pin(self.deliver(event))
    }
}

/// The word of a kind in an event's type.
fn word(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::Opened => "opened",
        AlertKind::Succeeded => "succeeded",
        AlertKind::Held => "held",
        AlertKind::Failed => "failed",
        AlertKind::Reverted => "reverted",
        AlertKind::RevertIncomplete => "revertIncomplete",
        AlertKind::Drift => "drift",
        AlertKind::Stalled => "stalled",
    }
}

/// The body, as a text that is signed and sent byte for byte.
pub(crate) fn body(event: &Event) -> String {
    let whole = envelope(event);
    if whole.len() <= LARGEST_BODY {
        return whole;
    }
    let mut smaller = event.clone();
    smaller.regions.truncate(FEW);
    smaller.commits.truncate(FEW);
    smaller.asked.truncate(FEW);
    envelope(&smaller)
}

fn envelope(event: &Event) -> String {
    let place = event
        .region
        .as_ref()
        .or(event.wave.as_ref())
        .or(event.rollout.as_ref());
    let subject = match place {
        Some(place) => format!("{}/{place}", event.fleet),
        None => event.fleet.clone(),
    };
    json!({
        "specversion": "1.0",
        "id": event.id,
        "source": format!("/tidegate/{}", event.fleet),
        "type": format!("dev.tidegate.rollout.{}.v1", word(event.kind)),
        "subject": subject,
        "time": crate::status::rfc3339(event.at),
        "datacontenttype": "application/json",
        "data": event,
    })
    .to_string()
}

/// `v1,` and the base64 of the HMAC-SHA256 over id, time and body.
fn signature(secret: &Secret, id: &str, seconds: i64, body: &str) -> Result<String, String> {
    let text = secret.reveal();
    let text = text.strip_prefix("whsec_").unwrap_or(text);
    let key = STANDARD.decode(text).map_err(|_| {
        "the secret of the webhook is not `whsec_` and base64, as Standard Webhooks wants it"
            .to_owned()
    })?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key)
        .map_err(|error| format!("the secret of the webhook cannot be a key: {error}"))?;
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    Ok(format!(
        "v1,{}",
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the specification.
    #[test]
    fn signs_as_standard_webhooks_does() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = signature(&secret, id, 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(
            signed.unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let bad = signature(&Secret::new("whsec_***"), id, 1, "{}").unwrap_err();
        assert!(bad.contains("base64") && !bad.contains("***"), "{bad}");
    }

    #[test]
    fn a_body_stays_small_and_has_what_cloud_events_demand() {
        let mut event = crate::alerts::tests::event(AlertKind::Reverted);
        event.regions = (0..5000).map(|number| format!("region-{number}")).collect();
        let text = body(&event);
        assert!(text.len() <= LARGEST_BODY, "{}", text.len());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["specversion"], "1.0");
        assert_eq!(value["type"], "dev.tidegate.rollout.reverted.v1");
        assert_eq!(value["source"], "/tidegate/shop");
        assert_eq!(value["subject"], "shop/westus3");
        assert_eq!(value["id"], event.id);
        assert_eq!(value["data"]["message"], event.message);
    }
}
