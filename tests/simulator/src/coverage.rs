//! Which events met which states, and which never did.

use std::collections::BTreeSet;

use tidegate_waves::rollout::{FleetState, RegionState, RolloutState, WaveState};

use crate::event::KINDS;

/// All states of a rollout, and its absence.
pub const ROLLOUT_STATES: [&str; 11] = [
    "None",
    "Pending",
    "Preflight",
    "Running",
    "Held",
    "Succeeded",
    "RollingBack",
    "RolledBack",
    "RollbackIncomplete",
    "Superseded",
    "Aborted",
];

/// All states of a wave.
pub const WAVE_STATES: [&str; 8] = [
    "NotStarted",
    "Blocked",
    "Progressing",
    "Baking",
    "Passed",
    "PassedWithFailures",
    "Failed",
    "Cancelled",
];

/// All states of a region.
pub const REGION_STATES: [&str; 17] = [
    "Pending",
    "Promoted",
    "Applying",
    "Verifying",
    "Baking",
    "Done",
    "Held",
    "Failed",
    "TimedOut",
    "Skipped",
    "Preempted",
    "Removed",
    "Kept",
    "NoChange",
    "Reverting",
    "Reverted",
    "RevertPending",
];

/// What a region can answer.
pub const READINGS: [&str; 5] = ["healthy", "bad", "stale", "unreachable", "egress-denied"];

/// A state and what met it.
pub type Pair = (&'static str, &'static str);

/// The pairs that were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// A rollout's state, and an event.
    pub rollouts: BTreeSet<Pair>,
    /// A wave's state, and an event.
    pub waves: BTreeSet<Pair>,
    /// A region's state, and an answer of the region.
    pub regions: BTreeSet<Pair>,
}

impl Coverage {
    /// An event of this kind meets this state.
    pub fn meet(&mut self, state: &FleetState, kind: &'static str) {
        let Some(rollout) = &state.rollout else {
            self.rollouts.insert(("None", kind));
            return;
        };
        self.rollouts.insert((rollout_state(rollout.state), kind));
        for wave in &rollout.waves {
            self.waves.insert((wave_state(wave.state), kind));
        }
    }

    /// A region of this state answers.
    pub fn answer(&mut self, state: RegionState, reading: &'static str) {
        self.regions.insert((region_state(state), reading));
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
        let seen: BTreeSet<String> = [
            ("rollout", &self.rollouts),
            ("wave", &self.waves),
            ("region", &self.regions),
        ]
        .into_iter()
        .flat_map(|(table, pairs)| pairs.iter().map(move |pair| words(table, *pair)))
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
    let table = |table: &'static str, states: &[&'static str], with: &[&'static str]| {
        states
            .iter()
            .flat_map(|state| with.iter().map(move |with| words(table, (*state, *with))))
            .collect::<Vec<String>>()
    };
    let mut every = table("rollout", &ROLLOUT_STATES, &KINDS);
    every.extend(table("wave", &WAVE_STATES, &KINDS));
    every.extend(table("region", &REGION_STATES, &READINGS));
    every
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

fn words(table: &str, (state, with): Pair) -> String {
    format!("{table} {state} x {with}")
}

fn rollout_state(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Pending => "Pending",
        RolloutState::Preflight => "Preflight",
        RolloutState::Running => "Running",
        RolloutState::Held => "Held",
        RolloutState::Succeeded => "Succeeded",
        RolloutState::RollingBack => "RollingBack",
        RolloutState::RolledBack => "RolledBack",
        RolloutState::RollbackIncomplete => "RollbackIncomplete",
        RolloutState::Superseded => "Superseded",
        RolloutState::Aborted => "Aborted",
    }
}

fn wave_state(state: WaveState) -> &'static str {
    match state {
        WaveState::NotStarted => "NotStarted",
        WaveState::Blocked => "Blocked",
        WaveState::Progressing => "Progressing",
        WaveState::Baking => "Baking",
        WaveState::Passed => "Passed",
        WaveState::PassedWithFailures => "PassedWithFailures",
        WaveState::Failed => "Failed",
        WaveState::Cancelled => "Cancelled",
    }
}

fn region_state(state: RegionState) -> &'static str {
    match state {
        RegionState::Pending => "Pending",
        RegionState::Promoted => "Promoted",
        RegionState::Applying => "Applying",
        RegionState::Verifying => "Verifying",
        RegionState::Baking => "Baking",
        RegionState::Done => "Done",
        RegionState::Held => "Held",
        RegionState::Failed => "Failed",
        RegionState::TimedOut => "TimedOut",
        RegionState::Skipped => "Skipped",
        RegionState::Preempted => "Preempted",
        RegionState::Removed => "Removed",
        RegionState::Kept => "Kept",
        RegionState::NoChange => "NoChange",
        RegionState::Reverting => "Reverting",
        RegionState::Reverted => "Reverted",
        RegionState::RevertPending => "RevertPending",
    }
}
