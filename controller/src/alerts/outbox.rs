//! Alerts that wait to be sent: a database on disk, which is a cache. If it is lost, the log tells what to say.
//!
//! Events and the place in the log up to which they were read are written in one transaction, so that a crash loses
//! none. A crash between sending one and marking it as sent makes it come twice, with the same id.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use tidegate_waves::oid::Oid;

use super::event::Event;

/// The version of the tables. What an older version made is brought up to it; a newer one is set aside.
const VERSION: i64 = 1;

/// How many alerts that are over are kept, for a look at what was sent.
const KEPT: i64 = 1000;

const TABLES: &str = "
    CREATE TABLE place (one INTEGER PRIMARY KEY CHECK (one = 1), log TEXT NOT NULL, withheld TEXT NOT NULL) STRICT;
    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, id TEXT NOT NULL, rollout TEXT NOT NULL,
        body TEXT NOT NULL, queued INTEGER NOT NULL, next INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'waits', why TEXT NOT NULL DEFAULT '', UNIQUE (sink, id)
    ) STRICT;
    CREATE INDEX waiting ON outbox (sink, state, next);
    CREATE TABLE reminders (
        what TEXT PRIMARY KEY, began INTEGER NOT NULL, told INTEGER NOT NULL, next INTEGER NOT NULL
    ) STRICT;
";

/// Why the outbox cannot be used. Nothing else depends on it.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The database cannot be read or written.
    #[error("the outbox {} cannot be used: {source}; check the folder's free space and permissions", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// What is in it cannot be read.
    #[error("an alert in the outbox {} cannot be read: {source}", .path.display())]
    Body {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl OutboxError {
    /// Whether the file is no database, a damaged one, or one of a newer version.
    fn is_unreadable(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Database { source, .. } => {
                matches!(source, rusqlite::Error::IntegralValueOutOfRange(..))
                    || matches!(
                        source.sqlite_error_code(),
                        Some(DatabaseCorrupt | NotADatabase)
                    )
            }
            Self::Body { .. } => false,
        }
    }
}

/// An alert that is due.
#[derive(Debug)]
pub struct Due {
    /// Its number.
    pub number: i64,
    /// The event.
    pub event: Event,
    /// When it was queued, in seconds since 1970.
    pub queued: i64,
    /// How often it was tried.
    pub attempts: u32,
}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The receiver has it.
    Sent,
    /// It will never be sent.
    Dead,
}

/// Something that is reminded of for as long as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reminder {
    /// When it began, in seconds since 1970.
    pub began: i64,
    /// How often it was told.
    pub told: u32,
    /// When it is told next.
    pub next: i64,
}

/// The database.
#[derive(Debug)]
pub struct Outbox {
    connection: Connection,
    path: PathBuf,
}

impl Outbox {
    /// Opens the database, or makes it. One that is damaged, or of a newer version, is set aside.
    pub fn open(path: &Path) -> Result<Self, OutboxError> {
        let opened = Self::try_open(path);
        // Anything else, such as a full disk, says nothing about what is in it.
        if let Err(error) = &opened
            && error.is_unreadable()
        {
            let aside = path.with_extension("unusable");
            tracing::warn!(
                %error, aside = %aside.display(),
                "the outbox is set aside and begun anew; alerts that had not been sent are read from the log again"
            );
            for suffix in ["", "-wal", "-shm"] {
                let with_suffix = |path: &Path| {
                    let mut name = path.as_os_str().to_owned();
                    name.push(suffix);
                    name
                };
                // What is not there need not go; what stays is said by the second attempt.
                drop(std::fs::rename(with_suffix(path), with_suffix(&aside)));
            }
            return Self::try_open(path);
        }
        opened
    }

    /// One in memory, for when there is no place on disk: what waits is lost with the process.
    pub fn in_memory() -> Result<Self, OutboxError> {
        Self::try_open(Path::new(":memory:"))
    }

