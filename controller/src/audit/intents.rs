//! Promise 3: every commit on a wave branch is an intent's or known as somebody else's; every intent ends once and
//! truly.

use std::collections::{BTreeSet, HashMap, HashSet};

use tidegate_waves::log::{EntryKind, MoveKind, Outcome};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::RolloutState;

use super::record::{Branch, reverted_rollout};
use super::story::{Move, Story, rollout_in};
use super::{Finding, NOT_OURS, Promise, Verdict, What};

const BY_HAND: &str = "somebody pushed it by hand: a controller that runs lists it as Drift and holds; then tidegate resume --adopt keeps it, --restore puts Tidegate's trees back";
const NO_CONTROLLER: &str = "let a controller look (tidegate run): it completes or seals what is open; tidegate explain says what it waits for";

pub(super) fn check(story: &Story<'_>) -> Verdict {
    let mut verdict = Verdict::of(Promise::Intents);
    let moved: HashSet<&str> = story
        .moves
        .iter()
        .map(|known| known.line.reference.as_str())
        .collect();
    let drift = drift(story);
    for (reference, branch) in &story.record.refs {
        // A branch that no intent names is found where refs are judged.
        if story.record.wave_of(reference).is_some() && moved.contains(reference.as_str()) {
            commits(story, reference, branch, &drift, &mut verdict);
        }
    }
    for (place, entry) in story.judged() {
        for line in &entry.unread {
            verdict.find(
                Finding::new(
                    format!("this trailer says nothing that can be read: {line}"),
                    NOT_OURS,
                )
                .at(story, place),
            );
        }
    }
    for (place, closing) in &story.stray {
        if story.judges(*place) {
            verdict.find(
                Finding::new("it closes a move that is not open", NOT_OURS)
                    .at(story, *place)
                    .on(&closing.reference)
                    .about(closing.new),
            );
        }
    }
    for known in &story.moves {
        if story.judges(known.place) {
            verdict.count(What::Intents);
            for wrong in is_not_what_it_says(story, known) {
                verdict.find(
                    Finding::new(wrong, NOT_OURS)
                        .at(story, known.place)
                        .on(&known.line.reference)
                        .about(known.line.new),
                );
            }
        }
        if let Some((place, outcome)) = known.closed
            && story.judges(place)
        {
            verdict.count(What::Closings);
            if let Some(wrong) = branch_disagrees(story, known, outcome) {
                verdict.find(
                    Finding::new(
                        wrong,
                        "the branch was changed by hand, or the entry was: see who pushed them",
                    )
                    .at(story, place)
                    .on(&known.line.reference)
                    .about(known.line.new),
                );
            }
        }
    }
    one_at_a_time(story, &mut verdict);
    left_open(story, &mut verdict);
    verdict
}

/// The commits that are listed as drift, by ref and commit, and the places of the entries that do.
fn drift<'a>(story: &Story<'a>) -> HashMap<(&'a str, Oid), usize> {
    let mut drift = HashMap::new();
    for (place, entry) in story.record.entries.iter().enumerate() {
        for (reference, id) in &entry.drift {
            drift.entry((reference.as_str(), *id)).or_insert(place);
        }
    }
    drift
}

/// Every commit on a wave branch is the new of exactly one intent, or listed as drift.
fn commits(
    story: &Story<'_>,
    reference: &str,
    branch: &Branch,
    drift: &HashMap<(&str, Oid), usize>,
    verdict: &mut Verdict,
) {
    if let Some(why) = &branch.cut_off {
        verdict.find(
            Finding::new(format!("its history cannot be followed: {why}"), BY_HAND).on(reference),
        );
    }
    for id in &branch.chain {
        let moves: Vec<&Move<'_>> = story
            .moves_to(reference, *id)
            .filter(|known| !known.comes_back())
            .collect();
        let listed = drift.get(&(reference, *id)).copied();
        // What lies below a move that is not judged is older still.
        if let Some(place) = moves.first().map(|first| first.place).or(listed)
            && !story.judges(place)
        {
            break;
        }
        verdict.count(What::BranchCommits);
        let wrong = match (moves.len(), listed) {
            (1, _) | (0, Some(_)) => continue,
            (0, None) => {
                "no intent of the log names this commit, and no entry lists it as drift".to_owned()
            }
            (many, _) => format!("{many} intents of the log name this commit"),
        };
        verdict.find(Finding::new(wrong, BY_HAND).on(reference).about(*id));
    }
}

