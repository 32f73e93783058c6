//! The model as stateright takes it: where it begins, what can happen, and what must hold.

use std::collections::BTreeSet;

use stateright::{Model, Property};
use tidegate_waves::fleet::Sampling;
use tidegate_waves::log::{EntryKind, MoveKind, Outcome};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::simulation::world::{Spec, World};

use crate::configuration::{Answer, Configuration, Newer, REGIONS, WAVES};
use crate::event::{Event, TICK, successors};
use crate::mutant::Mutant;
use crate::state::{Budget, State};
use crate::undisturbed::{End, ends};

/// How often time may go on while a push is under way: longer than the deadline after which a seal is given up.
const PATIENCE: u8 = 4;

/// Longer than any run within the bounds.
const MOST_TICKS: u32 = 60;

/// One search over all that can happen.
#[derive(Debug)]
pub struct Rollouts {
    configuration: Configuration,
    mutant: Option<Mutant>,
    starts: Vec<State>,
    /// Where each start may end.
    allowed: Vec<BTreeSet<End>>,
}

/// Something that happens, with what comes of it: it is worked out once, where it is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// What happens.
    pub event: Event,
    then: State,
}

impl Rollouts {
    /// The search of a configuration, of the rules as they are or broken.
    #[must_use]
    pub fn new(configuration: Configuration, mutant: Option<Mutant>) -> Self {
        let starts: Vec<State> = configuration
            .harm_in
            .iter()
            .enumerate()
            .map(|(search, harm_in)| start(&configuration, search, *harm_in))
            .collect();
        let allowed = starts
            .iter()
            .map(|start| ends(&configuration, start))
            .collect();
        Self {
            configuration,
            mutant,
            starts,
            allowed,
        }
    }

    /// Where each start may end.
    #[must_use]
    pub fn allowed(&self) -> &[BTreeSet<End>] {
        &self.allowed
    }

    fn ends_as_allowed(&self, state: &State) -> bool {
        self.allowed
            .get(state.search)
            .is_some_and(|allowed| allowed.contains(&End::of(&state.world)))
            && successors(&self.configuration, self.mutant, state).is_empty()
    }
}

/// A fleet whose first commit succeeded, two controllers, and the next commit on the config branch.
fn start(configuration: &Configuration, search: usize, harm_in: Option<usize>) -> State {
    let mut spec = Spec::small().every_wave(|wave| {
        wave.bake = TICK;
        wave.progress_deadline = TICK * 4;
    });
    for (wave, region) in WAVES.iter().zip(REGIONS) {
        spec = spec.members(wave, &[region]);
    }
    spec.sampling = Sampling {
        settle: Some(std::time::Duration::ZERO),
        every: TICK,
        successes: 1,
        failures: 1,
        ..Sampling::default()
    };
    let mut world = World::settled(spec);
    for name in ["b", "c"]
        .iter()
        .take(configuration.controllers.saturating_sub(1))
    {
        world.add_controller(name);
    }
    let commit = world.commit(&[("all", "v2")]);
    if let Some(region) = harm_in.and_then(|wave| REGIONS.get(wave)) {
        let tree = world.tree(commit, region);
        world.bad_trees.insert(tree);
    }
    let budget = Budget {
        delays: configuration.delays,
        patience: PATIENCE,
        stops: configuration.stops,
        illness: configuration.turns_ill.is_some(),
        newer: configuration.newer.is_some(),
        drift: configuration.drift.is_some(),
        answer: configuration.drift.is_some(),
    };
    State::new(world, budget, search)
}

fn is_kept(state: &State, promise: &str) -> bool {
    !state.wrong.iter().any(|wrong| wrong.contains(promise))
}

fn has(state: &State, kind: EntryKind) -> bool {
    state
        .world
        .log
        .iter()
        .any(|logged| logged.entry.kind == kind)
}

