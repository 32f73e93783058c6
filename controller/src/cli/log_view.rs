//! A fleet's log, fetched for one command with the user's own git credentials.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::FleetState;

use super::error::CommandError;
use super::fetch::{TemporaryRepo, without_user};
use super::status::no_log;
use super::target::repo_or_environment;
use crate::engine::log::read_state;
use crate::explain::evidence::changes;
use crate::explain::{Explanation, Seen, explain};
use crate::git::history::{CommitView, History};
use crate::git::remote::RemoteUrl;
use crate::settings::{FleetSettings, Settings, default_prefix, valid_prefix};
use crate::status::{PastRollout, Status, history, status};

/// Which fleet's log a command reads.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// The config repo (default: `TIDEGATE_REPO` of the environment, or origin of the repo in this folder)
    #[arg(long, value_name = "URL")]
    repo: Option<String>,

    /// The operator's settings, instead of --repo
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// The fleet of the settings (default: the only one)
    #[arg(long, value_name = "NAME", requires = "settings")]
    fleet: Option<String>,

    /// The config branch (default: as the log says)
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,

    /// The fleet's folder in the repo, to check that the log is this fleet's
    #[arg(long, value_name = "FOLDER")]
    path: Option<String>,

    /// What the names of the fleet's branches begin with (default: as the settings say, or tidegate)
    #[arg(long, value_name = "PREFIX", value_parser = valid_prefix)]
    prefix: Option<String>,
}

impl LogArgs {
    /// The operator's settings and the fleet that is meant, if they are named.
    pub(super) fn settings(&self) -> Result<Option<(Settings, FleetSettings)>, CommandError> {
        let Some(file) = &self.settings else {
            return Ok(None);
        };
        let settings =
            Settings::load(file).map_err(|error| CommandError::usage(error.to_string()))?;
        let fleet = self.fleet_of(file, &settings)?.clone();
        match &self.repo {
            Some(repo) if *repo != fleet.repo => Err(CommandError::usage(format!(
                "--repo names {}, and {} has its fleet in {}",
                without_user(repo),
                file.display(),
                without_user(&fleet.repo)
            ))
            .hint("leave out one of --repo and --settings")),
            _ => Ok(Some((settings, fleet))),
        }
    }

    /// The fleet that is meant.
    fn fleet_of<'a>(
        &self,
        file: &Path,
        settings: &'a Settings,
    ) -> Result<&'a FleetSettings, CommandError> {
        let names: Vec<&str> = settings
            .fleets
            .iter()
            .filter_map(|fleet| fleet.name.as_deref())
            .collect();
        let which = || format!("its fleets are: {}", names.join(", "));
        match (&self.fleet, settings.fleets.as_slice()) {
            (None, [only]) => Ok(only),
            (None, _) => Err(CommandError::usage(format!(
                "{} names several fleets: choose one with --fleet",
                file.display()
            ))
            .hint(which())),
            (Some(name), fleets) => fleets
                .iter()
                .find(|fleet| fleet.name.as_ref() == Some(name))
                .ok_or_else(|| {
                    CommandError::usage(format!("{} has no fleet {name}", file.display()))
                        .hint(which())
                }),
        }
    }

    /// Where the log is, with what the settings say of the fleet if they are named.
    pub(super) fn resolved(&self) -> Result<ResolvedLog, CommandError> {
        let Some((_, fleet)) = self.settings()? else {
            let url = match repo_or_environment(self.repo.clone()) {
                Some(url) => url,
                None => origin()?,
            };
            return Ok(ResolvedLog {
                url: checked(url)?,
                branch: self.branch.clone(),
                prefix: self.prefix.clone().unwrap_or_else(default_prefix),
                path: self.path.clone(),
            });
        };
        Ok(ResolvedLog {
            url: checked(fleet.repo.clone())?,
            branch: self.branch.clone().or_else(|| fleet.branch.clone()),
            prefix: self.prefix.clone().unwrap_or(fleet.prefix),
            path: self.path.clone().or_else(|| Some(fleet.path.clone())),
        })
    }
}

/// The same text, if it can be a repo's address.
fn checked(url: String) -> Result<String, CommandError> {
    RemoteUrl::parse(&url).map_err(|error| CommandError::usage(error.to_string()))?;
    Ok(url)
}

/// Where a fleet's log is, all options and settings taken together.
#[derive(Debug)]
pub(super) struct ResolvedLog {
    /// The repo.
    pub(super) url: String,
    /// The config branch, if one was named.
    pub(super) branch: Option<String>,
    /// What the names of the fleet's branches begin with.
    pub(super) prefix: String,
    path: Option<String>,
}

impl ResolvedLog {
    /// The full name of the log's ref.
    pub(super) fn reference(&self) -> String {
        format!("refs/heads/{}/log", self.prefix)
    }

