//! A clean history, made in memory: a rollout that succeeded, one that failed and was given back and reverted, a push
//! by hand that was adopted, and a rollout that is under way.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_waves::log::{
    Closing, DraftIntent, EntryKind, FolderChange, Intent, MoveKind, Outcome,
};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{
    Failure, FailureReason, FleetIdentity, RegionState, RolloutState, Sealing, WaveState,
};

use crate::audit::record::{
    Branch, Commit, Entry, Permission, Plan, PlanCommit, PlanRegion, PlanWave, Record,
    RolloutRecord, RootChange, State, WaveRecord,
};

pub(in crate::audit) const CANARY: &str = "refs/heads/t/canary";
pub(in crate::audit) const BROAD: &str = "refs/heads/t/broad";
pub(in crate::audit) const MAIN: &str = "refs/heads/main";
/// The rollout that succeeded.
pub(in crate::audit) const ONE: &str = "11111111-1";
/// The rollout that failed.
pub(in crate::audit) const TWO: &str = "22222222-7";
/// The rollout that is under way.
pub(in crate::audit) const THREE: &str = "33333333-19";

/// The id of the object of this name.
pub(in crate::audit) fn id(name: &str) -> Oid {
    let mut bytes = [b'.'; 20];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    Oid::from_bytes(bytes)
}

fn old(name: &str) -> Oid {
    if name.is_empty() { Oid::ZERO } else { id(name) }
}

struct World {
    record: Record,
    epoch: u64,
    open: Vec<Intent>,
    rollout: Option<RolloutRecord>,
}

impl World {
    /// Writes an entry; what it closes and allows is added to it.
    fn say(&mut self, kind: EntryKind, of_rollout: bool, wave: Option<&str>) -> &mut Entry {
        if kind == EntryKind::TakeOver {
            self.epoch += 1;
        }
        let seq = self.record.entries.len();
        let mut parents: Vec<Oid> = self
            .record
            .entries
            .last()
            .map(|entry| entry.id)
            .into_iter()
            .collect();
        if kind == EntryKind::RolloutOpened {
            parents.extend(self.rollout.as_ref().map(|rollout| rollout.plan_commit));
        }
        let rollout = self.rollout.as_ref().filter(|_| of_rollout);
        self.record.entries.push(Entry {
            id: id(&format!("entry{seq}")),
            parents,
            seq: Some(seq as u64),
            epoch: Some(self.epoch),
            kind: Some(kind),
            rollout: rollout.map(|rollout| rollout.id.clone()),
            wave: wave.map(str::to_owned),
            intents: Vec::new(),
            closed: Vec::new(),
            drift: Vec::new(),
            open: Vec::new(),
            accepted: kind == EntryKind::Requested,
            unread: Vec::new(),
            state: Ok(State {
                seq: seq as u64,
                epoch: self.epoch,
                fleet: identity(),
                intents: self.open.clone(),
                rollout: self.rollout.clone(),
                passed: wave.filter(|_| kind == EntryKind::WavePassed).map(passed),
                last_good: Some(id("good1")),
                isolated: BTreeSet::new(),
            }),
        });
        self.record.entries.last_mut().unwrap()
    }

    /// The newest entry closes a move.
    fn close(&mut self, reference: &str, new: &str, outcome: Outcome) {
        self.open.retain(|intent| intent.new != id(new));
        let open = self.open.clone();
        let entry = self.record.entries.last_mut().unwrap();
        entry.state.as_mut().unwrap().intents = open;
        entry.closed.push(Closing {
            reference: reference.to_owned(),
            new: id(new),
            outcome,
        });
    }

