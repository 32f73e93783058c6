//! The program's rooms: everything that touches the world.

pub mod cli;
pub mod clock;
pub mod gates;
pub mod git;
pub mod render_worker;
pub mod repo_template;
pub mod secret;
pub mod settings;
