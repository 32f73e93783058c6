//! Random fleets, verdicts, faults, crashes, people and two controllers: the promises hold all the same.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::auditor::{audit, left_behind};
use super::world::{Fault, MAIN, Spec, World, id, wave_ref};
use crate::amount::Amount;
use crate::fleet::{OnFailure, OnUnreachable, SlotUntil};
use crate::log::EntryKind;
use crate::rollout::{RequestOption, Verb};

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    /// So many rounds go by.
    Rounds(u8),
    /// Somebody changes what all regions get, or one.
    Commit { region: u8, word: u8 },
    /// A region turns ill, or well.
    Outage { region: u8, ill: bool },
    /// A region answers no more, or again.
    Dark { region: u8, dark: bool },
    /// Pushes to a wave branch (or the config branch) go wrong, or right again.
    Push { branch: u8, fault: Option<Fault> },
    /// Delayed pushes arrive.
    Deliver,
    /// A controller loses its memory.
    Crash(u8),
    /// A controller stops, or goes on.
    Alive { controller: u8, alive: bool },
    /// A controller decides on what it sees now, and acts on it only after the other has acted.
    Race,
    /// Somebody pushes to a wave branch.
    Drift { wave: u8, region: u8 },
    /// Somebody deletes a wave branch.
    Delete { wave: u8 },
    /// Somebody replaces the config branch's history.
    Rewrite { word: u8 },
    /// Somebody commits what is not valid, or mends it.
    Broken(bool),
    /// Somebody changes the policy, or who is where.
    Spec(u8),
    /// Somebody asks for something.
    Ask { verb: u8, option: u8, region: u8 },
}

const REGIONS: [&str; 5] = ["r0", "r1", "r2", "r3", "r4"];
const WAVES: [&str; 3] = ["canary", "pilot", "broad"];

fn spec() -> impl Strategy<Value = Spec> {
    let wave = (0_u32..3, 0_u32..2, 0_u32..2, any::<bool>(), 0_u8..8);
    (wave.clone(), wave.clone(), wave, any::<bool>(), 0_u64..4).prop_map(
        |(first, second, third, fails, bake)| {
            let mut spec = Spec::small().every_wave(|wave| {
                wave.bake = Duration::from_secs(bake * 15);
                wave.progress_deadline = Duration::from_secs(120);
                if fails {
                    wave.on_unreachable = OnUnreachable::Fail;
                }
            });
            let numbers = [first, second, third];
            for (index, (concurrent, failures, unreachable, baked, on_failure)) in
                numbers.into_iter().enumerate()
            {
                let policy = &mut spec.waves[index].2;
                policy.max_concurrent = Amount::Count(concurrent + 1);
                if index > 0 {
                    policy.max_failures = Amount::Count(failures);
                }
                policy.max_unreachable = Amount::Count(unreachable);
                if baked {
                    policy.slot_until = SlotUntil::Baked;
                }
                policy.on_failure = match on_failure {
                    0 => OnFailure::Hold,
                    1 | 2 => OnFailure::Isolate,
                    _ => OnFailure::Revert,
                };
            }
            spec
        },
    )
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(Fault::Lost)),
        1 => Just(Some(Fault::AnswerLost)),
        1 => Just(Some(Fault::Delayed)),
        1 => Just(Some(Fault::Refused)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1_u8..12).prop_map(Event::Rounds),
        4 => (0_u8..8, 0_u8..5).prop_map(|(region, word)| Event::Commit { region, word }),
        3 => (0_u8..5, any::<bool>()).prop_map(|(region, ill)| Event::Outage { region, ill }),
        2 => (0_u8..5, any::<bool>()).prop_map(|(region, dark)| Event::Dark { region, dark }),
        4 => (0_u8..4, fault()).prop_map(|(branch, fault)| Event::Push { branch, fault }),
        2 => Just(Event::Deliver),
        1 => (0_u8..2).prop_map(Event::Crash),
        2 => (0_u8..2, any::<bool>()).prop_map(|(controller, alive)| Event::Alive { controller, alive }),
        2 => Just(Event::Race),
        1 => (0_u8..3, 0_u8..5).prop_map(|(wave, region)| Event::Drift { wave, region }),
        1 => (0_u8..3).prop_map(|wave| Event::Delete { wave }),
        1 => (0_u8..5).prop_map(|word| Event::Rewrite { word }),
        1 => any::<bool>().prop_map(Event::Broken),
        2 => (0_u8..5).prop_map(Event::Spec),
        1 => Just(Event::Ask { verb: 0, option: 0, region: 0 }),
        2 => (0_u8..8, 0_u8..4, 0_u8..5).prop_map(|(verb, option, region)| Event::Ask { verb, option, region }),
    ]
}

