//! `tidegate run`: the controller.

mod supervision;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::duration;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, info_span, warn};

use supervision::supervised;

use super::error::{CommandError, ErrorKind};
use super::target::repo_or_environment;
use super::terminal::Terminal;
use crate::alerts::Alerts;
use crate::clock::{Clock, SystemClock};
use crate::engine::{Ending, Engine, EngineError, FleetOptions, World};
use crate::forge::poster::poster;
use crate::forge::{self, Forge, ForgeSettingsError};
use crate::gates::argocd::ArgocdGate;
use crate::gates::egress::EgressRules;
use crate::gates::http::HttpProber;
use crate::gates::region::RegionProber;
use crate::gates::trees::RegionTrees;
use crate::gates::workloads::WorkloadsGate;
use crate::git::child::Surroundings;
use crate::git::mirror::{Deadlines, Mirror, MirrorOptions};
use crate::git::remote::RemoteUrl;
use crate::identity::DataFolder;
use crate::regions::Clusters;
use crate::render_worker::ChildWorkers;
use crate::reporting::Report;
use crate::reporting::reporter::{Reporter, ReporterOptions};
use crate::settings::{FleetSettings, RepoRun, Settings};
use crate::source::Source;
use crate::telemetry::Telemetry;

/// How long a push under way may take to end once the program is told to stop. What starts programs often kills them
/// ten seconds later, and a little of that is needed to end in order.
const GRACE: Duration = Duration::from_secs(8);

/// Run the controller: watch config repos and roll their commits out
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate run --settings /etc/tidegate/settings.yaml     every fleet of the settings, until told to stop
  tidegate run --repo https://git.example.com/acme/shop-config.git
                                                          one fleet, with TIDEGATE_GIT_USERNAME and TIDEGATE_GIT_PASSWORD
  tidegate run --repo git@git.example.com:acme/shop-config.git
                                                          by SSH, with TIDEGATE_SSH_KEY_FILE and TIDEGATE_SSH_KNOWN_HOSTS_FILE
  tidegate run --repo URL --settle --timeout 30m          follow what is under way to its end, then leave

Exit codes with --settle: 0 everything succeeded, 3 the head is invalid or there is none, 4 a rollout did not
succeed, 5 something is held, 6 the time is over.")]
pub struct RunArgs {
    /// The operator's settings: the fleets, and how they are reached
    #[arg(long, value_name = "FILE", conflicts_with = "repo")]
    settings: Option<PathBuf>,

    /// One config repo, instead of settings: https, http, ssh, file or a path (default: `TIDEGATE_REPO` of the environment)
    #[arg(long, value_name = "URL")]
    repo: Option<String>,

    /// The config branch of --repo (default: what the remote's HEAD names)
    #[arg(long, value_name = "BRANCH", conflicts_with = "settings")]
    branch: Option<String>,

    /// The fleet's folder in --repo
    #[arg(long, value_name = "FOLDER", conflicts_with = "settings")]
    path: Option<String>,

    /// What the names of the fleet's branches in --repo begin with
    #[arg(long, value_name = "PREFIX", conflicts_with = "settings")]
    prefix: Option<String>,

    /// The folder for the cache, which may be deleted at any time
    #[arg(long, value_name = "DIR", conflicts_with = "settings")]
    data_dir: Option<PathBuf>,

    /// How often --repo is looked at
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, conflicts_with = "settings")]
    poll: Option<Duration>,

    /// Follow what is under way or queued to its end, then leave
    #[arg(long)]
    settle: bool,

    /// Leave after this long with exit code 6
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, requires = "settle")]
    timeout: Option<Duration>,

    /// Let gates reach addresses of this machine
    #[arg(long, conflicts_with = "settings")]
    allow_loopback: bool,

    /// Let gates reach link-local addresses
    #[arg(long, conflicts_with = "settings")]
    allow_link_local: bool,
}

