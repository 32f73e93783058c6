//! Commits that make a region sick: taken back everywhere, reverted, and kept out.

use super::fleet::{APP, Fleet, MAIN, REGIONS, app, config_map, stop};

impl Fleet {
    /// Checks a revert commit of the config branch against the contract's form, word by word.
    fn is_revert(&self, commit: &str, subject: &str, reverted: &[&str], rollout: &str) {
        let message = self.message(commit);
        let paragraphs: Vec<&str> = message.split("\n\n").collect();
        let lines: Vec<String> = reverted
            .iter()
            .map(|id| format!("This reverts commit {id}."))
            .collect();
        assert_eq!(paragraphs.len(), 3, "{message}");
        assert_eq!(paragraphs[0], subject);
        assert_eq!(paragraphs[1].lines().collect::<Vec<_>>(), lines);
        assert_eq!(self.trailer(commit, "Tidegate-Rollout"), [rollout]);
        let reason = self.trailer(commit, "Tidegate-Reason");
        assert_eq!(reason.len(), 1);
        assert!(reason[0].contains("healthz answered 500"), "{reason:?}");
    }
}

#[test]
fn a_bad_commit_is_stopped_at_the_canary_and_reverted() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let base = fleet.tip(MAIN);
    let good = fleet.trees();
    let (pilot, broad) = (fleet.wave("pilot"), fleet.wave("broad"));
    let entries = fleet.log().len();
    let bad = fleet.release("2", "westus3", "Version 2 for all");
    fleet.settle(4);

    let kinds = fleet.kinds(entries);
    assert_eq!(
        kinds,
        [
            "RolloutOpened",
            "Intent",
            "Failed",
            "Intent",
            "Reverted",
            "NoChange"
        ],
        "{}",
        fleet.story()
    );
    let failed = fleet.newest("Failed");
    let rollout = format!("{}-{entries}", &bad[..8]);
    assert_eq!(failed.rollout(), Some(rollout.as_str()));
    assert_eq!(failed.wave(), Some("canary"));
    for word in ["westus3", "healthz", "500", "2 times in a row"] {
        assert!(failed.message.contains(word), "{word}: {}", failed.message);
    }
    // The give-back goes with the entry, to the touched branch alone.
    let given: Vec<String> = failed
        .intents()
        .into_iter()
        .map(|one| one.reference)
        .collect();
    assert_eq!(given, ["refs/heads/tidegate/canary"]);
    assert_eq!(
        fleet.trailer("tidegate/canary", "Tidegate-Kind"),
        ["revert"]
    );
    assert_eq!(
        fleet.trailer("tidegate/canary", "Tidegate-Rollout"),
        [rollout.as_str()]
    );
    assert_eq!(fleet.wave("pilot"), pilot);
    assert_eq!(fleet.wave("broad"), broad);
    assert_eq!(fleet.trees(), good);

    // The config branch: one commit on top of the bad one, with the content of before.
    let revert = fleet.tip(MAIN);
    assert_eq!(fleet.git(&["log", "-1", "--format=%P", &revert]), bad);
    assert_eq!(
        fleet.git(&["rev-parse", &format!("{revert}^{{tree}}")]),
        fleet.git(&["rev-parse", &format!("{base}^{{tree}}")])
    );
    assert_eq!(
        fleet.git(&["log", "-1", "--format=%an", &revert]),
        "Tidegate"
    );
    fleet.is_revert(&revert, "Revert \"Version 2 for all\"", &[&bad], &rollout);
    // Its push was an intent too, and its own look changes nothing.
    let intent = fleet
        .log()
        .into_iter()
        .find(|entry| {
            entry
                .intents()
                .iter()
                .any(|intent| intent.reference == MAIN)
        })
        .unwrap();
    let moved = &intent.intents()[0];
    assert_eq!((&moved.old, &moved.new), (&bad, &revert));
    let journal = fleet.journal();
    let place = |id: &str| journal.iter().position(|update| update.new == id).unwrap();
    assert!(place(&intent.id) < place(&revert));
    assert!(
        place(&fleet.wave("canary")) < place(&revert),
        "branches first"
    );
    assert_eq!(
        fleet.newest("NoChange").one("Tidegate-Source"),
        Some(revert.as_str())
    );

    let status = fleet.status(&["--last"]);
    assert_eq!(status["rollouts"][0]["state"], "RolledBack");
    assert_eq!(status["holds"], serde_json::json!([]));
    let quarantine = status["quarantine"].as_array().unwrap();
    assert_eq!(quarantine.len(), 4, "every region would have received it");
    assert!(quarantine.iter().all(|item| item["source"] == bad.as_str()));
    assert_eq!(status["lastGood"]["westus3"]["source"], base.as_str());
    let history = fleet.history(&[]);
    assert_eq!(history[0]["state"], "RolledBack");
    assert_eq!(history[0]["revert"], revert.as_str());
    assert!(history[0]["reason"].as_str().unwrap().contains("500"));

    // Nothing is left to do; and the next commit on top of our revert is an ordinary one.
    fleet.settle(0);
    fleet.work.pull("main");
    let entries = fleet.log().len();
    fleet.publish(
        &[("templates/one.yaml", &config_map("one", "2"))],
        "Another change",
    );
    fleet.settle(0);
    assert_eq!(
        fleet.kinds(entries).last().map(String::as_str),
        Some("Succeeded")
    );
    assert_eq!(fleet.versions(), ["1"; 4]);
    fleet.audit();
}

