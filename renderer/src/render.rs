//! A loaded fleet into region trees: templates run, manifests checked, gates resolved.

mod files;
mod gates;
mod outcome;
mod report;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_waves::fleet::{Gate, Members};
use tidegate_waves::oid::Oid;
use tidegate_waves::plan::{ExcludedRegion, FleetPolicy, PlannedRegion, PlannedWave, Wanted};

use crate::cache::RenderCache;
use crate::config::{FileUse, FleetFile, LoadedFleet, LoadedRegion};
use crate::manifest::{Format, ObjectId};
use crate::problem::Problem;
use crate::source::SourceTree;
use crate::tree::ObjectStore;
use crate::worker::{TemplateProblem, TemplateWorker, WorkerError};
use outcome::{Outcome, Outcomes};
use report::Report;
pub(crate) use work::WholeRegion;
use work::{Answered, Work};

/// What a commit means for each region.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Trees, waves and policy: what the state machine works with.
    pub wanted: Wanted,
    /// The objects of each region that is not excluded, by name of the region, in the order of
    /// their files.
    pub objects: BTreeMap<String, Arc<Vec<RenderedObject>>>,
    /// What the commit's author should know, beside what was said when the fleet was loaded.
    pub warnings: Vec<Problem>,
}

/// One object of a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenderedObject {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, if one is written.
    pub namespace: Option<String>,
    /// Its name, or its `generateName`.
    pub name: String,
    /// Whether the name is a `generateName`.
    pub generated: bool,
    /// The file, relative to the region's folder.
    pub path: String,
    /// The blob of that file.
    pub blob: Oid,
}

