//! What is asked for, of which Application, and when it is not.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use tidegate_testkit::http::Response;

use super::super::super::Refresh;
use super::super::*;
use super::{Fake, object, read};

/// How long anything may take on a slow machine.
const LONG: Duration = Duration::from_secs(20);
/// In whose place an Application stands.
const PLACE: &str = "appNamespace=deploy&project=shop";

/// The same with an operation that runs for this commit since this second.
fn running(version: u64, revision: &str, second: u8) -> Value {
    let mut object = object(version, 0);
    object["operation"] = json!({ "sync": { "revision": revision } });
    object["status"]["operationState"] = json!({
        "phase": "Running", "startedAt": format!("2026-03-01T10:00:{second:02}Z"),
        "operation": { "sync": { "revision": revision } },
    });
    object
}

/// A server that compares once it is let.
fn comparing(status: u16) -> (Fake, Sender<()>) {
    let (compare, compared): (Sender<()>, Receiver<()>) = channel();
    let compared = Mutex::new(compared);
    let fake = Fake::new(move |request| {
        Some(if request.query.contains("refresh=normal") {
            let _ = compared.lock().unwrap().recv();
            Response::json(status, object(12, 5).to_string())
        } else {
            Response::json(200, object(10, 0).to_string())
        })
    });
    (fake, compare)
}

/// Asks for a refresh and lets it be answered, after it was not.
async fn refreshed(fake: &Fake, compare: Sender<()>) -> Result<Refreshed, InstanceError> {
    let Refresh::UnderWay(mut refreshing) =
        fake.instance.refresh(&read(&object(9, 0))).await.unwrap()
    else {
        panic!("its own API tells no version")
    };
    assert!(refreshing.answer().is_none());
    drop(compare);
    let answered = async {
        loop {
            if let Some(answer) = refreshing.answer() {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, answered).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_not_waited_for_and_answers_with_before_and_after() {
    let (fake, compare) = comparing(200);
    let Refreshed { before, after } = refreshed(&fake, compare).await.unwrap();
    assert_eq!(before.application, read(&object(10, 0)));
    assert_eq!(after.application, read(&object(12, 5)));
    let path = "GET /argo/api/v1/applications/west";
    assert_eq!(
        fake.asked(),
        [
            format!("{path}?{PLACE}"),
            format!("{path}?{PLACE}&refresh=normal")
        ]
    );

    let (fake, compare) = comparing(504);
    let error = refreshed(&fake, compare).await.unwrap_err().to_string();
    assert!(error.contains("answered 504"), "{error}");
}

#[tokio::test]
async fn only_the_operation_that_was_judged_is_ended() {
    let judged = read(&running(1, "bad", 3));
    let path = "/argo/api/v1/applications/west";
    let looked = format!("GET {path}?{PLACE}");
    for other in [
        object(2, 0),
        running(2, "good", 3),
        running(2, "bad", 4),
        json!({ "metadata": { "name": "west", "uid": "v" } }),
    ] {
        let fake = Fake::of(&other);
        fake.instance.terminate(&judged).await.unwrap();
        assert_eq!(fake.asked(), std::slice::from_ref(&looked));
    }
    let fake = Fake::of(&running(2, "bad", 3));
    fake.instance.terminate(&judged).await.unwrap();
    let ended = format!("DELETE {path}/operation?{PLACE}");
    assert_eq!(fake.asked(), [looked, ended]);
}

/// One that has this Application, and refuses what would change it.
fn refusing(application: &Value, code: u16) -> Fake {
    let text = application.to_string();
    Fake::new(move |request| {
        Some(if request.method == "GET" {
            Response::json(200, text.clone())
        } else {
            Response::json(
                code,
                "{\"code\": 3, \"message\": \"No operation is in progress\"}",
            )
        })
    })
}

#[tokio::test]
async fn an_operation_that_ended_meanwhile_needs_no_end() {
    let judged = running(1, "bad", 3);
    let fake = refusing(&judged, 400);
    fake.instance.terminate(&read(&judged)).await.unwrap();
    let fake = refusing(&judged, 403);
    let error = fake.instance.terminate(&read(&judged)).await.unwrap_err();
    // It says the same of what is gone: that is no reason not to ask again.
    assert!(error.to_string().contains("(403)") && !error.is_forbidden());
}

#[tokio::test]
async fn a_sync_is_of_what_was_judged_and_marked_as_ours() {
    let judged = read(&object(1, 0));
    let mut elsewhere = object(2, 0);
    elsewhere["spec"]["source"]["targetRevision"] = "main".into();
    for other in [running(2, "x", 0), elsewhere] {
        let fake = Fake::of(&other);
        fake.instance.sync(&judged).await.unwrap();
        assert_eq!(fake.asked().len(), 1);
    }
    let fake = Fake::of(&object(2, 0));
    fake.instance.sync(&judged).await.unwrap();
    assert_eq!(fake.asked()[1], "POST /argo/api/v1/applications/west/sync");
    let body = fake.seen.lock().unwrap()[1].body.clone();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body,
        json!({
            "name": "west", "appNamespace": "deploy", "project": "shop", "prune": true,
            "infos": [{ "name": "tidegate.dev/started-by", "value": "gate" }],
        })
    );
    let mut begun = object(3, 0);
    begun["operation"] = json!({ "info": body["infos"], "sync": {} });
    assert!(read(&begun).operation.unwrap().automated);
    begun["operation"]["info"][0]["value"] = "somebody".into();
    assert!(!read(&begun).operation.unwrap().automated);

    let fake = refusing(&object(2, 0), 400);
    let error = fake.instance.sync(&judged).await.unwrap_err().to_string();
    assert!(error.contains("answered 400: No operation"), "{error}");
}
