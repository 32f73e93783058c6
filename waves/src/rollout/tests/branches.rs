//! Intents against facts: faults of pushes, drift, deleted and refused branches.

use super::world::{Fault, Spec, World, id, wave_ref};
use crate::log::{EntryKind, MoveKind, Outcome};
use crate::rollout::{HoldReason, RegionState, RequestOption, RolloutState, Verb};

fn outcomes(world: &World) -> Vec<Outcome> {
    world
        .log
        .iter()
        .flat_map(|logged| &logged.entry.closed)
        .map(|closing| closing.outcome)
        .collect()
}

/// A world in which r0 is sick on v2 and the promotion of pilot is open.
fn failing_with_an_open_promotion(fault: Fault) -> World {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.faults.insert(wave_ref("pilot"), fault);
    world.run_until_last(EntryKind::WavePassed);
    world.outage.insert("r0".to_owned());
    world
}

#[test]
fn a_push_whose_answer_is_lost_is_read_from_the_branch() {
    let mut world = World::settled(Spec::small());
    for wave in ["canary", "pilot", "broad"] {
        world.faults.insert(wave_ref(wave), Fault::AnswerLost);
    }
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_push_that_never_arrives_stays_open_until_it_does() {
    let mut world = World::settled(Spec::small());
    world.faults.insert(wave_ref("canary"), Fault::Lost);
    world.commit(&[("all", "v2")]);
    world.run_for(300);
    assert_eq!(world.state().intents.len(), 1, "{}", world.story());
    world.faults.clear();
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded);
    assert!(
        outcomes(&world)
            .iter()
            .all(|outcome| *outcome == Outcome::Applied)
    );
}

#[test]
fn an_open_promotion_is_sealed_before_the_failure_is_written() {
    let mut world = failing_with_an_open_promotion(Fault::Delayed);
    world.run_until_last(EntryKind::Sealing);
    world.faults.clear();
    world.run();
    assert!(
        outcomes(&world).contains(&Outcome::Sealed),
        "{}",
        world.story()
    );
    assert_eq!(world.count(EntryKind::Failed), 1);
    // The promotion that was sealed arrives too late: the branch has moved on.
    world.deliver();
    world.run();
    assert_eq!(world.running("r1"), world.last_good("r1"));
    assert_eq!(world.last(), EntryKind::NoChange);
}

#[test]
fn a_promotion_that_beats_its_seal_is_given_back() {
    let mut world = failing_with_an_open_promotion(Fault::Delayed);
    world.run_until_last(EntryKind::Sealing);
    world.deliver();
    world.faults.clear();
    world.run();
    assert!(
        outcomes(&world).contains(&Outcome::Overtaken),
        "{}",
        world.story()
    );
    assert_eq!(world.count(EntryKind::Failed), 1);
    assert_eq!(world.region("r1"), RegionState::Reverted);
    assert_eq!(world.running("r1"), world.last_good("r1"));
}

#[test]
fn nobody_pushes_what_is_being_sealed() {
    let mut world = failing_with_an_open_promotion(Fault::Lost);
    world.run_until_last(EntryKind::Sealing);
    let promote = world
        .state()
        .intents
        .iter()
        .find(|intent| intent.draft.kind == MoveKind::Promote)
        .unwrap()
        .new;
    world.faults.clear();
    world.run();
    assert!(world.pushed.iter().all(|(_, _, new, _)| *new != promote));
}

#[test]
fn a_seal_that_stays_refused_does_not_keep_the_others_from_their_last_good() {
    let mut world = failing_with_an_open_promotion(Fault::Refused);
    world.run_until_last(EntryKind::Failed);
    let failed = world.newest(EntryKind::Failed);
    assert_eq!(failed.entry.open.len(), 1, "{}", world.story());
    world.run();
    assert_eq!(
        world.folder("canary", "r0"),
        world.last_good("r0"),
        "{}",
        world.story()
    );
    assert_eq!(world.rollout_state(), RolloutState::RollbackIncomplete);
    assert_eq!(world.holds(), [HoldReason::PushRefused]);
    assert_eq!(
        world.sources[&world.refs[super::world::MAIN]].files["all"],
        "v1"
    );
    world.faults.clear();
    world.run_for(300);
    assert!(world.state().intents.is_empty(), "{}", world.story());
    assert_eq!(world.holds(), [], "{}", world.story());
}

