use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tidegate_testkit::certificates::Certificates;
use tidegate_testkit::http::{HttpServer, Response, Sending};

use super::*;

mod rotation;
mod silence;

/// A kubeconfig whose contexts all lead to this server.
fn kubeconfig(server: &str, contexts: &[&str]) -> String {
    let contexts: Vec<_> = contexts
        .iter()
        .map(|name| json!({ "name": name, "context": { "cluster": "c", "user": "u" } }))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": contexts.first().map(|context| context["name"].clone()),
        "contexts": contexts,
        "clusters": [{ "name": "c", "cluster": { "server": server } }],
        "users": [{ "name": "u", "user": { "token": "hunter2-token" } }],
    })
    .to_string()
}

/// A kubeconfig of one cluster and one user.
pub(super) fn kubeconfig_of(cluster: &serde_json::Value, user: &serde_json::Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": cluster }],
        "users": [{ "name": "u", "user": user }],
    })
    .to_string()
}

fn clusters(sources: Vec<ClusterSource>) -> Clusters {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Clusters::new(sources, EgressRules::default())
}

/// The error's words; a client has no words.
async fn why(clusters: &Clusters, cluster: &str) -> String {
    match clusters.client(cluster).await {
        Ok(_) => panic!("{cluster} was found"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_folder_has_a_kubeconfig_for_each_cluster() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("aks-a.yaml"),
        kubeconfig("https://127.0.0.1:1", &["x"]),
    )
    .unwrap();
    let clusters = clusters(vec![ClusterSource::Kubeconfigs(folder.path().to_owned())]);
    clusters.client("aks-a").await.map(|_| ()).unwrap();
    let unknown = why(&clusters, "aks-b").await;
    assert!(unknown.contains("lead to no cluster aks-b"), "{unknown}");
    assert!(
        unknown.contains(folder.path().to_str().unwrap()),
        "{unknown}"
    );
}

#[tokio::test]
async fn a_name_never_leads_out_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(
        folder.path().join("secret.yaml"),
        kubeconfig("https://127.0.0.1:1", &["x"]),
    )
    .unwrap();
    let clusters = clusters(vec![ClusterSource::Kubeconfigs(inner)]);
    for name in ["../secret", "..", "", "a/../../secret", ".hidden"] {
        assert!(why(&clusters, name).await.contains("lead to no cluster"));
    }
}

#[tokio::test]
async fn one_kubeconfig_has_a_context_for_each_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(
        &file,
        kubeconfig("https://127.0.0.1:1", &["aks-a", "aks-b"]),
    )
    .unwrap();
    let clusters = clusters(vec![ClusterSource::Kubeconfig(file)]);
    for name in ["aks-a", "aks-b"] {
        clusters.client(name).await.map(|_| ()).unwrap();
    }
    assert!(
        why(&clusters, "aks-c")
            .await
            .contains("lead to no cluster aks-c")
    );
}

#[tokio::test]
async fn what_is_no_kubeconfig_is_said_without_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("aks-a"), "users: [hunter2-token").unwrap();
    let clusters = clusters(vec![ClusterSource::Kubeconfigs(folder.path().to_owned())]);
    let said = why(&clusters, "aks-a").await;
    assert!(said.contains("this is no kubeconfig"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

/// The address to which a cluster's client goes: asks it and reads the words of the failure, which has none.
async fn is_asked(listener: &tokio::net::TcpListener, clusters: &Clusters, cluster: &str) -> bool {
    let client = clusters
        .client(cluster)
        .await
        .map_err(|error| error.to_string())
        .unwrap();
    let asked = tokio::spawn(async move { request::get(&client, "/version").await });
    let accepted = tokio::time::timeout(Duration::from_secs(5), listener.accept()).await;
    asked.abort();
    accepted.is_ok()
}

#[tokio::test]
async fn a_rotated_file_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aks-a");
    let clusters = clusters(vec![ClusterSource::Kubeconfigs(folder.path().to_owned())]);
    for _ in 0..2 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        std::fs::write(&file, kubeconfig(&format!("http://{address}"), &["x"])).unwrap();
        assert!(is_asked(&listener, &clusters, "aks-a").await);
    }
}

