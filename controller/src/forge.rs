//! The forge that shows a config repo to people: commit statuses, pull requests, and what it knows of a commit.
//!
//! One provider is one file behind [`Forge`]; the HTTP that they share is in `client`. Nothing here is needed
//! for a rollout: what cannot be told to a forge is told later or not at all.

pub(crate) mod client;
pub(crate) mod gitea;
pub(crate) mod github;
pub mod poster;
pub mod pull_request;
pub mod statuses;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tidegate_waves::oid::Oid;

use crate::settings::{self, ForgeKind};

/// What a forge is asked, under way.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, ForgeError>> + Send + 'a>>;

/// A forge, as far as a fleet needs it. Every request ends within a few seconds, well or not.
pub trait Forge: fmt::Debug + Send + Sync {
    /// Puts a status on a commit. Repeating it does no harm.
    fn post_status<'a>(&'a self, commit: Oid, status: &'a CommitStatus) -> Asking<'a, ()>;

    /// The newest status of each context that stands on a commit, by context. States that are not among
    /// [`StatusState`] are left out.
    fn statuses(&self, commit: Oid) -> Asking<'_, BTreeMap<String, CommitStatus>>;

    /// The pull request from `head` to `base` (names of branches of the repo): the open one if there is one,
    /// else the newest.
    fn find_pull_request<'a>(
        &'a self,
        head: &'a str,
        base: &'a str,
    ) -> Asking<'a, Option<PullRequest>>;

    /// Opens a pull request. One that exists already is a [`ForgeError::Permanent`] with status 409 or 422.
    fn create_pull_request<'a>(&'a self, new: &'a NewPullRequest) -> Asking<'a, PullRequest>;

    /// What the forge knows of a commit.
    fn commit(&self, commit: Oid) -> Asking<'_, CommitInfo>;
}

/// A commit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// What it is about; a later one of the same context takes its place.
    pub context: String,
    /// How it stands.
    pub state: StatusState,
    /// One plain line, at most [`statuses::LONGEST_DESCRIPTION`] characters.
    pub description: String,
    /// Where there is more to read.
    pub target_url: Option<String>,
}

impl CommitStatus {
    /// Whether it is about a wave: its text follows every region.
    #[must_use]
    pub fn is_of_a_wave(&self) -> bool {
        self.context.contains("/wave/")
    }
}

/// How what a status tells of stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusState {
    /// Under way or waiting.
    Pending,
    /// Done and good.
    Success,
    /// Done and bad.
    Failure,
    /// Ended otherwise.
    Error,
}

impl StatusState {
    /// The word for it in the interfaces of GitHub and Gitea.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }

    /// The state of that word; `None` for one that is not ours, such as `warning`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Pending, Self::Success, Self::Failure, Self::Error]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

/// A pull request to be opened, between two branches of the repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPullRequest {
    /// The title, one line.
    pub title: String,
    /// The description, in Markdown.
    pub body: String,
    /// The branch that is to be merged.
    pub head: String,
    /// The branch that it is to be merged into.
    pub base: String,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// How it stands.
    pub state: PullRequestState,
}

/// How a pull request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PullRequestState {
    /// It waits for somebody.
    Open,
    /// It was merged.
    Merged,
    /// It was closed without having been merged.
    Closed,
}

/// What a forge knows of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitInfo {
    /// Its page.
    pub url: Option<String>,
    /// The name under which the forge knows its author, if it does.
    pub author: Option<String>,
    /// The pull request that brought it, if one did.
    pub pull_request: Option<PullRequest>,
}

/// Why a forge did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// Not now: it is busy, limits how often it may be asked, or was not reached. Retryable.
    #[error("{message}")]
    Retryable {
        /// What happened and where.
        message: String,
        /// How long the forge wants to be left alone, if it says so.
        after: Option<Duration>,
    },
    /// It refuses, and will again until somebody changes something.
    #[error("{message}")]
    Permanent {
        /// The HTTP status.
        status: u16,
        /// What happened, where, and what to do.
        message: String,
    },
    /// What answers is not the forge, or not as it is documented (a proxy's page, for example). Retryable.
    #[error("{message}")]
    Garbage {
        /// What happened and where.
        message: String,
    },
}

