//! The `workloads` gate: asks a region's API server for what its tree wants, and lets the rules judge that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_waves::duration;
use tidegate_waves::fleet::WorkloadsCheck;
use tidegate_waves::gate::{Reading as Sampled, Sample};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::Phase;

use super::asking::{Asking, Rendered, rendered};
use super::resources::Resources;
use super::{Baseline, Kind, Limits, Memory, Verdict, judge};
use crate::blocking::in_turn;
use crate::clock::Clock;
use crate::gates::trees::RegionTrees;
use crate::gates::{Target, Watch};
use crate::regions::Clusters;

/// What is remembered of a region from one sample to the next.
#[derive(Debug, Default)]
pub struct RegionMemory {
    rules: Memory,
    /// When the watch took its first sample.
    begun: Option<Duration>,
    /// What was rendered, by tree.
    rendered: BTreeMap<Oid, Arc<Vec<Rendered>>>,
    resources: Resources,
}

/// Reads regions' clusters.
pub struct WorkloadsGate {
    clusters: Arc<Clusters>,
    trees: RegionTrees,
    clock: Arc<dyn Clock>,
    /// By gate of a region: the rollout, and what was wrong before its promotion.
    baselines: Mutex<BTreeMap<Target, (String, Baseline)>>,
}

impl WorkloadsGate {
    /// A gate over these clusters.
    #[must_use]
    pub fn new(clusters: Arc<Clusters>, trees: RegionTrees, clock: Arc<dyn Clock>) -> Self {
        Self {
            clusters,
            trees,
            clock,
            baselines: Mutex::default(),
        }
    }

    /// One sample: whether what the tree wants is there and healthy.
    pub async fn sample(
        &self,
        check: &WorkloadsCheck,
        target: &Target,
        watch: &Watch,
        memory: &mut RegionMemory,
    ) -> Sample {
        let asked = tokio::time::timeout(watch.timeout, self.ask(check, target, watch, memory));
        asked.await.unwrap_or_else(|_| {
            let evidence = format!("no answer within {}", duration::format(watch.timeout));
            Sample::new(Sampled::Unreachable, evidence)
        })
    }

    async fn ask(
        &self,
        check: &WorkloadsCheck,
        target: &Target,
        watch: &Watch,
        memory: &mut RegionMemory,
    ) -> Sample {
        let place = &watch.place;
        let client = match self.clusters.client(&place.cluster).await {
            Ok(client) => client,
            Err(error) => return Sample::new(error.reading(), error.to_string()),
        };
        let trees = std::iter::once(place.tree).chain(place.older.iter().copied());
        let rendered = match self.rendered(trees, memory).await {
            Ok(rendered) => rendered,
            Err(evidence) => return Sample::new(Sampled::Unknown, evidence),
        };
        let Some((newest, older)) = rendered.split_first() else {
            return Sample::new(Sampled::Unknown, "no tree is known".to_owned());
        };
        let asked = Asking {
            client: &client,
            namespace: &check.namespace,
            resources: &mut memory.resources,
        };
        let (wanted, older, live) = match asked.look(newest, older).await {
            Ok(found) => found,
            Err(error) => {
                self.clusters.failed(&place.cluster, &error);
                return Sample::new(error.reading(), error.to_string());
            }
        };
        let now = self.clock.monotonic();
        let limits = Limits::of(check, watch.every.unwrap_or_default());
        let mut baselines = self
            .baselines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (rollout, baseline) = baselines.entry(target.clone()).or_default();
        if *rollout != watch.rollout {
            rollout.clone_from(&watch.rollout);
            *baseline = Baseline::default();
        }
        if watch.phase == Phase::Before {
            let limits = Limits {
                stable_for: Duration::ZERO,
                ..limits
            };
            return read(&baseline.look(&wanted, &live, &limits, &mut memory.rules, now));
        }
        // Judged anew, a region's restarts count from now on.
        let forgotten = (watch.anew > 0).then(|| baseline.without_restarts());
        let mut verdict = judge(
            &wanted,
            &older,
            &live,
            &limits,
            &mut memory.rules,
            forgotten.as_ref().unwrap_or(baseline),
            now,
        );
        // Where no older tree of ours could run, this one is what was seen.
        verdict.proven |= older.is_empty();
        let begun = *memory.begun.get_or_insert(now);
        let mut sample = read(&verdict);
        if sample.reading == (Sampled::Healthy { proven: false })
            && now.saturating_sub(begun) < watch.unproven_for
        {
            sample.reading = Sampled::Progressing;
            sample.evidence = format!(
                "nothing proves that this revision runs; healthy counts after {}",
                duration::format(watch.unproven_for)
            );
        }
        sample
    }

    /// What was rendered for these trees; read from git once for each.
    async fn rendered(
        &self,
        trees: impl Iterator<Item = Oid>,
        memory: &mut RegionMemory,
    ) -> Result<Vec<Arc<Vec<Rendered>>>, String> {
        let mut all = Vec::new();
        for tree in trees {
            if let Some(known) = memory.rendered.get(&tree) {
                all.push(Arc::clone(known));
                continue;
            }
            let of_fleet = self.trees.clone();
            let rendered = in_turn(move || of_fleet.objects(tree).map(rendered)).await;
            let rendered = Arc::new(rendered.map_err(|error| error.to_string())?);
            memory.rendered.insert(tree, Arc::clone(&rendered));
            all.push(rendered);
        }
        Ok(all)
    }
}

fn read(verdict: &Verdict) -> Sample {
    let reading = match verdict.kind {
        Kind::Healthy => Sampled::Healthy {
            proven: verdict.proven,
        },
        Kind::Progressing => Sampled::Progressing,
        Kind::Stale => Sampled::Stale,
        Kind::Unknown => Sampled::Unknown,
        Kind::Sick => Sampled::Sick,
        Kind::Fail => Sampled::Bad,
    };
    Sample::new(reading, verdict.evidence.clone())
}
