//! A small fleet of four regions in three waves, with a follower for each, a real git server and the program.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidegate_testkit::git_server::GitServer;
use tidegate_testkit::journal::Update;
use tidegate_testkit::regions::{Follower, value_of};
use tidegate_testkit::requests;
use tidegate_testkit::tidegate::{Answer, Running, Tidegate};
use tidegate_testkit::work::{Work, try_git};

use super::log::{self, Entry};

/// The name of the repo on the server.
pub(super) const REPO: &str = "shop.git";
/// The config branch.
pub(super) const MAIN: &str = "refs/heads/main";
/// The control log.
pub(super) const LOG: &str = "refs/heads/tidegate/log";
/// The branch of requests.
pub(super) use tidegate_testkit::requests::REQUESTS;
/// The waves, in order.
pub(super) const WAVES: [&str; 3] = ["canary", "pilot", "broad"];
/// The regions and their waves.
pub(super) const REGIONS: [(&str, &str); 4] = [
    ("westus3", "canary"),
    ("eastus", "pilot"),
    ("northeurope", "pilot"),
    ("uksouth", "broad"),
];
/// How long anything may take on a slow machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// The fleet's document. Tests replace lines of it.
pub(super) const FLEET: &str = r#"apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: shop
values:
  - values/app.yaml
waves:
  - name: canary
    regions: [westus3]
    bake: 0s
  - name: pilot
    selector: { matchLabels: { ring: pilot } }
    maxConcurrent: 2
    bake: 0s
  - name: broad
    selector: { matchLabels: { ring: broad } }
    bake: 0s
gates:
  - name: healthz
    http:
      url: "{{values.url}}"
      expect: { status: 200, json: { /version: "{{values.version}}" } }
    settle: 0s
    every: 1s
    timeout: 1s
    successes: 1
    failures: 2
onFailure: revert
"#;

/// A config map of every region.
pub(super) const APP: &str = r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: app
  namespace: shop
data:
  version: "{{values.version}}"
  sick: "{{values.sick}}"
  region: "{{name}}"
"#;

/// The values of the app: its version, and the regions that it makes sick.
pub(super) fn app(version: &str, sick: &str) -> String {
    format!("version: \"{version}\"\nsick: \"{sick}\"\n")
}

/// A plain config map.
pub(super) fn config_map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: shop\ndata:\n  value: \"{value}\"\n"
    )
}

/// The fleet.
pub(super) struct Fleet {
    pub(super) server: GitServer,
    pub(super) work: Work,
    pub(super) home: tempfile::TempDir,
    followers: RefCell<BTreeMap<String, Follower>>,
    data: Cell<u32>,
}

impl Fleet {
    /// The fleet with its first commit pushed, and nothing rolled out yet.
    pub(super) fn new() -> Self {
        Self::with(|fleet| fleet)
    }

    /// The same with another document.
    pub(super) fn with(change: impl FnOnce(String) -> String) -> Self {
        let fleet = Self::unpublished(change);
        fleet.work.commit("Begin the shop");
        fleet.work.push("main");
        fleet
    }

    /// The same, nothing of it committed yet.
    pub(super) fn unpublished(change: impl FnOnce(String) -> String) -> Self {
        let server = GitServer::start();
        server.create(REPO);
        let work = Work::new(&server.url_with_password(REPO));
        let fleet = Self {
            server,
            work,
            home: tempfile::tempdir().unwrap(),
            followers: RefCell::default(),
            data: Cell::new(0),
        };
        fleet.work.write("tidegate.yaml", change(FLEET.to_owned()));
        fleet.work.write("values/app.yaml", app("1", "none"));
        fleet.work.write("templates/app.yaml.hbs", APP);
        fleet.work.write(
            "templates/namespace.yaml",
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n",
        );
        for name in ["one", "two", "three"] {
            fleet
                .work
                .write(&format!("templates/{name}.yaml"), config_map(name, "1"));
        }
        for (region, wave) in REGIONS {
            fleet.write_region(region, wave, "");
        }
        fleet
    }

