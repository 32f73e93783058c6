//! Reading a record from a repo that has been fetched. What is missing or damaged becomes part of the record.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidegate_renderer::tree::{ObjectStore, StoreError};
use tidegate_waves::log::{EntryKind, Intent, SCHEMA};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::FleetIdentity;

use super::record::{
    Branch, Commit, Entry, Plan, PlanCommit, PlanRegion, Record, RolloutRecord, RootChange, State,
};
use crate::git::history::{CommitView, History, HistoryError, Person};

/// The repo could not be opened; nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its history could not.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Its objects could not.
    #[error(transparent)]
    Objects(#[from] StoreError),
}

/// Where things are in the repo.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The repo.
    pub repo: &'a Path,
    /// The log's tip.
    pub log: Oid,
    /// The prefix of the fleet's refs.
    pub prefix: &'a str,
}

/// `state.json`, as far as it is judged.
#[derive(Deserialize)]
struct StateFile {
    schema: u32,
    fleet: FleetIdentity,
    seq: u64,
    epoch: u64,
    intents: Vec<Intent>,
    rollout: Option<RolloutRecord>,
}

/// Finds out which fleet a log is about: its newest entry that can be read says so.
pub fn fleet(place: Place<'_>) -> Result<Option<FleetIdentity>, ReadError> {
    let reader = Reader::open(place.repo)?;
    let mut next = Some(place.log);
    while let Some(commit) = next.and_then(|id| reader.history.commit(id).ok()) {
        if let Ok(state) = reader.state(&commit) {
            return Ok(Some(state.fleet));
        }
        next = commit.first_parent();
    }
    Ok(None)
}

/// Reads everything. `refs` are the full names of all refs but the log, and their tips; `config` is the config branch.
pub fn read(
    place: Place<'_>,
    refs: &BTreeMap<String, Oid>,
    config: Option<String>,
) -> Result<Record, ReadError> {
    let mut reader = Reader::open(place.repo)?;
    place.prefix.clone_into(&mut reader.record.prefix);
    reader.record.config = config;
    reader.log(place.log);
    reader.plans();
    for (name, tip) in refs {
        reader.branch(name, *tip);
    }
    reader.named();
    Ok(reader.record)
}

struct Reader {
    history: History,
    store: ObjectStore,
    record: Record,
    /// Who writes the log.
    author: Option<Person>,
}

impl Reader {
    fn open(repo: &Path) -> Result<Self, ReadError> {
        Ok(Self {
            history: History::open(repo)?,
            store: ObjectStore::open(repo)?,
            record: Record::default(),
            author: None,
        })
    }

    /// The entries along first parents.
    fn log(&mut self, tip: Oid) {
        let mut next = Some(tip);
        while let Some(id) = next {
            let commit = match self.history.commit(id) {
                Ok(commit) => commit,
                Err(error) => {
                    self.record.cut_off = Some(error.to_string());
                    break;
                }
            };
            next = commit.first_parent();
            if self.author.is_none() {
                self.author = Some(commit.author.clone());
            }
            let state = self.state(&commit);
            if self.record.fleet.is_none() {
                self.record.fleet = state.as_ref().ok().map(|state| state.fleet.clone());
            }
            self.record.entries.push(Entry::read(&commit, state));
        }
        self.record.entries.reverse();
    }

    /// What an entry's tree says, or why that cannot be read.
    fn state(&self, commit: &CommitView) -> Result<State, String> {
        let files: HashMap<Vec<u8>, Oid> = self
            .store
            .read_tree(commit.tree)
            .map_err(|error| error.to_string())?
            .into_iter()
            .filter(|entry| !entry.is_tree())
            .map(|entry| (entry.name, entry.id))
            .collect();
        let file = |name: &str| files.get(name.as_bytes()).copied();
        let id = file("state.json").ok_or("there is no state.json")?;
        let state: StateFile = self.json(id).map_err(|why| format!("state.json: {why}"))?;
        if state.schema > SCHEMA {
            return Err(format!(
                "a newer Tidegate wrote it (schema {}, this one reads up to {SCHEMA})",
                state.schema
            ));
        }
        Ok(State {
            seq: state.seq,
            epoch: state.epoch,
            fleet: state.fleet,
            intents: state.intents,
            rollout: state.rollout.map(|rollout| RolloutRecord {
                plan: file("plan.json"),
                base_last_good: file("base-last-good.json"),
                ..rollout
            }),
        })
    }

    fn json<T: DeserializeOwned>(&self, id: Oid) -> Result<T, String> {
        let bytes = self
            .store
            .read_blob(id)
            .map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }

