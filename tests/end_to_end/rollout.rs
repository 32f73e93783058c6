//! The main job, whole: the real program against a real git server and real followers, judged by git alone.

mod audit;
mod bad;
mod drift;
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
