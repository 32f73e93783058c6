//! What a look at a region says.

use std::fmt;

use crate::gates::object_key::ObjectKey;

/// The rules, by which a verdict says why.
///
/// P20, that what still progresses at a deadline is a failure, is the caller's: it knows when the region was promoted, and
/// for how long it was watched. To it, [`Kind::Progressing`] at the deadline is harm, and [`Kind::Unknown`] and
/// [`Kind::Stale`] are what it decides for the unreachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An object that is not there, or nothing to judge, is never healthy.
    P1,
    /// What is being deleted is not there yet.
    P2,
    /// A status of an older generation says nothing.
    P3,
    /// A Deployment that made no progress until its own deadline is harm.
    P4,
    /// A Deployment that cannot create pods for a while is harm.
    P5,
    /// When a Deployment is healthy.
    P6,
    /// What is paused says nothing.
    P7,
    /// A workload without replicas proves nothing.
    P8,
    /// When a `StatefulSet` is healthy.
    P9,
    /// When a `DaemonSet` is healthy.
    P10,
    /// When a Job is healthy, and when it is harm.
    P11,
    /// A container that cannot start for a while is harm.
    P12,
    /// A container that used too much memory is harm.
    P13,
    /// A pod that restarts again and again is harm.
    P14,
    /// A pod that no node takes is no proof of anything.
    P15,
    /// A pod that failed by itself is harm; one that its node failed is not.
    P16,
    /// Pods that were ready and are no more are harm, if they are too many for too long.
    P17,
    /// What is not as it was rendered is an older revision, or nobody's.
    P18,
    /// Healthy is what stays so for a while; what does not stay so again and again is harm.
    P19,
    /// What the API server does not say is unknown.
    P21,
    /// Claims by their phase, everything else by its conditions, or by being there.
    P22,
}

impl fmt::Display for Rule {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, to)
    }
}

/// What a verdict means; of several, the greatest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Everything that was judged is as it was rendered, and has been healthy for long enough.
    Healthy,
    /// The right revision, and not there yet.
    Progressing,
    /// An older revision is still shown.
    Stale,
    /// Nothing is sure.
    Unknown,
    /// Harm that was seen before the promotion already.
    Sick,
    /// Positive evidence that this revision does harm.
    Fail,
}

/// What a look at a region says, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The rule that decided.
    pub rule: Rule,
    /// What it means.
    pub kind: Kind,
    /// The object that decided; none where it was all of them.
    pub object: Option<ObjectKey>,
    /// One short plain line for people.
    pub evidence: String,
    /// How many objects were not judged, because nothing says whether they are healthy.
    pub ignored: usize,
    /// Whether what was seen cannot be any of the older trees: for a healthy region by at least one object per older
    /// tree, otherwise by the object that decided. Without older trees nothing is told apart.
    pub proven: bool,
    /// What people should know and decides nothing: a few short plain lines.
    pub warnings: Vec<String>,
}
