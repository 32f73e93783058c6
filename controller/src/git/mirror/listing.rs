//! Listing: which branches the remote has, of those that are watched.

use std::collections::BTreeMap;
use std::path::Path;

use tidegate_waves::oid::Oid;

use super::{Mirror, MirrorOptions, RefView};
use crate::git::child::Finished;
use crate::git::failure::RemoteError;
use crate::git::push;

impl Mirror {
    /// Lists the watched refs once: cheap, for a poll. It is no snapshot, and its objects may not be here.
    pub async fn list(&self) -> Result<RefView, RemoteError> {
        let mut patterns = vec![
            "HEAD".to_owned(),
            format!("refs/heads/{}/*", self.options.prefix),
            "refs/heads/tidegate-revert/*".to_owned(),
        ];
        if let Some(branch) = &self.options.branch {
            patterns.push(format!("refs/heads/{branch}"));
        }
        let folders = folders_of_branches(&self.options.prefix);
        patterns.extend(folders.iter().map(|folder| format!("refs/heads/{folder}")));
        let finished = self
            .to_remote("ls-remote", self.options.deadlines.list)?
            .args(["--symref", "--", self.options.remote.address()])
            .args(patterns)
            .run()
            .await?;
        if !finished.success() {
            return Err(RemoteError::from_finished(&self.options.remote, &finished));
        }
        let text = String::from_utf8_lossy(&finished.stdout);
        let is_branch = |folder: &&str| {
            lines(&text).any(|(_, name)| name.strip_prefix("refs/heads/") == Some(*folder))
        };
        if let Some(branch) = folders.into_iter().find(is_branch) {
            return Err(RemoteError::InTheWay {
                remote: self.options.remote.to_string(),
                branch: branch.to_owned(),
                prefix: self.options.prefix.clone(),
            });
        }
        let view = read_listing(&self.options, &finished);
        if view == RefView::default() {
            self.make_sure_it_is_git().await?;
        }
        Ok(view)
    }

    /// An empty listing by HTTP may come from a page: git takes any text without tabs for the old protocol's
    /// list of no refs. A sign-in page must not look like a repo whose branches are all gone.
    async fn make_sure_it_is_git(&self) -> Result<(), RemoteError> {
        if self.options.remote.origin().is_none() {
            return Ok(());
        }
        let finished = self
            .to_remote("ls-remote", self.options.deadlines.list)?
            .showing_packets()
            .args(["--", self.options.remote.address(), "HEAD"])
            .run()
            .await?;
        if !finished.success() {
            return Err(RemoteError::from_finished(&self.options.remote, &finished));
        }
        let greetings = ["< version 2", "< version 1", "service=git-upload-pack"];
        if greetings
            .iter()
            .any(|greeting| finished.stderr.contains(greeting))
        {
            return Ok(());
        }
        Err(RemoteError::NotGit {
            remote: self.options.remote.to_string(),
            message:
                "it answers with something else than a list of branches, perhaps a page to sign in"
                    .to_owned(),
        })
    }
}

/// Whether a ref is one of those that a mirror looks at.
fn is_watched(options: &MirrorOptions, name: &str, head: Option<&str>) -> bool {
    let below = |prefix: &str| {
        name.strip_prefix("refs/heads/")
            .and_then(|branch| branch.strip_prefix(prefix))
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let is_config = match &options.branch {
        Some(branch) => name.strip_prefix("refs/heads/") == Some(branch),
        None => head == Some(name),
    };
    is_config || below(&options.prefix) || below("tidegate-revert")
}

/// Reads lines `<id>\t<ref>` and `ref: <target>\tHEAD`. What is neither is no ref.
pub(crate) fn read_listing(options: &MirrorOptions, finished: &Finished) -> RefView {
    let text = String::from_utf8_lossy(&finished.stdout);
    let lines: Vec<(&str, &str)> = lines(&text).collect();
    let head = lines
        .iter()
        .filter(|(_, name)| *name == "HEAD")
        .find_map(|(target, _)| target.strip_prefix("ref: "));
    let mut view = RefView {
        head: head.map(str::to_owned),
        refs: BTreeMap::new(),
    };
    for (id, name) in lines {
        // HEAD's own line gives the id of its target, which no pattern asks for by name.
        let name = match (name, head) {
            ("HEAD", Some(target)) => target,
            _ => name,
        };
        if let Ok(id) = id.parse::<Oid>()
            && push::is_branch(name)
            && is_watched(options, name, head)
        {
            view.refs.insert(name.to_owned(), id);
        }
    }
    view
}

/// The lines `<id>\t<ref>` of a listing.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.split_once('\t'))
}

/// The folders that our branches stand in, where git can have no branch of that name: `a` and `a/b` for the prefix `a/b`.
fn folders_of_branches(prefix: &str) -> Vec<&str> {
    Path::new(prefix)
        .ancestors()
        .filter_map(Path::to_str)
        .filter(|folder| !folder.is_empty())
        .chain(["tidegate-revert"])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::options;
    use super::*;
    use crate::secret::Mask;

    #[test]
    fn a_listing_is_read_and_what_is_not_watched_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Mirror::open(options(folder.path())).unwrap();
        let id = Oid::from_bytes([7; 20]);
        let stdout = format!(
            "ref: refs/heads/main\tHEAD\n{id}\tHEAD\n{id}\trefs/heads/tidegate/log\n\
             {id}\trefs/heads/x/refs/heads/tidegate/log\n{id}\trefs/heads/tidegated/x\n\
             nonsense\n{id}\trefs/remotes/x/HEAD\nzz\trefs/heads/tidegate/bad\n"
        );
        let view = read_listing(
            &mirror.options,
            &Finished {
                code: Some(0),
                stdout: stdout.into_bytes(),
                stderr: String::new(),
                known_hosts: None,
                mask: Mask::default(),
            },
        );
        assert_eq!(view.head.as_deref(), Some("refs/heads/main"));
        assert_eq!(mirror.config_ref(&view).as_deref(), Some("refs/heads/main"));
        let names: Vec<&str> = view.refs.keys().map(String::as_str).collect();
        assert_eq!(names, ["refs/heads/main", "refs/heads/tidegate/log"]);
    }
}
