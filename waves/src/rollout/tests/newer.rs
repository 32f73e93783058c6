//! Newer commits, quarantine, and the revert of the config branch.

use super::world::{Fault, MAIN, Spec, World};
use crate::fleet::{GateCheck, OnFailure, RevertSource};
use crate::log::EntryKind;
use crate::oid::Oid;
use crate::rollout::observation::Now;
use crate::rollout::{HoldReason, RegionState, RequestOption, RolloutState, Verb, decide};

/// A small fleet whose waves hold at a failure.
pub(super) fn holding() -> Spec {
    Spec::small().every_wave(|wave| wave.on_failure = OnFailure::Hold)
}

fn failed_world() -> (World, Oid) {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    let bad = world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::NoChange, "{}", world.story());
    (world, bad)
}

#[test]
fn commits_queue_behind_a_running_rollout_as_one_range() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    let third = world.commit(&[("all", "v3")]);
    let fourth = world.commit(&[("r4", "own")]);
    world.run();
    assert_eq!(world.count(EntryKind::Succeeded), 3, "{}", world.story());
    assert_eq!(world.count(EntryKind::Superseded), 0);
    let carried: Vec<_> = world
        .state()
        .rollout
        .as_ref()
        .unwrap()
        .commits
        .iter()
        .map(|commit| commit.id)
        .collect();
    assert_eq!(carried, [fourth, third]);
}

#[test]
fn a_held_rollout_yields_to_the_next_valid_commit() {
    let mut world = World::settled(holding());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.holds(), [HoldReason::OnFailureHold]);
    world.commit(&[("broken", "yes")]);
    world.run();
    assert_eq!(
        world.count(EntryKind::Superseded),
        0,
        "an invalid one does not take its place"
    );
    assert_eq!(world.count(EntryKind::Invalid), 1);
    let fix = world.commit(&[("broken", ""), ("all", "v3")]);
    world.run();
    assert_eq!(world.count(EntryKind::Superseded), 1, "{}", world.story());
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.last_good("r0"), Some(world.tree(fix, "r0")));
}

#[test]
fn a_fix_that_changes_policy_too_takes_a_held_ones_place_once_it_is_approved() {
    let mut world = World::settled(holding());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.holds(), [HoldReason::OnFailureHold]);
    let longer = std::time::Duration::from_secs(60);
    let other = world.spec(holding().wave("broad", |wave| wave.bake = longer));
    let fix = world.commit(&[("all", "v3"), ("spec", &other)]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::OnFailureHold, HoldReason::PolicyWithContent],
        "{}",
        world.story()
    );
    assert_eq!(world.count(EntryKind::Superseded), 0);
    world.request(Verb::Approve).to = Some(fix);
    world.run();
    assert_eq!(world.count(EntryKind::Superseded), 1, "{}", world.story());
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.last_good("r0"), Some(world.tree(fix, "r0")));
}

#[test]
fn a_commit_that_takes_a_held_one_back_rolls_the_branches_back_too() {
    let mut world = World::settled(holding());
    let good = world.last_good("r0");
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    world.commit(&[("all", "v1")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.folder("canary", "r0"), good);
}

#[test]
fn a_superseding_rollout_answers_for_the_trees_that_it_took_over() {
    let mut world = World::settled(Spec::small());
    let good = world.last_good("r1");
    world.commit(&[("all", "v2")]);
    // It is held in the pilot wave by a region that cannot be reached; r1 is well on v2.
    world.dark.insert("r2".to_owned());
    world.run_until_last(EntryKind::Held);
    assert_eq!(
        world.holds(),
        [HoldReason::Unreachable],
        "{}",
        world.story()
    );
    world.commit(&[("all", "v3")]);
    world.run_until_last(EntryKind::RolloutOpened);
    world.dark.clear();
    world.run_for(15);
    assert_eq!(
        world.region("r1"),
        RegionState::Pending,
        "{}",
        world.story()
    );
    // Now r1 gets sick, still on v2, before v3 came to it.
    world.outage.insert("r1".to_owned());
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    assert_eq!(world.folder("pilot", "r1"), good);
    assert_eq!(world.running("r2"), world.last_good("r2"));
}

#[test]
fn regions_on_superseded_trees_come_first_in_their_wave() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("r2", "v2"), ("r0", "v2")]);
    world.dark.insert("r2".to_owned());
    world.run_until_last(EntryKind::Held);
    world.commit(&[("all", "v3")]);
    world.run_until_last(EntryKind::RolloutOpened);
    world.dark.clear();
    world.run();
    let rollout = world.state().rollout.clone().unwrap();
    let first = world
        .log
        .iter()
        .flat_map(|logged| &logged.intents)
        .find(|intent| {
            intent.draft.rollout.as_ref() == Some(&rollout.id) && intent.draft.wave == "pilot"
        })
        .unwrap();
    assert_eq!(first.draft.folders[0].region, "r2", "{}", world.story());
}

