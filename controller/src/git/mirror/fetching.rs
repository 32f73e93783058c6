//! Fetching: the objects of what was listed, also of what git's checks refuse.

use std::collections::BTreeSet;

use git2::Repository;
use tidegate_renderer::tree::{from_git, to_git};
use tidegate_waves::oid::Oid;

use super::unreadable::is_unreadable;
use super::{Mirror, RefView, TRACKING};
use crate::crash;
use crate::git::failure::RemoteError;

impl Mirror {
    /// Brings what the listing names and the mirror does not have.
    pub(super) async fn fetch(&mut self, listed: &RefView) -> Result<(), RemoteError> {
        let missing = self
            .outdated(listed)
            .map_err(|error| self.damaged(&error.message()))?;
        if !missing.is_empty() {
            crash::point("before-fetch");
            match self.fetch_refs(&missing, &[]).await {
                Err(error @ RemoteError::BadObjects { .. }) => {
                    self.fetch_unchecked(&missing, error).await?;
                }
                other => other?,
            }
            // The objects are here, and what was listed is not believed yet.
            crash::point("after-fetch");
        }
        let unreadable = self.unreadable_of(listed)?;
        self.leave_out_alone(unreadable, listed);
        Ok(())
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
    fn unreadable_of(&self, listed: &RefView) -> Result<BTreeSet<(String, Oid)>, RemoteError> {
        let mut unreadable = BTreeSet::new();
        let repository =
            Repository::open(&self.git_dir).map_err(|error| self.damaged(&error.message()))?;
        let log = self.log();
        for (name, id) in &listed.refs {
            if *name != log && self.left_out.is_spoilt(&repository, *id) {
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
        Ok(unreadable)
    }
}
