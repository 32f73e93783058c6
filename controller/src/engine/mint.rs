//! Makes the commits that intents name. Deterministic: whoever makes them from the same log entry gets the
//! same ids, so that any controller can carry out what another one wrote.

use tidegate_renderer::tree::{EMPTY_TREE, NewCommit, ObjectStore};
use tidegate_waves::log::{DraftIntent, MoveKind};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::FleetState;

use super::{EngineError, message};
use crate::git::history::History;
use crate::settings::Author;

/// Who commits, and when: the date of the log entry that the commits are built on.
#[derive(Debug, Clone)]
pub(crate) struct Signature<'a> {
    pub(crate) author: &'a Author,
    pub(crate) seconds: i64,
}

impl Signature<'_> {
    pub(crate) fn commit(
        &self,
        store: &ObjectStore,
        tree: Oid,
        parents: &[Oid],
        text: &str,
    ) -> Result<Oid, EngineError> {
        let commit = NewCommit {
            tree,
            parents,
            author_name: &self.author.name,
            author_email: &self.author.email,
            seconds: self.seconds,
            message: text,
        };
        Ok(store.commit(&commit)?)
    }
}

/// The commit of one move.
pub(crate) fn mint(
    store: &ObjectStore,
    history: &History,
    state: &FleetState,
    draft: &DraftIntent,
    signature: &Signature<'_>,
) -> Result<Oid, EngineError> {
    let rollout = state
        .rollout
        .as_ref()
        .filter(|rollout| draft.rollout.as_ref() == Some(&rollout.id));
    match (draft.kind, draft.given) {
        (MoveKind::Create, _) => {
            signature.commit(store, EMPTY_TREE, &[], &message::of_move(draft, rollout)?)
        }
        (MoveKind::SourceRevert, given) => {
            let (Some(tree), Some(rollout)) = (given, rollout) else {
                return Err(EngineError::Inconsistent(
                    "a source revert names no tree or no rollout".to_owned(),
                ));
            };
            let parent = draft.onto.unwrap_or(draft.old);
            signature.commit(store, tree, &[parent], &message::of_source_revert(rollout)?)
        }
        // A deleted branch comes back to the very commit that it had.
        (MoveKind::Restore, Some(tip)) => Ok(tip),
        (
            MoveKind::Promote
            | MoveKind::Revert
            | MoveKind::Leave
            | MoveKind::Restore
            | MoveKind::Seal
            | MoveKind::Adopt,
            _,
        ) => {
            let base = history.commit(draft.old)?.tree;
            let changes: Vec<(String, Option<Oid>)> = draft
                .folders
                .iter()
                .map(|change| (change.region.clone(), change.tree))
                .collect();
            let tree = store.splice(base, &changes)?;
            signature.commit(
                store,
                tree,
                &[draft.old],
                &message::of_move(draft, rollout)?,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_give_equal_commits_wherever_they_are_made() {
        let author = Author::default();
        let made = |seconds: i64, text: &str| {
            let signature = Signature {
                author: &author,
                seconds,
            };
            let store = ObjectStore::in_memory();
            signature
                .commit(&store, EMPTY_TREE, &[Oid::from_bytes([7; 20])], text)
                .unwrap()
        };
        assert_eq!(made(1_000, "Promote"), made(1_000, "Promote"));
        assert_ne!(made(1_000, "Promote"), made(1_001, "Promote"));
        assert_ne!(made(1_000, "Promote"), made(1_000, "Revert"));
    }
}
