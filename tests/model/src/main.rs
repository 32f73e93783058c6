//! `model check`: every order of events, within bounds, over the production decision function.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use stateright::{Checker, Model};
use tidegate_model::configuration::Configuration;
use tidegate_model::model::Rollouts;

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
}

#[derive(Debug, Args)]
struct Check {
    /// Only this configuration.
    configuration: Option<String>,
    /// How many threads search.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Give up a configuration after so many seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Other bounds: delayed pushes.
    #[arg(long)]
    delays: Option<u8>,
    /// Other bounds: stopped controllers.
    #[arg(long)]
    stops: Option<u8>,
}

fn main() -> ExitCode {
    let Command::Check(arguments) = Arguments::parse().command;
    for mut configuration in Configuration::all() {
        if arguments
            .configuration
            .as_deref()
            .is_some_and(|name| name != configuration.name)
        {
            continue;
        }
        configuration.delays = arguments.delays.unwrap_or(configuration.delays);
        configuration.stops = arguments.stops.unwrap_or(configuration.stops);
        let name = configuration.name;
        let begun = Instant::now();
        let model = Rollouts::new(configuration, None);
        println!("{name}: {} ends", model.allowed().iter().map(std::collections::BTreeSet::len).sum::<usize>());
        let checker = model
            .checker()
            .threads(arguments.threads)
            .timeout(Duration::from_secs(arguments.seconds))
            .spawn_dfs();
        while !checker.is_done() {
            std::thread::sleep(Duration::from_secs(1));
            println!("{} {} {} {}", begun.elapsed().as_secs(), checker.state_count(), checker.unique_state_count(), checker.max_depth());
        }
        println!("{} {} {} {}", begun.elapsed().as_millis(), checker.state_count(), checker.unique_state_count(), checker.max_depth());
        for (name, path) in checker.discoveries() {
            println!("== {name}");
            if name.starts_with("promise") || name.starts_with("it ") || name.starts_with("every") {
            for (state, action) in path.into_vec() {
                for w in state.wrong.iter() { println!("   {w}"); }
                match action {
                    Some(action) => println!("- {}", action.event),
                    None => println!("{}", state.world.story()),
                }
            }}
        }
    }
    ExitCode::SUCCESS
}
