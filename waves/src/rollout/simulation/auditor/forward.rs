//! Promise 4: branches move forward, and what stood on one stays.

use std::collections::BTreeSet;

use super::super::world::wave_ref;
use super::Audit;
use crate::oid::Oid;

impl Audit<'_> {
    /// Promise 4, of everything that was sent, whether it arrived or not; and promise 3 of what moves forward.
    pub(super) fn pushes_are_forward(&mut self) {
        let world = self.world;
        let sent: BTreeSet<(&String, Oid, Oid)> = world
            .sent
            .iter()
            .map(|(reference, old, new)| (reference, *old, *new))
            .chain(
                world
                    .pushed
                    .iter()
                    .map(|(reference, old, new, _)| (reference, *old, *new)),
            )
            .collect();
        for (reference, old, new) in sent {
            let allowed = world.log.iter().any(|logged| {
                logged.intents.iter().any(|intent| {
                    intent.draft.reference == *reference
                        && intent.draft.old == old
                        && intent.new == new
                })
            });
            let wrong = if new.is_zero() {
                format!("promise 4: a deletion of {reference}")
            } else if !old.is_zero() && !self.on_chain(new, old) {
                format!("promise 4: {reference} was not moved forward")
            } else if !allowed {
                format!("promise 3: a push to {reference} that the log does not allow")
            } else {
                continue;
            };
            self.wrong.push(wrong);
        }
    }

    /// Promise 4, of the branches that nobody damaged.
    pub(super) fn what_was_applied_stays(&mut self) {
        let world = self.world;
        for (reference, _, new, _) in &world.pushed {
            if !reference.starts_with(&wave_ref("")) || world.damaged.contains(reference) {
                continue;
            }
            let tip = world.refs.get(reference);
            if !tip.is_some_and(|tip| self.on_chain(*tip, *new)) {
                self.wrong.push(format!(
                    "promise 4: {} is gone from {reference}",
                    new.short(6)
                ));
            }
        }
    }

    /// Whether a commit of ours once stood on a wave branch.
    pub(super) fn stood(&self, reference: &str, commit: Oid) -> bool {
        reference.starts_with(&wave_ref(""))
            && self
                .world
                .pushed
                .iter()
                .any(|(known, _, new, _)| known == reference && *new == commit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::world::wave_ref;
    use super::super::tests::{broken, good};
    use crate::oid::Oid;

    #[test]
    fn pushes_that_are_not_forward_are_named() {
        let canary = wave_ref("canary");
        broken("a deletion", good(), &[4], "a deletion of", |world| {
            world
                .sent
                .insert((canary.clone(), world.tip("canary"), Oid::ZERO));
        });
        broken("back", good(), &[4], "was not moved forward", |world| {
            let tip = world.tip("canary");
            let parent = world.commits[&tip].parent.unwrap();
            world.sent.insert((canary.clone(), tip, parent));
        });
        broken("unasked", good(), &[3], "the log does not allow", |world| {
            let tip = world.tip("canary");
            let parent = world.commits[&tip].parent.unwrap();
            let before = world.commits[&parent].parent.unwrap();
            world.sent.insert((canary.clone(), before, tip));
        });
    }

    #[test]
    fn what_was_applied_and_is_gone_is_named() {
        broken("moved back", good(), &[4], "is gone from", |world| {
            let tip = world.tip("canary");
            let parent = world.commits[&tip].parent.unwrap();
            world.refs.insert(wave_ref("canary"), parent);
        });
        broken("deleted", good(), &[4], "is gone from", |world| {
            world.refs.remove(&wave_ref("canary"));
        });
    }
}
