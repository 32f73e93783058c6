//! Whole repos, good and bad.

use super::*;
use crate::source::MemoryTree;

const FLEET: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: payments
values:
  - values/fleet.yaml
  - { path: \"values/region/{{name}}.yaml\", optional: true }
waves:
  - name: canary
    regions: [westus3]
  - name: broad
    selector: { matchLabels: { ring: broad } }
    maxConcurrent: 25%
gates:
  - name: healthz
    http:
      url: \"https://{{values.host}}/healthz\"
      expect: { status: 200, json: { /version: \"{{values.version}}\" } }
    settle: 30s
";

const WEST: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Region
name: westus3
labels: { ring: canary }
values: { replicas: 1 }
";

const EAST: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Region
name: eastus2
location: us-east
labels: { ring: broad }
";

fn good() -> MemoryTree {
    MemoryTree::new()
        .with("tidegate.yaml", FLEET)
        .with("regions/westus3.yaml", WEST)
        .with("regions/eastus2.yaml", EAST)
        .with(
            "values/fleet.yaml",
            "host: example.com\nversion: '1.10'\nreplicas: 3\n",
        )
        .with("values/region/eastus2.yaml", "replicas: 5\n")
        .with("templates/app/deployment.yaml.hbs", "kind: Deployment\n")
        .with("templates/_labels.hbs", "app: x\n")
        .with("templates/README.md", "# read me\n")
        .with("templates/.gitkeep", "")
        .with("regions/westus3/extra.json", "{}\n")
        .with("README.md", "mine")
}

#[test]
fn a_good_fleet_is_loaded() {
    let loaded = load(&good(), "").unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.fleet.name, "payments");
    assert_eq!(
        loaded.membership,
        [
            ("canary".to_owned(), vec!["westus3".to_owned()]),
            ("broad".to_owned(), vec!["eastus2".to_owned()]),
        ]
    );
    let west = &loaded.regions["westus3"];
    assert_eq!(west.values.to_json()["replicas"], 1);
    assert_eq!((west.file.as_str(), west.line), ("regions/westus3.yaml", 3));
    assert_eq!(west.region.location, "westus3");
    let east = &loaded.regions["eastus2"];
    assert_eq!(east.values.to_json()["replicas"], 5);
    assert_eq!(east.values.to_json()["version"], "1.10");
    assert_eq!(east.region.location, "us-east");
    assert_eq!(east.region.cluster, "eastus2");
    let files: Vec<_> = loaded
        .files
        .files
        .iter()
        .map(|file| {
            (
                file.path.as_str(),
                file.usage,
                file.name.as_str(),
                file.region.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        files,
        [
            (
                "regions/westus3/extra.json",
                FileUse::Plain,
                "extra.json",
                Some("westus3")
            ),
            ("templates/_labels.hbs", FileUse::Partial, "_labels", None),
            (
                "templates/app/deployment.yaml.hbs",
                FileUse::Template,
                "app/deployment.yaml",
                None
            ),
        ]
    );
    assert_eq!(loaded.files.for_region("eastus2").count(), 2);
    assert_eq!(loaded.fleet.waves[0].policy.gates, ["healthz"]);
}