impl Model for Rollouts {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.starts.clone()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What is broken already need not be looked at any further.
        if !state.wrong.is_empty() || state.ticks > MOST_TICKS {
            return;
        }
        actions.extend(
            successors(&self.configuration, self.mutant, state)
                .into_iter()
                .map(|(event, then)| Action { event, then }),
        );
    }

    fn next_state(&self, _: &State, action: Action) -> Option<State> {
        Some(action.then)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("promise 1: waves in order", |_, state: &State| {
                is_kept(state, "promise 1:")
            }),
            Property::always(
                "promise 2: no promotion behind an ending",
                |_, state: &State| is_kept(state, "promise 2:"),
            ),
            Property::always(
                "promise 3: commits and intents agree",
                |_, state: &State| is_kept(state, "promise 3:"),
            ),
            Property::always("promise 4: forward only", |_, state: &State| {
                is_kept(state, "promise 4:")
            }),
            Property::always("promise 5: only the batch's folders", |_, state: &State| {
                is_kept(state, "promise 5:")
            }),
            Property::always(
                "promise 7: one revert, with its reason",
                |_, state: &State| is_kept(state, "promise 7:"),
            ),
            Property::always("promise 8: positive evidence", |_, state: &State| {
                is_kept(state, "promise 8:")
            }),
            Property::always("promise 9: the plan stays frozen", |_, state: &State| {
                is_kept(state, "promise 9:")
            }),
            Property::always(
                "everything else that the auditor looks at",
                |_, state: &State| state.wrong.iter().all(|wrong| wrong.contains("promise ")),
            ),
            Property::always("it comes to rest", |_, state: &State| {
                state.ticks <= MOST_TICKS
            }),
            Property::eventually(
                "promise 10: ends where an undisturbed run ends",
                |model: &Self, state: &State| model.ends_as_allowed(state),
            ),
        ];
        properties.extend(self.reachable());
        properties
    }
}

impl Rollouts {
    /// What must be reached for a search to mean something.
    fn reachable(&self) -> Vec<Property<Self>> {
        let configuration = &self.configuration;
        let mut properties = Vec::new();
        if configuration.controllers > 1 && configuration.stops > 0 {
            properties.push(Property::sometimes("a takeover", |_, state: &State| {
                has(state, EntryKind::TakeOver)
            }));
        }
        if configuration.delays > 0 && configuration.stops > 0 {
            properties.push(Property::sometimes(
                "a push that lands after its sender was killed",
                |_, state: &State| state.landed_late,
            ));
        }
        if configuration.harm_in.iter().any(Option::is_some) {
            properties.push(Property::sometimes("a give-back", |_, state: &State| {
                has(state, EntryKind::Failed)
            }));
        }
        if configuration.newer == Some(Newer::Hotfix) {
            properties.push(Property::sometimes(
                "a superseding",
                |_: &Self, state: &State| has(state, EntryKind::Superseded),
            ));
        }
        // Harm comes with an answer, and by then a promotion is open only if its push is delayed.
        if configuration.turns_ill.is_some() && configuration.delays > 0
            || configuration.newer == Some(Newer::Hotfix)
        {
            properties.push(Property::sometimes(
                "a promotion that is sealed",
                |_: &Self, state: &State| was_applied(state, MoveKind::Seal),
            ));
        }
        match configuration.drift.map(|drift| drift.answer) {
            Some(Answer::Restore) => properties.push(Property::sometimes(
                "drift that is restored",
                |_: &Self, state: &State| was_applied(state, MoveKind::Restore),
            )),
            Some(Answer::Adopt) => properties.push(Property::sometimes(
                "drift that is adopted",
                |_: &Self, state: &State| was_applied(state, MoveKind::Adopt),
            )),
            None => {}
        }
        properties
    }
}

/// Whether a move of this kind was applied.
fn was_applied(state: &State, kind: MoveKind) -> bool {
    let closings: BTreeSet<Oid> = state
        .world
        .log
        .iter()
        .flat_map(|logged| &logged.entry.closed)
        .filter(|closing| closing.outcome == Outcome::Applied)
        .map(|closing| closing.new)
        .collect();
    let mut intents = state.world.log.iter().flat_map(|logged| &logged.intents);
    intents.any(|intent| intent.draft.kind == kind && closings.contains(&intent.new))
}
