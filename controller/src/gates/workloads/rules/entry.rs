//! Whether an object may be judged at all, and whether its pods can be told.

use super::super::line::message;
use super::super::live::{Fresh, Reading};
use super::super::same::{Sameness, leftover, same};
use super::super::verdict::Kind;
use super::others::is_built_in;
use super::{Case, Notes};

/// P21.
pub(super) fn unread(case: &Case<'_>, notes: &mut Notes<'_>) {
    match case.reading {
        Some(Reading::Unread(why)) => {
            notes.say(
                Kind::Unknown,
                &format!("could not be read: {}", message(why)),
            );
        }
        None => notes.say(Kind::Unknown, "was not asked for"),
        Some(Reading::Found(live)) => {
            let other = live.key.kind != case.key.kind
                || live.key.name != case.key.name
                || (case.key.namespace.is_some() && live.key.namespace != case.key.namespace);
            if other {
                let answer = format!("the API server answered with {}", live.key);
                notes.say(Kind::Unknown, &answer);
            }
        }
        Some(Reading::Absent) => {}
    }
}

/// P21, of its pods.
pub(super) fn pods_unread(case: &Case<'_>, notes: &mut Notes<'_>) {
    if let Fresh::Unread(why) = &case.fresh {
        notes.say(Kind::Unknown, why);
    }
}

/// P1, of one object.
pub(super) fn absent(case: &Case<'_>, notes: &mut Notes<'_>) {
    if !matches!(case.reading, Some(Reading::Absent)) {
        return;
    }
    if case.wanted.hook {
        // It comes and goes with a deployment, which tells itself whether its hooks failed.
        notes.ignore();
    } else if notes.memory.has_completed(case.key) {
        notes.healthy();
    } else {
        notes.say(Kind::Unknown, "is not there");
    }
}

/// P2.
pub(super) fn deleting(case: &Case<'_>, notes: &mut Notes<'_>) {
    if case.snapshot.is_some_and(|live| live.deleting) {
        notes.say(Kind::Progressing, "is being deleted");
    }
}

/// P18, of an object.
pub(super) fn not_as_rendered(case: &Case<'_>, notes: &mut Notes<'_>) {
    let Some(live) = case.snapshot else { return };
    if case.manifests > 1 {
        notes.say(
            Kind::Unknown,
            "is in the tree more than once, and not alike",
        );
        return;
    }
    match same(case.wanted, live, &case.ignored) {
        Sameness::Same => {
            let mut older = case.older.iter();
            if let Some(path) =
                older.find_map(|older| leftover(older, case.wanted, live, &case.ignored))
            {
                let still = format!("{path} was taken away, and is still there");
                notes.say(Kind::Stale, &still);
            }
        }
        Sameness::Different(difference) => {
            let place = format!(
                "{}: is {}, wanted {}",
                difference.path, difference.live, difference.wanted
            );
            let mut older = case.older.iter();
            if older.any(|older| same(older, live, &case.ignored) == Sameness::Same) {
                notes.say(
                    Kind::Stale,
                    &format!("still as an older tree has it at {place}"),
                );
            } else {
                let differs = format!("differs from what was rendered at {place}");
                notes.say(Kind::Unknown, &differs);
            }
        }
    }
}

/// P18, of a workload's pods.
pub(super) fn pods_of_old_revision(case: &Case<'_>, notes: &mut Notes<'_>) {
    if let Fresh::NotYet(why) = &case.fresh {
        notes.say(Kind::Stale, why);
    }
}

/// P3.
pub(super) fn old_status(case: &Case<'_>, notes: &mut Notes<'_>) {
    let Some(live) = case.snapshot else { return };
    match (live.facts.observed, live.generation) {
        (Some(observed), Some(generation)) if observed < generation => {
            let behind = format!("status is of generation {observed}, wanted {generation}");
            notes.say(Kind::Progressing, &behind);
        }
        (None, _)
            if case.key.group == "apps"
                && matches!(
                    case.key.kind.as_str(),
                    "Deployment" | "StatefulSet" | "DaemonSet"
                ) =>
        {
            notes.say(Kind::Progressing, "has no status yet");
        }
        _ => {}
    }
}

/// P7.
pub(super) fn paused(case: &Case<'_>, notes: &mut Notes<'_>) {
    let Some(live) = case.snapshot else { return };
    let is_custom = !is_built_in(&case.key.group);
    let is_paused = live.facts.paused && (is_custom || case.key.is("apps", "Deployment"));
    if is_paused {
        notes.say(Kind::Unknown, "is paused");
    } else if is_custom && live.facts.suspended {
        notes.say(Kind::Unknown, "is suspended");
    } else if case.key.is("batch", "Job") && live.facts.no_parallelism {
        notes.say(Kind::Unknown, "has parallelism 0, which is paused");
    }
}

/// P8.
pub(super) fn no_replicas(case: &Case<'_>, notes: &mut Notes<'_>) {
    let is_workload = case.key.group == "apps"
        && matches!(
            case.key.kind.as_str(),
            "Deployment" | "StatefulSet" | "DaemonSet"
        );
    if is_workload && case.snapshot.is_some() && case.pods_wanted() == 0 && !case.limits.allow_zero
    {
        notes.say(Kind::Unknown, "wants no pods, so that nothing proves it");
    }
}
