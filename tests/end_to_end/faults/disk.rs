//! A data folder that is full, read-only, in use, damaged, or littered.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use tidegate_testkit::small_disk::SmallDisk;

use super::{ends_undisturbed, stop};
use crate::crash::{assert_undisturbed, die_at, say, side_by_side};
use crate::journal_audit;
use crate::small_fleet::{LOG, LONG, REPO, SmallFleet, Story};

/// `None`, said loudly, where this process may not mount.
fn small_disk(fleet: &SmallFleet) -> Option<SmallDisk> {
    SmallDisk::mount(fleet.folder("small"), "8m")
        .inspect_err(|why| {
            say(&format!(
                "SKIPPED: full and read-only disks, for nothing can be mounted here: {why}"
            ));
        })
        .ok()
}

#[test]
fn a_full_disk_stops_new_work_until_there_is_room() {
    let fleet = SmallFleet::settled();
    let Some(disk) = small_disk(&fleet) else {
        return;
    };
    let controller = fleet.controller("small");
    let mut running = controller.start();
    // It has looked at everything, and then the disk runs full.
    running.wait_until("a mirror", LONG, || {
        controller
            .data_folder()
            .join("fleets/small/sums.json")
            .exists()
    });
    disk.fill();
    let log = fleet.server.tip(REPO, LOG);
    fleet.publish_version("2");
    running.wait_until_said("no space is left", LONG);
    assert_eq!(fleet.server.tip(REPO, LOG), log);
    disk.make_room();
    ends_undisturbed(&fleet, running, Story::Good, "a full disk");
}

#[test]
fn a_read_only_data_folder_is_named_at_the_start() {
    let fleet = SmallFleet::of(Story::Good);
    let Some(disk) = small_disk(&fleet) else {
        return;
    };
    let controller = fleet.controller("small");
    disk.remount("ro");
    let answer = controller.start().wait(LONG);
    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    for part in [
        "in the data folder",
        "Read-only file system",
        "permissions and free space",
    ] {
        assert!(answer.stderr.contains(part), "{}", answer.stderr);
    }
    disk.remount("rw");
    controller.settle(0);
    assert_undisturbed(&fleet, Story::Good, "writable again");
}

