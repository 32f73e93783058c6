//! The files of the log's tree: an entry that an older version wrote stays readable, a newer one is refused.

use std::collections::BTreeMap;

use super::world::{Fault, Spec, World, wave_ref};
use crate::log::EntryKind;
use crate::rollout::{StateFilesError, from_files, to_files};

/// The files of an entry as schema 1 wrote them: the middle of a rollout, with a failure behind it.
const SCHEMA_1: &str = include_str!("fixtures/schema-1.json");

fn fixture() -> BTreeMap<String, Vec<u8>> {
    let files: BTreeMap<String, serde_json::Value> = serde_json::from_str(SCHEMA_1).unwrap();
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
fn an_entry_that_schema_1_wrote_is_readable() {
    let state = from_files(&fixture()).unwrap();
    assert_eq!(state.schema, 1);
    assert_eq!(state.fleet.name, "payments");
    assert_eq!(state.last_good.len(), 5);
    assert_eq!(state.quarantine.len(), 1);
    assert_eq!(state.placements.len(), 5);
    let rollout = state.active().unwrap();
    assert_eq!(rollout.waves.len(), 3);
    assert!(rollout.waves[0].state.is_passed());
    assert!(!state.intents.is_empty());
    assert_eq!(from_files(&to_files(&state)).unwrap(), state);
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
    let mut files = fixture();
    let mut state: serde_json::Value = serde_json::from_slice(&files["state.json"]).unwrap();
    state["schema"] = 2.into();
    files.insert("state.json".to_owned(), serde_json::to_vec(&state).unwrap());
    let error = from_files(&files).unwrap_err();
    assert!(matches!(error, StateFilesError::NewerSchema { found: 2 }));
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
        let mut files = fixture();
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
        "/src/rollout/tests/fixtures/schema-1.json"
    );
    let text = serde_json::to_string_pretty(&files).unwrap();
    std::fs::write(path, text + "\n").unwrap();
}
