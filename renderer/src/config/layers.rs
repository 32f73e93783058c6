//! The value layers of every region: which files they are, each of them read once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::fleet::ReadLayer;
use super::{FoundFleet, Regions, Sources, documents};
use crate::problem::{Problem, Severity};
use crate::suggest::nearest;
use crate::values::{Layer, Layered, PathError};

/// What became of a layer's file.
#[derive(Clone)]
enum Found {
    Layer {
        layer: Arc<Layer>,
        /// Whether everything that it sets is known.
        whole: bool,
    },
    /// It is there and broken; said already.
    Broken,
    Missing,
}

/// Regions that miss the same thing for the same layer: one problem, not one for each.
#[derive(Default)]
struct Missing {
    regions: Vec<String>,
}

/// The layers of all regions.
pub(super) struct Layers {
    pub(super) layered: BTreeMap<String, Layered>,
    /// The regions for which a layer that is needed could not be read whole.
    pub(super) doubtful: BTreeSet<String>,
}

/// Finds the layers of every region, lowest first, its own values highest.
pub(super) fn load(
    sources: &Sources<'_>,
    folder: &str,
    fleet: &FoundFleet,
    regions: &Regions,
    problems: &mut Vec<Problem>,
) -> Layers {
    let mut doubtful = BTreeSet::new();
    let mut files: HashMap<String, Found> = HashMap::new();
    let mut missing_files: BTreeMap<(usize, String), Missing> = BTreeMap::new();
    let mut missing_labels: BTreeMap<(usize, String), Missing> = BTreeMap::new();
    let mut leaving: BTreeMap<(usize, String), Missing> = BTreeMap::new();
    let mut layered = BTreeMap::new();
    for (name, found) in &regions.found {
        let region = &found.read.region;
        let mut layers = Vec::new();
        for (index, layer) in fleet.read.layers.iter().enumerate() {
            let mut note = |map: &mut BTreeMap<(usize, String), Missing>, what: String| {
                doubtful.insert(name.clone());
                map.entry((index, what))
                    .or_default()
                    .regions
                    .push(name.clone());
            };
            let path = match layer
                .path
                .for_region(region, &fleet.read.fleet.name, folder)
            {
                Ok(path) => path,
                // An excluded region is left as it is; what it would need is nobody's mistake.
                Err(_) if region.exclude.is_some() => continue,
                Err(PathError::MissingLabel { label, .. }) => {
                    if !layer.optional {
                        note(&mut missing_labels, label);
                    }
                    continue;
                }
                Err(error) => {
                    note(&mut leaving, error.to_string());
                    continue;
                }
            };
            let file = files
                .entry(path.clone())
                .or_insert_with(|| read(sources, &path, problems));
            match file {
                Found::Layer { layer, whole } => {
                    layers.push(Arc::clone(layer));
                    if !*whole {
                        doubtful.insert(name.clone());
                    }
                }
                Found::Broken => {
                    doubtful.insert(name.clone());
                }
                Found::Missing if layer.optional || region.exclude.is_some() => {}
                Found::Missing => note(&mut missing_files, path),
            }
        }
        layers.extend(found.read.values.clone());
        layered.insert(name.clone(), Layered::new(layers));
    }
    let labels: BTreeSet<&String> = regions
        .found
        .values()
        .flat_map(|found| found.read.region.labels.keys())
        .collect();
    let mut report = |index: usize, missing: &Missing, message: String, hint: String| {
        if let Some(layer) = fleet.read.layers.get(index) {
            problems.push(problem(fleet, layer, missing, message, hint));
        }
    };
    for ((index, path), missing) in &missing_files {
        let hint = match misspelt(sources, path) {
            Some(near) => format!("did you mean {near}?"),
            None => "add the file, or write { path: …, optional: true }".to_owned(),
        };
        report(
            *index,
            missing,
            format!(
                "the values file {path} does not exist{}",
                needed_by(missing)
            ),
            hint,
        );
    }
    for ((index, label), missing) in &missing_labels {
        report(
            *index,
            missing,
            format!(
                "there is no label {label:?} for this path{}",
                needed_by(missing)
            ),
            match nearest(label, labels.iter().map(|label| label.as_str())) {
                Some(near) => format!("did you mean {{{{labels.{near}}}}}?"),
                None => {
                    "add the label to the region, or write { path: …, optional: true }".to_owned()
                }
            },
        );
    }
    for ((index, message), missing) in &leaving {
        report(
            *index,
            missing,
            format!("{message}{}", needed_by(missing)),
            "paths are relative to the fleet's folder; `/…` means the repo's root".to_owned(),
        );
    }
    Layers { layered, doubtful }
}