/// Runs `tidegate run`.
pub fn run(arguments: RunArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let RunArgs {
        settings,
        repo,
        branch,
        path,
        prefix,
        data_dir,
        poll,
        settle,
        timeout,
        allow_loopback,
        allow_link_local,
    } = arguments;
    let environment = |name: &str| std::env::var(name).ok();
    let settings = match (settings, repo_or_environment(repo)) {
        (Some(file), _) => {
            Settings::load(&file).map_err(|error| CommandError::usage(error.to_string()))?
        }
        (None, Some(repo)) => {
            let egress = EgressRules {
                loopback: allow_loopback,
                link_local: allow_link_local,
            };
            Settings::for_repo(
                RepoRun {
                    repo,
                    branch,
                    path,
                    prefix,
                    data_dir,
                    poll,
                    egress,
                },
                environment,
            )
            .map_err(|error| CommandError::usage(error.to_string()))?
        }
        (None, None) => return Err(CommandError::usage("give --settings FILE or --repo URL")),
    };
    terminal
        .telemetry(Telemetry::default())
        .start(environment)
        .map_err(CommandError::usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("cannot start: {error}")))?;
    let ending = runtime.block_on(control(settings, settle, timeout));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ending? {
        Outcome::TimedOut => Err(CommandError::new(
            ErrorKind::TimedOut,
            "the time that --timeout allows has passed; the rollout goes on with the next run",
        )),
        Outcome::Ended(Ending::Done | Ending::Cancelled) => Ok(()),
        Outcome::Ended(Ending::Failed) => Err(CommandError::new(
            ErrorKind::RolledBack,
            "a rollout did not succeed",
        )
        .hint("tidegate history tells why")),
        Outcome::Ended(Ending::Held) => Err(CommandError::new(
            ErrorKind::Held,
            "something is held and needs a person or a commit",
        )
        .hint("tidegate status tells what and why")),
        Outcome::Ended(Ending::Invalid) => Err(CommandError::new(
            ErrorKind::InvalidConfig,
            "the config branch's head is not valid, or there is none",
        )
        .hint("tidegate validate tells why")),
    }
}

enum Outcome {
    Ended(Ending),
    TimedOut,
}

/// Runs every fleet in a task of its own. One that dies is started again, and the others go on.
async fn control(
    settings: Settings,
    settle: bool,
    timeout: Option<Duration>,
) -> Result<Outcome, CommandError> {
    let cancel = CancellationToken::new();
    let mut stop = std::pin::pin!(stop_signal()?);
    // Held for its lock, as long as the fleets run.
    let data = DataFolder::open(&settings.data_dir).map_err(CommandError::failed)?;
    let mut fleets = JoinSet::new();
    let several = settings.fleets.len() > 1;
    let settings = Arc::new(settings);
    for (index, fleet) in settings.fleets.iter().enumerate() {
        let name = fleet
            .name
            .clone()
            .unwrap_or_else(|| format!("fleet-{index}"));
        let folder = if several || fleet.name.is_some() {
            data.path().join("fleets").join(&name)
        } else {
            data.path().join("fleet")
        };
        let identity = data.identity().as_str().to_owned();
        // What is wrong with the settings is said before anything runs.
        let mut first = Some(Prepared::of(fleet, &settings, &folder, &identity, settle)?);
        let (fleet, settings) = (fleet.clone(), Arc::clone(&settings));
        let prepare = move |token| {
            let next = match first.take() {
                Some(first) => first,
                None => Prepared::of(&fleet, &settings, &folder, &identity, settle)?,
            };
            Ok(next.run(token))
        };
        let span = info_span!("fleet", fleet = name);
        fleets.spawn(supervised(prepare, settle, cancel.clone()).instrument(span));
    }
    let deadline = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(deadline);
    let mut worst = Ending::Done;
    let mut refused: Option<EngineError> = None;
    loop {
        tokio::select! {
            ended = fleets.join_next() => match ended {
                None => return refused.map_or(Ok(Outcome::Ended(worst)), |error| Err(failed(&error))),
                Some(Ok(Ok(ending))) => worst = worse(worst, ending),
                // What is wrong with one fleet must not stop the others.
                Some(Ok(Err(error))) => {
                    error!("a fleet cannot go on, the others do: {error}");
                    refused.get_or_insert(error);
                }
                Some(Err(died)) => return Err(CommandError::failed(format!("the task of a fleet died: {died}; this is a bug, please report it"))),
            },
            () = &mut deadline => {
                end(&cancel, &mut fleets).await;
                return Ok(Outcome::TimedOut);
            }
            signal = &mut stop => {
                info!(signal, "told to stop");
                end(&cancel, &mut fleets).await;
                return Ok(Outcome::Ended(Ending::Cancelled));
            }
        }
    }
}

