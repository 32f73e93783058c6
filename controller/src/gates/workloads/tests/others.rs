//! P22: claims, custom resources, and what only has to be there.

use serde_json::{Value, json};

use super::super::verdict::{Kind, Rule};
use super::fixtures::*;

pub(super) fn claim_region(phase: &str) -> Region {
    let claim = object(
        "v1",
        "PersistentVolumeClaim",
        "data",
        &json!({
            "spec": {"resources": {"requests": {"storage": "10Gi"}}}
        }),
    );
    Region::of([(claim.clone(), lives(&claim, json!({"phase": phase})))])
}

/// A custom resource at generation 4 with this spec and status.
fn custom(version: &str, kind: &str, spec: &Value, status: Value) -> Region {
    let manifest = object(version, kind, "it", &json!({"spec": spec}));
    Region::of([(manifest.clone(), lives(&manifest, status))])
}

fn k0rdent(kind: &str, spec: &Value, status: Value) -> Kind {
    custom("k0rdent.mirantis.com/v1beta1", kind, spec, status).kind()
}

fn conditioned(conditions: &[(&str, &str, i64)]) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(name, status, observed)| {
            with(
                condition(name, status, "Because"),
                "/observedGeneration",
                json!(observed),
            )
        })
        .collect();
    json!({"observedGeneration": 4, "conditions": conditions})
}

#[test]
fn p22_claims_by_phase() {
    for (phase, kind) in [
        ("Bound", Kind::Healthy),
        ("Pending", Kind::Progressing),
        ("Lost", Kind::Fail),
    ] {
        assert_eq!(claim_region(phase).kind(), kind, "{phase}");
    }
    let evidence = "PersistentVolumeClaim shop/data: its volume is lost";
    assert_verdict(
        &claim_region("Lost").look(0),
        Kind::Fail,
        Rule::P22,
        evidence,
    );
    let mut region = claim_region("Lost");
    region.look_before(0);
    assert_eq!(region.kind(), Kind::Sick);
}

#[test]
fn p22_custom_resources_by_condition() {
    for (conditions, kind) in [
        (conditioned(&[("Ready", "True", 4)]), Kind::Healthy),
        (conditioned(&[("Ready", "True", 3)]), Kind::Progressing),
        (conditioned(&[("Ready", "False", 4)]), Kind::Progressing),
        (conditioned(&[("Ready", "Unknown", 4)]), Kind::Progressing),
        (
            conditioned(&[("Ready", "True", 4), ("Reconciling", "True", 4)]),
            Kind::Progressing,
        ),
        (
            conditioned(&[("Ready", "True", 4), ("Stalled", "False", 4)]),
            Kind::Healthy,
        ),
        (
            json!({"conditions": [condition("Ready", "True", "")]}),
            Kind::Healthy,
        ),
    ] {
        assert_eq!(
            custom("example.com/v1", "Widget", &json!({}), conditions.clone()).kind(),
            kind,
            "{conditions}"
        );
    }
    let mut region = custom(
        "example.com/v1",
        "Widget",
        &json!({"suspend": true}),
        conditioned(&[("Ready", "True", 4)]),
    );
    assert_eq!(region.watch(0).rule, Rule::P7);
}

#[test]
fn p22_stalled_is_harm_only_if_it_certainly_was_not_so_before() {
    let stalled = conditioned(&[("Ready", "False", 4), ("Stalled", "True", 4)]);
    let mut region = custom("example.com/v1", "Widget", &json!({}), stalled.clone());
    assert_eq!(region.clone().kind(), Kind::Unknown, "nobody looked before");
    region.look_before(0);
    assert_eq!(region.kind(), Kind::Unknown, "it was stalled before");

    let mut region = custom(
        "example.com/v1",
        "Widget",
        &json!({}),
        conditioned(&[("Ready", "True", 4)]),
    );
    region.look_before(0);
    region.edit("/status", stalled);
    assert_eq!(region.look(0).kind, Kind::Progressing);
    let verdict = region.watch(0);
    assert_verdict(
        &verdict,
        Kind::Fail,
        Rule::P22,
        "Widget shop/it: stalled for 60 s: Because",
    );
    let mut unread = region.clone();
    unread.unread = vec![("Widget", "timeout")];
    unread.look_before(0);
    unread.unread.clear();
    assert_eq!(unread.watch(70).kind, Kind::Unknown, "nobody saw it before");
    region.edit("/status/conditions/1/observedGeneration", json!(3));
    assert_eq!(
        region.look(70).kind,
        Kind::Unknown,
        "of an older generation"
    );
}

