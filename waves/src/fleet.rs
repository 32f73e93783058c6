//! The documents an engineer writes, as types: the fleet, its regions, gates and policy.
//!
//! These types hold what a document *says*, defaults filled in. Reading the documents, and telling
//! their author what is wrong with them, is the renderer's work: it knows files, lines and columns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::amount::Amount;
use crate::duration;
use crate::selector::LabelSelector;

/// The `apiVersion` of every document.
pub const API_VERSION: &str = "tidegate.dev/v1alpha1";

/// Wave names that stand for something else below the fleet's ref prefix.
pub const RESERVED_WAVE_NAMES: [&str; 3] = ["log", "requests", "revert"];

/// Whether a text is a DNS label (RFC 1123): at most 63 of `a-z 0-9 -`, not at an end a dash.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// One fleet: the document `tidegate.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// The fleet's name, a DNS label.
    pub name: String,
    /// Value layers, lowest first.
    pub values: Vec<ValueLayer>,
    /// The waves in order; the first is the canary.
    pub waves: Vec<Wave>,
    /// The gates that waves choose from.
    pub gates: Vec<Gate>,
    /// What a failure leads to, unless a wave says otherwise.
    pub on_failure: OnFailure,
    /// What a region leads to that could not be judged by its deadline, unless a wave says otherwise.
    pub on_unreachable: OnUnreachable,
    /// How the config branch is reverted.
    pub revert: RevertPolicy,
    /// What holds a promotion until a person approves.
    pub guards: Guards,
}

/// One layer of values: a path, which may contain template expressions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueLayer {
    /// The file, relative to the fleet's folder, or to the repo's root if it starts with `/`.
    pub path: String,
    /// Whether a missing file or label is no error.
    pub optional: bool,
}

/// One wave as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// The wave's name, a DNS label that is not reserved.
    pub name: String,
    /// Which regions it has.
    pub members: Members,
    /// Everything else about it.
    #[serde(flatten)]
    pub policy: WavePolicy,
}

/// How a wave names its regions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Members {
    /// By name, in this order.
    Regions(Vec<String>),
    /// By label, in the order of names.
    Selector(LabelSelector),
}

/// What a wave demands, apart from who is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WavePolicy {
    /// How many regions may hold a slot at once.
    pub max_concurrent: Amount,
    /// How long a region holds its slot.
    pub slot_until: SlotUntil,
    /// How many regions may fail before the wave does.
    pub max_failures: Amount,
    /// How many regions may be skipped at their deadline because nothing could be learnt of them.
    pub max_unreachable: Amount,
    /// How many must be healthy; `None` is all, less what the two above allow.
    pub min_healthy: Option<Amount>,
    /// From the entry that closes a region's intent as applied to first healthy.
    #[serde(with = "duration::text")]
    pub progress_deadline: Duration,
    /// How long a region must stay healthy.
    #[serde(with = "duration::text")]
    pub bake: Duration,
    /// The names of the gates that judge this wave, in the fleet's order.
    pub gates: Vec<String>,
    /// What a failure leads to here.
    pub on_failure: OnFailure,
    /// What an unreachable region leads to here.
    pub on_unreachable: OnUnreachable,
}

impl Default for WavePolicy {
    /// The contract's defaults; the gates are the caller's to fill in (all of the fleet's).
    fn default() -> Self {
        Self {
            max_concurrent: Amount::Count(1),
            slot_until: SlotUntil::Healthy,
            max_failures: Amount::Count(0),
            max_unreachable: Amount::Count(0),
            min_healthy: None,
            progress_deadline: Duration::from_secs(30 * 60),
            bake: Duration::from_secs(10 * 60),
            gates: Vec::new(),
            on_failure: OnFailure::Revert,
            on_unreachable: OnUnreachable::Hold,
        }
    }
}

impl WavePolicy {
    /// The smallest number of healthy regions with which a wave of `total` regions may pass.
    #[must_use]
    pub fn min_healthy_of(&self, total: usize) -> usize {
        match self.min_healthy {
            Some(amount) => amount.of(total).min(total),
            None => total
                .saturating_sub(self.max_failures.of(total))
                .saturating_sub(self.max_unreachable.of(total)),
        }
    }
}

/// How long a region counts against `maxConcurrent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SlotUntil {
    /// Until it is first healthy.
    Healthy,
    /// Until it has baked.
    Baked,
}

/// What a failure leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// Give every touched region its last good tree back and revert the source commit.
    Revert,
    /// Stop and ask a person.
    Hold,
    /// Give the failed region alone its last good tree back and go on without it.
    Isolate,
}

