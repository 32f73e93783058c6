//! What a fleet's log says about the present and the past, in the form that users see (`status`, `history`).
//!
//! Everything here is read from git; no server is needed.

mod past;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{
    FleetState, Hold, RegionState, Rollout, RolloutState, Verb, WaveRun, WaveState,
};

pub use past::{AnsweredRequest, PastRollout, history};

/// Extra time before something that should have happened counts as overdue, in seconds.
const OVERDUE_SLACK: i64 = 120;

/// How long a give-back or an opening may take before it is overdue, in seconds.
const MOVING_TAKES: i64 = 180;

/// What `tidegate status` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The fleet.
    pub fleet: String,
    /// The log's tip.
    pub as_of: String,
    /// Something should have happened by now, and no newer entry says so.
    pub overdue: bool,
    /// The config branch.
    pub source: SourceStatus,
    /// The rollout under way (with `--last`, the last one that ended).
    pub rollouts: Vec<RolloutStatus>,
    /// Source commits that wait, newest first.
    pub queued: Vec<Oid>,
    /// What stops advancing.
    pub holds: Vec<HoldStatus>,
    /// Source commits that keep newer ones from being opened.
    pub blocked_by: Vec<Oid>,
    /// The newest proven tree of each region.
    pub last_good: BTreeMap<String, GoodStatus>,
    /// What failed and must not come back by itself.
    pub quarantine: Vec<QuarantineStatus>,
}

/// The config branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Its name.
    pub branch: String,
    /// Its head.
    pub head: Option<Oid>,
}

/// One rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Its id.
    pub id: String,
    /// The source commit.
    pub source: Oid,
    /// Who wrote it.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// Where it stands.
    pub state: RolloutState,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// When it opened.
    pub opened: String,
    /// Its regions in numbers.
    pub summary: Summary,
    /// Its waves.
    pub waves: Vec<WaveStatus>,
}

/// Regions in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How many regions there are.
    pub regions: usize,
    /// How many percent of them are through.
    pub percent: usize,
    /// How many are in which state.
    pub by_state: BTreeMap<String, usize>,
}

/// One wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveStatus {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: WaveState,
    /// Since when.
    pub since: String,
    /// Until when it bakes at the earliest.
    pub until: Option<String>,
    /// Its regions.
    pub regions: Vec<RegionStatus>,
}

/// One region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// Its name.
    pub name: String,
    /// Its cloud location.
    pub location: String,
    /// Its labels, to filter by.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub state: tidegate_waves::rollout::RegionState,
    /// The tree that the rollout wants there.
    pub tree: Option<Oid>,
    /// Since when.
    pub since: String,
    /// Why, where there is something to say.
    pub reason: Option<String>,
}

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldStatus {
    /// Why.
    pub reason: tidegate_waves::rollout::HoldReason,
    /// Since when.
    pub since: String,
    /// When it is looked at next, if not only a person or a commit can end it.
    pub next: Option<String>,
    /// One sentence.
    pub message: String,
    /// The wave that it concerns.
    pub wave: Option<String>,
    /// The regions that it concerns.
    pub regions: Vec<String>,
}

/// A region's newest proven tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GoodStatus {
    /// The source commit that brought it.
    pub source: Oid,
    /// The tree.
    pub tree: Oid,
}

/// One quarantined digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantineStatus {
    /// The source commit that failed.
    pub source: Oid,
    /// The region.
    pub region: String,
    /// The tree that must not come back by itself.
    pub digest: Oid,
    /// Why.
    pub reason: String,
}

/// Writes a time as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// What the log's tip says, given the config branch's head and the time.
///
/// `last` also shows the rollout that ended last. `queued` are the first-parent commits since the settled or
/// running source, newest first.
#[must_use]
pub fn status(
    state: &FleetState,
    as_of: i64,
    head: Option<Oid>,
    queued: Vec<Oid>,
    last: bool,
    now: i64,
) -> Status {
    let shown = state
        .rollout
        .as_ref()
        .filter(|rollout| last || !rollout.state.is_terminal());
    let blocked_by = state
        .quarantine
        .iter()
        .filter(|_| {
            state
                .holds
                .iter()
                .any(|hold| hold.reason == tidegate_waves::rollout::HoldReason::Quarantined)
        })
        .map(|item| item.source)
        .collect();
    Status {
        fleet: state.fleet.name.clone(),
        as_of: rfc3339(as_of),
        overdue: is_overdue(state, as_of, head, now),
        source: SourceStatus {
            branch: state.fleet.branch.clone(),
            head,
        },
        rollouts: shown
            .map(|rollout| rollout_status(rollout, &state.holds))
            .into_iter()
            .collect(),
        queued,
        holds: state
            .holds
            .iter()
            .map(|hold| hold_status(hold, as_of))
            .collect(),
        blocked_by,
        last_good: state
            .last_good
            .iter()
            .map(|(region, good)| {
                (
                    region.clone(),
                    GoodStatus {
                        source: good.source,
                        tree: good.tree,
                    },
                )
            })
            .collect(),
        quarantine: state
            .quarantine
            .iter()
            .flat_map(|item| {
                item.digests
                    .iter()
                    .map(|(region, digest)| QuarantineStatus {
                        source: item.source,
                        region: region.clone(),
                        digest: *digest,
                        reason: item.reason.clone(),
                    })
            })
            .collect(),
    }
}

