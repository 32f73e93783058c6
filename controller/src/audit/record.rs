//! What git tells of a fleet: the log's entries, the branches, and the commits that they name.
//!
//! Nothing here is judged. What could not be read is said where it should stand, so that a damaged log can be
//! judged too.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Deserialize;
use tidegate_waves::log::{Closing, EntryKind, Intent, MoveKind, Outcome};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{
    Failure, FleetIdentity, RegionState, RolloutState, Sealing, WaveState,
};

use crate::git::history::{CommitView, Person};
use crate::git::trailers::Trailers;

/// Everything that was read.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// What the log is about, as its newest readable entry says.
    pub fleet: Option<FleetIdentity>,
    /// The prefix of the fleet's refs.
    pub prefix: String,
    /// The full name of the config branch, where it is known.
    pub config: Option<String>,
    /// Why the log could not be followed down to its first entry, if it could not.
    pub cut_off: Option<String>,
    /// The log's entries along first parents, oldest first.
    pub entries: Vec<Entry>,
    /// By full name, every ref but the log: those below the prefix, the config branch, branches of reverts.
    pub refs: BTreeMap<String, Branch>,
    /// The commits that intents name, and those on the branches.
    pub commits: HashMap<Oid, Commit>,
    /// The plans, by the id of their file.
    pub plans: HashMap<Oid, Plan>,
    /// The folders of the plan commits, by commit.
    pub plan_commits: HashMap<Oid, PlanCommit>,
    /// Last good trees by region, by the id of their file.
    pub last_good: HashMap<Oid, BTreeMap<String, Oid>>,
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its commit.
    pub id: Oid,
    /// The commit's parents.
    pub parents: Vec<Oid>,
    /// `Tidegate-Seq`.
    pub seq: Option<u64>,
    /// `Tidegate-Epoch`.
    pub epoch: Option<u64>,
    /// `Tidegate-Entry`.
    pub kind: Option<EntryKind>,
    /// `Tidegate-Rollout`.
    pub rollout: Option<String>,
    /// `Tidegate-Wave`.
    pub wave: Option<String>,
    /// `Tidegate-Intent`.
    pub intents: Vec<Permission>,
    /// `Tidegate-Closed`.
    pub closed: Vec<Closing>,
    /// `Tidegate-Drift`.
    pub drift: Vec<(String, Oid)>,
    /// `Tidegate-Open`.
    pub open: Vec<(String, Oid)>,
    /// Whether `Tidegate-Answer` says that a person's request was accepted.
    pub accepted: bool,
    /// Trailers of ours that say nothing that can be read.
    pub unread: Vec<String>,
    /// What its tree says, or why that cannot be read.
    pub state: Result<State, String>,
}

/// One `Tidegate-Intent`: from here on a ref may move so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The full name of the ref.
    pub reference: String,
    /// Where it may move from; zeros if it did not exist.
    pub old: Oid,
    /// Where it may move to.
    pub new: Oid,
}

/// What an entry's tree says, as far as it is judged.
#[derive(Debug, Clone)]
pub struct State {
    /// The entry's number.
    pub seq: u64,
    /// The epoch.
    pub epoch: u64,
    /// What the log is about.
    pub fleet: FleetIdentity,
    /// The moves that are open.
    pub intents: Vec<Intent>,
    /// The newest rollout.
    pub rollout: Option<RolloutRecord>,
    /// Of a wave that the entry says has passed, what its own file says.
    pub passed: Option<WaveRecord>,
    /// The id of the file with the last good trees, while a move is open that puts trees back.
    pub last_good: Option<Oid>,
    /// While such a move is open: regions that failed alone, with the rollout in which they did.
    pub isolated: BTreeSet<(String, String)>,
}

/// What an entry says of a wave.
#[derive(Debug, Clone)]
pub struct WaveRecord {
    /// Where it stands.
    pub state: WaveState,
    /// Where its regions stand.
    pub regions: BTreeMap<String, RegionState>,
}

/// What an entry says of the newest rollout.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRecord {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: RolloutState,
    /// Its plan commit.
    pub plan_commit: Oid,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// The ending that is prepared.
    pub sealing: Option<Sealing>,
    /// What regions get back where that is not their last good tree alone.
    #[serde(default)]
    pub revert_trees: BTreeMap<String, Oid>,
    /// The id of the file with its plan.
    #[serde(skip)]
    pub plan: Option<Oid>,
    /// The id of the file with the last good trees that its opening recorded.
    #[serde(skip)]
    pub base_last_good: Option<Oid>,
}

/// A frozen plan, as far as it is judged.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Plan {
    /// Its waves in order.
    pub waves: Vec<PlanWave>,
    /// The wanted tree of each region.
    pub regions: BTreeMap<String, PlanRegion>,
}

