//! Samples in, gate state out: how the answers of one gate on one region are counted.
//!
//! A gate passes only on positive evidence and fails only on positive evidence of harm. Everything
//! else (unreachable, stale, unknown) neither passes nor fails: it lets time go by, and a deadline
//! decides what that means.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fleet::{Gate, GateCheck, Sampling, UNPROVEN_SETTLE};

/// What one sample of a gate says by itself, before it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reading {
    /// All that was expected is so; `proven` if the answer also showed that it came from this revision.
    Healthy {
        /// Whether the answer proves the revision.
        proven: bool,
    },
    /// An answer that is not what was expected: harm, if the region was healthy before or has been since.
    Bad,
    /// Harm that the gate itself saw before the promotion already, so that it is no evidence against the commit.
    Sick,
    /// This revision answered, and is neither healthy yet nor harmful.
    Progressing,
    /// A revision could be read, and it is the old one.
    Stale,
    /// Something was read from which nothing follows, such as an object that somebody else changes.
    Unknown,
    /// Nothing could be learnt: no route, timeout, DNS, TLS, redirect, an answer that is too large.
    Unreachable,
    /// The operator's egress rules forbid the address.
    EgressDenied,
}

/// One sample: what it says, and the words for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// What it says.
    pub reading: Reading,
    /// One plain line, such as `answered 500`; never a body beyond the compared values.
    pub evidence: String,
}

impl Sample {
    /// One sample.
    pub fn new(reading: Reading, evidence: impl Into<String>) -> Self {
        Self {
            reading,
            evidence: evidence.into(),
        }
    }
}

/// What the samples of a gate add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GateState {
    /// `successes` healthy samples in a row, and nothing since that ended the run.
    Healthy,
    /// `failures` harmful samples, with no healthy one among them.
    Harm,
    /// Anything else.
    Unknown,
}

/// So many samples in a row from which nothing follows are a silence, and no slip of the network.
const SILENCE: u32 = 3;

/// The count of one gate on one region since one promotion.
///
/// Times are monotonic, measured from any fixed point of this process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GateFold {
    pub(crate) successes: u32,
    failures: u32,
    /// Whether the gate has been healthy at least once.
    healthy_once: bool,
    /// Whether any sample was healthy.
    seen_healthy: bool,
    /// Whether any sample answered at all, for better or worse.
    answered: bool,
    /// From how many samples in a row nothing follows.
    untold: u32,
    /// Whether a sample was [`Reading::Bad`] while that could not be held against the commit.
    sick: bool,
    /// Whether the last healthy sample proved the revision.
    proven: bool,
    last: Option<(Duration, Sample)>,
    pub(crate) last_healthy: Option<Duration>,
    baked: Duration,
}

impl GateFold {
    /// Counts one sample, taken at `at`.
    ///
    /// `harm_counts` tells whether the region was healthy before its promotion; a gate that has been
    /// healthy since counts harm in any case. Samples must come in the order in which they were taken.
    pub fn add(&mut self, sampling: &Sampling, sample: &Sample, at: Duration, harm_counts: bool) {
        self.untold = match sample.reading {
            Reading::Stale | Reading::Unknown | Reading::Unreachable | Reading::EgressDenied => {
                self.untold.saturating_add(1)
            }
            Reading::Healthy { .. } | Reading::Bad | Reading::Sick | Reading::Progressing => 0,
        };
        match sample.reading {
            Reading::Healthy { proven } => {
                self.answered = true;
                self.seen_healthy = true;
                self.proven = proven;
                self.successes = self.successes.saturating_add(1);
                self.failures = 0;
                // The bake begins once the gate is healthy, not with the first answer on the way there.
                if let Some(before) = self.last_healthy.filter(|_| self.healthy_once) {
                    let gap = at.saturating_sub(before);
                    if gap <= sampling.every.saturating_mul(3) {
                        self.baked = self.baked.saturating_add(gap);
                    }
                }
                if self.successes >= sampling.successes {
                    self.healthy_once = true;
                }
                self.last_healthy = Some(at);
            }
            Reading::Bad => {
                self.answered = true;
                self.successes = 0;
                self.last_healthy = None;
                if harm_counts || self.healthy_once {
                    self.failures = self.failures.saturating_add(1);
                    self.baked = Duration::ZERO;
                } else {
                    self.sick = true;
                }
            }
            Reading::Sick => {
                self.successes = 0;
                self.last_healthy = None;
                self.sick = true;
            }
            Reading::Progressing => {
                self.answered = true;
                self.successes = 0;
                self.last_healthy = None;
            }
            Reading::Stale | Reading::Unknown | Reading::Unreachable | Reading::EgressDenied => {
                self.successes = 0;
                self.last_healthy = None;
            }
        }
        self.last = Some((at, sample.clone()));
    }

