//! Promise 5: a commit changes its batch's folders alone; refs are those of the table.

use std::collections::HashSet;

use tidegate_waves::log::MoveKind;

use super::record::{RootChange, reverted_rollout};
use super::story::{Move, Story};
use super::{Finding, Promise, Verdict, What};

const NOT_OURS: &str = "a controller does not do that: hold the fleet (tidegate hold), and see who pushed this entry and its commit";

pub(super) fn check(story: &Story<'_>) -> Verdict {
    let mut verdict = Verdict::of(Promise::Folders);
    for known in story.moves.iter().filter(|known| story.judges(known.place)) {
        let reference = known.line.reference.as_str();
        let wrong = match story.record.wave_of(reference) {
            Some(wave) => {
                verdict.count(What::ComparedCommits);
                beyond_its_batch(story, known, wave)
            }
            None if is_of_the_table(story, reference) => continue,
            None => Some("it allows a move of a ref that is none of Tidegate's".to_owned()),
        };
        if let Some(wrong) = wrong {
            verdict.find(
                Finding::new(wrong, NOT_OURS)
                    .at(story, known.place)
                    .on(reference)
                    .about(known.line.new),
            );
        }
    }
    refs(story, &mut verdict);
    verdict
}

/// Whether a ref is the config branch, or a branch for the revert of a rollout that opened.
fn is_of_the_table(story: &Story<'_>, reference: &str) -> bool {
    story.record.config.as_deref() == Some(reference)
        || reverted_rollout(reference).is_some_and(|rollout| story.opening(rollout).is_some())
}

/// What a move's commit changes that it should not.
fn beyond_its_batch(story: &Story<'_>, known: &Move<'_>, wave: &str) -> Option<String> {
    if known.comes_back() {
        return None;
    }
    let changes = match &known.commit?.changes {
        Some(changes) => changes.as_slice(),
        None => return Some("its tree cannot be compared with its parent's".to_owned()),
    };
    if let Some(file) = changes.iter().find(|change| !change.is_folder) {
        return Some(format!(
            "it changes {}, which is no region's folder",
            file.name
        ));
    }
    let unchanging = matches!(
        known.kind,
        Some(MoveKind::Create | MoveKind::Seal | MoveKind::Adopt)
    );
    if unchanging && let Some(change) = changes.first() {
        return Some(format!(
            "it should change nothing, and changes {}",
            change.name
        ));
    }
    if known.is(MoveKind::Promote)
        && let Some(plan) = known.rollout.and_then(|rollout| story.plan(rollout))
    {
        let planned = plan.waves.iter().find(|planned| planned.name == wave);
        let stranger = changes
            .iter()
            .find(|change| planned.is_none_or(|planned| !planned.regions.contains(&change.name)));
        if let Some(stranger) = stranger {
            return Some(format!(
                "it changes {}, which the plan does not have in {wave}",
                stranger.name
            ));
        }
    }
    let draft = known.draft?;
    if draft.draft.wave != wave {
        return Some(format!(
            "the entry's state says that it is for wave {}",
            draft.draft.wave
        ));
    }
    let is_of_batch = |change: &&RootChange| {
        draft
            .draft
            .folders
            .iter()
            .any(|folder| folder.region == change.name && folder.tree == change.now)
    };
    let beyond = changes
        .iter()
        .find(|change| !is_of_batch(change))
        .map(|change| {
            format!(
                "it changes {} otherwise than the entry's state says of its batch",
                change.name
            )
        });
    beyond.or_else(|| short_of_its_batch(known, changes))
}

/// A region of a move's batch that its commit does not have as the batch says.
fn short_of_its_batch(known: &Move<'_>, changes: &[RootChange]) -> Option<String> {
    let commit = known.commit?;
    let changed: HashSet<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    let missing = known.draft?.draft.folders.iter().find(|folder| {
        // A folder that stood there as it should needs no change.
        !changed.contains(folder.region.as_str())
            && commit.unchanged.get(&folder.region) != Some(&folder.tree)
    })?;
    Some(format!(
        "it leaves {} as it was, which the entry's state has in its batch",
        missing.region
    ))
}

