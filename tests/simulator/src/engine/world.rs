//! What all processes share: real time, the server, the regions, and what was seen of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use tidegate_waves::oid::Oid;
use tokio::time::Instant;

use super::regions::Regions;
use super::server::Server;

/// Real time begins here.
pub(super) const EPOCH: i64 = 1_767_225_600;

/// What a process was told by a region's gate.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// When, in real time.
    pub(super) at: Duration,
    /// When, by the clock of the process.
    pub(super) monotonic: Duration,
    /// The controller that asked.
    pub(super) controller: String,
    /// Which of its lives.
    pub(super) life: u32,
    pub(super) region: String,
    /// The tree that really ran there.
    pub(super) tree: Option<Oid>,
    pub(super) is_healthy: bool,
    pub(super) is_bad: bool,
}

/// The world.
#[derive(Debug)]
pub(super) struct World {
    /// Real time, which no process sees; within a step it is that of the step's beginning.
    pub(super) now: Duration,
    /// When the step began by the clock of the process whose turn it is.
    pub(super) step_began: Option<Instant>,
    pub(super) server: Server,
    pub(super) regions: Regions,
    pub(super) answers: Vec<Answer>,
    pub(super) random: Rng,
}

impl World {
    /// Real time, to be asked by the process whose turn it is.
    pub(super) fn real(&self) -> Duration {
        let within = self
            .step_began
            .map(|began| Instant::now().saturating_duration_since(began));
        self.now + within.unwrap_or_default()
    }

    /// The right time of day.
    pub(super) fn wall(&self) -> Timestamp {
        Timestamp::from_second(EPOCH)
            .ok()
            .and_then(|epoch| epoch.checked_add(self.now).ok())
            .unwrap_or_default()
    }

    /// A time of up to so many milliseconds.
    pub(super) fn latency(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.random.u64(..=most))
    }
}

/// The world as its inhabitants hold it. All of them live on one thread.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// The world, for a moment: never across an await.
    pub(super) fn get(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
