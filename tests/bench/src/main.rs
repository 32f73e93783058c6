//! How fast the program is as a whole: `cargo run --release -p tidegate-bench`.
//!
//! Builds nothing by itself but drives the release build of `tidegate` on generated fleets, and prints one table in
//! which each figure stands beside its limit, or beside a peer that did the same in the same run. These are
//! measurements, not tests: a miss is shown, and fails nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that cannot go on fails by a panic"
)]

mod argocd;
mod chart;
mod clusters;
mod counting;
mod process;
mod scenarios;
mod site;
mod slow_network;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::Parser;
use tidegate_bench::generator;
use tidegate_testkit::tidegate::Tidegate;

use crate::scenarios::{ALL, Scenario, Setting};
use crate::table::Figure;

/// Measures the program as a whole, beside its limits and peers in the same run
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What to measure (default: everything)
    scenarios: Vec<String>,

    /// Small sizes: to see that everything works, not how fast
    #[arg(long)]
    quick: bool,

    /// What the generated fleets are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// The program to measure (default: the release build of this repo, built first)
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Another build of the program to measure in the same run, in turns: figures are shown side by side
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,

    /// With --before: how often each scenario is run with each of the two; the middle value is shown
    #[arg(long, value_name = "N", default_value_t = 1, requires = "before", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Print the table as Markdown
    #[arg(long)]
    markdown: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted: Vec<_> = ALL
        .iter()
        .filter(|one| {
            arguments.scenarios.is_empty()
                || arguments.scenarios.iter().any(|name| name == one.name)
        })
        .collect();
    if let Some(unknown) = arguments
        .scenarios
        .iter()
        .find(|name| ALL.iter().all(|one| one.name != **name))
    {
        eprintln!("there is no scenario {unknown}; there are:");
        for one in &ALL {
            eprintln!("  {:10} {}", one.name, one.about);
        }
        return ExitCode::from(2);
    }
    let program = arguments.program.clone().unwrap_or_else(build);
    // They are run in folders of their own.
    let absolute = |program: &Path| match program.canonicalize() {
        Ok(program) => Some(program),
        Err(error) => {
            eprintln!("cannot measure {}: {error}", program.display());
            None
        }
    };
    let Some(program) = absolute(&program) else {
        return ExitCode::from(2);
    };
    let before = match arguments.before.as_deref().map(absolute) {
        Some(None) => return ExitCode::from(2),
        before => before.flatten(),
    };
    let table = match before {
        Some(before) => {
            let (before, after) = in_turns(&arguments, &wanted, &before, &program);
            table::side_by_side(&before, &after, arguments.markdown)
        }
        None => {
            let figures: Vec<Figure> = wanted
                .iter()
                .flat_map(|one| measure(&arguments, one, &program, !arguments.quick))
                .collect();
            table::show(&figures, arguments.markdown)
        }
    };
    println!("{table}");
    ExitCode::SUCCESS
}

/// One scenario with one program.
fn measure(arguments: &Arguments, one: &Scenario, program: &Path, draws: bool) -> Vec<Figure> {
    let home = tempfile::tempdir().unwrap();
    let setting = Setting {
        program: &Tidegate::new(program.to_owned(), home.path()),
        quick: arguments.quick,
        seed: arguments.seed,
        draws,
    };
    let begun = Instant::now();
    eprintln!("{}: {}", one.name, one.about);
    let figures = (one.run)(&setting);
    eprintln!("  took {:.0} s", begun.elapsed().as_secs_f64());
    figures
}

/// Every scenario with both programs, in turns, so that whatever else the machine does falls on both; figures of
/// the first and of the second, each the middle one of its rounds.
fn in_turns(
    arguments: &Arguments,
    wanted: &[&Scenario],
    before: &Path,
    after: &Path,
) -> (Vec<Figure>, Vec<Figure>) {
    let mut rounds = (Vec::new(), Vec::new());
    for one in wanted {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for round in 0..arguments.rounds {
            // Who comes first changes, so that neither always finds what the other has warmed.
            if round % 2 == 0 {
                first.push(measure(arguments, one, before, false));
                second.push(measure(arguments, one, after, false));
            } else {
                second.push(measure(arguments, one, after, false));
                first.push(measure(arguments, one, before, false));
            }
        }
        rounds.0.extend(table::middle(&first));
        rounds.1.extend(table::middle(&second));
    }
    rounds
}

/// Builds the program as users get it, and says where it is.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", "tidegate"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .status()
        .expect("cargo");
    assert!(status.success(), "the program could not be built");
    // Both are built into the same folder, this one by whichever profile it runs in.
    let folder = std::env::current_exe().unwrap();
    let target = folder.parent().and_then(Path::parent).unwrap();
    target.join("release/tidegate")
}
