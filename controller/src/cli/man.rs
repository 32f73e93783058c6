//! `tidegate man`: the manual pages, from the same source as `--help`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_mangen::Man;
use tidegate_renderer::suggest::nearest;

use super::error::CommandError;
use super::terminal::Terminal;

/// Print the manual page of the program or of a command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate man | man -l -                             read it
  tidegate man plan | man -l -                        the page of one command
  tidegate man --output-dir ~/.local/share/man/man1   write all pages")]
pub struct ManArgs {
    /// The command (default: the program itself)
    #[arg(value_name = "COMMAND", conflicts_with = "output_dir")]
    command: Option<String>,

    /// Write all pages into this folder
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// Runs `tidegate man`.
pub fn run(arguments: ManArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let mut program = super::Cli::command();
    program.build();
    let commands: Vec<clap::Command> = program
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .cloned()
        .collect();
    if let Some(folder) = arguments.output_dir {
        return write_all(&folder, program.clone(), commands);
    }
    let chosen = match &arguments.command {
        None => program.clone(),
        Some(name) => commands
            .iter()
            .find(|command| command.get_name() == name)
            .cloned()
            .ok_or_else(|| {
                let error = CommandError::usage(format!("there is no command {name:?}"));
                let names = commands.iter().map(clap::Command::get_name);
                match nearest(name, names) {
                    Some(near) => error.hint(format!("did you mean {near}?")),
                    None => error.hint("tidegate --help lists the commands"),
                }
            })?,
    };
    terminal.data(&page(chosen)?)
}

fn write_all(
    folder: &Path,
    program: clap::Command,
    commands: Vec<clap::Command>,
) -> Result<(), CommandError> {
    let cannot = |path: &Path, error: &std::io::Error| {
        CommandError::failed(format!("cannot write {}: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
    for command in std::iter::once(program).chain(commands) {
        let name = command.get_name().to_owned();
        let file = folder.join(match name.as_str() {
            "tidegate" => "tidegate.1".to_owned(),
            name => format!("tidegate-{name}.1"),
        });
        fs::write(&file, page(command)?).map_err(|error| cannot(&file, &error))?;
    }
    Ok(())
}

fn page(command: clap::Command) -> Result<String, CommandError> {
    let title = match command.get_name() {
        "tidegate" => "tidegate".to_owned(),
        name => format!("tidegate-{name}"),
    };
    let mut page = Vec::new();
    Man::new(command)
        .title(title)
        .render(&mut page)
        .map_err(|error| CommandError::of_output(&error))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let terminal = Terminal::new(super::super::terminal::ColorChoice::Never, false, 0);
        let arguments = ManArgs {
            command: None,
            output_dir: Some(folder.path().join("man1")),
        };
        run(arguments, &terminal).unwrap();
        let names: Vec<String> = super::super::Cli::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| format!("tidegate-{}.1", command.get_name()))
            .chain(["tidegate.1".to_owned()])
            .collect();
        for name in names {
            let text = fs::read_to_string(folder.path().join("man1").join(&name)).unwrap();
            assert!(text.contains(".TH tidegate"), "{name}: {text}");
        }
        let hidden = crate::render_worker::SUBCOMMAND;
        assert!(
            !folder
                .path()
                .join(format!("man1/tidegate-{hidden}.1"))
                .exists()
        );
    }

    #[test]
    fn an_unknown_command_is_wrong_usage() {
        let terminal = Terminal::new(super::super::terminal::ColorChoice::Never, false, 0);
        let arguments = ManArgs {
            command: Some("paln".to_owned()),
            output_dir: None,
        };
        let error = run(arguments, &terminal).unwrap_err();
        assert_eq!(error.hints, ["did you mean plan?"]);
    }
}
