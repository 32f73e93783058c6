//! Reads a world's log and branches the way a stranger would, and names every promise that they break.
//!
//! It shares no judgement with the rules: it knows the entries, the intents, the commits, and what the regions
//! really answered, and which states mean what by lists of its own. What it does share are the types of the log, and how
//! they look up a wave of a plan, a region of a rollout, and the gates of a region.

mod endings;
mod evidence;
mod folders;
mod forward;
mod intents;
mod last_good;
mod left_behind;
mod limits;
mod order;
mod placements;
mod plans;
mod reverts;

use std::collections::BTreeMap;

use super::world::{Logged, World};
use crate::log::{EntryKind, Intent, MoveKind, Outcome};
use crate::oid::Oid;

pub use left_behind::left_behind;

/// Everything that is wrong.
pub fn audit(world: &World) -> Vec<String> {
    let mut audit = Audit {
        world,
        wrong: Vec::new(),
    };
    audit.log_is_a_chain();
    audit.waves_go_in_order();
    audit.endings_wait_for_promotions();
    audit.every_commit_has_its_intent();
    audit.intents_close_once_and_truly();
    audit.commits_change_their_batch_alone();
    audit.one_revert_a_rollout();
    audit.failures_name_what_they_judged();
    audit.plans_stay_frozen();
    audit.evidence_is_positive();
    audit.limits_are_kept();
    audit.last_good_is_proven();
    audit.regions_are_where_the_list_says();
    audit.progress_is_rare();
    audit.pushes_are_forward();
    audit.what_was_applied_stays();
    audit.wrong
}

/// Panics with the story if anything is wrong.
pub fn expect_clean(world: &World) {
    let wrong = audit(world);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), world.story());
}

/// Whether an intent brings a deleted branch back: it made none of what it names.
fn brings_back(intent: &Intent) -> bool {
    intent.draft.kind == MoveKind::Restore && intent.draft.old.is_zero()
}

struct Audit<'a> {
    world: &'a World,
    wrong: Vec<String>,
}

impl<'a> Audit<'a> {
    fn say(&mut self, seq: usize, what: impl AsRef<str>) {
        self.wrong.push(format!("entry {seq}: {}", what.as_ref()));
    }

    fn entries(&self) -> Vec<(usize, &'a Logged)> {
        let world = self.world;
        world.log.iter().map(AsRef::as_ref).enumerate().collect()
    }

    fn promotes(logged: &'a Logged) -> Vec<&'a Intent> {
        logged
            .intents
            .iter()
            .filter(|intent| intent.draft.kind == MoveKind::Promote)
            .collect()
    }

    fn closed_at(&self) -> BTreeMap<Oid, (usize, Outcome)> {
        let mut closed = BTreeMap::new();
        for (seq, logged) in self.entries() {
            for closing in &logged.entry.closed {
                closed.insert(closing.new, (seq, closing.outcome));
            }
        }
        closed
    }

    fn log_is_a_chain(&mut self) {
        let mut epoch = 0;
        for (seq, logged) in self.entries() {
            if logged.state.seq != seq as u64 {
                self.say(seq, "its number is not its place");
            }
            let took_over = logged.entry.kind == EntryKind::TakeOver;
            if logged.state.epoch != epoch + u64::from(took_over) {
                self.say(seq, "the epoch rises by takeovers and by nothing else");
            }
            epoch = logged.state.epoch;
        }
    }

    fn on_chain(&self, tip: Oid, wanted: Oid) -> bool {
        let mut at = Some(tip);
        while let Some(commit) = at {
            if commit == wanted {
                return true;
            }
            at = self
                .world
                .commits
                .get(&commit)
                .and_then(|commit| commit.parent)
                .or_else(|| {
                    self.world
                        .sources
                        .get(&commit)
                        .and_then(|source| source.parent)
                });
        }
        false
    }
}

#[cfg(test)]
mod tests;
