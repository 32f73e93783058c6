//! No region is done before it really was healthy for its bake: neither jumps of clocks nor sleep shorten it.
//!
//! It is checked against what the world knows and no controller sees: what really ran in a region from moment to
//! moment, and when, in real time, each process asked.

use std::time::Duration;

use tidegate_waves::log::MoveKind;
use tidegate_waves::rollout::simulation::world::{Answer, Logged, World};
use tidegate_waves::rollout::{Phase, RegionState, Rollout};

use crate::run::Run;

/// Regions that have become done since the last check, and should not have.
pub(crate) fn check(run: &mut Run) -> Vec<String> {
    let mut wrong = Vec::new();
    let log = &run.world.log;
    for (at, logged) in log.iter().enumerate().skip(run.checked) {
        let Some(rollout) = logged.state.rollout.as_ref().filter(|known| !known.hotfix) else {
            continue;
        };
        let before = at
            .checked_sub(1)
            .and_then(|before| log.get(before)?.state.rollout.as_ref())
            .filter(|before| before.id == rollout.id);
        for (wave, region) in rollout.waves.iter().flat_map(|wave| {
            wave.regions
                .iter()
                .filter(|(_, run)| run.state == RegionState::Done)
                .map(move |(region, _)| (&wave.name, region))
        }) {
            let was = before
                .and_then(|before| before.region(region))
                .map(|(_, run)| run.state);
            let bake = rollout.plan.wave(wave).map(|wave| wave.policy.bake);
            if let (Some(bake), false) = (bake, was == Some(RegionState::Done)) {
                wrong.extend(judge(run, at, logged, rollout, region, bake));
            }
        }
    }
    run.checked = log.len();
    wrong
}

fn judge(
    run: &Run,
    at: usize,
    logged: &Logged,
    rollout: &Rollout,
    region: &str,
    bake: Duration,
) -> Option<String> {
    let tree = rollout.plan.regions.get(region)?.tree;
    let since = promoted(&run.world, at, rollout, region);
    if rollout.gates_of(region).next().is_none() {
        let passed = logged.at.saturating_sub(since);
        return (passed < bake).then(|| {
            format!("entry {at}: {region} is done after {passed:?} without gates, before {bake:?}")
        });
    }
    let every = rollout
        .gates_of(region)
        .map(|gate| gate.sampling.every)
        .max()
        .unwrap_or_default();
    // Between healthy answers to the process that says so, close together by its own clock; harm starts it anew.
    let mut asked = Duration::ZERO;
    let mut last: Option<&Answer> = None;
    for answer in run.world.answers.iter().filter(|answer| {
        answer.controller == logged.state.holder
            && answer.phase == Phase::After
            && answer.region == *region
            && (since..=logged.at).contains(&answer.at)
    }) {
        let is_healthy = answer.is_healthy && answer.tree == Some(tree);
        if answer.is_bad {
            asked = Duration::ZERO;
        }
        if let (true, Some(before)) = (is_healthy, last)
            && answer.monotonic.saturating_sub(before.monotonic) <= every * 3
        {
            asked += answer.at.saturating_sub(before.at);
        }
        last = is_healthy.then_some(answer);
    }
    if asked < bake {
        return Some(format!(
            "entry {at}: {region} is done after {asked:?} between healthy answers, before {bake:?}"
        ));
    }
    // What really ran there; spells of illness in which nobody asked count, for nobody could know.
    let mut really = Duration::ZERO;
    for spell in run.truth.get(region)? {
        let from = spell.from.max(since);
        let to = spell.to.min(logged.at);
        let seen = run.world.answers.iter().any(|answer| {
            answer.region == *region && spell.from < answer.at && answer.at <= spell.to
        });
        if spell.well == Some(tree) || !seen {
            really += to.saturating_sub(from);
        }
    }
    (really < bake).then(|| {
        format!("entry {at}: {region} is done after {really:?} of real health, before {bake:?}")
    })
}

/// Since when a region has had its tree by this rollout: the entry that allowed its promotion, or the opening.
fn promoted(world: &World, at: usize, rollout: &Rollout, region: &str) -> Duration {
    let earlier = world.log.iter().take(at + 1).rev();
    let mut since = Duration::ZERO;
    for logged in earlier.take_while(|logged| {
        logged.state.rollout.as_ref().map(|known| &known.id) == Some(&rollout.id)
    }) {
        since = logged.at;
        let promotes = logged.intents.iter().any(|intent| {
            intent.draft.kind == MoveKind::Promote
                && intent
                    .draft
                    .folders
                    .iter()
                    .any(|change| change.region == region)
        });
        if promotes {
            break;
        }
    }
    since
}
