//! Where a fleet's files come from: a tree in an object store, or a folder on disk.
//!
//! The renderer sees neither: it sees a [`SourceTree`], a list of entries that can be read.

use tidegate_waves::oid::Oid;

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

/// A file could not be read from where the source tree lives.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {reason}")]
pub struct ReadError {
    /// The file.
    pub path: String,
    /// What the store or the file system said.
    pub reason: String,
}

/// A snapshot of all files of a repo.
pub trait SourceTree {
    /// All entries (no folders), in the order of their paths' bytes.
    fn entries(&self) -> Result<Vec<Entry>, ReadError>;

    /// The content of an entry.
    fn read(&self, entry: &Entry) -> Result<Vec<u8>, ReadError>;
}
