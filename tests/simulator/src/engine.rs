//! The production engine, [`tidegate_controller::engine::Engine`], with the production renderer, git objects and
//! judgement of gates' answers, in a world of simulated time.
//!
//! * `schedule`: a seed stands for a fleet, its controllers and a list of `event`s.
//! * `process`: a controller's process is a runtime of its own whose clock stands still unless the world lets it go on,
//!   so that it can be stopped, suspended or killed between any two effects.
//! * `server`, `remote`, `objects`: a git server in memory that loses, delays, repeats and refuses pushes, and
//!   goes on with what it was sent after the sender's death; each controller has a bare repository of its own.
//! * `regions`: followers that apply their wave's branch after a while, and answer gates.
//! * `people`: commits, requests, and whatever people do to branches that are not theirs.
//! * `run`: it all happens, comes to rest, and is judged by `judging`, `journal` and `bakes`.

mod bakes;
pub mod event;
pub mod exploring;
mod journal;
mod judging;
mod objects;
mod people;
mod process;
mod regions;
mod remote;
pub mod run;
pub mod schedule;
mod server;
mod settling;
mod world;