#[test]
fn a_promotion_left_open_that_arrives_late_is_given_back() {
    let mut world = failing_with_an_open_promotion(Fault::Delayed);
    world.run_until_last(EntryKind::Reverted);
    assert_eq!(world.newest(EntryKind::Failed).entry.open.len(), 1);
    world.outage.clear();
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
    assert_eq!(
        world.running("r1"),
        world.last_good("r1"),
        "{}",
        world.story()
    );
    assert!(world.state().intents.is_empty());
    assert!(world.state().owed.is_empty());
}

#[test]
fn a_late_promotion_is_given_back_even_while_a_later_rollout_runs() {
    let mut world = failing_with_an_open_promotion(Fault::Delayed);
    world.run_until_last(EntryKind::Reverted);
    world.outage.clear();
    let third = world.commit(&[("all", "v3")]);
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
    assert_eq!(
        world.last_good("r1"),
        Some(world.tree(third, "r1")),
        "{}",
        world.story()
    );
    let reverted = world
        .log
        .iter()
        .flat_map(|logged| &logged.intents)
        .filter(|intent| intent.draft.kind == MoveKind::Revert && intent.draft.wave == "pilot")
        .count();
    assert_eq!(reverted, 1, "{}", world.story());
}

#[test]
fn a_refused_promotion_holds_until_the_server_takes_it() {
    let mut world = World::settled(Spec::small());
    world.faults.insert(wave_ref("canary"), Fault::Refused);
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::PushRefused],
        "{}",
        world.story()
    );
    world.faults.clear();
    world.run_until_last(EntryKind::Resumed);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_refused_give_back_leaves_a_hold_on_that_branch_alone() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("r1 bakes", |world| {
        world.region("r1") == RegionState::Baking
    });
    world.faults.insert(wave_ref("pilot"), Fault::Refused);
    world.outage.insert("r0".to_owned());
    world.run();
    assert_eq!(
        world.rollout_state(),
        RolloutState::RollbackIncomplete,
        "{}",
        world.story()
    );
    assert_eq!(world.holds(), [HoldReason::PushRefused]);
    assert_eq!(world.folder("canary", "r0"), world.last_good("r0"));
    world.outage.clear();
    let third = world.commit(&[("r0", "v3")]);
    world.run_for(200);
    assert_eq!(
        world.folder("canary", "r0"),
        Some(world.tree(third, "r0")),
        "{}",
        world.story()
    );
    world.faults.clear();
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.holds(), []);
}

#[test]
fn drift_holds_and_adopt_keeps_theirs() {
    let mut world = World::settled(Spec::small());
    let theirs = id(&"theirs");
    let commit = world.drift("pilot", "r1", Some(theirs));
    world.run();
    assert_eq!(world.holds(), [HoldReason::Drift], "{}", world.story());
    let drift = world.newest(EntryKind::Drift);
    assert_eq!(drift.entry.drift, [(wave_ref("pilot"), commit)]);
    world.request(Verb::Resume).option = Some(RequestOption::Adopt);
    world.run();
    assert_eq!(world.holds(), [], "{}", world.story());
    assert_eq!(world.folder("pilot", "r1"), Some(theirs));
}

#[test]
fn drift_holds_and_restore_puts_ours_back() {
    let mut world = World::settled(Spec::small());
    let ours = world.folder("pilot", "r1");
    world.drift("pilot", "r1", Some(id(&"theirs")));
    world.drift("pilot", "r2", None);
    world.run();
    assert_eq!(world.newest(EntryKind::Drift).entry.drift.len(), 2);
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(world.holds(), [], "{}", world.story());
    assert_eq!(world.folder("pilot", "r1"), ours);
    assert_eq!(world.folder("pilot", "r2"), world.last_good("r2"));
}

