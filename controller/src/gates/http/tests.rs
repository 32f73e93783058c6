//! Probes of real servers on this machine.

use serde_json::json;
use tidegate_waves::fleet::HttpExpect;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const LOOPBACK: EgressRules = EgressRules {
    loopback: true,
    link_local: false,
};

/// Answers every connection with these bytes, once the request's head has come; returns its address.
async fn server(answer: impl Into<Vec<u8>>) -> String {
    let answer = answer.into();
    serve(move |mut stream| {
        let answer = answer.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(&answer).await;
        }
    })
    .await
}

async fn serve<F, Answered>(handle: F) -> String
where
    F: Fn(TcpStream) -> Answered + Send + 'static,
    Answered: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    format!("http://{address}")
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => break,
            Ok(count) => head.extend_from_slice(&part[..count]),
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn response(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn check(url: &str, version: Option<&str>) -> HttpCheck {
    HttpCheck {
        endpoint: None,
        url: url.to_owned(),
        method: "GET".to_owned(),
        headers: BTreeMap::new(),
        expect: HttpExpect {
            status: vec![200],
            json: version
                .map(|version| ("/version".to_owned(), json!(version)))
                .into_iter()
                .collect(),
        },
    }
}

async fn probe_with(
    rules: EgressRules,
    check: &HttpCheck,
    old: Option<&HttpCheck>,
) -> (Reading, String) {
    let prober = HttpProber::new(rules, &[]).unwrap();
    let older: Vec<HttpCheck> = old.into_iter().cloned().collect();
    let sample = prober
        .sample(check, &older, Duration::from_millis(800))
        .await;
    (sample.reading, sample.evidence)
}

async fn probe(url: &str) -> (Reading, String) {
    probe_with(LOOPBACK, &check(url, None), None).await
}

#[tokio::test]
async fn answers_are_judged() {
    let url = server(response("200 OK", r#"{"version":"v2"}"#)).await;
    let (old, new) = (check(&url, Some("v1")), check(&url, Some("v2")));
    assert_eq!(
        probe_with(LOOPBACK, &new, Some(&old)).await,
        (
            Reading::Healthy { proven: true },
            r#"answered 200, /version is "v2""#.to_owned()
        )
    );
    assert_eq!(
        probe_with(LOOPBACK, &old, Some(&new)).await,
        (
            Reading::Stale,
            r#"/version is "v2", expected "v1""#.to_owned()
        )
    );
    assert_eq!(probe(&url).await.0, Reading::Healthy { proven: false });
    let url = server(response("500 Oops", "secret")).await;
    assert_eq!(probe(&url).await, (Reading::Bad, "answered 500".to_owned()));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let url =
        server("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
            .await;
    let (reading, evidence) = probe(&url).await;
    assert_eq!(reading, Reading::Unreachable);
    assert!(evidence.contains("302"));
}

#[tokio::test]
async fn a_body_may_be_one_mebibyte_and_no_more() {
    let whole = "x".repeat(LARGEST_BODY);
    let url = server(response("200 OK", &whole)).await;
    assert_eq!(probe(&url).await.0, Reading::Healthy { proven: false });
    let url = server(response("200 OK", &format!("{whole}x"))).await;
    assert_eq!(probe(&url).await.0, Reading::Unreachable);
    // Without a length that could be seen beforehand.
    let url = server(format!("HTTP/1.1 200 OK\r\n\r\n{whole}x")).await;
    assert_eq!(probe(&url).await.0, Reading::Unreachable);
}

#[tokio::test]
async fn silence_is_unreachable() {
    let url = serve(|mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    assert_eq!(
        probe(&url).await,
        (Reading::Unreachable, "no answer within 800ms".to_owned())
    );
    // A head alone is no answer either.
    let url = serve(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nx")
            .await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    assert_eq!(probe(&url).await.0, Reading::Unreachable);
}

#[tokio::test]
async fn what_the_other_side_breaks_is_bad() {
    for broken in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nx",
    ] {
        let (reading, evidence) = probe(&server(broken).await).await;
        assert_eq!(reading, Reading::Bad, "{broken}: {evidence}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(
        probe(&url).await,
        (Reading::Bad, "connection refused".to_owned())
    );
}

#[tokio::test]
async fn a_reset_is_bad_before_and_within_the_answer() {
    for part in ["", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nx"] {
        let url = serve(move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(part.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            // Closing without lingering resets the connection.
            stream.set_zero_linger().unwrap();
        })
        .await;
        assert_eq!(
            probe(&url).await,
            (Reading::Bad, "connection reset".to_owned())
        );
    }
    // In the middle of a TLS handshake too: somebody was there and broke it off.
    let url = serve(|stream| async move { stream.set_zero_linger().unwrap() }).await;
    let (reading, evidence) = probe(&url.replace("http:", "https:")).await;
    assert_eq!(reading, Reading::Bad, "{evidence}");
}

#[tokio::test]
async fn tls_and_names_that_fail_are_unreachable() {
    let url = server(response("400 Bad Request", ""))
        .await
        .replace("http:", "https:");
    let (reading, evidence) = probe(&url).await;
    assert_eq!(reading, Reading::Unreachable, "{evidence}");
    let (reading, evidence) = probe("http://name.invalid/").await;
    assert_eq!(reading, Reading::Unreachable, "{evidence}");
    for url in ["ftp://127.0.0.1/", "healthz", ""] {
        assert_eq!(probe(url).await.0, Reading::Unreachable);
    }
}

#[tokio::test]
async fn the_egress_rules_hold_for_addresses_and_names() {
    let url = server(response("200 OK", "")).await;
    let port = url.rsplit(':').next().unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
    ] {
        let url = format!("http://{host}:{port}/");
        let (reading, evidence) =
            probe_with(EgressRules::default(), &check(&url, None), None).await;
        assert_eq!(reading, Reading::EgressDenied, "{host}: {evidence}");
        assert!(evidence.contains("egress rules"), "{evidence}");
    }
    let (reading, _) = probe_with(LOOPBACK, &check("http://169.254.169.254/", None), None).await;
    assert_eq!(reading, Reading::EgressDenied);
    let mut deleting = check(&url, None);
    deleting.method = "DELETE".to_owned();
    assert_eq!(
        probe_with(LOOPBACK, &deleting, None).await.0,
        Reading::EgressDenied
    );
}

#[tokio::test]
async fn endpoints_send_their_token_and_take_up_a_new_one() {
    let url = serve(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let body = json!({ "version": if head.contains("Bearer two") { "two" } else { "one" } });
        let _ = stream
            .write_all(response("200 OK", &body.to_string()).as_bytes())
            .await;
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    let endpoint = Endpoint {
        name: "api".to_owned(),
        url: url.parse().unwrap(),
        ca_file: None,
        token_file: Some(token_file.clone()),
        client_cert_file: None,
        client_key_file: None,
    };
    let prober = HttpProber::new(LOOPBACK, &[endpoint]).unwrap();
    let mut two = check("/healthz", Some("two"));
    two.endpoint = Some("api".to_owned());
    let timeout = Duration::from_secs(2);
    let missing = prober.sample(&two, &[], timeout).await;
    assert_eq!(missing.reading, Reading::Unreachable);
    assert!(!missing.evidence.contains(folder.path().to_str().unwrap()));
    std::fs::write(&token_file, "one\n").unwrap();
    assert_eq!(
        prober.sample(&two, &[], timeout).await.reading,
        Reading::Bad
    );
    std::fs::write(&token_file, "two\n").unwrap();
    assert_eq!(
        prober.sample(&two, &[], timeout).await.reading,
        Reading::Healthy { proven: false }
    );
    two.endpoint = Some("unknown".to_owned());
    assert_eq!(
        prober.sample(&two, &[], timeout).await.reading,
        Reading::EgressDenied
    );
}

#[tokio::test]
async fn two_hundred_at_once() {
    let url = serve(|mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = stream.write_all(response("200 OK", "").as_bytes()).await;
    })
    .await;
    let prober = Arc::new(HttpProber::new(LOOPBACK, &[]).unwrap());
    let mut probes = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (prober, check) = (Arc::clone(&prober), check(&url, None));
        probes.spawn(async move { prober.sample(&check, &[], Duration::from_secs(10)).await });
    }
    for sample in probes.join_all().await {
        assert_eq!(
            sample.reading,
            Reading::Healthy { proven: false },
            "{}",
            sample.evidence
        );
    }
}
