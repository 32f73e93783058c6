//! Many fleets in one controller: what they hold in memory, and what they cost while nothing is to be done.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::Setting;
use crate::generator::Shape;
use crate::process::{self, usage};
use crate::site::{Site, region_server, start_together};
use crate::table::{Figure, Unit};

/// How often every fleet's remote is looked at: the program's default.
const POLL: Duration = Duration::from_secs(30);

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and seconds of a few minutes"
)]
pub(crate) fn run(setting: &Setting<'_>) -> Vec<Figure> {
    let (server, health) = region_server();
    let fleets = setting.size(100, 3);
    let regions = setting.size(50, 5);
    let sites: Vec<Site> = (0..fleets)
        .map(|number| {
            let shape = Shape {
                name: format!("fleet-{number:03}"),
                ..Shape::new(regions, 3, setting.seed + number as u64)
            };
            let shape = shape.gated(&server.url(""), Duration::from_secs(10));
            Site::new(shape, Arc::clone(&health))
        })
        .collect();
    let home = tempfile::tempdir().unwrap();
    let controller = start_together(setting.program, &sites, home.path(), POLL);
    let peak = process::peak_memory(controller.id());
    // Whatever follows a rollout (gathering packs, posting, the last polls at short intervals) is over by then.
    thread::sleep(POLL);
    let watched = Duration::from_secs(if setting.quick { 10 } else { 120 });
    let before = usage(controller.id());
    thread::sleep(watched);
    let after = usage(controller.id());
    let minutes = watched.as_secs_f64() / 60.0;
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / watched.as_secs_f64();
    let of = format!("{fleets} fleets × {regions} regions");
    vec![
        Figure::new(
            format!("{of}: peak memory, all first rollouts at once"),
            peak,
            Unit::Mebibytes,
        ),
        Figure::new(
            format!("{of}: memory when idle"),
            process::memory(controller.id()),
            Unit::Mebibytes,
        ),
        Figure::new(
            format!("{of}: idle, processor time of the controller, of one core"),
            percent(after.own.saturating_sub(before.own)),
            Unit::Percent,
        ),
        Figure::new(
            format!("{of}: idle, processor time of its git processes, of one core"),
            percent(after.children.saturating_sub(before.children)),
            Unit::Percent,
        ),
        Figure::new(
            format!("{of}: idle, wake-ups of the controller a minute"),
            (after.wakeups.saturating_sub(before.wakeups) as f64 / minutes).round(),
            Unit::Count,
        ),
    ]
}
