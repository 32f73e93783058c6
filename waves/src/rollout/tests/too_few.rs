//! Waves in which too few regions are healthy: what is missing decides what that means.

use super::world::{Spec, World};
use crate::amount::Amount;
use crate::log::EntryKind;
use crate::rollout::{FailureReason, HoldReason, RegionState, Verb};

fn missing_unreachable() -> World {
    let spec = Spec::small().wave("pilot", |wave| {
        wave.max_concurrent = Amount::Count(2);
        wave.max_unreachable = Amount::Count(2);
        wave.min_healthy = Some(Amount::Percent(100));
    });
    let mut world = World::settled(spec);
    world.dark.insert("r1".to_owned());
    world.dark.insert("r2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::Held);
    assert_eq!(
        world.holds(),
        [HoldReason::Unreachable],
        "{}",
        world.story()
    );
    assert_eq!(world.count(EntryKind::Failed), 0);
    world
}

#[test]
fn regions_that_could_only_not_be_reached_hold_a_wave_until_they_answer() {
    let mut world = missing_unreachable();
    let entries = world.log.len();
    world.run_for(600);
    assert_eq!(world.log.len(), entries, "{}", world.story());
    world.dark.clear();
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.region("r1"), RegionState::Done);
}

#[test]
fn a_person_can_leave_them_out() {
    let mut world = missing_unreachable();
    world.request(Verb::Skip).regions = vec!["r1".to_owned(), "r2".to_owned()];
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.region("r1"), RegionState::Skipped);
}

#[test]
fn where_a_region_failed_its_reason_is_named() {
    let spec = Spec::small().wave("pilot", |wave| {
        wave.max_failures = Amount::Count(1);
        wave.min_healthy = Some(Amount::Percent(100));
    });
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("applying", |world| {
        world.region("r2") == RegionState::Applying
    });
    // Healthy and bad by turns: never three of either.
    for round in 0..400 {
        if round % 4 < 2 {
            world.outage.insert("r2".to_owned());
        } else {
            world.outage.clear();
        }
        world.round();
        if world.count(EntryKind::Failed) > 0 {
            break;
        }
    }
    let failed = world.newest(EntryKind::Failed);
    let failure = failed.state.rollout.as_ref().unwrap().failure.clone();
    let failure = failure.unwrap();
    assert_eq!(failure.reason, FailureReason::TimedOut, "{failure:?}");
    assert_eq!(failure.region, "r2");
    assert_eq!(failure.gate, "healthz");
    assert!(failure.evidence.contains("not healthy within 5m"));
}
