//! What the end-to-end tests stand on: real git servers, fakes for services that cannot run here,
//! and a driver for the real `tidegate` binary.
//!
//! Everything here is for tests: what goes wrong panics with a message that says what was expected.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a test that cannot go on fails by a panic"
)]

pub mod argocd;
pub mod audience;
pub mod branch_health;
pub mod canaries;
pub mod certificates;
pub mod fake_entra;
pub mod fake_github;
pub mod git_answer;
pub mod git_server;
pub mod gitea;
pub mod http;
pub mod https;
pub mod journal;
pub mod journal_audit;
pub mod kubelet;
pub mod kubernetes;
pub mod process_sampler;
pub mod regions;
pub mod relay;
pub mod requests;
pub mod small_disk;
pub mod small_fleet;
pub mod ssh_server;
pub mod stack;
pub mod tidegate;
pub mod wait;
pub mod way;
pub mod work;
