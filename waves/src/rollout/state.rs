//! The state that the log's tip holds: everything that decides what happens next.

mod ending;
mod hold;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::observation::Verb;
use crate::fleet::Gate;
use crate::log::Intent;
use crate::oid::Oid;
use crate::plan::Wanted;

pub use ending::{Failure, FailureReason, RevertObstacle, Sealing, SourceRevert};
pub use hold::{Hold, HoldReason};

/// Seconds since 1970, UTC: for people and records only; no duration is computed from it.
pub type Timestamp = i64;

/// What one log is about; fixed by its entry 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetIdentity {
    /// The fleet's name.
    pub name: String,
    /// The config branch, without `refs/heads/`.
    pub branch: String,
    /// The fleet's folder in the repo; empty is the root.
    pub path: String,
    /// The prefix of all refs of ours.
    pub prefix: String,
}

impl FleetIdentity {
    /// The full name of a wave's branch.
    #[must_use]
    pub fn wave_ref(&self, wave: &str) -> String {
        format!("refs/heads/{}/{wave}", self.prefix)
    }

    /// The full name of the log.
    #[must_use]
    pub fn log_ref(&self) -> String {
        self.wave_ref("log")
    }

    /// The full name of the branch of people's requests.
    #[must_use]
    pub fn requests_ref(&self) -> String {
        self.wave_ref("requests")
    }

    /// The full name of the config branch.
    #[must_use]
    pub fn config_ref(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }

    /// The full name of a revert pull request's branch.
    #[must_use]
    pub fn revert_ref(&self, rollout: &str) -> String {
        format!("refs/heads/tidegate-revert/{rollout}")
    }
}

/// The whole state of a fleet, as of one log entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetState {
    /// The version of this structure.
    pub schema: u32,
    /// What the log is about.
    pub fleet: FleetIdentity,
    /// The entry's number.
    pub seq: u64,
    /// The number of the newest entry that is no takeover.
    pub moved: u64,
    /// Raised by every takeover.
    pub epoch: u64,
    /// The identity of the controller that wrote the entry.
    pub holder: String,
    /// The newest settled source (G).
    pub settled: Option<Settled>,
    /// Whether any rollout has ever succeeded (or a fleet was adopted).
    pub proven: bool,
    /// The newest proven tree of each region.
    pub last_good: BTreeMap<String, LastGood>,
    /// What each wave branch holds, by wave.
    pub branches: BTreeMap<String, Branch>,
    /// Where each region's folder is to be found; becomes `regions.json`.
    pub placements: BTreeMap<String, Placement>,
    /// Moves that are allowed and not yet known to have happened or to be impossible.
    pub intents: Vec<Intent>,
    /// The newest rollout, under way or ended.
    pub rollout: Option<Rollout>,
    /// What stops advancing.
    pub holds: Vec<Hold>,
    /// What failed and must not come back by itself.
    pub quarantine: Vec<Quarantined>,
    /// Regions that a failed rollout added; they keep their trees, and no later plan counts them as removed.
    pub kept: BTreeSet<String>,
    /// Trees with which regions were skipped, or failed within what their wave tolerates: they stand on
    /// their branch, are not last good, and are no evidence against a later commit.
    pub set_aside: BTreeMap<String, Oid>,
    /// The newest head that was found invalid.
    pub invalid: Option<Oid>,
    /// A source commit that is not opened again by itself: its rollout was aborted.
    pub not_again: Option<Oid>,
    /// Source commits for which a person waived quarantine, guards or the above (`retry`, `approve`).
    pub waived: BTreeMap<Oid, Waiver>,
    /// The newest request that was answered.
    pub requests: Option<Oid>,
    /// A commit that a person asked to take over at once.
    pub hotfix: Option<Oid>,
    /// What was asked for that concerns the rollout that opens next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked_for_next: Vec<Asked>,
    /// By wave, regions that a promotion of a failed rollout reached late: they are owed their last good tree.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owed: BTreeMap<String, Owed>,
}

