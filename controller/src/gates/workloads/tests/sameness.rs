//! P18: whether what was rendered is what a cluster has, and what that proves.

use serde_json::{Value, json};

use super::super::same::{leftover, tells_apart};
use super::super::verdict::Kind;
use super::super::{IgnoredPath, NoObject, Sameness, Snapshot, Wanted, same};
use super::fixtures::*;

fn read(spec: &Value) -> Wanted {
    Wanted::read(&object(
        "example.com/v1",
        "Widget",
        "w",
        &json!({"spec": spec}),
    ))
    .unwrap()
}

fn snapshot(manifest: &Value) -> Snapshot {
    Snapshot::read(&lives(manifest, Value::Null)).unwrap()
}

fn compare(wanted: &Value, live: &Value) -> Sameness {
    same(
        &read(wanted),
        &snapshot(&object(
            "example.com/v1",
            "Widget",
            "w",
            &json!({"spec": live}),
        )),
        &[],
    )
}

/// Where they differ; nothing if they are the same.
fn place(wanted: &Value, live: &Value) -> Option<String> {
    match compare(wanted, live) {
        Sameness::Same => None,
        Sameness::Different(difference) => Some(difference.path),
    }
}

#[test]
fn what_the_server_adds_or_leaves_out_is_no_difference() {
    for (wanted, live) in [
        (json!({}), json!({"a": 1})),
        (json!({"a": null}), json!({"a": 1})),
        (
            json!({"a": {}, "b": [], "c": "", "d": false, "e": 0}),
            json!({}),
        ),
        (json!({"a": {"b": {"c": null}}}), json!({})),
        (json!({"clusterIP": ""}), json!({"clusterIP": "10.0.0.7"})),
        (json!({"port": 80}), json!({"port": "80"})),
        (json!({"port": "80"}), json!({"port": 80})),
        (json!({"n": 1}), json!({"n": 1.0})),
        (
            json!({"limits": {"cpu": 0.5}}),
            json!({"limits": {"cpu": "500m"}}),
        ),
        (
            json!({"limits": {"memory": "1024Mi"}}),
            json!({"limits": {"memory": "1Gi"}}),
        ),
        (
            json!({"hard": {"requests.storage": "1000Gi"}}),
            json!({"hard": {"requests.storage": "1000Gi"}}),
        ),
        (
            json!({"requests": {"storage": 1_073_741_824}}),
            json!({"requests": {"storage": "1Gi"}}),
        ),
        (
            json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}),
            json!({"ports": [{"port": 53, "protocol": "TCP", "nodePort": 3}, {"port": 53, "protocol": "UDP"}]}),
        ),
        (
            json!({"volumeMounts": [{"mountPath": "/a", "name": "v"}]}),
            json!({"volumeMounts": [{"mountPath": "/token", "name": "t"}, {"mountPath": "/a", "name": "v"}]}),
        ),
        (
            json!({"containers": [{"name": "a", "image": "x"}]}),
            json!({"containers": [{"name": "proxy"}, {"name": "a", "image": "x", "tty": false}]}),
        ),
    ] {
        assert_eq!(place(&wanted, &live), None, "{wanted} {live}");
    }
}

#[test]
fn what_means_something_else_is_a_difference() {
    for (wanted, live, path) in [
        (json!({"a": 1}), json!({}), "spec.a"),
        (json!({"a": false}), json!({"a": true}), "spec.a"),
        (json!({"a": 0}), json!({"a": 5}), "spec.a"),
        (json!({"a": {"b": 1}}), json!({"a": "text"}), "spec.a"),
        (
            json!({"args": ["--a"]}),
            json!({"args": ["--a", "--b"]}),
            "spec.args",
        ),
        (
            json!({"args": ["--a", "--b"]}),
            json!({"args": ["--b", "--a"]}),
            "spec.args[0]",
        ),
        (
            json!({"args": ["1"]}),
            json!({"args": ["1.0"]}),
            "spec.args[0]",
        ),
        (
            json!({"env": [{"name": "A", "value": ""}]}),
            json!({"env": [{"name": "A", "value": "x"}]}),
            "spec.env[A].value",
        ),
        (
            json!({"env": [{"name": "A"}]}),
            json!({"env": [{"name": "B"}]}),
            "spec.env[A]",
        ),
        (
            json!({"env": [{"name": "A", "value": "1"}]}),
            json!({"env": [{"name": "A", "value": "1000m"}]}),
            "spec.env[A].value",
        ),
        (
            json!({"limits": {"cpu": "1"}}),
            json!({"limits": {"cpu": "2"}}),
            "spec.limits.cpu",
        ),
        (
            json!({"ports": [{"port": 53}]}),
            json!({"ports": [{"port": 53, "protocol": "UDP"}]}),
            "spec.ports[53]",
        ),
        (
            json!({"rules": [{"verbs": ["get"]}]}),
            json!({"rules": [{"verbs": ["get", "list"]}]}),
            "spec.rules[0].verbs",
        ),
        (
            json!({"labels": {"a": "1"}}),
            json!({"labels": {"a": "1.0"}}),
            "spec.labels.a",
        ),
        (
            json!({"annotations": {"cpu": "1"}}),
            json!({"annotations": {"cpu": "1000m"}}),
            "spec.annotations.cpu",
        ),
    ] {
        assert_eq!(
            place(&wanted, &live).as_deref(),
            Some(path),
            "{wanted} {live}"
        );
    }
}

