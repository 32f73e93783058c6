use tidegate_waves::fleet::Guards;

use super::*;
use crate::config;
use crate::render::{Rendered, render};
use crate::source::MemoryTree;
use crate::worker::InProcessWorker;

const FLEET: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: payments
waves:
  - name: canary
    regions: [a]
  - name: broad
    selector: { matchLabels: { ring: broad } }
gates: []
";

fn region(name: &str, values: &str) -> String {
    format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: {name}\nlabels: {{ ring: {} }}\nvalues: {{ {values} }}\n",
        if name == "a" { "canary" } else { "broad" }
    )
}

fn repo() -> MemoryTree {
    let mut tree = MemoryTree::new()
        .with("tidegate.yaml", FLEET)
        .with(
            "templates/app.yaml.hbs",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app, namespace: shop}\nspec:\n  replicas: {{values.replicas}}\n  template:\n    spec:\n      containers:\n      - name: app\n        image: app:1\n        envFrom:\n        - configMapRef: {name: settings}\n      - name: side\n        image: side:1\n",
        )
        .with(
            "templates/config.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\ndata: {LEVEL: info}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: alone, namespace: shop}\ndata: {x: one}\n",
        )
        .with(
            "templates/secret.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: password}\nstringData: {password: hunter1}\n",
        )
        .with(
            "templates/base/claim.yaml",
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\n",
        );
    for name in ["a", "b", "c", "d"] {
        tree = tree.with(format!("regions/{name}.yaml"), region(name, "replicas: 1"));
    }
    tree
}

fn rendered(tree: &MemoryTree, store: &ObjectStore) -> Rendered {
    let loaded = config::load(tree, "").unwrap();
    render(&loaded, tree, &InProcessWorker, store, None).unwrap()
}

fn compare(before: &MemoryTree, after: &MemoryTree) -> Plan {
    let store = ObjectStore::in_memory();
    let before = rendered(before, &store).wanted;
    let after = rendered(after, &store).wanted;
    let base = Base {
        name: "base",
        trees: &before.trees(),
        wanted: Some(&before),
    };
    plan(&store, Some(base), "head", &after).unwrap()
}

fn text_of(tree: &MemoryTree, path: &str) -> String {
    use crate::source::SourceTree as _;
    let entry = tree
        .entries()
        .unwrap()
        .into_iter()
        .find(|entry| entry.path == path.as_bytes())
        .unwrap();
    String::from_utf8(tree.read(&entry).unwrap()).unwrap()
}

#[test]
fn nothing_changes_when_nothing_changes() {
    let plan = compare(&repo(), &repo());
    assert!(!plan.changes());
    assert_eq!(plan.groups, []);
    assert_eq!(plan.holds, []);
    assert!(plan.unseen_by_earlier_wave.is_empty());
}

#[test]
fn identical_changes_are_one_group_with_fields_and_json_is_as_promised() {
    let app = text_of(&repo(), "templates/app.yaml.hbs").replace("app:1", "app:2");
    let after = repo()
        .with("templates/app.yaml.hbs", app)
        .with("regions/d.yaml", region("d", "replicas: 9"));
    let plan = compare(&repo(), &after);
    assert_eq!(
        serde_json::to_value(&plan).unwrap(),
        serde_json::json!({
            "base": "base",
            "head": "head",
            "regions": plan.regions.iter().map(|region| serde_json::json!({
                "name": region.name,
                "wave": if region.name == "a" { "canary" } else { "broad" },
                "change": "changed",
                "tree": region.tree.unwrap().to_string(),
            })).collect::<Vec<_>>(),
            "groups": [
                {
                    "regions": ["a", "b", "c"],
                    "objects": [{
                        "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "app",
                        "change": "changed",
                        "fields": [
                            { "path": "spec.template.spec.containers[name=app].image", "old": "app:1", "new": "app:2" },
                        ],
                    }],
                },
                {
                    "regions": ["d"],
                    "objects": [{
                        "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "app",
                        "change": "changed",
                        "fields": [
                            { "path": "spec.replicas", "old": 1, "new": 9 },
                            { "path": "spec.template.spec.containers[name=app].image", "old": "app:1", "new": "app:2" },
                        ],
                    }],
                },
            ],
            "holds": [],
            "unseenByEarlierWave": ["d"],
        })
    );
}