    /// The plans of the rollouts that opened, their plan commits, and the last good trees that failures count from.
    fn plans(&mut self) {
        let mut plans = Vec::new();
        let mut last_good = Vec::new();
        for entry in &self.record.entries {
            let Some(rollout) = super::story::rollout_in(entry) else {
                continue;
            };
            match entry.kind {
                Some(EntryKind::RolloutOpened) => plans.push((rollout.plan, rollout.plan_commit)),
                Some(EntryKind::Failed) => last_good.extend(rollout.base_last_good),
                _ => {}
            }
        }
        for (file, commit) in plans {
            if let Some(file) = file
                && !self.record.plans.contains_key(&file)
                && let Ok(plan) = self.json::<Plan>(file)
            {
                self.record.plans.insert(file, plan);
            }
            if let Ok(view) = self.history.commit(commit)
                && let Ok(folders) = self.store.folders(view.tree)
            {
                let parents = view.parents;
                self.record
                    .plan_commits
                    .insert(commit, PlanCommit { parents, folders });
            }
        }
        for file in last_good {
            if !self.record.last_good.contains_key(&file)
                && let Ok(good) = self.json::<BTreeMap<String, PlanRegion>>(file)
            {
                let trees = good.into_iter().map(|(region, good)| (region, good.tree));
                self.record.last_good.insert(file, trees.collect());
            }
        }
    }

    /// A branch's commits, each read once.
    fn branch(&mut self, name: &str, tip: Oid) {
        let rendered = self.record.wave_of(name).is_some();
        let mut branch = Branch::default();
        if !rendered && !self.record.is_for_source(name) {
            self.record.refs.insert(name.to_owned(), branch);
            return;
        }
        let mut open = vec![tip];
        while let Some(id) = open.pop() {
            if !branch.contains.insert(id) {
                continue;
            }
            match self.commit(id, false) {
                Ok(parents) => open.extend(parents),
                Err(why) => branch.cut_off = Some(why),
            }
        }
        let mut next = Some(tip).filter(|_| rendered);
        while let Some(id) = next {
            branch.chain.push(id);
            next = self
                .commit(id, true)
                .ok()
                .and_then(|parents| parents.first().copied());
        }
        self.record.refs.insert(name.to_owned(), branch);
    }

    /// The commits that intents name, whether they are on a branch or not.
    fn named(&mut self) {
        let named: Vec<(bool, Oid)> = self
            .record
            .entries
            .iter()
            .flat_map(|entry| &entry.intents)
            .map(|line| (self.record.wave_of(&line.reference).is_some(), line.new))
            .collect();
        for (rendered, id) in named {
            // What is not there is found when it is judged.
            let _ = self.commit(id, rendered);
        }
    }

    /// Takes a commit in, with what it changes if that is asked for, and gives its parents.
    fn commit(&mut self, id: Oid, with_changes: bool) -> Result<Vec<Oid>, String> {
        if let Some(known) = self.record.commits.get(&id)
            && (!with_changes || known.changes.is_some())
        {
            return Ok(known.parents.clone());
        }
        let view = self.history.commit(id).map_err(|error| error.to_string())?;
        let mut commit = Commit::read(&view, self.author.as_ref());
        if with_changes {
            commit.changes = self.changes(&view);
        }
        self.record.commits.insert(id, commit);
        Ok(view.parents)
    }

    /// What a commit changes at the root of its first parent's tree.
    fn changes(&self, commit: &CommitView) -> Option<Vec<RootChange>> {
        let root = |tree: Oid| -> Option<BTreeMap<Vec<u8>, (Oid, bool)>> {
            let entries = self.store.read_tree(tree).ok()?;
            Some(
                entries
                    .into_iter()
                    .map(|entry| {
                        let is_tree = entry.is_tree();
                        (entry.name, (entry.id, is_tree))
                    })
                    .collect(),
            )
        };
        let now = root(commit.tree)?;
        let before = match commit.first_parent() {
            Some(parent) => root(self.history.commit(parent).ok()?.tree)?,
            None => BTreeMap::new(),
        };
        let names = before
            .keys()
            .chain(now.keys().filter(|name| !before.contains_key(*name)));
        Some(
            names
                .filter(|name| before.get(*name) != now.get(*name))
                .map(|name| RootChange {
                    name: String::from_utf8_lossy(name).into_owned(),
                    now: now.get(name).map(|(id, _)| *id),
                    is_folder: [before.get(name), now.get(name)]
                        .into_iter()
                        .flatten()
                        .all(|(_, is_tree)| *is_tree),
                })
                .collect(),
        )
    }
}
