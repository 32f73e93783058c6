//! One look at a region's Applications, and what is done about what it shows.

use std::time::Duration;

use tidegate_waves::fleet::ArgocdCheck;

use super::instance::{Instance, InstanceError, Listed, Refresh};
use super::region_memory::RegionMemory;
use super::{Action, Application};
use crate::gates::{Target, Watch};

/// One look at a region: what is asked, and what was listed.
pub(super) struct Look<'a> {
    pub(super) instance: &'a Instance,
    pub(super) check: &'a ArgocdCheck,
    pub(super) target: &'a Target,
    pub(super) watch: &'a Watch,
    pub(super) listed: &'a [Listed],
    pub(super) now: Duration,
}

impl Look<'_> {
    /// Reads these Applications one by one; tells whether one is not any more as it was judged.
    pub(super) async fn read_anew(
        &self,
        names: &[String],
        memory: &mut RegionMemory,
    ) -> Result<bool, InstanceError> {
        let judged: Vec<Application> = names
            .iter()
            .filter_map(|name| memory.read.newest(self.listed, name))
            .map(|listed| listed.application.clone())
            .collect();
        let mut changed = false;
        for read in self.instance.current(&judged).await? {
            changed |= judged.iter().any(|judged| {
                read.application.is_newer_than(judged) && read.application.name == judged.name
            });
            memory.read.keep(read);
        }
        Ok(changed)
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
            (applications.get_mut(name), read.newest(self.listed, name))
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
