//! Kill -9 at every named point of the engine, and a restart: with the same data folder, and elsewhere with nothing.
//! Everything ends as if nothing had happened.
//!
//! A fixed sample of the points runs always; `TIDEGATE_ALL_CRASH_POINTS=1` runs all of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex};
use std::{fs, thread};

use tidegate_testkit::git_server::{Fault, On};
use tidegate_testkit::wait::wait_until;

use crate::journal_audit;
use crate::small_fleet::{BRANCHES, Controller, End, LOG, LONG, MAIN, REPO, SmallFleet, Story};

/// A point: the story, its name, which of its passings, and when it is tried.
type Point = (Story, &'static str, u32, When);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// In every run of the tests, started again like this.
    Always(Restart),
    /// Only when all points are asked for.
    Full,
}
use Restart::{Elsewhere, SameData};
use Story::{Bad, First, Good};
use When::{Always, Full};

/// Where the controller dies. One line each.
const POINTS: &[Point] = &[
    (First, "before-created", 1, Full),
    (First, "after-created", 1, Always(SameData)),
    (First, "after-rolloutopened", 1, Full),
    // The intents that create the branches, and the push that does.
    (First, "after-intent", 1, Full),
    (First, "before-branch-push", 1, Full),
    (First, "after-branch-push", 1, Always(Elsewhere)),
    (First, "before-succeeded", 1, Full),
    (First, "before-fetch", 1, Full),
    (First, "after-fetch", 1, Full),
    (Good, "before-fetch", 1, Full),
    (Good, "after-fetch", 1, Always(SameData)),
    (Good, "after-look", 1, Full),
    (Good, "after-look", 2, Full),
    (Good, "after-sums", 1, Full),
    (Good, "after-render", 1, Full),
    (Good, "before-log-push", 2, Full),
    (Good, "after-log-push", 2, Full),
    (Good, "before-rolloutopened", 1, Full),
    (Good, "after-rolloutopened", 1, Always(SameData)),
    (Good, "before-intent", 1, Full),
    (Good, "after-intent", 1, Always(Elsewhere)),
    (Good, "before-branch-push", 1, Full),
    (Good, "after-branch-push", 1, Always(SameData)),
    (Good, "before-progress", 1, Full),
    (Good, "after-progress", 1, Full),
    (Good, "before-wavepassed", 1, Full),
    (Good, "after-wavepassed", 1, Always(Elsewhere)),
    (Good, "after-branch-push", 2, Full),
    (Good, "before-applied", 1, Full),
    (Good, "after-applied", 1, Full),
    // The second batch of the last wave.
    (Good, "before-intent", 2, Full),
    (Good, "after-intent", 2, Full),
    (Good, "before-branch-push", 4, Full),
    (Good, "after-branch-push", 4, Full),
    (Good, "before-succeeded", 1, Always(SameData)),
    (Good, "after-succeeded", 1, Full),
    (Bad, "before-failed", 1, Always(Elsewhere)),
    (Bad, "after-failed", 1, Always(SameData)),
    // The push that gives three branches back.
    (Bad, "before-branch-push", 4, Full),
    (Bad, "after-branch-push", 4, Always(Elsewhere)),
    // The intent of the config branch's revert, and its push.
    (Bad, "before-intent", 2, Full),
    (Bad, "after-intent", 2, Full),
    (Bad, "before-source-revert-push", 1, Full),
    (Bad, "after-source-revert-push", 1, Always(SameData)),
    (Bad, "before-reverted", 1, Full),
    (Bad, "after-reverted", 1, Always(Elsewhere)),
    (Bad, "before-nochange", 1, Full),
    (Bad, "after-nochange", 1, Full),
];

/// Points that no undisturbed run passes, and the test that dies there.
const BEYOND: [(&str, &str); 6] = [
    (
        "before-single-push",
        "in_the_middle_of_a_give_back_one_by_one",
    ),
    (
        "after-single-push",
        "in_the_middle_of_a_give_back_one_by_one",
    ),
    ("before-takeover", "at_a_takeover"),
    ("after-takeover", "at_a_takeover"),
    (
        "before-mirror-discarded",
        "faults::a_crash_while_a_damaged_mirror_is_replaced",
    ),
    (
        "after-mirror-discarded",
        "faults::a_crash_while_a_damaged_mirror_is_replaced",
    ),
];

/// What an undisturbed run of a story ends in, and how often it passes each point.
struct Undisturbed {
    end: End,
    passed: BTreeMap<String, u32>,
}

static FIRST: LazyLock<Undisturbed> = LazyLock::new(|| run_undisturbed(First));
static GOOD: LazyLock<Undisturbed> = LazyLock::new(|| run_undisturbed(Good));
static BAD: LazyLock<Undisturbed> = LazyLock::new(|| run_undisturbed(Bad));

