//! The operator's settings: what whoever commits config may not choose.
//!
//! Secrets never stand in them, only the files that hold them.

mod check;
mod clusters;

pub(crate) use check::valid_prefix;
pub use clusters::{
    Argocd, ArgocdSecrets, ArgocdServer, ArgocdWay, ClusterSource, KubeconfigSecrets,
};

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_yaml::DuplicateKeyPolicy;
use sha2::{Digest as _, Sha256};
use tidegate_waves::duration;

use crate::gates::egress::EgressRules;
use crate::git::remote::{CredentialSource, Transport};
use crate::git::trailers::one_line;
use crate::secret::SecretSource;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings {}: {source}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no valid settings document.
    #[error("{}:{line}:{column}: {message}", .file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column, counted from 1.
        column: u64,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// What a command line says of a repo is not usable.
    #[error("{0}")]
    Arguments(String),
}

/// The settings of one controller.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The folder for the cache; it may be deleted at any time.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// How often a remote is looked at.
    #[serde(default = "default_poll", deserialize_with = "check::poll")]
    pub poll: Duration,
    /// How long a log must not move before another controller's work is taken over.
    #[serde(default = "default_takeover_after", with = "duration::text")]
    pub takeover_after: Duration,
    /// What may be reached beside public and private addresses: by gates, by alerts, and where a Secret names a cluster.
    #[serde(default)]
    pub egress: EgressRules,
    /// The fleets.
    #[serde(deserialize_with = "check::fleets")]
    pub fleets: Vec<FleetSettings>,
}

/// One fleet: where its config is and how it is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSettings {
    /// The fleet's name, which `tidegate.yaml` must have too; `None` takes what stands there.
    #[serde(deserialize_with = "check::name")]
    pub name: Option<String>,
    /// The repo: https, http, ssh, file, or a path.
    #[serde(deserialize_with = "check::repo")]
    pub repo: String,
    /// The config branch; `None` is the remote's `HEAD`.
    #[serde(default)]
    pub branch: Option<String>,
    /// The fleet's folder, without slashes at its ends; empty is the root.
    #[serde(default, deserialize_with = "check::folder")]
    pub path: String,
    /// What the fleet's refs begin with.
    #[serde(default = "default_prefix", deserialize_with = "check::prefix")]
    pub prefix: String,
    /// How the controller shows who it is.
    #[serde(default, deserialize_with = "check::credentials")]
    pub credentials: Credentials,
    /// Who the controller's commits are by.
    #[serde(default)]
    pub author: Author,
    /// Whose requests count.
    #[serde(default)]
    pub requests: Requests,
    /// Hosts that gates reach by name, with credentials.
    #[serde(default, deserialize_with = "check::endpoints")]
    pub endpoints: Vec<Endpoint>,
    /// How a region's cluster is reached, by its name.
    #[serde(default, deserialize_with = "clusters::sources")]
    pub clusters: Vec<ClusterSource>,
    /// The Argo CDs that apply the branches.
    #[serde(default, deserialize_with = "clusters::argocd")]
    pub argocd: Vec<Argocd>,
    /// Where commit statuses and pull requests go.
    #[serde(default)]
    pub forge: Option<Forge>,
    /// Where alerts go.
    #[serde(default)]
    pub alerts: Vec<Alert>,
}

/// How the controller shows who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// By what `TIDEGATE_GIT_USERNAME` and `TIDEGATE_GIT_PASSWORD`, or `TIDEGATE_SSH_KEY_FILE` and
    /// `TIDEGATE_SSH_KNOWN_HOSTS_FILE`, hold in the environment, if they do.
    Environment,
    /// By a password or token.
    Basic {
        /// The file with the user name.
        username_file: Option<PathBuf>,
        /// The file with the password or token.
        password_file: PathBuf,
    },
    /// By an SSH key.
    Ssh {
        /// The file with the private key.
        key_file: PathBuf,
        /// The file with the keys of the hosts.
        known_hosts_file: PathBuf,
    },
}

impl Credentials {
    /// Where the git command gets them from, for a remote that is reached so.
    #[must_use]
    pub fn for_git(&self, transport: Transport) -> CredentialSource {
        match self {
            Self::None => CredentialSource::None,
            Self::Environment => CredentialSource::from_environment(transport),
            Self::Basic {
                username_file,
                password_file,
            } => CredentialSource::Basic {
                username: username_file.clone().map(SecretSource::File),
                password: SecretSource::File(password_file.clone()),
            },
            Self::Ssh {
                key_file,
                known_hosts_file,
            } => CredentialSource::Ssh {
                key_file: key_file.clone(),
                known_hosts_file: known_hosts_file.clone(),
            },
        }
    }
}