    fn try_open(path: &Path) -> Result<Self, OutboxError> {
        let failed = |source| OutboxError::Database {
            path: path.to_owned(),
            source,
        };
        let connection = Connection::open(path).map_err(failed)?;
        connection
            .busy_timeout(Duration::from_secs(5))
            .map_err(failed)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(failed)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(failed)?;
        let mut outbox = Self {
            connection,
            path: path.to_owned(),
        };
        outbox.migrate().map_err(failed)?;
        Ok(outbox)
    }

    fn migrate(&mut self) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match version {
            0 => {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
                transaction.commit()
            }
            // Reading a table of another form would fail later, in the middle of something.
            VERSION => transaction.commit(),
            newer => Err(rusqlite::Error::IntegralValueOutOfRange(0, newer)),
        }
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> OutboxError + use<> {
        let path = self.path.clone();
        move |source| OutboxError::Database {
            path: path.clone(),
            source,
        }
    }

    /// The entry of the log up to which events were taken.
    pub fn place(&self) -> Result<Option<Oid>, OutboxError> {
        let text: Option<String> = self
            .connection
            .query_row("SELECT log FROM place", [], |row| row.get(0))
            .optional()
            .map_err(self.failed())?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// The last events that another controller had to tell, for when this one takes over.
    pub fn withheld(&self) -> Result<Vec<Event>, OutboxError> {
        let text: Option<String> = self
            .connection
            .query_row("SELECT withheld FROM place", [], |row| row.get(0))
            .optional()
            .map_err(self.failed())?;
        // What another version wrote is not understood; it was another controller's to tell.
        Ok(text
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default())
    }

    /// Takes events for sinks, and together with them the place in the log that they were read up to and what
    /// another controller had to tell last.
    pub fn take(
        &mut self,
        events: &[(String, Event)],
        place: Option<(Oid, &[Event])>,
        now: i64,
    ) -> Result<(), OutboxError> {
        let failed = self.failed();
        let mut rows = Vec::with_capacity(events.len());
        for (sink, event) in events {
            let body = serde_json::to_string(event).map_err(|source| OutboxError::Body {
                path: self.path.clone(),
                source,
            })?;
            rows.push((sink, event, body));
        }
        let place = match place {
            Some((place, withheld)) => {
                let body = serde_json::to_string(withheld).map_err(|source| OutboxError::Body {
                    path: self.path.clone(),
                    source,
                })?;
                Some((place.to_string(), body))
            }
            None => None,
        };
        let write = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for (sink, event, body) in &rows {
                transaction.execute(
                    "INSERT OR IGNORE INTO outbox (sink, id, rollout, body, queued, next) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
                    params![sink, event.id, event.rollout.as_deref().unwrap_or_default(), body, now],
                )?;
            }
            if let Some((place, withheld)) = &place {
                transaction.execute(
                    "INSERT INTO place (one, log, withheld) VALUES (1, ?1, ?2)
                     ON CONFLICT (one) DO UPDATE SET log = ?1, withheld = ?2",
                    [place, withheld],
                )?;
            }
            transaction.execute(
                "DELETE FROM outbox WHERE state <> 'waits' AND number <= (SELECT max(number) FROM outbox) - ?1",
                [KEPT],
            )?;
            transaction.commit()
        };
        write(&mut self.connection).map_err(failed)
    }

    /// The next alert of a sink that is due: within a rollout the oldest goes first, and while it is put off the
    /// others of that rollout wait, but for no longer than `patience` seconds.
    pub fn due(&self, sink: &str, now: i64, patience: i64) -> Result<Option<Due>, OutboxError> {
        loop {
            let row = self
                .connection
                .query_row(
                    "SELECT number, body, queued, attempts FROM outbox AS mine
                     WHERE sink = ?1 AND state = 'waits' AND next <= ?2 AND NOT EXISTS (
                        SELECT 1 FROM outbox AS before WHERE before.sink = mine.sink AND before.rollout = mine.rollout
                            AND before.state = 'waits' AND before.number < mine.number AND before.queued > ?3)
                     ORDER BY number LIMIT 1",
                    params![sink, now, now.saturating_sub(patience)],
                    |row| {
                        Ok((
                            row.get::<_, i64>(0)?,
                            row.get::<_, String>(1)?,
                            row.get::<_, i64>(2)?,
                            row.get::<_, u32>(3)?,
                        ))
                    },
                )
                .optional()
                .map_err(self.failed())?;
            let Some((number, body, queued, attempts)) = row else {
                return Ok(None);
            };
            match serde_json::from_str(&body) {
                Ok(event) => {
                    return Ok(Some(Due {
                        number,
                        event,
                        queued,
                        attempts,
                    }));
                }
                // Another version wrote it. It must not keep the others from being sent.
                Err(error) => {
                    tracing::warn!(sink, number, %error, "an alert in the outbox cannot be read and is dropped");
                    self.end(number, End::Dead, &error.to_string())?;
                }
            }
        }
    }

