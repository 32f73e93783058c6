//! Alerts: people are told of what they have to know, in a chat or by a webhook.
//!
//! Events are read from the log's entries ([`event`]), wait in a database ([`outbox`]), and are handed over by one
//! task for each receiver ([`sink`]). A receiver that is down delays its own alerts and nothing else.

pub mod event;
pub mod outbox;
pub mod sink;
mod slack;
mod webhook;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::HoldReason;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::event::{Event, events};
use self::outbox::{End, Outbox, OutboxError, Reminder};
use self::sink::{Delivery, Sink};
use crate::clock::Clock;
use crate::gates::egress::EgressRules;
use crate::reporting::{LogEntry, Report};
use crate::settings::{Alert, AlertKind};

/// A log that has stood still for this long is old news: without a memory of what was told, only what stands is.
const OLD: i64 = 60 * 60;

/// When somebody is reminded for the first time …
const FIRST_REMINDER: i64 = 60 * 60;

/// … and how often after that.
const REMINDERS: i64 = 4 * 60 * 60;

/// How long one alert is tried before the next of its rollout gets its turn.
const LONGEST_TRYING: i64 = 60 * 60;

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
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
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
        Ok(Self {
            receivers,
            outbox: Arc::new(Mutex::new(Outbox::open(database)?)),
            clock,
            me: me.to_owned(),
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

    /// What entries tell that this controller has to say. Without a memory (`known` is false) the newest rollout is
    /// told from its opening, unless the log has been still for long.
    #[must_use]
    pub fn events_of(&self, entries: &[LogEntry], known: bool) -> Vec<Event> {
        let entries = if known {
            entries
        } else {
            where_to_begin(entries, self.now())
        };
        events_of(entries, &self.me)
    }

    /// Queues events for every receiver that wants them. Blocks on the disk.
    pub fn take(&self, events: &[Event], place: Option<Oid>) -> Result<(), OutboxError> {
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
        self.outbox().take(&rows, place, now)?;
        self.changed.notify_waiters();
        Ok(())
    }

    /// Tells what only time brings about: that the log does not move or cannot be trusted, and again what a person
    /// still has to end. Blocks on the disk.
    pub fn remind(&self, report: &Report) -> Result<(), OutboxError> {
        let now = self.now();
        let standing = standing(report, &self.me, now);
        let mut told = Vec::new();
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
            let next = if reminder.next <= now {
                told.push(subject.event(reminder, now));
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
                self.outbox().remind(&subject.what, next)?;
            }
        }
        let whats: Vec<String> = standing.into_iter().map(|subject| subject.what).collect();
        self.outbox().keep_reminders(&whats)?;
        if !told.is_empty() {
            self.take(&told, None)?;
        }
        Ok(())
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
        loop {
            let changed = self.changed.notified();
            let now = self.now();
            let due = tokio::task::block_in_place(|| self.outbox().due(&receiver.name, now));
            let wait = match due {
                Ok(Some(due)) => {
                    let delivery = tokio::select! {
                        () = cancel.cancelled() => return,
                        delivery = receiver.sink.send(&due.event) => delivery,
                    };
                    let settled =
                        tokio::task::block_in_place(|| self.settle(receiver, &due, delivery));
                    match settled {
                        Ok(()) => {
                            self.drained.notify_waiters();
                            continue;
                        }
                        Err(error) => self.unusable(&error),
                    }
                }
                Ok(None) => tokio::task::block_in_place(|| self.pause(receiver, now)),
                Err(error) => self.unusable(&error),
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
            Err(error) => self.unusable(&error),
        }
    }

    /// The database fails: said, and tried again later. Rollouts do not depend on it.
    #[expect(clippy::unused_self, reason = "it belongs to the receivers' loop")]
    fn unusable(&self, error: &OutboxError) -> Duration {
        warn!(%error, "alerts wait");
        Duration::from_secs(30)
    }

    fn settle(
        &self,
        receiver: &Receiver,
        due: &outbox::Due,
        delivery: Delivery,
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
                self.outbox().end(due.number, End::Dead, &why)
            }
            Delivery::Later { why, after } => {
                let now = self.now();
                if now.saturating_sub(due.queued) > LONGEST_TRYING {
                    warn!(
                        sink,
                        id,
                        ?kind,
                        why,
                        "the alert could not be sent for an hour and is given up"
                    );
                    return self.outbox().end(due.number, End::Dead, &why);
                }
                let wait = after.map_or_else(|| back_off(due), |after| after.as_secs().max(1));
                info!(sink, id, ?kind, why, wait, "the alert is sent later");
                let until = now.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX));
                self.outbox().put_off(due.number, until, &why)
            }
        }
    }
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

/// The events of the entries that `me` wrote. Whoever takes over says the last thing that the other wrote once more:
/// it may have died before saying it.
fn events_of(entries: &[LogEntry], me: &str) -> Vec<Event> {
    let mut found = Vec::new();
    let mut last_of_another: Vec<Event> = Vec::new();
    for entry in entries {
        let new = events(entry);
        if entry.after.holder != me {
            if !new.is_empty() {
                last_of_another = new;
            }
            continue;
        }
        if entry.kind == EntryKind::TakeOver {
            found.append(&mut last_of_another);
        }
        found.extend(new);
    }
    found
}

/// Something that a person has to end.
struct Standing {
    what: String,
    began: i64,
    /// Its first alert comes from the entry that began it.
    is_told_by_the_log: bool,
    event: Box<dyn Fn(Reminder, i64) -> Event>,
}

impl Standing {
    fn event(&self, reminder: Reminder, now: i64) -> Event {
        (self.event)(reminder, now)
    }
}

/// What stands now that needs a person, if `me` is the one to say so.
fn standing(report: &Report, me: &str, now: i64) -> Vec<Standing> {
    let Some(tip) = report.tip.as_ref().filter(|tip| tip.state.holder == me) else {
        return Vec::new();
    };
    let mut found: Vec<Standing> = Vec::new();
    for hold in &tip.state.holds {
        if hold.reason.may_end_by_itself() {
            continue;
        }
        let (state, hold_again) = (Arc::clone(&tip.state), hold.clone());
        found.push(Standing {
            what: event::key(hold),
            began: hold.since,
            is_told_by_the_log: true,
            event: Box::new(move |reminder, now| {
                event::of_hold(&state, &hold_again, now, None, reminder.told)
            }),
        });
    }
    let mut trouble = |what: &str, kind, reason, message: String| {
        let state = Arc::clone(&tip.state);
        found.push(Standing {
            what: what.to_owned(),
            began: now,
            is_told_by_the_log: false,
            event: Box::new(move |reminder, now| {
                event::of_trouble(
                    kind,
                    &state,
                    reason,
                    &message,
                    (now, reminder.began),
                    reminder.told,
                )
            }),
        });
    };
    if let Some(damage) = report
        .trouble
        .as_ref()
        .filter(|trouble| trouble.log_is_damaged)
    {
        let reason = Some(HoldReason::LogDamaged);
        trouble(
            "LogDamaged",
            AlertKind::Held,
            reason,
            damage.message.clone(),
        );
    } else if crate::status::is_overdue(&tip.state, tip.seconds, report.head, now) {
        let why = report
            .trouble
            .as_ref()
            .map(|trouble| trouble.message.clone());
        let message = match why {
            Some(why) => format!("{}: {why}", crate::explain::expected(&tip.state)),
            None => crate::explain::expected(&tip.state),
        };
        trouble("Stalled", AlertKind::Stalled, None, message);
    }
    found
}

#[cfg(test)]
mod tests;
