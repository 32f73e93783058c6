//! Where a fleet's files come from: a tree in an object store, or a folder on disk.
//!
//! The renderer sees neither: it sees a [`SourceTree`], a list of entries that can be read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tidegate_waves::oid::Oid;

use crate::text::plain;
use crate::tree::{blob_id, from_git, to_git};

/// What an entry of a source tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file (executable or not).
    File,
    /// A symbolic link: never followed.
    Symlink,
    /// A submodule: never entered.
    Submodule,
}

/// One file of a source tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path from the repo's root, `/` between components, as bytes: git does not promise UTF-8.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// The id of the blob with its content (of the commit, for a submodule).
    pub blob: Oid,
}

impl Entry {
    /// The path for people: bytes that are no UTF-8, and control characters, are written as `\xff`.
    #[must_use]
    pub fn shown_path(&self) -> String {
        shown(&self.path)
    }
}

/// Bytes for people: what is no UTF-8, and what could deceive a reader or a terminal, is escaped.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&plain(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A file could not be read from where the source tree lives.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {reason}")]
pub struct ReadError {
    /// The file.
    pub path: String,
    /// What the store or the file system said.
    pub reason: String,
}

impl ReadError {
    /// The error for a path (as bytes) and what the store said.
    pub fn new(path: &[u8], reason: impl std::fmt::Display) -> Self {
        Self {
            path: shown(path),
            reason: reason.to_string(),
        }
    }
}

/// A snapshot of all files of a repo.
pub trait SourceTree {
    /// All entries (no folders), in the order of their paths' bytes.
    fn entries(&self) -> Result<Vec<Entry>, ReadError>;

    /// The size of an entry's content in bytes, without reading it where that is possible.
    fn size(&self, entry: &Entry) -> Result<u64, ReadError>;

    /// The content of an entry.
    fn read(&self, entry: &Entry) -> Result<Vec<u8>, ReadError>;
}

/// The most files that a repo may have: more is a mistake, or a tree made to grow without end.
pub const MOST_FILES: usize = 1_000_000;

/// The longest path of a file, in bytes.
pub const LONGEST_PATH: usize = 4096;

/// A source tree that stands in memory: for tests, and for files that are made up on the spot.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    files: BTreeMap<Vec<u8>, (EntryKind, Vec<u8>)>,
}

impl MemoryTree {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same tree with one more regular file, or with another content of one.
    #[must_use]
    pub fn with(mut self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.insert(path, EntryKind::File, content);
        self
    }

    /// Adds an entry or replaces it; the content of a symbolic link is its target, of a submodule nothing.
    pub fn insert(
        &mut self,
        path: impl AsRef<[u8]>,
        kind: EntryKind,
        content: impl AsRef<[u8]>,
    ) -> &mut Self {
        self.files
            .insert(path.as_ref().to_vec(), (kind, content.as_ref().to_vec()));
        self
    }

    /// Takes an entry out; nothing happens if there is none.
    pub fn remove(&mut self, path: impl AsRef<[u8]>) -> &mut Self {
        self.files.remove(path.as_ref());
        self
    }
}

impl SourceTree for MemoryTree {
    fn entries(&self) -> Result<Vec<Entry>, ReadError> {
        let entry = |(path, (kind, content)): (&Vec<u8>, &(EntryKind, Vec<u8>))| Entry {
            path: path.clone(),
            kind: *kind,
            blob: blob_id(content),
        };
        Ok(self.files.iter().map(entry).collect())
    }

    fn size(&self, entry: &Entry) -> Result<u64, ReadError> {
        self.read(entry).map(|content| content.len() as u64)
    }

    fn read(&self, entry: &Entry) -> Result<Vec<u8>, ReadError> {
        self.files
            .get(&entry.path)
            .map(|(_, content)| content.clone())
            .ok_or_else(|| ReadError::new(&entry.path, "there is no such file"))
    }
}

/// A source tree in a git object store: blobs as they are, without a checkout, so that neither
/// attributes nor filters nor line-ending settings change a byte.
pub struct GitTree<'repository> {
    repository: &'repository git2::Repository,
    tree: Oid,
}

impl<'repository> GitTree<'repository> {
    /// The source tree with the id `tree` (of a tree, not of a commit).
    #[must_use]
    pub fn new(repository: &'repository git2::Repository, tree: Oid) -> Self {
        Self { repository, tree }
    }

    /// The source tree of the commit, tag or tree that `id` names.
    pub fn of_commit(
        repository: &'repository git2::Repository,
        id: Oid,
    ) -> Result<Self, ReadError> {
        let tree = repository
            .find_object(to_git(id), None)
            .and_then(|object| object.peel_to_tree())
            .map(|tree| from_git(tree.id()))
            .map_err(|error| ReadError::new(id.to_string().as_bytes(), error))?;
        Ok(Self { repository, tree })
    }

