//! Alerts: people are told of what they have to know, in a chat or by a webhook.
//!
//! Events are read from the log's entries ([`event`]), wait in a database ([`outbox`]), and are handed over by one
//! task for each receiver ([`sink`]). A receiver that is down delays its own alerts and nothing else.

pub mod event;
pub mod outbox;
pub mod sink;
pub(crate) mod slack;
pub(crate) mod webhook;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{Hold, HoldReason};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::event::{Event, events};
use self::outbox::{End, Outbox, OutboxError, Reminder};
use self::sink::{Delivery, Sink};
use crate::clock::Clock;
use crate::crash;
use crate::gates::egress::EgressRules;
use crate::reporting::{LogEntry, Report};
use crate::settings::{Alert, AlertKind};

/// A log that has stood still for this long is old news: without a memory of what was told, only what stands is.
const OLD: i64 = 60 * 60;

/// When somebody is reminded for the first time …
const FIRST_REMINDER: i64 = 60 * 60;

/// … and how often after that.
const REMINDERS: i64 = 4 * 60 * 60;

/// How long one alert keeps the later ones of its rollout back while it cannot be sent.
const PATIENCE: i64 = 60 * 60;

/// How long one alert is tried at least …
const LONGEST_TRYING: i64 = 24 * 60 * 60;

/// … and how often.
const FEWEST_TRIES: u32 = 10;

/// How much later than its holder a controller that does not hold the log reminds: the holder may be gone, and where
/// nothing is to be done nobody takes over.
const STANDBY_WAITS: i64 = 15 * 60;

/// The first wait after a failure; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: u64 = 1;

/// The longest wait between two tries, in seconds.
const LONGEST_WAIT: u64 = 300;

