//! Where a remote repo is, and with which credentials it is reached.
//!
//! A [`RemoteUrl`] is never given to anyone with a password in it: a URL that contains one is refused, and
//! a user name is taken out of the URL and travels apart, because some servers accept a token there.

use std::fmt;
use std::path::{Path, PathBuf};

use super::failure::RemoteError;
use super::ssh::{KEY_FILE_VARIABLE, KNOWN_HOSTS_FILE_VARIABLE, SshAccess, SshError};
use crate::secret::{Secret, SecretSource};

/// How a remote is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTPS.
    Https,
    /// Plain HTTP.
    Http,
    /// A folder of this machine.
    File,
    /// SSH.
    Ssh,
}

impl Transport {
    /// The name under which git knows the protocol.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::File => "file",
            Self::Ssh => "ssh",
        }
    }
}

/// A text that cannot be the address of a repo. Permanent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRemote {
    /// Nothing at all.
    #[error("the repo's address is empty")]
    Empty,
    /// A URL with a password; it is not repeated here, for it would be shown.
    #[error(
        "the repo's URL contains a password: take it out, and give it as TIDEGATE_GIT_USERNAME and \
         TIDEGATE_GIT_PASSWORD (or credentials in the settings)"
    )]
    Password,
    /// A protocol that is not offered.
    #[error(
        "{protocol:?} repos are not supported: use https, http, ssh, file or the path of a folder"
    )]
    Protocol {
        /// The part before `:`.
        protocol: String,
    },
    /// Something in the URL has no place there.
    #[error("the repo's address is malformed: {reason}")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
}

/// The address of a repo, without any secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RemoteUrl {
    address: String,
    user: Option<String>,
    transport: Transport,
}

impl RemoteUrl {
    /// Reads an address: a URL, `user@host:path`, or the path of a folder (relative: to the current one).
    pub fn parse(text: &str) -> Result<Self, InvalidRemote> {
        Self::parse_in(text, Path::new(""))
    }

