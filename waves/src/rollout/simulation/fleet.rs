//! What people do in the world, and what their commits mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::world::{Commit, Files, MAIN, Source, World, id, wave_ref};
use crate::fleet::{
    Exclusion, Gate, GateCheck, Guards, HttpCheck, HttpExpect, OnFailure, OnUnreachable,
    RevertPolicy, RevertSource, Sampling, WavePolicy, WorkloadsCheck,
};
use crate::oid::Oid;
use crate::plan::{ExcludedRegion, FleetPolicy, PlannedRegion, PlannedWave, Wanted};
use crate::rollout::{
    Candidate, CandidateOutcome, FleetState, QuarantineFact, Request, RevertFacts, RevertResult,
    SourceCommit, ValidCandidate, Verb,
};

/// Waves and policy.
#[derive(Debug, Clone)]
pub struct Spec {
    pub waves: Vec<(String, Vec<String>, WavePolicy)>,
    pub excluded: BTreeSet<String>,
    pub gated: bool,
    /// Whether there is a second gate, `workloads`, of another type.
    pub doubly_gated: bool,
    pub sampling: Sampling,
    pub policy: FleetPolicy,
}

impl Spec {
    /// Three waves of one, two and two regions; one gate, asked every 10 s; 30 s of bake.
    pub fn small() -> Self {
        let wave = |name: &str, regions: &[&str]| {
            (
                name.to_owned(),
                regions.iter().map(|region| (*region).to_owned()).collect(),
                WavePolicy {
                    bake: Duration::from_secs(30),
                    progress_deadline: Duration::from_secs(300),
                    gates: vec!["healthz".to_owned()],
                    ..WavePolicy::default()
                },
            )
        };
        Self {
            waves: vec![
                wave("canary", &["r0"]),
                wave("pilot", &["r1", "r2"]),
                wave("broad", &["r3", "r4"]),
            ],
            excluded: BTreeSet::new(),
            gated: true,
            doubly_gated: false,
            sampling: Sampling {
                settle: Some(Duration::ZERO),
                ..Sampling::default()
            },
            policy: FleetPolicy {
                gates: Vec::new(),
                on_failure: OnFailure::Revert,
                on_unreachable: OnUnreachable::Hold,
                revert: RevertPolicy {
                    source: RevertSource::Commit,
                },
                guards: Guards::default(),
            },
        }
    }

    pub fn wave(mut self, name: &str, change: impl FnOnce(&mut WavePolicy)) -> Self {
        if let Some((_, _, policy)) = self.waves.iter_mut().find(|(wave, ..)| wave == name) {
            change(policy);
        }
        self
    }

    pub fn every_wave(mut self, change: impl Fn(&mut WavePolicy)) -> Self {
        for (_, _, policy) in &mut self.waves {
            change(policy);
        }
        self
    }

    pub fn members(mut self, name: &str, regions: &[&str]) -> Self {
        if let Some((_, members, _)) = self.waves.iter_mut().find(|(wave, ..)| wave == name) {
            *members = regions.iter().map(|region| (*region).to_owned()).collect();
        }
        self
    }
}

impl World {
    pub fn head(&self) -> Option<Oid> {
        self.refs.get(MAIN).copied()
    }

    /// Commits to the config branch: the head's files with these changed (an empty text removes one).
    pub fn commit(&mut self, changes: &[(&str, &str)]) -> Oid {
        self.commit_fixing(changes, &[])
    }

    pub fn commit_fixing(&mut self, changes: &[(&str, &str)], fixes: &[Oid]) -> Oid {
        let parent = self.head();
        let mut files = parent.map_or_else(Files::new, |head| self.sources[&head].files.clone());
        for (path, text) in changes {
            if text.is_empty() {
                files.remove(*path);
            } else {
                files.insert((*path).to_owned(), (*text).to_owned());
            }
        }
        self.add_source(Source {
            parent,
            files,
            fixes: fixes.to_vec(),
            reverts: None,
        })
    }

    pub fn add_source(&mut self, source: Source) -> Oid {
        let new = self.store_source(source);
        self.refs.insert(MAIN.to_owned(), new);
        new
    }

    pub fn store_source(&mut self, source: Source) -> Oid {
        let new = id(&(
            "source",
            self.sources.len(),
            source.parent,
            &source.files,
            &source.reverts,
        ));
        self.sources.insert(new, source);
        new
    }

    /// Replaces the config branch by a commit without history.
    pub fn rewrite_main(&mut self, changes: &[(&str, &str)]) -> Oid {
        self.refs.remove(MAIN);
        self.damaged.insert(MAIN.to_owned());
        self.commit(changes)
    }

    /// Adds a spec; gives what `spec` must say to mean it.
    pub fn spec(&mut self, spec: Spec) -> String {
        self.specs.push(spec);
        (self.specs.len() - 1).to_string()
    }

