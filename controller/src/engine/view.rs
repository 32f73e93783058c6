//! What the remote has, in the form in which decisions take it.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{BranchView, CommitView, FleetState};

use super::EngineError;
use super::ports::RefView;
use crate::git::history::{CommitView as Commit, History};

/// The branches as a decision sees them. All objects must be in the store.
pub(crate) fn branches(
    store: &ObjectStore,
    history: &History,
    state: &FleetState,
    view: &RefView,
) -> Result<BTreeMap<String, BranchView>, EngineError> {
    let mut branches = BTreeMap::new();
    let log = state.fleet.log_ref();
    let requests = state.fleet.requests_ref();
    for (reference, tip) in &view.refs {
        if *reference == log || *reference == requests {
            continue;
        }
        let wave = reference.strip_prefix(&format!("refs/heads/{}/", state.fleet.prefix));
        let known = wave
            .and_then(|wave| state.branches.get(wave))
            .and_then(|branch| branch.tip);
        let named = state
            .intents
            .iter()
            .filter(|intent| intent.draft.reference == *reference)
            .flat_map(|intent| [intent.draft.old, intent.new])
            .chain(known)
            .filter(|id| !id.is_zero());
        let mut contains = BTreeSet::new();
        for id in named {
            if history.is_ancestor(id, *tip)? {
                contains.insert(id);
            }
        }
        // The config branch's own commits are not looked at: it is not ours.
        let chain = match (wave, known) {
            (None, _) => Vec::new(),
            (Some(wave), _) if !state.branches.contains_key(wave) => Vec::new(),
            (Some(_), Some(known)) if known == *tip || !contains.contains(&known) => Vec::new(),
            (Some(_), known) => new_commits(history, known, *tip)?,
        };
        let mut commits = Vec::with_capacity(chain.len());
        for commit in chain.into_iter().rev() {
            commits.push(CommitView {
                id: commit.id,
                folders: store.folders(commit.tree)?,
            });
        }
        branches.insert(
            reference.clone(),
            BranchView {
                tip: *tip,
                chain: commits,
                contains,
            },
        );
    }
    Ok(branches)
}

/// The commits of a chain that came after what is known of it, newest first.
fn new_commits(
    history: &History,
    known: Option<Oid>,
    tip: Oid,
) -> Result<Vec<Commit>, EngineError> {
    if let Some(chain) = history.chain(known, tip)? {
        return Ok(chain);
    }
    // Somebody merged what is known into a chain of their own: theirs is new, ours is not.
    let mut theirs = Vec::new();
    for commit in history.chain(None, tip)?.unwrap_or_default() {
        let ours = match known {
            Some(known) => history.is_ancestor(commit.id, known)?,
            None => false,
        };
        if !ours {
            theirs.push(commit);
        }
    }
    Ok(theirs)
}

/// Whether any branch exists that only a controller makes, besides the log.
pub(crate) fn any_wave_branch(view: &RefView, prefix: &str) -> Option<String> {
    let folder = format!("refs/heads/{prefix}/");
    view.refs
        .keys()
        .find(|name| {
            name.strip_prefix(&folder)
                .is_some_and(|rest| rest != "log" && rest != "requests")
        })
        .cloned()
}
