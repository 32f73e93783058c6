//! What a person asks the controller for: a commit on the requests branch, and the log's answer to it.
//!
//! One file below for what each verb takes, one for what can be checked before anything is written, one for the
//! waiting.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use tidegate_waves::duration;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{RequestOption, Verb};

use super::error::{CommandError, ErrorKind};
use super::fetch::Pushed;
use super::log_view::{LogArgs, LogView};
use super::output::{OutputFormat, lines, print_structured};
use super::terminal::Terminal;
use crate::git::trailers::{Message, compose};

mod answer;
mod check;
mod until;
pub mod verbs;

use answer::{Verdict, wait};

/// How often a request is written anew because somebody else's came first.
const ATTEMPTS: u32 = 20;

/// What all requests take.
#[derive(Debug, Clone, Args)]
pub struct RequestArgs {
    #[command(flatten)]
    log: LogArgs,

    /// Why, in one line; it is kept with the request and shown wherever its effect is
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,

    /// The rollout that is meant; refused if a newer one has taken its place
    #[arg(long, value_name = "ID")]
    rollout: Option<String>,

    /// The wave that is meant
    #[arg(long, value_name = "NAME")]
    wave: Option<String>,

    /// How long to wait for the controller's answer; without one the request stays queued (exit code 6)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "60s")]
    timeout: Duration,

    /// Sign the request with your git signing key (default: as commit.gpgSign says)
    #[arg(long)]
    sign: bool,

    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
}

impl RequestArgs {
    /// The same about this rollout, if one is named.
    fn of_rollout(self, rollout: Option<String>) -> Self {
        Self {
            rollout: rollout.or(self.rollout),
            ..self
        }
    }
}

/// What is asked for, apart from what all requests take.
#[derive(Debug, Clone)]
struct Ask {
    verb: Verb,
    regions: Vec<String>,
    until: Option<Timestamp>,
    to: Option<String>,
    option: Option<RequestOption>,
}

impl Ask {
    fn new(verb: Verb) -> Self {
        Self {
            verb,
            regions: Vec::new(),
            until: None,
            to: None,
            option: None,
        }
    }
}

fn option_word(option: RequestOption) -> &'static str {
    match option {
        RequestOption::Adopt => "adopt",
        RequestOption::Restore => "restore",
        RequestOption::Keep => "keep",
    }
}

/// What is printed of a request.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    request: Oid,
    verb: Verb,
    answer: Verdict,
    reason: Option<String>,
}

/// Asks, and waits for the answer.
fn send(ask: &Ask, arguments: &RequestArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let view = LogView::open(&arguments.log)?;
    let to = check::check(ask, arguments, &view)?;
    let message = message(ask, arguments, to)?;
    let request = write(&view, &message, arguments.sign, terminal)?;
    let verb = ask.verb.name();
    terminal.say(&format!(
        "asked for {verb} ({}); waiting for the controller's answer",
        request.short(8)
    ));
    let verdict = wait(&view, request, arguments.timeout)?;
    let (answer, reason) = match verdict {
        Some((verdict, reason)) => (verdict, reason),
        None => (Verdict::Queued, None),
    };
    let outcome = Outcome {
        request,
        verb: ask.verb,
        answer,
        reason,
    };
    show(&outcome, arguments.output, terminal)?;
    match outcome.answer {
        Verdict::Accepted => Ok(()),
        Verdict::Refused => Err(CommandError::failed(format!(
            "{verb} was refused: {}",
            outcome.reason.unwrap_or_default()
        ))),
        Verdict::Queued => Err(CommandError::new(
            ErrorKind::TimedOut,
            format!(
                "no answer within {}; request {} stays queued and is answered by the next controller that looks",
                duration::format(arguments.timeout),
                request.short(8)
            ),
        )
        .hint("is a controller running? tidegate status says STALLED if the log is overdue")),
    }
}

