//! A stand-in for GitHub's REST API (version 2022-11-28), as far as its documentation describes commit statuses,
//! commits and pull requests, with the faults that it documents and a few of those that lie in between.
//!
//! <https://docs.github.com/en/rest/commits/statuses>, <https://docs.github.com/en/rest/pulls/pulls>,
//! <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::http::{HttpServer, Request, Response};
use crate::way::Way;

/// Most statuses of one context on one commit.
const MOST_STATUSES: usize = 1000;

/// Most characters of a description.
const LONGEST_DESCRIPTION: usize = 140;

/// What goes wrong instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: this request is answered as it should be, a later one is not.
    Spared,
    /// 401: the token is no good.
    Unauthorized,
    /// 403: the token may not do this.
    Forbidden,
    /// 403: nothing more may be asked for until so many seconds from now.
    PrimaryLimit(u64),
    /// 403: too much in a short time; how long to wait is said in seconds or not at all.
    SecondaryLimit(Option<u64>),
    /// 404.
    NotFound,
    /// 422.
    Unprocessable,
    /// 429 with this `Retry-After`.
    TooMany(String),
    /// This status, such as 502, with a page.
    ServerError(u16),
    /// This status, with all of the request as the message.
    Echo(u16),
    /// 301 to somewhere else.
    Moved,
    /// No answer until the fake is gone.
    Hang,
    /// 200 with a page, as a proxy that wants a login gives it.
    Garbage,
    /// The connection is closed without an answer.
    Close,
    /// The request is carried out, and then the connection is closed without an answer.
    Lost,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET` or `POST`.
    pub method: String,
    /// The path below the repository, such as `statuses/<sha>`.
    pub path: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body; null without one.
    pub body: Value,
}

/// A status as it was posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedStatus {
    /// The commit.
    pub commit: String,
    /// `tidegate/rollout`, …
    pub context: String,
    /// `pending`, `success`, `failure`, `error`.
    pub state: String,
    /// The text beside it.
    pub description: String,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// The branch that is to be merged.
    pub head: String,
    /// Where to.
    pub base: String,
    /// Its title.
    pub title: String,
    /// Its description.
    pub body: String,
    /// Whether it is open.
    pub open: bool,
    /// Whether it was merged.
    pub merged: bool,
    /// The commits that it brought.
    pub commits: Vec<String>,
}

#[derive(Debug, Default)]
struct State {
    repository: String,
    token: String,
    /// Known commits and the logins of their authors.
    commits: BTreeMap<String, Option<String>>,
    branches: Vec<String>,
    /// The repository itself: its commits and branches are known as well.
    bare: Option<PathBuf>,
    statuses: Vec<PostedStatus>,
    pulls: Vec<Pull>,
    asked: Vec<Asked>,
    faults: VecDeque<Fault>,
    /// Opened by somebody else as soon as somebody has looked for one.
    race: Option<Pull>,
}

impl State {
    fn knows(&self, commit: &str) -> bool {
        self.commits.contains_key(commit) || self.commit_of(commit).is_some()
    }

    /// The login of a commit's author, if there is one.
    fn author(&self, commit: &str) -> Option<&str> {
        self.commits.get(commit)?.as_deref()
    }

    fn has_branch(&self, branch: &str) -> bool {
        let reference = format!("refs/heads/{branch}");
        self.branches.iter().any(|known| known == branch) || self.commit_of(&reference).is_some()
    }

    /// Whether all commits of a branch are on another.
    fn brings_nothing(&self, head: &str, base: &str) -> bool {
        let commit = |branch: &str| self.commit_of(&format!("refs/heads/{branch}"));
        match (self.repository_of(), commit(head), commit(base)) {
            (Some(repository), Some(head), Some(base)) => {
                head == base || repository.graph_descendant_of(base, head).unwrap_or(false)
            }
            _ => false,
        }
    }

    fn repository_of(&self) -> Option<git2::Repository> {
        git2::Repository::open_bare(self.bare.as_ref()?).ok()
    }

    fn commit_of(&self, revision: &str) -> Option<git2::Oid> {
        let repository = self.repository_of()?;
        let object = repository.revparse_single(revision).ok()?;
        object.peel_to_commit().ok().map(|commit| commit.id())
    }
}

/// The fake, on a free port of this machine.
#[derive(Debug)]
pub struct FakeGithub {
    server: HttpServer,
    state: Arc<Mutex<State>>,
    gone: Arc<(Mutex<bool>, Condvar)>,
}

impl FakeGithub {
    /// Starts one that has this repository (`owner/name`) and accepts this token alone.
    pub fn start(repository: &str, token: &str) -> Self {
        let state = State {
            repository: repository.to_owned(),
            token: token.to_owned(),
            ..State::default()
        };
        Self::with(state, Way::default())
    }

    /// One that knows of a bare repo whatever git was told, and is reached by a way.
    pub fn of(bare: &Path, repository: &str, token: &str, way: Way) -> Self {
        let state = State {
            repository: repository.to_owned(),
            token: token.to_owned(),
            bare: Some(bare.to_owned()),
            ..State::default()
        };
        Self::with(state, way)
    }

    fn with(state: State, way: Way) -> Self {
        let state = Arc::new(Mutex::new(state));
        let gone = Arc::new((Mutex::new(false), Condvar::new()));
        let server = HttpServer::start({
            let state = Arc::clone(&state);
            let gone = Arc::clone(&gone);
            move |request| {
                if way.loses() {
                    return None;
                }
                answer(&state, &gone, &request)
            }
        });
        Self {
            server,
            state,
            gone,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The root of the API.
    pub fn api(&self) -> String {
        self.server.url("/")
    }

    /// Another token is the right one from now on.
    pub fn set_token(&self, token: &str) {
        token.clone_into(&mut self.state().token);
    }

    /// Makes a commit known, with the login of its author if GitHub knows the author.
    pub fn add_commit(&self, commit: &str, author: Option<&str>) {
        self.state()
            .commits
            .insert(commit.to_owned(), author.map(str::to_owned));
    }

    /// Makes a branch known, from which a pull request can be opened.
    pub fn add_branch(&self, branch: &str) {
        self.state().branches.push(branch.to_owned());
    }

    /// Adds statuses that somebody posted before.
    pub fn add_statuses(&self, posted: impl IntoIterator<Item = PostedStatus>) {
        self.state().statuses.extend(posted);
    }

    /// Adds a pull request as somebody else opened it; its number is what it says.
    pub fn add_pull(&self, pull: Pull) {
        self.state().pulls.push(pull);
    }

    /// Somebody else opens this pull request right after the next look at pull requests.
    pub fn race(&self, pull: Pull) {
        self.state().race = Some(pull);
    }

    /// Changes a pull request, as people do on its page.
    pub fn change_pull(&self, number: u64, change: impl FnOnce(&mut Pull)) {
        let mut state = self.state();
        let pull = state
            .pulls
            .iter_mut()
            .find(|pull| pull.number == number)
            .expect("a pull request of that number");
        change(pull);
    }

    /// The next requests go wrong in these ways, one after the other.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// How many faults have not happened yet.
    pub fn faults_left(&self) -> usize {
        self.state().faults.len()
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// Every status that was ever posted, oldest first.
    pub fn posted(&self) -> Vec<PostedStatus> {
        self.state().statuses.clone()
    }

    /// What stands on a commit: state and description by context.
    pub fn standing(&self, commit: &str) -> BTreeMap<String, (String, String)> {
        self.state()
            .statuses
            .iter()
            .filter(|status| status.commit == commit)
            .map(|status| {
                (
                    status.context.clone(),
                    (status.state.clone(), status.description.clone()),
                )
            })
            .collect()
    }

    /// All pull requests.
    pub fn pulls(&self) -> Vec<Pull> {
        self.state().pulls.clone()
    }
}

impl Drop for FakeGithub {
    fn drop(&mut self) {
        let (gone, woken) = &*self.gone;
        *lock(gone) = true;
        woken.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(
    state: &Mutex<State>,
    gone: &(Mutex<bool>, Condvar),
    request: &Request,
) -> Option<Response> {
    let fault = {
        let mut state = lock(state);
        let root = format!("/repos/{}/", state.repository);
        let path = request.path.strip_prefix(&root).unwrap_or(&request.path);
        let asked = Asked {
            method: request.method.clone(),
            path: path.to_owned(),
            headers: request.headers.clone(),
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
        };
        state.asked.push(asked);
        state.faults.pop_front()
    };
    if let Some(fault) = fault.filter(|fault| *fault != Fault::Spared) {
        if fault == Fault::Hang {
            let (gone, woken) = gone;
            drop(
                woken
                    .wait_while(lock(gone), |gone| !*gone)
                    .unwrap_or_else(PoisonError::into_inner),
            );
            return None;
        }
        if fault == Fault::Lost {
            carry_out(&mut lock(state), request);
            return None;
        }
        if let Fault::Echo(status) = fault {
            let came_with = request.header("authorization").unwrap_or_default();
            return Some(refusal(status, &format!("{came_with:?} asked {request:?}")));
        }
        return faulty(&fault);
    }
    Some(with_limits(carry_out(&mut lock(state), request), 4999))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn with_limits(response: Response, remaining: u64) -> Response {
    response
        .with("X-RateLimit-Limit", "5000")
        .with("X-RateLimit-Remaining", &remaining.to_string())
        .with("X-RateLimit-Reset", &(now() + 3600).to_string())
}

fn refusal(status: u16, message: &str) -> Response {
    let body = json!({
        "message": message,
        "documentation_url": "https://docs.github.com/rest",
        "status": status.to_string(),
    });
    Response::json(status, body.to_string())
}

fn invalid(errors: &Value) -> Response {
    let body = json!({
        "message": "Validation Failed",
        "errors": errors,
        "documentation_url": "https://docs.github.com/rest",
        "status": "422",
    });
    Response::json(422, body.to_string())
}

fn faulty(fault: &Fault) -> Option<Response> {
    let page = "<html><body>Unicorn!</body></html>";
    Some(match fault {
        Fault::Unauthorized => refusal(401, "Bad credentials"),
        Fault::Forbidden => with_limits(
            refusal(403, "Resource not accessible by personal access token"),
            4999,
        ),
        Fault::PrimaryLimit(seconds) => refusal(403, "API rate limit exceeded for user ID 1.")
            .with("X-RateLimit-Remaining", "0")
            .with("X-RateLimit-Reset", &(now() + seconds).to_string()),
        Fault::SecondaryLimit(seconds) => {
            let response = with_limits(
                refusal(
                    403,
                    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
                ),
                4999,
            );
            match seconds {
                Some(seconds) => response.with("Retry-After", &seconds.to_string()),
                None => response,
            }
        }
        Fault::NotFound => refusal(404, "Not Found"),
        Fault::Unprocessable => invalid(&json!([{ "code": "custom", "message": "no" }])),
        Fault::TooMany(after) => refusal(429, "Too many requests").with("Retry-After", after),
        Fault::ServerError(status) => Response::text(*status, page),
        Fault::Moved => refusal(301, "Moved Permanently")
            .with("Location", "https://api.github.com/repositories/1/statuses"),
        Fault::Garbage => Response::text(200, page).with("Content-Type", "text/html"),
        Fault::Spared | Fault::Hang | Fault::Close | Fault::Lost | Fault::Echo(_) => return None,
    })
}

/// Does what the request asks for, as the documentation says.
fn carry_out(state: &mut State, request: &Request) -> Response {
    if request.header("user-agent").is_none_or(str::is_empty) {
        return refusal(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.",
        );
    }
    let authorization = request.header("authorization").unwrap_or_default();
    if authorization != format!("Bearer {}", state.token) {
        return refusal(401, "Bad credentials");
    }
    if request
        .header("x-github-api-version")
        .is_some_and(|version| version != "2022-11-28")
    {
        return refusal(400, "not a supported version");
    }
    let root = format!("/repos/{}/", state.repository);
    let Some(path) = request.path.strip_prefix(&root) else {
        return refusal(404, "Not Found");
    };
    let parts: Vec<&str> = path.split('/').collect();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["statuses", commit]) => post_status(state, commit, &body),
        ("GET", ["commits", commit, "status"]) => combined(state, commit, &query(request)),
        ("GET", ["commits", commit]) if !state.knows(commit) => {
            refusal(422, &format!("No commit found for SHA: {commit}"))
        }
        ("GET", ["commits", commit]) => Response::json(
            200,
            json!({
                "sha": commit,
                "html_url": format!("https://github.example.com/{}/commit/{commit}", state.repository),
                "commit": { "author": { "name": "Ann", "email": "ann@example.com" } },
                "author": state.author(commit).map(|login| json!({ "login": login, "id": 1 })),
            })
            .to_string(),
        ),
        ("GET", ["commits", commit, "pulls"]) => {
            let found: Vec<Value> = state
                .pulls
                .iter()
                .filter(|pull| pull.commits.iter().any(|brought| brought == commit))
                .map(|pull| shown(state, pull))
                .collect();
            Response::json(200, Value::from(found).to_string())
        }
        ("GET", ["pulls"]) => list_pulls(state, &query(request)),
        ("POST", ["pulls"]) => open_pull(state, &body),
        _ => refusal(404, "Not Found"),
    }
}

fn query(request: &Request) -> BTreeMap<String, String> {
    request
        .query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect()
}

/// A value of a query without its escapes.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None if *first == b'+' => bytes.push(b' '),
            None => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text(body: &Value, field: &str) -> String {
    body[field].as_str().unwrap_or_default().to_owned()
}

fn post_status(state: &mut State, commit: &str, body: &Value) -> Response {
    if !state.knows(commit) {
        return refusal(422, &format!("No commit found for SHA: {commit}"));
    }
    let status = PostedStatus {
        commit: commit.to_owned(),
        context: body["context"].as_str().unwrap_or("default").to_owned(),
        state: text(body, "state"),
        description: text(body, "description"),
    };
    let problem = |field: &str, message: &str| {
        invalid(
            &json!([{ "resource": "Status", "field": field, "code": "custom", "message": message }]),
        )
    };
    if !["error", "failure", "pending", "success"].contains(&status.state.as_str()) {
        return problem("state", "state is not included in the list");
    }
    if status.description.chars().count() > LONGEST_DESCRIPTION {
        return problem(
            "description",
            "description is too long (maximum is 140 characters)",
        );
    }
    let same = |other: &&PostedStatus| {
        other.commit == status.commit && other.context.eq_ignore_ascii_case(&status.context)
    };
    if state.statuses.iter().filter(same).count() >= MOST_STATUSES {
        return problem(
            "base",
            "This SHA and context has reached the maximum number of statuses.",
        );
    }
    let answer = shown_status(&status);
    state.statuses.push(status);
    Response::json(201, answer.to_string())
}

fn shown_status(status: &PostedStatus) -> Value {
    json!({
        "id": 1,
        "state": status.state,
        "description": status.description,
        "context": status.context,
        "target_url": null,
    })
}

fn combined(state: &State, commit: &str, query: &BTreeMap<String, String>) -> Response {
    if !state.knows(commit) {
        return refusal(404, "Not Found");
    }
    let newest: BTreeMap<&str, &PostedStatus> = state
        .statuses
        .iter()
        .filter(|status| status.commit == commit)
        .map(|status| (status.context.as_str(), status))
        .collect();
    let number = |name: &str, default: usize| {
        query
            .get(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (page, per_page) = (number("page", 1), number("per_page", 30).min(100));
    let statuses: Vec<Value> = newest
        .values()
        .skip((page - 1) * per_page)
        .take(per_page)
        .map(|status| shown_status(status))
        .collect();
    let body = json!({
        "state": "pending",
        "sha": commit,
        "total_count": newest.len(),
        "statuses": statuses,
    });
    Response::json(200, body.to_string())
}

fn shown(state: &State, pull: &Pull) -> Value {
    json!({
        "number": pull.number,
        "html_url": format!("https://github.example.com/{}/pull/{}", state.repository, pull.number),
        "state": if pull.open { "open" } else { "closed" },
        "merged_at": pull.merged.then_some("2026-01-01T00:00:00Z"),
        "title": pull.title,
        "head": { "ref": pull.head },
        "base": { "ref": pull.base },
    })
}

fn list_pulls(state: &mut State, query: &BTreeMap<String, String>) -> Response {
    let owner = state.repository.split('/').next().unwrap_or_default();
    let has = |name: &str| query.get(name).map(String::as_str);
    let found: Vec<Value> = state
        .pulls
        .iter()
        .rev()
        .filter(|pull| match has("state").unwrap_or("open") {
            "all" => true,
            "closed" => !pull.open,
            _ => pull.open,
        })
        .filter(|pull| has("head").is_none_or(|head| head == format!("{owner}:{}", pull.head)))
        .filter(|pull| has("base").is_none_or(|base| base == pull.base))
        .map(|pull| shown(state, pull))
        .collect();
    if let Some(pull) = state.race.take() {
        state.pulls.push(pull);
    }
    Response::json(200, Value::from(found).to_string())
}

fn open_pull(state: &mut State, body: &Value) -> Response {
    let head = text(body, "head");
    let base = text(body, "base");
    if !state.has_branch(&head) {
        return invalid(
            &json!([{ "resource": "PullRequest", "field": "head", "code": "invalid" }]),
        );
    }
    if state.brings_nothing(&head, &base) {
        let message = format!("No commits between {base} and {head}");
        return invalid(
            &json!([{ "resource": "PullRequest", "code": "custom", "message": message }]),
        );
    }
    if state
        .pulls
        .iter()
        .any(|pull| pull.open && pull.head == head && pull.base == base)
    {
        let owner = state.repository.split('/').next().unwrap_or_default();
        return invalid(&json!([{
            "resource": "PullRequest",
            "code": "custom",
            "message": format!("A pull request already exists for {owner}:{head}."),
        }]));
    }
    let pull = Pull {
        number: state
            .pulls
            .iter()
            .map(|pull| pull.number)
            .max()
            .unwrap_or(0)
            + 1,
        head,
        base,
        title: text(body, "title"),
        body: text(body, "body"),
        open: true,
        merged: false,
        commits: Vec::new(),
    };
    let answer = shown(state, &pull);
    state.pulls.push(pull);
    Response::json(201, answer.to_string())
}
