//! Commits that are in the mirror whole and that nothing can read, as when a server took one without a well-formed author;
//! and the branches that are left out for them. No other mirror would help: the server has them so.

use std::collections::{BTreeSet, VecDeque};

use git2::Repository;
use tidegate_renderer::tree::{from_git, to_git};
use tidegate_waves::oid::Oid;

use super::{Mirror, RefView};

/// The branches that are left out of what the engine sees.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// Each with the commit for which it is left out, or above it.
    branches: BTreeSet<(String, Oid)>,
    /// Unreadable commits that somebody needed to read, below some branch's tip.
    commits: BTreeSet<Oid>,
    /// Tips that have none of those below them: what comes on top of them is looked at alone.
    sound: BTreeSet<Oid>,
}

impl LeftOut {
    /// All branches, with the commits at which they are left out.
    pub(super) fn branches(&self) -> impl Iterator<Item = &(String, Oid)> {
        self.branches.iter()
    }

    /// Whether one of the known commits is this one, or below it.
    pub(super) fn is_spoilt(&self, repository: &Repository, tip: Oid) -> bool {
        if self.commits.is_empty() {
            return false;
        }
        first_below(
            repository,
            tip,
            |id| self.commits.contains(&id),
            |id| self.sound.contains(&id),
        )
        .is_some()
    }

    /// From now on these are left out of this view, and everything else in it is sound.
    fn set(&mut self, branches: BTreeSet<(String, Oid)>, view: &RefView) {
        if !self.commits.is_empty() {
            let spoilt: BTreeSet<Oid> = branches.iter().map(|(_, id)| *id).collect();
            let all = view.refs.values().copied();
            self.sound = all.filter(|id| !spoilt.contains(id)).collect();
        }
        self.branches = branches;
    }
}

impl Mirror {
    /// Leaves out the branches with an unreadable commit below them, because whoever needed to read one at or below `needed` could
    /// not. Tells whether there are any: if not, the mirror is damaged.
    ///
    /// What lies below a tip is not looked at before that: old histories hold odd commits that nobody needs.
    pub fn leave_out(&mut self, needed: Oid) -> bool {
        let Ok(repository) = Repository::open(&self.git_dir) else {
            return false;
        };
        let unreadable = |id| is_unreadable(&repository, id);
        let Some(commit) = first_below(&repository, needed, unreadable, |_| false) else {
            return false;
        };
        let Some(last) = self.last.clone() else {
            return false;
        };
        self.left_out.commits.insert(commit);
        self.left_out.sound.clear();
        let log = self.log();
        let mut branches = self.left_out.branches.clone();
        let before = branches.len();
        branches.extend(
            last.refs
                .iter()
                .filter(|(name, id)| **name != log && self.left_out.is_spoilt(&repository, **id))
                .map(|(name, id)| (name.clone(), *id)),
        );
        let any = branches.len() > before;
        self.leave_out_alone(branches, &last);
        any
    }

    /// Leaves out these branches of a view and no others, and says which are new.
    pub(super) fn leave_out_alone(&mut self, branches: BTreeSet<(String, Oid)>, view: &RefView) {
        for (name, id) in branches.difference(&self.left_out.branches) {
            tracing::warn!(
                remote = %self.options.remote, reference = name, commit = %id,
                "a branch is left out, for its commit cannot be read, or one below it; push another one over it"
            );
        }
        self.left_out.set(branches, view);
    }
}

/// The nearest commit at or below `tip` that is wanted, not looking below what is `sound` or cannot be read.
fn first_below(
    repository: &Repository,
    tip: Oid,
    is_wanted: impl Fn(Oid) -> bool,
    is_sound: impl Fn(Oid) -> bool,
) -> Option<Oid> {
    let mut next = VecDeque::from([tip]);
    let mut seen = BTreeSet::new();
    while let Some(id) = next.pop_front() {
        if is_sound(id) || !seen.insert(id) {
            continue;
        }
        if is_wanted(id) {
            return Some(id);
        }
        if let Ok(commit) = repository.find_commit(to_git(id)) {
            next.extend(commit.parent_ids().map(from_git));
        }
    }
    None
}

/// Whether a commit is here whole, and none that can be read.
pub(super) fn is_unreadable(repository: &Repository, id: Oid) -> bool {
    repository.find_commit(to_git(id)).is_err()
        && repository
            .odb()
            .and_then(|objects| objects.read(to_git(id)).map(|object| object.kind()))
            == Ok(git2::ObjectType::Commit)
}
