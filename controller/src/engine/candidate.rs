//! The config branch's head: which commit is to be carried next, what it renders to, and how it relates to
//! what is settled and what failed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_renderer::cache::RenderCache;
use tidegate_renderer::config::{self, LoadedFleet};
use tidegate_renderer::diff::{self, Inventory};
use tidegate_renderer::problem::{Problem, Severity};
use tidegate_renderer::render::{RenderedObject, policy_of, render};
use tidegate_renderer::source::GitTree;
use tidegate_renderer::tree::{
    MODE_TREE, NewCommit, ObjectStore, StoreError, TreeEntry, from_git, to_git,
};
use tidegate_renderer::worker::TemplateWorker;
use tidegate_waves::oid::Oid;
use tidegate_waves::plan::{RangeCommit, Wanted, carried_next};
use tidegate_waves::rollout::{
    Candidate, CandidateOutcome, FleetState, HoldReason, QuarantineFact, RevertFacts, RevertResult,
    RolloutState, SourceCommit, SourceRevert, ValidCandidate, Waiver, would_be_held,
};
use tracing::{info, warn};

use super::inputs::{self, Inputs, Part, Parts};
use super::{EngineError, FleetOptions, message};
use crate::git::history::{CommitView, History, MergeResult};
use crate::git::trailers::one_line;

/// The least time between two attempts to render a commit that this machine could not render.
const RENDER_PAUSE: Duration = Duration::from_secs(5);

/// How many renders are remembered.
const REMEMBERED: usize = 16;

/// How many commits directly after a failed one, and of the newest, are looked at for one that undid it.
const LOOKED_AT_FOR_UNDOING: usize = 100;

/// How many of the paths in which a revert conflicts are named.
const CONFLICTS_NAMED: usize = 5;

/// What rendering a commit needs.
pub(super) struct Context<'a> {
    pub(super) store: &'a Arc<ObjectStore>,
    pub(super) mirror: &'a Path,
    pub(super) history: &'a History,
    pub(super) templates: &'a (dyn TemplateWorker + Send + Sync),
    pub(super) cache: &'a RenderCache,
    pub(super) options: &'a FleetOptions,
}

/// What was rendered and compared already.
#[derive(Default)]
pub(super) struct Cache {
    rendered: BTreeMap<Oid, Rendered>,
    order: Vec<Oid>,
    /// The newest valid commit: what it was rendered from, and what it rendered to.
    last: Option<(Inputs, Arc<Wanted>)>,
    newest: Option<(Key, Option<Candidate>)>,
    /// The newest answer of [`Cache::contains`]: which commit, in which head, and whether it is.
    contained: Option<(Oid, Oid, bool)>,
    /// What stands in the trees that are compared.
    inventory: Inventory,
    failed: Option<(Oid, String, Instant)>,
}

/// Everything that a candidate depends on.
#[derive(Clone, PartialEq)]
struct Key {
    head: Oid,
    settled: Option<Oid>,
    newest: Option<(Oid, RolloutState)>,
    last_good: BTreeMap<String, Oid>,
    on_branches: BTreeMap<String, Oid>,
    quarantine: Vec<Oid>,
    hotfix: Option<Oid>,
    not_again: Option<Oid>,
    waived: BTreeMap<Oid, Waiver>,
}

/// What a commit renders to, by itself.
#[derive(Clone)]
enum Rendered {
    Invalid(String),
    Valid {
        wanted: Arc<Wanted>,
        plan_commit: Oid,
    },
}

impl Cache {
    /// What the head would give a fleet that has no log yet.
    pub(super) fn outcome_without_log(
        &mut self,
        context: &Context<'_>,
        head: Oid,
    ) -> Result<CandidateOutcome, EngineError> {
        Ok(match self.render(context, None, head)? {
            Rendered::Invalid(message) => CandidateOutcome::Invalid { message },
            Rendered::Valid {
                wanted,
                plan_commit,
            } => CandidateOutcome::Valid(Box::new(ValidCandidate {
                wanted,
                plan_commit,
                revert_trees: BTreeMap::new(),
                findings: Vec::new(),
                quarantine: Vec::new(),
            })),
        })
    }

