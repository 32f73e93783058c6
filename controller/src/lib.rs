//! The program's rooms: everything that touches the world.

pub mod cli;
pub mod clock;
pub mod gates;
pub mod git;
pub mod identity;
pub mod render_worker;
pub mod repo_template;
pub mod secret;
pub mod settings;
pub mod source;
pub mod store;
pub mod telemetry;
