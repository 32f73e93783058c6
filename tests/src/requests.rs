//! Requests as people without the command line make them: commits on the requests branch, by git alone.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::git_server::GitServer;
use crate::work::Work;

/// Where requests stand.
pub const REQUESTS: &str = "refs/heads/tidegate/requests";

/// Asks a fleet's controllers for something, now; gives the request's commit.
pub fn ask(
    server: &GitServer,
    repo: &str,
    work: &Work,
    verb: &str,
    trailers: &[(&str, &str)],
    reason: &str,
) -> String {
    let mut message = format!("{verb}\n\n{reason}\n\nTidegate-Request: {verb}\n");
    for (name, value) in trailers {
        let _ = writeln!(message, "Tidegate-{name}: {value}");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let person = format!("Jo Engineer <jo@example.com> {} +0000", now.as_secs());
    let parent = server
        .tip(repo, REQUESTS)
        .map(|parent| {
            work.git(&["fetch", "-q", "origin", REQUESTS]);
            format!("parent {parent}\n")
        })
        .unwrap_or_default();
    // The empty tree is known to git without being there; the server needs it as an object.
    let tree = work.git(&["mktree"]);
    work.write(
        ".git/request",
        format!("tree {tree}\n{parent}author {person}\ncommitter {person}\n\n{message}"),
    );
    let commit = work.git(&["hash-object", "-t", "commit", "-w", ".git/request"]);
    work.git(&["push", "-q", "origin", &format!("{commit}:{REQUESTS}")]);
    commit
}