    /// Whether a head is this source or descends from it.
    pub(super) fn contains(
        &mut self,
        history: &History,
        source: Oid,
        head: Oid,
    ) -> Result<bool, EngineError> {
        if let Some((_, _, is_contained)) = self
            .contained
            .filter(|(asked, within, _)| *asked == source && *within == head)
        {
            return Ok(is_contained);
        }
        let is_contained = source == head || history.is_ancestor(source, head)?;
        self.contained = Some((source, head, is_contained));
        Ok(is_contained)
    }

    /// What is to be carried next, if anything.
    pub(super) fn candidate(
        &mut self,
        context: &Context<'_>,
        state: &FleetState,
        head: Oid,
    ) -> Result<Option<Candidate>, EngineError> {
        let key = Key {
            head,
            settled: state.settled.as_ref().map(|settled| settled.source),
            newest: state
                .rollout
                .as_ref()
                .map(|rollout| (rollout.source, rollout.state)),
            last_good: state
                .last_good
                .iter()
                .map(|(region, good)| (region.clone(), good.tree))
                .collect(),
            on_branches: on_branches(state),
            quarantine: state.quarantine.iter().map(|item| item.source).collect(),
            hotfix: state.hotfix,
            not_again: state.not_again,
            waived: state.waived.clone(),
        };
        if let Some((known, candidate)) = &self.newest
            && *known == key
        {
            return Ok(candidate.clone());
        }
        let candidate = self.look(context, state, &key)?;
        self.newest = Some((key, candidate.clone()));
        Ok(candidate)
    }

    fn look(
        &mut self,
        context: &Context<'_>,
        state: &FleetState,
        key: &Key,
    ) -> Result<Option<Candidate>, EngineError> {
        let head = key.head;
        let active = state.active().map(|rollout| rollout.source);
        if Some(head) == key.settled || Some(head) == active {
            return Ok(None);
        }
        let descends = match key.settled {
            Some(settled) => context.history.same_first_parent_chain(settled, head)?,
            None => true,
        };
        let range = match key.settled {
            Some(settled) if descends => context
                .history
                .chain(Some(settled), head)?
                .unwrap_or_default(),
            _ => vec![context.history.commit(head)?],
        };
        // Below an invalid head nothing opens.
        if let Rendered::Invalid(message) = self.render(context, Some(state), head)? {
            return Ok(Some(Candidate {
                source: head,
                settled: key.settled,
                commits: range.iter().map(source_commit).collect(),
                descends,
                outcome: CandidateOutcome::Invalid { message },
            }));
        }
        let mut held = BTreeSet::new();
        loop {
            let carried = carried(context, state, head, &range, &held)?;
            let commits: Vec<SourceCommit> = range
                .iter()
                .skip_while(|commit| commit.id != carried)
                .map(source_commit)
                .collect();
            let outcome = match self.render(context, Some(state), carried)? {
                Rendered::Invalid(message) => CandidateOutcome::Invalid { message },
                Rendered::Valid {
                    wanted,
                    plan_commit,
                } => CandidateOutcome::Valid(Box::new(compare(
                    context,
                    &mut self.inventory,
                    state,
                    carried,
                    wanted,
                    plan_commit,
                )?)),
            };
            let is_invalid = matches!(outcome, CandidateOutcome::Invalid { .. });
            let candidate = Candidate {
                source: carried,
                settled: key.settled,
                commits,
                descends,
                outcome,
            };
            if carried != head && (is_invalid || would_be_held(state, &candidate)) {
                held.insert(carried);
                continue;
            }
            return Ok(Some(candidate));
        }
    }

