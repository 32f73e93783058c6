//! How pushes reach the server, and how they fail to.

use std::sync::Arc;

use super::world::{Logged, World};
use crate::oid::Oid;
use crate::rollout::{Append, PushOrder, PushOutcome};

/// The control log's ref, as a key of [`World::faults`].
pub const LOG: &str = "refs/heads/tidegate/log";

/// What a push to a ref comes to, instead of moving it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Nothing arrives, and nobody knows.
    Lost,
    /// It arrives, and nobody knows.
    AnswerLost,
    /// It arrives when [`World::deliver`] is called.
    Delayed,
    /// It arrives, and arrives once more when [`World::deliver`] is called.
    Duplicated,
    /// The server says no.
    Refused,
}

/// An entry under way to the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LateAppend {
    /// The entry that it builds on.
    pub seq: u64,
    /// What it appends.
    pub append: Box<Append>,
}

impl World {
    pub(super) fn push(&mut self, order: &PushOrder, controller: usize) -> PushOutcome {
        self.sent
            .insert((order.reference.clone(), order.old, order.new));
        match self.faults.get(&order.reference) {
            Some(Fault::Refused) => {
                return PushOutcome::Refused {
                    message: "protected".to_owned(),
                };
            }
            Some(Fault::Lost) => return PushOutcome::Ambiguous,
            Some(Fault::Delayed) => {
                self.delay(order);
                return PushOutcome::Ambiguous;
            }
            Some(Fault::AnswerLost) => {
                self.swap(order, controller);
                return PushOutcome::Ambiguous;
            }
            Some(Fault::Duplicated) => self.delay(order),
            None => {}
        }
        if self.swap(order, controller) {
            PushOutcome::Moved
        } else {
            PushOutcome::LostRace
        }
    }

    fn swap(&mut self, order: &PushOrder, controller: usize) -> bool {
        let stands = self
            .refs
            .get(&order.reference)
            .copied()
            .unwrap_or(Oid::ZERO);
        if stands != order.old {
            return false;
        }
        self.refs.insert(order.reference.clone(), order.new);
        let who = self
            .controllers
            .get(controller)
            .map_or_else(|| "late".to_owned(), |controller| controller.name.clone());
        self.pushed
            .push((order.reference.clone(), order.old, order.new, who));
        true
    }

    fn delay(&mut self, order: &PushOrder) {
        if !self.delayed.contains(order) {
            self.delayed.push(order.clone());
        }
    }

    /// All that is under way arrives at last.
    pub fn deliver(&mut self) {
        for order in std::mem::take(&mut self.delayed) {
            self.swap(&order, usize::MAX);
        }
        for late in std::mem::take(&mut self.late_appends) {
            self.append(late.seq, late.append);
        }
    }

    /// One of the pushes under way arrives, whoever sent it and whatever came of them since.
    pub fn deliver_push(&mut self, which: usize) {
        if which < self.delayed.len() {
            let order = self.delayed.remove(which);
            self.swap(&order, usize::MAX);
        }
    }

    /// One of the entries under way reaches the log's server.
    pub fn deliver_entry(&mut self, which: usize) {
        if which < self.late_appends.len() {
            let late = self.late_appends.remove(which);
            self.append(late.seq, late.append);
        }
    }

    /// A controller pushes an entry; tells whether it knows that the entry stands.
    pub(super) fn push_entry(&mut self, seq: u64, append: Box<Append>) -> bool {
        match self.faults.get(LOG) {
            Some(Fault::Refused | Fault::Lost) => false,
            Some(Fault::AnswerLost) => {
                self.append(seq, append);
                false
            }
            Some(Fault::Delayed) => {
                let late = LateAppend { seq, append };
                if !self.late_appends.contains(&late) {
                    self.late_appends.push(late);
                }
                false
            }
            Some(Fault::Duplicated) => {
                self.late_appends.push(LateAppend {
                    seq,
                    append: append.clone(),
                });
                self.append(seq, append)
            }
            None => self.append(seq, append),
        }
    }

    /// The log's ref is compared and swapped: whoever is late has to look again.
    fn append(&mut self, seq: u64, append: Box<Append>) -> bool {
        if seq != self.state().seq {
            return false;
        }
        let (entry, intents, state) = append
            .complete(|draft| Ok::<_, ()>(self.make(draft, seq)))
            .unwrap();
        self.log.push(Arc::new(Logged {
            entry,
            intents,
            state,
            at: self.now,
        }));
        true
    }
}
