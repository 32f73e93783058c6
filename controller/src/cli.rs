//! The command line: what `tidegate` is called with, and what it says.
//!
//! One file below for each command. Data goes to stdout, everything else to stderr; every command ends in
//! `Ok` or in a [`CommandError`], which decides the exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod config_repo;
pub mod error;
pub mod init;
pub mod report;
pub mod target;
pub mod terminal;
pub mod work_tree;

use error::CommandError;
use terminal::{ColorChoice, Terminal};

/// Roll configuration commits out to a fleet of regions: canary, waves, health gates, automatic revert
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Start here:
  tidegate init shop-config       write a config repo that works
  tidegate validate shop-config   check it: all errors at once, each with its place
  tidegate plan shop-config       what a change would do, region by region

Exit codes:
  0  done
  1  could not do its work
  2  called wrongly
  3  the config repo is invalid
  4  a rollout was reverted, failed or aborted
  5  a rollout is held and needs a person
  6  the time given by --timeout has passed
  7  plan --exit-code, and something would change"
)]
pub struct Cli {
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,

    /// Say more of what is done (can be repeated)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    /// When to use colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    color: ColorChoice,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
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
    use super::*;

    #[test]
    fn verify_cli() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
