//! What is to be done: the only way in which a decision reaches the world.

use std::time::Duration;

use super::observation::Phase;
use super::state::FleetState;
use super::watch::Watch;
use crate::fleet::Gate;
use crate::log::{DraftIntent, Entry, Intent};
use crate::oid::Oid;

/// What one call of [`super::decide`] gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What this process counts, to be handed in again; it belongs to the state that was handed in *and* to
    /// the state after the entry, so that it stays valid whether or not the entry can be written.
    pub watch: Watch,
    /// An entry to append to the log. Nothing else of this step may be done if it cannot be.
    pub append: Option<Box<Append>>,
    /// Open intents to carry out, in one push, each on its own lease. They are in the log already.
    pub pushes: Vec<PushOrder>,
    /// What is to be sampled from now on; what is not in this list is no longer to be.
    pub probes: Vec<Probe>,
    /// Look again after this long at the latest, even if nothing happens.
    pub wake_after: Option<Duration>,
    /// Whether something waits that only time, a sample or a push can change; false if nothing but a person or a
    /// commit can.
    pub busy: bool,
}

/// An entry to append, and the state that its tree will hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// What the entry says.
    pub entry: Entry,
    /// The moves that it allows; their commits are to be made first.
    pub drafts: Vec<DraftIntent>,
    /// The state after it, without those moves.
    pub next: FleetState,
}

impl Append {
    /// Fills in the commits of the moves: gives the entry, its intents and the state after it.
    ///
    /// `make` is called once for each move, in order; what it gives is the move's new commit.
    pub fn complete<E>(
        self,
        mut make: impl FnMut(&DraftIntent) -> Result<Oid, E>,
    ) -> Result<(Entry, Vec<Intent>, FleetState), E> {
        let Self {
            entry,
            drafts,
            mut next,
        } = self;
        let intents = drafts
            .into_iter()
            .map(|draft| make(&draft).map(|new| Intent { draft, new }))
            .collect::<Result<Vec<_>, E>>()?;
        next.intents.extend(intents.iter().cloned());
        Ok((entry, intents, next))
    }
}

/// A move of one ref that the log allows, to be carried out by compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushOrder {
    /// The full ref.
    pub reference: String,
    /// Where it must stand.
    pub old: Oid,
    /// Where it goes.
    pub new: Oid,
}

/// One gate of one region that is to be sampled again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// The rollout.
    pub rollout: String,
    /// The region.
    pub region: String,
    /// Before or after the promotion.
    pub phase: Phase,
    /// The gate, with the region's values in it.
    pub gate: Gate,
    /// The same gate as earlier trees of the region have it that it may still run: its last good, and what it held
    /// when this rollout took another's place.
    pub older: Vec<Gate>,
    /// Where the tree that it judges is to be found, for gates that read a cluster.
    pub place: Place,
    /// Grows whenever the region is judged anew: what a gate remembers of it is forgotten then.
    pub anew: u32,
    /// From one sample to the next.
    pub every: Duration,
    /// Not before this, by the process's monotonic clock.
    pub not_before: Duration,
    /// Whether a promotion waits for nothing but the first answer.
    pub is_awaited: bool,
}

/// Where a region's tree is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name under which settings and Argo CD know the region's cluster.
    pub cluster: String,
    /// The full ref of the wave branch that `regions.json` names for it.
    pub branch: String,
    /// The tree that it should run.
    pub tree: Oid,
    /// Other trees that it may still run.
    pub older: Vec<Oid>,
    /// Whether it is on its way to another branch, so that its Applications may still follow the one before.
    pub moves: bool,
}

impl Place {
    /// The folder of a region on the branch of a wave, which should hold `tree`; trees equal to it are no older ones.
    pub(super) fn of(
        state: &FleetState,
        wave: &str,
        region: &str,
        tree: Oid,
        older: &[Oid],
    ) -> Self {
        let planned = state
            .active()
            .and_then(|rollout| rollout.plan.regions.get(region));
        let cluster = planned
            .map(|planned| planned.cluster.as_str())
            .or_else(|| {
                state
                    .placements
                    .get(region)
                    .map(|placed| placed.cluster.as_str())
            })
            .unwrap_or(region);
        let branches = state.branches.values();
        Self {
            cluster: cluster.to_owned(),
            branch: state.fleet.wave_ref(wave),
            tree,
            older: older
                .iter()
                .copied()
                .filter(|older| *older != tree)
                .collect(),
            moves: branches
                .filter(|branch| branch.folders.contains_key(region))
                .count()
                > 1,
        }
    }
}

/// Every gate of every region for the tree that its branch holds, as it would be asked before a promotion; for those
/// who want to know how things stand.
#[must_use]
pub fn present_probes(state: &FleetState) -> Vec<Probe> {
    let mut probes = Vec::new();
    for (region, placed) in &state.placements {
        let Some(tree) = state.folder(&placed.wave, region) else {
            continue;
        };
        let good = state.last_good.get(region);
        let rollout = state.rollout.as_ref().filter(|rollout| {
            let planned = rollout.plan.regions.get(region);
            planned.is_some_and(|planned| planned.tree == tree)
        });
        let gates: Vec<Gate> = match (good, rollout) {
            (Some(good), _) if good.tree == tree => good.gates.clone(),
            (_, Some(rollout)) => rollout.gates_of(region).cloned().collect(),
            (Some(good), None) => good.gates.clone(),
            (None, None) => Vec::new(),
        };
        for gate in gates {
            probes.push(Probe {
                rollout: String::new(),
                region: region.clone(),
                phase: Phase::Before,
                older: Vec::new(),
                place: Place::of(state, &placed.wave, region, tree, &[]),
                anew: 0,
                every: gate.sampling.every,
                not_before: Duration::ZERO,
                is_awaited: true,
                gate,
            });
        }
    }
    probes
}
