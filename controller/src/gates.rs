//! Asking regions how they are: probes, and the sampler that takes one after the other.
//!
//! A probe says what it saw; what that means for a rollout is decided in `tidegate_waves`.

pub mod argocd;
pub mod egress;
pub mod http;
pub mod object_key;
mod permits;
pub mod region;
mod shown;
pub mod trees;
pub mod workloads;

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tidegate_waves::fleet::GateCheck;
use tidegate_waves::gate::{Reading, Sample};
use tidegate_waves::rollout::{Phase, Place};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

use self::permits::{Lanes, Permits};

/// A probe under way.
pub type Probing<'a> = Pin<Box<dyn Future<Output = Sample> + Send + 'a>>;

/// Takes one sample of a gate.
pub trait Prober: Send + Sync {
    /// Asks once and says what was read, at the latest after the watch's `timeout`.
    ///
    /// `memory` is the same for all samples of one watch, and empty at its first. It never fails; what goes wrong is a
    /// reading.
    fn probe<'a>(
        &'a self,
        target: &'a Target,
        watch: &'a Watch,
        memory: &'a mut Memory,
    ) -> Probing<'a>;
}

/// What a gate remembers from one sample of a watch to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// Of an `argocd` gate.
    pub argocd: argocd::RegionMemory,
    /// Of a `workloads` gate.
    pub workloads: workloads::RegionMemory,
}

/// Which gate of which region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The region's name.
    pub region: String,
    /// The gate's name.
    pub gate: String,
}

/// What is asked at a target, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// Anything that the caller wants back with each sample, such as a count of promotions. A watch
    /// whose generation changes starts anew.
    pub generation: u64,
    /// The rollout that it is asked for: what is known from before a promotion holds for that one alone.
    pub rollout: String,
    /// Before or after the promotion.
    pub phase: Phase,
    /// Grows whenever the region is judged anew.
    pub anew: u32,
    /// What is asked.
    pub check: GateCheck,
    /// The same gate with the values of each tree that the region may still run, its last good above all: an expected
    /// value that differs tells revisions apart.
    pub older: Vec<GateCheck>,
    /// Where the tree that is judged is to be found.
    pub place: Place,
    /// No sample is taken earlier than this after the watch began.
    pub settle: Duration,
    /// For how long a region does not count as healthy where nothing proves that it runs this revision.
    pub unproven_for: Duration,
    /// From the start of one sample to the start of the next; `None` takes a single one.
    pub every: Option<Duration>,
    /// The longest that one sample may take.
    pub timeout: Duration,
    /// Whether the first sample is taken at once: somebody waits for it. Others are spread over a part of the
    /// interval, so that regions are not all asked at the same moment.
    pub at_once: bool,
}

/// One sample that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Of what.
    pub target: Target,
    /// The generation of its watch.
    pub generation: u64,
    /// When it began, by the sampler's monotonic clock.
    pub started_at: Duration,
    /// What it says.
    pub sample: Sample,
}

