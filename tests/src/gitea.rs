//! A real Gitea, set up through its own API.
//!
//! The program is looked for below the folder that the environment variable [`crate::stack::STACK_VARIABLE`] names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::certificates::Certificates;
use crate::stack::{free_port, stack_file};
use crate::wait::{wait_for, wait_until};

/// The administrator; also the engineer whose commits are rolled out.
pub const ENGINEER: &str = "jo";
/// The account of the controller.
pub const BOT: &str = "bot";
/// The password of every account.
pub const PASSWORD: &str = "harbour-Pass-77";

/// How long Gitea may take for anything on a slow machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// A Gitea with the accounts [`ENGINEER`] and [`BOT`] and no repo. It ends, and all that it holds goes, when dropped.
#[derive(Debug)]
pub struct Gitea {
    folder: tempfile::TempDir,
    url: String,
    certificates: Option<Certificates>,
    process: Child,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    tokens: AtomicUsize,
}

/// A token by which an account is let in, as a password or by the API.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its name, by which it is revoked.
    pub name: String,
    /// The token.
    pub text: String,
}

/// A commit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `pending`, `success`, `failure`, `error` or `warning`.
    pub state: String,
    /// The line of text.
    pub description: String,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// `open` or `closed`.
    pub state: String,
    /// Whether it was merged.
    pub merged: bool,
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// The branch with the commits.
    pub head: String,
    /// The branch that they shall come to.
    pub base: String,
}

