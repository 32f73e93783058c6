//! Words of others as people may be shown them: one short, plain line.

use std::time::Duration;

use crate::gates::shown::line;

/// The longest evidence, in characters.
pub(super) const LONGEST_EVIDENCE: usize = 200;
/// The longest that one sentence of the cluster may stand in it, in characters.
const LONGEST_MESSAGE: usize = 110;

/// A sentence of the cluster, which says more than a word and is kept less short.
pub(super) fn message(text: &str) -> String {
    line(text, LONGEST_MESSAGE)
}

/// So many of them, in words.
pub(super) fn counted(count: impl TryInto<u64>, one: &str) -> String {
    match count.try_into() {
        Ok(1) => format!("1 {one}"),
        Ok(count) => format!("{count} {one}s"),
        Err(_) => format!("many {one}s"),
    }
}

/// A duration as people say it.
pub(super) fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..=180 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(span(Duration::from_secs(75)), "75 s");
        assert_eq!(span(Duration::from_secs(310)), "5 min");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1_usize, "pod"), "1 pod");
        assert_eq!(counted(0_u64, "pod"), "0 pods");
    }
}
