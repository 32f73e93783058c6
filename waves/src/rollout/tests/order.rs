//! Who goes when.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::{Spec, TICK, World, wave_ref};
use crate::amount::Amount;
use crate::fleet::{OnFailure, PolicyWithContent, SlotUntil};
use crate::log::{EntryKind, MoveKind};
use crate::rollout::{HoldReason, RegionState, RolloutState, Verb, WaveState};

#[test]
fn waves_pass_in_order_and_each_says_so() {
    let world = World::settled(Spec::small());
    let passed: Vec<_> = world
        .log
        .iter()
        .filter(|logged| logged.entry.kind == EntryKind::WavePassed)
        .map(|logged| logged.entry.wave.clone().unwrap())
        .collect();
    assert_eq!(passed, ["canary", "pilot", "broad"]);
}

#[test]
fn a_wave_does_not_pass_while_a_region_of_it_is_still_judged() {
    let spec = Spec::small().wave("pilot", |wave| {
        wave.min_healthy = Some(Amount::Percent(50));
    });
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("r2 is promoted", |world| {
        world
            .state()
            .active()
            .is_some_and(|rollout| rollout.region("r2").unwrap().1.before.is_some())
    });
    world.dark.insert("r2".to_owned());
    world.run_until("r1 is done", |world| {
        world.region("r1") == RegionState::Done
    });
    world.run_for(60);
    // Half of the wave is enough, once the other half is known.
    let newest = world.newest(EntryKind::WavePassed).entry.wave.clone();
    assert_eq!(newest.as_deref(), Some("canary"), "{}", world.story());
    world.dark.clear();
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn who_waits_when_a_rollout_fails_is_not_promoted_behind_the_failure() {
    let spec = Spec::small().wave("pilot", |wave| wave.max_concurrent = Amount::Count(1));
    let mut world = World::settled(spec);
    world.bad_words.insert("worse".to_owned());
    world.commit(&[("all", "v2"), ("r1", "worse")]);
    world.run();
    let failed = world.position(EntryKind::Failed);
    assert!(
        world.log[failed..]
            .iter()
            .flat_map(|logged| &logged.intents)
            .all(|intent| intent.draft.kind != MoveKind::Promote),
        "{}",
        world.story()
    );
    assert_eq!(world.region("r2"), RegionState::Pending);
}

#[test]
fn branches_are_created_before_anything_is_promoted() {
    let world = World::settled(Spec::small());
    let kinds: Vec<MoveKind> = world
        .log
        .iter()
        .flat_map(|logged| &logged.intents)
        .map(|intent| intent.draft.kind)
        .collect();
    assert_eq!(&kinds[..3], &[MoveKind::Create; 3]);
    assert!(kinds[3..].iter().all(|kind| *kind == MoveKind::Promote));
}

#[test]
fn max_concurrent_bounds_the_slots() {
    let spec = Spec::small()
        .members("broad", &["r3", "r4", "r5", "r6", "r7"])
        .wave("broad", |wave| wave.max_concurrent = Amount::Count(2));
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded);
    let largest = world
        .log
        .iter()
        .flat_map(|logged| &logged.intents)
        .filter(|intent| intent.draft.kind == MoveKind::Promote && intent.draft.wave == "broad")
        .map(|intent| intent.draft.folders.len())
        .max();
    assert_eq!(largest, Some(2), "{}", world.story());
}

#[test]
fn a_slot_until_baked_is_kept_through_the_bake() {
    let spec = Spec::small().wave("broad", |wave| wave.slot_until = SlotUntil::Baked);
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("the last region is promoted", |world| {
        world
            .state()
            .active()
            .is_some_and(|rollout| rollout.region("r4").unwrap().1.before.is_some())
    });
    assert_eq!(world.region("r3"), RegionState::Done, "{}", world.story());
}