/// Who the controller's commits are by.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

impl Default for Author {
    fn default() -> Self {
        Self {
            name: "Tidegate".to_owned(),
            email: "tidegate@localhost".to_owned(),
        }
    }
}

/// Whose requests count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Requests {
    /// The file with the keys that may sign requests, in the form of `ssh-keygen`.
    pub allowed_signers: Option<PathBuf>,
    /// What happens to a request that is not signed by one of them.
    pub unsigned: Unsigned,
}

/// What happens to an unsigned request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unsigned {
    /// It counts.
    #[default]
    Accept,
    /// It is refused.
    Refuse,
}

/// A host that gates reach by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// The name by which gates know it.
    pub name: String,
    /// Where it is; what gates say is relative to it.
    #[serde(deserialize_with = "check::base_url")]
    pub url: Url,
    /// The file with the only certificates that may vouch for it; else the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The file with a token that is sent along.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The file with our certificate.
    #[serde(default)]
    pub client_cert_file: Option<PathBuf>,
    /// The file with its key.
    #[serde(default)]
    pub client_key_file: Option<PathBuf>,
}

/// Where commit statuses and pull requests go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forge {
    /// Which forge it is.
    pub kind: ForgeKind,
    /// The root of its API.
    #[serde(deserialize_with = "check::base_url")]
    pub api: Url,
    /// The repo's name there.
    pub repository: String,
    /// The file with the token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The file with the only certificates that may vouch for it; else the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// A forge that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "these are names of products")]
pub enum ForgeKind {
    Github,
    Gitlab,
    Gitea,
    AzureDevOps,
    Bitbucket,
}

/// Where alerts go, and which.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alert {
    /// The name of it.
    pub name: String,
    /// A channel of Slack.
    #[serde(default)]
    pub slack: Option<Slack>,
    /// Any receiver.
    #[serde(default)]
    pub webhook: Option<Webhook>,
    /// What is told.
    #[serde(default = "default_alerts")]
    pub on: Vec<AlertKind>,
}

/// A channel of Slack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slack {
    /// The file with the webhook's URL, which is a secret.
    pub webhook_url_file: PathBuf,
}

/// Any receiver of alerts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Webhook {
    /// Where it is.
    #[serde(deserialize_with = "check::url")]
    pub url: Url,
    /// The file with the key that signs what is sent.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
}

/// Something that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/tidegate")
}

const fn default_poll() -> Duration {
    Duration::from_secs(30)
}

const fn default_takeover_after() -> Duration {
    Duration::from_secs(15)
}

/// What the names of a fleet's branches begin with where nothing else is said.
pub(crate) fn default_prefix() -> String {
    "tidegate".to_owned()
}

fn default_alerts() -> Vec<AlertKind> {
    use AlertKind::{Drift, Failed, Held, RevertIncomplete, Reverted, Stalled};
    vec![Held, Failed, Reverted, RevertIncomplete, Drift, Stalled]
}

/// What `run --repo` says instead of a settings file; empty or `None` is the default.
#[derive(Debug, Clone, Default)]
pub struct RepoRun {
    /// The repo.
    pub repo: String,
    /// The config branch.
    pub branch: Option<String>,
    /// The fleet's folder.
    pub path: Option<String>,
    /// What the fleet's refs begin with.
    pub prefix: Option<String>,
    /// The folder for the cache.
    pub data_dir: Option<PathBuf>,
    /// How often the remote is looked at.
    pub poll: Option<Duration>,
    /// What gates may reach beside public and private addresses.
    pub egress: EgressRules,
}

impl Settings {
    /// Reads a settings file. Files that it names are relative to its folder.
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(file).map_err(|source| SettingsError::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        let mut settings = Self::parse(&text, file)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        settings.resolve(folder);
        Ok(settings)
    }