#[test]
fn drift_holds_a_running_rollout_and_what_stands_there_is_not_judged() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    let theirs = id(&"theirs");
    world.bad_trees.insert(theirs);
    world.drift("canary", "r0", Some(theirs));
    world.run_for(300);
    assert_eq!(world.holds(), [HoldReason::Drift], "{}", world.story());
    assert_eq!(world.count(EntryKind::Failed), 0);
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn an_adopted_tree_in_a_running_rollout_is_preempted_and_never_last_good() {
    let mut world = World::settled(Spec::small());
    let good = world.last_good("r1");
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r1") == RegionState::Baking);
    let theirs = id(&"theirs");
    world.drift("pilot", "r1", Some(theirs));
    world.run_for(20);
    world.request(Verb::Resume).option = Some(RequestOption::Adopt);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.region("r1"), RegionState::Preempted);
    assert_eq!(world.last_good("r1"), good);
    assert_eq!(world.folder("pilot", "r1"), Some(theirs));
}

#[test]
fn drift_never_blocks_a_revert() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r2") == RegionState::Baking);
    let theirs = id(&"theirs");
    world.drift("pilot", "r1", Some(theirs));
    world.outage.insert("r0".to_owned());
    world.run_for(200);
    assert_eq!(
        world.rollout_state(),
        RolloutState::RollbackIncomplete,
        "{}",
        world.story()
    );
    assert_eq!(world.region("r1"), RegionState::Preempted);
    assert_eq!(world.folder("pilot", "r1"), Some(theirs));
    assert_eq!(world.folder("pilot", "r2"), world.last_good("r2"));
    assert_eq!(world.folder("canary", "r0"), world.last_good("r0"));
    assert_eq!(world.holds(), [HoldReason::Drift]);
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(
        world.folder("pilot", "r1"),
        world.last_good("r1"),
        "{}",
        world.story()
    );
    assert_eq!(world.holds(), []);
}

#[test]
fn what_an_abort_left_as_drift_is_restored_to_the_last_good() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r2") == RegionState::Baking);
    world.drift("pilot", "r1", Some(id(&"theirs")));
    world.run_for(20);
    world.request(Verb::Abort);
    world.run();
    assert_eq!(world.holds(), [HoldReason::Drift], "{}", world.story());
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(world.holds(), [], "{}", world.story());
    assert_eq!(world.folder("pilot", "r2"), world.last_good("r2"));
    assert_eq!(
        world.folder("pilot", "r1"),
        world.last_good("r1"),
        "what was aborted does not come back: {}",
        world.story()
    );
}

#[test]
fn what_is_left_behind_can_be_skipped() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r1") == RegionState::Baking);
    world.drift("pilot", "r1", Some(id(&"theirs")));
    world.outage.insert("r0".to_owned());
    world.run_for(200);
    assert_eq!(world.holds(), [HoldReason::Drift], "{}", world.story());
    world.request(Verb::Skip).regions = vec!["r1".to_owned()];
    world.run();
    assert_eq!(world.holds(), [], "{}", world.story());
}

#[test]
fn a_deleted_branch_comes_back_only_by_restore() {
    let mut world = World::settled(Spec::small());
    let tip = world.refs[&wave_ref("pilot")];
    world.delete_branch("pilot");
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::BranchDeleted],
        "{}",
        world.story()
    );
    assert!(!world.refs.contains_key(&wave_ref("pilot")));
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert!(world.pushed.iter().any(|(reference, old, new, _)| {
        *reference == wave_ref("pilot") && old.is_zero() && *new == tip
    }));
}

