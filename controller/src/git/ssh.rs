//! SSH: the command by which git reaches a remote, and what its failures mean.
//!
//! Nothing of the user or machine takes part: no configuration, no agent, no other key, no known host but those of
//! the file that was named, no question. ssh opens key and known hosts anew for each connection, so that a
//! rotated file is taken up at once.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::failure::{RemoteError, telling_line};
use super::remote::RemoteUrl;
use super::trailers::one_line;

/// The environment variable with the path of the private key.
pub const KEY_FILE_VARIABLE: &str = "TIDEGATE_SSH_KEY_FILE";
/// The environment variable with the path of the known hosts.
pub const KNOWN_HOSTS_FILE_VARIABLE: &str = "TIDEGATE_SSH_KNOWN_HOSTS_FILE";

/// What the names of private copies of keys begin with.
const COPY_PREFIX: &str = "ssh-key-";

/// The largest file that is taken for a key.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// The files of one identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// No key was named. Permanent.
    #[error(
        "{remote} is reached by SSH, and no key is named for it: give sshKeyFile and knownHostsFile in the settings, \
         or {KEY_FILE_VARIABLE} and {KNOWN_HOSTS_FILE_VARIABLE} in the environment"
    )]
    NoKey {
        /// The remote.
        remote: String,
    },
    /// A file cannot be read. Retryable: it may be in the middle of its rotation.
    #[error("cannot read the {what} {}: {source}", file.display())]
    Unreadable {
        /// Which file it is.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A path that ssh would take for another. Permanent.
    #[error(
        "ssh cannot be told of the file {path:?}: its path must be UTF-8 without ${{ and control characters; give it another name"
    )]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The private copy of the key cannot be written. Retryable.
    #[error(
        "no private copy of the SSH key {} can be made in {}: {source}; let its mode be 0600 without the public half \
         beside it, or mend the data folder", file.display(), folder.display()
    )]
    Copy {
        /// The key.
        file: PathBuf,
        /// The folder of the copy.
        folder: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A key and the hosts that are known, ready for one connection.
#[derive(Debug)]
pub struct SshAccess {
    key: PathBuf,
    known_hosts: PathBuf,
    /// A copy that lies alone and that only we may read; gone when this is.
    _copy: Option<NamedTempFile>,
}

impl SshAccess {
    /// Looks at both files as they are now.
    ///
    /// ssh refuses a key of ours that others may read, which is how secrets are often mounted; and it offers the
    /// public half that lies beside a key, which may be an old one while the key is rotated. Such a key is
    /// copied to a private file in `folder` that is removed with this value.
    pub fn read(key_file: &Path, known_hosts: &Path, folder: &Path) -> Result<Self, SshError> {
        let (file, metadata) = open("SSH key", key_file)?;
        open("known hosts", known_hosts)?;
        let copy = if is_refused_by_ssh(&metadata) || has_public_half(key_file) {
            let copied = private_copy(file, folder).map_err(|source| SshError::Copy {
                file: key_file.to_owned(),
                folder: folder.to_owned(),
                source,
            })?;
            Some(copied)
        } else {
            None
        };
        let key = copy.as_ref().map_or(key_file, NamedTempFile::path);
        Ok(Self {
            key: absolute(key)?,
            known_hosts: absolute(known_hosts)?,
            _copy: copy,
        })
    }

    /// The value of `GIT_SSH_COMMAND`, which git hands to a shell.
    pub(crate) fn command(&self) -> Result<String, SshError> {
        let options = [
            format!("IdentityFile={}", ssh_quoted(&self.key)?),
            format!("UserKnownHostsFile={}", ssh_quoted(&self.known_hosts)?),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "UpdateHostKeys=no".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "IdentityAgent=none".to_owned(),
            "PreferredAuthentications=publickey".to_owned(),
            "PasswordAuthentication=no".to_owned(),
            "KbdInteractiveAuthentication=no".to_owned(),
            "BatchMode=yes".to_owned(),
            "ConnectTimeout=10".to_owned(),
            "ServerAliveInterval=10".to_owned(),
            "ServerAliveCountMax=3".to_owned(),
        ];
        let mut command = "ssh -F /dev/null".to_owned();
        for option in options {
            command.push_str(" -o ");
            command.push_str(&shell_quoted(&option));
        }
        Ok(command)
    }

    /// The file that has to know the server's key.
    pub(crate) fn known_hosts(&self) -> &Path {
        &self.known_hosts
    }
}

/// Removes the private copies that a killed process left in `folder`, which nobody else uses.
pub(crate) fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(COPY_PREFIX))
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(file = %entry.path().display(), %error, "cannot remove the copy of an SSH key; remove it");
        }
    }
}

