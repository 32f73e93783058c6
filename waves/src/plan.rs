//! Who goes when: wave membership, what a commit wants for every region, and what changes policy.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::fleet::{
    Exclusion, Fleet, Gate, Guards, Members, OnFailure, OnUnreachable, Region, RevertPolicy,
    WavePolicy,
};
use crate::oid::Oid;

/// What a source commit asks for: the renderer's result, and the frozen plan of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// The fleet's name.
    pub fleet: String,
    /// The waves in order, each with its regions in the order in which they go.
    pub waves: Vec<PlannedWave>,
    /// Every region that is not excluded, by name.
    pub regions: BTreeMap<String, PlannedRegion>,
    /// Regions that are left exactly as they are, by name.
    pub excluded: BTreeMap<String, ExcludedRegion>,
    /// The rest of the policy, as written.
    pub policy: FleetPolicy,
}

/// One wave of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedWave {
    /// The wave's name.
    pub name: String,
    /// Its regions that are not excluded, in the order in which they go.
    pub regions: Vec<String>,
    /// What it demands.
    pub policy: WavePolicy,
}

/// One region of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedRegion {
    /// The region's rendered tree.
    pub tree: Oid,
    /// Its cloud location.
    pub location: String,
    /// The name under which settings and Argo CD know its cluster.
    pub cluster: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The fleet's gates with this region's values in them, in the fleet's order.
    pub gates: Vec<Gate>,
}

/// A region that is left exactly as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExcludedRegion {
    /// Why, and until when.
    pub exclusion: Exclusion,
    /// The wave it would be in, if it is in one.
    pub wave: Option<String>,
    /// Its cloud location.
    pub location: String,
    /// The name under which settings and Argo CD know its cluster.
    pub cluster: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The fleet-wide policy, as written (gates as templates, not with a region's values in them).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetPolicy {
    /// The gates.
    pub gates: Vec<Gate>,
    /// What a failure leads to.
    pub on_failure: OnFailure,
    /// What an unreachable region leads to.
    pub on_unreachable: OnUnreachable,
    /// How the config branch is reverted.
    pub revert: RevertPolicy,
    /// What holds a promotion.
    pub guards: Guards,
}

impl FleetPolicy {
    /// The policy part of a fleet's document.
    #[must_use]
    pub fn of(fleet: &Fleet) -> Self {
        Self {
            gates: fleet.gates.clone(),
            on_failure: fleet.on_failure,
            on_unreachable: fleet.on_unreachable,
            revert: fleet.revert,
            guards: fleet.guards.clone(),
        }
    }
}

impl Wanted {
    /// The wave that a region is in, excluded or not.
    #[must_use]
    pub fn wave_of(&self, region: &str) -> Option<&str> {
        self.waves
            .iter()
            .find(|wave| wave.regions.iter().any(|member| member == region))
            .map(|wave| wave.name.as_str())
            .or_else(|| {
                self.excluded
                    .get(region)
                    .and_then(|excluded| excluded.wave.as_deref())
            })
    }

    /// A wave by its name.
    #[must_use]
    pub fn wave(&self, name: &str) -> Option<&PlannedWave> {
        self.waves.iter().find(|wave| wave.name == name)
    }

    /// The gates that judge a region: those its wave names, with the region's values in them.
    ///
    /// It looks for the region in every wave; where the wave is known, [`Self::gates_in`] is cheaper.
    #[must_use]
    pub fn gates_of(&self, region: &str) -> Vec<Gate> {
        self.wave_of(region)
            .and_then(|wave| self.wave(wave))
            .map(|wave| self.gates_in(wave, region).cloned().collect())
            .unwrap_or_default()
    }

