//! The files of the log's tree: an entry that an older version wrote stays readable, a newer one is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::properties::config;
use super::world::{Fault, Spec, World, wave_ref};
use crate::log::{DraftIntent, EntryKind, FolderChange, Intent, MoveKind, SCHEMA};
use crate::oid::Oid;
use crate::rollout::{Branch, FleetState, StateFilesError, from_files, to_files};

/// The files of an entry as schema 1 wrote them: the middle of a rollout, with a failure behind it.
const SCHEMA_1: &str = include_str!("fixtures/schema-1.json");
/// The same as schema 2 wrote them.
const SCHEMA_2: &str = include_str!("fixtures/schema-2.json");
/// The same as schema 3 wrote them.
const SCHEMA_3: &str = include_str!("fixtures/schema-3.json");

fn fixture(text: &str) -> BTreeMap<String, Vec<u8>> {
    let files: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    files
        .into_iter()
        .map(|(path, content)| (path, serde_json::to_vec(&content).unwrap()))
        .collect()
}

/// The world that the fixture was written from.
fn world() -> World {
    let mut world = World::settled(Spec::small());
    world.bad_words.insert("v2".to_owned());
    world.commit(&[("all", "v2")]);
    world.run();
    world.commit(&[("all", "v3")]);
    world.faults.insert(wave_ref("pilot"), Fault::Lost);
    world.run_until_last(EntryKind::WavePassed);
    world
}

#[test]
fn an_entry_that_any_schema_wrote_is_readable() {
    for text in [SCHEMA_1, SCHEMA_2, SCHEMA_3] {
        let state = from_files(&fixture(text)).unwrap();
        // What follows on it is written as this version writes.
        assert_eq!(state.schema, SCHEMA);
        assert_eq!(state.fleet.name, "payments");
        assert_eq!(state.last_good.len(), 5);
        assert_eq!(state.quarantine.len(), 1);
        assert_eq!(state.placements.len(), 5);
        let rollout = state.active().unwrap();
        assert_eq!(rollout.waves.len(), 3);
        assert!(rollout.waves[0].state.is_passed());
        assert!(!state.intents.is_empty());
        assert!(!state.branches["canary"].ours.is_empty());
        assert_eq!(from_files(&to_files(&state)).unwrap(), state);
    }
}

/// The fixture with a change of one of its files.
fn changed(file: &str, change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut content: serde_json::Value = serde_json::from_slice(&fixture(SCHEMA_3)[file]).unwrap();
    change(&mut content);
    serde_json::to_vec(&content).unwrap()
}

/// Expects the fixture to be refused with these words, once a file of it was changed.
#[track_caller]
fn refused(file: &str, says: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let mut files = fixture(SCHEMA_3);
    files.insert(file.to_owned(), changed(file, change));
    let why = from_files(&files).unwrap_err().to_string();
    assert!(why.contains(file) && why.contains(says), "{why}");
}

#[test]
fn a_region_of_which_nothing_is_known_is_refused_and_never_becomes_a_removal() {
    for (list, elsewhere) in [("asPlanned", "plan.json"), ("asLastGood", "last-good.json")] {
        let says = format!("{list} names \"nowhere\", of which {elsewhere} says no tree");
        refused("state.json", &says, |state| {
            state["intents"][0][list] = serde_json::json!(["nowhere"]);
        });
        refused("branches/canary.json", &says, |branch| {
            branch[list] = serde_json::json!(["nowhere"]);
        });
        refused(
            "state.json",
            &format!("{list} names 7, of which"),
            |state| {
                state["intents"][0][list] = serde_json::json!([7]);
            },
        );
        refused("state.json", &format!("{list} is no list"), |state| {
            state["intents"][0][list] = serde_json::json!("r1");
        });
    }
}

