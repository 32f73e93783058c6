//! Every order of events, within bounds, over the production decision function, [`tidegate_waves::rollout::decide`].
//!
//! * [`configuration`]: what happens, and how often: the bounds.
//! * [`event`]: what can happen in a state, and what comes of it: the production function decides, in the world of
//!   `tidegate-waves`, and its auditor judges every step.
//! * [`state`]: a world as the search knows it again: by what its future depends on, and by nothing else
//!   (`tidegate_waves::rollout::simulation::projection`).
//! * [`undisturbed`]: where it may end. [`model`]: the properties. [`mutant`]: rules broken on purpose.

pub mod configuration;
pub mod event;
pub mod model;
pub mod mutant;
pub mod state;
pub mod undisturbed;

/// The region of a wave.
pub(crate) fn region_of(wave: &str) -> &'static str {
    configuration::WAVES
        .iter()
        .zip(configuration::REGIONS)
        .find(|(name, _)| **name == wave)
        .map_or("", |(_, region)| region)
}
