//! The way to a service that a test runs, which can be cut.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Passage {
    /// It arrives.
    #[default]
    Open,
    /// Its connection is closed.
    Closed,
    /// Nothing comes back.
    Silent,
}

/// The way to a service. A copy is the same way.
#[derive(Debug, Clone, Default)]
pub struct Way(Arc<(Mutex<Passage>, Condvar)>);

impl Way {
    /// From now on every connection is closed without an answer.
    pub fn close(&self) {
        self.set(Passage::Closed);
    }

    /// From now on no answer comes, as when packets are lost.
    pub fn silence(&self) {
        self.set(Passage::Silent);
    }

    /// Everything arrives again; what came before is lost.
    pub fn open(&self) {
        self.set(Passage::Open);
    }

    fn set(&self, passage: Passage) {
        let (now, changed) = &*self.0;
        *now.lock().unwrap_or_else(PoisonError::into_inner) = passage;
        changed.notify_all();
    }

    /// Whether a request is lost. Where nothing comes back, this does not either before it would.
    pub fn loses(&self) -> bool {
        let (now, changed) = &*self.0;
        let now = now.lock().unwrap_or_else(PoisonError::into_inner);
        let was = *now;
        drop(
            changed
                .wait_while(now, |now| *now == Passage::Silent)
                .unwrap_or_else(PoisonError::into_inner),
        );
        was != Passage::Open
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_comes_while_it_is_cut_is_lost() {
        let way = Way::default();
        assert!(!way.loses());
        way.close();
        assert!(way.loses());
        way.silence();
        let asked = thread::spawn({
            let way = way.clone();
            move || way.loses()
        });
        // Whether it was asked before or behind the silence's end is up to the machine.
        way.close();
        assert!(asked.join().unwrap());
        way.open();
        assert!(!way.loses());
    }
}
