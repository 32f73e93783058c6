//! The order in which a bare repo's refs moved, written by git itself.
//!
//! A `reference-transaction` hook writes a line when an update is prepared (its ref is locked and nobody has
//! seen it yet) and one when it is committed or aborted. An update stands where it was prepared: whatever
//! was done because somebody saw it stands behind it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::work::git_command;

/// The hook. Its parent is the git process, whose id ties the lines of one transaction together.
const HOOK: &str = r#"#!/bin/sh
while read -r old new ref; do
  case "$ref" in
    refs/*) printf '%s %s %s %s %s\n' "$PPID" "$1" "$old" "$new" "$ref" >>"${0%/*}/../journal" ;;
  esac
done
exit 0
"#;

/// A ref that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Its place in the order, from 0.
    pub sequence: usize,
    /// The full name of the ref.
    pub name: String,
    /// The id before, in hex; zeros for a new ref.
    pub old: String,
    /// The id after, in hex; zeros for a deletion.
    pub new: String,
}

/// Makes a bare repo keep a journal.
pub fn install(repo: &Path) {
    // Packing refs moves none, but git tells its hook that each was made anew, and that the loose one went.
    git_command(repo, &["config", "gc.auto", "0"]);
    write_hook(repo, "reference-transaction", HOOK);
}

/// Every committed update of a repo's refs so far, in order.
#[must_use]
pub fn read(repo: &Path) -> Vec<Update> {
    let text = fs::read_to_string(journal_of(repo)).unwrap_or_default();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|fields| fields.len() == 5)
        .collect();
    let mut updates = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let [process, "prepared", old, new, name] = line.as_slice() else {
            continue;
        };
        let ending = lines[place + 1..].iter().find_map(|later| {
            (later[0] == *process && later[3] == *new && later[4] == *name).then_some(later[1])
        });
        if ending == Some("committed") {
            updates.push(Update {
                sequence: updates.len(),
                name: (*name).to_owned(),
                old: (*old).to_owned(),
                new: (*new).to_owned(),
            });
        }
    }
    updates
}

fn journal_of(repo: &Path) -> PathBuf {
    repo.join("journal")
}

/// Writes an executable hook.
pub(crate) fn write_hook(repo: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = repo.join("hooks");
    fs::create_dir_all(&folder).unwrap();
    // Not written in place: a hook that is just being run cannot be opened for writing.
    let draft = folder.join(format!("{name}.draft"));
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&draft, folder.join(name)).unwrap();
}
