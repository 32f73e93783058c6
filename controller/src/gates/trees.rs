//! What git says for gates that read a cluster: the objects of a region's tree, and how a commit that a cluster shows
//! stands to that tree.

use std::path::PathBuf;

use git2::{ObjectType, Repository};
use serde_json::Value;
use tidegate_renderer::manifest::{self, Format, ObjectId};
use tidegate_renderer::tree::{ObjectStore, StoreError, from_git, to_git};
use tidegate_waves::oid::Oid;

use super::argocd::{Revisions, Standing};
use crate::git::trailers;

/// Where a mirror keeps the branches of the remote, and where a repo that was fetched for one command does.
const TRACKING: [&str; 2] = ["refs/remotes/origin/", "refs/heads/"];
/// The most commits of a branch that are looked through for the one that brought a tree.
const MOST_COMMITS: usize = 2_000;

/// Why the objects of a tree cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Git cannot read it.
    #[error(transparent)]
    Git(#[from] StoreError),
    /// A file of it is no manifest, which a render never gives.
    #[error("the file {path} of the tree {tree} cannot be read as a manifest")]
    NoManifest {
        /// The tree.
        tree: Oid,
        /// The file.
        path: String,
    },
}

/// One object that was rendered for a region.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderedObject {
    /// Its file below the region's folder.
    pub path: String,
    /// What tells it from others.
    pub id: ObjectId,
    /// Whether the server makes up its name.
    pub is_generated: bool,
    /// Whether Argo CD or Helm runs it once instead of keeping it.
    pub is_hook: bool,
    /// Whether its file is encrypted, so that values cannot be compared.
    pub is_encrypted: bool,
    /// All of it.
    pub manifest: Value,
}

/// Reads the mirror of one fleet.
#[derive(Debug, Clone)]
pub struct RegionTrees {
    git_dir: PathBuf,
}

impl RegionTrees {
    /// A reader of the bare repository in this folder.
    #[must_use]
    pub fn new(git_dir: PathBuf) -> Self {
        Self { git_dir }
    }

    /// All objects of a region's tree, in the order of their files.
    pub fn objects(&self, tree: Oid) -> Result<Vec<RenderedObject>, TreeError> {
        // Opened anew: the mirror may have been thrown away and fetched again since.
        let store = ObjectStore::open(&self.git_dir)?;
        let mut objects = Vec::new();
        for (path, blob) in store.files(tree)? {
            let no_manifest = || TreeError::NoManifest {
                tree,
                path: path.clone(),
            };
            let text = String::from_utf8(store.read_blob(blob)?).map_err(|_| no_manifest())?;
            let read =
                manifest::read(&text, Format::of(&path), false).map_err(|_| no_manifest())?;
            for object in read.objects {
                let manifest = object.node.to_json();
                objects.push(RenderedObject {
                    path: path.clone(),
                    is_generated: object.generated,
                    is_hook: is_hook(&manifest),
                    is_encrypted: manifest.get("sops").is_some(),
                    id: object.id,
                    manifest,
                });
            }
        }
        Ok(objects)
    }

    /// What commits mean for a region whose folder on a branch (a full ref) should hold `tree`.
    pub fn revisions(
        &self,
        branch: &str,
        region: &str,
        tree: Oid,
        older: &[Oid],
    ) -> Result<BranchRevisions, git2::Error> {
        let repository = Repository::open_bare(&self.git_dir)?;
        let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        let tip = TRACKING
            .iter()
            .find_map(|folder| repository.refname_to_id(&format!("{folder}{short}")).ok());
        let mut revisions = BranchRevisions {
            repository,
            region: region.to_owned(),
            tree,
            older: older.to_vec(),
            tip,
            promoted: None,
        };
        revisions.promoted = revisions.find_promoted();
        Ok(revisions)
    }
}

/// Whether an object is a hook, by the annotations of Argo CD and Helm.
fn is_hook(manifest: &Value) -> bool {
    let annotations = manifest.pointer("/metadata/annotations");
    ["argocd.argoproj.io/hook", "helm.sh/hook"]
        .iter()
        .any(|name| annotations.and_then(|all| all.get(name)).is_some())
}

/// How commits stand to the tree that a region should run.
pub struct BranchRevisions {
    repository: Repository,
    region: String,
    tree: Oid,
    older: Vec<Oid>,
    tip: Option<git2::Oid>,
    /// The newest commit of the branch in which the region has that tree.
    promoted: Option<git2::Oid>,
}

impl BranchRevisions {
    /// Whether the branch, as it was last fetched, still has the tree in the region's folder.
    #[must_use]
    pub fn tip_is_ours(&self) -> bool {
        self.tip
            .is_some_and(|tip| self.tree_of(tip) == Some(self.tree))
    }

    fn find_promoted(&self) -> Option<git2::Oid> {
        let mut next = self.tip;
        for _ in 0..MOST_COMMITS {
            let id = next?;
            if self.tree_of(id) == Some(self.tree) {
                return Some(id);
            }
            next = self.repository.find_commit(id).ok()?.parent_id(0).ok();
        }
        None
    }

    /// The tree of the region's folder in a commit.
    fn tree_of(&self, commit: git2::Oid) -> Option<Oid> {
        let tree = self.repository.find_commit(commit).ok()?.tree().ok()?;
        let entry = tree.get_name(&self.region)?;
        (entry.kind() == Some(ObjectType::Tree)).then(|| from_git(entry.id()))
    }

    fn descends(&self, commit: git2::Oid, ancestor: git2::Oid) -> bool {
        self.repository
            .graph_descendant_of(commit, ancestor)
            .unwrap_or(false)
    }
}

impl Revisions for BranchRevisions {
    fn standing(&self, revision: &str) -> Standing {
        let Ok(revision) = revision.parse::<Oid>() else {
            return Standing::NotACommit;
        };
        let id = to_git(revision);
        let Ok(commit) = self.repository.find_commit(id) else {
            return Standing::UnknownCommit;
        };
        let tree = self.tree_of(id);
        if tree == Some(self.tree) {
            return Standing::Wanted;
        }
        let Some(promoted) = self.promoted else {
            // What we pushed a moment ago may not be fetched back yet.
            return match tree {
                Some(tree) if self.older.contains(&tree) => Standing::Older,
                _ => Standing::UnknownCommit,
            };
        };
        if self.descends(promoted, id) {
            Standing::Older
        } else if self.descends(id, promoted) {
            let is_on_branch = self
                .tip
                .is_some_and(|tip| tip == id || self.descends(tip, id));
            let message = commit.message().unwrap_or_default();
            let names_us = trailers::parse(message).only("Tidegate-Kind").is_some();
            Standing::Newer {
                ours: is_on_branch && names_us,
            }
        } else {
            Standing::Foreign
        }
    }
}

#[cfg(test)]
mod tests;
