//! `tidegate validate`: check a config repo.

use clap::{Args, ValueEnum};
use tidegate_renderer::tree::ObjectStore;

use super::config_repo::{ConfigRepo, RepoArgs};
use super::error::{CommandError, ErrorKind};
use super::rendered;
use super::report::{Report, counted};
use super::terminal::Terminal;

/// Check a config repo: all errors at once, each with its place
///
/// Loads the fleet, its regions and values, renders every region and checks what comes out. Each problem is
/// said on stderr as `FILE:LINE:COL: error|warning: MESSAGE`, with the lines around it and what would be right.
/// Exits with 3 if the repo is invalid; warnings alone do not make it so.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate validate                            the fleet in this folder, committed or not
  tidegate validate fleets/payments            a fleet in a folder of the repo
  tidegate validate .@HEAD~1                   this repo at another revision
  tidegate validate https://git.example.com/acme/shop-config.git@main
  tidegate validate -o json | jq '.errors[]'   for scripts")]
pub struct ValidateArgs {
    #[command(flatten)]
    repo: RepoArgs,

    /// Print the result to stdout in this form
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// {valid, errors: [{file, line, column, region, message, hint}], warnings}
    Json,
    /// The same as YAML
    Yaml,
}

/// Runs the command.
pub fn run(arguments: ValidateArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let ValidateArgs { repo, output } = arguments;
    let repo = ConfigRepo::of(&repo)?;
    let store = ObjectStore::in_memory();
    let result = rendered::try_render(&repo, &store)?;
    let (report, summary) = match result {
        Ok(fleet) => {
            let regions = fleet.loaded.regions.len();
            let waves = fleet.loaded.fleet.waves.len();
            let objects = fleet
                .rendered
                .objects
                .values()
                .map(|objects| objects.len())
                .sum();
            let summary = format!(
                "{} is valid: {} in {}, {}",
                fleet.loaded.fleet.name,
                counted(regions, "region"),
                counted(waves, "wave"),
                counted(objects, "object")
            );
            let mut warnings = fleet.warnings();
            warnings.extend(fleet.loaded.expired_exclusions(seconds_since_1970()));
            (Report::new(warnings), summary)
        }
        Err(problems) => (Report::new(problems), String::new()),
    };
    if let Some(format) = output {
        match format {
            Format::Json => terminal.json(&report)?,
            Format::Yaml => terminal.yaml(&report)?,
        }
        return if report.valid {
            Ok(())
        } else {
            Err(CommandError::silent(ErrorKind::InvalidConfig))
        };
    }
    report.show(terminal);
    if !report.valid {
        return Err(report.into_error());
    }
    let warnings = match report.warnings.len() {
        0 => String::new(),
        count => format!(" ({})", counted(count, "warning")),
    };
    terminal.say(&format!("{summary}{warnings}."));
    Ok(())
}

fn seconds_since_1970() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.ok()
        .and_then(|elapsed| i64::try_from(elapsed.as_secs()).ok())
        .unwrap_or_default()
}
