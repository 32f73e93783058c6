//! `tidegate status --wait`: until the log has settled the config branch's head.

use std::time::{Duration, Instant};

use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetState, RegionState, RolloutState};

use crate::cli::error::{CommandError, ErrorKind};
use crate::cli::log_view::LogView;
use crate::cli::terminal::Terminal;

/// How often the server is asked whether the log has moved.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What became of the commit that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing final yet.
    Open,
    /// It, or one that carries it, is settled; the log's history tells whether its own rollout failed.
    Settled,
    /// The rollout that carried it was given back or aborted.
    RolledBack,
    /// It is not valid.
    Invalid,
    /// It is held, and only a person or a commit can end that.
    Held,
}

/// Waits, and gives how it ended: `None` if all is well.
pub(super) fn wait(
    view: &mut LogView,
    timeout: Option<Duration>,
    terminal: &Terminal,
) -> Result<Option<ErrorKind>, CommandError> {
    let target = view
        .head()?
        .ok_or_else(|| CommandError::failed("the config branch has no commit to wait for"))?;
    let begun = Instant::now();
    let mut said = String::new();
    terminal.say(&format!("waiting for {}", target.short(8)));
    loop {
        let now = summary(view.state());
        if now != said {
            terminal.say(&now);
            said = now;
        }
        let ending = match verdict(view.state(), target, |commit| view.carries(commit, target))? {
            Verdict::Open => None,
            Verdict::Invalid => Some(Some(ErrorKind::InvalidConfig)),
            Verdict::Held => Some(Some(ErrorKind::Held)),
            Verdict::RolledBack => Some(Some(ErrorKind::RolledBack)),
            Verdict::Settled => Some(how_it_ended(view, target)?),
        };
        if let Some(ending) = ending {
            return Ok(ending);
        }
        let left = match timeout {
            None => LOOK_EVERY,
            Some(timeout) => match timeout.checked_sub(begun.elapsed()) {
                Some(left) if !left.is_zero() => left.min(LOOK_EVERY),
                _ => return Ok(Some(ErrorKind::TimedOut)),
            },
        };
        std::thread::sleep(left);
        view.refresh()?;
    }
}

/// What the log's tip says of a commit. `carries` tells whether a commit is the one that is waited for, or
/// descends from it.
pub(super) fn verdict<E>(
    state: &FleetState,
    target: Oid,
    carries: impl Fn(Oid) -> Result<bool, E>,
) -> Result<Verdict, E> {
    let mine = state.rollout.as_ref().filter(|rollout| {
        rollout.source == target || rollout.commits.iter().any(|commit| commit.id == target)
    });
    match mine.map(|rollout| rollout.state) {
        Some(RolloutState::Succeeded) => return Ok(Verdict::Settled),
        Some(
            RolloutState::RolledBack | RolloutState::RollbackIncomplete | RolloutState::Aborted,
        ) => return Ok(Verdict::RolledBack),
        // It goes on in the rollout that took its place.
        Some(_) | None => {}
    }
    if mine.is_none()
        && let Some(settled) = &state.settled
        && carries(settled.source)?
    {
        return Ok(Verdict::Settled);
    }
    if let Some(invalid) = state.invalid
        && state.active().is_none()
        && carries(invalid)?
    {
        return Ok(Verdict::Invalid);
    }
    let mut needs_a_person = false;
    for hold in &state.holds {
        if !hold.reason.stops_advancing() || hold.reason.may_end_by_itself() || hold.until.is_some()
        {
            continue;
        }
        let concerns_it = match hold.source {
            // Another commit's hold ends when the controller looks at this one.
            Some(source) if hold.reason.is_before_opening() => carries(source)?,
            // A held rollout of an older commit makes way for this one, unless a person has to end its hold.
            _ => mine.is_some() || state.active().is_none() || !hold.reason.yields_to_a_commit(),
        };
        needs_a_person |= concerns_it;
    }
    let stands = state
        .active()
        .is_none_or(|rollout| rollout.state == RolloutState::Held);
    Ok(if needs_a_person && stands {
        Verdict::Held
    } else {
        Verdict::Open
    })
}

