//! What people and accidents do to the branches: seen, held, never fought, never taken for more than it is.

use super::fleet::{Fleet, LOG, MAIN, REPO, app, config_map, stop};

const ZEROS: &str = "0000000000000000000000000000000000000000";

impl Fleet {
    /// Somebody pushes a file to a wave branch; gives the commit.
    pub(super) fn intrude(&self, wave: &str, path: &str, content: &str) -> String {
        let branch = format!("tidegate/{wave}");
        self.work
            .git(&["fetch", "-q", "origin", &format!("refs/heads/{branch}")]);
        let blob = {
            self.work.write(".git/intruder", content);
            self.work
                .git(&["hash-object", "-t", "blob", "-w", ".git/intruder"])
        };
        let folder = self.work.git(&["rev-parse", "--git-dir"]);
        assert_eq!(folder, ".git");
        // An index of its own, so that the engineer's is left alone.
        self.work.git(&["read-tree", "FETCH_HEAD"]);
        self.work.git(&[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("100644,{blob},{path}"),
        ]);
        let tree = self.work.git(&["write-tree"]);
        let commit = self.work.git(&[
            "commit-tree",
            &tree,
            "-p",
            "FETCH_HEAD",
            "-m",
            "A quick fix by hand",
        ]);
        self.work.git(&["read-tree", "HEAD"]);
        self.work.git(&[
            "push",
            "-q",
            "origin",
            &format!("{commit}:refs/heads/{branch}"),
        ]);
        commit
    }

    /// The `Drift` entry that names this commit, and nothing but it.
    fn drifted(&self, wave: &str, commit: &str) {
        let drift = self.newest("Drift");
        assert_eq!(
            drift.all("Tidegate-Drift"),
            [format!("refs/heads/tidegate/{wave} {commit}")]
        );
    }
}

#[test]
fn a_push_to_a_wave_branch_when_idle_is_held_and_ours_come_back_on_top_of_it() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let good = fleet.trees();
    let entries = fleet.log().len();
    let theirs = fleet.intrude("pilot", "eastus/one.yaml", &config_map("one", "99"));
    fleet.settle(5);
    assert_eq!(fleet.kinds(entries), ["Drift"]);
    fleet.drifted("pilot", &theirs);
    assert_eq!(fleet.holds(), ["Drift"]);
    assert_eq!(fleet.wave("pilot"), theirs, "it is left where it is");
    fleet.settle(5);
    assert_eq!(fleet.kinds(entries), ["Drift"], "said once");
    // Nothing opens meanwhile.
    fleet.release("2", "none", "Version 2");
    fleet.settle(5);
    assert_eq!(fleet.kinds(entries), ["Drift"]);
    let request = fleet.request("resume", &[("Option", "restore")], "that was a mistake");
    fleet.settle(0);
    assert_eq!(fleet.answer(&request).as_deref(), Some("accepted"));
    let restored = fleet.git(&[
        "rev-list",
        "--first-parent",
        "--reverse",
        &format!("{theirs}..tidegate/pilot"),
    ]);
    let restored = restored.lines().next().unwrap();
    assert_eq!(fleet.trailer(restored, "Tidegate-Kind"), ["restore"]);
    assert_eq!(fleet.git(&["log", "-1", "--format=%P", restored]), theirs);
    assert_eq!(
        fleet.server.tip(REPO, &format!("{restored}:eastus")),
        good[1]
    );
    assert_eq!(fleet.versions(), ["2"; 4]);
    fleet.audit_but_for(&[&theirs]);
}

#[test]
fn an_adopted_push_stays_until_the_next_commit_brings_another_tree() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let theirs = fleet.intrude("pilot", "eastus/one.yaml", &config_map("one", "99"));
    fleet.settle(5);
    let request = fleet.request(
        "resume",
        &[("Option", "adopt"), ("Wave", "pilot")],
        "that is right",
    );
    fleet.settle(0);
    assert_eq!(fleet.answer(&request).as_deref(), Some("accepted"));
    assert_eq!(fleet.holds(), [""; 0]);
    assert_eq!(fleet.trailer("tidegate/pilot", "Tidegate-Kind"), ["adopt"]);
    assert_eq!(fleet.git(&["diff", &theirs, "tidegate/pilot"]), "");
    fleet.release("2", "none", "Version 2");
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["2"; 4]);
    assert!(
        !fleet
            .git(&["show", "tidegate/pilot:eastus/one.yaml"])
            .contains("99")
    );
    fleet.audit_but_for(&[&theirs]);
}

