//! Promise 1: waves go in order.

use std::collections::HashSet;

use tidegate_waves::log::{EntryKind, MoveKind};
use tidegate_waves::rollout::{RegionState, WaveState};

use super::record::Entry;
use super::story::{Move, Story, rollout_in};
use super::{Finding, NOT_OURS, Promise, Verdict, What};

pub(super) fn check(story: &Story<'_>) -> Verdict {
    let mut verdict = Verdict::of(Promise::Order);
    let mut passed: HashSet<(&str, &str)> = HashSet::new();
    for (place, entry) in story.record.entries.iter().enumerate() {
        if entry.kind == Some(EntryKind::WavePassed) {
            if story.judges(place) {
                verdict.count(What::PassedWaves);
            }
            let wrong = match (entry.rollout.as_deref(), entry.wave.as_deref()) {
                (Some(rollout), Some(wave)) => {
                    if passed.insert((rollout, wave)) {
                        has_not_passed(story, place, entry, rollout, wave)
                    } else {
                        Some(format!("{wave} of rollout {rollout} passed before"))
                    }
                }
                _ => Some("it does not say which wave of which rollout passed".to_owned()),
            };
            if let Some(wrong) = wrong.filter(|_| story.judges(place)) {
                verdict.find(Finding::new(wrong, NOT_OURS).at(story, place));
            }
        }
        if !story.judges(place) {
            continue;
        }
        for promotion in story.moves_of(place) {
            if promotion.is(MoveKind::Promote) {
                verdict.count(What::Promotions);
                if let Some(wrong) = before_its_turn(story, promotion, &passed) {
                    verdict.find(
                        Finding::new(wrong, NOT_OURS)
                            .at(story, place)
                            .on(&promotion.line.reference)
                            .about(promotion.line.new),
                    );
                }
            }
        }
    }
    unnamed(story, &mut verdict);
    verdict
}

/// Why a wave cannot have passed, by the entry's own state.
fn has_not_passed(
    story: &Story<'_>,
    place: usize,
    entry: &Entry,
    rollout: &str,
    wave: &str,
) -> Option<String> {
    if !story.has_opened(rollout, place) {
        return Some(format!(
            "{wave} passes for rollout {rollout}, which has not opened"
        ));
    }
    // A state that cannot be read is found where the log is judged.
    let state = entry.state.as_ref().ok()?;
    if rollout_in(entry).is_none_or(|record| record.id != rollout) {
        return Some(format!(
            "{wave} passes for rollout {rollout}, and the entry's state is of another"
        ));
    }
    let Some(record) = &state.passed else {
        return Some(format!("its state says nothing of {wave}, which passes"));
    };
    if !matches!(
        record.state,
        WaveState::Passed | WaveState::PassedWithFailures
    ) {
        return Some(format!(
            "{wave} passes, and is {:?} in the entry's state",
            record.state
        ));
    }
    let waited_for = record.regions.iter().find(|(_, state)| {
        matches!(
            state,
            RegionState::Pending
                | RegionState::Promoted
                | RegionState::Applying
                | RegionState::Verifying
                | RegionState::Baking
                | RegionState::Held
        )
    });
    if let Some((region, state)) = waited_for {
        return Some(format!("{wave} passes while {region} is {state:?}"));
    }
    // A plan that cannot be read is found where plans are judged.
    let plan = story.plan(rollout)?;
    let Some(planned) = plan.waves.iter().find(|planned| planned.name == wave) else {
        return Some(format!(
            "{wave} passes, which is no wave of rollout {rollout}"
        ));
    };
    planned
        .regions
        .iter()
        .find(|region| plan.regions.contains_key(*region) && !record.regions.contains_key(*region))
        .map(|region| {
            format!("{wave} passes, and the entry's state says nothing of {region} in it")
        })
}

/// What is wrong with a promotion's place in the log.
fn before_its_turn(
    story: &Story<'_>,
    promotion: &Move<'_>,
    passed: &HashSet<(&str, &str)>,
) -> Option<String> {
    let Some(wave) = story.record.wave_of(&promotion.line.reference) else {
        return Some(format!(
            "it promotes to {}, which is no wave's branch",
            promotion.line.reference
        ));
    };
    let Some(rollout) = promotion.rollout else {
        return Some(format!("it promotes to {wave} for no rollout"));
    };
    if !story.has_opened(rollout, promotion.place) {
        return Some(format!(
            "it promotes to {wave} for rollout {rollout}, which has not opened"
        ));
    }
    // A plan that cannot be read is found where plans are judged.
    let plan = story.plan(rollout)?;
    let Some(at) = plan.waves.iter().position(|planned| planned.name == wave) else {
        return Some(format!(
            "it promotes to {wave}, which is no wave of rollout {rollout}"
        ));
    };
    let missing = plan
        .waves
        .iter()
        .take(at)
        .find(|before| !passed.contains(&(rollout, before.name.as_str())))?;
    Some(format!(
        "it promotes to {wave} before {} of rollout {rollout} passed",
        missing.name
    ))
}

