//! The objects of region trees, read from the store; each file's content once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_waves::oid::Oid;

use super::inventory::Place;
use crate::manifest::{self, Format, Node, ObjectId};
use crate::render::RenderedObject;
use crate::tree::{ObjectStore, StoreError};

/// The kind under which a file is compared that holds no readable objects.
const FILE_KIND: &str = "File";

/// What tells one object of a region from another; those without a name of their own are counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) id: ObjectId,
    number: usize,
}

impl Key {
    /// The first key of this name that is not taken.
    pub(super) fn free<T>(id: ObjectId, taken: &BTreeMap<Key, T>) -> Self {
        let mut key = Self { id, number: 0 };
        while taken.contains_key(&key) {
            key.number += 1;
        }
        key
    }

    /// Whether it is a file rather than an object.
    pub(super) fn is_file(&self) -> bool {
        self.id.kind == FILE_KIND && self.id.group.is_empty()
    }
}

/// An object as it stands in a tree.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) api_version: String,
    pub(super) node: Arc<Node>,
    pub(super) path: String,
    pub(super) blob: Oid,
}

/// The name under which a file is compared that holds no readable objects.
fn file_id(path: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: FILE_KIND.to_owned(),
        namespace: None,
        name: path.to_owned(),
    }
}

/// One object of a file.
struct InFile {
    id: ObjectId,
    generated: bool,
    api_version: String,
    node: Arc<Node>,
}

/// The objects of a tree.
pub(super) type Objects = BTreeMap<Key, Seen>;

/// Reads trees, and remembers what files hold.
pub(super) struct Reader<'a> {
    store: &'a ObjectStore,
    known: HashMap<(Oid, bool), Arc<Vec<InFile>>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(store: &'a ObjectStore) -> Self {
        Self {
            store,
            known: HashMap::new(),
        }
    }

    /// All objects of a tree.
    pub(super) fn all(&mut self, tree: Oid) -> Result<Objects, StoreError> {
        let files = self.store.files(tree)?;
        self.objects(&files)
    }

    /// All objects of a tree, file by file in the order of paths, without their content.
    pub(super) fn list(&mut self, tree: Oid) -> Result<Vec<RenderedObject>, StoreError> {
        let mut listed = Vec::new();
        for (path, blob) in self.store.files(tree)? {
            let in_file = self.in_file(&path, blob)?;
            let of = |api_version: &str, id: &ObjectId, generated| RenderedObject {
                api_version: api_version.to_owned(),
                kind: id.kind.clone(),
                namespace: id.namespace.clone(),
                name: id.name.clone(),
                generated,
                path: path.clone(),
                blob,
            };
            listed.extend(
                in_file
                    .iter()
                    .map(|object| of(&object.api_version, &object.id, object.generated)),
            );
            if in_file.is_empty() {
                listed.push(of("", &file_id(&path), false));
            }
        }
        Ok(listed)
    }

    /// The object at a place; nothing for a file that holds no objects.
    pub(super) fn node(&mut self, place: &Place<'_>) -> Result<Option<Arc<Node>>, StoreError> {
        let in_file = self.in_file(place.path, place.blob)?;
        Ok(in_file
            .get(place.index)
            .map(|object| Arc::clone(&object.node)))
    }

    /// The objects of the files in which two trees differ, on either side.
    pub(super) fn differing(
        &mut self,
        before: Option<Oid>,
        after: Option<Oid>,
    ) -> Result<(Objects, Objects), StoreError> {
        let files = |tree: Option<Oid>| match tree {
            Some(tree) => self.store.files(tree),
            None => Ok(BTreeMap::new()),
        };
        let (mut old, mut new) = (files(before)?, files(after)?);
        old.retain(|path, blob| match new.get(path) {
            Some(same) if same == blob => {
                new.remove(path);
                false
            }
            _ => true,
        });
        Ok((self.objects(&old)?, self.objects(&new)?))
    }

    fn objects(&mut self, files: &BTreeMap<String, Oid>) -> Result<Objects, StoreError> {
        let mut objects = Objects::new();
        for (path, blob) in files {
            let in_file = self.in_file(path, *blob)?;
            for object in in_file.iter() {
                objects.insert(
                    Key::free(object.id.clone(), &objects),
                    Seen {
                        api_version: object.api_version.clone(),
                        node: Arc::clone(&object.node),
                        path: path.clone(),
                        blob: *blob,
                    },
                );
            }
            if in_file.is_empty() {
                objects.insert(
                    Key::free(file_id(path), &objects),
                    Seen {
                        api_version: String::new(),
                        node: Arc::new(Node::Null),
                        path: path.clone(),
                        blob: *blob,
                    },
                );
            }
        }
        Ok(objects)
    }

    fn in_file(&mut self, path: &str, blob: Oid) -> Result<Arc<Vec<InFile>>, StoreError> {
        let format = Format::of(path);
        let memo = (blob, format == Format::Json);
        if let Some(known) = self.known.get(&memo) {
            return Ok(Arc::clone(known));
        }
        let bytes = self.store.read_blob(blob)?;
        let objects = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| manifest::read(text, format, false).ok())
            .map(|manifest| manifest.objects)
            .unwrap_or_default();
        let in_file = Arc::new(
            objects
                .into_iter()
                .map(|object| InFile {
                    id: object.id,
                    generated: object.generated,
                    api_version: object.api_version,
                    node: Arc::new(object.node),
                })
                .collect(),
        );
        self.known.insert(memo, Arc::clone(&in_file));
        Ok(in_file)
    }
}
