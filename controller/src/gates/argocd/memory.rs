//! What this process saw of one Application of one region since its promotion.

use std::time::Duration;

use jiff::Timestamp;

use super::application::Application;
use super::clocks::{Clock, Clocks, Tick};
use super::limits::Limits;

/// What this process saw of one Application of one region since its promotion; a new promotion needs a new one.
///
/// It is bound to the Application's `uid`. Nothing of it may outlive the process: what it holds is what was seen, and
/// nothing is seen while nobody looks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    uid: Option<String>,
    recreated: bool,
    now: Option<Duration>,
    watched: Duration,
    clocks: Clocks,
    first_reconciled: Option<Timestamp>,
    reconciled: Option<Timestamp>,
    reconciled_moved: Duration,
    refresh_pending: bool,
    request: Option<Request>,
    asked: Option<Duration>,
    /// When a refresh was first asked for since the newest comparison, in watched time.
    unanswered: Option<Duration>,
    ask_at_once: bool,
    /// Whether an answer of no use was followed by another asking without a pause: once is enough.
    asked_again: bool,
    tie: Option<Timestamp>,
    answered: bool,
    refused: bool,
    terminate_asked: Option<Duration>,
    sync_asked: Option<Duration>,
    degraded: Option<bool>,
    flips: Vec<Duration>,
    recovered: bool,
    soak: Option<Soak>,
    /// How many listings of the branches had begun when manifests were first said to be unparsable, as long as they are.
    unparsable: Option<u64>,
}

/// A refresh that was asked for and not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    resource_version: String,
    reconciled: Option<Timestamp>,
    /// Whether the object was seen as it was after the asking.
    seen: bool,
    /// Whether somebody else had asked already: the answer may be theirs, begun before our promotion.
    shared: bool,
}

/// All as wanted, without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Soak {
    since: Duration,
    reconciled: Option<Timestamp>,
    transition: Option<Timestamp>,
    finished: Option<Timestamp>,
}

impl Memory {
    /// The refresh that a verdict asked for was requested; the object then had this version.
    ///
    /// It is answered once a later version has no annotation any more and a newer comparison.
    pub fn refresh_requested(&mut self, resource_version: &str, now: Duration) {
        let shared = match &self.request {
            Some(unanswered) => unanswered.shared,
            None => self.refresh_pending,
        };
        self.request = Some(Request {
            resource_version: resource_version.to_owned(),
            reconciled: self.reconciled,
            seen: false,
            shared,
        });
        self.note_asked(now);
    }

    /// The refresh that a verdict asked for was requested of Argo CD's own API, whose answer is told to
    /// [`Memory::refresh_answered`]. What is seen meanwhile is no answer: it may have been on its way before.
    pub fn refresh_under_way(&mut self, now: Duration) {
        self.note_asked(now);
    }

    fn note_asked(&mut self, now: Duration) {
        self.asked = Some(now);
        self.unanswered = self.unanswered.or(Some(self.watched));
        self.ask_at_once = false;
    }

    /// Argo CD's own API answered a refresh: the Application as it was read before the asking, and as it was compared since.
    pub fn refresh_answered(&mut self, before: &Application, after: &Application) {
        let is_ours = |seen: &Application| self.uid.as_ref() == Some(&seen.uid);
        if is_ours(before) && is_ours(after) {
            let moved = after.reconciled_at > before.reconciled_at;
            self.answer(moved, before.refresh.is_some());
        }
    }

    /// We may not request refreshes: from now on what Argo CD compares by itself is waited for.
    pub fn refresh_refused(&mut self) {
        self.refused = true;
        self.request = None;
        self.unanswered = None;
    }

    /// The end of an operation that a verdict asked for was requested.
    pub fn terminate_requested(&mut self, now: Duration) {
        self.terminate_asked = Some(now);
    }

    /// The sync that a verdict asked for was requested.
    pub fn sync_requested(&mut self, now: Duration) {
        self.sync_asked = Some(now);
    }

