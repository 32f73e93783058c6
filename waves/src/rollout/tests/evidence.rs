//! Evidence: what passes a gate, what fails one, and what does neither.

use std::sync::Arc;
use std::time::Duration;

use super::world::{Spec, World};
use crate::amount::Amount;
use crate::fleet::{OnFailure, OnUnreachable, Sampling};
use crate::gate::{Reading, Sample};
use crate::log::EntryKind;
use crate::rollout::observation::{Now, Phase, RegionSample};
use crate::rollout::{
    Baseline, FailureReason, FleetState, HoldReason, RegionState, RolloutState, Verb, decide,
};

pub(super) fn failure(world: &World) -> crate::rollout::Failure {
    world
        .newest(EntryKind::Failed)
        .state
        .rollout
        .as_ref()
        .unwrap()
        .failure
        .clone()
        .unwrap()
}

#[test]
fn the_verdict_from_before_is_written_with_the_promotion() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("promoted", |world| {
        world
            .state()
            .active()
            .is_some_and(|rollout| rollout.region("r0").unwrap().1.state == RegionState::Promoted)
    });
    let run = world.state().active().unwrap().region("r0").unwrap().1;
    assert_eq!(run.before, Some(Baseline::Healthy));
}

#[test]
fn a_region_that_was_sick_before_is_no_evidence() {
    let mut world = World::settled(Spec::small());
    world.outage.insert("r0".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::AlreadySick],
        "{}",
        world.story()
    );
    assert_eq!(world.count(EntryKind::Failed), 0);
    let run = world
        .state()
        .active()
        .unwrap()
        .region("r0")
        .unwrap()
        .1
        .clone();
    assert_eq!(run.before, Some(Baseline::Sick));
}

#[test]
fn one_bad_answer_before_the_promotion_is_asked_again() {
    let mut world = World::settled(Spec::small());
    world.outage.insert("r0".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until("asked once", |world| {
        world.answers.iter().any(|answer| answer.is_bad)
    });
    world.outage.clear();
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    let opened = world.position(EntryKind::RolloutOpened);
    let promoted = world.log[opened..]
        .iter()
        .find(|logged| !logged.intents.is_empty())
        .unwrap();
    assert_eq!(
        promoted
            .state
            .rollout
            .as_ref()
            .unwrap()
            .region("r0")
            .unwrap()
            .1
            .before,
        Some(Baseline::Healthy)
    );
}

/// A commit that breaks a region that was well would otherwise wait for the deadline, only because nobody had come to
/// ask the region in time.
#[test]
fn a_controller_that_has_not_asked_yet_says_nothing_of_a_region() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    for _ in 0..10 {
        world.turn(0);
        world.pass(Duration::from_secs(300));
    }
    assert_eq!(world.count(EntryKind::RolloutOpened), 2);
    assert_eq!(world.region("r0"), RegionState::Pending);
    world.run_until("promoted", |world| {
        world.region("r0") != RegionState::Pending
    });
    let run = world.state().active().unwrap().region("r0").unwrap().1;
    assert_eq!(run.before, Some(Baseline::Healthy), "{}", world.story());
}

#[test]
fn a_region_that_never_answers_is_unknown_once_it_was_asked_twice() {
    let mut world = World::settled(Spec::small());
    world.dark.insert("r0".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until("promoted", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r0") != RegionState::Pending
    });
    let run = world.state().active().unwrap().region("r0").unwrap().1;
    assert_eq!(run.before, Some(Baseline::Unknown));
    let asked = world
        .answers
        .iter()
        .filter(|answer| answer.region == "r0" && answer.phase == Phase::Before);
    assert!(asked.count() >= 2, "{}", world.story());
}

#[test]
fn regions_that_do_not_answer_before_their_promotion_are_waited_for_together() {
    let mut spec = Spec::small();
    for (_, _, policy) in &mut spec.waves {
        policy.max_concurrent = Amount::Count(2);
    }
    let mut world = World::settled(spec);
    world.dark = ["r1", "r2"].map(str::to_owned).into();
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    let begun = world.now;
    world.run_until("promoted", |world| {
        ["r1", "r2"]
            .iter()
            .all(|region| world.region(region) != RegionState::Pending)
    });
    let twice = Sampling::default().timeout.saturating_mul(2);
    assert!(
        world.now.saturating_sub(begun) < twice.saturating_mul(2),
        "{}",
        world.story()
    );
    let run = world.state().active().unwrap().region("r2").unwrap().1;
    assert_eq!(run.before, Some(Baseline::Unknown));
}