/// Lets every fleet finish what it does just now, for a short while. What is cut off is picked up by the next run.
async fn end(cancel: &CancellationToken, fleets: &mut JoinSet<Result<Ending, EngineError>>) {
    cancel.cancel();
    let all = async { while fleets.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        fleets.abort_all();
    }
}

fn failed(error: &EngineError) -> CommandError {
    CommandError::failed(error.to_string())
}

/// The ending that the exit code tells of when several fleets ended.
fn worse(first: Ending, second: Ending) -> Ending {
    let rank = |ending| match ending {
        Ending::Done | Ending::Cancelled => 0,
        Ending::Invalid => 1,
        Ending::Held => 2,
        Ending::Failed => 3,
    };
    if rank(second) > rank(first) {
        second
    } else {
        first
    }
}

/// From here on, SIGTERM and SIGINT are ours to obey; the future tells which came.
fn stop_signal() -> Result<impl Future<Output = &'static str>, CommandError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| {
        signal(kind).map_err(|error| {
            CommandError::failed(format!("cannot listen for the signal to stop: {error}"))
        })
    };
    let mut terminated = listen(SignalKind::terminate())?;
    let mut interrupted = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminated.recv() => "SIGTERM",
            _ = interrupted.recv() => "SIGINT",
        }
    })
}

/// What asks a fleet's regions how they are, by these trees of the wave branches.
pub(super) fn prober(
    fleet: &FleetSettings,
    settings: &Settings,
    trees: RegionTrees,
    clock: &Arc<dyn Clock>,
) -> Result<RegionProber, CommandError> {
    let http = HttpProber::new(settings.egress, &fleet.endpoints).map_err(CommandError::failed)?;
    let clusters = Arc::new(Clusters::new(fleet.clusters.clone(), settings.egress));
    let argocd = ArgocdGate::new(
        &fleet.argocd,
        &clusters,
        &fleet.repo,
        trees.clone(),
        Arc::clone(clock),
    );
    let workloads = WorkloadsGate::new(clusters, trees, Arc::clone(clock));
    Ok(RegionProber::new(http, argocd, workloads))
}

/// One fleet, ready to run.
struct Prepared {
    options: FleetOptions,
    world: World<Mirror>,
    told: Told,
}

impl Prepared {
    fn of(
        fleet: &FleetSettings,
        settings: &Settings,
        folder: &Path,
        identity: &str,
        settle: bool,
    ) -> Result<Self, CommandError> {
        let remote = RemoteUrl::parse(&fleet.repo)
            .map_err(|error| CommandError::usage(error.to_string()))?;
        let local = remote.local_folder();
        let credentials = fleet.credentials.for_git(remote.transport());
        let mirror = Mirror::open(MirrorOptions {
            folder: folder.to_owned(),
            remote,
            credentials,
            surroundings: Surroundings::Hermetic,
            branch: fleet.branch.clone(),
            prefix: fleet.prefix.clone(),
            deadlines: deadlines(),
        })
        .map_err(CommandError::failed)?;
        let git_dir = mirror.git_dir().to_owned();
        let store = ObjectStore::open(&git_dir).map_err(CommandError::failed)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let trees = RegionTrees::new(git_dir.clone()).with_listings(mirror.listings());
        let prober = prober(fleet, settings, trees, &clock)?;
        let templates = ChildWorkers::new()
            .map_err(|error| CommandError::failed(format!("cannot find this program: {error}")))?;
        let (reports, heard) = watch::channel(Report::default());
        let forge = match fleet.forge.as_ref().map(forge::build).transpose() {
            Ok(forge) => forge,
            // A file that is not mounted yet must not keep commits from being rolled out.
            Err(error @ ForgeSettingsError::Authority { .. }) => {
                warn!(%error, "no statuses are posted before a restart");
                None
            }
            Err(error) => return Err(CommandError::usage(error.to_string())),
        };
        let alerts = if fleet.alerts.is_empty() {
            None
        } else {
            let database = folder.join("outbox.db");
            let opened = Alerts::open(
                &fleet.alerts,
                settings.egress,
                &database,
                Arc::clone(&clock),
                identity,
                (fleet.name.as_deref().unwrap_or_default(), &fleet.prefix),
            );
            match opened {
                Ok(alerts) => Some(alerts),
                Err(error) if error.is_of_settings() => {
                    return Err(CommandError::usage(error.to_string()));
                }
                Err(error) => {
                    error!(%error, "no alerts are sent before a restart");
                    None
                }
            }
        };
        let told = Told {
            heard,
            forge,
            alerts,
            mirror: git_dir.clone(),
            prefix: fleet.prefix.clone(),
            identity: identity.to_owned(),
        };
        if let Some(problem) = crate::signatures::preconditions(&fleet.requests) {
            warn!("{problem}");
        }
        let source = Source::start(local, settings.poll, u64::from(std::process::id()));
        let options = FleetOptions {
            name: fleet.name.clone(),
            branch: fleet.branch.clone(),
            path: fleet.path.clone(),
            prefix: fleet.prefix.clone(),
            author: fleet.author.clone(),
            unsigned: fleet.requests.unsigned,
            allowed_signers: fleet.requests.allowed_signers.clone(),
            identity: identity.to_owned(),
            takeover_after: settings.takeover_after,
            settle,
            sums: folder.join("sums.json"),
        };
        let world = World {
            remote: mirror,
            store: Arc::new(store),
            mirror: git_dir,
            clock,
            prober: Arc::new(prober),
            templates: Arc::new(templates),
            source,
            reports,
        };
        Ok(Self {
            options,
            world,
            told,
        })
    }

