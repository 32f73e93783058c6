//! `tidegate plan`: what a change would do.

mod base;
mod page;

use std::collections::HashMap;

use clap::{Args, ValueEnum};
use tidegate_renderer::diff::{self, Change, Plan};
use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::plan::Wanted;

use super::config_repo::{ConfigRepo, RepoArgs};
use super::error::{CommandError, ErrorKind};
use super::rendered;
use super::report::Report;
use super::target::Address;
use super::terminal::Terminal;

/// Say what a change would do, region by region and object by object
///
/// Renders the fleet and compares it with what is there: what --against or --base names; else what the wave
/// branches of the repo's remote hold, once Tidegate runs there; else HEAD for a folder and the first parent
/// for REPO@REV. Regions with the same change are shown once, together. Values of Secrets are masked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate plan                              what the files on disk would change
  tidegate plan --base HEAD                  the same, compared with the last commit
  tidegate plan .@feature --base main        what a branch would change
  tidegate plan --against 'main:clusters/{{name}}'
                                             compared with manifests that stand in a commit
  tidegate plan --exit-code > /dev/null      for scripts: exits with 7 if something would change
  tidegate plan -o markdown                  for a pull request")]
pub struct PlanArgs {
    #[command(flatten)]
    repo: RepoArgs,

    /// Compare with this revision of the same repo, rendered here
    #[arg(long, value_name = "REV", conflicts_with = "against")]
    base: Option<String>,

    /// Compare with manifests that stand in a commit, a folder for each region
    #[arg(long, value_name = "REV:PATH/{{name}}")]
    against: Option<String>,

    /// Compare with the wave branches of this repo instead of origin's
    #[arg(
        long = "repo",
        value_name = "REPO",
        env = "TIDEGATE_REPO",
        hide_env_values = true
    )]
    remote: Option<String>,

    /// What the names of wave branches begin with
    #[arg(long, value_name = "PREFIX", default_value = "tidegate")]
    prefix: String,

    /// Exit with 7 if something would change
    #[arg(long)]
    exit_code: bool,

    /// Print in this form
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// The same with every region and its tree
    Wide,
    /// {base, head, regions, groups, holds, unseenByEarlierWave}
    Json,
    /// The same as YAML
    Yaml,
    /// For a pull request
    Markdown,
    /// The names of the regions that would change, one a line
    Name,
}

/// Runs the command.
pub fn run(arguments: PlanArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let PlanArgs {
        repo,
        base,
        against,
        remote,
        prefix,
        exit_code,
        output,
    } = arguments;
    if let Some(remote) = &remote {
        // Only to refuse what is no repo, or a password.
        Address::parse(remote)?;
    }
    let repo = ConfigRepo::of(&repo)?;
    let store = ObjectStore::in_memory();
    let head = rendered::render(&repo, &store, terminal)?;
    let wanted = base::Wanted {
        against: against.as_deref(),
        base: base.as_deref(),
        remote: remote.as_deref(),
        prefix: &prefix,
    };
    let base = base::find(&repo, &head, &wanted, &store, terminal)?;
    let head_name = repo
        .commit()
        .map_or_else(|| "files on disk".to_owned(), |commit| commit.to_string());
    let compared = (!base.is_nothing()).then(|| diff::Base {
        name: base.commit_or_name(),
        trees: &base.trees,
        wanted: base.wanted.as_ref(),
    });
    let mut plan = diff::plan(&store, compared, &head_name, &head.rendered.wanted)
        .map_err(CommandError::failed)?;
    if against.is_some() {
        ignore_layout(&mut plan);
    }
    sort_by_wave(&mut plan, &head.rendered.wanted);
    let mut problems = head.warnings();
    problems.extend(plan.warnings.iter().cloned());
    Report::new(problems).show(terminal);
    terminal.detail(&format!("Compared with {}.", base.name));
    match output {
        Format::Table | Format::Wide => {
            let wide = output == Format::Wide;
            terminal.data(&page::table(&plan, &base.name, wide, terminal))?;
        }
        Format::Json => terminal.json(&plan)?,
        Format::Yaml => terminal.yaml(&plan)?,
        Format::Markdown => terminal.data(&page::markdown(&plan, &base.name))?,
        Format::Name => {
            let names: Vec<_> = page::changed(&plan)
                .map(|region| format!("{}\n", region.name))
                .collect();
            terminal.data(&names.concat())?;
        }
    }
    if exit_code && plan.changes() {
        return Err(CommandError::silent(ErrorKind::WouldChange));
    }
    Ok(())
}

/// Manifests that something else wrote never have our bytes; what counts is whether their objects are the same.
fn ignore_layout(plan: &mut Plan) {
    let (same, differing): (Vec<_>, Vec<_>) = plan
        .groups
        .drain(..)
        .partition(|group| group.objects.is_empty());
    plan.groups = differing;
    for region in &mut plan.regions {
        let is_same = same
            .iter()
            .any(|group| group.regions.contains(&region.name));
        if is_same && region.change == Change::Changed {
            region.change = Change::None;
            plan.unseen_by_earlier_wave
                .retain(|name| *name != region.name);
        }
    }
}

/// Puts regions into the order in which they would go; removed ones last.
fn sort_by_wave(plan: &mut Plan, wanted: &Wanted) {
    let order: HashMap<&str, usize> = wanted
        .waves
        .iter()
        .flat_map(|wave| &wave.regions)
        .enumerate()
        .map(|(place, region)| (region.as_str(), place))
        .collect();
    plan.regions.sort_by_key(|region| {
        let place = order.get(region.name.as_str()).copied();
        (place.unwrap_or(usize::MAX), region.name.clone())
    });
}