    /// Somebody pushes to a wave branch: this tree for this region (`None` removes it, `""` changes nothing).
    pub fn drift(&mut self, wave: &str, region: &str, tree: Option<Oid>) -> Oid {
        let reference = wave_ref(wave);
        let parent = self.refs.get(&reference).copied();
        let mut folders =
            parent.map_or_else(BTreeMap::new, |tip| self.commits[&tip].folders.clone());
        if !region.is_empty() {
            match tree {
                Some(tree) => folders.insert(region.to_owned(), tree),
                None => folders.remove(region),
            };
        }
        let new = id(&("human", self.commits.len(), parent, &folders));
        self.commits
            .insert(new, Arc::new(Commit { parent, folders }));
        self.refs.insert(reference, new);
        self.foreign.insert(new);
        new
    }

    pub fn delete_branch(&mut self, wave: &str) {
        self.damaged.insert(wave_ref(wave));
        self.refs.remove(&wave_ref(wave));
    }

    pub fn request(&mut self, verb: Verb) -> &mut Request {
        let commit = id(&("request", self.requests.len(), self.log.len()));
        self.requests.push(Request {
            commit,
            author: "Ann".to_owned(),
            verified: None,
            verb,
            rollout: None,
            wave: None,
            regions: Vec::new(),
            until: None,
            to: None,
            option: None,
            reason: "because".to_owned(),
            refused: None,
        });
        self.requests.last_mut().unwrap()
    }

    pub fn tree(&self, source: Oid, region: &str) -> Oid {
        region_tree(&self.sources[&source].files, region)
    }

    pub fn wanted(&self, files: &Files) -> Option<Wanted> {
        if files.contains_key("broken") {
            return None;
        }
        let spec = files
            .get("spec")
            .and_then(|index| self.specs.get(index.parse::<usize>().ok()?))?;
        let fleet_gate = |version: &str| Gate {
            name: "healthz".to_owned(),
            check: GateCheck::Http(HttpCheck {
                endpoint: None,
                url: "https://example.com/healthz".to_owned(),
                method: "GET".to_owned(),
                headers: BTreeMap::new(),
                expect: HttpExpect {
                    status: vec![200],
                    json: BTreeMap::from([("/version".to_owned(), version.into())]),
                },
            }),
            sampling: spec.sampling,
        };
        let fleet_gates = |version: &str| {
            let mut gates = Vec::new();
            if spec.gated {
                gates.push(fleet_gate(version));
            }
            if spec.doubly_gated {
                gates.push(Gate {
                    name: "workloads".to_owned(),
                    check: GateCheck::Workloads(WorkloadsCheck::default()),
                    sampling: spec.sampling,
                });
            }
            gates
        };
        let mut regions = BTreeMap::new();
        let mut excluded = BTreeMap::new();
        let mut waves = Vec::new();
        for (wave, members, policy) in &spec.waves {
            let mut names = Vec::new();
            for region in members {
                if spec.excluded.contains(region) {
                    excluded.insert(
                        region.clone(),
                        ExcludedRegion {
                            exclusion: Exclusion {
                                reason: "away".to_owned(),
                                until: None,
                            },
                            wave: Some(wave.clone()),
                            location: region.clone(),
                            cluster: region.clone(),
                            labels: BTreeMap::new(),
                        },
                    );
                    continue;
                }
                names.push(region.clone());
                let tree = region_tree(files, region);
                regions.insert(
                    region.clone(),
                    PlannedRegion {
                        tree,
                        location: region.clone(),
                        cluster: region.clone(),
                        labels: BTreeMap::new(),
                        gates: fleet_gates(&tree.to_string()),
                    },
                );
            }
            waves.push(PlannedWave {
                name: wave.clone(),
                regions: names,
                policy: WavePolicy {
                    gates: fleet_gates("")
                        .into_iter()
                        .map(|gate| gate.name)
                        .filter(|name| spec.doubly_gated || policy.gates.contains(name))
                        .collect(),
                    ..policy.clone()
                },
            });
        }
        Some(Wanted {
            fleet: "payments".to_owned(),
            waves,
            regions,
            excluded,
            policy: FleetPolicy {
                gates: fleet_gates("{{version}}"),
                ..spec.policy.clone()
            },
        })
    }

    /// The commit and its ancestors, newest first.
    pub fn ancestry(&self, from: Oid) -> Vec<Oid> {
        let mut chain = Vec::new();
        let mut at = Some(from);
        while let Some(commit) = at {
            chain.push(commit);
            at = self.sources.get(&commit).and_then(|source| source.parent);
        }
        chain
    }

    pub fn files(&self, source: Option<Oid>) -> Files {
        source
            .and_then(|source| self.sources.get(&source))
            .map(|source| source.files.clone())
            .unwrap_or_default()
    }