/// Regions that are owed their last good tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owed {
    /// The rollout that failed.
    pub rollout: Option<String>,
    /// Its source commit.
    pub source: Option<Oid>,
    /// The regions.
    pub regions: BTreeSet<String>,
    /// What they are given back, where that is not their last good tree alone: protected objects that the
    /// failed commit added stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trees: BTreeMap<String, Oid>,
}

/// What a person allowed for one source commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiver {
    /// Holds of these reasons were approved.
    pub approved: BTreeSet<HoldReason>,
    /// Its quarantine was waived, and it may be opened again.
    pub retry: bool,
    /// Only these regions are tried again, if there are any.
    pub regions: BTreeSet<String>,
}

/// The newest settled source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// The source commit.
    pub source: Oid,
    /// What it wanted.
    pub wanted: Arc<Wanted>,
}

/// A region's newest proven tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastGood {
    /// The source commit that brought it.
    pub source: Oid,
    /// The tree.
    pub tree: Oid,
    /// The gates that judged it, with the region's values in them.
    pub gates: Vec<Gate>,
}

/// What a wave branch holds, as of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Branch {
    /// The newest commit on it that the log knows; `None` while it does not exist.
    pub tip: Option<Oid>,
    /// The tree of each region's folder at that tip.
    pub folders: BTreeMap<String, Oid>,
    /// The tree that we last put into each region's folder; differs from `folders` after a drift.
    pub ours: BTreeMap<String, Oid>,
}

/// Where a region is to be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The name under which settings and Argo CD know its cluster.
    pub cluster: String,
    /// Its cloud location.
    pub location: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The wave whose branch holds its folder.
    pub wave: String,
}

/// What failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quarantined {
    /// The source commit of the failed rollout.
    pub source: Oid,
    /// The settled source before it: the failed range is `base..source`.
    pub base: Option<Oid>,
    /// The rollout.
    pub rollout: String,
    /// Per region, the digest that must not come back by itself.
    pub digests: BTreeMap<String, Oid>,
    /// Whether only the regions named are concerned (`onFailure: isolate`).
    pub isolated: bool,
    /// Why, in one line.
    pub reason: String,
}

/// One source commit of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceCommit {
    /// The commit.
    pub id: Oid,
    /// Who wrote it.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// The commits that its `Tidegate-Fixes` trailers name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<Oid>,
}

/// The carrying of one source commit through all waves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// `<first 8 of the source>-<number of its opening entry>`.
    pub id: String,
    /// The source commit.
    pub source: Oid,
    /// The first-parent commits that it carries, newest first.
    pub commits: Vec<SourceCommit>,
    /// The settled source when it opened.
    pub base: Option<Oid>,
    /// When it opened.
    pub opened: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The frozen plan.
    pub plan: Arc<Wanted>,
    /// The plan commit, whose tree holds every region's rendered tree.
    pub plan_commit: Oid,
    /// What the settled source wanted when it opened.
    pub base_wanted: Option<Arc<Wanted>>,
    /// Last good trees as its opening recorded them.
    pub base_last_good: Arc<BTreeMap<String, LastGood>>,
    /// What a region gets back, where that is not its last good tree alone: protected objects that the
    /// commit adds stay.
    pub revert_trees: BTreeMap<String, Oid>,
    /// Regions that the plan no longer has and whose removal was approved.
    pub removals: BTreeSet<String>,
    /// Whether no rollout had succeeded before: then a failure only holds.
    pub first: bool,
    /// Whether it was asked for as a hotfix: no bake.
    pub hotfix: bool,
    /// The rollout that it took the place of.
    pub supersedes: Option<String>,
    /// Where it stands.
    pub state: RolloutState,
    /// Its waves, in order.
    pub waves: Vec<WaveRun>,
    /// The ending that open promote intents are being sealed for.
    pub sealing: Option<Sealing>,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// How far the revert of the config branch is.
    pub source_revert: SourceRevert,
    /// Why the revert of the config branch is left to a pull request in which people finish it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert_obstacle: Option<RevertObstacle>,
    /// Quarantined commits that it was opened in spite of (it fixes them, or a person waived them): its
    /// success ends their quarantine.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub waived_quarantine: BTreeSet<Oid>,
    /// Regions that still have the tree of the superseded rollout whose place it took.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inherited: BTreeMap<String, Inherited>,
    /// What people asked for while it was the newest, and was accepted; oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
}

