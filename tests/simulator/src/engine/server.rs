//! The git server: refs and objects in memory, pushes that are under way, and what goes wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use git2::ObjectType;
use tidegate_renderer::tree::EMPTY_TREE;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::PushOutcome;
use tidegate_waves::rollout::simulation::network::Fault;

use super::objects::{Object, named_by};

/// One ref that somebody wants moved, and the objects that come with it.
#[derive(Debug, Clone)]
pub(super) struct Update {
    pub(super) reference: String,
    pub(super) old: Oid,
    pub(super) new: Oid,
    pub(super) objects: std::sync::Arc<Vec<Object>>,
}

/// An update that was sent.
#[derive(Debug)]
struct UnderWay {
    /// By which its sender asks what became of it.
    ticket: u64,
    /// When it arrives; `None`: when the schedule says so.
    due: Option<Duration>,
    update: Update,
}

/// A ref that moved.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) at: Duration,
    pub(super) reference: String,
    pub(super) old: Oid,
    pub(super) new: Oid,
    /// Whether a controller did it.
    pub(super) ours: bool,
}

/// The server.
#[derive(Debug, Default)]
pub(super) struct Server {
    objects: BTreeMap<Oid, (ObjectType, Vec<u8>)>,
    /// All refs by full name.
    pub(super) refs: BTreeMap<String, Oid>,
    under_way: Vec<UnderWay>,
    answers: BTreeMap<u64, PushOutcome>,
    tickets: u64,
    /// What pushes of a ref come to.
    pub(super) faults: BTreeMap<String, Fault>,
    /// Nobody reaches it.
    pub(super) is_down: bool,
    /// Whether a push of several refs is refused whole where one of them is.
    pub(super) refuses_whole: bool,
    /// Every ref that moved, in order.
    pub(super) moves: Vec<Move>,
    /// What no controller may send.
    pub(super) wrong: Vec<String>,
    /// The refs that people damaged: deleted, forced back, rewritten.
    pub(super) damaged: BTreeSet<String>,
}

impl Server {
    /// A server without any ref.
    pub(super) fn new(refuses_whole: bool) -> Self {
        Self {
            refuses_whole,
            ..Self::default()
        }
    }

    /// Whether an object is there.
    pub(super) fn has(&self, id: Oid) -> bool {
        self.objects.contains_key(&id)
    }

    /// An object's kind and content.
    pub(super) fn read(&self, id: Oid) -> Option<(ObjectType, &[u8])> {
        self.objects
            .get(&id)
            .map(|(kind, bytes)| (*kind, bytes.as_slice()))
    }

    /// Adds objects.
    pub(super) fn add(&mut self, objects: &[Object]) {
        for object in objects {
            self.objects
                .entry(object.id)
                .or_insert_with(|| (object.kind, object.bytes.clone()));
        }
    }

    /// A commit's tree and first parent.
    pub(super) fn commit(&self, id: Oid) -> Option<(Oid, Option<Oid>)> {
        let (kind, bytes) = self.read(id)?;
        if kind != ObjectType::Commit {
            return None;
        }
        let mut named = named_by(kind, bytes).into_iter();
        Some((named.next()?, named.next()))
    }

    /// The tree's entries, by name.
    pub(super) fn tree(&self, id: Oid) -> BTreeMap<String, Oid> {
        if id == EMPTY_TREE {
            return BTreeMap::new();
        }
        self.read(id)
            .filter(|(kind, _)| *kind == ObjectType::Tree)
            .map(|(_, bytes)| super::objects::entries(bytes).into_iter().collect())
            .unwrap_or_default()
    }

    /// What a branch has in each of its folders.
    pub(super) fn folders(&self, reference: &str) -> BTreeMap<String, Oid> {
        self.refs
            .get(reference)
            .and_then(|tip| self.commit(*tip))
            .map(|(tree, _)| self.tree(tree))
            .unwrap_or_default()
    }

    /// Whether a commit is another one or among its ancestors, by any parent.
    pub(super) fn is_ancestor(&self, wanted: Oid, of: Oid) -> bool {
        let mut seen = BTreeSet::new();
        let mut next = vec![of];
        while let Some(id) = next.pop() {
            if id == wanted {
                return true;
            }
            if !seen.insert(id) {
                continue;
            }
            if let Some((ObjectType::Commit, bytes)) = self.read(id) {
                next.extend(named_by(ObjectType::Commit, bytes).into_iter().skip(1));
            }
        }
        false
    }

