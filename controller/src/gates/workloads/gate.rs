//! The `workloads` gate: asks a region's API server for what its tree wants, and lets the rules judge that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tidegate_waves::duration;
use tidegate_waves::fleet::WorkloadsCheck;
use tidegate_waves::gate::{Reading as Sampled, Sample};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::Phase;

use super::resources::{Resource, Resources};
use super::{
    Baseline, Kind, Limits, Listing, Live, Memory, Owned, Pod, Reading, Related, Snapshot, Verdict,
    Wanted, judge,
};
use crate::blocking::in_turn;
use crate::clock::Clock;
use crate::gates::object_key::ObjectKey;
use crate::gates::trees::{RegionTrees, RenderedObject};
use crate::gates::{Target, Watch};
use crate::regions::Clusters;
use crate::regions::request::{self, RequestError};

/// From so many objects of one kind and namespace on, all of them are listed at once.
const LISTED_FROM: usize = 4;

/// What is remembered of a region from one sample to the next.
#[derive(Debug, Default)]
pub struct RegionMemory {
    rules: Memory,
    /// When the watch took its first sample.
    begun: Option<Duration>,
    /// What was rendered, by tree.
    rendered: BTreeMap<Oid, Arc<Vec<Rendered>>>,
    resources: Resources,
}

/// One object that was rendered.
#[derive(Debug)]
struct Rendered {
    api_version: String,
    kind: String,
    wanted: Wanted,
}

/// Reads regions' clusters.
pub struct WorkloadsGate {
    clusters: Arc<Clusters>,
    trees: RegionTrees,
    clock: Arc<dyn Clock>,
    /// By gate of a region: the rollout, and what was wrong before its promotion.
    baselines: Mutex<BTreeMap<Target, (String, Baseline)>>,
}

impl WorkloadsGate {
    /// A gate over these clusters.
    #[must_use]
    pub fn new(clusters: Arc<Clusters>, trees: RegionTrees, clock: Arc<dyn Clock>) -> Self {
        Self {
            clusters,
            trees,
            clock,
            baselines: Mutex::default(),
        }
    }

    /// One sample: whether what the tree wants is there and healthy.
    pub async fn sample(
        &self,
        check: &WorkloadsCheck,
        target: &Target,
        watch: &Watch,
        memory: &mut RegionMemory,
    ) -> Sample {
        let asked = tokio::time::timeout(watch.timeout, self.ask(check, target, watch, memory));
        asked.await.unwrap_or_else(|_| {
            let evidence = format!("no answer within {}", duration::format(watch.timeout));
            Sample::new(Sampled::Unreachable, evidence)
        })
    }

    async fn ask(
        &self,
        check: &WorkloadsCheck,
        target: &Target,
        watch: &Watch,
        memory: &mut RegionMemory,
    ) -> Sample {
        let place = &watch.place;
        let client = match self.clusters.client(&place.cluster).await {
            Ok(client) => client,
            Err(error) => return Sample::new(error.reading(), error.to_string()),
        };
        let trees = std::iter::once(place.tree).chain(place.older.iter().copied());
        let rendered = match self.rendered(trees, memory).await {
            Ok(rendered) => rendered,
            Err(evidence) => return Sample::new(Sampled::Unknown, evidence),
        };
        let Some((newest, older)) = rendered.split_first() else {
            return Sample::new(Sampled::Unknown, "no tree is known".to_owned());
        };
        let asked = Asking {
            client: &client,
            namespace: &check.namespace,
            resources: &mut memory.resources,
        };
        let (wanted, older, live) = match asked.look(newest, older).await {
            Ok(found) => found,
            Err(error) => {
                self.clusters.failed(&place.cluster, &error);
                return Sample::new(error.reading(), error.to_string());
            }
        };
        let now = self.clock.monotonic();
        let limits = Limits::of(check, watch.every.unwrap_or_default());
        let mut baselines = self
            .baselines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (rollout, baseline) = baselines.entry(target.clone()).or_default();
        if *rollout != watch.rollout {
            rollout.clone_from(&watch.rollout);
            *baseline = Baseline::default();
        }
        if watch.phase == Phase::Before {
            let limits = Limits {
                stable_for: Duration::ZERO,
                ..limits
            };
            return read(&baseline.look(&wanted, &live, &limits, &mut memory.rules, now));
        }
        // Judged anew, a region's restarts count from now on.
        let forgotten = (watch.anew > 0).then(|| baseline.without_restarts());
        let mut verdict = judge(
            &wanted,
            &older,
            &live,
            &limits,
            &mut memory.rules,
            forgotten.as_ref().unwrap_or(baseline),
            now,
        );
        // Where no older tree of ours could run, this one is what was seen.
        verdict.proven |= older.is_empty();
        let begun = *memory.begun.get_or_insert(now);
        let mut sample = read(&verdict);
        if sample.reading == (Sampled::Healthy { proven: false })
            && now.saturating_sub(begun) < watch.unproven_for
        {
            sample.reading = Sampled::Progressing;
            sample.evidence = format!(
                "nothing proves that this revision runs; healthy counts after {}",
                duration::format(watch.unproven_for)
            );
        }
        sample
    }

