//! What a commit *means* for each region: source tree in, region trees and a plan out.
//!
//! This crate is pure but for the object store that is handed to it: it opens no file, starts no
//! process by itself and reads no clock. Equal input gives equal bytes.

pub mod cache;
pub mod config;
pub mod diff;
pub mod guard;
pub mod manifest;
pub mod problem;
pub mod render;
pub mod source;
pub mod suggest;
pub mod template;
pub mod text;
pub mod tree;
pub mod values;
pub mod worker;
pub mod yaml;
