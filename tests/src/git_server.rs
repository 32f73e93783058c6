//! Real git over smart HTTP: `git http-backend` behind basic authentication, with faults on demand.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::Duration;

use base64::Engine as _;

use crate::canaries::percent_encoded;
use crate::git_answer::{self, Lie};
use crate::http::{HttpServer, Reading, Request, Response, Sending, Wait};
use crate::journal::{self, Update, write_hook};
use crate::work::git_command;

/// Which requests a fault meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// All.
    Any,
    /// The listing of refs that begins a fetch, a push or `ls-remote`.
    Listing,
    /// The request that carries a push.
    Push,
    /// The request that carries a push of this ref (full name), alone or with others.
    PushOf(&'static str),
    /// The request that asks for objects (or, with protocol 2, for refs).
    Fetch,
    /// The answer that brings a pack.
    Pack,
    /// The answer that lists the refs for whoever reads.
    RefsToRead,
    /// The answer that lists the refs for whoever pushes.
    RefsToPush,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request takes effect; the answer is lost.
    DropAnswer,
    /// The connection is closed before anything takes effect.
    DropRequest,
    /// A status instead of an answer; nothing takes effect. 401 asks for credentials, 429 says Retry-After.
    Status(u16),
    /// No answer ever, and nothing takes effect, until the fault is cleared.
    Stall,
    /// The request waits until the fault is cleared and takes effect then.
    Hold,
    /// The request takes effect; the answer waits until the fault is cleared.
    HoldAnswer,
    /// A status, with all that the request said of who asks as the text beside it; nothing takes effect.
    Echo(u16),
    /// Every ref of a push is refused, in words that repeat what the request said of who asks; nothing takes effect.
    EchoingRefusal,
    /// An answer that is no git.
    Garbage,
    /// The head and half of the body come, and then nothing, until the fault is cleared. Nothing takes effect.
    HalfRequest,
    /// What comes of a push is half of its pack, as behind a proxy that cuts.
    HalfPack,
    /// The files of the repo, as from a server that knows nothing of git: the dumb protocol.
    Dumb,
    /// The request takes effect; half of the answer comes, and then the connection is closed.
    CutAnswer,
    /// The same, but the half comes under a head that tells of no more.
    HalfAnswer,
    /// The same, but the connection stays open in silence until the fault is cleared.
    StallAnswer,
    /// The request takes effect; one bit in the middle of the answer is another.
    FlipBit,
    /// The request takes effect; the answer is no sequence of packets.
    NoPackets,
    /// The refs are listed otherwise than they are.
    Lists(Lie),
}

impl Fault {
    /// Whether it changes the answer of a request that takes effect as asked.
    fn is_of_the_answer(self) -> bool {
        matches!(
            self,
            Self::CutAnswer
                | Self::HalfAnswer
                | Self::StallAnswer
                | Self::FlipBit
                | Self::NoPackets
                | Self::Lists(_)
        )
    }
}

/// A fault, and how many requests it still meets (`None`: until cleared).
#[derive(Debug, Clone, Copy)]
struct Rule {
    on: On,
    fault: Fault,
    left: Option<u32>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    /// Grows when the faults are cleared: what waits goes on.
    cleared: u64,
    waiting: usize,
    requests: usize,
    pushes: usize,
    answers: usize,
    closed: bool,
    /// Where a redirect leads.
    elsewhere: Option<SocketAddr>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A git server with any number of bare repos. It ends, and its repos go, when dropped.
#[derive(Debug)]
pub struct GitServer {
    root: tempfile::TempDir,
    shared: Arc<Shared>,
    http: HttpServer,
}

/// The user name that the server knows.
pub const USERNAME: &str = "tide";
/// Its password: a canary, with what encodings write otherwise. See [`crate::canaries::STANDING`].
pub const PASSWORD: &str = "Zx81+canary/7qTbR=9wLm%Kd@4hNs";

impl GitServer {
    /// Starts a server without repos, which closes each connection behind its one answer: where one is cut, the
    /// client cannot take it for an old one that it may try again.
    #[must_use]
    pub fn start() -> Self {
        Self::with(false)
    }

    /// The same, but connections stay open as those to servers on the internet do.
    #[must_use]
    pub fn keeping_alive() -> Self {
        Self::with(true)
    }

    fn with(keep_alive: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared::default());
        let reading = {
            let shared = Arc::clone(&shared);
            move |head: &Request| {
                let half =
                    |rule: &Rule| rule.fault == Fault::HalfRequest && meets(rule.on, head, None);
                match take_fault(&shared, half) {
                    Some(_) => Reading::Half(waiting(&shared)),
                    None => Reading::Whole,
                }
            }
        };
        let handler = {
            let shared = Arc::clone(&shared);
            let root = root.path().to_owned();
            move |request: Request| {
                let answered = answer(&shared, &root, &request);
                shared.state.lock().unwrap().answers += 1;
                answered
            }
        };
        let http = HttpServer::with(reading, handler, keep_alive);
        Self { root, shared, http }
    }

