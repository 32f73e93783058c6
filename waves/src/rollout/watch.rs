//! What this process counts while it watches: samples, bakes, deadlines. A cache; losing it costs time only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::judged::Judged;
use super::observation::{Now, Observations, Phase, PushOutcome};
use super::state::{Baseline, FleetState, HoldReason, RegionState, Rollout};
use crate::fleet::Gate;
use crate::gate::{GateFold, GateState, Reading};
use crate::oid::Oid;

/// The longest time between two looks that is counted as watched.
const LONGEST_STEP: Duration = Duration::from_secs(30);
/// How often a gate is asked before its region counts as not healthy before a promotion.
const ANSWERS_BEFORE_UNWELL: u32 = 2;

/// What one process counts for one fleet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watch {
    /// The rollout that the regions below belong to.
    pub(super) rollout: Option<String>,
    /// The log's epoch when this was last brought up to date.
    pub(super) epoch: Option<u64>,
    pub(super) regions: BTreeMap<String, RegionWatch>,
    /// When this was last brought up to date.
    pub(super) last: Option<Duration>,
    /// The log's newest entry that is no takeover, and since when work was due that it did not do.
    pub(super) stalled: Option<(u64, Duration)>,
    /// When the last entry of this process was written (or seen).
    pub(super) entry: Option<(u64, Duration)>,
    /// Since when each wave has had a free slot.
    pub(super) slots_free_since: Option<Duration>,
    /// Refusals by ref and commit: when the first came, how many, and the server's words.
    pub(super) refused: BTreeMap<(String, Oid), Refusal>,
    /// Since when seals are under way.
    pub(super) sealing_since: Option<Duration>,
}

/// A push that the server refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) count: u32,
    pub(super) last: Duration,
    pub(super) message: String,
}

/// What one process counts for one region.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegionWatch {
    /// Gates of the last good tree, before the promotion.
    pub(super) before: BTreeMap<String, GateFold>,
    /// Since when its promotion waits for an answer from before it.
    pub(super) asked_since: Option<Duration>,
    /// How often each gate has answered or failed to since then, up to [`ANSWERS_BEFORE_UNWELL`].
    pub(super) asked: BTreeMap<String, u32>,
    /// Gates of the last good tree that answer badly, and since when.
    pub(super) ill_since: BTreeMap<String, Duration>,
    /// The state in which it was last seen.
    pub(super) state: Option<RegionState>,
    /// Gates of the plan, after it.
    pub(super) after: BTreeMap<String, GateFold>,
    /// When this process first saw the tree applied; of a region that waits on a superseded rollout's tree, that tree.
    pub(super) applied: Option<Duration>,
    /// Watched time since applied without having been healthy, while something could be learnt.
    pub(super) deadline_used: Duration,
    /// Watched time since applied in which nothing could be learnt of the region.
    pub(super) silent_used: Duration,
    /// Watched time since first healthy without being done.
    pub(super) baking_used: Duration,
    /// The bake of a region without gates.
    pub(super) plain_bake: Duration,
    /// How often it was judged anew.
    pub(super) anew: u32,
}

/// How regions without the change are, on the gate that fails on one with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// None of them has turned to harm since.
    Well,
    /// Some answer badly, not yet as often as it takes.
    Undecided,
    /// These have turned to harm since.
    Ill(BTreeSet<String>),
}

