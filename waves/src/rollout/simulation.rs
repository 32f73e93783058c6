//! A small world in memory around [`super::decide`], and an auditor that reads what came of it.
//!
//! For tests alone: of this crate, and, by the feature `simulation`, of the simulator and the model checker.

pub mod auditor;
pub mod fleet;
pub mod network;
pub mod projection;
pub mod world;
