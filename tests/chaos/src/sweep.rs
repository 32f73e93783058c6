//! Every side effect of every scenario under every fault.
//!
//! An undisturbed run of a scenario tells which crash points the controller comes by; each is a side effect, known by
//! its name and which of its passings it is. Then the scenario is run once for each of them and each fault: the
//! controller dies or stops itself exactly there, and the end must be the undisturbed one.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use tidegate_testkit::audience::{Audience, Told};
use tidegate_testkit::journal_audit;
use tidegate_testkit::small_disk::SmallDisk;
use tidegate_testkit::small_fleet::{End, REPO, SmallFleet, copy};

use self::verdict::{Verdict, enough, table};
use crate::Fault;
use crate::disturbed::Run;
use crate::process::assert_sound;
use crate::scenario::{Bases, Scenario};

mod sample;
mod verdict;

/// One side effect: a crash point and which of its passings, from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    name: String,
    nth: u32,
}

impl std::fmt::Display for Point {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.name, self.nth)
    }
}

/// What an undisturbed run ends in and comes by.
#[derive(Debug)]
struct Undisturbed {
    end: End,
    /// What those who are told know then.
    told: Option<Told>,
    points: Vec<Point>,
}

/// A disturbance to be tried.
#[derive(Debug, Clone)]
pub(crate) struct Case<'a> {
    scenario: &'a Scenario,
    pub(crate) point: Point,
    pub(crate) fault: Fault,
}

impl Case<'_> {
    fn key(&self) -> String {
        format!(
            "{}\t{}\t{}",
            self.scenario.name,
            self.point,
            self.fault.name()
        )
    }
}

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    /// Scenarios.
    pub scenarios: Vec<&'static Scenario>,
    /// Faults.
    pub faults: Vec<Fault>,
    /// Only these points, with the number of a passing or without; all of them if there are none.
    pub points: Vec<String>,
    /// Only this many cases, of all faults: always the same ones of the same points.
    pub sample: Option<usize>,
    /// How many run side by side.
    pub jobs: usize,
    /// Where results are appended, and read from to resume.
    pub results: PathBuf,
    /// Where what differs is kept: repo and logs.
    pub keep: PathBuf,
}

/// Runs a sweep; true where every end was the undisturbed one, and enough was met to say so.
pub fn run(options: &Options) -> bool {
    let bases = Bases::make();
    let faults = possible(&options.faults);
    let undisturbed: BTreeMap<&str, Undisturbed> = in_parallel(
        &options.scenarios,
        options.jobs,
        |scenario: &&'static Scenario| (scenario.name, undisturbed(scenario, &bases)),
    )
    .into_iter()
    .collect();
    let mut cases = Vec::new();
    for scenario in &options.scenarios {
        let points = &undisturbed[scenario.name].points;
        println!(
            "{:10} {:3} side effects: {}",
            scenario.name,
            points.len(),
            scenario.about
        );
        for point in points {
            let is_asked_for = |asked: &String| *asked == point.name || *asked == point.to_string();
            if !options.points.is_empty() && !options.points.iter().any(is_asked_for) {
                continue;
            }
            let faults = faults
                .iter()
                .filter(|fault| !scenario.spared.contains(fault));
            cases.extend(faults.map(|fault| Case {
                scenario,
                point: point.clone(),
                fault: *fault,
            }));
        }
    }
    // The quick faults first, whatever time there is.
    cases.sort_by_key(|case| case.fault);
    if let Some(sample) = options.sample.filter(|sample| *sample < cases.len()) {
        let all = cases.len();
        // Whoever asks for a point gets it.
        if options.points.is_empty() {
            cases.retain(|case| sample::is_steady(&case.point));
        }
        cases = sample::of(cases, sample);
        println!("a sample: {} of {all} cases", cases.len());
    }
    let mut known = read_results(&options.results);
    let all = cases.len();
    cases.retain(|case| !known.contains_key(&case.key()));
    println!("{all} cases, of which {} are to be tried", cases.len());
    let keys: Vec<String> = cases.iter().map(Case::key).collect();
    let file = Mutex::new(append_to(&options.results));
    let done = AtomicUsize::new(all - cases.len());
    let verdicts = in_parallel(&cases, options.jobs, |case| {
        let begun = Instant::now();
        let (verdict, why) = judge(
            case,
            &bases,
            &undisturbed[case.scenario.name],
            &options.keep,
        );
        let done = done.fetch_add(1, Ordering::SeqCst) + 1;
        let seconds = begun.elapsed().as_secs_f32();
        let line = format!("{}\t{}\t{seconds:.1}\t{why}", case.key(), verdict.name());
        println!("{done}/{all} {line}");
        writeln!(file.lock().unwrap(), "{line}").unwrap();
        verdict
    });
    known.extend(keys.into_iter().zip(verdicts));
    table(&known, options);
    let verdicts: Vec<Verdict> = known.into_values().collect();
    match enough(&verdicts) {
        Ok(()) => !verdicts.contains(&Verdict::Differs),
        Err(why) => {
            println!("NOTHING IS SHOWN by this: {why}");
            false
        }
    }
}

