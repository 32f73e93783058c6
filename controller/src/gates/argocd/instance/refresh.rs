//! A refresh that was asked for, and how its answer comes.

use tokio::sync::oneshot;

use super::{InstanceError, Listed};

/// A refresh that was asked for.
#[derive(Debug)]
pub enum Refresh {
    /// The object bears the question, and this version since then: the answer is a later one.
    Asked(String),
    /// Argo CD's own API answers once it is done.
    UnderWay(Refreshing),
}

/// An Application before a refresh, and as it was compared since it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Refreshed {
    /// As it was read just before.
    pub before: Listed,
    /// The answer.
    pub after: Listed,
}

/// A refresh under way. Dropping it ends nothing: Argo CD compares once it was asked.
#[derive(Debug)]
pub struct Refreshing {
    name: String,
    answer: oneshot::Receiver<Result<Refreshed, InstanceError>>,
}

impl Refreshing {
    /// A refresh of the Argo CD of this name, whose answer comes there.
    pub(super) fn new(
        name: &str,
        answer: oneshot::Receiver<Result<Refreshed, InstanceError>>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            answer,
        }
    }

    /// The answer, once, if it has come.
    pub fn answer(&mut self) -> Option<Result<Refreshed, InstanceError>> {
        match self.answer.try_recv() {
            Ok(answer) => Some(answer),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(InstanceError::Silent {
                name: self.name.clone(),
            })),
        }
    }
}
