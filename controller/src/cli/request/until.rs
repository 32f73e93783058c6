//! Until when a hold stands, as people write it.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tidegate_waves::duration;

/// Reads an RFC 3339 time, a date (the end of that day, UTC) or a duration from now.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    read(text, Timestamp::now())
}

fn read(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || format!("{text:?} is no time: write 2h, 2027-01-31 or 2027-01-31T18:00:00Z");
    let until = if let Ok(time) = text.parse::<Timestamp>() {
        time
    } else if let Ok(length) = duration::parse(text) {
        now.checked_add(length).map_err(|_| wrong())?
    } else {
        let date: Date = text.parse().map_err(|_| wrong())?;
        date.at(23, 59, 59, 0)
            .to_zoned(TimeZone::UTC)
            .map_err(|_| wrong())?
            .timestamp()
    };
    // The log knows whole seconds.
    let until = Timestamp::from_second(until.as_second()).map_err(|_| wrong())?;
    if until
        .checked_sub(1.second())
        .is_ok_and(|before| before < now)
    {
        return Err(format!("{until} is over"));
    }
    Ok(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_dates_and_durations_are_read() {
        let now: Timestamp = "2027-01-01T10:00:00.5Z".parse().unwrap();
        for (text, wanted) in [
            ("2h", "2027-01-01T12:00:00Z"),
            ("2027-01-31", "2027-01-31T23:59:59Z"),
            ("2027-01-01", "2027-01-01T23:59:59Z"),
            ("2027-01-31T18:00:00+02:00", "2027-01-31T16:00:00Z"),
        ] {
            assert_eq!(read(text, now).unwrap().to_string(), wanted, "{text}");
        }
        for wrong in [
            "",
            "2",
            "tomorrow",
            "2026-12-31",
            "2027-01-01T10:00:00Z",
            "0s",
        ] {
            assert!(read(wrong, now).is_err(), "{wrong}");
        }
    }
}
