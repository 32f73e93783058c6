//! Reading a record from a repo that has been fetched. What is missing or damaged becomes part of the record.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use tidegate_renderer::tree::{ObjectStore, StoreError};
use tidegate_waves::log::{EntryKind, Intent, MoveKind};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::FleetIdentity;

use super::batches::{OpenMove, Trees};
use super::files::{Quarantined, StateFile, WaveFile};
use super::record::{
    Branch, Commit, Entry, Permission, Plan, PlanCommit, PlanRegion, Record, RolloutRecord,
    RootChange, State, WaveRecord,
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

/// Reads the bytes of a `state.json`, with the trees that the plan and the last good say.
#[cfg(feature = "fuzzing")]
pub(crate) fn state_of(
    bytes: &[u8],
    planned: &BTreeMap<String, Oid>,
    last_good: &BTreeMap<String, Oid>,
) -> Result<State, String> {
    let state: StateFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    state.check_schema()?;
    state.whole(planned, last_good)
}

/// Finds out which fleet a log is about: its newest entry that can be read says so.
pub fn fleet(place: Place<'_>) -> Result<Option<FleetIdentity>, ReadError> {
    let mut reader = Reader::open(place.repo)?;
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
    /// The trees of the plan that was read last, and of the last good: entries side by side have the same.
    planned: Remembered,
    last_good: Remembered,
}

/// Trees, and the file that says them.
type Remembered = Option<(Oid, Rc<Trees>)>;

impl Reader {
    fn open(repo: &Path) -> Result<Self, ReadError> {
        Ok(Self {
            history: History::open(repo)?,
            store: ObjectStore::open(repo)?,
            record: Record::default(),
            author: None,
            planned: None,
            last_good: None,
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
    fn state(&mut self, commit: &CommitView) -> Result<State, String> {
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
        let state: StateFile = json(&self.store, id).map_err(|why| format!("state.json: {why}"))?;
        state.check_schema()?;
        let mut planned = Rc::default();
        if state.intents.iter().any(OpenMove::needs_plan) {
            let id = file("plan.json").ok_or("there is no plan.json")?;
            planned = remember(&mut self.planned, id, || {
                json::<Plan>(&self.store, id).map(|plan| trees(plan.regions))
            })
            .map_err(|why| format!("plan.json: {why}"))?;
        }
        let mut last_good = Rc::default();
        if state.intents.iter().any(OpenMove::needs_last_good) {
            let id = file("last-good.json").ok_or("there is no last-good.json")?;
            last_good = remember(&mut self.last_good, id, || json(&self.store, id).map(trees))
                .map_err(|why| format!("last-good.json: {why}"))?;
        }
        let mut whole = state.whole(&planned, &last_good)?;
        whole.passed = self.passed(commit);
        let puts_back =
            |intent: &Intent| matches!(intent.draft.kind, MoveKind::Revert | MoveKind::Restore);
        if whole.intents.iter().any(puts_back) {
            whole.last_good = file("last-good.json");
            self.good(whole.last_good);
            whole.isolated = self.isolated(file("quarantine.json"))?;
        }
        Ok(State {
            rollout: whole.rollout.map(|rollout| RolloutRecord {
                plan: file("plan.json"),
                base_last_good: file("base-last-good.json"),
                ..rollout
            }),
            ..whole
        })
    }

    /// What the tree of a `WavePassed` says of that wave, if it can be read.
    fn passed(&self, commit: &CommitView) -> Option<WaveRecord> {
        let trailers = commit.trailers();
        let kind: EntryKind = trailers.only("Tidegate-Entry")?.parse().ok()?;
        if kind != EntryKind::WavePassed {
            return None;
        }
        let path = format!("waves/{}.json", trailers.only("Tidegate-Wave")?);
        let file = self.store.entry(commit.tree, &path).ok()??;
        let wave: WaveFile = json(&self.store, file.id).ok()?;
        Some(wave.whole())
    }

    /// The regions that failed alone, by the rollout in which they did.
    fn isolated(&self, file: Option<Oid>) -> Result<BTreeSet<(String, String)>, String> {
        let Some(file) = file else {
            return Ok(BTreeSet::new());
        };
        let items: Vec<Quarantined> =
            json(&self.store, file).map_err(|why| format!("quarantine.json: {why}"))?;
        Ok(Quarantined::alone(items))
    }

    /// Takes last good trees in; what cannot be read is missed where it is judged.
    fn good(&mut self, file: Option<Oid>) {
        if let Some(file) = file
            && !self.record.last_good.contains_key(&file)
            && let Ok(good) = json::<BTreeMap<String, PlanRegion>>(&self.store, file)
        {
            self.record.last_good.insert(file, trees(good));
        }
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
                Some(EntryKind::RolloutOpened) => {
                    plans.push((rollout.plan, rollout.plan_commit));
                    last_good.extend(rollout.base_last_good);
                }
                Some(EntryKind::Failed) => last_good.extend(rollout.base_last_good),
                _ => {}
            }
        }
        for (file, commit) in plans {
            if let Some(file) = file
                && !self.record.plans.contains_key(&file)
                && let Ok(plan) = json::<Plan>(&self.store, file)
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
            self.good(Some(file));
        }
    }

    /// A branch's commits, each read once.
    fn branch(&mut self, name: &str, tip: Oid) {
        let rendered = self.record.wave_of(name).is_some();
        let mut branch = Branch {
            tip: Some(tip),
            ..Branch::default()
        };
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
        let mut named: Vec<(bool, Oid, Vec<String>)> = Vec::new();
        for entry in &self.record.entries {
            for line in &entry.intents {
                let rendered = self.record.wave_of(&line.reference).is_some();
                named.push((rendered, line.new, batch(entry, line)));
            }
        }
        for (rendered, id, batch) in named {
            // What is not there is found when it is judged.
            if self.commit(id, rendered).is_ok() && rendered {
                self.unchanged(id, batch);
            }
        }
    }

    /// Looks up what a commit has for the regions of its batch that it does not change.
    fn unchanged(&mut self, id: Oid, mut batch: Vec<String>) {
        if let Some(changes) = self
            .record
            .commits
            .get(&id)
            .and_then(|commit| commit.changes.as_ref())
        {
            let changed: HashSet<&str> =
                changes.iter().map(|change| change.name.as_str()).collect();
            batch.retain(|region| !changed.contains(region.as_str()));
        }
        if batch.is_empty() {
            return;
        }
        let folders = self
            .history
            .commit(id)
            .ok()
            .and_then(|view| self.store.folders(view.tree).ok())
            .unwrap_or_default();
        if let Some(commit) = self.record.commits.get_mut(&id) {
            for region in batch {
                let tree = folders.get(&region).copied();
                commit.unchanged.insert(region, tree);
            }
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

/// The regions that the move of an intent is about, as its entry's state says.
fn batch(entry: &Entry, line: &Permission) -> Vec<String> {
    let Ok(state) = &entry.state else {
        return Vec::new();
    };
    state
        .intents
        .iter()
        .filter(|intent| intent.draft.reference == line.reference && intent.new == line.new)
        .flat_map(|intent| &intent.draft.folders)
        .map(|change| change.region.clone())
        .collect()
}

fn trees(regions: BTreeMap<String, PlanRegion>) -> Trees {
    regions
        .into_iter()
        .map(|(region, planned)| (region, planned.tree))
        .collect()
}

/// What a file says, read unless it is the one that was read before.
fn remember(
    memory: &mut Remembered,
    file: Oid,
    read: impl FnOnce() -> Result<Trees, String>,
) -> Result<Rc<Trees>, String> {
    if let Some((known, trees)) = memory
        && *known == file
    {
        return Ok(Rc::clone(trees));
    }
    let trees = Rc::new(read()?);
    *memory = Some((file, Rc::clone(&trees)));
    Ok(trees)
}

fn json<T: DeserializeOwned>(store: &ObjectStore, file: Oid) -> Result<T, String> {
    let bytes = store.read_blob(file).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_waves::rollout::{RegionState, WaveState, from_files};

    use super::*;

    /// The entry that schema 3 is known by, from the engine's tests: what each file of it says.
    const ENTRY: &str = include_str!("../../../waves/src/rollout/tests/fixtures/schema-3.json");

    struct World {
        _folder: tempfile::TempDir,
        reader: Reader,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            git2::Repository::init_bare(folder.path()).unwrap();
            Self {
                reader: Reader::open(folder.path()).unwrap(),
                _folder: folder,
            }
        }

        /// What the audit reads from an entry with these files.
        fn read(&mut self, files: &BTreeMap<String, Vec<u8>>) -> Result<State, String> {
            self.read_with(files, String::new())
        }

        /// The same of an entry with this message.
        fn read_with(
            &mut self,
            files: &BTreeMap<String, Vec<u8>>,
            message: String,
        ) -> Result<State, String> {
            let store = &self.reader.store;
            let blobs = files
                .iter()
                .map(|(path, content)| (path.clone(), store.blob(content).unwrap()))
                .collect();
            let commit = CommitView {
                id: Oid::from_bytes([1; 20]),
                parents: Vec::new(),
                tree: store.folder(&blobs).unwrap(),
                message,
                author: Person {
                    name: "Tidegate".to_owned(),
                    email: "tidegate@example.com".to_owned(),
                },
                is_by_its_author: true,
                seconds: 7,
            };
            self.reader.state(&commit)
        }
    }

    fn files() -> BTreeMap<String, Vec<u8>> {
        files_of(ENTRY)
    }

    fn files_of(entry: &str) -> BTreeMap<String, Vec<u8>> {
        let files: BTreeMap<String, serde_json::Value> = serde_json::from_str(entry).unwrap();
        files
            .into_iter()
            .map(|(path, content)| (path, serde_json::to_vec(&content).unwrap()))
            .collect()
    }

    #[test]
    fn open_moves_are_read_as_the_engine_reads_them() {
        let files = files();
        let mut world = World::new();
        let intents = world.read(&files).unwrap().intents;
        assert_eq!(intents, from_files(&files).unwrap().intents);
        assert!(
            intents
                .iter()
                .any(|intent| !intent.draft.folders.is_empty())
        );
        let state = String::from_utf8_lossy(&files["state.json"]);
        assert!(state.contains("asPlanned"), "{state}");
    }

    #[test]
    fn a_wave_that_passed_is_read_from_its_own_file() {
        let mut world = World::new();
        assert!(world.read(&files()).unwrap().passed.is_none());
        let fixtures = [
            include_str!("../../../waves/src/rollout/tests/fixtures/schema-1.json"),
            ENTRY,
        ];
        for fixture in fixtures {
            let files = files_of(fixture);
            let message = "WavePassed\n\nTidegate-Entry: WavePassed\nTidegate-Wave: ";
            let mut passed = |wave: &str| {
                let message = format!("{message}{wave}\n");
                let state = world.read_with(&files, message).unwrap();
                state.passed.map(|passed| (passed.state, passed.regions))
            };
            let (state, regions) = passed("canary").unwrap();
            assert_eq!(state, WaveState::Passed);
            assert_eq!(regions, [("r0".to_owned(), RegionState::Done)].into());
            let (state, regions) = passed("broad").unwrap();
            assert_eq!((state, regions.len()), (WaveState::NotStarted, 2));
            assert!(passed("nowhere").is_none());
        }
    }

    #[test]
    fn trees_are_those_of_the_entrys_own_plan() {
        let mut world = World::new();
        let first = world.read(&files()).unwrap().intents;
        let mut other = files();
        let mut plan: serde_json::Value = serde_json::from_slice(&other["plan.json"]).unwrap();
        let region = first[0].draft.folders[0].region.clone();
        plan["regions"][&region]["tree"] = json!("7".repeat(40));
        other.insert("plan.json".to_owned(), serde_json::to_vec(&plan).unwrap());
        let second = world.read(&other).unwrap().intents;
        assert_eq!(
            second[0].draft.folders[0].tree,
            "7".repeat(40).parse().ok(),
            "{second:?}"
        );
        assert_eq!(world.read(&files()).unwrap().intents, first);
    }

    #[test]
    fn an_open_move_that_cannot_be_understood_is_no_state() {
        let mut world = World::new();
        let mut without = files();
        without.remove("plan.json");
        assert_eq!(world.read(&without).unwrap_err(), "there is no plan.json");
        let mut unknown = files();
        let mut state: serde_json::Value = serde_json::from_slice(&unknown["state.json"]).unwrap();
        state["intents"][0]["asLastGood"] = json!(["nowhere"]);
        unknown.insert("state.json".to_owned(), serde_json::to_vec(&state).unwrap());
        let why = world.read(&unknown).unwrap_err();
        assert!(
            why.starts_with("state.json: ")
                && why.ends_with("names nowhere, of which last-good.json says no tree"),
            "{why}"
        );
    }
}