#[test]
fn secrets_are_masked_but_told_apart() {
    let change =
        |password: &str| text_of(&repo(), "templates/secret.yaml").replace("hunter1", password);
    let after = repo().with("templates/secret.yaml", change("hunter2"));
    let plan = compare(&repo(), &after);
    let shown = serde_json::to_string(&plan).unwrap();
    assert!(!shown.contains("hunter"), "{shown}");
    let fields = &plan.groups[0].objects[0].fields;
    assert_eq!(fields[0].path, "stringData.password");
    assert_eq!(fields[0].old, Some(Value::from(MASKED)));
    // Another secret in one region is another change, though it looks the same.
    let mut own = after.clone();
    own.remove("templates/secret.yaml");
    for name in ["a", "b", "c"] {
        own = own.with(format!("regions/{name}/secret.yaml"), change("hunter2"));
    }
    let own = own.with("regions/d/secret.yaml", change("hunter3"));
    assert_eq!(compare(&repo(), &own).unseen_by_earlier_wave, ["d"]);
}

#[test]
fn deletions_hold_and_reverts_keep_what_is_protected() {
    let mut after = repo();
    after.remove("templates/base/claim.yaml");
    after.remove("templates/secret.yaml");
    after.remove("regions/c.yaml");
    let plan = compare(&repo(), &after);
    let holds: Vec<String> = plan
        .holds
        .iter()
        .map(|hold| format!("{:?}: {}", hold.reason, hold.message))
        .collect();
    assert_eq!(
        holds,
        [
            "DeletionGuard: region a would lose 2 of 5 objects, more than 30%",
            "ProtectedKind: region a would lose PersistentVolumeClaim data, of a protected kind",
            "DeletionGuard: region b would lose 2 of 5 objects, more than 30%",
            "ProtectedKind: region b would lose PersistentVolumeClaim data, of a protected kind",
            "RegionRemoval: region c would be removed from the fleet",
            "DeletionGuard: region d would lose 2 of 5 objects, more than 30%",
            "ProtectedKind: region d would lose PersistentVolumeClaim data, of a protected kind",
        ]
    );
    let removed: Vec<&RegionChange> = plan
        .regions
        .iter()
        .filter(|region| region.change == Change::Removed)
        .collect();
    assert_eq!(removed.len(), 1);
    assert_eq!((removed[0].name.as_str(), removed[0].tree), ("c", None));
    assert_eq!(removed[0].wave.as_deref(), Some("broad"));

    // The other way round: what the commit adds of protected kinds stays on a revert.
    let store = ObjectStore::in_memory();
    let good = rendered(&after, &store).wanted;
    let mixed = repo().with(
        "templates/mixed.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: new}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n",
    );
    let wanted = rendered(&mixed, &store).wanted;
    let trees = revert_trees(
        &store,
        &mut Inventory::default(),
        &Guards::default(),
        &good.trees(),
        &wanted,
    )
    .unwrap();
    assert_eq!(trees.keys().collect::<Vec<_>>(), ["a", "b", "d"]);
    let files = store.files(trees["a"]).unwrap();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        [
            "app.yaml",
            "base/claim.yaml",
            "config.yaml",
            "tidegate-kept.yaml"
        ]
    );
    assert_eq!(
        store.read_blob(files["tidegate-kept.yaml"]).unwrap(),
        b"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: new\n"
    );
    assert_eq!(
        guard_findings(
            &store,
            &mut Inventory::default(),
            &Guards::default(),
            &good.trees(),
            &wanted
        )
        .unwrap(),
        []
    );
}

