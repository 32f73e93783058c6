//! What a plan compares with.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::oid::Oid;
use tidegate_waves::plan::Wanted as FleetWanted;

use crate::cli::config_repo::{ConfigRepo, of_git};
use crate::cli::error::CommandError;
use crate::cli::fetch::{TemporaryRepo, without_user};
use crate::cli::rendered::{self, RenderedFleet};
use crate::cli::terminal::Terminal;

/// The name of a base that is none.
const NOTHING: &str = "nothing";

/// What a plan compares with.
pub(super) struct Base {
    /// What it is, for people: `HEAD`, `the wave branches`, `nothing`.
    pub(super) name: String,
    /// Its commit's id, if it is one commit.
    pub(super) commit: Option<String>,
    /// The regions' trees, all in the plan's store.
    pub(super) trees: BTreeMap<String, Oid>,
    /// What was wanted of them, where that is known: its policy is compared too.
    pub(super) wanted: Option<FleetWanted>,
}

impl Base {
    /// Whether there is nothing to compare with.
    pub(super) fn is_nothing(&self) -> bool {
        self.name == NOTHING
    }

    /// The commit's id, or what it is.
    pub(super) fn commit_or_name(&self) -> &str {
        self.commit.as_deref().unwrap_or(&self.name)
    }

    fn nothing() -> Self {
        Self {
            name: NOTHING.to_owned(),
            commit: None,
            trees: BTreeMap::new(),
            wanted: None,
        }
    }
}

/// What the user asked to compare with.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted<'args> {
    /// `REV:PATH/{{name}}`: manifests that stand in a commit already.
    pub(super) against: Option<&'args str>,
    /// A revision that is rendered here.
    pub(super) base: Option<&'args str>,
    /// The repo whose wave branches count, if not the one that the config repo comes from.
    pub(super) remote: Option<&'args str>,
    /// What wave branches' names begin with.
    pub(super) prefix: &'args str,
}

/// Finds what to compare with, in the documented order.
pub(super) fn find(
    repo: &ConfigRepo,
    head: &RenderedFleet,
    wanted: &Wanted<'_>,
    store: &ObjectStore,
    terminal: &Terminal,
) -> Result<Base, CommandError> {
    if let Some(against) = wanted.against {
        return stored(repo, head, against, store);
    }
    if let Some(revision) = wanted.base {
        return committed(&repo.at(revision)?, store, terminal);
    }
    if let Some(base) = wave_branches(repo, wanted, store, terminal)? {
        return Ok(base);
    }
    match repo.predecessor()? {
        Some(predecessor) => committed(&predecessor, store, terminal),
        None => Ok(Base::nothing()),
    }
}

fn committed(
    repo: &ConfigRepo,
    store: &ObjectStore,
    terminal: &Terminal,
) -> Result<Base, CommandError> {
    terminal.detail(&format!("Rendering {} to compare with.", repo.name()));
    // A commit from before the fleet, or one that is itself invalid, is no base; the user must choose another.
    let fleet = match rendered::try_render(repo, store)? {
        Ok(fleet) => fleet,
        Err(problems) => {
            let first = problems
                .iter()
                .find(|problem| problem.severity == tidegate_renderer::problem::Severity::Error);
            let first = first.map(ToString::to_string).unwrap_or_default();
            return Err(CommandError::failed(format!(
                "{}, with which this would be compared, is invalid: {first}",
                repo.name()
            ))
            .hint("compare with another revision: --base REV"));
        }
    };
    let planned = &fleet.rendered.wanted.regions;
    Ok(Base {
        name: repo.name().to_owned(),
        commit: repo.commit().map(|commit| commit.to_string()),
        trees: planned
            .iter()
            .map(|(name, region)| (name.clone(), region.tree))
            .collect(),
        wanted: Some(fleet.rendered.wanted),
    })
}

/// Manifests that stand in a commit: `REV:PATH`, in which `{{name}}` (or `{{cluster}}`, `{{location}}`) is the region's.
fn stored(
    repo: &ConfigRepo,
    head: &RenderedFleet,
    against: &str,
    store: &ObjectStore,
) -> Result<Base, CommandError> {
    let split = against
        .split_once(':')
        .filter(|(revision, _)| !revision.is_empty());
    let Some((revision, pattern)) = split else {
        return Err(CommandError::usage(format!(
            "--against {against}: a revision and a path are needed"
        ))
        .hint("such as --against 'main:clusters/{{name}}'"));
    };
    if !pattern.contains("{{") {
        return Err(CommandError::usage(format!(
            "--against {against}: the path is the same for every region"
        ))
        .hint("put {{name}} where the region's name stands"));
    }
    let at = repo.at(revision)?;
    let Some(commit) = at.commit() else {
        return Ok(Base::nothing());
    };
    let repository = git2::Repository::open(at.repository_path()).map_err(of_git)?;
    let root = repository
        .find_commit(tidegate_renderer::tree::to_git(commit))
        .and_then(|commit| commit.tree())
        .map_err(of_git)?;
    let mut trees = BTreeMap::new();
    for (name, loaded) in &head.loaded.regions {
        let region = &loaded.region;
        let path = pattern
            .replace("{{name}}", name)
            .replace("{{cluster}}", &region.cluster)
            .replace("{{location}}", &region.location);
        if path.contains("{{") {
            return Err(
                CommandError::usage(format!("--against {against}: {path} is no path"))
                    .hint("a path may contain {{name}}, {{cluster}} and {{location}}"),
            );
        }
        if let Some(tree) = folder_of(&repository, &root, &path)? {
            trees.insert(name.clone(), copy(&repository, &tree, store)?);
        }
    }
    if trees.is_empty() {
        return Err(CommandError::failed(format!(
            "--against {against}: no region has such a folder"
        )));
    }
    Ok(Base {
        name: against.to_owned(),
        commit: Some(commit.to_string()),
        trees,
        wanted: None,
    })
}

