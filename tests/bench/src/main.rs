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

mod chart;
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

use crate::scenarios::{ALL, Setting};

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
    let program = arguments.program.unwrap_or_else(build);
    // It is run in folders of its own.
    let program = match program.canonicalize() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("cannot measure {}: {error}", program.display());
            return ExitCode::from(2);
        }
    };
    let home = tempfile::tempdir().unwrap();
    let setting = Setting {
        program: &Tidegate::new(program, home.path()),
        quick: arguments.quick,
        seed: arguments.seed,
    };
    let mut figures = Vec::new();
    for one in wanted {
        let begun = Instant::now();
        eprintln!("{}: {}", one.name, one.about);
        figures.extend((one.run)(&setting));
        eprintln!("  took {:.0} s", begun.elapsed().as_secs_f64());
    }
    println!("{}", table::show(&figures, arguments.markdown));
    ExitCode::SUCCESS
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
