//! The document `tidegate.yaml`, as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

/// A fleet: its waves, gates and policy.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fleet {
    /// The version of the document.
    #[schemars(extend("const" = "tidegate.dev/v1alpha1"))]
    pub api_version: String,
    /// The kind of the document.
    #[schemars(extend("const" = "Fleet"))]
    pub kind: String,
    /// The fleet's name, a DNS label.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// Value layers, lowest first.
    #[schemars(length(max = 100))]
    pub values: Option<Vec<ValueLayer>>,
    /// The waves in order; the first is the canary.
    #[schemars(length(min = 1, max = 500))]
    pub waves: Vec<Wave>,
    /// The gates that waves choose from; `[]` if there is really nothing to check.
    #[schemars(length(max = 100))]
    pub gates: Vec<Gate>,
    /// What a failure leads to.
    #[schemars(extend("default" = "revert"))]
    pub on_failure: Option<OnFailure>,
    /// What a region leads to that could not be judged by its deadline.
    #[schemars(extend("default" = "hold"))]
    pub on_unreachable: Option<OnUnreachable>,
    /// How the config branch is reverted.
    pub revert: Option<Revert>,
    /// What holds a promotion until a person approves.
    pub guards: Option<Guards>,
}

/// One layer of values: a file, whose path may contain expressions.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum ValueLayer {
    /// A file that must exist.
    Path(String),
    /// A file that may be missing.
    Layer(Layer),
}

/// One layer of values, in full.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Layer {
    /// The file, relative to the fleet's folder; `/…` means the repo's root.
    pub path: String,
    /// Whether a missing file or label is no error.
    #[schemars(extend("default" = false))]
    pub optional: Option<bool>,
}

/// One wave: `regions` or `selector` say who is in it.
#[derive(Debug, JsonSchema)]
#[schemars(
    rename_all = "camelCase",
    deny_unknown_fields,
    extend("oneOf" = [{ "required": ["regions"] }, { "required": ["selector"] }])
)]
pub struct Wave {
    /// The wave's name, a DNS label; `log`, `requests` and `revert` are reserved.
    #[schemars(
        regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        extend("not" = { "enum": ["log", "requests", "revert"] })
    )]
    pub name: String,
    /// Its regions by name, in this order.
    pub regions: Option<Vec<String>>,
    /// Its regions by label, in the order of names.
    pub selector: Option<Selector>,
    /// How many regions are promoted and not yet through at once.
    #[schemars(extend("default" = 1, "not" = { "enum": [0, "0", "0%"] }))]
    pub max_concurrent: Option<Amount>,
    /// How long a region counts there.
    #[schemars(extend("default" = "healthy"))]
    pub slot_until: Option<SlotUntil>,
    /// How many regions may fail; always 0 in the canary.
    #[schemars(extend("default" = 0))]
    pub max_failures: Option<Amount>,
    /// How many regions are skipped at the deadline because nothing could be learnt of them.
    #[schemars(extend("default" = 0))]
    pub max_unreachable: Option<Amount>,
    /// How many must be healthy; by default all, less what the two above allow.
    pub min_healthy: Option<Amount>,
    /// From the branch holding the tree to first healthy, such as `1h30m`.
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h))+$"), extend("default" = "30m"))]
    pub progress_deadline: Option<String>,
    /// How long a region must stay healthy.
    #[schemars(extend("default" = "10m"))]
    pub bake: Option<Duration>,
    /// The names of the gates that judge this wave; by default all.
    pub gates: Option<Vec<String>>,
    /// What a failure leads to here; by default as the fleet says.
    pub on_failure: Option<OnFailure>,
    /// What an unreachable region leads to here; by default as the fleet says.
    pub on_unreachable: Option<OnUnreachable>,
}

/// A duration such as `1h30m`, or nothing.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum Duration {
    /// Nothing, as a number.
    Nothing(#[schemars(extend("const" = 0))] u8),
    /// Whole numbers with the units `ms`, `s`, `m` and `h`.
    Text(#[schemars(regex(pattern = r"^(0|([0-9]+(ms|s|m|h))+)$"))] String),
}

/// A number of regions, or a whole percentage of the wave, rounded down.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum Amount {
    /// So many regions.
    Count(u32),
    /// A percentage, `0%` to `100%`.
    Percent(#[schemars(regex(pattern = r"^([0-9]+|(100|[0-9]{1,2})%)$"))] String),
}

/// A Kubernetes label selector.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Labels that must have exactly these values.
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Further requirements.
    pub match_expressions: Option<Vec<Requirement>>,
}

