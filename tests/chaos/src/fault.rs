//! What is done to a controller that stands at one of its side effects, and how it ends again.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_testkit::git_server::{Fault as ServerFault, On};
use tidegate_testkit::small_disk::SmallDisk;
use tidegate_testkit::small_fleet::SmallFleet;
use tidegate_testkit::wait::wait_until;

use crate::process::{is_traced, terminate};

/// A fault that is swept over all points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Killed, and started again on its data folder.
    Kill,
    /// Killed, and started elsewhere with nothing but its settings.
    Move,
    /// Frozen for longer than any deadline, while another controller works.
    Freeze,
    /// Frozen until another controller has taken over, so that it goes on right in the middle of that one's work.
    Interleave,
    /// Its data folder is full for a while.
    Full,
    /// Its file system answers with errors for a while.
    Broken,
    /// For a while, git and those who are told close every connection, and regions do not answer.
    Cut,
    /// For a while, neither git nor the regions nor those who are told answer, as when packets are lost.
    Silence,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Kill,
        Self::Move,
        Self::Freeze,
        Self::Interleave,
        Self::Full,
        Self::Broken,
        Self::Cut,
        Self::Silence,
    ];

    /// Its name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Move => "move",
            Self::Freeze => "freeze",
            Self::Interleave => "interleave",
            Self::Full => "enospc",
            Self::Broken => "eio",
            Self::Cut => "cut",
            Self::Silence => "silence",
        }
    }

    /// Whether another controller works meanwhile.
    pub fn has_another(self) -> bool {
        matches!(self, Self::Freeze | Self::Interleave)
    }

    /// Whether the controller dies of it, at the point itself.
    pub fn is_deadly(self) -> bool {
        matches!(self, Self::Kill | Self::Move)
    }

    /// Why it cannot be made on this machine.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Full => {
                let folder = tempfile::tempdir().unwrap();
                SmallDisk::mount(folder.path().join("disk"), "1m")
                    .err()
                    .map(|why| format!("nothing can be mounted here: {why}"))
            }
            Self::Broken => tracing_is_missing(),
            Self::Kill
            | Self::Move
            | Self::Freeze
            | Self::Interleave
            | Self::Cut
            | Self::Silence => None,
        }
    }
}

/// Calls that change files, and nothing that sockets, pipes or events use: those go on as ever.
const FILE_CALLS: &str = "fsync,fdatasync,pwrite64,ftruncate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,link,linkat,\
     symlink,symlinkat";

fn strace(id: u32) -> std::io::Result<Child> {
    Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-p", &id.to_string(), "-e"])
        .arg(format!("trace={FILE_CALLS}"))
        .arg("-e")
        .arg(format!("inject={FILE_CALLS}:error=EIO"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn tracing_is_missing() -> Option<String> {
    let mut victim = Command::new("sleep").arg("60").spawn().unwrap();
    let tracer = strace(victim.id());
    let why = match tracer {
        Err(error) => Some(format!("strace does not start: {error}")),
        Ok(mut tracer) => {
            let begun = Instant::now();
            let mut why = Some("strace may not trace another process here".to_owned());
            while begun.elapsed() < Duration::from_secs(5) {
                if is_traced(victim.id()) {
                    why = None;
                    break;
                }
                if matches!(tracer.try_wait(), Ok(Some(_))) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = tracer.kill();
            let _ = tracer.wait();
            why
        }
    };
    let _ = victim.kill();
    let _ = victim.wait();
    why
}

/// A fault that is under way. It ends when dropped.
pub(crate) enum Applied<'a> {
    /// A full disk.
    Full(&'a SmallDisk),
    /// File system calls that fail.
    Broken(Child),
    /// No way to the world, and how many requests git had answered before.
    Cut(&'a SmallFleet, usize),
}

impl<'a> Applied<'a> {
    /// Fills a disk.
    pub(crate) fn full(disk: &'a SmallDisk) -> Self {
        disk.fill();
        Self::Full(disk)
    }

    /// Lets the file calls of a stopped process, and of all that it starts, fail.
    pub(crate) fn broken(id: u32) -> Self {
        let tracer = strace(id).expect("strace");
        let this = Self::Broken(tracer);
        wait_until("strace at every thread", Duration::from_secs(20), || {
            is_traced(id)
        });
        this
    }

    /// Cuts the way to git, the regions and those who are told: requests are refused, or (`silently`) never answered.
    pub(crate) fn cut(fleet: &'a SmallFleet, silently: bool) -> Self {
        let fault = if silently {
            ServerFault::Stall
        } else {
            ServerFault::DropRequest
        };
        let before = fleet.server.requests();
        fleet.server.fail(On::Any, fault);
        fleet.health.cut(true);
        if let Some(audience) = &fleet.audience {
            if silently {
                audience.way.silence();
            } else {
                audience.way.close();
            }
        }
        Self::Cut(fleet, before)
    }

    /// Whether it may end, for the controller has said that it met it.
    pub(crate) fn may_end(&self, said: &str) -> bool {
        // An outage is longer than the first request that fails.
        !matches!(self, Self::Cut(..)) && self.was_met(said)
    }

    /// Whether the controller met it: it says so, or asked somebody who did not answer.
    pub(crate) fn was_met(&self, said: &str) -> bool {
        match self {
            Self::Full(_) => ["no space is left", "No space left", "disk is full"]
                .iter()
                .any(|words| said.contains(words)),
            Self::Broken(_) => ["Input/output error", "os error 5", "disk I/O error"]
                .iter()
                .any(|words| said.contains(words)),
            Self::Cut(fleet, before) => fleet.server.requests() > *before,
        }
    }
}

impl Drop for Applied<'_> {
    fn drop(&mut self) {
        match self {
            Self::Full(disk) => disk.make_room(),
            Self::Broken(tracer) => {
                terminate(tracer.id());
                let _ = tracer.wait();
            }
            Self::Cut(fleet, _) => {
                fleet.health.cut(false);
                if let Some(audience) = &fleet.audience {
                    audience.way.open();
                }
                fleet.server.clear();
            }
        }
    }
}
