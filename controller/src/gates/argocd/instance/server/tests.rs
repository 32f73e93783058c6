//! Against a small server that answers as Argo CD's does, and as it should not.

mod acting;

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use tidegate_testkit::http::{HttpServer, Request, Response, Sending};

use super::super::{Instance, LIST_IS_NEW_FOR};
use super::*;
use crate::gates::egress::EgressRules;
use crate::regions::Clusters;
use crate::regions::request::LARGEST_ANSWER;
use crate::settings::{Argocd, ArgocdWay};

const TOKEN: &str = "the-token-of-a-test";

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
                // As Argo CD does by default (`--api-content-types`).
                let is_json = request.header("content-type") == Some("application/json");
                let answer = if request.method == "GET" || is_json {
                    answer(&request)
                } else {
                    Some(Response::text(415, "Invalid content type"))
                };
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
            Arc::new(Clusters::new(Vec::new(), EgressRules::default())),
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
        self.instance
            .applications(LIST_IS_NEW_FOR)
            .await
            .unwrap_err()
            .to_string()
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

fn read(object: &Value) -> Application {
    Application::read(object).unwrap()
}

#[tokio::test]
async fn all_applications_are_listed_with_the_token_that_is_there_now() {
    let list = json!({ "metadata": {}, "items": [object(7, 0), { "metadata": {} }] }).to_string();
    let fake = Fake::new(move |_| Some(Response::json(200, list.clone())));
    let listed = fake.instance.applications(LIST_IS_NEW_FOR).await.unwrap();
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
async fn what_an_application_repeats_of_the_token_is_hidden() {
    let mut repeating = object(7, 0);
    repeating["status"]["health"] = json!({ "message": format!("asked by Bearer {TOKEN}") });
    let list = json!({ "items": [repeating] }).to_string();
    let fake = Fake::new(move |_| Some(Response::json(200, list.clone())));
    let listed = fake.instance.applications(LIST_IS_NEW_FOR).await.unwrap();
    let message = &listed[0].application.health.message;
    assert_eq!(message, "asked by Bearer ***");
}

#[tokio::test]
async fn none_at_all_is_a_list_too() {
    for items in [Value::Null, json!([])] {
        let list = json!({ "metadata": {}, "items": items }).to_string();
        let fake = Fake::new(move |_| Some(Response::json(200, list.clone())));
        assert_eq!(
            fake.instance
                .applications(LIST_IS_NEW_FOR)
                .await
                .unwrap()
                .len(),
            0
        );
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
    let pause = |retry_after: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
        }
        super::error::pause(&headers).as_secs()
    };
    assert_eq!(pause(Some("3600")), 60);
    assert_eq!(pause(Some("7")), 7);
    for unnamed in [None, Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some("-1")] {
        assert_eq!(pause(unnamed), 1);
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
        let waited = tokio::time::timeout(short, fake.instance.applications(LIST_IS_NEW_FOR)).await;
        assert!(waited.is_err());
    }
    drop(release);
    assert!(fake.instance.applications(LIST_IS_NEW_FOR).await.is_ok());
    // The second one: the first was asked for too long ago by then, or not.
    assert!(fake.asked().len() <= 2, "{:?}", fake.asked());
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
    assert!(fake.instance.hides_what_is_forbidden());
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
