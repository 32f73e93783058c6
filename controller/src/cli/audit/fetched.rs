//! Fetching log and branches so that they belong together.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tidegate_waves::oid::Oid;

use crate::audit::reader::{self, Place};
use crate::audit::record::Record;
use crate::cli::error::{CommandError, ErrorKind};
use crate::cli::fetch::{TemporaryRepo, without_user};
use crate::cli::log_view::ResolvedLog;
use crate::git::history::History;

/// How often the branches are fetched until nothing moves meanwhile.
const LOOKS: u32 = 20;

/// How long to wait before fetching again.
const PAUSE: Duration = Duration::from_millis(250);

/// The fleet's refs, fetched so that they belong together.
pub(super) struct Fetched {
    repo: TemporaryRepo,
    /// The log's tip.
    pub(super) log: Oid,
    refs: BTreeMap<String, Oid>,
    config: Option<String>,
}

impl Fetched {
    /// Fetches until nothing has moved between two listings: a log and branches of different moments disagree.
    pub(super) fn of(log: &ResolvedLog, expected: Option<&str>) -> Result<Self, CommandError> {
        let repo = TemporaryRepo::pointed_at(&log.url, Path::new("."))?;
        let log_ref = log.reference();
        let mut config = log
            .branch
            .as_ref()
            .map(|branch| format!("refs/heads/{branch}"));
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(PAUSE);
            }
            let before = wanted(&repo, log, config.as_deref())?;
            if !before.contains_key(&log_ref) {
                return Err(missing_log(log, expected));
            }
            repo.fetch(&refspecs(&before, log), None)?;
            let Ok(tip) = repo.tip(&log_ref) else {
                continue;
            };
            if look == 0 {
                config = config_of(&repo, log, tip)?.or(config);
            }
            let mut after = wanted(&repo, log, config.as_deref())?;
            if after == before
                && let Some(tip) = after.remove(&log_ref)
            {
                return Ok(Self {
                    repo,
                    log: tip,
                    refs: after,
                    config,
                });
            }
        }
        Err(CommandError::failed(format!(
            "the branches of {} move faster than they can be fetched",
            without_user(&log.url)
        ))
        .hint("try again when less is going on"))
    }

    /// Reads what was fetched.
    pub(super) fn read(&self, log: &ResolvedLog) -> Result<Record, CommandError> {
        let place = Place {
            repo: self.repo.path(),
            log: self.log,
            prefix: &log.prefix,
        };
        reader::read(place, &self.refs, self.config.clone()).map_err(CommandError::failed)
    }

    /// The place of the entry that a revision names.
    pub(super) fn place(&self, record: &Record, revision: &str) -> Result<usize, CommandError> {
        let history = History::open(self.repo.path()).map_err(CommandError::failed)?;
        let named = history.resolve(revision).map_err(CommandError::failed)?;
        record
            .entries
            .iter()
            .position(|entry| Some(entry.id) == named)
            .ok_or_else(|| {
                CommandError::usage(format!("{revision} names no entry of the log"))
                    .hint("give the id of one, or tidegate/log~50 for the 50th before the newest")
            })
    }
}

/// The refs that the audit is about, but for the requests, which it does not read.
fn wanted(
    repo: &TemporaryRepo,
    log: &ResolvedLog,
    config: Option<&str>,
) -> Result<BTreeMap<String, Oid>, CommandError> {
    let mut refs = repo.list_branches()?;
    let below = format!("refs/heads/{}/", log.prefix);
    refs.retain(|name, _| {
        (name.starts_with(&below) && name.strip_prefix(&below) != Some("requests"))
            || name.starts_with("refs/heads/tidegate-revert/")
            || config == Some(name.as_str())
    });
    Ok(refs)
}

fn refspecs(refs: &BTreeMap<String, Oid>, log: &ResolvedLog) -> Vec<String> {
    let below = format!("refs/heads/{}/", log.prefix);
    let mut specs = vec![format!("+{below}*:{below}*")];
    specs.extend(
        refs.keys()
            .filter(|name| !name.starts_with(&below))
            .map(|name| format!("+{name}:{name}")),
    );
    specs
}

/// The config branch as the log says, unless it was named; a log of another folder is refused.
fn config_of(
    repo: &TemporaryRepo,
    log: &ResolvedLog,
    tip: Oid,
) -> Result<Option<String>, CommandError> {
    let place = Place {
        repo: repo.path(),
        log: tip,
        prefix: &log.prefix,
    };
    let Some(fleet) = reader::fleet(place).map_err(CommandError::failed)? else {
        return Ok(None);
    };
    log.check_path(&fleet.path)?;
    Ok(log
        .branch
        .is_none()
        .then(|| format!("refs/heads/{}", fleet.branch)))
}

fn missing_log(log: &ResolvedLog, expected: Option<&str>) -> CommandError {
    match expected {
        None => log.missing(),
        Some(expected) => CommandError::new(
            ErrorKind::RolledBack,
            format!(
                "the log is gone: {} has no branch {}/log, which had entry {expected}",
                without_user(&log.url),
                log.prefix
            ),
        )
        .hint("push it back from a clone that has it; a controller writes no new one while wave branches are there"),
    }
}
