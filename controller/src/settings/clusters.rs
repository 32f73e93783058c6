//! How a cluster's name leads to the cluster, and which Argo CDs there are.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tidegate_waves::fleet::is_dns_label;

/// One place to look a cluster up in; the first of a fleet's list that knows the name is taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ClusterSource {
    /// A folder with a kubeconfig for each cluster, called as the cluster, or that and `.yaml`, `.yml` or `.kubeconfig`.
    Kubeconfigs(PathBuf),
    /// A kubeconfig with a context for each cluster, called as the cluster.
    Kubeconfig(PathBuf),
    /// The cluster in which the controller runs, which goes by this name.
    InCluster(String),
    /// Secrets that hold kubeconfigs, as Cluster API and k0rdent write them.
    Secrets(KubeconfigSecrets),
    /// The Secrets by which an Argo CD knows its clusters.
    ArgocdSecrets(ArgocdSecrets),
}

/// Secrets that hold kubeconfigs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeconfigSecrets {
    /// The cluster that has them; another place of the list leads to it.
    pub cluster: String,
    /// Their namespace.
    pub namespace: String,
    /// The name of each, with `{cluster}` for the cluster's name.
    #[serde(default = "default_secret_name")]
    pub name: String,
    /// The key of the kubeconfig.
    #[serde(default = "default_secret_key")]
    pub key: String,
}

/// The Secrets by which an Argo CD knows its clusters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgocdSecrets {
    /// The cluster that has them; another place of the list leads to it.
    pub cluster: String,
    /// Their namespace.
    #[serde(default = "default_argocd_namespace")]
    pub namespace: String,
}

impl fmt::Display for ClusterSource {
    /// Where it looks, for people.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfigs(path) | Self::Kubeconfig(path) => path.display().fmt(to),
            Self::InCluster(name) => write!(to, "the controller's own cluster, {name}"),
            Self::Secrets(secrets) => {
                write!(to, "the Secrets {} of {}", secrets.name, secrets.cluster)
            }
            Self::ArgocdSecrets(secrets) => secrets.fmt(to),
        }
    }
}

impl fmt::Display for ArgocdSecrets {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, namespace } = self;
        write!(
            to,
            "Argo CD's cluster Secrets of {cluster}, namespace {namespace}"
        )
    }
}

/// One Argo CD.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Argocd {
    /// The name by which gates know it.
    #[serde(default = "default_argocd_name")]
    pub name: String,
    /// The cluster in which it runs.
    pub cluster: String,
    /// The namespace of its Applications.
    #[serde(default = "default_argocd_namespace")]
    pub namespace: String,
    /// Other URLs under which its Applications know the rendered repo.
    #[serde(default)]
    pub repo_urls: Vec<String>,
    /// Whether syncs may be started where an Application does not sync by itself.
    #[serde(default)]
    pub sync: bool,
}

fn default_secret_name() -> String {
    "{cluster}-kubeconfig".to_owned()
}

fn default_secret_key() -> String {
    "value".to_owned()
}

fn default_argocd_name() -> String {
    "argocd".to_owned()
}

fn default_argocd_namespace() -> String {
    "argocd".to_owned()
}

pub(super) fn sources<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ClusterSource>, D::Error> {
    let sources = Vec::<ClusterSource>::deserialize(deserializer)?;
    for source in &sources {
        let (namespace, holder) = match source {
            ClusterSource::Secrets(secrets) if !secrets.name.contains("{cluster}") => {
                return Err(D::Error::custom(format!(
                    "the name {:?} of Secrets does not contain {{cluster}}: all clusters would be one",
                    secrets.name
                )));
            }
            ClusterSource::Secrets(secrets) => (&secrets.namespace, &secrets.cluster),
            ClusterSource::ArgocdSecrets(secrets) => (&secrets.namespace, &secrets.cluster),
            _ => continue,
        };
        if !is_dns_label(namespace) {
            return Err(D::Error::custom(format!(
                "{namespace:?} is no name of a namespace; use up to 63 lower-case letters, digits and dashes"
            )));
        }
        if holder.is_empty() {
            return Err(D::Error::custom(
                "`cluster` is empty: write the name of the cluster that has the Secrets",
            ));
        }
    }
    Ok(sources)
}

pub(super) fn argocd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Argocd>, D::Error> {
    let instances = Vec::<Argocd>::deserialize(deserializer)?;
    let mut names = BTreeSet::new();
    for instance in &instances {
        if !names.insert(&instance.name) {
            return Err(D::Error::custom(format!(
                "two Argo CDs are named {:?}; a gate could mean either",
                instance.name
            )));
        }
        if !is_dns_label(&instance.namespace) {
            return Err(D::Error::custom(format!(
                "{:?} is no name of a namespace; use up to 63 lower-case letters, digits and dashes",
                instance.namespace
            )));
        }
    }
    Ok(instances)
}
