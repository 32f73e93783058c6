//! Regions that were put together before: nothing of one is looked at again while nothing that it is made of changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_waves::fleet::Gate;
use tidegate_waves::oid::Oid;

use super::RenderedObject;
use super::outcome::Outcome;
use crate::cache::{CacheKey, key_of};
use crate::config::{FleetFile, FleetFiles};

/// What one region came to.
#[derive(Debug)]
pub(crate) struct WholeRegion {
    pub(super) tree: Oid,
    pub(super) objects: Arc<Vec<RenderedObject>>,
    pub(super) gates: Vec<Gate>,
    /// The files about which there was something to say, by path.
    pub(super) noted: Vec<(String, Arc<Outcome>)>,
}

/// The files of a fleet by the region that they are for.
pub(super) struct FilesByRegion<'a> {
    files: &'a [FleetFile],
    shared: Vec<usize>,
    shared_key: CacheKey,
    own: HashMap<&'a str, Vec<usize>>,
}

impl<'a> FilesByRegion<'a> {
    pub(super) fn new(files: &'a FleetFiles) -> Self {
        let mut shared = Vec::new();
        let mut own: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, file) in files.files.iter().enumerate() {
            match file.region.as_deref() {
                None => shared.push(index),
                Some(region) => own.entry(region).or_default().push(index),
            }
        }
        let mut this = Self {
            files: &files.files,
            shared,
            shared_key: CacheKey::default(),
            own,
        };
        this.shared_key = this.key(&this.shared);
        this
    }

    fn key(&self, files: &[usize]) -> CacheKey {
        let parts: Vec<&[u8]> = files
            .iter()
            .filter_map(|index| self.files.get(*index))
            .flat_map(|file| {
                [
                    file.path.as_bytes(),
                    file.name.as_bytes(),
                    file.entry.blob.as_bytes(),
                ]
            })
            .collect();
        key_of(&parts)
    }

    /// The places of the files that a region gets, in their order.
    pub(super) fn of(&self, region: &str) -> Vec<usize> {
        let own = self.own.get(region).map_or(&[][..], Vec::as_slice);
        let mut places: Vec<usize> = self.shared.iter().chain(own).copied().collect();
        places.sort_unstable();
        places
    }

    /// The file at a place.
    pub(super) fn get(&self, place: usize) -> Option<&'a FleetFile> {
        self.files.get(place)
    }

    /// All files by path.
    pub(super) fn by_path(&self) -> BTreeMap<&'a str, &'a FleetFile> {
        self.files
            .iter()
            .map(|file| (file.path.as_str(), file))
            .collect()
    }

    /// What a region's result depends on: its context and partials (`seen`), all of its files, and the gates.
    pub(super) fn key_of_region(&self, region: &str, seen: &CacheKey, gates: &[u8]) -> CacheKey {
        let own = self.own.get(region).map(|own| self.key(own));
        key_of(&[
            b"region",
            seen,
            &self.shared_key,
            own.as_ref().map_or(&[][..], |own| own.as_slice()),
            gates,
        ])
    }
}
