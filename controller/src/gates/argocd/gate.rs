//! The `argocd` gate: lists Applications, lets the table judge those of a region, and does what it asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_waves::duration;
use tidegate_waves::fleet::ArgocdCheck;
use tidegate_waves::gate::{Reading, Sample};
use tidegate_waves::rollout::Phase;
use tokio::time::{Instant, timeout_at};

use super::instance::{Instance, InstanceError, LIST_IS_NEW_FOR, LIST_SERVES_FOR};
use super::judged::Judged;
use super::look::Look;
use super::region_judge::Judge;
use super::region_memory::RegionMemory;
use crate::blocking::in_turn;
use crate::clock::Clock;
use crate::gates::trees::RegionTrees;
use crate::gates::{Target, Watch};
use crate::regions::Clusters;
use crate::settings::Argocd;

/// How long it may take to ask Argo CD for something.
const ACTS_WITHIN: Duration = Duration::from_secs(10);

/// The most lists that one sample looks for a region's Applications in.
const MOST_LISTS: usize = 3;

/// Reads Argo CDs.
pub struct ArgocdGate {
    instances: BTreeMap<String, Arc<Instance>>,
    judge: Arc<Judge>,
    clock: Arc<dyn Clock>,
}

/// Why a look came to nothing.
enum Unseen {
    /// Argo CD did not answer in time.
    Silent,
    /// Argo CD answered nothing of use.
    Unanswered(InstanceError),
    /// Something is wrong, and this says what.
    Unknown(String),
}

impl From<InstanceError> for Unseen {
    fn from(error: InstanceError) -> Self {
        Self::Unanswered(error)
    }
}

impl From<String> for Unseen {
    fn from(evidence: String) -> Self {
        Self::Unknown(evidence)
    }
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
        let repositories = std::iter::once(repository.to_owned()).chain(named.cloned());
        let instance = |settings: &Argocd| {
            let instance = Instance::new(settings.clone(), Arc::clone(clusters));
            (settings.name.clone(), Arc::new(instance))
        };
        Self {
            instances: instances.iter().map(instance).collect(),
            judge: Arc::new(Judge::new(repositories.collect(), trees)),
            clock,
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
        let deadline = Instant::now() + watch.timeout;
        let (look, judged) = match self.see(check, target, watch, memory, deadline).await {
            Ok(seen) => seen,
            Err(Unseen::Unknown(evidence)) => return Sample::new(Reading::Unknown, evidence),
            Err(Unseen::Unanswered(error)) => {
                return Sample::new(error.reading(), error.to_string());
            }
            Err(Unseen::Silent) => {
                let evidence = format!("no answer within {}", duration::format(watch.timeout));
                return Sample::new(Reading::Unreachable, evidence);
            }
        };
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

    /// What the table says of the region's Applications, each of them as it is now.
    ///
    /// A list tells which they are; only where it does not show them all does it have to be a new one.
    async fn see(
        &self,
        check: &ArgocdCheck,
        target: &Target,
        watch: &Watch,
        memory: &mut RegionMemory,
        deadline: Instant,
    ) -> Result<(Arc<Look>, Judged), Unseen> {
        let instance = self.instance(check.instance.as_deref())?;
        memory.take_answers(&target.region);
        let mut age = LIST_SERVES_FOR;
        for _ in 0..MOST_LISTS {
            let listed = timeout_at(deadline, instance.applications(age))
                .await
                .map_err(|_| Unseen::Silent)??;
            if listed.is_empty() && instance.hides_what_is_forbidden() && age < LIST_SERVES_FOR {
                let name = &instance.settings().name;
                return Err(Unseen::Unknown(format!(
                    "Argo CD {name}: its API shows the token no Application; `tidegate doctor` says what it needs"
                )));
            }
            let look = Arc::new(Look {
                instance: Arc::clone(instance),
                check: check.clone(),
                target: target.clone(),
                watch: watch.clone(),
                listed,
                now: self.clock.monotonic(),
            });
            let question = self.apart(&look, memory, Judge::question).await?;
            if age == LIST_SERVES_FOR && !look.shows_all(&question.chosen) {
                age = LIST_IS_NEW_FOR;
                continue;
            }
            let are_all_there = timeout_at(deadline, look.read(&question.chosen.names, memory))
                .await
                .map_err(|_| Unseen::Silent)??;
            if are_all_there {
                let judge = move |judge: &Judge, look: &Look, memory: &mut RegionMemory| {
                    judge.judge(look, question, memory)
                };
                let judged = self.apart(&look, memory, judge).await;
                return Ok((look, judged));
            }
            // What is gone since it was listed is not in a list that is asked for from now on.
            age = Duration::ZERO;
        }
        Err(Unseen::Unknown(
            "its Applications are deleted and made again all the time".to_owned(),
        ))
    }

    fn instance(&self, name: Option<&str>) -> Result<&Arc<Instance>, String> {
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

    /// Does work that reads git on a thread for such work, with all that it needs.
    async fn apart<T: Send + 'static>(
        &self,
        look: &Arc<Look>,
        memory: &mut RegionMemory,
        work: impl FnOnce(&Judge, &Look, &mut RegionMemory) -> T + Send + 'static,
    ) -> T {
        let (judge, look) = (Arc::clone(&self.judge), Arc::clone(look));
        let mut own = std::mem::take(memory);
        let (own, done) = in_turn(move || {
            let done = work(&judge, &look, &mut own);
            (own, done)
        })
        .await;
        *memory = own;
        done
    }

    /// Does what the verdicts ask for.
    async fn act_on(&self, look: &Look, judged: &Judged, memory: &mut RegionMemory) {
        // A region that is new, or moves, gets its Application from a list that Argo CD reads every few minutes.
        if judged.lacks_application(&look.listed) || look.watch.place.moves {
            self.refresh_sets(look).await;
        }
        for (name, verdict) in judged.names.iter().zip(&judged.verdicts) {
            if let Some(action) = verdict.act {
                look.act(action, name, memory).await;
            }
        }
    }

    async fn refresh_sets(&self, look: &Look) {
        let expected = self.judge.expected(&look.target, &look.watch);
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