/// One requirement on one label.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How the label is compared.
    pub operator: Operator,
    /// The values that `In` and `NotIn` compare with.
    pub values: Option<Vec<String>>,
}

/// Kubernetes' four operators.
#[derive(Debug, JsonSchema)]
#[expect(missing_docs, reason = "these are Kubernetes' words")]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// Until when a region counts as being under way.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field says what it is")]
pub enum SlotUntil {
    Healthy,
    Baked,
}

/// What a failure leads to.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the config repo's page says what they do")]
pub enum OnFailure {
    Revert,
    Hold,
    Isolate,
}

/// What a region leads to that could not be judged.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the config repo's page says what they do")]
pub enum OnUnreachable {
    Hold,
    Fail,
}

/// How the config branch is reverted.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revert {
    /// As a commit, as a pull request, or not at all.
    #[schemars(extend("default" = "commit"))]
    pub source: Option<RevertSource>,
}

/// How the revert reaches the config branch.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field says what they are")]
pub enum RevertSource {
    Commit,
    PullRequest,
    Never,
}

/// What holds a promotion until a person approves.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Guards {
    /// How many percent of a region's objects a commit may delete.
    #[schemars(range(min = 0, max = 100), extend("default" = 30))]
    pub max_deleted_objects_percent: Option<u8>,
    /// Whether a commit that changes policy and content at once is held.
    #[schemars(extend("default" = "hold"))]
    pub policy_with_content: Option<PolicyWithContent>,
    /// Kinds whose deletion waits for approval, beside those that always do: `Kind` or `Kind.group`.
    pub protected_kinds: Option<Vec<String>>,
}

/// Whether a commit that changes policy and content at once is held.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field says what they are")]
pub enum PolicyWithContent {
    Hold,
    Allow,
}

