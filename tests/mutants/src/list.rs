//! The list of mutants, as `mutants.yaml` says it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Check;

const LIST: &str = include_str!("../mutants.yaml");

/// One deliberate breakage.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mutant {
    /// What it is called, for `--only`.
    pub name: String,
    /// The promise or the rule that it breaks.
    pub rule: String,
    /// How it breaks it, in words.
    pub broken: String,
    /// The file, from the root of the workspace.
    pub file: String,
    /// The text in it that is replaced; it stands there exactly once.
    pub old: String,
    /// What stands there instead.
    pub new: String,
    /// The test that has to notice.
    pub check: Check,
}

impl Mutant {
    /// The file's text with the breakage in it.
    ///
    /// # Errors
    ///
    /// Where the old text does not stand there exactly once, or the new text changes nothing.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        let found = text.matches(&self.old).count();
        if found != 1 {
            return Err(format!(
                "{}: its old text stands {found} times in {}, not once",
                self.name, self.file
            ));
        }
        if self.old == self.new {
            return Err(format!("{} changes nothing", self.name));
        }
        Ok(text.replace(&self.old, &self.new))
    }

    /// The text of the file that it breaks.
    pub fn source(&self) -> String {
        let path = root().join(&self.file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// All mutants, in the order of the list.
pub fn all() -> Vec<Mutant> {
    serde_yaml::from_str(LIST).unwrap_or_else(|error| panic!("mutants.yaml: {error}"))
}

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies two folders below the workspace")
        .to_owned()
}
