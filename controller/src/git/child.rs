//! The `git` command as a child process.
//!
//! * Every child leads its own process group. When its deadline passes, or when the future that runs it is
//!   dropped, the whole group is killed: git starts helpers (`git-remote-https`) that outlive it otherwise.
//!   A push whose child was killed may still take effect on the server.
//! * [`Surroundings::Hermetic`] gives the child an environment of ours alone: no configuration of the user
//!   or machine, no credential helper, no prompt, no hook, no redirect, one protocol.
//!   [`Surroundings::User`] leaves the user's own configuration and credentials in force.
//! * Secrets travel in the child's environment, never in its arguments, and are masked in what it says.
//! * Over SSH nothing but the named key and the named known hosts takes part; see [`super::ssh`].
//! * What it writes is bounded, decoded leniently and freed of control characters before anyone sees it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::remote::{Access, Credentials, RemoteUrl};
use super::ssh::{SshAccess, SshError};
use crate::secret::Mask;

/// Most bytes of standard output that are taken, unless a command says otherwise.
const DEFAULT_STDOUT_LIMIT: usize = 16 << 20;
/// Most bytes of standard error that are kept; the rest is read and dropped.
const STDERR_LIMIT: usize = 64 << 10;

/// Variables that a hermetic child keeps: how to find programs, folders for temporary files, the way out
/// of the network and the authorities to trust. None of them can change what git does to a repo.
const KEPT_VARIABLES: [&str; 16] = [
    "PATH",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "GIT_EXEC_PATH",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
];

/// Variables that would point git at another repo; they are set while a git hook of the user runs.
const MISLEADING_VARIABLES: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

/// What holds for every child.
const ALWAYS: [&str; 10] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "fetch.fsckObjects=true",
    "transfer.fsckObjects=true",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "http.followRedirects=false",
    "http.lowSpeedLimit=100",
    "http.lowSpeedTime=30",
];

/// Whose configuration and credentials a child uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surroundings {
    /// Ours alone: for the controller.
    Hermetic,
    /// The user's: for what a person runs by hand.
    User,
}

