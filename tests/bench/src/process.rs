//! What a running program costs, as Linux counts it.

use std::fs;
use std::time::Duration;

/// What one process has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Processor time of the process itself.
    pub(crate) own: Duration,
    /// Processor time of its children that have ended.
    pub(crate) children: Duration,
    /// How often any of its threads went to sleep and was woken.
    pub(crate) wakeups: u64,
}

/// Reads what a process has used; panics where it is gone.
pub(crate) fn usage(id: u32) -> Usage {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name of the program stands in parentheses and may hold blanks.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks = |place: usize| fields[place].parse::<u64>().unwrap();
    let per_second = rustix::param::clock_ticks_per_second();
    let time = |ticks: u64| Duration::from_millis(ticks * 1000 / per_second);
    Usage {
        own: time(ticks(11) + ticks(12)),
        children: time(ticks(13) + ticks(14)),
        wakeups: wakeups(id),
    }
}

fn wakeups(id: u32) -> u64 {
    fs::read_dir(format!("/proc/{id}/task"))
        .unwrap()
        .flatten()
        // A thread may end between the two readings.
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
        .filter_map(|status| field(&status, "voluntary_ctxt_switches:"))
        .sum()
}

/// The most memory that a process has held at once so far, in MiB.
pub(crate) fn peak_memory(id: u32) -> f64 {
    peak_memory_if_it_runs(id).unwrap()
}

/// The same; `None` where the process has ended.
pub(crate) fn peak_memory_if_it_runs(id: u32) -> Option<f64> {
    mebibytes(id, "VmHWM:")
}

/// The memory that a process holds now, in MiB.
pub(crate) fn memory(id: u32) -> f64 {
    mebibytes(id, "VmRSS:").unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "kibibytes fit")]
fn mebibytes(id: u32, name: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    Some(field(&status, name)? as f64 / 1024.0)
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
