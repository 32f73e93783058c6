//! The engine: feeds [`tidegate_waves::rollout::decide`] and carries out what it decides, for one fleet.
//!
//! It decides nothing itself. Its contract with the world:
//!
//! * In a look no branch is older than the log, so that a branch that lacks what the log calls applied was changed
//!   by somebody, and is not merely an older view.
//! * A step's entry is appended before anything else of it is done; if it cannot be, the rest is dropped and
//!   everything is looked at again. The in-memory state is only ever one that the log's tip holds.
//! * Whatever a push answers, the remote is listed again before the next decision counts on it.
//! * Nothing here is remembered that git does not have, but for the sums of bakes and deadlines, which may
//!   get lost: then bakes take longer.

mod candidate;
mod ending;
mod inputs;
pub mod log;
mod looking;
pub mod message;
mod mint;
pub mod ports;
mod reports;
mod sampling;
mod view;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_renderer::cache::RenderCache;
use tidegate_renderer::tree::{ObjectStore, StoreError};
use tidegate_renderer::worker::TemplateWorker;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetState, Now, PushReport, RegionSample, Step, Watch, decide};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

pub use self::ending::Ending;
use self::log::LogDamage;
use self::ports::{RefView, Remote};
use self::sampling::GATHER_SAMPLES;
use crate::blocking;
use crate::clock::Clock;
use crate::crash;
use crate::gates::{Observed, Prober, Sampler};
use crate::git::failure::{Recovery, RemoteError};
use crate::git::history::HistoryError;
use crate::reporting::Report;
use crate::settings::{Author, Unsigned};
use crate::source::Source;
use crate::store::SumsFile;

/// How long a push, or anything else that is asked of the remote, may take.
pub const PUSH_DEADLINE: Duration = Duration::from_secs(60);

/// How often a run that is to end looks whether regions that were given back what they had are well.
const LOOKS_WHILE_GIVEN_BACK: Duration = Duration::from_secs(1);

/// How often the sums of bakes and deadlines are written: what was counted since is lost with the process. What harm has
/// taken back is written at once.
const SAVES_EVERY: Duration = Duration::from_secs(2);

/// The least time between two looks at a remote that answered with an error, doubled up to 64 times.
const ERROR_PAUSE: Duration = Duration::from_millis(500);

/// Why the engine could not go on with a fleet.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The remote could not be asked.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The server does not let us write the log.
    #[error(
        "the server refuses to move {reference}: {message}; let this controller's identity push there"
    )]
    LogRefused {
        /// The log's ref.
        reference: String,
        /// What the server said.
        message: String,
    },
    /// The mirror's objects could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mirror's history could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A message of ours could not be written.
    #[error(transparent)]
    Message(#[from] crate::git::trailers::BadKey),
    /// The log cannot be trusted.
    #[error(
        "the control log is damaged: {0}; nothing is written until it is mended (see docs: break glass)"
    )]
    Damaged(#[from] LogDamage),
    /// The log is about another fleet, branch, path or prefix.
    #[error("{0}")]
    OtherSettings(String),
    /// A decision cannot be carried out as it stands: a bug.
    #[error("internal error: {0}; this is a bug, please report it")]
    Inconsistent(String),
    /// A commit could not be rendered for a reason that is not the commit's.
    #[error("{commit} could not be rendered: {reason}; it is tried again")]
    Rendering {
        /// The commit.
        commit: Oid,
        /// What happened.
        reason: String,
    },
    /// A task that must not end has ended.
    #[error("{0}")]
    TaskDied(String),
}

impl EngineError {
    /// Whether trying again later may help without anybody doing anything here.
    fn is_retryable(&self) -> bool {
        match self {
            Self::Remote(error) => error.recovery() != Recovery::Permanent,
            Self::LogRefused { .. }
            | Self::Rendering { .. }
            | Self::Store(StoreError::Write { .. }) => true,
            _ => false,
        }
    }

    /// Whether an object that the mirror promised cannot be read: all of it is on the server too.
    fn is_damaged_mirror(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Open { .. } | StoreError::Read { .. })
                | Self::History(HistoryError::Open { .. } | HistoryError::Read { .. })
        )
    }
}

/// What the engine is told about one fleet.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// The name in the settings; `None` takes the document's.
    pub name: Option<String>,
    /// The config branch, without `refs/heads/`; `None` is what the remote's HEAD names.
    pub branch: Option<String>,
    /// The fleet's folder in the repo; empty is the root.
    pub path: String,
    /// The prefix of all refs of ours.
    pub prefix: String,
    /// Who our commits are from.
    pub author: Author,
    /// What becomes of requests that nobody signed.
    pub unsigned: Unsigned,
    /// The keys that may sign requests.
    pub allowed_signers: Option<PathBuf>,
    /// This controller's identity.
    pub identity: String,
    /// How long another controller's log must stand still with work due before this one goes on.
    pub takeover_after: Duration,
    /// Leave when there is nothing more to wait for.
    pub settle: bool,
    /// Where the sums of bakes and deadlines are kept.
    pub sums: PathBuf,
}

