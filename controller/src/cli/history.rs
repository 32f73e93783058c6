//! `tidegate history`: the rollouts of the past, from git alone.

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};

use super::error::CommandError;
use super::log_view::{LogArgs, LogView};
use super::output::{OutputFormat, lines, print_structured};
use super::terminal::Terminal;
use crate::status::AnsweredRequest;

/// List the rollouts of the past, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate history                    all rollouts of the fleet of the repo in this folder
  tidegate history --region westus3   those that changed westus3
  tidegate history -o json            for scripts")]
pub struct HistoryArgs {
    #[command(flatten)]
    log: LogArgs,

    /// Only rollouts that changed this region
    #[arg(long, value_name = "REGION")]
    region: Option<String>,

    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
}

/// Runs `tidegate history`.
pub fn run(arguments: HistoryArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let HistoryArgs {
        log,
        region,
        output,
    } = arguments;
    let mut rollouts = LogView::open(&log)?.history()?;
    if let Some(region) = &region {
        rollouts.retain(|rollout| {
            rollout
                .regions
                .get(region)
                .is_some_and(|state| *state != tidegate_waves::rollout::RegionState::NoChange)
        });
    }
    match output {
        OutputFormat::Json | OutputFormat::Yaml => print_structured(terminal, output, &rollouts),
        OutputFormat::Name => {
            terminal.data(&lines(rollouts.iter().map(|rollout| rollout.id.as_str())))
        }
        OutputFormat::Table | OutputFormat::Wide => {
            let mut table = Table::new();
            table
                .load_preset(presets::NOTHING)
                .set_content_arrangement(ContentArrangement::Dynamic);
            let wide = output == OutputFormat::Wide;
            let mut header = vec!["ROLLOUT", "STATE", "OPENED", "SUBJECT", "WHY"];
            if wide {
                header.extend(["AUTHOR", "ENDED", "REVERT", "REQUESTS"]);
            }
            table.set_header(header);
            for rollout in &rollouts {
                let mut row = vec![
                    rollout.id.clone(),
                    format!("{:?}", rollout.state),
                    rollout.opened.clone(),
                    rollout.subject.clone(),
                    rollout.reason.clone().unwrap_or_default(),
                ];
                if wide {
                    row.extend([
                        rollout.author.clone(),
                        rollout.ended.clone().unwrap_or_default(),
                        rollout.revert.map(|id| id.short(8)).unwrap_or_default(),
                        requests(&rollout.requests),
                    ]);
                }
                table.add_row(row);
            }
            terminal.data(
                &table
                    .lines()
                    .map(|line| line.trim_end().to_owned() + "\n")
                    .collect::<String>(),
            )
        }
    }
}

/// What people asked for, one sentence each.
fn requests(requests: &[AnsweredRequest]) -> String {
    let sentences: Vec<String> = requests
        .iter()
        .map(|request| {
            let reason = request.reason.as_deref().unwrap_or("no reason given");
            let signature = match &request.verified {
                Some(principal) => format!("signature verified: {principal}"),
                None => "signature not verified".to_owned(),
            };
            let asked = format!("{} ({signature}): {reason}", request.request);
            match &request.refused {
                None => asked,
                Some(why) => format!("{asked} (refused: {why})"),
            }
        })
        .collect();
    sentences.join("; ")
}
