//! Two controllers of one fleet: one that was frozen, two from the start, and one that is set up for another fleet.

use std::fs;
use std::time::Duration;

use crate::crash::assert_undisturbed;
use crate::journal_audit;
use crate::small_fleet::{BRANCHES, LOG, LONG, REPO, SmallFleet, Story};

use tidegate_testkit::git_server::{Fault, On};

/// How long a controller may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(10);

fn identity(controller: &crate::small_fleet::Controller<'_>) -> String {
    let text = fs::read_to_string(controller.data_folder().join("identity")).unwrap();
    text.trim().to_owned()
}

#[test]
fn a_frozen_controller_is_taken_over_and_only_observes_when_it_thaws() {
    let fleet = SmallFleet::of(Story::Good);
    // Its push of the canary is under way when it freezes.
    fleet
        .server
        .fail_next(1, On::PushOf(BRANCHES[0]), Fault::Hold);
    let first = fleet.controller("frozen").takeover_after("1h");
    let mut frozen = first.start();
    fleet.server.wait_until_held(LONG);
    frozen.freeze();
    let before = fleet.state().unwrap();
    assert_eq!(before.holder, identity(&first));

    let second = fleet.controller("second");
    let mut active = second.start();
    fleet.wait_for_entries("TakeOver", 1);
    let passed = fleet.count("WavePassed");
    active.wait_until("a wave passes", LONG, || fleet.count("WavePassed") > passed);
    // The frozen one wakes, and its push arrives, in the middle of the other's work.
    frozen.thaw();
    fleet.server.clear();
    active.wait_until("success", LONG, || fleet.rollout_is("Succeeded"));
    assert!(frozen.is_running(), "{}", frozen.stderr());

    let entries = fleet.entries();
    let place = entries
        .iter()
        .position(|(_, kind)| kind == "TakeOver")
        .unwrap();
    let taken = fleet.state_at(&entries[place].0).unwrap();
    assert_eq!(taken.epoch, before.epoch + 1);
    for (entry, _) in &entries[place..] {
        let state = fleet.state_at(entry).unwrap();
        assert_eq!(state.holder, identity(&second), "entry {}", state.seq);
        assert_eq!(state.epoch, taken.epoch, "entry {}", state.seq);
    }
    for mut running in [frozen, active] {
        running.terminate();
        let answer = running.wait(GRACE);
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    }
    assert_undisturbed(&fleet, Story::Good, "frozen and thawed");
}

#[test]
fn two_controllers_from_the_start_end_as_one_does() {
    let fleet = SmallFleet::of(Story::First);
    let mut one = fleet.controller("one").start();
    let two = fleet.controller("two").start();
    one.wait_until("success", LONG, || fleet.rollout_is("Succeeded"));
    fleet.publish_version("2-bad");
    one.wait_until("the revert", LONG, || {
        fleet.rollout_is("RolledBack")
            && fleet.state().is_some_and(|state| {
                let settled = state.settled.map(|settled| settled.source.to_string());
                settled == fleet.server.tip(REPO, crate::small_fleet::MAIN)
            })
    });
    for mut running in [one, two] {
        assert!(running.is_running(), "{}", running.stderr());
        running.terminate();
        let answer = running.wait(GRACE);
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    }
    assert_undisturbed(&fleet, Story::Bad, "two from the start");
}

#[test]
fn a_controller_with_other_settings_is_refused_and_writes_nothing() {
    let fleet = SmallFleet::settled();
    let journal = fleet.server.journal(REPO);
    let log = fleet.server.tip(REPO, LOG);
    let others = [
        ("name", fleet.controller("name").fleet_name("other")),
        ("path", fleet.controller("path").setting("path: sub/folder")),
        (
            "branch",
            fleet.controller("branch").setting("branch: other"),
        ),
    ];
    for (what, other) in others {
        let answer = other.start().wait(LONG);
        assert_eq!(answer.code, Some(1), "{what}: {}", answer.stderr);
        for part in [
            "belongs to fleet \"small\"",
            "give the second fleet a prefix of its own",
        ] {
            assert!(answer.stderr.contains(part), "{what}: {}", answer.stderr);
        }
    }
    assert_eq!(fleet.server.journal(REPO), journal);
    assert_eq!(fleet.server.tip(REPO, LOG), log);
    journal_audit::check(&fleet);
}
