//! What the demo plays on: a config repo, its bare remote, the regions, and the controller.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use git2::Repository;
use tidegate_renderer::tree::{ObjectStore, from_git};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::FleetState;

use super::super::config_repo::of_git;
use super::super::error::CommandError;
use super::follower::Follower;
use crate::engine::log::read_state;
use crate::git::history::History;
use crate::repo_template;

/// Changes to the template that make minutes seconds.
const FASTER: [(&str, &str); 6] = [
    ("bake: 15m", "bake: 2s"),
    ("bake: 30m", "bake: 3s"),
    ("settle: 30s", "settle: 0s"),
    ("every: 10s", "every: 500ms"),
    ("timeout: 5s", "timeout: 500ms"),
    ("successes: 3", "successes: 2"),
];

/// The wave branches, in order.
const WAVES: [&str; 3] = ["canary", "pilot", "broad"];

/// Who writes the demo's commits.
const ENGINEER: (&str, &str) = ("Demo Engineer", "engineer@example.com");

/// The demo's world; gone when this is, unless it is kept.
pub(super) struct Stage {
    folder: PathBuf,
    temporary: Option<tempfile::TempDir>,
    work: Repository,
    remote: PathBuf,
    store: ObjectStore,
    history: History,
    followers: Vec<Follower>,
    controller: Option<Child>,
    started: Instant,
    shown: Option<Oid>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut controller) = self.controller.take() {
            // It may have ended by itself.
            let _ = controller.kill();
            let _ = controller.wait();
        }
    }
}

