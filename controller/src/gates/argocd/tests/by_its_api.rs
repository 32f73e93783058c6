//! The gate with an Argo CD that it knows by its own API, whose lists show what was so a while ago.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use git2::{Repository, Signature};
use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_renderer::tree::from_git;
use tidegate_testkit::http::{HttpServer, Response};
use tidegate_waves::fleet::{ArgocdCheck, GateCheck};
use tidegate_waves::gate::{Reading, Sample};
use tidegate_waves::rollout::{Phase, Place};

use super::super::{ArgocdGate, RegionMemory};
use super::fixture::set;
use crate::clock::ManualClock;
use crate::gates::trees::RegionTrees;
use crate::gates::{Target, Watch};
use crate::regions::Clusters;
use crate::settings::Argocd;

const REPO: &str = "https://git.example.com/shop.git";
const BRANCH: &str = "refs/heads/tidegate/canary";

/// What is so, whatever the list says.
struct Truth {
    application: Value,
    version: u64,
    second: u32,
    refreshes: u32,
    /// Whether the token may get it.
    shown: bool,
}

impl Truth {
    /// It changed.
    fn set(&mut self, place: &str, new: &str) {
        self.version += 1;
        set(&mut self.application, place, new);
        let version = self.version.to_string();
        set(&mut self.application, "/metadata/resourceVersion", version);
    }

    fn compare(&mut self) {
        self.second += 1;
        self.refreshes += 1;
        let now = format!(
            "2026-03-01T10:{:02}:{:02}Z",
            self.second / 60,
            self.second % 60
        );
        self.set("/status/reconciledAt", &now);
    }
}

