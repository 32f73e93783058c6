//! Regions that come, go and move, and what the policy makes of failures.

use super::fleet::{Fleet, LOG, MAIN, REGIONS};

#[test]
fn a_region_that_changes_wave_is_named_on_the_new_branch_before_it_leaves_the_old_one() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let tree = fleet.tree("pilot", "eastus").unwrap();
    let entries = fleet.log().len();
    fleet.write_region("eastus", "broad", "");
    fleet.publish(&[], "Move eastus to broad");
    fleet.settle(0);
    assert_eq!(fleet.tree("pilot", "eastus"), None);
    assert_eq!(fleet.tree("broad", "eastus"), Some(tree));
    let branch_in = |id: &str| {
        fleet
            .regions_json(id)
            .into_iter()
            .find(|region| region["name"] == "eastus")
            .map(|region| region["branch"].as_str().unwrap().to_owned())
    };
    let log = fleet.log();
    let named: Vec<Option<String>> = log[entries..]
        .iter()
        .map(|entry| branch_in(&entry.id))
        .collect();
    assert!(
        named.iter().all(Option::is_some),
        "it is never missing: {named:?}"
    );
    let kind_of = |kind: &str| {
        log.iter()
            .position(|entry| {
                entry.seq >= entries
                    && entry
                        .intents()
                        .iter()
                        .any(|intent| fleet.trailer(&intent.new, "Tidegate-Kind") == [kind])
            })
            .unwrap_or_else(|| panic!("no {kind}: {}", fleet.story()))
    };
    let (promoted, left) = (kind_of("promote"), kind_of("leave"));
    let switched = entries
        + named
            .iter()
            .position(|branch| branch.as_deref() == Some("tidegate/broad"))
            .unwrap();
    assert!(
        promoted < switched && switched <= left,
        "{promoted} {switched} {left}"
    );
    // The entry that names it there is the one that closes the promotion.
    assert!(
        log[switched]
            .closed()
            .iter()
            .any(
                |(reference, _, outcome)| reference == "refs/heads/tidegate/broad"
                    && outcome == "applied"
            )
    );
    // The next commit goes to it in its new wave.
    fleet.release("2", "none", "Version 2");
    fleet.settle(0);
    assert_eq!(fleet.version("eastus").as_deref(), Some("2"));
    fleet.audit();
}

#[test]
fn an_added_region_comes_in_its_wave_and_one_that_fails_is_kept() {
    let fleet = Fleet::with(|text| {
        text.replace(
            "    selector: { matchLabels: { ring: broad } }\n",
            "    selector: { matchLabels: { ring: broad } }\n    progressDeadline: 8s\n    onUnreachable: fail\n",
        )
    });
    fleet.settle(0);
    fleet.write_region("japaneast", "broad", "");
    fleet.publish(&[], "Open Japan");
    fleet.settle(0);
    assert!(fleet.tree("broad", "japaneast").is_some());
    assert!(
        fleet
            .regions_json(LOG)
            .iter()
            .any(|region| region["name"] == "japaneast")
    );
    assert_eq!(fleet.regions()["westus3"], "NoChange");

    // One that never comes up, with a policy that fails it: its tree stays, everything else is given back.
    fleet.write_region("brazilsouth", "broad", "");
    fleet.force("brazilsouth", Some((500, "{}")));
    let trees = fleet.trees();
    let bad = fleet.publish(&[], "Open Brazil");
    fleet.settle(4);
    assert_eq!(fleet.regions()["brazilsouth"], "Kept", "{}", fleet.story());
    assert!(
        fleet.tree("broad", "brazilsouth").is_some(),
        "nothing is pruned"
    );
    assert!(
        fleet
            .regions_json(LOG)
            .iter()
            .any(|region| region["name"] == "brazilsouth")
    );
    assert_eq!(fleet.trees(), trees);
    assert_eq!(fleet.git(&["log", "-1", "--format=%P", MAIN]), bad);
    assert!(fleet.newest("Failed").message.contains("brazilsouth"));
    // No later plan counts it as removed.
    fleet.work.pull("main");
    fleet.release("2", "none", "Version 2");
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["2"; 4]);
    assert!(fleet.tree("broad", "brazilsouth").is_some());
    fleet.audit();
}

#[test]
fn an_excluded_region_is_left_alone_and_catches_up_when_the_exclusion_ends() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.rewrite_region("eastus", "pilot", "exclude: { reason: \"maintenance\" }\n");
    fleet.publish(&[], "Leave eastus alone");
    fleet.settle(0);
    fleet.release("2", "eastus", "Version 2");
    // It would be harmed, and is not even asked.
    fleet.force("eastus", Some((500, "{}")));
    fleet.settle(0);
    assert_eq!(fleet.version("eastus").as_deref(), Some("1"));
    assert_eq!(fleet.version("northeurope").as_deref(), Some("2"));
    assert_eq!(fleet.regions().get("eastus"), None);
    assert!(
        fleet
            .regions_json(LOG)
            .iter()
            .any(|region| region["name"] == "eastus")
    );
    fleet.force("eastus", None);
    fleet.release("3", "none", "Version 3");
    fleet.settle(0);
    assert_eq!(fleet.version("eastus").as_deref(), Some("1"));
    fleet.rewrite_region("eastus", "pilot", "");
    let entries = fleet.log().len();
    fleet.publish(&[], "eastus is back");
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["3"; 4]);
    assert!(!fleet.kinds(entries).contains(&"Held".to_owned()));
    fleet.audit();
}

