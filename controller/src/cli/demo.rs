//! `tidegate demo`: the main job, whole, on this machine.
//!
//! A config repo made from the template, a bare remote, a follower for each region (in Argo CD's place), and
//! this very program as the controller. A good commit goes through all waves; a bad one passes validation,
//! makes the canary sick, and is taken back. What is claimed at the end has been checked.

mod follower;
mod stage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetState, RolloutState};

use self::stage::Stage;
use super::error::CommandError;
use super::terminal::{Stream, Style, Terminal};

/// The longest that one step of the demo may take.
const STEP_TAKES_AT_MOST: Duration = Duration::from_secs(120);

/// How often the log is looked at while something is waited for.
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// See the main job on this machine: a good commit rolled out, a bad one taken back (about a minute)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate demo                               everything in a temporary folder, gone at the end
  tidegate demo --keep /tmp/tidegate-demo     then look around with git in /tmp/tidegate-demo/config.git")]
pub struct DemoArgs {
    /// Leave everything in this folder for a look (it must be absent or empty)
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Runs `tidegate demo`.
pub fn run(arguments: DemoArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let DemoArgs { keep } = arguments;
    let started = Instant::now();
    let title = |text: &str| {
        terminal.data(&format!(
            "\n{}\n",
            terminal.paint(Stream::Stdout, Style::Strong, text)
        ))
    };
    let say = |text: &str| terminal.data(&format!("  {text}\n"));

    title("1. A fleet of 8 regions in 3 waves, made from the template")?;
    let mut stage = Stage::build(keep)?;
    say(&format!(
        "config repo and remote in {}",
        stage.folder().display()
    ))?;
    say("each region runs a small server that follows its branch, in Argo CD's place")?;
    stage.start_controller()?;
    let first = stage.head()?;
    let state = watch(&mut stage, terminal, "the first rollout", |state| {
        settled_on(state, first)
    })?;
    say(&format!(
        "{} regions have a last good tree now",
        state.last_good.len()
    ))?;

    title("2. A good commit: version 1.5.0")?;
    let good = stage.commit(
        "Release 1.5.0",
        "values/fleet.yaml",
        &[("version: \"1.4.0\"", "version: \"1.5.0\"")],
    )?;
    watch(&mut stage, terminal, "the good commit", |state| {
        settled_on(state, good)
    })?;
    let good_tips = stage.wave_trees()?;
    stage.wait_until_all_run("1.5.0", STEP_TAKES_AT_MOST)?;
    say("all 8 regions run 1.5.0 and are healthy")?;

    title("3. A bad commit: valid, reviewed, and more database connections than the database has")?;
    let bad = stage.commit(
        "Release 1.5.1 with a larger pool",
        "values/fleet.yaml",
        &[
            ("version: \"1.5.0\"", "version: \"1.5.1\""),
            ("databasePool: 20", "databasePool: 500"),
        ],
    )?;
    let state = watch(&mut stage, terminal, "the revert", |state| {
        state
            .rollout
            .as_ref()
            .is_some_and(|rollout| rollout.source == bad && rollout.state.is_terminal())
            && state
                .settled
                .as_ref()
                .is_some_and(|settled| settled.source != good)
    })?;

    title("4. What it came to")?;
    check(&mut stage, &state, good, bad, &good_tips, terminal)?;
    terminal.data(&format!("\n{}\n", stage.story()?))?;
    let seconds = started.elapsed().as_secs();
    let done = terminal.paint(Stream::Stdout, Style::Good, "All of it was checked.");
    terminal.data(&format!("{done} It took {seconds} s.\n"))?;
    if let Some(kept) = stage.keep() {
        terminal.data(&format!(
            "Everything is left in {}; try: tidegate history --repo {}\n",
            kept.display(),
            kept.join("config.git").display()
        ))?;
    }
    Ok(())
}

fn settled_on(state: &FleetState, source: Oid) -> bool {
    state
        .settled
        .as_ref()
        .is_some_and(|settled| settled.source == source)
        && state.active().is_none()
}

/// Shows the log's new entries until the condition holds.
fn watch(
    stage: &mut Stage,
    terminal: &Terminal,
    what: &str,
    done: impl Fn(&FleetState) -> bool,
) -> Result<FleetState, CommandError> {
    let started = Instant::now();
    loop {
        for entry in stage.new_entries()? {
            terminal.data(&format!(
                "  {:>5.1}s  {entry}\n",
                stage.elapsed().as_secs_f32()
            ))?;
        }
        if let Some(state) = stage.state()?.filter(|state| done(state)) {
            return Ok(state);
        }
        stage.check_controller()?;
        if started.elapsed() > STEP_TAKES_AT_MOST {
            return Err(CommandError::failed(format!(
                "{what} took longer than {} s",
                STEP_TAKES_AT_MOST.as_secs()
            ))
            .hint("run it again with --keep DIR and look at DIR/controller.log"));
        }
        std::thread::sleep(LOOKS_EVERY);
    }
}

/// Checks everything that the demo claims, and says each thing that it checked.
fn check(
    stage: &mut Stage,
    state: &FleetState,
    good: Oid,
    bad: Oid,
    good_trees: &[(String, Oid)],
    terminal: &Terminal,
) -> Result<(), CommandError> {
    let claim = |text: &str, holds: bool| -> Result<(), CommandError> {
        if !holds {
            return Err(CommandError::failed(format!("this does not hold: {text}")));
        }
        let mark = terminal.paint(Stream::Stdout, Style::Good, "ok");
        terminal.data(&format!("  {mark}  {text}\n"))
    };
    let rollout = state.rollout.as_ref();
    claim(
        "the bad commit's rollout was rolled back",
        rollout.is_some_and(|rollout| {
            rollout.source == bad && rollout.state == RolloutState::RolledBack
        }),
    )?;
    claim(
        "only the canary ever received it",
        stage.branches_with(bad)? == ["canary"],
    )?;
    claim(
        "every wave branch holds the good commit's trees again",
        stage.wave_trees()? == good_trees,
    )?;
    claim(
        "main ends in a revert of the bad commit",
        stage.head_reverts(bad)?,
    )?;
    claim(
        "main's content equals the good commit's",
        stage.same_content(good)?,
    )?;
    claim(
        "the bad commit is quarantined",
        state.quarantine.iter().any(|item| item.source == bad),
    )?;
    stage.wait_until_all_run("1.5.0", STEP_TAKES_AT_MOST)?;
    claim("all 8 regions run 1.5.0 and are healthy", true)
}
