//! A config repo that a command was pointed at, opened for reading.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Args;
use tidegate_renderer::source::{Entry, GitTree, ReadError, SourceTree};
use tidegate_renderer::tree::{from_git, to_git};
use tidegate_waves::oid::Oid;

use super::error::CommandError;
use super::fetch::TemporaryRepo;
use super::target::{self, Address, Target};
use super::work_tree::WorkTree;

/// Which config repo a command works on.
#[derive(Debug, Clone, Args)]
pub struct RepoArgs {
    /// The fleet's folder, or REPO@REV for a repo at a revision
    #[arg(value_name = "DIR", default_value = ".")]
    dir: String,

    /// The fleet's folder inside REPO@REV
    #[arg(long, value_name = "FOLDER")]
    path: Option<String>,
}

/// A config repo, opened for reading: files on disk, or a commit.
pub struct ConfigRepo {
    files: Files,
    folder: String,
    name: String,
    // Where it was cloned to and from, if it was.
    clone: Option<Rc<Cloned>>,
}

struct Cloned {
    url: String,
    // Held for its folder, which the opened repository reads.
    _repo: TemporaryRepo,
}

enum Files {
    OnDisk {
        root: PathBuf,
        tree: WorkTree,
    },
    Committed {
        repository: git2::Repository,
        commit: Oid,
    },
}

/// The files of a config repo.
pub enum Source<'repo> {
    /// As they are on disk.
    OnDisk(&'repo WorkTree),
    /// As they are in a commit.
    Committed(GitTree<'repo>),
}

impl Source<'_> {
    fn tree(&self) -> &dyn SourceTree {
        match self {
            Self::OnDisk(tree) => *tree,
            Self::Committed(tree) => tree,
        }
    }
}

impl SourceTree for Source<'_> {
    fn entries(&self) -> Result<Vec<Entry>, ReadError> {
        self.tree().entries()
    }

    fn size(&self, entry: &Entry) -> Result<u64, ReadError> {
        self.tree().size(entry)
    }

    fn read(&self, entry: &Entry) -> Result<Vec<u8>, ReadError> {
        self.tree().read(entry)
    }
}

impl ConfigRepo {
    /// Opens what the command line names.
    pub fn of(arguments: &RepoArgs) -> Result<Self, CommandError> {
        let RepoArgs { dir, path } = arguments;
        Self::open(&Target::parse(dir)?, path.as_deref())
    }

    /// Opens what a DIR names; `path` is the fleet's folder inside a repo at a revision.
    pub fn open(target: &Target, path: Option<&str>) -> Result<Self, CommandError> {
        match target {
            Target::Folder(folder) => {
                if path.is_some() {
                    return Err(CommandError::usage(
                        "--path is for REPO@REV: a folder is the fleet's folder already",
                    ));
                }
                let (root, below) = target::locate(folder)?;
                let tree = WorkTree::open(&root).map_err(CommandError::failed)?;
                Ok(Self {
                    files: Files::OnDisk { root, tree },
                    folder: below,
                    name: folder.display().to_string(),
                    clone: None,
                })
            }
            Target::Revision { repo, revision } => {
                let (repository, below, clone) = match repo {
                    Address::Path(folder) => {
                        // A bare repo may lie in a folder of another repo.
                        let (repository, below) =
                            if let Ok(bare) = git2::Repository::open_bare(folder) {
                                (bare, String::new())
                            } else {
                                let (root, below) = target::locate(folder)?;
                                (open_repository(&root)?, below)
                            };
                        (repository, below, None)
                    }
                    Address::Url(url) => {
                        let repo = TemporaryRepo::clone_of(url)?;
                        let repository = open_repository(repo.repository().path())?;
                        let cloned = Cloned {
                            url: url.clone(),
                            _repo: repo,
                        };
                        (repository, String::new(), Some(Rc::new(cloned)))
                    }
                };
                let commit = resolve(&repository, revision)?;
                Ok(Self {
                    files: Files::Committed { repository, commit },
                    folder: join(&below, path.unwrap_or_default()),
                    name: revision.clone(),
                    clone,
                })
            }
        }
    }