    /// There is no such log. An intent stands in it before a branch is made: where branches are, it was deleted, or they are not
    /// the fleet's.
    pub(super) fn missing(&self) -> CommandError {
        let repo = without_user(&self.url);
        let left = self.branches_left();
        if left.is_empty() {
            return no_log(&repo, &self.prefix);
        }
        CommandError::failed(format!(
            "{repo} has no log: there is {}, but no {}/log",
            left.join(", "),
            self.prefix
        ))
        .hint("if a controller has run here, the log was deleted: do not begin anew, but push its newest entry back, from the controller's data folder or a clone (docs: Break glass)")
        .hint("if none has, these branches stand where the fleet's are to be; --prefix names another place")
    }

    /// The branches where those of the fleet's waves are. Whoever cannot be asked has none.
    fn branches_left(&self) -> Vec<String> {
        let repo = TemporaryRepo::pointed_at(&self.url, Path::new("."));
        let listed = repo.and_then(|repo| repo.list_branches());
        let names = listed.unwrap_or_default().into_keys();
        names
            .filter_map(|name| {
                let wave = name
                    .strip_prefix("refs/heads/")?
                    .strip_prefix(&self.prefix)?
                    .strip_prefix('/')?;
                // What is further below is another fleet's.
                let is_wave = !wave.contains('/') && !matches!(wave, "log" | "requests");
                is_wave.then(|| format!("{}/{wave}", self.prefix))
            })
            .collect()
    }

    /// Refuses a log that belongs to the fleet of another folder than the one that was named.
    pub(super) fn check_path(&self, found: &str) -> Result<(), CommandError> {
        match self.path.as_deref().filter(|wanted| *wanted != found) {
            None => Ok(()),
            Some(wanted) => Err(CommandError::usage(format!(
                "the log below {}/ belongs to the fleet in {found:?}, not in {wanted:?}",
                self.prefix
            ))),
        }
    }
}

/// A fleet's log.
pub struct LogView {
    repo: TemporaryRepo,
    history: History,
    log: ResolvedLog,
    tip: Oid,
    state: FleetState,
}

impl LogView {
    /// Fetches the log's newest entry.
    pub fn open(arguments: &LogArgs) -> Result<Self, CommandError> {
        match Self::find(arguments)? {
            Some(view) => Ok(view),
            None => Err(arguments.resolved()?.missing()),
        }
    }

    /// Fetches the log's newest entry; `None` before the first rollout.
    pub fn find(arguments: &LogArgs) -> Result<Option<Self>, CommandError> {
        let log = arguments.resolved()?;
        let reference = log.reference();
        let repo = TemporaryRepo::pointed_at(&log.url, Path::new("."))?;
        if repo.list(&[&reference])?.is_empty() {
            return Ok(None);
        }
        repo.fetch(&[format!("+{reference}:{reference}")], Some(1))?;
        // What came counts, not what was listed: the log may have moved between the two.
        let tip = repo.tip(&reference)?;
        let store = ObjectStore::open(repo.path()).map_err(CommandError::failed)?;
        let history = History::open(repo.path()).map_err(CommandError::failed)?;
        let state = read_state(&store, &history, tip).map_err(CommandError::failed)?;
        log.check_path(&state.fleet.path)?;
        Ok(Some(Self {
            repo,
            history,
            log,
            tip,
            state,
        }))
    }

    /// What the log's newest entry says.
    #[must_use]
    pub fn state(&self) -> &FleetState {
        &self.state
    }

    /// The log's newest entry when it was fetched.
    #[must_use]
    pub fn tip(&self) -> Oid {
        self.tip
    }

    /// The temporary repo that the log was fetched to.
    #[must_use]
    pub fn repo(&self) -> &TemporaryRepo {
        &self.repo
    }

    /// The full ref of the config branch.
    #[must_use]
    pub fn config_ref(&self) -> String {
        let branch = self.log.branch.as_ref();
        format!("refs/heads/{}", branch.unwrap_or(&self.state.fleet.branch))
    }

    /// The config branch's head, as the server has it now.
    pub fn head(&self) -> Result<Option<Oid>, CommandError> {
        let config = self.config_ref();
        Ok(self.repo.list(&[&config])?.get(&config).copied())
    }

    /// Fetches the wave branches with the newest trees of their regions, and what came before.
    pub fn fetch_waves(&self) -> Result<(), CommandError> {
        let prefix = &self.log.prefix;
        let all = format!("+refs/heads/{prefix}/*:refs/heads/{prefix}/*");
        self.repo.unshallow(&[all])
    }

    /// Looks whether the log has moved, and fetches its newest entry if so.
    pub fn refresh(&mut self) -> Result<bool, CommandError> {
        let log = self.log.reference();
        let listed = self.repo.list(&[&log])?;
        if listed.is_empty() {
            return Err(self.log.missing());
        }
        if listed.get(&log) == Some(&self.tip) {
            return Ok(false);
        }
        self.repo.fetch(&[format!("+{log}:{log}")], Some(1))?;
        self.tip = self.repo.tip(&log)?;
        let store = ObjectStore::open(self.repo.path()).map_err(CommandError::failed)?;
        // Opened anew: a handle remembers where the history was cut off when it was opened.
        self.history = History::open(self.repo.path()).map_err(CommandError::failed)?;
        self.state = read_state(&store, &self.history, self.tip).map_err(CommandError::failed)?;
        Ok(true)
    }

