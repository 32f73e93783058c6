//! The rules, deliberately broken: a search that does not find these would find nothing.

use tidegate_waves::gate::Reading;
use tidegate_waves::log::{EntryKind, MoveKind};
use tidegate_waves::rollout::{FleetState, Observations, Step};

/// One broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// Branches are pushed without a lease: whatever stands there is replaced.
    NoLease,
    /// The log is pushed without a lease: an entry is put on top of whatever stands there.
    NoLeaseOnTheLog,
    /// Branches are pushed before the entry that allows it stands.
    BranchBeforeIntent,
    /// What the log allows counts as done.
    IntentIsOutcome,
    /// A wave's passing is not written before the next one is promoted.
    PassedIsNotWritten,
    /// Whatever a region answers is healthy.
    AnythingIsHealthy,
    /// Who takes over does not raise the epoch.
    EpochIsKept,
    /// An ending is written without looking for open promotions.
    EndingsDoNotLook,
    /// What failed is not remembered.
    QuarantineIsForgotten,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::NoLease,
        Self::NoLeaseOnTheLog,
        Self::BranchBeforeIntent,
        Self::IntentIsOutcome,
        Self::PassedIsNotWritten,
        Self::AnythingIsHealthy,
        Self::EpochIsKept,
        Self::EndingsDoNotLook,
        Self::QuarantineIsForgotten,
    ];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mutant| format!("{mutant:?}") == name)
    }

    /// What the rules are shown instead of the log's state, where they look for an ending.
    pub(crate) fn shown(self, mut state: FleetState) -> FleetState {
        if self == Self::EndingsDoNotLook && is_unwanted(&state) {
            state
                .intents
                .retain(|intent| intent.draft.kind != MoveKind::Promote);
        }
        state
    }

    /// What the rules are shown instead of what was seen.
    pub(crate) fn seen(self, state: &FleetState, mut seen: Observations) -> Observations {
        match self {
            Self::AnythingIsHealthy => {
                for sample in &mut seen.samples {
                    sample.sample.reading = Reading::Healthy { proven: true };
                }
            }
            Self::IntentIsOutcome => {
                for intent in &state.intents {
                    if let Some(view) = seen.branches.get_mut(&intent.draft.reference) {
                        view.contains.insert(intent.new);
                    }
                }
            }
            _ => {}
        }
        seen
    }

    /// What is done instead of what the rules decided.
    pub(crate) fn decided(self, mut step: Step) -> Step {
        let Some(append) = step.append.as_mut() else {
            return step;
        };
        match (self, append.entry.kind) {
            (Self::PassedIsNotWritten, EntryKind::WavePassed) => {
                append.entry.kind = EntryKind::Intent;
            }
            (Self::EpochIsKept, EntryKind::TakeOver) => {
                append.next.epoch = append.next.epoch.saturating_sub(1);
            }
            (Self::QuarantineIsForgotten, EntryKind::Failed) => append.next.quarantine.clear(),
            _ => {}
        }
        step
    }
}

/// Whether what is being carried is not to be carried on.
fn is_unwanted(state: &FleetState) -> bool {
    state.hotfix.is_some()
}
