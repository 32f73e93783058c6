//! Looks at intervals.

use std::time::Duration;

use super::Nudge;

/// Calls for a look at once and then about once in each interval, for ever.
///
/// Intervals differ by up to a tenth, so that many fleets do not ask one server at the same moment for
/// long. Time is tokio's, which is monotonic: a clock that is set moves no poll.
pub(super) async fn run(every: Duration, seed: u64, nudge: Nudge) {
    let mut state = seed;
    loop {
        nudge.look();
        // A linear congruential step (Knuth's MMIX constants): spreading needs no better randomness.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // 900 to 1100 thousandths.
        let thousandths = u32::try_from((state >> 33) % 201).unwrap_or(100) + 900;
        tokio::time::sleep(every.saturating_mul(thousandths) / 1000).await;
    }
}