/// What is wrong with an intent by itself.
fn is_not_what_it_says(story: &Story<'_>, known: &Move<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let parents = story
        .entry(known.place)
        .map(|entry| entry.parents.as_slice())
        .unwrap_or_default();
    if !parents.contains(&known.line.new) {
        wrong.push("the commit that it names is not among the entry's parents".to_owned());
    }
    if known.commit.is_none() {
        wrong.push("the commit that it names is not on the server".to_owned());
    }
    if let Some(draft) = known.draft
        && (Some(draft.draft.kind) != known.kind || draft.draft.old != known.line.old)
    {
        wrong.push(format!(
            "the entry's state says {} from {}, the commit says {} and the message {}",
            draft.draft.kind,
            draft.draft.old.short(8),
            known
                .kind
                .map_or_else(|| "nothing".to_owned(), |kind| kind.to_string()),
            known.line.old.short(8)
        ));
    }
    wrong
}

/// How the branch disagrees with the closing of a move; what was applied is judged with promise 4.
fn branch_disagrees(story: &Story<'_>, known: &Move<'_>, outcome: Outcome) -> Option<String> {
    let reference = known.line.reference.as_str();
    let is_config = story.record.config.as_deref() == Some(reference);
    if !is_config && story.record.wave_of(reference).is_none() {
        return None;
    }
    let Some(branch) = story.record.refs.get(reference) else {
        // Where commits were applied, promise 4 says that the branch is gone.
        let is_said = is_config
            || story
                .moves_of_ref(reference)
                .any(|other| matches!(other.closed, Some((_, Outcome::Applied))));
        return (outcome == Outcome::Overtaken && !is_said)
            .then(|| "it is closed as overtaken, and there is no such branch".to_owned());
    };
    match outcome {
        Outcome::Applied => None,
        Outcome::Sealed if is_config => {
            Some("it is closed as sealed, and nothing seals a move of the config branch".to_owned())
        }
        Outcome::Sealed => {
            let has_seal = story
                .seals_on(reference, known.line.old)
                .iter()
                .any(|seal| branch.contains.contains(seal));
            (!has_seal)
                .then(|| "it is closed as sealed, and no seal of it is on the branch".to_owned())
        }
        Outcome::Overtaken if branch.contains.contains(&known.line.new) => {
            Some("it is closed as overtaken, and the branch contains it".to_owned())
        }
        Outcome::Overtaken => is_not_overtaken(story, known, branch, is_config).map(str::to_owned),
    }
}

/// Why the branch is not ahead of what a move starts from, or is by its seal.
fn is_not_overtaken(
    story: &Story<'_>,
    known: &Move<'_>,
    branch: &Branch,
    is_config: bool,
) -> Option<&'static str> {
    let old = known.line.old;
    if branch.tip == Some(old) {
        return Some(
            "it is closed as overtaken, and the branch still stands at the commit that it starts from",
        );
    }
    // People may rewrite the config branch; what Tidegate applied there is judged with promise 4.
    if !is_config && !old.is_zero() && !branch.contains.contains(&old) {
        return Some(
            "it is closed as overtaken, and the branch does not contain the commit that it starts from",
        );
    }
    let is_sealed = story
        .seals_on(&known.line.reference, old)
        .iter()
        .any(|seal| *seal != known.line.new && branch.contains.contains(seal));
    is_sealed.then_some("it is closed as overtaken, and its seal is on the branch")
}

