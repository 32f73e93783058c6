//! Promise 7: at most one automatic revert for each rollout, for a reason that is named.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tidegate_waves::log::{EntryKind, MoveKind, Outcome};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{Failure, FailureReason};

use super::record::Entry;
use super::story::Story;
use super::{Finding, Promise, Verdict, What};

const NOT_OURS: &str = "a controller does not do that: see who pushed this entry, and report it to Tidegate with the log if a controller did";

pub(super) fn check(story: &Story<'_>) -> Verdict {
    let mut verdict = Verdict::of(Promise::Reverts);
    let mut failed: HashMap<&str, usize> = HashMap::new();
    for (place, entry) in story.record.entries.iter().enumerate() {
        if entry.kind != Some(EntryKind::Failed) {
            continue;
        }
        let judged = story.judges(place);
        if judged {
            verdict.count(What::Failures);
        }
        let mut wrong = Vec::new();
        match entry.rollout.as_deref() {
            Some(rollout) => {
                if failed.insert(rollout, place).is_some() {
                    wrong.push(format!("rollout {rollout} failed before"));
                }
                wrong.extend(names_too_little(story, place, entry, rollout));
            }
            None => wrong.push("it names no rollout".to_owned()),
        }
        for message in wrong.into_iter().filter(|_| judged) {
            verdict.find(Finding::new(message, NOT_OURS).at(story, place));
        }
    }
    config_moves(story, &failed, &mut verdict);
    config_commits(story, &mut verdict);
    verdict
}

/// What a `Failed` does not say of what it judged, or says wrongly.
fn names_too_little(
    story: &Story<'_>,
    place: usize,
    entry: &Entry,
    rollout: &str,
) -> Option<String> {
    // A state that cannot be read is found where the log is judged.
    let state = entry.state.as_ref().ok()?;
    let Some(record) = state.rollout.as_ref().filter(|record| record.id == rollout) else {
        return Some(format!("its state says nothing of rollout {rollout}"));
    };
    let Some(failure) = &record.failure else {
        return Some("it names no region, gate and tree".to_owned());
    };
    if failure.reason == FailureReason::Requested {
        return None;
    }
    let Some(tree) = failure.tree.filter(|_| !failure.region.is_empty()) else {
        return Some("it does not name the region and the tree that it judged".to_owned());
    };
    if failure.gate.is_empty() && failure.reason == FailureReason::Harm {
        return Some(format!(
            "it names no gate for the harm that it found in {}",
            failure.region
        ));
    }
    let good = record
        .base_last_good
        .and_then(|file| story.record.last_good.get(&file))?;
    if good.get(&failure.region) == Some(&tree)
        && !was_put_there(story, place, rollout, failure, tree)
    {
        return Some(format!(
            "it judged a tree of {} that is last good there, and that the rollout did not bring",
            failure.region
        ));
    }
    let plan = story.plan(rollout)?;
    let brings_nothing = plan
        .regions
        .iter()
        .all(|(region, planned)| good.get(region) == Some(&planned.tree));
    brings_nothing.then(|| format!("every tree of rollout {rollout} is last good"))
}

/// Whether a rollout brought a tree to the region that it failed in.
fn was_put_there(
    story: &Story<'_>,
    place: usize,
    rollout: &str,
    failure: &Failure,
    tree: Oid,
) -> bool {
    story.moves_for(rollout).any(|known| {
        known.place < place
            && known.is(MoveKind::Promote)
            && known
                .commit
                .and_then(|commit| commit.changes.as_ref())
                .is_some_and(|changes| {
                    changes
                        .iter()
                        .any(|change| change.name == failure.region && change.now == Some(tree))
                })
    })
}