/// The refs below the prefix are the log, the requests and the branches of waves.
fn refs(story: &Story<'_>, verdict: &mut Verdict) {
    let moved: HashSet<&str> = story
        .moves
        .iter()
        .map(|known| known.line.reference.as_str())
        .collect();
    let below = format!("refs/heads/{}/", story.record.prefix);
    for reference in story.record.refs.keys() {
        if !reference.starts_with(&below) {
            continue;
        }
        verdict.count(What::Refs);
        let known = reference.strip_prefix(&below) == Some("requests")
            || (moved.contains(reference.as_str()) && story.record.wave_of(reference).is_some());
        if !known {
            verdict.find(
                Finding::new(
                    "no entry of the log ever named this ref",
                    "whatever is below the prefix is Tidegate's: move this branch elsewhere, and see who pushed it",
                )
                .on(reference),
            );
        }
    }
}

#[cfg(test)]
mod tests {

    use tidegate_waves::log::FolderChange;

    use crate::audit::record::{Branch, Commit, Permission};
    use crate::audit::tests::world::{clean, id};
    use crate::audit::tests::{broken, change, findings};
    use crate::audit::{Promise, Scope};

    #[test]
    fn commits_that_change_more_than_their_batch_are_found() {
        let folders = &[Promise::Folders][..];
        broken(
            "a region of another wave",
            folders,
            "which the plan does not have in canary",
            |record| {
                let changes = record.commit("c4").changes.as_mut().unwrap();
                changes.push(change("east", "east3", true));
            },
        );
        broken(
            "a region beyond the batch of a give-back",
            folders,
            "changes east otherwise",
            |record| {
                let changes = record.commit("c3").changes.as_mut().unwrap();
                changes.push(change("east", "east1", true));
            },
        );
        broken(
            "another tree than the batch's",
            &[Promise::Folders, Promise::Reverts],
            "changes west otherwise",
            |record| {
                record.commit("c3").changes = Some(vec![change("west", "other", true)]);
            },
        );
        broken(
            "a region of its batch that it leaves out",
            folders,
            "it leaves east as it was",
            |record| {
                let folders = &mut record.state(13).intents[0].draft.folders;
                folders.push(FolderChange {
                    region: "east".to_owned(),
                    tree: Some(id("east1")),
                });
                let east = Some(id("east2"));
                let commit = record.commit("c3");
                commit.unchanged.insert("east".to_owned(), east);
            },
        );
        broken(
            "a file",
            &[Promise::Folders, Promise::Plan],
            "no region's folder",
            |record| {
                let changes = record.commit("c4").changes.as_mut().unwrap();
                changes.push(change("README.md", "readme", false));
            },
        );
        broken(
            "a seal that changes something",
            folders,
            "should change nothing",
            |record| {
                record.commit("seal").changes = Some(vec![change("east", "east2", true)]);
            },
        );
        broken(
            "a tree that is gone",
            folders,
            "cannot be compared",
            |record| {
                record.commit("c3").changes = None;
            },
        );
        broken(
            "for another wave",
            folders,
            "it is for wave broad",
            |record| {
                record.state(21).intents[0].draft.wave = "broad".to_owned();
            },
        );
        broken(
            "a ref below the prefix",
            folders,
            "ever named this ref",
            |record| {
                record
                    .refs
                    .insert("refs/heads/t/extra".to_owned(), Branch::default());
            },
        );
        broken(
            "a ref of somebody else",
            &[Promise::Intents, Promise::Folders],
            "none of Tidegate's",
            |record| {
                record.commits.insert(
                    id("x1"),
                    Commit {
                        parents: vec![id("x0")],
                        ..Commit::default()
                    },
                );
                let entry = &mut record.entries[20];
                entry.parents.push(id("x1"));
                entry.intents.push(Permission {
                    reference: "refs/heads/other".to_owned(),
                    old: id("x0"),
                    new: id("x1"),
                });
            },
        );
    }

    #[test]
    fn a_region_that_stood_as_its_batch_says_needs_no_change() {
        let mut record = clean();
        let east = FolderChange {
            region: "east".to_owned(),
            tree: Some(id("east1")),
        };
        let commit = record.commit("c3");
        commit.unchanged.insert(east.region.clone(), east.tree);
        record.state(13).intents[0].draft.folders.push(east);
        assert_eq!(findings(&record, &Scope::default()), []);
    }
}
