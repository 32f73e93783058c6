//! What goes before what: harm before requests, wider holds beside narrower ones.

use super::world::{Fault, MAIN, Spec, World, wave_ref};
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

#[test]
fn a_refused_request_leaves_nothing_behind() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("applying", |world| {
        world.region("r0") == RegionState::Applying
    });
    let before = world.state().clone();
    world.request(Verb::Skip).regions = vec!["r0".to_owned(), "nowhere".to_owned()];
    world.think(0);
    world.act(0);
    let answer = world.newest(EntryKind::Requested);
    assert!(answer.entry.request.as_ref().unwrap().refused.is_some());
    assert!(
        answer
            .entry
            .lines
            .iter()
            .all(|line| !line.contains("Skipped")),
        "{}",
        world.story()
    );
    assert_eq!(
        answer.state.active().unwrap().region("r0").unwrap().1.state,
        before.active().unwrap().region("r0").unwrap().1.state
    );
}

#[test]
fn nothing_is_skipped_in_a_rollout_that_is_ending() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.faults.insert(wave_ref("canary"), Fault::Lost);
    world.run_until("promoted", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && !world.state().intents.is_empty()
    });
    world.request(Verb::Abort);
    world.run_until_last(EntryKind::Sealing);
    world.request(Verb::Skip).regions = vec!["r0".to_owned()];
    world.run_until_last(EntryKind::Requested);
    let answer = world.newest(EntryKind::Requested).entry.request.clone();
    assert!(answer.unwrap().refused.is_some(), "{}", world.story());
}

#[test]
fn a_resume_of_one_wave_lets_the_others_stand() {
    let mut world = World::settled(Spec::small());
    world.request(Verb::Hold).wave = Some("pilot".to_owned());
    world.request(Verb::Hold).wave = Some("broad".to_owned());
    world.run();
    world.request(Verb::Resume).wave = Some("pilot".to_owned());
    world.run();
    assert_eq!(world.holds(), [HoldReason::Requested], "{}", world.story());
    assert_eq!(world.state().holds[0].wave.as_deref(), Some("broad"));
}

#[test]
fn a_settled_head_is_not_called_invalid() {
    let mut world = World::settled(Spec::small());
    let settled = world.head().unwrap();
    world.commit(&[("broken", "yes")]);
    world.run();
    assert!(world.state().invalid.is_some(), "{}", world.story());
    world.refs.insert(MAIN.to_owned(), settled);
    world.run();
    assert_eq!(world.state().invalid, None, "{}", world.story());
    let entries = world.log.len();
    world.run_for(60);
    assert_eq!(world.log.len(), entries, "{}", world.story());
}

#[test]
fn nobody_is_busy_where_only_regions_that_a_person_holds_are_left() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::RolloutOpened);
    world.request(Verb::Hold).regions = vec!["r1".to_owned()];
    world.run();
    assert_eq!(world.region("r2"), RegionState::Done, "{}", world.story());
    assert_eq!(world.region("r1"), RegionState::Pending);
}
