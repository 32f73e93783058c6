//! The rules as a table, and what each is given and may say.
//!
//! | rule | test in `tests/` |
//! |---|---|
//! | P1 | `p01_nothing_to_judge_is_never_healthy`, `p01_an_object_that_is_not_there_is_unknown` |
//! | P2 | `p02_what_is_being_deleted_is_not_there_yet` |
//! | P3 | `p03_a_status_of_an_older_generation_says_nothing` |
//! | P4 | `p04_a_deadline_that_was_exceeded_is_harm` |
//! | P5 | `p05_pods_that_cannot_be_created_are_harm_after_a_while` |
//! | P6 | `p06_a_deployment_is_healthy_by_all_its_counts` |
//! | P7 | `p07_what_is_paused_says_nothing` |
//! | P8 | `p08_no_replicas_prove_nothing_unless_allowed` |
//! | P9 | `p09_a_stateful_set_is_healthy_at_its_update_revision` |
//! | P10 | `p10_a_daemon_set_is_healthy_on_all_its_nodes` |
//! | P11 | `p11_a_job_completes_or_fails` |
//! | P12 | `p12_a_container_that_cannot_start_is_harm_after_a_while` and its neighbours |
//! | P13 | `p13_out_of_memory_is_harm` |
//! | P14 | `p14_restart_after_restart_is_harm` |
//! | P15 | `p15_a_pod_without_a_node_is_unknown` |
//! | P16 | `p16_a_pod_that_failed_by_itself_is_harm` |
//! | P17 | `p17_pods_that_stay_unready_are_harm` |
//! | P18 | `p18_an_older_revision_is_stale`, `p18_what_nobody_rendered_is_unknown` and those in `tests/sameness.rs` |
//! | P19 | `p19_healthy_is_what_stays_so`, `p19_flapping_is_harm` |
//! | P20 | none of these: it is the engine's, `answered_but_never_healthy_by_the_deadline_is_a_failure` in `tidegate_waves` |
//! | P21 | `p21_what_the_api_server_does_not_say_is_unknown` |
//! | P22 | `p22_claims_by_phase`, `p22_custom_resources_by_condition` and those in `tests/others.rs` |
//!
//! `every_rule_decides_something` leaves them out one by one.

mod controllers;
mod entry;
mod others;
mod pods;
mod whole;

use std::collections::BTreeSet;
use std::time::Duration;

use super::baseline::Baseline;
use super::judge::{Question, State};
use super::limits::Limits;
use super::live::{Fresh, Live, Reading};
use super::memory::{Cause, Complaint, Memory, Stamp};
use super::object::{Snapshot, Wanted};
use super::same::IgnoredPath;
use super::verdict::{Kind, Rule};
use crate::gates::object_key::ObjectKey;

pub(super) use self::whole::Whole;

/// What a rule does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Check {
    /// It asks whether an object may be judged at all; the first that says anything ends the object.
    Entry(fn(&Case<'_>, &mut Notes<'_>)),
    /// It judges an object that may be judged.
    Object(fn(&Case<'_>, &mut Notes<'_>)),
    /// It judges all objects together, after the others.
    Whole(fn(&Whole<'_>, &mut Notes<'_>)),
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) rule: Rule,
    pub(super) check: Check,
}

const fn entry(rule: Rule, check: Check) -> Entry {
    Entry { rule, check }
}

/// The rules, in the order in which they are asked, and in which of two that say the same the first is shown.
pub(super) const RULES: &[Entry] = &[
    entry(Rule::P21, Check::Entry(entry::unread)),
    entry(Rule::P1, Check::Entry(entry::absent)),
    entry(Rule::P2, Check::Entry(entry::deleting)),
    entry(Rule::P18, Check::Entry(entry::not_as_rendered)),
    entry(Rule::P3, Check::Entry(entry::old_status)),
    entry(Rule::P7, Check::Entry(entry::paused)),
    entry(Rule::P8, Check::Entry(entry::no_replicas)),
    entry(Rule::P16, Check::Object(pods::failed)),
    entry(Rule::P13, Check::Object(pods::out_of_memory)),
    entry(Rule::P12, Check::Object(pods::waiting)),
    entry(Rule::P14, Check::Object(pods::restarting)),
    entry(Rule::P17, Check::Object(pods::unready)),
    entry(Rule::P15, Check::Object(pods::unschedulable)),
    entry(Rule::P5, Check::Object(controllers::replica_failure)),
    entry(Rule::P4, Check::Object(controllers::deadline_exceeded)),
    entry(Rule::P21, Check::Object(entry::pods_unread)),
    entry(Rule::P18, Check::Object(entry::pods_of_old_revision)),
    entry(Rule::P6, Check::Object(controllers::deployment)),
    entry(Rule::P9, Check::Object(controllers::stateful_set)),
    entry(Rule::P10, Check::Object(controllers::daemon_set)),
    entry(Rule::P11, Check::Object(controllers::job)),
    entry(Rule::P22, Check::Object(others::others)),
    entry(Rule::P19, Check::Whole(whole::stable)),
    entry(Rule::P1, Check::Whole(whole::nothing_judged)),
];

