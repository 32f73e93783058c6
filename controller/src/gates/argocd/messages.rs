//! What Argo CD's messages tell, and how they are shown.

use crate::gates::shown::word;

/// The longest revision that evidence shows, in characters.
const SHORT_REVISION: usize = 7;

/// What stands in messages about something that could not be reached.
const OUTAGES: [&str; 26] = [
    "apiserver is shutting down",
    "apiserver not ready",
    "client connection lost",
    "code = unavailable",
    "code = deadlineexceeded",
    "code = canceled",
    "code = resourceexhausted",
    "authentication required",
    "connection refused",
    "connection reset",
    "connection error",
    "context canceled",
    "deadline exceeded",
    "dial tcp",
    "etcdserver: ",
    "failed calling webhook",
    "failed to list refs",
    "i/o timeout",
    "no endpoints available for service",
    "no route to host",
    "no such host",
    "request did not complete within",
    "the server is currently unable to handle the request",
    "tls handshake timeout",
    "unable to return a response in the time allotted",
    "unexpected eof",
];

/// A revision as evidence shows it: short if it is a commit, else as it is written.
pub(super) fn short(revision: &str) -> String {
    if is_commit(revision) {
        revision.chars().take(SHORT_REVISION).collect()
    } else {
        word(revision)
    }
}

/// Whether it can be the id of a commit.
pub(super) fn is_commit(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64) && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commits that a message names.
pub(super) fn commits_in(message: &str) -> impl Iterator<Item = &str> {
    message
        .split(|character: char| !character.is_ascii_hexdigit())
        .filter(|word| is_commit(word))
}

/// Whether a sync is said to wait for a window.
pub(super) fn is_window(message: &str) -> bool {
    message
        .to_ascii_lowercase()
        .contains("blocked by sync window")
}

/// Whether the automated sync is said to have failed and not to be tried again.
pub(super) fn is_failed_sync(message: &str) -> bool {
    message.starts_with("Failed last sync attempt to ")
        || message.starts_with("Failed sync attempt to ")
}

/// Whether a sync is said to be left out because nothing would remain.
pub(super) fn is_wipe_out(message: &str) -> bool {
    message.contains("will wipe out all resources")
}

/// Whether a failed comparison says that the manifests of this source (counted from 0) cannot be parsed.
///
/// Only what Argo CD writes when it has read the files and cannot make objects of them. That a field is not in the schema
/// is not among it: that depends on the versions of Argo CD and Kubernetes, and live objects raise it too. An error that
/// is `<nil>` is a defect of some versions, and a text that also names the network may be anything.
pub(super) fn is_unparsable(message: &str, index: usize) -> bool {
    let message = message.to_ascii_lowercase();
    let Some((_, cause)) = message.split_once("failed to generate manifest for source ") else {
        return false;
    };
    let digits: String = cause.chars().take_while(char::is_ascii_digit).collect();
    if digits.parse() != Ok(index.saturating_add(1)) {
        return false;
    }
    let of_a_file = cause.contains("code = failedprecondition desc = failed to unmarshal \"");
    let of_an_object = cause.contains("failed to unmarshal manifest: error ");
    (of_a_file || of_an_object) && !cause.contains("<nil>") && !is_outage(&message)
}

/// Whether a message is about something that could not be reached.
pub(super) fn is_outage(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    OUTAGES.iter().any(|sign| message.contains(sign))
}

/// Whether an operation ended because Argo CD could not compare, and so tried nothing.
pub(super) fn is_failed_comparison(message: &str) -> bool {
    message.contains("ComparisonError: ")
}
