//! Rules on the pods that run a workload's new revision.

use std::time::Duration;

use super::super::line::{counted, message, span};
use super::super::memory::Cause;
use super::super::pods::{Container, Pod, State};
use super::super::verdict::Kind;
use super::{Case, Notes};
use crate::gates::shown::word;

/// The pods by which a workload is judged; of a Job, its controller judges how they end.
fn pods_of_service<'a>(case: &Case<'a>) -> Vec<&'a Pod> {
    if case.key.is("batch", "Job") {
        Vec::new()
    } else {
        case.fresh.pods().to_vec()
    }
}

/// `pod NAME`, but for a pod that is the object itself.
fn named(case: &Case<'_>, pod: &Pod) -> String {
    if case.key.is("", "Pod") {
        String::new()
    } else {
        format!("pod {}: ", word(&pod.name))
    }
}

fn container_named(container: &Container) -> String {
    format!("{} {}", container.role.word(), word(&container.name))
}

fn is_enough(case: &Case<'_>) -> bool {
    let ready = case.fresh.pods().iter().filter(|pod| pod.is_ready());
    u64::try_from(ready.count()).is_ok_and(|ready| ready >= case.pods_wanted())
}

/// P16.
pub(super) fn failed(case: &Case<'_>, notes: &mut Notes<'_>) {
    for pod in pods_of_service(case) {
        if pod.phase != "Failed" || pod.deleting {
            continue;
        }
        let reason = if pod.reason.is_empty() {
            "Failed"
        } else {
            &pod.reason
        };
        let mut evidence = format!("{}failed: {}", named(case, pod), word(reason));
        if let Some(container) = pod
            .containers
            .iter()
            .find(|container| matches!(&container.state, State::Ended(ended) if ended.exit != 0))
            && let State::Ended(ended) = &container.state
        {
            let exit = format!(", {} exit {}", container_named(container), ended.exit);
            evidence.push_str(&exit);
        }
        let namespace = case.snapshot.and_then(|live| live.key.namespace.as_deref());
        let is_new =
            notes.memory.was_alive(pod) || case.baseline.is_new(pod, namespace.unwrap_or_default());
        let by_itself = pod.failed_by_itself();
        // Failed pods stay for the record long after others took their place.
        if is_enough(case) && !(by_itself && is_new) {
            notes.warn(&evidence);
        } else if by_itself {
            notes.complain(case, Cause::PodFailed, &pod.uid, Duration::ZERO, |_| {
                evidence
            });
        } else {
            notes.say(Kind::Unknown, &format!("{evidence}, by its node"));
        }
    }
}

/// P13.
pub(super) fn out_of_memory(case: &Case<'_>, notes: &mut Notes<'_>) {
    const KILLED: &str = "OOMKilled";
    let namespace = case.snapshot.and_then(|live| live.key.namespace.as_deref());
    for pod in pods_of_service(case) {
        let is_new = case.baseline.is_new(pod, namespace.unwrap_or_default());
        for container in &pod.containers {
            let now = matches!(&container.state, State::Ended(ended) if ended.reason == KILLED);
            let last = container
                .last
                .as_ref()
                .is_some_and(|ended| ended.reason == KILLED);
            if !now && !last {
                continue;
            }
            let restarts = notes
                .memory
                .restarts_since(pod, &container.name, container.restarts);
            // That it once happened is known from before a promotion, and makes nobody sick who is well since.
            if case.before && !now {
                notes.note(case.complaint(Cause::OutOfMemory(container.name.clone())));
            } else if restarts > 0 || (now && is_new) || case.before {
                let cause = Cause::OutOfMemory(container.name.clone());
                notes.complain(case, cause, &pod.uid, Duration::ZERO, |_| {
                    format!(
                        "{}{} {KILLED}, {} since the promotion",
                        named(case, pod),
                        container_named(container),
                        counted(restarts, "restart")
                    )
                });
            }
        }
    }
}

