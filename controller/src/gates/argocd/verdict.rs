//! Judging one Application, and all of a region.

use std::time::Duration;

use super::application::{Application, Health};
use super::case::Case;
use super::expected::{Expected, Revisions};
use super::limits::Limits;
use super::memory::Memory;
use super::rows::{ROWS, Row};
use super::sight::Sight;

/// What is known of an Application after a promotion; the later, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// All is as wanted, and has been for long enough.
    Pass,
    /// All is as wanted; it must stay so.
    Soak,
    /// Nothing is wrong that time may not mend: clocks run.
    Wait,
    /// It shows a newer commit of ours.
    Superseded,
    /// People must look; the clock stands, and nothing is given back.
    Hold,
    /// It cannot come to the promoted commit as it is set up: people must mend that, and nothing is given back.
    Blocked,
    /// The promoted commit does harm.
    Fail,
}

/// What a verdict asks its caller to do. It asks again, from time to time, until that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ask Argo CD for a refresh, and tell [`Memory::refresh_requested`] or [`Memory::refresh_refused`].
    Refresh,
    /// End the running operation, and tell [`Memory::terminate_requested`].
    Terminate,
    /// Sync the promoted commit, and tell [`Memory::sync_requested`].
    Sync,
}

/// What one Application says about the promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The row of the table that decided; 0 if none did.
    pub row: u8,
    /// What it comes to.
    pub kind: Kind,
    /// One plain line for people, which names the Application.
    pub evidence: String,
    /// What is to be done about it.
    pub act: Option<Action>,
}

/// What all Applications of a region say about the promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionVerdict {
    /// The row of the table that decided.
    pub row: u8,
    /// What it comes to.
    pub kind: Kind,
    /// One plain line for people, about the worst Application.
    pub evidence: String,
    /// The places of the Applications that are so, in the order given.
    pub applications: Vec<usize>,
}

/// What an Application says about the promotion, at this instant; `None` if it was not found.
///
/// `now` is any monotonic clock of this process, and the Application is as it is now: after a watch was cut off it is read
/// again first. Every look counts, so call it on every change and at least three times in `longest_gap`.
#[must_use]
pub fn judge(
    application: Option<&Application>,
    expected: &Expected,
    revisions: &dyn Revisions,
    limits: &Limits,
    memory: &mut Memory,
    now: Duration,
) -> Verdict {
    judge_by(&ROWS, application, expected, revisions, limits, memory, now)
}

/// Judges by these rows of the table.
pub(super) fn judge_by(
    rows: &[(u8, Row)],
    application: Option<&Application>,
    expected: &Expected,
    revisions: &dyn Revisions,
    limits: &Limits,
    memory: &mut Memory,
    now: Duration,
) -> Verdict {
    memory.look(application, limits, now);
    let nothing = Application::default();
    let shown = application.unwrap_or(&nothing);
    let sight = Sight::new(shown, application.is_some(), expected, revisions, limits);
    watch(&sight, memory);

    let case = Case {
        sight: &sight,
        memory,
    };
    let excused = |row: u8| {
        rows.iter()
            .any(|(_, other)| matches!(other, Row::Excuses(of, when) if *of == row && when(&case)))
    };
    let found = rows.iter().find_map(|(row, rule)| match rule {
        Row::Gives(rule) if !excused(*row) => rule(&case).map(|finding| (*row, finding)),
        Row::Gives(_) | Row::Excuses(..) => None,
    });
    let verdict = match found {
        Some((row, finding)) => Verdict {
            row,
            kind: finding.kind,
            evidence: case.say(&finding.evidence),
            act: finding.act,
        },
        None => Verdict {
            row: 0,
            kind: Kind::Wait,
            evidence: case.say("is in a state that no rule knows"),
            act: case.refresh(),
        },
    };
    let soaks = matches!(verdict.row, 30 | 31);
    memory.settle(soaks, shown, limits);
    verdict
}

/// Lets the clocks run for what is seen.
fn watch(sight: &Sight, memory: &mut Memory) {
    let case = Case { sight, memory };
    let ticks = case.ticks();
    let unparsable = case.unparsable().is_some();
    let counts = case.is_at_ours() && (case.is_synced() || case.is_operation_ours());
    let degraded = match sight.application.health.status {
        Health::Degraded if counts => Some(true),
        Health::Healthy if counts => Some(false),
        _ => None,
    };
    for (clock, tick) in ticks {
        memory.tick(clock, tick);
    }
    memory.note_unparsable(unparsable, sight.expected.listings_begun);
    if let Some(degraded) = degraded {
        memory.note_health(degraded, sight.limits);
    }
}

/// What all Applications of a region say, from verdicts taken at one instant; at least so many were declared.
///
/// One that fails decides; then one that needs people; and a region passes only if all do, and there is one.
#[must_use]
pub fn judge_region(verdicts: &[Verdict], declared: usize) -> RegionVerdict {
    enough_applications(verdicts, declared).unwrap_or_else(|| worst(verdicts))
}

/// Row 1: of no Application all are healthy.
fn enough_applications(verdicts: &[Verdict], declared: usize) -> Option<RegionVerdict> {
    let declared = declared.max(1);
    (verdicts.len() < declared).then(|| RegionVerdict {
        row: 1,
        kind: Kind::Blocked,
        evidence: if verdicts.is_empty() {
            "no Application was found for this region: check the gate's selector".to_owned()
        } else {
            format!(
                "{} of {declared} declared Applications were found: check the gate's selector",
                verdicts.len()
            )
        },
        applications: Vec::new(),
    })
}

/// The worst of all verdicts.
pub(super) fn worst(verdicts: &[Verdict]) -> RegionVerdict {
    let kind = verdicts
        .iter()
        .map(|verdict| verdict.kind)
        .max()
        .unwrap_or(Kind::Pass);
    let applications: Vec<usize> = verdicts
        .iter()
        .enumerate()
        .filter(|(_, verdict)| verdict.kind == kind)
        .map(|(index, _)| index)
        .collect();
    let first = verdicts.iter().find(|verdict| verdict.kind == kind);
    let more = applications.len().saturating_sub(1);
    let evidence = first.map_or("", |verdict| &verdict.evidence);
    let evidence = if more > 0 {
        format!("{evidence} (and {more} more)")
    } else {
        evidence.to_owned()
    };
    RegionVerdict {
        row: first.map_or(0, |verdict| verdict.row),
        kind,
        evidence,
        applications,
    }
}
