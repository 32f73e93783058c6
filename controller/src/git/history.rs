//! Reading history: first-parent chains, ancestry, and the three-way merge behind a revert.
//!
//! A [`History`] has a handle of its own on the repository and caches nothing that could grow old; open one
//! where it is needed. Everything here is synchronous and may take a while on long histories.

use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository};
use tidegate_renderer::tree::{from_git, to_git};
use tidegate_waves::oid::Oid;

use super::trailers::{self, Trailers};

/// The most commits that a chain is followed; a longer one is an error.
const MAX_CHAIN: usize = 100_000;

/// The history could not be read. Retryable after the objects have been fetched (again); `TooLong` is permanent.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The repository cannot be opened.
    #[error("cannot open the repository at {path}: {}", source.message())]
    Open {
        /// Where it should be.
        path: PathBuf,
        /// What libgit2 said.
        source: git2::Error,
    },
    /// An object is missing or damaged.
    #[error("cannot read {id} from the mirror: {}", source.message())]
    Read {
        /// Which one.
        id: Oid,
        /// What libgit2 said.
        source: git2::Error,
    },
    /// The merge could not be computed or its tree not be written.
    #[error("cannot compute the revert on {tip}: {}", source.message())]
    Merge {
        /// The commit it was to be based on.
        tip: Oid,
        /// What libgit2 said.
        source: git2::Error,
    },
    /// A chain without an end in sight.
    #[error("more than {limit} commits lie below {tip}; the history is too long to follow")]
    TooLong {
        /// Where the chain begins.
        tip: Oid,
        /// The bound.
        limit: usize,
    },
}

/// A person of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name as written, lossily decoded.
    pub name: String,
    /// The mail address as written, lossily decoded.
    pub email: String,
}

/// A commit, as much of it as decisions need. Texts are from outside: [`trailers::one_line`] before showing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitView {
    /// Its id.
    pub id: Oid,
    /// Its parents in order.
    pub parents: Vec<Oid>,
    /// Its tree.
    pub tree: Oid,
    /// The whole message, lossily decoded.
    pub message: String,
    /// Who wrote it.
    pub author: Person,
    /// Whether who committed it is who wrote it; somebody else committed what was picked or rebased.
    pub is_by_its_author: bool,
    /// The committer's time, seconds since the epoch; anybody can make it up.
    pub seconds: i64,
}

impl CommitView {
    /// What a commit of a repository says.
    pub(crate) fn of(commit: &git2::Commit<'_>) -> Self {
        let (author, committer) = (commit.author(), commit.committer());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            id: from_git(commit.id()),
            parents: commit.parent_ids().map(from_git).collect(),
            tree: from_git(commit.tree_id()),
            message: text(commit.message_raw_bytes()),
            author: Person {
                name: text(author.name_bytes()),
                email: text(author.email_bytes()),
            },
            is_by_its_author: author.name_bytes() == committer.name_bytes()
                && author.email_bytes() == committer.email_bytes(),
            seconds: commit.time().seconds(),
        }
    }

    /// The first line of the message as one plain line.
    #[must_use]
    pub fn subject(&self) -> String {
        trailers::one_line(self.message.trim_start().lines().next().unwrap_or_default())
    }

    /// The message's trailers.
    #[must_use]
    pub fn trailers(&self) -> Trailers {
        trailers::parse(&self.message)
    }

    /// The parent that the first-parent chain goes on with.
    #[must_use]
    pub fn first_parent(&self) -> Option<Oid> {
        self.parents.first().copied()
    }
}

/// What undoing a range on top of a commit comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeResult {
    /// It changes nothing: somebody has undone it already.
    Nothing,
    /// It goes through; this is the tree (written to the repository).
    Clean(Oid),
    /// Later changes are in the way, in these files.
    Conflict(Vec<String>),
}

/// A repository's history.
pub struct History {
    repository: Repository,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("History")
            .field(&self.repository.path())
            .finish()
    }
}

