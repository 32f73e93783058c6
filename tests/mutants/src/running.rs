//! Puts one mutant at a time into the copy of the sources, and asks its check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::build::{Ended, build, run as ask};
use crate::scratch::Scratch;
use crate::{Check, Mutant};

/// How long tests may take altogether before they count as hanging.
const DEADLINE: Duration = Duration::from_secs(240);

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    /// The mutants to try.
    pub mutants: Vec<Mutant>,
    /// Further tests that every mutant is shown to where it can make a difference to them; they decide nothing.
    pub also: Vec<Check>,
    /// Where results are appended, and read from to resume.
    pub results: Option<PathBuf>,
}

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Its check noticed.
    Caught,
    /// Its check passes with it.
    Survived,
    /// The list is wrong: it does not build, or its check ends otherwise than by failing.
    Wrong,
}

impl Verdict {
    fn name(&self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Survived => "SURVIVED",
            Self::Wrong => "WRONG",
        }
    }
}

/// What is known of one mutant.
#[derive(Debug, Clone)]
struct Outcome {
    verdict: String,
    seconds: f32,
    also: Vec<String>,
}

/// Tries the mutants; true where every one was caught.
pub fn run(options: &Options) -> bool {
    let mut known = options.results.as_deref().map(read).unwrap_or_default();
    let mut mutants: Vec<&Mutant> = options
        .mutants
        .iter()
        .filter(|mutant| !known.contains_key(&mutant.name))
        .collect();
    // Those that the same program catches come one after the other, and those in the same file: little is built anew.
    mutants.sort_by_key(|mutant| (mutant.check.place(), &mutant.file));
    let scratch = Scratch::bring_up_to_date();
    if !baseline(&scratch, &mutants, &options.also) {
        return false;
    }
    for (number, mutant) in mutants.iter().enumerate() {
        let begun = Instant::now();
        let (verdict, also) = attempt(&scratch, mutant, &options.also);
        let outcome = Outcome {
            verdict: verdict.name().to_owned(),
            seconds: begun.elapsed().as_secs_f32(),
            also,
        };
        eprintln!(
            "{}/{} {} {} {:.1} s {}",
            number + 1,
            mutants.len(),
            mutant.name,
            outcome.verdict,
            outcome.seconds,
            outcome.also.join(" ")
        );
        if let Some(path) = &options.results {
            write(path, &mutant.name, &outcome);
        }
        known.insert(mutant.name.clone(), outcome);
    }
    print(options, &known);
    options
        .mutants
        .iter()
        .all(|mutant| known[&mutant.name].verdict == Verdict::Caught.name())
}

/// Whether every check passes without any mutant.
fn baseline(scratch: &Scratch, mutants: &[&Mutant], also: &[Check]) -> bool {
    let mut by_place: BTreeMap<_, BTreeSet<&Check>> = BTreeMap::new();
    for check in mutants.iter().map(|mutant| &mutant.check).chain(also) {
        by_place.entry(check.place()).or_default().insert(check);
    }
    for (place, checks) in by_place {
        let begun = Instant::now();
        let checks: Vec<&Check> = checks.into_iter().collect();
        let ended = build(scratch, place).map_or_else(Ended::Strange, |program| {
            ask(scratch, place, &program, &checks, DEADLINE)
        });
        eprintln!(
            "without a mutant: {} checks of {}, {:.1} s",
            checks.len(),
            place.name,
            begun.elapsed().as_secs_f32()
        );
        if ended != Ended::Passed {
            eprintln!("they do not pass without a mutant: {ended:#?}");
            return false;
        }
    }
    true
}

/// Puts a mutant in, asks its check and the others, and takes it out again.
fn attempt(scratch: &Scratch, mutant: &Mutant, also: &[Check]) -> (Verdict, Vec<String>) {
    let original = mutant.source();
    let broken = match mutant.apply(&original) {
        Ok(broken) => broken,
        Err(why) => {
            eprintln!("{why}");
            return (Verdict::Wrong, Vec::new());
        }
    };
    scratch.write(&mutant.file, broken.as_bytes());
    let verdict = judge(mutant, &show(scratch, &mutant.check));
    let mut noticed = Vec::new();
    for check in also.iter().filter(|check| check.depends_on(&mutant.file)) {
        match show(scratch, check) {
            Ended::Passed => {}
            Ended::Strange(why) => eprintln!("{}: {check}: {why}", mutant.name),
            Ended::Failed(_) | Ended::Died | Ended::Hung => noticed.push(check.to_string()),
        }
    }
    scratch.write(&mutant.file, original.as_bytes());
    (verdict, noticed)
}

fn show(scratch: &Scratch, check: &Check) -> Ended {
    let place = check.place();
    build(scratch, place).map_or_else(Ended::Strange, |program| {
        ask(scratch, place, &program, &[check], DEADLINE)
    })
}

fn judge(mutant: &Mutant, ended: &Ended) -> Verdict {
    match ended {
        Ended::Failed(_) => Verdict::Caught,
        Ended::Passed => Verdict::Survived,
        // A test that hangs or takes its process along says nothing about what it was written for.
        Ended::Died | Ended::Hung | Ended::Strange(_) => {
            eprintln!("{}: its check does not fail, but {ended:?}", mutant.name);
            Verdict::Wrong
        }
    }
}

fn print(options: &Options, known: &BTreeMap<String, Outcome>) {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(["mutant", "rule", "check", "verdict", "seconds"]);
    let mut caught = 0;
    for mutant in &options.mutants {
        let outcome = &known[&mutant.name];
        caught += usize::from(outcome.verdict == Verdict::Caught.name());
        table.add_row([
            mutant.name.clone(),
            mutant.rule.clone(),
            mutant.check.to_string(),
            outcome.verdict.clone(),
            format!("{:.1}", outcome.seconds),
        ]);
    }
    println!("{table}");
    for check in &options.also {
        let name = check.to_string();
        let noticed: Vec<&str> = options
            .mutants
            .iter()
            .filter(|mutant| known[&mutant.name].also.contains(&name))
            .map(|mutant| mutant.name.as_str())
            .collect();
        println!("{name} notices {}: {}", noticed.len(), noticed.join(", "));
    }
    println!("{caught} of {} mutants caught", options.mutants.len());
}

/// What earlier runs found, by mutant.
fn read(path: &Path) -> BTreeMap<String, Outcome> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let name = fields.next()?.to_owned();
            let outcome = Outcome {
                verdict: fields.next()?.to_owned(),
                seconds: fields.next()?.parse().ok()?,
                also: fields.map(str::to_owned).collect(),
            };
            Some((name, outcome))
        })
        .collect()
}

fn write(path: &Path, name: &str, outcome: &Outcome) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    let mut line = format!("{name}\t{}\t{:.1}", outcome.verdict, outcome.seconds);
    for check in &outcome.also {
        line.push('\t');
        line.push_str(check);
    }
    writeln!(file, "{line}").unwrap();
}
