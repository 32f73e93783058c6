//! What was wrong with a region before its promotion.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::memory::{Complaint, Memory, restarts};
use super::pods::Pod;
use crate::gates::object_key::ObjectKey;

/// What was wrong with a region before a promotion, which is therefore no evidence against it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Baseline {
    pub(super) complaints: BTreeSet<Complaint>,
    /// When objects stopped being healthy of themselves, within the time in which that counts.
    breaks: BTreeMap<ObjectKey, BTreeSet<Duration>>,
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

    /// How often an object stopped being healthy of itself, in the time in which that counts, up to the last look.
    pub(super) fn breaks_of(&self, object: &ObjectKey) -> u32 {
        let breaks = self.breaks.get(object).map_or(0, BTreeSet::len);
        u32::try_from(breaks).unwrap_or(u32::MAX)
    }

    /// Takes over from a look's memory which objects broke, and forgets what was wrong with those that are well by now:
    /// that is not the state which the promotion finds.
    ///
    /// `complaints` are those of the look.
    pub(super) fn settle(
        &mut self,
        complaints: &BTreeSet<Complaint>,
        memory: &Memory,
        now: Duration,
        counted_within: Duration,
    ) {
        self.complaints.retain(|complaint| {
            complaints.contains(complaint)
                || memory.well_for(&complaint.object, now) < counted_within
        });
        for (object, breaks) in memory.breaks() {
            let known = self.breaks.entry(object.clone()).or_default();
            known.extend(breaks);
        }
        self.breaks.retain(|_, breaks| {
            breaks.retain(|at| now.saturating_sub(*at) <= counted_within);
            !breaks.is_empty()
        });
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
    pub(super) fn restarts_of(&self, pod: &Pod, namespace: &str) -> BTreeMap<String, u64> {
        match self.pods.get(&pod.uid) {
            Some(restarts) => restarts.clone(),
            None if self.namespaces.contains(namespace) => BTreeMap::new(),
            None => restarts(pod),
        }
    }
}