    /// Makes an empty bare repo that keeps a journal; its default branch is `main`.
    pub fn create(&self, name: &str) -> PathBuf {
        let repo = self.path(name);
        git_command(
            self.root.path(),
            &["init", "-q", "--bare", "-b", "main", name],
        );
        git_command(&repo, &["config", "http.receivepack", "true"]);
        git_command(&repo, &["config", "receive.autogc", "false"]);
        fs::write(repo.join("protected"), "").unwrap();
        fs::write(repo.join("protected-whole"), "").unwrap();
        write_hook(&repo, "update", UPDATE_HOOK);
        write_hook(&repo, "pre-receive", PRE_RECEIVE_HOOK);
        journal::install(&repo);
        repo
    }

    /// The folder of a repo.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }

    /// The URL of a repo, without credentials.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        self.http.url(&format!("/{name}"))
    }

    /// The URL of a repo with user name and password, for the git of a test's engineer.
    #[must_use]
    pub fn url_with_password(&self, name: &str) -> String {
        let password = percent_encoded(PASSWORD, false);
        format!(
            "http://{USERNAME}:{password}@{}/{name}",
            self.http.address()
        )
    }

    /// Refuses updates of a ref, as GitHub does: other refs of the same push go through.
    pub fn protect(&self, repo: &str, name: &str) {
        fs::write(self.path(repo).join("protected"), format!("{name}\n")).unwrap();
    }

    /// Refuses every push that updates a ref among others, whole, as Gitea does.
    pub fn protect_whole(&self, repo: &str, name: &str) {
        fs::write(self.path(repo).join("protected-whole"), format!("{name}\n")).unwrap();
    }

    /// Ends all protection.
    pub fn unprotect(&self, repo: &str) {
        fs::write(self.path(repo).join("protected"), "").unwrap();
        fs::write(self.path(repo).join("protected-whole"), "").unwrap();
    }

    /// Lets updates of a ref wait within the server, after those that stand before it in the same push and were done.
    pub fn hold(&self, repo: &str, name: &str) {
        fs::write(self.path(repo).join("held"), format!("{name}\n")).unwrap();
    }

    /// Whether an update of a ref waits (or has waited) within the server.
    #[must_use]
    pub fn has_held(&self, repo: &str, name: &str) -> bool {
        fs::read_to_string(self.path(repo).join("waiting"))
            .is_ok_and(|waiting| waiting.trim() == name)
    }

    /// Lets what waits within the server go on.
    pub fn release(&self, repo: &str) {
        let _ = fs::remove_file(self.path(repo).join("held"));
    }

    /// Every update of a repo's refs so far, in order.
    #[must_use]
    pub fn journal(&self, repo: &str) -> Vec<Update> {
        journal::read(&self.path(repo))
    }

    /// The id of a ref; `None` if it does not exist.
    #[must_use]
    pub fn tip(&self, repo: &str, name: &str) -> Option<String> {
        tip_in(&self.path(repo), name)
    }

    /// The next `count` matching requests meet a fault.
    pub fn fail_next(&self, count: u32, on: On, fault: Fault) {
        self.add(Rule {
            on,
            fault,
            left: Some(count),
        });
    }

    /// All matching requests meet a fault, until [`GitServer::clear`].
    pub fn fail(&self, on: On, fault: Fault) {
        self.add(Rule {
            on,
            fault,
            left: None,
        });
    }

    /// Where redirects lead from now on: the same path on another server.
    pub fn redirect_to(&self, other: &Self) {
        self.shared.state.lock().unwrap().elsewhere = Some(other.address());
    }

    fn add(&self, rule: Rule) {
        self.shared.state.lock().unwrap().rules.push(rule);
    }

    /// Ends all faults; what was held goes on.
    pub fn clear(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.rules.clear();
        state.cleared += 1;
        self.shared.changed.notify_all();
    }

    /// Waits until a request is held or stalled.
    pub fn wait_until_held(&self, deadline: Duration) {
        let state = self.shared.state.lock().unwrap();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, deadline, |state| state.waiting == 0)
            .unwrap();
        assert!(state.waiting > 0, "no request came within {deadline:?}");
    }

    /// How many requests have come so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.state.lock().unwrap().requests
    }

    /// How many requests have been dealt with so far, whatever that came to.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.shared.state.lock().unwrap().answers
    }

    /// How many requests that carry a push have come so far.
    #[must_use]
    pub fn pushes(&self) -> usize {
        self.shared.state.lock().unwrap().pushes
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        for repo in fs::read_dir(self.root.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = fs::remove_file(repo.path().join("held"));
        }
        self.shared.state.lock().unwrap().closed = true;
        self.shared.changed.notify_all();
    }
}

