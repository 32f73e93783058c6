//! Git objects: region trees, spliced wave trees and commits, made in memory and written as one pack.
//!
//! An [`ObjectStore`] makes blobs, trees and commits without touching the disk: their ids depend on
//! their bytes alone. What is new reaches the repository by [`ObjectStore::flush`], as one pack and
//! never as loose files. Without a repository ([`ObjectStore::in_memory`]) the same functions serve
//! checks that must leave nothing behind.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use git2::{ObjectType, Odb, OdbLookupFlags, Repository};
use tidegate_waves::oid::Oid;

/// The id of the tree that has no entries.
pub const EMPTY_TREE: Oid = Oid::from_bytes([
    0x4b, 0x82, 0x5d, 0xc6, 0x42, 0xcb, 0x6e, 0xb9, 0xa0, 0x60, 0xe5, 0x4b, 0xf8, 0xd6, 0x92, 0x88,
    0xfb, 0xee, 0x49, 0x04,
]);

/// The mode of a folder.
pub const MODE_TREE: u32 = 0o040_000;
/// The mode of a regular file.
pub const MODE_FILE: u32 = 0o100_644;

/// How many bytes of new objects may wait for [`ObjectStore::flush`].
const MAX_PENDING_BYTES: usize = 512 << 20;

/// So many objects, spread over all that wait, are looked for first; where the repository has none of them, all count
/// as new. Looking for one that is not there asks every pack, and a busy mirror has a hundred; an object that is in
/// two packs costs only room until they are gathered.
const LOOKED_FOR_FIRST: usize = 64;

/// How many bytes of a new pack are handed on at once.
const PACK_PIECE_BYTES: usize = 1 << 20;

/// What went wrong with the object store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The repository cannot be opened. Permanent until somebody mends it.
    #[error("cannot open the repository at {path}: {source}")]
    Open {
        /// Where it should be.
        path: PathBuf,
        /// What libgit2 said.
        source: git2::Error,
    },
    /// An object is not there, or is of another kind. Permanent.
    #[error("{kind} {id} cannot be read: {reason}")]
    Read {
        /// What was looked for: `blob`, `tree`, `commit`.
        kind: &'static str,
        /// Its id.
        id: Oid,
        /// Why not.
        reason: String,
    },
    /// The new objects could not be written; they are kept and the next flush tries again. Retryable.
    #[error("cannot write {count} new objects to {path}: {reason}")]
    Write {
        /// How many were waiting.
        count: usize,
        /// The repository.
        path: PathBuf,
        /// What libgit2 or the file system said.
        reason: String,
    },
    /// More content is waiting than one flush may hold. Permanent for this input.
    #[error("more than {limit} bytes of new content at once; render less into one commit")]
    TooMuch {
        /// The bound.
        limit: usize,
    },
    /// A name that no tree entry may have. Permanent.
    #[error("{0:?} cannot be the name of a tree entry")]
    BadName(String),
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The name, as bytes: git does not promise UTF-8.
    pub name: Vec<u8>,
    /// The mode, [`MODE_TREE`] for a folder.
    pub mode: u32,
    /// The id of the entry's tree, blob or commit.
    pub id: Oid,
}

impl TreeEntry {
    /// Whether it is a folder.
    #[must_use]
    pub fn is_tree(&self) -> bool {
        self.mode == MODE_TREE
    }

    /// The key by which git sorts: folders as if their name ended in a slash.
    fn sort_key(&self) -> Vec<u8> {
        let mut key = self.name.clone();
        if self.is_tree() {
            key.push(b'/');
        }
        key
    }
}

/// What a commit is made of; equal parts give equal ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCommit<'a> {
    /// Its tree.
    pub tree: Oid,
    /// Its parents in order.
    pub parents: &'a [Oid],
    /// Author and committer: the name.
    pub author_name: &'a str,
    /// Author and committer: the mail address.
    pub author_email: &'a str,
    /// Seconds since the epoch, UTC.
    pub seconds: i64,
    /// The message; a missing newline at its end is added.
    pub message: &'a str,
}

/// One new object that waits to be written.
struct Pending {
    kind: ObjectType,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Waiting {
    objects: BTreeMap<Oid, Pending>,
    bytes: usize,
}

/// Where git objects are read from and new ones gathered.
pub struct ObjectStore {
    repository: Option<(PathBuf, Mutex<Repository>)>,
    waiting: Mutex<Waiting>,
}

impl std::fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectStore")
            .field(
                "repository",
                &self.repository.as_ref().map(|(path, _)| path),
            )
            .finish_non_exhaustive()
    }
}

/// A panic elsewhere cannot leave these maps half changed, so a poisoned lock is as good as another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// libgit2's form of an id.
#[must_use]
pub fn to_git(id: Oid) -> git2::Oid {
    git2::Oid::from_bytes(id.as_bytes()).unwrap_or(git2::Oid::ZERO_SHA1)
}

