//! The fleet's one bare mirror, and the view of its remote. The module above says what always holds.

mod fetching;
mod listing;
mod listings;
mod unreadable;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::{Repository, RepositoryInitOptions};
use tidegate_renderer::tree::{from_git, to_git};
use tidegate_waves::oid::Oid;

pub use self::listings::Listings;
use super::child::{ChildError, GitCommand, Surroundings};
use super::failure::RemoteError;
use super::history::{History, HistoryError};
use super::push::{self, PushError, RefOutcome, RefUpdate};
use super::remote::{CredentialSource, RemoteUrl};
use super::ssh;
#[cfg(feature = "fuzzing")]
pub(crate) use listing::read_listing;
use unreadable::{LeftOut, is_unreadable};

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
    left_out: LeftOut,
    listings: Listings,
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
            left_out: LeftOut::default(),
            listings: Listings::default(),
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

    /// Counts the listings that views of this mirror rest on.
    #[must_use]
    pub fn listings(&self) -> Listings {
        self.listings.clone()
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
        let listing = self.listings.begin();
        let mut view = self.refresh_listed().await?;
        self.listings.show(listing);
        let log = self.log();
        for (name, id) in self.left_out.branches() {
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

    fn log(&self) -> String {
        format!("refs/heads/{}/log", self.options.prefix)
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
                let id = reference.target().map(from_git);
                if !id.is_some_and(|id| is_unreadable(&repository, id)) {
                    reference.peel_to_commit()?.tree()?;
                }
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
            crate::crash::point("before-mirror-discarded");
            fs::rename(&self.git_dir, &discarded).map_err(io(&self.git_dir))?;
            crate::crash::point("after-mirror-discarded");
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

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn options(folder: &Path) -> MirrorOptions {
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
}
