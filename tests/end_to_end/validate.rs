//! `tidegate validate`: a good repo, and every way in which one can be bad.

use std::fmt::Write as _;

use serde_json::Value;

use crate::sandbox::{Answer, Sandbox};

/// What `validate` says to the template after a change that makes it invalid.
fn after(change: impl FnOnce(&Sandbox)) -> Answer {
    let sandbox = Sandbox::with_template();
    change(&sandbox);
    let answer = sandbox.tidegate(&["validate"]).exits(3);
    assert_eq!(answer.stdout, "");
    answer
}

/// A change must lead to exactly one error, whose line begins with this.
#[track_caller]
fn one_error(change: impl FnOnce(&Sandbox), line: &str) {
    let answer = after(change);
    let lines: Vec<_> = answer.stderr.lines().collect();
    assert!(
        lines.iter().any(|candidate| candidate.starts_with(line)),
        "no line begins with {line:?}:\n{}",
        answer.stderr
    );
    assert_eq!(
        lines.last(),
        Some(&"error: the config repo is invalid: 1 error"),
        "{}",
        answer.stderr
    );
}

#[test]
fn the_template_is_clean() {
    let sandbox = Sandbox::with_template();
    let answer = sandbox.tidegate(&["validate"]).exits(0).prints_nothing();
    assert_eq!(
        answer.stderr,
        "shop is valid: 8 regions in 3 waves, 49 objects.\n"
    );
    let answer = sandbox
        .tidegate(&["validate", "-q"])
        .exits(0)
        .prints_nothing();
    assert_eq!(answer.stderr, "");
}

#[test]
fn json_is_data_and_says_the_same_for_a_clean_repo() {
    let sandbox = Sandbox::with_template();
    let answer = sandbox.tidegate(&["validate", "-o", "json"]).exits(0);
    let report: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(
        report,
        serde_json::json!({"valid": true, "errors": [], "warnings": []})
    );
    assert_eq!(answer.stderr, "");
}

