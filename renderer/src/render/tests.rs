use super::*;
use crate::config;
use crate::source::MemoryTree;
use crate::tree::blob_id;
use crate::worker::{InProcessWorker, Job, RegionAnswer};

pub(super) const FLEET: &str = r#"apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: payments
values: [values/fleet.yaml]
waves:
  - name: canary
    regions: [one]
  - name: broad
    selector: { matchLabels: { ring: broad } }
gates:
  - name: healthz
    http:
      url: "https://{{values.host}}/healthz"
      expect: { status: 200, json: { /version: "{{values.version}}", /replicas: "{{values.replicas}}", /zone: "z-{{name}}" } }
"#;

fn region(name: &str, ring: &str) -> String {
    format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: {name}\nlabels: {{ ring: {ring} }}\nvalues: {{ host: {name}.example.com }}\n"
    )
}

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n  labels:\n{{indent 4 (include \"_labels\")}}\ndata:\n  region: {{quote name}}\n  replicas: {{quote values.replicas}}\n";

fn repo() -> MemoryTree {
    MemoryTree::new()
        .with("tidegate.yaml", FLEET)
        .with("values/fleet.yaml", "version: \"1.10\"\nreplicas: 3\n")
        .with("regions/one.yaml", region("one", "canary"))
        .with("regions/two.yaml", region("two", "broad"))
        .with("regions/three.yaml", region("three", "broad"))
        .with("templates/_labels.hbs", "app: payments\nregion: {{name}}\n")
        .with("templates/app/config.yaml.hbs", CONFIG)
        .with(
            "templates/namespace.yaml",
            "# the namespace\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {\"on\": \"yes\"}}\n",
        )
}

fn render_in(tree: &MemoryTree, store: &ObjectStore) -> Result<Rendered, Vec<Problem>> {
    let loaded = config::load(tree, "")?;
    render(&loaded, tree, &InProcessWorker, store, None)
}

fn problems_of(tree: &MemoryTree) -> Vec<String> {
    render_in(tree, &ObjectStore::in_memory())
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_fleet_becomes_region_trees_and_resolved_gates() {
    let store = ObjectStore::in_memory();
    let rendered = render_in(&repo(), &store).unwrap();
    assert_eq!(rendered.warnings, []);
    let one = &rendered.wanted.regions["one"];
    let files = store.files(one.tree).unwrap();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["app/config.yaml", "namespace.yaml"]
    );
    assert_eq!(
        String::from_utf8(store.read_blob(files["app/config.yaml"]).unwrap()).unwrap(),
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n  labels:\n    app: payments\n    region: one\ndata:\n  region: one\n  replicas: \"3\"\n"
    );
    assert_eq!(
        String::from_utf8(store.read_blob(files["namespace.yaml"]).unwrap()).unwrap(),
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels:\n    \"on\": \"yes\"\n"
    );
    let check = one.gates[0].check.as_http().unwrap();
    assert_eq!(check.url, "https://one.example.com/healthz");
    assert_eq!(check.expect.json["/version"], json!("1.10"));
    assert_eq!(check.expect.json["/replicas"], json!(3));
    assert_eq!(check.expect.json["/zone"], json!("z-one"));
    assert_eq!(
        rendered
            .wanted
            .waves
            .iter()
            .map(|wave| wave.regions.join(","))
            .collect::<Vec<_>>(),
        ["one", "three,two"]
    );
    let objects: Vec<String> = rendered.objects["two"]
        .iter()
        .map(|object| format!("{} {}", object.path, object.id()))
        .collect();
    assert_eq!(
        objects,
        [
            "app/config.yaml ConfigMap settings",
            "namespace.yaml Namespace shop"
        ]
    );
}

/// Counts how many templates run.
struct Counting(std::sync::atomic::AtomicUsize);
impl TemplateWorker for Counting {
    fn run(&self, job: &Job, answer: &(dyn Fn(RegionAnswer) + Sync)) -> Result<(), WorkerError> {
        let count: usize = job
            .regions
            .iter()
            .map(|region| region.templates.len())
            .sum();
        self.0
            .fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        InProcessWorker.run(job, answer)
    }
}

#[test]
fn rendering_twice_gives_the_same_and_the_cache_changes_nothing() {
    let store = ObjectStore::in_memory();
    let first = render_in(&repo(), &store).unwrap();
    assert_eq!(
        render_in(&repo(), &ObjectStore::in_memory()).unwrap(),
        first
    );

    let cache = RenderCache::new();
    let worker = Counting(std::sync::atomic::AtomicUsize::new(0));
    let runs = |tree: &MemoryTree, store: &ObjectStore| {
        let before = worker.0.load(std::sync::atomic::Ordering::Relaxed);
        let loaded = config::load(tree, "").unwrap();
        let rendered = render(&loaded, tree, &worker, store, Some(&cache)).unwrap();
        (
            rendered,
            worker.0.load(std::sync::atomic::Ordering::Relaxed) - before,
        )
    };
    assert_eq!(runs(&repo(), &store), (first.clone(), 3));
    assert_eq!(runs(&repo(), &store), (first.clone(), 0));
    // Another store has none of the blobs: the cache must not promise them.
    assert_eq!(runs(&repo(), &ObjectStore::in_memory()), (first.clone(), 3));
    let other = repo().with(
        "templates/b.yaml.hbs",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b-{{name}}}\n",
    );
    let (changed, count) = runs(&other, &store);
    assert_eq!(count, 3, "only the new template runs");
    assert_ne!(changed, first);
    let touched = repo().with(
        "regions/two.yaml",
        region("two", "broad").replace("two.example", "2.example"),
    );
    assert_eq!(
        runs(&touched, &store).1,
        1,
        "only the region whose values changed"
    );
    let partial = repo().with("templates/_labels.hbs", "app: payments\n");
    assert_eq!(runs(&partial, &store).1, 3);
}

#[test]
fn whatever_changes_a_region_that_is_known_whole_gives_what_rendering_without_a_cache_gives() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: plain}\nstringData: {a: b}\n";
    let (store, cache) = (ObjectStore::in_memory(), RenderCache::new());
    let gates = |from: &str, to: &str| repo().with("tidegate.yaml", FLEET.replace(from, to));
    for (what, tree) in [
        ("nothing", repo()),
        ("nothing again", repo()),
        ("a warning", repo().with("templates/secret.yaml", secret)),
        (
            "a warning again",
            repo().with("templates/secret.yaml", secret),
        ),
        (
            "one region's file",
            repo().with("regions/two/secret.yaml", secret),
        ),
        (
            "one region's template",
            repo().with("regions/two/secret.yaml.hbs", secret),
        ),
        (
            "another name of the file",
            repo().with("regions/two/other.yaml.hbs", secret),
        ),
        (
            "a label",
            repo().with("regions/two.yaml", region("two", "broad, x: y")),
        ),
        (
            "a partial",
            repo().with("templates/_labels.hbs", "app: x\n"),
        ),
        ("a gate's expression", gates("z-{{name}}", "y-{{name}}")),
        ("a gate's number", gates("status: 200", "status: 201")),
        ("no gate", gates("values.version", "values.host")),
        ("nothing once more", repo()),
    ] {
        let loaded = config::load(&tree, "").unwrap();
        let cached = render(&loaded, &tree, &InProcessWorker, &store, Some(&cache)).unwrap();
        let fresh = render_in(&tree, &ObjectStore::in_memory()).unwrap();
        assert_eq!(cached, fresh, "{what}");
    }
}

