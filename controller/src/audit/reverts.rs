//! Promise 7: at most one automatic revert for each rollout, for a reason that is named.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tidegate_waves::log::Outcome;
use tidegate_waves::oid::Oid;

use super::brought::Brought;
use super::record::reverted_rollout;
use super::story::{Move, Story};
use super::{Finding, Promise, Verdict, What, failures, give_backs};

const NOT_OURS: &str = "a controller does not do that: see who pushed this entry, and report it to Tidegate with the log if a controller did";

pub(super) fn check(story: &Story<'_>) -> Verdict {
    let mut verdict = Verdict::of(Promise::Reverts);
    let brought = Brought::of(story);
    let failed = failures::check(story, &brought, &mut verdict);
    source_moves(story, &failed, &mut verdict);
    config_commits(story, &mut verdict);
    give_backs::check(story, &brought, &mut verdict);
    verdict
}

/// Each rollout is reverted once at most, and behind its failure; so is what is proposed.
fn source_moves(story: &Story<'_>, failed: &HashMap<&str, usize>, verdict: &mut Verdict) {
    let config = story.record.config.as_deref();
    let branch = config.and_then(|config| story.record.refs.get(config));
    let mut reverted: BTreeMap<&str, BTreeSet<Oid>> = BTreeMap::new();
    for known in &story.moves {
        let reference = known.line.reference.as_str();
        if !story.record.is_for_source(reference) {
            continue;
        }
        let judged = story.judges(known.place);
        if judged {
            verdict.count(What::Reverts);
        }
        let mut wrong = Vec::new();
        match known.rollout {
            None => wrong.push(format!("it allows a move of {reference} for no rollout")),
            Some(rollout) => {
                if failed
                    .get(rollout)
                    .is_none_or(|failed| *failed > known.place)
                {
                    wrong.push(format!(
                        "it reverts rollout {rollout}, which has not failed"
                    ));
                }
            }
        }
        wrong.extend(is_no_proposal(story, known));
        if let Some(rollout) = known.rollout.filter(|_| config == Some(reference)) {
            let happened = matches!(known.closed, Some((_, Outcome::Applied)))
                || branch.is_some_and(|branch| branch.contains.contains(&known.line.new));
            if happened {
                let commits = reverted.entry(rollout).or_default();
                if commits.insert(known.line.new) && commits.len() > 1 && judged {
                    wrong.push(format!(
                        "rollout {rollout} was reverted {} times",
                        commits.len()
                    ));
                }
            }
        }
        for message in wrong.into_iter().filter(|_| judged) {
            verdict.find(
                Finding::new(message, NOT_OURS)
                    .at(story, known.place)
                    .on(reference)
                    .about(known.line.new),
            );
        }
    }
}

/// Why a move of a pull request's branch is not the one that makes it, for the rollout that it is named after.
fn is_no_proposal(story: &Story<'_>, known: &Move<'_>) -> Option<String> {
    let reference = known.line.reference.as_str();
    let named = reverted_rollout(reference)?;
    if known.rollout.is_some_and(|rollout| rollout != named) {
        return Some(format!(
            "it puts the revert of another rollout on the branch of {named}"
        ));
    }
    // Somebody else's branch of that name may be in the way once, and gone the next time.
    let was_there = story.moves_of_ref(reference).any(
        |other| matches!(other.closed, Some((place, Outcome::Applied)) if place <= known.place),
    );
    (was_there || !known.line.old.is_zero()).then(|| {
        "the branch of a revert's pull request is made once, and this moves one that was there"
            .to_owned()
    })
}