#[test]
fn a_hotfix_supersedes_a_running_rollout_and_does_not_bake() {
    let mut world = World::settled(
        Spec::small().every_wave(|wave| wave.bake = std::time::Duration::from_secs(600)),
    );
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    let fix = world.commit(&[("all", "v3")]);
    world.request(Verb::Hotfix).to = Some(fix);
    world.run();
    assert_eq!(world.count(EntryKind::Superseded), 1, "{}", world.story());
    assert_eq!(world.last(), EntryKind::Succeeded);
    assert!(world.state().rollout.as_ref().unwrap().hotfix);
    let opened = world.newest(EntryKind::RolloutOpened).at;
    assert!(
        world.now < opened + std::time::Duration::from_secs(600),
        "{}",
        world.story()
    );
    assert_eq!(world.last_good("r4"), Some(world.tree(fix, "r4")));
}

/// A follower takes its time: what a region ran before is no harm of a commit that is on its way.
#[test]
fn what_a_region_still_runs_is_held_against_no_rollout_that_takes_over() {
    let mut world = World::settled(Spec::small());
    let settled = world.last_good("r1").unwrap().to_string();
    let slow = world.commit(&[("all", "v2")]);
    world.lagging.insert("r1".to_owned());
    world.run_until("v2 on its way to r1", |world| {
        world.region("r1") == RegionState::Applying || world.region("r1") == RegionState::Verifying
    });
    let fix = world.commit(&[("all", "v3")]);
    world.request(Verb::Hotfix).to = Some(fix);
    world.run_until("v3 in the pilot", |world| {
        world.count(EntryKind::Superseded) == 1
            && world.state().active().is_some()
            && world.region("r1") == RegionState::Applying
    });
    let versions = known_as_older(&mut world, "r1");
    assert_eq!(
        versions,
        [settled.clone(), world.tree(slow, "r1").to_string()],
        "{}",
        world.story()
    );
    // Not even where it followed none of two in turn.
    let other = world.commit(&[("all", "v4")]);
    world.request(Verb::Hotfix).to = Some(other);
    world.run_until("v4 in the pilot", |world| {
        world.count(EntryKind::Superseded) == 2
            && world.state().active().is_some()
            && world.region("r1") == RegionState::Applying
    });
    let versions = known_as_older(&mut world, "r1");
    let (second, first) = (world.tree(fix, "r1"), world.tree(slow, "r1"));
    assert_eq!(
        versions,
        [settled, second.to_string(), first.to_string()],
        "{}",
        world.story()
    );
    world.run_for(60);
    world.lagging.clear();
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 0, "{}", world.story());
    assert_eq!(world.last(), EntryKind::Succeeded);
    assert_eq!(world.last_good("r1"), Some(world.tree(other, "r1")));
}

/// The versions that a region may still show, as whoever asks it is told.
fn known_as_older(world: &mut World, region: &str) -> Vec<String> {
    let now = Now {
        monotonic: world.monotonic(0),
        wall: world.wall(),
    };
    let seen = world.observe(0);
    let step = decide(world.state(), &world.controllers[0].watch, &seen, now);
    let probe = step.probes.iter().find(|probe| probe.region == region);
    let version = |gate: &crate::fleet::Gate| {
        let GateCheck::Http(check) = &gate.check else {
            panic!("the world's fleets have gates over HTTP alone");
        };
        check.expect.json["/version"].as_str().unwrap().to_owned()
    };
    probe.unwrap().older.iter().map(version).collect()
}

