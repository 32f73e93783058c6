//! The state machine in a small world: stories, and properties over random ones.

use super::simulation::{auditor, world};

mod branches;
mod evidence;
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
mod rewritten;
mod safety;
mod shared_cause;
mod silence;
mod stories;
mod too_few;
mod verbs;
mod verbs_page;
