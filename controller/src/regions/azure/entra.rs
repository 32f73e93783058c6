//! One sign-in, by Azure's own library.

use std::error::Error;
use std::sync::Arc;

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::TokenCredential as _;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_core::time::OffsetDateTime;
use azure_identity::{
    ClientAssertionCredentialOptions, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};

use super::error::SignInError;
use super::transport::EntraTransport;
use super::{Identity, Token};
use crate::secret::{Secret, SecretSource};

/// Exchanges the pod's token for one of Entra ID. It has no deadline of its own.
///
/// The library's credential would keep the pod's token for ten minutes, and ours for as long as it is good. It is made anew
/// each time: what was rotated or refused is in use nowhere.
pub(super) async fn sign_in(
    http: reqwest::Client,
    identity: &Identity,
) -> Result<Token, SignInError> {
    let assertion = SecretSource::File(identity.token_file.clone())
        .read()
        .map_err(|error| SignInError::TokenFile {
            file: identity.token_file.display().to_string(),
            reason: error.reason,
        })?;
    let mut cloud = CustomConfiguration::default();
    cloud.authority_host = identity.authority.to_string();
    let transport = EntraTransport::new(http, identity.clone(), &assertion);
    let client_options = ClientOptions {
        // Whoever asks for a token asks again, and knows until when it is of use.
        retry: RetryOptions::none(),
        transport: Some(Transport::new(Arc::new(transport))),
        cloud: Some(Arc::new(cloud.into())),
        ..ClientOptions::default()
    };
    let credential = WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions { client_options },
        client_id: Some(identity.client.clone()),
        tenant_id: Some(identity.tenant.clone()),
        token_file_path: Some(identity.token_file.clone()),
    }))
    .map_err(|error| cause(&error))?;
    let scope = format!("{}/.default", identity.server);
    let token = credential
        .get_token(&[&scope], None)
        .await
        .map_err(|error| cause(&error))?;
    let lifetime = (token.expires_on - OffsetDateTime::now_utc())
        .try_into()
        .unwrap_or_default();
    Ok(Token::new(Secret::new(token.token.secret()), lifetime))
}

/// What our transport said, which the library wraps. Its own words are not shown: they may quote what it could not read.
fn cause(error: &azure_core::Error) -> SignInError {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<SignInError>() {
            return error.clone();
        }
        source = error.source();
    }
    SignInError::Library(error.kind().to_string())
}
