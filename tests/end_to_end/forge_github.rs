//! Statuses and pull requests on GitHub, told to a fake that is built from GitHub's documentation.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_controller::forge::poster::poster;
use tidegate_controller::forge::pull_request::ensure;
use tidegate_controller::forge::statuses::DesiredStatus;
use tidegate_controller::forge::{
    self, CommitStatus, Forge, ForgeError, NewPullRequest, PullRequestState, StatusState,
};
use tidegate_controller::settings;
use tidegate_testkit::fake_github::{FakeGithub, Fault, Pull};
use tidegate_testkit::wait::wait_until;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetIdentity, Rollout, SourceRevert, from_files};
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "ghp_verySecretToken";
const HEAD: &str = "tidegate-revert/1a2b3c4d-7";
const DEADLINE: Duration = Duration::from_secs(20);

struct Setup {
    github: FakeGithub,
    forge: Arc<dyn Forge>,
    token_file: PathBuf,
    _folder: TempDir,
}

fn setup() -> Setup {
    // The program does this at its start; here nobody has.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let github = FakeGithub::start("acme/payments-config", TOKEN);
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let forge = forge::build(&settings::Forge {
        kind: settings::ForgeKind::Github,
        api: github.api().parse().unwrap(),
        repository: "acme/payments-config".to_owned(),
        token_file: Some(token_file.clone()),
        ca_file: None,
    })
    .unwrap();
    Setup {
        github,
        forge,
        token_file,
        _folder: folder,
    }
}

fn oid(byte: u8) -> Oid {
    Oid::from_bytes([byte; 20])
}

fn status(context: &str, state: StatusState, description: &str) -> CommitStatus {
    CommitStatus {
        context: context.to_owned(),
        state,
        description: description.to_owned(),
        target_url: None,
    }
}

fn wish(commit: Oid, context: &str, state: StatusState, description: &str) -> DesiredStatus {
    DesiredStatus {
        commit,
        status: status(context, state, description),
        carried: None,
    }
}

