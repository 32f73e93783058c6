//! The fewest events of a schedule that still break something.

use crate::run::{Broken, run};
use crate::schedule::Schedule;

/// The events that are left of a schedule, by their place, and what they break.
#[must_use]
pub fn shrink(schedule: &Schedule) -> (Vec<usize>, Option<Broken>) {
    fewest(schedule.events.len(), |kept| {
        crate::attempt(|| run(&schedule.only(kept), |_| {})).broken
    })
}

/// Delta debugging over a list of so many events (Zeller and Hildebrandt: Simplifying and isolating failure-inducing
/// input, IEEE TSE 2002); gives the places that are left, and what `fails` says of them.
pub fn fewest<B>(events: usize, fails: impl Fn(&[usize]) -> Option<B>) -> (Vec<usize>, Option<B>) {
    let mut kept: Vec<usize> = (0..events).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_two_events_keeps_those_two() {
        let fails = |kept: &[usize]| (kept.contains(&3) && kept.contains(&11)).then_some(());
        assert_eq!(fewest(20, fails), (vec![3, 11], Some(())));
        assert_eq!(fewest(20, |_| None::<()>).1, None);
    }
}