/// A task of the sampler ended by itself, which is a bug; the process must not go on without it.
#[derive(Debug, thiserror::Error)]
#[error("the task that samples gates died: {0}; this is a bug, restart the controller")]
pub struct SamplerDied(#[source] tokio::task::JoinError);

/// How many probes of one type of gate are under way at once, unless told otherwise.
pub const CONCURRENT_PROBES: usize = 64;

/// Samples that wait to be received, before probes wait for them.
const WAITING_SAMPLES: usize = 1024;

/// The longest that a first sample is put off so that regions are not all asked at the same moment.
const LONGEST_JITTER: Duration = Duration::from_secs(1);

/// Takes samples of many gates, each in its own rhythm, a bounded number at once. What does not answer is waited for in places of
/// its own: see `Permits`.
///
/// Dropping it ends all its tasks.
pub struct Sampler {
    prober: Arc<dyn Prober>,
    clock: Arc<dyn Clock>,
    permits: Permits,
    results: mpsc::Sender<Observed>,
    watches: BTreeMap<Target, (Watch, CancellationToken)>,
    tasks: JoinSet<()>,
}

impl Sampler {
    /// A sampler that watches nothing yet, and where its samples arrive.
    ///
    /// `concurrent` bounds the probes under way at once, of each type of gate and of what answered last time; it is at least 1.
    #[must_use]
    pub fn new(
        prober: Arc<dyn Prober>,
        clock: Arc<dyn Clock>,
        concurrent: usize,
    ) -> (Self, mpsc::Receiver<Observed>) {
        let (results, received) = mpsc::channel(WAITING_SAMPLES);
        let sampler = Self {
            prober,
            clock,
            permits: Permits::new(concurrent.max(1)),
            results,
            watches: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        (sampler, received)
    }

    /// Watches exactly these targets from now on: watches that are unchanged keep their rhythm,
    /// changed ones start anew, others end. Samples of ended watches may still wait in the channel.
    ///
    /// Must be called within a tokio runtime.
    pub fn watch(&mut self, mut wanted: BTreeMap<Target, Watch>) -> Result<(), SamplerDied> {
        while let Some(ended) = self.tasks.try_join_next() {
            ended.map_err(SamplerDied)?;
        }
        self.watches.retain(|target, (watch, cancel)| {
            let unchanged = wanted.get(target) == Some(watch);
            if unchanged {
                wanted.remove(target);
            } else {
                cancel.cancel();
            }
            unchanged
        });
        self.permits.forget_unused();
        for (target, watch) in wanted {
            let cancel = CancellationToken::new();
            let task = Task {
                prober: Arc::clone(&self.prober),
                clock: Arc::clone(&self.clock),
                lanes: self.permits.of(&watch.check, &watch.place.cluster),
                results: self.results.clone(),
                target: target.clone(),
                watch: watch.clone(),
            };
            let token = cancel.clone();
            self.tasks.spawn(async move {
                // A probe is only asking: it may be dropped at any point.
                token.run_until_cancelled(task.run()).await;
            });
            self.watches.insert(target, (watch, cancel));
        }
        Ok(())
    }

    /// Ends all watches and waits until their tasks are gone.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// The sampling of one target.
struct Task {
    prober: Arc<dyn Prober>,
    clock: Arc<dyn Clock>,
    lanes: Lanes,
    results: mpsc::Sender<Observed>,
    target: Target,
    watch: Watch,
}

impl Task {
    async fn run(self) {
        let jitter = match self.watch.every {
            Some(every) if !self.watch.at_once => jitter(&self.target, every),
            _ => Duration::ZERO,
        };
        let mut next = Instant::now() + self.watch.settle + jitter;
        let mut memory = Memory::default();
        let mut is_silent = false;
        loop {
            tokio::time::sleep_until(next).await;
            let Some(permit) = self.lanes.enter(is_silent).await else {
                return;
            };
            let begun = Instant::now();
            let started_at = self.clock.monotonic();
            let sample = self
                .prober
                .probe(&self.target, &self.watch, &mut memory)
                .await;
            drop(permit);
            is_silent = sample.reading == Reading::Unreachable;
            let observed = Observed {
                target: self.target.clone(),
                generation: self.watch.generation,
                started_at,
                sample,
            };
            if self.results.send(observed).await.is_err() {
                return;
            }
            let Some(every) = self.watch.every else {
                return;
            };
            // Late samples are not made up for: two in a row would prove less than their number says.
            next = begun + every.max(Duration::from_millis(1));
        }
    }
}

/// The same for the same target in every process of this build: at most a tenth of the interval.
fn jitter(target: &Target, every: Duration) -> Duration {
    let span = (every / 10).min(LONGEST_JITTER).as_millis();
    let span = u64::try_from(span).unwrap_or(u64::MAX);
    if span == 0 {
        return Duration::ZERO;
    }
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    Duration::from_millis(hasher.finish() % span)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tidegate_waves::fleet::{HttpCheck, HttpExpect, WorkloadsCheck};
    use tidegate_waves::oid::Oid;

    use super::*;
    use crate::clock::SystemClock;

    /// Answers after a while, and counts how many were asked at once.
    #[derive(Default)]
    struct Slow {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Prober for Slow {
        fn probe<'a>(&'a self, _: &'a Target, watch: &'a Watch, _: &'a mut Memory) -> Probing<'a> {
            let check = watch.check.as_http().unwrap();
            Box::pin(async move {
                let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                self.now.fetch_sub(1, Ordering::SeqCst);
                assert_ne!(check.url, "panic");
                Sample {
                    reading: Reading::Stale,
                    evidence: check.url.clone(),
                }
            })
        }
    }

    fn watch(url: &str, every: Option<Duration>) -> Watch {
        Watch {
            generation: 7,
            rollout: "12345678-9".to_owned(),
            phase: Phase::After,
            anew: 0,
            check: GateCheck::Http(HttpCheck {
                endpoint: None,
                url: url.to_owned(),
                method: "GET".to_owned(),
                headers: BTreeMap::new(),
                expect: HttpExpect::default(),
            }),
            older: Vec::new(),
            place: Place {
                cluster: "aks-a".to_owned(),
                branch: "refs/heads/tidegate/canary".to_owned(),
                tree: Oid::ZERO,
                older: Vec::new(),
                moves: false,
            },
            settle: Duration::ZERO,
            unproven_for: Duration::ZERO,
            every,
            timeout: Duration::from_secs(1),
            at_once: false,
        }
    }

    fn target(region: &str) -> Target {
        Target {
            region: region.to_owned(),
            gate: "healthz".to_owned(),
        }
    }

    fn sampler(prober: Arc<Slow>, concurrent: usize) -> (Sampler, mpsc::Receiver<Observed>) {
        Sampler::new(prober, Arc::new(SystemClock::new()), concurrent)
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_asked_at_once_than_allowed() {
        let slow = Arc::new(Slow::default());
        let (mut sampler, mut received) = sampler(Arc::clone(&slow), 8);
        let wanted = (0..200)
            .map(|n| (target(&n.to_string()), watch("u", None)))
            .collect();
        sampler.watch(wanted).unwrap();
        for _ in 0..200 {
            assert_eq!(received.recv().await.unwrap().generation, 7);
        }
        assert_eq!(slow.most.load(Ordering::SeqCst), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn unchanged_watches_keep_their_rhythm_and_ended_ones_are_silent() {
        let (mut sampler, mut received) = sampler(Arc::default(), 8);
        let every = Some(Duration::from_secs(10));
        let both: BTreeMap<_, _> = ["a", "b"]
            .map(|name| (target(name), watch(name, every)))
            .into();
        sampler.watch(both.clone()).unwrap();
        let begun = Instant::now();
        for _ in 0..2 {
            received.recv().await.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(2));
        sampler.watch(both.clone()).unwrap();
        received.recv().await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(9), "started anew");

        sampler
            .watch([(target("a"), watch("changed", every))].into())
            .unwrap();
        while let Ok(observed) = received.try_recv() {
            drop(observed);
        }
        for _ in 0..3 {
            let observed = received.recv().await.unwrap();
            assert_eq!(observed.sample.evidence, "changed");
        }
        sampler.stop().await;
        assert_eq!(received.recv().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn settle_puts_the_first_sample_off() {
        let (mut sampler, mut received) = sampler(Arc::default(), 8);
        let begun = Instant::now();
        let late = Watch {
            settle: Duration::from_secs(30),
            ..watch("u", None)
        };
        sampler.watch([(target("a"), late)].into()).unwrap();
        received.recv().await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sample_that_is_waited_for_is_taken_at_once() {
        let (mut sampler, mut received) = sampler(Arc::default(), 8);
        let every = Some(Duration::from_secs(60));
        let wanted = (0..8)
            .map(|number| {
                let watch = Watch {
                    at_once: number == 0,
                    ..watch("u", every)
                };
                (target(&number.to_string()), watch)
            })
            .collect();
        sampler.watch(wanted).unwrap();
        let begun = Instant::now();
        let first = received.recv().await.unwrap();
        assert_eq!(first.target, target("0"));
        // The answer alone takes that long.
        assert_eq!(begun.elapsed(), Duration::from_millis(100));
        for _ in 1..8 {
            received.recv().await.unwrap();
        }
        assert!(begun.elapsed() > Duration::from_millis(100), "all at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_died_is_reported() {
        let (mut sampler, _received) = sampler(Arc::default(), 8);
        let wanted: BTreeMap<_, _> = [(target("a"), watch("panic", None))].into();
        sampler.watch(wanted.clone()).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(sampler.watch(wanted).is_err());
    }

    /// Never answers where a URL says so, and everywhere else at once.
    struct Hanging;

    impl Prober for Hanging {
        fn probe<'a>(&'a self, _: &'a Target, watch: &'a Watch, _: &'a mut Memory) -> Probing<'a> {
            Box::pin(async move {
                if watch.place.cluster.starts_with("silent") {
                    tokio::time::sleep(watch.timeout).await;
                    return Sample::new(Reading::Unreachable, "no answer".to_owned());
                }
                Sample::new(Reading::Stale, String::new())
            })
        }
    }

    /// A gate of a region's cluster, asked once a second, for at most ten.
    fn of_cluster(cluster: &str) -> Watch {
        let mut watch = watch("u", Some(Duration::from_secs(1)));
        watch.check = GateCheck::Workloads(WorkloadsCheck::default());
        cluster.clone_into(&mut watch.place.cluster);
        watch.timeout = Duration::from_secs(10);
        watch.at_once = true;
        watch
    }

    /// When samples of the region `well` were received, of these watches, in the first two minutes.
    async fn well_samples(wanted: BTreeMap<Target, Watch>) -> Vec<Duration> {
        let clock = Arc::new(SystemClock::new());
        let (mut sampler, mut received) = Sampler::new(Arc::new(Hanging), clock, 8);
        let begun = Instant::now();
        sampler.watch(wanted).unwrap();
        let mut times = Vec::new();
        while begun.elapsed() < Duration::from_secs(120) {
            if received.recv().await.unwrap().target == target("well") {
                times.push(begun.elapsed());
            }
        }
        times
    }

    /// The longest time between two of them.
    fn longest_wait(times: &[Duration]) -> Duration {
        let waits = times
            .iter()
            .zip(times.iter().skip(1))
            .map(|(one, next)| next.saturating_sub(*one));
        waits.max().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_cluster_that_hangs_slows_nobody() {
        let silent = (0..40).map(|n| (target(&format!("a{n}")), of_cluster("silent")));
        let wanted = silent.chain([(target("well"), of_cluster("well"))]);
        let times = well_samples(wanted.collect()).await;
        assert!(times[0] < Duration::from_millis(10), "{times:?}");
        assert!(
            longest_wait(&times) < Duration::from_millis(1100),
            "{times:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn many_clusters_that_hang_slow_others_once_and_no_more() {
        let silent = (0..40).map(|n| (target(&format!("a{n}")), of_cluster(&format!("silent{n}"))));
        let wanted = silent.chain([(target("well"), of_cluster("well"))]);
        let times = well_samples(wanted.collect()).await;
        // Who is silent is known once each has been asked: eight at once, for ten seconds each.
        assert!(times[0] < Duration::from_secs(51), "{times:?}");
        assert!(
            longest_wait(&times) < Duration::from_millis(1100),
            "{times:?}"
        );
    }

    #[test]
    fn jitter_is_steady_and_small() {
        let every = Duration::from_secs(10);
        assert_eq!(jitter(&target("a"), every), jitter(&target("a"), every));
        for n in 0..100 {
            assert!(jitter(&target(&n.to_string()), every) < LONGEST_JITTER);
        }
        assert_eq!(
            jitter(&target("a"), Duration::from_millis(5)),
            Duration::ZERO
        );
    }
}
