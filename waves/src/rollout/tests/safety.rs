//! The pages that say which test checks what name tests that exist.

use std::path::{Path, PathBuf};

const PAGES: [(&str, &str); 2] = [
    ("safety.md", include_str!("../../../../docs/src/safety.md")),
    (
        "fuzzing.md",
        include_str!("../../../../docs/src/fuzzing.md"),
    ),
];

/// Where a crate's sources are, by the name that the page uses for it.
fn sources(of: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    Some(match of {
        "waves" | "renderer" | "controller" => root.join(of).join("src"),
        "end_to_end" => root.join("tests").join("end_to_end"),
        "simulator" => root.join("tests").join("simulator").join("tests"),
        "testkit" => root.join("tests").join("src"),
        "model" => root.join("tests").join("model").join("tests"),
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

/// The tests that a page's tables name.
fn named(page: &str) -> Vec<String> {
    page.lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(2))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_test_that_the_pages_name_exists() {
    for ((page, text), fewest) in PAGES.into_iter().zip([50, 15]) {
        let named = named(text);
        assert!(
            named.len() > fewest,
            "docs/src/{page} names only {} tests",
            named.len()
        );
        let missing: Vec<_> = named.iter().filter(|path| !exists(path)).collect();
        assert!(
            missing.is_empty(),
            "docs/src/{page} names tests that do not exist: {missing:#?}"
        );
    }
}

#[test]
fn each_of_the_thirteen_promises_names_a_test_and_who_searches() {
    let table = PAGES[0]
        .1
        .split("## The promises")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("the page has the promises");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Promise"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), 13);
    for (number, row) in (1..).zip(&rows) {
        assert!(row[1].starts_with(&format!("{number}. ")), "{}", row[1]);
        assert!(row[2].contains("::"), "promise {number} names no test");
        assert!(!row[3].is_empty(), "promise {number} is searched by nobody");
    }
}

#[test]
fn a_test_that_does_not_exist_would_be_noticed() {
    assert!(exists(
        "waves::rollout::tests::safety::every_test_that_the_pages_name_exists"
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