#[test]
fn a_range_that_harms_a_later_wave_is_given_back_on_every_touched_branch_and_reverted_whole() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let base = fleet.tip(MAIN);
    let good = fleet.trees();
    let broad = fleet.wave("broad");
    fleet
        .work
        .write("templates/one.yaml", config_map("one", "2"));
    let first = fleet.work.commit("Change one");
    let second = fleet.release("2", "northeurope", "Version 2");
    fleet.settle(4);

    assert_eq!(fleet.trees(), good);
    assert_eq!(fleet.wave("broad"), broad, "never touched");
    for wave in ["canary", "pilot"] {
        let branch = format!("tidegate/{wave}");
        assert_eq!(fleet.trailer(&branch, "Tidegate-Kind"), ["revert"]);
        assert_eq!(
            fleet.trailer(&format!("{branch}~1"), "Tidegate-Kind"),
            ["promote"]
        );
    }
    let failed = fleet.newest("Failed");
    assert_eq!(failed.wave(), Some("pilot"));
    let given: Vec<String> = failed
        .intents()
        .into_iter()
        .map(|one| one.reference)
        .collect();
    // Last promoted first.
    assert_eq!(
        given,
        ["refs/heads/tidegate/pilot", "refs/heads/tidegate/canary"]
    );
    let revert = fleet.tip(MAIN);
    let rollout = failed.rollout().unwrap().to_owned();
    fleet.is_revert(
        &revert,
        "Revert 2 commits up to \"Version 2\"",
        &[&second, &first],
        &rollout,
    );
    assert_eq!(fleet.git(&["diff", "--name-only", &base, &revert]), "");
    let regions = fleet.regions();
    assert_eq!(regions["westus3"], "Reverted");
    assert_eq!(regions["eastus"], "Reverted");
    assert_eq!(regions["northeurope"], "Reverted");
    assert_eq!(regions["uksouth"], "Pending");
    fleet.audit();
}

#[test]
fn what_failed_stays_out_when_it_is_landed_again_until_it_is_fixed() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let bad = fleet.release("2", "westus3", "Version 2");
    fleet.settle(4);
    let good = fleet.trees();
    fleet.work.pull("main");
    fleet.work.git(&["revert", "--no-edit", "HEAD"]);
    fleet.work.push("main");
    let entries = fleet.log().len();
    fleet.settle(5);
    assert_eq!(fleet.kinds(entries), ["Held"], "{}", fleet.story());
    assert_eq!(fleet.holds(), ["Quarantined"]);
    let held = fleet.newest("Held");
    assert_eq!(held.one("Tidegate-Source"), Some(fleet.tip(MAIN).as_str()));
    assert!(held.message.contains("Quarantined"), "{}", held.message);
    assert_eq!(fleet.status(&[])["blockedBy"], serde_json::json!([bad]));
    assert_eq!(fleet.trees(), good);
    // Nothing more is said about it, and a commit on top does not smuggle it in.
    fleet.settle(5);
    assert_eq!(fleet.log().len(), entries + 1);
    fleet.publish(
        &[("templates/one.yaml", &config_map("one", "2"))],
        "Unrelated",
    );
    fleet.settle(5);
    assert_eq!(fleet.holds(), ["Quarantined"]);
    assert_eq!(fleet.trees(), good);
    // A trailer that says what it fixes opens it; it is healthy now.
    fleet.publish(
        &[("values/app.yaml", &app("2", "none"))],
        &format!("Version 2, mended\n\nTidegate-Fixes: {bad}\n"),
    );
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["2"; 4]);
    assert_eq!(fleet.holds(), [""; 0]);
    // And what comes after it is an ordinary commit.
    fleet.publish(
        &[("templates/two.yaml", &config_map("two", "2"))],
        "Unrelated too",
    );
    fleet.settle(0);
    fleet.audit();
}

#[test]
fn undoing_what_was_landed_again_opens_the_way() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.release("2", "westus3", "Version 2");
    fleet.settle(4);
    fleet.work.pull("main");
    fleet.work.git(&["revert", "--no-edit", "HEAD"]);
    fleet.work.push("main");
    fleet.settle(5);
    fleet.work.git(&["revert", "--no-edit", "HEAD"]);
    fleet.work.push("main");
    let entries = fleet.log().len();
    fleet.settle(0);
    assert_eq!(fleet.holds(), [""; 0]);
    assert!(
        fleet
            .kinds(entries)
            .iter()
            .all(|kind| kind == "NoChange" || kind == "Resumed"),
        "{:?}",
        fleet.kinds(entries)
    );
    fleet.release("3", "none", "Version 3");
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["3"; 4]);
    fleet.audit();
}

