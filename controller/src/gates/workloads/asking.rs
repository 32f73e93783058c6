//! One look at a region's cluster: everything that the rules need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::Client;
use serde_json::Value;

use super::resources::{Resource, Resources};
use super::{Listing, Live, Owned, Pod, Reading, Related, Snapshot, Wanted};
use crate::gates::object_key::ObjectKey;
use crate::gates::trees::RenderedObject;
use crate::regions::request::{self, RequestError};

/// From so many objects of one kind and namespace on, all of them are listed at once.
const LISTED_FROM: usize = 4;

/// One object that was rendered.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) wanted: Wanted,
}

/// What is looked for in a cluster of the objects of a tree.
pub(super) fn rendered(objects: Vec<RenderedObject>) -> Vec<Rendered> {
    let mut all = Vec::new();
    for object in objects {
        // What the server names itself cannot be looked for.
        let Ok(wanted) = Wanted::read(&object.manifest) else {
            continue;
        };
        if object.place.is_generated {
            continue;
        }
        let text = |field: &str| {
            let text = object.manifest.get(field).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        all.push(Rendered {
            api_version: text("apiVersion"),
            kind: text("kind"),
            wanted,
        });
    }
    all
}

/// One look at a cluster.
pub(super) struct Asking<'a> {
    pub(super) client: &'a Client,
    /// Of objects that name none.
    pub(super) namespace: &'a str,
    pub(super) resources: &'a mut Resources,
}

/// What the newest tree wants, what each older one does, and what the cluster has.
pub(super) type Looked = (Vec<Wanted>, Vec<Vec<Wanted>>, Live);