#[test]
fn all_errors_are_said_at_once_with_place_snippet_and_hint() {
    let answer = after(|sandbox| {
        sandbox.replace("tidegate.yaml", "onFailure:", "onFailre:");
        sandbox.replace("tidegate.yaml", "bake: 30m", "bake: 30");
        sandbox.replace("regions/westeurope.yaml", "location:", "locaton:");
    });
    insta::assert_snapshot!(answer.stderr, @r#"
    regions/westeurope.yaml:5:1: error: unknown field `locaton` in region "westeurope"
      |
    5 | locaton: westeurope
      | ^^^^^^^
      hint: did you mean `location`?
    tidegate.yaml:27:11: error: `bake` of wave "broad": "30" is not a duration: a unit is missing
       |
    27 |     bake: 30
       |           ^^
      hint: write whole numbers with the units ms, s, m or h, such as 30s, 10m or 1h30m
    tidegate.yaml:46:1: error: unknown field `onFailre` in the fleet
       |
    46 | onFailre: revert
       | ^^^^^^^^
      hint: did you mean `onFailure`?
    error: the config repo is invalid: 3 errors
    "#);
}

#[test]
fn json_has_every_error_with_its_place() {
    let sandbox = Sandbox::with_template();
    sandbox.replace("tidegate.yaml", "onFailure:", "onFailre:");
    let answer = sandbox.tidegate(&["validate", "-o", "json"]).exits(3);
    assert_eq!(answer.stderr, "");
    let report: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(report["valid"], false);
    assert_eq!(report["errors"][0]["file"], "tidegate.yaml");
    assert_eq!(report["errors"][0]["line"], 46);
    assert_eq!(report["errors"][0]["column"], 1);
    assert_eq!(report["errors"][0]["region"], Value::Null);
    assert_eq!(report["errors"][0]["hint"], "did you mean `onFailure`?");
}

// The fleet's documents.

#[test]
fn broken_yaml() {
    // It ends that file only: what would follow from the missing region is not reported on top.
    one_error(
        |sandbox| sandbox.write("regions/eastus2.yaml", "name: [\n"),
        "regions/eastus2.yaml:1:7: error: ",
    );
}

#[test]
fn duplicate_key() {
    one_error(
        |sandbox| sandbox.replace("values/fleet.yaml", "logLevel: info", "version: x"),
        "values/fleet.yaml:4:1: error: ",
    );
}

#[test]
fn region_in_no_wave() {
    one_error(
        |sandbox| {
            sandbox.replace("regions/eastus2.yaml", "ring: broad", "ring: browd");
            sandbox.write("values/ring/browd.yaml", "{}\n");
        },
        "regions/eastus2.yaml:4:7: error: ",
    );
}

#[test]
fn region_in_two_waves() {
    one_error(
        |sandbox| {
            sandbox.replace(
                "tidegate.yaml",
                "regions: [westus3]",
                "regions: [westus3, eastus2]",
            );
        },
        "tidegate.yaml:25:5: error: region \"eastus2\" is in wave \"canary\" and in wave \"broad\"",
    );
}

#[test]
fn empty_canary() {
    one_error(
        |sandbox| {
            sandbox.replace(
                "tidegate.yaml",
                "regions: [westus3]",
                "selector: { matchLabels: { ring: canary } }",
            );
            sandbox.replace("regions/westus3.yaml", "ring: canary", "ring: broad");
        },
        "tidegate.yaml:",
    );
}

#[test]
fn a_wave_names_a_region_that_is_not_there() {
    one_error(
        |sandbox| {
            sandbox.replace(
                "tidegate.yaml",
                "regions: [westus3]",
                "regions: [westus3, estus2]",
            );
        },
        "tidegate.yaml:18:24: error: wave \"canary\" names region \"estus2\", which does not exist",
    );
}

#[test]
fn unknown_gate() {
    one_error(
        |sandbox| {
            sandbox.replace(
                "tidegate.yaml",
                "bake: 30m",
                "bake: 30m\n    gates: [healthy]",
            );
        },
        "tidegate.yaml:28:13: error: ",
    );
}

#[test]
fn unknown_gate_type() {
    let answer = after(|sandbox| sandbox.replace("tidegate.yaml", "    http:", "    metric:"));
    answer.says("tidegate.yaml:");
}

#[test]
fn reserved_and_bad_names() {
    one_error(
        |sandbox| sandbox.replace("tidegate.yaml", "name: pilot", "name: log"),
        "tidegate.yaml:20:11: error: ",
    );
    one_error(
        |sandbox| sandbox.replace("tidegate.yaml", "name: pilot", "name: Pilot_1"),
        "tidegate.yaml:20:11: error: ",
    );
    one_error(
        |sandbox| sandbox.replace("tidegate.yaml", "name: shop", "name: the shop"),
        "tidegate.yaml:6:7: error: ",
    );
}

#[test]
fn a_yaml_bomb() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let list = vec![below; 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{list}]").unwrap();
    }
    one_error(
        |sandbox| sandbox.write("values/ring/canary.yaml", &bomb),
        "values/ring/canary.yaml:6:15: error: the file holds more than 250000 values",
    );
}

#[test]
fn twenty_thousand_levels() {
    let deep = format!("a: {}{}\n", "[".repeat(20_000), "]".repeat(20_000));
    one_error(
        |sandbox| sandbox.write("values/ring/canary.yaml", &deep),
        "values/ring/canary.yaml:1:68: error: nested deeper than 64 levels",
    );
}

#[test]
fn a_path_that_leaves_the_repo() {
    one_error(
        |sandbox| {
            sandbox.replace("tidegate.yaml", "- values/fleet.yaml", "- ../../etc/passwd");
        },
        "tidegate.yaml:11:5: error: ",
    );
}

#[test]
fn a_missing_layer() {
    one_error(
        |sandbox| std::fs::remove_file(sandbox.path("values/ring/pilot.yaml")).unwrap(),
        "tidegate.yaml:12:5: error: the values file values/ring/pilot.yaml does not exist (regions northeurope, southeastasia)",
    );
}

#[test]
fn no_fleet_here() {
    let sandbox = Sandbox::new();
    sandbox
        .tidegate(&["validate"])
        .exits(3)
        .says("tidegate.yaml:1:1: error: ");
    sandbox.commit("nothing");
    sandbox
        .tidegate(&["validate", ".@HEAD"])
        .exits(3)
        .says("tidegate.yaml:1:1: error: ");
}

// Files.

#[test]
fn bytes_that_are_no_utf8() {
    one_error(
        |sandbox| sandbox.write("templates/namespace.yaml", b"kind: Namespace\nname: \xff\n"),
        "templates/namespace.yaml:2:7: error: the file is not UTF-8",
    );
}

#[test]
fn a_symlink() {
    one_error(
        |sandbox| {
            std::os::unix::fs::symlink("/etc/passwd", sandbox.path("templates/passwd.yaml"))
                .unwrap();
        },
        "templates/passwd.yaml:1:1: error: ",
    );
}

