//! Promise 2: nothing is promoted behind an ending, and what was sealed is on no branch.

use std::collections::BTreeSet;

use super::Audit;
use crate::log::{EntryKind, Intent, MoveKind, Outcome};
use crate::oid::Oid;
use crate::rollout::RolloutState;

impl Audit<'_> {
    /// Promise 2, and what `Sealing` latches.
    pub(super) fn endings_wait_for_promotions(&mut self) {
        let world = self.world;
        let closed = self.closed_at();
        let mut open: Vec<&Intent> = Vec::new();
        let mut excused: BTreeSet<Oid> = BTreeSet::new();
        let mut failed: BTreeSet<String> = BTreeSet::new();
        let mut sealing: Option<String> = None;
        for (seq, logged) in self.entries() {
            for closing in &logged.entry.closed {
                open.retain(|intent| {
                    (&intent.draft.reference, intent.new) != (&closing.reference, closing.new)
                });
            }
            let kind = logged.entry.kind;
            let named: BTreeSet<Oid> = logged.entry.open.iter().map(|(_, new)| *new).collect();
            excused.extend(&named);
            if matches!(
                kind,
                EntryKind::Failed
                    | EntryKind::Superseded
                    | EntryKind::Aborted
                    | EntryKind::Succeeded
                    | EntryKind::Reverted
            ) {
                for intent in &open {
                    let excuse = match kind {
                        EntryKind::Failed => named.contains(&intent.new),
                        EntryKind::Reverted => excused.contains(&intent.new),
                        _ => false,
                    };
                    let waits_for_all = matches!(
                        kind,
                        EntryKind::Superseded | EntryKind::Aborted | EntryKind::Succeeded
                    );
                    if intent.draft.kind == MoveKind::Promote && !excuse {
                        self.wrong.push(format!(
                            "entry {seq}: promise 2: {kind} while a promotion is open"
                        ));
                    } else if waits_for_all && intent.draft.kind != MoveKind::SourceRevert {
                        self.wrong
                            .push(format!("entry {seq}: {kind} while a move is open"));
                    }
                }
            }
            let is_open = |new: &Oid| open.iter().any(|intent| intent.new == *new);
            if !named.iter().all(is_open) {
                self.say(seq, "promise 2: it names as open what is not");
            }
            if kind == EntryKind::RolloutOpened {
                let incomplete = world.log[seq - 1]
                    .state
                    .rollout
                    .as_ref()
                    .is_some_and(|rollout| rollout.state == RolloutState::RollbackIncomplete);
                if !incomplete
                    && open
                        .iter()
                        .any(|intent| intent.draft.kind == MoveKind::Revert)
                {
                    self.say(seq, "opened while a give-back is open");
                }
            }
            if sealing.is_some()
                && sealing == logged.entry.rollout
                && (!Self::promotes(logged).is_empty()
                    || matches!(kind, EntryKind::WavePassed | EntryKind::Succeeded))
            {
                self.say(seq, "a sealing is not followed by its ending alone");
            }
            match kind {
                EntryKind::Sealing => sealing.clone_from(&logged.entry.rollout),
                EntryKind::Failed => {
                    failed.extend(logged.entry.rollout.clone());
                    sealing = None;
                }
                EntryKind::Superseded | EntryKind::Aborted => sealing = None,
                _ => {}
            }
            for intent in Self::promotes(logged) {
                if intent
                    .draft
                    .rollout
                    .as_ref()
                    .is_some_and(|rollout| failed.contains(rollout))
                {
                    self.wrong.push(format!(
                        "entry {seq}: promise 2: a promotion after the failure"
                    ));
                }
            }
            for intent in &logged.intents {
                let same_ref: Vec<&&Intent> = open
                    .iter()
                    .filter(|known| known.draft.reference == intent.draft.reference)
                    .collect();
                let seals_it = intent.draft.kind == MoveKind::Seal
                    && same_ref.iter().all(|known| {
                        known.draft.old == intent.draft.old && known.draft.kind == MoveKind::Promote
                    });
                // A deleted branch comes back to where what is open on it begins.
                let comes_back = intent.draft.old.is_zero()
                    && same_ref.iter().all(|known| known.draft.old == intent.new);
                if !same_ref.is_empty() && !seals_it && !comes_back {
                    self.wrong.push(format!(
                        "entry {seq}: a second open intent on {}",
                        intent.draft.reference
                    ));
                }
            }
            open.extend(&logged.intents);
        }
        for (new, (seq, outcome)) in &closed {
            let on_a_branch = world.refs.values().any(|tip| self.on_chain(*tip, *new));
            if *outcome == Outcome::Sealed && on_a_branch {
                self.say(*seq, "promise 2: a sealed commit is on a branch");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::world::wave_ref;
    use super::super::tests::{broken, closed, failed, good, newest, sealed};
    use crate::log::{EntryKind, FolderChange, MoveKind, Outcome};

    #[test]
    fn promotions_behind_an_ending_are_named() {
        broken(
            "behind Failed",
            failed(),
            &[2],
            "after the failure",
            |world| {
                let rollout = world.state().rollout.clone().unwrap();
                let mut draft = world.draft(MoveKind::Promote);
                draft.folders.push(FolderChange {
                    region: "r0".to_owned(),
                    tree: Some(rollout.plan.regions["r0"].tree),
                });
                world.allow(draft);
            },
        );
        broken(
            "open at Succeeded",
            good(),
            &[2],
            "while a promotion is open",
            |world| {
                let (seq, which) = newest(world, MoveKind::Promote, "broad");
                let intent = world.log[seq].intents[which].clone();
                for seq in seq + 1..world.log.len() {
                    let logged = world.logged(seq);
                    logged
                        .entry
                        .closed
                        .retain(|closing| closing.new != intent.new);
                    if !logged.state.intents.contains(&intent) {
                        logged.state.intents.push(intent.clone());
                    }
                }
            },
        );
        broken(
            "named, and not open",
            failed(),
            &[2],
            "names as open",
            |world| {
                let at = world.position(EntryKind::Failed);
                let tip = (wave_ref("canary"), world.tip("canary"));
                world.logged(at).entry.open.push(tip);
            },
        );
    }

    #[test]
    fn a_sealed_commit_on_a_branch_is_named() {
        broken(
            "copied",
            sealed(),
            &[2],
            "sealed commit is on a branch",
            |world| {
                let (seq, which) = closed(world, Outcome::Sealed).unwrap();
                let promoted = world.log[seq].entry.closed[which].new;
                world.refs.insert("refs/heads/theirs".to_owned(), promoted);
            },
        );
    }
}
