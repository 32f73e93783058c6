//! Where it ends when nothing goes wrong: with one controller, no delay and nobody stopped, people at any moment.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::simulation::world::{Files, World, wave_ref};
use tidegate_waves::rollout::{HoldReason, RolloutState};

use crate::configuration::{Configuration, WAVES};
use crate::event::successors;
use crate::state::State;

/// How a run ended: what promise 10 says is the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The trees on the wave branches.
    pub trees: Vec<BTreeMap<String, Oid>>,
    /// What is known to be good.
    pub last_good: BTreeMap<String, Oid>,
    /// How the newest rollout ended.
    pub rollout: Option<RolloutState>,
    /// What the config branch's head says.
    pub head: Files,
    /// What is settled.
    pub settled: Files,
    /// What is quarantined: the content that failed, and the trees.
    pub quarantine: BTreeSet<(Files, BTreeMap<String, Oid>)>,
    /// What holds.
    pub holds: BTreeSet<HoldReason>,
}

impl End {
    /// The end that this world would be.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let state = world.state();
        let trees = WAVES
            .iter()
            .map(|wave| {
                world
                    .refs
                    .get(&wave_ref(wave))
                    .and_then(|tip| world.commits.get(tip))
                    .map(|commit| commit.folders.clone())
                    .unwrap_or_default()
            })
            .collect();
        Self {
            trees,
            last_good: state
                .last_good
                .iter()
                .map(|(region, good)| (region.clone(), good.tree))
                .collect(),
            rollout: state.rollout.as_ref().map(|rollout| rollout.state),
            head: world.files(world.head()),
            settled: world.files(state.settled.as_ref().map(|settled| settled.source)),
            quarantine: state
                .quarantine
                .iter()
                .map(|item| (world.files(Some(item.source)), item.digests.clone()))
                .collect(),
            holds: state.holds.iter().map(|hold| hold.reason).collect(),
        }
    }
}

/// All ends from here, with nobody but people to interfere.
#[must_use]
pub fn ends(configuration: &Configuration, start: &State) -> BTreeSet<End> {
    let mut world = World::clone(&start.world);
    world.controllers.truncate(1);
    let mut start = State::new(world, start.budget, start.search);
    start.budget.delays = 0;
    start.budget.stops = 0;
    let mut known = HashSet::new();
    let mut ends = BTreeSet::new();
    let mut waiting = vec![start];
    while let Some(state) = waiting.pop() {
        let next = successors(configuration, None, &state);
        if next.is_empty() {
            ends.insert(End::of(&state.world));
        }
        for (_, state) in next {
            if known.insert(state.clone()) {
                waiting.push(state);
            }
        }
    }
    ends
}
