//! Waiting for the log's answer to a request.

use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use tidegate_waves::oid::Oid;

use super::super::error::CommandError;
use super::super::log_view::LogView;
use crate::git::history::{CommitView, History};

/// The first pause between two looks at the log; each is longer than the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// It is carried out.
    Accepted,
    /// It is not.
    Refused,
    /// No controller has answered yet.
    Queued,
}

/// Looks at the log until it answers the request; `None` if it does not in time.
pub(super) fn wait(
    view: &LogView,
    request: Oid,
    timeout: Duration,
) -> Result<Option<(Verdict, Option<String>)>, CommandError> {
    let begun = Instant::now();
    let log = view.state().fleet.log_ref();
    let mut known = view.tip();
    let mut pause = FIRST_PAUSE;
    loop {
        let listed = view.repo().list(&[&log])?.get(&log).copied();
        if listed.is_some_and(|tip| tip != known) {
            view.repo().fetch(&[format!("+{log}:{log}")], None)?;
            let tip = view.repo().tip(&log)?;
            // Opened anew: a handle remembers where the history was cut off when it was opened.
            let history = History::open(view.repo().path()).map_err(CommandError::failed)?;
            let entries = history
                .chain(Some(known), tip)
                .map_err(CommandError::failed)?
                .ok_or_else(|| {
                    CommandError::failed(
                        "the log was rewritten while waiting for the answer; call an operator",
                    )
                })?;
            if let Some(answer) = entries.iter().find_map(|entry| read(entry, request)) {
                return Ok(Some(answer));
            }
            known = tip;
            pause = FIRST_PAUSE;
        }
        let Some(left) = timeout
            .checked_sub(begun.elapsed())
            .filter(|left| !left.is_zero())
        else {
            return Ok(None);
        };
        thread::sleep(pause.min(left));
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// The answer that an entry gives to a request.
fn read(entry: &CommitView, request: Oid) -> Option<(Verdict, Option<String>)> {
    let trailers = entry.trailers();
    let commit: Oid = trailers.only("Tidegate-Request-Commit")?.parse().ok()?;
    if commit != request {
        return None;
    }
    match trailers.only("Tidegate-Answer")? {
        "accepted" => Some((Verdict::Accepted, None)),
        refused => {
            let why = refused.strip_prefix("refused").unwrap_or(refused).trim();
            Some((Verdict::Refused, Some(why.to_owned())))
        }
    }
}