impl ForgeError {
    /// Whether the same request may succeed later without anybody's doing.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Permanent { .. })
    }

    /// How long the forge wants to be left alone, if it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Retryable { after, .. } => *after,
            Self::Permanent { .. } | Self::Garbage { .. } => None,
        }
    }

    /// Whether the token is what it refuses: then it refuses everything until somebody changes that.
    #[must_use]
    pub fn refuses_the_token(&self) -> bool {
        matches!(
            self,
            Self::Permanent {
                status: 401 | 403,
                ..
            }
        )
    }
}

/// Why the settings name no forge that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ForgeSettingsError {
    /// A kind that has no provider.
    #[error(
        "forge: kind {0} is not supported yet; use github or gitea (which is also for Forgejo), or leave forge out"
    )]
    Unsupported(&'static str),
    /// The repository is not named as it must be.
    #[error("forge: {0:?} is no repository: write it as owner/name, like acme/payments-config")]
    Repository(String),
    /// The file with the authorities that may vouch for it cannot be used.
    #[error("forge: caFile {}: {reason}; name a file with the authority's certificate in PEM form", .file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No HTTP client could be made.
    #[error("forge: no HTTP client can be made: {0}")]
    Client(#[source] reqwest::Error),
}

/// The forge that the settings name.
pub fn build(forge: &settings::Forge) -> Result<Arc<dyn Forge>, ForgeSettingsError> {
    let unsupported = |kind| Err(ForgeSettingsError::Unsupported(kind));
    match forge.kind {
        ForgeKind::Github => Ok(Arc::new(github::Github::new(forge)?)),
        ForgeKind::Gitea => Ok(Arc::new(gitea::Gitea::new(forge)?)),
        ForgeKind::Gitlab => unsupported("gitlab"),
        ForgeKind::AzureDevOps => unsupported("azureDevOps"),
        ForgeKind::Bitbucket => unsupported("bitbucket"),
    }
}

/// A repository's name in two parts, safe to be put into paths.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Repository {
    owner: String,
    name: String,
}

impl Repository {
    fn parse(text: &str) -> Result<Self, ForgeSettingsError> {
        let is_plain = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
        };
        match text.split_once('/') {
            Some((owner, name)) if is_plain(owner) && is_plain(name) => Ok(Self {
                owner: owner.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(ForgeSettingsError::Repository(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::*;

    fn settings(kind: ForgeKind, repository: &str) -> settings::Forge {
        settings::Forge {
            kind,
            api: Url::parse("https://git.example.com/api/v1").unwrap(),
            repository: repository.to_owned(),
            token_file: None,
            ca_file: None,
        }
    }

    #[test]
    fn a_forge_without_a_provider_says_so() {
        for (kind, name) in [
            (ForgeKind::Gitlab, "gitlab"),
            (ForgeKind::AzureDevOps, "azureDevOps"),
            (ForgeKind::Bitbucket, "bitbucket"),
        ] {
            let message = build(&settings(kind, "acme/config"))
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(name) && message.contains("not supported yet"),
                "{message}"
            );
        }
        for kind in [ForgeKind::Github, ForgeKind::Gitea] {
            build(&settings(kind, "acme/payments.config_2")).unwrap();
        }
    }

    #[test]
    fn a_repository_that_would_lead_elsewhere_is_refused() {
        for repository in [
            "",
            "acme",
            "acme/",
            "/config",
            "acme/../admin",
            "acme/..",
            "./x",
            "acme/config/issues",
            "acme/con fig",
            "acme/config?x=y",
            "acme%2Fconfig/x",
            "https://git.example.com/acme/config",
        ] {
            let error = build(&settings(ForgeKind::Gitea, repository)).unwrap_err();
            assert!(
                matches!(error, ForgeSettingsError::Repository(_)),
                "{repository}: {error}"
            );
        }
    }

    #[test]
    fn every_state_has_a_word_of_its_own() {
        for state in [
            StatusState::Pending,
            StatusState::Success,
            StatusState::Failure,
            StatusState::Error,
        ] {
            assert_eq!(StatusState::from_word(state.word()), Some(state));
        }
        assert_eq!(StatusState::from_word("warning"), None);
    }
}
