//! One run: a schedule's events happen to a world, and everything is checked after each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_waves::gate::Reading;
use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::simulation::auditor::audit;
use tidegate_waves::rollout::simulation::network::LOG;
use tidegate_waves::rollout::simulation::world::{MAIN, Spec, TICK, World, id, wave_ref};
use tidegate_waves::rollout::{Finding, FleetState, Verb};

use crate::bakes;
use crate::coverage::Coverage;
use crate::event::{Event, Foreign, Health, LOG_BRANCH, Order, REGIONS, WAVES};
use crate::schedule::Schedule;
use crate::settling;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// A digest of everything that happened.
    pub history: Oid,
    /// What met what.
    pub coverage: Coverage,
    /// What is wrong, if anything is.
    pub broken: Option<Broken>,
    /// How many entries the log has.
    pub entries: usize,
    /// How often the state machine was asked.
    pub decisions: u64,
    /// The kinds of entries that were written.
    pub kinds: BTreeSet<EntryKind>,
}

/// A promise that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// After which event; `None` is after the last, on the way to rest.
    pub after: Option<usize>,
    /// What is wrong, one thing a line.
    pub wrong: Vec<String>,
    /// The log in words.
    pub story: String,
}

/// A region from one moment to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spell {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    /// The tree that really ran well then.
    pub(crate) well: Option<Oid>,
}

/// A world in the middle of a schedule.
pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) flapping: BTreeSet<String>,
    pub(crate) coverage: Coverage,
    /// What really was so in each region, whoever looked.
    pub(crate) truth: BTreeMap<String, Vec<Spell>>,
    /// Entries whose bakes were checked.
    pub(crate) checked: usize,
    answered: usize,
    rounds: u64,
    decisions: u64,
    restless: bool,
}

/// Lets a schedule happen; `trace` is told of each event and of what the log says after it.
pub fn run(schedule: &Schedule, trace: impl FnMut(&str)) -> Report {
    run_watched(schedule, trace, |_, _| {})
}

/// The same; `watch` is told of the state that each event meets, with the event's place.
pub fn run_watched(
    schedule: &Schedule,
    mut trace: impl FnMut(&str),
    mut watch: impl FnMut(usize, &FleetState),
) -> Report {
    let mut run = Run::new(schedule);
    let mut broken = None;
    for (at, event) in schedule.events.iter().enumerate() {
        let before = run.world.log.len();
        watch(at, run.world.state());
        run.coverage.meet(run.world.state(), event.kind());
        run.apply(*event);
        trace(&format!("{at}: {event}"));
        for logged in run.world.log.iter().skip(before) {
            trace(&format!(
                "      {} {} {}",
                logged.state.seq, logged.entry.kind, logged.entry.subject
            ));
        }
        let wrong = run.check();
        if !wrong.is_empty() {
            broken = Some(run.broken(Some(at), wrong));
            break;
        }
    }
    if broken.is_none() {
        let before = run.world.log.len();
        let wrong = settling::settle(&mut run, schedule.seed);
        for logged in run.world.log.iter().skip(before) {
            trace(&format!(
                "   on the way to rest: {} {} {}",
                logged.state.seq, logged.entry.kind, logged.entry.subject
            ));
        }
        if !wrong.is_empty() {
            broken = Some(run.broken(None, wrong));
        }
    }
    Report {
        history: run.history(),
        entries: run.world.log.len(),
        decisions: run.decisions,
        kinds: run.world.kinds().into_iter().collect(),
        coverage: run.coverage,
        broken,
    }
}

impl Run {
    fn new(schedule: &Schedule) -> Self {
        let mut world = World::new(schedule.spec.clone());
        for name in ["b", "c"]
            .iter()
            .take(usize::from(schedule.controllers.saturating_sub(1)))
        {
            world.add_controller(name);
        }
        world.bad_words.insert("w4".to_owned());
        let mut run = Self {
            world,
            flapping: BTreeSet::new(),
            coverage: Coverage::default(),
            truth: BTreeMap::new(),
            checked: 0,
            answered: 0,
            rounds: 0,
            decisions: 0,
            restless: false,
        };
        // Most schedules begin with a fleet that runs; some in the middle of its first rollout.
        if !schedule.seed.is_multiple_of(8) {
            for _ in 0..200 {
                run.round(Order::Forward);
                if run.world.last() == EntryKind::Succeeded {
                    break;
                }
            }
        }
        run
    }

