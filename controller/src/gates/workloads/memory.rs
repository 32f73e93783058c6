//! What was seen at earlier looks, since the promotion and before it.
//!
//! All times are the caller's monotonic ones, from the caller's first sight: a cluster's clock is never compared with ours.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::baseline::Baseline;
use super::limits::Limits;
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

/// Something that was seen at look after look.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    since: Duration,
    last: Duration,
}

impl Held {
    fn begun(now: Duration) -> Self {
        Self {
            since: now,
            last: now,
        }
    }

    /// Takes notice that it is so now; gives for how long it has been.
    fn go_on(&mut self, now: Duration, longest_gap: Duration) -> Duration {
        if now.saturating_sub(self.last) > longest_gap {
            self.since = now;
        }
        self.last = now;
        now.saturating_sub(self.since)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct PodMemory {
    /// Restarts by container, as they were before anything could be this revision's.
    restarts: BTreeMap<String, u64>,
    /// Restarts by container, when it was last seen.
    latest: BTreeMap<String, u64>,
    /// When restarts were seen, and how many, by container.
    recent: BTreeMap<String, Vec<(Duration, u64)>>,
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
    /// When it stopped being healthy of itself.
    breaks: Vec<Duration>,
    /// Since when it is healthy.
    well: Option<Held>,
    /// Whether it was healthy for so long that what was wrong before is over.
    recovered: bool,
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
            object.breaks.clear();
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
        self.complaints
            .entry((complaint.clone(), subject.to_owned()))
            .or_insert_with(|| Held::begun(now))
            .go_on(now, longest_gap)
    }

    /// Whether this complaint was seen at the last looks.
    pub(super) fn holds(&self, complaint: &Complaint, subject: &str) -> bool {
        self.complaints
            .contains_key(&(complaint.clone(), subject.to_owned()))
    }

    /// Takes notice of a pod of a workload's new revision.
    pub(super) fn see(
        &mut self,
        pod: &Pod,
        namespace: &str,
        before: &Baseline,
        now: Duration,
        limits: &Limits,
    ) {
        let was_watched = self
            .last
            .is_none_or(|last| now.saturating_sub(last) <= limits.longest_gap);
        let restarts = restarts(pod);
        let memory = self.pods.entry(pod.uid.clone()).or_insert_with(|| {
            let first = before.restarts_of(pod, namespace);
            PodMemory {
                // Nobody knows when those were that came while nobody looked.
                latest: if was_watched {
                    first.clone()
                } else {
                    restarts.clone()
                },
                restarts: first,
                last: now,
                ..PodMemory::default()
            }
        });
        if now.saturating_sub(memory.last) > limits.longest_gap {
            memory.latest.clone_from(&restarts);
            (memory.was_ready, memory.was_alive) = (false, false);
        }
        for (container, count) in &restarts {
            let before = memory.latest.get(container).copied().unwrap_or(0);
            let more = count.saturating_sub(before);
            if more > 0 {
                let recent = memory.recent.entry(container.clone()).or_default();
                recent.push((now, more));
            }
        }
        memory.latest = restarts;
        for recent in memory.recent.values_mut() {
            recent.retain(|(at, _)| now.saturating_sub(*at) <= limits.counted_within);
        }
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

    /// How often a container of a pod restarted lately: within the time in which that counts.
    pub(super) fn recent_restarts(&self, pod: &Pod, container: &str) -> u64 {
        let recent = self
            .pods
            .get(&pod.uid)
            .and_then(|memory| memory.recent.get(container));
        let counts = recent.into_iter().flatten().map(|(_, count)| count);
        counts.fold(0, |sum, count| sum.saturating_add(*count))
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
    pub(super) fn see_healthy(
        &mut self,
        key: &ObjectKey,
        stamp: Stamp,
        now: Duration,
        limits: &Limits,
    ) {
        let object = self.objects.entry(key.clone()).or_default();
        object.healthy = Some(stamp);
        object.broken = false;
        let well = object.well.get_or_insert_with(|| Held::begun(now));
        object.recovered |= well.go_on(now, limits.longest_gap) >= limits.counted_within;
    }

    /// Takes notice that an object is not healthy, or not known to be.
    pub(super) fn see_unwell(&mut self, key: &ObjectKey) {
        if let Some(object) = self.objects.get_mut(key) {
            object.well = None;
        }
    }

    /// Takes notice that an object stopped being healthy of itself, if it was healthy as what it is now.
    pub(super) fn see_break(
        &mut self,
        key: &ObjectKey,
        stamp: &Stamp,
        now: Duration,
        limits: &Limits,
    ) {
        let object = self.objects.entry(key.clone()).or_default();
        if object.healthy.as_ref() == Some(stamp) && !object.broken {
            object.broken = true;
            object.breaks.push(now);
            object
                .breaks
                .retain(|at| now.saturating_sub(*at) <= limits.counted_within);
        }
    }

    /// For how long an object has been healthy now, without a break.
    pub(super) fn well_for(&self, key: &ObjectKey, now: Duration) -> Duration {
        let well = self
            .objects
            .get(key)
            .and_then(|object| object.well.as_ref())
            .filter(|well| well.last == now);
        well.map_or(Duration::ZERO, |well| now.saturating_sub(well.since))
    }

    /// Whether an object was once healthy for so long that what was wrong with it before is over.
    pub(super) fn has_recovered(&self, key: &ObjectKey) -> bool {
        self.objects.get(key).is_some_and(|object| object.recovered)
    }

    /// Takes notice that a Job that may be cleaned up has completed.
    pub(super) fn see_completed(&mut self, key: &ObjectKey) {
        self.objects.entry(key.clone()).or_default().completed = true;
    }

    /// Whether a Job was seen to have completed.
    pub(super) fn has_completed(&self, key: &ObjectKey) -> bool {
        self.objects.get(key).is_some_and(|object| object.completed)
    }

    /// When objects stopped being healthy of themselves.
    pub(super) fn breaks(&self) -> impl Iterator<Item = (&ObjectKey, &[Duration])> {
        let objects = self.objects.iter();
        objects.map(|(key, object)| (key, object.breaks.as_slice()))
    }

    /// The objects that stopped being healthy of themselves more often than this lately, and how often.
    pub(super) fn flapping(
        &self,
        most: u32,
        now: Duration,
        counted_within: Duration,
    ) -> Vec<(ObjectKey, u32)> {
        let counted = self.breaks().map(|(key, breaks)| {
            let counts = |at: &&Duration| now.saturating_sub(**at) <= counted_within;
            let count = breaks.iter().filter(counts).count();
            (key.clone(), u32::try_from(count).unwrap_or(u32::MAX))
        });
        counted.filter(|(_, breaks)| *breaks > most).collect()
    }

    /// Ends a look: what was read and not complained of again is over; what was not seen for long is forgotten.
    ///
    /// Gives for how long all have been healthy.
    pub(super) fn end_look(
        &mut self,
        read: &BTreeSet<ObjectKey>,
        all_healthy: bool,
        now: Duration,
        limits: &Limits,
    ) -> Duration {
        let longest_gap = limits.longest_gap;
        let is_recent = |last: Duration| now.saturating_sub(last) <= longest_gap;
        self.complaints.retain(|(complaint, _), held| {
            held.last == now || (!read.contains(&complaint.object) && is_recent(held.last))
        });
        self.pods
            .retain(|_, pod| now.saturating_sub(pod.last) <= limits.counted_within);
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

/// Restarts by container.
pub(super) fn restarts(pod: &Pod) -> BTreeMap<String, u64> {
    let containers = pod.containers.iter();
    containers
        .map(|container| (container.name.clone(), container.restarts))
        .collect()
}