#[test]
fn drift_during_a_rollout_holds_it_and_blocks_no_revert_of_the_others() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let good = fleet.trees();
    let entries = fleet.log().len();
    let mut running = fleet.background();
    fleet.force("northeurope", Some((200, r#"{"version":"1"}"#)));
    let bad = fleet.release("2", "northeurope", "Version 2");
    fleet.wait_until(&mut running, "the second wave is asked", |fleet| {
        fleet.log().len() > entries + 1
            && fleet.regions()["northeurope"] == "Verifying"
            && fleet.regions()["eastus"] == "Done"
    });
    let theirs = fleet.intrude("pilot", "eastus/one.yaml", &config_map("one", "99"));
    let drift = fleet.wait_for(&mut running, "Drift", entries);
    assert_eq!(drift.rollout().map(|id| &id[..8]), Some(&bad[..8]));
    fleet.drifted("pilot", &theirs);
    assert_eq!(fleet.holds(), ["Drift"]);
    assert_eq!(fleet.state(), "Held");
    // It turns bad: whoever still has the tree that we put there is given back, the other is left alone.
    fleet.force("northeurope", None);
    let reverted = fleet.wait_for(&mut running, "Reverted", entries);
    assert_eq!(reverted.rollout(), drift.rollout());
    assert_eq!(fleet.state(), "RollbackIncomplete");
    assert_eq!(fleet.trees()[0], good[0]);
    assert_eq!(fleet.trees()[2], good[2]);
    assert_eq!(fleet.regions()["eastus"], "Preempted");
    assert_eq!(fleet.regions()["northeurope"], "Reverted");
    assert!(
        fleet
            .git(&["show", "tidegate/pilot:eastus/one.yaml"])
            .contains("99")
    );
    assert_eq!(fleet.git(&["log", "-1", "--format=%P", MAIN]), bad);
    assert_eq!(fleet.holds(), ["Drift"]);
    // Put back: the last good tree, not the one that failed.
    assert_eq!(
        fleet.ask(&mut running, "resume", &[("Option", "restore")], "ours"),
        "accepted"
    );
    fleet.wait_until(&mut running, "eastus has its last good tree", |fleet| {
        fleet.trees() == good
    });
    stop(running);
    fleet.settle(0);
    assert_eq!(fleet.holds(), [""; 0]);
    fleet.audit_but_for(&[&theirs]);
}

#[test]
fn a_deleted_wave_branch_comes_back_only_when_somebody_says_so() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let tip = fleet.wave("pilot");
    let entries = fleet.log().len();
    fleet
        .work
        .git(&["push", "-q", "origin", ":refs/heads/tidegate/pilot"]);
    fleet.settle(5);
    assert_eq!(fleet.kinds(entries), ["Held"]);
    assert_eq!(fleet.holds(), ["BranchDeleted"]);
    fleet.release("2", "none", "Version 2");
    fleet.settle(5);
    assert_eq!(fleet.server.tip(REPO, "refs/heads/tidegate/pilot"), None);
    assert_eq!(fleet.kinds(entries), ["Held"]);
    let request = fleet.request("resume", &[("Option", "restore")], "");
    fleet.settle(0);
    assert_eq!(fleet.answer(&request).as_deref(), Some("accepted"));
    let back = fleet.journal().into_iter().find(|update| {
        update.name == "refs/heads/tidegate/pilot" && update.old == ZEROS && update.new == tip
    });
    assert!(
        back.is_some(),
        "an intent from zeros to its last applied tip"
    );
    assert_eq!(fleet.versions(), ["2"; 4]);
    fleet.audit_but_for(&[ZEROS]);
}

#[test]
fn a_rewound_wave_branch_is_held() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.release("2", "none", "Version 2");
    fleet.settle(0);
    let before = fleet.git(&["rev-parse", "tidegate/pilot~1"]);
    fleet.git(&["update-ref", "refs/heads/tidegate/pilot", &before]);
    let journal = fleet.journal().len();
    fleet.settle(5);
    assert_eq!(fleet.holds(), ["HistoryRewritten"]);
    let moved: Vec<String> = fleet.journal()[journal..]
        .iter()
        .map(|update| update.name.clone())
        .collect();
    assert_eq!(moved, [LOG], "only the hold is written");
}

