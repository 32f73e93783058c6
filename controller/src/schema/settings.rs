//! The operator's settings, as they are written.

use schemars::JsonSchema;

/// The settings of one controller. Files are relative to the settings file.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The folder for the cache; it may be deleted at any time.
    #[schemars(extend("default" = "/var/lib/tidegate"))]
    pub data_dir: Option<String>,
    /// How often a remote is looked at.
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h))+$"), extend("default" = "30s"))]
    pub poll: Option<String>,
    /// How long a log must not move before another controller's work is taken over.
    #[schemars(regex(pattern = r"^(0|([0-9]+(ms|s|m|h))+)$"), extend("default" = "15s"))]
    pub takeover_after: Option<String>,
    /// What may be reached beside public and private addresses: by gates, by alerts, and where a Secret names a cluster.
    pub egress: Option<Egress>,
    /// The fleets.
    #[schemars(length(min = 1))]
    pub fleets: Vec<Fleet>,
}

/// What may be reached beside public and private addresses: by gates, by alerts, and where a Secret names a cluster.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Egress {
    /// This machine.
    #[schemars(extend("default" = false))]
    pub loopback: Option<bool>,
    /// The link, with the clouds' metadata services.
    #[schemars(extend("default" = false))]
    pub link_local: Option<bool>,
}

/// One fleet: where its config is and how it is reached.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fleet {
    /// The fleet's name, which `tidegate.yaml` must have too.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// The repo: https, http, ssh, file, or a path.
    pub repo: String,
    /// The config branch; by default the remote's `HEAD`.
    pub branch: Option<String>,
    /// The fleet's folder; empty is the root.
    #[schemars(extend("default" = ""))]
    pub path: Option<String>,
    /// What the fleet's refs begin with.
    #[schemars(extend("default" = "tidegate"))]
    pub prefix: Option<String>,
    /// How the controller shows who it is: `passwordFile` (with `usernameFile`), or `sshKeyFile` with `knownHostsFile`.
    pub credentials: Option<Credentials>,
    /// Who the controller's commits are by.
    pub author: Option<Author>,
    /// Whose requests count.
    pub requests: Option<Requests>,
    /// Hosts that gates reach by name, with credentials.
    pub endpoints: Option<Vec<Endpoint>>,
    /// How a region's cluster is reached, by its name; the first place that knows it is taken.
    pub clusters: Option<Vec<ClusterSource>>,
    /// The Argo CDs that apply the branches.
    pub argocd: Option<Vec<Argocd>>,
    /// Where commit statuses and pull requests go.
    pub forge: Option<Forge>,
    /// Where alerts go.
    pub alerts: Option<Vec<Alert>>,
}

/// How the controller shows who it is.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// The file with the user name.
    pub username_file: Option<String>,
    /// The file with the password or token.
    pub password_file: Option<String>,
    /// The file with the private key.
    pub ssh_key_file: Option<String>,
    /// The file with the keys of the hosts.
    pub known_hosts_file: Option<String>,
}

/// Who the controller's commits are by.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Author {
    /// The name.
    #[schemars(extend("default" = "Tidegate"))]
    pub name: Option<String>,
    /// The address.
    #[schemars(extend("default" = "tidegate@localhost"))]
    pub email: Option<String>,
}

/// Whose requests count.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requests {
    /// The file with the keys that may sign requests, in the form of `ssh-keygen`.
    pub allowed_signers: Option<String>,
    /// What happens to a request that is not signed by one of them.
    #[schemars(extend("default" = "accept"))]
    pub unsigned: Option<Unsigned>,
}

/// What happens to an unsigned request.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field says what they are")]
pub enum Unsigned {
    Accept,
    Refuse,
}

/// A host that gates reach by name.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// The name by which gates know it.
    pub name: String,
    /// Where it is; what gates say is relative to it.
    pub url: String,
    /// The file with the only certificates that may vouch for it; else the system's.
    pub ca_file: Option<String>,
    /// The file with a token that is sent along.
    pub token_file: Option<String>,
    /// The file with our certificate.
    pub client_cert_file: Option<String>,
    /// The file with its key.
    pub client_key_file: Option<String>,
}

