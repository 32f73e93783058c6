//! What regions run, and what they answer about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fleet::region_tree;
use super::world::{Answer, World, wave_ref};
use crate::fleet::{Gate, GateCheck};
use crate::gate::{Reading, Sample};
use crate::oid::Oid;
use crate::rollout::{Phase, Probe, RegionSample};

impl World {
    /// The regions answer whoever asks, as often as they were asked to.
    pub fn sample(&mut self) {
        for index in 0..self.controllers.len() {
            if !self.controllers[index].alive {
                continue;
            }
            let monotonic = self.monotonic(index);
            for probe in self.controllers[index].probes.clone() {
                let key = (probe.region.clone(), probe.gate.name.clone(), probe.phase);
                let due = self.controllers[index]
                    .sampled
                    .get(&key)
                    .is_none_or(|last| monotonic.saturating_sub(*last) >= probe.every)
                    && monotonic >= probe.not_before;
                if due {
                    let sample = self.answer(&probe);
                    let answer = Answer {
                        at: self.now,
                        controller: self.controllers[index].name.clone(),
                        monotonic,
                        rollout: probe.rollout.clone(),
                        phase: probe.phase,
                        region: probe.region.clone(),
                        tree: self.running(&probe.region),
                        reading: sample.reading,
                        is_healthy: matches!(sample.reading, Reading::Healthy { .. }),
                        is_bad: sample.reading == Reading::Bad,
                    };
                    self.answers.push(Arc::new(answer));
                    let controller = &mut self.controllers[index];
                    controller.sampled.insert(key, monotonic);
                    controller.samples.push(RegionSample {
                        rollout: probe.rollout,
                        region: probe.region,
                        gate: probe.gate.name,
                        phase: probe.phase,
                        at: monotonic,
                        sample,
                    });
                }
            }
        }
    }

    /// What runs in a region: the folder on the branch that `regions.json` names.
    pub fn running(&self, region: &str) -> Option<Oid> {
        let wave = &self.state().placements.get(region)?.wave;
        let tip = self.refs.get(&wave_ref(wave))?;
        self.commits[tip].folders.get(region).copied()
    }

    fn answer(&self, probe: &Probe) -> Sample {
        let GateCheck::Http(check) = &probe.gate.check else {
            let reading = if let Some(reading) = self.blind.get(&probe.region) {
                *reading
            } else if self.running(&probe.region) == Some(probe.place.tree) {
                Reading::Healthy { proven: true }
            } else {
                Reading::Stale
            };
            let evidence = "as the cluster shows".to_owned();
            return Sample { reading, evidence };
        };
        let expected = check
            .expect
            .json
            .get("/version")
            .and_then(|version| version.as_str())
            .unwrap_or_default();
        let running = self.running(&probe.region);
        let region = &probe.region;
        let bad = running.is_some_and(|tree| self.is_bad(tree, region));
        let (reading, evidence) = if self.denied.contains(region) {
            (Reading::EgressDenied, "loopback is not allowed".to_owned())
        } else if self.dark.contains(region) {
            (Reading::Unreachable, "timed out".to_owned())
        } else if self.outage.contains(region) || bad {
            (Reading::Bad, "answered 500".to_owned())
        } else {
            self.answer_of_a_revision(probe, expected, running)
        };
        Sample { reading, evidence }
    }

    /// What a region that answers well says: which revision it runs is judged as production does.
    fn answer_of_a_revision(
        &self,
        probe: &Probe,
        expected: &str,
        running: Option<Oid>,
    ) -> (Reading, String) {
        let is_lagging = self.lagging.contains(&probe.region) && probe.phase == Phase::After;
        let shown = if is_lagging {
            self.last_good(&probe.region)
        } else {
            running
        };
        let shown = shown.map(|tree| tree.to_string());
        let expects = |gate: &Gate| {
            let check = gate.check.as_http()?;
            let version = check.expect.json.get("/version")?;
            version.as_str().map(str::to_owned)
        };
        if shown.as_deref() == Some(expected) {
            (Reading::Healthy { proven: true }, "answered 200".to_owned())
        } else if shown.is_none() || probe.older.iter().any(|older| expects(older) == shown) {
            (Reading::Stale, "still an older revision".to_owned())
        } else {
            (Reading::Bad, "another revision".to_owned())
        }
    }

    fn is_bad(&self, tree: Oid, region: &str) -> bool {
        self.bad_trees.contains(&tree)
            || self
                .words_of(tree, region)
                .iter()
                .any(|word| self.bad_words.contains(word))
    }

    /// The tree that really runs well in a region at this moment, whoever asks.
    pub fn runs_well(&self, region: &str) -> Option<Oid> {
        let troubled = [&self.denied, &self.dark, &self.outage]
            .iter()
            .any(|trouble| trouble.contains(region));
        // One that lags runs its last good.
        let is_late =
            |tree: Oid| self.lagging.contains(region) && self.last_good(region) != Some(tree);
        self.running(region)
            .filter(|tree| !troubled && !is_late(*tree) && !self.is_bad(*tree, region))
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
}