/// The world as the engine reaches it.
pub struct World<R> {
    /// The config repo's remote.
    pub remote: R,
    /// The mirror's objects.
    pub store: Arc<ObjectStore>,
    /// The mirror's folder.
    pub mirror: PathBuf,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Regions.
    pub prober: Arc<dyn Prober>,
    /// Templates.
    pub templates: Arc<dyn TemplateWorker + Send + Sync>,
    /// Hints to look at the remote.
    pub source: Source,
    /// Whoever tells others what the engine knows; nobody need listen.
    pub reports: watch::Sender<Report>,
}

/// How many gates are sampled at once.
const CONCURRENT_PROBES: usize = 256;

/// What the log's tip holds, and its commit.
#[derive(Debug, Clone)]
struct Tip {
    commit: Oid,
    seconds: i64,
    state: Arc<FleetState>,
}

/// One fleet's engine.
pub struct Engine<R> {
    options: FleetOptions,
    remote: R,
    store: Arc<ObjectStore>,
    mirror: PathBuf,
    clock: Arc<dyn Clock>,
    templates: Arc<dyn TemplateWorker + Send + Sync>,
    source: Source,
    reports: watch::Sender<Report>,
    sampler: Sampler,
    observed: mpsc::Receiver<Observed>,
    sampled: sampling::Sampled,
    cache: RenderCache,
    generation: u64,
    sums: SumsFile,
    tip: Option<Tip>,
    watch: Watch,
    view: RefView,
    candidates: candidate::Cache,
    pending: Pending,
    ending: ending::Tracker,
    /// When the sums were written last.
    saved: Option<Duration>,
    /// How many pushes in a row got an unclear answer.
    unclear: u32,
    /// When the log's entry 0 was written, once that has been asked for.
    begun: Option<i64>,
    said: Option<String>,
}

/// What was seen since the last decision.
#[derive(Default)]
struct Pending {
    samples: Vec<RegionSample>,
    pushes: Vec<PushReport>,
}

/// What one turn came to.
enum Turn {
    /// Something was written or pushed: decide again at once.
    Again,
    /// Wait for a hint, a sample, or this long.
    Wait(Option<Duration>),
    /// Leave the server alone for this long, then look again.
    Pause(Duration),
    /// `--settle`: there is nothing more to wait for.
    Settled(Ending),
}

impl<R: Remote> Engine<R> {
    /// An engine that has looked at nothing yet.
    #[must_use]
    pub fn new(options: FleetOptions, world: World<R>) -> Self {
        let World {
            remote,
            store,
            mirror,
            clock,
            prober,
            templates,
            source,
            reports,
        } = world;
        let (sampler, observed) = Sampler::new(prober, Arc::clone(&clock), CONCURRENT_PROBES);
        let sums = SumsFile::new(options.sums.clone());
        let generation = remote.generation();
        Self {
            options,
            remote,
            store,
            mirror,
            clock,
            templates,
            source,
            reports,
            sampler,
            observed,
            sampled: sampling::Sampled::default(),
            cache: RenderCache::default(),
            generation,
            sums,
            tip: None,
            watch: Watch::default(),
            view: RefView::default(),
            candidates: candidate::Cache::default(),
            pending: Pending::default(),
            ending: ending::Tracker::default(),
            saved: None,
            unclear: 0,
            begun: None,
            said: None,
        }
    }

