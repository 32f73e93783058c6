//! The command line: what `tidegate` is called with, and what it says.
//!
//! One file below for each command. Data goes to stdout, everything else to stderr; every command ends in
//! `Ok` or in a [`CommandError`], which decides the exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod audit;
pub mod completions;
pub mod config_repo;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod explain;
pub mod fetch;
pub mod gates;
pub mod history;
pub mod init;
pub mod log_view;
pub mod man;
pub mod output;
pub mod plan;
pub mod render;
pub mod rendered;
pub mod report;
pub mod request;
pub mod run;
pub mod schema;
pub mod status;
pub mod target;
pub mod terminal;
pub mod validate;
pub mod work_tree;

use error::CommandError;
use request::verbs;
use terminal::{ColorChoice, Terminal};

use crate::render_worker;

/// The heading under which every command's help lists the options that all of them have.
const GLOBAL: &str = "Global options";

/// Roll configuration commits out to a fleet of regions: canary, waves, health gates, automatic revert
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Start here:
  tidegate demo                   all of it on this machine, in about a minute
  tidegate init shop-config       write a config repo that works
  tidegate validate shop-config   check it: all errors at once, each with its place
  tidegate plan shop-config       what a change would do, region by region

Exit codes:
  0  done
  1  could not do its work
  2  called wrongly
  3  the config repo is invalid
  4  a rollout was reverted, failed or aborted, or the audit found a broken promise
  5  a rollout is held and needs a person
  6  the time given by --timeout has passed
  7  plan --exit-code, and something would change"
)]
pub struct Cli {
    /// Say only what went wrong
    #[arg(short, long, global = true, help_heading = GLOBAL, conflicts_with = "verbose")]
    quiet: bool,

    /// Say more of what is done (can be repeated)
    #[arg(short, long, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    verbose: u8,

    /// When to use colour: auto, always or never
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, value_name = "WHEN", default_value_t, hide_possible_values = true)]
    color: ColorChoice,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Validate(validate::ValidateArgs),
    Render(render::RenderArgs),
    Plan(plan::PlanArgs),
    Run(run::RunArgs),
    Status(status::StatusArgs),
    Explain(explain::ExplainArgs),
    Gates(gates::GatesArgs),
    Doctor(doctor::DoctorArgs),
    History(history::HistoryArgs),
    Audit(audit::AuditArgs),
    Approve(verbs::ApproveArgs),
    Hold(verbs::HoldArgs),
    Resume(verbs::ResumeArgs),
    Skip(verbs::SkipArgs),
    Abort(verbs::AbortArgs),
    Retry(verbs::RetryArgs),
    Revert(verbs::RevertArgs),
    Hotfix(verbs::HotfixArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    Schema(schema::SchemaArgs),
    /// Render templates for a parent process, under limits
    #[command(name = render_worker::SUBCOMMAND, hide = true)]
    RenderWorker,
}

/// Runs the program with these arguments (the first is its own name) and gives its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data; everything else clap says is about wrong usage.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(error) => CommandError::of_output(&error).exit_code(),
            };
        }
    };
    let Cli {
        quiet,
        verbose,
        color,
        command,
    } = cli;
    let terminal = Terminal::new(color, quiet, verbose);
    let result = match command {
        Command::Init(arguments) => init::run(arguments, &terminal),
        Command::Validate(arguments) => validate::run(arguments, &terminal),
        Command::Render(arguments) => render::run(arguments, &terminal),
        Command::Plan(arguments) => plan::run(arguments, &terminal),
        Command::Run(arguments) => run::run(arguments, &terminal),
        Command::Status(arguments) => status::run(arguments, &terminal),
        Command::Explain(arguments) => explain::run(arguments, &terminal),
        Command::Gates(arguments) => gates::run(arguments, &terminal),
        Command::Doctor(arguments) => doctor::run(&arguments, &terminal),
        Command::History(arguments) => history::run(arguments, &terminal),
        Command::Audit(arguments) => audit::run(arguments, &terminal),
        Command::Approve(arguments) => verbs::approve(arguments, &terminal),
        Command::Hold(arguments) => verbs::hold(arguments, &terminal),
        Command::Resume(arguments) => verbs::resume(arguments, &terminal),
        Command::Skip(arguments) => verbs::skip(arguments, &terminal),
        Command::Abort(arguments) => verbs::abort(arguments, &terminal),
        Command::Retry(arguments) => verbs::retry(arguments, &terminal),
        Command::Revert(arguments) => verbs::revert(arguments, &terminal),
        Command::Hotfix(arguments) => verbs::hotfix(arguments, &terminal),
        Command::Demo(arguments) => demo::run(arguments, &terminal),
        Command::Completions(arguments) => completions::run(&arguments, &terminal),
        Command::Man(arguments) => man::run(arguments, &terminal),
        Command::Schema(arguments) => schema::run(&arguments, &terminal),
        Command::RenderWorker => render_worker::serve().map_err(CommandError::failed),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal.error(&error);
            error.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn verify_cli() {
        Cli::command().debug_assert();
    }

    /// The part of the book's page that is generated: each command's own help.
    fn help_of_all_commands() -> String {
        let mut page = String::new();
        let mut program = Cli::command().term_width(100);
        program.build();
        for command in program
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let mut command = command.clone().color(clap::ColorChoice::Never);
            let help = command.render_long_help().to_string();
            let help: Vec<_> = help.lines().map(str::trim_end).collect();
            let help = help.join("\n");
            let (name, help) = (command.get_name(), help.trim_end());
            writeln!(page, "\n## tidegate {name}\n\n```text\n{help}\n```").unwrap();
        }
        page
    }

    #[test]
    fn command_line_page() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/command-line.md");
        let page = std::fs::read_to_string(path).unwrap();
        let marker = "command_line_page -->\n";
        let end = page.find(marker).unwrap() + marker.len();
        let wanted = format!("{}{}", &page[..end], help_of_all_commands());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, wanted).unwrap();
        } else {
            assert!(
                page == wanted,
                "docs/src/command-line.md differs from --help; \
                 UPDATE_DOCS=1 cargo test -p tidegate command_line_page"
            );
        }
    }
}
