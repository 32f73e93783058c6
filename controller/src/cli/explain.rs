//! `tidegate explain`: why the fleet stands where it stands, and what ends the waiting; from git alone.

use std::fmt::Write as _;

use clap::Args;
use tidegate_renderer::suggest::nearest;

use super::error::CommandError;
use super::log_view::{LogArgs, LogView};
use super::output::{OutputFormat, lines, print_structured};
use super::terminal::{Stream, Style, Terminal};
use crate::explain::{Explanation, WaitReason, regions_of};

/// Explain what the fleet waits for, since when, and which commands end it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate explain             everything that waits, and what ends it
  tidegate explain westus3     what concerns westus3 alone
  tidegate explain -o name     only the reasons, for scripts")]
pub struct ExplainArgs {
    /// Only what concerns this region
    #[arg(value_name = "REGION")]
    region: Option<String>,

    #[command(flatten)]
    log: LogArgs,

    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
}

/// Runs `tidegate explain`.
pub fn run(arguments: ExplainArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let ExplainArgs {
        region,
        log,
        output,
    } = arguments;
    let view = LogView::open(&log)?;
    if let Some(region) = &region {
        let known = regions_of(view.state());
        if !known.contains(region.as_str()) {
            let error = CommandError::usage(format!("the fleet has no region {region:?}"));
            return Err(match nearest(region, known) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint("tidegate status --last -o name lists them"),
            });
        }
    }
    let explanation = view.explanation(region.as_deref())?;
    match output {
        OutputFormat::Json | OutputFormat::Yaml => print_structured(terminal, output, &explanation),
        OutputFormat::Name => {
            let reasons: Vec<String> = explanation
                .waiting
                .iter()
                .map(|item| item.reason.to_string())
                .collect();
            terminal.data(&lines(reasons.iter().map(String::as_str)))
        }
        OutputFormat::Table | OutputFormat::Wide => terminal.data(&prose(&explanation, terminal)),
    }
}