/// A git command could not be run to its end. All but `Missing` are retryable; whether a push took effect is
/// unknown after any of them but this one and `Spawn`.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// There is no git.
    #[error("the git command was not found: install git 2.39 or later and have it on PATH")]
    Missing,
    /// The operating system did not start it.
    #[error("cannot start git: {0}")]
    Spawn(#[source] io::Error),
    /// It ran longer than it may.
    #[error("git {verb} took longer than {} s and was stopped", after.as_secs_f64())]
    TimedOut {
        /// What git was doing.
        verb: String,
        /// The deadline.
        after: Duration,
    },
    /// It wrote more than it may.
    #[error("git {verb} wrote more than {limit} bytes and was stopped")]
    TooMuchOutput {
        /// What git was doing.
        verb: String,
        /// The bound.
        limit: usize,
    },
    /// Its output or its end could not be read.
    #[error("lost contact with git {verb}: {source}")]
    Lost {
        /// What git was doing.
        verb: String,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What a finished child left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error: masked, printable, lines separated by `\n`.
    pub stderr: String,
    /// The file that had to know the server's key, where SSH was used.
    pub known_hosts: Option<PathBuf>,
    /// The credentials that it was given, for whoever shows words of its standard output.
    pub mask: Mask,
}

impl Finished {
    /// Whether it ended with exit code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// A git command that is about to be run.
pub struct GitCommand {
    command: Command,
    verb: String,
    deadline: Duration,
    stdout_limit: usize,
    mask: Mask,
    /// Kept until the command has ended: it may own a copy of the key.
    ssh: Option<SshAccess>,
}

impl GitCommand {
    /// A command on the repo in `git_dir` (`None`: on no repo) that reaches no remote.
    #[must_use]
    pub fn local(
        surroundings: Surroundings,
        git_dir: Option<&Path>,
        verb: &str,
        deadline: Duration,
    ) -> Self {
        Self::new(surroundings, git_dir, verb, deadline, &[])
    }

    /// The same with settings of its own, each `key=value`.
    #[must_use]
    pub fn local_with(
        surroundings: Surroundings,
        git_dir: Option<&Path>,
        verb: &str,
        deadline: Duration,
        settings: &[&str],
    ) -> Self {
        Self::new(surroundings, git_dir, verb, deadline, settings)
    }

    /// A command that reaches `remote`, and no other protocol than that remote's.
    ///
    /// Credentials are sent to the remote's own origin only; settings of its own are each `key=value`. Fails where ssh
    /// cannot be told of a file.
    pub fn to_remote(
        surroundings: Surroundings,
        git_dir: Option<&Path>,
        verb: &str,
        deadline: Duration,
        remote: &RemoteUrl,
        access: Access,
        settings: &[&str],
    ) -> Result<Self, SshError> {
        let allowed = format!("protocol.{}.allow=always", remote.transport().protocol());
        let mut settings = settings.to_vec();
        if surroundings == Surroundings::Hermetic {
            settings.push(&allowed);
        }
        let mut this = Self::new(surroundings, git_dir, verb, deadline, &settings);
        match (access, remote.origin()) {
            (Access::Basic(credentials), Some(origin)) => this.authorize(&origin, &credentials),
            (Access::Ssh(access), None) => {
                this.command
                    .env("GIT_SSH_COMMAND", access.command()?)
                    .env("GIT_SSH_VARIANT", "ssh");
                this.ssh = Some(access);
            }
            (_, Some(origin)) => {
                if let Some(user) = remote.user() {
                    this.secret_configuration(&format!("credential.{origin}.username"), user);
                }
            }
            (_, None) => {}
        }
        Ok(this)
    }

    fn new(
        surroundings: Surroundings,
        git_dir: Option<&Path>,
        verb: &str,
        deadline: Duration,
        settings: &[&str],
    ) -> Self {
        let mut command = Command::new("git");
        match surroundings {
            Surroundings::Hermetic => {
                command.env_clear();
                for name in KEPT_VARIABLES {
                    if let Some(value) = std::env::var_os(name) {
                        command.env(name, value);
                    }
                }
                // The variable that everything else honours; git's own name for it wins.
                if std::env::var_os("GIT_SSL_CAINFO").is_none()
                    && let Some(file) = std::env::var_os("SSL_CERT_FILE")
                {
                    command.env("GIT_SSL_CAINFO", file);
                }
                command
                    .env("HOME", "/nonexistent")
                    .env("XDG_CONFIG_HOME", "/nonexistent")
                    .env("GIT_CONFIG_NOSYSTEM", "1")
                    .env("GIT_CONFIG_GLOBAL", "/dev/null")
                    .env("GIT_ATTR_NOSYSTEM", "1")
                    .args(["-c", "protocol.allow=never", "-c", "credential.helper="]);
            }
            Surroundings::User => {
                for name in MISLEADING_VARIABLES {
                    command.env_remove(name);
                }
            }
        }
        // A child in a group of its own may not read from the terminal: it would be stopped, not asked.
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .env_remove("LANGUAGE")
            .env("GIT_OPTIONAL_LOCKS", "0");
        for setting in ALWAYS.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        if let Some(git_dir) = git_dir {
            let mut argument = OsString::from("--git-dir=");
            argument.push(git_dir);
            command.arg(argument);
        }
        command
            .arg(verb)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        Self {
            command,
            verb: verb.to_owned(),
            deadline,
            stdout_limit: DEFAULT_STDOUT_LIMIT,
            mask: Mask::default(),
            ssh: None,
        }
    }

    /// Adds an argument. A secret must never be one.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Lets git tell on standard error what it sends and receives; credentials are not part of it.
    #[must_use]
    pub fn showing_packets(mut self) -> Self {
        self.command.env("GIT_TRACE_PACKET", "1");
        self
    }

    fn authorize(&mut self, origin: &str, credentials: &Credentials) {
        let username = credentials.username.reveal();
        let password = credentials.password.reveal();
        let token =
            base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
        self.secret_configuration(
            &format!("http.{origin}.extraHeader"),
            &format!("Authorization: Basic {token}"),
        );
        // Short user names are words of everyday messages; long ones may be tokens.
        let long = if username.len() >= 16 { username } else { "" };
        self.mask = Mask::of([token.as_str(), password, long]);
    }

    /// One setting through the environment, behind those that the user may have there.
    fn secret_configuration(&mut self, key: &str, value: &str) {
        let inherited = std::env::var("GIT_CONFIG_COUNT").ok();
        let cleared = self
            .command
            .as_std()
            .get_envs()
            .any(|(name, _)| name == "GIT_CONFIG_GLOBAL");
        let count = inherited
            .filter(|_| !cleared)
            .and_then(|count| count.parse::<u32>().ok())
            .unwrap_or(0);
        self.command
            .env(format!("GIT_CONFIG_KEY_{count}"), key)
            .env(format!("GIT_CONFIG_VALUE_{count}"), value)
            .env("GIT_CONFIG_COUNT", (count + 1).to_string());
    }

    /// Runs the command to its end or its deadline.
    ///
    /// Dropping the future kills the child with all that it started.
    pub async fn run(mut self) -> Result<Finished, ChildError> {
        let mut child = self.command.spawn().map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                ChildError::Missing
            } else {
                ChildError::Spawn(error)
            }
        })?;
        let mut group = Group::led_by(child.id());
        let lost = |source| ChildError::Lost {
            verb: self.verb.clone(),
            source,
        };
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(lost(io::Error::other("its output is not connected")));
        };
        let whole = async {
            let (stdout, stderr) = tokio::try_join!(
                read_bounded(stdout, self.stdout_limit, true),
                read_bounded(stderr, STDERR_LIMIT, false),
            )?;
            // Only now may the leader be reaped: until then its id cannot become another group's.
            Ok::<_, io::Error>((stdout, stderr, child.wait().await?))
        };
        let ended = tokio::time::timeout(self.deadline, whole).await;
        match ended {
            Ok(Ok((stdout, stderr, status))) => {
                group.disband();
                Ok(Finished {
                    code: status.code(),
                    stdout,
                    stderr: printable(&stderr, &self.mask),
                    mask: self.mask.clone(),
                    known_hosts: self.ssh.as_ref().map(|ssh| ssh.known_hosts().to_owned()),
                })
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(ChildError::TooMuchOutput {
                    verb: self.verb.clone(),
                    limit: self.stdout_limit,
                })
            }
            Ok(Err(error)) => Err(lost(error)),
            Err(_) => Err(ChildError::TimedOut {
                verb: self.verb.clone(),
                after: self.deadline,
            }),
        }
    }
}