fn undisturbed(story: Story) -> &'static Undisturbed {
    match story {
        First => &FIRST,
        Good => &GOOD,
        Bad => &BAD,
    }
}

fn run_undisturbed(story: Story) -> Undisturbed {
    let fleet = SmallFleet::of(story);
    let answer = fleet
        .controller("undisturbed")
        .env("TIDEGATE_CRASH_AT", "none")
        .settle(if story == Bad { 4 } else { 0 });
    journal_audit::check(&fleet);
    let mut passed = BTreeMap::new();
    for line in answer.stderr.lines() {
        // Its last words are no record.
        let record: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        if let Some(point) = record["fields"]["point"].as_str() {
            *passed.entry(point.to_owned()).or_insert(0) += 1;
        }
    }
    Undisturbed {
        end: fleet.end(),
        passed,
    }
}

/// Asserts that a fleet ended as if nothing had happened to its controllers.
#[track_caller]
pub(crate) fn assert_undisturbed(fleet: &SmallFleet, story: Story, what: &str) {
    assert_eq!(fleet.end(), undisturbed(story).end, "{what}");
    journal_audit::check(fleet);
}

/// With what a controller is started again after it died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restart {
    /// What it left on its disk.
    SameData,
    /// Nothing but the settings: another machine.
    Elsewhere,
}

fn restarted<'a>(
    fleet: &'a SmallFleet,
    first: &Controller<'a>,
    restart: Restart,
) -> Controller<'a> {
    match restart {
        SameData => first.clone(),
        Elsewhere => {
            let _ = fs::remove_dir_all(first.data_folder());
            fleet.controller("elsewhere")
        }
    }
}

/// Runs a controller until it dies at a point.
#[track_caller]
pub(crate) fn die_at(controller: &Controller<'_>, point: &str, nth: u32) {
    let answer = controller
        .clone()
        .env("TIDEGATE_CRASH_AT", &format!("{point}:{nth}"))
        .start_settling()
        .wait(LONG);
    assert_eq!(
        answer.code, None,
        "{point}:{nth} was not reached: {}",
        answer.stderr
    );
}

fn survive((story, point, nth, _): Point, restart: Restart) {
    let fleet = SmallFleet::of(story);
    let first = fleet.controller("first");
    die_at(&first, point, nth);
    restarted(&fleet, &first, restart).settle_somehow();
    assert_undisturbed(
        &fleet,
        story,
        &format!("{story:?} {point}:{nth}, then {restart:?}"),
    );
}