/// What a rule says of an object, or of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) rule: Rule,
    pub(super) kind: Kind,
    pub(super) object: Option<ObjectKey>,
    pub(super) evidence: String,
}

/// One object, as a rule sees it.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) wanted: &'a Wanted,
    /// How many different manifests the tree has of it.
    pub(super) manifests: usize,
    /// The manifests of it in older trees.
    pub(super) older: Vec<&'a Wanted>,
    pub(super) reading: Option<&'a Reading>,
    pub(super) snapshot: Option<&'a Snapshot>,
    pub(super) fresh: Fresh<'a>,
    pub(super) ignored: Vec<IgnoredPath>,
    pub(super) live: &'a Live,
    pub(super) limits: &'a Limits,
    pub(super) baseline: &'a Baseline,
    pub(super) now: Duration,
    pub(super) before: bool,
}

impl<'a> Case<'a> {
    pub(super) fn new(question: Question<'a>, wanted: &'a Wanted, manifests: usize) -> Self {
        let key = &wanted.key;
        let reading = question.live.objects.get(key);
        let snapshot = match reading {
            Some(Reading::Found(snapshot)) => Some(snapshot.as_ref()),
            _ => None,
        };
        let older = question.older.iter().flatten();
        Self {
            older: older.filter(|older| older.key == *key).collect(),
            fresh: snapshot.map_or(Fresh::None, |snapshot| question.live.fresh(snapshot)),
            ignored: question.limits.ignored.clone(),
            key,
            wanted,
            manifests,
            reading,
            snapshot,
            live: question.live,
            limits: question.limits,
            baseline: question.baseline,
            now: question.now,
            before: question.before,
        }
    }

    /// The snapshot, if the object is of this kind of this group.
    pub(super) fn of(&self, group: &str, kind: &str) -> Option<&'a Snapshot> {
        self.snapshot.filter(|_| self.key.is(group, kind))
    }

    pub(super) fn complaint(&self, cause: Cause) -> Complaint {
        Complaint {
            object: self.key.clone(),
            cause,
        }
    }

    /// How many pods its workload wants.
    pub(super) fn pods_wanted(&self) -> u64 {
        self.snapshot
            .map_or(0, |snapshot| match self.key.kind.as_str() {
                "DaemonSet" => snapshot.facts.count("desiredNumberScheduled"),
                "Deployment" | "StatefulSet" => snapshot.facts.replicas,
                _ => 1,
            })
    }

    fn stamp(&self) -> Option<Stamp> {
        let snapshot = self.snapshot?;
        Some(Stamp {
            uid: snapshot.uid.clone(),
            generation: snapshot.generation,
            wanted: self.pods_wanted(),
        })
    }
}

/// What the rules say, and what they remember.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    pub(super) memory: &'a mut Memory,
    pub(super) rule: Rule,
    pub(super) object: Option<ObjectKey>,
    pub(super) findings: Vec<Finding>,
    pub(super) warnings: BTreeSet<String>,
    pub(super) complaints: BTreeSet<Complaint>,
    /// How many findings there were before this object.
    earlier: usize,
    healthy: bool,
    ignored: bool,
}

impl<'a> Notes<'a> {
    pub(super) fn new(memory: &'a mut Memory) -> Self {
        Self {
            memory,
            rule: Rule::P1,
            object: None,
            findings: Vec::new(),
            warnings: BTreeSet::new(),
            complaints: BTreeSet::new(),
            earlier: 0,
            healthy: false,
            ignored: false,
        }
    }