#[test]
fn mistakes_are_told_with_file_line_column_and_region() {
    let bad = repo()
        .with("templates/app/config.yaml.hbs", CONFIG.replace("values.replicas", "values.replica"))
        .with("regions/one/extra.yaml.hbs", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{values.host}}\ndata: {{values}}\n");
    assert_eq!(
        problems_of(&bad),
        [
            "regions/one/extra.yaml.hbs:5:7: error: `values` is a map, which is no text (region one)",
            "templates/app/config.yaml.hbs:9:13: error: `values.replica` is not set",
        ]
    );
    let broken = repo().with("templates/app/config.yaml.hbs", "a: {{#if x}}\n");
    assert!(problems_of(&broken)[0].starts_with("templates/app/config.yaml.hbs:"));
    let gate = repo().with(
        "tidegate.yaml",
        FLEET.replace("values.version", "values.versoin"),
    );
    assert_eq!(
        problems_of(&gate),
        [
            "tidegate.yaml:14:48: error: gate healthz, http.expect.json./version: `values.versoin` is not set"
        ]
    );
}

#[test]
fn every_field_of_a_gate_may_be_a_template_and_is_checked_once_it_is_resolved() {
    let gate = |fields: &str| repo().with("tidegate.yaml", format!("{FLEET}{fields}"));
    let rendered = render_in(
        &gate("    settle: \"{{values.replicas}}s\"\n    failures: \"{{values.replicas}}\"\n"),
        &ObjectStore::in_memory(),
    )
    .unwrap();
    let sampling = rendered.wanted.regions["one"].gates[0].sampling;
    assert_eq!(sampling.settle, Some(std::time::Duration::from_secs(3)));
    assert_eq!(sampling.failures, 3);
    for (tree, problem) in [
        (
            gate("    settle: \"{{values.version}}\"\n"),
            "tidegate.yaml:15:13: error: gate healthz, settle: the value is no duration; write whole numbers with the units ms, s, m or h",
        ),
        (
            gate("    every: \"{{values.replicas}}s\"\n"),
            "tidegate.yaml:11:5: error: gate healthz, timeout: the timeout is longer than `every`",
        ),
        (
            repo().with("tidegate.yaml", FLEET.replace("https://{{", "{{")),
            "tidegate.yaml:13:12: error: gate healthz, http.url: the URL must be an absolute http or https URL: \"one.example.com/healthz\" (region one)",
        ),
    ] {
        assert_eq!(problems_of(&tree)[0], problem);
    }
}

