//! People: what they commit, ask for, and do to branches that are not theirs. They have a clone of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use git2::Repository;
use tidegate_renderer::tree::{EMPTY_TREE, NewCommit, ObjectStore};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{RequestOption, Verb};

use super::objects;
use super::schedule::Policy;
use super::world::Shared;
use crate::event::{REGIONS, WAVES};

/// The config branch.
pub(super) const MAIN: &str = "refs/heads/main";
/// The control log.
pub(super) const LOG: &str = "refs/heads/tidegate/log";
/// What people ask for.
pub(super) const REQUESTS: &str = "refs/heads/tidegate/requests";

/// The members of the waves, in their order.
const MEMBERS: [&[&str]; WAVES.len()] = [&["r0"], &["r1", "r2"], &["r3", "r4"]];

const TEMPLATE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: app }\ndata:\n  version: {{quote values.version}}\n  region: {{name}}\n";

/// Commits of people are dated from here on, one second after the other, whenever they are made: so that the same
/// commits have the same ids in every run.
const FIRST_COMMIT: i64 = 1_766_000_000;

/// Requests are dated from here on: later than any clock of a controller, for what is older than the log is refused.
const FIRST_REQUEST: i64 = 1_900_000_000;

/// The ref of a wave.
pub(super) fn wave_ref(wave: &str) -> String {
    format!("refs/heads/tidegate/{wave}")
}

/// The ref that a region's tree is on.
pub(super) fn wave_of(region: &str) -> String {
    let wave = MEMBERS
        .iter()
        .zip(WAVES)
        .find(|(members, _)| members.contains(&region))
        .map_or("", |(_, wave)| wave);
    wave_ref(wave)
}

/// Everybody who is no controller.
pub(super) struct People {
    world: Shared,
    clone: PathBuf,
    store: ObjectStore,
    commits: i64,
    requests: i64,
    /// The files of the config branch as people last left it.
    files: BTreeMap<String, String>,
}

impl People {
    /// People with a clone in this folder.
    pub(super) fn new(world: Shared, folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let clone = folder.join("people");
        Repository::init_bare(&clone)?;
        let store = ObjectStore::open(&clone)?;
        Ok(Self {
            world,
            clone,
            store,
            commits: 0,
            requests: 0,
            files: BTreeMap::new(),
        })
    }

    /// Brings all that the server has on its refs into their clone.
    pub(super) fn fetch(&self) -> Result<(), Box<dyn std::error::Error>> {
        let world = self.world.get();
        let wanted: Vec<Oid> = world.server.refs.values().copied().collect();
        let repository = Repository::open_bare(&self.clone)?;
        let missing = objects::closure(
            &wanted,
            |id| objects::has(&repository, id),
            |id| {
                let found = world.server.read(id);
                found
                    .map(|(kind, bytes)| (kind, bytes.to_vec()))
                    .ok_or_else(|| format!("the server lacks {id}"))
            },
        )?;
        objects::write(&repository, &missing)?;
        Ok(())
    }

    /// Their clone as it was when they last fetched.
    pub(super) fn clone_folder(&self) -> &Path {
        &self.clone
    }

    /// The first commit: a fleet with this policy.
    pub(super) fn begin(&mut self, policy: &Policy) -> Result<(), Box<dyn std::error::Error>> {
        self.files
            .insert("tidegate.yaml".to_owned(), document(policy));
        self.files
            .insert("templates/app.yaml.hbs".to_owned(), TEMPLATE.to_owned());
        self.files
            .insert("values/fleet.yaml".to_owned(), version("w0"));
        for region in REGIONS {
            self.files.insert(
                format!("regions/{region}.yaml"),
                format!("apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: {region}\n"),
            );
        }
        self.publish("Begin")
    }

