//! One region alone gets its last good tree back and the others go on: by policy, or because a person asks.

use std::collections::{BTreeMap, BTreeSet};

use super::give_back::{give_backs_of, mark_reverting};
use super::judge::{region_failed, region_failed_entry};
use crate::log::DraftIntent;
use crate::rollout::observation::Request;
use crate::rollout::state::{Failure, Quarantined, RegionState, Rollout, RolloutState};
use crate::rollout::turn::{Turn, Writing};

/// The failed region alone gets its last good tree back; the rest go on.
pub(in crate::rollout) fn isolate(turn: &mut Turn<'_>, failure: &Failure) -> Option<Writing> {
    region_failed(turn, failure);
    quarantine_for(turn, &failure.region, &failure.evidence)?;
    let drafts = isolated_give_backs(turn);
    Some(
        region_failed_entry(failure, "isolated: it alone gets its last good tree back")
            .drafts(drafts),
    )
}

/// The same for regions that a person names, whatever `onFailure` says.
pub(in crate::rollout) fn isolate_by_request(
    turn: &mut Turn<'_>,
    request: &Request,
) -> Result<Vec<DraftIntent>, String> {
    for region in &request.regions {
        may_be_isolated(turn, region)?;
        let evidence = format!(
            "revert of {region} asked for by {}: {}",
            request.author, request.reason
        );
        turn.move_region(region, RegionState::Failed, Some(evidence.clone()));
        quarantine_for(turn, region, &evidence);
        // What was held for this region alone is answered.
        turn.next
            .holds
            .retain(|hold| !(hold.rollout.is_some() && hold.regions == [region.as_str()]));
    }
    Ok(isolated_give_backs(turn))
}

/// Whether the branch holds this rollout's tree for the region, and there is something else to give it.
fn may_be_isolated(turn: &Turn<'_>, region: &str) -> Result<(), String> {
    let Some(rollout) = turn.rollout() else {
        return Err(
            "no rollout is under way, and single regions are taken back during one alone; use `tidegate revert` to take the newest rollout back as a whole, or commit the region's earlier content and let it roll out"
                .to_owned(),
        );
    };
    if rollout.state == RolloutState::RollingBack || rollout.sealing.is_some() {
        return Err("the rollout is ending already".to_owned());
    }
    if rollout.first {
        return Err(
            "nothing has ever succeeded here, so there is nothing to give back; abort instead"
                .to_owned(),
        );
    }
    let Some((wave, run)) = rollout.region(region) else {
        return Err(format!("region {region} is not in the rollout under way"));
    };
    match run.state {
        RegionState::Applying
        | RegionState::Verifying
        | RegionState::Baking
        | RegionState::Done
        | RegionState::Held
        | RegionState::Failed
        | RegionState::TimedOut
        | RegionState::Skipped => {}
        RegionState::Pending => {
            return Err(format!(
                "region {region} has not received the commit yet; to keep the rollout from it, hold it with `tidegate hold --region {region}`"
            ));
        }
        RegionState::Promoted => {
            return Err(format!(
                "the tree of region {region} is being pushed at this moment; ask again when it has arrived"
            ));
        }
        RegionState::NoChange => {
            return Err(format!("the rollout changes nothing in region {region}"));
        }
        RegionState::Reverting | RegionState::Reverted | RegionState::RevertPending => {
            return Err(already_given_back(region));
        }
        RegionState::Preempted | RegionState::Removed | RegionState::Kept => {
            return Err(format!(
                "region {region} is {:?}, and what is on its branch is not this rollout's to take back",
                run.state
            ));
        }
    }
    if is_isolated(turn, rollout, region) {
        return Err(already_given_back(region));
    }
    let tree = rollout.plan.regions.get(region).map(|planned| planned.tree);
    if tree.is_none() || turn.next.folder(&wave.name, region) != tree {
        return Err(format!(
            "the branch of wave {} does not hold this rollout's tree for region {region}",
            wave.name
        ));
    }
    match turn.next.last_good.get(region) {
        None => Err(format!(
            "region {region} is new and has no last good tree; take it out of the fleet by a commit"
        )),
        Some(good) if Some(good.tree) == tree => Err(format!(
            "what region {region} has is its last good tree already"
        )),
        Some(_) => Ok(()),
    }
}

fn already_given_back(region: &str) -> String {
    format!("region {region} is given its last good tree back already")
}

/// Keeps what the rollout gave the region from being given to it again by itself.
fn quarantine_for(turn: &mut Turn<'_>, region: &str, reason: &str) -> Option<()> {
    let rollout = turn.rollout()?;
    let item = Quarantined {
        source: rollout.source,
        base: rollout.base,
        rollout: rollout.id.clone(),
        digests: BTreeMap::from([(region.to_owned(), rollout.plan.regions.get(region)?.tree)]),
        isolated: true,
        reason: reason.to_owned(),
    };
    turn.next.quarantine.push(item);
    Some(())
}

/// Whether this rollout isolated the region.
pub(in crate::rollout) fn is_isolated(turn: &Turn<'_>, rollout: &Rollout, region: &str) -> bool {
    turn.next.quarantine.iter().any(|item| {
        item.isolated && item.rollout == rollout.id && item.digests.contains_key(region)
    })
}

/// Give-backs of isolated regions whose branch is free for one.
pub(in crate::rollout) fn isolated_give_backs(turn: &mut Turn<'_>) -> Vec<DraftIntent> {
    let Some(rollout) = turn.rollout() else {
        return Vec::new();
    };
    let isolated: BTreeSet<String> = rollout
        .waves
        .iter()
        .flat_map(|wave| &wave.regions)
        .filter(|(region, run)| {
            matches!(run.state, RegionState::Failed | RegionState::TimedOut)
                && is_isolated(turn, rollout, region)
        })
        .map(|(region, _)| region.clone())
        .collect();
    if isolated.is_empty() {
        return Vec::new();
    }
    let (drafts, _) = give_backs_of(turn, |region| isolated.contains(region));
    mark_reverting(turn, &drafts);
    drafts
}
