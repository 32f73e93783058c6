//! The state machine in a small world: stories, and properties over random ones.

mod auditor;
mod branches;
mod evidence;
mod fleet;
mod newer;
mod order;
mod people;
mod stories;
mod world;
