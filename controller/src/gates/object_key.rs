//! What names an object in a cluster.

use std::fmt;

use serde_json::Value;
use tidegate_renderer::manifest::ObjectId;

use super::shown::word;

/// What names one object in one cluster, whatever version of its API it is written in. Unlike a manifest's own
/// [`ObjectId`] it may come from a cluster, and is shown as people say it: `Deployment shop/web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectKey {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The namespace; none for cluster-wide objects, and for manifests that name none.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// What names an object as it is written; nothing if it has no kind or no name.
    pub(super) fn read(object: &Value) -> Option<Self> {
        let text = |pointer: &str| {
            let text = object.pointer(pointer)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        Some(Self {
            group: text("/apiVersion")
                .and_then(|version| Some(version.split_once('/')?.0.to_owned()))
                .unwrap_or_default(),
            kind: text("/kind")?,
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name")?,
        })
    }

    /// Whether it is this kind of this group.
    pub(super) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

impl From<&ObjectId> for ObjectKey {
    fn from(id: &ObjectId) -> Self {
        Self {
            group: id.group.clone(),
            kind: id.kind.clone(),
            namespace: id.namespace.clone(),
            name: id.name.clone(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} ", word(&self.kind))?;
        if let Some(namespace) = self.namespace.as_deref().filter(|name| !name.is_empty()) {
            write!(to, "{}/", word(namespace))?;
        }
        to.write_str(&word(&self.name))
    }
}