    /// What was rendered for these trees; read from git once for each.
    async fn rendered(
        &self,
        trees: impl Iterator<Item = Oid>,
        memory: &mut RegionMemory,
    ) -> Result<Vec<Arc<Vec<Rendered>>>, String> {
        let mut all = Vec::new();
        for tree in trees {
            if let Some(known) = memory.rendered.get(&tree) {
                all.push(Arc::clone(known));
                continue;
            }
            let of_fleet = self.trees.clone();
            let rendered = in_turn(move || of_fleet.objects(tree).map(rendered)).await;
            let rendered = Arc::new(rendered.map_err(|error| error.to_string())?);
            memory.rendered.insert(tree, Arc::clone(&rendered));
            all.push(rendered);
        }
        Ok(all)
    }
}

/// What is looked for in a cluster of the objects of a tree.
fn rendered(objects: Vec<RenderedObject>) -> Vec<Rendered> {
    let mut all = Vec::new();
    for object in objects {
        // What the server names itself cannot be looked for.
        let Ok(wanted) = Wanted::read(&object.manifest) else {
            continue;
        };
        if object.place.is_generated {
            continue;
        }
        let text = |field: &str| {
            let text = object.manifest.get(field).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        all.push(Rendered {
            api_version: text("apiVersion"),
            kind: text("kind"),
            wanted,
        });
    }
    all
}

/// One look at a cluster.
struct Asking<'a> {
    client: &'a Client,
    /// Of objects that name none.
    namespace: &'a str,
    resources: &'a mut Resources,
}

/// What the newest tree wants, what each older one does, and what the cluster has.
type Looked = (Vec<Wanted>, Vec<Vec<Wanted>>, Live);

