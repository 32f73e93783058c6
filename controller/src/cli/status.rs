//! `tidegate status`: where the fleet stands, from git alone.

use std::collections::BTreeMap;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};

use super::error::{CommandError, ErrorKind};
use super::log_view::{LogArgs, LogView};
use super::output::{OutputFormat, lines, print_structured};
use super::terminal::{Stream, Style, Terminal};
use crate::status::{RegionStatus, Status, WaveStatus};

/// Show where the fleet stands: the rollout under way, its waves and regions, and what holds it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate status                         the fleet of the repo in this folder
  tidegate status --repo URL --last       also the rollout that ended last
  tidegate status -o json | jq .holds     for scripts
  tidegate status --state Baking -o name  the regions that bake")]
pub struct StatusArgs {
    #[command(flatten)]
    log: LogArgs,

    /// Also show the rollout that ended last
    #[arg(long)]
    last: bool,

    /// Only regions in this state (can be repeated)
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,

    /// Only regions in this cloud location (can be repeated)
    #[arg(long, value_name = "LOCATION")]
    location: Vec<String>,

    /// Only regions with this label, KEY=VALUE (can be repeated)
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,

    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
}

/// Runs `tidegate status`.
pub fn run(arguments: StatusArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let StatusArgs {
        log,
        last,
        state,
        location,
        labels,
        output,
    } = arguments;
    let labels = labels
        .iter()
        .map(|label| {
            label
                .split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .ok_or_else(|| {
                    CommandError::usage(format!("{label:?} is no label: write KEY=VALUE"))
                })
        })
        .collect::<Result<BTreeMap<_, _>, _>>()?;
    let view = LogView::open(&log)?;
    let mut status = view.status(last)?;
    let wanted = |region: &RegionStatus| {
        (state.is_empty()
            || state
                .iter()
                .any(|state| format!("{:?}", region.state).eq_ignore_ascii_case(state)))
            && (location.is_empty() || location.contains(&region.location))
            && labels
                .iter()
                .all(|(key, value)| region.labels.get(key) == Some(value))
    };
    for wave in status
        .rollouts
        .iter_mut()
        .flat_map(|rollout| &mut rollout.waves)
    {
        wave.regions.retain(wanted);
    }
    match output {
        OutputFormat::Json | OutputFormat::Yaml => print_structured(terminal, output, &status),
        OutputFormat::Name => {
            let regions = status
                .rollouts
                .iter()
                .flat_map(|rollout| &rollout.waves)
                .flat_map(|wave| &wave.regions);
            terminal.data(&lines(regions.map(|region| region.name.as_str())))
        }
        OutputFormat::Table | OutputFormat::Wide => {
            terminal.data(&table(&status, terminal, output == OutputFormat::Wide))
        }
    }
}

/// What has no log yet: said with the exit code of a command that could not do its work.
pub(super) fn no_log(repo: &str, prefix: &str) -> CommandError {
    CommandError::new(
        ErrorKind::Failed,
        format!("{repo} has no log: there is no branch {prefix}/log"),
    )
    .hint("a controller writes it once it has seen the first valid commit: tidegate run --repo URL")
    .hint("if the fleet has another prefix, name it with --prefix")
}

/// Appends formatted text; writing to a `String` cannot fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    use std::fmt::Write as _;
    let _ = text.write_fmt(arguments);
}

fn table(status: &Status, terminal: &Terminal, wide: bool) -> String {
    let paint = |style, text: &str| terminal.paint(Stream::Stdout, style, text);
    let head = status
        .source
        .head
        .map_or_else(|| "no commit".to_owned(), |head| head.short(8));
    let mut text = format!(
        "{} at {head} on {}, as of {}\n",
        paint(Style::Strong, &status.fleet),
        status.source.branch,
        status.as_of
    );
    if status.overdue {
        text.push_str(&paint(
            Style::Error,
            "STALLED: something should have happened by now; is a controller running?",
        ));
        text.push('\n');
    }
    for hold in &status.holds {
        let reason = paint(Style::Warning, &format!("held: {:?}", hold.reason));
        push(
            &mut text,
            format_args!("{reason} since {}: {}\n", hold.since, hold.message),
        );
    }
    if !status.queued.is_empty() {
        let queued: Vec<String> = status.queued.iter().take(5).map(|id| id.short(8)).collect();
        push(
            &mut text,
            format_args!(
                "queued: {}{}\n",
                queued.join(", "),
                if status.queued.len() > 5 { ", …" } else { "" }
            ),
        );
    }
    if status.rollouts.is_empty() {
        push(
            &mut text,
            format_args!(
                "idle; {} regions have a last good tree\n",
                status.last_good.len()
            ),
        );
    }
    for rollout in &status.rollouts {
        let style = match rollout.state {
            tidegate_waves::rollout::RolloutState::Succeeded => Style::Good,
            tidegate_waves::rollout::RolloutState::Running => Style::Strong,
            _ => Style::Warning,
        };
        let state = paint(style, &format!("{:?}", rollout.state));
        push(
            &mut text,
            format_args!(
                "\nrollout {}  {state}  {}% of {} regions\n  {} ({})\n",
                rollout.id,
                rollout.summary.percent,
                rollout.summary.regions,
                rollout.subject,
                rollout.author
            ),
        );
        if let Some(reason) = &rollout.reason {
            push(&mut text, format_args!("  {reason}\n"));
        }
        text.push('\n');
        text.push_str(&waves(&rollout.waves, wide));
        text.push('\n');
    }
    text
}

fn waves(waves: &[WaveStatus], wide: bool) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    let mut header = vec!["WAVE", "REGION", "STATE", "SINCE", "WHY"];
    if wide {
        header.insert(2, "LOCATION");
        header.push("TREE");
    }
    table.set_header(header);
    for wave in waves {
        let until = wave
            .until
            .as_ref()
            .map(|until| format!(", bakes until {until}"))
            .unwrap_or_default();
        let mut row = vec![
            wave.name.clone(),
            String::new(),
            format!("{:?}", wave.state),
            wave.since.clone(),
            until.trim_start_matches(", ").to_owned(),
        ];
        if wide {
            row.insert(2, String::new());
            row.push(String::new());
        }
        table.add_row(row);
        for region in &wave.regions {
            let mut row = vec![
                String::new(),
                region.name.clone(),
                format!("{:?}", region.state),
                region.since.clone(),
                region.reason.clone().unwrap_or_default(),
            ];
            if wide {
                row.insert(2, region.location.clone());
                row.push(region.tree.map(|tree| tree.short(8)).unwrap_or_default());
            }
            table.add_row(row);
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}
