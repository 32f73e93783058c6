//! A small world in memory that drives [`decide`](crate::rollout::decide): branches as commit graphs, a log, a config branch whose
//! commits render by a rule, regions that follow their branch, several controllers, people, and faults.
//!
//! Everything is deterministic: ids are hashes of what they name, and time is a number.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

pub use super::fleet::Spec;
pub use super::network::{Fault, LateAppend};
use crate::gate::Reading;
use crate::log::{Entry, EntryKind, Intent};
use crate::oid::Oid;
use crate::rollout::{
    Finding, FleetIdentity, FleetState, Phase, Probe, PushOrder, PushReport, RecoveredSums,
    RegionSample, Request, Step, Watch, create,
};

pub const MAIN: &str = "refs/heads/main";
/// How far the clock goes from one round to the next.
pub const TICK: Duration = Duration::from_secs(5);

/// An id that depends on nothing but what is hashed.
pub fn id(what: &impl Hash) -> Oid {
    let mut bytes = [0_u8; 20];
    for (round, chunk) in bytes.chunks_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        (round, what).hash(&mut hasher);
        let hash = hasher.finish().to_be_bytes();
        chunk.copy_from_slice(&hash[..chunk.len()]);
    }
    Oid::from_bytes(bytes)
}

/// A commit of a wave branch.
#[derive(Debug, Clone)]
pub struct Commit {
    pub parent: Option<Oid>,
    pub folders: BTreeMap<String, Oid>,
}

/// The content of a config commit: paths and what stands in them. `all` and `<region>` make trees, `spec`
/// names one of the world's [`Spec`]s, `broken` makes it invalid.
pub type Files = BTreeMap<String, String>;

/// A commit of the config branch.
#[derive(Debug, Clone)]
pub struct Source {
    pub parent: Option<Oid>,
    pub files: Files,
    pub fixes: Vec<Oid>,
    pub reverts: Option<String>,
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub struct Logged {
    pub entry: Entry,
    pub intents: Vec<Intent>,
    pub state: FleetState,
    pub at: Duration,
}

/// One process.
#[derive(Debug, Clone)]
pub struct Controller {
    pub name: String,
    pub watch: Watch,
    pub probes: Vec<Probe>,
    pub busy: bool,
    pub(super) sampled: BTreeMap<(String, String, Phase), Duration>,
    pub(super) samples: Vec<RegionSample>,
    pub(super) reports: Vec<PushReport>,
    /// What an earlier run had counted.
    pub recovered: BTreeMap<String, RecoveredSums>,
    pub alive: bool,
    /// Whether its machine is suspended: then its monotonic clock stands still as well.
    pub suspended: bool,
    /// How far its monotonic clock is behind what really passed.
    pub behind: Duration,
    /// A step that was decided and not carried out yet, and the entry that it was decided on.
    pub pending: Option<(u64, Step)>,
}

impl Controller {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            watch: Watch::default(),
            probes: Vec::new(),
            busy: false,
            sampled: BTreeMap::new(),
            samples: Vec::new(),
            reports: Vec::new(),
            recovered: BTreeMap::new(),
            alive: true,
            suspended: false,
            behind: Duration::ZERO,
            pending: None,
        }
    }
}

