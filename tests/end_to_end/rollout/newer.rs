//! Commits that land while something is under way, and config branches that a server protects.

use tidegate_testkit::work::try_git;

use super::fleet::{Fleet, MAIN, REPO, app, stop};

#[test]
fn commits_that_land_during_a_rollout_are_queued_and_carried_as_one() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let entries = fleet.log().len();
    let mut running = fleet.background();
    fleet.force("westus3", Some((200, r#"{"version":"1"}"#)));
    let second = fleet.release("2", "none", "Version 2");
    fleet.wait_for(&mut running, "RolloutOpened", entries);
    let third = fleet.release("3", "none", "Version 3");
    let fourth = fleet.release("4", "none", "Version 4");
    fleet.wait_until(&mut running, "the queue", |fleet| {
        fleet.status(&[])["queued"] == serde_json::json!([fourth, third])
    });
    let status = fleet.status(&[]);
    assert_eq!(status["source"]["head"], fourth.as_str());
    assert_eq!(status["rollouts"][0]["source"], second.as_str());
    fleet.force("westus3", None);
    fleet.wait_until(&mut running, "the end", |fleet| {
        fleet.versions() == ["4"; 4] && fleet.state() == "Succeeded"
    });
    let opened = fleet
        .kinds(entries)
        .iter()
        .filter(|kind| *kind == "RolloutOpened")
        .count();
    assert_eq!(opened, 2, "{}", fleet.story());
    let history = fleet.history(&[]);
    assert_eq!(history[0]["commits"], serde_json::json!([fourth, third]));
    assert_eq!(history[1]["commits"], serde_json::json!([second]));
    assert_eq!(history[1]["state"], "Succeeded");
    stop(running);
    fleet.audit();
}

#[test]
fn a_newer_commit_takes_the_place_of_a_held_rollout_and_answers_for_what_it_left() {
    let fleet = Fleet::with(|text| text.replace("onFailure: revert", "onFailure: hold"));
    fleet.settle(0);
    let good = fleet.trees();
    let entries = fleet.log().len();
    let held = fleet.release("2", "eastus", "Version 2 harms eastus");
    fleet.settle(5);
    assert_eq!(fleet.holds(), ["OnFailureHold"]);
    assert_eq!(fleet.state(), "Held");
    assert_eq!(fleet.tip(MAIN), held, "nothing is reverted");
    assert_ne!(fleet.trees()[0], good[0], "nothing is given back");
    assert_eq!(fleet.trees()[3], good[3], "nothing goes on");
    fleet.settle(5);
    let next = fleet.release("3", "none", "Version 3");
    fleet.settle(0);
    let kinds = fleet.kinds(entries);
    let superseded = kinds.iter().position(|kind| kind == "Superseded").unwrap();
    assert_eq!(kinds[superseded + 1], "RolloutOpened", "{kinds:?}");
    assert!(!kinds.contains(&"Failed".to_owned()));
    assert_eq!(fleet.versions(), ["3"; 4]);
    let history = fleet.history(&[]);
    assert_eq!(history[0]["source"], next.as_str());
    // The range counts from what is settled: the superseded commit is in it.
    assert_eq!(history[0]["commits"], serde_json::json!([next, held]));
    assert_eq!(history[1]["state"], "Superseded");
    fleet.audit();
}

#[test]
fn where_main_is_protected_the_revert_waits_on_a_branch_and_its_merge_settles() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let base = fleet.tip(MAIN);
    let good = fleet.trees();
    let bad = fleet.release("2", "westus3", "Version 2");
    fleet.server.protect(REPO, MAIN);
    fleet.settle(4);
    assert_eq!(
        fleet.trees(),
        good,
        "protection of main blocks no give-back"
    );
    assert_eq!(fleet.tip(MAIN), bad);
    // What the head holds has failed, so it is not opened again either.
    assert_eq!(
        fleet.holds(),
        ["RevertPullRequest", "Quarantined"],
        "{}",
        fleet.story()
    );
    let rollout = fleet.newest("Failed").rollout().unwrap().to_owned();
    let branch = format!("refs/heads/tidegate-revert/{rollout}");
    let revert = fleet.tip(&branch);
    assert_eq!(
        fleet.git(&["log", "-1", "--format=%P %s", &revert]),
        format!("{bad} Revert \"Version 2\"")
    );
    assert_eq!(fleet.git(&["diff", "--name-only", &base, &revert]), "");
    assert_eq!(
        fleet.trailer(&revert, "Tidegate-Rollout"),
        [rollout.as_str()]
    );
    assert_eq!(fleet.state(), "RolledBack");
    assert_eq!(fleet.history(&[])[0]["revert"], revert.as_str());
    // It waits for a person: nothing is opened or proposed again meanwhile.
    let entries = fleet.log().len();
    fleet.settle(5);
    assert_eq!(fleet.log().len(), entries, "{}", fleet.story());
    let proposals = |fleet: &Fleet| {
        fleet
            .journal()
            .iter()
            .filter(|update| update.name == branch)
            .count()
    };
    assert_eq!(proposals(&fleet), 1);

    // A person merges it.
    fleet.server.unprotect(REPO);
    fleet.work.git(&["fetch", "-q", "origin", &branch]);
    fleet.work.git(&[
        "merge",
        "-q",
        "--no-ff",
        "-m",
        "Merge the revert",
        "FETCH_HEAD",
    ]);
    fleet.work.push("main");
    fleet.settle(0);
    assert_eq!(fleet.holds(), [""; 0]);
    assert_eq!(fleet.kinds(entries), ["NoChange"], "{}", fleet.story());
    fleet.release("3", "none", "Version 3");
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["3"; 4]);
    assert_eq!(proposals(&fleet), 1);
    fleet.audit();
}