#[test]
fn p22_what_says_nothing_is_ignored_and_counted() {
    let mut region = Region::with_deployment();
    let widget = object(
        "example.com/v1",
        "Widget",
        "w",
        &json!({"spec": {"size": 3}}),
    );
    region.has.push(lives(&widget, json!({"phase": "Fine"})));
    region.wanted.push(widget);
    let verdict = region.watch(0);
    assert_eq!((verdict.kind, verdict.ignored), (Kind::Healthy, 1));
    assert_eq!(verdict.evidence, "1 object healthy for 60 s, 1 ignored");
    region.has.pop();
    assert_eq!(
        region.watch(70).kind,
        Kind::Unknown,
        "but it has to be there"
    );
}

#[test]
fn p22_what_always_has_a_condition_is_not_there_yet_without() {
    for (version, kind) in [
        ("cert-manager.io/v1", "Certificate"),
        ("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
        ("k0rdent.mirantis.com/v1beta1", "Credential"),
    ] {
        assert_eq!(
            custom(version, kind, &json!({}), Value::Null).kind(),
            Kind::Progressing,
            "{kind}"
        );
    }
}

#[test]
fn p22_what_only_has_to_be_there() {
    for (version, kind) in [
        ("v1", "ConfigMap"),
        ("v1", "Namespace"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("networking.k8s.io/v1", "Ingress"),
        ("batch/v1", "CronJob"),
    ] {
        let region = custom(version, kind, &json!({}), Value::Null);
        assert_eq!(region.kind(), Kind::Healthy, "{kind}");
    }
}

#[test]
fn p22_definitions_are_there_once_established() {
    let of = |status: &str| {
        let status = json!({"conditions": [condition("Established", status, "")]});
        custom(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            &json!({}),
            status,
        )
        .kind()
    };
    assert_eq!(of("True"), Kind::Healthy);
    assert_eq!(of("False"), Kind::Progressing);
}

#[test]
fn p22_what_stands_before_pods_only_warns() {
    let mut region = Region::with_deployment();
    for (version, kind, spec, status) in [
        (
            "v1",
            "Service",
            json!({"selector": {"app": "other"}}),
            json!({}),
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({}),
            json!({"conditions": [condition("ScalingActive", "False", "FailedGetMetrics")]}),
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            json!({}),
            json!({"observedGeneration": 4, "currentHealthy": 1, "desiredHealthy": 2}),
        ),
    ] {
        let manifest = object(version, kind, "api", &json!({"spec": spec}));
        region.has.push(lives(&manifest, status));
        region.wanted.push(manifest);
    }
    let other = with(pod("other", "x"), "/metadata/labels/app", json!("other"));
    region.pods.push(waits(other, "ContainerCreating"));
    let verdict = region.watch(0);
    assert_eq!(verdict.kind, Kind::Healthy);
    assert_eq!(
        verdict.warnings,
        [
            "HorizontalPodAutoscaler shop/api: does not scale: FailedGetMetrics",
            "PodDisruptionBudget shop/api: 1 of 2 pods healthy",
            "Service shop/api: none of 1 pod is ready",
        ]
    );
}

#[test]
fn k0rdent_says_ready_in_its_own_ways() {
    let empty = json!({});
    assert_eq!(
        k0rdent(
            "Credential",
            &empty,
            conditioned(&[("CredentialReady", "True", 4)])
        ),
        Kind::Healthy
    );
    assert_eq!(
        k0rdent(
            "Credential",
            &empty,
            conditioned(&[("CredentialReady", "True", 3)])
        ),
        Kind::Progressing
    );
    assert_eq!(
        k0rdent("Credential", &empty, conditioned(&[("Ready", "True", 4)])),
        Kind::Progressing
    );
    for (flag, observed, kind) in [
        (true, 4, Kind::Healthy),
        (false, 4, Kind::Progressing),
        (true, 3, Kind::Progressing),
    ] {
        let status = json!({"ready": flag, "valid": flag, "observedGeneration": observed});
        assert_eq!(k0rdent("Release", &empty, status.clone()), kind);
        assert_eq!(k0rdent("ServiceTemplate", &empty, status), kind);
    }
}

#[test]
fn k0rdent_regions_and_management_need_every_component() {
    let spec = json!({"release": "kcm-2", "providers": [{"name": "azure", "template": "azure-2"}]});
    let mut status = conditioned(&[("Ready", "True", 4)]);
    status["release"] = json!("kcm-2");
    status["components"] = json!({"azure": {"template": "azure-2", "success": true}});
    for kind in ["Region", "Management"] {
        let of = |status: Value| k0rdent(kind, &spec, status);
        assert_eq!(of(status.clone()), Kind::Healthy);
        let unsure = with(status.clone(), "/components/azure/success", Value::Null);
        assert_eq!(of(unsure), Kind::Progressing);
        let old = with(
            status.clone(),
            "/components/azure/template",
            json!("azure-1"),
        );
        assert_eq!(of(old), Kind::Progressing);
        assert_eq!(
            of(with(status.clone(), "/components", json!({}))),
            Kind::Progressing
        );
    }
    let old = with(status.clone(), "/release", json!("kcm-1"));
    assert_eq!(k0rdent("Management", &spec, old), Kind::Progressing);
}

#[test]
fn k0rdent_cluster_deployments_are_counted_by_their_own_services() {
    let spec = json!({"serviceSpec": {"services": [
        {"name": "ingress", "namespace": "web"},
        {"name": "gone", "helmAction": "Uninstall"},
        {"name": "off", "disable": true},
    ]}});
    let conditions = [("Ready", "True", 4), ("HelmReleaseReady", "True", 4)];
    let mut status = conditioned(&conditions);
    let kind = "ClusterDeployment";
    assert_eq!(
        k0rdent(kind, &spec, status.clone()),
        Kind::Progressing,
        "no services yet"
    );
    status["services"] = json!([{"name": "ingress", "namespace": "web", "state": "Deployed"}]);
    assert_eq!(k0rdent(kind, &spec, status.clone()), Kind::Healthy);
    assert_eq!(
        k0rdent(
            kind,
            &with(spec.clone(), "/dryRun", json!(true)),
            status.clone()
        ),
        Kind::Unknown
    );
    let no_release = with(status.clone(), "/conditions/1/status", json!("False"));
    assert_eq!(k0rdent(kind, &spec, no_release), Kind::Progressing);
    let paused = with(status, "/conditions/1/type", json!("Paused"));
    assert_eq!(k0rdent(kind, &spec, paused), Kind::Unknown);
}

#[test]
fn p22_a_resource_that_is_ready_now_and_then_flaps() {
    let ready = |status: &str, generation: i64| conditioned(&[("Ready", status, generation)]);
    for (grows, stalls, kind) in [
        (false, false, Kind::Fail),
        (true, false, Kind::Progressing),
        (false, true, Kind::Unknown),
    ] {
        let mut region = custom("example.com/v1", "Widget", &json!({}), ready("True", 4));
        let mut last = Kind::Healthy;
        for step in 0..8_u32 {
            let now = u64::from(step) * 10;
            region.edit(
                "/status",
                with(ready("True", 90), "/observedGeneration", json!(90)),
            );
            region.look(now);
            // Someone changed it, so that it is another one that is not ready yet.
            if grows {
                region.edit("/metadata/generation", json!(5 + step));
            }
            let not = if stalls {
                conditioned(&[("Stalled", "True", 90)])
            } else {
                ready("False", 90)
            };
            region.edit("/status", with(not, "/observedGeneration", json!(90)));
            last = region.look(now + 5).kind;
        }
        assert_eq!(last, kind, "{grows} {stalls}");
    }
}