#[test]
fn a_hotfix_answers_for_a_region_that_it_has_not_reached_yet() {
    let mut world = World::settled(Spec::small());
    let good = world.last_good("r1");
    let bad = world.commit(&[("all", "v2")]);
    world.run_until("v2 in r1", |world| {
        world.region("r1") == RegionState::Verifying || world.region("r1") == RegionState::Baking
    });
    let fix = world.commit(&[("all", "v3")]);
    world.request(Verb::Hotfix).to = Some(fix);
    world.run_until_last(EntryKind::RolloutOpened);
    // The canary takes its time, and r1 turns sick on v2 meanwhile.
    world.lagging.insert("r0".to_owned());
    world.outage.insert("r1".to_owned());
    world.run_until_last(EntryKind::Failed);
    world.lagging.clear();
    world.outage.clear();
    world.run();
    let rollout = world.state().rollout.clone().unwrap();
    assert_eq!(rollout.source, fix, "{}", world.story());
    assert_eq!(rollout.state, RolloutState::RolledBack);
    let failure = rollout.failure.unwrap();
    assert_eq!(failure.tree, Some(world.tree(bad, "r1")));
    assert_eq!(world.folder("pilot", "r1"), good);
    assert_eq!(world.running("r0"), world.last_good("r0"));
    let head = &world.sources[&world.refs[MAIN]];
    assert_eq!(head.files["all"], "v1", "both commits are taken back");
}

#[test]
fn superseding_waits_for_every_open_move() {
    let mut spec = Spec::small();
    spec.policy.guards.policy_with_content = crate::fleet::PolicyWithContent::Allow;
    let mut world = World::settled(spec.clone());
    let other = world.spec(
        spec.members("pilot", &["r1"])
            .members("broad", &["r2", "r3", "r4"]),
    );
    world.commit(&[("spec", &other)]);
    world.run_until_last(EntryKind::RolloutOpened);
    world
        .faults
        .insert("refs/heads/tidegate/pilot".to_owned(), Fault::Lost);
    world.run_until("its folder is to leave", |world| {
        world
            .state()
            .intents
            .iter()
            .any(|intent| intent.draft.kind == crate::log::MoveKind::Leave)
    });
    let fix = world.commit(&[("all", "v3")]);
    world.request(Verb::Hotfix).to = Some(fix);
    world.run_for(60);
    assert_eq!(world.count(EntryKind::Superseded), 0, "{}", world.story());
    world.faults.clear();
    world.run();
    assert_eq!(world.count(EntryKind::Superseded), 1, "{}", world.story());
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_hotfix_while_rolling_back_opens_when_that_is_over() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until("verifying", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r0") == RegionState::Verifying
    });
    world
        .faults
        .insert("refs/heads/tidegate/canary".to_owned(), Fault::Lost);
    world.run_until_last(EntryKind::Failed);
    let fix = world.commit(&[("all", "v3"), ("notes", "fix")]);
    world.request(Verb::Hotfix).to = Some(fix);
    world.run_for(60);
    assert_eq!(world.rollout_state(), RolloutState::RollingBack);
    assert_eq!(
        world.count(EntryKind::RolloutOpened),
        2,
        "{}",
        world.story()
    );
    world.faults.clear();
    world.run();
    // The revert conflicts with the fix, which contains what failed: a person has to say that it mends it.
    assert_eq!(world.count(EntryKind::Reverted), 1, "{}", world.story());
    world.request(Verb::Retry);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert!(world.state().rollout.as_ref().unwrap().hotfix);
}

