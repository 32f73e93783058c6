//! The real program under disturbances: `cargo run -p tidegate-chaos -- sweep`, or `-- soak`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tidegate_chaos::scenario::{ALL, Scenario};
use tidegate_chaos::{Fault, soak, sweep};

/// Disturbs the real program, and compares how it ends with an undisturbed run
#[derive(Debug, Parser)]
#[command(name = "tidegate-chaos")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Disturbs every side effect of every scenario with every fault
    Sweep(SweepArguments),

    /// Lets three controllers work on one fleet while they are killed and frozen and commits come
    Soak {
        /// For how long
        #[arg(long, default_value_t = 20, value_name = "NUMBER")]
        minutes: u64,

        /// How many commits come meanwhile
        #[arg(long, default_value_t = 200, value_name = "NUMBER")]
        commits: u32,

        /// What chance is drawn from (default: another one each time, which is printed)
        #[arg(long, value_name = "NUMBER")]
        seed: Option<u64>,
    },
}

#[derive(Debug, clap::Args)]
struct SweepArguments {
    /// Only this scenario; may be given again
    #[arg(long, value_parser = scenario)]
    scenario: Vec<&'static Scenario>,

    /// Only this fault: kill, move, freeze, interleave, enospc, eio, cut, silence; may be given again
    #[arg(long, value_parser = fault)]
    fault: Vec<Fault>,

    /// Only this side effect, such as after-intent:2, or after-intent for all of its passings; may be given again
    #[arg(long)]
    point: Vec<String>,

    /// Only so many cases, as many of each fault; always the same ones
    #[arg(long, value_name = "NUMBER")]
    sample: Option<usize>,

    /// How many run side by side
    #[arg(long, default_value_t = 3, value_name = "NUMBER")]
    jobs: usize,

    /// Append results to this file, and leave out what it holds already
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
}

fn scenario(name: &str) -> Result<&'static Scenario, String> {
    ALL.iter().find(|one| one.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|one| one.name).collect();
        format!("there are {}", names.join(", "))
    })
}

fn fault(name: &str) -> Result<Fault, String> {
    let mut all = Fault::ALL.into_iter();
    all.find(|one| one.name() == name).ok_or_else(|| {
        let names = Fault::ALL.map(Fault::name);
        format!("there are {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let equal = match Arguments::parse().command {
        Command::Soak {
            minutes,
            commits,
            seed,
        } => {
            soak::run(soak::Options {
                length: Duration::from_secs(60 * minutes),
                commits,
                seed: seed.unwrap_or_else(|| fastrand::u64(..)),
            });
            true
        }
        Command::Sweep(arguments) => {
            let folder = std::env::temp_dir().join("tidegate-chaos");
            let fresh = folder.join(format!("results-{}", std::process::id()));
            let or_all = |chosen: Vec<&'static Scenario>| {
                if chosen.is_empty() {
                    ALL.iter().collect()
                } else {
                    chosen
                }
            };
            sweep::run(&sweep::Options {
                scenarios: or_all(arguments.scenario),
                faults: if arguments.fault.is_empty() {
                    Fault::ALL.to_vec()
                } else {
                    arguments.fault
                },
                points: arguments.point,
                sample: arguments.sample,
                jobs: arguments.jobs,
                results: arguments.resume.unwrap_or(fresh),
                keep: folder.join("differing"),
            })
        }
    };
    if equal {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
