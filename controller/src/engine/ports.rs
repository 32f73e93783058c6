//! The narrowest view of the git remote that the engine needs. Time is [`crate::clock::Clock`], regions are
//! [`crate::gates::Prober`].

use std::future::Future;

use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{PushOrder, PushOutcome, PushReport};

use crate::git::failure::RemoteError;
use crate::git::mirror::Mirror;
pub use crate::git::mirror::RefView;
use crate::git::push::{RefOutcome, RefUpdate};

/// A git remote, mirrored.
pub trait Remote: Send + Sync {
    /// What the remote has, objects in the mirror: no branch is older than the log beside it says.
    fn refresh(&mut self) -> impl Future<Output = Result<RefView, RemoteError>> + Send;

    /// Pushes in one non-atomic push, each ref on its own lease; gives an answer for every order.
    fn push(&mut self, orders: &[PushOrder]) -> impl Future<Output = Vec<PushReport>> + Send;

    /// Puts the mirror in order, if it needs that; to be called when nothing else is to be done.
    fn tidy(&mut self) -> impl Future<Output = Result<(), RemoteError>> + Send;

    /// Grows when the mirror was made anew: objects that were not pushed are gone from it.
    fn generation(&self) -> u64;

    /// Throws the mirror away, because an object that it promised cannot be read; the next refresh fills it anew.
    fn discard(&mut self) -> Result<(), RemoteError>;

    /// Leaves out the branches below which lies a commit that no mirror could read, found at or below one that was needed; tells
    /// whether there are any.
    fn leave_out(&mut self, needed: Oid) -> bool;
}

impl Remote for Mirror {
    async fn refresh(&mut self) -> Result<RefView, RemoteError> {
        Mirror::refresh(self).await
    }

    async fn push(&mut self, orders: &[PushOrder]) -> Vec<PushReport> {
        let updates: Vec<RefUpdate> = orders
            .iter()
            .map(|order| RefUpdate {
                name: order.reference.clone(),
                old: order.old,
                new: order.new,
            })
            .collect();
        let outcomes = Mirror::push(self, &updates).await;
        if let Err(error) = &outcomes {
            tracing::warn!(remote = %self.remote(), "{error}");
        }
        orders
            .iter()
            .map(|order| {
                let outcome = outcomes
                    .as_ref()
                    .ok()
                    .and_then(|outcomes| outcomes.get(&order.reference));
                PushReport {
                    reference: order.reference.clone(),
                    new: order.new,
                    outcome: outcome.map_or(PushOutcome::Ambiguous, of_ref),
                }
            })
            .collect()
    }

    async fn tidy(&mut self) -> Result<(), RemoteError> {
        Mirror::tidy(self).await
    }

    fn generation(&self) -> u64 {
        Mirror::generation(self)
    }

    fn discard(&mut self) -> Result<(), RemoteError> {
        Mirror::discard(self).map_err(|error| RemoteError::MirrorDamaged {
            remote: self.remote().to_string(),
            message: error.to_string(),
        })
    }

    fn leave_out(&mut self, needed: Oid) -> bool {
        Mirror::leave_out(self, needed)
    }
}

fn of_ref(outcome: &RefOutcome) -> PushOutcome {
    match outcome {
        RefOutcome::Applied | RefOutcome::UpToDate => PushOutcome::Moved,
        RefOutcome::LostRace => PushOutcome::LostRace,
        RefOutcome::Refused { message } => PushOutcome::Refused {
            message: message.clone(),
        },
        RefOutcome::ServerBusy { message } => {
            // A connection that was cut makes the HTTP library send a push once more by itself: then the ref is
            // where we want it, and what the server refuses is the second try.
            tracing::warn!(
                message,
                "the server did not move the ref just now, or had done so at an earlier try of the same push; reading it again tells"
            );
            PushOutcome::Ambiguous
        }
        RefOutcome::Ambiguous { why } => {
            tracing::warn!(why, "a push got no clear answer");
            PushOutcome::Ambiguous
        }
    }
}
