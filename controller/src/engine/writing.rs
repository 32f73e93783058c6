//! Writing: entries of the log, and the moves that they allow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_waves::log::EntryKind;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{Append, FleetState, PushOrder, PushOutcome, RegionState};
use tracing::{debug, info, warn};

use super::mint::Signature;
use super::ports::Remote;
use super::{Engine, EngineError, Tip, blocking, log, mint};
use crate::crash;
use crate::git::history::History;

impl<R: Remote> Engine<R> {
    /// Makes what the entry names, appends it by compare-and-swap, and looks again.
    pub(super) async fn append(
        &mut self,
        tip: Option<&Tip>,
        append: Append,
    ) -> Result<(), EngineError> {
        let seconds = self
            .clock
            .wall()
            .as_second()
            .max(tip.map_or(0, |tip| tip.seconds));
        let (commit, entry, state, intents) = blocking::in_place(|| -> Result<_, EngineError> {
            let history = History::open(&self.mirror)?;
            let author = self.options.author.clone();
            let built_on = Signature {
                author: &author,
                seconds: tip.map_or(seconds, |tip| tip.seconds),
            };
            // The rollout that intents belong to is the one of the state after the entry.
            let next = append.next.clone();
            let (entry, intents, state) = append
                .complete(|draft| mint::mint(&self.store, &history, &next, draft, &built_on))?;
            let pinned: Vec<Oid> = match (entry.kind, &state.rollout) {
                (EntryKind::RolloutOpened, Some(rollout)) => vec![rollout.plan_commit],
                _ => Vec::new(),
            };
            let signature = Signature {
                author: &author,
                seconds,
            };
            let commit = log::commit_of(
                &self.store,
                &entry,
                &intents,
                &state,
                tip.map(|tip| tip.commit),
                &pinned,
                &signature,
            )?;
            self.store.flush()?;
            Ok((commit, entry, state, intents))
        })?;
        let order = PushOrder {
            reference: state.fleet.log_ref(),
            old: tip.map_or(Oid::ZERO, |tip| tip.commit),
            new: commit,
        };
        // All objects of the entry are in the mirror, and nothing is on the server.
        crash::point("before-log-push");
        crash::point(&format!("before-{}", entry.kind).to_lowercase());
        let outcome = self.push_one(&order).await;
        if outcome == PushOutcome::Moved {
            let rollout = entry.rollout.clone().unwrap_or_default();
            info!(
                fleet = state.fleet.name, seq = state.seq, entry = %entry.kind, rollout, wave = entry.wave.clone().unwrap_or_default(),
                intents = intents.len(), closed = entry.closed.len(), "{}", crate::git::trailers::one_line(&entry.subject)
            );
            for line in &entry.lines {
                debug!(seq = state.seq, "{}", crate::git::trailers::one_line(line));
            }
            self.ending.saw(&state);
            self.said = None;
            self.unclear = 0;
            let begun_anew = tip.map_or_else(BTreeSet::new, |tip| begun_anew(&tip.state, &state));
            self.tip = Some(Tip {
                commit,
                seconds,
                state: Arc::new(state),
            });
            self.sums.forget(&begun_anew);
            self.sums.remember_log_tip(commit);
            crash::point("after-log-push");
            crash::point(&format!("after-{}", entry.kind).to_lowercase());
            if tip.is_none() {
                self.look().await?;
            }
            return Ok(());
        }
        match outcome {
            PushOutcome::Refused { message } => {
                return Err(EngineError::LogRefused {
                    reference: order.reference,
                    message,
                });
            }
            PushOutcome::LostRace => {
                debug!("another controller wrote the log first");
                self.look().await?;
                if self.contradicts([(order.reference.as_str(), order.old)]) {
                    self.unclear = self.unclear.saturating_add(1);
                }
                return Ok(());
            }
            PushOutcome::Ambiguous | PushOutcome::Moved => {
                self.unclear = self.unclear.saturating_add(1);
                warn!("the answer to a push of the log is unclear; reading the log again");
            }
        }
        self.look().await
    }

