use std::sync::mpsc;

use tidegate_testkit::http::{HttpServer, Request, Response};
use tidegate_waves::rollout::{Asked, FleetState, Verb};

use super::*;
use crate::alerts::event::Links;
use crate::clock::{ManualClock, SystemClock};
use crate::reporting::{LogTip, Trouble};

const DEADLINE: Duration = Duration::from_secs(20);

/// An event with everything that one can have.
pub(super) fn event(kind: AlertKind) -> Event {
    Event {
        id: "7d1f9f3e-0000-5000-8000-000000000001".to_owned(),
        kind,
        fleet: "shop".to_owned(),
        rollout: Some("9f3c2e1a-12".to_owned()),
        at: 1_764_080_000,
        message: "westus3 healthz answered 500, 3 times in a row".to_owned(),
        reason: Some("Harm".to_owned()),
        source: Some(Oid::from_bytes([0x9f; 20])),
        commits: vec![Oid::from_bytes([0x9f; 20])],
        subject: "Release 1.5.1".to_owned(),
        author: "Ann <ann@example.com>".to_owned(),
        wave: Some("canary".to_owned()),
        region: Some("westus3".to_owned()),
        gate: Some("healthz".to_owned()),
        regions: vec!["westus3".to_owned()],
        revert: Some(Oid::from_bytes([0x46; 20])),
        last_good: Some(Oid::from_bytes([0x11; 20])),
        opened: Some(1_764_079_700),
        asked: vec![Asked {
            verb: Verb::Hold,
            by: "Bo <bo@example.com>".to_owned(),
            verified: None,
            reason: "the database moves".to_owned(),
            at: 1_764_079_800,
            commit: Oid::from_bytes([3; 20]),
        }],
        commands: vec!["tidegate explain".to_owned()],
        goes_on: false,
        reminder: 0,
        links: Links::default(),
    }
}

/// Whether a delivery is as it should be.
type Check = fn(&Delivery) -> bool;

/// The state at the beginning of a log.
fn state(holder: &str) -> FleetState {
    let mut state = tidegate_waves::rollout::create(
        tidegate_waves::rollout::FleetIdentity {
            name: "shop".to_owned(),
            branch: "main".to_owned(),
            path: String::new(),
            prefix: "tidegate".to_owned(),
        },
        Oid::from_bytes([1; 20]),
        holder,
    )
    .next;
    state.holder = holder.to_owned();
    state
}

fn hold(reason: HoldReason, since: i64) -> tidegate_waves::rollout::Hold {
    tidegate_waves::rollout::Hold {
        reason,
        since,
        message: "9f3c2e1a deletes 40 % of the objects".to_owned(),
        source: Some(Oid::from_bytes([0x9f; 20])),
        rollout: None,
        wave: None,
        regions: Vec::new(),
        until: None,
    }
}

fn entry(number: u8, kind: EntryKind, before: &FleetState, after: &FleetState) -> LogEntry {
    LogEntry {
        commit: Oid::from_bytes([number; 20]),
        seconds: 1000 + i64::from(number),
        kind,
        subject: "something happened".to_owned(),
        before: Some(Arc::new(before.clone())),
        after: Arc::new(after.clone()),
    }
}

#[test]
fn a_hold_is_told_once_by_the_one_who_wrote_it_and_once_more_by_who_takes_over() {
    let free = state("a");
    let mut held = free.clone();
    held.holds.push(hold(HoldReason::DeletionGuard, 1001));
    let mut taken = held.clone();
    taken.holder = "b".to_owned();
    let entries = [
        entry(1, EntryKind::Held, &free, &held),
        entry(2, EntryKind::Progress, &held, &held),
        entry(3, EntryKind::TakeOver, &held, &taken),
    ];
    let of_a = read(&entries, "a", Vec::new(), true).events;
    assert_eq!(of_a.len(), 1);
    assert_eq!(of_a[0].kind, AlertKind::Held);
    assert_eq!(of_a[0].reason.as_deref(), Some("DeletionGuard"));
    assert!(
        of_a[0].commands[0].starts_with("tidegate approve"),
        "{:?}",
        of_a[0].commands
    );
    // The same event, known by its id.
    assert_eq!(read(&entries, "b", Vec::new(), true).events, of_a);
    assert!(read(&entries[..2], "b", Vec::new(), true).events.is_empty());
    // Also where it was read long before.
    let earlier = read(&entries[..2], "b", Vec::new(), true);
    assert_eq!(earlier.withheld, of_a);
    assert_eq!(
        read(&entries[2..], "b", earlier.withheld, true).events,
        of_a
    );
    // One that begins without a memory may be the successor of the one that died.
    assert_eq!(read(&entries[..2], "b", Vec::new(), false).events, of_a);
    // Drift is a kind of its own.
    let mut drifted = free.clone();
    drifted.holds.push(hold(HoldReason::Drift, 1001));
    let drift = read(
        &[entry(4, EntryKind::Drift, &free, &drifted)],
        "a",
        Vec::new(),
        true,
    )
    .events;
    assert_eq!(drift[0].kind, AlertKind::Drift);
}

