//! From a seed to a fleet, its controllers, and a list of events.

use fastrand::Rng;
use tidegate_waves::rollout::simulation::network::Fault;
use tidegate_waves::rollout::{RequestOption, Verb};

use super::event::{Dies, Event, Keeps};
use crate::event::{BAD, Foreign, Health, LOG_BRANCH, REGIONS, WAVES};

/// One wave's rules, as its document writes them.
#[derive(Debug, Clone, Copy)]
pub struct WavePolicy {
    /// In seconds.
    pub bake: u8,
    /// How many regions hold a slot.
    pub max_concurrent: u8,
    /// How many may fail.
    pub max_failures: u8,
    /// How long a slot is held.
    pub slot_until: &'static str,
}

/// The fleet's rules, as its document writes them.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What a failure leads to.
    pub on_failure: &'static str,
    /// What silence leads to.
    pub on_unreachable: &'static str,
    /// Seconds between samples.
    pub every: u8,
    /// Healthy samples in a row.
    pub successes: u8,
    /// The waves, in order.
    pub waves: [WavePolicy; WAVES.len()],
}

/// What a seed stands for.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The seed.
    pub seed: u64,
    /// The fleet's rules.
    pub policy: Policy,
    /// How many controllers there are.
    pub controllers: u8,
    /// Whether each commit is told to the controllers at once, by a webhook.
    pub webhooks: bool,
    /// Whether a push of several refs is refused whole where one is.
    pub refuses_whole: bool,
    /// How many seconds the regions' followers take.
    pub lags: [u8; REGIONS.len()],
    /// Whether nothing happens but commits one after the other, faults and crashes: then the end is known.
    pub is_steady: bool,
    /// What happens, in order.
    pub events: Vec<Event>,
}

/// How often each group of events comes up in a schedule.
struct Weights {
    groups: Vec<(Group, u32)>,
    bad: u8,
}

#[derive(Debug, Clone, Copy)]
enum Group {
    Pass,
    Commits,
    OddCommits,
    Health,
    Network,
    Deliveries,
    Crashes,
    Stops,
    Clocks,
    Disks,
    Vandals,
    Requests,
}

impl Schedule {
    /// The schedule of this seed. Every other one is steady.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let policy = policy(&mut random);
        let controllers = pick(&mut random, &[1, 1, 2, 2, 3], 1);
        let is_steady = seed.is_multiple_of(2);
        let weights = Weights::new(&mut random, is_steady);
        let mut schedule = Self {
            seed,
            policy,
            controllers,
            webhooks: percent(&mut random, 50),
            refuses_whole: percent(&mut random, 30),
            lags: REGIONS.map(|_| random.u8(1..5)),
            is_steady,
            events: Vec::new(),
        };
        if is_steady {
            schedule.events = steady(&mut random, &weights, controllers);
        } else {
            // Most begin with a fleet that runs.
            if percent(&mut random, 80) {
                schedule.events.push(Event::Rest);
            }
            for _ in 0..6 + random.u8(..20) {
                let event = event(&mut random, &weights, controllers);
                schedule.events.push(event);
            }
        }
        schedule
    }

    /// The same with these of its events alone.
    #[must_use]
    pub fn only(&self, kept: &[usize]) -> Self {
        Self {
            events: kept
                .iter()
                .filter_map(|at| self.events.get(*at).copied())
                .collect(),
            ..self.clone()
        }
    }

    /// The same commits with nothing in between, and one controller.
    #[must_use]
    pub fn undisturbed(&self) -> Self {
        Self {
            controllers: 1,
            events: self
                .events
                .iter()
                .filter(|event| event.is_of_the_story())
                .copied()
                .collect(),
            ..self.clone()
        }
    }
}

/// Commits one after the other, each with disturbances, each carried to its end before the next.
fn steady(random: &mut Rng, weights: &Weights, controllers: u8) -> Vec<Event> {
    let mut events = Vec::new();
    for round in 0..2 + random.u8(..2) {
        // The first round carries the fleet's first commit, which is there from the start.
        if round > 0 {
            events.push(if percent(random, 10) {
                Event::Broken(percent(random, 50))
            } else {
                commit(random, weights)
            });
        }
        for _ in 0..random.u8(..8) {
            events.push(Event::Pass(1 + random.u8(..20)));
            events.push(without_people(event(random, weights, controllers)));
        }
        events.push(Event::Rest);
    }
    events
}

/// A refusal of anything but the log is for people to mend, and changes how a failure ends: it is lost instead.
fn without_people(event: Event) -> Event {
    match event {
        Event::Network {
            branch,
            fault: Some(Fault::Refused),
        } if branch != LOG_BRANCH => Event::Network {
            branch,
            fault: Some(Fault::Lost),
        },
        event => event,
    }
}

/// True in so many cases of a hundred.
fn percent(random: &mut Rng, percent: u8) -> bool {
    random.u8(..100) < percent
}

/// One of these, or `or` where there are none.
fn pick<T: Copy>(random: &mut Rng, from: &[T], or: T) -> T {
    random.choice(from).copied().unwrap_or(or)
}

fn policy(random: &mut Rng) -> Policy {
    let bake = 10 * random.u8(..4);
    let mut wave = |is_canary: bool| WavePolicy {
        bake,
        max_concurrent: 1 + random.u8(..2),
        max_failures: if is_canary { 0 } else { random.u8(..2) },
        slot_until: pick(random, &["healthy", "baked"], "healthy"),
    };
    let waves = [wave(true), wave(false), wave(false)];
    Policy {
        on_failure: pick(
            random,
            &["revert", "revert", "revert", "isolate", "hold"],
            "revert",
        ),
        on_unreachable: pick(random, &["hold", "hold", "fail"], "hold"),
        every: 2 + random.u8(..4),
        successes: 1 + random.u8(..2),
        waves,
    }
}