/// Something that a person asked for, and that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// What for.
    pub verb: Verb,
    /// Who, as the request's commit says.
    pub by: String,
    /// Whom a good signature proves it to be from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// Why, in the person's words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When it was answered.
    pub at: Timestamp,
    /// The commit on the requests branch.
    pub commit: Oid,
}

/// What a rollout takes over for a region from the one that it superseded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inherited {
    /// The tree that its branch holds.
    pub tree: Oid,
    /// The gates that judge that tree.
    pub gates: Vec<Gate>,
    /// What its gates had said before that tree came.
    pub before: Option<Baseline>,
    /// Whether it has been healthy since.
    pub was_healthy: bool,
    /// Whether harm is still news: it had not failed, nor been held, in the superseded rollout.
    pub judged: bool,
    /// The trees of rollouts that were superseded in turn, which the region may not have followed yet; newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierTree>,
}

/// A tree that a region may still run instead of the one that its branch holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EarlierTree {
    /// The tree.
    pub tree: Oid,
    /// The gates that judge that tree.
    pub gates: Vec<Gate>,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RolloutState {
    /// Seen, not yet opened.
    Pending,
    /// Being rendered and compared.
    Preflight,
    /// Under way.
    Running,
    /// Stopped advancing.
    Held,
    /// Every wave passed.
    Succeeded,
    /// Being given back.
    RollingBack,
    /// Given back.
    RolledBack,
    /// Given back as far as it went; some branches need a person.
    RollbackIncomplete,
    /// A newer commit took its place.
    Superseded,
    /// A person ended it.
    Aborted,
}

impl RolloutState {
    /// Whether nothing more happens to it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded
                | Self::RolledBack
                | Self::RollbackIncomplete
                | Self::Superseded
                | Self::Aborted
        )
    }
}

/// Where a wave stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WaveState {
    /// Its turn has not come.
    NotStarted,
    /// Its turn has come and something stops it.
    Blocked,
    /// Regions are being promoted and judged.
    Progressing,
    /// All regions are promoted and healthy; some still bake.
    Baking,
    /// All regions passed.
    Passed,
    /// It passed, with failures that its limits tolerate.
    PassedWithFailures,
    /// It failed.
    Failed,
    /// Its rollout ended before it did.
    Cancelled,
}

impl WaveState {
    /// Whether the next wave may begin.
    #[must_use]
    pub fn is_passed(self) -> bool {
        matches!(self, Self::Passed | Self::PassedWithFailures)
    }
}

/// One wave of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveRun {
    /// The wave's name.
    pub name: String,
    /// Where it stands.
    pub state: WaveState,
    /// Since when.
    pub since: Timestamp,
    /// Its regions.
    pub regions: BTreeMap<String, RegionRun>,
}

/// Where a region stands within a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RegionState {
    /// Waiting for its promotion.
    Pending,
    /// An intent promotes it.
    Promoted,
    /// Its branch holds the tree; nothing answered yet.
    Applying,
    /// Gates answer; it is not yet healthy.
    Verifying,
    /// Healthy, for long enough to be counted, not yet for its bake.
    Baking,
    /// Baked.
    Done,
    /// It cannot be judged; a hold says why.
    Held,
    /// Harm was found.
    Failed,
    /// It was not healthy by its deadline.
    TimedOut,
    /// Left out of all counts.
    Skipped,
    /// Somebody else's tree is on its branch; it is left alone.
    Preempted,
    /// No longer in the fleet.
    Removed,
    /// Added by a failed rollout; it keeps its tree.
    Kept,
    /// Nothing changes for it.
    NoChange,
    /// An intent gives its last good tree back.
    Reverting,
    /// It has its last good tree back.
    Reverted,
    /// Its last good tree could not be given back yet.
    RevertPending,
}

impl RegionState {
    /// Whether what a region that comes to it was counted for before is over: it is judged from the start.
    #[must_use]
    pub fn begins(self) -> bool {
        matches!(self, Self::Pending | Self::Promoted | Self::Applying)
    }