    async fn run(self, cancel: CancellationToken) -> Result<Ending, EngineError> {
        let Self {
            options,
            world,
            told,
        } = self;
        let mut telling = told.start(&cancel);
        let engine = Engine::new(options, world).run(cancel);
        tokio::pin!(engine);
        let died = |died: JoinError| {
            EngineError::TaskDied(format!(
                "the task that posts statuses and sends alerts died: {died}; this is a bug, please report it"
            ))
        };
        tokio::select! {
            // The engine's end closes the channel of its reports, and that ends the telling.
            ended = &mut engine => {
                telling.await.map_err(died)?;
                ended
            }
            told = &mut telling => {
                told.map_err(died)?;
                engine.await
            }
        }
    }
}

/// Those who tell others about a fleet.
struct Told {
    heard: watch::Receiver<Report>,
    forge: Option<Arc<dyn Forge>>,
    alerts: Option<Alerts>,
    mirror: PathBuf,
    prefix: String,
    identity: String,
}

impl Told {
    /// Starts telling; it ends by itself a little after the engine, or when it is cancelled.
    fn start(self, cancel: &CancellationToken) -> JoinHandle<()> {
        let Self {
            heard,
            forge,
            alerts,
            mirror,
            prefix,
            identity,
        } = self;
        let cancel = cancel.clone();
        let forge = forge.map(|forge| {
            let (board, poster) = poster(Arc::clone(&forge));
            (forge, board, poster)
        });
        let (forge, poster) = match forge {
            Some((forge, board, poster)) => (Some((forge, board)), Some(poster)),
            None => (None, None),
        };
        let reporter = Reporter::new(ReporterOptions {
            mirror,
            prefix,
            identity,
            forge,
            alerts: alerts.clone(),
        });
        let telling = async move {
            let posted = cancel.child_token();
            let posting = async {
                if let Some(poster) = poster {
                    poster.run(posted.clone()).await;
                }
            };
            let sending = async {
                if let Some(alerts) = alerts {
                    alerts.run(posted.clone()).await;
                }
            };
            let reporting = async {
                reporter.run(heard, cancel.clone()).await;
                posted.cancel();
            };
            tokio::join!(posting, sending, reporting);
        };
        tokio::spawn(telling.in_current_span())
    }
}

/// How long git commands may take. Tests have no minutes to wait: debug builds take it from `TIDEGATE_GIT_DEADLINE`.
fn deadlines() -> Deadlines {
    #[cfg(debug_assertions)]
    if let Some(deadline) = std::env::var("TIDEGATE_GIT_DEADLINE")
        .ok()
        .and_then(|text| duration::parse(&text).ok())
    {
        return Deadlines {
            list: deadline,
            fetch: deadline,
            push: deadline,
        };
    }
    Deadlines::default()
}
