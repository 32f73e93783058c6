//! Every side effect of every scenario under every fault.
//!
//! An undisturbed run of a scenario tells which crash points the controller comes by; each is a side effect, known by
//! its name and which of its passings it is. Then the scenario is run once for each of them and each fault: the
//! controller dies or stops itself exactly there, and the end must be the undisturbed one.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidegate_testkit::journal_audit;
use tidegate_testkit::small_disk::SmallDisk;
use tidegate_testkit::small_fleet::{Controller, End, LOG, REPO, SmallFleet, copy};
use tidegate_testkit::tidegate::{CRASH_AT, Running};
use tidegate_testkit::wait::wait_for;

use crate::Fault;
use crate::fault::Applied;
use crate::people::loose_ref;
use crate::process::is_stopped;
use crate::scenario::{Bases, Scenario, is_settled, rollout_ends};

/// How long a disturbed scenario may take: beyond that it is stuck.
const LIMIT: Duration = Duration::from_secs(90);
/// How long a fault lasts at most where the controller does not say that it met it.
const LASTS: Duration = Duration::from_secs(2);
/// How long a controller is frozen where nobody takes its work over: longer than its deadlines.
const FROZEN: Duration = Duration::from_secs(8);
/// What git commands may take.
const GIT_DEADLINE: &str = "5s";
/// How long a point may be waited for when everything else has come to its end.
const GRACE: Duration = Duration::from_millis(1500);

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
    points: Vec<Point>,
}

/// A disturbance to be tried.
#[derive(Debug, Clone)]
struct Case<'a> {
    scenario: &'a Scenario,
    point: Point,
    /// The point's place among the scenario's.
    number: usize,
    fault: Fault,
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

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The end is the undisturbed one, and nothing was found.
    Equal,
    /// This run did not come by the point: how often something is looked at depends on the time.
    NotReached,
    /// The end differs, or something was found.
    Differs,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::NotReached => "not-reached",
            Self::Differs => "DIFFERS",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Equal, Self::NotReached, Self::Differs]
            .into_iter()
            .find(|verdict| verdict.name() == name)
    }
}

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    /// Scenarios.
    pub scenarios: Vec<&'static Scenario>,
    /// Faults.
    pub faults: Vec<Fault>,
    /// Only this point.
    pub point: Option<String>,
    /// Only this many cases, spread evenly over all.
    pub sample: Option<usize>,
    /// How many run side by side.
    pub jobs: usize,
    /// Where results are appended, and read from to resume.
    pub results: PathBuf,
    /// Where what differs is kept: repo and logs.
    pub keep: PathBuf,
}