    /// Takes in what is seen now, before it is judged.
    pub(super) fn look(
        &mut self,
        application: Option<&Application>,
        limits: &Limits,
        now: Duration,
    ) {
        let gap = now.saturating_sub(self.now.unwrap_or(now));
        self.now = Some(now);
        if gap > limits.longest_gap {
            self.soak = None;
            self.degraded = None;
            self.clocks.stop_harm();
        } else {
            self.watched = self.watched.saturating_add(gap);
        }
        self.recreated = false;
        let Some(application) = application else {
            return;
        };
        if self.uid.as_ref().is_some_and(|uid| *uid != application.uid) {
            self.begin_anew();
        }
        if self.uid.is_none() {
            self.uid = Some(application.uid.clone());
            self.first_reconciled = application.reconciled_at;
        }

        self.take_answer(application);
        if self.refused
            && application.reconciled_at.is_some()
            && application.reconciled_at != self.first_reconciled
        {
            self.answered = true;
        }
        if application.reconciled_at != self.reconciled {
            self.reconciled = application.reconciled_at;
            self.reconciled_moved = self.watched;
            self.unanswered = None;
        }
        self.refresh_pending = application.refresh.is_some();
        // With equal seconds nobody can tell which was first: one more comparison does, and it need not wait.
        let finished = finished_at(application);
        if finished.is_some() && finished == application.reconciled_at && finished != self.tie {
            self.tie = finished;
            self.ask_at_once = true;
        }
    }

    /// Another Application bears the name: nothing that was seen holds for it, but that it is not there for good.
    fn begin_anew(&mut self) {
        let clocks = self.clocks.only(Clock::Absent);
        *self = Self {
            recreated: true,
            now: self.now,
            watched: self.watched,
            refused: self.refused,
            clocks,
            ..Self::default()
        };
    }

    /// Looks whether a refresh that was asked for is answered.
    fn take_answer(&mut self, application: &Application) {
        let Some(request) = &mut self.request else {
            return;
        };
        if application.resource_version == request.resource_version || application.refresh.is_some()
        {
            request.seen = true;
            // A comparison that ends while the question stands may have begun before it.
            request.reconciled = application.reconciled_at;
            return;
        }
        if !is_later(&application.resource_version, request) {
            return;
        }
        let moved = application.reconciled_at > request.reconciled;
        let shared = request.shared;
        self.request = None;
        self.answer(moved, shared);
    }

    /// Takes in an answer: whether it has a newer comparison, and whether somebody else had asked already.
    fn answer(&mut self, moved: bool, shared: bool) {
        if moved && !shared {
            self.answered = true;
        } else {
            // An equal second, a clock set back, or the answer to somebody else.
            self.ask_at_once = shared || !self.asked_again;
            self.asked_again = true;
        }
    }

    /// Lets a clock run or stop.
    pub(super) fn tick(&mut self, clock: Clock, tick: Tick) {
        self.clocks.tick(clock, tick, self.watched);
    }

    /// Takes in whether the promoted commit is degraded, or healthy.
    pub(super) fn note_health(&mut self, degraded: bool, limits: &Limits) {
        let flipped = self.degraded.is_some_and(|before| before != degraded);
        self.degraded = Some(degraded);
        if flipped {
            self.flips.push(self.watched);
        }
        let watched = self.watched;
        self.flips
            .retain(|flip| watched.saturating_sub(*flip) <= limits.flip_window);
    }

    /// Takes in whether the manifests are said to be unparsable, and how many listings of the branches have begun.
    pub(super) fn note_unparsable(&mut self, unparsable: bool, listings_begun: u64) {
        self.unparsable = if unparsable {
            Some(self.unparsable.unwrap_or(listings_begun))
        } else {
            None
        };
    }

    /// Whether this listing of the branches began behind the first sight of manifests that are unparsable.
    pub(super) fn is_listed_since_unparsable(&self, listed: u64) -> bool {
        self.unparsable.is_some_and(|begun| listed > begun)
    }

    /// Takes in whether all is as wanted, after it was judged.
    pub(super) fn settle(&mut self, soaks: bool, application: &Application, limits: &Limits) {
        if !soaks {
            self.soak = None;
            return;
        }
        let soak = self.running_soak(application).unwrap_or(Soak {
            since: self.watched,
            reconciled: application.reconciled_at,
            transition: application.health.last_transition,
            finished: finished_at(application),
        });
        self.soak = Some(soak);
        // Long enough that it is no longer the state from before, which some health checks show for a moment.
        if self.watched.saturating_sub(soak.since) >= limits.degraded_for {
            self.recovered = true;
        }
    }

