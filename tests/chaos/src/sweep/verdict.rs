//! What became of the cases of a sweep, and whether that says anything.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use super::Options;

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The fault was met, the end is the undisturbed one, and nothing was found.
    Equal,
    /// The same, but nothing shows that the fault was met: nothing was written, or nobody asked, for as long as it lasted.
    NotMet,
    /// This run did not come by the point: how often something is looked at depends on the time.
    NotReached,
    /// The end differs, or something was found.
    Differs,
}

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::NotMet => "not-met",
            Self::NotReached => "not-reached",
            Self::Differs => "DIFFERS",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        [Self::Equal, Self::NotMet, Self::NotReached, Self::Differs]
            .into_iter()
            .find(|verdict| verdict.name() == name)
    }
}

/// Nine of ten points have to be reached: which entries there are depends on the time, but for few of them.
const MOST_NOT_REACHED: usize = 10;

/// Two of three faults have to be met: some points leave nothing to write or to ask for as long as one lasts.
const MOST_NOT_MET: usize = 3;

/// Why verdicts show nothing: there are none, or too few of the faults happened at all.
pub(super) fn enough(verdicts: &[Verdict]) -> Result<(), String> {
    let count = |wanted| {
        verdicts
            .iter()
            .filter(|verdict| **verdict == wanted)
            .count()
    };
    let all = verdicts.len();
    let not_reached = count(Verdict::NotReached);
    let not_met = count(Verdict::NotMet);
    if all == not_reached {
        return Err(format!(
            "of {all} cases none came to its point; is this a debug build, and do points and scenarios fit?"
        ));
    }
    // Of a handful of cases, one alone says nothing.
    if not_reached > 1 && not_reached * MOST_NOT_REACHED > all {
        return Err(format!(
            "{not_reached} of {all} cases did not come to their point"
        ));
    }
    let reached = all - not_reached;
    if not_met == reached || (not_met > 1 && not_met * MOST_NOT_MET > reached) {
        return Err(format!(
            "{not_met} of {reached} cases did not meet their fault"
        ));
    }
    Ok(())
}

/// Prints how many cases ended how, by scenario and fault.
pub(super) fn table(results: &BTreeMap<String, Verdict>, options: &Options) {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header([
        "scenario",
        "fault",
        "points",
        "equal",
        "equal, not met",
        "differing",
        "not reached",
    ]);
    let count = |begins: &str, ends: &str, verdict: Option<Verdict>| {
        let matching = results.iter().filter(|(key, found)| {
            key.starts_with(begins)
                && key.ends_with(ends)
                && verdict.is_none_or(|wanted| wanted == **found)
        });
        matching.count()
    };
    let mut row = |scenario: &str, fault: &str, begins: &str, ends: &str| {
        if count(begins, ends, None) > 0 {
            table.add_row([
                scenario.to_owned(),
                fault.to_owned(),
                count(begins, ends, None).to_string(),
                count(begins, ends, Some(Verdict::Equal)).to_string(),
                count(begins, ends, Some(Verdict::NotMet)).to_string(),
                count(begins, ends, Some(Verdict::Differs)).to_string(),
                count(begins, ends, Some(Verdict::NotReached)).to_string(),
            ]);
        }
    };
    for scenario in &options.scenarios {
        for fault in &options.faults {
            let (begins, ends) = (
                format!("{}\t", scenario.name),
                format!("\t{}", fault.name()),
            );
            row(scenario.name, fault.name(), &begins, &ends);
        }
    }
    for fault in &options.faults {
        row("all", fault.name(), "", &format!("\t{}", fault.name()));
    }
    row("all", "all", "", "");
    println!("{table}");
    let _ = io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(equal: usize, not_met: usize, not_reached: usize) -> Vec<Verdict> {
        let of = |verdict, number| std::iter::repeat_n(verdict, number);
        of(Verdict::Equal, equal)
            .chain(of(Verdict::NotMet, not_met))
            .chain(of(Verdict::NotReached, not_reached))
            .collect()
    }

    #[test]
    fn a_sweep_in_which_nothing_happened_shows_nothing() {
        for (equal, not_met, not_reached) in [
            (0, 0, 0),
            (0, 0, 30),
            (0, 0, 1),
            (0, 30, 0),
            (0, 1, 0),
            (26, 0, 4),
            (19, 11, 0),
            (5, 3, 0),
        ] {
            let why = enough(&verdicts(equal, not_met, not_reached));
            assert!(why.is_err(), "{equal} {not_met} {not_reached}");
        }
    }

    #[test]
    fn a_few_that_time_took_away_are_none_the_worse() {
        // The last are what the whole list, and `told` under `interleave`, came to.
        for (equal, not_met, not_reached) in
            [(1, 0, 0), (10, 1, 1), (27, 0, 3), (438, 0, 5), (80, 34, 3)]
        {
            let why = enough(&verdicts(equal, not_met, not_reached));
            assert_eq!(why, Ok(()), "{equal} {not_met} {not_reached}");
        }
    }

    #[test]
    fn what_differs_is_no_want_of_cases() {
        assert_eq!(enough(&[Verdict::Differs]), Ok(()));
    }
}