#[test]
fn bad_output_is_told_once_with_its_line() {
    for (output, message) in [
        ("a: [", "line 1 of the output: this is no YAML"),
        (
            "kind: ConfigMap\nmetadata: {name: x}\n",
            "line 1 of the output: the object has no apiVersion",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nsops: {}\n",
            "line 1 of the output: a template gives a SOPS file",
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
            "Namespace shop is in templates/app/config.yaml.hbs too",
        ),
    ] {
        let problems = problems_of(&repo().with("templates/app/config.yaml.hbs", output));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(message), "{problems:?}");
        assert!(!problems[0].contains("(region"), "{problems:?}");
    }
    let mut nothing = repo();
    nothing.remove("templates/namespace.yaml");
    let nothing = nothing.with(
        "templates/app/config.yaml.hbs",
        "{{#if (eq name \"one\")}}apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n{{/if}}\n",
    );
    assert_eq!(
        problems_of(&nothing),
        [
            "regions/three.yaml:3:1: error: the region renders to nothing (region three)",
            "regions/two.yaml:3:1: error: the region renders to nothing (region two)",
        ]
    );
}

#[test]
fn sops_files_stay_byte_for_byte_and_plaintext_secrets_are_warned_about() {
    let sealed = "# kept\napiVersion: v1\nkind: Secret\nmetadata: {name: sealed}\nstringData: {a: 'ENC[x]'}\nsops:   {mac: x}\n";
    let open = "apiVersion: v1\nkind: Secret\nmetadata: {name: open}\nstringData: {a: no}\n";
    let tree = repo()
        .with("templates/sealed.yaml", sealed)
        .with("templates/open.yaml", open);
    let store = ObjectStore::in_memory();
    let rendered = render_in(&tree, &store).unwrap();
    let files = store.files(rendered.wanted.regions["one"].tree).unwrap();
    assert_eq!(files["sealed.yaml"], blob_id(sealed.as_bytes()));
    let warnings: Vec<String> = rendered.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "templates/open.yaml:1:1: warning: Secret open is in plain text for everybody who can read the repo",
            "templates/open.yaml:4:17: warning: kubectl reads no as false, YAML 1.2 does not; it is written as false",
        ]
    );
}

#[test]
fn a_hundred_regions_with_ten_manifests() {
    let mut tree = repo();
    for number in 0..97 {
        tree.insert(
            format!("regions/r{number}.yaml"),
            crate::source::EntryKind::File,
            region(&format!("r{number}"), "broad"),
        );
    }
    for number in 0..8 {
        tree.insert(
            format!("templates/app{number}/config.yaml.hbs"),
            crate::source::EntryKind::File,
            CONFIG.replace("settings", &format!("settings{number}")),
        );
    }
    let folder = tempfile::tempdir().unwrap();
    git2::Repository::init_bare(folder.path()).unwrap();
    let store = ObjectStore::open(folder.path()).unwrap();
    let rendered = render_in(&tree, &store).unwrap();
    assert_eq!(rendered.wanted.regions.len(), 100);
    assert!(store.flush().unwrap() > 900);
    assert_eq!(
        store
            .files(rendered.wanted.regions["r7"].tree)
            .unwrap()
            .len(),
        10
    );
}