fn tip_in(repo: &Path, name: &str) -> Option<String> {
    let output = Command::new("git")
        .arg("--git-dir")
        .arg(repo)
        .args(["rev-parse", "--verify", "--quiet", name])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| text.trim().to_owned())
}

// The hooks start no process: a run of the tests pushes many thousand times.

const UPDATE_HOOK: &str = r#"#!/bin/sh
repo="${0%/*}/.."
listed() {
  [ -s "$repo/$1" ] || return 1
  while read -r name; do
    [ "$name" = "$2" ] && return 0
  done 2>/dev/null <"$repo/$1"
  return 1
}
while listed held "$1"; do
  printf '%s\n' "$1" >"$repo/waiting"
  sleep 0.05
done
if listed protected "$1"; then
  echo "error: GH006: Protected branch update failed for $1." >&2
  exit 1
fi
"#;

const PRE_RECEIVE_HOOK: &str = r#"#!/bin/sh
protected="${0%/*}/../protected-whole"
[ -s "$protected" ] || exit 0
while read -r old new ref; do
  while read -r name; do
    if [ "$name" = "$ref" ]; then
      echo "Not allowed to push to protected branch $ref" >&2
      exit 1
    fi
  done <"$protected"
done
"#;

fn kind_of(request: &Request) -> On {
    if request.path.ends_with("/info/refs") {
        On::Listing
    } else if request.path.ends_with("/git-receive-pack") {
        On::Push
    } else {
        On::Fetch
    }
}

fn answer(shared: &Arc<Shared>, root: &Path, request: &Request) -> Option<Response> {
    {
        let mut state = shared.state.lock().unwrap();
        state.requests += 1;
        if kind_of(request) == On::Push {
            state.pushes += 1;
        }
    }
    let fault = take_fault(shared, |rule| {
        rule.fault != Fault::HalfRequest
            && !rule.fault.is_of_the_answer()
            && meets(rule.on, request, None)
    });
    let mut body = request.body.as_slice();
    match fault {
        Some(Fault::DropRequest) => return None,
        Some(Fault::Status(status @ 300..=399)) => return Some(redirect(shared, status, request)),
        Some(Fault::Status(status)) => return Some(status_answer(status)),
        Some(Fault::Echo(status)) => return Some(echo(status, request)),
        Some(Fault::EchoingRefusal) => {
            return Some(git_answer::refusal(&request.body, &who_asks(request)));
        }
        Some(Fault::Garbage) => return Some(Response::text(200, "<html>Sign in</html>")),
        Some(Fault::Stall) => {
            wait(shared);
            return None;
        }
        Some(Fault::Hold) => wait(shared),
        Some(Fault::HalfPack) => body = git_answer::half_of_a_push(body),
        _ => {}
    }
    let token = base64::engine::general_purpose::STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    if request.header("authorization") != Some(&format!("Basic {token}")) {
        return Some(status_answer(401));
    }
    let mut response = if fault == Some(Fault::Dumb) {
        git_answer::of_a_dumb_server(root, request)
    } else {
        run_backend(root, request, body)
    };
    match fault {
        Some(Fault::DropAnswer) => return None,
        Some(Fault::HoldAnswer) => wait(shared),
        _ => {}
    }
    let fault = take_fault(shared, |rule| {
        rule.fault.is_of_the_answer() && meets(rule.on, request, Some(&response))
    });
    if let Some(fault) = fault {
        let repo = root.join(request.path.split('/').nth(1).unwrap_or_default());
        spoil(shared, &repo, &mut response, fault);
    }
    Some(response)
}

/// Does to an answer what a fault of answers does.
fn spoil(shared: &Arc<Shared>, repo: &Path, response: &mut Response, fault: Fault) {
    let half = git_answer::middle(&response.body);
    match fault {
        Fault::CutAnswer => response.sending = Sending::Cut(half),
        Fault::HalfAnswer => response.body.truncate(half),
        Fault::StallAnswer => response.sending = Sending::Stall(half, waiting(shared)),
        Fault::FlipBit => response.body[half] ^= 1,
        Fault::NoPackets => git_answer::garble(&mut response.body),
        Fault::Lists(lie) => {
            response.body =
                git_answer::listing_with(&response.body, lie, |name| tip_in(repo, name));
        }
        other => unreachable!("{other:?} is no fault of an answer"),
    }
}