impl Asking<'_> {
    /// Reads everything that the rules need. Only what goes wrong with the whole cluster is an error; what one object or
    /// list lacks is for the rules.
    pub(super) async fn look(
        self,
        newest: &Arc<Vec<Rendered>>,
        older: &[Arc<Vec<Rendered>>],
    ) -> Result<Looked, RequestError> {
        let mut live = Live::default();
        let mut wanted = Vec::new();
        let mut places: BTreeMap<(Resource, Option<String>), BTreeSet<String>> = BTreeMap::new();
        for rendered in newest.iter() {
            let found = self
                .resources
                .find(self.client, &rendered.api_version, &rendered.kind)
                .await;
            let resource = match found {
                Ok(Some(resource)) => resource,
                Ok(None) => {
                    let key = rendered.wanted.key().clone();
                    let why = format!(
                        "the cluster has no kind {} in {}",
                        rendered.kind, rendered.api_version
                    );
                    live.objects.insert(key, Reading::Unread(why));
                    wanted.push(rendered.wanted.clone());
                    continue;
                }
                Err(error) if is_of_all(&error) => return Err(error),
                Err(error) => {
                    let key = rendered.wanted.key().clone();
                    live.objects.insert(key, Reading::Unread(error.to_string()));
                    wanted.push(rendered.wanted.clone());
                    continue;
                }
            };
            let own = self.placed(rendered, &resource);
            let key = own.key().clone();
            let place = (resource, key.namespace.clone());
            places.entry(place).or_default().insert(key.name);
            wanted.push(own);
        }
        let mut before = Vec::new();
        for tree in older {
            let mut of_tree = Vec::new();
            for rendered in tree.iter() {
                let found = self
                    .resources
                    .find(self.client, &rendered.api_version, &rendered.kind)
                    .await;
                let resource = match found {
                    Ok(resource) => resource,
                    Err(error) if is_of_all(&error) => return Err(error),
                    // Only what the newest tree has too is compared: another version of a kind has the same keys.
                    Err(_) => None,
                };
                let group = rendered.wanted.key().group.as_str();
                let resource = resource.or_else(|| {
                    let mut known = places.keys().map(|(resource, _)| resource);
                    known
                        .find(|known| known.group == group && known.kind == rendered.kind)
                        .cloned()
                });
                of_tree.push(match resource {
                    Some(resource) => self.placed(rendered, &resource),
                    None => rendered.wanted.clone(),
                });
            }
            before.push(of_tree);
        }
        // What only an older tree has must be seen, if it is still there.
        let manifests: Vec<&Wanted> = wanted.iter().chain(before.iter().flatten()).collect();
        let mut related = BTreeSet::new();
        for ((resource, namespace), names) in &places {
            self.read_objects(resource, namespace.as_deref(), names, &manifests, &mut live)
                .await?;
            if resource.has_pods()
                && let Some(namespace) = namespace
            {
                related.insert(namespace.clone());
            }
        }
        for namespace in related {
            let found = self.related(&namespace).await?;
            live.related.insert(namespace, found);
        }
        Ok((wanted, before, live))
    }

    fn placed(&self, rendered: &Rendered, resource: &Resource) -> Wanted {
        let wanted = rendered.wanted.clone();
        if resource.is_namespaced {
            wanted.in_namespace(self.namespace)
        } else {
            wanted.without_namespace()
        }
    }

    /// Reads objects of one kind in one namespace.
    async fn read_objects(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        names: &BTreeSet<String>,
        manifests: &[&Wanted],
        live: &mut Live,
    ) -> Result<(), RequestError> {
        let key = |name: &str| ObjectKey {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        };
        let narrowed = |value: &Value| {
            let snapshot = Snapshot::read(value)?;
            let of_it: Vec<&Wanted> = manifests
                .iter()
                .copied()
                .filter(|wanted| wanted.key() == snapshot.key())
                .collect();
            Some(Reading::Found(Box::new(snapshot.narrowed(&of_it))))
        };
        // Other Secrets of a namespace are nobody's business here, and may be large.
        if names.len() < LISTED_FROM || resource.is_secret() {
            for name in names {
                let path = resource.path(namespace, Some(name));
                let reading = match request::get(self.client, &path).await {
                    Ok(Some(value)) => {
                        narrowed(&value).unwrap_or_else(|| Reading::Unread(UNREADABLE.to_owned()))
                    }
                    Ok(None) => Reading::Absent,
                    Err(error) if is_of_all(&error) => return Err(error),
                    Err(error) => Reading::Unread(error.to_string()),
                };
                live.objects.insert(key(name), reading);
            }
            return Ok(());
        }
        let path = resource.path(namespace, None);
        let wanted = |mut value: Value| {
            let name = value
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .filter(|name| names.contains(*name))?
                .to_owned();
            // The items of a list do not name their kind.
            if let Some(object) = value.as_object_mut() {
                object.insert("kind".to_owned(), resource.kind.clone().into());
                object.insert("apiVersion".to_owned(), resource.api_version().into());
            }
            let reading =
                narrowed(&value).unwrap_or_else(|| Reading::Unread(UNREADABLE.to_owned()));
            Some((name, reading))
        };
        match request::list_of(self.client, &path, "", wanted).await {
            Ok(found) => {
                for name in names {
                    live.objects.insert(key(name), Reading::Absent);
                }
                for (name, reading) in found {
                    live.objects.insert(key(&name), reading);
                }
            }
            Err(error) if is_of_all(&error) => return Err(error),
            Err(error) => {
                for name in names {
                    live.objects
                        .insert(key(name), Reading::Unread(error.to_string()));
                }
            }
        }
        Ok(())
    }

    /// What belongs to the workloads of a namespace.
    async fn related(&self, namespace: &str) -> Result<Related, RequestError> {
        let namespace = request::escaped(namespace);
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let sets = format!("/apis/apps/v1/namespaces/{namespace}/replicasets");
        let revisions = format!("/apis/apps/v1/namespaces/{namespace}/controllerrevisions");
        Ok(Related {
            pods: self.listing(&pods, Pod::read).await?,
            replica_sets: self.listing(&sets, Owned::read).await?,
            revisions: self.listing(&revisions, Owned::read).await?,
        })
    }

    async fn listing<T>(
        &self,
        path: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Listing<T>, RequestError> {
        match request::list_of(self.client, path, "", |object| read(&object)).await {
            Ok(read) => Ok(Listing::Read(read)),
            Err(error) if is_of_all(&error) => Err(error),
            Err(error) => Ok(Listing::Failed(error.to_string())),
        }
    }
}

const UNREADABLE: &str = "the answer is no object";

/// Whether an error would come to any question that is asked of this cluster.
fn is_of_all(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::Unauthorized
            | RequestError::TooManyRequests { .. }
            | RequestError::EgressDenied(_)
            | RequestError::Unreachable(_)
    )
}
