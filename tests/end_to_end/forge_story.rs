//! What the real program tells a forge that answers badly, by a fake of GitHub: rollouts do not notice.

use std::fs;

use tidegate_testkit::fake_github::{FakeGithub, Fault};

use crate::small_fleet::{LONG, MAIN, REPO, SmallFleet};

const REPOSITORY: &str = "acme/small";
const TOKEN: &str = "ghp_c4n4ry";

#[test]
fn statuses_and_the_pull_request_arrive_whatever_the_forge_answers_first() {
    let fleet = SmallFleet::settled();
    let github = FakeGithub::start(REPOSITORY, TOKEN);
    let file = fleet.folder("forge-token");
    fs::write(&file, TOKEN).unwrap();
    let setting = format!(
        "forge: {{ kind: github, api: \"{}\", repository: {REPOSITORY}, tokenFile: {} }}",
        github.api(),
        file.display()
    );
    let controller = fleet.controller("one").setting(&setting);
    let bad = fleet.publish_version("2-bad");
    fleet.server.protect(REPO, MAIN);
    for commit in fleet.git(&["rev-list", "main"]).lines() {
        github.add_commit(commit, Some("jo"));
    }
    github.fail_next([
        Fault::ServerError(502),
        Fault::TooMany("1".to_owned()),
        Fault::Garbage,
        Fault::Close,
        Fault::Lost,
        Fault::SecondaryLimit(Some(1)),
    ]);
    let mut running = controller.start();
    running.wait_until("the rollback", LONG, || fleet.rollout_is("RolledBack"));
    let rollout = fleet.state().unwrap().rollout.unwrap();
    // GitHub knows of a branch what git was told.
    github.add_branch(&format!("tidegate-revert/{}", rollout.id));
    running.wait_until("the pull request", LONG, || github.pulls().len() == 1);
    running.wait_until("the last statuses", LONG, || {
        let standing = github.standing(&bad);
        let is = |context: &str, wanted: &str| {
            standing
                .get(context)
                .is_some_and(|(state, text)| format!("{state}: {text}").contains(wanted))
        };
        is("tidegate/rollout", "waits to be merged")
            && is("tidegate/wave/broad", "failure")
            && is("tidegate/render", "success")
    });
    let pull = &github.pulls()[0];
    assert_eq!(pull.title, "Revert \"Roll 2-bad out\"");
    assert_eq!(pull.base, "main");
    assert_eq!(github.faults_left(), 0);
    running.terminate();
    let answer = running.wait(LONG);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert!(!answer.stderr.contains(TOKEN), "{}", answer.stderr);
}

#[test]
fn a_forge_that_hangs_delays_no_rollout() {
    let fleet = SmallFleet::settled();
    let github = FakeGithub::start(REPOSITORY, TOKEN);
    github.fail_next(std::iter::repeat_n(Fault::Hang, 1000));
    let setting = format!(
        "forge: {{ kind: github, api: \"{}\", repository: {REPOSITORY} }}",
        github.api()
    );
    fleet.publish_version("2");
    let mut running = fleet.controller("one").setting(&setting).start();
    running.wait_until("a request that hangs", LONG, || !github.asked().is_empty());
    running.wait_until("success", LONG, || fleet.rollout_is("Succeeded"));
    // Nothing has been answered: all of it went on without the forge.
    assert!(github.posted().is_empty());
    running.terminate();
    assert_eq!(running.wait(LONG).code, Some(0));
}
