//! The gate with an Argo CD whose lists show what was so a while ago: through its cluster's API, and through its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use git2::{Repository, Signature};
use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_renderer::tree::from_git;
use tidegate_testkit::http::{HttpServer, Request, Response};
use tidegate_testkit::wait::wait_until;
use tidegate_waves::fleet::{ArgocdCheck, GateCheck};
use tidegate_waves::gate::{Reading, Sample};
use tidegate_waves::rollout::{Phase, Place};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::super::{ArgocdGate, RegionMemory};
use super::fixture::set;
use crate::clock::ManualClock;
use crate::gates::egress::EgressRules;
use crate::gates::trees::RegionTrees;
use crate::gates::{Target, Watch};
use crate::regions::Clusters;
use crate::settings::{Argocd, ClusterSource};

const REPO: &str = "https://git.example.com/shop.git";
const BRANCH: &str = "refs/heads/tidegate/canary";

/// What is so, whatever the list says.
struct Truth {
    application: Value,
    version: u64,
    second: u32,
    refreshes: u32,
    /// What is listed.
    list: String,
    /// Whether the API fails.
    fails: bool,
    /// Whether the Application is there.
    is_there: bool,
    lists: u32,
    reads: u32,
}

impl Truth {
    /// It changed.
    fn set(&mut self, place: &str, new: &str) {
        self.version += 1;
        set(&mut self.application, place, new);
        let version = self.version.to_string();
        set(&mut self.application, "/metadata/resourceVersion", version);
    }

    fn answer(&mut self, request: &Request) -> Response {
        if self.fails {
            return Response::json(503, "{}");
        }
        if request.path.ends_with("/applications") {
            self.lists += 1;
            return Response::json(200, self.list.as_str());
        }
        if !self.is_there {
            return Response::json(404, "{}");
        }
        if request.method == "PATCH" {
            // Argo CD compares behind the answer.
            self.version += 1;
            let mut asked = self.application.clone();
            set(
                &mut asked,
                "/metadata/resourceVersion",
                self.version.to_string(),
            );
            self.compare();
            return Response::json(200, asked.to_string());
        }
        if request.query.contains("refresh=normal") {
            self.compare();
        }
        self.reads += 1;
        Response::json(200, self.application.to_string())
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

/// Which API is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ItsApi,
    ItsCluster,
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
    fn new(way: Way, phase: Phase) -> Self {
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
        let truth = Arc::new(Mutex::new(Truth {
            list: json!({ "items": [application] }).to_string(),
            application,
            version: 10,
            second: 0,
            refreshes: 0,
            fails: false,
            is_there: true,
            lists: 0,
            reads: 0,
        }));
        let server = HttpServer::start({
            let truth = Arc::clone(&truth);
            move |request| Some(truth.lock().unwrap().answer(&request))
        });
        let (settings, clusters) = match way {
            Way::ItsApi => {
                let token_file = folder.path().join("token");
                std::fs::write(&token_file, "token").unwrap();
                let settings = Argocd::by_its_api("argocd", &server.url("/"), token_file);
                (settings, Vec::new())
            }
            Way::ItsCluster => {
                let kubeconfig = json!({
                    "contexts": [{ "name": "argocd", "context": { "cluster": "c", "user": "u" } }],
                    "clusters": [{ "name": "c", "cluster": { "server": server.url("/") } }],
                    "users": [{ "name": "u", "user": { "token": "token" } }],
                });
                let file = folder.path().join("kubeconfig");
                std::fs::write(&file, kubeconfig.to_string()).unwrap();
                let settings = Argocd::by_its_cluster("argocd");
                (settings, vec![ClusterSource::Kubeconfig(file)])
            }
        };
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let gate = ArgocdGate::new(
            &[settings],
            &Arc::new(Clusters::new(clusters, EgressRules::default())),
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
    for way in [Way::ItsApi, Way::ItsCluster] {
        let mut world = World::new(way, Phase::Before);
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_passes_by_what_a_refresh_answers_and_by_what_is_so_then() {
    for way in [Way::ItsApi, Way::ItsCluster] {
        passes_by_what_is_so(World::new(way, Phase::After)).await;
    }
}

async fn passes_by_what_is_so(mut world: World) {
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
    let mut world = World::new(Way::ItsApi, Phase::After);
    world.truth().list = "{\"items\": []}".to_owned();
    let sample = world.sample().await;
    assert_eq!(sample.reading, Reading::Unknown);
    assert!(
        sample.evidence.contains("shows the token no Application"),
        "{sample:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_finds_an_application_and_each_sample_reads_it_by_itself() {
    for way in [Way::ItsApi, Way::ItsCluster] {
        let mut world = World::new(way, Phase::Before);
        for _ in 0..5 {
            world.sample().await;
        }
        let truth = world.truth();
        assert_eq!((truth.lists, truth.reads), (1, 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_is_looked_for_in_a_new_list() {
    let mut world = World::new(Way::ItsCluster, Phase::Before);
    world.sample().await;
    {
        let mut truth = world.truth();
        truth.is_there = false;
        truth.list = "{\"items\": []}".to_owned();
    }
    let sample = world.sample().await;
    assert_eq!(sample.reading, Reading::Unknown, "{sample:?}");
    assert!(sample.evidence.contains("shop-west: "), "{sample:?}");
    assert_eq!(world.truth().lists, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hindered_a_list_hinders_no_later_one_for_long() {
    let mut world = World::new(Way::ItsCluster, Phase::Before);
    world.truth().fails = true;
    let sample = world.sample().await;
    assert_eq!(sample.reading, Reading::Unreachable, "{sample:?}");
    world.truth().fails = false;
    block_in_place(|| {
        wait_until(
            "a list that is asked for anew",
            Duration::from_secs(10),
            || {
                let sample = Handle::current().block_on(world.sample());
                sample.reading == Reading::Healthy { proven: true }
            },
        );
    });
}
