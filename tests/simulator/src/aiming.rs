//! Schedules made for pairs of state and event that random ones hardly bring together.
//!
//! A seed's schedule is run step by step. Where it is in a state that is wanted, an event of the wanted kind can be put in:
//! everything before it stays as it was, so that the two meet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::coverage::Coverage;
use crate::run::{Report, run, run_watched};
use crate::schedule::Schedule;

/// A schedule in which a pair meets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Aimed {
    /// The pair, as `rollout Held x commit-bad`.
    pub pair: String,
    /// The seed whose schedule it is.
    pub seed: u64,
    /// Before which event of it, step by step, another one stands; `None` where the pair meets without that.
    pub at: Option<usize>,
}

impl Aimed {
    /// The schedule; `None` where it names no kind of event.
    #[must_use]
    pub fn schedule(&self) -> Option<Schedule> {
        let slow = Schedule::new(self.seed).step_by_step();
        match (self.at, self.pair.split_once(" x ")) {
            (Some(at), Some((_, kind))) => slow.meeting(at, kind),
            _ => Some(slow),
        }
    }

    /// Lets it happen.
    #[must_use]
    pub fn run(&self) -> Option<Report> {
        let schedule = self.schedule()?;
        Some(crate::attempt(|| run(&schedule, |_| {})))
    }
}

impl fmt::Display for Aimed {
    /// A line of the list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pair, self.seed)?;
        match self.at {
            Some(at) => write!(f, " {at}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Aimed {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = || format!("{line:?} is no line such as `rollout Held x commit-bad: 17 203`");
        let (pair, rest) = line.split_once(": ").ok_or_else(wrong)?;
        let mut numbers = rest.split(' ');
        let seed = numbers.next().and_then(|text| text.parse().ok());
        let at = numbers.next().map(str::parse).transpose();
        Ok(Self {
            pair: pair.to_owned(),
            seed: seed.ok_or_else(wrong)?,
            at: at.map_err(|_| wrong())?,
        })
    }
}

/// Reads a list: a line each, but for empty ones and those that begin with `#`.
pub fn read(list: &str) -> Result<Vec<Aimed>, String> {
    list.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::parse)
        .collect()
}

/// Lets all of them happen, on so many threads; a report is missing where a line names no kind of event.
#[must_use]
pub fn run_all(aimed: &[Aimed], threads: usize) -> Vec<(&Aimed, Option<Report>)> {
    let share = aimed.len().div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let running: Vec<_> = aimed
            .chunks(share)
            .map(|part| {
                scope.spawn(move || -> Vec<_> {
                    part.iter().map(|aimed| (aimed, aimed.run())).collect()
                })
            })
            .collect();
        // A run that panics is a report, so that no thread does.
        running
            .into_iter()
            .filter_map(|part| part.join().ok())
            .flatten()
            .collect()
    })
}

/// Looks for a schedule for each of these pairs among so many seeds, and leaves out those of which there is none.
#[must_use]
pub fn aim(wanted: &BTreeSet<String>, from: u64, seeds: u64, threads: usize) -> Vec<Aimed> {
    let next = AtomicU64::new(0);
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= seeds {
                        return;
                    }
                    let here = pairs_of(from.wrapping_add(at), wanted);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    for aimed in here {
                        // The list is the same however many threads look for it.
                        let known = found.entry(aimed.pair.clone()).or_insert(aimed.clone());
                        if aimed < *known {
                            *known = aimed;
                        }
                    }
                    if found.len() == wanted.len() {
                        return;
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.into_values().collect()
}

/// The wanted pairs that can meet in one seed's schedule.
fn pairs_of(seed: u64, wanted: &BTreeSet<String>) -> Vec<Aimed> {
    let slow = Schedule::new(seed).step_by_step();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let report = crate::attempt(|| {
        run_watched(
            &slow,
            |_| {},
            |at, state| {
                for state in Coverage::states(state) {
                    places.entry(state).or_insert(at);
                }
            },
        )
    });
    let unseen: BTreeSet<String> = report.coverage.unseen().into_iter().collect();
    let aimed = |pair: &String| {
        let (state, _) = pair.split_once(" x ")?;
        let at = places.get(state).copied();
        (at.is_some() || !unseen.contains(pair)).then(|| Aimed {
            pair: pair.clone(),
            seed,
            at: at.filter(|_| unseen.contains(pair)),
        })
    };
    wanted.iter().filter_map(aimed).collect()
}
