//! The `argocd` gate: lists Applications, lets the table judge those of a region, and does what it asks for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_waves::duration;
use tidegate_waves::fleet::ArgocdCheck;
use tidegate_waves::gate::{Reading, Sample};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::Phase;
use tokio::time::{Instant, timeout_at};

use super::chosen::Chosen;
use super::coverage::{objects_of, skipped, uncovered};
use super::instance::{Instance, InstanceError};
use super::judged::Judged;
use super::look::Look;
use super::region_memory::RegionMemory;
use super::{Before, Expected, Health, Kind, Limits, Memory, SyncStatus, judge, judge_region};
use crate::blocking::in_place;
use crate::clock::Clock;
use crate::gates::trees::{ObjectPlace, RegionTrees};
use crate::gates::{Target, Watch};
use crate::regions::Clusters;
use crate::settings::Argocd;

/// How long it may take to ask Argo CD for something.
const ACTS_WITHIN: Duration = Duration::from_secs(10);

/// The rollout that a region's Applications were looked at for before its promotion, and how they were, by name.
type SeenBefore = (String, BTreeMap<String, Before>);

/// Reads Argo CDs.
pub struct ArgocdGate {
    instances: BTreeMap<String, Instance>,
    /// Addresses under which Applications know the repo with the wave branches.
    repositories: Vec<String>,
    trees: RegionTrees,
    clock: Arc<dyn Clock>,
    /// By gate of a region.
    before: Mutex<BTreeMap<Target, SeenBefore>>,
}

impl ArgocdGate {
    /// A gate that asks these Argo CDs for Applications of a repo, which goes by `repository` and what they call it.
    #[must_use]
    pub fn new(
        instances: &[Argocd],
        clusters: &Arc<Clusters>,
        repository: &str,
        trees: RegionTrees,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let named = instances.iter().flat_map(|settings| &settings.repo_urls);
        let instance = |settings: &Argocd| Instance::new(settings.clone(), Arc::clone(clusters));
        Self {
            repositories: std::iter::once(repository.to_owned())
                .chain(named.cloned())
                .collect(),
            instances: instances
                .iter()
                .map(|settings| (settings.name.clone(), instance(settings)))
                .collect(),
            trees,
            clock,
            before: Mutex::default(),
        }
    }

