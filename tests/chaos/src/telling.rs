//! Whether those who are told of a fleet beside git know what they are to know.

use std::time::{Duration, Instant};

use tidegate_testkit::audience::Told;
use tidegate_testkit::small_fleet::SmallFleet;

use crate::Fault;

/// How long nothing is told any more before it counts as the end: the text of a wave's status waits for ten seconds, and
/// after many statuses in a row the next ones for twenty.
const QUIET: Duration = Duration::from_secs(25);

/// How long what they know has to stay right: a controller that was frozen may still say what it was about to say.
const STAYS: Duration = Duration::from_secs(2);

/// The entries that alerts tell of, each of one.
const TOLD_OF: [&str; 4] = ["RolloutOpened", "Failed", "Held", "Reverted"];

/// What is told, and since when it is as it is.
#[derive(Debug)]
pub(crate) struct Telling<'a> {
    /// What was told without a disturbance; `None` while that is being found out.
    wanted: Option<&'a Told>,
    fault: Option<Fault>,
    /// Who is gone with its data folder: its identity.
    pub(crate) gone: Option<String>,
    seen: Option<Told>,
    since: Instant,
}

impl<'a> Telling<'a> {
    pub(crate) fn new(wanted: Option<&'a Told>, fault: Option<Fault>) -> Self {
        Self {
            wanted,
            fault,
            gone: None,
            seen: None,
            since: Instant::now(),
        }
    }

    /// Whether they know all that they are to know, and nothing else, for long enough since `changed`, when the world
    /// around them changed last. Where nobody is told, they do.
    pub(crate) fn is_done(&mut self, fleet: &SmallFleet, changed: Option<Instant>) -> bool {
        let Some(audience) = &fleet.audience else {
            return true;
        };
        let told = audience.told();
        if self.seen.as_ref() != Some(&told) {
            self.seen = Some(told);
            self.since = Instant::now();
        }
        let still = changed.map_or(self.since, |changed| changed.max(self.since));
        match self.wanted {
            None => still.elapsed() > QUIET,
            Some(_) => self.difference(fleet).is_none() && still.elapsed() > STAYS,
        }
    }

    /// What is not as it is to be, in words.
    pub(crate) fn difference(&self, fleet: &SmallFleet) -> Option<String> {
        let (wanted, seen) = (self.wanted?, self.seen.as_ref()?);
        let as_wanted = wanted.statuses == seen.statuses
            && wanted.pulls == seen.pulls
            && self.are_all_alerts(fleet, &wanted.alerts, &seen.alerts);
        (!as_wanted).then(|| format!("told {seen:#?}, without a disturbance {wanted:#?}"))
    }

    fn are_all_alerts(&self, fleet: &SmallFleet, wanted: &[String], seen: &[String]) -> bool {
        if wanted == seen {
            return true;
        }
        match self.fault {
            // Two controllers tell, each what it has written, and neither waits for the other.
            Some(Fault::Freeze | Fault::Interleave) => sorted(wanted) == sorted(seen),
            // What waited to be sent is lost with the data folder. The one that takes over cannot know what of it had
            // been sent, and says the last thing alone once more, which tells of the rollout as a whole.
            Some(Fault::Move) => is_all_but(wanted, seen, &self.may_be_lost(fleet)),
            _ => false,
        }
    }

    /// For each entry of the newest rollout that an alert tells of, whether the alert may be lost: the one that is gone
    /// wrote it, and wrote a later one of them.
    fn may_be_lost(&self, fleet: &SmallFleet) -> Vec<bool> {
        let entries = fleet.entries();
        let opened = entries.iter().rposition(|(_, kind)| kind == TOLD_OF[0]);
        let by_the_one_that_is_gone: Vec<bool> = entries[opened.unwrap_or(0)..]
            .iter()
            .filter(|(_, kind)| TOLD_OF.contains(&kind.as_str()))
            .map(|(entry, _)| fleet.state_at(entry).map(|state| state.holder) == self.gone)
            .collect();
        let last = by_the_one_that_is_gone.iter().rposition(|gone| *gone);
        by_the_one_that_is_gone
            .iter()
            .enumerate()
            .map(|(place, gone)| *gone && Some(place) < last)
            .collect()
    }
}

/// Whether `seen` is `wanted` without some of what may be lost, in the same order.
fn is_all_but(wanted: &[String], seen: &[String], may_be_lost: &[bool]) -> bool {
    let mut left = seen;
    for (place, alert) in wanted.iter().enumerate() {
        match left.split_first() {
            Some((next, rest)) if next == alert => left = rest,
            _ if may_be_lost.get(place) == Some(&true) => {}
            _ => return false,
        }
    }
    left.is_empty()
}

fn sorted(alerts: &[String]) -> Vec<&String> {
    let mut sorted: Vec<&String> = alerts.iter().collect();
    sorted.sort();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn only_what_may_be_lost_may_be_missing() {
        let wanted = words("opened failed held reverted");
        let may_be_lost = [true, true, false, false];
        for (seen, fits) in [
            ("opened failed held reverted", true),
            ("failed held reverted", true),
            ("held reverted", true),
            ("opened held reverted", true),
            ("opened failed reverted", false),
            ("opened failed held", false),
            // Twice with two ids, or out of order.
            ("opened failed held reverted reverted", false),
            ("failed opened held reverted", false),
            ("opened failed held reverted drift", false),
        ] {
            assert_eq!(
                is_all_but(&wanted, &words(seen), &may_be_lost),
                fits,
                "{seen}"
            );
        }
    }
}
