//! What the commit statuses of a fleet's commits should be, from its log alone.
//!
//! A pure function of what the engine published: no time of now is in it, so that a text changes only when
//! the log does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{
    Candidate, CandidateOutcome, FleetState, Hold, RegionRun, RegionState, Rollout, RolloutState,
    Sealing, SourceRevert, WaveRun, WaveState,
};

use super::{CommitStatus, StatusState};
use crate::git::trailers::one_line;
use crate::reporting::{LogEntry, LogTip, Report};

/// The longest description that every forge takes, in characters; GitHub's limit.
pub const LONGEST_DESCRIPTION: usize = 140;

/// How many digits of a commit's id a description shows.
const SHORT: usize = 8;

/// How many digits of a revert's id a description shows, as forges abbreviate them.
const SHORT_REVERT: usize = 7;

/// A status that should stand on a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredStatus {
    /// The commit.
    pub commit: Oid,
    /// The status.
    pub status: CommitStatus,
    /// Set where another commit carries this one along.
    pub carried: Option<Carried>,
}

/// That a commit is carried along by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The commit that carries it.
    pub by: Oid,
    /// Where a status stands on the commit whose context begins with this, the commit had a rollout of its
    /// own, and how that one ended is not written over.
    pub yields_to: String,
}

/// Every status that should stand now, the most important first. Statuses of earlier commits that are not
/// among them keep what they have.
#[must_use]
pub fn desired(prefix: &str, report: &Report) -> Vec<DesiredStatus> {
    let mut wanted = Wanted {
        prefix,
        statuses: Vec::new(),
    };
    let state = report.tip.as_ref().map(|tip| tip.state.as_ref());
    let rollout = state.and_then(|state| state.rollout.as_ref());
    if let (Some(state), Some(rollout)) = (state, rollout) {
        wanted.rollout(state, rollout, report.candidate.as_deref());
    }
    if let Some(state) = state {
        wanted.settled(state);
    }
    if let Some(candidate) = report.candidate.as_deref() {
        wanted.candidate(state, candidate);
    }
    let is_known = |head: Oid| {
        wanted.statuses.iter().any(|status| status.commit == head)
            || state.is_some_and(|state| {
                state.invalid == Some(head)
                    || state.not_again == Some(head)
                    || state.settled.as_ref().map(|settled| settled.source) == Some(head)
            })
    };
    if let Some(head) = report.head.filter(|head| !is_known(*head)) {
        // The head of a range that is cut is rendered before the cut, and waits for what is before the cut.
        let (render, text) = match report.candidate.as_deref() {
            Some(candidate) => (
                StatusState::Success,
                format!("queued behind {}", candidate.source.short(SHORT)),
            ),
            None => (StatusState::Pending, "seen, not rendered yet".to_owned()),
        };
        wanted.tip(head, "rollout", StatusState::Pending, &text);
        let text = match render {
            StatusState::Success => "rendered",
            _ => text.as_str(),
        };
        wanted.tip(head, "render", render, text);
    }
    wanted.statuses
}

/// Every status that follows from one entry of the log alone: what was true when it was written.
///
/// Feeding every new entry to a [`super::poster::StatusBoard`] before the report makes sure that the end of
/// one rollout is told although the next one has opened by the time somebody looks.
#[must_use]
pub fn desired_of_entry(prefix: &str, entry: &LogEntry) -> Vec<DesiredStatus> {
    desired(
        prefix,
        &Report {
            tip: Some(LogTip {
                commit: entry.commit,
                seconds: entry.seconds,
                state: entry.after.clone(),
            }),
            ..Report::default()
        },
    )
}

