//! The audit: does a fleet's history keep the promises that git alone can show?
//!
//! [`reader`] reads log, branches and commits from git into a [`record::Record`]; what judges it is pure, one file for
//! each promise and two more for the seventh: `failures` and `give_backs`. No code is shared with what decides and writes: of the rest of the program only the types of the
//! log's format, the reading of git and the reading of trailers are used. Everything is linear in the length of the
//! history: each branch is walked once, into a set.

pub mod reader;
pub mod record;

mod batches;
mod brought;
mod chain;
mod endings;
mod failures;
mod files;
mod folders;
mod forward;
mod give_backs;
mod intents;
mod order;
mod plans;
mod reverts;
mod story;
#[cfg(test)]
mod tests;

use std::fmt;

use tidegate_waves::oid::Oid;

use self::record::Record;
use self::story::Story;

/// What to do about an entry that no controller writes.
const NOT_OURS: &str =
    "a controller does not do that: hold the fleet (tidegate hold), and see who pushed this entry";

/// What the audit checks: the log itself, and the promises of the design that git alone can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// The log is a chain; what all others stand on.
    Log,
    /// Waves go in order.
    Order,
    /// Nothing is promoted behind an ending.
    Endings,
    /// Every commit is an intent's, every intent ends once and truly.
    Intents,
    /// Forward only.
    Forward,
    /// Only the batch's folders, only the table's refs.
    Folders,
    /// One revert, for a reason that is named.
    Reverts,
    /// The plan is frozen.
    Plan,
}

impl Promise {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Log,
        Self::Order,
        Self::Endings,
        Self::Intents,
        Self::Forward,
        Self::Folders,
        Self::Reverts,
        Self::Plan,
    ];

    /// The promise's number; 0 is the log, which the promises stand on.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Log => 0,
            Self::Order => 1,
            Self::Endings => 2,
            Self::Intents => 3,
            Self::Forward => 4,
            Self::Folders => 5,
            Self::Reverts => 7,
            Self::Plan => 9,
        }
    }

    /// The promise in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Log => {
                "The log's entries are numbered 0, 1, 2 … along first parents without a gap; the epoch never falls, and rises by one with each TakeOver alone."
            }
            Self::Order => {
                "In log order, no promote intent of rollout r on wave k+1 stands before WavePassed(k, r); every promote commit is the new of such an intent."
            }
            Self::Endings => {
                "No promote intent of r follows Failed(r); all earlier ones are closed before it or named in Tidegate-Open; no sealed commit is on any branch. A retry is a new rollout."
            }
            Self::Intents => {
                "Every commit on a wave branch is the new of exactly one intent, or listed under Drift; every intent is closed once and the branch agrees, or open: of the current rollout, named in Tidegate-Open, or on the config branch."
            }
            Self::Forward => {
                "We never send a deletion or a non-fast-forward; every applied id is an ancestor of its branch's tip."
            }
            Self::Folders => {
                "On wave branches an intent's commit differs from its parent only in its batch's region folders; refs are those of the table."
            }
            Self::Reverts => {
                "At most one automatic revert per rollout; Failed names region, gate and the tree it judged, which this rollout put there or found there not yet last good; a rollout whose trees are all last good is never reverted automatically."
            }
            Self::Plan => {
                "The plan's digest in every entry of r equals that of RolloutOpened; promoted trees equal the plan commit's."
            }
        }
    }

    /// The promise in a few words, for tables.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Log => "the log is whole",
            Self::Order => "waves go in order",
            Self::Endings => "nothing is promoted behind an ending",
            Self::Intents => "every commit is an intent's, every intent ends once",
            Self::Forward => "branches only move forward",
            Self::Folders => "only the batch's folders, only the known refs",
            Self::Reverts => "one revert, for a named reason",
            Self::Plan => "the plan is frozen",
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("the log"),
            promise => write!(f, "promise {}", promise.number()),
        }
    }
}

/// An entry of the log as a finding names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryName {
    /// Its number; its place in the chain where it says none.
    pub seq: u64,
    /// Its commit.
    pub commit: Oid,
}

/// Something that breaks a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which one.
    pub promise: Promise,
    /// The entry of the log that shows it.
    pub entry: Option<EntryName>,
    /// The commit that it is about, where that is another.
    pub commit: Option<Oid>,
    /// The full name of the ref that it is about.
    pub reference: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub advice: &'static str,
}

impl Finding {
    fn new(message: impl Into<String>, advice: &'static str) -> Self {
        Self {
            promise: Promise::Log,
            entry: None,
            commit: None,
            reference: None,
            message: message.into(),
            advice,
        }
    }

