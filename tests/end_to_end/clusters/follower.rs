//! What follows the branches where there is no Argo CD: applies each region's folder whenever it changes, as Flux or a
//! pipeline with `kubectl apply` does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tidegate_testkit::kubernetes::Client;
use tidegate_testkit::work::{git_command, try_git};

const INTERVAL: Duration = Duration::from_millis(200);
const BRANCHES: [&str; 3] = ["canary", "pilot", "broad"];

/// Follows until it is dropped.
pub(super) struct Follower {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Follows the branches of a bare repo.
    pub(super) fn start(client: &Client, repo: &Path) -> Self {
        let (end, ended) = mpsc::channel();
        let (client, repo) = (client.clone(), repo.to_owned());
        let thread = thread::spawn(move || {
            let mut applied = BTreeMap::new();
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                follow(&client, &repo, &mut applied);
            }
        });
        Self {
            end: Some(end),
            thread: Some(thread),
        }
    }
}

/// Applies what changed since the last time; `applied` are blobs by file.
fn follow(client: &Client, repo: &Path, applied: &mut BTreeMap<String, String>) {
    for branch in BRANCHES {
        let listed = try_git(
            repo,
            &["ls-tree", "-r", &format!("refs/heads/tidegate/{branch}")],
        );
        if !listed.status.success() {
            continue;
        }
        for line in String::from_utf8(listed.stdout).unwrap().lines() {
            let (what, path) = line.split_once('\t').unwrap();
            let blob = what.split(' ').next_back().unwrap();
            if applied.get(path).is_some_and(|known| known == blob) {
                continue;
            }
            client.apply_manifest(&git_command(repo, &["cat-file", "blob", blob]));
            applied.insert(path.to_owned(), blob.to_owned());
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // What it said is said already.
            let _ = thread.join();
        }
    }
}
