//! A loaded fleet into region trees: templates run, manifests checked, gates resolved.

mod gates;
mod outcome;
mod report;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidegate_waves::fleet::{Gate, Members};
use tidegate_waves::oid::Oid;
use tidegate_waves::plan::{ExcludedRegion, FleetPolicy, PlannedRegion, PlannedWave, Wanted};

use crate::cache::{CacheKey, RenderCache, key_of};
use crate::config::{FileUse, FleetFile, LoadedFleet, LoadedRegion};
use crate::manifest::{Format, ObjectId};
use crate::problem::Problem;
use crate::source::SourceTree;
use crate::tree::ObjectStore;
use crate::worker::{
    Job, RegionAnswer, RegionJob, TemplateProblem, TemplateSource, TemplateWorker, WorkerError,
};
use outcome::{Outcome, Outcomes};
use report::Report;
use whole::FilesByRegion;
pub(crate) use whole::WholeRegion;

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
    let plan = Plan::new(
        loaded,
        &texts,
        &regions,
        &fleet_file,
        cache,
        &outcomes,
        extent,
    );
    let run = Run {
        plan: &plan,
        outcomes: &outcomes,
        cache,
        done: Mutex::new(BTreeMap::new()),
    };
    // Also with nothing left to run, so that templates which do not parse are found.
    match worker.run(&plan.job, &|answer| run.take(answer)) {
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
    let mut done = run
        .done
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);

    let mut rendered = BTreeMap::new();
    let mut objects = BTreeMap::new();
    let by_path = plan.by_region.by_path();
    for (index, region) in regions.iter().enumerate() {
        if let Some(whole) = plan.whole.get(index).and_then(Option::as_ref) {
            let name = &region.region.name;
            for (path, outcome) in &whole.noted {
                if let Some(file) = by_path.get(path.as_str()) {
                    report.outcome(file, texts.by_path.get(path), outcome, Some(name));
                }
            }
            let gates = whole.gates.clone();
            rendered.insert(name.clone(), planned(region, whole.tree, gates));
            objects.insert(name.clone(), Arc::clone(&whole.objects));
            continue;
        }
        let answered = if plan.places.binary_search(&index).is_ok() {
            done.remove(&index)
        } else {
            plan.known.get(index).cloned()
        };
        let Some(answered) = answered else { continue };
        let name = &region.region.name;
        let assembled = assemble(
            loaded,
            &texts,
            region,
            index,
            &plan,
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
                if let (Some(cache), Some(key)) = (cache, plan.region_keys.get(index)) {
                    let whole = WholeRegion {
                        tree,
                        objects: Arc::clone(&found),
                        gates: gates.clone(),
                        noted,
                    };
                    cache.put_region(*key, Arc::new(whole));
                }
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

/// What one region's templates and gates gave, as far as it is known.
#[derive(Clone, Default)]
struct Answered {
    /// For each of the region's templates, in the order of its files.
    outputs: Vec<Option<Result<Arc<Outcome>, TemplateProblem>>>,
    values: Option<Vec<Result<Value, TemplateProblem>>>,
}

/// What is to be run, and what is known already.
struct Plan<'a> {
    job: Job,
    /// The fleet file behind each template of the job.
    files: Vec<&'a FleetFile>,
    /// For each region, by its place: the cache keys of its outputs and of its gates.
    keys: Vec<(Vec<CacheKey>, CacheKey)>,
    /// For each region, by its place: its templates (indices into the job's), in order.
    templates: Vec<Vec<usize>>,
    /// For each region, by its place: what the cache knows.
    known: Vec<Answered>,
    /// The place in `regions` of each region of the job.
    places: Vec<usize>,
    by_region: FilesByRegion<'a>,
    /// For each region, by its place: what all of it depends on.
    region_keys: Vec<CacheKey>,
    /// For each region, by its place: what it came to when nothing of it was different.
    whole: Vec<Option<Arc<WholeRegion>>>,
}

impl<'a> Plan<'a> {
    fn new(
        loaded: &'a LoadedFleet,
        texts: &Texts,
        regions: &[&LoadedRegion],
        fleet_file: &str,
        cache: Option<&RenderCache>,
        outcomes: &Outcomes<'_>,
        extent: &Extent,
    ) -> Self {
        let mut templates = Vec::new();
        let mut files = Vec::new();
        // For each file of the fleet, by its place: its place in the job.
        let mut jobs: BTreeMap<usize, usize> = BTreeMap::new();
        let mut all_partials = Sha256::new();
        for (place, file) in loaded.files.files.iter().enumerate() {
            if file.usage == FileUse::Plain || extent.leaves_out(&file.path) {
                continue;
            }
            jobs.insert(place, templates.len());
            let is_partial = file.usage == FileUse::Partial;
            if is_partial {
                for part in [file.path.as_bytes(), file.entry.blob.as_bytes()] {
                    all_partials.update(u64::try_from(part.len()).unwrap_or(0).to_be_bytes());
                    all_partials.update(part);
                }
            }
            templates.push(TemplateSource {
                file: file.path.clone(),
                partial: is_partial.then(|| file.name.clone()),
                region: file.region.clone(),
                text: texts.by_path.get(&file.path).cloned().unwrap_or_default(),
            });
            files.push(file);
        }
        let expressions = gates::expressions(&loaded.fleet.gates, &loaded.gate_places, fleet_file);
        let all_partials: [u8; 32] = all_partials.finalize().into();
        let all_expressions = serde_json::to_vec(&expressions).unwrap_or_default();
        // What stands in gates and is no expression changes them too.
        let all_gates =
            serde_json::to_vec(&(&expressions, &loaded.fleet.gates)).unwrap_or_default();
        let mut plan = Self {
            job: Job {
                templates,
                expressions,
                regions: Vec::new(),
            },
            files,
            keys: Vec::new(),
            templates: Vec::new(),
            known: Vec::new(),
            places: Vec::new(),
            by_region: FilesByRegion::new(&loaded.files),
            region_keys: Vec::new(),
            whole: Vec::new(),
        };
        for (index, region) in regions.iter().enumerate() {
            let context = context(&loaded.fleet.name, region);
            let bytes = serde_json::to_vec(&context).unwrap_or_default();
            let seen = key_of(&[&bytes, &all_partials]);
            let name = &region.region.name;
            let region_key = plan.by_region.key_of_region(name, &seen, &all_gates);
            let whole = cache
                .and_then(|cache| cache.region(&region_key))
                .filter(|whole| outcomes.has(whole.tree));
            plan.region_keys.push(region_key);
            if whole.is_some() {
                plan.whole.push(whole);
                plan.keys.push((Vec::new(), CacheKey::default()));
                plan.templates.push(Vec::new());
                plan.known.push(Answered::default());
                continue;
            }
            plan.whole.push(None);
            let own: Vec<usize> = plan
                .by_region
                .of(name)
                .into_iter()
                .filter_map(|place| jobs.get(&place).copied())
                .filter(|template| {
                    plan.files
                        .get(*template)
                        .is_some_and(|file| file.usage == FileUse::Template)
                })
                .collect();
            let output_keys = own
                .iter()
                .filter_map(|template| plan.files.get(*template))
                .map(|file| {
                    key_of(&[
                        b"template",
                        &seen,
                        file.path.as_bytes(),
                        file.name.as_bytes(),
                        file.entry.blob.as_bytes(),
                    ])
                })
                .collect();
            let gates_key = key_of(&[b"gates", &seen, &all_expressions]);
            plan.keys.push((output_keys, gates_key));
            plan.templates.push(own.clone());
            let known = match cache {
                Some(cache) => plan.look_up(index, cache, outcomes),
                None => Answered {
                    outputs: vec![None; own.len()],
                    values: None,
                },
            };
            let open: Vec<usize> = own
                .iter()
                .zip(&known.outputs)
                .filter(|(_, output)| output.is_none())
                .map(|(template, _)| *template)
                .collect();
            if !open.is_empty() || known.values.is_none() {
                plan.places.push(index);
                plan.job.regions.push(RegionJob {
                    region: region.region.name.clone(),
                    context,
                    templates: open,
                    expressions: known.values.is_none(),
                });
            }
            plan.known.push(known);
        }
        plan
    }

    /// A region's answers that the cache has, and whose blobs the store still has.
    fn look_up(&self, index: usize, cache: &RenderCache, outcomes: &Outcomes<'_>) -> Answered {
        let Some((output_keys, gates_key)) = self.keys.get(index) else {
            return Answered::default();
        };
        let values = cache
            .get(gates_key)
            .and_then(|bytes| serde_json::from_slice::<Vec<Value>>(&bytes).ok())
            .filter(|values| values.len() == self.job.expressions.len())
            .map(|values| values.into_iter().map(Ok).collect());
        let outputs = output_keys
            .iter()
            .map(|key| outcomes.cached(&cache.get(key)?).map(Ok))
            .collect();
        Answered { outputs, values }
    }
}

/// Takes the worker's answers as they come, from any thread.
struct Run<'a> {
    plan: &'a Plan<'a>,
    outcomes: &'a Outcomes<'a>,
    cache: Option<&'a RenderCache>,
    done: Mutex<BTreeMap<usize, Answered>>,
}