    /// Writes a region's document, and starts a follower of its folder on its wave's branch.
    pub(super) fn write_region(&self, region: &str, wave: &str, more: &str) {
        let url = self.follow(region, wave);
        self.work.write(
            &format!("regions/{region}.yaml"),
            format!(
                "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: {region}\nlabels: {{ ring: {wave} }}\nvalues: {{ url: \"{url}\" }}\n{more}"
            ),
        );
    }

    /// The same, with the follower and its address kept: only the document changes.
    pub(super) fn rewrite_region(&self, region: &str, wave: &str, more: &str) {
        let url = self.followers.borrow()[region].url();
        self.work.write(
            &format!("regions/{region}.yaml"),
            format!(
                "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: {region}\nlabels: {{ ring: {wave} }}\nvalues: {{ url: \"{url}\" }}\n{more}"
            ),
        );
    }

    fn follow(&self, region: &str, wave: &str) -> String {
        let name = region.to_owned();
        let follower = Follower::start(
            &self.server.path(REPO),
            &format!("tidegate/{wave}"),
            region,
            move |files| {
                let version = value_of(files, "version").unwrap_or_default();
                let sick = value_of(files, "sick").unwrap_or_default();
                if sick.split(' ').any(|one| one == name) {
                    (500, format!(r#"{{"version":"{version}","healthy":false}}"#))
                } else {
                    (200, format!(r#"{{"version":"{version}","healthy":true}}"#))
                }
            },
        );
        let url = follower.url();
        self.followers
            .borrow_mut()
            .insert(region.to_owned(), follower);
        url
    }

    /// Makes a region's app answer this whatever it runs; `None`: as its manifests say again.
    pub(super) fn force(&self, region: &str, answer: Option<(u16, &str)>) {
        self.followers.borrow()[region].force(answer);
    }

    /// Writes files, commits and pushes to main.
    pub(super) fn publish(&self, files: &[(&str, &str)], message: &str) -> String {
        self.work.publish(files, message)
    }

    /// A new version of the app, which makes these regions sick (`none`: nobody).
    pub(super) fn release(&self, version: &str, sick: &str, message: &str) -> String {
        self.publish(&[("values/app.yaml", &app(version, sick))], message)
    }

    /// The program, with the server's credentials.
    pub(super) fn program(&self) -> Tidegate {
        Tidegate::new(env!("CARGO_BIN_EXE_tidegate"), self.home.path()).with_credentials()
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let data = self.home.path().join(format!("data{}", self.data.get()));
        let mut arguments: Vec<String> = [
            "run",
            "--repo",
            &self.server.url(REPO),
            "--data-dir",
            data.to_str().unwrap(),
            "--poll",
            "200ms",
            "--allow-loopback",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        arguments
    }

    /// From now on the program starts with an empty data folder.
    pub(super) fn forget_data(&self) {
        self.data.set(self.data.get() + 1);
    }

    /// Runs the controller until nothing is left to do; gives what it said.
    pub(super) fn run(&self) -> Answer {
        let arguments = self.arguments(&["--settle", "--timeout", "120s"]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.program().call(&arguments)
    }

    /// The same; it must end with this exit code.
    pub(super) fn settle(&self, code: i32) {
        let answer = self.run();
        assert_eq!(
            answer.code,
            Some(code),
            "{}\nlog:\n{}",
            answer.stderr,
            self.story()
        );
    }

    /// A controller in the background.
    pub(super) fn background(&self) -> Running {
        let arguments = self.arguments(&[]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.program().start(&arguments)
    }

    /// Git in the server's bare repo, which must succeed.
    pub(super) fn git(&self, arguments: &[&str]) -> String {
        let output = try_git(&self.server.path(REPO), arguments);
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// The objects of these names on the server, in order; `None` for one that does not exist.
    pub(super) fn objects(&self, names: &[String]) -> Vec<Option<Vec<u8>>> {
        let mut child = Command::new("git")
            .arg("--git-dir")
            .arg(self.server.path(REPO))
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let asked = names.join("\n") + "\n";
        let output = std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(asked.as_bytes()).unwrap());
            child.wait_with_output().unwrap().stdout
        });
        let mut rest = output.as_slice();
        let mut objects = Vec::new();
        for _ in names {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
            let head = String::from_utf8(rest[..end].to_vec()).unwrap();
            rest = &rest[end + 1..];
            if head.ends_with(" missing") {
                objects.push(None);
                continue;
            }
            let size: usize = head.rsplit(' ').next().unwrap().parse().unwrap();
            objects.push(Some(rest[..size].to_vec()));
            rest = &rest[size + 1..];
        }
        objects
    }

    /// A commit message on the server.
    pub(super) fn message(&self, revision: &str) -> String {
        self.git(&["log", "-1", "--format=%B", revision])
    }

    /// A trailer's values in a commit on the server, as git reads trailers.
    pub(super) fn trailer(&self, revision: &str, name: &str) -> Vec<String> {
        let format = format!("--format=%(trailers:key={name},valueonly,unfold)");
        self.git(&["log", "-1", &format, revision])
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The tip of a ref; it must exist.
    pub(super) fn tip(&self, name: &str) -> String {
        self.server
            .tip(REPO, name)
            .unwrap_or_else(|| panic!("{name} does not exist"))
    }

    /// The tip of a wave's branch.
    pub(super) fn wave(&self, wave: &str) -> String {
        self.tip(&format!("refs/heads/tidegate/{wave}"))
    }

    /// Where a region's folder is a tree on its wave's branch; `None` without one.
    pub(super) fn tree(&self, wave: &str, region: &str) -> Option<String> {
        self.server
            .tip(REPO, &format!("refs/heads/tidegate/{wave}:{region}"))
    }

    /// All four regions' trees, in order.
    pub(super) fn trees(&self) -> Vec<Option<String>> {
        REGIONS
            .iter()
            .map(|(region, wave)| self.tree(wave, region))
            .collect()
    }

    /// The version that a region's manifests say.
    pub(super) fn version(&self, region: &str) -> Option<String> {
        let files = self.followers.borrow()[region].files()?;
        value_of(&files, "version")
    }

    /// The versions of all four regions.
    pub(super) fn versions(&self) -> Vec<String> {
        REGIONS
            .iter()
            .map(|(region, _)| self.version(region).unwrap_or_default())
            .collect()
    }

    /// Every update of every ref so far.
    pub(super) fn journal(&self) -> Vec<Update> {
        self.server.journal(REPO)
    }

    /// The log's entries, oldest first; none before there is a log.
    pub(super) fn log(&self) -> Vec<Entry> {
        log::read(self)
    }

    /// The kinds of the entries from `first` on, `Progress` and `Applied` left out: those depend on time.
    pub(super) fn kinds(&self, first: usize) -> Vec<String> {
        self.log()
            .into_iter()
            .skip(first)
            .map(|entry| entry.kind)
            .filter(|kind| !matches!(kind.as_str(), "Progress" | "Applied"))
            .collect()
    }

    /// The newest entry of a kind.
    pub(super) fn newest(&self, kind: &str) -> Entry {
        self.log()
            .into_iter()
            .rfind(|entry| entry.kind == kind)
            .unwrap_or_else(|| panic!("no {kind}:\n{}", self.story()))
    }

    /// The reasons of the holds that stand, by `status`.
    pub(super) fn holds(&self) -> Vec<String> {
        self.status(&[])["holds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hold| hold["reason"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The log's subjects, for messages of failed assertions.
    pub(super) fn story(&self) -> String {
        if self.server.tip(REPO, LOG).is_none() {
            return "no log".to_owned();
        }
        self.git(&["log", "--first-parent", "--reverse", "--format=%B", LOG])
    }

    /// `status -o json`.
    pub(super) fn status(&self, more: &[&str]) -> Value {
        self.json("status", more)
    }

    /// The state of the newest rollout, ended or not.
    pub(super) fn state(&self) -> String {
        self.status(&["--last"])["rollouts"][0]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The states of the newest rollout's regions.
    pub(super) fn regions(&self) -> BTreeMap<String, String> {
        let status = self.status(&["--last"]);
        let waves = status["rollouts"][0]["waves"].as_array().unwrap();
        waves
            .iter()
            .flat_map(|wave| wave["regions"].as_array().unwrap())
            .map(|region| {
                let text = |key: &str| region[key].as_str().unwrap().to_owned();
                (text("name"), text("state"))
            })
            .collect()
    }

    /// `history -o json`.
    pub(super) fn history(&self, more: &[&str]) -> Vec<Value> {
        self.json("history", more).as_array().unwrap().clone()
    }

    fn json(&self, verb: &str, more: &[&str]) -> Value {
        let answer = self.people(verb, &[&["-o", "json"], more].concat());
        assert_eq!(answer.code, Some(0), "{verb}: {}", answer.stderr);
        serde_json::from_str(&answer.stdout).unwrap()
    }

    /// A person's command about the server's repo, called where the repo lies.
    pub(super) fn people(&self, verb: &str, more: &[&str]) -> Answer {
        let repo = self.server.path(REPO);
        let arguments = [&[verb, "--repo", repo.to_str().unwrap()], more].concat();
        Tidegate::new(env!("CARGO_BIN_EXE_tidegate"), self.home.path()).call(&arguments)
    }

    /// Commits what a person asks for, by hand, and gives the commit.
    pub(super) fn request(&self, verb: &str, trailers: &[(&str, &str)], reason: &str) -> String {
        requests::ask(&self.server, REPO, &self.work, verb, trailers, reason)
    }

    /// The answer to a request: `accepted`, or `refused` and why. `None` before there is one.
    pub(super) fn answer(&self, request: &str) -> Option<String> {
        let entry = self
            .log()
            .into_iter()
            .find(|entry| entry.one("Tidegate-Request-Commit") == Some(request))?;
        assert_eq!(entry.kind, "Requested");
        Some(entry.one("Tidegate-Answer").unwrap().to_owned())
    }

    /// Asks, and waits for the answer of a controller that runs.
    pub(super) fn ask(
        &self,
        running: &mut Running,
        verb: &str,
        trailers: &[(&str, &str)],
        reason: &str,
    ) -> String {
        let request = self.request(verb, trailers, reason);
        let mut answer = None;
        self.wait_until(running, &format!("the answer to {verb}"), |fleet| {
            answer = fleet.answer(&request);
            answer.is_some()
        });
        answer.unwrap()
    }

    /// Waits until the log has an entry of this kind after the first `after` ones, and gives it.
    pub(super) fn wait_for(&self, running: &mut Running, kind: &str, after: usize) -> Entry {
        let mut found = None;
        self.wait_until(running, &format!("an entry {kind}"), |fleet| {
            found = fleet
                .log()
                .into_iter()
                .skip(after)
                .find(|entry| entry.kind == kind);
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until something is so, while a controller runs.
    pub(super) fn wait_until(
        &self,
        running: &mut Running,
        what: &str,
        mut holds: impl FnMut(&Self) -> bool,
    ) {
        let mut last = std::time::Instant::now();
        let mut first = true;
        running.wait_until(what, PATIENCE, || {
            // Every look is a few processes: not more often than needed.
            if !first && last.elapsed() < Duration::from_millis(250) {
                return false;
            }
            first = false;
            let so = holds(self);
            last = std::time::Instant::now();
            so
        });
    }
}

/// Asks a controller to end, which it does with what it is pushing.
pub(super) fn stop(mut running: Running) {
    running.terminate();
    assert_eq!(running.wait(PATIENCE).code, Some(0));
}
