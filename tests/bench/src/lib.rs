//! The fleets that benchmarks are made on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a measurement that cannot go on fails by a panic"
)]

pub mod generator;
