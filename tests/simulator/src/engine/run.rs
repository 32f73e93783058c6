//! One run: a schedule's events happen to a world, it comes to rest, and what it came to is judged.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::simulation::world::id;
use tidegate_waves::rollout::{HoldReason, RequestOption, Verb};

use super::event::{Dies, Event};
use super::judging::{self, Outcome};
use super::people::{LOG, MAIN, People, wave_ref};
use super::process::{Controller, End, Left, die_at_points, killed_at};
use super::regions::Regions;
use super::schedule::Schedule;
use super::server::Server;
use super::world::{Shared, World};
use super::{bakes, journal, settling};
use crate::event::{Foreign, Health, LOG_BRANCH, REGIONS, WAVES};

/// By so much time goes on at once: everybody has a turn, then what is under way arrives.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// A digest of everything that moved on the server, and when.
    pub history: Oid,
    /// What is wrong, one thing a line.
    pub wrong: Vec<String>,
    /// The entries of the log.
    pub entries: usize,
    /// Their kinds.
    pub kinds: BTreeMap<EntryKind, usize>,
    /// How long it took, in simulated time.
    pub simulated: Duration,
    /// The crash points at which processes died.
    pub killed_at: BTreeMap<String, u32>,
    /// How often gates were asked.
    pub samples: usize,
    /// How it stood each time it had come to rest.
    pub(super) outcomes: Vec<Outcome>,
}

impl Report {
    /// A run of which nothing is known but what is wrong.
    pub(crate) fn of_wrong(wrong: String) -> Self {
        Self {
            history: Oid::ZERO,
            wrong: vec![wrong],
            entries: 0,
            kinds: BTreeMap::new(),
            simulated: Duration::ZERO,
            killed_at: BTreeMap::new(),
            samples: 0,
            outcomes: Vec::new(),
        }
    }
}

/// A world in the middle of a schedule.
pub(super) struct Run {
    pub(super) world: Shared,
    pub(super) people: People,
    pub(super) controllers: Vec<Controller>,
    pub(super) wrong: Vec<String>,
    pub(super) outcomes: Vec<Outcome>,
    webhooks: bool,
    /// By how many seconds all clocks are wrong.
    jumped: i64,
    _folder: tempfile::TempDir,
}

/// Lets a schedule happen and judges it; a steady one also by how the same commits end without any disturbance.
/// `trace` is told of each event and of what the log says after it.
#[must_use]
pub fn run(schedule: &Schedule, mut trace: impl FnMut(&str)) -> Report {
    let mut report = happen(schedule, &mut trace);
    if schedule.is_steady && report.wrong.is_empty() {
        let undisturbed = happen(&schedule.undisturbed(), &mut |_| {});
        if !undisturbed.wrong.is_empty() {
            report.wrong = undisturbed
                .wrong
                .iter()
                .map(|wrong| format!("undisturbed: {wrong}"))
                .collect();
        }
        let (rests, should) = (report.outcomes.len(), undisturbed.outcomes.len());
        if rests != should {
            report.wrong.push(format!(
                "it comes to rest {rests} times instead of {should}"
            ));
        }
        let pairs = report.outcomes.iter().zip(&undisturbed.outcomes);
        for (at, (is, should)) in pairs.enumerate() {
            if let Some(difference) = is.difference(should) {
                report
                    .wrong
                    .push(format!("at rest {at} it ends otherwise: {difference}"));
            }
        }
    }
    report
}

fn happen(schedule: &Schedule, trace: &mut dyn FnMut(&str)) -> Report {
    match try_happen(schedule, trace) {
        Ok(report) => report,
        Err(error) => Report::of_wrong(format!("the simulation itself failed: {error}")),
    }
}

fn try_happen(schedule: &Schedule, trace: &mut dyn FnMut(&str)) -> Result<Report, Box<dyn Error>> {
    let mut run = Run::new(schedule)?;
    let mut told = 0;
    for (at, event) in schedule.events.iter().enumerate() {
        trace(&format!("{at}: {event}"));
        run.apply(*event)?;
        told = run.tell(told, trace)?;
        if !run.wrong.is_empty() {
            break;
        }
    }
    if run.wrong.is_empty() {
        trace("everything works again");
        settling::settle(&mut run, schedule.seed)?;
        run.tell(told, trace)?;
    }
    run.report()
}

