//! The fleet's one bare mirror, and the view of its remote. The module above says what always holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::{Repository, RepositoryInitOptions};
use tidegate_renderer::tree::{from_git, to_git};
use tidegate_waves::oid::Oid;

use super::child::{ChildError, Finished, GitCommand, Surroundings};
use super::failure::RemoteError;
use super::history::{History, HistoryError};
use super::push::{self, PushError, RefOutcome, RefUpdate};
use super::remote::{CredentialSource, RemoteUrl};
use super::ssh;

/// How often the remote is listed until two listings agree.
const LISTINGS: usize = 10;

/// So many packs make a mirror slow to read; then they are gathered into one.
const MOST_PACKS: usize = 100;

/// Where the mirror remembers what it has fetched.
const TRACKING: &str = "refs/remotes/origin/";

/// How long each kind of command may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// One listing of the remote's refs.
    pub list: Duration,
    /// One fetch; the first one brings the whole history.
    pub fetch: Duration,
    /// One push.
    pub push: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            list: Duration::from_secs(30),
            fetch: Duration::from_secs(600),
            push: Duration::from_secs(60),
        }
    }
}

/// What a mirror mirrors, and how.
#[derive(Debug, Clone)]
pub struct MirrorOptions {
    /// The folder that holds the mirror and its lock; made if it is not there.
    pub folder: PathBuf,
    /// The remote.
    pub remote: RemoteUrl,
    /// Where its credentials come from.
    pub credentials: CredentialSource,
    /// Whose git configuration is in force.
    pub surroundings: Surroundings,
    /// The config branch without `refs/heads/`; `None`: what the remote's HEAD names.
    pub branch: Option<String>,
    /// The prefix of the fleet's branches, without slash at its end.
    pub prefix: String,
    /// How long commands may take.
    pub deadlines: Deadlines,
}

/// The mirror's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Another process uses it. Retryable once that one has ended.
    #[error("{} is in use by another process; give this one a data folder of its own", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The file system does not let us. Retryable after somebody has mended it.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The empty repository cannot be made. Retryable after somebody has mended it.
    #[error("cannot make a repository in {}: {}", path.display(), source.message())]
    Init {
        /// The folder.
        path: PathBuf,
        /// What libgit2 said.
        source: git2::Error,
    },
}

/// What the remote had at one moment; see the module above for why it is one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RefView {
    /// The full name of the branch that HEAD names; `None` where the remote does not say (an empty repo).
    pub head: Option<String>,
    /// The watched branches by full name: the config branch, `<prefix>/*` and `tidegate-revert/*`.
    pub refs: BTreeMap<String, Oid>,
}

impl RefView {
    /// The id of a ref by its full name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Oid> {
        self.refs.get(name).copied()
    }
}

/// A lock on a folder, held until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
}

/// Closing the file is not enough: a child that is being started has a copy of the descriptor until it runs its
/// own program, and the copy would keep the lock.
impl Drop for FolderLock {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "a folder's lock goes with the process");
        }
    }
}

