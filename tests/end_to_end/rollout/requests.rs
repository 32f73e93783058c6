//! What people ask for by commits on the requests branch, and the one answer that each gets.

use tidegate_testkit::tidegate::Running;

use super::fleet::{FLEET, Fleet, MAIN, app, config_map, stop};

/// A canary that still shows the old revision: neither healthy nor harmed.
const OLD: Option<(u16, &str)> = Some((200, r#"{"version":"1"}"#));

/// A fleet with a controller, whose commit of version 2 waits at the canary.
fn waiting_at_the_canary(sick: &str) -> (Fleet, Running, usize, String) {
    let fleet = Fleet::new();
    fleet.settle(0);
    let entries = fleet.log().len();
    fleet.force("westus3", OLD);
    let mut running = fleet.background();
    let source = fleet.release("2", sick, "Version 2");
    fleet.wait_until(&mut running, "the canary is asked", |fleet| {
        fleet.log().len() > entries + 1 && fleet.regions()["westus3"] == "Verifying"
    });
    (fleet, running, entries, source)
}

#[test]
fn a_hold_when_idle_queues_commits_until_somebody_resumes() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let entries = fleet.log().len();
    let hold = fleet.request("hold", &[], "the database is being moved");
    let source = fleet.release("2", "none", "Version 2");
    fleet.settle(5);
    assert_eq!(fleet.answer(&hold).as_deref(), Some("accepted"));
    assert_eq!(fleet.kinds(entries), ["Requested"]);
    assert!(
        fleet
            .newest("Requested")
            .message
            .contains("the database is being moved")
    );
    assert_eq!(fleet.holds(), ["Requested"]);
    assert_eq!(fleet.status(&[])["queued"], serde_json::json!([source]));
    assert_eq!(fleet.versions(), ["1"; 4]);
    let resume = fleet.request("resume", &[], "it is moved");
    fleet.settle(0);
    assert_eq!(fleet.answer(&resume).as_deref(), Some("accepted"));
    assert_eq!(fleet.versions(), ["2"; 4]);
    // One whose time is over before it begins is refused, any other ends by itself.
    let entries = fleet.log().len();
    let over = fleet.request("hold", &[("Until", "2020-01-01T00:00:00Z")], "over");
    let soon = (jiff::Timestamp::now() + std::time::Duration::from_secs(4)).to_string();
    fleet.request("hold", &[("Until", &soon)], "soon over");
    fleet.release("3", "none", "Version 3");
    let mut running = fleet.background();
    fleet.wait_for(&mut running, "Succeeded", entries);
    stop(running);
    let answer = fleet.answer(&over).unwrap();
    assert!(answer.starts_with("refused"), "{answer}");
    assert_eq!(
        fleet.kinds(entries)[..3],
        ["Requested", "Requested", "Resumed"]
    );
    assert_eq!(fleet.versions(), ["3"; 4]);
    fleet.audit();
}

#[test]
fn a_hold_of_one_region_keeps_that_region_alone_back() {
    let (fleet, mut running, entries, _) = waiting_at_the_canary("none");
    assert_eq!(
        fleet.ask(
            &mut running,
            "hold",
            &[("Region", "northeurope")],
            "not there"
        ),
        "accepted"
    );
    fleet.force("westus3", None);
    fleet.wait_until(&mut running, "eastus has it", |fleet| {
        fleet.version("eastus").as_deref() == Some("2") && fleet.regions()["eastus"] == "Done"
    });
    assert_eq!(fleet.version("northeurope").as_deref(), Some("1"));
    assert_eq!(fleet.regions()["northeurope"], "Pending");
    assert_eq!(fleet.version("uksouth").as_deref(), Some("1"));
    assert_eq!(
        fleet.ask(&mut running, "resume", &[], "now there too"),
        "accepted"
    );
    fleet.wait_for(&mut running, "Succeeded", entries);
    assert_eq!(fleet.versions(), ["2"; 4]);
    stop(running);
    fleet.audit();
}

#[test]
fn a_hold_never_blocks_a_revert() {
    let (fleet, mut running, entries, bad) = waiting_at_the_canary("westus3");
    assert_eq!(fleet.ask(&mut running, "hold", &[], "wait"), "accepted");
    fleet.force("westus3", None);
    fleet.wait_for(&mut running, "Reverted", entries);
    assert_eq!(fleet.versions(), ["1"; 4]);
    assert_eq!(fleet.git(&["log", "-1", "--format=%P", MAIN]), bad);
    assert_eq!(fleet.holds(), ["Requested"]);
    assert!(
        !fleet.kinds(entries).contains(&"NoChange".to_owned()),
        "nothing opens while it is held"
    );
    assert_eq!(fleet.ask(&mut running, "resume", &[], ""), "accepted");
    fleet.wait_for(&mut running, "NoChange", entries);
    stop(running);
    fleet.audit();
}

#[test]
fn a_skipped_region_gets_the_tree_and_keeps_its_last_good() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let first = fleet.tip(MAIN);
    let entries = fleet.log().len();
    fleet.force("northeurope", OLD);
    let mut running = fleet.background();
    let second = fleet.release("2", "none", "Version 2");
    fleet.wait_until(&mut running, "it is waited for", |fleet| {
        fleet.log().len() > entries + 1
            && fleet.regions()["northeurope"] == "Verifying"
            && fleet.regions()["eastus"] == "Done"
    });
    assert_eq!(
        fleet.ask(
            &mut running,
            "skip",
            &[("Region", "northeurope")],
            "cut off"
        ),
        "accepted"
    );
    fleet.wait_for(&mut running, "Succeeded", entries);
    assert_eq!(fleet.versions(), ["2"; 4], "it gets the tree");
    assert_eq!(fleet.regions()["northeurope"], "Skipped");
    let good = fleet.status(&[])["lastGood"].clone();
    assert_eq!(good["northeurope"]["source"], first.as_str());
    assert_eq!(good["eastus"]["source"], second.as_str());
    // Its state is no evidence against the next commit that leaves its tree alone.
    stop(running);
    fleet.publish(
        &[("regions/uksouth/local.yaml", &config_map("local", "1"))],
        "Only for uksouth",
    );
    fleet.settle(0);
    assert_eq!(fleet.regions()["northeurope"], "Skipped");
    fleet.audit();
}

