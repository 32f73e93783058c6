//! What people ask for, and several controllers.

use super::world::{Fault, Spec, World, wave_ref};
use crate::log::EntryKind;
use crate::rollout::{HoldReason, RegionState, RequestOption, RolloutState, Verb};

fn answer(world: &World) -> Option<String> {
    world
        .newest(EntryKind::Requested)
        .entry
        .request
        .as_ref()
        .unwrap()
        .refused
        .clone()
}

#[test]
fn every_request_gets_exactly_one_answer() {
    let mut world = World::settled(Spec::small());
    for verb in [
        Verb::Approve,
        Verb::Resume,
        Verb::Skip,
        Verb::Abort,
        Verb::Retry,
        Verb::Revert,
        Verb::Hotfix,
    ] {
        world.request(verb);
    }
    world.run();
    assert_eq!(world.count(EntryKind::Requested), 7, "{}", world.story());
    for logged in &world.log {
        if let Some(answer) = &logged.entry.request {
            assert!(answer.refused.is_some(), "{}", logged.entry.subject);
        }
    }
    assert_eq!(world.count(EntryKind::Failed), 0);
}

#[test]
fn a_request_that_cannot_be_read_is_refused() {
    let mut world = World::settled(Spec::small());
    world.request(Verb::Hold).refused = Some("unsigned".to_owned());
    world.run();
    assert_eq!(answer(&world).as_deref(), Some("unsigned"));
    assert_eq!(world.holds(), []);
}

#[test]
fn while_a_hold_by_request_stands_nothing_opens() {
    let mut world = World::settled(Spec::small());
    world.request(Verb::Hold);
    world.run();
    world.commit(&[("all", "v2")]);
    world.commit(&[("all", "v3")]);
    world.run_for(300);
    assert_eq!(
        world.count(EntryKind::RolloutOpened),
        1,
        "{}",
        world.story()
    );
    world.request(Verb::Resume);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded);
    assert_eq!(world.state().rollout.as_ref().unwrap().commits.len(), 2);
}

#[test]
fn a_hold_by_request_ends_when_its_time_is_over() {
    let mut world = World::settled(Spec::small());
    let until = world.wall() + 120;
    world.request(Verb::Hold).until = Some(until);
    world.run_for(20);
    world.commit(&[("all", "v2")]);
    world.run_for(60);
    assert_eq!(world.holds(), [HoldReason::Requested], "{}", world.story());
    world.run_for(60);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_hold_completes_what_is_open_and_promotes_no_more() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.request(Verb::Hold);
    world.run_for(300);
    assert!(world.state().intents.is_empty());
    assert_eq!(world.region("r1"), RegionState::Done, "{}", world.story());
    assert_eq!(world.region("r2"), RegionState::Pending);
    assert_eq!(world.rollout_state(), RolloutState::Held);
}

#[test]
fn a_hold_of_one_region_lets_the_others_go_on() {
    let mut world = World::settled(Spec::small());
    world.request(Verb::Hold).regions = vec!["r1".to_owned()];
    world.commit(&[("all", "v2")]);
    world.run_for(5);
    world.request(Verb::Resume);
    world.run_until_last(EntryKind::RolloutOpened);
    world.request(Verb::Hold).regions = vec!["r1".to_owned()];
    world.run_for(600);
    assert_eq!(world.region("r2"), RegionState::Done, "{}", world.story());
    assert_eq!(world.region("r1"), RegionState::Pending);
    world.request(Verb::Resume);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_hold_never_blocks_a_revert() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.request(Verb::Hold);
    world.outage.insert("r0".to_owned());
    world.run_for(200);
    assert_eq!(
        world.rollout_state(),
        RolloutState::RolledBack,
        "{}",
        world.story()
    );
    assert_eq!(world.folder("canary", "r0"), world.last_good("r0"));
}

#[test]
fn a_held_rollout_does_not_yield_while_a_person_holds() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.request(Verb::Hold);
    world.run_for(20);
    world.commit(&[("all", "v3")]);
    world.run_for(300);
    assert_eq!(world.count(EntryKind::Superseded), 0, "{}", world.story());
}

#[test]
fn a_skipped_region_still_gets_the_tree_and_counts_in_no_number() {
    let mut world = World::settled(Spec::small());
    let good = world.last_good("r2");
    let head = world.commit(&[("all", "v2")]);
    world.dark.insert("r2".to_owned());
    world.run_until_last(EntryKind::RolloutOpened);
    world.request(Verb::Skip).regions = vec!["r2".to_owned()];
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.region("r2"), RegionState::Skipped);
    assert_eq!(world.folder("pilot", "r2"), Some(world.tree(head, "r2")));
    assert_eq!(world.last_good("r2"), good);
}

#[test]
fn a_region_skipped_before_is_reported_and_is_no_evidence_against_the_next_commit() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("worse".to_owned());
    world.dark.insert("r2".to_owned());
    world.commit(&[("r2", "worse"), ("r0", "new")]);
    world.run_until("promoted", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r2") == RegionState::Applying
    });
    world.request(Verb::Skip).regions = vec!["r2".to_owned()];
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    world.dark.clear();
    world.commit(&[("r0", "newer")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.region("r2"), RegionState::Skipped);
    assert!(
        world
            .state()
            .rollout
            .as_ref()
            .unwrap()
            .region("r2")
            .unwrap()
            .1
            .reason
            .is_some()
    );
}

