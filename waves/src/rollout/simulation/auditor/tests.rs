//! Lawful stories are clean. The rules' own tests tamper with them, each so that one promise is broken.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::network::Fault;
use super::super::world::{Commit, Logged, Spec, World, wave_ref};
use super::audit;
use crate::fleet::OnFailure;
use crate::log::{DraftIntent, EntryKind, MoveKind, Outcome};
use crate::oid::Oid;
use crate::rollout::{Rollout, Verb};

/// Tampers with a story, and expects findings about these promises and no other, one of which says this.
#[track_caller]
pub(super) fn broken(
    name: &str,
    mut world: World,
    promises: &[u8],
    says: &str,
    tamper: impl FnOnce(&mut World),
) {
    assert_eq!(audit(&world), Vec::<String>::new(), "{name}: not lawful");
    tamper(&mut world);
    let found = audit(&world);
    let about: BTreeSet<u8> = found.iter().filter_map(|found| promise(found)).collect();
    let expected: BTreeSet<u8> = promises.iter().copied().collect();
    assert_eq!(about, expected, "{name}: {found:#?}\n{}", world.story());
    assert!(
        found.iter().any(|found| found.contains(says)),
        "{name}: {found:#?}\n{}",
        world.story()
    );
}

/// The promise that a finding names.
fn promise(found: &str) -> Option<u8> {
    let (_, rest) = found.split_once("promise ")?;
    let (number, _) = rest.split_once(':')?;
    number.parse().ok()
}

/// Two commits that went everywhere.
pub(super) fn good() -> World {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.last(), EntryKind::Succeeded, "{}", world.story());
    world
}

/// A commit that harms the canary, and is taken back.
pub(super) fn failed() -> World {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    world
}

/// One that harms a single region, which alone is given back.
pub(super) fn isolated() -> World {
    let spec = Spec::small().wave("broad", |wave| wave.on_failure = OnFailure::Isolate);
    let mut world = World::settled(spec);
    world.bad_words.insert("worse".to_owned());
    world.commit(&[("all", "v2"), ("r3", "worse")]);
    world.run();
    assert_eq!(world.count(EntryKind::RegionFailed), 1, "{}", world.story());
    world
}

/// One that a person takes back after its success.
pub(super) fn reverted_by_request() -> World {
    let mut world = good();
    world.request(Verb::Revert);
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    world
}

/// A promotion that is under way when the canary fails, and is sealed.
pub(super) fn sealed() -> World {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.faults.insert(wave_ref("pilot"), Fault::Lost);
    world.run_until("a promotion that does not arrive", |world| {
        let mut open = world.state().intents.iter();
        open.any(|intent| intent.draft.wave == "pilot")
    });
    world.outage.insert("r0".to_owned());
    world.run_until_last(EntryKind::Sealing);
    world.faults.clear();
    world.outage.clear();
    world.run();
    assert_eq!(world.count(EntryKind::Failed), 1, "{}", world.story());
    assert!(
        closed(&world, Outcome::Sealed).is_some(),
        "{}",
        world.story()
    );
    world
}

/// Somebody pushes to a branch while a promotion is under way to it.
pub(super) fn overtaken() -> World {
    let mut world = World::settled(Spec::small());
    world.commit(&[("all", "v2")]);
    world.faults.insert(wave_ref("canary"), Fault::Lost);
    world.run_until("a promotion that does not arrive", |world| {
        !world.state().intents.is_empty()
    });
    world.drift("canary", "", None);
    world.run();
    assert_eq!(world.count(EntryKind::Drift), 1, "{}", world.story());
    assert!(
        closed(&world, Outcome::Overtaken).is_some(),
        "{}",
        world.story()
    );
    world
}

/// Where an intent was closed in this way: the entry, and which of those that it closes.
pub(super) fn closed(world: &World, outcome: Outcome) -> Option<(usize, usize)> {
    world.log.iter().enumerate().find_map(|(seq, logged)| {
        let mut closed = logged.entry.closed.iter();
        let which = closed.position(|closing| closing.outcome == outcome)?;
        Some((seq, which))
    })
}

/// The newest intent of a kind on a wave's branch: its entry, and its place among that entry's.
#[track_caller]
pub(super) fn newest(world: &World, kind: MoveKind, wave: &str) -> (usize, usize) {
    let found = world
        .log
        .iter()
        .enumerate()
        .rev()
        .find_map(|(seq, logged)| {
            let is_it = |draft: &DraftIntent| draft.kind == kind && draft.wave == wave;
            let mut intents = logged.intents.iter();
            Some((seq, intents.position(|intent| is_it(&intent.draft))?))
        });
    found.unwrap_or_else(|| panic!("no {kind} on {wave} in\n{}", world.story()))
}

impl World {
    pub(super) fn logged(&mut self, seq: usize) -> &mut Logged {
        Arc::make_mut(&mut self.log[seq])
    }

    pub(super) fn rollout_at(&mut self, seq: usize) -> &mut Rollout {
        self.logged(seq).state.rollout.as_mut().unwrap()
    }

    pub(super) fn commit_at(&mut self, commit: Oid) -> &mut Commit {
        Arc::make_mut(self.commits.get_mut(&commit).unwrap())
    }

    pub(super) fn end(&self) -> usize {
        self.log.len() - 1
    }

    pub(super) fn tip(&self, wave: &str) -> Oid {
        self.refs[&wave_ref(wave)]
    }

    /// A move of the canary's branch, as the newest rollout would make it.
    pub(super) fn draft(&self, kind: MoveKind) -> DraftIntent {
        let rollout = self.state().rollout.as_ref().unwrap();
        DraftIntent {
            reference: wave_ref("canary"),
            old: self.tip("canary"),
            kind,
            wave: "canary".to_owned(),
            folders: Vec::new(),
            given: None,
            onto: None,
            rollout: Some(rollout.id.clone()),
            source: Some(rollout.source),
        }
    }

    /// The last entry allows one more move.
    pub(super) fn allow(&mut self, draft: DraftIntent) -> Oid {
        let end = self.end();
        let new = self.make(&draft, end as u64);
        let intent = crate::log::Intent { draft, new };
        let logged = self.logged(end);
        logged.state.intents.push(intent.clone());
        logged.intents.push(intent);
        new
    }
}
