//! Where an API server keeps the objects of a kind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::Client;
use serde_json::Value;

use crate::regions::request::{self, RequestError};

/// How long what an API server told of a group is taken for so: kinds come with definitions of their own.
const SERVES_FOR: Duration = Duration::from_secs(60);

/// The objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Resource {
    /// The API group; empty for the core group.
    pub(super) group: String,
    /// The version of the group.
    pub(super) version: String,
    /// The kind.
    pub(super) kind: String,
    /// The kind in paths.
    pub(super) plural: String,
    /// Whether its objects are in namespaces.
    pub(super) is_namespaced: bool,
}

impl Resource {
    /// The path of one object, or of the list.
    pub(super) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = root(&self.group, &self.version);
        if let Some(namespace) = namespace.filter(|_| self.is_namespaced) {
            path.push_str("/namespaces/");
            path.push_str(&request::escaped(namespace));
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(&request::escaped(name));
        }
        path
    }

    /// Whether its objects have pods that are looked at as well.
    pub(super) fn has_pods(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "Deployment" | "StatefulSet" | "DaemonSet" | "Job"
        )
    }

    /// Whether its objects are read one by one, and never all of a namespace.
    pub(super) fn is_secret(&self) -> bool {
        self.kind == "Secret" && self.group.is_empty()
    }

    /// As objects write it.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("/api/{}", request::escaped(version))
    } else {
        format!(
            "/apis/{}/{}",
            request::escaped(group),
            request::escaped(version)
        )
    }
}

/// What one API server told of its kinds.
#[derive(Debug, Default)]
pub(super) struct Resources {
    groups: BTreeMap<String, (Instant, Vec<Resource>)>,
}

impl Resources {
    /// The objects of a kind; `None` if the API server has no such kind.
    pub(super) async fn find(
        &mut self,
        client: &Client,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Resource>, RequestError> {
        let is_recent = |asked: &Instant| asked.elapsed() < SERVES_FOR;
        if self
            .groups
            .get(api_version)
            .is_none_or(|(asked, _)| !is_recent(asked))
        {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let told = request::get(client, &root(group, version)).await?;
            let resources = told
                .map(|told| read(&told, group, version))
                .unwrap_or_default();
            self.groups
                .insert(api_version.to_owned(), (Instant::now(), resources));
        }
        Ok(self.groups.get(api_version).and_then(|(_, resources)| {
            resources
                .iter()
                .find(|resource| resource.kind == kind)
                .cloned()
        }))
    }
}

/// Reads an `APIResourceList`; what has a slash in its name is a part of objects.
fn read(told: &Value, group: &str, version: &str) -> Vec<Resource> {
    told.get("resources")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|resource| {
            let plural = resource.get("name")?.as_str()?;
            (!plural.contains('/')).then_some(())?;
            Some(Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: resource.get("kind")?.as_str()?.to_owned(),
                plural: plural.to_owned(),
                is_namespaced: resource.get("namespaced")?.as_bool()?,
            })
        })
        .collect()
}
