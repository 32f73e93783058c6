//! One look at a region: every object by every rule, and of what they say the worst.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::baseline::Baseline;
use super::limits::Limits;
use super::line::{LONGEST_EVIDENCE, counted};
use super::live::{Fresh, Listing, Live, Reading};
use super::memory::{Complaint, Memory, restarts};
use super::object::Wanted;
use super::rules::{Case, Check, Entry, Finding, Notes, RULES, Whole};
use super::same::{IgnoredPath, tells_apart};
use super::verdict::{Kind, Rule, Verdict};
use crate::gates::object_key::ObjectKey;
use crate::gates::shown::line;

/// More warnings than this are not shown.
const MOST_WARNINGS: usize = 20;

/// What a region is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) wanted: &'a [Wanted],
    pub(super) older: &'a [Vec<Wanted>],
    pub(super) live: &'a Live,
    pub(super) limits: &'a Limits,
    pub(super) baseline: &'a Baseline,
    pub(super) now: Duration,
    /// Whether this is a look before the promotion, for what is wrong already.
    pub(super) before: bool,
}

/// Judges a region at the tree that was promoted to it.
///
/// `wanted` is what the tree wants, `older` each tree that the region may still run. `memory` is of this promotion, and
/// `now` is the caller's monotonic time: looks must come in the order in which they were taken.
///
/// Harm wins over everything; what is unknown over what is stale, that over what progresses. Healthy is only what was
/// judged, at least one object, each as it was rendered, by a status of its newest generation, and for `stable_for`.
#[must_use]
pub fn judge(
    wanted: &[Wanted],
    older: &[Vec<Wanted>],
    live: &Live,
    limits: &Limits,
    memory: &mut Memory,
    baseline: &Baseline,
    now: Duration,
) -> Verdict {
    let question = Question {
        wanted,
        older,
        live,
        limits,
        baseline,
        now,
        before: false,
    };
    judge_by(RULES, question, memory).verdict
}

impl Baseline {
    /// Takes notice of what is wrong with a region before a promotion, at the tree that it has; the more often, the
    /// surer. Gives what the rules say of it.
    ///
    /// `memory` is of the time before the promotion.
    pub fn look(
        &mut self,
        wanted: &[Wanted],
        live: &Live,
        limits: &Limits,
        memory: &mut Memory,
        now: Duration,
    ) -> Verdict {
        let nothing = Self::default();
        let question = Question {
            wanted,
            older: &[],
            live,
            limits,
            baseline: &nothing,
            now,
            before: true,
        };
        let look = judge_by(RULES, question, memory);
        self.taken = true;
        self.settle(&look.complaints, memory, now, limits.counted_within);
        self.complaints.extend(look.complaints);
        self.unread = look.unread;
        // Pods that are gone tell nothing any more.
        if live
            .related
            .values()
            .all(|related| matches!(related.pods, Listing::Read(_)))
        {
            self.pods.clear();
        }
        for (namespace, related) in &live.related {
            if let Listing::Read(pods) = &related.pods {
                self.namespaces.insert(namespace.clone());
                for pod in pods {
                    self.pods.insert(pod.uid.clone(), restarts(pod));
                }
            }
        }
        look.verdict
    }
}

/// What a look gives.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) verdict: Verdict,
    complaints: BTreeSet<Complaint>,
    unread: BTreeSet<ObjectKey>,
}

/// Judges by these rules alone.
pub(super) fn judge_by(rules: &[Entry], question: Question<'_>, memory: &mut Memory) -> Look {
    let objects = by_key(question.wanted);
    let scaled = scaled_paths(question.wanted);
    let mut notes = Notes::new(memory);
    let mut read = BTreeSet::new();
    let mut same = BTreeSet::new();
    let mut unread = BTreeSet::new();
    let (mut judged, mut ignored) = (0, 0);
    for (key, manifests) in &objects {
        let Some(wanted) = manifests.first() else {
            continue;
        };
        let mut case = Case::new(question, wanted, manifests.len());
        case.ignored.extend(scaled.get(*key).cloned());
        if case.snapshot.is_some() {
            if !matches!(case.fresh, Fresh::Unread(_)) {
                read.insert((*key).clone());
            }
        } else if !matches!(case.reading, Some(Reading::Absent)) {
            unread.insert((*key).clone());
        }
        notes.begin(&case);
        let entered = run(rules, &case, &mut notes);
        if entered && case.snapshot.is_some() {
            same.insert((*key).clone());
        }
        match notes.end(&case) {
            State::Ignored => ignored += 1,
            State::Judged => judged += 1,
        }
    }
    let all_healthy = notes.findings.is_empty();
    let healthy_for = notes
        .memory
        .end_look(&read, all_healthy, question.now, question.limits);
    let whole = Whole {
        judged,
        ignored,
        all_healthy,
        healthy_for,
        limits: question.limits,
        baseline: question.baseline,
        now: question.now,
    };
    for entry in rules {
        if let Check::Whole(check) = entry.check {
            notes.rule = entry.rule;
            notes.object = None;
            check(&whole, &mut notes);
        }
    }
    let evidence_of_proof = Proof {
        question,
        objects: &objects,
        scaled: &scaled,
        same: &same,
    };
    let complaints = std::mem::take(&mut notes.complaints);
    let warnings = warnings(std::mem::take(&mut notes.warnings));
    let verdict = choose(
        rules,
        std::mem::take(&mut notes.findings),
        &whole,
        &evidence_of_proof,
        warnings,
    );
    Look {
        verdict,
        complaints,
        unread,
    }
}