    /// How long a clock has run.
    pub(super) fn held(&self, clock: Clock) -> Duration {
        self.clocks.held(clock, self.watched)
    }

    /// Whether a comparison was seen that is newer than a clock, and no older than its first so many.
    pub(super) fn is_confirmed(&self, clock: Clock, least: Duration) -> bool {
        self.clocks.since(clock).is_some_and(|since| {
            self.reconciled_moved > since && self.reconciled_moved >= since.saturating_add(least)
        })
    }

    /// How long all has been as wanted.
    pub(super) fn soaked(&self, application: &Application) -> Duration {
        self.running_soak(application)
            .map_or(Duration::ZERO, |soak| {
                self.watched.saturating_sub(soak.since)
            })
    }

    /// Whether a comparison has begun since all was as wanted.
    pub(super) fn reconciled_in_soak(&self, application: &Application) -> bool {
        self.running_soak(application)
            .is_some_and(|soak| application.reconciled_at > soak.reconciled)
    }

    /// The soak, unless health or an operation changed between two looks.
    fn running_soak(&self, application: &Application) -> Option<Soak> {
        self.soak.filter(|soak| {
            soak.transition == application.health.last_transition
                && soak.finished == finished_at(application)
        })
    }

    /// Whether a comparison that began after the promotion was seen.
    pub(super) fn is_answered(&self) -> bool {
        self.answered
    }

    /// How long ago the newest comparison was first seen.
    pub(super) fn since_reconciled(&self) -> Duration {
        self.watched.saturating_sub(self.reconciled_moved)
    }

    /// Whether a refresh was asked for, and nothing was compared for too long since.
    pub(super) fn is_unanswered(&self, limits: &Limits) -> bool {
        self.unanswered
            .is_some_and(|asked| self.watched.saturating_sub(asked) > limits.answers_within)
    }

    /// Whether another Application of the same name has just taken its place.
    pub(super) fn is_recreated(&self) -> bool {
        self.recreated
    }

    /// Whether it was healthy for a while since the promotion.
    pub(super) fn is_recovered(&self) -> bool {
        self.recovered
    }

    /// How often it changed between healthy and degraded of late.
    pub(super) fn flips(&self) -> usize {
        self.flips.len()
    }

    /// Whether it is time to ask for a refresh.
    pub(super) fn may_refresh(&self, limits: &Limits) -> bool {
        !self.refused && (self.ask_at_once || self.is_due(self.asked, limits))
    }

    /// Whether it is time to ask for the refresh that confirms what has lasted for so long: what was asked for before that
    /// is not in its way.
    pub(super) fn may_confirm(&self, clock: Clock, least: Duration, limits: &Limits) -> bool {
        let beyond = self.held(clock).saturating_sub(least);
        let now = self.now.unwrap_or_default();
        let asked_before = self
            .asked
            .is_none_or(|asked| now.saturating_sub(asked) > beyond);
        !self.refused && (asked_before || self.may_refresh(limits))
    }

    /// Whether it is time to end an operation.
    pub(super) fn may_terminate(&self, limits: &Limits) -> bool {
        self.is_due(self.terminate_asked, limits)
    }

    /// Whether it is time to sync.
    pub(super) fn may_sync(&self, limits: &Limits) -> bool {
        self.is_due(self.sync_asked, limits)
    }

    fn is_due(&self, asked: Option<Duration>, limits: &Limits) -> bool {
        let now = self.now.unwrap_or_default();
        asked.is_none_or(|asked| now.saturating_sub(asked) >= limits.refresh_every)
    }
}

/// When the newest operation ended.
pub(super) fn finished_at(application: &Application) -> Option<Timestamp> {
    application.operation_state.as_ref()?.finished_at
}

/// Whether this version of the object came after the one that asked for the refresh.
fn is_later(version: &str, request: &Request) -> bool {
    match (
        version.parse::<u128>(),
        request.resource_version.parse::<u128>(),
    ) {
        (Ok(version), Ok(asked)) => version > asked,
        // Versions that are no numbers cannot be ordered: the asking must have been seen before its answer.
        _ => request.seen,
    }
}
