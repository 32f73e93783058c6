//! Kill -9 around what is told to a forge and to a receiver of alerts, and a restart: in the end both know what they
//! would have known, there is one pull request, and an alert that comes twice has the same id.
//!
//! These are a few; `tidegate-chaos sweep --scenario told` disturbs all of them, in more ways.

use std::sync::LazyLock;

use tidegate_testkit::audience::Told;

use crate::crash::{die_at, side_by_side};
use crate::small_fleet::{Controller, LONG, MAIN, REPO, SmallFleet, Story};

const POINTS: [(&str, u32); 7] = [
    ("before-alerts-taken", 2),
    ("after-alerts-taken", 2),
    // The receiver has it, and the outbox does not know.
    ("after-alert-sent", 2),
    ("after-alert-settled", 3),
    ("after-status-posted", 3),
    ("before-pull-request-opened", 1),
    ("after-pull-request-opened", 1),
];

static UNDISTURBED: LazyLock<Told> = LazyLock::new(|| {
    let fleet = bad();
    settle(&fleet.controller("undisturbed"));
    told(&fleet)
});

/// A bad commit on a protected branch: its revert is a pull request.
fn bad() -> SmallFleet {
    let fleet = SmallFleet::of(Story::Bad).with_audience();
    fleet.server.protect(REPO, MAIN);
    fleet
}

fn told(fleet: &SmallFleet) -> Told {
    fleet.audience.as_ref().unwrap().told()
}

/// Runs it until it waits for the merge alone: one that saw the rollout fail says that, a later one that it is held.
fn settle(controller: &Controller<'_>) {
    let answer = controller.start_settling().wait(LONG);
    assert!(
        matches!(answer.code, Some(4 | 5)),
        "{:?} {}",
        answer.code,
        answer.stderr
    );
}

#[test]
fn killed_around_what_is_told_it_tells_all_of_it_in_the_end() {
    assert_eq!(UNDISTURBED.pulls.len(), 1, "{UNDISTURBED:#?}");
    assert!(UNDISTURBED.alerts.len() >= 4, "{UNDISTURBED:#?}");
    side_by_side(POINTS.to_vec(), |(point, nth)| {
        let fleet = bad();
        let controller = fleet.controller("first");
        die_at(&controller, point, nth);
        settle(&controller);
        assert_eq!(told(&fleet), *UNDISTURBED, "{point}:{nth}");
    });
}
