//! A small world in memory that drives [`decide`]: branches as commit graphs, a log, a config branch whose
//! commits render by a rule, regions that follow their branch, several controllers, people, and faults.
//!
//! Everything is deterministic: ids are hashes of what they name, and time is a number.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::auditor::expect_clean;
pub(super) use super::fleet::Spec;
use super::fleet::region_tree;
use crate::fleet::GateCheck;
use crate::gate::{Reading, Sample};
use crate::log::{DraftIntent, Entry, EntryKind, Intent, MoveKind};
use crate::oid::Oid;
use crate::rollout::{
    BranchView, CommitView, ConfigView, Finding, FleetIdentity, FleetState, Now, Observations,
    Phase, Probe, PushOrder, PushOutcome, PushReport, RecoveredSums, RegionSample, Request, Step,
    Watch, create, decide,
};

pub(super) const MAIN: &str = "refs/heads/main";
/// How far the clock goes from one round to the next.
pub(super) const TICK: Duration = Duration::from_secs(5);

/// An id that depends on nothing but what is hashed.
pub(super) fn id(what: &impl Hash) -> Oid {
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
pub(super) struct Commit {
    pub(super) parent: Option<Oid>,
    pub(super) folders: BTreeMap<String, Oid>,
}

/// The content of a config commit: paths and what stands in them. `all` and `<region>` make trees, `spec`
/// names one of the world's [`Spec`]s, `broken` makes it invalid.
pub(super) type Files = BTreeMap<String, String>;

/// A commit of the config branch.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) parent: Option<Oid>,
    pub(super) files: Files,
    pub(super) fixes: Vec<Oid>,
    pub(super) reverts: Option<String>,
}

/// What a push to a ref comes to, instead of moving it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing arrives, and nobody knows.
    Lost,
    /// It arrives, and nobody knows.
    AnswerLost,
    /// It arrives when [`World::deliver`] is called.
    Delayed,
    /// The server says no.
    Refused,
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub(super) struct Logged {
    pub(super) entry: Entry,
    pub(super) intents: Vec<Intent>,
    pub(super) state: FleetState,
    pub(super) at: Duration,
}

/// One process.
#[derive(Debug, Clone)]
pub(super) struct Controller {
    pub(super) name: String,
    pub(super) watch: Watch,
    pub(super) probes: Vec<Probe>,
    pub(super) busy: bool,
    sampled: BTreeMap<(String, String, Phase), Duration>,
    samples: Vec<RegionSample>,
    reports: Vec<PushReport>,
    /// What an earlier run had counted.
    pub(super) recovered: BTreeMap<String, RecoveredSums>,
    pub(super) alive: bool,
    /// A step that was decided and not carried out yet, and the entry that it was decided on.
    pub(super) pending: Option<(u64, Step)>,
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
            pending: None,
        }
    }
}

/// Everything there is.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) log: Vec<Logged>,
    pub(super) commits: BTreeMap<Oid, Commit>,
    pub(super) refs: BTreeMap<String, Oid>,
    pub(super) sources: BTreeMap<Oid, Source>,
    pub(super) trees: BTreeMap<Oid, Files>,
    pub(super) specs: Vec<Spec>,
    pub(super) controllers: Vec<Controller>,
    pub(super) now: Duration,
    /// Region trees that answer badly once they run.
    pub(super) bad_trees: BTreeSet<Oid>,
    /// Texts in `all` or in a region's file that make every tree with them answer badly.
    pub(super) bad_words: BTreeSet<String>,
    /// Regions that answer badly whatever runs there.
    pub(super) outage: BTreeSet<String>,
    /// Regions that do not answer.
    pub(super) dark: BTreeSet<String>,
    /// Regions that the egress rules forbid.
    pub(super) denied: BTreeSet<String>,
    /// Regions whose follower does not move: they answer with the old revision.
    pub(super) lagging: BTreeSet<String>,
    pub(super) requests: Vec<Request>,
    pub(super) faults: BTreeMap<String, Fault>,
    pub(super) delayed: Vec<PushOrder>,
    pub(super) findings: BTreeMap<Oid, Vec<Finding>>,
    pub(super) revert_trees: BTreeMap<Oid, BTreeMap<String, Oid>>,
    /// All that ever stood on a ref that we pushed: ref, old, new, who.
    pub(super) pushed: Vec<(String, Oid, Oid, String)>,
    /// Commits of people on wave branches.
    pub(super) foreign: BTreeSet<Oid>,
    /// Branches that people deleted or rewrote.
    pub(super) damaged: BTreeSet<String>,
    /// What regions really answered about the tree that ran there, with the plan's gates.
    pub(super) answers: Vec<Answer>,
}