/// Everything there is.
#[derive(Debug, Clone)]
pub struct World {
    /// Shared between copies of a world: what is written stays as it is.
    pub log: Vec<Arc<Logged>>,
    pub commits: BTreeMap<Oid, Arc<Commit>>,
    pub refs: BTreeMap<String, Oid>,
    pub sources: BTreeMap<Oid, Source>,
    pub trees: BTreeMap<Oid, Files>,
    pub specs: Vec<Spec>,
    pub controllers: Vec<Controller>,
    /// What really passed.
    pub now: Duration,
    /// How far wall clocks are off, in seconds.
    pub wall_offset: i64,
    /// Region trees that answer badly once they run.
    pub bad_trees: BTreeSet<Oid>,
    /// Texts in `all` or in a region's file that make every tree with them answer badly.
    pub bad_words: BTreeSet<String>,
    /// Regions that answer badly whatever runs there.
    pub outage: BTreeSet<String>,
    /// Regions that do not answer.
    pub dark: BTreeSet<String>,
    /// What the gate `workloads` says of regions, whatever is so there.
    pub blind: BTreeMap<String, Reading>,
    /// Regions that the egress rules forbid.
    pub denied: BTreeSet<String>,
    /// Regions whose follower does not move: they answer with the old revision.
    pub lagging: BTreeSet<String>,
    pub requests: Vec<Request>,
    pub faults: BTreeMap<String, Fault>,
    pub delayed: Vec<PushOrder>,
    /// Entries under way to the log.
    pub late_appends: Vec<LateAppend>,
    pub findings: BTreeMap<Oid, Vec<Finding>>,
    pub revert_trees: BTreeMap<Oid, BTreeMap<String, Oid>>,
    /// All that ever stood on a ref that we pushed: ref, old, new, who.
    pub pushed: Vec<(String, Oid, Oid, String)>,
    /// All that we ever sent, whether it arrived or not: ref, old, new.
    pub sent: BTreeSet<(String, Oid, Oid)>,
    /// Commits of people on wave branches.
    pub foreign: BTreeSet<Oid>,
    /// Branches that people deleted or rewrote.
    pub damaged: BTreeSet<String>,
    /// What regions really answered about the tree that ran there, with the plan's gates.
    pub answers: Vec<Arc<Answer>>,
}

/// What a region answered, and about which tree.
#[derive(Debug, Clone)]
pub struct Answer {
    pub at: Duration,
    /// Who asked.
    pub controller: String,
    /// When, by that process's monotonic clock.
    pub monotonic: Duration,
    pub rollout: String,
    pub phase: Phase,
    pub region: String,
    pub tree: Option<Oid>,
    pub reading: Reading,
    pub is_healthy: bool,
    pub is_bad: bool,
}

impl World {
    /// A world whose config branch begins with this spec and the words `v1`, and one controller, `a`.
    pub fn new(spec: Spec) -> Self {
        let mut world = Self {
            log: Vec::new(),
            commits: BTreeMap::new(),
            refs: BTreeMap::new(),
            sources: BTreeMap::new(),
            trees: BTreeMap::new(),
            specs: vec![spec],
            controllers: vec![Controller::new("a")],
            now: Duration::from_secs(1_000),
            wall_offset: 0,
            bad_trees: BTreeSet::new(),
            bad_words: BTreeSet::new(),
            outage: BTreeSet::new(),
            dark: BTreeSet::new(),
            blind: BTreeMap::new(),
            denied: BTreeSet::new(),
            lagging: BTreeSet::new(),
            requests: Vec::new(),
            faults: BTreeMap::new(),
            delayed: Vec::new(),
            late_appends: Vec::new(),
            findings: BTreeMap::new(),
            revert_trees: BTreeMap::new(),
            pushed: Vec::new(),
            sent: BTreeSet::new(),
            foreign: BTreeSet::new(),
            damaged: BTreeSet::new(),
            answers: Vec::new(),
        };
        let first = world.commit(&[("all", "v1"), ("spec", "0")]);
        let identity = FleetIdentity {
            name: "payments".to_owned(),
            branch: "main".to_owned(),
            path: String::new(),
            prefix: "tidegate".to_owned(),
        };
        let (entry, intents, state) = create(identity, first, "a")
            .complete(|_| Err("entry 0 moves nothing"))
            .unwrap();
        world.log.push(Arc::new(Logged {
            entry,
            intents,
            state,
            at: world.now,
        }));
        world
    }

    /// The same, with its first rollout carried to the end.
    pub fn settled(spec: Spec) -> Self {
        let mut world = Self::new(spec);
        world.run();
        assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
        world
    }
}

pub fn wave_ref(wave: &str) -> String {
    format!("refs/heads/tidegate/{wave}")
}
