//! Promise 4: branches move forward.

use super::Audit;

impl Audit<'_> {
    /// Promise 4.
    pub(super) fn pushes_are_forward(&mut self) {
        let world = self.world;
        for (reference, old, new, _) in &world.pushed {
            if new.is_zero() {
                self.wrong
                    .push(format!("promise 4: a deletion of {reference}"));
            }
            if !old.is_zero() && !self.on_chain(*new, *old) {
                self.wrong
                    .push(format!("promise 4: {reference} was not moved forward"));
            }
            let allowed = world.log.iter().any(|logged| {
                logged.intents.iter().any(|intent| {
                    intent.draft.reference == *reference
                        && intent.draft.old == *old
                        && intent.new == *new
                })
            });
            if !allowed {
                self.wrong
                    .push(format!("a push to {reference} that the log does not allow"));
            }
        }
    }
}
