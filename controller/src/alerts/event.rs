//! What is worth an alert: read from one entry of the log and the states around it.

use serde::{Deserialize, Serialize};
use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{Asked, FleetState, Hold, HoldReason, Rollout, RolloutState};
use uuid::Uuid;

use crate::explain::commands_for;
use crate::git::trailers::one_line;
use crate::reporting::LogEntry;
use crate::settings::AlertKind;

/// The namespace of the ids of events; chosen once, and never changed: receivers know events by their ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x4f1c_6c0a_6a4e_4b6b_9f0d_2f3a_5c7e_91d2);

/// Something that people are told. All text from outside in it is one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The same for the same event, however often and by whichever controller it is told.
    pub id: String,
    /// What kind of event it is.
    pub kind: AlertKind,
    /// The fleet.
    pub fleet: String,
    /// The rollout that it is about.
    pub rollout: Option<String>,
    /// When it happened, in seconds since 1970.
    pub at: i64,
    /// One sentence: what happened, and on which evidence.
    pub message: String,
    /// The reason, of the closed list of reasons.
    pub reason: Option<String>,
    /// The source commit.
    pub source: Option<Oid>,
    /// Every commit that the rollout carries, newest first.
    pub commits: Vec<Oid>,
    /// The first line of the source commit's message.
    pub subject: String,
    /// Who wrote it.
    pub author: String,
    /// The wave.
    pub wave: Option<String>,
    /// The region whose gate decided it.
    pub region: Option<String>,
    /// The gate.
    pub gate: Option<String>,
    /// The regions that have received the change, or that are held.
    pub regions: Vec<String>,
    /// The revert of the config branch.
    pub revert: Option<Oid>,
    /// The source commit whose trees the regions are given back.
    pub last_good: Option<Oid>,
    /// When the rollout opened, in seconds since 1970.
    pub opened: Option<i64>,
    /// What people asked for in this rollout, oldest first.
    pub asked: Vec<Asked>,
    /// The commands that end it.
    pub commands: Vec<String>,
    /// Something failed and was tolerated or isolated: the rollout goes on.
    #[serde(default)]
    pub goes_on: bool,
    /// How often it has been told before.
    pub reminder: u32,
    /// Pages about it.
    #[serde(default)]
    pub links: Links,
}

/// Pages about an event, where a forge knows of any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// The source commit.
    pub commit: Option<String>,
    /// The pull request that brought it.
    pub pull_request: Option<String>,
    /// The name under which the forge knows its author.
    pub author: Option<String>,
}

/// Everything in an entry that is worth an alert.
#[must_use]
pub fn events(entry: &LogEntry) -> Vec<Event> {
    let (before, after) = (entry.before.as_deref(), entry.after.as_ref());
    let mut found = Vec::new();
    if let Some(kind) = turn_of_rollout(entry.kind, before, after) {
        found.extend(
            after
                .rollout
                .as_ref()
                .map(|rollout| of_rollout(kind, after, rollout, entry)),
        );
    }
    if entry.kind == EntryKind::RegionFailed {
        found.extend(of_failed_regions(entry));
    }
    let known = before
        .map(|state| state.holds.as_slice())
        .unwrap_or_default();
    let is_new = |hold: &&Hold| !known.iter().any(|other| key(other) == key(hold));
    found.extend(
        after
            .holds
            .iter()
            .filter(is_new)
            .map(|hold| of_hold(after, hold, entry.seconds, Some(entry.commit), 0)),
    );
    found
}

/// What makes a hold another one, in words.
#[must_use]
pub fn key(hold: &Hold) -> String {
    format!(
        "{:?} {} {} {} {}",
        hold.reason,
        hold.source
            .map(|source| source.to_string())
            .unwrap_or_default(),
        hold.rollout.as_deref().unwrap_or_default(),
        hold.wave.as_deref().unwrap_or_default(),
        hold.regions.join(",")
    )
}