    /// The gates that judge a region of this wave, with the region's values in them.
    pub fn gates_in<'a>(
        &'a self,
        wave: &'a PlannedWave,
        region: &str,
    ) -> impl Iterator<Item = &'a Gate> {
        self.regions
            .get(region)
            .map(|planned| planned.gates.as_slice())
            .unwrap_or_default()
            .iter()
            .filter(|gate| wave.policy.gates.contains(&gate.name))
    }

    /// The trees alone, by region.
    #[must_use]
    pub fn trees(&self) -> BTreeMap<String, Oid> {
        self.regions
            .iter()
            .map(|(name, region)| (name.clone(), region.tree))
            .collect()
    }

    /// Whether this differs from `settled` in its *policy*: waves, limits, bakes, gates, guards,
    /// failure handling, exclusions, or the wave of a region that both have.
    ///
    /// A new region (also its name in a wave) and a removed one are content, not policy; so is the
    /// end of an exclusion.
    #[must_use]
    pub fn policy_differs(&self, settled: &Self) -> bool {
        !self.policy_changes(settled).is_empty()
    }

    /// The parts of the *policy* in which this differs from `settled`, in the words of the fleet's document; see
    /// [`Self::policy_differs`] for what counts.
    #[must_use]
    pub fn policy_changes(&self, settled: &Self) -> Vec<&'static str> {
        let waves = |wanted: &Self| -> Vec<(String, WavePolicy)> {
            wanted
                .waves
                .iter()
                .map(|wave| (wave.name.clone(), wave.policy.clone()))
                .collect()
        };
        let newly_excluded = self.excluded.keys().any(|name| {
            settled.regions.contains_key(name)
                || (settled.excluded.contains_key(name)
                    && self.excluded.get(name).map(|e| &e.exclusion)
                        != settled.excluded.get(name).map(|e| &e.exclusion))
        });
        let moved = self
            .all_regions()
            .into_iter()
            .filter(|name| {
                settled.regions.contains_key(*name) || settled.excluded.contains_key(*name)
            })
            .any(|name| self.wave_of(name) != settled.wave_of(name));
        let FleetPolicy {
            gates,
            on_failure,
            on_unreachable,
            revert,
            guards,
        } = &self.policy;
        let before = &settled.policy;
        [
            ("waves", waves(self) != waves(settled)),
            ("gates", *gates != before.gates),
            ("onFailure", *on_failure != before.on_failure),
            ("onUnreachable", *on_unreachable != before.on_unreachable),
            ("revert", *revert != before.revert),
            ("guards", *guards != before.guards),
            ("excluded regions", newly_excluded),
            ("the wave of a region", moved),
        ]
        .into_iter()
        .filter_map(|(part, differs)| differs.then_some(part))
        .collect()
    }

    /// Whether a region that both have gets another tree.
    #[must_use]
    pub fn content_differs(&self, settled: &Self) -> bool {
        self.regions.iter().any(|(name, region)| {
            settled
                .regions
                .get(name)
                .is_some_and(|before| before.tree != region.tree)
        })
    }

    /// Whether trees, waves and policy all equal `settled`'s: such a commit opens no rollout.
    #[must_use]
    pub fn same_as(&self, settled: &Self) -> bool {
        self.trees() == settled.trees()
            && self.excluded == settled.excluded
            && self.waves == settled.waves
            && self.policy == settled.policy
    }

    fn all_regions(&self) -> BTreeSet<&str> {
        self.regions
            .keys()
            .chain(self.excluded.keys())
            .map(String::as_str)
            .collect()
    }
}

/// One commit of a range that is about to be carried.
#[derive(Debug, Clone, Copy)]
pub struct RangeCommit<'a> {
    /// The commit.
    pub id: Oid,
    /// What its documents say of policy; `None` if they are not valid.
    pub policy: Option<&'a Wanted>,
    /// Whether it may not be opened because it failed before.
    pub quarantined: bool,
}

/// Which commit of a range is carried next: the tip, or a cut around a change of policy.
///
/// `range` is oldest first. A commit that changes policy is carried by itself: what came before it goes
/// first, what comes after it goes later. A cut point that is not valid or quarantined is passed over.
/// `None` only for an empty range.
#[must_use]
pub fn carried_next(settled: &Wanted, range: &[RangeCommit<'_>]) -> Option<Oid> {
    let tip = range.last()?;
    let mut policy = settled;
    let mut before: Option<&RangeCommit<'_>> = None;
    for commit in range {
        let usable = |commit: &RangeCommit<'_>| commit.policy.is_some() && !commit.quarantined;
        let Some(wanted) = commit.policy else {
            before = Some(commit);
            continue;
        };
        if wanted.policy_differs(policy) {
            if let Some(cut) = before.filter(|cut| usable(cut)) {
                return Some(cut.id);
            }
            if usable(commit) {
                return Some(commit.id);
            }
        }
        policy = wanted;
        before = Some(commit);
    }
    Some(tip.id)
}

/// What is wrong with who is in which wave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipProblem {
    /// A wave names a region that does not exist.
    #[error("wave {wave:?} names region {region:?}, which does not exist")]
    UnknownRegion {
        /// The wave.
        wave: String,
        /// The name that no region has.
        region: String,
    },
    /// A region is in two waves (or twice in one).
    #[error(
        "region {region:?} is in wave {first:?} and in wave {second:?}; every region belongs to exactly one"
    )]
    InTwoWaves {
        /// The region.
        region: String,
        /// The wave that comes first.
        first: String,
        /// The other one.
        second: String,
    },
    /// A region is in no wave and not excluded.
    #[error("region {region:?} is in no wave; add it to one, or give it an `exclude`")]
    InNoWave {
        /// The region.
        region: String,
    },
    /// The first wave has no region.
    #[error("the canary wave {wave:?} has no region; the first wave must have at least one")]
    EmptyCanary {
        /// The wave.
        wave: String,
    },
}