#[test]
fn labels_and_annotations_count_and_bookkeeping_does_not() {
    let manifest = with(
        deployment(),
        "/metadata/labels",
        json!({"team": "a", "app.kubernetes.io/instance": "chart"}),
    );
    let manifest = with(manifest, "/metadata/finalizers", json!(["x"]));
    let manifest = with(manifest, "/status", json!({"replicas": 9}));
    let wanted = Wanted::read(&manifest).unwrap();
    let mut live = live_deployment();
    set(
        &mut live,
        "/metadata/labels",
        json!({"team": "a", "app.kubernetes.io/instance": "argo-app"}),
    );
    assert_eq!(
        same(&wanted, &Snapshot::read(&live).unwrap(), &[]),
        Sameness::Same
    );
    set(&mut live, "/metadata/labels/team", json!("b"));
    let Sameness::Different(difference) = same(&wanted, &Snapshot::read(&live).unwrap(), &[])
    else {
        panic!("the team differs");
    };
    assert_eq!(
        (difference.path.as_str(), difference.live.as_str()),
        ("metadata.labels.team", "\"b\"")
    );
}

#[test]
fn secrets_are_compared_decoded_and_never_shown() {
    let secret = |data: Value| object("v1", "Secret", "s", &data);
    let wanted = Wanted::read(&secret(
        json!({"stringData": {"key": "hunter2"}, "data": {"cert": "YWJj\nZGVm", "key": "eA=="}}),
    ))
    .unwrap();
    let of = |key: &str| {
        snapshot(&secret(
            json!({"data": {"key": key, "cert": "YWJjZGVm"}, "type": "Opaque"}),
        ))
    };
    assert_eq!(same(&wanted, &of("aHVudGVyMg=="), &[]), Sameness::Same);
    let Sameness::Different(difference) = same(&wanted, &of("aHVudGVyMw=="), &[]) else {
        panic!("the keys differ");
    };
    assert_eq!(difference.path, "data.key");
    let shown = format!("{difference:?} {wanted:?} {:?}", of("aHVudGVyMw=="));
    for secret in ["aHVudGVy", "hunter"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn of_encrypted_objects_only_the_rest_is_compared() {
    let wanted = Wanted::read(&object("v1", "Secret", "s", &json!({
        "stringData": {"key": "ENC[AES256_GCM,data:x]"}, "type": "Opaque", "sops": {"version": "3"},
    }))).unwrap();
    let of = |kind: &str| {
        snapshot(&object(
            "v1",
            "Secret",
            "s",
            &json!({"data": {"key": "eA=="}, "type": kind}),
        ))
    };
    assert_eq!(same(&wanted, &of("Opaque"), &[]), Sameness::Same);
    assert_ne!(same(&wanted, &of("Other"), &[]), Sameness::Same);
}

#[test]
fn ignored_places_do_not_count() {
    let wanted = Wanted::read(&deployment()).unwrap();
    let live = with(
        live_deployment(),
        "/spec/template/spec/containers/0/image",
        json!("mirror/web:2"),
    );
    let live = Snapshot::read(&live).unwrap();
    for (kind, pointer, is_same) in [
        (None, "/spec/template/spec/containers/web/image", true),
        (
            Some("Deployment"),
            "/spec/template/spec/containers/*/image",
            true,
        ),
        (
            Some("DaemonSet"),
            "/spec/template/spec/containers/web/image",
            false,
        ),
        (None, "/spec/template/spec/containers/web/imag", false),
        (None, "/spec/template", true),
        (None, "", false),
    ] {
        let ignored = [IgnoredPath::new(kind, pointer)];
        assert_eq!(
            same(&wanted, &live, &ignored) == Sameness::Same,
            is_same,
            "{pointer}"
        );
    }
}

#[test]
fn replicas_are_the_autoscalers_where_the_tree_has_one() {
    let mut region = Region::with_deployment();
    region.edit("/spec/replicas", json!(3));
    for count in ["replicas", "updatedReplicas", "availableReplicas"] {
        region.edit(&format!("/status/{count}"), json!(3));
    }
    assert_eq!(region.clone().kind(), Kind::Unknown);
    let scaler = object(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "any",
        &json!({
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "api"}}
        }),
    );
    region.has.push(lives(&scaler, json!({})));
    region.wanted.push(scaler);
    assert_eq!(region.clone().kind(), Kind::Healthy);
    region.older = vec![region.wanted.clone()];
    set(&mut region.older[0][0], "/spec/replicas", json!(1));
    assert!(
        !region.watch(0).proven,
        "how many there are tells no trees apart"
    );
}

