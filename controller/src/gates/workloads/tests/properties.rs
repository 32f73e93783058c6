//! What holds for any answers at all.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::verdict::Kind;
use super::super::{Owned, Pod, Sameness, Snapshot, Wanted, same};
use super::fixtures::*;
use super::workloads::{daemon_region, job_region, stateful_region};

/// Any JSON, with the API's own names among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "apiVersion",
        "kind",
        "metadata",
        "name",
        "namespace",
        "uid",
        "generation",
        "labels",
        "annotations",
        "spec",
        "status",
        "conditions",
        "type",
        "state",
        "waiting",
        "reason",
        "containers",
        "initContainers",
        "containerStatuses",
        "replicas",
        "observedGeneration",
        "data",
        "stringData",
        "ownerReferences",
        "sops",
        "components",
        "services",
        "deletionTimestamp",
        "phase",
        "restartCount",
        "lastState",
        "terminated",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec![
            "Pod",
            "Secret",
            "v1",
            "k0rdent.mirantis.com/v1beta1",
            "Region",
            "True"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((name.clone(), inner), 0..8).prop_map(|entries| {
                Value::Object(
                    entries
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect::<Map<_, _>>(),
                )
            }),
        ]
    })
}

/// The region with all kinds of workloads.
fn mixed() -> Region {
    let mut region = Region::with_deployment();
    for other in [
        stateful_region(),
        daemon_region(),
        job_region(&condition("Complete", "True", "")),
        super::others::claim_region("Bound"),
    ] {
        region.wanted.extend(other.wanted);
        region.has.extend(other.has);
        region.pods.extend(other.pods);
        region.revisions.extend(other.revisions);
    }
    region
}

/// What may be done to one object of what a cluster has.
const EDITS: &[(&str, &str)] = &[
    ("/metadata/generation", "5"),
    ("/spec", "{}"),
    ("/spec/replicas", "7"),
    ("/spec/paused", "true"),
    ("/spec/template/spec/containers/0/image", "\"other\""),
    ("/status", "null"),
    ("/status/observedGeneration", "3"),
    ("/status/readyReplicas", "0"),
    ("/status/conditions", "[]"),
    ("/status/phase", "\"Lost\""),
    ("/metadata/deletionTimestamp", "\"2026-03-01T10:00:00Z\""),
];

fn edited(region: &mut Region, object: usize, edit: usize) {
    let (pointer, value) = EDITS[edit % EDITS.len()];
    let count = region.has.len();
    let target = &mut region.has[object % count];
    if pointer.contains("containers") && target.pointer(pointer).is_none() {
        return;
    }
    set(target, pointer, serde_json::from_str(value).unwrap());
}