    /// Reads an address; a relative path is relative to `base`.
    pub fn parse_in(text: &str, base: &Path) -> Result<Self, InvalidRemote> {
        if text.is_empty() {
            return Err(InvalidRemote::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidRemote::Malformed {
                reason: "it contains a line break or another control character",
            });
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Self::from_url(&scheme.to_ascii_lowercase(), rest);
        }
        if let Some((protocol, _)) = text.split_once("::")
            && protocol.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return Err(InvalidRemote::Protocol {
                protocol: protocol.to_owned(),
            });
        }
        let before_slash = text.split('/').next().unwrap_or_default();
        if let Some((host, _)) = before_slash.split_once(':') {
            return Self::from_scp(text, host);
        }
        Self::from_path(&base.join(text))
    }

    fn from_url(scheme: &str, rest: &str) -> Result<Self, InvalidRemote> {
        let (scheme, transport) = match scheme {
            "https" => (scheme, Transport::Https),
            "http" => (scheme, Transport::Http),
            "ssh" | "git+ssh" | "ssh+git" => ("ssh", Transport::Ssh),
            "file" => return Self::from_file_url(rest),
            other => {
                return Err(InvalidRemote::Protocol {
                    protocol: other.chars().take(20).collect(),
                });
            }
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        if userinfo.is_some_and(|userinfo| userinfo.contains(':')) {
            return Err(InvalidRemote::Password);
        }
        if rest.contains(['?', '#']) {
            // A query is where tokens hide, and no git server needs one.
            return Err(InvalidRemote::Malformed {
                reason: "it contains ? or #, which has no place in a repo's URL",
            });
        }
        if rest.contains(char::is_whitespace) {
            return Err(InvalidRemote::Malformed {
                reason: "it contains a blank",
            });
        }
        if host.is_empty() || host.starts_with('-') || path.trim_matches('/').is_empty() {
            return Err(InvalidRemote::Malformed {
                reason: "a host and a path are needed, as in https://host/path",
            });
        }
        let user = match userinfo {
            None | Some("") => None,
            Some(user) => Some(percent_decoded(user).ok_or(InvalidRemote::Malformed {
                reason: "its user name is not properly percent-encoded UTF-8",
            })?),
        };
        // An account of SSH is no secret, and git takes it from the address alone.
        let account = match (transport, userinfo) {
            (Transport::Ssh, Some(userinfo)) if userinfo.starts_with('-') => {
                return Err(InvalidRemote::Malformed {
                    reason: "a user cannot begin with -",
                });
            }
            (Transport::Ssh, Some(userinfo)) if !userinfo.is_empty() => format!("{userinfo}@"),
            _ => String::new(),
        };
        Ok(Self {
            address: format!("{scheme}://{account}{host}/{path}"),
            user,
            transport,
        })
    }

    fn from_file_url(rest: &str) -> Result<Self, InvalidRemote> {
        let malformed = |reason| InvalidRemote::Malformed { reason };
        let path = rest
            .strip_prefix("localhost/")
            .map(|path| format!("/{path}"));
        let path = path.unwrap_or_else(|| rest.to_owned());
        if !path.starts_with('/') {
            return Err(malformed("a file URL has three slashes: file:///path"));
        }
        let path = percent_decoded(&path).ok_or(malformed("it is not percent-encoded UTF-8"))?;
        if path.chars().any(char::is_control) {
            return Err(malformed("it contains a control character"));
        }
        Self::from_path(Path::new(&path))
    }

    fn from_path(path: &Path) -> Result<Self, InvalidRemote> {
        let absolute = std::path::absolute(path).map_err(|_| InvalidRemote::Malformed {
            reason: "the current folder is not known, so a relative path leads nowhere",
        })?;
        let address = absolute.into_os_string().into_string();
        Ok(Self {
            address: address.map_err(|_| InvalidRemote::Malformed {
                reason: "the path is not UTF-8",
            })?,
            user: None,
            transport: Transport::File,
        })
    }

    fn from_scp(text: &str, host: &str) -> Result<Self, InvalidRemote> {
        let (user, host) = match host.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, host),
        };
        let path = text.split_once(':').map_or("", |(_, path)| path);
        if host.is_empty() || path.is_empty() || user == Some("") {
            return Err(InvalidRemote::Malformed {
                reason: "user, host and path are needed, as in git@host:path",
            });
        }
        if text.starts_with('-') || host.starts_with('-') {
            return Err(InvalidRemote::Malformed {
                reason: "a host cannot begin with -",
            });
        }
        Ok(Self {
            address: text.to_owned(),
            user: user.map(str::to_owned),
            transport: Transport::Ssh,
        })
    }

    /// How this remote is reached.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// The address (without user name, unless it is one of SSH): what the git command is given, and what may be shown.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The user name that the URL named.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The folder, where the remote is one on this machine.
    #[must_use]
    pub fn local_folder(&self) -> Option<PathBuf> {
        (self.transport == Transport::File).then(|| PathBuf::from(&self.address))
    }

    /// Scheme, host and port, as the key of settings that must reach this server alone.
    #[must_use]
    pub fn origin(&self) -> Option<String> {
        match self.transport {
            Transport::Https | Transport::Http => {
                let (scheme, rest) = self.address.split_once("://")?;
                let host = rest.split('/').next()?;
                Some(format!("{scheme}://{host}/"))
            }
            Transport::File | Transport::Ssh => None,
        }
    }

    /// The host of an SSH remote, and its port where one is written.
    #[must_use]
    pub fn ssh_host(&self) -> Option<(&str, Option<&str>)> {
        if self.transport != Transport::Ssh {
            return None;
        }
        let without_user = |authority: &'_ str| {
            let at = authority.rfind('@').map_or(0, |at| at + 1);
            at..authority.len()
        };
        match self.address.split_once("://") {
            Some((_, rest)) => {
                let authority = rest.split('/').next()?;
                let authority = authority.get(without_user(authority))?;
                Some(match authority.rsplit_once(':') {
                    Some((host, port)) if !port.contains(']') => (host, Some(port)),
                    _ => (authority, None),
                })
            }
            None => {
                let authority = self.address.split(':').next()?;
                Some((authority.get(without_user(authority))?, None))
            }
        }
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.address)
    }
}