/// Takes newer wishes into older ones: the newer one of a commit and context counts, all others stay.
///
/// A commit that waited to be carried and is not among the newer wishes follows the commit that was to carry
/// it: what settles that one settles it too.
pub fn merge(older: &mut Vec<DesiredStatus>, newer: Vec<DesiredStatus>) {
    let followed: Vec<DesiredStatus> = older
        .iter()
        .filter(|wish| wish.status.state == StatusState::Pending)
        .filter_map(|wish| {
            let carried = wish.carried.as_ref()?;
            let is_same = |other: &&DesiredStatus| other.status.context == wish.status.context;
            if newer
                .iter()
                .filter(is_same)
                .any(|other| other.commit == wish.commit)
            {
                return None;
            }
            let carrier = newer
                .iter()
                .filter(is_same)
                .find(|other| other.commit == carried.by && other.carried.is_none())
                .filter(|other| other.status.state != StatusState::Pending)?;
            let mut follows = wish.clone();
            follows.status.state = carrier.status.state;
            follows.status.description = carried_text(carried.by, &carrier.status.description);
            Some(follows)
        })
        .collect();
    let newer = newer.into_iter().chain(followed);
    let mut places: BTreeMap<(Oid, String), usize> = older
        .iter()
        .enumerate()
        .map(|(place, wish)| ((wish.commit, wish.status.context.clone()), place))
        .collect();
    for wish in newer {
        let yields = wish.carried.as_ref().is_some_and(|carried| {
            older.iter().any(|other| {
                other.commit == wish.commit && other.status.context.starts_with(&carried.yields_to)
            })
        });
        if yields {
            continue;
        }
        match places.get(&(wish.commit, wish.status.context.clone())) {
            Some(place) => {
                if let Some(old) = older.get_mut(*place) {
                    *old = wish;
                }
            }
            None => {
                places.insert((wish.commit, wish.status.context.clone()), older.len());
                older.push(wish);
            }
        }
    }
}

/// A description as forges take it: one plain line of at most [`LONGEST_DESCRIPTION`] characters.
#[must_use]
pub fn description(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(LONGEST_DESCRIPTION) {
        None => line,
        Some(_) => {
            let mut cut: String = line.chars().take(LONGEST_DESCRIPTION - 1).collect();
            cut.truncate(cut.trim_end().len());
            cut.push('…');
            cut
        }
    }
}

fn carried_text(by: Oid, text: &str) -> String {
    let by = by.short(SHORT);
    if text.is_empty() {
        format!("carried by {by}")
    } else {
        description(&format!("carried by {by}: {text}"))
    }
}

struct Wanted<'a> {
    prefix: &'a str,
    statuses: Vec<DesiredStatus>,
}