/// At most one intent is open on a ref besides its seal, and each entry's state lists what is open.
fn one_at_a_time(story: &Story<'_>, verdict: &mut Verdict) {
    let mut known_difference: BTreeSet<(&str, Oid)> = BTreeSet::new();
    story.replay(|place, entry, open| {
        let mut now: Vec<&Move<'_>> = open.to_vec();
        for next in story.moves_of(place) {
            let beside: Vec<&&Move<'_>> = now
                .iter()
                .filter(|known| known.line.reference == next.line.reference)
                .collect();
            let seals = next.is(MoveKind::Seal)
                && beside
                    .iter()
                    .all(|known| known.line.old == next.line.old && !known.is(MoveKind::Seal));
            // A deleted branch comes back to where what is open on it begins.
            let comes_back =
                next.comes_back() && beside.iter().all(|known| known.line.old == next.line.new);
            if !beside.is_empty() && !seals && !comes_back && story.judges(place) {
                verdict.find(
                    Finding::new(
                        "it allows a move of a ref on which another is open",
                        NOT_OURS,
                    )
                    .at(story, place)
                    .on(&next.line.reference)
                    .about(next.line.new),
                );
            }
            now.push(next);
        }
        let Ok(state) = &entry.state else {
            return;
        };
        let by_message: BTreeSet<(&str, Oid)> = now
            .iter()
            .map(|known| (known.line.reference.as_str(), known.line.new))
            .collect();
        let by_state: BTreeSet<(&str, Oid)> = state
            .intents
            .iter()
            .map(|intent| (intent.draft.reference.as_str(), intent.new))
            .collect();
        let difference: BTreeSet<(&str, Oid)> = by_message
            .symmetric_difference(&by_state)
            .copied()
            .collect();
        for (reference, new) in difference.difference(&known_difference) {
            if story.judges(place) {
                let wrong = if by_state.contains(&(*reference, *new)) {
                    "its state lists this move as open, and by the messages it is not"
                } else {
                    "by the messages this move is open, and its state does not list it"
                };
                verdict.find(
                    Finding::new(wrong, NOT_OURS)
                        .at(story, place)
                        .on(reference)
                        .about(*new),
                );
            }
        }
        known_difference = difference;
    });
}

