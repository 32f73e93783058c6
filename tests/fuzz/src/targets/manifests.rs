//! Manifests: what a region gets is what every reader reads.

use tidegate_renderer::config;
use tidegate_renderer::diff::{Base, Inventory, guard_findings, plan, revert_trees};
use tidegate_renderer::manifest::{Finding, Format, Manifest, Node, read, read_json, read_yaml};
use tidegate_renderer::render::{Rendered, render};
use tidegate_renderer::source::MemoryTree;
use tidegate_renderer::tree::ObjectStore;
use tidegate_renderer::worker::InProcessWorker;

use super::checks::{is_bounded, panic_with};
use super::parts::{part, parts};

/// Findings are plain, and stand inside of the text.
fn findings(text: &str, found: &[Finding]) {
    let lines = text.split(['\n', '\r']).count();
    for finding in found {
        is_bounded(&finding.message);
        if let Some(hint) = &finding.hint {
            is_bounded(hint);
        }
        let line = usize::try_from(finding.line).unwrap_or(usize::MAX);
        assert!(line <= lines + 1, "{finding:?} in {lines} lines");
    }
}

fn is_sealed(documents: &[&Node]) -> bool {
    documents.iter().any(|node| node.get("sops").is_some())
}

/// What is written reads as what was read, and is written the same again.
fn stays(manifest: &Manifest, format: Format) {
    let Some(output) = &manifest.output else {
        assert!(manifest.objects.is_empty());
        return;
    };
    let Ok(text) = std::str::from_utf8(output) else {
        panic_with("the output is no UTF-8");
    };
    let again = match read(text, format, true) {
        Ok(again) => again,
        Err(found) => panic_with(&format!("what we wrote is refused: {found:?}\n{text}")),
    };
    let nodes = |manifest: &Manifest| -> Vec<Node> {
        let objects = manifest.objects.iter();
        objects.map(|object| object.node.clone()).collect()
    };
    assert_eq!(nodes(&again), nodes(manifest), "{text}");
    assert_eq!(again.output.as_ref(), Some(output), "{text}");
    assert!(
        !text.contains('\r') && text.ends_with('\n'),
        "line ends of {text:?}"
    );
}

/// Another reader (serde-saphyr, by YAML 1.2) reads what we wrote as we do.
fn agrees(manifest: &Manifest) {
    let Some(text) = manifest
        .output
        .as_deref()
        .and_then(|output| std::str::from_utf8(output).ok())
    else {
        return;
    };
    let (documents, _) = match read_yaml(text) {
        Ok(documents) => documents,
        Err(found) => panic_with(&format!("{found:?}")),
    };
    for (number, document) in text.split("\n---\n").enumerate() {
        let theirs: serde_json::Value = match serde_yaml::from_str(document) {
            Ok(value) => value,
            Err(error) => panic_with(&format!("another reader refuses it: {error}\n{document}")),
        };
        let ours = documents
            .get(number)
            .map(|document| document.node.to_json());
        if ours.as_ref().map(numbers_as_text) != Some(numbers_as_text(&theirs)) {
            panic_with(&format!(
                "another reader reads {theirs}, we {ours:?}\n{document}"
            ));
        }
    }
}

/// JSON in which numbers are compared as floating-point numbers, and the two zeros are one: `serde_json` reads the
/// last digits of a floating-point number only nearly.
fn numbers_as_text(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default() + 0.0;
            Value::String(format!("{number:.12e}"))
        }
        Value::Array(items) => Value::Array(items.iter().map(numbers_as_text).collect()),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| (key.clone(), numbers_as_text(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// YAML: re-emitted canonically, SOPS files byte for byte.
pub(super) fn yaml(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match read(text, Format::Yaml, true) {
        Ok(manifest) => {
            findings(text, &manifest.warnings);
            stays(&manifest, Format::Yaml);
            agrees(&manifest);
        }
        Err(found) => findings(text, &found),
    }
    if let Ok(manifest) = read(text, Format::Yaml, false)
        && let Ok((documents, _)) = read_yaml(text)
    {
        let nodes: Vec<&Node> = documents.iter().map(|document| &document.node).collect();
        if is_sealed(&nodes) {
            assert_eq!(manifest.output.as_deref(), Some(input));
            assert!(read(text, Format::Yaml, true).is_err());
        }
    }
}

/// JSON: the same, and no key twice.
pub(super) fn json(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match read_json(text) {
        Ok(document) => {
            let strict: Option<serde_json::Value> = serde_json::from_str(text).ok();
            let ours = numbers_as_text(&document.node.to_json());
            assert_eq!(
                strict.as_ref().map(numbers_as_text),
                Some(ours),
                "another reader reads {text} otherwise"
            );
        }
        Err(finding) => findings(text, &[finding]),
    }
    match read(text, Format::Json, true) {
        Ok(manifest) => {
            findings(text, &manifest.warnings);
            stays(&manifest, Format::Json);
        }
        Err(found) => findings(text, &found),
    }
}

const FLEET: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: shop
waves:
  - name: canary
    regions: [west]
gates: []
";

const REGION: &str = "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: west\n";

/// A secret's value before and after, which no plan may show.
const CANARIES: [&str; 2] = ["hunter-before", "hunter-after"];

fn rendered(manifest: &[u8], secret: &str, store: &ObjectStore) -> Option<Rendered> {
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: canary}}\nstringData: {{password: {secret}}}\n"
    );
    let tree = MemoryTree::new()
        .with("tidegate.yaml", FLEET)
        .with("regions/west.yaml", REGION)
        .with("templates/secret.yaml", secret)
        .with("templates/app.yaml", manifest);
    let loaded = config::load(&tree, "").ok()?;
    render(&loaded, &tree, &InProcessWorker, store, None).ok()
}

/// Two versions: a change is shown where there is one, no Secret's value ever, and a revert brings back what was.
pub(super) fn plans(input: &[u8]) {
    let parts = parts(input);
    let store = ObjectStore::in_memory();
    let [old, new] = [("before", CANARIES[0]), ("after", CANARIES[1])]
        .map(|(name, secret)| rendered(part(&parts, name), secret, &store));
    let (Some(old), Some(new)) = (old, new) else {
        return;
    };
    let (old, new) = (old.wanted, new.wanted);
    let trees = old.trees();
    let base = Base {
        name: "before",
        trees: &trees,
        wanted: Some(&old),
    };
    let Ok(same) = plan(&store, Some(base), "before", &old) else {
        panic_with("a plan of what is there cannot be read");
    };
    assert!(!same.changes() && same.groups.is_empty());
    let Ok(planned) = plan(&store, Some(base), "after", &new) else {
        panic_with("a plan of what is there cannot be read");
    };
    assert_eq!(planned.changes(), trees != new.trees());
    let shown = serde_json::to_string(&planned).unwrap_or_default();
    let said = String::from_utf8_lossy(input);
    for canary in CANARIES.into_iter().filter(|canary| !said.contains(canary)) {
        assert!(!shown.contains(canary), "{shown}");
    }
    let guards = old.policy.guards.clone();
    let mut inventory = Inventory::default();
    let Ok(found) = guard_findings(&store, &mut inventory, &guards, &trees, &new) else {
        panic_with("the guards cannot read what is there");
    };
    for finding in found {
        assert_eq!(finding.region, "west");
    }
    let Ok(reverts) = revert_trees(&store, &mut inventory, &guards, &trees, &new) else {
        panic_with("a revert cannot read what is there");
    };
    for tree in reverts.values() {
        let Ok(files) = store.files(*tree) else {
            panic_with("the tree of a revert cannot be read");
        };
        assert!(!files.is_empty());
    }
}
