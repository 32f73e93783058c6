//! Gates that hear nothing of their region: what that means at the deadline, and for its clock.

use std::time::Duration;

use super::evidence::failure;
use super::world::{Spec, World};
use crate::fleet::Gate;
use crate::gate::Reading;
use crate::log::EntryKind;
use crate::rollout::{FailureReason, HoldReason, RegionState};

/// A world in which the canary's region has just got the second rollout's tree, judged by two gates.
fn doubly_gated() -> World {
    let mut spec = Spec::small();
    spec.doubly_gated = true;
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("applying", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r0") == RegionState::Applying
    });
    world
}

#[test]
fn a_cluster_that_fell_silent_before_the_deadline_is_held_whatever_it_said_before() {
    for (last, held) in [
        (Reading::Unreachable, true),
        (Reading::Unknown, true),
        (Reading::Stale, true),
        (Reading::Progressing, false),
    ] {
        let mut world = doubly_gated();
        world.blind.insert("r0".to_owned(), Reading::Progressing);
        world.run_for(60);
        world.blind.insert("r0".to_owned(), last);
        world.run_for(600);
        if held {
            assert_eq!(
                world.holds(),
                [HoldReason::Unreachable],
                "{}",
                world.story()
            );
            world.blind.clear();
            world.run();
            assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
        } else {
            assert_eq!(failure(&world).reason, FailureReason::TimedOut, "{last:?}");
        }
    }
}

#[test]
fn time_in_which_a_cluster_tells_nothing_is_no_part_of_the_deadline() {
    for silence in [Reading::Unknown, Reading::Stale, Reading::Unreachable] {
        let mut world = doubly_gated();
        let began = world.now;
        world.blind.insert("r0".to_owned(), silence);
        // All but the last moments of the five minutes.
        world.run_for(270);
        world.blind.insert("r0".to_owned(), Reading::Progressing);
        world.run_for(200);
        assert_eq!(world.holds(), [], "{}", world.story());
        assert_eq!(world.count(EntryKind::Failed), 0, "{}", world.story());
        world.run_until_last(EntryKind::Failed);
        let failure = failure(&world);
        assert_eq!(failure.reason, FailureReason::TimedOut, "{silence:?}");
        assert!(
            failure
                .evidence
                .contains("not healthy within 5m (not counting 4m"),
            "{}",
            failure.evidence
        );
        let took = world.now.saturating_sub(began).as_secs();
        assert!((500..600).contains(&took), "{took}");
    }
}

#[test]
fn the_clock_goes_on_while_any_gate_hears_its_region() {
    let mut world = doubly_gated();
    world.blind.insert("r0".to_owned(), Reading::Unknown);
    world.lagging.insert("r0".to_owned());
    world.run_for(120);
    let counted = |world: &World| {
        let watch = &world.controllers[0].watch.regions["r0"];
        (watch.deadline_used, watch.silent_used)
    };
    assert_eq!(counted(&world).1, Duration::ZERO);
    let before = counted(&world).0;
    world.lagging.clear();
    world.run_for(120);
    let (used, silent) = counted(&world);
    assert!(silent >= Duration::from_secs(60), "{silent:?}");
    assert!(
        used.saturating_sub(before) < Duration::from_secs(60),
        "{used:?}"
    );
}

#[test]
fn a_hold_tells_what_every_gate_said_that_is_not_healthy() {
    let mut spec = Spec::small();
    spec.doubly_gated = true;
    let mut world = World::settled(spec);
    world.dark.insert("r0".to_owned());
    world.blind.insert("r0".to_owned(), Reading::Unknown);
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::Held);
    let rollout = world.state().rollout.as_ref().unwrap();
    let planned = rollout.plan.wave(&rollout.waves[0].name).unwrap();
    let gates: Vec<&Gate> = rollout.plan.gates_in(planned, "r0").collect();
    assert_eq!(gates.len(), 2);
    let message = &world.state().holds[0].message;
    for gate in gates {
        assert!(message.contains(&gate.name), "{message}");
    }
}

#[test]
fn a_region_whose_gates_learn_nothing_is_not_said_to_answer() {
    let mut world = World::settled(Spec::small());
    world.dark.insert("r0".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until("applying", |world| {
        world.region("r0") == RegionState::Applying
    });
    world.run_for(60);
    assert_eq!(world.region("r0"), RegionState::Applying);
    world.dark.clear();
    world.run_until("verifying", |world| {
        world.region("r0") == RegionState::Verifying
    });
    let story = world.story();
    assert!(
        story.contains("r0: Applying -> Verifying: healthz answered 200"),
        "{story}"
    );
}