/// When a hold is looked at next, if not only a person or a commit can end it.
pub(crate) fn next_look(hold: &Hold, as_of: i64) -> Option<String> {
    match (hold.until, hold.reason.may_end_by_itself()) {
        (Some(until), _) => Some(rfc3339(until)),
        (None, true) => Some(rfc3339(as_of.saturating_add(60))),
        (None, false) => None,
    }
}

fn hold_status(hold: &Hold, as_of: i64) -> HoldStatus {
    let next = next_look(hold, as_of);
    HoldStatus {
        reason: hold.reason,
        since: rfc3339(hold.since),
        next,
        message: hold.message.clone(),
        wave: hold.wave.clone(),
        regions: hold.regions.clone(),
    }
}

fn rollout_status(rollout: &Rollout, holds: &[Hold]) -> RolloutStatus {
    let newest = rollout.commits.first();
    let runs: Vec<_> = rollout
        .waves
        .iter()
        .flat_map(|wave| wave.regions.values())
        .collect();
    let mut by_state = BTreeMap::new();
    for run in &runs {
        *by_state.entry(format!("{:?}", run.state)).or_insert(0) += 1;
    }
    // Those that were left out count in no number, and those that were taken back are not through.
    let counted = runs
        .iter()
        .filter(|run| !matches!(run.state, RegionState::Skipped | RegionState::Removed))
        .count();
    let through = runs
        .iter()
        .filter(|run| {
            matches!(
                run.state,
                RegionState::Done | RegionState::NoChange | RegionState::Kept
            )
        })
        .count();
    RolloutStatus {
        id: rollout.id.clone(),
        source: rollout.source,
        author: newest
            .map(|commit| commit.author.clone())
            .unwrap_or_default(),
        subject: newest
            .map(|commit| commit.subject.clone())
            .unwrap_or_default(),
        state: rollout.state,
        reason: reason(rollout, holds),
        opened: rfc3339(rollout.opened),
        summary: Summary {
            regions: runs.len(),
            percent: (through * 100).checked_div(counted).unwrap_or(100),
            by_state,
        },
        waves: rollout
            .waves
            .iter()
            .map(|wave| wave_status(rollout, wave))
            .collect(),
    }
}

fn reason(rollout: &Rollout, holds: &[Hold]) -> Option<String> {
    let held = || {
        holds
            .iter()
            .find(|hold| {
                hold.rollout.as_deref() == Some(rollout.id.as_str()) || hold.rollout.is_none()
            })
            .map(|hold| format!("{:?}: {}", hold.reason, hold.message))
    };
    match rollout.state {
        RolloutState::Held => held(),
        RolloutState::Aborted => rollout
            .asked
            .iter()
            .rfind(|asked| asked.verb == Verb::Abort)
            .map(|asked| match asked.reason.as_str() {
                "" => format!("aborted by {}", asked.by),
                reason => format!("aborted by {}: {reason}", asked.by),
            }),
        _ => rollout
            .failure
            .as_ref()
            .map(|failure| failure.evidence.clone()),
    }
}

fn wave_status(rollout: &Rollout, wave: &WaveRun) -> WaveStatus {
    let planned = rollout.plan.wave(&wave.name);
    let bake = planned.map_or(0, |planned| {
        i64::try_from(planned.policy.bake.as_secs()).unwrap_or(i64::MAX)
    });
    let latest_baking = wave
        .regions
        .values()
        .filter(|run| run.state == tidegate_waves::rollout::RegionState::Baking)
        .map(|run| run.since)
        .max();
    let order: Vec<&String> = planned
        .map(|planned| planned.regions.iter().collect())
        .unwrap_or_default();
    WaveStatus {
        name: wave.name.clone(),
        state: wave.state,
        since: rfc3339(wave.since),
        until: latest_baking.map(|since| rfc3339(since.saturating_add(bake))),
        regions: order
            .into_iter()
            .filter_map(|name| wave.regions.get(name).map(|run| (name, run)))
            .map(|(name, run)| {
                let planned = rollout.plan.regions.get(name);
                RegionStatus {
                    name: name.clone(),
                    location: planned
                        .map(|planned| planned.location.clone())
                        .unwrap_or_default(),
                    labels: planned
                        .map(|planned| planned.labels.clone())
                        .unwrap_or_default(),
                    state: run.state,
                    tree: planned.map(|planned| planned.tree),
                    since: rfc3339(run.since),
                    reason: run.reason.clone(),
                }
            })
            .collect(),
    }
}

/// Whether something should have happened by now that no newer entry tells of.
pub(crate) fn is_overdue(state: &FleetState, as_of: i64, head: Option<Oid>, now: i64) -> bool {
    let waited = now.saturating_sub(as_of);
    match state.active() {
        Some(rollout) => match rollout.state {
            RolloutState::RollingBack => waited > MOVING_TAKES,
            RolloutState::Held => false,
            _ => {
                let current = rollout.waves.iter().find(|wave| !wave.state.is_passed());
                let planned = current.and_then(|wave| rollout.plan.wave(&wave.name));
                let longest = planned.map_or(0, |planned| {
                    let bake = i64::try_from(planned.policy.bake.as_secs()).unwrap_or(i64::MAX);
                    let deadline = i64::try_from(planned.policy.progress_deadline.as_secs())
                        .unwrap_or(i64::MAX);
                    bake.saturating_add(deadline)
                });
                waited > longest.saturating_add(OVERDUE_SLACK)
            }
        },
        None => {
            let settled = state.settled.as_ref().map(|settled| settled.source);
            head.is_some()
                && head != settled
                && state.holds.is_empty()
                && state.invalid != head
                && state.not_again != head
                && waited > MOVING_TAKES
        }
    }
}
