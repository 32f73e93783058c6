//! How a rollout ends: what failed, what is sealed before, and how far the revert is.

use serde::{Deserialize, Serialize};

use crate::oid::Oid;

/// Why a region failed: a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureReason {
    /// A gate showed harm.
    Harm,
    /// Not healthy by the deadline.
    TimedOut,
    /// Nothing could be learnt by the deadline, and the policy counts that as a failure.
    Unreachable,
    /// A person asked for the revert.
    Requested,
}

impl FailureReason {
    /// The whole list.
    pub const ALL: [Self; 4] = [
        Self::Harm,
        Self::TimedOut,
        Self::Unreachable,
        Self::Requested,
    ];
}

/// What went wrong, and on which evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Why.
    pub reason: FailureReason,
    /// The wave; empty if a person asked.
    pub wave: String,
    /// The region; empty if a person asked.
    pub region: String,
    /// The gate; empty if none decided it.
    pub gate: String,
    /// The tree that was judged.
    pub tree: Option<Oid>,
    /// The evidence in one line.
    pub evidence: String,
}

/// The ending that a `Sealing` entry prepares; from then on only that ending follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "ending")]
pub enum Sealing {
    /// The rollout fails.
    Failed {
        /// On this evidence.
        failure: Failure,
    },
    /// A newer commit takes its place.
    Superseded {
        /// That commit.
        by: Oid,
    },
    /// A person ends it.
    Aborted {
        /// Who asked for it, and why.
        reason: String,
        /// Whether the branches stay as they are.
        keep: bool,
    },
}

/// How far the revert of the config branch is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum SourceRevert {
    /// Nothing to revert (yet).
    None,
    /// The revert commit is to be pushed.
    Wanted,
    /// The server refuses it (or the policy says so): a branch for a pull request is pushed instead.
    Proposing,
    /// The branch for the pull request is there.
    Proposed {
        /// The revert commit.
        commit: Oid,
    },
    /// The revert is on the config branch.
    Pushed {
        /// The revert commit.
        commit: Oid,
    },
    /// The config branch no longer holds the change (somebody reverted it).
    NotNeeded,
    /// The policy says never, or a person aborted.
    NotWanted,
    /// No merge can take the change back; a person has to.
    Impossible,
}

/// What keeps a revert from being made by a merge alone. The pull request's branch then stands on the failed
/// commit itself and has the content of the commit that the rollout started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum RevertObstacle {
    /// Later commits changed the same places.
    Conflict {
        /// The first few of the paths that conflict.
        paths: Vec<String>,
        /// How many conflict.
        count: usize,
    },
    /// The source that the rollout started from is not on the failed source's first-parent chain.
    NotOnChain,
}

impl std::fmt::Display for RevertObstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Conflict { paths, count } => {
                write!(f, "it conflicts with later commits in {}", paths.join(", "))?;
                match count.saturating_sub(paths.len()) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::NotOnChain => {
                f.write_str("the rollout did not start from a first-parent ancestor of its commit")
            }
        }
    }
}

impl SourceRevert {
    /// Whether the next rollout need not wait for it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !matches!(self, Self::Wanted | Self::Proposing)
    }
}
