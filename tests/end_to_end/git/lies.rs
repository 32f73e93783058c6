//! Answers that are cut, changed or not true, and a server that is in disorder: what each is called.

use std::fs;

use tidegate_controller::git::failure::Recovery;
use tidegate_testkit::git_answer::Lie;

use super::*;

/// So many objects that git keeps the pack as it is, and few that it takes out of it: two programs, two ways to fail.
const MANY_AND_FEW: [usize; 2] = [150, 1];

fn publish(world: &World, count: usize, content: &str) -> Oid {
    let files: Vec<(String, String)> = (0..count)
        .map(|file| (format!("file{file}"), format!("{content} {file}\n")))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    world.work.publish(&files, content).parse().unwrap()
}

#[tokio::test]
async fn a_pack_that_is_cut_or_changed_on_its_way_is_fetched_again_and_costs_nothing_else() {
    let mut world = World::new().await;
    let generation = world.mirror.generation();
    for count in MANY_AND_FEW {
        for fault in [
            Fault::CutAnswer,
            Fault::HalfAnswer,
            Fault::FlipBit,
            Fault::NoPackets,
        ] {
            let what = format!("{count} {fault:?}");
            let tip = publish(&world, count, &what);
            world.server.fail_next(1, On::Pack, fault);
            let error = world.mirror.refresh().await.unwrap_err();
            assert_eq!(error.reason(), "Unavailable", "{what}: {error}");
            assert_eq!(error.recovery(), Recovery::Retryable, "{what}");
            let view = world.mirror.refresh().await.unwrap();
            assert_eq!(view.get(MAIN), Some(tip), "{what}");
            // The mirror has nothing to do with it.
            assert_eq!(world.mirror.generation(), generation, "{what}");
            assert!(world.mirror.history().unwrap().has(tip), "{what}");
        }
    }
    git_command(world.mirror.git_dir(), &["fsck", "--strict"]);
}

#[tokio::test]
async fn a_pack_that_stops_coming_is_given_up_at_the_deadline() {
    let mut world = World::with(|options| options.deadlines.fetch = Duration::from_secs(2)).await;
    let tip = publish(&world, 1, "second");
    world.server.fail_next(1, On::Pack, Fault::StallAnswer);
    let listings = world.mirror.listings();
    let (begun, shown) = (listings.begun(), listings.shown());
    let error = world.mirror.refresh().await.unwrap_err();
    assert_eq!(error.reason(), "TimedOut", "{error}");
    // What was listed is not to be seen in the mirror.
    assert_eq!((listings.begun(), listings.shown()), (begun + 1, shown));
    assert_eq!(world.mirror.refresh().await.unwrap().get(MAIN), Some(tip));
    assert_eq!((listings.begun(), listings.shown()), (begun + 2, begun + 2));
}

#[tokio::test]
async fn a_list_of_refs_that_is_cut_or_no_list_is_no_view() {
    let mut world = World::new().await;
    let view = world.view.clone();
    for (on, fault, reason) in [
        (On::RefsToRead, Fault::CutAnswer, "Unavailable"),
        (On::RefsToRead, Fault::HalfAnswer, "Unavailable"),
        (On::RefsToRead, Fault::NoPackets, "Unavailable"),
        (On::Listing, Fault::CutAnswer, "Unavailable"),
        (On::Listing, Fault::HalfAnswer, "Unavailable"),
        (On::Listing, Fault::NoPackets, "NotGit"),
    ] {
        world.server.fail(on, fault);
        let error = world.mirror.refresh().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{on:?} {fault:?}: {error}");
        world.server.clear();
        assert_eq!(world.mirror.refresh().await.unwrap(), view);
    }
}

#[tokio::test]
async fn an_id_that_the_server_does_not_have_is_a_remote_that_moves() {
    let mut world = World::new().await;
    world
        .server
        .fail(On::RefsToRead, Fault::Lists(Lie::Unknown(MAIN)));
    let requests = world.server.requests();
    let error = world.mirror.refresh().await.unwrap_err();
    assert_eq!(error.reason(), "Moving", "{error}");
    assert!(world.server.requests() - requests <= 60);
    world.server.clear();
    assert_eq!(world.mirror.refresh().await.unwrap(), world.view);
}

#[tokio::test]
async fn whatever_a_push_is_told_of_the_refs_nothing_is_overwritten() {
    for (lie, expected) in [
        (Lie::Unknown(LOG), "LostRace"),
        (Lie::IdOf(LOG, MAIN), "LostRace"),
        // What is said not to be there is made anew, and the server knows better.
        (Lie::Without(LOG), "LostRace"),
        (Lie::Empty, "LostRace"),
    ] {
        let mut world = World::new().await;
        let log = world.create(LOG);
        world.push(std::slice::from_ref(&log)).await;
        let next = RefUpdate {
            name: LOG.to_owned(),
            old: log.new,
            new: world.commit(Some(log.new), "second"),
        };
        world.server.fail(On::RefsToPush, Fault::Lists(lie));
        let outcomes = world.push(std::slice::from_ref(&next)).await;
        let said = format!("{:?}", outcomes[LOG]);
        assert!(said.starts_with(expected), "{lie:?}: {said}");
        assert_eq!(world.tip(LOG), Some(log.new), "{lie:?}");
        // And what must not exist, and is said not to.
        let new = world.commit(None, "another log");
        let again = RefUpdate { new, ..log.clone() };
        let outcomes = world.push(&[again]).await;
        assert_ne!(outcomes[LOG], RefOutcome::Applied, "{lie:?}");
        assert_eq!(world.tip(LOG), Some(log.new), "{lie:?}");
        world.server.clear();
        assert_eq!(world.push(&[next]).await[LOG], RefOutcome::Applied);
    }
}

