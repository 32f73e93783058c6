//! What the state of an Argo CD Application says about a region that was just promoted.
//!
//! Pure: the caller reads the Application, answers from git how commits stand to the promoted one, and carries out what a
//! verdict asks for. The first row of the table that matches decides; only rows 30 and 31 lead to a pass, and both ask for
//! positive evidence at this instant. Durations run on the caller's monotonic clock, from what this process saw itself;
//! timestamps of the cluster are compared with each other alone, as its clock may be anywhere.
//!
//! | row | when | verdict |
//! |---|---|---|
//! | 1 | no Application, or fewer than declared ([`judge_region`]) | blocked |
//! | 2 | not found, being deleted, recreated | wait, then blocked |
//! | 3 | reconciling is switched off | blocked |
//! | 4 | follows another repository, branch, folder or commit | blocked; wait while a move is open |
//! | 5 | no automated sync, and we may not sync | blocked |
//! | 6 | `InvalidSpecError`, `UnknownError`, `DeletionError` | wait, then blocked |
//! | 7 | comparison failed, sync or health unknown, no commit shown | wait, then hold; fail if our manifests cannot be parsed |
//! | 8 | compared with an older spec | wait |
//! | 9 | a sync window blocks the operation | hold |
//! | 10 | an operation for another commit | wait, then terminate or hold |
//! | 11 | shows a commit before ours, or one not fetched yet | wait |
//! | 12 | shows a commit after ours | superseded or hold |
//! | 13 | shows an unrelated commit | hold |
//! | 14 | the sync failed | fail; hold, and sync again where we may, if nothing could be reached |
//! | 15 | that failure is not of ours | row 14 is passed over |
//! | 16 | nothing was rendered there | fail |
//! | 17 | degraded as it was before the promotion | hold or wait |
//! | 18 | degraded for a short time | wait |
//! | 19 | degraded for longer, or again and again | fail |
//! | 20 | our operation runs | wait, then terminate and fail |
//! | 21 | our operation waits for a retry | wait, then fail; hold if nothing could be reached |
//! | 22 | out of sync, and our operation has not begun | wait, then sync or blocked |
//! | 23 | only what awaits pruning differs | passed over or hold |
//! | 24 | drifted since it was synced | wait, then hold or fail |
//! | 25 | lacks an object that was rendered | blocked |
//! | 26 | the comparison is too old to count | wait |
//! | 27 | progressing | wait (the region's progress deadline is the caller's) |
//! | 28 | missing | wait, then fail |
//! | 29 | suspended | hold or passed over |
//! | 30 | as wanted, for a short time | soak |
//! | 31 | as wanted, for `stable_for` and through a reconcile | pass |
//!
//! What must last before it fails (rows 7, 18 to 21, 24 and 28) holds after its time until a comparison newer than that shows it
//! still: a status that nobody writes any more shows it for ever, and says nothing. So does what goes on (rows 20, 21, 27 and
//! 30) while a refresh is not answered, or nothing was compared for `stale_after`.
//!
//! `tests/rows.rs` says which test is of which row; the case of each row is also run without that row.

mod application;
mod case;
mod chosen;
mod clocks;
mod coverage;
mod expected;
mod gate;
mod instance;
mod judged;
mod limits;
mod look;
mod memory;
mod messages;
mod operation;
mod progress;
mod read;
mod region_judge;
mod region_memory;
mod rows;
mod sight;
mod syncing;
mod verdict;

pub use self::application::{
    Application, Automated, Compared, Condition, Destination, Health, HealthState, Resource,
    Source, SyncState, SyncStatus,
};
pub use self::expected::{Before, Expected, Revisions, Standing, is_same_repository};
pub(crate) use self::expected::{branch_name, trim_folder};
pub use self::gate::ArgocdGate;
pub(crate) use self::instance::Server;
pub(crate) use self::instance::objects_path;
pub use self::instance::{
    Instance, InstanceError, Listed, Refresh, Refreshed, Refreshing, ServerError,
};
pub use self::limits::Limits;
pub use self::memory::Memory;
pub use self::operation::{Failure, Operation, OperationState, Phase, RevisionList};
pub use self::read::ReadError;
pub use self::region_memory::RegionMemory;
pub use self::verdict::{Action, Kind, RegionVerdict, Verdict, judge, judge_region};

#[cfg(test)]
mod tests;
