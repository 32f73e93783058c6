use std::time::Duration;

use tidegate_waves::fleet::{ArgocdCheck, GateCheck, WorkloadsCheck};

use super::super::LoadedFleet;
use super::{FLEET, found, good, load};

/// The fleet with other gates.
fn fleet(gates: &str) -> String {
    let before = FLEET.find("gates:").unwrap();
    format!("{}gates:\n{gates}", &FLEET[..before])
}

fn load_good(document: &str) -> LoadedFleet {
    load(&good().with("tidegate.yaml", document), "").unwrap()
}

#[test]
fn a_gate_on_clusters_needs_no_field_and_counts_one_sample() {
    let loaded = load_good(&fleet(
        "  - { name: apps, argocd: {} }\n  - { name: pods, workloads: {}, successes: 2 }\n",
    ));
    let [apps, pods] = loaded.fleet.gates.as_slice() else {
        panic!("{:?}", loaded.fleet.gates)
    };
    assert_eq!(apps.check, GateCheck::Argocd(ArgocdCheck::default()));
    assert_eq!((apps.sampling.successes, apps.sampling.failures), (1, 1));
    assert_eq!(pods.check, GateCheck::Workloads(WorkloadsCheck::default()));
    assert_eq!((pods.sampling.successes, pods.sampling.failures), (2, 1));
}

#[test]
fn what_is_written_is_taken() {
    let loaded = load_good(&fleet(
        "  - name: apps\n    argocd: { stableFor: 5m, selector: { matchLabels: { app: \"{{name}}\" } }, onDrift: fail }\n  - name: pods\n    workloads: { namespace: \"{{name}}\", maxRestarts: 0, ignore: [\"Deployment:/spec/replicas\"] }\n",
    ));
    let [apps, pods] = loaded.fleet.gates.as_slice() else {
        panic!("{:?}", loaded.fleet.gates)
    };
    let GateCheck::Argocd(apps) = &apps.check else {
        panic!("{apps:?}")
    };
    assert_eq!(apps.stable_for, Duration::from_secs(300));
    assert!(apps.selector.is_some());
    let GateCheck::Workloads(pods) = &pods.check else {
        panic!("{pods:?}")
    };
    assert_eq!(
        (pods.max_restarts, pods.namespace.as_str()),
        (0, "{{name}}")
    );
}

#[test]
fn mistakes_have_their_place_and_what_would_be_right() {
    for (gate, words) in [
        (
            "{ name: a, argocd: {}, workloads: {} }",
            "gate \"a\" checks two things, `argocd` and `workloads` => write two gates; a region must pass all of them",
        ),
        (
            "{ name: a }",
            "gate \"a\" does not say what it checks => add `http: { url: … }`, `argocd: {}` or `workloads: {}`",
        ),
        (
            "{ name: a, argocd: { selector: {} } }",
            "`selector` of `argocd` of gate \"a\" is empty: it would choose every Application",
        ),
        (
            "{ name: a, argocd: { stableFor: 60 } }",
            "`stableFor` of `argocd` of gate \"a\": \"60\" is not a duration",
        ),
        (
            "{ name: a, argocd: { onDrift: accept } }",
            "`onDrift` of `argocd` of gate \"a\" must be one of hold, fail",
        ),
        (
            "{ name: a, argocd: { stabelFor: 1m } }",
            "unknown field `stabelFor` in `argocd` of gate \"a\" => did you mean `stableFor`?",
        ),
        (
            "{ name: a, argocd: { applications: 0 } }",
            "must be a whole number, at least 1",
        ),
        (
            "{ name: a, workloads: { namespace: Shop } }",
            "is no name of a namespace: \"Shop\"",
        ),
        (
            "{ name: a, workloads: { ignore: [spec.replicas] } }",
            "\"spec.replicas\" is no path of a field => write a JSON pointer such as /spec/replicas",
        ),
        (
            "{ name: a, prometheus: {} }",
            "gate \"a\" is of the unknown type `prometheus` => the types of gates in this version are `http`, `argocd` and `workloads`",
        ),
    ] {
        let document = fleet(&format!("  - {gate}\n"));
        let said = found(&good().with("tidegate.yaml", document));
        assert_eq!(said.len(), 1, "{gate}: {said:?}");
        assert!(said[0].starts_with("tidegate.yaml:14:"), "{said:?}");
        assert!(said[0].contains(words), "{gate}: {said:?}");
    }
}
