//! The carrying of one source commit through all waves: its state, and the one function that decides.
//!
//! [`decide`] takes the state that the log's tip holds, what one process counts ([`Watch`]), what was
//! seen ([`Observations`]) and the time, and gives at most one entry to append to the log, the pushes
//! that the log already allows, and what is to be sampled. It does nothing itself.
//!
//! The rules stand one subject a file, and are asked in this order; the first that has something to
//! write writes it:
//!
//! 1. `branches`: intents are closed by irreversible facts; commits that are not ours are drift.
//! 2. `failure`: a give-back under way, a sealing under way, harm.
//! 3. `requests`: what people ask for is answered.
//! 4. `progress`: holds end or begin, waves pass, regions are promoted.
//! 5. `opening`: the config branch's head is compared and opened.
//!
//! What regions have come to meanwhile rides on whatever entry is written, or, at most once a gate
//! interval, on a `Progress` entry of its own.

mod branches;
mod decision;
mod failure;
mod files;
mod holds;
mod judged;
mod observation;
mod opening;
mod progress;
mod promotion;
mod quarantine;
mod requests;
mod state;
mod turn;
mod watch;

pub use decision::{Append, Place, Probe, PushOrder, Step, present_probes};
pub use files::{StateFilesError, from_files, to_files};
pub use observation::{
    BranchView, Candidate, CandidateOutcome, CommitView, ConfigView, Finding, Now, Observations,
    Phase, PushOutcome, PushReport, QuarantineFact, RecoveredSums, RegionSample, Request,
    RequestOption, RevertFacts, RevertResult, ValidCandidate, Verb,
};
pub use opening::{create, would_be_held};
pub use state::{
    Asked, Baseline, Branch, EarlierTree, Failure, FailureReason, FleetIdentity, FleetState, Hold,
    HoldReason, Inherited, LastGood, LeftOut, Owed, Placement, Quarantined, RegionRun, RegionState,
    RevertObstacle, Rollout, RolloutState, Sealing, Settled, SourceCommit, SourceRevert, Timestamp,
    Waiver, WaveRun, WaveState,
};
pub use turn::decide;
pub use watch::{RegionWatch, Watch};

#[cfg(any(test, feature = "simulation"))]
#[allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "a world for tests: what cannot be there ends the test, and names speak for themselves"
)]
pub mod simulation;

#[cfg(test)]
mod tests;
