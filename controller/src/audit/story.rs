//! The log as a story: every move that it allowed, how it ended, and which rollout it belonged to.

use std::collections::HashMap;
use std::ops::Range;

use tidegate_waves::log::{Closing, EntryKind, Intent, MoveKind, Outcome};
use tidegate_waves::oid::Oid;

use super::record::{Commit, Entry, Permission, Plan, Record, RolloutRecord, RootChange};

/// A record with what follows from reading it in order.
pub(super) struct Story<'a> {
    pub(super) record: &'a Record,
    /// The first entry that is judged; those before are read alone.
    pub(super) since: usize,
    /// Every move that the log allowed, in order.
    pub(super) moves: Vec<Move<'a>>,
    /// Closings of what was not open, by the place of their entry.
    pub(super) stray: Vec<(usize, &'a Closing)>,
    of_entry: Vec<Range<usize>>,
    by_new: HashMap<&'a str, HashMap<Oid, Vec<usize>>>,
    by_rollout: HashMap<&'a str, Vec<usize>>,
    seals: HashMap<&'a str, HashMap<Oid, Vec<Oid>>>,
    openings: HashMap<&'a str, Opening<'a>>,
}

/// A move that the log allowed.
pub(super) struct Move<'a> {
    /// The place of the entry that allowed it.
    pub(super) place: usize,
    /// What that entry says.
    pub(super) line: &'a Permission,
    /// The commit that it moves to, where it could be read.
    pub(super) commit: Option<&'a Commit>,
    /// What the entry's state says of it.
    pub(super) draft: Option<&'a Intent>,
    /// What it is for.
    pub(super) kind: Option<MoveKind>,
    /// The rollout that it belongs to.
    pub(super) rollout: Option<&'a str>,
    /// The place of the entry that closed it, and how.
    pub(super) closed: Option<(usize, Outcome)>,
}

/// How a rollout opened.
#[derive(Clone, Copy)]
pub(super) struct Opening<'a> {
    pub(super) place: usize,
    pub(super) rollout: Option<&'a RolloutRecord>,
}

impl<'a> Story<'a> {
    pub(super) fn of(record: &'a Record, since: usize) -> Self {
        let mut story = Self {
            record,
            since,
            moves: Vec::new(),
            stray: Vec::new(),
            of_entry: Vec::new(),
            by_new: HashMap::new(),
            by_rollout: HashMap::new(),
            seals: HashMap::new(),
            openings: HashMap::new(),
        };
        for (place, entry) in record.entries.iter().enumerate() {
            story.take_closings(place, entry);
            let from = story.moves.len();
            story.take_intents(place, entry);
            story.of_entry.push(from..story.moves.len());
            if entry.kind == Some(EntryKind::RolloutOpened)
                && let Some(id) = entry.rollout.as_deref()
            {
                let rollout = rollout_in(entry).filter(|rollout| rollout.id == id);
                story
                    .openings
                    .entry(id)
                    .or_insert(Opening { place, rollout });
            }
        }
        story
    }

    fn take_closings(&mut self, place: usize, entry: &'a Entry) {
        for closing in &entry.closed {
            let open = self
                .by_new
                .get(closing.reference.as_str())
                .and_then(|moves| moves.get(&closing.new))
                .into_iter()
                .flatten()
                .rev()
                .find(|index| {
                    self.moves
                        .get(**index)
                        .is_some_and(|known| known.closed.is_none())
                })
                .copied();
            match open.and_then(|index| self.moves.get_mut(index)) {
                Some(open) => open.closed = Some((place, closing.outcome)),
                None => self.stray.push((place, closing)),
            }
        }
    }

    fn take_intents(&mut self, place: usize, entry: &'a Entry) {
        for line in &entry.intents {
            let commit = self.record.commits.get(&line.new);
            let draft = entry.state.as_ref().ok().and_then(|state| {
                state.intents.iter().find(|intent| {
                    intent.draft.reference == line.reference && intent.new == line.new
                })
            });
            let kind = kind_of(self.record, line, commit, draft);
            let rollout = match kind {
                // A branch that comes back comes back to a commit that was made for something else.
                Some(MoveKind::Restore) => draft.and_then(|draft| draft.draft.rollout.as_deref()),
                _ => commit
                    .and_then(|commit| commit.rollout.as_deref())
                    .or_else(|| draft.and_then(|draft| draft.draft.rollout.as_deref())),
            };
            let reference = line.reference.as_str();
            let index = self.moves.len();
            self.by_new
                .entry(reference)
                .or_default()
                .entry(line.new)
                .or_default()
                .push(index);
            if let Some(rollout) = rollout {
                self.by_rollout.entry(rollout).or_default().push(index);
            }
            if kind == Some(MoveKind::Seal) {
                let seals = self.seals.entry(reference).or_default();
                seals.entry(line.old).or_default().push(line.new);
            }
            self.moves.push(Move {
                place,
                line,
                commit,
                draft,
                kind,
                rollout,
                closed: None,
            });
        }
    }

