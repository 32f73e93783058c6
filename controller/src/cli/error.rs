//! Why a command ended without having done what it was asked, and the exit code that says so.
//!
//! This file alone decides exit codes.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// What kind of ending a command came to; each has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It could not do its work: a file, a repo or a server did not let it.
    Failed,
    /// It was called wrongly.
    Usage,
    /// The config repo is invalid.
    InvalidConfig,
    /// A rollout was reverted, failed or aborted, or the audit found a broken promise.
    RolledBack,
    /// A rollout is held and needs a person.
    Held,
    /// The time that `--timeout` allows has passed.
    TimedOut,
    /// `plan --exit-code`, and something would change.
    WouldChange,
    /// Whoever read the output went away; nobody is left to tell.
    BrokenPipe,
}

impl ErrorKind {
    /// The exit code.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed | Self::BrokenPipe => 1,
            Self::Usage => 2,
            Self::InvalidConfig => 3,
            Self::RolledBack => 4,
            Self::Held => 5,
            Self::TimedOut => 6,
            Self::WouldChange => 7,
        }
    }
}

/// Why a command ended without having done what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError {
    /// What kind of ending it is.
    pub kind: ErrorKind,
    /// What happened, in one line; empty where the command has already said everything.
    pub message: String,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl CommandError {
    /// An ending of some kind with a message.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
            hints: Vec::new(),
        }
    }

    /// The command could not do its work.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// The command was called wrongly.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// An ending of which nothing is left to say but the exit code.
    #[must_use]
    pub fn silent(kind: ErrorKind) -> Self {
        Self::new(kind, "")
    }

    /// The same with one more thing to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit_code())
    }

    /// An error of the output itself.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::silent(ErrorKind::BrokenPipe)
        } else {
            Self::failed(format!("cannot write the output: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let codes = [
            (ErrorKind::Failed, 1),
            (ErrorKind::Usage, 2),
            (ErrorKind::InvalidConfig, 3),
            (ErrorKind::RolledBack, 4),
            (ErrorKind::Held, 5),
            (ErrorKind::TimedOut, 6),
            (ErrorKind::WouldChange, 7),
            (ErrorKind::BrokenPipe, 1),
        ];
        for (kind, code) in codes {
            assert_eq!(kind.exit_code(), code, "{kind:?}");
        }
    }
}
