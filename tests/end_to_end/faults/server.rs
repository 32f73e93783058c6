//! A git server that lies, refuses, stalls, or is not there.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use base64::Engine as _;
use tidegate_testkit::git_server::{Fault, On, PASSWORD, USERNAME};
use tidegate_testkit::wait::wait_until;

use super::{ends_undisturbed, stop};
use crate::crash::{assert_undisturbed, die_at, side_by_side};
use crate::journal_audit;
use crate::small_fleet::{BRANCHES, LOG, LONG, MAIN, REPO, SmallFleet, Story};

/// How many requests, which ones, and what they meet.
type Meets = (u32, On, Fault);

#[test]
fn answers_that_are_lost_or_wrong_change_nothing() {
    let scenarios: Vec<(Story, &'static [Meets])> = vec![
        (
            Story::Good,
            &[
                (2, On::PushOf(LOG), Fault::DropAnswer),
                (1, On::PushOf(BRANCHES[0]), Fault::DropAnswer),
                (1, On::PushOf(BRANCHES[1]), Fault::DropRequest),
                (2, On::PushOf(BRANCHES[2]), Fault::DropAnswer),
            ],
        ),
        (
            Story::Good,
            &[
                (1, On::PushOf(LOG), Fault::Status(503)),
                (1, On::PushOf(BRANCHES[0]), Fault::Status(429)),
                (1, On::PushOf(BRANCHES[1]), Fault::Garbage),
                (1, On::Fetch, Fault::Garbage),
                (1, On::Listing, Fault::Garbage),
                (1, On::Listing, Fault::Status(429)),
                (1, On::Listing, Fault::Status(503)),
            ],
        ),
        (
            Story::Good,
            &[
                (1, On::PushOf(LOG), Fault::Status(401)),
                (1, On::PushOf(BRANCHES[0]), Fault::Status(403)),
                (1, On::PushOf(BRANCHES[1]), Fault::Status(404)),
                (1, On::Listing, Fault::Status(403)),
                (1, On::Fetch, Fault::DropAnswer),
            ],
        ),
        (
            Story::Bad,
            &[
                (1, On::PushOf(MAIN), Fault::DropAnswer),
                (3, On::PushOf(BRANCHES[1]), Fault::DropAnswer),
                (4, On::PushOf(LOG), Fault::DropAnswer),
            ],
        ),
        (
            Story::Good,
            &[
                (1, On::Pack, Fault::CutAnswer),
                (1, On::Pack, Fault::HalfAnswer),
                (1, On::Pack, Fault::FlipBit),
                (2, On::PushOf(LOG), Fault::HalfPack),
                (1, On::PushOf(BRANCHES[0]), Fault::HalfAnswer),
                (1, On::PushOf(BRANCHES[1]), Fault::CutAnswer),
                (1, On::PushOf(BRANCHES[2]), Fault::FlipBit),
            ],
        ),
        (
            Story::Bad,
            &[
                (2, On::RefsToRead, Fault::CutAnswer),
                (1, On::RefsToRead, Fault::NoPackets),
                (3, On::PushOf(BRANCHES[1]), Fault::HalfPack),
                (1, On::PushOf(MAIN), Fault::HalfPack),
                (2, On::PushOf(LOG), Fault::HalfAnswer),
                (1, On::PushOf(LOG), Fault::NoPackets),
            ],
        ),
    ];
    side_by_side(scenarios, |(story, faults)| {
        let fleet = SmallFleet::of(story);
        for (count, on, fault) in faults {
            fleet.server.fail_next(*count, *on, *fault);
        }
        let running = fleet
            .controller("patient")
            .env("TIDEGATE_GIT_DEADLINE", "5s")
            .start();
        ends_undisturbed(&fleet, running, story, &format!("{story:?} {faults:?}"));
    });
}