#[test]
fn a_region_that_is_named_twice_is_refused() {
    let twice = "it names region r1 twice";
    refused("state.json", twice, |state| {
        state["intents"][0]["asLastGood"] = serde_json::json!(["r1"]);
    });
    refused("state.json", twice, |state| {
        state["intents"][0]["asPlanned"] = serde_json::json!(["r1", "r1"]);
    });
    refused("state.json", twice, |state| {
        let change = serde_json::json!({ "region": "r1", "tree": null });
        state["intents"][0]["folders"] = serde_json::json!([change]);
    });
    refused(
        "branches/canary.json",
        "it names region r0 twice",
        |branch| {
            branch["asPlanned"] = serde_json::json!(["r0"]);
            branch["asLastGood"] = serde_json::json!(["r0"]);
        },
    );
}

#[test]
fn a_batch_in_the_order_of_names_is_written_by_its_names_alone() {
    let mut state = world().state().clone();
    let plan = Arc::clone(&state.rollout.as_ref().unwrap().plan);
    state.intents[0].draft.folders = plan
        .regions
        .iter()
        .map(|(region, planned)| FolderChange {
            region: region.clone(),
            tree: Some(planned.tree),
        })
        .collect();
    let text = String::from_utf8(to_files(&state).remove("state.json").unwrap()).unwrap();
    for planned in plan.regions.values() {
        assert!(!text.contains(&planned.tree.to_string()), "{text}");
    }
    assert_eq!(from_files(&to_files(&state)).unwrap(), state);
}

#[test]
fn what_holds_for_many_regions_is_written_once() {
    let world = world();
    let files = to_files(world.state());
    let wave: serde_json::Value = serde_json::from_slice(&files["waves/broad.json"]).unwrap();
    let regions = world.state().rollout.as_ref().unwrap().waves[2]
        .regions
        .len();
    assert!(regions > 1);
    assert_eq!(wave["regions"].as_array().unwrap().len(), 1, "{wave}");
    for (path, content) in &files {
        let text = String::from_utf8_lossy(content);
        if path.starts_with("branches/") {
            // The tip, and at most what neither the plan nor the last good has.
            assert!(text.matches("\": \"").count() <= 2, "{path}: {text}");
        }
    }
    // Nor do the moves of a whole story say a tree that a file beside them says.
    let mut promoted = 0;
    for logged in &world.log {
        let files = to_files(&logged.state);
        let state: serde_json::Value = serde_json::from_slice(&files["state.json"]).unwrap();
        for intent in state["intents"].as_array().unwrap() {
            if intent["kind"] == "promote" {
                promoted += 1;
                assert_eq!(intent["folders"].as_array().unwrap().len(), 0, "{intent}");
            }
        }
    }
    assert!(promoted > 0);
}

#[test]
fn every_state_of_a_story_survives_its_files() {
    for logged in &world().log {
        let files = to_files(&logged.state);
        assert_eq!(from_files(&files).unwrap(), logged.state);
        assert!(files.contains_key("regions.json"));
    }
}

#[test]
fn a_newer_schema_is_refused_with_what_to_do() {
    let mut files = fixture(SCHEMA_3);
    let mut state: serde_json::Value = serde_json::from_slice(&files["state.json"]).unwrap();
    state["schema"] = (SCHEMA + 1).into();
    files.insert("state.json".to_owned(), serde_json::to_vec(&state).unwrap());
    let error = from_files(&files).unwrap_err();
    assert!(matches!(error, StateFilesError::NewerSchema { found: 4 }));
    assert!(error.to_string().contains("newer Tidegate"), "{error}");
}

#[test]
fn a_missing_or_broken_file_is_named() {
    for file in [
        "state.json",
        "last-good.json",
        "regions.json",
        "waves/canary.json",
    ] {
        let mut files = fixture(SCHEMA_3);
        files.remove(file);
        let error = from_files(&files).unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
        files.insert(file.to_owned(), b"{".to_vec());
        let error = from_files(&files).unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
    }
}

