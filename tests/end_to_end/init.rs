//! `tidegate init`.

use std::fs;

use crate::sandbox::Sandbox;

#[test]
fn writes_the_template_and_says_what_comes_next() {
    let sandbox = Sandbox::new();
    let answer = sandbox.tidegate(&["init", "shop-config"]).exits(0);
    assert_eq!(answer.stdout, "");
    insta::assert_snapshot!(answer.stderr, @r"
    Wrote a config repo of 29 files to shop-config.

    Next:
      cd shop-config
      git init -b main && git add . && git commit -m 'Start the fleet'
      tidegate validate                   check it
      tidegate render --region westus3    see what a region gets
    README.md there says how to work with it, and what to fill in first.
    ");
    for (path, content) in tidegate_controller::repo_template::FILES {
        let written = fs::read_to_string(sandbox.path("shop-config").join(path)).unwrap();
        assert_eq!(written, *content, "{path}");
    }
    for document in ["fleet", "region"] {
        let path = format!("shop-config/schemas/{document}.schema.json");
        let written = fs::read_to_string(sandbox.path(&path)).unwrap();
        let printed = sandbox.tidegate(&["schema", document]).exits(0).stdout;
        assert_eq!(written, printed, "{path}");
    }
    let left: Vec<_> = fs::read_dir(sandbox.path("")).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing is left beside it: {left:?}");
}

#[test]
fn fills_a_repo_without_a_commit() {
    let sandbox = Sandbox::new();
    sandbox.git(&["init", "--quiet"]);
    let answer = sandbox.tidegate(&["init", "."]).exits(0);
    assert!(!answer.stderr.contains("git init"), "{}", answer.stderr);
    assert!(sandbox.path("tidegate.yaml").is_file());
    let hidden = fs::read_dir(sandbox.path(""))
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_str().unwrap().starts_with('.')
        })
        .count();
    assert_eq!(hidden, 1, "only .git");
}

#[test]
fn refuses_a_folder_that_holds_something_and_touches_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("mine/notes.txt", "mine");
    sandbox
        .tidegate(&["init", "mine"])
        .exits(1)
        .prints_nothing()
        .says("error: mine is not empty: it holds notes.txt\nhint: ");
    assert_eq!(fs::read_dir(sandbox.path("mine")).unwrap().count(), 1);
    sandbox
        .tidegate(&["init", "mine/notes.txt"])
        .exits(1)
        .says("error: mine/notes.txt is a file");
}

#[test]
fn quiet_says_nothing() {
    let sandbox = Sandbox::new();
    let answer = sandbox.tidegate(&["init", "-q", "a/b/c"]).exits(0);
    assert_eq!(answer.stderr, "");
    assert!(sandbox.path("a/b/c/tidegate.yaml").is_file());
}
