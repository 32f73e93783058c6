//! By what a region is judged that has a tree of ours: this rollout's, or one that it took over from a superseded rollout.

use std::time::Duration;

use super::decision::Place;
use super::state::{Baseline, FleetState, RegionRun, RegionState, Rollout};
use crate::fleet::Gate;
use crate::gate::{can_prove, settle};
use crate::oid::Oid;

/// The gates of the tree that is judged, and what is known of the region from before.
pub(super) struct Judged<'a> {
    /// The tree.
    tree: Oid,
    /// The gates of that tree.
    pub(super) gates: Vec<&'a Gate>,
    /// The trees that the region may still run instead of it.
    older_trees: Vec<Oid>,
    /// The gates of each tree that the region may still run instead of it.
    older: Vec<&'a [Gate]>,
    /// What the region's gates said before that tree came.
    before: Option<Baseline>,
    /// Whether it has been healthy since.
    was_healthy: bool,
}

impl<'a> Judged<'a> {
    /// `None` for a region that waits on its last good tree.
    pub(super) fn of(
        state: &'a FleetState,
        rollout: &'a Rollout,
        region: &str,
        run: &RegionRun,
    ) -> Option<Self> {
        let inherited = rollout.inherited.get(region);
        let good = state.last_good.get(region);
        let mut older: Vec<&[Gate]> = good.map(|good| good.gates.as_slice()).into_iter().collect();
        let mut older_trees: Vec<Oid> = good.map(|good| good.tree).into_iter().collect();
        let is_judged_by_inherited = run.state == RegionState::Pending;
        if let Some(inherited) = inherited {
            if !is_judged_by_inherited {
                older.push(inherited.gates.as_slice());
                older_trees.push(inherited.tree);
            }
            older.extend(
                inherited
                    .earlier
                    .iter()
                    .map(|earlier| earlier.gates.as_slice()),
            );
            older_trees.extend(inherited.earlier.iter().map(|earlier| earlier.tree));
        }
        if is_judged_by_inherited {
            return inherited.map(|inherited| Self {
                tree: inherited.tree,
                gates: inherited.gates.iter().collect(),
                older_trees,
                older,
                before: inherited.before,
                was_healthy: inherited.was_healthy,
            });
        }
        Some(Self {
            tree: rollout.plan.regions.get(region)?.tree,
            gates: rollout.gates_of(region).collect(),
            older_trees,
            older,
            before: run.before,
            was_healthy: run.was_healthy,
        })
    }

    /// The gate of that name.
    pub(super) fn gate(&self, name: &str) -> Option<&'a Gate> {
        self.gates.iter().copied().find(|gate| gate.name == name)
    }

    /// The same gate as the older trees have it.
    pub(super) fn older(&self, gate: &Gate) -> Vec<Gate> {
        self.older
            .iter()
            .filter_map(|gates| gates.iter().find(|before| before.name == gate.name))
            .cloned()
            .collect()
    }

    /// Where the tree is to be found: in the region's folder on the branch of this wave.
    pub(super) fn place(&self, state: &FleetState, wave: &str, region: &str) -> Place {
        Place::of(state, wave, region, self.tree, &self.older_trees)
    }

    /// When the first answer of a gate counts, by the clock by which the tree was first seen applied.
    pub(super) fn counts_from(&self, gate: &Gate, applied: Duration) -> Duration {
        if self.was_healthy {
            return Duration::ZERO;
        }
        // What reads a cluster waits by itself where nothing proves the revision.
        let provable = gate.check.as_http().is_none()
            || self.gates.iter().any(|gate| can_prove(gate, &self.older));
        applied.saturating_add(settle(&gate.sampling, provable))
    }

    /// Whether harm is held against the commit: the region was healthy before, or has been since.
    pub(super) fn harm_counts(&self) -> bool {
        self.before == Some(Baseline::Healthy) || self.was_healthy
    }
}