    /// Whether what happened at this place is judged.
    pub(super) fn judges(&self, place: usize) -> bool {
        place >= self.since
    }

    /// The entries that are judged, with their places.
    pub(super) fn judged(&self) -> impl Iterator<Item = (usize, &'a Entry)> {
        self.record.entries.iter().enumerate().skip(self.since)
    }

    pub(super) fn entry(&self, place: usize) -> Option<&'a Entry> {
        self.record.entries.get(place)
    }

    /// The number of the entry at this place; the place itself where it says none.
    pub(super) fn number(&self, place: usize) -> u64 {
        self.entry(place)
            .and_then(|entry| entry.seq)
            .unwrap_or(place as u64)
    }

    /// The moves that the entry at this place allows.
    pub(super) fn moves_of(&self, place: usize) -> &[Move<'a>] {
        self.of_entry
            .get(place)
            .and_then(|range| self.moves.get(range.clone()))
            .unwrap_or_default()
    }

    /// The moves of a ref to a commit.
    pub(super) fn moves_to(&self, reference: &str, new: Oid) -> impl Iterator<Item = &Move<'a>> {
        self.by_new
            .get(reference)
            .and_then(|moves| moves.get(&new))
            .into_iter()
            .flatten()
            .filter_map(|index| self.moves.get(*index))
    }

    /// The moves of a ref, in no order.
    pub(super) fn moves_of_ref(&self, reference: &str) -> impl Iterator<Item = &Move<'a>> {
        self.by_new
            .get(reference)
            .into_iter()
            .flat_map(HashMap::values)
            .flatten()
            .filter_map(|index| self.moves.get(*index))
    }

    /// The moves of a rollout, in order.
    pub(super) fn moves_for(&self, rollout: &str) -> impl Iterator<Item = &Move<'a>> {
        self.by_rollout
            .get(rollout)
            .into_iter()
            .flatten()
            .filter_map(|index| self.moves.get(*index))
    }

    /// The seals on a commit of a ref.
    pub(super) fn seals_on(&self, reference: &str, old: Oid) -> &[Oid] {
        self.seals
            .get(reference)
            .and_then(|seals| seals.get(&old))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// How a rollout opened, if the log says so.
    pub(super) fn opening(&self, rollout: &str) -> Option<Opening<'a>> {
        self.openings.get(rollout).copied()
    }

    /// Whether the entry at this place, or one before it, opened a rollout.
    pub(super) fn has_opened(&self, rollout: &str, place: usize) -> bool {
        self.opening(rollout)
            .is_some_and(|opening| opening.place <= place)
    }

    /// The plan that a rollout opened with, if it could be read.
    pub(super) fn plan(&self, rollout: &str) -> Option<&'a Plan> {
        let plan = self.opening(rollout)?.rollout?.plan?;
        self.record.plans.get(&plan)
    }

    /// Tells, entry by entry, which moves are open once the entry's closings are done and before its own intents.
    pub(super) fn replay(&self, mut look: impl FnMut(usize, &'a Entry, &[&Move<'a>])) {
        let mut open: Vec<&Move<'a>> = Vec::new();
        for (place, entry) in self.record.entries.iter().enumerate() {
            if !entry.closed.is_empty() {
                open.retain(|known| known.closed.is_none_or(|(at, _)| at > place));
            }
            look(place, entry, &open);
            open.extend(self.moves_of(place));
        }
    }
}

impl<'a> Move<'a> {
    /// What its commit changes, as far as that could be compared.
    pub(super) fn changes(&self) -> impl Iterator<Item = &'a RootChange> + use<'a> {
        self.commit
            .into_iter()
            .flat_map(|commit| commit.changes.iter().flatten())
    }

    pub(super) fn is(&self, kind: MoveKind) -> bool {
        self.kind == Some(kind)
    }

    /// Whether a branch that was there before comes back.
    pub(super) fn comes_back(&self) -> bool {
        self.line.old.is_zero() && self.is(MoveKind::Restore)
    }
}

/// What an entry says of the newest rollout.
pub(super) fn rollout_in(entry: &Entry) -> Option<&RolloutRecord> {
    entry.state.as_ref().ok()?.rollout.as_ref()
}

fn kind_of(
    record: &Record,
    line: &Permission,
    commit: Option<&Commit>,
    draft: Option<&Intent>,
) -> Option<MoveKind> {
    if record.is_for_source(&line.reference) {
        return Some(MoveKind::SourceRevert);
    }
    let drafted = draft.map(|draft| draft.draft.kind);
    let has_parents = commit.is_some_and(|commit| !commit.parents.is_empty());
    if line.old.is_zero() && drafted.map_or(has_parents, |kind| kind == MoveKind::Restore) {
        return Some(MoveKind::Restore);
    }
    commit.and_then(|commit| commit.kind).or(drafted)
}
