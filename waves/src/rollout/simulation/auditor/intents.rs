//! Promise 3: every commit has its intent or is listed as drift; every intent is closed once, and truly.

use std::collections::{BTreeMap, BTreeSet};

use super::{Audit, brings_back};
use crate::log::{Closing, Intent, MoveKind, Outcome};
use crate::oid::Oid;

impl Audit<'_> {
    /// Promise 3, of commits.
    pub(super) fn every_commit_has_its_intent(&mut self) {
        let world = self.world;
        let mut intents: BTreeMap<(&str, Oid), usize> = BTreeMap::new();
        for intent in world.log.iter().flat_map(|logged| &logged.intents) {
            if !brings_back(intent) {
                *intents
                    .entry((intent.draft.reference.as_str(), intent.new))
                    .or_default() += 1;
            }
        }
        let listed: BTreeSet<(&str, Oid)> = world
            .log
            .iter()
            .flat_map(|logged| &logged.entry.drift)
            .map(|(reference, commit)| (reference.as_str(), *commit))
            .collect();
        for (reference, tip) in &world.refs {
            let Some(wave) = reference.strip_prefix("refs/heads/tidegate/") else {
                continue;
            };
            let known = world
                .state()
                .branches
                .get(wave)
                .and_then(|branch| branch.tip);
            let mut is_known = false;
            let mut at = Some(*tip);
            while let Some(id) = at {
                is_known |= known == Some(id);
                let named = intents.get(&(reference.as_str(), id)).copied();
                let named = named.unwrap_or_default();
                let is_listed = listed.contains(&(reference.as_str(), id));
                let foreign = world.foreign.contains(&id);
                if foreign && named > 0 || !foreign && named != 1 {
                    self.wrong.push(format!(
                        "promise 3: {} on {reference} is the new of {named} intents",
                        id.short(6)
                    ));
                }
                if !foreign && is_listed {
                    self.wrong.push(format!(
                        "promise 3: {} of ours is listed as drift",
                        id.short(6)
                    ));
                }
                // What nobody has looked at yet is nowhere listed.
                if foreign && is_known && !is_listed {
                    self.wrong.push(format!(
                        "promise 3: {} on {reference} is not listed as drift",
                        id.short(6)
                    ));
                }
                at = world.commits.get(&id).and_then(|commit| commit.parent);
            }
        }
    }

    /// Promise 3, of intents.
    pub(super) fn intents_close_once_and_truly(&mut self) {
        let mut known: BTreeMap<(&str, Oid), &Intent> = BTreeMap::new();
        for (seq, logged) in self.entries() {
            for closing in &logged.entry.closed {
                let Some(intent) = known.remove(&(closing.reference.as_str(), closing.new)) else {
                    self.say(seq, "promise 3: it closes what is not open");
                    continue;
                };
                if !self.is_true(intent, closing) {
                    let what = format!(
                        "promise 3: {} is not {}",
                        closing.new.short(6),
                        closing.outcome
                    );
                    self.say(seq, what);
                }
            }
            known.extend(
                logged
                    .intents
                    .iter()
                    .map(|intent| ((intent.draft.reference.as_str(), intent.new), intent)),
            );
            let open: BTreeSet<(&str, Oid)> = logged
                .state
                .intents
                .iter()
                .map(|intent| (intent.draft.reference.as_str(), intent.new))
                .collect();
            if !open.iter().eq(known.keys()) {
                self.say(seq, "promise 3: its state does not list what is open");
            }
        }
    }

    /// Whether a branch agrees with how an intent on it was closed. Of what is gone, or was rewritten, nobody knows.
    fn is_true(&self, intent: &Intent, closing: &Closing) -> bool {
        let world = self.world;
        let Some(tip) = world.refs.get(&closing.reference) else {
            return true;
        };
        if world.damaged.contains(&closing.reference) {
            return true;
        }
        let (old, is_there) = (intent.draft.old, self.on_chain(*tip, closing.new));
        match closing.outcome {
            // What was there once and is gone breaks promise 4.
            Outcome::Applied => is_there || self.stood(&closing.reference, closing.new),
            Outcome::Sealed => !is_there && self.is_sealed(intent, *tip),
            Outcome::Overtaken => {
                !is_there && (old.is_zero() || *tip != old && self.on_chain(*tip, old))
            }
        }
    }

    fn is_sealed(&self, intent: &Intent, tip: Oid) -> bool {
        self.world
            .log
            .iter()
            .flat_map(|logged| &logged.intents)
            .any(|seal| {
                seal.draft.kind == MoveKind::Seal
                    && (&seal.draft.reference, seal.draft.old)
                        == (&intent.draft.reference, intent.draft.old)
                    && self.on_chain(tip, seal.new)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::world::{World, id, wave_ref};
    use super::super::tests::{broken, closed, good, newest, overtaken};
    use crate::log::{EntryKind, MoveKind, Outcome};

    #[test]
    fn commits_without_an_intent_are_named() {
        broken("nobody's", good(), &[3], "the new of 0 intents", |world| {
            let forged = id(&"forged");
            let commit = world.commits[&world.tip("canary")].clone();
            world.commits.insert(forged, commit);
            world.commit_at(forged).parent = Some(world.tip("canary"));
            world.refs.insert(wave_ref("canary"), forged);
        });
        broken(
            "of another branch",
            good(),
            &[3],
            "the new of 0 intents",
            |world| {
                // Deep below, and closed long since.
                let (seq, which) = newest(world, MoveKind::Create, "canary");
                world.logged(seq).intents[which].draft.kind = MoveKind::Restore;
                world.logged(seq).intents[which].draft.given = Some(world.tip("canary"));
            },
        );
        broken(
            "named twice",
            good(),
            &[3],
            "the new of 2 intents",
            |world| {
                let (seq, which) = newest(world, MoveKind::Promote, "broad");
                let again = world.log[seq].intents[which].clone();
                let end = world.end();
                let logged = world.logged(end);
                logged.state.intents.push(again.clone());
                logged.intents.push(again);
            },
        );
    }

    #[test]
    fn drift_that_is_listed_wrongly_is_named() {
        broken(
            "not listed",
            overtaken(),
            &[3],
            "is not listed as drift",
            |world| {
                let at = world.position(EntryKind::Drift);
                world.logged(at).entry.drift.clear();
            },
        );
        broken(
            "of another branch",
            overtaken(),
            &[3],
            "is not listed as drift",
            |world| {
                let at = world.position(EntryKind::Drift);
                world.logged(at).entry.drift[0].0 = wave_ref("pilot");
            },
        );
        broken(
            "ours",
            good(),
            &[3],
            "of ours is listed as drift",
            |world| {
                let (end, tip) = (world.end(), world.tip("canary"));
                world
                    .logged(end)
                    .entry
                    .drift
                    .push((wave_ref("canary"), tip));
            },
        );
    }

    #[test]
    fn intents_that_are_closed_wrongly_are_named() {
        let close_as = |from: Outcome, to: Outcome| {
            move |world: &mut World| {
                let (seq, which) = closed(world, from).unwrap();
                world.logged(seq).entry.closed[which].outcome = to;
            }
        };
        let (applied, lost, sealed) = (Outcome::Applied, Outcome::Overtaken, Outcome::Sealed);
        broken(
            "there",
            good(),
            &[3],
            "is not overtaken",
            close_as(applied, lost),
        );
        broken(
            "not there",
            overtaken(),
            &[3],
            "is not applied",
            close_as(lost, applied),
        );
        broken(
            "no seal",
            overtaken(),
            &[3],
            "is not sealed",
            close_as(lost, sealed),
        );
        broken("twice", good(), &[3], "closes what is not open", |world| {
            let (seq, which) = closed(world, applied).unwrap();
            let again = world.log[seq].entry.closed[which].clone();
            let end = world.end();
            world.logged(end).entry.closed.push(again);
        });
        broken(
            "never",
            good(),
            &[3],
            "does not list what is open",
            |world| {
                let (seq, which) = closed(world, applied).unwrap();
                world.logged(seq).entry.closed.remove(which);
            },
        );
    }
}