#[test]
fn a_file_that_is_no_manifest() {
    one_error(
        |sandbox| sandbox.write("templates/run.sh", "rm -rf /\n"),
        "templates/run.sh:1:1: error: ",
    );
}

// Templates and what they give.

#[test]
fn a_missing_value() {
    one_error(
        |sandbox| {
            sandbox.replace("values/fleet.yaml", "  batchSize: 50\n", "");
            std::fs::remove_file(sandbox.path("values/region/brazilsouth.yaml")).unwrap();
        },
        "templates/orders/_config.hbs:1:13: error: `values.orders.batchSize` is not set",
    );
}

#[test]
fn a_typo_in_a_template() {
    one_error(
        |sandbox| {
            sandbox.replace(
                "templates/orders/deployment.yaml.hbs",
                "{{values.orders.replicas}}",
                "{{values.orders.replicsa}}",
            );
        },
        "templates/orders/deployment.yaml.hbs:10:13: error: `values.orders.replicsa` is not set",
    );
}

#[test]
fn a_typo_inside_if() {
    one_error(
        |sandbox| {
            sandbox.write(
                "templates/orders/_config.hbs",
                "{{#if values.tpyo}}A: b{{/if}}\n",
            );
        },
        "templates/orders/_config.hbs:1:1: error: `values.tpyo` is not set",
    );
}

#[test]
fn broken_template_syntax() {
    one_error(
        |sandbox| {
            sandbox.write("templates/orders/_config.hbs", "A: b\n{{#if values.x}}\n");
        },
        "templates/orders/_config.hbs:3:1: error: ",
    );
}

#[test]
fn partials_that_include_each_other() {
    one_error(
        |sandbox| {
            sandbox.write("templates/_a.hbs", "{{> _b}}\n");
            sandbox.write("templates/_b.hbs", "{{> _a}}\n");
            sandbox.write("templates/a.yaml.hbs", "{{> _a}}\n");
        },
        "templates/_a.hbs:1:1: error: partials include each other without end: _a → _b → _a",
    );
}

#[test]
fn three_hundred_megabytes_of_output() {
    let list = vec!["x"; 1000].join(", ");
    let line = "{{#each values.many}}{{#each ../values.many}}{{#each ../../values.many}}0123456789{{/each}}{{/each}}{{/each}}\n";
    one_error(
        |sandbox| {
            sandbox.write("values/ring/canary.yaml", format!("many: [{list}]\n"));
            sandbox.write("values/ring/pilot.yaml", "many: []\n");
            sandbox.write("values/ring/broad.yaml", "many: []\n");
            sandbox.write("templates/big.yaml.hbs", line);
        },
        "templates/big.yaml.hbs:1:73: error: the output is larger than 8 MiB (region westus3)",
    );
}

#[test]
fn blocks_nested_twenty_thousand_deep() {
    let deep = format!(
        "{}{}",
        "{{#if name}}".repeat(20_000),
        "{{/if}}".repeat(20_000)
    );
    one_error(
        |sandbox| sandbox.write("templates/deep.yaml.hbs", &deep),
        "templates/deep.yaml.hbs:1:769: error: blocks are nested more than 64 deep",
    );
}

#[test]
fn an_object_without_a_name() {
    one_error(
        |sandbox| {
            sandbox.replace(
                "templates/namespace.yaml",
                "  name: shop\n",
                "  labels: {}\n",
            );
        },
        "templates/namespace.yaml:2:1: error: the object has no metadata.name",
    );
}

#[test]
fn the_same_object_twice() {
    one_error(
        |sandbox| {
            sandbox.write(
                "templates/again.yaml",
                "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n",
            );
        },
        "templates/namespace.yaml:1:1: error: Namespace shop is in templates/again.yaml too",
    );
}

#[test]
fn the_same_output_path_twice() {
    one_error(
        |sandbox| {
            sandbox.write(
                "regions/westus3/namespace.yaml",
                "apiVersion: v1\nkind: Namespace\nmetadata: { name: other }\n",
            );
        },
        "regions/westus3/namespace.yaml:1:1: error: templates/namespace.yaml has the same output path",
    );
}

#[test]
fn output_that_is_no_kubernetes_object() {
    one_error(
        |sandbox| sandbox.write("templates/list.yaml", "- a\n- b\n"),
        "templates/list.yaml:1:1: error: this is no Kubernetes object",
    );
}

// Where the repo is.

