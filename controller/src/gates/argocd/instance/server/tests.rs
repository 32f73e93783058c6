//! Against a small server that answers as Argo CD's does, and as it should not.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use tidegate_testkit::http::{HttpServer, Request, Response, Sending};

use super::super::{Instance, Refresh};
use super::*;
use crate::regions::Clusters;
use crate::regions::request::LARGEST_ANSWER;
use crate::settings::{Argocd, ArgocdWay};

const TOKEN: &str = "the-token-of-a-test";
/// How long anything may take on a slow machine.
const LONG: Duration = Duration::from_secs(20);

/// A server, and an Argo CD that is reached there.
struct Fake {
    server: HttpServer,
    seen: Arc<Mutex<Vec<Request>>>,
    folder: tempfile::TempDir,
    instance: Instance,
}

impl Fake {
    fn new(answer: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = HttpServer::start({
            let seen = Arc::clone(&seen);
            move |request| {
                let answer = answer(&request);
                seen.lock().unwrap().push(request);
                answer
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
        let way = ArgocdServer {
            url: server.url("/argo/?x#y").parse().unwrap(),
            token_file,
            ca_file: None,
        };
        let instance = Instance::new(
            Argocd {
                name: "far".to_owned(),
                way: ArgocdWay::Server(way),
                namespace: "deploy".to_owned(),
                repo_urls: Vec::new(),
                sync: true,
            },
            Arc::new(Clusters::new(Vec::new())),
        );
        Self {
            server,
            seen,
            folder,
            instance,
        }
    }

    /// One that answers with this Application whatever is asked of one, and well otherwise.
    fn of(application: &Value) -> Self {
        let text = application.to_string();
        Self::new(move |request| {
            let text = if request.method == "GET" { &text } else { "{}" };
            Some(Response::json(200, text))
        })
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// What was asked, as method, path and query.
    fn asked(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let line = |request: &Request| {
            let line = format!("{} {}?{}", request.method, request.path, request.query);
            line.trim_end_matches('?').to_owned()
        };
        seen.iter().map(line).collect()
    }

    async fn list_error(&self) -> String {
        self.instance.applications().await.unwrap_err().to_string()
    }
}

/// An Application of the project `shop`, whose newest comparison began in this second.
fn object(version: u64, second: u8) -> Value {
    json!({
        "metadata": { "name": "west", "namespace": "deploy", "uid": "u", "resourceVersion": version.to_string() },
        "spec": {
            "project": "shop",
            "source": { "repoURL": "https://git.example.com/shop", "targetRevision": "tidegate/canary", "path": "west" },
            "syncPolicy": { "automated": { "prune": true } },
        },
        "status": { "reconciledAt": format!("2026-03-01T10:00:{second:02}Z") },
    })
}

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

fn read(object: &Value) -> Application {
    Application::read(object).unwrap()
}

/// In whose place an Application stands.
const PLACE: &str = "appNamespace=deploy&project=shop";

#[tokio::test]
async fn all_applications_are_listed_with_the_token_that_is_there_now() {
    let list = json!({ "metadata": {}, "items": [object(7, 0), { "metadata": {} }] }).to_string();
    let fake = Fake::new(move |_| Some(Response::json(200, list.clone())));
    let listed = fake.instance.applications().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].application, read(&object(7, 0)));
    assert_eq!(
        fake.asked(),
        ["GET /argo/api/v1/applications?appNamespace=deploy"]
    );

    std::fs::write(fake.token_file(), "another").unwrap();
    let current = fake.instance.current(&[read(&object(7, 0))]).await;
    assert!(current.is_err(), "a list is no Application");
    let seen = fake.seen.lock().unwrap();
    let sent = |index: usize| seen[index].header("authorization").map(str::to_owned);
    assert_eq!(sent(0), Some(format!("Bearer {TOKEN}")));
    assert_eq!(sent(1), Some("Bearer another".to_owned()));
}

#[tokio::test]
async fn none_at_all_is_a_list_too() {
    for items in [Value::Null, json!([])] {
        let list = json!({ "metadata": {}, "items": items }).to_string();
        let fake = Fake::new(move |_| Some(Response::json(200, list.clone())));
        assert_eq!(fake.instance.applications().await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn each_refusal_says_what_it_means_and_not_the_token() {
    let refused = |code: u16, message: &str| {
        Response::json(
            code,
            json!({ "error": message, "code": 2, "message": message }).to_string(),
        )
    };
    let large = Response::json(200, " ".repeat(LARGEST_ANSWER + 1));
    let cut = Response {
        sending: Sending::Cut(3),
        ..Response::json(200, "{\"items\": []}")
    };
    for (answer, words) in [
        (
            Some(refused(401, "invalid session")),
            "(401): put a valid one",
        ),
        (Some(refused(403, "permission denied")), "(403)"),
        (Some(refused(404, "not found")), "(404)"),
        (Some(refused(429, "slow down")), "patience (429)"),
        (
            Some(refused(500, "lost\n\u{1b}[2J Bearer the-token-of-a-test")),
            "answered 500: lost  [2J Bearer ***",
        ),
        (
            Some(Response::text(503, "<html>the-token-of-a-test")),
            "its API answered 503",
        ),
        (
            Some(Response::text(307, "").with("Location", "https://elsewhere.example.com/")),
            "answered 307, a redirect, which is not followed",
        ),
        (Some(Response::text(200, "<html>")), "not as Argo CD does"),
        (Some(Response::json(200, "{}")), "not as Argo CD does"),
        (Some(large), "larger than 64 MiB"),
        (Some(cut), "cannot be reached"),
        (None, "cannot be reached"),
    ] {
        let fake = Fake::new(move |_| answer.clone());
        let error = fake.list_error().await;
        assert!(error.starts_with("Argo CD far: "), "{error}");
        assert!(error.contains(words), "{words}: {error}");
        assert!(!error.contains(TOKEN), "{error}");
        assert!(!error.chars().any(char::is_control), "{error:?}");
    }
}

#[tokio::test]
async fn a_redirect_leads_the_token_nowhere() {
    let other = Fake::new(|_| Some(Response::json(200, "{\"items\": []}")));
    let target = other.server.url("/argo/api/v1/applications");
    let fake = Fake::new(move |_| Some(Response::text(302, "").with("Location", &target)));
    assert!(fake.list_error().await.contains("answered 302"));
    assert_eq!(other.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn who_asks_for_patience_is_left_alone() {
    let fake = Fake::new(|_| Some(Response::json(429, "{}").with("Retry-After", "3600")));
    let application = read(&object(1, 0));
    for _ in 0..3 {
        let error = fake.instance.terminate(&application).await.unwrap_err();
        assert!(error.to_string().contains("(429)"), "{error}");
    }
    assert_eq!(fake.asked().len(), 1);
    let longest = Duration::from_secs(60);
    assert_eq!(super::error::pause(Some("3600")), longest);
    assert_eq!(super::error::pause(Some("7")), Duration::from_secs(7));
    for unnamed in [None, Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some("-1")] {
        assert_eq!(super::error::pause(unnamed), Duration::from_secs(1));
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    let fake = Fake::of(&object(1, 0));
    for write in [None, Some(""), Some("a\nb")] {
        match write {
            None => std::fs::remove_file(fake.token_file()).unwrap(),
            Some(text) => std::fs::write(fake.token_file(), text).unwrap(),
        }
        let application = read(&object(1, 0));
        let error = fake
            .instance
            .sync(&application)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("`tokenFile` cannot be read"), "{error}");
        // Evidence is public.
        assert!(!error.contains("/token"), "{error}");
    }
    assert_eq!(fake.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn one_that_hangs_is_asked_once_whoever_gives_up() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let fake = Fake::new(move |_| {
        let _ = held.lock().unwrap().recv();
        Some(Response::json(200, "{\"items\": []}"))
    });
    for _ in 0..3 {
        let short = Duration::from_millis(50);
        let waited = tokio::time::timeout(short, fake.instance.applications()).await;
        assert!(waited.is_err());
    }
    drop(release);
    assert!(fake.instance.applications().await.is_ok());
    // The second one: the first was asked for too long ago by then, or not.
    assert!(fake.asked().len() <= 2, "{:?}", fake.asked());
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

#[tokio::test]
async fn names_stay_parts_of_a_path_and_no_project_is_the_default_one() {
    let object = json!({ "metadata": { "name": "../x?y", "uid": "u" } });
    let fake = Fake::of(&object);
    let current = fake.instance.current(&[read(&object)]).await.unwrap();
    assert_eq!(current.len(), 1);
    assert_eq!(
        fake.asked(),
        ["GET /argo/api/v1/applications/..%2Fx%3Fy?appNamespace=deploy&project=default"]
    );
}

#[tokio::test]
async fn application_sets_are_left_to_argo_cd() {
    let fake = Fake::of(&object(1, 0));
    let asked = fake.instance.refresh_sets(|_| true).await.unwrap();
    assert_eq!((asked.len(), fake.asked().len()), (0, 0));
    assert!(fake.instance.lists_may_lag());
}

#[tokio::test]
async fn the_certificates_are_read_anew_and_must_be_some() {
    let fake = Fake::of(&object(1, 0));
    let ca_file = fake.folder.path().join("ca.pem");
    let settings = ArgocdServer {
        url: fake.server.url("/").parse().unwrap(),
        token_file: fake.token_file(),
        ca_file: Some(ca_file.clone()),
    };
    let server = Server::new("far", "deploy", &settings);
    let error = async || server.applications().await.unwrap_err().to_string();
    assert!(error().await.contains("`caFile` cannot be read"));
    std::fs::write(&ca_file, "none").unwrap();
    assert!(error().await.contains("holds no certificates"));
    let certificates = tidegate_testkit::certificates::Certificates::generate().unwrap();
    std::fs::copy(certificates.authority(), &ca_file).unwrap();
    assert!(error().await.contains("not as Argo CD does"));
    // One that is just being replaced.
    std::fs::write(&ca_file, "none").unwrap();
    assert!(error().await.contains("not as Argo CD does"));
}
