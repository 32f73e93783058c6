//! Brings the statuses that stand on a forge to what they should be, a write at a time, for as long as it takes.
//!
//! A [`StatusBoard`] takes what is wanted and never waits; a [`Poster`] compares it with what stands there and
//! writes the difference. All of it is in memory: after a restart the forge is asked what stands.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidegate_waves::oid::Oid;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::statuses::{DesiredStatus, merge};
use super::{CommitStatus, Forge, ForgeError, StatusState};
use crate::crash;

/// Most statuses that are kept in mind; those of the oldest commits are forgotten first.
const MOST_STATUSES: usize = 4000;

/// A first retry waits about this long.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A first retry of what a token was refused for waits about this long.
const FIRST_TOKEN_RETRY: Duration = Duration::from_secs(30);

/// The longest time between two retries.
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);

/// A wave's status whose text alone changes is written no more often than this.
const BETWEEN_TEXTS: Duration = Duration::from_secs(10);

/// How many writes may follow each other at once …
const BURST: usize = 20;

/// … within this time. GitHub asks for no more than 80 a minute, and about one a second.
const BURST_WINDOW: Duration = Duration::from_secs(20);

/// What is wanted, and how often that changed.
#[derive(Debug, Default, Clone)]
struct Wanted {
    generation: u64,
    statuses: Vec<DesiredStatus>,
}

/// Where statuses are wished for.
#[derive(Debug, Clone)]
pub struct StatusBoard {
    wanted: watch::Sender<Wanted>,
    done: watch::Receiver<u64>,
}

/// What posts them.
#[derive(Debug)]
pub struct Poster {
    forge: Arc<dyn Forge>,
    wanted: watch::Receiver<Wanted>,
    done: watch::Sender<u64>,
    memory: Memory,
}

/// A board and what posts its wishes to a forge; nothing is posted until [`Poster::run`] runs.
#[must_use]
pub fn poster(forge: Arc<dyn Forge>) -> (StatusBoard, Poster) {
    let (wanted, wishes) = watch::channel(Wanted::default());
    let (finished, done) = watch::channel(0);
    (
        StatusBoard { wanted, done },
        Poster {
            forge,
            wanted: wishes,
            done: finished,
            memory: Memory::default(),
        },
    )
}

impl StatusBoard {
    /// Wishes for these statuses, beside those wished for before. It never waits.
    pub fn want(&self, statuses: Vec<DesiredStatus>) {
        self.wanted.send_if_modified(|wanted| {
            let before = wanted.statuses.clone();
            let newest: BTreeSet<Oid> = statuses.iter().map(|wish| wish.commit).collect();
            merge(&mut wanted.statuses, statuses);
            forget_oldest(&mut wanted.statuses, &newest);
            let changed = wanted.statuses != before;
            if changed {
                wanted.generation = wanted.generation.saturating_add(1);
            }
            changed
        });
    }

    /// Waits until everything wished for by now stands on the forge, or is refused by it until somebody
    /// changes something. The caller brings the deadline.
    pub async fn posted(&self) {
        let generation = self.wanted.borrow().generation;
        let mut done = self.done.clone();
        // A poster that is gone posts no more; there is nothing to wait for.
        drop(done.wait_for(|done| *done >= generation).await);
    }
}

/// Forgets statuses of the commits that were wished for first, until few enough are left; never those of the
/// newest wishes, however many they are.
fn forget_oldest(statuses: &mut Vec<DesiredStatus>, newest: &BTreeSet<Oid>) {
    while statuses.len() > MOST_STATUSES {
        let Some(oldest) = statuses
            .iter()
            .map(|wish| wish.commit)
            .find(|commit| !newest.contains(commit))
        else {
            return;
        };
        statuses.retain(|wish| wish.commit != oldest);
    }
}

/// What the poster knows and has tried.
#[derive(Debug, Default)]
struct Memory {
    /// What stands on commits that were read or written, by context.
    standing: BTreeMap<Oid, BTreeMap<String, CommitStatus>>,
    /// What was refused, with the status that was.
    refused: BTreeMap<(Oid, String), CommitStatus>,
    /// Commits of which a refusal was logged.
    logged: BTreeSet<Oid>,
    /// When each status was last written.
    written: BTreeMap<(Oid, String), Instant>,
    /// What went wrong with a commit since it last went well.
    troubles: BTreeMap<Oid, Trouble>,
    /// How often in a row the forge did not answer as it should, and with which commits.
    failures: u32,
    failing: BTreeSet<Oid>,
    /// How often in a row the token was refused.
    token_refusals: u32,
    /// Nothing is asked before this.
    pause: Option<Instant>,
    /// When the last writes were.
    burst: VecDeque<Instant>,
}

/// What went wrong with one commit.
#[derive(Debug)]
struct Trouble {
    /// How often in a row.
    count: u32,
    /// It is left alone until then.
    until: Instant,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Read what stands on a commit.
    Read(Oid),
    /// Write a status.
    Write(Oid, CommitStatus),
    /// Nothing before this time.
    Later(Instant),
    /// All is as it should be, or refused.
    Nothing,
}

