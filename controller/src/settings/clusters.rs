//! How a cluster's name leads to the cluster, and which Argo CDs there are.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use reqwest::Url;
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
#[serde(try_from = "ArgocdFields")]
pub struct Argocd {
    /// The name by which gates know it.
    pub name: String,
    /// How it is reached.
    pub way: ArgocdWay,
    /// The namespace of its Applications.
    pub namespace: String,
    /// Other URLs under which its Applications know the rendered repo.
    pub repo_urls: Vec<String>,
    /// Whether syncs may be started where an Application does not sync by itself.
    pub sync: bool,
}

/// How an Argo CD is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgocdWay {
    /// Through the API of the cluster in which it runs, which goes by this name.
    Cluster(String),
    /// Through its own API.
    Server(ArgocdServer),
}

/// The API of an Argo CD.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgocdServer {
    /// Where it is, with the path that it was told by `--rootpath`, if any.
    #[serde(deserialize_with = "super::check::base_url")]
    pub url: Url,
    /// The file with the token of an account of it.
    pub token_file: PathBuf,
    /// The file with the only certificates that may vouch for it; else the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// An Argo CD as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArgocdFields {
    #[serde(default = "default_argocd_name")]
    name: String,
    #[serde(default)]
    cluster: Option<String>,
    #[serde(default)]
    server: Option<ArgocdServer>,
    #[serde(default = "default_argocd_namespace")]
    namespace: String,
    #[serde(default)]
    repo_urls: Vec<String>,
    #[serde(default)]
    sync: bool,
}

impl TryFrom<ArgocdFields> for Argocd {
    type Error = String;

    fn try_from(fields: ArgocdFields) -> Result<Self, String> {
        let way = match (fields.cluster, fields.server) {
            (Some(cluster), None) => ArgocdWay::Cluster(cluster),
            (None, Some(server)) => ArgocdWay::Server(server),
            _ => {
                return Err(format!(
                    "the Argo CD {:?} needs one of cluster (the cluster in which it runs) and server (its own API)",
                    fields.name
                ));
            }
        };
        Ok(Self {
            name: fields.name,
            way,
            namespace: fields.namespace,
            repo_urls: fields.repo_urls,
            sync: fields.sync,
        })
    }
}

#[cfg(test)]
impl Argocd {
    /// One that is reached through its own API, for tests.
    pub(crate) fn by_its_api(name: &str, url: &str, token_file: PathBuf) -> Self {
        let server = ArgocdServer {
            url: url.parse().unwrap(),
            token_file,
            ca_file: None,
        };
        Self::by(name, ArgocdWay::Server(server))
    }

    /// One that is reached through the API of the cluster of its name, for tests.
    pub(crate) fn by_its_cluster(name: &str) -> Self {
        Self::by(name, ArgocdWay::Cluster(name.to_owned()))
    }

    fn by(name: &str, way: ArgocdWay) -> Self {
        Self {
            name: name.to_owned(),
            way,
            namespace: default_argocd_namespace(),
            repo_urls: Vec::new(),
            sync: false,
        }
    }
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
