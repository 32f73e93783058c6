//! A config repo, loaded and rendered: what `validate`, `render` and `plan` begin with.

use tidegate_renderer::config::{self, InvalidFleet, LoadedFleet};
use tidegate_renderer::problem::Problem;
use tidegate_renderer::render::{self, Rendered};
use tidegate_renderer::tree::ObjectStore;

use super::config_repo::ConfigRepo;
use super::error::CommandError;
use super::report::Report;
use super::terminal::Terminal;
use crate::render_worker::ChildWorkers;

/// A fleet, and what it means for each region.
pub struct RenderedFleet {
    /// What the documents say.
    pub loaded: LoadedFleet,
    /// What the regions get.
    pub rendered: Rendered,
}

impl RenderedFleet {
    /// Everything that its author should know.
    #[must_use]
    pub fn warnings(&self) -> Vec<Problem> {
        let warnings = self.loaded.warnings.iter().chain(&self.rendered.warnings);
        warnings.cloned().collect()
    }
}

/// Loads and renders a config repo into a store; `Ok(Err(…))` are all problems of one that is invalid.
pub fn try_render(
    repo: &ConfigRepo,
    store: &ObjectStore,
) -> Result<Result<RenderedFleet, Vec<Problem>>, CommandError> {
    let source = repo.source()?;
    let workers = ChildWorkers::new().map_err(|error| {
        CommandError::failed(format!("cannot find this program itself: {error}"))
    })?;
    let loaded = match config::load_readable(&source, repo.folder()) {
        Ok(loaded) => loaded,
        Err(invalid) => {
            let InvalidFleet {
                mut problems,
                readable,
            } = *invalid;
            // One go shows everything: templates too, where the documents are wrong already.
            if let Some(readable) = readable {
                problems.extend(render::problems_of_readable(
                    &readable, &source, &workers, store,
                ));
            }
            return Ok(Err(problems));
        }
    };
    Ok(
        match render::render(&loaded, &source, &workers, store, None) {
            Ok(rendered) => Ok(RenderedFleet { loaded, rendered }),
            Err(mut problems) => {
                problems.extend(loaded.warnings);
                Err(problems)
            }
        },
    )
}

/// Loads and renders a config repo into a store; the problems of an invalid one are shown.
pub fn render(
    repo: &ConfigRepo,
    store: &ObjectStore,
    terminal: &Terminal,
) -> Result<RenderedFleet, CommandError> {
    try_render(repo, store)?.map_err(|problems| {
        let report = Report::new(problems);
        report.show(terminal);
        report.into_error()
    })
}
