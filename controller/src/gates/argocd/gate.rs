//! The `argocd` gate: lists Applications, lets the table judge those of a region, and does what it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_waves::duration;
use tidegate_waves::fleet::{self, ArgocdCheck};
use tidegate_waves::gate::{Reading, Sample};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::Phase;

use super::coverage::{objects_of, uncovered};
use super::instance::{Instance, InstanceError, Listed};
use super::judged::{Judged, find, said};
use super::{
    Action, BaselineDegraded, Before, Expected, Health, Limits, Memory, OnDrift, OnSuspended,
    PrunePending, SyncStatus, judge, judge_region,
};
use crate::blocking::in_place;
use crate::clock::Clock;
use crate::gates::trees::{BranchRevisions, RegionTrees, RenderedObject};
use crate::gates::{Target, Watch};
use crate::regions::Clusters;
use crate::regions::request::RequestError;
use crate::settings::Argocd;

/// How long it may take to ask Argo CD for something.
const ACTS_WITHIN: Duration = Duration::from_secs(10);

/// What is remembered of a region's Applications from one sample to the next.
#[derive(Debug, Default)]
pub struct RegionMemory {
    /// By name: those that were judged once are judged until the watch ends, even if they are not found any more.
    applications: BTreeMap<String, Memory>,
    /// What was rendered, and for which tree.
    rendered: Option<(Oid, Arc<Vec<RenderedObject>>)>,
}

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
        let mut repositories = vec![repository.to_owned()];
        repositories.extend(
            instances
                .iter()
                .flat_map(|instance| instance.repo_urls.clone()),
        );
        Self {
            instances: instances
                .iter()
                .map(|settings| {
                    let instance = Instance::new(settings.clone(), Arc::clone(clusters));
                    (settings.name.clone(), instance)
                })
                .collect(),
            repositories,
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
            Err(evidence) => return said(Reading::Unknown, evidence),
        };
        let listed = match tokio::time::timeout(watch.timeout, instance.applications()).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => return said(Reading::Unreachable, error.to_string()),
            Err(_) => {
                let evidence = format!("no answer within {}", duration::format(watch.timeout));
                return said(Reading::Unreachable, evidence);
            }
        };
        let now = self.clock.monotonic();
        let judged = in_place(|| self.judge(instance, check, target, watch, &listed, memory, now));
        let judged = match judged {
            Ok(judged) => judged,
            Err(evidence) => return said(Reading::Unknown, evidence),
        };
        if watch.phase == Phase::Before {
            return judged.before();
        }
        // What is said is said, however long it takes to do something about it.
        let acting = self.act_on(instance, &judged, target, watch, &listed, memory, now);
        if tokio::time::timeout(ACTS_WITHIN, acting).await.is_err() {
            tracing::warn!(region = target.region, "Argo CD was not asked in time");
        }
        judged.after()
    }

    /// Does what the verdicts ask for.
    #[expect(clippy::too_many_arguments, reason = "all of one sample, in one place")]
    async fn act_on(
        &self,
        instance: &Instance,
        judged: &Judged,
        target: &Target,
        watch: &Watch,
        listed: &[Listed],
        memory: &mut RegionMemory,
        now: Duration,
    ) {
        // A region that is new, or moves, gets its Application from a list that Argo CD reads every few minutes.
        if judged.lacks_application(listed) || watch.place.moves {
            self.refresh_sets(instance, target).await;
        }
        for (name, verdict) in judged.names.iter().zip(&judged.verdicts) {
            let (Some(action), Some(memory)) = (verdict.act, memory.applications.get_mut(name))
            else {
                continue;
            };
            if let Some(listed) = find(listed, name) {
                act(instance, action, listed, memory, now, target).await;
            }
        }
    }

    async fn refresh_sets(&self, instance: &Instance, target: &Target) {
        let expected = Expected {
            repositories: self.repositories.clone(),
            ..Expected::default()
        };
        let asked = instance
            .refresh_sets(|url| expected.is_our_repository(url))
            .await;
        let region = &target.region;
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

    fn instance(&self, name: Option<&str>) -> Result<&Instance, String> {
        match name {
            Some(name) => self
                .instances
                .get(name)
                .ok_or_else(|| format!("the operator's settings name no Argo CD {name}")),
            None => {
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
        }
    }

    /// What the table says of each of the region's Applications.
    #[expect(
        clippy::too_many_arguments,
        reason = "all of one question, in one place"
    )]
    fn judge(
        &self,
        instance: &Instance,
        check: &ArgocdCheck,
        target: &Target,
        watch: &Watch,
        listed: &[Listed],
        memory: &mut RegionMemory,
        now: Duration,
    ) -> Result<Judged, String> {
        let place = &watch.place;
        let revisions = self
            .trees
            .revisions(&place.branch, &target.region, place.tree, &place.older)
            .map_err(|error| format!("the mirror cannot be read: {}", error.message()))?;
        let rendered = self.rendered(place.tree, memory)?;
        let chosen = self.choose(check, target, watch, listed, &revisions, memory);
        let is_before = watch.phase == Phase::Before;
        let limits = limits(check, watch, is_before);
        let earlier = self.earlier(target, &watch.rollout);
        let mut seen_before = BTreeMap::new();
        let mut verdicts = Vec::new();
        let mut covered = Vec::new();
        for name in &chosen.names {
            let application = find(listed, name).map(|listed| &listed.application);
            let expected = Expected {
                application: name.clone(),
                repositories: self.repositories.clone(),
                branch: place.branch.clone(),
                folder: target.region.clone(),
                objects: application
                    .map(|application| {
                        let own = Expected {
                            repositories: self.repositories.clone(),
                            folder: target.region.clone(),
                            ..Expected::default()
                        };
                        objects_of(&rendered, &own.folders_of(application))
                    })
                    .unwrap_or_default(),
                is_rollback: watch.phase == Phase::GivenBack,
                before: earlier.get(name).cloned(),
                may_sync: instance.settings().sync,
                may_terminate: true,
                move_open: place.moves,
                tip_is_ours: revisions.tip_is_ours(),
            };
            covered.extend(application.map(|application| expected.folders_of(application)));
            // Only what was once the region's own is missed when it is gone.
            let mut passing = Memory::default();
            let memory = if chosen.are_own {
                memory.applications.entry(name.clone()).or_default()
            } else {
                &mut passing
            };
            let verdict = judge(application, &expected, &revisions, &limits, memory, now);
            if let Some(application) = application {
                seen_before.insert(name.clone(), Before::from(application));
            }
            verdicts.push(verdict);
        }
        if is_before {
            self.before
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(target.clone(), (watch.rollout.clone(), seen_before));
        }
        let names = chosen.names;
        let is_healthy = names.iter().all(|name| {
            find(listed, name).is_some_and(|listed| {
                listed.application.health.status == Health::Healthy
                    && listed.application.sync.status == SyncStatus::Synced
            })
        });
        let folders: Vec<String> = covered.into_iter().flatten().collect();
        let region = judge_region(&verdicts, check.applications as usize);
        Ok(Judged {
            region: uncovered(&rendered, &folders, &verdicts).unwrap_or(region),
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
    ) -> Result<Arc<Vec<RenderedObject>>, String> {
        if let Some((known, rendered)) = &memory.rendered
            && *known == tree
        {
            return Ok(Arc::clone(rendered));
        }
        let objects = self
            .trees
            .objects(tree)
            .map_err(|error| error.to_string())?;
        let rendered = Arc::new(objects);
        memory.rendered = Some((tree, Arc::clone(&rendered)));
        Ok(rendered)
    }

    /// The names of the region's Applications: by label, or those that read its folder in our repo. Where some of them
    /// follow its branch, others (of another environment, say) are none of its.
    fn choose(
        &self,
        check: &ArgocdCheck,
        target: &Target,
        watch: &Watch,
        listed: &[Listed],
        revisions: &BranchRevisions,
        memory: &RegionMemory,
    ) -> Chosen {
        let mut names: BTreeSet<String> = memory.applications.keys().cloned().collect();
        if let Some(selector) = &check.selector {
            let selected = listed
                .iter()
                .filter(|listed| selector.matches(&listed.labels));
            names.extend(selected.map(|listed| listed.application.name.clone()));
            return Chosen::own(names);
        }
        let expected = Expected {
            repositories: self.repositories.clone(),
            branch: watch.place.branch.clone(),
            folder: target.region.clone(),
            ..Expected::default()
        };
        let mut others = BTreeSet::new();
        for listed in listed {
            let application = &listed.application;
            if expected.is_followed_by(application, revisions) {
                names.insert(application.name.clone());
            } else if expected.is_read_by(application) {
                others.insert(application.name.clone());
            }
        }
        if names.is_empty() {
            // They show why there is none yet, such as one that follows another branch still.
            return Chosen {
                names: others.into_iter().collect(),
                are_own: false,
            };
        }
        Chosen::own(names)
    }
}

/// Applications to be judged.
struct Chosen {
    names: Vec<String>,
    /// Whether they are the region's own by what they follow, or by their labels.
    are_own: bool,
}

impl Chosen {
    fn own(names: BTreeSet<String>) -> Self {
        Self {
            names: names.into_iter().collect(),
            are_own: true,
        }
    }
}

fn limits(check: &ArgocdCheck, watch: &Watch, is_before: bool) -> Limits {
    let default = Limits::default();
    let mut limits = Limits {
        stable_for: check.stable_for,
        degraded_for: check.degraded_for,
        sync_deadline: check.sync_deadline,
        missing_for: check.missing_for,
        drift_grace: check.drift_grace,
        // Three samples that were missed are a gap, as everywhere.
        longest_gap: default
            .longest_gap
            .max(watch.every.unwrap_or_default().saturating_mul(3)),
        baseline_degraded: match check.baseline_degraded {
            fleet::BaselineDegraded::Hold => BaselineDegraded::Hold,
            fleet::BaselineDegraded::Ignore => BaselineDegraded::Ignore,
        },
        prune_pending: match check.prune_pending {
            fleet::PrunePending::Accept => PrunePending::Accept,
            fleet::PrunePending::Hold => PrunePending::Hold,
        },
        on_drift: match check.on_drift {
            fleet::OnDrift::Hold => OnDrift::Hold,
            fleet::OnDrift::Fail => OnDrift::Fail,
        },
        // Nobody waits long for a comparison within a short `stableFor`.
        refresh_every: default
            .refresh_every
            .min((check.stable_for / 2).max(Duration::from_secs(1))),
        on_suspended: match check.on_suspended {
            fleet::OnSuspended::Hold => OnSuspended::Hold,
            fleet::OnSuspended::Pass => OnSuspended::Pass,
        },
        ..default
    };
    if is_before {
        limits.stable_for = Duration::ZERO;
        limits.degraded_for = Duration::ZERO;
    }
    if watch.phase == Phase::GivenBack {
        limits.op_steal_after = Duration::ZERO;
    }
    limits
}

/// Does what a verdict asks for; what does not work is asked for again by a later one.
async fn act(
    instance: &Instance,
    action: Action,
    listed: &Listed,
    memory: &mut Memory,
    now: Duration,
    target: &Target,
) {
    let application = &listed.application;
    let done = match action {
        Action::Refresh => match instance.refresh(&application.name).await {
            Ok(version) => {
                memory.refresh_requested(&version, now);
                Ok(())
            }
            Err(error) => {
                if is_forbidden(&error) {
                    memory.refresh_refused();
                }
                Err(error)
            }
        },
        Action::Terminate => {
            memory.terminate_requested(now);
            instance.terminate(application).await
        }
        Action::Sync => {
            memory.sync_requested(now);
            instance.sync(application).await
        }
    };
    let (region, name) = (&target.region, &application.name);
    match done {
        Ok(()) => {
            tracing::info!(region, application = name, action = ?action, "asked Argo CD");
        }
        Err(error) => {
            tracing::warn!(region, application = name, action = ?action, %error, "Argo CD was not asked");
        }
    }
}

fn is_forbidden(error: &InstanceError) -> bool {
    matches!(
        error,
        InstanceError::Request {
            source: RequestError::Forbidden(_),
            ..
        }
    )
}
