//! What people are told of a rollout, by a chat and by a webhook, and that nobody waits for those who listen.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tidegate_testkit::http::{HttpServer, Request, Response};

use crate::small_fleet::{Controller, LONG, SmallFleet};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Receivers of alerts, and what they were told.
struct Receivers {
    server: HttpServer,
    told: Arc<Mutex<Vec<Request>>>,
}

impl Receivers {
    /// Receivers that answer as they should; the chat not the first `failing` times.
    fn start(failing: usize) -> Self {
        let told = Arc::new(Mutex::new(Vec::<Request>::new()));
        let server = HttpServer::start({
            let told = Arc::clone(&told);
            move |request| {
                let is_chat = request.path.starts_with("/services/");
                let mut told = told.lock().unwrap();
                told.push(request);
                let of_chat = told
                    .iter()
                    .filter(|told| told.path.starts_with("/services/"))
                    .count();
                Some(match is_chat {
                    true if of_chat <= failing => {
                        Response::text(429, "ratelimited").with("Retry-After", "1")
                    }
                    true => Response::text(200, "ok"),
                    false => Response::text(204, ""),
                })
            }
        });
        Self { server, told }
    }

    /// The controller with both in its settings.
    fn of<'a>(&self, controller: Controller<'a>, folder: &Path) -> Controller<'a> {
        let (chat, secret) = (folder.join("chat-url"), folder.join("hook-secret"));
        fs::write(&chat, self.server.url("/services/T0/B0/c4n4ry")).unwrap();
        fs::write(&secret, SECRET).unwrap();
        controller.setting("alerts:").setting(&format!(
            "  - {{ name: oncall, slack: {{ webhookUrlFile: {} }} }}",
            chat.display()
        )).setting(&format!(
            "  - {{ name: hook, webhook: {{ url: \"{}\", secretFile: {} }}, on: [opened, succeeded, failed, reverted] }}",
            self.server.url("/hook"),
            secret.display()
        ))
    }

    /// What came below a path, in the order in which it came.
    fn told(&self, path: &str) -> Vec<(Request, Value)> {
        let told = self.told.lock().unwrap();
        told.iter()
            .filter(|request| request.path.starts_with(path))
            .map(|request| {
                (
                    request.clone(),
                    serde_json::from_slice(&request.body).unwrap(),
                )
            })
            .collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn a_bad_commit_is_told_in_order_with_everything_that_on_call_needs() {
    let fleet = SmallFleet::settled();
    let receivers = Receivers::start(2);
    let folder = tempfile::tempdir().unwrap();
    let controller = receivers.of(fleet.controller("one"), folder.path());
    let bad = fleet.publish_version("2-bad");
    let answer = controller.settle(4);

    let hook = receivers.told("/hook");
    let types: Vec<&str> = hook.iter().map(|(_, body)| text(&body["type"])).collect();
    // One that begins without a memory says once more what another controller had to say last.
    assert_eq!(
        types,
        [
            "dev.tidegate.rollout.succeeded.v1",
            "dev.tidegate.rollout.opened.v1",
            "dev.tidegate.rollout.failed.v1",
            "dev.tidegate.rollout.reverted.v1",
        ]
    );
    for (request, body) in &hook {
        assert_eq!(request.header("webhook-id"), body["id"].as_str());
        assert!(
            request
                .header("webhook-signature")
                .unwrap()
                .starts_with("v1,")
        );
    }
    for (_, body) in &hook[1..] {
        assert_eq!(body["data"]["source"], bad.as_str());
    }
    let data = &hook[3].1["data"];
    assert_eq!(data["region"], "north");
    assert_eq!(data["gate"], "healthz");
    assert_eq!(data["reason"], "Harm");
    assert_eq!(
        data["message"],
        "north healthz answered 500, 2 times in a row"
    );
    let head = fleet.git(&["rev-parse", "main"]);
    assert_eq!(data["revert"], head.as_str());

    // The chat failed twice and got all of it in the end, also in order; what opened is not among its events.
    let chat = receivers.told("/services/");
    let titles: Vec<&str> = chat
        .iter()
        .map(|(_, body)| text(&body["blocks"][0]["text"]["text"]))
        .collect();
    let failed = "Failed, rolling back: small in north (wave broad)";
    let reverted = "Rolled back: small in north (wave broad)";
    assert_eq!(titles, [failed, failed, failed, reverted]);
    let body = chat[3].1.to_string();
    for part in [
        "healthz answered 500",
        "Roll 2-bad out",
        "Given back",
        "tidegate explain",
    ] {
        assert!(body.contains(part), "{part} in {body}");
    }
    for secret in ["c4n4ry", SECRET] {
        assert!(!answer.stderr.contains(secret), "{}", answer.stderr);
    }
}

#[test]
fn a_receiver_that_never_answers_delays_no_rollout_and_is_told_by_the_next_run() {
    let fleet = SmallFleet::settled();
    let folder = tempfile::tempdir().unwrap();
    // Accepts connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let chat = folder.path().join("chat-url");
    fs::write(&chat, format!("http://{address}/services/x")).unwrap();
    let setting = format!(
        "alerts: [ {{ name: oncall, slack: {{ webhookUrlFile: {} }} }} ]",
        chat.display()
    );
    let controller = fleet.controller("one").setting(&setting);
    fleet.publish_version("2-bad");
    let mut running = controller.start();
    running.wait_until("the branches are given back", LONG, || {
        fleet.rollout_is("RolledBack")
    });
    // Killed with alerts waiting: they are in the outbox.
    running.kill();
    let receivers = Receivers::start(0);
    fs::write(&chat, receivers.server.url("/services/y")).unwrap();
    let mut running = controller.start();
    running.wait_until("the alerts arrive", LONG, || {
        receivers.told("/services/").len() >= 2
    });
    running.kill();
    let titles: Vec<String> = receivers
        .told("/services/")
        .iter()
        .map(|(_, body)| text(&body["blocks"][0]["text"]["text"]).to_owned())
        .collect();
    assert!(titles[0].starts_with("Failed"), "{titles:?}");
    assert!(titles[1].starts_with("Rolled back"), "{titles:?}");
}