impl Run<'_> {
    fn take(&self, answer: RegionAnswer) {
        let Some(place) = self.plan.places.get(answer.index).copied() else {
            return;
        };
        let (Some(known), Some((keys, gates_key)), Some(templates)) = (
            self.plan.known.get(place),
            self.plan.keys.get(place),
            self.plan.templates.get(place),
        ) else {
            return;
        };
        let mut answered = known.clone();
        let mut given = answer.outputs.into_iter();
        for (number, slot) in answered.outputs.iter_mut().enumerate() {
            if slot.is_some() {
                continue;
            }
            let file = templates
                .get(number)
                .and_then(|template| self.plan.files.get(*template));
            let (Some(file), Some(output)) = (file, given.next()) else {
                continue;
            };
            *slot = Some(output.map(|text| {
                let outcome = self.outcomes.of(&text, Format::of(&file.name), true);
                if let (Some(cache), Some(key), Some(bytes)) =
                    (self.cache, keys.get(number), outcome.to_cache())
                {
                    cache.put(key, &bytes);
                }
                outcome
            }));
        }
        if answered.values.is_none() {
            let values: Option<Vec<&Value>> = answer
                .values
                .iter()
                .map(|value| value.as_ref().ok())
                .collect();
            if let (Some(cache), Some(Ok(bytes))) =
                (self.cache, values.map(|values| serde_json::to_vec(&values)))
            {
                cache.put(gates_key, &bytes);
            }
            answered.values = Some(answer.values);
        }
        self.done
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(place, answered);
    }
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
    index: usize,
    plan: &Plan<'_>,
    fleet_file: &str,
    answered: Answered,
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
    let templates = plan.templates.get(index)?;
    for (template, output) in templates.iter().zip(answered.outputs) {
        let Some(file) = plan.files.get(*template).copied() else {
            continue;
        };
        match output {
            Some(Ok(outcome)) => {
                let outcome = add(file, outcome, report);
                outcomes_of.insert(&file.name, (file, outcome));
            }
            Some(Err(problem)) => report.template(&texts.by_path, Some(name), &problem),
            None => return None,
        }
    }
    for place in plan.by_region.of(name) {
        let Some(file) = plan
            .by_region
            .get(place)
            .filter(|file| file.usage == FileUse::Plain)
        else {
            continue;
        };
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