/// One gate: exactly one of `http`, `argocd` and `workloads`. Every string is a template, resolved per region.
#[derive(Debug, JsonSchema)]
#[schemars(
    rename_all = "camelCase",
    deny_unknown_fields,
    extend("oneOf" = [{ "required": ["http"] }, { "required": ["argocd"] }, { "required": ["workloads"] }])
)]
pub struct Gate {
    /// The gate's name, unique in the fleet.
    pub name: String,
    /// An HTTP endpoint answers as expected.
    pub http: Option<Http>,
    /// Argo CD's Applications of the region are synced to its tree and healthy.
    pub argocd: Option<Argocd>,
    /// The objects of the region's tree are in its cluster as rendered, and healthy.
    pub workloads: Option<Workloads>,
    /// The first sample comes no sooner than this after the promotion.
    #[schemars(extend("default" = "0s"))]
    pub settle: Option<Settle>,
    /// From one sample to the next.
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h))+$|\{\{"), extend("default" = "10s"))]
    pub every: Option<String>,
    /// The longest that a sample may take; at most `every`.
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h))+$|\{\{"), extend("default" = "5s"))]
    pub timeout: Option<String>,
    /// So many healthy samples in a row make it healthy; 1 by default for `argocd` and `workloads`, which wait by themselves.
    #[schemars(extend("default" = 3))]
    pub successes: Option<Count>,
    /// So many harmful samples in a row make it fail; 1 by default for `argocd` and `workloads`.
    #[schemars(extend("default" = 3))]
    pub failures: Option<Count>,
}

/// A duration such as `1h30m`, nothing, or an expression that gives one of them.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum Settle {
    /// Nothing, as a number.
    Nothing(#[schemars(extend("const" = 0))] u8),
    /// Whole numbers with the units `ms`, `s`, `m` and `h`, or an expression.
    Text(#[schemars(regex(pattern = r"^(0|([0-9]+(ms|s|m|h))+)$|\{\{"))] String),
}

/// A number from 1 on, or an expression that gives one.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum Count {
    /// The number.
    Number(#[schemars(range(min = 1))] u32),
    /// The expression.
    Expression(String),
}

/// Argo CD's Applications of the region are synced to its tree and healthy.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Argocd {
    /// The name of an Argo CD in the operator's settings; by default the only one.
    pub instance: Option<String>,
    /// Applications by label; by default those that sync the region's folder of its wave branch.
    pub selector: Option<Selector>,
    /// How many Applications the region has at least.
    #[schemars(extend("default" = 1))]
    pub applications: Option<Count>,
    /// How long all must be synced and healthy.
    #[schemars(extend("default" = "60s"))]
    pub stable_for: Option<Settle>,
    /// How long an Application must be degraded before that is harm.
    #[schemars(extend("default" = "30s"))]
    pub degraded_for: Option<Settle>,
    /// How long a sync of this tree may run before that is harm.
    #[schemars(extend("default" = "10m"))]
    pub sync_deadline: Option<Settle>,
    /// How long objects may be missing before that is harm.
    #[schemars(extend("default" = "60s"))]
    pub missing_for: Option<Settle>,
    /// How long something else may keep an Application out of sync after its sync.
    #[schemars(extend("default" = "60s"))]
    pub drift_grace: Option<Settle>,
    /// What an Application means that was degraded before its promotion, for the same cause.
    #[schemars(extend("default" = "hold"))]
    pub baseline_degraded: Option<BaselineDegraded>,
    /// What objects mean that only pruning would remove, where pruning is off.
    #[schemars(extend("default" = "accept"))]
    pub prune_pending: Option<PrunePending>,
    /// What an Application means that does not stay in sync.
    #[schemars(extend("default" = "hold"))]
    pub on_drift: Option<OnDrift>,
    /// What a suspended Application means.
    #[schemars(extend("default" = "hold"))]
    pub on_suspended: Option<OnSuspended>,
}

/// What an Application means that was degraded before its promotion.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field says what they are")]
pub enum BaselineDegraded {
    Hold,
    Ignore,
}

/// What objects mean that only pruning would remove.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field says what they are")]
pub enum PrunePending {
    Accept,
    Hold,
}

/// What an Application means that does not stay in sync.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field says what they are")]
pub enum OnDrift {
    Hold,
    Fail,
}

/// What a suspended Application means.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field says what they are")]
pub enum OnSuspended {
    Hold,
    Pass,
}

/// The objects of the region's tree are in its cluster as rendered, and healthy.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workloads {
    /// The namespace of objects that name none.
    #[schemars(extend("default" = "default"))]
    pub namespace: Option<String>,
    /// How long all must be healthy without a break.
    #[schemars(extend("default" = "60s"))]
    pub stable_for: Option<Settle>,
    /// How long a container may wait for its image before that is harm.
    #[schemars(extend("default" = "2m"))]
    pub image_pull_for: Option<Settle>,
    /// How long a container may crash or be refused before that is harm.
    #[schemars(extend("default" = "60s"))]
    pub waiting_for: Option<Settle>,
    /// How long a Deployment may be refused new pods before that is harm.
    #[schemars(extend("default" = "60s"))]
    pub replica_failure_for: Option<Settle>,
    /// How long no node may be found for a pod before the evidence names it.
    #[schemars(extend("default" = "5m"))]
    pub unschedulable_for: Option<Settle>,
    /// How often the containers of one pod may restart within an hour.
    #[schemars(extend("default" = 2))]
    pub max_restarts: Option<WholeNumber>,
    /// Whether a workload without replicas is healthy.
    #[schemars(extend("default" = false))]
    pub allow_zero: Option<bool>,
    /// How often a healthy region may break within an hour before that is harm.
    #[schemars(extend("default" = 3))]
    pub max_flaps: Option<WholeNumber>,
    /// Paths of fields that are not compared, such as `/spec/replicas`; `Kind:/path` for one kind alone.
    pub ignore: Option<Vec<String>>,
}

/// A number, or an expression that gives one.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum WholeNumber {
    /// The number.
    Number(u32),
    /// The expression.
    Expression(String),
}

/// An HTTP endpoint answers as expected.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// The URL; relative if there is an `endpoint`.
    pub url: String,
    /// The name of an endpoint in the operator's settings.
    pub endpoint: Option<String>,
    /// The request's method.
    #[schemars(extend("default" = "GET"))]
    pub method: Option<String>,
    /// The request's headers.
    pub headers: Option<BTreeMap<String, String>>,
    /// What a healthy answer looks like.
    pub expect: Option<Expect>,
}

/// What a healthy answer looks like.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// One status or several.
    #[schemars(extend("default" = 200))]
    pub status: Option<Status>,
    /// JSON pointers into the body (RFC 6901) and the values there.
    pub json: Option<BTreeMap<String, Value>>,
}

/// One status or several.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
#[expect(missing_docs, reason = "these are forms of writing")]
pub enum Status {
    One(u16),
    Any(Vec<StatusItem>),
    Expression(String),
}

/// One status, or an expression that gives one.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
#[expect(missing_docs, reason = "these are forms of writing")]
pub enum StatusItem {
    Number(u16),
    Expression(String),
}