#[test]
fn a_branch_that_somebody_made_first_is_drift() {
    let mut world = World::new(Spec::small());
    world.drift("pilot", "r1", Some(id(&"theirs")));
    world.run();
    assert_eq!(world.holds(), [HoldReason::Drift], "{}", world.story());
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_rewritten_wave_branch_holds_until_it_is_put_back() {
    let mut world = World::settled(Spec::small());
    let tip = world.refs[&wave_ref("pilot")];
    let parent = world.commits[&tip].parent.unwrap();
    world.refs.insert(wave_ref("pilot"), parent);
    world.damaged.insert(wave_ref("pilot"));
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::HistoryRewritten],
        "{}",
        world.story()
    );
    world.refs.insert(wave_ref("pilot"), tip);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn what_a_region_answers_while_its_branch_is_rewritten_or_deleted_is_no_harm_of_ours() {
    for reason in [HoldReason::HistoryRewritten, HoldReason::BranchDeleted] {
        let mut world = World::settled(Spec::small());
        world.commit(&[("all", "v2")]);
        world.run_until("watched", |world| {
            world.region("r0") == RegionState::Verifying
        });
        let canary = wave_ref("canary");
        let tip = world.refs[&canary];
        world.delete_branch("canary");
        if reason == HoldReason::HistoryRewritten {
            let parent = world.commits[&tip].parent.unwrap();
            world.refs.insert(canary.clone(), parent);
        }
        world.outage.insert("r0".to_owned());
        world.run_for(300);
        assert_eq!(world.holds(), [reason], "{}", world.story());
        world.outage.clear();
        if reason == HoldReason::HistoryRewritten {
            world.refs.insert(canary, tip);
        } else {
            world.request(Verb::Resume).option = Some(RequestOption::Restore);
        }
        world.run();
        assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    }
}

#[test]
fn a_human_push_beats_an_open_promotion() {
    let mut world = World::settled(Spec::small());
    world.faults.insert(wave_ref("canary"), Fault::Lost);
    world.commit(&[("all", "v2")]);
    world.run_for(30);
    world.drift("canary", "", None);
    world.faults.clear();
    world.run();
    assert!(
        outcomes(&world).contains(&Outcome::Overtaken),
        "{}",
        world.story()
    );
    assert_eq!(world.region("r0"), RegionState::Pending);
    world.request(Verb::Resume).option = Some(RequestOption::Adopt);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn superseding_and_aborting_wait_for_open_promotions() {
    for verb in [Verb::Hotfix, Verb::Abort] {
        let mut world = World::settled(Spec::small());
        world.commit(&[("all", "v2")]);
        world.faults.insert(wave_ref("pilot"), Fault::Lost);
        world.run_until_last(EntryKind::WavePassed);
        let head = world.commit(&[("all", "v3")]);
        world.request(verb).to = (verb == Verb::Hotfix).then_some(head);
        world.run_for(120);
        assert_eq!(
            world.count(EntryKind::Superseded) + world.count(EntryKind::Aborted),
            0,
            "{}",
            world.story()
        );
        world.faults.clear();
        world.run();
        assert_eq!(
            world.count(EntryKind::Superseded) + world.count(EntryKind::Aborted),
            1,
            "{}",
            world.story()
        );
        assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    }
}

#[test]
fn a_deleted_branch_does_not_keep_the_others_from_their_last_good() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r1") == RegionState::Baking);
    world.delete_branch("pilot");
    world.outage.insert("r0".to_owned());
    world.run_for(200);
    assert_eq!(
        world.rollout_state(),
        RolloutState::RollbackIncomplete,
        "{}",
        world.story()
    );
    assert_eq!(world.folder("canary", "r0"), world.last_good("r0"));
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(
        world.folder("pilot", "r1"),
        world.last_good("r1"),
        "{}",
        world.story()
    );
    assert!(world.state().intents.is_empty());
    assert_eq!(world.holds(), [], "{}", world.story());
}

#[test]
fn a_deleted_branch_with_an_open_promotion_comes_back_and_takes_it() {
    let mut world = World::settled(Spec::small());
    world.faults.insert(wave_ref("pilot"), Fault::Lost);
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.delete_branch("pilot");
    world.run_for(30);
    world.faults.clear();
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn an_abort_that_waits_for_a_deleted_branch_keeps_nobody_busy() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.delete_branch("canary");
    world.run_for(20);
    assert_eq!(
        world.holds(),
        [HoldReason::BranchDeleted],
        "{}",
        world.story()
    );
    world.request(Verb::Abort);
    world.run();
    assert_eq!(world.count(EntryKind::Aborted), 0, "{}", world.story());
    assert!(world.state().rollout.as_ref().unwrap().sealing.is_some());
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(
        world.rollout_state(),
        RolloutState::Aborted,
        "{}",
        world.story()
    );
    assert_eq!(world.folder("canary", "r0"), world.last_good("r0"));
}

