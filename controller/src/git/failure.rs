//! Why a remote could not be talked to, read from what the git command said.
//!
//! The git command says it in English sentences (it runs under `LC_ALL=C`); a sentence that is not known
//! here becomes [`RemoteError::Other`], which promises nothing.

use super::child::{ChildError, Finished};
use super::remote::{RemoteUrl, Transport};
use super::ssh::{self, SshError};
use super::trailers::one_line;
use crate::secret::SecretError;

/// How to go on after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The same may work a little later.
    Retryable,
    /// Nothing changes until somebody changes something.
    Permanent,
    /// It is not known what took effect: read the remote again before anything else.
    Ambiguous,
}

/// A remote could not be read, or a push was refused before anything was sent.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The server wants other credentials (401), or none were given.
    #[error("{remote} refuses our credentials: {message}; check user name and password (or token)")]
    Unauthorized {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// The server knows us and says no (403).
    #[error("{remote} forbids this: {message}; check what the credentials are allowed to do")]
    Forbidden {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// SSH: the server does not take our key.
    #[error(
        "{remote} refuses our SSH key: {message}; check the user in the address, and that the public half of the key \
         (`ssh-keygen -y -f KEYFILE` prints it) may read and write there"
    )]
    KeyRefused {
        /// The remote.
        remote: String,
        /// What ssh said.
        message: String,
    },
    /// SSH: our key cannot be read by ssh.
    #[error(
        "the SSH key for {remote} cannot be used: {message}; it must be a private key without passphrase, whole, with the \
         line break at its end"
    )]
    BadKey {
        /// The remote.
        remote: String,
        /// What ssh said.
        message: String,
    },
    /// SSH: the server's key is not known, and nothing was sent to it.
    #[error(
        "the server of {remote} has a key that {known_hosts} does not know: `{scan}` prints what to add there; compare its \
         fingerprint (`ssh-keygen -lf FILE`) with the one that the server's operator publishes first"
    )]
    HostKeyUnknown {
        /// The remote.
        remote: String,
        /// The file that does not know it.
        known_hosts: String,
        /// The command that asks the server for its key.
        scan: String,
    },
    /// SSH: the server's key is another than the known one, and nothing was sent to it.
    #[error(
        "the server of {remote} has another key than the one in {known_hosts}: it was replaced, or somebody stands between; ask \
         the server's operator before you replace the line in that file"
    )]
    HostKeyChanged {
        /// The remote.
        remote: String,
        /// The file with the other key.
        known_hosts: String,
    },
    /// There is no ssh.
    #[error(
        "{remote} is reached by SSH, and the ssh command was not found: install OpenSSH's client and have it on PATH"
    )]
    NoSsh {
        /// The remote.
        remote: String,
    },
    /// ssh does not run for a user that this machine does not know.
    #[error(
        "ssh does not run as this user: {message}; {remote} can only be reached by a user who has an entry in /etc/passwd \
         (in a container: add one, or use the https URL)"
    )]
    NoAccount {
        /// The remote.
        remote: String,
        /// What ssh said.
        message: String,
    },
    /// HTTPS: the server's certificate is not trusted, and nothing was sent to it.
    #[error(
        "the TLS certificate of {remote} is not trusted: {message}; if a private authority has issued it, name the authority's \
         PEM file in the environment variable SSL_CERT_FILE"
    )]
    Untrusted {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// There is no such repo (or the server hides it from us).
    #[error("there is no repo at {remote}, or it is hidden from these credentials: {message}")]
    NotFound {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// The server asks for fewer requests (429).
    #[error("{remote} asks us to slow down: {message}")]
    RateLimited {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// Nobody answers at that address: DNS, routing, refused connections, TLS.
    #[error("{remote} cannot be reached: {message}")]
    Unreachable {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// The server answers that it cannot answer (5xx), the connection broke, or what came was cut or changed on its way.
    #[error("{remote} is not able to answer: {message}")]
    Unavailable {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// The server sends us elsewhere; we do not carry credentials there.
    #[error("{remote} redirects: {message}; give the address it redirects to instead")]
    Redirected {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// What answers does not speak git.
    #[error("what answers at {remote} is no git server: {message}")]
    NotGit {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// What the server sent is damaged or malicious; nothing of it was kept.
    #[error("{remote} sent objects that fail git's checks: {message}")]
    BadObjects {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// A branch has the name of a folder that our branches stand in, so that git can make none of them.
    #[error(
        "{remote} has a branch {branch}, and no branch below that name can be made beside it: rename that branch, or give the fleet another prefix than {prefix:?}"
    )]
    InTheWay {
        /// The remote.
        remote: String,
        /// The branch, without `refs/heads/`.
        branch: String,
        /// The prefix of the fleet's branches.
        prefix: String,
    },
    /// A ref that was listed is gone again.
    #[error("{remote} changed while it was read: {message}")]
    Moving {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// There is no room left on this machine's disk.
    #[error("no space is left for the mirror of {remote}: {message}")]
    DiskFull {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// A lock that a killed git left in our mirror is in the way.
    #[error("a lock that a killed git left is in the way of the mirror of {remote}: {message}")]
    Locked {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// Our mirror is damaged.
    #[error("the mirror of {remote} is damaged: {message}")]
    MirrorDamaged {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// Something that is not known here.
    #[error("git failed on {remote}: {message}")]
    Other {
        /// The remote.
        remote: String,
        /// What git said.
        message: String,
    },
    /// The git command itself could not be run.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The credentials could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The files that SSH needs cannot be used.
    #[error(transparent)]
    Ssh(#[from] SshError),
}

impl RemoteError {
    /// How to go on.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        match self {
            Self::RateLimited { .. }
            | Self::Unreachable { .. }
            | Self::Unavailable { .. }
            | Self::Moving { .. }
            | Self::DiskFull { .. }
            | Self::Locked { .. }
            | Self::MirrorDamaged { .. }
            | Self::Secret(_)
            | Self::Ssh(SshError::Unreadable { .. } | SshError::Copy { .. })
            | Self::Child(ChildError::Spawn(_)) => Recovery::Retryable,
            Self::Unauthorized { .. }
            | Self::KeyRefused { .. }
            | Self::BadKey { .. }
            | Self::HostKeyUnknown { .. }
            | Self::HostKeyChanged { .. }
            | Self::NoSsh { .. }
            | Self::NoAccount { .. }
            | Self::Untrusted { .. }
            | Self::Ssh(SshError::NoKey { .. } | SshError::Path { .. })
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Redirected { .. }
            | Self::NotGit { .. }
            | Self::BadObjects { .. }
            | Self::InTheWay { .. }
            | Self::Child(ChildError::Missing) => Recovery::Permanent,
            Self::Other { .. } | Self::Child(_) => Recovery::Ambiguous,
        }
    }

    /// A stable name, for logs and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unauthorized { .. } => "Unauthorized",
            Self::KeyRefused { .. } => "KeyRefused",
            Self::BadKey { .. } => "BadKey",
            Self::HostKeyUnknown { .. } => "HostKeyUnknown",
            Self::HostKeyChanged { .. } => "HostKeyChanged",
            Self::NoSsh { .. } => "NoSsh",
            Self::NoAccount { .. } => "NoAccount",
            Self::Untrusted { .. } => "Untrusted",
            Self::Ssh(SshError::NoKey { .. }) => "NoKey",
            Self::Ssh(_) => "SshFiles",
            Self::Forbidden { .. } => "Forbidden",
            Self::NotFound { .. } => "NotFound",
            Self::RateLimited { .. } => "RateLimited",
            Self::Unreachable { .. } => "Unreachable",
            Self::Unavailable { .. } => "Unavailable",
            Self::Redirected { .. } => "Redirected",
            Self::NotGit { .. } => "NotGit",
            Self::BadObjects { .. } => "BadObjects",
            Self::InTheWay { .. } => "InTheWay",
            Self::Moving { .. } => "Moving",
            Self::DiskFull { .. } => "DiskFull",
            Self::Locked { .. } => "Locked",
            Self::MirrorDamaged { .. } => "MirrorDamaged",
            Self::Other { .. } => "Other",
            Self::Child(ChildError::TimedOut { .. }) => "TimedOut",
            Self::Child(_) => "GitCommand",
            Self::Secret(_) => "Secret",
        }
    }

    /// Reads a failure from what a finished command said.
    #[must_use]
    pub(crate) fn from_finished(remote: &RemoteUrl, finished: &Finished) -> Self {
        if remote.transport() == Transport::Ssh {
            let known_hosts = finished.known_hosts.as_deref();
            if let Some(error) = ssh::failure(remote, known_hosts, &finished.stderr) {
                return error;
            }
        }
        Self::from_text(remote, &finished.stderr)
    }

    fn from_text(remote: &RemoteUrl, stderr: &str) -> Self {
        let message = telling_line(stderr);
        let remote = remote.to_string();
        let text = stderr.to_ascii_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
        // The order matters: a status code is the surest word, what follows from it comes after.
        match http_status(&text) {
            Some(401) => return Self::Unauthorized { remote, message },
            Some(403) => return Self::Forbidden { remote, message },
            Some(404 | 410) => return Self::NotFound { remote, message },
            Some(429) => return Self::RateLimited { remote, message },
            Some(300..=399) => return Self::Redirected { remote, message },
            Some(500..=599) => return Self::Unavailable { remote, message },
            _ => {}
        }
        let ours = |line: &&str| !line.starts_with("remote:");
        if says(&["no space left on device", "disk quota exceeded"]) {
            Self::DiskFull { remote, message }
        } else if text
            .lines()
            .filter(ours)
            .any(|line| line.contains("unable to create '") && line.contains(".lock': file exists"))
        {
            Self::Locked { remote, message }
        } else if says(&[
            "authentication failed",
            "could not read username",
            "could not read password",
            "terminal prompts disabled",
            "invalid credentials",
        ]) {
            Self::Unauthorized { remote, message }
        } else if says(&["unable to update url base from redirection", "redirect"]) {
            Self::Redirected { remote, message }
        } else if says(&[
            "ssl certificate problem",
            "server certificate verification failed",
            "certificate subject name",
            "no alternative certificate subject name matches",
        ]) {
            Self::Untrusted { remote, message }
        } else if says(&[
            "could not resolve host",
            "couldn't resolve host",
            "failed to connect",
            "couldn't connect",
            "connection refused",
            "connection timed out",
            "no route to host",
            "network is unreachable",
            "tls",
        ]) {
            Self::Unreachable { remote, message }
        } else if says(&["not a git repository: '"]) {
            // With a colon and a path it is our own folder, named by --git-dir.
            Self::MirrorDamaged { remote, message }
        } else if says(&[
            "does not appear to be a git repository",
            "not a git repository",
            "repository not found",
        ]) || (says(&["repository '"]) && says(&["' not found"]))
        {
            Self::NotFound { remote, message }
        } else if says(&["couldn't find remote ref", "not our ref"]) {
            Self::Moving { remote, message }
        } else if says(&["permission denied", "dubious ownership", "access denied"]) {
            Self::Forbidden { remote, message }
        } else if says(&[
            "not valid: is this a git repository",
            "protocol error: bad line length",
        ]) {
            Self::NotGit { remote, message }
        } else if says(&["error in object", "fsck error", "badtree", "hasdot"]) {
            // Which object, and why, stands before the words that end it.
            let object = stderr
                .lines()
                .find_map(|line| line.trim().strip_prefix("error: object "));
            let message = object.map_or(message, |object| one_line(&format!("object {object}")));
            Self::BadObjects { remote, message }
        } else if says(&[
            "pack has bad object",
            "inflate returned",
            "pack is corrupted",
        ]) {
            // Of the pack that is just arriving: one that is here is read with other words.
            Self::Unavailable { remote, message }
        } else if says(&[
            "bad object",
            "object file",
            "loose object",
            "packfile",
            "unable to read tree",
            "missing blob",
            "did not send all necessary objects",
            "unresolved deltas",
        ]) {
            Self::MirrorDamaged { remote, message }
        } else if says(&[
            "the remote end hung up",
            "early eof",
            "empty reply from server",
            "connection reset",
            "operation too slow",
            "unexpected disconnect",
            "rpc failed",
            "transfer closed with",
            "expected flush after",
            "expected response end packet",
        ]) {
            Self::Unavailable { remote, message }
        } else {
            Self::Other { remote, message }
        }
    }
}

/// The status code in git's `The requested URL returned error: 503` or `HTTP 503 curl 22`.
fn http_status(text: &str) -> Option<u16> {
    ["requested url returned error: ", "rpc failed; http "]
        .into_iter()
        .find_map(|before| {
            let (_, after) = text.split_once(before)?;
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        })
}

/// What the system says of a disk that fails: git's own words behind it only tell what it had to give up.
const OF_THE_DISK: [&str; 4] = [
    "Input/output error",
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
];

/// The line of git's that says most: one about the disk, else the last fatal one, else the last error, else the last.
pub(crate) fn telling_line(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let with = |prefix: &str| {
        lines
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix(prefix))
    };
    // A server's own disk may be what fails: its lines begin otherwise.
    let of_the_disk = lines.iter().find_map(|line| {
        let said = line
            .strip_prefix("fatal: ")
            .or_else(|| line.strip_prefix("error: "))?;
        OF_THE_DISK
            .iter()
            .any(|words| said.contains(words))
            .then_some(said)
    });
    let line = of_the_disk
        .or_else(|| with("fatal: "))
        .or_else(|| with("error: "))
        .or_else(|| lines.last().copied())
        .unwrap_or("it said nothing");
    one_line(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reason(stderr: &str) -> &'static str {
        let remote = RemoteUrl::parse("https://example.com/a").unwrap();
        RemoteError::from_text(&remote, stderr).reason()
    }

    #[test]
    fn what_git_says_is_understood() {
        for (stderr, expected) in [
            (
                "fatal: unable to access 'https://example.com/a/': The requested URL returned error: 403",
                "Forbidden",
            ),
            (
                "fatal: unable to access 'https://example.com/a/': The requested URL returned error: 503",
                "Unavailable",
            ),
            (
                "fatal: unable to access 'https://example.com/a/': The requested URL returned error: 429",
                "RateLimited",
            ),
            (
                "fatal: unable to access 'https://example.com/a/': The requested URL returned error: 301",
                "Redirected",
            ),
            (
                "fatal: Authentication failed for 'https://example.com/a/'",
                "Unauthorized",
            ),
            (
                "fatal: could not read Username for 'https://example.com': terminal prompts disabled",
                "Unauthorized",
            ),
            (
                "fatal: repository 'https://example.com/a/' not found",
                "NotFound",
            ),
            (
                "fatal: '/srv/x' does not appear to be a git repository\nfatal: Could not read from remote repository.",
                "NotFound",
            ),
            (
                "fatal: unable to access 'https://x/': Could not resolve host: x",
                "Unreachable",
            ),
            (
                "fatal: unable to access 'https://x/': Failed to connect to x port 443: Connection refused",
                "Unreachable",
            ),
            (
                "fatal: unable to access 'https://x/': SSL certificate problem: self signed certificate",
                "Untrusted",
            ),
            (
                "error: cannot lock ref 'refs/remotes/origin/a': Unable to create '/d/mirror.git/refs/remotes/origin/a.lock': File exists.",
                "Locked",
            ),
            (
                "remote: error: cannot lock ref 'refs/heads/a': Unable to create '/srv/x/refs/heads/a.lock': File exists.",
                "Other",
            ),
            (
                "fatal: https://x/info/refs not valid: is this a git repository?",
                "NotGit",
            ),
            ("fatal: couldn't find remote ref refs/heads/x", "Moving"),
            (
                "error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502\nfatal: the remote end hung up unexpectedly",
                "Unavailable",
            ),
            (
                "error: object 123: hasDotdot: contains '..'\nfatal: fsck error in packed object",
                "BadObjects",
            ),
            (
                "fatal: bad object refs/remotes/origin/main",
                "MirrorDamaged",
            ),
            (
                "error: inflate: data stream error (incorrect data check)\nfatal: pack has bad object at offset 134: inflate returned -3\nfatal: fetch-pack: invalid index-pack output",
                "Unavailable",
            ),
            (
                "error: inflate: data stream error (incorrect data check)\nerror: inflate returned -3\nfatal: unpack-objects failed",
                "Unavailable",
            ),
            (
                "error: inflate: data stream error (incorrect data check)\nerror: unable to unpack 12 header\nfatal: loose object 12 (stored in /d/mirror.git/objects/12/34) is corrupt",
                "MirrorDamaged",
            ),
            ("fatal: expected flush after ref listing", "Unavailable"),
            (
                "fatal: expected response end packet after ref listing",
                "Unavailable",
            ),
            (
                "fatal: unable to access 'https://example.com/a/': transfer closed with 176 bytes remaining to read",
                "Unavailable",
            ),
            ("fatal: write error: No space left on device", "DiskFull"),
            ("", "Other"),
            ("fatal: something new", "Other"),
        ] {
            assert_eq!(reason(stderr), expected, "{stderr}");
        }
    }

    #[test]
    fn a_disk_that_fails_is_named_and_not_what_git_gave_up_for_it() {
        let said = "error: unable to create temporary file: Input/output error\nfatal: failed to write object\nfatal: unpack-objects failed";
        assert_eq!(
            telling_line(said),
            "unable to create temporary file: Input/output error"
        );
        let said =
            "remote: error: fsync: Input/output error\nfatal: the remote end hung up unexpectedly";
        assert_eq!(telling_line(said), "the remote end hung up unexpectedly");
    }

    proptest! {
        #[test]
        fn anything_that_git_says_can_be_read(stderr in any::<String>()) {
            let _ = reason(&stderr);
        }
    }
}