    /// Everything that is wrong now.
    pub(crate) fn check(&mut self) -> Vec<String> {
        let mut wrong = audit(&self.world);
        wrong.extend(bakes::check(self));
        if self.restless {
            wrong.push("a controller never comes to rest".to_owned());
        }
        wrong
    }

    fn broken(&self, after: Option<usize>, wrong: Vec<String>) -> Broken {
        Broken {
            after,
            wrong,
            story: self.world.story(),
        }
    }

    /// A digest of the log, the branches, the answers and the clock.
    fn history(&self) -> Oid {
        let log: Vec<String> = self
            .world
            .log
            .iter()
            .map(|logged| format!("{:?} {:?} {:?}", logged.at, logged.entry, logged.intents))
            .collect();
        id(&(
            log,
            format!("{:?}", self.world.state()),
            format!("{:?} {:?}", self.world.refs, self.world.pushed),
            format!("{:?}", self.world.answers),
            self.world.now,
            self.decisions,
        ))
    }

    // --- time ---------------------------------------------------------------------------------------------

    /// Everybody does what there is to do, then time goes on and regions answer.
    pub(crate) fn round(&mut self, order: Order) {
        let mut alive: Vec<usize> = (0..self.world.controllers.len())
            .filter(|index| self.is_alive(*index))
            .collect();
        match order {
            Order::Forward => {}
            Order::Backward => alive.reverse(),
            Order::Abreast => {
                let rests = (0..100).any(|_| {
                    for index in &alive {
                        self.decide(*index);
                    }
                    let acted: Vec<bool> =
                        alive.iter().map(|index| self.world.act(*index)).collect();
                    !acted.contains(&true)
                });
                self.restless |= !rests;
                alive.clear();
            }
        }
        for index in alive {
            let rests = (0..100).any(|_| {
                self.decide(index);
                !self.world.act(index)
            });
            self.restless |= !rests;
        }
        self.rounds += 1;
        for region in &self.flapping {
            if (self.rounds / 2).is_multiple_of(2) {
                self.world.outage.insert(region.clone());
            } else {
                self.world.outage.remove(region);
            }
        }
        self.pass(TICK);
        self.world.sample();
        for at in self.answered..self.world.answers.len() {
            let Some(answer) = self.world.answers.get(at) else {
                break;
            };
            let state = self
                .world
                .state()
                .rollout
                .as_ref()
                .and_then(|rollout| rollout.region(&answer.region))
                .map(|(_, run)| run.state);
            if let Some(state) = state {
                let reading = match answer.reading {
                    Reading::Healthy { .. } => "healthy",
                    Reading::Bad => "bad",
                    Reading::Sick => "sick",
                    Reading::Progressing => "progressing",
                    Reading::Stale => "stale",
                    Reading::Unknown => "unknown",
                    Reading::Unreachable => "unreachable",
                    Reading::EgressDenied => "egress-denied",
                };
                self.coverage.answer(state, reading);
            }
        }
        self.answered = self.world.answers.len();
    }

    fn decide(&mut self, controller: usize) {
        self.decisions += 1;
        self.world.think(controller);
    }

    fn is_alive(&self, controller: usize) -> bool {
        self.world
            .controllers
            .get(controller)
            .is_some_and(|controller| controller.alive)
    }

    /// Time goes by, and what really is so in the regions is recorded.
    fn pass(&mut self, time: Duration) {
        let from = self.world.now;
        self.world.pass(time);
        for region in REGIONS {
            let well = self.world.runs_well(region);
            let spells = self.truth.entry(region.to_owned()).or_default();
            match spells.last_mut() {
                Some(last) if last.well == well && last.to == from => last.to = self.world.now,
                _ => spells.push(Spell {
                    from,
                    to: self.world.now,
                    well,
                }),
            }
        }
    }

    // --- events -------------------------------------------------------------------------------------------

