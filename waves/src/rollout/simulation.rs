//! A small world in memory around [`super::decide`], and an auditor that reads what came of it.
//!
//! For tests alone: of this crate, and, by the feature `simulation`, of the simulator and the model checker.

mod answers;
pub mod auditor;
mod controllers;
pub mod fleet;
mod looks;
pub mod network;
pub mod projection;
mod time;
pub mod world;
