//! `model check`: every order of events, within bounds, over the production decision function.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use tidegate_model::configuration::Configuration;
use tidegate_model::model::Rollouts;
use tidegate_model::mutant::Mutant;

/// Worlds are copied at every step: most of the time goes into memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Looks at every order of events, within bounds, over the production decision function.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Searches exhaustively.
    Check(Check),
    /// Lists the configurations.
    List,
}

#[derive(Debug, Args)]
struct Check {
    /// Only this configuration.
    configuration: Option<String>,
    /// How many threads search.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Give a configuration up after so many seconds: then it was not searched exhaustively, and fails.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// So many delayed pushes instead of the configuration's own bound.
    #[arg(long)]
    delays: Option<u8>,
    /// So many stopped controllers instead of the configuration's own bound.
    #[arg(long)]
    stops: Option<u8>,
    /// With a rule broken on purpose: something must be found.
    #[arg(long)]
    broken: Option<String>,
    /// Print the ends that an undisturbed run may come to.
    #[arg(long)]
    ends: bool,
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse().command {
        Command::Check(arguments) => arguments,
        Command::List => {
            for configuration in Configuration::all() {
                println!("{configuration}");
            }
            return ExitCode::SUCCESS;
        }
    };
    let mutant = arguments.broken.as_deref().and_then(Mutant::named);
    if arguments.broken.is_some() && mutant.is_none() {
        eprintln!(
            "there is no such rule to break; there are {:?}",
            Mutant::ALL
        );
        return ExitCode::from(2);
    }
    let wanted = |known: &Configuration| {
        arguments
            .configuration
            .as_deref()
            .is_none_or(|name| name == known.name)
    };
    let mut are_clean = true;
    let mut any = false;
    for configuration in Configuration::all().into_iter().filter(wanted) {
        any = true;
        are_clean &= check(configuration, mutant, &arguments);
    }
    if !any {
        eprintln!("there is no such configuration; see `list`");
        return ExitCode::from(2);
    }
    if are_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Searches one configuration; tells whether everything was looked at and nothing was found.
fn check(mut configuration: Configuration, mutant: Option<Mutant>, arguments: &Check) -> bool {
    configuration.delays = arguments.delays.unwrap_or(configuration.delays);
    configuration.stops = arguments.stops.unwrap_or(configuration.stops);
    println!("{configuration}");
    let begun = Instant::now();
    let model = Rollouts::new(configuration, mutant);
    let ends: usize = model
        .allowed()
        .iter()
        .map(std::collections::BTreeSet::len)
        .sum();
    println!("  {ends} ends of undisturbed runs");
    if arguments.ends {
        println!("{:#?}", model.allowed());
    }
    let expectations: Vec<(&'static str, bool)> = model
        .properties()
        .iter()
        .map(|property| {
            let is_example = matches!(property.expectation, Expectation::Sometimes);
            (property.name, is_example)
        })
        .collect();
    let mut builder = model
        .checker()
        .threads(arguments.threads)
        .timeout(Duration::from_secs(arguments.seconds));
    if mutant.is_some() {
        builder = builder.finish_when(HasDiscoveries::AnyFailures);
    }
    let checker = builder.spawn_dfs();
    let mut told = Instant::now();
    while !checker.is_done() {
        std::thread::sleep(Duration::from_millis(50));
        if told.elapsed() >= Duration::from_secs(10) {
            told = Instant::now();
            println!("  {}", numbers(&checker, begun.elapsed()));
        }
    }
    let took = begun.elapsed();
    println!("  {}", numbers(&checker, took));
    let found = checker.discoveries();
    let mut is_clean = true;
    for (name, is_example) in expectations {
        match (found.get(name), is_example) {
            (Some(path), false) => {
                is_clean = false;
                println!("  BROKEN: {name}");
                let steps = path.clone().into_vec();
                for (number, (_, action)) in steps.iter().enumerate() {
                    if let Some(action) = action {
                        println!("  {:>3}. {}", number + 1, action.event);
                    }
                }
                if let Some((last, _)) = steps.last() {
                    for wrong in last.wrong.iter() {
                        println!("  => {wrong}");
                    }
                    println!("{last:?}");
                }
            }
            (None, true) => {
                is_clean = false;
                println!("  NEVER REACHED: {name}");
            }
            (Some(_), true) => println!("  reached: {name}"),
            (None, false) => println!("  holds: {name}"),
        }
    }
    if took >= Duration::from_secs(arguments.seconds) {
        println!("  NOT EXHAUSTIVE: given up after {} s", arguments.seconds);
        is_clean = false;
    }
    is_clean
}

fn numbers(checker: &impl Checker<Rollouts>, took: Duration) -> String {
    let states = checker.state_count();
    let seconds = took.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = states as f64 / seconds.max(0.001);
    format!(
        "{seconds:.1} s, {states} steps, {} states, depth {}, {rate:.0} steps/s, at most {} MB",
        checker.unique_state_count(),
        checker.max_depth(),
        peak_megabytes()
    )
}

/// The most memory that this process ever had.
fn peak_megabytes() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .unwrap_or_default()
        / 1024
}
