//! From a promotion to the moment at which a real Argo CD has synced it: asked to look by the gate, and left to look by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_testkit::argocd::{ArgoCd, Automated, NewApplication, is_synced_at};
use tidegate_testkit::kubernetes::{ADMIN, Cluster, Etcd};
use tidegate_testkit::stack::STACK_VARIABLE;
use tidegate_testkit::tidegate::Running;
use tidegate_testkit::work::Work;

use super::Setting;
use super::latency::milliseconds;
use crate::site::{NewestEntry, PATIENCE, bare_repo, loose_ref};
use crate::table::{Figure, percentile};

/// The branch that the one region of each fleet follows.
const BRANCH: &str = "tidegate/canary";

/// How often an Application is read while one waits for it: the error of such a time.
const LOOK: Duration = Duration::from_millis(10);

/// Asks Argo CD at every sample whether the region has synced.
const ASKING: &str = "gates: [{ name: argocd, argocd: { stableFor: 0s }, settle: 0s, every: 1s, timeout: 1s, successes: 1 }]\n";

const TEMPLATE: &str = "apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: \"{{name}}\" }
data: { version: {{quote values.version}} }
";

pub(crate) fn run(setting: &Setting<'_>) -> Vec<Figure> {
    let Some(stage) = Stage::set_up() else {
        eprintln!(
            "SKIPPED: no Argo CD to sync with; set {STACK_VARIABLE} to the folder with kubernetes/ and argocd/, and install redis-server and openssl"
        );
        return Vec::new();
    };
    let settings = stage.settings();
    let mut controller = setting
        .program
        .start(&["run", "--settings", settings.to_str().unwrap()]);
    for fleet in [&stage.asked, &stage.left] {
        fleet.wait_until_synced(&stage.argocd, &mut controller);
    }
    let mut times = |fleet: &Fleet, rounds: usize| -> Vec<f64> {
        (0..rounds)
            .map(|round| fleet.promote(round, &stage.argocd, &mut controller))
            .collect()
    };
    let asked = times(&stage.asked, setting.size(20, 1));
    // What Argo CD does by itself takes minutes.
    let left = times(&stage.left, setting.size(5, 0));
    let name = "branch moved → Argo CD has synced, asked by the gate";
    let mut middle = Figure::time(format!("{name}, p50"), percentile(&asked, 50));
    let mut slowest = Figure::time(
        format!("{name}, slowest of {}", asked.len()),
        percentile(&asked, 100),
    );
    if !left.is_empty() {
        let peer = "left to itself";
        middle = middle.against(peer, percentile(&left, 50), None);
        slowest = slowest.against(peer, percentile(&left, 100), None);
    }
    vec![middle, slowest]
}

/// One Argo CD, and two fleets of one region each that differ in who asks it.
struct Stage {
    // In the order of their end.
    argocd: ArgoCd,
    cluster: Cluster,
    _etcd: Etcd,
    asked: Fleet,
    left: Fleet,
    folder: tempfile::TempDir,
}

impl Stage {
    fn set_up() -> Option<Self> {
        let etcd = Etcd::start()?;
        let cluster = Cluster::start(&etcd, "home");
        let argocd = ArgoCd::start_with(&cluster, false)?;
        let folder = tempfile::tempdir().unwrap();
        let stage = Self {
            asked: Fleet::new(folder.path(), "asked", ASKING),
            left: Fleet::new(folder.path(), "left", "gates: []\n"),
            argocd,
            cluster,
            _etcd: etcd,
            folder,
        };
        for fleet in [&stage.asked, &stage.left] {
            stage.argocd.create_application(&NewApplication {
                name: fleet.name,
                repo_url: &fleet.repo_url(),
                revision: BRANCH,
                folder: fleet.name,
                destination: &stage.cluster,
                namespace: fleet.name,
                automated: Some(Automated {
                    prune: true,
                    self_heal: true,
                }),
            });
        }
        Some(stage)
    }

    /// Settings by which one controller carries both.
    fn settings(&self) -> PathBuf {
        let folder = self.folder.path();
        self.cluster
            .write_kubeconfig(&folder.join("kubeconfig"), ADMIN);
        let (asked, left) = (&self.asked, &self.left);
        let text = format!(
            "dataDir: data\npoll: 1s\nfleets:\n  - name: {}\n    repo: {}\n    clusters: [{{ kubeconfig: kubeconfig }}]\n    argocd: [{{ cluster: home, repoUrls: [{:?}] }}]\n  - name: {}\n    repo: {}\n",
            asked.name,
            asked.repo.display(),
            asked.repo_url(),
            left.name,
            left.repo.display(),
        );
        let file = folder.join("settings.yaml");
        fs::write(&file, text).unwrap();
        file
    }
}

/// A fleet of one region, which has its name.
struct Fleet {
    name: &'static str,
    repo: PathBuf,
    work: Work,
}

impl Fleet {
    fn new(folder: &Path, name: &'static str, gates: &str) -> Self {
        let home = folder.join(name);
        fs::create_dir(&home).unwrap();
        let repo = bare_repo(&home);
        let work = Work::new(repo.to_str().unwrap());
        let fleet = format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: Fleet\nname: {name}\nvalues: [values/fleet.yaml]\nwaves: [{{ name: canary, selector: {{ matchLabels: {{ ring: canary }} }}, bake: 0s }}]\n{gates}"
        );
        let region = format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: {name}\nlabels: {{ ring: canary }}\n"
        );
        work.write("tidegate.yaml", fleet);
        work.write("templates/settings.yaml.hbs", TEMPLATE);
        work.write("values/fleet.yaml", values("first"));
        work.write(&format!("regions/{name}.yaml"), region);
        work.commit("Begin the fleet");
        work.push("main");
        Self { name, repo, work }
    }

    /// How Argo CD reads the repo.
    fn repo_url(&self) -> String {
        format!("file://{}", self.repo.display())
    }

    /// Publishes a commit, and gives the milliseconds from the move of the branch to Argo CD's word that it has synced it.
    fn promote(&self, round: usize, argocd: &ArgoCd, controller: &mut Running) -> f64 {
        let before = loose_ref(&self.repo, BRANCH);
        let version = format!("round {round}");
        self.work
            .publish(&[("values/fleet.yaml", &values(&version))], &version);
        let begun = Instant::now();
        while loose_ref(&self.repo, BRANCH) == before {
            assert!(begun.elapsed() < PATIENCE, "{}", controller.stderr());
            std::thread::sleep(Duration::from_millis(1));
        }
        let moved = Instant::now();
        milliseconds(moved, self.wait_until_synced(argocd, controller))
    }

    /// Waits until Argo CD says that it has synced what the branch holds, and the rollout has ended; gives the moment of the
    /// former.
    fn wait_until_synced(&self, argocd: &ArgoCd, controller: &mut Running) -> Instant {
        let has_synced = || {
            let application = argocd.application(self.name).unwrap_or(Value::Null);
            loose_ref(&self.repo, BRANCH).is_some_and(|tip| is_synced_at(&application, &tip))
        };
        let begun = Instant::now();
        while !has_synced() {
            assert!(begun.elapsed() < PATIENCE, "{}", controller.stderr());
            std::thread::sleep(LOOK);
        }
        let synced = Instant::now();
        let mut newest = NewestEntry::of(self.repo.clone());
        controller.wait_until("the entry Succeeded", PATIENCE, || newest.is("Succeeded"));
        synced
    }
}

fn values(version: &str) -> String {
    format!("version: {version:?}\n")
}
