//! The task that tells the world outside git what the log says, for one fleet.
//!
//! It listens to the engine's reports and reads the log itself from where it last stopped, so that nothing is
//! missed while entries come faster than they are told. Nobody waits for it: the engine does not know whether
//! anybody listens. Where several controllers work on a fleet, the one that holds the log tells; the others tell what
//! still stands a while later, for where nothing is to be done nobody takes over from a holder that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetIdentity, FleetState, HoldReason, Rollout, SourceRevert};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::entries::{Entries, since};
use super::{LogEntry, Report};
use crate::alerts::event::{Event, Links};
use crate::alerts::{Alerts, Read};
use crate::engine::EngineError;
use crate::forge::poster::StatusBoard;
use crate::forge::statuses::{DesiredStatus, desired, desired_of_entry, merge};
use crate::forge::{Forge, pull_request};
use crate::git::history::History;

/// How many entries of the log are read at most after a start, or a long absence.
const ENTRIES: usize = 300;

/// How often what only time brings about is looked at.
const TICK: Duration = Duration::from_secs(15);

/// How long an ending run waits for what has not been told yet.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// How long the forge may take to tell what it knows of the commits of new alerts.
const LINKS: Duration = Duration::from_secs(3);

/// How long the log must stand still before a controller that does not hold it posts what it says: what the holder
/// has posted is seen on the forge by then, and not posted again.
const STANDBY_POSTS: Duration = Duration::from_secs(60);

/// The first wait after a failed attempt to open a pull request; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest wait between two attempts to open a pull request.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What a reporter needs to know.
#[derive(Debug)]
pub struct ReporterOptions {
    /// The fleet's bare mirror.
    pub mirror: PathBuf,
    /// What the fleet's refs, and its statuses, begin with.
    pub prefix: String,
    /// This controller's identity.
    pub identity: String,
    /// Where statuses and pull requests go, and the board that statuses are wished for on.
    pub forge: Option<(Arc<dyn Forge>, StatusBoard)>,
    /// Where alerts go.
    pub alerts: Option<Alerts>,
}

/// Tells what a fleet's log says.
#[derive(Debug)]
pub struct Reporter {
    options: ReporterOptions,
    /// The newest entry that has been read for statuses and pull requests: all of them can be found out anew.
    known: Option<Oid>,
    /// When the log was last seen to move.
    moved: Instant,
    /// Statuses that a standby wishes for, until it is its turn to post.
    wishes: Vec<DesiredStatus>,
    /// The newest entry whose alerts are in the outbox, once the outbox has been asked.
    told: Option<Oid>,
    proposals: Proposals,
}

/// Reverts that wait on a branch for a pull request.
#[derive(Debug, Default)]
struct Proposals {
    /// By rollout, those of which no pull request is known.
    open: BTreeMap<String, (FleetIdentity, Rollout)>,
    /// The rollouts whose pull request is known.
    done: BTreeSet<String>,
    not_before: Option<Instant>,
    /// How many attempts in a row have failed.
    failures: u32,
    /// What was last said of a failure.
    said: Option<String>,
}

impl Reporter {
    /// A reporter that has read nothing yet.
    #[must_use]
    pub fn new(options: ReporterOptions) -> Self {
        Self {
            options,
            known: None,
            moved: Instant::now(),
            wishes: Vec::new(),
            told: None,
            proposals: Proposals::default(),
        }
    }

