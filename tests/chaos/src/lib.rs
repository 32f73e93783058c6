//! The real program under disturbances, against a real git server.
//!
//! Two ways: [`soak`] lets three controllers work on one fleet at once while commits come at random and controllers
//! are killed and frozen; [`sweep`] takes every side effect of a handful of scenarios and disturbs the controller
//! exactly there. Both end with the same judgement: everything stands as if nothing had happened, and neither the
//! server's journal nor `tidegate audit` finds anything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a disturbance that cannot be made, or an end that is wrong, is a panic with what was expected"
)]

mod disturbed;
mod fault;
mod people;
mod process;
pub mod scenario;
pub mod soak;
pub mod sweep;
mod telling;

pub use fault::Fault;
