//! What is looked for in an Application after a promotion.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::application::{Application, Health, Source};
use super::messages::{is_commit, short};
use crate::gates::object_key::ObjectKey;
use crate::gates::shown::{line, word};

/// How a commit stands to the promoted one, by what git says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// A commit of the wave branch whose tree of this region equals the promoted one.
    Wanted,
    /// A strict ancestor of ours with another tree.
    Older,
    /// A descendant of ours with another tree.
    Newer {
        /// Whether this controller made it.
        ours: bool,
    },
    /// A commit that is neither before nor after ours.
    Foreign,
    /// A commit that has not been fetched here.
    UnknownCommit,
    /// No commit at all, such as the name of a branch.
    NotACommit,
}

/// What git knows about commits of one region's branch.
pub trait Revisions {
    /// How this commit stands to the promoted one.
    fn standing(&self, revision: &str) -> Standing;
}

/// What was promoted to the region, and what we may do about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    /// The name of the Application, for words about one that is not there.
    pub application: String,
    /// The addresses of the repository that holds the wave branches.
    pub repositories: Vec<String>,
    /// The wave branch, with or without `refs/heads/`.
    pub branch: String,
    /// The region's folder; a folder below it counts too.
    pub folder: String,
    /// What was rendered for this Application, without hooks; the items of a `List`, not the list.
    pub objects: BTreeSet<ObjectKey>,
    /// How many more were rendered for it that Argo CD is told to leave out.
    pub skipped: usize,
    /// Whether what was promoted gives back a last good tree.
    pub is_rollback: bool,
    /// How the Application was before the promotion, if it was seen.
    pub before: Option<Before>,
    /// Whether we may sync it.
    pub may_sync: bool,
    /// Whether we may end an operation of it.
    pub may_terminate: bool,
    /// Whether a move of the region to another wave is open, so that it may still follow the other branch.
    pub move_open: bool,
    /// Whether the newest commit of the wave branch that was fetched still has the promoted tree for this region.
    pub tip_is_ours: bool,
    /// The number of the listing that showed it (see [`crate::git::mirror::Listings`]).
    pub listed: u64,
    /// How many listings have begun by now.
    pub listings_begun: u64,
}

/// An Application as it was seen before a promotion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Before {
    /// Its health.
    pub health: Health,
    /// Why.
    pub health_message: String,
    /// When its newest operation had begun, by the clock of Argo CD.
    pub operation_started_at: Option<Timestamp>,
}

impl From<&Application> for Before {
    fn from(application: &Application) -> Self {
        Self {
            health: application.health.status.clone(),
            health_message: application.health.message.clone(),
            operation_started_at: application
                .operation_state
                .as_ref()
                .and_then(|state| state.started_at),
        }
    }
}

/// Whether an Application follows what we push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Following {
    /// It does, by the source at this place.
    Ours(usize),
    /// It is pinned to a commit that has not been fetched here.
    PinnedToUnknown(String),
    /// It does not; why, in words.
    Other(String),
}

impl Expected {
    /// Which of these sources is ours.
    pub(super) fn follow(&self, sources: &[Source], revisions: &dyn Revisions) -> Following {
        if sources.is_empty() {
            return Following::Other("has no source".to_owned());
        }
        let mut nearest = (
            0,
            Following::Other(match sources {
                [only] => format!("is read from {}", show(&only.repo_url)),
                several => format!("is read from {} other repositories", several.len()),
            }),
        );
        for (index, source) in sources.iter().enumerate() {
            if !self.is_our_repository(&source.repo_url) {
                continue;
            }
            let (near, found) = self.follow_one(index, source, revisions);
            if matches!(found, Following::Ours(_)) {
                return found;
            }
            if near > nearest.0 {
                nearest = (near, found);
            }
        }
        nearest.1
    }

