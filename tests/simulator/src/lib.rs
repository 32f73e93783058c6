//! The production decision function, [`tidegate_waves::rollout::decide`], in a world in memory.
//!
//! * [`schedule`]: a seed stands for a fleet and a list of [`event`]s: commits, illness, faults of the network, crashes,
//!   clocks, vandals, people.
//! * [`run`]: they happen, and after each of them everything that was promised is checked: by the auditor of
//!   `tidegate-waves`, and against the real time for which regions were healthy. At the end all faults are taken away and it
//!   must come to rest, and people who answer what waits must get what they want.
//! * [`exploring`]: many seeds; [`shrinking`]: the fewest events that break something; [`coverage`]: what met what;
//!   [`aiming`]: schedules for what seeds hardly bring together.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mimalloc::MiMalloc;

/// Half of a run's time would go into the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

pub mod aiming;
mod bakes;
pub mod coverage;
pub mod engine;
pub mod event;
pub mod exploring;
pub mod run;
pub mod schedule;
mod settling;
pub mod shrinking;

/// A run that panics has broken something as well.
pub(crate) fn attempt(run: impl FnOnce() -> run::Report) -> run::Report {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        run::Report {
            history: tidegate_waves::oid::Oid::ZERO,
            coverage: coverage::Coverage::default(),
            broken: Some(run::Broken {
                after: None,
                wrong: vec![format!("a panic: {text}")],
                story: String::new(),
            }),
            entries: 0,
            decisions: 0,
            kinds: std::collections::BTreeSet::new(),
        }
    })
}
