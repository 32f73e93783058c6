//! Two fleets of one controller: what one repository holds neither keeps the other waiting nor fills the memory.

use std::fs;

use tidegate_testkit::tidegate::{CRASH_AT, Running};
use tidegate_testkit::wait::wait_for;

use super::input::{child_of, numbers};
use super::stop;
use crate::journal_audit;
use crate::small_fleet::{BRANCHES, LOG, LONG, REPO, SmallFleet, Story};

/// The most memory that the controller may take with what this test gives it, which would come to two gigabytes.
const MEMORY_BYTES: u64 = 256 << 20;

/// The most memory that a process has had in use so far.
fn peak_memory(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes << 10
}

/// A second fleet, called `good`: two fleets of one controller have names of their own.
fn another() -> SmallFleet {
    let fleet = SmallFleet::of(Story::First);
    let text = fleet.work.show("HEAD", "tidegate.yaml");
    let text = text.replace("name: small", "name: good");
    fleet.work.publish(&[("tidegate.yaml", &text)], "Name it");
    fleet
}

#[test]
fn a_repository_whose_templates_never_end_keeps_no_other_fleet_waiting() {
    let hostile = SmallFleet::settled();
    let good = another();
    let mut running = hostile.controller("shared").beside(&good, "good").start();
    running.wait_until("the other fleet's beginning", LONG, || {
        good.rollout_is("Succeeded")
    });
    // Each region takes longer than the half minute that a region is given.
    let poison = "{{#each values.few}}{{#each @root.values.few}}{{#if (eq (sha256 (toJson @root.values.many)) \"\")}}{{/if}}{{/each}}{{/each}}";
    hostile.work.publish(
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
        "Render without end",
    );
    let _worker = wait_for("a render worker", LONG, || {
        child_of(running.id(), "render-worker")
    });
    let before = good.server.tip(REPO, BRANCHES[0]);
    good.publish_version("2");
    good.wait_for_move(BRANCHES[0], before.as_ref());
    assert_eq!(
        hostile.count("Invalid"),
        0,
        "the other fleet's canary waited for the end of what never ends"
    );
    running.wait_until("the other fleet's success", LONG, || {
        good.rollout_is("Succeeded")
    });
    hostile.wait_for_entries("Invalid", 1);
    stop(running);
    journal_audit::check(&good);
}

#[test]
fn a_repository_that_renders_to_more_than_is_allowed_does_not_fill_the_memory() {
    let hostile = SmallFleet::settled();
    let good = another();
    let mut running = hostile.controller("shared").beside(&good, "good").start();
    running.wait_until("the other fleet's beginning", LONG, || {
        good.rollout_is("Succeeded")
    });
    let poison = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: flood }}\ndata:\n{{{{#each values.many}}}}  k{{{{this}}}}: {}\n{{{{/each}}}}",
        "x".repeat(100_000)
    );
    hostile.work.publish(
        &[
            ("templates/flood.yaml.hbs", &poison),
            (
                "values/fleet.yaml",
                &format!("version: \"2\"\nmany: [{}]\n", numbers(5000)),
            ),
        ],
        "Render half a gigabyte for each region",
    );
    hostile.wait_for_entries("Invalid", 1);
    let said = hostile.git(&["log", "-1", "--format=%s%n%b", LOG]);
    assert!(said.contains("larger than 8 MiB"), "{said}");
    good.publish_version("2");
    running.wait_until("the other fleet's success", LONG, || {
        good.rollout_is("Succeeded")
    });
    let peak = peak_memory(&running);
    assert!(peak < MEMORY_BYTES, "{} MiB", peak >> 20);
    stop(running);
}

#[test]
fn a_fleet_that_dies_of_a_bug_is_started_again_and_keeps_no_other_from_going_on() {
    let one = SmallFleet::settled();
    let other = another();
    let mut running = one
        .controller("shared")
        .beside(&other, "good")
        .env(CRASH_AT, "after-intent:1:panic")
        .start();
    // The other's first rollout or the one's next: whichever comes by that point first dies there.
    one.publish_version("2");
    running.wait_until("both fleets' success", LONG, || {
        one.rollout_is("Succeeded") && other.rollout_is("Succeeded")
    });
    let said = running.stderr();
    assert!(
        said.contains("a fleet has died, which is a bug to report"),
        "{said}"
    );
    assert!(
        said.contains("at after-intent, as TIDEGATE_CRASH_AT asks"),
        "{said}"
    );
    for fleet in [&one, &other] {
        fleet.publish_version("3");
    }
    running.wait_until("what comes behind it", LONG, || {
        one.count("Succeeded") == 3 && other.count("Succeeded") == 2
    });
    stop(running);
    for fleet in [&one, &other] {
        journal_audit::check(fleet);
    }
}
