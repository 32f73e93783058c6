//! The files of a fleet by the region that they are for, and the key of all that a region is made of.

use std::collections::HashMap;

use crate::cache::{CacheKey, key_of};
use crate::config::{FleetFile, FleetFiles};

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

    /// The file at a path.
    pub(super) fn at(&self, path: &str) -> Option<&'a FleetFile> {
        let found = self
            .files
            .binary_search_by(|file| file.path.as_str().cmp(path));
        self.get(found.ok()?)
    }

    /// What a region's result depends on: its context and partials (`seen`), all of its files, and the gates.
    pub(super) fn key_of_region(&self, region: &str, seen: &CacheKey, gates: &[u8]) -> CacheKey {
        let own = self.own.get(region).map(|own| self.key(own));
        key_of(&[
            b"region",
            seen,
            &self.shared_key,
            own.as_ref().map_or(&[], CacheKey::as_slice),
            gates,
        ])
    }
}

#[cfg(test)]
mod tests {
    use tidegate_waves::oid::Oid;

    use super::*;
    use crate::config::FileUse;
    use crate::source::{Entry, EntryKind};

    fn files() -> FleetFiles {
        let file = |path: &str, region: Option<&str>| FleetFile {
            entry: Entry {
                path: path.as_bytes().to_vec(),
                kind: EntryKind::File,
                blob: Oid::ZERO,
            },
            path: path.to_owned(),
            region: region.map(str::to_owned),
            usage: FileUse::Plain,
            name: path.to_owned(),
            size: 0,
        };
        FleetFiles {
            files: vec![
                file("regions/one/x.yaml", Some("one")),
                file("regions/two/y.yaml", Some("two")),
                file("templates/a.yaml", None),
                file("templates/b.yaml", None),
            ],
        }
    }

    #[test]
    fn a_region_gets_everybodys_files_and_its_own() {
        let files = files();
        let by_region = FilesByRegion::new(&files);
        assert_eq!(by_region.of("one"), [0, 2, 3]);
        assert_eq!(by_region.of("two"), [1, 2, 3]);
        assert_eq!(by_region.of("three"), [2, 3]);
        assert_eq!(by_region.at("templates/b.yaml"), files.files.last());
        assert_eq!(by_region.at("templates/c.yaml"), None);
    }

    #[test]
    fn each_file_of_a_region_is_in_its_key_and_no_other_regions() {
        let key = |files: &FleetFiles, region: &str| {
            FilesByRegion::new(files).key_of_region(region, &CacheKey::default(), b"")
        };
        let before = files();
        for (place, changed) in [(0, vec!["one"]), (1, vec!["two"]), (2, vec!["one", "two"])] {
            let mut after = files();
            after.files[place].entry.blob = Oid::from_bytes([1; 20]);
            for region in ["one", "two"] {
                let is_other = key(&before, region) != key(&after, region);
                assert_eq!(is_other, changed.contains(&region), "{place} {region}");
            }
        }
    }
}