#[test]
fn a_fleet_in_a_folder_of_the_repo_is_named_from_the_root() {
    let sandbox = Sandbox::new();
    sandbox.tidegate(&["init", "-q", "fleets/shop"]).exits(0);
    sandbox.commit("start");
    sandbox.replace("fleets/shop/tidegate.yaml", "onFailure:", "onFailre:");
    sandbox
        .tidegate(&["validate", "fleets/shop"])
        .exits(3)
        .says("fleets/shop/tidegate.yaml:46:1: error: ");
    sandbox.tidegate(&["validate", "fleets/shop@HEAD"]).exits(0);
    sandbox
        .tidegate(&["validate", ".@HEAD", "--path", "fleets/shop"])
        .exits(0);
}

#[test]
fn ignored_files_do_not_count_and_untracked_ones_do() {
    let sandbox = Sandbox::with_template();
    sandbox.write(".gitignore", "*.local.sh\n");
    sandbox.commit("start");
    sandbox.write("templates/mine.local.sh", "ignored");
    sandbox.tidegate(&["validate"]).exits(0);
    sandbox.write("templates/mine.sh", "untracked");
    sandbox
        .tidegate(&["validate"])
        .exits(3)
        .says("templates/mine.sh:1:1: error: ");
}

#[test]
fn a_repo_by_url_is_cloned_and_left_behind_nowhere() {
    let sandbox = Sandbox::with_template();
    sandbox.commit("start");
    let url = format!("file://{}@main", sandbox.path("").display());
    sandbox
        .tidegate(&["validate", &url])
        .exits(0)
        .says("shop is valid");
    sandbox
        .tidegate(&["validate", "file:///nonexistent/repo.git@main"])
        .exits(1)
        .says("error: git could not clone file:///nonexistent/repo.git");
}

#[test]
fn a_bare_repo_is_read_where_it_lies() {
    let sandbox = Sandbox::with_template();
    sandbox.commit("start");
    sandbox.git(&["clone", "--quiet", "--bare", ".", "bare.git"]);
    sandbox
        .tidegate(&["validate", "bare.git@main"])
        .exits(0)
        .says("shop is valid");
}

#[test]
fn wrong_dirs_are_wrong_usage() {
    let sandbox = Sandbox::new();
    sandbox
        .tidegate(&["validate", "nowhere"])
        .exits(2)
        .says("error: there is no folder nowhere");
    let answer = sandbox
        .tidegate(&["validate", "https://me:sesame@git.example.com/a.git@main"])
        .exits(2)
        .says("contains a password");
    assert!(!answer.stderr.contains("sesame"), "{}", answer.stderr);
    sandbox.commit("nothing");
    sandbox
        .tidegate(&["validate", ".@nosuch"])
        .exits(1)
        .says("error: there is no commit nosuch in this repo");
}

#[test]
fn what_is_wrong_with_documents_hides_nothing_that_is_wrong_with_templates_and_manifests() {
    let sandbox = Sandbox::with_template();
    sandbox.replace("tidegate.yaml", "onFailure:", "onFailre:");
    sandbox.replace("regions/westus3.yaml", "labels: {", "labels: [");
    sandbox.write("templates/unparsed.yaml.hbs", "{{#if values.version}}\n");
    sandbox.write("templates/typo.yaml.hbs", "{{values.versoin}}\n");
    sandbox.write("templates/nameless.yaml", "apiVersion: v1\nkind: Service\n");
    sandbox.write("templates/notes.txt", "");
    let answer = sandbox.tidegate(&["validate", "-o", "json"]).exits(3);
    let report: Value = serde_json::from_str(&answer.stdout).unwrap();
    let places: Vec<String> = report["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            let text = |field: &str| error[field].as_str().unwrap_or("-").to_owned();
            format!(
                "{}:{}:{} {}",
                text("file"),
                error["line"],
                error["column"],
                text("message")
            )
        })
        .collect();
    insta::assert_snapshot!(places.join("\n"), @r"
    regions/westus3.yaml:9:9 YAML syntax: mismatched bracket '[' closed by '}'
    templates/nameless.yaml:1:1 the object has no metadata.name
    templates/notes.txt:1:1 this file is neither a manifest nor a template nor a partial
    templates/typo.yaml.hbs:1:1 `values.versoin` is not set
    templates/unparsed.yaml.hbs:2:1 this is no template expression that can be read
    tidegate.yaml:46:1 unknown field `onFailre` in the fleet
    ");
}
