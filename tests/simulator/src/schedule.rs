//! From a seed to a fleet and a list of events.
//!
//! Each seed draws its own weights first, and some kinds of events not at all, so that few things happen often
//! rather than everything a little (swarm testing: Groce, Zhang, Eide, Chen and Regehr, ISSTA 2012).

use std::time::Duration;

use fastrand::Rng;
use tidegate_waves::amount::Amount;
use tidegate_waves::fleet::{OnFailure, OnUnreachable, PolicyWithContent, RevertSource, SlotUntil};
use tidegate_waves::rollout::simulation::network::Fault;
use tidegate_waves::rollout::simulation::world::Spec;
use tidegate_waves::rollout::{HoldReason, RequestOption, Verb};

use crate::event::{BAD, Event, Foreign, Health, Order};

/// What a seed stands for.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The seed.
    pub seed: u64,
    /// The fleet that it begins with.
    pub spec: Spec,
    /// How many controllers there are.
    pub controllers: u8,
    /// What happens, in order.
    pub events: Vec<Event>,
}

impl Schedule {
    /// The schedule of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let spec = spec(&mut random);
        let controllers = pick(&mut random, &[1, 2, 2, 2, 3], 2);
        let weights = Weights::new(&mut random);
        let length = 6 + random.u8(..30);
        let mut events = vec![Event::Commit {
            region: random.u8(..8),
            word: random.u8(..=BAD),
        }];
        for _ in 0..length {
            events.push(event(&mut random, &weights, controllers));
        }
        Self {
            seed,
            spec,
            controllers,
            events,
        }
    }

    /// The same, slower: before each round the first controller looks and acts twice, so that other events can come between any two
    /// of its decisions.
    #[must_use]
    pub fn step_by_step(&self) -> Self {
        let mut events = Vec::new();
        for event in &self.events {
            match *event {
                Event::Rounds(rounds, order) => {
                    let (look, act) = (Event::Decide(0), Event::Act(0));
                    for _ in 0..rounds {
                        events.extend([look, act, look, act, Event::Rounds(1, order)]);
                    }
                }
                other => events.push(other),
            }
        }
        Self {
            events,
            ..self.clone()
        }
    }

    /// The same with an event of this kind before the one at this place, always the same one; `None` where there is no such kind.
    #[must_use]
    pub fn meeting(&self, at: usize, kind: &str) -> Option<Self> {
        let place = u64::try_from(at).unwrap_or(u64::MAX);
        let mut random = Rng::with_seed(self.seed.rotate_left(32) ^ place);
        let weights = Weights::equal();
        let found = (0..MOST_DRAWS)
            .map(|_| event(&mut random, &weights, self.controllers))
            .find(|event| event.kind() == kind)?;
        let mut events = self.events.clone();
        events.insert(at.min(events.len()), found);
        Some(Self {
            events,
            ..self.clone()
        })
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
}

/// True in so many cases of a hundred.
fn percent(random: &mut Rng, percent: u8) -> bool {
    random.u8(..100) < percent
}

/// One of these, or `or` where there are none.
fn pick<T: Copy>(random: &mut Rng, from: &[T], or: T) -> T {
    random.choice(from).copied().unwrap_or(or)
}

/// Waves and policy.
fn spec(random: &mut Rng) -> Spec {
    let bake = 15 * u64::from(random.u8(..5));
    let fails = percent(random, 40);
    let mut spec = Spec::small().every_wave(|wave| {
        wave.bake = Duration::from_secs(bake);
        wave.progress_deadline = Duration::from_secs(120);
        if fails {
            wave.on_unreachable = OnUnreachable::Fail;
        }
    });
    for (index, (_, _, policy)) in spec.waves.iter_mut().enumerate() {
        policy.max_concurrent = Amount::Count(1 + u32::from(random.u8(..3)));
        if index > 0 {
            policy.max_failures = Amount::Count(u32::from(random.u8(..2)));
        }
        policy.max_unreachable = Amount::Count(u32::from(random.u8(..2)));
        if percent(random, 50) {
            policy.slot_until = SlotUntil::Baked;
        }
        policy.on_failure = match random.u8(..8) {
            0 => OnFailure::Hold,
            1 | 2 => OnFailure::Isolate,
            _ => OnFailure::Revert,
        };
    }
    spec.gated = percent(random, 92);
    spec.policy.revert.source = match random.u8(..8) {
        0 => RevertSource::Never,
        1 => RevertSource::PullRequest,
        _ => RevertSource::Commit,
    };
    if percent(random, 30) {
        spec.policy.guards.policy_with_content = PolicyWithContent::Allow;
    }
    spec
}

