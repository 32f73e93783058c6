//! What was seen at earlier looks, since the promotion and before it.
//!
//! All times are the caller's monotonic ones, from the caller's first sight: a cluster's clock is never compared with ours.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::pods::Pod;
use crate::gates::object_key::ObjectKey;

/// What is wrong with an object, as far as "the same as before" goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Cause {
    Deadline,
    ReplicaFailure,
    Image(String),
    Config(String),
    Crashing(String),
    OutOfMemory(String),
    Unschedulable,
    PodFailed,
    Unready,
    JobFailed,
    JobDeadline,
    ClaimLost,
    Stalled,
}

/// Something wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Complaint {
    pub(super) object: ObjectKey,
    pub(super) cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    since: Duration,
    last: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct PodMemory {
    /// Restarts by container, as they were before anything could be this revision's.
    restarts: BTreeMap<String, u64>,
    was_ready: bool,
    /// Whether it was seen before it failed.
    was_alive: bool,
    last: Duration,
}

/// What an object was when it was last healthy: another one is no break of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    pub(super) wanted: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct ObjectMemory {
    healthy: Option<Stamp>,
    broken: bool,
    flaps: u32,
    completed: bool,
}

/// What was seen of one region since one promotion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    complaints: BTreeMap<(Complaint, String), Held>,
    pods: BTreeMap<String, PodMemory>,
    objects: BTreeMap<ObjectKey, ObjectMemory>,
    healthy_since: Option<Duration>,
    last: Option<Duration>,
}

impl Memory {
    /// Forgets how often objects stopped being healthy, to judge a region anew once a cause that it shared is gone.
    pub fn forget_flaps(&mut self) {
        for object in self.objects.values_mut() {
            object.flaps = 0;
        }
    }

    /// For how long this complaint about this subject has been seen, now again.
    pub(super) fn held(
        &mut self,
        complaint: &Complaint,
        subject: &str,
        now: Duration,
        longest_gap: Duration,
    ) -> Duration {
        let held = self
            .complaints
            .entry((complaint.clone(), subject.to_owned()))
            .or_insert(Held {
                since: now,
                last: now,
            });
        if now.saturating_sub(held.last) > longest_gap {
            held.since = now;
        }
        held.last = now;
        now.saturating_sub(held.since)
    }

    /// Whether this complaint was seen at the last looks.
    pub(super) fn holds(&self, complaint: &Complaint, subject: &str) -> bool {
        self.complaints
            .contains_key(&(complaint.clone(), subject.to_owned()))
    }

    /// Takes notice of a pod of a workload's new revision.
    pub(super) fn see(&mut self, pod: &Pod, namespace: &str, before: &Baseline, now: Duration) {
        let memory = self
            .pods
            .entry(pod.uid.clone())
            .or_insert_with(|| PodMemory {
                restarts: before.restarts_of(pod, namespace),
                ..PodMemory::default()
            });
        memory.was_ready |= pod.is_ready();
        memory.was_alive |= pod.phase != "Failed";
        memory.last = now;
    }

    /// How often a container of a pod restarted since the promotion, as far as was seen.
    pub(super) fn restarts_since(&self, pod: &Pod, container: &str, restarts: u64) -> u64 {
        let memory = self.pods.get(&pod.uid);
        let first = memory.map(|memory| memory.restarts.get(container).copied().unwrap_or(0));
        restarts.saturating_sub(first.unwrap_or(restarts))
    }

    /// Whether a pod was ready, is no more, and has no excuse.
    pub(super) fn has_lost(&self, pod: &Pod) -> bool {
        !pod.is_ready()
            && !pod.is_excused()
            && self
                .pods
                .get(&pod.uid)
                .is_some_and(|memory| memory.was_ready)
    }

    /// Whether a pod was seen before it failed.
    pub(super) fn was_alive(&self, pod: &Pod) -> bool {
        self.pods
            .get(&pod.uid)
            .is_some_and(|memory| memory.was_alive)
    }

    /// Takes notice that an object is healthy.
    pub(super) fn see_healthy(&mut self, key: &ObjectKey, stamp: Stamp) {
        let object = self.objects.entry(key.clone()).or_default();
        object.healthy = Some(stamp);
        object.broken = false;
    }

