//! Everything works again: it comes to rest, and what it came to is judged.

use std::error::Error;
use std::time::Duration;

use super::judging;
use super::people::{LOG, MAIN};
use super::run::{Run, TICK};
use crate::event::{Health, REGIONS};

/// Without anything that moves for so long, and with nothing to be done, it is at rest.
const STILL: Duration = Duration::from_secs(30);

/// The same where something is to be done: longer than every deadline, bake and pause together.
const STILL_WITH_WORK: Duration = Duration::from_secs(420);

/// By then it must have come to rest.
const PATIENCE: Duration = Duration::from_secs(3 * 3_600);

/// Takes all faults away.
pub(super) fn heal(run: &mut Run) -> Result<(), Box<dyn Error>> {
    {
        let mut world = run.world.get();
        world.server.faults.clear();
        world.server.is_down = false;
    }
    for region in REGIONS {
        run.health(region, Health::Well);
    }
    for controller in &mut run.controllers {
        controller.thaw();
        controller.fill(false)?;
        controller.dies = None;
    }
    Ok(())
}

/// Time goes by until nothing happens any more.
pub(super) fn rest(run: &mut Run) -> Result<(), Box<dyn Error>> {
    let began = run.world.get().now;
    let mut moved = (0, began);
    loop {
        run.tick()?;
        if !run.wrong.is_empty() {
            return Ok(());
        }
        let (now, moves) = {
            let world = run.world.get();
            (world.now, world.server.moves.len())
        };
        if moves != moved.0 {
            moved = (moves, now);
        }
        let still = now.saturating_sub(moved.1);
        if still >= STILL_WITH_WORK {
            return Ok(());
        }
        // Asked once a second alone: it means reading the log's state.
        if still >= STILL && still.subsec_millis() < u32::try_from(TICK.as_millis())? {
            let world = run.world.get();
            let state = world
                .server
                .refs
                .get(LOG)
                .map(|tip| judging::state_at(&world.server, *tip))
                .transpose()?;
            let is_done = state.is_some_and(|state| {
                state.active().is_none()
                    && state.intents.is_empty()
                    && state.holds.is_empty()
                    && judging::is_dealt_with(&world.server, &state)
            });
            if is_done {
                return Ok(());
            }
        }
        if now.saturating_sub(began) >= PATIENCE {
            run.wrong
                .push("it does not come to rest although nothing is wrong".to_owned());
            return Ok(());
        }
    }
}

/// It is at rest: what is so is kept, and what should have come to an end and has not is wrong.
pub(super) fn check(run: &mut Run) -> Result<(), Box<dyn Error>> {
    if !run.wrong.is_empty() {
        return Ok(());
    }
    let Some(state) = run.state()? else {
        // A log begins with the first head that is valid.
        if run.people.is_head_valid()? {
            run.wrong
                .push("there is no log although nothing is wrong".to_owned());
        }
        return Ok(());
    };
    let outcome = judging::Outcome::of(&run.world.get().server, &state)?;
    run.outcomes.push(outcome);
    let wrong = judging::left_open(&run.world.get().server, &state);
    run.wrong.extend(wrong);
    run.people.fetch()?;
    let audited = judging::audit(&run.world.get().server, run.people.clone_folder())?;
    run.wrong.extend(audited);
    Ok(())
}

/// After the last event: it comes to rest, and people who answer what waits for them get what they want.
pub(super) fn settle(run: &mut Run, seed: u64) -> Result<(), Box<dyn Error>> {
    heal(run)?;
    // What is still under way arrives now, or when all is over, or never.
    if seed.is_multiple_of(3) {
        run.deliver(None);
    }
    rest(run)?;
    if seed % 3 == 1 && run.wrong.is_empty() {
        run.deliver(None);
        rest(run)?;
    }
    check(run)?;
    for attempt in 0..12 {
        if !run.wrong.is_empty() {
            return Ok(());
        }
        if attempt == 1 {
            run.people.break_it(false)?;
            run.people.commit(None, "mended")?;
        } else if !run.answer_holds()? && attempt > 1 {
            break;
        }
        rest(run)?;
    }
    if !run.wrong.is_empty() {
        return Ok(());
    }
    let Some(state) = run.state()? else {
        run.wrong
            .push("there is no log although a valid commit was made".to_owned());
        return Ok(());
    };
    for hold in state
        .holds
        .iter()
        .filter(|hold| hold.reason.stops_advancing())
    {
        run.wrong
            .push(format!("{:?} cannot be ended by people", hold.reason));
    }
    let head = run.world.get().server.refs.get(MAIN).copied();
    if state.settled.as_ref().map(|settled| settled.source) != head {
        run.wrong
            .push("a good commit does not succeed although people answered everything".to_owned());
    }
    check(run)
}
