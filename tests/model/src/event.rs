//! What can happen in a state, and what comes of it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::simulation::auditor::audit;
use tidegate_waves::rollout::simulation::network::{Fault, LOG, LateAppend};
use tidegate_waves::rollout::simulation::world::{Logged, World, id, wave_ref};
use tidegate_waves::rollout::{HoldReason, Now, PushOrder, RequestOption, Step, Verb, decide};

use crate::configuration::{Answer, Configuration, Newer};
use crate::mutant::Mutant;
use crate::state::State;

/// How far time goes on at once: the gates' interval, the bake, and how long a foreign log must stand still.
pub const TICK: Duration = Duration::from_secs(15);

/// How old an answer is when it is looked at: an answer is never as new as the look that counts it.
const ANSWER: Duration = Duration::from_secs(1);

/// How a controller stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stop {
    /// It dies, and comes back without its cache.
    Killed,
    /// It dies, and comes back with its cache.
    KilledWithCache,
    /// It stands still, and goes on as if nothing had happened.
    Frozen,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A controller looks, and finds nothing to do.
    Look(usize),
    /// A controller looks, and does what there is to do: it writes an entry, or pushes branches.
    Act(usize, String),
    /// The same, but what it sends to this ref is under way for any time.
    Delay(usize, String, String),
    /// A push under way arrives.
    Arrive(String),
    /// An entry under way arrives.
    ArriveEntry(EntryKind),
    /// A controller stops.
    Stop(usize, Stop),
    /// It goes on.
    Start(usize),
    /// The tree that the commit brings a region turns out to be harmful.
    TurnsIll(&'static str),
    /// Somebody commits to the config branch.
    Newer(Newer),
    /// Somebody else commits to a wave branch.
    Drift(&'static str),
    /// A person answers drift.
    Answer(Answer),
    /// Time goes on, and regions answer.
    Tick,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Look(who) => write!(f, "controller {who} looks and has nothing to do"),
            Self::Act(who, what) => write!(f, "controller {who} {what}"),
            Self::Delay(who, what, reference) => {
                write!(
                    f,
                    "controller {who} {what}; what it sends to {reference} is delayed"
                )
            }
            Self::Arrive(reference) => write!(f, "the delayed push of {reference} arrives"),
            Self::ArriveEntry(kind) => write!(f, "the delayed {kind} entry arrives"),
            Self::Stop(who, how) => write!(f, "controller {who} stops: {how:?}"),
            Self::Start(who) => write!(f, "controller {who} goes on"),
            Self::TurnsIll(region) => write!(f, "what {region} is to have turns out to be harmful"),
            Self::Newer(Newer::Commit) => f.write_str("somebody commits to the config branch"),
            Self::Newer(Newer::Hotfix) => f.write_str("somebody commits and asks for a hotfix"),
            Self::Drift(wave) => write!(f, "somebody else commits to the branch of {wave}"),
            Self::Answer(answer) => write!(f, "a person answers drift: {answer:?}"),
            Self::Tick => f.write_str("time goes on"),
        }
    }
}

/// Everything that can happen in a state, in a fixed order, with what comes of it.
#[must_use]
pub fn successors(
    configuration: &Configuration,
    mutant: Option<Mutant>,
    state: &State,
) -> Vec<(Event, State)> {
    let mut found = Vec::new();
    let mut is_quiet = true;
    for who in 0..state.world.controllers.len() {
        if state
            .world
            .controllers
            .get(who)
            .is_some_and(|one| one.alive)
        {
            is_quiet &= !turns(mutant, state, who, &mut found);
        }
    }
    arrivals(mutant, state, &mut found);
    let stopped = state
        .world
        .controllers
        .iter()
        .position(|controller| !controller.alive);
    let is_under_way = !state.world.delayed.is_empty() || !state.world.late_appends.is_empty();
    if is_quiet && !(is_under_way && state.budget.patience == 0) {
        let mut world = World::clone(&state.world);
        world.pass(TICK.saturating_sub(ANSWER));
        world.sample();
        world.pass(ANSWER);
        if is_awaited(mutant, &world) {
            let mut next = state.with(world);
            next.ticks += 1;
            if is_under_way {
                next.budget.patience -= 1;
            }
            found.push((Event::Tick, next));
        }
    }
    match stopped {
        Some(who) => {
            let mut world = World::clone(&state.world);
            if let Some(controller) = world.controllers.get_mut(who) {
                controller.alive = true;
            }
            found.push((Event::Start(who), state.with(world)));
        }
        // Where nothing more would happen, nobody's end matters.
        None if state.budget.stops > 0 && !found.is_empty() => stops(state, &mut found),
        None => {}
    }
    people(configuration, mutant, state, &mut found);
    found
}

