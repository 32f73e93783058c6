//! The rows of an Application that shows the promoted commit.

use tidegate_waves::fleet::{BaselineDegraded, OnDrift, OnSuspended, PrunePending};

use super::application::{Health, SyncStatus};
use super::case::Case;
use super::clocks::Clock;
use super::expected::Standing;
use super::messages::short;
use super::rows::{Finding, seconds};
use super::verdict::{Action, Kind};

/// How many objects evidence names.
const NAMED_OBJECTS: usize = 3;

pub(super) fn empty(case: &Case) -> Option<Finding> {
    if !case.is_at_ours() || !case.memory.is_answered() {
        return None;
    }
    let rendered = case.expected.objects.len();
    if case.is_wipe_out {
        Some(Finding::fail(
            "Argo CD finds nothing to apply and refuses to delete all that is there",
        ))
    } else if case.condition(&["ExcludedResourceWarning"]).is_some() {
        // Its own settings leave out what was rendered, which no commit has done; the row of what is lacking says so.
        None
    } else if case.is_synced() && case.application.resources.is_empty() && rendered > 0 {
        Some(Finding::fail(format!(
            "Argo CD finds nothing to apply; {rendered} objects were rendered"
        )))
    } else {
        None
    }
}

pub(super) fn degraded_before(case: &Case) -> Option<Finding> {
    let before = case.expected.before.as_ref()?;
    let message = case.application.health.message.as_str();
    // Where one of them gives no cause they cannot be told apart.
    let same_cause =
        message.is_empty() || before.health_message.is_empty() || message == before.health_message;
    if !case.is_degraded_at_ours()
        || before.health != Health::Degraded
        || !same_cause
        || case.memory.is_recovered()
    {
        return None;
    }
    let evidence = because("is degraded, as it was before the promotion", message);
    let short_time = case.held(Clock::Degraded) < case.limits.degraded_for;
    Some(
        if short_time || case.limits.baseline_degraded == BaselineDegraded::Ignore {
            Finding::wait(evidence).with(case.refresh())
        } else {
            Finding::hold(evidence)
        },
    )
}

pub(super) fn degraded_briefly(case: &Case) -> Option<Finding> {
    if !case.is_degraded_at_ours() || is_degraded_enough(case) {
        return None;
    }
    let held = case.held(Clock::Degraded);
    let enough = case.limits.degraded_for;
    let message = &case.application.health.message;
    let unanswered = !case.memory.is_answered();
    Some(if held < enough {
        let act = if unanswered { case.refresh() } else { None };
        let evidence = format!("is degraded for {} of {}", seconds(held), seconds(enough));
        Finding::wait(because(&evidence, message)).with(act)
    } else if unanswered {
        let evidence = "is degraded, and not compared since the promotion";
        Finding::hold(because(evidence, message)).with(case.refresh())
    } else {
        let harm = Finding::fail(because(
            &format!("is degraded for {}", seconds(held)),
            message,
        ));
        case.once_confirmed(Clock::Degraded, enough, harm)
    })
}

pub(super) fn degraded(case: &Case) -> Option<Finding> {
    (case.is_degraded_at_ours() && is_degraded_enough(case)).then(|| {
        let what = if is_flapping(case) {
            format!("turned degraded again, {} changes", case.memory.flips())
        } else {
            format!("is degraded for {}", seconds(case.held(Clock::Degraded)))
        };
        let act = case.ours_active().and_then(|_| case.terminate());
        Finding::fail(because(&what, &case.application.health.message)).with(act)
    })
}

/// Each change was written anew; that it lasts must have been confirmed.
fn is_degraded_enough(case: &Case) -> bool {
    case.memory.is_answered()
        && (is_flapping(case)
            || case
                .memory
                .is_confirmed(Clock::Degraded, case.limits.degraded_for))
}

fn is_flapping(case: &Case) -> bool {
    let most = usize::try_from(case.limits.flips).unwrap_or(usize::MAX);
    case.memory.flips() >= most
}

pub(super) fn not_begun(case: &Case) -> Option<Finding> {
    if !case.is_not_begun() {
        return None;
    }
    let held = case.held(Clock::NotBegun);
    // Nothing begins by itself where the automated sync is off.
    let patience = if case.is_automated() {
        case.limits.start_deadline
    } else {
        std::time::Duration::ZERO
    };
    let evidence = "is out of sync, and no sync has begun";
    let last_refresh = patience.saturating_add(case.limits.refresh_every);
    if !case.is_fresh() {
        return Some(Finding::wait(evidence).with(case.refresh()));
    }
    if case.is_automated() && held < last_refresh {
        let act = if held < patience {
            None
        } else {
            case.refresh()
        };
        return Some(Finding::wait(evidence).with(act));
    }
    if !case.expected.may_sync {
        return Some(Finding::blocked(format!(
            "{evidence} for {}; we may not sync it",
            seconds(held)
        )));
    }
    let act = case.memory.may_sync(case.limits).then_some(Action::Sync);
    Some(Finding::wait(format!("{evidence}; syncing it")).with(act))
}

pub(super) fn awaits_pruning(case: &Case) -> Option<Finding> {
    let holds = case.limits.prune_pending == PrunePending::Hold;
    (holds && case.is_at_ours() && case.awaits_pruning_only()).then(|| {
        Finding::hold(format!(
            "pruning is off, and what is no longer wanted is still there: {}",
            differing(case)
        ))
    })
}

pub(super) fn drifted(case: &Case) -> Option<Finding> {
    if !case.is_drifted() {
        return None;
    }
    let evidence = format!("differs again since it was synced: {}", differing(case));
    Some(if case.held(Clock::Drifted) < case.limits.drift_grace {
        Finding::wait(evidence)
    } else if case.limits.on_drift == OnDrift::Fail {
        case.once_confirmed(
            Clock::Drifted,
            case.limits.drift_grace,
            Finding::fail(evidence),
        )
    } else {
        Finding::hold(evidence)
    })
}