/// For every wave, in order, the names of its regions in the order in which they go, excluded ones left out.
pub type Membership = Vec<(String, Vec<String>)>;

/// Finds each wave's regions; all problems at once if there are any.
///
/// The order within a wave is the list as written, else by name.
pub fn membership(
    fleet: &Fleet,
    regions: &BTreeMap<String, Region>,
) -> Result<Membership, Vec<MembershipProblem>> {
    let mut problems = Vec::new();
    let mut wave_of: BTreeMap<&str, &str> = BTreeMap::new();
    let mut waves = Vec::new();
    for wave in &fleet.waves {
        let named: Vec<&str> = match &wave.members {
            Members::Regions(names) => names.iter().map(String::as_str).collect(),
            Members::Selector(selector) => regions
                .values()
                .filter(|region| selector.matches(&region.labels))
                .map(|region| region.name.as_str())
                .collect(),
        };
        let mut members = Vec::new();
        for name in named {
            let Some(region) = regions.get(name) else {
                problems.push(MembershipProblem::UnknownRegion {
                    wave: wave.name.clone(),
                    region: name.to_owned(),
                });
                continue;
            };
            if let Some(first) = wave_of.get(name) {
                problems.push(MembershipProblem::InTwoWaves {
                    region: name.to_owned(),
                    first: (*first).to_owned(),
                    second: wave.name.clone(),
                });
                continue;
            }
            wave_of.insert(name, &wave.name);
            if region.exclude.is_none() {
                members.push(name.to_owned());
            }
        }
        waves.push((wave.name.clone(), members));
    }
    for region in regions.values() {
        if region.exclude.is_none() && !wave_of.contains_key(region.name.as_str()) {
            problems.push(MembershipProblem::InNoWave {
                region: region.name.clone(),
            });
        }
    }
    if let Some((wave, members)) = waves.first()
        && members.is_empty()
    {
        problems.push(MembershipProblem::EmptyCanary { wave: wave.clone() });
    }
    if problems.is_empty() {
        Ok(waves)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{OnFailure, RevertSource};

    fn wanted(percent: u8) -> Wanted {
        Wanted {
            fleet: "f".to_owned(),
            waves: Vec::new(),
            regions: BTreeMap::new(),
            excluded: BTreeMap::new(),
            policy: FleetPolicy {
                gates: Vec::new(),
                on_failure: OnFailure::Revert,
                on_unreachable: OnUnreachable::Hold,
                revert: RevertPolicy {
                    source: RevertSource::Commit,
                },
                guards: Guards {
                    max_deleted_objects_percent: percent,
                    ..Guards::default()
                },
            },
        }
    }

    /// Carries a range written as policies (`None`: invalid), quarantined where marked; gives the place of the commit.
    fn carried(range: &[(Option<u8>, bool)]) -> usize {
        let wants: Vec<Option<Wanted>> = range
            .iter()
            .map(|(percent, _)| percent.map(wanted))
            .collect();
        let commits: Vec<RangeCommit<'_>> = (1_u8..)
            .zip(&wants)
            .zip(range)
            .map(|((number, wanted), (_, quarantined))| RangeCommit {
                id: Oid::from_bytes([number; 20]),
                policy: wanted.as_ref(),
                quarantined: *quarantined,
            })
            .collect();
        usize::from(carried_next(&wanted(30), &commits).unwrap().as_bytes()[0])
    }

    #[test]
    fn a_range_without_a_change_of_policy_is_carried_whole() {
        assert_eq!(
            carried(&[
                (Some(30), false),
                (None, false),
                (Some(30), true),
                (Some(30), false)
            ]),
            4
        );
    }

    #[test]
    fn a_range_is_cut_before_and_behind_a_change_of_policy() {
        assert_eq!(
            carried(&[
                (Some(30), false),
                (Some(30), false),
                (Some(50), false),
                (Some(50), false)
            ]),
            2
        );
        assert_eq!(
            carried(&[(Some(50), false), (Some(50), false), (Some(50), false)]),
            1
        );
    }

    #[test]
    fn a_cut_point_that_is_invalid_or_quarantined_is_passed_over() {
        assert_eq!(
            carried(&[(None, false), (Some(50), false), (Some(50), false)]),
            2
        );
        assert_eq!(
            carried(&[(Some(30), true), (Some(50), false), (Some(50), false)]),
            2
        );
        assert_eq!(carried(&[(Some(50), true), (Some(50), false)]), 2);
        assert_eq!(
            carried(&[
                (Some(30), false),
                (None, false),
                (Some(50), true),
                (Some(50), false)
            ]),
            4
        );
    }

    #[test]
    fn an_empty_range_carries_nothing() {
        assert_eq!(carried_next(&wanted(30), &[]), None);
    }
}