impl Wanted<'_> {
    fn add(
        &mut self,
        commit: Oid,
        context: String,
        state: StatusState,
        text: &str,
        by: Option<Oid>,
    ) {
        self.statuses.push(DesiredStatus {
            commit,
            status: CommitStatus {
                context,
                state,
                description: description(text),
                target_url: None,
            },
            carried: by.map(|by| Carried {
                by,
                yields_to: format!("{}/wave/", self.prefix),
            }),
        });
    }

    /// A status of the commit that is carried as such.
    fn tip(&mut self, commit: Oid, context: &str, state: StatusState, text: &str) {
        self.add(
            commit,
            format!("{}/{context}", self.prefix),
            state,
            text,
            None,
        );
    }

    /// The status of a commit that another one carries along.
    fn carried(&mut self, commit: Oid, by: Oid, state: StatusState, text: &str) {
        let context = format!("{}/rollout", self.prefix);
        self.add(commit, context, state, &carried_text(by, text), Some(by));
    }

    fn rollout(&mut self, state: &FleetState, rollout: &Rollout, next: Option<&Candidate>) {
        let source = rollout.source;
        let verdict = verdict(state, rollout, next);
        self.tip(source, "rollout", verdict.state, &verdict.text);
        self.tip(
            source,
            "render",
            StatusState::Success,
            &format!("rendered for {}", regions(rollout.plan.regions.len())),
        );
        let waiting = waiting_wave(state, rollout);
        for (index, wave) in rollout.waves.iter().enumerate() {
            let before = index
                .checked_sub(1)
                .and_then(|before| rollout.waves.get(before));
            let held = waiting
                .as_ref()
                .filter(|(waits, _)| *waits == wave.name)
                .map(|(_, hold)| *hold);
            let (status, text) = wave_status(rollout, wave, before, held, &verdict);
            let name = &wave.name;
            self.tip(
                source,
                &format!("wave/{name}"),
                status,
                &format!("{name}: {text}"),
            );
        }
        // A commit that the superseded rollout was about learns here which one took its place.
        let superseded = rollout.supersedes.as_deref().and_then(|id| {
            let id = id.split('-').next()?;
            rollout
                .commits
                .iter()
                .find(|commit| commit.id != source && commit.id.short(SHORT) == id)
        });
        let carried_text = if verdict.state == StatusState::Pending {
            ""
        } else {
            verdict.text.as_str()
        };
        for commit in &rollout.commits {
            if commit.id == source {
                continue;
            }
            if superseded.is_some_and(|old| old.id == commit.id) {
                let text = format!("superseded by {}", source.short(SHORT));
                self.tip(commit.id, "rollout", StatusState::Error, &text);
            } else {
                self.carried(commit.id, source, verdict.state, carried_text);
            }
        }
    }

    /// The settled source, if no rollout brought it: it changed nothing.
    fn settled(&mut self, state: &FleetState) {
        let Some(settled) = &state.settled else {
            return;
        };
        let source = settled.source;
        if let Some(rollout) = &state.rollout
            && (rollout.source == source || rollout.base == Some(source))
        {
            return;
        }
        self.tip(source, "rollout", StatusState::Success, "no region changes");
        self.tip(
            source,
            "render",
            StatusState::Success,
            &format!("rendered for {}", regions(settled.wanted.regions.len())),
        );
    }

    fn candidate(&mut self, state: Option<&FleetState>, candidate: &Candidate) {
        let source = candidate.source;
        let newest = state.and_then(|state| state.rollout.as_ref());
        // What failed, was aborted or held is judged by its rollout, not by standing at the head still.
        if newest.is_some_and(|rollout| rollout.source == source) {
            return;
        }
        let settled = state.and_then(|state| state.settled.as_ref());
        let active = state.and_then(FleetState::active);
        let (status, text, waiting) = match &candidate.outcome {
            CandidateOutcome::Invalid { message } => {
                self.tip(source, "rollout", StatusState::Failure, message);
                self.tip(source, "render", StatusState::Failure, message);
                (StatusState::Pending, String::new(), "is not valid")
            }
            CandidateOutcome::Valid(valid) => {
                let (status, text, waiting) = if let Some(active) = active {
                    let text = format!("queued behind {}", active.source.short(SHORT));
                    (StatusState::Pending, text, "is queued")
                } else if settled.is_some_and(|settled| valid.wanted.same_as(&settled.wanted)) {
                    // The entry that says so follows.
                    (StatusState::Success, "no region changes".to_owned(), "")
                } else if let Some(hold) = state.and_then(|state| hold_before(state, source)) {
                    (StatusState::Pending, held(hold), "is held")
                } else {
                    let text = "rendered, about to be opened".to_owned();
                    (StatusState::Pending, text, "is about to be opened")
                };
                self.tip(source, "rollout", status, &text);
                self.tip(
                    source,
                    "render",
                    StatusState::Success,
                    &format!("rendered for {}", regions(valid.wanted.regions.len())),
                );
                (status, text, waiting)
            }
        };
        for commit in &candidate.commits {
            let is_carried = newest.is_some_and(|rollout| {
                !rollout.state.is_terminal()
                    && rollout.commits.iter().any(|other| other.id == commit.id)
            });
            let has_own = newest.is_some_and(|rollout| rollout.source == commit.id);
            if commit.id == source || is_carried || has_own {
                continue;
            }
            if status == StatusState::Pending {
                let text = format!("waits for {}, which {waiting}", source.short(SHORT));
                let context = format!("{}/rollout", self.prefix);
                self.add(commit.id, context, status, &text, Some(source));
            } else {
                self.carried(commit.id, source, status, &text);
            }
        }
    }
}

/// How a rollout stands as a whole.
struct Verdict {
    state: StatusState,
    text: String,
}

fn verdict(state: &FleetState, rollout: &Rollout, next: Option<&Candidate>) -> Verdict {
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

fn wave_status(
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
            text.push_str(&format!(", {count} {what}"));
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
fn waiting_wave<'a>(state: &'a FleetState, rollout: &'a Rollout) -> Option<(&'a str, &'a Hold)> {
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
fn hold_before(state: &FleetState, source: Oid) -> Option<&Hold> {
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

fn held(hold: &Hold) -> String {
    format!("held: {:?}: {}", hold.reason, hold.message)
}

fn regions(count: usize) -> String {
    match count {
        1 => "1 region".to_owned(),
        count => format!("{count} regions"),
    }
}

#[cfg(test)]
mod tests;

/// The state in the middle of a rollout: `r0` of the canary is done, `r1` of pilot is being promoted, broad
/// waits.
#[cfg(test)]
pub(super) fn fixture() -> FleetState {
    let files: BTreeMap<String, serde_json::Value> = serde_json::from_str(include_str!(
        "../../../waves/src/rollout/tests/fixtures/schema-1.json"
    ))
    .unwrap();
    let files = files
        .into_iter()
        .map(|(path, content)| (path, serde_json::to_vec(&content).unwrap()))
        .collect();
    tidegate_waves::rollout::from_files(&files).unwrap()
}