    /// The tree's id.
    #[must_use]
    pub fn id(&self) -> Oid {
        self.tree
    }
}

impl SourceTree for GitTree<'_> {
    fn entries(&self) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        // A list of folders still to visit instead of recursion: trees may be nested without end.
        let mut folders = vec![(Vec::new(), self.tree)];
        while let Some((prefix, id)) = folders.pop() {
            let failed = |error: git2::Error| ReadError::new(&prefix, error);
            let tree = self.repository.find_tree(to_git(id)).map_err(failed)?;
            for item in &tree {
                let mut path = prefix.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(item.name_bytes());
                if path.len() > LONGEST_PATH {
                    return Err(ReadError::new(
                        &path,
                        format!("its path is longer than {LONGEST_PATH} bytes"),
                    ));
                }
                let blob = from_git(item.id());
                let kind = match item.filemode() {
                    0o040_000 => {
                        folders.push((path, blob));
                        continue;
                    }
                    0o120_000 => EntryKind::Symlink,
                    0o160_000 => EntryKind::Submodule,
                    _ => EntryKind::File,
                };
                entries.push(Entry { path, kind, blob });
                if entries.len() > MOST_FILES {
                    return Err(ReadError::new(
                        &prefix,
                        format!("the repo has more than {MOST_FILES} files"),
                    ));
                }
            }
            if folders.len() > MOST_FILES {
                return Err(ReadError::new(
                    &prefix,
                    format!("the repo has more than {MOST_FILES} folders"),
                ));
            }
        }
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(entries)
    }

    fn size(&self, entry: &Entry) -> Result<u64, ReadError> {
        self.repository
            .odb()
            .and_then(|store| store.read_header(to_git(entry.blob)))
            .map(|(size, _)| size as u64)
            .map_err(|error| ReadError::new(&entry.path, error))
    }

    fn read(&self, entry: &Entry) -> Result<Vec<u8>, ReadError> {
        self.repository
            .find_blob(to_git(entry.blob))
            .map(|blob| blob.content().to_vec())
            .map_err(|error| ReadError::new(&entry.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(Entry::shown_path).collect()
    }

    #[test]
    fn a_git_tree_and_a_memory_tree_with_the_same_files_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let repository = git2::Repository::init_bare(folder.path()).unwrap();
        let blob = |content: &[u8]| repository.blob(content).unwrap();
        let mut below = repository.treebuilder(None).unwrap();
        below.insert("b.yaml", blob(b"b\r\n"), 0o100_755).unwrap();
        let below = below.write().unwrap();
        let mut top = repository.treebuilder(None).unwrap();
        top.insert("a", below, 0o040_000).unwrap();
        top.insert("a.yaml", blob(b"a"), 0o100_644).unwrap();
        top.insert("link", blob(b"/etc/passwd"), 0o120_000).unwrap();
        let top = top.write().unwrap();

        let tree = GitTree::of_commit(&repository, from_git(top)).unwrap();
        let mut memory = MemoryTree::new()
            .with("a.yaml", "a")
            .with("a/b.yaml", "b\r\n");
        memory.insert("link", EntryKind::Symlink, "/etc/passwd");
        let entries = tree.entries().unwrap();
        assert_eq!(entries, memory.entries().unwrap());
        assert_eq!(paths(&entries), ["a.yaml", "a/b.yaml", "link"]);
        for entry in &entries {
            assert_eq!(tree.read(entry).unwrap(), memory.read(entry).unwrap());
            assert_eq!(tree.size(entry).unwrap(), memory.size(entry).unwrap());
        }
    }

    #[test]
    fn a_tree_nested_without_end_is_an_error_and_no_overflow() {
        let folder = tempfile::tempdir().unwrap();
        let repository = git2::Repository::init_bare(folder.path()).unwrap();
        let mut tree = repository.treebuilder(None).unwrap().write().unwrap();
        for _ in 0..3000 {
            let mut builder = repository.treebuilder(None).unwrap();
            builder.insert("d", tree, 0o040_000).unwrap();
            tree = builder.write().unwrap();
        }
        let tree = GitTree::new(&repository, from_git(tree));
        let error = tree.entries().unwrap_err();
        assert!(error.reason.contains("longer than 4096 bytes"), "{error}");
    }

    #[test]
    fn names_that_are_no_utf8_are_shown_escaped() {
        let entry = Entry {
            path: b"templates/\xff\x1b.yaml".to_vec(),
            kind: EntryKind::File,
            blob: Oid::ZERO,
        };
        assert_eq!(entry.shown_path(), r"templates/\xff\x1b.yaml");
    }
}
