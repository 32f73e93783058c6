//! The forms in which data is printed.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::error::CommandError;
use super::terminal::Terminal;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputFormat {
    /// A table for people
    #[default]
    Table,
    /// A table with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Names only, one a line
    Name,
}

/// Prints data as JSON or YAML.
pub fn print_structured(
    terminal: &Terminal,
    format: OutputFormat,
    data: &impl Serialize,
) -> Result<(), CommandError> {
    let text = match format {
        OutputFormat::Yaml => serde_yaml::to_string(data)
            .map_err(|error| CommandError::failed(format!("cannot write YAML: {error}")))?,
        _ => {
            serde_json::to_string_pretty(data)
                .map_err(|error| CommandError::failed(format!("cannot write JSON: {error}")))?
                + "\n"
        }
    };
    terminal.data(&text)
}

/// One line for each name.
pub fn lines<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.fold(String::new(), |mut text, name| {
        text.push_str(name);
        text.push('\n');
        text
    })
}

/// A table without lines, whose columns are as wide as they need.
pub fn plain_table<'a, const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [&'a str; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table.add_rows(rows);
    let rows: Vec<String> = table.lines().map(|row| row.trim_end().to_owned()).collect();
    lines(rows.iter().map(String::as_str))
}