#[test]
fn approval_holds_for_that_commit_alone() {
    let mut world = World::settled(Spec::small());
    let other = world.spec(Spec::small().members("broad", &["r3"]));
    let first = world.commit(&[("spec", &other)]);
    world.run();
    assert_eq!(world.holds(), [HoldReason::RegionRemoval]);
    world.commit(&[("r0", "new")]);
    world.request(Verb::Approve).to = Some(first);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::RegionRemoval],
        "{}",
        world.story()
    );
    assert!(world.folder("broad", "r4").is_some());
}

#[test]
fn guards_hold_until_approved() {
    for reason in [HoldReason::DeletionGuard, HoldReason::ProtectedKind] {
        let mut world = World::settled(Spec::small());
        let head = world.commit(&[("all", "v2")]);
        world.findings.insert(
            head,
            vec![crate::rollout::Finding {
                reason,
                region: "r4".to_owned(),
                message: "r4 would lose a Namespace".to_owned(),
            }],
        );
        world.run();
        assert_eq!(world.holds(), [reason], "{}", world.story());
        world.request(Verb::Approve).to = Some(head);
        world.run();
        assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    }
}

#[test]
fn another_rollout_than_the_newest_is_refused() {
    let mut world = World::settled(Spec::small());
    world.request(Verb::Revert).rollout = Some("00000000-1".to_owned());
    world.run();
    assert!(answer(&world).is_some());
}

#[test]
fn a_hold_whose_time_is_over_is_refused() {
    let mut world = World::settled(Spec::small());
    let until = world.wall();
    world.request(Verb::Hold).until = Some(until);
    world.run();
    assert!(answer(&world).is_some_and(|why| why.contains("later --until")));
    assert_eq!(world.holds(), []);
}

#[test]
fn a_revert_goes_back_to_what_the_newest_rollout_started_from_and_to_nothing_else() {
    let mut world = World::settled(Spec::small());
    let good = world.last_good("r0");
    let base = world.state().settled.as_ref().unwrap().source;
    let older = world.state().rollout.as_ref().unwrap().base;
    assert_eq!(older, None, "the first rollout has no base");
    let middle = world.commit(&[("all", "v2")]);
    world.run();
    let newest = world.commit(&[("all", "v3")]);
    world.run();
    for (to, advice) in [(newest, "without --to"), (base, "git revert")] {
        world.request(Verb::Revert).to = Some(to);
        world.run();
        assert!(
            answer(&world).is_some_and(|why| why.contains(advice)),
            "{}",
            world.story()
        );
    }
    world.request(Verb::Revert).regions = vec!["r0".to_owned()];
    world.run();
    assert!(answer(&world).is_some_and(|why| why.contains("let it roll out")));
    assert_eq!(world.count(EntryKind::Failed), 0, "{}", world.story());
    let before = world.folder("canary", "r0");
    world.request(Verb::Revert).to = Some(middle);
    world.run();
    assert_eq!(answer(&world), None, "{}", world.story());
    assert_eq!(world.rollout_state(), RolloutState::RolledBack);
    assert_ne!(world.folder("canary", "r0"), before);
    assert_ne!(world.folder("canary", "r0"), good);
}

#[test]
fn resume_knows_how_to_treat_drift_only_with_an_option() {
    let mut world = World::settled(Spec::small());
    world.drift("pilot", "r1", None);
    world.run();
    world.request(Verb::Resume);
    world.run();
    assert!(answer(&world).is_some());
    assert_eq!(world.holds(), [HoldReason::Drift]);
    world.request(Verb::Resume).option = Some(RequestOption::Keep);
    world.run();
    assert!(answer(&world).is_some());
}

#[test]
fn a_second_controller_only_watches_while_the_first_works() {
    let mut world = World::settled(Spec::small());
    world.add_controller("b");
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::RolloutOpened);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.count(EntryKind::TakeOver), 0, "{}", world.story());
}

#[test]
fn a_second_controller_takes_over_what_the_first_left() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.controllers[0].alive = false;
    let since = world.now;
    world.add_controller("b");
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.count(EntryKind::TakeOver), 1, "{}", world.story());
    assert!(
        world
            .newest(EntryKind::TakeOver)
            .at
            .saturating_sub(since)
            .as_secs()
            >= 15
    );
    assert_eq!(world.state().epoch, 1);
}

#[test]
fn the_first_only_watches_once_it_was_taken_over() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.controllers[0].alive = false;
    world.add_controller("b");
    world.run_until_last(EntryKind::TakeOver);
    world.controllers[0].alive = true;
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded);
    assert_eq!(world.count(EntryKind::TakeOver), 1, "{}", world.story());
}

#[test]
fn a_successor_completes_a_push_that_the_first_only_announced() {
    let mut world = World::settled(Spec::small());
    world.faults.insert(wave_ref("canary"), Fault::Lost);
    world.commit(&[("all", "v2")]);
    world.run_for(15);
    assert_eq!(world.state().intents.len(), 1, "{}", world.story());
    world.controllers[0].alive = false;
    world.faults.clear();
    world.add_controller("b");
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_step_decided_on_an_older_log_changes_nothing() {
    let mut world = World::settled(Spec::small());
    let second = world.add_controller("b");
    world.commit(&[("all", "v2")]);
    world.think(0);
    world.think(second);
    assert!(world.act(0));
    assert!(!world.act(second), "the log had moved on");
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}
