//! Commits and branches that are not as they should be, and a controller that is stopped in the middle.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tidegate_testkit::git_server::{Fault, On};
use tidegate_testkit::wait::{wait_for, wait_until};

use super::{ends_undisturbed, stop};
use crate::crash::assert_undisturbed;
use crate::journal_audit;
use crate::small_fleet::{BRANCHES, LOG, LONG, MAIN, REPO, SmallFleet, Story};

#[test]
fn an_empty_repo_and_one_without_a_fleet_are_waited_for_and_nothing_is_written() {
    let fleet = SmallFleet::empty();
    let mut running = fleet.controller("early").start();
    running.wait_until_said("waiting for the first commit", LONG);
    fleet
        .work
        .publish(&[("README.md", "soon\n")], "Announce it");
    running.wait_until_said("nothing is written before the first valid commit", LONG);
    assert!(
        running.stderr().contains("tidegate.yaml"),
        "{}",
        running.stderr()
    );
    assert_eq!(fleet.server.tip(REPO, LOG), None);
    fleet.publish_first();
    running.wait_until("success", LONG, || fleet.rollout_is("Succeeded"));
    stop(running);
    // Older commits are not looked at.
    assert_eq!(fleet.count("Invalid"), 0);
    journal_audit::check(&fleet);
}

#[test]
fn an_invalid_head_is_said_once_and_the_next_valid_one_carries_on() {
    let fleet = SmallFleet::settled();
    let running = fleet.controller("strict").start();
    let text = fleet.work.show("HEAD", "tidegate.yaml");
    let renamed = text.replace("name: small", "name: large");
    fleet.work.publish(
        &[
            ("tidegate.yaml", &renamed),
            ("values/fleet.yaml", "version: \"2\"\n"),
        ],
        "Rename the fleet",
    );
    fleet.wait_for_entries("Invalid", 1);
    fleet
        .work
        .publish(&[("tidegate.yaml", "waves: [\n")], "Break it");
    fleet.wait_for_entries("Invalid", 2);
    fleet.work.remove("tidegate.yaml");
    fleet.work.commit("Remove it");
    fleet.work.push("main");
    fleet.wait_for_entries("Invalid", 3);
    assert_eq!(fleet.count("RolloutOpened"), 1, "only the fleet's first");
    fleet.work.publish(&[("tidegate.yaml", &text)], "Mend it");
    let mut running = running;
    running.wait_until("success", LONG, || fleet.rollout_is("Succeeded"));
    stop(running);
    assert_eq!(fleet.count("Invalid"), 3);
    let subjects: Vec<String> = fleet
        .git(&["log", "--first-parent", "--format=%s", LOG])
        .lines()
        .filter(|line| line.starts_with("Invalid"))
        .map(str::to_owned)
        .collect();
    assert!(subjects[2].contains("large"), "{subjects:?}");
    journal_audit::check(&fleet);
}

#[test]
fn a_config_branch_that_is_deleted_is_held_and_comes_back() {
    let fleet = SmallFleet::settled();
    let mut running = fleet.controller("patient").start();
    running.wait_until("a look", LONG, || fleet.server.requests() > 4);
    let main = fleet.server.tip(REPO, MAIN).unwrap();
    fleet.git(&["update-ref", "-d", MAIN]);
    fleet.wait_for_entries("Held", 1);
    let holds = |fleet: &SmallFleet| -> Vec<String> {
        let state = fleet.state().unwrap();
        let reasons = state.holds.iter().map(|hold| format!("{:?}", hold.reason));
        reasons.collect()
    };
    assert_eq!(holds(&fleet), ["BranchDeleted"]);
    fleet.git(&["update-ref", MAIN, &main]);
    fleet.wait_for_entries("Resumed", 1);
    assert!(holds(&fleet).is_empty());
    fleet.publish_version("2");
    ends_undisturbed(&fleet, running, Story::Good, "the config branch is back");
}

