//! Looks for secrets in the arguments and the environment of a program and of all that it starts, while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::canaries::{Canaries, Leak};

/// Between two looks at all processes.
const PAUSE: Duration = Duration::from_millis(2);

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// How many processes of each name.
    pub processes: BTreeMap<String, usize>,
    /// Secrets in arguments; the place is the process's name.
    pub in_arguments: BTreeSet<Leak>,
    /// Secrets in variables; the place is `<name of the process> <name of the variable>`.
    pub in_variables: BTreeSet<Leak>,
}

/// Looks at the processes that have a folder as their home and at those that they started, every few milliseconds.
#[derive(Debug)]
pub struct ProcessSampler {
    stopped: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl ProcessSampler {
    /// Begins.
    pub fn start(home: PathBuf, canaries: Arc<Canaries>) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let thread = thread::spawn({
            let (stopped, seen) = (Arc::clone(&stopped), Arc::clone(&seen));
            move || {
                let mut known = BTreeSet::new();
                while !stopped.load(Ordering::SeqCst) {
                    look(&home, &canaries, &mut known, &seen);
                    thread::sleep(PAUSE);
                }
            }
        });
        Self {
            stopped,
            seen,
            thread: Some(thread),
        }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for ProcessSampler {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A process as `/proc` shows it. One that runs another program is another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    id: u32,
    arguments: Vec<u8>,
    variables: Vec<u8>,
}

fn look(home: &PathBuf, canaries: &Canaries, known: &mut BTreeSet<Process>, seen: &Mutex<Seen>) {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name stands in brackets and may hold anything.
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        if let Some(parent) = parent {
            parents.insert(id, parent);
        }
    }
    let mut home_variable = b"HOME=".to_vec();
    home_variable.extend_from_slice(&OsString::from(home).into_vec());
    let is_root = |id: u32| {
        let variables = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        variables
            .split(|byte| *byte == 0)
            .any(|variable| variable == home_variable)
    };
    let mut ours: BTreeMap<u32, bool> = BTreeMap::new();
    for id in parents.keys() {
        let mut line = vec![*id];
        while let Some(parent) = parents.get(line.last().unwrap_or(id)).filter(|id| **id > 1) {
            line.push(*parent);
        }
        // From the oldest on: what is ours stays so below.
        let mut is_ours = false;
        for id in line.into_iter().rev() {
            is_ours = is_ours || *ours.entry(id).or_insert_with(|| is_root(id));
            ours.insert(id, is_ours);
        }
    }
    for (id, _) in ours.into_iter().filter(|(_, ours)| *ours) {
        let read = |name: &str| fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
        let process = Process {
            id,
            arguments: read("cmdline"),
            variables: read("environ"),
        };
        if !process.arguments.is_empty() && known.insert(process.clone()) {
            note(&process, canaries, &mut seen.lock().unwrap());
        }
    }
}

fn note(process: &Process, canaries: &Canaries, seen: &mut Seen) {
    let program = process.arguments.split(|byte| *byte == 0).next();
    let program = String::from_utf8_lossy(program.unwrap_or_default()).into_owned();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    seen.in_arguments
        .extend(canaries.find(&name, &process.arguments));
    for variable in process.variables.split(|byte| *byte == 0) {
        let key = variable.split(|byte| *byte == b'=').next();
        let key = String::from_utf8_lossy(key.unwrap_or_default()).into_owned();
        seen.in_variables
            .extend(canaries.find(&format!("{name} {key}"), variable));
    }
    *seen.processes.entry(name).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidegate::Tidegate;
    use crate::wait::wait_until;

    #[test]
    fn a_secret_in_arguments_or_the_environment_is_found_in_whatever_the_program_starts() {
        let folder = tempfile::tempdir().unwrap();
        let canaries = Canaries::new([
            ("argument", "aK4vN0+zQ/1uTe7%hY2wJ5c="),
            ("variable", "Pm3x/8Lr9+sB6d%GoW1nEi=0"),
            ("elsewhere", "Uf5j%Zt2/yVh8+kRqC7bXa=4"),
        ]);
        let sampler = ProcessSampler::start(folder.path().to_owned(), Arc::new(canaries));
        // Without our home: another test's.
        let other = tempfile::tempdir().unwrap();
        let program = Tidegate::new("/bin/sh", other.path());
        let _other = program.start(&["-c", "sleep 60; : Uf5j%Zt2/yVh8+kRqC7bXa=4"]);
        let program = Tidegate::new("/bin/sh", folder.path());
        let script =
            "env -i SECRET=Pm3x/8Lr9+sB6d%GoW1nEi=0 sh -c 'sleep 60; :' aK4vN0+zQ/1uTe7%hY2wJ5c=";
        let _running = program.start(&["-c", script]);
        wait_until(
            "both, and all that they start",
            Duration::from_secs(20),
            || {
                let seen = sampler.seen();
                let is_variable =
                    |leak: &Leak| leak.secret == "variable" && leak.place == "sh SECRET";
                let is_argument = |leak: &Leak| leak.secret == "argument" && leak.place == "sh";
                let count = |name: &str| seen.processes.get(name).copied().unwrap_or_default();
                seen.in_variables.iter().any(is_variable)
                    && seen.in_arguments.iter().any(is_argument)
                    && count("sh") >= 2
                    && count("sleep") >= 1
            },
        );
        let seen = sampler.seen();
        let mut all = seen.in_arguments.iter().chain(&seen.in_variables);
        assert!(all.all(|leak| leak.secret != "elsewhere"), "{seen:?}");
    }
}
