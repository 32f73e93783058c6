//! Fetching for one command, with the user's own git configuration and credentials, into a temporary repo.
//!
//! The controller's mirrors are another thing: they are hermetic, and kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tidegate_renderer::tree::from_git;
use tidegate_waves::oid::Oid;

use super::error::CommandError;

/// The name of the remote in a temporary repo.
const SOURCE: &str = "source";

/// What git hands to a hook to say which repo it is about.
const REPO_VARIABLES: [&str; 6] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
];

/// What says who somebody is and how they sign; a repo may set it for itself.
const USER_KEYS: [&str; 10] = [
    "user.name",
    "user.email",
    "author.name",
    "author.email",
    "committer.name",
    "committer.email",
    "user.signingKey",
    "gpg.format",
    "gpg.program",
    "gpg.ssh.program",
];

/// A repo in a temporary folder, which is gone when this is.
pub struct TemporaryRepo {
    repository: git2::Repository,
    from: PathBuf,
    shown: String,
    _folder: tempfile::TempDir,
}

impl TemporaryRepo {
    /// Clones a repo with all its branches and tags.
    pub fn clone_of(url: &str) -> Result<Self, CommandError> {
        let folder = temporary_folder()?;
        let mut clone = Command::new("git");
        clone
            .args(["clone", "--bare", "--quiet", "--"])
            .arg(url)
            .arg(folder.path());
        run(clone, &format!("clone {}", without_user(url)))?;
        Self::open(folder, url, Path::new("."))
    }

    /// A repo with nothing in it that fetches from `url`; a relative one counts from `from`.
    pub fn pointed_at(url: &str, from: &Path) -> Result<Self, CommandError> {
        let folder = temporary_folder()?;
        // Git reads the URL from a file: one that contains a token must not stand in a list of processes.
        git2::Repository::init_bare(folder.path())
            .and_then(|repository| repository.remote(SOURCE, url).map(|_| ()))
            .map_err(super::config_repo::of_git)?;
        Self::open(folder, url, from)
    }

    /// Fetches the tips of all branches below `<prefix>/` of a repo, if it has a branch `<prefix>/log`; a relative
    /// `url` counts from `from`.
    pub fn branches_of(url: &str, prefix: &str, from: &Path) -> Result<Option<Self>, CommandError> {
        let repo = Self::pointed_at(url, from)?;
        if repo
            .list(&[&format!("refs/heads/{prefix}/log")])?
            .is_empty()
        {
            return Ok(None);
        }
        repo.fetch(
            &[format!("+refs/heads/{prefix}/*:refs/heads/{prefix}/*")],
            Some(1),
        )?;
        Ok(Some(repo))
    }

    /// The commits that these refs (full names) have at the source; those that do not exist are left out.
    pub fn list(&self, refs: &[&str]) -> Result<BTreeMap<String, Oid>, CommandError> {
        let mut listed = self.list_matching(refs)?;
        listed.retain(|name, _| refs.contains(&name.as_str()));
        Ok(listed)
    }

    /// The commits that all branches have at the source, by full name.
    pub fn list_branches(&self) -> Result<BTreeMap<String, Oid>, CommandError> {
        let mut listed = self.list_matching(&["refs/heads/*"])?;
        listed.retain(|name, _| name.starts_with("refs/heads/"));
        Ok(listed)
    }

    fn list_matching(&self, patterns: &[&str]) -> Result<BTreeMap<String, Oid>, CommandError> {
        let mut list = self.git("ls-remote");
        list.args(["--", SOURCE]).args(patterns);
        let output = run(list, &format!("list the branches of {}", self.shown))?;
        let text = String::from_utf8_lossy(&output);
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(lines
            .filter_map(|(id, name)| Some((name.to_owned(), id.parse().ok()?)))
            .collect())
    }

    /// Fetches by refspecs; with a depth, no more than so many commits of each.
    pub fn fetch(&self, refspecs: &[String], depth: Option<u32>) -> Result<(), CommandError> {
        let mut fetch = self.git("fetch");
        fetch.arg("--no-tags");
        fetch.args(depth.map(|depth| format!("--depth={depth}")));
        fetch.args(["--", SOURCE]).args(refspecs);
        run(fetch, &format!("fetch from {}", self.shown)).map(drop)
    }

    /// Fetches what an earlier fetch with a depth left out.
    pub fn unshallow(&self, refspecs: &[String]) -> Result<(), CommandError> {
        let mut fetch = self.git("fetch");
        fetch.arg("--no-tags");
        if self.path().join("shallow").exists() {
            fetch.arg("--unshallow");
        }
        fetch.args(["--", SOURCE]).args(refspecs);
        run(fetch, &format!("fetch from {}", self.shown)).map(drop)
    }

    /// The commit that a ref (full name) was at when it was fetched.
    pub fn tip(&self, name: &str) -> Result<Oid, CommandError> {
        let reference = self
            .repository
            .find_reference(name)
            .map_err(super::config_repo::of_git)?;
        let commit = reference
            .peel_to_commit()
            .map_err(super::config_repo::of_git)?;
        Ok(from_git(commit.id()))
    }