impl History {
    /// Opens the bare repository (or `.git` folder) at a path.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        Repository::open(path)
            .map(|repository| Self { repository })
            .map_err(|source| HistoryError::Open {
                path: path.to_owned(),
                source,
            })
    }

    /// Whether an object is here.
    #[must_use]
    pub fn has(&self, id: Oid) -> bool {
        self.repository
            .odb()
            .is_ok_and(|odb| odb.exists(to_git(id)))
    }

    /// One commit.
    pub fn commit(&self, id: Oid) -> Result<CommitView, HistoryError> {
        let commit = self
            .repository
            .find_commit(to_git(id))
            .map_err(|source| HistoryError::Read { id, source })?;
        Ok(CommitView::of(&commit))
    }

    /// The tree of a folder at the root of a commit; nothing if there is no such folder.
    pub fn folder(&self, commit: Oid, name: &str) -> Result<Option<Oid>, HistoryError> {
        let tree = self
            .repository
            .find_commit(to_git(commit))
            .and_then(|commit| commit.tree())
            .map_err(|source| HistoryError::Read { id: commit, source })?;
        Ok(tree
            .get_name(name)
            .filter(|entry| entry.kind() == Some(git2::ObjectType::Tree))
            .map(|entry| from_git(entry.id())))
    }

    /// The first-parent chain from `to` down to the commit before `from`, newest first.
    ///
    /// `None` if `from` is not on it. Without `from`: the chain down to its root.
    pub fn chain(
        &self,
        from: Option<Oid>,
        to: Oid,
    ) -> Result<Option<Vec<CommitView>>, HistoryError> {
        let mut chain = Vec::new();
        let mut next = Some(to);
        while next != from {
            let Some(id) = next else {
                return Ok(None);
            };
            if chain.len() >= MAX_CHAIN {
                return Err(HistoryError::TooLong {
                    tip: to,
                    limit: MAX_CHAIN,
                });
            }
            let commit = self.commit(id)?;
            next = commit.first_parent();
            chain.push(commit);
        }
        Ok(Some(chain))
    }

    /// Whether `ancestor` is `descendant` or on the first-parent chain below it.
    pub fn same_first_parent_chain(
        &self,
        ancestor: Oid,
        descendant: Oid,
    ) -> Result<bool, HistoryError> {
        let mut next = Some(descendant);
        for _ in 0..MAX_CHAIN {
            match next {
                Some(id) if id == ancestor => return Ok(true),
                Some(id) => {
                    let commit = self
                        .repository
                        .find_commit(to_git(id))
                        .map_err(|source| HistoryError::Read { id, source })?;
                    next = commit.parent_ids().next().map(from_git);
                }
                None => return Ok(false),
            }
        }
        Err(HistoryError::TooLong {
            tip: descendant,
            limit: MAX_CHAIN,
        })
    }

    /// Whether `ancestor` is `descendant` or can be reached from it by any parents.
    ///
    /// An `ancestor` that is not here is none, where all of the descendant's history is.
    pub fn is_ancestor(&self, ancestor: Oid, descendant: Oid) -> Result<bool, HistoryError> {
        if ancestor == descendant {
            return Ok(true);
        }
        if !self.has(ancestor) {
            return Ok(false);
        }
        self.repository
            .graph_descendant_of(to_git(descendant), to_git(ancestor))
            .map_err(|source| HistoryError::Read {
                id: descendant,
                source,
            })
    }

    /// Undoes what lies between `good` and `bad` on top of `tip`: a three-way merge with base `bad`, ours
    /// `tip`, theirs `good`.
    ///
    /// All three are commits. Renames are followed, as `git revert` does.
    pub fn revert_merge(&self, tip: Oid, bad: Oid, good: Oid) -> Result<MergeResult, HistoryError> {
        let tree = |id: Oid| {
            self.repository
                .find_commit(to_git(id))
                .and_then(|commit| commit.tree())
                .map_err(|source| HistoryError::Read { id, source })
        };
        let (ours, base, theirs) = (tree(tip)?, tree(bad)?, tree(good)?);
        let failed = |source| HistoryError::Merge { tip, source };
        let mut index = self
            .repository
            .merge_trees(&base, &ours, &theirs, None)
            .map_err(failed)?;
        if index.has_conflicts() {
            let mut paths = Vec::new();
            for conflict in index.conflicts().map_err(failed)? {
                let conflict = conflict.map_err(failed)?;
                let entries = [conflict.our, conflict.their, conflict.ancestor];
                paths.extend(
                    entries
                        .into_iter()
                        .flatten()
                        .map(|entry| String::from_utf8_lossy(&entry.path).into_owned()),
                );
            }
            paths.sort();
            paths.dedup();
            return Ok(MergeResult::Conflict(paths));
        }
        let merged = index.write_tree_to(&self.repository).map_err(failed)?;
        Ok(if merged == ours.id() {
            MergeResult::Nothing
        } else {
            MergeResult::Clean(from_git(merged))
        })
    }

    /// The commit that a revision (a branch, a tag, an abbreviated id) names; `None` if it names none.
    pub fn resolve(&self, revision: &str) -> Result<Option<Oid>, HistoryError> {
        match self
            .repository
            .revparse_single(revision)
            .and_then(|object| object.peel_to_commit())
        {
            Ok(commit) => Ok(Some(from_git(commit.id()))),
            Err(error)
                if matches!(
                    error.code(),
                    ErrorCode::NotFound
                        | ErrorCode::InvalidSpec
                        | ErrorCode::Ambiguous
                        | ErrorCode::Peel
                ) =>
            {
                Ok(None)
            }
            Err(source) => Err(HistoryError::Read {
                id: Oid::ZERO,
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tidegate_renderer::tree::{NewCommit, ObjectStore};

    struct World {
        _folder: tempfile::TempDir,
        store: ObjectStore,
        path: PathBuf,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.git");
            Repository::init_bare(&path).unwrap();
            Self {
                store: ObjectStore::open(&path).unwrap(),
                path,
                _folder: folder,
            }
        }

        fn commit(&self, files: &[(&str, &str)], parents: &[Oid], message: &str) -> Oid {
            let files: BTreeMap<String, Oid> = files
                .iter()
                .map(|(path, text)| {
                    (
                        (*path).to_owned(),
                        self.store.blob(text.as_bytes()).unwrap(),
                    )
                })
                .collect();
            let commit = NewCommit {
                tree: self.store.folder(&files).unwrap(),
                parents,
                author_name: "Jo",
                author_email: "jo@example.com",
                seconds: 7,
                message,
            };
            let id = self.store.commit(&commit).unwrap();
            self.store.flush().unwrap();
            id
        }

        fn history(&self) -> History {
            History::open(&self.path).unwrap()
        }
    }

    const ONE: &[(&str, &str)] = &[("a", "1\n"), ("b", "1\n")];
    const TWO: &[(&str, &str)] = &[("a", "2\n"), ("b", "1\n")];

    #[test]
    fn a_chain_follows_first_parents_alone() {
        let world = World::new();
        let root = world.commit(ONE, &[], "root");
        let side = world.commit(TWO, &[root], "side");
        let merge = world.commit(TWO, &[root, side], "merge\n\nA: b");
        let top = world.commit(ONE, &[merge], "top");
        let history = world.history();
        let ids = |from| {
            let chain = history.chain(from, top).unwrap();
            chain.map(|chain| chain.iter().map(|commit| commit.id).collect::<Vec<_>>())
        };
        assert_eq!(ids(Some(root)).unwrap(), [top, merge]);
        assert_eq!(ids(None).unwrap(), [top, merge, root]);
        assert_eq!(ids(Some(top)).unwrap(), []);
        assert_eq!(ids(Some(side)), None);
        assert!(history.is_ancestor(side, top).unwrap());
        assert!(!history.is_ancestor(top, side).unwrap());
        assert!(!history.same_first_parent_chain(side, top).unwrap());
        assert!(history.same_first_parent_chain(root, top).unwrap());
        let view = history.commit(merge).unwrap();
        assert_eq!(view.subject(), "merge");
        assert_eq!(view.trailers().only("A"), Some("b"));
        assert_eq!((view.author.name.as_str(), view.seconds), ("Jo", 7));
    }

    #[test]
    fn a_revert_keeps_what_came_later() {
        let world = World::new();
        let good = world.commit(ONE, &[], "good");
        let bad = world.commit(TWO, &[good], "bad");
        let tip = world.commit(&[("a", "2\n"), ("b", "9\n")], &[bad], "later");
        let undone = world.commit(&[("a", "1\n"), ("b", "9\n")], &[tip], "undone");
        let other = world.commit(&[("a", "3\n"), ("b", "1\n")], &[bad], "other");
        let history = world.history();
        let MergeResult::Clean(tree) = history.revert_merge(tip, bad, good).unwrap() else {
            panic!("the revert is clean");
        };
        assert_eq!(tree, history.commit(undone).unwrap().tree);
        assert_eq!(
            history.revert_merge(undone, bad, good).unwrap(),
            MergeResult::Nothing
        );
        assert_eq!(
            history.revert_merge(other, bad, good).unwrap(),
            MergeResult::Conflict(vec!["a".to_owned()])
        );
    }

    #[test]
    fn what_is_not_here_is_said() {
        let world = World::new();
        let root = world.commit(ONE, &[], "root");
        let history = world.history();
        let missing = Oid::from_bytes([7; 20]);
        assert!(!history.has(missing));
        assert!(!history.is_ancestor(missing, root).unwrap());
        assert!(matches!(
            history.chain(None, missing),
            Err(HistoryError::Read { .. })
        ));
        assert_eq!(history.resolve(&root.to_string()).unwrap(), Some(root));
        assert_eq!(history.resolve("refs/heads/none").unwrap(), None);
    }
}