/// Each rollout is reverted once at most, and behind its failure.
fn config_moves(story: &Story<'_>, failed: &HashMap<&str, usize>, verdict: &mut Verdict) {
    let Some(config) = story.record.config.as_deref() else {
        return;
    };
    let branch = story.record.refs.get(config);
    let mut reverted: BTreeMap<&str, BTreeSet<Oid>> = BTreeMap::new();
    for known in story
        .moves
        .iter()
        .filter(|known| known.line.reference == config)
    {
        let judged = story.judges(known.place);
        if judged {
            verdict.count(What::Reverts);
        }
        let Some(rollout) = known.rollout else {
            if judged {
                verdict.find(
                    Finding::new(
                        "it allows a move of the config branch for no rollout",
                        NOT_OURS,
                    )
                    .at(story, known.place)
                    .on(config)
                    .about(known.line.new),
                );
            }
            continue;
        };
        if failed
            .get(rollout)
            .is_none_or(|failed| *failed > known.place)
            && judged
        {
            verdict.find(
                Finding::new(
                    format!("it reverts rollout {rollout}, which has not failed"),
                    NOT_OURS,
                )
                .at(story, known.place)
                .on(config)
                .about(known.line.new),
            );
        }
        let happened = matches!(known.closed, Some((_, Outcome::Applied)))
            || branch.is_some_and(|branch| branch.contains.contains(&known.line.new));
        if !happened {
            continue;
        }
        let commits = reverted.entry(rollout).or_default();
        if commits.insert(known.line.new) && commits.len() > 1 && judged {
            verdict.find(
                Finding::new(
                    format!("rollout {rollout} was reverted {} times", commits.len()),
                    NOT_OURS,
                )
                .at(story, known.place)
                .on(config)
                .about(known.line.new),
            );
        }
    }
}

/// Of Tidegate's commits only its reverts are on the config branch.
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
    let reverted: HashSet<&str> = story
        .moves
        .iter()
        .filter(|known| known.is(MoveKind::SourceRevert))
        .filter_map(|known| known.rollout)
        .collect();
    let mut wrong: Vec<(Oid, &'static str)> = Vec::new();
    for id in &branch.contains {
        verdict.count(What::ConfigCommits);
        let unasked = record.commits.get(id).is_some_and(|commit| {
            commit.by_log_author
                && commit.rollout.as_deref().is_some_and(|rollout| {
                    story.opening(rollout).is_some() && !reverted.contains(rollout)
                })
        });
        if entries.contains(id) {
            wrong.push((*id, "an entry of the log is on the config branch"));
        } else if rendered.contains(id) {
            wrong.push((*id, "a commit of a wave branch is on the config branch"));
        } else if unasked {
            wrong.push((*id, "a commit in Tidegate's name is on the config branch, and the log never allowed one for its rollout"));
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
    use tidegate_waves::log::{Closing, EntryKind, Outcome};

    use crate::audit::Promise;
    use crate::audit::record::Commit;
    use crate::audit::tests::broken;
    use crate::audit::tests::world::{MAIN, ONE, TWO, id};

    #[test]
    fn reverts_without_a_reason_are_found() {
        let reverts = &[Promise::Reverts][..];
        broken(
            "no failure",
            reverts,
            "names no region, gate and tree",
            |record| {
                record.rollout(13).failure = None;
            },
        );
        broken("no gate", reverts, "names no gate", |record| {
            record.rollout(13).failure.as_mut().unwrap().gate.clear();
        });
        broken("no tree", reverts, "region and the tree", |record| {
            record.rollout(13).failure.as_mut().unwrap().tree = None;
        });
        broken(
            "a tree that is last good",
            reverts,
            "that is last good there",
            |record| {
                let failure = record.rollout(13).failure.as_mut().unwrap();
                (failure.region, failure.tree) = ("east".to_owned(), Some(id("east1")));
            },
        );
        broken(
            "every tree is last good",
            reverts,
            "every tree of rollout",
            |record| {
                let good = record.last_good.get_mut(&id("good1")).unwrap();
                good.insert("west".to_owned(), id("west2"));
                good.insert("east".to_owned(), id("east2"));
            },
        );
        broken("failed twice", reverts, "failed before", |record| {
            let entry = &mut record.entries[20];
            (entry.kind, entry.rollout) = (Some(EntryKind::Failed), Some(TWO.to_owned()));
        });
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
    }
}