    /// Tells what there is to tell until it is cancelled; or until the engine has ended, and then for a short while
    /// what has not arrived yet.
    pub async fn run(mut self, mut reports: watch::Receiver<Report>, cancel: CancellationToken) {
        loop {
            let report = reports.borrow_and_update().clone();
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.tell(&report) => {}
            }
            // A new report comes first: what is asked of the forge just then is asked again later.
            let idle = async {
                self.propose(&report).await;
                tokio::time::sleep(TICK).await;
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = idle => {}
                changed = reports.changed() => if changed.is_err() {
                    break;
                },
            }
        }
        let last_words = async {
            if let Some((forge, board)) = &self.options.forge {
                // Whoever holds the log: there is no later here, and what stands already is not posted again.
                board.want(std::mem::take(&mut self.wishes));
                while !self.proposals.open.is_empty() {
                    self.proposals.open_all(forge.as_ref()).await;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                board.posted().await;
            }
            if let Some(alerts) = &self.options.alerts {
                alerts.drained().await;
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            told = tokio::time::timeout(LAST_WORDS, last_words) => if told.is_err() {
                warn!("not everything could be told within {} s; the next run tells the rest", LAST_WORDS.as_secs());
            },
        }
    }

    async fn tell(&mut self, report: &Report) {
        // Alerts first: somebody may have to get up.
        self.alert(report).await;
        match tokio::task::block_in_place(|| self.untold(report, self.known)) {
            Ok(entries) => {
                let tip = report.tip.as_ref().map(|tip| tip.commit);
                if tip != self.known {
                    self.moved = Instant::now();
                }
                self.known = tip.or(self.known);
                self.post(report, &entries.entries);
            }
            // The engine meets the same and says so; here it only means: later.
            Err(error) => info!(%error, "the log cannot be read just now to tell what it says"),
        }
    }

    /// The entries after `known` up to the report's.
    fn untold(&self, report: &Report, known: Option<Oid>) -> Result<Entries, EngineError> {
        let Some(tip) = report.tip.as_ref().map(|tip| tip.commit) else {
            return Ok(Entries::default());
        };
        if known == Some(tip) {
            return Ok(Entries::default());
        }
        let store = ObjectStore::open(&self.options.mirror)?;
        let history = History::open(&self.options.mirror)?;
        since(&store, &history, known, tip, ENTRIES)
    }

    /// Puts what is new into the outbox, and reminds of what still stands.
    async fn alert(&mut self, report: &Report) {
        let Some(alerts) = self.options.alerts.clone() else {
            return;
        };
        let tip = report.tip.as_ref().map(|tip| tip.commit);
        if let Some(tip) = tip
            && Some(tip) != self.told
        {
            let read = tokio::task::block_in_place(|| {
                let place = match self.told {
                    Some(told) => Some(told),
                    None => alerts.place().unwrap_or_else(|error| {
                        warn!(%error, "what was told before is not known");
                        None
                    }),
                };
                let entries = self.untold(report, place)?;
                let known = place.is_some() && entries.complete;
                let read = alerts.read(&entries.entries, known);
                Ok::<_, EngineError>(read.unwrap_or_else(|error| {
                    warn!(%error, "what another controller told last is not known");
                    Read::default()
                }))
            });
            match read {
                Ok(mut read) => {
                    self.link(&mut read.events).await;
                    match tokio::task::block_in_place(|| alerts.take(&read, tip)) {
                        Ok(()) => self.told = Some(tip),
                        Err(error) => warn!(%error, "alerts cannot be queued"),
                    }
                }
                Err(error) => {
                    info!(%error, "the log cannot be read just now to alert of what it says");
                }
            }
        }
        if let Err(error) = tokio::task::block_in_place(|| alerts.remind(report)) {
            warn!(%error, "nobody can be reminded");
        }
    }

    /// Adds what the forge knows of the commits. It has a few seconds; without it an alert says all the same what
    /// happened.
    async fn link(&self, events: &mut [Event]) {
        let Some((forge, _)) = &self.options.forge else {
            return;
        };
        let deadline = Instant::now() + LINKS;
        let sources: BTreeSet<Oid> = events.iter().filter_map(|event| event.source).collect();
        for source in sources {
            let links = match tokio::time::timeout_at(deadline, forge.commit(source)).await {
                Ok(Ok(info)) => Links {
                    commit: info.url,
                    pull_request: info.pull_request.map(|pull| pull.url),
                    author: info.author,
                },
                Ok(Err(error)) => {
                    info!(%error, "an alert goes without its links");
                    continue;
                }
                Err(_) => return,
            };
            for event in events
                .iter_mut()
                .filter(|event| event.source == Some(source))
            {
                event.links.clone_from(&links);
            }
        }
    }

    /// Whether this controller is the one to post: it holds the log, or whoever does has had its time.
    fn is_to_post(&self, report: &Report) -> bool {
        report.tip.as_ref().is_none_or(|tip| {
            tip.state.holder == self.options.identity || self.moved.elapsed() >= STANDBY_POSTS
        })
    }

    fn post(&mut self, report: &Report, entries: &[LogEntry]) {
        let is_to_post = self.is_to_post(report);
        let Some((_, board)) = &self.options.forge else {
            return;
        };
        for entry in entries {
            self.proposals.take(&entry.after);
            merge(
                &mut self.wishes,
                desired_of_entry(&self.options.prefix, entry),
            );
        }
        merge(&mut self.wishes, desired(&self.options.prefix, report));
        if is_to_post {
            board.want(std::mem::take(&mut self.wishes));
        }
    }

    /// Opens the pull requests that are still missing.
    async fn propose(&mut self, report: &Report) {
        if !self.is_to_post(report) {
            return;
        }
        if let Some((forge, _)) = &self.options.forge {
            self.proposals.open_all(forge.as_ref()).await;
        }
    }
}

impl Proposals {
    /// Takes what an entry says of the newest revert, and forgets older ones that nobody waits for any more.
    fn take(&mut self, state: &FleetState) {
        let Some(rollout) = &state.rollout else {
            return;
        };
        self.open.retain(|id, _| {
            *id == rollout.id
                || state.holds.iter().any(|hold| {
                    hold.reason == HoldReason::RevertPullRequest
                        && hold.rollout.as_ref() == Some(id)
                })
        });
        match rollout.source_revert {
            SourceRevert::Proposed { .. } if !self.done.contains(&rollout.id) => {
                self.open
                    .entry(rollout.id.clone())
                    .or_insert_with(|| (state.fleet.clone(), rollout.clone()));
            }
            _ => {
                self.open.remove(&rollout.id);
            }
        }
    }

    async fn open_all(&mut self, forge: &dyn Forge) {
        if self.not_before.is_some_and(|time| Instant::now() < time) {
            return;
        }
        let waiting: Vec<String> = self.open.keys().cloned().collect();
        for id in waiting {
            let Some((fleet, rollout)) = self.open.get(&id) else {
                continue;
            };
            match pull_request::ensure(forge, fleet, rollout).await {
                Ok(found) => {
                    if let Some(found) = found {
                        info!(rollout = id, number = found.number, url = found.url, state = ?found.state, "the revert is a pull request");
                    }
                    self.open.remove(&id);
                    self.done.insert(id);
                    (self.not_before, self.failures, self.said) = (None, 0, None);
                }
                Err(error) => {
                    let text = error.to_string();
                    if self.said.as_ref() != Some(&text) {
                        warn!(rollout = id, "{text}");
                        self.said = Some(text);
                    }
                    let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6));
                    let pause = pause
                        .min(LONGEST_PAUSE)
                        .max(error.retry_after().unwrap_or_default());
                    self.failures = self.failures.saturating_add(1);
                    self.not_before = Some(Instant::now() + pause);
                    return;
                }
            }
        }
    }
}
