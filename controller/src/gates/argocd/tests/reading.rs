//! Reading whatever there is.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Application, Health, Phase, ReadError, SyncStatus};
use super::fixture::{Watch, base};
use crate::gates::shown::line;

#[test]
fn what_argo_cd_writes_is_read() {
    let mut app = base();
    super::fixture::set(
        &mut app,
        "/status/conditions",
        json!([{ "type": "SyncError", "message": "a\nb\u{202e}" }]),
    );
    let app = Application::read(&app).unwrap();
    assert_eq!(app.name, "payments-westus3");
    assert_eq!(app.sync.status, SyncStatus::Synced);
    assert_eq!(app.health.status, Health::Healthy);
    assert_eq!(app.retry_limit, Some(5));
    assert_eq!(app.resources.len(), 3);
    assert_eq!(app.conditions[0].message, "a b");
    assert!(app.automated.unwrap().enabled && app.automated.unwrap().prune);
    let state = app.operation_state.unwrap();
    assert_eq!(state.phase, Phase::Succeeded);
    assert!(state.operation.automated);
    assert!(state.finished_at > state.started_at);
    assert!(app.reconciled_at > state.finished_at);
}

#[test]
fn what_is_missing_or_strange_is_left_out() {
    assert_eq!(Application::read(&json!([])), Err(ReadError::NotAnObject));
    assert_eq!(Application::read(&json!({})), Err(ReadError::Nameless));
    let project = json!({ "kind": "AppProject", "metadata": { "name": "a" } });
    assert_eq!(
        Application::read(&project),
        Err(ReadError::OtherKind("AppProject".to_owned()))
    );
    let bare = Application::read(&json!({ "metadata": { "name": "a" } })).unwrap();
    assert_eq!(
        bare,
        Application {
            name: "a".to_owned(),
            ..Application::default()
        }
    );
    let strange = json!({
        "metadata": { "name": "a", "annotations": 7, "uid": [] },
        "operation": null,
        "spec": "none",
        "status": {
            "sync": { "status": "Perhaps", "revisions": [null, "b"] },
            "health": { "status": "Fine", "lastTransitionTime": "yesterday" },
            "operationState": { "phase": "Resting", "retryCount": "many" },
            "reconciledAt": 12,
            "resources": [1, { "kind": "A" }],
        },
    });
    let strange = Application::read(&strange).unwrap();
    assert_eq!(strange.sync.status, SyncStatus::Other("Perhaps".to_owned()));
    assert_eq!(strange.sync.revisions.at(0), None);
    assert_eq!(strange.sync.revisions.at(1), Some("b"));
    assert_eq!(strange.health.status, Health::Other("Fine".to_owned()));
    assert_eq!(strange.health.last_transition, None);
    assert_eq!(strange.reconciled_at, None);
    assert_eq!(strange.operation, None);
    let state = strange.operation_state.unwrap();
    assert_eq!(state.phase, Phase::Other("Resting".to_owned()));
}

#[test]
fn long_texts_are_cut() {
    assert_eq!(line("abcdef", 6), "abcdef");
    assert_eq!(line("abcdefg", 6), "abcde…");
    assert_eq!(line("", 0), "");
}

const WORDS: [&str; 40] = [
    "metadata",
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "annotations",
    "spec",
    "source",
    "sources",
    "sourceHydrator",
    "syncSource",
    "drySource",
    "repoURL",
    "targetRevision",
    "path",
    "destination",
    "server",
    "syncPolicy",
    "automated",
    "enabled",
    "retry",
    "limit",
    "operation",
    "initiatedBy",
    "sync",
    "revision",
    "revisions",
    "status",
    "comparedTo",
    "health",
    "message",
    "operationState",
    "phase",
    "syncResult",
    "conditions",
    "type",
    "resources",
    "kind",
    "reconciledAt",
    "finishedAt",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        proptest::sample::select(vec![
            "Synced",
            "Degraded",
            "Running",
            "Failed",
            "ComparisonError",
            "SyncError",
            "9999-12-31T23:59:59Z",
            "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432",
            "-009999-01-02T01:59:59Z",
            "tidegate/canary",
            "git@:",
            "://@:443",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 96, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(proptest::sample::select(WORDS.to_vec()), inner, 0..8)
                .prop_map(|map| map
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_panics(value in any_json()) {
        let _ = Application::read(&value);
    }

    #[test]
    fn no_application_panics_and_evidence_is_one_short_line(places in proptest::collection::vec((0_usize..15, any_json()), 1..4)) {
        let mut watch = Watch::fresh(None);
        for (place, value) in places {
            let place = ["/spec", "/status", "/operation", "/status/sync", "/status/health", "/status/operationState",
                "/status/conditions", "/status/resources", "/spec/source", "/spec/sources", "/status/sync/comparedTo",
                "/status/reconciledAt", "/spec/source/repoURL", "/spec/source/path", "/status/sync/revision"][place];
            watch.set(place, value);
        }
        for _ in 0..3 {
            let verdict = watch.look_for(30);
            prop_assert!(verdict.evidence.starts_with("payments-westus3: "));
            prop_assert!(verdict.evidence.chars().count() <= 300);
            prop_assert!(!verdict.evidence.chars().any(char::is_control));
        }
    }
}
