//! The testkit itself: what the other tests lean on has to stand.

use std::time::Duration;

use tidegate_testkit::git_server::GitServer;
use tidegate_testkit::regions::{Follower, value_of};
use tidegate_testkit::tidegate::Tidegate;
use tidegate_testkit::work::{Work, try_git};

const DEADLINE: Duration = Duration::from_secs(20);

async fn ask(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_answers_as_its_branch_says() {
    // The program does this at its start; here nobody has.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = GitServer::start();
    let repo = server.create("a.git");
    let follower = Follower::start(&repo, "tidegate/canary", "westus3", |files| {
        let version = value_of(files, "version").unwrap_or_default();
        let status = if version == "bad" { 500 } else { 200 };
        (status, format!(r#"{{"version":"{version}"}}"#))
    });
    assert_eq!(ask(&follower.url()).await.0, 503);
    let work = Work::new(&server.url_with_password("a.git"));
    for (version, status) in [("1.0", 200), ("bad", 500)] {
        work.write(
            "westus3/app.yaml",
            format!("data:\n  version: \"{version}\"\n"),
        );
        work.commit(version);
        work.push("tidegate/canary");
        let expected = (status, format!(r#"{{"version":"{version}"}}"#));
        assert_eq!(ask(&follower.url()).await, expected);
    }
    follower.force(Some((418, "{}")));
    assert_eq!(ask(&follower.url()).await.0, 418);
}

#[test]
fn the_journal_holds_what_was_committed_and_nothing_else() {
    let server = GitServer::start();
    server.create("a.git");
    server.protect("a.git", "refs/heads/b");
    let work = Work::new(&server.url_with_password("a.git"));
    let first = work.publish(&[("a", "1")], "one");
    let refused = try_git(
        &work.path(""),
        &["push", "origin", "HEAD:refs/heads/b", "HEAD:refs/heads/c"],
    );
    assert!(!refused.status.success());
    work.git(&["push", "-q", "origin", ":refs/heads/c"]);
    let journal = server.journal("a.git");
    let moves: Vec<(&str, &str)> = journal
        .iter()
        .map(|update| (update.name.as_str(), update.new.as_str()))
        .collect();
    let zeros = "0".repeat(40);
    assert_eq!(
        moves,
        [
            ("refs/heads/main", first.as_str()),
            ("refs/heads/c", first.as_str()),
            ("refs/heads/c", zeros.as_str()),
        ]
    );
}

#[test]
fn the_program_is_driven_in_an_empty_environment() {
    let folder = tempfile::tempdir().unwrap();
    let program = Tidegate::new(env!("CARGO_BIN_EXE_tidegate"), folder.path());
    let answer = program.call(&["--version"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let shell = Tidegate::new("/bin/sh", folder.path()).crash_at("after-intent", 2);
    let mut running = shell.start(&["-c", "env; : >started; while :; do sleep 0.05; done"]);
    running.wait_until("its start", DEADLINE, || {
        folder.path().join("started").exists()
    });
    running.freeze();
    running.thaw();
    running.terminate();
    let ended = running.wait(DEADLINE);
    assert_eq!(ended.code, None, "{ended:?}");
    assert!(
        ended.stdout.contains("TIDEGATE_CRASH_AT=after-intent:2"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains("CARGO"), "{}", ended.stdout);
}
