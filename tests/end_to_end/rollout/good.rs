//! Commits that are good: all the way through the waves, and those that change nothing.

use std::collections::BTreeSet;

use super::fleet::{Fleet, LOG, MAIN, REGIONS, REPO, WAVES};

#[test]
fn what_an_entry_names_has_the_date_of_the_entry_before_it_however_long_ago_that_was() {
    // A quick machine is done with the rest within one second, which is what dates tell apart.
    let fleet = Fleet::with(|text| text.replacen("bake: 0s", "bake: 1s", 1));
    fleet.settle(0);
    let dates = fleet.git(&["log", "--first-parent", "--format=%ct", LOG]);
    let dates: BTreeSet<&str> = dates.lines().collect();
    assert!(dates.len() > 1, "{dates:?}");
    fleet.audit();
}

#[test]
fn the_first_commit_goes_through_all_waves_in_order() {
    let fleet = Fleet::new();
    let source = fleet.tip(MAIN);
    fleet.settle(0);

    assert_eq!(
        fleet.kinds(0),
        [
            "Created",
            "RolloutOpened",
            "Intent",
            "WavePassed",
            "WavePassed",
            "WavePassed",
            "Succeeded"
        ],
        "{}",
        fleet.story()
    );
    let log = fleet.log();
    let passed: Vec<&str> = log
        .iter()
        .filter(|entry| entry.kind == "WavePassed")
        .map(|entry| entry.wave().unwrap())
        .collect();
    assert_eq!(passed, WAVES);
    // The branches are made, empty, by the entry that opens.
    let opened = &log[1];
    assert_eq!(
        opened.rollout(),
        Some(format!("{}-1", &source[..8]).as_str())
    );
    assert_eq!(opened.one("Tidegate-Source"), Some(source.as_str()));
    let made = opened.intents();
    assert_eq!(made.len(), 3);
    for intent in &made {
        assert_eq!(intent.old, "0".repeat(40));
        assert_eq!(fleet.git(&["ls-tree", &intent.new]), "");
        assert_eq!(fleet.git(&["log", "-1", "--format=%P", &intent.new]), "");
        assert_eq!(fleet.trailer(&intent.new, "Tidegate-Kind"), ["create"]);
    }
    // What an intent names is on the server with the entry that names it, and so is the plan.
    let parents = fleet.git(&["log", "-1", "--format=%P", &opened.id]);
    let parents: Vec<&str> = parents.split(' ').collect();
    assert_eq!(
        parents.len(),
        5,
        "the entry before, three branches, the plan"
    );
    let plan = parents
        .iter()
        .find(|parent| {
            fleet
                .git(&["ls-tree", "--name-only", parent])
                .contains("westus3")
        })
        .expect("the plan commit");
    for (region, wave) in REGIONS {
        let planned = fleet.tip(&format!("{plan}:{region}"));
        assert_eq!(fleet.tree(wave, region), Some(planned));
        assert_eq!(fleet.version(region).as_deref(), Some("1"));
    }
    // A wave branch holds its own regions and nothing else.
    assert_eq!(
        fleet.git(&["ls-tree", "--name-only", "refs/heads/tidegate/pilot"]),
        "eastus\nnortheurope"
    );
    assert_eq!(
        fleet.git(&["ls-tree", "-r", "--name-only", "refs/heads/tidegate/canary"]),
        "westus3/app.yaml\nwestus3/namespace.yaml\nwestus3/one.yaml\nwestus3/three.yaml\nwestus3/two.yaml"
    );
    // Nothing reaches the config branch.
    assert_eq!(fleet.tip(MAIN), source);
    fleet.audit();
}

