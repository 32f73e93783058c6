//! Promotions of a failed rollout that reach their branch late.

use super::world::{Fault, Spec, World, id, wave_ref};
use crate::log::{EntryKind, MoveKind};

#[test]
fn protected_objects_stay_where_a_promotion_arrives_after_a_later_opening() {
    let mut world = World::settled(Spec::small());
    let bad = world.commit(&[("all", "v2")]);
    let with_protected = id(&"last good and a namespace");
    world
        .revert_trees
        .insert(bad, [("r1".to_owned(), with_protected)].into());
    world.run_until_last(EntryKind::RolloutOpened);
    world.faults.insert(wave_ref("pilot"), Fault::Delayed);
    world.run_until_last(EntryKind::WavePassed);
    world.outage.insert("r0".to_owned());
    world.run_until_last(EntryKind::Reverted);
    assert_eq!(world.newest(EntryKind::Failed).entry.open.len(), 1);
    world.outage.clear();
    world.commit(&[("all", "v3")]);
    world.run_until_last(EntryKind::WavePassed);
    world.delayed.retain(|order| {
        world
            .log
            .iter()
            .flat_map(|logged| &logged.intents)
            .any(|intent| intent.new == order.new && intent.draft.kind == MoveKind::Promote)
    });
    world.deliver();
    world.faults.clear();
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    let given = world
        .log
        .iter()
        .flat_map(|logged| &logged.intents)
        .filter(|intent| intent.draft.kind == MoveKind::Revert && intent.draft.wave == "pilot")
        .flat_map(|intent| &intent.draft.folders)
        .find(|change| change.region == "r1");
    assert_eq!(
        given.and_then(|change| change.tree),
        Some(with_protected),
        "{}",
        world.story()
    );
}
