//! What git says for gates that read a cluster: the objects of a region's tree, and how a commit that a cluster shows
//! stands to that tree.

use std::path::PathBuf;

use serde_json::Value;
use tidegate_renderer::manifest::{self, Format, ObjectId};
use tidegate_renderer::tree::{ObjectStore, StoreError};
use tidegate_waves::oid::Oid;

use super::argocd::{Revisions, Standing};
use crate::git::history::{History, HistoryError};
use crate::git::mirror::Listings;

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

/// Where one object that was rendered for a region stands, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPlace {
    /// Its file below the region's folder.
    pub path: String,
    /// What tells it from others.
    pub id: ObjectId,
    /// Whether the server makes up its name.
    pub is_generated: bool,
    /// Whether Argo CD or Helm runs it once instead of keeping it.
    pub is_hook: bool,
    /// Whether Argo CD is told to leave it out.
    pub is_skipped: bool,
}

/// One object that was rendered for a region.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderedObject {
    /// Where it stands.
    pub place: ObjectPlace,
    /// All of it.
    pub manifest: Value,
}

/// Reads the mirror of one fleet.
#[derive(Debug, Clone)]
pub struct RegionTrees {
    git_dir: PathBuf,
    listings: Listings,
}

impl RegionTrees {
    /// A reader of the bare repository in this folder, of which nobody says when its branches were listed.
    #[must_use]
    pub fn new(git_dir: PathBuf) -> Self {
        Self {
            git_dir,
            listings: Listings::default(),
        }
    }

    /// The same, whose branches are those of these listings.
    #[must_use]
    pub fn with_listings(self, listings: Listings) -> Self {
        Self { listings, ..self }
    }

    /// The listings that its branches come from.
    #[must_use]
    pub fn listings(&self) -> &Listings {
        &self.listings
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
                let place = ObjectPlace {
                    path: path.clone(),
                    is_generated: object.generated,
                    is_hook: is_hook(&manifest),
                    is_skipped: is_skipped(&manifest),
                    id: object.id,
                };
                objects.push(RenderedObject { place, manifest });
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
    ) -> Result<BranchRevisions, HistoryError> {
        let history = History::open(&self.git_dir)?;
        let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        let mut tip = None;
        for folder in TRACKING {
            tip = tip.or(history.resolve(&format!("{folder}{short}"))?);
        }
        let mut revisions = BranchRevisions {
            history,
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

/// Argo CD's annotation for hooks.
const HOOK: &str = "argocd.argoproj.io/hook";

/// Whether an object is a hook, by the annotations of Argo CD and Helm.
fn is_hook(manifest: &Value) -> bool {
    let annotations = manifest.pointer("/metadata/annotations");
    let has = |name: &str| annotations.and_then(|all| all.get(name)).is_some();
    (has(HOOK) || has("helm.sh/hook")) && !is_skipped(manifest)
}

/// Whether an object is one that Argo CD neither applies nor compares.
fn is_skipped(manifest: &Value) -> bool {
    let annotations = manifest.pointer("/metadata/annotations");
    let hook = annotations.and_then(|all| all.get(HOOK)?.as_str());
    hook.is_some_and(|hook| hook.trim() == "Skip")
}

/// How commits stand to the tree that a region should run.
pub struct BranchRevisions {
    history: History,
    region: String,
    tree: Oid,
    older: Vec<Oid>,
    tip: Option<Oid>,
    /// The newest commit of the branch in which the region has that tree.
    promoted: Option<Oid>,
}

impl BranchRevisions {
    /// Whether the branch, as it was last fetched, still has the tree in the region's folder.
    #[must_use]
    pub fn tip_is_ours(&self) -> bool {
        self.tip.is_some() && self.tip == self.promoted
    }

    fn find_promoted(&self) -> Option<Oid> {
        let mut next = self.tip;
        for _ in 0..MOST_COMMITS {
            let id = next?;
            if self.tree_in(id) == Some(self.tree) {
                return Some(id);
            }
            next = self.history.commit(id).ok()?.first_parent();
        }
        None
    }

    /// The tree of the region's folder in a commit, as far as git can tell.
    fn tree_in(&self, commit: Oid) -> Option<Oid> {
        self.history.folder(commit, &self.region).ok().flatten()
    }

    fn is_below(&self, ancestor: Oid, descendant: Oid) -> bool {
        self.history
            .is_ancestor(ancestor, descendant)
            .unwrap_or(false)
    }
}

impl Revisions for BranchRevisions {
    fn standing(&self, revision: &str) -> Standing {
        let Ok(revision) = revision.parse::<Oid>() else {
            return Standing::NotACommit;
        };
        let Ok(commit) = self.history.commit(revision) else {
            return Standing::UnknownCommit;
        };
        let tree = self.tree_in(revision);
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
        if self.is_below(revision, promoted) {
            Standing::Older
        } else if self.is_below(promoted, revision) {
            let is_on_branch = self.tip.is_some_and(|tip| self.is_below(revision, tip));
            let names_us = commit.trailers().only("Tidegate-Kind").is_some();
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
