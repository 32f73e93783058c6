//! A fleet of four regions in three waves on a real git server, its health, and controllers for it: what crashes and
//! faults are tried on.
//!
//! The first rollout of the fleet is carried out once for all tests; each test begins with a copy of the repo that it
//! left behind, so that ids and trees are the same in all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use crate::audience::Audience;
use crate::branch_health::{Health, SICK};
use crate::canaries::STANDING;
use crate::git_server::{GitServer, PASSWORD, USERNAME};
use crate::tidegate::{Answer, Running, Tidegate, built};
use crate::wait::wait_for;
use crate::work::Work;
use tidegate_waves::rollout::{FleetState, SourceRevert, from_files};

/// The repo's name on the server.
pub const REPO: &str = "fleet.git";
/// The control log.
pub const LOG: &str = "refs/heads/tidegate/log";
/// The config branch.
pub const MAIN: &str = "refs/heads/main";
/// The waves' branches, in order.
pub const BRANCHES: [&str; 3] = [
    "refs/heads/tidegate/canary",
    "refs/heads/tidegate/pilot",
    "refs/heads/tidegate/broad",
];
/// How long anything may take on a slow machine.
pub const LONG: Duration = Duration::from_secs(180);

/// The regions and the waves in which they begin.
pub const REGIONS: [(&str, &str); 4] = [
    ("west", "canary"),
    ("east", "pilot"),
    ("north", "broad"),
    ("south", "broad"),
];

const FLEET: &str = r#"apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: small
values: [values/fleet.yaml, { path: "values/{{name}}.yaml", optional: true }]
waves:
  - { name: canary, regions: [west], bake: 300ms }
  - { name: pilot, regions: [east], bake: 300ms }
  - { name: broad, regions: [north, south], bake: 300ms }
gates:
  - name: healthz
    http:
      endpoint: regions
      url: "/{{name}}/healthz"
      expect: { status: 200, json: { /version: "{{values.version}}" } }
    settle: 0s
    every: 200ms
    timeout: 200ms
    successes: 1
    failures: 2
"#;

const TEMPLATE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: app }\ndata:\n  version: {{quote values.version}}\n  region: {{name}}\n";

/// What the engineer commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Story {
    /// The very first commit: no log yet.
    First,
    /// A second commit that is fine.
    Good,
    /// A second commit that turns a region of the last wave sick: three branches are given back.
    Bad,
}

/// One test's fleet. When it is dropped, the password must stand in no file of its folder but those that were made for
/// it, and in no object of the repo.
pub struct SmallFleet {
    /// The git server.
    pub server: GitServer,
    /// The engineer's work tree.
    pub work: Work,
    /// What the regions answer.
    pub health: Health,
    /// A forge and a receiver of alerts, which its controllers then have in their settings.
    pub audience: Option<Audience>,
    folder: tempfile::TempDir,
}

/// How everything stands in the end, without ids that depend on the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The tree of every branch that is not the log.
    trees: BTreeMap<String, String>,
    /// How many commits are on the config branch.
    commits: usize,
    rollout: String,
    regions: BTreeMap<String, String>,
    last_good: BTreeMap<String, String>,
    quarantine: Vec<String>,
    holds: Vec<String>,
    open: Vec<String>,
    source_revert: &'static str,
    settled: String,
}

/// The repo after the first rollout, made once.
static BASE: LazyLock<PathBuf> = LazyLock::new(|| {
    let fleet = SmallFleet::of(Story::First);
    fleet.controller("base").settle(0);
    // One for each test program: two of them may run side by side.
    let name = std::env::current_exe().unwrap();
    let name = name.file_stem().unwrap().to_string_lossy();
    let program = built();
    let target = program.ancestors().nth(2).unwrap();
    let base = target.join(format!("tmp/small-fleet-{name}.git"));
    let _ = fs::remove_dir_all(&base);
    copy(&fleet.server.path(REPO), &base);
    base
});

/// Copies a folder and all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let status = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status()
        .unwrap();
    assert!(status.success(), "{} to {}", from.display(), to.display());
}

impl End {
    /// Names of branches that hold a revert differ with the log entry that the rollout was opened in; and a merge of
    /// one is recorded as the push of the revert or not, as it came before or behind what closes the rollout.
    pub fn forget_names_of_reverts(&mut self) {
        self.source_revert = "on a branch";
        self.trees = std::mem::take(&mut self.trees)
            .into_iter()
            .map(|(name, tree)| match name.rsplit_once("/tidegate-revert/") {
                Some((before, _)) => (format!("{before}/tidegate-revert/…"), tree),
                None => (name, tree),
            })
            .collect();
    }