/// Whether a request, or the answer to it where that is known, is one of those meant.
fn meets(on: On, request: &Request, response: Option<&Response>) -> bool {
    let kind = kind_of(request);
    match on {
        On::Any => true,
        On::PushOf(name) => kind == On::Push && names(&request.body, name),
        On::Pack => response.is_some_and(|response| git_answer::brings_a_pack(&response.body)),
        On::RefsToRead => kind == On::Fetch && git_answer::asks_for_refs(&request.body),
        On::RefsToPush => kind == On::Listing && request.query == "service=git-receive-pack",
        on => on == kind,
    }
}

/// The first rule that is wanted, which has met one request more.
fn take_fault(shared: &Shared, is_wanted: impl Fn(&Rule) -> bool) -> Option<Fault> {
    let mut state = shared.state.lock().unwrap();
    let place = state.rules.iter().position(is_wanted)?;
    let rule = &mut state.rules[place];
    let fault = rule.fault;
    if let Some(left) = &mut rule.left {
        *left -= 1;
        if *left == 0 {
            state.rules.remove(place);
        }
    }
    Some(fault)
}

/// Whether a push moves this ref: its commands come first, `<old> <new> <ref>`, before the pack.
fn names(body: &[u8], name: &str) -> bool {
    let commands = body
        .windows(4)
        .position(|window| window == b"PACK")
        .unwrap_or(body.len());
    let wanted = format!(" {name}");
    body[..commands].windows(wanted.len() + 1).any(|window| {
        window.starts_with(wanted.as_bytes())
            && !matches!(window[wanted.len()], b'a'..=b'z' | b'-' | b'/')
    }) || body[..commands].ends_with(wanted.as_bytes())
}

/// What waits until the faults are cleared or the server ends.
fn waiting(shared: &Arc<Shared>) -> Wait {
    let shared = Arc::clone(shared);
    Wait::until(move || wait(&shared))
}

fn wait(shared: &Shared) {
    let mut state = shared.state.lock().unwrap();
    let cleared = state.cleared;
    state.waiting += 1;
    shared.changed.notify_all();
    let mut state = shared
        .changed
        .wait_while(state, |state| state.cleared == cleared && !state.closed)
        .unwrap();
    state.waiting -= 1;
}

fn redirect(shared: &Shared, status: u16, request: &Request) -> Response {
    let elsewhere = shared.state.lock().unwrap().elsewhere;
    let host = elsewhere.map_or_else(|| "127.0.0.1:9".to_owned(), |address| address.to_string());
    let location = format!("http://{host}{}?{}", request.path, request.query);
    Response::text(status, "it is elsewhere\n").with("Location", &location)
}

/// What a request says of who asks, as it is sent and as it is meant.
fn who_asks(request: &Request) -> String {
    let header = request.header("authorization").unwrap_or_default();
    let token = header.strip_prefix("Basic ").unwrap_or_default();
    let meant = base64::engine::general_purpose::STANDARD.decode(token);
    let meant = String::from_utf8_lossy(&meant.unwrap_or_default()).into_owned();
    format!("{header} which means {meant} or {meant:?}")
}

fn echo(status: u16, request: &Request) -> Response {
    let words = format!("you came with {}\n", who_asks(request));
    Response {
        body: words.into_bytes(),
        ..status_answer(status)
    }
}

fn status_answer(status: u16) -> Response {
    let response = Response::text(status, "the test server says no\n");
    match status {
        401 => response.with("WWW-Authenticate", "Basic realm=\"test\""),
        429 | 503 => response.with("Retry-After", "1"),
        _ => response,
    }
}

/// What `git http-backend` starts, without the `git` before it.
static BACKEND: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Command::new("git").arg("--exec-path").output().unwrap();
    Path::new(String::from_utf8_lossy(&folder.stdout).trim()).join("git-http-backend")
});

fn run_backend(root: &Path, request: &Request, body: &[u8]) -> Response {
    let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
    let mut backend = Command::new(&*BACKEND);
    backend
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_USER", USERNAME)
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut backend = backend.spawn().expect("git http-backend");
    let mut stdin = backend.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // It may answer before it has read everything.
        scope.spawn(move || drop(stdin.write_all(body)));
        backend.wait_with_output().unwrap()
    });
    read_cgi(&output.stdout)
}

/// Headers, an empty line, the body.
fn read_cgi(output: &[u8]) -> Response {
    let end = output
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| {
            panic!(
                "git http-backend said {:?}",
                String::from_utf8_lossy(output)
            )
        });
    let mut response = Response {
        status: 200,
        headers: Vec::new(),
        body: output[end + 4..].to_vec(),
        sending: Sending::Whole,
    };
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            response.status = value[..3].parse().unwrap();
        } else {
            response.headers.push((name.to_owned(), value.to_owned()));
        }
    }
    response
}