#[test]
fn a_revert_that_conflicts_waits_on_a_branch_that_a_person_merges() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let base = fleet.tip(MAIN);
    let good = fleet.trees();
    let mut running = fleet.background();
    // The canary keeps answering for the old version until the next commit has landed.
    fleet.force("westus3", Some((200, r#"{"version":"1"}"#)));
    let entries = fleet.log().len();
    let bad = fleet.release("2", "westus3", "Version 2");
    fleet.wait_for(&mut running, "RolloutOpened", entries);
    let later = fleet.publish(
        &[
            ("values/app.yaml", &app("3", "none")),
            ("notes.md", "Who to call\n"),
        ],
        "Version 3",
    );
    fleet.wait_until(&mut running, "the queue", |fleet| {
        fleet.status(&[])["queued"] == serde_json::json!([later])
    });
    fleet.force("westus3", None);
    fleet.wait_for(&mut running, "Reverted", entries);
    stop(running);
    fleet.settle(5);
    assert_eq!(fleet.trees(), good, "a conflict blocks no give-back");
    assert_eq!(fleet.tip(MAIN), later, "main is left to people");
    assert_eq!(fleet.state(), "RolledBack");
    assert!(
        fleet.holds().contains(&"RevertPullRequest".to_owned()),
        "{:?}",
        fleet.holds()
    );
    let rollout = fleet.newest("Failed").rollout().unwrap().to_owned();
    let branch = format!("refs/heads/tidegate-revert/{rollout}");
    let revert = fleet.tip(&branch);
    assert_eq!(
        fleet.git(&["log", "-1", "--format=%P %s", &revert]),
        format!("{bad} Revert \"Version 2\"")
    );
    assert_eq!(
        fleet.git(&["rev-parse", &format!("{revert}^{{tree}}")]),
        fleet.git(&["rev-parse", &format!("{base}^{{tree}}")])
    );
    let status = fleet.status(&[]);
    let hold = status["holds"]
        .as_array()
        .unwrap()
        .iter()
        .find(|hold| hold["reason"] == "RevertPullRequest")
        .unwrap();
    let message = hold["message"].as_str().unwrap();
    assert!(
        message.contains("conflicts with later commits in values/app.yaml"),
        "{message}"
    );
    assert!(
        message.contains("resolve that in the pull request"),
        "{message}"
    );

    // A person merges it and resolves the conflict: the version goes back, the notes stay.
    let entries = fleet.log().len();
    fleet.work.git(&["fetch", "-q", "origin", &branch]);
    let merged = try_git(
        &fleet.work.path(""),
        &["merge", "-q", "--no-ff", "--no-commit", "FETCH_HEAD"],
    );
    assert!(!merged.status.success(), "it conflicts as was said");
    fleet.work.write("values/app.yaml", app("1", "none"));
    fleet.work.commit("Merge the revert");
    fleet.work.push("main");
    fleet.settle(0);
    assert_eq!(fleet.holds(), [""; 0], "{}", fleet.story());
    assert_eq!(fleet.kinds(entries), ["NoChange"], "{}", fleet.story());
    assert_eq!(fleet.trees(), good);
    assert_eq!(fleet.git(&["show", "main:notes.md"]), "Who to call");
    fleet.release("4", "none", "Version 4");
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["4"; 4]);
    fleet.audit();
}

#[test]
fn revert_by_pull_request_and_never_leave_main_alone() {
    let policy = |source: &str| {
        let line = format!("onFailure: revert\nrevert: {{ source: {source} }}\n");
        Fleet::with(|text| text.replace("onFailure: revert\n", &line))
    };
    let fleet = policy("pullRequest");
    fleet.settle(0);
    let bad = fleet.release("2", "westus3", "Version 2");
    fleet.settle(4);
    assert_eq!(fleet.tip(MAIN), bad);
    assert_eq!(fleet.holds(), ["RevertPullRequest", "Quarantined"]);
    let rollout = fleet.newest("Failed").rollout().unwrap().to_owned();
    fleet.tip(&format!("refs/heads/tidegate-revert/{rollout}"));
    fleet.audit();

    let fleet = policy("never");
    fleet.settle(0);
    let good = fleet.trees();
    let bad = fleet.release("2", "westus3", "Version 2");
    fleet.settle(4);
    assert_eq!(fleet.tip(MAIN), bad);
    assert_eq!(fleet.trees(), good);
    assert_eq!(
        fleet.git(&["for-each-ref", "refs/heads/tidegate-revert"]),
        ""
    );
    // The head is still what failed: it is not opened again by itself, and a mended one is held until it says so.
    fleet.settle(5);
    assert_eq!(fleet.holds(), ["Quarantined"]);
    fleet.publish(
        &[("values/app.yaml", &app("3", "none"))],
        &format!("Version 3\n\nTidegate-Fixes: {bad}\n"),
    );
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["3"; 4]);
    fleet.audit();
}

