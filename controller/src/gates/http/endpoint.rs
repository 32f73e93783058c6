//! Endpoints that the operator's settings name: gates say which one, and a path on it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderValue;
use reqwest::{Certificate, Client, Identity, Url};
use tidegate_waves::gate::Sample;

use super::{denied, guarded_client, unreachable};
use crate::gates::egress::EgressRules;
use crate::settings::Endpoint;

/// The largest file with a certificate, key or token that is read.
const LARGEST_FILE: u64 = 1024 * 1024;

/// An endpoint and the client that was last made from its files.
#[derive(Debug)]
pub(crate) struct ReadyEndpoint {
    settings: Endpoint,
    client: Mutex<Option<Made>>,
}

/// A client and what it was made from.
#[derive(Clone)]
struct Made {
    files: TlsFiles,
    client: Client,
}

impl std::fmt::Debug for Made {
    /// Without the files: one of them is a private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").finish_non_exhaustive()
    }
}

/// The contents of the files that make up a client.
#[derive(Clone, PartialEq, Eq)]
struct TlsFiles {
    ca: Option<Vec<u8>>,
    /// Certificate chain and key, one behind the other.
    identity: Option<Vec<u8>>,
}

impl ReadyEndpoint {
    /// An endpoint whose files have not been read yet.
    pub(crate) fn new(settings: Endpoint) -> Self {
        Self {
            settings,
            client: Mutex::new(None),
        }
    }

    /// The URL of a path below the endpoint's own. Whatever is written there, the token that goes
    /// with it never leaves the endpoint.
    pub(crate) fn url(&self, relative: &str) -> Result<Url, Sample> {
        let mut base = self.settings.url.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let url = base
            .join(relative.trim_start_matches(['/', '\\']))
            .map_err(|_| unreachable("the gate's url is no relative URL"))?;
        let stays = url.origin() == base.origin()
            && url.username() == base.username()
            && url.password() == base.password()
            && (url.path().starts_with(base.path())
                || url.path() == base.path().trim_end_matches('/'))
            && !has_hidden_dots(url.path());
        if stays {
            Ok(url)
        } else {
            Err(denied(&format!(
                "the gate's url leaves the endpoint {}",
                self.settings.name
            )))
        }
    }

    /// The client, made anew if one of its files changed, and the value of the header `Authorization`.
    pub(super) async fn ready(
        &self,
        rules: EgressRules,
    ) -> Result<(Client, Option<HeaderValue>), Sample> {
        let settings = &self.settings;
        let ca = self.read("caFile", settings.ca_file.as_deref()).await?;
        let certificate = self
            .read("clientCertFile", settings.client_cert_file.as_deref())
            .await?;
        let key = self
            .read("clientKeyFile", settings.client_key_file.as_deref())
            .await?;
        let token = self
            .read("tokenFile", settings.token_file.as_deref())
            .await?;
        let identity = certificate.zip(key).map(|(mut certificate, key)| {
            certificate.push(b'\n');
            certificate.extend_from_slice(&key);
            certificate
        });
        let client = self.client(rules, TlsFiles { ca, identity })?;
        let authorization = token.map(|token| self.authorization(&token)).transpose()?;
        Ok((client, authorization))
    }

    fn client(&self, rules: EgressRules, files: TlsFiles) -> Result<Client, Sample> {
        let mut made = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| made.files == files) {
            return Ok(made.client.clone());
        }
        match build(rules, &files) {
            Ok(client) => {
                *made = Some(Made {
                    files,
                    client: client.clone(),
                });
                Ok(client)
            }
            Err(()) => match made.as_ref() {
                // A file that is just being replaced can be read half-written.
                Some(made) => {
                    tracing::warn!(
                        endpoint = self.settings.name,
                        "the endpoint's new certificates cannot be used, going on with the ones before"
                    );
                    Ok(made.client.clone())
                }
                None => Err(unreachable(&format!(
                    "the certificates or key of the endpoint {} cannot be used",
                    self.settings.name
                ))),
            },
        }
    }

    fn authorization(&self, token: &[u8]) -> Result<HeaderValue, Sample> {
        let mut value = b"Bearer ".to_vec();
        value.extend_from_slice(token.trim_ascii());
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| {
            unreachable(&format!(
                "the tokenFile of the endpoint {} holds no token",
                self.settings.name
            ))
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Reads a file of the endpoint. Evidence is public: it says which setting, not which path.
    async fn read(&self, setting: &str, path: Option<&Path>) -> Result<Option<Vec<u8>>, Sample> {
        let Some(path) = path else { return Ok(None) };
        let read = async {
            if tokio::fs::metadata(path).await?.len() > LARGEST_FILE {
                return Err(std::io::ErrorKind::FileTooLarge.into());
            }
            tokio::fs::read(path).await
        };
        match read.await {
            Ok(contents) => Ok(Some(contents)),
            Err(error) => {
                tracing::warn!(
                    endpoint = self.settings.name, setting, path = %path.display(), %error,
                    "a file of an endpoint cannot be read"
                );
                Err(unreachable(&format!(
                    "the {setting} of the endpoint {} cannot be read",
                    self.settings.name
                )))
            }
        }
    }
}

/// Whether a path holds `..` that a server may find where a URL parser does not.
fn has_hidden_dots(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["..", "%2f", "%5c"].iter().any(|part| path.contains(part))
        && path
            .replace("%2e", ".")
            .replace("%2f", "/")
            .replace("%5c", "/")
            .split('/')
            .any(|part| part == "..")
}

/// The error says nothing: what a parser quotes may be a key.
fn build(rules: EgressRules, files: &TlsFiles) -> Result<Client, ()> {
    let mut builder = guarded_client(rules);
    if let Some(ca) = &files.ca {
        let certificates = Certificate::from_pem_bundle(ca).map_err(drop)?;
        if certificates.is_empty() {
            return Err(());
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let Some(identity) = &files.identity {
        builder = builder.identity(Identity::from_pem(identity).map_err(drop)?);
    }
    builder.build().map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> ReadyEndpoint {
        ReadyEndpoint::new(Endpoint {
            name: "api".to_owned(),
            url: Url::parse(url).unwrap(),
            ca_file: None,
            token_file: None,
            client_cert_file: None,
            client_key_file: None,
        })
    }

    #[test]
    fn paths_stand_below_the_endpoints_own() {
        for (base, relative, expected) in [
            (
                "https://api.example.com",
                "/healthz",
                "https://api.example.com/healthz",
            ),
            (
                "https://api.example.com/v1",
                "healthz?a=b",
                "https://api.example.com/v1/healthz?a=b",
            ),
            (
                "https://api.example.com/v1/",
                "/healthz",
                "https://api.example.com/v1/healthz",
            ),
            (
                "https://api.example.com/v1/",
                "",
                "https://api.example.com/v1/",
            ),
            (
                "https://api.example.com/v1/",
                "//evil.example.com/x",
                "https://api.example.com/v1/evil.example.com/x",
            ),
        ] {
            assert_eq!(endpoint(base).url(relative).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn nothing_leaves_the_endpoint() {
        for relative in [
            "https://evil.example.com/",
            "http://api.example.com/v1/x",
            "https://api.example.com:444/v1/x",
            "https://user@api.example.com/v1/x",
            "../admin",
            "%2e%2e/admin",
            "x/../../admin",
            "..%2fadmin",
            "..%5Cadmin",
            "%2e%2e%2fadmin",
            "file:///etc/passwd",
        ] {
            assert!(
                endpoint("https://api.example.com/v1/")
                    .url(relative)
                    .is_err(),
                "{relative}"
            );
        }
    }
}
