//! End-to-end tests: the real binary against real servers.

// Clippy's leave for tests ends at their helper functions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod alerts;
mod azure;
mod bad_input;
mod cli_help;
mod clusters;
mod crash;
mod documents;
mod faults;
mod forge_github;
mod forge_story;
mod git;
mod gitea;
mod init;
mod plan;
mod render;
mod render_worker;
mod rollout;
mod sandbox;
mod secrets;
mod settle;
mod several_controllers;
mod ssh;
mod telling;
mod testkit;
mod validate;

use tidegate_testkit::{journal_audit, small_fleet};
