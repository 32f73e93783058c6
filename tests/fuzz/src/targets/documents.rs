//! Documents of a config repo and of the operator.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_controller::fuzzing;
use tidegate_controller::git::push::is_branch;
use tidegate_renderer::config::{self, LoadedFleet};
use tidegate_renderer::manifest::{Format, read, read_yaml, yaml_of};
use tidegate_renderer::render::render;
use tidegate_renderer::source::MemoryTree;
use tidegate_renderer::tree::ObjectStore;
use tidegate_renderer::values::Layered;
use tidegate_renderer::worker::InProcessWorker;
use tidegate_waves::fleet::Fleet;

use super::checks::{self, is_plain, panic_with};
use super::parts::{part, parts};

const FLEET: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: shop
values:
  - values/low.yaml
  - path: values/{{name}}.yaml
    optional: true
waves:
  - name: canary
    regions: [west]
gates: []
";

const REGION: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Region
name: west
labels: { ring: canary }
";

const MANIFEST: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";

fn repo() -> MemoryTree {
    MemoryTree::new()
        .with("tidegate.yaml", FLEET)
        .with("regions/west.yaml", REGION)
        .with("values/low.yaml", "replicas: 1\n")
        .with("templates/namespace.yaml", MANIFEST)
}

/// Loads a fleet; its problems are as they must be, and what is accepted can be used.
fn load(tree: &MemoryTree) -> Option<LoadedFleet> {
    match (config::load(tree, ""), config::load(tree, "")) {
        (Ok(loaded), Ok(again)) => {
            checks::problems(&loaded.warnings, &again.warnings);
            accepted(&loaded);
            Some(loaded)
        }
        (Err(once), Err(twice)) => {
            assert!(!once.is_empty());
            checks::problems(&once, &twice);
            None
        }
        _ => panic_with("the same repo is valid only once"),
    }
}

/// Every wave can have a branch, every region that is not excluded is in one wave, and the document survives being
/// written into a plan.
fn accepted(loaded: &LoadedFleet) {
    let mut members: Vec<&String> = Vec::new();
    for (wave, regions) in &loaded.membership {
        assert!(is_branch(&format!("refs/heads/tidegate/{wave}")), "{wave}");
        members.extend(regions);
    }
    members.sort();
    let taking_part: Vec<&String> = loaded
        .regions
        .iter()
        .filter(|(_, loaded)| loaded.region.exclude.is_none())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(members, taking_part);
    for name in loaded.regions.keys() {
        assert!(!name.is_empty() && !name.contains('/') && !name.starts_with('.'));
    }
    let written = serde_json::to_string(&loaded.fleet).unwrap_or_default();
    let again: Option<Fleet> = serde_json::from_str(&written).ok();
    assert_eq!(again.as_ref(), Some(&loaded.fleet), "{written}");
}

/// `tidegate.yaml`.
pub(super) fn fleet_document(input: &[u8]) {
    load(&repo().with("tidegate.yaml", input));
}

/// A document of `regions/`.
pub(super) fn region_document(input: &[u8]) {
    load(&repo().with("regions/west.yaml", input));
}

/// Names of files: what is accepted is a plain path below the region's folder.
pub(super) fn file_names(input: &[u8]) {
    let mut tree = repo();
    for name in input.split(|byte| *byte == b'\n').take(20) {
        let mut path = b"templates/".to_vec();
        path.extend_from_slice(name);
        tree.insert(path, tidegate_renderer::source::EntryKind::File, MANIFEST);
    }
    let Some(loaded) = load(&tree) else { return };
    for file in &loaded.files.files {
        is_plain(&file.path);
        for part in file.name.split('/') {
            let lower = part.to_lowercase();
            assert!(
                !matches!(part, "" | "." | "..") && lower.trim_end_matches(['.', ' ']) != ".git",
                "{file:?}"
            );
            assert!(!part.contains('\\') && part.len() <= 255, "{file:?}");
        }
    }
}

