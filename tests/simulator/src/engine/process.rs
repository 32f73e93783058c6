//! A controller: its data folder, and the process that works there.
//!
//! A process is a runtime of its own with one thread and a clock that goes on only while it is that process's turn, and
//! then by itself from one timer to the next. So it can be stopped (its clock goes on without it), suspended (its
//! clock stands still) and killed wherever it waits, by dropping the runtime. At the engine's crash points it is
//! killed by unwinding.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Span, Timestamp};
use tidegate_controller::clock::Clock;
use tidegate_controller::crash;
use tidegate_controller::engine::{self, Ending, Engine, EngineError, FleetOptions};
use tidegate_controller::settings::{Author, Unsigned};
use tidegate_controller::source::{Nudge, Source};
use tidegate_renderer::tree::ObjectStore;
use tidegate_renderer::worker::InProcessWorker;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::event::Keeps;
use super::regions::RegionProber;
use super::remote::{self, SimulatedRemote};
use super::world::Shared;

/// How often a controller looks at the remote by itself.
const POLL: Duration = Duration::from_secs(10);

/// How long the log of another one must stand still with work due.
const TAKEOVER_AFTER: Duration = Duration::from_secs(15);

/// How a process ends that is killed at a crash point.
struct Killed;

/// How many crash points a process still comes by; it is killed at the last one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Left {
    /// Of all.
    Points(u8),
    /// Of those beside an effect that others can see.
    Effects(u8),
}

impl Left {
    /// After this point; `None` if it is the last one.
    fn after(self, point: &str) -> Option<Self> {
        // An engine that has nothing to do comes by these two all the time.
        let is_effect = point != "after-look" && point != "after-sums";
        match self {
            Self::Points(left) => (left > 1).then(|| Self::Points(left - 1)),
            Self::Effects(left) if is_effect => (left > 1).then(|| Self::Effects(left - 1)),
            Self::Effects(_) => Some(self),
        }
    }
}

thread_local! {
    /// What is left to the process whose turn it is, if it is to be killed.
    static LEFT: Cell<Option<Left>> = const { Cell::new(None) };
    /// The points at which processes of this thread were killed.
    static KILLED_AT: RefCell<BTreeMap<String, u32>> = const { RefCell::new(BTreeMap::new()) };
}

/// From now on engines of this thread die at crash points when their time has come.
pub(super) fn die_at_points() {
    crash::tell(Some(Rc::new(|name: &str| {
        let Some(left) = LEFT.get() else {
            return;
        };
        let after = left.after(name);
        LEFT.set(after);
        if after.is_some() {
            return;
        }
        KILLED_AT.with(|points| *points.borrow_mut().entry(name.to_owned()).or_default() += 1);
        // As a panic would, but without telling anybody.
        std::panic::resume_unwind(Box::new(Killed));
    })));
}

/// At which points processes of this thread have died since this was asked last.
pub(super) fn killed_at() -> BTreeMap<String, u32> {
    KILLED_AT.take()
}

/// The clocks of one process.
struct ProcessClock {
    world: Shared,
    born: Instant,
    /// Seconds by which its time of day is wrong.
    offset: Arc<std::sync::atomic::AtomicI64>,
}

impl fmt::Debug for ProcessClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessClock").finish_non_exhaustive()
    }
}

impl Clock for ProcessClock {
    fn monotonic(&self) -> Duration {
        self.born.elapsed()
    }

    fn wall(&self) -> Timestamp {
        let right = self.world.get().wall();
        let offset = self.offset.load(std::sync::atomic::Ordering::Relaxed);
        right
            .checked_add(Span::new().seconds(offset))
            .unwrap_or(right)
    }
}

/// Why no process could be started.
pub(super) type StartError = Box<dyn std::error::Error>;

/// What a process came to by itself.
#[derive(Debug)]
pub(super) enum End {
    /// It was killed at a crash point.
    Killed,
    /// It ended, which no engine does here.
    Ended(String),
}

struct Process {
    runtime: Runtime,
    task: JoinHandle<Result<Ending, EngineError>>,
    nudge: Nudge,
    /// Where its clock is to be at the end of the step under way.
    clock: Instant,
}

/// One controller.
pub(super) struct Controller {
    world: Shared,
    name: String,
    folder: PathBuf,
    /// How often its data folder was lost.
    folders: u32,
    /// How often it was started.
    lives: u32,
    process: Option<Process>,
    /// Since when it stands still, if it does, and whether its clock does too.
    pub(super) frozen: Option<(Duration, bool)>,
    /// When it comes back, while it is dead.
    pub(super) back_at: Option<Duration>,
    /// The crash points that are left to it, and what it keeps then, and for how long it is gone.
    pub(super) dies: Option<(Left, Keeps, Duration)>,
    /// Whether its disk is full.
    pub(super) full: bool,
    /// By how many seconds its time of day is wrong.
    pub(super) offset: Arc<std::sync::atomic::AtomicI64>,
}

impl Controller {
    pub(super) fn new(world: Shared, name: &str, folder: &Path) -> Self {
        Self {
            world,
            name: name.to_owned(),
            folder: folder.join(name),
            folders: 0,
            lives: 0,
            process: None,
            frozen: None,
            back_at: Some(Duration::ZERO),
            dies: None,
            full: false,
            offset: Arc::default(),
        }
    }

    /// As which it is known in the log.
    pub(super) fn identity(&self) -> String {
        format!("{}{}", self.name, self.folders)
    }

    fn mirror(&self) -> PathBuf {
        self.folder.join("mirror.git")
    }

    /// The folder of the sums' file.
    fn sums(&self) -> PathBuf {
        self.folder.join("sums")
    }

