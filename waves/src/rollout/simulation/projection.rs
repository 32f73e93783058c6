//! What of a world its future depends on, as one number: two worlds with the same number behave alike from here on, and
//! break the same promises or none. It is what makes the model checker's state space finite.
//!
//! What is left out, and why nothing can tell the difference:
//!
//! * **Absolute numbers.** Entries are numbered from zero and time goes on for ever. The rules compare an entry's number
//!   with the newest one for equality alone, so that only that equality is kept. They compare ages with a threshold, or
//!   sum them up to one, so that an age beyond the largest threshold is cut there. Wall-clock times are for people.
//! * **Ids** of commits and rollouts contain an entry's number. The rules compare ids for equality alone, so that they are
//!   replaced by what they stand for: a commit by its parent, its folders and what made it (and the how manieth of that
//!   kind it is), a rollout by its place among the rollouts. That is a renaming: distinct things keep distinct names.
//! * **Words** for people: subjects, reasons, evidence, messages. No rule reads them.
//! * **Who is who.** Controllers differ in their names alone; those of two are sorted by what they know.
//! * **History** that cannot come back. The auditor judges each new entry by the entries before it; what it asks them for
//!   is kept (see `Projection::residue`): the waves that passed, what was promoted, which rollouts failed or are being
//!   sealed, how intents were closed whose commits may still arrive, the number of answers up to what a verdict needs.

mod controller;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::world::World;
use crate::fleet::Sampling;
use crate::log::{DraftIntent, EntryKind, Intent, MoveKind};
use crate::oid::Oid;
use crate::rollout::{FleetState, Inherited, RegionRun, Rollout, Sealing, SourceRevert};

/// The number of a world.
#[must_use]
pub fn project(world: &World) -> u64 {
    Projection::new(world).number()
}

/// The largest thresholds that any rule compares an age or a sum with.
struct Thresholds {
    sampling: Sampling,
    bake: Duration,
    deadline: Duration,
    interval: Duration,
}

impl Thresholds {
    fn of(world: &World) -> Self {
        let policies = || world.specs.iter().flat_map(|spec| &spec.waves);
        let samplings = || world.specs.iter().map(|spec| spec.sampling);
        let every = samplings()
            .map(|sampling| sampling.every)
            .max()
            .unwrap_or_default();
        Self {
            sampling: Sampling {
                settle: samplings().filter_map(|sampling| sampling.settle).max(),
                every,
                timeout: samplings()
                    .map(|sampling| sampling.timeout)
                    .max()
                    .unwrap_or_default(),
                successes: samplings()
                    .map(|sampling| sampling.successes)
                    .max()
                    .unwrap_or(1),
                failures: samplings()
                    .map(|sampling| sampling.failures)
                    .max()
                    .unwrap_or(1),
            },
            bake: policies()
                .map(|(.., policy)| policy.bake)
                .max()
                .unwrap_or_default(),
            deadline: policies()
                .map(|(.., policy)| policy.progress_deadline)
                .max()
                .unwrap_or_default(),
            interval: every.max(Duration::from_secs(10)),
        }
    }
}

struct Projection<'a> {
    world: &'a World,
    limits: Thresholds,
    /// What ids stand for.
    commits: BTreeMap<Oid, u64>,
    /// The place of each rollout among them.
    rollouts: BTreeMap<&'a str, usize>,
}

