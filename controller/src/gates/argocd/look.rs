//! One look at a region's Applications, and what is done about what it shows.

use std::sync::Arc;
use std::time::Duration;

use tidegate_waves::fleet::ArgocdCheck;

use super::chosen::Chosen;
use super::instance::{Instance, InstanceError, Listed, Refresh};
use super::judged::find;
use super::region_memory::RegionMemory;
use super::{Action, Application};
use crate::gates::{Target, Watch};

/// One look at a region: what is asked, and what was listed.
pub(super) struct Look {
    pub(super) instance: Arc<Instance>,
    pub(super) check: ArgocdCheck,
    pub(super) target: Target,
    pub(super) watch: Watch,
    pub(super) listed: Arc<Vec<Listed>>,
    pub(super) now: Duration,
}

impl Look {
    /// Whether none of these Applications is wanting.
    pub(super) fn shows_all(&self, chosen: &Chosen) -> bool {
        let mut names = chosen.names.iter();
        chosen.are_own
            && !chosen.names.is_empty()
            && names.all(|name| find(&self.listed, name).is_some())
    }

    /// Reads those of these Applications that are listed, each by itself; tells whether all of them are still there.
    pub(super) async fn read(
        &self,
        names: &[String],
        memory: &mut RegionMemory,
    ) -> Result<bool, InstanceError> {
        let listed: Vec<Application> = names
            .iter()
            .filter_map(|name| memory.read.newest(&self.listed, name))
            .map(|listed| listed.application.clone())
            .collect();
        let current = self.instance.current(&listed).await?;
        let are_all_there = current.len() == listed.len();
        for read in current {
            memory.read.keep(read);
        }
        Ok(are_all_there)
    }

    /// Does what a verdict asks for; what does not work is asked for again by a later one.
    pub(super) async fn act(&self, action: Action, name: &str, memory: &mut RegionMemory) {
        let RegionMemory {
            applications,
            refreshing,
            read,
            ..
        } = memory;
        let (Some(memory), Some(listed)) =
            (applications.get_mut(name), read.newest(&self.listed, name))
        else {
            return;
        };
        let application = &listed.application;
        let done = match action {
            // One that is slow is waited for: others would only be slower.
            Action::Refresh if refreshing.contains_key(name) => return,
            Action::Refresh => match self.instance.refresh(application).await {
                Ok(Refresh::Asked(version)) => {
                    memory.refresh_requested(&version, self.now);
                    Ok(())
                }
                Ok(Refresh::UnderWay(under_way)) => {
                    memory.refresh_under_way(self.now);
                    refreshing.insert(name.to_owned(), under_way);
                    Ok(())
                }
                Err(error) => {
                    if error.is_forbidden() {
                        memory.refresh_refused();
                    }
                    Err(error)
                }
            },
            Action::Terminate => {
                memory.terminate_requested(self.now);
                self.instance.terminate(application).await
            }
            Action::Sync => {
                memory.sync_requested(self.now);
                self.instance.sync(application).await
            }
        };
        let region = &self.target.region;
        match done {
            Ok(()) => {
                tracing::info!(region, application = name, action = ?action, "asked Argo CD");
            }
            Err(error) => {
                tracing::warn!(region, application = name, action = ?action, %error, "Argo CD was not asked");
            }
        }
    }
}