fn leaves(path: &str, value: &Value, found: &mut Vec<String>) {
    if let Value::Object(map) = value {
        for (key, value) in map {
            assert!(!value.is_null(), "a null is left at {path}");
            // Names that a path cannot say in the short form are not asked for.
            if key.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !key.is_empty() {
                leaves(&format!("{path}.{key}"), value, found);
            }
        }
        return;
    }
    found.push(path.to_owned());
}

/// What was merged can be explained, and written as YAML that reads the same.
fn merged(layered: &Layered) {
    let merged = layered.to_json();
    assert!(merged.is_object());
    let mut found = Vec::new();
    leaves("values", &merged, &mut found);
    for path in found.iter().take(30) {
        let origins = layered.explain(path);
        assert!(
            origins.is_some_and(|origins| !origins.is_empty()),
            "{path} has a value that nobody set"
        );
    }
    let text = yaml_of(&merged);
    let documents = match read_yaml(&text) {
        Ok((documents, _)) => documents,
        Err(finding) => panic_with(&format!("{finding:?} in {text}")),
    };
    let read: Vec<Value> = documents
        .iter()
        .map(|document| document.node.to_json())
        .collect();
    assert_eq!(read, [merged], "{text}");
}

/// Value layers: parts `low`, `region`, and `inline` for the region's own.
pub(super) fn values(input: &[u8]) {
    let parts = parts(input);
    let mut tree = repo()
        .with("values/low.yaml", part(&parts, "low"))
        .with("values/west.yaml", part(&parts, "region"));
    let inline = part(&parts, "inline");
    if !inline.is_empty() {
        let mut region = REGION.as_bytes().to_vec();
        region.extend_from_slice(b"values:\n");
        region.extend_from_slice(inline);
        tree = tree.with("regions/west.yaml", region);
    }
    if let Some(west) = load(&tree).and_then(|mut loaded| loaded.regions.remove("west")) {
        merged(&west.values);
    }
}

/// A whole repo, each part a file: what renders gives trees of canonical manifests, the same each time.
pub(super) fn config_repo(input: &[u8]) {
    let mut tree = MemoryTree::new();
    for (name, bytes) in parts(input).iter().filter(|(name, _)| !name.is_empty()) {
        tree.insert(name, tidegate_renderer::source::EntryKind::File, bytes);
    }
    let Some(loaded) = load(&tree) else { return };
    let store = ObjectStore::in_memory();
    let run = || render(&loaded, &tree, &InProcessWorker, &store, None);
    match (run(), run()) {
        (Ok(once), Ok(twice)) => {
            assert_eq!(once, twice);
            checks::problems(&once.warnings, &twice.warnings);
            for region in once.wanted.regions.values() {
                let Ok(files) = store.files(region.tree) else {
                    panic_with("a rendered tree cannot be read");
                };
                canonical(&store, &files);
            }
        }
        (Err(once), Err(twice)) => checks::problems(&once, &twice),
        _ => panic_with("the same repo renders only once"),
    }
}

fn canonical(store: &ObjectStore, files: &BTreeMap<String, tidegate_waves::oid::Oid>) {
    for (path, blob) in files {
        let Ok(bytes) = store.read_blob(*blob) else {
            panic_with("a rendered file cannot be read");
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match read(&text, Format::of(path), false) {
            Ok(again) => assert_eq!(again.output.as_deref(), Some(bytes.as_slice()), "{path}"),
            Err(found) => panic_with(&format!("{path}: {found:?}\n{text}")),
        }
    }
}

/// The operator's settings: one plain line about what is wrong, and never a password.
pub(super) fn settings(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match fuzzing::settings(text) {
        Ok(settings) => {
            assert!(!settings.fleets.is_empty());
            for fleet in &settings.fleets {
                assert!(is_branch(&format!("refs/heads/{}/log", fleet.prefix)));
                assert!(fleet.path.split('/').all(|part| part != ".."));
                assert!(!fleet.repo.starts_with('-'));
            }
        }
        Err(error) => is_plain(&error.to_string()),
    }
}