/// Whether an object counts as judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It does.
    Judged,
    /// Nothing says whether it is healthy.
    Ignored,
}

/// Runs the rules on one object; gives whether it got past those that ask whether it may be judged at all.
fn run(rules: &[Entry], case: &Case<'_>, notes: &mut Notes<'_>) -> bool {
    for entry in rules {
        notes.rule = entry.rule;
        if let Check::Entry(check) = entry.check {
            if question_skips(case, entry.rule) {
                continue;
            }
            check(case, notes);
            if notes.is_settled() {
                return false;
            }
        }
    }
    for entry in rules {
        notes.rule = entry.rule;
        if let Check::Object(check) = entry.check {
            check(case, notes);
        }
    }
    true
}

/// Before a promotion it matters what is wrong, not whether it is what was rendered.
fn question_skips(case: &Case<'_>, rule: Rule) -> bool {
    case.before && rule == Rule::P18
}

fn by_key(wanted: &[Wanted]) -> BTreeMap<&ObjectKey, Vec<&Wanted>> {
    let mut objects: BTreeMap<&ObjectKey, Vec<&Wanted>> = BTreeMap::new();
    for wanted in wanted {
        let manifests = objects.entry(&wanted.key).or_default();
        if !manifests.contains(&wanted) {
            manifests.push(wanted);
        }
    }
    objects
}

/// Where an autoscaler of the same tree has the say: its targets' replicas.
fn scaled_paths(wanted: &[Wanted]) -> BTreeMap<ObjectKey, IgnoredPath> {
    let scalers = wanted.iter().filter_map(|scaler| {
        let (kind, name) = scaler.scales.as_ref()?;
        let target = wanted.iter().find(|target| {
            target.key.kind == *kind
                && target.key.name == *name
                && target.key.namespace == scaler.key.namespace
        })?;
        Some((target.key.clone(), IgnoredPath::new(None, "/spec/replicas")))
    });
    scalers.collect()
}

/// What is needed to tell whether the revision was proven.
struct Proof<'a> {
    question: Question<'a>,
    objects: &'a BTreeMap<&'a ObjectKey, Vec<&'a Wanted>>,
    scaled: &'a BTreeMap<ObjectKey, IgnoredPath>,
    same: &'a BTreeSet<ObjectKey>,
}

impl Proof<'_> {
    /// Whether the object, or without one any of them, cannot be as any older tree wants it.
    fn holds(&self, object: Option<&ObjectKey>) -> bool {
        let older = self.question.older;
        !older.is_empty()
            && older.iter().all(|tree| {
                let tree = by_key(tree);
                match object {
                    Some(key) => self.tells(key, &tree),
                    None => self.same.iter().any(|key| self.tells(key, &tree)),
                }
            })
    }

    fn tells(&self, key: &ObjectKey, older: &BTreeMap<&ObjectKey, Vec<&Wanted>>) -> bool {
        let Some(wanted) = self
            .objects
            .get(key)
            .and_then(|manifests| manifests.first())
        else {
            return false;
        };
        let mut ignored = self.question.limits.ignored.clone();
        ignored.extend(self.scaled.get(key).cloned());
        self.same.contains(key)
            && older.get(key).is_none_or(|manifests| {
                manifests
                    .iter()
                    .all(|older| tells_apart(wanted, older, &ignored))
            })
    }
}

fn choose(
    rules: &[Entry],
    mut findings: Vec<Finding>,
    whole: &Whole<'_>,
    proof: &Proof<'_>,
    warnings: Vec<String>,
) -> Verdict {
    let place = |rule: Rule| rules.iter().position(|entry| entry.rule == rule);
    findings.sort_by(|left, right| {
        right
            .kind
            .cmp(&left.kind)
            .then_with(|| place(left.rule).cmp(&place(right.rule)))
            .then_with(|| left.object.cmp(&right.object))
            .then_with(|| left.evidence.cmp(&right.evidence))
    });
    let Some(worst) = findings.first() else {
        return Verdict {
            rule: Rule::P19,
            kind: Kind::Healthy,
            object: None,
            evidence: line(&whole.healthy(), LONGEST_EVIDENCE),
            ignored: whole.ignored,
            proven: proof.holds(None),
            warnings,
        };
    };
    let others: BTreeSet<&ObjectKey> = findings
        .iter()
        .filter(|finding| finding.kind == worst.kind && finding.object != worst.object)
        .filter_map(|finding| finding.object.as_ref())
        .collect();
    let more = match others.len() {
        _ if worst.object.is_none() => String::new(),
        0 => String::new(),
        count => format!(" (and {})", counted(count, "more object")),
    };
    let room = LONGEST_EVIDENCE.saturating_sub(more.chars().count());
    Verdict {
        rule: worst.rule,
        kind: worst.kind,
        object: worst.object.clone(),
        evidence: format!("{}{more}", line(&worst.evidence, room)),
        ignored: whole.ignored,
        proven: worst
            .object
            .as_ref()
            .is_some_and(|object| proof.holds(Some(object))),
        warnings,
    }
}

fn warnings(texts: BTreeSet<String>) -> Vec<String> {
    texts
        .into_iter()
        .take(MOST_WARNINGS)
        .map(|text| line(&text, LONGEST_EVIDENCE))
        .collect()
}
