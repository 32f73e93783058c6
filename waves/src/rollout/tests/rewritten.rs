//! A config branch that is rewritten, rewound, deleted, or put back.

use super::newer::holding;
use super::world::{MAIN, Spec, World};
use crate::log::EntryKind;
use crate::oid::Oid;
use crate::rollout::{HoldReason, RolloutState, Verb};

#[test]
fn a_rewritten_config_branch_holds_until_a_person_accepts_it() {
    let mut world = World::settled(Spec::small());
    let before = world.refs.clone();
    world.rewrite_main(&[("all", "v2"), ("spec", "0")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::HistoryRewritten],
        "{}",
        world.story()
    );
    for (reference, tip) in &before {
        if reference != MAIN {
            assert_eq!(world.refs.get(reference), Some(tip), "nothing moved");
        }
    }
    world.request(Verb::Resume);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_rewritten_config_branch_that_is_put_back_holds_no_longer() {
    let mut world = World::settled(Spec::small());
    let head = world.refs[MAIN];
    world.rewrite_main(&[("all", "v2"), ("spec", "0")]);
    world.run();
    assert_eq!(world.holds(), [HoldReason::HistoryRewritten]);
    world.refs.insert(MAIN.to_owned(), head);
    world.run();
    assert_eq!(world.holds(), [], "{}", world.story());
}

/// A rollout of `v2` that has passed its first wave, when the config branch is put back to where it was before.
fn taken_off_under_way() -> (World, Oid) {
    let mut world = World::settled(Spec::small());
    let before = world.refs[MAIN];
    let carried = world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.refs.insert(MAIN.to_owned(), before);
    world.run();
    (world, carried)
}

#[test]
fn a_commit_that_is_taken_off_the_config_branch_under_way_goes_no_further() {
    let (mut world, carried) = taken_off_under_way();
    assert_eq!(
        world.rollout_state(),
        RolloutState::Held,
        "{}",
        world.story()
    );
    let hold = &world.state().holds[0];
    assert_eq!(hold.reason, HoldReason::HistoryRewritten);
    assert_eq!(hold.source, Some(carried));
    assert!(
        hold.message.contains("no longer contains"),
        "{}",
        hold.message
    );
    assert_ne!(
        world.running("r4"),
        world.running("r0"),
        "{}",
        world.story()
    );
    world.request(Verb::Abort);
    world.run();
    assert_eq!(world.last(), EntryKind::Aborted, "{}", world.story());
    assert_eq!(world.holds(), [], "{}", world.story());
    assert_eq!(world.folder("canary", "r0"), world.last_good("r0"));
}

#[test]
fn a_commit_that_is_taken_off_and_put_back_goes_on_by_itself() {
    let (mut world, carried) = taken_off_under_way();
    world.refs.insert(MAIN.to_owned(), carried);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.holds(), []);
}

#[test]
fn a_commit_that_is_taken_off_goes_on_once_a_person_wants_it_all_the_same() {
    let (mut world, carried) = taken_off_under_way();
    world.request(Verb::Resume);
    world.run();
    assert_eq!(
        world.rollout_state(),
        RolloutState::Succeeded,
        "{}",
        world.story()
    );
    assert_eq!(
        world.state().settled.as_ref().map(|settled| settled.source),
        Some(carried)
    );
}

#[test]
fn an_amended_commit_takes_the_place_of_the_one_it_amends_as_a_hotfix() {
    let (mut world, _) = taken_off_under_way();
    let amended = world.commit(&[("all", "v3")]);
    world.run();
    assert_eq!(
        world.rollout_state(),
        RolloutState::Held,
        "{}",
        world.story()
    );
    world.request(Verb::Hotfix).to = Some(amended);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(
        world.state().settled.as_ref().map(|settled| settled.source),
        Some(amended)
    );
}

#[test]
fn a_hotfix_on_a_rewritten_config_branch_needs_no_other_word() {
    let (mut world, _) = taken_off_under_way();
    let there = world.rewrite_main(&[("all", "v4"), ("spec", "0")]);
    world.run();
    world.request(Verb::Hotfix).to = Some(there);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(
        world.state().settled.as_ref().map(|settled| settled.source),
        Some(there)
    );
    assert_eq!(world.holds(), []);
}

#[test]
fn a_commit_on_top_of_an_accepted_rewriting_stops_nothing_that_is_under_way() {
    let mut world = World::settled(Spec::small());
    world.rewrite_main(&[("all", "v2"), ("spec", "0")]);
    world.run();
    world.request(Verb::Resume);
    world.run_until_last(EntryKind::WavePassed);
    let next = world.commit(&[("all", "v3")]);
    world.run();
    assert_eq!(world.count(EntryKind::Succeeded), 3, "{}", world.story());
    assert_eq!(
        world.state().settled.as_ref().map(|settled| settled.source),
        Some(next)
    );
}

#[test]
fn a_config_branch_rewritten_beside_a_held_rollout_takes_its_place_once_a_person_accepts_it() {
    let mut world = World::settled(holding());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::OnFailureHold],
        "{}",
        world.story()
    );
    let rewritten = world.rewrite_main(&[("all", "v3"), ("spec", "0")]);
    world.run();
    let rewriting = |world: &World| {
        world
            .state()
            .holds
            .iter()
            .filter(|hold| hold.reason == HoldReason::HistoryRewritten)
            .count()
    };
    assert_eq!(rewriting(&world), 2, "{}", world.story());
    world.request(Verb::Resume);
    world.run();
    assert_eq!(rewriting(&world), 0, "{}", world.story());
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(
        world.state().settled.as_ref().map(|settled| settled.source),
        Some(rewritten)
    );
}

#[test]
fn a_hold_of_a_commit_beside_a_held_rollout_ends_when_a_newer_commit_takes_its_place() {
    let mut world = World::settled(holding());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    let longer = std::time::Duration::from_secs(60);
    let other = world.spec(holding().wave("broad", |wave| wave.bake = longer));
    world.commit(&[("all", "v3"), ("spec", &other)]);
    world.run();
    let both = [HoldReason::OnFailureHold, HoldReason::PolicyWithContent];
    assert_eq!(world.holds(), both, "{}", world.story());
    world.commit(&[("broken", "yes")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::OnFailureHold],
        "{}",
        world.story()
    );
}

#[test]
fn a_config_branch_that_is_gone_never_means_delete_everything() {
    let mut world = World::settled(Spec::small());
    let head = world.refs.remove(MAIN).unwrap();
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::BranchDeleted],
        "{}",
        world.story()
    );
    assert!(world.running("r4").is_some());
    world.refs.insert(MAIN.to_owned(), head);
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}
