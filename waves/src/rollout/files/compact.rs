//! Files that say once what holds for many regions: equal runs of a wave together, and trees that the plan or the
//! last good has by the region's name alone. A tree's id does not compress, and a thousand of them are an entry.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The trees of regions by name, as the plan or the last good has them.
type Trees = BTreeMap<String, Value>;

/// Makes a state small. Nothing is lost: [`expand`] gives it back.
pub(super) fn compact(whole: &mut Value) {
    let (planned, good) = (planned(whole), last_good(whole));
    each_branch(whole, |branch| {
        if branch.get("ours") == branch.get("folders") {
            branch.remove("ours");
        }
        let Some(Value::Object(folders)) = branch.remove("folders") else {
            return;
        };
        let (mut as_planned, mut as_last_good, mut others) = (Vec::new(), Vec::new(), Map::new());
        for (region, tree) in folders {
            if planned.get(&region) == Some(&tree) {
                as_planned.push(region);
            } else if good.get(&region) == Some(&tree) {
                as_last_good.push(region);
            } else {
                others.insert(region, tree);
            }
        }
        branch.insert("asPlanned".to_owned(), json!(as_planned));
        branch.insert("asLastGood".to_owned(), json!(as_last_good));
        branch.insert("folders".to_owned(), Value::Object(others));
    });
    each_wave(whole, |wave| {
        if let Some(Value::Object(runs)) = wave.get("regions") {
            let mut groups: BTreeMap<String, (&Value, Vec<&String>)> = BTreeMap::new();
            for (region, run) in runs {
                let group = groups.entry(run.to_string());
                group.or_insert_with(|| (run, Vec::new())).1.push(region);
            }
            let groups: Vec<Value> = groups
                .into_values()
                .map(|(run, regions)| json!({ "run": run, "regions": regions }))
                .collect();
            wave.insert("regions".to_owned(), Value::Array(groups));
        }
    });
}

/// Gives back what was made small; what an older schema wrote is left as it is. What is missing is told by whoever
/// reads the result.
pub(super) fn expand(whole: &mut Value) {
    let (planned, good) = (planned(whole), last_good(whole));
    each_branch(whole, |branch| {
        if let Some(Value::Object(mut folders)) = branch.remove("folders") {
            for (names, trees) in [("asPlanned", &planned), ("asLastGood", &good)] {
                let names = branch.remove(names);
                for region in names.iter().filter_map(Value::as_array).flatten() {
                    if let Some(region) = region.as_str() {
                        // A name without a tree must not vanish: null is no tree, and is refused.
                        let tree = trees.get(region).cloned().unwrap_or_default();
                        folders.insert(region.to_owned(), tree);
                    }
                }
            }
            branch.insert("folders".to_owned(), Value::Object(folders));
        }
        if !branch.contains_key("ours")
            && let Some(folders) = branch.get("folders").cloned()
        {
            branch.insert("ours".to_owned(), folders);
        }
    });
    each_wave(whole, |wave| {
        if let Some(Value::Array(groups)) = wave.get("regions") {
            let mut runs = Map::new();
            for group in groups {
                let run = group.get("run").cloned().unwrap_or_default();
                let names = group.get("regions").and_then(Value::as_array);
                for region in names.into_iter().flatten().filter_map(Value::as_str) {
                    runs.insert(region.to_owned(), run.clone());
                }
            }
            wave.insert("regions".to_owned(), Value::Object(runs));
        }
    });
}

fn planned(whole: &Value) -> Trees {
    trees(whole.pointer("/rollout/plan/regions"))
}

fn last_good(whole: &Value) -> Trees {
    trees(whole.get("lastGood"))
}

fn trees(regions: Option<&Value>) -> Trees {
    regions
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(region, value)| Some((region.clone(), value.get("tree")?.clone())))
        .collect()
}

fn each_branch(whole: &mut Value, mut change: impl FnMut(&mut Map<String, Value>)) {
    if let Some(Value::Object(branches)) = whole.get_mut("branches") {
        for branch in branches.values_mut().filter_map(Value::as_object_mut) {
            change(branch);
        }
    }
}

fn each_wave(whole: &mut Value, mut change: impl FnMut(&mut Map<String, Value>)) {
    if let Some(Value::Array(waves)) = whole.pointer_mut("/rollout/waves") {
        for wave in waves.iter_mut().filter_map(Value::as_object_mut) {
            change(wave);
        }
    }
}
