//! What the controller saw: the only way in which the world reaches a decision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::{HoldReason, SourceCommit, Timestamp};
use crate::gate::Sample;
use crate::oid::Oid;
use crate::plan::Wanted;

/// What time it is. Durations come from `monotonic` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed point of this process; never goes back, stands still while the machine sleeps.
    pub monotonic: Duration,
    /// For records and for people.
    pub wall: Timestamp,
}

/// Everything that was seen since the last decision, and what is so at present.
///
/// The branches must have been listed *after* the log: then a branch that lacks what the log calls
/// applied was rewritten or deleted, and is not merely an older view.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observations {
    /// This controller's identity.
    pub me: String,
    /// How long another controller's log tip must stand still before this one takes over.
    pub takeover_after: Duration,
    /// How long a push may take.
    pub push_deadline: Duration,
    /// The branches, by full ref: those of all waves that state or candidate name, the config branch, and
    /// every other ref that an open intent names. A ref that is not here does not exist.
    pub branches: BTreeMap<String, BranchView>,
    /// The config branch, and what its head asks for.
    pub config: ConfigView,
    /// Requests that are not answered yet, oldest first.
    pub requests: Vec<Request>,
    /// Samples taken since the last decision, in the order in which they were taken.
    pub samples: Vec<RegionSample>,
    /// Answers to pushes since the last decision.
    pub pushes: Vec<PushReport>,
    /// Bake sums of an earlier run of this process, by region, for the rollout under way.
    pub recovered: BTreeMap<String, RecoveredSums>,
}

/// What an earlier run of this process had counted for a region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecoveredSums {
    /// The bake.
    pub baked: Duration,
    /// The watched time without having been healthy.
    pub deadline_used: Duration,
    /// The log's epoch when it was counted. In any other, or once somebody else holds the log, it says nothing
    /// about what stands there now, and is not used.
    pub epoch: Option<u64>,
}

/// One branch as the remote has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BranchView {
    /// The branch's commit.
    pub tip: Oid,
    /// The first-parent chain from (not including) the newest commit that the log knows to the tip, oldest
    /// first. Empty if they are the same, or if the log's commit is not on the chain.
    pub chain: Vec<CommitView>,
    /// Those of the commits that the state names for this branch (its tip, olds and news of intents) which
    /// are the tip or an ancestor of it.
    pub contains: BTreeSet<Oid>,
}

/// One commit of a wave branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitView {
    /// The commit.
    pub id: Oid,
    /// The trees of the folders at its root.
    pub folders: BTreeMap<String, Oid>,
}

/// The config branch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConfigView {
    /// Its head; `None` if there is no such branch.
    pub head: Option<Oid>,
    /// What is to be opened next, if the head is not the settled source and has been rendered.
    pub candidate: Option<Candidate>,
    /// Whether the head neither is nor descends from the source of the rollout under way: what is being carried was
    /// taken off the branch by rewriting it.
    pub lacks_rollout: bool,
    /// What it takes to revert the failed rollout, while that is wanted.
    pub revert: Option<RevertFacts>,
}

/// A source commit that might be opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The commit.
    pub source: Oid,
    /// The settled source that it was compared with.
    pub settled: Option<Oid>,
    /// The first-parent commits since the settled source, newest first.
    pub commits: Vec<SourceCommit>,
    /// Whether the settled source is on its first-parent chain (true if there is none).
    pub descends: bool,
    /// What it renders to.
    pub outcome: CandidateOutcome,
}

/// What a candidate renders to.
#[derive(Debug, Clone, PartialEq)]
pub enum CandidateOutcome {
    /// Nothing: it is not valid.
    Invalid {
        /// The first problem, in one line, and how many there are.
        message: String,
    },
    /// A plan.
    Valid(Box<ValidCandidate>),
}

/// A candidate that renders.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidCandidate {
    /// What it wants.
    pub wanted: Arc<Wanted>,
    /// The plan commit, made but not pushed yet.
    pub plan_commit: Oid,
    /// What a region would get back instead of its last good tree, where protected objects must stay.
    pub revert_trees: BTreeMap<String, Oid>,
    /// What the guards found, compared with last good trees.
    pub findings: Vec<Finding>,
    /// What is true of each quarantined commit.
    pub quarantine: Vec<QuarantineFact>,
}

/// Something that a guard found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which guard: one of the reasons that ask for approval.
    pub reason: HoldReason,
    /// The region.
    pub region: String,
    /// One sentence.
    pub message: String,
}