impl FolderLock {
    /// Takes the lock on a folder, which is made if it is not there. Never waits.
    pub fn take(folder: &Path) -> Result<Self, MirrorError> {
        make_folder(folder)?;
        let path = folder.join("lock");
        let failed = |source| MirrorError::Io {
            path: path.clone(),
            source,
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(MirrorError::InUse {
                folder: folder.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// A bare mirror of a fleet's repo.
#[derive(Debug)]
pub struct Mirror {
    options: MirrorOptions,
    git_dir: PathBuf,
    generation: u64,
    last: Option<RefView>,
    /// Branches whose commit is here, and is none that can be read.
    unreadable: BTreeSet<(String, Oid)>,
    _lock: FolderLock,
}

impl Mirror {
    /// Opens the mirror in `options.folder`, or makes an empty one. Talks to nobody yet.
    ///
    /// What a killed process left behind (locks, half-written packs) is removed; a mirror that cannot be
    /// read is thrown away. Fails if another process uses the folder.
    pub fn open(options: MirrorOptions) -> Result<Self, MirrorError> {
        let lock = FolderLock::take(&options.folder)?;
        ssh::remove_leftovers(&options.folder);
        let git_dir = options.folder.join("mirror.git");
        let mut mirror = Self {
            options,
            git_dir,
            generation: 0,
            last: None,
            unreadable: BTreeSet::new(),
            _lock: lock,
        };
        if mirror.git_dir.exists() {
            remove_leftovers(&mirror.git_dir);
        }
        if !mirror.is_sound() {
            mirror.discard()?;
        }
        Ok(mirror)
    }

    /// The bare repository, for [`History::open`] and `ObjectStore::open`.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The remote.
    #[must_use]
    pub fn remote(&self) -> &RemoteUrl {
        &self.options.remote
    }

    /// Grows when a damaged mirror was thrown away: whoever holds a handle on the repository opens it anew,
    /// and objects that were not pushed are gone.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A handle for reading history.
    pub fn history(&self) -> Result<History, HistoryError> {
        History::open(&self.git_dir)
    }

    /// The full name of the config branch in a view; `None` for a remote whose HEAD names none.
    #[must_use]
    pub fn config_ref(&self, view: &RefView) -> Option<String> {
        match &self.options.branch {
            Some(branch) => Some(format!("refs/heads/{branch}")),
            None => view.head.clone(),
        }
    }

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
        let listed = String::from_utf8_lossy(&finished.stdout);
        let is_listed = |folder: &&String| {
            let lines = listed.lines().filter_map(|line| line.split_once('\t'));
            lines
                .filter_map(|(_, name)| name.strip_prefix("refs/heads/"))
                .any(|branch| branch == **folder)
        };
        if let Some(branch) = folders.iter().find(is_listed) {
            return Err(RemoteError::InTheWay {
                remote: self.options.remote.to_string(),
                branch: branch.clone(),
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

    /// Whether the remote's refs differ from the last view, by one listing.
    pub async fn has_changed(&self) -> Result<bool, RemoteError> {
        Ok(self.last.as_ref() != Some(&self.list().await?))
    }

    /// A view of the remote whose objects are all here.
    ///
    /// One listing if nothing has changed since the last view but by pushes of ours; one and a fetch if the log
    /// stands where it stood; otherwise listings with a fetch between them until two agree. A damaged mirror is
    /// replaced on the way (see [`Mirror::generation`]).
    ///
    /// A branch whose commit cannot be read, as when a server took one without a well-formed author, is left out with a
    /// warning; for the log that is an error.
    pub async fn refresh(&mut self) -> Result<RefView, RemoteError> {
        let listed = self.refresh_listed().await?;
        let log = format!("refs/heads/{}/log", self.options.prefix);
        let mut view = listed;
        for (name, id) in &self.unreadable {
            if view.get(name) == Some(*id) {
                if *name == log {
                    return Err(RemoteError::BadObjects {
                        remote: self.options.remote.to_string(),
                        message: format!("{id} on {name} cannot be read as a commit"),
                    });
                }
                view.refs.remove(name);
            }
        }
        Ok(view)
    }

    async fn refresh_listed(&mut self) -> Result<RefView, RemoteError> {
        let mut listed = self.list().await?;
        if self.last.as_ref() == Some(&listed) {
            return Ok(listed);
        }
        let known = self.last.take();
        let (mut replaced, mut swept) = (false, false);
        for _ in 0..LISTINGS {
            let fetched = match self.fetch(&listed).await {
                Err(RemoteError::MirrorDamaged { message, .. }) if !replaced => {
                    tracing::warn!(remote = %self.options.remote, message, "the mirror is damaged and is made anew");
                    replaced = true;
                    self.discard().map_err(|error| self.damaged(&error))?;
                    self.fetch(&listed).await
                }
                Err(RemoteError::Locked { message, .. }) if !swept => {
                    swept = true;
                    self.remove_dead_lock(&message);
                    self.fetch(&listed).await
                }
                other => other,
            };
            match fetched {
                Ok(()) | Err(RemoteError::Moving { .. }) => {}
                Err(error) => return Err(error),
            }
            if fetched.is_ok()
                && let Some(known) = &known
                && self.follows_under_the_same_log(known, &listed)
            {
                self.last = Some(listed.clone());
                return Ok(listed);
            }
            let again = self.list().await?;
            if fetched.is_ok() && again == listed {
                self.last = Some(again.clone());
                return Ok(again);
            }
            listed = again;
        }
        Err(RemoteError::Moving {
            remote: self.options.remote.to_string(),
            message: format!("{LISTINGS} listings of its branches in a row differ"),
        })
    }

    /// Whether a listing shows the log where it stood, and every other branch there or further on: then whatever
    /// that log calls done was done before the branches were read. What looks like a branch that was rewound or deleted is
    /// never believed at first sight.
    fn follows_under_the_same_log(&self, known: &RefView, listed: &RefView) -> bool {
        let log = format!("refs/heads/{}/log", self.options.prefix);
        let Ok(history) = self.history() else {
            return false;
        };
        known.get(&log).is_some()
            && known.get(&log) == listed.get(&log)
            && known.head == listed.head
            && known.refs.iter().all(|(name, before)| {
                listed.get(name).is_some_and(|now| {
                    now == *before || history.is_ancestor(*before, now).unwrap_or(false)
                })
            })
    }

    /// Pushes refs in one push, each with a lease of its own on its old id; not atomic.
    ///
    /// Fast-forwards are checked here first, so the objects must have been flushed. An error means that
    /// nothing was sent; otherwise each ref has its outcome, and the server may still be at work on those
    /// that are ambiguous.
    pub async fn push(
        &mut self,
        updates: &[RefUpdate],
    ) -> Result<BTreeMap<String, RefOutcome>, PushError> {
        let outcomes = self.send(updates).await?;
        self.note_moves(updates, &outcomes);
        Ok(outcomes)
    }

    async fn send(&self, updates: &[RefUpdate]) -> Result<BTreeMap<String, RefOutcome>, PushError> {
        push::check(updates, &self.history()?)?;
        let command = self
            .to_remote("push", self.options.deadlines.push)
            .map_err(PushError::Remote)?
            .args(push::arguments(updates, &self.options.remote));
        match command.run().await {
            Ok(finished) => push::read_answer(updates, &self.options.remote, &finished),
            Err(error @ (ChildError::Missing | ChildError::Spawn(_))) => {
                Err(RemoteError::from(error).into())
            }
            Err(error) => {
                let why = error.to_string();
                let ambiguous = |update: &RefUpdate| {
                    (
                        update.name.clone(),
                        RefOutcome::Ambiguous { why: why.clone() },
                    )
                };
                Ok(updates.iter().map(ambiguous).collect())
            }
        }
    }

    /// What a push moved needs no fetch, and is what the next listing is expected to show.
    fn note_moves(&mut self, updates: &[RefUpdate], outcomes: &BTreeMap<String, RefOutcome>) {
        let moved: Vec<&RefUpdate> = updates
            .iter()
            .filter(|update| {
                matches!(
                    outcomes.get(&update.name),
                    Some(RefOutcome::Applied | RefOutcome::UpToDate)
                )
            })
            .collect();
        if let Some(last) = &mut self.last {
            for update in &moved {
                last.refs.insert(update.name.clone(), update.new);
            }
        }
        let mut tracked = self.track(&moved);
        if let Err(error) = &tracked
            && error.code() == git2::ErrorCode::Locked
        {
            self.remove_dead_lock(error.message());
            tracked = self.track(&moved);
        }
        if let Err(error) = tracked {
            tracing::debug!(%error, "the next look fetches what was pushed");
        }
    }

    fn track(&self, moved: &[&RefUpdate]) -> Result<(), git2::Error> {
        let repository = Repository::open(&self.git_dir)?;
        for RefUpdate { name, new, .. } in moved {
            let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
            repository.reference(&format!("{TRACKING}{branch}"), to_git(*new), true, "")?;
        }
        Ok(())
    }

    /// No child of ours is at work when this is called: whose lock it was, is dead.
    fn remove_dead_lock(&self, message: &str) {
        tracing::warn!(remote = %self.options.remote, message, "a lock that a killed git left is removed");
        remove_leftovers(&self.git_dir);
    }

    fn to_remote(&self, verb: &str, deadline: Duration) -> Result<GitCommand, RemoteError> {
        self.to_remote_with(verb, deadline, &[])
    }

    fn to_remote_with(
        &self,
        verb: &str,
        deadline: Duration,
        settings: &[&str],
    ) -> Result<GitCommand, RemoteError> {
        let remote = &self.options.remote;
        let access = self
            .options
            .credentials
            .read(remote, &self.options.folder)?;
        Ok(GitCommand::to_remote(
            self.options.surroundings,
            Some(&self.git_dir),
            verb,
            deadline,
            remote,
            access,
            settings,
        )?)
    }

    /// Gathers many packs into one: every fetch and every render adds one. Nothing is deleted, not even what
    /// nothing reaches.
    pub async fn tidy(&mut self) -> Result<(), RemoteError> {
        let packs = fs::read_dir(self.git_dir.join("objects/pack"))
            .map(|entries| {
                entries
                    .flatten()
                    .filter(|entry| {
                        entry
                            .path()
                            .extension()
                            .is_some_and(|extension| extension == "pack")
                    })
                    .count()
            })
            .unwrap_or_default();
        if packs < MOST_PACKS {
            return Ok(());
        }
        let finished = GitCommand::local(
            self.options.surroundings,
            Some(&self.git_dir),
            "repack",
            self.options.deadlines.fetch,
        )
        .args(["-a", "-d", "--keep-unreachable", "--quiet"])
        .run()
        .await?;
        if finished.success() {
            tracing::debug!(packs, "gathered the mirror's packs into one");
            Ok(())
        } else {
            Err(RemoteError::from_finished(&self.options.remote, &finished))
        }
    }

    /// Brings what the listing names and the mirror does not have.
    async fn fetch(&mut self, listed: &RefView) -> Result<(), RemoteError> {
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
            tracing::warn!(
                remote = %self.options.remote, reference = name, commit = %id,
                "a branch is left out, for its commit cannot be read; push another one over it"
            );
        }
        self.unreadable = unreadable;
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
        for (name, id) in &listed.refs {
            let here = repository
                .find_commit(to_git(*id))
                .and_then(|commit| commit.tree());
            if let Err(error) = here {
                if is_whole(&repository, *id) {
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

    fn damaged(&self, reason: &dyn std::fmt::Display) -> RemoteError {
        RemoteError::MirrorDamaged {
            remote: self.options.remote.to_string(),
            message: reason.to_string(),
        }
    }

    /// Whether what the mirror says it has can be read.
    fn is_sound(&self) -> bool {
        let check = || -> Result<bool, git2::Error> {
            let repository = Repository::open_bare(&self.git_dir)?;
            // The git command takes a folder without a readable HEAD for no repository at all.
            repository.find_reference("HEAD")?;
            for reference in repository.references()? {
                let reference = reference?;
                if let Some(id) = reference.target().map(from_git)
                    && repository.find_commit(to_git(id)).is_err()
                    && is_whole(&repository, id)
                {
                    continue;
                }
                reference.peel_to_commit()?.tree()?;
            }
            Ok(repository.is_bare())
        };
        check().unwrap_or(false)
    }

    /// Throws the mirror away and makes an empty one, which the next refresh fills.
    ///
    /// For whoever finds an object unreadable that a view promised; see [`Mirror::generation`].
    pub fn discard(&mut self) -> Result<(), MirrorError> {
        self.generation += 1;
        self.last = None;
        let discarded = self.options.folder.join("mirror.discarded");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| MirrorError::Io { path, source }
        };
        // Out of the way by one rename first: a removal that is cut short must not leave half a mirror.
        if discarded.exists() {
            fs::remove_dir_all(&discarded).map_err(io(&discarded))?;
        }
        if self.git_dir.exists() {
            fs::rename(&self.git_dir, &discarded).map_err(io(&self.git_dir))?;
            crate::engine::crash::point("after-mirror-discarded");
            fs::remove_dir_all(&discarded).map_err(io(&discarded))?;
        }
        let mut options = RepositoryInitOptions::new();
        options
            .bare(true)
            .external_template(false)
            .initial_head("main");
        Repository::init_opts(&self.git_dir, &options)
            .map(drop)
            .map_err(|source| MirrorError::Init {
                path: self.git_dir.clone(),
                source,
            })
    }
}

/// Makes a folder that only its owner may enter: it holds what may be secret to others.
fn make_folder(folder: &Path) -> Result<(), MirrorError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| MirrorError::Io {
        path: folder.to_owned(),
        source,
    })
}

/// Removes locks and half-written files below a git folder. We hold the folder's lock, so they are those of
/// a process that was killed; should a child of it still be at work, the worst is a mirror made anew.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed =
            if is_folder && (name.starts_with("incoming-") || name.starts_with("tmp_objdir-")) {
                fs::remove_dir_all(&path)
            } else if is_folder {
                remove_leftovers(&path);
                Ok(())
            } else if Path::new(&*name)
                .extension()
                .is_some_and(|end| end == "lock")
                || name.starts_with("tmp_")
            {
                fs::remove_file(&path)
            } else {
                Ok(())
            };
        if let Err(error) = removed {
            tracing::warn!(path = %path.display(), %error, "cannot remove what a killed process left");
        }
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
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .collect();
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

/// The folders that our branches stand in, where git can have no branch of that name: `a` and `a/b` for the prefix `a/b`.
fn folders_of_branches(prefix: &str) -> Vec<String> {
    let mut folders = vec!["tidegate-revert".to_owned()];
    let ends = prefix.match_indices('/').map(|(at, _)| at);
    folders.extend(
        ends.chain([prefix.len()])
            .filter_map(|end| prefix.get(..end))
            .map(str::to_owned),
    );
    folders
}

/// Whether a commit's bytes are what its id says, though they may be none that can be read.
fn is_whole(repository: &Repository, id: Oid) -> bool {
    let read = repository
        .odb()
        .and_then(|objects| objects.read(to_git(id)).map(|object| object.kind()));
    read == Ok(git2::ObjectType::Commit) && repository.find_commit(to_git(id)).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Mask;

    fn options(folder: &Path) -> MirrorOptions {
        MirrorOptions {
            folder: folder.join("data"),
            remote: RemoteUrl::parse_in("remote.git", folder).unwrap(),
            credentials: CredentialSource::None,
            surroundings: Surroundings::Hermetic,
            branch: None,
            prefix: "tidegate".to_owned(),
            deadlines: Deadlines::default(),
        }
    }

    #[test]
    fn two_never_share_a_mirror() {
        let folder = tempfile::tempdir().unwrap();
        let first = Mirror::open(options(folder.path())).unwrap();
        let second = Mirror::open(options(folder.path()));
        assert!(
            matches!(second, Err(MirrorError::InUse { .. })),
            "{second:?}"
        );
        drop(first);
        Mirror::open(options(folder.path())).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let git_dir = Mirror::open(options(folder.path())).unwrap().git_dir;
        let leftovers = ["HEAD.lock", "refs/heads/x.lock", "objects/pack/tmp_pack_1"];
        for name in leftovers {
            fs::write(git_dir.join(name), "").unwrap();
        }
        let mirror = Mirror::open(options(folder.path())).unwrap();
        assert_eq!(mirror.generation(), 0);
        for name in leftovers {
            assert!(!git_dir.join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_mirror_that_cannot_be_read_is_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let git_dir = Mirror::open(options(folder.path())).unwrap().git_dir;
        fs::write(git_dir.join("HEAD"), "nonsense").unwrap();
        let mirror = Mirror::open(options(folder.path())).unwrap();
        assert_eq!(mirror.generation(), 1);
        assert!(mirror.is_sound());
    }

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
