//! The control log: what one entry says, and the trailers in which it says it.
//!
//! The log orders everything that a fleet's controllers do. Each entry is one commit; its tree holds
//! the whole state after it (see [`crate::rollout::FleetState`]), its message says what happened, for
//! people and, in trailers, for anybody who audits a history with git alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::oid::Oid;

/// The version of the state that entries carry. A newer one is refused, an older one stays readable.
pub const SCHEMA: u32 = 3;

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntryKind {
    /// The log begins: the fleet's name, config branch, path and prefix are fixed.
    Created,
    /// A running fleet was taken over as it is (reserved).
    Adopted,
    /// The config branch's head is not valid.
    Invalid,
    /// A rollout opened: plan, members and last good trees are frozen.
    RolloutOpened,
    /// The config branch's head changes nothing.
    NoChange,
    /// Branches may move as the intents say.
    Intent,
    /// Intents were closed.
    Applied,
    /// Regions or waves changed state.
    Progress,
    /// A wave passed.
    WavePassed,
    /// Advancing stopped.
    Held,
    /// A hold ended.
    Resumed,
    /// A region failed, and the rollout goes on or is held.
    RegionFailed,
    /// Open promote intents are sealed, so that the ending it names can be written.
    Sealing,
    /// The rollout failed: touched branches are given back.
    Failed,
    /// The give-back and the revert of the config branch came to their end.
    Reverted,
    /// Every wave passed.
    Succeeded,
    /// A newer commit took the rollout's place.
    Superseded,
    /// A person ended the rollout.
    Aborted,
    /// Commits that are not ours stand on a wave branch.
    Drift,
    /// Another controller goes on from here.
    TakeOver,
    /// A person's request was answered.
    Requested,
}

impl EntryKind {
    /// All kinds.
    pub const ALL: [Self; 21] = [
        Self::Created,
        Self::Adopted,
        Self::Invalid,
        Self::RolloutOpened,
        Self::NoChange,
        Self::Intent,
        Self::Applied,
        Self::Progress,
        Self::WavePassed,
        Self::Held,
        Self::Resumed,
        Self::RegionFailed,
        Self::Sealing,
        Self::Failed,
        Self::Reverted,
        Self::Succeeded,
        Self::Superseded,
        Self::Aborted,
        Self::Drift,
        Self::TakeOver,
        Self::Requested,
    ];
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A text that names no entry kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of log entry that this version knows")]
pub struct UnknownEntryKind(pub String);

impl FromStr for EntryKind {
    type Err = UnknownEntryKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| UnknownEntryKind(text.to_owned()))
    }
}

/// What a commit of ours on a branch is for: its `Tidegate-Kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MoveKind {
    /// A wave branch begins, empty.
    Create,
    /// Regions get the trees of a rollout.
    Promote,
    /// Regions get their last good trees back.
    Revert,
    /// An empty commit that makes a promote intent impossible.
    Seal,
    /// A region's folder leaves a branch.
    Leave,
    /// Our trees come back on top of somebody else's commit, or a deleted branch comes back.
    Restore,
    /// Somebody else's commit is accepted.
    Adopt,
    /// The source commit is reverted on the config branch (or its pull request's branch).
    SourceRevert,
}

impl fmt::Display for MoveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Promote => "promote",
            Self::Revert => "revert",
            Self::Seal => "seal",
            Self::Leave => "leave",
            Self::Restore => "restore",
            Self::Adopt => "adopt",
            Self::SourceRevert => "source-revert",
        })
    }
}

/// How an intent ended. Only irreversible facts close one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The new commit is the branch's tip or an ancestor of it.
    Applied,
    /// A seal on the same old commit is.
    Sealed,
    /// The old commit is a proper ancestor of the tip, and neither the new one nor a seal on old is.
    Overtaken,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Applied => "applied",
            Self::Sealed => "sealed",
            Self::Overtaken => "overtaken",
        })
    }
}

/// One closed intent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Closing {
    /// The full name of the ref.
    pub reference: String,
    /// The commit that the intent allowed.
    pub new: Oid,
    /// How it ended.
    pub outcome: Outcome,
}

/// A change of one folder at the root of a branch's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FolderChange {
    /// The region whose folder it is.
    pub region: String,
    /// Its new tree; `None` removes it.
    pub tree: Option<Oid>,
}

/// A move of one ref that an entry allows, before its commit exists: whoever writes the entry makes
/// the commit (deterministically) and fills in its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DraftIntent {
    /// The full name of the ref.
    pub reference: String,
    /// Where the ref stands; zeros if it does not exist.
    pub old: Oid,
    /// What the move is for.
    pub kind: MoveKind,
    /// The wave whose branch it is; empty for the config branch.
    pub wave: String,
    /// What becomes of which region's folder.
    pub folders: Vec<FolderChange>,
    /// What exists already: the commit that a deleted branch comes back to, or the tree of a source revert.
    pub given: Option<Oid>,
    /// The parent of a source revert that goes to a branch of its own (elsewhere the parent is `old`).
    pub onto: Option<Oid>,
    /// The rollout it belongs to.
    pub rollout: Option<String>,
    /// The source commit it belongs to.
    pub source: Option<Oid>,
}