    /// Settings for one repo, for `run --repo`. `environment` looks up an environment variable: it is
    /// asked for `XDG_STATE_HOME` and `HOME`.
    pub fn for_repo(
        run: RepoRun,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let arguments = |(option, message): (&str, String)| {
            SettingsError::Arguments(format!("{option}: {message}"))
        };
        let repo = check::valid_repo(&run.repo).map_err(|why| arguments(("--repo", why)))?;
        let path = check::valid_folder(run.path.as_deref().unwrap_or_default())
            .map_err(|why| arguments(("--path", why)))?;
        let prefix = match run.prefix {
            Some(prefix) => {
                check::valid_prefix(&prefix).map_err(|why| arguments(("--prefix", why)))?
            }
            None => default_prefix(),
        };
        let data_dir = if let Some(folder) = run.data_dir {
            folder
        } else {
            let state = environment("XDG_STATE_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .or_else(|| environment("HOME").map(|home| Path::new(&home).join(".local/state")))
                .ok_or_else(|| {
                    SettingsError::Arguments(
                        "--data-dir is needed: neither XDG_STATE_HOME nor HOME is set".to_owned(),
                    )
                })?;
            let branch = run.branch.as_deref().unwrap_or_default();
            state
                .join("tidegate")
                .join(folder_name(&repo, branch, &path, &prefix))
        };
        Ok(Self {
            data_dir,
            poll: run.poll.unwrap_or_else(default_poll),
            takeover_after: default_takeover_after(),
            egress: run.egress,
            fleets: vec![FleetSettings {
                name: None,
                repo,
                branch: run.branch,
                path,
                prefix,
                credentials: Credentials::Environment,
                author: Author::default(),
                requests: Requests::default(),
                endpoints: Vec::new(),
                clusters: Vec::new(),
                argocd: Vec::new(),
                forge: None,
                alerts: Vec::new(),
            }],
        })
    }

    pub(crate) fn parse(text: &str, file: &Path) -> Result<Self, SettingsError> {
        let options = serde_yaml::options! {
            duplicate_keys: DuplicateKeyPolicy::Error,
            strict_booleans: true,
            with_snippet: false,
        };
        serde_yaml::from_str_with_options(text, options).map_err(|error| {
            let place = error.location();
            SettingsError::Invalid {
                file: file.to_owned(),
                line: place.map_or(1, |place| place.line()),
                column: place.map_or(1, |place| place.column()),
                message: message_without_place(&error),
            }
        })
    }

    /// Makes every path stand on its own.
    fn resolve(&mut self, folder: &Path) {
        let on = |path: &mut PathBuf| *path = folder.join(&path);
        on(&mut self.data_dir);
        for fleet in &mut self.fleets {
            let mut files: Vec<&mut PathBuf> = Vec::new();
            match &mut fleet.credentials {
                Credentials::None | Credentials::Environment => {}
                Credentials::Basic {
                    username_file,
                    password_file,
                } => {
                    files.extend(username_file.as_mut());
                    files.push(password_file);
                }
                Credentials::Ssh {
                    key_file,
                    known_hosts_file,
                } => files.extend([key_file, known_hosts_file]),
            }
            files.extend(fleet.requests.allowed_signers.as_mut());
            for endpoint in &mut fleet.endpoints {
                files.extend(endpoint.ca_file.as_mut());
                files.extend(endpoint.token_file.as_mut());
                files.extend(endpoint.client_cert_file.as_mut());
                files.extend(endpoint.client_key_file.as_mut());
            }
            for source in &mut fleet.clusters {
                match source {
                    ClusterSource::Kubeconfigs(path) | ClusterSource::Kubeconfig(path) => {
                        files.push(path);
                    }
                    ClusterSource::InCluster(_)
                    | ClusterSource::Secrets(_)
                    | ClusterSource::ArgocdSecrets(_) => {}
                }
            }
            for argocd in &mut fleet.argocd {
                if let ArgocdWay::Server(server) = &mut argocd.way {
                    files.push(&mut server.token_file);
                    files.extend(server.ca_file.as_mut());
                }
            }
            if let Some(forge) = &mut fleet.forge {
                files.extend(forge.token_file.as_mut());
                files.extend(forge.ca_file.as_mut());
            }
            for alert in &mut fleet.alerts {
                files.extend(
                    alert
                        .slack
                        .as_mut()
                        .map(|slack| &mut slack.webhook_url_file),
                );
                files.extend(
                    alert
                        .webhook
                        .as_mut()
                        .and_then(|hook| hook.secret_file.as_mut()),
                );
            }
            files.into_iter().for_each(on);
            if check::is_relative_path(&fleet.repo) {
                fleet.repo = folder.join(&fleet.repo).to_string_lossy().into_owned();
            }
        }
    }
}

/// The name of the data folder of a fleet that has no settings file.
fn folder_name(repo: &str, branch: &str, path: &str, prefix: &str) -> String {
    let mut hash = Sha256::new();
    for part in [repo, branch, path, prefix] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut name = String::new();
    for byte in hash.finalize().iter().take(8) {
        // Writing to a String cannot fail.
        let _ = fmt::Write::write_fmt(&mut name, format_args!("{byte:02x}"));
    }
    name
}

/// The reader's words on one line; the place stands before them already.
fn message_without_place(error: &serde_yaml::Error) -> String {
    let text = error.without_snippet().to_string();
    match text.rfind(" at line ") {
        Some(end) => one_line(text.get(..end).unwrap_or(&text)),
        None => one_line(&text),
    }
}

#[cfg(test)]
mod tests;
