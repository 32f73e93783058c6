//! The page that says which test checks which rule names tests that exist.

use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../../../docs/src/safety.md");

/// Where a crate's sources are, by the name that the page uses for it.
fn sources(of: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    Some(match of {
        "waves" | "renderer" | "controller" => root.join(of).join("src"),
        "end_to_end" => root.join("tests").join("end_to_end"),
        "simulator" => root.join("tests").join("simulator").join("tests"),
        "testkit" => root.join("tests").join("src"),
        _ => return None,
    })
}

/// Whether a file of this module, or one of a module above it, has a test of this name.
fn exists(path: &str) -> bool {
    let parts: Vec<&str> = path.split("::").collect();
    let (Some((name, modules)), Some(root)) =
        (parts.split_last(), parts.first().and_then(|of| sources(of)))
    else {
        return false;
    };
    let modules = modules.get(1..).unwrap_or_default();
    (0..=modules.len()).rev().any(|depth| {
        let file = modules[..depth].join("/");
        ["lib.rs", "main.rs"]
            .iter()
            .filter(|_| depth == 0)
            .map(|file| root.join(file))
            .chain((depth > 0).then(|| root.join(format!("{file}.rs"))))
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .any(|text| {
                text.find(&format!("fn {name}(")).is_some_and(|at| {
                    let before = &text[..at];
                    let attributes = before
                        .rfind("#[test]")
                        .or_else(|| before.rfind("#[tokio::test"));
                    attributes.is_some_and(|from| !before[from..].contains("\n}"))
                })
            })
    })
}

/// The tests that the page's tables name.
fn named() -> Vec<String> {
    PAGE.lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(2))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_test_that_the_page_names_exists() {
    let named = named();
    assert!(
        named.len() > 50,
        "the page names only {} tests",
        named.len()
    );
    let missing: Vec<_> = named.iter().filter(|path| !exists(path)).collect();
    assert!(
        missing.is_empty(),
        "docs/src/safety.md names tests that do not exist: {missing:#?}"
    );
}

#[test]
fn a_test_that_does_not_exist_would_be_noticed() {
    assert!(exists(
        "waves::rollout::tests::safety::every_test_that_the_page_names_exists"
    ));
    for wrong in [
        "waves::rollout::tests::safety::no_such_test",
        "waves::rollout::tests::nowhere::every_test",
        "waves::rollout::tests::safety::exists",
        "nothing::at_all",
    ] {
        assert!(!exists(wrong), "{wrong}");
    }
}