/// Why no alerts can be sent.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// The settings of a receiver do not say what it is.
    #[error("alerts: {0}: name exactly one of slack and webhook")]
    Receiver(String),
    /// Two receivers have one name.
    #[error("alerts: two receivers are called {0}; give each a name of its own")]
    Twice(String),
    /// No HTTP client can be made.
    #[error("alerts: no HTTP client can be made: {0}")]
    Client(#[source] reqwest::Error),
    /// Not even an outbox in memory can be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

impl AlertsError {
    /// Whether the settings are what is wrong.
    #[must_use]
    pub fn is_of_settings(&self) -> bool {
        matches!(self, Self::Receiver(_) | Self::Twice(_))
    }
}

/// One receiver.
#[derive(Debug, Clone)]
struct Receiver {
    name: String,
    on: Vec<AlertKind>,
    sink: Arc<dyn Sink>,
}

/// The alerts of one fleet.
#[derive(Debug, Clone)]
pub struct Alerts {
    receivers: Vec<Receiver>,
    outbox: Arc<Mutex<Outbox>>,
    clock: Arc<dyn Clock>,
    /// The identity of this controller.
    me: String,
    /// The fleet's name and prefix.
    fleet: (String, String),
    changed: Arc<Notify>,
    drained: Arc<Notify>,
}

impl Alerts {
    /// The receivers that the settings name, and the outbox in `database`.
    pub fn open(
        alerts: &[Alert],
        egress: EgressRules,
        database: &Path,
        clock: Arc<dyn Clock>,
        me: &str,
        (fleet, prefix): (&str, &str),
    ) -> Result<Self, AlertsError> {
        let http = sink::Http::new(egress).map_err(AlertsError::Client)?;
        let mut receivers: Vec<Receiver> = Vec::new();
        for alert in alerts {
            if receivers.iter().any(|other| other.name == alert.name) {
                return Err(AlertsError::Twice(alert.name.clone()));
            }
            let sink: Arc<dyn Sink> = match (&alert.slack, &alert.webhook) {
                (Some(slack), None) => Arc::new(slack::Slack::new(
                    http.clone(),
                    slack.webhook_url_file.clone(),
                )),
                (None, Some(webhook)) => Arc::new(webhook::Webhook::new(
                    http.clone(),
                    webhook.url.clone(),
                    webhook.secret_file.clone(),
                )),
                _ => return Err(AlertsError::Receiver(alert.name.clone())),
            };
            receivers.push(Receiver {
                name: alert.name.clone(),
                on: alert.on.clone(),
                sink,
            });
        }
        if let Some(folder) = database.parent() {
            // If it cannot be made, opening the database says why.
            drop(std::fs::create_dir_all(folder));
        }
        let outbox = match Outbox::open(database) {
            Ok(outbox) => outbox,
            Err(error) => {
                warn!(%error, "alerts that wait are kept in memory alone, and are lost with the process");
                Outbox::in_memory()?
            }
        };
        let names: Vec<String> = receivers
            .iter()
            .map(|receiver| receiver.name.clone())
            .collect();
        match outbox.keep_sinks(&names) {
            Ok(0) => {}
            Ok(dropped) => warn!(
                dropped,
                "alerts for receivers that the settings name no more are dropped"
            ),
            Err(error) => {
                warn!(%error, "alerts for receivers that the settings name no more may wait");
            }
        }
        Ok(Self {
            receivers,
            outbox: Arc::new(Mutex::new(outbox)),
            clock,
            me: me.to_owned(),
            fleet: (fleet.to_owned(), prefix.to_owned()),
            changed: Arc::new(Notify::new()),
            drained: Arc::new(Notify::new()),
        })
    }

    fn outbox(&self) -> std::sync::MutexGuard<'_, Outbox> {
        // A panic in the middle leaves a transaction that is rolled back, not a broken database.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        self.clock.wall().as_second()
    }

    /// The entry of the log up to which events were taken. Blocks on the disk.
    pub fn place(&self) -> Result<Option<Oid>, OutboxError> {
        self.outbox().place()
    }

    /// What entries tell that this controller has to say, and what the holder of the log has to say last, for when this
    /// one takes over. Without a memory (`known` is false) the newest rollout is told from its opening, unless the log
    /// has been still for long. Blocks on the disk.
    pub fn read(&self, entries: &[LogEntry], known: bool) -> Result<Read, OutboxError> {
        let entries = if known {
            entries
        } else {
            where_to_begin(entries, self.now())
        };
        let withheld = if known {
            self.outbox().withheld()?
        } else {
            Vec::new()
        };
        Ok(read(entries, &self.me, withheld, known))
    }

    /// Queues what was read up to `place` in the log. Blocks on the disk.
    pub fn take(&self, read: &Read, place: Oid) -> Result<(), OutboxError> {
        self.queue(&read.events, Some((place, &read.withheld)))
    }

    /// Queues events for every receiver that wants them.
    fn queue(&self, events: &[Event], place: Option<(Oid, &[Event])>) -> Result<(), OutboxError> {
        let rows: Vec<(String, Event)> = self
            .receivers
            .iter()
            .flat_map(|receiver| {
                events
                    .iter()
                    .filter(|event| receiver.on.contains(&event.kind))
                    .map(|event| (receiver.name.clone(), event.clone()))
            })
            .collect();
        let now = self.now();
        // Most entries of the log have nothing to tell: then only the place moves on, which costs nobody an alert.
        let takes_alerts = !rows.is_empty();
        if takes_alerts {
            crash::point("before-alerts-taken");
        }
        self.outbox().take(&rows, place, now)?;
        if takes_alerts {
            crash::point("after-alerts-taken");
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// Tells what only time brings about: that the log does not move or cannot be trusted, and again what a person
    /// still has to end. Blocks on the disk.
    pub fn remind(&self, report: &Report) -> Result<(), OutboxError> {
        if report.tip.is_none() && report.trouble.is_none() {
            // Nothing has been looked at yet.
            return Ok(());
        }
        let now = self.now();
        let standing = self.standing(report, now);
        let mut told = Vec::new();
        let mut reminders = Vec::new();
        for subject in &standing {
            let known = self.outbox().reminder(&subject.what)?;
            let reminder = known.unwrap_or(Reminder {
                began: subject.began,
                told: u32::from(subject.is_told_by_the_log),
                next: if subject.is_told_by_the_log {
                    subject.began.saturating_add(FIRST_REMINDER)
                } else {
                    now
                },
            });
            let due = reminder.next.saturating_add(subject.later);
            let next = if due <= now {
                told.push((subject.event)(reminder, now));
                Reminder {
                    told: reminder.told.saturating_add(1),
                    next: now.saturating_add(if reminder.told == 0 {
                        FIRST_REMINDER
                    } else {
                        REMINDERS
                    }),
                    ..reminder
                }
            } else {
                reminder
            };
            if known != Some(next) {
                reminders.push((subject.what.clone(), next));
            }
        }
        // In this order: what is queued twice is sent once, what is not queued is never sent.
        if !told.is_empty() {
            self.queue(&told, None)?;
        }
        for (what, reminder) in reminders {
            self.outbox().remind(&what, reminder)?;
        }
        let whats: Vec<String> = standing.into_iter().map(|subject| subject.what).collect();
        self.outbox().keep_reminders(&whats)
    }

    /// What stands now that needs a person.
    fn standing(&self, report: &Report, now: i64) -> Vec<Standing> {
        let mut found: Vec<Standing> = Vec::new();
        let holds_the_log = report
            .tip
            .as_ref()
            .is_none_or(|tip| tip.state.holder == self.me);
        let later = if holds_the_log { 0 } else { STANDBY_WAITS };
        if let Some(tip) = &report.tip {
            let needs_a_person = |hold: &&Hold| !hold.reason.may_end_by_itself();
            for hold in tip.state.holds.iter().filter(needs_a_person) {
                let (state, hold_again) = (Arc::clone(&tip.state), hold.clone());
                found.push(Standing {
                    what: event::key(hold),
                    began: hold.since,
                    is_told_by_the_log: true,
                    later,
                    event: Box::new(move |reminder, now| {
                        event::of_hold(&state, &hold_again, now, None, reminder.told)
                    }),
                });
            }
        }
        let state = report.tip.as_ref().map(|tip| Arc::clone(&tip.state));
        let damage = report
            .trouble
            .as_ref()
            .filter(|trouble| trouble.log_is_damaged);
        let overdue = report
            .tip
            .as_ref()
            .filter(|tip| crate::status::is_overdue(&tip.state, tip.seconds, report.head, now));
        let (what, kind, reason, message) = match (damage, overdue) {
            (Some(damage), _) => (
                "LogDamaged",
                AlertKind::Held,
                Some(HoldReason::LogDamaged),
                damage.message.clone(),
            ),
            (None, Some(tip)) => {
                let expected = crate::explain::expected(&tip.state);
                let message = match &report.trouble {
                    Some(trouble) => format!("{expected}: {}", trouble.message),
                    None => expected,
                };
                ("Stalled", AlertKind::Stalled, None, message)
            }
            (None, None) => return found,
        };
        let fleet = self.fleet.clone();
        found.push(Standing {
            what: what.to_owned(),
            began: now,
            is_told_by_the_log: false,
            later,
            event: Box::new(move |reminder, now| {
                let at = (now, reminder.began);
                let fleet = (fleet.0.as_str(), fleet.1.as_str());
                event::of_trouble(
                    kind,
                    fleet,
                    state.as_deref(),
                    reason,
                    &message,
                    at,
                    reminder.told,
                )
            }),
        });
        found
    }

    /// Hands alerts over until it is cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut senders = tokio::task::JoinSet::new();
        for receiver in &self.receivers {
            let (alerts, receiver, cancel) = (self.clone(), receiver.clone(), cancel.clone());
            senders.spawn(async move { alerts.serve(&receiver, &cancel).await });
        }
        while let Some(ended) = senders.join_next().await {
            if let Err(died) = ended {
                std::panic::resume_unwind(died.into_panic());
            }
        }
    }

    /// Waits until nothing waits to be sent. The caller brings the deadline.
    pub async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            match tokio::task::block_in_place(|| self.outbox().waiting()) {
                Ok(0) | Err(_) => return,
                Ok(_) => drained.await,
            }
        }
    }

    async fn serve(&self, receiver: &Receiver, cancel: &CancellationToken) {
        // What was handed over and is not written down yet: nothing else is sent before it is, or it would be sent again.
        let mut unsettled: Option<(outbox::Due, Delivery)> = None;
        loop {
            let changed = self.changed.notified();
            if let Some((due, delivery)) = &unsettled {
                match tokio::task::block_in_place(|| self.settle(receiver, due, delivery)) {
                    Ok(()) => {
                        crash::point("after-alert-settled");
                        unsettled = None;
                        self.drained.notify_waiters();
                    }
                    Err(error) => {
                        let wait = unusable(&error);
                        tokio::select! {
                            () = cancel.cancelled() => return,
                            () = tokio::time::sleep(wait) => {}
                        }
                    }
                }
                continue;
            }
            let now = self.now();
            let due =
                tokio::task::block_in_place(|| self.outbox().due(&receiver.name, now, PATIENCE));
            let wait = match due {
                Ok(Some(due)) => {
                    crash::point("before-alert-sent");
                    let delivery = tokio::select! {
                        () = cancel.cancelled() => return,
                        delivery = receiver.sink.send(&due.event) => delivery,
                    };
                    // The receiver has it, or not, and the outbox knows nothing of that.
                    crash::point("after-alert-sent");
                    unsettled = Some((due, delivery));
                    continue;
                }
                Ok(None) => tokio::task::block_in_place(|| self.pause(receiver, now)),
                Err(error) => unusable(&error),
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// How long to wait for the next alert that was put off.
    fn pause(&self, receiver: &Receiver, now: i64) -> Duration {
        match self.outbox().next(&receiver.name) {
            Ok(Some(next)) => {
                let seconds = next.saturating_sub(now).clamp(1, 60);
                Duration::from_secs(seconds.unsigned_abs())
            }
            Ok(None) => Duration::from_secs(60),
            Err(error) => unusable(&error),
        }
    }

    fn settle(
        &self,
        receiver: &Receiver,
        due: &outbox::Due,
        delivery: &Delivery,
    ) -> Result<(), OutboxError> {
        let (sink, id) = (&receiver.name, &due.event.id);
        let kind = due.event.kind;
        match delivery {
            Delivery::Done => {
                info!(sink, id, ?kind, rollout = due.event.rollout, "alert sent");
                self.outbox().end(due.number, End::Sent, "")
            }
            Delivery::Refused { why } => {
                warn!(
                    sink,
                    id,
                    ?kind,
                    why,
                    "the alert is refused and not sent again"
                );
                self.outbox().end(due.number, End::Dead, why)
            }
            Delivery::Later { why, after } => {
                let now = self.now();
                if now.saturating_sub(due.queued) > LONGEST_TRYING && due.attempts >= FEWEST_TRIES {
                    warn!(
                        sink,
                        id,
                        ?kind,
                        why,
                        "the alert could not be sent for a day and is given up"
                    );
                    return self.outbox().end(due.number, End::Dead, why);
                }
                let wait = after.map_or_else(|| back_off(due), |after| after.as_secs().max(1));
                info!(sink, id, ?kind, why, wait, "the alert is sent later");
                let until = now.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX));
                self.outbox().put_off(due.number, until, why)
            }
        }
    }
}

