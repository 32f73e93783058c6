//! Many seeds on all cores, and the fewest events of one that break something.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_waves::log::EntryKind;

use super::run::{Report, run};
use super::schedule::Schedule;
use crate::shrinking::fewest;

/// What came of many seeds.
#[derive(Debug, Clone, Default)]
pub struct Exploration {
    /// How many seeds were run.
    pub seeds: u64,
    /// How many entries were written, by their kind; comparisons aside.
    pub kinds: BTreeMap<EntryKind, usize>,
    /// How often processes died at which crash point.
    pub killed_at: BTreeMap<String, u32>,
    /// How often gates were asked.
    pub samples: usize,
    /// How much time went by in the worlds.
    pub simulated: Duration,
    /// The seeds that broke something, in order.
    pub broken: Vec<(u64, Vec<String>)>,
}

/// Runs the seeds from this one on; stops early once so many of them broke something.
#[must_use]
pub fn explore(from: u64, seeds: u64, threads: usize, enough: usize) -> Exploration {
    let next = AtomicU64::new(0);
    let all = Mutex::new(Exploration::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= seeds {
                        return;
                    }
                    let seed = from.wrapping_add(at);
                    let report = attempt(&Schedule::new(seed));
                    let mut all = all
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    all.seeds += 1;
                    all.samples += report.samples;
                    all.simulated += report.simulated;
                    for (kind, number) in report.kinds {
                        *all.kinds.entry(kind).or_default() += number;
                    }
                    for (point, number) in report.killed_at {
                        *all.killed_at.entry(point).or_default() += number;
                    }
                    if !report.wrong.is_empty() {
                        all.broken.push((seed, report.wrong));
                    }
                    if all.broken.len() >= enough {
                        return;
                    }
                }
            });
        }
    });
    let mut all = all
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    all.broken.sort_by_key(|(seed, _)| *seed);
    all
}

/// The fewest events of a schedule that still break something, by their place, and what they break.
#[must_use]
pub fn shrink(schedule: &Schedule) -> (Vec<usize>, Option<Vec<String>>) {
    fewest(schedule.events.len(), |kept| {
        let wrong = attempt(&schedule.only(kept)).wrong;
        (!wrong.is_empty()).then_some(wrong)
    })
}

/// A run that panics has broken something as well.
fn attempt(schedule: &Schedule) -> Report {
    catch_unwind(AssertUnwindSafe(|| run(schedule, |_| {})))
        .unwrap_or_else(|_| Report::of_wrong("a panic outside of any controller".to_owned()))
}
