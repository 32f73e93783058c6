//! `simulator simulate`: seeded schedules, in a world in memory, over the production decision function; `simulator
//! engine`: over the production engine.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use tidegate_simulator::aiming::aim;
use tidegate_simulator::engine;
use tidegate_simulator::exploring::explore;
use tidegate_simulator::run::{Broken, run};
use tidegate_simulator::schedule::Schedule;
use tidegate_simulator::shrinking::shrink;

/// Runs the production decision function in a world in memory.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Random schedules, each from its seed.
    Simulate(Simulate),
    /// Schedules for the pairs of state and event that the first seeds never bring together: prints the lines of `aimed.txt`.
    Aim(Aim),
    /// The same with the production engine, git objects and rendering, in simulated time.
    Engine(EngineArguments),
}

#[derive(Debug, Args)]
struct EngineArguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this one.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Only these events of its schedule, by number.
    #[arg(long, requires = "seed", value_delimiter = ',')]
    only: Option<Vec<usize>>,
    /// Print the schedule's events and what moves on the server after each.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// How many at once.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
}

#[derive(Debug, Args)]
struct Aim {
    /// How many seeds bring pairs together by themselves.
    #[arg(long, default_value_t = 2_000)]
    without: u64,
    /// Among how many seeds a schedule is looked for.
    #[arg(long, default_value_t = 4_000)]
    seeds: u64,
    /// How many at once.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
}

#[derive(Debug, Args)]
struct Simulate {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this one.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Only these events of its schedule, by number.
    #[arg(long, requires = "seed", value_delimiter = ',')]
    only: Option<Vec<usize>>,
    /// Step by step, with an event of this kind before the one at this place: a line of `aimed.txt`, as `203:commit-bad`.
    #[arg(
        long,
        requires = "seed",
        conflicts_with = "only",
        value_name = "PLACE:KIND"
    )]
    meet: Option<String>,
    /// Print the schedule's events and what the log says after each.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// How many at once.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
    /// Print the pairs of state and event that never met.
    #[arg(long)]
    coverage: bool,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Simulate(arguments) => match arguments.seed {
            Some(seed) => replay(seed, &arguments),
            None => simulate(&arguments),
        },
        Command::Aim(arguments) => print_aimed(&arguments),
        Command::Engine(arguments) => match arguments.seed {
            Some(seed) => replay_engine(seed, &arguments),
            None => simulate_engine(&arguments),
        },
    }
}

fn replay(seed: u64, arguments: &Simulate) -> ExitCode {
    let mut schedule = Schedule::new(seed);
    if let Some(only) = &arguments.only {
        schedule = schedule.only(only);
    }
    if let Some(meet) = &arguments.meet {
        let wanted = meet.split_once(':');
        let wanted = wanted.and_then(|(at, kind)| Some((at.parse().ok()?, kind)));
        match wanted.and_then(|(at, kind)| schedule.step_by_step().meeting(at, kind)) {
            Some(found) => schedule = found,
            None => {
                eprintln!(
                    "--meet {meet}: a place and a kind of event are needed, such as 203:commit-bad"
                );
                return ExitCode::from(2);
            }
        }
    }
    let report = run(&schedule, |line| {
        if arguments.trace {
            println!("{line}");
        }
    });
    println!(
        "seed {seed}: {} entries, history {}",
        report.entries, report.history
    );
    match report.broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            show(&schedule, &broken);
            println!("{}", broken.story);
            if arguments.only.is_none() && arguments.meet.is_none() {
                show_shrunk(&schedule);
            }
            ExitCode::FAILURE
        }
    }
}

fn print_aimed(arguments: &Aim) -> ExitCode {
    let all = explore(0, arguments.without, arguments.threads, 1);
    let wanted = all.coverage.unseen().into_iter().collect();
    for aimed in aim(&wanted, 0, arguments.seeds, arguments.threads) {
        println!("{aimed}");
    }
    ExitCode::SUCCESS
}