impl Watch {
    /// Brings the counts up to date with what was seen.
    pub(super) fn update(&mut self, state: &FleetState, observations: &Observations, now: Now) {
        let step = self
            .last
            .map_or(Duration::ZERO, |last| now.monotonic.saturating_sub(last))
            .min(LONGEST_STEP);
        self.last = Some(now.monotonic);
        self.epoch = Some(state.epoch);
        if self.entry.is_none_or(|(seq, _)| seq != state.seq) {
            self.entry = Some((state.seq, now.monotonic));
        }
        for report in &observations.pushes {
            let key = (report.reference.clone(), report.new);
            match &report.outcome {
                PushOutcome::Refused { message } => {
                    let refusal = self.refused.entry(key).or_insert_with(|| Refusal {
                        count: 0,
                        last: now.monotonic,
                        message: String::new(),
                    });
                    refusal.count = refusal.count.saturating_add(1);
                    refusal.last = now.monotonic;
                    refusal.message.clone_from(message);
                }
                PushOutcome::Moved | PushOutcome::LostRace => {
                    self.refused.remove(&key);
                }
                PushOutcome::Ambiguous => {}
            }
        }
        self.refused.retain(|(reference, new), _| {
            state
                .intents
                .iter()
                .any(|intent| intent.draft.reference == *reference && intent.new == *new)
        });

        let Some(rollout) = state.active() else {
            self.rollout = None;
            self.regions.clear();
            self.slots_free_since = None;
            self.sealing_since = None;
            return;
        };
        let mine = state.holder == observations.me;
        if self.rollout.as_deref() != Some(rollout.id.as_str()) {
            self.rollout = Some(rollout.id.clone());
            self.regions.clear();
            self.slots_free_since = None;
            self.sealing_since = None;
            let recovered = observations
                .recovered
                .iter()
                .filter(|(_, sums)| mine && sums.epoch == Some(state.epoch));
            for (region, sums) in recovered {
                let watch = self.regions.entry(region.clone()).or_default();
                watch.deadline_used = sums.deadline_used;
                watch.plain_bake = sums.baked;
                for gate in rollout.gates_of(region) {
                    watch
                        .after
                        .entry(gate.name.clone())
                        .or_default()
                        .resume_bake(sums.baked);
                }
            }
        }
        match &rollout.sealing {
            Some(_) => {
                self.sealing_since.get_or_insert(now.monotonic);
            }
            None => self.sealing_since = None,
        }
        self.begin_anew(rollout, now);
        self.add_samples(state, rollout, observations);
        for wave in &rollout.waves {
            for (region, run) in &wave.regions {
                let watch = self.regions.entry(region.clone()).or_default();
                let known = watch.state.replace(run.state);
                if run.state == RegionState::Pending && rollout.inherited.contains_key(region) {
                    watch.applied.get_or_insert(now.monotonic);
                }
                if !run.state.is_watched() {
                    continue;
                }
                // Time since the last look counts where the state was known then: seen there, or written by us since.
                let is_counted = mine || known == Some(run.state);
                let step = if is_counted { step } else { Duration::ZERO };
                watch.applied.get_or_insert(now.monotonic);
                // Somebody else's tree says nothing about ours: it is judged from the start once ours is back.
                if is_disturbed(state, rollout, &wave.name, region) {
                    watch.restart(now.monotonic);
                    continue;
                }
                // A gate that has not answered yet has nothing baked, and the region's sum is that of the last one.
                for gate in rollout.gates_of(region) {
                    watch.after.entry(gate.name.clone()).or_default();
                }
                match run.state {
                    RegionState::Baking => {
                        watch.baking_used += step;
                        watch.plain_bake += step;
                    }
                    RegionState::Done => {}
                    _ if watch.is_silent(rollout.gates_of(region)) => watch.silent_used += step,
                    _ => watch.deadline_used += step,
                }
            }
        }
    }

    /// A region whose promotion begins, or that a person lets be tried again, is judged from the start.
    fn begin_anew(&mut self, rollout: &Rollout, now: Now) {
        for (region, run) in rollout.waves.iter().flat_map(|wave| &wave.regions) {
            let Some(watch) = self.regions.get_mut(region) else {
                continue;
            };
            let changed = watch.state.is_some_and(|known| known != run.state);
            if changed && run.state.begins() {
                watch.restart(now.monotonic);
                watch.asked_since = None;
                watch.asked.clear();
            }
        }
    }

    fn add_samples(&mut self, state: &FleetState, rollout: &Rollout, observations: &Observations) {
        for sample in observations
            .samples
            .iter()
            .filter(|sample| sample.rollout == rollout.id)
        {
            let Some((_, run)) = rollout.region(&sample.region) else {
                continue;
            };
            let watch = self.regions.entry(sample.region.clone()).or_default();
            match sample.phase {
                Phase::Before => {
                    let gates = state
                        .last_good
                        .get(&sample.region)
                        .map(|good| good.gates.as_slice())
                        .unwrap_or_default();
                    if let Some(gate) = gates.iter().find(|gate| gate.name == sample.gate) {
                        if watch.asked_since.is_some_and(|since| sample.at >= since) {
                            let asked = watch.asked.entry(sample.gate.clone()).or_default();
                            *asked = asked.saturating_add(1).min(ANSWERS_BEFORE_UNWELL);
                        }
                        match sample.sample.reading {
                            Reading::Healthy { .. } => {
                                watch.ill_since.remove(&sample.gate);
                            }
                            Reading::Bad => {
                                watch
                                    .ill_since
                                    .entry(sample.gate.clone())
                                    .or_insert(sample.at);
                            }
                            Reading::Sick
                            | Reading::Progressing
                            | Reading::Stale
                            | Reading::Unknown
                            | Reading::Unreachable
                            | Reading::EgressDenied => {}
                        }
                        watch.before.entry(sample.gate.clone()).or_default().add(
                            &gate.sampling,
                            &sample.sample,
                            sample.at,
                            true,
                        );
                    }
                }
                Phase::GivenBack => {}
                Phase::After => {
                    let Some(judged) = Judged::of(state, rollout, &sample.region, run) else {
                        continue;
                    };
                    let (Some(gate), Some(applied)) = (judged.gate(&sample.gate), watch.applied)
                    else {
                        continue;
                    };
                    if sample.at >= judged.counts_from(gate, applied) {
                        watch.after.entry(sample.gate.clone()).or_default().add(
                            &gate.sampling,
                            &sample.sample,
                            sample.at,
                            judged.harm_counts(),
                        );
                    }
                }
            }
        }
    }