/// Of Tidegate's commits only its reverts are on the config branch, one for each rollout.
fn config_commits(story: &Story<'_>, verdict: &mut Verdict) {
    let record = story.record;
    let Some((config, branch)) = record
        .config
        .as_deref()
        .and_then(|config| Some((config, record.refs.get(config)?)))
    else {
        return;
    };
    let entries: HashSet<Oid> = record.entries.iter().map(|entry| entry.id).collect();
    let rendered: HashSet<Oid> = story
        .moves
        .iter()
        .filter(|known| record.wave_of(&known.line.reference).is_some())
        .map(|known| known.line.new)
        .collect();
    let reverts: Vec<&Move<'_>> = story
        .moves
        .iter()
        .filter(|known| record.is_for_source(&known.line.reference))
        .collect();
    let named: HashSet<Oid> = reverts.iter().map(|known| known.line.new).collect();
    let of_rollouts = |only_proposed: bool| -> HashSet<&str> {
        reverts
            .iter()
            .filter(|known| !only_proposed || reverted_rollout(&known.line.reference).is_some())
            .filter_map(|known| known.rollout)
            .collect()
    };
    let (reverted, proposed) = (of_rollouts(false), of_rollouts(true));
    let mut wrong: Vec<(Oid, &'static str)> = Vec::new();
    for id in &branch.contains {
        verdict.count(What::ConfigCommits);
        if entries.contains(id) {
            wrong.push((*id, "an entry of the log is on the config branch"));
            continue;
        }
        if rendered.contains(id) {
            wrong.push((*id, "a commit of a wave branch is on the config branch"));
            continue;
        }
        let Some((commit, rollout)) = record
            .commits
            .get(id)
            .filter(|commit| commit.by_log_author && !named.contains(id))
            .and_then(|commit| Some((commit, commit.rollout.as_deref()?)))
            .filter(|(_, rollout)| story.opening(rollout).is_some())
        else {
            continue;
        };
        if !reverted.contains(rollout) {
            wrong.push((*id, "a commit in Tidegate's name is on the config branch, and the log never allowed one for its rollout"));
        } else if commit.is_by_its_author && !proposed.contains(rollout) {
            // A pull request may be merged as a copy of its commit, and a person may pick a commit: others commit those.
            wrong.push((*id, "a revert in Tidegate's name is on the config branch, and the log allowed another one for its rollout"));
        }
    }
    wrong.sort_unstable();
    for (id, message) in wrong {
        verdict.find(
            Finding::new(
                message,
                "somebody pushed or merged it there: see who, and revert it",
            )
            .on(config)
            .about(id),
        );
    }
}

#[cfg(test)]
mod tests {
    use tidegate_waves::log::{Closing, Outcome};
    use tidegate_waves::oid::Oid;

    use crate::audit::record::Commit;
    use crate::audit::tests::world::{MAIN, ONE, TWO, clean, id};
    use crate::audit::tests::{broken, findings};
    use crate::audit::{Promise, Scope};

    #[test]
    fn reverts_without_a_reason_are_found() {
        let reverts = &[Promise::Reverts][..];
        broken(
            "reverted without a failure",
            reverts,
            "which has not failed",
            |record| {
                record.commit("m3").rollout = Some(ONE.to_owned());
            },
        );
        broken(
            "reverted twice",
            reverts,
            "was reverted 2 times",
            |record| {
                let mut line = record.entries[14].intents[0].clone();
                let mut intent = record.state(14).intents.last().cloned().unwrap();
                (line.old, line.new) = (id("m3"), id("m4"));
                (intent.draft.old, intent.new) = (id("m3"), id("m4"));
                let commit = Commit {
                    parents: vec![id("m3")],
                    ..record.commit("m3").clone()
                };
                record.push(MAIN, "m4", commit);
                record.entries[20].parents.push(line.new);
                record.entries[21].closed.push(Closing {
                    reference: MAIN.to_owned(),
                    new: line.new,
                    outcome: Outcome::Applied,
                });
                record.entries[20].intents.push(line);
                record.state(20).intents.push(intent);
            },
        );
        broken(
            "the log on the config branch",
            reverts,
            "an entry of the log",
            |record| {
                let entry = record.entries[3].id;
                record.branch(MAIN).contains.insert(entry);
            },
        );
        broken(
            "a wave on the config branch",
            reverts,
            "a commit of a wave branch",
            |record| {
                record.branch(MAIN).contains.insert(id("c1"));
            },
        );
        broken(
            "a revert that nobody allowed",
            reverts,
            "in Tidegate's name",
            |record| {
                let commit = Commit {
                    rollout: Some(ONE.to_owned()),
                    by_log_author: true,
                    ..Commit::default()
                };
                record.push(MAIN, "x", commit);
            },
        );
        broken(
            "a second revert that no intent names",
            reverts,
            "the log allowed another one",
            |record| {
                let second = record.commit("m3").clone();
                record.push(MAIN, "m4", second);
            },
        );
    }

    #[test]
    fn proposals_without_a_reason_are_found() {
        let reverts = &[Promise::Reverts][..];
        let proposal = |rollout: &str| format!("refs/heads/tidegate-revert/{rollout}");
        broken(
            "of a rollout that never failed",
            reverts,
            "which has not failed",
            |record| record.propose(20, &proposal(ONE), Oid::ZERO, "p1", ONE),
        );
        broken(
            "of another rollout",
            reverts,
            "the revert of another rollout",
            |record| record.propose(20, &proposal(ONE), Oid::ZERO, "p1", TWO),
        );
        broken("twice", reverts, "is made once", |record| {
            record.propose(16, &proposal(TWO), Oid::ZERO, "p1", TWO);
            record.close(17, &proposal(TWO), "p1", Outcome::Applied);
            record.propose(20, &proposal(TWO), Oid::ZERO, "p2", TWO);
        });
        broken("moved on", reverts, "is made once", |record| {
            record.propose(20, &proposal(TWO), id("p1"), "p2", TWO);
        });
    }

    #[test]
    fn reverts_that_people_merge_are_theirs() {
        let reference = format!("refs/heads/tidegate-revert/{TWO}");
        let mut record = clean();
        record.propose(16, &reference, Oid::ZERO, "p1", TWO);
        // Somebody else's branch was in the way.
        record.close(17, &reference, "p1", Outcome::Overtaken);
        record.propose(18, &reference, Oid::ZERO, "p2", TWO);
        record.close(19, &reference, "p2", Outcome::Applied);
        let proposed = record.commit("p2").clone();
        // Merged as it is, and as a copy in its author's name.
        record.push(MAIN, "p2", proposed.clone());
        record.push(MAIN, "copy", proposed.clone());
        assert_eq!(findings(&record, &Scope::default()), []);
        // Picked by a person once more.
        let mut record = clean();
        let picked = Commit {
            is_by_its_author: false,
            ..record.commit("m3").clone()
        };
        record.push(MAIN, "picked", picked);
        assert_eq!(findings(&record, &Scope::default()), []);
    }
}