/// One wave of a plan.
#[derive(Debug, Clone, Deserialize)]
pub struct PlanWave {
    /// Its name.
    pub name: String,
    /// Its regions.
    pub regions: BTreeSet<String>,
}

/// One region of a plan.
#[derive(Debug, Clone, Deserialize)]
pub struct PlanRegion {
    /// The tree that it is to get.
    pub tree: Oid,
}

/// A plan commit.
#[derive(Debug, Clone, Default)]
pub struct PlanCommit {
    /// Its parents: there should be none.
    pub parents: Vec<Oid>,
    /// Its folders.
    pub folders: BTreeMap<String, Oid>,
}

/// A branch as the server has it.
#[derive(Debug, Clone, Default)]
pub struct Branch {
    /// Its newest commit.
    pub tip: Option<Oid>,
    /// Its commits along first parents, newest first.
    pub chain: Vec<Oid>,
    /// Every commit on it.
    pub contains: HashSet<Oid>,
    /// Why its history could not be followed to its end, if it could not.
    pub cut_off: Option<String>,
}

/// A commit outside the log.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Its parents.
    pub parents: Vec<Oid>,
    /// `Tidegate-Kind`.
    pub kind: Option<MoveKind>,
    /// `Tidegate-Rollout`.
    pub rollout: Option<String>,
    /// Whether its author is who writes the log.
    pub by_log_author: bool,
    /// Whether its author committed it too; somebody else committed what was picked or rebased.
    pub is_by_its_author: bool,
    /// What it changes at the root of its first parent's tree; `None` if that was not or could not be compared.
    pub changes: Option<Vec<RootChange>>,
    /// Of the regions that its intent has in its batch, those that it does not change, with the trees that it has there.
    pub unchanged: BTreeMap<String, Option<Oid>>,
}

/// A change of one name at the root of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootChange {
    /// The name.
    pub name: String,
    /// What it names now; `None` if it is gone.
    pub now: Option<Oid>,
    /// Whether what was and is there are folders.
    pub is_folder: bool,
}

impl Entry {
    /// Reads an entry from its commit; `state` is what its tree says.
    #[must_use]
    pub fn read(commit: &CommitView, state: Result<State, String>) -> Self {
        let trailers = commit.trailers();
        let mut unread = Vec::new();
        let intents = all(&trailers, "Tidegate-Intent", &mut unread, permission);
        let closed = all(&trailers, "Tidegate-Closed", &mut unread, closing);
        let drift = all(&trailers, "Tidegate-Drift", &mut unread, pair);
        let open = all(&trailers, "Tidegate-Open", &mut unread, pair);
        let number = |name: &str| trailers.only(name).and_then(|value| value.parse().ok());
        let text = |name: &str| trailers.only(name).map(str::to_owned);
        Self {
            id: commit.id,
            parents: commit.parents.clone(),
            seq: number("Tidegate-Seq"),
            epoch: number("Tidegate-Epoch"),
            kind: trailers
                .only("Tidegate-Entry")
                .and_then(|kind| kind.parse().ok()),
            rollout: text("Tidegate-Rollout"),
            wave: text("Tidegate-Wave"),
            intents,
            closed,
            drift,
            open,
            accepted: trailers.only("Tidegate-Answer") == Some("accepted"),
            unread,
            state,
        }
    }
}

impl Commit {
    /// Reads a commit; its changes are not looked at.
    #[must_use]
    pub fn read(commit: &CommitView, author: Option<&Person>) -> Self {
        let trailers = commit.trailers();
        Self {
            parents: commit.parents.clone(),
            kind: trailers.only("Tidegate-Kind").and_then(move_kind),
            rollout: trailers.only("Tidegate-Rollout").map(str::to_owned),
            by_log_author: author == Some(&commit.author),
            is_by_its_author: commit.is_by_its_author,
            changes: None,
            unchanged: BTreeMap::new(),
        }
    }
}

impl Record {
    /// Whether a ref is the config branch or the branch of a revert's pull request.
    #[must_use]
    pub fn is_for_source(&self, reference: &str) -> bool {
        self.config.as_deref() == Some(reference) || reverted_rollout(reference).is_some()
    }

    /// The name of the wave whose branch a ref is, if its name can be that.
    #[must_use]
    pub fn wave_of<'a>(&self, reference: &'a str) -> Option<&'a str> {
        reference
            .strip_prefix("refs/heads/")?
            .strip_prefix(self.prefix.as_str())?
            .strip_prefix('/')
            .filter(|wave| !matches!(*wave, "log" | "requests") && !wave.contains('/'))
    }
}

/// The rollout whose revert's pull request a ref is the branch of.
#[must_use]
pub fn reverted_rollout(reference: &str) -> Option<&str> {
    reference.strip_prefix("refs/heads/tidegate-revert/")
}