/// How a candidate relates to a quarantined commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineFact {
    /// The quarantined commit.
    pub source: Oid,
    /// Whether it is the candidate or an ancestor of it.
    pub contained: bool,
    /// Whether a commit on the candidate's first-parent chain after it undid it.
    pub undone: bool,
    /// Whether re-applying the failed range on the candidate changes nothing: it was landed again.
    pub landed_again: bool,
}

/// What it takes to revert a failed rollout on the config branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevertFacts {
    /// The rollout.
    pub rollout: String,
    /// The config branch's tip that was looked at.
    pub tip: Oid,
    /// What the merge gave.
    pub result: RevertResult,
}

/// What the three-way merge of a revert gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevertResult {
    /// The merge changes nothing, or an earlier revert of this rollout is an ancestor of the tip.
    Nothing,
    /// A tree for the revert commit.
    Clean {
        /// The tree.
        tree: Oid,
    },
    /// Later commits are in the way.
    Conflict {
        /// The first few of the paths that conflict, one line each.
        paths: Vec<String>,
        /// How many conflict.
        count: usize,
        /// The tree of the source that the rollout started from: a revert directly on the failed source.
        tree: Oid,
    },
    /// The source that the rollout started from is not on the failed source's first-parent chain.
    NotOnChain {
        /// Its tree; `None` if the rollout started from nothing.
        tree: Option<Oid>,
    },
    /// No branch leads to one of the two any more, and this controller does not have it.
    Gone,
}

/// Which gates a sample was taken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Before the promotion, with the gates of the region's last good tree.
    Before,
    /// After it, with the plan's gates.
    After,
    /// After the region was given back what it had, with the gates of that tree. Nothing is decided by it: gates that can
    /// hurry such a change do so.
    GivenBack,
}

/// One sample of one gate of one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionSample {
    /// The rollout it was taken for.
    pub rollout: String,
    /// The region.
    pub region: String,
    /// The gate.
    pub gate: String,
    /// Before or after the promotion.
    pub phase: Phase,
    /// When it was begun, by the process's monotonic clock.
    pub at: Duration,
    /// What it says.
    pub sample: Sample,
}

/// How the remote answered a push of one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushReport {
    /// The full ref.
    pub reference: String,
    /// The commit that was pushed.
    pub new: Oid,
    /// The answer.
    pub outcome: PushOutcome,
}

/// How the remote answered a push of one ref, as far as decisions depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushOutcome {
    /// The ref moved. (The branch itself is looked at again; nothing is concluded from the answer.)
    Moved,
    /// Somebody else was faster.
    LostRace,
    /// The server refuses: a hook, a protection, missing rights.
    Refused {
        /// What it said, in one line.
        message: String,
    },
    /// Anything unclear.
    Ambiguous,
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The commit on the requests branch.
    pub commit: Oid,
    /// Who, as the commit says; that alone proves nothing.
    pub author: String,
    /// Whom a good signature proves it to be from: the principal of an allowed key.
    pub verified: Option<String>,
    /// What for.
    pub verb: Verb,
    /// Which rollout it means, if it says.
    pub rollout: Option<String>,
    /// Which wave it means, if it says.
    pub wave: Option<String>,
    /// Which regions it means, if it says.
    pub regions: Vec<String>,
    /// Until when.
    pub until: Option<Timestamp>,
    /// Which source commit it means, if it says.
    pub to: Option<Oid>,
    /// How a resume treats drift.
    pub option: Option<RequestOption>,
    /// Why, in the person's words (one line).
    pub reason: String,
    /// Why it is refused whatever the state: unreadable, unsigned, older than the log.
    pub refused: Option<String>,
}

/// What a person can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Let through what waits for approval.
    Approve,
    /// Stop advancing.
    Hold,
    /// Go on.
    Resume,
    /// Stop waiting for regions.
    Skip,
    /// End now and give back what was touched.
    Abort,
    /// Try again what failed.
    Retry,
    /// Take the failure path by hand.
    Revert,
    /// Supersede, with no bake.
    Hotfix,
}

impl Verb {
    /// The word by which it is called and written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Hold => "hold",
            Self::Resume => "resume",
            Self::Skip => "skip",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Revert => "revert",
            Self::Hotfix => "hotfix",
        }
    }
}

/// How a request is to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestOption {
    /// Keep what somebody else pushed.
    Adopt,
    /// Put ours back.
    Restore,
    /// Leave the branches as they are.
    Keep,
}