    /// Renders a commit, or remembers what it rendered to.
    fn render(
        &mut self,
        context: &Context<'_>,
        state: Option<&FleetState>,
        source: Oid,
    ) -> Result<Rendered, EngineError> {
        if let Some(known) = self.rendered.get(&source) {
            return Ok(known.clone());
        }
        if let Some((failed, reason, at)) = &self.failed
            && *failed == source
            && at.elapsed() < RENDER_PAUSE
        {
            return Err(EngineError::Rendering {
                commit: source,
                reason: reason.clone(),
            });
        }
        let commit = context.history.commit(source)?;
        let started = Instant::now();
        let parts = Parts::of(context.store, &commit, &context.options.path)?;
        let known = self
            .last
            .as_ref()
            .filter(|(inputs, _)| inputs.are_those_of(&commit, &parts));
        let outcome = match known {
            Some((inputs, wanted)) => Ok((Arc::clone(wanted), inputs.parts_are_all)),
            None => render_commit(context, state, &commit)?.map(|output| {
                self.inventory.rendered(&output.wanted, &output.objects);
                for warning in &output.warnings {
                    warn!(commit = %source, "{}", one_line(&warning.to_string()));
                }
                (output.wanted, output.reads_parts_alone)
            }),
        };
        let rendered = match outcome {
            Ok((wanted, reads_parts_alone)) => {
                let plan_commit = plan_commit(context.store, &commit, &wanted)?;
                crate::crash::point("after-render");
                info!(commit = %source, regions = wanted.regions.len(), milliseconds = milliseconds(started.elapsed()), "rendered");
                let inputs = Inputs {
                    tree: commit.tree,
                    parts,
                    parts_are_all: reads_parts_alone,
                };
                self.last = Some((inputs, Arc::clone(&wanted)));
                Rendered::Valid {
                    wanted,
                    plan_commit,
                }
            }
            Err(problems) => {
                if let Some(problem) = problems.iter().find(|problem| problem.transient) {
                    self.failed = Some((source, problem.message.clone(), Instant::now()));
                    return Err(EngineError::Rendering {
                        commit: source,
                        reason: problem.message.clone(),
                    });
                }
                for problem in &problems {
                    warn!(commit = %source, "{}", one_line(&problem.to_string()));
                }
                Rendered::Invalid(first_problem(&problems))
            }
        };
        self.rendered.insert(source, rendered.clone());
        self.order.push(source);
        if self.order.len() > REMEMBERED {
            let oldest = self.order.remove(0);
            self.rendered.remove(&oldest);
        }
        Ok(rendered)
    }
}

/// A time as logs show it: in milliseconds with one decimal.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// The commit of the range that is to be carried: its tip, or a cut around a change of policy.
fn carried(
    context: &Context<'_>,
    state: &FleetState,
    head: Oid,
    range: &[CommitView],
    held: &BTreeSet<Oid>,
) -> Result<Oid, EngineError> {
    let Some(settled) = state.settled.as_ref().filter(|_| range.len() > 1) else {
        return Ok(head);
    };
    // Behind a rollout under way, or one that ended otherwise than well, comes only what is newer than its
    // source: a superseded commit is not gone back to.
    let carried_already = state
        .rollout
        .as_ref()
        .filter(|rollout| rollout.state != RolloutState::Succeeded)
        .and_then(|rollout| {
            let newer = range
                .iter()
                .position(|commit| commit.id == rollout.source)?;
            Some((&rollout.plan, range.get(..newer)?))
        });
    let (before, range) = match carried_already {
        Some((_, [])) => return Ok(head),
        Some((plan, newer)) => (plan, newer),
        None => (&settled.wanted, range),
    };
    // What failed, was aborted or would be held yields to what is newer.
    let yields = |id: Oid| {
        held.contains(&id)
            || state.not_again == Some(id)
            || state
                .quarantine
                .iter()
                .any(|item| !item.isolated && item.source == id)
    };
    // What a person asked for goes at once; what landed on it meanwhile comes after it.
    if let Some(hotfix) = state.hotfix.filter(|hotfix| !yields(*hotfix))
        && range.iter().any(|commit| commit.id == hotfix)
    {
        return Ok(hotfix);
    }
    let mut policies: Vec<Option<Arc<Wanted>>> = Vec::with_capacity(range.len());
    let mut last: Option<([Part; 2], Option<Arc<Wanted>>)> = None;
    for commit in range.iter().rev() {
        let documents = Parts::of(context.store, commit, &context.options.path)?.of_policy();
        let policy = match &last {
            Some((known, policy)) if *known == documents => policy.clone(),
            _ => load_commit(context, Some(state), commit)?
                .ok()
                .map(|loaded| Arc::new(policy_of(&loaded))),
        };
        policies.push(policy.clone());
        last = Some((documents, policy));
    }
    let commits: Vec<RangeCommit<'_>> = range
        .iter()
        .rev()
        .zip(&policies)
        .map(|(commit, policy)| RangeCommit {
            id: commit.id,
            policy: policy.as_deref(),
            quarantined: yields(commit.id),
        })
        .collect();
    Ok(carried_next(before, &commits).unwrap_or(head))
}