#[test]
fn the_first_wave_that_changes_is_treated_as_a_canary() {
    let spec = Spec::small()
        .members("broad", &["r3", "r4", "r5"])
        .wave("broad", |wave| {
            wave.max_concurrent = Amount::Percent(100);
            wave.max_failures = Amount::Count(1);
        });
    let mut world = World::settled(spec);
    world.bad_words.insert("worse".to_owned());
    world.commit(&[("r3", "worse"), ("r4", "better"), ("r5", "better")]);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    let failed = world
        .newest(EntryKind::Failed)
        .state
        .rollout
        .clone()
        .unwrap();
    assert!(
        failed.region("r4").unwrap().1.before.is_none(),
        "only one region went first"
    );
}

#[test]
fn a_wave_left_out_from_the_start_does_not_count_as_the_first_that_changes() {
    let spec = Spec::small()
        .members("broad", &["r3", "r4", "r5"])
        .wave("canary", |wave| wave.on_failure = OnFailure::Isolate)
        .wave("broad", |wave| wave.max_concurrent = Amount::Percent(100));
    let mut world = World::settled(spec);
    world.bad_words.insert("worse".to_owned());
    world.commit(&[("r0", "worse")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    world.commit(&[("r3", "new"), ("r4", "new"), ("r5", "new")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    let rollout = world.state().rollout.clone().unwrap();
    let promotes: Vec<usize> = world
        .log
        .iter()
        .flat_map(|logged| &logged.intents)
        .filter(|intent| {
            intent.draft.kind == MoveKind::Promote
                && intent.draft.rollout.as_ref() == Some(&rollout.id)
        })
        .map(|intent| intent.draft.folders.len())
        .collect();
    assert_eq!(promotes, [1, 2], "{}", world.story());
}

#[test]
fn failures_within_the_limit_are_tolerated() {
    let spec = Spec::small()
        .members("broad", &["r3", "r4", "r5", "r6"])
        .wave("broad", |wave| wave.max_failures = Amount::Percent(25));
    let mut world = World::settled(spec);
    world.bad_words.insert("worse".to_owned());
    world.commit(&[("all", "v2"), ("r4", "worse")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.count(EntryKind::RegionFailed), 1);
    let rollout = world.state().rollout.as_ref().unwrap();
    assert_eq!(rollout.waves[2].state, WaveState::PassedWithFailures);
    assert_ne!(world.last_good("r4"), world.folder("broad", "r4"));
    assert!(world.state().quarantine.is_empty());
}

#[test]
fn more_failures_than_tolerated_fail_the_rollout() {
    let spec = Spec::small()
        .members("broad", &["r3", "r4", "r5", "r6"])
        .wave("broad", |wave| wave.max_failures = Amount::Percent(25));
    let mut world = World::settled(spec);
    world.bad_words.insert("worse".to_owned());
    world.commit(&[("all", "v2"), ("r4", "worse"), ("r5", "worse")]);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    let failed = world
        .newest(EntryKind::Failed)
        .state
        .rollout
        .clone()
        .unwrap();
    assert_eq!(failed.failure.unwrap().gate, "healthz", "{}", world.story());
    assert_eq!(world.folder("canary", "r0"), world.last_good("r0"));
}

#[test]
fn a_wave_needs_its_minimum_of_healthy_regions() {
    let spec = Spec::small()
        .members("broad", &["r3", "r4", "r5", "r6"])
        .wave("broad", |wave| {
            wave.max_failures = Amount::Count(2);
            wave.min_healthy = Some(Amount::Count(4));
        });
    let mut world = World::settled(spec);
    world.bad_words.insert("worse".to_owned());
    world.commit(&[("all", "v2"), ("r4", "worse")]);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
}

#[test]
fn unreachable_regions_are_skipped_as_far_as_the_wave_allows() {
    let spec = Spec::small()
        .members("broad", &["r3", "r4", "r5", "r6"])
        .wave("broad", |wave| wave.max_unreachable = Amount::Count(1));
    let mut world = World::settled(spec);
    world.dark.insert("r4".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.region("r4"), RegionState::Skipped);
    assert_ne!(world.last_good("r4"), world.folder("broad", "r4"));
}

#[test]
fn a_wave_without_gates_bakes_by_time() {
    let mut spec = Spec::small();
    spec.gated = false;
    let mut world = World::settled(spec);
    let opened = world.newest(EntryKind::RolloutOpened).at;
    let ended = world.newest(EntryKind::Succeeded).at;
    assert!(
        ended >= opened + Duration::from_secs(90),
        "{}",
        world.story()
    );
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded);
}

#[test]
fn policy_and_content_in_one_commit_wait_for_approval() {
    let mut world = World::settled(Spec::small());
    let other = world.spec(Spec::small().wave("broad", |wave| wave.bake = Duration::from_secs(60)));
    let head = world.commit(&[("all", "v2"), ("spec", &other)]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::PolicyWithContent],
        "{}",
        world.story()
    );
    let rollouts = world.count(EntryKind::RolloutOpened);
    world.request(Verb::Approve).to = Some(head);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.count(EntryKind::RolloutOpened), rollouts + 1);
}

#[test]
fn policy_alone_goes_through_every_wave_without_moving_a_branch() {
    let mut world = World::settled(Spec::small());
    let tips = world.refs.clone();
    let other = world.spec(Spec::small().wave("broad", |wave| wave.bake = Duration::from_secs(60)));
    let head = world.commit(&[("spec", &other)]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.count(EntryKind::WavePassed), 6);
    assert_eq!(world.state().settled.as_ref().unwrap().source, head);
    for wave in ["canary", "pilot", "broad"] {
        assert_eq!(world.refs[&wave_ref(wave)], tips[&wave_ref(wave)]);
    }
}

#[test]
fn a_commit_cannot_loosen_the_guards_that_judge_it() {
    let mut world = World::settled(Spec::small());
    let mut loose = Spec::small();
    loose.policy.guards.policy_with_content = PolicyWithContent::Allow;
    let other = world.spec(loose);
    world.commit(&[("all", "v2"), ("spec", &other)]);
    world.run();
    assert_eq!(world.holds(), [HoldReason::PolicyWithContent]);
}

#[test]
fn a_new_region_is_neither_policy_nor_held() {
    let mut world = World::settled(Spec::small());
    let other = world.spec(Spec::small().members("broad", &["r3", "r4", "r9"]));
    world.commit(&[("all", "v2"), ("spec", &other)]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert!(world.state().placements.contains_key("r9"));
}

#[test]
fn a_region_that_changes_wave_leaves_its_old_branch_once_it_is_healthy_on_the_new_one() {
    let mut world = World::settled(Spec::small());
    let other = world.spec(
        Spec::small()
            .members("pilot", &["r1"])
            .members("broad", &["r3", "r4", "r2"]),
    );
    world.commit(&[("spec", &other)]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.folder("pilot", "r2"), None);
    assert!(world.folder("broad", "r2").is_some());
    assert_eq!(world.state().placements["r2"].wave, "broad");
    let leave = world
        .log
        .iter()
        .position(|logged| {
            logged
                .intents
                .iter()
                .any(|intent| intent.draft.kind == MoveKind::Leave)
        })
        .unwrap();
    let before = &world.log[leave].state;
    assert_eq!(before.placements["r2"].wave, "broad");
    assert!(matches!(
        before
            .rollout
            .as_ref()
            .unwrap()
            .region("r2")
            .unwrap()
            .1
            .state,
        RegionState::Baking | RegionState::Done
    ));
}

#[test]
fn a_region_that_changed_wave_is_found_on_its_old_branch_again_after_a_failure() {
    let mut world = World::settled(Spec::small());
    let other = world.spec(
        Spec::small()
            .members("pilot", &["r1"])
            .members("broad", &["r2", "r3", "r4"]),
    );
    let head = world.commit(&[("spec", &other)]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    // And back, with content, approved: r2 gets sick on its new (old) branch.
    world.bad_words.insert("worse".to_owned());
    let back = world.commit(&[("spec", "0"), ("r2", "worse")]);
    assert_ne!(head, back);
    world.request(Verb::Approve).to = Some(back);
    world.run();
    world.request(Verb::Approve).to = Some(back);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    assert_eq!(world.state().placements["r2"].wave, "broad");
    assert_eq!(world.running("r2"), world.last_good("r2"));
}

#[test]
fn a_removed_region_goes_only_by_approval_and_leaves_the_list_before_its_folder() {
    let mut world = World::settled(Spec::small());
    let other = world.spec(Spec::small().members("broad", &["r3"]));
    let head = world.commit(&[("spec", &other)]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::RegionRemoval],
        "{}",
        world.story()
    );
    assert!(world.folder("broad", "r4").is_some());
    world.request(Verb::Approve).to = Some(head);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.folder("broad", "r4"), None);
    let leave = world
        .log
        .iter()
        .position(|logged| {
            logged
                .intents
                .iter()
                .any(|intent| intent.draft.kind == MoveKind::Leave)
        })
        .unwrap();
    assert!(
        !world.log[leave - 1].state.placements.contains_key("r4"),
        "{}",
        world.story()
    );
    assert!(!world.state().last_good.contains_key("r4"));
}

#[test]
fn a_region_that_a_failed_rollout_added_is_kept() {
    let mut world = World::settled(Spec::small());
    let other = world.spec(Spec::small().members("pilot", &["r1", "r9", "r2"]));
    world.bad_words.insert("v2".to_owned());
    world.bad_words.insert("worse".to_owned());
    world.commit(&[("spec", &other), ("r2", "worse")]);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    assert!(world.state().kept.contains("r9"));
    assert!(world.folder("pilot", "r9").is_some());
    assert_eq!(world.region("r9"), RegionState::Kept);
    assert_eq!(
        world.last(),
        EntryKind::NoChange,
        "the revert that drops it is not held"
    );
    world.commit(&[("all", "v3")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert!(world.folder("pilot", "r9").is_some());
}

#[test]
fn an_excluded_region_keeps_exactly_what_it_has_and_catches_up() {
    let mut world = World::settled(Spec::small());
    let held = world.folder("broad", "r4");
    let mut away = Spec::small();
    away.excluded.insert("r4".to_owned());
    let other = world.spec(away);
    world.commit(&[("spec", &other)]);
    world.run();
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.folder("broad", "r4"), held);
    let back = world.commit(&[("spec", "0")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.folder("broad", "r4"), Some(world.tree(back, "r4")));
}

#[test]
fn an_excluded_region_is_left_alone_by_a_revert() {
    let mut world = World::settled(Spec::small());
    // It has a tree that is not its last good: it was skipped with it.
    world.dark.insert("r1".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::RolloutOpened);
    world.request(Verb::Skip).regions = vec!["r1".to_owned()];
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    let held = world.folder("pilot", "r1");
    assert_ne!(held, world.last_good("r1"));
    let mut away = Spec::small();
    away.excluded.insert("r1".to_owned());
    let other = world.spec(away);
    world.commit(&[("spec", &other)]);
    world.run();
    world.bad_words.insert("worse".to_owned());
    world.commit(&[("r2", "worse"), ("all", "v3")]);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    assert_eq!(world.folder("pilot", "r1"), held);
}

#[test]
fn what_changes_at_a_gate_interval_is_one_progress_entry() {
    let spec = Spec::small()
        .members("broad", &["r3", "r4", "r5", "r6", "r7", "r8"])
        .every_wave(|wave| wave.max_concurrent = Amount::Percent(100));
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded);
    let lines = world
        .log
        .iter()
        .filter(|logged| logged.entry.kind == EntryKind::Progress)
        .map(|logged| logged.entry.lines.len())
        .max();
    assert!(lines >= Some(5), "{}", world.story());
    assert!(
        TICK < Duration::from_secs(10),
        "there is more than one look in an interval"
    );
}

#[test]
fn a_rollout_is_shown_as_it_stands() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("pilot bakes", |world| {
        world
            .state()
            .active()
            .is_some_and(|rollout| rollout.waves[1].state == WaveState::Progressing)
    });
    let rollout = world.state().active().unwrap();
    assert_eq!(rollout.state, RolloutState::Running);
    assert_eq!(rollout.waves[0].state, WaveState::Passed);
    assert_eq!(rollout.waves[2].state, WaveState::NotStarted);
    let states: BTreeMap<_, _> = rollout.waves[1]
        .regions
        .iter()
        .map(|(region, run)| (region.clone(), run.state))
        .collect();
    assert_eq!(states["r2"], RegionState::Pending);
}
