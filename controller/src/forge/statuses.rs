//! What the commit statuses of a fleet's commits should be, from its log alone.
//!
//! A pure function of what the engine published: no time of now is in it, so that a text changes only when
//! the log does.

mod words;

use std::collections::BTreeMap;

use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{Candidate, CandidateOutcome, FleetState, Rollout};

use self::words::{held, hold_before, regions, verdict, waiting_wave, wave_status};
use super::{CommitStatus, StatusState};
use crate::git::trailers::one_line;
use crate::reporting::{LogEntry, LogTip, Report};

/// The longest description that every forge takes, in characters; GitHub's limit.
pub const LONGEST_DESCRIPTION: usize = 140;

/// How many digits of a commit's id a description shows.
const SHORT: usize = 8;

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

#[cfg(test)]
mod tests;

/// The state in the middle of a rollout: `r0` of the canary is done, `r1` of pilot is being promoted, broad
/// waits.
#[cfg(test)]
pub(crate) fn fixture() -> FleetState {
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
