//! The engine: feeds [`tidegate_waves::rollout::decide`] and carries out what it decides, for one fleet.
//!
//! It decides nothing itself. Its contract with the world:
//!
//! * The log is read *before* the branches of the same look, so that a branch that lacks what the log calls
//!   applied was changed by somebody, and is not merely an older view.
//! * A step's entry is appended before anything else of it is done; if it cannot be, the rest is dropped and
//!   everything is looked at again. The in-memory state is only ever one that the log's tip holds.
//! * Whatever a push answers, the remote is listed again before the next decision counts on it.
//! * Nothing here is remembered that git does not have, but for the sums of bakes and deadlines, which may
//!   get lost: then bakes take longer.

mod candidate;
pub(crate) mod crash;
mod ending;
pub mod log;
pub mod message;
mod mint;
pub mod ports;
mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_renderer::cache::RenderCache;
use tidegate_renderer::tree::{ObjectStore, StoreError};
use tidegate_renderer::worker::TemplateWorker;
use tidegate_waves::fleet::GateCheck;
use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{
    Append, CandidateOutcome, ConfigView, FleetIdentity, FleetState, Now, Observations, Phase,
    Probe, PushOrder, PushOutcome, PushReport, RegionSample, Step, Watch, create, decide,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub use self::ending::Ending;
use self::log::LogDamage;
use self::mint::Signature;
use self::ports::{RefView, Remote};
use crate::clock::Clock;
use crate::gates::{Observed, Prober, Sampler, Target};
use crate::git::failure::{Recovery, RemoteError};
use crate::git::history::{History, HistoryError};
use crate::settings::{Author, Unsigned};
use crate::source::Source;
use crate::store::SumsFile;

/// How long a push, or anything else that is asked of the remote, may take.
pub const PUSH_DEADLINE: Duration = Duration::from_secs(60);

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
    /// A task that must not end has ended.
    #[error("{0}")]
    TaskDied(String),
}

impl EngineError {
    /// Whether trying again later may help without anybody doing anything here.
    fn is_retryable(&self) -> bool {
        match self {
            Self::Remote(error) => error.recovery() != Recovery::Permanent,
            Self::LogRefused { .. } | Self::Store(StoreError::Write { .. }) => true,
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
}

/// How many gates are sampled at once.
const CONCURRENT_PROBES: usize = 256;

/// What the log's tip holds, and its commit.
#[derive(Debug, Clone)]
struct Tip {
    commit: Oid,
    seconds: i64,
    state: FleetState,
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
    sampler: Sampler,
    observed: mpsc::Receiver<Observed>,
    generations: Generations,
    cache: RenderCache,
    generation: u64,
    sums: SumsFile,
    tip: Option<Tip>,
    watch: Watch,
    view: RefView,
    candidates: candidate::Cache,
    pending: Pending,
    ending: ending::Tracker,
    said: Option<String>,
}

/// What was seen since the last decision.
#[derive(Default)]
struct Pending {
    samples: Vec<RegionSample>,
    pushes: Vec<PushReport>,
}

/// Which rollout and phase a sample belongs to: what the sampler hands back is a number.
#[derive(Default)]
struct Generations {
    next: u64,
    of: BTreeMap<(String, Target), (u64, crate::gates::Watch, Phase)>,
}

/// What one turn came to.
enum Turn {
    /// Something was written or pushed: decide again at once.
    Again,
    /// Wait for a hint, a sample, or this long.
    Wait(Option<Duration>),
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
            sampler,
            observed,
            generations: Generations::default(),
            cache: RenderCache::default(),
            generation,
            sums,
            tip: None,
            watch: Watch::default(),
            view: RefView::default(),
            candidates: candidate::Cache::default(),
            pending: Pending::default(),
            ending: ending::Tracker::default(),
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
            tokio::select! {
                () = cancel.cancelled() => return Ok(false),
                due = self.source.look(), if !failed => return if due {
                    Ok(true)
                } else {
                    Err(EngineError::TaskDied("the task that watches for changes ended by itself; this is a bug, restart the controller".to_owned()))
                },
                observed = self.observed.recv() => {
                    if let Some(observed) = observed {
                        self.take(observed);
                    }
                    while let Ok(observed) = self.observed.try_recv() {
                        self.take(observed);
                    }
                    // A server that answers with errors is left alone for as long as was said, whatever else happens.
                    if !failed {
                        return Ok(false);
                    }
                }
                () = &mut timer => return Ok(failed),
            }
        }
    }

