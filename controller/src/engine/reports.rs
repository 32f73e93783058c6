//! What the engine tells those who tell others; it never waits for them.

use std::sync::Arc;

use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{Candidate, CandidateOutcome, ConfigView};
use tracing::info;

use super::ports::Remote;
use super::{Engine, EngineError, Tip};
use crate::reporting::{LogTip, Report, Trouble};

impl<R: Remote> Engine<R> {
    /// The config branch has a head that no report has named yet: said before it is rendered.
    pub(super) fn report_head(&self, tip: &Tip, config: &str) {
        let head = self.view.get(&format!("refs/heads/{config}"));
        self.reports.send_if_modified(|report| {
            let is_new = report.head != head;
            if is_new {
                if let Some(head) = head {
                    info!(commit = %head, "the config branch has a new head");
                }
                *report = Report {
                    tip: Some(log_tip(tip)),
                    head,
                    candidate: None,
                    trouble: None,
                };
            }
            is_new
        });
    }

    /// What stands now that everything has been looked at.
    pub(super) fn report(&self, tip: &Tip, config: &ConfigView) {
        self.reports.send_if_modified(|report| {
            let is_known = report.trouble.is_none()
                && report.head == config.head
                && report.tip.as_ref().map(|tip| tip.commit) == Some(tip.commit)
                && summary(report.candidate.as_deref()) == summary(config.candidate.as_ref());
            if !is_known {
                *report = Report {
                    tip: Some(log_tip(tip)),
                    head: config.head,
                    candidate: config.candidate.clone().map(Arc::new),
                    trouble: None,
                };
            }
            !is_known
        });
    }

    /// There is no log yet: a head that is being rendered, or turned out not to be valid.
    pub(super) fn report_first_head(&self, head: Oid, invalid: Option<String>) {
        let candidate = invalid.map(|message| {
            Arc::new(Candidate {
                source: head,
                settled: None,
                commits: Vec::new(),
                descends: true,
                outcome: CandidateOutcome::Invalid { message },
            })
        });
        self.reports.send_if_modified(|report| {
            let is_known =
                report.head == Some(head) && report.candidate.is_some() == candidate.is_some();
            if !is_known {
                *report = Report {
                    head: Some(head),
                    candidate: candidate.clone(),
                    ..Report::default()
                };
            }
            !is_known
        });
    }

    /// The engine cannot go on for a reason that no entry of the log can tell of.
    pub(super) fn report_trouble(&self, error: &EngineError) {
        let trouble = Trouble {
            log_is_damaged: matches!(error, EngineError::Damaged(_)),
            message: error.to_string(),
        };
        self.reports.send_if_modified(|report| {
            let is_new = report.trouble.as_ref() != Some(&trouble);
            if is_new {
                report.trouble = Some(trouble.clone());
            }
            is_new
        });
    }
}

fn log_tip(tip: &Tip) -> LogTip {
    LogTip {
        commit: tip.commit,
        seconds: tip.seconds,
        state: Arc::clone(&tip.state),
    }
}

/// What makes a candidate another one: what it renders to follows from these.
fn summary(candidate: Option<&Candidate>) -> Option<(Oid, usize, bool)> {
    candidate.map(|candidate| {
        let is_valid = matches!(candidate.outcome, CandidateOutcome::Valid(_));
        (candidate.source, candidate.commits.len(), is_valid)
    })
}
