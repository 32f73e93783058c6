//! Promise 4: branches only move forward.

use std::collections::BTreeMap;

use tidegate_waves::log::{MoveKind, Outcome};

use super::record::reverted_rollout;
use super::story::{Move, Story};
use super::{Finding, NOT_OURS, Promise, Verdict, What};

pub(super) fn check(story: &Story<'_>) -> Verdict {
    let mut verdict = Verdict::of(Promise::Forward);
    for known in story.moves.iter().filter(|known| story.judges(known.place)) {
        verdict.count(What::Intents);
        if let Some(wrong) = is_no_step_forward(known) {
            verdict.find(
                Finding::new(wrong, NOT_OURS)
                    .at(story, known.place)
                    .on(&known.line.reference)
                    .about(known.line.new),
            );
        }
    }
    for (reference, lost) in lost(story, &mut verdict) {
        let there = story.record.refs.contains_key(reference);
        let what = match (there, lost.as_slice()) {
            (_, []) => continue,
            (false, _) => "the branch is gone, and the log calls commits on it applied".to_owned(),
            (true, [_]) => {
                "the branch no longer contains a commit that the log calls applied".to_owned()
            }
            (true, many) => format!(
                "the branch no longer contains {} commits that the log calls applied; the newest is this",
                many.len()
            ),
        };
        let advice = if story.record.config.as_deref() == Some(reference) {
            "somebody rewrote the config branch: if that is as it should be, audit from a later entry on with --since"
        } else if there {
            "somebody rewound or rewrote the branch: push the commit back (git push REPO COMMIT:REF) from a clone that has it; the log has it among its entries' parents"
        } else {
            "somebody deleted the branch: tidegate resume --restore brings it back"
        };
        if let Some((place, known)) = lost.last() {
            verdict.find(
                Finding::new(what, advice)
                    .at(story, *place)
                    .on(reference)
                    .about(known.line.new),
            );
        }
    }
    verdict
}

/// By ref, what the log calls applied and its branch no longer contains, in the order of the closings.
fn lost<'s>(
    story: &'s Story<'_>,
    verdict: &mut Verdict,
) -> BTreeMap<&'s str, Vec<(usize, &'s Move<'s>)>> {
    let mut lost: BTreeMap<&str, Vec<(usize, &Move<'_>)>> = BTreeMap::new();
    for known in &story.moves {
        let reference = known.line.reference.as_str();
        let Some((place, Outcome::Applied)) = known.closed else {
            continue;
        };
        // The branch of a pull request is the people's once it is there: a forge deletes it after the merge.
        if !story.judges(place) || reverted_rollout(reference).is_some() {
            continue;
        }
        verdict.count(What::AppliedCommits);
        let branch = story.record.refs.get(reference);
        if !branch.is_some_and(|branch| branch.contains.contains(&known.line.new)) {
            lost.entry(reference).or_default().push((place, known));
        }
    }
    for moves in lost.values_mut() {
        moves.sort_by_key(|(place, _)| *place);
    }
    lost
}

/// Why a move is no fast-forward by one commit.
fn is_no_step_forward(known: &Move<'_>) -> Option<String> {
    let (old, new) = (known.line.old, known.line.new);
    if new.is_zero() {
        return Some("it allows a deletion".to_owned());
    }
    if old.is_zero() && known.is(MoveKind::Promote) {
        return Some("it promotes to a branch that does not exist".to_owned());
    }
    // A commit that is not there is found where intents are judged.
    let parents = known.commit?.parents.as_slice();
    let follows = match (old.is_zero(), known.kind) {
        (true, Some(MoveKind::Restore)) => true,
        (true, Some(MoveKind::SourceRevert)) => parents.len() == 1,
        (true, _) => parents.is_empty(),
        (false, _) => parents == [old],
    };
    (!follows).then(|| {
        format!(
            "it allows a move from {}, which is not the only parent of the new commit",
            old.short(8)
        )
    })
}

#[cfg(test)]
mod tests {
    use tidegate_waves::oid::Oid;

    use crate::audit::Promise;
    use crate::audit::tests::broken;
    use crate::audit::tests::world::{BROAD, CANARY, MAIN, id};

    #[test]
    fn branches_that_moved_back_are_found() {
        let forward = &[Promise::Forward][..];
        broken(
            "rewound",
            forward,
            "no longer contains a commit",
            |record| {
                let branch = record.branch(CANARY);
                branch.chain.remove(0);
                branch.contains.remove(&id("c3"));
            },
        );
        broken("deleted", forward, "the branch is gone", |record| {
            record.refs.remove(BROAD);
        });
        broken(
            "the config branch rewritten",
            forward,
            "no longer contains a commit",
            |record| {
                record.branch(MAIN).contains.remove(&id("m3"));
            },
        );
        broken(
            "no fast-forward",
            forward,
            "not the only parent",
            |record| {
                record.commit("c4").parents = vec![id("c2")];
            },
        );
        broken("a merge", forward, "not the only parent", |record| {
            record.commit("c4").parents.push(id("c2"));
        });
        broken(
            "a deletion",
            &[Promise::Intents, Promise::Forward],
            "allows a deletion",
            |record| {
                record.entries[21].intents[0].new = Oid::ZERO;
            },
        );
        broken(
            "a promotion from nothing",
            &[Promise::Forward],
            "does not exist",
            |record| {
                record.entries[21].intents[0].old = Oid::ZERO;
                record.state(21).intents[0].draft.old = Oid::ZERO;
            },
        );
    }
}
