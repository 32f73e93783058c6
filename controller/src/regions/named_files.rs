//! Files by which a client is made, and how a change of them is noticed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What changes when a file is written or another one takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileVersion {
    device: u64,
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl FileVersion {
    /// Of the file of which this was read.
    pub(super) fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            length: found.len(),
            modified: found.modified().ok(),
        }
    }
}

/// Files that a client is made from once, as they were: the authorities, the certificate and the key that credentials name.
///
/// Files of tokens are none of them. The library reads those again by itself, once a minute, and goes on with the last
/// token where such a file is taken away after the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NamedFiles(Vec<(PathBuf, Option<FileVersion>)>);

impl NamedFiles {
    /// These files as they are now. One that cannot be looked at has no version, and one again when it can be.
    pub(super) fn now<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let files = files.into_iter().map(|file| {
            let found = std::fs::metadata(file).ok();
            (file.to_owned(), found.as_ref().map(FileVersion::of))
        });
        Self(files.collect())
    }
}