#[test]
fn a_rewritten_config_branch_is_held_until_somebody_takes_it_as_it_is() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.release("2", "none", "Version 2");
    fleet.settle(0);
    let trees = fleet.trees();
    let entries = fleet.log().len();
    fleet.work.git(&["reset", "-q", "--hard", "HEAD~1"]);
    fleet.work.write("values/app.yaml", app("3", "none"));
    fleet.work.commit("Version 3, instead of 2");
    fleet
        .work
        .git(&["push", "-q", "--force", "origin", "HEAD:main"]);
    fleet.settle(5);
    assert_eq!(fleet.kinds(entries), ["Held"]);
    assert_eq!(fleet.holds(), ["HistoryRewritten"]);
    assert_eq!(fleet.trees(), trees);
    let request = fleet.request("resume", &[], "we know");
    fleet.settle(0);
    assert_eq!(fleet.answer(&request).as_deref(), Some("accepted"));
    assert_eq!(fleet.versions(), ["3"; 4]);
    fleet.audit();
}

/// A fleet whose newest commit was pushed away again while it was rolled out; its trees and its config branch as they
/// were before that commit.
fn pushed_away_under_way() -> (Fleet, Vec<Option<String>>, String) {
    let fleet = Fleet::new();
    fleet.settle(0);
    let trees = fleet.trees();
    let head = fleet.tip(MAIN);
    let mut controller = fleet.background();
    // Held where it is, so that the branch is rewritten in the middle of it.
    fleet.server.hold(REPO, "refs/heads/tidegate/pilot");
    fleet.release("2", "none", "Version 2");
    fleet.wait_until(&mut controller, "the second wave's push", |fleet| {
        fleet.server.has_held(REPO, "refs/heads/tidegate/pilot")
    });
    fleet.git(&["update-ref", MAIN, &head]);
    fleet.server.release(REPO);
    fleet.wait_for(&mut controller, "Held", 0);
    stop(controller);
    (fleet, trees, head)
}

#[test]
fn a_commit_that_is_pushed_away_under_way_is_held_and_taken_back_on_request() {
    let (fleet, trees, head) = pushed_away_under_way();
    assert_eq!(fleet.holds(), ["HistoryRewritten"]);
    assert_ne!(fleet.trees(), trees, "the first waves have it");
    let request = fleet.request("abort", &[], "it was pushed away on purpose");
    fleet.settle(4);
    assert_eq!(fleet.answer(&request).as_deref(), Some("accepted"));
    assert_eq!(fleet.trees(), trees);
    assert!(fleet.holds().is_empty(), "{}", fleet.story());
    assert_eq!(fleet.tip(MAIN), head, "the config branch is the person's");
    fleet.audit();
}

#[test]
fn a_commit_that_is_on_no_branch_any_more_is_taken_back_by_who_never_had_it() {
    let (fleet, trees, head) = pushed_away_under_way();
    // Another machine, whose mirror has only what branches lead to.
    fleet.forget_data();
    let request = fleet.request("revert", &[], "take it back");
    let answer = fleet.run();
    assert_eq!(fleet.answer(&request).as_deref(), Some("accepted"));
    assert_eq!(fleet.trees(), trees, "{}", answer.stderr);
    assert_eq!(fleet.holds(), ["RevertImpossible"], "{}", fleet.story());
    assert_eq!(fleet.tip(MAIN), head, "the config branch is the person's");
    fleet.audit();
}

#[test]
fn a_deleted_config_branch_deletes_nothing() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let trees = fleet.trees();
    let entries = fleet.log().len();
    let head = fleet.tip(MAIN);
    fleet.git(&["update-ref", "-d", MAIN]);
    fleet.settle(5);
    assert_eq!(fleet.kinds(entries), ["Held"]);
    assert_eq!(fleet.holds(), ["BranchDeleted"]);
    assert_eq!(fleet.trees(), trees);
    fleet.git(&["update-ref", MAIN, &head]);
    fleet.settle(0);
    assert_eq!(fleet.kinds(entries), ["Held", "Resumed"]);
    assert_eq!(fleet.trees(), trees);
    fleet.audit();
}

#[test]
fn a_rewound_or_deleted_log_is_never_written_to() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let tip = fleet.tip(LOG);
    let before = fleet.git(&["rev-parse", "tidegate/log~3"]);
    let held = |fleet: &Fleet, what: &str| {
        let journal = fleet.journal().len();
        let answer = fleet.run();
        assert_eq!(answer.code, Some(5), "{what}: {}", answer.stderr);
        assert!(answer.stderr.contains("log"), "{what}: {}", answer.stderr);
        assert_eq!(
            fleet.journal().len(),
            journal,
            "{what}: something was pushed"
        );
    };
    fleet.release("2", "none", "Version 2");
    fleet.git(&["update-ref", LOG, &before]);
    held(&fleet, "rewound");
    fleet.git(&["update-ref", "-d", LOG]);
    held(&fleet, "deleted");
    // Also by a controller that has never seen it: the wave branches are there.
    fleet.forget_data();
    held(&fleet, "deleted, and no data folder");
    assert_eq!(fleet.versions(), ["1"; 4]);
    // Put back by hand, it goes on.
    fleet.git(&["update-ref", LOG, &tip]);
    fleet.settle(0);
    assert_eq!(fleet.versions(), ["2"; 4]);
}