/// The file beside a missing one whose name is nearest.
fn misspelt(sources: &Sources<'_>, missing: &str) -> Option<String> {
    let (folder, name) = match missing.rsplit_once('/') {
        Some((folder, name)) => (format!("{folder}/"), name),
        None => (String::new(), missing),
    };
    // The stems are compared: the ending, which all of them share, would make any two look alike.
    let stem = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let beside: BTreeMap<String, &str> = sources
        .entries
        .keys()
        .filter_map(|path| std::str::from_utf8(path).ok()?.strip_prefix(&folder))
        .filter(|name| !name.contains('/'))
        .map(|name| (stem(name), name))
        .collect();
    let near = nearest(&stem(name), beside.keys().map(String::as_str))?;
    Some(format!("{folder}{}", beside.get(near)?))
}

/// Who needs it: the names of a few, the number of the rest.
fn needed_by(missing: &Missing) -> String {
    const SHOWN: usize = 3;
    match missing.regions.as_slice() {
        [] | [_] => String::new(),
        regions => {
            let names: Vec<&str> = regions.iter().take(SHOWN).map(String::as_str).collect();
            let more = regions.len().saturating_sub(SHOWN);
            let rest = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            format!(" (regions {}{rest})", names.join(", "))
        }
    }
}

fn problem(
    fleet: &FoundFleet,
    layer: &ReadLayer,
    missing: &Missing,
    message: String,
    hint: String,
) -> Problem {
    let problem = fleet
        .source
        .problem(Severity::Error, layer.span, message)
        .hint(hint);
    match missing.regions.as_slice() {
        [only] if !layer.path.is_constant() => problem.for_region(only),
        _ => problem,
    }
}

fn read(sources: &Sources<'_>, path: &str, problems: &mut Vec<Problem>) -> Found {
    let Some(entry) = sources.entries.get(path.as_bytes()) else {
        // Perhaps a folder above it is a link or a submodule.
        let above = path.match_indices('/').find_map(|(end, _)| {
            let entry = sources.entries.get(path.as_bytes().get(..end)?)?;
            super::not_a_file(entry)
        });
        return match above {
            Some(problem) => {
                problems.push(problem);
                Found::Broken
            }
            None => Found::Missing,
        };
    };
    let source = match sources.text(entry) {
        Ok(source) => source,
        Err(problem) => {
            problems.push(problem);
            return Found::Broken;
        }
    };
    let file = Arc::clone(&source.file);
    let (parsed, reader) = documents(source);
    let mut documents = parsed.documents.into_iter();
    let first = documents.next();
    if let Some(second) = documents.next() {
        reader.error_with_hint(
            second.span,
            "there is more than one document in this values file",
            "values are one mapping; remove the line `---`",
        );
    }
    let mut findings = Vec::new();
    let layer = match first {
        Some(root) => Some(Layer::new(file, root, &mut findings)),
        // Nothing but comments: a layer that sets nothing.
        None if parsed.complete => Some(Layer::empty(file)),
        None => None,
    };
    reader.findings(findings);
    // A key that is there twice was perhaps meant to be another.
    let whole = reader.errors() == 0;
    problems.extend(reader.into_problems());
    match layer {
        Some(layer) => Found::Layer {
            layer: Arc::new(layer),
            whole,
        },
        None => Found::Broken,
    }
}
