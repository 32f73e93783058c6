//! The data folder: who this process is, and that it is alone there.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Another process works there.
    #[error(
        "another tidegate works in the data folder {}; stop it, or give this one another folder (dataDir in the settings, or --data-dir)",
        .0.display()
    )]
    InUse(PathBuf),
    /// A file there cannot be read or written.
    #[error("cannot use {} in the data folder: {source}; check the folder's owner, permissions and free space", .path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    NoRandomness(String),
}

/// Who a process is: 128 random bits, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity(String);

impl Identity {
    /// A new one that nobody has had before.
    pub fn random() -> Result<Self, DataFolderError> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes)
            .map_err(|error| DataFolderError::NoRandomness(error.to_string()))?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end();
        let valid = text.len() == 32
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A data folder that this process alone works in, for as long as this lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    identity: Identity,
    /// The system lets go of the lock when the process dies.
    lock: File,
}

/// Closing the file is not enough: a child that is being started has a copy of the descriptor until it runs its
/// own program, and the copy would keep the lock.
impl Drop for DataFolder {
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::debug!(path = %self.path.display(), %error, "the data folder's lock goes with the process");
        }
    }
}

impl DataFolder {
    /// Makes the folder if there is none, and takes it for this process.
    pub fn open(path: &Path) -> Result<Self, DataFolderError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| DataFolderError::Unusable { path, source }
        };
        std::fs::create_dir_all(path).map_err(unusable(path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(unusable(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataFolderError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(unusable(&lock_path)(source)),
        }
        let identity_path = path.join("identity");
        let identity = identity(&identity_path, path).map_err(|error| match error {
            Failed::Io(source) => unusable(&identity_path)(source),
            Failed::Other(error) => error,
        })?;
        Ok(Self {
            path: path.to_owned(),
            identity,
            lock,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who the processes that work here are, one after the other.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

enum Failed {
    Io(io::Error),
    Other(DataFolderError),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The identity in the file, or a new one that is written there. The lock must be held.
fn identity(path: &Path, folder: &Path) -> Result<Identity, Failed> {
    match std::fs::read(path) {
        Ok(bytes) => {
            if let Some(identity) = str::from_utf8(&bytes).ok().and_then(Identity::parse) {
                return Ok(identity);
            }
            // Losing it costs one wait for a takeover.
            tracing::warn!(path = %path.display(), "the identity is damaged, taking a new one");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let identity = Identity::random().map_err(Failed::Other)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{identity}")?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()?;
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_stays_with_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/data");
        let first = DataFolder::open(&path).unwrap().identity().clone();
        let second = DataFolder::open(&path).unwrap();
        assert_eq!(&first, second.identity());
        assert_eq!(first.as_str().len(), 32);
        let elsewhere = DataFolder::open(&folder.path().join("other")).unwrap();
        assert_ne!(&first, elsewhere.identity());
    }

    #[test]
    fn a_folder_belongs_to_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolder::open(folder.path()).unwrap();
        let error = DataFolder::open(folder.path()).unwrap_err();
        assert!(matches!(error, DataFolderError::InUse(_)));
        assert!(
            error
                .to_string()
                .contains(&folder.path().display().to_string())
        );
        drop(held);
        DataFolder::open(folder.path()).unwrap();
    }

    #[test]
    fn a_damaged_identity_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for damaged in [&b""[..], b"abc", b"\xff\xfe", &[b'G'; 32]] {
            std::fs::write(folder.path().join("identity"), damaged).unwrap();
            let identity = DataFolder::open(folder.path()).unwrap().identity().clone();
            assert_eq!(
                DataFolder::open(folder.path()).unwrap().identity(),
                &identity
            );
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = DataFolder::open(&file.join("data")).unwrap_err();
        assert!(error.to_string().contains("data"));
    }
}
