//! What is waited for, one item each: holds, the rollout under way, commits behind it.

use tidegate_waves::duration;
use tidegate_waves::oid::Oid;
use tidegate_waves::plan::PlannedWave;
use tidegate_waves::rollout::{
    FleetState, Hold, RegionRun, RegionState, Rollout, RolloutState, SourceRevert, WaveRun,
};

use super::holds::{commands_for, meaning_of, meaning_of_failure};
use super::{Change, Seen, WaitReason, Waiting};
use crate::status::{next_look, rfc3339};

/// A hold: its own words, what it means, and what ends it.
pub(super) fn of_hold(hold: &Hold, state: &FleetState, as_of: i64) -> Waiting {
    let message = hold.message.trim_end_matches('.');
    Waiting {
        reason: WaitReason::Hold(hold.reason),
        since: rfc3339(hold.since),
        next: next_look(hold, as_of),
        wave: hold.wave.clone(),
        regions: hold.regions.clone(),
        message: format!("{message}. {}", meaning_of(hold.reason)),
        commands: commands_for(hold, state),
    }
}

/// What the rollout under way waits for.
pub(super) fn of_rollout(rollout: &Rollout, state: &FleetState, seen: &Seen<'_>) -> Vec<Waiting> {
    if rollout.state == RolloutState::RollingBack {
        return giving_back(rollout);
    }
    if rollout.sealing.is_some() {
        let message = "The rollout is being ended: moves of branches that are still open are made impossible first. It goes on by itself.";
        return vec![item(WaitReason::Ending, rollout.opened, message.to_owned())];
    }
    let mut waiting = Vec::new();
    let mut current = rollout.waves.iter().filter(|wave| !wave.state.is_passed());
    let Some(wave) = current.next() else {
        return waiting;
    };
    if let Some(planned) = rollout.plan.wave(&wave.name) {
        waiting.extend(of_wave(rollout, wave, planned, seen.changes));
    }
    let later: Vec<&str> = current.map(|wave| wave.name.as_str()).collect();
    if !later.is_empty() && state.holds.is_empty() {
        waiting.push(item(
            WaitReason::EarlierWave,
            rollout.opened,
            format!(
                "{} {} for {} to pass.",
                later.join(", "),
                if later.len() == 1 { "waits" } else { "wait" },
                wave.name
            ),
        ));
    }
    waiting
}

/// When something ends that regions of a state are in.
#[derive(Clone, Copy)]
enum Ends {
    /// Nobody can say.
    Unknown,
    /// So long after a region's promotion; that of the first one counts, as its end decides for the wave.
    AfterPromotion(std::time::Duration),
    /// So long after a region came to the state; the last one's counts, as all have to get there.
    AfterThis(std::time::Duration),
}

/// When a region's branch held its new tree, as far as the log's messages reach back.
fn promoted_at(region: &str, run: &RegionRun, changes: &[Change]) -> i64 {
    changes
        .iter()
        .find(|change| change.region == region && change.state == "Applying")
        .map_or(run.since, |change| change.at.min(run.since))
}

fn of_wave(
    rollout: &Rollout,
    wave: &WaveRun,
    planned: &PlannedWave,
    changes: &[Change],
) -> Vec<Waiting> {
    let seconds =
        |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let deadline = planned.policy.progress_deadline;
    let bake = planned.policy.bake;
    let in_state = |state: RegionState| -> Vec<(&String, &RegionRun)> {
        wave.regions
            .iter()
            .filter(|(_, run)| run.state == state)
            .collect()
    };
    let mut waiting = Vec::new();
    let mut add = |reason, state, ends: Ends, message: String| {
        let regions = in_state(state);
        let Some(since) = regions.iter().map(|(_, run)| run.since).min() else {
            return;
        };
        let until = match ends {
            Ends::Unknown => None,
            Ends::AfterPromotion(after) => regions
                .iter()
                .map(|(name, run)| promoted_at(name, run, changes))
                .min()
                .map(|first| first.saturating_add(seconds(after))),
            Ends::AfterThis(after) => regions
                .iter()
                .map(|(_, run)| run.since)
                .max()
                .map(|last| last.saturating_add(seconds(after))),
        };
        let mut one = item(reason, since, message);
        one.next = until.map(rfc3339);
        one.wave = Some(wave.name.clone());
        one.regions = regions.into_iter().map(|(name, _)| name.clone()).collect();
        waiting.push(one);
    };
    add(
        WaitReason::Promoting,
        RegionState::Promoted,
        Ends::Unknown,
        "The log allows the branch to move, and the push is on its way; it ends by itself."
            .to_owned(),
    );
    add(
        WaitReason::Applying,
        RegionState::Applying,
        Ends::AfterPromotion(deadline),
        format!(
            "The branch holds the new tree, and no gate has learnt anything from the region yet: the tree is on its way there, or the region cannot be asked. If that stays so for {}, the region is held, or fails where the wave has `onUnreachable: fail`.",
            duration::format(deadline)
        ),
    );
    add(
        WaitReason::Verifying,
        RegionState::Verifying,
        Ends::AfterPromotion(deadline),
        format!(
            "Gates answer and are not healthy yet. Not healthy within {} of its promotion, it fails, or is held if that is no evidence against the commit: it was not healthy before either, or runs an older tree still.",
            duration::format(deadline)
        ),
    );
    let hotfix = rollout.hotfix;
    let bakes = if hotfix {
        std::time::Duration::ZERO
    } else {
        bake
    };
    add(
        WaitReason::Baking,
        RegionState::Baking,
        Ends::AfterThis(bakes),
        format!(
            "Healthy, and to stay so for {}; harm sets the count back.",
            duration::format(bakes)
        ),
    );
    let pending = in_state(RegionState::Pending);
    let flying = wave
        .regions
        .values()
        .filter(|run| run.state.is_in_flight())
        .count();
    if !pending.is_empty() {
        let limit = planned
            .policy
            .max_concurrent
            .at_least_one_of(planned.regions.len());
        let mut one = item(
            WaitReason::Slot,
            wave.since,
            format!(
                "They wait for a slot: {flying} of at most {limit} at once (maxConcurrent) are promoted and not through."
            ),
        );
        one.wave = Some(wave.name.clone());
        one.regions = pending.into_iter().map(|(name, _)| name.clone()).collect();
        waiting.push(one);
    }
    waiting
}