#[test]
fn an_isolated_failure_takes_the_one_region_back_and_the_rest_go_on() {
    let fleet = Fleet::with(|text| {
        text.replace(
            "    maxConcurrent: 2\n",
            "    maxConcurrent: 2\n    onFailure: isolate\n",
        )
    });
    fleet.settle(0);
    let good = fleet.trees();
    let entries = fleet.log().len();
    let bad = fleet.release("2", "northeurope", "Version 2");
    fleet.settle(0);
    let kinds = fleet.kinds(entries);
    assert!(kinds.contains(&"RegionFailed".to_owned()), "{kinds:?}");
    assert_eq!(kinds.last().map(String::as_str), Some("Succeeded"));
    assert!(!kinds.contains(&"Failed".to_owned()));
    assert_eq!(fleet.versions(), ["2", "2", "1", "2"]);
    assert_eq!(fleet.trees()[2], good[2]);
    assert_eq!(fleet.regions()["northeurope"], "Reverted");
    assert_eq!(fleet.tip(MAIN), bad, "the commit stands");
    let quarantine = fleet.status(&[])["quarantine"].clone();
    assert_eq!(quarantine.as_array().unwrap().len(), 1);
    assert_eq!(quarantine[0]["region"], "northeurope");
    // A commit that would bring the same content there leaves the region out.
    let entries = fleet.log().len();
    fleet.publish(
        &[(
            "regions/uksouth/local.yaml",
            &super::fleet::config_map("local", "1"),
        )],
        "Only for uksouth",
    );
    fleet.settle(0);
    assert_eq!(fleet.regions()["northeurope"], "Skipped");
    assert!(!fleet.kinds(entries).contains(&"RegionFailed".to_owned()));
    assert_eq!(fleet.trees()[2], good[2]);
    // One that is mended reaches it again.
    fleet.release("3", "none", "Version 3");
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["3"; 4]);
    fleet.audit();
}

#[test]
fn as_many_failures_as_the_wave_allows_are_tolerated_and_one_more_is_not() {
    let fleet = Fleet::with(|text| {
        text.replace(
            "    maxConcurrent: 2\n",
            "    maxConcurrent: 2\n    maxFailures: 1\n",
        )
    });
    fleet.settle(0);
    let first = fleet.tip(MAIN);
    let good = fleet.trees();
    let entries = fleet.log().len();
    fleet.release("2", "northeurope", "Version 2");
    fleet.settle(0);
    let kinds = fleet.kinds(entries);
    assert!(kinds.contains(&"RegionFailed".to_owned()), "{kinds:?}");
    assert_eq!(fleet.versions(), ["2"; 4], "nothing is given back");
    assert_eq!(fleet.regions()["northeurope"], "Failed");
    let status = fleet.status(&["--last"]);
    assert_eq!(
        status["rollouts"][0]["waves"][1]["state"],
        "PassedWithFailures"
    );
    assert_eq!(status["lastGood"]["northeurope"]["source"], first.as_str());
    // Mended, then both of two: that is one too many.
    fleet.release("3", "none", "Version 3");
    fleet.settle(0);
    let third = fleet.trees();
    assert_ne!(third, good);
    fleet.release("4", "eastus northeurope", "Version 4");
    fleet.settle(4);
    assert_eq!(fleet.trees(), third);
    fleet.audit();
}

#[test]
fn until_something_has_succeeded_a_failure_only_holds() {
    let fleet = Fleet::unpublished(|text| {
        text.replace(
            "  - name: pilot",
            "    progressDeadline: 8s\n  - name: pilot",
        )
    });
    fleet
        .work
        .write("values/app.yaml", super::fleet::app("1", "westus3"));
    let first = fleet.publish(&[], "Begin, ill");
    fleet.settle(5);
    assert_eq!(fleet.holds(), ["FirstRolloutFailed"], "{}", fleet.story());
    assert_eq!(fleet.tip(MAIN), first, "nothing is reverted to nothing");
    let status = fleet.status(&[]);
    assert_eq!(status["quarantine"], serde_json::json!([]));
    assert_eq!(status["rollouts"][0]["state"], "Held");
    assert!(fleet.tree("canary", "westus3").is_some());
    assert_eq!(fleet.tree("pilot", "eastus"), None);
    let entries = fleet.log().len();
    fleet.release("2", "none", "Well");
    fleet.settle(0);
    assert_eq!(fleet.kinds(entries)[..2], ["Superseded", "RolloutOpened"]);
    for (region, _) in REGIONS {
        assert_eq!(fleet.version(region).as_deref(), Some("2"));
    }
    fleet.audit();
}
