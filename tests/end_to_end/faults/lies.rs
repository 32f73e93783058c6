//! A git server that lists its refs otherwise than they are, for as long as nobody mends it: it is said what does not
//! fit, the server is left alone between the looks, nothing wrong is written, and everything goes on when the lie ends.

use std::time::{Duration, Instant};

use tidegate_testkit::git_answer::Lie;
use tidegate_testkit::git_server::{Fault, On};
use tidegate_testkit::wait::wait_until;

use super::ends_undisturbed;
use crate::crash::{die_at, side_by_side};
use crate::small_fleet::{BRANCHES, LOG, LONG, MAIN, SmallFleet, Story};

/// What stood there one commit ago: a copy of the server that lags behind.
const LOG_BEFORE: &str = "refs/heads/tidegate/log~1";
const CANARY_BEFORE: &str = "refs/heads/tidegate/canary~1";
const CANARY: &str = BRANCHES[0];

/// For how long it is counted how often the server is asked.
const COUNTED: Duration = Duration::from_secs(3);
/// A look is four requests, and there are three in a second; one that finds refs moving lists them ten times.
const MOST_REQUESTS: usize = 60;

/// What comes again is said again, with pauses that double from half a second on.
const MOST_TIMES: usize = 6;

/// Whose list is wrong, how, whether a rollout is under way by then, and what is said of it.
type Told = (On, Fault, bool, &'static str);

const fn reading(lie: Lie, under_way: bool, said: &'static str) -> Told {
    (On::RefsToRead, Fault::Lists(lie), under_way, said)
}

const fn pushing(lie: Lie, under_way: bool, said: &'static str) -> Told {
    (On::RefsToPush, Fault::Lists(lie), under_way, said)
}

fn goes_on_when_it_ends(scenarios: Vec<Told>) {
    side_by_side(scenarios, |(on, fault, under_way, said)| {
        let what = format!("{on:?} {fault:?} {under_way}");
        let fleet = SmallFleet::of(Story::Good);
        let controller = fleet.controller("told");
        if under_way {
            // The canary has got its tree, and the log does not know it yet.
            die_at(&controller, "after-branch-push", 1);
        }
        fleet.server.fail(on, fault);
        let mut running = controller.start();
        running.wait_until_said(said, LONG);
        // How often it asks is what is measured here, so time has to pass.
        let (asked, since) = (fleet.server.requests(), Instant::now());
        wait_until("some time", LONG, || since.elapsed() > COUNTED);
        let asked = fleet.server.requests() - asked;
        assert!(asked <= MOST_REQUESTS, "{what}: {asked} in {COUNTED:?}");
        let times = running.stderr().matches(said).count();
        assert!(times <= MOST_TIMES, "{what}: said {times} times");
        assert!(running.is_running(), "{what}: {}", running.stderr());
        fleet.server.clear();
        ends_undisturbed(&fleet, running, Story::Good, &what);
    });
}

#[test]
fn refs_that_are_listed_where_the_server_has_nothing_are_looked_at_again() {
    let moving = "changed while it was read";
    goes_on_when_it_ends(vec![
        reading(Lie::Unknown(MAIN), false, moving),
        reading(Lie::Unknown(LOG), true, moving),
        reading(Lie::Unknown(CANARY), true, moving),
    ]);
}

#[test]
fn refs_that_are_listed_where_others_are_write_nothing_that_stays() {
    goes_on_when_it_ends(vec![
        reading(Lie::IdOf(LOG, MAIN), false, "the control log is damaged"),
        reading(
            Lie::IdOf(LOG, MAIN),
            true,
            "the log was rewound or rewritten",
        ),
        reading(Lie::IdOf(MAIN, CANARY), false, "there is no tidegate.yaml"),
        reading(
            Lie::IdOf(MAIN, CANARY),
            true,
            "the config branch was rewritten",
        ),
        reading(
            Lie::IdOf(CANARY, BRANCHES[1]),
            false,
            "was rewritten: it no longer contains",
        ),
        reading(
            Lie::IdOf(CANARY, BRANCHES[1]),
            true,
            "was rewritten: it no longer contains",
        ),
    ]);
}

#[test]
fn refs_that_are_not_listed_are_held_for_and_not_made_anew() {
    let waiting = "the remote has no config branch yet";
    let deleted = "refs/heads/tidegate/canary was deleted";
    goes_on_when_it_ends(vec![
        reading(Lie::Without(LOG), true, "log does not exist, but"),
        reading(
            Lie::Without(MAIN),
            true,
            "the config branch main does not exist",
        ),
        reading(Lie::Without(CANARY), true, deleted),
        reading(Lie::Empty, false, waiting),
        reading(Lie::Empty, true, waiting),
    ]);
}

#[test]
fn a_copy_of_the_server_that_lags_behind_is_not_asked_without_end() {
    let contradiction = "the server lists a ref where a push was told that it is not";
    goes_on_when_it_ends(vec![
        reading(Lie::IdOf(LOG, LOG_BEFORE), false, contradiction),
        reading(
            Lie::IdOf(LOG, LOG_BEFORE),
            true,
            "the log was rewound or rewritten",
        ),
        reading(Lie::IdOf(CANARY, CANARY_BEFORE), true, contradiction),
        pushing(Lie::Unknown(LOG), false, contradiction),
        pushing(Lie::Unknown(CANARY), false, contradiction),
        pushing(Lie::Without(CANARY), false, contradiction),
        pushing(Lie::Empty, false, contradiction),
    ]);
}

#[test]
fn lists_that_are_none_are_named() {
    goes_on_when_it_ends(vec![
        (
            On::RefsToRead,
            Fault::NoPackets,
            true,
            "is not able to answer",
        ),
        (
            On::RefsToRead,
            Fault::HalfAnswer,
            false,
            "is not able to answer",
        ),
        (On::Listing, Fault::NoPackets, false, "is no git server"),
        (
            On::RefsToPush,
            Fault::NoPackets,
            false,
            "a push got no clear answer",
        ),
        (
            On::RefsToPush,
            Fault::CutAnswer,
            false,
            "is not able to answer",
        ),
    ]);
}

#[test]
fn a_server_of_files_alone_is_named_and_waited_for() {
    // What such a server lists is what was written down last: here from before the commit, or nothing at all.
    side_by_side(vec![true, false], |listed| {
        let fleet = SmallFleet::settled();
        if listed {
            fleet.git(&["update-server-info"]);
        }
        fleet.publish_version("2");
        let controller = fleet.controller("told");
        die_at(&controller, "after-branch-push", 1);
        fleet.server.fail(On::Any, Fault::Dumb);
        let mut running = controller.start();
        let said = if listed {
            "the log was rewound or rewritten"
        } else {
            "there is no repo at"
        };
        running.wait_until_said(said, LONG);
        fleet.server.clear();
        ends_undisturbed(&fleet, running, Story::Good, &format!("listed {listed}"));
    });
}

#[test]
fn a_server_of_files_alone_is_read_and_never_written() {
    let fleet = SmallFleet::of(Story::Good);
    fleet.git(&["update-server-info"]);
    let journal = fleet.server.journal(crate::small_fleet::REPO);
    fleet.server.fail(On::Any, Fault::Dumb);
    let mut running = fleet.controller("told").start();
    running.wait_until_said("a push got no clear answer", LONG);
    assert_eq!(fleet.server.journal(crate::small_fleet::REPO), journal);
    fleet.server.clear();
    ends_undisturbed(&fleet, running, Story::Good, "files alone");
}