/// What a region answered, and about which tree.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) at: Duration,
    pub(super) region: String,
    pub(super) tree: Option<Oid>,
    pub(super) is_healthy: bool,
    pub(super) is_bad: bool,
}

impl World {
    /// A world whose config branch begins with this spec and the words `v1`, and one controller, `a`.
    pub(super) fn new(spec: Spec) -> Self {
        let mut world = Self {
            log: Vec::new(),
            commits: BTreeMap::new(),
            refs: BTreeMap::new(),
            sources: BTreeMap::new(),
            trees: BTreeMap::new(),
            specs: vec![spec],
            controllers: vec![Controller::new("a")],
            now: Duration::from_secs(1_000),
            bad_trees: BTreeSet::new(),
            bad_words: BTreeSet::new(),
            outage: BTreeSet::new(),
            dark: BTreeSet::new(),
            denied: BTreeSet::new(),
            lagging: BTreeSet::new(),
            requests: Vec::new(),
            faults: BTreeMap::new(),
            delayed: Vec::new(),
            findings: BTreeMap::new(),
            revert_trees: BTreeMap::new(),
            pushed: Vec::new(),
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
        world.log.push(Logged {
            entry,
            intents,
            state,
            at: world.now,
        });
        world
    }

    /// The same, with its first rollout carried to the end.
    pub(super) fn settled(spec: Spec) -> Self {
        let mut world = Self::new(spec);
        world.run();
        assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
        world
    }

    pub(super) fn state(&self) -> &FleetState {
        &self.log.last().unwrap().state
    }

    pub(super) fn last(&self) -> EntryKind {
        self.log.last().unwrap().entry.kind
    }

    pub(super) fn kinds(&self) -> Vec<EntryKind> {
        self.log.iter().map(|logged| logged.entry.kind).collect()
    }

    pub(super) fn count(&self, kind: EntryKind) -> usize {
        self.kinds()
            .into_iter()
            .filter(|known| *known == kind)
            .count()
    }

    /// The newest entry of a kind.
    pub(super) fn newest(&self, kind: EntryKind) -> &Logged {
        self.log
            .iter()
            .rev()
            .find(|logged| logged.entry.kind == kind)
            .unwrap_or_else(|| panic!("no {kind} in\n{}", self.story()))
    }

    pub(super) fn position(&self, kind: EntryKind) -> usize {
        self.kinds()
            .iter()
            .rposition(|known| *known == kind)
            .unwrap_or_else(|| panic!("no {kind} in\n{}", self.story()))
    }

    /// The log in words, for messages of tests.
    pub(super) fn story(&self) -> String {
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

    pub(super) fn observe(&mut self, controller: usize) -> Observations {
        let state = self.state().clone();
        let candidate = self.candidate(&state);
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
                self.branch_view(&state, &reference)
                    .map(|view| (reference, view))
            })
            .collect();
        let revert = self.revert_facts(&state);
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

    pub(super) fn wall(&self) -> i64 {
        i64::try_from(self.now.as_secs()).unwrap()
    }

    /// Looks and decides, without doing anything yet.
    pub(super) fn think(&mut self, controller: usize) {
        let seen = self.observe(controller);
        let state = self.state().clone();
        let now = Now {
            monotonic: self.now,
            wall: self.wall(),
        };
        let step = decide(&state, &self.controllers[controller].watch, &seen, now);
        let controller = &mut self.controllers[controller];
        controller.watch = step.watch.clone();
        controller.probes.clone_from(&step.probes);
        controller.busy = step.busy;
        controller.pending = Some((state.seq, step));
    }

    /// Does what was decided; gives whether anything was done.
    pub(super) fn act(&mut self, controller: usize) -> bool {
        let Some((seq, step)) = self.controllers[controller].pending.take() else {
            return false;
        };
        if let Some(append) = step.append {
            // The log's ref is compared and swapped: whoever is late has to look again.
            if seq != self.state().seq {
                return false;
            }
            let (entry, intents, state) = append
                .complete(|draft| Ok::<_, ()>(self.make(draft, seq)))
                .unwrap();
            self.log.push(Logged {
                entry,
                intents,
                state,
                at: self.now,
            });
            return true;
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

    fn make(&mut self, draft: &DraftIntent, seq: u64) -> Oid {
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
        self.commits.insert(new, Commit { parent, folders });
        new
    }

    fn push(&mut self, order: &PushOrder, controller: usize) -> PushOutcome {
        match self.faults.get(&order.reference) {
            Some(Fault::Refused) => {
                return PushOutcome::Refused {
                    message: "protected".to_owned(),
                };
            }
            Some(Fault::Lost) => return PushOutcome::Ambiguous,
            Some(Fault::Delayed) => {
                if !self.delayed.contains(order) {
                    self.delayed.push(order.clone());
                }
                return PushOutcome::Ambiguous;
            }
            Some(Fault::AnswerLost) => {
                self.swap(order, controller);
                return PushOutcome::Ambiguous;
            }
            None => {}
        }
        if self.swap(order, controller) {
            PushOutcome::Moved
        } else {
            PushOutcome::LostRace
        }
    }

    fn swap(&mut self, order: &PushOrder, controller: usize) -> bool {
        let stands = self
            .refs
            .get(&order.reference)
            .copied()
            .unwrap_or(Oid::ZERO);
        if stands != order.old {
            return false;
        }
        self.refs.insert(order.reference.clone(), order.new);
        let who = self
            .controllers
            .get(controller)
            .map_or_else(|| "late".to_owned(), |controller| controller.name.clone());
        self.pushed
            .push((order.reference.clone(), order.old, order.new, who));
        true
    }

    /// A delayed push arrives at last.
    pub(super) fn deliver(&mut self) {
        for order in std::mem::take(&mut self.delayed) {
            self.swap(&order, usize::MAX);
        }
    }

    // --- time ---------------------------------------------------------------------------------------------

    /// One controller looks and acts until it has nothing more to do at this moment.
    pub(super) fn turn(&mut self, controller: usize) {
        for _ in 0..100 {
            self.think(controller);
            if !self.act(controller) {
                return;
            }
        }
        panic!("it never comes to rest:\n{}", self.story());
    }

    /// The regions answer whoever asks, as often as they were asked to.
    pub(super) fn sample(&mut self) {
        for index in 0..self.controllers.len() {
            if !self.controllers[index].alive {
                continue;
            }
            for probe in self.controllers[index].probes.clone() {
                let key = (probe.region.clone(), probe.gate.name.clone(), probe.phase);
                let due = self.controllers[index]
                    .sampled
                    .get(&key)
                    .is_none_or(|last| self.now.saturating_sub(*last) >= probe.every)
                    && self.now >= probe.not_before;
                if due {
                    let sample = self.answer(&probe);
                    let answer = Answer {
                        at: self.now,
                        region: probe.region.clone(),
                        tree: self.running(&probe.region),
                        is_healthy: matches!(sample.reading, Reading::Healthy { .. }),
                        is_bad: sample.reading == Reading::Bad,
                    };
                    self.answers.push(answer);
                    let controller = &mut self.controllers[index];
                    controller.sampled.insert(key, self.now);
                    controller.samples.push(RegionSample {
                        rollout: probe.rollout,
                        region: probe.region,
                        gate: probe.gate.name,
                        phase: probe.phase,
                        at: self.now,
                        sample,
                    });
                }
            }
        }
    }

    /// What runs in a region: the folder on the branch that `regions.json` names.
    pub(super) fn running(&self, region: &str) -> Option<Oid> {
        let wave = &self.state().placements.get(region)?.wave;
        let tip = self.refs.get(&wave_ref(wave))?;
        self.commits[tip].folders.get(region).copied()
    }

    fn answer(&self, probe: &Probe) -> Sample {
        let GateCheck::Http(check) = &probe.gate.check;
        let expected = check
            .expect
            .json
            .get("/version")
            .and_then(|version| version.as_str())
            .unwrap_or_default();
        let running = self.running(&probe.region);
        let region = &probe.region;
        let bad = running.is_some_and(|tree| {
            self.bad_trees.contains(&tree)
                || self
                    .words_of(tree, region)
                    .iter()
                    .any(|word| self.bad_words.contains(word))
        });
        let (reading, evidence) = if self.denied.contains(region) {
            (Reading::EgressDenied, "loopback is not allowed".to_owned())
        } else if self.dark.contains(region) {
            (Reading::Unreachable, "timed out".to_owned())
        } else if self.outage.contains(region) || bad {
            (Reading::Bad, "answered 500".to_owned())
        } else if self.lagging.contains(region) && probe.phase == Phase::After {
            (Reading::Stale, "still the old revision".to_owned())
        } else if running.map(|tree| tree.to_string()).as_deref() == Some(expected) {
            (Reading::Healthy { proven: true }, "answered 200".to_owned())
        } else {
            (Reading::Stale, "still the old revision".to_owned())
        };
        Sample { reading, evidence }
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
    pub(super) fn round(&mut self) {
        for index in 0..self.controllers.len() {
            if self.controllers[index].alive {
                self.turn(index);
            }
        }
        self.now += TICK;
        self.sample();
    }

    /// Rounds until nobody is busy, at most a virtual day.
    pub(super) fn run(&mut self) {
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
    pub(super) fn run_for(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(TICK.as_secs()) {
            self.round();
        }
        expect_clean(self);
    }

    /// Rounds until this is so.
    pub(super) fn run_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if is_so(self) {
                expect_clean(self);
                return;
            }
            self.round();
        }
        panic!("never {what}:\n{}", self.story());
    }

    pub(super) fn run_until_last(&mut self, kind: EntryKind) {
        let known = self.count(kind);
        self.run_until(&format!("{kind}"), |world| world.count(kind) > known);
    }

    /// The process dies and comes back without its cache.
    pub(super) fn crash(&mut self, controller: usize) {
        let name = self.controllers[controller].name.clone();
        self.controllers[controller] = Controller::new(&name);
    }

    pub(super) fn add_controller(&mut self, name: &str) -> usize {
        self.controllers.push(Controller::new(name));
        self.controllers.len() - 1
    }

    // --- looks ----------------------------------------------------------------------------------------------

    /// The tree that a branch holds for a region.
    pub(super) fn folder(&self, wave: &str, region: &str) -> Option<Oid> {
        let tip = self.refs.get(&wave_ref(wave))?;
        self.commits[tip].folders.get(region).copied()
    }

    pub(super) fn last_good(&self, region: &str) -> Option<Oid> {
        self.state().last_good.get(region).map(|good| good.tree)
    }

    pub(super) fn region(&self, region: &str) -> crate::rollout::RegionState {
        self.state()
            .rollout
            .as_ref()
            .and_then(|rollout| rollout.region(region))
            .unwrap_or_else(|| panic!("{region} is in no rollout"))
            .1
            .state
    }

    pub(super) fn holds(&self) -> Vec<crate::rollout::HoldReason> {
        self.state().holds.iter().map(|hold| hold.reason).collect()
    }

    pub(super) fn rollout_state(&self) -> crate::rollout::RolloutState {
        self.state().rollout.as_ref().unwrap().state
    }
}

pub(super) fn wave_ref(wave: &str) -> String {
    format!("refs/heads/tidegate/{wave}")
}