    /// Somebody who pushed to a branch while it was given back came before or after that.
    pub fn forget_how_it_was_given_back(&mut self) {
        self.rollout.clear();
        self.regions.clear();
    }
}

impl SmallFleet {
    /// A fleet whose engineer has just pushed the story's commit.
    pub fn of(story: Story) -> Self {
        let fleet = match story {
            Story::First => Self::empty(),
            Story::Good | Story::Bad => Self::settled(),
        };
        match story {
            Story::First => fleet.publish_first(),
            Story::Good => fleet.publish_version("2"),
            Story::Bad => fleet.publish_version(&format!("2{SICK}")),
        };
        fleet
    }

    /// A server with an empty repo.
    pub fn empty() -> Self {
        let server = GitServer::start();
        server.create(REPO);
        let work = Work::new(&server.url_with_password(REPO));
        Self::with(server, work)
    }

    /// A fleet whose first rollout has succeeded.
    pub fn settled() -> Self {
        Self::copied(&BASE)
    }

    /// A fleet whose bare repo is a copy of another's.
    pub fn copied(base: &Path) -> Self {
        let server = GitServer::start();
        let repo = server.create(REPO);
        copy(base, &repo);
        let work = Work::clone_of(&server.url_with_password(REPO));
        Self::with(server, work)
    }

    fn with(server: GitServer, work: Work) -> Self {
        let health = Health::start(&server.path(REPO));
        Self {
            server,
            work,
            health,
            audience: None,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The same with a forge and a receiver of alerts.
    #[must_use]
    pub fn with_audience(mut self) -> Self {
        let settled = self.state().and_then(|state| state.settled);
        let settled = settled.map(|settled| settled.source.to_string());
        let bare = self.server.path(REPO);
        self.audience = Some(Audience::of(&bare, &settled.unwrap_or_default()));
        self
    }

    /// A folder of the test's own.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Publishes the fleet's first commit.
    pub fn publish_first(&self) -> String {
        publish_first(&self.work)
    }

    /// Publishes another version.
    pub fn publish_version(&self, version: &str) -> String {
        publish_version(&self.work, version)
    }

    /// A controller with a data folder of its own.
    pub fn controller(&self, name: &str) -> Controller<'_> {
        let controller = Controller {
            fleet: self,
            name: name.to_owned(),
            takeover_after: "1s",
            fleet_name: "small",
            extra: String::new(),
            beside: String::new(),
            way: None,
            data: self.folder(name),
            program: built(),
            environment: BTreeMap::new(),
        };
        let audience = self.audience.iter().flat_map(Audience::settings);
        audience.fold(controller, |controller, line| controller.setting(&line))
    }

    /// What a log entry holds; `None` while there is no log.
    pub fn state_at(&self, revision: &str) -> Option<FleetState> {
        let repository = git2::Repository::open_bare(self.server.path(REPO)).unwrap();
        let commit = repository
            .revparse_single(revision)
            .ok()?
            .peel_to_commit()
            .ok()?;
        let mut files = BTreeMap::new();
        commit
            .tree()
            .unwrap()
            .walk(git2::TreeWalkMode::PreOrder, |folder, entry| {
                if entry.kind() == Some(git2::ObjectType::Blob) {
                    let blob = repository.find_blob(entry.id()).unwrap();
                    let path = format!("{folder}{}", entry.name().unwrap());
                    files.insert(path, blob.content().to_vec());
                }
                git2::TreeWalkResult::Ok
            })
            .unwrap();
        Some(from_files(&files).unwrap())
    }

    /// What the log's tip holds.
    pub fn state(&self) -> Option<FleetState> {
        self.state_at(LOG)
    }

    /// Whether the rollout of the newest commit by an engineer has come to this state.
    pub fn rollout_is(&self, wanted: &str) -> bool {
        let Some(state) = self.state() else {
            return false;
        };
        state.rollout.is_some_and(|rollout| {
            rollout.source.to_string() == self.work.head()
                && format!("{:?}", rollout.state) == wanted
        })
    }

    /// Runs git in the server's repo.
    pub fn git(&self, arguments: &[&str]) -> String {
        crate::work::git_command(&self.server.path(REPO), arguments)
    }

    /// How everything stands.
    pub fn end(&self) -> End {
        let state = self.state().expect("a log");
        let mut trees = BTreeMap::new();
        let listed = self.git(&[
            "for-each-ref",
            "--format=%(refname) %(objectname)^{tree}",
            "refs/heads",
        ]);
        for line in listed.lines() {
            let (name, tree) = line.split_once(' ').unwrap();
            if name != LOG {
                trees.insert(name.to_owned(), self.git(&["rev-parse", tree]));
            }
        }
        let rollout = state.rollout.as_ref().expect("a rollout");
        let regions = rollout
            .waves
            .iter()
            .flat_map(|wave| &wave.regions)
            .map(|(name, run)| (name.clone(), format!("{:?}", run.state)))
            .collect();
        let quarantine = state
            .quarantine
            .iter()
            .map(|item| format!("{} {:?} {}", item.source, item.digests, item.isolated))
            .collect();
        let settled = state.settled.as_ref().map_or_else(String::new, |settled| {
            self.git(&["rev-parse", &format!("{}^{{tree}}", settled.source)])
        });
        End {
            trees,
            commits: self.git(&["rev-list", "--count", MAIN]).parse().unwrap(),
            rollout: format!("{:?} of {}", rollout.state, rollout.source),
            regions,
            last_good: state
                .last_good
                .iter()
                .map(|(region, good)| (region.clone(), good.tree.to_string()))
                .collect(),
            quarantine,
            holds: state
                .holds
                .iter()
                .map(|hold| format!("{:?}", hold.reason))
                .collect(),
            open: state
                .intents
                .iter()
                .map(|intent| intent.draft.reference.clone())
                .collect(),
            source_revert: match rollout.source_revert {
                SourceRevert::None => "none",
                SourceRevert::Wanted => "wanted",
                SourceRevert::Proposing => "proposing",
                SourceRevert::Proposed { .. } => "proposed",
                SourceRevert::Pushed { .. } => "pushed",
                SourceRevert::NotNeeded => "not needed",
                SourceRevert::NotWanted => "not wanted",
                SourceRevert::Impossible => "impossible",
            },
            settled,
        }
    }

    /// The log's entries, oldest first: id and kind. None before there is a log.
    pub fn entries(&self) -> Vec<(String, String)> {
        if self.git(&["for-each-ref", LOG]).is_empty() {
            return Vec::new();
        }
        let text = self.git(&[
            "log",
            "--first-parent",
            "--reverse",
            "--format=%H %(trailers:key=Tidegate-Entry,valueonly,separator=%x2c)",
            LOG,
        ]);
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(id, kind)| (id.to_owned(), kind.to_owned()))
            .collect()
    }

