//! Builds the programs that tests are in, and asks them for single tests.

use std::collections::BTreeSet;
use std::env;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::Check;
use crate::check::Place;
use crate::scratch::Scratch;

/// How often a program is asked whether it has ended.
const INTERVAL: Duration = Duration::from_millis(20);

/// How a run of tests ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All of them passed.
    Passed,
    /// Some failed: what the program said.
    Failed(String),
    /// The program was killed by a signal.
    Died,
    /// It did not end in time, and was killed.
    Hung,
    /// It did not run the tests that it was asked for, or did not run at all.
    Strange(String),
}

/// Builds the program of a place's tests, from the copy as it is.
///
/// # Errors
///
/// What the compiler said, where it does not build.
pub(crate) fn build(scratch: &Scratch, place: &Place) -> Result<PathBuf, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["test", "--locked", "--no-run", "--message-format=json"])
        .args(["--package", place.package])
        .args(place.target)
        .current_dir(scratch.sources())
        .env("CARGO_TARGET_DIR", scratch.builds())
        // A mutant changes a line: what is compiled anew is little.
        .env("CARGO_INCREMENTAL", "1")
        .output()
        .map_err(|error| error.to_string())?;
    let messages: Vec<serde_json::Value> = String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    if !built.status.success() {
        let errors: Vec<&str> = messages
            .iter()
            .filter(|message| message["message"]["level"] == "error")
            .filter_map(|message| message["message"]["rendered"].as_str())
            .collect();
        let said = String::from_utf8_lossy(&built.stderr);
        return Err(format!("{}\n{said}", errors.join("\n")));
    }
    messages
        .iter()
        .filter(|message| message["profile"]["test"] == true)
        .find_map(|message| message["executable"].as_str())
        .map(PathBuf::from)
        .ok_or_else(|| format!("cargo names no program of {}", place.name))
}

/// Runs these tests of a place, and no others.
pub(crate) fn run(
    scratch: &Scratch,
    place: &Place,
    program: &Path,
    checks: &[&Check],
    deadline: Duration,
) -> Ended {
    let names: BTreeSet<&str> = checks.iter().map(|check| check.path()).collect();
    let started = Command::new(program)
        .arg("--exact")
        .args(&names)
        .current_dir(scratch.sources().join(place.folder))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return Ended::Strange(error.to_string()),
    };
    let stdout = listen(child.stdout.take());
    let stderr = listen(child.stderr.take());
    let Some(status) = wait(&mut child, deadline) else {
        return Ended::Hung;
    };
    let said = stdout.join().unwrap_or_default() + &stderr.join().unwrap_or_default();
    judge(status, names.len(), said)
}

fn judge(status: ExitStatus, asked: usize, said: String) -> Ended {
    if status.signal().is_some() {
        return Ended::Died;
    }
    let plural = if asked == 1 { "" } else { "s" };
    if !said.contains(&format!("running {asked} test{plural}\n")) {
        return Ended::Strange(said);
    }
    if status.success() {
        Ended::Passed
    } else if said.contains("test result: FAILED.") {
        Ended::Failed(said)
    } else {
        Ended::Strange(said)
    }
}

/// Reads all of a pipe, for a child that has filled one waits.
fn listen(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for a child's end, or kills it with all that it started.
fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if begun.elapsed() > deadline {
            if let Some(id) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(id, Signal::KILL);
            }
            let _ = child.wait();
            return None;
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_test_that_ran_and_failed_has_failed() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let failed = "running 1 test\ntest a ... FAILED\ntest result: FAILED. 0 passed; 1 failed";
        let passed = "running 1 test\ntest a ... ok\ntest result: ok. 1 passed; 0 failed";
        let none = "running 0 tests\ntest result: ok. 0 passed; 0 failed";
        assert!(matches!(
            judge(exited(101), 1, failed.to_owned()),
            Ended::Failed(_)
        ));
        assert_eq!(judge(exited(0), 1, passed.to_owned()), Ended::Passed);
        assert!(matches!(
            judge(exited(0), 1, none.to_owned()),
            Ended::Strange(_)
        ));
        assert!(matches!(
            judge(exited(101), 1, String::new()),
            Ended::Strange(_)
        ));
        assert_eq!(
            judge(ExitStatus::from_raw(6), 1, failed.to_owned()),
            Ended::Died
        );
    }

    #[test]
    fn what_never_ends_is_killed() {
        let mut child = Command::new("sleep")
            .arg("600")
            .process_group(0)
            .spawn()
            .unwrap();
        assert_eq!(wait(&mut child, Duration::ZERO), None);
    }
}
