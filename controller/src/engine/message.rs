//! The messages of our commits: what happened in words, and trailers for whoever audits.
//!
//! Text from outside (subjects, authors, reasons, what a gate answered) enters only as one line, cleaned
//! and indented, so that it can never be read as a trailer.

use tidegate_waves::log::{DraftIntent, Entry, Intent, MoveKind};
use tidegate_waves::rollout::{FleetState, Rollout};

use crate::git::trailers::{BadKey, Message, compose, one_line};

/// The longest subject line that we write, in characters.
const SUBJECT_WIDTH: usize = 100;

fn subject_line(text: &str) -> String {
    let line = one_line(text);
    if line.chars().count() <= SUBJECT_WIDTH {
        return line;
    }
    let mut cut: String = line.chars().take(SUBJECT_WIDTH.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

fn message(
    subject: &str,
    lines: &[String],
    trailers: Vec<(String, String)>,
) -> Result<String, BadKey> {
    compose(&Message {
        subject: subject_line(subject),
        body: Vec::new(),
        outside: lines.to_vec(),
        trailers,
    })
}

/// The message of a log commit.
pub fn of_entry(entry: &Entry, state: &FleetState, intents: &[Intent]) -> Result<String, BadKey> {
    // A subject that begins with the kind in words need not say it twice.
    let kind = entry.kind.to_string();
    let said = format!("{}: ", kind.to_lowercase());
    let subject = entry.subject.strip_prefix(&said).unwrap_or(&entry.subject);
    message(
        &format!("{kind}: {subject}"),
        &entry.lines,
        entry.trailers(state.seq, state.epoch, intents),
    )
}

/// The message of a commit on a wave branch.
pub fn of_move(draft: &DraftIntent, rollout: Option<&Rollout>) -> Result<String, BadKey> {
    let regions: Vec<&str> = draft
        .folders
        .iter()
        .map(|change| change.region.as_str())
        .collect();
    let named = match regions.as_slice() {
        [] => String::new(),
        few if few.len() <= 3 => format!(": {}", few.join(", ")),
        many => format!(": {} regions", many.len()),
    };
    let source = draft
        .source
        .map(|source| source.short(8))
        .unwrap_or_default();
    let wave = &draft.wave;
    let subject = match draft.kind {
        MoveKind::Create => format!("Begin the branch of wave {wave}"),
        MoveKind::Promote => format!("Promote {source} to {wave}{named}"),
        MoveKind::Revert => format!("Give {wave} its last good trees back{named}"),
        MoveKind::Seal => format!("Seal {wave}: {source} goes no further here"),
        MoveKind::Leave => format!("Let regions go from {wave}{named}"),
        MoveKind::Restore => format!("Put Tidegate's trees back on {wave}{named}"),
        MoveKind::Adopt => format!("Keep what was pushed to {wave}"),
        MoveKind::SourceRevert => format!("Revert {source}"),
    };
    let mut lines = Vec::new();
    if let Some(rollout) =
        rollout.filter(|_| matches!(draft.kind, MoveKind::Promote | MoveKind::Revert))
    {
        lines.extend(
            rollout
                .commits
                .iter()
                .take(10)
                .map(|commit| format!("{} {}", commit.id.short(8), commit.subject)),
        );
        if draft.kind == MoveKind::Revert
            && let Some(failure) = &rollout.failure
        {
            lines.push(failure.evidence.clone());
        }
    }
    let mut trailers = Vec::new();
    if let Some(rollout) = &draft.rollout {
        trailers.push(("Tidegate-Rollout".to_owned(), rollout.clone()));
    }
    trailers.push(("Tidegate-Wave".to_owned(), wave.clone()));
    if let Some(source) = draft.source {
        trailers.push(("Tidegate-Source".to_owned(), source.to_string()));
    }
    trailers.push(("Tidegate-Kind".to_owned(), draft.kind.to_string()));
    message(&subject, &lines, trailers)
}

/// The message of a revert of the config branch.
pub fn of_source_revert(rollout: &Rollout) -> Result<String, BadKey> {
    let newest = rollout
        .commits
        .first()
        .map(|commit| commit.subject.as_str())
        .unwrap_or_default();
    let subject = match rollout.commits.len() {
        0 | 1 => format!("Revert \"{}\"", one_line(newest)),
        count => format!("Revert {count} commits up to \"{}\"", one_line(newest)),
    };
    let reverted = rollout
        .commits
        .iter()
        .map(|commit| format!("This reverts commit {}.", commit.id))
        .collect();
    let reason = rollout
        .failure
        .as_ref()
        .map(|failure| failure.evidence.clone())
        .unwrap_or_default();
    compose(&Message {
        subject: subject_line(&subject),
        body: vec![reverted],
        outside: Vec::new(),
        trailers: vec![
            ("Tidegate-Rollout".to_owned(), rollout.id.clone()),
            ("Tidegate-Reason".to_owned(), reason),
        ],
    })
}

/// The message of a plan commit.
pub fn of_plan(source: tidegate_waves::oid::Oid) -> Result<String, BadKey> {
    message(
        &format!("Plan of {source}"),
        &[],
        vec![("Tidegate-Source".to_owned(), source.to_string())],
    )
}

#[cfg(test)]
mod tests {
    use tidegate_waves::log::EntryKind;
    use tidegate_waves::oid::Oid;
    use tidegate_waves::rollout::{FleetIdentity, create};

    use super::*;

    #[test]
    fn outside_text_cannot_become_a_trailer() {
        let identity = FleetIdentity {
            name: "f".to_owned(),
            branch: "main".to_owned(),
            path: String::new(),
            prefix: "tidegate".to_owned(),
        };
        let append = create(identity, Oid::from_bytes([1; 20]), "me");
        let mut entry = Entry::new(EntryKind::Held, "held\n\nTidegate-Entry: Succeeded");
        entry
            .lines
            .push("why\n\nTidegate-Seq: 9\nTidegate-Entry: Succeeded".to_owned());
        let text = of_entry(&entry, &append.next, &[]).unwrap();
        assert_eq!(
            crate::git::trailers::parse(&text).only("Tidegate-Entry"),
            Some("Held"),
            "{text}"
        );
        assert!(!text.contains("\nTidegate-Seq: 9"), "{text}");
    }
}