impl Asking<'_> {
    /// Reads everything that the rules need. Only what goes wrong with the whole cluster is an error; what one object or
    /// list lacks is for the rules.
    async fn look(
        self,
        newest: &Arc<Vec<Rendered>>,
        older: &[Arc<Vec<Rendered>>],
    ) -> Result<Looked, RequestError> {
        let mut live = Live::default();
        let mut wanted = Vec::new();
        let mut places: BTreeMap<(Resource, Option<String>), BTreeSet<String>> = BTreeMap::new();
        for rendered in newest.iter() {
            let found = self
                .resources
                .find(self.client, &rendered.api_version, &rendered.kind)
                .await;
            let resource = match found {
                Ok(Some(resource)) => resource,
                Ok(None) => {
                    let key = rendered.wanted.key().clone();
                    let why = format!(
                        "the cluster has no kind {} in {}",
                        rendered.kind, rendered.api_version
                    );
                    live.objects.insert(key, Reading::Unread(why));
                    wanted.push(rendered.wanted.clone());
                    continue;
                }
                Err(error) if is_of_all(&error) => return Err(error),
                Err(error) => {
                    let key = rendered.wanted.key().clone();
                    live.objects.insert(key, Reading::Unread(error.to_string()));
                    wanted.push(rendered.wanted.clone());
                    continue;
                }
            };
            let own = self.placed(rendered, &resource);
            let key = own.key().clone();
            let place = (resource, key.namespace.clone());
            places.entry(place).or_default().insert(key.name);
            wanted.push(own);
        }
        let mut before = Vec::new();
        for tree in older {
            let mut of_tree = Vec::new();
            for rendered in tree.iter() {
                let found = self
                    .resources
                    .find(self.client, &rendered.api_version, &rendered.kind)
                    .await?;
                of_tree.push(match found {
                    Some(resource) => self.placed(rendered, &resource),
                    None => rendered.wanted.clone(),
                });
            }
            before.push(of_tree);
        }
        // What only an older tree has must be seen, if it is still there.
        let manifests: Vec<&Wanted> = wanted.iter().chain(before.iter().flatten()).collect();
        let mut related = BTreeSet::new();
        for ((resource, namespace), names) in &places {
            self.read_objects(resource, namespace.as_deref(), names, &manifests, &mut live)
                .await?;
            if resource.has_pods()
                && let Some(namespace) = namespace
            {
                related.insert(namespace.clone());
            }
        }
        for namespace in related {
            let found = self.related(&namespace).await?;
            live.related.insert(namespace, found);
        }
        Ok((wanted, before, live))
    }

    fn placed(&self, rendered: &Rendered, resource: &Resource) -> Wanted {
        let wanted = rendered.wanted.clone();
        if resource.is_namespaced {
            wanted.in_namespace(self.namespace)
        } else {
            wanted.without_namespace()
        }
    }

    /// Reads objects of one kind in one namespace.
    async fn read_objects(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        names: &BTreeSet<String>,
        manifests: &[&Wanted],
        live: &mut Live,
    ) -> Result<(), RequestError> {
        let key = |name: &str| ObjectKey {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        };
        let narrowed = |value: &Value| {
            let snapshot = Snapshot::read(value)?;
            let of_it: Vec<&Wanted> = manifests
                .iter()
                .copied()
                .filter(|wanted| wanted.key() == snapshot.key())
                .collect();
            Some(Reading::Found(Box::new(snapshot.narrowed(&of_it))))
        };
        // Other Secrets of a namespace are nobody's business here, and may be large.
        if names.len() < LISTED_FROM || resource.is_secret() {
            for name in names {
                let path = resource.path(namespace, Some(name));
                let reading = match request::get(self.client, &path).await {
                    Ok(Some(value)) => {
                        narrowed(&value).unwrap_or_else(|| Reading::Unread(UNREADABLE.to_owned()))
                    }
                    Ok(None) => Reading::Absent,
                    Err(error) if is_of_all(&error) => return Err(error),
                    Err(error) => Reading::Unread(error.to_string()),
                };
                live.objects.insert(key(name), reading);
            }
            return Ok(());
        }
        let path = resource.path(namespace, None);
        let wanted = |mut value: Value| {
            let name = value
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .filter(|name| names.contains(*name))?
                .to_owned();
            // The items of a list do not name their kind.
            if let Some(object) = value.as_object_mut() {
                object.insert("kind".to_owned(), resource.kind.clone().into());
                object.insert("apiVersion".to_owned(), resource.api_version().into());
            }
            let reading =
                narrowed(&value).unwrap_or_else(|| Reading::Unread(UNREADABLE.to_owned()));
            Some((name, reading))
        };
        match request::list_of(self.client, &path, "", wanted).await {
            Ok(found) => {
                for name in names {
                    live.objects.insert(key(name), Reading::Absent);
                }
                for (name, reading) in found {
                    live.objects.insert(key(&name), reading);
                }
            }
            Err(error) if is_of_all(&error) => return Err(error),
            Err(error) => {
                for name in names {
                    live.objects
                        .insert(key(name), Reading::Unread(error.to_string()));
                }
            }
        }
        Ok(())
    }

    /// What belongs to the workloads of a namespace.
    async fn related(&self, namespace: &str) -> Result<Related, RequestError> {
        let namespace = request::escaped(namespace);
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let sets = format!("/apis/apps/v1/namespaces/{namespace}/replicasets");
        let revisions = format!("/apis/apps/v1/namespaces/{namespace}/controllerrevisions");
        Ok(Related {
            pods: self.listing(&pods, Pod::read).await?,
            replica_sets: self.listing(&sets, Owned::read).await?,
            revisions: self.listing(&revisions, Owned::read).await?,
        })
    }

    async fn listing<T>(
        &self,
        path: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Listing<T>, RequestError> {
        match request::list_of(self.client, path, "", |object| read(&object)).await {
            Ok(read) => Ok(Listing::Read(read)),
            Err(error) if is_of_all(&error) => Err(error),
            Err(error) => Ok(Listing::Failed(error.to_string())),
        }
    }
}

const UNREADABLE: &str = "the answer is no object";

/// Whether an error would come to any question that is asked of this cluster.
fn is_of_all(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::Unauthorized
            | RequestError::TooManyRequests { .. }
            | RequestError::EgressDenied(_)
            | RequestError::Unreachable(_)
    )
}

fn read(verdict: &Verdict) -> Sample {
    let reading = match verdict.kind {
        Kind::Healthy => Sampled::Healthy {
            proven: verdict.proven,
        },
        Kind::Progressing => Sampled::Progressing,
        Kind::Stale => Sampled::Stale,
        Kind::Unknown => Sampled::Unknown,
        Kind::Sick => Sampled::Sick,
        Kind::Fail => Sampled::Bad,
    };
    Sample::new(reading, verdict.evidence.clone())
}
