//! GitHub, by its REST API (version 2022-11-28).

use std::collections::BTreeMap;

use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tidegate_waves::oid::Oid;

use super::client::{Endpoint, ForgeClient, TokenScheme};
use super::{
    Asking, CommitInfo, CommitStatus, Forge, ForgeError, ForgeSettingsError, NewPullRequest,
    PullRequest, PullRequestState, Repository, StatusState,
};
use crate::git::trailers::one_line;
use crate::settings;

/// Statuses, commits and pull requests on one page; GitHub's most.
const PER_PAGE: usize = 100;

/// Most pages of statuses that are read for one commit.
const MOST_PAGES: usize = 10;

/// A repository on GitHub.
#[derive(Debug)]
pub(super) struct Github {
    client: ForgeClient,
    repository: Repository,
}

#[derive(Serialize)]
struct StatusBody<'a> {
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
    description: &'a str,
    context: &'a str,
}

#[derive(Deserialize)]
struct StatusAnswer {
    state: String,
    context: String,
    description: Option<String>,
    target_url: Option<String>,
}

#[derive(Deserialize)]
struct CombinedAnswer {
    statuses: Vec<StatusAnswer>,
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
    merged_at: Option<String>,
}

#[derive(Deserialize)]
struct CommitAnswer {
    html_url: String,
    author: Option<AccountAnswer>,
}

#[derive(Deserialize)]
struct AccountAnswer {
    // An author whom GitHub does not know can be an empty object.
    login: Option<String>,
}

impl Github {
    /// The repository that the settings name.
    pub(super) fn new(forge: &settings::Forge) -> Result<Self, ForgeSettingsError> {
        let headers = HeaderMap::from_iter([
            (
                ACCEPT,
                HeaderValue::from_static("application/vnd.github+json"),
            ),
            (
                HeaderName::from_static("x-github-api-version"),
                HeaderValue::from_static("2022-11-28"),
            ),
        ]);
        Ok(Self {
            repository: Repository::parse(&forge.repository)?,
            client: ForgeClient::new(forge, TokenScheme::Bearer, headers)?,
        })
    }

    fn path<'a>(&'a self, below: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["repos", &self.repository.owner, &self.repository.name];
        path.extend(below);
        path
    }
}

impl Forge for Github {
    fn post_status<'a>(&'a self, commit: Oid, status: &'a CommitStatus) -> Asking<'a, ()> {
        Box::pin(async move {
            let commit = commit.to_string();
            let body = StatusBody {
                state: status.state.word(),
                target_url: status.target_url.as_deref(),
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
                        ("per_page", &PER_PAGE.to_string()),
                        ("page", &page.to_string()),
                    ],
                };
                let combined: CombinedAnswer = self.client.get(endpoint).await?;
                let last = combined.statuses.len() < PER_PAGE;
                for answer in combined.statuses {
                    if let Some(state) = StatusState::from_word(&answer.state) {
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
                if last {
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
            let path = self.path(&["pulls"]);
            let head = format!("{}:{head}", self.repository.owner);
            let endpoint = Endpoint {
                path: &path,
                // The newest comes first by default.
                query: &[
                    ("state", "all"),
                    ("head", &head),
                    ("base", base),
                    ("per_page", &PER_PAGE.to_string()),
                ],
            };
            let answers: Vec<PullRequestAnswer> = self.client.get(endpoint).await?;
            let mut found = answers.into_iter().map(PullRequest::from).peekable();
            let newest = found.peek().cloned();
            Ok(found
                .find(|pull| pull.state == PullRequestState::Open)
                .or(newest))
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
            let path = self.path(&["commits", &commit]);
            let answer: CommitAnswer = self.client.get(Endpoint::of(&path)).await?;
            let path = self.path(&["commits", &commit, "pulls"]);
            let pulls: Vec<PullRequestAnswer> = match self.client.get(Endpoint::of(&path)).await {
                Ok(pulls) => pulls,
                // A token that may read commits need not be one that may read pull requests.
                Err(ForgeError::Permanent { .. }) => Vec::new(),
                Err(error) => return Err(error),
            };
            let mut pulls = pulls.into_iter().map(PullRequest::from).peekable();
            let first = pulls.peek().cloned();
            Ok(CommitInfo {
                url: Some(one_line(&answer.html_url)),
                author: answer
                    .author
                    .and_then(|author| author.login)
                    .map(|login| one_line(&login)),
                pull_request: pulls
                    .find(|pull| pull.state == PullRequestState::Merged)
                    .or(first),
            })
        })
    }
}

impl From<PullRequestAnswer> for PullRequest {
    fn from(answer: PullRequestAnswer) -> Self {
        Self {
            number: answer.number,
            url: one_line(&answer.html_url),
            state: match (answer.state.as_str(), answer.merged_at) {
                ("open", _) => PullRequestState::Open,
                (_, Some(_)) => PullRequestState::Merged,
                (_, None) => PullRequestState::Closed,
            },
        }
    }
}

/// Reads an answer as each of those that this forge gives; what it can be read as is said.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_as_each(body: &[u8]) -> Vec<PullRequest> {
    let combined = serde_json::from_slice::<CombinedAnswer>(body).ok();
    let status = serde_json::from_slice::<StatusAnswer>(body).ok();
    let commit = serde_json::from_slice::<CommitAnswer>(body).ok();
    drop((combined, status, commit));
    let one = serde_json::from_slice::<PullRequestAnswer>(body).ok();
    let several = serde_json::from_slice::<Vec<PullRequestAnswer>>(body).ok();
    one.into_iter()
        .chain(several.into_iter().flatten())
        .map(PullRequest::from)
        .collect()
}
