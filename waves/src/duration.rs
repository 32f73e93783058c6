//! Durations as the config writes them: Go's form, `1h30m`, units `ms s m h`, whole numbers.

use std::fmt::Write as _;
use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a duration: {why}; write whole numbers with the units ms, s, m or h, such as 30s, 10m or 1h30m"
)]
pub struct InvalidDuration {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The longest duration that a document may name: ten years. Longer ones are typing errors.
pub const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Reads a duration in Go's form: `1h30m`, `500ms`, `0`.
///
/// Units may appear in any order, but only once each; a bare number other than `0` is refused.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = |why| InvalidDuration {
        text: text.chars().take(64).collect(),
        why,
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(invalid("it is empty"));
    }
    if text.contains(char::is_whitespace) {
        return Err(invalid("it has a blank in it"));
    }
    let mut total: u64 = 0;
    let mut seen: Vec<&str> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err(invalid(if tail.starts_with(['-', '+']) {
                "it has a sign"
            } else {
                "a number is missing"
            }));
        }
        let letters = tail.len()
            - tail
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, tail) = tail.split_at(letters);
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" if tail.starts_with(['.', ',']) => {
                return Err(invalid("it has a fraction"));
            }
            "" => return Err(invalid("a unit is missing")),
            _ => return Err(invalid("the unit is unknown")),
        };
        if seen.contains(&unit) {
            return Err(invalid("a unit stands twice"));
        }
        seen.push(unit);
        let number: u64 = number
            .parse()
            .map_err(|_| invalid("the number is too large"))?;
        total = number
            .checked_mul(milliseconds)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| invalid("it is too long"))?;
        rest = tail;
    }
    let duration = Duration::from_millis(total);
    if duration > LONGEST {
        return Err(invalid("it is longer than ten years"));
    }
    Ok(duration)
}

/// Writes a duration as [`parse`] reads it, without parts that are zero; below a millisecond it is `0s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let mut text = String::new();
    for (count, unit) in [
        (milliseconds / 3_600_000, "h"),
        (milliseconds / 60_000 % 60, "m"),
        (milliseconds / 1_000 % 60, "s"),
        (milliseconds % 1_000, "ms"),
    ] {
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{count}{unit}");
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// Serde support: `#[serde(with = "tidegate_waves::duration::text")]`.
pub mod text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a duration in Go's form.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format(*duration))
    }

    /// Reads a duration in Go's form.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Serde support for optional durations: `#[serde(with = "tidegate_waves::duration::optional_text")]`.
pub mod optional_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a duration in Go's form, or null.
    pub fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_some(&super::format(*duration)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a duration in Go's form, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse(&text).map_err(serde::de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_gos_form() {
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        assert_eq!(parse("90m"), Ok(Duration::from_secs(5400)));
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in [
            "",
            "10",
            "1.5h",
            "-1s",
            "10 m",
            "1d",
            "1m1m",
            "99999999999999999999h",
            "h",
            "1M",
            "１s",
            "9999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_reason_is_the_one_that_counts() {
        for (text, why) in [
            ("1.5m", "it has a fraction"),
            ("1,5m", "it has a fraction"),
            ("5 seconds", "it has a blank in it"),
            (" 5s", "it has a blank in it"),
            ("5s 3ms", "it has a blank in it"),
            ("-1s", "it has a sign"),
            ("10", "a unit is missing"),
            ("h", "a number is missing"),
            ("1d", "the unit is unknown"),
        ] {
            let invalid = parse(text).unwrap_err();
            assert_eq!(invalid.why, why, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(milliseconds in 0_u64..=1_000_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assume!(duration <= LONGEST);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
