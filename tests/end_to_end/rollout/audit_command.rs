//! `tidegate audit`: clean after every kind of story, and not after somebody has tampered with the repo.

use serde_json::Value;

use super::fleet::{Fleet, LOG, REPO, app, stop};

/// A canary that still shows the old revision: neither healthy nor harmed.
const OLD: Option<(u16, &str)> = Some((200, r#"{"version":"1"}"#));

impl Fleet {
    /// `audit -o json`, which must end with this exit code.
    fn audited(&self, more: &[&str], code: i32) -> Value {
        let answer = self.people("audit", &[&["-o", "json"], more].concat());
        assert_eq!(
            answer.code,
            Some(code),
            "{}{}",
            answer.stdout,
            answer.stderr
        );
        let report: Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(report["fleet"], "shop");
        assert_eq!(report["log"], self.tip(LOG).as_str());
        assert_eq!(report["clean"], code == 0);
        report
    }

    /// The audit finds these promises broken and no other; one finding about this ref says this.
    #[track_caller]
    fn is_found(&self, what: &str, promises: &[u64], reference: Option<&str>, says: &str) {
        let report = self.audited(&[], 4);
        let broken: Vec<u64> = report["promises"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|promise| !promise["findings"].as_array().unwrap().is_empty())
            .map(|promise| promise["number"].as_u64().unwrap())
            .collect();
        assert_eq!(broken, promises, "{what}: {report:#}");
        let found = report["promises"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|promise| promise["findings"].as_array().unwrap())
            .any(|finding| {
                finding["ref"].as_str() == reference
                    && finding["message"].as_str().unwrap().contains(says)
                    && !finding["advice"].as_str().unwrap().is_empty()
            });
        assert!(found, "{what}: {report:#}");
    }

    /// The log without one of its entries: those behind it written anew on the one before.
    fn log_without(&self, place: usize) -> String {
        let log = self.log();
        let mut tip = log[place - 1].id.clone();
        for entry in &log[place + 1..] {
            let parents = self.git(&["log", "-1", "--format=%P", &entry.id]);
            let tree = format!("{}^{{tree}}", entry.id);
            let mut arguments = vec!["commit-tree", &tree, "-p", &tip];
            for parent in parents.split(' ').skip(1) {
                arguments.extend(["-p", parent]);
            }
            arguments.extend(["-m", entry.message.trim_end()]);
            tip = self.git(&arguments);
        }
        tip
    }
}

#[test]
fn rollouts_that_succeeded_failed_were_aborted_and_superseded_audit_clean() {
    let fleet = Fleet::new();
    let none = fleet.people("audit", &[]);
    assert_eq!(none.code, Some(1), "{}", none.stderr);
    assert!(none.stderr.contains("has no log"), "{}", none.stderr);
    fleet.settle(0);
    fleet.release("2", "eastus", "Version 2 harms eastus");
    fleet.settle(4);
    fleet.work.pull("main");
    let mut running = fleet.background();
    let verifying = |fleet: &Fleet, entries: usize| {
        fleet.log().len() > entries + 1 && fleet.regions()["westus3"] == "Verifying"
    };
    fleet.force("westus3", OLD);
    let entries = fleet.log().len();
    fleet.release("3", "none", "Version 3");
    fleet.wait_until(&mut running, "the canary is asked", |fleet| {
        verifying(fleet, entries)
    });
    // Also in the middle of a rollout.
    fleet.audited(&[], 0);
    assert_eq!(fleet.ask(&mut running, "abort", &[], "not now"), "accepted");
    fleet.wait_for(&mut running, "Aborted", entries);
    let entries = fleet.log().len();
    fleet.release("4", "none", "Version 4");
    fleet.wait_until(&mut running, "the canary is asked again", |fleet| {
        verifying(fleet, entries)
    });
    let newer = fleet.release("5", "none", "Version 5");
    fleet.force("westus3", None);
    let hotfix = [("To", newer.as_str())];
    let answer = fleet.ask(&mut running, "hotfix", &hotfix, "at once");
    assert_eq!(answer, "accepted");
    fleet.wait_until(&mut running, "the hotfix is through", |fleet| {
        fleet.versions() == ["5"; 4] && fleet.state() == "Succeeded"
    });
    stop(running);
    let kinds = fleet.kinds(0);
    for kind in ["Succeeded", "Reverted", "Aborted"] {
        assert!(kinds.contains(&kind.to_owned()), "{kind}: {kinds:?}");
    }
    let report = fleet.audited(&[], 0);
    assert_eq!(report["entries"], fleet.log().len());
    let promises = report["promises"].as_array().unwrap();
    let numbers: Vec<u64> = promises
        .iter()
        .map(|promise| promise["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 7, 9]);
    for promise in promises {
        assert!(promise["checked"].as_u64().unwrap() > 0, "{promise:#}");
        assert!(promise["text"].as_str().unwrap().len() > 40);
    }
    let table = fleet.people("audit", &[]);
    assert_eq!(table.code, Some(0), "{}", table.stderr);
    assert_eq!(table.stdout.matches('✓').count(), 8, "{}", table.stdout);
    assert!(!table.stdout.contains('✗'), "{}", table.stdout);
    // With the server's credentials, over HTTP, and from a later entry on.
    let person = fleet.person("jo", "");
    let answer = fleet.call(
        &person,
        &["audit", "--since", "tidegate/log~4", "-o", "name"],
    );
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(answer.stdout, "");
}

#[test]
fn what_somebody_changed_by_hand_is_found() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.release("2", "none", "Version 2");
    fleet.settle(0);
    fleet.audited(&[], 0);
    let pilot = "refs/heads/tidegate/pilot";
    let (log, tip) = (fleet.tip(LOG), fleet.tip(pilot));

    // A rewound branch; the log keeps what was there.
    fleet.git(&["update-ref", pilot, "tidegate/pilot~1"]);
    fleet.is_found(
        "a rewound wave branch",
        &[4],
        Some(pilot),
        "no longer contains a commit that the log calls applied",
    );
    fleet.git(&["update-ref", "-d", pilot]);
    fleet.is_found(
        "a deleted wave branch",
        &[4],
        Some(pilot),
        "the branch is gone",
    );
    fleet.git(&["update-ref", pilot, &tip]);

    // A ref that is none of ours.
    let extra = "refs/heads/tidegate/extra";
    fleet.git(&["update-ref", extra, "main"]);
    fleet.is_found("an extra ref", &[5], Some(extra), "ever named this ref");
    fleet.git(&["update-ref", "-d", extra]);

    // A commit that no controller has seen yet.
    let theirs = fleet.intrude("pilot", "eastus/one.yaml", "a: 1\n");
    fleet.is_found(
        "a foreign commit",
        &[3],
        Some(pilot),
        "no entry lists it as drift",
    );
    let table = fleet.people("audit", &[]);
    assert_eq!(table.code, Some(4));
    for part in [
        "✗ promise 3: Every commit on a wave branch is the new of exactly one intent",
        &theirs[..8],
        "tidegate resume --adopt",
    ] {
        assert!(table.stdout.contains(part), "{part}: {}", table.stdout);
    }
    assert!(table.stderr.contains("1 finding"), "{}", table.stderr);
    fleet.git(&["update-ref", pilot, &tip]);

    // The log of a wave branch on the config branch.
    let main = fleet.tip("refs/heads/main");
    let merge = fleet.git(&[
        "commit-tree",
        "main^{tree}",
        "-p",
        "main",
        "-p",
        "tidegate/canary",
        "-m",
        "Merge the canary",
    ]);
    fleet.git(&["update-ref", "refs/heads/main", &merge]);
    fleet.is_found(
        "a wave merged into main",
        &[7],
        Some("refs/heads/main"),
        "a commit of a wave branch",
    );
    fleet.git(&["update-ref", "refs/heads/main", &main]);

    // The log without an entry that no branch would miss: the next rollout opens while the one before goes on.
    let entries = fleet.log();
    let place = entries
        .iter()
        .position(|entry| entry.kind == "Succeeded" && entry.closed().is_empty())
        .unwrap();
    let without = fleet.log_without(place);
    fleet.work.git(&["fetch", "-q", "origin", LOG]);
    fleet.git(&["update-ref", "refs/hidden", &without]);
    fleet.work.git(&["fetch", "-q", "origin", "refs/hidden"]);
    fleet.work.git(&[
        "push",
        "-q",
        "--force",
        "origin",
        &format!("{without}:{LOG}"),
    ]);
    fleet.git(&["update-ref", "-d", "refs/hidden"]);
    fleet.is_found(
        "a log without an entry",
        &[0, 2],
        None,
        "follows from the entry before",
    );
    fleet.git(&["update-ref", LOG, &log]);

    // An entry that somebody wrote, with the state of the one before.
    let message = format!(
        "Succeeded: all is well\n\nTidegate-Entry: Succeeded\nTidegate-Seq: {}\nTidegate-Epoch: 0",
        entries.len()
    );
    let forged = fleet.git(&[
        "commit-tree",
        "tidegate/log^{tree}",
        "-p",
        &log,
        "-m",
        &message,
    ]);
    fleet.git(&["update-ref", LOG, &forged]);
    fleet.is_found("a forged entry", &[0], None, "its state says");
    // One that says nothing at all, and has no state.
    let empty = fleet.git(&["commit-tree", "main^{tree}", "-p", &log, "-m", "hello"]);
    fleet.git(&["update-ref", LOG, &empty]);
    fleet.is_found(
        "an entry without anything",
        &[0],
        None,
        "there is no state.json",
    );
    // A log of somebody else's commits.
    fleet.git(&["update-ref", LOG, "main"]);
    let answer = fleet.people("audit", &[]);
    assert_eq!(answer.code, Some(4), "{}", answer.stderr);
    fleet.git(&["update-ref", LOG, &log]);
    fleet.audited(&[], 0);
}

#[test]
fn a_log_that_lost_its_newest_entries_is_refused_by_whoever_remembers_one() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let known = fleet.tip(LOG);
    fleet.audited(&["--expect-log", &known], 0);
    fleet.audited(&["--expect-log", &known[..10].to_uppercase()], 0);
    fleet.publish(&[("values/app.yaml", &app("2", "none"))], "Version 2");
    fleet.settle(0);
    fleet.audited(&["--expect-log", &known], 0);
    let tip = fleet.tip(LOG);
    // The end of a log is missed by nobody but whoever knows it.
    fleet.git(&["update-ref", LOG, "tidegate/log~1"]);
    fleet.audited(&[], 0);
    let report = fleet.audited(&["--expect-log", &tip], 4);
    let found = &report["promises"][0]["findings"][0]["message"];
    assert!(
        found.as_str().unwrap().contains("no longer contains entry"),
        "{found}"
    );
    // Where branches had moved, they miss it.
    fleet.git(&["update-ref", LOG, &known]);
    fleet.is_found(
        "a log rewound by a rollout",
        &[1, 3],
        Some("refs/heads/tidegate/canary"),
        "no intent of the log names it",
    );
    fleet.git(&["update-ref", "-d", LOG]);
    let gone = fleet.people("audit", &["--expect-log", &tip]);
    assert_eq!(gone.code, Some(4), "{}", gone.stderr);
    assert!(gone.stderr.contains("the log is gone"), "{}", gone.stderr);
    assert_eq!(fleet.people("audit", &[]).code, Some(1));
    fleet.git(&["update-ref", LOG, &tip]);
    for wrong in [
        &["--expect-log", "main"][..],
        &["--since", "nothing"],
        &["--since", "main"],
        &["--path", "elsewhere"],
        &["--prefix"],
    ] {
        let answer = fleet.people("audit", wrong);
        assert_eq!(answer.code, Some(2), "{wrong:?}: {}", answer.stderr);
    }
    assert_eq!(fleet.server.tip(REPO, LOG), Some(tip));
}

#[test]
fn a_log_that_was_deleted_is_not_taken_for_one_that_is_yet_to_come() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.git(&["update-ref", "-d", LOG]);
    // Of a fleet whose branches are all below ours.
    fleet.git(&["branch", "tidegate/other/canary", "main"]);
    for command in ["audit", "status", "explain"] {
        let said = fleet.people(command, &[]);
        assert_eq!(said.code, Some(1), "{}", said.stderr);
        for words in [
            "has no log: there is",
            "tidegate/canary",
            "do not begin anew",
        ] {
            assert!(said.stderr.contains(words), "{command}: {}", said.stderr);
        }
        assert!(
            !said.stderr.contains("tidegate/other"),
            "{command}: {}",
            said.stderr
        );
    }
}