    /// Begins with an object.
    pub(super) fn begin(&mut self, case: &Case<'_>) {
        self.object = Some(case.key.clone());
        self.earlier = self.findings.len();
        self.healthy = false;
        self.ignored = false;
        let namespace = case.snapshot.and_then(|live| live.key.namespace.as_deref());
        for pod in case.fresh.pods() {
            self.memory.see(
                pod,
                namespace.unwrap_or_default(),
                case.baseline,
                case.now,
                case.limits,
            );
        }
    }

    /// Ends with an object.
    pub(super) fn end(&mut self, case: &Case<'_>) -> State {
        let has_findings = self.findings.len() > self.earlier;
        if has_findings || !self.healthy {
            self.memory.see_unwell(case.key);
        }
        if self.ignored && !has_findings {
            return State::Ignored;
        }
        if !has_findings && !self.healthy {
            self.rule = Rule::P22;
            self.say(Kind::Unknown, "nothing says whether it is healthy");
        } else if let Some(stamp) = case.stamp() {
            if !has_findings {
                self.memory
                    .see_healthy(case.key, stamp, case.now, case.limits);
            } else if self.is_break(case) {
                self.memory
                    .see_break(case.key, &stamp, case.now, case.limits);
            }
        }
        State::Judged
    }

    /// Whether an object that was healthy stopped being so of itself: by its pods, if it has any. A pod that was taken
    /// away, or lost its node, breaks nothing.
    fn is_break(&self, case: &Case<'_>) -> bool {
        let mut findings = self.findings.iter().skip(self.earlier);
        let of_itself = findings.all(|finding| {
            matches!(finding.kind, Kind::Progressing | Kind::Fail)
                && !matches!(finding.rule, Rule::P2 | Rule::P3)
        });
        let by_its_pods = match &case.fresh {
            Fresh::None => true,
            Fresh::Pods(pods) => pods.iter().any(|pod| self.memory.has_lost(pod)),
            Fresh::NotYet(_) | Fresh::Unread(_) => false,
        };
        of_itself && by_its_pods
    }

    /// Whether anything was said of the object already.
    pub(super) fn is_settled(&self) -> bool {
        self.ignored || self.healthy || self.findings.len() > self.earlier
    }

    /// Says something of the object; the evidence begins with its name.
    pub(super) fn say(&mut self, kind: Kind, evidence: &str) {
        let object = self.object.clone();
        let evidence = match &object {
            Some(object) => format!("{object}: {evidence}"),
            None => evidence.to_owned(),
        };
        self.findings.push(Finding {
            rule: self.rule,
            kind,
            object,
            evidence,
        });
    }

    /// Says that the object is healthy, as far as this rule goes.
    pub(super) fn healthy(&mut self) {
        self.healthy = true;
    }

    /// Says that nothing can be said of the object.
    pub(super) fn ignore(&mut self) {
        self.ignored = true;
    }

    /// Says what people should know.
    pub(super) fn warn(&mut self, text: &str) {
        let object = self.object.as_ref();
        let named = object.map_or_else(|| text.to_owned(), |object| format!("{object}: {text}"));
        self.warnings.insert(named);
    }

    /// Complains of the object: harm once it has been so for this long, unless it was so before the promotion.
    pub(super) fn complain(
        &mut self,
        case: &Case<'_>,
        cause: Cause,
        subject: &str,
        grace: Duration,
        evidence: impl FnOnce(Duration) -> String,
    ) {
        let complaint = case.complaint(cause);
        let limits = case.limits;
        let held = self
            .memory
            .held(&complaint, subject, case.now, limits.longest_gap);
        let evidence = evidence(held);
        if held < grace {
            self.say(Kind::Progressing, &evidence);
        } else {
            self.blame(case, &complaint, &evidence);
        }
        self.complaints.insert(complaint);
    }

    /// Takes notice of a complaint without saying anything.
    pub(super) fn note(&mut self, complaint: Complaint) {
        self.complaints.insert(complaint);
    }

    /// Calls a complaint harm, unless it was so before the promotion.
    pub(super) fn blame(&mut self, case: &Case<'_>, complaint: &Complaint, evidence: &str) {
        if case.baseline.has(complaint) && !self.memory.has_recovered(case.key) {
            let before = format!("was already so before the promotion: {evidence}");
            self.say(Kind::Sick, &before);
        } else {
            self.say(Kind::Fail, evidence);
        }
    }
}