#[test]
fn what_was_rendered_is_known_as_it_would_be_read() {
    let store = ObjectStore::in_memory();
    let repo = repo()
        .with(
            "templates/list.yaml.hbs",
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: {{name}}}}\n- {apiVersion: batch/v1, kind: Job, metadata: {generateName: job-}}\n- {apiVersion: batch/v1, kind: Job, metadata: {generateName: job-}}\n",
        )
        .with(
            "templates/deep/one.json",
            r#"{"apiVersion":"x.io/v1","kind":"Thing","metadata":{"name":"1","namespace":"far"}}"#,
        )
        .with(
            "templates/encrypted.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: sealed}\nsops: {version: '3'}\n",
        )
        .with("templates/empty.yaml", "# nothing\n");
    let rendered = rendered(&repo, &store);
    let mut known = Inventory::default();
    known.rendered(&rendered.wanted, &rendered.objects);
    for (name, region) in &rendered.wanted.regions {
        let known = known.of(&store, region.tree).unwrap();
        let read = Inventory::default().of(&store, region.tree).unwrap();
        assert!(!read.is_empty());
        assert_eq!(known, read, "{name}");
    }
}

#[test]
fn policy_with_content_holds() {
    let after = repo()
        .with(
            "tidegate.yaml",
            FLEET.replace("gates: []", "gates: []\nonFailure: hold"),
        )
        .with("regions/a.yaml", region("a", "replicas: 2"));
    let plan = compare(&repo(), &after);
    assert_eq!(plan.holds.len(), 1);
    assert_eq!(plan.holds[0].reason, HoldReason::PolicyWithContent);
    // Waves that say nothing of it have it from there.
    assert_eq!(plan.policy, ["waves", "onFailure"]);
    assert!(compare(&repo(), &repo()).policy.is_empty());
}

#[test]
fn config_that_restarts_nothing_is_warned_about() {
    let changed = text_of(&repo(), "templates/config.yaml")
        .replace("info", "debug")
        .replace("one", "two");
    let after = repo().with("templates/config.yaml", &changed);
    let warnings: Vec<String> = compare(&repo(), &after)
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        warnings,
        [
            "config.yaml:1:1: warning: ConfigMap shop/settings changes, but Deployment.apps shop/app that uses it does not: nothing would restart (in 4 regions)"
        ]
    );
    let app = text_of(&repo(), "templates/app.yaml.hbs").replace("app:1", "app:2");
    let both = after.with("templates/app.yaml.hbs", app);
    assert_eq!(compare(&repo(), &both).warnings, []);
}

#[test]
fn without_a_base_everything_is_added() {
    let store = ObjectStore::in_memory();
    let wanted = rendered(&repo(), &store).wanted;
    let plan = plan(&store, None, "head", &wanted).unwrap();
    assert!(
        plan.regions
            .iter()
            .all(|region| region.change == Change::Added)
    );
    assert_eq!(plan.groups.len(), 1);
    assert_eq!(plan.groups[0].regions.len(), 4);
    assert_eq!(plan.groups[0].objects.len(), 5);
    assert_eq!(plan.holds, []);
    assert!(plan.unseen_by_earlier_wave.is_empty());
}

#[test]
fn lists_are_compared_by_name_or_place() {
    let node = |text: &str| crate::manifest::read_yaml(text).unwrap().0.remove(0).node;
    let paths = |old: &str, new: &str| -> Vec<String> {
        fields::differences(&node(old), &node(new))
            .into_iter()
            .map(|difference| difference.shown(false).path)
            .collect()
    };
    assert_eq!(paths("a: [1, 2]", "a: [1, 3, 4]"), ["a[1]", "a[2]"]);
    assert_eq!(
        paths(
            "a: [{name: x, v: 1}, {name: z}]",
            "a: [{name: w}, {name: x, v: 2}]"
        ),
        ["a[name=x].v", "a[name=z]", "a[name=w]"]
    );
    assert_eq!(
        paths("a: [{name: x}, {name: z}]", "a: [{name: z}, {name: x}]"),
        ["a (order)"]
    );
    assert_eq!(paths("b: 1\na: 2", "a: 2\nb: 1"), [""; 0]);
    assert_eq!(paths("a: {x.io/b: 1}", "a: {x.io/b: 2}"), ["a[\"x.io/b\"]"]);
    assert_eq!(paths("a: {b: 1}", "a: [1]"), ["a"]);
}