/// The process group of a running child; killed when this goes out of scope.
struct Group(Option<Pid>);

impl Group {
    fn led_by(id: Option<u32>) -> Self {
        Self(
            id.and_then(|id| i32::try_from(id).ok())
                .and_then(Pid::from_raw),
        )
    }

    /// Its leader has been reaped: the id may belong to others from now on.
    fn disband(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It may have ended by itself in this moment; there is nothing to do about any failure.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Reads to the end; what is beyond `limit` is an error or dropped.
async fn read_bounded(
    mut from: impl AsyncRead + Unpin,
    limit: usize,
    strict: bool,
) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = vec![0_u8; 16 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(all);
        }
        let room = limit.saturating_sub(all.len());
        if count > room && strict {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        all.extend(buffer.iter().take(count.min(room)));
    }
}

/// Text that may be logged: secrets masked, one `\n` between lines, nothing that moves a terminal's cursor
/// or turns the reading direction.
pub(crate) fn printable(bytes: &[u8], mask: &Mask) -> String {
    let text = String::from_utf8_lossy(bytes);
    let clean: String = text
        .chars()
        .map(|character| if character == '\r' { '\n' } else { character })
        .filter(|&character| character == '\n' || !super::trailers::is_treacherous(character))
        .collect();
    mask.hide(&clean)
        .lines()
        .map(|line| mask_userinfo(line.trim_end()))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Masks what stands between `://` and `@`.
fn mask_userinfo(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        masked.push_str(before);
        masked.push_str("://");
        let end = after
            .find(|character: char| character == '/' || character.is_whitespace())
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at_checked(end).unwrap_or((after, ""));
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                masked.push_str("***@");
                masked.push_str(host);
            }
            None => masked.push_str(authority),
        }
        rest = tail;
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use std::time::Instant;

