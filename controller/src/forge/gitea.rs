//! Gitea and Forgejo, by the API that both have (`/api/v1`).

use std::collections::BTreeMap;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use tidegate_waves::oid::Oid;

use super::client::{Endpoint, ForgeClient, TokenScheme};
use super::{
    Asking, CommitInfo, CommitStatus, Forge, ForgeError, ForgeSettingsError, NewPullRequest,
    PullRequest, PullRequestState, Repository, StatusState,
};
use crate::settings;

/// Statuses and pull requests on one page; what Gitea gives at most unless it is set up otherwise.
const PER_PAGE: usize = 50;

/// Most pages that are read for one answer.
const MOST_PAGES: usize = 10;

/// A repository on Gitea or Forgejo.
#[derive(Debug)]
pub(super) struct Gitea {
    client: ForgeClient,
    repository: Repository,
}

#[derive(Serialize)]
struct StatusBody<'a> {
    state: &'a str,
    target_url: &'a str,
    description: &'a str,
    context: &'a str,
}

#[derive(Deserialize)]
struct StatusAnswer {
    // Older versions and Forgejo's documentation say `state` where the answer says `status`.
    #[serde(alias = "state")]
    status: String,
    context: String,
    description: Option<String>,
    target_url: Option<String>,
}

#[derive(Deserialize)]
struct CombinedAnswer {
    // `null` where nothing stands.
    statuses: Option<Vec<StatusAnswer>>,
}

#[derive(Serialize)]
struct PullRequestBody<'a> {
    title: &'a str,
    body: &'a str,
    head: &'a str,
    base: &'a str,
}

#[derive(Deserialize)]
struct PullRequestAnswer {
    number: u64,
    html_url: String,
    state: String,
    merged: bool,
    head: BranchAnswer,
    base: BranchAnswer,
}

#[derive(Deserialize)]
struct BranchAnswer {
    /// The branch's name; it stays when the branch is deleted, unlike `ref`.
    label: String,
    /// The repository that the branch is in.
    repo_id: i64,
}

#[derive(Deserialize)]
struct CommitAnswer {
    html_url: String,
    author: Option<AccountAnswer>,
}

#[derive(Deserialize)]
struct AccountAnswer {
    login: Option<String>,
}

impl Gitea {
    /// The repository that the settings name.
    pub(super) fn new(forge: &settings::Forge) -> Result<Self, ForgeSettingsError> {
        let headers =
            HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        Ok(Self {
            repository: Repository::parse(&forge.repository)?,
            client: ForgeClient::new(forge, TokenScheme::Token, headers)?,
        })
    }

    fn path<'a>(&'a self, below: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["repos", &self.repository.owner, &self.repository.name];
        path.extend(below);
        path
    }

    /// The newest pull request between two branches, among those in a state.
    ///
    /// The list is searched: asking by branches alone (`/pulls/{base}/{head}`) gives any of several, and takes
    /// no base with a slash in its name.
    async fn search(
        &self,
        state: &str,
        head: &str,
        base: &str,
    ) -> Result<Option<PullRequest>, ForgeError> {
        let path = self.path(&["pulls"]);
        for page in 1..=MOST_PAGES {
            let endpoint = Endpoint {
                path: &path,
                query: &[
                    ("state", state),
                    ("sort", "recentupdate"),
                    ("limit", &PER_PAGE.to_string()),
                    ("page", &page.to_string()),
                ],
            };
            let answers: Vec<PullRequestAnswer> = self.client.get(endpoint).await?;
            // A page may be shorter than asked for; only an empty one is the end.
            if answers.is_empty() {
                break;
            }
            let newest = answers
                .into_iter()
                .filter(|answer| {
                    answer.head.label == head
                        && answer.base.label == base
                        // A fork may have a branch of the same name.
                        && answer.head.repo_id == answer.base.repo_id
                })
                .max_by_key(|answer| answer.number);
            if let Some(answer) = newest {
                return Ok(Some(answer.into()));
            }
        }
        Ok(None)
    }
}

