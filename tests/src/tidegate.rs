//! A driver for the real program, with an empty environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::canaries::STANDING;
use crate::wait::{wait_for, wait_until};

/// The variable that names where the program is to end itself as by kill -9: `<point>` or `<point>:<n>`.
pub const CRASH_AT: &str = "TIDEGATE_CRASH_AT";

/// The program as it was built beside the one that runs: cargo builds it for every test of this repo.
#[must_use]
pub fn built() -> PathBuf {
    let this = std::env::current_exe().expect("the running program");
    let folder = this.parent().expect("its folder");
    let folder = if folder.ends_with("deps") {
        folder.parent().expect("the folder above deps")
    } else {
        folder
    };
    let program = folder.join("tidegate");
    assert!(
        program.exists(),
        "there is no {}: build it with `cargo build -p tidegate`",
        program.display()
    );
    program
}

/// How to call the program.
#[derive(Debug, Clone)]
pub struct Tidegate {
    program: PathBuf,
    folder: PathBuf,
    environment: BTreeMap<OsString, OsString>,
}

/// What a call said and how it ended.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Tidegate {
    /// The program at a path (`env!("CARGO_BIN_EXE_tidegate")`), run in `folder`, which is also its home.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, folder: &Path) -> Self {
        let this = Self {
            program: program.into(),
            folder: folder.to_owned(),
            environment: BTreeMap::new(),
        };
        this.env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("NO_COLOR", "1")
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// The credentials of a [`crate::git_server::GitServer`].
    #[must_use]
    pub fn with_credentials(self) -> Self {
        self.env("TIDEGATE_GIT_USERNAME", crate::git_server::USERNAME)
            .env("TIDEGATE_GIT_PASSWORD", crate::git_server::PASSWORD)
    }

    /// Ends itself at a named point, the `nth` time (from 1) that it gets there.
    #[must_use]
    pub fn crash_at(self, point: &str, nth: u32) -> Self {
        self.env(CRASH_AT, format!("{point}:{nth}"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end. Panics where it shows a password of the tests.
    #[must_use]
    pub fn call(&self, arguments: &[&str]) -> Answer {
        let output = self.command(arguments).output().expect("the program");
        STANDING.assert_absent(&format!("the output of {arguments:?}"), &output.stdout);
        STANDING.assert_absent(&format!("what {arguments:?} says"), &output.stderr);
        Answer {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts the program in the background; what it says goes to files.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Running {
        let said = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(said.path().join(name)).unwrap();
        let child = self
            .command(arguments)
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the program");
        Running {
            child,
            said,
            ended: None,
        }
    }
}

/// The program in the background. Killed when dropped, which panics where it has shown a password of the tests.
#[derive(Debug)]
pub struct Running {
    child: Child,
    said: tempfile::TempDir,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.said.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended.is_none()
    }

    /// Waits until a condition holds; panics when the deadline passes or the program ends before, with what it said.
    pub fn wait_until(&mut self, what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
        let mut ended = false;
        let start = std::time::Instant::now();
        wait_until(what, deadline + Duration::from_secs(1), || {
            if holds() {
                return true;
            }
            // One more look after the end: it may have done it last.
            assert!(
                !ended,
                "{what}: the program ended before: {}",
                self.stderr()
            );
            ended = !self.is_running();
            assert!(
                start.elapsed() < deadline,
                "{what}: not within {deadline:?}; the program said: {}",
                self.stderr()
            );
            false
        });
    }

    /// Waits until it has said something on standard error; panics as [`Running::wait_until`] does.
    pub fn wait_until_said(&mut self, text: &str, deadline: Duration) {
        let file = self.said.path().join("stderr");
        self.wait_until(&format!("that it says {text:?}"), deadline, || {
            let bytes = fs::read(&file).unwrap_or_default();
            String::from_utf8_lossy(&bytes).contains(text)
        });
    }

    /// Waits for its end; panics when the deadline passes.
    pub fn wait(mut self, deadline: Duration) -> Answer {
        let status = wait_for("the program's end", deadline, || {
            self.is_running();
            self.ended
        });
        Answer {
            code: status.code(),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    fn signal(&mut self, signal: Signal) {
        // Once it has been waited for, its id may be another's.
        if self.is_running()
            && let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(id, signal);
        }
    }

    /// kill -9, and waits for its end. What it started lives on.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if self.ended.is_none() {
            self.ended = self.child.wait().ok();
        }
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Freezes it (SIGSTOP).
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            let leaks = STANDING.find_in_folder(self.said.path(), &|_| false);
            assert!(leaks.is_empty(), "secrets leaked: {leaks:#?}");
        }
    }
}