#[test]
fn a_config_branch_that_is_deleted_during_a_rollout_keeps_no_revert_from_the_regions() {
    let fleet = SmallFleet::of(Story::Bad);
    let controller = fleet.controller("patient");
    crate::crash::die_at(&controller, "after-wavepassed", 2);
    let main = fleet.server.tip(REPO, MAIN).unwrap();
    fleet.git(&["update-ref", "-d", MAIN]);
    // It comes back while regions are given back: with the last of the branches still on its way.
    fleet.server.hold(REPO, BRANCHES[0]);
    let mut running = controller.start();
    running.wait_until("all but one is given back", LONG, || {
        fleet.count("Failed") == 1 && fleet.server.has_held(REPO, BRANCHES[0])
    });
    fleet.git(&["update-ref", MAIN, &main]);
    fleet.server.release(REPO);
    ends_undisturbed(&fleet, running, Story::Bad, "the config branch is back");
}

#[test]
fn told_to_stop_in_the_middle_it_ends_in_time_and_goes_on_when_started_again() {
    let fleet = SmallFleet::of(Story::Good);
    let controller = fleet.controller("stopped");
    // At work on nothing that waits, and in the middle of a push that never ends.
    let running = controller.start();
    fleet.wait_for_entries("Intent", 3);
    stop(running);
    fleet.server.fail_next(1, On::Push, Fault::Stall);
    let running = controller.start();
    fleet.server.wait_until_held(LONG);
    let begun = Instant::now();
    stop(running);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    fleet.server.clear();
    controller.settle(0);
    assert_undisturbed(&fleet, Story::Good, "stopped twice");
}

#[test]
fn a_bake_that_a_restart_interrupts_only_gets_longer() {
    let bake = Duration::from_secs(4);
    let fleet = SmallFleet::settled();
    let text = fleet.work.show("HEAD", "tidegate.yaml");
    let text = text.replace("regions: [west], bake: 300ms", "regions: [west], bake: 4s");
    fleet
        .work
        .publish(&[("tidegate.yaml", &text)], "Bake for longer");
    let controller = fleet.controller("interrupted");
    controller.settle(0);
    fleet.publish_version("2");
    let is_baking = || {
        let state = fleet.state().unwrap();
        let rollout = state.rollout.as_ref().unwrap();
        let (_, west) = rollout.region("west").unwrap();
        format!("{:?}", west.state) == "Baking" && rollout.source.to_string() == fleet.work.head()
    };
    let promoted = fleet.server.tip(REPO, BRANCHES[0]);
    let mut running = controller.start();
    fleet.wait_for_move(BRANCHES[0], promoted.as_ref());
    let begun = Instant::now();
    running.wait_until("a bake under way", LONG, is_baking);
    running.kill();
    let counted = begun.elapsed();
    // Longer than the whole bake; nobody watches meanwhile.
    let killed = Instant::now();
    wait_until("the bake's time", LONG, || killed.elapsed() > bake);
    let passed = fleet.count("WavePassed");
    let mut running = controller.start();
    let begun = Instant::now();
    running.wait_until("the wave passes", LONG, || {
        fleet.count("WavePassed") > passed
    });
    let watched = counted + begun.elapsed();
    assert!(
        watched >= bake,
        "baked {watched:?}, of which {counted:?} before the restart"
    );
    running.wait_until("success", LONG, || fleet.rollout_is("Succeeded"));
    stop(running);
    journal_audit::check(&fleet);
}

/// A process that this one started, by what stands in its arguments.
pub(super) fn child_of(parent: u32, word: &str) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).ok()?;
    let mut all = children.unwrap_or_default();
    for task in tasks.flatten() {
        all += " ";
        all += &fs::read_to_string(task.path().join("children")).unwrap_or_default();
    }
    all.split_whitespace()
        .filter_map(|id| id.parse::<u32>().ok())
        .find(|id| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(word)
        })
}

/// So many numbers, as they stand in a list.
pub(super) fn numbers(count: u32) -> String {
    let items: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    items.join(", ")
}

