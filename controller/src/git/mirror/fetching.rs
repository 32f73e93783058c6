//! Fetching: the objects of what was listed, also of what git's checks refuse, and what of it can be read.

use std::collections::{BTreeSet, VecDeque};

use git2::Repository;
use tidegate_renderer::tree::{from_git, to_git};
use tidegate_waves::oid::Oid;

use super::{Mirror, RefView, TRACKING};
use crate::git::failure::RemoteError;

impl Mirror {
    /// Brings what the listing names and the mirror does not have.
    pub(super) async fn fetch(&mut self, listed: &RefView) -> Result<(), RemoteError> {
        let missing = self
            .outdated(listed)
            .map_err(|error| self.damaged(&error.message()))?;
        if !missing.is_empty() {
            match self.fetch_refs(&missing, &[]).await {
                Err(error @ RemoteError::BadObjects { .. }) => {
                    self.fetch_unchecked(&missing, error).await?;
                }
                other => other?,
            }
        }
        let unreadable = self.unreadable_of(listed)?;
        for (name, id) in unreadable.difference(&self.unreadable) {
            self.say_left_out(name, *id);
        }
        self.unreadable = unreadable;
        Ok(())
    }

    fn say_left_out(&self, name: &str, id: Oid) {
        tracing::warn!(
            remote = %self.options.remote, reference = name, commit = %id,
            "a branch is left out, for its commit cannot be read, or one below it; push another one over it"
        );
    }

    /// Leaves out the branches that have a commit below them that is here and cannot be read, because whoever needed to read
    /// one at or below `needed` could not. Tells whether there are any: if not, the mirror is damaged.
    ///
    /// What lies below is not looked at before that: old histories hold odd commits that nobody needs.
    pub fn leave_out(&mut self, needed: Oid) -> bool {
        let (Ok(repository), Some(last)) = (Repository::open(&self.git_dir), &self.last) else {
            return false;
        };
        let Some(odd) = unreadable_below(&repository, needed) else {
            return false;
        };
        let log = self.log();
        self.odd.add(odd);
        let mut found = BTreeSet::new();
        for (name, id) in &last.refs {
            let here = (name.clone(), *id);
            if *name != log
                && !self.unreadable.contains(&here)
                && self.odd.is_below(&repository, *id)
            {
                self.say_left_out(name, *id);
                found.insert(here);
            }
        }
        let any = !found.is_empty();
        self.unreadable.append(&mut found);
        self.odd.nowhere_below(last, &self.unreadable);
        any
    }

    async fn fetch_refs(&self, names: &[String], settings: &[&str]) -> Result<(), RemoteError> {
        let refspecs = names.iter().map(|name| {
            let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
            format!("+{name}:{TRACKING}{branch}")
        });
        let finished = self
            .to_remote_with("fetch", self.options.deadlines.fetch, settings)?
            .args(["--quiet", "--no-tags", "--no-write-fetch-head"])
            .args(["--no-recurse-submodules", "--no-auto-maintenance"])
            .args(["--", self.options.remote.address()])
            .args(refspecs)
            .run()
            .await?;
        if finished.success() {
            Ok(())
        } else {
            Err(RemoteError::from_finished(&self.options.remote, &finished))
        }
    }

    /// Brings what git's checks refuse.
    ///
    /// One odd commit, on any branch, must keep nobody from giving regions back. Nothing of a mirror is ever checked
    /// out, whoever renders a commit judges the names in it, and git still reads everything once to see that nothing
    /// is missing.
    async fn fetch_unchecked(
        &self,
        names: &[String],
        refused: RemoteError,
    ) -> Result<(), RemoteError> {
        tracing::warn!(
            remote = %self.options.remote,
            reason = refused.reason(),
            error = %refused,
            "objects fail git's checks and are taken all the same, to be judged when they are rendered; whoever made them may want to make them anew"
        );
        let fetched = self.fetch_refs(names, &["fetch.fsckObjects=false"]).await;
        fetched.map_err(|error| {
            tracing::warn!(remote = %self.options.remote, %error, "they cannot be taken unchecked either");
            refused
        })
    }