#[test]
fn without_a_memory_the_newest_rollout_is_told_unless_it_is_long_ago() {
    let free = state("a");
    let entries = [
        entry(1, EntryKind::RolloutOpened, &free, &free),
        entry(2, EntryKind::Succeeded, &free, &free),
        entry(3, EntryKind::RolloutOpened, &free, &free),
        entry(4, EntryKind::Progress, &free, &free),
    ];
    assert_eq!(where_to_begin(&entries, 1010).len(), 2);
    assert!(where_to_begin(&entries, 1010 + 2 * OLD).is_empty());
    assert!(where_to_begin(&[], 1010).is_empty());
}

fn alerts(folder: &Path, url: &str, clock: Arc<dyn Clock>) -> Alerts {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let alert = Alert {
        name: "hook".to_owned(),
        slack: None,
        webhook: Some(crate::settings::Webhook {
            url: url.parse().unwrap(),
            secret_file: None,
        }),
        on: vec![AlertKind::Held, AlertKind::Stalled, AlertKind::Reverted],
    };
    let egress = EgressRules {
        loopback: true,
        link_local: false,
    };
    Alerts::open(
        &[alert],
        egress,
        &folder.join("outbox.db"),
        clock,
        "a",
        ("shop", "tidegate"),
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_needed_is_reminded_after_an_hour_and_then_every_four() {
    let folder = tempfile::tempdir().unwrap();
    let start = 1_764_080_000;
    let clock = Arc::new(ManualClock::new(
        jiff::Timestamp::from_second(start).unwrap(),
    ));
    let alerts = alerts(
        folder.path(),
        "http://127.0.0.1:9/",
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    let mut held = state("a");
    held.holds.push(hold(HoldReason::DeletionGuard, start));
    let mut report = Report {
        tip: Some(LogTip {
            commit: Oid::from_bytes([1; 20]),
            seconds: start,
            state: Arc::new(held),
        }),
        ..Report::default()
    };
    let waiting = |report: &Report, hours: u64| {
        clock.advance(Duration::from_secs(hours * 3600));
        alerts.remind(report).unwrap();
        alerts.outbox().waiting().unwrap()
    };
    // The entry itself told it first.
    assert_eq!(waiting(&report, 0), 0);
    assert_eq!(waiting(&report, 1), 1);
    assert_eq!(waiting(&report, 1), 1);
    assert_eq!(waiting(&report, 3), 2);
    // A damaged log is told at once.
    report.trouble = Some(Trouble {
        log_is_damaged: true,
        message: "the control log is damaged".to_owned(),
    });
    assert_eq!(waiting(&report, 0), 3);
    assert_eq!(waiting(&report, 0), 3);
    // A restart that has looked at nothing yet forgets nothing.
    alerts.remind(&Report::default()).unwrap();
    assert!(alerts.outbox().reminder("LogDamaged").unwrap().is_some());
    // Over is over.
    report.trouble = None;
    assert_eq!(waiting(&report, 0), 3);
    assert_eq!(alerts.outbox().reminder("LogDamaged").unwrap(), None);
    // The holder may be gone: another controller reminds in its place, a little later.
    let standby = Arc::make_mut(&mut report.tip.as_mut().unwrap().state);
    standby.holder = "b".to_owned();
    assert_eq!(waiting(&report, 4), 3);
    clock.advance(Duration::from_secs(16 * 60));
    alerts.remind(&report).unwrap();
    assert_eq!(alerts.outbox().waiting().unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_trusted_is_told_also_by_one_that_has_never_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let alerts = alerts(folder.path(), "http://127.0.0.1:9/", clock);
    let report = Report {
        trouble: Some(Trouble {
            log_is_damaged: true,
            message: "the log was rewound".to_owned(),
        }),
        ..Report::default()
    };
    alerts.remind(&report).unwrap();
    let due = alerts
        .outbox()
        .due("hook", i64::MAX, PATIENCE)
        .unwrap()
        .unwrap();
    assert_eq!(due.event.fleet, "shop");
    assert_eq!(due.event.reason.as_deref(), Some("LogDamaged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_gets_everything_in_order_and_once_more_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (seen, requests) = mpsc::channel::<Request>();
    let failing = Arc::new(std::sync::atomic::AtomicU32::new(2));
    let left = Arc::clone(&failing);
    let server = HttpServer::start(move |request| {
        seen.send(request).unwrap();
        let fails = left
            .fetch_update(
                std::sync::atomic::Ordering::SeqCst,
                std::sync::atomic::Ordering::SeqCst,
                |left| left.checked_sub(1),
            )
            .is_ok();
        Some(if fails {
            Response::text(429, "slow down").with("Retry-After", "1")
        } else {
            Response::text(204, "")
        })
    });
    let url = server.url("/hook");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let first = alerts(folder.path(), &url, Arc::clone(&clock));
    let make = |number: u32| {
        let mut event = event(AlertKind::Held);
        event.id = format!("event-{number}");
        event
    };
    first.queue(&[make(1), make(2)], None).unwrap();
    // A kind that nobody wants is not queued.
    first.queue(&[event(AlertKind::Opened)], None).unwrap();
    // What a crash between sending and marking leaves behind.
    std::fs::copy(
        folder.path().join("outbox.db"),
        folder.path().join("before"),
    )
    .unwrap();
    std::fs::copy(
        folder.path().join("outbox.db-wal"),
        folder.path().join("before-wal"),
    )
    .unwrap();
    let cancel = CancellationToken::new();
    let running = tokio::spawn({
        let (alerts, cancel) = (first.clone(), cancel.clone());
        async move { alerts.run(cancel).await }
    });
    tokio::time::timeout(DEADLINE, first.drained())
        .await
        .unwrap();
    cancel.cancel();
    running.await.unwrap();
    let ids = |requests: &mpsc::Receiver<Request>| -> Vec<String> {
        requests
            .try_iter()
            .map(|request| request.header("webhook-id").unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&requests), ["event-1", "event-1", "event-1", "event-2"]);
    drop(first);

    let after = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join("before"), after.path().join("outbox.db")).unwrap();
    std::fs::copy(
        folder.path().join("before-wal"),
        after.path().join("outbox.db-wal"),
    )
    .unwrap();
    let second = alerts(after.path(), &url, clock);
    let cancel = CancellationToken::new();
    let running = tokio::spawn({
        let (alerts, cancel) = (second.clone(), cancel.clone());
        async move { alerts.run(cancel).await }
    });
    tokio::time::timeout(DEADLINE, second.drained())
        .await
        .unwrap();
    cancel.cancel();
    running.await.unwrap();
    // Once more each, known by their ids.
    assert_eq!(ids(&requests), ["event-1", "event-2"]);
}

#[tokio::test]
async fn what_a_receiver_answers_decides_what_becomes_of_an_alert() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let allowed = EgressRules {
        loopback: true,
        link_local: false,
    };
    let http = sink::Http::new(allowed).unwrap();
    let answer = Arc::new(Mutex::new(Some(Response::text(200, "ok"))));
    let given = Arc::clone(&answer);
    let server = HttpServer::start(move |_| given.lock().unwrap().clone());
    let file = folder.path().join("url");
    std::fs::write(&file, server.url("/services/T0/B0/s3cr3t")).unwrap();
    let slack = slack::Slack::new(http.clone(), file.clone());
    let hook = webhook::Webhook::new(http.clone(), server.url("/hook").parse().unwrap(), None);
    let told = event(AlertKind::Failed);
    let refused = |delivery: &Delivery| matches!(delivery, Delivery::Refused { .. });
    let later = |delivery: &Delivery| matches!(delivery, Delivery::Later { .. });
    let cases: [(Option<Response>, Check, Check); 8] = [
        (
            Some(Response::text(200, "ok")),
            |d| *d == Delivery::Done,
            |d| *d == Delivery::Done,
        ),
        (
            Some(Response::text(200, "invalid_payload")),
            |d| matches!(d, Delivery::Refused { .. }),
            |d| *d == Delivery::Done,
        ),
        (
            Some(Response::text(200, "<html>please log in</html>")),
            |d| matches!(d, Delivery::Later { .. }),
            |d| *d == Delivery::Done,
        ),
        (
            Some(Response::text(429, "").with("Retry-After", "30")),
            |d| matches!(d, Delivery::Later { after: Some(after), .. } if after.as_secs() == 30),
            |d| matches!(d, Delivery::Later { after: Some(after), .. } if after.as_secs() == 30),
        ),
        (
            Some(Response::text(500, "oh")),
            |d| matches!(d, Delivery::Later { .. }),
            |d| matches!(d, Delivery::Later { .. }),
        ),
        (
            Some(Response::text(410, "no_service")),
            |d| matches!(d, Delivery::Refused { .. }),
            |d| matches!(d, Delivery::Refused { .. }),
        ),
        (
            Some(Response::text(302, "").with("Location", "http://127.0.0.1:1/")),
            |d| matches!(d, Delivery::Refused { .. }),
            |d| matches!(d, Delivery::Refused { .. }),
        ),
        (
            None,
            |d| matches!(d, Delivery::Later { .. }),
            |d| matches!(d, Delivery::Later { .. }),
        ),
    ];
    for (number, (response, of_slack, of_hook)) in cases.into_iter().enumerate() {
        *answer.lock().unwrap() = response;
        let delivery = slack.send(&told).await;
        assert!(of_slack(&delivery), "{number}: slack: {delivery:?}");
        assert!(!format!("{delivery:?}").contains("s3cr3t"), "{delivery:?}");
        let delivery = hook.send(&told).await;
        assert!(of_hook(&delivery), "{number}: webhook: {delivery:?}");
    }
    // An address that the operator did not open.
    let closed = sink::Http::new(EgressRules::default()).unwrap();
    assert!(refused(
        &slack::Slack::new(closed, file.clone()).send(&told).await
    ));
    // No secret yet: it may be in the middle of its rotation.
    std::fs::write(&file, "").unwrap();
    assert!(later(&slack.send(&told).await));
}
