//! What is wrong with a config repo, and where.

use std::fmt;

use serde::Serialize;

use crate::text::plain;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The commit cannot be rolled out.
    Error,
    /// The commit can be rolled out; its author should know.
    Warning,
}

/// One problem in a config repo: what, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// How bad it is.
    #[serde(skip)]
    pub severity: Severity,
    /// The file, relative to the repo's root.
    pub file: String,
    /// The line, counted from 1; 0 if the problem is with the file as a whole, which is printed as 1.
    #[serde(serialize_with = "at_least_one")]
    pub line: u32,
    /// The column, counted from 1 in characters; 0 if the problem is with the line or file as a whole,
    /// which is printed as 1.
    #[serde(serialize_with = "at_least_one")]
    pub column: u32,
    /// The region for which it was found, if it shows for that region only.
    pub region: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
    /// Whether it is not the repo's but this machine's, so that another time it may be gone.
    #[serde(skip)]
    pub transient: bool,
    /// The lines around it with a mark below, ready to print; empty if there is none.
    #[serde(skip)]
    pub snippet: String,
}

/// Programs jump to a position, and there is none below 1.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference over"
)]
fn at_least_one<S: serde::Serializer>(place: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32((*place).max(1))
}

impl Problem {
    /// An error in a file as a whole.
    #[must_use]
    pub fn error(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            region: None,
            // A key of a document, say, may hold anything, and this goes to terminals.
            message: plain(&message.into()),
            hint: None,
            transient: false,
            snippet: String::new(),
        }
    }

    /// A warning about a file as a whole.
    #[must_use]
    pub fn warning(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(file, message)
        }
    }

    /// The same problem at a line and column, both counted from 1.
    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Self {
        self.line = line;
        self.column = column;
        self
    }

    /// The same problem with the line it stands on, from the file's text, and a mark below `length` characters.
    #[must_use]
    pub fn in_text(mut self, text: &str, length: u32) -> Self {
        self.snippet = crate::text::snippet(text, self.line, self.column, length);
        self
    }

    /// The same problem with what would be right.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(plain(&hint.into()));
        self
    }

    /// The same problem, found for one region.
    #[must_use]
    pub fn for_region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }
}

impl fmt::Display for Problem {
    /// `FILE:LINE:COL: error: MESSAGE`, with the region in brackets behind it if there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(
            f,
            "{}:{}:{}: {severity}: {}",
            self.file,
            self.line.max(1),
            self.column.max(1),
            self.message
        )?;
        match &self.region {
            Some(region) => write!(f, " (region {region})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_a_cursor_or_turn_the_reading_is_shown_and_not_done() {
        let problem = Problem::error("a.yaml", "unknown field `\u{1b}[2J\u{202e}x`")
            .hint("did you mean `\u{7}`?")
            .at(1, 1)
            .in_text("a\u{1b}\u{202e}b: 1\n", 1);
        assert_eq!(
            problem.to_string(),
            "a.yaml:1:1: error: unknown field `\\x1b[2J\\u{202e}x`"
        );
        assert_eq!(problem.hint.as_deref(), Some("did you mean `\\x07`?"));
        assert_eq!(problem.snippet, "  |\n1 | a  b: 1\n  | ^");
    }
}