#[test]
fn a_sick_region_that_has_been_healthy_since_is_evidence_again() {
    let mut world = World::settled(Spec::small());
    world.outage.insert("r0".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until("verifying", |world| {
        world
            .state()
            .active()
            .is_some_and(|rollout| rollout.region("r0").unwrap().1.state == RegionState::Verifying)
    });
    world.outage.clear();
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    world.outage.insert("r0".to_owned());
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
}

#[test]
fn harm_after_the_bake_in_a_passed_wave_still_fails_the_rollout() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::WavePassed);
    world.outage.insert("r0".to_owned());
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    assert_eq!(failure(&world).region, "r0");
}

#[test]
fn unreachable_holds_and_goes_on_by_itself() {
    let mut world = World::settled(Spec::small());
    world.dark.insert("r0".to_owned());
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::Held);
    assert_eq!(
        world.holds(),
        [HoldReason::Unreachable],
        "{}",
        world.story()
    );
    assert_eq!(world.rollout_state(), RolloutState::Held);
    world.run_for(600);
    assert_eq!(
        world.last(),
        EntryKind::Held,
        "unknown neither passes nor fails"
    );
    world.dark.clear();
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_gate_that_is_healthy_turns_another_that_knows_nothing_into_no_failure() {
    let mut spec = Spec::small();
    spec.doubly_gated = true;
    let mut world = World::settled(spec);
    world.blind.insert("r0".to_owned(), Reading::Unknown);
    world.commit(&[("all", "v2")]);
    world.run_until_last(EntryKind::Held);
    assert_eq!(
        world.holds(),
        [HoldReason::Unreachable],
        "{}",
        world.story()
    );
    world.blind.clear();
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.count(EntryKind::Failed), 0);
}

#[test]
fn unreachable_fails_only_where_the_policy_says_so() {
    let spec = Spec::small().every_wave(|wave| wave.on_unreachable = OnUnreachable::Fail);
    let mut world = World::settled(spec);
    world.dark.insert("r0".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    let failure = failure(&world);
    assert_eq!(failure.reason, FailureReason::Unreachable);
    assert!(
        failure.evidence.contains("onUnreachable: fail"),
        "{}",
        failure.evidence
    );
}

#[test]
fn answered_but_never_healthy_by_the_deadline_is_a_failure() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("applying", |world| {
        world.region("r0") == RegionState::Applying
    });
    // Healthy and bad by turns: never three of either.
    for round in 0..200 {
        if round % 4 < 2 {
            world.outage.insert("r0".to_owned());
        } else {
            world.outage.clear();
        }
        world.round();
        if world.count(EntryKind::Failed) > 0 {
            break;
        }
    }
    assert_eq!(
        failure(&world).reason,
        FailureReason::TimedOut,
        "{}",
        world.story()
    );
    assert!(failure(&world).evidence.contains("5m"));
}

#[test]
fn a_region_whose_health_is_seen_together_with_the_deadline_is_not_failed_by_it() {
    // Its health is known 305 s after its tree arrived, in this world of steps of 5 s.
    for (deadline, fails) in [(300, true), (305, false)] {
        let deadline = Duration::from_secs(deadline);
        let spec = Spec::small().every_wave(|wave| wave.progress_deadline = deadline);
        let mut world = World::settled(spec);
        world.commit(&[("all", "v2")]);
        world.run_until("applying", |world| {
            world.region("r0") == RegionState::Applying
        });
        // Healthy and bad by turns, never three of either, and then well.
        for round in 0..54 {
            if round % 4 < 2 {
                world.outage.insert("r0".to_owned());
            } else {
                world.outage.clear();
            }
            world.round();
        }
        world.outage.clear();
        world.run();
        let failed = world.count(EntryKind::Failed) > 0;
        assert_eq!(failed, fails, "{deadline:?}: {}", world.story());
    }
}

#[test]
fn a_region_that_does_not_stay_healthy_is_held_as_unstable() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    for round in 0..200 {
        if round % 8 < 2 {
            world.outage.insert("r0".to_owned());
        } else {
            world.outage.clear();
        }
        world.round();
        if world.last() == EntryKind::Held {
            break;
        }
    }
    assert_eq!(world.holds(), [HoldReason::Unstable], "{}", world.story());
    world.outage.clear();
    let entries = world.log.len();
    world.run_for(300);
    assert_eq!(world.log.len(), entries, "{}", world.story());
    world.request(Verb::Resume);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn egress_rules_hold() {
    let mut world = World::settled(Spec::small());
    world.denied.insert("r0".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::EgressDenied],
        "{}",
        world.story()
    );
}

