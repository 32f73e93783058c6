//! Every order of events, within bounds, over the production decision function.

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