impl Gitea {
    /// Starts one that is reached by HTTP; `None` where there is no Gitea.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::launch(None)
    }

    /// Starts one that is reached by HTTPS, with a certificate of a private authority; `None` where there is no Gitea or
    /// no `openssl`.
    #[must_use]
    pub fn start_https() -> Option<Self> {
        program()?;
        Self::launch(Some(Certificates::generate()?))
    }

    fn launch(certificates: Option<Certificates>) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let scheme = if certificates.is_some() {
            "https"
        } else {
            "http"
        };
        let url = format!("{scheme}://127.0.0.1:{port}");
        write_configuration(folder.path(), &program, &url, port, certificates.as_ref());
        run(&program, folder.path(), &["migrate"]);
        let email = format!("{ENGINEER}@example.com");
        run(
            &program,
            folder.path(),
            &[
                "admin",
                "user",
                "create",
                "--admin",
                "--username",
                ENGINEER,
                "--password",
                PASSWORD,
                "--email",
                &email,
                "--must-change-password=false",
            ],
        );
        let log = File::create(folder.path().join("said")).unwrap();
        let process = command(&program, folder.path())
            .arg("web")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("gitea");
        let mut client = reqwest::Client::builder().timeout(DEADLINE).no_proxy();
        if let Some(certificates) = &certificates {
            let authority = fs::read(certificates.authority()).unwrap();
            let authority = reqwest::Certificate::from_pem(&authority).unwrap();
            client = client.tls_certs_only([authority]);
        }
        let mut this = Self {
            folder,
            url,
            certificates,
            process,
            client: client.build().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            tokens: AtomicUsize::new(0),
        };
        this.wait_until_ready();
        this.post(
            "/admin/users",
            &json!({
                "username": BOT, "password": PASSWORD, "email": format!("{BOT}@example.com"),
                "must_change_password": false,
            }),
        );
        Some(this)
    }

    fn wait_until_ready(&mut self) {
        let url = format!("{}/api/healthz", self.url);
        wait_until("Gitea is ready", DEADLINE, || {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "Gitea ended: {}", self.said());
            let answer = self
                .runtime
                .block_on(async { self.client.get(&url).send().await });
            answer.is_ok_and(|answer| answer.status().is_success())
        });
    }

    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// The URL of a page; the path begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The root of its API, as the settings name it.
    #[must_use]
    pub fn api(&self) -> String {
        self.url("/api/v1")
    }

    /// The URL of a repo (`owner/name`) for git, without credentials.
    #[must_use]
    pub fn repo_url(&self, repo: &str) -> String {
        self.url(&format!("/{repo}.git"))
    }

    /// The URL of a repo with an account's password, for the git of a test's engineer.
    #[must_use]
    pub fn repo_url_as(&self, account: &str, repo: &str) -> String {
        self.repo_url(repo)
            .replacen("://", &format!("://{account}:{PASSWORD}@"), 1)
    }

    /// Where a repo (`owner/name`) lies on disk.
    #[must_use]
    pub fn repo_folder(&self, repo: &str) -> PathBuf {
        self.folder.path().join("repos").join(format!("{repo}.git"))
    }

    /// The private authority's certificate, of one that is reached by HTTPS.
    #[must_use]
    pub fn authority(&self) -> Option<PathBuf> {
        self.certificates.as_ref().map(Certificates::authority)
    }

    /// Makes an empty repo of [`ENGINEER`], to which [`BOT`] may write; gives its `owner/name`.
    #[must_use]
    pub fn create_repo(&self, name: &str) -> String {
        let repo = format!("{ENGINEER}/{name}");
        self.post(
            "/user/repos",
            &json!({ "name": name, "default_branch": "main" }),
        );
        self.call(
            Method::PUT,
            &format!("/repos/{repo}/collaborators/{BOT}"),
            Some(&json!({ "permission": "write" })),
        );
        repo
    }

    /// A new token of an account that may do whatever the account may.
    #[must_use]
    pub fn token(&self, account: &str) -> Token {
        let name = format!("t{}", self.tokens.fetch_add(1, Ordering::Relaxed));
        let answer = self.call_as(
            account,
            Method::POST,
            &format!("/users/{account}/tokens"),
            Some(&json!({ "name": name, "scopes": ["all"] })),
        );
        Token {
            name,
            text: text(&answer.expect("a token"), "sha1"),
        }
    }

    /// Lets nobody in with a token any more.
    pub fn revoke(&self, account: &str, token: &Token) {
        self.call_as(
            account,
            Method::DELETE,
            &format!("/users/{account}/tokens/{}", token.name),
            None,
        )
        .expect("the token's end");
    }

    /// Protects a branch: only these accounts may push to it, others need a pull request.
    pub fn protect(&self, repo: &str, branch: &str, pushers: &[&str]) {
        self.post(
            &format!("/repos/{repo}/branch_protections"),
            &json!({
                "rule_name": branch, "enable_push": true, "enable_push_whitelist": true,
                "push_whitelist_usernames": pushers,
            }),
        );
    }

    /// Ends the protection of a branch.
    pub fn unprotect(&self, repo: &str, branch: &str) {
        self.call(
            Method::DELETE,
            &format!("/repos/{repo}/branch_protections/{branch}"),
            None,
        );
    }

    /// The newest status of each context of a commit, by context.
    #[must_use]
    pub fn statuses(&self, repo: &str, commit: &str) -> BTreeMap<String, Status> {
        // Of two of one context the later one stays.
        self.status_history(repo, commit).into_iter().collect()
    }

    /// Every status that was ever posted on a commit, with its context, oldest first.
    #[must_use]
    pub fn status_history(&self, repo: &str, commit: &str) -> Vec<(String, Status)> {
        let mut all: Vec<(u64, String, Status)> = self
            .list(&format!("/repos/{repo}/commits/{commit}/statuses"))
            .iter()
            .map(|status| {
                let posted = Status {
                    state: text(status, "status"),
                    description: text(status, "description"),
                };
                (
                    status["id"].as_u64().unwrap(),
                    text(status, "context"),
                    posted,
                )
            })
            .collect();
        all.sort_by_key(|(id, ..)| *id);
        all.into_iter()
            .map(|(_, context, status)| (context, status))
            .collect()
    }

    /// All pull requests of a repo, the oldest first.
    #[must_use]
    pub fn pulls(&self, repo: &str) -> Vec<Pull> {
        let mut pulls: Vec<Pull> = self
            .list(&format!("/repos/{repo}/pulls?state=all"))
            .iter()
            .map(pull)
            .collect();
        pulls.sort_by_key(|pull| pull.number);
        pulls
    }

    /// Opens a pull request by [`ENGINEER`].
    #[must_use]
    pub fn open_pull(&self, repo: &str, head: &str, base: &str, title: &str) -> Pull {
        pull(&self.post(
            &format!("/repos/{repo}/pulls"),
            &json!({ "head": head, "base": base, "title": title }),
        ))
    }

    /// Merges a pull request by [`ENGINEER`]; waits until Gitea has found out that it can be merged.
    pub fn merge(&self, repo: &str, number: u64) {
        let path = format!("/repos/{repo}/pulls/{number}/merge");
        wait_for("the merge", DEADLINE, || {
            self.call_as(
                ENGINEER,
                Method::POST,
                &path,
                Some(&json!({ "Do": "merge" })),
            )
            .ok()
        });
    }

    /// Lets Gitea call a URL on pushes and pull requests; with a secret, the calls are signed.
    pub fn create_hook(&self, repo: &str, url: &str, secret: &str) {
        self.post(
            &format!("/repos/{repo}/hooks"),
            &json!({
                "type": "gitea", "active": true, "events": ["push", "pull_request"],
                "config": { "url": url, "content_type": "json", "secret": secret },
            }),
        );
    }

    /// Calls the API as [`ENGINEER`], who must be let do it; `path` begins with `/`.
    pub fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        self.call_as(ENGINEER, method, path, body)
            .unwrap_or_else(|(status, answer)| panic!("{path}: {status}: {answer}"))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.call(Method::POST, path, Some(body))
    }

    /// All pages of a list.
    fn list(&self, path: &str) -> Vec<Value> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut all = Vec::new();
        for page in 1.. {
            let answer = self.call(
                Method::GET,
                &format!("{path}{joint}limit=50&page={page}"),
                None,
            );
            let items = answer.as_array().cloned().unwrap_or_default();
            if items.is_empty() {
                break;
            }
            all.extend(items);
        }
        all
    }

    /// Calls the API as an account; an answer that is no success is given back with its status.
    pub fn call_as(
        &self,
        account: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, (u16, String)> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.api()))
            .basic_auth(account, Some(PASSWORD));
        if let Some(body) = body {
            request = request.json(body);
        }
        self.runtime.block_on(async {
            let answer = request.send().await.expect("an answer of Gitea's API");
            let status = answer.status();
            let text = answer.text().await.expect("a whole answer of Gitea's API");
            if status.is_success() {
                Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
            } else {
                Err((status.as_u16(), text))
            }
        })
    }
}