    fn take(&mut self, observed: Observed) {
        let Some((key, (_, _, phase))) =
            self.generations
                .of
                .iter()
                .find(|((_, target), (generation, _, _))| {
                    *target == observed.target && *generation == observed.generation
                })
        else {
            return;
        };
        debug!(region = observed.target.region, gate = observed.target.gate, reading = ?observed.sample.reading, evidence = observed.sample.evidence, "sampled");
        self.pending.samples.push(RegionSample {
            rollout: key.0.clone(),
            region: observed.target.region,
            gate: observed.target.gate,
            phase: *phase,
            at: observed.started_at,
            sample: observed.sample,
        });
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
        let observations = tokio::task::block_in_place(|| self.observe(&tip, &config))?;
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
        self.sums.save(&self.watch);
        crash::point("after-sums");
        if let Some(append) = append {
            self.append(Some(&tip), *append).await?;
            return Ok(Turn::Again);
        }
        if !pushes.is_empty() {
            self.push(&pushes).await?;
            return Ok(Turn::Again);
        }
        if !busy {
            return Ok(self.settled_or_wait(Some(self.ending.of(&tip.state))));
        }
        Ok(Turn::Wait(wake_after))
    }

    fn settled_or_wait(&self, ending: Option<Ending>) -> Turn {
        match ending {
            Some(ending) if self.options.settle => Turn::Settled(ending),
            _ => Turn::Wait(None),
        }
    }

    /// The branch that the remote's HEAD names, if it exists.
    fn head_branch(&self) -> Option<String> {
        let head = self.view.head.as_ref()?;
        self.view.get(head)?;
        Some(head.trim_start_matches("refs/heads/").to_owned())
    }

    fn config_branch(&self) -> Option<String> {
        if let Some(tip) = &self.tip {
            // What the log fixed counts while the branch, and HEAD with it, is gone.
            let named = self.options.branch.clone().or_else(|| self.head_branch());
            return Some(named.unwrap_or_else(|| tip.state.fleet.branch.clone()));
        }
        let branch = self.options.branch.clone().or_else(|| self.head_branch())?;
        self.view
            .refs
            .contains_key(&format!("refs/heads/{branch}"))
            .then_some(branch)
    }

    fn check_identity(&self, state: &FleetState, config: &str) -> Result<(), EngineError> {
        let fleet = &state.fleet;
        let name = self
            .options
            .name
            .clone()
            .unwrap_or_else(|| fleet.name.clone());
        if fleet.name == name
            && fleet.branch == config
            && fleet.path == self.options.path
            && fleet.prefix == self.options.prefix
        {
            return Ok(());
        }
        Err(EngineError::OtherSettings(format!(
            "the log {} belongs to fleet {:?} (config branch {:?}, path {:?}, prefix {:?}), but this controller is set to fleet {name:?} (config branch {config:?}, path {:?}, prefix {:?}); \
             give the second fleet a prefix of its own, or correct the settings",
            fleet.log_ref(),
            fleet.name,
            fleet.branch,
            fleet.path,
            fleet.prefix,
            self.options.path,
            self.options.prefix
        )))
    }

    /// Looks at the remote, and takes over what the log says by now.
    async fn look(&mut self) -> Result<(), EngineError> {
        // The view is a snapshot: the branches in it stand as they stood when the log stood as it does in it.
        let view = self.remote.refresh().await?;
        let generation = self.remote.generation();
        if generation != self.generation {
            // Whatever was made and not pushed is gone with the old mirror.
            self.generation = generation;
            self.store = Arc::new(ObjectStore::open(&self.mirror)?);
            self.cache = RenderCache::default();
            self.candidates = candidate::Cache::default();
        }
        let log = format!("refs/heads/{}/log", self.options.prefix);
        let listed = view.get(&log);
        let known = self.tip.as_ref().map(|tip| tip.commit);
        if listed != known {
            self.adopt_log(&view, &log, listed)?;
        }
        self.view = view;
        crash::point("after-look");
        Ok(())
    }