#[test]
fn an_answer_that_is_judged_no_more_keeps_nobody_busy() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until("the first bad answer", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r0") == RegionState::Verifying
    });
    world.delete_branch("canary");
    world.request(Verb::Abort);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 0, "{}", world.story());
    assert!(world.state().rollout.as_ref().unwrap().sealing.is_some());
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(world.rollout_state(), RolloutState::Aborted);
    assert_eq!(world.folder("canary", "r0"), world.last_good("r0"));
}

#[test]
fn a_deleted_branch_with_drift_and_an_open_move_comes_back_and_the_drift_is_settled_then() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r1") == RegionState::Baking
    });
    world.drift("pilot", "", None);
    world.run();
    assert_eq!(world.holds(), [HoldReason::Drift], "{}", world.story());
    world.faults.insert(wave_ref("pilot"), Fault::Lost);
    world.request(Verb::Abort);
    world.run_until("the give-back is open", |world| {
        world.state().intents.iter().any(|intent| {
            intent.draft.reference == wave_ref("pilot") && intent.draft.kind == MoveKind::Revert
        })
    });
    world.delete_branch("pilot");
    world.faults.clear();
    world.run_for(30);
    assert_eq!(
        world.holds(),
        [HoldReason::Drift, HoldReason::BranchDeleted],
        "{}",
        world.story()
    );
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(
        world.rollout_state(),
        RolloutState::Aborted,
        "{}",
        world.story()
    );
    assert_eq!(world.folder("pilot", "r1"), world.last_good("r1"));
    assert_eq!(world.holds(), [HoldReason::Drift]);
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(world.holds(), [], "{}", world.story());
}

#[test]
fn a_failure_gives_the_branches_back_though_the_config_branch_is_gone() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until("verifying", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r0") == RegionState::Verifying
    });
    let head = world.refs.remove(super::world::MAIN).unwrap();
    world.run_for(200);
    assert_eq!(
        world.rollout_state(),
        RolloutState::RolledBack,
        "{}",
        world.story()
    );
    assert_eq!(world.folder("canary", "r0"), world.last_good("r0"));
    assert!(world.holds().contains(&HoldReason::RevertImpossible));
    world.refs.insert(super::world::MAIN.to_owned(), head);
    world.run();
    assert!(
        world.holds().contains(&HoldReason::Quarantined),
        "{}",
        world.story()
    );
}

#[test]
fn an_earlier_batch_on_a_branch_that_stays_busy_is_given_back_once_it_is_free() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("the second batch waits for the first", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r1") == RegionState::Verifying
    });
    world.faults.insert(wave_ref("pilot"), Fault::Refused);
    world.run_until("the second batch is open", |world| {
        world.region("r2") == RegionState::Promoted
    });
    world.outage.insert("r0".to_owned());
    world.run_until_last(EntryKind::Reverted);
    assert_eq!(world.rollout_state(), RolloutState::RollbackIncomplete);
    world.faults.clear();
    world.run_for(400);
    assert_eq!(
        world.folder("pilot", "r1"),
        world.last_good("r1"),
        "{}",
        world.story()
    );
    assert_eq!(world.holds(), [], "{}", world.story());
}

#[test]
fn a_folder_that_somebody_removed_stays_gone_after_a_revert_of_others() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("r4", "v2")]);
    world.run();
    world.drift("broad", "r3", None);
    world.run();
    world.request(Verb::Revert);
    world.run();
    assert_eq!(
        world.rollout_state(),
        RolloutState::RolledBack,
        "{}",
        world.story()
    );
    assert_eq!(world.folder("broad", "r4"), world.last_good("r4"));
    assert_eq!(world.folder("broad", "r3"), None);
}
