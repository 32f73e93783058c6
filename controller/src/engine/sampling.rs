//! From what a decision wants sampled to what the sampler does, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_waves::fleet::GateCheck;
use tidegate_waves::gate::Reading;
use tidegate_waves::rollout::{Phase, Probe, RegionSample};
use tracing::{debug, warn};

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
}

/// One target's order to the sampler, and what it was given for.
struct Order {
    rollout: String,
    phase: Phase,
    watch: Watch,
}

impl<R: Remote> Engine<R> {
    /// Takes a sample in, unless it was taken for what is over.
    pub(super) fn take(&mut self, observed: Observed) {
        let Some(order) = self
            .sampled
            .of
            .get(&observed.target)
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
        debug!(region = observed.target.region, gate = observed.target.gate, reading = ?observed.sample.reading, evidence = observed.sample.evidence, "sampled");
        let samples = &mut self.pending.samples;
        if samples.len() >= MOST_WAITING {
            samples.drain(..MOST_WAITING / 2);
        }
        samples.push(RegionSample {
            rollout: order.rollout.clone(),
            region: observed.target.region,
            gate: observed.target.gate,
            phase: order.phase,
            at: observed.started_at,
            sample: observed.sample,
        });
    }

    /// Hands the sampler what is to be sampled from now on.
    pub(super) fn sample(&mut self, probes: &[Probe]) -> Result<(), EngineError> {
        let now = self.clock.monotonic();
        let mut of = BTreeMap::new();
        for probe in probes {
            let target = Target {
                region: probe.region.clone(),
                gate: probe.gate.name.clone(),
            };
            let GateCheck::Http(check) = &probe.gate.check;
            let older = probe.older.iter().map(|gate| {
                let GateCheck::Http(check) = &gate.check;
                check
            });
            let known = self.sampled.of.remove(&target).filter(|order| {
                order.rollout == probe.rollout
                    && order.phase == probe.phase
                    && order.watch.check == *check
                    && order.watch.older.iter().eq(older.clone())
                    && order.watch.every == Some(probe.every)
            });
            let order = known.unwrap_or_else(|| {
                self.sampled.next += 1;
                Order {
                    rollout: probe.rollout.clone(),
                    phase: probe.phase,
                    watch: Watch {
                        generation: self.sampled.next,
                        check: check.clone(),
                        older: older.cloned().collect(),
                        settle: probe.not_before.saturating_sub(now),
                        every: Some(probe.every),
                        timeout: probe.gate.sampling.timeout,
                        at_once: probe.is_awaited,
                    },
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
