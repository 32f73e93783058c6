//! Reading an Application from JSON. Nothing but its name must be there, and what is not understood is left out.

use jiff::Timestamp;
use serde_json::Value;

use super::application::{
    Application, Automated, Compared, Condition, Destination, Health, HealthState, Resource,
    Source, SyncState, SyncStatus,
};
use super::instance::STARTED_BY_US;
use super::operation::{Failure, Operation, OperationState, Phase, RevisionList};
use crate::gates::shown::{self, line};

/// The longest message that is kept, in characters.
const LONGEST_MESSAGE: usize = 400;
/// The longest name, address or revision that is kept, in characters.
const LONGEST_WORD: usize = 2048;
/// The most conditions that are kept; Argo CD knows about fifteen kinds.
const MOST_CONDITIONS: usize = 64;
/// The most sources, and revisions, that are kept.
const MOST_SOURCES: usize = 256;
/// The most failures of one sync that are kept.
const MOST_FAILURES: usize = 64;
/// The most options of a sync that are kept; Argo CD knows about twenty.
const MOST_OPTIONS: usize = 64;

/// Why something is no Application.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not even a JSON object.
    #[error("an Application is a JSON object, and this is none")]
    NotAnObject,
    /// It is of another kind.
    #[error("this is a {0}, not an Application")]
    OtherKind(String),
    /// It has no name.
    #[error("this Application has no `metadata.name`")]
    Nameless,
}

impl Application {
    /// Reads an Application, as the Kubernetes API or Argo CD's own answers it.
    pub fn read(value: &Value) -> Result<Self, ReadError> {
        if !value.is_object() {
            return Err(ReadError::NotAnObject);
        }
        let kind = word(value, "/kind");
        if !kind.is_empty() && kind != "Application" {
            return Err(ReadError::OtherKind(shown::word(&kind)));
        }
        let name = word(value, "/metadata/name");
        if name.is_empty() {
            return Err(ReadError::Nameless);
        }
        let annotation = |name: &str| {
            let annotations = value.pointer("/metadata/annotations")?;
            annotations.get(name)?.as_str().map(str::to_owned)
        };
        Ok(Self {
            namespace: word(value, "/metadata/namespace"),
            name,
            project: word(value, "/spec/project"),
            uid: word(value, "/metadata/uid"),
            resource_version: word(value, "/metadata/resourceVersion"),
            deleting: present(value, "/metadata/deletionTimestamp").is_some(),
            refresh: annotation("argocd.argoproj.io/refresh").map(|text| shown::word(&text)),
            skip_reconcile: annotation("argocd.argoproj.io/skip-reconcile")
                .is_some_and(|text| is_true(&text)),
            sources: sources(value, "/spec"),
            destination: destination(value, "/spec/destination"),
            automated: present(value, "/spec/syncPolicy/automated").map(|automated| Automated {
                enabled: automated.get("enabled").and_then(Value::as_bool) != Some(false),
                prune: flag(automated, "/prune"),
                self_heal: flag(automated, "/selfHeal"),
            }),
            retry_limit: integer(value, "/spec/syncPolicy/retry/limit"),
            sync_options: items(value, "/spec/syncPolicy/syncOptions")
                .take(MOST_OPTIONS)
                .filter_map(|option| option.as_str().map(str::to_owned))
                .collect(),
            retry: present(value, "/spec/syncPolicy/retry").cloned(),
            operation: present(value, "/operation").map(operation),
            sync: SyncState {
                status: SyncStatus::from(word(value, "/status/sync/status").as_str()),
                revisions: revisions(value, "/status/sync"),
                compared: present(value, "/status/sync/comparedTo").map(|compared| Compared {
                    sources: sources(compared, ""),
                    destination: destination(compared, "/destination"),
                }),
            },
            health: HealthState {
                status: Health::from(word(value, "/status/health/status").as_str()),
                message: message(value, "/status/health/message"),
                last_transition: time(value, "/status/health/lastTransitionTime"),
            },
            operation_state: present(value, "/status/operationState").map(operation_state),
            conditions: items(value, "/status/conditions")
                .take(MOST_CONDITIONS)
                .map(|condition| Condition {
                    kind: word(condition, "/type"),
                    message: message(condition, "/message"),
                })
                .collect(),
            resources: items(value, "/status/resources").map(resource).collect(),
            reconciled_at: time(value, "/status/reconciledAt"),
        })
    }
}

fn operation(value: &Value) -> Operation {
    Operation {
        automated: flag(value, "/initiatedBy/automated") || is_started_by_us(value),
        revisions: revisions(value, "/sync"),
    }
}

