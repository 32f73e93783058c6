//! The end of an exclusion: a day, or a moment.

use jiff::Timestamp;
use jiff::civil::Date;

/// A text that is neither a date nor an RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a date such as 2027-01-31 nor a time such as 2027-01-31T18:00:00Z")]
pub struct InvalidUntil(pub String);

/// The moment at which an exclusion ends, in seconds since 1970-01-01 UTC. A date means the end of
/// that day, UTC.
pub fn end_of(until: &str) -> Result<i64, InvalidUntil> {
    let invalid = || InvalidUntil(until.chars().take(64).collect());
    let shape: String = until
        .chars()
        .map(|character| {
            if character.is_ascii_digit() {
                '0'
            } else {
                character
            }
        })
        .collect();
    if shape == "0000-00-00" {
        return until
            .parse::<Date>()
            .and_then(Date::tomorrow)
            .and_then(|next| format!("{next}T00:00:00Z").parse::<Timestamp>())
            .map(Timestamp::as_second)
            .map_err(|_| invalid());
    }
    // The crate's own reading is wider than RFC 3339: the shape is checked first.
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else {
        return Err(invalid());
    };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches('0');
            if zone.len() == fraction.len() {
                return Err(invalid());
            }
            zone
        }
        None => rest,
    };
    if !matches!(zone, "Z" | "+00:00" | "-00:00") {
        return Err(invalid());
    }
    until
        .parse::<Timestamp>()
        .map(Timestamp::as_second)
        .map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_date_lasts_to_its_end_and_a_time_to_itself() {
        assert_eq!(end_of("1970-01-01"), Ok(86_400));
        assert_eq!(end_of("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(end_of("1970-01-01T02:00:00+02:00"), Ok(0));
        assert_eq!(end_of("1970-01-01T00:00:01.5Z"), Ok(1));
        assert_eq!(end_of("2028-02-29"), Ok(1_835_481_600));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2027-02-29",
            "2027-1-1",
            "2027-13-01",
            "2027-01-31T18:00:00",
            "2027-01-31 18:00:00Z",
            "2027-01-31T18:00Z",
            "2027-01-31T18:00:00.Z",
            "9999-12-31x",
            "2027-01-31T18:00:00Z[UTC]",
            "+2027-01-31",
            "2027-01-31T25:00:00Z",
        ] {
            assert!(end_of(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|\\+[0-9]{2}:[0-9]{2}))?") {
            let _ = end_of(&text);
        }
    }
}