/// Writes the fixture anew: only to be run when a new schema begins, into a file of its own.
#[test]
#[ignore = "it writes a fixture"]
fn write_the_fixture() {
    let files: BTreeMap<String, serde_json::Value> = to_files(world().state())
        .into_iter()
        .map(|(path, content)| (path, serde_json::from_slice(&content).unwrap()))
        .collect();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/rollout/tests/fixtures/schema-3.json"
    );
    let text = serde_json::to_string_pretty(&files).unwrap();
    std::fs::write(path, text + "\n").unwrap();
}

const REGIONS: [&str; 7] = ["r0", "r1", "r2", "r3", "r4", "r5", "r6"];

fn tree(number: u8) -> Oid {
    Oid::from_bytes([number; 20])
}

/// A tree, or none, for each region; few, so that they are often those of the plan or the last good.
fn trees() -> impl Strategy<Value = Vec<(String, Option<Oid>)>> {
    proptest::collection::vec(proptest::option::of(1_u8..4), REGIONS.len()).prop_map(|trees| {
        REGIONS
            .iter()
            .zip(trees)
            .map(|(region, number)| ((*region).to_owned(), number.map(tree)))
            .collect()
    })
}

/// Changes of some folders, in the order of names or in any other, some of them removals.
fn batch() -> impl Strategy<Value = Vec<FolderChange>> {
    let some = proptest::sample::subsequence((0..REGIONS.len()).collect::<Vec<_>>(), 0..7);
    let order = prop_oneof![some.clone(), some.prop_shuffle()];
    (trees(), order).prop_map(|(trees, order)| {
        order
            .into_iter()
            .map(|index| FolderChange {
                region: trees[index].0.clone(),
                tree: trees[index].1,
            })
            .collect()
    })
}

fn any_state(
    planned: Vec<(String, Option<Oid>)>,
    good: Vec<(String, Option<Oid>)>,
    folders: Vec<(String, Option<Oid>)>,
    ours: Option<Vec<(String, Option<Oid>)>>,
    batches: Vec<Vec<FolderChange>>,
) -> FleetState {
    let mut state = from_files(&fixture(SCHEMA_3)).unwrap();
    let there = |trees: Vec<(String, Option<Oid>)>| {
        trees
            .into_iter()
            .filter_map(|(region, tree)| Some((region, tree?)))
    };
    let rollout = state.rollout.as_mut().unwrap();
    let plan = Arc::make_mut(&mut rollout.plan);
    let like = plan.regions["r0"].clone();
    plan.regions = there(planned)
        .map(|(region, tree)| {
            let mut planned = like.clone();
            planned.tree = tree;
            (region, planned)
        })
        .collect();
    let like = state.last_good["r0"].clone();
    state.last_good = there(good)
        .map(|(region, tree)| {
            let mut good = like.clone();
            good.tree = tree;
            (region, good)
        })
        .collect();
    let folders: BTreeMap<String, Oid> = there(folders).collect();
    let branch = Branch {
        tip: Some(tree(9)),
        ours: ours.map_or_else(|| folders.clone(), |ours| there(ours).collect()),
        folders,
    };
    state.branches.insert("broad".to_owned(), branch);
    state.intents = batches
        .into_iter()
        .map(|folders| Intent {
            draft: DraftIntent {
                reference: wave_ref("broad"),
                old: tree(8),
                kind: MoveKind::Promote,
                wave: "broad".to_owned(),
                folders,
                given: None,
                onto: None,
                rollout: None,
                source: None,
            },
            new: tree(7),
        })
        .collect();
    state
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn any_state_survives_its_files(
        planned in trees(),
        good in trees(),
        folders in trees(),
        ours in proptest::option::of(trees()),
        batches in proptest::collection::vec(batch(), 0..4),
    ) {
        let state = any_state(planned, good, folders, ours, batches);
        prop_assert_eq!(from_files(&to_files(&state)).unwrap(), state);
    }
}