#[test]
fn an_invalid_head_is_said_once_and_the_next_valid_one_carries_the_range() {
    let mut world = World::settled(Spec::small());
    let invalid = world.commit(&[("broken", "yes")]);
    world.run_for(60);
    assert_eq!(world.count(EntryKind::Invalid), 1, "{}", world.story());
    assert_eq!(world.newest(EntryKind::Invalid).entry.source, Some(invalid));
    let valid = world.commit(&[("broken", ""), ("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded);
    assert_eq!(world.state().settled.as_ref().unwrap().source, valid);
    assert_eq!(world.state().rollout.as_ref().unwrap().commits.len(), 2);
}

#[test]
fn a_commit_that_changes_nothing_opens_nothing() {
    let mut world = World::settled(Spec::small());
    let rollouts = world.count(EntryKind::RolloutOpened);
    world.commit(&[("notes", "hello")]);
    world.run_for(60);
    assert_eq!(world.count(EntryKind::NoChange), 1);
    assert_eq!(world.count(EntryKind::RolloutOpened), rollouts);
}

#[test]
fn a_failed_commit_is_quarantined_where_nothing_undid_it() {
    let mut spec = Spec::small();
    spec.policy.revert.source = RevertSource::Never;
    let mut world = World::settled(spec);
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::Quarantined],
        "{}",
        world.story()
    );
    // A further commit on top of it contains it.
    world.commit(&[("r4", "own")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::Quarantined],
        "{}",
        world.story()
    );
    assert_eq!(world.count(EntryKind::Failed), 1);
    // Undone by hand: that opens nothing, and the next one is free.
    world.commit(&[("all", "v1"), ("r4", "")]);
    world.run();
    assert_eq!(world.last(), EntryKind::NoChange, "{}", world.story());
    world.commit(&[("r4", "own")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn the_same_content_landed_again_is_quarantined() {
    let (mut world, _) = failed_world();
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::Quarantined],
        "{}",
        world.story()
    );
    assert_eq!(world.count(EntryKind::Failed), 1);
}

#[test]
fn the_same_content_hidden_in_a_larger_change_is_quarantined() {
    let (mut world, _) = failed_world();
    // Every tree differs from the failed one's, but re-applying the failed change would change nothing.
    world.commit(&[
        ("all", "v2"),
        ("r0", "x"),
        ("r1", "x"),
        ("r2", "x"),
        ("r3", "x"),
        ("r4", "x"),
    ]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::Quarantined],
        "{}",
        world.story()
    );
}

#[test]
fn a_region_that_would_receive_a_quarantined_digest_holds_the_commit() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("worse".to_owned());
    world.commit(&[("r0", "worse"), ("r1", "new")]);
    world.run();
    assert_eq!(world.last(), EntryKind::NoChange, "{}", world.story());
    world.commit(&[("r1", "new")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::Quarantined],
        "{}",
        world.story()
    );
}

#[test]
fn a_fix_named_in_a_trailer_is_let_through_and_stays_through() {
    let mut spec = Spec::small();
    spec.policy.revert.source = RevertSource::Never;
    let mut world = World::settled(spec);
    world.bad_words.insert("v2".to_owned());
    let bad = world.commit(&[("all", "v2")]);
    world.run();
    world.commit_fixing(&[("all", "v3")], &[bad]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    world.commit(&[("r4", "own")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn retry_waives_the_quarantine_of_one_commit() {
    let (mut world, _) = failed_world();
    let again = world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.holds(), [HoldReason::Quarantined]);
    world.bad_words.clear();
    world.request(Verb::Retry);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.last_good("r0"), Some(world.tree(again, "r0")));
}

#[test]
fn a_retry_that_fails_again_is_a_rollout_of_its_own() {
    let (mut world, _) = failed_world();
    world.commit(&[("all", "v2")]);
    world.run();
    world.request(Verb::Retry);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 2, "{}", world.story());
    assert_eq!(world.last(), EntryKind::NoChange, "{}", world.story());
}

#[test]
fn the_whole_range_is_reverted_and_newer_commits_stay() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("r4", "own")]);
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::RolloutOpened);
    world.commit(&[("notes", "newer")]);
    world.run();
    let head = &world.sources[&world.refs[MAIN]];
    assert_eq!(head.files["all"], "v1");
    assert!(
        !head.files.contains_key("r4"),
        "the superseded part of the range goes too"
    );
    assert_eq!(head.files["notes"], "newer");
}