#[test]
fn an_aborted_rollout_is_given_back_main_is_left_alone_and_its_tip_is_not_opened_again() {
    let (fleet, mut running, entries, source) = waiting_at_the_canary("none");
    assert_eq!(fleet.ask(&mut running, "abort", &[], "not now"), "accepted");
    let aborted = fleet.wait_for(&mut running, "Aborted", entries);
    assert!(aborted.message.contains("not now"), "{}", aborted.message);
    assert_eq!(fleet.versions(), ["1"; 4]);
    assert_eq!(
        fleet.trailer("tidegate/canary", "Tidegate-Kind"),
        ["revert"]
    );
    assert_eq!(fleet.tip(MAIN), source);
    stop(running);
    fleet.force("westus3", None);
    let entries = fleet.log().len();
    fleet.settle(0);
    assert_eq!(fleet.log().len(), entries, "not opened again by itself");
    fleet.publish(&[("README.md", "Hello.\n")], "The next commit carries it");
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["2"; 4]);
    fleet.audit();
}

#[test]
fn abort_and_keep_leaves_everything_where_it_is() {
    let (fleet, mut running, entries, _) = waiting_at_the_canary("none");
    assert_eq!(
        fleet.ask(
            &mut running,
            "abort",
            &[("Option", "keep")],
            "we look at it"
        ),
        "accepted"
    );
    fleet.wait_for(&mut running, "Aborted", entries);
    assert_eq!(fleet.version("westus3").as_deref(), Some("2"));
    assert_eq!(fleet.version("eastus").as_deref(), Some("1"));
    // `retry` opens the same commit again.
    fleet.force("westus3", None);
    assert_eq!(
        fleet.ask(&mut running, "retry", &[], "it was the network"),
        "accepted"
    );
    fleet.wait_for(&mut running, "Succeeded", entries);
    assert_eq!(fleet.versions(), ["2"; 4]);
    stop(running);
    fleet.audit();
}

#[test]
fn retry_waives_the_quarantine_of_what_is_landed_again() {
    let fleet = Fleet::new();
    fleet.settle(0);
    // It fails because of the region, not because of the commit.
    let mut running = fleet.background();
    fleet.force("westus3", OLD);
    let entries = fleet.log().len();
    fleet.release("2", "none", "Version 2");
    fleet.wait_until(&mut running, "the canary is asked", |fleet| {
        fleet.log().len() > entries + 1 && fleet.regions()["westus3"] == "Verifying"
    });
    fleet.force("westus3", Some((500, "{}")));
    fleet.wait_for(&mut running, "NoChange", entries);
    fleet.force("westus3", None);
    fleet.work.pull("main");
    fleet.work.git(&["revert", "--no-edit", "HEAD"]);
    fleet.work.push("main");
    fleet.wait_until(&mut running, "it is held", |fleet| {
        fleet.holds() == ["Quarantined"]
    });
    assert_eq!(
        fleet.ask(&mut running, "retry", &[], "the region was broken"),
        "accepted"
    );
    fleet.wait_for(&mut running, "Succeeded", entries);
    assert_eq!(fleet.versions(), ["2"; 4]);
    assert_eq!(fleet.status(&[])["quarantine"], serde_json::json!([]));
    stop(running);
    fleet.audit();
}

