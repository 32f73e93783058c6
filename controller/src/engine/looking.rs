//! Looking: what the remote has, what the log says, and everything that a decision is given.

use std::sync::Arc;
use std::time::Duration;

use tidegate_renderer::cache::RenderCache;
use tidegate_renderer::tree::ObjectStore;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{
    CandidateOutcome, ConfigView, FleetIdentity, FleetState, Observations, create,
};
use tracing::debug;

use super::log::{self, LogDamage};
use super::ports::{RefView, Remote};
use super::{Ending, Engine, EngineError, PUSH_DEADLINE, Tip, Turn, blocking, candidate, view};
use crate::crash;
use crate::git::history::History;

impl<R: Remote> Engine<R> {
    /// The branch that the remote's HEAD names, if it exists.
    fn head_branch(&self) -> Option<String> {
        let head = self.view.head.as_ref()?;
        self.view.get(head)?;
        Some(head.trim_start_matches("refs/heads/").to_owned())
    }

    pub(super) fn config_branch(&self) -> Option<String> {
        if let Some(tip) = &self.tip {
            // What the log fixed counts while the branch, and HEAD with it, is gone.
            let named = self.options.branch.clone().or_else(|| self.head_branch());
            return Some(named.unwrap_or_else(|| tip.state.fleet.branch.clone()));
        }
        let branch = self.options.branch.clone().or_else(|| self.head_branch())?;
        self.view
            .refs
            .contains_key(&format!("refs/heads/{branch}"))
            .then_some(branch)
    }

    pub(super) fn check_identity(
        &self,
        state: &FleetState,
        config: &str,
    ) -> Result<(), EngineError> {
        let fleet = &state.fleet;
        let name = self
            .options
            .name
            .clone()
            .unwrap_or_else(|| fleet.name.clone());
        if fleet.name == name
            && fleet.branch == config
            && fleet.path == self.options.path
            && fleet.prefix == self.options.prefix
        {
            return Ok(());
        }
        Err(EngineError::OtherSettings(format!(
            "the log {} belongs to fleet {:?} (config branch {:?}, path {:?}, prefix {:?}), but this controller is set to fleet {name:?} (config branch {config:?}, path {:?}, prefix {:?}); \
             give the second fleet a prefix of its own, or correct the settings",
            fleet.log_ref(),
            fleet.name,
            fleet.branch,
            fleet.path,
            fleet.prefix,
            self.options.path,
            self.options.prefix
        )))
    }

    /// Looks at the remote, and takes over what the log says by now.
    pub(super) async fn look(&mut self) -> Result<(), EngineError> {
        // The branches in it are not older than the log in it.
        let view = self.remote.refresh().await?;
        let generation = self.remote.generation();
        if generation != self.generation {
            // Whatever was made and not pushed is gone with the old mirror.
            self.generation = generation;
            self.store = Arc::new(ObjectStore::open(&self.mirror)?);
            self.cache = RenderCache::default();
            self.candidates = candidate::Cache::default();
        }
        let log = format!("refs/heads/{}/log", self.options.prefix);
        let listed = view.get(&log);
        let known = self.tip.as_ref().map(|tip| tip.commit);
        if listed != known {
            self.adopt_log(&view, &log, listed)?;
        }
        self.view = view;
        crash::point("after-look");
        Ok(())
    }

    fn adopt_log(
        &mut self,
        view: &RefView,
        log: &str,
        listed: Option<Oid>,
    ) -> Result<(), EngineError> {
        let Some(commit) = listed else {
            let branch = view::any_wave_branch(view, &self.options.prefix)
                .unwrap_or_else(|| "an entry of it that this controller has read".to_owned());
            return Err(LogDamage::Deleted {
                log: log.to_owned(),
                branch,
            }
            .into());
        };
        let remembered = self
            .tip
            .as_ref()
            .map(|tip| tip.commit)
            .or_else(|| self.sums.log_tip());
        let tip = blocking::in_place(|| -> Result<Tip, EngineError> {
            let history = History::open(&self.mirror)?;
            if let Some(known) = remembered
                && !history.is_ancestor(known, commit)?
            {
                return Err(LogDamage::Rewound(known).into());
            }
            log::verify(&history, commit, remembered)?;
            let state = log::read_state(&self.store, &history, commit)?;
            Ok(Tip {
                commit,
                seconds: history.commit(commit)?.seconds,
                state: Arc::new(state),
            })
        })?;
        debug!(
            seq = tip.state.seq,
            epoch = tip.state.epoch,
            holder = tip.state.holder,
            "read the log"
        );
        if self.tip.is_none() {
            self.ending.start(&tip.state);
        }
        self.ending.saw(&tip.state);
        self.tip = Some(tip);
        self.sums.remember_log_tip(commit);
        Ok(())
    }

