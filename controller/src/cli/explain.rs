//! `tidegate explain`: why the fleet stands where it stands, and what ends the waiting; from git alone.

use std::fmt::Write as _;

use clap::Args;
use tidegate_renderer::suggest::nearest;

use super::error::CommandError;
use super::log_view::{LogArgs, LogView};
use super::output::{OutputFormat, lines, print_structured};
use super::terminal::{Stream, Style, Terminal};
use crate::explain::{Explanation, WaitReason, regions_of};

/// Explain what the fleet waits for, since when, and which commands end it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate explain             everything that waits, and what ends it
  tidegate explain westus3     what concerns westus3 alone
  tidegate explain -o name     only the reasons, for scripts")]
pub struct ExplainArgs {
    /// Only what concerns this region
    #[arg(value_name = "REGION")]
    region: Option<String>,

    #[command(flatten)]
    log: LogArgs,

    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
}

/// Runs `tidegate explain`.
pub fn run(arguments: ExplainArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let ExplainArgs {
        region,
        log,
        output,
    } = arguments;
    let view = LogView::open(&log)?;
    if let Some(region) = &region {
        let known = regions_of(view.state());
        if !known.contains(region.as_str()) {
            let error = CommandError::usage(format!("the fleet has no region {region:?}"));
            return Err(match nearest(region, known) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint("tidegate status --last -o name lists them"),
            });
        }
    }
    let explanation = view.explanation(region.as_deref())?;
    match output {
        OutputFormat::Json | OutputFormat::Yaml => print_structured(terminal, output, &explanation),
        OutputFormat::Name => {
            let reasons: Vec<String> = explanation
                .waiting
                .iter()
                .map(|item| item.reason.to_string())
                .collect();
            terminal.data(&lines(reasons.iter().map(String::as_str)))
        }
        OutputFormat::Table | OutputFormat::Wide => terminal.data(&prose(&explanation, terminal)),
    }
}

/// Short blocks, the most urgent first: to be read at three in the morning.
fn prose(explanation: &Explanation, terminal: &Terminal) -> String {
    let paint = |style, text: &str| terminal.paint(Stream::Stdout, style, text);
    let mut text = String::new();
    if explanation.waiting.is_empty() {
        text.push_str("Nothing waits. ");
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Newest: {}", explanation.last);
    for item in &explanation.waiting {
        let style = match item.reason {
            WaitReason::Stalled | WaitReason::Failure(_) => Style::Error,
            WaitReason::Hold(_) | WaitReason::Invalid => Style::Warning,
            _ => Style::Strong,
        };
        let mut concerns: Vec<String> = item
            .wave
            .iter()
            .map(|wave| format!("wave {wave}"))
            .collect();
        if !item.regions.is_empty() {
            concerns.push(item.regions.join(", "));
        }
        let concerns = if concerns.is_empty() {
            String::new()
        } else {
            format!("  {}", concerns.join(": "))
        };
        let _ = writeln!(
            text,
            "\n{}{concerns}",
            paint(style, &item.reason.to_string())
        );
        let _ = writeln!(text, "  {}", item.message);
        let next = item
            .next
            .as_ref()
            .map(|next| format!(", next {next}"))
            .unwrap_or_default();
        let _ = writeln!(text, "  since {}{next}", item.since);
        for command in &item.commands {
            let _ = writeln!(text, "    {}", paint(Style::Hint, command));
        }
    }
    if !explanation.gates.is_empty() {
        text.push_str("\nGates:\n");
    }
    for gate in &explanation.gates {
        let at = gate
            .at
            .as_ref()
            .map(|at| format!(", {at}"))
            .unwrap_or_default();
        let evidence = gate
            .evidence
            .as_ref()
            .map(|evidence| format!(": {evidence}"))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "  {} {}: {}{evidence}{at}",
            gate.region,
            gate.gate,
            gate.verdict.words()
        );
    }
    text
}
