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