fn digest(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

impl<'a> Projection<'a> {
    fn new(world: &'a World) -> Self {
        let mut rollouts = BTreeMap::new();
        for logged in &world.log {
            if logged.entry.kind == EntryKind::RolloutOpened
                && let Some(id) = &logged.entry.rollout
            {
                let place = rollouts.len();
                rollouts.entry(id.as_str()).or_insert(place);
            }
        }
        let mut projection = Self {
            world,
            limits: Thresholds::of(world),
            commits: BTreeMap::new(),
            rollouts,
        };
        projection.name_commits();
        projection
    }

    /// Names every commit by what it is. Those of intents come in the log's order, those of people where they are built
    /// on, so that a parent is named before its children.
    fn name_commits(&mut self) {
        let world = self.world;
        let mut made: BTreeMap<u64, u32> = BTreeMap::new();
        for source in world.sources.keys() {
            self.name_source(*source);
        }
        for logged in &world.log {
            for intent in &logged.intents {
                if intent.draft.kind == MoveKind::SourceRevert {
                    continue;
                }
                self.name_foreign(intent.draft.old);
                let basis = digest(("ours", self.draft(&intent.draft)));
                let times = made.entry(basis).or_insert(0);
                *times += 1;
                let name = digest((basis, *times));
                self.commits.entry(intent.new).or_insert(name);
            }
        }
        for commit in &world.foreign {
            self.name_foreign(*commit);
        }
    }

    fn name_source(&mut self, source: Oid) -> u64 {
        if let Some(name) = self.commits.get(&source) {
            return *name;
        }
        let world = self.world;
        let name = match world.sources.get(&source) {
            None => digest(source),
            Some(commit) => {
                let parent = commit.parent.map(|parent| self.name_source(parent));
                let reverts = commit.reverts.as_deref().map(|id| self.rollout_name(id));
                // Two reverts of the same rollout on the same parent are distinct commits.
                let twin = world
                    .log
                    .iter()
                    .flat_map(|logged| &logged.intents)
                    .position(|intent| intent.new == source)
                    .map(|position| {
                        world
                            .log
                            .iter()
                            .flat_map(|logged| &logged.intents)
                            .take(position)
                            .filter(|intent| intent.draft.kind == MoveKind::SourceRevert)
                            .count()
                    });
                digest(("source", parent, &commit.files, reverts, twin))
            }
        };
        self.commits.insert(source, name);
        name
    }

    fn name_foreign(&mut self, commit: Oid) {
        let world = self.world;
        if self.commits.contains_key(&commit) || !world.foreign.contains(&commit) {
            return;
        }
        let Some(theirs) = world.commits.get(&commit) else {
            return;
        };
        if let Some(parent) = theirs.parent {
            self.name_foreign(parent);
        }
        let name = digest((
            "theirs",
            theirs.parent.map(|parent| self.oid(parent)),
            &theirs.folders,
        ));
        self.commits.insert(commit, name);
    }

    /// What an id stands for; trees and plans are named by their content already.
    fn oid(&self, id: Oid) -> u64 {
        self.commits.get(&id).copied().unwrap_or_else(|| digest(id))
    }

    fn maybe(&self, id: Option<Oid>) -> Option<u64> {
        id.map(|id| self.oid(id))
    }

    fn rollout_name(&self, id: &str) -> u64 {
        digest(self.rollouts.get(id))
    }

    fn rollout_id(&self, id: Option<&str>) -> Option<u64> {
        id.map(|id| self.rollout_name(id))
    }

    fn reference(&self, reference: &str) -> u64 {
        match reference.strip_prefix("refs/heads/tidegate-revert/") {
            Some(rollout) => digest(("revert of", self.rollout_name(rollout))),
            None => digest(reference),
        }
    }

    fn age(&self, at: Duration, limit: Duration) -> Duration {
        self.world.now.saturating_sub(at).min(limit)
    }

    fn number(&self) -> u64 {
        let world = self.world;
        let mut controllers: Vec<u64> = world
            .controllers
            .iter()
            .map(|controller| self.controller(controller))
            .collect();
        controllers.sort_unstable();
        let refs: BTreeMap<u64, u64> = world
            .refs
            .iter()
            .map(|(reference, tip)| (self.reference(reference), self.oid(*tip)))
            .collect();
        let mut delayed: Vec<_> = world
            .delayed
            .iter()
            .map(|order| {
                (
                    self.reference(&order.reference),
                    self.oid(order.old),
                    self.oid(order.new),
                )
            })
            .collect();
        delayed.sort_unstable();
        let answered: BTreeSet<Oid> = world
            .log
            .iter()
            .filter_map(|logged| logged.entry.request.as_ref().map(|answer| answer.commit))
            .collect();
        let asked: Vec<_> = world
            .requests
            .iter()
            .filter(|request| !answered.contains(&request.commit))
            .map(|request| {
                (
                    request.verb,
                    self.maybe(request.to),
                    &request.regions,
                    request.option.map(|option| option as u8),
                )
            })
            .collect();
        digest((
            self.state(world.state()),
            controllers,
            refs,
            delayed,
            asked,
            (&world.bad_trees, &world.bad_words),
            (
                &world.outage,
                &world.dark,
                &world.blind,
                &world.denied,
                &world.lagging,
            ),
            &world.damaged,
            self.residue(),
        ))
    }

    // --- the log --------------------------------------------------------------------------------------------

    fn draft(&self, draft: &DraftIntent) -> u64 {
        let folders: Vec<_> = draft
            .folders
            .iter()
            .map(|change| (&change.region, self.maybe(change.tree)))
            .collect();
        digest((
            self.reference(&draft.reference),
            self.oid(draft.old),
            draft.kind,
            &draft.wave,
            folders,
            self.maybe(draft.given),
            self.maybe(draft.onto),
            self.rollout_id(draft.rollout.as_deref()),
            self.maybe(draft.source),
        ))
    }

    fn intent(&self, intent: &Intent) -> u64 {
        digest((self.draft(&intent.draft), self.oid(intent.new)))
    }

    fn state(&self, state: &FleetState) -> u64 {
        let last_good: Vec<_> = state
            .last_good
            .iter()
            .map(|(region, good)| (region, good.tree, self.oid(good.source)))
            .collect();
        let branches: Vec<_> = state
            .branches
            .iter()
            .map(|(wave, branch)| (wave, self.maybe(branch.tip), &branch.folders, &branch.ours))
            .collect();
        let placements: Vec<_> = state
            .placements
            .iter()
            .map(|(region, placement)| (region, &placement.wave))
            .collect();
        let intents: Vec<u64> = state
            .intents
            .iter()
            .map(|intent| self.intent(intent))
            .collect();
        let holds: Vec<_> = state
            .holds
            .iter()
            .map(|hold| {
                (
                    hold.reason,
                    self.maybe(hold.source),
                    self.rollout_id(hold.rollout.as_deref()),
                    &hold.wave,
                    &hold.regions,
                    hold.until,
                )
            })
            .collect();
        let quarantine: Vec<_> = state
            .quarantine
            .iter()
            .map(|item| {
                (
                    self.oid(item.source),
                    self.maybe(item.base),
                    self.rollout_name(&item.rollout),
                    &item.digests,
                    item.isolated,
                )
            })
            .collect();
        let mut waived: Vec<_> = state
            .waived
            .iter()
            .map(|(source, waiver)| {
                (
                    self.oid(*source),
                    &waiver.approved,
                    waiver.retry,
                    &waiver.regions,
                )
            })
            .collect();
        waived.sort_unstable();
        let owed: Vec<_> = state
            .owed
            .iter()
            .map(|(wave, owed)| {
                (
                    wave,
                    self.rollout_id(owed.rollout.as_deref()),
                    self.maybe(owed.source),
                    &owed.regions,
                    &owed.trees,
                )
            })
            .collect();
        let asked: Vec<_> = state
            .asked_for_next
            .iter()
            .map(|asked| asked.verb)
            .collect();
        digest((
            (
                state
                    .settled
                    .as_ref()
                    .map(|settled| self.oid(settled.source)),
                state.proven,
                last_good,
                branches,
                placements,
                intents,
            ),
            state.rollout.as_ref().map(|rollout| self.rollout(rollout)),
            (holds, quarantine, &state.kept, &state.set_aside),
            (
                self.maybe(state.invalid),
                self.maybe(state.not_again),
                waived,
                self.maybe(state.hotfix),
                asked,
                owed,
            ),
        ))
    }

    fn rollout(&self, rollout: &Rollout) -> u64 {
        let waves: Vec<_> = rollout
            .waves
            .iter()
            .map(|wave| {
                let regions: Vec<_> = wave
                    .regions
                    .iter()
                    .map(|(region, run)| (region, run_of(run)))
                    .collect();
                (&wave.name, wave.state, regions)
            })
            .collect();
        let commits: Vec<u64> = rollout
            .commits
            .iter()
            .map(|commit| self.oid(commit.id))
            .collect();
        let base_last_good: Vec<_> = rollout
            .base_last_good
            .iter()
            .map(|(region, good)| (region, good.tree))
            .collect();
        let inherited: Vec<_> = rollout
            .inherited
            .iter()
            .map(|(region, inherited)| (region, inherited_of(inherited)))
            .collect();
        let waived: BTreeSet<u64> = rollout
            .waived_quarantine
            .iter()
            .map(|source| self.oid(*source))
            .collect();
        let failure = rollout.failure.as_ref().map(failure_of);
        let sealing = rollout.sealing.as_ref().map(|sealing| match sealing {
            Sealing::Failed { failure } => digest(("failed", failure_of(failure))),
            Sealing::Superseded { by } => digest(("superseded", self.oid(*by))),
            Sealing::Aborted { keep, .. } => digest(("aborted", keep)),
        });
        let source_revert = match rollout.source_revert {
            SourceRevert::Proposed { commit } => ("proposed", self.maybe(Some(commit))),
            SourceRevert::Pushed { commit } => ("pushed", self.maybe(Some(commit))),
            SourceRevert::None => ("none", None),
            SourceRevert::Wanted => ("wanted", None),
            SourceRevert::Proposing => ("proposing", None),
            SourceRevert::NotNeeded => ("not needed", None),
            SourceRevert::NotWanted => ("not wanted", None),
            SourceRevert::Impossible => ("impossible", None),
        };
        let asked: Vec<_> = rollout.asked.iter().map(|asked| asked.verb).collect();
        digest((
            (
                self.rollout_name(&rollout.id),
                self.oid(rollout.source),
                commits,
                self.maybe(rollout.base),
                rollout.plan_commit,
                base_last_good,
            ),
            (
                &rollout.revert_trees,
                &rollout.removals,
                rollout.first,
                rollout.hotfix,
                self.rollout_id(rollout.supersedes.as_deref()),
                rollout.state,
            ),
            (waves, sealing, failure, source_revert),
            (rollout.revert_obstacle.is_some(), waived, inherited, asked),
        ))
    }

    /// What the auditor asks the past for when it judges what comes.
    fn residue(&self) -> u64 {
        let world = self.world;
        let state = world.state();
        let current = state.rollout.as_ref().map(|rollout| rollout.id.as_str());
        let mut passed = BTreeSet::new();
        let mut promoted = BTreeSet::new();
        let mut failed = BTreeSet::new();
        let mut sealing = None;
        let mut excused = BTreeSet::new();
        let mut closed = BTreeMap::new();
        let mut progress = None;
        for logged in &world.log {
            let entry = &logged.entry;
            let is_current = entry.rollout.as_deref() == current;
            excused.extend(entry.open.iter().map(|(_, new)| *new));
            for closing in &entry.closed {
                closed.insert(closing.new, closing.outcome);
            }
            match entry.kind {
                EntryKind::WavePassed if is_current => {
                    passed.insert(&entry.wave);
                }
                EntryKind::Sealing => sealing = entry.rollout.as_deref(),
                EntryKind::Failed => {
                    failed.extend(self.rollout_id(entry.rollout.as_deref()));
                    sealing = None;
                }
                EntryKind::Superseded | EntryKind::Aborted => sealing = None,
                EntryKind::Progress => progress = Some(logged.at),
                _ => {}
            }
            for intent in &logged.intents {
                if intent.draft.kind == MoveKind::Promote
                    && intent.draft.rollout.as_deref() == current
                {
                    promoted.extend(
                        intent
                            .draft
                            .folders
                            .iter()
                            .map(|change| (&change.region, change.tree)),
                    );
                }
            }
        }
        let open: Vec<(u64, bool)> = state
            .intents
            .iter()
            .map(|intent| (self.oid(intent.new), excused.contains(&intent.new)))
            .collect();
        let may_arrive: BTreeSet<_> = world
            .refs
            .values()
            .copied()
            .chain(world.delayed.iter().map(|order| order.new))
            .map(|commit| (self.oid(commit), closed.get(&commit)))
            .collect();
        digest((
            passed,
            promoted,
            failed,
            sealing.map(|id| self.rollout_name(id)),
            open,
            may_arrive,
            progress.map(|at| self.age(at, self.limits.interval)),
            self.answers(),
        ))
    }

    /// How many answers there were about each tree, up to what a verdict needs, and for how long it has been healthy.
    fn answers(&self) -> u64 {
        #[derive(Default, Hash)]
        struct Count {
            healthy: u32,
            bad: u32,
            healthy_for: Option<Duration>,
        }
        let mut counts: BTreeMap<(&str, Option<Oid>), Count> = BTreeMap::new();
        for answer in &self.world.answers {
            let count = counts
                .entry((answer.region.as_str(), answer.tree))
                .or_default();
            if answer.is_bad {
                count.bad = (count.bad + 1).min(self.limits.sampling.failures);
            }
            if answer.is_healthy {
                count.healthy = (count.healthy + 1).min(self.limits.sampling.successes);
                count
                    .healthy_for
                    .get_or_insert(self.age(answer.at, self.limits.bake));
            }
        }
        digest(counts)
    }

    // --- controllers ------------------------------------------------------------------------------------------
}

fn world_numbers(state: &FleetState) -> (u64, u64) {
    (state.seq, state.epoch)
}

fn run_of(run: &RegionRun) -> u64 {
    digest((
        run.state,
        run.before,
        run.proven,
        run.was_healthy,
        run.left_out,
    ))
}

fn inherited_of(inherited: &Inherited) -> u64 {
    digest((
        inherited.tree,
        inherited.before,
        inherited.was_healthy,
        inherited.judged,
        inherited
            .earlier
            .iter()
            .map(|earlier| earlier.tree)
            .collect::<Vec<_>>(),
    ))
}

fn failure_of(failure: &crate::rollout::Failure) -> u64 {
    digest((
        failure.reason,
        &failure.wave,
        &failure.region,
        &failure.gate,
        failure.tree,
    ))
}
