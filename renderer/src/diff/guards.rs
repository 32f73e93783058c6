//! What holds a promotion for approval, and what a revert must not delete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_waves::fleet::Guards;
use tidegate_waves::oid::Oid;
use tidegate_waves::plan::Wanted;
use tidegate_waves::rollout::{Finding, HoldReason};

use super::inventory::{Inventory, Place, Places, differing};
use super::objects::{Key, Reader};
use crate::manifest::{Format, Node, emit, emit_json};
use crate::tree::{ObjectStore, StoreError};

/// The file that holds protected objects which a revert keeps.
const KEPT: &str = "tidegate-kept";

/// What the guards find when regions go from their last good trees to the wanted ones: too many
/// objects deleted, protected kinds deleted, regions removed. In the order of regions.
///
/// A region without a last good tree loses nothing. Excluded regions are left out.
pub fn guard_findings(
    store: &ObjectStore,
    inventory: &mut Inventory,
    guards: &Guards,
    last_good: &BTreeMap<String, Oid>,
    wanted: &Wanted,
) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for (region, before) in last_good {
        if wanted.excluded.contains_key(region) {
            continue;
        }
        let Some(after) = wanted.regions.get(region).map(|planned| planned.tree) else {
            findings.push(Finding {
                reason: HoldReason::RegionRemoval,
                region: region.clone(),
                message: format!("region {region} would be removed from the fleet"),
            });
            continue;
        };
        if *before == after {
            continue;
        }
        let (before, after) = (inventory.of(store, *before)?, inventory.of(store, after)?);
        let (old, new) = differing(&before, &after);
        let deleted: Vec<&Key> = old.keys().filter(|key| !new.contains_key(*key)).collect();
        if deleted.is_empty() {
            continue;
        }
        let total = before.len();
        let percent = usize::from(guards.max_deleted_objects_percent);
        if deleted.len() * 100 > percent * total {
            findings.push(Finding {
                reason: HoldReason::DeletionGuard,
                region: region.clone(),
                message: format!(
                    "region {region} would lose {} of {total} objects, more than {percent}%",
                    deleted.len()
                ),
            });
        }
        let protected: Vec<&&Key> = deleted
            .iter()
            .filter(|key| guards.protects(&key.id.group, &key.id.kind))
            .collect();
        if let Some(first) = protected.first() {
            let more = match protected.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            findings.push(Finding {
                reason: HoldReason::ProtectedKind,
                region: region.clone(),
                message: format!(
                    "region {region} would lose {}{more}, of a protected kind",
                    first.id
                ),
            });
        }
    }
    Ok(findings)
}

/// What regions get back instead of their last good trees where the wanted trees add protected
/// objects: last good plus those. A region that is not named gets its last good tree.
pub fn revert_trees(
    store: &ObjectStore,
    inventory: &mut Inventory,
    guards: &Guards,
    last_good: &BTreeMap<String, Oid>,
    wanted: &Wanted,
) -> Result<BTreeMap<String, Oid>, StoreError> {
    let mut reader = Reader::new(store);
    let mut trees = BTreeMap::new();
    for (region, before) in last_good {
        let Some(after) = wanted.regions.get(region).map(|planned| planned.tree) else {
            continue;
        };
        if *before == after {
            continue;
        }
        let (old_objects, new_objects) =
            (inventory.of(store, *before)?, inventory.of(store, after)?);
        let (old, new) = differing(&old_objects, &new_objects);
        let added: Vec<&Place<'_>> = new
            .iter()
            .filter(|(key, _)| {
                !old.contains_key(*key) && guards.protects(&key.id.group, &key.id.kind)
            })
            .map(|(_, place)| place)
            .collect();
        if added.is_empty() {
            continue;
        }
        let tree = with_kept(store, &mut reader, *before, &new, &added)?;
        trees.insert(region.clone(), tree);
    }
    Ok(trees)
}

/// A tree with more objects in it. Each stays in the folder it stood in: an Application may follow
/// that folder alone.
fn with_kept(
    store: &ObjectStore,
    reader: &mut Reader<'_>,
    base: Oid,
    new: &Places<'_>,
    added: &[&Place<'_>],
) -> Result<Oid, StoreError> {
    let mut files = store.files(base)?;
    let mut by_file: BTreeMap<&str, Vec<&Place<'_>>> = BTreeMap::new();
    for place in added {
        by_file.entry(place.path).or_default().push(place);
    }
    let mut to_keep: BTreeMap<String, Vec<Arc<Node>>> = BTreeMap::new();
    for (path, kept) in by_file {
        let in_file = new.values().filter(|place| place.path == path).count();
        if !files.contains_key(path)
            && in_file == kept.len()
            && let Some(first) = kept.first()
        {
            files.insert(path.to_owned(), first.blob);
            continue;
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let nodes = to_keep.entry(folder.to_owned()).or_default();
        for place in kept {
            nodes.extend(reader.node(place)?);
        }
    }
    let taken: BTreeSet<String> = files.keys().cloned().collect();
    for (folder, nodes) in to_keep {
        let name = |number: usize| {
            let suffix = if number == 0 {
                String::new()
            } else {
                format!("-{number}")
            };
            let file = format!("{KEPT}{suffix}.yaml");
            if folder.is_empty() {
                file
            } else {
                format!("{folder}/{file}")
            }
        };
        let mut number = 0;
        while taken.contains(&name(number)) {
            number += 1;
        }
        let path = name(number);
        let nodes: Vec<&Node> = nodes.iter().map(|node| &**node).collect();
        let text = match Format::of(&path) {
            Format::Yaml => emit(&nodes),
            Format::Json => emit_json(&nodes),
        };
        files.insert(path, store.blob(text.as_bytes())?);
    }
    store.folder(&files)
}
