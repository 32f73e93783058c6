//! What a run came to, for people.

use std::time::Duration;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

/// What came of one target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The target.
    pub target: String,
    /// How long it ran.
    pub took: Duration,
    /// How many inputs were tried.
    pub executions: u64,
    /// How many edges of the program's graph were seen.
    pub edges: u64,
    /// How many features: edges, how often, and operands of comparisons.
    pub features: u64,
    /// How many inputs showed something new.
    pub added: u64,
    /// The most memory that it took, in MiB.
    pub peak: u64,
    /// How many inputs ended it: a panic, a hang, too much memory.
    pub findings: usize,
}

impl Outcome {
    /// Reads libFuzzer's own words.
    #[must_use]
    pub fn read(target: &str, said: &str) -> Self {
        let number = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
        let statistic = |name: &str| {
            said.lines()
                .rev()
                .find_map(|line| {
                    line.strip_prefix("stat::")?
                        .strip_prefix(name)?
                        .strip_prefix(':')
                })
                .map_or(0, number)
        };
        let last = |word: &str| {
            said.lines()
                .rev()
                .find_map(|line| line.split_once(word)?.1.split_whitespace().next())
                .map_or(0, number)
        };
        Self {
            target: target.to_owned(),
            took: Duration::ZERO,
            executions: statistic("number_of_executed_units"),
            edges: last(" cov: "),
            features: last(" ft: "),
            added: statistic("new_units_added"),
            peak: statistic("peak_rss_mb"),
            findings: 0,
        }
    }
}

/// The table of all outcomes, with a line for their sum.
#[must_use]
pub fn table(outcomes: &[Outcome]) -> String {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    table.set_header([
        "target",
        "seconds",
        "executions",
        "a second",
        "edges",
        "features",
        "new inputs",
        "peak MiB",
        "findings",
    ]);
    for outcome in outcomes {
        let seconds = outcome.took.as_secs().max(1);
        table.add_row([
            outcome.target.clone(),
            outcome.took.as_secs().to_string(),
            outcome.executions.to_string(),
            (outcome.executions / seconds).to_string(),
            outcome.edges.to_string(),
            outcome.features.to_string(),
            outcome.added.to_string(),
            outcome.peak.to_string(),
            outcome.findings.to_string(),
        ]);
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    table.add_row([
        format!("all {}", outcomes.len()),
        sum(|outcome| outcome.took.as_secs()).to_string(),
        sum(|outcome| outcome.executions).to_string(),
        String::new(),
        String::new(),
        String::new(),
        sum(|outcome| outcome.added).to_string(),
        String::new(),
        outcomes
            .iter()
            .map(|outcome| outcome.findings)
            .sum::<usize>()
            .to_string(),
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_libfuzzer_are_read() {
        let said = "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 40Mb\n\
            #900\tNEW    cov: 120 ft: 133 corp: 4/40b lim: 4 exec/s: 0 rss: 41Mb L: 4/4 MS: 1 X-\n\
            stat::number_of_executed_units: 926\nstat::average_exec_per_sec:     0\n\
            stat::new_units_added:          3\nstat::peak_rss_mb:              73\n";
        let outcome = Outcome::read("durations", said);
        assert_eq!(
            (
                outcome.executions,
                outcome.edges,
                outcome.features,
                outcome.added,
                outcome.peak
            ),
            (926, 120, 133, 3, 73)
        );
        let shown = table(&[outcome]);
        assert!(shown.contains("| durations |"), "{shown}");
        assert!(shown.contains("| all 1     |"), "{shown}");
    }
}
