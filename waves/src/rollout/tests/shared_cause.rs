//! Regions without the change that show the same: what that holds, and what it does not.

use std::time::Duration;

use super::world::{Spec, World};
use crate::log::EntryKind;
use crate::rollout::{HoldReason, RegionState};

#[test]
fn a_region_held_for_a_shared_cause_keeps_no_other_harm_from_being_judged() {
    let spec = Spec::small().wave("canary", |wave| wave.bake = Duration::from_secs(180));
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    // r3 turns ill after r0 was promoted, and before r1 is.
    world.outage.insert("r3".to_owned());
    world.run_until("r1 baking", |world| {
        world.region("r1") == RegionState::Baking
    });
    world.outage.insert("r0".to_owned());
    world.run_until_last(EntryKind::Held);
    assert_eq!(
        world.holds(),
        [HoldReason::SharedCause],
        "{}",
        world.story()
    );
    assert_eq!(world.count(EntryKind::Failed), 0);
    world.outage.insert("r1".to_owned());
    world.run_for(60);
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    let failed = world.newest(EntryKind::Failed);
    let failure = failed.state.rollout.as_ref().unwrap().failure.clone();
    assert_eq!(failure.unwrap().region, "r1");
}

#[test]
fn single_bad_answers_elsewhere_are_no_shared_cause() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    world.outage.insert("r0".to_owned());
    for round in 0..40 {
        // Asked every ten seconds: bad and healthy by turns, never three times in a row.
        if round % 4 < 2 {
            world.outage.insert("r3".to_owned());
        } else {
            world.outage.remove("r3");
        }
        world.round();
        if world.count(EntryKind::Failed) > 0 {
            break;
        }
    }
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    assert_eq!(world.count(EntryKind::Held), 0, "{}", world.story());
}

#[test]
fn a_region_elsewhere_that_goes_dark_after_a_bad_answer_delays_a_failure_only_shortly() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    world.outage.insert("r0".to_owned());
    world.outage.insert("r3".to_owned());
    world.run_until("r3 ill", |world| {
        world.controllers[0]
            .watch
            .regions
            .get("r3")
            .is_some_and(|watch| !watch.ill_since.is_empty())
    });
    world.dark.insert("r3".to_owned());
    world.run_for(70);
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
}

#[test]
fn once_a_shared_cause_is_over_gates_forget_what_they_remember_of_the_region() {
    let spec = Spec::small().wave("canary", |wave| wave.bake = Duration::from_secs(180));
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    let anew = |world: &World| {
        let probes = &world.controllers[0].probes;
        let of_canary = probes.iter().find(|probe| probe.region == "r0");
        of_canary.unwrap().anew
    };
    let before = anew(&world);
    world.outage.extend(["r0", "r3"].map(str::to_owned));
    world.run_until_last(EntryKind::Held);
    assert_eq!(
        world.holds(),
        [HoldReason::SharedCause],
        "{}",
        world.story()
    );
    assert_eq!(anew(&world), before, "while it lasts, nothing is forgotten");
    world.outage.clear();
    world.run_until("resumed", |world| world.holds().is_empty());
    world.run_for(10);
    assert!(anew(&world) > before);
}
