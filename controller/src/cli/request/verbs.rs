//! The eight verbs: what each takes, and its help.

use clap::Args;
use jiff::Timestamp;
use tidegate_waves::rollout::{RequestOption, Verb};

use super::super::error::CommandError;
use super::super::terminal::Terminal;
use super::{Ask, RequestArgs, send, until};

/// Let through the commit that waits for approval
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate approve --reason \"the old jobs are meant to go\"
  tidegate approve --source 9f3c2e1a   that commit, when several wait

An approval holds for that commit and what it renders to; the next commit asks again.
Exit codes: 0 accepted, 1 refused, 2 several holds wait (the list says how to choose), 6 no answer yet.")]
pub struct ApproveArgs {
    /// The commit that is meant (its id, or the beginning of it)
    #[arg(long, value_name = "SHA")]
    source: Option<String>,

    #[command(flatten)]
    request: RequestArgs,
}

/// Runs `tidegate approve`.
pub fn approve(arguments: ApproveArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let ask = Ask {
        to: arguments.source,
        ..Ask::new(Verb::Approve)
    };
    send(&ask, &arguments.request, terminal)
}

/// Stop advancing: no region gets anything new until resume
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate hold --reason \"the database is being moved\"
  tidegate hold --region westus3 --until 2h
  tidegate hold --wave broad --until 2027-01-31

It works when nothing is rolled out too, and never keeps a revert from being carried out.
Exit codes: 0 accepted, 1 refused, 6 no answer yet.")]
pub struct HoldArgs {
    /// Only this region (can be repeated)
    #[arg(long = "region", value_name = "NAME")]
    regions: Vec<String>,

    /// When it ends by itself: a duration, a date (the end of that day, UTC) or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = until::parse)]
    until: Option<Timestamp>,

    #[command(flatten)]
    request: RequestArgs,
}

/// Runs `tidegate hold`.
pub fn hold(arguments: HoldArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let ask = Ask {
        regions: arguments.regions,
        until: arguments.until,
        ..Ask::new(Verb::Hold)
    };
    send(&ask, &arguments.request, terminal)
}

/// Go on: end holds by request and those of the rollout
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate resume --reason \"the database is moved\"
  tidegate resume --wave pilot --restore   put our commits back on a branch that somebody changed or deleted
  tidegate resume --wave pilot --adopt     keep what somebody else pushed

Exit codes: 0 accepted, 1 refused, 6 no answer yet.")]
pub struct ResumeArgs {
    /// Keep what somebody else pushed to a wave branch
    #[arg(long, conflicts_with = "restore")]
    adopt: bool,

    /// Put ours back on top of what somebody else pushed to a wave branch, or where it was deleted
    #[arg(long)]
    restore: bool,

    #[command(flatten)]
    request: RequestArgs,
}

/// Runs `tidegate resume`.
pub fn resume(arguments: ResumeArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let ResumeArgs {
        adopt,
        restore,
        request,
    } = arguments;
    let option = if adopt {
        Some(RequestOption::Adopt)
    } else {
        restore.then_some(RequestOption::Restore)
    };
    let ask = Ask {
        option,
        ..Ask::new(Verb::Resume)
    };
    send(&ask, &request, terminal)
}

/// Stop waiting for regions: they still get the commit, and count in no number
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate skip --region westus3 --reason \"the site has no power\"

A skipped region keeps its last good: a revert gives it back.
Exit codes: 0 accepted, 1 refused, 6 no answer yet.")]
pub struct SkipArgs {
    /// The region (can be repeated)
    #[arg(long = "region", value_name = "NAME", required = true)]
    regions: Vec<String>,

    #[command(flatten)]
    request: RequestArgs,
}

/// Runs `tidegate skip`.
pub fn skip(arguments: SkipArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let ask = Ask {
        regions: arguments.regions,
        ..Ask::new(Verb::Skip)
    };
    send(&ask, &arguments.request, terminal)
}

/// End the rollout now and give back what it touched
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate abort --reason \"wrong day\"
  tidegate abort --keep --reason \"we look at it as it stands\"

The config branch is left alone; tidegate retry opens the same commit again.
Exit codes: 0 accepted, 1 refused, 6 no answer yet.")]
pub struct AbortArgs {
    /// Leave every region with what it has
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    request: RequestArgs,
}

/// Runs `tidegate abort`.
pub fn abort(arguments: AbortArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let AbortArgs { keep, request } = arguments;
    let ask = Ask {
        option: keep.then_some(RequestOption::Keep),
        ..Ask::new(Verb::Abort)
    };
    send(&ask, &request, terminal)
}

/// Try again what failed, was aborted or was left out
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate retry --reason \"it was the network\"
  tidegate retry --region westus3   a region that the last rollout left out

Exit codes: 0 accepted, 1 refused, 6 no answer yet.")]
pub struct RetryArgs {
    /// Only this region (can be repeated)
    #[arg(long = "region", value_name = "NAME")]
    regions: Vec<String>,

    #[command(flatten)]
    request: RequestArgs,
}

/// Runs `tidegate retry`.
pub fn retry(arguments: RetryArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let ask = Ask {
        regions: arguments.regions,
        ..Ask::new(Verb::Retry)
    };
    send(&ask, &arguments.request, terminal)
}

/// Take the failure path by hand, also after a rollout succeeded
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate revert --reason \"customers see errors\"   the newest rollout
  tidegate revert 9f3c2e1a-57                        that rollout, or nothing if a newer one has begun
  tidegate revert --region westus3                   that region alone, while the rollout is under way

Regions get their last good back and the commit is reverted on the config branch. With --region these regions alone
go back, the others go on, and the config branch stays as it is; `tidegate retry --region` tries them again.
Exit codes: 0 accepted, 1 refused, 6 no answer yet.")]
pub struct RevertArgs {
    /// The rollout (default: the newest)
    #[arg(value_name = "ROLLOUT", conflicts_with_all = ["to", "rollout"])]
    taken_back: Option<String>,

    /// The commit of the config branch to go back to
    #[arg(long, value_name = "SHA")]
    to: Option<String>,

    /// Only this region, of the rollout under way (can be repeated)
    #[arg(long = "region", value_name = "NAME")]
    regions: Vec<String>,

    #[command(flatten)]
    request: RequestArgs,
}

/// Runs `tidegate revert`.
pub fn revert(arguments: RevertArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let RevertArgs {
        taken_back,
        to,
        regions,
        request,
    } = arguments;
    let ask = Ask {
        regions,
        to,
        ..Ask::new(Verb::Revert)
    };
    send(&ask, &request.of_rollout(taken_back), terminal)
}

/// Let a commit take the running rollout's place at once, without bake
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate hotfix 9f3c2e1a --reason \"fixes the login\"

The commit must be on the config branch and wait. Waves keep their order and gates decide as ever.
Exit codes: 0 accepted, 1 refused, 6 no answer yet.")]
pub struct HotfixArgs {
    /// The commit (its id, or the beginning of it)
    #[arg(value_name = "SHA")]
    commit: String,

    #[command(flatten)]
    request: RequestArgs,
}

/// Runs `tidegate hotfix`.
pub fn hotfix(arguments: HotfixArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let ask = Ask {
        to: Some(arguments.commit),
        ..Ask::new(Verb::Hotfix)
    };
    send(&ask, &arguments.request, terminal)
}
