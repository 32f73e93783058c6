//! The program's rooms: everything that touches the world.

pub mod alerts;
pub mod audit;
mod blocking;
pub mod cli;
pub mod clock;
pub mod crash;
pub mod doctor;
pub mod engine;
pub mod explain;
pub mod forge;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod gates;
pub mod git;
mod http_answer;
pub mod identity;
pub mod regions;
pub mod render_worker;
pub mod repo_template;
pub mod reporting;
pub mod requests;
pub mod schema;
pub mod secret;
pub mod settings;
mod signatures;
pub mod source;
pub mod status;
pub mod store;
pub mod telemetry;
