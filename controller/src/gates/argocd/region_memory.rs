//! What is remembered of a region's Applications from one sample to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_waves::oid::Oid;

use super::Memory;
use super::instance::{Listed, Refreshed, Refreshing};
use super::judged::find;
use crate::gates::trees::ObjectPlace;

/// What is remembered of a region's Applications from one sample to the next.
#[derive(Debug, Default)]
pub struct RegionMemory {
    /// By name: those that were judged once are judged until the watch ends, even if they are not found any more.
    pub(super) applications: BTreeMap<String, Memory>,
    /// What was rendered, and for which tree.
    pub(super) rendered: Option<(Oid, Arc<Vec<ObjectPlace>>)>,
    /// By name, the refreshes that Argo CD's own API has not answered yet.
    pub(super) refreshing: BTreeMap<String, Refreshing>,
    /// What was read of single Applications.
    pub(super) read: ReadAlone,
}

impl RegionMemory {
    /// Takes in the refreshes that were answered since the last sample.
    pub(super) fn take_answers(&mut self, region: &str) {
        let (applications, read) = (&mut self.applications, &mut self.read);
        self.refreshing.retain(|name, refreshing| {
            match refreshing.answer() {
                None => return true,
                Some(Ok(Refreshed { before, after })) => {
                    if let Some(memory) = applications.get_mut(name) {
                        memory.refresh_answered(&before.application, &after.application);
                    }
                    read.keep(after);
                }
                Some(Err(error)) => {
                    tracing::warn!(region, application = name, %error, "Argo CD did not answer a refresh");
                }
            }
            false
        });
    }
}

/// Applications that were read by themselves: what is listed behind that may be older.
#[derive(Debug, Default)]
pub(super) struct ReadAlone(BTreeMap<String, Listed>);

impl ReadAlone {
    /// Keeps what was read, unless something newer is kept.
    pub(super) fn keep(&mut self, read: Listed) {
        let name = &read.application.name;
        let kept = self.0.get(name);
        if kept.is_none_or(|kept| !kept.application.is_newer_than(&read.application)) {
            self.0.insert(name.clone(), read);
        }
    }

    /// The newest that is known of an Application, if it is listed.
    pub(super) fn newest<'a>(&'a self, listed: &'a [Listed], name: &str) -> Option<&'a Listed> {
        let listed = find(listed, name)?;
        let read = self.0.get(name);
        let newer = read.filter(|read| read.application.is_newer_than(&listed.application));
        Some(newer.unwrap_or(listed))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Application;
    use super::*;

    fn at(version: &str) -> Listed {
        Listed {
            application: Application {
                name: "shop".to_owned(),
                resource_version: version.to_owned(),
                ..Application::default()
            },
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn nothing_goes_back_to_an_older_version() {
        let mut read = ReadAlone::default();
        assert_eq!(read.newest(&[at("9")], "shop"), Some(&at("9")));
        read.keep(at("10"));
        assert_eq!(read.newest(&[at("9")], "shop"), Some(&at("10")));
        assert_eq!(read.newest(&[at("11")], "shop"), Some(&at("11")));
        read.keep(at("8"));
        assert_eq!(read.newest(&[at("9")], "shop"), Some(&at("10")));
        // What is not listed is gone, or not there yet.
        assert_eq!(read.newest(&[], "shop"), None);
    }
}