    /// Whether its branch holds this rollout's tree and gates still judge it.
    #[must_use]
    pub fn is_watched(self) -> bool {
        matches!(
            self,
            Self::Applying | Self::Verifying | Self::Baking | Self::Done | Self::Held
        )
    }

    /// Whether its wave need not wait for it any more.
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(
            self,
            Self::Done
                | Self::NoChange
                | Self::Skipped
                | Self::Failed
                | Self::TimedOut
                | Self::Removed
                | Self::Kept
                | Self::Preempted
                | Self::Reverted
                | Self::Reverting
                | Self::RevertPending
        )
    }

    /// Whether it holds a slot of `maxConcurrent` when slots last until healthy.
    #[must_use]
    pub fn is_in_flight(self) -> bool {
        matches!(
            self,
            Self::Promoted | Self::Applying | Self::Verifying | Self::Held
        )
    }
}

/// One region of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionRun {
    /// Where it stands.
    pub state: RegionState,
    /// Since when.
    pub since: Timestamp,
    /// What its gates said before its promotion; written with the promote intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Baseline>,
    /// Why, where there is something to say; one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether a healthy answer proved the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<bool>,
    /// Whether it has been healthy since its promotion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_healthy: bool,
    /// Why its wave does not wait for it, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// Why a wave does not wait for a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LeftOut {
    /// A person asked for it: the region counts in no number.
    Requested,
    /// Nothing could be learnt of it by its deadline: `maxUnreachable` counts it.
    Unreachable,
    /// It was skipped, isolated or failed with this very tree before.
    Earlier,
}

impl RegionRun {
    /// Whether this rollout brings it something: it waits for that, or was promoted.
    #[must_use]
    pub fn receives(&self) -> bool {
        self.state == RegionState::Pending || self.before.is_some()
    }
}

/// What a region's gates said before its promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Baseline {
    /// All of them healthy.
    Healthy,
    /// One answered badly.
    Sick,
    /// Nothing certain.
    Unknown,
}

impl FleetState {
    /// The rollout that is under way.
    #[must_use]
    pub fn active(&self) -> Option<&Rollout> {
        self.rollout
            .as_ref()
            .filter(|rollout| !rollout.state.is_terminal())
    }

    /// Whether this is the commit that a person asked to take over at once, or carries it.
    #[must_use]
    pub fn carries_hotfix(&self, source: Oid, commits: &[SourceCommit]) -> bool {
        self.hotfix.is_some_and(|hotfix| {
            hotfix == source || commits.iter().any(|commit| commit.id == hotfix)
        })
    }

    /// The tree that a region's folder has on the branch of a wave.
    #[must_use]
    pub fn folder(&self, wave: &str, region: &str) -> Option<Oid> {
        self.branches.get(wave)?.folders.get(region).copied()
    }

    /// The open intent on a ref that is no seal.
    #[must_use]
    pub fn open_intent(&self, reference: &str) -> Option<&Intent> {
        self.intents.iter().find(|intent| {
            intent.draft.reference == reference && intent.draft.kind != crate::log::MoveKind::Seal
        })
    }
}

impl Rollout {
    /// The wave run of a region, by the frozen plan.
    #[must_use]
    pub fn region(&self, region: &str) -> Option<(&WaveRun, &RegionRun)> {
        self.waves
            .iter()
            .find_map(|wave| wave.regions.get(region).map(|run| (wave, run)))
    }

    /// The gates that judge a region, with the region's values in them.
    pub fn gates_of(&self, region: &str) -> impl Iterator<Item = &Gate> {
        self.region(region)
            .and_then(|(wave, _)| self.plan.wave(&wave.name))
            .into_iter()
            .flat_map(|wave| self.plan.gates_in(wave, region))
    }

    /// The wave run of a region, to change it.
    pub fn region_mut(&mut self, region: &str) -> Option<&mut RegionRun> {
        self.waves
            .iter_mut()
            .find_map(|wave| wave.regions.get_mut(region))
    }
}