/// Our form of libgit2's id.
#[must_use]
pub fn from_git(id: git2::Oid) -> Oid {
    <[u8; 20]>::try_from(id.as_bytes()).map_or(Oid::ZERO, Oid::from_bytes)
}

/// The id that a blob with these bytes has.
#[must_use]
pub fn blob_id(bytes: &[u8]) -> Oid {
    object_id(ObjectType::Blob, bytes)
}

fn object_id(kind: ObjectType, bytes: &[u8]) -> Oid {
    git2::Oid::hash_object(kind, bytes).map_or(Oid::ZERO, from_git)
}

fn kind_name(kind: ObjectType) -> &'static str {
    kind.str()
}

impl ObjectStore {
    /// A store over the bare repository (or `.git` folder) at a path.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let repository = open_repository(path)?;
        Ok(Self {
            repository: Some((path.to_owned(), Mutex::new(repository))),
            waiting: Mutex::default(),
        })
    }

    /// A store over nothing: it reads back what was put into it and never writes.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            repository: None,
            waiting: Mutex::default(),
        }
    }

    /// Whether an object is in the repository or waits to be written.
    #[must_use]
    pub fn exists(&self, id: Oid) -> bool {
        lock(&self.waiting).objects.contains_key(&id) || self.is_written(id)
    }

    fn is_written(&self, id: Oid) -> bool {
        self.repository.as_ref().is_some_and(|(_, repository)| {
            lock(repository)
                .odb()
                .is_ok_and(|odb| odb.exists(to_git(id)))
        })
    }

    fn add(&self, kind: ObjectType, bytes: Vec<u8>) -> Result<Oid, StoreError> {
        let id = object_id(kind, &bytes);
        let mut waiting = lock(&self.waiting);
        if waiting.objects.contains_key(&id) {
            return Ok(id);
        }
        if waiting.bytes + bytes.len() > MAX_PENDING_BYTES {
            return Err(StoreError::TooMuch {
                limit: MAX_PENDING_BYTES,
            });
        }
        waiting.bytes += bytes.len();
        waiting.objects.insert(id, Pending { kind, bytes });
        Ok(id)
    }

    fn read(&self, kind: ObjectType, id: Oid) -> Result<Vec<u8>, StoreError> {
        let failed = |reason: String| StoreError::Read {
            kind: kind_name(kind),
            id,
            reason,
        };
        if let Some(pending) = lock(&self.waiting).objects.get(&id) {
            return if pending.kind == kind {
                Ok(pending.bytes.clone())
            } else {
                Err(failed(format!("it is a {}", kind_name(pending.kind))))
            };
        }
        let Some((_, repository)) = &self.repository else {
            return Err(failed("it is not there".to_owned()));
        };
        let repository = lock(repository);
        let odb = repository
            .odb()
            .map_err(|error| failed(error.message().to_owned()))?;
        let object = odb
            .read(to_git(id))
            .map_err(|error| failed(error.message().to_owned()))?;
        if object.kind() == kind {
            Ok(object.data().to_vec())
        } else {
            Err(failed(format!("it is a {}", kind_name(object.kind()))))
        }
    }

    /// Makes a blob.
    pub fn blob(&self, bytes: &[u8]) -> Result<Oid, StoreError> {
        self.add(ObjectType::Blob, bytes.to_vec())
    }

    /// Reads a blob.
    pub fn read_blob(&self, id: Oid) -> Result<Vec<u8>, StoreError> {
        self.read(ObjectType::Blob, id)
    }

    /// Makes a tree of entries in any order; of two with one name the later wins.
    pub fn tree(&self, entries: Vec<TreeEntry>) -> Result<Oid, StoreError> {
        let mut by_name = BTreeMap::new();
        for entry in entries {
            let name = &entry.name;
            if name.is_empty()
                || name.contains(&b'/')
                || name.contains(&0)
                || matches!(name.as_slice(), b"." | b"..")
                || name.eq_ignore_ascii_case(b".git")
            {
                return Err(StoreError::BadName(
                    String::from_utf8_lossy(name).into_owned(),
                ));
            }
            by_name.insert(name.clone(), entry);
        }
        let mut sorted: Vec<TreeEntry> = by_name.into_values().collect();
        sorted.sort_by_key(TreeEntry::sort_key);
        let mut bytes = Vec::new();
        for entry in sorted {
            bytes.extend_from_slice(format!("{:o} ", entry.mode).as_bytes());
            bytes.extend_from_slice(&entry.name);
            bytes.push(0);
            bytes.extend_from_slice(entry.id.as_bytes());
        }
        self.add(ObjectType::Tree, bytes)
    }

    /// The entries of a tree, in git's order.
    pub fn read_tree(&self, id: Oid) -> Result<Vec<TreeEntry>, StoreError> {
        if id == EMPTY_TREE {
            return Ok(Vec::new());
        }
        let bytes = self.read(ObjectType::Tree, id)?;
        parse_tree(&bytes).ok_or_else(|| StoreError::Read {
            kind: "tree",
            id,
            reason: "it is damaged".to_owned(),
        })
    }

    /// Makes the tree of a folder from its files: path (`/` between components) to blob.
    pub fn folder(&self, files: &BTreeMap<String, Oid>) -> Result<Oid, StoreError> {
        let mut entries = Vec::new();
        let mut folders: BTreeMap<&str, BTreeMap<String, Oid>> = BTreeMap::new();
        for (path, blob) in files {
            match path.split_once('/') {
                None => entries.push(TreeEntry {
                    name: path.clone().into_bytes(),
                    mode: MODE_FILE,
                    id: *blob,
                }),
                Some((folder, rest)) => {
                    folders
                        .entry(folder)
                        .or_default()
                        .insert(rest.to_owned(), *blob);
                }
            }
        }
        for (folder, files) in folders {
            entries.push(TreeEntry {
                name: folder.as_bytes().to_vec(),
                mode: MODE_TREE,
                id: self.folder(&files)?,
            });
        }
        self.tree(entries)
    }

    /// All files below a tree by path (lossy where a name is not UTF-8); links and submodules are
    /// files here too.
    pub fn files(&self, tree: Oid) -> Result<BTreeMap<String, Oid>, StoreError> {
        let mut files = BTreeMap::new();
        let mut open = vec![(String::new(), tree)];
        while let Some((folder, id)) = open.pop() {
            for entry in self.read_tree(id)? {
                let path = format!("{folder}{}", String::from_utf8_lossy(&entry.name));
                if entry.is_tree() {
                    open.push((format!("{path}/"), entry.id));
                } else {
                    files.insert(path, entry.id);
                }
            }
        }
        Ok(files)
    }

    /// The folders at the root of a tree by name: a wave's or plan's regions.
    pub fn folders(&self, tree: Oid) -> Result<BTreeMap<String, Oid>, StoreError> {
        Ok(self
            .read_tree(tree)?
            .into_iter()
            .filter(TreeEntry::is_tree)
            .map(|entry| (String::from_utf8_lossy(&entry.name).into_owned(), entry.id))
            .collect())
    }

    /// The entry at a path below a tree, if there is one.
    pub fn entry(&self, tree: Oid, path: &str) -> Result<Option<TreeEntry>, StoreError> {
        let mut current = tree;
        let mut components = path.split('/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = components.next() {
            let found = self
                .read_tree(current)?
                .into_iter()
                .find(|entry| entry.name == name.as_bytes());
            match found {
                Some(entry) if components.peek().is_none() => return Ok(Some(entry)),
                Some(entry) if entry.is_tree() => current = entry.id,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// `base` with folders at its root replaced (`Some`) or removed (`None`); all else is kept.
    pub fn splice(&self, base: Oid, regions: &[(String, Option<Oid>)]) -> Result<Oid, StoreError> {
        let mut entries: BTreeMap<Vec<u8>, TreeEntry> = self
            .read_tree(base)?
            .into_iter()
            .map(|entry| (entry.name.clone(), entry))
            .collect();
        for (region, tree) in regions {
            let name = region.as_bytes().to_vec();
            match tree {
                Some(id) => {
                    entries.insert(
                        name.clone(),
                        TreeEntry {
                            name,
                            mode: MODE_TREE,
                            id: *id,
                        },
                    );
                }
                None => {
                    entries.remove(&name);
                }
            }
        }
        self.tree(entries.into_values().collect())
    }

    /// Makes a commit. Its author is its committer, its time zone UTC: equal parts, equal id.
    pub fn commit(&self, commit: &NewCommit<'_>) -> Result<Oid, StoreError> {
        let mut text = format!("tree {}\n", commit.tree);
        for parent in commit.parents {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "parent {parent}");
        }
        let person = format!(
            "{} <{}> {} +0000",
            identity_part(commit.author_name, "Tidegate"),
            identity_part(commit.author_email, "tidegate"),
            commit.seconds.max(0)
        );
        let _ = write!(text, "author {person}\ncommitter {person}\n\n");
        text.push_str(&commit.message.replace('\0', ""));
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.add(ObjectType::Commit, text.into_bytes())
    }

    /// Reads history with libgit2; `None` without a repository. What waits to be written is not seen.
    pub fn with_repository<T>(&self, read: impl FnOnce(&Repository) -> T) -> Option<T> {
        self.repository
            .as_ref()
            .map(|(_, repository)| read(&lock(repository)))
    }

    /// How many objects wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.waiting).objects.len()
    }

    /// Forgets what waits to be written.
    pub fn discard(&self) {
        *lock(&self.waiting) = Waiting::default();
    }

    /// Writes what is new as one pack; objects that the repository has already are not written, unless they are
    /// few among many new ones.
    ///
    /// Gives the number of objects written. On an error everything still waits.
    pub fn flush(&self) -> Result<usize, StoreError> {
        let Some((path, repository)) = &self.repository else {
            return Ok(0);
        };
        let mut waiting = lock(&self.waiting);
        if waiting.objects.is_empty() {
            return Ok(0);
        }
        let failed = |reason: String| StoreError::Write {
            count: waiting.objects.len(),
            path: path.clone(),
            reason,
        };
        let new: Vec<(Oid, &Pending)> = {
            let repository = lock(repository);
            let odb = repository
                .odb()
                .map_err(|error| failed(error.message().to_owned()))?;
            // One look for packs that others have written meanwhile. By itself libgit2 would look once for each
            // object that it does not find.
            odb.refresh()
                .map_err(|error| failed(error.message().to_owned()))?;
            let written = |id: Oid| odb.exists_ext(to_git(id), OdbLookupFlags::NO_REFRESH);
            let apart = (waiting.objects.len() / LOOKED_FOR_FIRST).max(1);
            let all_are_new = waiting.objects.len() > LOOKED_FOR_FIRST
                && !waiting.objects.keys().step_by(apart).any(|id| written(*id));
            waiting
                .objects
                .iter()
                .filter(|(id, _)| all_are_new || !written(**id))
                .map(|(id, pending)| (*id, pending))
                .collect()
        };
        let count = new.len();
        if count > 0 {
            write_pack(path, &new).map_err(|error| failed(error.to_string()))?;
            let repository = lock(repository);
            repository
                .odb()
                .and_then(|odb| odb.refresh())
                .map_err(|error| failed(error.message().to_owned()))?;
        }
        *waiting = Waiting::default();
        Ok(count)
    }
}