/// P12.
pub(super) fn waiting(case: &Case<'_>, notes: &mut Notes<'_>) {
    let is_job = case.key.is("batch", "Job");
    for pod in case.fresh.pods().iter().filter(|pod| !pod.deleting) {
        for container in &pod.containers {
            let name = || container.name.clone();
            let crashing = Cause::Crashing(name());
            let (what, cause, grace) = match &container.state {
                State::Waiting(reason) => match reason.as_str() {
                    "CrashLoopBackOff" if is_job => continue,
                    "CrashLoopBackOff" => (reason.as_str(), crashing, case.limits.waiting_for),
                    "ImagePullBackOff" | "ErrImagePull" => (
                        reason.as_str(),
                        Cause::Image(name()),
                        case.limits.image_pull_for,
                    ),
                    "InvalidImageName" | "ErrImageNeverPull" => (
                        reason.as_str(),
                        Cause::Image(name()),
                        case.limits.waiting_for,
                    ),
                    "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                        (
                            reason.as_str(),
                            Cause::Config(name()),
                            case.limits.waiting_for,
                        )
                    }
                    _ => continue,
                },
                // Between two back-offs it runs for a moment, or has just ended.
                state
                    if is_crashing(container, state)
                        && notes
                            .memory
                            .holds(&case.complaint(crashing.clone()), &pod.uid) =>
                {
                    ("keeps crashing", crashing, case.limits.waiting_for)
                }
                _ => continue,
            };
            let image = match cause {
                Cause::Image(_) => format!(" of {}", word(&container.image)),
                _ => String::new(),
            };
            let last = container.last.as_ref();
            let exit = last.map_or_else(String::new, |last| format!(", last exit {}", last.exit));
            notes.complain(case, cause, &pod.uid, grace, |held| {
                format!(
                    "{}{} {what}{image} for {}{exit}",
                    named(case, pod),
                    container_named(container),
                    span(held)
                )
            });
        }
    }
}

fn is_crashing(container: &Container, state: &State) -> bool {
    match state {
        State::Running => {
            !container.ready && container.last.as_ref().is_some_and(|last| last.exit != 0)
        }
        State::Ended(ended) => ended.exit != 0,
        State::Waiting(_) | State::Unknown => false,
    }
}

/// P14.
pub(super) fn restarting(case: &Case<'_>, notes: &mut Notes<'_>) {
    for pod in pods_of_service(case) {
        let mut sum: u64 = 0;
        let mut most: Option<(u64, &Container)> = None;
        for container in &pod.containers {
            let restarts = notes.memory.recent_restarts(pod, &container.name);
            sum = sum.saturating_add(restarts);
            if most.is_none_or(|(other, _)| restarts > other) {
                most = Some((restarts, container));
            }
        }
        let Some((_, container)) = most.filter(|_| sum > case.limits.max_restarts) else {
            continue;
        };
        let cause = Cause::Crashing(container.name.clone());
        // Told from a back-off of the same container, whose time goes on.
        let subject = format!("{} restarts", pod.uid);
        notes.complain(case, cause, &subject, Duration::ZERO, |_| {
            let last = container.last.as_ref();
            let exit = last.map_or_else(String::new, |last| format!(", last exit {}", last.exit));
            format!(
                "{}restarted {} within {}, most often {}{exit}",
                named(case, pod),
                counted(sum, "time"),
                span(case.limits.counted_within),
                container_named(container)
            )
        });
    }
}

/// P17.
pub(super) fn unready(case: &Case<'_>, notes: &mut Notes<'_>) {
    let pods = pods_of_service(case);
    let blamable = pods
        .iter()
        .filter(|pod| pod.is_ready() || !pod.is_excused());
    let total = blamable.count();
    let mut lost = Vec::new();
    for pod in pods {
        if notes.memory.has_lost(pod) {
            let complaint = case.complaint(Cause::Unready);
            let gap = case.limits.longest_gap;
            let held = notes.memory.held(&complaint, &pod.uid, case.now, gap);
            notes.complaints.insert(complaint);
            if held >= case.limits.unready_for {
                lost.push(pod);
            }
        }
    }
    let Some(first) = lost.first() else { return };
    let kept = total.saturating_sub(lost.len());
    let least = usize::from(case.limits.min_ready_percent.min(100));
    if kept.saturating_mul(100) < least.saturating_mul(total) {
        let evidence = format!(
            "{} of {} were ready, and are not for {}: {}",
            lost.len(),
            counted(total, "pod"),
            span(case.limits.unready_for),
            word(&first.name)
        );
        notes.blame(case, &case.complaint(Cause::Unready), &evidence);
    }
}

/// P15.
pub(super) fn unschedulable(case: &Case<'_>, notes: &mut Notes<'_>) {
    for pod in case.fresh.pods().iter().filter(|pod| !pod.deleting) {
        let Some(why) = pod.unschedulable() else {
            continue;
        };
        let complaint = case.complaint(Cause::Unschedulable);
        let gap = case.limits.longest_gap;
        let held = notes.memory.held(&complaint, &pod.uid, case.now, gap);
        let kind = if held >= case.limits.unschedulable_for {
            Kind::Unknown
        } else {
            Kind::Progressing
        };
        let evidence = format!(
            "{}no node takes it for {}: {}",
            named(case, pod),
            span(held),
            message(why)
        );
        notes.say(kind, &evidence);
    }
}
