//! Where a fleet lives during a measurement: a bare repo, an engineer's work tree, its regions' health, and the
//! program that carries it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_testkit::http::{HttpServer, Response};
use tidegate_testkit::tidegate::{Running, Tidegate};
use tidegate_testkit::work::{Work, git_command};

use crate::generator::{Files, Shape};

/// How long anything may take before a measurement is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// How often a ref is looked at while one waits for it to move: the error of such a time.
const LOOK: Duration = Duration::from_micros(500);

/// A fleet on a bare repo of this machine.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    pub(crate) work: Work,
    pub(crate) shape: Shape,
    pub(crate) health: Arc<Health>,
    started: usize,
}

/// What the regions answer, and when.
#[derive(Default)]
pub(crate) struct Health {
    sick: Mutex<Option<String>>,
    healthy_answers: Mutex<BTreeMap<String, Vec<Instant>>>,
    first_sick_answer: Mutex<Option<Instant>>,
}

impl Health {
    /// From now on this region answers 500 (`None`: nobody does).
    pub(crate) fn make_sick(&self, region: Option<&str>) {
        *self.first_sick_answer.lock().unwrap() = None;
        *self.sick.lock().unwrap() = region.map(str::to_owned);
    }

    /// When the sick region was first seen to be sick.
    pub(crate) fn first_sick_answer(&self) -> Option<Instant> {
        *self.first_sick_answer.lock().unwrap()
    }

    /// When the last of these regions answered for the first time behind a moment that it is healthy; panics if one did not.
    pub(crate) fn all_healthy_after(&self, regions: &[String], moment: Instant) -> Instant {
        let answers = self.healthy_answers.lock().unwrap();
        regions
            .iter()
            .map(|region| *answers[region].iter().find(|at| **at > moment).unwrap())
            .max()
            .unwrap()
    }

