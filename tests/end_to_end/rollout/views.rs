//! What `status` and `history` show, in the contract's shape.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_testkit::git_server::{PASSWORD, USERNAME};
use tidegate_testkit::tidegate::Tidegate;

use super::fleet::{Fleet, LOG, MAIN, REGIONS, REPO, stop};

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn has(value: &Value, wanted: &[&str]) {
    let missing: Vec<_> = wanted
        .iter()
        .filter(|key| !keys(value).contains(**key))
        .collect();
    assert!(missing.is_empty(), "{missing:?} in {value}");
}

#[test]
fn status_has_the_contracts_shape_idle_running_and_ended() {
    let fleet = Fleet::new();
    let answer = fleet.people("status", &[]);
    assert_eq!(answer.code, Some(1), "no log yet: {}", answer.stderr);
    assert!(answer.stderr.contains("tidegate/log"), "{}", answer.stderr);
    fleet.settle(0);
    let first = fleet.tip(MAIN);
    let status = fleet.status(&[]);
    assert_eq!(
        keys(&status),
        BTreeSet::from([
            "fleet",
            "asOf",
            "overdue",
            "source",
            "rollouts",
            "queued",
            "holds",
            "blockedBy",
            "lastGood",
            "quarantine",
        ])
    );
    assert_eq!(status["fleet"], "shop");
    assert_eq!(status["overdue"], false);
    assert_eq!(status["source"], json!({ "branch": "main", "head": first }));
    assert_eq!(status["rollouts"], json!([]));
    assert_eq!(status["queued"], json!([]));
    assert_eq!(status["blockedBy"], json!([]));
    // The time of the log's tip, in RFC 3339.
    let seconds: i64 = fleet
        .git(&["log", "-1", "--format=%ct", LOG])
        .parse()
        .unwrap();
    let as_of: jiff::Timestamp = status["asOf"].as_str().unwrap().parse().unwrap();
    assert_eq!(as_of.as_second(), seconds);
    for (region, wave) in REGIONS {
        assert_eq!(
            status["lastGood"][region],
            json!({ "source": first, "tree": fleet.tree(wave, region) })
        );
    }

    let entries = fleet.log().len();
    let mut running = fleet.background();
    fleet.force("northeurope", Some((200, r#"{"version":"1"}"#)));
    let second = fleet.release("2", "none", "Version 2");
    fleet.wait_until(&mut running, "one of two is done", |fleet| {
        fleet.log().len() > entries + 1
            && fleet.regions()["eastus"] == "Done"
            && fleet.regions()["northeurope"] == "Verifying"
    });
    let rollout = fleet.status(&[])["rollouts"][0].clone();
    has(
        &rollout,
        &[
            "id", "source", "author", "subject", "state", "reason", "opened", "summary", "waves",
        ],
    );
    assert_eq!(rollout["id"], format!("{}-{entries}", &second[..8]));
    assert_eq!(rollout["source"], second.as_str());
    assert_eq!(rollout["subject"], "Version 2");
    assert!(rollout["author"].as_str().unwrap().contains("Jo Engineer"));
    assert_eq!(rollout["state"], "Running");
    assert_eq!(rollout["reason"], Value::Null);
    assert_eq!(
        rollout["summary"],
        json!({ "regions": 4, "percent": 50, "byState": { "Done": 2, "Verifying": 1, "Pending": 1 } })
    );
    let waves = rollout["waves"].as_array().unwrap();
    let states: Vec<&str> = waves
        .iter()
        .map(|wave| wave["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["Passed", "Progressing", "NotStarted"]);
    for wave in waves {
        assert_eq!(
            keys(wave),
            BTreeSet::from(["name", "state", "since", "until", "regions"])
        );
        for region in wave["regions"].as_array().unwrap() {
            has(
                region,
                &["name", "location", "state", "tree", "since", "reason"],
            );
        }
    }
    assert_eq!(
        waves[1]["regions"][0]["tree"],
        json!(fleet.tree("pilot", "eastus"))
    );
    // Filters.
    let named = |more: &[&str]| {
        fleet
            .people("status", &[&["-o", "name"], more].concat())
            .stdout
    };
    assert_eq!(named(&["--state", "Done"]), "westus3\neastus\n");
    assert_eq!(
        named(&["-l", "ring=pilot", "--state", "Verifying"]),
        "northeurope\n"
    );
    assert_eq!(named(&["--location", "uksouth"]), "uksouth\n");
    let table = fleet.people("status", &[]).stdout;
    assert!(
        table.contains("northeurope") && table.contains("Verifying"),
        "{table}"
    );
    fleet.force("northeurope", None);
    fleet.wait_for(&mut running, "Succeeded", entries);
    stop(running);
    assert_eq!(fleet.status(&[])["rollouts"], json!([]));
    let ended = fleet.status(&["--last"])["rollouts"][0].clone();
    assert_eq!(ended["state"], "Succeeded");
    assert_eq!(
        ended["summary"],
        json!({ "regions": 4, "percent": 100, "byState": { "Done": 4 } })
    );
    fleet.audit();
}

#[test]
fn a_hold_says_why_since_when_and_when_it_is_looked_at_next() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.work.remove("templates/namespace.yaml");
    fleet.publish(&[], "The namespace goes");
    fleet.settle(5);
    let status = fleet.status(&[]);
    let hold = &status["holds"][0];
    has(hold, &["reason", "since", "next"]);
    assert_eq!(hold["reason"], "ProtectedKind");
    hold["since"]
        .as_str()
        .unwrap()
        .parse::<jiff::Timestamp>()
        .unwrap();
    assert_eq!(
        hold["next"],
        Value::Null,
        "only a person or a commit ends it"
    );
    let table = fleet.people("status", &[]).stdout;
    assert!(table.contains("ProtectedKind"), "{table}");
    // Whatever it shows, it is no failure of the command.
    assert_eq!(fleet.people("status", &[]).code, Some(0));
}

#[test]
fn history_tells_every_rollout_newest_first() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let first = fleet.tip(MAIN);
    let bad = fleet.release("2", "westus3", "Version 2");
    fleet.settle(4);
    let revert = fleet.tip(MAIN);
    fleet.work.pull("main");
    let third = fleet.publish(
        &[(
            "regions/uksouth/local.yaml",
            &super::fleet::config_map("local", "1"),
        )],
        "Only for uksouth",
    );
    fleet.settle(0);
    let history = fleet.history(&[]);
    let sources: Vec<&str> = history
        .iter()
        .map(|one| one["source"].as_str().unwrap())
        .collect();
    assert_eq!(sources, [third.as_str(), &bad, &first]);
    for rollout in &history {
        has(
            rollout,
            &[
                "id", "source", "commits", "subject", "author", "state", "opened", "ended",
                "reason", "revert", "regions",
            ],
        );
        let opened: jiff::Timestamp = rollout["opened"].as_str().unwrap().parse().unwrap();
        let ended: jiff::Timestamp = rollout["ended"].as_str().unwrap().parse().unwrap();
        assert!(opened <= ended);
    }
    assert_eq!(history[1]["state"], "RolledBack");
    assert_eq!(history[1]["revert"], revert.as_str());
    assert!(
        history[1]["reason"]
            .as_str()
            .unwrap()
            .contains("westus3 healthz answered 500")
    );
    assert_eq!(history[2]["revert"], Value::Null);
    assert_eq!(history[2]["reason"], Value::Null);
    // Those that changed a region.
    let of = |region: &str| -> Vec<String> {
        fleet
            .history(&["--region", region])
            .iter()
            .map(|one| one["source"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(of("uksouth").contains(&third));
    assert!(!of("westus3").contains(&third));
    assert!(of("westus3").contains(&bad));
    let table = fleet.people("history", &[]).stdout;
    assert!(
        table.contains("RolledBack") && table.contains("Version 2"),
        "{table}"
    );
    fleet.audit();
}

#[test]
fn people_read_over_http_with_their_own_credentials() {
    use std::os::unix::fs::PermissionsExt as _;
    let fleet = Fleet::new();
    fleet.settle(0);
    let script = fleet.home.path().join("askpass");
    std::fs::write(
        &script,
        format!(
            "#!/bin/sh\ncase \"$1\" in Username*) echo {USERNAME};; *) echo {PASSWORD};; esac\n"
        ),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let url = fleet.server.url(REPO);
    let person = Tidegate::new(env!("CARGO_BIN_EXE_tidegate"), fleet.home.path());
    for verb in ["status", "history"] {
        let answer = person
            .clone()
            .env("GIT_ASKPASS", &script)
            .call(&[verb, "--repo", &url, "-o", "json"]);
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        serde_json::from_str::<Value>(&answer.stdout).unwrap();
        let answer = person
            .clone()
            .env("GIT_TERMINAL_PROMPT", "0")
            .call(&[verb, "--repo", &url]);
        assert_eq!(
            answer.code,
            Some(1),
            "without credentials: {}",
            answer.stdout
        );
        assert!(!answer.stderr.contains(PASSWORD));
    }
}
