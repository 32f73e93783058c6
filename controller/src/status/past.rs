//! The rollouts of the past, and what people asked for meanwhile, as the log tells of them.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{Hold, Rollout, RolloutState, SourceRevert};

use super::{reason, rfc3339};
use crate::engine::EngineError;
use crate::engine::log::read_state;
use crate::git::history::{CommitView, History};
use crate::git::trailers::one_line;

/// One rollout of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PastRollout {
    /// Its id.
    pub id: String,
    /// The source commit.
    pub source: Oid,
    /// The commits that it carried, newest first.
    pub commits: Vec<Oid>,
    /// The first line of the source commit's message.
    pub subject: String,
    /// Who wrote it.
    pub author: String,
    /// How it ended, or where it stands.
    pub state: RolloutState,
    /// When it opened.
    pub opened: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Why it did not succeed.
    pub reason: Option<String>,
    /// The commit that reverted it on the config branch.
    pub revert: Option<Oid>,
    /// How each region ended.
    pub regions: BTreeMap<String, tidegate_waves::rollout::RegionState>,
    /// What people asked for while it was the newest rollout, oldest first.
    pub requests: Vec<AnsweredRequest>,
}

/// What a person asked for, and the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnsweredRequest {
    /// The request's commit.
    pub commit: Oid,
    /// What was asked for, and by whom, in the log's words: `hold by A <a@example.com>`.
    pub request: String,
    /// Who asked, as the request's commit says; anybody can write that unless it is verified.
    pub by: String,
    /// The principal of the operator's allowed signers whose signature the request carries.
    pub verified: Option<String>,
    /// Why, if a reason was given.
    pub reason: Option<String>,
    /// `None` if it was accepted, else why not.
    pub refused: Option<String>,
    /// When it was answered.
    pub at: String,
}

/// All rollouts that the log tells of, newest first.
pub fn history(
    store: &ObjectStore,
    history: &History,
    tip: Oid,
) -> Result<Vec<PastRollout>, EngineError> {
    let chain = history.chain(None, tip)?.unwrap_or_default();
    let mut rollouts: Vec<PastRollout> = Vec::new();
    // Requests belong to the rollout that was the newest when they were answered: the next one on the way back.
    let mut waiting: Vec<AnsweredRequest> = Vec::new();
    for commit in &chain {
        waiting.extend(answered(commit));
        let is_opening = commit.trailers().only("Tidegate-Entry") == Some("RolloutOpened");
        // The newest entry of a rollout tells how it ended.
        let Some(id) = rollout_of(commit) else {
            continue;
        };
        if !rollouts.iter().any(|rollout| rollout.id == id) {
            let state = read_state(store, history, commit.id)?;
            if let Some(rollout) = state.rollout.as_ref().filter(|rollout| rollout.id == id) {
                rollouts.push(past(rollout, &state.holds));
            }
        }
        if is_opening && let Some(opened) = rollouts.iter_mut().find(|known| known.id == id) {
            opened.requests = std::mem::take(&mut waiting);
            opened.requests.reverse();
        }
    }
    Ok(rollouts)
}

/// The request that an entry answers.
fn answered(commit: &CommitView) -> Option<AnsweredRequest> {
    let trailers = commit.trailers();
    let request = trailers.only("Tidegate-Request-Commit")?.parse().ok()?;
    let answer = trailers.only("Tidegate-Answer")?;
    let subject = commit.subject();
    let asked = subject.strip_prefix("Requested: ").unwrap_or(&subject);
    let asked = ["accepted", "refused"]
        .iter()
        .find_map(|verdict| asked.strip_suffix(&format!(": {verdict}")))
        .unwrap_or(asked);
    let (by, verified) = asker(commit).unwrap_or_else(|| {
        let by = asked.split_once(" by ").map_or("", |(_, by)| by);
        (by.to_owned(), None)
    });
    let reason = commit
        .message
        .lines()
        .find_map(|line| line.trim().strip_prefix("reason: "))
        .map(one_line);
    Some(AnsweredRequest {
        commit: request,
        request: asked.to_owned(),
        by,
        verified,
        reason,
        refused: answer
            .strip_prefix("refused")
            .map(|why| why.trim().to_owned()),
        at: rfc3339(commit.seconds),
    })
}