    pub fn candidate(&self, state: &FleetState) -> Option<Candidate> {
        let head = self.head()?;
        let settled = state.settled.as_ref().map(|settled| settled.source);
        if settled == Some(head) {
            return None;
        }
        let chain = self.ancestry(head);
        let descends = settled.is_none_or(|settled| chain.contains(&settled));
        let commits = chain
            .iter()
            .take_while(|commit| Some(**commit) != settled)
            .map(|commit| SourceCommit {
                id: *commit,
                author: "Ann".to_owned(),
                subject: format!("change {}", commit.short(6)),
                fixes: self.sources[commit].fixes.clone(),
            })
            .collect();
        let files = self.files(Some(head));
        let outcome = match self.wanted(&files) {
            None => CandidateOutcome::Invalid {
                message: "tidegate.yaml:1:1: broken".to_owned(),
            },
            Some(wanted) => CandidateOutcome::Valid(Box::new(ValidCandidate {
                wanted: Arc::new(wanted),
                plan_commit: id(&("plan", &files)),
                revert_trees: self.revert_trees.get(&head).cloned().unwrap_or_default(),
                findings: self.findings.get(&head).cloned().unwrap_or_default(),
                quarantine: state
                    .quarantine
                    .iter()
                    .filter(|item| !item.isolated)
                    .map(|item| self.quarantine_fact(&chain, &files, item.source, item.base))
                    .collect(),
            })),
        };
        Some(Candidate {
            source: head,
            settled,
            commits,
            descends,
            outcome,
        })
    }

    pub fn quarantine_fact(
        &self,
        chain: &[Oid],
        files: &Files,
        bad: Oid,
        base: Option<Oid>,
    ) -> QuarantineFact {
        let (base, bad_files) = (self.files(base), self.files(Some(bad)));
        let at = chain.iter().position(|commit| *commit == bad);
        let undone = at.is_some_and(|at| {
            chain.iter().take(at).any(|commit| {
                let there = self.files(Some(*commit));
                merge(&bad_files, &there, &base).is_ok_and(|merged| merged == there)
            })
        });
        QuarantineFact {
            source: bad,
            contained: at.is_some(),
            undone,
            landed_again: merge(&base, files, &bad_files).is_ok_and(|merged| merged == *files),
        }
    }

    fn store_files(&mut self, files: Files) -> Oid {
        let tree = id(&("files", &files));
        self.trees.insert(tree, files);
        tree
    }

    fn tree_of(&mut self, source: Oid) -> Oid {
        let files = self.files(Some(source));
        self.store_files(files)
    }

    pub fn revert_facts(&mut self, state: &FleetState) -> Option<RevertFacts> {
        let rollout = state.rollout.as_ref()?;
        let tip = self.head()?;
        let chain = self.ancestry(tip);
        let earlier = chain
            .iter()
            .any(|commit| self.sources[commit].reverts.as_deref() == Some(rollout.id.as_str()));
        let on_chain = rollout
            .base
            .is_some_and(|base| self.ancestry(rollout.source).contains(&base));
        let result = if earlier {
            RevertResult::Nothing
        } else if !on_chain {
            RevertResult::NotOnChain {
                tree: rollout.base.map(|base| self.tree_of(base)),
            }
        } else {
            let ours = self.files(Some(tip));
            match merge(
                &self.files(Some(rollout.source)),
                &ours,
                &self.files(rollout.base),
            ) {
                Err(path) => RevertResult::Conflict {
                    paths: vec![path],
                    count: 1,
                    tree: self.tree_of(rollout.base?),
                },
                Ok(merged) if merged == ours => RevertResult::Nothing,
                Ok(merged) => RevertResult::Clean {
                    tree: self.store_files(merged),
                },
            }
        };
        Some(RevertFacts {
            rollout: rollout.id.clone(),
            tip,
            result,
        })
    }
}

/// What a region's tree depends on: the words for all, its own, and its name.
pub fn region_tree(files: &Files, region: &str) -> Oid {
    id(&("tree", region, files.get("all"), files.get(region)))
}

/// A three-way merge, path by path.
pub fn merge(base: &Files, ours: &Files, theirs: &Files) -> Result<Files, String> {
    let mut merged = Files::new();
    let paths: BTreeSet<&String> = base
        .keys()
        .chain(ours.keys())
        .chain(theirs.keys())
        .collect();
    for path in paths {
        let (base, ours, theirs) = (base.get(path), ours.get(path), theirs.get(path));
        let text = if ours == base || ours == theirs {
            theirs
        } else if theirs == base {
            ours
        } else {
            return Err(path.clone());
        };
        if let Some(text) = text {
            merged.insert(path.clone(), text.clone());
        }
    }
    Ok(merged)
}
