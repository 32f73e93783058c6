//! The state machine in a small world: stories, and properties over random ones.

mod stories;
mod world;
