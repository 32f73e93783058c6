//! Which events met which states, and which never did.

use std::collections::BTreeSet;
use std::fmt::Debug;

use tidegate_waves::rollout::{FleetState, RegionState, RolloutState, WaveState};

use crate::event::KINDS;

/// What stands for a rollout's state where there is none.
const NO_ROLLOUT: Option<RolloutState> = None;

/// All states of a rollout.
pub const ROLLOUT_STATES: [RolloutState; 10] = [
    RolloutState::Pending,
    RolloutState::Preflight,
    RolloutState::Running,
    RolloutState::Held,
    RolloutState::Succeeded,
    RolloutState::RollingBack,
    RolloutState::RolledBack,
    RolloutState::RollbackIncomplete,
    RolloutState::Superseded,
    RolloutState::Aborted,
];

/// All states of a wave.
pub const WAVE_STATES: [WaveState; 8] = [
    WaveState::NotStarted,
    WaveState::Blocked,
    WaveState::Progressing,
    WaveState::Baking,
    WaveState::Passed,
    WaveState::PassedWithFailures,
    WaveState::Failed,
    WaveState::Cancelled,
];

/// All states of a region.
pub const REGION_STATES: [RegionState; 17] = [
    RegionState::Pending,
    RegionState::Promoted,
    RegionState::Applying,
    RegionState::Verifying,
    RegionState::Baking,
    RegionState::Done,
    RegionState::Held,
    RegionState::Failed,
    RegionState::TimedOut,
    RegionState::Skipped,
    RegionState::Preempted,
    RegionState::Removed,
    RegionState::Kept,
    RegionState::NoChange,
    RegionState::Reverting,
    RegionState::Reverted,
    RegionState::RevertPending,
];

/// What a region can answer.
pub const READINGS: [&str; 5] = ["healthy", "bad", "stale", "unreachable", "egress-denied"];

/// The pairs that were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// A rollout's state, if there is a rollout, and an event.
    pub rollouts: BTreeSet<(Option<RolloutState>, &'static str)>,
    /// A wave's state, and an event.
    pub waves: BTreeSet<(WaveState, &'static str)>,
    /// A region's state, and an answer of the region.
    pub regions: BTreeSet<(RegionState, &'static str)>,
}

impl Coverage {
    /// An event of this kind meets this state.
    pub fn meet(&mut self, state: &FleetState, kind: &'static str) {
        let rollout = state.rollout.as_ref();
        self.rollouts
            .insert((rollout.map(|rollout| rollout.state), kind));
        for wave in rollout.into_iter().flat_map(|rollout| &rollout.waves) {
            self.waves.insert((wave.state, kind));
        }
    }

    /// The states that an event meets now, as pairs begin: `rollout Held`, `wave Baking`.
    #[must_use]
    pub fn states(state: &FleetState) -> BTreeSet<String> {
        let rollout = state.rollout.as_ref();
        let of_rollout = match rollout {
            Some(rollout) => format!("rollout {:?}", rollout.state),
            None => format!("rollout {NO_ROLLOUT:?}"),
        };
        let waves = rollout.into_iter().flat_map(|rollout| &rollout.waves);
        waves
            .map(|wave| format!("wave {:?}", wave.state))
            .chain([of_rollout])
            .collect()
    }

    /// A region of this state answers.
    pub fn answer(&mut self, state: RegionState, reading: &'static str) {
        self.regions.insert((state, reading));
    }

    /// Adds what another run has seen.
    pub fn add(&mut self, other: &Self) {
        self.rollouts.extend(&other.rollouts);
        self.waves.extend(&other.waves);
        self.regions.extend(&other.regions);
    }

    /// How many pairs were seen.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.rollouts.len() + self.waves.len() + self.regions.len()
    }

    /// The pairs that were never seen, as `rollout Held x commit-bad`.
    #[must_use]
    pub fn unseen(&self) -> Vec<String> {
        let rollouts = self.rollouts.iter().map(|(state, with)| match state {
            Some(state) => words("rollout", state, with),
            None => words("rollout", &NO_ROLLOUT, with),
        });
        let waves = self.waves.iter();
        let regions = self.regions.iter();
        let seen: BTreeSet<String> = rollouts
            .chain(waves.map(|(state, with)| words("wave", state, with)))
            .chain(regions.map(|(state, with)| words("region", state, with)))
            .collect();
        every_pair()
            .into_iter()
            .filter(|pair| !seen.contains(pair))
            .collect()
    }
}

/// All pairs that there are.
#[must_use]
pub fn every_pair() -> Vec<String> {
    let rollouts = ROLLOUT_STATES.iter().map(|state| state as &dyn Debug);
    let mut every = table("rollout", rollouts.chain([&NO_ROLLOUT as _]), &KINDS);
    every.extend(table("wave", WAVE_STATES.iter(), &KINDS));
    every.extend(table("region", REGION_STATES.iter(), &READINGS));
    every
}

fn table<S: Debug>(
    table: &str,
    states: impl Iterator<Item = S>,
    with: &[&'static str],
) -> Vec<String> {
    states
        .flat_map(|state| {
            with.iter()
                .map(move |with| words(table, &state, with))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// All pairs of one state, named as `rollout Held`.
#[must_use]
pub fn pairs_of(state: &str) -> Vec<String> {
    let begins = format!("{state} x ");
    every_pair()
        .into_iter()
        .filter(|pair| pair.starts_with(&begins))
        .collect()
}

fn words(table: &str, state: &dyn Debug, with: &str) -> String {
    format!("{table} {state:?} x {with}")
}