#[tokio::test]
async fn all_who_ask_at_once_get_the_client_that_one_of_them_makes() {
    let folder = tempfile::tempdir().unwrap();
    let text = kubeconfig("https://127.0.0.1:1", &["x"]);
    std::fs::write(folder.path().join("aks-a"), text).unwrap();
    let clusters = Arc::new(clusters(vec![ClusterSource::Kubeconfigs(
        folder.path().to_owned(),
    )]));
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let clusters = Arc::clone(&clusters);
        asked.spawn(async move { clusters.client("aks-a").await.map(|_| ()) });
    }
    for found in asked.join_all().await {
        found.unwrap();
    }
}

#[tokio::test]
async fn what_a_plugin_says_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let user = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "false",
        "args": ["hunter2-argument"],
        "env": [{ "name": "CLIENT_SECRET", "value": "hunter2-secret" }],
        "interactiveMode": "Never",
    } });
    let text = kubeconfig_of(&json!({ "server": "https://127.0.0.1:1" }), &user);
    std::fs::write(folder.path().join("aks-a"), text).unwrap();
    let clusters = clusters(vec![ClusterSource::Kubeconfigs(folder.path().to_owned())]);
    let said = why(&clusters, "aks-a").await;
    assert!(said.contains("its plugin failed"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

/// A server that answers with what it was sent: as a refusal, then in an object and, the same, in a Secret.
async fn repeat_what_is_sent(listener: tokio::net::TcpListener) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for answer in 0_usize.. {
        let Ok((mut connection, _)) = listener.accept().await else {
            return;
        };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match connection.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let sent = head
            .lines()
            .find_map(|line| line.strip_prefix("authorization: "))
            .unwrap_or("nothing");
        let (status, body) = match answer % 3 {
            0 => (
                "403 Forbidden",
                json!({ "kind": "Status", "message": format!("you cannot come with {sent}") }),
            ),
            1 => (
                "200 OK",
                json!({ "kind": "Pod", "status": { "message": sent } }),
            ),
            _ => (
                "200 OK",
                json!({ "kind": "Secret", "data": { "key": sent } }),
            ),
        };
        let body = body.to_string();
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        connection.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_server_repeats_of_our_credentials_is_hidden() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let repeating = tokio::spawn(repeat_what_is_sent(listener));
    let plugin = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": { "token": "hunter2-of-a-plugin" },
    });
    for user in [
        json!({ "token": "hunter2-token" }),
        json!({ "username": "me", "password": "hunter2-password" }),
        json!({ "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "echo",
            "args": [plugin.to_string()],
            "interactiveMode": "Never",
        } }),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = kubeconfig_of(&json!({ "server": server }), &user);
        std::fs::write(folder.path().join("aks-a"), text).unwrap();
        let clusters = clusters(vec![ClusterSource::Kubeconfigs(folder.path().to_owned())]);
        let client = clusters
            .client("aks-a")
            .await
            .map_err(|error| error.to_string());
        let client = client.unwrap();
        let refused = request::get(&client, "/api/v1/pods/a").await.unwrap_err();
        assert_eq!(refused.to_string().matches("***").count(), 1, "{refused}");
        assert!(
            refused.to_string().starts_with("we may not come with B"),
            "{refused}"
        );
        let pod = request::get(&client, "/api/v1/pods/a")
            .await
            .unwrap()
            .unwrap();
        let message = pod["status"]["message"].as_str().unwrap();
        assert!(message.ends_with(" ***"), "{message}");
        // It is compared and never shown.
        let secret = request::get(&client, "/api/v1/secrets/a")
            .await
            .unwrap()
            .unwrap();
        assert!(!secret["data"]["key"].as_str().unwrap().contains("***"));
    }
    repeating.abort();
}

