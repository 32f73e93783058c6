//! What each request does in the states in which people ask: every cell is an answer.

use super::world::{Spec, World};
use crate::log::EntryKind;
use crate::rollout::Verb;

const VERBS: [Verb; 8] = [
    Verb::Approve,
    Verb::Hold,
    Verb::Resume,
    Verb::Skip,
    Verb::Abort,
    Verb::Retry,
    Verb::Revert,
    Verb::Hotfix,
];

pub(super) fn idle() -> World {
    World::settled(Spec::small())
}

pub(super) fn succeeded() -> World {
    let mut world = idle();
    world.commit(&[("all", "v2")]);
    world.run();
    world
}

pub(super) fn running() -> World {
    let mut world = idle();
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world
}

pub(super) fn held_by_request() -> World {
    let mut world = running();
    world.request(Verb::Hold);
    world.run_until_last(EntryKind::Requested);
    world
}

pub(super) fn waiting_for_approval() -> World {
    let mut world = idle();
    let other = world.spec(Spec::small().members("broad", &["r3"]));
    world.commit(&[("spec", &other)]);
    world.run();
    world
}

pub(super) fn aborted() -> World {
    let mut world = running();
    world.request(Verb::Abort);
    world.run();
    world
}

pub(super) fn drifted() -> World {
    let mut world = idle();
    world.drift("pilot", "r1", None);
    world.run();
    world
}

/// What a request of this verb is answered with: `None` where it is accepted.
fn answer(mut world: World, verb: Verb) -> Option<String> {
    let asked = world.count(EntryKind::Requested);
    let request = world.request(verb);
    if verb == Verb::Skip {
        request.regions = vec!["r1".to_owned()];
    }
    world.run_until("answered", |world| {
        world.count(EntryKind::Requested) > asked
    });
    let logged = world.newest(EntryKind::Requested);
    logged.entry.request.as_ref().unwrap().refused.clone()
}

/// Asserts a row: for each verb what its refusal says, or `None` where it is accepted.
fn row(state: fn() -> World, expected: [Option<&str>; 8]) {
    for (verb, expected) in VERBS.into_iter().zip(expected) {
        let answer = answer(state(), verb);
        match (expected, &answer) {
            (None, None) => {}
            (Some(why), Some(refused)) if refused.contains(why) => {}
            _ => panic!("{verb:?}: expected {expected:?}, answered {answer:?}"),
        }
    }
}

const NOTHING_WAITS: Option<&str> = Some("nothing waits for approval");
const NOT_HELD: Option<&str> = Some("nothing that resume ends is held");
const NO_ROLLOUT: Option<&str> = Some("no rollout is under way");
const NOTHING_TO_RETRY: Option<&str> = Some("no valid commit that waits");
const NOTHING_BEFORE: Option<&str> = Some("nothing before it");
const UNDER_WAY: Option<&str> = Some("ask for resume");
const NO_COMMIT: Option<&str> = Some("hotfix needs the commit");

#[test]
fn after_the_first_rollout_only_a_hold_is_accepted() {
    row(
        idle,
        [
            NOTHING_WAITS,
            None,
            NOT_HELD,
            NO_ROLLOUT,
            NO_ROLLOUT,
            NOTHING_TO_RETRY,
            NOTHING_BEFORE,
            NO_COMMIT,
        ],
    );
}

#[test]
fn after_success_a_revert_is_accepted() {
    row(
        succeeded,
        [
            NOTHING_WAITS,
            None,
            NOT_HELD,
            NO_ROLLOUT,
            NO_ROLLOUT,
            NOTHING_TO_RETRY,
            None,
            NO_COMMIT,
        ],
    );
}

#[test]
fn while_a_rollout_runs_it_can_be_held_skipped_aborted_and_reverted() {
    row(
        running,
        [
            NOTHING_WAITS,
            None,
            NOT_HELD,
            None,
            None,
            UNDER_WAY,
            None,
            NO_COMMIT,
        ],
    );
}

#[test]
fn a_rollout_held_by_request_can_be_resumed_as_well() {
    row(
        held_by_request,
        [
            NOTHING_WAITS,
            None,
            None,
            None,
            None,
            UNDER_WAY,
            None,
            NO_COMMIT,
        ],
    );
}

#[test]
fn a_commit_that_waits_for_approval_is_approved_and_not_resumed() {
    row(
        waiting_for_approval,
        [
            None,
            None,
            NOT_HELD,
            NO_ROLLOUT,
            NO_ROLLOUT,
            None,
            NOTHING_BEFORE,
            NO_COMMIT,
        ],
    );
}

#[test]
fn after_an_abort_the_commit_can_be_tried_again() {
    row(
        aborted,
        [
            NOTHING_WAITS,
            None,
            NOT_HELD,
            NO_ROLLOUT,
            NO_ROLLOUT,
            None,
            Some("no rollout that could be reverted"),
            NO_COMMIT,
        ],
    );
}

#[test]
fn drift_is_not_resumed_without_saying_how() {
    row(
        drifted,
        [
            NOTHING_WAITS,
            None,
            Some("--adopt or --restore"),
            NO_ROLLOUT,
            NO_ROLLOUT,
            NOTHING_TO_RETRY,
            NOTHING_BEFORE,
            NO_COMMIT,
        ],
    );
}
