//! Fetching for one command, with the user's own git configuration and credentials, into a temporary repo.
//!
//! The controller's mirrors are another thing: they are hermetic, and kept.

use std::path::Path;
use std::process::{Command, Stdio};

use super::error::CommandError;

/// A repo in a temporary folder, which is gone when this is.
pub struct TemporaryRepo {
    repository: git2::Repository,
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
        run(clone, &format!("clone {url}"))?;
        Self::open(folder)
    }

    /// Fetches the tips of all branches below `<prefix>/` of a repo; a relative `url` counts from `from`.
    pub fn branches_of(url: &str, prefix: &str, from: &Path) -> Result<Self, CommandError> {
        let folder = temporary_folder()?;
        git2::Repository::init_bare(folder.path()).map_err(super::config_repo::of_git)?;
        let mut fetch = Command::new("git");
        fetch
            .current_dir(from)
            .arg("--git-dir")
            .arg(folder.path())
            .args(["fetch", "--quiet", "--no-tags", "--depth=1", "--"])
            .arg(url)
            .arg(format!("+refs/heads/{prefix}/*:refs/heads/{prefix}/*"));
        run(fetch, &format!("fetch the branches {prefix}/* of {url}"))?;
        Self::open(folder)
    }

    /// The repo.
    #[must_use]
    pub fn repository(&self) -> &git2::Repository {
        &self.repository
    }

    fn open(folder: tempfile::TempDir) -> Result<Self, CommandError> {
        let repository =
            git2::Repository::open(folder.path()).map_err(super::config_repo::of_git)?;
        Ok(Self {
            repository,
            _folder: folder,
        })
    }
}

fn temporary_folder() -> Result<tempfile::TempDir, CommandError> {
    tempfile::Builder::new()
        .prefix("tidegate-")
        .tempdir()
        .map_err(|error| CommandError::failed(format!("cannot create a temporary folder: {error}")))
}

/// Git says on stderr itself what went wrong, and asks on the terminal for what it needs.
fn run(mut command: Command, what: &str) -> Result<(), CommandError> {
    let status = command.stdout(Stdio::null()).status().map_err(|error| {
        CommandError::failed(format!("cannot run git: {error}")).hint("install git 2.39 or later")
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(CommandError::failed(format!("git could not {what}")))
    }
}
