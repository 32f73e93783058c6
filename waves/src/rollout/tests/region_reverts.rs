//! `revert --region`: one region of a running rollout is taken back, the others go on.

use super::verbs::{held_by_request, idle, running, succeeded};
use super::world::{Fault, MAIN, Spec, World, id, wave_ref};
use crate::fleet::OnFailure;
use crate::log::{EntryKind, MoveKind};
use crate::rollout::{HoldReason, RegionState, RequestOption, Verb};

/// What `revert --region` is answered with.
fn region_answer(world: &mut World, region: &str) -> Option<String> {
    let asked = world.count(EntryKind::Requested);
    world.request(Verb::Revert).regions = vec![region.to_owned()];
    world.run_until("answered", |world| {
        world.count(EntryKind::Requested) > asked
    });
    let logged = world.newest(EntryKind::Requested);
    logged.entry.request.as_ref().unwrap().refused.clone()
}

#[test]
fn one_region_alone_is_taken_back_and_the_others_go_on() {
    let mut world = running();
    let source = world.refs[MAIN];
    let good = world.last_good("r0");
    assert_eq!(world.region("r0"), RegionState::Done);
    assert_eq!(region_answer(&mut world, "r0"), None, "{}", world.story());
    assert_eq!(world.region("r0"), RegionState::Reverting);
    assert!(
        region_answer(&mut world, "r0").is_some_and(|why| why.contains("already")),
        "{}",
        world.story()
    );
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.count(EntryKind::Failed), 0);
    assert_eq!(world.refs[MAIN], source, "the config branch is left alone");
    assert_eq!(world.region("r0"), RegionState::Reverted);
    assert_eq!(
        (world.folder("canary", "r0"), world.last_good("r0")),
        (good, good)
    );
    for (wave, region) in [
        ("pilot", "r1"),
        ("pilot", "r2"),
        ("broad", "r3"),
        ("broad", "r4"),
    ] {
        assert_eq!(world.folder(wave, region), Some(world.tree(source, region)));
    }
    let quarantined = &world.state().quarantine;
    assert_eq!(quarantined.len(), 1, "{quarantined:?}");
    assert_eq!(
        quarantined[0].digests.keys().collect::<Vec<_>>(),
        ["r0"],
        "for this region alone"
    );
    // The same tree comes to it again only when somebody asks.
    world.commit(&[("r1", "else")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.folder("canary", "r0"), good);
    world.request(Verb::Retry).regions = vec!["r0".to_owned()];
    world.run();
    assert_eq!(world.folder("canary", "r0"), Some(world.tree(source, "r0")));
    assert_eq!(world.state().quarantine, [], "{}", world.story());
}

#[test]
fn no_hold_keeps_a_region_from_being_taken_back() {
    let mut world = held_by_request();
    let good = world.last_good("r0");
    world.faults.insert(wave_ref("canary"), Fault::Delayed);
    assert_eq!(region_answer(&mut world, "r0"), None, "{}", world.story());
    world.run_for(30);
    assert_ne!(world.folder("canary", "r0"), good);
    world.faults.clear();
    world.deliver();
    world.run();
    assert_eq!(world.folder("canary", "r0"), good, "{}", world.story());
    assert_eq!(world.region("r0"), RegionState::Reverted);
    assert_eq!(world.holds(), [HoldReason::Requested]);
    world.request(Verb::Resume);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
}

#[test]
fn a_region_that_waits_for_its_branch_is_given_back_though_everything_is_held() {
    let spec = Spec::small().members("pilot", &["r1", "r2", "r5"]);
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("the first of the pilot is done", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r1") == RegionState::Verifying
    });
    world.faults.insert(wave_ref("pilot"), Fault::Lost);
    world.run_until("the next one is on its way", |world| {
        world.region("r2") == RegionState::Promoted
    });
    let good = world.last_good("r1");
    world.request(Verb::Hold);
    world.run_until_last(EntryKind::Requested);
    assert_eq!(region_answer(&mut world, "r1"), None, "{}", world.story());
    assert_eq!(
        world.region("r1"),
        RegionState::Failed,
        "its branch is busy"
    );
    world.faults.clear();
    world.run();
    assert_eq!(world.holds(), [HoldReason::Requested]);
    assert_eq!(world.folder("pilot", "r1"), good, "{}", world.story());
}

