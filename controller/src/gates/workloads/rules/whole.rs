//! Rules on all objects together.

use std::time::Duration;

use super::super::baseline::Baseline;
use super::super::limits::Limits;
use super::super::line::{counted, span};
use super::super::verdict::Kind;
use super::Notes;

/// All objects, after each was judged.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Whole<'a> {
    pub(in super::super) judged: usize,
    pub(in super::super) ignored: usize,
    pub(in super::super) all_healthy: bool,
    /// For how long all have been healthy without a break.
    pub(in super::super) healthy_for: Duration,
    pub(in super::super) limits: &'a Limits,
    pub(in super::super) baseline: &'a Baseline,
    pub(in super::super) now: Duration,
}

impl Whole<'_> {
    /// How healthy they are, in words.
    pub(in super::super) fn healthy(&self) -> String {
        let ignored = match self.ignored {
            0 => String::new(),
            count => format!(", {count} ignored"),
        };
        format!(
            "{} healthy for {}{ignored}",
            counted(self.judged, "object"),
            span(self.healthy_for)
        )
    }
}

/// P19.
pub(super) fn stable(whole: &Whole<'_>, notes: &mut Notes<'_>) {
    let (most, within) = (whole.limits.max_flaps, whole.limits.counted_within);
    for (key, flaps) in notes.memory.flapping(most, whole.now, within) {
        // What is harm now must be more than what was usual, not more than a part of it.
        let before = if notes.memory.has_recovered(&key) {
            0
        } else {
            whole.baseline.breaks_of(&key)
        };
        let evidence = format!(
            "flapping: stopped being healthy {} within {}",
            counted(flaps, "time"),
            span(within)
        );
        notes.object = Some(key);
        if before > most || flaps <= most.saturating_add(before) {
            let before = format!("{} before the promotion", counted(before, "time"));
            notes.say(Kind::Sick, &format!("{evidence}, and {before}"));
        } else {
            notes.say(Kind::Fail, &evidence);
        }
    }
    notes.object = None;
    if whole.all_healthy && whole.healthy_for < whole.limits.stable_for {
        let wanted = span(whole.limits.stable_for);
        notes.say(
            Kind::Progressing,
            &format!("{} of {wanted}", whole.healthy()),
        );
    }
}

/// P1, of all objects.
pub(super) fn nothing_judged(whole: &Whole<'_>, notes: &mut Notes<'_>) {
    if whole.judged == 0 {
        let ignored = match whole.ignored {
            0 => String::new(),
            count => format!(", beside {} of unknown health", counted(count, "object")),
        };
        notes.say(
            Kind::Unknown,
            &format!("there is nothing to judge{ignored}"),
        );
    }
}
