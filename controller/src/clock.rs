//! Time as the engine sees it, so that it can be simulated.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Where the engine's times come from.
///
/// Durations are only ever computed from [`Clock::monotonic`]; [`Clock::wall`] is for people.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time since a fixed but arbitrary point of this process. It never goes back, and it may
    /// stand still while the machine sleeps: what is measured with it can only take longer.
    fn monotonic(&self) -> Duration;

    /// The time of day.
    fn wall(&self) -> Timestamp;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        // On Linux `Instant` is CLOCK_MONOTONIC, which stops in suspension.
        self.start.elapsed()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<(Duration, Timestamp)>,
}

impl ManualClock {
    /// A clock that stands at zero and at this time of day.
    #[must_use]
    pub fn new(wall: Timestamp) -> Self {
        Self {
            now: Mutex::new((Duration::ZERO, wall)),
        }
    }

    /// Lets time go by on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 = now.0.saturating_add(by);
        // Past the end of the calendar the time of day stays where it is.
        now.1 = now.1.checked_add(by).unwrap_or(now.1);
    }

    /// Sets the time of day alone, as an operator or NTP would.
    pub fn set_wall(&self, wall: Timestamp) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1 = wall;
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn wall(&self) -> Timestamp {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_time_of_day_moves_no_duration() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.wall().as_second(), 5);
        clock.set_wall(Timestamp::MAX);
        assert_eq!(clock.monotonic(), Duration::from_secs(5));
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.wall(), Timestamp::MAX);
    }

    #[test]
    fn the_machines_clock_never_goes_back() {
        let clock = SystemClock::new();
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before);
    }
}