/// A move of one ref that the log allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// What it does.
    #[serde(flatten)]
    pub draft: DraftIntent,
    /// The commit it moves the ref to; its only parent is the old one.
    pub new: Oid,
}

/// The answer to a person's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestAnswer {
    /// The request's commit.
    pub commit: Oid,
    /// `None` if accepted, else why not.
    pub refused: Option<String>,
}

/// What an entry's message says, beside the numbers that the state has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What it is about.
    pub kind: EntryKind,
    /// One line for people.
    pub subject: String,
    /// Further lines for people: what changed, and which sample decided it.
    pub lines: Vec<String>,
    /// The rollout, where it applies.
    pub rollout: Option<String>,
    /// The wave, where it applies.
    pub wave: Option<String>,
    /// The source commit, where it applies.
    pub source: Option<Oid>,
    /// The intents that it closes.
    pub closed: Vec<Closing>,
    /// Commits on wave branches that are not ours: full ref and commit.
    pub drift: Vec<(String, Oid)>,
    /// Promote intents that stay open behind a `Failed`: full ref and new commit.
    pub open: Vec<(String, Oid)>,
    /// The request that it answers.
    pub request: Option<RequestAnswer>,
}

impl Entry {
    /// An entry that says no more than its kind and one line.
    #[must_use]
    pub fn new(kind: EntryKind, subject: impl Into<String>) -> Self {
        Self {
            kind,
            subject: subject.into(),
            lines: Vec::new(),
            rollout: None,
            wave: None,
            source: None,
            closed: Vec::new(),
            drift: Vec::new(),
            open: Vec::new(),
            request: None,
        }
    }

    /// The trailers of this entry, in their order, for the sequence number, epoch and intents given.
    #[must_use]
    pub fn trailers(&self, seq: u64, epoch: u64, intents: &[Intent]) -> Vec<(String, String)> {
        let mut trailers = vec![
            ("Tidegate-Entry".to_owned(), self.kind.to_string()),
            ("Tidegate-Seq".to_owned(), seq.to_string()),
            ("Tidegate-Epoch".to_owned(), epoch.to_string()),
        ];
        let mut add = |name: &str, value: String| trailers.push((name.to_owned(), value));
        if let Some(rollout) = &self.rollout {
            add("Tidegate-Rollout", rollout.clone());
        }
        if let Some(wave) = &self.wave {
            add("Tidegate-Wave", wave.clone());
        }
        if let Some(source) = self.source {
            add("Tidegate-Source", source.to_string());
        }
        for intent in intents {
            add(
                "Tidegate-Intent",
                format!(
                    "{} {} {}",
                    intent.draft.reference, intent.draft.old, intent.new
                ),
            );
        }
        for closing in &self.closed {
            add(
                "Tidegate-Closed",
                format!("{} {} {}", closing.reference, closing.new, closing.outcome),
            );
        }
        for (reference, tip) in &self.drift {
            add("Tidegate-Drift", format!("{reference} {tip}"));
        }
        for (reference, new) in &self.open {
            add("Tidegate-Open", format!("{reference} {new}"));
        }
        if let Some(request) = &self.request {
            add("Tidegate-Request-Commit", request.commit.to_string());
            let answer = match &request.refused {
                None => "accepted".to_owned(),
                Some(why) => format!("refused {why}"),
            };
            add("Tidegate-Answer", answer);
        }
        trailers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for kind in EntryKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("Nonsense".parse::<EntryKind>().is_err());
    }

    #[test]
    fn trailers_name_every_move() {
        let mut entry = Entry::new(EntryKind::Intent, "promote canary");
        entry.closed.push(Closing {
            reference: "refs/heads/t/a".to_owned(),
            new: Oid::from_bytes([2; 20]),
            outcome: Outcome::Sealed,
        });
        let intent = Intent {
            draft: DraftIntent {
                reference: "refs/heads/t/a".to_owned(),
                old: Oid::from_bytes([1; 20]),
                kind: MoveKind::Promote,
                wave: "a".to_owned(),
                folders: vec![],
                given: None,
                onto: None,
                rollout: None,
                source: None,
            },
            new: Oid::from_bytes([3; 20]),
        };
        let trailers = entry.trailers(4, 1, &[intent]);
        assert!(trailers.contains(&("Tidegate-Seq".to_owned(), "4".to_owned())));
        assert!(
            trailers
                .iter()
                .any(|(name, value)| name == "Tidegate-Intent"
                    && value.starts_with("refs/heads/t/a 0101"))
        );
        assert!(
            trailers
                .iter()
                .any(|(name, value)| name == "Tidegate-Closed" && value.ends_with(" sealed"))
        );
    }
}
