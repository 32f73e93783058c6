//! What a restart takes over from the cache.

use std::time::Duration;

use super::world::{Spec, World};
use crate::log::EntryKind;
use crate::rollout::RegionState;

/// A process that is restarted after a minute of a bake of two.
fn restarted(change: impl Fn(&mut World)) -> Duration {
    let spec = Spec::small().every_wave(|wave| wave.bake = Duration::from_secs(120));
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    world.run_for(60);
    let sums = world.controllers[0].watch.sums();
    assert_eq!(world.controllers[0].watch.epoch(), Some(0));
    world.crash(0);
    world.controllers[0].recovered = sums.into_iter().collect();
    change(&mut world);
    let since = world.now;
    world.run_until_last(EntryKind::WavePassed);
    world.now.saturating_sub(since)
}

#[test]
fn a_bake_is_carried_on_after_a_restart() {
    let rest = restarted(|_| {});
    assert!(rest < Duration::from_secs(100), "{rest:?}");
}

#[test]
fn sums_of_another_epoch_or_of_no_known_one_are_not_used() {
    for epoch in [None, Some(7)] {
        let rest = restarted(|world| {
            for sums in world.controllers[0].recovered.values_mut() {
                sums.epoch = epoch;
            }
        });
        assert!(rest >= Duration::from_secs(120), "{rest:?}");
    }
}

#[test]
fn sums_are_not_used_once_somebody_else_has_written() {
    let rest = restarted(|world| {
        world.controllers[0].alive = false;
        world.add_controller("b");
        world.run_until_last(EntryKind::TakeOver);
        world.controllers[1].alive = false;
        world.controllers[0].alive = true;
    });
    assert!(rest >= Duration::from_secs(120), "{rest:?}");
}
