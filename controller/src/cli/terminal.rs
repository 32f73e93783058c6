//! Where a command's words go: data to stdout, everything else to stderr.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

use super::error::CommandError;
use crate::telemetry::Telemetry;

/// When to colour the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Something went wrong.
    Error,
    /// Something should be known.
    Warning,
    /// What to do about it.
    Hint,
    /// Something was added, or is well.
    Good,
    /// Less important than what stands around it.
    Faint,
    /// More important than what stands around it.
    Strong,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Error => "1;31",
            Self::Warning => "1;33",
            Self::Hint => "1;36",
            Self::Good => "32",
            Self::Faint => "2",
            Self::Strong => "1",
        }
    }
}

/// One of the program's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Data.
    Stdout,
    /// Everything else.
    Stderr,
}

/// The program's outputs, and how much of what is said there.
#[derive(Debug, Clone)]
pub struct Terminal {
    stdout_colored: bool,
    stderr_colored: bool,
    quiet: bool,
    verbosity: u8,
}

impl Terminal {
    /// Decides about colour and amount from the user's options and the environment.
    #[must_use]
    pub fn new(color: ColorChoice, quiet: bool, verbosity: u8) -> Self {
        let wanted = |is_terminal: bool| match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self {
            stdout_colored: wanted(io::stdout().is_terminal()),
            stderr_colored: wanted(io::stderr().is_terminal()),
            quiet,
            verbosity,
        }
    }

    /// Writes data to stdout, as it is.
    pub fn data(&self, text: &str) -> Result<(), CommandError> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| CommandError::of_output(&error))
    }

    /// Writes a value to stdout as JSON, indented.
    pub fn json(&self, value: &impl serde::Serialize) -> Result<(), CommandError> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| CommandError::failed(format!("cannot write JSON: {error}")))?;
        self.data(&format!("{text}\n"))
    }

    /// Writes a value to stdout as YAML.
    pub fn yaml(&self, value: &impl serde::Serialize) -> Result<(), CommandError> {
        let text = serde_yaml::to_string(value)
            .map_err(|error| CommandError::failed(format!("cannot write YAML: {error}")))?;
        self.data(&format!("{}\n", text.trim_end()))
    }

    /// Writes a line to stderr that is there whatever the options say.
    pub fn insist(&self, line: &str) {
        // Nobody can be told that stderr cannot be written.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Writes a line to stderr, unless `-q` was given.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.insist(line);
        }
    }

    /// Writes a line to stderr if `-v` was given.
    pub fn detail(&self, line: &str) {
        if self.verbosity > 0 {
            self.insist(line);
        }
    }

    /// Writes an error to stderr, its hints below it.
    pub fn error(&self, error: &CommandError) {
        if !error.message.is_empty() {
            let word = self.paint(Stream::Stderr, Style::Error, "error:");
            self.insist(&format!("{word} {}", error.message));
        }
        for hint in &error.hints {
            let word = self.paint(Stream::Stderr, Style::Hint, "hint:");
            self.insist(&format!("{word} {hint}"));
        }
    }

    /// The text in a style, if that output is coloured.
    #[must_use]
    pub fn paint(&self, stream: Stream, style: Style, text: &str) -> String {
        let colored = match stream {
            Stream::Stdout => self.stdout_colored,
            Stream::Stderr => self.stderr_colored,
        };
        if colored {
            format!("\u{1b}[{}m{text}\u{1b}[0m", style.code())
        } else {
            text.to_owned()
        }
    }

    /// The same choices for what the program says of its work.
    #[must_use]
    pub fn telemetry(&self, usual: Telemetry) -> Telemetry {
        Telemetry {
            verbose: self.verbosity,
            quiet: self.quiet,
            color: Some(self.stderr_colored),
            ..usual
        }
    }

    /// Whether `-q` was given.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_where_it_was_asked_for() {
        let plain = Terminal::new(ColorChoice::Never, false, 0);
        assert_eq!(plain.paint(Stream::Stderr, Style::Error, "x"), "x");
        let colored = Terminal::new(ColorChoice::Always, false, 0);
        assert_eq!(
            colored.paint(Stream::Stdout, Style::Good, "x"),
            "\u{1b}[32mx\u{1b}[0m"
        );
    }
}