fn io(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> CommandError {
    let text = format!("cannot {what} {}", path.display());
    move |error| CommandError::failed(format!("{text}: {error}"))
}

impl Stage {
    /// Makes the config repo, its remote and the regions.
    pub(super) fn build(keep: Option<PathBuf>) -> Result<Self, CommandError> {
        let (folder, temporary) = match keep {
            Some(folder) => {
                if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
                    return Err(
                        CommandError::usage(format!("{} is not empty", folder.display()))
                            .hint("name a folder that does not exist yet"),
                    );
                }
                fs::create_dir_all(&folder).map_err(io("create", &folder))?;
                (
                    fs::canonicalize(&folder).map_err(io("open", &folder))?,
                    None,
                )
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("tidegate-demo-")
                    .tempdir()
                    .map_err(|error| {
                        CommandError::failed(format!("cannot create a temporary folder: {error}"))
                    })?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let work_folder = folder.join("shop-config");
        fs::create_dir_all(&work_folder).map_err(io("create", &work_folder))?;
        repo_template::write_into(&work_folder).map_err(CommandError::failed)?;
        let mut followers = Vec::new();
        let mut listeners = Vec::new();
        for (file, region) in regions(&work_folder)? {
            let (follower, listener) = Follower::new(&region).map_err(|error| {
                CommandError::failed(format!("cannot listen on 127.0.0.1: {error}"))
            })?;
            edit(
                &file,
                &[(
                    &format!("https://shop-{region}.example.com"),
                    &follower.url(),
                )],
            )?;
            followers.push(follower);
            listeners.push(listener);
        }
        edit(&work_folder.join("tidegate.yaml"), &FASTER)?;
        let remote = folder.join("config.git");
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).initial_head("main");
        Repository::init_opts(&remote, &options).map_err(of_git)?;
        let mut options = git2::RepositoryInitOptions::new();
        options.initial_head("main");
        let work = Repository::init_opts(&work_folder, &options).map_err(of_git)?;
        let store = ObjectStore::open(&remote).map_err(CommandError::failed)?;
        let history = History::open(&remote).map_err(CommandError::failed)?;
        for (follower, listener) in followers.iter_mut().zip(listeners) {
            follower.start(listener, remote.clone());
        }
        let stage = Self {
            folder,
            temporary,
            work,
            remote,
            store,
            history,
            followers,
            controller: None,
            started: Instant::now(),
            shown: None,
        };
        stage.commit_all("Begin")?;
        stage.push()?;
        Ok(stage)
    }

    /// Where everything is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The time since the demo began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Where everything stays; `None` if it goes.
    pub(super) fn keep(&self) -> Option<&Path> {
        self.temporary.is_none().then_some(&self.folder)
    }

    /// Starts this very program as the controller of the remote.
    pub(super) fn start_controller(&mut self) -> Result<(), CommandError> {
        let program = std::env::current_exe()
            .map_err(|error| CommandError::failed(format!("cannot find this program: {error}")))?;
        let log = self.folder.join("controller.log");
        let output = File::create(&log).map_err(io("create", &log))?;
        let child = Command::new(program)
            .args(["run", "--allow-loopback", "--repo"])
            .arg(&self.remote)
            .arg("--data-dir")
            .arg(self.folder.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .map_err(|error| {
                CommandError::failed(format!("cannot start the controller: {error}"))
            })?;
        self.controller = Some(child);
        Ok(())
    }

    /// Whether the controller still runs.
    pub(super) fn check_controller(&mut self) -> Result<(), CommandError> {
        let ended = self
            .controller
            .as_mut()
            .and_then(|controller| controller.try_wait().ok().flatten());
        match ended {
            None => Ok(()),
            Some(status) => {
                let log =
                    fs::read_to_string(self.folder.join("controller.log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                Err(CommandError::failed(format!(
                    "the controller ended with {status}; it last said:\n{}",
                    last.join("\n")
                )))
            }
        }
    }

    /// Changes a file, commits and pushes; gives the commit.
    pub(super) fn commit(
        &self,
        subject: &str,
        file: &str,
        changes: &[(&str, &str)],
    ) -> Result<Oid, CommandError> {
        self.pull()?;
        let folder = self.work.workdir().unwrap_or(&self.folder).to_owned();
        edit(&folder.join(file), changes)?;
        let commit = self.commit_all(subject)?;
        self.push()?;
        Ok(commit)
    }

    fn commit_all(&self, subject: &str) -> Result<Oid, CommandError> {
        let mut index = self.work.index().map_err(of_git)?;
        index
            .add_all(["*"], git2::IndexAddOption::DEFAULT, None)
            .map_err(of_git)?;
        index.write().map_err(of_git)?;
        let tree = index
            .write_tree()
            .and_then(|id| self.work.find_tree(id))
            .map_err(of_git)?;
        let who = git2::Signature::now(ENGINEER.0, ENGINEER.1).map_err(of_git)?;
        let parent = self.work.head().and_then(|head| head.peel_to_commit()).ok();
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        let id = self
            .work
            .commit(Some("HEAD"), &who, &who, subject, &tree, &parents)
            .map_err(of_git)?;
        Ok(from_git(id))
    }

    fn git(&self, arguments: &[&str]) -> Result<String, CommandError> {
        let output = Command::new("git")
            .arg("-C")
            .arg(self.work.workdir().unwrap_or(&self.folder))
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                CommandError::failed(format!("cannot run git: {error}"))
                    .hint("install git 2.39 or later")
            })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(CommandError::failed(format!(
            "git {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )))
    }

    fn push(&self) -> Result<(), CommandError> {
        self.git(&[
            "push",
            "--quiet",
            &self.remote.display().to_string(),
            "HEAD:refs/heads/main",
        ])
        .map(drop)
    }

    fn pull(&self) -> Result<(), CommandError> {
        self.git(&[
            "pull",
            "--quiet",
            "--ff-only",
            &self.remote.display().to_string(),
            "main",
        ])
        .map(drop)
    }

    fn tip(&self, reference: &str) -> Result<Option<Oid>, CommandError> {
        let repository = Repository::open_bare(&self.remote).map_err(of_git)?;
        match repository.find_reference(reference) {
            Ok(found) => Ok(found.target().map(from_git)),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(of_git(error)),
        }
    }

    /// The config branch's head.
    pub(super) fn head(&self) -> Result<Oid, CommandError> {
        self.tip("refs/heads/main")?
            .ok_or_else(|| CommandError::failed("the demo's remote has no main"))
    }

    /// What the log's tip holds.
    pub(super) fn state(&self) -> Result<Option<FleetState>, CommandError> {
        let Some(tip) = self.tip("refs/heads/tidegate/log")? else {
            return Ok(None);
        };
        read_state(&self.store, &self.history, tip)
            .map(Some)
            .map_err(CommandError::failed)
    }

    /// The first lines of log entries that were not given yet.
    pub(super) fn new_entries(&mut self) -> Result<Vec<String>, CommandError> {
        let Some(tip) = self.tip("refs/heads/tidegate/log")? else {
            return Ok(Vec::new());
        };
        if self.shown == Some(tip) {
            return Ok(Vec::new());
        }
        let chain = self
            .history
            .chain(self.shown, tip)
            .map_err(CommandError::failed)?
            .unwrap_or_default();
        self.shown = Some(tip);
        Ok(chain
            .iter()
            .rev()
            .map(|commit| commit.message.lines().next().unwrap_or_default().to_owned())
            .collect())
    }

    /// The tree of each wave branch.
    pub(super) fn wave_trees(&self) -> Result<Vec<(String, Oid)>, CommandError> {
        let mut trees = Vec::new();
        for wave in WAVES {
            if let Some(tip) = self.tip(&format!("refs/heads/tidegate/{wave}"))? {
                trees.push((
                    wave.to_owned(),
                    self.history.commit(tip).map_err(CommandError::failed)?.tree,
                ));
            }
        }
        Ok(trees)
    }

    /// The waves on whose branch a commit promoted this source.
    pub(super) fn branches_with(&self, source: Oid) -> Result<Vec<&'static str>, CommandError> {
        let mut waves = Vec::new();
        for wave in WAVES {
            let Some(tip) = self.tip(&format!("refs/heads/tidegate/{wave}"))? else {
                continue;
            };
            let chain = self
                .history
                .chain(None, tip)
                .map_err(CommandError::failed)?
                .unwrap_or_default();
            let promoted = chain.iter().any(|commit| {
                let trailers = commit.trailers();
                trailers.only("Tidegate-Kind") == Some("promote")
                    && trailers.only("Tidegate-Source") == Some(source.to_string().as_str())
            });
            if promoted {
                waves.push(wave);
            }
        }
        Ok(waves)
    }

    /// Whether the config branch's head says that it reverts this commit.
    pub(super) fn head_reverts(&self, commit: Oid) -> Result<bool, CommandError> {
        let head = self
            .history
            .commit(self.head()?)
            .map_err(CommandError::failed)?;
        Ok(head.message.starts_with("Revert \"")
            && head
                .message
                .contains(&format!("This reverts commit {commit}."))
            && head.parents == [commit])
    }

    /// Whether the config branch's head has the same files as this commit.
    pub(super) fn same_content(&self, commit: Oid) -> Result<bool, CommandError> {
        let tree = |id| {
            self.history
                .commit(id)
                .map(|commit| commit.tree)
                .map_err(CommandError::failed)
        };
        Ok(tree(self.head()?)? == tree(commit)?)
    }

    /// Waits until every region runs this version and is healthy.
    pub(super) fn wait_until_all_run(
        &self,
        version: &str,
        at_most: Duration,
    ) -> Result<(), CommandError> {
        let started = Instant::now();
        loop {
            let others: Vec<&str> = self
                .followers
                .iter()
                .filter(|follower| {
                    let running = follower.running();
                    running.version != version || !running.is_healthy()
                })
                .map(|follower| follower.region.as_str())
                .collect();
            if others.is_empty() {
                return Ok(());
            }
            if started.elapsed() > at_most {
                return Err(CommandError::failed(format!(
                    "{} do not run {version}",
                    others.join(", ")
                )));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The log, the branches and the revert, as git shows them.
    pub(super) fn story(&self) -> Result<String, CommandError> {
        let remote = self.remote.display().to_string();
        let git = |arguments: &[&str]| {
            let mut all = vec!["--git-dir", remote.as_str()];
            all.extend_from_slice(arguments);
            self.git(&all)
        };
        let log = git(&[
            "log",
            "--first-parent",
            "--reverse",
            "--format=  %s",
            "tidegate/log",
        ])?;
        let branches = git(&[
            "for-each-ref",
            "--format=  %(refname:short)  %(objectname:short)  %(contents:subject)",
            "refs/heads",
        ])?;
        let revert = git(&["log", "-1", "--format=%w(0,2,2)%H%n%B", "main"])?;
        Ok(format!(
            "The control log (git log --first-parent tidegate/log):\n{log}\nThe branches:\n{branches}\nThe revert on main:\n{}\n",
            revert.trim_end()
        ))
    }
}

/// Replaces texts in a file; each must be there.
fn edit(file: &Path, changes: &[(&str, &str)]) -> Result<(), CommandError> {
    let mut text = fs::read_to_string(file).map_err(io("read", file))?;
    for (old, new) in changes {
        if !text.contains(old) {
            return Err(CommandError::failed(format!(
                "{} does not contain {old:?}",
                file.display()
            )));
        }
        text = text.replace(old, new);
    }
    fs::write(file, text).map_err(io("write", file))
}

/// The template's region documents and their names.
fn regions(work: &Path) -> Result<Vec<(PathBuf, String)>, CommandError> {
    let folder = work.join("regions");
    let mut regions = Vec::new();
    for entry in fs::read_dir(&folder).map_err(io("read", &folder))? {
        let path = entry.map_err(io("read", &folder))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            regions.push((path.clone(), name.to_owned()));
        }
    }
    regions.sort();
    Ok(regions)
}
