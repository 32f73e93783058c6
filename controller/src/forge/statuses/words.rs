//! A rollout and its waves in the words of statuses.

use std::fmt::Write as _;

use jiff::Timestamp;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{
    Candidate, FleetState, Hold, RegionRun, RegionState, Rollout, RolloutState, Sealing,
    SourceRevert, WaveRun, WaveState,
};

use super::{SHORT, StatusState};

/// How many digits of a revert's id a description shows, as forges abbreviate them.
const SHORT_REVERT: usize = 7;

/// How a rollout stands as a whole.
pub(super) struct Verdict {
    pub(super) state: StatusState,
    pub(super) text: String,
}

pub(super) fn verdict(state: &FleetState, rollout: &Rollout, next: Option<&Candidate>) -> Verdict {
    let pending = |text: String| Verdict {
        state: StatusState::Pending,
        text,
    };
    let error = |text: String| Verdict {
        state: StatusState::Error,
        text,
    };
    match rollout.state {
        RolloutState::Pending | RolloutState::Preflight => pending("opened".to_owned()),
        RolloutState::Running | RolloutState::Held => match &rollout.sealing {
            Some(Sealing::Failed { failure }) => pending(format!("failing: {}", failure.evidence)),
            Some(Sealing::Superseded { by }) => {
                pending(format!("being superseded by {}", by.short(SHORT)))
            }
            Some(Sealing::Aborted { .. }) => pending("being aborted".to_owned()),
            None => pending(match hold_of(state, rollout) {
                Some(hold) if rollout.state == RolloutState::Held => held(hold),
                _ => running(rollout),
            }),
        },
        RolloutState::Succeeded => Verdict {
            state: StatusState::Success,
            text: succeeded(rollout),
        },
        RolloutState::RollingBack | RolloutState::RolledBack | RolloutState::RollbackIncomplete => {
            Verdict {
                state: StatusState::Failure,
                text: failed(rollout),
            }
        }
        RolloutState::Superseded => error(match next {
            Some(next) => format!("superseded by {}", next.source.short(SHORT)),
            None => "superseded by a newer commit".to_owned(),
        }),
        RolloutState::Aborted => error("aborted".to_owned()),
    }
}

fn running(rollout: &Rollout) -> String {
    let current = rollout
        .waves
        .iter()
        .enumerate()
        .find(|(_, wave)| !wave.state.is_passed());
    match current {
        Some((index, wave)) => format!(
            "wave {} of {}: {}",
            index.saturating_add(1),
            rollout.waves.len(),
            wave.name
        ),
        None => "all waves passed".to_owned(),
    }
}

fn succeeded(rollout: &Rollout) -> String {
    let runs = || rollout.waves.iter().flat_map(|wave| wave.regions.values());
    let mut text = format!(
        "{} passed, {}/{} regions healthy",
        match rollout.waves.len() {
            1 => "1 wave".to_owned(),
            count => format!("{count} waves"),
        },
        runs().filter(|run| is_healthy(run)).count(),
        runs().count()
    );
    text.push_str(unproven(runs()));
    text
}

/// Why it failed, and how far the revert is.
fn failed(rollout: &Rollout) -> String {
    let revert = match &rollout.source_revert {
        SourceRevert::Pushed { commit } => format!("reverted by {}", commit.short(SHORT_REVERT)),
        SourceRevert::Proposed { commit } => format!(
            "given back, revert {} waits to be merged",
            commit.short(SHORT_REVERT)
        ),
        SourceRevert::Impossible => "given back, a person has to revert it".to_owned(),
        _ if rollout.state == RolloutState::RollingBack => "being given back".to_owned(),
        SourceRevert::NotNeeded => "given back, already reverted".to_owned(),
        _ => "given back".to_owned(),
    };
    let incomplete = if rollout.state == RolloutState::RollbackIncomplete {
        ", but not everywhere"
    } else {
        ""
    };
    let why = rollout
        .failure
        .as_ref()
        .map_or("", |failure| failure.evidence.as_str());
    format!("{revert}{incomplete}: {why}")
}

pub(super) fn wave_status(
    rollout: &Rollout,
    wave: &WaveRun,
    before: Option<&WaveRun>,
    held_by: Option<&Hold>,
    verdict: &Verdict,
) -> (StatusState, String) {
    if verdict.state == StatusState::Failure {
        return failed_wave(rollout, wave);
    }
    if wave.state.is_passed() {
        return (StatusState::Success, passed(wave));
    }
    if verdict.state == StatusState::Error {
        let text = if is_touched(wave) {
            verdict.text.clone()
        } else {
            "not started".to_owned()
        };
        return (StatusState::Error, text);
    }
    let text = match held_by {
        Some(hold) => held(hold),
        None => under_way(rollout, wave, before),
    };
    (StatusState::Pending, text)
}

fn failed_wave(rollout: &Rollout, wave: &WaveRun) -> (StatusState, String) {
    let failure = rollout.failure.as_ref();
    if is_touched(wave) || wave.state == WaveState::Failed {
        let text = match failure {
            Some(failure) if failure.wave == wave.name || failure.wave.is_empty() => {
                failure.evidence.clone()
            }
            Some(failure) => format!("given back, {} failed", failure.wave),
            None => "given back".to_owned(),
        };
        return (StatusState::Failure, text);
    }
    if wave.state.is_passed() {
        return (StatusState::Success, passed(wave));
    }
    (StatusState::Error, "not started".to_owned())
}