/// Whether time changes anything: somebody says so, or would find something to do after it. Where neither is so, the
/// world is at rest.
fn is_awaited(mutant: Option<Mutant>, after: &World) -> bool {
    let is_alive = |who: &usize| after.controllers.get(*who).is_some_and(|one| one.alive);
    (0..after.controllers.len()).filter(is_alive).any(|who| {
        after.controllers.get(who).is_some_and(|one| one.busy) || {
            let mut thought = after.clone();
            think(&mut thought, who, mutant);
            thought
                .controllers
                .get(who)
                .and_then(|one| one.pending.as_ref())
                .is_some_and(|(_, step)| step.append.is_some() || !step.pushes.is_empty())
        }
    })
}

/// What a controller does next; tells whether that is anything at all.
fn turns(
    mutant: Option<Mutant>,
    state: &State,
    who: usize,
    found: &mut Vec<(Event, State)>,
) -> bool {
    let mut thought = World::clone(&state.world);
    think(&mut thought, who, mutant);
    // What is delayed stays so: whoever sends it again waits on the same slow way, or the delay would be none.
    let under_way = thought.delayed.clone();
    if let Some((_, step)) = thought
        .controllers
        .get_mut(who)
        .and_then(|controller| controller.pending.as_mut())
    {
        step.pushes.retain(|order| !under_way.contains(order));
    }
    let Some((_, step)) = thought
        .controllers
        .get(who)
        .and_then(|controller| controller.pending.as_ref())
    else {
        return false;
    };
    let what = in_words(step);
    let references: Vec<String> = match &step.append {
        Some(_) => vec![LOG.to_owned()],
        None => step
            .pushes
            .iter()
            .map(|order| order.reference.clone())
            .collect(),
    };
    if references.is_empty() {
        act(&mut thought, who, mutant);
        let next = state.with(thought);
        let changed = next.number() != state.number();
        if changed {
            found.push((Event::Look(who), next));
        }
        return changed;
    }
    if state.budget.delays > 0 {
        for reference in references {
            let mut world = thought.clone();
            world.faults.insert(reference.clone(), Fault::Delayed);
            act(&mut world, who, mutant);
            world.faults.clear();
            let mut next = judged(mutant, state, world);
            next.budget.delays -= 1;
            for order in &next.world.delayed {
                next.senders.entry(order.new).or_insert((who, false));
            }
            found.push((Event::Delay(who, what.clone(), reference), next));
        }
    }
    act(&mut thought, who, mutant);
    let next = judged(mutant, state, thought);
    if next.number() == state.number() {
        return false;
    }
    found.push((Event::Act(who, what), next));
    true
}