#[test]
fn revert_takes_back_what_had_succeeded() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let good = fleet.trees();
    let first = fleet.tip(MAIN);
    let second = fleet.release("2", "none", "Version 2");
    fleet.settle(0);
    let entries = fleet.log().len();
    let request = fleet.request("revert", &[], "customers complain");
    fleet.settle(4);
    assert_eq!(fleet.answer(&request).as_deref(), Some("accepted"));
    let kinds = fleet.kinds(entries);
    assert_eq!(kinds.first().map(String::as_str), Some("Requested"));
    assert!(
        kinds.contains(&"Failed".to_owned()) && kinds.contains(&"Reverted".to_owned()),
        "{kinds:?}"
    );
    assert_eq!(kinds.last().map(String::as_str), Some("NoChange"));
    assert_eq!(fleet.trees(), good);
    let revert = fleet.tip(MAIN);
    assert_eq!(
        fleet.git(&["log", "-1", "--format=%P %s", &revert]),
        format!("{second} Revert \"Version 2\"")
    );
    assert!(fleet.trailer(&revert, "Tidegate-Reason")[0].contains("customers complain"));
    assert_eq!(
        fleet.status(&[])["lastGood"]["eastus"]["source"],
        first.as_str()
    );
    fleet.audit();
}

#[test]
fn a_hotfix_takes_the_place_of_a_running_rollout_and_bakes_nothing() {
    let fleet = Fleet::new();
    fleet.settle(0);
    // Policy alone: a bake that no test would wait for.
    fleet.publish(
        &[("tidegate.yaml", &FLEET.replace("bake: 0s", "bake: 3h"))],
        "Bake three hours",
    );
    fleet.settle(0);
    let entries = fleet.log().len();
    let mut running = fleet.background();
    fleet.release("2", "none", "Version 2");
    fleet.wait_until(&mut running, "the canary bakes", |fleet| {
        fleet.log().len() > entries + 1 && fleet.regions()["westus3"] == "Baking"
    });
    let fix = fleet.release("3", "none", "Version 3, urgent");
    fleet.wait_until(&mut running, "the queue", |fleet| {
        fleet.status(&[])["queued"] == serde_json::json!([fix])
    });
    assert_eq!(
        fleet.ask(&mut running, "hotfix", &[("To", &fix)], "urgent"),
        "accepted"
    );
    fleet.wait_for(&mut running, "Succeeded", entries);
    assert_eq!(fleet.versions(), ["3"; 4]);
    let kinds = fleet.kinds(entries);
    assert!(kinds.contains(&"Superseded".to_owned()), "{kinds:?}");
    // Waves in order still, gates still.
    assert_eq!(kinds.iter().filter(|kind| *kind == "WavePassed").count(), 3);
    stop(running);
    fleet.audit();
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason_one_by_one() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let entries = fleet.log().len();
    let nowhere = "1".repeat(40);
    let asked = [
        fleet.request("explode", &[], ""),
        fleet.request("approve", &[], ""),
        fleet.request("resume", &[], ""),
        fleet.request("resume", &[("Option", "adopt")], ""),
        fleet.request("skip", &[("Region", "atlantis")], ""),
        fleet.request("abort", &[], ""),
        fleet.request("retry", &[], ""),
        fleet.request("hotfix", &[("To", &nowhere)], ""),
        fleet.request("hold", &[("Until", "tomorrow")], ""),
        fleet.request("hold", &[("Rollout", "00000000-7")], ""),
        fleet.request("revert", &[], "the first one has nothing before it"),
    ];
    fleet.settle(0);
    for request in &asked {
        let answer = fleet.answer(request).expect("an answer");
        let why = answer
            .strip_prefix("refused ")
            .unwrap_or_else(|| panic!("{answer}"));
        assert!(!why.is_empty());
    }
    assert_eq!(fleet.kinds(entries), ["Requested"; 11]);
    assert_eq!(fleet.holds(), [""; 0]);
    fleet.settle(0);
    assert_eq!(fleet.log().len(), entries + 11, "each is answered once");
    // What was refused changed nothing.
    fleet.publish(&[("values/app.yaml", &app("2", "none"))], "Version 2");
    fleet.settle(0);
    fleet.audit();
}

#[test]
fn nothing_on_a_rewound_requests_branch_is_carried_out_again() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.request("hold", &[], "first");
    fleet.settle(5);
    let resume = fleet.request("resume", &[], "second");
    fleet.settle(0);
    fleet.request("hold", &[], "third");
    fleet.settle(5);
    // Somebody who may push puts the answered resume to the tip again.
    fleet.git(&["update-ref", "refs/heads/tidegate/requests", &resume]);
    let entries = fleet.log().len();
    fleet.settle(5);
    fleet.settle(5);
    assert_eq!(fleet.holds(), ["Requested"]);
    assert_eq!(fleet.kinds(entries), ["Requested"]);
    assert!(
        fleet
            .newest("Requested")
            .message
            .contains("the requests branch was rewritten")
    );
}
