//! Commits that are held before anything moves, and what lets them through.

use super::fleet::{Fleet, WAVES, app};

impl Fleet {
    /// The head is held for this reason, before anything moved; approved, it goes through.
    fn is_held_until_approved(&self, reason: &str) {
        let main = self.tip(super::fleet::MAIN);
        let before: Vec<String> = WAVES.iter().map(|wave| self.wave(wave)).collect();
        let entries = self.log().len();
        self.settle(5);
        assert_eq!(self.holds(), [reason], "{}", self.story());
        assert_eq!(self.kinds(entries), ["Held"]);
        let held = self.newest("Held");
        assert_eq!(held.one("Tidegate-Source"), Some(main.as_str()));
        assert!(
            held.message.starts_with(&format!("Held: {reason}: ")),
            "{}",
            held.message
        );
        let after: Vec<String> = WAVES.iter().map(|wave| self.wave(wave)).collect();
        assert_eq!(after, before, "nothing moved");
        // Said once.
        self.settle(5);
        assert_eq!(self.log().len(), entries + 1);

        let request = self.request("approve", &[("To", &main)], "it is meant");
        self.settle(0);
        assert_eq!(self.answer(&request).as_deref(), Some("accepted"));
        let kinds = self.kinds(entries);
        assert_eq!(
            kinds[..3],
            ["Held", "Requested", "RolloutOpened"],
            "{kinds:?}"
        );
        assert_eq!(kinds.last().map(String::as_str), Some("Succeeded"));
        assert_eq!(self.holds(), [""; 0]);
        self.audit();
    }
}

#[test]
fn many_deletions_wait_for_approval() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.work.remove("templates/one.yaml");
    fleet.work.remove("templates/two.yaml");
    fleet.publish(&[], "Two of five objects go");
    fleet.is_held_until_approved("DeletionGuard");
    assert_eq!(
        fleet.git(&["ls-tree", "-r", "--name-only", "tidegate/broad"]),
        "uksouth/app.yaml\nuksouth/namespace.yaml\nuksouth/three.yaml"
    );
}

#[test]
fn the_deletion_of_a_namespace_waits_for_approval_and_one_of_five_does_not() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.work.remove("templates/one.yaml");
    fleet.publish(&[], "One of five objects goes");
    fleet.settle(0);
    fleet.work.remove("templates/namespace.yaml");
    fleet.publish(&[], "The namespace goes");
    fleet.is_held_until_approved("ProtectedKind");
}

#[test]
fn a_removed_region_waits_for_approval_and_leaves_regions_json_first() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.work.remove("regions/northeurope.yaml");
    fleet.publish(&[], "Leave Northern Europe");
    fleet.is_held_until_approved("RegionRemoval");
    assert_eq!(fleet.tree("pilot", "northeurope"), None);
    assert!(fleet.tree("pilot", "eastus").is_some());
    // First out of regions.json, then its folder by an intent after that entry.
    let log = fleet.log();
    let named = |id: &str| {
        fleet
            .regions_json(id)
            .iter()
            .any(|region| region["name"] == "northeurope")
    };
    let leave = log
        .iter()
        .find(|entry| {
            entry
                .intents()
                .iter()
                .any(|intent| fleet.trailer(&intent.new, "Tidegate-Kind") == ["leave"])
        })
        .expect("an intent for the leave");
    let unnamed = log.iter().rposition(|entry| named(&entry.id)).unwrap() + 1;
    assert!(unnamed < leave.seq, "{unnamed} {}", leave.seq);
    assert_eq!(fleet.status(&[])["lastGood"].get("northeurope"), None);
}

#[test]
fn policy_and_content_in_one_commit_wait_for_approval() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.work.write(
        "tidegate.yaml",
        super::fleet::FLEET.replace("failures: 2", "failures: 3"),
    );
    fleet.publish(&[("values/app.yaml", &app("2", "none"))], "Both at once");
    fleet.is_held_until_approved("PolicyWithContent");
    assert_eq!(fleet.versions(), ["2"; 4]);
}

#[test]
fn policy_alone_moves_nothing_and_the_guards_of_before_still_count() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let trees = fleet.trees();
    let entries = fleet.log().len();
    // A commit cannot loosen the guard that would hold it.
    let loose = format!(
        "{}guards: {{ maxDeletedObjectsPercent: 100, policyWithContent: allow }}\n",
        super::fleet::FLEET
    );
    fleet.work.remove("templates/one.yaml");
    fleet.work.remove("templates/two.yaml");
    fleet.publish(&[("tidegate.yaml", &loose)], "Loosen the guards and delete");
    fleet.settle(5);
    let mut holds = fleet.holds();
    holds.sort();
    assert_eq!(holds, ["DeletionGuard", "PolicyWithContent"]);
    assert_eq!(fleet.trees(), trees);
    // A request for another commit answers neither.
    let request = fleet.request("approve", &[("To", &"1".repeat(40))], "");
    fleet.settle(5);
    assert!(fleet.answer(&request).unwrap().starts_with("refused "));
    assert_eq!(fleet.holds().len(), 2);
    // The next commit takes the place of what is held.
    fleet.work.git(&["revert", "--no-edit", "HEAD"]);
    fleet.work.push("main");
    fleet.settle(0);
    assert_eq!(fleet.holds(), [""; 0]);
    assert_eq!(fleet.trees(), trees);
    assert!(!fleet.kinds(entries).contains(&"RolloutOpened".to_owned()));
    fleet.audit();
}
