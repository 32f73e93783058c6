//! An Application as Argo CD writes it, and somebody who watches it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::rows::{ROWS, Row};
use super::super::verdict::judge_by;
use super::super::{
    Action, Application, Before, Expected, Limits, Memory, Revisions, Standing, Verdict,
};
use crate::gates::object_key::ObjectKey;

pub(super) const OURS: &str = "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432";
/// Another commit with our tree of the region.
pub(super) const SAME_TREE: &str = "9f8e7d6c5b4a39281706f5e4d3c2b1a000000000";
pub(super) const OLDER: &str = "1a2b3c4d5e6f708192a3b4c5d6e7f80912345678";
pub(super) const LATER_OURS: &str = "2b2b3c4d5e6f708192a3b4c5d6e7f80912345678";
pub(super) const LATER_THEIRS: &str = "3c2b3c4d5e6f708192a3b4c5d6e7f80912345678";
pub(super) const FOREIGN: &str = "4d2b3c4d5e6f708192a3b4c5d6e7f80912345678";
pub(super) const NOT_FETCHED: &str = "5e2b3c4d5e6f708192a3b4c5d6e7f80912345678";

pub(super) struct Git;

impl Revisions for Git {
    fn standing(&self, revision: &str) -> Standing {
        match revision {
            OURS | SAME_TREE => Standing::Wanted,
            OLDER => Standing::Older,
            LATER_OURS => Standing::Newer { ours: true },
            LATER_THEIRS => Standing::Newer { ours: false },
            FOREIGN => Standing::Foreign,
            _ => Standing::UnknownCommit,
        }
    }
}

/// Synced at our commit, healthy, and compared once more since.
pub(super) fn base() -> Value {
    let source = json!({
        "repoURL": "https://git.example.com/platform/fleet.git",
        "targetRevision": "tidegate/canary",
        "path": "westus3/payments",
    });
    let destination = json!({ "server": "https://westus3.example.com", "namespace": "payments" });
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": "payments-westus3",
            "namespace": "argocd",
            "uid": "0c4f0f4e-7d1b-4b0e-8f0a-6f1d0a4f9f11",
            "resourceVersion": "1000",
            "generation": 77,
            "annotations": { "example.com/team": "payments" },
        },
        "spec": {
            "project": "payments",
            "source": source,
            "destination": destination,
            "syncPolicy": {
                "automated": { "prune": true, "selfHeal": true },
                "retry": { "limit": 5 },
            },
        },
        "status": {
            "sync": {
                "status": "Synced",
                "revision": OURS,
                "comparedTo": { "source": source, "destination": destination },
            },
            "health": { "status": "Healthy", "lastTransitionTime": "2026-03-01T09:00:00Z" },
            "operationState": {
                "phase": "Succeeded",
                "message": "successfully synced (all tasks run)",
                "startedAt": "2026-03-01T10:00:00Z",
                "finishedAt": "2026-03-01T10:00:10Z",
                "operation": {
                    "initiatedBy": { "automated": true },
                    "sync": { "revision": OURS },
                },
                "syncResult": { "revision": OURS, "source": source },
            },
            "resources": [
                {
                    "group": "apps", "version": "v1", "kind": "Deployment",
                    "namespace": "payments", "name": "api", "status": "Synced",
                },
                {
                    "version": "v1", "kind": "ConfigMap",
                    "namespace": "payments", "name": "settings", "status": "Synced",
                },
                {
                    "group": "rbac.authorization.k8s.io", "version": "v1", "kind": "ClusterRole",
                    "name": "payments", "status": "Synced",
                },
            ],
            "reconciledAt": "2026-03-01T10:00:12Z",
            "sourceType": "Directory",
            "summary": { "images": ["registry.example.com/api:2"] },
        },
    })
}

