//! Promise 9: the plan is frozen, and what is promoted is the plan's.

use std::collections::{BTreeMap, HashSet};

use tidegate_waves::log::{EntryKind, MoveKind};
use tidegate_waves::oid::Oid;

use super::record::{Entry, PlanCommit, RolloutRecord};
use super::story::{Move, Story, rollout_in};
use super::{Finding, NOT_OURS, Promise, Verdict, What};

pub(super) fn check(story: &Story<'_>) -> Verdict {
    let mut verdict = Verdict::of(Promise::Plan);
    let mut unopened: HashSet<&str> = HashSet::new();
    for (place, entry) in story.judged() {
        if entry.kind == Some(EntryKind::RolloutOpened) {
            verdict.count(What::Plans);
            for wrong in is_no_opening(story, place, entry) {
                verdict.find(Finding::new(wrong, NOT_OURS).at(story, place));
            }
        }
        if let Some(rollout) = rollout_in(entry) {
            verdict.count(What::PlannedEntries);
            let first = unopened.insert(&rollout.id);
            if let Some(wrong) = is_another_plan(story, rollout, first) {
                verdict.find(Finding::new(wrong, NOT_OURS).at(story, place));
            }
        }
        for promotion in story.moves_of(place) {
            if promotion.is(MoveKind::Promote) {
                promoted(story, promotion, &mut verdict);
            }
        }
    }
    verdict
}

/// What is wrong with the opening of a rollout.
fn is_no_opening(story: &Story<'_>, place: usize, entry: &Entry) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(id) = entry.rollout.as_deref() else {
        return vec!["it opens a rollout without an id".to_owned()];
    };
    if id.rsplit_once('-').map(|(_, seq)| seq) != Some(story.number(place).to_string().as_str()) {
        wrong.push(format!(
            "the id {id} does not end in the number of the entry that opens it"
        ));
    }
    // A state that cannot be read is found where the log is judged.
    if entry.state.is_err() {
        return wrong;
    }
    let Some(rollout) = rollout_in(entry).filter(|rollout| rollout.id == id) else {
        wrong.push(format!("its state says nothing of rollout {id}"));
        return wrong;
    };
    if !entry
        .parents
        .iter()
        .skip(1)
        .any(|parent| *parent == rollout.plan_commit)
    {
        wrong.push(format!(
            "the plan commit {} is not among the entry's parents",
            rollout.plan_commit.short(8)
        ));
    }
    let Some(plan) = rollout.plan.and_then(|file| story.record.plans.get(&file)) else {
        wrong.push("its plan cannot be read".to_owned());
        return wrong;
    };
    let Some(commit) = story.record.plan_commits.get(&rollout.plan_commit) else {
        wrong.push(format!(
            "the plan commit {} cannot be read",
            rollout.plan_commit.short(8)
        ));
        return wrong;
    };
    if !commit.parents.is_empty() {
        wrong.push("the plan commit has parents".to_owned());
    }
    let planned: BTreeMap<&String, Oid> = plan
        .regions
        .iter()
        .map(|(region, planned)| (region, planned.tree))
        .collect();
    let differs = planned
        .iter()
        .find(|(region, tree)| commit.folders.get(**region) != Some(*tree))
        .map(|(region, _)| *region)
        .or_else(|| {
            commit
                .folders
                .keys()
                .find(|region| !planned.contains_key(region))
        });
    if let Some(region) = differs {
        wrong.push(format!("the plan and the plan commit differ in {region}"));
    }
    wrong
}

/// How an entry's plan differs from the one that its rollout opened with; `first`: no entry before had this rollout.
fn is_another_plan(story: &Story<'_>, rollout: &RolloutRecord, first: bool) -> Option<String> {
    let Some(opening) = story.opening(&rollout.id) else {
        return first.then(|| format!("its state has rollout {}, which never opened", rollout.id));
    };
    let opened = opening.rollout?;
    if opened.plan != rollout.plan {
        return Some(format!(
            "the plan of rollout {} is {}, and was {} when it opened",
            rollout.id,
            said(rollout.plan),
            said(opened.plan)
        ));
    }
    (opened.plan_commit != rollout.plan_commit).then(|| {
        format!(
            "the plan commit of rollout {} is {}, and was {} when it opened",
            rollout.id,
            rollout.plan_commit.short(8),
            opened.plan_commit.short(8)
        )
    })
}