    /// Changes what one region gets, or all of them where `region` names none.
    pub(super) fn commit(
        &mut self,
        region: Option<&str>,
        word: &str,
    ) -> Result<(), Box<dyn std::error::Error>> {
        self.look()?;
        match region {
            Some(region) => {
                self.files
                    .insert(format!("values/{region}.yaml"), version(word));
            }
            None => {
                for region in REGIONS {
                    self.files.remove(&format!("values/{region}.yaml"));
                }
                self.files
                    .insert("values/fleet.yaml".to_owned(), version(word));
            }
        }
        self.publish(&format!("{word} for {}", region.unwrap_or("all")))
    }

    /// Commits what is not valid, or mends it.
    pub(super) fn break_it(&mut self, broken: bool) -> Result<(), Box<dyn std::error::Error>> {
        self.look()?;
        let text = if broken { "{{#if}}" } else { TEMPLATE };
        self.files
            .insert("templates/app.yaml.hbs".to_owned(), text.to_owned());
        self.publish(if broken { "Break it" } else { "Mend it" })
    }

    /// Whether the config branch's head is valid.
    pub(super) fn is_head_valid(&mut self) -> Result<bool, Box<dyn std::error::Error>> {
        self.look()?;
        let template = self.files.get("templates/app.yaml.hbs");
        Ok(template.is_some_and(|text| text == TEMPLATE))
    }

    /// Replaces the config branch's history by one commit.
    pub(super) fn rewrite(&mut self, word: &str) -> Result<(), Box<dyn std::error::Error>> {
        self.look()?;
        self.files
            .insert("values/fleet.yaml".to_owned(), version(word));
        let commit = self.source(&format!("Begin anew with {word}"), None)?;
        let mut world = self.world.get();
        world.server.damaged.insert(MAIN.to_owned());
        let now = world.now;
        world.server.set(MAIN, commit, now, false);
        Ok(())
    }

    /// Reads the config branch: a revert of ours may stand on it.
    fn look(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let Some(tip) = self.world.get().server.refs.get(MAIN).copied() else {
            return Ok(());
        };
        self.fetch()?;
        let repository = Repository::open_bare(&self.clone)?;
        let tree = repository
            .find_commit(tidegate_renderer::tree::to_git(tip))?
            .tree_id();
        self.files.clear();
        for (path, blob) in self.store.files(tidegate_renderer::tree::from_git(tree))? {
            let text = String::from_utf8(self.store.read_blob(blob)?)?;
            self.files.insert(path, text);
        }
        Ok(())
    }

    fn publish(&mut self, subject: &str) -> Result<(), Box<dyn std::error::Error>> {
        let parent = self.world.get().server.refs.get(MAIN).copied();
        let commit = self.source(subject, parent)?;
        let mut world = self.world.get();
        let now = world.now;
        world.server.set(MAIN, commit, now, false);
        Ok(())
    }

    fn source(
        &mut self,
        subject: &str,
        parent: Option<Oid>,
    ) -> Result<Oid, Box<dyn std::error::Error>> {
        let mut files = BTreeMap::new();
        for (path, text) in &self.files {
            files.insert(path.clone(), self.store.blob(text.as_bytes())?);
        }
        let tree = self.store.folder(&files)?;
        self.commits += 1;
        self.make(tree, parent, subject, FIRST_COMMIT + self.commits)
    }

    /// Makes a commit and brings it to the server, where no ref names it yet.
    fn make(
        &self,
        tree: Oid,
        parent: Option<Oid>,
        message: &str,
        seconds: i64,
    ) -> Result<Oid, Box<dyn std::error::Error>> {
        let parents: Vec<Oid> = parent.into_iter().collect();
        let commit = self.store.commit(&NewCommit {
            tree,
            parents: &parents,
            author_name: "Jo Engineer",
            author_email: "jo@example.com",
            seconds,
            message,
        })?;
        self.store.flush()?;
        let mut world = self.world.get();
        let new = objects::gather(&self.clone, &[commit], |id| world.server.has(id))?;
        world.server.add(&new);
        Ok(commit)
    }