    fn adopt_log(
        &mut self,
        view: &RefView,
        log: &str,
        listed: Option<Oid>,
    ) -> Result<(), EngineError> {
        let Some(commit) = listed else {
            let branch = view::any_wave_branch(view, &self.options.prefix)
                .unwrap_or_else(|| "an entry of it that this controller has read".to_owned());
            return Err(LogDamage::Deleted {
                log: log.to_owned(),
                branch,
            }
            .into());
        };
        let remembered = self
            .tip
            .as_ref()
            .map(|tip| tip.commit)
            .or_else(|| self.sums.log_tip());
        let tip = tokio::task::block_in_place(|| -> Result<Tip, EngineError> {
            let history = History::open(&self.mirror)?;
            if let Some(known) = remembered
                && !history.is_ancestor(known, commit)?
            {
                return Err(LogDamage::Rewound(known).into());
            }
            log::verify(
                &history,
                commit,
                remembered.filter(|known| *known != commit),
            )?;
            let state = log::read_state(&self.store, &history, commit)?;
            Ok(Tip {
                commit,
                seconds: history.commit(commit)?.seconds,
                state,
            })
        })?;
        debug!(
            seq = tip.state.seq,
            epoch = tip.state.epoch,
            holder = tip.state.holder,
            "read the log"
        );
        if self.tip.is_none() {
            self.ending.start(&tip.state);
        }
        self.ending.saw(&tip.state);
        self.tip = Some(tip);
        self.sums.remember_log_tip(commit);
        Ok(())
    }

    /// There is no log yet: it begins with the first valid head.
    async fn begin(&mut self, config: &str) -> Result<Turn, EngineError> {
        if let Some(branch) = view::any_wave_branch(&self.view, &self.options.prefix) {
            return Err(LogDamage::Deleted {
                log: format!("refs/heads/{}/log", self.options.prefix),
                branch,
            }
            .into());
        }
        if let Some(known) = self.sums.log_tip() {
            return Err(LogDamage::Rewound(known).into());
        }
        let Some(head) = self.view.get(&format!("refs/heads/{config}")) else {
            self.say("the config branch does not exist yet; waiting for its first commit");
            return Ok(self.settled_or_wait(Some(Ending::Invalid)));
        };
        let name = tokio::task::block_in_place(|| self.first_name(head))?;
        let name = match name {
            Ok(name) => name,
            Err(message) => {
                self.say(&format!("{} is not valid, and nothing is written before the first valid commit: {message}", head.short(8)));
                return Ok(self.settled_or_wait(Some(Ending::Invalid)));
            }
        };
        let identity = FleetIdentity {
            name,
            branch: config.to_owned(),
            path: self.options.path.clone(),
            prefix: self.options.prefix.clone(),
        };
        let append = create(identity, head, &self.options.identity);
        self.append(None, append).await?;
        Ok(Turn::Again)
    }

    fn first_name(&mut self, head: Oid) -> Result<Result<String, String>, EngineError> {
        let history = History::open(&self.mirror)?;
        let context = candidate::Context {
            store: &self.store,
            mirror: &self.mirror,
            history: &history,
            templates: &*self.templates,
            cache: &self.cache,
            options: &self.options,
        };
        let outcome = self.candidates.outcome_without_log(&context, head)?;
        Ok(match outcome {
            CandidateOutcome::Valid(valid) => Ok(valid.wanted.fleet.clone()),
            CandidateOutcome::Invalid { message } => Err(message),
        })
    }

