//! What people do to a fleet, beside committing.

use std::path::Path;

use tidegate_testkit::requests;
use tidegate_testkit::small_fleet::{MAIN, REPO, SmallFleet};
use tidegate_testkit::work::try_git;

/// Asks a fleet's controllers for something.
pub(crate) fn request(fleet: &SmallFleet, verb: &str, trailer: (&str, &str)) {
    requests::ask(
        &fleet.server,
        REPO,
        &fleet.work,
        verb,
        &[trailer],
        "as planned",
    );
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

/// Merges the branch that a refused revert waits on, as a forge does for a pull request: within the server, where the
/// protection of the branch stays as it is.
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
    let folder = work.path(".");
    let merge = format!("HEAD:{MAIN}");
    let folder = folder.display().to_string();
    // With the server's own hooks: its journal is to know of it.
    let hooks = "core.hooksPath=hooks";
    fleet.git(&["-c", hooks, "fetch", "-q", &folder, &merge]);
    true
}

/// Merges the pull request of a revert, on its page.
pub(crate) fn merge_pull_request(fleet: &SmallFleet) -> bool {
    let Some(audience) = &fleet.audience else {
        return false;
    };
    let Some(pull) = audience.open_pull() else {
        return false;
    };
    let merged = merge_revert(fleet);
    if merged {
        audience.merged(pull.number);
    }
    merged
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