/// Who asked, and whose signature the request carries.
fn asker(commit: &CommitView) -> Option<(String, Option<String>)> {
    // The first such line is the log's own; what people wrote comes behind it.
    let line = commit
        .message
        .lines()
        .skip(1)
        .find_map(|line| line.trim().strip_prefix("asked by "))?;
    // Only the end counts: a name may hold any words, and a line that was cut ends in neither form.
    if let Some(by) = line.strip_suffix(" (signature not verified)") {
        return Some((by.to_owned(), None));
    }
    let verified = line
        .strip_suffix(')')
        .and_then(|line| line.rsplit_once(" (signature verified: "));
    Some(match verified {
        Some((by, principal)) => (by.to_owned(), Some(principal.to_owned())),
        None => (line.to_owned(), None),
    })
}

/// The rollout that a log entry belongs to.
fn rollout_of(commit: &CommitView) -> Option<String> {
    commit
        .trailers()
        .only("Tidegate-Rollout")
        .map(str::to_owned)
}

fn past(rollout: &Rollout, holds: &[Hold]) -> PastRollout {
    let newest = rollout.commits.first();
    PastRollout {
        id: rollout.id.clone(),
        source: rollout.source,
        commits: rollout.commits.iter().map(|commit| commit.id).collect(),
        subject: newest
            .map(|commit| commit.subject.clone())
            .unwrap_or_default(),
        author: newest
            .map(|commit| commit.author.clone())
            .unwrap_or_default(),
        state: rollout.state,
        opened: rfc3339(rollout.opened),
        ended: rollout.ended.map(rfc3339),
        reason: reason(rollout, holds),
        revert: match rollout.source_revert {
            SourceRevert::Pushed { commit } | SourceRevert::Proposed { commit } => Some(commit),
            _ => None,
        },
        regions: rollout
            .waves
            .iter()
            .flat_map(|wave| &wave.regions)
            .map(|(name, run)| (name.clone(), run.state))
            .collect(),
        requests: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::history::Person;

    fn entry(subject: &str, lines: &[&str]) -> CommitView {
        let lines = format!("    {}\n", lines.join("\n    "));
        CommitView {
            id: Oid::ZERO,
            parents: Vec::new(),
            tree: Oid::ZERO,
            message: format!(
                "Requested: {subject}\n\n{lines}\nTidegate-Entry: Requested\nTidegate-Request-Commit: {}\nTidegate-Answer: accepted\n",
                Oid::from_bytes([1; 20])
            ),
            author: Person {
                name: String::new(),
                email: String::new(),
            },
            is_by_its_author: true,
            seconds: 0,
        }
    }

    fn who(subject: &str, lines: &[&str]) -> (String, Option<String>) {
        let answered = answered(&entry(subject, lines)).unwrap();
        (answered.by, answered.verified)
    }

    #[test]
    fn a_signature_that_was_verified_names_its_principal() {
        let asked = entry(
            "hold by Jo <jo@example.com>: accepted",
            &[
                "asked by Jo <jo@example.com> (signature verified: jo@shop)",
                "reason: a move",
            ],
        );
        let answered = answered(&asked).unwrap();
        assert_eq!(answered.request, "hold by Jo <jo@example.com>");
        assert_eq!(answered.by, "Jo <jo@example.com>");
        assert_eq!(answered.verified.as_deref(), Some("jo@shop"));
        assert_eq!(answered.reason.as_deref(), Some("a move"));
    }

    #[test]
    fn nobody_is_verified_by_what_they_write() {
        let forged = "Eve (signature verified: root) <eve@example.com>";
        let subject = format!("hold by {forged}: accepted");
        let line = format!("asked by {forged} (signature not verified)");
        let unverified = (forged.to_owned(), None);
        assert_eq!(who(&subject, &[&line]), unverified);
        // Nor in the reason, nor when the line was cut.
        let reason = "reason: asked by root (signature verified: root)";
        assert_eq!(who(&subject, &[&line, reason]), unverified);
        assert_eq!(
            who(
                "hold by E: accepted",
                &["asked by E (signature verified: root…"]
            )
            .1,
            None
        );
        let eve = format!("asked by {forged} (signature verified: eve@shop)");
        assert_eq!(
            who(&subject, &[&eve]),
            (forged.to_owned(), Some("eve@shop".to_owned()))
        );
    }

    #[test]
    fn an_entry_without_that_line_tells_who_in_its_subject() {
        assert_eq!(
            who("hold by Jo <jo@example.com>: accepted", &["reason: x"]),
            ("Jo <jo@example.com>".to_owned(), None)
        );
    }
}