/// What is open at the end may be.
fn left_open(story: &Story<'_>, verdict: &mut Verdict) {
    let mut current = None;
    let mut incomplete: HashSet<&str> = HashSet::new();
    let mut named: HashSet<(&str, Oid)> = HashSet::new();
    for entry in &story.record.entries {
        let failed = entry.kind == Some(EntryKind::Failed);
        named.extend(
            entry
                .open
                .iter()
                .filter(|_| failed)
                .map(|(reference, new)| (reference.as_str(), *new)),
        );
        if let Some(rollout) = rollout_in(entry) {
            current = Some(rollout.id.as_str());
            if rollout.state == RolloutState::RollbackIncomplete {
                incomplete.insert(&rollout.id);
            }
        }
        // What was named is sealed, or given back when it arrives, in its own rollout's name.
        if failed && !entry.open.is_empty() {
            incomplete.extend(entry.rollout.as_deref());
        }
    }
    for known in &story.moves {
        let reference = known.line.reference.as_str();
        let for_source = story.record.config.as_deref() == Some(reference)
            || reverted_rollout(reference).is_some();
        let may_be_open = for_source
            || known.rollout.is_none()
            || known.rollout == current
            || named.contains(&(reference, known.line.new))
            || (known
                .rollout
                .is_some_and(|rollout| incomplete.contains(rollout))
                && (known.is(MoveKind::Seal) || known.is(MoveKind::Revert)));
        if known.closed.is_none() && !may_be_open && story.judges(known.place) {
            verdict.find(
                Finding::new(
                    format!(
                        "this move of rollout {} is open, and the rollout is over",
                        known.rollout.unwrap_or("(none)")
                    ),
                    NO_CONTROLLER,
                )
                .at(story, known.place)
                .on(reference)
                .about(known.line.new),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_waves::log::{Closing, DraftIntent, MoveKind, Outcome};

    use crate::audit::Promise;
    use crate::audit::record::{Branch, Commit};
    use crate::audit::tests::broken;
    use crate::audit::tests::world::{CANARY, MAIN, id};

    #[test]
    fn commits_and_intents_that_do_not_fit_are_found() {
        let intents = &[Promise::Intents][..];
        broken(
            "a foreign commit",
            intents,
            "no entry lists it as drift",
            |record| {
                record.push(CANARY, "foreign", Commit::default());
            },
        );
        broken(
            "drift that is not listed",
            intents,
            "no entry lists it as drift",
            |record| {
                record.entries[16].drift.clear();
            },
        );
        broken("two intents for a commit", intents, "2 intents", |record| {
            let line = record.entries[13].intents[0].clone();
            let intent = record.state(13).intents.last().cloned();
            let entry = &mut record.entries[20];
            entry.parents.push(line.new);
            entry.intents.push(line.clone());
            record.entries[21].closed.push(Closing {
                reference: line.reference,
                new: line.new,
                outcome: Outcome::Applied,
            });
            record.state(20).intents.extend(intent);
        });
        broken(
            "closed without being open",
            intents,
            "closes a move that is not open",
            |record| {
                record.entries[20].closed.push(Closing {
                    reference: CANARY.to_owned(),
                    new: id("c1"),
                    outcome: Outcome::Applied,
                });
            },
        );
        broken("left open", intents, "the rollout is over", |record| {
            record.close_later("c3", 14, usize::MAX);
        });
        broken(
            "two at a time",
            intents,
            "on which another is open",
            |record| {
                record.close_later("c3", 14, usize::MAX);
            },
        );
        broken(
            "not pinned",
            intents,
            "not among the entry's parents",
            |record| {
                record.entries[8]
                    .parents
                    .retain(|parent| *parent != id("c2"));
            },
        );
        broken(
            "not on the server",
            intents,
            "not on the server",
            |record| {
                record.commits.remove(&id("c4"));
            },
        );
        broken(
            "another kind",
            &[Promise::Intents, Promise::Reverts],
            "the commit says restore",
            |record| {
                record.commit("c4").kind = Some(MoveKind::Restore);
            },
        );
        broken(
            "overtaken and there",
            intents,
            "and the branch contains it",
            |record| {
                record.entries[10].closed[0].outcome = Outcome::Overtaken;
            },
        );
        broken(
            "overtaken by nothing",
            intents,
            "still stands at the commit that it starts from",
            |record| {
                record.entries[14].closed[0].outcome = Outcome::Overtaken;
                let branch = record.branch(CANARY);
                branch.tip = Some(id("c2"));
                branch.chain.remove(0);
                branch.contains.remove(&id("c3"));
            },
        );
        broken(
            "a revert that is overtaken by nothing",
            intents,
            "still stands at the commit that it starts from",
            |record| {
                record.entries[15].closed[0].outcome = Outcome::Overtaken;
                *record.branch(MAIN) = Branch {
                    tip: Some(id("m2")),
                    contains: [id("m1"), id("m2")].into(),
                    ..Branch::default()
                };
            },
        );
        broken(
            "overtaken by its seal",
            intents,
            "its seal is on the branch",
            |record| {
                record.entries[13].closed[0].outcome = Outcome::Overtaken;
            },
        );
        broken(
            "a branch that was overtaken and is not there",
            intents,
            "there is no such branch",
            |record| {
                let draft = DraftIntent {
                    reference: "refs/heads/t/late".to_owned(),
                    wave: "late".to_owned(),
                    ..record.state(2).intents[0].draft.clone()
                };
                let commit = record.commit("c0").clone();
                record.commits.insert(id("l0"), commit);
                record.allow(2, &draft, id("l0"));
                record.close(3, "refs/heads/t/late", "l0", Outcome::Overtaken);
            },
        );
        broken(
            "a revert that is sealed",
            intents,
            "nothing seals a move of the config branch",
            |record| {
                record.entries[15].closed[0].outcome = Outcome::Sealed;
                record.branch(MAIN).contains.remove(&id("m3"));
            },
        );
        broken(
            "sealed without a seal",
            &[Promise::Endings, Promise::Intents],
            "no seal of it",
            |record| {
                record.entries[10].closed[0].outcome = Outcome::Sealed;
            },
        );
        broken(
            "an unreadable trailer",
            intents,
            "nothing that can be read",
            |record| {
                record.entries[20]
                    .unread
                    .push("Tidegate-Intent: what".to_owned());
            },
        );
        broken(
            "the state lists too much",
            intents,
            "lists this move as open",
            |record| {
                let intent = record.state(8).intents[0].clone();
                record.state(20).intents.push(intent);
            },
        );
        broken(
            "the state lists too little",
            intents,
            "does not list it",
            |record| {
                record.state(9).intents.clear();
            },
        );
    }
}
