//! The copy of the sources that mutants are put into.
//!
//! It lies below the workspace's own `target`, with a build folder of its own that stays warm: built from other paths,
//! the workspace's crates would never be taken for the originals, but the program that they give has one name only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::list::root;

/// A copy of the sources that git knows, and where they are built.
#[derive(Debug)]
pub(crate) struct Scratch {
    sources: PathBuf,
    builds: PathBuf,
}

impl Scratch {
    /// Brings the copy up to date with the workspace, touching nothing that is so already.
    pub(crate) fn bring_up_to_date() -> Self {
        let folder = root().join("target/mutants");
        let scratch = Self {
            sources: folder.join("tree"),
            builds: folder.join("build"),
        };
        let known = known_to_git();
        for file in &known {
            // A file that git knows and that is gone is gone in the copy, too.
            match fs::read(root().join(file)) {
                Ok(bytes) => scratch.write(file, &bytes),
                Err(_) => scratch.remove(file),
            }
        }
        for file in scratch.files() {
            if !known.contains(&file) {
                scratch.remove(&file);
            }
        }
        scratch.begin_builds();
        scratch
    }

    /// Where the copy's workspace is.
    pub(crate) fn sources(&self) -> &Path {
        &self.sources
    }

    /// Where it is built.
    pub(crate) fn builds(&self) -> &Path {
        &self.builds
    }

    /// Gives a file this content, unless it has it.
    pub(crate) fn write(&self, file: &str, bytes: &[u8]) {
        let path = self.sources.join(file);
        if fs::read(&path).is_ok_and(|known| known == bytes) {
            return;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let original = fs::metadata(root().join(file)).unwrap();
        fs::set_permissions(&path, original.permissions()).unwrap();
    }

    fn remove(&self, file: &str) {
        let _ = fs::remove_file(self.sources.join(file));
    }

    /// The copy's files, from its root.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.sources.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    let path = entry.path();
                    let inside = path.strip_prefix(&self.sources).unwrap();
                    files.push(inside.to_str().unwrap().to_owned());
                }
            }
        }
        files
    }

    /// Begins with what the workspace has built of others' crates, which is the same from any path.
    fn begin_builds(&self) {
        let (from, to) = (root().join("target/debug"), self.builds.join("debug"));
        if to.exists() || !from.exists() {
            return;
        }
        eprintln!("taking over what is built of the dependencies");
        fs::create_dir_all(&to).unwrap();
        for folder in ["deps", "build", ".fingerprint"] {
            let entries = fs::read_dir(from.join(folder))
                .into_iter()
                .flatten()
                .flatten();
            let others: Vec<PathBuf> = entries
                .filter(|entry| !entry.file_name().to_string_lossy().contains("tidegate"))
                .map(|entry| entry.path())
                .collect();
            let into = to.join(folder);
            fs::create_dir_all(&into).unwrap();
            // By `cp`, for it keeps the times by which cargo knows what is fresh.
            for some in others.chunks(500) {
                let copied = Command::new("cp").arg("-a").args(some).arg(&into).status();
                assert!(copied.unwrap().success(), "copying {folder} failed");
            }
        }
    }
}

fn known_to_git() -> BTreeSet<String> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .expect("git lists the sources");
    assert!(listed.status.success(), "git cannot list the sources");
    let text = String::from_utf8(listed.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}
