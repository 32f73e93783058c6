//! The parsers of outside bytes that nothing outside of this crate calls, for the fuzz targets in `tests/fuzz`.
//!
//! Each function hands its arguments on to the very function that runs in production and adds nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tidegate_waves::fleet::HttpCheck;
use tidegate_waves::gate::Sample;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::Request;

use crate::alerts::event::Event;
use crate::audit::record::State;
use crate::forge::{ForgeError, PullRequest};
use crate::git::child::{Finished, Surroundings};
use crate::git::failure::RemoteError;
use crate::git::history::CommitView;
use crate::git::mirror::{Deadlines, MirrorOptions, RefView};
use crate::git::push::{PushError, RefOutcome, RefUpdate};
use crate::git::remote::{CredentialSource, RemoteUrl};
use crate::secret::{Mask, Secret};
use crate::settings::{Endpoint, Settings, SettingsError};

fn finished(code: Option<i32>, stdout: &[u8], stderr: &str) -> Finished {
    Finished {
        code,
        stdout: stdout.to_vec(),
        stderr: stderr.to_owned(),
        known_hosts: None,
        mask: Mask::default(),
    }
}

/// What a child wrote to standard error, as it may be shown: secrets masked, printable.
#[must_use]
pub fn printable(bytes: &[u8], masks: &[String]) -> String {
    crate::git::child::printable(bytes, &Mask::of(masks.iter().map(String::as_str)))
}

/// The answer to `git push --porcelain`.
pub fn push_answer(
    updates: &[RefUpdate],
    remote: &RemoteUrl,
    code: Option<i32>,
    stdout: &[u8],
    stderr: &str,
) -> Result<BTreeMap<String, RefOutcome>, PushError> {
    crate::git::push::read_answer(updates, remote, &finished(code, stdout, stderr))
}

/// The output of `git ls-remote --symref`, as a mirror of `remote` reads it.
#[must_use]
pub fn listing(remote: &RemoteUrl, branch: Option<&str>, prefix: &str, stdout: &[u8]) -> RefView {
    let options = MirrorOptions {
        folder: PathBuf::new(),
        remote: remote.clone(),
        credentials: CredentialSource::None,
        surroundings: Surroundings::Hermetic,
        branch: branch.map(str::to_owned),
        prefix: prefix.to_owned(),
        deadlines: Deadlines::default(),
    };
    crate::git::mirror::read_listing(&options, &finished(Some(0), stdout, ""))
}

/// What a failed git command's words mean.
#[must_use]
pub fn git_failure(remote: &RemoteUrl, code: Option<i32>, stderr: &str) -> RemoteError {
    RemoteError::from_finished(remote, &finished(code, b"", stderr))
}

/// A commit from the bytes of its object, if libgit2 takes them for one.
#[must_use]
pub fn commit(bytes: &[u8]) -> Option<CommitView> {
    let store = git2::Odb::new().ok()?;
    store.add_new_mempack_backend(1).ok()?;
    let repository = git2::Repository::from_odb(store).ok()?;
    let id = repository
        .odb()
        .and_then(|store| store.write(git2::ObjectType::Commit, bytes))
        .ok()?;
    let commit = repository.find_commit(id).ok()?;
    Some(CommitView::of(&commit))
}

/// A request of a person.
#[must_use]
pub fn request(commit: &CommitView) -> Request {
    crate::requests::read(commit)
}

/// The principal by whom a commit is signed, if git's letter and words say that it is.
#[must_use]
pub fn signature(verdict: &str, principal: &str, said: &str) -> Option<String> {
    match crate::signatures::read(verdict, principal.to_owned(), said) {
        crate::signatures::Signature::Good(principal) => Some(principal),
        _ => None,
    }
}

/// The file with bakes and deadlines, read and written again.
pub fn sums(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    crate::store::rewritten(bytes)
}

/// What is said of a text as a kubeconfig that stands in a Secret, and as a list of Argo CD's cluster Secrets, where it is
/// not usable.
#[must_use]
pub fn kubeconfigs(text: &str) -> Vec<String> {
    crate::regions::complaints(text)
}

/// What a region's answer says.
#[must_use]
pub fn gate_answer(check: &HttpCheck, older: &[HttpCheck], status: u16, body: &[u8]) -> Sample {
    crate::gates::http::read_answer(check, older, status, body, &Mask::default())
}

/// The URL that a gate's relative one leads to at an endpoint.
pub fn endpoint_url(base: &Url, relative: &str) -> Result<Url, Sample> {
    let settings = Endpoint {
        name: "endpoint".to_owned(),
        url: base.clone(),
        ca_file: None,
        token_file: None,
        client_cert_file: None,
        client_key_file: None,
    };
    crate::gates::http::endpoint::ReadyEndpoint::new(settings).url(relative)
}

/// The address that a URL names, if its host is one.
#[must_use]
pub fn literal_address(url: &Url) -> Option<std::net::IpAddr> {
    url.host_str()
        .and_then(crate::gates::egress::literal_address)
}

/// What a forge's answer means that is no success.
#[must_use]
pub fn forge_refusal(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    token: Option<&Secret>,
) -> ForgeError {
    let what = "GET https://forge.example.com/api";
    crate::forge::client::refusal::refused(what, status, headers, body, token)
}

/// The pull requests in a forge's answer, read as GitHub's and as Gitea's.
#[must_use]
pub fn forge_answers(body: &[u8]) -> Vec<PullRequest> {
    let mut found = crate::forge::github::read_as_each(body);
    found.extend(crate::forge::gitea::read_as_each(body));
    found
}

/// What is sent to Slack about an event.
#[must_use]
pub fn slack_message(event: &Event) -> Value {
    crate::alerts::slack::message(event)
}

/// What is sent to a webhook about an event.
#[must_use]
pub fn webhook_body(event: &Event) -> String {
    crate::alerts::webhook::body(event)
}

/// How long a receiver of alerts wants to be left alone.
#[must_use]
pub fn receiver_pause(headers: &HeaderMap) -> Option<Duration> {
    crate::alerts::sink::retry_after(headers)
}

/// The operator's settings.
pub fn settings(text: &str) -> Result<Settings, SettingsError> {
    Settings::parse(text, Path::new("settings.yaml"))
}

/// What the audit makes of a `state.json`.
pub fn audited_state(
    bytes: &[u8],
    planned: &BTreeMap<String, Oid>,
    last_good: &BTreeMap<String, Oid>,
) -> Result<State, String> {
    crate::audit::reader::state_of(bytes, planned, last_good)
}
