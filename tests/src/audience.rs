//! Those who are told of a small fleet beside git: a forge, and a receiver of alerts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::fake_github::{FakeGithub, Pull};
use crate::http::{HttpServer, Response};
use crate::way::Way;

const REPOSITORY: &str = "acme/small";
const TOKEN: &str = "ghp_4ud1ence";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const EVERY_KIND: &str =
    "[opened, succeeded, held, failed, reverted, revertIncomplete, drift, stalled]";

/// A forge and a receiver of alerts, and what they were told.
#[derive(Debug)]
pub struct Audience {
    /// The forge. It knows of commits and branches what git was told.
    pub github: FakeGithub,
    /// The way to both of them.
    pub way: Way,
    receiver: HttpServer,
    alerts: Arc<Mutex<Vec<Alert>>>,
    bare: PathBuf,
    /// The token and the secret, in files.
    secrets: tempfile::TempDir,
    /// The commit that was carried out before anybody was told.
    settled: String,
}

/// One alert, as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Alert {
    id: String,
    /// The commit that it is about.
    source: String,
    /// What happened, in a word or two.
    word: String,
    /// All that it says, without what the forge knows of it: that comes when the forge answers in time.
    says: Value,
}

/// What an audience knows, without ids that depend on the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The newest state of each status, by the first line of the commit's message and the context.
    pub statuses: BTreeMap<String, String>,
    /// Every pull request.
    pub pulls: Vec<String>,
    /// Every alert that is not one that had come before, in the order in which they came.
    pub alerts: Vec<String>,
}

impl Audience {
    /// Begins to listen; `settled` is the commit that has been carried out by now.
    pub fn of(bare: &Path, settled: &str) -> Self {
        let way = Way::default();
        let alerts = Arc::new(Mutex::new(Vec::new()));
        let receiver = HttpServer::start({
            let (way, alerts) = (way.clone(), Arc::clone(&alerts));
            move |request| {
                if way.loses() {
                    return None;
                }
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                let id = request.header("webhook-id").unwrap();
                assert_eq!(body["id"], id, "the header and the body name two ids");
                alerts.lock().unwrap().push(Alert::of(&body));
                Some(Response::text(204, ""))
            }
        });
        let secrets = tempfile::tempdir().unwrap();
        fs::write(secrets.path().join("token"), TOKEN).unwrap();
        fs::write(secrets.path().join("secret"), SECRET).unwrap();
        Self {
            github: FakeGithub::of(bare, REPOSITORY, TOKEN, way.clone()),
            way,
            receiver,
            alerts,
            bare: bare.to_owned(),
            secrets,
            settled: settled.to_owned(),
        }
    }

    /// The lines of a fleet's settings that name them.
    pub fn settings(&self) -> [String; 3] {
        let file = |name: &str| self.secrets.path().join(name).display().to_string();
        [
            format!(
                "forge: {{ kind: github, api: \"{}\", repository: {REPOSITORY}, tokenFile: {} }}",
                self.github.api(),
                file("token")
            ),
            "alerts:".to_owned(),
            format!(
                "  - {{ name: hook, webhook: {{ url: \"{}\", secretFile: {} }}, on: {EVERY_KIND} }}",
                self.receiver.url("/hook"),
                file("secret")
            ),
        ]
    }

    /// The pull request that waits to be merged, if there is one.
    pub fn open_pull(&self) -> Option<Pull> {
        self.github.pulls().into_iter().find(|pull| pull.open)
    }

    /// Somebody has merged it.
    pub fn merged(&self, number: u64) {
        self.github.change_pull(number, |pull| {
            (pull.open, pull.merged) = (false, true);
        });
    }

    /// What they know by now.
    ///
    /// An alert that comes again is no new one if it has the same id and says the same. Those about the commit that had
    /// been carried out before are left out: a controller without a memory says the last thing of another once more, but
    /// not after an hour, so that they come or not as it has been made a short or a long time before.
    pub fn told(&self) -> Told {
        let repository = git2::Repository::open_bare(&self.bare).unwrap();
        let mut statuses = BTreeMap::new();
        for status in self.github.posted() {
            let id = git2::Oid::from_str(&status.commit).unwrap();
            let commit = repository.find_commit(id).unwrap();
            let subject = commit.summary().unwrap().unwrap_or_default();
            statuses.insert(format!("{subject}: {}", status.context), status.state);
        }
        let pulls = self.github.pulls();
        let pulls = pulls.iter().map(|pull| {
            let state = match (pull.open, pull.merged) {
                (true, _) => "open",
                (false, true) => "merged",
                (false, false) => "closed",
            };
            format!("{} into {}: {state}", pull.title, pull.base)
        });
        let mut known: Vec<&Alert> = Vec::new();
        let alerts = self.alerts.lock().unwrap();
        for alert in alerts.iter().filter(|alert| alert.source != self.settled) {
            if !known.contains(&alert) {
                known.push(alert);
            }
        }
        Told {
            statuses,
            pulls: pulls.collect(),
            alerts: known.iter().map(|alert| alert.word.clone()).collect(),
        }
    }
}

impl Alert {
    fn of(body: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let data = &body["data"];
        let kind = text(&data["kind"]);
        let mut says = body.clone();
        says["data"]["links"] = Value::Null;
        Self {
            id: text(&body["id"]),
            source: text(&data["source"]),
            word: match data["reason"].as_str() {
                Some(reason) => format!("{kind} {reason}"),
                None => kind,
            },
            says,
        }
    }
}