/// Short blocks, the most urgent first: to be read at three in the morning.
fn prose(explanation: &Explanation, terminal: &Terminal) -> String {
    let paint = |style, text: &str| terminal.paint(Stream::Stdout, style, text);
    let mut text = String::new();
    if explanation.waiting.is_empty() {
        text.push_str("Nothing waits. ");
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Newest: {}", explanation.last);
    for item in &explanation.waiting {
        let style = match item.reason {
            WaitReason::Stalled | WaitReason::Failure(_) => Style::Error,
            WaitReason::Hold(_) | WaitReason::Invalid => Style::Warning,
            _ => Style::Strong,
        };
        let mut concerns: Vec<String> = item
            .wave
            .iter()
            .map(|wave| format!("wave {wave}"))
            .collect();
        if !item.regions.is_empty() {
            concerns.push(item.regions.join(", "));
        }
        let concerns = if concerns.is_empty() {
            String::new()
        } else {
            format!("  {}", concerns.join(": "))
        };
        let _ = writeln!(
            text,
            "\n{}{concerns}",
            paint(style, &item.reason.to_string())
        );
        let _ = writeln!(text, "  {}", item.message);
        let next = item
            .next
            .as_ref()
            .map(|next| format!(", next {next}"))
            .unwrap_or_default();
        let _ = writeln!(text, "  since {}{next}", item.since);
        for command in &item.commands {
            let _ = writeln!(text, "    {}", paint(Style::Hint, command));
        }
    }
    if !explanation.gates.is_empty() {
        text.push_str("\nGates:\n");
    }
    for gate in &explanation.gates {
        let at = gate
            .at
            .as_ref()
            .map(|at| format!(", {at}"))
            .unwrap_or_default();
        let evidence = gate
            .evidence
            .as_ref()
            .map(|evidence| format!(": {evidence}"))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "  {} {}: {}{evidence}{at}",
            gate.region,
            gate.gate,
            gate.verdict.words()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tidegate_waves::oid::Oid;
    use tidegate_waves::rollout::{FleetIdentity, FleetState, Hold, HoldReason, create};

    use super::super::Cli;
    use crate::explain::{Seen, commands_for, explain};

    /// The words that a shell makes of a line as it is printed here: quotes and comments are all that it uses.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            let last = words.last_mut().unwrap();
            match character {
                '\'' => quoted = !quoted,
                '\\' if !quoted => last.extend(characters.next()),
                ' ' if !quoted => words.push(String::new()),
                '#' if !quoted && last.is_empty() => break,
                other => last.push(other),
            }
        }
        assert!(!quoted, "an open quote: {line}");
        words.retain(|word| !word.is_empty());
        words
    }

    /// The `tidegate` commands in a printed line, which may be several behind each other.
    fn own(line: &str) -> Vec<Vec<String>> {
        let all = words(line);
        all.split(|word| word == "&&")
            .filter(|command| command.first().is_some_and(|word| word == "tidegate"))
            .map(<[String]>::to_vec)
            .collect()
    }

    #[track_caller]
    fn parses(line: &str) {
        let commands = own(line);
        assert_eq!(
            commands.is_empty(),
            !line.starts_with("tidegate "),
            "{line}"
        );
        for command in commands {
            if let Err(error) = Cli::try_parse_from(&command) {
                panic!("{line}\n{error}");
            }
        }
    }

    fn state() -> FleetState {
        let identity = FleetIdentity {
            name: "shop".to_owned(),
            branch: "it's main".to_owned(),
            path: String::new(),
            prefix: "tidegate".to_owned(),
        };
        create(identity, Oid::from_bytes([1; 20]), "me").next
    }

    fn full() -> Hold {
        Hold {
            reason: HoldReason::Requested,
            since: 0,
            message: "why".to_owned(),
            source: Some(Oid::from_bytes([0x12; 20])),
            rollout: Some("12121212-7".to_owned()),
            wave: Some("canary".to_owned()),
            regions: vec!["westus3".to_owned(), "eastus2".to_owned()],
            until: None,
        }
    }

    #[test]
    fn every_command_that_ends_a_hold_is_one_of_the_program() {
        let full = full();
        let bare = Hold {
            source: None,
            rollout: None,
            wave: None,
            regions: Vec::new(),
            ..full.clone()
        };
        for reason in HoldReason::ALL {
            for hold in [&full, &bare] {
                let hold = Hold {
                    reason,
                    ..hold.clone()
                };
                let commands = commands_for(&hold, &state());
                assert!(!commands.is_empty(), "{reason:?}");
                for command in commands {
                    parses(&command);
                }
            }
        }
    }

    #[test]
    fn every_command_about_what_waits_is_one_of_the_program() {
        let newest = Oid::from_bytes([0xab; 20]);
        let queued = [newest];
        let seen = |now| Seen {
            as_of: 0,
            head: Some(newest),
            queued: &queued,
            changes: &[],
            now,
        };
        let invalid = FleetState {
            invalid: Some(newest),
            ..state()
        };
        let aborted = FleetState {
            not_again: Some(newest),
            ..state()
        };
        for (state, now) in [(state(), 1_000_000), (invalid, 0), (aborted, 0)] {
            let commands: Vec<String> = explain(&state, &seen(now), None)
                .waiting
                .into_iter()
                .flat_map(|item| item.commands)
                .collect();
            assert!(!commands.is_empty(), "{state:?}");
            for command in commands {
                parses(&command);
            }
        }
    }

    fn page(name: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src");
        std::fs::read_to_string(format!("{folder}/{name}")).unwrap()
    }

    #[test]
    fn the_operators_pages_name_commands_of_the_program() {
        let mut seen = 0;
        for name in ["operating.md", "break-glass.md", "starting-and-leaving.md"] {
            // Every other piece between two backticks is code.
            for code in page(name).split('`').skip(1).step_by(2) {
                if code.starts_with("tidegate ") {
                    parses(code);
                    seen += 1;
                }
            }
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn the_operators_page_names_for_each_hold_what_explain_does() {
        let page = page("operating.md");
        for reason in HoldReason::ALL {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{reason:?}` |")))
                .unwrap();
            let hold = Hold { reason, ..full() };
            for command in commands_for(&hold, &state())
                .iter()
                .flat_map(|line| own(line))
            {
                let verb = format!("`tidegate {}", command.get(1).unwrap());
                assert!(row.contains(&verb), "{verb} is not in {row}");
            }
        }
    }

    #[test]
    fn a_line_is_read_as_a_shell_reads_it() {
        let read = |line: &str| words(line).join("|");
        assert_eq!(
            read("tidegate skip --reason 'it'\\''s a b'  # c d"),
            "tidegate|skip|--reason|it's a b"
        );
        assert_eq!(own("git x && tidegate y 'a && b'").len(), 1);
    }
}