    /// Its files.
    pub fn source(&self) -> Result<Source<'_>, CommandError> {
        match &self.files {
            Files::OnDisk { tree, .. } => Ok(Source::OnDisk(tree)),
            Files::Committed { repository, commit } => GitTree::of_commit(repository, *commit)
                .map(Source::Committed)
                .map_err(CommandError::failed),
        }
    }

    /// The fleet's folder, relative to the repo's root; `""` for the root.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// What the user called it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The commit it is at; none for files on disk.
    #[must_use]
    pub fn commit(&self) -> Option<Oid> {
        match &self.files {
            Files::OnDisk { .. } => None,
            Files::Committed { commit, .. } => Some(*commit),
        }
    }

    /// The folder that holds its objects: the repo it is in, or the clone of it.
    #[must_use]
    pub fn repository_path(&self) -> &Path {
        match &self.files {
            Files::OnDisk { root, .. } => root,
            Files::Committed { repository, .. } => repository.path(),
        }
    }

    /// The folder from which a relative URL of a remote counts.
    #[must_use]
    pub fn working_folder(&self) -> &Path {
        match &self.files {
            Files::OnDisk { root, .. } => root,
            Files::Committed { repository, .. } => {
                repository.workdir().unwrap_or_else(|| repository.path())
            }
        }
    }

    /// The same fleet at another revision of the same repo.
    pub fn at(&self, revision: &str) -> Result<Self, CommandError> {
        let repository = open_repository(self.repository_path())?;
        let commit = resolve(&repository, revision)?;
        Ok(self.with(repository, commit, revision))
    }

    /// What this is compared with unless something else is asked for: HEAD for files on disk, the first parent for
    /// a commit. None if there is no such commit.
    pub fn predecessor(&self) -> Result<Option<Self>, CommandError> {
        match &self.files {
            Files::OnDisk { root, .. } => {
                if !root.join(".git").exists() {
                    return Ok(None);
                }
                let repository = open_repository(root)?;
                let commit = match repository.head() {
                    Ok(head) => head.peel_to_commit().map_err(of_git)?.id(),
                    Err(error) if error.code() == git2::ErrorCode::UnbornBranch => return Ok(None),
                    Err(error) => return Err(of_git(error)),
                };
                let commit = from_git(commit);
                Ok(Some(self.with(repository, commit, "HEAD")))
            }
            Files::Committed { repository, commit } => {
                let parent = repository
                    .find_commit(to_git(*commit))
                    .map_err(of_git)?
                    .parent_ids()
                    .next();
                let Some(parent) = parent else {
                    return Ok(None);
                };
                let parent = from_git(parent);
                let repository = open_repository(self.repository_path())?;
                let name = format!("{}~1", self.name);
                Ok(Some(self.with(repository, parent, &name)))
            }
        }
    }

    /// Where the repo comes from: what it was cloned from just now, or its remote `origin`, if it has one.
    #[must_use]
    pub fn remote(&self) -> Option<String> {
        if let Some(cloned) = &self.clone {
            return Some(cloned.url.clone());
        }
        let repository = git2::Repository::open(self.repository_path()).ok()?;
        let remote = repository.find_remote("origin").ok()?;
        remote.url().ok().map(str::to_owned)
    }

    fn with(&self, repository: git2::Repository, commit: Oid, name: &str) -> Self {
        Self {
            files: Files::Committed { repository, commit },
            folder: self.folder.clone(),
            name: name.to_owned(),
            clone: self.clone.clone(),
        }
    }
}

/// Turns git's answer into an error for the user.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
pub(crate) fn of_git(error: git2::Error) -> CommandError {
    CommandError::failed(format!("git: {}", error.message().trim()))
}

fn open_repository(path: &Path) -> Result<git2::Repository, CommandError> {
    git2::Repository::open(path).map_err(|error| {
        if error.code() == git2::ErrorCode::NotFound {
            CommandError::failed(format!("{} is not in a git repo", path.display()))
        } else {
            of_git(error)
        }
    })
}

fn resolve(repository: &git2::Repository, revision: &str) -> Result<Oid, CommandError> {
    let commit = repository
        .revparse_single(revision)
        .and_then(|object| object.peel_to_commit())
        .map_err(|error| {
            let unknown = CommandError::failed(format!(
                "there is no commit {revision} in this repo: {}",
                error.message().trim()
            ));
            unknown.hint("a branch, a tag or a commit id, such as main, v1.2 or HEAD~1")
        })?;
    Ok(from_git(commit.id()))
}

fn join(folder: &str, path: &str) -> String {
    let path = path.trim_matches('/');
    match (folder, path) {
        ("", path) => path.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, path) => format!("{folder}/{path}"),
    }
}
