//! The control log in git: reading it, checking it, and making its next commit.

use std::collections::BTreeMap;

use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::log::{Entry, Intent};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetState, StateFilesError, from_files, to_files};

use super::mint::Signature;
use super::{EngineError, message};
use crate::git::history::{CommitView, History};

/// Why a log cannot be trusted. Nothing is written while it is so.
#[derive(Debug, thiserror::Error)]
pub enum LogDamage {
    /// An entry does not follow from the one before.
    #[error(
        "log entry {commit} says Tidegate-Seq {found:?}, but {expected} follows from its place in the chain"
    )]
    Gap {
        /// The entry.
        commit: Oid,
        /// What it says.
        found: Option<String>,
        /// What it should say.
        expected: u64,
    },
    /// An entry has no files, or they are not a state.
    #[error("log entry {commit}: {source}")]
    Files {
        /// The entry.
        commit: Oid,
        /// What is wrong.
        source: StateFilesError,
    },
    /// The state and the trailers disagree.
    #[error("log entry {commit}: its trailers say {trailers}, its state.json says {state}")]
    Disagrees {
        /// The entry.
        commit: Oid,
        /// What its trailers say.
        trailers: String,
        /// What its state says.
        state: String,
    },
    /// The log no longer contains an entry that this controller has seen.
    #[error("the log was rewound or rewritten: it no longer contains entry {0}")]
    Rewound(Oid),
    /// The log is gone, and wave branches are there.
    #[error("the log {log} does not exist, but {branch} does")]
    Deleted {
        /// The log's ref.
        log: String,
        /// A branch that only a controller makes.
        branch: String,
    },
}

/// Reads the state that a log commit holds.
pub(crate) fn read_state(
    store: &ObjectStore,
    history: &History,
    tip: Oid,
) -> Result<FleetState, EngineError> {
    let commit = history.commit(tip)?;
    let mut files = BTreeMap::new();
    for (path, blob) in store.files(commit.tree)? {
        files.insert(path, store.read_blob(blob)?);
    }
    let state = from_files(&files).map_err(|source| LogDamage::Files {
        commit: tip,
        source,
    })?;
    check_trailers(&commit, &state)?;
    Ok(state)
}

fn check_trailers(commit: &CommitView, state: &FleetState) -> Result<(), LogDamage> {
    let trailers = commit.trailers();
    let value = |name: &str| trailers.only(name).map(str::to_owned);
    let said = format!(
        "seq {:?} epoch {:?}",
        value("Tidegate-Seq"),
        value("Tidegate-Epoch")
    );
    let is = format!(
        "seq {:?} epoch {:?}",
        Some(state.seq.to_string()),
        Some(state.epoch.to_string())
    );
    if said == is {
        Ok(())
    } else {
        Err(LogDamage::Disagrees {
            commit: commit.id,
            trailers: said,
            state: is,
        })
    }
}

/// Checks the chain from `tip` back to `known` (which is trusted) or to entry 0: numbers without gaps.
pub(crate) fn verify(history: &History, tip: Oid, known: Option<Oid>) -> Result<(), EngineError> {
    let mut next = Some(tip);
    let mut above: Option<u64> = None;
    // One commit at a time: a log may have any number of entries.
    while let Some(id) = next {
        let commit = history.commit(id)?;
        let found = commit.trailers().only("Tidegate-Seq").map(str::to_owned);
        let seq = found.as_ref().and_then(|text| text.parse::<u64>().ok());
        let follows = match (seq, above) {
            (Some(_), None) => true,
            (Some(seq), Some(above)) => seq.checked_add(1) == Some(above),
            (None, _) => false,
        };
        next = commit.first_parent();
        if !follows || (next.is_none() && seq != Some(0)) {
            let expected = above.map_or(0, |above| above.saturating_sub(1));
            return Err(LogDamage::Gap {
                commit: id,
                found,
                expected,
            }
            .into());
        }
        if Some(id) == known {
            return Ok(());
        }
        above = seq;
    }
    match known {
        None => Ok(()),
        Some(known) => Err(LogDamage::Rewound(known).into()),
    }
}

/// When entry 0 of the log was written, in seconds since 1970.
pub(crate) fn begun(history: &History, tip: Oid) -> Result<i64, EngineError> {
    let mut commit = history.commit(tip)?;
    while let Some(before) = commit.first_parent() {
        commit = history.commit(before)?;
    }
    Ok(commit.seconds)
}

/// Makes the log commit of an entry. Its first parent is the entry before; the others pin what it names.
pub(crate) fn commit_of(
    store: &ObjectStore,
    entry: &Entry,
    intents: &[Intent],
    state: &FleetState,
    previous: Option<Oid>,
    pinned: &[Oid],
    signature: &Signature<'_>,
) -> Result<Oid, EngineError> {
    let mut files = BTreeMap::new();
    for (path, bytes) in to_files(state) {
        files.insert(path, store.blob(&bytes)?);
    }
    let tree = store.folder(&files)?;
    let mut parents: Vec<Oid> = previous.into_iter().collect();
    for id in intents
        .iter()
        .map(|intent| intent.new)
        .chain(pinned.iter().copied())
    {
        if !parents.contains(&id) {
            parents.push(id);
        }
    }
    signature.commit(
        store,
        tree,
        &parents,
        &message::of_entry(entry, state, intents)?,
    )
}