    fn answer(&self, region: &str) -> Response {
        if self.sick.lock().unwrap().as_deref() == Some(region) {
            self.first_sick_answer
                .lock()
                .unwrap()
                .get_or_insert_with(Instant::now);
            return Response::json(500, r#"{"healthy":false}"#);
        }
        self.healthy_answers
            .lock()
            .unwrap()
            .entry(region.to_owned())
            .or_default()
            .push(Instant::now());
        Response::json(200, r#"{"healthy":true}"#)
    }
}

/// A server that answers for every region of a fleet.
pub(crate) fn region_server() -> (HttpServer, Arc<Health>) {
    let health = Arc::new(Health::default());
    let server = HttpServer::start({
        let health = Arc::clone(&health);
        move |request| {
            let region = request.path.trim_matches('/').split('/').next()?.to_owned();
            Some(health.answer(&region))
        }
    });
    (server, health)
}

impl Site {
    /// A fleet with its first commit on `main`; the program has not seen it yet.
    pub(crate) fn new(shape: Shape, health: Arc<Health>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = bare_repo(folder.path());
        let work = Work::new(repo.to_str().unwrap());
        write(&work, &shape.files());
        work.commit("Begin the fleet");
        work.push("main");
        Self {
            folder,
            work,
            shape,
            health,
            started: 0,
        }
    }

    /// The bare repo.
    pub(crate) fn repo(&self) -> PathBuf {
        self.folder.path().join("fleet.git")
    }

    /// A folder for whatever else a measurement needs; it goes with the site.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Commits files (or nothing) and pushes them to `main`; gives the moment at which the branch had moved.
    pub(crate) fn publish(&self, files: &[(&str, &str)], message: &str) -> Instant {
        self.work.publish(files, message);
        Instant::now()
    }

    /// Starts the controller with a data folder of its own, or that of the controller before.
    pub(crate) fn start(&mut self, program: &Tidegate, fresh: bool) -> Running {
        if fresh {
            self.started += 1;
        }
        let repo = self.repo();
        let data = self.folder.path().join(format!("data-{}", self.started));
        start_controller(program, repo.to_str().unwrap(), &data, "30s")
    }

    /// What a ref is at now; `None` before it exists.
    pub(crate) fn tip(&self, branch: &str) -> Option<String> {
        loose_ref(&self.repo(), branch)
    }

    /// The tips of the wave branches, in order.
    pub(crate) fn wave_tips(&self) -> Vec<Option<String>> {
        self.shape
            .wave_names()
            .iter()
            .map(|wave| self.tip(&format!("tidegate/{wave}")))
            .collect()
    }

    /// Waits until every wave branch is elsewhere than it was; gives each one's moment.
    pub(crate) fn wait_for_moves(
        &self,
        waves: &[usize],
        before: &[Option<String>],
        program: &mut Running,
    ) -> BTreeMap<usize, Instant> {
        let begun = Instant::now();
        let mut moved = BTreeMap::new();
        while moved.len() < waves.len() {
            for wave in waves {
                if !moved.contains_key(wave)
                    && self.tip(&format!("tidegate/{}", Shape::wave(*wave))) != before[*wave]
                {
                    moved.insert(*wave, Instant::now());
                }
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the branches did not move; the program said: {}",
                program.stderr()
            );
            thread::sleep(LOOK);
        }
        moved
    }

    /// Waits until the newest entry of the log is of this kind.
    pub(crate) fn wait_for_entry(&self, kind: &str, program: &mut Running) {
        self.wait_for_entry_after(None, kind, program);
    }

    /// Waits until the log has gone on from `before`, and its newest entry is of this kind.
    pub(crate) fn wait_for_entry_after(
        &self,
        before: Option<&String>,
        kind: &str,
        program: &mut Running,
    ) {
        let mut newest = NewestEntry::of(self.repo());
        program.wait_until(&format!("the entry {kind}"), PATIENCE, || {
            self.tip("tidegate/log").as_ref() != before && newest.is(kind)
        });
    }
}

/// An empty bare repo `fleet.git` in a folder.
pub(crate) fn bare_repo(folder: &Path) -> PathBuf {
    let repo = folder.join("fleet.git");
    fs::create_dir(&repo).unwrap();
    git_command(&repo, &["init", "-q", "--bare", "-b", "main"]);
    // What is gathered behind a push would pack the refs that are watched as files.
    git_command(&repo, &["config", "gc.auto", "0"]);
    repo
}

/// Starts a controller of one fleet.
pub(crate) fn start_controller(program: &Tidegate, repo: &str, data: &Path, poll: &str) -> Running {
    let data = data.to_str().unwrap();
    program.start(&[
        "run",
        "--repo",
        repo,
        "--data-dir",
        data,
        "--allow-loopback",
        "--poll",
        poll,
    ])
}

/// Starts one controller of several fleets, with its settings and data below `home`, and waits until all first rollouts have
/// succeeded.
pub(crate) fn start_together(
    program: &Tidegate,
    sites: &[Site],
    home: &Path,
    poll: Duration,
) -> Running {
    let mut settings = format!(
        "dataDir: {}\npoll: {}s\negress: {{ loopback: true }}\nfleets:\n",
        home.join("data").display(),
        poll.as_secs()
    );
    for site in sites {
        let _ = writeln!(
            settings,
            "  - {{ name: {}, repo: {} }}",
            site.shape.name,
            site.repo().display()
        );
    }
    let file = home.join("settings.yaml");
    fs::write(&file, settings).unwrap();
    let mut controller = program.start(&["run", "--settings", file.to_str().unwrap()]);
    let mut open: Vec<NewestEntry> = sites
        .iter()
        .map(|site| NewestEntry::of(site.repo()))
        .collect();
    controller.wait_until("all first rollouts", PATIENCE, || {
        open.retain_mut(|newest| !newest.is("Succeeded"));
        open.is_empty()
    });
    controller
}

/// The kind of a log's newest entry; a process is started only when the log has moved, for what is measured shares the
/// machine.
pub(crate) struct NewestEntry {
    repo: PathBuf,
    read: Option<(String, String)>,
}

impl NewestEntry {
    pub(crate) fn of(repo: PathBuf) -> Self {
        Self { repo, read: None }
    }

    /// Whether there is an entry, and the newest is of this kind.
    pub(crate) fn is(&mut self, kind: &str) -> bool {
        let Some(tip) = loose_ref(&self.repo, "tidegate/log") else {
            return false;
        };
        if self.read.as_ref().is_none_or(|(read, _)| *read != tip) {
            let format = "--format=%(trailers:key=Tidegate-Entry,valueonly)";
            let kind = git_command(&self.repo, &["log", "-1", format, &tip]);
            self.read = Some((tip, kind.trim().to_owned()));
        }
        self.read.as_ref().is_some_and(|(_, read)| read == kind)
    }
}

/// What a branch is at; a loose ref is a file, and nothing in a measurement packs any.
pub(crate) fn loose_ref(repo: &Path, branch: &str) -> Option<String> {
    let text = fs::read_to_string(repo.join("refs/heads").join(branch)).ok()?;
    Some(text.trim().to_owned())
}

/// Feeds `git fast-import` in a repo.
pub(crate) fn fast_import(repo: &Path, stream: &str) {
    let mut import = Command::new("git")
        .arg("--git-dir")
        .arg(repo)
        .args(["fast-import", "--quiet", "--done"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = import.stdin.take().unwrap();
    stdin.write_all(stream.as_bytes()).unwrap();
    drop(stdin);
    assert!(import.wait().unwrap().success());
}

/// Writes files into a work tree.
pub(crate) fn write(work: &Work, files: &Files) {
    for (path, content) in files {
        work.write(path, content);
    }
}

/// One record of the program's log.
pub(crate) struct Record {
    /// When it was written, in seconds since 1970.
    pub(crate) at: f64,
    /// Its fields, `message` among them.
    pub(crate) fields: Value,
}

impl Record {
    /// What happened.
    pub(crate) fn message(&self) -> &str {
        self.fields["message"].as_str().unwrap_or_default()
    }
}

/// What the program has said so far, record by record.
pub(crate) fn records(program: &Running) -> Vec<Record> {
    program
        .stderr()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|mut record| {
            let at: jiff::Timestamp = record["timestamp"].as_str()?.parse().ok()?;
            Some(Record {
                at: at.as_duration().as_secs_f64(),
                fields: record["fields"].take(),
            })
        })
        .collect()
}