    /// How many entries of a kind the log has.
    pub fn count(&self, kind: &str) -> usize {
        let entries = self.entries();
        entries.iter().filter(|(_, found)| found == kind).count()
    }

    /// Waits until the server's ref has left where it was, by a push that was on its way.
    pub fn wait_for_move(&self, name: &str, from: Option<&String>) {
        wait_for(&format!("a move of {name}"), LONG, || {
            (self.server.tip(REPO, name).as_ref() != from).then_some(())
        });
    }

    /// Waits until the log has this many entries of a kind.
    pub fn wait_for_entries(&self, kind: &str, count: usize) {
        wait_for(&format!("{count} entries {kind}"), LONG, || {
            (self.server.tip(REPO, LOG).is_some() && self.count(kind) >= count).then_some(())
        });
    }
}

impl Drop for SmallFleet {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let is_planted = |path: &Path| path.extension().is_some_and(|end| end == "password");
            let mut leaks = STANDING.find_in_folder(self.folder.path(), &is_planted);
            // Where a test took the repo away, there is nothing to look at.
            let repo = self.server.path(REPO);
            if repo.join("objects").is_dir() {
                leaks.extend(STANDING.find_in_objects(&repo, &BTreeSet::new()));
            }
            assert!(leaks.is_empty(), "secrets leaked: {leaks:#?}");
        }
    }
}

/// Publishes a fleet's first commit.
pub fn publish_first(work: &Work) -> String {
    let mut files = vec![
        ("tidegate.yaml".to_owned(), FLEET.to_owned()),
        ("templates/app.yaml.hbs".to_owned(), TEMPLATE.to_owned()),
        (
            "values/fleet.yaml".to_owned(),
            "version: \"1\"\n".to_owned(),
        ),
    ];
    for (region, _) in REGIONS {
        files.push((
            format!("regions/{region}.yaml"),
            format!("apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: {region}\n"),
        ));
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    work.publish(&files, "Begin the fleet")
}

/// Publishes another version of what a fleet runs; one that ends in `-bad` makes a region of the last wave sick.
pub fn publish_version(work: &Work, version: &str) -> String {
    work.publish(
        &[("values/fleet.yaml", &format!("version: \"{version}\"\n"))],
        &format!("Roll {version} out"),
    )
}

/// A controller that can be started.
#[derive(Clone)]
pub struct Controller<'a> {
    fleet: &'a SmallFleet,
    name: String,
    takeover_after: &'static str,
    fleet_name: &'static str,
    extra: String,
    /// More fleets, as they stand in the settings.
    beside: String,
    /// Another way to the repo than the server's own: address and credentials.
    way: Option<(String, String)>,
    data: PathBuf,
    program: PathBuf,
    environment: BTreeMap<String, String>,
}