fn said(digest: Option<Oid>) -> String {
    digest.map_or_else(|| "gone".to_owned(), |digest| digest.short(8))
}

/// What a promotion brings is what the plan commit has.
fn promoted(story: &Story<'_>, promotion: &Move<'_>, verdict: &mut Verdict) {
    let changes = promotion
        .commit
        .and_then(|commit| commit.changes.as_deref())
        .unwrap_or_default();
    let Some(planned) = plan_commit(story, promotion) else {
        return;
    };
    for change in changes {
        verdict.count(What::PromotedTrees);
        if change.now.is_none() || planned.folders.get(&change.name).copied() != change.now {
            verdict.find(
                Finding::new(
                    format!(
                        "it promotes {} for {}, where the plan commit has {}",
                        said(change.now),
                        change.name,
                        said(planned.folders.get(&change.name).copied())
                    ),
                    NOT_OURS,
                )
                .at(story, promotion.place)
                .on(&promotion.line.reference)
                .about(promotion.line.new),
            );
        }
    }
}

fn plan_commit<'a>(story: &Story<'a>, promotion: &Move<'a>) -> Option<&'a PlanCommit> {
    let commit = story.opening(promotion.rollout?)?.rollout?.plan_commit;
    story.record.plan_commits.get(&commit)
}

#[cfg(test)]
mod tests {

    use crate::audit::Promise;
    use crate::audit::tests::world::id;
    use crate::audit::tests::{broken, change};

    #[test]
    fn plans_that_change_are_found() {
        let plan = &[Promise::Plan][..];
        broken(
            "another plan",
            plan,
            "was 706c616e when it opened",
            |record| {
                record.rollout(10).plan = Some(id("other"));
            },
        );
        broken("no plan", plan, "is gone", |record| {
            record.rollout(10).plan = None;
        });
        broken(
            "another plan commit",
            plan,
            "the plan commit of rollout",
            |record| {
                record.rollout(10).plan_commit = id("other");
            },
        );
        broken(
            "a plan commit that is not pinned",
            plan,
            "not among the entry's parents",
            |record| {
                record.entries[7].parents.pop();
            },
        );
        broken(
            "a plan commit with parents",
            plan,
            "has parents",
            |record| {
                let commit = record.plan_commits.get_mut(&id("plancommit2")).unwrap();
                commit.parents.push(id("x"));
            },
        );
        broken(
            "a plan commit with other trees",
            plan,
            "differ in east",
            |record| {
                let commit = record.plan_commits.get_mut(&id("plancommit3")).unwrap();
                commit.folders.insert("east".to_owned(), id("other"));
            },
        );
        broken(
            "a plan commit with more",
            plan,
            "differ in north",
            |record| {
                let commit = record.plan_commits.get_mut(&id("plancommit3")).unwrap();
                commit.folders.insert("north".to_owned(), id("other"));
            },
        );
        broken(
            "a plan that cannot be read",
            plan,
            "its plan cannot be read",
            |record| {
                record.plans.remove(&id("plan3"));
            },
        );
        broken("another tree is promoted", plan, "it promotes", |record| {
            record.commit("c4").changes = Some(vec![change("west", "other", true)]);
            record.state(21).intents[0].draft.folders[0].tree = Some(id("other"));
        });
        broken("never opened", plan, "which never opened", |record| {
            record.rollout(20).id = "99999999-9".to_owned();
        });
        broken(
            "an id with another number",
            plan,
            "does not end in the number",
            |record| {
                let id = "33333333-18".to_owned();
                record.entries[19].rollout = Some(id.clone());
                record.commit("c4").rollout = Some(id.clone());
                for place in 19..22 {
                    record.rollout(place).id.clone_from(&id);
                }
            },
        );
    }
}