/// How the newest rollout that carried a commit ended; a commit that opened none changed nothing.
fn how_it_ended(view: &LogView, target: Oid) -> Result<Option<ErrorKind>, CommandError> {
    let rollouts = view.history()?;
    let mine = rollouts
        .iter()
        .find(|rollout| rollout.source == target || rollout.commits.contains(&target));
    Ok(match mine.map(|rollout| rollout.state) {
        Some(
            RolloutState::RolledBack | RolloutState::RollbackIncomplete | RolloutState::Aborted,
        ) => Some(ErrorKind::RolledBack),
        _ => None,
    })
}

/// One line of what moves.
fn summary(state: &FleetState) -> String {
    let held: Vec<String> = state
        .holds
        .iter()
        .map(|hold| format!("; held: {:?}: {}", hold.reason, hold.message))
        .collect();
    let held = held.concat();
    let Some(rollout) = &state.rollout else {
        return format!("no rollout yet{held}");
    };
    let waves: Vec<String> = rollout
        .waves
        .iter()
        .map(|wave| {
            let through = wave
                .regions
                .values()
                .filter(|run| matches!(run.state, RegionState::Done | RegionState::NoChange))
                .count();
            format!(
                "{} {:?} {through}/{}",
                wave.name,
                wave.state,
                wave.regions.len()
            )
        })
        .collect();
    format!(
        "rollout {} {:?}: {}{held}",
        rollout.id,
        rollout.state,
        waves.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tidegate_waves::rollout::{FleetIdentity, Hold, HoldReason, create};

    use super::*;

    const TARGET: Oid = Oid::from_bytes([5; 20]);

    fn state() -> FleetState {
        let identity = FleetIdentity {
            name: "shop".to_owned(),
            branch: "main".to_owned(),
            path: String::new(),
            prefix: "tidegate".to_owned(),
        };
        create(identity, Oid::from_bytes([1; 20]), "me").next
    }

    fn of(state: &FleetState) -> Verdict {
        verdict(state, TARGET, |commit| {
            Ok::<_, Infallible>(commit == TARGET || commit == Oid::from_bytes([6; 20]))
        })
        .unwrap()
    }

    fn hold(reason: HoldReason, until: Option<i64>) -> Hold {
        Hold {
            reason,
            since: 0,
            message: String::new(),
            source: None,
            rollout: None,
            wave: None,
            regions: Vec::new(),
            until,
        }
    }

    #[test]
    fn an_invalid_head_ends_the_wait_and_an_older_one_does_not() {
        let mut state = state();
        assert_eq!(of(&state), Verdict::Open);
        state.invalid = Some(Oid::from_bytes([4; 20]));
        assert_eq!(of(&state), Verdict::Open);
        state.invalid = Some(TARGET);
        assert_eq!(of(&state), Verdict::Invalid);
        state.invalid = Some(Oid::from_bytes([6; 20]));
        assert_eq!(of(&state), Verdict::Invalid);
    }

    #[test]
    fn only_a_hold_that_needs_a_person_ends_the_wait() {
        for (reason, until, ends) in [
            (HoldReason::Unreachable, None, Verdict::Open),
            (HoldReason::SharedCause, None, Verdict::Open),
            (HoldReason::Requested, Some(100), Verdict::Open),
            (HoldReason::RevertPullRequest, None, Verdict::Open),
            (HoldReason::Requested, None, Verdict::Held),
            (HoldReason::ProtectedKind, None, Verdict::Held),
        ] {
            let mut state = state();
            state.holds.push(hold(reason, until));
            assert_eq!(of(&state), ends, "{reason:?}");
        }
    }

    #[test]
    fn the_hold_of_another_commit_does_not_end_the_wait() {
        for (source, ends) in [
            (Oid::from_bytes([4; 20]), Verdict::Open),
            (TARGET, Verdict::Held),
            (Oid::from_bytes([6; 20]), Verdict::Held),
        ] {
            let mut state = state();
            let mut held = hold(HoldReason::RegionRemoval, None);
            held.source = Some(source);
            state.holds.push(held);
            assert_eq!(of(&state), ends, "{source}");
        }
    }
}
