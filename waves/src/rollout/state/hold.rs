//! Holds: what advancing waits for.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use crate::oid::Oid;

/// Why advancing stopped: a closed list; scripts match on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HoldReason {
    /// A person asked for it.
    Requested,
    /// The content failed before.
    Quarantined,
    /// Policy and content change in one commit.
    PolicyWithContent,
    /// Too many of a region's objects would be deleted.
    DeletionGuard,
    /// An object of a protected kind would be deleted.
    ProtectedKind,
    /// A region would be removed.
    RegionRemoval,
    /// A failure before anything ever succeeded.
    FirstRolloutFailed,
    /// A failure where the policy says hold.
    OnFailureHold,
    /// A region was ill before its promotion and still is.
    AlreadySick,
    /// The operator's egress rules forbid a gate's address.
    EgressDenied,
    /// Somebody else pushed to a wave branch.
    Drift,
    /// A wave branch was deleted.
    BranchDeleted,
    /// History that the log builds on is gone.
    HistoryRewritten,
    /// The log is damaged, deleted or rewound.
    LogDamaged,
    /// The server refuses a push.
    PushRefused,
    /// The revert of the config branch waits for a pull request.
    RevertPullRequest,
    /// The config branch cannot be reverted by a merge.
    RevertImpossible,
    /// A region does not stay healthy for its bake.
    Unstable,
    /// Nothing could be learnt of a region by its deadline.
    Unreachable,
    /// Regions without the change turned ill too.
    SharedCause,
}

impl HoldReason {
    /// The whole list.
    pub const ALL: [Self; 20] = [
        Self::Requested,
        Self::Quarantined,
        Self::PolicyWithContent,
        Self::DeletionGuard,
        Self::ProtectedKind,
        Self::RegionRemoval,
        Self::FirstRolloutFailed,
        Self::OnFailureHold,
        Self::AlreadySick,
        Self::EgressDenied,
        Self::Drift,
        Self::BranchDeleted,
        Self::HistoryRewritten,
        Self::LogDamaged,
        Self::PushRefused,
        Self::RevertPullRequest,
        Self::RevertImpossible,
        Self::Unstable,
        Self::Unreachable,
        Self::SharedCause,
    ];

    /// Whether it may end without a person or a commit.
    #[must_use]
    pub fn may_end_by_itself(self) -> bool {
        matches!(self, Self::Unreachable | Self::SharedCause)
    }

    /// Whether it concerns a commit that has not opened a rollout, and is ended by approval or a newer one.
    #[must_use]
    pub fn is_before_opening(self) -> bool {
        matches!(
            self,
            Self::Quarantined
                | Self::PolicyWithContent
                | Self::DeletionGuard
                | Self::ProtectedKind
                | Self::RegionRemoval
        )
    }

    /// Whether `approve` can answer it.
    #[must_use]
    pub fn asks_for_approval(self) -> bool {
        matches!(
            self,
            Self::PolicyWithContent
                | Self::DeletionGuard
                | Self::ProtectedKind
                | Self::RegionRemoval
        )
    }

    /// Whether the next valid commit ends it by superseding the rollout that it holds.
    #[must_use]
    pub fn yields_to_a_commit(self) -> bool {
        !matches!(
            self,
            Self::Requested
                | Self::Drift
                | Self::BranchDeleted
                | Self::HistoryRewritten
                | Self::LogDamaged
                | Self::RevertPullRequest
                | Self::RevertImpossible
                | Self::PushRefused
        )
    }

    /// Whether it stops the present rollout from advancing (or, where there is none, the next from opening).
    #[must_use]
    pub fn stops_advancing(self) -> bool {
        !matches!(self, Self::RevertPullRequest | Self::RevertImpossible)
    }
}

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub since: Timestamp,
    /// One sentence for people.
    pub message: String,
    /// The source commit that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Oid>,
    /// The rollout that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
    /// The wave that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// The regions that it concerns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// When a hold by request ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Hold {
    /// Whether it is about a source commit that waits, and not about a rollout.
    #[must_use]
    pub fn is_of_a_commit(&self) -> bool {
        self.source.is_some() && self.rollout.is_none()
    }
}