fn open(what: &'static str, file: &Path) -> Result<(fs::File, fs::Metadata), SshError> {
    let opened = fs::File::open(file).and_then(|opened| {
        let metadata = opened.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        Ok((opened, metadata))
    });
    opened.map_err(|source| SshError::Unreadable {
        what,
        file: file.to_owned(),
        source,
    })
}

/// The rule of ssh itself (`sshkey_perm_ok`): keys of others are not looked at.
fn is_refused_by_ssh(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::getuid().as_raw() && metadata.mode() & 0o077 != 0
}

fn has_public_half(key_file: &Path) -> bool {
    let mut public = key_file.as_os_str().to_owned();
    public.push(".pub");
    Path::new(&public).exists()
}

fn private_copy(from: fs::File, folder: &Path) -> io::Result<NamedTempFile> {
    let mut copy = tempfile::Builder::new()
        .prefix(COPY_PREFIX)
        .tempfile_in(folder)?;
    let copied = io::copy(&mut io::Read::take(from, MAX_KEY_BYTES + 1), &mut copy)?;
    if copied > MAX_KEY_BYTES {
        return Err(io::Error::other(format!(
            "it is longer than {MAX_KEY_BYTES} bytes"
        )));
    }
    copy.flush()?;
    Ok(copy)
}

fn absolute(path: &Path) -> Result<PathBuf, SshError> {
    std::path::absolute(path).map_err(|_| SshError::Path {
        path: path.to_owned(),
    })
}

/// A path as one word of ssh's configuration, in which `%` begins a placeholder.
fn ssh_quoted(path: &Path) -> Result<String, SshError> {
    let text = path
        .to_str()
        .filter(|text| !text.contains("${") && !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| SshError::Path {
        path: path.to_owned(),
    })?;
    let escaped = text
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    Ok(format!("\"{escaped}\""))
}

/// A text as one word of a POSIX shell.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Reads what ssh said of a connection that did not come about, or broke; `None` where the words are git's alone.
///
/// ssh ends with 255 whatever happened: its sentences are all there is.
pub(crate) fn failure(
    remote: &RemoteUrl,
    known_hosts: Option<&Path>,
    stderr: &str,
) -> Option<RemoteError> {
    let lines = || {
        stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("remote:"))
    };
    let line_with = |parts: &[&str]| {
        lines()
            .find(|line| {
                let line = line.to_ascii_lowercase();
                parts.iter().any(|part| line.contains(part))
            })
            .map(one_line)
    };
    let address = remote.to_string();
    let known_hosts = known_hosts.map_or_else(
        || "the known_hosts file".to_owned(),
        |file| file.display().to_string(),
    );
    if line_with(&["ssh: not found", "ssh: command not found"]).is_some() {
        return Some(RemoteError::NoSsh { remote: address });
    }
    if let Some(message) = line_with(&["no user exists for uid"]) {
        return Some(RemoteError::NoAccount {
            remote: address,
            message,
        });
    }
    if line_with(&[
        "has changed and you have requested strict checking",
        "remote host identification has changed",
        "is revoked",
    ])
    .is_some()
    {
        return Some(RemoteError::HostKeyChanged {
            remote: address,
            known_hosts,
        });
    }
    if line_with(&["key is known for", "host key verification failed"]).is_some() {
        return Some(RemoteError::HostKeyUnknown {
            scan: scan_command(remote),
            remote: address,
            known_hosts,
        });
    }
    // Before the refusal that follows from it.
    if let Some(message) = line_with(&["load key \"", "unprotected private key"]) {
        return Some(RemoteError::BadKey {
            remote: address,
            message,
        });
    }
    if let Some(message) = line_with(&["permission denied (", "too many authentication failures"]) {
        return Some(RemoteError::KeyRefused {
            remote: address,
            message,
        });
    }
    if let Some(message) = line_with(&["marked as read only", "to deploy key"]) {
        return Some(RemoteError::Forbidden {
            remote: address,
            message,
        });
    }
    if let Some(message) = line_with(&[
        "ssh: connect to host",
        "ssh: could not resolve hostname",
        "timed out during banner exchange",
        "unable to negotiate",
    ]) {
        return Some(RemoteError::Unreachable {
            remote: address,
            message,
        });
    }
    if let Some(message) = line_with(&[
        "kex_exchange_identification",
        "connection closed by",
        "closed by remote host",
        "connection reset by",
        "client_loop:",
        "timeout, server",
        "broken pipe",
    ]) {
        return Some(RemoteError::Unavailable {
            remote: address,
            message,
        });
    }
    None
}

