//! The state machine in a small world: stories, and properties over random ones.

mod auditor;
mod evidence;
mod order;
mod stories;
mod world;