#[test]
fn a_shared_cause_holds_and_the_failure_is_judged_anew_when_it_ends() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    for region in ["r0", "r1", "r2", "r3", "r4"] {
        world.outage.insert(region.to_owned());
    }
    world.run_until_last(EntryKind::Held);
    assert_eq!(
        world.holds(),
        [HoldReason::SharedCause],
        "{}",
        world.story()
    );
    world.run_for(120);
    assert_eq!(world.count(EntryKind::Failed), 0);
    world.outage.clear();
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_shared_cause_that_leaves_one_region_sick_fails_it() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    for region in ["r0", "r1", "r2", "r3", "r4"] {
        world.outage.insert(region.to_owned());
    }
    world.run_until_last(EntryKind::Held);
    world.outage.retain(|region| region == "r0");
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    assert_eq!(world.holds(), []);
}

#[test]
fn a_restart_in_a_shared_cause_still_knows_it() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    for region in ["r0", "r1", "r2", "r3", "r4"] {
        world.outage.insert(region.to_owned());
    }
    world.run_until_last(EntryKind::Held);
    world.crash(0);
    world.run_for(120);
    assert_eq!(world.count(EntryKind::Failed), 0, "{}", world.story());
    world.outage.clear();
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_region_that_recovers_a_little_later_than_the_others_is_not_failed_by_what_it_showed_before() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    for region in ["r0", "r1", "r2", "r3", "r4"] {
        world.outage.insert(region.to_owned());
    }
    world.run_until_last(EntryKind::Held);
    world.outage.retain(|region| region == "r0");
    world.run_until_last(EntryKind::Resumed);
    world.run_for(10);
    world.outage.clear();
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 0, "{}", world.story());
    assert_eq!(world.last(), EntryKind::Succeeded);
}

#[test]
fn regions_that_were_sick_when_it_was_promoted_are_no_shared_cause() {
    let spec = Spec::small().wave("canary", |wave| wave.bake = Duration::from_secs(200));
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    world.outage.insert("r4".to_owned());
    world.run_until("baking", |world| world.region("r1") == RegionState::Baking);
    world.outage.insert("r1".to_owned());
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    assert_eq!(failure(&world).region, "r1");
}

#[test]
fn a_failure_before_anything_succeeded_only_holds() {
    let mut world = World::new(Spec::small());
    world.run_until("baking", |world| {
        world.state().rollout.is_some() && world.region("r0") == RegionState::Baking
    });
    world.outage.insert("r0".to_owned());
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::FirstRolloutFailed],
        "{}",
        world.story()
    );
    assert!(world.state().quarantine.is_empty());
    world.outage.clear();
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_first_rollout_that_never_gets_healthy_holds() {
    let mut world = World::new(Spec::small());
    world.bad_words.insert("v1".to_owned());
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::FirstRolloutFailed],
        "{}",
        world.story()
    );
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn on_failure_hold_reverts_nothing() {
    let spec = Spec::small().every_wave(|wave| wave.on_failure = OnFailure::Hold);
    let mut world = World::settled(spec);
    world.bad_words.insert("v2".to_owned());
    let bad = world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::OnFailureHold],
        "{}",
        world.story()
    );
    assert_eq!(world.folder("canary", "r0"), Some(world.tree(bad, "r0")));
    assert!(world.state().quarantine.is_empty());
}