pub(super) fn lacks_objects(case: &Case) -> Option<Finding> {
    if !case.is_at_ours() {
        return None;
    }
    // What is neither applied nor compared is Synced whatever runs.
    let skipped = case.expected.skipped;
    if case.expected.objects.is_empty() && skipped > 0 {
        let objects = if skipped == 1 { "object" } else { "objects" };
        return Some(Finding::blocked(format!(
            "Argo CD is told to leave out all that was rendered, {skipped} {objects} (argocd.argoproj.io/hook: Skip), so that nothing shows what runs"
        )));
    }
    let application = case.application;
    let lacking: Vec<String> = case
        .expected
        .objects
        .iter()
        .filter(|key| {
            let mut resources = application.resources.iter();
            !resources.any(|resource| resource.is(key, &application.destination))
        })
        .map(ToString::to_string)
        .collect();
    (!lacking.is_empty()).then(|| {
        Finding::blocked(format!(
            "Argo CD leaves out what was rendered (an excluded kind, or its project?): {}",
            list(&lacking)
        ))
    })
}

pub(super) fn not_fresh(case: &Case) -> Option<Finding> {
    (!case.is_fresh()).then(|| {
        let evidence = if case.memory.is_answered() {
            "waiting for a newer comparison"
        } else {
            "waiting for the first comparison since the promotion"
        };
        Finding::wait(evidence).with(case.refresh())
    })
}

pub(super) fn progressing(case: &Case) -> Option<Finding> {
    let health = &case.application.health;
    (health.status == Health::Progressing)
        .then(|| case.going_on(because("is progressing", &health.message)))
}

pub(super) fn missing(case: &Case) -> Option<Finding> {
    if case.application.health.status != Health::Missing {
        return None;
    }
    let held = case.held(Clock::Missing);
    Some(if held < case.limits.missing_for {
        Finding::wait("all its objects are missing")
    } else {
        let harm = Finding::fail(format!("all its objects are missing for {}", seconds(held)));
        case.once_confirmed(Clock::Missing, case.limits.missing_for, harm)
    })
}

pub(super) fn suspended(case: &Case) -> Option<Finding> {
    let health = &case.application.health;
    let holds = health.status == Health::Suspended && case.limits.on_suspended == OnSuspended::Hold;
    holds.then(|| Finding::hold(because("is suspended", &health.message)))
}

pub(super) fn soaking(case: &Case) -> Option<Finding> {
    if !case.is_as_wanted() || is_soaked(case) {
        return None;
    }
    let held = case.memory.soaked(case.application);
    let stable_for = case.limits.stable_for;
    let nearly_over = held.saturating_add(case.limits.refresh_every) >= stable_for;
    let nothing_new = !case.memory.reconciled_in_soak(case.application);
    // A long soak asks in between, so that the comparison does not become too old.
    let aging = case.memory.since_reconciled() >= case.limits.stale_after / 2;
    let act = if (nearly_over && nothing_new) || aging {
        case.refresh()
    } else {
        None
    };
    let state = state(case);
    let evidence = if held >= stable_for {
        format!("{state} for {}, one more comparison is due", seconds(held))
    } else {
        format!("{state} for {} of {}", seconds(held), seconds(stable_for))
    };
    // It goes on, but says nothing that counts at the deadline while nobody answers.
    let unanswered = case.memory.is_unanswered(case.limits);
    let kind = if unanswered { Kind::Hold } else { Kind::Soak };
    Some(Finding::new(kind, evidence).with(act))
}

pub(super) fn passed(case: &Case) -> Option<Finding> {
    (case.is_as_wanted() && is_soaked(case)).then(|| {
        let held = case.memory.soaked(case.application);
        Finding::new(Kind::Pass, format!("{} for {}", state(case), seconds(held)))
    })
}

fn is_soaked(case: &Case) -> bool {
    case.memory.soaked(case.application) >= case.limits.stable_for
        && case.memory.reconciled_in_soak(case.application)
}

/// What is as wanted, and what was accepted with it.
fn state(case: &Case) -> String {
    let shown = case.revision.map(short).unwrap_or_default();
    let health = match case.application.health.status {
        Health::Suspended => "suspended, as is accepted",
        _ => "healthy",
    };
    let differing_is_accepted =
        case.standing == Standing::Wanted && case.application.sync.status == SyncStatus::OutOfSync;
    if differing_is_accepted {
        format!(
            "at {shown} and {health}, while this differs and is accepted: {};",
            differing(case)
        )
    } else {
        format!("synced at {shown} and {health}")
    }
}

pub(super) fn because(what: &str, message: &str) -> String {
    if message.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {message}")
    }
}

fn differing(case: &Case) -> String {
    let names: Vec<String> = case
        .differing()
        .map(|resource| {
            if resource.namespace.is_empty() {
                format!("{} {}", resource.kind, resource.name)
            } else {
                format!("{} {}/{}", resource.kind, resource.namespace, resource.name)
            }
        })
        .collect();
    list(&names)
}

fn list(names: &[String]) -> String {
    let named: Vec<&str> = names
        .iter()
        .take(NAMED_OBJECTS)
        .map(String::as_str)
        .collect();
    let more = names.len().saturating_sub(NAMED_OBJECTS);
    match (named.is_empty(), more) {
        (true, _) => "Argo CD names no object".to_owned(),
        (false, 0) => named.join(", "),
        (false, more) => format!("{} and {more} more", named.join(", ")),
    }
}