impl Forge for Gitea {
    fn post_status<'a>(&'a self, commit: Oid, status: &'a CommitStatus) -> Asking<'a, ()> {
        Box::pin(async move {
            let commit = commit.to_string();
            let body = StatusBody {
                state: status.state.word(),
                target_url: status.target_url.as_deref().unwrap_or_default(),
                description: &status.description,
                context: &status.context,
            };
            let path = self.path(&["statuses", &commit]);
            let _: StatusAnswer = self.client.post(&path, &body).await?;
            Ok(())
        })
    }

    fn statuses(&self, commit: Oid) -> Asking<'_, BTreeMap<String, CommitStatus>> {
        Box::pin(async move {
            let commit = commit.to_string();
            let path = self.path(&["commits", &commit, "status"]);
            let mut statuses = BTreeMap::new();
            for page in 1..=MOST_PAGES {
                let endpoint = Endpoint {
                    path: &path,
                    query: &[
                        ("limit", &PER_PAGE.to_string()),
                        ("page", &page.to_string()),
                    ],
                };
                let combined: CombinedAnswer = self.client.get(endpoint).await?;
                let answers = combined.statuses.unwrap_or_default();
                let mut is_last = true;
                for answer in answers {
                    is_last &= statuses.contains_key(&answer.context);
                    if let Some(state) = StatusState::from_word(&answer.status) {
                        statuses.insert(
                            answer.context.clone(),
                            CommitStatus {
                                context: answer.context,
                                state,
                                description: answer.description.unwrap_or_default(),
                                target_url: answer.target_url.filter(|url| !url.is_empty()),
                            },
                        );
                    }
                }
                // A page may be shorter than asked for; one that tells nothing new is the end.
                if is_last {
                    break;
                }
            }
            Ok(statuses)
        })
    }

    fn find_pull_request<'a>(
        &'a self,
        head: &'a str,
        base: &'a str,
    ) -> Asking<'a, Option<PullRequest>> {
        Box::pin(async move {
            match self.search("open", head, base).await? {
                Some(open) => Ok(Some(open)),
                None => self.search("closed", head, base).await,
            }
        })
    }

    fn create_pull_request<'a>(&'a self, new: &'a NewPullRequest) -> Asking<'a, PullRequest> {
        Box::pin(async move {
            let body = PullRequestBody {
                title: &new.title,
                body: &new.body,
                head: &new.head,
                base: &new.base,
            };
            let answer: PullRequestAnswer = self.client.post(&self.path(&["pulls"]), &body).await?;
            Ok(answer.into())
        })
    }

    fn commit(&self, commit: Oid) -> Asking<'_, CommitInfo> {
        Box::pin(async move {
            let commit = commit.to_string();
            let path = self.path(&["git", "commits", &commit]);
            let endpoint = Endpoint {
                path: &path,
                query: &[
                    ("stat", "false"),
                    ("verification", "false"),
                    ("files", "false"),
                ],
            };
            let answer: CommitAnswer = self.client.get(endpoint).await?;
            let path = self.path(&["commits", &commit, "pull"]);
            let endpoint = Endpoint::of(&path);
            let pull_request = match self.client.get::<PullRequestAnswer>(endpoint).await {
                Ok(pull) => Some(pull.into()),
                // 404 says that no pull request brought it; and the token may be one that reads none.
                Err(ForgeError::Permanent { .. }) => None,
                Err(error) => return Err(error),
            };
            Ok(CommitInfo {
                url: Some(answer.html_url),
                author: answer
                    .author
                    .and_then(|author| author.login)
                    .filter(|login| !login.is_empty()),
                pull_request,
            })
        })
    }
}

impl From<PullRequestAnswer> for PullRequest {
    fn from(answer: PullRequestAnswer) -> Self {
        Self {
            number: answer.number,
            url: answer.html_url,
            state: match (answer.merged, answer.state.as_str()) {
                (true, _) => PullRequestState::Merged,
                (false, "open") => PullRequestState::Open,
                (false, _) => PullRequestState::Closed,
            },
        }
    }
}
