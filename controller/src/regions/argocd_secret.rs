//! The Secrets by which an Argo CD knows its clusters.
//!
//! Their form is Argo CD's own (its manual, *Declarative setup*, *Clusters*): `name`, `server`, and `config` as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Credentials;
use super::kubeconfig;
use crate::git::trailers::one_line;

/// Which Secrets these are.
pub(super) const SELECTOR: &str = "argocd.argoproj.io/secret-type=cluster";

/// The `config` of such a Secret. What is not here (exec plugins, the clouds' own) is refused, not ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClusterConfig {
    username: Option<String>,
    password: Option<String>,
    bearer_token: Option<String>,
    #[serde(default)]
    tls_client_config: TlsConfig,
    #[serde(default, rename = "disableCompression")]
    _disable_compression: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TlsConfig {
    #[serde(default)]
    insecure: bool,
    server_name: Option<String>,
    ca_data: Option<String>,
    cert_data: Option<String>,
    key_data: Option<String>,
}

/// The text at a key of a Secret's data; an error if it is no text.
pub(super) fn data(secret: &Value, key: &str) -> Result<Option<String>, &'static str> {
    let Some(encoded) = secret.pointer("/data").and_then(|data| data.get(key)) else {
        return Ok(None);
    };
    encoded
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(Some)
        .ok_or("it does not hold text")
}

/// The cluster of that name among an Argo CD's Secrets. What is wrong with others does not matter.
pub(super) fn find(secrets: &[Value], cluster: &str) -> Result<Option<Credentials>, String> {
    let is_meant =
        |secret: &&Value| data(secret, "name").ok().flatten().as_deref() == Some(cluster);
    let Some(secret) = secrets.iter().find(is_meant) else {
        return Ok(None);
    };
    let name = secret.pointer("/metadata/name").and_then(Value::as_str);
    // A server that lies may call it anything.
    let name = one_line(name.unwrap_or_default());
    let place = format!("Argo CD's Secret {name} for the cluster {cluster}");
    let text = |key: &str| {
        data(secret, key)
            .map_err(|why| format!("{name}: {key}: {why}"))?
            .ok_or_else(|| format!("{name} has no {key}"))
    };
    let server = text("server")?;
    // The reader's words may quote what it read.
    let config: ClusterConfig = serde_json::from_str(&text("config")?).map_err(|_| {
        format!(
            "{name}: `config` has something that is not read here, such as an exec plugin or a cloud's own sign-in; give the cluster a kubeconfig in the operator's settings"
        )
    })?;
    let tls = config.tls_client_config;
    let mut of_cluster = json!({ "server": server, "insecure-skip-tls-verify": tls.insecure });
    let mut of_user = json!({});
    let set = |place: &mut Value, key: &str, value: Option<String>| {
        if let (Some(map), Some(value)) = (place.as_object_mut(), value) {
            map.insert(key.to_owned(), Value::String(value));
        }
    };
    set(&mut of_cluster, "tls-server-name", tls.server_name);
    if !tls.insecure {
        set(&mut of_cluster, "certificate-authority-data", tls.ca_data);
    }
    set(&mut of_user, "token", config.bearer_token);
    set(
        &mut of_user,
        "username",
        config.username.filter(|name| !name.is_empty()),
    );
    set(
        &mut of_user,
        "password",
        config.password.filter(|word| !word.is_empty()),
    );
    set(&mut of_user, "client-certificate-data", tls.cert_data);
    set(&mut of_user, "client-key-data", tls.key_data);
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "cluster",
        "contexts": [{ "name": "cluster", "context": { "cluster": "cluster", "user": "argocd" } }],
        "clusters": [{ "name": "cluster", "cluster": of_cluster }],
        "users": [{ "name": "argocd", "user": of_user }],
    });
    kubeconfig::of_secret(&kubeconfig.to_string(), &place)
        .map(Some)
        .map_err(|error| error.to_string())
}