fn open_repository(path: &Path) -> Result<Repository, StoreError> {
    Repository::open(path).map_err(|source| StoreError::Open {
        path: path.to_owned(),
        source,
    })
}

#[derive(Debug, thiserror::Error)]
enum PackError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}", .0.message())]
    Git(#[from] git2::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Packs exactly the given objects.
///
/// They go through an object database that is nothing but memory: one that has a folder too is searched, packs and
/// all, for each object that is added. libgit2's own `dump` of a database in memory packs only what its commits
/// reach, so the pack is built by hand.
fn write_pack(path: &Path, objects: &[(Oid, &Pending)]) -> Result<(), PackError> {
    let memory = Odb::new()?;
    memory.add_new_mempack_backend(1)?;
    for (_, pending) in objects {
        memory.write(pending.kind, &pending.bytes)?;
    }
    let packing = Repository::from_odb(memory)?;
    let mut builder = packing.packbuilder()?;
    builder.set_threads(0);
    for (id, _) in objects {
        builder.insert_object(to_git(*id), None)?;
    }
    let repository = open_repository(path)?;
    let odb = repository.odb()?;
    // The builder gives a few bytes at a time, and the writer maps the file anew for each piece that it gets.
    let mut writer = BufWriter::with_capacity(PACK_PIECE_BYTES, odb.packwriter()?);
    let mut written: std::io::Result<()> = Ok(());
    let built = builder.foreach(|chunk| {
        written = writer.write_all(chunk);
        written.is_ok()
    });
    written?;
    built?;
    writer.flush()?;
    writer.get_mut().commit()?;
    Ok(())
}

/// A name or address as a commit's header can hold it.
fn identity_part<'a>(text: &'a str, otherwise: &'a str) -> String {
    let clean: String = text
        .chars()
        .filter(|character| !matches!(character, '<' | '>') && !character.is_control())
        .collect();
    let trimmed = clean.trim_matches(|character: char| {
        character.is_whitespace() || matches!(character, '.' | ',' | ':' | ';' | '"' | '\'' | '\\')
    });
    if trimmed.is_empty() {
        otherwise.to_owned()
    } else {
        trimmed.to_owned()
    }
}

/// Reads the bytes of a tree object, as they lie in a repository; `None` where they are damaged.
#[must_use]
pub fn parse_tree(mut bytes: &[u8]) -> Option<Vec<TreeEntry>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let mode = u32::from_str_radix(std::str::from_utf8(bytes.get(..space)?).ok()?, 8).ok()?;
        let rest = bytes.get(space + 1..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        let id = <[u8; 20]>::try_from(rest.get(end + 1..end + 21)?).ok()?;
        entries.push(TreeEntry {
            name: rest.get(..end)?.to_vec(),
            mode,
            id: Oid::from_bytes(id),
        });
        bytes = rest.get(end + 21..)?;
    }
    Some(entries)
}

#[cfg(test)]
mod tests;