#[tokio::test]
async fn an_answer_to_a_push_that_is_cut_or_changed_is_ambiguous() {
    let mut world = World::with(|options| options.deadlines.push = Duration::from_secs(5)).await;
    let mut old = Oid::ZERO;
    for fault in [
        Fault::CutAnswer,
        Fault::HalfAnswer,
        Fault::StallAnswer,
        Fault::FlipBit,
        Fault::NoPackets,
    ] {
        let parent = (!old.is_zero()).then_some(old);
        let update = RefUpdate {
            name: LOG.to_owned(),
            old,
            new: world.commit(parent, &format!("{fault:?}")),
        };
        world.server.fail_next(1, On::PushOf(LOG), fault);
        let outcomes = world.push(std::slice::from_ref(&update)).await;
        let said = &outcomes[LOG];
        assert!(
            matches!(said, RefOutcome::Ambiguous { .. }),
            "{fault:?}: {said:?}"
        );
        assert_eq!(world.tip(LOG), Some(update.new), "{fault:?}");
        let view = world.mirror.refresh().await.unwrap();
        assert_eq!(view.get(LOG), Some(update.new), "{fault:?}");
        old = update.new;
        world.server.clear();
    }
}

#[tokio::test]
async fn a_server_that_stops_reading_in_the_middle_of_a_push_is_given_up() {
    let mut world = World::with(|options| options.deadlines.push = Duration::from_secs(2)).await;
    let noise = noise(1_500_000);
    // In one piece with its length before it, and in chunks.
    for content in ["small", noise.as_str()] {
        let log = RefUpdate {
            name: LOG.to_owned(),
            old: Oid::ZERO,
            new: world.commit(None, content),
        };
        world.server.fail(On::Push, Fault::HalfRequest);
        let outcomes = world.push(std::slice::from_ref(&log)).await;
        assert!(
            matches!(outcomes[LOG], RefOutcome::Ambiguous { .. }),
            "{outcomes:?}"
        );
        world.server.clear();
        assert_eq!(world.tip(LOG), None);
    }
}

#[tokio::test]
async fn half_a_pack_makes_the_server_busy_and_moves_nothing() {
    let mut world = World::new().await;
    let log = world.create(LOG);
    world.server.fail_next(1, On::PushOf(LOG), Fault::HalfPack);
    let outcomes = world.push(std::slice::from_ref(&log)).await;
    let RefOutcome::ServerBusy { message } = &outcomes[LOG] else {
        panic!("{outcomes:?}");
    };
    assert!(message.contains("unpacker error"), "{message}");
    assert_eq!(world.tip(LOG), None);
    assert_eq!(world.push(&[log]).await[LOG], RefOutcome::Applied);
}

#[tokio::test]
async fn a_lock_that_was_left_behind_on_the_server_makes_it_busy_and_other_refs_move() {
    let mut world = World::new().await;
    let folder = world.server.path(REPO).join("refs/heads/tidegate");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("log.lock"), "").unwrap();
    // Who packs refs takes this one; who moves them does not.
    fs::write(world.server.path(REPO).join("packed-refs.lock"), "").unwrap();
    let (log, canary) = (world.create(LOG), world.create(CANARY));
    let outcomes = world.push(&[log.clone(), canary]).await;
    let RefOutcome::ServerBusy { message } = &outcomes[LOG] else {
        panic!("{outcomes:?}");
    };
    assert!(message.contains("log.lock': File exists"), "{message}");
    assert_eq!(outcomes[CANARY], RefOutcome::Applied);
    assert_eq!(world.tip(LOG), None);
    fs::remove_file(folder.join("log.lock")).unwrap();
    assert_eq!(world.push(&[log]).await[LOG], RefOutcome::Applied);
}

#[tokio::test]
async fn an_unpacker_that_fails_makes_the_server_busy() {
    let mut world = World::new().await;
    let repo = world.server.path(REPO);
    git_command(&repo, &["config", "receive.maxInputSize", "1"]);
    let log = world.create(LOG);
    let outcomes = world.push(std::slice::from_ref(&log)).await;
    let RefOutcome::ServerBusy { message } = &outcomes[LOG] else {
        panic!("{outcomes:?}");
    };
    assert!(message.contains("unpacker error"), "{message}");
    assert_eq!(world.tip(LOG), None);
    git_command(&repo, &["config", "--unset", "receive.maxInputSize"]);
    assert_eq!(world.push(&[log]).await[LOG], RefOutcome::Applied);
}

#[tokio::test]
async fn a_server_of_files_alone_can_be_read_and_is_never_pushed_to() {
    let mut world = World::new().await;
    world.work.publish(&[("a", "2\n")], "Second");
    git_command(&world.server.path(REPO), &["update-server-info"]);
    let tip: Oid = world.work.head().parse().unwrap();
    world.server.fail(On::Any, Fault::Dumb);
    let view = world.mirror.refresh().await.unwrap();
    assert_eq!(view.get(MAIN), Some(tip));
    let pushed = world.mirror.push(&[world.create(LOG)]).await;
    assert!(
        matches!(&pushed, Ok(outcomes) if matches!(outcomes[LOG], RefOutcome::Ambiguous { .. })),
        "{pushed:?}"
    );
    assert_eq!(world.tip(LOG), None);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_credentials_do_not_go_along() {
    let world = World::new().await;
    let elsewhere = GitServer::start();
    elsewhere.create(REPO);
    for status in [301, 302, 307] {
        world.server.redirect_to(&elsewhere);
        world.server.fail(On::Any, Fault::Status(status));
        let error = world.mirror.list().await.unwrap_err();
        assert_eq!(error.reason(), "Redirected", "{status}: {error}");
        world.server.clear();
    }
    assert_eq!(elsewhere.requests(), 0);
}