/// The database fails: said, and tried again later. Rollouts do not depend on it.
fn unusable(error: &OutboxError) -> Duration {
    warn!(%error, "alerts wait");
    Duration::from_secs(30)
}

/// 1 s, 2 s, 4 s … up to five minutes, and up to a quarter more, so that not everything comes back at once.
fn back_off(due: &outbox::Due) -> u64 {
    let wait = FIRST_WAIT
        .checked_shl(due.attempts.min(16))
        .unwrap_or(LONGEST_WAIT)
        .min(LONGEST_WAIT);
    let spread = due.number.unsigned_abs() % 4;
    wait + wait * spread / 16
}

/// From which entry on to tell, without a memory of what was told.
fn where_to_begin(entries: &[LogEntry], now: i64) -> &[LogEntry] {
    let is_old = entries
        .last()
        .is_none_or(|newest| now.saturating_sub(newest.seconds) > OLD);
    if is_old {
        return &[];
    }
    let opening = entries
        .iter()
        .rposition(|entry| entry.kind == EntryKind::RolloutOpened)
        .unwrap_or(0);
    entries.get(opening..).unwrap_or_default()
}

/// What was read from entries of the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// What this controller tells.
    pub events: Vec<Event>,
    /// The last that another has to tell.
    pub withheld: Vec<Event>,
}

/// The events of the entries that `me` wrote. Whoever takes the log over says the last thing that the other wrote once
/// more (`withheld`, where it was read earlier): it may have died before saying it. So does one that begins without a
/// memory, whose predecessor it may be.
fn read(entries: &[LogEntry], me: &str, withheld: Vec<Event>, known: bool) -> Read {
    let mut read = Read {
        events: Vec::new(),
        withheld,
    };
    for entry in entries {
        let new = events(entry);
        if entry.after.holder == me {
            read.events.append(&mut read.withheld);
            read.events.extend(new);
        } else if !new.is_empty() {
            read.withheld = new;
        }
    }
    if !known {
        read.events.append(&mut read.withheld);
    }
    read
}

/// Something that a person has to end.
struct Standing {
    what: String,
    began: i64,
    /// Its first alert comes from the entry that began it.
    is_told_by_the_log: bool,
    /// How many seconds later than usual it is said.
    later: i64,
    event: Box<dyn Fn(Reminder, i64) -> Event>,
}

#[cfg(test)]
mod tests;