    /// Takes notice that an object stopped being healthy of itself, if it was healthy as what it is now.
    pub(super) fn see_break(&mut self, key: &ObjectKey, stamp: &Stamp) {
        let object = self.objects.entry(key.clone()).or_default();
        if object.healthy.as_ref() == Some(stamp) && !object.broken {
            object.broken = true;
            object.flaps = object.flaps.saturating_add(1);
        }
    }

    /// Takes notice that a Job that may be cleaned up has completed.
    pub(super) fn see_completed(&mut self, key: &ObjectKey) {
        self.objects.entry(key.clone()).or_default().completed = true;
    }

    /// Whether a Job was seen to have completed.
    pub(super) fn has_completed(&self, key: &ObjectKey) -> bool {
        self.objects.get(key).is_some_and(|object| object.completed)
    }

    /// The objects that stopped being healthy of themselves more often than this, and how often.
    pub(super) fn flapping(&self, most: u32) -> impl Iterator<Item = (&ObjectKey, u32)> {
        self.objects
            .iter()
            .filter(move |(_, object)| object.flaps > most)
            .map(|(key, object)| (key, object.flaps))
    }

    /// Ends a look: what was read and not complained of again is over; what was not seen for long is forgotten.
    ///
    /// Gives for how long all have been healthy.
    pub(super) fn end_look(
        &mut self,
        read: &BTreeSet<ObjectKey>,
        all_healthy: bool,
        now: Duration,
        longest_gap: Duration,
    ) -> Duration {
        let is_recent = |last: Duration| now.saturating_sub(last) <= longest_gap;
        self.complaints.retain(|(complaint, _), held| {
            held.last == now || (!read.contains(&complaint.object) && is_recent(held.last))
        });
        self.pods.retain(|_, pod| is_recent(pod.last));
        let gap = self
            .last
            .is_some_and(|last| now.saturating_sub(last) > longest_gap || now < last);
        self.last = Some(now);
        if !all_healthy {
            self.healthy_since = None;
            return Duration::ZERO;
        }
        if gap {
            self.healthy_since = None;
        }
        let since = *self.healthy_since.get_or_insert(now);
        now.saturating_sub(since)
    }
}

/// What was wrong with a region before a promotion, which is therefore no evidence against it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Baseline {
    pub(super) complaints: BTreeSet<Complaint>,
    /// Whether the region was looked at.
    pub(super) taken: bool,
    /// The objects that could not be read when it was last looked at.
    pub(super) unread: BTreeSet<ObjectKey>,
    /// Restarts by pod uid and container.
    pub(super) pods: BTreeMap<String, BTreeMap<String, u64>>,
    /// The namespaces whose pods were read.
    pub(super) namespaces: BTreeSet<String>,
}

impl Baseline {
    /// Whether the same was wrong with the same object before.
    pub(super) fn has(&self, complaint: &Complaint) -> bool {
        self.complaints.contains(complaint)
    }

    /// Whether it is known that the same was not wrong with the object before.
    pub(super) fn clears(&self, complaint: &Complaint) -> bool {
        self.taken && !self.unread.contains(&complaint.object) && !self.has(complaint)
    }

    /// Whether a pod is certainly newer than the last look before the promotion.
    pub(super) fn is_new(&self, pod: &Pod, namespace: &str) -> bool {
        self.namespaces.contains(namespace) && !self.pods.contains_key(&pod.uid)
    }

    /// The same without what is known of pods: restarts then count from the next look on.
    #[must_use]
    pub fn without_restarts(&self) -> Self {
        Self {
            pods: BTreeMap::new(),
            namespaces: BTreeSet::new(),
            ..self.clone()
        }
    }

    /// The restarts by container that a pod had before anything could be this revision's: those of then, none for a pod
    /// that was not there then, and those of now where nobody looked.
    fn restarts_of(&self, pod: &Pod, namespace: &str) -> BTreeMap<String, u64> {
        match self.pods.get(&pod.uid) {
            Some(restarts) => restarts.clone(),
            None if self.namespaces.contains(namespace) => BTreeMap::new(),
            None => restarts(pod),
        }
    }
}

/// Restarts by container.
pub(super) fn restarts(pod: &Pod) -> BTreeMap<String, u64> {
    let containers = pod.containers.iter();
    containers
        .map(|container| (container.name.clone(), container.restarts))
        .collect()
}
