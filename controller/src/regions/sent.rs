//! What a request was authorised with, kept beside its answer: servers repeat what they were sent, and nobody may read it there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use kube::client::Body;
use tower::{BoxError, Service, ServiceExt as _};

use crate::secret::Mask;

/// The value of `Authorization` that an answer's request was sent with.
#[derive(Clone)]
struct Sent(HeaderValue);

/// Hides in a text what the request of this answer was authorised with.
pub(super) fn mask<B>(response: &Response<B>) -> Mask {
    let sent = response.extensions().get::<Sent>();
    let value = sent.and_then(|Sent(value)| value.to_str().ok());
    // Behind the word for the kind of credentials.
    let credentials = value.map(|value| value.split_once(' ').map_or(value, |(_, rest)| rest));
    let password = credentials.and_then(password);
    Mask::of(credentials.into_iter().chain(password.as_deref()))
}

/// The password within what `Basic` sends (RFC 7617): base64 of the name, a colon and the password.
fn password(credentials: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
}

/// Sends a request that is authorised already, and puts beside its answer what it was authorised with.
pub(super) async fn send<S, B>(
    connections: S,
    request: Request<Body>,
) -> Result<Response<B>, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    let sent = request.headers().get(AUTHORIZATION).cloned().map(Sent);
    let mut response = connections.oneshot(request).await.map_err(Into::into)?;
    if let Some(sent) = sent {
        response.extensions_mut().insert(sent);
    }
    Ok(response)
}