#[test]
fn a_range_is_cut_around_a_change_of_policy() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let entries = fleet.log().len();
    // Content, policy, content: pushed at once, never in one rollout.
    fleet.work.write("values/app.yaml", app("2", "none"));
    let before = fleet.work.commit("Version 2");
    fleet.work.write(
        "tidegate.yaml",
        super::fleet::FLEET.replace("bake: 0s", "bake: 100ms"),
    );
    fleet.work.commit("Bake longer");
    let after = fleet.release("3", "none", "Version 3");
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["3"; 4]);
    assert_eq!(fleet.holds(), [""; 0]);
    let sources: Vec<String> = fleet
        .log()
        .into_iter()
        .skip(entries)
        .filter(|entry| entry.kind == "RolloutOpened")
        .map(|entry| entry.one("Tidegate-Source").unwrap().to_owned())
        .collect();
    assert!(sources.len() >= 2, "{}", fleet.story());
    assert_eq!(sources.first(), Some(&before));
    assert_eq!(sources.last(), Some(&after));
    fleet.audit();
}

#[test]
fn a_superseded_change_of_policy_is_not_gone_back_to() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let entries = fleet.log().len();
    // A policy that holds at the canary: the region answers an old revision, and is given two seconds.
    let strict = super::fleet::FLEET.replace(
        "    bake: 0s\n  - name: pilot",
        "    bake: 0s\n    progressDeadline: 8s\n  - name: pilot",
    ) + "guards: { policyWithContent: allow }\n";
    let allowed = fleet.publish(
        &[(
            "tidegate.yaml",
            &(super::fleet::FLEET.to_owned() + "guards: { policyWithContent: allow }\n"),
        )],
        "Allow both at once",
    );
    fleet.settle(0);
    fleet.work.write("tidegate.yaml", strict);
    fleet.force("westus3", Some((302, "")));
    let mut running = fleet.background();
    let held = fleet.release("2", "none", "Version 2, and less patience");
    fleet.wait_until(&mut running, "it is held", |fleet| {
        fleet.holds() == ["Unreachable"]
    });
    fleet.force("westus3", None);
    let newer = fleet.release("3", "none", "Version 3");
    fleet.wait_until(&mut running, "the newest", |fleet| {
        fleet.versions() == ["3"; 4] && fleet.state() == "Succeeded"
    });
    stop(running);
    let sources: Vec<String> = fleet
        .log()
        .into_iter()
        .skip(entries)
        .filter(|entry| entry.kind == "RolloutOpened")
        .map(|entry| entry.one("Tidegate-Source").unwrap().to_owned())
        .collect();
    assert_eq!(sources.first(), Some(&allowed));
    assert_eq!(
        sources.iter().filter(|source| **source == held).count(),
        1,
        "{sources:?}"
    );
    assert_eq!(sources.last(), Some(&newer));
    fleet.audit();
}