#[test]
fn an_isolated_region_alone_is_given_back_and_left_out_until_it_is_tried_again() {
    let spec = Spec::small().wave("broad", |wave| wave.on_failure = OnFailure::Isolate);
    let mut world = World::settled(spec);
    let good = world.last_good("r3");
    world.bad_words.insert("worse".to_owned());
    let bad = world.commit(&[("all", "v2"), ("r3", "worse")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.folder("broad", "r3"), good);
    assert_eq!(world.folder("broad", "r4"), Some(world.tree(bad, "r4")));
    assert_eq!(world.last_good("r3"), good);
    assert_eq!(world.state().quarantine.len(), 1);
    world.commit(&[("r0", "else")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.region("r3"), RegionState::Skipped);
    assert_eq!(world.folder("broad", "r3"), good);
    world.bad_words.clear();
    world.request(Verb::Retry).regions = vec!["r3".to_owned()];
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.last_good("r3"), Some(world.tree(bad, "r3")));
    assert!(world.state().quarantine.is_empty());
}

#[test]
fn a_restart_only_lengthens_a_bake() {
    let spec = Spec::small().every_wave(|wave| wave.bake = Duration::from_secs(120));
    let mut calm = World::settled(spec.clone());
    let mut world = calm.clone();
    for world in [&mut calm, &mut world] {
        world.commit(&[("all", "v2")]);
        world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
        world.run_for(60);
    }
    world.crash(0);
    calm.run();
    world.run();
    assert!(
        world.now >= calm.now + Duration::from_secs(55),
        "{}",
        world.story()
    );
    assert_eq!(world.last(), EntryKind::Succeeded);
}

#[test]
fn time_that_was_slept_through_is_no_bake() {
    let spec = Spec::small().every_wave(|wave| wave.bake = Duration::from_secs(120));
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    world.run_for(20);
    world.now += Duration::from_secs(3_600);
    world.round();
    assert_eq!(world.region("r0"), RegionState::Baking, "{}", world.story());
    world.run_for(60);
    assert_eq!(world.region("r0"), RegionState::Baking, "{}", world.story());
}

#[test]
fn a_bake_that_another_began_is_not_counted_from_before_it_was_seen() {
    let mut spec = Spec::small().every_wave(|wave| wave.bake = Duration::from_secs(60));
    spec.gated = false;
    let mut world = World::settled(spec);
    let second = world.add_controller("b");
    world.round();
    world.controllers[second].alive = false;
    world.pass(Duration::from_secs(3_600));
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    let since = world.now;
    world.controllers[0].alive = false;
    world.controllers[second].alive = true;
    world.run_until("done", |world| world.region("r0") == RegionState::Done);
    let took = world.now.saturating_sub(since);
    assert!(
        took >= Duration::from_secs(60),
        "{took:?}\n{}",
        world.story()
    );
}

#[test]
fn a_region_has_nothing_baked_before_each_of_its_gates_has_answered() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| world.region("r0") == RegionState::Baking);
    world.run_for(15);
    // The same with a gate that is asked later: a restart must not give it what the first one has.
    let mut later = world.state().clone();
    let plan = Arc::make_mut(&mut later.rollout.as_mut().unwrap().plan);
    for planned in plan.regions.values_mut() {
        let mut gate = planned.gates[0].clone();
        gate.name = "later".to_owned();
        planned.gates.push(gate);
    }
    for wave in &mut plan.waves {
        wave.policy.gates.push("later".to_owned());
    }
    let now = Now {
        monotonic: world.monotonic(0),
        wall: world.wall(),
    };
    let seen = world.observe(0);
    let baked = |state: &FleetState| {
        let step = decide(state, &world.controllers[0].watch, &seen, now);
        let mut sums = step.watch.sums().into_iter();
        sums.find(|(region, _)| region == "r0").unwrap().1.baked
    };
    assert!(baked(world.state()) >= Duration::from_secs(10));
    assert_eq!(baked(&later), Duration::ZERO);
}

#[test]
fn a_stale_answer_neither_passes_nor_fails() {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.lagging.insert("r0".to_owned());
    world.run_until_last(EntryKind::Held);
    assert_eq!(
        world.holds(),
        [HoldReason::Unreachable],
        "{}",
        world.story()
    );
    assert_eq!(world.count(EntryKind::Failed), 0);
}

#[test]
fn an_answer_that_was_asked_for_too_early_does_not_count() {
    let mut spec = Spec::small();
    spec.sampling.settle = Some(Duration::from_secs(60));
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("applying", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r0") == RegionState::Applying
    });
    world.run_for(20);
    let counts = |world: &mut World, later: u64| {
        let now = Now {
            monotonic: world.monotonic(0) + Duration::from_secs(later),
            wall: world.wall(),
        };
        let mut seen = world.observe(0);
        seen.samples = vec![RegionSample {
            rollout: world.state().active().unwrap().id.clone(),
            region: "r0".to_owned(),
            gate: "healthz".to_owned(),
            phase: Phase::After,
            at: now.monotonic,
            sample: Sample {
                reading: Reading::Healthy { proven: false },
                evidence: String::new(),
            },
        }];
        let step = decide(world.state(), &world.controllers[0].watch, &seen, now);
        step.watch
            .gate("r0", "healthz")
            .is_some_and(|fold| fold.last().is_some())
    };
    assert!(!counts(&mut world, 0));
    assert!(counts(&mut world, 60));
}

#[test]
fn no_answer_counts_before_the_region_had_time_to_settle() {
    let mut spec = Spec::small();
    spec.sampling.settle = Some(Duration::from_secs(60));
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("applying", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r0") == RegionState::Applying
    });
    world.run_for(50);
    assert_eq!(
        world.region("r0"),
        RegionState::Applying,
        "{}",
        world.story()
    );
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded);
}
