//! Breaks the rules one by one, and sees who notices: `cargo run -p tidegate-mutants`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tidegate_mutants::running::{self, Options};
use tidegate_mutants::{Check, Mutant, list};

/// Breaks the rules one by one in a copy of the sources, and sees whether the named test notices
#[derive(Debug, Parser)]
#[command(name = "tidegate-mutants")]
struct Arguments {
    /// Only these mutants
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = mutant)]
    only: Vec<Mutant>,

    /// Only those that a test of this place has to notice
    #[arg(long, value_name = "PLACE", value_parser = ["waves", "renderer", "controller", "end_to_end"])]
    place: Option<String>,

    /// Only so many, spread evenly over all
    #[arg(long, value_name = "NUMBER")]
    sample: Option<usize>,

    /// Name the mutants and what has to notice them, and try none
    #[arg(long)]
    list: bool,

    /// Show every mutant to this test as well, where it can make a difference to it; may be given again
    #[arg(long, value_name = "TEST")]
    also: Vec<Check>,

    /// Append results to this file, and leave out what it holds already
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
}

fn mutant(name: &str) -> Result<Mutant, String> {
    list::all()
        .into_iter()
        .find(|mutant| mutant.name == name)
        .ok_or_else(|| "there is none of this name; --list names them".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut mutants = if arguments.only.is_empty() {
        list::all()
    } else {
        arguments.only
    };
    if let Some(place) = arguments.place {
        let inside = format!("{place}::");
        mutants.retain(|mutant| mutant.check.to_string().starts_with(&inside));
    }
    if let Some(sample) = arguments.sample.filter(|sample| *sample < mutants.len()) {
        let all = mutants.len();
        mutants = (0..sample)
            .filter_map(|place| mutants.get(place * all / sample).cloned())
            .collect();
    }
    if arguments.list {
        for mutant in mutants {
            println!("{:40} {}", mutant.name, mutant.check);
        }
        return ExitCode::SUCCESS;
    }
    let all_caught = running::run(&Options {
        mutants,
        also: arguments.also,
        results: arguments.resume,
    });
    if all_caught {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