/// Runs scenarios side by side, all of them also when some fail.
pub(crate) fn side_by_side<T: Send + std::fmt::Debug + Copy>(
    scenarios: Vec<T>,
    run: impl Fn(T) + Sync,
) {
    let queue = Mutex::new(VecDeque::from(scenarios));
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some(scenario) = next else { return };
                    if catch_unwind(AssertUnwindSafe(|| run(scenario))).is_err() {
                        failed.lock().unwrap().push(scenario);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

/// Says it past the test harness, which shows nothing of what passes.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[test]
fn killed_at_any_point_and_started_again_ends_as_if_nothing_had_happened() {
    let all = std::env::var_os("TIDEGATE_ALL_CRASH_POINTS").is_some_and(|value| value == "1");
    let mut scenarios = Vec::new();
    for point in POINTS {
        scenarios.extend([SameData, Elsewhere].into_iter().filter_map(|restart| {
            let (.., when) = *point;
            (all || when == Always(restart)).then_some((*point, restart))
        }));
    }
    if scenarios.len() < 2 * POINTS.len() {
        say(&format!(
            "SKIPPED: {} of {} deaths of the controller; TIDEGATE_ALL_CRASH_POINTS=1 tries them all",
            2 * POINTS.len() - scenarios.len(),
            2 * POINTS.len()
        ));
    }
    side_by_side(scenarios, |(point, restart)| survive(point, restart));
}

#[test]
fn every_point_that_the_engine_has_is_tried() {
    let mut known: BTreeSet<&str> = BEYOND.iter().map(|(point, _)| *point).collect();
    for (story, point, nth, _) in POINTS {
        let passed = undisturbed(*story).passed.get(*point).copied();
        assert!(
            passed.unwrap_or(0) >= *nth,
            "{story:?} passes {point} only {passed:?} times"
        );
        known.insert(point);
    }
    for story in [First, Good, Bad] {
        for point in undisturbed(story).passed.keys() {
            assert!(known.contains(point.as_str()), "{point} is never died at");
        }
    }
}

#[test]
fn killed_again_and_again_it_still_gets_to_the_same_end() {
    let fleet = SmallFleet::of(Bad);
    let mut deaths = 0;
    loop {
        // Every life is a little longer than the one before: what gates answered is lost with each, so that
        // lives that are all too short for a wave to pass would never end.
        let controller = fleet
            .controller("mortal")
            .env("TIDEGATE_CRASH_AT", &format!("any:{}", 7 + deaths));
        let answer = controller.start_settling().wait(LONG);
        if answer.code.is_some() {
            assert!(matches!(answer.code, Some(0 | 4)), "{}", answer.stderr);
            break;
        }
        deaths += 1;
        assert!(deaths < 100, "no progress: {}", answer.stderr);
    }
    assert!(deaths > 5, "only {deaths} deaths");
    assert_undisturbed(&fleet, Bad, "killed again and again");
}

/// When the push that was under way lands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lands {
    /// Before the next controller begins.
    Early,
    /// When the next controller has done everything.
    Late,
    /// It had landed; only the answer was on its way.
    Before,
}

#[test]
fn killed_during_a_push_that_lands_early_or_late() {
    let scenarios = vec![
        (Good, LOG, Lands::Late, Elsewhere),
        (Good, BRANCHES[0], Lands::Early, SameData),
        (Good, BRANCHES[0], Lands::Late, Elsewhere),
        (Good, BRANCHES[2], Lands::Before, SameData),
        (Bad, BRANCHES[2], Lands::Late, SameData),
        (Bad, MAIN, Lands::Early, Elsewhere),
        (Bad, MAIN, Lands::Late, SameData),
    ];
    side_by_side(scenarios, |(story, name, lands, restart)| {
        let fleet = SmallFleet::of(story);
        die_during_push(&fleet, name, lands, restart);
        assert_undisturbed(
            &fleet,
            story,
            &format!("{story:?} {name} {lands:?} {restart:?}"),
        );
    });
}

fn die_during_push(fleet: &SmallFleet, name: &'static str, lands: Lands, restart: Restart) {
    let from = fleet.server.tip(REPO, name);
    let fault = match lands {
        Lands::Early | Lands::Late => Fault::Hold,
        Lands::Before => Fault::HoldAnswer,
    };
    fleet.server.fail_next(1, On::PushOf(name), fault);
    let first = fleet.controller("first");
    let mut running = first.start_settling();
    fleet.server.wait_until_held(LONG);
    running.kill();
    if lands == Lands::Early {
        fleet.server.clear();
        fleet.wait_for_move(name, from.as_ref());
    }
    let next = restarted(fleet, &first, restart);
    next.settle_somehow();
    if lands != Lands::Early {
        let pushes = fleet.server.answers();
        fleet.server.clear();
        wait_until("the late push", LONG, || fleet.server.answers() > pushes);
        // Whatever it did is found in order, or put in order.
        next.settle_somehow();
    }
}

#[test]
fn in_the_middle_of_a_give_back_of_three_branches() {
    side_by_side(vec![SameData, Elsewhere], |restart| {
        let fleet = SmallFleet::of(Bad);
        let first = fleet.controller("first");
        die_at(&first, "after-failed", 1);
        // The server has taken the first branch of the push, and is at work on the second.
        fleet.server.hold(REPO, BRANCHES[1]);
        let before = fleet.server.tip(REPO, BRANCHES[1]);
        let mut running = first.start_settling();
        running.wait_until("a give-back under way", LONG, || {
            fleet.server.has_held(REPO, BRANCHES[1])
        });
        running.kill();
        fleet.server.release(REPO);
        fleet.wait_for_move(BRANCHES[1], before.as_ref());
        restarted(&fleet, &first, restart).settle_somehow();
        assert_undisturbed(&fleet, Bad, &format!("{restart:?}"));
    });
}

#[test]
fn in_the_middle_of_a_give_back_one_by_one() {
    let points = vec![
        ("before-single-push", 1),
        ("after-single-push", 1),
        ("after-single-push", 2),
    ];
    side_by_side(points, |(point, nth)| {
        let fleet = SmallFleet::of(Bad);
        let first = fleet.controller("first");
        die_at(&first, "after-failed", 1);
        fleet.server.protect_whole(REPO, BRANCHES[1]);
        die_at(&first, point, nth);
        fleet.server.unprotect(REPO);
        first.settle_somehow();
        assert_undisturbed(&fleet, Bad, &format!("{point} {nth}"));
    });
}

#[test]
fn at_a_takeover() {
    side_by_side(vec!["before-takeover", "after-takeover"], |point| {
        let fleet = SmallFleet::of(Good);
        die_at(&fleet.controller("first"), "after-intent", 1);
        die_at(&fleet.controller("second"), point, 1);
        fleet.controller("third").settle_somehow();
        assert_undisturbed(&fleet, Good, point);
        assert!(fleet.count("TakeOver") >= 1);
    });
}
