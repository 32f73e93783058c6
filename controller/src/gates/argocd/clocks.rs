//! How long what is seen of an Application has lasted.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

/// What must last before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Clock {
    Absent,
    Invalid,
    Unreadable,
    Unparsable,
    OtherOperation,
    OurOperation,
    Retried,
    Degraded,
    NotBegun,
    Drifted,
    Missing,
}

impl Clock {
    /// Whether it counts towards a failure, so that nothing may have been missed while it ran.
    fn is_harm(self) -> bool {
        matches!(
            self,
            Self::Unparsable | Self::Degraded | Self::Drifted | Self::Missing | Self::Retried
        )
    }
}

/// What a clock does at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tick {
    /// It runs, or begins to; with another mark than before, it begins anew.
    Run(Option<Timestamp>),
    /// It goes on if it runs.
    Keep,
    /// It stops.
    Stop,
}

/// Since when what lasts was seen, in watched time, and its mark.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Clocks(BTreeMap<Clock, (Duration, Option<Timestamp>)>);

impl Clocks {
    /// Lets a clock run or stop.
    pub(super) fn tick(&mut self, clock: Clock, tick: Tick, watched: Duration) {
        match tick {
            Tick::Run(mark) => {
                let begun = (watched, mark);
                let entry = self.0.entry(clock).or_insert(begun);
                if entry.1 != mark {
                    *entry = begun;
                }
            }
            Tick::Keep => {}
            Tick::Stop => {
                self.0.remove(&clock);
            }
        }
    }

    /// Since when a clock runs.
    pub(super) fn since(&self, clock: Clock) -> Option<Duration> {
        self.0.get(&clock).map(|(since, _)| *since)
    }

    /// How long a clock has run.
    pub(super) fn held(&self, clock: Clock, watched: Duration) -> Duration {
        self.since(clock)
            .map_or(Duration::ZERO, |since| watched.saturating_sub(since))
    }

    /// Stops what counts towards a failure.
    pub(super) fn stop_harm(&mut self) {
        self.0.retain(|clock, _| !clock.is_harm());
    }

    /// This clock alone.
    pub(super) fn only(&self, clock: Clock) -> Self {
        let begun = self.0.get(&clock).copied();
        Self(begun.map(|begun| (clock, begun)).into_iter().collect())
    }
}
