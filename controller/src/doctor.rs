//! A look at what a fleet's gates rest on, before a rollout finds it out: ways to clusters, rights there, and those settings
//! of Argo CD that can delete what runs, let commits by, or keep a rollout waiting.
//!
//! Nothing is changed, and nothing is judged: how regions are is for the gates.

mod argocd;
mod clusters;
mod instances;
mod policy;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use tidegate_renderer::text::plain;
use tidegate_waves::fleet::GateCheck;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetState, present_probes};

use crate::gates::argocd::branch_name;
use crate::regions::rights::Right;

pub use self::clusters::examine_clusters;
pub use self::instances::examine_instances;
pub use self::policy::policy;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Gates cannot judge, or Argo CD may do what nobody asked for.
    Problem,
    /// It works, and can be better.
    Advice,
    /// As it should be.
    Ok,
}

impl Severity {
    /// As tables have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Advice => "advice",
            Self::Ok => "ok",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was looked at, such as `cluster aks-westus3`.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    /// Names and versions in it are others' words: marks that deceive are kept out here, whoever said them.
    fn ok(subject: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Ok,
            subject: plain(subject),
            message: plain(&message.into()),
            advice: None,
        }
    }

    fn problem(subject: &str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            severity: Severity::Problem,
            advice: Some(advice.into()),
            ..Self::ok(subject, message)
        }
    }

    fn advice(subject: &str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            severity: Severity::Advice,
            ..Self::problem(subject, message, advice)
        }
    }
}

/// A region whose cluster gates read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRegion {
    /// Its name.
    pub region: String,
    /// The name of its cluster.
    pub cluster: String,
    /// The wave branch that its Applications follow, without `refs/heads/`.
    pub branch: String,
    /// The tree that it should run.
    pub tree: Oid,
    /// Where objects go that name no namespace, if a `workloads` gate judges the region.
    pub workloads: Option<String>,
    /// Whether an `argocd` gate does, by Applications that read the region's folder and not by labels.
    pub argocd: bool,
}

/// The regions that have a tree and a gate that reads a cluster.
#[must_use]
pub fn read_regions(state: &FleetState) -> Vec<ReadRegion> {
    let mut regions: BTreeMap<String, ReadRegion> = BTreeMap::new();
    for probe in present_probes(state) {
        let (workloads, argocd) = match &probe.gate.check {
            GateCheck::Http(_) => continue,
            GateCheck::Workloads(check) => (Some(check.namespace.clone()), false),
            GateCheck::Argocd(check) => (None, check.selector.is_none()),
        };
        let region = regions
            .entry(probe.region.clone())
            .or_insert_with(|| ReadRegion {
                region: probe.region,
                cluster: probe.place.cluster,
                branch: branch_name(&probe.place.branch).to_owned(),
                tree: probe.place.tree,
                workloads: None,
                argocd: false,
            });
        region.workloads = region.workloads.take().or(workloads);
        region.argocd |= argocd;
    }
    regions.into_values().collect()
}

/// What was found, and what is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was found, in the order in which it was looked at.
    pub findings: Vec<Finding>,
    /// By cluster, the rights that its gates need.
    pub needed: BTreeMap<String, BTreeSet<Right>>,
    /// By Argo CD that is reached through its own API, the projects of the Applications that its gates read.
    pub policies: BTreeMap<String, BTreeSet<String>>,
}

impl Report {
    /// Takes another one's findings and rights in.
    pub fn extend(&mut self, other: Self) {
        self.findings.extend(other.findings);
        for (cluster, rights) in other.needed {
            self.needed.entry(cluster).or_default().extend(rights);
        }
        for (argocd, projects) in other.policies {
            self.policies.entry(argocd).or_default().extend(projects);
        }
    }

    /// How many of its findings matter so much.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let findings = self.findings.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }
}

/// The text at a place of an object, or nothing.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

/// The same finding about several objects of one kind is said once.
fn gathered(kind: &str, findings: Vec<Finding>) -> Vec<Finding> {
    let mut subjects: BTreeMap<(Severity, String, Option<String>), Vec<String>> = BTreeMap::new();
    for finding in findings {
        let Finding {
            severity,
            subject,
            message,
            advice,
        } = finding;
        let same = subjects.entry((severity, message, advice)).or_default();
        same.push(subject);
    }
    subjects
        .into_iter()
        .map(|((severity, message, advice), mut names)| {
            names.sort();
            Finding {
                severity,
                subject: named(kind, &names),
                message,
                advice,
            }
        })
        .collect()
}

/// So many names are said.
const MOST_NAMES: usize = 3;

fn named(kind: &str, names: &[String]) -> String {
    let said: Vec<&str> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
    let more = match names.len().saturating_sub(MOST_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{kind} {}{more}", said.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_api_server_calls_things_deceives_nobody() {
        let found = Finding::ok(
            "ApplicationSet sh\u{202e}op",
            "Kubernetes v1.33\u{1b}[2J\nok",
        );
        assert_eq!(found.subject, r"ApplicationSet sh\u{202e}op");
        assert_eq!(found.message, r"Kubernetes v1.33\x1b[2J\x0aok");
    }

    #[test]
    fn the_same_of_several_is_said_once() {
        let about = |name: &str| Finding::advice(name, "it does not prune", "let it");
        let found = gathered(
            "Application",
            vec![about("d"), about("b"), about("a"), about("c"), {
                Finding::problem("a", "it is left alone", "take the annotation away")
            }],
        );
        let said: Vec<(&str, &str)> = found
            .iter()
            .map(|finding| (finding.subject.as_str(), finding.message.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                ("Application a", "it is left alone"),
                ("Application a, b, c and 1 more", "it does not prune"),
            ]
        );
    }
}