#[test]
fn an_aborted_commit_is_not_opened_again_by_itself() {
    let mut world = World::settled(Spec::small());
    let good = world.last_good("r0");
    let second = world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.request(Verb::Abort);
    world.run();
    assert_eq!(world.last(), EntryKind::Aborted, "{}", world.story());
    assert_eq!(world.folder("canary", "r0"), good);
    assert_eq!(world.refs[MAIN], second, "the config branch is left alone");
    assert!(world.state().quarantine.is_empty());
    world.request(Verb::Retry);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn abort_keep_leaves_the_branches_and_the_next_commit_opens() {
    let mut world = World::settled(Spec::small());
    let second = world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.request(Verb::Abort).option = Some(RequestOption::Keep);
    world.run();
    assert_eq!(world.last(), EntryKind::Aborted, "{}", world.story());
    assert_eq!(world.folder("canary", "r0"), Some(world.tree(second, "r0")));
    world.commit(&[("all", "v3")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_succeeded_rollout_can_be_reverted_by_hand() {
    let mut world = World::settled(Spec::small());
    let good = world.last_good("r4");
    world.commit(&[("all", "v2")]);
    world.run();
    world.request(Verb::Revert);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    assert_eq!(world.last(), EntryKind::NoChange, "{}", world.story());
    assert_eq!(world.folder("broad", "r4"), good);
    assert_eq!(world.last_good("r4"), good);
    assert_eq!(world.sources[&world.refs[MAIN]].files["all"], "v1");
}

#[test]
fn a_running_rollout_can_be_reverted_by_hand() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.request(Verb::Revert);
    world.run();
    assert_eq!(world.last(), EntryKind::NoChange, "{}", world.story());
    assert_eq!(world.newest(EntryKind::Failed).entry.wave, None);
}

#[test]
fn protected_objects_that_a_commit_added_stay_at_a_revert() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    let bad = world.commit(&[("all", "v2")]);
    let with_protected = super::world::id(&"last good and a namespace");
    world
        .revert_trees
        .insert(bad, [("r0".to_owned(), with_protected)].into());
    world.run();
    assert_eq!(
        world.folder("canary", "r0"),
        Some(with_protected),
        "{}",
        world.story()
    );
}

#[test]
fn a_revert_commit_that_carries_newer_commits_is_an_ordinary_rollout() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::RolloutOpened);
    world.commit(&[("r4", "own")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.sources[&world.refs[MAIN]].files["all"], "v1");
}

#[test]
fn a_rollout_whose_trees_are_all_last_good_is_never_reverted() {
    let mut world = World::settled(holding());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    let spec = world.spec(Spec::small());
    world.commit(&[("all", "v1"), ("spec", &spec)]);
    world.run_until_last(EntryKind::Superseded);
    world.run_until("on its last good again", |world| {
        world.region("r0") == RegionState::Baking
    });
    world.outage.insert("r0".to_owned());
    world.run_for(120);
    assert_eq!(world.count(EntryKind::Failed), 0, "{}", world.story());
    assert_eq!(
        world.holds(),
        [HoldReason::OnFailureHold],
        "{}",
        world.story()
    );
}

#[test]
fn an_earlier_commit_of_its_own_range_does_not_supersede_a_rollout() {
    let mut world = World::settled(holding());
    world.bad_words.insert("v3".to_owned());
    let earlier = world.commit(&[("r4", "own")]);
    let later = world.commit(&[("all", "v3")]);
    world.run();
    assert_eq!(world.holds(), [HoldReason::OnFailureHold]);
    world.refs.insert(MAIN.to_owned(), earlier);
    world.run_for(60);
    assert_eq!(world.count(EntryKind::Superseded), 0, "{}", world.story());
    world.refs.insert(MAIN.to_owned(), later);
    world.run();
}