impl Poster {
    /// Posts what is wished for until it is cancelled, or until all boards are gone and nothing is left to do.
    pub async fn run(mut self, cancelled: CancellationToken) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            self.memory.keep_only(&wanted.statuses);
            let now = Instant::now();
            let next = self.memory.next(&wanted.statuses, now);
            if next == Next::Nothing {
                self.memory.recovered();
            }
            // While the token is refused nothing can be posted, whoever waits for it.
            if next == Next::Nothing || self.memory.token_refusals > 0 {
                self.done.send_replace(wanted.generation);
            }
            let until = match next {
                Next::Nothing => None,
                Next::Later(time) => Some(time),
                Next::Read(commit) => {
                    tokio::select! {
                        () = cancelled.cancelled() => return,
                        () = self.read(commit, &wanted.statuses) => {}
                    }
                    continue;
                }
                Next::Write(commit, status) => {
                    // Cancelling in the middle loses nothing: what stands is read after a restart.
                    tokio::select! {
                        () = cancelled.cancelled() => return,
                        () = self.write(commit, status) => {}
                    }
                    continue;
                }
            };
            let wait = async {
                match until {
                    Some(time) => tokio::time::sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = cancelled.cancelled() => return,
                () = wait => {}
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        match until {
                            None => return,
                            Some(time) => tokio::select! {
                                () = cancelled.cancelled() => return,
                                () = tokio::time::sleep_until(time) => {}
                            },
                        }
                    }
                }
            }
        }
    }

    async fn read(&mut self, commit: Oid, wanted: &[DesiredStatus]) {
        match self.forge.statuses(commit).await {
            Ok(standing) => {
                // A forge that can be read need not be one that can be written to: only a write, or nothing
                // being left to write, ends a stretch of trouble.
                self.memory.standing.insert(commit, standing);
            }
            Err(error) if error.is_retryable() || error.refuses_the_token() => {
                self.memory.went_wrong(commit, &error, Instant::now());
            }
            Err(error) => {
                // The forge does not have the commit. Writing is not tried: Gitea answers that with 500.
                for wish in wanted.iter().filter(|wish| wish.commit == commit) {
                    self.memory.refuse(commit, wish.status.clone(), &error);
                }
            }
        }
    }

    async fn write(&mut self, commit: Oid, status: CommitStatus) {
        crash::point("before-status-posted");
        let posted = self.forge.post_status(commit, &status).await;
        crash::point("after-status-posted");
        let now = Instant::now();
        let memory = &mut self.memory;
        memory.burst.push_back(now);
        let key = (commit, status.context.clone());
        match posted {
            Ok(()) => {
                memory.went_well(commit);
                memory.refused.remove(&key);
                memory.written.insert(key, now);
                memory
                    .standing
                    .entry(commit)
                    .or_default()
                    .insert(status.context.clone(), status);
            }
            Err(error) if error.is_retryable() || error.refuses_the_token() => {
                memory.went_wrong(commit, &error, now);
            }
            Err(error) => {
                memory.went_well(commit);
                memory.refuse(commit, status, &error);
            }
        }
    }
}

impl Memory {
    /// Forgets commits of which nothing is wanted any more.
    fn keep_only(&mut self, wanted: &[DesiredStatus]) {
        let commits: BTreeSet<Oid> = wanted.iter().map(|wish| wish.commit).collect();
        self.standing.retain(|commit, _| commits.contains(commit));
        self.refused
            .retain(|(commit, _), _| commits.contains(commit));
        self.logged.retain(|commit| commits.contains(commit));
        self.written
            .retain(|(commit, _), _| commits.contains(commit));
        self.troubles.retain(|commit, _| commits.contains(commit));
    }

    fn next(&mut self, wanted: &[DesiredStatus], now: Instant) -> Next {
        if let Some(pause) = self.pause.filter(|pause| *pause > now) {
            let open = wanted.iter().any(|wish| !self.is_done(wish));
            return if open {
                Next::Later(pause)
            } else {
                Next::Nothing
            };
        }
        let mut later: Option<Instant> = None;
        let mut chosen: Option<(u32, &DesiredStatus)> = None;
        for wish in wanted.iter().filter(|wish| !self.is_done(wish)) {
            if let Some(time) = self.text_allowed_at(wish).filter(|time| *time > now) {
                later = Some(later.map_or(time, |later| later.min(time)));
                continue;
            }
            // One commit that the forge chokes on must not keep the others from being told.
            let trouble = self.troubles.get(&wish.commit);
            if let Some(trouble) = trouble.filter(|trouble| trouble.until > now) {
                later = Some(later.map_or(trouble.until, |later| later.min(trouble.until)));
                continue;
            }
            let count = trouble.map_or(0, |trouble| trouble.count);
            if chosen.is_none_or(|(fewest, _)| count < fewest) {
                chosen = Some((count, wish));
            }
        }
        match (chosen, later) {
            (Some((_, wish)), _) if !self.standing.contains_key(&wish.commit) => {
                Next::Read(wish.commit)
            }
            (Some((_, wish)), _) => match self.write_allowed_at(now) {
                Some(time) => Next::Later(time),
                None => Next::Write(wish.commit, wish.status.clone()),
            },
            (None, Some(time)) => Next::Later(time),
            (None, None) => Next::Nothing,
        }
    }

