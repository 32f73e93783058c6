//! The rules on answers as an API server gives them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod asking;
mod before;
mod fixtures;
mod others;
mod pods;
mod properties;
mod regions;
mod sameness;
mod table;
mod workloads;
