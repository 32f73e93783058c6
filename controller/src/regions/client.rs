//! Clients of API servers.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::client::ConfigExt as _;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use tower::Layer as _;

use super::ClusterError;
use super::azure::{SignIns, SignedIn};
use super::kubeconfig::{FileVersion, narrowed};
use super::sent;

/// How long it may take until a connection stands.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long an API server may be silent in the middle of an answer. Callers wait less; this is for connections that
/// nobody waits for any more.
const SILENT_FOR: Duration = Duration::from_secs(60);

/// What tells whether a kubeconfig is still the one that was read.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Version {
    /// Of a file.
    File(FileVersion),
    /// Of a Secret: all of its text.
    Text(String),
}

/// What a client is made from. Two are equal if nothing of them changed.
#[derive(Clone)]
pub(super) enum Credentials {
    /// The service account of the pod in which this runs.
    InCluster,
    /// A context of a kubeconfig; `None` is its current one.
    Kubeconfig {
        /// Where it stands, for messages.
        place: String,
        /// By which a change is noticed.
        version: Version,
        /// The context.
        context: Option<String>,
        /// What it says.
        kubeconfig: Arc<Kubeconfig>,
    },
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::InCluster, Self::InCluster) => true,
            (
                Self::Kubeconfig {
                    place,
                    version,
                    context,
                    kubeconfig: _,
                },
                Self::Kubeconfig {
                    place: other_place,
                    version: other_version,
                    context: other_context,
                    kubeconfig: _,
                },
            ) => (place, version, context) == (other_place, other_version, other_context),
            _ => false,
        }
    }
}

/// A client whose calls are not retried behind our back: the next sample is the retry. If we signed in for it, with what.
///
/// Getting it may run a kubeconfig's plugin, which takes as long as it likes: that is done on a thread of its own.
pub(super) async fn build(
    credentials: &Credentials,
    sign_ins: &Arc<SignIns>,
) -> Result<(Client, Option<SignedIn>), ClusterError> {
    let unusable = |place: &str, message: &str| ClusterError::Unusable {
        place: place.to_owned(),
        message: message.to_owned(),
    };
    let mut signed_in = None;
    let (mut config, place) = match credentials {
        Credentials::InCluster => {
            let place = "the service account of the controller's pod";
            let config = Config::incluster()
                .map_err(|_| unusable(place, "there is none: this does not run in a pod"))?;
            (config, place)
        }
        Credentials::Kubeconfig {
            place,
            version,
            context,
            kubeconfig,
        } => {
            let has_proxy = kubeconfig
                .clusters
                .iter()
                .filter_map(|named| named.cluster.as_ref())
                .any(|cluster| cluster.proxy_url.is_some());
            if has_proxy {
                return Err(unusable(
                    place,
                    "it names a proxy (`proxy-url`), which is not supported",
                ));
            }
            let options = KubeConfigOptions {
                context: context.clone(),
                ..KubeConfigOptions::default()
            };
            let meant = match context {
                Some(context) => narrowed(kubeconfig, context),
                None => Kubeconfig::clone(kubeconfig),
            };
            let mut config = Config::from_custom_kubeconfig(meant, &options)
                .await
                .map_err(|error| unusable(place, in_words(&error)))?;
            // Files are the operator's. Whoever writes a Secret must not have our token sent anywhere.
            if let Version::File(_) = version {
                signed_in = sign_ins
                    .replace_plugin(&mut config.auth_info)
                    .await
                    .map_err(|error| unusable(place, &error.to_string()))?;
            }
            (config, place.as_str())
        }
    };
    // Of the environment, which may hold a password; clusters are reached as they are named.
    config.proxy_url = None;
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.read_timeout = Some(SILENT_FOR);
    config.write_timeout = Some(SILENT_FOR);
    config.reset_reader_on_write = true;
    config.default_retry = false;
    match tokio::task::spawn_blocking(move || stack(config)).await {
        Ok(Ok(client)) => Ok((client, signed_in)),
        Ok(Err(kube::Error::Auth(_))) => Err(unusable(
            place,
            "the credentials cannot be got: its plugin failed, or its files cannot be read",
        )),
        Ok(Err(_)) => Err(unusable(place, "its certificates or keys cannot be used")),
        Err(_) => Err(unusable(place, "its client could not be made")),
    }
}

/// The library's client, with what was sent for authorisation kept beside every answer.
///
/// The library would authorise in its innermost layer and run a plugin up to three times to learn what kind of credentials it
/// gives: so it gets a connection without such credentials, and the layer that adds them is put around it.
fn stack(config: Config) -> kube::Result<Client> {
    let Some(authorise) = config.auth_layer()? else {
        // A client certificate, or nothing: no header that could be repeated.
        return Client::try_from(config);
    };
    let mut connection = config;
    let user = &mut connection.auth_info;
    user.username = None;
    user.password = None;
    user.token = None;
    user.token_file = None;
    user.auth_provider = None;
    user.exec = None;
    let namespace = connection.default_namespace.clone();
    let connection = Client::try_from(connection)?;
    let sending = tower::service_fn(move |request| sent::send(connection.clone(), request));
    Ok(Client::new(authorise.layer(sending), namespace))
}

/// What is wrong with a kubeconfig; the library's own words may quote what it says, or what its plugin was given.
fn in_words(error: &KubeconfigError) -> &'static str {
    match error {
        KubeconfigError::CurrentContextNotSet => "it has no current context",
        KubeconfigError::LoadContext(_) => "it has no such context",
        KubeconfigError::LoadClusterOfContext(_) => {
            "its context names a cluster that it does not have"
        }
        KubeconfigError::MissingClusterUrl => "its cluster has no server",
        _ => "it cannot be used: check its server, certificates and keys",
    }
}
