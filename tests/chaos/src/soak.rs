//! Three controllers at once on one fleet, without a leader, while commits come and controllers are killed and frozen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tidegate_testkit::branch_health::version_of;
use tidegate_testkit::journal_audit;
use tidegate_testkit::small_fleet::{Controller, LOG, MAIN, REGIONS, REPO, SmallFleet};
use tidegate_testkit::tidegate::Running;
use tidegate_testkit::wait::wait_for;

use crate::people::{request, try_push};
use crate::process::assert_sound;
use crate::scenario::{Bases, how_it_stands, is_settled, rollout_ends};

/// How long everything may take to settle when nothing disturbs it any more.
const SETTLES: Duration = Duration::from_secs(300);
/// How long a hold stands before a person does something about it.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a rollout may stand still before a person puts a hotfix in its place: longer than all controllers are away.
const STANDSTILL: Duration = Duration::from_secs(25);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long it is disturbed.
    pub length: Duration,
    /// How many commits come meanwhile.
    pub commits: u32,
    /// What chance is drawn from.
    pub seed: u64,
}

/// One of the controllers.
struct Member<'a> {
    controller: Controller<'a>,
    running: Option<Running>,
    /// When it is started again or goes on.
    back: Option<Instant>,
    wrote: usize,
    lost: usize,
    unclear: usize,
}

impl Member<'_> {
    /// Counts what its life so far has come to.
    fn count(&mut self) {
        let Some(running) = &self.running else {
            return;
        };
        let said = running.stderr();
        assert_sound(&said);
        for line in said.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let fields = &record["fields"];
            let message = fields["message"].as_str().unwrap_or_default();
            if fields["entry"].is_string() && fields["intents"].is_number() {
                self.wrote += 1;
            } else if message == "another controller wrote the log first" {
                self.lost += 1;
            } else if message.starts_with("the answer to a push of the log is unclear") {
                self.unclear += 1;
            }
        }
    }

    fn kill(&mut self, back: Instant) {
        if let Some(running) = &mut self.running {
            running.kill();
        }
        self.count();
        self.running = None;
        self.back = Some(back);
    }

    fn come_back(&mut self) {
        self.back = None;
        match &mut self.running {
            Some(running) => running.thaw(),
            None => self.running = Some(self.controller.start()),
        }
    }
}

struct Soak<'a> {
    fleet: &'a SmallFleet,
    chance: fastrand::Rng,
    version: u32,
    commits: BTreeMap<&'static str, u32>,
    held_since: Option<Instant>,
    /// The log's tip, and since when.
    stands: (Option<String>, Instant),
    hotfixes: u32,
}

impl Soak<'_> {
    /// Commits on the newest state of the config branch and pushes, again where somebody was faster.
    fn commit(&mut self, kind: &'static str, message: &str, write: impl Fn(&SmallFleet)) {
        let work = &self.fleet.work;
        wait_for("a push to the config branch", SETTLES, || {
            work.git(&["fetch", "-q", "origin", MAIN]);
            work.git(&["reset", "-q", "--hard", "FETCH_HEAD"]);
            write(self.fleet);
            work.commit(message);
            try_push(self.fleet, &format!("HEAD:{MAIN}")).then_some(())
        });
        *self.commits.entry(kind).or_insert(0) += 1;
    }

    fn commit_something(&mut self) {
        self.version += 1;
        let version = self.version;
        let (region, _) = REGIONS[self.chance.usize(..REGIONS.len())];
        let message = format!("Change number {version}");
        match self.chance.u32(..10) {
            0 => self.commit("empty", &message, |_| ()),
            1..=2 => self.commit("bad", &message, |fleet| {
                let text = format!("version: \"{version}-bad-{region}\"\n");
                fleet.work.write(&format!("values/{region}.yaml"), text);
            }),
            3..=4 => self.commit("good, all regions", &message, |fleet| {
                let text = format!("version: \"{version}\"\n");
                fleet.work.write("values/fleet.yaml", text);
            }),
            _ => self.commit("good, one region", &message, |fleet| {
                let text = format!("version: \"{version}\"\n");
                fleet.work.write(&format!("values/{region}.yaml"), text);
            }),
        }
    }

    /// A good version everywhere, in the name of whatever failed.
    fn fix(&mut self) {
        self.version += 1;
        let version = self.version;
        let mut message = format!("Mend everything with {version}\n\n");
        for item in self
            .fleet
            .state()
            .map(|state| state.quarantine)
            .unwrap_or_default()
        {
            let _ = writeln!(message, "Tidegate-Fixes: {}", item.source);
        }
        self.commit("fix by a person", &message, |fleet| {
            let text = format!("version: \"{version}\"\n");
            fleet.work.write("values/fleet.yaml", &text);
            for (region, _) in REGIONS {
                fleet.work.write(&format!("values/{region}.yaml"), &text);
            }
        });
    }

    /// What a person is for: reverts that conflict, and what stays quarantined.
    fn look_after_holds(&mut self) {
        let held = self
            .fleet
            .state()
            .is_some_and(|state| !state.holds.is_empty());
        match (held, self.held_since) {
            (false, _) => self.held_since = None,
            (true, None) => self.held_since = Some(Instant::now()),
            (true, Some(since)) if since.elapsed() > PATIENCE => {
                self.held_since = None;
                self.fix();
            }
            (true, Some(_)) => {}
        }
    }

    /// What a person is for: a region that is sick, but was not known to be healthy when the commit came to it (its
    /// gate did not answer in time). That is no evidence against the commit, and its deadline is far away.
    fn look_after_standstill(&mut self) {
        let tip = self.fleet.server.tip(REPO, LOG);
        if self.stands.0 != tip {
            self.stands = (tip, Instant::now());
        } else if self.stands.1.elapsed() > STANDSTILL && rollout_ends(self.fleet, "Running") {
            self.stands.1 = Instant::now();
            self.fix();
            let fix = self.fleet.work.git(&["rev-parse", "HEAD"]);
            request(self.fleet, "hotfix", ("To", fix.trim()));
            self.hotfixes += 1;
        }
    }
}

