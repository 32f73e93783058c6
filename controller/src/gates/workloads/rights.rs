//! The rights that the gate needs in a region's cluster.

use std::collections::BTreeSet;

use kube::Client;

use super::resources::Resources;
use crate::gates::trees::RenderedObject;
use crate::regions::request::RequestError;
use crate::regions::rights::Right;

/// What the gate needs to judge a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needed {
    /// The rights.
    pub rights: BTreeSet<Right>,
    /// Kinds that the tree has and the cluster does not know.
    pub unknown: BTreeSet<String>,
}

/// What the gate needs to judge these objects, of which those that name no namespace belong to this one; asks the cluster
/// where its kinds are.
pub async fn needed(
    client: &Client,
    objects: &[RenderedObject],
    namespace: &str,
) -> Result<Needed, RequestError> {
    let mut resources = Resources::default();
    let mut needed = Needed::default();
    for object in objects.iter().filter(|object| !object.place.is_generated) {
        let text = |field: &str| object.manifest.get(field).and_then(|text| text.as_str());
        let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            continue;
        };
        let Some(resource) = resources.find(client, api_version, kind).await? else {
            needed.unknown.insert(format!("{kind} in {api_version}"));
            continue;
        };
        let own = object.place.id.namespace.as_deref().unwrap_or(namespace);
        let place = resource.is_namespaced.then_some(own);
        let mut add = |verb, group: &str, resource: &str| {
            needed
                .rights
                .insert(Right::new(verb, group, resource, place));
        };
        add("get", &resource.group, &resource.plural);
        if !resource.is_secret() {
            add("list", &resource.group, &resource.plural);
        }
        if resource.has_pods() {
            add("list", "", "pods");
            add("list", "apps", "replicasets");
            add("list", "apps", "controllerrevisions");
        }
    }
    Ok(needed)
}
