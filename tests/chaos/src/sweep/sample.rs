//! A part of all cases, chosen by their names: what else there is decides little about it.

use std::collections::BTreeMap;

use super::{Case, Point};
use crate::Fault;

/// So many cases, as many of each fault as may be, those first whose names hash lowest. Another case more or less, as
/// time has it, changes no other's place.
pub(super) fn of(cases: Vec<Case<'_>>, wanted: usize) -> Vec<Case<'_>> {
    let mut by_fault: BTreeMap<Fault, Vec<(u64, Case<'_>)>> = BTreeMap::new();
    for case in cases {
        let place = hash(&case.key());
        by_fault.entry(case.fault).or_default().push((place, case));
    }
    let mut ranked: Vec<(usize, Fault, Case<'_>)> = Vec::new();
    for (fault, mut cases) in by_fault {
        cases.sort_by_key(|(place, _)| *place);
        let cases = cases.into_iter().enumerate();
        ranked.extend(cases.map(|(rank, (_, case))| (rank, fault, case)));
    }
    ranked.sort_by_key(|(rank, fault, _)| (*rank, *fault));
    ranked.truncate(wanted);
    // The quick faults first, whatever time there is.
    ranked.sort_by_key(|(rank, fault, _)| (*fault, *rank));
    ranked.into_iter().map(|(_, _, case)| case).collect()
}

/// Whether every run comes by a point: how many entries `Progress` and statuses there are depends on how answers come
/// together.
pub(super) fn is_steady(point: &Point) -> bool {
    !["progress", "status-posted"]
        .iter()
        .any(|varying| point.name.ends_with(varying))
}

/// FNV-1a: the same on every machine and of every version.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::ALL;

    fn cases(points: &[(&str, u32)]) -> Vec<Case<'static>> {
        let mut cases = Vec::new();
        for scenario in ALL {
            for (name, nth) in points {
                cases.extend(Fault::ALL.map(|fault| Case {
                    scenario,
                    point: Point {
                        name: (*name).to_owned(),
                        nth: *nth,
                    },
                    fault,
                }));
            }
        }
        cases
    }

    fn keys(mut cases: Vec<Case<'_>>, wanted: usize) -> Vec<String> {
        cases.retain(|case| is_steady(&case.point));
        of(cases, wanted).iter().map(Case::key).collect()
    }

    #[test]
    fn a_sample_is_the_same_however_many_varying_points_a_run_came_by() {
        let steady = [("after-promote", 1), ("after-look", 2), ("before-fetch", 1)];
        let few: Vec<_> = steady.into_iter().chain([("after-progress", 1)]).collect();
        let many: Vec<_> = [("before-progress", 7), ("before-status-posted", 3)]
            .into_iter()
            .chain(steady)
            .collect();
        let sample = keys(cases(&few), 24);
        assert_eq!(sample, keys(cases(&many), 24));
        assert_eq!(sample.len(), 24);
        for fault in Fault::ALL {
            let of_it = sample.iter().filter(|key| key.ends_with(fault.name()));
            assert_eq!(of_it.count(), 3, "{}", fault.name());
        }
    }

    #[test]
    fn one_point_less_changes_no_other_cases_turn() {
        let all = keys(cases(&[("after-promote", 1), ("after-promote", 2)]), 16);
        let fewer = keys(cases(&[("after-promote", 1)]), 16);
        let kept = all.iter().filter(|key| key.contains("after-promote:1\t"));
        assert!(kept.into_iter().all(|key| fewer.contains(key)));
    }
}
