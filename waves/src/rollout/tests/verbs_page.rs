//! The page that says what each request is answered in each state: written from the answers themselves.

use std::fmt::Write as _;

use super::verbs::{
    aborted, drifted, held_by_request, idle, running, succeeded, waiting_for_approval,
};
use super::world::{Fault, MAIN, Spec, World, id, wave_ref};
use crate::fleet::{OnFailure, RevertSource};
use crate::log::EntryKind;
use crate::rollout::{HoldReason, RegionState, Request, RequestOption, RolloutState, Verb};

/// A request as people type it, and how it differs from the bare verb; the commit is the config branch's head.
type Asked = (&'static str, Verb, fn(&mut Request, crate::oid::Oid));

const ASKED: [Asked; 10] = [
    ("approve", Verb::Approve, |_, _| {}),
    ("hold", Verb::Hold, |_, _| {}),
    ("resume", Verb::Resume, |_, _| {}),
    ("resume --restore", Verb::Resume, |request, _| {
        request.option = Some(RequestOption::Restore);
    }),
    ("skip --region", Verb::Skip, |request, _| {
        request.regions = vec!["r1".to_owned()];
    }),
    ("abort", Verb::Abort, |_, _| {}),
    ("retry", Verb::Retry, |_, _| {}),
    ("revert", Verb::Revert, |_, _| {}),
    ("revert --region", Verb::Revert, |request, _| {
        request.regions = vec!["r0".to_owned()];
    }),
    ("hotfix", Verb::Hotfix, |request, head| {
        request.to = Some(head);
    }),
];

/// A state in words, and a world in it.
type State = (&'static str, fn() -> World);

const STATES: [State; 17] = [
    ("nothing but the first rollout, which succeeded", idle),
    ("the newest rollout succeeded", succeeded),
    ("a rollout is running", running),
    ("a rollout is held by request", held_by_request),
    ("a rollout is held by `OnFailureHold`", held_by_failure),
    (
        "the very first rollout is held by `FirstRolloutFailed`",
        first_failed,
    ),
    ("a commit waits for approval", waiting_for_approval),
    ("a commit is held as `Quarantined`", quarantined),
    ("a newer commit is to supersede the rollout", superseding),
    (
        "the rollout before was superseded, and the next one is running",
        superseded,
    ),
    (
        "a rollout is being given back (`RollingBack`)",
        rolling_back,
    ),
    (
        "given back, the revert waits for its pull request",
        rolled_back,
    ),
    (
        "given back but for some branches (`RollbackIncomplete`)",
        incomplete,
    ),
    ("the newest rollout was aborted", aborted),
    ("somebody pushed to a wave branch (`Drift`)", drifted),
    ("a wave branch was deleted (`BranchDeleted`)", deleted),
    (
        "the config branch was rewritten (`HistoryRewritten`)",
        rewritten,
    ),
];

fn held_by_failure() -> World {
    let spec = Spec::small().every_wave(|wave| wave.on_failure = OnFailure::Hold);
    let mut world = World::settled(spec);
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.holds(), [HoldReason::OnFailureHold]);
    world
}

fn first_failed() -> World {
    let mut world = World::new(Spec::small());
    world.bad_words.insert("v1".to_owned());
    world.run();
    assert_eq!(world.holds(), [HoldReason::FirstRolloutFailed]);
    world
}

fn quarantined() -> World {
    let mut world = idle();
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.holds(), [HoldReason::Quarantined]);
    world
}

/// A hotfix waits for a promotion of which nobody knows whether it arrived.
fn superseding() -> World {
    let mut world = idle();
    world.commit(&[("all", "v2")]);
    world.faults.insert(wave_ref("canary"), Fault::Delayed);
    world.run_until("on its way", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r0") == RegionState::Promoted
    });
    let fix = world.commit(&[("all", "v3")]);
    world.request(Verb::Hotfix).to = Some(fix);
    world.run_until_last(EntryKind::Sealing);
    world
}

fn superseded() -> World {
    let spec = Spec::small().every_wave(|wave| wave.on_failure = OnFailure::Hold);
    let mut world = World::settled(spec);
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    world.commit(&[("all", "v3")]);
    world.run_until_last(EntryKind::Superseded);
    world
}