    /// Ends what waits for receivers that are not among these.
    pub fn keep_sinks(&self, sinks: &[String]) -> Result<usize, OutboxError> {
        let sinks = serde_json::Value::from(sinks).to_string();
        self.connection
            .execute(
                "UPDATE outbox SET state = 'dead', why = 'there is no such receiver any more'
                 WHERE state = 'waits' AND sink NOT IN (SELECT value FROM json_each(?1))",
                [sinks],
            )
            .map_err(self.failed())
    }

    /// When the next alert of a sink may be due; `None` if none waits.
    pub fn next(&self, sink: &str) -> Result<Option<i64>, OutboxError> {
        self.connection
            .query_row(
                "SELECT min(next) FROM outbox WHERE sink = ?1 AND state = 'waits'",
                [sink],
                |row| row.get(0),
            )
            .map_err(self.failed())
    }

    /// How many alerts wait.
    pub fn waiting(&self) -> Result<u64, OutboxError> {
        self.connection
            .query_row(
                "SELECT count(*) FROM outbox WHERE state = 'waits'",
                [],
                |row| row.get::<_, i64>(0),
            )
            .map(i64::unsigned_abs)
            .map_err(self.failed())
    }

    /// Ends an alert.
    pub fn end(&self, number: i64, end: End, why: &str) -> Result<(), OutboxError> {
        let state = match end {
            End::Sent => "sent",
            End::Dead => "dead",
        };
        self.connection
            .execute(
                "UPDATE outbox SET state = ?2, why = ?3, attempts = attempts + 1 WHERE number = ?1",
                params![number, state, why],
            )
            .map(drop)
            .map_err(self.failed())
    }

    /// Puts an alert off.
    pub fn put_off(&self, number: i64, until: i64, why: &str) -> Result<(), OutboxError> {
        self.connection
            .execute(
                "UPDATE outbox SET next = ?2, why = ?3, attempts = attempts + 1 WHERE number = ?1",
                params![number, until, why],
            )
            .map(drop)
            .map_err(self.failed())
    }

    /// What is reminded of something.
    pub fn reminder(&self, what: &str) -> Result<Option<Reminder>, OutboxError> {
        self.connection
            .query_row(
                "SELECT began, told, next FROM reminders WHERE what = ?1",
                [what],
                |row| {
                    Ok(Reminder {
                        began: row.get(0)?,
                        told: row.get(1)?,
                        next: row.get(2)?,
                    })
                },
            )
            .optional()
            .map_err(self.failed())
    }

    /// Sets when something is reminded of next.
    pub fn remind(&self, what: &str, reminder: Reminder) -> Result<(), OutboxError> {
        self.connection
            .execute(
                "INSERT INTO reminders (what, began, told, next) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (what) DO UPDATE SET began = ?2, told = ?3, next = ?4",
                params![what, reminder.began, reminder.told, reminder.next],
            )
            .map(drop)
            .map_err(self.failed())
    }

