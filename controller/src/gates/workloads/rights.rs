//! The rights that the gate needs in a region's cluster.

use std::collections::BTreeSet;

use kube::Client;

use super::resources::Resources;
use crate::gates::trees::RenderedObject;
use crate::regions::request::RequestError;
use crate::regions::rights::Right;

/// What the gate needs in one cluster to judge the trees of its regions.
#[derive(Debug, Default)]
pub struct Needed {
    /// The rights.
    pub rights: BTreeSet<Right>,
    /// Kinds that the trees have and the cluster does not know.
    pub unknown: BTreeSet<String>,
    resources: Resources,
}

impl Needed {
    /// Adds what is needed for these objects, of which those that name no namespace belong to this one; asks the cluster
    /// where its kinds are.
    pub async fn add(
        &mut self,
        client: &Client,
        objects: &[RenderedObject],
        namespace: &str,
    ) -> Result<(), RequestError> {
        for object in objects.iter().filter(|object| !object.place.is_generated) {
            let text = |field: &str| object.manifest.get(field).and_then(|text| text.as_str());
            let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
                continue;
            };
            let Some(resource) = self.resources.find(client, api_version, kind).await? else {
                self.unknown.insert(format!("{kind} in {api_version}"));
                continue;
            };
            let own = object.place.id.namespace.as_deref().unwrap_or(namespace);
            let place = resource.is_namespaced.then_some(own);
            let mut add = |verb, group: &str, resource: &str| {
                self.rights.insert(Right::new(verb, group, resource, place));
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
        Ok(())
    }
}
