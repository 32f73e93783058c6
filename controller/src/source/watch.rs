//! Looks when the refs of a repo on this machine change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{Event, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Nudge;

/// A push moves several refs; how long nothing more must happen before one look is called for.
const QUIET: Duration = Duration::from_millis(100);
/// The longest that refs which never stop changing put a look off.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long until a repo that could not be watched is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What the watcher said.
enum Said {
    /// A ref may have changed.
    Changed,
    /// Folders that were watched may be gone.
    Lost,
}

/// Calls for a look after changes, for ever. What cannot be watched is left to the poll.
pub(super) async fn run(repo: PathBuf, nudge: Nudge) {
    let mut warned = false;
    loop {
        let (said, mut heard) = mpsc::unbounded_channel();
        match begin(&repo, said) {
            Ok(_watcher) => {
                warned = false;
                // Something may have changed before the watch began.
                nudge.look();
                while let Some(Said::Changed) = heard.recv().await {
                    if settle(&mut heard).await {
                        nudge.look();
                    } else {
                        break;
                    }
                }
                nudge.look();
            }
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::info!(repo = %repo.display(), %error, "the repo's refs cannot be watched, polling alone");
                }
            }
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Waits until it is quiet; `false` if the watch was lost.
async fn settle(heard: &mut mpsc::UnboundedReceiver<Said>) -> bool {
    let end = Instant::now() + LONGEST_WAIT;
    loop {
        match timeout_at(end.min(Instant::now() + QUIET), heard.recv()).await {
            Ok(Some(Said::Changed)) if Instant::now() < end => {}
            Ok(Some(Said::Changed)) | Err(_) => return true,
            Ok(Some(Said::Lost) | None) => return false,
        }
    }
}

/// Watches folders, not files: git replaces files by renaming others over them.
fn begin(repo: &Path, said: mpsc::UnboundedSender<Said>) -> notify::Result<RecommendedWatcher> {
    let folder = git_folder(repo)
        .ok_or_else(|| notify::Error::path_not_found().add_path(repo.to_owned()))?;
    let root = folder.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if let Some(word) = meaning(&root, event) {
            // Nobody listens any more: the watch is about to be dropped.
            let _ = said.send(word);
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    watcher.watch(&folder.join("refs"), RecursiveMode::Recursive)?;
    let reftable = folder.join("reftable");
    if reftable.is_dir() {
        watcher.watch(&reftable, RecursiveMode::Recursive)?;
    }
    Ok(watcher)
}

/// What an event means; most mean nothing, those of our own reading among them.
fn meaning(root: &Path, event: notify::Result<Event>) -> Option<Said> {
    let Ok(event) = event else {
        return Some(Said::Lost);
    };
    if event.need_rescan() {
        return Some(Said::Lost);
    }
    if !matches!(
        event.kind,
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)
    ) {
        return None;
    }
    if matches!(event.kind, EventKind::Remove(_))
        && event
            .paths
            .iter()
            .any(|path| path == root || *path == root.join("refs"))
    {
        return Some(Said::Lost);
    }
    event
        .paths
        .iter()
        .any(|path| is_ref(root, path))
        .then_some(Said::Changed)
}

/// Whether a path below the git folder holds refs; a lock does not yet.
fn is_ref(root: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(root) else {
        return false;
    };
    let first = inside
        .components()
        .next()
        .map(std::path::Component::as_os_str);
    first.is_some_and(|first| {
        first == "refs" || first == "reftable" || first == "packed-refs" || first == "HEAD"
    }) && path.extension().is_none_or(|extension| extension != "lock")
}

/// The folder with the refs of a bare repo, of a work tree, or of a linked work tree's main one.
fn git_folder(repo: &Path) -> Option<PathBuf> {
    let repository = git2::Repository::open(repo).ok()?;
    repository.commondir().canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    fn commit(repository: &git2::Repository, reference: &str) {
        let author = git2::Signature::now("a", "a@example.com").unwrap();
        let tree = repository.treebuilder(None).unwrap().write().unwrap();
        let tree = repository.find_tree(tree).unwrap();
        let parent = repository
            .find_reference(reference)
            .ok()
            .map(|found| found.peel_to_commit().unwrap());
        let parents: Vec<_> = parent.iter().collect();
        repository
            .commit(Some(reference), &author, &author, "m", &tree, &parents)
            .unwrap();
    }

    /// A source that polls once an hour, past its first looks.
    async fn quiet_source(folder: &Path) -> Source {
        let mut source = Source::start(Some(folder.to_owned()), Duration::from_secs(3600), 1);
        while tokio::time::timeout(Duration::from_millis(700), source.look())
            .await
            .is_ok()
        {}
        source
    }

    async fn looks_within_two_seconds(source: &mut Source) -> bool {
        tokio::time::timeout(Duration::from_secs(2), source.look())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn new_moved_and_packed_refs_are_noticed_without_a_poll() {
        for bare in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let repository = if bare {
                git2::Repository::init_bare(folder.path()).unwrap()
            } else {
                git2::Repository::init(folder.path()).unwrap()
            };
            let mut source = quiet_source(folder.path()).await;
            for reference in [
                "refs/heads/main",
                "refs/heads/deep/new/branch",
                "refs/heads/main",
            ] {
                commit(&repository, reference);
                assert!(looks_within_two_seconds(&mut source).await, "{reference}");
            }
            let inside = repository.commondir();
            std::fs::write(inside.join("packed-refs.lock"), "").unwrap();
            std::fs::rename(inside.join("packed-refs.lock"), inside.join("packed-refs")).unwrap();
            assert!(looks_within_two_seconds(&mut source).await);
        }
    }

    #[tokio::test]
    async fn reading_and_new_objects_are_no_reason_to_look() {
        let folder = tempfile::tempdir().unwrap();
        let repository = git2::Repository::init_bare(folder.path()).unwrap();
        commit(&repository, "refs/heads/main");
        let mut source = quiet_source(folder.path()).await;
        repository.blob(b"something new").unwrap();
        std::fs::read(folder.path().join("refs/heads/main")).unwrap();
        std::fs::write(folder.path().join("FETCH_HEAD"), "").unwrap();
        let looked = tokio::time::timeout(Duration::from_millis(500), source.look()).await;
        assert!(looked.is_err());
    }
}