fn pull(number: u64, open: bool, merged: bool) -> Pull {
    Pull {
        number,
        head: HEAD.to_owned(),
        base: "main".to_owned(),
        title: "Revert".to_owned(),
        body: String::new(),
        open,
        merged,
        commits: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_are_posted_and_the_newest_of_each_context_is_read_back() {
    let setup = setup();
    let Setup { github, forge, .. } = &setup;
    github.add_commit(&oid(1).to_string(), None);
    // More than one page.
    for n in 0..105 {
        let status = status(
            &format!("tidegate/wave/w{n}"),
            StatusState::Pending,
            "waits",
        );
        forge.post_status(oid(1), &status).await.unwrap();
    }
    let passed = status("tidegate/wave/w7", StatusState::Success, "ü passed");
    forge.post_status(oid(1), &passed).await.unwrap();
    let standing = forge.statuses(oid(1)).await.unwrap();
    assert_eq!(standing.len(), 105);
    assert_eq!(standing["tidegate/wave/w7"], passed);
    let asked = github.asked();
    let header = |name: &str| {
        asked[0]
            .headers
            .iter()
            .find(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(header("authorization"), Some("Bearer ghp_verySecretToken"));
    assert_eq!(header("x-github-api-version"), Some("2022-11-28"));
    assert_eq!(header("accept"), Some("application/vnd.github+json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_is_taken_up() {
    let setup = setup();
    setup.github.add_commit(&oid(1).to_string(), None);
    setup.github.set_token("ghp_next");
    let error = setup.forge.statuses(oid(1)).await.unwrap_err();
    assert!(error.refuses_the_token(), "{error}");
    std::fs::write(&setup.token_file, "ghp_next\n").unwrap();
    setup.forge.statuses(oid(1)).await.unwrap();
    // In the middle of a rotation there may be no file.
    std::fs::remove_file(&setup.token_file).unwrap();
    let error = setup.forge.statuses(oid(1)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_told_from_the_others() {
    let setup = setup();
    let Setup { github, forge, .. } = &setup;
    github.add_commit(&oid(1).to_string(), None);
    let new = status("tidegate/rollout", StatusState::Pending, "opened");
    let ask = async |fault: Fault| {
        github.fail_next([fault]);
        let error = forge.post_status(oid(1), &new).await.unwrap_err();
        assert!(!error.to_string().contains(TOKEN), "{error}");
        assert!(
            error.to_string().contains(&format!(
                "POST {}repos/acme/payments-config/statuses/{}",
                github.api(),
                oid(1)
            )),
            "{error}"
        );
        error
    };
    for (fault, code, says) in [
        (Fault::Unauthorized, 401, "forge.tokenFile"),
        (Fault::Forbidden, 403, "write commit statuses"),
        (Fault::NotFound, 404, "forge.repository"),
        (Fault::Unprocessable, 422, "Validation Failed (no)"),
        (
            Fault::Moved,
            301,
            "redirects to https://api.github.com/repositories/1",
        ),
    ] {
        let error = ask(fault).await;
        assert!(error.to_string().contains(says), "{error}");
        assert!(
            matches!(error, ForgeError::Permanent { status, .. } if status == code),
            "{error:?}"
        );
    }
    let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(90);
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (fault, least, most) in [
        (Fault::PrimaryLimit(1000), 990, 1000),
        (Fault::SecondaryLimit(Some(7)), 7, 7),
        (Fault::SecondaryLimit(None), 60, 60),
        (Fault::TooMany("3".to_owned()), 3, 3),
        (Fault::TooMany(date), 80, 90),
    ] {
        let error = ask(fault.clone()).await;
        let after = error.retry_after().map(|after| after.as_secs());
        assert!(
            after.is_some_and(|after| (least..=most).contains(&after)),
            "{fault:?}: {error:?}"
        );
    }
    for fault in [
        Fault::ServerError(500),
        Fault::ServerError(502),
        Fault::ServerError(503),
        Fault::Close,
    ] {
        let error = ask(fault).await;
        assert!(
            matches!(error, ForgeError::Retryable { after: None, .. }),
            "{error:?}"
        );
    }
    let error = ask(Fault::Garbage).await;
    assert!(matches!(error, ForgeError::Garbage { .. }), "{error:?}");
    assert!(github.posted().is_empty(), "nothing of it was carried out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_hangs_is_given_up_on() {
    let setup = setup();
    let Setup { github, forge, .. } = &setup;
    github.fail_next([Fault::Hang]);
    let began = Instant::now();
    let error = forge.statuses(oid(1)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wished_for_is_posted_through_faults() {
    let setup = setup();
    let Setup { github, forge, .. } = &setup;
    let commit = oid(1).to_string();
    github.add_commit(&commit, None);
    github.fail_next([
        Fault::Garbage,
        Fault::TooMany("1".to_owned()),
        Fault::ServerError(502),
        // It was posted, and nobody heard of it: once more does no harm.
        Fault::Lost,
    ]);
    let (board, poster) = poster(Arc::clone(forge));
    let cancelled = CancellationToken::new();
    let task = tokio::spawn(poster.run(cancelled.clone()));
    board.want(vec![
        wish(oid(1), "tidegate/rollout", StatusState::Failure, "reverted"),
        wish(oid(1), "tidegate/render", StatusState::Success, "rendered"),
        // A commit that GitHub does not have keeps nothing from being told.
        wish(oid(2), "tidegate/rollout", StatusState::Pending, "seen"),
        wish(oid(3), "tidegate/rollout", StatusState::Pending, "seen"),
    ]);
    github.add_commit(&oid(3).to_string(), None);
    tokio::time::timeout(DEADLINE, board.posted())
        .await
        .unwrap();
    assert_eq!(github.faults_left(), 0);
    let standing = github.standing(&commit);
    assert_eq!(standing.len(), 2);
    assert_eq!(
        standing["tidegate/rollout"],
        ("failure".to_owned(), "reverted".to_owned())
    );
    assert_eq!(github.standing(&oid(3).to_string()).len(), 1);
    assert!(github.standing(&oid(2).to_string()).is_empty());
    cancelled.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_posts_nothing_that_stands_already() {
    let setup = setup();
    let Setup { github, forge, .. } = &setup;
    github.add_commit(&oid(1).to_string(), None);
    let mut wishes = vec![
        wish(oid(1), "tidegate/rollout", StatusState::Pending, "wave 1"),
        wish(oid(1), "tidegate/render", StatusState::Success, "rendered"),
    ];
    for expected in [2, 2, 3] {
        if expected == 3 {
            wishes[0] = wish(oid(1), "tidegate/rollout", StatusState::Success, "passed");
        }
        let (board, poster) = poster(Arc::clone(forge));
        let cancelled = CancellationToken::new();
        let task = tokio::spawn(poster.run(cancelled.clone()));
        board.want(wishes.clone());
        tokio::time::timeout(DEADLINE, board.posted())
            .await
            .unwrap();
        assert_eq!(github.posted().len(), expected);
        cancelled.cancel();
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wishing_never_waits_for_a_forge_that_hangs() {
    let setup = setup();
    let Setup { github, forge, .. } = &setup;
    github.add_commit(&oid(1).to_string(), None);
    github.fail_next([Fault::Hang]);
    let (board, poster) = poster(Arc::clone(forge));
    let cancelled = CancellationToken::new();
    let task = tokio::spawn(poster.run(cancelled.clone()));
    let began = Instant::now();
    for n in 0..1000 {
        board.want(vec![wish(
            oid(1),
            "tidegate/rollout",
            StatusState::Pending,
            &n.to_string(),
        )]);
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    wait_until("the forge is asked", DEADLINE, || {
        !github.asked().is_empty()
    });
    // Nor does ending wait for it.
    cancelled.cancel();
    tokio::time::timeout(Duration::from_secs(5), task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_is_opened_once_and_found_again() {
    let setup = setup();
    let Setup { github, forge, .. } = &setup;
    assert_eq!(forge.find_pull_request(HEAD, "main").await.unwrap(), None);
    let new = NewPullRequest {
        title: "Revert \"change\"".to_owned(),
        body: "Why".to_owned(),
        head: HEAD.to_owned(),
        base: "main".to_owned(),
    };
    let error = forge.create_pull_request(&new).await.unwrap_err();
    assert!(
        matches!(error, ForgeError::Permanent { status: 422, .. }),
        "no such branch: {error}"
    );
    github.add_branch(HEAD);
    let created = forge.create_pull_request(&new).await.unwrap();
    assert_eq!(created.state, PullRequestState::Open);
    assert_eq!(
        created.url,
        "https://github.example.com/acme/payments-config/pull/1"
    );
    let error = forge.create_pull_request(&new).await.unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
    let found = forge.find_pull_request(HEAD, "main").await.unwrap();
    assert_eq!(found, Some(created));
    assert_eq!(forge.find_pull_request(HEAD, "next").await.unwrap(), None);
    // The open one counts before newer ones that are closed; of those the newest does.
    github.add_pull(pull(2, false, false));
    let find = async || {
        forge
            .find_pull_request(HEAD, "main")
            .await
            .unwrap()
            .unwrap()
    };
    assert_eq!(find().await.number, 1);
    github.change_pull(1, |pull| {
        pull.open = false;
        pull.merged = true;
    });
    assert_eq!(find().await.state, PullRequestState::Closed);
    github.add_pull(pull(3, false, true));
    assert_eq!(find().await.state, PullRequestState::Merged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_has_its_page_its_author_and_the_pull_request_that_brought_it() {
    let setup = setup();
    let Setup { github, forge, .. } = &setup;
    let commit = oid(1).to_string();
    github.add_commit(&commit, Some("ann"));
    let info = forge.commit(oid(1)).await.unwrap();
    assert_eq!(
        info.url.unwrap(),
        format!("https://github.example.com/acme/payments-config/commit/{commit}")
    );
    assert_eq!(info.author.as_deref(), Some("ann"));
    assert_eq!(info.pull_request, None);
    for (number, merged) in [(4, false), (5, true), (6, false)] {
        github.add_pull(Pull {
            commits: vec![commit.clone()],
            ..pull(number, !merged, merged)
        });
    }
    let info = forge.commit(oid(1)).await.unwrap();
    assert_eq!(info.pull_request.unwrap().number, 5);
    // Somebody of whom GitHub knows no account.
    github.add_commit(&oid(2).to_string(), None);
    assert_eq!(forge.commit(oid(2)).await.unwrap().author, None);
    let error = forge.commit(oid(3)).await.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
}

/// A rollout that failed and whose revert is proposed, as the log holds it.
fn proposed() -> (FleetIdentity, Rollout) {
    let files: BTreeMap<String, serde_json::Value> = serde_json::from_str(include_str!(
        "../../waves/src/rollout/tests/fixtures/schema-1.json"
    ))
    .unwrap();
    let files = files
        .into_iter()
        .map(|(path, content)| (path, serde_json::to_vec(&content).unwrap()))
        .collect();
    let state = from_files(&files).unwrap();
    let mut rollout = state.rollout.unwrap();
    rollout.source_revert = SourceRevert::Proposed { commit: oid(9) };
    (state.fleet, rollout)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposed_revert_is_one_pull_request_whoever_opens_it() {
    let (fleet, rollout) = proposed();
    let branch = format!("tidegate-revert/{}", rollout.id);
    let already = Pull {
        head: branch.clone(),
        ..pull(5, true, false)
    };
    // Nobody else; somebody else between our look and our request; ourselves, with the answer lost.
    for (race, lost, number) in [(false, false, 1), (true, false, 5), (false, true, 1)] {
        let setup = setup();
        let Setup { github, forge, .. } = &setup;
        github.add_branch(&branch);
        if race {
            github.race(already.clone());
        }
        if lost {
            github.fail_next([Fault::Spared, Fault::Lost]);
            let error = ensure(forge.as_ref(), &fleet, &rollout).await.unwrap_err();
            assert_eq!(error.retry_after(), None, "{error}");
        }
        for _ in 0..2 {
            let found = ensure(forge.as_ref(), &fleet, &rollout).await.unwrap();
            assert_eq!(found.unwrap().number, number);
        }
        let pulls = github.pulls();
        assert_eq!(pulls.len(), 1);
        assert_eq!(pulls[0].base, "main");
    }
}