#[test]
fn drift_on_a_region_that_is_taken_back_is_restored_to_its_last_good() {
    let spec = Spec::small().members("pilot", &["r1", "r2", "r5"]);
    let mut world = World::settled(spec);
    world.commit(&[("all", "v2")]);
    world.run_until("the first of the pilot is done", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r1") == RegionState::Verifying
    });
    world.faults.insert(wave_ref("pilot"), Fault::Lost);
    world.run_until("the next one is on its way", |world| {
        world.region("r2") == RegionState::Promoted
    });
    let good = world.last_good("r1");
    assert_eq!(region_answer(&mut world, "r1"), None, "{}", world.story());
    world.drift("pilot", "r1", Some(id(&"theirs")));
    world.faults.clear();
    world.run();
    assert_eq!(world.holds(), [HoldReason::Drift], "{}", world.story());
    world.request(Verb::Resume).option = Some(RequestOption::Restore);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.folder("pilot", "r1"), good, "{}", world.story());
}

#[test]
fn taking_back_the_region_that_a_failure_holds_lets_the_rest_go_on() {
    let spec = Spec::small().every_wave(|wave| wave.on_failure = OnFailure::Hold);
    let mut world = World::settled(spec);
    world.bad_words.insert("worse".to_owned());
    let good = world.last_good("r1");
    world.commit(&[("all", "v2"), ("r1", "worse")]);
    world.run();
    assert_eq!(
        world.holds(),
        [HoldReason::OnFailureHold],
        "{}",
        world.story()
    );
    assert_eq!(region_answer(&mut world, "r1"), None);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    assert_eq!(world.folder("pilot", "r1"), good);
    assert_eq!(world.holds(), []);
}

#[test]
fn a_region_is_taken_back_only_where_the_rollout_has_put_something_to_take_back() {
    let refused = |mut world: World, region: &str, why: &str| {
        let before = (world.refs.clone(), world.state().quarantine.clone());
        let answer = region_answer(&mut world, region);
        assert!(
            answer.as_ref().is_some_and(|answer| answer.contains(why)),
            "{region}: {answer:?}, not {why:?}\n{}",
            world.story()
        );
        assert_eq!(world.state().quarantine, before.1);
        let revert = world
            .log
            .iter()
            .flat_map(|logged| &logged.intents)
            .find(|intent| intent.draft.kind == MoveKind::Revert);
        assert_eq!(revert, None, "{}", world.story());
    };
    refused(idle(), "r0", "use `tidegate revert`");
    refused(succeeded(), "r0", "use `tidegate revert`");
    refused(running(), "r4", "tidegate hold --region r4");
    refused(running(), "nowhere", "not in the rollout");

    let mut world = idle();
    world.commit(&[("r1", "v2"), ("r3", "v2")]);
    world.run_until("the pilot is watched", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r1") == RegionState::Verifying
    });
    refused(world, "r0", "changes nothing in region r0");

    let mut world = idle();
    world.commit(&[("all", "v2")]);
    world.faults.insert(wave_ref("canary"), Fault::Delayed);
    world.run_until("on its way", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r0") == RegionState::Promoted
    });
    refused(world, "r0", "ask again when it has arrived");

    let mut world = idle();
    let other = world.spec(Spec::small().members("canary", &["r0", "r5"]));
    world.commit(&[("spec", &other)]);
    world.run_until("the new one is watched", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r5") == RegionState::Verifying
    });
    refused(world, "r5", "has no last good tree");

    let mut world = running();
    world.request(Verb::Revert).regions = vec!["r0".to_owned(), "r4".to_owned()];
    world.run_until_last(EntryKind::Requested);
    assert_eq!(world.region("r0"), RegionState::Done, "all or nothing");

    let mut world = running();
    let base = world.state().settled.as_ref().unwrap().source;
    let request = world.request(Verb::Revert);
    request.regions = vec!["r0".to_owned()];
    request.to = Some(base);
    world.run_until_last(EntryKind::Requested);
    let logged = world.newest(EntryKind::Requested);
    let answer = logged.entry.request.as_ref().unwrap().refused.clone();
    assert!(answer.is_some_and(|why| why.contains("without --to")));
}