/// What a region leads to that could not be judged by its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnUnreachable {
    /// Stop and ask a person, once `maxUnreachable` is used up.
    Hold,
    /// Count it as a failure.
    Fail,
}

/// How the config branch is reverted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevertPolicy {
    /// How the revert reaches the config branch.
    pub source: RevertSource,
}

/// How a revert reaches the config branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RevertSource {
    /// As a commit.
    Commit,
    /// As a pull request.
    PullRequest,
    /// Not at all; only the wave branches are given back.
    Never,
}

/// What holds a promotion until a person approves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guards {
    /// How many percent of a region's objects a commit may delete.
    pub max_deleted_objects_percent: u8,
    /// Whether a commit that changes policy and content at once is held.
    pub policy_with_content: PolicyWithContent,
    /// Kinds whose deletion waits for approval, beside [`PROTECTED_KINDS`]: `Kind` or `Kind.group`.
    pub protected_kinds: BTreeSet<String>,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            max_deleted_objects_percent: 30,
            policy_with_content: PolicyWithContent::Hold,
            protected_kinds: BTreeSet::new(),
        }
    }
}

impl Guards {
    /// The stricter of two: a commit cannot loosen the guards that judge it.
    #[must_use]
    pub fn stricter(&self, other: &Self) -> Self {
        Self {
            max_deleted_objects_percent: self
                .max_deleted_objects_percent
                .min(other.max_deleted_objects_percent),
            policy_with_content: match (self.policy_with_content, other.policy_with_content) {
                (PolicyWithContent::Allow, PolicyWithContent::Allow) => PolicyWithContent::Allow,
                _ => PolicyWithContent::Hold,
            },
            protected_kinds: self
                .protected_kinds
                .union(&other.protected_kinds)
                .cloned()
                .collect(),
        }
    }

    /// Whether objects of this kind are protected; `group` is empty for the core group.
    #[must_use]
    pub fn protects(&self, group: &str, kind: &str) -> bool {
        let qualified = format!("{kind}.{group}");
        PROTECTED_KINDS
            .iter()
            .any(|(protected_kind, protected_group)| {
                *protected_kind == kind && *protected_group == group
            })
            || self.protected_kinds.contains(kind)
            || self.protected_kinds.contains(&qualified)
    }
}

/// Kinds that are always protected, as (kind, group).
pub const PROTECTED_KINDS: [(&str, &str); 9] = [
    ("Namespace", ""),
    ("CustomResourceDefinition", "apiextensions.k8s.io"),
    ("PersistentVolume", ""),
    ("PersistentVolumeClaim", ""),
    ("Cluster", "cluster.x-k8s.io"),
    ("ClusterDeployment", "k0rdent.mirantis.com"),
    ("Region", "k0rdent.mirantis.com"),
    ("Credential", "k0rdent.mirantis.com"),
    ("Management", "k0rdent.mirantis.com"),
];

/// Whether a commit that changes policy and content at once is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PolicyWithContent {
    /// It waits for approval.
    Hold,
    /// It goes on.
    Allow,
}

/// One gate: a check that a region must pass.
///
/// The same type serves the document, whose strings are templates, and a region's gate, in which
/// they are resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// The gate's name, unique in the fleet.
    pub name: String,
    /// What is checked.
    #[serde(flatten)]
    pub check: GateCheck,
    /// How and when it is asked, and how answers are counted.
    #[serde(flatten)]
    pub sampling: Sampling,
}

/// What a gate checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GateCheck {
    /// An HTTP endpoint answers as expected.
    Http(HttpCheck),
    /// Argo CD's Applications of the region are synced to its tree and healthy.
    Argocd(ArgocdCheck),
    /// The objects of the region's tree are in its cluster as rendered, and healthy.
    Workloads(WorkloadsCheck),
}

impl GateCheck {
    /// The check of an `http` gate.
    #[must_use]
    pub fn as_http(&self) -> Option<&HttpCheck> {
        match self {
            Self::Http(check) => Some(check),
            Self::Argocd(_) | Self::Workloads(_) => None,
        }
    }

    /// Whether it reads what a cluster says of itself, so that nothing follows from its silence.
    #[must_use]
    pub fn reads_cluster(&self) -> bool {
        match self {
            Self::Http(_) => false,
            Self::Argocd(_) | Self::Workloads(_) => true,
        }
    }