/// A hold as an event. `reminder` counts how often it has been told before; `entry` is the entry that began it.
#[must_use]
pub fn of_hold(
    state: &FleetState,
    hold: &Hold,
    at: i64,
    entry: Option<Oid>,
    reminder: u32,
) -> Event {
    let kind = match hold.reason {
        HoldReason::Drift | HoldReason::BranchDeleted => AlertKind::Drift,
        _ => AlertKind::Held,
    };
    let rollout = state.rollout.as_ref().filter(|rollout| {
        hold.rollout.as_ref().is_some_and(|id| *id == rollout.id) || !rollout.state.is_terminal()
    });
    let mut event = blank(kind, &state.fleet.name, rollout);
    if let Some(source) = hold.source {
        event.source = Some(source);
        if rollout.is_none_or(|rollout| rollout.source != source) {
            event.subject.clear();
            event.author.clear();
            event.commits = vec![source];
        }
    }
    event.at = at;
    event.message = one_line(&hold.message);
    event.reason = Some(format!("{:?}", hold.reason));
    event.wave.clone_from(&hold.wave);
    event.regions.clone_from(&hold.regions);
    event.commands = commands_for(hold, state);
    event.reminder = reminder;
    let began = entry.map_or_else(|| hold.since.to_string(), |entry| entry.to_string());
    event.id = id(&[
        &state.fleet.name,
        &state.fleet.prefix,
        &key(hold),
        &began,
        &reminder.to_string(),
    ]);
    event
}

/// Something that no entry of the log tells of: the log does not move, or cannot be trusted (then there may be no
/// state). `began` tells one occasion from the next.
#[must_use]
pub fn of_trouble(
    kind: AlertKind,
    (fleet, prefix): (&str, &str),
    state: Option<&FleetState>,
    reason: Option<HoldReason>,
    message: &str,
    (at, began): (i64, i64),
    reminder: u32,
) -> Event {
    let active = state.and_then(FleetState::active);
    let mut event = blank(kind, fleet, active);
    event.at = at;
    event.message = one_line(message);
    event.reason = reason.map(|reason| format!("{reason:?}"));
    event.commands = vec!["tidegate explain".to_owned()];
    event.reminder = reminder;
    event.id = id(&[
        fleet,
        prefix,
        &format!("{kind:?} {reason:?}"),
        &began.to_string(),
        &reminder.to_string(),
    ]);
    event
}

/// How a rollout's state changed by an entry, if that is worth an alert.
fn turn_of_rollout(
    kind: EntryKind,
    before: Option<&FleetState>,
    after: &FleetState,
) -> Option<AlertKind> {
    let now = after.rollout.as_ref()?;
    let then = before
        .and_then(|state| state.rollout.as_ref())
        .filter(|rollout| rollout.id == now.id);
    if kind == EntryKind::RolloutOpened {
        return Some(AlertKind::Opened);
    }
    let had_failed = then.is_some_and(|rollout| rollout.state == RolloutState::RollingBack);
    let was = then.map(|rollout| rollout.state);
    match now.state {
        state if was == Some(state) => None,
        RolloutState::Succeeded => Some(AlertKind::Succeeded),
        // Giving back after an abort is no failure.
        RolloutState::RollingBack if now.failure.is_some() && !had_failed => {
            Some(AlertKind::Failed)
        }
        RolloutState::RolledBack => Some(AlertKind::Reverted),
        RolloutState::RollbackIncomplete => Some(AlertKind::RevertIncomplete),
        _ => None,
    }
}

