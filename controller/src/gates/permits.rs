//! How many are asked at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_waves::fleet::GateCheck;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One cluster is asked at most by this part of all that are under way at once.
const PART_OF_A_CLUSTER: usize = 4;

/// How many are asked at once. Each type of gate has its own places: an Argo CD that hangs delays no region's HTTP gates.
///
/// Whoever did not answer last time is asked in other places than those who did, and one cluster's gates take only a part of them.
/// So one that hangs takes no place from others, and many that do take them once, for the time of an answer that does not come.
pub(super) struct Permits {
    http: Places,
    argocd: Places,
    workloads: Places,
    /// Of gates that ask clusters, by the cluster's name.
    clusters: BTreeMap<String, Arc<Semaphore>>,
    of_a_cluster: usize,
}

/// For those who answered last time, and for those who did not.
#[derive(Clone)]
struct Places {
    heard: Arc<Semaphore>,
    silent: Arc<Semaphore>,
}

impl Places {
    fn new(count: usize) -> Self {
        Self {
            heard: Arc::new(Semaphore::new(count)),
            silent: Arc::new(Semaphore::new(count)),
        }
    }
}

impl Permits {
    /// So many of each type at once.
    pub(super) fn new(concurrent: usize) -> Self {
        Self {
            http: Places::new(concurrent),
            // All of one Argo CD wait for the same list; it bounds by itself how many read at once behind that.
            argocd: Places::new(Semaphore::MAX_PERMITS),
            workloads: Places::new(concurrent),
            clusters: BTreeMap::new(),
            of_a_cluster: (concurrent / PART_OF_A_CLUSTER).max(1),
        }
    }

    /// Where a gate of this type waits for its turn, in a region of this cluster.
    pub(super) fn of(&mut self, check: &GateCheck, cluster: &str) -> Lanes {
        let (places, cluster) = match check {
            GateCheck::Http(_) => (&self.http, None),
            GateCheck::Argocd(_) => (&self.argocd, None),
            GateCheck::Workloads(_) => {
                let new = || Arc::new(Semaphore::new(self.of_a_cluster));
                let cluster = self.clusters.entry(cluster.to_owned()).or_insert_with(new);
                (&self.workloads, Some(Arc::clone(cluster)))
            }
        };
        Lanes {
            places: places.clone(),
            cluster,
        }
    }

    /// Forgets clusters of which no gate is left.
    pub(super) fn forget_unused(&mut self) {
        self.clusters
            .retain(|_, cluster| Arc::strong_count(cluster) > 1);
    }
}

/// Where one gate waits for its turn.
pub(super) struct Lanes {
    places: Places,
    cluster: Option<Arc<Semaphore>>,
}

/// The right to ask, until it is dropped.
pub(super) struct Turn {
    _place: OwnedSemaphorePermit,
    _of_cluster: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    /// Waits for its turn; never `None` but for a bug, as nobody closes the places.
    pub(super) async fn enter(&self, is_silent: bool) -> Option<Turn> {
        // The cluster's first: whoever waits for that must not take a place from others.
        let of_cluster = match &self.cluster {
            Some(cluster) => Some(Arc::clone(cluster).acquire_owned().await.ok()?),
            None => None,
        };
        let places = if is_silent {
            &self.places.silent
        } else {
            &self.places.heard
        };
        Some(Turn {
            _place: Arc::clone(places).acquire_owned().await.ok()?,
            _of_cluster: of_cluster,
        })
    }
}