    /// Whether asking hurries what applies the branches on, so that it is worth to ask after a region was given back what
    /// it had.
    #[must_use]
    pub fn hurries(&self) -> bool {
        matches!(self, Self::Argocd(_))
    }

    /// How such a gate is asked and counted where nothing else is written.
    ///
    /// Gates that read a cluster wait for a state to last by themselves (`stableFor`, `degradedFor`): one sample that says
    /// so is enough.
    #[must_use]
    pub fn default_sampling(&self) -> Sampling {
        match self {
            Self::Http(_) => Sampling::default(),
            Self::Argocd(_) | Self::Workloads(_) => Sampling {
                successes: 1,
                failures: 1,
                ..Sampling::default()
            },
        }
    }
}

/// How a gate is asked, and how its answers are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sampling {
    /// The first sample comes no sooner than this after the promotion; `None` if not written
    /// (zero, or [`UNPROVEN_SETTLE`] where the gate cannot tell revisions apart).
    #[serde(
        with = "duration::optional_text",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub settle: Option<Duration>,
    /// From one sample to the next.
    #[serde(with = "duration::text")]
    pub every: Duration,
    /// The longest that one sample may take; at most `every`.
    #[serde(with = "duration::text")]
    pub timeout: Duration,
    /// So many healthy samples in a row make the gate healthy.
    pub successes: u32,
    /// So many harmful samples in a row make it fail.
    pub failures: u32,
}

/// The least `settle` of a gate that cannot prove which revision answered, unless one is written.
pub const UNPROVEN_SETTLE: Duration = Duration::from_secs(180);

impl Default for Sampling {
    fn default() -> Self {
        Self {
            settle: None,
            every: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            successes: 3,
            failures: 3,
        }
    }
}

/// The check of an `http` gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    /// The name of an endpoint in the operator's settings; then `url` is relative to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The URL.
    pub url: String,
    /// The request's method.
    pub method: String,
    /// The request's headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What a healthy answer looks like.
    pub expect: HttpExpect,
}

/// What a healthy answer looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpExpect {
    /// Any of these statuses.
    pub status: Vec<u16>,
    /// JSON pointers into the body (RFC 6901) and the values there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub json: BTreeMap<String, Value>,
}

impl Default for HttpExpect {
    fn default() -> Self {
        Self {
            status: vec![200],
            json: BTreeMap::new(),
        }
    }
}

/// The check of an `argocd` gate: which Applications, and how long what they show has to last.
///
/// The rules are in the manual's page on the gate; durations are counted by the controller's own monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArgocdCheck {
    /// The name of an Argo CD in the operator's settings; `None` is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Applications by label; `None` finds them by repo, branch and folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// How many Applications the region has at least.
    pub applications: u32,
    /// How long all must be synced and healthy.
    #[serde(with = "duration::text")]
    pub stable_for: Duration,
    /// How long an Application must be degraded.
    #[serde(with = "duration::text")]
    pub degraded_for: Duration,
    /// How long a sync of this tree may run.
    #[serde(with = "duration::text")]
    pub sync_deadline: Duration,
    /// How long objects may be missing.
    #[serde(with = "duration::text")]
    pub missing_for: Duration,
    /// How long something else may keep an Application out of sync after its sync.
    #[serde(with = "duration::text")]
    pub drift_grace: Duration,
    /// What an Application means that was degraded before its promotion, for the same cause.
    pub baseline_degraded: BaselineDegraded,
    /// What objects mean that only pruning would remove, where pruning is off.
    pub prune_pending: PrunePending,
    /// What an Application means that does not stay in sync.
    pub on_drift: OnDrift,
    /// What a suspended Application means.
    pub on_suspended: OnSuspended,
}

impl Default for ArgocdCheck {
    fn default() -> Self {
        Self {
            instance: None,
            selector: None,
            applications: 1,
            stable_for: Duration::from_secs(60),
            degraded_for: Duration::from_secs(30),
            sync_deadline: Duration::from_secs(10 * 60),
            missing_for: Duration::from_secs(60),
            drift_grace: Duration::from_secs(60),
            baseline_degraded: BaselineDegraded::Hold,
            prune_pending: PrunePending::Accept,
            on_drift: OnDrift::Hold,
            on_suspended: OnSuspended::Hold,
        }
    }
}

/// What an Application means that was degraded before its promotion, for the same cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BaselineDegraded {
    /// It neither passes nor fails.
    Hold,
    /// It is judged as if it had been healthy.
    Ignore,
}

/// What objects mean that only pruning would remove, where pruning is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PrunePending {
    /// Nothing.
    Accept,
    /// The gate neither passes nor fails.
    Hold,
}