#[test]
fn a_data_folder_in_use_is_refused() {
    let fleet = SmallFleet::settled();
    let controller = fleet.controller("first");
    let mut running = controller.start();
    let identity = controller.data_folder().join("identity");
    running.wait_until("an identity", LONG, || identity.exists());
    let other = fleet.controller("second").data(controller.data_folder());
    let answer = other.start().wait(LONG);
    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    assert!(
        answer
            .stderr
            .contains("another tidegate works in the data folder"),
        "{}",
        answer.stderr
    );
    stop(running);
    journal_audit::check(&fleet);
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

fn packs(data: &Path) -> Vec<PathBuf> {
    let is_pack = |path: &PathBuf| path.extension().is_some_and(|end| end == "pack");
    files(&data.join("fleets/small/mirror.git/objects"))
        .into_iter()
        .filter(is_pack)
        .collect()
}

fn make_writable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// Cuts a pack in half.
fn truncate(path: &Path) {
    make_writable(path);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

/// Overwrites all of a pack but its head, in place: whoever has it open sees it.
fn scribble(path: &Path) {
    make_writable(path);
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(12)).unwrap();
    file.write_all(&vec![0x55; usize::try_from(length).unwrap() - 12])
        .unwrap();
}

#[test]
fn a_damaged_mirror_is_replaced_at_the_start() {
    let damages: Vec<fn(&Path)> = vec![truncate, scribble, |path| fs::remove_file(path).unwrap()];
    side_by_side(damages, |damage| {
        let fleet = SmallFleet::of(Story::Bad);
        let controller = fleet.controller("damaged");
        die_at(&controller, "after-failed", 1);
        let packs = packs(controller.data_folder());
        assert!(!packs.is_empty());
        for pack in &packs {
            damage(pack);
        }
        controller.settle_somehow();
        assert_undisturbed(&fleet, Story::Bad, "a damaged mirror");
    });
}

#[test]
fn a_mirror_that_is_damaged_under_way_is_replaced() {
    let damages: Vec<fn(&Path)> = vec![scribble, |path| fs::remove_file(path).unwrap()];
    side_by_side(damages, |damage| {
        let fleet = SmallFleet::settled();
        let controller = fleet.controller("damaged");
        let mut running = controller.start();
        let sums = controller.data_folder().join("fleets/small/sums.json");
        running.wait_until("a mirror", LONG, || sums.exists());
        let packs = packs(controller.data_folder());
        assert!(!packs.is_empty());
        for pack in &packs {
            damage(pack);
        }
        fleet.publish_version("2-bad");
        ends_undisturbed(&fleet, running, Story::Bad, "a mirror damaged under way");
    });
}

#[test]
fn a_crash_while_a_damaged_mirror_is_replaced() {
    let fleet = SmallFleet::of(Story::Good);
    let controller = fleet.controller("damaged");
    die_at(&controller, "after-intent", 1);
    for pack in packs(controller.data_folder()) {
        truncate(&pack);
    }
    die_at(&controller, "before-mirror-discarded", 1);
    die_at(&controller, "after-mirror-discarded", 1);
    controller.settle_somehow();
    assert_undisturbed(&fleet, Story::Good, "died while replacing the mirror");
}

#[test]
fn damaged_or_missing_sums_cost_nothing_but_time() {
    let damages: Vec<fn(&Path)> = vec![
        |path| fs::write(path, "{ \"version\": 1, \"logTip\": ").unwrap(),
        |path| fs::write(path, [0xff; 4096]).unwrap(),
        |path| fs::write(path, "{ \"version\": 1, \"logTip\": null, \"sums\": [] }").unwrap(),
        |path| fs::remove_file(path).unwrap(),
    ];
    side_by_side(damages, |damage| {
        let fleet = SmallFleet::of(Story::Bad);
        let controller = fleet.controller("forgetful");
        let sums = controller.data_folder().join("fleets/small/sums.json");
        // Once between two runs …
        die_at(&controller, "after-wavepassed", 1);
        damage(&sums);
        // … and once under way.
        let running = controller.start();
        fleet.wait_for_entries("WavePassed", 5);
        let _ = fs::write(&sums, "");
        damage(&sums);
        ends_undisturbed(&fleet, running, Story::Bad, "damaged sums");
    });
}

#[test]
fn what_a_killed_git_left_behind_stops_nothing() {
    let fleet = SmallFleet::of(Story::Good);
    let controller = fleet.controller("littered");
    die_at(&controller, "after-rolloutopened", 1);
    let mirror = controller.data_folder().join("fleets/small/mirror.git");
    litter(
        &mirror,
        &[
            "HEAD.lock",
            "config.lock",
            "packed-refs.lock",
            "shallow.lock",
            "refs/remotes/origin/main.lock",
            "refs/remotes/origin/tidegate/log.lock",
            "objects/pack/tmp_pack_Zx81",
            "objects/incoming-Zx81/pack/tmp_pack_1",
        ],
    );
    ends_undisturbed(
        &fleet,
        controller.start(),
        Story::Good,
        "locks of a killed git at the start",
    );
    assert_eq!(leftovers(&mirror), Vec::<PathBuf>::new());
}

/// A git that was killed at its deadline leaves locks while we go on. They are removed as soon as one is in the way,
/// and here the fetch of what is published meets one.
#[test]
fn what_a_git_leaves_that_is_killed_under_way_stops_nothing() {
    let fleet = SmallFleet::settled();
    let controller = fleet.controller("littered");
    let mut running = controller.start();
    let sums = controller.data_folder().join("fleets/small/sums.json");
    running.wait_until("a mirror", LONG, || sums.exists());
    let mirror = controller.data_folder().join("fleets/small/mirror.git");
    litter(
        &mirror,
        &[
            "refs/remotes/origin/main.lock",
            "refs/remotes/origin/tidegate/log.lock",
            "refs/remotes/origin/tidegate/broad.lock",
            "packed-refs.lock",
        ],
    );
    fleet.publish_version("2-bad");
    ends_undisturbed(
        &fleet,
        running,
        Story::Bad,
        "locks of a git killed under way",
    );
    assert_eq!(leftovers(&mirror), Vec::<PathBuf>::new());
}

fn litter(mirror: &Path, names: &[&str]) {
    for name in names {
        let path = mirror.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
}

fn leftovers(mirror: &Path) -> Vec<PathBuf> {
    files(mirror)
        .into_iter()
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.extension().is_some_and(|end| end == "lock") || name.starts_with("tmp_pack_")
        })
        .collect()
}
