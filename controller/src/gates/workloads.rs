//! Whether the objects of a region are healthy at the revision that was promoted to it, from what its API server says.
//!
//! Nothing here asks, waits or reads a clock. A caller reads the tree's manifests ([`Wanted`]), asks the API server for each of
//! them and for the pods, `ReplicaSet`s and `ControllerRevision`s of their namespaces, makes of the answers what the rules
//! need ([`Snapshot`], [`Pod`], [`Owned`], together [`Live`]), and lets [`judge`] say what it means. [`Memory`] carries what was seen from
//! look to look; [`Baseline`] has what was wrong before the promotion, which is no evidence against it.
//!
//! Harm is said on positive evidence alone, and so is health: an object counts only if it is as it was rendered, by a status
//! of its newest generation, and pods count only if they run the new revision. The deadline (P20) is the caller's, see [`Rule`].

mod asking;
mod baseline;
mod gate;
mod judge;
mod k0rdent;
mod limits;
mod line;
mod live;
mod memory;
mod object;
mod pods;
mod quantity;
mod resources;
mod rights;
mod rules;
mod same;
mod verdict;

#[cfg(test)]
mod tests;

pub use self::baseline::Baseline;
pub use self::gate::{RegionMemory, WorkloadsGate};
pub use self::judge::judge;
pub use self::limits::Limits;
pub use self::live::{Listing, Live, Reading, Related};
pub use self::memory::Memory;
pub use self::object::{NoObject, Snapshot, Wanted};
pub use self::pods::{Owned, Pod};
pub use self::rights::Needed;
pub use self::same::{Difference, IgnoredPath, Sameness, same};
pub use self::verdict::{Kind, Rule, Verdict};
