//! What people do to a fleet, beside committing.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_testkit::small_fleet::{MAIN, REPO, REQUESTS, SmallFleet};
use tidegate_testkit::work::try_git;

/// Asks a fleet's controllers for something: a commit on the requests branch.
pub(crate) fn request(fleet: &SmallFleet, verb: &str, trailer: (&str, &str)) {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let person = format!("Jo Engineer <jo@example.com> {seconds} +0000");
    let work = &fleet.work;
    let parent = fleet
        .server
        .tip(REPO, REQUESTS)
        .map_or_else(String::new, |parent| {
            work.git(&["fetch", "-q", "origin", REQUESTS]);
            format!("parent {parent}\n")
        });
    // The empty tree is known to git without being there; the server needs it as an object.
    let tree = work.git(&["mktree"]);
    let (name, value) = trailer;
    work.write(
        ".git/request",
        format!(
            "tree {tree}\n{parent}author {person}\ncommitter {person}\n\n{verb}\n\nas planned\n\n\
             Tidegate-Request: {verb}\nTidegate-{name}: {value}\n"
        ),
    );
    let commit = work.git(&["hash-object", "-t", "commit", "-w", ".git/request"]);
    work.git(&["push", "-q", "origin", &format!("{commit}:{REQUESTS}")]);
}

/// Pushes a file of their own to a wave branch; false where a controller's push came first.
pub(crate) fn intrude(fleet: &SmallFleet, branch: &str, path: &str, content: &str) -> bool {
    let work = &fleet.work;
    work.git(&["fetch", "-q", "origin", branch]);
    work.write(".git/intruder", content);
    let blob = work.git(&["hash-object", "-t", "blob", "-w", ".git/intruder"]);
    // Past the engineer's index.
    work.git(&["read-tree", "FETCH_HEAD"]);
    let entry = format!("100644,{blob},{path}");
    work.git(&["update-index", "--add", "--cacheinfo", &entry]);
    let tree = work.git(&["write-tree"]);
    let commit = work.git(&[
        "commit-tree",
        &tree,
        "-p",
        "FETCH_HEAD",
        "-m",
        "A quick fix by hand",
    ]);
    work.git(&["read-tree", "HEAD"]);
    try_push(fleet, &format!("{commit}:{branch}"))
}

/// Merges the branch that a refused revert waits on.
pub(crate) fn merge_revert(fleet: &SmallFleet) -> bool {
    let listed = fleet.git(&[
        "for-each-ref",
        "--format=%(refname)",
        "refs/heads/tidegate-revert",
    ]);
    let Some(branch) = listed.lines().next() else {
        return false;
    };
    let work = &fleet.work;
    work.git(&["fetch", "-q", "origin", branch]);
    work.git(&[
        "merge",
        "-q",
        "--no-ff",
        "-m",
        "Merge the revert",
        "FETCH_HEAD",
    ]);
    try_push(fleet, &format!("HEAD:{MAIN}"))
}

/// Pushes; false where somebody else was first.
pub(crate) fn try_push(fleet: &SmallFleet, refspec: &str) -> bool {
    let folder = fleet.work.path(".");
    let output = try_git(&folder, &["push", "-q", "origin", refspec]);
    output.status.success()
}

/// The content of a ref that is a file, as it is now: cheaper than asking git.
pub(crate) fn loose_ref(repo: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(repo.join(name)).ok()
}
