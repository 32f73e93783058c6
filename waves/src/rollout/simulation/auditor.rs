//! Reads a world's log and branches the way a stranger would, and names every promise that they break.
//!
//! It shares no code with the rules: it knows the entries, the intents, the commits, and what the regions
//! really answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::world::{Logged, World};
use crate::fleet::SlotUntil;
use crate::log::{EntryKind, Intent, MoveKind, Outcome};
use crate::oid::Oid;
use crate::rollout::{FailureReason, HoldReason, RegionState, Rollout, RolloutState};

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
    audit.failures_name_what_they_judged();
    audit.plans_stay_frozen();
    audit.evidence_is_positive();
    audit.limits_are_kept();
    audit.last_good_is_proven();
    audit.regions_are_where_the_list_says();
    audit.progress_is_rare();
    audit.pushes_are_forward();
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
        let world: &'a World = self.world;
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

    /// Promise 1.
    fn waves_go_in_order(&mut self) {
        let world: &'a World = self.world;
        for (seq, logged) in self.entries() {
            if logged.entry.kind == EntryKind::WavePassed {
                let waves = logged.state.rollout.iter().flat_map(|run| &run.waves);
                let mut regions = waves
                    .filter(|wave| logged.entry.wave.as_ref() == Some(&wave.name))
                    .flat_map(|wave| &wave.regions);
                if let Some((region, _)) = regions.find(|(_, run)| !run.state.is_settled()) {
                    self.say(seq, format!("promise 1: {region} is still judged"));
                }
            }
            for intent in Self::promotes(logged) {
                let Some(rollout) = logged.state.rollout.clone() else {
                    self.say(seq, "a promotion without a rollout");
                    continue;
                };
                if intent.draft.rollout.as_ref() != Some(&rollout.id) {
                    self.say(seq, "a promotion of another rollout");
                }
                if intent.draft.old.is_zero() {
                    self.say(seq, "a promotion that starts from nothing");
                }
                let order: Vec<&str> = rollout
                    .plan
                    .waves
                    .iter()
                    .map(|wave| wave.name.as_str())
                    .collect();
                let at = order.iter().position(|wave| *wave == intent.draft.wave);
                for before in order.iter().take(at.unwrap_or(0)) {
                    let passed = world.log.iter().take(seq + 1).any(|known| {
                        known.entry.kind == EntryKind::WavePassed
                            && known.entry.rollout.as_ref() == Some(&rollout.id)
                            && known.entry.wave.as_deref() == Some(before)
                    });
                    if !passed {
                        self.say(
                            seq,
                            format!("promise 1: {} before {before} passed", intent.draft.wave),
                        );
                    }
                }
            }
        }
    }

    /// Promise 2, and what `Sealing` latches.
    fn endings_wait_for_promotions(&mut self) {
        let world: &'a World = self.world;
        let closed = self.closed_at();
        let mut open: Vec<(Intent, usize)> = Vec::new();
        let mut failed: BTreeSet<String> = BTreeSet::new();
        let mut sealing: Option<String> = None;
        for (seq, logged) in self.entries() {
            for closing in &logged.entry.closed {
                open.retain(|(intent, _)| {
                    (&intent.draft.reference, intent.new) != (&closing.reference, closing.new)
                });
            }
            let kind = logged.entry.kind;
            let named: BTreeSet<Oid> = logged.entry.open.iter().map(|(_, new)| *new).collect();
            let excused: BTreeSet<Oid> = world
                .log
                .iter()
                .take(seq + 1)
                .flat_map(|known| known.entry.open.iter().map(|(_, new)| *new))
                .collect();
            if matches!(
                kind,
                EntryKind::Failed
                    | EntryKind::Superseded
                    | EntryKind::Aborted
                    | EntryKind::Succeeded
                    | EntryKind::Reverted
            ) {
                for (intent, _) in &open {
                    let excuse = match kind {
                        EntryKind::Failed => named.contains(&intent.new),
                        EntryKind::Reverted => excused.contains(&intent.new),
                        _ => false,
                    };
                    if intent.draft.kind == MoveKind::Promote && !excuse {
                        self.wrong.push(format!(
                            "entry {seq}: promise 2: {kind} while a promotion is open"
                        ));
                    }
                    let waits_for_all = matches!(
                        kind,
                        EntryKind::Superseded | EntryKind::Aborted | EntryKind::Succeeded
                    );
                    if waits_for_all && intent.draft.kind != MoveKind::SourceRevert {
                        self.wrong
                            .push(format!("entry {seq}: {kind} while a move is open"));
                    }
                }
            }
            if kind == EntryKind::RolloutOpened {
                let incomplete = world.log[seq - 1]
                    .state
                    .rollout
                    .as_ref()
                    .is_some_and(|rollout| rollout.state == RolloutState::RollbackIncomplete);
                if !incomplete
                    && open
                        .iter()
                        .any(|(intent, _)| intent.draft.kind == MoveKind::Revert)
                {
                    self.say(seq, "opened while a give-back is open");
                }
            }
            if sealing.is_some()
                && sealing == logged.entry.rollout
                && (!Self::promotes(logged).is_empty()
                    || matches!(kind, EntryKind::WavePassed | EntryKind::Succeeded))
            {
                self.say(seq, "a sealing is not followed by its ending alone");
            }
            match kind {
                EntryKind::Sealing => sealing.clone_from(&logged.entry.rollout),
                EntryKind::Failed => {
                    failed.extend(logged.entry.rollout.clone());
                    sealing = None;
                }
                EntryKind::Superseded | EntryKind::Aborted => sealing = None,
                _ => {}
            }
            for intent in Self::promotes(logged) {
                if intent
                    .draft
                    .rollout
                    .as_ref()
                    .is_some_and(|rollout| failed.contains(rollout))
                {
                    self.wrong.push(format!(
                        "entry {seq}: promise 2: a promotion after the failure"
                    ));
                }
            }
            for intent in &logged.intents {
                let same_ref: Vec<&Intent> = open
                    .iter()
                    .map(|(known, _)| known)
                    .filter(|known| known.draft.reference == intent.draft.reference)
                    .collect();
                let seals_it = intent.draft.kind == MoveKind::Seal
                    && same_ref.iter().all(|known| {
                        known.draft.old == intent.draft.old && known.draft.kind == MoveKind::Promote
                    });
                // A deleted branch comes back to where what is open on it begins.
                let comes_back = intent.draft.old.is_zero()
                    && same_ref.iter().all(|known| known.draft.old == intent.new);
                if !same_ref.is_empty() && !seals_it && !comes_back {
                    self.wrong.push(format!(
                        "entry {seq}: a second open intent on {}",
                        intent.draft.reference
                    ));
                }
            }
            open.extend(logged.intents.iter().map(|intent| (intent.clone(), seq)));
        }
        for (new, (seq, outcome)) in &closed {
            let on_a_branch = world.refs.values().any(|tip| self.on_chain(*tip, *new));
            if *outcome == Outcome::Sealed && on_a_branch {
                self.say(*seq, "promise 2: a sealed commit is on a branch");
            }
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

    /// Promises 3 and 5.
    fn every_commit_has_its_intent(&mut self) {
        let world: &'a World = self.world;
        let mut intents: BTreeMap<Oid, Vec<&Intent>> = BTreeMap::new();
        for intent in world.log.iter().flat_map(|logged| &logged.intents) {
            intents.entry(intent.new).or_default().push(intent);
        }
        let listed: BTreeSet<Oid> = world
            .log
            .iter()
            .flat_map(|logged| logged.entry.drift.iter().map(|(_, commit)| *commit))
            .collect();
        for (reference, tip) in &world.refs {
            if !reference.starts_with("refs/heads/tidegate/") {
                continue;
            }
            let mut at = Some(*tip);
            while let Some(id) = at {
                let commit = &world.commits[&id];
                let named = intents.get(&id).map_or(0, |found| {
                    found.iter().filter(|intent| !brings_back(intent)).count()
                });
                let foreign = world.foreign.contains(&id);
                if foreign && named > 0 || !foreign && named != 1 {
                    self.wrong.push(format!(
                        "promise 3: {} on {reference} is the new of {named} intents",
                        id.short(6)
                    ));
                }
                if !foreign && listed.contains(&id) {
                    self.wrong.push(format!(
                        "promise 3: {} of ours is listed as drift",
                        id.short(6)
                    ));
                }
                if let (Some(intent), Some(parent)) = (
                    intents
                        .get(&id)
                        .and_then(|found| found.iter().find(|intent| !brings_back(intent))),
                    commit.parent,
                ) {
                    let before = &world.commits[&parent].folders;
                    let batch: BTreeSet<&String> = intent
                        .draft
                        .folders
                        .iter()
                        .map(|change| &change.region)
                        .collect();
                    let regions: BTreeSet<&String> =
                        before.keys().chain(commit.folders.keys()).collect();
                    for region in regions {
                        if before.get(region) != commit.folders.get(region)
                            && !batch.contains(region)
                        {
                            self.wrong
                                .push(format!("promise 5: {region} is not of the batch"));
                        }
                    }
                }
                at = commit.parent;
            }
        }
    }

    /// Promises 3 and 4.
    fn intents_close_once_and_truly(&mut self) {
        let world: &'a World = self.world;
        let mut closed: BTreeSet<(String, Oid)> = BTreeSet::new();
        let mut known: BTreeSet<(String, Oid)> = BTreeSet::new();
        for (seq, logged) in self.entries() {
            for closing in &logged.entry.closed {
                let key = (closing.reference.clone(), closing.new);
                if !known.remove(&key) {
                    self.say(seq, "promise 3: it closes what is not open");
                }
                closed.insert(key);
                let Some(tip) = world.refs.get(&closing.reference) else {
                    continue;
                };
                if world.damaged.contains(&closing.reference) {
                    continue;
                }
                let there = self.on_chain(*tip, closing.new);
                if there != (closing.outcome == Outcome::Applied) {
                    self.say(
                        seq,
                        format!(
                            "promise 3: {} is not {}",
                            closing.new.short(6),
                            closing.outcome
                        ),
                    );
                }
            }
            known.extend(
                logged
                    .intents
                    .iter()
                    .map(|intent| (intent.draft.reference.clone(), intent.new)),
            );
            let open: BTreeSet<(String, Oid)> = logged
                .state
                .intents
                .iter()
                .map(|intent| (intent.draft.reference.clone(), intent.new))
                .collect();
            if open != known {
                self.say(seq, "its state does not list what is open");
            }
        }
    }

    /// Promise 7.
    fn failures_name_what_they_judged(&mut self) {
        let world: &'a World = self.world;
        let mut reverts: BTreeMap<String, BTreeSet<Oid>> = BTreeMap::new();
        for (source, commit) in &world.sources {
            if let Some(rollout) = &commit.reverts
                && world
                    .refs
                    .get(super::world::MAIN)
                    .is_some_and(|tip| self.on_chain(*tip, *source))
            {
                reverts.entry(rollout.clone()).or_default().insert(*source);
            }
        }
        for (rollout, commits) in reverts {
            if commits.len() > 1 {
                self.wrong.push(format!(
                    "promise 7: {rollout} was reverted {} times",
                    commits.len()
                ));
            }
        }
        for (seq, logged) in self.entries() {
            if logged.entry.kind != EntryKind::Failed {
                continue;
            }
            let rollout = logged.state.rollout.clone().unwrap();
            let Some(failure) = rollout.failure.clone() else {
                self.say(seq, "promise 7: a failure without a reason");
                continue;
            };
            if failure.reason == FailureReason::Requested {
                continue;
            }
            let before = &world.log[seq - 1].state;
            let Some(tree) = failure.tree.filter(|_| !failure.region.is_empty()) else {
                self.say(seq, "promise 7: it names no region or tree");
                continue;
            };
            let put = world.log.iter().take(seq).any(|known| {
                Self::promotes(known).iter().any(|intent| {
                    intent.draft.rollout.as_ref() == Some(&rollout.id)
                        && intent.draft.folders.iter().any(|change| {
                            change.region == failure.region && change.tree == Some(tree)
                        })
                })
            });
            let good = before.last_good.get(&failure.region).map(|good| good.tree);
            if !put && good == Some(tree) {
                self.say(seq, "promise 7: it judged a tree that is last good");
            }
            let held = before
                .branches
                .get(&failure.wave)
                .and_then(|branch| branch.folders.get(&failure.region));
            if held != Some(&tree) {
                self.say(seq, "promise 7: the tree that it judged is not there");
            }
            let all_good = rollout.plan.regions.iter().all(|(region, planned)| {
                before.last_good.get(region).map(|good| good.tree) == Some(planned.tree)
            });
            if all_good {
                self.say(seq, "promise 7: every tree of it is last good");
            }
            if !before.proven {
                self.say(seq, "a failure before anything ever succeeded");
            }
        }
    }

    /// Promise 9.
    fn plans_stay_frozen(&mut self) {
        let mut opened: BTreeMap<String, Rollout> = BTreeMap::new();
        for (seq, logged) in self.entries() {
            let Some(rollout) = &logged.state.rollout else {
                continue;
            };
            if logged.entry.kind == EntryKind::RolloutOpened {
                if rollout.id != format!("{}-{seq}", rollout.source.short(8)) {
                    self.say(seq, "the rollout's id does not name its entry");
                }
                opened.insert(rollout.id.clone(), rollout.clone());
            }
            let Some(first) = opened.get(&rollout.id) else {
                self.say(seq, "a rollout that was never opened");
                continue;
            };
            if first.plan != rollout.plan || first.plan_commit != rollout.plan_commit {
                self.say(seq, "promise 9: the plan changed");
            }
            for intent in Self::promotes(logged) {
                for change in &intent.draft.folders {
                    let planned = first.plan.regions.get(&change.region);
                    if planned.map(|planned| planned.tree) != change.tree {
                        self.say(seq, "promise 9: a promoted tree is not the plan's");
                    }
                    if first.plan.wave_of(&change.region) != Some(intent.draft.wave.as_str()) {
                        self.say(seq, "a region is promoted in another wave than its own");
                    }
                }
            }
        }
    }

    /// Promise 8, and the bake.
    fn evidence_is_positive(&mut self) {
        let world: &'a World = self.world;
        for (seq, logged) in self.entries() {
            let Some(rollout) = &logged.state.rollout else {
                continue;
            };
            if logged.entry.kind == EntryKind::Failed
                && let Some(failure) = &rollout.failure
                && failure.reason == FailureReason::Harm
                && !failure.gate.is_empty()
            {
                let bad = world
                    .answers
                    .iter()
                    .filter(|answer| {
                        answer.at <= logged.at
                            && answer.region == failure.region
                            && answer.tree == failure.tree
                            && answer.is_bad
                    })
                    .count();
                let needed = rollout
                    .plan
                    .gates_of(&failure.region)
                    .iter()
                    .map(|gate| gate.sampling.failures as usize)
                    .min();
                if bad < needed.unwrap_or(1) {
                    self.say(seq, format!("promise 8: failed on {bad} bad answers"));
                }
            }
            let before = world.log[seq.saturating_sub(1)].state.rollout.as_ref();
            for wave in &rollout.waves {
                for (region, run) in &wave.regions {
                    let was = before
                        .filter(|before| before.id == rollout.id)
                        .and_then(|before| before.region(region))
                        .map(|(_, run)| run.state);
                    if run.state != RegionState::Done || was == Some(RegionState::Done) {
                        continue;
                    }
                    let Some(planned) = rollout.plan.regions.get(region) else {
                        continue;
                    };
                    let needed = rollout
                        .plan
                        .gates_of(region)
                        .iter()
                        .map(|gate| gate.sampling.successes as usize)
                        .min();
                    let Some(needed) = needed else {
                        continue;
                    };
                    let healthy: Vec<Duration> = world
                        .answers
                        .iter()
                        .filter(|answer| {
                            answer.at <= logged.at
                                && answer.region == *region
                                && answer.tree == Some(planned.tree)
                                && answer.is_healthy
                        })
                        .map(|answer| answer.at)
                        .collect();
                    if healthy.len() < needed {
                        self.say(seq, format!("promise 8: {region} is done unproven"));
                    }
                    let bake = rollout
                        .plan
                        .wave(&wave.name)
                        .map(|wave| wave.policy.bake)
                        .unwrap_or_default();
                    let since = healthy.first().copied().unwrap_or_default();
                    if !rollout.hotfix && logged.at.saturating_sub(since) < bake {
                        self.say(seq, format!("{region} is done before its bake"));
                    }
                }
            }
        }
    }

    /// `maxConcurrent`, and one region alone in the first wave that changes.
    fn limits_are_kept(&mut self) {
        for (seq, logged) in self.entries() {
            let Some(rollout) = logged.state.active() else {
                continue;
            };
            if rollout.state == RolloutState::RollingBack {
                continue;
            }
            for (index, wave) in rollout.waves.iter().enumerate() {
                let Some(planned) = rollout.plan.wave(&wave.name) else {
                    continue;
                };
                let slots = wave
                    .regions
                    .values()
                    .filter(|run| {
                        !run.was_healthy
                            && matches!(
                                run.state,
                                RegionState::Promoted
                                    | RegionState::Applying
                                    | RegionState::Verifying
                            )
                            || planned.policy.slot_until == SlotUntil::Baked
                                && run.state == RegionState::Baking
                    })
                    .count();
                let limit = planned
                    .policy
                    .max_concurrent
                    .of(planned.regions.len())
                    .max(1);
                if slots > limit {
                    self.say(seq, format!("{slots} regions of {} at once", wave.name));
                }
                let earlier = rollout
                    .waves
                    .iter()
                    .take(index)
                    .flat_map(|wave| wave.regions.values())
                    .any(|run| run.before.is_some());
                let promoted = wave
                    .regions
                    .values()
                    .filter(|run| run.before.is_some())
                    .count();
                let settled = wave.regions.values().any(|run| {
                    run.before.is_some()
                        && matches!(
                            run.state,
                            RegionState::Done
                                | RegionState::Skipped
                                | RegionState::Preempted
                                | RegionState::Reverted
                                | RegionState::Reverting
                                | RegionState::Failed
                                | RegionState::TimedOut
                                | RegionState::Kept
                        )
                });
                if index > 0 && !earlier && promoted > 1 && !settled {
                    self.say(seq, format!("{} did not begin with one region", wave.name));
                }
            }
        }
    }

    fn last_good_is_proven(&mut self) {
        let world: &'a World = self.world;
        for (seq, logged) in self.entries().into_iter().skip(1) {
            let before = &world.log[seq - 1].state;
            let trees = |state: &crate::rollout::FleetState| -> BTreeMap<String, Oid> {
                state
                    .last_good
                    .iter()
                    .map(|(region, good)| (region.clone(), good.tree))
                    .collect()
            };
            if trees(before) != trees(&logged.state)
                && !matches!(
                    logged.entry.kind,
                    EntryKind::Succeeded | EntryKind::Requested
                )
            {
                self.say(seq, "last good changed without a success");
            }
            if logged.entry.kind == EntryKind::Succeeded {
                let rollout = logged.state.rollout.clone().unwrap();
                for (region, good) in &logged.state.last_good {
                    if trees(before).get(region) != Some(&good.tree)
                        && !rollout.region(region).is_some_and(|(_, run)| {
                            matches!(run.state, RegionState::Done | RegionState::NoChange)
                        })
                    {
                        self.say(seq, format!("last good of {region} advanced unproven"));
                    }
                }
            }
        }
    }

    fn regions_are_where_the_list_says(&mut self) {
        let world: &'a World = self.world;
        for (seq, logged) in self.entries() {
            for (region, placement) in &logged.state.placements {
                let Some(branch) = logged.state.branches.get(&placement.wave) else {
                    self.say(seq, format!("{region} is placed on no branch"));
                    continue;
                };
                let held = branch
                    .tip
                    .and_then(|tip| world.commits.get(&tip))
                    .is_some_and(|commit| commit.folders.contains_key(region));
                let theirs = branch.tip.is_some_and(|tip| {
                    world
                        .removed_by(tip, region)
                        .is_some_and(|commit| world.foreign.contains(&commit))
                });
                if !held && !theirs {
                    self.say(
                        seq,
                        format!(
                            "regions.json names {} for {region}, which it does not hold",
                            placement.wave
                        ),
                    );
                }
            }
        }
    }

    fn progress_is_rare(&mut self) {
        let mut last: Option<Duration> = None;
        for (seq, logged) in self.entries() {
            if logged.entry.kind != EntryKind::Progress {
                continue;
            }
            let interval = logged
                .state
                .rollout
                .as_ref()
                .and_then(|rollout| {
                    rollout
                        .plan
                        .policy
                        .gates
                        .iter()
                        .map(|gate| gate.sampling.every)
                        .min()
                })
                .unwrap_or(Duration::from_secs(10));
            if last.is_some_and(|last| logged.at.saturating_sub(last) < interval) {
                self.say(seq, "two Progress entries in one gate interval");
            }
            last = Some(logged.at);
        }
    }

    /// Promise 4.
    fn pushes_are_forward(&mut self) {
        let world: &'a World = self.world;
        for (reference, old, new, _) in &world.pushed {
            if new.is_zero() {
                self.wrong
                    .push(format!("promise 4: a deletion of {reference}"));
            }
            if !old.is_zero() && !self.on_chain(*new, *old) {
                self.wrong
                    .push(format!("promise 4: {reference} was not moved forward"));
            }
            let allowed = world.log.iter().any(|logged| {
                logged.intents.iter().any(|intent| {
                    intent.draft.reference == *reference
                        && intent.draft.old == *old
                        && intent.new == *new
                })
            });
            if !allowed {
                self.wrong
                    .push(format!("a push to {reference} that the log does not allow"));
            }
        }
    }
}

/// Regions that still have the tree of a rollout that was given back, though nothing stands in the way.
pub fn left_behind(world: &World) -> Vec<String> {
    let state = world.state();
    let Some(rollout) = state.rollout.as_ref() else {
        return Vec::new();
    };
    let given_back = matches!(
        rollout.state,
        RolloutState::RolledBack | RolloutState::RollbackIncomplete
    );
    let undisturbed = state.holds.iter().all(|hold| {
        matches!(
            hold.reason,
            HoldReason::Quarantined | HoldReason::RevertPullRequest | HoldReason::RevertImpossible
        )
    });
    if !given_back || !undisturbed {
        return Vec::new();
    }
    rollout
        .plan
        .regions
        .iter()
        .filter(|(region, planned)| {
            world.running(region) == Some(planned.tree)
                && world
                    .last_good(region)
                    .is_some_and(|good| good != planned.tree)
                && rollout
                    .region(region)
                    .is_some_and(|(_, run)| run.before.is_some())
        })
        .map(|(region, _)| region.clone())
        .collect()
}
