//! What is left to be run for a fleet, what is known of it already, and what comes of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tidegate_waves::fleet::Gate;
use tidegate_waves::oid::Oid;

use super::files::FilesByRegion;
use super::outcome::{Outcome, Outcomes};
use super::{Extent, RenderedObject, context, gates};
use crate::cache::{CacheKey, RenderCache, key_of};
use crate::config::{FileUse, FleetFile, LoadedFleet, LoadedRegion};
use crate::manifest::Format;
use crate::worker::{Job, RegionAnswer, RegionJob, TemplateProblem, TemplateSource};

/// What one region came to. While nothing that it is made of changes, nothing of it is looked at again.
#[derive(Debug)]
pub(crate) struct WholeRegion {
    pub(super) tree: Oid,
    pub(super) objects: Arc<Vec<RenderedObject>>,
    pub(super) gates: Vec<Gate>,
    /// The files about which there was something to say, by path.
    pub(super) noted: Vec<(String, Arc<Outcome>)>,
}

type Output = Result<Arc<Outcome>, TemplateProblem>;
type Values = Vec<Result<Value, TemplateProblem>>;

/// What one region's templates and gates gave, as far as it is known.
#[derive(Clone)]
pub(super) struct Answered<'a> {
    /// Each of the region's templates, in the order of its files.
    pub(super) outputs: Vec<(&'a FleetFile, Option<Output>)>,
    pub(super) values: Option<Values>,
}

/// One region's part of the work.
struct RegionWork<'a> {
    /// What all of the region depends on.
    key: CacheKey,
    known: Known<'a>,
}

enum Known<'a> {
    /// Nothing of it is different.
    Whole(Arc<WholeRegion>),
    /// The cache has every answer.
    Complete(Answered<'a>),
    /// The worker is asked for the rest.
    Partial {
        answered: Answered<'a>,
        /// The cache key of each output, and of the gates.
        outputs: Vec<CacheKey>,
        gates: CacheKey,
    },
}