/// Kubeconfigs in a cluster's Secrets.
fn secrets_of(cluster: &str) -> ClusterSource {
    ClusterSource::Secrets(KubeconfigSecrets {
        cluster: cluster.to_owned(),
        namespace: "kcm-system".to_owned(),
        name: "{cluster}-kubeconfig".to_owned(),
        key: "value".to_owned(),
    })
}

/// A cluster's Secrets by which its Argo CD knows others.
fn argocd_secrets_of(cluster: &str) -> ClusterSource {
    ClusterSource::ArgocdSecrets(ArgocdSecrets {
        cluster: cluster.to_owned(),
        namespace: "argocd".to_owned(),
    })
}

#[tokio::test]
async fn secrets_that_lead_to_themselves_end_in_an_error() {
    let clusters = clusters(vec![secrets_of("one"), secrets_of("two")]);
    let said = why(&clusters, "three").await;
    assert!(said.contains("leads back to itself"), "{said}");
}

fn secret(name: &str, config: &str) -> serde_json::Value {
    let text = |text: &str| STANDARD.encode(text);
    json!({
        "metadata": { "name": format!("cluster-{name}") },
        "data": { "name": text(name), "server": text("https://127.0.0.1:1"), "config": text(config) },
    })
}

/// A management cluster with a kubeconfig for `aks-a` in a Secret, which leads to this server.
fn management(server: &str, egress: EgressRules) -> (Clusters, HttpServer, tempfile::TempDir) {
    let user = json!({ "token": "hunter2-token" });
    let inner = kubeconfig_of(&json!({ "server": server }), &user);
    let secret = json!({ "kind": "Secret", "data": { "value": STANDARD.encode(inner) } });
    let holder = HttpServer::start(move |_| Some(Response::json(200, secret.to_string())));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    let to_holder = kubeconfig_of(&json!({ "server": holder.url("") }), &user);
    std::fs::write(&file, to_holder).unwrap();
    let sources = vec![secrets_of("x"), ClusterSource::Kubeconfig(file)];
    (Clusters::new(sources, egress), holder, folder)
}

#[tokio::test]
async fn whoever_writes_secrets_leads_us_neither_to_this_machine_nor_to_its_link() {
    for server in [
        "https://127.0.0.1:1",
        "https://[::1]:1",
        "https://[::ffff:127.0.0.1]:1",
        "http://169.254.169.254",
    ] {
        let (clusters, _holder, _folder) = management(server, EgressRules::default());
        let Err(error) = clusters.client("aks-a").await else {
            panic!("{server} may be asked")
        };
        assert_eq!(error.reading(), Reading::EgressDenied, "{server}: {error}");
        assert!(
            error
                .to_string()
                .contains("Secret kcm-system/aks-a-kubeconfig"),
            "{error}"
        );
    }
    // A name is looked up when it is connected to, and so are spellings that only look like one.
    for server in ["https://localhost:1", "http://2130706433:1"] {
        let ask = async |egress: EgressRules| {
            let (clusters, _holder, _folder) = management(server, egress);
            let client = clusters.client("aks-a").await.unwrap();
            request::get(&client, "/version").await.unwrap_err()
        };
        let error = ask(EgressRules::default()).await;
        assert_eq!(error.reading(), Reading::EgressDenied, "{server}: {error}");
        assert!(error.to_string().contains("egress.loopback"), "{error}");
        let error = ask(EgressRules::ANY).await;
        assert!(matches!(error, RequestError::Unreachable(_)), "{error}");
    }
}

