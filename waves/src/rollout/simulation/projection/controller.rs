//! What of a controller its future depends on: what it has counted, what it is about to do, what it was told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::world::Controller;
use super::{Projection, digest, world_numbers};
use crate::gate::GateFold;
use crate::oid::Oid;
use crate::rollout::watch::{RegionWatch, Watch};
use crate::rollout::{Append, PushOutcome};

/// How long after a look time counts as watched at most (the rules' own limit).
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// What `World::observe` tells controllers.
const TAKEOVER_AFTER: Duration = Duration::from_secs(15);
/// The same.
const PUSH_DEADLINE: Duration = Duration::from_secs(30);
/// The rules sample waiting regions this many times more slowly.
const SLOWER: u32 = 6;
/// A pause after a refused push grows to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(128);
/// Beyond a threshold that is compared with `>`.
const BEYOND: Duration = Duration::from_secs(1);

impl Projection<'_> {
    pub(super) fn controller(&self, controller: &Controller) -> u64 {
        let world = self.world;
        let probes: Vec<_> = controller
            .probes
            .iter()
            .map(|probe| {
                (
                    self.rollout_name(&probe.rollout),
                    &probe.region,
                    &probe.gate.name,
                    probe.phase,
                    probe.every,
                    probe.not_before.saturating_sub(world.now),
                )
            })
            .collect();
        let seldom = self.limits.sampling.every.saturating_mul(SLOWER);
        let sampled: Vec<_> = controller
            .sampled
            .iter()
            .map(|(key, at)| (key, self.age(*at, seldom)))
            .filter(|(_, age)| *age < seldom)
            .collect();
        let samples: Vec<_> = controller
            .samples
            .iter()
            .map(|sample| {
                (
                    self.rollout_name(&sample.rollout),
                    &sample.region,
                    &sample.gate,
                    sample.phase,
                    world.now.saturating_sub(sample.at),
                    sample.sample.reading,
                )
            })
            .collect();
        let reports: Vec<_> = controller
            .reports
            .iter()
            .map(|report| {
                let outcome = match report.outcome {
                    PushOutcome::Moved => 0_u8,
                    PushOutcome::LostRace => 1,
                    PushOutcome::Refused { .. } => 2,
                    PushOutcome::Ambiguous => 3,
                };
                (
                    self.reference(&report.reference),
                    self.oid(report.new),
                    outcome,
                )
            })
            .collect();
        let recovered: Vec<_> = controller
            .recovered
            .iter()
            .map(|(region, sums)| {
                (
                    region,
                    sums.baked.min(self.limits.bake),
                    sums.deadline_used.min(self.limits.deadline),
                    sums.epoch == Some(world.state().epoch),
                )
            })
            .collect();
        let mut late: Vec<u64> = world
            .late_appends
            .iter()
            .filter(|late| late.append.next.holder == controller.name)
            .map(|late| self.late(late.seq, &late.append))
            .collect();
        late.sort_unstable();
        digest((
            self.watch(&controller.watch),
            (probes, sampled, samples, reports, recovered, late),
            controller.alive,
            controller.busy,
            controller.pending.is_some(),
            world.state().holder == controller.name,
        ))
    }

    /// An entry under way, which lands only if the log still stands where it begins.
    pub(super) fn late(&self, seq: u64, append: &Append) -> u64 {
        let now = world_numbers(self.world.state());
        let entry = &append.entry;
        let drafts: Vec<u64> = append
            .drafts
            .iter()
            .map(|draft| self.draft(draft))
            .collect();
        let closed: Vec<_> = entry
            .closed
            .iter()
            .map(|closing| (self.oid(closing.new), closing.outcome))
            .collect();
        let commits = |named: &[(String, Oid)]| -> Vec<u64> {
            named.iter().map(|(_, commit)| self.oid(*commit)).collect()
        };
        digest((
            seq == now.0,
            entry.kind,
            &entry.wave,
            (drafts, closed, commits(&entry.drift), commits(&entry.open)),
            self.state(&append.next),
            append.next.epoch.saturating_sub(now.1),
            append.next.moved == append.next.seq,
        ))
    }

    fn watch(&self, watch: &Watch) -> u64 {
        let state = self.world.state();
        // The order of two times matters only between a region's promotion and another one's illness.
        let is_ordered = watch
            .regions
            .values()
            .any(|region| !region.ill_since.is_empty());
        let regions: Vec<_> = watch
            .regions
            .iter()
            .map(|(name, region)| (name, self.region_watch(region, is_ordered)))
            .collect();
        let refused: Vec<_> = watch
            .refused
            .iter()
            .map(|((reference, new), refusal)| {
                (
                    self.reference(reference),
                    self.oid(*new),
                    refusal.count.min(8),
                    self.age(refusal.last, LONGEST_PAUSE),
                )
            })
            .collect();
        digest((
            self.rollout_id(watch.rollout.as_deref()),
            watch.epoch == Some(state.epoch),
            regions,
            watch.last.map(|at| self.age(at, LONGEST_LOOK)),
            watch
                .stalled
                .filter(|(moved, _)| *moved == state.moved)
                .map(|(_, since)| self.age(since, TAKEOVER_AFTER)),
            watch
                .entry
                .filter(|(seq, _)| *seq == state.seq)
                .map(|(_, at)| self.age(at, self.limits.interval)),
            watch
                .slots_free_since
                .map(|at| self.age(at, self.limits.interval)),
            refused,
            watch
                .sealing_since
                .map(|at| self.age(at, PUSH_DEADLINE + BEYOND)),
        ))
    }

    fn region_watch(&self, region: &RegionWatch, is_ordered: bool) -> u64 {
        let limits = &self.limits;
        let settled = limits.sampling.settle.unwrap_or_default()
            + limits.sampling.every.saturating_mul(SLOWER);
        let applied = if is_ordered { Duration::MAX } else { settled };
        let ill: Vec<_> = region
            .ill_since
            .iter()
            .map(|(gate, since)| (gate, self.age(*since, Duration::MAX)))
            .collect();
        let folds = |folds: &BTreeMap<String, GateFold>| -> Vec<_> {
            folds
                .iter()
                .map(|(gate, fold)| (gate.clone(), self.fold(fold)))
                .collect()
        };
        digest((
            folds(&region.before),
            region
                .asked_since
                .map(|at| self.age(at, limits.sampling.timeout.saturating_mul(2))),
            &region.asked,
            ill,
            region.state,
            folds(&region.after),
            region.applied.map(|at| self.age(at, applied)),
            region.deadline_used.min(limits.deadline),
            region.silent_used.min(limits.deadline),
            region
                .baking_used
                .min(limits.deadline + limits.bake.saturating_mul(3)),
            region.plain_bake.min(limits.bake),
        ))
    }

    fn fold(&self, fold: &GateFold) -> u64 {
        let limits = &self.limits;
        digest((
            fold.successes.min(limits.sampling.successes),
            fold.failures()
                .min(limits.sampling.failures.saturating_mul(2)),
            (
                fold.was_healthy(),
                fold.seen_healthy(),
                fold.answered(),
                fold.is_sick(),
                fold.is_proven(),
            ),
            // Whether it is silent counts for gates that read clusters, which no projected fleet has.
            fold.last().map(|(_, sample)| sample.reading),
            fold.last_healthy
                .map(|at| self.age(at, limits.sampling.every.saturating_mul(3) + BEYOND)),
            fold.baked().min(limits.bake),
        ))
    }
}
