//! The files of an entry's tree, as far as they are judged.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tidegate_waves::log::SCHEMA;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetIdentity, RegionState, WaveState};

use super::batches::{OpenMove, Trees};
use super::record::{RolloutRecord, State, WaveRecord};

/// `state.json`, as far as it is judged.
#[derive(Deserialize)]
pub(super) struct StateFile {
    schema: u32,
    fleet: FleetIdentity,
    seq: u64,
    epoch: u64,
    pub(super) intents: Vec<OpenMove>,
    rollout: Option<RolloutRecord>,
}

impl StateFile {
    /// Refuses what a newer version wrote.
    pub(super) fn check_schema(&self) -> Result<(), String> {
        if self.schema > SCHEMA {
            return Err(format!(
                "a newer Tidegate wrote it (schema {}, this one reads up to {SCHEMA})",
                self.schema
            ));
        }
        Ok(())
    }

    /// The state with every open move whole; the ids of the files beside it are not known here.
    pub(super) fn whole(self, planned: &Trees, last_good: &Trees) -> Result<State, String> {
        let intents = self
            .intents
            .into_iter()
            .map(|open| open.whole(planned, last_good))
            .collect::<Result<_, _>>()
            .map_err(|why| format!("state.json: {why}"))?;
        Ok(State {
            seq: self.seq,
            epoch: self.epoch,
            fleet: self.fleet,
            intents,
            rollout: self.rollout,
            passed: None,
            last_good: None,
            isolated: BTreeSet::new(),
        })
    }
}

/// A wave's file, as far as it is judged.
#[derive(Deserialize)]
pub(super) struct WaveFile {
    state: WaveState,
    regions: Runs,
}

/// Its regions: equal ones together, or, in logs of schema 1, each by itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Runs {
    Groups(Vec<Group>),
    Single(BTreeMap<String, Run>),
}

#[derive(Deserialize)]
struct Group {
    run: Run,
    regions: Vec<String>,
}

#[derive(Deserialize)]
struct Run {
    state: RegionState,
}

impl WaveFile {
    /// The wave with every region by itself.
    pub(super) fn whole(self) -> WaveRecord {
        let regions = match self.regions {
            Runs::Groups(groups) => groups
                .into_iter()
                .flat_map(|group| {
                    let state = group.run.state;
                    group.regions.into_iter().map(move |region| (region, state))
                })
                .collect(),
            Runs::Single(runs) => runs
                .into_iter()
                .map(|(region, run)| (region, run.state))
                .collect(),
        };
        WaveRecord {
            state: self.state,
            regions,
        }
    }
}

/// One item of `quarantine.json`, as far as it is judged.
#[derive(Deserialize)]
pub(super) struct Quarantined {
    rollout: String,
    digests: BTreeMap<String, Oid>,
    isolated: bool,
}

impl Quarantined {
    /// The regions that failed alone, with the rollout in which they did.
    pub(super) fn alone(items: Vec<Self>) -> BTreeSet<(String, String)> {
        items
            .into_iter()
            .filter(|item| item.isolated)
            .flat_map(|item| {
                let rollout = item.rollout;
                let regions = item.digests.into_keys();
                regions.map(move |region| (rollout.clone(), region))
            })
            .collect()
    }
}
