//! What Entra ID may do instead of its work.

use super::*;

#[tokio::test]
async fn a_failure_is_the_answer_to_all_who_ask_at_that_moment() {
    let limits = Limits {
        failed_for: LONG,
        ..LIMITS
    };
    let Some(stage) = Stage::set_up(limits) else {
        return;
    };
    stage.entra.set_fault(CLIENT, Some(Fault::Closes));
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..20 {
        let clusters = Arc::clone(&stage.clusters);
        let cluster = ["aks-a", "aks-b"][number % 2];
        asked.spawn(async move { clusters.client(cluster).await.map(|_| ()) });
    }
    for found in asked.join_all().await {
        found.unwrap_err();
    }
    assert_eq!(stage.entra.sign_ins().len(), 1);
}

#[tokio::test]
async fn a_sign_in_that_hangs_has_a_deadline_and_delays_no_other_identity() {
    let limits = Limits {
        signed_in_within: Duration::from_secs(5),
        ..LIMITS
    };
    let Some(stage) = Stage::set_up(limits) else {
        return;
    };
    stage.entra.trust(OTHER, ASSERTIONS[0]);
    let (end, wait) = open_end();
    stage.entra.set_fault(CLIENT, Some(Fault::Hangs(wait)));
    let clusters = Arc::clone(&stage.clusters);
    let hanging = tokio::spawn(async move { clusters.client("aks-a").await.map(|_| ()) });
    until("the sign-in", async || stage.entra.sign_ins().len() == 1).await;
    stage.ask("aks-other").await.unwrap();
    assert!(!hanging.is_finished());
    let said = hanging.await.unwrap().unwrap_err().to_string();
    assert!(
        said.ends_with("Entra ID (127.0.0.1) did not answer the sign-in within 5s"),
        "{said}"
    );
    drop(end);
}

#[tokio::test]
async fn every_fault_is_told_with_its_kubeconfig_and_without_any_token() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    let answers = |status, body: &str| Fault::Answers(status, body.to_owned(), None);
    let issued = |text: &str, lifetime: i64| {
        let token = json!({ "token_type": "Bearer", "expires_in": lifetime, "access_token": text });
        answers(200, &token.to_string())
    };
    let refused = format!("Entra ID refuses the sign-in of client {CLIENT} in tenant {TENANT}: ");
    let no_record = "No matching federated identity record found for presented assertion subject 'system:serviceaccount:tidegate:tidegate'.";
    let mut one_line = json!({ "error": "invalid_client", "error_description": "" });
    one_line["error_description"] =
        format!("AADSTS700024: {no_record} Trace ID: 1 Correlation ID: 2 Timestamp: 3").into();
    let busy = |seconds: &str| {
        Fault::Answers(
            429,
            String::new(),
            Some(("Retry-After", seconds.to_owned())),
        )
    };
    let no_answer =
        "127.0.0.1 answered the sign-in, but not as Entra ID does: check AZURE_AUTHORITY_HOST";
    let failed = |code: &str| format!("Entra ID (127.0.0.1) answered the sign-in with {code}");
    for (fault, expected) in [
        (
            Fault::Refuses(400, 70021, no_record.to_owned()),
            format!("{refused}AADSTS70021: {no_record}"),
        ),
        (
            Fault::Refuses(401, 700_027, "Not\u{202e} signed.".to_owned()),
            format!("{refused}AADSTS700027: Not signed."),
        ),
        (
            answers(401, &one_line.to_string()),
            format!("{refused}AADSTS700024: {no_record}"),
        ),
        (
            answers(400, r#"{"error":"invalid_grant"}"#),
            format!("{refused}invalid_grant"),
        ),
        (
            Fault::Repeats,
            format!("{refused}AADSTS50027: The assertion *** is malformed."),
        ),
        (answers(401, "<html>who are you?</html>"), failed("401")),
        (answers(404, ""), failed("404")),
        (answers(302, ""), failed("302")),
        (answers(500, "oh"), failed("500")),
        (
            Fault::Refuses(503, 90033, "A transient error has occurred.".to_owned()),
            failed("503: AADSTS90033: A transient error has occurred."),
        ),
        (answers(200, "<html>sign in</html>"), no_answer.to_owned()),
        (answers(200, "{}"), no_answer.to_owned()),
        (issued("", 3600), no_answer.to_owned()),
        (issued("a\r\nb: c", 3600), no_answer.to_owned()),
        (issued("hunter2-issued", 0), no_answer.to_owned()),
        (issued("hunter2-issued", i64::MAX), no_answer.to_owned()),
        (answers(200, &"x".repeat(1 << 20)), no_answer.to_owned()),
        (
            busy("7"),
            "Entra ID asks for patience (429); it is asked again in 7s".to_owned(),
        ),
    ] {
        let fresh = stage.clusters(LIMITS, &stage.token_file());
        stage.entra.set_fault(CLIENT, Some(fault));
        let Err(ClusterError::Unusable { place, message }) =
            fresh.client("aks-a").await.map(|_| ())
        else {
            panic!("{expected}")
        };
        assert_eq!(message, expected);
        assert_eq!(place, stage.file_of("aks-a").display().to_string());
        assert!(!message.contains("hunter2") && !message.contains(TOKEN_PREFIX));
    }
}

#[tokio::test]
async fn one_that_asks_for_patience_gets_it() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    let header = Some(("Retry-After", "60".to_owned()));
    stage
        .entra
        .set_fault(CLIENT, Some(Fault::Answers(429, String::new(), header)));
    for cluster in ["aks-a", "aks-b", "aks-a"] {
        let said = stage.ask(cluster).await.unwrap_err();
        assert!(said.contains("asks for patience (429)"), "{said}");
    }
    assert_eq!(stage.entra.sign_ins().len(), 1);
}

#[tokio::test]
async fn a_connection_that_breaks_and_one_that_never_stands_are_told() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    stage.entra.set_fault(CLIENT, Some(Fault::Closes));
    let said = stage.ask("aks-a").await.unwrap_err();
    assert!(
        said.contains("Entra ID (127.0.0.1) cannot be reached: "),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    // Nobody we know vouches for it.
    let mut untrusting = stage.sign_ins(LIMITS, &stage.token_file());
    let http = transport::builder().no_proxy().tls_certs_only([]).build();
    untrusting.http = OnceLock::from(http.unwrap());
    let clusters = Clusters {
        sign_ins: Arc::new(untrusting),
        ..Clusters::new(stage.clusters.sources.clone(), EgressRules::ANY)
    };
    let said = clusters.client("aks-a").await.map(|_| ()).unwrap_err();
    let said = said.to_string();
    assert!(
        said.contains("cannot be reached: invalid peer certificate"),
        "{said}"
    );
}

#[tokio::test]
async fn a_token_file_that_cannot_be_read_is_named() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    std::fs::remove_file(stage.token_file()).unwrap();
    let said = stage.ask("aks-a").await.unwrap_err();
    let expected = format!(
        "the pod's token for Entra ID cannot be read from {}: ",
        stage.token_file().display()
    );
    assert!(said.contains(&expected), "{said}");
    stage.write_token("");
    let said = stage.ask("aks-a").await.unwrap_err();
    assert!(said.ends_with("it is empty"), "{said}");
    stage.write_token(ASSERTIONS[0]);
    stage.ask("aks-a").await.unwrap();
}