    /// Forgets what does not stand any more.
    pub fn keep_reminders(&self, standing: &[String]) -> Result<(), OutboxError> {
        let standing = serde_json::Value::from(standing).to_string();
        self.connection
            .execute(
                "DELETE FROM reminders WHERE what NOT IN (SELECT value FROM json_each(?1))",
                [standing],
            )
            .map(drop)
            .map_err(self.failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::tests::event;
    use crate::settings::AlertKind;

    fn queued(outbox: &mut Outbox, rollout: &str, number: u32) {
        let mut event = event(AlertKind::Held);
        event.id = format!("{rollout}-{number}");
        event.rollout = Some(rollout.to_owned());
        let place = Oid::from_bytes([7; 20]);
        outbox
            .take(&[("oncall".to_owned(), event)], Some((place, &[])), 100)
            .unwrap();
    }

    #[test]
    fn the_order_within_a_rollout_is_kept_and_another_rollout_does_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        let mut outbox = Outbox::open(&path).unwrap();
        assert_eq!(outbox.place().unwrap(), None);
        for (rollout, number) in [("a", 1), ("a", 2), ("b", 1)] {
            queued(&mut outbox, rollout, number);
        }
        // The same event is taken once.
        queued(&mut outbox, "a", 1);
        assert_eq!(outbox.waiting().unwrap(), 3);
        let first = outbox.due("oncall", 100, 3600).unwrap().unwrap();
        assert_eq!(first.event.id, "a-1");
        outbox
            .put_off(first.number, 160, "Slack answers 503")
            .unwrap();
        let other = outbox.due("oncall", 100, 3600).unwrap().unwrap();
        assert_eq!(other.event.id, "b-1");
        outbox.end(other.number, End::Sent, "").unwrap();
        assert!(outbox.due("oncall", 100, 3600).unwrap().is_none());
        assert_eq!(outbox.next("oncall").unwrap(), Some(100));
        assert!(outbox.due("elsewhere", 100, 3600).unwrap().is_none());
        drop(outbox);
        // All of it is there after a crash.
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!(outbox.place().unwrap(), Some(Oid::from_bytes([7; 20])));
        let again = outbox.due("oncall", 160, 3600).unwrap().unwrap();
        assert_eq!((again.event.id.as_str(), again.attempts), ("a-1", 1));
        // One that could not be sent for long keeps the others back no longer, and is still tried.
        outbox
            .put_off(again.number, 9000, "Slack answers 503")
            .unwrap();
        let passed = outbox.due("oncall", 8000, 3600).unwrap().unwrap();
        assert_eq!(passed.event.id, "a-2");
        outbox.end(again.number, End::Dead, "no").unwrap();
        assert_eq!(
            outbox.due("oncall", 160, 3600).unwrap().unwrap().event.id,
            "a-2"
        );
    }

    #[test]
    fn what_cannot_be_read_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        std::fs::write(&path, vec![b'x'; 5000]).unwrap();
        assert_eq!(Outbox::open(&path).unwrap().waiting().unwrap(), 0);
        assert!(path.with_extension("unusable").exists());
        let newer = Connection::open(folder.path().join("newer.db")).unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();
        drop(newer);
        let outbox = Outbox::open(&folder.path().join("newer.db")).unwrap();
        assert_eq!(outbox.waiting().unwrap(), 0);
    }

    #[test]
    fn what_nobody_can_be_sent_keeps_nothing_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(&folder.path().join("outbox.db")).unwrap();
        queued(&mut outbox, "a", 1);
        queued(&mut outbox, "a", 2);
        outbox
            .connection
            .execute("UPDATE outbox SET body = '{}' WHERE id = 'a-1'", [])
            .unwrap();
        assert_eq!(
            outbox.due("oncall", 100, 3600).unwrap().unwrap().event.id,
            "a-2"
        );
        assert_eq!(outbox.keep_sinks(&["oncall".to_owned()]).unwrap(), 0);
        assert_eq!(outbox.keep_sinks(&["renamed".to_owned()]).unwrap(), 1);
        assert_eq!(outbox.waiting().unwrap(), 0);
    }

    #[test]
    fn what_stands_no_more_is_not_reminded_of() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&folder.path().join("outbox.db")).unwrap();
        let reminder = Reminder {
            began: 1,
            told: 2,
            next: 3,
        };
        for what in ["a", "b"] {
            outbox.remind(what, reminder).unwrap();
        }
        outbox.keep_reminders(&["b".to_owned()]).unwrap();
        assert_eq!(outbox.reminder("a").unwrap(), None);
        assert_eq!(outbox.reminder("b").unwrap(), Some(reminder));
    }
}
