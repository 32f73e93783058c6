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
