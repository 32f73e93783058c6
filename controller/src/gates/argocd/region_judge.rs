//! Lets the table judge the Applications of a region, by what git says of its tree.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::Phase;

use super::chosen::Chosen;
use super::coverage::{objects_of, skipped, uncovered};
use super::judged::Judged;
use super::look::Look;
use super::region_memory::RegionMemory;
use super::{Before, Expected, Health, Limits, Memory, SyncStatus, judge, judge_region};
use crate::gates::trees::{BranchRevisions, ObjectPlace, RegionTrees};
use crate::gates::{Target, Watch};

/// The rollout that a region's Applications were looked at for before its promotion, and how they were, by name.
type SeenBefore = (String, BTreeMap<String, Before>);

/// Knows the repo, and how regions were before their promotions.
pub(super) struct Judge {
    /// Addresses under which Applications know the repo with the wave branches.
    repositories: Vec<String>,
    trees: RegionTrees,
    /// By gate of a region.
    before: Mutex<BTreeMap<Target, SeenBefore>>,
}

/// Which Applications are a region's, and what they are to be judged by.
pub(super) struct Question {
    pub(super) chosen: Chosen,
    expected: Expected,
    revisions: BranchRevisions,
    rendered: Arc<Vec<ObjectPlace>>,
}

impl Judge {
    /// For the repo that goes by these addresses, whose trees are read there.
    pub(super) fn new(repositories: Vec<String>, trees: RegionTrees) -> Self {
        Self {
            repositories,
            trees,
            before: Mutex::default(),
        }
    }

    /// What is looked for in every Application of a region.
    pub(super) fn expected(&self, target: &Target, watch: &Watch) -> Expected {
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

    /// Which of the listed Applications are the region's, and what they are to be judged by.
    pub(super) fn question(
        &self,
        look: &Look,
        memory: &mut RegionMemory,
    ) -> Result<Question, String> {
        let (target, watch) = (&look.target, &look.watch);
        let place = &watch.place;
        // Before the branch is read, which may then be newer, and not older.
        let listed = self.trees.listings().shown();
        let revisions = self
            .trees
            .revisions(&place.branch, &target.region, place.tree, &place.older)
            .map_err(|error| error.to_string())?;
        let expected = Expected {
            may_sync: look.instance.settings().sync,
            tip_is_ours: revisions.tip_is_ours(),
            listed,
            ..self.expected(target, watch)
        };
        let known = memory.applications.keys();
        let selector = look.check.selector.as_ref();
        Ok(Question {
            chosen: Chosen::of(&look.listed, known, selector, &expected, &revisions),
            rendered: self.rendered(place.tree, memory)?,
            expected,
            revisions,
        })
    }

    /// What the table says of each of them.
    pub(super) fn judge(
        &self,
        look: &Look,
        question: Question,
        memory: &mut RegionMemory,
    ) -> Judged {
        let (target, watch) = (&look.target, &look.watch);
        let Question {
            chosen: Chosen { names, are_own },
            mut expected,
            revisions,
            rendered,
        } = question;
        let RegionMemory {
            applications, read, ..
        } = memory;
        // What is judged was read before this.
        expected.listings_begun = self.trees.listings().begun();
        let limits = Limits::of(&look.check, watch.phase, watch.every.unwrap_or_default());
        let earlier = self.earlier(target, &watch.rollout);
        let mut seen = BTreeMap::new();
        let mut verdicts = Vec::new();
        let mut covered = Vec::new();
        let mut is_healthy = true;
        for name in &names {
            let application = read.newest(&look.listed, name);
            let application = application.map(|listed| &listed.application);
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
        Judged {
            region: uncovered(&rendered, &covered, &verdicts).unwrap_or(region),
            names,
            verdicts,
            is_healthy,
        }
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
}
