//! The programs of servers that tests run against, and such a server as a process that ends with its test.
//!
//! The programs lie below the folder that the environment variable [`STACK_VARIABLE`] names.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::wait_until;

/// The environment variable with the folder of the servers that tests run against.
pub const STACK_VARIABLE: &str = "TIDEGATE_TEST_STACK";
/// The environment variable, of all servers and of all that they start, with the process id of the test.
pub const OWNER_VARIABLE: &str = "TIDEGATE_TEST_OWNER";

/// How long a server may take for anything on a slow machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Ends a group of processes once nobody holds the other end of its standard input: a test that is killed, or ended by
/// Ctrl-C, drops nothing. What they wrote goes too.
const WATCHDOG: &str = r#"read -r _; kill -9 "-$0"; rm -rf -- "$1""#;

/// A file of the stack; `None` where it is missing.
pub fn stack_file(path: &str) -> Option<PathBuf> {
    let file = PathBuf::from(std::env::var_os(STACK_VARIABLE)?).join(path);
    file.exists().then_some(file)
}

/// A program on the `PATH`; `None` where it is missing.
pub fn installed(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A port of the loopback device that nobody else is given while a server begins: for a minute, the kernel lets only
/// those have it who ask for it by number.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().unwrap();
    let caller = TcpStream::connect(address).expect("a connection to this process");
    let (called, _) = listener.accept().unwrap();
    // The side that ends a connection first is the one that remembers it.
    drop(called);
    let _ = (&caller).read(&mut [0]);
    address.port()
}

/// Whether a server answers a plain request well.
pub fn answers_ok(port: u16, path: &str) -> bool {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
        let mut line = vec![0; 12];
        stream.read_exact(&mut line)?;
        Ok(line)
    };
    ask().is_ok_and(|line| line.ends_with(b" 200"))
}

/// A server: a process in a group of its own. It ends with all that it started when dropped, also when it is stopped by
/// a signal, and also when the test itself is killed.
#[derive(Debug)]
pub struct Server {
    name: String,
    folder: PathBuf,
    log: PathBuf,
    command: Command,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    watchdog: Child,
}

impl Server {
    /// Starts a program with an environment of its own (`PATH` and a home, and what the command says); what it says goes
    /// to `<name>.log` in the folder: a temporary one, which goes with the server also when the test is killed.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        let path = folder.join(format!("{name}.log"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        let own: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        command
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("TMPDIR", folder)
            .env(OWNER_VARIABLE, std::process::id().to_string())
            .envs(own)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut this = Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            log: path,
            command,
            running: None,
        };
        this.start_again();
        this
    }

    /// Starts it again with the same arguments, if it does not run.
    pub fn start_again(&mut self) {
        if self.is_running() {
            return;
        }
        self.stop();
        let child = self.command.spawn().expect(&self.name);
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, &child.id().to_string()])
            .arg(&self.folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        self.running = Some(Running { child, watchdog });
    }

    /// Ends it at once, with all that it started, as a crash would.
    pub fn stop(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        // The processes of git that Argo CD starts are in groups of their own.
        let started = descendants(running.child.id());
        // First: the group's number must not be another's by the time that the watchdog looks.
        let _ = running.watchdog.kill();
        let _ = running.watchdog.wait();
        let _ = kill_process_group(id_of(&running.child), Signal::KILL);
        for id in started {
            let _ = kill_process(id, Signal::KILL);
        }
        let _ = running.child.wait();
    }

    /// Lets it do nothing at all until [`Server::resume`]; its connections stay.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.as_ref().expect("a server that runs");
        kill_process_group(id_of(&running.child), signal).expect("a signal's delivery");
    }

    /// Whether it was started and has not ended.
    pub fn is_running(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|running| running.child.try_wait().unwrap().is_none())
    }

    /// Waits until it is ready, or fails with what it said.
    pub fn wait_until_ready(&mut self, mut is_ready: impl FnMut() -> bool) {
        let end = Instant::now() + DEADLINE;
        wait_until(&self.name.clone(), 2 * DEADLINE, || {
            assert!(self.is_running(), "{} ended: {}", self.name, self.said());
            let is_late = Instant::now() > end;
            assert!(!is_late, "{} is not ready: {}", self.name, self.said());
            is_ready()
        });
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How many MiB of memory it holds.
    pub fn memory(&self) -> u64 {
        let id = self
            .running
            .as_ref()
            .map_or(0, |running| running.child.id());
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .map_or(0, |kilobytes| kilobytes / 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn id_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// All that a process started and that those started, of what has not ended yet.
fn descendants(root: u32) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // `<id> (<name>) <state> <parent> …`: the name may hold anything.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut all = Vec::new();
    let mut next = vec![i32::try_from(root).unwrap()];
    while let Some(id) = next.pop() {
        for child in children.remove(&id).unwrap_or_default() {
            all.extend(Pid::from_raw(child));
            next.push(child);
        }
    }
    all
}
