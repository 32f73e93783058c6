//! What a command's DIR names: a folder on disk, or a repo at a revision.

use std::path::{Path, PathBuf};

use super::error::CommandError;

/// Where a repo is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A folder on this machine.
    Path(PathBuf),
    /// Anything that git has to fetch from.
    Url(String),
}

/// What a command's DIR names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The fleet's folder, as it is on disk.
    Folder(PathBuf),
    /// A repo at one of its revisions.
    Revision {
        /// The repo (or a folder in it).
        repo: Address,
        /// A branch, tag, commit id or another expression that git knows.
        revision: String,
    },
}

/// The repo that an option names, else `TIDEGATE_REPO` of the environment. Read by hand, and not by the parser of
/// arguments: what stands in the environment contradicts no other option.
pub(super) fn repo_or_environment(option: Option<String>) -> Option<String> {
    option.or_else(|| {
        let repo = std::env::var("TIDEGATE_REPO").ok();
        repo.filter(|repo| !repo.is_empty())
    })
}

impl Target {
    /// Reads a DIR.
    ///
    /// An existing folder of that name wins; otherwise `REPO@REV` splits at the last `@` behind the last
    /// `/` or `:`, so that `git@host:path` and URLs with a user stay whole.
    pub fn parse(argument: &str) -> Result<Self, CommandError> {
        if Path::new(argument).is_dir() {
            return Ok(Self::Folder(PathBuf::from(argument)));
        }
        let behind = argument.rfind(['/', ':']).map_or(0, |at| at + 1);
        let split = argument
            .get(behind..)
            .and_then(|last| last.rfind('@'))
            .and_then(|at| argument.split_at_checked(behind + at));
        let Some((repo, revision)) = split else {
            if is_url(argument) {
                refuse_password(argument)?;
                return Err(CommandError::usage(format!(
                    "{argument} does not say which revision to read"
                ))
                .hint(format!("add one: {argument}@HEAD")));
            }
            let error = CommandError::usage(format!("there is no folder {argument}"));
            return Err(if argument.contains('@') {
                error.hint(
                    "in REPO@REV, a REV with / or : in it cannot stand: give its commit id instead",
                )
            } else {
                error.hint("DIR is a fleet's folder, or REPO@REV for a repo at a revision")
            });
        };
        let revision = revision.trim_start_matches('@');
        if revision.is_empty() || revision.starts_with('-') {
            return Err(CommandError::usage(format!(
                "{argument}: there is no revision behind the @"
            ))
            .hint("a branch, a tag or a commit id, such as main, v1.2 or HEAD~1"));
        }
        Ok(Self::Revision {
            repo: Address::parse(if repo.is_empty() { "." } else { repo })?,
            revision: revision.to_owned(),
        })
    }
}

impl Address {
    /// Reads the address of a repo: an existing folder, or a URL without a password.
    pub fn parse(argument: &str) -> Result<Self, CommandError> {
        if Path::new(argument).is_dir() {
            return Ok(Self::Path(PathBuf::from(argument)));
        }
        if is_url(argument) {
            refuse_password(argument)?;
            return Ok(Self::Url(argument.to_owned()));
        }
        Err(
            CommandError::usage(format!("{argument} is neither a folder nor a repo's URL"))
                .hint("a repo is a path, or a URL by https, http, ssh or file, or user@host:path"),
        )
    }
}

/// Whether git would read this as something to fetch from: a scheme, or `host:path`.
fn is_url(argument: &str) -> bool {
    if argument.contains("://") {
        return true;
    }
    match argument.split_once(':') {
        Some((host, _)) => !host.is_empty() && !host.contains('/') && !host.starts_with('-'),
        None => false,
    }
}

/// Passwords on a command line end up in process lists and shell histories.
fn refuse_password(url: &str) -> Result<(), CommandError> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok(());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => Err(CommandError::usage(format!(
            "the URL of {scheme}://{host} contains a password"
        ))
        .hint("leave it out: git's credential helpers are asked for it")),
        _ => Ok(()),
    }
}

