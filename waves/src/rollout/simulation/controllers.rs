//! What controllers see and do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::world::{Commit, MAIN, Source, World, id};
use crate::log::{DraftIntent, MoveKind};
use crate::oid::Oid;
use crate::rollout::{
    BranchView, CommitView, ConfigView, FleetState, Now, Observations, PushOutcome, PushReport,
    decide,
};

impl World {
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
}
