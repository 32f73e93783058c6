//! The figures of a run: each beside what it is held against in the same run.

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    Mebibytes,
    Bytes,
    Count,
    Percent,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds if value >= 10_000.0 => format!("{:.1} s", value / 1000.0),
            Self::Milliseconds if value >= 100.0 => format!("{value:.0} ms"),
            Self::Milliseconds => format!("{value:.1} ms"),
            Self::Mebibytes => format!("{value:.0} MiB"),
            Self::Bytes if value >= 10_240.0 => format!("{:.1} KiB", value / 1024.0),
            Self::Bytes => format!("{value:.0} B"),
            Self::Count if value.fract() == 0.0 => format!("{value:.0}"),
            Self::Count => format!("{value:.1}"),
            Self::Percent => format!("{value:.1} %"),
        }
    }
}

/// What a figure is held against.
#[derive(Debug, Clone)]
pub(crate) enum Against {
    /// Nothing: the figure stands for itself.
    Nothing,
    /// A limit in the figure's own unit.
    Limit(f64),
    /// Another value of the same run, and the most that the figure may be of it (`None`: any).
    Peer {
        name: &'static str,
        value: f64,
        most: Option<f64>,
    },
}

/// One measured thing.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: Unit,
    pub(crate) against: Against,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            against: Against::Nothing,
        }
    }

    /// A time in milliseconds.
    pub(crate) fn time(name: impl Into<String>, milliseconds: f64) -> Self {
        Self::new(name, milliseconds, Unit::Milliseconds)
    }

    pub(crate) fn limit(mut self, most: f64) -> Self {
        self.against = Against::Limit(most);
        self
    }

    pub(crate) fn against(mut self, name: &'static str, value: f64, most: Option<f64>) -> Self {
        self.against = Against::Peer { name, value, most };
        self
    }

    fn row(&self) -> [String; 5] {
        let (reference, ratio, limit, is_met) = match &self.against {
            Against::Nothing => (String::new(), String::new(), String::new(), None),
            Against::Limit(most) => (
                String::new(),
                format!("{:.2}", self.value / most),
                format!("≤ {}", self.unit.show(*most)),
                Some(self.value <= *most),
            ),
            Against::Peer { name, value, most } => (
                format!("{name}: {}", self.unit.show(*value)),
                ratio(self.value / value),
                most.map_or_else(String::new, |most| format!("≤ {most} ×")),
                most.map(|most| self.value <= most * value),
            ),
        };
        let limit = match is_met {
            Some(true) => format!("{limit} ✓"),
            Some(false) => format!("{limit} ✗"),
            None => limit,
        };
        [
            self.name.clone(),
            self.unit.show(self.value),
            reference,
            ratio,
            limit,
        ]
    }
}

fn ratio(value: f64) -> String {
    if value < 0.1 {
        format!("{value:.3}")
    } else {
        format!("{value:.2}")
    }
}

/// All figures as one table, for a terminal or for a Markdown page.
pub(crate) fn show(figures: &[Figure], markdown: bool) -> String {
    let rows = figures.iter().map(Figure::row);
    let header = [
        "figure",
        "measured",
        "reference, same run",
        "ratio",
        "limit",
    ];
    drawn(header, rows, &[1, 3], markdown)
}

/// The figures of two programs beside each other; a figure that only one of them has is left out.
pub(crate) fn side_by_side(before: &[Figure], after: &[Figure], markdown: bool) -> String {
    let rows = after.iter().filter_map(|figure| {
        let other = before.iter().find(|other| other.name == figure.name)?;
        Some([
            figure.name.clone(),
            other.unit.show(other.value),
            figure.unit.show(figure.value),
            ratio(figure.value / other.value),
        ])
    });
    drawn(
        ["figure", "before", "after", "ratio"],
        rows,
        &[1, 2, 3],
        markdown,
    )
}

fn drawn<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
    numbers: &[usize],
    markdown: bool,
) -> String {
    let mut table = Table::new();
    table
        .load_preset(if markdown {
            ASCII_MARKDOWN
        } else {
            UTF8_FULL_CONDENSED
        })
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for place in numbers {
        if let Some(column) = table.column_mut(*place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// Each figure of several rounds with the middle one of its values (the lower of two).
pub(crate) fn middle(rounds: &[Vec<Figure>]) -> Vec<Figure> {
    let Some(first) = rounds.first() else {
        return Vec::new();
    };
    first
        .iter()
        .map(|figure| {
            let values: Vec<f64> = rounds
                .iter()
                .flatten()
                .filter(|other| other.name == figure.name)
                .map(|other| other.value)
                .collect();
            Figure {
                value: percentile(&values, 50),
                ..figure.clone()
            }
        })
        .collect()
}

/// The value below which so many of a hundred lie (nearest rank). Panics without values.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert!((percentile(&values, 50) - 3.0).abs() < f64::EPSILON);
        assert!((percentile(&values, 95) - 5.0).abs() < f64::EPSILON);
        assert!((percentile(&[7.0], 50) - 7.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_middle_of_several_rounds_stands_beside_the_others() {
        let rounds = |values: [f64; 3]| {
            let round = |value| vec![Figure::time("a", value)];
            middle(&values.map(round))
        };
        let shown = side_by_side(
            &rounds([90.0, 10.0, 20.0]),
            &rounds([1.0, 30.0, 70.0]),
            true,
        );
        let row = shown.lines().last().unwrap();
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[1..5], ["a", "20.0 ms", "30.0 ms", "1.50"]);
    }

    #[test]
    fn a_limit_says_whether_it_is_met() {
        let met = Figure::time("a", 90.0).limit(100.0).row();
        assert_eq!(met[3..], ["0.90".to_owned(), "≤ 100 ms ✓".to_owned()]);
        let missed = Figure::time("a", 200.0)
            .against("peer", 100.0, Some(1.5))
            .row();
        assert_eq!(
            missed[2..],
            [
                "peer: 100 ms".to_owned(),
                "2.00".to_owned(),
                "≤ 1.5 × ✗".to_owned()
            ]
        );
    }
}
