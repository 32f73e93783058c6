//! Hostile input: a target for every parser of outside bytes.
//!
//! * [`targets`]: plain functions over bytes. Each panics where its parser does, and where something that always holds
//!   does not: a round trip, a bound, a message that is one plain line.
//! * [`corpus`]: the inputs that are kept, in `corpus/TARGET/`. `cargo test -p tidegate-fuzz` replays them all.
//! * [`engine`], [`table`]: libFuzzer over the same functions, by `cargo run -p tidegate-fuzz -- run`.

pub mod corpus;
pub mod engine;
pub mod table;
pub mod targets;
