//! `tidegate audit`: does the fleet's history keep the promises that git alone can show?

mod fetched;
mod report;

use clap::Args;

use self::fetched::Fetched;
use self::report::{Report, table};
use super::error::{CommandError, ErrorKind};
use super::log_view::LogArgs;
use super::output::{OutputFormat, lines, print_structured};
use super::terminal::Terminal;
use crate::audit::{Scope, audit};

/// The most findings of one promise that a table shows.
const SHOWN: usize = 20;

/// Check the whole history of the fleet against its promises, from git alone
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate audit                          the fleet of the repo in this folder
  tidegate audit --expect-log SHA         also that the log still has an entry that you know of
  tidegate audit --since tidegate/log~50  judge the newest 50 entries alone
  tidegate audit -o json | jq .clean      for scripts

Exit codes: 0 every promise is kept; 4 one is broken; 1 it could not do its work; 2 called wrongly")]
pub struct AuditArgs {
    #[command(flatten)]
    log: LogArgs,

    /// Judge from this entry of the log on; earlier ones are read and not judged
    ///
    /// A commit id, whole or abbreviated, or another name that git knows, such as tidegate/log~50.
    #[arg(long, value_name = "REV")]
    since: Option<String>,

    /// An entry that the log must still contain: write down what an earlier audit printed as the log's tip
    ///
    /// Git alone cannot tell that a log lost its newest entries; whoever remembers one can.
    #[arg(long, value_name = "SHA", value_parser = commit_id)]
    expect_log: Option<String>,

    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
}

/// A commit id or the beginning of one, in lower case.
fn commit_id(text: &str) -> Result<String, String> {
    let is_one = (7..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_one {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("it is no commit id: 7 to 40 hexadecimal digits are expected".to_owned())
    }
}

/// Runs `tidegate audit`.
pub fn run(arguments: AuditArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let AuditArgs {
        log,
        since,
        expect_log,
        output,
    } = arguments;
    let log = log.resolved()?;
    let fetched = Fetched::of(&log, expect_log.as_deref())?;
    let record = fetched.read(&log)?;
    let since = match since {
        Some(revision) => fetched.place(&record, &revision)?,
        None => 0,
    };
    let scope = Scope {
        since,
        expected: expect_log,
    };
    let verdicts = audit(&record, &scope);
    let report = Report::of(&record, fetched.log, since, &verdicts);
    match output {
        OutputFormat::Json | OutputFormat::Yaml => print_structured(terminal, output, &report)?,
        OutputFormat::Name => {
            let broken: Vec<String> = verdicts
                .iter()
                .filter(|verdict| !verdict.findings.is_empty())
                .map(|verdict| verdict.promise.number().to_string())
                .collect();
            terminal.data(&lines(broken.iter().map(String::as_str)))?;
        }
        OutputFormat::Table | OutputFormat::Wide => {
            let shown = if output == OutputFormat::Wide {
                usize::MAX
            } else {
                SHOWN
            };
            terminal.data(&table(&report, &verdicts, &log.prefix, shown, terminal))?;
        }
    }
    if report.clean {
        return Ok(());
    }
    let findings: usize = verdicts.iter().map(|verdict| verdict.findings.len()).sum();
    let broken = verdicts
        .iter()
        .filter(|verdict| !verdict.findings.is_empty())
        .count();
    Err(CommandError::new(
        ErrorKind::RolledBack,
        match (findings, broken) {
            (1, _) => "1 finding: a promise is broken".to_owned(),
            (_, 1) => format!("{findings} findings: a promise is broken"),
            _ => format!("{findings} findings: {broken} promises are broken"),
        },
    )
    .hint("tidegate history and git log --first-parent on the log tell what happened around them"))
}
