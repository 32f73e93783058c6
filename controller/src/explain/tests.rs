use tidegate_waves::rollout::{FleetIdentity, Hold, create};

use super::*;

fn idle() -> FleetState {
    let identity = FleetIdentity {
        name: "shop".to_owned(),
        branch: "main".to_owned(),
        path: String::new(),
        prefix: "tidegate".to_owned(),
    };
    create(identity, Oid::from_bytes([1; 20]), "me").next
}

fn seen(queued: &[Oid]) -> Seen<'_> {
    Seen {
        as_of: 1000,
        head: queued.first().copied(),
        queued,
        changes: &[],
        now: 1010,
    }
}

fn hold(reason: HoldReason, regions: &[&str]) -> Hold {
    Hold {
        reason,
        since: 900,
        message: "westus3: no route.".to_owned(),
        source: None,
        rollout: None,
        wave: Some("canary".to_owned()),
        regions: regions.iter().map(|region| (*region).to_owned()).collect(),
        until: None,
    }
}

#[test]
fn nothing_waits_when_there_is_nothing() {
    let explanation = explain(&idle(), &seen(&[]), None);
    assert_eq!(explanation.waiting, []);
    assert_eq!(explanation.rollout, None);
    assert_eq!(explanation.last, "no rollout was opened yet");
}

#[test]
fn a_hold_is_explained_with_its_next_look_and_its_commands() {
    let mut state = idle();
    state
        .holds
        .push(hold(HoldReason::Unreachable, &["westus3"]));
    state.holds.push(hold(HoldReason::Drift, &[]));
    let explanation = explain(&state, &seen(&[]), None);
    let [unreachable, drift] = explanation.waiting.as_slice() else {
        panic!("{explanation:?}");
    };
    assert_eq!(unreachable.since, "1970-01-01T00:15:00Z");
    assert_eq!(unreachable.next.as_deref(), Some("1970-01-01T00:17:40Z"));
    assert!(
        unreachable
            .message
            .starts_with("westus3: no route. Nothing could"),
        "{}",
        unreachable.message
    );
    assert_eq!(drift.next, None);
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["waiting"][1]["reason"], "Drift");
    assert_eq!(json["waiting"][1]["wave"], "canary");
}

#[test]
fn one_region_is_told_of_what_concerns_it_alone() {
    let mut state = idle();
    state
        .holds
        .push(hold(HoldReason::Unreachable, &["westus3"]));
    state.holds.push(hold(HoldReason::Unreachable, &["eastus"]));
    state.holds.push(Hold {
        wave: None,
        ..hold(HoldReason::Requested, &[])
    });
    let reasons = |region| -> Vec<String> {
        explain(&state, &seen(&[]), Some(region))
            .waiting
            .iter()
            .map(|item| format!("{} {}", item.reason, item.regions.join(",")))
            .collect()
    };
    assert_eq!(reasons("eastus"), ["Unreachable eastus", "Requested "]);
    assert_eq!(reasons("westus3"), ["Unreachable westus3", "Requested "]);
}

#[test]
fn commits_that_wait_say_what_for() {
    let newest = Oid::from_bytes([0xab; 20]);
    let queued = [newest, Oid::from_bytes([2; 20])];
    let mut state = idle();
    let first = |state: &FleetState| {
        let waiting = explain(state, &seen(&queued), None).waiting;
        let first = waiting.first().unwrap().clone();
        (first.reason, first.commands)
    };
    assert_eq!(first(&state), (WaitReason::Seen, vec![]));
    state.invalid = Some(newest);
    assert_eq!(
        first(&state),
        (
            WaitReason::Invalid,
            vec!["tidegate validate .@abababab".to_owned()]
        )
    );
    assert!(
        explain(&state, &seen(&queued), None).waiting[0]
            .message
            .starts_with("abababab is not valid"),
    );
    state.invalid = None;
    assert_eq!(
        explain(&state, &seen(&queued), None).waiting[0].message,
        "2 commits up to abababab wait to be looked at; that ends by itself."
    );
    state.not_again = Some(newest);
    assert_eq!(first(&state).1, ["tidegate retry --reason '…'"]);
}

#[test]
fn a_head_that_nobody_looks_at_is_stalled() {
    let queued = [Oid::from_bytes([2; 20])];
    let late = Seen {
        now: 1000 + 3600,
        ..seen(&queued)
    };
    let waiting = explain(&idle(), &late, None).waiting;
    assert_eq!(waiting.first().unwrap().reason, WaitReason::Stalled);
    assert!(
        waiting
            .first()
            .unwrap()
            .message
            .contains("1970-01-01T00:16:40Z")
    );
}