impl RenderedObject {
    /// The API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// What tells it from the region's other objects.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        ObjectId {
            group: self.group().to_owned(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// What a region's templates see.
#[must_use]
pub fn context(fleet: &str, region: &LoadedRegion) -> Value {
    json!({
        "name": region.region.name,
        "location": region.region.location,
        "cluster": region.region.cluster,
        "labels": region.region.labels,
        "values": region.values.to_json(),
        "fleet": { "name": fleet },
    })
}

/// Renders every region that is not excluded.
///
/// New objects stay in `store` until it is flushed. The error is everything that is wrong, warnings
/// among it, sorted by file, line and column.
pub fn render(
    loaded: &LoadedFleet,
    source: &dyn SourceTree,
    worker: &dyn TemplateWorker,
    store: &ObjectStore,
    cache: Option<&RenderCache>,
) -> Result<Rendered, Vec<Problem>> {
    if let Some(cache) = cache {
        cache.begin();
    }
    render_all(loaded, source, worker, store, cache, &Extent::Whole)
}

/// What is wrong with the templates, manifests and gates of what could be read of an invalid fleet
/// ([`load_readable`](crate::config::load_readable)); sorted by file, line and column.
pub fn problems_of_readable(
    readable: &LoadedFleet,
    source: &dyn SourceTree,
    worker: &dyn TemplateWorker,
    store: &ObjectStore,
) -> Vec<Problem> {
    let extent = Extent::Readable {
        without: BTreeSet::new(),
    };
    match render_all(readable, source, worker, store, None, &extent) {
        Ok(rendered) => rendered.warnings,
        Err(problems) => problems,
    }
}

/// How much of a fleet is there.
#[derive(Debug)]
enum Extent {
    Whole,
    /// Files and regions may be missing, so that an empty region proves nothing.
    Readable {
        /// Templates that are left out: they do not parse.
        without: BTreeSet<String>,
    },
}

impl Extent {
    fn leaves_out(&self, path: &str) -> bool {
        match self {
            Extent::Whole => false,
            Extent::Readable { without } => without.contains(path),
        }
    }
}

fn render_all(
    loaded: &LoadedFleet,
    source: &dyn SourceTree,
    worker: &dyn TemplateWorker,
    store: &ObjectStore,
    cache: Option<&RenderCache>,
    extent: &Extent,
) -> Result<Rendered, Vec<Problem>> {
    let regions: Vec<&LoadedRegion> = loaded
        .membership
        .iter()
        .flat_map(|(_, members)| members)
        .filter_map(|name| loaded.regions.get(name))
        .collect();
    let fleet_file = if loaded.folder.is_empty() {
        "tidegate.yaml".to_owned()
    } else {
        format!("{}/tidegate.yaml", loaded.folder)
    };
    let mut report = Report::new(regions.len());
    let outcomes = Outcomes::new(store);
    let Some(texts) = read_all(loaded, source, &fleet_file, &mut report) else {
        return Err(report.into_problems());
    };
    let work = Work::new(
        loaded,
        &texts.by_path,
        &regions,
        &fleet_file,
        cache,
        &outcomes,
        extent,
    );
    // Also with nothing left to run, so that templates which do not parse are found.
    match worker.run(&work.job, &|answer| work.take(answer)) {
        Ok(()) => {}
        Err(WorkerError::Templates(problems)) => {
            for problem in &problems {
                report.template(&texts.by_path, None, problem);
            }
            // What does not parse ends its own file only; the others are judged without it.
            if let Some(without) = without_unparsed(loaded, &problems, extent) {
                let extent = Extent::Readable { without };
                match render_all(loaded, source, worker, store, None, &extent) {
                    Ok(rendered) => report.take(rendered.warnings),
                    Err(problems) => report.take(problems),
                }
                return Err(report.into_problems());
            }
        }
        Err(WorkerError::Stopped { reason, regions }) => {
            report.error(stopped(&fleet_file, &reason, &regions));
        }
        Err(error @ WorkerError::Broken { .. }) => {
            let problem = Problem::error(&fleet_file, error.to_string());
            report.error(Problem {
                transient: true,
                ..problem
            });
        }
    }
    let mut rendered = BTreeMap::new();
    let mut objects = BTreeMap::new();
    for (place, region) in regions.iter().enumerate() {
        let name = &region.region.name;
        if let Some(whole) = work.whole(place) {
            for (path, outcome) in &whole.noted {
                if let Some(file) = work.files.at(path) {
                    report.outcome(file, texts.by_path.get(path), outcome, Some(name));
                }
            }
            let gates = whole.gates.clone();
            rendered.insert(name.clone(), planned(region, whole.tree, gates));
            objects.insert(name.clone(), Arc::clone(&whole.objects));
            continue;
        }
        let Some(answered) = work.answered(place) else {
            continue;
        };
        let assembled = assemble(
            loaded,
            &texts,
            region,
            &work,
            &fleet_file,
            answered,
            &outcomes,
            &mut report,
            extent,
        );
        let Some(Assembled {
            files,
            objects: found,
            gates,
            noted,
        }) = assembled
        else {
            continue;
        };
        match store.folder(&files) {
            Ok(tree) => {
                let found = Arc::new(found);
                let whole = WholeRegion {
                    tree,
                    objects: Arc::clone(&found),
                    gates: gates.clone(),
                    noted,
                };
                work.keep(place, whole);
                rendered.insert(name.clone(), planned(region, tree, gates));
                objects.insert(name.clone(), found);
            }
            Err(error) => {
                report.error(Problem::error(&fleet_file, error.to_string()).for_region(name));
            }
        }
    }
    if matches!(extent, Extent::Readable { .. }) {
        // Manifests that no region gets, as far as regions could be read.
        for file in &loaded.files.files {
            let is_used = regions.iter().any(|region| {
                let own = file.region.as_ref();
                own.is_none_or(|own| *own == region.region.name)
            });
            if file.usage == FileUse::Plain && !is_used {
                let text = texts.by_path.get(&file.path);
                let outcome = outcomes.of(
                    text.map_or("", String::as_str),
                    Format::of(&file.name),
                    false,
                );
                report.outcome(file, text, &outcome, file.region.as_deref());
            }
        }
    }
    if report.has_errors() {
        return Err(report.into_problems());
    }
    if let Some(missing) = regions
        .iter()
        .find(|region| !rendered.contains_key(&region.region.name))
    {
        report.error(
            Problem::error(&fleet_file, "the region was not rendered; try again")
                .for_region(&missing.region.name),
        );
        return Err(report.into_problems());
    }
    Ok(Rendered {
        wanted: wanted(loaded, rendered),
        objects,
        warnings: report.into_problems(),
    })
}

fn planned(region: &LoadedRegion, tree: Oid, gates: Vec<Gate>) -> PlannedRegion {
    PlannedRegion {
        tree,
        location: region.region.location.clone(),
        cluster: region.region.cluster.clone(),
        labels: region.region.labels.clone(),
        gates,
    }
}

/// What to leave out so that the other templates can be judged; nothing if that would blame them for
/// what is missing: a partial, or all of them.
fn without_unparsed(
    loaded: &LoadedFleet,
    problems: &[TemplateProblem],
    extent: &Extent,
) -> Option<BTreeSet<String>> {
    let templates: BTreeSet<&str> = loaded
        .files
        .files
        .iter()
        .filter(|file| file.usage == FileUse::Template && !extent.leaves_out(&file.path))
        .map(|file| file.path.as_str())
        .collect();
    let mut without = match extent {
        Extent::Whole => BTreeSet::new(),
        Extent::Readable { without } => without.clone(),
    };
    for problem in problems {
        if !templates.contains(problem.file.as_str()) {
            return None;
        }
        without.insert(problem.file.clone());
    }
    Some(without)
}

fn stopped(fleet_file: &str, reason: &str, regions: &[String]) -> Problem {
    let problem = Problem::error(fleet_file, format!("rendering was stopped: {reason}"));
    let problem = problem.hint(
        "look for loops in loops, endless inclusions or very deep nesting in what changed last",
    );
    match regions.first() {
        Some(region) => problem.for_region(region),
        None => problem,
    }
}

/// What a fleet's documents say of its policy, without rendering anything: the regions have no trees.
///
/// Good for [`Wanted::policy_differs`] and nothing else.
#[must_use]
pub fn policy_of(loaded: &LoadedFleet) -> Wanted {
    let regions = loaded
        .regions
        .iter()
        .filter(|(_, loaded)| loaded.region.exclude.is_none())
        .map(|(name, loaded)| (name.clone(), planned(loaded, Oid::ZERO, Vec::new())))
        .collect();
    wanted(loaded, regions)
}

fn wanted(loaded: &LoadedFleet, regions: BTreeMap<String, PlannedRegion>) -> Wanted {
    let waves = loaded
        .membership
        .iter()
        .filter_map(|(name, members)| {
            let wave = loaded.fleet.waves.iter().find(|wave| wave.name == *name)?;
            Some(PlannedWave {
                name: name.clone(),
                regions: members.clone(),
                policy: wave.policy.clone(),
            })
        })
        .collect();
    let excluded = loaded
        .regions
        .values()
        .filter_map(|loaded_region| {
            let region = &loaded_region.region;
            let exclusion = region.exclude.clone()?;
            let wave = loaded
                .fleet
                .waves
                .iter()
                .find(|wave| match &wave.members {
                    Members::Regions(names) => names.contains(&region.name),
                    Members::Selector(selector) => selector.matches(&region.labels),
                })
                .map(|wave| wave.name.clone());
            Some((
                region.name.clone(),
                ExcludedRegion {
                    exclusion,
                    wave,
                    location: region.location.clone(),
                    cluster: region.cluster.clone(),
                    labels: region.labels.clone(),
                },
            ))
        })
        .collect();
    Wanted {
        fleet: loaded.fleet.name.clone(),
        waves,
        regions,
        excluded,
        policy: FleetPolicy::of(&loaded.fleet),
    }
}

/// The text of every template, partial and manifest, and of the fleet's document.
struct Texts {
    by_path: BTreeMap<String, String>,
}

fn read_all(
    loaded: &LoadedFleet,
    source: &dyn SourceTree,
    fleet_file: &str,
    report: &mut Report,
) -> Option<Texts> {
    let fleet_entry = source
        .entries()
        .ok()
        .and_then(|entries| {
            entries
                .into_iter()
                .find(|entry| entry.path == fleet_file.as_bytes())
        })
        .map(|entry| (fleet_file.to_owned(), entry));
    let files = loaded
        .files
        .files
        .iter()
        .map(|file| (file.path.clone(), file.entry.clone()));
    let mut by_path = BTreeMap::new();
    for (path, entry) in files.chain(fleet_entry) {
        let text = source
            .read(&entry)
            .map_err(|error| error.to_string())
            .and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
        match text {
            Ok(text) => {
                by_path.insert(path, text);
            }
            Err(message) => report.error(Problem::error(path, message)),
        }
    }
    (!report.has_errors()).then_some(Texts { by_path })
}

/// One region, put together.
struct Assembled {
    files: BTreeMap<String, Oid>,
    objects: Vec<RenderedObject>,
    gates: Vec<Gate>,
    noted: Vec<(String, Arc<Outcome>)>,
}

/// Puts one region together; what is wrong goes to the report.
#[expect(
    clippy::too_many_arguments,
    reason = "they are one call's locals; a struct would be named after it"
)]
fn assemble(
    loaded: &LoadedFleet,
    texts: &Texts,
    region: &LoadedRegion,
    work: &Work<'_>,
    fleet_file: &str,
    answered: Answered<'_>,
    outcomes: &Outcomes<'_>,
    report: &mut Report,
    extent: &Extent,
) -> Option<Assembled> {
    let name = &region.region.name;
    let errors_before = report.errors();
    let mut outcomes_of: BTreeMap<&str, (&FleetFile, Arc<Outcome>)> = BTreeMap::new();
    let mut noted = Vec::new();
    let mut add = |file: &'_ FleetFile, outcome: Arc<Outcome>, report: &mut Report| {
        report.outcome(file, texts.by_path.get(&file.path), &outcome, Some(name));
        if !outcome.warnings.is_empty() {
            noted.push((file.path.clone(), Arc::clone(&outcome)));
        }
        outcome
    };
    for (file, output) in answered.outputs {
        match output {
            Some(Ok(outcome)) => {
                let outcome = add(file, outcome, report);
                outcomes_of.insert(&file.name, (file, outcome));
            }
            Some(Err(problem)) => report.template(&texts.by_path, Some(name), &problem),
            None => return None,
        }
    }
    for file in work.files_of(name) {
        if file.usage != FileUse::Plain {
            continue;
        }
        let text = texts.by_path.get(&file.path).map_or("", String::as_str);
        let outcome = add(
            file,
            outcomes.of(text, Format::of(&file.name), false),
            report,
        );
        if let Some((other, _)) = outcomes_of.insert(&file.name, (file, outcome)) {
            report.error(
                Problem::error(
                    &file.path,
                    format!("{} becomes {} too", other.path, file.name),
                )
                .for_region(name)
                .hint("rename one of them"),
            );
        }
    }
    let mut files = BTreeMap::new();
    let mut objects = Vec::new();
    let mut first_file: BTreeMap<ObjectId, &str> = BTreeMap::new();
    for (path, (file, outcome)) in &outcomes_of {
        let Some(blob) = outcome.blob else { continue };
        files.insert((*path).to_owned(), blob);
        for object in &outcome.objects {
            let object = RenderedObject {
                path: (*path).to_owned(),
                blob,
                ..object.clone()
            };
            if !object.generated
                && let Some(first) = first_file.insert(object.id(), &file.path)
            {
                let message = if first == file.path {
                    format!("{} is there twice in this file", object.id())
                } else {
                    format!("{} is in {first} too", object.id())
                };
                report.error(
                    Problem::error(&file.path, message).for_region(name).hint(
                        "no two objects of a region may share group, kind, namespace and name",
                    ),
                );
            }
            objects.push(object);
        }
    }
    let resolved = gates::resolve(
        &loaded.fleet.gates,
        &loaded.gate_places,
        answered.values?,
        fleet_file,
        matches!(extent, Extent::Whole),
    );
    let resolved = match resolved {
        Ok(gates) => gates,
        Err(problems) => {
            for problem in problems {
                report.template(&texts.by_path, Some(name), &problem);
            }
            Vec::new()
        }
    };
    let is_empty = objects.is_empty() && files.is_empty();
    if report.errors() == errors_before && is_empty && matches!(extent, Extent::Whole) {
        report.error(
            Problem::error(&region.file, "the region renders to nothing")
                .at(region.line, 1)
                .for_region(name)
                .hint("give it a template or manifest, or exclude it (`exclude: { reason: … }`)"),
        );
    }
    (report.errors() == errors_before).then_some(Assembled {
        files,
        objects,
        gates: resolved,
        noted,
    })
}

#[cfg(test)]
mod tests;