    /// Fills its disk, or makes room.
    pub(super) fn fill(&mut self, full: bool) -> Result<(), StartError> {
        if self.full == full {
            return Ok(());
        }
        self.full = full;
        remote::fill(&self.mirror(), full)?;
        // Nothing can be made in a folder that is a file; what is in the file stays aside until there is room.
        let aside = self.folder.join("sums.aside");
        if full {
            if self.sums().exists() {
                fs::rename(self.sums(), &aside)?;
            }
            fs::create_dir_all(&self.folder)?;
            fs::write(self.sums(), "")?;
        } else {
            if self.sums().is_file() {
                fs::remove_file(self.sums())?;
            }
            if aside.exists() {
                fs::rename(&aside, self.sums())?;
            }
        }
        Ok(())
    }

    /// Starts a process.
    pub(super) fn start(&mut self) -> Result<(), StartError> {
        self.back_at = None;
        self.lives += 1;
        fs::create_dir_all(&self.folder)?;
        let mirror = self.mirror();
        remote::make_mirror(&mirror)?;
        if self.full {
            remote::fill(&mirror, true)?;
        }
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let store = Arc::new(ObjectStore::open(&mirror)?);
        let options = FleetOptions {
            name: None,
            branch: Some("main".to_owned()),
            path: String::new(),
            prefix: "tidegate".to_owned(),
            author: Author::default(),
            unsigned: Unsigned::Accept,
            allowed_signers: None,
            identity: self.identity(),
            takeover_after: TAKEOVER_AFTER,
            settle: false,
            sums: self.sums().join("sums.json"),
        };
        let (world, offset) = (self.world.clone(), Arc::clone(&self.offset));
        let (name, life) = (self.identity(), self.lives);
        let (task, nudge, clock) = runtime.block_on(async move {
            let born = Instant::now();
            let source = Source::start(None, POLL, u64::from(life));
            let nudge = source.nudge();
            let (reports, _) = watch::channel(tidegate_controller::reporting::Report::default());
            let engine = Engine::new(
                options,
                engine::World {
                    remote: SimulatedRemote::new(world.clone(), mirror.clone()),
                    store,
                    mirror,
                    clock: Arc::new(ProcessClock {
                        world: world.clone(),
                        born,
                        offset,
                    }),
                    prober: Arc::new(RegionProber {
                        world,
                        controller: name,
                        life,
                        born,
                    }),
                    templates: Arc::new(InProcessWorker),
                    source,
                    reports,
                },
            );
            let task = tokio::spawn(engine.run(CancellationToken::new()));
            (task, nudge, born)
        });
        self.process = Some(Process {
            runtime,
            task,
            nudge,
            clock,
        });
        Ok(())
    }

    /// Kills the process, wherever it waits.
    pub(super) fn die(&mut self, keeps: Keeps, back_at: Duration) -> Result<(), StartError> {
        self.process = None;
        self.frozen = None;
        self.dies = None;
        self.back_at = Some(back_at);
        let full = self.full;
        self.fill(false)?;
        match keeps {
            Keeps::Everything => {}
            Keeps::NoSums => {
                if self.sums().exists() {
                    fs::remove_dir_all(self.sums())?;
                }
            }
            Keeps::Nothing => {
                self.folders += 1;
                if self.folder.exists() {
                    fs::remove_dir_all(&self.folder)?;
                }
            }
        }
        self.fill(full)
    }

    /// Stops it, or suspends its machine.
    pub(super) fn freeze(&mut self, suspended: bool) {
        let now = self.world.get().now;
        if self.process.is_some() && self.frozen.is_none() {
            self.frozen = Some((now, suspended));
        }
    }

    /// Lets it go on; what should have happened to a stopped process meanwhile happens to it now.
    pub(super) fn thaw(&mut self) {
        let Some((since, suspended)) = self.frozen.take() else {
            return;
        };
        let now = self.world.get().now;
        if let (false, Some(process)) = (suspended, self.process.as_mut()) {
            let gone = now.saturating_sub(since);
            process.clock += gone;
            let world = self.world.clone();
            LEFT.set(None);
            process.runtime.block_on(async {
                world.get().step_began = None;
                tokio::time::advance(gone).await;
            });
        }
    }

    /// Tells it to look.
    pub(super) fn nudge(&self) {
        if let Some(process) = &self.process {
            process.nudge.look();
        }
    }

    /// Its turn: time goes by for it. Gives what it came to, if it ended.
    pub(super) fn step(&mut self, time: Duration) -> Option<End> {
        if self.frozen.is_some() {
            return None;
        }
        let process = self.process.as_mut()?;
        process.clock += time;
        let (world, clock) = (self.world.clone(), process.clock);
        LEFT.set(self.dies.map(|(left, ..)| left));
        process.runtime.block_on(async {
            world.get().step_began = Some(Instant::now());
            tokio::time::sleep_until(clock).await;
        });
        self.world.get().step_began = None;
        if let (Some(left), Some(dies)) = (LEFT.take(), self.dies.as_mut()) {
            dies.0 = left;
        }
        if !process.task.is_finished() {
            return None;
        }
        let ended = process.runtime.block_on(&mut process.task);
        Some(match ended {
            Ok(ended) => End::Ended(format!("{ended:?}")),
            Err(error) => died(error),
        })
    }
}

fn died(error: JoinError) -> End {
    match error.try_into_panic() {
        Ok(panic) if panic.is::<Killed>() => End::Killed,
        Ok(panic) => End::Ended(format!("a panic: {}", text(&*panic))),
        Err(error) => End::Ended(error.to_string()),
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}