fn apply(world: &mut World, event: &Event) {
    match event {
        Event::Rounds(rounds) => {
            for _ in 0..*rounds {
                world.round();
            }
        }
        Event::Commit { region, word } => {
            let path = REGIONS.get(usize::from(*region)).copied().unwrap_or("all");
            let word = format!("w{word}");
            world.commit(&[(path, word.as_str())]);
        }
        Event::Outage { region, ill } => {
            let region = REGIONS[usize::from(*region)].to_owned();
            if *ill {
                world.outage.insert(region);
            } else {
                world.outage.remove(&region);
            }
        }
        Event::Dark { region, dark } => {
            let region = REGIONS[usize::from(*region)].to_owned();
            if *dark {
                world.dark.insert(region);
            } else {
                world.dark.remove(&region);
            }
        }
        Event::Push { branch, fault } => {
            let reference = WAVES
                .get(usize::from(*branch))
                .map_or_else(|| MAIN.to_owned(), |wave| wave_ref(wave));
            match fault {
                Some(fault) => world.faults.insert(reference, *fault),
                None => world.faults.remove(&reference),
            };
        }
        Event::Deliver => world.deliver(),
        Event::Crash(controller) => world.crash(usize::from(*controller)),
        Event::Alive { controller, alive } => {
            world.controllers[usize::from(*controller)].alive = *alive;
        }
        Event::Race => {
            world.think(1);
            world.turn(0);
            world.act(1);
        }
        Event::Drift { wave, region } => {
            let wave = WAVES[usize::from(*wave)];
            if world.refs.contains_key(&wave_ref(wave)) {
                let region = REGIONS[usize::from(*region)];
                let tree = id(&("theirs", world.commits.len()));
                world.drift(wave, region, Some(tree));
            }
        }
        Event::Delete { wave } => {
            let wave = WAVES[usize::from(*wave)];
            if world.refs.contains_key(&wave_ref(wave)) {
                world.delete_branch(wave);
            }
        }
        Event::Rewrite { word } => {
            let files = world.files(world.head());
            let spec = files.get("spec").cloned().unwrap_or_default();
            let word = format!("w{word}");
            world.rewrite_main(&[("all", word.as_str()), ("spec", spec.as_str())]);
        }
        Event::Broken(broken) => {
            world.commit(&[("broken", if *broken { "yes" } else { "" })]);
        }
        Event::Spec(kind) => {
            let spec = changed(world.specs[0].clone(), *kind);
            let spec = world.spec(spec);
            world.commit(&[("spec", spec.as_str())]);
        }
        Event::Ask {
            verb,
            option,
            region,
        } => {
            let head = world.refs.get(MAIN).copied();
            let verb = [
                Verb::Approve,
                Verb::Hold,
                Verb::Resume,
                Verb::Skip,
                Verb::Abort,
                Verb::Retry,
                Verb::Revert,
                Verb::Hotfix,
            ][usize::from(*verb)];
            let request = world.request(verb);
            request.option = [
                None,
                Some(RequestOption::Adopt),
                Some(RequestOption::Restore),
                Some(RequestOption::Keep),
            ][usize::from(*option)];
            if matches!(verb, Verb::Skip) {
                request.regions = vec![REGIONS[usize::from(*region)].to_owned()];
            }
            // Half of the reverts are of one region alone.
            if verb == Verb::Revert && *option < 2 {
                request.regions = vec![REGIONS[usize::from(*region)].to_owned()];
            }
            if verb == Verb::Hotfix {
                request.to = head;
            }
        }
    }
}

/// What somebody makes of waves and policy.
fn changed(mut spec: Spec, kind: u8) -> Spec {
    match kind {
        0 => spec,
        1 => spec.every_wave(|wave| wave.bake += Duration::from_secs(15)),
        2 => spec
            .members("pilot", &["r1"])
            .members("broad", &["r2", "r3", "r4"]),
        3 => spec.members("broad", &["r3"]),
        _ => {
            spec.excluded.insert("r3".to_owned());
            spec
        }
    }
}

/// A commit is bad by what it says: `w4` makes whoever has it ill.
fn world_of(spec: Spec) -> World {
    let mut world = World::settled(spec);
    world.bad_words.insert("w4".to_owned());
    world.add_controller("b");
    world
}

fn check(world: &World, doing: &Event) -> Result<(), TestCaseError> {
    let wrong = audit(world);
    prop_assert!(
        wrong.is_empty(),
        "after {doing:?}:\n{}\n{}",
        wrong.join("\n"),
        world.story()
    );
    Ok(())
}

/// So many cases, always the same; or as many as `PROPTEST_CASES` says, new ones each time.
pub(super) fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if asked { default.cases } else { cases },
        rng_seed: if asked {
            default.rng_seed
        } else {
            RngSeed::Fixed(20)
        },
        failure_persistence: None,
        max_shrink_iters: 400,
        ..default
    }
}

/// What people did, by itself: the model that the world is compared with.
#[derive(Debug, Clone)]
struct People {
    spec: Spec,
    /// How many commits they made on the config branch.
    commits: usize,
}

/// The world as a state machine: what can happen depends on what people did.
struct Fleet;

impl ReferenceStateMachine for People {
    type State = Self;
    type Transition = Event;