    /// What the gates of a region's last good say before its promotion; `None` while that is still to be
    /// waited for. A region on a superseded tree keeps the verdict from before that tree came.
    ///
    /// Time alone says nothing of a region: a controller that is slow, or was asleep, has only not asked yet. A region
    /// that was not healthy before has no harm held against the commit, so that each gate that is not healthy must
    /// have been asked twice, and for twice its timeout.
    pub(super) fn baseline(
        &mut self,
        state: &FleetState,
        region: &str,
        now: Now,
    ) -> Option<Baseline> {
        if let Some(inherited) = state
            .active()
            .and_then(|rollout| rollout.inherited.get(region))
        {
            return Some(if inherited.was_healthy {
                Baseline::Healthy
            } else {
                inherited.before.unwrap_or(Baseline::Unknown)
            });
        }
        let gates = match state.last_good.get(region) {
            Some(good) if !good.gates.is_empty() => good.gates.as_slice(),
            _ => return Some(Baseline::Unknown),
        };
        let watch = self.regions.entry(region.to_owned()).or_default();
        let readings: Vec<Option<Reading>> = gates
            .iter()
            .map(|gate| {
                watch
                    .before
                    .get(&gate.name)
                    .and_then(GateFold::last)
                    .map(|(_, sample)| sample.reading)
            })
            .collect();
        if readings
            .iter()
            .all(|reading| matches!(reading, Some(Reading::Healthy { .. })))
        {
            return Some(Baseline::Healthy);
        }
        let longest = gates
            .iter()
            .map(|gate| gate.sampling.timeout)
            .max()
            .unwrap_or_default()
            .saturating_mul(2);
        let since = *watch.asked_since.get_or_insert(now.monotonic);
        let asked_again = gates.iter().zip(&readings).all(|(gate, reading)| {
            matches!(reading, Some(Reading::Healthy { .. }))
                || watch
                    .asked
                    .get(&gate.name)
                    .is_some_and(|asked| *asked >= ANSWERS_BEFORE_UNWELL)
        });
        if !asked_again || now.monotonic.saturating_sub(since) < longest {
            return None;
        }
        if readings.contains(&Some(Reading::Bad)) {
            Some(Baseline::Sick)
        } else {
            Some(Baseline::Unknown)
        }
    }

    /// Whether all gates of a region are healthy now; true if it has none.
    pub(super) fn all_healthy(&self, region: &str, gates: &[&Gate]) -> bool {
        gates.iter().all(|gate| {
            self.gate(region, &gate.name)
                .is_some_and(|fold| fold.state(&gate.sampling) == GateState::Healthy)
        })
    }

    /// How long a region has baked: its slowest gate's sum, or this process's own time if it has none.
    pub(super) fn baked(&self, region: &str, gates: &[&Gate]) -> Duration {
        gates
            .iter()
            .map(|gate| {
                self.gate(region, &gate.name)
                    .map_or(Duration::ZERO, GateFold::baked)
            })
            .min()
            .unwrap_or_else(|| {
                self.regions
                    .get(region)
                    .map_or(Duration::ZERO, |watch| watch.plain_bake)
            })
    }

    pub(super) fn gate(&self, region: &str, gate: &str) -> Option<&GateFold> {
        self.regions.get(region)?.after.get(gate)
    }

    /// How long a region was waited for since its tree was applied: while something could be learnt, and while nothing could.
    pub(super) fn waited_for(&self, region: &str) -> Option<(Duration, Duration)> {
        let watch = self.regions.get(region)?;
        Some((watch.deadline_used, watch.silent_used))
    }