impl std::str::FromStr for RemoteUrl {
    type Err = InvalidRemote;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// A user name and a password (or token). Shown by nothing.
#[derive(Clone)]
pub struct Credentials {
    /// The user name.
    pub username: Secret,
    /// The password or token.
    pub password: Secret,
}

/// How one command shows who we are.
pub enum Access {
    /// Not at all.
    Open,
    /// By user name and password.
    Basic(Credentials),
    /// By an SSH key.
    Ssh(SshAccess),
}

/// Where credentials come from. They are read before every command, so that rotation needs no restart.
#[derive(Debug, Clone, Default)]
pub enum CredentialSource {
    /// The remote needs none.
    #[default]
    None,
    /// A user name (from here, else from the URL, else `git`) and a password.
    Basic {
        /// Where the user name is.
        username: Option<SecretSource>,
        /// Where the password is.
        password: SecretSource,
    },
    /// An SSH key.
    Ssh {
        /// The file with the private key.
        key_file: PathBuf,
        /// The file with the keys of the hosts.
        known_hosts_file: PathBuf,
    },
}

/// The environment variable with the user name.
pub const USERNAME_VARIABLE: &str = "TIDEGATE_GIT_USERNAME";
/// The environment variable with the password or token.
pub const PASSWORD_VARIABLE: &str = "TIDEGATE_GIT_PASSWORD";

impl CredentialSource {
    /// The credentials for a transport that this process's environment names; none where they are not in it.
    #[must_use]
    pub fn from_environment(transport: Transport) -> Self {
        if transport == Transport::Ssh {
            let file = |variable| std::env::var_os(variable).map(PathBuf::from);
            return match (file(KEY_FILE_VARIABLE), file(KNOWN_HOSTS_FILE_VARIABLE)) {
                (Some(key_file), Some(known_hosts_file)) => Self::Ssh {
                    key_file,
                    known_hosts_file,
                },
                _ => Self::None,
            };
        }
        if std::env::var_os(PASSWORD_VARIABLE).is_none() {
            return Self::None;
        }
        Self::Basic {
            username: std::env::var_os(USERNAME_VARIABLE)
                .map(|_| SecretSource::Environment(USERNAME_VARIABLE)),
            password: SecretSource::Environment(PASSWORD_VARIABLE),
        }
    }