fn in_words(step: &Step) -> String {
    match &step.append {
        Some(append) => format!(
            "writes {}{}: {}",
            append.entry.kind,
            append
                .entry
                .wave
                .as_ref()
                .map(|wave| format!(" [{wave}]"))
                .unwrap_or_default(),
            append.entry.subject
        ),
        None => format!(
            "pushes {}",
            step.pushes
                .iter()
                .map(|order| order.reference.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

/// What [`World::think`] does, with a broken rule if there is one.
fn think(world: &mut World, who: usize, mutant: Option<Mutant>) {
    let Some(mutant) = mutant else {
        world.think(who);
        return;
    };
    let state = world.state().clone();
    let seen = mutant.seen(&state, world.observe(who));
    let now = Now {
        monotonic: world.monotonic(who),
        wall: world.wall(),
    };
    let Some(controller) = world.controllers.get_mut(who) else {
        return;
    };
    let seq = state.seq;
    let step = mutant.decided(decide(&mutant.shown(state), &controller.watch, &seen, now));
    controller.watch = step.watch.clone();
    controller.probes.clone_from(&step.probes);
    controller.busy = step.busy;
    controller.pending = Some((seq, step));
}

/// What [`World::act`] does, with a broken rule if there is one.
fn act(world: &mut World, who: usize, mutant: Option<Mutant>) {
    let pending = world
        .controllers
        .get(who)
        .and_then(|controller| controller.pending.clone());
    match (mutant, pending) {
        (Some(Mutant::NoLease), Some((_, step))) if step.append.is_none() => {
            for order in step.pushes {
                if world.faults.contains_key(&order.reference) {
                    world.delayed.push(order);
                } else {
                    replace(world, order);
                }
            }
            if let Some(controller) = world.controllers.get_mut(who) {
                controller.pending = None;
            }
        }
        (Some(Mutant::BranchBeforeIntent), Some((seq, step))) => {
            let drafts = step.append.map(|append| append.drafts).unwrap_or_default();
            for draft in drafts {
                let stands = world.refs.get(&draft.reference).copied();
                if stands.unwrap_or(Oid::ZERO) == draft.old {
                    let (reference, old) = (draft.reference.clone(), draft.old);
                    let new = world.make(&draft, seq);
                    replace(
                        world,
                        PushOrder {
                            reference,
                            old,
                            new,
                        },
                    );
                }
            }
            world.act(who);
        }
        _ => {
            world.act(who);
        }
    }
}

/// The ref stands where the push wants it, whatever stood there.
fn replace(world: &mut World, order: PushOrder) {
    let stood = world.refs.insert(order.reference.clone(), order.new);
    world.pushed.push((
        order.reference,
        stood.unwrap_or(Oid::ZERO),
        order.new,
        String::new(),
    ));
}

/// The entry comes on top, whatever stands there.
fn put_on_top(world: &mut World, late: LateAppend) {
    let made = late
        .append
        .complete(|draft| Ok::<_, Infallible>(world.make(draft, late.seq)));
    let (entry, intents, state) = match made {
        Ok(made) => made,
        Err(impossible) => match impossible {},
    };
    let at = world.now;
    world.log.push(Arc::new(Logged {
        entry,
        intents,
        state,
        at,
    }));
}

/// Pushes and entries under way arrive, whoever sent them and whatever came of them since.
fn arrivals(mutant: Option<Mutant>, state: &State, found: &mut Vec<(Event, State)>) {
    for which in 0..state.world.delayed.len() {
        let mut world = World::clone(&state.world);
        let Some(order) = world.delayed.get(which).cloned() else {
            continue;
        };
        if mutant == Some(Mutant::NoLease) {
            world.delayed.remove(which);
            replace(&mut world, order.clone());
        } else {
            world.deliver_push(which);
        }
        let mut next = judged(mutant, state, world);
        next.landed_late |= state
            .senders
            .get(&order.new)
            .is_some_and(|(_, is_dead)| *is_dead);
        found.push((Event::Arrive(order.reference), next));
    }
    for which in 0..state.world.late_appends.len() {
        let mut world = World::clone(&state.world);
        let Some(kind) = world
            .late_appends
            .get(which)
            .map(|late| late.append.entry.kind)
        else {
            continue;
        };
        if mutant == Some(Mutant::NoLeaseOnTheLog) {
            let late = world.late_appends.remove(which);
            put_on_top(&mut world, late);
        } else {
            world.deliver_entry(which);
        }
        found.push((Event::ArriveEntry(kind), judged(mutant, state, world)));
    }
}

fn stops(state: &State, found: &mut Vec<(Event, State)>) {
    for who in 0..state.world.controllers.len() {
        for how in [Stop::Killed, Stop::KilledWithCache, Stop::Frozen] {
            let mut world = World::clone(&state.world);
            if how != Stop::Frozen {
                let sums = world
                    .controllers
                    .get(who)
                    .map(|controller| controller.watch.sums())
                    .unwrap_or_default();
                world.crash(who);
                if how == Stop::KilledWithCache
                    && let Some(controller) = world.controllers.get_mut(who)
                {
                    controller.recovered = sums.into_iter().collect();
                }
            }
            if let Some(controller) = world.controllers.get_mut(who) {
                controller.alive = false;
            }
            let mut next = state.with(world);
            next.budget.stops -= 1;
            if how != Stop::Frozen {
                for (sender, is_dead) in next.senders.values_mut() {
                    *is_dead |= *sender == who;
                }
            }
            found.push((Event::Stop(who, how), next));
        }
    }
}

fn people(
    configuration: &Configuration,
    mutant: Option<Mutant>,
    state: &State,
    found: &mut Vec<(Event, State)>,
) {
    if let Some(region) = configuration.turns_ill.filter(|_| state.budget.illness) {
        let mut world = World::clone(&state.world);
        if let Some(tree) = world.head().map(|head| world.tree(head, region)) {
            world.bad_trees.insert(tree);
        }
        let mut next = judged(mutant, state, world);
        next.budget.illness = false;
        found.push((Event::TurnsIll(region), next));
    }
    if let Some(newer) = configuration.newer.filter(|_| state.budget.newer) {
        let mut world = World::clone(&state.world);
        let commit = world.commit(&[("all", "v3")]);
        if newer == Newer::Hotfix {
            world.request(Verb::Hotfix).to = Some(commit);
        }
        let mut next = judged(mutant, state, world);
        next.budget.newer = false;
        found.push((Event::Newer(newer), next));
    }
    let Some(drift) = configuration.drift else {
        return;
    };
    if state.budget.drift && state.world.refs.contains_key(&wave_ref(drift.wave)) {
        let mut world = World::clone(&state.world);
        let region = crate::region_of(drift.wave);
        world.drift(drift.wave, region, Some(id(&"theirs")));
        let mut next = judged(mutant, state, world);
        next.budget.drift = false;
        found.push((Event::Drift(drift.wave), next));
    }
    let is_held = state
        .world
        .state()
        .holds
        .iter()
        .any(|hold| hold.reason == HoldReason::Drift);
    if state.budget.answer && is_held {
        let mut world = World::clone(&state.world);
        world.request(Verb::Resume).option = Some(match drift.answer {
            Answer::Adopt => RequestOption::Adopt,
            Answer::Restore => RequestOption::Restore,
        });
        let mut next = judged(mutant, state, world);
        next.budget.answer = false;
        found.push((Event::Answer(drift.answer), next));
    }
}

/// The state after this, and what the auditor says to it. What is under way and can arrive no more is forgotten: its
/// compare-and-swap names what no ref will ever stand at again.
fn judged(mutant: Option<Mutant>, state: &State, mut world: World) -> State {
    let refs = world.refs.clone();
    if mutant != Some(Mutant::NoLease) {
        world
            .delayed
            .retain(|order| refs.get(&order.reference).copied().unwrap_or(Oid::ZERO) == order.old);
    }
    if mutant != Some(Mutant::NoLeaseOnTheLog) {
        let seq = world.state().seq;
        world.late_appends.retain(|late| late.seq == seq);
    }
    let changed = world.log.len() != state.world.log.len()
        || world.refs != state.world.refs
        || world.pushed.len() != state.world.pushed.len()
        || world.sent.len() != state.world.sent.len();
    let wrong = if changed { audit(&world) } else { Vec::new() };
    let mut next = state.with(world);
    if !wrong.is_empty() {
        let known: BTreeSet<String> = next.wrong.iter().cloned().chain(wrong).collect();
        next.wrong = Arc::new(known.into_iter().collect());
    }
    next
}