/// One place to look a cluster up in.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub enum ClusterSource {
    /// A folder with a kubeconfig for each cluster, called as the cluster, or that and `.yaml`, `.yml` or `.kubeconfig`.
    Kubeconfigs(String),
    /// A kubeconfig with a context for each cluster, called as the cluster.
    Kubeconfig(String),
    /// The cluster in which the controller runs, which goes by this name.
    InCluster(String),
    /// Secrets that hold kubeconfigs, as Cluster API and k0rdent write them.
    Secrets(KubeconfigSecrets),
    /// The Secrets by which an Argo CD knows its clusters.
    ArgocdSecrets(ArgocdSecrets),
}

/// Secrets that hold kubeconfigs.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeconfigSecrets {
    /// The cluster that has them; another place of the list leads to it.
    pub cluster: String,
    /// Their namespace.
    pub namespace: String,
    /// The name of each, with `{cluster}` for the cluster's name.
    #[schemars(extend("default" = "{cluster}-kubeconfig"))]
    pub name: Option<String>,
    /// The key of the kubeconfig.
    #[schemars(extend("default" = "value"))]
    pub key: Option<String>,
}

/// The Secrets by which an Argo CD knows its clusters.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgocdSecrets {
    /// The cluster that has them; another place of the list leads to it.
    pub cluster: String,
    /// Their namespace.
    #[schemars(extend("default" = "argocd"))]
    pub namespace: Option<String>,
}

/// One Argo CD: exactly one of `cluster` and `server`.
#[derive(Debug, JsonSchema)]
#[schemars(
    rename = "ArgocdInstance",
    rename_all = "camelCase",
    deny_unknown_fields,
    extend("oneOf" = [{ "required": ["cluster"] }, { "required": ["server"] }])
)]
pub struct Argocd {
    /// The name by which gates know it.
    #[schemars(extend("default" = "argocd"))]
    pub name: Option<String>,
    /// The cluster in which it runs, through whose API it is asked.
    pub cluster: Option<String>,
    /// Its own API, through which it is asked where there is no access to its cluster.
    pub server: Option<ArgocdServer>,
    /// The namespace of its Applications.
    #[schemars(extend("default" = "argocd"))]
    pub namespace: Option<String>,
    /// Other URLs under which its Applications know the rendered repo.
    pub repo_urls: Option<Vec<String>>,
    /// Whether syncs may be started where an Application does not sync by itself.
    #[schemars(extend("default" = false))]
    pub sync: Option<bool>,
}

/// The API of an Argo CD.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgocdServer {
    /// Where it is, with the path that it was told by `--rootpath`, if any.
    pub url: String,
    /// The file with the token of an account of it.
    pub token_file: String,
    /// The file with the only certificates that may vouch for it; else the system's.
    pub ca_file: Option<String>,
}

/// Where commit statuses and pull requests go.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forge {
    /// Which forge it is.
    pub kind: ForgeKind,
    /// The root of its API.
    pub api: String,
    /// The repo's name there.
    pub repository: String,
    /// The file with the token.
    pub token_file: Option<String>,
    /// The file with the only certificates that may vouch for it; else the system's.
    pub ca_file: Option<String>,
}

/// A forge that is known.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "these are names of products")]
pub enum ForgeKind {
    Github,
    Gitlab,
    Gitea,
    AzureDevOps,
    Bitbucket,
}

/// Where alerts go, and which.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alert {
    /// The name of it.
    pub name: String,
    /// A channel of Slack.
    pub slack: Option<Slack>,
    /// Any receiver.
    pub webhook: Option<Webhook>,
    /// What is told; by default all but `opened` and `succeeded`.
    pub on: Option<Vec<AlertKind>>,
}

/// A channel of Slack.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slack {
    /// The file with the webhook's URL, which is a secret.
    pub webhook_url_file: String,
}

/// Any receiver of alerts.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Webhook {
    /// Where it is.
    pub url: String,
    /// The file with the key that signs what is sent.
    pub secret_file: Option<String>,
}

/// Something that is told.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(missing_docs, reason = "these are the words of the rollout's states")]
pub enum AlertKind {
    Opened,
    Succeeded,
    Held,
    Failed,
    Reverted,
    RevertIncomplete,
    Drift,
    Stalled,
}
