//! What goes before what: harm before requests, wider holds beside narrower ones.

use super::world::{Spec, World};
use crate::log::EntryKind;
use crate::rollout::{HoldReason, RegionState, Verb};

#[test]
fn a_narrower_hold_lifts_no_wider_one() {
    let mut world = World::settled(Spec::small());
    world.request(Verb::Hold);
    world.request(Verb::Hold).wave = Some("pilot".to_owned());
    world.request(Verb::Hold).regions = vec!["r1".to_owned()];
    world.request(Verb::Hold).regions = vec!["r1".to_owned()];
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::Requested; 3],
        "{}",
        world.story()
    );
    world.commit(&[("all", "v2")]);
    world.run_for(60);
    assert_eq!(world.count(EntryKind::RolloutOpened), 1);
    world.request(Verb::Resume);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_give_back_waits_behind_no_request() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    world.outage.insert("r0".to_owned());
    while world.count(EntryKind::Failed) == 0 {
        world.request(Verb::Retry);
        world.request(Verb::Approve);
        world.round();
    }
    let failed = world.position(EntryKind::Failed);
    assert_ne!(
        world.log[failed].at,
        world.log[failed - 1].at,
        "{}",
        world.story()
    );
}

#[test]
fn a_hotfix_stays_one_when_another_commit_lands_on_it() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    let fix = world.commit(&[("all", "v3")]);
    world.request(Verb::Hotfix).to = Some(fix);
    // Accepted, and nothing done about it yet: the promotion that is open has to be waited for.
    world.think(0);
    world.act(0);
    assert_eq!(world.last(), EntryKind::Requested, "{}", world.story());
    let later = world.commit(&[("r0", "own")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.count(EntryKind::Superseded), 1, "{}", world.story());
    let opened = world.newest(EntryKind::RolloutOpened);
    let rollout = opened.state.rollout.as_ref().unwrap();
    assert!(rollout.hotfix);
    assert_eq!(rollout.source, later);
    assert_eq!(world.state().hotfix, None);
}

#[test]
fn a_commit_that_is_under_way_is_no_hotfix() {
    let mut world = World::settled(Spec::small());
    let under_way = world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    world.commit(&[("all", "v3")]);
    world.request(Verb::Hotfix).to = Some(under_way);
    world.run_until_last(EntryKind::Requested);
    assert_eq!(world.state().hotfix, None, "{}", world.story());
}