/// The kind of move that a `Tidegate-Kind` names.
#[must_use]
pub fn move_kind(text: &str) -> Option<MoveKind> {
    [
        MoveKind::Create,
        MoveKind::Promote,
        MoveKind::Revert,
        MoveKind::Seal,
        MoveKind::Leave,
        MoveKind::Restore,
        MoveKind::Adopt,
        MoveKind::SourceRevert,
    ]
    .into_iter()
    .find(|kind| kind.to_string() == text)
}

/// The values of a trailer; those that cannot be read are noted.
fn all<T>(
    trailers: &Trailers,
    name: &str,
    unread: &mut Vec<String>,
    read: impl Fn(&[&str]) -> Option<T>,
) -> Vec<T> {
    let mut values = Vec::new();
    for value in trailers.all(name) {
        let words: Vec<&str> = value.split(' ').collect();
        match read(&words) {
            Some(value) => values.push(value),
            None => unread.push(format!("{name}: {value}")),
        }
    }
    values
}

fn permission(words: &[&str]) -> Option<Permission> {
    let [reference, old, new] = words else {
        return None;
    };
    Some(Permission {
        reference: (*reference).to_owned(),
        old: old.parse().ok()?,
        new: new.parse().ok()?,
    })
}

fn closing(words: &[&str]) -> Option<Closing> {
    let [reference, new, how] = words else {
        return None;
    };
    let outcome = [Outcome::Applied, Outcome::Sealed, Outcome::Overtaken]
        .into_iter()
        .find(|outcome| outcome.to_string() == *how)?;
    Some(Closing {
        reference: (*reference).to_owned(),
        new: new.parse().ok()?,
        outcome,
    })
}

fn pair(words: &[&str]) -> Option<(String, Oid)> {
    let [reference, id] = words else {
        return None;
    };
    Some(((*reference).to_owned(), id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(trailers: &str) -> CommitView {
        CommitView {
            id: Oid::from_bytes([1; 20]),
            parents: Vec::new(),
            tree: Oid::ZERO,
            message: format!("Intent: what\n\n{trailers}"),
            author: Person {
                name: "Tidegate".to_owned(),
                email: "tidegate@example.com".to_owned(),
            },
            is_by_its_author: true,
            seconds: 7,
        }
    }

    #[test]
    fn an_entry_is_read_as_far_as_it_can_be() {
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let entry = Entry::read(
            &view(&format!(
                "Tidegate-Entry: Failed\nTidegate-Seq: 4\nTidegate-Epoch: x\nTidegate-Rollout: a-1\nTidegate-Rollout: a-2\n\
                 Tidegate-Intent: refs/heads/t/a {one} {two}\nTidegate-Intent: refs/heads/t/a {one}\n\
                 Tidegate-Closed: refs/heads/t/a {two} applied\nTidegate-Closed: refs/heads/t/a {two} lost\n\
                 Tidegate-Drift: refs/heads/t/b {one}\nTidegate-Open: refs/heads/t/c nothing\n"
            )),
            Err("not looked at".to_owned()),
        );
        assert_eq!(entry.kind, Some(EntryKind::Failed));
        assert_eq!((entry.seq, entry.epoch), (Some(4), None));
        // What stands twice is not to be trusted.
        assert_eq!(entry.rollout, None);
        assert_eq!(entry.intents.len(), 1);
        assert_eq!(entry.closed.len(), 1);
        assert_eq!(entry.drift.len(), 1);
        assert_eq!(
            entry.unread,
            [
                format!("Tidegate-Intent: refs/heads/t/a {one}"),
                format!("Tidegate-Closed: refs/heads/t/a {two} lost"),
                "Tidegate-Open: refs/heads/t/c nothing".to_owned(),
            ]
        );
    }

    #[test]
    fn refs_are_told_apart_by_their_names() {
        let record = Record {
            prefix: "fleets/a".to_owned(),
            config: Some("refs/heads/main".to_owned()),
            ..Record::default()
        };
        for (reference, wave) in [
            ("refs/heads/fleets/a/canary", Some("canary")),
            ("refs/heads/fleets/a/log", None),
            ("refs/heads/fleets/a/requests", None),
            ("refs/heads/fleets/a/deep/er", None),
            ("refs/heads/fleets/ab/canary", None),
            ("refs/tags/fleets/a/canary", None),
        ] {
            assert_eq!(record.wave_of(reference), wave, "{reference}");
        }
        assert!(record.is_for_source("refs/heads/main"));
        assert!(record.is_for_source("refs/heads/tidegate-revert/a-1"));
        assert!(!record.is_for_source("refs/heads/other"));
        assert_eq!(move_kind("promote"), Some(MoveKind::Promote));
        assert_eq!(move_kind("demote"), None);
    }
}