    fn apply(&mut self, event: Event) {
        match event {
            Event::Rounds(rounds, order) => {
                for _ in 0..rounds {
                    self.round(order);
                }
            }
            Event::Commit { region, word } => {
                let path = REGIONS.get(usize::from(region)).copied().unwrap_or("all");
                self.commit(&[(path, &format!("w{word}"))]);
            }
            Event::Fix { word } => {
                let failed: Vec<Oid> = self
                    .world
                    .state()
                    .quarantine
                    .last()
                    .map(|item| item.source)
                    .into_iter()
                    .collect();
                if self.world.head().is_some() {
                    self.world
                        .commit_fixing(&[("all", &format!("w{word}"))], &failed);
                }
            }
            Event::Undo => self.undo(),
            Event::Broken(broken) => {
                self.commit(&[("broken", if broken { "yes" } else { "" })]);
            }
            Event::Spec(kind) => {
                if let Some(first) = self.world.specs.first() {
                    let spec = changed(first.clone(), kind);
                    let spec = self.world.spec(spec);
                    self.commit(&[("spec", spec.as_str())]);
                }
            }
            Event::Guarded { region, reason } => {
                let region = name(region, &REGIONS);
                let word = format!("guarded {}", self.world.sources.len());
                self.commit(&[(region, &word)]);
                if let Some(head) = self.world.head() {
                    self.world.findings.insert(
                        head,
                        vec![Finding {
                            reason,
                            region: region.to_owned(),
                            message: "too much would go".to_owned(),
                        }],
                    );
                }
            }
            Event::RewriteConfig { word } => {
                let files = self.world.files(self.world.head());
                let spec = files.get("spec").cloned().unwrap_or_default();
                self.world
                    .rewrite_main(&[("all", &format!("w{word}")), ("spec", &spec)]);
            }
            Event::Health { region, health } => self.health(name(region, &REGIONS), health),
            Event::Network { branch, fault } => {
                let reference = if branch == LOG_BRANCH {
                    LOG.to_owned()
                } else {
                    WAVES
                        .get(usize::from(branch))
                        .map_or_else(|| MAIN.to_owned(), |wave| wave_ref(wave))
                };
                match fault {
                    Some(fault) => self.world.faults.insert(reference, fault),
                    None => self.world.faults.remove(&reference),
                };
            }
            Event::Deliver => self.world.deliver(),
            Event::DeliverPush(which) => self.world.deliver_push(usize::from(which)),
            Event::DeliverEntry(which) => self.world.deliver_entry(usize::from(which)),
            Event::Decide(controller) => self.decide(usize::from(controller)),
            Event::Act(controller) => {
                self.world.act(usize::from(controller));
            }
            Event::Crash {
                controller,
                keeps_cache,
            } => self.crash(usize::from(controller), keeps_cache),
            Event::Stop(controller) => self.alive(controller, false, false),
            Event::Suspend(controller) => self.alive(controller, false, true),
            Event::Continue(controller) => self.alive(controller, true, false),
            Event::WallClock(hours) => self.world.wall_offset += i64::from(hours) * 3_600,
            Event::Sleep { hours, suspended } => {
                for controller in &mut self.world.controllers {
                    controller.suspended |= suspended;
                }
                self.pass(Duration::from_secs(3_600 * u64::from(hours)));
                for controller in &mut self.world.controllers {
                    controller.suspended &= !controller.alive;
                }
            }
            Event::Drift { wave, region, what } => {
                self.drift(name(wave, &WAVES), name(region, &REGIONS), what);
            }
            Event::Delete(wave) => {
                let wave = name(wave, &WAVES);
                if self.world.refs.contains_key(&wave_ref(wave)) {
                    self.world.delete_branch(wave);
                }
            }
            Event::Rewind(wave) => {
                let reference = wave_ref(name(wave, &WAVES));
                let parent = self
                    .world
                    .refs
                    .get(&reference)
                    .and_then(|tip| self.world.commits.get(tip))
                    .and_then(|commit| commit.parent);
                if let Some(parent) = parent {
                    self.world.damaged.insert(reference.clone());
                    self.world.refs.insert(reference, parent);
                }
            }
            Event::Ask {
                verb,
                option,
                region,
            } => self.ask(verb, option, region),
        }
    }

    pub(crate) fn commit(&mut self, changes: &[(&str, &str)]) {
        self.world.commit(changes);
    }

