//! What it means that no answer came: the region's fault, or nobody's.

use std::error::Error;
use std::io::{self, ErrorKind};

use tidegate_waves::gate::{Reading, Sample};

use super::judge::sample;
use crate::gates::egress::EgressRefused;

/// Reads a failed request. Only what the other side did is bad: a refused or reset connection, or an
/// answer that is no HTTP. What may as well lie in between, or with us, is unreachable.
pub(super) fn classify(error: &reqwest::Error) -> Sample {
    for cause in Causes::of(error) {
        if let Some(refused) = cause.downcast_ref::<EgressRefused>() {
            return sample(Reading::EgressDenied, &refused.to_string());
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return sample(Reading::Unreachable, &format!("TLS: {tls}"));
        }
    }
    if error.is_dns() {
        return sample(Reading::Unreachable, "the name does not resolve");
    }
    if error.is_timeout() {
        return sample(Reading::Unreachable, "the connection timed out");
    }
    // I/O errors wrap each other, and only the innermost ones say what happened.
    for io in Causes::of(error).filter_map(|cause| cause.downcast_ref::<io::Error>()) {
        match io.kind() {
            ErrorKind::ConnectionRefused => return sample(Reading::Bad, "connection refused"),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                return sample(Reading::Bad, "connection reset");
            }
            _ => {}
        }
    }
    let why = root_cause(error);
    if error.is_connect() || error.is_builder() {
        sample(Reading::Unreachable, &format!("cannot connect: {why}"))
    } else {
        sample(Reading::Bad, &format!("no valid HTTP answer: {why}"))
    }
}

/// The innermost cause in words. The outer ones repeat the URL, which may hold what is not for
/// everybody.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    Causes::of(error)
        .last()
        .map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

/// The causes of an error, outermost first, without the error itself.
struct Causes<'a>(Option<&'a (dyn Error + 'static)>);

impl<'a> Causes<'a> {
    fn of(error: &'a reqwest::Error) -> Self {
        Self(error.source())
    }
}

impl<'a> Iterator for Causes<'a> {
    type Item = &'a (dyn Error + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let current = self.0?;
        // The source of an I/O error skips the very error that it wraps.
        self.0 = match current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped),
            None => current.source(),
        };
        Some(current)
    }
}