/// Faults that can be made on this machine; the others are said loudly.
fn possible(faults: &[Fault]) -> Vec<Fault> {
    let is_possible = |fault: &Fault| match fault.missing() {
        None => true,
        Some(why) => {
            println!("SKIPPED: {}, for {why}", fault.name());
            false
        }
    };
    faults.iter().copied().filter(is_possible).collect()
}

/// Does the same with each, some at a time, and gives what came of it in their order.
fn in_parallel<T: Sync, R: Send>(items: &[T], jobs: usize, run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..items.len()).collect());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let Some(next) = queue.lock().unwrap().pop_front() else {
                        return;
                    };
                    let result = run(&items[next]);
                    results.lock().unwrap().push((next, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

fn append_to(path: &Path) -> File {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}

/// What earlier runs found, by case.
fn read_results(path: &Path) -> BTreeMap<String, Verdict> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.splitn(5, '\t').collect();
            let key = fields.get(..3)?.join("\t");
            Some((key, Verdict::of(fields.get(3)?)?))
        })
        .collect()
}

fn undisturbed(scenario: &Scenario, bases: &Bases) -> Undisturbed {
    let fleet = (scenario.begin)(bases);
    let mut run = Run::new(&fleet, scenario, None, None);
    run.carry_out();
    let said = run.said();
    run.stop();
    assert_sound(&said);
    journal_audit::check_whole(&fleet);
    Undisturbed {
        end: end_of(&fleet, scenario),
        told: fleet.audience.as_ref().map(Audience::told),
        points: points_in(&said),
    }
}

fn end_of(fleet: &SmallFleet, scenario: &Scenario) -> End {
    let mut end = fleet.end();
    (scenario.either_way)(&mut end);
    end
}

/// The points that a controller said it came by, in their order.
///
/// Those around a push of the log stand right beside those of the entry that is pushed. Looks go on for ever, and
/// change nothing: the first few are enough.
fn points_in(said: &str) -> Vec<Point> {
    let mut passed: BTreeMap<String, u32> = BTreeMap::new();
    let mut points = Vec::new();
    for line in said.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let Some(name) = record["fields"]["point"].as_str() else {
            continue;
        };
        let nth = passed.entry(name.to_owned()).or_insert(0);
        *nth += 1;
        let wanted = match name {
            "before-log-push" | "after-log-push" => false,
            "after-look" | "after-sums" | "after-render" | "before-fetch" | "after-fetch" => {
                *nth <= 3
            }
            _ => true,
        };
        if wanted {
            points.push(Point {
                name: name.to_owned(),
                nth: *nth,
            });
        }
    }
    points
}

/// Runs a case and judges its end; with words about what was wrong.
fn judge(case: &Case<'_>, bases: &Bases, wanted: &Undisturbed, keep: &Path) -> (Verdict, String) {
    let fleet = (case.scenario.begin)(bases);
    let said = Mutex::new(String::new());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let disk = (case.fault == Fault::Full)
            .then(|| SmallDisk::mount(fleet.folder("disk"), "16m").unwrap());
        let disturbance = Some((case, disk.as_ref()));
        let mut run = Run::new(&fleet, case.scenario, disturbance, wanted.told.as_ref());
        run.said = Some(&said);
        run.carry_out();
        let verdict = match (run.is_over(), run.was_met()) {
            (true, true) => Verdict::Equal,
            (true, false) => Verdict::NotMet,
            (false, _) => Verdict::NotReached,
        };
        run.stop();
        assert_sound(&said.lock().unwrap());
        assert_eq!(end_of(&fleet, case.scenario), wanted.end, "the end differs");
        journal_audit::check_whole(&fleet);
        verdict
    }));
    match outcome {
        Ok(verdict) => (verdict, String::new()),
        Err(payload) => {
            let why = payload
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| {
                    payload
                        .downcast_ref::<&str>()
                        .map(|text| (*text).to_owned())
                })
                .unwrap_or_default();
            let name = case.key().replace(['\t', ':'], "-");
            let folder = keep.join(&name);
            let _ = fs::remove_dir_all(&folder);
            copy(&fleet.server.path(REPO), &folder.join("fleet.git"));
            let said = said
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            fs::write(folder.join("said"), said.as_str()).unwrap();
            fs::write(folder.join("why"), &why).unwrap();
            let first: String = why.lines().collect::<Vec<_>>().join(" ");
            let short: String = first.chars().take(300).collect();
            (
                Verdict::Differs,
                format!("{short} (see {})", folder.display()),
            )
        }
    }
}
