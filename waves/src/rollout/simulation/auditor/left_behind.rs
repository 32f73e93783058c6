//! What a give-back has forgotten.

use super::super::world::World;
use crate::rollout::{HoldReason, RolloutState};

/// Regions that still have the tree of a rollout that was given back, though nothing stands in the way.
pub fn left_behind(world: &World) -> Vec<String> {
    let state = world.state();
    let Some(rollout) = state.rollout.as_ref() else {
        return Vec::new();
    };
    let given_back = matches!(
        rollout.state,
        RolloutState::RolledBack | RolloutState::RollbackIncomplete
    );
    let undisturbed = state.holds.iter().all(|hold| {
        matches!(
            hold.reason,
            HoldReason::Quarantined | HoldReason::RevertPullRequest | HoldReason::RevertImpossible
        )
    });
    if !given_back || !undisturbed {
        return Vec::new();
    }
    rollout
        .plan
        .regions
        .iter()
        .filter(|(region, planned)| {
            world.running(region) == Some(planned.tree)
                && world
                    .last_good(region)
                    .is_some_and(|good| good != planned.tree)
                && rollout
                    .region(region)
                    .is_some_and(|(_, run)| run.before.is_some())
        })
        .map(|(region, _)| region.clone())
        .collect()
}
