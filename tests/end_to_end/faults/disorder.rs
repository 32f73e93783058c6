//! A git server in disorder: locks that were left behind, and no room for what is pushed.

use std::fs;

use tidegate_testkit::small_disk::SmallDisk;

use super::ends_undisturbed;
use crate::crash::{die_at, say, side_by_side};
use crate::small_fleet::{BRANCHES, LOG, LONG, REPO, SmallFleet, Story, copy};

#[test]
fn a_lock_that_was_left_behind_on_the_log_is_named_and_waited_for() {
    let fleet = SmallFleet::of(Story::Good);
    let lock = fleet.server.path(REPO).join(format!("{LOG}.lock"));
    fs::write(&lock, "").unwrap();
    // Who packs refs takes this one; who moves them does not.
    fs::write(fleet.server.path(REPO).join("packed-refs.lock"), "").unwrap();
    let journal = fleet.server.journal(REPO);
    let mut running = fleet.controller("waiting").start();
    running.wait_until_said("log.lock': File exists", LONG);
    assert_eq!(fleet.server.journal(REPO), journal);
    fs::remove_file(lock).unwrap();
    ends_undisturbed(&fleet, running, Story::Good, "a lock on the log");
}

#[test]
fn a_lock_that_was_left_behind_keeps_no_other_branch_from_being_given_back() {
    let fleet = SmallFleet::of(Story::Bad);
    let good: Vec<String> = {
        let settled = SmallFleet::settled();
        let tree = |name: &&str| settled.git(&["rev-parse", &format!("{name}^{{tree}}")]);
        BRANCHES.iter().map(tree).collect()
    };
    let tree = |place: usize| fleet.git(&["rev-parse", &format!("{}^{{tree}}", BRANCHES[place])]);
    let controller = fleet.controller("waiting");
    die_at(&controller, "after-failed", 1);
    let lock = fleet
        .server
        .path(REPO)
        .join(format!("{}.lock", BRANCHES[1]));
    fs::write(&lock, "").unwrap();
    let mut running = controller.start();
    running.wait_until("the others are given back", LONG, || {
        tree(0) == good[0] && tree(2) == good[2]
    });
    running.wait_until_said("pilot.lock': File exists", LONG);
    assert_ne!(tree(1), good[1]);
    // It is nobody's decision, so that nobody is asked for one.
    assert!(fleet.state().unwrap().holds.is_empty());
    fs::remove_file(lock).unwrap();
    ends_undisturbed(&fleet, running, Story::Bad, "a lock on a branch");
}

#[test]
fn a_server_that_cannot_unpack_is_named_and_waited_for() {
    let limits = ["receive.maxInputSize", "no room"];
    side_by_side(limits.to_vec(), |limit| {
        let fleet = SmallFleet::of(Story::Good);
        let repo = fleet.server.path(REPO);
        let disk = (limit == "no room")
            .then(|| SmallDisk::mount(fleet.folder("objects"), "4m"))
            .transpose();
        let disk = match disk {
            Ok(disk) => disk,
            Err(why) => {
                return say(&format!(
                    "SKIPPED: a server's full disk, for nothing can be mounted here: {why}"
                ));
            }
        };
        match &disk {
            Some(disk) => {
                copy(&repo.join("objects"), &fleet.folder("objects"));
                fs::remove_dir_all(repo.join("objects")).unwrap();
                std::os::unix::fs::symlink(fleet.folder("objects"), repo.join("objects")).unwrap();
                disk.fill();
            }
            None => drop(fleet.git(&["config", limit, "1"])),
        }
        let journal = fleet.server.journal(REPO);
        let mut running = fleet.controller("waiting").start();
        running.wait_until_said("unpacker error", LONG);
        assert_eq!(fleet.server.journal(REPO), journal);
        match &disk {
            Some(disk) => disk.make_room(),
            None => drop(fleet.git(&["config", "--unset", limit])),
        }
        ends_undisturbed(&fleet, running, Story::Good, limit);
    });
}
