//! Whole repos, good and bad.

mod cluster_gates;
mod mistakes;

use super::*;
use crate::source::MemoryTree;

const FLEET: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: payments
values:
  - values/fleet.yaml
  - { path: \"values/region/{{name}}.yaml\", optional: true }
waves:
  - name: canary
    regions: [westus3]
  - name: broad
    selector: { matchLabels: { ring: broad } }
    maxConcurrent: 25%
gates:
  - name: healthz
    http:
      url: \"https://{{values.host}}/healthz\"
      expect: { status: 200, json: { /version: \"{{values.version}}\" } }
    settle: 30s
";

const WEST: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Region
name: westus3
labels: { ring: canary }
values: { replicas: 1 }
";

const EAST: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Region
name: eastus2
location: us-east
labels: { ring: broad }
";

fn good() -> MemoryTree {
    MemoryTree::new()
        .with("tidegate.yaml", FLEET)
        .with("regions/westus3.yaml", WEST)
        .with("regions/eastus2.yaml", EAST)
        .with(
            "values/fleet.yaml",
            "host: example.com\nversion: '1.10'\nreplicas: 3\n",
        )
        .with("values/region/eastus2.yaml", "replicas: 5\n")
        .with("templates/app/deployment.yaml.hbs", "kind: Deployment\n")
        .with("templates/_labels.hbs", "app: x\n")
        .with("templates/README.md", "# read me\n")
        .with("templates/.gitkeep", "")
        .with("regions/westus3/extra.json", "{}\n")
        .with("README.md", "mine")
}

#[test]
fn a_good_fleet_is_loaded() {
    let loaded = load(&good(), "").unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.fleet.name, "payments");
    assert_eq!(
        loaded.membership,
        [
            ("canary".to_owned(), vec!["westus3".to_owned()]),
            ("broad".to_owned(), vec!["eastus2".to_owned()]),
        ]
    );
    let west = &loaded.regions["westus3"];
    assert_eq!(west.values.to_json()["replicas"], 1);
    assert_eq!((west.file.as_str(), west.line), ("regions/westus3.yaml", 3));
    assert_eq!(west.region.location, "westus3");
    let east = &loaded.regions["eastus2"];
    assert_eq!(east.values.to_json()["replicas"], 5);
    assert_eq!(east.values.to_json()["version"], "1.10");
    assert_eq!(east.region.location, "us-east");
    assert_eq!(east.region.cluster, "eastus2");
    let files: Vec<_> = loaded
        .files
        .files
        .iter()
        .map(|file| {
            (
                file.path.as_str(),
                file.usage,
                file.name.as_str(),
                file.region.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        files,
        [
            (
                "regions/westus3/extra.json",
                FileUse::Plain,
                "extra.json",
                Some("westus3")
            ),
            ("templates/_labels.hbs", FileUse::Partial, "_labels", None),
            (
                "templates/app/deployment.yaml.hbs",
                FileUse::Template,
                "app/deployment.yaml",
                None
            ),
        ]
    );
    assert_eq!(loaded.fleet.waves[0].policy.gates, ["healthz"]);
}

#[test]
fn the_same_fleet_loads_from_a_folder_of_the_repo() {
    let mut tree = MemoryTree::new().with("shared.yaml", "shared: true\n");
    for entry in good().entries().unwrap() {
        let content = good().read(&entry).unwrap();
        tree = tree.with([b"apps/payments/", entry.path.as_slice()].concat(), content);
    }
    let fleet = FLEET.replace("values:\n", "values:\n  - /shared.yaml\n");
    let tree = tree.with("apps/payments/tidegate.yaml", fleet);
    let loaded = load(&tree, "apps/payments").unwrap();
    assert_eq!(loaded.folder, "apps/payments");
    let west = &loaded.regions["westus3"];
    assert_eq!(west.values.to_json()["shared"], true);
    assert_eq!(west.file, "apps/payments/regions/westus3.yaml");
    assert_eq!(loaded.files.files.len(), 3);
    let problems = load(&tree, "").unwrap_err();
    assert_eq!(
        problems[0].hint.as_deref(),
        Some(
            "there is one at apps/payments/tidegate.yaml; is the fleet's folder \"apps/payments\"?"
        )
    );
}

/// Everything that is found, in the form that `validate` prints, hints behind `=>`.
fn found(tree: &MemoryTree) -> Vec<String> {
    let problems = match load(tree, "") {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    problems
        .iter()
        .map(|problem| match &problem.hint {
            Some(hint) => format!("{problem} => {hint}"),
            None => problem.to_string(),
        })
        .collect()
}

/// One mistake in the good fleet: in a file, this instead of that.
fn mistake(file: &str, that: &str, this: &str) -> MemoryTree {
    let tree = good();
    let entries = tree.entries().unwrap();
    let entry = entries
        .iter()
        .find(|entry| entry.path == file.as_bytes())
        .unwrap();
    let text = String::from_utf8(tree.read(entry).unwrap()).unwrap();
    assert!(text.contains(that), "{file} does not contain {that:?}");
    tree.with(file, text.replacen(that, this, 1))
}

#[test]
fn an_empty_repo_is_told_what_to_do() {
    assert_eq!(
        found(&MemoryTree::new()),
        [
            "tidegate.yaml:1:1: error: there is no tidegate.yaml at this commit => the repo is empty; `tidegate init` writes a config repo to start from",
        ]
    );
}

#[test]
fn gates_must_be_written_and_none_is_warned_about() {
    let gates = FLEET.find("gates:").unwrap();
    let fleet = &FLEET[..gates];
    assert_eq!(
        found(&good().with("tidegate.yaml", fleet)),
        [
            "tidegate.yaml:1:1: error: the fleet does not say what its gates are => add `gates`; write `gates: []` if there is really nothing to check"
        ]
    );
    assert_eq!(
        found(&good().with("tidegate.yaml", format!("{fleet}gates: []\n"))),
        [
            "tidegate.yaml:13:8: warning: the fleet has no gates: nothing stops a bad commit => add a gate, such as an `http` check of each region's health"
        ]
    );
}

#[test]
fn all_mistakes_are_told_at_once_and_each_once() {
    let tree = mistake(
        "tidegate.yaml",
        "regions: [westus3]",
        "regions: [westus9]\n    bake: 5",
    )
    .with("regions/westus3.yaml", "name: [\n")
    .with("values/fleet.yaml", "a: 1\na: 2\n")
    .with("templates/x.txt", "");
    assert_eq!(
        found(&tree)
            .iter()
            .map(|line| line.split(" => ").next().unwrap())
            .collect::<Vec<_>>(),
        [
            "regions/westus3.yaml:1:7: error: the bracket [ is not closed",
            "templates/x.txt:1:1: error: this file is neither a manifest nor a template nor a partial",
            // Region westus9 may be what the broken document describes: not reported on top.
            "tidegate.yaml:10:11: error: `bake` of wave \"canary\": \"5\" is not a duration: a unit is missing",
            "values/fleet.yaml:2:1: error: duplicate key `a`",
        ]
    );
}

#[test]
fn a_problem_shows_its_line() {
    let problems = load(&mistake("tidegate.yaml", "waves:", "wavs: []\nwaves:"), "").unwrap_err();
    assert_eq!(problems[0].snippet, "  |\n7 | wavs: []\n  | ^^^^");
}

#[test]
fn a_region_that_is_excluded_is_left_alone_and_warned_about_once_that_is_past() {
    let tree = mistake(
        "regions/eastus2.yaml",
        "labels: { ring: broad }",
        "exclude: { reason: moving, until: 2027-01-31 }",
    );
    let loaded = load(&tree, "").unwrap();
    let end = end_of("2027-01-31").unwrap();
    assert!(loaded.expired_exclusions(end - 1).is_empty());
    let expired = loaded.expired_exclusions(end);
    assert_eq!(
        expired[0].to_string(),
        "regions/eastus2.yaml:5:1: warning: region \"eastus2\" is still excluded, but only until 2027-01-31, which is past (region eastus2)"
    );
}

#[test]
fn a_thousand_regions_share_their_layers() {
    let mut tree = good()
        .with(
            "tidegate.yaml",
            FLEET.replace(
                "values/region/{{name}}.yaml",
                "values/ring/{{labels.ring}}.yaml",
            ),
        )
        .with("values/ring/broad.yaml", "replicas: 7\n");
    for number in 0..1000 {
        let document = EAST.replace("eastus2", &format!("r{number}"));
        tree = tree.with(format!("regions/r{number}.yaml"), document);
    }
    let loaded = load(&tree, "").unwrap();
    assert_eq!(loaded.regions.len(), 1002);
    let layers = |region: &str| loaded.regions[region].values.layers();
    assert!(Arc::ptr_eq(&layers("r0")[1], &layers("r999")[1]));
    assert_eq!(layers("r0")[1].file(), "values/ring/broad.yaml");
    assert_eq!(loaded.membership[1].1.len(), 1001);

    // One mistake that meets a thousand regions is one problem.
    let mut broken = tree;
    broken.remove("values/ring/broad.yaml");
    let fleet = FLEET.replace(
        "{ path: \"values/region/{{name}}.yaml\", optional: true }",
        "values/ring/{{labels.ring}}.yaml",
    );
    let broken = broken
        .with("tidegate.yaml", fleet)
        .with("values/ring/canary.yaml", "");
    assert_eq!(
        found(&broken),
        [
            "tidegate.yaml:6:5: error: the values file values/ring/broad.yaml does not exist (regions eastus2, r0, r1 and 998 more) => add the file, or write { path: …, optional: true }"
        ]
    );
}

#[test]
fn bombs_and_towers_in_any_document_are_errors() {
    let tower = "[".repeat(20_000);
    for content in [crate::yaml::tests::bomb(), tower] {
        for file in ["tidegate.yaml", "regions/eastus2.yaml", "values/fleet.yaml"] {
            let found = found(&good().with(file, &content));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(file), "{found:?}");
        }
    }
}

#[test]
fn a_gates_strings_have_places() {
    let loaded = load(&good(), "").unwrap();
    let at = |gate: &str, path: &[&str]| loaded.gate_places.error(gate, path, "x").to_string();
    assert_eq!(
        at("healthz", &["http", "url"]),
        "tidegate.yaml:16:12: error: x"
    );
    assert_eq!(
        at("healthz", &["http", "expect", "json", "/version"]),
        "tidegate.yaml:17:48: error: x"
    );
    assert_eq!(
        at("healthz", &["http", "method"]),
        "tidegate.yaml:16:7: error: x"
    );
    assert_eq!(at("other", &[]), "tidegate.yaml:14:3: error: x");
    let problem = loaded.gate_places.error("healthz", &["http", "url"], "x");
    assert!(problem.snippet.contains("https://{{values.host}}/healthz"));
}

#[test]
fn a_hostile_document_is_given_up_in_time() {
    let names: String = (0..100_000).map(|_| "  x,\n").collect();
    let fleet = FLEET.replace("[westus3]", &format!("[\n{names}  westus3]"));
    let problems = load(&good().with("tidegate.yaml", fleet), "").unwrap_err();
    assert_eq!(problems.len(), 201);
    assert_eq!(
        problems[0].to_string(),
        "tidegate.yaml:1:1: error: 99800 more problems of who is in which wave are not listed"
    );
    let values: String = (0..50_000).map(|_| "- no\n").collect();
    let loaded = load(
        &good().with("values/fleet.yaml", format!("a:\n{values}")),
        "",
    )
    .unwrap();
    assert_eq!(loaded.warnings.len(), 201);
    assert_eq!(
        loaded.warnings[0].to_string(),
        "values/fleet.yaml:1:1: warning: 49800 more problems in this file are not listed"
    );
    let layers: String = (0..101).map(|_| "  - values/fleet.yaml\n").collect();
    let fleet = FLEET.replace("values:\n", &format!("values:\n{layers}"));
    assert_eq!(
        found(&good().with("tidegate.yaml", fleet)),
        ["tidegate.yaml:5:3: error: `values` of the fleet has 103 items; at most 100 are read"]
    );
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let large = "#".repeat(usize::try_from(LARGEST_DOCUMENT).unwrap() + 1);
    assert_eq!(
        found(&good().with("values/fleet.yaml", large)),
        [
            "values/fleet.yaml:1:1: error: the file has 4194305 bytes; at most 4194304 are read => split it, or move what is no configuration elsewhere"
        ]
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_content_panics(file in 0_usize..4, content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let path = ["tidegate.yaml", "regions/x.yaml", "values/fleet.yaml", "templates/x.yaml"][file];
            let _ = load(&good().with(path, content), "");
        }

        #[test]
        fn no_path_panics(path in proptest::collection::vec(any::<u8>(), 0..40), below in 0_usize..3) {
            let folder: &[u8] = [b"templates/".as_slice(), b"regions/", b"regions/westus3/"][below];
            let _ = load(&good().with([folder, &path].concat(), "x"), "");
        }

        /// A line of a good document is lost, doubled or moved to the side: never a panic, and
        /// every problem has a place.
        #[test]
        fn no_torn_document_panics(line in 0_usize..19, change in 0_u8..4, text in "[a-zA-Z0-9:\\[\\]{}\"' -]{0,12}") {
            let mut lines: Vec<String> = FLEET.lines().map(str::to_owned).collect();
            if line < lines.len() {
                match change {
                    0 => { lines.remove(line); }
                    1 => lines.insert(line, lines[line].clone()),
                    2 => lines[line] = format!(" {}", lines[line]),
                    _ => lines[line] = text,
                }
            }
            if let Err(problems) = load(&good().with("tidegate.yaml", lines.join("\n")), "") {
                prop_assert!(problems.iter().any(|problem| problem.severity == Severity::Error));
                prop_assert!(problems.iter().all(|problem| problem.file == "tidegate.yaml" || !problem.file.is_empty()));
            }
        }
    }
}

#[test]
fn a_fleet_without_regions_is_told_so() {
    let tree = MemoryTree::new().with(
        "tidegate.yaml",
        "apiVersion: tidegate.dev/v1alpha1\nkind: Fleet\nname: x\nwaves: [{name: a, regions: []}]\ngates: []\n",
    );
    assert_eq!(
        found(&tree),
        [
            "regions/:1:1: error: the fleet has no regions => add one as regions/NAME.yaml with apiVersion, kind: Region and name",
            "tidegate.yaml:4:28: error: the canary wave \"a\" has no region; the first wave must have at least one => the canary needs a region that is not excluded",
            "tidegate.yaml:5:8: warning: the fleet has no gates: nothing stops a bad commit => add a gate, such as an `http` check of each region's health",
        ]
    );
}
