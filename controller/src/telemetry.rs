//! What the program says about its work: for people on a terminal, as JSON otherwise, always on stderr.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The environment variable with a filter such as `info,tidegate_controller::gates=debug`.
pub const FILTER_VARIABLE: &str = "TIDEGATE_LOG";

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error(
        "TIDEGATE_LOG is no filter: {0}; write something like debug, or info,tidegate_controller::gates=debug"
    )]
    Filter(#[from] ParseError),
    /// It was set up already.
    #[error("logging is set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people if stderr is a terminal, else JSON.
    #[default]
    Automatic,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What is said, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telemetry {
    /// What is said without `-v` and `-q`.
    pub level: LevelFilter,
    /// How many times `-v` was given.
    pub verbose: u8,
    /// Whether `-q` was given.
    pub quiet: bool,
    /// Whether colours may be used; `None` asks the terminal and `NO_COLOR`.
    pub color: Option<bool>,
    /// How records are written.
    pub format: Format,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            level: LevelFilter::INFO,
            verbose: 0,
            quiet: false,
            color: None,
            format: Format::Automatic,
        }
    }
}

impl Telemetry {
    /// Sets logging up for the whole process. `environment` looks up an environment variable: it is
    /// asked for `TIDEGATE_LOG` and `NO_COLOR`.
    pub fn start(self, environment: impl Fn(&str) -> Option<String>) -> Result<(), TelemetryError> {
        let terminal = io::stderr().is_terminal();
        let filter = self.filter(environment(FILTER_VARIABLE).as_deref())?;
        let color = self
            .color
            .unwrap_or_else(|| terminal && environment("NO_COLOR").is_none_or(|no| no.is_empty()));
        let records = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr);
        match self.format {
            Format::Automatic if !terminal => records.json().finish().try_init()?,
            Format::Json => records.json().finish().try_init()?,
            Format::Automatic | Format::Human => {
                records
                    .with_ansi(color)
                    .with_target(false)
                    .finish()
                    .try_init()?;
            }
        }
        Ok(())
    }

    /// `TIDEGATE_LOG` if it is set, else our own records at the level that was asked for and those of
    /// libraries from warnings on. The client of Kubernetes is silent until more is asked for: it logs each failed call as an
    /// error without saying of which cluster, which gates tell as evidence.
    fn filter(self, variable: Option<&str>) -> Result<EnvFilter, ParseError> {
        if let Some(directives) = variable.filter(|text| !text.trim().is_empty()) {
            return EnvFilter::builder().parse(directives);
        }
        let level = match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => self.level,
            (false, 1) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        };
        let others = level.min(if self.verbose > 2 {
            LevelFilter::DEBUG
        } else {
            LevelFilter::WARN
        });
        let clients = if self.verbose > 1 {
            others
        } else {
            LevelFilter::OFF
        };
        EnvFilter::builder().parse(format!(
            "{others},kube_client={clients},tidegate={level},tidegate_controller={level},tidegate_renderer={level}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(telemetry: Telemetry, variable: Option<&str>) -> Option<LevelFilter> {
        telemetry.filter(variable).unwrap().max_level_hint()
    }

    #[test]
    fn flags_choose_the_level_and_the_variable_beats_them() {
        let plain = Telemetry::default();
        assert_eq!(shown(plain, None), Some(LevelFilter::INFO));
        assert_eq!(
            shown(
                Telemetry {
                    verbose: 1,
                    ..plain
                },
                None
            ),
            Some(LevelFilter::DEBUG)
        );
        assert_eq!(
            shown(
                Telemetry {
                    verbose: 2,
                    ..plain
                },
                None
            ),
            Some(LevelFilter::TRACE)
        );
        let quiet = Telemetry {
            quiet: true,
            ..plain
        };
        assert_eq!(shown(quiet, None), Some(LevelFilter::ERROR));
        assert_eq!(shown(quiet, Some("trace")), Some(LevelFilter::TRACE));
        assert_eq!(shown(quiet, Some(" ")), Some(LevelFilter::ERROR));
        assert!(plain.filter(Some("tidegate=loud")).is_err());
    }
}