impl Run {
    fn new(schedule: &Schedule) -> Result<Self, Box<dyn Error>> {
        // Files in memory, where the system has them.
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)?
        } else {
            tempfile::tempdir()?
        };
        let mut random = Rng::with_seed(schedule.seed);
        random = random.fork();
        let world = Shared::new(World {
            now: Duration::ZERO,
            step_began: None,
            server: Server::new(schedule.refuses_whole),
            regions: Regions::new(schedule.lags),
            answers: Vec::new(),
            random,
        });
        die_at_points();
        killed_at();
        let mut people = People::new(world.clone(), folder.path())?;
        people.begin(&schedule.policy)?;
        let controllers = ["a", "b", "c"]
            .iter()
            .take(usize::from(schedule.controllers))
            .map(|name| Controller::new(world.clone(), name, folder.path()))
            .collect();
        Ok(Self {
            world,
            people,
            controllers,
            wrong: Vec::new(),
            outcomes: Vec::new(),
            webhooks: schedule.webhooks,
            jumped: 0,
            _folder: folder,
        })
    }

    // --- time ---------------------------------------------------------------------------------------------

    /// A moment goes by.
    pub(super) fn tick(&mut self) -> Result<(), Box<dyn Error>> {
        let now = self.world.get().now;
        for controller in &mut self.controllers {
            if controller.back_at.is_some_and(|back_at| back_at <= now) {
                controller.start()?;
            }
            match controller.step(TICK) {
                None => {}
                Some(End::Killed) => {
                    let (_, keeps, gone) = controller.dies.take().unwrap_or((
                        Left::Points(0),
                        super::event::Keeps::Everything,
                        Duration::ZERO,
                    ));
                    controller.die(keeps, now + gone)?;
                }
                Some(End::Ended(how)) => {
                    let identity = controller.identity();
                    self.wrong.push(format!("{identity} ended: {how}"));
                    controller.die(super::event::Keeps::Everything, now)?;
                }
            }
        }
        self.pass(TICK);
        Ok(())
    }

    /// Time goes by for everybody but the controllers.
    fn pass(&mut self, time: Duration) {
        let mut world = self.world.get();
        let world = &mut *world;
        let from = world.now;
        world.now += time;
        world.server.receive(world.now);
        world.regions.pass(&world.server, from, world.now);
        self.wrong.append(&mut world.server.wrong);
    }

    /// So much time goes by.
    pub(super) fn let_pass(&mut self, time: Duration) -> Result<(), Box<dyn Error>> {
        let until = self.world.get().now + time;
        while self.world.get().now < until && self.wrong.is_empty() {
            self.tick()?;
        }
        Ok(())
    }

    // --- events -------------------------------------------------------------------------------------------

    fn apply(&mut self, event: Event) -> Result<(), Box<dyn Error>> {
        match event {
            Event::Pass(seconds) => self.let_pass(Duration::from_secs(u64::from(seconds)))?,
            Event::Rest => {
                settling::heal(self)?;
                settling::rest(self)?;
                settling::check(self)?;
            }
            Event::Commit { region, word } => {
                let region = REGIONS.get(usize::from(region)).copied();
                self.people.commit(region, &format!("w{word}"))?;
                self.call();
            }
            Event::Broken(broken) => {
                self.people.break_it(broken)?;
                self.call();
            }
            Event::RewriteConfig { word } => {
                self.people.rewrite(&format!("w{word}"))?;
                self.call();
            }
            Event::Health { region, health } => {
                self.health(name(region, &REGIONS), health);
            }
            Event::Network { branch, fault } => {
                let reference = if branch == LOG_BRANCH {
                    LOG.to_owned()
                } else {
                    WAVES
                        .get(usize::from(branch))
                        .map_or_else(|| MAIN.to_owned(), |wave| wave_ref(wave))
                };
                let faults = &mut self.world.get().server.faults;
                match fault {
                    Some(fault) => faults.insert(reference, fault),
                    None => faults.remove(&reference),
                };
            }
            Event::Down(down) => self.world.get().server.is_down = down,
            Event::Deliver => self.deliver(None),
            Event::DeliverPush(which) => self.deliver(Some(usize::from(which))),
            Event::Crash {
                controller,
                dies,
                keeps,
                seconds,
            } => {
                let now = self.world.get().now;
                let gone = Duration::from_secs(u64::from(seconds));
                if let Some(controller) = self.controllers.get_mut(usize::from(controller)) {
                    match dies {
                        Dies::Now => controller.die(keeps, now + gone)?,
                        Dies::AtPoint(left) => {
                            controller.dies = Some((Left::Points(left), keeps, gone));
                        }
                        Dies::AtEffect(left) => {
                            controller.dies = Some((Left::Effects(left), keeps, gone));
                        }
                    }
                }
            }
            Event::Stop(controller) => self.freeze(controller, false),
            Event::Suspend(controller) => self.freeze(controller, true),
            Event::Continue(controller) => {
                if let Some(controller) = self.controllers.get_mut(usize::from(controller)) {
                    controller.thaw();
                }
            }
            Event::WallClock(hours) => {
                self.jumped += i64::from(hours) * 3_600;
                for controller in &self.controllers {
                    controller.offset.store(self.jumped, Ordering::Relaxed);
                }
            }
            Event::Sleep { hours, suspended } => {
                let awake: Vec<usize> = (0..self.controllers.len())
                    .filter(|at| {
                        self.controllers
                            .get(*at)
                            .is_some_and(|controller| controller.frozen.is_none())
                    })
                    .collect();
                for at in &awake {
                    if let Some(controller) = self.controllers.get_mut(*at) {
                        controller.freeze(suspended);
                    }
                }
                // Regions and their followers go on meanwhile, in steps that show when they turned ill.
                for _ in 0..u64::from(hours) * 360 {
                    self.pass(Duration::from_secs(10));
                }
                for at in awake {
                    if let Some(controller) = self.controllers.get_mut(at) {
                        controller.thaw();
                    }
                }
            }
            Event::Disk { controller, full } => {
                if let Some(controller) = self.controllers.get_mut(usize::from(controller)) {
                    controller.fill(full)?;
                }
            }
            Event::Drift { wave, region, what } => {
                self.drift(name(wave, &WAVES), name(region, &REGIONS), what)?;
            }
            Event::Delete(wave) => {
                let reference = wave_ref(name(wave, &WAVES));
                self.damage(&reference, Oid::ZERO);
            }
            Event::Rewind(wave) => {
                let reference = wave_ref(name(wave, &WAVES));
                let parent = {
                    let world = self.world.get();
                    let tip = world.server.refs.get(&reference).copied();
                    tip.and_then(|tip| world.server.commit(tip)?.1)
                };
                if let Some(parent) = parent {
                    self.damage(&reference, parent);
                }
            }
            Event::Ask {
                verb,
                option,
                region,
            } => self.ask(verb, option, region)?,
        }
        Ok(())
    }

    /// A webhook, where there is one.
    fn call(&self) {
        if self.webhooks {
            for controller in &self.controllers {
                controller.nudge();
            }
        }
    }

    pub(super) fn health(&mut self, region: &str, health: Health) {
        self.world.get().regions.set(region, health);
    }

    pub(super) fn deliver(&mut self, which: Option<usize>) {
        let mut world = self.world.get();
        let now = world.now;
        world.server.deliver(which, now);
    }

    fn freeze(&mut self, controller: u8, suspended: bool) {
        if let Some(controller) = self.controllers.get_mut(usize::from(controller)) {
            controller.freeze(suspended);
        }
    }

    fn damage(&mut self, reference: &str, to: Oid) {
        let mut world = self.world.get();
        if world.server.refs.contains_key(reference) {
            let now = world.now;
            world.server.damaged.insert(reference.to_owned());
            world.server.set(reference, to, now, false);
        }
    }

    fn drift(&mut self, wave: &str, region: &str, what: Foreign) -> Result<(), Box<dyn Error>> {
        match what {
            Foreign::Tree => {
                let tree = self.people.foreign_tree()?;
                self.people.drift(wave, region, Some(tree))
            }
            Foreign::Removal => self.people.drift(wave, region, None),
            Foreign::Nothing => self.people.drift(wave, "", None),
            Foreign::LastGood => {
                let good = self
                    .state()?
                    .and_then(|state| state.last_good.get(region).map(|good| good.tree));
                match good {
                    Some(tree) => self.people.drift(wave, region, Some(tree)),
                    None => Ok(()),
                }
            }
        }
    }

    fn ask(
        &mut self,
        verb: Verb,
        option: Option<RequestOption>,
        region: u8,
    ) -> Result<(), Box<dyn Error>> {
        let head = self.world.get().server.refs.get(MAIN).copied();
        let head = head.map(|head| head.to_string()).unwrap_or_default();
        let named = REGIONS.get(usize::from(region)).copied();
        let details: Vec<(&str, &str)> = match verb {
            Verb::Skip => vec![("Region", named.unwrap_or("r1"))],
            Verb::Revert | Verb::Retry => named.map(|name| ("Region", name)).into_iter().collect(),
            Verb::Hold => match region {
                0 => vec![("Wave", "pilot")],
                1 => vec![("Region", "r1")],
                _ => Vec::new(),
            },
            Verb::Hotfix => vec![("To", head.as_str())],
            Verb::Approve | Verb::Resume | Verb::Abort => Vec::new(),
        };
        self.people.ask(verb, option, &details)
    }

    /// The log's state.
    pub(super) fn state(
        &self,
    ) -> Result<Option<tidegate_waves::rollout::FleetState>, Box<dyn Error>> {
        let world = self.world.get();
        let Some(tip) = world.server.refs.get(LOG) else {
            return Ok(None);
        };
        Ok(Some(judging::state_at(&world.server, *tip)?))
    }

    /// Answers the holds that are there; gives whether there was any.
    pub(super) fn answer_holds(&mut self) -> Result<bool, Box<dyn Error>> {
        let Some(state) = self.state()? else {
            return Ok(false);
        };
        let mut asked = std::collections::BTreeSet::new();
        for hold in &state.holds {
            let wanted = match hold.reason {
                HoldReason::PolicyWithContent
                | HoldReason::DeletionGuard
                | HoldReason::ProtectedKind
                | HoldReason::RegionRemoval => (Verb::Approve, None),
                HoldReason::HistoryRewritten if hold.source.is_some() => (Verb::Approve, None),
                HoldReason::Drift | HoldReason::BranchDeleted => {
                    (Verb::Resume, Some(RequestOption::Restore))
                }
                HoldReason::HistoryRewritten => {
                    self.push_back(&state);
                    continue;
                }
                HoldReason::Quarantined => (Verb::Retry, None),
                _ => (Verb::Resume, None),
            };
            if asked.insert(wanted) {
                self.people.ask(wanted.0, wanted.1, &[])?;
            }
        }
        Ok(!state.holds.is_empty())
    }

    /// Puts the wave branches back where the log knows them to be, as the manual says.
    fn push_back(&mut self, state: &tidegate_waves::rollout::FleetState) {
        let mut world = self.world.get();
        let now = world.now;
        for (wave, branch) in &state.branches {
            let reference = wave_ref(wave);
            if let (Some(tip), Some(at)) = (branch.tip, world.server.refs.get(&reference).copied())
                && !world.server.is_ancestor(tip, at)
            {
                world.server.set(&reference, tip, now, false);
            }
        }
    }

    // --- what is told -------------------------------------------------------------------------------------

    fn tell(&self, told: usize, trace: &mut dyn FnMut(&str)) -> Result<usize, Box<dyn Error>> {
        let world = self.world.get();
        for moved in world.server.moves.iter().skip(told) {
            let what = if moved.reference == LOG {
                let (_, bytes) = world.server.read(moved.new).ok_or("an entry is lost")?;
                let text = String::from_utf8_lossy(bytes);
                let (_, message) = text.split_once("\n\n").unwrap_or_default();
                let holder = judging::state_at(&world.server, moved.new)?.holder;
                format!("({holder}) {}", message.lines().next().unwrap_or_default())
            } else {
                let name = moved.reference.trim_start_matches("refs/heads/");
                let who = if moved.ours { "" } else { " by people" };
                format!(
                    "  {name} {} -> {}{who}",
                    moved.old.short(7),
                    moved.new.short(7)
                )
            };
            trace(&format!("    {:8.1} {what}", moved.at.as_secs_f64()));
        }
        Ok(world.server.moves.len())
    }

    fn report(mut self) -> Result<Report, Box<dyn Error>> {
        if self.wrong.is_empty() {
            let world = self.world.get();
            self.wrong.extend(journal::check(&world.server));
            self.wrong.extend(bakes::check(&world)?);
        }
        let world = self.world.get();
        let moves: Vec<String> = world
            .server
            .moves
            .iter()
            .map(|moved| format!("{:?} {} {}", moved.at, moved.reference, moved.new))
            .collect();
        let asked: Vec<String> = world
            .answers
            .iter()
            .map(|answer| format!("{answer:?}"))
            .collect();
        let mut kinds = BTreeMap::new();
        for moved in world
            .server
            .moves
            .iter()
            .filter(|moved| moved.reference == LOG)
        {
            if let Some(kind) = judging::kind_of(&world.server, moved.new) {
                *kinds.entry(kind).or_default() += 1;
            }
        }
        Ok(Report {
            history: id(&(moves, asked)),
            wrong: self.wrong,
            entries: kinds.values().sum(),
            kinds,
            simulated: world.now,
            killed_at: killed_at(),
            samples: world.answers.len(),
            outcomes: self.outcomes,
        })
    }
}

fn name(index: u8, names: &'static [&'static str]) -> &'static str {
    names
        .get(usize::from(index))
        .or(names.first())
        .copied()
        .unwrap_or_default()
}