    /// The newest entry allows a move, and its commit changes one region.
    fn allow(
        &mut self,
        reference: &str,
        from: &str,
        new: &str,
        kind: MoveKind,
        change: Option<(&str, &str)>,
    ) {
        let rollout = self.rollout.as_ref().map(|rollout| rollout.id.clone());
        let rollout = rollout.filter(|_| kind != MoveKind::Adopt);
        let folders: Vec<FolderChange> = change
            .iter()
            .map(|(region, tree)| FolderChange {
                region: (*region).to_owned(),
                tree: Some(id(tree)),
            })
            .collect();
        self.record.commits.insert(
            id(new),
            Commit {
                parents: Some(old(from))
                    .filter(|old| !old.is_zero())
                    .into_iter()
                    .collect(),
                kind: Some(kind).filter(|kind| *kind != MoveKind::SourceRevert),
                rollout: rollout.clone(),
                by_log_author: true,
                is_by_its_author: true,
                changes: Some(folders.iter().map(root_change).collect()),
                unchanged: BTreeMap::new(),
            },
        );
        self.open.push(Intent {
            draft: DraftIntent {
                reference: reference.to_owned(),
                old: old(from),
                kind,
                wave: reference
                    .strip_prefix("refs/heads/t/")
                    .unwrap_or_default()
                    .to_owned(),
                folders,
                given: None,
                onto: None,
                rollout,
                source: None,
            },
            new: id(new),
        });
        let open = self.open.clone();
        let entry = self.record.entries.last_mut().unwrap();
        entry.state.as_mut().unwrap().intents = open;
        entry.parents.push(id(new));
        entry.intents.push(Permission {
            reference: reference.to_owned(),
            old: old(from),
            new: id(new),
        });
    }

    /// A rollout opens that brings the trees `west<n>` and `east<n>`.
    fn open(&mut self, rollout: &str, number: u32) {
        let tree = |region: &str| id(&format!("{region}{number}"));
        let plan = id(&format!("plan{number}"));
        let plan_commit = id(&format!("plancommit{number}"));
        self.record.plans.insert(
            plan,
            Plan {
                waves: [("canary", "west"), ("broad", "east")]
                    .map(|(name, region)| PlanWave {
                        name: name.to_owned(),
                        regions: [region.to_owned()].into(),
                    })
                    .to_vec(),
                regions: ["west", "east"]
                    .map(|region| (region.to_owned(), PlanRegion { tree: tree(region) }))
                    .into(),
            },
        );
        self.record.plan_commits.insert(
            plan_commit,
            PlanCommit {
                parents: Vec::new(),
                folders: ["west", "east"]
                    .map(|region| (region.to_owned(), tree(region)))
                    .into(),
            },
        );
        self.rollout = Some(RolloutRecord {
            id: rollout.to_owned(),
            state: RolloutState::Running,
            plan_commit,
            failure: None,
            sealing: None,
            revert_trees: BTreeMap::new(),
            plan: Some(plan),
            base_last_good: Some(id("good1")),
        });
        self.say(EntryKind::RolloutOpened, true, None);
    }

    fn now(&mut self, state: RolloutState, failure: Option<Failure>, sealing: Option<Sealing>) {
        let rollout = self.rollout.as_mut().unwrap();
        rollout.state = state;
        rollout.failure = failure;
        rollout.sealing = sealing;
    }
}

fn passed(wave: &str) -> WaveRecord {
    let region = if wave == "canary" { "west" } else { "east" };
    WaveRecord {
        state: WaveState::Passed,
        regions: [(region.to_owned(), RegionState::Done)].into(),
    }
}

fn root_change(folder: &FolderChange) -> RootChange {
    RootChange {
        name: folder.region.clone(),
        now: folder.tree,
        is_folder: true,
    }
}

fn identity() -> FleetIdentity {
    FleetIdentity {
        name: "shop".to_owned(),
        branch: "main".to_owned(),
        path: String::new(),
        prefix: "t".to_owned(),
    }
}

fn branch(names: &[&str]) -> Branch {
    let chain: Vec<Oid> = names.iter().map(|name| id(name)).collect();
    Branch {
        tip: chain.first().copied(),
        contains: chain.iter().copied().collect(),
        chain,
        cut_off: None,
    }
}