/// Commits on wave branches that say that they promote, and that no intent of the log names.
fn unnamed(story: &Story<'_>, verdict: &mut Verdict) {
    for (reference, branch) in &story.record.refs {
        if story.record.wave_of(reference).is_none() {
            continue;
        }
        for id in &branch.chain {
            let mut named = story.moves_to(reference, *id).peekable();
            if let Some(first) = named.peek() {
                if !story.judges(first.place) {
                    break;
                }
                continue;
            }
            let promotes = story
                .record
                .commits
                .get(id)
                .is_some_and(|commit| commit.kind == Some(MoveKind::Promote));
            if promotes {
                verdict.find(
                    Finding::new(
                        "a commit says that it promotes, and no intent of the log names it",
                        "somebody copied or moved it there: see who pushed the branch, then tidegate resume --restore",
                    )
                    .on(reference)
                    .about(*id),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_waves::log::{EntryKind, MoveKind};
    use tidegate_waves::rollout::{RegionState, WaveState};

    use crate::audit::Promise;
    use crate::audit::record::Commit;
    use crate::audit::tests::broken;
    use crate::audit::tests::world::{BROAD, ONE, THREE, id};

    #[test]
    fn waves_out_of_order_are_found() {
        let order = &[Promise::Order][..];
        broken("no WavePassed", order, "to broad before canary", |record| {
            record.entries[11].kind = Some(EntryKind::Progress);
        });
        broken(
            "WavePassed of another rollout",
            order,
            "to broad before canary",
            |record| {
                record.entries[11].rollout = Some("99999999-9".to_owned());
            },
        );
        let twice = &[Promise::Order, Promise::Endings][..];
        broken("passed twice", twice, "passed before", |record| {
            let entry = &mut record.entries[20];
            entry.kind = Some(EntryKind::WavePassed);
            entry.rollout = Some(ONE.to_owned());
            entry.wave = Some("canary".to_owned());
        });
        broken("passed without a wave", order, "which wave", |record| {
            record.entries[5].wave = None;
        });
        broken("still judged", order, "while west is Baking", |record| {
            let west = ("west".to_owned(), RegionState::Baking);
            record.passed(11).regions.extend([west]);
        });
        broken("not passed", order, "is Progressing", |record| {
            record.passed(11).state = WaveState::Progressing;
        });
        broken("without its region", order, "nothing of west", |record| {
            record.passed(11).regions.clear();
        });
        broken("without its file", order, "nothing of canary", |record| {
            record.state(11).passed = None;
        });
        broken("by another state", twice, "is of another", |record| {
            record.entries[20].kind = Some(EntryKind::WavePassed);
            record.entries[20].rollout = Some(THREE.to_owned());
            record.entries[20].wave = Some("canary".to_owned());
            let earlier = record.rollout(6).clone();
            *record.rollout(20) = earlier;
        });
        broken("before its opening", order, "has not opened", |record| {
            record.entries[18].kind = Some(EntryKind::WavePassed);
            record.entries[18].rollout = Some(THREE.to_owned());
            record.entries[18].wave = Some("canary".to_owned());
        });
        broken("no wave of it", order, "no wave of rollout", |record| {
            record.entries[20].kind = Some(EntryKind::WavePassed);
            record.entries[20].wave = Some("late".to_owned());
            record.state(20).passed = record.state(11).passed.clone();
        });
        broken("never opened", order, "has not opened", |record| {
            record.commit("c2").rollout = Some("99999999-9".to_owned());
        });
        broken(
            "an unnamed promotion",
            &[Promise::Order, Promise::Intents],
            "no intent of the log names it",
            |record| {
                let commit = Commit {
                    parents: vec![id("b3")],
                    kind: Some(MoveKind::Promote),
                    ..Commit::default()
                };
                record.push(BROAD, "forged", commit);
            },
        );
    }
}