struct World {
    truth: Arc<Mutex<Truth>>,
    gate: ArgocdGate,
    clock: Arc<ManualClock>,
    memory: RegionMemory,
    watch: Watch,
    _server: HttpServer,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(phase: Phase) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path().join("git")).unwrap();
        let manifest =
            "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings, namespace: shop }\n";
        let within = |name: &str, id, mode| {
            let mut builder = repository.treebuilder(None).unwrap();
            builder.insert(name, id, mode).unwrap();
            builder.write().unwrap()
        };
        let blob = repository.blob(manifest.as_bytes()).unwrap();
        let tree = within("app.yaml", blob, 0o100_644);
        let root = repository
            .find_tree(within("west", tree, 0o040_000))
            .unwrap();
        let who = Signature::new("t", "t@example.com", &git2::Time::new(0, 0)).unwrap();
        let branch = "refs/remotes/origin/tidegate/canary";
        let commit = repository
            .commit(Some(branch), &who, &who, "promote", &root, &[])
            .unwrap();

        let source =
            json!({ "repoURL": REPO, "targetRevision": "tidegate/canary", "path": "west" });
        let application = json!({
            "metadata": { "name": "shop-west", "uid": "u", "resourceVersion": "10" },
            "spec": { "project": "shop", "source": source, "syncPolicy": { "automated": {} } },
            "status": {
                "sync": { "status": "Synced", "revision": commit.to_string(), "comparedTo": { "source": source } },
                "health": { "status": "Healthy" },
                "resources": [{ "kind": "ConfigMap", "namespace": "shop", "name": "settings", "status": "Synced" }],
                "reconciledAt": "2026-03-01T10:00:00Z",
            },
        });
        let list = json!({ "items": [application] }).to_string();
        let truth = Arc::new(Mutex::new(Truth {
            application,
            version: 10,
            second: 0,
            refreshes: 0,
            shown: true,
        }));
        let server = HttpServer::start({
            let truth = Arc::clone(&truth);
            move |request| {
                let mut truth = truth.lock().unwrap();
                if request.path.ends_with("/applications") {
                    let nothing = "{\"items\": []}";
                    return Some(Response::json(
                        200,
                        if truth.shown { list.as_str() } else { nothing },
                    ));
                }
                if request.query.contains("refresh=normal") {
                    truth.compare();
                }
                Some(Response::json(200, truth.application.to_string()))
            }
        });
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, "token").unwrap();
        let settings = Argocd::by_its_api("argocd", &server.url("/"), token_file);
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let gate = ArgocdGate::new(
            &[settings],
            &Arc::new(Clusters::new(Vec::new())),
            REPO,
            RegionTrees::new(folder.path().join("git")),
            clock.clone(),
        );
        let check = ArgocdCheck {
            stable_for: Duration::from_secs(4),
            ..ArgocdCheck::default()
        };
        let watch = Watch {
            generation: 1,
            rollout: "r".to_owned(),
            phase,
            anew: 0,
            check: GateCheck::Argocd(check),
            older: Vec::new(),
            place: Place {
                cluster: "west".to_owned(),
                branch: BRANCH.to_owned(),
                tree: from_git(tree),
                older: Vec::new(),
                moves: false,
            },
            settle: Duration::ZERO,
            unproven_for: Duration::ZERO,
            every: Some(Duration::from_secs(1)),
            timeout: Duration::from_secs(20),
            at_once: true,
        };
        Self {
            truth,
            gate,
            clock,
            memory: RegionMemory::default(),
            watch,
            _server: server,
            _folder: folder,
        }
    }

    fn truth(&self) -> std::sync::MutexGuard<'_, Truth> {
        self.truth.lock().unwrap()
    }

    /// The next sample, a second later.
    async fn sample(&mut self) -> Sample {
        let target = Target {
            region: "west".to_owned(),
            gate: "argocd".to_owned(),
        };
        let GateCheck::Argocd(check) = &self.watch.check else {
            panic!("an argocd gate")
        };
        self.clock.advance(Duration::from_secs(1));
        self.gate
            .sample(check, &target, &self.watch, &mut self.memory)
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_promotion_what_is_so_now_counts_and_not_what_is_listed() {
    let mut world = World::new(Phase::Before);
    let sample = world.sample().await;
    assert_eq!(
        sample.reading,
        Reading::Healthy { proven: true },
        "{sample:?}"
    );
    world.truth().set("/status/health/status", "Degraded");
    let sample = world.sample().await;
    assert_eq!(sample.reading, Reading::Bad, "{sample:?}");
    assert_eq!(world.truth().refreshes, 0, "nothing is asked for before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_passes_by_what_a_refresh_answers_and_by_what_is_so_then() {
    let mut world = World::new(Phase::After);
    let first = world.sample().await;
    assert_eq!(first.reading, Reading::Stale, "{first:?}");
    let mut seen = Vec::new();
    // What the list shows never changes.
    for _ in 0..1000 {
        let sample = world.sample().await;
        let passed = sample.reading == Reading::Healthy { proven: true };
        seen.push(sample);
        if passed {
            break;
        }
    }
    let last = seen.last().unwrap();
    assert_eq!(last.reading, Reading::Healthy { proven: true }, "{last:?}");
    assert!(seen.len() >= 4, "it soaks: {seen:?}");
    assert!(world.truth().refreshes >= 2);

    world.truth().set("/status/health/status", "Progressing");
    let sample = world.sample().await;
    assert_ne!(
        sample.reading,
        Reading::Healthy { proven: true },
        "{sample:?}"
    );

    // One that is read no more is not taken for what is listed.
    world.truth().set("/metadata/name", "another");
    world.truth().set("/status/health/status", "Healthy");
    for _ in 0..20 {
        let sample = world.sample().await;
        assert_ne!(
            sample.reading,
            Reading::Healthy { proven: true },
            "{sample:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_shown_nothing_is_told_apart_from_a_region_without_an_application() {
    let mut world = World::new(Phase::After);
    world.truth().shown = false;
    let sample = world.sample().await;
    assert_eq!(sample.reading, Reading::Unknown);
    assert!(
        sample.evidence.contains("shows the token no Application"),
        "{sample:?}"
    );
}