    /// Runs until cancelled, until `--settle` has nothing more to wait for, or until the log turns out not to be
    /// ours to write.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<Ending, EngineError> {
        let mut look = true;
        let mut errors = 0_u32;
        let mut agreed = false;
        let mut mended = false;
        loop {
            if cancel.is_cancelled() {
                return Ok(Ending::Cancelled);
            }
            let turn = match self.turn(look).await {
                Ok(turn) => {
                    errors = 0;
                    mended = false;
                    agreed = true;
                    turn
                }
                Err(error @ EngineError::TaskDied(_)) => return Err(error),
                // Said at the start, it ends the run; what somebody changes later must not stop other fleets.
                Err(error @ EngineError::OtherSettings(_)) if !agreed => return Err(error),
                // A new mirror would have it from the same server.
                Err(EngineError::History(error @ HistoryError::Read { id, .. }))
                    if self.remote.leave_out(id) =>
                {
                    self.say_error(&error.into());
                    Turn::Pause(ERROR_PAUSE)
                }
                // Once: what is still unreadable in a new mirror is damaged on the server.
                Err(error) if error.is_damaged_mirror() && !mended => {
                    self.say_error(&error);
                    mended = true;
                    if let Err(error) = self.remote.discard() {
                        self.say_error(&error.into());
                    }
                    Turn::Wait(Some(ERROR_PAUSE))
                }
                Err(error) => {
                    self.say_error(&error);
                    if self.options.settle && !error.is_retryable() {
                        return match error {
                            EngineError::Damaged(_) => Ok(Ending::Held),
                            error => Err(error),
                        };
                    }
                    errors = errors.saturating_add(1);
                    Turn::Wait(Some(ERROR_PAUSE.saturating_mul(1 << errors.min(6))))
                }
            };
            look = match turn {
                Turn::Again => false,
                // What is left behind must have been looked at last.
                Turn::Settled(ending) if look => return Ok(ending),
                Turn::Settled(_) => true,
                Turn::Pause(time) => self.wait(Some(time), true, &cancel).await?,
                Turn::Wait(after) => self.wait(after, errors > 0 || mended, &cancel).await?,
            };
        }
    }

    /// Waits for something to happen; tells whether the remote is to be looked at.
    async fn wait(
        &mut self,
        after: Option<Duration>,
        failed: bool,
        cancel: &CancellationToken,
    ) -> Result<bool, EngineError> {
        let timer = async {
            match after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(timer);
        loop {
            // In a fixed order, which makes a run repeatable, and such that nothing keeps the others from their turn: a
            // look comes as often as it is asked for, and with it, or when the timer ends, the samples that wait are taken.
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(false),
                due = self.source.look(), if !failed => {
                    // Where a listing takes longer than the poll interval, the next look is due at once, every time.
                    self.take_waiting();
                    return if due {
                        Ok(true)
                    } else {
                        Err(EngineError::TaskDied("the task that watches for changes ended by itself; this is a bug, restart the controller".to_owned()))
                    };
                }
                () = &mut timer => {
                    self.take_waiting();
                    return Ok(failed);
                }
                observed = self.observed.recv() => {
                    if let Some(observed) = observed {
                        self.take(observed);
                    }
                    tokio::time::sleep(GATHER_SAMPLES).await;
                    self.take_waiting();
                    // A server that answers with errors is left alone for as long as was said, whatever else happens.
                    if !failed {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Takes the samples that wait.
    fn take_waiting(&mut self) {
        while let Ok(observed) = self.observed.try_recv() {
            self.take(observed);
        }
    }

    /// One decision, and what follows from it.
    async fn turn(&mut self, look: bool) -> Result<Turn, EngineError> {
        if look {
            self.look().await?;
        }
        let Some(config) = self.config_branch() else {
            self.say("the remote has no config branch yet; waiting for the first commit");
            return Ok(self.settled_or_wait(Some(Ending::Invalid)));
        };
        let Some(tip) = self.tip.clone() else {
            return self.begin(&config).await;
        };
        self.check_identity(&tip.state, &config)?;
        self.report_head(&tip, &config);
        let observations = blocking::in_place(|| self.observe(&tip, &config))?;
        self.report(&tip, &observations.config);
        let now = Now {
            monotonic: self.clock.monotonic(),
            wall: self.clock.wall().as_second(),
        };
        let Step {
            watch,
            append,
            pushes,
            probes,
            wake_after,
            busy,
        } = decide(&tip.state, &self.watch, &observations, now);
        self.watch = watch;
        self.pending = Pending::default();
        self.sample(&probes)?;
        if self
            .saved
            .is_none_or(|saved| now.monotonic.saturating_sub(saved) >= SAVES_EVERY)
            || self.sums.exceeds(&self.watch)
        {
            self.saved = Some(now.monotonic);
            blocking::in_place(|| self.sums.save(&self.watch));
        }
        crash::point("after-sums");
        if let Some(append) = append {
            self.append(Some(&tip), *append).await?;
            return Ok(self.again());
        }
        if !pushes.is_empty() {
            self.push(&pushes).await?;
            return Ok(self.again());
        }
        if !busy && self.options.settle && self.watches_what_was_given_back() {
            return Ok(Turn::Wait(Some(LOOKS_WHILE_GIVEN_BACK)));
        }
        if !busy {
            let turn = self.settled_or_wait(Some(self.ending.of(&tip.state)));
            self.tidy().await;
            return Ok(match turn {
                Turn::Wait(_) => Turn::Wait(wake_after),
                turn => turn,
            });
        }
        Ok(Turn::Wait(wake_after))
    }

    /// Decides again at once, unless the server's last answers were unclear: then it is left alone for a while.
    fn again(&self) -> Turn {
        match self.unclear {
            0 => Turn::Again,
            count => Turn::Pause(ERROR_PAUSE.saturating_mul(1 << count.saturating_sub(1).min(4))),
        }
    }

    /// Puts the mirror in order, now that nothing is to be done.
    async fn tidy(&mut self) {
        if let Err(error) = self.remote.tidy().await {
            info!("the mirror could not be tidied, which costs only time: {error}");
        }
    }

    fn settled_or_wait(&self, ending: Option<Ending>) -> Turn {
        match ending {
            Some(ending) if self.options.settle => Turn::Settled(ending),
            _ => Turn::Wait(None),
        }
    }

    /// Says something once, until something else is said.
    fn say(&mut self, text: &str) {
        if self.said.as_deref() != Some(text) {
            info!("{text}");
            self.said = Some(text.to_owned());
        }
    }

    fn say_error(&mut self, error: &EngineError) {
        let text = error.to_string();
        self.report_trouble(error);
        if self.said.as_deref() != Some(text.as_str()) {
            error!(retryable = error.is_retryable(), "{text}");
            self.said = Some(text);
        }
    }
}