    /// What the samples add up to.
    #[must_use]
    pub fn state(&self, sampling: &Sampling) -> GateState {
        if self.failures >= sampling.failures {
            GateState::Harm
        } else if self.successes >= sampling.successes {
            GateState::Healthy
        } else {
            GateState::Unknown
        }
    }

    /// Forgets a run of harmful samples: what showed it is over, and the gate is judged anew.
    pub fn forget_harm(&mut self) {
        self.failures = 0;
    }

    /// Carries a bake on that an earlier run of this process had counted.
    pub fn resume_bake(&mut self, baked: Duration) {
        self.baked = self.baked.max(baked);
    }

    /// The sum of the intervals between healthy samples at most three `every` apart, since it
    /// was first healthy or the last harm.
    #[must_use]
    pub fn baked(&self) -> Duration {
        self.baked
    }

    /// Whether a run of harmful samples is under way.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.failures > 0
    }

    /// How many harmful samples are in the run that is under way.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the gate has been healthy at least once.
    #[must_use]
    pub fn was_healthy(&self) -> bool {
        self.healthy_once
    }

    /// Whether any sample answered at all.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.answered
    }

    /// Whether nothing follows from some samples in a row, up to the newest one: old, unknown, or nothing could be read.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.untold >= SILENCE
    }

    /// Whether any sample was healthy.
    #[must_use]
    pub fn seen_healthy(&self) -> bool {
        self.seen_healthy
    }

    /// Whether it answered badly where that is no evidence against the commit.
    #[must_use]
    pub fn is_sick(&self) -> bool {
        self.sick
    }

    /// Whether the last healthy sample proved the revision.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// The newest sample and when it was taken.
    #[must_use]
    pub fn last(&self) -> Option<&(Duration, Sample)> {
        self.last.as_ref()
    }
}

/// Whether a gate can tell this render's answer from those of all older ones: for each of them, given by the gates that
/// it has, an expected JSON value differs between the two. Argo CD says which commit it shows; a gate that reads workloads
/// finds out only by what the two trees want.
///
/// Without any there is no older revision of ours that could answer, so that any expected JSON value tells.
#[must_use]
pub fn can_prove(gate: &Gate, older: &[&[Gate]]) -> bool {
    let check = match &gate.check {
        GateCheck::Http(check) => check,
        GateCheck::Argocd(_) => return true,
        GateCheck::Workloads(_) => return false,
    };
    if check.expect.json.is_empty() {
        return false;
    }
    older.iter().all(|gates| {
        gates
            .iter()
            .filter(|before| before.name == gate.name)
            .filter_map(|before| before.check.as_http())
            .any(|before| {
                check.expect.json.iter().any(|(pointer, value)| {
                    before
                        .expect
                        .json
                        .get(pointer)
                        .is_some_and(|old| old != value)
                })
            })
    })
}

