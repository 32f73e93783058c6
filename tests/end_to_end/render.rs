//! `tidegate render`.

use std::fs;

use crate::sandbox::Sandbox;

#[test]
fn one_region_as_a_stream_of_documents() {
    let sandbox = Sandbox::with_template();
    let answer = sandbox
        .tidegate(&["render", "--region", "westus3"])
        .exits(0);
    assert_eq!(answer.stderr, "");
    assert!(
        answer.stdout.starts_with(
            "# Source: westus3/namespace.yaml\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n---\n# Source: westus3/orders/configmap.yaml\n"
        ),
        "{}",
        answer.stdout
    );
    assert_eq!(answer.stdout.matches("# Source: ").count(), 6);
    assert!(
        answer
            .stdout
            .contains("image: registry.example.com/shop/storefront:1.4.0")
    );
}

#[test]
fn layers_reach_the_manifests() {
    let sandbox = Sandbox::with_template();
    let answer = sandbox
        .tidegate(&["render", "--region", "brazilsouth", "--region", "westus3"])
        .exits(0);
    let (brazil, west) = answer.stdout.split_once("# Source: westus3/").unwrap();
    assert!(brazil.contains("THEME: carnival"), "{brazil}");
    assert!(!brazil.contains("CHECKOUT"), "null removes: {brazil}");
    assert!(brazil.contains("kind: NetworkPolicy"), "{brazil}");
    assert!(west.contains("LOG_LEVEL: debug"), "{west}");
    assert!(west.contains("CHECKOUT: \"true\""), "{west}");
    assert!(!west.contains("kind: NetworkPolicy"), "{west}");
}

#[test]
fn the_same_repo_gives_the_same_bytes() {
    let sandbox = Sandbox::with_template();
    let first = sandbox.tidegate(&["render"]).exits(0).stdout;
    sandbox.commit("start");
    let second = sandbox.tidegate(&["render", ".@HEAD"]).exits(0).stdout;
    assert_eq!(first, second);
}

#[test]
fn an_unknown_region_gets_a_suggestion() {
    let sandbox = Sandbox::with_template();
    sandbox
        .tidegate(&["render", "--region", "brasilsouth"])
        .exits(2)
        .prints_nothing()
        .says("error: the fleet shop has no region brasilsouth\nhint: did you mean brazilsouth?\n");
}

#[test]
fn an_invalid_repo_renders_nothing() {
    let sandbox = Sandbox::with_template();
    sandbox.replace("tidegate.yaml", "onFailure:", "onFailre:");
    sandbox
        .tidegate(&["render"])
        .exits(3)
        .prints_nothing()
        .says("tidegate.yaml:46:1: error: ");
}

#[test]
fn a_folder_is_written_whole_and_replaced_only_by_force() {
    let sandbox = Sandbox::with_template();
    sandbox
        .tidegate(&["render", "--output-dir", "../out"])
        .exits(0)
        .prints_nothing()
        .says("Wrote 49 files of 8 regions to ../out.");
    let written = sandbox.path("../out/westus3/storefront/deployment.yaml");
    assert!(written.is_file());
    sandbox
        .tidegate(&["render", "--output-dir", "../out"])
        .exits(1)
        .says("error: ../out is not empty\nhint: --force ");
    fs::write(sandbox.path("../out/notes.txt"), "mine").unwrap();
    fs::write(sandbox.path("../out/westus3/stale.yaml"), "old").unwrap();
    sandbox
        .tidegate(&[
            "render",
            "--output-dir",
            "../out",
            "--force",
            "--region",
            "westus3",
        ])
        .exits(0);
    assert!(!sandbox.path("../out/westus3/stale.yaml").exists());
    assert!(sandbox.path("../out/notes.txt").exists());
    assert!(written.is_file());
}

#[test]
fn explain_names_file_and_line_and_what_was_overridden() {
    let sandbox = Sandbox::with_template();
    let explain =
        |path: &str| sandbox.tidegate(&["render", "--region", "westus3", "--explain", path]);
    let answer = explain("values.logLevel").exits(0);
    insta::assert_snapshot!(answer.stdout, @r"
    values.logLevel
      values/ring/canary.yaml:2:11  debug
      values/fleet.yaml:4:11        info (overridden)
    ");
    assert_eq!(answer.stderr, "");
    explain("values.loglevel").exits(1).prints_nothing().says(
        "error: nothing sets values.loglevel in westus3\nhint: did you mean values.logLevel?\n",
    );
    sandbox
        .tidegate(&["render", "--explain", "values.logLevel"])
        .exits(0)
        .prints("# eastus2\nvalues.logLevel\n  values/fleet.yaml:4:11  info\n")
        .prints("# westus3\nvalues.logLevel\n");
    // Only the values count: it works while a template is broken.
    sandbox.write("templates/orders/_config.hbs", "{{#if");
    explain("values.version")
        .exits(0)
        .prints("values/fleet.yaml:2:10");
}

#[test]
fn explain_as_json_has_one_entry_for_each_layer() {
    let sandbox = Sandbox::with_template();
    let answer = sandbox
        .tidegate(&[
            "render",
            "--region",
            "westus3",
            "--explain",
            "values.logLevel",
            "-o",
            "json",
        ])
        .exits(0);
    let origins: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(origins[0]["value"], "debug");
    assert_eq!(origins[0]["overridden"], false);
    assert_eq!(origins[1]["file"], "values/fleet.yaml");
    assert_eq!(origins[1]["overridden"], true);
}

#[test]
fn names_and_objects_are_data_too() {
    let sandbox = Sandbox::with_template();
    let names = sandbox
        .tidegate(&["render", "--region", "westus3", "-o", "name"])
        .exits(0)
        .stdout;
    assert_eq!(names.lines().count(), 6, "{names}");
    let objects = sandbox
        .tidegate(&["render", "--region", "westus3", "-o", "json"])
        .exits(0)
        .stdout;
    let objects: serde_json::Value = serde_json::from_str(&objects).unwrap();
    assert_eq!(objects[0]["object"]["kind"], "Namespace");
    assert_eq!(objects[0]["path"], "namespace.yaml");
}

#[test]
fn an_excluded_region_gets_nothing_and_that_is_said() {
    let sandbox = Sandbox::with_template();
    let path = sandbox.path("regions/eastus2.yaml");
    let text = fs::read_to_string(&path).unwrap() + "exclude: { reason: migration }\n";
    fs::write(path, text).unwrap();
    sandbox
        .tidegate(&["render", "--region", "eastus2"])
        .exits(0)
        .prints_nothing()
        .says("eastus2 is excluded and gets nothing: migration.");
}
