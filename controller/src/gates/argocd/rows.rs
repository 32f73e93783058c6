//! The table, and its rows up to the one that knows which commit is shown.

use super::case::{Case, INVALID};
use super::clocks::Clock;
use super::expected::{Following, Standing};
use super::messages::{is_window, short};
use super::progress;
use super::syncing;
use super::verdict::{Action, Kind};
use crate::gates::shown::line;

/// A row of the table.
#[derive(Clone, Copy)]
pub(super) enum Row {
    /// Gives a verdict where it matches.
    Gives(fn(&Case) -> Option<Finding>),
    /// Where it matches, that row is passed over.
    Excuses(u8, fn(&Case) -> bool),
}

/// What a row that matches finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) evidence: String,
    pub(super) act: Option<Action>,
}

impl Finding {
    pub(super) fn new(kind: Kind, evidence: impl Into<String>) -> Self {
        Self {
            kind,
            evidence: evidence.into(),
            act: None,
        }
    }

    pub(super) fn wait(evidence: impl Into<String>) -> Self {
        Self::new(Kind::Wait, evidence)
    }

    pub(super) fn hold(evidence: impl Into<String>) -> Self {
        Self::new(Kind::Hold, evidence)
    }

    pub(super) fn blocked(evidence: impl Into<String>) -> Self {
        Self::new(Kind::Blocked, evidence)
    }

    pub(super) fn fail(evidence: impl Into<String>) -> Self {
        Self::new(Kind::Fail, evidence)
    }

    pub(super) fn with(self, act: Option<Action>) -> Self {
        Self { act, ..self }
    }
}

/// The rows in their order: the first that matches decides. Row 1 is about all Applications of a region at once.
pub(super) const ROWS: [(u8, Row); 30] = [
    (2, Row::Gives(gone)),
    (3, Row::Gives(left_alone)),
    (4, Row::Gives(other_source)),
    (5, Row::Gives(needs_manual_sync)),
    (6, Row::Gives(rejected)),
    (7, Row::Gives(unreadable)),
    (8, Row::Gives(other_spec)),
    (9, Row::Gives(window)),
    (10, Row::Gives(other_operation)),
    (11, Row::Gives(not_yet)),
    (12, Row::Gives(newer)),
    (13, Row::Gives(foreign)),
    (14, Row::Gives(syncing::sync_failed)),
    (15, Row::Excuses(14, |case| !case.is_failure_ours())),
    (16, Row::Gives(progress::empty)),
    (17, Row::Gives(progress::degraded_before)),
    (18, Row::Gives(progress::degraded_briefly)),
    (19, Row::Gives(progress::degraded)),
    (20, Row::Gives(syncing::running)),
    (21, Row::Gives(syncing::retrying)),
    (22, Row::Gives(progress::not_begun)),
    (23, Row::Gives(progress::awaits_pruning)),
    (24, Row::Gives(progress::drifted)),
    (25, Row::Gives(progress::lacks_objects)),
    (26, Row::Gives(progress::not_fresh)),
    (27, Row::Gives(progress::progressing)),
    (28, Row::Gives(progress::missing)),
    (29, Row::Gives(progress::suspended)),
    (30, Row::Gives(progress::soaking)),
    (31, Row::Gives(progress::passed)),
];

fn gone(case: &Case) -> Option<Finding> {
    if !case.is_gone() {
        return None;
    }
    let what = if !case.found {
        "was not found"
    } else if case.application.deleting {
        "is being deleted"
    } else {
        "was deleted and created again"
    };
    Some(if case.held(Clock::Absent) < case.limits.create_deadline {
        Finding::wait(what)
    } else {
        Finding::blocked(format!("{what}, for {}", seconds(case.held(Clock::Absent))))
    })
}

fn left_alone(case: &Case) -> Option<Finding> {
    case.application.skip_reconcile.then(|| {
        Finding::blocked("is left alone by Argo CD: its annotation skip-reconcile is true")
    })
}

fn other_source(case: &Case) -> Option<Finding> {
    match &case.following {
        Following::Ours(_) => None,
        Following::PinnedToUnknown(commit) => Some(
            Finding::wait(format!(
                "is pinned to {commit}, a commit that is not fetched here yet"
            ))
            .with(case.refresh()),
        ),
        Following::Other(why) if case.expected.move_open => Some(Finding::wait(format!(
            "{why}; the region's move to another wave is open"
        ))),
        Following::Other(why) => Some(Finding::blocked(why.clone())),
    }
}

fn needs_manual_sync(case: &Case) -> Option<Finding> {
    // Somebody may have synced it by hand: what was asked for is then there, or on its way.
    let done = case.standing == Standing::Wanted && case.is_synced();
    let under_way = case.is_operation_ours();
    (!case.is_automated() && !case.expected.may_sync && !done && !under_way).then(|| {
        Finding::blocked("needs a manual sync: its automated sync is off, and we may not sync it")
    })
}

