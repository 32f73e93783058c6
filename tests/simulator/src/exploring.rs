//! Many seeds, on all cores.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_waves::log::EntryKind;

use crate::coverage::Coverage;
use crate::run::{Broken, run};
use crate::schedule::Schedule;

/// What came of many seeds.
#[derive(Debug, Clone, Default)]
pub struct Exploration {
    /// How many seeds were run.
    pub seeds: u64,
    /// What met what in any of them.
    pub coverage: Coverage,
    /// The seeds that broke something, in order.
    pub broken: Vec<(u64, Broken)>,
    /// How many entries were written.
    pub entries: usize,
    /// How often the state machine was asked.
    pub decisions: u64,
    /// The kinds of entries that were written.
    pub kinds: BTreeSet<EntryKind>,
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
                    let report = crate::attempt(|| run(&Schedule::new(seed), |_| {}));
                    let mut all = all
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    all.seeds += 1;
                    all.entries += report.entries;
                    all.decisions += report.decisions;
                    all.coverage.add(&report.coverage);
                    all.kinds.extend(&report.kinds);
                    if let Some(broken) = report.broken {
                        all.broken.push((seed, broken));
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