    /// The listed refs that were not fetched at their listed id. Forgets tracking refs that are not listed:
    /// `tidegate/a` would stand in the way of `tidegate/a/b`. Their objects stay.
    fn outdated(&self, listed: &RefView) -> Result<Vec<String>, git2::Error> {
        let repository = Repository::open(&self.git_dir)?;
        let mut outdated = listed.refs.clone();
        for reference in repository.references_glob(&format!("{TRACKING}*"))? {
            let mut reference = reference?;
            let name = reference
                .name()
                .ok()
                .and_then(|name| name.strip_prefix(TRACKING))
                .map(|branch| format!("refs/heads/{branch}"));
            match name.as_ref().and_then(|name| listed.refs.get(name)) {
                None => reference.delete()?,
                Some(id) if reference.target().map(from_git) == Some(*id) => {
                    if let Some(name) = name {
                        outdated.remove(&name);
                    }
                }
                Some(_) => {}
            }
        }
        Ok(outdated.into_keys().collect())
    }

    /// After a fetch: a listed commit that is missing means that its ref moved on, if the fetch brought
    /// something else, and that the mirror is damaged, if it did not. Gives what is here and no commit that can be read.
    fn unreadable_of(&mut self, listed: &RefView) -> Result<BTreeSet<(String, Oid)>, RemoteError> {
        let mut unreadable = BTreeSet::new();
        let repository =
            Repository::open(&self.git_dir).map_err(|error| self.damaged(&error.message()))?;
        let log = self.log();
        for (name, id) in &listed.refs {
            if *name != log && self.odd.is_below(&repository, *id) {
                unreadable.insert((name.clone(), *id));
                continue;
            }
            let here = repository
                .find_commit(to_git(*id))
                .and_then(|commit| commit.tree());
            if let Err(error) = here {
                if is_unreadable(&repository, *id) {
                    unreadable.insert((name.clone(), *id));
                    continue;
                }
                let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
                let fetched = repository
                    .refname_to_id(&format!("{TRACKING}{branch}"))
                    .ok();
                return Err(if fetched.map(from_git) == Some(*id) {
                    self.damaged(&error.message())
                } else {
                    RemoteError::Moving {
                        remote: self.options.remote.to_string(),
                        message: format!("{name} left {id} between listing and fetch"),
                    }
                });
            }
        }
        self.odd.nowhere_below(listed, &unreadable);
        Ok(unreadable)
    }
}

/// Commits that are here whole and none that can be read, and that somebody needed to read.
#[derive(Debug, Default)]
pub(super) struct OddCommits {
    known: BTreeSet<Oid>,
    /// Commits below which there is none of them.
    sound: BTreeSet<Oid>,
}

impl OddCommits {
    fn add(&mut self, odd: Oid) {
        self.known.insert(odd);
        self.sound.clear();
    }

    /// Whether one of them is a commit or below it.
    fn is_below(&self, repository: &Repository, tip: Oid) -> bool {
        if self.known.is_empty() {
            return false;
        }
        let mut next = vec![tip];
        let mut seen = BTreeSet::new();
        while let Some(id) = next.pop() {
            if self.known.contains(&id) {
                return true;
            }
            if self.sound.contains(&id) || !seen.insert(id) {
                continue;
            }
            if let Ok(commit) = repository.find_commit(to_git(id)) {
                next.extend(commit.parent_ids().map(from_git));
            }
        }
        false
    }

    /// Remembers below which commits none of them was found: what comes on top of those is looked at alone.
    fn nowhere_below(&mut self, view: &RefView, left_out: &BTreeSet<(String, Oid)>) {
        if !self.known.is_empty() {
            let left_out: BTreeSet<Oid> = left_out.iter().map(|(_, id)| *id).collect();
            let all: BTreeSet<Oid> = view.refs.values().copied().collect();
            self.sound = all.difference(&left_out).copied().collect();
        }
    }
}

/// The first commit at or below another that is here whole, and none that can be read.
fn unreadable_below(repository: &Repository, tip: Oid) -> Option<Oid> {
    let mut next = VecDeque::from([tip]);
    let mut seen = BTreeSet::new();
    while let Some(id) = next.pop_front() {
        if !seen.insert(id) {
            continue;
        }
        match repository.find_commit(to_git(id)) {
            Ok(commit) => next.extend(commit.parent_ids().map(from_git)),
            Err(_) if is_unreadable(repository, id) => return Some(id),
            Err(_) => {}
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