#[test]
fn an_argo_cd_tells_its_clusters_by_name() {
    let all = [
        secret(
            "aks-a",
            r#"{"bearerToken":"t","tlsClientConfig":{"insecure":true}}"#,
        ),
        secret(
            "aks-b",
            r#"{"execProviderConfig":{"command":"argocd-k8s-auth"}}"#,
        ),
        json!({ "metadata": { "name": "broken" }, "data": { "name": "%" } }),
    ];
    let found = argocd_secret::find(&all, "aks-a").map_err(|error| error.clone());
    assert!(found.unwrap().is_some());
    assert!(argocd_secret::find(&all, "aks-c").unwrap().is_none());
    let Err(refused) = argocd_secret::find(&all, "aks-b") else {
        panic!("an exec plugin of a Secret is run")
    };
    assert!(
        refused.contains("give the cluster a kubeconfig"),
        "{refused}"
    );
}

#[test]
fn a_kubeconfig_in_a_secret_runs_and_reads_nothing_here() {
    let plain = json!({ "server": "https://127.0.0.1:1" });
    let good = kubeconfig_of(&plain, &json!({ "token": "t" }));
    assert!(kubeconfig::of_secret(&good, "s").is_ok());
    for (user, cluster) in [
        (
            json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1", "command": "sh" } }),
            plain.clone(),
        ),
        (json!({ "tokenFile": "/etc/shadow" }), plain.clone()),
        (
            json!({ "client-certificate": "/etc/a", "client-key": "/etc/b" }),
            plain,
        ),
        (
            json!({ "token": "t" }),
            json!({ "server": "https://127.0.0.1:1", "certificate-authority": "/etc/a" }),
        ),
    ] {
        let text = kubeconfig_of(&cluster, &user);
        let Err(error) = kubeconfig::of_secret(&text, "s") else {
            panic!("{text}")
        };
        assert!(error.to_string().contains("a Secret may not"), "{error}");
    }
}

/// A client of a server that answers so.
async fn client_of(server: &HttpServer, folder: &std::path::Path) -> kube::Client {
    std::fs::write(folder.join("aks-a"), kubeconfig(&server.url(""), &["x"])).unwrap();
    let clusters = clusters(vec![ClusterSource::Kubeconfigs(folder.to_owned())]);
    let client = clusters.client("aks-a").await;
    client.map_err(|error| error.to_string()).unwrap()
}

/// The second page of a list is forgotten for so many beginnings of it; gives what came of it and how often was asked.
async fn list_that_is_forgotten(
    times: usize,
) -> (Result<Vec<serde_json::Value>, request::RequestError>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let server = HttpServer::start({
        let asked = Arc::clone(&asked);
        move |request| {
            let mut asked = lock(&asked);
            let is_next = request.query.contains("continue=more");
            asked.push(is_next);
            let forgotten = asked.iter().filter(|is_next| **is_next).count();
            Some(if !is_next {
                let page =
                    json!({ "metadata": { "continue": "more" }, "items": [{ "name": "a" }] });
                Response::json(200, page.to_string())
            } else if forgotten <= times {
                let status = json!({ "kind": "Status", "code": 410, "message": "too old" });
                Response::json(410, status.to_string())
            } else {
                let page = json!({ "metadata": {}, "items": [{ "name": "b" }] });
                Response::json(200, page.to_string())
            })
        }
    });
    let client = client_of(&server, folder.path()).await;
    let listed = request::list(&client, "/api/v1/pods", "").await;
    let count = lock(&asked).len();
    (listed, count)
}

#[tokio::test]
async fn a_list_that_grows_too_old_is_begun_anew_and_not_without_end() {
    let all = vec![json!({ "name": "a" }), json!({ "name": "b" })];
    assert_eq!(list_that_is_forgotten(0).await, (Ok(all.clone()), 2));
    assert_eq!(list_that_is_forgotten(2).await, (Ok(all), 6));
    let too_old = request::RequestError::Answered {
        code: 410,
        message: "too old".to_owned(),
    };
    assert_eq!(list_that_is_forgotten(usize::MAX).await, (Err(too_old), 6));
}