/// What a commit renders to.
struct Output {
    wanted: Arc<Wanted>,
    /// The objects of each region.
    objects: BTreeMap<String, Arc<Vec<RenderedObject>>>,
    /// What its author should know.
    warnings: Vec<Problem>,
    /// Whether nothing but the parts was read.
    reads_parts_alone: bool,
}

fn load_commit(
    context: &Context<'_>,
    state: Option<&FleetState>,
    commit: &CommitView,
) -> Result<Result<LoadedFleet, Vec<Problem>>, EngineError> {
    let repository = open(context)?;
    let source = GitTree::new(&repository, commit.tree);
    Ok(load(context, state, &source))
}

/// A handle of its own: rendering writes to the store while it reads the source.
fn open(context: &Context<'_>) -> Result<git2::Repository, StoreError> {
    git2::Repository::open_bare(context.mirror).map_err(|error| StoreError::Open {
        path: context.mirror.to_owned(),
        source: error,
    })
}

fn load(
    context: &Context<'_>,
    state: Option<&FleetState>,
    source: &GitTree<'_>,
) -> Result<LoadedFleet, Vec<Problem>> {
    let loaded = config::load(source, &context.options.path)?;
    let expected = context
        .options
        .name
        .clone()
        .or_else(|| state.map(|state| state.fleet.name.clone()));
    match expected.filter(|expected| *expected != loaded.fleet.name) {
        None => Ok(loaded),
        Some(expected) => {
            let file = if context.options.path.is_empty() {
                "tidegate.yaml".to_owned()
            } else {
                format!("{}/tidegate.yaml", context.options.path)
            };
            let found = &loaded.fleet.name;
            let message = format!(
                "the fleet is called {found:?} here, and {expected:?} in the control log or the settings"
            );
            Err(vec![Problem::error(file, message).hint(
                "a fleet keeps its name; a new fleet needs a prefix of its own",
            )])
        }
    }
}

fn render_commit(
    context: &Context<'_>,
    state: Option<&FleetState>,
    commit: &CommitView,
) -> Result<Result<Output, Vec<Problem>>, EngineError> {
    let repository = open(context)?;
    let source = GitTree::new(&repository, commit.tree);
    let rendered = load(context, state, &source).and_then(|loaded| {
        let rendered = render(
            &loaded,
            &source,
            context.templates,
            context.store,
            Some(context.cache),
        )?;
        Ok(Output {
            wanted: Arc::new(rendered.wanted),
            objects: rendered.objects,
            warnings: rendered.warnings,
            reads_parts_alone: inputs::layers_are_at_home(&loaded),
        })
    });
    match rendered {
        Ok(rendered) => Ok(Ok(rendered)),
        Err(problems) => judge(&repository, commit, problems),
    }
}