fn simulate(arguments: &Simulate) -> ExitCode {
    let began = Instant::now();
    let all = explore(arguments.from, arguments.seeds, arguments.threads, 10);
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let speed = all.seeds as f64 / seconds;
    let unseen = all.coverage.unseen();
    println!(
        "{} seeds in {seconds:.1} s ({speed:.0} a second): {} decisions, {} entries of {} kinds; {} pairs of state and event seen, {} not",
        all.seeds,
        all.decisions,
        all.entries,
        all.kinds.len(),
        all.coverage.seen(),
        unseen.len()
    );
    if arguments.coverage {
        for pair in unseen {
            println!("never: {pair}");
        }
    }
    for (seed, broken) in &all.broken {
        println!("seed {seed}: {}", broken.wrong.join("; "));
    }
    match all.broken.first() {
        None => ExitCode::SUCCESS,
        Some((seed, _)) => {
            show_shrunk(&Schedule::new(*seed));
            ExitCode::FAILURE
        }
    }
}

fn show_shrunk(schedule: &Schedule) {
    let (kept, broken) = shrink(schedule);
    if let Some(broken) = broken {
        println!(
            "the fewest events of seed {} that break something:",
            schedule.seed
        );
        show(&schedule.only(&kept), &broken);
        let kept: Vec<String> = kept.iter().map(usize::to_string).collect();
        println!(
            "replay: cargo run --release -p tidegate-simulator -- simulate --trace --seed {} --only {}",
            schedule.seed,
            kept.join(",")
        );
    }
}

fn show(schedule: &Schedule, broken: &Broken) {
    for (at, event) in schedule.events.iter().enumerate() {
        println!("  {at}: {event}");
    }
    match broken.after {
        Some(at) => println!("  broken after {at}:"),
        None => println!("  broken on the way to rest:"),
    }
    for wrong in &broken.wrong {
        println!("    {wrong}");
    }
}

fn replay_engine(seed: u64, arguments: &EngineArguments) -> ExitCode {
    let whole = engine::schedule::Schedule::new(seed);
    let schedule = match &arguments.only {
        Some(only) => whole.only(only),
        None => whole.clone(),
    };
    let report = engine::run::run(&schedule, |line| {
        if arguments.trace {
            println!("{line}");
        }
    });
    println!(
        "seed {seed}: {} entries in {:.0} simulated seconds, history {}",
        report.entries,
        report.simulated.as_secs_f64(),
        report.history
    );
    if report.wrong.is_empty() {
        return ExitCode::SUCCESS;
    }
    show_engine(&schedule, &report.wrong);
    if arguments.only.is_none() {
        show_engine_shrunk(&schedule);
    }
    ExitCode::FAILURE
}

fn simulate_engine(arguments: &EngineArguments) -> ExitCode {
    let began = Instant::now();
    let all = engine::exploring::explore(arguments.from, arguments.seeds, arguments.threads, 10);
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let speed = all.seeds as f64 / seconds;
    let entries: usize = all.kinds.values().sum();
    println!(
        "{} seeds in {seconds:.1} s ({speed:.1} a second): {entries} entries of {} kinds, {} samples, {:.0} simulated hours",
        all.seeds,
        all.kinds.len(),
        all.samples,
        all.simulated.as_secs_f64() / 3_600.0
    );
    let points: Vec<String> = all
        .killed_at
        .iter()
        .map(|(point, number)| format!("{point} {number}"))
        .collect();
    println!("died at: {}", points.join(", "));
    for (seed, wrong) in &all.broken {
        println!("seed {seed}: {}", wrong.join("; "));
    }
    match all.broken.first() {
        None => ExitCode::SUCCESS,
        Some((seed, _)) => {
            show_engine_shrunk(&engine::schedule::Schedule::new(*seed));
            ExitCode::FAILURE
        }
    }
}

fn show_engine_shrunk(schedule: &engine::schedule::Schedule) {
    let (kept, broken) = engine::exploring::shrink(schedule);
    if let Some(wrong) = broken {
        println!(
            "the fewest events of seed {} that break something:",
            schedule.seed
        );
        show_engine(&schedule.only(&kept), &wrong);
        let kept: Vec<String> = kept.iter().map(usize::to_string).collect();
        println!(
            "replay: cargo run --release -p tidegate-simulator -- engine --trace --seed {} --only {}",
            schedule.seed,
            kept.join(",")
        );
    }
}

fn show_engine(schedule: &engine::schedule::Schedule, wrong: &[String]) {
    for (at, event) in schedule.events.iter().enumerate() {
        println!("  {at}: {event}");
    }
    println!("  broken:");
    for wrong in wrong {
        println!("    {wrong}");
    }
}
