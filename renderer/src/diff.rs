//! The plan: what a commit would change, object by object, with identical changes told once.

mod fields;
mod guards;
mod inventory;
mod objects;
mod restarts;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use tidegate_waves::oid::Oid;
use tidegate_waves::plan::Wanted;
use tidegate_waves::rollout::HoldReason;

use crate::problem::Problem;
use crate::tree::{ObjectStore, StoreError};
use objects::{Key, Reader, Seen};

pub use guards::{guard_findings, revert_trees};
pub use inventory::Inventory;

/// What takes the place of a Secret's values.
pub const MASKED: &str = "(hidden)";

/// What happens to a region or an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// It becomes another.
    Changed,
    /// It goes.
    Removed,
    /// It stays as it is.
    None,
}

/// What happens to one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionChange {
    /// The region.
    pub name: String,
    /// The wave that it is in.
    pub wave: Option<String>,
    /// What happens to it.
    pub change: Change,
    /// The tree that it would have.
    pub tree: Option<Oid>,
}

/// One field of an object that changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Where it is: `spec.template.spec.containers[name=app].image`.
    pub path: String,
    /// What is there now; nothing if the field is new.
    pub old: Option<Value>,
    /// What would be there; nothing if the field goes.
    pub new: Option<Value>,
}

/// What happens to one object.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// Its `apiVersion`: the new one, unless it goes.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, if one is written.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub change: Change,
    /// The fields that change; none for an object that comes or goes. Values of Secrets are masked.
    pub fields: Vec<FieldChange>,
}

/// The same changes, in all regions that get them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The regions, by name.
    pub regions: Vec<String>,
    /// What changes there.
    pub objects: Vec<ObjectChange>,
}

/// Something that will hold the rollout until a person approves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// One sentence.
    pub message: String,
}

/// What a commit would change.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What it is compared with; nothing if there is nothing to compare with.
    pub base: Option<String>,
    /// What is compared.
    pub head: String,
    /// Every region of either side, by name.
    pub regions: Vec<RegionChange>,
    /// Identical changes, those in the most regions first.
    pub groups: Vec<Group>,
    /// What will hold.
    pub holds: Vec<Hold>,
    /// The regions that receive a change which no region of an earlier wave receives.
    pub unseen_by_earlier_wave: Vec<String>,
    /// The parts of the policy that change, where the base's is known.
    #[serde(skip)]
    pub policy: Vec<&'static str>,
    /// What the author should know about the change.
    #[serde(skip)]
    pub warnings: Vec<Problem>,
}

impl Plan {
    /// Whether anything would change.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.regions
            .iter()
            .any(|region| region.change != Change::None)
    }
}

/// What a commit is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// Its name for people: a commit, a branch.
    pub name: &'a str,
    /// The tree of each region.
    pub trees: &'a BTreeMap<String, Oid>,
    /// What it wants, where that is known: its policy is compared too.
    pub wanted: Option<&'a Wanted>,
}

/// Compares what a commit wants with what there is.
pub fn plan(
    store: &ObjectStore,
    base: Option<Base<'_>>,
    head_name: &str,
    head: &Wanted,
) -> Result<Plan, StoreError> {
    let nothing = BTreeMap::new();
    let old = base.map_or(&nothing, |base| base.trees);
    let names: BTreeSet<&String> = old
        .keys()
        .filter(|name| !head.excluded.contains_key(*name))
        .chain(head.regions.keys())
        .collect();
    let mut reader = Reader::new(store);
    let mut regions = Vec::new();
    let mut groups: Vec<(Vec<Raw>, Vec<String>)> = Vec::new();
    let mut group_of: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let mut fingerprints: BTreeMap<String, [u8; 32]> = BTreeMap::new();
    let mut warnings = restarts::Warnings::default();
    for name in names {
        let before = old.get(name).copied();
        let after = head.regions.get(name).map(|region| region.tree);
        let change = match (before, after) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            (Some(before), Some(after)) if before == after => Change::None,
            _ => Change::Changed,
        };
        regions.push(RegionChange {
            name: name.clone(),
            wave: head
                .wave_of(name)
                .or_else(|| base.and_then(|base| base.wanted?.wave_of(name)))
                .map(str::to_owned),
            change,
            tree: after,
        });
        if change == Change::None {
            continue;
        }
        let changes = object_changes(&mut reader, before, after)?;
        if change == Change::Changed
            && let Some(after) = after
        {
            restarts::check(&mut reader, name, after, &changes, &mut warnings)?;
        }
        let fingerprint = fingerprint(change, &changes);
        fingerprints.insert(name.clone(), fingerprint);
        if let Some((_, members)) = group_of
            .get(&fingerprint)
            .and_then(|place| groups.get_mut(*place))
        {
            members.push(name.clone());
        } else {
            group_of.insert(fingerprint, groups.len());
            groups.push((changes, vec![name.clone()]));
        }
    }
    let changed: BTreeSet<&str> = regions
        .iter()
        .filter(|region| region.change == Change::Changed)
        .map(|region| region.name.as_str())
        .collect();
    let unseen = unseen(head, &changed, &fingerprints);
    let mut groups: Vec<Group> = groups
        .into_iter()
        .map(|(changes, regions)| Group {
            regions,
            objects: changes.into_iter().map(Raw::shown).collect(),
        })
        .collect();
    groups.sort_by(|left, right| {
        (right.regions.len(), &left.regions).cmp(&(left.regions.len(), &right.regions))
    });
    let holds = match base {
        Some(base) => holds(store, base, head)?,
        None => Vec::new(),
    };
    Ok(Plan {
        base: base.map(|base| base.name.to_owned()),
        head: head_name.to_owned(),
        regions,
        groups,
        holds,
        unseen_by_earlier_wave: unseen,
        policy: base
            .and_then(|base| base.wanted)
            .map(|wanted| head.policy_changes(wanted))
            .unwrap_or_default(),
        warnings: warnings.into_problems(),
    })
}

