//! What a kubeconfig's user asks of `kubelogin`, where that is a sign-in by workload identity.
//!
//! Flags, variables and which of them wins are kubelogin's own (its manual, `get-token`): a kubeconfig leads to the same
//! identity, with the plugin and without it.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Parser};
use kube::config::{AuthInfo, ExecConfig};

use super::Identity;
use super::error::SignInError;
use crate::git::trailers::one_line;

/// The plugin's file name.
const PLUGIN: &str = "kubelogin";
/// The one way to sign in that needs no plugin here.
const WORKLOAD_IDENTITY: &str = "workloadidentity";
/// GitHub's runners have these, and kubelogin then takes its token from GitHub.
const GITHUB: [&str; 2] = [
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
];

/// The arguments of `kubelogin get-token` that have a bearing on workload identity, and those that have none. Others are
/// left to the plugin.
#[derive(Parser)]
#[command(
    no_binary_name = true,
    args_override_self = true,
    disable_help_flag = true,
    disable_version_flag = true
)]
struct Arguments {
    #[arg(value_parser = ["get-token"])]
    _command: String,
    #[arg(long, short)]
    login: Option<String>,
    #[arg(long)]
    server_id: Option<String>,
    #[arg(long, short)]
    tenant_id: Option<String>,
    #[arg(long)]
    client_id: Option<String>,
    #[arg(long)]
    federated_token_file: Option<String>,
    #[arg(long)]
    authority_host: Option<String>,
    #[arg(long, short)]
    environment: Option<String>,
    #[command(flatten)]
    switches: Switches,
    // Where the plugin keeps tokens, and how long it waits for the Azure CLI.
    #[arg(long = "token-cache-dir")]
    _token_cache_dir: Option<String>,
    #[arg(long = "cache-dir")]
    _cache_dir: Option<String>,
    #[arg(long = "timeout")]
    _timeout: Option<String>,
}

/// Those that are given as `--switch`, or as `--switch=true`.
#[derive(clap::Args)]
struct Switches {
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, action = ArgAction::Set)]
    disable_environment_override: bool,
    // Both are for other ways to sign in.
    #[arg(long = "legacy", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, action = ArgAction::Set)]
    _legacy: bool,
    #[arg(long = "disable-instance-discovery", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, action = ArgAction::Set)]
    _disable_instance_discovery: bool,
}

/// Whom a user of a kubeconfig signs in; `None` where that is not for us: it has other credentials, or its plugin is
/// another one or asked for something else. `environment` looks up a variable of the process.
pub(super) fn identity(
    user: &AuthInfo,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<Result<Identity, SignInError>> {
    // These win over a plugin.
    let has_other_credentials = user.auth_provider.is_some()
        || user.token.is_some()
        || user.token_file.is_some()
        || (user.username.is_some() && user.password.is_some());
    let exec = user.exec.as_ref().filter(|_| !has_other_credentials)?;
    let command = Path::new(exec.command.as_deref()?);
    if command.file_name()? != PLUGIN {
        return None;
    }
    let arguments = Arguments::try_parse_from(exec.args.as_deref().unwrap_or_default()).ok()?;
    let asked = Asked {
        exec,
        arguments: &arguments,
        environment,
    };
    let login = asked.value("AAD_LOGIN_METHOD", arguments.login.as_ref());
    let is_ours = login.as_deref() == Some(WORKLOAD_IDENTITY)
        && !GITHUB.iter().all(|name| asked.any_variable(name).is_some());
    is_ours.then(|| asked.identity())
}

/// A call of the plugin.
struct Asked<'a> {
    exec: &'a ExecConfig,
    arguments: &'a Arguments,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Asked<'_> {
    /// A variable as the plugin sees it: the kubeconfig's before the process's.
    fn any_variable(&self, name: &str) -> Option<String> {
        let own = self.exec.env.as_deref().unwrap_or_default();
        own.iter()
            .rev()
            .find(|variable| variable.get("name").is_some_and(|found| found == name))
            .and_then(|variable| variable.get("value").cloned())
            .or_else(|| (self.environment)(name))
            .filter(|value| !value.is_empty())
    }

    /// What counts: a variable before an argument, unless the arguments say otherwise.
    fn value(&self, variable: &str, argument: Option<&String>) -> Option<String> {
        let by_variable = if self.arguments.switches.disable_environment_override {
            None
        } else {
            self.any_variable(variable)
        };
        by_variable.or_else(|| argument.filter(|value| !value.is_empty()).cloned())
    }

    fn required(
        &self,
        variable: &'static str,
        flag: &'static str,
        argument: Option<&String>,
    ) -> Result<String, SignInError> {
        self.value(variable, argument).ok_or({
            if self.arguments.switches.disable_environment_override {
                SignInError::NotGiven { flag }
            } else {
                SignInError::NotSet { variable, flag }
            }
        })
    }

    fn identity(&self) -> Result<Identity, SignInError> {
        let Arguments {
            server_id,
            tenant_id,
            client_id,
            federated_token_file,
            ..
        } = self.arguments;
        let server_id = server_id
            .clone()
            .filter(|id| !id.is_empty())
            .ok_or(SignInError::NoServer)?;
        let token_file = self.required(
            "AZURE_FEDERATED_TOKEN_FILE",
            "--federated-token-file",
            federated_token_file.as_ref(),
        )?;
        let client = self.required("AZURE_CLIENT_ID", "--client-id", client_id.as_ref())?;
        let tenant = self.required("AZURE_TENANT_ID", "--tenant-id", tenant_id.as_ref())?;
        // It becomes a part of a path.
        let is_tenant =
            |character: char| character.is_ascii_alphanumeric() || ".-".contains(character);
        if !tenant.chars().all(is_tenant) {
            return Err(SignInError::NoTenant(one_line(&tenant)));
        }
        Ok(Identity {
            authority: self.authority()?,
            tenant,
            client,
            token_file: PathBuf::from(token_file),
            server: server_id,
        })
    }

    /// Where to sign in: as it is said, else the public one of the cloud.
    fn authority(&self) -> Result<reqwest::Url, SignInError> {
        let said = self.value(
            "AZURE_AUTHORITY_HOST",
            self.arguments.authority_host.as_ref(),
        );
        let text = if let Some(said) = &said {
            said.as_str()
        } else {
            let cloud = self.arguments.environment.as_deref().unwrap_or_default();
            match cloud.to_ascii_uppercase().as_str() {
                "" | "AZURECLOUD" | "AZUREPUBLIC" | "AZUREPUBLICCLOUD" => {
                    "https://login.microsoftonline.com"
                }
                "AZUREUSGOVERNMENT" | "AZUREUSGOVERNMENTCLOUD" => {
                    "https://login.microsoftonline.us"
                }
                "AZURECHINACLOUD" => "https://login.chinacloudapi.cn",
                _ => return Err(SignInError::NoCloud(one_line(cloud))),
            }
        };
        // Whoever listens on the way could sign in as we do.
        reqwest::Url::parse(text)
            .ok()
            .filter(|url| url.scheme() == "https" && url.host().is_some())
            .ok_or_else(|| SignInError::NoAuthority(one_line(text)))
    }
}

#[cfg(test)]
mod tests;
