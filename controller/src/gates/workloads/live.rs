//! What a region's API server has, and which pods run a workload's new revision.

use std::collections::BTreeMap;

use super::line::message;
use super::object::Snapshot;
use super::pods::{Owned, Pod};
use crate::gates::object_key::ObjectKey;

/// What is known of one wanted object.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// The API server has it.
    Found(Box<Snapshot>),
    /// The API server says that it is not there.
    Absent,
    /// It was not asked for, or the API server did not say: why.
    Unread(String),
}

/// What is known of a list.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Listing<T> {
    /// Nobody asked for it.
    #[default]
    NotAsked,
    /// All there is.
    Read(Vec<T>),
    /// The API server did not give all of it: why.
    Failed(String),
}

impl<T> Listing<T> {
    fn items(&self) -> Result<&[T], &str> {
        match self {
            Self::NotAsked => Err("not asked for"),
            Self::Read(items) => Ok(items),
            Self::Failed(why) => Err(why),
        }
    }
}

/// What belongs to the wanted workloads of one namespace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Related {
    /// The pods.
    pub pods: Listing<Pod>,
    /// The `ReplicaSet`s.
    pub replica_sets: Listing<Owned>,
    /// The `ControllerRevision`s.
    pub revisions: Listing<Owned>,
}

/// What a region's API server has, at one look.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Live {
    /// What is known of each wanted object; one that is not here was not asked for.
    pub objects: BTreeMap<ObjectKey, Reading>,
    /// What belongs to workloads, by namespace.
    pub related: BTreeMap<String, Related>,
}

/// The pods that run what a workload's spec says now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fresh<'a> {
    /// Its kind has none, or none are wanted.
    None,
    /// These, by name.
    Pods(Vec<&'a Pod>),
    /// They cannot exist yet: why.
    NotYet(String),
    /// They could not be read: why.
    Unread(String),
}

impl<'a> Fresh<'a> {
    /// The pods, if they could be told.
    pub(super) fn pods(&self) -> &[&'a Pod] {
        match self {
            Self::Pods(pods) => pods,
            _ => &[],
        }
    }
}

impl Live {
    /// What belongs to the workloads of the object's namespace.
    pub(super) fn related_to(&self, snapshot: &Snapshot) -> Option<&Related> {
        self.related.get(snapshot.key.namespace.as_deref()?)
    }

    /// The pods of the new revision of a workload.
    pub(super) fn fresh<'a>(&'a self, snapshot: &'a Snapshot) -> Fresh<'a> {
        const NONE: &Related = &Related {
            pods: Listing::NotAsked,
            replica_sets: Listing::NotAsked,
            revisions: Listing::NotAsked,
        };
        let related = self.related_to(snapshot).unwrap_or(NONE);
        let key = (snapshot.key.group.as_str(), snapshot.key.kind.as_str());
        let found = match key {
            ("", "Pod") => Ok(snapshot.pod.iter().collect()),
            ("apps", "Deployment" | "StatefulSet") if snapshot.facts.replicas == 0 => {
                return Fresh::None;
            }
            ("apps", "Deployment") => of_deployment(snapshot, related),
            ("apps", "StatefulSet") => of_stateful_set(snapshot, related),
            ("apps", "DaemonSet") => of_daemon_set(snapshot, related),
            ("batch", "Job") => belonging(related, &snapshot.uid, |_| true),
            _ => return Fresh::None,
        };
        match found {
            Ok(mut pods) => {
                pods.sort_by(|left, right| (&left.name, &left.uid).cmp(&(&right.name, &right.uid)));
                Fresh::Pods(pods)
            }
            Err(missing) => missing,
        }
    }
}

fn unread<'a>(what: &str) -> impl Fn(&str) -> Fresh<'a> {
    move |why| Fresh::Unread(format!("its {what} could not be read: {}", message(why)))
}

fn belonging<'a>(
    related: &'a Related,
    owner: &str,
    also: impl Fn(&Pod) -> bool,
) -> Result<Vec<&'a Pod>, Fresh<'a>> {
    let pods = related.pods.items().map_err(unread("pods"))?;
    Ok(pods
        .iter()
        .filter(|pod| pod.owners.iter().any(|uid| uid == owner) && also(pod))
        .collect())
}

fn of_deployment<'a>(snapshot: &Snapshot, related: &'a Related) -> Result<Vec<&'a Pod>, Fresh<'a>> {
    let sets = related
        .replica_sets
        .items()
        .map_err(unread("ReplicaSets"))?;
    let revision = snapshot
        .revision
        .ok_or_else(|| Fresh::NotYet("has no revision yet".to_owned()))?;
    let set = sets
        .iter()
        .find(|set| set.revision == Some(revision) && set.owners.contains(&snapshot.uid))
        .ok_or_else(|| {
            Fresh::NotYet(format!(
                "the ReplicaSet of its revision {revision} is not there yet"
            ))
        })?;
    belonging(related, &set.uid, |_| true)
}

fn of_stateful_set<'a>(
    snapshot: &Snapshot,
    related: &'a Related,
) -> Result<Vec<&'a Pod>, Fresh<'a>> {
    let wanted = &snapshot.facts.update_revision;
    if wanted.is_empty() {
        return Err(Fresh::NotYet("has no update revision yet".to_owned()));
    }
    belonging(related, &snapshot.uid, |pod| pod.hash == *wanted)
}

fn of_daemon_set<'a>(snapshot: &Snapshot, related: &'a Related) -> Result<Vec<&'a Pod>, Fresh<'a>> {
    let revisions = related
        .revisions
        .items()
        .map_err(unread("ControllerRevisions"))?;
    let newest = revisions
        .iter()
        .filter(|revision| revision.owners.contains(&snapshot.uid))
        .max_by_key(|revision| revision.revision)
        .ok_or_else(|| Fresh::NotYet("its ControllerRevision is not there yet".to_owned()))?;
    belonging(related, &snapshot.uid, |pod| pod.hash == newest.hash)
}
