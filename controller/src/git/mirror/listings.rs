//! Which listing of the remote's branches is the newest, for whoever must know that it began behind something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the listings of one mirror; copies count together.
#[derive(Debug, Clone, Default)]
pub struct Listings(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    shown: AtomicU64,
}

impl Listings {
    /// How many were begun: one that bears a higher number begins behind this moment.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::SeqCst)
    }

    /// The number of the newest whose branches the mirror shows; 0 before the first. Ask before the mirror is read.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.0.shown.load(Ordering::SeqCst)
    }

    /// One begins; gives its number.
    pub(crate) fn begin(&self) -> u64 {
        self.0.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The mirror shows what this one found.
    pub(crate) fn show(&self, number: u64) {
        self.0.shown.fetch_max(number, Ordering::SeqCst);
    }
}
