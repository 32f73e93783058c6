//! A scenario that is being carried out, and disturbed at one point.

use std::collections::VecDeque;
use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tidegate_testkit::audience::Told;
use tidegate_testkit::small_disk::SmallDisk;
use tidegate_testkit::small_fleet::{Controller, LOG, REPO, SmallFleet};
use tidegate_testkit::tidegate::{CRASH_AT, Running};
use tidegate_testkit::wait::wait_for;

use crate::Fault;
use crate::fault::Applied;
use crate::people::loose_ref;
use crate::process::is_stopped;
use crate::scenario::{Scenario, Step, how_it_stands, is_settled, rollout_ends};
use crate::sweep::Case;
use crate::telling::Telling;

/// How long a disturbed scenario may take: beyond that it is stuck.
const LIMIT: Duration = Duration::from_secs(90);
/// How much longer where somebody is told: one that does not hold the log any more mends what it said too late only when
/// the log has stood still for a minute.
const TELLING: Duration = Duration::from_secs(120);
/// How long a fault lasts at most where the controller does not say that it met it.
const LASTS: Duration = Duration::from_secs(2);
/// How long a controller is frozen at most: longer than its deadlines for git and for regions.
const FROZEN: Duration = Duration::from_secs(8);
/// What git commands may take.
const GIT_DEADLINE: &str = "5s";
/// How long a point may be waited for when everything else has come to its end.
const GRACE: Duration = Duration::from_millis(1500);

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
pub(crate) struct Run<'a> {
    fleet: &'a SmallFleet,
    scenario: &'a Scenario,
    case: Option<(&'a Case<'a>, Option<&'a SmallDisk>)>,
    phase: Phase<'a>,
    /// Whether the controller met the fault, and not only came to its point.
    met: bool,
    /// The controller that meets the fault, and what became of it.
    first: (Controller<'a>, Running),
    /// The one that takes over while the first is frozen.
    second: Option<Running>,
    steps: VecDeque<Step>,
    /// The log when the end was last looked for.
    looked: Option<String>,
    /// Whether everything but the telling has come to its end.
    ended: bool,
    /// When the fault was over.
    over_since: Option<Instant>,
    /// What those who are told know.
    telling: Telling<'a>,
    /// Where what was said is left, for whoever looks into a failure.
    pub(crate) said: Option<&'a Mutex<String>>,
    before: String,
    restarts: u32,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        fleet: &'a SmallFleet,
        scenario: &'a Scenario,
        case: Option<(&'a Case<'a>, Option<&'a SmallDisk>)>,
        wanted: Option<&'a Told>,
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
            met: false,
            first: (controller, running),
            second: None,
            steps: scenario.steps.iter().copied().collect(),
            looked: None,
            ended: false,
            over_since: None,
            telling: Telling::new(wanted, case.map(|(case, _)| case.fault)),
            said: None,
            before: String::new(),
            restarts: 0,
        }
    }

    /// Whether the fault has come and gone.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether the fault was met.
    pub(crate) fn was_met(&self) -> bool {
        self.met
    }

    /// Whether the server answers nobody just now, people neither.
    fn is_cut(&self) -> bool {
        matches!(self.phase, Phase::During(_, Some(Applied::Cut(..))))
    }

    /// Everything that its controllers have said.
    pub(crate) fn said(&self) -> String {
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
    pub(crate) fn carry_out(&mut self) {
        let begun = Instant::now();
        let limit = match self.fleet.audience {
            Some(_) => LIMIT + TELLING,
            None => LIMIT,
        };
        let mut ended: Option<Instant> = None;
        wait_for("an end to the loop", limit * 2, || {
            if let Some(said) = self.said {
                // For whoever looks into a failure.
                if begun.elapsed() > limit {
                    *said.lock().unwrap() = self.said();
                }
            }
            assert!(
                begun.elapsed() < limit,
                "no end of {} within {limit:?}; steps to go: {}; {}; {}",
                self.scenario.name,
                self.steps.len(),
                how_it_stands(self.fleet),
                self.telling.difference(self.fleet).unwrap_or_default()
            );
            self.supervise();
            if let Some(step) = self.steps.front()
                && !self.is_cut()
                && (step.when)(self.fleet)
                && (step.act)(self.fleet)
            {
                self.steps.pop_front();
            }
            self.disturb();
            if !self.has_ended() {
                ended = None;
            } else if ended.is_none() {
                ended = Some(Instant::now());
            }
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
        self.ended = self.ended || self.has_settled();
        self.ended && self.telling.is_done(self.fleet, self.over_since)
    }

    fn has_settled(&mut self) -> bool {
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

    fn disturb(&mut self) {
        self.disturb_if_it_is_time();
        if self.is_over() && self.over_since.is_none() {
            self.over_since = Some(Instant::now());
        }
    }

    fn disturb_if_it_is_time(&mut self) {
        let Some((case, disk)) = self.case else {
            return;
        };
        match &self.phase {
            Phase::Over => {}
            Phase::Before if case.fault.is_deadly() => {
                if !self.first.1.is_running() {
                    let mut controller = self.first.0.clone();
                    if case.fault == Fault::Move {
                        let identity = controller.data_folder().join("identity");
                        self.telling.gone = fs::read_to_string(identity)
                            .ok()
                            .map(|text| text.trim_end().to_owned());
                        let _ = fs::remove_dir_all(controller.data_folder());
                        controller = self
                            .fleet
                            .controller("elsewhere")
                            .env("TIDEGATE_GIT_DEADLINE", GIT_DEADLINE);
                    }
                    self.restart(controller);
                    self.met = true;
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
                    Fault::Cut => Some(Applied::cut(self.fleet, false)),
                    Fault::Silence => Some(Applied::cut(self.fleet, true)),
                    Fault::Kill | Fault::Move | Fault::Freeze | Fault::Interleave => None,
                };
                if case.fault.has_another() {
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
                let said = self.first.1.stderr();
                if since.elapsed() > LASTS || applied.may_end(&said) {
                    self.met = applied.was_met(&said);
                    self.phase = Phase::Over;
                }
            }
            Phase::During(since, None) => {
                let frozen_for_long = since.elapsed() > FROZEN;
                let is_interleaved =
                    case.fault == Fault::Interleave && self.fleet.count("TakeOver") > 0;
                if is_interleaved || frozen_for_long {
                    self.first.1.thaw();
                    self.met = is_interleaved || case.fault == Fault::Freeze;
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
    pub(crate) fn stop(mut self) {
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
