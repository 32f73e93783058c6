//! The rows of a sync of the promoted commit.

use super::case::Case;
use super::clocks::Clock;
use super::messages::{is_failed_comparison, is_outage, is_unparsable, short};
use super::operation::Phase;
use super::progress::because;
use super::rows::{Finding, seconds};
use super::sight::SeenOperation;
use super::verdict::Action;

pub(super) fn sync_failed(case: &Case) -> Option<Finding> {
    if case.active().is_some() {
        return None;
    }
    let operation = case.operation.as_ref().filter(|seen| seen.has_failed());
    let message = match operation {
        Some(operation) => operation.message,
        None => case.failed_sync?,
    };
    let revision = operation
        .and_then(|operation| operation.revision)
        .or(case.revision)
        .map(short)
        .unwrap_or_default();
    if !is_untried(case, operation, message) {
        return Some(Finding::fail(format!(
            "sync of {revision} failed: {message}"
        )));
    }
    // Argo CD does not try a commit again by itself. That it could be compared since tells that it can be reached again.
    let may_sync = case.expected.may_sync && case.is_fresh() && case.memory.may_sync(case.limits);
    let evidence = format!("sync of {revision} could not be carried out: {message}");
    Some(if may_sync {
        Finding::hold(format!("{evidence}; syncing it again")).with(Some(Action::Sync))
    } else {
        Finding::hold(evidence).with(case.refresh())
    })
}

pub(super) fn running(case: &Case) -> Option<Finding> {
    let operation = case.ours_active()?;
    if operation.finished_at.is_some() && operation.phase != Some(&Phase::Terminating) {
        return None;
    }
    let held = case.held(Clock::OurOperation);
    let shown = operation.revision.map(short).unwrap_or_default();
    let deadline = case.limits.sync_deadline;
    if held < deadline {
        let evidence = format!("sync of {shown} is running");
        return Some(case.going_on(because(&evidence, operation.message)));
    }
    let evidence = format!("sync of {shown} is running for {}", seconds(held));
    let harm = Finding::fail(because(&evidence, operation.message)).with(case.terminate());
    Some(case.once_confirmed(Clock::OurOperation, deadline, harm))
}

pub(super) fn retrying(case: &Case) -> Option<Finding> {
    let operation = case.ours_active()?;
    operation.finished_at?;
    let limit = case
        .application
        .retry_limit
        .map_or_else(String::new, |limit| format!(" of {limit}"));
    let retry = format!("retry {}{limit}", operation.retry_count);
    if is_untried(case, Some(operation), operation.message) {
        let evidence = format!("sync could not be carried out, {retry}");
        return Some(Finding::hold(because(&evidence, operation.message)).with(case.refresh()));
    }
    let evidence = because(&format!("sync failed, {retry}"), operation.message);
    Some(if operation.retry_count >= case.limits.max_retries {
        let harm = Finding::fail(evidence);
        case.once_confirmed(Clock::Retried, std::time::Duration::ZERO, harm)
    } else {
        case.going_on(evidence)
    })
}

/// Whether a sync failed by nothing but what could not be reached, which says nothing about the commit.
///
/// One object that was reached and refused, or a hook that ran and failed, is enough to say something.
fn is_untried(case: &Case, operation: Option<&SeenOperation>, message: &str) -> bool {
    let failures = operation.map_or(&[][..], |operation| operation.failures);
    if !failures.is_empty() {
        let mut failures = failures.iter();
        return failures.all(|failure| !failure.has_run && is_outage(&failure.message));
    }
    let unparsable = case
        .index()
        .is_some_and(|index| is_unparsable(message, index));
    !unparsable && (is_outage(message) || is_failed_comparison(message))
}