fn rejected(case: &Case) -> Option<Finding> {
    let (kind, message) = case.condition(&INVALID)?;
    let evidence = format!("{kind}: {message}");
    Some(
        if case.held(Clock::Invalid) < case.limits.invalid_spec_for {
            Finding::wait(evidence)
        } else {
            Finding::blocked(evidence)
        },
    )
}

fn unreadable(case: &Case) -> Option<Finding> {
    let why = case.unreadable()?;
    // Long enough to outlast a repository server that restarts, and only as an answer to the promotion.
    if let Some(message) = case.unparsable()
        && case.memory.is_answered()
        && case.held(Clock::Unparsable) >= case.limits.degraded_for
    {
        let evidence = format!("Argo CD cannot parse the manifests: {message}");
        // It names the branch and no commit: somebody may have pushed what it cannot parse, unseen by us as yet.
        if !case.memory.is_listed_since_unparsable(case.expected.listed) {
            return Some(Finding::hold(format!(
                "{evidence}; the branch was not listed since"
            )));
        }
        let harm = Finding::fail(evidence);
        return Some(case.once_confirmed(Clock::Unparsable, case.limits.degraded_for, harm));
    }
    let held = case.held(Clock::Unreadable);
    Some(if held < case.limits.unknown_for {
        Finding::wait(why).with(case.refresh())
    } else {
        Finding::hold(format!("nothing known for {}: {why}", seconds(held))).with(case.refresh())
    })
}

fn other_spec(case: &Case) -> Option<Finding> {
    (!case.is_compared_with_spec()).then(|| {
        Finding::wait("its status is from before its spec was changed").with(case.refresh())
    })
}

fn window(case: &Case) -> Option<Finding> {
    let operation = case.active()?;
    is_window(operation.message).then(|| Finding::hold("its sync is blocked by a sync window"))
}

fn other_operation(case: &Case) -> Option<Finding> {
    let operation = case
        .active()
        .filter(|operation| operation.standing != Standing::Wanted)?;
    let shown = operation
        .revision
        .map_or_else(|| "a revision that is not named yet".to_owned(), short);
    let evidence = format!("a sync of {shown} is running, not of ours");
    match operation.standing {
        // What is not known to be another commit is left alone, and so is what came after ours by our own hand.
        Standing::Wanted | Standing::NotACommit | Standing::Newer { ours: true } => {
            return Some(Finding::wait(evidence));
        }
        Standing::UnknownCommit => return Some(Finding::wait(evidence).with(case.refresh())),
        Standing::Older | Standing::Foreign | Standing::Newer { ours: false } => {}
    }
    let patience = if case.expected.is_rollback {
        std::time::Duration::ZERO
    } else {
        case.limits.op_steal_after
    };
    if case.held(Clock::OtherOperation) < patience {
        return Some(Finding::wait(evidence));
    }
    Some(if operation.standing != Standing::Older {
        Finding::hold(format!("{evidence}; it is not from before ours"))
    } else if !operation.automated {
        Finding::hold(format!("{evidence}; somebody asked for it by hand"))
    } else if !case.expected.may_terminate {
        Finding::hold(format!("{evidence}; we may not end it"))
    } else if operation.phase == Some(&super::operation::Phase::Terminating) {
        Finding::wait(format!("{evidence}; it is being ended"))
    } else {
        // The refresh that must follow is asked for by the next rows, once nothing runs any more.
        Finding::wait(format!("{evidence}; ending it")).with(case.terminate())
    })
}

fn not_yet(case: &Case) -> Option<Finding> {
    let shown = short(case.revision?);
    let evidence = match case.standing {
        Standing::Older => format!("still shows {shown}, a commit before ours"),
        Standing::UnknownCommit => format!("shows {shown}, a commit that is not fetched here yet"),
        _ => return None,
    };
    Some(Finding::wait(evidence).with(case.refresh()))
}

fn newer(case: &Case) -> Option<Finding> {
    let shown = short(case.revision?);
    match case.standing {
        Standing::Newer { ours: true } => Some(Finding::new(
            Kind::Superseded,
            format!("shows {shown}, a later commit of ours"),
        )),
        Standing::Newer { ours: false } => Some(Finding::hold(format!(
            "shows {shown}, a commit that somebody put on top of ours"
        ))),
        _ => None,
    }
}

fn foreign(case: &Case) -> Option<Finding> {
    let shown = short(case.revision?);
    (case.standing == Standing::Foreign).then(|| {
        Finding::hold(format!(
            "shows {shown}, which is neither before nor after ours: the branch was rewritten"
        ))
    })
}

/// A duration for people.
pub(super) fn seconds(duration: std::time::Duration) -> String {
    line(&format!("{} s", duration.as_secs()), 40)
}
