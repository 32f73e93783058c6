//! The state as files of the log's tree, split so that an entry costs what it changes.
//!
//! `state.json` holds the rest once the large parts have gone to files of their own: git stores a file that
//! did not change once. `regions.json` is also what Argo CD generates Applications from.

mod compact;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::state::{FleetState, Placement};
use crate::log::SCHEMA;

/// Why the files of a log entry are not a state.
#[derive(Debug, thiserror::Error)]
pub enum StateFilesError {
    /// A newer Tidegate wrote it.
    #[error(
        "the log was written by a newer Tidegate (schema {found}, this one reads up to {SCHEMA}); run that version or a newer one"
    )]
    NewerSchema {
        /// The schema that it names.
        found: u64,
    },
    /// A file is missing.
    #[error("the log's tree lacks {0}")]
    Missing(String),
    /// A file does not say what it should.
    #[error("{file} in the log's tree is not readable: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The parts that have files of their own: where they stand in the state, and the file.
const PARTS: [(&str, &str, &str); 6] = [
    ("/settled", "wanted", "settled.json"),
    ("/rollout", "plan", "plan.json"),
    ("/rollout", "baseWanted", "base.json"),
    ("/rollout", "baseLastGood", "base-last-good.json"),
    ("", "lastGood", "last-good.json"),
    ("", "quarantine", "quarantine.json"),
];

/// The files of the log's tree for a state: path below the root, and content.
#[must_use]
pub fn to_files(state: &FleetState) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut whole = serde_json::to_value(state).unwrap_or_default();
    compact::compact(&mut whole);
    for (parent, key, file) in PARTS {
        if let Some(Value::Object(object)) = whole.pointer_mut(parent)
            && let Some(part) = object.remove(key)
        {
            files.insert(file.to_owned(), bytes(&part));
        }
    }
    if let Some(Value::Array(waves)) = whole.pointer_mut("/rollout/waves") {
        for wave in waves {
            let name = wave
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            files.insert(format!("waves/{name}.json"), bytes(wave));
            *wave = Value::String(name);
        }
    }
    if let Some(Value::Object(branches)) = whole.pointer_mut("/branches") {
        for (name, branch) in branches {
            files.insert(format!("branches/{name}.json"), bytes(branch));
            *branch = Value::Null;
        }
    }
    if let Value::Object(root) = &mut whole {
        root.remove("placements");
    }
    files.insert("regions.json".to_owned(), bytes(&regions(state)));
    files.insert("state.json".to_owned(), bytes(&whole));
    files
}

/// Reads the state back from the files of a log entry's tree.
pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<FleetState, StateFilesError> {
    let mut whole = read(files, "state.json")?;
    let schema = whole
        .get("schema")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    if schema > u64::from(SCHEMA) {
        return Err(StateFilesError::NewerSchema { found: schema });
    }
    for (parent, key, file) in PARTS {
        if let Some(Value::Object(object)) = whole.pointer_mut(parent) {
            object.insert(key.to_owned(), read(files, file)?);
        }
    }
    if let Some(Value::Array(waves)) = whole.pointer_mut("/rollout/waves") {
        for wave in waves {
            let name = wave.as_str().unwrap_or_default().to_owned();
            *wave = read(files, &format!("waves/{name}.json"))?;
        }
    }
    if let Some(Value::Object(branches)) = whole.pointer_mut("/branches") {
        for (name, branch) in branches {
            *branch = read(files, &format!("branches/{name}.json"))?;
        }
    }
    let placements = placements(&read(files, "regions.json")?)?;
    if let Value::Object(root) = &mut whole {
        root.insert("placements".to_owned(), placements);
        // What is written on top of it is written as this version writes.
        root.insert("schema".to_owned(), SCHEMA.into());
    }
    compact::expand(&mut whole)?;
    serde_json::from_value(whole).map_err(|error| StateFilesError::Unreadable {
        file: "state.json".to_owned(),
        reason: error.to_string(),
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

fn read(files: &BTreeMap<String, Vec<u8>>, file: &str) -> Result<Value, StateFilesError> {
    let bytes = files
        .get(file)
        .ok_or_else(|| StateFilesError::Missing(file.to_owned()))?;
    serde_json::from_slice(bytes).map_err(|error| StateFilesError::Unreadable {
        file: file.to_owned(),
        reason: error.to_string(),
    })
}

/// `regions.json`: one object for each region that a branch holds, by name.
fn regions(state: &FleetState) -> Value {
    let list = state
        .placements
        .iter()
        .map(|(name, placement)| {
            serde_json::json!({
                "name": name,
                "cluster": placement.cluster,
                "location": placement.location,
                "labels": placement.labels,
                "wave": placement.wave,
                "branch": format!("{}/{}", state.fleet.prefix, placement.wave),
                "folder": name,
            })
        })
        .collect();
    Value::Array(list)
}

fn placements(regions: &Value) -> Result<Value, StateFilesError> {
    let unreadable = |reason: &str| StateFilesError::Unreadable {
        file: "regions.json".to_owned(),
        reason: reason.to_owned(),
    };
    let mut map = Map::new();
    for region in regions
        .as_array()
        .ok_or_else(|| unreadable("it is no list"))?
    {
        let name = region
            .get("name")
            .and_then(Value::as_str)
            .ok_or_else(|| unreadable("an entry has no name"))?;
        let placement: Placement = serde_json::from_value(region.clone())
            .map_err(|error| unreadable(&error.to_string()))?;
        map.insert(
            name.to_owned(),
            serde_json::to_value(placement).unwrap_or_default(),
        );
    }
    Ok(Value::Object(map))
}
