//! `tidegate plan`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

/// The template, committed.
fn committed() -> Sandbox {
    let sandbox = Sandbox::with_template();
    sandbox.commit("start");
    sandbox
}

fn plan(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let mut all = vec!["plan", "-o", "json"];
    all.extend(arguments);
    let answer = sandbox.tidegate(&all).exits(0);
    serde_json::from_str(&answer.stdout).unwrap()
}

fn changes(plan: &Value) -> Vec<(&str, &str, &str)> {
    plan["regions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|region| region["change"] != "none")
        .map(|region| {
            (
                region["wave"].as_str().unwrap_or("-"),
                region["name"].as_str().unwrap(),
                region["change"].as_str().unwrap(),
            )
        })
        .collect()
}

fn hold_reasons(plan: &Value) -> BTreeSet<&str> {
    let holds = plan["holds"].as_array().unwrap();
    holds
        .iter()
        .map(|hold| hold["reason"].as_str().unwrap())
        .collect()
}

#[test]
fn nothing_changes() {
    let sandbox = committed();
    let plan = plan(&sandbox, &[]);
    assert_eq!(changes(&plan), []);
    assert_eq!(plan["groups"], json!([]));
    assert_eq!(plan["regions"].as_array().unwrap().len(), 8);
    sandbox
        .tidegate(&["plan", "--exit-code"])
        .exits(0)
        .prints("No region changes");
}

#[test]
fn the_same_change_everywhere_is_said_once() {
    let sandbox = committed();
    sandbox.replace(
        "values/fleet.yaml",
        "version: \"1.4.0\"",
        "version: \"1.5.0\"",
    );
    let plan = plan(&sandbox, &[]);
    assert_eq!(changes(&plan).len(), 8);
    assert_eq!(plan["groups"].as_array().unwrap().len(), 1, "{plan:#}");
    let group = &plan["groups"][0];
    assert_eq!(group["regions"].as_array().unwrap().len(), 8);
    let field = &group["objects"][0]["fields"][0];
    assert!(field["path"].as_str().unwrap().contains("image"), "{field}");
    assert_eq!(field["old"], "registry.example.com/shop/orders:1.4.0");
    assert_eq!(field["new"], "registry.example.com/shop/orders:1.5.0");
    assert_eq!(plan["unseenByEarlierWave"], json!([]));
    assert_eq!(plan["holds"], json!([]));
}

#[test]
fn the_table_reads_well() {
    let sandbox = committed();
    sandbox.replace(
        "values/region/brazilsouth.yaml",
        "batchSize: 20",
        "batchSize: 30",
    );
    let answer = sandbox.tidegate(&["plan", "--exit-code"]).exits(7);
    assert_eq!(answer.stderr, "");
    insta::assert_snapshot!(answer.stdout, @r#"
    1 of 8 regions changes, compared with HEAD.

    brazilsouth
      ~ ConfigMap shop/orders  (v1)
          data.BATCH_SIZE: "20" → "30"
      ~ Deployment shop/orders  (apps/v1)
          spec.template.metadata.annotations["checksum/config"]: "1af6c46f68cda77dbbce183bb27085f30d14d8b34bf4ee0… → "0e683ee6ed7378d62f79c65c45dcafc9b57d9189b700fcc…

    1 region receives a change that no earlier wave has seen: brazilsouth

    WAVE    REGIONS THAT CHANGE
    canary  0 of 1
    pilot   0 of 2
    broad   1 of 5
    "#);
}

#[test]
fn markdown_is_for_pull_requests() {
    let sandbox = committed();
    sandbox.replace(
        "values/region/brazilsouth.yaml",
        "batchSize: 20",
        "batchSize: 30",
    );
    let answer = sandbox.tidegate(&["plan", "-o", "markdown"]).exits(0);
    insta::assert_snapshot!(answer.stdout, @r#"
    1 of 8 regions changes, compared with HEAD.

    * No earlier wave has seen the change of brazilsouth

    ### brazilsouth

    ```diff
    ! ConfigMap shop/orders  (v1)
        data.BATCH_SIZE: "20" → "30"
    ! Deployment shop/orders  (apps/v1)
        spec.template.metadata.annotations["checksum/config"]: "1af6c46f68cda77dbbce183bb27085f30d14d8b34bf4ee0… → "0e683ee6ed7378d62f79c65c45dcafc9b57d9189b700fcc…
    ```

    | wave | region | change |
    |---|---|---|
    | canary | westus3 | none |
    | pilot | northeurope | none |
    | pilot | southeastasia | none |
    | broad | australiaeast | none |
    | broad | brazilsouth | changed |
    | broad | eastus2 | none |
    | broad | japaneast | none |
    | broad | westeurope | none |
    "#);
}

#[test]
fn a_change_that_no_earlier_wave_sees_is_named() {
    let sandbox = committed();
    sandbox.replace(
        "values/region/brazilsouth.yaml",
        "batchSize: 20",
        "batchSize: 30",
    );
    let plan = plan(&sandbox, &[]);
    assert_eq!(changes(&plan), [("broad", "brazilsouth", "changed")]);
    assert_eq!(plan["unseenByEarlierWave"], json!(["brazilsouth"]));
}

#[test]
fn what_will_wait_for_a_person_is_said() {
    let sandbox = committed();
    std::fs::remove_file(sandbox.path("templates/namespace.yaml")).unwrap();
    assert_eq!(
        hold_reasons(&plan(&sandbox, &[])),
        BTreeSet::from(["ProtectedKind"])
    );

    let sandbox = committed();
    std::fs::remove_dir_all(sandbox.path("templates/storefront")).unwrap();
    assert_eq!(
        hold_reasons(&plan(&sandbox, &[])),
        BTreeSet::from(["DeletionGuard"])
    );

    let sandbox = committed();
    std::fs::remove_file(sandbox.path("regions/eastus2.yaml")).unwrap();
    let removal = plan(&sandbox, &[]);
    assert_eq!(hold_reasons(&removal), BTreeSet::from(["RegionRemoval"]));
    assert_eq!(changes(&removal).len(), 1);

    let sandbox = committed();
    sandbox.replace("tidegate.yaml", "bake: 30m", "bake: 31m");
    sandbox.replace("values/fleet.yaml", "logLevel: info", "logLevel: warn");
    assert_eq!(
        hold_reasons(&plan(&sandbox, &[])),
        BTreeSet::from(["PolicyWithContent"])
    );
}

#[test]
fn a_first_commit_adds_everything() {
    let sandbox = Sandbox::with_template();
    let without_repo = plan(&sandbox, &[]);
    assert_eq!(changes(&without_repo).len(), 8);
    assert_eq!(changes(&without_repo)[0], ("canary", "westus3", "added"));
    sandbox.commit("start");
    let first = plan(&sandbox, &[".@HEAD"]);
    assert_eq!(changes(&first).len(), 8);
}

#[test]
fn a_revision_is_compared_with_its_first_parent_or_with_base() {
    let sandbox = committed();
    sandbox.replace("values/fleet.yaml", "logLevel: info", "logLevel: warn");
    sandbox.commit("warn");
    sandbox.replace(
        "values/region/brazilsouth.yaml",
        "batchSize: 20",
        "batchSize: 30",
    );
    sandbox.commit("bigger batches");
    let last = plan(&sandbox, &[".@HEAD"]);
    assert_eq!(changes(&last).len(), 1);
    let both = plan(&sandbox, &[".@HEAD", "--base", "HEAD~2"]);
    assert_eq!(changes(&both).len(), 7, "the canary logs at its own level");
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    assert_eq!(both["head"], head.trim());
}

#[test]
fn a_base_that_is_invalid_is_said() {
    let sandbox = Sandbox::new();
    sandbox.commit("empty");
    tidegate_controller::repo_template::write_into(&sandbox.path("")).unwrap();
    sandbox
        .tidegate(&["plan", "--base", "HEAD"])
        .exits(1)
        .prints_nothing()
        .says("error: HEAD, with which this would be compared, is invalid: tidegate.yaml:1:1: error: ");
    sandbox
        .tidegate(&["plan", "--base", "nosuch"])
        .exits(1)
        .says("there is no commit nosuch");
}

#[test]
fn manifests_that_stand_in_a_commit_are_compared_as_objects() {
    let sandbox = committed();
    sandbox
        .tidegate(&["render", "--output-dir", "clusters"])
        .exits(0);
    sandbox.commit("what ran before");
    let same = plan(&sandbox, &["--against", "HEAD:clusters/{{name}}"]);
    assert_eq!(changes(&same), []);
    sandbox.replace(
        "values/fleet.yaml",
        "version: \"1.4.0\"",
        "version: \"1.5.0\"",
    );
    let other = plan(&sandbox, &["--against", "HEAD:clusters/{{name}}"]);
    assert_eq!(changes(&other).len(), 8);
    for (against, says) in [
        ("clusters", "a revision and a path are needed"),
        ("HEAD:clusters/one", "the same for every region"),
    ] {
        sandbox
            .tidegate(&["plan", "--against", against])
            .exits(2)
            .says(says);
    }
}

#[test]
fn what_the_wave_branches_hold_counts_once_there_is_a_log() {
    let sandbox = committed();
    sandbox.git(&["init", "--quiet", "--bare", "../remote.git"]);
    sandbox.git(&["remote", "add", "origin", "../remote.git"]);
    // No log yet: HEAD counts.
    assert_eq!(changes(&plan(&sandbox, &[])), []);

    // A canary branch as Tidegate leaves it, and a log that names it.
    sandbox
        .tidegate(&[
            "render",
            "--region",
            "westus3",
            "--output-dir",
            "../rendered",
        ])
        .exits(0);
    sandbox.git(&[
        "init",
        "--quiet",
        "--initial-branch=tidegate/canary",
        "../rendered",
    ]);
    sandbox.git(&["-C", "../rendered", "add", "--all"]);
    sandbox.git(&[
        "-C",
        "../rendered",
        "commit",
        "--quiet",
        "--message",
        "promote",
    ]);
    sandbox.git(&[
        "-C",
        "../rendered",
        "push",
        "--quiet",
        "../remote.git",
        "tidegate/canary",
    ]);
    let regions = json!([{
        "name": "westus3", "cluster": "aks-westus3", "location": "westus3", "labels": {},
        "wave": "canary", "branch": "tidegate/canary", "folder": "westus3"
    }]);
    sandbox.write("../log/regions.json", regions.to_string());
    sandbox.git(&["init", "--quiet", "--initial-branch=tidegate/log", "../log"]);
    sandbox.git(&["-C", "../log", "add", "--all"]);
    sandbox.git(&["-C", "../log", "commit", "--quiet", "--message", "log"]);
    sandbox.git(&[
        "-C",
        "../log",
        "push",
        "--quiet",
        "../remote.git",
        "tidegate/log",
    ]);

    let plan_now = plan(&sandbox, &[]);
    let changes = changes(&plan_now);
    assert_eq!(changes.len(), 7, "{changes:?}");
    assert_eq!(plan(&sandbox, &[".@HEAD"])["regions"], plan_now["regions"]);
    assert!(
        changes
            .iter()
            .all(|(_, name, change)| *name != "westus3" && *change == "added")
    );

    sandbox.git(&["remote", "set-url", "origin", "../gone.git"]);
    sandbox
        .tidegate(&["plan"])
        .exits(1)
        .says("hint: to compare without the wave branches: --base HEAD");
}