fn key(group: &str, kind: &str, namespace: Option<&str>, name: &str) -> ObjectKey {
    ObjectKey {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

pub(super) fn expected() -> Expected {
    Expected {
        application: "payments-westus3".to_owned(),
        repositories: vec![
            "git@git.example.com:platform/fleet.git".to_owned(),
            "https://git.example.com/platform/fleet".to_owned(),
        ],
        branch: "tidegate/canary".to_owned(),
        folder: "westus3".to_owned(),
        objects: [
            key("apps", "Deployment", None, "api"),
            key("", "ConfigMap", Some("payments"), "settings"),
            key("rbac.authorization.k8s.io", "ClusterRole", None, "payments"),
        ]
        .into(),
        before: Some(Before {
            health: super::super::Health::Healthy,
            health_message: String::new(),
            operation_started_at: "2026-02-20T10:00:00Z".parse().ok(),
        }),
        may_terminate: true,
        tip_is_ours: true,
        listed: 1,
        ..Expected::default()
    }
}

/// Sets what stands at a place, with all that leads there.
pub(super) fn set(value: &mut Value, place: &str, new: impl Into<Value>) {
    let mut at = value;
    for step in place.split('/').skip(1) {
        at = if let Ok(index) = step.parse::<usize>() {
            &mut at[index]
        } else {
            if !at.is_object() {
                *at = json!({});
            }
            &mut at[step]
        };
    }
    *at = new.into();
}

/// Takes away what stands at a place.
pub(super) fn unset(value: &mut Value, place: &str) {
    let (parent, name) = place.rsplit_once('/').unwrap();
    if let Some(parent) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.remove(name);
    }
}

/// Somebody who watches one Application since a promotion.
pub(super) struct Watch {
    pub(super) app: Option<Value>,
    pub(super) expected: Expected,
    pub(super) limits: Limits,
    pub(super) memory: Memory,
    pub(super) now: Duration,
    rows: Vec<(u8, Row)>,
}

impl Watch {
    /// Begins to watch, by the table without a row.
    pub(super) fn new(without: Option<u8>) -> Self {
        Self {
            app: Some(base()),
            expected: expected(),
            limits: Limits::default(),
            memory: Memory::default(),
            now: Duration::from_secs(1_000),
            rows: ROWS
                .into_iter()
                .filter(|(row, _)| Some(*row) != without)
                .collect(),
        }
    }

    /// Has looked, asked for a refresh, and got it.
    pub(super) fn fresh(without: Option<u8>) -> Self {
        let mut watch = Self::new(without);
        watch.look();
        watch.refreshed();
        watch
    }

    pub(super) fn set(&mut self, place: &str, new: impl Into<Value>) -> &mut Self {
        set(self.app.as_mut().unwrap(), place, new);
        self
    }

    pub(super) fn unset(&mut self, place: &str) -> &mut Self {
        unset(self.app.as_mut().unwrap(), place);
        self
    }

    pub(super) fn condition(&mut self, kind: &str, message: &str) -> &mut Self {
        self.set(
            "/status/conditions",
            json!([{ "type": kind, "message": message }]),
        )
    }

    /// An operation that runs.
    pub(super) fn runs(&mut self, revision: &str, automated: bool) -> &mut Self {
        let operation = json!({
            "initiatedBy": { "automated": automated },
            "sync": { "revision": revision },
        });
        self.set("/operation", operation.clone());
        self.set(
            "/status/operationState",
            json!({
                "phase": "Running",
                "message": "waiting for completion of hook batch/Job/migrate",
                "startedAt": "2026-03-01T10:01:00Z",
                "operation": operation,
                "syncResult": { "revision": revision },
            }),
        )
    }

    /// An operation that has failed.
    pub(super) fn failed(&mut self, revision: &str, phase: &str, message: &str) -> &mut Self {
        self.runs(revision, true).unset("/operation");
        self.set("/status/operationState/phase", phase);
        self.set("/status/operationState/message", message);
        self.set("/status/operationState/finishedAt", "2026-03-01T10:01:05Z");
        self.set("/status/reconciledAt", "2026-03-01T10:01:07Z");
        self.out_of_sync()
    }

    pub(super) fn out_of_sync(&mut self) -> &mut Self {
        self.set("/status/sync/status", "OutOfSync");
        self.set("/status/resources/0/status", "OutOfSync")
    }

    /// Looks once, now.
    pub(super) fn look(&mut self) -> Verdict {
        let application = self.app.as_ref().map(|app| Application::read(app).unwrap());
        judge_by(
            &self.rows,
            application.as_ref(),
            &self.expected,
            &Git,
            &self.limits,
            &mut self.memory,
            self.now,
        )
    }

    /// Looks now and for so many seconds more, every five seconds.
    pub(super) fn look_for(&mut self, seconds: u64) -> Verdict {
        let end = self.now + Duration::from_secs(seconds);
        let mut verdict = self.look();
        while self.now < end {
            self.now = end.min(self.now + Duration::from_secs(5));
            verdict = self.look();
        }
        verdict
    }

    /// Looks as `look_for` does, at an Argo CD that answers each refresh that is asked for by the next look.
    pub(super) fn look_alive_for(&mut self, seconds: u64) -> Verdict {
        let end = self.now + Duration::from_secs(seconds);
        let mut verdict = self.look();
        while self.now < end {
            let asks = verdict.act == Some(Action::Refresh);
            if asks {
                self.ask();
            }
            self.now = end.min(self.now + Duration::from_secs(5));
            if asks {
                self.answer(5);
            }
            verdict = self.look();
        }
        verdict
    }

    /// A refresh is asked for and answered within a second.
    pub(super) fn refreshed(&mut self) -> Verdict {
        self.ask();
        self.now += Duration::from_secs(1);
        self.answer(1);
        self.look()
    }

    /// Asks for a refresh: the annotation stands.
    pub(super) fn ask(&mut self) {
        let version = self.next_version();
        self.set("/metadata/annotations/argocd.argoproj.io~1refresh", "");
        let annotations = self
            .app
            .as_mut()
            .unwrap()
            .pointer_mut("/metadata/annotations");
        annotations
            .unwrap()
            .as_object_mut()
            .unwrap()
            .insert("argocd.argoproj.io/refresh".to_owned(), "normal".into());
        self.memory.refresh_requested(&version, self.now);
    }

    /// Argo CD has compared, so many seconds after the comparison before.
    pub(super) fn answer(&mut self, seconds: i64) {
        self.next_version();
        let annotations = self
            .app
            .as_mut()
            .unwrap()
            .pointer_mut("/metadata/annotations");
        annotations
            .unwrap()
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !name.contains("refresh"));
        self.reconcile(seconds);
    }

    /// A comparison that nobody asked for.
    pub(super) fn reconcile(&mut self, seconds: i64) {
        let place = "/status/reconciledAt";
        let app = self.app.as_ref().unwrap();
        let before: Timestamp = app
            .pointer(place)
            .and_then(Value::as_str)
            .unwrap_or("2026-03-01T10:00:00Z")
            .parse()
            .unwrap();
        let after = before + SignedDuration::from_secs(seconds);
        self.set(place, after.to_string());
    }

    pub(super) fn next_version(&mut self) -> String {
        let place = "/metadata/resourceVersion";
        let app = self.app.as_ref().unwrap();
        let version: u64 = app
            .pointer(place)
            .and_then(Value::as_str)
            .unwrap()
            .parse()
            .unwrap();
        let next = (version + 1).to_string();
        self.set(place, next.as_str());
        next
    }
}