/// How long after the promotion a gate is first asked. `provable` tells whether any gate of the
/// region can prove this change.
#[must_use]
pub fn settle(sampling: &Sampling, provable: bool) -> Duration {
    match sampling.settle {
        Some(written) => written,
        None if provable => Duration::ZERO,
        None => UNPROVEN_SETTLE,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sampling(successes: u32, failures: u32) -> Sampling {
        Sampling {
            successes,
            failures,
            every: Duration::from_secs(10),
            ..Sampling::default()
        }
    }

    fn sample(reading: Reading) -> Sample {
        Sample {
            reading,
            evidence: String::new(),
        }
    }

    const HEALTHY: Reading = Reading::Healthy { proven: true };

    fn fold(sampling: &Sampling, harm_counts: bool, readings: &[Reading]) -> GateFold {
        let mut fold = GateFold::default();
        for (index, reading) in readings.iter().enumerate() {
            fold.add(
                sampling,
                &sample(*reading),
                sampling.every * u32::try_from(index).unwrap(),
                harm_counts,
            );
        }
        fold
    }

    #[test]
    fn healthy_needs_a_run_of_successes() {
        let spec = sampling(3, 3);
        assert_eq!(
            fold(&spec, true, &[HEALTHY, HEALTHY]).state(&spec),
            GateState::Unknown
        );
        assert_eq!(
            fold(&spec, true, &[HEALTHY, HEALTHY, HEALTHY]).state(&spec),
            GateState::Healthy
        );
        for ender in [Reading::Bad, Reading::Stale, Reading::Unreachable] {
            let state = fold(&spec, true, &[HEALTHY, HEALTHY, ender, HEALTHY]).state(&spec);
            assert_eq!(
                state,
                GateState::Unknown,
                "{ender:?} must end a run of successes"
            );
        }
    }

    #[test]
    fn harm_needs_a_run_of_failures_that_only_a_healthy_sample_ends() {
        let spec = sampling(3, 3);
        let bad = Reading::Bad;
        assert_eq!(
            fold(&spec, true, &[bad, bad, bad]).state(&spec),
            GateState::Harm
        );
        assert_eq!(
            fold(
                &spec,
                true,
                &[bad, bad, Reading::Unreachable, Reading::Stale, bad]
            )
            .state(&spec),
            GateState::Harm
        );
        assert_eq!(
            fold(&spec, true, &[bad, bad, HEALTHY, bad]).state(&spec),
            GateState::Unknown
        );
    }

    #[test]
    fn a_silence_is_a_few_samples_in_a_row_and_ends_with_any_answer() {
        let spec = sampling(3, 3);
        let silent = |readings: &[Reading]| fold(&spec, true, readings).is_silent();
        let nothing = [Reading::Unreachable, Reading::Stale, Reading::Unknown];
        assert!(silent(&nothing));
        assert!(silent(&[Reading::EgressDenied; 3]));
        assert!(!silent(&nothing[1..]));
        for answer in [HEALTHY, Reading::Progressing, Reading::Bad, Reading::Sick] {
            let readings = [&nothing[..], &[answer], &nothing[1..]].concat();
            assert!(!silent(&readings), "{answer:?}");
        }
    }

    #[test]
    fn illness_from_before_is_no_evidence() {
        let spec = sampling(2, 2);
        let ill = fold(&spec, false, &[Reading::Bad; 9]);
        assert_eq!(ill.state(&spec), GateState::Unknown);
        assert!(ill.is_sick());
        let recovered = fold(
            &spec,
            false,
            &[Reading::Bad, HEALTHY, HEALTHY, Reading::Bad, Reading::Bad],
        );
        assert_eq!(recovered.state(&spec), GateState::Harm);
    }

    #[test]
    fn the_bake_counts_only_between_healthy_samples_close_together() {
        let spec = sampling(1, 3);
        assert_eq!(
            fold(&spec, true, &[HEALTHY, HEALTHY, HEALTHY]).baked(),
            Duration::from_secs(20)
        );
        assert_eq!(
            fold(&spec, true, &[HEALTHY, Reading::Unreachable, HEALTHY]).baked(),
            Duration::ZERO
        );
        assert_eq!(
            fold(&spec, true, &[HEALTHY, HEALTHY, Reading::Bad, HEALTHY]).baked(),
            Duration::ZERO
        );
        let mut gap = GateFold::default();
        gap.add(&spec, &sample(HEALTHY), Duration::ZERO, true);
        gap.add(&spec, &sample(HEALTHY), Duration::from_secs(31), true);
        assert_eq!(
            gap.baked(),
            Duration::ZERO,
            "a gap of more than three intervals is not counted"
        );
    }

    proptest! {
        #[test]
        fn no_unknown_reading_ever_passes_or_fails(readings in proptest::collection::vec(prop_oneof![Just(Reading::Sick), Just(Reading::Progressing), Just(Reading::Unknown), Just(Reading::Stale), Just(Reading::Unreachable), Just(Reading::EgressDenied)], 0..50), harm_counts: bool) {
            let spec = sampling(1, 1);
            let fold = fold(&spec, harm_counts, &readings);
            prop_assert_eq!(fold.state(&spec), GateState::Unknown);
            prop_assert_eq!(fold.baked(), Duration::ZERO);
        }

        #[test]
        fn the_bake_never_exceeds_the_time_that_passed(steps in proptest::collection::vec((0_u8..4, 0_u64..100), 0..50)) {
            let spec = sampling(1, 2);
            let mut fold = GateFold::default();
            let mut at = Duration::ZERO;
            for (kind, seconds) in steps {
                at += Duration::from_secs(seconds);
                let reading = match kind { 0 => Reading::Bad, 1 => Reading::Unreachable, _ => HEALTHY };
                fold.add(&spec, &sample(reading), at, true);
                prop_assert!(fold.baked() <= at);
            }
        }
    }
}
