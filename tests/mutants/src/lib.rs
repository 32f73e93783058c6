//! Deliberate breakages of the rules, each of which a named test has to notice.
//!
//! A [`Mutant`] is one place in the sources with another text in its stead, and the test that must then fail. The
//! [`running`] of the list puts one at a time into a copy of the sources, builds what the test needs and asks it. A mutant
//! that survives is a missing test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a list that does not fit the sources, or sources that cannot be copied, is a panic with what was expected"
)]

mod build;
mod check;
pub mod list;
pub mod running;
mod scratch;

pub use check::Check;
pub use list::Mutant;
