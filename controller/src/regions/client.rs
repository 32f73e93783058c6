//! Clients of API servers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::ConfigExt as _;
use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tower::util::option_layer;
use tower::{Layer as _, service_fn};

use super::ClusterError;
use super::azure::{SignIns, SignedIn};
use super::kubeconfig::narrowed;
use super::named_files::{FileVersion, NamedFiles};
use super::sent;
use crate::blocking::in_turn;
use crate::gates::egress::{CheckedResolver, EgressRules, literal_address};
use crate::git::remote::PASSWORD_VARIABLE;

/// How long it may take until a connection stands.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long an API server may be silent in the middle of an answer. Callers wait less; this is for connections that
/// nobody waits for any more.
const SILENT_FOR: Duration = Duration::from_secs(60);

/// What tells whether a kubeconfig is still the one that was read.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Version {
    /// Of a file.
    File {
        /// Of the file itself.
        kubeconfig: FileVersion,
        /// Of what it names.
        named: NamedFiles,
    },
    /// Of a Secret: all of its text.
    Text(String),
}

/// Where a pod has the authorities of its cluster's API server.
const AUTHORITIES_OF_PODS: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// What a client is made from. Two are equal if nothing of them changed.
#[derive(Clone)]
pub(super) enum Credentials {
    /// The service account of the pod in which this runs, with the authorities that it has.
    InCluster(NamedFiles),
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

impl Credentials {
    /// Those of the pod in which this runs, as they are now.
    pub(super) fn of_pod() -> Self {
        Self::InCluster(NamedFiles::now([Path::new(AUTHORITIES_OF_PODS)]))
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::InCluster(named), Self::InCluster(other)) => named == other,
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
/// Getting it may run a kubeconfig's plugin, which takes as long as it likes: that is done on a thread of its own, and nobody
/// waits for it to have a turn.
///
/// `egress` binds only what a Secret names: files are the operator's.
pub(super) async fn build(
    credentials: &Credentials,
    sign_ins: &Arc<SignIns>,
    egress: EgressRules,
) -> Result<(Client, Option<SignedIn>), ClusterError> {
    let unusable = |place: &str, message: &str| ClusterError::Unusable {
        place: place.to_owned(),
        message: message.to_owned(),
    };
    let mut signed_in = None;
    let mut rules = EgressRules::ANY;
    let (mut config, place) = match credentials {
        Credentials::InCluster(_) => {
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
            match version {
                // Whoever writes a Secret must not have our token sent anywhere.
                Version::File { .. } => {
                    signed_in = sign_ins
                        .replace_plugin(&mut config.auth_info)
                        .await
                        .map_err(|error| unusable(place, &error.to_string()))?;
                }
                Version::Text(_) => {
                    rules = egress;
                    // One that is a name is looked up, and checked, when it is connected to.
                    if let Some(address) = config.cluster_url.host().and_then(literal_address) {
                        rules
                            .check(address)
                            .map_err(|refused| ClusterError::EgressDenied {
                                place: place.clone(),
                                refused,
                            })?;
                    }
                }
            }
            (config, place.as_str())
        }
    };
    // Of the environment, which may hold a password; clusters are reached as they are named.
    config.proxy_url = None;
    keep_our_password(&mut config.auth_info);
    let runs_a_program =
        config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some();
    let client = if runs_a_program {
        let stacked = tokio::task::spawn_blocking(move || stack(config, rules)).await;
        stacked.map_err(|_| unusable(place, "its client could not be made"))?
    } else {
        in_turn(move || stack(config, rules)).await
    };
    match client {
        Ok(client) => Ok((client, signed_in)),
        Err(kube::Error::Auth(_)) => Err(unusable(
            place,
            "the credentials cannot be got: its plugin failed, or its files cannot be read",
        )),
        Err(_) => Err(unusable(place, "its certificates or keys cannot be used")),
    }
}

/// Has a plugin go without the git server's password, if that is in our environment: the rest of it is the plugin's to use.
fn keep_our_password(user: &mut AuthInfo) {
    if let Some(plugin) = &mut user.exec {
        let dropped = plugin.drop_env.get_or_insert_default();
        dropped.push(PASSWORD_VARIABLE.to_owned());
    }
    if let Some(plugin) = &mut user.auth_provider {
        // Names with spaces between them.
        let dropped = plugin.config.entry("cmd-drop-env".to_owned()).or_default();
        *dropped = format!("{dropped} {PASSWORD_VARIABLE}");
    }
}

/// A client of the library's parts, with what was sent for authorisation kept beside every answer.
///
/// The library's own stack has no place for that, and costs half as much memory again, which a thousand clusters make a lot of.
/// It would also run a plugin up to three times to learn what kind of credentials it gives: so the part that makes connections
/// gets no such credentials.
fn stack(config: Config, rules: EgressRules) -> kube::Result<Client> {
    let authorise = config.auth_layer()?;
    let mut connection = config;
    let user = &mut connection.auth_info;
    user.username = None;
    user.password = None;
    user.token = None;
    user.token_file = None;
    user.auth_provider = None;
    user.exec = None;

    if CryptoProvider::get_default().is_none() {
        // Somebody else may have chosen meanwhile, which is as good.
        drop(aws_lc_rs::default_provider().install_default());
    }
    let mut connector = HttpConnector::new_with_resolver(CheckedResolver { rules });
    // The layer around it knows of TLS.
    connector.enforce_http(false);
    let connector = if connection.tls_server_name.is_some() {
        connection.rustls_https_connector_with_connector(connector)?
    } else {
        let mut tls = connection.rustls_client_config()?;
        // A client has one server. Room for the sessions of many would be a third of what it costs.
        tls.resumption = Resumption::in_memory_sessions(1);
        HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector)
    };
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(Some(CONNECT_WITHIN));
    connector.set_read_timeout(Some(SILENT_FOR));
    connector.set_write_timeout(Some(SILENT_FOR));
    connector.set_reset_reader_on_write(true);
    let connections = legacy::Client::builder(TokioExecutor::new()).build(connector);

    let sending = service_fn(move |request| sent::send(connections.clone(), request));
    let sending = connection.extra_headers_layer()?.layer(sending);
    let sending = option_layer(authorise).layer(sending);
    let sending = connection.base_uri_layer().layer(sending);
    Ok(Client::new(sending, connection.default_namespace))
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
