//! Rules on all objects together.

use std::time::Duration;

use super::super::limits::Limits;
use super::super::line::{counted, span};
use super::super::verdict::Kind;
use super::Notes;
use crate::gates::object_key::ObjectKey;

/// All objects, after each was judged.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Whole<'a> {
    pub(in super::super) judged: usize,
    pub(in super::super) ignored: usize,
    pub(in super::super) all_healthy: bool,
    /// For how long all have been healthy without a break.
    pub(in super::super) healthy_for: Duration,
    pub(in super::super) limits: &'a Limits,
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
    let flapping: Vec<(ObjectKey, u32)> = notes
        .memory
        .flapping(whole.limits.max_flaps)
        .map(|(key, flaps)| (key.clone(), flaps))
        .collect();
    for (key, flaps) in flapping {
        notes.object = Some(key);
        notes.say(
            Kind::Fail,
            &format!(
                "flapping: stopped being healthy {} since the promotion",
                counted(flaps, "time")
            ),
        );
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