/// A look from which nothing can be learnt of this revision, with all kinds of harm behind it.
fn learn_nothing(region: &mut Region, how: u8) {
    region.edit(
        "/status/conditions/1",
        condition("Progressing", "False", "ProgressDeadlineExceeded"),
    );
    region.pods[0] = waits(
        restarted(pod("api-1", "rs-new"), 9, "OOMKilled", 137),
        "CrashLoopBackOff",
    );
    match how {
        0 => region.unread = vec![("Deployment", "503 Service Unavailable")],
        1 => region.has.clear(),
        2 => region.edit("/spec/template/spec/containers/0/image", json!("web:1")),
        3 => region.edit("/spec/template/spec/containers/0/image", json!("web:debug")),
        4 => region.edit("/metadata/generation", json!(9)),
        5 => region.edit("/spec/paused", json!(true)),
        _ => region.wanted.clear(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_unknown_or_stale_look_ever_passes_or_fails(looks in prop::collection::vec((0_u8..7, 1_u64..200), 1..30)) {
        let mut region = Region::with_deployment();
        region.older = vec![vec![with(deployment(), "/spec/template/spec/containers/0/image", json!("web:1"))]];
        let mut now = 0;
        for (how, gap) in looks {
            now += gap;
            let mut other = region.clone();
            learn_nothing(&mut other, how);
            let verdict = other.look(now);
            region.memory = other.memory;
            prop_assert!(!matches!(verdict.kind, Kind::Healthy | Kind::Fail), "{:?}", verdict);
        }
    }

    #[test]
    fn healthy_is_as_rendered_and_of_the_newest_generation(edits in prop::collection::vec((0_usize..5, 0_usize..20), 0..3)) {
        let mut region = mixed();
        for (object, edit) in edits {
            edited(&mut region, object, edit);
        }
        if region.watch(0).kind == Kind::Healthy {
            for wanted in region.read_wanted() {
                let found = region.has.iter().filter_map(Snapshot::read).find(|found| found.key == wanted.key).unwrap();
                prop_assert_eq!(same(&wanted, &found, &[]), Sameness::Same);
                prop_assert!(found.facts.observed.is_none_or(|observed| Some(observed) >= found.generation));
                prop_assert!(!found.deleting);
            }
        }
    }

    #[test]
    fn the_order_of_answers_does_not_matter(
        seed in any::<u64>(),
        edits in prop::collection::vec((0_usize..5, 0_usize..20), 0..4),
    ) {
        let mut region = mixed();
        for (object, edit) in edits {
            edited(&mut region, object, edit);
        }
        let mut shuffled = region.clone();
        let mut state = seed;
        let lists = [&mut shuffled.wanted, &mut shuffled.has, &mut shuffled.pods, &mut shuffled.sets, &mut shuffled.revisions];
        for list in lists {
            for place in (1..list.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                list.swap(place, usize::try_from(state >> 33).unwrap() % (place + 1));
            }
        }
        for second in [0, 30, 60, 90] {
            prop_assert_eq!(region.look(second), shuffled.look(second));
        }
        prop_assert_eq!(region.memory, shuffled.memory);
    }

    #[test]
    fn no_answer_panics_and_evidence_is_one_short_line(status in any_json(), spec in any_json(), pod in any_json(), seconds in 0_u64..1000) {
        let mut region = mixed();
        for has in &mut region.has {
            has["status"] = status.clone();
        }
        region.has.push(lives(&object("example.com/v1", "Widget", "w", &json!({"spec": spec})), status));
        region.wanted.push(object("example.com/v1", "Widget", "w", &json!({})));
        region.pods.push(pod);
        for second in [0, seconds] {
            let verdict = region.look(second);
            for text in verdict.warnings.iter().chain([&verdict.evidence]) {
                prop_assert!(text.chars().count() <= 200, "{}", text);
                prop_assert!(!text.chars().any(char::is_control), "{}", text);
            }
        }
    }

    #[test]
    fn no_json_panics_a_reader(value in any_json(), other in any_json()) {
        let _ = (Wanted::read(&value), Snapshot::read(&value), Pod::read(&value), Owned::read(&value));
        let named = |rest: &Value| object("k0rdent.mirantis.com/v1beta1", "Region", "r", &json!({"spec": rest, "status": value}));
        let (wanted, live) = (Wanted::read(&named(&other)).unwrap(), Snapshot::read(&named(&value)).unwrap());
        let _ = same(&wanted, &live, &[]);
    }

    #[test]
    fn everything_is_the_same_as_itself_and_as_narrowed(spec in any_json(), extra in any_json()) {
        let manifest = object("example.com/v1", "Widget", "w", &json!({"spec": spec}));
        let wanted = Wanted::read(&manifest).unwrap();
        let live = Snapshot::read(&lives(&manifest, Value::Null)).unwrap();
        prop_assert_eq!(same(&wanted, &live, &[]), Sameness::Same);
        let other = Snapshot::read(&object("example.com/v1", "Widget", "w", &json!({"spec": extra, "more": extra}))).unwrap();
        prop_assert_eq!(same(&wanted, &other, &[]), same(&wanted, &other.clone().narrowed(&[&wanted]), &[]));
    }

    #[test]
    fn a_soak_is_never_shorter_than_it_should_be(gaps in prop::collection::vec((1_u64..100, any::<bool>()), 1..20)) {
        let mut region = Region::with_deployment();
        let (mut now, mut since) = (0, None);
        for (gap, well) in gaps {
            now += gap;
            region.unread = if well { vec![] } else { vec![("Deployment", "timeout")] };
            since = if well { since.or(Some(now)) } else { None };
            let is_healthy = region.look(now).kind == Kind::Healthy;
            prop_assert_eq!(is_healthy, since.is_some_and(|since| now - since >= 60));
        }
    }
}

#[test]
fn a_document_without_a_bottom_is_no_difference_that_hurts() {
    let mut deep = json!(1);
    for _ in 0..500 {
        deep = json!({"a": deep});
    }
    let manifest = object("example.com/v1", "Widget", "w", &json!({"spec": deep}));
    let wanted = Wanted::read(&manifest).unwrap();
    let live = Snapshot::read(&lives(&manifest, Value::Null)).unwrap();
    assert_ne!(
        same(&wanted, &live, &[]),
        Sameness::Same,
        "it cannot be told"
    );
}