    /// The credentials as they are now. A private copy of an SSH key, where one is needed, is made in `folder`.
    pub fn read(&self, remote: &RemoteUrl, folder: &Path) -> Result<Access, RemoteError> {
        match self {
            Self::Ssh {
                key_file,
                known_hosts_file,
            } if remote.transport() == Transport::Ssh => Ok(Access::Ssh(SshAccess::read(
                key_file,
                known_hosts_file,
                folder,
            )?)),
            _ if remote.transport() == Transport::Ssh => Err(SshError::NoKey {
                remote: remote.to_string(),
            }
            .into()),
            Self::None | Self::Ssh { .. } => Ok(Access::Open),
            Self::Basic { username, password } => {
                let username = match username {
                    Some(source) => source.read()?,
                    None => Secret::new(remote.user().unwrap_or("git")),
                };
                Ok(Access::Basic(Credentials {
                    username,
                    password: password.read()?,
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_way_to_name_a_repo_is_understood() {
        for (text, transport, address, user) in [
            (
                "https://example.com/a/b.git",
                Transport::Https,
                "https://example.com/a/b.git",
                None,
            ),
            (
                "HTTPS://example.com/a",
                Transport::Https,
                "https://example.com/a",
                None,
            ),
            (
                "http://127.0.0.1:80/a",
                Transport::Http,
                "http://127.0.0.1:80/a",
                None,
            ),
            (
                "https://jo%40x@example.com/a",
                Transport::Https,
                "https://example.com/a",
                Some("jo@x"),
            ),
            (
                "ssh://git@example.com:22/a",
                Transport::Ssh,
                "ssh://git@example.com:22/a",
                Some("git"),
            ),
            (
                "git@example.com:a/b.git",
                Transport::Ssh,
                "git@example.com:a/b.git",
                Some("git"),
            ),
            (
                "file:///srv/a%20b.git",
                Transport::File,
                "/srv/a b.git",
                None,
            ),
            ("file://localhost/srv/a", Transport::File, "/srv/a", None),
            ("/srv/a.git", Transport::File, "/srv/a.git", None),
        ] {
            let remote = RemoteUrl::parse(text).unwrap();
            assert_eq!(remote.transport(), transport, "{text}");
            assert_eq!(remote.address(), address, "{text}");
            assert_eq!(remote.user(), user, "{text}");
        }
        let relative = RemoteUrl::parse_in("a:b/../c", Path::new("/x"));
        assert_eq!(relative.unwrap().transport(), Transport::Ssh);
        let relative = RemoteUrl::parse_in("./a:b", Path::new("/x")).unwrap();
        assert_eq!(relative.address(), "/x/a:b");
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        for text in [
            "https://user:hunter2@example.com/a",
            "https://:hunter2@example.com/a",
            "https://user:@example.com/a",
            "ssh://git:hunter2@example.com/a",
            "http://a@b:hunter2@example.com/a",
        ] {
            let error = RemoteUrl::parse(text).unwrap_err();
            assert_eq!(error, InvalidRemote::Password, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn what_git_would_take_for_something_else_is_refused() {
        for text in [
            "",
            "ext::sh -c id",
            "git://example.com/a",
            "ftp://example.com/a",
            "https://example.com",
            "https://-oProxyCommand=x/a",
            "https://example.com/a?token=x",
            "https://example.com/a b",
            "https://example.com/a\nb",
            "-oProxyCommand=x:y",
            "ssh://-oProxyCommand=x/a",
            "ssh://-oProxyCommand=x@example.com/a",
            "@host:x",
            "file://example.com/a",
        ] {
            assert!(RemoteUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_origin_is_what_a_header_may_go_to() {
        let remote = RemoteUrl::parse("https://jo@example.com:8443/a/b").unwrap();
        assert_eq!(remote.origin().unwrap(), "https://example.com:8443/");
        assert_eq!(RemoteUrl::parse("/a").unwrap().origin(), None);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_password_is_ever_shown(text in "\\PC{0,40}") {
            let _ = RemoteUrl::parse_in(&text, Path::new("/"));
        }

        #[test]
        fn what_is_given_to_git_never_looks_like_an_option(text in "[-a-z@:/.]{1,12}") {
            if let Ok(remote) = RemoteUrl::parse_in(&text, Path::new("/")) {
                prop_assert!(!remote.address().starts_with('-'));
            }
        }
    }

    #[test]
    fn the_host_of_an_ssh_remote_is_known_in_every_form() {
        for (text, host) in [
            ("git@example.com:a/b.git", Some(("example.com", None))),
            ("example.com:a", Some(("example.com", None))),
            ("ssh://git@example.com/a", Some(("example.com", None))),
            (
                "git+ssh://example.com:2222/a",
                Some(("example.com", Some("2222"))),
            ),
            ("ssh://git@[::1]:22/a", Some(("[::1]", Some("22")))),
            ("ssh://git@[::1]/a", Some(("[::1]", None))),
            ("https://example.com/a", None),
            ("/a", None),
        ] {
            let remote = RemoteUrl::parse(text).unwrap();
            assert_eq!(remote.ssh_host(), host, "{text}");
        }
    }

    #[test]
    fn only_repos_of_this_machine_have_a_folder() {
        for (repo, folder) in [
            ("/srv/git/x.git", Some("/srv/git/x.git")),
            ("../x", Some("/srv/base/../x")),
            ("file:///srv/a%20b", Some("/srv/a b")),
            ("https://git.example.com/x", None),
            ("ssh://git@git.example.com/x", None),
            ("git@git.example.com:x", None),
        ] {
            let remote = RemoteUrl::parse_in(repo, Path::new("/srv/base")).unwrap();
            assert_eq!(remote.local_folder(), folder.map(PathBuf::from), "{repo}");
        }
    }
}