/// Problems are the commit's only if all of it can be read: a damaged mirror must not make a commit invalid.
fn judge(
    repository: &git2::Repository,
    commit: &CommitView,
    problems: Vec<Problem>,
) -> Result<Result<Output, Vec<Problem>>, EngineError> {
    let mut trees = vec![commit.tree];
    let mut seen = BTreeSet::new();
    while let Some(tree) = trees.pop() {
        if !seen.insert(tree) {
            continue;
        }
        let unreadable = |id, kind| {
            move |error: git2::Error| StoreError::Read {
                kind,
                id,
                reason: error.message().to_owned(),
            }
        };
        let tree = repository
            .find_tree(to_git(tree))
            .map_err(unreadable(tree, "tree"))?;
        for entry in &tree {
            let id = from_git(entry.id());
            match entry.kind() {
                Some(git2::ObjectType::Tree) => trees.push(id),
                Some(git2::ObjectType::Blob) if seen.insert(id) => {
                    repository
                        .find_blob(entry.id())
                        .map_err(unreadable(id, "blob"))?;
                }
                _ => {}
            }
        }
    }
    Ok(Err(problems))
}

/// The first error in one line, and how many more there are.
fn first_problem(problems: &[Problem]) -> String {
    let errors: Vec<&Problem> = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .collect();
    let first = errors.first().map_or_else(String::new, |problem| {
        problem.to_string().replacen(": error:", ":", 1)
    });
    match errors.len() {
        0 | 1 => one_line(&first),
        count => one_line(&format!("{first} (and {} more)", count - 1)),
    }
}

/// The parentless commit that pins every rendered tree of a rollout.
fn plan_commit(
    store: &ObjectStore,
    source: &CommitView,
    wanted: &Wanted,
) -> Result<Oid, EngineError> {
    let entries = wanted
        .regions
        .iter()
        .map(|(name, region)| TreeEntry {
            name: name.clone().into_bytes(),
            mode: MODE_TREE,
            id: region.tree,
        })
        .collect();
    let tree = store.tree(entries)?;
    let text = message::of_plan(source.id)?;
    let commit = NewCommit {
        tree,
        parents: &[],
        author_name: "Tidegate",
        author_email: "tidegate@localhost",
        seconds: source.seconds,
        message: &text,
    };
    let id = store.commit(&commit)?;
    store.flush()?;
    Ok(id)
}

fn source_commit(commit: &CommitView) -> SourceCommit {
    let fixes = commit
        .trailers()
        .all("Tidegate-Fixes")
        .filter_map(|value| value.parse().ok())
        .collect();
    SourceCommit {
        id: commit.id,
        author: one_line(&format!("{} <{}>", commit.author.name, commit.author.email)),
        subject: commit.subject(),
        fixes,
    }
}

/// What guards and quarantine have to say about a commit that renders.
fn compare(
    context: &Context<'_>,
    inventory: &mut Inventory,
    state: &FleetState,
    source: Oid,
    wanted: Arc<Wanted>,
    plan_commit: Oid,
) -> Result<ValidCandidate, EngineError> {
    let store = context.store;
    let guards = match &state.settled {
        Some(settled) => settled.wanted.policy.guards.stricter(&wanted.policy.guards),
        None => wanted.policy.guards.clone(),
    };
    let last_good: BTreeMap<String, Oid> = state
        .last_good
        .iter()
        .map(|(region, good)| (region.clone(), good.tree))
        .collect();
    let mut findings = diff::guard_findings(store, inventory, &guards, &last_good, &wanted)?;
    // What stands on a branch and is not last good (kept, skipped, of a rollout that never ended) is protected too.
    let elsewhere: BTreeMap<String, Oid> = on_branches(state)
        .into_iter()
        .filter(|(region, tree)| last_good.get(region) != Some(tree))
        .collect();
    for finding in diff::guard_findings(store, inventory, &guards, &elsewhere, &wanted)? {
        let known = findings
            .iter()
            .any(|known| known.reason == finding.reason && known.region == finding.region);
        if finding.reason == HoldReason::ProtectedKind && !known {
            findings.push(finding);
        }
    }
    let revert_trees = diff::revert_trees(store, inventory, &guards, &last_good, &wanted)?;
    store.flush()?;
    let quarantine = quarantine_facts(context.history, state, source)?;
    Ok(ValidCandidate {
        wanted,
        plan_commit,
        revert_trees,
        findings,
        quarantine,
    })
}