    /// Whether any gate of a region that is judged is in a run of harmful samples.
    pub(super) fn any_suspect(&self) -> bool {
        self.regions
            .values()
            .filter(|watch| watch.state.is_some_and(RegionState::is_watched))
            .any(|watch| watch.after.values().any(GateFold::is_suspect))
    }

    /// Whether regions that wait for their promotion, and were healthy when `failing` was promoted, have turned
    /// to harm on this gate: as many harmful samples in a row as their gate asks for. While that is known already,
    /// the illness alone counts: a restart forgets that they were healthy.
    pub(super) fn turned_ill_elsewhere(
        &self,
        state: &FleetState,
        rollout: &Rollout,
        gate: &str,
        failing: &str,
        known: bool,
    ) -> Elsewhere {
        let promoted = self
            .regions
            .get(failing)
            .and_then(|watch| watch.applied)
            .unwrap_or_default();
        let mut ill = BTreeSet::new();
        let mut undecided = false;
        for (region, run) in rollout.waves.iter().flat_map(|wave| &wave.regions) {
            if run.state != RegionState::Pending || region == failing {
                continue;
            }
            let Some(watch) = self.regions.get(region) else {
                continue;
            };
            let (Some(since), Some(fold)) = (watch.ill_since.get(gate), watch.before.get(gate))
            else {
                continue;
            };
            let turned = *since >= promoted && fold.seen_healthy();
            if !(known || turned) {
                continue;
            }
            let sampling = state
                .last_good
                .get(region)
                .and_then(|good| good.gates.iter().find(|judging| judging.name == gate))
                .map(|judging| judging.sampling);
            if sampling.is_some_and(|sampling| fold.state(&sampling) == GateState::Harm) {
                ill.insert(region.clone());
            } else {
                undecided = true;
            }
        }
        if !ill.is_empty() {
            Elsewhere::Ill(ill)
        } else if undecided {
            Elsewhere::Undecided
        } else {
            Elsewhere::Well
        }
    }

    /// The bake and deadline sums that the cache keeps, by region.
    #[must_use]
    pub fn sums(&self) -> Vec<(String, super::observation::RecoveredSums)> {
        self.regions
            .iter()
            .map(|(region, watch)| {
                let baked = watch
                    .after
                    .values()
                    .map(GateFold::baked)
                    .min()
                    .unwrap_or(watch.plain_bake);
                (
                    region.clone(),
                    super::observation::RecoveredSums {
                        baked,
                        deadline_used: watch.deadline_used,
                        epoch: self.epoch,
                    },
                )
            })
            .collect()
    }

    /// The log's epoch in which the sums were counted.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// The rollout that the sums belong to.
    #[must_use]
    pub fn rollout(&self) -> Option<&str> {
        self.rollout.as_deref()
    }
}

/// Whether something else than this rollout's tree stands in a region's folder, or its branch is not where we left it.
fn is_disturbed(state: &FleetState, rollout: &Rollout, wave: &str, region: &str) -> bool {
    let is_lost = state.holds.iter().any(|hold| {
        let (rewritten, deleted) = (HoldReason::HistoryRewritten, HoldReason::BranchDeleted);
        [rewritten, deleted].contains(&hold.reason) && hold.wave.as_deref() == Some(wave)
    });
    is_lost
        || state.folder(wave, region)
            != rollout.plan.regions.get(region).map(|planned| planned.tree)
}

impl RegionWatch {
    /// Whether nothing can be learnt of the region now: each of its gates that is not healthy reads a cluster, and hears
    /// nothing of the revision there.
    fn is_silent<'a>(&self, gates: impl Iterator<Item = &'a Gate>) -> bool {
        let mut heard = gates.filter_map(|gate| {
            let fold = self.after.get(&gate.name)?;
            let is_healthy = fold.state(&gate.sampling) == GateState::Healthy;
            (!is_healthy).then(|| !(gate.check.reads_cluster() && fold.is_silent()))
        });
        heard.next() == Some(false) && !heard.any(|heard| heard)
    }

    /// Forgets what was seen since the promotion.
    fn restart(&mut self, now: Duration) {
        self.after.clear();
        self.applied = Some(now);
        self.deadline_used = Duration::ZERO;
        self.silent_used = Duration::ZERO;
        self.baking_used = Duration::ZERO;
        self.plain_bake = Duration::ZERO;
        self.anew = self.anew.saturating_add(1);
    }
}
