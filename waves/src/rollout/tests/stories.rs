//! Plain stories: what a rollout does when nothing special happens, and when it goes wrong.

use super::world::{Spec, World};
use crate::log::EntryKind;
use crate::rollout::{RegionState, RolloutState, SourceRevert};

#[test]
fn the_first_rollout_goes_through_all_waves() {
    let world = World::settled(Spec::small());
    assert_eq!(world.count(EntryKind::WavePassed), 3, "{}", world.story());
    assert!(world.state().proven);
    for (wave, region) in [("canary", "r0"), ("pilot", "r2"), ("broad", "r4")] {
        assert_eq!(world.folder(wave, region), world.last_good(region));
        assert_eq!(world.region(region), RegionState::Done);
    }
    assert!(world.state().intents.is_empty());
    assert_eq!(world.state().placements.len(), 5);
}

#[test]
fn a_good_commit_becomes_last_good_everywhere() {
    let mut world = World::settled(Spec::small());
    let second = world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.last_good("r4"), Some(world.tree(second, "r4")));
    assert_eq!(world.state().settled.as_ref().unwrap().source, second);
}

#[test]
fn a_bad_commit_is_stopped_at_the_canary_and_taken_back() {
    let mut world = World::settled(Spec::small());
    let good = world.refs[super::world::MAIN];
    world.bad_words.insert("v2".to_owned());
    let bad = world.commit(&[("all", "v2")]);
    world.run();
    let kinds = world.kinds();
    assert_eq!(world.last(), EntryKind::NoChange, "{}", world.story());
    assert_eq!(world.count(EntryKind::Failed), 1);
    assert!(kinds.contains(&EntryKind::Reverted));
    let failed = world.newest(EntryKind::Failed);
    let failure = failed
        .state
        .rollout
        .as_ref()
        .unwrap()
        .failure
        .clone()
        .unwrap();
    assert_eq!(
        (failure.region.as_str(), failure.gate.as_str()),
        ("r0", "healthz")
    );
    assert_eq!(failure.tree, Some(world.tree(bad, "r0")));
    for region in ["r0", "r1", "r3"] {
        assert_eq!(world.last_good(region), Some(world.tree(good, region)));
        assert_eq!(world.running(region), world.last_good(region));
    }
    let rollout = world.state().rollout.as_ref().unwrap();
    assert_eq!(rollout.state, RolloutState::RolledBack);
    assert!(matches!(rollout.source_revert, SourceRevert::Pushed { .. }));
    assert_eq!(world.region("r1"), RegionState::Pending);
    assert_eq!(world.region("r0"), RegionState::Reverted);
    assert_eq!(world.state().quarantine.len(), 1);
}