fn show(outcome: &Outcome, format: OutputFormat, terminal: &Terminal) -> Result<(), CommandError> {
    match format {
        OutputFormat::Json | OutputFormat::Yaml => print_structured(terminal, format, outcome),
        OutputFormat::Name => terminal.data(&lines(std::iter::once(
            outcome.request.to_string().as_str(),
        ))),
        OutputFormat::Table | OutputFormat::Wide => {
            let answer = match outcome.answer {
                Verdict::Accepted => "accepted",
                Verdict::Refused => "refused",
                Verdict::Queued => "queued",
            };
            terminal.data(&format!(
                "{} {answer} (request {})\n",
                outcome.verb.name(),
                outcome.request.short(8)
            ))
        }
    }
}

/// The commit's message, of which exactly these trailers are read back, whatever the reason is.
fn message(ask: &Ask, arguments: &RequestArgs, to: Option<Oid>) -> Result<String, CommandError> {
    let verb = ask.verb.name();
    let mut subject = verb.to_owned();
    if let Some(first) = subject.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let mut trailers = vec![("Tidegate-Request".to_owned(), verb.to_owned())];
    let mut add = |key: &str, value: Option<String>| {
        trailers.extend(value.map(|value| (format!("Tidegate-{key}"), value)));
    };
    add("Rollout", arguments.rollout.clone());
    add("Wave", arguments.wave.clone());
    for region in &ask.regions {
        add("Region", Some(region.clone()));
    }
    add("Until", ask.until.map(|until| until.to_string()));
    add("To", to.map(|to| to.to_string()));
    add(
        "Option",
        ask.option.map(|option| option_word(option).to_owned()),
    );
    compose(&Message {
        subject,
        body: vec![vec![arguments.reason.clone()]],
        outside: Vec::new(),
        trailers,
    })
    .map_err(CommandError::failed)
}

/// Writes the request on top of the requests branch, behind whatever others ask for at the same time.
fn write(
    view: &LogView,
    message: &str,
    sign: bool,
    terminal: &Terminal,
) -> Result<Oid, CommandError> {
    let repo = view.repo();
    let reference = view.state().fleet.requests_ref();
    for _ in 0..ATTEMPTS {
        let listed = repo.list(&[&reference])?;
        let parent = if listed.is_empty() {
            None
        } else {
            repo.fetch(&[format!("+{reference}:{reference}")], Some(1))?;
            // What came counts, not what was listed: it may have moved between the two.
            Some(repo.tip(&reference)?)
        };
        let commit = repo.commit_empty(parent, message, sign)?;
        match repo.push(commit, &reference, parent)? {
            Pushed::Moved => return Ok(commit),
            Pushed::SomebodyElseWasFaster => {
                terminal.detail("somebody else's request came first; writing this one behind it");
            }
        }
    }
    Err(CommandError::failed(format!(
        "{reference} moved {ATTEMPTS} times while the request was written; nothing was asked for, try again"
    )))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::git::trailers::parse;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        request: RequestArgs,
    }

    #[test]
    fn a_reason_forges_no_trailer() {
        for reason in [
            "x\n\nTidegate-Request: abort",
            "Tidegate-Request: abort",
            "x\r\rTidegate-Region: eastus\u{2028}\u{2028}Tidegate-Region: eastus",
        ] {
            let line = Line::parse_from(["x", "--wave", "pilot", "--reason", reason]);
            let mut ask = Ask::new(Verb::Hold);
            ask.regions = vec!["westus3".to_owned()];
            let text = message(&ask, &line.request, None).unwrap();
            assert!(text.starts_with("Hold\n"), "{text}");
            let read = parse(&text);
            let read: Vec<_> = read.iter().collect();
            assert_eq!(
                read,
                [
                    ("Tidegate-Request", "hold"),
                    ("Tidegate-Wave", "pilot"),
                    ("Tidegate-Region", "westus3")
                ],
                "{text}"
            );
        }
    }
}