    fn undo(&mut self) {
        let Some(head) = self.world.head() else {
            return;
        };
        let Some(parent) = self
            .world
            .sources
            .get(&head)
            .and_then(|source| source.parent)
        else {
            return;
        };
        let (now, before) = (self.world.files(Some(head)), self.world.files(Some(parent)));
        let changes: Vec<(&str, &str)> = now
            .keys()
            .chain(before.keys())
            .map(|path| {
                let text = before.get(path).map_or("", String::as_str);
                (path.as_str(), text)
            })
            .collect();
        self.world.commit(&changes);
    }

    pub(crate) fn health(&mut self, region: &str, health: Health) {
        let world = &mut self.world;
        for trouble in [
            &mut world.outage,
            &mut world.dark,
            &mut world.lagging,
            &mut world.denied,
            &mut self.flapping,
        ] {
            trouble.remove(region);
        }
        let trouble = match health {
            Health::Well => return,
            Health::Ill => &mut world.outage,
            Health::Dark => &mut world.dark,
            Health::Lagging => &mut world.lagging,
            Health::Denied => &mut world.denied,
            Health::Flapping => &mut self.flapping,
        };
        trouble.insert(region.to_owned());
    }

    fn crash(&mut self, controller: usize, keeps_cache: bool) {
        let Some(dead) = self.world.controllers.get(controller) else {
            return;
        };
        let sums = dead.watch.sums();
        self.world.crash(controller);
        if let (true, Some(born)) = (keeps_cache, self.world.controllers.get_mut(controller)) {
            born.recovered = sums.into_iter().collect();
        }
    }

    fn alive(&mut self, controller: u8, alive: bool, suspended: bool) {
        if let Some(controller) = self.world.controllers.get_mut(usize::from(controller)) {
            controller.alive = alive;
            controller.suspended = suspended;
        }
    }

    fn drift(&mut self, wave: &str, region: &str, what: Foreign) {
        if !self.world.refs.contains_key(&wave_ref(wave)) {
            return;
        }
        match what {
            Foreign::Tree => {
                let tree = id(&("theirs", self.world.commits.len()));
                self.world.drift(wave, region, Some(tree));
            }
            Foreign::Removal => {
                self.world.drift(wave, region, None);
            }
            Foreign::Nothing => {
                self.world.drift(wave, "", None);
            }
            Foreign::LastGood => {
                if let Some(tree) = self.world.last_good(region) {
                    self.world.drift(wave, region, Some(tree));
                }
            }
        }
    }

    fn ask(
        &mut self,
        verb: Verb,
        option: Option<tidegate_waves::rollout::RequestOption>,
        region: u8,
    ) {
        let head = self.world.head();
        let wall = self.world.wall();
        let named = REGIONS.get(usize::from(region)).copied();
        let request = self.world.request(verb);
        request.option = option;
        match verb {
            Verb::Skip => request.regions = vec![named.unwrap_or("r1").to_owned()],
            Verb::Revert | Verb::Retry => {
                request.regions = named.into_iter().map(str::to_owned).collect();
            }
            Verb::Hold => {
                // Of everything, of a wave, of a region, or for a while.
                match region {
                    0 => request.wave = Some("pilot".to_owned()),
                    1 => request.regions = vec!["r1".to_owned()],
                    2 => request.until = Some(wall + 60),
                    _ => {}
                }
            }
            Verb::Hotfix => request.to = head,
            Verb::Approve | Verb::Resume | Verb::Abort => {}
        }
    }
}

fn name(index: u8, names: &'static [&'static str]) -> &'static str {
    names
        .get(usize::from(index))
        .or(names.first())
        .copied()
        .unwrap_or_default()
}

/// What somebody makes of waves and policy.
fn changed(mut spec: Spec, kind: u8) -> Spec {
    match kind {
        0 => spec,
        1 => spec.every_wave(|wave| wave.bake += Duration::from_secs(15)),
        2 => spec
            .members("pilot", &["r1"])
            .members("broad", &["r2", "r3", "r4"]),
        3 => spec.members("broad", &["r3"]),
        4 => {
            spec.gated = !spec.gated;
            spec
        }
        _ => {
            spec.excluded.insert("r3".to_owned());
            spec
        }
    }
}
