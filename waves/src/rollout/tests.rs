//! The state machine in a small world: stories, and properties over random ones.

mod auditor;
mod branches;
mod evidence;
mod fleet;
mod format;
mod late;
mod newer;
mod order;
mod people;
mod priorities;
mod properties;
mod recovered;
mod region_reverts;
mod reverts;
mod safety;
mod shared_cause;
mod stories;
mod too_few;
mod verbs;
mod verbs_page;
mod world;
