//! What the system says about a process, and how to disturb one.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Whether a process is stopped (SIGSTOP), by the state in its `stat`.
pub(crate) fn is_stopped(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name stands in brackets and may hold anything.
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    state.starts_with(['T', 't'])
}

/// Whether every thread of a process is traced.
pub(crate) fn is_traced(id: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{id}/task"));
    tasks.into_iter().flatten().flatten().all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"))
            .is_none_or(|tracer| tracer.trim() != "0")
    })
}

/// Asks a process to end (SIGTERM).
pub(crate) fn terminate(id: u32) {
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(id, Signal::TERM);
    }
}

/// Panics where a controller has said that something of it died of a bug. It goes on then, so that its end tells nothing of that.
#[track_caller]
pub(crate) fn assert_sound(said: &str) {
    let is_bug = |line: &&str| line.contains("panicked at") || line.contains("a fleet has died");
    let found = said.lines().find(is_bug);
    assert_eq!(found, None, "a bug in the controller");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_that_goes_on_behind_a_bug_is_not_sound() {
        assert_sound("{\"message\":\"pushed\"}\n--- started again\n");
        for said in [
            "thread 'tokio-rt-worker' (7) panicked at controller/src/engine.rs:1:1:\n",
            "{\"level\":\"ERROR\",\"fields\":{\"message\":\"a fleet has died, which is a bug to report; it is started again, and the other fleets go on\"}}\n",
        ] {
            let said = format!("begins\n{said}goes on");
            std::panic::catch_unwind(|| assert_sound(&said)).unwrap_err();
        }
    }
}