    fn command(verb: &str, deadline: Duration) -> GitCommand {
        GitCommand::local(Surroundings::Hermetic, None, verb, deadline)
    }

    const PLENTY: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_child_gets_the_configuration_of_nobody() {
        let finished = command("config", PLENTY)
            .args(["--list", "--show-origin"])
            .run()
            .await
            .unwrap();
        let text = String::from_utf8(finished.stdout).unwrap();
        assert!(finished.code == Some(0), "{}", finished.stderr);
        assert!(text.contains("protocol.allow=never"));
        // The tests run inside a repo, whose own configuration is the one thing that is left.
        let ours = |line: &str| {
            line.starts_with("command line:")
                || line.starts_with("file:.git/")
                || line.contains("/.git/config")
        };
        assert!(text.lines().all(ours), "{text}");
    }

    #[tokio::test]
    async fn credentials_are_in_no_argument_and_masked_in_what_the_child_says() {
        let remote = RemoteUrl::parse("https://example.com/a").unwrap();
        let credentials = Credentials {
            username: Secret::new("jo"),
            password: Secret::new("hunter2 &"),
        };
        let command = GitCommand::to_remote(
            Surroundings::Hermetic,
            None,
            "config",
            PLENTY,
            &remote,
            Access::Basic(credentials),
            &[],
        )
        .unwrap();
        let arguments: Vec<_> = command.command.as_std().get_args().collect();
        assert!(!format!("{arguments:?}").contains("hunter2"));
        let token = base64::engine::general_purpose::STANDARD.encode("jo:hunter2 &");
        assert!(!format!("{arguments:?}").contains(&token));
        let mask = command.mask.clone();
        let said = command
            .args(["--get", "http.https://example.com/.extraHeader"])
            .run()
            .await
            .unwrap();
        let header = String::from_utf8(said.stdout).unwrap();
        assert_eq!(header.trim(), format!("Authorization: Basic {token}"));
        let shown = printable(
            format!("x {token} hunter2 & hunter2%20%26 https://a:b@c/d").as_bytes(),
            &mask,
        );
        assert_eq!(shown, "x *** *** *** https://***@c/d");
    }

    #[tokio::test]
    async fn a_deadline_ends_the_child_and_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("survived");
        let script = format!("!sleep 2 && touch '{}' & sleep 100", marker.display());
        let started = Instant::now();
        let ended = GitCommand::local(
            Surroundings::Hermetic,
            None,
            "-c",
            Duration::from_millis(300),
        )
        .arg(format!("alias.stall={script}"))
        .arg("stall")
        .run()
        .await;
        assert!(
            matches!(ended, Err(ChildError::TimedOut { .. })),
            "{ended:?}"
        );
        assert!(started.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(2300)).await;
        assert!(!marker.exists());
    }

    #[tokio::test]
    async fn too_much_output_ends_the_child() {
        let mut endless = command("-c", PLENTY);
        endless.stdout_limit = 1000;
        let ended = endless.args(["alias.flood=!yes", "flood"]).run().await;
        assert!(
            matches!(ended, Err(ChildError::TooMuchOutput { .. })),
            "{ended:?}"
        );
    }

    #[test]
    fn nothing_that_moves_a_cursor_is_shown() {
        let shown = printable(b"a\x1b[31mb\x07\r\n\n\xe2\x80\xaec\xff", &Mask::default());
        assert_eq!(shown, "a[31mb\nc\u{fffd}");
    }
}
