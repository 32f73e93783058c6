//! Everything that a rollout can do without is gone at the same time: forge, chat, config branch and data folder.

use std::fs;

use tidegate_testkit::fake_github::{FakeGithub, Fault};
use tidegate_testkit::http::HttpServer;

use super::stop;
use crate::crash::die_at;
use crate::small_fleet::{BRANCHES, LONG, MAIN, REPO, SmallFleet, Story};

#[test]
fn with_all_else_gone_at_once_a_failure_gives_every_branch_back() {
    let fleet = SmallFleet::of(Story::Bad);
    let trees = || BRANCHES.map(|name| fleet.git(&["rev-parse", &format!("{name}^{{tree}}")]));
    let before = trees();
    let moves = || {
        let journal = fleet.server.journal(REPO);
        BRANCHES.map(|name| journal.iter().filter(|update| update.name == name).count())
    };
    let moves_before = moves();
    let github = FakeGithub::start("acme/small", "ghp_c4n4ry");
    github.fail_next(std::iter::repeat_n(Fault::Hang, 1_000));
    let chat = HttpServer::start(|_| None);
    let secret = fleet.folder("hook-secret");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let controller = fleet
        .controller("alone")
        .setting(&format!(
            "forge: {{ kind: github, api: \"{}\", repository: acme/small }}",
            github.api()
        ))
        .setting("alerts:")
        .setting(&format!(
            "  - {{ name: hook, webhook: {{ url: \"{}\", secretFile: {} }} }}",
            chat.url("/hook"),
            secret.display()
        ));
    die_at(&controller, "after-wavepassed", 2);
    assert_ne!(trees(), before, "two waves have the bad commit");
    fleet.git(&["update-ref", "-d", MAIN]);
    fs::remove_dir_all(controller.data_folder()).unwrap();

    let mut running = controller.start();
    running.wait_until("every branch is given back", LONG, || {
        fleet.count("Failed") == 1 && trees() == before
    });
    stop(running);
    assert_eq!(
        fleet.server.tip(REPO, MAIN),
        None,
        "nobody brought the config branch back"
    );
    assert!(github.posted().is_empty(), "the forge never answered");
    // The last wave was begun, too, so that three branches moved there and back.
    assert_eq!(moves(), moves_before.map(|count| count + 2));
}