#[test]
fn a_log_entry_that_somebody_wrote_by_hand_is_no_entry() {
    let fleet = Fleet::new();
    fleet.settle(0);
    // With the trailers of a success, and the state of the entry before.
    fleet.work.git(&["fetch", "-q", "origin", LOG]);
    let forged = fleet.work.git(&[
        "commit-tree",
        "FETCH_HEAD^{tree}",
        "-p",
        "FETCH_HEAD",
        "-m",
        &format!(
            "Succeeded: all is well\n\nTidegate-Entry: Succeeded\nTidegate-Seq: {}\nTidegate-Epoch: 0\n",
            fleet.log().len()
        ),
    ]);
    fleet
        .work
        .git(&["push", "-q", "origin", &format!("{forged}:{LOG}")]);
    let journal = fleet.journal().len();
    fleet.release("2", "none", "Version 2");
    let answer = fleet.run();
    assert_eq!(answer.code, Some(5), "{}", answer.stderr);
    let moved: Vec<String> = fleet.journal()[journal..]
        .iter()
        .map(|update| update.name.clone())
        .collect();
    assert_eq!(moved, [MAIN], "nothing but the engineer's push");
}

#[test]
fn text_from_outside_is_never_read_as_a_trailer() {
    let forged = "Tidegate-Entry: Succeeded\nTidegate-Seq: 0\nTidegate-Rollout: forged-1\nTidegate-Kind: adopt\nTidegate-Wave: forged\nTidegate-Source: forged";
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.request(
        "resume",
        &[],
        &format!("because\n\n{forged}\n\n{}", forged.replace('\n', "\n\n")),
    );
    fleet.settle(0);
    // A subject that looks like trailers, a body that ends in them.
    let subject = "Tidegate-Entry: Succeeded";
    let entries = fleet.log().len();
    let mut running = fleet.background();
    fleet.force("westus3", Some((200, r#"{"version":"1"}"#)));
    let bad = fleet.publish(
        &[("values/app.yaml", &app("2", "none"))],
        &format!("{subject}\n\n{forged}\n"),
    );
    fleet.wait_until(&mut running, "the canary is asked", |fleet| {
        fleet.log().len() > entries + 1 && fleet.regions()["westus3"] == "Verifying"
    });
    // And an answer of the app that does.
    let lines = forged.replace('\n', "\\n");
    fleet.force(
        "westus3",
        Some((200, &format!(r#"{{"version":"3\n\n{lines}\n"}}"#))),
    );
    fleet.wait_for(&mut running, "NoChange", entries);
    stop(running);
    // Reading the log demands one entry kind and one number of each entry.
    let log = fleet.log();
    fleet.audit();
    assert!(
        log.iter().any(|entry| entry.message.contains("forged")),
        "it was shown"
    );
    for entry in &log {
        assert!(
            !entry
                .trailers
                .iter()
                .any(|(_, value)| value.contains("forged")),
            "{}",
            entry.message
        );
    }
    assert_eq!(
        fleet.newest("Failed").rollout().map(|id| &id[..8]),
        Some(&bad[..8])
    );
    let revert = fleet.tip(MAIN);
    assert_eq!(fleet.git(&["log", "-1", "--format=%P", &revert]), bad);
    assert_eq!(
        fleet.git(&["log", "-1", "--format=%s", &revert]),
        format!("Revert \"{subject}\"")
    );
    assert_eq!(fleet.trailer(&revert, "Tidegate-Entry"), [""; 0]);
    assert_eq!(fleet.trailer(&revert, "Tidegate-Reason").len(), 1);
    for wave in super::fleet::WAVES {
        let branch = format!("tidegate/{wave}");
        for commit in fleet.git(&["rev-list", &branch]).lines() {
            assert_eq!(fleet.trailer(commit, "Tidegate-Wave"), [wave]);
            assert_eq!(fleet.trailer(commit, "Tidegate-Kind").len(), 1);
        }
    }
}
