//! From what a decision wants sampled to what the sampler does, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_waves::fleet::UNPROVEN_SETTLE;
use tidegate_waves::gate::Reading;
use tidegate_waves::rollout::{Phase, Probe, RegionSample};
use tracing::{debug, info, warn};

use super::ports::Remote;
use super::{Engine, EngineError};
use crate::gates::{Observed, Target, Watch};

/// The most samples that wait for a decision, while the remote cannot be reached.
const MOST_WAITING: usize = 20_000;

/// How long the first sample waits for others, so that a thousand regions do not mean a thousand decisions.
pub(super) const GATHER_SAMPLES: Duration = Duration::from_millis(20);

/// What is sampled now, by target.
#[derive(Default)]
pub(super) struct Sampled {
    next: u64,
    of: BTreeMap<Target, Order>,
    /// Of which it was said that they may not be asked.
    denied: BTreeSet<Target>,
    /// Regions that were given back what they had, by rollout, and what was last said of them.
    given_back: BTreeMap<(String, Target), Reading>,
    /// Since when a run that is to end waits for those.
    waits_since: Option<Duration>,
}

/// How long a run that is to end waits for regions that were given back what they had.
const GIVEN_BACK_IS_WATCHED_FOR: Duration = Duration::from_secs(60);

/// One target's order to the sampler.
struct Order {
    watch: Watch,
    /// What the last sample said.
    said: Option<Reading>,
}

impl<R: Remote> Engine<R> {
    /// Takes a sample in, unless it was taken for what is over.
    pub(super) fn take(&mut self, observed: Observed) {
        let Some(order) = self
            .sampled
            .of
            .get_mut(&observed.target)
            .filter(|order| order.watch.generation == observed.generation)
        else {
            return;
        };
        if observed.sample.reading == Reading::EgressDenied
            && self.sampled.denied.insert(observed.target.clone())
        {
            // Until its deadline such a region only looks as if it were not healthy yet.
            warn!(
                region = observed.target.region,
                gate = observed.target.gate,
                evidence = observed.sample.evidence,
                "the operator's settings do not let this gate be asked"
            );
        }
        if order.watch.phase == Phase::GivenBack {
            let key = (order.watch.rollout.clone(), observed.target.clone());
            let reading = observed.sample.reading;
            if self.sampled.given_back.insert(key, reading) != Some(reading) {
                info!(region = observed.target.region, gate = observed.target.gate, reading = ?reading, evidence = observed.sample.evidence, "seen since the region was given back what it had");
            }
        }
        // What is healthy or harmful shows in the log branch; why nothing is known would show only at the deadline.
        let said = order.said.replace(observed.sample.reading);
        if said != Some(observed.sample.reading)
            && matches!(
                observed.sample.reading,
                Reading::Unreachable | Reading::Unknown | Reading::Sick
            )
        {
            warn!(region = observed.target.region, gate = observed.target.gate, reading = ?observed.sample.reading, evidence = observed.sample.evidence, "a gate cannot judge its region");
        }
        debug!(region = observed.target.region, gate = observed.target.gate, reading = ?observed.sample.reading, evidence = observed.sample.evidence, "sampled");
        let samples = &mut self.pending.samples;
        if samples.len() >= MOST_WAITING {
            samples.drain(..MOST_WAITING / 2);
        }
        samples.push(RegionSample {
            rollout: order.watch.rollout.clone(),
            region: observed.target.region,
            gate: observed.target.gate,
            phase: order.watch.phase,
            at: observed.started_at,
            sample: observed.sample,
        });
    }

    /// Whether regions that were given back what they had are still watched, so that what hurries them goes on: a run that is
    /// to end waits for a while.
    pub(super) fn watches_what_was_given_back(&mut self) -> bool {
        let is_watched = |order: &Order| order.watch.phase == Phase::GivenBack;
        if !self.sampled.of.values().any(is_watched) {
            self.sampled.waits_since = None;
            return false;
        }
        let now = self.clock.monotonic();
        let since = *self.sampled.waits_since.get_or_insert(now);
        now.saturating_sub(since) < GIVEN_BACK_IS_WATCHED_FOR
    }

    /// Hands the sampler what is to be sampled from now on.
    pub(super) fn sample(&mut self, probes: &[Probe]) -> Result<(), EngineError> {
        let now = self.clock.monotonic();
        let mut of = BTreeMap::new();
        self.sampled
            .given_back
            .retain(|(rollout, _), _| probes.iter().any(|probe| probe.rollout == *rollout));
        for probe in probes {
            let target = Target {
                region: probe.region.clone(),
                gate: probe.gate.name.clone(),
            };
            if probe.phase == Phase::GivenBack {
                // Once all is well there, nobody needs to be hurried any more.
                let key = (probe.rollout.clone(), target.clone());
                let said = self.sampled.given_back.get(&key);
                if said.is_some_and(|reading| matches!(reading, Reading::Healthy { .. })) {
                    continue;
                }
            }
            let older = probe.older.iter().map(|gate| &gate.check);
            let known = self.sampled.of.remove(&target).filter(|order| {
                order.watch.rollout == probe.rollout
                    && order.watch.phase == probe.phase
                    && order.watch.check == probe.gate.check
                    && order.watch.place == probe.place
                    && order.watch.anew == probe.anew
                    && order.watch.older.iter().eq(older.clone())
                    && order.watch.every == Some(probe.every)
            });
            let order = known.unwrap_or_else(|| {
                self.sampled.next += 1;
                Order {
                    watch: Watch {
                        generation: self.sampled.next,
                        rollout: probe.rollout.clone(),
                        phase: probe.phase,
                        anew: probe.anew,
                        check: probe.gate.check.clone(),
                        older: older.cloned().collect(),
                        place: probe.place.clone(),
                        settle: probe.not_before.saturating_sub(now),
                        unproven_for: probe.gate.sampling.settle.unwrap_or(UNPROVEN_SETTLE),
                        every: Some(probe.every),
                        timeout: probe.gate.sampling.timeout,
                        at_once: probe.is_awaited,
                    },
                    said: None,
                }
            });
            of.insert(target, order);
        }
        self.sampled.of = of;
        let wanted = self
            .sampled
            .of
            .iter()
            .map(|(target, order)| (target.clone(), order.watch.clone()))
            .collect();
        self.sampler
            .watch(wanted)
            .map_err(|error| EngineError::TaskDied(error.to_string()))
    }
}