    fn init_state() -> BoxedStrategy<Self> {
        spec().prop_map(|spec| Self { spec, commits: 0 }).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Event> {
        // Before anybody committed there is nothing to disturb.
        if state.commits == 0 {
            (0_u8..8, 0_u8..5)
                .prop_map(|(region, word)| Event::Commit { region, word })
                .boxed()
        } else {
            event().boxed()
        }
    }

    fn apply(mut state: Self, event: &Event) -> Self {
        if matches!(event, Event::Commit { .. }) {
            state.commits += 1;
        }
        state
    }
}

impl StateMachineTest for Fleet {
    type SystemUnderTest = World;
    type Reference = People;

    fn init_test(people: &People) -> World {
        world_of(people.spec.clone())
    }

    fn apply(mut world: World, _people: &People, event: Event) -> World {
        apply(&mut world, &event);
        world
    }

    /// No rollout exists for a commit that nobody made, and every promise holds.
    fn check_invariants(world: &World, people: &People) {
        let wrong = audit(world);
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), world.story());
        if people.commits == 0 {
            assert!(world.state().active().is_none(), "{}", world.story());
        }
    }
}

prop_state_machine! {
    #![proptest_config(config(10))]

    /// The same promises, by proptest's state machine, which shrinks a failing story event by event.
    #[test]
    fn the_promises_hold_in_every_state(sequential 1..25 => Fleet);
}

proptest! {
    #![proptest_config(config(30))]

    /// Promises 1 to 5 and 7 to 9, the limits and the evidence, whatever happens.
    #[test]
    fn the_promises_hold_whatever_happens(
        spec in spec(),
        events in proptest::collection::vec(event(), 1..30),
    ) {
        let mut world = world_of(spec);
        for event in &events {
            apply(&mut world, event);
            check(&world, event)?;
        }
        // Everything works again: it comes to rest, and all is still well.
        world.faults.clear();
        world.outage.clear();
        world.dark.clear();
        world.deliver();
        for controller in &mut world.controllers {
            controller.alive = true;
        }
        for _ in 0..400 {
            world.round();
        }
        check(&world, &Event::Rounds(0))?;
        let stuck = world
            .state()
            .intents
            .iter()
            .any(|intent| {
                intent.draft.reference != MAIN
                    && !world.damaged.contains(&intent.draft.reference)
            });
        prop_assert!(!stuck, "a move stays open:\n{}", world.story());
        let left = left_behind(&world);
        prop_assert!(left.is_empty(), "{left:?} keep what failed:\n{}", world.story());
    }

    /// Promise 10: crashes, delays and takeovers end where the undisturbed run ends.
    #[test]
    fn disturbances_change_nothing_about_the_end(
        spec in spec(),
        words in proptest::collection::vec((0_u8..8, 0_u8..5), 1..4),
        disturbances in proptest::collection::vec((1_u8..10, 0_u8..4, fault(), 0_u8..2, any::<bool>()), 0..12),
    ) {
        let commits = |world: &mut World| {
            for (region, word) in &words {
                apply(world, &Event::Commit { region: *region, word: *word });
            }
        };
        let mut calm = world_of(spec);
        let mut wild = calm.clone();
        commits(&mut calm);
        commits(&mut wild);
        for _ in 0..400 {
            calm.round();
        }
        for (rounds, branch, fault, controller, alive) in &disturbances {
            // A server that says no for good leads elsewhere: that is a decision, not a delay.
            let fault = fault.filter(|fault| *fault != Fault::Refused);
            apply(&mut wild, &Event::Push { branch: *branch, fault });
            apply(&mut wild, &Event::Rounds(*rounds));
            apply(&mut wild, &Event::Crash(*controller));
            apply(&mut wild, &Event::Alive { controller: *controller, alive: *alive });
            apply(&mut wild, &Event::Deliver);
        }
        wild.faults.clear();
        for controller in &mut wild.controllers {
            controller.alive = true;
        }
        for _ in 0..400 {
            wild.round();
        }
        check(&wild, &Event::Rounds(0))?;
        let trees = |world: &World| -> Vec<_> {
            WAVES
                .iter()
                .map(|wave| world.commits[&world.refs[&wave_ref(wave)]].folders.clone())
                .collect()
        };
        let ends = |world: &World| -> Vec<_> {
            world
                .kinds()
                .into_iter()
                .filter(|kind| matches!(kind, EntryKind::Succeeded | EntryKind::Failed | EntryKind::Reverted | EntryKind::NoChange))
                .collect::<Vec<_>>()
        };
        let quarantined = |world: &World| -> Vec<_> {
            world.state().quarantine.iter().map(|item| (item.source, item.digests.clone())).collect()
        };
        prop_assert_eq!(trees(&calm), trees(&wild), "calm:\n{}\nwild:\n{}", calm.story(), wild.story());
        prop_assert_eq!(ends(&calm), ends(&wild), "calm:\n{}\nwild:\n{}", calm.story(), wild.story());
        prop_assert_eq!(quarantined(&calm), quarantined(&wild));
        prop_assert_eq!(calm.state().rollout.as_ref().map(|rollout| rollout.state), wild.state().rollout.as_ref().map(|rollout| rollout.state));
    }
}
