//! The fleet of the stories: regions that are namespaces of one cluster, up to three waves, and one gate.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use tidegate_testkit::work::Work;

/// The regions, in the order in which they go.
pub(super) const REGIONS: [&str; 6] = ["west", "east", "north", "south", "up", "down"];

/// The rings, which are the waves, and how many regions of each go at once.
const RINGS: [(&str, u8); 3] = [("canary", 1), ("pilot", 2), ("broad", 4)];

/// How a fleet is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gates {
    Argocd,
    Workloads,
}

/// A fleet as it is committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fleet {
    pub(super) gates: Gates,
    /// How many of the regions it has.
    pub(super) regions: usize,
    /// How long a gate's workloads must be healthy.
    pub(super) stable_for: &'static str,
    /// The `progressDeadline` of each wave.
    pub(super) deadlines: [&'static str; 3],
}

/// The workload of a region: a Deployment that gives up after a while, and a ConfigMap.
pub(super) const TEMPLATE: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: "{{name}}" }
spec:
  replicas: {{values.replicas}}
  progressDeadlineSeconds: 4
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - { name: web, image: {{quote values.image}} }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: "{{name}}" }
data: { greeting: {{quote values.greeting}}, farewell: bye }
"#;

impl Fleet {
    /// One that is quick, and patient with a slow machine.
    pub(super) fn of(gates: Gates) -> Self {
        Self {
            gates,
            regions: REGIONS.len(),
            stable_for: "2s",
            deadlines: ["60s"; 3],
        }
    }

    /// Writes all of it.
    pub(super) fn write(&self, work: &Work) {
        let Self {
            gates, stable_for, ..
        } = self;
        let gate = match gates {
            Gates::Argocd => format!(
                "  - name: argocd
    argocd: {{ stableFor: {stable_for}, degradedFor: 2s, syncDeadline: 12s, missingFor: 5s, driftGrace: 5s }}
"
            ),
            Gates::Workloads => format!(
                "  - name: workloads
    workloads: {{ namespace: \"{{{{name}}}}\", stableFor: {stable_for}, imagePullFor: 3s, waitingFor: 3s, replicaFailureFor: 3s }}
"
            ),
        };
        let mut fleet = "apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: shop
values: [values/fleet.yaml, { path: \"values/{{name}}.yaml\", optional: true }]
waves:
"
        .to_owned();
        let all = self.regions().map(ring_of).collect::<BTreeSet<_>>();
        for ((ring, at_once), deadline) in RINGS.into_iter().zip(self.deadlines) {
            if all.contains(ring) {
                let _ = writeln!(
                    fleet,
                    "  - {{ name: {ring}, selector: {{ matchLabels: {{ ring: {ring} }} }}, bake: 1s, maxConcurrent: {at_once}, progressDeadline: {deadline} }}"
                );
            }
        }
        let _ = write!(
            fleet,
            "gates:\n{gate}    every: 500ms\n    timeout: 500ms\n"
        );
        work.write("tidegate.yaml", fleet);
        work.write("templates/app.yaml.hbs", TEMPLATE);
        work.write(
            "values/fleet.yaml",
            "{ image: \"web:1\", replicas: 2, greeting: hello }\n",
        );
        for region in self.regions() {
            write_region(work, region, ring_of(region));
        }
    }

    /// Its regions, in the order in which they go.
    pub(super) fn regions(&self) -> impl Iterator<Item = &'static str> {
        REGIONS.into_iter().take(self.regions)
    }
}

/// In which ring a region begins.
fn ring_of(region: &str) -> &'static str {
    match region {
        "west" => "canary",
        "east" | "north" => "pilot",
        _ => "broad",
    }
}

/// Puts a region into a ring.
pub(super) fn write_region(work: &Work, region: &str, ring: &str) {
    let document = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: {region}\ncluster: home\nlabels: {{ ring: {ring} }}\n"
    );
    work.write(&format!("regions/{region}.yaml"), document);
}