/// Runs a sweep; true where every end was the undisturbed one.
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
        for (number, point) in points.iter().enumerate() {
            if options
                .point
                .as_ref()
                .is_some_and(|only| *only != point.to_string())
            {
                continue;
            }
            cases.extend(faults.iter().map(|fault| Case {
                scenario,
                point: point.clone(),
                number,
                fault: *fault,
            }));
        }
    }
    // The quick faults first, whatever time there is.
    cases.sort_by_key(|case| case.fault);
    if let Some(sample) = options.sample.filter(|sample| *sample < cases.len()) {
        let all = cases.len();
        cases = (0..sample)
            .map(|place| cases[place * all / sample].clone())
            .collect();
        println!("a sample: {sample} of {all} cases");
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
    !known.values().any(|verdict| *verdict == Verdict::Differs)
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

fn table(results: &BTreeMap<String, Verdict>, options: &Options) {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header([
        "scenario",
        "fault",
        "points",
        "equal",
        "differing",
        "not reached",
    ]);
    let count = |begins: &str, ends: &str, verdict: Option<Verdict>| {
        let matching = results.iter().filter(|(key, found)| {
            key.starts_with(begins)
                && key.ends_with(ends)
                && verdict.is_none_or(|wanted| wanted == **found)
        });
        matching.count()
    };
    let mut row = |scenario: &str, fault: &str, begins: &str, ends: &str| {
        if count(begins, ends, None) > 0 {
            table.add_row([
                scenario.to_owned(),
                fault.to_owned(),
                count(begins, ends, None).to_string(),
                count(begins, ends, Some(Verdict::Equal)).to_string(),
                count(begins, ends, Some(Verdict::Differs)).to_string(),
                count(begins, ends, Some(Verdict::NotReached)).to_string(),
            ]);
        }
    };
    for scenario in &options.scenarios {
        for fault in &options.faults {
            let (begins, ends) = (
                format!("{}\t", scenario.name),
                format!("\t{}", fault.name()),
            );
            row(scenario.name, fault.name(), &begins, &ends);
        }
    }
    for fault in &options.faults {
        row("all", fault.name(), "", &format!("\t{}", fault.name()));
    }
    row("all", "all", "", "");
    println!("{table}");
    let _ = io::stdout().flush();
}

fn undisturbed(scenario: &Scenario, bases: &Bases) -> Undisturbed {
    let fleet = (scenario.begin)(bases);
    let mut run = Run::new(&fleet, scenario, None);
    run.carry_out();
    let said = run.said();
    run.stop();
    journal_audit::check(&fleet);
    Undisturbed {
        end: end_of(&fleet, scenario),
        points: points_in(&said),
    }
}

/// For whoever looks into a failure.
pub(crate) fn how_it_stands(fleet: &SmallFleet) -> String {
    let state = fleet.state().map(|state| {
        let holds: Vec<String> = state
            .holds
            .iter()
            .map(|hold| format!("{:?}", hold.reason))
            .collect();
        let rollout = state
            .rollout
            .as_ref()
            .map(|rollout| (rollout.state, &rollout.source));
        format!(
            "{rollout:?}, holds {holds:?}, {} intents, settled {:?}",
            state.intents.len(),
            state.settled
        )
    });
    let log = fleet.git(&["log", "--first-parent", "-14", "--format=%s", LOG]);
    format!(
        "{state:?}; the newest entries: {}",
        log.replace('\n', " | ")
    )
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
            "after-look" | "after-sums" | "after-render" => *nth <= 3,
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
        let mut run = Run::new(&fleet, case.scenario, Some((case, disk.as_ref())));
        run.said = Some(&said);
        run.carry_out();
        let met = run.is_over();
        run.stop();
        assert_eq!(end_of(&fleet, case.scenario), wanted.end, "the end differs");
        journal_audit::check(&fleet);
        met
    }));
    match outcome {
        Ok(true) => (Verdict::Equal, String::new()),
        Ok(false) => (Verdict::NotReached, String::new()),
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

/// How far a disturbance has come.
enum Phase<'a> {
    /// The controller has not come to the point.
    Before,
    /// The fault is there.
    During(Instant, Option<Applied<'a>>),
    /// It is over, or there is none.
    Over,
}

/// A scenario that is being carried out.
struct Run<'a> {
    fleet: &'a SmallFleet,
    scenario: &'a Scenario,
    case: Option<(&'a Case<'a>, Option<&'a SmallDisk>)>,
    phase: Phase<'a>,
    /// The controller that meets the fault, and what became of it.
    first: (Controller<'a>, Running),
    /// The one that takes over while the first is frozen.
    second: Option<Running>,
    steps: VecDeque<crate::scenario::Step>,
    /// The log when the end was last looked for.
    looked: Option<String>,
    said: Option<&'a Mutex<String>>,
    before: String,
    restarts: u32,
}

impl<'a> Run<'a> {
    fn new(
        fleet: &'a SmallFleet,
        scenario: &'a Scenario,
        case: Option<(&'a Case<'a>, Option<&'a SmallDisk>)>,
    ) -> Self {
        let mut controller = fleet
            .controller("first")
            .env("TIDEGATE_GIT_DEADLINE", GIT_DEADLINE);
        if let Some((_, Some(_))) = case {
            controller = controller.data(&fleet.folder("disk").join("data"));
        }
        let at = match case {
            None => "none".to_owned(),
            Some((case, _)) if case.fault.is_deadly() => case.point.to_string(),
            Some((case, _)) => format!("{}:stop", case.point),
        };
        let running = controller.clone().env(CRASH_AT, &at).start();
        Self {
            fleet,
            scenario,
            case,
            phase: if case.is_some() {
                Phase::Before
            } else {
                Phase::Over
            },
            first: (controller, running),
            second: None,
            steps: scenario.steps.iter().copied().collect(),
            looked: None,
            said: None,
            before: String::new(),
            restarts: 0,
        }
    }

    /// Whether the fault has come and gone.
    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Everything that its controllers have said.
    fn said(&self) -> String {
        let second = self
            .second
            .as_ref()
            .map(Running::stderr)
            .unwrap_or_default();
        format!(
            "{}{}\n--- second\n{second}",
            self.before,
            self.first.1.stderr()
        )
    }

    /// Carries the scenario out until it has come to its end and the fault is over.
    fn carry_out(&mut self) {
        let begun = Instant::now();
        let mut ended: Option<Instant> = None;
        wait_for("an end to the loop", LIMIT * 2, || {
            if let Some(said) = self.said {
                // For whoever looks into a failure.
                if begun.elapsed() > LIMIT {
                    *said.lock().unwrap() = self.said();
                }
            }
            assert!(
                begun.elapsed() < LIMIT,
                "no end of {} within {LIMIT:?}; steps to go: {}; {}",
                self.scenario.name,
                self.steps.len(),
                how_it_stands(self.fleet)
            );
            self.supervise();
            if let Some(step) = self.steps.front()
                && (step.when)(self.fleet)
                && (step.act)(self.fleet)
            {
                self.steps.pop_front();
            }
            if ended.is_none() && self.has_ended() {
                ended = Some(Instant::now());
            }
            self.disturb(ended.is_some());
            let over = ended.is_some_and(|at| match self.phase {
                Phase::Over => true,
                // The last points are passed right behind the end.
                Phase::Before => at.elapsed() > GRACE,
                Phase::During(..) => false,
            });
            over.then_some(())
        });
        // Frozen or cut off at the very end, it looks once more at what it finds.
        self.first_has_looked();
    }

    fn has_ended(&mut self) -> bool {
        if !self.steps.is_empty() {
            return false;
        }
        let log = loose_ref(&self.fleet.server.path(REPO), LOG);
        if log == self.looked {
            return false;
        }
        // The log moves last.
        let ended = rollout_ends(self.fleet, self.scenario.ends) && is_settled(self.fleet);
        self.looked = log;
        ended
    }

    /// Starts again what has ended by itself, as whatever runs it would.
    fn supervise(&mut self) {
        let deadly = self.case.is_some_and(|(case, _)| case.fault.is_deadly());
        if matches!(self.phase, Phase::Before) && deadly || self.first.1.is_running() {
            return;
        }
        self.restarts += 1;
        assert!(
            self.restarts < 20,
            "it ended again and again: {}",
            self.first.1.stderr()
        );
        self.restart(self.first.0.clone());
    }

    fn restart(&mut self, controller: Controller<'a>) {
        self.before.push_str(&self.first.1.stderr());
        self.before.push_str("\n--- started again\n");
        let running = controller.clone().env(CRASH_AT, "none").start();
        self.first = (controller, running);
    }

    fn disturb(&mut self, ended: bool) {
        let Some((case, disk)) = self.case else {
            return;
        };
        match &self.phase {
            Phase::Over => {}
            Phase::Before if case.fault.is_deadly() => {
                if !self.first.1.is_running() {
                    let mut controller = self.first.0.clone();
                    if case.fault == Fault::Move {
                        let _ = fs::remove_dir_all(controller.data_folder());
                        controller = self
                            .fleet
                            .controller("elsewhere")
                            .env("TIDEGATE_GIT_DEADLINE", GIT_DEADLINE);
                    }
                    self.restart(controller);
                    self.phase = Phase::Over;
                }
            }
            Phase::Before => {
                if !is_stopped(self.first.1.id()) {
                    return;
                }
                let applied = match case.fault {
                    Fault::Full => disk.map(Applied::full),
                    Fault::Broken => Some(Applied::broken(self.first.1.id())),
                    Fault::Cut => Some(Applied::cut(self.fleet, case.number % 2 == 1)),
                    Fault::Kill | Fault::Move | Fault::Freeze => None,
                };
                if case.fault == Fault::Freeze {
                    let second = self
                        .fleet
                        .controller("second")
                        .env("TIDEGATE_GIT_DEADLINE", GIT_DEADLINE);
                    self.second = Some(second.env(CRASH_AT, "none").start());
                } else {
                    self.first.1.thaw();
                }
                self.phase = Phase::During(Instant::now(), applied);
            }
            Phase::During(since, Some(applied)) => {
                if since.elapsed() > LASTS || applied.was_said(&self.first.1.stderr()) {
                    self.phase = Phase::Over;
                }
            }
            Phase::During(since, None) => {
                // In the middle of the other's work, or behind it.
                let in_the_middle = case.number % 2 == 0 && self.fleet.count("TakeOver") > 0;
                if ended || in_the_middle || since.elapsed() > FROZEN {
                    self.first.1.thaw();
                    self.phase = Phase::Over;
                }
            }
        }
    }

    /// Waits until the first controller has looked at the remote after what was done to it.
    fn first_has_looked(&mut self) {
        if self.case.is_none() {
            return;
        }
        let passed = |said: &str| said.matches("\"after-look\"").count();
        let before = passed(&self.first.1.stderr());
        let (controller, running) = &mut self.first;
        if !running.is_running() {
            *running = controller.clone().env(CRASH_AT, "none").start();
        }
        let begun = Instant::now();
        wait_for("one more look", LIMIT, || {
            if !self.first.1.is_running() {
                self.restart(self.first.0.clone());
            }
            let said = self.first.1.stderr();
            assert!(begun.elapsed() < LIMIT / 2, "no look any more: {said}");
            // An idle controller asks only whether anything has changed: it need not look again.
            let idle = begun.elapsed() > GRACE;
            (passed(&said) > before || idle).then_some(())
        });
    }

    /// Tells everything that runs to stop, which it does in time and in order.
    fn stop(mut self) {
        if let Some(said) = self.said {
            *said.lock().unwrap() = self.said();
        }
        drop(std::mem::replace(&mut self.phase, Phase::Over));
        for mut running in [Some(self.first.1), self.second].into_iter().flatten() {
            running.thaw();
            running.terminate();
            let answer = running.wait(Duration::from_secs(20));
            assert_eq!(answer.code, Some(0), "told to stop: {}", answer.stderr);
        }
    }
}