/// One object's change before anything is masked.
struct Raw {
    change: Change,
    key: Key,
    old: Option<Seen>,
    new: Option<Seen>,
    fields: Vec<fields::Difference>,
}

impl Raw {
    fn shown(self) -> ObjectChange {
        let is_secret = self.key.id.kind == "Secret" && self.key.id.group.is_empty();
        let api_version = self
            .new
            .or(self.old)
            .map(|seen| seen.api_version)
            .unwrap_or_default();
        ObjectChange {
            api_version,
            kind: self.key.id.kind,
            namespace: self.key.id.namespace,
            name: self.key.id.name,
            change: self.change,
            fields: self
                .fields
                .into_iter()
                .map(|difference| difference.shown(is_secret))
                .collect(),
        }
    }
}

fn object_changes(
    reader: &mut Reader<'_>,
    before: Option<Oid>,
    after: Option<Oid>,
) -> Result<Vec<Raw>, StoreError> {
    let (old, new) = reader.differing(before, after)?;
    let keys: BTreeSet<&Key> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for key in keys {
        let (change, fields) = match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) => {
                if old.node == new.node && old.blob == new.blob {
                    continue;
                }
                let found = fields::differences(&old.node, &new.node);
                // A file that cannot be read as manifests has no fields, only content.
                if found.is_empty() && (old.blob == new.blob || !key.is_file()) {
                    continue;
                }
                (Change::Changed, found)
            }
            (None, Some(_)) => (Change::Added, Vec::new()),
            _ => (Change::Removed, Vec::new()),
        };
        changes.push(Raw {
            change,
            key: key.clone(),
            old: old.get(key).cloned(),
            new: new.get(key).cloned(),
            fields,
        });
    }
    Ok(changes)
}

/// Equal for regions in which the same happens.
fn fingerprint(change: Change, changes: &[Raw]) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    hash.update(format!("{change:?}"));
    for raw in changes {
        let text = format!(
            "{:?}\u{0}{}\u{0}{:?}\u{0}",
            raw.change, raw.key.id, raw.fields
        );
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// The changed regions whose change no region of an earlier wave receives.
fn unseen(
    head: &Wanted,
    changed: &BTreeSet<&str>,
    fingerprints: &BTreeMap<String, [u8; 32]>,
) -> Vec<String> {
    let mut seen: BTreeSet<[u8; 32]> = BTreeSet::new();
    let mut unseen = Vec::new();
    for (index, wave) in head.waves.iter().enumerate() {
        let here: Vec<(&String, [u8; 32])> = wave
            .regions
            .iter()
            .filter(|region| changed.contains(region.as_str()))
            .filter_map(|region| Some((region, *fingerprints.get(region)?)))
            .collect();
        if index > 0 {
            unseen.extend(
                here.iter()
                    .filter(|(_, fingerprint)| !seen.contains(fingerprint))
                    .map(|(region, _)| (*region).clone()),
            );
        }
        seen.extend(here.into_iter().map(|(_, fingerprint)| fingerprint));
    }
    unseen
}

fn holds(store: &ObjectStore, base: Base<'_>, head: &Wanted) -> Result<Vec<Hold>, StoreError> {
    let mut guards = head.policy.guards.clone();
    let mut holds = Vec::new();
    if let Some(wanted) = base.wanted {
        guards = guards.stricter(&wanted.policy.guards);
        if guards.policy_with_content == tidegate_waves::fleet::PolicyWithContent::Hold
            && head.policy_differs(wanted)
            && head.content_differs(wanted)
        {
            holds.push(Hold {
                reason: HoldReason::PolicyWithContent,
                message: "policy and a region's content change at once; split the commit, or \
                          approve it"
                    .to_owned(),
            });
        }
    }
    for finding in guard_findings(store, &mut Inventory::default(), &guards, base.trees, head)? {
        holds.push(Hold {
            reason: finding.reason,
            message: finding.message,
        });
    }
    Ok(holds)
}

#[cfg(test)]
mod tests;
