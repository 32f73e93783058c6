//! The task that tells the world outside git what the log says, for one fleet.
//!
//! It listens to the engine's reports and reads the log itself from where it last stopped, so that nothing is
//! missed while entries come faster than they are told. Nobody waits for it: the engine does not know whether
//! anybody listens. Where several controllers work on a fleet, the one that holds the log tells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetIdentity, Rollout, SourceRevert};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::entries::{Entries, since};
use super::{LogEntry, Report};
use crate::alerts::Alerts;
use crate::alerts::event::{Event, Links};
use crate::engine::EngineError;
use crate::forge::poster::StatusBoard;
use crate::forge::statuses::{desired, desired_of_entry};
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

/// The least time between two attempts to open a pull request.
const PULL_REQUEST_PAUSE: Duration = Duration::from_secs(5);

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
    /// The newest entry whose alerts are in the outbox, once the outbox has been asked.
    told: Option<Oid>,
    proposals: Proposals,
}

/// Reverts that wait on a branch for a pull request.
#[derive(Debug, Default)]
struct Proposals {
    /// By rollout, those of which no pull request is known.
    open: BTreeMap<String, (FleetIdentity, Rollout)>,
    /// The rollouts whose pull request is known, or refused for good.
    done: BTreeSet<String>,
    not_before: Option<Instant>,
}

impl Reporter {
    /// A reporter that has read nothing yet.
    #[must_use]
    pub fn new(options: ReporterOptions) -> Self {
        Self {
            options,
            known: None,
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
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
                changed = reports.changed() => if changed.is_err() {
                    break;
                },
            }
        }
        let last_words = async {
            while !self.proposals.open.is_empty() {
                tokio::time::sleep(PULL_REQUEST_PAUSE).await;
                self.propose().await;
            }
            if let Some((_, board)) = &self.options.forge {
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
                self.known = report.tip.as_ref().map(|tip| tip.commit).or(self.known);
                self.post(report, &entries.entries);
                self.propose().await;
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
        if tip.is_some() && tip != self.told {
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
                Ok::<_, EngineError>(alerts.events_of(&entries.entries, known))
            });
            match read {
                Ok(mut events) => {
                    self.link(&mut events).await;
                    match tokio::task::block_in_place(|| alerts.take(&events, tip)) {
                        Ok(()) => self.told = tip,
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

    /// Whether this controller holds the log: then it is the one that tells.
    fn holds_the_log(&self, report: &Report) -> bool {
        report
            .tip
            .as_ref()
            .is_none_or(|tip| tip.state.holder == self.options.identity)
    }

    fn post(&mut self, report: &Report, entries: &[LogEntry]) {
        let Some((_, board)) = &self.options.forge else {
            return;
        };
        // A standby remembers too, so that it can tell all of it once it has taken over.
        for entry in entries {
            if let Some(rollout) = &entry.after.rollout {
                self.proposals.take(&entry.after.fleet, rollout);
            }
        }
        if !self.holds_the_log(report) {
            return;
        }
        for entry in entries {
            board.want(desired_of_entry(&self.options.prefix, entry));
        }
        board.want(desired(&self.options.prefix, report));
    }

    /// Opens the pull requests that are still missing.
    async fn propose(&mut self) {
        let Some((forge, _)) = &self.options.forge else {
            return;
        };
        self.proposals.open_all(forge.as_ref()).await;
    }
}

impl Proposals {
    fn take(&mut self, fleet: &FleetIdentity, rollout: &Rollout) {
        match rollout.source_revert {
            SourceRevert::Proposed { .. } if !self.done.contains(&rollout.id) => {
                self.open
                    .entry(rollout.id.clone())
                    .or_insert_with(|| (fleet.clone(), rollout.clone()));
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
                    self.close(&id);
                }
                Err(error) => {
                    warn!(rollout = id, retryable = error.is_retryable(), "{error}");
                    if error.is_retryable() {
                        self.not_before = Some(Instant::now() + PULL_REQUEST_PAUSE);
                    } else {
                        self.close(&id);
                    }
                }
            }
        }
    }

    fn close(&mut self, rollout: &str) {
        self.open.remove(rollout);
        self.done.insert(rollout.to_owned());
    }
}
