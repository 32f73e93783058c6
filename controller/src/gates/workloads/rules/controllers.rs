//! Rules on what a workload's controller says of it.

use std::time::Duration;

use super::super::line::{counted, message, span};
use super::super::live::Listing;
use super::super::memory::Cause;
use super::super::object::{Condition, Snapshot};
use super::super::verdict::Kind;
use super::{Case, Notes};
use crate::gates::shown::word;

/// The condition's reason and message.
pub(super) fn why(condition: &Condition) -> String {
    match (condition.reason.as_str(), condition.message.as_str()) {
        ("", "") => "no reason given".to_owned(),
        (reason, "") => word(reason),
        ("", text) => message(text),
        (reason, text) => format!("{}: {}", word(reason), message(text)),
    }
}

/// The condition, if it is true.
fn truly<'a>(live: &'a Snapshot, name: &str) -> Option<&'a Condition> {
    live.condition(name)
        .filter(|condition| condition.truth == Some(true))
}

/// P4.
pub(super) fn deadline_exceeded(case: &Case<'_>, notes: &mut Notes<'_>) {
    let Some(live) = case.of("apps", "Deployment") else {
        return;
    };
    if let Some(condition) = live.condition("Progressing")
        && condition.truth == Some(false)
        && condition.reason == "ProgressDeadlineExceeded"
    {
        notes.complain(case, Cause::Deadline, &live.uid, Duration::ZERO, |_| {
            why(condition)
        });
    }
}

/// P5.
pub(super) fn replica_failure(case: &Case<'_>, notes: &mut Notes<'_>) {
    let Some(live) = case.of("apps", "Deployment") else {
        return;
    };
    if let Some(condition) = truly(live, "ReplicaFailure") {
        let grace = case.limits.replica_failure_for;
        notes.complain(case, Cause::ReplicaFailure, &live.uid, grace, |held| {
            format!("cannot create pods for {}: {}", span(held), why(condition))
        });
    }
}

/// P6.
pub(super) fn deployment(case: &Case<'_>, notes: &mut Notes<'_>) {
    let Some(live) = case.of("apps", "Deployment") else {
        return;
    };
    let facts = &live.facts;
    let wanted = facts.replicas;
    let (updated, total) = (facts.count("updatedReplicas"), facts.count("replicas"));
    let available = facts.count("availableReplicas");
    if updated < wanted || total != updated || available < wanted {
        let old = match total.saturating_sub(updated) {
            0 => String::new(),
            old => format!(", {old} old still there"),
        };
        let evidence = format!("{updated} of {wanted} updated, {available} available{old}");
        notes.say(Kind::Progressing, &evidence);
    } else if truly(live, "Available").is_none() {
        notes.say(Kind::Progressing, "does not say that it is available");
    } else {
        notes.healthy();
    }
}

/// P9.
pub(super) fn stateful_set(case: &Case<'_>, notes: &mut Notes<'_>) {
    let Some(live) = case.of("apps", "StatefulSet") else {
        return;
    };
    let facts = &live.facts;
    let wanted = facts.replicas;
    let ready = if facts.min_ready_seconds > 0 {
        facts
            .count("availableReplicas")
            .min(facts.count("readyReplicas"))
    } else {
        facts.count("readyReplicas")
    };
    if facts.on_delete {
        let updated = fresh_count(case);
        if wanted > 0 && updated < wanted {
            let evidence = format!(
                "{updated} of {wanted} pods have its new revision; OnDelete waits for someone to delete the others"
            );
            notes.say(Kind::Unknown, &evidence);
        } else if ready < wanted {
            notes.say(Kind::Progressing, &format!("{ready} of {wanted} ready"));
        } else {
            notes.healthy();
        }
        return;
    }
    let to_update = wanted.saturating_sub(facts.partition);
    let updated = facts.count("updatedReplicas");
    if ready < wanted || updated < to_update {
        let evidence = format!("{updated} of {to_update} updated, {ready} of {wanted} ready");
        notes.say(Kind::Progressing, &evidence);
    } else if facts.partition == 0 && facts.current_revision != facts.update_revision {
        notes.say(
            Kind::Progressing,
            "its update revision is not yet its current one",
        );
    } else {
        if facts.partition > 0 {
            let kept = facts.partition.min(wanted);
            notes.warn(&format!(
                "its partition keeps {} at the old revision",
                counted(kept, "pod")
            ));
        }
        notes.healthy();
    }
}

/// P10.
pub(super) fn daemon_set(case: &Case<'_>, notes: &mut Notes<'_>) {
    let Some(live) = case.of("apps", "DaemonSet") else {
        return;
    };
    let facts = &live.facts;
    let wanted = facts.count("desiredNumberScheduled");
    let updated = facts.count("updatedNumberScheduled");
    let available = facts.count("numberAvailable");
    let astray = facts.count("numberMisscheduled");
    if astray > 0 {
        notes.warn(&format!(
            "{} on nodes that should have none",
            counted(astray, "pod")
        ));
    }
    if facts.on_delete && updated < wanted {
        let evidence = format!(
            "{updated} of {wanted} pods have its new revision; OnDelete waits for someone to delete the others"
        );
        notes.say(Kind::Unknown, &evidence);
    } else if updated < wanted || available < wanted {
        let evidence = format!("{updated} of {wanted} updated, {available} available");
        notes.say(Kind::Progressing, &evidence);
    } else {
        notes.healthy();
    }
}

/// P11.
pub(super) fn job(case: &Case<'_>, notes: &mut Notes<'_>) {
    let Some(live) = case.of("batch", "Job") else {
        return;
    };
    if let Some(condition) = truly(live, "Failed") {
        notes.complain(case, Cause::JobFailed, &live.uid, Duration::ZERO, |_| {
            format!("failed: {}", why(condition))
        });
    } else if truly(live, "Complete").is_some() {
        if case.wanted.fleeting {
            notes.memory.see_completed(case.key);
        }
        notes.healthy();
    } else if live.facts.suspended {
        notes.say(Kind::Unknown, "is suspended");
    } else if let Some(deadline) = case.limits.job_deadline {
        notes.complain(case, Cause::JobDeadline, &live.uid, deadline, |held| {
            format!("has not completed, watched for {}", span(held))
        });
    } else {
        notes.say(Kind::Progressing, "has not completed");
    }
}

fn fresh_count(case: &Case<'_>) -> u64 {
    let alive = case.fresh.pods().iter().filter(|pod| !pod.deleting);
    u64::try_from(alive.count()).unwrap_or(u64::MAX)
}

/// P22, of what stands before pods: only a warning, as no object says whose fault it is.
pub(super) fn service(case: &Case<'_>, live: &Snapshot, notes: &mut Notes<'_>) {
    let selector = &live.facts.selector;
    let Some(Listing::Read(pods)) = case.live.related_to(live).map(|related| &related.pods) else {
        return;
    };
    let chosen = pods.iter().filter(|pod| {
        let mut entries = selector.iter();
        entries.all(|(name, value)| pod.labels.get(name) == Some(value))
    });
    let (mut count, mut ready) = (0_usize, 0_usize);
    for pod in chosen {
        count = count.saturating_add(1);
        ready = ready.saturating_add(usize::from(pod.is_ready()));
    }
    if !selector.is_empty() && count > 0 && ready == 0 {
        notes.warn(&format!("none of {} is ready", counted(count, "pod")));
    }
}
