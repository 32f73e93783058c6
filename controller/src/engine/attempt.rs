//! One attempt to render a commit: tells what the commit did wrong from what this machine could not do.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tidegate_renderer::worker::{Job, RegionAnswer, TemplateWorker, WorkerError};
use tidegate_waves::oid::Oid;

use super::EngineError;

/// How often workers may break on one commit before that counts as a property of the commit.
const MOST_BREAKS: u32 = 5;

/// A worker that remembers whether it broke.
pub(super) struct Attempt<'a> {
    worker: &'a (dyn TemplateWorker + Send + Sync),
    broken: Mutex<Option<String>>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(worker: &'a (dyn TemplateWorker + Send + Sync)) -> Self {
        Self {
            worker,
            broken: Mutex::new(None),
        }
    }

    /// An error if no worker could do its work; it counts as the commit's own when that happens again and again.
    pub(super) fn judge(
        self,
        source: Oid,
        breaks: &mut BTreeMap<Oid, u32>,
    ) -> Result<(), EngineError> {
        let broken = self
            .broken
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(reason) = broken else {
            breaks.remove(&source);
            return Ok(());
        };
        let count = breaks.entry(source).or_insert(0);
        *count += 1;
        if *count < MOST_BREAKS {
            return Err(EngineError::Worker(reason));
        }
        breaks.remove(&source);
        Ok(())
    }
}

impl TemplateWorker for Attempt<'_> {
    fn run(&self, job: &Job, answer: &(dyn Fn(RegionAnswer) + Sync)) -> Result<(), WorkerError> {
        let result = self.worker.run(job, answer);
        if let Err(error @ WorkerError::Broken { .. }) = &result {
            *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken;

    impl TemplateWorker for Broken {
        fn run(&self, _: &Job, _: &(dyn Fn(RegionAnswer) + Sync)) -> Result<(), WorkerError> {
            Err(WorkerError::Broken {
                reason: "no more processes".to_owned(),
            })
        }
    }

    #[test]
    fn what_this_machine_cannot_do_is_tried_again_before_it_counts_against_the_commit() {
        let source = Oid::from_bytes([1; 20]);
        let mut breaks = BTreeMap::new();
        for count in 1..=MOST_BREAKS {
            let attempt = Attempt::new(&Broken);
            let job = Job {
                templates: Vec::new(),
                expressions: Vec::new(),
                regions: Vec::new(),
            };
            let _ = attempt.run(&job, &|_| {});
            let judged = attempt.judge(source, &mut breaks);
            assert_eq!(judged.is_ok(), count == MOST_BREAKS, "{judged:?}");
        }
        assert!(breaks.is_empty());
    }
}
