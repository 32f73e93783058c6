//! An engineer's work tree, untouched by the git configuration of the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs git in a folder with an environment of the tests' own, whatever it says and however it ends.
pub fn try_git(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("git")
        .args([
            "-c",
            "init.defaultBranch=main",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "Jo Engineer")
        .env("GIT_AUTHOR_EMAIL", "jo@example.com")
        .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
        .env("GIT_COMMITTER_NAME", "Jo Engineer")
        .env("GIT_COMMITTER_EMAIL", "jo@example.com")
        .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
        .output()
        .expect("the git command")
}

/// Runs git, which must succeed, and gives what it printed, without blanks at the end.
pub fn git_command(folder: &Path, arguments: &[&str]) -> String {
    let output = try_git(folder, arguments);
    assert!(
        output.status.success(),
        "git {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

/// A work tree with `origin` as its remote.
#[derive(Debug)]
pub struct Work {
    folder: tempfile::TempDir,
}

impl Work {
    /// A new, empty repo on branch `main` whose origin is at `url`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        git_command(folder.path(), &["init", "-q"]);
        git_command(folder.path(), &["remote", "add", "origin", url]);
        Self { folder }
    }

    /// A clone.
    #[must_use]
    pub fn clone_of(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        git_command(folder.path(), &["clone", "-q", url, "."]);
        Self { folder }
    }

    /// A path in the work tree.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file and the folders above it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    /// Runs git, which must succeed, and gives what it printed.
    pub fn git(&self, arguments: &[&str]) -> String {
        git_command(self.folder.path(), arguments)
    }

    /// Commits everything as it is on disk (also when nothing changed) and gives the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&[
            "commit",
            "-q",
            "--allow-empty",
            "--cleanup=verbatim",
            "-m",
            message,
        ]);
        self.head()
    }

    /// The id of the current commit.
    #[must_use]
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Pushes the current commit to a branch of origin.
    pub fn push(&self, branch: &str) {
        self.git(&["push", "-q", "origin", &format!("HEAD:refs/heads/{branch}")]);
    }

    /// Writes files, commits them and pushes them to `main`; gives the commit's id.
    pub fn publish(&self, files: &[(&str, &str)], message: &str) -> String {
        for (path, content) in files {
            self.write(path, content);
        }
        let id = self.commit(message);
        self.push("main");
        id
    }

    /// Brings the current branch forward to origin's.
    pub fn pull(&self, branch: &str) {
        self.git(&["pull", "-q", "--ff-only", "origin", branch]);
    }

    /// A commit message.
    #[must_use]
    pub fn message(&self, revision: &str) -> String {
        self.git(&["log", "-1", "--format=%B", revision])
    }

    /// The content of a file at a revision.
    #[must_use]
    pub fn show(&self, revision: &str, path: &str) -> String {
        self.git(&["show", &format!("{revision}:{path}")])
    }
}