impl Drop for Gitea {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, and beside it the folder `static`.
fn program() -> Option<PathBuf> {
    stack_file("gitea/gitea")
}

fn write_configuration(
    folder: &Path,
    program: &Path,
    url: &str,
    port: u16,
    certificates: Option<&Certificates>,
) {
    let here = folder.display();
    let resources = program.with_file_name("static");
    let mut text = format!(
        "RUN_MODE = prod\nWORK_PATH = {here}\n\
         [server]\nHTTP_ADDR = 127.0.0.1\nHTTP_PORT = {port}\nROOT_URL = {url}/\n\
         STATIC_ROOT_PATH = {}\nOFFLINE_MODE = true\nDISABLE_SSH = true\n",
        resources.display()
    );
    if let Some(certificates) = certificates {
        let _ = writeln!(
            text,
            "PROTOCOL = https\nCERT_FILE = {}\nKEY_FILE = {}",
            certificates.certificate().display(),
            certificates.key().display()
        );
    }
    let _ = write!(
        text,
        "[database]\nDB_TYPE = sqlite3\nPATH = {here}/gitea.db\n\
         [security]\nINSTALL_LOCK = true\nSECRET_KEY = throw-away\n\
         [webhook]\nALLOWED_HOST_LIST = *\n[repository]\nROOT = {here}/repos\n\
         [queue]\nTYPE = channel\n[indexer]\nISSUE_INDEXER_TYPE = db\n\
         [log]\nLEVEL = warn\n[actions]\nENABLED = false\n"
    );
    fs::write(folder.join("app.ini"), text).unwrap();
}

/// Gitea with an environment of its own. It refuses to run as root unless it is told to: here it serves one test on the
/// loopback device, and its repos have to be readable by whoever runs the tests.
fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg("--config")
        .arg(folder.join("app.ini"))
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT", "true")
        .stdin(Stdio::null());
    command
}

fn run(program: &Path, folder: &Path, arguments: &[&str]) {
    let output = command(program, folder)
        .args(arguments)
        .output()
        .expect("gitea");
    assert!(output.status.success(), "gitea {arguments:?}: {output:?}");
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn pull(value: &Value) -> Pull {
    Pull {
        number: value["number"].as_u64().expect("a pull request"),
        state: text(value, "state"),
        merged: value["merged"].as_bool().unwrap_or_default(),
        title: text(value, "title"),
        body: text(value, "body"),
        head: text(&value["head"], "ref"),
        base: text(&value["base"], "ref"),
    }
}