#[test]
fn a_revert_keeps_what_came_after_the_bad_commit_and_carries_it_as_an_ordinary_rollout() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let mut running = fleet.background();
    // It neither passes nor fails until the test says so: the old revision is stale.
    fleet.force("westus3", Some((200, r#"{"version":"1"}"#)));
    let bad = fleet.release("2", "westus3", "Version 2");
    let entries = fleet.log().len();
    fleet.wait_for(&mut running, "RolloutOpened", entries);
    let later = fleet.publish(
        &[("templates/one.yaml", &config_map("one", "2"))],
        "A good one",
    );
    fleet.wait_until(&mut running, "the queue", |fleet| {
        fleet.status(&[])["queued"] == serde_json::json!([later])
    });
    fleet.force("westus3", None);
    fleet.wait_for(&mut running, "Reverted", entries);
    fleet.wait_for(&mut running, "Succeeded", entries);
    let revert = fleet.tip(MAIN);
    assert_eq!(fleet.git(&["log", "-1", "--format=%P", &revert]), later);
    assert_eq!(
        fleet.git(&["log", "-1", "--format=%s", &revert]),
        "Revert \"Version 2\""
    );
    assert_eq!(fleet.versions(), ["1"; 4]);
    for (region, wave) in REGIONS {
        let one = fleet.git(&["show", &format!("tidegate/{wave}:{region}/one.yaml")]);
        assert!(one.contains("\"2\"") || one.contains("value: 2"), "{one}");
    }
    let history = fleet.history(&[]);
    assert_eq!(history[0]["source"], revert.as_str());
    // Everything since what is settled.
    assert_eq!(
        history[0]["commits"],
        serde_json::json!([revert, later, bad])
    );
    assert_eq!(history[1]["source"], bad.as_str());
    assert_eq!(history[1]["commits"], serde_json::json!([bad]));
    stop(running);
    fleet.audit();
}

#[test]
fn an_answer_that_is_merely_old_or_missing_is_no_harm() {
    // Stale and unreachable evidence holds the wave back, and never fails it.
    let fleet = Fleet::new();
    fleet.settle(0);
    let mut running = fleet.background();
    fleet.force("westus3", Some((200, r#"{"version":"1"}"#)));
    let entries = fleet.log().len();
    fleet.release("2", "none", "Version 2");
    fleet.wait_for(&mut running, "RolloutOpened", entries);
    fleet.wait_until(&mut running, "the canary is asked", |fleet| {
        fleet.regions()["westus3"] == "Verifying"
    });
    fleet.force("westus3", Some((302, "")));
    let looks = fleet.server.requests();
    fleet.wait_until(&mut running, "several looks", |fleet| {
        fleet.server.requests() > looks + 8
    });
    assert_eq!(fleet.state(), "Running");
    assert_eq!(fleet.version("eastus").as_deref(), Some("1"));
    fleet.force("westus3", None);
    fleet.wait_for(&mut running, "Succeeded", entries);
    assert!(!fleet.kinds(entries).contains(&"Failed".to_owned()));
    stop(running);
    fleet.audit();
}

#[test]
fn a_region_that_was_ill_before_is_no_evidence_against_a_commit() {
    let fleet = Fleet::with(|text| {
        text.replace(
            "  - name: broad",
            "    progressDeadline: 8s\n  - name: broad",
        )
    });
    fleet.settle(0);
    // Ill with what is good: its illness is not the next commit's.
    fleet.force("eastus", Some((500, "{}")));
    let entries = fleet.log().len();
    fleet.release("2", "none", "Version 2");
    fleet.settle(5);
    assert_eq!(fleet.holds(), ["AlreadySick"], "{}", fleet.story());
    assert!(!fleet.kinds(entries).contains(&"Failed".to_owned()));
    assert_eq!(fleet.version("westus3").as_deref(), Some("2"));
    assert_eq!(fleet.version("uksouth").as_deref(), Some("1"));
    // The next commit supersedes what is held.
    fleet.force("eastus", None);
    fleet.release("3", "none", "Version 3");
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["3"; 4]);
    assert!(fleet.kinds(entries).contains(&"Superseded".to_owned()));
    fleet.audit();
}

#[test]
fn a_typo_in_the_template_never_reaches_a_branch() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let before: Vec<_> = super::fleet::WAVES
        .iter()
        .map(|wave| fleet.wave(wave))
        .collect();
    fleet.publish(
        &[(
            "templates/app.yaml.hbs",
            &APP.replace("{{name}}", "{{#if nmae}}x{{/if}}"),
        )],
        "A typo in a condition",
    );
    fleet.settle(3);
    let after: Vec<_> = super::fleet::WAVES
        .iter()
        .map(|wave| fleet.wave(wave))
        .collect();
    assert_eq!(after, before);
    fleet.audit();
}
