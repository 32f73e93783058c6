//! What goes wrong with a sign-in, in words that hold no token.

use std::time::Duration;

use tidegate_waves::duration;

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::regions) enum SignInError {
    /// The webhook did not do its work.
    #[error(
        "{variable} is not set, and the kubeconfig gives no {flag}: does the pod carry the label azure.workload.identity/use, and its service account the annotation azure.workload.identity/client-id?"
    )]
    NotSet {
        variable: &'static str,
        flag: &'static str,
    },
    /// The kubeconfig rules variables out.
    #[error(
        "the kubeconfig gives kubelogin no {flag}, and --disable-environment-override, so that variables do not count"
    )]
    NotGiven { flag: &'static str },
    /// Nothing says what the token is for.
    #[error(
        "the kubeconfig gives kubelogin no --server-id; that of AKS is 6dae42f8-4368-4678-94ff-3960e28e3630"
    )]
    NoServer,
    /// A tenant has another form.
    #[error("{0:?} is no tenant of Entra ID: give its id, or a domain of it")]
    NoTenant(String),
    /// A cloud that nobody knows.
    #[error(
        "{0:?} is no cloud that is known here: --environment is AzurePublicCloud, AzureUSGovernmentCloud or AzureChinaCloud; or set AZURE_AUTHORITY_HOST"
    )]
    NoCloud(String),
    /// No place to sign in at.
    #[error(
        "{0:?} is no place to sign in at: AZURE_AUTHORITY_HOST is a URL that begins with https://"
    )]
    NoAuthority(String),
    /// The pod's own token.
    #[error("the pod's token for Entra ID cannot be read from {file}: {reason}")]
    TokenFile { file: String, reason: String },
    /// Nobody could vouch for Entra ID.
    #[error(
        "no certificates of this system can be read to sign in at Entra ID; install ca-certificates"
    )]
    NoCertificates,
    /// No connection, or it broke.
    #[error("Entra ID ({host}) cannot be reached: {why}")]
    Unreachable { host: String, why: String },
    /// Too slow.
    #[error("Entra ID ({host}) did not answer the sign-in within {}", duration::format(*.within))]
    Late { host: String, within: Duration },
    /// It says no.
    #[error("Entra ID refuses the sign-in of client {client} in tenant {tenant}: {said}")]
    Refused {
        client: String,
        tenant: String,
        said: String,
    },
    /// 429.
    #[error("Entra ID asks for patience (429); it is asked again in {}", duration::format(*.pause))]
    Busy { pause: Duration },
    /// Another status.
    #[error("Entra ID ({host}) answered the sign-in with {code}{}", if .said.is_empty() { String::new() } else { format!(": {said}") })]
    Answered {
        host: String,
        code: u16,
        said: String,
    },
    /// No token is in it.
    #[error("{host} answered the sign-in, but not as Entra ID does: check AZURE_AUTHORITY_HOST")]
    Unreadable { host: String },
    /// The library's own doing.
    #[error("the sign-in at Entra ID failed in its library ({0}); this is a bug")]
    Library(String),
}
