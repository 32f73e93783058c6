//! Which sample decided what, read from the log's messages.

use tidegate_waves::rollout::{RegionState, Rollout};

use super::GateEvidence;
use crate::git::history::CommitView;
use crate::git::trailers::one_line;
use crate::status::rfc3339;

/// One line of an entry that tells of a region's change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The region.
    pub region: String,
    /// The state that it came to, in the log's words.
    pub state: String,
    /// What decided it; empty where nothing had to.
    pub evidence: String,
    /// The entry's time, in seconds since 1970.
    pub at: i64,
}

/// The lines of these entries (newest first) that say how a region's state changed.
#[must_use]
pub fn changes<'log>(entries: impl IntoIterator<Item = &'log CommitView>) -> Vec<Change> {
    let mut changes = Vec::new();
    for entry in entries {
        let lines: Vec<&str> = entry.message.lines().skip(1).collect();
        // Within an entry the last line is the newest.
        changes.extend(
            lines
                .iter()
                .rev()
                .filter_map(|line| change(line, entry.seconds)),
        );
    }
    changes
}

/// `westus3: Verifying -> Baking: healthz answered 200`, or `westus3: Promoted -> Applying`.
fn change(line: &str, at: i64) -> Option<Change> {
    let (region, rest) = line.trim().split_once(": ")?;
    let (before, rest) = rest.split_once(" -> ")?;
    let (state, evidence) = rest.split_once(": ").unwrap_or((rest, ""));
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_word(before) && is_word(state)).then(|| Change {
        region: region.to_owned(),
        state: state.to_owned(),
        evidence: one_line(evidence),
        at,
    })
}

/// What the gates of a rollout's regions said last: the newest evidence that names a gate.
#[must_use]
pub fn gates(rollout: &Rollout, changes: &[Change]) -> Vec<GateEvidence> {
    let mut said = Vec::new();
    for (region, run) in rollout.waves.iter().flat_map(|wave| &wave.regions) {
        if !run.receives() {
            continue;
        }
        for gate in rollout.gates_of(region) {
            let newest = changes
                .iter()
                .find(|change| change.region == *region && names(&change.evidence, &gate.name));
            let verdict = match newest.map(|change| change.state.as_str()) {
                Some("Baking" | "Done") => Verdict::Healthy,
                Some("Failed") => Verdict::Harm,
                Some("TimedOut") => Verdict::TimedOut,
                Some("Held") => Verdict::Held,
                _ if run.state == RegionState::Pending => Verdict::NotAsked,
                _ => Verdict::Undecided,
            };
            said.push(GateEvidence {
                region: region.clone(),
                gate: gate.name.clone(),
                verdict,
                evidence: newest.map(|change| change.evidence.clone()),
                at: newest.map(|change| rfc3339(change.at)),
            });
        }
    }
    said
}

/// Whether evidence names a gate, as a word of its own.
fn names(evidence: &str, gate: &str) -> bool {
    let is_edge = |character: Option<char>| {
        character.is_none_or(|character| !character.is_alphanumeric() && !"-_".contains(character))
    };
    evidence.match_indices(gate).any(|(start, _)| {
        let before = evidence
            .get(..start)
            .and_then(|text| text.chars().next_back());
        let after = evidence
            .get(start + gate.len()..)
            .and_then(|text| text.chars().next());
        is_edge(before) && is_edge(after)
    })
}

/// What a gate has decided about a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It is healthy.
    Healthy,
    /// It was harmed.
    Harm,
    /// It was not healthy in time.
    TimedOut,
    /// It cannot be judged.
    Held,
    /// Not decided yet.
    Undecided,
    /// The region waits for its promotion.
    NotAsked,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Harm => "harm",
            Self::TimedOut => "not healthy in time",
            Self::Held => "cannot be judged",
            Self::Undecided => "not decided yet",
            Self::NotAsked => "not asked yet",
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_waves::oid::Oid;

    use super::*;
    use crate::git::history::Person;

    fn entry(message: &str, seconds: i64) -> CommitView {
        CommitView {
            id: Oid::ZERO,
            parents: Vec::new(),
            tree: Oid::ZERO,
            message: message.to_owned(),
            author: Person {
                name: String::new(),
                email: String::new(),
            },
            is_by_its_author: true,
            seconds,
        }
    }

    #[test]
    fn the_newest_line_comes_first_and_other_lines_are_none() {
        let newest = entry(
            "Progress: x\n\n    a: Applying -> Verifying\n    a: Verifying -> Baking: healthz answered 200: ok\n\nTidegate-Entry: Progress\n",
            20,
        );
        let older = entry(
            "Progress: y\n\n    a: Baking -> Failed: healthz answered 500\n    reason: b -> c: d\n\nTidegate-Entry: Progress\n",
            10,
        );
        let found = changes([&newest, &older]);
        let short: Vec<_> = found
            .iter()
            .map(|change| {
                (
                    change.region.as_str(),
                    change.state.as_str(),
                    change.evidence.as_str(),
                    change.at,
                )
            })
            .collect();
        assert_eq!(
            short,
            [
                ("a", "Baking", "healthz answered 200: ok", 20),
                ("a", "Verifying", "", 20),
                ("reason", "c", "d", 10),
                ("a", "Failed", "healthz answered 500", 10),
            ]
        );
    }

    #[test]
    fn a_gate_is_named_as_a_whole_word() {
        assert!(names("healthz answered 500", "healthz"));
        assert!(names("gate healthz: 500", "healthz"));
        assert!(!names("healthz-deep answered 500", "healthz"));
        assert!(!names("unhealthz", "healthz"));
    }
}
