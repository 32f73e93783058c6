//! The shell examples of the book, run as they stand there.

use std::path::Path;
use std::process::Command;

use tidegate_testkit::work::git_command;

use super::fleet::{Fleet, REPO};

/// The blocks of a page that are marked as `sh`, in order. Others are marked otherwise.
fn examples(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/src")
        .join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

/// Runs an example in a fresh clone, each of its lines as a person would: the first that fails ends it.
fn run(fleet: &Fleet, example: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let repo = fleet.server.path(REPO);
    git_command(
        folder.path(),
        &["clone", "--quiet", repo.to_str().unwrap(), "."],
    );
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", example])
        .current_dir(folder.path())
        .env("HOME", fleet.home.path())
        .env("GIT_PAGER", "cat")
        .envs([
            ("GIT_AUTHOR_NAME", "Jo Engineer"),
            ("GIT_AUTHOR_EMAIL", "jo@example.com"),
            ("GIT_COMMITTER_NAME", "Jo Engineer"),
            ("GIT_COMMITTER_EMAIL", "jo@example.com"),
        ])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{example}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn the_log_can_be_audited_with_git_alone() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let [audit] = examples("log-format.md").try_into().unwrap();
    let said = run(&fleet, &audit);
    assert!(said.contains("refs/heads/tidegate/canary"), "{said}");
    assert!(!said.contains("not allowed"), "{said}");
}

#[test]
fn a_region_is_given_back_by_hand_and_a_controller_holds_on_it() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let good = fleet.tip("refs/heads/tidegate/canary");
    let tree = fleet.tree("canary", "westus3");
    fleet.release("2", "none", "Version 2");
    fleet.settle(0);
    assert_ne!(fleet.tree("canary", "westus3"), tree);
    let [look, rescue] = examples("break-glass.md").try_into().unwrap();
    let said = run(&fleet, &look);
    assert!(
        said.contains("Succeeded") && said.contains("westus3"),
        "{said}"
    );
    // The last good tree by now is the one to get rid of: it is told there all the same.
    let now = fleet.tree("canary", "westus3").unwrap();
    assert!(said.contains(&format!("\"tree\": \"{now}\"")), "{said}");
    assert!(rescue.contains("checkout GOOD"));
    run(&fleet, &rescue.replace("GOOD", &good));
    assert_eq!(fleet.tree("canary", "westus3"), tree);
    // Whoever audits with git alone sees the commit that is not ours.
    fleet.settle(5);
    assert_eq!(fleet.holds(), ["Drift"]);
    let answer = fleet.people("explain", &[]);
    assert!(
        answer
            .stdout
            .contains("tidegate resume --adopt --wave canary"),
        "{}",
        answer.stdout
    );
    fleet.request("resume", &[("Wave", "canary"), ("Option", "adopt")], "ours");
    fleet.settle(0);
    assert_eq!(fleet.tree("canary", "westus3"), tree);
}

#[test]
fn a_fleet_is_left_with_git_alone() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let tree = fleet.tree("canary", "westus3");
    let [take_over, delete] = examples("starting-and-leaving.md").try_into().unwrap();
    let said = run(&fleet, &take_over);
    assert!(said.contains("westus3"), "{said}");
    assert_eq!(
        fleet.server.tip(REPO, "refs/heads/main:clusters/westus3"),
        tree
    );
    // A controller that still runs is not in the way: such folders are none of the fleet's.
    fleet.settle(0);
    assert_eq!(fleet.tree("canary", "westus3"), tree);
    run(&fleet, &delete);
    let left = fleet.git(&["for-each-ref", "--format=%(refname)"]);
    assert_eq!(left, "refs/heads/main");
}