#[test]
fn regions_json_names_every_region_in_the_contracts_form() {
    let fleet = Fleet::unpublished(|text| text);
    fleet.rewrite_region(
        "eastus",
        "pilot",
        "location: East US\ncluster: aks-eastus\n",
    );
    fleet.work.commit("Begin");
    fleet.work.push("main");
    fleet.settle(0);

    let listed = fleet.regions_json(LOG);
    let names: Vec<&str> = listed
        .iter()
        .map(|region| region["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["eastus", "northeurope", "uksouth", "westus3"]);
    assert_eq!(
        listed[0],
        serde_json::json!({
            "name": "eastus", "cluster": "aks-eastus", "location": "East US", "labels": { "ring": "pilot" },
            "wave": "pilot", "branch": "tidegate/pilot", "folder": "eastus",
        })
    );
    assert_eq!(listed[3]["cluster"], "westus3");
    assert_eq!(listed[3]["location"], "westus3");
    // Region by region, as they come.
    let counts: Vec<usize> = fleet
        .log()
        .iter()
        .map(|entry| fleet.regions_json(&entry.id).len())
        .collect();
    assert_eq!(counts.first(), Some(&0));
    assert!(
        counts.is_sorted() && counts.contains(&1) && counts.contains(&3),
        "{counts:?}"
    );
    fleet.audit();
}

#[test]
fn a_good_commit_goes_through_and_one_that_changes_nothing_is_said_once() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let before = fleet.trees();
    let entries = fleet.log().len();
    let second = fleet.release("2", "none", "Version 2");
    fleet.settle(0);
    assert_eq!(
        fleet.kinds(entries),
        [
            "RolloutOpened",
            "Intent",
            "WavePassed",
            "WavePassed",
            "WavePassed",
            "Succeeded"
        ]
    );
    assert!(
        fleet
            .trees()
            .iter()
            .zip(&before)
            .all(|(new, old)| new != old)
    );
    assert_eq!(fleet.versions(), ["2"; 4]);
    assert_eq!(
        fleet.status(&[])["lastGood"]["eastus"]["source"],
        second.as_str()
    );

    let after = fleet.trees();
    let entries = fleet.log().len();
    fleet.publish(&[("README.md", "The shop.\n")], "Say what this is");
    let nothing = fleet.publish(&[("docs/notes.md", "Notes.\n")], "Take notes");
    fleet.settle(0);
    let log = fleet.log();
    assert_eq!(log.len(), entries + 1, "{}", fleet.story());
    assert_eq!(log[entries].kind, "NoChange");
    assert_eq!(log[entries].one("Tidegate-Source"), Some(nothing.as_str()));
    assert_eq!(log[entries].rollout(), None);
    // Looked at again: nothing more is said.
    fleet.settle(0);
    fleet.forget_data();
    fleet.settle(0);
    assert_eq!(fleet.log().len(), entries + 1);
    assert_eq!(fleet.trees(), after);
    fleet.audit();
}

#[test]
fn a_region_whose_tree_stays_is_not_pushed_and_its_wave_still_passes() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let entries = fleet.log().len();
    let branches: Vec<String> = WAVES.iter().map(|wave| fleet.wave(wave)).collect();
    // Only a region of the last wave changes: it is the canary of this commit.
    fleet.publish(
        &[(
            "regions/uksouth/local.yaml",
            &super::fleet::config_map("local", "1"),
        )],
        "Only for uksouth",
    );
    fleet.settle(0);
    assert_eq!(fleet.wave("canary"), branches[0]);
    assert_eq!(fleet.wave("pilot"), branches[1]);
    assert_ne!(fleet.wave("broad"), branches[2]);
    let passed = fleet.kinds(entries);
    assert_eq!(
        passed.iter().filter(|kind| *kind == "WavePassed").count(),
        3
    );
    let regions = fleet.regions();
    assert_eq!(regions["westus3"], "NoChange");
    assert_eq!(regions["uksouth"], "Done");
    fleet.audit();
}

