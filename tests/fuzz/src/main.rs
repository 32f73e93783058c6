//! `cargo run -p tidegate-fuzz -- run`: libFuzzer over the targets. `docs/src/fuzzing.md` tells what for.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tidegate_fuzz::engine::{self, EngineError, Ran};
use tidegate_fuzz::table::table;
use tidegate_fuzz::targets::{self, Target};

/// Feeds hostile input to every parser of outside bytes
#[derive(Debug, Parser)]
#[command(name = "tidegate-fuzz")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lets libFuzzer look for inputs that end a target, and ends with 1 if there is one
    Run {
        /// For how long each
        #[arg(long, default_value_t = 600, value_name = "NUMBER")]
        seconds: u64,

        /// How many run side by side
        #[arg(long, default_value_t = 2, value_name = "NUMBER")]
        jobs: usize,

        /// Only these targets (default: all)
        #[arg(value_parser = target)]
        targets: Vec<&'static Target>,
    },

    /// Keeps of all inputs that were found the few that show the most, to be committed
    Keep {
        /// Only these targets (default: all)
        #[arg(value_parser = target)]
        targets: Vec<&'static Target>,
    },

    /// Gives inputs to a target, without libFuzzer
    Replay {
        /// The target
        #[arg(value_parser = target)]
        target: &'static Target,

        /// The inputs
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },

    /// Lists the targets
    List,
}

fn target(name: &str) -> Result<&'static Target, String> {
    targets::by_name(name).ok_or_else(|| {
        let names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
        format!("there are {}", names.join(", "))
    })
}

fn or_all(chosen: Vec<&'static Target>) -> Vec<&'static Target> {
    if chosen.is_empty() {
        targets::ALL.iter().collect()
    } else {
        chosen
    }
}

fn main() -> ExitCode {
    match act(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn act(command: Command) -> Result<ExitCode, EngineError> {
    match command {
        Command::Run {
            seconds,
            jobs,
            targets,
        } => {
            let ran = engine::run(&or_all(targets), Duration::from_secs(seconds), jobs)?;
            Ok(report(&ran))
        }
        Command::Keep { targets } => {
            let binary = engine::build()?;
            for target in or_all(targets) {
                let kept = engine::keep(&binary, target)?;
                println!("{}: {kept} inputs", target.name);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Replay { target, files } => {
            for path in files {
                let input =
                    std::fs::read(&path).map_err(|source| EngineError::Io { path, source })?;
                (target.run)(&input);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::List => {
            for target in &targets::ALL {
                println!("{:16} {}", target.name, target.about);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn report(ran: &[Ran]) -> ExitCode {
    let outcomes: Vec<_> = ran.iter().map(|ran| ran.outcome.clone()).collect();
    println!("{}", table(&outcomes));
    let mut clean = true;
    for ran in ran.iter().filter(|ran| ran.outcome.findings > 0) {
        clean = false;
        let target = &ran.outcome.target;
        println!("\n{target}:\n{}", ran.last_words);
        for file in &ran.findings {
            println!(
                "to see it again, and to keep it for good:\n  cp {} tests/fuzz/corpus/{target}/ && cargo test -p tidegate-fuzz {target}",
                file.display()
            );
        }
    }
    if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