/// Whether ssh ended before it ran anything on the server.
pub(crate) fn nothing_was_sent(stderr: &str) -> bool {
    let text = stderr.to_ascii_lowercase();
    [
        "host key verification failed",
        "permission denied (publickey",
        "ssh: connect to host",
        "ssh: could not resolve hostname",
        "ssh: not found",
        "no user exists for uid",
        "kex_exchange_identification",
        "timed out during banner exchange",
    ]
    .iter()
    .any(|part| text.contains(part))
        && !text.contains("hung up")
        && telling_line(stderr).contains("Could not read from remote repository")
}

/// How to ask the server for its key.
fn scan_command(remote: &RemoteUrl) -> String {
    let Some((host, port)) = remote.ssh_host() else {
        return "ssh-keyscan HOST".to_owned();
    };
    match port {
        Some(port) => format!("ssh-keyscan -p {port} {host}"),
        None => format!("ssh-keyscan {host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    fn reason(stderr: &str) -> Option<&'static str> {
        let remote = RemoteUrl::parse("ssh://git@example.com:2222/a.git").unwrap();
        failure(&remote, Some(Path::new("/k/hosts")), stderr).map(|error| error.reason())
    }

    #[test]
    fn what_ssh_says_is_understood() {
        let tail = "\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.";
        for (stderr, expected) in [
            (
                "No ED25519 host key is known for [example.com]:2222 and you have requested strict checking.\nHost key verification failed.",
                Some("HostKeyUnknown"),
            ),
            (
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key for [example.com]:2222 has changed and you have requested strict checking.\nHost key verification failed.",
                Some("HostKeyChanged"),
            ),
            (
                "git@example.com: Permission denied (publickey).",
                Some("KeyRefused"),
            ),
            (
                "Load key \"/k/id\": error in libcrypto\ngit@example.com: Permission denied (publickey).",
                Some("BadKey"),
            ),
            (
                "ssh: connect to host example.com port 2222: Connection refused",
                Some("Unreachable"),
            ),
            (
                "ssh: Could not resolve hostname example.com: Name or service not known",
                Some("Unreachable"),
            ),
            (
                "kex_exchange_identification: read: Connection reset by peer",
                Some("Unavailable"),
            ),
            (
                "Connection closed by 127.0.0.1 port 2222",
                Some("Unavailable"),
            ),
            ("sh: 1: ssh: not found", Some("NoSsh")),
            ("No user exists for uid 1000860000", Some("NoAccount")),
            (
                "ERROR: The key you are authenticating with has been marked as read only.",
                Some("Forbidden"),
            ),
            (
                "fatal: '/a.git' does not appear to be a git repository",
                None,
            ),
            (
                "remote: git@example.com: Permission denied (publickey).",
                None,
            ),
        ] {
            assert_eq!(reason(&format!("{stderr}{tail}")), expected, "{stderr}");
        }
    }

    #[test]
    fn an_unknown_host_is_told_with_file_and_way_out() {
        let remote = RemoteUrl::parse("ssh://git@example.com:2222/a.git").unwrap();
        let said = "No ED25519 host key is known for [example.com]:2222 and you have requested strict checking.";
        let error = failure(&remote, Some(Path::new("/k/hosts")), said).unwrap();
        let text = error.to_string();
        for part in [
            "example.com:2222",
            "/k/hosts",
            "ssh-keyscan -p 2222 example.com",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn only_a_connection_that_never_came_about_sent_nothing() {
        let tail = "\nfatal: Could not read from remote repository.";
        assert!(nothing_was_sent(&format!(
            "ssh: connect to host x port 22: Connection refused{tail}"
        )));
        assert!(!nothing_was_sent(&format!("Connection closed by x{tail}")));
        assert!(!nothing_was_sent(
            "x: Permission denied (publickey).\nfatal: the remote end hung up unexpectedly"
        ));
    }

    /// What ssh itself understands of the command, by `ssh -G`.
    fn understood(access: &SshAccess) -> Option<String> {
        let command = format!("{} -G git@example.com", access.command().unwrap());
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn awkward_paths_reach_ssh_whole() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a b'c\"d%h\\e$(id)");
        fs::create_dir(&odd).unwrap();
        let (key, hosts) = (odd.join("id"), odd.join("known hosts"));
        for file in [&key, &hosts] {
            fs::write(file, "x").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let access = SshAccess::read(&key, &hosts, folder.path()).unwrap();
        let Some(settings) = understood(&access) else {
            // No ssh here: the shell's own reading still has to give the words back.
            return;
        };
        let setting = |name: &str| {
            let line = settings
                .lines()
                .find_map(|line| line.strip_prefix(name).map(str::trim));
            line.map(|line| line.replace("%%", "%")).unwrap_or_default()
        };
        assert_eq!(setting("identityfile "), key.to_str().unwrap());
        assert_eq!(setting("userknownhostsfile "), hosts.to_str().unwrap());
        assert_eq!(setting("batchmode "), "yes");
        assert_eq!(setting("identitiesonly "), "yes");
        // Older ones say true, newer ones yes.
        assert!(["true", "yes"].contains(&&*setting("stricthostkeychecking ")));
    }

    #[test]
    fn a_path_that_ssh_would_expand_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("${HOME}");
        fs::write(&hosts, "").unwrap();
        let access = SshAccess::read(&hosts, &hosts, folder.path()).unwrap();
        assert!(matches!(access.command(), Err(SshError::Path { .. })));
    }

    #[test]
    fn a_key_that_ssh_would_misread_is_copied_for_the_time_of_a_connection() {
        let folder = tempfile::tempdir().unwrap();
        let data = tempfile::tempdir().unwrap();
        let (key, hosts) = (folder.path().join("id"), folder.path().join("hosts"));
        fs::write(&key, "the key\n").unwrap();
        fs::write(&hosts, "").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o440)).unwrap();
        let access = SshAccess::read(&key, &hosts, data.path()).unwrap();
        assert_ne!(access.key, key);
        assert_eq!(fs::read(&access.key).unwrap(), b"the key\n");
        let mode = fs::metadata(&access.key).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(access);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
        fs::write(data.path().join("ssh-key-left"), "the key\n").unwrap();
        remove_leftovers(data.path());
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let access = SshAccess::read(&key, &hosts, data.path()).unwrap();
        assert_eq!(access.key, key);
        fs::write(folder.path().join("id.pub"), "an old one").unwrap();
        let access = SshAccess::read(&key, &hosts, data.path()).unwrap();
        assert_ne!(access.key, key);
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("here");
        fs::write(&here, "x").unwrap();
        let gone = folder.path().join("gone");
        for (key, hosts) in [(&gone, &here), (&here, &gone)] {
            let error = SshAccess::read(key, hosts, folder.path()).unwrap_err();
            assert!(error.to_string().contains("gone"), "{error}");
        }
    }
}
