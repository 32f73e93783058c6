//! The files of a folder on disk as a source tree: tracked or not, less what git ignores.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::WalkBuilder;
use tidegate_renderer::source::{Entry, EntryKind, ReadError, SourceTree};
use tidegate_renderer::tree::blob_id;
use tidegate_waves::oid::Oid;

/// The files below a folder, as they were when it was opened.
#[derive(Debug)]
pub struct WorkTree {
    root: PathBuf,
    entries: Vec<Entry>,
}

impl WorkTree {
    /// Lists the files of a repo on disk; `root` is the folder that holds `.git`, if any does.
    pub fn open(root: &Path) -> Result<Self, ReadError> {
        let mut kinds = walk(root)?;
        // Git does not ignore a file that it tracks, whatever the patterns say.
        for path in tracked(root) {
            if !kinds.contains_key(&path)
                && let Some(kind) = kind_of(&absolute(root, &path))
            {
                kinds.insert(path, kind);
            }
        }
        let entries = kinds
            .into_iter()
            .map(|(path, kind)| {
                let blob = match kind {
                    EntryKind::Submodule => Oid::ZERO,
                    EntryKind::File | EntryKind::Symlink => {
                        let content = read(root, &path, kind)?;
                        blob_id(&content)
                    }
                };
                Ok(Entry { path, kind, blob })
            })
            .collect::<Result<_, ReadError>>()?;
        Ok(Self {
            root: root.to_owned(),
            entries,
        })
    }
}

impl SourceTree for WorkTree {
    fn entries(&self) -> Result<Vec<Entry>, ReadError> {
        Ok(self.entries.clone())
    }

    fn size(&self, entry: &Entry) -> Result<u64, ReadError> {
        fs::symlink_metadata(absolute(&self.root, &entry.path))
            .map(|metadata| metadata.len())
            .map_err(|error| ReadError::new(&entry.path, error))
    }

    fn read(&self, entry: &Entry) -> Result<Vec<u8>, ReadError> {
        read(&self.root, &entry.path, entry.kind)
    }
}

fn walk(root: &Path) -> Result<BTreeMap<Vec<u8>, EntryKind>, ReadError> {
    let nested: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
    let found_nested = Arc::clone(&nested);
    let walker = WalkBuilder::new(root)
        .hidden(false)
        .ignore(false)
        .parents(false)
        // A folder that is about to become a repo is read as the repo it will be.
        .require_git(false)
        .follow_links(false)
        .filter_entry(move |entry| {
            if entry.file_name() == ".git" {
                return false;
            }
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            if is_folder && entry.depth() > 0 && entry.path().join(".git").exists() {
                // A repo inside the repo: git sees one entry, not its files.
                found_nested
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(entry.path().to_owned());
                return false;
            }
            true
        })
        .build();
    let mut kinds = BTreeMap::new();
    for entry in walker {
        let entry = entry.map_err(|error| ReadError::new(root.as_os_str().as_bytes(), error))?;
        let kind = match entry.file_type() {
            Some(kind) if kind.is_file() => EntryKind::File,
            Some(kind) if kind.is_symlink() => EntryKind::Symlink,
            // Folders are no entries, and git does not know sockets and pipes.
            _ => continue,
        };
        if let Some(path) = relative(root, entry.path()) {
            kinds.insert(path, kind);
        }
    }
    let nested = nested.lock().unwrap_or_else(PoisonError::into_inner);
    for path in nested.iter().filter_map(|path| relative(root, path)) {
        kinds.insert(path, EntryKind::Submodule);
    }
    Ok(kinds)
}

/// The paths in the repo's index; none if there is no repo or it cannot be read, for then git ignores nothing.
fn tracked(root: &Path) -> Vec<Vec<u8>> {
    git2::Repository::open(root)
        .and_then(|repository| repository.index())
        .map(|index| index.iter().map(|entry| entry.path).collect())
        .unwrap_or_default()
}

fn kind_of(path: &Path) -> Option<EntryKind> {
    let kind = fs::symlink_metadata(path).ok()?.file_type();
    if kind.is_file() {
        Some(EntryKind::File)
    } else if kind.is_symlink() {
        Some(EntryKind::Symlink)
    } else {
        None
    }
}

fn read(root: &Path, path: &[u8], kind: EntryKind) -> Result<Vec<u8>, ReadError> {
    let on_disk = absolute(root, path);
    let content = match kind {
        EntryKind::Symlink => {
            fs::read_link(&on_disk).map(|target| target.as_os_str().as_bytes().to_vec())
        }
        EntryKind::File => fs::read(&on_disk),
        EntryKind::Submodule => Err(io::Error::other("a repo inside the repo has no content")),
    };
    content.map_err(|error| ReadError::new(path, error))
}

fn absolute(root: &Path, path: &[u8]) -> PathBuf {
    root.join(std::ffi::OsStr::from_bytes(path))
}

fn relative(root: &Path, path: &Path) -> Option<Vec<u8>> {
    let path = path.strip_prefix(root).ok()?;
    Some(path.as_os_str().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn listed(root: &Path) -> Vec<String> {
        let tree = WorkTree::open(root).unwrap();
        let entries = tree.entries().unwrap();
        entries
            .iter()
            .map(|entry| format!("{} {:?}", entry.shown_path(), entry.kind))
            .collect()
    }

    #[test]
    fn untracked_files_count_and_ignored_ones_do_not_unless_tracked() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let repository = git2::Repository::init(root).unwrap();
        write(root, ".gitignore", "*.tmp\n/out/\n");
        write(root, "a.yaml", "a");
        write(root, "b.tmp", "b");
        write(root, "tracked.tmp", "t");
        write(root, "out/c.yaml", "c");
        write(root, ".hidden/d.yaml", "d");
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
        let mut index = repository.index().unwrap();
        index.add_path(Path::new("tracked.tmp")).unwrap();
        index.write().unwrap();
        assert_eq!(
            listed(root),
            [
                ".gitignore File",
                ".hidden/d.yaml File",
                "a.yaml File",
                "link Symlink",
                "tracked.tmp File",
            ]
        );
    }

    #[test]
    fn without_a_repo_the_patterns_count_too() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), ".gitignore", "b.yaml\n");
        write(folder.path(), "a.yaml", "a");
        write(folder.path(), "b.yaml", "b");
        assert_eq!(listed(folder.path()), [".gitignore File", "a.yaml File"]);
    }

    #[test]
    fn a_repo_inside_the_repo_is_one_entry() {
        let folder = tempfile::tempdir().unwrap();
        git2::Repository::init(folder.path()).unwrap();
        git2::Repository::init(folder.path().join("vendored")).unwrap();
        write(folder.path(), "vendored/a.yaml", "a");
        assert_eq!(listed(folder.path()), ["vendored Submodule"]);
    }

    #[test]
    fn content_and_id_are_those_that_git_would_give() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.yaml", "a: 1\r\n");
        let tree = WorkTree::open(folder.path()).unwrap();
        let entry = tree.entries().unwrap().remove(0);
        assert_eq!(tree.read(&entry).unwrap(), b"a: 1\r\n");
        assert_eq!(tree.size(&entry).unwrap(), 6);
        assert_eq!(entry.blob, blob_id(b"a: 1\r\n"));
    }
}