/// So many draws until an event of some kind is given up: the rarest comes up once in a few thousand.
const MOST_DRAWS: usize = 200_000;

/// How often each group of events comes up.
struct Weights {
    groups: Vec<(Group, u32)>,
    bad: u8,
}

#[derive(Debug, Clone, Copy)]
enum Group {
    Rounds,
    Commits,
    OddCommits,
    Health,
    Network,
    Deliveries,
    Races,
    Crashes,
    Stops,
    Clocks,
    Vandals,
    Requests,
}

/// What some schedules leave out.
const SOMETIMES: [Group; 10] = [
    Group::OddCommits,
    Group::Health,
    Group::Network,
    Group::Deliveries,
    Group::Races,
    Group::Crashes,
    Group::Stops,
    Group::Clocks,
    Group::Vandals,
    Group::Requests,
];

impl Weights {
    /// Everything comes up equally often.
    fn equal() -> Self {
        let always = [Group::Rounds, Group::Commits];
        Self {
            groups: always
                .into_iter()
                .chain(SOMETIMES)
                .map(|group| (group, 1))
                .collect(),
            bad: 30,
        }
    }

    fn new(random: &mut Rng) -> Self {
        let mut groups = vec![(Group::Rounds, 12), (Group::Commits, 4)];
        for group in SOMETIMES {
            groups.push((group, pick(random, &[0, 0, 1, 3, 6], 1)));
        }
        Self {
            groups,
            bad: pick(random, &[10, 30, 60], 30),
        }
    }

    fn group(&self, random: &mut Rng) -> Group {
        let total: u32 = self.groups.iter().map(|(_, weight)| weight).sum();
        let mut left = random.u64(..u64::from(total.max(1)));
        for (group, weight) in &self.groups {
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => return *group,
            }
        }
        Group::Rounds
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

fn event(random: &mut Rng, weights: &Weights, controllers: u8) -> Event {
    match weights.group(random) {
        Group::Rounds => Event::Rounds(
            1 + random.u8(..12),
            pick(
                random,
                &[Order::Forward, Order::Backward, Order::Abreast],
                Order::Forward,
            ),
        ),
        Group::Commits => {
            let region = random.u8(..8);
            let word = if percent(random, weights.bad) {
                BAD
            } else {
                random.u8(..BAD)
            };
            Event::Commit { region, word }
        }
        Group::OddCommits => match random.u8(..8) {
            0 => Event::Fix {
                word: random.u8(..BAD),
            },
            1 => Event::Undo,
            2 => Event::Broken(true),
            3 => Event::Broken(false),
            4 => Event::RewriteConfig {
                word: random.u8(..=BAD),
            },
            5 => Event::Guarded {
                region: random.u8(..5),
                reason: pick(
                    random,
                    &[HoldReason::DeletionGuard, HoldReason::ProtectedKind],
                    HoldReason::DeletionGuard,
                ),
            },
            _ => Event::Spec(random.u8(..6)),
        },
        Group::Health => Event::Health {
            region: random.u8(..5),
            health: pick(
                random,
                &[
                    Health::Well,
                    Health::Well,
                    Health::Well,
                    Health::Ill,
                    Health::Ill,
                    Health::Dark,
                    Health::Dark,
                    Health::Lagging,
                    Health::Denied,
                    Health::Flapping,
                ],
                Health::Well,
            ),
        },
        Group::Network => Event::Network {
            branch: random.u8(..5),
            fault: if percent(random, 35) {
                None
            } else {
                Some(pick(random, &FAULTS, Fault::Lost))
            },
        },
        Group::Deliveries => match random.u8(..4) {
            0 => Event::Deliver,
            1 => Event::DeliverEntry(random.u8(..2)),
            _ => Event::DeliverPush(random.u8(..3)),
        },
        Group::Races => {
            let controller = random.u8(..controllers);
            if percent(random, 50) {
                Event::Decide(controller)
            } else {
                Event::Act(controller)
            }
        }
        Group::Crashes => Event::Crash {
            controller: random.u8(..controllers),
            keeps_cache: percent(random, 40),
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
            1 => Event::Sleep {
                hours: 1 + random.u8(..9),
                suspended: false,
            },
            _ => Event::Sleep {
                hours: 1 + random.u8(..9),
                suspended: true,
            },
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