fn of_rollout(kind: AlertKind, state: &FleetState, rollout: &Rollout, entry: &LogEntry) -> Event {
    let mut event = blank(kind, &state.fleet.name, Some(rollout));
    event.at = entry.seconds;
    event.message = match &rollout.failure {
        Some(failure) if !matches!(kind, AlertKind::Opened | AlertKind::Succeeded) => {
            one_line(&failure.evidence)
        }
        _ => one_line(&entry.subject),
    };
    event.commands = match kind {
        AlertKind::Opened => vec![
            format!("tidegate hold --rollout {}", rollout.id),
            format!("tidegate abort --rollout {}", rollout.id),
        ],
        AlertKind::Succeeded => vec![format!("tidegate revert {}", rollout.id)],
        // What was taken back is not tried again by a command: a commit that mends it is.
        _ => vec!["tidegate explain".to_owned()],
    };
    event.id = id(&[
        &state.fleet.name,
        &state.fleet.prefix,
        &rollout.id,
        &format!("{kind:?}"),
        &entry.commit.to_string(),
    ]);
    event
}

fn blank(kind: AlertKind, fleet: &str, rollout: Option<&Rollout>) -> Event {
    let newest = rollout.and_then(|rollout| rollout.commits.first());
    let failure = rollout.and_then(|rollout| rollout.failure.as_ref());
    let named = |name: &String| (!name.is_empty()).then(|| name.clone());
    Event {
        id: String::new(),
        kind,
        fleet: fleet.to_owned(),
        rollout: rollout.map(|rollout| rollout.id.clone()),
        at: 0,
        message: String::new(),
        reason: failure.map(|failure| format!("{:?}", failure.reason)),
        source: rollout.map(|rollout| rollout.source),
        commits: rollout
            .map(|rollout| rollout.commits.iter().map(|commit| commit.id).collect())
            .unwrap_or_default(),
        subject: newest
            .map(|commit| one_line(&commit.subject))
            .unwrap_or_default(),
        author: newest
            .map(|commit| one_line(&commit.author))
            .unwrap_or_default(),
        wave: failure.and_then(|failure| named(&failure.wave)),
        region: failure.and_then(|failure| named(&failure.region)),
        gate: failure.and_then(|failure| named(&failure.gate)),
        regions: rollout.map(received).unwrap_or_default(),
        revert: rollout.and_then(revert_of),
        last_good: rollout.and_then(|rollout| rollout.base),
        opened: rollout.map(|rollout| rollout.opened),
        asked: rollout
            .map(|rollout| rollout.asked.clone())
            .unwrap_or_default(),
        commands: Vec::new(),
        goes_on: false,
        reminder: 0,
        links: Links::default(),
    }
}

/// The regions that an entry tells of as failed while their rollout goes on.
fn of_failed_regions(entry: &LogEntry) -> Option<Event> {
    let after = entry.after.rollout.as_ref()?;
    let before = entry
        .before
        .as_ref()
        .and_then(|state| state.rollout.as_ref());
    let changed: Vec<String> = after
        .waves
        .iter()
        .flat_map(|wave| &wave.regions)
        .filter(|(name, run)| {
            let was = before
                .and_then(|rollout| rollout.region(name))
                .map(|(_, run)| run.state);
            was != Some(run.state)
        })
        .map(|(name, _)| name.clone())
        .collect();
    let mut event = of_rollout(AlertKind::Failed, &entry.after, after, entry);
    event.message = one_line(&entry.subject);
    event.goes_on = true;
    if let [region] = changed.as_slice() {
        event.region = Some(region.clone());
        event.wave = after.region(region).map(|(wave, _)| wave.name.clone());
    }
    event.regions = changed;
    Some(event)
}

/// The regions that a rollout has brought something to.
fn received(rollout: &Rollout) -> Vec<String> {
    rollout
        .waves
        .iter()
        .flat_map(|wave| &wave.regions)
        .filter(|(_, run)| run.before.is_some())
        .map(|(name, _)| name.clone())
        .collect()
}

fn revert_of(rollout: &Rollout) -> Option<Oid> {
    use tidegate_waves::rollout::SourceRevert;
    match rollout.source_revert {
        SourceRevert::Proposed { commit } | SourceRevert::Pushed { commit } => Some(commit),
        _ => None,
    }
}

fn id(parts: &[&str]) -> String {
    Uuid::new_v5(&NAMESPACE, parts.join("\0").as_bytes()).to_string()
}
