//! What single settings must be, checked while they are read so that an error has a place.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::de::{Deserialize, Deserializer, Error};
use tidegate_waves::duration;
use tidegate_waves::fleet::is_dns_label;

use super::{Credentials, Endpoint, FleetSettings};
use crate::git::remote::{RemoteUrl, Transport};

/// The shortest time between two looks at a remote.
const SHORTEST_POLL: Duration = Duration::from_millis(100);

/// Reads a text and says what is wrong with it at its place.
fn checked<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    check: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    check(&text).map_err(D::Error::custom)
}

pub(super) fn poll<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    checked(deserializer, |text| {
        let poll = duration::parse(text).map_err(|error| error.to_string())?;
        if poll < SHORTEST_POLL {
            return Err(format!(
                "poll is too short: write at least {}",
                duration::format(SHORTEST_POLL)
            ));
        }
        Ok(poll)
    })
}

pub(super) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| {
        if is_dns_label(text) {
            Ok(Some(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is no fleet's name: write at most 63 of a-z, 0-9 and -, no dash at an end"
            ))
        }
    })
}

pub(super) fn repo<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, valid_repo)
}

pub(super) fn folder<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, valid_folder)
}

pub(super) fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, valid_prefix)
}

pub(super) fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    checked(deserializer, valid_url)
}

/// A URL to which paths are added: what comes behind a path would be dropped without a word.
pub(super) fn base_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    checked(deserializer, |text| {
        let url = valid_url(text)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(
                "a URL here ends with its path: what stands behind `?` or `#` would not be sent; put a token into a file"
                    .to_owned(),
            );
        }
        Ok(url)
    })
}

fn valid_url(text: &str) -> Result<Url, String> {
    // What was written is not repeated: it may hold a password.
    let url = Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("write a URL that begins with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL here holds no user or password; put a token into a file".to_owned());
    }
    Ok(url)
}

/// A repo's address: anything but a URL with a password, or nothing.
pub(super) fn valid_repo(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("the repo's address is empty".to_owned());
    }
    if text.starts_with('-') || text.chars().any(char::is_control) {
        return Err("this is no repo's address".to_owned());
    }
    if Url::parse(text).is_ok_and(|url| url.password().is_some()) {
        return Err(
            "the repo's URL contains a password: take it out, and put it into a file (credentials) or into TIDEGATE_GIT_PASSWORD"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// A folder of the repo, without slashes at its ends.
pub(super) fn valid_folder(text: &str) -> Result<String, String> {
    let folder = text.trim_matches('/');
    let plain = folder.is_empty()
        || folder
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git"));
    if plain && !folder.chars().any(char::is_control) {
        Ok(folder.to_owned())
    } else {
        Err(format!(
            "{text:?} is no folder inside the repo: write it like apps/payments"
        ))
    }
}

/// What refs begin with: parts that git allows in every place of a ref's name.
pub(crate) fn valid_prefix(text: &str) -> Result<String, String> {
    let valid = !text.is_empty()
        && text.len() <= 100
        && text.split('/').all(|part| {
            part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && !part.ends_with('.')
                && !part.contains("..")
                && !part.to_ascii_lowercase().ends_with(".lock")
                && part
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
        })
        && !text.starts_with("refs/");
    if valid {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is no prefix for branches: write letters, digits, - and _, such as tidegate or teams/payments"
        ))
    }
}

/// Whether a repo's address is a path that stands on the folder of the settings.
pub(super) fn is_relative_path(repo: &str) -> bool {
    let scp_like = repo
        .split_once(':')
        .is_some_and(|(host, _)| !host.contains('/'));
    !repo.contains("://") && !scp_like && !repo.starts_with('/')
}

pub(super) fn credentials<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Credentials, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(clippy::struct_field_names, reason = "these are the document's words")]
    struct Fields {
        username_file: Option<PathBuf>,
        password_file: Option<PathBuf>,
        ssh_key_file: Option<PathBuf>,
        known_hosts_file: Option<PathBuf>,
    }
    let fields = Fields::deserialize(deserializer)?;
    match (
        fields.username_file,
        fields.password_file,
        fields.ssh_key_file,
        fields.known_hosts_file,
    ) {
        (username_file, Some(password_file), None, None) => Ok(Credentials::Basic {
            username_file,
            password_file,
        }),
        (None, None, Some(key_file), Some(known_hosts_file)) => Ok(Credentials::Ssh {
            key_file,
            known_hosts_file,
        }),
        _ => Err(D::Error::custom(
            "credentials are either passwordFile (with usernameFile), or sshKeyFile with knownHostsFile",
        )),
    }
}

pub(super) fn endpoints<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Endpoint>, D::Error> {
    let endpoints = Vec::<Endpoint>::deserialize(deserializer)?;
    let mut names = BTreeSet::new();
    for endpoint in &endpoints {
        let name = &endpoint.name;
        if !names.insert(name) {
            return Err(D::Error::custom(format!(
                "two endpoints are named {name:?}; a gate could mean either"
            )));
        }
        if endpoint.client_cert_file.is_some() != endpoint.client_key_file.is_some() {
            return Err(D::Error::custom(format!(
                "the endpoint {name:?} needs both clientCertFile and clientKeyFile, or neither"
            )));
        }
    }
    Ok(endpoints)
}

pub(super) fn fleets<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<FleetSettings>, D::Error> {
    let fleets = Vec::<FleetSettings>::deserialize(deserializer)?;
    if fleets.is_empty() {
        return Err(D::Error::custom(
            "there is no fleet: write at least one with name and repo",
        ));
    }
    let mut names = BTreeSet::new();
    let mut refs = BTreeSet::new();
    for fleet in &fleets {
        let name = fleet.name.as_deref().unwrap_or_default();
        if !names.insert(name) {
            return Err(D::Error::custom(format!("two fleets are named {name:?}")));
        }
        // Two logs on one branch would be one log with two writers that disagree.
        if !refs.insert((&fleet.repo, &fleet.prefix)) {
            return Err(D::Error::custom(format!(
                "the fleet {name:?} shares repo and prefix with another; give one of them its own prefix"
            )));
        }
        let transport = RemoteUrl::parse(&fleet.repo).map(|remote| remote.transport());
        match (transport, &fleet.credentials) {
            (Ok(Transport::Ssh), Credentials::Basic { .. }) => {
                return Err(D::Error::custom(format!(
                    "the fleet {name:?} is reached by ssh, which takes sshKeyFile and knownHostsFile, not a password"
                )));
            }
            (Ok(Transport::Https | Transport::Http), Credentials::Ssh { .. }) => {
                return Err(D::Error::custom(format!(
                    "the fleet {name:?} is reached by https, which takes usernameFile and passwordFile, not an SSH key"
                )));
            }
            _ => {}
        }
        for alert in &fleet.alerts {
            if alert.slack.is_some() == alert.webhook.is_some() {
                return Err(D::Error::custom(format!(
                    "the alert {:?} of the fleet {name:?} needs one of slack and webhook",
                    alert.name
                )));
            }
        }
    }
    Ok(fleets)
}
