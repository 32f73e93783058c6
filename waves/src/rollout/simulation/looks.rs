//! Looks at the world: the log, and what branches hold.

use std::sync::Arc;

use super::world::{Logged, World, wave_ref};
use crate::log::EntryKind;
use crate::oid::Oid;
use crate::rollout::FleetState;

impl World {
    pub fn state(&self) -> &FleetState {
        &self.log.last().unwrap().state
    }

    /// Shared, so that it outlives what happens next.
    pub(super) fn newest_entry(&self) -> Arc<Logged> {
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