    /// Everything that a decision is given.
    fn observe(&mut self, tip: &Tip, config: &str) -> Result<Observations, EngineError> {
        let state = &tip.state;
        let history = History::open(&self.mirror)?;
        let branches = view::branches(&self.store, &history, state, &self.view)?;
        let head = self.view.get(&format!("refs/heads/{config}"));
        let context = candidate::Context {
            store: &self.store,
            mirror: &self.mirror,
            history: &history,
            templates: &*self.templates,
            cache: &self.cache,
            options: &self.options,
        };
        let candidate = match head {
            Some(head) => self.candidates.candidate(&context, state, head)?,
            None => None,
        };
        let revert = match head {
            Some(head) => candidate::revert_facts(&history, state, head)?,
            None => None,
        };
        let recovered = state
            .active()
            .map(|rollout| self.sums.recovered(&rollout.id))
            .unwrap_or_default();
        Ok(Observations {
            me: self.options.identity.clone(),
            takeover_after: with_jitter(self.options.takeover_after, &self.options.identity),
            push_deadline: PUSH_DEADLINE,
            branches,
            config: ConfigView {
                head,
                candidate,
                revert,
            },
            requests: crate::requests::unanswered(
                &history,
                state,
                tip.commit,
                &self.view,
                self.options.unsigned,
            )?,
            samples: std::mem::take(&mut self.pending.samples),
            pushes: std::mem::take(&mut self.pending.pushes),
            recovered,
        })
    }

    /// Makes what the entry names, appends it by compare-and-swap, and looks again.
    async fn append(&mut self, tip: Option<&Tip>, append: Append) -> Result<(), EngineError> {
        let seconds = self
            .clock
            .wall()
            .as_second()
            .max(tip.map_or(0, |tip| tip.seconds));
        let (commit, entry, state, intents) =
            tokio::task::block_in_place(|| -> Result<_, EngineError> {
                let history = History::open(&self.mirror)?;
                let author = self.options.author.clone();
                let built_on = Signature {
                    author: &author,
                    seconds: tip.map_or(seconds, |tip| tip.seconds),
                };
                // The rollout that intents belong to is the one of the state after the entry.
                let next = append.next.clone();
                let (entry, intents, state) = append
                    .complete(|draft| mint::mint(&self.store, &history, &next, draft, &built_on))?;
                let pinned: Vec<Oid> = match (entry.kind, &state.rollout) {
                    (EntryKind::RolloutOpened, Some(rollout)) => vec![rollout.plan_commit],
                    _ => Vec::new(),
                };
                let signature = Signature {
                    author: &author,
                    seconds,
                };
                let commit = log::commit_of(
                    &self.store,
                    &entry,
                    &intents,
                    &state,
                    tip.map(|tip| tip.commit),
                    &pinned,
                    &signature,
                )?;
                self.store.flush()?;
                Ok((commit, entry, state, intents))
            })?;
        let order = PushOrder {
            reference: state.fleet.log_ref(),
            old: tip.map_or(Oid::ZERO, |tip| tip.commit),
            new: commit,
        };
        // All objects of the entry are in the mirror, and nothing is on the server.
        crash::point("before-log-push");
        crash::point(&format!("before-{}", entry.kind).to_lowercase());
        let outcome = self.push_one(&order).await;
        if outcome == PushOutcome::Moved {
            let rollout = entry.rollout.clone().unwrap_or_default();
            info!(
                fleet = state.fleet.name, seq = state.seq, entry = %entry.kind, rollout, wave = entry.wave.clone().unwrap_or_default(),
                intents = intents.len(), closed = entry.closed.len(), "{}", crate::git::trailers::one_line(&entry.subject)
            );
            for line in &entry.lines {
                debug!(seq = state.seq, "{}", crate::git::trailers::one_line(line));
            }
            self.ending.wrote(&entry, &state);
            self.said = None;
            self.tip = Some(Tip {
                commit,
                seconds,
                state,
            });
            self.sums.remember_log_tip(commit);
            crash::point("after-log-push");
            crash::point(&format!("after-{}", entry.kind).to_lowercase());
            if tip.is_none() {
                self.look().await?;
            }
            return Ok(());
        }
        match outcome {
            PushOutcome::Refused { message } => {
                return Err(EngineError::LogRefused {
                    reference: order.reference,
                    message,
                });
            }
            PushOutcome::LostRace => debug!("another controller wrote the log first"),
            PushOutcome::Ambiguous | PushOutcome::Moved => {
                warn!("the answer to a push of the log is unclear; reading the log again");
            }
        }
        self.look().await
    }