fn rolling_back() -> World {
    let mut world = running();
    world.run_until("the pilot is watched", |world| {
        world.region("r1") == RegionState::Verifying
    });
    world.faults.insert(wave_ref("pilot"), Fault::Delayed);
    world.request(Verb::Revert);
    world.run_until("being given back", |world| {
        world.rollout_state() == RolloutState::RollingBack
    });
    world
}

fn rolled_back() -> World {
    let mut spec = Spec::small();
    spec.policy.revert.source = RevertSource::PullRequest;
    let mut world = World::settled(spec);
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    assert!(world.holds().contains(&HoldReason::RevertPullRequest));
    world
}

fn incomplete() -> World {
    let mut world = idle();
    world.commit(&[("all", "v2")]);
    world.run_until("baking", |world| {
        world.count(EntryKind::RolloutOpened) == 2 && world.region("r1") == RegionState::Baking
    });
    world.drift("pilot", "r1", Some(id(&"theirs")));
    world.outage.insert("r0".to_owned());
    world.run_for(200);
    assert_eq!(world.rollout_state(), RolloutState::RollbackIncomplete);
    world
}

fn deleted() -> World {
    let mut world = idle();
    world.delete_branch("pilot");
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.holds(), [HoldReason::BranchDeleted]);
    world
}

fn rewritten() -> World {
    let mut world = idle();
    world.rewrite_main(&[("all", "v2"), ("spec", "0")]);
    world.run();
    assert_eq!(world.holds(), [HoldReason::HistoryRewritten]);
    world
}

/// What a request is answered: `None` where it is accepted.
fn answer(mut world: World, asked: Asked) -> Option<String> {
    let (_, verb, change) = asked;
    let known = world.count(EntryKind::Requested);
    let head = world.refs[MAIN];
    change(world.request(verb), head);
    world.run_until("answered", |world| {
        world.count(EntryKind::Requested) > known
    });
    let logged = world.newest(EntryKind::Requested);
    logged.entry.request.as_ref().unwrap().refused.clone()
}

/// The ids of the small world mean nothing to a reader.
fn without_ids(text: &str) -> String {
    text.split(' ')
        .map(|word| {
            let bare = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
            let is_id = bare.len() >= 8 && bare.chars().all(|letter| letter.is_ascii_hexdigit());
            if is_id {
                word.replace(bare, "`COMMIT`")
            } else {
                word.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn page() -> String {
    let mut text = "# What is answered when

Every request gets one answer, in the log. This table says which, state by state: **yes** is accepted, a number is refused for the reason below
the table. In the table r0 is a region of the canary and r1 one of the wave behind it; `skip` names r1, `revert --region` names r0, and `hotfix` names
the newest commit. The page is written by a test from the answers themselves.

| | "
        .to_owned();
    let titles: Vec<String> = ASKED.iter().map(|asked| format!("`{}`", asked.0)).collect();
    writeln!(
        text,
        "{} |\n|---|{}",
        titles.join(" | "),
        "---|".repeat(ASKED.len())
    )
    .unwrap();
    let mut reasons: Vec<String> = Vec::new();
    for (title, state) in STATES {
        let world = state();
        let cells: Vec<String> = ASKED
            .into_iter()
            .map(|asked| match answer(world.clone(), asked) {
                None => "**yes**".to_owned(),
                Some(why) => {
                    let why = without_ids(&why);
                    let known = reasons.iter().position(|reason| *reason == why);
                    let place = known.unwrap_or_else(|| {
                        reasons.push(why);
                        reasons.len() - 1
                    });
                    (place + 1).to_string()
                }
            })
            .collect();
        writeln!(text, "| {title} | {} |", cells.join(" | ")).unwrap();
    }
    text.push_str("\nThe refusals, word by word:\n\n");
    for (place, reason) in reasons.iter().enumerate() {
        writeln!(text, "{}. {reason}", place + 1).unwrap();
    }
    text
}

#[test]
fn the_page_of_answers_is_what_is_answered() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/verbs.md");
    let wanted = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, wanted).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/src/verbs.md differs from what is answered; \
         UPDATE_DOCS=1 cargo test -p tidegate-waves page_of_answers, and read the difference\n{wanted}"
    );
}
