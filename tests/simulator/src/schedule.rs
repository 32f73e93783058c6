//! From a seed to a fleet and a list of events.
//!
//! Each seed draws its own weights first, and some kinds of events not at all, so that few things happen often
//! rather than everything a little (swarm testing: Groce, Zhang, Eide, Chen and Regehr, ISSTA 2012).

use std::time::Duration;

use tidegate_waves::amount::Amount;
use tidegate_waves::fleet::{OnFailure, OnUnreachable, PolicyWithContent, RevertSource, SlotUntil};
use tidegate_waves::rollout::simulation::network::Fault;
use tidegate_waves::rollout::simulation::world::Spec;
use tidegate_waves::rollout::{HoldReason, RequestOption, Verb};

use crate::event::{BAD, Event, Foreign, Health, Order};
use crate::random::Random;

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
        let mut random = Random::new(seed);
        let spec = spec(&mut random);
        let controllers = random.pick(&[1, 2, 2, 2, 3], 2);
        let weights = Weights::new(&mut random);
        let length = 6 + random.below(30);
        let mut events = vec![Event::Commit {
            region: random.below(8),
            word: random.below(BAD + 1),
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

/// Waves and policy.
fn spec(random: &mut Random) -> Spec {
    let bake = 15 * u64::from(random.below(5));
    let fails = random.percent(40);
    let mut spec = Spec::small().every_wave(|wave| {
        wave.bake = Duration::from_secs(bake);
        wave.progress_deadline = Duration::from_secs(120);
        if fails {
            wave.on_unreachable = OnUnreachable::Fail;
        }
    });
    for (index, (_, _, policy)) in spec.waves.iter_mut().enumerate() {
        policy.max_concurrent = Amount::Count(1 + u32::from(random.below(3)));
        if index > 0 {
            policy.max_failures = Amount::Count(u32::from(random.below(2)));
        }
        policy.max_unreachable = Amount::Count(u32::from(random.below(2)));
        if random.percent(50) {
            policy.slot_until = SlotUntil::Baked;
        }
        policy.on_failure = match random.below(8) {
            0 => OnFailure::Hold,
            1 | 2 => OnFailure::Isolate,
            _ => OnFailure::Revert,
        };
    }
    spec.gated = random.percent(92);
    spec.policy.revert.source = match random.below(8) {
        0 => RevertSource::Never,
        1 => RevertSource::PullRequest,
        _ => RevertSource::Commit,
    };
    if random.percent(30) {
        spec.policy.guards.policy_with_content = PolicyWithContent::Allow;
    }
    spec
}

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

impl Weights {
    fn new(random: &mut Random) -> Self {
        let mut groups = vec![(Group::Rounds, 12), (Group::Commits, 4)];
        for group in [
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
        ] {
            groups.push((group, random.pick(&[0, 0, 1, 3, 6], 1)));
        }
        Self {
            groups,
            bad: random.pick(&[10, 30, 60], 30),
        }
    }

    fn group(&self, random: &mut Random) -> Group {
        let total: u32 = self.groups.iter().map(|(_, weight)| weight).sum();
        let mut left = random.any() % u64::from(total.max(1));
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

fn event(random: &mut Random, weights: &Weights, controllers: u8) -> Event {
    match weights.group(random) {
        Group::Rounds => Event::Rounds(
            1 + random.below(12),
            random.pick(
                &[Order::Forward, Order::Backward, Order::Abreast],
                Order::Forward,
            ),
        ),
        Group::Commits => {
            let region = random.below(8);
            let word = if random.percent(weights.bad) {
                BAD
            } else {
                random.below(BAD)
            };
            Event::Commit { region, word }
        }
        Group::OddCommits => match random.below(8) {
            0 => Event::Fix {
                word: random.below(BAD),
            },
            1 => Event::Undo,
            2 => Event::Broken(true),
            3 => Event::Broken(false),
            4 => Event::RewriteConfig {
                word: random.below(BAD + 1),
            },
            5 => Event::Guarded {
                region: random.below(5),
                reason: random.pick(
                    &[HoldReason::DeletionGuard, HoldReason::ProtectedKind],
                    HoldReason::DeletionGuard,
                ),
            },
            _ => Event::Spec(random.below(6)),
        },
        Group::Health => Event::Health {
            region: random.below(5),
            health: random.pick(
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
            branch: random.below(5),
            fault: if random.percent(35) {
                None
            } else {
                Some(random.pick(&FAULTS, Fault::Lost))
            },
        },
        Group::Deliveries => match random.below(4) {
            0 => Event::Deliver,
            1 => Event::DeliverEntry(random.below(2)),
            _ => Event::DeliverPush(random.below(3)),
        },
        Group::Races => {
            let controller = random.below(controllers);
            if random.percent(50) {
                Event::Decide(controller)
            } else {
                Event::Act(controller)
            }
        }
        Group::Crashes => Event::Crash {
            controller: random.below(controllers),
            keeps_cache: random.percent(40),
        },
        Group::Stops => {
            let controller = random.below(controllers);
            match random.below(4) {
                0 => Event::Stop(controller),
                1 => Event::Suspend(controller),
                _ => Event::Continue(controller),
            }
        }
        Group::Clocks => match random.below(3) {
            0 => Event::WallClock(i8::try_from(random.below(49)).unwrap_or(0) - 24),
            1 => Event::Sleep {
                hours: 1 + random.below(9),
                suspended: false,
            },
            _ => Event::Sleep {
                hours: 1 + random.below(9),
                suspended: true,
            },
        },
        Group::Vandals => match random.below(6) {
            0 => Event::Delete(random.below(3)),
            1 => Event::Rewind(random.below(3)),
            _ => Event::Drift {
                wave: random.below(3),
                region: random.below(5),
                what: random.pick(
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
            let verb = random.pick(&VERBS, Verb::Hold);
            let option = match verb {
                Verb::Resume => random.pick(
                    &[
                        None,
                        Some(RequestOption::Adopt),
                        Some(RequestOption::Restore),
                    ],
                    None,
                ),
                Verb::Abort => random.pick(&[None, Some(RequestOption::Keep)], None),
                _ => None,
            };
            Event::Ask {
                verb,
                option,
                region: random.below(8),
            }
        }
    }
}