    /// Whether a status stands, is refused, or gives way to what stands.
    fn is_done(&self, wish: &DesiredStatus) -> bool {
        let context = &wish.status.context;
        if self.refused.get(&(wish.commit, context.clone())) == Some(&wish.status) {
            return true;
        }
        let Some(standing) = self.standing.get(&wish.commit) else {
            return false;
        };
        // Only what people see is compared: a forge may give the target back in another form.
        let stands = standing.get(context).is_some_and(|stands| {
            stands.state == wish.status.state && stands.description == wish.status.description
        });
        let yields = wish.carried.as_ref().is_some_and(|carried| {
            standing
                .keys()
                .any(|context| context.starts_with(&carried.yields_to))
        });
        stands || yields || self.refused.get(&(wish.commit, context.clone())) == Some(&wish.status)
    }

    /// When a status may be written whose text alone differs from what we wrote last.
    fn text_allowed_at(&self, wish: &DesiredStatus) -> Option<Instant> {
        let context = &wish.status.context;
        let stands = self.standing.get(&wish.commit)?.get(context)?;
        let written = self.written.get(&(wish.commit, context.clone()))?;
        let only_text = wish.status.is_of_a_wave()
            && wish.status.state == StatusState::Pending
            && stands.state == wish.status.state;
        only_text.then(|| *written + BETWEEN_TEXTS)
    }

    /// When the next write is allowed, if not now.
    fn write_allowed_at(&mut self, now: Instant) -> Option<Instant> {
        while self
            .burst
            .front()
            .is_some_and(|time| *time + BURST_WINDOW <= now)
        {
            self.burst.pop_front();
        }
        if self.burst.len() < BURST {
            return None;
        }
        self.burst.front().map(|oldest| *oldest + BURST_WINDOW)
    }

    fn went_well(&mut self, commit: Oid) {
        self.recovered();
        self.troubles.remove(&commit);
    }

    /// A stretch of trouble is over.
    fn recovered(&mut self) {
        if self.failures > 0 || self.token_refusals > 0 {
            tracing::info!("the forge answers again");
        }
        self.failures = 0;
        self.failing.clear();
        self.token_refusals = 0;
    }

    /// A status is not tried again until another is wanted in its place.
    fn refuse(&mut self, commit: Oid, status: CommitStatus, error: &ForgeError) {
        // Once aloud for each commit.
        if self.logged.insert(commit) {
            tracing::warn!(%commit, context = status.context, %error, "a commit status is refused");
        } else {
            tracing::debug!(%commit, context = status.context, %error, "a commit status is refused");
        }
        self.refused
            .insert((commit, status.context.clone()), status);
    }

    /// The commit is left alone for a while, and the forge too if it is not the commit's fault alone.
    fn went_wrong(&mut self, commit: Oid, error: &ForgeError, now: Instant) {
        let pause = if error.refuses_the_token() {
            self.token_refusals = self.token_refusals.saturating_add(1);
            back_off(FIRST_TOKEN_RETRY, self.token_refusals)
        } else {
            self.failures = self.failures.saturating_add(1);
            self.failing.insert(commit);
            let count = self
                .troubles
                .get(&commit)
                .map_or(0, |trouble| trouble.count);
            let count = count.saturating_add(1);
            let trouble = Trouble {
                count,
                until: now + back_off(FIRST_RETRY, count),
            };
            self.troubles.insert(commit, trouble);
            let in_a_row = if self.failing.len() > 1 {
                self.failures
            } else {
                1
            };
            back_off(FIRST_RETRY, in_a_row).max(error.retry_after().unwrap_or_default())
        };
        let seconds = pause.as_secs();
        // Once aloud for each stretch of trouble.
        if self.failures.saturating_add(self.token_refusals) == 1 {
            tracing::warn!(%error, retry_in_seconds = seconds, "commit statuses cannot be posted now; they will be later");
        } else {
            tracing::debug!(%error, retry_in_seconds = seconds, "commit statuses cannot be posted now");
        }
        self.pause = now.checked_add(pause);
    }
}

/// The time before try number `count` + 1: doubled each time up to a limit, and up to a quarter shorter so
/// that several controllers do not come back all at once.
fn back_off(first: Duration, count: u32) -> Duration {
    let doublings = count.saturating_sub(1).min(16);
    let whole = first
        .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
        .min(LONGEST_RETRY);
    let quarter = u64::try_from((whole / 4).as_millis()).unwrap_or(u64::MAX);
    // Without randomness it is not shortened, which does no harm.
    let random = getrandom::u64().unwrap_or_default();
    let shorter = random.checked_rem(quarter).unwrap_or_default();
    whole.saturating_sub(Duration::from_millis(shorter))
}

#[cfg(test)]
mod tests;