    /// The same, shown by the entry at this place.
    fn at(mut self, story: &Story<'_>, place: usize) -> Self {
        self.entry = story.entry(place).map(|entry| EntryName {
            seq: story.number(place),
            commit: entry.id,
        });
        self
    }

    /// The same, about a ref.
    fn on(mut self, reference: &str) -> Self {
        self.reference = Some(reference.to_owned());
        self
    }

    /// The same, about a commit.
    fn about(mut self, commit: Oid) -> Self {
        self.commit = Some(commit);
        self
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Entries that are known from elsewhere.
    ExpectedEntries,
    /// Entries of the log.
    Entries,
    /// Promote intents.
    Promotions,
    /// `WavePassed` entries.
    PassedWaves,
    /// Entries that end a rollout.
    Endings,
    /// Promotions that a seal made impossible.
    SealedCommits,
    /// Commits on wave branches.
    BranchCommits,
    /// Intents.
    Intents,
    /// Closings of intents.
    Closings,
    /// Commits that the log calls applied.
    AppliedCommits,
    /// Commits that intents name, compared with their parents.
    ComparedCommits,
    /// Refs below the prefix.
    Refs,
    /// `Failed` entries.
    Failures,
    /// Intents for the config branch, and for the branches of pull requests that revert.
    Reverts,
    /// Commits on the config branch.
    ConfigCommits,
    /// Plans of rollouts that opened.
    Plans,
    /// Entries whose plan is compared with that of the opening.
    PlannedEntries,
    /// Trees that promotions brought.
    PromotedTrees,
}

impl What {
    /// Its name after a number.
    #[must_use]
    pub fn name(self, number: usize) -> &'static str {
        let (one, many) = match self {
            Self::ExpectedEntries => ("expected entry", "expected entries"),
            Self::Entries => ("entry", "entries"),
            Self::Promotions => ("promotion", "promotions"),
            Self::PassedWaves => ("passed wave", "passed waves"),
            Self::Endings => ("ending", "endings"),
            Self::SealedCommits => ("sealed commit", "sealed commits"),
            Self::BranchCommits => ("commit on a wave branch", "commits on wave branches"),
            Self::Intents => ("intent", "intents"),
            Self::Closings => ("closing", "closings"),
            Self::AppliedCommits => ("applied commit", "applied commits"),
            Self::ComparedCommits => ("compared commit", "compared commits"),
            Self::Refs => ("ref", "refs"),
            Self::Failures => ("failure", "failures"),
            Self::Reverts => ("revert", "reverts"),
            Self::ConfigCommits => (
                "commit on the config branch",
                "commits on the config branch",
            ),
            Self::Plans => ("plan", "plans"),
            Self::PlannedEntries => ("entry with a plan", "entries with a plan"),
            Self::PromotedTrees => ("promoted tree", "promoted trees"),
        };
        if number == 1 { one } else { many }
    }
}

/// How much of one kind was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Of what.
    pub what: What,
    /// How many.
    pub number: usize,
}

/// What the audit found about one promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which one.
    pub promise: Promise,
    /// What was looked at.
    pub counts: Vec<Count>,
    /// What breaks it.
    pub findings: Vec<Finding>,
}

impl Verdict {
    fn of(promise: Promise) -> Self {
        Self {
            promise,
            counts: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn count(&mut self, what: What) {
        match self.counts.iter_mut().find(|count| count.what == what) {
            Some(count) => count.number += 1,
            None => self.counts.push(Count { what, number: 1 }),
        }
    }

    fn find(&mut self, finding: Finding) {
        self.findings.push(Finding {
            promise: self.promise,
            ..finding
        });
    }

    /// How many things were looked at.
    #[must_use]
    pub fn checked(&self) -> usize {
        self.counts.iter().map(|count| count.number).sum()
    }
}

/// What to judge, beside the record.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The place of the first entry that is judged; those before are read alone.
    pub since: usize,
    /// The id of an entry that the log must contain, or how it begins.
    pub expected: Option<String>,
}

/// Judges a record: one verdict for each of [`Promise::ALL`], in that order.
#[must_use]
pub fn audit(record: &Record, scope: &Scope) -> Vec<Verdict> {
    let story = Story::of(record, scope.since);
    Promise::ALL
        .into_iter()
        .map(|promise| match promise {
            Promise::Log => chain::check(&story, scope.expected.as_deref()),
            Promise::Order => order::check(&story),
            Promise::Endings => endings::check(&story),
            Promise::Intents => intents::check(&story),
            Promise::Forward => forward::check(&story),
            Promise::Folders => folders::check(&story),
            Promise::Reverts => reverts::check(&story),
            Promise::Plan => plans::check(&story),
        })
        .collect()
}