    /// Makes a commit without content, by git itself: whose it is, when, and how it is signed is what the user's
    /// configuration says, that of the repo in this folder included.
    pub fn commit_empty(
        &self,
        parent: Option<Oid>,
        message: &str,
        sign: bool,
    ) -> Result<Oid, CommandError> {
        let tree = self
            .repository
            .treebuilder(None)
            .and_then(|tree| tree.write())
            .map_err(super::config_repo::of_git)?;
        let mut commit = Command::new("git");
        commit.arg("--git-dir").arg(self.path());
        for key in USER_KEYS {
            if let Some(value) = configured(key) {
                commit.args(["-c", &format!("{key}={value}")]);
            }
        }
        // What git would make up from the machine's name is nobody's identity.
        commit.args(["-c", "user.useConfigOnly=true", "commit-tree"]);
        if sign || configured("commit.gpgSign").is_some_and(|value| is_true(&value)) {
            commit.arg("-S");
        }
        if let Some(parent) = parent {
            commit.args(["-p", &parent.to_string()]);
        }
        commit.args(["-m", message.trim_end(), &tree.to_string()]);
        let made = run(commit, "make the commit").map_err(|error| {
            error
                .hint("it needs your identity: git config --global user.name and user.email")
                .hint("if it is to be signed, also user.signingKey; see `git help commit-tree`")
        })?;
        String::from_utf8_lossy(&made)
            .trim()
            .parse()
            .map_err(CommandError::failed)
    }

    /// Moves a ref (full name) of the source to a commit, if it still is where it is expected to be.
    pub fn push(
        &self,
        new: Oid,
        reference: &str,
        expected: Option<Oid>,
    ) -> Result<Pushed, CommandError> {
        let lease = expected.map(|tip| tip.to_string()).unwrap_or_default();
        let mut push = self.git("push");
        push.arg("--no-verify")
            .arg(format!("--force-with-lease={reference}:{lease}"))
            .args(["--", SOURCE, &format!("{new}:{reference}")]);
        without_repo_variables(&mut push);
        // Somebody else having been faster is no news for the user: git's words are shown only if it is not that.
        let output = push
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| no_git(&error))?;
        if output.status.success() {
            return Ok(Pushed::Moved);
        }
        let tip = self.list(&[reference])?.get(reference).copied();
        if tip == Some(new) {
            return Ok(Pushed::Moved);
        }
        if tip != expected {
            return Ok(Pushed::SomebodyElseWasFaster);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = crate::git::trailers::one_line(&said);
        Err(
            CommandError::failed(format!("git could not push to {}: {said}", self.shown))
                .hint(format!("you need the right to push to {reference}")),
        )
    }

    fn git(&self, verb: &str) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(&self.from)
            .arg("--git-dir")
            .arg(self.path())
            .args([verb, "--quiet"]);
        command
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.repository.path()
    }

    /// The repo.
    #[must_use]
    pub fn repository(&self) -> &git2::Repository {
        &self.repository
    }

    fn open(folder: tempfile::TempDir, url: &str, from: &Path) -> Result<Self, CommandError> {
        let repository =
            git2::Repository::open(folder.path()).map_err(super::config_repo::of_git)?;
        Ok(Self {
            repository,
            from: from.to_owned(),
            shown: without_user(url),
            _folder: folder,
        })
    }
}

/// What a push of one ref came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The ref is at the new commit.
    Moved,
    /// The ref was not where it was expected to be.
    SomebodyElseWasFaster,
}

/// One setting as git has it in this folder.
fn configured(key: &str) -> Option<String> {
    let output = Command::new("git")
        .args(["config", "--get", key])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let value = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !value.trim().is_empty()).then(|| value.trim().to_owned())
}

fn is_true(value: &str) -> bool {
    ["true", "yes", "on", "1"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

fn without_repo_variables(command: &mut Command) {
    // Set where git runs a hook, and then about another repo than the one at hand.
    for name in REPO_VARIABLES {
        command.env_remove(name);
    }
}

fn no_git(error: &std::io::Error) -> CommandError {
    CommandError::failed(format!("cannot run git: {error}")).hint("install git 2.39 or later")
}

/// A URL as it may be shown: without a user, who may be a token.
#[must_use]
pub fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

fn temporary_folder() -> Result<tempfile::TempDir, CommandError> {
    tempfile::Builder::new()
        .prefix("tidegate-")
        .tempdir()
        .map_err(|error| CommandError::failed(format!("cannot create a temporary folder: {error}")))
}

/// Runs git and gives what it prints; on stderr it says itself what went wrong, and asks on the terminal for what it
/// needs.
fn run(mut command: Command, what: &str) -> Result<Vec<u8>, CommandError> {
    without_repo_variables(&mut command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| no_git(&error))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(CommandError::failed(format!("git could not {what}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for (url, shown) in [
            ("https://token@host/a.git", "https://host/a.git"),
            (
                "https://me:pass@host:8443/a@b.git",
                "https://host:8443/a@b.git",
            ),
            ("https://host/a.git", "https://host/a.git"),
            ("git@host:a.git", "git@host:a.git"),
            ("../a.git", "../a.git"),
        ] {
            assert_eq!(without_user(url), shown);
        }
    }
}
