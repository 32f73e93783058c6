//! A small world in memory that drives [`decide`]: branches as commit graphs, a log, a config branch whose
//! commits render by a rule, regions that follow their branch, several controllers, people, and faults.
//!
//! Everything is deterministic: ids are hashes of what they name, and time is a number.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::auditor::expect_clean;
pub use super::fleet::Spec;
use super::fleet::region_tree;
pub use super::network::{Fault, LateAppend};
use crate::fleet::{Gate, GateCheck};
use crate::gate::{Reading, Sample};
use crate::log::{DraftIntent, Entry, EntryKind, Intent, MoveKind};
use crate::oid::Oid;
use crate::rollout::{
    BranchView, CommitView, ConfigView, Finding, FleetIdentity, FleetState, Now, Observations,
    Phase, Probe, PushOrder, PushOutcome, PushReport, RecoveredSums, RegionSample, Request, Step,
    Watch, create, decide,
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
    fn new(name: &str) -> Self {
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

    pub fn state(&self) -> &FleetState {
        &self.log.last().unwrap().state
    }

    /// Shared, so that it outlives what happens next.
    fn newest_entry(&self) -> Arc<Logged> {
        self.log.last().unwrap().clone()
    }

    pub fn last(&self) -> EntryKind {
        self.log.last().unwrap().entry.kind
    }

    pub fn kinds(&self) -> Vec<EntryKind> {
        self.log.iter().map(|logged| logged.entry.kind).collect()
    }

    pub fn count(&self, kind: EntryKind) -> usize {
        self.kinds()
            .into_iter()
            .filter(|known| *known == kind)
            .count()
    }

    /// The newest entry of a kind.
    pub fn newest(&self, kind: EntryKind) -> &Logged {
        self.log
            .iter()
            .rev()
            .map(Arc::as_ref)
            .find(|logged| logged.entry.kind == kind)
            .unwrap_or_else(|| panic!("no {kind} in\n{}", self.story()))
    }

    pub fn position(&self, kind: EntryKind) -> usize {
        self.kinds()
            .iter()
            .rposition(|known| *known == kind)
            .unwrap_or_else(|| panic!("no {kind} in\n{}", self.story()))
    }

    /// The log in words, for messages of tests.
    pub fn story(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for (seq, logged) in self.log.iter().enumerate() {
            let entry = &logged.entry;
            let _ = writeln!(
                text,
                "{seq} {}s {} [{}] {}",
                logged.at.as_secs(),
                entry.kind,
                entry.wave.as_deref().unwrap_or("-"),
                entry.subject
            );
            for line in &entry.lines {
                let _ = writeln!(text, "      {line}");
            }
            for intent in &logged.intents {
                let _ = writeln!(
                    text,
                    "      intent {} {} {} -> {}",
                    intent.draft.kind,
                    intent.draft.reference,
                    intent.draft.old.short(6),
                    intent.new.short(6)
                );
            }
            for closing in &entry.closed {
                let _ = writeln!(
                    text,
                    "      closed {} {} {}",
                    closing.reference,
                    closing.new.short(6),
                    closing.outcome
                );
            }
        }
        text
    }

    // --- what controllers see and do ------------------------------------------------------------------------

    fn branch_view(&self, state: &FleetState, reference: &str) -> Option<BranchView> {
        let tip = *self.refs.get(reference)?;
        let wave = reference.strip_prefix("refs/heads/tidegate/");
        let known = wave
            .and_then(|wave| state.branches.get(wave))
            .and_then(|branch| branch.tip);
        let named: BTreeSet<Oid> = state
            .intents
            .iter()
            .filter(|intent| intent.draft.reference == reference)
            .flat_map(|intent| [intent.draft.old, intent.new])
            .chain(known)
            .collect();
        if wave.is_none() {
            let chain = self.ancestry(tip);
            return Some(BranchView {
                tip,
                chain: Vec::new(),
                contains: named
                    .into_iter()
                    .filter(|commit| chain.contains(commit))
                    .collect(),
            });
        }
        let mut chain = Vec::new();
        let mut at = Some(tip);
        let mut contains = BTreeSet::new();
        let mut reached = known.is_none();
        while let Some(commit) = at {
            if named.contains(&commit) {
                contains.insert(commit);
            }
            reached |= known == Some(commit);
            if !contains.contains(&known.unwrap_or(Oid::ZERO)) {
                chain.push(CommitView {
                    id: commit,
                    folders: self.commits[&commit].folders.clone(),
                });
            }
            at = self.commits[&commit].parent;
        }
        chain.reverse();
        if !reached {
            chain.clear();
        }
        Some(BranchView {
            tip,
            chain,
            contains,
        })
    }

    pub fn observe(&mut self, controller: usize) -> Observations {
        let newest = self.newest_entry();
        let state = &newest.state;
        let candidate = self.candidate(state);
        let mut references: BTreeSet<String> = self
            .refs
            .keys()
            .filter(|reference| reference.starts_with("refs/heads/"))
            .cloned()
            .collect();
        references.extend(
            state
                .intents
                .iter()
                .map(|intent| intent.draft.reference.clone()),
        );
        let branches = references
            .into_iter()
            .filter_map(|reference| {
                self.branch_view(state, &reference)
                    .map(|view| (reference, view))
            })
            .collect();
        let revert = self.revert_facts(state);
        let lacks_rollout = state.active().is_some_and(|rollout| {
            self.head()
                .is_some_and(|head| !self.ancestry(head).contains(&rollout.source))
        });
        let answered: BTreeSet<Oid> = self
            .log
            .iter()
            .filter_map(|logged| logged.entry.request.as_ref().map(|answer| answer.commit))
            .collect();
        let controller = &mut self.controllers[controller];
        Observations {
            me: controller.name.clone(),
            takeover_after: Duration::from_secs(15),
            push_deadline: Duration::from_secs(30),
            branches,
            config: ConfigView {
                head: self.refs.get(MAIN).copied(),
                candidate,
                lacks_rollout,
                revert,
            },
            requests: self
                .requests
                .iter()
                .filter(|request| !answered.contains(&request.commit))
                .cloned()
                .collect(),
            samples: std::mem::take(&mut controller.samples),
            pushes: std::mem::take(&mut controller.reports),
            recovered: controller.recovered.clone(),
        }
    }

    pub fn wall(&self) -> i64 {
        i64::try_from(self.now.as_secs()).unwrap() + self.wall_offset
    }

    /// The monotonic clock of one process.
    pub fn monotonic(&self, controller: usize) -> Duration {
        self.now.saturating_sub(self.controllers[controller].behind)
    }

    /// Looks and decides, without doing anything yet.
    pub fn think(&mut self, controller: usize) {
        let seen = self.observe(controller);
        let newest = self.newest_entry();
        let state = &newest.state;
        let now = Now {
            monotonic: self.monotonic(controller),
            wall: self.wall(),
        };
        let step = decide(state, &self.controllers[controller].watch, &seen, now);
        let controller = &mut self.controllers[controller];
        controller.watch = step.watch.clone();
        controller.probes.clone_from(&step.probes);
        controller.busy = step.busy;
        controller.pending = Some((state.seq, step));
    }

    /// Does what was decided; gives whether anything was done.
    pub fn act(&mut self, controller: usize) -> bool {
        let Some((seq, step)) = self.controllers[controller].pending.take() else {
            return false;
        };
        if let Some(append) = step.append {
            return self.push_entry(seq, append);
        }
        let orders = step.pushes;
        let mut moved = false;
        for order in orders {
            let outcome = self.push(&order, controller);
            moved |= matches!(outcome, PushOutcome::Moved);
            self.controllers[controller].reports.push(PushReport {
                reference: order.reference,
                new: order.new,
                outcome,
            });
        }
        moved
    }

    /// The commit of a move that the entry after this one allows.
    pub fn make(&mut self, draft: &DraftIntent, seq: u64) -> Oid {
        if draft.kind == MoveKind::SourceRevert {
            let parent = draft.onto.unwrap_or(draft.old);
            let files = self.trees[&draft.given.unwrap()].clone();
            return self.store_source(Source {
                parent: Some(parent),
                files,
                fixes: Vec::new(),
                reverts: draft.rollout.clone(),
            });
        }
        if let (MoveKind::Restore, Some(given)) = (draft.kind, draft.given) {
            return given;
        }
        let parent = (!draft.old.is_zero()).then_some(draft.old);
        let mut folders =
            parent.map_or_else(BTreeMap::new, |old| self.commits[&old].folders.clone());
        for change in &draft.folders {
            match change.tree {
                Some(tree) => folders.insert(change.region.clone(), tree),
                None => folders.remove(&change.region),
            };
        }
        let new = id(&("ours", seq, &draft.reference, draft.kind, parent, &folders));
        self.commits
            .insert(new, Arc::new(Commit { parent, folders }));
        new
    }

    // --- time ---------------------------------------------------------------------------------------------

    /// One controller looks and acts until it has nothing more to do at this moment.
    pub fn turn(&mut self, controller: usize) {
        assert!(
            self.comes_to_rest(controller),
            "it never comes to rest:\n{}",
            self.story()
        );
    }

    /// The same; tells whether it came to that.
    pub fn comes_to_rest(&mut self, controller: usize) -> bool {
        (0..100).any(|_| {
            self.think(controller);
            !self.act(controller)
        })
    }

    /// The regions answer whoever asks, as often as they were asked to.
    pub fn sample(&mut self) {
        for index in 0..self.controllers.len() {
            if !self.controllers[index].alive {
                continue;
            }
            let monotonic = self.monotonic(index);
            for probe in self.controllers[index].probes.clone() {
                let key = (probe.region.clone(), probe.gate.name.clone(), probe.phase);
                let due = self.controllers[index]
                    .sampled
                    .get(&key)
                    .is_none_or(|last| monotonic.saturating_sub(*last) >= probe.every)
                    && monotonic >= probe.not_before;
                if due {
                    let sample = self.answer(&probe);
                    let answer = Answer {
                        at: self.now,
                        controller: self.controllers[index].name.clone(),
                        monotonic,
                        rollout: probe.rollout.clone(),
                        phase: probe.phase,
                        region: probe.region.clone(),
                        tree: self.running(&probe.region),
                        reading: sample.reading,
                        is_healthy: matches!(sample.reading, Reading::Healthy { .. }),
                        is_bad: sample.reading == Reading::Bad,
                    };
                    self.answers.push(Arc::new(answer));
                    let controller = &mut self.controllers[index];
                    controller.sampled.insert(key, monotonic);
                    controller.samples.push(RegionSample {
                        rollout: probe.rollout,
                        region: probe.region,
                        gate: probe.gate.name,
                        phase: probe.phase,
                        at: monotonic,
                        sample,
                    });
                }
            }
        }
    }

    /// What runs in a region: the folder on the branch that `regions.json` names.
    pub fn running(&self, region: &str) -> Option<Oid> {
        let wave = &self.state().placements.get(region)?.wave;
        let tip = self.refs.get(&wave_ref(wave))?;
        self.commits[tip].folders.get(region).copied()
    }

    fn answer(&self, probe: &Probe) -> Sample {
        let GateCheck::Http(check) = &probe.gate.check else {
            let reading = if let Some(reading) = self.blind.get(&probe.region) {
                *reading
            } else if self.running(&probe.region) == Some(probe.place.tree) {
                Reading::Healthy { proven: true }
            } else {
                Reading::Stale
            };
            let evidence = "as the cluster shows".to_owned();
            return Sample { reading, evidence };
        };
        let expected = check
            .expect
            .json
            .get("/version")
            .and_then(|version| version.as_str())
            .unwrap_or_default();
        let running = self.running(&probe.region);
        let region = &probe.region;
        let bad = running.is_some_and(|tree| self.is_bad(tree, region));
        let (reading, evidence) = if self.denied.contains(region) {
            (Reading::EgressDenied, "loopback is not allowed".to_owned())
        } else if self.dark.contains(region) {
            (Reading::Unreachable, "timed out".to_owned())
        } else if self.outage.contains(region) || bad {
            (Reading::Bad, "answered 500".to_owned())
        } else {
            self.answer_of_a_revision(probe, expected, running)
        };
        Sample { reading, evidence }
    }

    /// What a region that answers well says: which revision it runs is judged as production does.
    fn answer_of_a_revision(
        &self,
        probe: &Probe,
        expected: &str,
        running: Option<Oid>,
    ) -> (Reading, String) {
        let is_lagging = self.lagging.contains(&probe.region) && probe.phase == Phase::After;
        let shown = if is_lagging {
            self.last_good(&probe.region)
        } else {
            running
        };
        let shown = shown.map(|tree| tree.to_string());
        let expects = |gate: &Gate| {
            let check = gate.check.as_http()?;
            let version = check.expect.json.get("/version")?;
            version.as_str().map(str::to_owned)
        };
        if shown.as_deref() == Some(expected) {
            (Reading::Healthy { proven: true }, "answered 200".to_owned())
        } else if shown.is_none() || probe.older.iter().any(|older| expects(older) == shown) {
            (Reading::Stale, "still an older revision".to_owned())
        } else {
            (Reading::Bad, "another revision".to_owned())
        }
    }

    fn is_bad(&self, tree: Oid, region: &str) -> bool {
        self.bad_trees.contains(&tree)
            || self
                .words_of(tree, region)
                .iter()
                .any(|word| self.bad_words.contains(word))
    }

    /// The tree that really runs well in a region at this moment, whoever asks.
    pub fn runs_well(&self, region: &str) -> Option<Oid> {
        let troubled = [&self.denied, &self.dark, &self.outage]
            .iter()
            .any(|trouble| trouble.contains(region));
        // One that lags runs its last good.
        let is_late =
            |tree: Oid| self.lagging.contains(region) && self.last_good(region) != Some(tree);
        self.running(region)
            .filter(|tree| !troubled && !is_late(*tree) && !self.is_bad(*tree, region))
    }

    fn words_of(&self, tree: Oid, region: &str) -> BTreeSet<String> {
        self.sources
            .values()
            .filter(|source| region_tree(&source.files, region) == tree)
            .flat_map(|source| [source.files.get("all"), source.files.get(region)])
            .flatten()
            .cloned()
            .collect()
    }

    /// One round: everybody does what there is to do, then time goes on and regions answer.
    pub fn round(&mut self) {
        for index in 0..self.controllers.len() {
            if self.controllers[index].alive {
                self.turn(index);
            }
        }
        self.pass(TICK);
        self.sample();
    }

    /// So much time passes, with nobody looking.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        for controller in &mut self.controllers {
            if controller.suspended {
                controller.behind += time;
            }
        }
    }

    /// Rounds until nobody is busy, at most a virtual day.
    pub fn run(&mut self) {
        for _ in 0..2_000 {
            self.round();
            let quiet = self
                .controllers
                .iter()
                .filter(|controller| controller.alive)
                .all(|controller| !controller.busy);
            if quiet {
                expect_clean(self);
                return;
            }
        }
        panic!("it never comes to rest:\n{}", self.story());
    }

    /// Rounds for so many virtual seconds.
    pub fn run_for(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(TICK.as_secs()) {
            self.round();
        }
        expect_clean(self);
    }

    /// Rounds until this is so.
    pub fn run_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if is_so(self) {
                expect_clean(self);
                return;
            }
            self.round();
        }
        panic!("never {what}:\n{}", self.story());
    }

    pub fn run_until_last(&mut self, kind: EntryKind) {
        let known = self.count(kind);
        self.run_until(&format!("{kind}"), |world| world.count(kind) > known);
    }

    /// The process dies and comes back without its cache.
    pub fn crash(&mut self, controller: usize) {
        let Controller { name, behind, .. } = &self.controllers[controller];
        self.controllers[controller] = Controller {
            behind: *behind,
            ..Controller::new(name)
        };
    }

    pub fn add_controller(&mut self, name: &str) -> usize {
        self.controllers.push(Controller::new(name));
        self.controllers.len() - 1
    }

    // --- looks ----------------------------------------------------------------------------------------------

    /// The commit below a tip (or the tip) that took away a region's folder, which the tip lacks.
    pub(super) fn removed_by(&self, tip: Oid, region: &str) -> Option<Oid> {
        let lacks = |id: &Oid| {
            self.commits
                .get(id)
                .is_some_and(|commit| !commit.folders.contains_key(region))
        };
        let chain = std::iter::successors(Some(tip), |id| {
            self.commits.get(id).and_then(|commit| commit.parent)
        });
        chain.take_while(lacks).last()
    }

    /// The tree that a branch holds for a region.
    pub fn folder(&self, wave: &str, region: &str) -> Option<Oid> {
        let tip = self.refs.get(&wave_ref(wave))?;
        self.commits[tip].folders.get(region).copied()
    }

    pub fn last_good(&self, region: &str) -> Option<Oid> {
        self.state().last_good.get(region).map(|good| good.tree)
    }

    pub fn region(&self, region: &str) -> crate::rollout::RegionState {
        self.state()
            .rollout
            .as_ref()
            .and_then(|rollout| rollout.region(region))
            .unwrap_or_else(|| panic!("{region} is in no rollout"))
            .1
            .state
    }

    pub fn holds(&self) -> Vec<crate::rollout::HoldReason> {
        self.state().holds.iter().map(|hold| hold.reason).collect()
    }

    pub fn rollout_state(&self) -> crate::rollout::RolloutState {
        self.state().rollout.as_ref().unwrap().state
    }
}

pub fn wave_ref(wave: &str) -> String {
    format!("refs/heads/tidegate/{wave}")
}
