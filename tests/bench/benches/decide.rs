//! One decision, and the files of one entry, for a rollout of 1,000 regions in 10 waves.

#![allow(missing_docs, reason = "what criterion's macros make has none")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement that cannot go on fails by a panic"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_bench::generator::Shape;
use tidegate_renderer::cache::RenderCache;
use tidegate_renderer::config;
use tidegate_renderer::render::render;
use tidegate_renderer::source::MemoryTree;
use tidegate_renderer::tree::ObjectStore;
use tidegate_renderer::worker::InProcessWorker;
use tidegate_waves::gate::{Reading, Sample};
use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::plan::Wanted;
use tidegate_waves::rollout::{
    BranchView, Candidate, CandidateOutcome, CommitView, ConfigView, FleetIdentity, FleetState,
    Now, Observations, Probe, PushOrder, RegionSample, SourceCommit, Step, ValidCandidate, Watch,
    create, decide, from_files, to_files,
};

const REGIONS: usize = 1000;
const HEAD: Oid = Oid::from_bytes([1; 20]);
const PLAN: Oid = Oid::from_bytes([2; 20]);
const MAIN: &str = "refs/heads/main";

/// A fleet in memory, as far as a rollout needs one.
struct Fleet {
    state: FleetState,
    watch: Watch,
    seen: Observations,
    now: Duration,
    made: u8,
}

impl Fleet {
    fn new() -> Self {
        let identity = FleetIdentity {
            name: "generated".to_owned(),
            branch: "main".to_owned(),
            path: String::new(),
            prefix: "tidegate".to_owned(),
        };
        let candidate = Candidate {
            source: HEAD,
            settled: None,
            commits: vec![SourceCommit {
                id: HEAD,
                author: "Jo Engineer <jo@example.com>".to_owned(),
                subject: "Begin".to_owned(),
                fixes: Vec::new(),
            }],
            descends: true,
            outcome: CandidateOutcome::Valid(Box::new(ValidCandidate {
                wanted: Arc::new(wanted()),
                plan_commit: PLAN,
                revert_trees: BTreeMap::new(),
                findings: Vec::new(),
                quarantine: Vec::new(),
            })),
        };
        let main = BranchView {
            tip: HEAD,
            ..BranchView::default()
        };
        Self {
            state: create(identity, HEAD, "bench").next,
            watch: Watch::default(),
            seen: Observations {
                me: "bench".to_owned(),
                takeover_after: Duration::from_secs(15),
                push_deadline: Duration::from_secs(60),
                branches: BTreeMap::from([(MAIN.to_owned(), main)]),
                config: ConfigView {
                    head: Some(HEAD),
                    candidate: Some(candidate),
                    lacks_rollout: false,
                    revert: None,
                },
                ..Observations::default()
            },
            now: Duration::from_secs(1000),
            made: 10,
        }
    }

    fn decide(&self) -> Step {
        let now = Now {
            monotonic: self.now,
            wall: 1_767_225_600,
        };
        decide(&self.state, &self.watch, &self.seen, now)
    }

    /// Decides and carries out; gives what is to be sampled.
    fn step(&mut self) -> Vec<Probe> {
        // What the log knows is no news.
        for (wave, known) in &self.state.branches {
            let reference = format!("refs/heads/tidegate/{wave}");
            if let Some(branch) = self.seen.branches.get_mut(&reference)
                && known.tip == Some(branch.tip)
            {
                branch.chain.clear();
            }
        }
        let step = self.decide();
        self.now += Duration::from_secs(1);
        self.watch = step.watch;
        self.seen.samples.clear();
        if let Some(append) = step.append {
            let made = &mut self.made;
            let completed = append.complete(|_| {
                *made += 1;
                Ok::<_, Infallible>(Oid::from_bytes([*made; 20]))
            });
            let Ok((_, _, state)) = completed;
            self.state = state;
        }
        for order in step.pushes {
            self.push(order);
        }
        step.probes
    }

    /// How many waves have passed.
    fn passed(&self) -> usize {
        self.state.active().map_or(0, |rollout| {
            let waves = rollout.waves.iter();
            waves.filter(|wave| wave.state.is_passed()).count()
        })
    }

    fn push(&mut self, order: PushOrder) {
        let intent = self
            .state
            .intents
            .iter()
            .find(|intent| intent.new == order.new)
            .unwrap();
        let branch = self.seen.branches.entry(order.reference).or_default();
        let known = self.state.branches.get(&intent.draft.wave);
        let mut folders = known.map(|known| known.folders.clone()).unwrap_or_default();
        for change in &intent.draft.folders {
            if let Some(tree) = change.tree {
                folders.insert(change.region.clone(), tree);
            }
        }
        branch.tip = order.new;
        branch.contains.extend([order.old, order.new]);
        branch.chain = vec![CommitView {
            id: order.new,
            folders,
        }];
    }
}

/// What a generated fleet renders to.
fn wanted() -> Wanted {
    let shape =
        Shape::new(REGIONS, 10, 1).gated("http://health.example.com", Duration::from_secs(10));
    let shape = Shape {
        manifests: 1,
        ..shape
    };
    let tree = shape
        .files()
        .into_iter()
        .fold(MemoryTree::new(), |tree, (path, text)| {
            tree.with(path, text)
        });
    let loaded = config::load(&tree, "").unwrap();
    let (store, cache) = (ObjectStore::in_memory(), RenderCache::new());
    render(&loaded, &tree, &InProcessWorker, &store, Some(&cache))
        .unwrap()
        .wanted
}

fn healthy(probe: &Probe, at: Duration) -> RegionSample {
    RegionSample {
        rollout: probe.rollout.clone(),
        region: probe.region.clone(),
        phase: probe.phase,
        gate: probe.gate.name.clone(),
        at,
        sample: Sample {
            reading: Reading::Healthy { proven: false },
            evidence: "healthz answered 200".to_owned(),
        },
    }
}

fn decisions(criterion: &mut Criterion) {
    let mut fleet = Fleet::new();
    let opened = fleet.decide().append.unwrap();
    assert_eq!(opened.entry.kind, EntryKind::RolloutOpened);
    criterion.bench_function("decide: open a rollout of 1,000 regions", |bencher| {
        bencher.iter(|| fleet.decide());
    });
    let mut passed = 0;
    // Every sample is healthy, until half of the waves have passed.
    for _ in 0..400 {
        let probes = fleet.step();
        let at = fleet.now;
        fleet.seen.samples = probes.iter().map(|probe| healthy(probe, at)).collect();
        passed = fleet.passed();
        if passed >= 5 {
            break;
        }
    }
    assert_eq!(passed, 5);
    let quiet = Fleet {
        seen: Observations {
            samples: Vec::new(),
            ..fleet.seen.clone()
        },
        state: fleet.state.clone(),
        watch: fleet.watch.clone(),
        ..fleet
    };
    criterion.bench_function("decide: nothing new, half of the waves passed", |bencher| {
        bencher.iter(|| quiet.decide());
    });
    criterion.bench_function("the files of an entry, written", |bencher| {
        bencher.iter(|| to_files(&quiet.state));
    });
    let files = to_files(&quiet.state);
    criterion.bench_function("the files of an entry, read", |bencher| {
        bencher.iter(|| from_files(&files).unwrap());
    });
}

criterion_group!(benches, decisions);
criterion_main!(benches);
