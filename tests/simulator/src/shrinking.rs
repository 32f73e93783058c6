//! The fewest events of a schedule that still break the same thing.

use crate::run::{Broken, run};
use crate::schedule::Schedule;

/// Delta debugging over the list of events (Zeller and Hildebrandt: Simplifying and isolating failure-inducing
/// input, IEEE TSE 2002); gives the events that are left, by their place, and what they break.
#[must_use]
pub fn shrink(schedule: &Schedule) -> (Vec<usize>, Option<Broken>) {
    let fails = |kept: &[usize]| crate::attempt(|| run(&schedule.only(kept), |_| {})).broken;
    let mut kept: Vec<usize> = (0..schedule.events.len()).collect();
    let mut broken = fails(&kept);
    let mut parts = 2_usize;
    while broken.is_some() && kept.len() >= 2 {
        let size = kept.len().div_ceil(parts);
        let smaller = (0..parts).find_map(|part| {
            let rest: Vec<usize> = kept
                .iter()
                .enumerate()
                .filter(|(at, _)| at / size != part)
                .map(|(_, event)| *event)
                .collect();
            (rest.len() < kept.len())
                .then(|| fails(&rest).map(|broken| (rest, broken)))
                .flatten()
        });
        match smaller {
            Some((rest, found)) => {
                kept = rest;
                broken = Some(found);
                parts = (parts - 1).max(2);
            }
            None if parts >= kept.len() => break,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    (kept, broken)
}
