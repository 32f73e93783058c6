//! No region is done before it really was healthy for its bake, whatever clocks, processes and disks did.
//!
//! It is checked against what no controller sees: real time, what really ran in a region, and every answer that any of
//! the controller's processes was given.

use std::error::Error;
use std::time::Duration;

use tidegate_waves::log::{EntryKind, MoveKind};
use tidegate_waves::rollout::{FleetState, RegionState, Rollout};

use super::judging::{kind_of, state_at};
use super::people::LOG;
use super::world::{Answer, World};

/// Real time is known to a step of it where entries arrive.
const TOLERANCE: Duration = super::run::TICK;

/// One entry: when it arrived, and the state after it.
struct Arrived {
    at: Duration,
    state: FleetState,
}

/// Regions that were done too early.
pub(super) fn check(world: &World) -> Result<Vec<String>, Box<dyn Error>> {
    let mut log = Vec::new();
    for moved in world
        .server
        .moves
        .iter()
        .filter(|moved| moved.reference == LOG)
    {
        // Told apart from progress that changes no region.
        if kind_of(&world.server, moved.new) != Some(EntryKind::TakeOver) {
            log.push(Arrived {
                at: moved.at,
                state: state_at(&world.server, moved.new)?,
            });
        }
    }
    let mut wrong = Vec::new();
    for (at, arrived) in log.iter().enumerate() {
        let Some(rollout) = arrived.state.rollout.as_ref().filter(|known| !known.hotfix) else {
            continue;
        };
        let before = at
            .checked_sub(1)
            .and_then(|before| log.get(before)?.state.rollout.as_ref())
            .filter(|before| before.id == rollout.id);
        for wave in &rollout.waves {
            let Some(bake) = rollout.plan.wave(&wave.name).map(|wave| wave.policy.bake) else {
                continue;
            };
            for region in wave
                .regions
                .iter()
                .filter(|(_, run)| run.state == RegionState::Done)
                .map(|(region, _)| region)
            {
                let was = before
                    .and_then(|before| before.region(region))
                    .map(|(_, run)| run.state);
                if was != Some(RegionState::Done) {
                    wrong.extend(judge(world, &log, at, rollout, region, bake));
                }
            }
        }
    }
    Ok(wrong)
}

fn judge(
    world: &World,
    log: &[Arrived],
    at: usize,
    rollout: &Rollout,
    region: &str,
    bake: Duration,
) -> Option<String> {
    let arrived = log.get(at)?;
    let tree = rollout.plan.regions.get(region)?.tree;
    let since = promoted(log, at, rollout, region);
    let every = rollout
        .gates_of(region)
        .map(|gate| gate.sampling.every)
        .max()
        .unwrap_or_default();
    let mut asked = Duration::ZERO;
    let mut last: Option<&Answer> = None;
    for answer in world.answers.iter().filter(|answer| {
        answer.controller == arrived.state.holder
            && answer.region == *region
            && (since..=arrived.at).contains(&answer.at)
    }) {
        let is_healthy = answer.is_healthy && answer.tree == Some(tree);
        if answer.is_bad {
            asked = Duration::ZERO;
        }
        if let (true, Some(before)) = (is_healthy, last)
            && before.life == answer.life
            && answer.monotonic.saturating_sub(before.monotonic) <= every * 3
        {
            asked += answer.at.saturating_sub(before.at);
        }
        last = is_healthy.then_some(answer);
    }
    let seq = arrived.state.seq;
    if asked + TOLERANCE < bake {
        return Some(format!(
            "entry {seq}: {region} is done after {asked:?} between healthy answers, before {bake:?}"
        ));
    }
    // What really ran there; spells of illness in which nobody asked count, for nobody could know.
    let mut really = Duration::ZERO;
    for spell in world.regions.spells(region) {
        let from = spell.from.max(since);
        let to = spell.to.min(arrived.at);
        let seen = world.answers.iter().any(|answer| {
            answer.region == *region && spell.from < answer.at && answer.at <= spell.to
        });
        if spell.well == Some(tree) || !seen {
            really += to.saturating_sub(from);
        }
    }
    (really + TOLERANCE < bake).then(|| {
        format!("entry {seq}: {region} is done after {really:?} of real health, before {bake:?}")
    })
}

/// Since when a region has had its tree by this rollout: the entry that allowed its promotion, or the opening.
fn promoted(log: &[Arrived], at: usize, rollout: &Rollout, region: &str) -> Duration {
    let mut since = Duration::ZERO;
    for arrived in log.iter().take(at + 1).rev().take_while(|arrived| {
        arrived.state.rollout.as_ref().map(|known| &known.id) == Some(&rollout.id)
    }) {
        since = arrived.at;
        let promotes = arrived.state.intents.iter().any(|intent| {
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
