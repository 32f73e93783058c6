//! How long tokens are in use.

use super::*;

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_no_question_is_refused_meanwhile() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    // Renewed at half of its time, for it is shorter than what is spared.
    stage.entra.give_for(Duration::from_secs(10));
    until("a second token in use", async || {
        stage.ask("aks-a").await.unwrap();
        stage.tokens_taken().len() >= 2
    })
    .await;
    assert!(lock(&stage.seen).iter().all(|(_, is_good)| *is_good));
    let sign_ins = stage.entra.sign_ins();
    let age = sign_ins[1].at - sign_ins[0].at;
    assert!((5..10).contains(&age.as_secs()), "renewed after {age:?}");
}

#[test]
fn a_token_is_renewed_five_minutes_before_it_ends() {
    let spare = |seconds| {
        let token = Token::new(Secret::new("t"), Duration::from_secs(seconds));
        (token.0.ends - token.0.renewed_from).as_secs()
    };
    assert_eq!(spare(86_400), 300);
    assert_eq!(spare(601), 300);
    assert_eq!(spare(60), 30);
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_stays_in_use_until_it_ends() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    stage.entra.give_for(Duration::from_secs(4));
    let begun = Instant::now();
    stage.ask("aks-a").await.unwrap();
    let broken = Fault::Answers(503, "down".to_owned(), None);
    stage.entra.set_fault(CLIENT, Some(broken));
    until("a renewal that fails", async || {
        stage.ask("aks-a").await.unwrap();
        stage.entra.sign_ins().len() >= 2
    })
    .await;
    stage.ask("aks-a").await.unwrap();
    until("its end", async || stage.ask("aks-a").await.is_err()).await;
    assert!(begun.elapsed() >= Duration::from_millis(3900));
    let said = stage.ask("aks-a").await.unwrap_err();
    assert!(said.contains("answered the sign-in with 503"), "{said}");
    assert_eq!(stage.tokens_taken().len(), 1);
    stage.entra.set_fault(CLIENT, None);
    stage.ask("aks-a").await.unwrap();
}

#[tokio::test]
async fn a_renewal_that_hangs_delays_no_question() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    stage.entra.give_for(Duration::from_secs(12));
    stage.ask("aks-a").await.unwrap();
    let (end, wait) = open_end();
    stage.entra.set_fault(CLIENT, Some(Fault::Hangs(wait)));
    until("a renewal", async || {
        let asked = Instant::now();
        stage.ask("aks-a").await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(5));
        stage.entra.sign_ins().len() >= 2
    })
    .await;
    for _ in 0..5 {
        stage.ask("aks-a").await.unwrap();
    }
    assert_eq!(stage.entra.sign_ins().len(), 2, "one at a time");
    drop(end);
}

#[tokio::test]
async fn a_token_that_a_cluster_refuses_is_replaced_with_what_the_rotated_file_holds() {
    let Some(stage) = Stage::set_up(LIMITS) else {
        return;
    };
    stage.ask("aks-a").await.unwrap();
    stage.entra.revoke();
    stage.entra.trust(CLIENT, ASSERTIONS[1]);
    stage.write_token(ASSERTIONS[1]);
    let said = stage.ask("aks-a").await.unwrap_err();
    assert!(
        said.contains("does not accept our credentials (401)"),
        "{said}"
    );
    stage.ask("aks-a").await.unwrap();
    // The other cluster of the identity has it, too, without being refused first.
    stage.ask("aks-b").await.unwrap();
    let used: Vec<_> = stage
        .entra
        .sign_ins()
        .into_iter()
        .map(|sign_in| sign_in.form["client_assertion"].clone())
        .collect();
    assert_eq!(used, ASSERTIONS);
}

#[tokio::test]
async fn a_cluster_that_refuses_every_token_does_not_make_us_sign_in_each_time() {
    let limits = Limits {
        too_young_to_renew: LONG,
        ..LIMITS
    };
    let Some(stage) = Stage::set_up(limits) else {
        return;
    };
    stage.ask("aks-a").await.unwrap();
    stage.entra.revoke();
    for _ in 0..5 {
        stage.ask("aks-a").await.unwrap_err();
    }
    assert_eq!(stage.entra.sign_ins().len(), 1);
}
