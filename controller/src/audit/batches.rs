//! What open moves put where: `state.json` names the regions whose tree `plan.json` or `last-good.json` says.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tidegate_waves::log::{FolderChange, Intent};
use tidegate_waves::oid::Oid;

/// Trees by region.
pub(super) type Trees = BTreeMap<String, Oid>;

/// An open move as `state.json` says it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OpenMove {
    #[serde(flatten)]
    intent: Intent,
    /// Regions that get the tree that `plan.json` says.
    #[serde(default)]
    as_planned: Vec<String>,
    /// Regions that get the tree that `last-good.json` says.
    #[serde(default)]
    as_last_good: Vec<String>,
}

impl OpenMove {
    /// Whether it cannot be understood without `plan.json`.
    #[must_use]
    pub(super) fn needs_plan(&self) -> bool {
        !self.as_planned.is_empty()
    }

    /// Whether it cannot be understood without `last-good.json`.
    #[must_use]
    pub(super) fn needs_last_good(&self) -> bool {
        !self.as_last_good.is_empty()
    }

    /// The move with the tree of every region, or what it leaves open.
    pub(super) fn whole(self, planned: &Trees, last_good: &Trees) -> Result<Intent, String> {
        let Self {
            mut intent,
            as_planned,
            as_last_good,
        } = self;
        let mut said: BTreeSet<String> = BTreeSet::new();
        for change in &intent.draft.folders {
            said.insert(change.region.clone());
        }
        for (list, regions, file, trees) in [
            ("asPlanned", as_planned, "plan.json", planned),
            ("asLastGood", as_last_good, "last-good.json", last_good),
        ] {
            for region in regions {
                let wrong = |why: &str| {
                    let reference = &intent.draft.reference;
                    format!("{list} of the move of {reference} names {region}, {why}")
                };
                let Some(tree) = trees.get(&region) else {
                    return Err(wrong(&format!("of which {file} says no tree")));
                };
                if !said.insert(region.clone()) {
                    return Err(wrong("whose tree the move says already"));
                }
                intent.draft.folders.push(FolderChange {
                    region,
                    tree: Some(*tree),
                });
            }
        }
        Ok(intent)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(letter: &str) -> String {
        letter.repeat(40)
    }

    fn trees(of: &[(&str, &str)]) -> Trees {
        of.iter()
            .map(|(region, letter)| ((*region).to_owned(), id(letter).parse().unwrap()))
            .collect()
    }

    fn open_move(change: serde_json::Value) -> OpenMove {
        let mut whole = json!({
            "reference": "refs/heads/t/canary", "old": id("1"), "new": id("2"), "kind": "promote", "wave": "canary",
            "folders": [{"region": "west", "tree": id("c")}, {"region": "gone", "tree": null}],
            "given": null, "onto": null, "rollout": "a-1", "source": id("3"),
        });
        let serde_json::Value::Object(change) = change else {
            panic!("{change} is no object");
        };
        whole.as_object_mut().unwrap().extend(change);
        serde_json::from_value(whole).unwrap()
    }

    fn whole(open: OpenMove) -> Result<Vec<(String, Option<String>)>, String> {
        let planned = trees(&[("east", "a"), ("north", "b"), ("west", "a")]);
        let last_good = trees(&[("east", "d"), ("south", "e")]);
        let folders = open.whole(&planned, &last_good)?.draft.folders;
        Ok(folders
            .into_iter()
            .map(|change| (change.region, change.tree.map(|tree| tree.to_string())))
            .collect())
    }

    #[test]
    fn every_region_gets_the_tree_of_the_file_that_says_it() {
        let open = open_move(json!({"asPlanned": ["north", "east"], "asLastGood": ["south"]}));
        assert!(open.needs_plan() && open.needs_last_good());
        let mut all = whole(open).unwrap();
        all.sort();
        let said = |region: &str, tree: &str| (region.to_owned(), Some(id(tree)));
        assert_eq!(
            all,
            [
                said("east", "a"),
                ("gone".to_owned(), None),
                said("north", "b"),
                said("south", "e"),
                said("west", "c"),
            ]
        );
    }

    #[test]
    fn a_move_that_says_all_itself_needs_no_other_file() {
        let open = open_move(json!({}));
        assert!(!open.needs_plan() && !open.needs_last_good());
        let intent = open.whole(&Trees::new(), &Trees::new()).unwrap();
        assert_eq!(intent.draft.folders.len(), 2);
        assert_eq!(intent.draft.wave, "canary");
    }

    #[test]
    fn a_region_without_a_tree_or_with_two_is_refused() {
        for (change, says) in [
            (
                json!({"asPlanned": ["south"]}),
                "asPlanned of the move of refs/heads/t/canary names south, of which plan.json says no tree",
            ),
            (
                json!({"asLastGood": ["north"]}),
                "names north, of which last-good.json says no tree",
            ),
            (
                json!({"asPlanned": ["west"]}),
                "names west, whose tree the move says already",
            ),
            (
                json!({"asPlanned": ["east"], "asLastGood": ["east"]}),
                "asLastGood of the move of refs/heads/t/canary names east, whose tree",
            ),
        ] {
            let why = whole(open_move(change)).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }
}
