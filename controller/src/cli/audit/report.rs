//! What the audit found, for scripts and for people.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use tidegate_waves::oid::Oid;

use crate::audit::record::Record;
use crate::audit::{Finding, Verdict};
use crate::cli::terminal::{Stream, Style, Terminal};

/// What is printed as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    fleet: Option<String>,
    log: Oid,
    entries: usize,
    since: usize,
    promises: Vec<PromiseReport>,
    /// Whether nothing breaks any promise.
    pub(super) clean: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PromiseReport {
    number: u8,
    text: &'static str,
    checked: usize,
    findings: Vec<FindingReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FindingReport {
    entry: Option<EntryReport>,
    commit: Option<Oid>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    message: String,
    advice: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryReport {
    seq: u64,
    commit: Oid,
}

impl Report {
    pub(super) fn of(record: &Record, log: Oid, since: usize, verdicts: &[Verdict]) -> Self {
        Self {
            fleet: record.fleet.as_ref().map(|fleet| fleet.name.clone()),
            log,
            entries: record.entries.len(),
            since,
            promises: verdicts
                .iter()
                .map(|verdict| PromiseReport {
                    number: verdict.promise.number(),
                    text: verdict.promise.text(),
                    checked: verdict.checked(),
                    findings: verdict.findings.iter().map(FindingReport::of).collect(),
                })
                .collect(),
            clean: verdicts.iter().all(|verdict| verdict.findings.is_empty()),
        }
    }
}

impl FindingReport {
    fn of(finding: &Finding) -> Self {
        Self {
            entry: finding.entry.map(|entry| EntryReport {
                seq: entry.seq,
                commit: entry.commit,
            }),
            commit: finding.commit,
            reference: finding.reference.clone(),
            message: finding.message.clone(),
            advice: finding.advice,
        }
    }
}

/// One line for each promise, then the findings with the whole words of the promise that they break.
pub(super) fn table(
    report: &Report,
    verdicts: &[Verdict],
    prefix: &str,
    shown: usize,
    terminal: &Terminal,
) -> String {
    let paint = |style, text: &str| terminal.paint(Stream::Stdout, style, text);
    let mut text = format!(
        "{}: {} entries of {prefix}/log, up to {}",
        paint(
            Style::Strong,
            report.fleet.as_deref().unwrap_or("(unknown fleet)")
        ),
        report.entries,
        report.log
    );
    if report.since > 0 {
        let _ = write!(text, "; judged from entry {} on", report.since);
    }
    text.push_str("\n\n");
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(vec!["", "PROMISE", "", "CHECKED"]);
    for verdict in verdicts {
        let mark = if verdict.findings.is_empty() {
            "✓"
        } else {
            "✗"
        };
        table.add_row(vec![
            mark.to_owned(),
            verdict.promise.to_string(),
            verdict.promise.title().to_owned(),
            checked(verdict),
        ]);
    }
    for line in table.lines() {
        // Painted here and not in the cells: the table would count the colours as letters.
        let line = line
            .trim_end()
            .replacen('✓', &paint(Style::Good, "✓"), 1)
            .replacen('✗', &paint(Style::Error, "✗"), 1);
        text.push_str(&line);
        text.push('\n');
    }
    for verdict in verdicts
        .iter()
        .filter(|verdict| !verdict.findings.is_empty())
    {
        let head = format!("✗ {}: {}", verdict.promise, verdict.promise.text());
        let _ = write!(text, "\n{}\n", paint(Style::Error, &head));
        for finding in verdict.findings.iter().take(shown) {
            let advice = paint(Style::Hint, "what to do:");
            let _ = write!(
                text,
                "  {}: {}\n    {advice} {}\n",
                place(finding),
                finding.message,
                finding.advice
            );
        }
        let more = verdict.findings.len().saturating_sub(shown);
        if more > 0 {
            let _ = writeln!(text, "  and {more} more: -o wide shows them all");
        }
    }
    text
}

/// What was looked at, in words.
fn checked(verdict: &Verdict) -> String {
    if verdict.counts.is_empty() {
        return "nothing to check yet".to_owned();
    }
    let counts: Vec<String> = verdict
        .counts
        .iter()
        .map(|count| format!("{} {}", count.number, count.what.name(count.number)))
        .collect();
    counts.join(", ")
}

/// Where a finding is.
fn place(finding: &Finding) -> String {
    let mut parts = Vec::new();
    if let Some(entry) = finding.entry {
        parts.push(format!("entry {} ({})", entry.seq, entry.commit.short(8)));
    }
    parts.extend(finding.reference.clone());
    if let Some(commit) = finding.commit {
        parts.push(format!("commit {}", commit.short(8)));
    }
    if parts.is_empty() {
        "the log".to_owned()
    } else {
        parts.join(", ")
    }
}
