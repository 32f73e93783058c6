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
use crate::git::trailers::one_line;
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
                url: Some(one_line(&answer.html_url)),
                author: answer
                    .author
                    .and_then(|author| author.login)
                    .map(|login| one_line(&login))
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
            url: one_line(&answer.html_url),
            state: match (answer.merged, answer.state.as_str()) {
                (true, _) => PullRequestState::Merged,
                (false, "open") => PullRequestState::Open,
                (false, _) => PullRequestState::Closed,
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use tidegate_testkit::http::{HttpServer, Request, Response};

    use super::*;

    /// A pull request as Gitea 1.26 gives it, with the fields that are not read left out.
    fn pull(number: u64, head: &str, head_repo: i64, state: &str, merged: bool) -> String {
        format!(
            r#"{{"id":{number},"number":{number},"state":"{state}","merged":{merged},"merged_at":null,
                "html_url":"http://git.example.com/acme/config/pulls/{number}",
                "head":{{"label":"{head}","ref":"refs/pull/{number}/head","repo_id":{head_repo}}},
                "base":{{"label":"main","ref":"main","repo_id":1}}}}"#
        )
    }

    /// A Gitea that answers as this says, and what it was asked.
    fn gitea(
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> (Gitea, HttpServer, Arc<Mutex<Vec<Request>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = HttpServer::start({
            let asked = Arc::clone(&asked);
            move |request| {
                let response = answer(&request);
                asked
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(request);
                Some(response)
            }
        });
        let gitea = Gitea::new(&settings::Forge {
            kind: settings::ForgeKind::Gitea,
            api: server.url("/api/v1").parse().unwrap(),
            repository: "acme/config".to_owned(),
            token_file: None,
            ca_file: None,
        })
        .unwrap();
        (gitea, server, asked)
    }

    fn oid() -> Oid {
        Oid::from_bytes([1; 20])
    }

    #[tokio::test]
    async fn a_status_is_posted_in_giteas_words() {
        let (gitea, _server, asked) = gitea(|_| {
            Response::json(
                201,
                r#"{"id":1,"status":"error","target_url":"","description":"not started","context":"tidegate/wave/broad"}"#,
            )
        });
        let status = CommitStatus {
            context: "tidegate/wave/broad".to_owned(),
            state: StatusState::Error,
            description: "not started".to_owned(),
            target_url: None,
        };
        gitea.post_status(oid(), &status).await.unwrap();
        let asked = asked.lock().unwrap();
        assert_eq!(
            asked[0].path,
            format!("/api/v1/repos/acme/config/statuses/{}", oid())
        );
        let body: serde_json::Value = serde_json::from_slice(&asked[0].body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "state": "error",
                "target_url": "",
                "description": "not started",
                "context": "tidegate/wave/broad",
            })
        );
    }

    #[tokio::test]
    async fn statuses_are_read_page_by_page() {
        let (gitea, _server, asked) = gitea(|request| {
            let statuses = if request.query.contains("page=1") {
                r#"[{"status":"success","context":"tidegate/render","description":"rendered","target_url":""},
                    {"status":"warning","context":"lint","description":"","target_url":"http://ci/1"}]"#
            } else if request.query.contains("page=2") {
                r#"[{"status":"pending","context":"tidegate/rollout","description":null,"target_url":null}]"#
            } else {
                "null"
            };
            Response::json(
                200,
                format!(r#"{{"state":"pending","total_count":0,"statuses":{statuses}}}"#),
            )
        });
        let statuses = gitea.statuses(oid()).await.unwrap();
        assert_eq!(
            statuses.keys().collect::<Vec<_>>(),
            ["tidegate/render", "tidegate/rollout"]
        );
        assert_eq!(statuses["tidegate/render"].target_url, None);
        assert_eq!(asked.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn the_pull_request_of_the_repos_own_branch_is_found_also_when_the_branch_is_gone() {
        const HEAD: &str = "tidegate-revert/1-2";
        let (gitea, _server, _) = gitea(|request| {
            let page = if !request.query.contains("page=1") {
                Vec::new()
            } else if request.query.contains("state=open") {
                // A fork has a branch of that name too.
                vec![
                    pull(9, HEAD, 2, "open", false),
                    pull(8, "other", 1, "open", false),
                ]
            } else {
                vec![
                    pull(3, HEAD, 1, "closed", false),
                    pull(4, HEAD, 1, "closed", true),
                ]
            };
            Response::json(200, format!("[{}]", page.join(",")))
        });
        let found = gitea.find_pull_request(HEAD, "main").await.unwrap();
        assert_eq!(
            found,
            Some(PullRequest {
                number: 4,
                url: "http://git.example.com/acme/config/pulls/4".to_owned(),
                state: PullRequestState::Merged,
            })
        );
        assert_eq!(gitea.find_pull_request(HEAD, "next").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_commit_may_have_no_account_and_no_pull_request() {
        let (gitea, _server, _) = gitea(|request| {
            if request.path.ends_with("/pull") {
                let body = r#"{"message":"pull request does not exist","url":"http://git.example.com/api/swagger"}"#;
                return Response::json(404, body);
            }
            Response::json(
                200,
                r#"{"sha":"01","html_url":"http://git.example.com/acme/config/commit/01","author":null}"#,
            )
        });
        let info = gitea.commit(oid()).await.unwrap();
        assert_eq!(
            info,
            CommitInfo {
                url: Some("http://git.example.com/acme/config/commit/01".to_owned()),
                author: None,
                pull_request: None,
            }
        );
    }

    #[tokio::test]
    async fn another_page_than_giteas_is_garbage() {
        let (gitea, _server, _) = gitea(|_| Response::text(200, "<html>please log in</html>"));
        let error = gitea.statuses(oid()).await.unwrap_err();
        assert!(matches!(error, ForgeError::Garbage { .. }), "{error:?}");
    }
}
