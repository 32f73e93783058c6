//! Git: one bare mirror per fleet, and the remote that it mirrors.
//!
//! # Who may call what
//!
//! A [`mirror::Mirror`] is owned by one task. Its folder is guarded by a file lock, so that two processes
//! never share one; within the process, `&mut self` on what changes its refs keeps calls apart. Objects may be
//! read and written by others at the same time (through `ObjectStore` and [`history::History`], each with a
//! handle of its own): git objects never change, and nothing here ever deletes one.
//!
//! # What always holds
//!
//! * There is no work tree, no index, no checkout. The refs of the mirror live below `refs/remotes/origin/`
//!   and only tell the next fetch what is here already; what the remote has is a [`mirror::RefView`] alone.
//! * Every ref update on the remote is a compare-and-swap on the old id, and a fast-forward that was checked
//!   here first. Nothing here can send a deletion or a forced update: [`push::RefUpdate`] has no form for it.
//! * The answer to a push is read per ref. What is not clearly understood is
//!   [`push::RefOutcome::Ambiguous`]: only reading the remote again tells what happened.
//! * No secret is in an argument list, an error or a log; see [`child`].
//! * A mirror is a cache. One that is damaged is thrown away and made anew from the remote.
//!
//! # One listing is no snapshot
//!
//! A server lists its refs one after the other while others push, so that a listing may show a log that is newer
//! than the branches beside it: branches that lack what the log calls applied, as if somebody had rewound them.
//! A [`mirror::RefView`] is therefore one of three things:
//!
//! * a listing that shows what the view before showed, and what this mirror has pushed since;
//! * a listing in which the log stands where it stood and no branch was rewound or is gone: whatever that log calls
//!   applied was on the branches before they were read. Branches may be newer than the log; a decision that rests
//!   on that is written by compare-and-swap on the log, and lost;
//! * two listings that agree, with the fetch between them: refs only move forward, so a ref that is the same in
//!   both did not move in between, and at the moment between them all refs were what the view says.

pub mod child;
pub mod failure;
pub mod history;
pub mod mirror;
pub mod push;
pub mod remote;
pub mod ssh;
pub mod trailers;