/// The repo's root around a folder, and the folder's path below it (`/` between components, `""` for the root).
///
/// The root is the nearest folder above that holds `.git`, else the folder itself.
pub fn locate(folder: &Path) -> Result<(PathBuf, String), CommandError> {
    let folder = folder.canonicalize().map_err(|error| {
        CommandError::failed(format!("cannot open {}: {error}", folder.display()))
    })?;
    let root = folder
        .ancestors()
        .find(|candidate| candidate.join(".git").exists())
        .unwrap_or(&folder)
        .to_owned();
    let below = folder.strip_prefix(&root).unwrap_or(Path::new(""));
    let Some(below) = below.to_str() else {
        return Err(CommandError::failed(format!(
            "the path {} is not UTF-8",
            folder.display()
        )));
    };
    let below = below.to_owned();
    Ok((root, below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::ErrorKind;

    fn revision(argument: &str) -> (Address, String) {
        match Target::parse(argument).unwrap() {
            Target::Revision { repo, revision } => (repo, revision),
            Target::Folder(folder) => panic!("{} is a folder", folder.display()),
        }
    }

    fn refused(argument: &str) -> CommandError {
        let error = Target::parse(argument).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage, "{argument}");
        error
    }

    #[test]
    fn an_existing_folder_wins() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a@b");
        std::fs::create_dir(&odd).unwrap();
        let parsed = Target::parse(odd.to_str().unwrap()).unwrap();
        assert_eq!(parsed, Target::Folder(odd));
    }

    #[test]
    fn the_last_at_behind_the_last_slash_or_colon_splits() {
        let url = |text: &str| Address::Url(text.to_owned());
        for (argument, repo, wanted) in [
            (
                "https://git.example.com/a/b.git@main",
                url("https://git.example.com/a/b.git"),
                "main",
            ),
            (
                "https://me@git.example.com/a@v1",
                url("https://me@git.example.com/a"),
                "v1",
            ),
            (
                "git@git.example.com:a/b@HEAD~1",
                url("git@git.example.com:a/b"),
                "HEAD~1",
            ),
            (
                "git@git.example.com:b@1f2e",
                url("git@git.example.com:b"),
                "1f2e",
            ),
            (".@HEAD", Address::Path(".".into()), "HEAD"),
            ("@HEAD^", Address::Path(".".into()), "HEAD^"),
        ] {
            assert_eq!(revision(argument), (repo, wanted.to_owned()), "{argument}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_would_be_right() {
        assert!(
            refused("no-such-folder")
                .message
                .contains("there is no folder")
        );
        assert!(refused(".@feature/x").hints[0].contains("commit id"));
        assert!(refused("https://git.example.com/a.git").hints[0].ends_with("a.git@HEAD"));
        assert!(refused("no-such-folder@main").message.contains("neither"));
        assert!(refused(".@").message.contains("no revision"));
        assert!(refused(".@--upload-pack=x").message.contains("no revision"));
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for argument in [
            "https://me:sesame@git.example.com/a.git@main",
            "https://me:sesame@git.example.com/a.git",
            "ssh://me:ses@ame@git.example.com/a.git@main",
        ] {
            let error = refused(argument);
            assert!(error.message.contains("contains a password"), "{error:?}");
            assert!(!format!("{error:?}").contains("ses"), "{error:?}");
        }
    }

    #[test]
    fn the_root_is_the_nearest_folder_with_git() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("fleets/payments");
        std::fs::create_dir_all(&inner).unwrap();
        let (root, below) = locate(&inner).unwrap();
        assert_eq!((root, below.as_str()), (inner.canonicalize().unwrap(), ""));
        git2::Repository::init(outer.path()).unwrap();
        let (root, below) = locate(&inner).unwrap();
        assert_eq!(root, outer.path().canonicalize().unwrap());
        assert_eq!(below, "fleets/payments");
    }
}
