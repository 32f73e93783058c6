//! The list fits the sources as they are, and the page shows the list.

use std::collections::BTreeSet;
use std::fs;

use tidegate_mutants::Mutant;
use tidegate_mutants::list::{all, root};

#[test]
fn every_old_text_stands_in_its_file_exactly_once() {
    let wrong: Vec<String> = all()
        .iter()
        .filter_map(|mutant| mutant.apply(&mutant.source()).err())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_check_exists_and_can_notice() {
    for mutant in all() {
        let (name, check) = (&mutant.name, &mutant.check);
        assert!(check.exists(), "{name}: there is no test {check}");
        assert!(
            check.depends_on(&mutant.file),
            "{name}: {} makes no difference to {check}",
            mutant.file
        );
    }
}

#[test]
fn names_are_unique_and_every_promise_is_broken() {
    let all = all();
    let names: BTreeSet<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
    assert_eq!(names.len(), all.len());
    for promise in 1..=13 {
        let begins = format!("{promise}. ");
        assert!(
            all.iter().any(|mutant| mutant.rule.starts_with(&begins)),
            "no mutant breaks promise {promise}"
        );
    }
}

#[test]
fn a_text_that_is_not_there_or_there_twice_is_refused() {
    let mutant = all().remove(0);
    assert!(mutant.apply("").is_err());
    assert!(mutant.apply(&mutant.old.repeat(2)).is_err());
    assert_eq!(mutant.apply(&mutant.old), Ok(mutant.new.clone()));
    let idle = Mutant {
        new: mutant.old.clone(),
        ..mutant
    };
    assert!(idle.apply(&idle.old).is_err());
}

#[test]
fn the_page_shows_the_list() {
    let page = fs::read_to_string(root().join("docs/src/mutants.md")).unwrap();
    let shown: BTreeSet<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let listed: BTreeSet<String> = all().iter().map(row).collect();
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let missing: Vec<_> = listed.difference(&shown).collect();
    let left_over: Vec<_> = shown.difference(&listed).collect();
    assert!(
        missing.is_empty() && left_over.is_empty(),
        "docs/src/mutants.md lacks {missing:#?}\nand has {left_over:#?}"
    );
}

fn row(mutant: &Mutant) -> String {
    format!(
        "| `{}` | {} | {} | `{}` |",
        mutant.name, mutant.rule, mutant.broken, mutant.check
    )
}
