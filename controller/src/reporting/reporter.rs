//! The task that tells the world outside git what the log says, for one fleet.
//!
//! It listens to the engine's reports and reads the log itself from where it last stopped, so that nothing is
//! missed while reports come faster than they are told, and nothing is lost with the process. It is never waited
//! for: the engine does not know whether anybody listens.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::SourceRevert;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::entries::{Entries, since};
use super::{LogEntry, Report};
use crate::clock::Clock;
use crate::engine::EngineError;
use crate::forge::Forge;
use crate::forge::poster::StatusBoard;
use crate::forge::pull_request;
use crate::git::history::History;

/// How many entries of the log are read at most after a start without memory, or a long absence.
const ENTRIES: usize = 300;

/// How often what only time brings about is looked at: reminders, and what is overdue.
const TICK: Duration = Duration::from_secs(15);

/// How long `--settle` waits for what has not been told yet.
const OUTBOX: Duration = Duration::from_secs(30);

/// The least time between two attempts to open a pull request.
const PULL_REQUEST_PAUSE: Duration = Duration::from_secs(10);
