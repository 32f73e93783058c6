//! Gathers problems over all regions: one that shows in many is told once.

use std::collections::BTreeMap;

use super::outcome::Outcome;
use crate::config::{FileUse, FleetFile};
use crate::manifest::Finding;
use crate::problem::{Problem, Severity};
use crate::worker::TemplateProblem;

/// What tells one problem from another, its region aside.
type Same = (String, u32, u32, Severity, String);

/// Problems over all regions.
pub(super) struct Report {
    regions: usize,
    found: BTreeMap<Same, (Problem, usize)>,
    errors: usize,
}

/// Sorts as everything that reports problems does.
fn sort(problems: &mut [Problem]) {
    problems.sort_by(|left, right| {
        let key = |problem: &Problem| {
            (
                problem.file.clone(),
                problem.line,
                problem.column,
                problem.severity,
                problem.message.clone(),
                problem.region.clone(),
            )
        };
        key(left).cmp(&key(right))
    });
}

impl Report {
    /// A report over so many regions.
    pub(super) fn new(regions: usize) -> Self {
        Self {
            regions,
            found: BTreeMap::new(),
            errors: 0,
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many errors were added so far, repeated ones too.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    pub(super) fn error(&mut self, problem: Problem) {
        self.add(problem);
    }

    /// Adds what another report found, its regions named already.
    pub(super) fn take(&mut self, problems: Vec<Problem>) {
        for problem in problems {
            self.add(problem);
        }
    }

    fn add(&mut self, problem: Problem) {
        if problem.severity == Severity::Error {
            self.errors += 1;
        }
        let key = (
            problem.file.clone(),
            problem.line,
            problem.column,
            problem.severity,
            problem.message.clone(),
        );
        self.found.entry(key).or_insert((problem, 0)).1 += 1;
    }

    /// Adds what is wrong with a template, at its place in the template's text.
    pub(super) fn template(
        &mut self,
        texts: &BTreeMap<String, String>,
        region: Option<&str>,
        found: &TemplateProblem,
    ) {
        let mut problem = Problem::error(&found.file, &found.message).at(found.line, found.column);
        if let Some(text) = texts.get(&found.file) {
            problem = problem.in_text(text, 1);
        }
        if let Some(hint) = &found.hint {
            problem = problem.hint(hint);
        }
        if let Some(region) = region {
            problem = problem.for_region(region);
        }
        self.add(problem);
    }

    /// Adds what is to be said of an output: at its place for a plain file, and with the output's
    /// own line in the message for a template, whose lines are others.
    pub(super) fn outcome(
        &mut self,
        file: &FleetFile,
        text: Option<&String>,
        outcome: &Outcome,
        region: Option<&str>,
    ) {
        let all = outcome
            .errors
            .iter()
            .map(|finding| (Severity::Error, finding))
            .chain(
                outcome
                    .warnings
                    .iter()
                    .map(|finding| (Severity::Warning, finding)),
            );
        for (severity, finding) in all {
            let Finding {
                line,
                column,
                message,
                hint,
            } = finding;
            let mut problem = if file.usage == FileUse::Plain {
                let problem = Problem::error(&file.path, message).at(*line, *column);
                match text {
                    Some(text) if *line > 0 => problem.in_text(text, 1),
                    _ => problem,
                }
            } else {
                let message = if *line > 0 {
                    format!("line {line} of the output: {message}")
                } else {
                    message.clone()
                };
                let mut problem = Problem::error(&file.path, message);
                problem.snippet = crate::text::snippet(&outcome.text, *line, *column, 1);
                problem
            };
            problem.severity = severity;
            if let Some(hint) = hint {
                problem = problem.hint(hint);
            }
            self.add(match region {
                Some(region) => problem.for_region(region),
                None => problem,
            });
        }
    }

    /// Everything, sorted. What shows in every region names none; what shows in several says so.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let regions = self.regions;
        let mut problems: Vec<Problem> = self
            .found
            .into_values()
            .map(|(mut problem, count)| {
                if problem.region.is_some() && count > 1 {
                    if count >= regions {
                        problem.region = None;
                    } else {
                        problem.message = format!("{} (in {count} regions)", problem.message);
                    }
                }
                problem
            })
            .collect();
        sort(&mut problems);
        problems
    }
}
