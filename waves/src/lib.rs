//! What a rollout *is*: the fleet's vocabulary and the state machine.
//!
//! This crate is pure. It does no I/O, reads no clock, draws no random number and spawns nothing:
//! the same inputs give the same outputs, so that the very functions which run in production can be
//! driven by a model checker, a simulator and property tests. It knows nothing of git, HTTP or
//! Kubernetes either; object ids are opaque [`oid::Oid`]s.
//!
//! * [`fleet`]: the documents an engineer writes (fleet, regions, gates, policy).
//! * [`selector`], [`amount`], [`duration`]: the small languages inside those documents.
//! * [`plan`]: who goes when; what a rollout froze at its opening.
//! * [`gate`]: samples in, gate state out.

pub mod amount;
pub mod duration;
pub mod fleet;
pub mod gate;
pub mod log;
pub mod oid;
pub mod plan;
pub mod rollout;
pub mod selector;