fn giving_back(rollout: &Rollout) -> Vec<Waiting> {
    let mut waiting = Vec::new();
    let touched: Vec<(&String, &RegionRun)> = rollout
        .waves
        .iter()
        .flat_map(|wave| &wave.regions)
        .filter(|(_, run)| {
            matches!(
                run.state,
                RegionState::Reverting | RegionState::RevertPending
            )
        })
        .collect();
    if let Some(failure) = &rollout.failure {
        let since = touched.iter().map(|(_, run)| run.since).min();
        let mut one = item(
            WaitReason::Failure(failure.reason),
            since.unwrap_or(rollout.opened),
            format!(
                "{}. {} It goes on by itself.",
                failure.evidence.trim_end_matches('.'),
                meaning_of_failure(failure.reason)
            ),
        );
        one.wave = Some(failure.wave.clone()).filter(|wave| !wave.is_empty());
        one.regions = touched.iter().map(|(name, _)| (*name).clone()).collect();
        waiting.push(one);
    }
    if matches!(
        rollout.source_revert,
        SourceRevert::Wanted | SourceRevert::Proposing
    ) {
        waiting.push(item(
            WaitReason::SourceRevert,
            rollout.opened,
            format!(
                "The revert of {} on the config branch is on its way; it ends by itself.",
                rollout.source.short(8)
            ),
        ));
    }
    waiting
}

/// Commits that wait.
pub(super) fn of_commits(state: &FleetState, seen: &Seen<'_>) -> Vec<Waiting> {
    let Some(newest) = seen.queued.first().copied() else {
        return Vec::new();
    };
    if state.invalid == Some(newest) {
        let mut one = item(
            WaitReason::Invalid,
            seen.as_of,
            format!(
                "{} is not valid, so nothing of it is carried; push a commit that is.",
                newest.short(8)
            ),
        );
        one.commands = vec![format!("tidegate validate .@{}", newest.short(8))];
        return vec![one];
    }
    let (count, is_several) = match seen.queued.len() {
        1 => (newest.short(8), false),
        more => (format!("{more} commits up to {}", newest.short(8)), true),
    };
    let waits = if is_several { "wait" } else { "waits" };
    if let Some(rollout) = state.active() {
        let mut one = item(
            WaitReason::Queued,
            seen.as_of,
            format!(
                "{count} {waits} behind rollout {}, to be carried {}when that has ended. `hotfix` lets {} take over now.",
                rollout.id,
                if is_several { "as one " } else { "" },
                newest.short(8)
            ),
        );
        one.commands = vec![hotfix(newest)];
        return vec![one];
    }
    // A hold before opening has said already why it waits, and so does a commit that was aborted.
    if !state.holds.is_empty() {
        return Vec::new();
    }
    let mut one = item(
        WaitReason::Seen,
        seen.as_of,
        format!("{count} {waits} to be looked at; that ends by itself."),
    );
    if state.not_again == Some(newest) {
        one.message = format!(
            "{} is not opened again by itself, because its rollout was aborted; push a commit, or `retry` it.",
            newest.short(8)
        );
        one.commands = vec!["tidegate retry --reason '…'".to_owned()];
    }
    vec![one]
}

fn hotfix(source: Oid) -> String {
    format!("tidegate hotfix {} --reason '…'", source.short(8))
}

fn item(reason: WaitReason, since: i64, message: String) -> Waiting {
    Waiting {
        reason,
        since: rfc3339(since),
        next: None,
        wave: None,
        regions: Vec::new(),
        message,
        commands: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_counts_from_the_promotion_and_not_from_the_first_answer() {
        let run = RegionRun {
            state: RegionState::Verifying,
            since: 1_000,
            before: None,
            reason: None,
            proven: None,
            was_healthy: false,
            left_out: None,
        };
        let change = |region: &str, state: &str, at| Change {
            region: region.to_owned(),
            state: state.to_owned(),
            evidence: String::new(),
            at,
        };
        let changes = [
            change("west", "Verifying", 1_000),
            change("east", "Applying", 990),
            change("west", "Applying", 940),
            change("west", "Applying", 100),
        ];
        assert_eq!(promoted_at("west", &run, &changes), 940);
        assert_eq!(promoted_at("west", &run, &[]), 1_000);
    }
}
