//! The tests that have to notice, named as docs/src/safety.md names them.

use std::fmt;
use std::fs;

use serde::Deserialize;

use crate::list::root;

/// A test by its full name: the place it is in, its modules, its function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Check {
    place: &'static Place,
    path: String,
}

/// A group of tests that are built into one program.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// How many crates stand below it: what it needs is built before it.
    level: u8,
    /// The first part of the names of its tests.
    pub(crate) name: &'static str,
    /// Cargo's name of its package.
    pub(crate) package: &'static str,
    /// What tells its program from the package's others, for cargo.
    pub(crate) target: &'static [&'static str],
    /// Where its package lies; cargo runs its tests there.
    pub(crate) folder: &'static str,
    /// Where its modules lie.
    modules: &'static str,
    /// The files that may hold tests of no module.
    roots: &'static [&'static str],
    /// The crates whose sources make a difference to it.
    depends_on: &'static [&'static str],
}

const PLACES: [Place; 6] = [
    Place {
        level: 0,
        name: "waves",
        package: "tidegate-waves",
        target: &["--lib"],
        folder: "waves",
        modules: "waves/src",
        roots: &["lib.rs"],
        depends_on: &["waves"],
    },
    Place {
        level: 1,
        name: "renderer",
        package: "tidegate-renderer",
        target: &["--lib"],
        folder: "renderer",
        modules: "renderer/src",
        roots: &["lib.rs"],
        depends_on: &["waves", "renderer"],
    },
    Place {
        level: 2,
        name: "controller",
        package: "tidegate",
        target: &["--lib"],
        folder: "controller",
        modules: "controller/src",
        roots: &["lib.rs"],
        depends_on: &["waves", "renderer", "controller"],
    },
    Place {
        level: 3,
        name: "end_to_end",
        package: "tidegate",
        target: &["--test", "end_to_end"],
        folder: "controller",
        modules: "tests/end_to_end",
        roots: &["main.rs"],
        depends_on: &["waves", "renderer", "controller", "tests"],
    },
    Place {
        level: 4,
        name: "simulator",
        package: "tidegate-simulator",
        target: &["--test", "seeds"],
        folder: "tests/simulator",
        modules: "tests/simulator/tests",
        roots: &["seeds.rs"],
        depends_on: &["waves"],
    },
    Place {
        level: 5,
        name: "testkit",
        package: "tidegate-testkit",
        target: &["--lib"],
        folder: "tests",
        modules: "tests/src",
        roots: &["lib.rs"],
        depends_on: &["waves", "tests"],
    },
];

impl TryFrom<String> for Check {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let (first, path) = name.split_once("::").unwrap_or((&name, ""));
        let place = PLACES.iter().find(|place| place.name == first);
        match place {
            Some(place) if !path.is_empty() => Ok(Self {
                place,
                path: path.to_owned(),
            }),
            _ => Err(format!("{name:?} names no test")),
        }
    }
}

impl std::str::FromStr for Check {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::try_from(name.to_owned())
    }
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}::{}", self.place.name, self.path)
    }
}

impl Check {
    pub(crate) fn place(&self) -> &'static Place {
        self.place
    }

    /// The name by which the test's own program knows it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether a change of this file can make a difference to it.
    pub fn depends_on(&self, file: &str) -> bool {
        let first = file.split('/').next().unwrap_or_default();
        self.place.depends_on.contains(&first)
    }

    /// Whether the file of its module, or one of a module above it, has a test of this name.
    pub fn exists(&self) -> bool {
        let parts: Vec<&str> = self.path.split("::").collect();
        let (name, modules) = parts.split_last().expect("a path has parts");
        let folder = root().join(self.place.modules);
        (0..=modules.len()).rev().any(|depth| {
            let files: Vec<String> = if depth == 0 {
                self.place.roots.iter().map(ToString::to_string).collect()
            } else {
                vec![format!("{}.rs", modules[..depth].join("/"))]
            };
            files
                .iter()
                .filter_map(|file| fs::read_to_string(folder.join(file)).ok())
                .any(|text| has_test(&text, name))
        })
    }
}

/// Whether a file has a function of this name under an attribute that makes it a test.
fn has_test(text: &str, name: &str) -> bool {
    let Some(at) = text.find(&format!("fn {name}(")) else {
        return false;
    };
    let before = &text[..at];
    ["#[test]", "#[tokio::test"]
        .iter()
        .filter_map(|attribute| before.rfind(attribute))
        .max()
        .is_some_and(|from| !before[from..].contains("\n}") && !before[from..].contains("\n    }"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_does_not_exist_is_noticed() {
        let exists = |name: &str| name.parse::<Check>().unwrap().exists();
        assert!(exists(
            "waves::gate::tests::no_unknown_reading_ever_passes_or_fails"
        ));
        assert!(exists(
            "end_to_end::rollout::good::the_first_commit_goes_through_all_waves_in_order"
        ));
        assert!(!exists("waves::gate::tests::no_such_test"));
        assert!(!exists("waves::gate::tests::fold"), "it is no test");
        assert!("nowhere::at::all".parse::<Check>().is_err());
        assert!("waves".parse::<Check>().is_err());
    }
}