impl Controller<'_> {
    /// Reaches the repo at another address, with other credentials (as they stand in the settings).
    #[must_use]
    pub fn by(mut self, address: &str, credentials: &str) -> Self {
        self.way = Some((address.to_owned(), credentials.to_owned()));
        self
    }

    /// How long it waits before it takes another's work over.
    #[must_use]
    pub fn takeover_after(mut self, duration: &'static str) -> Self {
        self.takeover_after = duration;
        self
    }

    /// The fleet's name in its settings.
    #[must_use]
    pub fn fleet_name(mut self, name: &'static str) -> Self {
        self.fleet_name = name;
        self
    }

    /// One more line for the fleet in its settings.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        let _ = writeln!(self.extra, "    {line}");
        self
    }

    /// One more fleet that it carries, under this name.
    #[must_use]
    pub fn beside(mut self, other: &SmallFleet, name: &str) -> Self {
        let _ = writeln!(
            self.beside,
            "  - name: {name}\n    repo: {}\n    credentials: {}\n    endpoints: [ {{ name: regions, url: \"{}\" }} ]",
            other.server.url(REPO),
            self.credentials(),
            other.health.url(),
        );
        self
    }

    /// Another data folder than the one of its name.
    #[must_use]
    pub fn data(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.data);
        self
    }

    /// Another copy of the program.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Where its data folder is.
    pub fn data_folder(&self) -> &Path {
        &self.data
    }

    /// The file that holds its password.
    pub fn password_file(&self) -> PathBuf {
        self.fleet.folder(&format!("{}.password", self.name))
    }

    /// The server's credentials as they stand in the settings, in files that are there.
    fn credentials(&self) -> String {
        let user = self.fleet.folder(&format!("{}.user", self.name));
        fs::write(&user, USERNAME).unwrap();
        let password = self.password_file();
        if !password.exists() {
            fs::write(&password, PASSWORD).unwrap();
        }
        format!(
            "{{ usernameFile: {}, passwordFile: {} }}",
            user.display(),
            password.display()
        )
    }

    /// Writes its settings and tells how to call it.
    fn prepare(&self) -> (Tidegate, String) {
        let folder = self.fleet.folder.path();
        let credentials = self.credentials();
        let (repo, credentials) = self
            .way
            .clone()
            .unwrap_or_else(|| (self.fleet.server.url(REPO), credentials));
        let text = format!(
            "dataDir: {}\npoll: 300ms\ntakeoverAfter: {}\negress: {{ loopback: true }}\nfleets:\n  - name: {}\n    repo: {repo}\n    \
             credentials: {credentials}\n    endpoints: [ {{ name: regions, url: \"{}\" }} ]\n{}{}",
            self.data.display(),
            self.takeover_after,
            self.fleet_name,
            self.fleet.health.url(),
            self.extra,
            self.beside,
        );
        let settings = folder.join(format!("{}.yaml", self.name));
        fs::write(&settings, text).unwrap();
        let mut program = Tidegate::new(&self.program, folder);
        for (name, value) in &self.environment {
            program = program.env(name, value.as_str());
        }
        (program, settings.to_str().unwrap().to_owned())
    }

    /// Starts it in the background.
    pub fn start(&self) -> Running {
        let (program, settings) = self.prepare();
        program.start(&["run", "--settings", &settings])
    }

    /// Starts it in the background; it leaves when there is nothing more to wait for.
    pub fn start_settling(&self) -> Running {
        let (program, settings) = self.prepare();
        program.start(&["run", "--settings", &settings, "--settle"])
    }

    /// Runs it until there is nothing more to wait for, and asserts its exit code.
    #[track_caller]
    pub fn settle(&self, code: i32) -> Answer {
        let answer = self.start_settling().wait(LONG);
        assert_eq!(answer.code, Some(code), "{}", answer.stderr);
        answer
    }

    /// Runs it until there is nothing more to wait for, however that is called.
    #[track_caller]
    pub fn settle_somehow(&self) -> Answer {
        let answer = self.start_settling().wait(LONG);
        assert!(
            matches!(answer.code, Some(0 | 4)),
            "{:?} {}",
            answer.code,
            answer.stderr
        );
        answer
    }
}