    /// One sample: what the region's Applications say now.
    pub async fn sample(
        &self,
        check: &ArgocdCheck,
        target: &Target,
        watch: &Watch,
        memory: &mut RegionMemory,
    ) -> Sample {
        let instance = match self.instance(check.instance.as_deref()) {
            Ok(instance) => instance,
            Err(evidence) => return Sample::new(Reading::Unknown, evidence),
        };
        let deadline = Instant::now() + watch.timeout;
        let unreachable = |error: Option<InstanceError>| {
            let no_answer = || format!("no answer within {}", duration::format(watch.timeout));
            let evidence = error.map_or_else(no_answer, |error| error.to_string());
            Sample::new(Reading::Unreachable, evidence)
        };
        let listed = match timeout_at(deadline, instance.applications()).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => return unreachable(Some(error)),
            Err(_) => return unreachable(None),
        };
        if listed.is_empty() && instance.lists_may_lag() {
            let name = &instance.settings().name;
            let evidence = format!(
                "Argo CD {name}: its API shows the token no Application; `tidegate doctor` says what it needs"
            );
            return Sample::new(Reading::Unknown, evidence);
        }
        memory.take_answers(&target.region);
        let look = Look {
            instance,
            check,
            target,
            watch,
            listed: &listed,
            now: self.clock.monotonic(),
        };
        let mut judged = match in_place(|| self.judge(&look, memory)) {
            Ok(judged) => judged,
            Err(evidence) => return Sample::new(Reading::Unknown, evidence),
        };
        // What decides must be so now, and not only have been so when it was listed.
        let decides =
            watch.phase == Phase::Before || matches!(judged.region.kind, Kind::Pass | Kind::Fail);
        if decides && instance.lists_may_lag() {
            match timeout_at(deadline, look.read_anew(&judged.names, memory)).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => match in_place(|| self.judge(&look, memory)) {
                    Ok(newer) => judged = newer,
                    Err(evidence) => return Sample::new(Reading::Unknown, evidence),
                },
                Ok(Err(error)) => return unreachable(Some(error)),
                Err(_) => return unreachable(None),
            }
        }
        if watch.phase == Phase::Before {
            return judged.before();
        }
        // What is said is said, however long it takes to do something about it.
        let acting = self.act_on(&look, &judged, memory);
        if tokio::time::timeout(ACTS_WITHIN, acting).await.is_err() {
            tracing::warn!(region = target.region, "Argo CD was not asked in time");
        }
        judged.after()
    }

    fn instance(&self, name: Option<&str>) -> Result<&Instance, String> {
        if let Some(name) = name {
            return self
                .instances
                .get(name)
                .ok_or_else(|| format!("the operator's settings name no Argo CD {name}"));
        }
        let mut all = self.instances.values();
        match (all.next(), all.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err("the operator's settings name no Argo CD".to_owned()),
            (Some(_), Some(_)) => Err(
                "the operator's settings name several Argo CDs; the gate has to say which `instance`"
                    .to_owned(),
            ),
        }
    }

    /// What is looked for in every Application of a region.
    fn expected(&self, target: &Target, watch: &Watch) -> Expected {
        Expected {
            repositories: self.repositories.clone(),
            branch: watch.place.branch.clone(),
            folder: target.region.clone(),
            is_rollback: watch.phase == Phase::GivenBack,
            may_terminate: true,
            move_open: watch.place.moves,
            ..Expected::default()
        }
    }

    /// What the table says of each of the region's Applications.
    fn judge(&self, look: &Look<'_>, memory: &mut RegionMemory) -> Result<Judged, String> {
        let (target, watch, listed) = (look.target, look.watch, look.listed);
        let place = &watch.place;
        let revisions = self
            .trees
            .revisions(&place.branch, &target.region, place.tree, &place.older)
            .map_err(|error| error.to_string())?;
        let rendered = self.rendered(place.tree, memory)?;
        let mut expected = Expected {
            may_sync: look.instance.settings().sync,
            tip_is_ours: revisions.tip_is_ours(),
            ..self.expected(target, watch)
        };
        let RegionMemory {
            applications, read, ..
        } = memory;
        let known = applications.keys();
        let selector = look.check.selector.as_ref();
        let Chosen { names, are_own } = Chosen::of(listed, known, selector, &expected, &revisions);
        let limits = Limits::of(look.check, watch.phase, watch.every.unwrap_or_default());
        let earlier = self.earlier(target, &watch.rollout);
        let mut seen = BTreeMap::new();
        let mut verdicts = Vec::new();
        let mut covered = Vec::new();
        let mut is_healthy = true;
        for name in &names {
            let application = read.newest(listed, name).map(|listed| &listed.application);
            let folders = application
                .map(|application| expected.folders_of(application))
                .unwrap_or_default();
            expected.application.clone_from(name);
            expected.objects = objects_of(&rendered, &folders);
            expected.skipped = skipped(&rendered, &folders);
            expected.before = earlier.get(name).cloned();
            covered.extend(folders);
            // Only what was once the region's own is missed when it is gone.
            let mut passing = Memory::default();
            let memory = if are_own {
                applications.entry(name.clone()).or_default()
            } else {
                &mut passing
            };
            verdicts.push(judge(
                application,
                &expected,
                &revisions,
                &limits,
                memory,
                look.now,
            ));
            is_healthy &= application.is_some_and(|application| {
                application.health.status == Health::Healthy
                    && application.sync.status == SyncStatus::Synced
            });
            seen.extend(application.map(|application| (name.clone(), Before::from(application))));
        }
        if watch.phase == Phase::Before {
            self.before
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(target.clone(), (watch.rollout.clone(), seen));
        }
        let region = judge_region(&verdicts, look.check.applications as usize);
        Ok(Judged {
            region: uncovered(&rendered, &covered, &verdicts).unwrap_or(region),
            names,
            verdicts,
            is_healthy,
        })
    }

    /// How the region's Applications were before the promotion, if that was seen.
    fn earlier(&self, target: &Target, rollout: &str) -> BTreeMap<String, Before> {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before
            .get(target)
            .filter(|(of, _)| of == rollout)
            .map(|(_, before)| before.clone())
            .unwrap_or_default()
    }

    /// What was rendered for the region; read from git once for each tree.
    fn rendered(
        &self,
        tree: Oid,
        memory: &mut RegionMemory,
    ) -> Result<Arc<Vec<ObjectPlace>>, String> {
        if let Some((known, rendered)) = &memory.rendered
            && *known == tree
        {
            return Ok(Arc::clone(rendered));
        }
        let objects = self
            .trees
            .objects(tree)
            .map_err(|error| error.to_string())?;
        let places = objects.into_iter().map(|object| object.place);
        let rendered = Arc::new(places.collect());
        memory.rendered = Some((tree, Arc::clone(&rendered)));
        Ok(rendered)
    }

    /// Does what the verdicts ask for.
    async fn act_on(&self, look: &Look<'_>, judged: &Judged, memory: &mut RegionMemory) {
        // A region that is new, or moves, gets its Application from a list that Argo CD reads every few minutes.
        if judged.lacks_application(look.listed) || look.watch.place.moves {
            self.refresh_sets(look).await;
        }
        for (name, verdict) in judged.names.iter().zip(&judged.verdicts) {
            if let Some(action) = verdict.act {
                look.act(action, name, memory).await;
            }
        }
    }

    async fn refresh_sets(&self, look: &Look<'_>) {
        let expected = self.expected(look.target, look.watch);
        let asked = look
            .instance
            .refresh_sets(|url| expected.is_our_repository(url))
            .await;
        let region = &look.target.region;
        match asked {
            Ok(names) if names.is_empty() => {}
            Ok(names) => {
                tracing::info!(region, sets = ?names, "asked Argo CD to generate its Applications anew");
            }
            Err(error) => {
                tracing::warn!(region, %error, "Argo CD was not asked to generate its Applications anew");
            }
        }
    }
}
