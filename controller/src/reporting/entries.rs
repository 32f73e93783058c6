//! The entries of the log that have not been told of yet, with the states around them.

use std::sync::Arc;

use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::FleetState;

use super::LogEntry;
use crate::engine::EngineError;
use crate::engine::log::read_state;
use crate::git::history::{CommitView, History};

/// Entries of the log, oldest first.
#[derive(Debug, Default)]
pub struct Entries {
    /// The entries.
    pub entries: Vec<LogEntry>,
    /// Whether nothing is missing between the known one and the first of them.
    pub complete: bool,
}

/// The entries after `known` up to `tip`. At most the newest `limit` are read: what is further back is of
/// interest to nobody but `tidegate history`.
pub fn since(
    store: &ObjectStore,
    history: &History,
    known: Option<Oid>,
    tip: Oid,
    limit: usize,
) -> Result<Entries, EngineError> {
    let mut commits: Vec<CommitView> = Vec::new();
    let mut next = Some(tip);
    while let Some(id) = next {
        if Some(id) == known || commits.len() == limit {
            break;
        }
        let commit = history.commit(id)?;
        next = commit.first_parent();
        commits.push(commit);
    }
    let complete = next == known;
    let mut before = match next {
        Some(id) => Some(Arc::new(read_state(store, history, id)?)),
        None => None,
    };
    let mut entries = Vec::with_capacity(commits.len());
    for commit in commits.into_iter().rev() {
        let after: Arc<FleetState> = Arc::new(read_state(store, history, commit.id)?);
        // A kind that a newer version wrote says nothing to this one; the state after it does.
        if let Some((kind, subject)) = kind_and_subject(&commit) {
            entries.push(LogEntry {
                commit: commit.id,
                seconds: commit.seconds,
                kind,
                subject,
                before: before.clone(),
                after: Arc::clone(&after),
            });
        }
        before = Some(after);
    }
    Ok(Entries { entries, complete })
}

fn kind_and_subject(commit: &CommitView) -> Option<(EntryKind, String)> {
    let trailers = commit.trailers();
    let kind: EntryKind = trailers.only("Tidegate-Entry")?.parse().ok()?;
    let first_line = commit.message.lines().next().unwrap_or_default();
    let subject = first_line
        .strip_prefix(&format!("{kind}: "))
        .unwrap_or(first_line);
    Some((kind, subject.to_owned()))
}
