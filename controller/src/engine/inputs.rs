//! What a render is made of, by id: a commit in which nothing of it differs renders to the same.

use tidegate_renderer::config::LoadedFleet;
use tidegate_renderer::tree::{ObjectStore, StoreError};
use tidegate_waves::oid::Oid;

use crate::git::history::CommitView;

/// An entry's mode and id, if it is there: a file may become a link with the same id.
pub(super) type Part = Option<(u32, Oid)>;

/// A fleet's document, and the folders that are read whatever it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    document: Part,
    regions: Part,
    templates: Part,
    values: Part,
}

impl Parts {
    /// The parts of the fleet in a folder of a commit; empty is the root.
    pub(super) fn of(
        store: &ObjectStore,
        commit: &CommitView,
        folder: &str,
    ) -> Result<Self, StoreError> {
        let part = |name: &str| -> Result<Part, StoreError> {
            let path = format!("{folder}/{name}");
            let entry = store.entry(commit.tree, &path)?;
            Ok(entry.map(|entry| (entry.mode, entry.id)))
        };
        Ok(Self {
            document: part("tidegate.yaml")?,
            regions: part("regions")?,
            templates: part("templates")?,
            values: part("values")?,
        })
    }

    /// Those that policy stands in: commits in which they are equal have the same policy.
    pub(super) fn of_policy(&self) -> [Part; 2] {
        [self.document, self.regions]
    }
}

/// What a commit was rendered from.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) tree: Oid,
    pub(super) parts: Parts,
    /// Whether nothing but the parts was read: a value layer may stand anywhere in a repo.
    pub(super) parts_are_all: bool,
}

impl Inputs {
    /// Whether another commit, with these parts, is rendered from the same.
    pub(super) fn are_those_of(&self, commit: &CommitView, parts: &Parts) -> bool {
        self.tree == commit.tree || (self.parts_are_all && self.parts == *parts)
    }
}

/// Whether all value layers of a fleet are certain to be in its folder `values`: also where what stands in their
/// paths is a region's own words.
pub(super) fn layers_are_at_home(loaded: &LoadedFleet) -> bool {
    let climbs = |text: &str| text.contains("..");
    loaded
        .fleet
        .values
        .iter()
        .all(|layer| layer.path.starts_with("values/") && !climbs(&layer.path))
        && !loaded.regions.values().any(|loaded| {
            let region = &loaded.region;
            climbs(&region.location)
                || climbs(&region.cluster)
                || region.labels.values().any(|label| climbs(label))
        })
}