    async fn push_one(&mut self, order: &PushOrder) -> PushOutcome {
        let reports = self.remote.push(std::slice::from_ref(order)).await;
        reports
            .into_iter()
            .find(|report| report.reference == order.reference)
            .map_or(PushOutcome::Ambiguous, |report| report.outcome)
    }

    /// Carries out open intents, in one push, and looks at what came of it.
    pub(super) async fn push(&mut self, orders: &[PushOrder]) -> Result<(), EngineError> {
        let config = self
            .tip
            .as_ref()
            .map(|tip| tip.state.fleet.config_ref())
            .unwrap_or_default();
        let name = if orders.iter().any(|order| order.reference == config) {
            "source-revert"
        } else {
            "branch"
        };
        crash::point(&format!("before-{name}-push"));
        blocking::in_place(|| self.store.flush())?;
        let mut reports = self.remote.push(orders).await;
        let refused = reports
            .iter()
            .any(|report| matches!(report.outcome, PushOutcome::Refused { .. }));
        if refused && orders.len() > 1 {
            // A server may refuse a push whole because of one ref: one by one, in the order given.
            let mut singly = Vec::new();
            for order in orders {
                crash::point("before-single-push");
                singly.extend(self.remote.push(std::slice::from_ref(order)).await);
                crash::point("after-single-push");
            }
            reports = singly;
        }
        for report in &reports {
            let (reference, new) = (&report.reference, report.new.short(8));
            match &report.outcome {
                PushOutcome::Moved => info!(reference, new, "pushed"),
                PushOutcome::LostRace => info!(reference, new, "somebody else moved it first"),
                PushOutcome::Refused { message } => {
                    warn!(reference, new, message, "the server refuses the push");
                }
                PushOutcome::Ambiguous => warn!(
                    reference,
                    new, "the answer to the push is unclear; looking again"
                ),
            }
        }
        let unclear = reports
            .iter()
            .any(|report| report.outcome == PushOutcome::Ambiguous);
        crash::point(&format!("after-{name}-push"));
        let answered: BTreeSet<String> = reports
            .iter()
            .filter(|report| matches!(report.outcome, PushOutcome::Moved | PushOutcome::LostRace))
            .map(|report| report.reference.clone())
            .collect();
        self.pending.pushes.extend(reports);
        let before = self.unclear;
        if unclear {
            self.unclear = before.saturating_add(1);
        }
        self.look().await?;
        let contradicted = self.contradicts(
            orders
                .iter()
                .filter(|order| answered.contains(&order.reference))
                .map(|order| (order.reference.as_str(), order.old)),
        );
        if !unclear {
            self.unclear = if contradicted {
                before.saturating_add(1)
            } else {
                0
            };
        }
        Ok(())
    }

    /// A push was told that these refs are not where they were (any more), by itself or by somebody else: a list that
    /// still shows one there comes from a copy that lags behind, or from a server that does not tell the truth.
    ///
    /// Asking it again at once would go on for as long as that lasts, so it is to count as an unclear answer.
    fn contradicts<'a>(&self, left: impl IntoIterator<Item = (&'a str, Oid)>) -> bool {
        let mut contradicted = false;
        for (reference, old) in left {
            if self.view.get(reference).unwrap_or(Oid::ZERO) == old {
                warn!(
                    reference,
                    old = old.short(8),
                    "the server lists a ref where a push was told that it is not; looking again"
                );
                contradicted = true;
            }
        }
        contradicted
    }
}

/// Regions that an entry lets begin anew: what was counted for them before it is over, also for a process that comes
/// after this one.
fn begun_anew(before: &FleetState, after: &FleetState) -> BTreeSet<String> {
    let states = |state: &FleetState| -> BTreeMap<String, RegionState> {
        let waves = state
            .active()
            .into_iter()
            .flat_map(|rollout| &rollout.waves);
        waves
            .flat_map(|wave| &wave.regions)
            .map(|(region, run)| (region.clone(), run.state))
            .collect()
    };
    let known = states(before);
    states(after)
        .into_iter()
        .filter(|(region, state)| state.begins() && known.get(region) != Some(state))
        .map(|(region, _)| region)
        .collect()
}
