//! P22: claims by their phase, bare pods by theirs, everything else by its conditions, or by being there.

use std::time::Duration;

use super::super::k0rdent::{self, Own, ready_condition};
use super::super::line::span;
use super::super::memory::Cause;
use super::super::object::{Condition, Snapshot};
use super::super::pods::Pod;
use super::super::verdict::Kind;
use super::controllers::{service, why};
use super::{Case, Notes};
use crate::gates::object_key::ObjectKey;
use crate::gates::shown::word;

/// The groups of the API server itself that have a dot in them.
const BUILT_IN: [&str; 16] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Kinds whose controllers always come to a `Ready` condition, so that one without it is not there yet.
const ALWAYS_READY: [(&str, &[&str]); 7] = [
    (
        "cert-manager.io",
        &["Certificate", "Issuer", "ClusterIssuer"],
    ),
    ("helm.toolkit.fluxcd.io", &["HelmRelease"]),
    ("kustomize.toolkit.fluxcd.io", &["Kustomization"]),
    (
        "source.toolkit.fluxcd.io",
        &["GitRepository", "HelmChart", "Bucket"],
    ),
    (
        "external-secrets.io",
        &["ExternalSecret", "SecretStore", "ClusterSecretStore"],
    ),
    ("serving.knative.dev", &["Service"]),
    (
        k0rdent::GROUP,
        &[
            "Management",
            "Region",
            "Credential",
            "ClusterDeployment",
            "MultiClusterService",
        ],
    ),
];

/// Whether a group is the API server's own, and not a custom resource's.
pub(super) fn is_built_in(group: &str) -> bool {
    !group.contains('.') || BUILT_IN.contains(&group)
}

fn is_always_ready(key: &ObjectKey) -> bool {
    ALWAYS_READY
        .iter()
        .any(|(group, kinds)| *group == key.group && kinds.contains(&key.kind.as_str()))
}

/// P22.
pub(super) fn others(case: &Case<'_>, notes: &mut Notes<'_>) {
    let Some(live) = case.snapshot else { return };
    match (case.key.group.as_str(), case.key.kind.as_str()) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") | ("batch", "Job") => {}
        ("", "PersistentVolumeClaim") => claim(case, live, notes),
        ("", "Pod") => pod(live.pod.as_ref(), notes),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            by_condition(live, "Established", notes);
        }
        ("apiregistration.k8s.io", "APIService") => by_condition(live, "Available", notes),
        ("", "Service") => {
            service(case, live, notes);
            notes.healthy();
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            if let Some(condition) = live.condition("ScalingActive")
                && condition.truth == Some(false)
            {
                notes.warn(&format!("does not scale: {}", word(&condition.reason)));
            }
            notes.healthy();
        }
        ("policy", "PodDisruptionBudget") => {
            let (has, wanted) = (
                live.facts.count("currentHealthy"),
                live.facts.count("desiredHealthy"),
            );
            if has < wanted {
                notes.warn(&format!("{has} of {wanted} pods healthy"));
            }
            notes.healthy();
        }
        // A bare one has no revision and no condition; those of Deployments are judged with them.
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            let (ready, wanted) = (live.facts.count("readyReplicas"), live.facts.replicas);
            if ready < wanted {
                notes.say(Kind::Progressing, &format!("{ready} of {wanted} ready"));
            } else {
                notes.healthy();
            }
        }
        (group, _) if is_built_in(group) => notes.healthy(),
        _ => custom(case, live, notes),
    }
}

fn claim(case: &Case<'_>, live: &Snapshot, notes: &mut Notes<'_>) {
    match live.facts.phase.as_str() {
        "Bound" => notes.healthy(),
        "Lost" => notes.complain(case, Cause::ClaimLost, &live.uid, Duration::ZERO, |_| {
            "its volume is lost".to_owned()
        }),
        "" => notes.say(Kind::Progressing, "is not bound"),
        phase => notes.say(Kind::Progressing, &format!("is {}, not bound", word(phase))),
    }
}

fn pod(pod: Option<&Pod>, notes: &mut Notes<'_>) {
    match pod {
        Some(pod) if pod.phase == "Running" && pod.is_ready() => notes.healthy(),
        Some(pod) if pod.phase == "Succeeded" && !pod.restarts_always => notes.healthy(),
        Some(pod) => {
            let phase = if pod.phase.is_empty() {
                "nowhere yet"
            } else {
                &pod.phase
            };
            notes.say(Kind::Progressing, &format!("is {}, not ready", word(phase)));
        }
        None => notes.say(Kind::Unknown, "its answer is no pod"),
    }
}

fn by_condition(live: &Snapshot, name: &str, notes: &mut Notes<'_>) {
    match live.condition(name) {
        Some(condition) => ready(live, condition, notes),
        None => notes.say(Kind::Progressing, &format!("has no condition {name} yet")),
    }
}

fn custom(case: &Case<'_>, live: &Snapshot, notes: &mut Notes<'_>) {
    let truly = |name: &str| {
        let condition = live.condition(name);
        condition.filter(|condition| condition.truth == Some(true))
    };
    match &live.own {
        Some(Own::Unsure(why)) => return notes.say(Kind::Unknown, why),
        Some(Own::NotYet(why)) => return notes.say(Kind::Progressing, why),
        Some(Own::Ready) | None => {}
    }
    if let Some(condition) = truly("Stalled") {
        return stalled(case, live, condition, notes);
    }
    if let Some(condition) = truly("Reconciling") {
        let evidence = format!("is being reconciled: {}", word(&condition.reason));
        return notes.say(Kind::Progressing, &evidence);
    }
    let name = ready_condition(case.key);
    match live.condition(name) {
        Some(condition) => ready(live, condition, notes),
        None if live.own == Some(Own::Ready) => notes.healthy(),
        None if is_always_ready(case.key) => by_condition(live, name, notes),
        None => notes.ignore(),
    }
}

/// Harm only if it is certain that this is of the newest generation and was not so before.
fn stalled(case: &Case<'_>, live: &Snapshot, condition: &Condition, notes: &mut Notes<'_>) {
    let complaint = case.complaint(Cause::Stalled);
    let observed = condition.observed.or(live.facts.observed);
    let is_current = observed.is_some() && observed >= live.generation && live.generation.is_some();
    let evidence = |held: Duration| format!("stalled for {}: {}", span(held), why(condition));
    let is_new = case.baseline.clears(&complaint) || notes.memory.has_recovered(&complaint.object);
    if is_current && (case.before || is_new) {
        let grace = case.limits.waiting_for;
        notes.complain(case, Cause::Stalled, &live.uid, grace, evidence);
    } else {
        let gap = case.limits.longest_gap;
        let held = notes.memory.held(&complaint, &live.uid, case.now, gap);
        notes.complaints.insert(complaint);
        notes.say(
            Kind::Unknown,
            &format!("{}, and may have been so before", evidence(held)),
        );
    }
}

fn ready(live: &Snapshot, condition: &Condition, notes: &mut Notes<'_>) {
    let name = word(&condition.name);
    if let (Some(observed), Some(generation)) = (condition.observed, live.generation)
        && observed < generation
    {
        let behind = format!("{name} is of generation {observed}, wanted {generation}");
        notes.say(Kind::Progressing, &behind);
    } else if condition.truth == Some(true) {
        notes.healthy();
    } else {
        let truth = if condition.truth.is_some() {
            "False"
        } else {
            "Unknown"
        };
        let evidence = format!("{name} is {truth}: {}", why(condition));
        notes.say(Kind::Progressing, &evidence);
    }
}
