//! Problems of a config repo, as people and programs read them.

use serde::Serialize;
use tidegate_renderer::problem::{Problem, Severity};

use super::error::{CommandError, ErrorKind};
use super::terminal::{Stream, Style, Terminal};

/// All problems of a config repo.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether the commit could be rolled out.
    pub valid: bool,
    /// What forbids it, by file, line and column.
    pub errors: Vec<Problem>,
    /// What its author should know, in the same order.
    pub warnings: Vec<Problem>,
}

impl Report {
    /// Sorts problems into a report.
    #[must_use]
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|left, right| place(left).cmp(&place(right)));
        problems.dedup();
        let (errors, warnings): (Vec<_>, Vec<_>) = problems
            .into_iter()
            .partition(|problem| problem.severity == Severity::Error);
        Self {
            valid: errors.is_empty(),
            errors,
            warnings,
        }
    }

    /// Writes each problem to stderr: its place, the message, the lines around it and what would be right.
    pub fn show(&self, terminal: &Terminal) {
        let mut all: Vec<_> = self.errors.iter().chain(&self.warnings).collect();
        all.sort_by(|left, right| place(left).cmp(&place(right)));
        for problem in all {
            show(problem, terminal);
        }
    }

    /// The error with which a command ends that can do nothing with an invalid config repo.
    #[must_use]
    pub fn into_error(self) -> CommandError {
        let warnings = match self.warnings.len() {
            0 => String::new(),
            count => format!(", {}", counted(count, "warning")),
        };
        CommandError::new(
            ErrorKind::InvalidConfig,
            format!(
                "the config repo is invalid: {}{warnings}",
                counted(self.errors.len(), "error")
            ),
        )
    }
}

/// A number of things: `1 error`, `2 errors`.
#[must_use]
pub fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn place(problem: &Problem) -> (&str, u32, u32, Option<&str>, &str) {
    (
        &problem.file,
        problem.line,
        problem.column,
        problem.region.as_deref(),
        &problem.message,
    )
}

fn show(problem: &Problem, terminal: &Terminal) {
    let line = problem.to_string();
    let (word, style) = match problem.severity {
        Severity::Error => ("error:", Style::Error),
        Severity::Warning => ("warning:", Style::Warning),
    };
    let painted = terminal.paint(Stream::Stderr, style, word);
    let line = line.replacen(&format!(": {word} "), &format!(": {painted} "), 1);
    let write = |text: &str| match problem.severity {
        Severity::Error => terminal.insist(text),
        Severity::Warning => terminal.say(text),
    };
    write(&line);
    if !problem.snippet.is_empty() {
        write(problem.snippet.trim_end_matches('\n'));
    }
    if let Some(hint) = &problem.hint {
        let word = terminal.paint(Stream::Stderr, Style::Hint, "hint:");
        write(&format!("  {word} {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_sorted_split_and_said_once() {
        let report = Report::new(vec![
            Problem::error("b.yaml", "second").at(2, 1),
            Problem::warning("a.yaml", "mild").at(9, 1),
            Problem::error("b.yaml", "first").at(1, 5),
            Problem::error("b.yaml", "first").at(1, 5),
        ]);
        let messages: Vec<_> = report.errors.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(messages, ["first", "second"]);
        assert_eq!(report.warnings.len(), 1);
        assert!(!report.valid);
        let error = report.into_error();
        assert_eq!(error.kind, ErrorKind::InvalidConfig);
        assert_eq!(
            error.message,
            "the config repo is invalid: 2 errors, 1 warning"
        );
    }

    #[test]
    fn json_has_the_documented_fields() {
        let report = Report::new(vec![
            Problem::error("a.yaml", "wrong")
                .at(3, 4)
                .for_region("westus3")
                .hint("right"),
        ]);
        insta::assert_snapshot!(serde_json::to_string(&report).unwrap(), @r#"{"valid":false,"errors":[{"file":"a.yaml","line":3,"column":4,"region":"westus3","message":"wrong","hint":"right"}],"warnings":[]}"#);
    }
}