    /// Whether a source in our repository is ours, and how near it comes.
    fn follow_one(
        &self,
        index: usize,
        source: &Source,
        revisions: &dyn Revisions,
    ) -> (u8, Following) {
        let folder = trim_folder(&self.folder);
        let path = trim_folder(&source.path);
        let below = path.strip_prefix(folder);
        if folder.is_empty() || !below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            let shown = if path.is_empty() { "." } else { path };
            let why = format!("reads the folder {}, not {folder}", word(shown));
            return (1, Following::Other(why));
        }
        let revision = source.target_revision.as_str();
        if self.is_our_branch(revision) {
            return (3, Following::Ours(index));
        }
        if is_commit(revision) {
            let found = match revisions.standing(revision) {
                Standing::Wanted => Following::Ours(index),
                Standing::UnknownCommit => Following::PinnedToUnknown(short(revision)),
                _ => Following::Other(format!("is pinned to {}", short(revision))),
            };
            return (3, found);
        }
        let shown = if revision.is_empty() {
            "HEAD"
        } else {
            revision
        };
        let why = format!("follows {}, not {}", word(shown), self.branch());
        (2, Following::Other(why))
    }

    /// Whether an Application follows the branch and folder, or is pinned to a commit with the promoted tree.
    #[must_use]
    pub fn is_followed_by(&self, application: &Application, revisions: &dyn Revisions) -> bool {
        matches!(
            self.follow(&application.sources, revisions),
            Following::Ours(_)
        )
    }

    /// The folders below ours that an Application reads in our repository; an empty one is ours itself.
    #[must_use]
    pub fn folders_of(&self, application: &Application) -> Vec<String> {
        let folder = trim_folder(&self.folder);
        let ours = |source: &&Source| self.is_our_repository(&source.repo_url);
        application
            .sources
            .iter()
            .filter(ours)
            .filter_map(|source| {
                let below = trim_folder(&source.path).strip_prefix(folder)?;
                (below.is_empty() || below.starts_with('/'))
                    .then(|| below.trim_matches('/').to_owned())
            })
            .collect()
    }

    /// Whether an Application reads the folder in our repository, on whatever branch.
    #[must_use]
    pub fn is_read_by(&self, application: &Application) -> bool {
        let folder = trim_folder(&self.folder);
        application.sources.iter().any(|source| {
            self.is_our_repository(&source.repo_url)
                && trim_folder(&source.path)
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// The wave branch without `refs/heads/`.
    pub(super) fn branch(&self) -> &str {
        branch_name(&self.branch)
    }

    pub(super) fn is_our_branch(&self, revision: &str) -> bool {
        !self.branch().is_empty() && branch_name(revision) == self.branch()
    }

    /// Whether this is one of the addresses of our repository, however it is spelt.
    pub(super) fn is_our_repository(&self, url: &str) -> bool {
        let mut repositories = self.repositories.iter();
        repositories.any(|ours| is_same_repository(ours, url))
    }
}

/// A branch as Applications name it, without `refs/heads/`.
pub(crate) fn branch_name(revision: &str) -> &str {
    revision.strip_prefix("refs/heads/").unwrap_or(revision)
}

/// A folder below a repository's root, in one spelling.
pub(crate) fn trim_folder(path: &str) -> &str {
    let mut path = path.trim_matches('/');
    while let Some(rest) = path.strip_prefix("./") {
        path = rest.trim_start_matches('/');
    }
    let path = path.strip_suffix("/.").unwrap_or(path);
    if path == "." { "" } else { path }
}

/// An address for people: its host and path.
fn show(url: &str) -> String {
    line(&normal_url(url), 100)
}

/// Whether two addresses lead to the same repository, however they are spelt.
#[must_use]
pub fn is_same_repository(left: &str, right: &str) -> bool {
    let left = normal_url(left);
    !left.is_empty() && left == normal_url(right)
}

/// An address in one spelling, without who logs in there.
pub(super) fn normal_url(url: &str) -> String {
    let url = url.trim();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest.to_owned()),
        // As git reads it: `host:path` where no slash comes before the colon.
        None => match url.split_once(':') {
            Some((host, path)) if !host.contains('/') => {
                ("ssh".to_owned(), format!("{host}/{path}"))
            }
            _ => (String::new(), url.to_owned()),
        },
    };
    let scheme = match scheme.as_str() {
        "git+ssh" | "ssh+git" => "ssh".to_owned(),
        _ => scheme,
    };
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) if !scheme.is_empty() => (authority, path),
        None if !scheme.is_empty() => (rest.as_str(), ""),
        _ => ("", rest.as_str()),
    };
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
        .to_ascii_lowercase();
    let port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        "ssh" => ":22",
        _ => "",
    };
    let host = match host.strip_suffix(port) {
        Some(bare) if !port.is_empty() => bare,
        _ => &host,
    };
    let leading = if scheme.is_empty() {
        path
    } else {
        path.trim_start_matches('/')
    };
    let path = leading.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let path = path.trim_end_matches('/');
    if scheme.is_empty() {
        path.to_owned()
    } else {
        format!("{scheme}://{host}/{path}")
    }
}