    /// Takes a controller's push of one ref; the ticket tells later what became of it. It goes on whatever becomes of
    /// its sender.
    pub(super) fn send(&mut self, update: Update, arrives: Duration) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        let mut post = |ticket, due, update| {
            self.under_way.push(UnderWay {
                ticket,
                due,
                update,
            });
        };
        // Ticket 0 is nobody's: its answer is lost.
        match self.faults.get(&update.reference) {
            None => post(ticket, Some(arrives), update),
            Some(Fault::Refused) => {
                let message = "protected".to_owned();
                self.answers
                    .insert(ticket, PushOutcome::Refused { message });
            }
            Some(Fault::Lost) => {}
            Some(Fault::Delayed) => post(0, None, update),
            Some(Fault::AnswerLost) => post(0, Some(arrives), update),
            Some(Fault::Duplicated) => {
                post(0, None, update.clone());
                post(ticket, Some(arrives), update);
            }
        }
        ticket
    }

    /// What became of a push, once.
    pub(super) fn answer(&mut self, ticket: u64) -> PushOutcome {
        self.answers
            .remove(&ticket)
            .unwrap_or(PushOutcome::Ambiguous)
    }

    /// What is due arrives, in the order in which it was sent.
    pub(super) fn receive(&mut self, now: Duration) {
        let (due, later): (Vec<UnderWay>, Vec<UnderWay>) = std::mem::take(&mut self.under_way)
            .into_iter()
            .partition(|sent| sent.due.is_some_and(|due| due <= now));
        self.under_way = later;
        for sent in due {
            let outcome = self.apply(&sent.update, now);
            if sent.ticket > 0 {
                self.answers.insert(sent.ticket, outcome);
            }
        }
    }

    /// One of those that wait for the schedule arrives, or all of them.
    pub(super) fn deliver(&mut self, which: Option<usize>, now: Duration) {
        let mut place = 0;
        for sent in &mut self.under_way {
            if sent.due.is_none() {
                if which.is_none_or(|which| which == place) {
                    sent.due = Some(now);
                }
                place += 1;
            }
        }
        self.receive(now);
    }

    /// As `git receive-pack` does it: the ref must be where the sender thinks it is, and may only go forward. What is
    /// not taken leaves no objects behind.
    fn apply(&mut self, update: &Update, now: Duration) -> PushOutcome {
        let new: Vec<Oid> = update
            .objects
            .iter()
            .map(|object| object.id)
            .filter(|id| !self.has(*id))
            .collect();
        self.add(&update.objects);
        let outcome = self.decide(update, now);
        if outcome != PushOutcome::Moved {
            for id in new {
                self.objects.remove(&id);
            }
        }
        outcome
    }

    fn decide(&mut self, update: &Update, now: Duration) -> PushOutcome {
        let at = self
            .refs
            .get(&update.reference)
            .copied()
            .unwrap_or(Oid::ZERO);
        if at == update.new {
            return PushOutcome::Moved;
        }
        if at != update.old {
            return PushOutcome::LostRace;
        }
        if update.new.is_zero() || (!at.is_zero() && !self.is_ancestor(at, update.new)) {
            self.wrong.push(format!(
                "{} was to go from {at} to {}, which is no fast-forward",
                update.reference, update.new
            ));
            return PushOutcome::Refused {
                message: "non-fast-forward".to_owned(),
            };
        }
        if let Some(missing) = self.missing(update.new) {
            self.wrong.push(format!(
                "{} was to become {}, but {missing} was not sent",
                update.reference, update.new
            ));
            return PushOutcome::Refused {
                message: "missing necessary objects".to_owned(),
            };
        }
        self.set(&update.reference, update.new, now, true);
        PushOutcome::Moved
    }

    /// Moves a ref, wherever to.
    pub(super) fn set(&mut self, reference: &str, new: Oid, now: Duration, ours: bool) {
        let old = if new.is_zero() {
            self.refs.remove(reference)
        } else {
            self.refs.insert(reference.to_owned(), new)
        };
        self.moves.push(Move {
            at: now,
            reference: reference.to_owned(),
            old: old.unwrap_or(Oid::ZERO),
            new,
            ours,
        });
    }

    /// An object that a commit needs, its parents' own aside, and that is not there.
    fn missing(&self, commit: Oid) -> Option<Oid> {
        let mut next = vec![commit];
        while let Some(id) = next.pop() {
            if id == EMPTY_TREE {
                continue;
            }
            let Some((kind, bytes)) = self.read(id) else {
                return Some(id);
            };
            let named = named_by(kind, bytes);
            if kind == ObjectType::Commit {
                if let Some(parent) = named.iter().skip(1).find(|parent| !self.has(**parent)) {
                    return Some(*parent);
                }
                next.extend(named.first());
            } else {
                next.extend(named);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_renderer::tree::from_git;

    use super::*;

    const WAVE: &str = "refs/heads/tidegate/canary";

    fn commit(number: u8, parent: Option<Oid>) -> Object {
        let parent = parent.map_or_else(String::new, |parent| format!("parent {parent}\n"));
        let bytes = format!("tree {EMPTY_TREE}\n{parent}author a\n\n{number}\n").into_bytes();
        let id = git2::Oid::hash_object(ObjectType::Commit, &bytes).unwrap();
        Object {
            id: from_git(id),
            kind: ObjectType::Commit,
            bytes,
        }
    }

    fn update(old: Oid, new: &Object) -> Update {
        Update {
            reference: WAVE.to_owned(),
            old,
            new: new.id,
            objects: Arc::new(vec![new.clone()]),
        }
    }

    fn push(server: &mut Server, update: Update) -> PushOutcome {
        let ticket = server.send(update, Duration::ZERO);
        server.receive(Duration::ZERO);
        server.answer(ticket)
    }

    #[test]
    fn only_what_goes_forward_from_the_expected_id_moves_and_the_rest_is_remembered() {
        let mut server = Server::new(false);
        let first = commit(1, None);
        let second = commit(2, Some(first.id));
        let stranger = commit(3, None);
        assert_eq!(
            push(&mut server, update(Oid::ZERO, &first)),
            PushOutcome::Moved
        );
        assert_eq!(
            push(&mut server, update(Oid::ZERO, &second)),
            PushOutcome::LostRace
        );
        assert_eq!(
            push(&mut server, update(first.id, &second)),
            PushOutcome::Moved
        );
        assert_eq!(
            push(&mut server, update(first.id, &second)),
            PushOutcome::Moved
        );
        assert!(server.wrong.is_empty());
        assert!(matches!(
            push(&mut server, update(second.id, &stranger)),
            PushOutcome::Refused { .. }
        ));
        assert_eq!(server.wrong.len(), 1);
        let orphan = commit(4, Some(second.id));
        let child = commit(5, Some(orphan.id));
        // Its parent is not sent with it: the server finds no way from where it is.
        push(&mut server, update(second.id, &child));
        assert_eq!(server.wrong.len(), 2);
        assert_eq!(server.refs.get(WAVE), Some(&second.id));
        // Nothing is left of what was refused.
        assert!(!server.has(stranger.id) && !server.has(child.id));
    }

    #[test]
    fn faults_lose_delay_and_repeat() {
        let first = commit(1, None);
        let outcome = |fault| {
            let mut server = Server::new(false);
            server.faults.insert(WAVE.to_owned(), fault);
            let outcome = push(&mut server, update(Oid::ZERO, &first));
            let at_once = server.refs.contains_key(WAVE);
            server.refs.clear();
            server.deliver(None, Duration::ZERO);
            (outcome, at_once, server.refs.contains_key(WAVE))
        };
        assert_eq!(outcome(Fault::Lost), (PushOutcome::Ambiguous, false, false));
        assert_eq!(
            outcome(Fault::AnswerLost),
            (PushOutcome::Ambiguous, true, false)
        );
        assert_eq!(
            outcome(Fault::Delayed),
            (PushOutcome::Ambiguous, false, true)
        );
        assert_eq!(outcome(Fault::Duplicated), (PushOutcome::Moved, true, true));
    }
}