/// All of the work for one render; takes the worker's answers as they come, from any thread.
pub(super) struct Work<'a> {
    /// What the worker is asked for.
    pub(super) job: Job,
    pub(super) files: FilesByRegion<'a>,
    /// The regions in their order.
    regions: Vec<RegionWork<'a>>,
    /// The place of each region of the job among all of them.
    places: Vec<usize>,
    cache: Option<&'a RenderCache>,
    outcomes: &'a Outcomes<'a>,
    done: Mutex<BTreeMap<usize, Answered<'a>>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        loaded: &'a LoadedFleet,
        texts: &BTreeMap<String, String>,
        regions: &[&LoadedRegion],
        fleet_file: &str,
        cache: Option<&'a RenderCache>,
        outcomes: &'a Outcomes<'a>,
        extent: &Extent,
    ) -> Self {
        let mut templates = Vec::new();
        // For each template, by its place among the files: its place in the job.
        let mut in_job: BTreeMap<usize, usize> = BTreeMap::new();
        let mut all_partials = Sha256::new();
        for (place, file) in loaded.files.files.iter().enumerate() {
            if file.usage == FileUse::Plain || extent.leaves_out(&file.path) {
                continue;
            }
            let is_partial = file.usage == FileUse::Partial;
            if is_partial {
                for part in [file.path.as_bytes(), file.entry.blob.as_bytes()] {
                    all_partials.update(u64::try_from(part.len()).unwrap_or(0).to_be_bytes());
                    all_partials.update(part);
                }
            } else {
                in_job.insert(place, templates.len());
            }
            templates.push(TemplateSource {
                file: file.path.clone(),
                partial: is_partial.then(|| file.name.clone()),
                region: file.region.clone(),
                text: texts.get(&file.path).cloned().unwrap_or_default(),
            });
        }
        let expressions = gates::expressions(&loaded.fleet.gates, &loaded.gate_places, fleet_file);
        let all_partials: CacheKey = all_partials.finalize().into();
        let all_expressions = serde_json::to_vec(&expressions).unwrap_or_default();
        // What stands in gates and is no expression changes them too.
        let all_gates =
            serde_json::to_vec(&(&expressions, &loaded.fleet.gates)).unwrap_or_default();
        let mut work = Self {
            job: Job {
                templates,
                expressions,
                regions: Vec::new(),
            },
            files: FilesByRegion::new(&loaded.files),
            regions: Vec::new(),
            places: Vec::new(),
            cache,
            outcomes,
            done: Mutex::default(),
        };
        for (place, region) in regions.iter().enumerate() {
            let name = &region.region.name;
            let context = context(&loaded.fleet.name, region);
            let bytes = serde_json::to_vec(&context).unwrap_or_default();
            let seen = key_of(&[&bytes, &all_partials]);
            let key = work.files.key_of_region(name, &seen, &all_gates);
            let whole = cache
                .and_then(|cache| cache.region(&key))
                .filter(|whole| outcomes.has(whole.tree));
            let known = if let Some(whole) = whole {
                Known::Whole(whole)
            } else {
                let own: Vec<(usize, &FleetFile)> = work
                    .files
                    .of(name)
                    .into_iter()
                    .filter_map(|place| Some((*in_job.get(&place)?, work.files.get(place)?)))
                    .collect();
                let gates = key_of(&[b"gates", &seen, &all_expressions]);
                let (known, job) = work.region(name, context, &own, &seen, gates);
                if let Some(job) = job {
                    work.places.push(place);
                    work.job.regions.push(job);
                }
                known
            };
            work.regions.push(RegionWork { key, known });
        }
        work
    }

    /// What the cache knows of a region's own templates and its gates, and what is left to be run.
    fn region(
        &self,
        name: &str,
        context: Value,
        own: &[(usize, &'a FleetFile)],
        seen: &CacheKey,
        gates: CacheKey,
    ) -> (Known<'a>, Option<RegionJob>) {
        let outputs: Vec<CacheKey> = own
            .iter()
            .map(|(_, file)| {
                key_of(&[
                    b"template",
                    seen,
                    file.path.as_bytes(),
                    file.name.as_bytes(),
                    file.entry.blob.as_bytes(),
                ])
            })
            .collect();
        let answered = Answered {
            outputs: own
                .iter()
                .zip(&outputs)
                .map(|((_, file), key)| (*file, self.cached_output(key)))
                .collect(),
            values: self.cached_values(&gates),
        };
        let open: Vec<usize> = own
            .iter()
            .zip(&answered.outputs)
            .filter(|(_, (_, output))| output.is_none())
            .map(|((template, _), _)| *template)
            .collect();
        if open.is_empty() && answered.values.is_some() {
            return (Known::Complete(answered), None);
        }
        let job = RegionJob {
            region: name.to_owned(),
            context,
            templates: open,
            expressions: answered.values.is_none(),
        };
        let known = Known::Partial {
            answered,
            outputs,
            gates,
        };
        (known, Some(job))
    }

    /// An output that the cache has, and whose blob the store still has.
    fn cached_output(&self, key: &CacheKey) -> Option<Output> {
        self.outcomes.cached(&self.cache?.get(key)?).map(Ok)
    }

    fn cached_values(&self, key: &CacheKey) -> Option<Values> {
        let bytes = self.cache?.get(key)?;
        let values: Vec<Value> = serde_json::from_slice(&bytes).ok()?;
        (values.len() == self.job.expressions.len()).then(|| values.into_iter().map(Ok).collect())
    }

    /// Takes what the worker says of a region.
    pub(super) fn take(&self, answer: RegionAnswer) {
        let Some(place) = self.places.get(answer.index).copied() else {
            return;
        };
        let Some(Known::Partial {
            answered,
            outputs,
            gates,
        }) = self.regions.get(place).map(|region| &region.known)
        else {
            return;
        };
        let mut answered = answered.clone();
        let mut given = answer.outputs.into_iter();
        for ((file, slot), key) in answered.outputs.iter_mut().zip(outputs) {
            if slot.is_some() {
                continue;
            }
            let Some(output) = given.next() else { break };
            *slot = Some(output.map(|text| {
                let outcome = self.outcomes.of(&text, Format::of(&file.name), true);
                if let (Some(cache), Some(bytes)) = (self.cache, outcome.to_cache()) {
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
                cache.put(gates, &bytes);
            }
            answered.values = Some(answer.values);
        }
        self.done
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(place, answered);
    }

    /// A region of which nothing is different.
    pub(super) fn whole(&self, place: usize) -> Option<&WholeRegion> {
        match &self.regions.get(place)?.known {
            Known::Whole(whole) => Some(whole),
            Known::Complete(_) | Known::Partial { .. } => None,
        }
    }

    /// What is known of a region that is to be put together; nothing if the worker said nothing of it.
    pub(super) fn answered(&self, place: usize) -> Option<Answered<'a>> {
        match &self.regions.get(place)?.known {
            Known::Whole(_) => None,
            Known::Complete(answered) => Some(answered.clone()),
            Known::Partial { .. } => self
                .done
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&place),
        }
    }

    /// Remembers a region that was put together.
    pub(super) fn keep(&self, place: usize, whole: WholeRegion) {
        if let (Some(cache), Some(region)) = (self.cache, self.regions.get(place)) {
            cache.put_region(region.key, Arc::new(whole));
        }
    }

    /// The files that a region gets, in their order.
    pub(super) fn files_of(&self, region: &str) -> impl Iterator<Item = &'a FleetFile> {
        self.files
            .of(region)
            .into_iter()
            .filter_map(|place| self.files.get(place))
    }
}
