//! `tidegate init`: write a config repo that works.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::error::CommandError;
use super::terminal::{Stream, Style, Terminal};
use crate::repo_template;

/// Write a config repo that works, ready to commit
///
/// DIR gets a fleet of 8 regions in 3 waves with two small apps, layered values, a health gate and an
/// Argo CD ApplicationSet, all with comments that explain them, and the schemas for editors. DIR must be absent or empty.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate init shop-config       write it into a new folder
  tidegate init .                 write it into this one, which may hold a `.git` and nothing else")]
pub struct InitArgs {
    /// The folder to write into
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Runs the command.
pub fn run(arguments: InitArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let InitArgs { dir } = arguments;
    let count = match contents(&dir)? {
        Contents::Absent => create(&dir)?,
        Contents::Empty => fill(&dir)?,
        Contents::Something(name) => {
            return Err(CommandError::failed(format!(
                "{} is not empty: it holds {name}",
                dir.display()
            ))
            .hint("name a folder that does not exist yet"));
        }
    };
    let has_git = dir.join(".git").exists();
    let strong = |text: &str| terminal.paint(Stream::Stderr, Style::Strong, text);
    terminal.say(&format!(
        "Wrote a config repo of {count} files to {}.",
        dir.display()
    ));
    terminal.say("");
    terminal.say("Next:");
    if dir != Path::new(".") {
        terminal.say(&format!("  {}", strong(&format!("cd {}", dir.display()))));
    }
    let commit = if has_git {
        "git add . && git commit -m 'Start the fleet'"
    } else {
        "git init -b main && git add . && git commit -m 'Start the fleet'"
    };
    terminal.say(&format!("  {}", strong(commit)));
    for (command, purpose) in [
        ("tidegate validate", "check it"),
        ("tidegate render --region westus3", "see what a region gets"),
    ] {
        let command = strong(&format!("{command:<36}"));
        terminal.say(&format!("  {command}{purpose}"));
    }
    terminal.say("README.md there says how to work with it, and what to fill in first.");
    Ok(())
}

enum Contents {
    Absent,
    Empty,
    Something(String),
}

fn contents(dir: &Path) -> Result<Contents, CommandError> {
    let cannot = |error: &io::Error| {
        CommandError::failed(format!("cannot look into {}: {error}", dir.display()))
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::Absent),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(CommandError::failed(format!("{} is a file", dir.display())));
        }
        Err(error) => return Err(cannot(&error)),
    };
    for entry in entries {
        let name = entry.map_err(|error| cannot(&error))?.file_name();
        // A repo without a commit is as good as an empty folder.
        if name != ".git" {
            return Ok(Contents::Something(name.to_string_lossy().into_owned()));
        }
    }
    Ok(Contents::Empty)
}

/// Writes beside `dir` and renames, so that `dir` is there whole or not at all; gives the number of files.
fn create(dir: &Path) -> Result<usize, CommandError> {
    let cannot = |error: io::Error| {
        CommandError::failed(format!("cannot create {}: {error}", dir.display()))
    };
    let parent = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(cannot)?;
    let stage = stage_in(parent)?;
    // A temporary folder is private to its owner; a config repo need not be.
    let inner = stage.path().join("repo");
    fs::create_dir(&inner).map_err(cannot)?;
    let count = repo_template::write_into(&inner).map_err(CommandError::failed)?;
    fs::rename(&inner, dir).map_err(cannot)?;
    Ok(count)
}

/// Writes into a folder inside `dir` and moves everything up: renaming over `dir` itself would leave a
/// shell that stands in it in a folder that is gone.
fn fill(dir: &Path) -> Result<usize, CommandError> {
    let stage = stage_in(dir)?;
    let count = repo_template::write_into(stage.path()).map_err(CommandError::failed)?;
    let cannot = |error: io::Error| {
        CommandError::failed(format!("cannot write into {}: {error}", dir.display()))
    };
    let mut moved: Vec<PathBuf> = Vec::new();
    let everything = fs::read_dir(stage.path()).and_then(|entries| {
        for entry in entries {
            let entry = entry?;
            let target = dir.join(entry.file_name());
            fs::rename(entry.path(), &target)?;
            moved.push(target);
        }
        Ok(())
    });
    everything.map_err(|error| {
        for path in &moved {
            // What cannot be taken back is left; the error below is what the user has to know.
            let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
        }
        cannot(error)
    })?;
    Ok(count)
}

fn stage_in(folder: &Path) -> Result<tempfile::TempDir, CommandError> {
    tempfile::Builder::new()
        .prefix(".tidegate-init-")
        .tempdir_in(folder)
        .map_err(|error| {
            CommandError::failed(format!("cannot write into {}: {error}", folder.display()))
        })
}