impl Weights {
    /// Some groups do not come up at all, so that few things happen often rather than everything a little.
    fn new(random: &mut Rng, is_steady: bool) -> Self {
        let common = [
            Group::Network,
            Group::Deliveries,
            Group::Crashes,
            Group::Stops,
            Group::Clocks,
            Group::Disks,
        ];
        let wild = [
            Group::OddCommits,
            Group::Health,
            Group::Vandals,
            Group::Requests,
        ];
        let mut groups = vec![(Group::Pass, if is_steady { 1 } else { 8 })];
        if !is_steady {
            groups.push((Group::Commits, 4));
        }
        for group in common {
            groups.push((group, pick(random, &[0, 1, 3, 6], 1)));
        }
        for group in wild.into_iter().filter(|_| !is_steady) {
            groups.push((group, pick(random, &[0, 0, 1, 3, 6], 1)));
        }
        Self {
            groups,
            bad: pick(random, &[10, 30, 60], 30),
        }
    }

    fn group(&self, random: &mut Rng) -> Group {
        let total: u32 = self.groups.iter().map(|(_, weight)| weight).sum();
        let mut left = random.u32(..total.max(1));
        for (group, weight) in &self.groups {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *group,
            }
        }
        Group::Pass
    }
}

fn commit(random: &mut Rng, weights: &Weights) -> Event {
    let word = if percent(random, weights.bad) {
        BAD
    } else {
        random.u8(..BAD)
    };
    Event::Commit {
        region: random.u8(..8),
        word,
    }
}

const FAULTS: [Fault; 5] = [
    Fault::Lost,
    Fault::AnswerLost,
    Fault::Delayed,
    Fault::Duplicated,
    Fault::Refused,
];

const VERBS: [Verb; 8] = [
    Verb::Approve,
    Verb::Hold,
    Verb::Resume,
    Verb::Skip,
    Verb::Abort,
    Verb::Retry,
    Verb::Revert,
    Verb::Hotfix,
];

const HEALTH: [Health; 9] = [
    Health::Well,
    Health::Well,
    Health::Well,
    Health::Ill,
    Health::Ill,
    Health::Dark,
    Health::Lagging,
    Health::Denied,
    Health::Flapping,
];

fn event(random: &mut Rng, weights: &Weights, controllers: u8) -> Event {
    match weights.group(random) {
        Group::Pass => Event::Pass(1 + random.u8(..60)),
        Group::Commits => commit(random, weights),
        Group::OddCommits => match random.u8(..4) {
            0 => Event::RewriteConfig {
                word: random.u8(..=BAD),
            },
            1 => Event::Broken(true),
            _ => Event::Broken(false),
        },
        Group::Health => Event::Health {
            region: random.u8(..5),
            health: pick(random, &HEALTH, Health::Well),
        },
        Group::Network => {
            if percent(random, 15) {
                return Event::Down(percent(random, 60));
            }
            Event::Network {
                branch: random.u8(..5),
                fault: if percent(random, 30) {
                    None
                } else {
                    random.choice(FAULTS)
                },
            }
        }
        Group::Deliveries => match random.u8(..3) {
            0 => Event::Deliver,
            _ => Event::DeliverPush(random.u8(..3)),
        },
        Group::Crashes => Event::Crash {
            controller: random.u8(..controllers),
            dies: match random.u8(..4) {
                0 => Dies::Now,
                1 => Dies::AtPoint(1 + random.u8(..6)),
                _ => Dies::AtEffect(1 + random.u8(..6)),
            },
            keeps: pick(
                random,
                &[
                    Keeps::Everything,
                    Keeps::Everything,
                    Keeps::NoSums,
                    Keeps::Nothing,
                ],
                Keeps::Everything,
            ),
            seconds: pick(random, &[0, 1, 5, 30, 120], 1),
        },
        Group::Stops => {
            let controller = random.u8(..controllers);
            match random.u8(..4) {
                0 => Event::Stop(controller),
                1 => Event::Suspend(controller),
                _ => Event::Continue(controller),
            }
        }
        Group::Clocks => match random.u8(..3) {
            0 => Event::WallClock(i8::try_from(random.u8(..49)).unwrap_or(0) - 24),
            _ => Event::Sleep {
                hours: 1 + random.u8(..9),
                suspended: percent(random, 50),
            },
        },
        Group::Disks => Event::Disk {
            controller: random.u8(..controllers),
            full: percent(random, 50),
        },
        Group::Vandals => match random.u8(..6) {
            0 => Event::Delete(random.u8(..3)),
            1 => Event::Rewind(random.u8(..3)),
            _ => Event::Drift {
                wave: random.u8(..3),
                region: random.u8(..5),
                what: pick(
                    random,
                    &[
                        Foreign::Tree,
                        Foreign::Removal,
                        Foreign::Nothing,
                        Foreign::LastGood,
                    ],
                    Foreign::Tree,
                ),
            },
        },
        Group::Requests => {
            let verb = pick(random, &VERBS, Verb::Hold);
            let option = match verb {
                Verb::Resume => pick(
                    random,
                    &[
                        None,
                        Some(RequestOption::Adopt),
                        Some(RequestOption::Restore),
                    ],
                    None,
                ),
                Verb::Abort => pick(random, &[None, Some(RequestOption::Keep)], None),
                _ => None,
            };
            Event::Ask {
                verb,
                option,
                region: random.u8(..8),
            }
        }
    }
}
