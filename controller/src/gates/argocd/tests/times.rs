//! What time, gaps and clocks do.

use std::time::Duration;

use super::super::{Action, Kind};
use super::fixture::Watch;

fn soaked() -> Watch {
    let mut watch = Watch::fresh(None);
    watch.look_for(50);
    watch.reconcile(50);
    assert_eq!(watch.look_for(5).row, 30);
    watch
}

#[test]
fn time_that_nobody_watched_does_not_count() {
    let mut watch = soaked();
    assert_eq!(watch.look_for(5).row, 31);
    let mut watch = soaked();
    watch.now += Duration::from_secs(46);
    let verdict = watch.look();
    assert_eq!(
        verdict.evidence,
        "payments-westus3: synced at 9f8e7d6 and healthy for 0 s of 60 s"
    );
    let mut watch = Watch::fresh(None);
    watch.set("/status/health/status", "Degraded");
    assert_eq!(watch.look_for(25).row, 18);
    watch.now += Duration::from_secs(3_600);
    assert_eq!(watch.look_alive_for(25).row, 18);
    assert_eq!(watch.look_alive_for(10).row, 19);
    let mut watch = Watch::new(None);
    watch.app = None;
    watch.look_for(290);
    watch.now += Duration::from_secs(3_600);
    assert_eq!(watch.look_for(5).kind, Kind::Wait);
    assert_eq!(watch.look_for(5).kind, Kind::Blocked);
}

#[test]
fn a_clock_that_runs_backwards_counts_nothing() {
    let mut watch = soaked();
    watch.now -= Duration::from_secs(500);
    assert_eq!(watch.look().row, 30);
    assert_eq!(watch.look_for(5).row, 31);
}

#[test]
fn what_changed_between_two_looks_begins_the_soak_anew() {
    for (place, time) in [
        ("/status/health/lastTransitionTime", "2026-03-01T10:00:50Z"),
        ("/status/operationState/finishedAt", "2026-03-01T10:00:50Z"),
    ] {
        let mut watch = soaked();
        watch.set(place, time);
        assert_eq!(watch.look_for(5).row, 30, "{place}");
        assert_eq!(watch.look_for(50).row, 30, "{place}");
        // And it wants a comparison of its own.
        assert_eq!(watch.look_for(10).row, 30, "{place}");
        watch.reconcile(30);
        assert_eq!(watch.look().row, 31, "{place}");
    }
}

#[test]
fn any_other_row_begins_the_soak_anew() {
    let mut watch = soaked();
    watch.set("/status/health/status", "Progressing");
    assert_eq!(watch.look().row, 27);
    watch.set("/status/health/status", "Healthy");
    assert_eq!(watch.look_for(55).row, 30);
    watch.reconcile(60);
    assert_eq!(watch.look_for(5).row, 31);
    // Also once it has passed.
    watch.set("/status/sync/status", "Unknown");
    assert_eq!(watch.look().row, 7);
    watch.set("/status/sync/status", "Synced");
    assert_eq!(watch.look().row, 30);
}

#[test]
fn a_comparison_grows_old() {
    let mut watch = Watch::fresh(None);
    watch.limits.stable_for = Duration::from_secs(3_600);
    // It is asked for a newer one in time, and waits for it when none comes.
    assert_eq!(watch.look_for(175).act, None);
    assert_eq!(watch.look_for(10).act, Some(Action::Refresh));
    let verdict = watch.look_for(180);
    assert_eq!((verdict.row, verdict.act), (26, Some(Action::Refresh)));
    assert_eq!(watch.refreshed().row, 30);
}

#[test]
fn time_for_the_sync_to_begin_runs_from_the_first_fresh_look() {
    let mut watch = Watch::new(None);
    watch.out_of_sync().unset("/status/operationState");
    assert_eq!(watch.look_for(200).act, Some(Action::Refresh));
    assert_eq!(watch.refreshed().act, None);
    assert_eq!(watch.look_for(70).kind, Kind::Wait);
    assert_eq!(watch.look_for(10).kind, Kind::Blocked);
}