fn passed(wave: &WaveRun) -> String {
    if wave
        .regions
        .values()
        .all(|run| run.state == RegionState::NoChange)
    {
        return "no region changes".to_owned();
    }
    let mut text = format!("passed, {}", counted(wave));
    text.push_str(unproven(wave.regions.values()));
    text
}

fn under_way(rollout: &Rollout, wave: &WaveRun, before: Option<&WaveRun>) -> String {
    let text = match wave.state {
        WaveState::NotStarted => match before.filter(|before| !before.state.is_passed()) {
            Some(before) => return format!("waits for {}", before.name),
            None => return "about to start".to_owned(),
        },
        WaveState::Baking => match baking_until(rollout, wave) {
            Some(until) => format!("baking until {until}, {}", counted(wave)),
            None => format!("baking, {}", counted(wave)),
        },
        _ => format!("under way, {}", counted(wave)),
    };
    format!("{text}{}", unproven(wave.regions.values()))
}

/// When the last region has baked at the earliest, by the log's times.
fn baking_until(rollout: &Rollout, wave: &WaveRun) -> Option<String> {
    let since = wave
        .regions
        .values()
        .filter(|run| run.state == RegionState::Baking)
        .map(|run| run.since)
        .max()?;
    let bake = if rollout.hotfix {
        0
    } else {
        let policy = &rollout.plan.wave(&wave.name)?.policy;
        i64::try_from(policy.bake.as_secs()).ok()?
    };
    let until = Timestamp::from_second(since.checked_add(bake)?).ok()?;
    let begun = Timestamp::from_second(since).ok()?;
    // Another day needs its date.
    let form = if until.strftime("%F").to_string() == begun.strftime("%F").to_string() {
        "%H:%M UTC"
    } else {
        "%F %H:%M UTC"
    };
    Some(until.strftime(form).to_string())
}

/// How many of a wave's regions are healthy, and what is with the others that it does not wait for.
fn counted(wave: &WaveRun) -> String {
    let mut text = format!(
        "{}/{} regions healthy",
        wave.regions.values().filter(|run| is_healthy(run)).count(),
        wave.regions.len()
    );
    let skipped = wave
        .regions
        .values()
        .filter(|run| run.state == RegionState::Skipped)
        .count();
    let failed = wave
        .regions
        .values()
        .filter(|run| matches!(run.state, RegionState::Failed | RegionState::TimedOut))
        .count();
    for (count, what) in [(failed, "failed"), (skipped, "skipped")] {
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

fn is_healthy(run: &RegionRun) -> bool {
    matches!(
        run.state,
        RegionState::Baking | RegionState::Done | RegionState::NoChange
    )
}

/// What is said when a region counts as healthy although no answer showed that it came from this revision.
fn unproven<'a>(mut runs: impl Iterator<Item = &'a RegionRun>) -> &'static str {
    if runs.any(|run| run.proven == Some(false) && is_healthy(run)) {
        ", revision not proven"
    } else {
        ""
    }
}

/// Whether a rollout moved a region of this wave.
fn is_touched(wave: &WaveRun) -> bool {
    wave.regions.values().any(|run| {
        run.before.is_some()
            || !matches!(
                run.state,
                RegionState::Pending
                    | RegionState::NoChange
                    | RegionState::Skipped
                    | RegionState::Removed
            )
    })
}

/// The wave that a hold keeps waiting: the one it names, else the first that has not passed.
pub(super) fn waiting_wave<'a>(
    state: &'a FleetState,
    rollout: &'a Rollout,
) -> Option<(&'a str, &'a Hold)> {
    if rollout.state != RolloutState::Held {
        return None;
    }
    let hold = hold_of(state, rollout)?;
    let named = hold.wave.as_deref().filter(|name| {
        rollout
            .waves
            .iter()
            .any(|wave| wave.name == *name && !wave.state.is_passed())
    });
    let first = rollout
        .waves
        .iter()
        .find(|wave| !wave.state.is_passed())
        .map(|wave| wave.name.as_str());
    Some((named.or(first)?, hold))
}

/// The hold that stops a rollout.
fn hold_of<'a>(state: &'a FleetState, rollout: &Rollout) -> Option<&'a Hold> {
    state.holds.iter().find(|hold| {
        hold.reason.stops_advancing()
            && !hold.reason.is_before_opening()
            && hold.rollout.as_deref().is_none_or(|id| id == rollout.id)
    })
}

/// The hold that keeps a commit from being opened.
pub(super) fn hold_before(state: &FleetState, source: Oid) -> Option<&Hold> {
    let stops = |hold: &&Hold| hold.reason.stops_advancing();
    state
        .holds
        .iter()
        .filter(stops)
        .find(|hold| hold.source == Some(source))
        .or_else(|| {
            // One that names a rollout stays behind on that one's branches and stops no other commit.
            state
                .holds
                .iter()
                .filter(stops)
                .find(|hold| hold.source.is_none() && hold.rollout.is_none())
        })
}

pub(super) fn held(hold: &Hold) -> String {
    format!("held: {:?}: {}", hold.reason, hold.message)
}

pub(super) fn regions(count: usize) -> String {
    match count {
        1 => "1 region".to_owned(),
        count => format!("{count} regions"),
    }
}
