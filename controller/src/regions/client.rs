//! Clients of API servers.

use std::time::Duration;

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

use super::ClusterError;

/// How long it may take until a connection stands.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long an API server may be silent in the middle of an answer. Callers wait less; this is for connections that
/// nobody waits for any more.
const SILENT_FOR: Duration = Duration::from_secs(60);

/// What a client is made from.
#[derive(Clone)]
pub(super) enum Credentials {
    /// The service account of the pod in which this runs.
    InCluster,
    /// A context of a kubeconfig; `None` is its current one.
    Kubeconfig {
        /// Where it stands, for messages.
        place: String,
        /// The text it was read from, by which a change is noticed.
        text: String,
        /// The context.
        context: Option<String>,
        /// What it says.
        kubeconfig: Box<Kubeconfig>,
    },
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::InCluster, Self::InCluster) => true,
            (
                Self::Kubeconfig { text, context, .. },
                Self::Kubeconfig {
                    text: other_text,
                    context: other_context,
                    ..
                },
            ) => text == other_text && context == other_context,
            _ => false,
        }
    }
}

/// A client whose calls are not retried behind our back: the next sample is the retry.
pub(super) async fn build(credentials: &Credentials) -> Result<Client, ClusterError> {
    let unusable = |place: &str, message: String| ClusterError::Unusable {
        place: place.to_owned(),
        message,
    };
    let (mut config, place) = match credentials {
        Credentials::InCluster => {
            let place = "the service account of the controller's pod";
            let config = Config::incluster().map_err(|error| unusable(place, error.to_string()))?;
            (config, place)
        }
        Credentials::Kubeconfig {
            place,
            context,
            kubeconfig,
            ..
        } => {
            let options = KubeConfigOptions {
                context: context.clone(),
                ..KubeConfigOptions::default()
            };
            let config = Config::from_custom_kubeconfig(*kubeconfig.clone(), &options)
                .await
                .map_err(|error| unusable(place, error.to_string()))?;
            (config, place.as_str())
        }
    };
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.read_timeout = Some(SILENT_FOR);
    config.write_timeout = Some(SILENT_FOR);
    config.reset_reader_on_write = true;
    config.default_retry = false;
    Client::try_from(config).map_err(|error| unusable(place, error.to_string()))
}
