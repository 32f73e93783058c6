//! What is told to the world outside git: the engine publishes a [`Report`] whenever it has looked, and what
//! posts statuses or sends alerts works from reports and log entries alone.
//!
//! Nothing here can delay or change a rollout: statuses, alerts and pull requests come last, and all of them
//! can be derived from the log again.

pub mod entries;
pub mod reporter;

use std::sync::Arc;

use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{Candidate, FleetState};

/// What a fleet's engine knew when it last looked.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The log's tip; `None` before there is a log.
    pub tip: Option<LogTip>,
    /// The config branch's head.
    pub head: Option<Oid>,
    /// The commit that is to be carried next and what rendering it came to; `None` while nothing waits, and
    /// while the head has been seen but not been rendered yet (then `head` is neither settled nor carried).
    pub candidate: Option<Arc<Candidate>>,
    /// What keeps the engine from looking or writing, if anything does.
    pub trouble: Option<Trouble>,
}

/// Something that keeps the engine from going on, and that no entry of the log can tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The log itself cannot be trusted; nothing is written until a person mends it.
    pub log_is_damaged: bool,
    /// One sentence.
    pub message: String,
}

/// The log's tip.
#[derive(Debug, Clone)]
pub struct LogTip {
    /// Its commit.
    pub commit: Oid,
    /// Its date, in seconds since 1970.
    pub seconds: i64,
    /// The state that it holds.
    pub state: Arc<FleetState>,
}

/// One entry of the log with the states before and after it.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// The entry's commit.
    pub commit: Oid,
    /// Its date, in seconds since 1970.
    pub seconds: i64,
    /// What kind of entry it is.
    pub kind: EntryKind,
    /// Its first line, without the kind.
    pub subject: String,
    /// The state before it; `None` for entry 0.
    pub before: Option<Arc<FleetState>>,
    /// The state after it.
    pub after: Arc<FleetState>,
}
