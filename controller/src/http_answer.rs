//! Answers over HTTP, as everybody reads them who asks a server: a body up to a limit, how long to leave the server alone, and
//! why there was no answer.

use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is larger than anything that is asked for.
    #[error("the answer is too large")]
    TooLarge,
    /// It ended before it was whole.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
}

/// The body of an answer, of at most so many bytes.
pub(crate) async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, BodyError> {
    let told = response.content_length();
    if told.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > most)) {
        return Err(BodyError::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len().saturating_add(chunk.len()) > most {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// For how long a server wants to be left alone by `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3); a date
/// that is over is no time at all. Whoever asks knows the longest time that makes sense.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// The innermost cause of an error: the outer ones say the same with fewer facts, and repeat the URL.
pub(crate) fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause
}

#[cfg(test)]
mod tests {
    use tidegate_testkit::http::{HttpServer, Response as Answer};

    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_whole() {
        let server = HttpServer::start(|_| Some(Answer::text(200, "four")));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let ask = || client.get(server.url("/")).send();
        assert_eq!(body(ask().await.unwrap(), 4).await.unwrap(), b"four");
        let refused = body(ask().await.unwrap(), 3).await;
        assert!(matches!(refused, Err(BodyError::TooLarge)), "{refused:?}");
    }

    #[test]
    fn a_server_may_say_when_to_come_again_in_two_ways() {
        let now = Timestamp::from_second(1_445_412_450).unwrap();
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(wait(" 7 "), seconds(7));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), seconds(30));
        assert_eq!(wait("Wed, 21 Oct 2015 07:27:00 GMT"), seconds(0));
        assert_eq!(wait("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