    /// There is no log yet: it begins with the first valid head.
    pub(super) async fn begin(&mut self, config: &str) -> Result<Turn, EngineError> {
        if let Some(branch) = view::any_wave_branch(&self.view, &self.options.prefix) {
            return Err(LogDamage::Deleted {
                log: format!("refs/heads/{}/log", self.options.prefix),
                branch,
            }
            .into());
        }
        if let Some(known) = self.sums.log_tip() {
            return Err(LogDamage::Rewound(known).into());
        }
        let Some(head) = self.view.get(&format!("refs/heads/{config}")) else {
            self.say("the config branch does not exist yet; waiting for its first commit");
            return Ok(self.settled_or_wait(Some(Ending::Invalid)));
        };
        self.report_first_head(head, None);
        let name = blocking::in_place(|| self.first_name(head))?;
        let name = match name {
            Ok(name) => name,
            Err(message) => {
                self.report_first_head(head, Some(message.clone()));
                self.say(&format!("{} is not valid, and nothing is written before the first valid commit: {message}", head.short(8)));
                return Ok(self.settled_or_wait(Some(Ending::Invalid)));
            }
        };
        let identity = FleetIdentity {
            name,
            branch: config.to_owned(),
            path: self.options.path.clone(),
            prefix: self.options.prefix.clone(),
        };
        let append = create(identity, head, &self.options.identity);
        self.append(None, append).await?;
        Ok(self.again())
    }

    fn first_name(&mut self, head: Oid) -> Result<Result<String, String>, EngineError> {
        let history = History::open(&self.mirror)?;
        let context = candidate::Context {
            store: &self.store,
            mirror: &self.mirror,
            history: &history,
            templates: &*self.templates,
            cache: &self.cache,
            options: &self.options,
        };
        let outcome = self.candidates.outcome_without_log(&context, head)?;
        Ok(match outcome {
            CandidateOutcome::Valid(valid) => Ok(valid.wanted.fleet.clone()),
            CandidateOutcome::Invalid { message } => Err(message),
        })
    }

    /// Everything that a decision is given.
    pub(super) fn observe(&mut self, tip: &Tip, config: &str) -> Result<Observations, EngineError> {
        let state = &tip.state;
        let history = History::open(&self.mirror)?;
        let branches = view::branches(&self.store, &history, state, &self.view)?;
        let head = self.view.get(&format!("refs/heads/{config}"));
        let context = candidate::Context {
            store: &self.store,
            mirror: &self.mirror,
            history: &history,
            templates: &*self.templates,
            cache: &self.cache,
            options: &self.options,
        };
        let candidate = match head.map(|head| self.candidates.candidate(&context, state, head)) {
            // What this machine cannot render just now must not keep a rollout under way from being watched.
            Some(Err(error @ EngineError::Rendering { .. })) if state.active().is_some() => {
                self.say_error(&error);
                None
            }
            Some(candidate) => candidate?,
            None => None,
        };
        let revert = match head {
            Some(head) => candidate::revert_facts(&history, state, head)?,
            None => None,
        };
        let lacks_rollout = match (head, state.active()) {
            (Some(head), Some(rollout)) => {
                !self.candidates.contains(&history, rollout.source, head)?
            }
            _ => false,
        };
        let recovered = state
            .active()
            .map(|rollout| self.sums.recovered(&rollout.id))
            .unwrap_or_default();
        let (known, begun) = (self.begun, &mut self.begun);
        let requests = crate::requests::unanswered(
            &history,
            state,
            || match known {
                Some(begun) => Ok(begun),
                None => Ok(*begun.insert(log::begun(&history, tip.commit)?)),
            },
            &self.view,
            self.options.unsigned,
            |commit| {
                crate::signatures::check(
                    &self.mirror,
                    self.options.allowed_signers.as_deref(),
                    commit,
                )
            },
        )?;
        Ok(Observations {
            me: self.options.identity.clone(),
            takeover_after: with_jitter(self.options.takeover_after, &self.options.identity),
            push_deadline: PUSH_DEADLINE,
            branches,
            config: ConfigView {
                head,
                candidate,
                lacks_rollout,
                revert,
            },
            requests,
            samples: std::mem::take(&mut self.pending.samples),
            pushes: std::mem::take(&mut self.pending.pushes),
            recovered,
        })
    }
}

/// The time with up to a fifth more, by identity: two controllers that wait for a third do not write at once.
fn with_jitter(time: Duration, identity: &str) -> Duration {
    let spread = identity.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    time.saturating_add(time.saturating_mul(spread % 200) / 1000)
}