/// The clean history.
pub(in crate::audit) fn clean() -> Record {
    use EntryKind as Kind;
    let mut world = World {
        record: Record {
            fleet: Some(identity()),
            prefix: "t".to_owned(),
            config: Some(MAIN.to_owned()),
            ..Record::default()
        },
        epoch: 0,
        open: Vec::new(),
        rollout: None,
    };
    let good: BTreeMap<String, Oid> = ["west", "east"]
        .map(|region| (region.to_owned(), id(&format!("{region}1"))))
        .into();
    world.record.last_good.insert(id("good1"), good);
    world.say(Kind::Created, false, None); // 0
    world.open(ONE, 1); // 1
    world.say(Kind::Intent, true, None); // 2
    world.allow(CANARY, "", "c0", MoveKind::Create, None);
    world.allow(BROAD, "", "b0", MoveKind::Create, None);
    world.say(Kind::Intent, true, None); // 3
    world.close(CANARY, "c0", Outcome::Applied);
    world.close(BROAD, "b0", Outcome::Applied);
    world.allow(
        CANARY,
        "c0",
        "c1",
        MoveKind::Promote,
        Some(("west", "west1")),
    );
    world.say(Kind::WavePassed, true, Some("canary")); // 4
    world.close(CANARY, "c1", Outcome::Applied);
    world.allow(
        BROAD,
        "b0",
        "b1",
        MoveKind::Promote,
        Some(("east", "east1")),
    );
    world.say(Kind::WavePassed, true, Some("broad")); // 5
    world.close(BROAD, "b1", Outcome::Applied);
    world.now(RolloutState::Succeeded, None, None);
    world.say(Kind::Succeeded, true, None); // 6
    world.open(TWO, 2); // 7
    world.say(Kind::Intent, true, None); // 8
    world.allow(
        CANARY,
        "c1",
        "c2",
        MoveKind::Promote,
        Some(("west", "west2")),
    );
    world.say(Kind::TakeOver, false, None); // 9
    world.say(Kind::Applied, true, None); // 10
    world.close(CANARY, "c2", Outcome::Applied);
    world.say(Kind::WavePassed, true, Some("canary")); // 11
    world.allow(
        BROAD,
        "b1",
        "b2",
        MoveKind::Promote,
        Some(("east", "east2")),
    );
    let failure = Failure {
        reason: FailureReason::Harm,
        wave: "canary".to_owned(),
        region: "west".to_owned(),
        gate: "healthz".to_owned(),
        tree: Some(id("west2")),
        evidence: "healthz answered 500".to_owned(),
    };
    world.now(
        RolloutState::Running,
        None,
        Some(Sealing::Failed {
            failure: failure.clone(),
        }),
    );
    world.say(Kind::Sealing, true, None); // 12
    world.allow(BROAD, "b1", "seal", MoveKind::Seal, None);
    world.now(RolloutState::RollingBack, Some(failure.clone()), None);
    world.say(Kind::Failed, true, Some("canary")); // 13
    world.close(BROAD, "b2", Outcome::Sealed);
    world.close(BROAD, "seal", Outcome::Applied);
    world.allow(
        CANARY,
        "c2",
        "c3",
        MoveKind::Revert,
        Some(("west", "west1")),
    );
    world.say(Kind::Intent, true, None); // 14
    world.close(CANARY, "c3", Outcome::Applied);
    world.allow(MAIN, "m2", "m3", MoveKind::SourceRevert, None);
    world.now(RolloutState::RolledBack, Some(failure), None);
    world.say(Kind::Reverted, true, None); // 15
    world.close(MAIN, "m3", Outcome::Applied);
    let drift = world.say(Kind::Drift, false, Some("broad")); // 16
    drift.drift.push((BROAD.to_owned(), id("theirs")));
    world.say(Kind::Requested, false, None); // 17
    world.allow(BROAD, "theirs", "b3", MoveKind::Adopt, None);
    world.say(Kind::Applied, false, None); // 18
    world.close(BROAD, "b3", Outcome::Applied);
    world.open(THREE, 3); // 19
    world.say(Kind::Progress, true, None); // 20
    world.say(Kind::Intent, true, None); // 21
    world.allow(
        CANARY,
        "c3",
        "c4",
        MoveKind::Promote,
        Some(("west", "west3")),
    );
    let mut record = world.record;
    for (name, commits) in [
        (CANARY, &["c3", "c2", "c1", "c0"][..]),
        (BROAD, &["b3", "theirs", "seal", "b1", "b0"]),
        (MAIN, &["m3", "m2", "m1"]),
    ] {
        record.refs.insert(name.to_owned(), branch(commits));
    }
    record
        .refs
        .insert("refs/heads/t/requests".to_owned(), Branch::default());
    record
}
