//! Files that say once what holds for many regions: equal runs of a wave together, and trees that the plan or the
//! last good has by the region's name alone. A tree's id does not compress, and a thousand of them are an entry.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::StateFilesError;

/// The trees of regions by name, as the plan or the last good has them.
type Trees = BTreeMap<String, Value>;

/// The lists of regions whose tree is said elsewhere: the list, and the file that says it.
const AS_PLANNED: (&str, &str) = ("asPlanned", "plan.json");
const AS_LAST_GOOD: (&str, &str) = ("asLastGood", "last-good.json");

/// Makes a state small. Nothing is lost: [`expand`] gives it back.
pub(super) fn compact(whole: &mut Value) {
    let known = Known::of(whole);
    for branch in branches(whole).filter_map(|(_, branch)| branch.as_object_mut()) {
        if branch.get("ours") == branch.get("folders") {
            branch.remove("ours");
        }
        let Some(Value::Object(folders)) = branch.remove("folders") else {
            continue;
        };
        let mut lists = Lists::default();
        let others: Map<String, Value> = folders
            .into_iter()
            .filter(|(region, tree)| !known.take(region, tree, &mut lists))
            .collect();
        branch.insert(AS_PLANNED.0.to_owned(), json!(lists.as_planned));
        branch.insert(AS_LAST_GOOD.0.to_owned(), json!(lists.as_last_good));
        branch.insert("folders".to_owned(), Value::Object(others));
    }
    for intent in intents(whole) {
        if let Some(Value::Array(folders)) = intent.get_mut("folders") {
            // What is read back is in the order of names: any other order is kept by saying all.
            if !is_in_order(folders) {
                continue;
            }
            let mut lists = Lists::default();
            folders.retain(|change| {
                let tree = change.get("tree").unwrap_or(&Value::Null);
                !region(change).is_some_and(|region| known.take(region, tree, &mut lists))
            });
            for ((name, _), list) in [
                (AS_PLANNED, lists.as_planned),
                (AS_LAST_GOOD, lists.as_last_good),
            ] {
                if !list.is_empty() {
                    intent.insert(name.to_owned(), json!(list));
                }
            }
        }
    }
    for wave in waves(whole) {
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
    }
}

/// Gives back what was made small; what an older schema wrote is left as it is. What is missing is told by whoever
/// reads the result; a region that is named and of which nothing is known, or named twice, is refused.
pub(super) fn expand(whole: &mut Value) -> Result<(), StateFilesError> {
    let known = Known::of(whole);
    for (name, branch) in branches(whole) {
        let Some(branch) = branch.as_object_mut() else {
            continue;
        };
        let named = known.give_back(branch, &format!("branches/{name}.json"))?;
        if let Some(Value::Object(folders)) = branch.get_mut("folders") {
            for (region, tree) in named {
                if folders.insert(region.clone(), tree).is_some() {
                    return Err(twice(&format!("branches/{name}.json"), &region));
                }
            }
        }
        if !branch.contains_key("ours")
            && let Some(folders) = branch.get("folders").cloned()
        {
            branch.insert("ours".to_owned(), folders);
        }
    }
    for intent in intents(whole) {
        let named = known.give_back(intent, "state.json")?;
        if named.is_empty() {
            continue;
        }
        if let Some(Value::Array(folders)) = intent.get_mut("folders") {
            for (region, tree) in named {
                folders.push(json!({ "region": region, "tree": tree }));
            }
            folders.sort_by(|one, other| region(one).cmp(&region(other)));
            let pairs = folders.iter().zip(folders.iter().skip(1));
            if let Some(name) = pairs
                .filter(|(one, other)| region(one) == region(other))
                .find_map(|(one, _)| region(one))
            {
                return Err(twice("state.json", name));
            }
        }
    }
    for wave in waves(whole) {
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
    }
    Ok(())
}

/// The trees that need not be said again.
struct Known {
    planned: Trees,
    last_good: Trees,
}

/// The regions whose trees are not said again.
#[derive(Default)]
struct Lists {
    as_planned: Vec<String>,
    as_last_good: Vec<String>,
}

impl Known {
    fn of(whole: &Value) -> Self {
        Self {
            planned: trees(whole.pointer("/rollout/plan/regions")),
            last_good: trees(whole.get("lastGood")),
        }
    }

    /// Puts a region on the list of those that have this tree, if there is one.
    fn take(&self, region: &str, tree: &Value, lists: &mut Lists) -> bool {
        let list = if self.planned.get(region) == Some(tree) {
            &mut lists.as_planned
        } else if self.last_good.get(region) == Some(tree) {
            &mut lists.as_last_good
        } else {
            return false;
        };
        list.push(region.to_owned());
        true
    }

    /// Takes the lists out of where they stand, and gives the regions on them with their trees.
    fn give_back(
        &self,
        holder: &mut Map<String, Value>,
        file: &str,
    ) -> Result<Vec<(String, Value)>, StateFilesError> {
        let mut named = Vec::new();
        for ((list, elsewhere), trees) in
            [(AS_PLANNED, &self.planned), (AS_LAST_GOOD, &self.last_good)]
        {
            let names = match holder.remove(list) {
                None => continue,
                Some(Value::Array(names)) => names,
                Some(_) => return Err(unreadable(file, format!("{list} is no list"))),
            };
            for name in names {
                // A folder without a tree is one that goes away: a name alone must never become that.
                let Some(tree) = name.as_str().and_then(|name| trees.get(name)) else {
                    return Err(unreadable(
                        file,
                        format!("{list} names {name}, of which {elsewhere} says no tree"),
                    ));
                };
                let name = name.as_str().unwrap_or_default();
                named.push((name.to_owned(), tree.clone()));
            }
        }
        Ok(named)
    }
}

fn twice(file: &str, region: &str) -> StateFilesError {
    unreadable(file, format!("it names region {region} twice"))
}

fn unreadable(file: &str, reason: String) -> StateFilesError {
    StateFilesError::Unreadable {
        file: file.to_owned(),
        reason,
    }
}

fn region(change: &Value) -> Option<&str> {
    change.get("region").and_then(Value::as_str)
}

fn is_in_order(folders: &[Value]) -> bool {
    folders
        .iter()
        .zip(folders.iter().skip(1))
        .all(|(one, other)| region(one) < region(other))
}

fn trees(regions: Option<&Value>) -> Trees {
    regions
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(region, value)| Some((region.clone(), value.get("tree")?.clone())))
        .collect()
}

fn branches(whole: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    whole
        .get_mut("branches")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
}

fn intents(whole: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    objects(whole.get_mut("intents"))
}

fn waves(whole: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    objects(whole.pointer_mut("/rollout/waves"))
}

fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}