/// The tree that each region's folder has on the branch where it is to be found.
fn on_branches(state: &FleetState) -> BTreeMap<String, Oid> {
    state
        .placements
        .iter()
        .filter_map(|(region, placement)| {
            Some((region.clone(), state.folder(&placement.wave, region)?))
        })
        .collect()
}

fn quarantine_facts(
    history: &History,
    state: &FleetState,
    source: Oid,
) -> Result<Vec<QuarantineFact>, EngineError> {
    let mut facts = Vec::new();
    for item in state.quarantine.iter().filter(|item| !item.isolated) {
        if !history.is_ancestor(item.source, source)? {
            facts.push(QuarantineFact {
                source: item.source,
                contained: false,
                undone: false,
                landed_again: false,
            });
            continue;
        }
        let mut undone = false;
        let mut landed_again = false;
        if let Some(base) = item.base.filter(|base| history.has(*base)) {
            // Where it was merged in rather than built upon, the whole chain is looked at.
            let mut after = match history.chain(Some(item.source), source)? {
                Some(after) => after,
                None => history.chain(None, source)?.unwrap_or_default(),
            };
            // What undid it mostly stands directly behind it, or is the newest.
            if after.len() > 2 * LOOKED_AT_FOR_UNDOING {
                let end = after.len() - LOOKED_AT_FOR_UNDOING;
                after.drain(LOOKED_AT_FOR_UNDOING..end);
            }
            for commit in after.iter().rev() {
                // Undoing the range changes nothing here: somebody (we, mostly) has undone it.
                if history.revert_merge(commit.id, item.source, base)? == MergeResult::Nothing {
                    undone = true;
                    break;
                }
            }
            // Applying the range again changes nothing: it is there (again).
            landed_again = item.source != source
                && history.revert_merge(source, base, item.source)? == MergeResult::Nothing;
        }
        facts.push(QuarantineFact {
            source: item.source,
            contained: true,
            undone,
            landed_again,
        });
    }
    Ok(facts)
}

/// What it takes to revert the rollout that is being given back, if that is wanted.
pub(super) fn revert_facts(
    history: &History,
    state: &FleetState,
    tip: Oid,
) -> Result<Option<RevertFacts>, EngineError> {
    let Some(rollout) = state
        .active()
        .filter(|rollout| rollout.state == RolloutState::RollingBack)
    else {
        return Ok(None);
    };
    if !matches!(
        rollout.source_revert,
        SourceRevert::Wanted | SourceRevert::Proposing
    ) {
        return Ok(None);
    }
    let result = revert_result(history, rollout.base, rollout.source, tip)?;
    Ok(Some(RevertFacts {
        rollout: rollout.id.clone(),
        tip,
        result,
    }))
}

fn revert_result(
    history: &History,
    base: Option<Oid>,
    source: Oid,
    tip: Oid,
) -> Result<RevertResult, EngineError> {
    let Some(base) = base else {
        return Ok(RevertResult::NotOnChain { tree: None });
    };
    // Only what some branch still leads to is fetched, and a config branch can be rewritten.
    if !history.has(base) || !history.has(source) {
        return Ok(RevertResult::Gone);
    }
    let tree = history.commit(base)?.tree;
    if !history.same_first_parent_chain(base, source)? {
        return Ok(RevertResult::NotOnChain { tree: Some(tree) });
    }
    Ok(match history.revert_merge(tip, source, base)? {
        MergeResult::Nothing => RevertResult::Nothing,
        MergeResult::Clean(tree) => RevertResult::Clean { tree },
        MergeResult::Conflict(paths) => RevertResult::Conflict {
            count: paths.len(),
            paths: paths
                .iter()
                .take(CONFLICTS_NAMED)
                .map(|path| one_line(path))
                .collect(),
            tree,
        },
    })
}
