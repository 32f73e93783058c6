//! Amounts of regions: a whole number, or a whole percentage.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of regions, absolute or relative to a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Amount {
    /// So many regions.
    Count(u32),
    /// A percentage from 0 to 100.
    Percent(u8),
}

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an amount: write a whole number such as 2, or a whole percentage from 0% to 100%"
)]
pub struct InvalidAmount(pub String);

impl Amount {
    /// How many of `total` regions this is; a percentage rounds down (25 % of 11 is 2).
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => total.saturating_mul(usize::from(percent)) / 100,
        }
    }

    /// As [`Amount::of`], but never less than one: what `maxConcurrent` means.
    #[must_use]
    pub fn at_least_one_of(self, total: usize) -> usize {
        self.of(total).max(1)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidAmount(text.chars().take(64).collect());
        let number = text.strip_suffix('%').unwrap_or(text);
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        if number.len() == text.len() {
            return number.parse().map(Self::Count).map_err(|_| invalid());
        }
        match number.parse::<u8>() {
            Ok(percent) if percent <= 100 => Ok(Self::Percent(percent)),
            _ => Err(invalid()),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Count(u32),
            Text(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Count(count) => Ok(Self::Count(count)),
            Raw::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_down() {
        assert_eq!(Amount::Percent(25).of(11), 2);
        assert_eq!(Amount::Percent(25).of(2), 0);
        assert_eq!(Amount::Percent(25).at_least_one_of(2), 1);
        assert_eq!(Amount::Percent(100).of(7), 7);
        assert_eq!(Amount::Count(0).at_least_one_of(7), 1);
    }

    #[test]
    fn reads_numbers_and_percentages_and_nothing_else() {
        assert_eq!("3".parse(), Ok(Amount::Count(3)));
        assert_eq!("25%".parse(), Ok(Amount::Percent(25)));
        for text in ["", "%", "101%", "-1", "1.5", "2 %", "+3", "4294967296"] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
    }
}