/// One entry of `regions.json`.
#[derive(Debug, Deserialize)]
struct PlacedRegion {
    name: String,
    branch: String,
    folder: String,
}

/// What the wave branches hold; nothing if there is no log.
fn wave_branches(
    repo: &ConfigRepo,
    wanted: &Wanted<'_>,
    store: &ObjectStore,
    terminal: &Terminal,
) -> Result<Option<Base>, CommandError> {
    let remote = wanted.remote.map(str::to_owned).or_else(|| repo.remote());
    let Some(remote) = remote else {
        return Ok(None);
    };
    let prefix = wanted.prefix;
    let shown = without_user(&remote);
    terminal.detail(&format!("Looking for the branches {prefix}/* of {shown}."));
    let fetched = TemporaryRepo::branches_of(&remote, prefix, repo.working_folder())
        .map_err(|error| error.hint("to compare without the wave branches: --base HEAD"))?;
    let Some(fetched) = fetched else {
        return Ok(None);
    };
    let repository = fetched.repository();
    let Some(log) = branch(repository, &format!("{prefix}/log"))? else {
        return Ok(None);
    };
    let damaged = |what: &str| CommandError::failed(format!("{prefix}/log of {shown}: {what}"));
    let regions = log
        .get_path(std::path::Path::new("regions.json"))
        .and_then(|entry| repository.find_blob(entry.id()))
        .map_err(|_| damaged("it has no regions.json"))?;
    let regions: Vec<PlacedRegion> = serde_json::from_slice(regions.content())
        .map_err(|error| damaged(&format!("its regions.json cannot be read: {error}")))?;
    let mut trees = BTreeMap::new();
    for region in regions {
        let Some(tip) = branch(repository, &region.branch)? else {
            continue;
        };
        if let Some(tree) = folder_of(repository, &tip, &region.folder)? {
            trees.insert(region.name, copy(repository, &tree, store)?);
        }
    }
    Ok(Some(Base {
        name: format!("the wave branches {prefix}/*"),
        commit: None,
        trees,
        wanted: settled(repository, &log),
    }))
}

/// What the settled source wanted, as the log has it; none before anything has settled, or in a log that this
/// version cannot read.
fn settled(repository: &git2::Repository, log: &git2::Tree<'_>) -> Option<FleetWanted> {
    let entry = log.get_path(std::path::Path::new("settled.json")).ok()?;
    let blob = repository.find_blob(entry.id()).ok()?;
    serde_json::from_slice(blob.content()).ok()
}

fn branch<'repo>(
    repository: &'repo git2::Repository,
    name: &str,
) -> Result<Option<git2::Tree<'repo>>, CommandError> {
    match repository.find_reference(&format!("refs/heads/{name}")) {
        Ok(reference) => reference.peel_to_tree().map(Some).map_err(of_git),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
        Err(error) => Err(of_git(error)),
    }
}

fn folder_of<'repo>(
    repository: &'repo git2::Repository,
    tree: &git2::Tree<'_>,
    path: &str,
) -> Result<Option<git2::Tree<'repo>>, CommandError> {
    match tree.get_path(std::path::Path::new(path.trim_matches('/'))) {
        Ok(entry) => Ok(repository.find_tree(entry.id()).ok()),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
        Err(error) => Err(of_git(error)),
    }
}

/// Brings a folder's files into the plan's store.
fn copy(
    repository: &git2::Repository,
    tree: &git2::Tree<'_>,
    store: &ObjectStore,
) -> Result<Oid, CommandError> {
    let mut files = BTreeMap::new();
    let mut failed = None;
    let walked = tree.walk(git2::TreeWalkMode::PreOrder, |folder, entry| {
        if entry.kind() != Some(git2::ObjectType::Blob) {
            return git2::TreeWalkResult::Ok;
        }
        let copied = repository
            .find_blob(entry.id())
            .map_err(of_git)
            .and_then(|blob| store.blob(blob.content()).map_err(CommandError::failed));
        match copied {
            Ok(id) => {
                let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
                files.insert(format!("{folder}{name}"), id);
                git2::TreeWalkResult::Ok
            }
            Err(error) => {
                failed = Some(error);
                git2::TreeWalkResult::Abort
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    walked.map_err(of_git)?;
    store.folder(&files).map_err(CommandError::failed)
}