#[test]
fn what_was_taken_away_and_is_still_there_is_stale() {
    let mut region = Region::with_deployment();
    let debug = json!({"name": "DEBUG", "value": "1"});
    let place = "/spec/template/spec/containers/0/env";
    let both = json!([{"name": "MODE", "value": "fast"}, debug]);
    region.older = vec![vec![with(deployment(), place, both.clone())]];
    assert_eq!(region.clone().kind(), Kind::Healthy, "it is gone");
    region.edit(place, both);
    let verdict = region.watch(0);
    assert_eq!(verdict.kind, Kind::Stale);
    assert_eq!(
        verdict.evidence,
        "Deployment shop/api: spec.template.spec.containers[web].env[DEBUG] was taken away, and is still there"
    );
}

#[test]
fn a_default_that_stays_when_it_is_taken_away_is_not_stale() {
    for (older, live, left) in [
        (json!({"replicas": 1}), json!({"replicas": 1}), None),
        (
            json!({"replicas": 3}),
            json!({"replicas": 3}),
            Some("spec.replicas"),
        ),
        (json!({"replicas": 3}), json!({"replicas": 1}), None),
        (
            json!({"strategy": {"type": "RollingUpdate"}}),
            json!({"strategy": {"type": "RollingUpdate"}}),
            None,
        ),
        (
            json!({"requests": {"cpu": "1"}}),
            json!({"requests": {"cpu": "1"}}),
            None,
        ),
        (
            json!({"probe": {"path": "/x"}}),
            json!({"probe": {"path": "/x", "scheme": "HTTP"}}),
            Some("spec.probe.path"),
        ),
    ] {
        let live = snapshot(&object(
            "example.com/v1",
            "Widget",
            "w",
            &json!({"spec": live}),
        ));
        let found = leftover(&read(&older), &read(&json!({})), &live, &[]);
        assert_eq!(found.as_deref(), left, "{older}");
    }
}

#[test]
fn only_what_no_older_tree_could_be_is_proven() {
    for (new, old, proven) in [
        (json!({"image": "a:2"}), json!({"image": "a:1"}), true),
        (json!({"image": "a:2"}), json!({"image": "a:2"}), false),
        (json!({"replicas": 1}), json!({}), false),
        (json!({"replicas": 2}), json!({}), true),
        (json!({}), json!({"replicas": 2}), true),
        (
            json!({"limits": {"cpu": "1"}}),
            json!({"limits": {"cpu": "1000m"}}),
            false,
        ),
    ] {
        assert_eq!(
            tells_apart(&read(&new), &read(&old), &[]),
            proven,
            "{new} {old}"
        );
    }
    let mut region = Region::with_deployment();
    assert!(!region.watch(0).proven, "without older trees");
    let other = with(
        deployment(),
        "/spec/template/spec/containers/0/image",
        json!("web:1"),
    );
    region.older = vec![vec![other], vec![]];
    assert!(region.watch(70).proven);
    region.older.push(vec![deployment()]);
    assert!(!region.watch(140).proven, "one of them wants the same");
}

#[test]
fn two_manifests_of_one_object_are_nobodys() {
    let mut region = Region::with_deployment();
    region.wanted.push(deployment());
    assert_eq!(region.clone().kind(), Kind::Healthy, "they are alike");
    set(&mut region.wanted[1], "/spec/replicas", json!(5));
    assert_eq!(region.kind(), Kind::Unknown);
}

#[test]
fn what_names_no_object_is_refused() {
    assert_eq!(Wanted::read(&json!({"kind": "X"})), Err(NoObject::Unnamed));
    assert_eq!(Wanted::read(&json!([])), Err(NoObject::Unnamed));
    assert_eq!(
        Wanted::read(&json!({"kind": "ConfigMapList", "items": []})),
        Err(NoObject::List)
    );
    let role = Wanted::read(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}))
        .unwrap();
    assert_eq!(role.in_namespace("shop").key().to_string(), "Pod shop/a");
}
