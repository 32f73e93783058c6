//! From the answer that shows harm to the moment at which every touched branch has its last good trees back.

use std::sync::Arc;
use std::time::Duration;

use super::Setting;
use crate::generator::{Shape, fleet_values};
use crate::process;
use crate::site::{Site, region_server};
use crate::table::{Figure, Unit, percentile};

pub(crate) fn run(setting: &Setting<'_>) -> Vec<Figure> {
    let (server, health) = region_server();
    let regions = setting.size(1000, 20);
    let rounds = setting.size(3, 1);
    let shape =
        Shape::new(regions, 10, setting.seed).gated(&server.url(""), Duration::from_secs(4));
    let mut site = Site::new(shape, health);
    let (times, memory) = measure(setting, &mut site, rounds);
    vec![
        Figure::new(
            format!("{regions} regions, 10 waves: peak memory of the controller over {rounds} reverted rollouts"),
            memory,
            Unit::Mebibytes,
        ),
        Figure::time(
            format!("{regions} regions, 10 waves: harm seen → all 10 branches given back, p50"),
            percentile(&times, 50),
        ),
        Figure::time(
            format!("{regions} regions, 10 waves: harm seen → all 10 branches given back, slowest of {rounds}"),
            percentile(&times, 100),
        )
        .limit(1000.0),
    ]
}

fn measure(setting: &Setting<'_>, site: &mut Site, rounds: usize) -> (Vec<f64>, f64) {
    let mut controller = site.start(setting.program, true);
    site.wait_for_entry("Succeeded", &mut controller);
    let waves: Vec<usize> = (0..site.shape.waves).collect();
    let last = site.shape.waves - 1;
    let regions = site.shape.regions_of(last);
    let sick = regions.first().unwrap();
    let mut times = Vec::new();
    for round in 0..rounds {
        let before = site.wave_tips();
        let version = format!("1.1.{round}");
        site.publish(&[("values/fleet.yaml", &fleet_values(&version))], &version);
        site.wait_for_moves(&waves, &before, &mut controller);
        let bad = site.wave_tips();
        let health = Arc::clone(&site.health);
        health.make_sick(Some(sick));
        let moved = site.wait_for_moves(&waves, &bad, &mut controller);
        let all = moved.values().max().unwrap();
        let harm = health.first_sick_answer().unwrap();
        times.push(all.saturating_duration_since(harm).as_secs_f64() * 1000.0);
        health.make_sick(None);
        // The revert of the commit comes to the config branch, and changes nothing.
        site.wait_for_entry("NoChange", &mut controller);
        site.work.pull("main");
    }
    (times, process::peak_memory(controller.id()))
}