    /// Whether a commit of the config branch is another one or descends from it; `false` too if it is not
    /// on the branch.
    pub fn carries(&self, commit: Oid, other: Oid) -> Result<bool, CommandError> {
        if commit == other {
            return Ok(true);
        }
        if !self.history.has(commit) || !self.history.has(other) {
            let config = self.config_ref();
            self.repo.fetch(&[format!("+{config}:{config}")], None)?;
        }
        let whole = History::open(self.repo.path()).map_err(CommandError::failed)?;
        if !whole.has(commit) || !whole.has(other) {
            return Ok(false);
        }
        whole
            .is_ancestor(other, commit)
            .map_err(CommandError::failed)
    }

    /// Why the fleet stands where it stands; of one region if it is named.
    pub fn explanation(&self, region: Option<&str>) -> Result<Explanation, CommandError> {
        let head = self.head()?;
        let queued = match head {
            Some(head) => self.queued(head, &self.config_ref())?,
            None => Vec::new(),
        };
        let chain = self.chain()?;
        let as_of = chain.first().map_or(0, |entry| entry.seconds);
        let of_rollout = chain.iter().take_while(|entry| {
            self.state
                .rollout
                .as_ref()
                .is_some_and(|rollout| entry.seconds >= rollout.opened)
        });
        Ok(explain(
            &self.state,
            &Seen {
                as_of,
                head,
                queued: &queued,
                changes: &changes(of_rollout),
                now: Timestamp::now().as_second(),
            },
            region,
        ))
    }

    /// Every entry of the log, newest first.
    fn chain(&self) -> Result<Vec<CommitView>, CommandError> {
        let log = self.log.reference();
        self.repo.unshallow(&[format!("+{log}:{log}")])?;
        // Opened anew: a handle remembers where the history was cut off when it was opened.
        let whole = History::open(self.repo.path()).map_err(CommandError::failed)?;
        let chain = whole.chain(None, self.tip).map_err(CommandError::failed)?;
        Ok(chain.unwrap_or_default())
    }

    /// Where the fleet stands.
    pub fn status(&self, last: bool) -> Result<Status, CommandError> {
        let config = self.config_ref();
        let head = self.head()?;
        let seconds = self
            .history
            .commit(self.tip)
            .map_err(CommandError::failed)?
            .seconds;
        let queued = match head {
            Some(head) => self.queued(head, &config)?,
            None => Vec::new(),
        };
        Ok(status(
            &self.state,
            seconds,
            head,
            queued,
            last,
            Timestamp::now().as_second(),
        ))
    }

    /// The commits behind the one that is carried (or settled), newest first.
    fn queued(&self, head: Oid, config: &str) -> Result<Vec<Oid>, CommandError> {
        let after = self
            .state
            .active()
            .map(|rollout| rollout.source)
            .or_else(|| self.state.settled.as_ref().map(|settled| settled.source));
        if Some(head) == after {
            return Ok(Vec::new());
        }
        self.repo.fetch(&[format!("+{config}:{config}")], None)?;
        let Some(after) = after else {
            return Ok(vec![head]);
        };
        let chain = self
            .history
            .chain(Some(after), head)
            .map_err(CommandError::failed)?;
        Ok(chain.map_or_else(
            || vec![head],
            |chain| chain.into_iter().map(|commit| commit.id).collect(),
        ))
    }

    /// All rollouts that the log tells of, newest first.
    pub fn history(&self) -> Result<Vec<PastRollout>, CommandError> {
        let log = self.log.reference();
        self.repo.unshallow(&[format!("+{log}:{log}")])?;
        // Opened anew: a handle remembers where the history was cut off when it was opened.
        let store = ObjectStore::open(self.repo.path()).map_err(CommandError::failed)?;
        let whole = History::open(self.repo.path()).map_err(CommandError::failed)?;
        history(&store, &whole, self.tip).map_err(CommandError::failed)
    }
}

/// The URL of origin in the repo that this folder is in.
fn origin() -> Result<String, CommandError> {
    let nothing = || {
        CommandError::usage("no config repo is named")
            .hint("give --repo URL, set TIDEGATE_REPO, or call it in a clone of the config repo")
    };
    let repository = git2::Repository::discover(".").map_err(|_| nothing())?;
    let remote = repository.find_remote("origin").map_err(|_| nothing())?;
    let url = remote.url().map_err(|_| nothing())?.to_owned();
    // A relative path counts from the repo, not from here.
    let folder = repository
        .workdir()
        .unwrap_or_else(|| repository.path())
        .join(&url);
    Ok(if !url.contains(':') && folder.exists() {
        Path::new(&folder).display().to_string()
    } else {
        url
    })
}