#[test]
fn an_empty_repo_and_an_invalid_head_wait_and_the_next_valid_head_carries_all() {
    let fleet = Fleet::unpublished(|text| text);
    let answer = fleet.run();
    assert_eq!(answer.code, Some(3), "{}", answer.stderr);
    assert!(fleet.journal().is_empty());
    // Before there is a log, an invalid head writes nothing either.
    fleet
        .work
        .write("tidegate.yaml", "kind: Fleet\nkind: Fleet\n");
    fleet.work.commit("Broken from the start");
    fleet.work.push("main");
    let answer = fleet.run();
    assert_eq!(answer.code, Some(3), "{}", answer.stderr);
    assert!(fleet.log().is_empty());
    fleet.work.write("tidegate.yaml", super::fleet::FLEET);
    fleet.work.commit("Mended");
    fleet.work.push("main");
    fleet.settle(0);
    assert_eq!(fleet.kinds(0)[..2], ["Created", "RolloutOpened"]);

    // With a log, an invalid head gets one entry, and the commits below it wait with it.
    let entries = fleet.log().len();
    let below = fleet.release("2", "none", "Version 2");
    let typo = super::fleet::APP.replace("values.version", "values.verzion");
    let invalid = fleet.publish(&[("templates/app.yaml.hbs", &typo)], "A typo");
    let answer = fleet.run();
    assert_eq!(answer.code, Some(3), "{}", answer.stderr);
    fleet.settle(3);
    let log = fleet.log();
    assert_eq!(log.len(), entries + 1, "{}", fleet.story());
    assert_eq!(log[entries].kind, "Invalid");
    assert_eq!(log[entries].one("Tidegate-Source"), Some(invalid.as_str()));
    assert!(
        log[entries].message.contains("templates/app.yaml.hbs:"),
        "{}",
        log[entries].message
    );
    assert_eq!(fleet.versions(), ["1"; 4]);
    let mended = fleet.publish(&[("templates/app.yaml.hbs", super::fleet::APP)], "No typo");
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["2"; 4]);
    let history = fleet.history(&[]);
    assert_eq!(
        history[0]["commits"],
        serde_json::json!([mended, invalid, below])
    );
    fleet.audit();
}

#[test]
fn a_head_without_the_document_or_with_another_name_is_invalid_once() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let entries = fleet.log().len();
    fleet.publish(
        &[(
            "tidegate.yaml",
            &super::fleet::FLEET.replace("name: shop", "name: store"),
        )],
        "Another name",
    );
    fleet.settle(3);
    fleet.work.remove("tidegate.yaml");
    fleet.publish(&[], "No document");
    fleet.settle(3);
    fleet.settle(3);
    assert_eq!(fleet.kinds(entries), ["Invalid", "Invalid"]);
    assert!(fleet.tree("canary", "westus3").is_some());
    assert!(
        fleet
            .server
            .tip(REPO, "refs/heads/tidegate-revert/x")
            .is_none()
    );
    fleet.audit();
}

#[test]
fn a_value_layer_outside_of_the_folder_values_is_noticed_wherever_its_path_leads() {
    for layer in ["/shared/eu.yaml", "values/{{labels.base}}"] {
        let fleet = Fleet::unpublished(|document| {
            let own = "  - values/app.yaml\n";
            document.replace(own, &format!("{own}  - \"{layer}\"\n"))
        });
        for (region, wave) in REGIONS {
            let file = format!("regions/{region}.yaml");
            let text = std::fs::read_to_string(fleet.work.path(&file)).unwrap();
            let ring = format!("ring: {wave}");
            let labels = format!("{ring}, base: ../shared/eu.yaml");
            fleet.work.write(&file, text.replace(&ring, &labels));
        }
        fleet.publish(&[("shared/eu.yaml", "version: \"2\"\n")], "Begin the shop");
        let mut running = fleet.background();
        let first = fleet.wait_for(&mut running, "Succeeded", 0);
        assert_eq!(fleet.version("westus3").as_deref(), Some("2"), "{layer}");
        // The same controller, and nothing but that file changes.
        fleet.publish(&[("shared/eu.yaml", "version: \"3\"\n")], "Third");
        fleet.wait_for(&mut running, "Succeeded", first.seq + 1);
        assert_eq!(fleet.version("westus3").as_deref(), Some("3"), "{layer}");
    }
}
