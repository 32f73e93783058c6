//! Everything works again: it comes to rest, and people who answer what waits for them get what they want.

use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::simulation::auditor::left_behind;
use tidegate_waves::rollout::simulation::world::{MAIN, World, wave_ref};
use tidegate_waves::rollout::{HoldReason, RequestOption, Verb};

use crate::event::{Health, Order, REGIONS};
use crate::run::Run;

/// Rounds without an entry and without anybody busy, after which the world is at rest: longer than the longest pause
/// before a refused push is tried again, where one is open.
const STILL: usize = 6;

/// See [`STILL`].
const STILL_WITH_MOVES: usize = 30;

/// Rounds in which it must have come to rest: two hours, far more than all deadlines and pauses together.
const PATIENCE: usize = 1_440;

/// Takes all faults away; gives what is wrong then.
pub(crate) fn settle(run: &mut Run, seed: u64) -> Vec<String> {
    run.world.faults.clear();
    for region in REGIONS {
        run.health(region, Health::Well);
    }
    // What is still under way arrives now, or when all is over, or never.
    if seed.is_multiple_of(3) {
        run.world.deliver();
    }
    for controller in &mut run.world.controllers {
        controller.alive = true;
        controller.suspended = false;
    }
    if !rest(run) {
        return vec!["it does not come to rest although nothing is wrong".to_owned()];
    }
    if seed % 3 == 1 {
        run.world.deliver();
        if !rest(run) {
            return vec!["late pushes keep it from rest".to_owned()];
        }
    }
    let mut wrong = run.check();
    wrong.extend(left_open(&run.world));
    if wrong.is_empty() {
        wrong = people_mend_it(run);
    }
    wrong
}

/// Rounds without an entry after which the world is at rest although a controller goes on looking, where a hold stands
/// that ends by itself as soon as a region answers well: more than the deadline and three bakes of any schedule.
const STILL_WHILE_AWAITED: usize = 120;

/// Rounds until nothing happens any more.
fn rest(run: &mut Run) -> bool {
    let mut still = 0;
    let mut silent = 0;
    for _ in 0..PATIENCE {
        let before = run.world.log.len();
        run.round(Order::Forward);
        let busy = run
            .world
            .controllers
            .iter()
            .any(|controller| controller.busy);
        let awaited = run
            .world
            .state()
            .holds
            .iter()
            .any(|hold| hold.reason.may_end_by_itself());
        silent = if awaited && run.world.log.len() == before {
            silent + 1
        } else {
            0
        };
        if silent >= STILL_WHILE_AWAITED {
            return true;
        }
        if busy || run.world.log.len() != before {
            still = 0;
        } else {
            still += 1;
        }
        let moves = !run.world.state().intents.is_empty();
        if still >= if moves { STILL_WITH_MOVES } else { STILL } {
            return true;
        }
    }
    false
}

/// What should have come to an end and has not.
fn left_open(world: &World) -> Vec<String> {
    let state = world.state();
    let mut wrong: Vec<String> = state
        .intents
        .iter()
        .filter(|intent| {
            intent.draft.reference != MAIN && !world.damaged.contains(&intent.draft.reference)
        })
        .map(|intent| format!("a move of {} stays open", intent.draft.reference))
        .collect();
    if state.holds.is_empty() {
        if let Some(rollout) = state.active() {
            wrong.push(format!(
                "rollout {} stays {:?} although nothing holds it",
                rollout.id, rollout.state
            ));
        } else if !is_dealt_with(world) {
            wrong.push(
                "the config branch's head is left alone although nothing holds it".to_owned(),
            );
        }
    }
    let left = left_behind(world).into_iter();
    wrong.extend(left.map(|region| format!("{region} keeps what failed")));
    wrong
}

/// Whether the head of the config branch is settled, or known not to be for opening.
fn is_dealt_with(world: &World) -> bool {
    let state = world.state();
    let head = world.head();
    let settled = state.settled.as_ref().map(|settled| settled.source);
    head == settled || head == state.invalid || head == state.not_again
}

/// People answer every hold and commit something good: it succeeds everywhere.
fn people_mend_it(run: &mut Run) -> Vec<String> {
    for attempt in 0..12 {
        if attempt == 1 {
            let mut changes = vec![("all", "mended"), ("broken", "")];
            changes.extend(REGIONS.map(|region| (region, "mended")));
            run.commit(&changes);
        } else if !answer_holds(run) && attempt > 1 {
            break;
        }
        if !rest(run) {
            return vec!["it does not come to rest after people answered".to_owned()];
        }
        let wrong = run.check();
        if !wrong.is_empty() {
            return wrong;
        }
    }
    let world = &run.world;
    let state = world.state();
    let mut wrong: Vec<String> = state
        .holds
        .iter()
        .filter(|hold| hold.reason.stops_advancing())
        .map(|hold| format!("{:?} cannot be ended by people", hold.reason))
        .collect();
    if !is_dealt_with(world) || state.settled.as_ref().map(|settled| settled.source) != world.head()
    {
        wrong.push("a good commit does not succeed although people answered everything".to_owned());
    }
    wrong
}

/// Asks for what ends each hold; tells whether there was any.
fn answer_holds(run: &mut Run) -> bool {
    let holds = run.world.state().holds.clone();
    let mut asked = std::collections::BTreeSet::new();
    for hold in holds {
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
                push_back(&mut run.world);
                continue;
            }
            HoldReason::Quarantined => (Verb::Retry, None),
            _ => (Verb::Resume, None),
        };
        if asked.insert(wanted) {
            let request = run.world.request(wanted.0);
            request.option = wanted.1;
        }
    }
    !asked.is_empty()
}

/// Puts the wave branches back where the log knows them to be, as the manual says.
fn push_back(world: &mut World) {
    let lost: Vec<(String, Oid)> = world
        .state()
        .branches
        .iter()
        .filter_map(|(wave, branch)| Some((wave_ref(wave), branch.tip?)))
        .filter(|(reference, tip)| {
            world
                .refs
                .get(reference)
                .is_some_and(|at| !is_ancestor(world, *tip, *at))
        })
        .collect();
    world.refs.extend(lost);
}

fn is_ancestor(world: &World, wanted: Oid, of: Oid) -> bool {
    let mut at = Some(of);
    while let Some(commit) = at {
        if commit == wanted {
            return true;
        }
        at = world.commits.get(&commit).and_then(|commit| commit.parent);
    }
    false
}
