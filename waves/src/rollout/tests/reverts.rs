//! The revert of the config branch where it is more than a commit on the tip: refused, conflicting, by hand.

use super::world::{Fault, MAIN, Spec, World};
use crate::fleet::RevertSource;
use crate::log::EntryKind;
use crate::oid::Oid;
use crate::rollout::{HoldReason, RolloutState, SourceRevert, Verb};

/// A world in which v2 failed and v3, in the same place, landed meanwhile; with v2's commit.
fn conflicting_world() -> (World, Oid) {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    let bad = world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::RolloutOpened);
    world.commit(&[("all", "v3"), ("notes", "newer")]);
    (world, bad)
}

#[test]
fn a_revert_that_conflicts_is_left_to_a_person() {
    let (mut world, bad) = conflicting_world();
    let base = world.sources[&bad].parent;
    let head = world.refs[MAIN];
    world.run();
    let rollout = world.state().rollout.clone().unwrap();
    assert_eq!(rollout.state, RolloutState::RolledBack);
    assert_eq!(world.folder("canary", "r0"), world.last_good("r0"));
    assert_eq!(world.refs[MAIN], head, "{}", world.story());
    // The branch stands on what failed, where taking it back conflicts with nothing.
    let proposed = world.refs[&format!("refs/heads/tidegate-revert/{}", rollout.id)];
    assert_eq!(
        rollout.source_revert,
        SourceRevert::Proposed { commit: proposed }
    );
    assert_eq!(world.sources[&proposed].parent, Some(bad));
    assert_eq!(world.files(Some(proposed)), world.files(base));
    let hold = world
        .state()
        .holds
        .iter()
        .find(|hold| hold.reason == HoldReason::RevertPullRequest)
        .unwrap_or_else(|| panic!("{}", world.story()));
    assert!(
        hold.message.contains("conflicts with later commits in all"),
        "{}",
        hold.message
    );
    assert!(
        hold.message.contains("resolve that in the pull request"),
        "{}",
        hold.message
    );
    // A person puts it right: that ends the hold.
    world.commit(&[("all", "v1")]);
    world.run();
    assert_eq!(world.last(), EntryKind::NoChange, "{}", world.story());
    assert_eq!(world.holds(), [], "{}", world.story());
}

#[test]
fn a_revert_that_conflicts_and_has_no_branch_is_left_to_a_person_with_no_pull_request() {
    let (mut world, bad) = conflicting_world();
    let rollout = world.state().rollout.clone().unwrap().id;
    let reference = format!("refs/heads/tidegate-revert/{rollout}");
    world.refs.insert(reference.clone(), bad);
    world.run();
    assert_eq!(world.refs[&reference], bad, "somebody else's branch stays");
    assert!(
        world.holds().contains(&HoldReason::RevertImpossible),
        "{}",
        world.story()
    );
    assert_eq!(world.rollout_state(), RolloutState::RolledBack);

    let (mut world, _) = conflicting_world();
    world.faults.insert(reference.clone(), Fault::Refused);
    world.run();
    assert!(
        world.holds().contains(&HoldReason::RevertImpossible),
        "{}",
        world.story()
    );
    assert_eq!(world.rollout_state(), RolloutState::RolledBack);
    assert_eq!(world.folder("canary", "r0"), world.last_good("r0"));
}

#[test]
fn a_failure_behind_a_rewritten_config_branch_becomes_a_branch_on_what_failed() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    let settled = world.files(world.refs.get(MAIN).copied());
    let bad = world.rewrite_main(&[("all", "v2"), ("spec", "0")]);
    world.run();
    world.request(Verb::Resume);
    world.run();
    let rollout = world.state().rollout.clone().unwrap();
    assert_eq!(rollout.source, bad, "{}", world.story());
    assert_eq!(rollout.state, RolloutState::RolledBack, "{}", world.story());
    let proposed = world.refs[&format!("refs/heads/tidegate-revert/{}", rollout.id)];
    assert_eq!(world.sources[&proposed].parent, Some(bad));
    assert_eq!(world.files(Some(proposed)), settled);
    let hold = world
        .state()
        .holds
        .iter()
        .find(|hold| hold.reason == HoldReason::RevertPullRequest)
        .unwrap_or_else(|| panic!("{}", world.story()));
    assert!(
        hold.message.contains("first-parent ancestor"),
        "{}",
        hold.message
    );
}

#[test]
fn a_protected_config_branch_gets_a_branch_for_a_pull_request() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    world.faults.insert(MAIN.to_owned(), Fault::Refused);
    let bad = world.commit(&[("all", "v2")]);
    world.run();
    let rollout = world.state().rollout.clone().unwrap();
    assert!(
        matches!(rollout.source_revert, SourceRevert::Proposed { .. }),
        "{}",
        world.story()
    );
    assert_eq!(rollout.state, RolloutState::RolledBack);
    assert!(world.holds().contains(&HoldReason::RevertPullRequest));
    let proposed = world.refs[&format!("refs/heads/tidegate-revert/{}", rollout.id)];
    assert_eq!(world.sources[&proposed].parent, Some(bad));
    // Merged by a person.
    world.refs.insert(MAIN.to_owned(), proposed);
    world.run();
    assert_eq!(world.last(), EntryKind::NoChange, "{}", world.story());
    assert_eq!(world.holds(), []);
    assert!(
        world.state().intents.is_empty(),
        "the refused move closed when the branch moved"
    );
}

#[test]
fn a_pull_request_is_proposed_where_the_policy_wants_one() {
    let mut spec = Spec::small();
    spec.policy.revert.source = RevertSource::PullRequest;
    let mut world = World::settled(spec);
    world.bad_words.insert("v2".to_owned());
    let bad = world.commit(&[("all", "v2")]);
    world.run();
    assert!(
        world.holds().contains(&HoldReason::RevertPullRequest),
        "{}",
        world.story()
    );
    assert_eq!(world.refs[MAIN], bad);
}

#[test]
fn what_the_config_branch_no_longer_holds_is_not_reverted() {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::RolloutOpened);
    // Somebody takes it back before it has failed.
    let back = world.commit(&[("all", "v1")]);
    world.run();
    let rollout = world.state().rollout.clone().unwrap();
    assert_eq!(rollout.state, RolloutState::RolledBack, "{}", world.story());
    assert_eq!(rollout.source_revert, SourceRevert::NotNeeded);
    assert_eq!(world.refs[MAIN], back, "{}", world.story());
    assert_eq!(world.last(), EntryKind::NoChange, "{}", world.story());
    assert_eq!(world.holds(), []);
}
