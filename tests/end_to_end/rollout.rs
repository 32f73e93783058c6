//! The main job, whole: the real program against a real git server and real followers, judged by git alone.

mod audit;
mod audit_command;
mod bad;
mod book;
mod drift;
mod explain;
mod fleet;
mod good;
mod guards;
mod log;
mod newer;
mod policy;
mod requests;
mod signatures;
mod verbs;
mod views;