/// Arguments of a process and all that it started.
fn arguments_below(root: u32) -> Vec<String> {
    let mut parents = BTreeMap::new();
    let mut arguments = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name stands in brackets and may hold anything.
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        if let Some(parent) = parent {
            parents.insert(id, parent);
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            arguments.insert(id, String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    arguments
        .into_iter()
        .filter(|(id, _)| {
            let mut at = Some(*id);
            while let Some(id) = at {
                if id == root {
                    return true;
                }
                at = parents.get(&id).copied();
            }
            false
        })
        .map(|(_, arguments)| arguments)
        .collect()
}

#[test]
fn wrong_credentials_are_named_not_hammered_and_never_shown() {
    let wrong = "canary-wrong-81723";
    let encode = |password: &str| {
        base64::engine::general_purpose::STANDARD.encode(format!("{USERNAME}:{password}"))
    };
    let secrets = [
        wrong.to_owned(),
        encode(wrong),
        PASSWORD.to_owned(),
        encode(PASSWORD),
    ];
    let fleet = SmallFleet::of(Story::Good);
    let controller = fleet.controller("forgetful").env("TIDEGATE_LOG", "trace");
    let password = controller.password_file();
    fs::write(&password, wrong).unwrap();
    let running = controller.start();
    let told = "refuses our credentials";
    let mut seen = 0;
    let watch = |running: &tidegate_testkit::tidegate::Running, seen: &mut usize| {
        for line in arguments_below(running.id()) {
            *seen += 1;
            for secret in &secrets {
                assert!(!line.contains(secret), "in the arguments: {line}");
            }
        }
    };
    let begun = Instant::now();
    while !running.stderr().contains(told) {
        watch(&running, &mut seen);
        assert!(begun.elapsed() < LONG, "{}", running.stderr());
    }
    // How often it asks is what is measured here, so time has to pass.
    let (asked, since) = (fleet.server.requests(), Instant::now());
    wait_until("some time", LONG, || {
        watch(&running, &mut seen);
        since.elapsed() > Duration::from_secs(5)
    });
    let asked = fleet.server.requests() - asked;
    assert!(asked <= 12, "asked {asked} times within five seconds");
    assert_eq!(
        running.stderr().matches(told).count(),
        1,
        "{}",
        running.stderr()
    );
    assert!(running.stderr().contains("check user name and password"));

    fs::write(&password, PASSWORD).unwrap();
    wait_until("success", LONG, || {
        watch(&running, &mut seen);
        fleet.rollout_is("Succeeded")
    });
    assert!(seen > 20, "only {seen} processes seen");
    let said = stop(running);
    for secret in &secrets {
        assert!(!said.contains(secret), "in the output: {said}");
    }
    assert_undisturbed(&fleet, Story::Good, "wrong credentials");
    let objects = fleet.git(&["log", "--all", "-p", "--format=raw"]);
    for secret in &secrets {
        assert!(!objects.contains(secret), "in git");
    }
}

#[test]
fn a_repo_that_is_gone_is_named_and_found_again() {
    let fleet = SmallFleet::of(Story::Good);
    let (repo, away) = (fleet.server.path(REPO), fleet.server.path("away.git"));
    fs::rename(&repo, &away).unwrap();
    let mut running = fleet.controller("patient").start();
    running.wait_until_said("there is no repo at", LONG);
    fs::rename(&away, &repo).unwrap();
    ends_undisturbed(&fleet, running, Story::Good, "the repo is back");
}

#[test]
fn a_server_that_stalls_is_given_up_and_tried_again() {
    let scenarios = vec![
        (On::Listing, Fault::Stall),
        (On::Fetch, Fault::Stall),
        (On::PushOf(LOG), Fault::Stall),
        (On::PushOf(BRANCHES[0]), Fault::Stall),
        // In the middle of what it sends, and of what it is sent.
        (On::RefsToRead, Fault::StallAnswer),
        (On::Pack, Fault::StallAnswer),
        (On::PushOf(LOG), Fault::StallAnswer),
        (On::PushOf(BRANCHES[0]), Fault::StallAnswer),
        (On::Push, Fault::HalfRequest),
    ];
    side_by_side(scenarios, |(on, fault)| {
        let fleet = SmallFleet::of(Story::Good);
        fleet.server.fail_next(1, on, fault);
        let running = fleet
            .controller("patient")
            .env("TIDEGATE_GIT_DEADLINE", "5s")
            .start();
        fleet.server.wait_until_held(LONG);
        // The stall is never cleared: what ends it is the deadline.
        ends_undisturbed(&fleet, running, Story::Good, &format!("{fault:?} {on:?}"));
    });
}

#[test]
fn a_protected_branch_keeps_no_other_from_being_given_back() {
    side_by_side(vec![true, false], |whole| {
        let fleet = SmallFleet::of(Story::Bad);
        let good: Vec<String> = {
            let settled = SmallFleet::settled();
            let tree = |name: &&str| settled.git(&["rev-parse", &format!("{name}^{{tree}}")]);
            BRANCHES.iter().map(tree).collect()
        };
        let tree =
            |place: usize| fleet.git(&["rev-parse", &format!("{}^{{tree}}", BRANCHES[place])]);
        let controller = fleet.controller("refused");
        die_at(&controller, "after-failed", 1);
        if whole {
            fleet.server.protect_whole(REPO, BRANCHES[1]);
        } else {
            fleet.server.protect(REPO, BRANCHES[1]);
        }
        let mut running = controller.start();
        running.wait_until("the others are given back", LONG, || {
            tree(0) == good[0] && tree(2) == good[2]
        });
        assert_ne!(tree(1), good[1]);
        running.wait_until("the refusal is said", LONG, || {
            fleet
                .state()
                .unwrap()
                .holds
                .iter()
                .any(|hold| format!("{:?}", hold.reason) == "PushRefused")
        });
        fleet.server.unprotect(REPO);
        running.wait_until("all is given back", LONG, || {
            tree(1) == good[1] && fleet.state().unwrap().intents.is_empty()
        });
        stop(running);
        journal_audit::check(&fleet);
    });
}

#[test]
fn a_log_that_may_not_be_written_is_named_and_nothing_moves() {
    let fleet = SmallFleet::of(Story::Good);
    fleet.server.protect(REPO, LOG);
    let journal = fleet.server.journal(REPO);
    let mut running = fleet.controller("refused").start();
    running.wait_until_said("the server refuses to move refs/heads/tidegate/log", LONG);
    assert_eq!(fleet.server.journal(REPO), journal);
    fleet.server.unprotect(REPO);
    ends_undisturbed(&fleet, running, Story::Good, "the log may be written");
}
