//! Promises 3 and 5: every commit has its intent, and changes what that says; every intent is closed once, and truly.

use std::collections::{BTreeMap, BTreeSet};

use super::{Audit, brings_back};
use crate::log::{Intent, Outcome};
use crate::oid::Oid;

impl Audit<'_> {
    /// Promises 3 and 5.
    pub(super) fn every_commit_has_its_intent(&mut self) {
        let world = self.world;
        let mut intents: BTreeMap<Oid, Vec<&Intent>> = BTreeMap::new();
        for intent in world.log.iter().flat_map(|logged| &logged.intents) {
            intents.entry(intent.new).or_default().push(intent);
        }
        let listed: BTreeSet<Oid> = world
            .log
            .iter()
            .flat_map(|logged| logged.entry.drift.iter().map(|(_, commit)| *commit))
            .collect();
        for (reference, tip) in &world.refs {
            if !reference.starts_with("refs/heads/tidegate/") {
                continue;
            }
            let mut at = Some(*tip);
            while let Some(id) = at {
                let commit = &world.commits[&id];
                let named = intents.get(&id).map_or(0, |found| {
                    found.iter().filter(|intent| !brings_back(intent)).count()
                });
                let foreign = world.foreign.contains(&id);
                if foreign && named > 0 || !foreign && named != 1 {
                    self.wrong.push(format!(
                        "promise 3: {} on {reference} is the new of {named} intents",
                        id.short(6)
                    ));
                }
                if !foreign && listed.contains(&id) {
                    self.wrong.push(format!(
                        "promise 3: {} of ours is listed as drift",
                        id.short(6)
                    ));
                }
                if let (Some(intent), Some(parent)) = (
                    intents
                        .get(&id)
                        .and_then(|found| found.iter().find(|intent| !brings_back(intent))),
                    commit.parent,
                ) {
                    let before = &world.commits[&parent].folders;
                    let batch: BTreeSet<&String> = intent
                        .draft
                        .folders
                        .iter()
                        .map(|change| &change.region)
                        .collect();
                    let regions: BTreeSet<&String> =
                        before.keys().chain(commit.folders.keys()).collect();
                    for region in regions {
                        if before.get(region) != commit.folders.get(region)
                            && !batch.contains(region)
                        {
                            self.wrong
                                .push(format!("promise 5: {region} is not of the batch"));
                        }
                    }
                }
                at = commit.parent;
            }
        }
    }

    /// Promises 3 and 4.
    pub(super) fn intents_close_once_and_truly(&mut self) {
        let world = self.world;
        let mut closed: BTreeSet<(String, Oid)> = BTreeSet::new();
        let mut known: BTreeSet<(String, Oid)> = BTreeSet::new();
        for (seq, logged) in self.entries() {
            for closing in &logged.entry.closed {
                let key = (closing.reference.clone(), closing.new);
                if !known.remove(&key) {
                    self.say(seq, "promise 3: it closes what is not open");
                }
                closed.insert(key);
                let Some(tip) = world.refs.get(&closing.reference) else {
                    continue;
                };
                if world.damaged.contains(&closing.reference) {
                    continue;
                }
                let there = self.on_chain(*tip, closing.new);
                if there != (closing.outcome == Outcome::Applied) {
                    self.say(
                        seq,
                        format!(
                            "promise 3: {} is not {}",
                            closing.new.short(6),
                            closing.outcome
                        ),
                    );
                }
            }
            known.extend(
                logged
                    .intents
                    .iter()
                    .map(|intent| (intent.draft.reference.clone(), intent.new)),
            );
            let open: BTreeSet<(String, Oid)> = logged
                .state
                .intents
                .iter()
                .map(|intent| (intent.draft.reference.clone(), intent.new))
                .collect();
            if open != known {
                self.say(seq, "its state does not list what is open");
            }
        }
    }
}
