//! Which objects trees hold. A tree that was rendered here is known without being read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidegate_waves::oid::Oid;
use tidegate_waves::plan::Wanted;

use super::objects::{Key, Reader};
use crate::render::RenderedObject;
use crate::tree::{ObjectStore, StoreError};

/// The objects of a tree, file by file in the order of paths.
type Listed = Arc<Vec<RenderedObject>>;

/// The objects of trees, by the trees' ids. Only what was asked for or rendered since the last render but one is
/// kept; anything else is read from the store again.
#[derive(Debug, Default)]
pub struct Inventory {
    now: HashMap<Oid, Listed>,
    before: HashMap<Oid, Listed>,
}

/// Where an object stands in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) path: &'a str,
    pub(super) blob: Oid,
    /// How many objects stand before it in its file.
    pub(super) index: usize,
}

/// The objects that stand in files in which two trees differ.
pub(super) type Places<'a> = BTreeMap<Key, Place<'a>>;

impl Inventory {
    /// Takes in what a render made of each region.
    pub fn rendered(&mut self, wanted: &Wanted, objects: &BTreeMap<String, Listed>) {
        self.begin();
        for (name, objects) in objects {
            if let Some(region) = wanted.regions.get(name) {
                self.now.insert(region.tree, Arc::clone(objects));
            }
        }
    }

    /// What is not asked for until the next beginning is forgotten then.
    fn begin(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// All objects of a tree. A file without any counts as an object.
    pub(super) fn of(&mut self, store: &ObjectStore, tree: Oid) -> Result<Listed, StoreError> {
        if let Some(known) = self.now.get(&tree) {
            return Ok(Arc::clone(known));
        }
        let listed = match self.before.remove(&tree) {
            Some(known) => known,
            None => Arc::new(Reader::new(store).list(tree)?),
        };
        self.now.insert(tree, Arc::clone(&listed));
        Ok(listed)
    }
}

/// The objects of the files that only one of two trees has, or that are other files there, on either side.
pub(super) fn differing<'a>(
    before: &'a [RenderedObject],
    after: &'a [RenderedObject],
) -> (Places<'a>, Places<'a>) {
    (places(before, after), places(after, before))
}

fn places<'a>(objects: &'a [RenderedObject], others: &[RenderedObject]) -> Places<'a> {
    let same: HashSet<(&str, Oid)> = others
        .iter()
        .map(|object| (object.path.as_str(), object.blob))
        .collect();
    let mut places = Places::new();
    let mut path = "";
    let mut index = 0;
    for object in objects {
        index = if object.path == path { index + 1 } else { 0 };
        path = &object.path;
        if same.contains(&(path, object.blob)) {
            continue;
        }
        let place = Place {
            path,
            blob: object.blob,
            index,
        };
        places.insert(Key::free(object.id(), &places), place);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::ObjectStore;

    const ONE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n";
    const TWO: &str = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: two-\n---\n\
                       apiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: two-\n";

    fn tree(store: &ObjectStore, files: &[(&str, &str)]) -> Oid {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), store.blob(text.as_bytes()).unwrap()))
            .collect();
        store.folder(&files).unwrap()
    }

    #[test]
    fn only_files_that_differ_count_and_equal_names_are_told_apart() {
        let store = ObjectStore::in_memory();
        let before = tree(&store, &[("a.yaml", ONE), ("b.yaml", TWO)]);
        let after = tree(&store, &[("a.yaml", ONE), ("c.txt", "no manifest")]);
        let mut inventory = Inventory::default();
        let (before, after) = (
            inventory.of(&store, before).unwrap(),
            inventory.of(&store, after).unwrap(),
        );
        assert_eq!((before.len(), after.len()), (3, 2));
        let (old, new) = differing(&before, &after);
        let shown = |places: &Places<'_>| -> Vec<String> {
            places
                .iter()
                .map(|(key, place)| format!("{} {} {}", key.id, place.path, place.index))
                .collect()
        };
        assert_eq!(shown(&old).len(), 2);
        assert!(shown(&old)[0].ends_with("b.yaml 0"), "{:?}", shown(&old));
        assert!(shown(&old)[1].ends_with("b.yaml 1"), "{:?}", shown(&old));
        assert_eq!(shown(&new).len(), 1);
        assert!(new.keys().all(Key::is_file));
    }

    #[test]
    fn what_is_not_asked_for_any_more_is_forgotten() {
        let store = ObjectStore::in_memory();
        let (used, unused) = (
            tree(&store, &[("a.yaml", ONE)]),
            tree(&store, &[("b.yaml", TWO)]),
        );
        let mut inventory = Inventory::default();
        inventory.of(&store, used).unwrap();
        inventory.of(&store, unused).unwrap();
        for _ in 0..2 {
            inventory.begin();
            inventory.of(&store, used).unwrap();
        }
        assert!(inventory.now.contains_key(&used));
        assert!(!inventory.now.contains_key(&unused) && !inventory.before.contains_key(&unused));
    }
}