/// Runs a soak; panics where the end is not as it has to be.
pub fn run(options: Options) {
    println!("seed {}", options.seed);
    let bases = Bases::make();
    let fleet = SmallFleet::copied(&bases.settled());
    let mut members: Vec<Member<'_>> = ["one", "two", "three"]
        .map(|name| Member {
            controller: fleet
                .controller(name)
                .env("TIDEGATE_GIT_DEADLINE", "5s")
                .env(
                    "TIDEGATE_LOG",
                    "info,tidegate_controller::engine::writing=debug",
                ),
            running: None,
            back: Some(Instant::now()),
            wrote: 0,
            lost: 0,
            unclear: 0,
        })
        .into();
    let mut soak = Soak {
        fleet: &fleet,
        chance: fastrand::Rng::with_seed(options.seed),
        version: 1,
        commits: BTreeMap::new(),
        held_since: None,
        stands: (None, Instant::now()),
        hotfixes: 0,
    };
    let (mut kills, mut pauses) = (0, 0);
    let begun = Instant::now();
    let every = options.length / options.commits.max(1);
    let mut made = 0;
    let mut next_disturbance = begun;
    let entries = fleet.entries().len();
    wait_for("the end of the soak", options.length + SETTLES, || {
        let now = Instant::now();
        for member in &mut members {
            if member.back.is_some_and(|back| now >= back) {
                member.come_back();
            }
            if let Some(running) = &mut member.running {
                assert!(
                    running.is_running(),
                    "it left by itself: {}",
                    running.stderr()
                );
            }
        }
        if now >= next_disturbance {
            let place = soak.chance.usize(..members.len());
            let member = &mut members[place];
            if member.back.is_none() && begun.elapsed() < options.length {
                if soak.chance.bool() {
                    kills += 1;
                    member.kill(now + Duration::from_millis(soak.chance.u64(..4000)));
                } else if let Some(running) = &mut member.running {
                    pauses += 1;
                    running.freeze();
                    // Longer than a takeover takes, and sometimes longer than any deadline.
                    member.back = Some(now + Duration::from_millis(soak.chance.u64(2000..9000)));
                }
            }
            next_disturbance = now + Duration::from_millis(soak.chance.u64(500..5000));
        }
        if made < options.commits && begun.elapsed() >= every * made {
            soak.commit_something();
            made += 1;
        }
        soak.look_after_holds();
        soak.look_after_standstill();
        (begun.elapsed() >= options.length && made == options.commits).then_some(())
    });
    for member in &mut members {
        member.come_back();
    }
    soak.fix();
    let settling = Instant::now();
    wait_for("the fleet settles", SETTLES * 2, || {
        assert!(
            settling.elapsed() < SETTLES,
            "not settled within {SETTLES:?} (seed {}): {}",
            options.seed,
            how_it_stands(&fleet)
        );
        soak.look_after_holds();
        soak.look_after_standstill();
        is_settled(&fleet).then_some(())
    });
    println!(
        "settled {:.1} s after the last disturbance",
        settling.elapsed().as_secs_f32()
    );
    for member in &mut members {
        member.count();
        let mut running = member.running.take().expect("it runs");
        running.terminate();
        let answer = running.wait(Duration::from_secs(20));
        assert_eq!(answer.code, Some(0), "told to stop: {}", answer.stderr);
    }
    judge(&fleet, soak.version);
    println!(
        "kills: {kills}, pauses: {pauses}, hotfixes: {}, commits: {:?}",
        soak.hotfixes, soak.commits
    );
    report(&fleet, entries, &members);
}

fn judge(fleet: &SmallFleet, version: u32) {
    for (region, _) in REGIONS {
        let shown = version_of(&fleet.server.path(REPO), region);
        assert_eq!(shown, Some(version.to_string()), "{region}");
    }
    journal_audit::check_whole(fleet);
    println!("every region runs what the config branch says; journal and audit are clean");
}

fn report(fleet: &SmallFleet, before: usize, members: &[Member<'_>]) {
    let log = fleet.entries();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, kind) in &log[before..] {
        *kinds.entry(kind).or_insert(0) += 1;
    }
    println!("log entries: {} {kinds:?}", log.len() - before);
    for (name, member) in ["one", "two", "three"].iter().zip(members) {
        let all = member.wrote + member.lost + member.unclear;
        println!(
            "controller {name}: {all} pushes of the log, of which {} lost the race and {} were unclear",
            member.lost, member.unclear
        );
    }
}