    async fn push_one(&self, order: &PushOrder) -> PushOutcome {
        let reports = self.remote.push(std::slice::from_ref(order)).await;
        reports
            .into_iter()
            .find(|report| report.reference == order.reference)
            .map_or(PushOutcome::Ambiguous, |report| report.outcome)
    }

    /// Carries out open intents, in one push, and looks at what came of it.
    async fn push(&mut self, orders: &[PushOrder]) -> Result<(), EngineError> {
        let config = self
            .tip
            .as_ref()
            .map(|tip| tip.state.fleet.config_ref())
            .unwrap_or_default();
        let name = if orders.iter().any(|order| order.reference == config) {
            "source-revert"
        } else {
            "branch"
        };
        crash::point(&format!("before-{name}-push"));
        tokio::task::block_in_place(|| self.store.flush())?;
        let mut reports = self.remote.push(orders).await;
        let refused = reports
            .iter()
            .any(|report| matches!(report.outcome, PushOutcome::Refused { .. }));
        if refused && orders.len() > 1 {
            // A server may refuse a push whole because of one ref: one by one, in the order given.
            let mut singly = Vec::new();
            for order in orders {
                singly.extend(self.remote.push(std::slice::from_ref(order)).await);
                crash::point("after-single-push");
            }
            reports = singly;
        }
        for report in &reports {
            let (reference, new) = (&report.reference, report.new.short(8));
            match &report.outcome {
                PushOutcome::Moved => info!(reference, new, "pushed"),
                PushOutcome::LostRace => info!(reference, new, "somebody else moved it first"),
                PushOutcome::Refused { message } => {
                    warn!(reference, new, message, "the server refuses the push");
                }
                PushOutcome::Ambiguous => warn!(
                    reference,
                    new, "the answer to the push is unclear; looking again"
                ),
            }
        }
        crash::point(&format!("after-{name}-push"));
        self.pending.pushes.extend(reports);
        self.look().await
    }

    /// Hands the sampler what is to be sampled from now on.
    fn sample(&mut self, probes: &[Probe]) -> Result<(), EngineError> {
        let now = self.clock.monotonic();
        let mut of = BTreeMap::new();
        let mut wanted = BTreeMap::new();
        for probe in probes {
            let target = Target {
                region: probe.region.clone(),
                gate: probe.gate.name.clone(),
            };
            let GateCheck::Http(check) = &probe.gate.check;
            let last_good = probe.last_good.as_ref().map(|gate| {
                let GateCheck::Http(check) = &gate.check;
                check.clone()
            });
            let key = (probe.rollout.clone(), target.clone());
            let known = self.generations.of.get(&key).filter(|(_, watch, phase)| {
                *phase == probe.phase
                    && watch.check == *check
                    && watch.last_good == last_good
                    && watch.every == Some(probe.every)
            });
            let (generation, watch) = if let Some((generation, watch, _)) = known {
                (*generation, watch.clone())
            } else {
                self.generations.next += 1;
                let generation = self.generations.next;
                let settle = probe.not_before.saturating_sub(now);
                let watch = crate::gates::Watch {
                    generation,
                    check: check.clone(),
                    last_good,
                    settle,
                    every: Some(probe.every),
                    timeout: probe.gate.sampling.timeout,
                };
                (generation, watch)
            };
            wanted.insert(target, watch.clone());
            of.insert(key, (generation, watch, probe.phase));
        }
        self.generations.of = of;
        self.sampler
            .watch(wanted)
            .map_err(|error| EngineError::TaskDied(error.to_string()))
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
        if self.said.as_deref() != Some(text.as_str()) {
            error!(retryable = error.is_retryable(), "{text}");
            self.said = Some(text);
        }
    }
}

/// The time with up to a fifth more, by identity: two controllers that wait for a third do not write at once.
fn with_jitter(time: Duration, identity: &str) -> Duration {
    let spread = identity.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    time.saturating_add(time.saturating_mul(spread % 200) / 1000)
}
