//! What failed does not come back by itself: neither the commit nor its content.

use std::collections::BTreeSet;

use super::observation::{Candidate, ValidCandidate};
use super::opening::Against;
use super::state::{FleetState, HoldReason, Quarantined};
use crate::oid::Oid;

/// Why a candidate is quarantined, if it is and nothing waives that.
pub(super) fn quarantined(
    state: &FleetState,
    candidate: &Candidate,
    valid: &ValidCandidate,
) -> Option<Against> {
    let fixed = fixed_by(candidate);
    state
        .quarantine
        .iter()
        .filter(|item| !item.isolated && !fixed.contains(&item.source))
        .find_map(|item| against(state, item, valid))
}

/// The commits that the range says it fixes.
fn fixed_by(candidate: &Candidate) -> BTreeSet<Oid> {
    candidate
        .commits
        .iter()
        .flat_map(|commit| commit.fixes.iter().copied())
        .collect()
}

/// Quarantined commits that stand against a candidate and are waived: because it fixes them, or because a
/// person said `retry`.
pub(super) fn waived(
    state: &FleetState,
    candidate: &Candidate,
    valid: &ValidCandidate,
    retry: bool,
) -> BTreeSet<Oid> {
    let fixed = fixed_by(candidate);
    state
        .quarantine
        .iter()
        .filter(|item| !item.isolated && (retry || fixed.contains(&item.source)))
        .filter(|item| against(state, item, valid).is_some())
        .map(|item| item.source)
        .collect()
}

fn against(state: &FleetState, item: &Quarantined, valid: &ValidCandidate) -> Option<Against> {
    let receives: Vec<String> = item
        .digests
        .iter()
        .filter(|(region, digest)| {
            valid
                .wanted
                .regions
                .get(*region)
                .is_some_and(|planned| planned.tree == **digest)
                && state.last_good.get(*region).map(|good| good.tree) != Some(**digest)
        })
        .map(|(region, _)| region.clone())
        .collect();
    let facts = valid
        .quarantine
        .iter()
        .find(|fact| fact.source == item.source);
    let why = if facts.is_some_and(|fact| fact.contained && !fact.undone) {
        "it is, or contains, that commit, and nothing has undone it"
    } else if facts.is_some_and(|fact| fact.contained && fact.landed_again) {
        "the same change was landed again"
    } else if receives.is_empty() {
        return None;
    } else {
        "a region would receive the same content"
    };
    let message = format!(
        "{} failed before ({}): {why}; revert or fix it, name it in a `Tidegate-Fixes:` trailer, or retry",
        item.source.short(8),
        item.reason
    );
    Some((HoldReason::Quarantined, message, receives))
}
