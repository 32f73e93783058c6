//! Why a fleet stands where it stands: what it waits for, since when, and what ends the waiting.
//!
//! Everything here is read from the log; nothing is asked of a server.

pub mod evidence;
mod holds;
mod waiting;

use std::fmt;

use serde::{Serialize, Serializer};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FailureReason, FleetState, HoldReason, RolloutState};

pub use evidence::{Change, Verdict};
pub use holds::{commands_for, meaning_of, meaning_of_failure};

use crate::status::{is_overdue, rfc3339};

/// What `tidegate explain` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The newest rollout, under way or ended.
    pub rollout: Option<String>,
    /// What is waited for, what a person has to do first.
    pub waiting: Vec<Waiting>,
    /// What the gates of its regions said last.
    pub gates: Vec<GateEvidence>,
    /// What the newest rollout came to, in one line.
    #[serde(skip)]
    pub last: String,
}

/// One thing that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Why.
    pub reason: WaitReason,
    /// Since when.
    pub since: String,
    /// When it is looked at next or ends at the earliest; `None` if a person or a commit ends it.
    pub next: Option<String>,
    /// The wave that it concerns.
    pub wave: Option<String>,
    /// The regions that it concerns; none are all.
    pub regions: Vec<String>,
    /// One sentence or two.
    pub message: String,
    /// What ends it, ready to be typed.
    pub commands: Vec<String>,
}

/// What a gate said last about a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateEvidence {
    /// The region.
    pub region: String,
    /// The gate.
    pub gate: String,
    /// What it decided.
    pub verdict: Verdict,
    /// The sample that decided it, in one line.
    pub evidence: Option<String>,
    /// When the log says so.
    pub at: Option<String>,
}

/// Why something waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// A hold.
    Hold(HoldReason),
    /// A failure that is being given back.
    Failure(FailureReason),
    /// Something should have happened by now.
    Stalled,
    /// The config branch's head is not valid.
    Invalid,
    /// A commit waits for the rollout before it.
    Queued,
    /// A commit waits to be looked at.
    Seen,
    /// The rollout is being ended.
    Ending,
    /// The revert of the config branch is on its way.
    SourceRevert,
    /// A branch is about to be moved.
    Promoting,
    /// Regions have their tree and answer nothing yet.
    Applying,
    /// Regions answer and are not healthy yet.
    Verifying,
    /// Regions bake.
    Baking,
    /// Regions wait for a slot.
    Slot,
    /// Waves wait for the one before.
    EarlierWave,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold(reason) => write!(f, "{reason:?}"),
            Self::Failure(reason) => write!(f, "{reason:?}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl Serialize for WaitReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What an explanation is made of, beside the log's state.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'seen> {
    /// The log's tip, in seconds since 1970.
    pub as_of: i64,
    /// The config branch's head.
    pub head: Option<Oid>,
    /// The commits behind the one that is carried or settled, newest first.
    pub queued: &'seen [Oid],
    /// What the log says of the rollout's regions, newest first.
    pub changes: &'seen [Change],
    /// Now, in seconds since 1970.
    pub now: i64,
}

/// Explains a fleet's state; of one region if it is named.
#[must_use]
pub fn explain(state: &FleetState, seen: &Seen<'_>, region: Option<&str>) -> Explanation {
    let mut waiting = Vec::new();
    if is_overdue(state, seen.as_of, seen.head, seen.now) {
        waiting.push(stalled(state, seen));
    }
    waiting.extend(
        state
            .holds
            .iter()
            .map(|hold| waiting::of_hold(hold, state, seen.as_of)),
    );
    if let Some(rollout) = state.active() {
        waiting.extend(waiting::of_rollout(rollout, state, seen));
    }
    waiting.extend(waiting::of_commits(state, seen));
    let mut gates = state
        .rollout
        .as_ref()
        .map(|rollout| evidence::gates(rollout, seen.changes))
        .unwrap_or_default();
    if let Some(region) = region {
        let wave = state
            .rollout
            .as_ref()
            .and_then(|rollout| rollout.region(region))
            .map(|(wave, _)| wave.name.clone())
            .or_else(|| {
                state
                    .placements
                    .get(region)
                    .map(|placed| placed.wave.clone())
            });
        waiting.retain(|item| {
            if item.regions.is_empty() {
                item.wave.is_none() || item.wave == wave
            } else {
                item.regions.iter().any(|concerned| concerned == region)
            }
        });
        for item in &mut waiting {
            // What is left of a list of regions is the one that was asked for, unless a hold says it whole.
            if !matches!(item.reason, WaitReason::Hold(_)) {
                item.regions.retain(|concerned| concerned == region);
            }
        }
        gates.retain(|gate| gate.region == region);
    }
    Explanation {
        rollout: state.rollout.as_ref().map(|rollout| rollout.id.clone()),
        waiting,
        gates,
        last: last(state),
    }
}

/// All regions that can be asked for.
#[must_use]
pub fn regions_of(state: &FleetState) -> std::collections::BTreeSet<&str> {
    let of_rollout = state
        .rollout
        .iter()
        .flat_map(|rollout| &rollout.waves)
        .flat_map(|wave| wave.regions.keys());
    state
        .placements
        .keys()
        .chain(state.last_good.keys())
        .chain(of_rollout)
        .map(String::as_str)
        .collect()
}

/// What should have happened by now, in one sentence.
#[must_use]
pub fn expected(state: &FleetState) -> String {
    match state.active() {
        Some(rollout) if rollout.state == RolloutState::RollingBack => format!(
            "the regions of rollout {} should have been given back by now",
            rollout.id
        ),
        Some(rollout) => {
            let wave = rollout.waves.iter().find(|wave| !wave.state.is_passed());
            format!(
                "wave {} of rollout {} should have passed, failed or been held by now",
                wave.map_or("?", |wave| wave.name.as_str()),
                rollout.id
            )
        }
        None => "the config branch's head should have been looked at by now".to_owned(),
    }
}

fn stalled(state: &FleetState, seen: &Seen<'_>) -> Waiting {
    Waiting {
        reason: WaitReason::Stalled,
        since: rfc3339(seen.as_of),
        next: None,
        wave: None,
        regions: Vec::new(),
        message: format!(
            "STALLED: {}, and nothing was written to the log since {}. Is a controller running, and does it reach the repo?",
            expected(state),
            rfc3339(seen.as_of)
        ),
        commands: vec![
            "tidegate run --settings FILE  # or look at the logs of the one that should be running"
                .to_owned(),
        ],
    }
}

fn last(state: &FleetState) -> String {
    let Some(rollout) = &state.rollout else {
        return "no rollout was opened yet".to_owned();
    };
    let subject = rollout
        .commits
        .first()
        .map(|commit| commit.subject.as_str())
        .unwrap_or_default();
    let held_since = || {
        let holds = state.holds.iter();
        let own = holds.filter(|hold| hold.rollout.as_deref().is_none_or(|id| id == rollout.id));
        own.map(|hold| hold.since).min()
    };
    let moment = match (rollout.ended, rollout.state) {
        (Some(ended), _) => format!(" since {}", rfc3339(ended)),
        (None, RolloutState::Held) => match held_since() {
            Some(since) => format!(" since {}", rfc3339(since)),
            None => String::new(),
        },
        (None, _) => format!(", opened {}", rfc3339(rollout.opened)),
    };
    let mut text = format!(
        "rollout {} ({subject}): {:?}{moment}",
        rollout.id, rollout.state,
    );
    if let Some(failure) = &rollout.failure {
        text.push_str(": ");
        text.push_str(&failure.evidence);
    }
    text
}

#[cfg(test)]
mod tests;