    /// Asks for something.
    pub(super) fn ask(
        &mut self,
        verb: Verb,
        option: Option<RequestOption>,
        details: &[(&str, &str)],
    ) -> Result<(), Box<dyn std::error::Error>> {
        let mut message = format!("{0}\n\nas wanted\n\nTidegate-Request: {0}\n", verb.name());
        if let Some(option) = option {
            let option = match option {
                RequestOption::Adopt => "adopt",
                RequestOption::Restore => "restore",
                RequestOption::Keep => "keep",
            };
            let _ = writeln!(message, "Tidegate-Option: {option}");
        }
        for (name, value) in details {
            let _ = writeln!(message, "Tidegate-{name}: {value}");
        }
        self.fetch()?;
        let parent = self.world.get().server.refs.get(REQUESTS).copied();
        self.requests += 1;
        let commit = self.make(EMPTY_TREE, parent, &message, FIRST_REQUEST + self.requests)?;
        let mut world = self.world.get();
        let now = world.now;
        world.server.set(REQUESTS, commit, now, false);
        Ok(())
    }

    /// Pushes a commit of their own to a wave branch, if there is one: a region's folder becomes this tree, or goes.
    pub(super) fn drift(
        &mut self,
        wave: &str,
        region: &str,
        tree: Option<Oid>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let reference = wave_ref(wave);
        let Some(tip) = self.world.get().server.refs.get(&reference).copied() else {
            return Ok(());
        };
        self.fetch()?;
        let base = self.world.get().server.commit(tip).map(|(tree, _)| tree);
        let changes = if region.is_empty() {
            Vec::new()
        } else {
            vec![(region.to_owned(), tree)]
        };
        let tree = self.store.splice(base.unwrap_or(EMPTY_TREE), &changes)?;
        self.commits += 1;
        let seconds = FIRST_COMMIT + self.commits;
        let commit = self.make(tree, Some(tip), "By hand", seconds)?;
        let mut world = self.world.get();
        let now = world.now;
        world.server.set(&reference, commit, now, false);
        Ok(())
    }

    /// A tree for a region that no commit of the config branch makes.
    pub(super) fn foreign_tree(&self) -> Result<Oid, Box<dyn std::error::Error>> {
        let text = format!("version: \"by hand {}\"\n", self.commits);
        let blob = self.store.blob(text.as_bytes())?;
        Ok(self
            .store
            .folder(&BTreeMap::from([("app.yaml".to_owned(), blob)]))?)
    }
}

fn version(word: &str) -> String {
    format!("version: \"{word}\"\n")
}

/// The fleet's document.
fn document(policy: &Policy) -> String {
    let mut text = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Fleet\nname: simulated\n\
         values: [values/fleet.yaml, {{ path: \"values/{{{{name}}}}.yaml\", optional: true }}]\n\
         onFailure: {}\nonUnreachable: {}\nwaves:\n",
        policy.on_failure, policy.on_unreachable
    );
    for ((wave, members), own) in WAVES.iter().zip(MEMBERS).zip(&policy.waves) {
        let _ = writeln!(
            text,
            "  - {{ name: {wave}, regions: [{}], bake: {}s, maxConcurrent: {}, maxFailures: {}, slotUntil: {}, progressDeadline: 120s }}",
            members.join(", "),
            own.bake,
            own.max_concurrent,
            own.max_failures,
            own.slot_until
        );
    }
    let _ = write!(
        text,
        "gates:\n  - name: healthz\n    http:\n      url: \"http://{{{{name}}}}.example/healthz\"\n      expect: {{ status: 200, json: {{ /version: \"{{{{values.version}}}}\" }} }}\n    \
         settle: 0s\n    every: {}s\n    timeout: 1s\n    successes: {}\n    failures: 2\n",
        policy.every, policy.successes
    );
    text
}
