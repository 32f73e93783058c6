//! Bad servers, bad disks and bad input: nothing is lost, nothing is half-done, and it goes on when the fault ends.

mod disk;
mod disorder;
mod everything;
mod input;
mod lies;
mod neighbours;
mod server;

use tidegate_testkit::tidegate::Running;

use crate::crash::assert_undisturbed;
use crate::small_fleet::{LONG, MAIN, REPO, SmallFleet, Story};

/// Waits until the story's rollout has come to its end and everything about it is settled, ends the controller, and
/// compares with an undisturbed run.
#[track_caller]
fn ends_undisturbed(fleet: &SmallFleet, mut running: Running, story: Story, what: &str) {
    let wanted = if story == Story::Bad {
        "RolledBack"
    } else {
        "Succeeded"
    };
    running.wait_until(what, LONG, || {
        fleet.rollout_is(wanted)
            && fleet.state().is_some_and(|state| {
                let settled = state.settled.map(|settled| settled.source.to_string());
                settled == fleet.server.tip(REPO, MAIN)
            })
    });
    stop(running);
    assert_undisturbed(fleet, story, what);
}

/// Tells a controller to stop, which it does in time and in order.
#[track_caller]
fn stop(mut running: Running) -> String {
    running.terminate();
    let answer = running.wait(std::time::Duration::from_secs(10));
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    answer.stderr
}