#[test]
fn a_worker_that_is_killed_fails_its_commit_and_not_the_controller() {
    let fleet = SmallFleet::settled();
    let mut running = fleet.controller("robust").start();
    // A template that computes for longer than anybody waits.
    let poison = "{{#each values.few}}{{#each @root.values.few}}{{#if (eq (sha256 (toJson @root.values.many)) \"\")}}{{/if}}{{/each}}{{/each}}";
    fleet.work.publish(
        &[
            ("templates/poison.yaml.hbs", poison),
            (
                "values/fleet.yaml",
                &format!(
                    "version: \"2\"\nfew: [{}]\nmany: [{}]\n",
                    numbers(100),
                    numbers(20_000)
                ),
            ),
        ],
        "Poison it",
    );
    let worker = wait_for("a render worker", LONG, || {
        child_of(running.id(), "render-worker")
    });
    let killed = Command::new("kill")
        .args(["-9", &worker.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    fleet.wait_for_entries("Invalid", 1);
    let said = fleet.git(&["log", "-1", "--format=%s%n%b", LOG]);
    assert!(
        said.contains("killed") || said.contains("stopped"),
        "{said}"
    );
    fleet.work.remove("templates/poison.yaml.hbs");
    fleet.publish_version("3");
    running.wait_until("success", LONG, || fleet.rollout_is("Succeeded"));
    stop(running);
    journal_audit::check(&fleet);
}

/// A copy of the program that can be taken away. Made by a process of its own: a file that this one has open for
/// writing would be inherited by whatever another test starts just then, and could not be run.
fn copy_of_the_program(fleet: &SmallFleet) -> PathBuf {
    let program = fleet.folder("tidegate");
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_tidegate"))
        .arg(&program)
        .status()
        .unwrap();
    assert!(copied.success());
    program
}

#[test]
fn workers_that_cannot_be_started_make_no_commit_invalid() {
    let fleet = SmallFleet::settled();
    // The program is replaced while it runs, and for a moment it is not there.
    let program = copy_of_the_program(&fleet);
    let mut running = fleet.controller("replaced").program(&program).start();
    running.wait_until("a look", LONG, || fleet.server.requests() > 4);
    let away = fleet.folder("away");
    fs::rename(&program, &away).unwrap();
    fleet.publish_version("2");
    running.wait_until_said("the render worker could not do its work", LONG);
    fs::rename(&away, &program).unwrap();
    running.wait_until("success", LONG, || fleet.rollout_is("Succeeded"));
    assert_eq!(fleet.count("Invalid"), 0);
    ends_undisturbed(&fleet, running, Story::Good, "a program that was replaced");
}

#[test]
fn a_rollout_is_given_back_while_a_newer_commit_cannot_be_rendered() {
    let fleet = SmallFleet::of(Story::Bad);
    let program = copy_of_the_program(&fleet);
    let mut running = fleet.controller("replaced").program(&program).start();
    fleet.wait_for_entries("RolloutOpened", 2);
    let away = fleet.folder("away");
    fs::rename(&program, &away).unwrap();
    fleet.publish_version("3");
    running.wait_until_said("could not be rendered", LONG);
    let good = SmallFleet::settled();
    let tree =
        |fleet: &SmallFleet, name: &str| fleet.git(&["rev-parse", &format!("{name}^{{tree}}")]);
    running.wait_until("all is given back", LONG, || {
        fleet.count("Failed") == 1
            && BRANCHES
                .iter()
                .all(|name| tree(&fleet, name) == tree(&good, name))
    });
    fs::rename(&away, &program).unwrap();
    running.wait_until("the revert of the source", LONG, || {
        fleet.count("Reverted") == 1
    });
    stop(running);
    assert_eq!(fleet.count("Invalid"), 0);
    journal_audit::check(&fleet);
}

const SOMEBODY: &str = "Jo Engineer <jo@example.com> 1767225600 +0000";

/// A commit on a ref that git's checks refuse, and that servers without them take: NUL in its message, or a committer
/// who is none. It has the tree of what it stands on.
fn push_what_checks_refuse(fleet: &SmallFleet, name: &str, who: &str) -> String {
    let work = &fleet.work;
    work.git(&["fetch", "-q", "origin", name]);
    let below = work.git(&["rev-parse", "FETCH_HEAD"]);
    let tree = work.git(&["rev-parse", "FETCH_HEAD^{tree}"]);
    let text = format!(
        "tree {tree}\nparent {below}\nauthor {SOMEBODY}\ncommitter {who}\n\nAn odd\0 commit\n"
    );
    work.write(".git/odd", text);
    let commit = work.git(&[
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--literally",
        ".git/odd",
    ]);
    work.git(&["push", "-q", "origin", &format!("{commit}:{name}")]);
    commit
}

#[test]
fn a_commit_that_fails_gits_checks_keeps_no_region_from_its_last_good() {
    let fleet = SmallFleet::of(Story::Bad);
    let controller = fleet.controller("tolerant");
    crate::crash::die_at(&controller, "after-wavepassed", 1);
    // Under way to its failure, on the branch that everything comes from.
    let odd = push_what_checks_refuse(&fleet, MAIN, SOMEBODY);
    let mut running = controller.start();
    running.wait_until("the revert", LONG, || fleet.rollout_is("RolledBack"));
    running.wait_until_said("objects fail git's checks and are taken all the same", LONG);
    assert!(
        running.stderr().contains("nulInCommit"),
        "{}",
        running.stderr()
    );
    let main = fleet.git(&["log", "--format=%H %s", "-2", MAIN]);
    let lines: Vec<&str> = main.lines().collect();
    assert!(lines[0].contains("Revert"), "{main}");
    assert!(lines[1].starts_with(&odd), "{main}");
    stop(running);
    journal_audit::check(&fleet);
}

#[test]
fn a_commit_that_fails_gits_checks_on_a_wave_branch_is_drift() {
    let fleet = SmallFleet::settled();
    let mut running = fleet.controller("tolerant").start();
    push_what_checks_refuse(&fleet, BRANCHES[2], SOMEBODY);
    fleet.wait_for_entries("Drift", 1);
    assert!(running.is_running(), "{}", running.stderr());
    stop(running);
    journal_audit::check(&fleet);
}

#[test]
fn a_commit_that_cannot_be_read_keeps_no_region_from_its_last_good() {
    let fleet = SmallFleet::settled();
    fleet.publish_version("2-bad-east");
    let controller = fleet.controller("tolerant");
    crate::crash::die_at(&controller, "after-wavepassed", 1);
    let bad = fleet.server.tip(REPO, MAIN).unwrap();
    push_what_checks_refuse(&fleet, MAIN, "Nobody 1767225600 +0000");
    let mut running = controller.start();
    running.wait_until_said("a branch is left out, for its commit cannot be read", LONG);
    running.wait_until("the regions' last good", LONG, || {
        fleet.rollout_is("RolledBack")
    });
    assert!(
        !running.stderr().contains("the mirror is damaged"),
        "{}",
        running.stderr()
    );
    // Somebody puts the branch back, and what failed stays out.
    fleet.git(&["update-ref", MAIN, &bad]);
    running.wait_until("what failed is known", LONG, || {
        let state = fleet.state().unwrap();
        state
            .holds
            .iter()
            .any(|hold| format!("{:?}", hold.reason) == "Quarantined")
    });
    stop(running);
    journal_audit::check(&fleet);
}

#[test]
fn a_commit_that_cannot_be_read_below_another_keeps_no_region_from_its_last_good() {
    let fleet = SmallFleet::settled();
    fleet.publish_version("2-bad-east");
    let controller = fleet.controller("tolerant");
    crate::crash::die_at(&controller, "after-wavepassed", 1);
    let bad = fleet.server.tip(REPO, MAIN).unwrap();
    let odd = push_what_checks_refuse(&fleet, MAIN, "Nobody 1767225600 +0000");
    let work = &fleet.work;
    let tree = work.git(&["rev-parse", &format!("{odd}^{{tree}}")]);
    let above = work.git(&["commit-tree", "-p", &odd, "-m", "On top of it", &tree]);
    work.git(&["push", "-q", "origin", &format!("{above}:{MAIN}")]);
    let mut running = controller.start();
    running.wait_until_said("a branch is left out, for its commit cannot be read", LONG);
    running.wait_until("the regions' last good", LONG, || {
        fleet.rollout_is("RolledBack")
    });
    // More on top of it is left out as well, and nothing is cloned anew for it.
    let more = work.git(&["commit-tree", "-p", &above, "-m", "And more", &tree]);
    work.git(&["push", "-q", "origin", &format!("{more}:{MAIN}")]);
    running.wait_until_said(&more, LONG);
    assert!(
        !running.stderr().contains("the mirror is damaged"),
        "{}",
        running.stderr()
    );
    // Somebody puts the branch back, and a fix is rolled out.
    fleet.git(&["update-ref", MAIN, &bad]);
    work.git(&["fetch", "-q", "origin", MAIN]);
    work.git(&["reset", "-q", "--hard", "FETCH_HEAD"]);
    work.publish(
        &[("values/fleet.yaml", "version: \"3\"\n")],
        &format!("Version 3\n\nTidegate-Fixes: {bad}\n"),
    );
    running.wait_until("the next one's success", LONG, || {
        fleet.rollout_is("Succeeded")
    });
    stop(running);
    journal_audit::check(&fleet);
}
