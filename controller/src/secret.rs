//! Secrets: texts that must appear in no log, error, page or argument list.
//!
//! A [`Secret`] has neither `Debug` nor `Display`, so that what prints it does not compile; the few places
//! that hand it to somebody call [`Secret::reveal`]. A [`SecretSource`] says where a secret comes from and
//! reads it anew each time, so that a rotated file is taken up without a restart.

mod mask;

pub use mask::Mask;

use std::env;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest secret that is accepted; a larger file is surely the wrong one.
const MAX_BYTES: u64 = 64 << 10;

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into custody.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who has to send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of this process.
    Environment(&'static str),
    /// A file; one newline at its end is not part of the secret.
    File(PathBuf),
}

/// A secret could not be read. Retryable: the file may be in the middle of its rotation.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the secret from {source_name}: {reason}")]
pub struct SecretError {
    /// The file or variable.
    pub source_name: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

impl SecretSource {
    /// The secret as it is now.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let text = match self {
            Self::Environment(name) => env::var(name).map_err(|error| error.to_string()),
            Self::File(path) => read_file(path),
        }
        .and_then(checked);
        text.map_err(|reason| SecretError {
            source_name: self.to_string(),
            reason,
        })
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("it is longer than {MAX_BYTES} bytes"));
    }
    let end = text.strip_suffix('\n').unwrap_or(&text);
    Ok(end.strip_suffix('\r').unwrap_or(end).to_owned())
}

/// An empty secret or one with a line break would turn into another meaning in a header.
fn checked(text: String) -> Result<Secret, String> {
    if text.is_empty() {
        Err("it is empty".to_owned())
    } else if text.chars().any(char::is_control) {
        Err("it contains a line break or another control character".to_owned())
    } else {
        Ok(Secret(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, content).unwrap();
        SecretSource::File(path)
            .read()
            .map(|secret| secret.reveal().to_owned())
            .map_err(|error| error.reason)
    }

    #[test]
    fn one_newline_at_the_end_of_a_file_is_not_part_of_the_secret() {
        assert_eq!(read(b"hunter2\n").unwrap(), "hunter2");
        assert_eq!(read(b"hunter2\r\n").unwrap(), "hunter2");
        assert_eq!(read(b" hunter2 ").unwrap(), " hunter2 ");
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_without_being_shown() {
        assert_eq!(read(b"\n").unwrap_err(), "it is empty");
        for content in [b"a\nb".as_slice(), b"a\n\n", b"a\0b", b"\xff"] {
            assert!(read(content).is_err(), "{content:?}");
        }
        assert!(read(&vec![b'a'; 100_000]).unwrap_err().contains("longer"));
    }

    #[test]
    fn a_rotated_file_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let source = SecretSource::File(path.clone());
        assert!(source.read().is_err());
        for content in ["one", "two"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(source.read().unwrap().reveal(), content);
        }
    }
}
