//! `tidegate status`: where the fleet stands, from git alone.

mod wait;

use std::time::Duration;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use tidegate_waves::rollout::FleetState;
use tidegate_waves::selector::LabelSelector;

use super::error::{CommandError, ErrorKind};
use super::log_view::{LogArgs, LogView};
use super::output::{OutputFormat, lines, print_structured};
use super::terminal::{Stream, Style, Terminal};
use crate::explain::expected;
use crate::status::{RegionStatus, Status, WaveStatus};

/// Show where the fleet stands: the rollout under way, its waves and regions, and what holds it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate status                         the fleet of the repo in this folder
  tidegate status --repo URL --last       also the rollout that ended last
  tidegate status --wait --timeout 30m    until the head is through: 0, or 3, 4, 5, 6 (see tidegate --help)
  tidegate status -o json | jq .holds     for scripts
  tidegate status --state Baking -o name  the regions that bake")]
pub struct StatusArgs {
    #[command(flatten)]
    log: LogArgs,

    /// Also show the rollout that ended last
    #[arg(long)]
    last: bool,

    /// Wait until the config branch's head (as it is now) or a newer commit is settled
    ///
    /// Ends with 0 once it is through, 3 if it is invalid, 4 if it was given back or aborted, 5 if it is held and
    /// needs a person. What changes meanwhile is said on stderr.
    #[arg(long)]
    wait: bool,

    /// The longest to wait, such as 30m; then it ends with 6
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = tidegate_waves::duration::parse)]
    timeout: Option<Duration>,

    /// Only regions in this state (can be repeated)
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,

    /// Only regions in this cloud location (can be repeated)
    #[arg(long, value_name = "LOCATION")]
    location: Vec<String>,

    /// Only regions with these labels, as kubectl writes it: k=v,k!=v,k in (a,b),!k (can be repeated)
    #[arg(
        short = 'l',
        long = "selector",
        alias = "label",
        value_name = "SELECTOR"
    )]
    selectors: Vec<LabelSelector>,

    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
}

/// Runs `tidegate status`.
pub fn run(arguments: StatusArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let StatusArgs {
        log,
        last,
        wait,
        timeout,
        state,
        location,
        selectors,
        output,
    } = arguments;
    let mut view = LogView::open(&log)?;
    let ending = if wait {
        wait::wait(&mut view, timeout, terminal)?
    } else {
        None
    };
    // Who waited wants to see how it ended.
    let mut status = view.status(last || wait)?;
    let wanted = |region: &RegionStatus| {
        (state.is_empty()
            || state
                .iter()
                .any(|state| format!("{:?}", region.state).eq_ignore_ascii_case(state)))
            && (location.is_empty() || location.contains(&region.location))
            && selectors
                .iter()
                .all(|selector| selector.matches(&region.labels))
    };
    for wave in status
        .rollouts
        .iter_mut()
        .flat_map(|rollout| &mut rollout.waves)
    {
        wave.regions.retain(wanted);
    }
    print(&status, view.state(), output, terminal)?;
    match ending {
        None => Ok(()),
        Some(ErrorKind::TimedOut) => Err(CommandError::new(
            ErrorKind::TimedOut,
            "the time given by --timeout has passed, and nothing is settled yet",
        )
        .hint("tidegate explain says what it waits for")),
        Some(ErrorKind::Held) => Err(CommandError::new(
            ErrorKind::Held,
            "it is held and needs a person",
        )
        .hint("tidegate explain says what ends it")),
        Some(kind) => Err(CommandError::new(
            kind,
            match kind {
                ErrorKind::InvalidConfig => "the commit is not valid: tidegate validate says why",
                _ => "the rollout did not succeed",
            },
        )),
    }
}

fn print(
    status: &Status,
    state: &FleetState,
    output: OutputFormat,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    match output {
        OutputFormat::Json | OutputFormat::Yaml => print_structured(terminal, output, status),
        OutputFormat::Name => {
            let regions = status
                .rollouts
                .iter()
                .flat_map(|rollout| &rollout.waves)
                .flat_map(|wave| &wave.regions);
            terminal.data(&lines(regions.map(|region| region.name.as_str())))
        }
        OutputFormat::Table | OutputFormat::Wide => terminal.data(&table(
            status,
            state,
            terminal,
            output == OutputFormat::Wide,
        )),
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

fn table(status: &Status, state: &FleetState, terminal: &Terminal, wide: bool) -> String {
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
        let stalled = format!(
            "STALLED: {}; nothing was written since {}. Is a controller running?",
            expected(state),
            status.as_of
        );
        text.push_str(&paint(Style::Error, &stalled));
        text.push('\n');
    }
    for hold in &status.holds {
        let reason = paint(Style::Warning, &format!("held: {:?}", hold.reason));
        push(
            &mut text,
            format_args!("{reason} since {}: {}\n", hold.since, hold.message),
        );
    }
    let head = status.source.head;
    if head.is_some() && state.invalid == head {
        let invalid = paint(Style::Error, "the head is not valid");
        push(
            &mut text,
            format_args!("{invalid} and opens nothing: tidegate validate says why\n"),
        );
    }
    if head.is_some() && state.not_again == head {
        push(
            &mut text,
            format_args!("the head is not opened again: the next commit is, or tidegate retry\n"),
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