#[tokio::test]
async fn who_asks_for_patience_is_left_alone_for_so_long_and_nobody_else_is() {
    let folder = tempfile::tempdir().unwrap();
    for (wait, waits) in [
        (Some("7"), true),
        (Some("86400"), true),
        (Some("soon"), false),
        (None, false),
    ] {
        let server = HttpServer::start(move |_| {
            let busy = Response::text(429, "Too many requests, please try again later.");
            Some(
                wait.iter()
                    .fold(busy, |busy, wait| busy.with("Retry-After", wait)),
            )
        });
        for name in ["aks-a", "aks-b"] {
            std::fs::write(
                folder.path().join(name),
                kubeconfig(&server.url(""), &["x"]),
            )
            .unwrap();
        }
        let clusters = clusters(vec![ClusterSource::Kubeconfigs(folder.path().to_owned())]);
        let client = clusters
            .client("aks-a")
            .await
            .map_err(|error| error.to_string());
        let error = request::get(&client.unwrap(), "/version")
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the API server asks for patience (429)");
        clusters.failed("aks-a", &error);
        clusters.client("aks-b").await.map(|_| ()).unwrap();
        if waits {
            let said = why(&clusters, "aks-a").await;
            let longest = if wait == Some("7") { "7" } else { "60" };
            let words = format!("the API server asks for patience (429), for {longest} s more");
            assert_eq!(said, words);
        } else {
            clusters.client("aks-a").await.map(|_| ()).unwrap();
        }
    }
}

#[tokio::test]
async fn who_has_the_secrets_is_left_alone_as_well() {
    for (source, place) in [
        (secrets_of("x"), "Secret kcm-system/aks-a-kubeconfig"),
        (argocd_secrets_of("x"), "cluster Secrets"),
    ] {
        let asked = Arc::new(Mutex::new(0));
        let holder = HttpServer::start({
            let asked = Arc::clone(&asked);
            move |_| {
                *lock(&asked) += 1;
                Some(Response::text(429, "later").with("Retry-After", "50"))
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        std::fs::write(&file, kubeconfig(&holder.url(""), &["x"])).unwrap();
        let clusters = clusters(vec![source, ClusterSource::Kubeconfig(file)]);
        let said = why(&clusters, "aks-a").await;
        assert!(said.contains(place) && said.ends_with("(429)"), "{said}");
        let said = why(&clusters, "aks-a").await;
        assert!(
            said.contains(place) && said.contains("patience (429), for 50 s more"),
            "{said}"
        );
        assert_eq!(*lock(&asked), 1);
    }
}

#[tokio::test]
async fn an_answer_that_ends_in_the_middle_is_told_in_words_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::generate().expect("openssl");
    let server = HttpServer::over_tls(&certificates, |_| {
        let mut answer = Response::json(200, json!({ "items": [] }).to_string());
        answer.sending = Sending::Cut(5);
        Some(answer)
    });
    let authority = std::fs::read(certificates.authority()).unwrap();
    let cluster = json!({
        "server": format!("https://{}", server.address()),
        "certificate-authority-data": STANDARD.encode(authority),
    });
    let text = kubeconfig_of(&cluster, &json!({ "token": "hunter2-token" }));
    std::fs::write(folder.path().join("aks-a"), text).unwrap();
    let clusters = clusters(vec![ClusterSource::Kubeconfigs(folder.path().to_owned())]);
    let client = clusters
        .client("aks-a")
        .await
        .map_err(|error| error.to_string());
    let error = request::list(&client.unwrap(), "/api/v1/pods", "")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the API server cannot be reached: the connection ended before the whole answer was there"
    );
}

#[test]
fn parts_of_paths_are_escaped() {
    assert_eq!(request::escaped("aks-a.b_c~1"), "aks-a.b_c~1");
    assert_eq!(request::escaped("a/b?c=d e%"), "a%2Fb%3Fc%3Dd%20e%25");
}
