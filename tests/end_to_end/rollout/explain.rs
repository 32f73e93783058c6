//! What `explain` and `status --wait` say, and who asked for what in `history`.

use serde_json::{Value, json};

use super::fleet::{Fleet, PATIENCE, stop};

fn explain(fleet: &Fleet, more: &[&str]) -> Value {
    let answer = fleet.people("explain", &[&["-o", "json"], more].concat());
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    serde_json::from_str(&answer.stdout).unwrap()
}

#[test]
fn a_hold_is_explained_until_a_commit_ends_it() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let idle = explain(&fleet, &[]);
    assert_eq!(idle["waiting"], json!([]));
    let gates = idle["gates"].as_array().unwrap();
    assert_eq!(gates.len(), 4, "{idle}");
    for gate in gates {
        assert_eq!(gate["gate"], "healthz");
        assert_eq!(gate["verdict"], "healthy");
        assert!(
            gate["evidence"].as_str().unwrap().starts_with("healthz "),
            "{gate}"
        );
        gate["at"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap();
    }
    let prose = fleet.people("explain", &[]).stdout;
    assert!(
        prose.starts_with("Nothing waits.") && prose.contains("Succeeded"),
        "{prose}"
    );
    let answer = fleet.people("status", &["--wait"]);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);

    fleet.work.remove("templates/namespace.yaml");
    let source = fleet.publish(&[], "The namespace goes");
    fleet.settle(5);
    let held = explain(&fleet, &[]);
    let waiting = &held["waiting"][0];
    assert_eq!(waiting["reason"], "ProtectedKind");
    assert_eq!(waiting["next"], Value::Null);
    assert_eq!(
        waiting["commands"][0],
        format!("tidegate approve --source {}", &source[..8])
    );
    let prose = fleet.people("explain", &[]).stdout;
    assert!(prose.contains("tidegate approve --source"), "{prose}");
    assert_eq!(
        fleet.people("explain", &["-o", "name"]).stdout,
        "ProtectedKind\n"
    );
    let answer = fleet.people("status", &["--wait"]);
    assert_eq!(answer.code, Some(5), "{}", answer.stderr);
    assert!(answer.stdout.contains("ProtectedKind"), "{}", answer.stdout);

    let answer = fleet.people("explain", &["westus4"]);
    assert_eq!(answer.code, Some(2));
    assert!(
        answer.stderr.contains("did you mean westus3?"),
        "{}",
        answer.stderr
    );
    fleet.audit();
}

#[test]
fn a_wait_ends_with_how_the_commit_ended() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let entries = fleet.log().len();
    fleet.force("westus3", Some((200, r#"{"version":"1"}"#)));
    let mut running = fleet.background();
    fleet.release("2", "none", "Version 2");
    fleet.wait_until(&mut running, "the canary is asked", |fleet| {
        fleet.log().len() > entries + 1 && fleet.regions()["westus3"] == "Verifying"
    });
    let answer = fleet.people("status", &["--wait", "--timeout", "1s"]);
    assert_eq!(answer.code, Some(6), "{}", answer.stderr);
    let waiting = explain(&fleet, &["westus3"])["waiting"].clone();
    assert_eq!(waiting[0]["reason"], "Verifying", "{waiting}");
    assert_eq!(waiting[0]["regions"], json!(["westus3"]));
    waiting[0]["next"]
        .as_str()
        .unwrap()
        .parse::<jiff::Timestamp>()
        .unwrap();
    assert_eq!(
        explain(&fleet, &["uksouth"])["waiting"][0]["reason"],
        "EarlierWave"
    );

    let hold = fleet.request("hold", &[("Wave", "broad")], "the database moves");
    fleet.wait_until(&mut running, "the hold is answered", |fleet| {
        fleet.answer(&hold).is_some()
    });
    let resume = fleet.request("resume", &[("Wave", "broad")], "it has moved");
    fleet.wait_until(&mut running, "the resume is answered", |fleet| {
        fleet.answer(&resume).is_some()
    });
    fleet.force("westus3", None);
    let patience = format!("{}s", PATIENCE.as_secs());
    let answer = fleet.people("status", &["--wait", "--timeout", &patience]);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert!(answer.stderr.contains("rollout "), "{}", answer.stderr);

    let requests = fleet.history(&[])[0]["requests"].clone();
    assert_eq!(requests[0]["commit"], hold.as_str(), "{requests}");
    assert_eq!(requests[0]["reason"], "the database moves");
    assert_eq!(requests[0]["refused"], Value::Null);
    let by = requests[0]["by"].as_str().unwrap();
    assert!(by.starts_with("Jo Engineer <"), "{requests}");
    assert_eq!(requests[0]["verified"], Value::Null);
    assert!(
        requests[0]["request"]
            .as_str()
            .unwrap()
            .starts_with("hold by Jo Engineer"),
        "{requests}"
    );
    assert_eq!(requests[1]["commit"], resume.as_str());
    let wide = fleet.people("history", &["-o", "wide"]).stdout;
    assert!(wide.contains("REQUESTS"), "{wide}");

    fleet.release("3", "westus3", "Version 3");
    let answer = fleet.people("status", &["--wait", "--timeout", &patience]);
    assert_eq!(answer.code, Some(4), "{}", answer.stderr);
    stop(running);
    fleet.audit();
}
