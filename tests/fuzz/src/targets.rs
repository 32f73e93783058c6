//! The targets: one for each parser of bytes that come from outside.

mod checks;
mod clusters;
mod documents;
mod git;
mod http;
mod log;
mod manifests;
mod parts;
mod templates;
mod words;

/// A parser and what always holds for it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder of inputs.
    pub name: &'static str,
    /// Whose bytes it reads.
    pub about: &'static str,
    /// Reads them.
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, about: &'static str, run: fn(&[u8])) -> Target {
    Target { name, about, run }
}

/// All targets, by name.
pub const ALL: [Target; 32] = [
    target(
        "alerts",
        "an event for Slack and webhooks, from the outbox",
        http::alerts,
    ),
    target(
        "applications",
        "Argo CD's Applications, as the gate reads and judges them",
        clusters::applications,
    ),
    target(
        "audit",
        "a log's entries, as the audit reads and judges them",
        log::audit_of,
    ),
    target(
        "commit_messages",
        "commit messages and their trailers",
        git::commit_messages,
    ),
    target(
        "config_repo",
        "a whole config repo: loaded, rendered, compared",
        documents::config_repo,
    ),
    target(
        "durations",
        "durations, amounts and ends of exclusions",
        words::durations,
    ),
    target(
        "endpoint_urls",
        "a gate's URL below an operator's endpoint",
        http::endpoint_urls,
    ),
    target(
        "file_names",
        "names of files in a config repo",
        documents::file_names,
    ),
    target("fleet_document", "tidegate.yaml", documents::fleet_document),
    target(
        "forge_answers",
        "pull requests and statuses of GitHub and Gitea",
        http::forge_answers,
    ),
    target(
        "forge_refusals",
        "a forge's refusals: status, headers, body",
        http::forge_refusals,
    ),
    target(
        "gate_answers",
        "what a region answers to an HTTP gate",
        http::gate_answers,
    ),
    target("git_objects", "tree and commit objects", git::objects),
    target(
        "git_words",
        "what git and ssh say when they fail",
        git::words,
    ),
    target("json_manifests", "manifests in JSON", manifests::json),
    target(
        "kubeconfigs",
        "kubeconfigs and Argo CD's cluster Secrets, from Secrets of a cluster",
        clusters::kubeconfigs,
    ),
    target("layer_paths", "paths of value layers", words::layer_paths),
    target("listings", "the output of git ls-remote", git::listings),
    target(
        "live_objects",
        "a cluster's objects and pods, compared with manifests and judged",
        clusters::live_objects,
    ),
    target("log_state", "the files of a log entry's tree", log::state),
    target(
        "manifests",
        "manifests in YAML, read and written again",
        manifests::yaml,
    ),
    target(
        "plans",
        "two versions of a manifest, compared",
        manifests::plans,
    ),
    target(
        "push_answers",
        "the output of git push --porcelain",
        git::push_answers,
    ),
    target(
        "region_document",
        "a document of regions/",
        documents::region_document,
    ),
    target(
        "remotes",
        "addresses of repos and names of branches",
        git::remotes,
    ),
    target(
        "requests",
        "people's requests, and whose signature they carry",
        log::requests,
    ),
    target("selectors", "label selectors", words::selectors),
    target("settings", "the operator's settings", documents::settings),
    target("sums", "the file with bakes and deadlines", log::sums),
    target(
        "templates",
        "templates, guarded and run",
        templates::templates,
    ),
    target(
        "values",
        "value layers, merged and explained",
        documents::values,
    ),
    target(
        "worker_frames",
        "what a render worker says, and what it is told",
        templates::worker_frames,
    ),
];

/// The target of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