/// Whether an operation has the mark of those that are started from here through Argo CD's own API.
fn is_started_by_us(value: &Value) -> bool {
    let (name, mark) = STARTED_BY_US;
    items(value, "/info").any(|info| text(info, "/name") == name && text(info, "/value") == mark)
}

fn operation_state(value: &Value) -> OperationState {
    OperationState {
        phase: Phase::from(word(value, "/phase").as_str()),
        message: message(value, "/message"),
        started_at: time(value, "/startedAt"),
        finished_at: time(value, "/finishedAt"),
        retry_count: integer(value, "/retryCount").unwrap_or(0),
        result: revisions(value, "/syncResult"),
        operation: present(value, "/operation")
            .map(operation)
            .unwrap_or_default(),
        failures: items(value, "/syncResult/resources")
            .filter_map(failure)
            .take(MOST_FAILURES)
            .collect(),
    }
}

/// What is said of an object or a hook of a sync, if it failed.
fn failure(value: &Value) -> Option<Failure> {
    let was_refused = text(value, "/status") == "SyncFailed";
    let phase = Phase::from(text(value, "/hookPhase"));
    let has_run = !was_refused && phase == Phase::Failed;
    (was_refused || matches!(phase, Phase::Failed | Phase::Error)).then(|| Failure {
        message: message(value, "/message"),
        has_run,
    })
}

fn resource(value: &Value) -> Resource {
    Resource {
        group: word(value, "/group"),
        kind: word(value, "/kind"),
        namespace: word(value, "/namespace"),
        name: word(value, "/name"),
        status: SyncStatus::from(word(value, "/status").as_str()),
        requires_pruning: flag(value, "/requiresPruning"),
        hook: flag(value, "/hook"),
    }
}

/// The sources below a place: several, or one, or the one that a hydrator writes.
fn sources(value: &Value, place: &str) -> Vec<Source> {
    let several: Vec<Source> = items(value, &format!("{place}/sources"))
        .take(MOST_SOURCES)
        .map(source)
        .collect();
    if !several.is_empty() {
        return several;
    }
    // A hydrated Application is synced from where the hydrator writes, whatever else its spec holds.
    if let Some(hydrator) = present(value, &format!("{place}/sourceHydrator")) {
        return vec![Source {
            repo_url: Some(word(hydrator, "/syncSource/repoURL"))
                .filter(|url| !url.is_empty())
                .unwrap_or_else(|| word(hydrator, "/drySource/repoURL")),
            target_revision: word(hydrator, "/syncSource/targetBranch"),
            path: word(hydrator, "/syncSource/path"),
        }];
    }
    present(value, &format!("{place}/source"))
        .map(source)
        .into_iter()
        .collect()
}

fn source(value: &Value) -> Source {
    Source {
        repo_url: word(value, "/repoURL"),
        target_revision: word(value, "/targetRevision"),
        path: word(value, "/path"),
    }
}

fn destination(value: &Value, place: &str) -> Destination {
    Destination {
        server: word(value, &format!("{place}/server")),
        name: word(value, &format!("{place}/name")),
        namespace: word(value, &format!("{place}/namespace")),
    }
}

fn revisions(value: &Value, place: &str) -> RevisionList {
    RevisionList {
        single: word(value, &format!("{place}/revision")),
        // A place stays one, whatever stands there: the revisions are told apart by it.
        several: items(value, &format!("{place}/revisions"))
            .take(MOST_SOURCES)
            .map(|revision| line(revision.as_str().unwrap_or_default(), LONGEST_WORD))
            .collect(),
    }
}

fn present<'a>(value: &'a Value, place: &str) -> Option<&'a Value> {
    value.pointer(place).filter(|found| !found.is_null())
}

fn items<'a>(value: &'a Value, place: &str) -> impl Iterator<Item = &'a Value> {
    let array = value.pointer(place).and_then(Value::as_array);
    array.into_iter().flatten()
}

fn text<'a>(value: &'a Value, place: &str) -> &'a str {
    let found = value.pointer(place).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn word(value: &Value, place: &str) -> String {
    line(text(value, place), LONGEST_WORD)
}

fn message(value: &Value, place: &str) -> String {
    line(text(value, place), LONGEST_MESSAGE)
}

fn flag(value: &Value, place: &str) -> bool {
    value.pointer(place).and_then(Value::as_bool) == Some(true)
}

fn integer(value: &Value, place: &str) -> Option<i64> {
    value.pointer(place)?.as_i64()
}

fn time(value: &Value, place: &str) -> Option<Timestamp> {
    text(value, place).parse().ok()
}

/// The words that Go takes for true, as Argo CD reads the annotation with it.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}