/// What an Application means that does not stay in sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnDrift {
    /// The gate neither passes nor fails.
    Hold,
    /// Harm.
    Fail,
}

/// What a suspended Application means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnSuspended {
    /// The gate neither passes nor fails.
    Hold,
    /// It counts as healthy.
    Pass,
}

/// The check of a `workloads` gate: how long what the cluster shows has to last.
///
/// The rules are in the manual's page on the gate; durations are counted by the controller's own monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadsCheck {
    /// The namespace of objects that name none.
    pub namespace: String,
    /// How long all must be healthy without a break.
    #[serde(with = "duration::text")]
    pub stable_for: Duration,
    /// How long a container may wait for its image.
    #[serde(with = "duration::text")]
    pub image_pull_for: Duration,
    /// How long a container may crash or be refused.
    #[serde(with = "duration::text")]
    pub waiting_for: Duration,
    /// How long a Deployment may be refused new pods.
    #[serde(with = "duration::text")]
    pub replica_failure_for: Duration,
    /// How long no node may be found for a pod before the evidence names it.
    #[serde(with = "duration::text")]
    pub unschedulable_for: Duration,
    /// How often the containers of one pod may restart within an hour.
    pub max_restarts: u32,
    /// Whether a workload without replicas is healthy.
    pub allow_zero: bool,
    /// How often a healthy region may break within an hour before it counts as flapping.
    pub max_flaps: u32,
    /// Paths of fields that are not compared, such as `/spec/replicas`; `Kind:/path` for one kind alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
}

impl Default for WorkloadsCheck {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            stable_for: Duration::from_secs(60),
            image_pull_for: Duration::from_secs(120),
            waiting_for: Duration::from_secs(60),
            replica_failure_for: Duration::from_secs(60),
            unschedulable_for: Duration::from_secs(5 * 60),
            max_restarts: 2,
            allow_zero: false,
            max_flaps: 3,
            ignore: Vec::new(),
        }
    }
}

/// One region: a document of `regions/*.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Region {
    /// The region's name, a DNS label, unique in the fleet.
    pub name: String,
    /// Its cloud location.
    pub location: String,
    /// The name under which settings and Argo CD know its cluster.
    pub cluster: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is left exactly as it is, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Exclusion>,
}

/// Why a region is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exclusion {
    /// Why.
    pub reason: String,
    /// The last day of it (`2027-01-31`) or an RFC 3339 time; once past it only warns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_labels() {
        for good in ["a", "westus3", "a-b", &"a".repeat(63)] {
            assert!(is_dns_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "é", &"a".repeat(64)] {
            assert!(!is_dns_label(bad), "{bad}");
        }
    }

    #[test]
    fn guards_take_the_stricter_side_of_everything() {
        let loose = Guards {
            max_deleted_objects_percent: 90,
            policy_with_content: PolicyWithContent::Allow,
            protected_kinds: BTreeSet::new(),
        };
        let strict = Guards {
            protected_kinds: ["Deployment.apps".to_owned()].into(),
            ..Guards::default()
        };
        for merged in [loose.stricter(&strict), strict.stricter(&loose)] {
            assert_eq!(merged, strict);
        }
        assert!(strict.protects("apps", "Deployment"));
        assert!(strict.protects("", "Namespace"));
        assert!(!strict.protects("example.com", "Namespace"));
        assert!(!loose.protects("apps", "Deployment"));
    }

    #[test]
    fn a_wave_needs_all_regions_less_what_it_tolerates() {
        let mut policy = WavePolicy {
            max_failures: Amount::Percent(25),
            max_unreachable: Amount::Count(1),
            ..WavePolicy::default()
        };
        assert_eq!(policy.min_healthy_of(11), 8);
        policy.min_healthy = Some(Amount::Percent(50));
        assert_eq!(policy.min_healthy_of(11), 5);
    }

    #[test]
    fn a_gate_survives_json() {
        let gate = Gate {
            name: "healthz".to_owned(),
            check: GateCheck::Http(HttpCheck {
                endpoint: None,
                url: "https://example.com/healthz".to_owned(),
                method: "GET".to_owned(),
                headers: BTreeMap::new(),
                expect: HttpExpect::default(),
            }),
            sampling: Sampling {
                settle: Some(Duration::from_secs(30)),
                ..Sampling::default()
            },
        };
        let json = serde_json::to_string(&gate).unwrap();
        assert_eq!(serde_json::from_str::<Gate>(&json).unwrap(), gate);
    }
}
